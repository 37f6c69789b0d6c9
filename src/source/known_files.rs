//! Files that need not be read, because an earlier ingest read them completely.
//!
//! Neither the name of a file nor its time of modification proves that the file is unchanged, because another file can
//! have the same name and time. So a file is recognised by a hash of its bytes, and of everything else that determines
//! its rows.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::bundle::{self, PathRole};
use super::fetch_file;
use super::{Origin, SourceOptions, directory};

/// How many bytes are hashed at a time.
const BUFFER: usize = 256 << 10;

/// The files whose rows are known.
#[derive(Debug, Clone, Default)]
pub struct KnownFiles {
    /// What determines the rows besides the files: the version of the program, and the region.
    context: String,
    keys: HashSet<u128>,
}

impl KnownFiles {
    /// Files with these keys, which an earlier walk with the same `context` found ([`super::Found::EndOfFile`]).
    pub fn new(context: String, keys: HashSet<u128>) -> KnownFiles {
        KnownFiles { context, keys }
    }

    /// Returns true if the rows of the file with this key are known.
    pub fn contains(&self, key: u128) -> bool {
        self.keys.contains(&key)
    }

    /// The key of a file; `None` for something that is not a file, or cannot be read.
    pub(super) fn key<'p>(&self, path: &'p Path, origin: &Origin, options: &SourceOptions) -> Option<FileKey<'p>> {
        let state = FileState::of(path)?;
        let key = self.hash(path, origin, options).ok()?;
        Some(FileKey { key, path, state })
    }

    fn hash(&self, path: &Path, origin: &Origin, options: &SourceOptions) -> io::Result<u128> {
        let mut hash = Xxh3::new();
        let facts = format!("{:?}{:?}{:?}{:?}", self.context, origin.name, origin.observed, options);
        add(&mut hash, Some(facts.as_bytes()));
        add(&mut hash, if_there(&fetch_file::sidecar_path(path))?.as_deref());
        if let PathRole::Allocations(bundle) = bundle::role(&path.to_string_lossy()) {
            add(&mut hash, if_there(&bundle::flags_path(&bundle))?.as_deref());
        }
        let mut file = File::open(path)?;
        let mut buffer = vec![0; BUFFER];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(hash.digest128()),
                Ok(n) => hash.update(&buffer[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// A file as it was when it was hashed.
#[derive(Debug)]
pub(super) struct FileKey<'p> {
    /// XXH3-128 of everything that determines the rows: the bytes of the file, its name and time of observation, its
    /// metadata file, the flags of its debug bundle, the user's options, and [`KnownFiles::context`].
    pub(super) key: u128,
    path: &'p Path,
    state: FileState,
}

impl FileKey<'_> {
    /// Returns true if the file did not change since it was hashed. Then the bytes that were read since have this key.
    pub(super) fn is_unchanged(&self) -> bool {
        FileState::of(self.path).as_ref() == Some(&self.state)
    }
}

/// Attributes that show every change of a file.
#[derive(Debug, PartialEq, Eq)]
struct FileState {
    device_and_inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileState {
    fn of(path: &Path) -> Option<FileState> {
        let found = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        Some(FileState {
            device_and_inode: (found.dev(), found.ino()),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

/// Adds bytes with their length, or their absence.
fn add(hash: &mut Xxh3, bytes: Option<&[u8]>) {
    hash.update(&bytes.map_or(u64::MAX, |bytes| bytes.len() as u64).to_le_bytes());
    hash.update(bytes.unwrap_or_default());
}

/// The content of a file; `None` if it does not exist. A dangling link is an error.
fn if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    // A path that is too long cannot exist.
    let is_missing = |e: &io::Error| directory::is_not_found(e) || e.kind() == ErrorKind::InvalidFilename;
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if is_missing(&e) && !path.is_symlink() => Ok(None),
        Err(e) => Err(e),
    }
}
