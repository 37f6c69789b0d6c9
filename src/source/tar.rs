//! Reads the files in a tar.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read};

use ::tar::{Archive, Entry};

use super::Origin;
use super::archive::{self, LINK, path};
use super::sniff::InputWalk;

/// Maximum size of a tar header with its long name and attributes.
const LARGEST_HEADER: u64 = 1 << 20;

/// Why a sparse file is skipped.
const SPARSE: &str = "is a sparse file, which is not supported (pack it without tar's --sparse)";

impl InputWalk<'_> {
    pub(super) fn tar(&mut self, stream: &mut dyn Read, origin: &Origin, depth: u32) -> bool {
        let left = Cell::new(u64::MAX);
        let mut archive = Archive::new(TrailingZeros { inner: stream, zero_run: 0, left: &left });
        let broken = |e: io::Error| format!("is a tar that cannot be read further: {e}");
        let mut entries = match archive.entries() {
            Ok(entries) => entries,
            Err(e) => return self.unreadable(origin, broken(e)),
        };
        loop {
            // The header, including long name and attributes, is read into memory, so its size is limited.
            left.set(LARGEST_HEADER);
            let mut entry = match entries.next() {
                None => break,
                Some(Ok(entry)) => entry,
                Some(Err(e)) => return self.unreadable(origin, broken(e)),
            };
            left.set(u64::MAX);
            let path = path(&entry.path_bytes());
            let goes_on = match entry_kind(&mut entry, &path) {
                EntryKind::File => {
                    let left = entry.size();
                    self.member(Box::new(ExactLength { inner: &mut entry, left }), &path, origin, depth)
                }
                EntryKind::Unread(path, why) => {
                    self.miss_flags(&path, origin);
                    self.skipped(&self.inside(origin, &path), why)
                }
                EntryKind::Nothing => true,
            };
            if !goes_on {
                return false;
            }
            // An error here occurs again with the next file, and is reported there.
            let _ = io::copy(&mut entry, &mut io::sink());
        }
        if archive.into_inner().zero_run < BLOCK {
            let why = "is a tar without an end marker: it may be truncated; everything that it has is kept";
            return self.unreadable(origin, why.into());
        }
        true
    }
}

/// The kind of a tar entry.
enum EntryKind {
    File,
    /// An entry that is skipped: its path, and why.
    Unread(String, &'static str),
    /// A directory, or metadata of the archive.
    Nothing,
}

fn entry_kind<R: Read>(entry: &mut Entry<'_, R>, path: &str) -> EntryKind {
    let kind = entry.header().entry_type();
    let unread = |why| EntryKind::Unread(path.to_owned(), why);
    match kind.as_byte() {
        b'g' | b'x' | b'D' | b'V' => return EntryKind::Nothing,
        b'S' => return unread(SPARSE),
        _ if kind.is_dir() || path.ends_with('/') => return EntryKind::Nothing,
        _ if kind.is_symlink() || kind.is_hard_link() => return unread(LINK),
        _ if kind.is_file() || kind.is_contiguous() => {}
        _ => return unread("is neither a file nor a directory"),
    }
    // In a PAX sparse file, the content of the entry starts with a list of holes. The path of the entry is generated,
    // and `GNU.sparse.name` has the original path.
    let (mut is_sparse, mut name) = (false, None);
    if let Ok(Some(extensions)) = entry.pax_extensions() {
        for extension in extensions.flatten().filter(|extension| extension.key_bytes().starts_with(b"GNU.sparse.")) {
            is_sparse = true;
            if extension.key_bytes() == b"GNU.sparse.name" {
                name = Some(archive::path(extension.value_bytes()));
            }
        }
    }
    if is_sparse { EntryKind::Unread(name.unwrap_or_else(|| path.to_owned()), SPARSE) } else { EntryKind::File }
}

/// A tar ends with blocks of zeros (POSIX ustar). A tar without them may have been truncated between two files.
const BLOCK: usize = 512;

/// A stream that counts the zeros at its end, up to one block, and fails when the byte limit is exceeded.
struct TrailingZeros<'l, R> {
    inner: R,
    zero_run: usize,
    left: &'l Cell<u64>,
}

impl<R: Read> Read for TrailingZeros<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        let left = self.left.get().checked_sub(n as u64);
        self.left.set(left.ok_or_else(|| io::Error::other("a name or attributes in it are longer than 1 MiB"))?);
        let zero_run = buffer[..n].iter().rev().take(BLOCK).take_while(|byte| **byte == 0).count();
        self.zero_run = if zero_run == n { (self.zero_run + n).min(BLOCK) } else { zero_run };
        Ok(n)
    }
}

/// A file in a tar. It must be as long as its header says. A shorter file is truncated, even if it ends at a line
/// break.
struct ExactLength<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for ExactLength<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        if n == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the archive ends within this file"));
        }
        self.left = self.left.saturating_sub(n as u64);
        Ok(n)
    }
}
