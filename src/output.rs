//! Results that appear whole or not at all: a directory of tables, or a file.
//!
//! It is made beside its place under a name of its own and renamed at the end. What an export that was killed left
//! behind is removed by the next one to the same place: a lock tells that nobody is at work there.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

/// The file that says what an export is.
pub const MANIFEST: &str = "_export.json";

/// How many random letters and digits end the name of a directory beside its place: more than a word has, so that a
/// user's own directory is not taken for one that was left behind.
const RANDOM: usize = 16;

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
    force: bool,
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
        let target = followed(target)?;
        let shown = target.display();
        if is_mounted(&target) {
            bail!(
                "{shown} is a mount point, which cannot be replaced; name a directory below it, such as {shown}/tables"
            );
        }
        may_replace(&target, &target, force)?;
        let (temporary, lock) = beside(&target)?;
        for directory in ["store", "out"] {
            let cannot = || format!("{} cannot be written", target.display());
            fs::create_dir(temporary.path().join(directory)).with_context(cannot)?;
        }
        Ok(Output { target, force, temporary, _lock: lock })
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

    /// Puts the directory in its place. What came there since [`Output::begin`] is not replaced, but by `--force` if it
    /// is an earlier export.
    ///
    /// # Errors
    /// When it cannot be written or renamed, or something came there; nothing has changed then.
    pub fn commit(self, manifest: &Manifest) -> anyhow::Result<()> {
        let shown = self.target.display();
        let cannot = || format!("{shown} cannot be written");
        let mut text = serde_json::to_string_pretty(manifest)?;
        text.push('\n');
        fs::write(self.file(MANIFEST), text).with_context(cannot)?;
        // tempfile makes directories for their owner alone; ours are made as any other would be.
        let made = self.temporary.path().join("out");
        // A directory takes the place of nothing or of an empty directory. Whatever else is there the system lets be,
        // also what came a moment ago.
        match fs::rename(&made, &self.target) {
            Err(e) if is_taken(&e) && self.force => self.replace(&made),
            Err(e) if is_taken(&e) => {
                bail!("{shown} was made by somebody else in the meantime, and is left as it is; name another directory")
            }
            result => result.with_context(cannot),
        }
    }

    /// Puts `made` where an earlier export is, which goes with the temporary directory. What turns out to be something
    /// else is put back.
    fn replace(self, made: &Path) -> anyhow::Result<()> {
        let shown = self.target.display();
        let cannot = || format!("{shown} cannot be written");
        let is_exchanged = exchange(made, &self.target).with_context(cannot)?;
        let old = if is_exchanged { made.to_owned() } else { made.with_file_name("old") };
        if !is_exchanged {
            fs::rename(&self.target, &old).with_context(cannot)?;
        }
        let mut replaced = may_replace(&old, &self.target, true)
            .with_context(|| format!("{shown} changed in the meantime, and is left as it is"));
        if replaced.is_ok() && !is_exchanged {
            replaced = fs::rename(made, &self.target).with_context(cannot);
        }
        let Err(problem) = replaced else { return Ok(()) };
        let back = if is_exchanged { exchange(made, &self.target).map(drop) } else { fs::rename(&old, &self.target) };
        if let Err(e) = back {
            let kept = self.temporary.keep();
            let kept = kept.join(old.file_name().unwrap_or_default());
            bail!("{problem:#}; it could not be put back ({e}) and is now {}", kept.display());
        }
        Err(problem)
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
        let target = followed(target)?;
        let shown = target.display();
        if target.exists() && !target.is_file() {
            bail!("{shown} is no file; name one");
        }
        if is_mounted(&target) {
            bail!("{shown} is a mount point, which cannot be replaced; name a file in a directory that is mounted");
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

    /// Puts the file in its place, with the mode and the owner of the one that it replaces.
    ///
    /// # Errors
    /// When it cannot be renamed, or the owner cannot be kept; nothing has changed then.
    pub fn commit(self) -> anyhow::Result<()> {
        let shown = self.target.display();
        let cannot = || format!("{shown} cannot be written");
        let made = self.unfinished();
        if let Ok(old) = fs::metadata(&self.target) {
            let new = fs::metadata(&made).with_context(cannot)?;
            let changed = |new: u32, old: u32| (new != old).then_some(old);
            let (user, group) = (changed(new.uid(), old.uid()), changed(new.gid(), old.gid()));
            if user.or(group).is_some() {
                chown(&made, user, group).with_context(|| {
                    format!("{shown} belongs to another user or group, which cannot be kept; remove it, or name another file")
                })?;
            }
            // After the owner: a change of owner takes some bits away.
            fs::set_permissions(&made, old.permissions()).with_context(cannot)?;
        }
        fs::rename(made, &self.target).with_context(cannot)
    }

    fn unfinished(&self) -> PathBuf {
        self.temporary.path().join("result")
    }
}

/// The place that is meant: a link stays a link, and what it points to is replaced.
fn followed(target: &Path) -> anyhow::Result<PathBuf> {
    // Without a slash at its end, behind which a link looks like what it points to.
    let target: PathBuf = target.components().collect();
    if !target.is_symlink() {
        return Ok(target);
    }
    let cannot = || format!("{} is a link that leads nowhere; remove it, or make what it points to", target.display());
    fs::canonicalize(&target).with_context(cannot)
}

/// A directory of our own beside the target, locked, so that whoever cleans up after those that were killed lets it be.
fn beside(target: &Path) -> anyhow::Result<(TempDir, File)> {
    let parent = parent(target);
    let Some(name) = target.file_name() else { bail!("{} is no name for a result", target.display()) };
    let prefix = format!(".{}.alloclog-", name.to_string_lossy());
    remove_leftovers(parent, &prefix);
    let cannot = || format!("{} cannot be written", target.display());
    loop {
        let temporary =
            tempfile::Builder::new().prefix(&prefix).rand_bytes(RANDOM).tempdir_in(parent).with_context(cannot)?;
        let lock = File::open(temporary.path()).with_context(cannot)?;
        lock.lock().with_context(cannot)?;
        // Before it was locked, another run may have taken it for abandoned.
        if temporary.path().exists() {
            return Ok((temporary, lock));
        }
    }
}

/// Exchanges two places in one step; `false` where the file system cannot.
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

/// Whether a directory could not be renamed because something stands in its place.
fn is_taken(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory};
    matches!(error.kind(), AlreadyExists | DirectoryNotEmpty | NotADirectory)
}

