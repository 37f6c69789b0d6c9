//! Targets of `-o FILE`: stdout, a pipe or device, or a file, which must not be one of the inputs.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;
use tempfile::TempDir;

use super::{broken_pipe, signals};
use crate::error::Usage;
use crate::output::OutputFile;
use crate::pipeline::Sources;
use crate::render;
use crate::source::{self, fetch_file};
use crate::store::Store;

/// Names of stdout. Stdout is written to in place and never replaced by another file.
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

/// Refuses the target of a flag if the command also reads it. The command reads its inputs, their metadata files,
/// `others`, and the files in a lake.
///
/// # Errors
/// A usage error that names the file.
pub fn refuse_input(flag: &str, target: &Path, sources: &Sources, others: &[&Path]) -> Result<(), Usage> {
    let refused = |what: &str| Err(Usage(format!("{flag} {}: {what}; name another file", target.display())));
    let files = sources.inputs().iter().filter_map(|input| match &input.location {
        source::Location::File(path) => Some(path.as_path()),
        // This may be a file that the shell opened for stdin.
        source::Location::StandardInput => Some(Path::new("/dev/stdin")),
        source::Location::Cluster(_) => None,
    });
    if let Ok(found) = fs::metadata(target) {
        let is_same = |path: &Path| {
            fs::metadata(path).is_ok_and(|other| (other.dev(), other.ino()) == (found.dev(), found.ino()))
        };
        if found.is_file() && files.clone().chain(others.iter().copied()).any(is_same) {
            return refused("the file is one of the inputs");
        }
        if found.is_file() && files.clone().any(|path| is_same(&fetch_file::sidecar_path(path))) {
            return refused("the file belongs to one of the inputs");
        }
    }
    let path = absolute(target);
    let is_in = |lake: &String| fs::canonicalize(lake).is_ok_and(|lake| path.starts_with(lake));
    if sources.lakes().iter().any(is_in) { refused("the file is in a lake that is read") } else { Ok(()) }
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

/// A result as JSON; control characters are escaped for a terminal.
///
/// # Errors
/// When the result cannot be serialized, which would be a bug.
pub fn json(result: &impl Serialize, is_for_terminal: bool) -> anyhow::Result<String> {
    let text = serde_json::to_string_pretty(result)? + "\n";
    Ok(if is_for_terminal { render::json::escaped(&text) } else { text })
}

/// The target of a result, and a temporary directory with its store. The directory is removed on interruption.
#[derive(Debug)]
pub enum ResultTarget {
    /// Stdout, computed in a temporary directory.
    Standard(TempDir),
    /// A pipe or a device, written to in place.
    Stream(PathBuf, TempDir),
    /// A file.
    File(OutputFile),
}

impl ResultTarget {
    /// Creates the temporary file or directory for a result.
    ///
    /// # Errors
    /// When the target cannot be written.
    pub fn begin(file: Option<&Path>) -> anyhow::Result<ResultTarget> {
        signals::with_cleanup_lock(|unfinished| {
            let directory = || tempfile::tempdir().context("cannot create a temporary directory");
            let output_target = match file {
                None => ResultTarget::Standard(directory()?),
                Some(path) if is_stream(path) => ResultTarget::Stream(path.to_owned(), directory()?),
                Some(path) => ResultTarget::File(OutputFile::begin(path)?),
            };
            *unfinished = Some(output_target.directory().to_owned());
            Ok(output_target)
        })
    }

    /// The store of the result.
    pub fn store(&self) -> Store {
        Store::at(self.directory())
    }

    /// Returns true for a file, which [`ResultTarget::refresh`] replaces.
    pub fn is_file(&self) -> bool {
        matches!(self, ResultTarget::File(_))
    }

    /// Replaces the file by an intermediate result; does nothing for other targets.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn refresh(&self, text: &str) -> anyhow::Result<()> {
        let ResultTarget::File(file) = self else { return Ok(()) };
        signals::with_cleanup_lock(|_| {
            file.create()?.write_all(text.as_bytes())?;
            Ok(file.commit()?)
        })
    }

    /// Writes the result and moves it to its target.
    ///
    /// # Errors
    /// When `write` fails, or the target cannot be written.
    pub fn finish(self, write: impl FnOnce(&mut (dyn Write + Send)) -> anyhow::Result<()>) -> anyhow::Result<()> {
        match self {
            ResultTarget::Standard(_) => {
                let mut out = broken_pipe::stdout();
                write(&mut out)?;
                Ok(out.flush()?)
            }
            ResultTarget::Stream(path, _) => {
                let cannot = || format!("cannot write {}", path.display());
                let mut out = File::options().write(true).open(&path).with_context(cannot)?;
                write(&mut out).with_context(cannot)
            }
            ResultTarget::File(file) => {
                write(&mut file.create()?)?;
                signals::with_cleanup_lock(|unfinished| {
                    *unfinished = None;
                    Ok(file.commit()?)
                })
            }
        }
    }

    fn directory(&self) -> &Path {
        match self {
            ResultTarget::Standard(directory) | ResultTarget::Stream(_, directory) => directory.path(),
            ResultTarget::File(file) => file.temporary(),
        }
    }
}
