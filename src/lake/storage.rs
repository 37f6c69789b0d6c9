//! Object storage: a lake's directory, or its prefix in a bucket.
//!
//! Every guarantee of a lake rests on one operation: create an object only if its name does not exist. In a directory,
//! a file is written under a temporary name, synced, and then hard-linked to its name. The link fails if the name
//! exists. Buckets use `If-None-Match: *` (S3), `x-goog-if-generation-match: 0` (GCS) or Azure's equivalent.

mod local;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tokio::runtime::Runtime;

use crate::error::{Context, Error, Result, Usage, bail};
use local::{beside, sync_parent, walk};

pub use local::{ObjectInfo, is_unfinished};

/// Delays before retries of a put whose result is unknown, in milliseconds.
const AGAIN_MS: [u64; 6] = [100, 200, 400, 800, 1_600, 3_200];

/// How many requests [`Storage::get_all`] sends at a time.
const AT_A_TIME: usize = 32;

/// The storage of a lake.
pub struct Storage {
    url: String,
    backend: Backend,
}

enum Backend {
    Directory(PathBuf),
    Bucket { store: Arc<dyn ObjectStore>, prefix: ObjectPath, runtime: Runtime },
}

/// The result of [`Storage::create`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// The object has the bytes of this writer, from this put or from an earlier attempt.
    Ours,
    /// Another writer was first; these are its bytes.
    Taken(Vec<u8>),
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Objects({})", self.url)
    }
}

