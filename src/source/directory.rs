//! Directories, and the files in them.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Input, Place};

/// Sorted by the bytes of their paths, each once.
pub(super) fn in_order(mut inputs: Vec<Input>) -> Vec<Input> {
    fn path(input: &Input) -> &[u8] {
        match &input.place {
            Place::File(path) => path.as_os_str().as_bytes(),
            Place::StandardInput | Place::Cluster(_) => input.name.as_bytes(),
        }
    }
    inputs.sort_by(|a, b| path(a).cmp(path(b)));
    inputs.dedup_by(|a, b| path(a) == path(b));
    inputs
}

pub(super) fn input(path: PathBuf) -> Input {
    Input { name: path.to_string_lossy().into_owned(), place: Place::File(path), size: Some(0), ..Input::default() }
}

fn passed_over(path: PathBuf, why: &'static str) -> Input {
    Input { passed_over: Some(why), ..input(path) }
}

/// Something of which it is not known what lies there.
pub(super) fn unlisted(path: &Path, e: &io::Error) -> Input {
    Input { problem: Some(format!("cannot be listed: {e}")), ..input(path.to_owned()) }
}

/// Whether an error says that nothing is there, rather than that it cannot be seen.
pub(super) fn is_absence(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) || is_loop(e)
}

/// A link that leads to itself.
fn is_loop(e: &io::Error) -> bool {
    e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// Something in a directory that is no directory: a file is read, and what else there is is passed over. Nothing is
/// waited for that nobody named, as a pipe would have it.
pub(super) fn met(path: PathBuf) -> Input {
    match fs::metadata(&path) {
        Ok(meta) if meta.is_file() => Input { size: Some(meta.len()), ..input(path) },
        Ok(meta) if meta.is_dir() => {
            passed_over(path, "is a link to a directory, which is not entered unless it is named")
        }
        Ok(_) => passed_over(path, "is a pipe, a socket or a device"),
        Err(e) if is_absence(&e) => passed_over(path, "is a link to nothing"),
        Err(e) => Input { problem: Some(format!("cannot be opened: {e}")), ..input(path) },
    }
}

/// The paths of what stands in a directory; an empty path means where we are.
pub(super) fn entries(directory: &Path) -> Result<Vec<(PathBuf, fs::FileType)>, io::Error> {
    let here = Path::new(".");
    let place = if directory.as_os_str().is_empty() { here } else { directory };
    let entry = |entry: io::Result<fs::DirEntry>| {
        let entry = entry?;
        Ok((directory.join(entry.file_name()), entry.file_type()?))
    };
    fs::read_dir(place)?.map(entry).collect()
}

/// Whether a path's last name is a hidden one.
pub(super) fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."))
}

/// What stands below a directory, hidden names and what is below them left out; directories behind symbolic links are
/// not entered, so that no walk goes round in circles. What is left out is passed over, and so named once.
pub(super) fn below(directory: &Path) -> Vec<Input> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        match entries(&directory) {
            Ok(entries) => {
                for (path, kind) in entries {
                    if is_hidden(&path) {
                        found.push(passed_over(path, "is hidden, and not looked at unless it is named"));
                    } else if kind.is_dir() {
                        open.push(path);
                    } else {
                        found.push(met(path));
                    }
                }
            }
            Err(e) => found.push(unlisted(&directory, &e)),
        }
    }
    found
}
