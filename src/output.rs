//! Results that appear whole or not at all: a directory of tables, or a file.
//!
//! It is made beside its place under a name of its own and renamed at the end. What an export that was killed left
//! behind is removed by the next one to the same place: a lock tells that nobody is at work there.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

/// The file that says what an export is.
pub const MANIFEST: &str = "_export.json";

/// What `_export.json` says: what was exported, so that a later export may replace it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of alloclog that wrote it.
    pub alloclog_version: String,
    /// Format of the files.
    pub format: String,
    /// What `--region` says.
    pub region: String,
    /// What `--namespace`, `--job`, `--since` and `--until` say; null for nothing.
    pub namespace: Option<String>,
    /// See `namespace`.
    pub job: Option<String>,
    /// See `namespace`.
    pub since: Option<String>,
    /// See `namespace`.
    pub until: Option<String>,
    /// What `--by` says: the columns that make up a group.
    #[serde(default)]
    pub by: Vec<String>,
    /// The files, in the order of `--table`.
    pub files: Vec<Exported>,
}

/// One file of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// The table or view.
    pub table: String,
    /// Its file's name.
    pub file: String,
    /// How many rows it has.
    pub rows: u64,
}

/// A directory on its way to its place.
#[derive(Debug)]
pub struct Output {
    target: PathBuf,
    temporary: TempDir,
    /// The directory itself, locked while we live, so that another export knows.
    _lock: File,
}

impl Output {
    /// Begins a directory that will stand at `target`.
    ///
    /// # Errors
    /// When something stands there already that may not be replaced, or the place cannot be written.
    pub fn begin(target: &Path, force: bool) -> anyhow::Result<Output> {
        // A link stays a link: what it points to is replaced.
        let target = if target.is_symlink() { fs::canonicalize(target)? } else { target.to_owned() };
        may_replace(&target, force)?;
        let (temporary, lock) = beside(&target)?;
        for directory in ["store", "out"] {
            let cannot = || format!("{} cannot be written", target.display());
            fs::create_dir(temporary.path().join(directory)).with_context(cannot)?;
        }
        Ok(Output { target, temporary, _lock: lock })
    }

    /// All that must go if the program is interrupted.
    pub fn temporary(&self) -> &Path {
        self.temporary.path()
    }

    /// Where work may lie that is not part of the result.
    pub fn store(&self) -> PathBuf {
        self.temporary.path().join("store")
    }

    /// Where a file of the result is made.
    pub fn file(&self, name: &str) -> PathBuf {
        self.temporary.path().join("out").join(name)
    }

    /// Puts the directory in its place.
    ///
    /// # Errors
    /// When it cannot be written or renamed; nothing has changed then.
    pub fn commit(self, manifest: &Manifest) -> anyhow::Result<()> {
        let cannot = || format!("{} cannot be written", self.target.display());
        let mut text = serde_json::to_string_pretty(manifest)?;
        text.push('\n');
        fs::write(self.file(MANIFEST), text).with_context(cannot)?;
        let made = self.temporary.path().join("out");
        // tempfile makes directories for their owner alone; ours are made as any other would be.
        if self.target.exists() {
            exchange(&made, &self.target).with_context(cannot)?;
        } else {
            fs::rename(&made, &self.target).with_context(cannot)?;
        }
        Ok(())
    }
}

/// A file on its way to its place, where it replaces what is there.
#[derive(Debug)]
pub struct OutputFile {
    target: PathBuf,
    temporary: TempDir,
    /// As that of [`Output`].
    _lock: File,
}

