//! Files inside archives, read where they lie.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Seek};

use tar::Archive;
use zip::ZipReadOptions;
use zip::read::{Config, ZipFileEntry};
use zip::result::{ZipError, ZipResult};
use zip::unstable::read::ZipIterable;

use super::bundle::{self, Role};
use super::content::Walk;
use super::{Origin, observed};

/// `cli-flags.json` is a few kilobytes.
const LARGEST_FLAGS: u64 = 4 << 20;

/// The header of a file in a tar with the long names and attributes before it.
const LARGEST_HEADER: u64 = 1 << 20;

/// Why such an entry is passed over.
const LINK: &str = "is a link, which holds nothing itself";

const SPARSE: &str = "is a sparse file, which is not read (pack it with a tar that is not told to look for holes)";

/// How what stands before an entry in a zip begins (APPNOTE.TXT 4.3.7).
const ENTRY: &[u8; 4] = b"PK\x03\x04";

impl Walk<'_> {
    pub(super) fn tar(&mut self, stream: &mut dyn Read, origin: &Origin, depth: u32) -> bool {
        let left = Cell::new(u64::MAX);
        let mut archive = Archive::new(Ended { inner: stream, noughts: 0, left: &left });
        let broken = |e: io::Error| format!("is a tar that cannot be read further: {e}");
        let mut entries = match archive.entries() {
            Ok(entries) => entries,
            Err(e) => return self.unreadable(origin, broken(e)),
        };
        loop {
            // What stands before a file is read into memory whole, its long name and attributes included.
            left.set(LARGEST_HEADER);
            let mut entry = match entries.next() {
                None => break,
                Some(Ok(entry)) => entry,
                Some(Err(e)) => return self.unreadable(origin, broken(e)),
            };
            left.set(u64::MAX);
            let path = path(&entry.path_bytes());
            let goes_on = match what(&mut entry, &path) {
                What::File => {
                    let left = entry.size();
                    self.member(Box::new(Whole { inner: &mut entry, left }), &path, origin, depth)
                }
                What::Unread(path, why) => {
                    self.miss_flags(&path, origin);
                    self.passed_over(&self.inside(origin, &path), why)
                }
                What::Nothing => true,
            };
            if !goes_on {
                return false;
            }
            // What fails here fails again with the next file, and is told there.
            let _ = io::copy(&mut entry, &mut io::sink());
        }
        if archive.into_inner().noughts < BLOCK {
            let why = "is a tar without the mark of its end: it may have been cut; what is there is kept";
            return self.unreadable(origin, why.into());
        }
        true
    }

    /// Remembers that a file in an archive that holds a bundle's flags cannot be read, if it is one.
    fn miss_flags(&mut self, path: &str, archive: &Origin) {
        if let Role::CliFlags(root) = bundle::role(path) {
            self.flags.learn(bundle_at(&root, archive), b"");
        }
    }

    pub(super) fn zip<R: Read + Seek>(&mut self, mut file: R, origin: &Origin, depth: u32) -> bool {
        let entries = match directory(&mut file) {
            Ok(entries) => entries,
            Err(e) => {
                let problem = format!(
                    "is a damaged zip, of which nothing is read: its directory, which is at the end, cannot be read ({e}); \
                     copy the file again, or repair it with `zip -FF`"
                );
                return self.unreadable(origin, problem);
            }
        };
        // The flags of bundles come before what they speak of, since the directory says where they are.
        let role = |entry: &ZipFileEntry<'_>| bundle::role(&path(entry.name_raw()));
        let (flags, others): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| matches!(role(entry), Role::CliFlags(_)));
        if !flags.into_iter().all(|entry| self.zipped(entry, &mut file, origin, depth)) {
            return false;
        }
        for entry in &others {
            if let Role::Allocations(root) = role(entry) {
                self.flags.learn_absence(&bundle_at(&root, origin));
            }
        }
        others.into_iter().all(|entry| self.zipped(entry, &mut file, origin, depth))
    }

    /// An entry of a zip's directory.
    fn zipped<R: Read + Seek>(&mut self, entry: ZipFileEntry<'_>, file: &mut R, origin: &Origin, depth: u32) -> bool {
        let path = path(entry.name_raw());
        if entry.is_dir() || self.budget.is_spent() {
            return true;
        }
        if entry.is_symlink() {
            self.miss_flags(&path, origin);
            return self.passed_over(&self.inside(origin, &path), LINK);
        }
        let why = if entry.encrypted() {
            "is encrypted".to_owned()
        } else {
            match entry.with_reader(file, ZipReadOptions::new()) {
                Ok(entry) => {
                    let entry = self.budget.metered(entry);
                    return self.member(Box::new(entry), &path, origin, depth);
                }
                Err(e) => format!("cannot be read: {e}"),
            }
        };
        self.miss_flags(&path, origin);
        self.unreadable(&self.inside(origin, &path), why)
    }

    /// What is known of a file inside an archive before its content is.
    fn inside(&self, archive: &Origin, path: &str) -> Origin {
        let file_name = path.rsplit('/').next();
        Origin {
            source: archive.source,
            name: format!("{}:{path}", archive.name),
            observed: observed(self.options, file_name),
            namespace: None,
            full_listing: self.options.full_listing.clone(),
            nomad_index: None,
            is_named: false,
            is_nodes: false,
            is_stream: false,
        }
    }

    /// One file inside an archive.
    fn member(&mut self, stream: Box<dyn Read + '_>, path: &str, archive: &Origin, depth: u32) -> bool {
        let mut origin = self.inside(archive, path);
        match bundle::role(path) {
            Role::Allocations(root) => self.cover(&mut origin, &bundle_at(&root, archive)),
            Role::CliFlags(root) => {
                let mut text = Vec::new();
                // What cannot be read whole tells nothing.
                if stream.take(LARGEST_FLAGS).read_to_end(&mut text).is_err() {
                    text.clear();
                }
                self.flags.learn(bundle_at(&root, archive), &text);
                return true;
            }
            Role::PassedOver(why) => return self.passed_over(&origin, why),
            Role::Other => {}
        }
        self.stream(stream, &origin, depth)
    }
}

