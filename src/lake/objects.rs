//! Bytes under names: a lake's directory, or its part of a bucket.
//!
//! Everything that a lake promises rests on one thing that a place must be able to do: to create an object only if none
//! of its name is there. A local file is written beside its place, synced, and given its name by a link that fails where
//! one exists; buckets take `If-None-Match: *` (S3), `x-goog-if-generation-match: 0` (GCS) or its like (Azure).

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, bail};
use futures::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tokio::runtime::Runtime;

use super::Damaged;
use crate::error::Usage;

/// How the names of files begin that are being written; whoever is killed leaves one.
const UNFINISHED: &str = ".alloclog-";

/// How long is waited before each further try of a put whose answer is not known, in milliseconds.
const AGAIN_MS: [u64; 6] = [100, 200, 400, 800, 1_600, 3_200];

/// How many objects [`Objects::get_all`] asks for at a time.
const AT_A_TIME: usize = 32;

/// The place where a lake lies.
pub struct Objects {
    url: String,
    place: Place,
}

enum Place {
    Directory(PathBuf),
    Bucket { store: Arc<dyn ObjectStore>, prefix: Key, runtime: Runtime },
}

/// What a place says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its name within the place.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was written by the clock of the place, in milliseconds since the epoch.
    pub written_ms: i64,
}

/// What became of [`Objects::create`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// The object has our bytes: from this put, or from an earlier attempt of it.
    Ours,
    /// Another writer was first; these are its bytes.
    Taken(Vec<u8>),
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Objects({})", self.url)
    }
}