/// Whether something is mounted at a place, so that nothing can be renamed to it.
fn is_mounted(place: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
        // Also true of a directory that is mounted from the same device.
        let found = statx(CWD, place, AtFlags::empty(), StatxFlags::empty());
        if found.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)) {
            return true;
        }
    }
    // Files are not asked this: in an overlay, which is what containers have, they may be of another device.
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    place.is_dir() && device(place) != device(parent(place))
}

/// The directory that a place is in.
fn parent(place: &Path) -> &Path {
    place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether what stands at a place may go: nothing, an empty directory, or with `--force` an earlier export. It is
/// called by the name that the user knows.
fn may_replace(place: &Path, name: &Path, force: bool) -> anyhow::Result<()> {
    let shown = name.display();
    if place.is_symlink() {
        bail!("{shown} is a link");
    }
    let entries = match fs::read_dir(place) {
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
    let manifest = fs::read(place.join(MANIFEST)).ok().and_then(|text| serde_json::from_slice::<Manifest>(&text).ok());
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
    for entry in entries.flatten().filter(|e| is_ours(&e.file_name().to_string_lossy(), prefix)) {
        // Locked until it is gone, so that whoever has just made it sees that it lost it.
        let Ok(lock) = File::open(entry.path()) else { continue };
        if lock.try_lock().is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether a name is one that [`beside`] gives.
fn is_ours(name: &str, prefix: &str) -> bool {
    let rest = name.strip_prefix(prefix);
    rest.is_some_and(|rest| rest.len() == RANDOM && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}
