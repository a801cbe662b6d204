//! Where a cache lies: names below its root, create-once writes, the lock of the one writer.

use std::fs::{self, File, TryLockError};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::CacheError;
use super::checked::CheckedStore;
use super::local::DurableLocal;
use super::read::Footers;

/// The lock file. Its content means nothing: the lock is the operating system's and goes with the process.
const LOCK: &str = "_m/lock";

/// A file of the cache.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    /// Relative to the root of the cache.
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) modified_ms: i64,
}

/// A store with the cache at its root.
#[derive(Debug)]
pub(super) struct Storage {
    pub(super) store: Arc<dyn ObjectStore>,
    /// The same, for those who read segments.
    pub(super) checked: CheckedStore,
    pub(super) footers: Footers,
    /// For messages.
    pub(super) location: String,
    /// Held as long as the writer lives.
    _lock: Option<File>,
}

impl Storage {
    /// A store that the caller made. It has no file lock: that only one process writes is seen when two commit.
    pub(super) fn of_store(store: Arc<dyn ObjectStore>, location: &str) -> Self {
        Storage {
            checked: CheckedStore::new(Arc::clone(&store)),
            footers: Footers::default(),
            store,
            location: location.to_owned(),
            _lock: None,
        }
    }

    /// A local directory, created if it is not there, for the one writer.
    pub(super) fn writer(location: &str) -> Result<Self, CacheError> {
        let root = local_directory(location)?;
        let io = |source: std::io::Error| unusable(location, &source);
        fs::create_dir_all(root.join("_m")).map_err(io)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(root.join(LOCK))
            .map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(CacheError::Locked {
                    location: location.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        DurableLocal::remove_temporary(&root).map_err(io)?;
        let store = DurableLocal::new(&root).map_err(|error| unusable(location, &error))?;
        Ok(Storage {
            _lock: Some(lock),
            ..Storage::of_store(Arc::new(store), location)
        })
    }

    /// A local directory, to read.
    pub(super) fn reader(location: &str) -> Result<Self, CacheError> {
        let root = local_directory(location)?;
        if !root.join("_m").is_dir() {
            return Err(CacheError::NotACache {
                location: location.to_owned(),
            });
        }
        let store = DurableLocal::new(&root).map_err(|error| unusable(location, &error))?;
        Ok(Storage::of_store(Arc::new(store), location))
    }

    /// A file as messages name it.
    pub(super) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.location.trim_end_matches('/'))
    }

    fn error(&self, action: &'static str, name: &str, source: Error) -> CacheError {
        CacheError::Store {
            action,
            file: self.file(name),
            source,
        }
    }

    /// `None` if it is not there.
    pub(super) async fn get(&self, name: &str) -> Result<Option<Bytes>, CacheError> {
        let result = match self.store.get(&Path::from(name)).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        match result {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.error("read", name, error)),
        }
    }

    /// Writes a file under a name that must be free.
    pub(super) async fn create(&self, name: &str, bytes: Vec<u8>) -> Result<(), CacheError> {
        let path = Path::from(name);
        let options = PutOptions::from(PutMode::Create);
        let created = self.store.put_opts(&path, PutPayload::from(bytes), options);
        created.await.map_err(|error| self.error("write", name, error))?;
        Ok(())
    }

    pub(super) async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), CacheError> {
        let path = Path::from(name);
        let written = self.store.put(&path, PutPayload::from(bytes));
        written.await.map_err(|error| self.error("write", name, error))?;
        Ok(())
    }

    /// The files below a folder, by name; those after `after` if it is given.
    pub(super) async fn list(&self, folder: &str, after: Option<&str>) -> Result<Vec<Listed>, CacheError> {
        let prefix = Path::from(folder);
        let found = match after {
            Some(after) => self.store.list_with_offset(Some(&prefix), &Path::from(after)),
            None => self.store.list(Some(&prefix)),
        };
        let listed = found.map_ok(|meta| Listed {
            name: meta.location.as_ref().to_owned(),
            bytes: meta.size,
            modified_ms: meta.last_modified.timestamp_millis(),
        });
        let listed: Result<Vec<Listed>, Error> = listed.try_collect().await;
        let mut listed = listed.map_err(|error| self.error("list", folder, error))?;
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    /// A file that is not there is as good as deleted.
    pub(super) async fn delete(&self, name: &str) -> Result<(), CacheError> {
        match self.store.delete(&Path::from(name)).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.error("delete", name, error)),
        }
    }
}

fn unusable(location: &str, error: &(dyn std::error::Error + 'static)) -> CacheError {
    CacheError::Location {
        location: location.to_owned(),
        reason: crate::telemetry::error_chain(error),
    }
}

fn local_directory(location: &str) -> Result<PathBuf, CacheError> {
    if let Some((scheme, _)) = location.split_once("://") {
        let path = url::Url::parse(location)
            .ok()
            .filter(|url| url.scheme() == "file")
            .and_then(|url| url.to_file_path().ok());
        return path.ok_or_else(|| CacheError::Location {
            location: location.to_owned(),
            reason: format!("{scheme} is not supported yet: give a local directory"),
        });
    }
    std::path::absolute(location).map_err(|error| unusable(location, &error))
}