/// The URL, which holds no credential.
impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// Whether a text names a place in a bucket.
pub fn is_bucket(text: &str) -> bool {
    ["s3://", "s3a://", "gs://", "az://", "azure://", "abfs://", "abfss://"]
        .iter()
        .any(|scheme| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
}

impl Objects {
    /// The place that a text names: a directory, `file://`, `s3://`, `gs://` or `az://`. Credentials, endpoints and
    /// the like come from each cloud's usual environment variables.
    ///
    /// # Errors
    /// When the text names no place that can be used.
    pub fn at(text: &str) -> anyhow::Result<Objects> {
        if !is_bucket(text) {
            let directory = directory(text)?;
            let url = directory.to_string_lossy().into_owned();
            return Ok(Objects { url, place: Place::Directory(directory) });
        }
        let url = url::Url::parse(text).map_err(|error| Usage(format!("{text:?} is no URL: {error}")))?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            let word = "no credentials belong into a lake's URL; they are read from the environment";
            return Err(Usage(word.into()).into());
        }
        if url.fragment().is_some() {
            return Err(Usage(format!("{text:?}: write # in a lake's URL as %23")).into());
        }
        let prefix = Key::from_url_path(url.path()).map_err(|error| Usage(format!("{text:?}: {error}")))?;
        let store = bucket(&url).map_err(|error| Usage(format!("{text}: {error}")))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Objects { url: text.trim_end_matches('/').to_owned(), place: Place::Bucket { store, prefix, runtime } })
    }

    /// The directory, where it is one.
    pub fn directory(&self) -> Option<&Path> {
        match &self.place {
            Place::Directory(directory) => Some(directory),
            Place::Bucket { .. } => None,
        }
    }

    /// The bytes of an object; `None` where there is none.
    ///
    /// # Errors
    /// When the place does not answer, or forbids it.
    pub fn get(&self, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let cannot = || format!("lake {self}: {name} cannot be read");
        match &self.place {
            Place::Directory(directory) => match fs::read(directory.join(name)) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error).with_context(cannot),
            },
            Place::Bucket { store, prefix, runtime } => {
                let got = runtime.block_on(async { store.get(&key(prefix, name)).await?.bytes().await });
                match got {
                    Ok(bytes) => Ok(Some(bytes.to_vec())),
                    Err(object_store::Error::NotFound { .. }) => Ok(None),
                    Err(error) => Err(error).with_context(cannot),
                }
            }
        }
    }

    /// The bytes of many objects, in order, several requests at a time; `None` where there is none.
    ///
    /// # Errors
    /// As [`Objects::get`], and what `each` gives.
    pub fn get_all(
        &self,
        names: impl Iterator<Item = String>,
        each: &mut dyn FnMut(Option<Vec<u8>>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Place::Bucket { store, prefix, runtime } = &self.place else {
            return names.into_iter().try_for_each(|name| each(self.get(&name)?));
        };
        let get = |name: String| async move {
            match async { store.get(&key(prefix, &name)).await?.bytes().await }.await {
                Ok(bytes) => Ok(Some(bytes.to_vec())),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error).with_context(|| format!("lake {self}: {name} cannot be read")),
            }
        };
        runtime.block_on(async {
            let mut answers = std::pin::pin!(futures::stream::iter(names.map(get)).buffered(AT_A_TIME));
            while let Some(answer) = answers.next().await {
                each(answer?)?;
            }
            Ok(())
        })
    }

    /// The bytes of an object that must be there.
    ///
    /// # Errors
    /// As [`Objects::get`], and [`Damaged`] when there is none.
    pub fn need(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        self.get(name)?.ok_or_else(|| Damaged(format!("lake {self}: {name} is missing")).into())
    }

    /// Whether there is an object of this name.
    ///
    /// # Errors
    /// As [`Objects::get`].
    pub fn has(&self, name: &str) -> anyhow::Result<bool> {
        let cannot = || format!("lake {self}: {name} cannot be looked at");
        match &self.place {
            Place::Directory(directory) => directory.join(name).try_exists().with_context(cannot),
            Place::Bucket { store, prefix, runtime } => match runtime.block_on(store.head(&key(prefix, name))) {
                Ok(_) => Ok(true),
                Err(object_store::Error::NotFound { .. }) => Ok(false),
                Err(error) => Err(error).with_context(cannot),
            },
        }
    }

    /// Writes an object, over one of its name. It is there whole, and durably, when this returns.
    ///
    /// # Errors
    /// When the place cannot be written.
    pub fn put(&self, name: &str, bytes: Vec<u8>) -> anyhow::Result<()> {
        let cannot = || format!("lake {self}: {name} cannot be written");
        match &self.place {
            Place::Directory(directory) => {
                let path = directory.join(name);
                let file = beside(&path, &bytes).with_context(cannot)?;
                file.persist(&path).map_err(|error| error.error).with_context(cannot)?;
                sync_parent(&path).with_context(cannot)
            }
            Place::Bucket { store, prefix, runtime } => {
                runtime.block_on(store.put(&key(prefix, name), PutPayload::from(bytes))).map(drop).with_context(cannot)
            }
        }
    }

    /// Creates an object, unless one of its name is there, and says whose bytes are there now.
    ///
    /// A store's refusal is not believed by itself. S3 answers 409 while another request for the name is under way, an
    /// earlier attempt of this one among them, and 412 after an attempt that succeeded and whose answer was lost. So the
    /// object is read, and where it is absent the put is repeated.
    ///
    /// # Errors
    /// When the place cannot be written or read, or does not know conditional puts. Then the object may be there all the
    /// same, now or later.
    pub fn create(&self, name: &str, bytes: Vec<u8>) -> anyhow::Result<Created> {
        for wait in AGAIN_MS.into_iter().map(Some).chain([None]) {
            if self.create_once(name, &bytes)? {
                return Ok(Created::Ours);
            }
            match self.get(name)? {
                Some(there) if there == bytes => return Ok(Created::Ours),
                Some(there) => return Ok(Created::Taken(there)),
                None => std::thread::sleep(Duration::from_millis(wait.unwrap_or_default())),
            }
        }
        bail!("lake {self}: {name} cannot be created: the store refuses it, and has no object of that name")
    }

    /// One conditional put: `false` when the place refuses it.
    fn create_once(&self, name: &str, bytes: &[u8]) -> anyhow::Result<bool> {
        let cannot = || format!("lake {self}: {name} cannot be created");
        match &self.place {
            Place::Directory(directory) => {
                let path = directory.join(name);
                let file = beside(&path, bytes).with_context(cannot)?;
                // A link fails where the name is taken, on every file system that has links at all.
                match fs::hard_link(file.path(), &path) {
                    Ok(()) => sync_parent(&path).map(|()| true).with_context(cannot),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                    Err(error) => Err(error).with_context(cannot),
                }
            }
            Place::Bucket { store, prefix, runtime } => {
                let (key, payload) = (key(prefix, name), PutPayload::from(bytes.to_vec()));
                let put = || {
                    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
                    runtime.block_on(store.put_opts(&key, payload.clone(), options))
                };
                let mut answer = put();
                // The library does not repeat this when a connection breaks. The caller reads what is there, so it may be
                // repeated.
                for wait in AGAIN_MS {
                    if !answer.as_ref().is_err_and(is_unclear) {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(wait));
                    answer = put();
                }
                match answer {
                    Ok(_) => Ok(true),
                    Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                        Ok(false)
                    }
                    Err(
                        error @ (object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. }),
                    ) => {
                        let without = "this store cannot create an object only if it is absent (If-None-Match), which a lake needs";
                        Err(error).context(without).with_context(cannot)
                    }
                    Err(error) => Err(error).with_context(cannot),
                }
            }
        }
    }

    /// Removes an object; one that is gone already is no error.
    ///
    /// # Errors
    /// When the place forbids it.
    pub fn delete(&self, name: &str) -> anyhow::Result<()> {
        let cannot = || format!("lake {self}: {name} cannot be removed");
        match &self.place {
            Place::Directory(directory) => match fs::remove_file(directory.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).with_context(cannot),
                _ => Ok(()),
            },
            Place::Bucket { store, prefix, runtime } => match runtime.block_on(store.delete(&key(prefix, name))) {
                Err(error) if !matches!(error, object_store::Error::NotFound { .. }) => Err(error).with_context(cannot),
                _ => Ok(()),
            },
        }
    }

    /// The objects below a name, sorted by name.
    ///
    /// # Errors
    /// When the place cannot be listed.
    pub fn list(&self, below: &str) -> anyhow::Result<Vec<Object>> {
        let cannot = || format!("lake {self}: {below} cannot be listed");
        let mut found = Vec::new();
        match &self.place {
            Place::Directory(directory) => {
                walk(directory, &directory.join(below), &mut Vec::new(), &mut found).with_context(cannot)?
            }
            Place::Bucket { store, prefix, runtime } => {
                let below = key(prefix, below);
                let listed: Vec<_> = runtime.block_on(store.list(Some(&below)).try_collect()).with_context(cannot)?;
                let skip = if prefix.as_ref().is_empty() { 0 } else { prefix.as_ref().len() + 1 };
                found.extend(listed.into_iter().map(|meta| Object {
                    name: meta.location.as_ref()[skip..].to_owned(),
                    bytes: meta.size,
                    written_ms: meta.last_modified.timestamp_millis(),
                }));
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// The names of the objects directly below a name that come after another name, sorted.
    ///
    /// # Errors
    /// When the place cannot be listed.
    pub fn names_after(&self, below: &str, after: &str) -> anyhow::Result<Vec<String>> {
        let cannot = || format!("lake {self}: {below} cannot be listed");
        let mut found = Vec::new();
        match &self.place {
            Place::Directory(directory) => {
                let entries = match fs::read_dir(directory.join(below)) {
                    Ok(entries) => entries,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
                    Err(error) => return Err(error).with_context(cannot),
                };
                for entry in entries {
                    let file = entry.with_context(cannot)?.file_name();
                    found.extend(file.to_str().map(|file| format!("{below}/{file}")));
                }
            }
            Place::Bucket { store, prefix, runtime } => {
                let (below, after) = (key(prefix, below), key(prefix, after));
                let listing = store.list_with_offset(Some(&below), &after);
                let listed: Vec<_> = runtime.block_on(listing.try_collect()).with_context(cannot)?;
                let skip = if prefix.as_ref().is_empty() { 0 } else { prefix.as_ref().len() + 1 };
                found.extend(listed.into_iter().map(|meta| meta.location.as_ref()[skip..].to_owned()));
            }
        }
        found.retain(|name| name.as_str() > after);
        found.sort();
        Ok(found)
    }

    /// The time by the clock of the place, in milliseconds since the epoch, found by writing an object.
    ///
    /// # Errors
    /// When the place cannot be written.
    pub fn now_ms(&self) -> anyhow::Result<i64> {
        let name = format!("_alloclog/clock/{}", super::unique());
        self.put(&name, Vec::new())?;
        let written = self.list("_alloclog/clock")?.into_iter().find(|object| object.name == name);
        self.delete(&name)?;
        Ok(written.with_context(|| format!("lake {self}: what was just written is not listed"))?.written_ms)
    }
}

/// Whether an object is a file that somebody had begun to write.
pub fn is_unfinished(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|file| file.starts_with(UNFINISHED))
}

/// Whether an error leaves open whether the object was put.
fn is_unclear(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::Generic { .. })
}