impl OutputFile {
    /// Begins a file that will stand at `target`.
    ///
    /// # Errors
    /// When something stands there that is no file, or the place cannot be written.
    pub fn begin(target: &Path) -> anyhow::Result<OutputFile> {
        let target = if target.is_symlink() { fs::canonicalize(target)? } else { target.to_owned() };
        let shown = target.display();
        if target.exists() && !target.is_file() {
            bail!("{shown} is no file; name one");
        }
        if target.metadata().is_ok_and(|metadata| metadata.permissions().readonly()) {
            bail!("{shown} cannot be written: it is read-only");
        }
        let (temporary, lock) = beside(&target)?;
        Ok(OutputFile { target, temporary, _lock: lock })
    }

    /// Where work may lie; all that must go if the program is interrupted.
    pub fn temporary(&self) -> &Path {
        self.temporary.path()
    }

    /// Creates the file, not yet in its place.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(&self) -> anyhow::Result<File> {
        File::create(self.unfinished()).with_context(|| format!("{} cannot be written", self.target.display()))
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// When it cannot be renamed; nothing has changed then.
    pub fn commit(self) -> anyhow::Result<()> {
        let cannot = || format!("{} cannot be written", self.target.display());
        fs::rename(self.unfinished(), &self.target).with_context(cannot)
    }

    fn unfinished(&self) -> PathBuf {
        self.temporary.path().join("result")
    }
}

/// A directory of our own beside the target, locked, so that whoever cleans up after those that were killed lets it be.
fn beside(target: &Path) -> anyhow::Result<(TempDir, File)> {
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let Some(name) = target.file_name() else { bail!("{} is no name for a result", target.display()) };
    let prefix = format!(".{}.alloclog-", name.to_string_lossy());
    remove_leftovers(parent, &prefix);
    let cannot = || format!("{} cannot be written", target.display());
    loop {
        let temporary = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent).with_context(cannot)?;
        let lock = File::open(temporary.path()).with_context(cannot)?;
        lock.lock().with_context(cannot)?;
        // Before it was locked, another run may have taken it for abandoned.
        if temporary.path().exists() {
            return Ok((temporary, lock));
        }
    }
}

/// Puts `made` where `target` is; what was there goes with the temporary directory.
fn exchange(made: &Path, target: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, made, CWD, target, RenameFlags::EXCHANGE) {
            // Some file systems cannot exchange.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {}
            result => return Ok(result?),
        }
    }
    let old = made.with_file_name("old");
    fs::rename(target, &old)?;
    fs::rename(made, target).inspect_err(|_| {
        // Its place is free again, so this can only fail as the other one did.
        let _ = fs::rename(&old, target);
    })
}

/// Whether what stands at the target may go: nothing, an empty directory, or with `--force` an earlier export.
fn may_replace(target: &Path, force: bool) -> anyhow::Result<()> {
    let shown = target.display();
    let entries = match fs::read_dir(target) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => bail!("{shown} is a file; -o takes a directory"),
        Err(e) => return Err(e).with_context(|| format!("{shown} cannot be read")),
    };
    let names: BTreeSet<String> = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()
        .with_context(|| format!("{shown} cannot be read"))?;
    if names.is_empty() {
        return Ok(());
    }
    if !force {
        bail!("{shown} exists already; --force replaces an earlier export");
    }
    let manifest = fs::read(target.join(MANIFEST)).ok().and_then(|text| serde_json::from_slice::<Manifest>(&text).ok());
    let Some(manifest) = manifest else {
        bail!("{shown} is no earlier export (it has no {MANIFEST} that can be read), so --force does not replace it");
    };
    let ours: BTreeSet<String> = manifest.files.into_iter().map(|f| f.file).chain([MANIFEST.to_owned()]).collect();
    if let Some(foreign) = names.difference(&ours).next() {
        bail!("{shown} holds {foreign:?}, which no export put there; move it away first");
    }
    Ok(())
}

/// Removes what exports that were killed left beside the target. What cannot be removed does no harm.
fn remove_leftovers(parent: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with(prefix)) {
        // Locked until it is gone, so that whoever has just made it sees that it lost it.
        let Ok(lock) = File::open(entry.path()) else { continue };
        if lock.try_lock().is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
