//! Results that appear completely or not at all: a directory of tables, or a file.
//!
//! A result is written to a hidden temporary directory next to its target, and renamed at the end. A later export to
//! the same target removes the directory that a killed export left. An export locks its directory while it runs, so a
//! directory without a lock was left by a killed export.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use crate::error::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

/// Name of the file that describes an export.
pub const MANIFEST: &str = "_export.json";

/// Length of the random suffix of a temporary directory. The suffix is so long that a directory of the user is not
/// mistaken for a leftover.
const RANDOM: usize = 16;

/// The content of `_export.json`. It says what was exported, so that a later export may replace the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of alloclog that wrote it.
    pub alloclog_version: String,
    /// Format of the files.
    pub format: String,
    /// The region given by `--region`.
    pub region: String,
    /// The value of `--namespace`; null if not given.
    pub namespace: Option<String>,
    /// The value of `--job`; null if not given.
    pub job: Option<String>,
    /// The value of `--since`; null if not given.
    pub since: Option<String>,
    /// The value of `--until`; null if not given.
    pub until: Option<String>,
    /// The columns of `--by`.
    #[serde(default)]
    pub by: Vec<String>,
    /// The name of the key of the pseudonyms of `--redact`; missing without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redacted_with: Option<String>,
    /// The files, in the order of `--table`.
    pub files: Vec<Exported>,
}

/// One file of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// Name of the table or view.
    pub table: String,
    /// Name of its file.
    pub file: String,
    /// Number of its rows.
    pub rows: u64,
}

/// A directory that is not yet at its target.
#[derive(Debug)]
pub struct Output {
    target: PathBuf,
    force: bool,
    temporary: TempDir,
    /// The lock of the temporary directory, which keeps other exports from removing the directory.
    _lock: File,
}

impl Output {
    /// Creates the temporary directory for `target`.
    ///
    /// # Errors
    /// When something exists at the target that may not be replaced, or the temporary directory cannot be written.
    pub fn begin(target: &Path, force: bool) -> Result<Output> {
        let target = resolve_link(target)?;
        let shown = target.display();
        if is_mounted(&target) {
            bail!(
                "{shown} is a mount point, which cannot be replaced; name a directory below it, such as {shown}/tables"
            );
        }
        may_replace(&target, &target, force)?;
        let (temporary, lock) = make_work_directory(&target)?;
        for directory in ["store", "out"] {
            let cannot = || format!("cannot write {}", target.display());
            fs::create_dir(temporary.path().join(directory)).with_context(cannot)?;
        }
        Ok(Output { target, force, temporary, _lock: lock })
    }

    /// The path to remove on interruption.
    pub fn temporary(&self) -> &Path {
        self.temporary.path()
    }

    /// A directory for work files that are not part of the result.
    pub fn store(&self) -> PathBuf {
        self.temporary.path().join("store")
    }

    /// The temporary path of a file of the result.
    pub fn file(&self, name: &str) -> PathBuf {
        self.temporary.path().join("out").join(name)
    }

    /// Renames the directory to its target. A target that was created since [`Output::begin`] is not replaced, unless
    /// it is an earlier export and `--force` is given.
    ///
    /// # Errors
    /// When the directory cannot be written or renamed, or the target was created meanwhile. Then nothing has changed.
    pub fn commit(self, manifest: &Manifest) -> Result<()> {
        let shown = self.target.display();
        let cannot = || format!("cannot write {shown}");
        let mut text = serde_json::to_string_pretty(manifest)?;
        text.push('\n');
        fs::write(self.file(MANIFEST), text).with_context(cannot)?;
        // Directories that tempfile creates are accessible to their owner only. The directory `out` has the usual
        // permissions.
        let made = self.temporary.path().join("out");
        // `rename` replaces only an empty directory. The system refuses any other target, even one that was created a
        // moment ago.
        match fs::rename(&made, &self.target) {
            Err(e) if is_taken(&e) && self.force => self.replace(&made),
            Err(e) if is_taken(&e) => {
                bail!("{shown} was created by another program meanwhile, and is not replaced; name another directory")
            }
            result => result.with_context(cannot),
        }
    }