/// The directory that a text names: a path as it is, or a `file://` URL of this host, in which `%20` is a space.
fn directory(text: &str) -> anyhow::Result<PathBuf> {
    let wrong = |why: &str| Usage(format!("{text:?} names no lake: {why}"));
    let path = if text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:")) {
        let url = url::Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("in a file:// URL, write ? as %3F and # as %23").into());
        }
        let rest = text[5..].strip_prefix("//").unwrap_or_default();
        let is_absolute =
            rest.starts_with('/') || rest.get(..10).is_some_and(|host| host.eq_ignore_ascii_case("localhost/"));
        // A host is another machine; a path without one must begin with a slash.
        let path = url.to_file_path().ok().filter(|_| is_absolute);
        path.ok_or_else(|| wrong("write file:///DIRECTORY, with an absolute path and no host"))?
    } else if text.is_empty() || text.contains("://") {
        let known = "a lake is a directory, or s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX";
        return Err(wrong(known).into());
    } else {
        PathBuf::from(text)
    };
    // Without doubled and trailing slashes, so that the same directory has one name in messages and metrics.
    Ok(path.components().collect())
}

fn key(prefix: &Key, name: &str) -> Key {
    let prefix = prefix.as_ref();
    Key::from(if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") })
}

fn bucket(url: &url::Url) -> object_store::Result<Arc<dyn ObjectStore>> {
    Ok(match url.scheme() {
        "s3" | "s3a" => {
            let mut builder = AmazonS3Builder::from_env().with_url(url.as_str());
            // An endpoint that is named with http:// is meant to be spoken to so.
            let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]
                .iter()
                .find_map(|name| std::env::var(name).ok());
            if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
                builder = builder.with_allow_http(true);
            }
            Arc::new(builder.build()?)
        }
        "gs" => Arc::new(GoogleCloudStorageBuilder::from_env().with_url(url.as_str()).build()?),
        _ => Arc::new(MicrosoftAzureBuilder::from_env().with_url(url.as_str()).build()?),
    })
}