/// The URL, without credentials.
impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// Returns true if a text is a bucket URL.
pub fn is_bucket(text: &str) -> bool {
    ["s3://", "s3a://", "gs://", "az://", "azure://", "abfs://", "abfss://"]
        .iter()
        .any(|scheme| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
}

impl Storage {
    /// Opens the storage at a directory, `file://`, `s3://`, `gs://` or `az://`. Credentials, endpoints and the like
    /// come from each cloud's usual environment variables.
    ///
    /// # Errors
    /// When the text is not a valid location.
    pub fn at(text: &str) -> Result<Storage> {
        if !is_bucket(text) {
            let directory = directory(text)?;
            let url = directory.to_string_lossy().into_owned();
            return Ok(Storage { url, backend: Backend::Directory(directory) });
        }
        let url = url::Url::parse(text).map_err(|error| Usage(format!("{text:?} is not a URL: {error}")))?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            let word = "a lake's URL must not contain credentials; they are read from the environment";
            return Err(Usage(word.into()).into());
        }
        if url.fragment().is_some() {
            return Err(Usage(format!("{text:?}: write # in a lake's URL as %23")).into());
        }
        let prefix = ObjectPath::from_url_path(url.path()).map_err(|error| Usage(format!("{text:?}: {error}")))?;
        let store = bucket(&url).map_err(|error| Usage(format!("{text}: {error}")))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Storage { url: text.trim_end_matches('/').to_owned(), backend: Backend::Bucket { store, prefix, runtime } })
    }

    /// The local directory; `None` for a bucket.
    pub fn directory(&self) -> Option<&Path> {
        match &self.backend {
            Backend::Directory(directory) => Some(directory),
            Backend::Bucket { .. } => None,
        }
    }

    /// Reads an object; `None` if it does not exist.
    ///
    /// # Errors
    /// When the store does not answer, or denies access.
    pub fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let cannot = || format!("lake {self}: cannot read {name}");
        match &self.backend {
            Backend::Directory(directory) => match fs::read(directory.join(name)) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error).with_context(cannot),
            },
            Backend::Bucket { store, prefix, runtime } => {
                let got = runtime.block_on(async { store.get(&key(prefix, name)).await?.bytes().await });
                match got {
                    Ok(bytes) => Ok(Some(bytes.to_vec())),
                    Err(object_store::Error::NotFound { .. }) => Ok(None),
                    Err(error) => Err(error).with_context(cannot),
                }
            }
        }
    }

    /// Reads many objects with several requests at a time, and passes their bytes to `each` in order; `None` for an
    /// object that does not exist.
    ///
    /// # Errors
    /// As [`Storage::get`], and errors of `each`.
    pub fn get_all(
        &self,
        names: impl Iterator<Item = String>,
        each: &mut dyn FnMut(Option<Vec<u8>>) -> Result<()>,
    ) -> Result<()> {
        let Backend::Bucket { store, prefix, runtime } = &self.backend else {
            return names.into_iter().try_for_each(|name| each(self.get(&name)?));
        };
        let get = |name: String| async move {
            match async { store.get(&key(prefix, &name)).await?.bytes().await }.await {
                Ok(bytes) => Ok(Some(bytes.to_vec())),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error).with_context(|| format!("lake {self}: cannot read {name}")),
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

    /// Reads an object that must exist.
    ///
    /// # Errors
    /// As [`Storage::get`], and [`Kind::Damaged`](crate::error::Kind::Damaged) when it does not exist.
    pub fn need(&self, name: &str) -> Result<Vec<u8>> {
        self.get(name)?.ok_or_else(|| Error::damaged(format!("lake {self}: {name} is missing")))
    }

    /// Returns true if an object exists.
    ///
    /// # Errors
    /// As [`Storage::get`].
    pub fn has(&self, name: &str) -> Result<bool> {
        let cannot = || format!("lake {self}: cannot read {name}");
        match &self.backend {
            Backend::Directory(directory) => directory.join(name).try_exists().with_context(cannot),
            Backend::Bucket { store, prefix, runtime } => match runtime.block_on(store.head(&key(prefix, name))) {
                Ok(_) => Ok(true),
                Err(object_store::Error::NotFound { .. }) => Ok(false),
                Err(error) => Err(error).with_context(cannot),
            },
        }
    }

    /// Writes an object, replacing an existing one. It is complete and durable when this returns.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn put(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        let cannot = || format!("lake {self}: cannot write {name}");
        match &self.backend {
            Backend::Directory(directory) => {
                let path = directory.join(name);
                let file = beside(&path, &bytes).with_context(cannot)?;
                file.persist(&path).map_err(|error| error.error).with_context(cannot)?;
                sync_parent(&path).with_context(cannot)
            }
            Backend::Bucket { store, prefix, runtime } => {
                runtime.block_on(store.put(&key(prefix, name), PutPayload::from(bytes))).map(drop).with_context(cannot)
            }
        }
    }

    /// Creates an object unless its name exists. Returns whether the object has these bytes or the bytes of another
    /// writer.
    ///
    /// A refusal by the store is verified: the object is read, and the put is repeated if the object does not exist.
    /// S3 answers 409 while another request for the name is in progress, even if that request is an earlier attempt
    /// of this put. S3 answers 412 after an attempt that succeeded but whose answer was lost.
    ///
    /// # Errors
    /// When the store cannot be written or read, or does not support conditional puts. The object may still exist, now
    /// or later.
    pub fn create(&self, name: &str, bytes: Vec<u8>) -> Result<Created> {
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
        bail!("lake {self}: cannot create {name}: the store refuses it, but has no object of that name")
    }

    /// One conditional put; `false` if the store refuses it.
    fn create_once(&self, name: &str, bytes: &[u8]) -> Result<bool> {
        let cannot = || format!("lake {self}: cannot create {name}");
        match &self.backend {
            Backend::Directory(directory) => {
                let path = directory.join(name);
                let file = beside(&path, bytes).with_context(cannot)?;
                // A hard link fails if the name exists, on every file system with links.
                match fs::hard_link(file.path(), &path) {
                    Ok(()) => sync_parent(&path).map(|()| true).with_context(cannot),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                    Err(error) => Err(error).with_context(cannot),
                }
            }
            Backend::Bucket { store, prefix, runtime } => {
                let (key, payload) = (key(prefix, name), PutPayload::from(bytes.to_vec()));
                let put = || {
                    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
                    runtime.block_on(store.put_opts(&key, payload.clone(), options))
                };
                let mut answer = put();
                // `object_store` does not retry this request when a connection breaks. Retrying is safe, because the
                // caller verifies a refusal.
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

    /// Removes an object. It is not an error if the object does not exist.
    ///
    /// # Errors
    /// When the store denies the removal.
    pub fn delete(&self, name: &str) -> Result<()> {
        let cannot = || format!("lake {self}: cannot remove {name}");
        match &self.backend {
            Backend::Directory(directory) => match fs::remove_file(directory.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).with_context(cannot),
                _ => Ok(()),
            },
            Backend::Bucket { store, prefix, runtime } => match runtime.block_on(store.delete(&key(prefix, name))) {
                Err(error) if !matches!(error, object_store::Error::NotFound { .. }) => Err(error).with_context(cannot),
                _ => Ok(()),
            },
        }
    }

    /// The objects below a name, sorted by name.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub fn list(&self, below: &str) -> Result<Vec<ObjectInfo>> {
        let cannot = || format!("lake {self}: cannot list {below}");
        let mut found = Vec::new();
        match &self.backend {
            Backend::Directory(directory) => {
                walk(directory, &directory.join(below), &mut Vec::new(), &mut found).with_context(cannot)?
            }
            Backend::Bucket { store, prefix, runtime } => {
                let below = key(prefix, below);
                let listed: Vec<_> = runtime.block_on(store.list(Some(&below)).try_collect()).with_context(cannot)?;
                let skip = if prefix.as_ref().is_empty() { 0 } else { prefix.as_ref().len() + 1 };
                found.extend(listed.into_iter().map(|meta| ObjectInfo {
                    name: meta.location.as_ref()[skip..].to_owned(),
                    bytes: meta.size,
                    written_ms: meta.last_modified.timestamp_millis(),
                }));
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// The names of the objects directly below a name that sort after another name.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub fn names_after(&self, below: &str, after: &str) -> Result<Vec<String>> {
        let cannot = || format!("lake {self}: cannot list {below}");
        let mut found = Vec::new();
        match &self.backend {
            Backend::Directory(directory) => {
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
            Backend::Bucket { store, prefix, runtime } => {
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

    /// The current time of the store's clock, in milliseconds since the epoch. Writes an object to read its time.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn now_ms(&self) -> Result<i64> {
        let name = format!("_alloclog/clock/{}", super::unique());
        self.put(&name, Vec::new())?;
        let written = self.list("_alloclog/clock")?.into_iter().find(|object| object.name == name);
        self.delete(&name)?;
        Ok(written.with_context(|| format!("lake {self}: an object that was just written is not listed"))?.written_ms)
    }
}

/// Returns true if an error leaves open whether the object was put.
fn is_unclear(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::Generic { .. })
}

/// The directory that a text names. The text is a path, or a `file://` URL of this host, in which `%20` is a space.
fn directory(text: &str) -> Result<PathBuf> {
    let wrong = |why: &str| Usage(format!("{text:?} is not the location of a lake: {why}"));
    let path = if text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:")) {
        let url = url::Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("in a file:// URL, write ? as %3F and # as %23").into());
        }
        let rest = text[5..].strip_prefix("//").unwrap_or_default();
        let is_absolute =
            rest.starts_with('/') || rest.get(..10).is_some_and(|host| host.eq_ignore_ascii_case("localhost/"));
        // A URL with a host names another machine. A URL without a host needs an absolute path.
        let path = url.to_file_path().ok().filter(|_| is_absolute);
        path.ok_or_else(|| wrong("write file:///DIRECTORY, with an absolute path and no host"))?
    } else if text.is_empty() || text.contains("://") {
        let known = "a lake is a directory, or s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX";
        return Err(wrong(known).into());
    } else {
        PathBuf::from(text)
    };
    // Normalize doubled and trailing slashes, so that a directory has one name in messages and metrics.
    Ok(path.components().collect())
}

fn key(prefix: &ObjectPath, name: &str) -> ObjectPath {
    let prefix = prefix.as_ref();
    ObjectPath::from(if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") })
}

fn bucket(url: &url::Url) -> object_store::Result<Arc<dyn ObjectStore>> {
    Ok(match url.scheme() {
        "s3" | "s3a" => {
            let mut builder = AmazonS3Builder::from_env().with_url(url.as_str());
            // An endpoint given as http:// allows plain HTTP.
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

/// Refuses a store that ignores the condition of [`Storage::create`]. `name` must be an existing object with these
/// bytes.
///
/// # Errors
/// When the store overwrites the object.
pub fn probe(storage: &Storage, name: &str, bytes: Vec<u8>) -> Result<()> {
    if storage.create_once(name, &bytes)? {
        bail!(
            "lake {storage}: this store overwrote an object that was to be created only if absent (it ignores \
             If-None-Match), so two writers could destroy each other's work; use a store that honours it"
        );
    }
    Ok(())
}