    /// Swaps `made` with the earlier export, which is removed with the temporary directory. If the target turns out
    /// not to be an export, the two are swapped back.
    fn replace(self, made: &Path) -> Result<()> {
        let shown = self.target.display();
        let cannot = || format!("cannot write {shown}");
        let is_exchanged = exchange(made, &self.target).with_context(cannot)?;
        let old = if is_exchanged { made.to_owned() } else { made.with_file_name("old") };
        if !is_exchanged {
            fs::rename(&self.target, &old).with_context(cannot)?;
        }
        let mut replaced = may_replace(&old, &self.target, true)
            .with_context(|| format!("{shown} was changed by another program meanwhile, and is not replaced"));
        if replaced.is_ok() && !is_exchanged {
            replaced = fs::rename(made, &self.target).with_context(cannot);
        }
        let Err(problem) = replaced else { return Ok(()) };
        let back = if is_exchanged { exchange(made, &self.target).map(drop) } else { fs::rename(&old, &self.target) };
        if let Err(e) = back {
            let kept = self.temporary.keep();
            let kept = kept.join(old.file_name().unwrap_or_default());
            bail!("{problem:#}; it could not be moved back ({e}) and is now {}", kept.display());
        }
        Err(problem)
    }
}

/// A file that is written in a temporary directory, and then replaces its target.
#[derive(Debug)]
pub struct OutputFile {
    target: PathBuf,
    temporary: TempDir,
    /// Like the lock of [`Output`].
    _lock: File,
}

impl OutputFile {
    /// Creates the temporary directory for a file at `target`.
    ///
    /// # Errors
    /// When the target is not a file, or cannot be written.
    pub fn begin(target: &Path) -> Result<OutputFile> {
        let target = resolve_link(target)?;
        let shown = target.display();
        if target.exists() && !target.is_file() {
            bail!("{shown} is not a file; name a file");
        }
        if is_mounted(&target) {
            bail!("{shown} is a mount point, which cannot be replaced; name a file in a directory that is mounted");
        }
        if target.metadata().is_ok_and(|metadata| metadata.permissions().readonly()) {
            bail!("cannot write {shown}: it is read-only");
        }
        let (temporary, lock) = make_work_directory(&target)?;
        Ok(OutputFile { target, temporary, _lock: lock })
    }

    /// A directory for work files; the path to remove on interruption.
    pub fn temporary(&self) -> &Path {
        self.temporary.path()
    }

    /// Creates the file, in the temporary directory.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(&self) -> Result<File> {
        File::create(self.unfinished()).with_context(|| format!("cannot write {}", self.target.display()))
    }

    /// Renames the file to its target, with the mode and the owner of the file that it replaces. After that, another
    /// file may be created and renamed.
    ///
    /// # Errors
    /// When the file cannot be renamed, or the owner cannot be kept. Then nothing has changed.
    pub fn commit(&self) -> Result<()> {
        let shown = self.target.display();
        let cannot = || format!("cannot write {shown}");
        let made = self.unfinished();
        if let Ok(old) = fs::metadata(&self.target) {
            let new = fs::metadata(&made).with_context(cannot)?;
            let changed = |new: u32, old: u32| (new != old).then_some(old);
            let (user, group) = (changed(new.uid(), old.uid()), changed(new.gid(), old.gid()));
            if user.or(group).is_some() {
                chown(&made, user, group).with_context(|| {
                    format!("{shown} belongs to another user or group, which cannot be preserved; remove it, or name another file")
                })?;
            }
            // Set the mode after the owner, because changing the owner clears some mode bits.
            fs::set_permissions(&made, old.permissions()).with_context(cannot)?;
        }
        fs::rename(made, &self.target).with_context(cannot)
    }

    fn unfinished(&self) -> PathBuf {
        self.temporary.path().join("result")
    }
}

