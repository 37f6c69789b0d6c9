//! Lists directories and the files in them.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Input, Location};

/// Sorts inputs by the bytes of their paths, without duplicates.
pub(super) fn in_order(mut inputs: Vec<Input>) -> Vec<Input> {
    fn path(input: &Input) -> &[u8] {
        match &input.location {
            Location::File(path) => path.as_os_str().as_bytes(),
            Location::StandardInput | Location::Cluster(_) => input.name.as_bytes(),
        }
    }
    inputs.sort_by(|a, b| path(a).cmp(path(b)));
    inputs.dedup_by(|a, b| path(a) == path(b));
    inputs
}

pub(super) fn input(path: PathBuf) -> Input {
    Input {
        name: path.to_string_lossy().into_owned(),
        location: Location::File(path),
        size: Some(0),
        ..Input::default()
    }
}

fn skipped(path: PathBuf, why: &'static str) -> Input {
    Input { skipped: Some(why), ..input(path) }
}

/// A directory that could not be listed.
pub(super) fn unreadable(path: &Path, e: &io::Error) -> Input {
    Input { problem: Some(format!("cannot be listed: {e}")), ..input(path.to_owned()) }
}

/// Returns true if an error means that the file does not exist, rather than that it is inaccessible.
pub(super) fn is_not_found(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) || is_loop(e)
}

/// Returns true for a loop of symbolic links.
fn is_loop(e: &io::Error) -> bool {
    e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// An entry of a directory that is not itself a directory. Only files are read, because reading a pipe that was not
/// named explicitly could block.
pub(super) fn file_or_skipped(path: PathBuf) -> Input {
    match fs::metadata(&path) {
        Ok(meta) if meta.is_file() => Input { size: Some(meta.len()), ..input(path) },
        Ok(meta) if meta.is_dir() => skipped(path, "is a link to a directory, which is read only if named explicitly"),
        Ok(_) => skipped(path, "is a pipe, a socket or a device"),
        Err(e) if is_not_found(&e) => skipped(path, "is a dangling link"),
        Err(e) => Input { problem: Some(format!("cannot be opened: {e}")), ..input(path) },
    }
}

/// The paths of a directory's entries; an empty path is the current directory.
pub(super) fn entries(directory: &Path) -> Result<Vec<(PathBuf, fs::FileType)>, io::Error> {
    let here = Path::new(".");
    let location = if directory.as_os_str().is_empty() { here } else { directory };
    let entry = |entry: io::Result<fs::DirEntry>| {
        let entry = entry?;
        Ok((directory.join(entry.file_name()), entry.file_type()?))
    };
    fs::read_dir(location)?.map(entry).collect()
}

/// Returns true if a path's last component is hidden.
pub(super) fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."))
}

/// The files below a directory, without hidden ones; symbolic links to directories are not followed, to avoid cycles.
/// Each skipped entry is reported.
pub(super) fn walk(directory: &Path) -> Vec<Input> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        match entries(&directory) {
            Ok(entries) => {
                for (path, kind) in entries {
                    if is_hidden(&path) {
                        found.push(skipped(path, "is hidden, and read only if named explicitly"));
                    } else if kind.is_dir() {
                        open.push(path);
                    } else {
                        found.push(file_or_skipped(path));
                    }
                }
            }
            Err(e) => found.push(unreadable(&directory, &e)),
        }
    }
    found
}