/// A file beside its place, with these bytes, on disk.
fn beside(path: &Path, bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let directory = path.parent().unwrap_or(Path::new("."));
    make_directory(directory)?;
    let mut file = tempfile::Builder::new().prefix(UNFINISHED).permissions(shared()).tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Others may read a lake, as far as the umask lets them: a temporary file is for its writer alone.
fn shared() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}

/// Makes a directory and those above it, and makes their names durable.
fn make_directory(directory: &Path) -> io::Result<()> {
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

fn sync_parent(path: &Path) -> io::Result<()> {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(above)?.sync_all()
}

/// Lists the files below a directory. Links are followed: a directory that is a link is listed like any other, and is
/// itself no object. Skipped are links to nothing, and links to a directory that is in the lake, or that it is in: what is
/// there has another name already.
fn walk(root: &Path, directory: &Path, above: &mut Vec<(u64, u64)>, found: &mut Vec<Object>) -> io::Result<()> {
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
            // It went while we looked, or is a link to nothing or to itself.
            Err(error) if error.kind() == io::ErrorKind::NotFound || is_link(&path) => continue,
            Err(error) => return Err(error),
        };
        if meta.is_dir() {
            if !is_link(&path) || is_apart(root, &path)? {
                walk(root, &path, above, found)?;
            }
        } else if let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) {
            let written = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            found.push(Object { name: name.to_owned(), bytes: meta.len(), written_ms: written.as_millis() as i64 });
        }
    }
    above.pop();
    Ok(())
}

/// Returns true if a directory is neither in another one nor holds it, links resolved.
fn is_apart(root: &Path, path: &Path) -> io::Result<bool> {
    let (root, path) = (fs::canonicalize(root)?, fs::canonicalize(path)?);
    Ok(!path.starts_with(&root) && !root.starts_with(&path))
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink())
}

/// Refuses a place that ignores the condition of [`Objects::create`]: `name` is there already, with these bytes.
///
/// # Errors
/// When it is written over.
pub fn probe(objects: &Objects, name: &str, bytes: Vec<u8>) -> anyhow::Result<()> {
    if objects.create_once(name, &bytes)? {
        bail!(
            "lake {objects}: this store wrote over an object that was to be created only if absent (it ignores \
             If-None-Match), so two writers could destroy each other's work; use a store that honours it"
        );
    }
    Ok(())
}
