//! Objects in a local directory: written under a temporary name, synced, and listed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// Prefix of files that are being written; a killed process leaves them behind.
const UNFINISHED: &str = ".alloclog-";

/// An object's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its name within the lake.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was written, by the store's clock, in milliseconds since the epoch.
    pub written_ms: i64,
}

/// Returns true if an object is an unfinished temporary file.
pub fn is_unfinished(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|file| file.starts_with(UNFINISHED))
}

/// Writes a temporary file next to its final path, synced to disk.
pub(super) fn beside(path: &Path, bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let directory = path.parent().unwrap_or(Path::new("."));
    make_directory(directory)?;
    let mut file = tempfile::Builder::new().prefix(UNFINISHED).permissions(shared()).tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Permissions of lake files: others have access as far as the umask allows. By default, a temporary file is private.
pub(super) fn shared() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}

/// Creates a directory and its missing parents. Syncs the parent of each new directory, so that the new entry is
/// durable.
pub(super) fn make_directory(directory: &Path) -> io::Result<()> {
    if directory.as_os_str().is_empty() || directory.is_dir() {
        return Ok(());
    }
    let above = directory.parent().unwrap_or(Path::new("."));
    make_directory(above)?;
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_parent(directory),
    }
}

pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(above)?.sync_all()
}

/// Lists the files below a directory. Links are followed: a linked directory is listed like any other. Dangling links
/// are skipped. Links to a directory inside or above the lake are skipped, too, because the files of such a directory
/// are listed under other names.
pub(super) fn walk(
    root: &Path,
    directory: &Path,
    above: &mut Vec<(u64, u64)>,
    found: &mut Vec<ObjectInfo>,
) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let here = fs::metadata(directory)?;
    let here = (here.dev(), here.ino());
    if above.contains(&here) {
        return Ok(());
    }
    above.push(here);
    for entry in entries {
        let path = entry?.path();
        let meta = match fs::metadata(&path) {
            Ok(meta) => meta,
            // Removed meanwhile, or a dangling or circular link.
            Err(error) if error.kind() == io::ErrorKind::NotFound || is_link(&path) => continue,
            Err(error) => return Err(error),
        };
        if meta.is_dir() {
            if !is_link(&path) || is_apart(root, &path)? {
                walk(root, &path, above, found)?;
            }
        } else if let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) {
            let written = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            found.push(ObjectInfo { name: name.to_owned(), bytes: meta.len(), written_ms: written.as_millis() as i64 });
        }
    }
    above.pop();
    Ok(())
}

/// Returns true if neither directory contains the other, after links are resolved.
pub(super) fn is_apart(root: &Path, path: &Path) -> io::Result<bool> {
    let (root, path) = (fs::canonicalize(root)?, fs::canonicalize(path)?);
    Ok(!path.starts_with(&root) && !root.starts_with(&path))
}

pub(super) fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink())
}