/// The path of a file inside an archive. Only ever a name: nothing is written to where an archive says.
fn path(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_start_matches("./").to_owned()
}

/// What tells a bundle inside an archive from those at the same path in others.
fn bundle_at(root: &str, archive: &Origin) -> String {
    format!("{}:{root}", archive.name)
}

/// What an entry of a tar is.
enum What {
    File,
    /// It holds something that is not read, or leads to something: its path, and why.
    Unread(String, &'static str),
    /// A directory, or what belongs to the archive itself.
    Nothing,
}

fn what<R: Read>(entry: &mut tar::Entry<'_, R>, path: &str) -> What {
    let kind = entry.header().entry_type();
    let unread = |why| What::Unread(path.to_owned(), why);
    match kind.as_byte() {
        b'g' | b'x' | b'D' | b'V' => return What::Nothing,
        b'S' => return unread(SPARSE),
        _ if kind.is_dir() || path.ends_with('/') => return What::Nothing,
        _ if kind.is_symlink() || kind.is_hard_link() => return unread(LINK),
        _ if kind.is_file() || kind.is_contiguous() => {}
        _ => return unread("is neither a file nor a directory"),
    }
    // A newer way to say that a file has holes: the entry begins with a list of them, its path is a made-up one.
    let (mut is_sparse, mut name) = (false, None);
    if let Ok(Some(extensions)) = entry.pax_extensions() {
        for extension in extensions.flatten().filter(|extension| extension.key_bytes().starts_with(b"GNU.sparse.")) {
            is_sparse = true;
            if extension.key_bytes() == b"GNU.sparse.name" {
                name = Some(self::path(extension.value_bytes()));
            }
        }
    }
    if is_sparse { What::Unread(name.unwrap_or_else(|| path.to_owned()), SPARSE) } else { What::File }
}

/// A tar ends with blocks of noughts (POSIX ustar); one without them may have been cut between two files.
const BLOCK: usize = 512;

/// A stream of which it is known how many noughts it has ended with so far, as far as a block is filled, and which
/// ends with an error when no bytes are left to be read.
struct Ended<'l, R> {
    inner: R,
    noughts: usize,
    left: &'l Cell<u64>,
}

impl<R: Read> Read for Ended<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        let left = self.left.get().checked_sub(n as u64);
        self.left.set(left.ok_or_else(|| io::Error::other("a name or attributes in it are longer than 1 MiB"))?);
        let noughts = buffer[..n].iter().rev().take(BLOCK).take_while(|byte| **byte == 0).count();
        self.noughts = if noughts == n { (self.noughts + n).min(BLOCK) } else { noughts };
        Ok(n)
    }
}

/// A file in a tar, which is to be as long as its header says: one that ends earlier is not whole, even if it ends
/// where a line does.
struct Whole<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        if n == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the archive ends within this file"));
        }
        self.left = self.left.saturating_sub(n as u64);
        Ok(n)
    }
}

/// All entries that a zip's directory names, also those that share a name.
fn directory<R: Read + Seek>(file: &mut R) -> ZipResult<Vec<ZipFileEntry<'static>>> {
    let entries: Vec<ZipFileEntry<'static>> =
        ZipIterable::try_new(&mut *file, Config::default())?.files()?.collect::<ZipResult<_>>()?;
    // A zip may lie in one whose own directory was cut away: then what it names begins later.
    let mut begin = [0; 4];
    file.rewind()?;
    file.read_exact(&mut begin)?;
    if begin == *ENTRY && entries.iter().all(|entry| entry.header_start() > 0) {
        return Err(ZipError::InvalidArchive("its end is that of a zip inside it".into()));
    }
    Ok(entries)
}
