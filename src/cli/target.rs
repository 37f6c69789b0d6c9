//! Targets of `-o FILE`: stdout, a pipe or device, or a file, which must not be one of the inputs.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::error::Usage;
use crate::source::{self, Input, kept};

/// Names of stdout. It is written to in place and never replaced by another file.
const STANDARD_OUTPUT: [&str; 4] = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];

/// The file that `-o` names; `None` for stdout.
pub fn file(output: Option<&Path>) -> Option<&Path> {
    output.filter(|path| !STANDARD_OUTPUT.iter().any(|name| *path == Path::new(name)))
}

/// Returns true if a path is a pipe or a device, which is written to in place.
pub fn is_stream(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| {
        let kind = found.file_type();
        kind.is_fifo() || kind.is_char_device()
    })
}

/// Refuses a target that is also read: one of the inputs, its metadata file, one of `others`, or a file in a lake.
///
/// # Errors
/// A usage error that names the file.
pub fn refuse_input(target: &Path, inputs: &[Input], lakes: &[&str], others: &[&Path]) -> Result<(), Usage> {
    let refused = |what: &str| Err(Usage(format!("-o {}: {what}; name another file", target.display())));
    let files = inputs.iter().filter_map(|input| match &input.place {
        source::Place::File(path) => Some(path.as_path()),
        source::Place::StandardInput | source::Place::Cluster(_) => None,
    });
    if let Ok(found) = fs::metadata(target) {
        let is_same = |path: &Path| {
            fs::metadata(path).is_ok_and(|other| (other.dev(), other.ino()) == (found.dev(), found.ino()))
        };
        if found.is_file() && files.clone().chain(others.iter().copied()).any(is_same) {
            return refused("the file is one of the inputs");
        }
        if found.is_file() && files.clone().any(|path| is_same(&kept::path_beside(path))) {
            return refused("the file belongs to one of the inputs");
        }
    }
    let place = absolute(target);
    let is_in = |lake: &&str| fs::canonicalize(lake).is_ok_and(|lake| place.starts_with(lake));
    if lakes.iter().any(is_in) { refused("the file is in a lake that is read") } else { Ok(()) }
}

/// The absolute path of a file that may not exist yet.
fn absolute(path: &Path) -> PathBuf {
    if let Ok(found) = fs::canonicalize(path) {
        return found;
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = fs::canonicalize(parent).unwrap_or_else(|_| parent.to_owned());
    parent.join(path.file_name().unwrap_or_default())
}