/// Returns the target with links resolved. So a link stays, and the file that it points to is replaced.
fn resolve_link(target: &Path) -> Result<PathBuf> {
    // Normalize a trailing slash, which would hide that the target is a link.
    let target: PathBuf = target.components().collect();
    if !target.is_symlink() {
        return Ok(target);
    }
    let cannot = || format!("{} is a dangling link; remove it, or create what it points to", target.display());
    fs::canonicalize(&target).with_context(cannot)
}

/// Creates a locked temporary directory next to the target.
fn make_work_directory(target: &Path) -> Result<(TempDir, File)> {
    let parent = parent(target);
    let Some(name) = target.file_name() else { bail!("{} is not a file name", target.display()) };
    let prefix = format!(".{}.alloclog-", name.to_string_lossy());
    remove_leftovers(parent, &prefix);
    let cannot = || format!("cannot write {}", target.display());
    loop {
        let temporary =
            tempfile::Builder::new().prefix(&prefix).rand_bytes(RANDOM).tempdir_in(parent).with_context(cannot)?;
        let lock = File::open(temporary.path()).with_context(cannot)?;
        lock.lock().with_context(cannot)?;
        // Another run may have removed the directory as a leftover before it was locked.
        if temporary.path().exists() {
            return Ok((temporary, lock));
        }
    }
}

/// Exchanges two paths atomically; `false` if the file system does not support it.
fn exchange(one: &Path, other: &Path) -> io::Result<bool> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => Ok(false),
            result => Ok(result.map(|()| true)?),
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (one, other);
        Ok(false)
    }
}

/// Returns true if a directory could not be renamed because the target exists.
fn is_taken(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory};
    matches!(error.kind(), AlreadyExists | DirectoryNotEmpty | NotADirectory)
}

/// Returns true if a path is a mount point, which cannot be renamed to.
fn is_mounted(target: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
        // Also true for a bind mount from the same device.
        let found = statx(CWD, target, AtFlags::empty(), StatxFlags::empty());
        if found.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)) {
            return true;
        }
    }
    // Skip files, because in an overlay file system (containers) a file may be on another device than its directory.
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    target.is_dir() && device(target) != device(parent(target))
}

/// The parent directory.
fn parent(target: &Path) -> &Path {
    target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Checks that `target` may be replaced. It may be replaced if it does not exist, if it is an empty directory, or if it
/// is an earlier export and `--force` is given. Error messages use `name`, the path given by the user.
fn may_replace(target: &Path, name: &Path, force: bool) -> Result<()> {
    let shown = name.display();
    if target.is_symlink() {
        bail!("{shown} is a link");
    }
    let entries = match fs::read_dir(target) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => bail!("{shown} is a file; -o must be a directory"),
        Err(e) => return Err(e).with_context(|| format!("cannot read {shown}")),
    };
    let names: BTreeSet<String> = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()
        .with_context(|| format!("cannot read {shown}"))?;
    if names.is_empty() {
        return Ok(());
    }
    if !force {
        bail!("{shown} exists; use --force to replace an earlier export");
    }
    let manifest = fs::read(target.join(MANIFEST)).ok().and_then(|text| serde_json::from_slice::<Manifest>(&text).ok());
    let Some(manifest) = manifest else {
        bail!("{shown} is not an earlier export (it has no readable {MANIFEST}), so --force does not replace it");
    };
    let ours: BTreeSet<String> = manifest.files.into_iter().map(|f| f.file).chain([MANIFEST.to_owned()]).collect();
    if let Some(foreign) = names.difference(&ours).next() {
        bail!("{shown} contains {foreign:?}, which is not part of an export; move it away first");
    }
    Ok(())
}

/// Removes leftovers of killed exports next to the target. Failures are ignored.
fn remove_leftovers(parent: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten().filter(|e| is_ours(&e.file_name().to_string_lossy(), prefix)) {
        // Keep the lock until the directory is removed, so that an export that just created the directory notices its
        // removal.
        let Ok(lock) = File::open(entry.path()) else { continue };
        if lock.try_lock().is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Returns true if a name is one created by [`make_work_directory`].
fn is_ours(name: &str, prefix: &str) -> bool {
    let rest = name.strip_prefix(prefix);
    rest.is_some_and(|rest| rest.len() == RANDOM && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}
