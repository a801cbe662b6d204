//! Object stores: S3 and what speaks its protocol; Google's and Azure's, which the same client knows.
//!
//! There are no directories there: what lies below `dir/` begins with that text. A directory is there as long as something lies in it. Names
//! are taken as they are, nothing in a URI is decoded. Paths are the object's URI: `s3://bucket/prefix/name`, also where a user wrote `s3a`.
//!
//! Objects that stand for directories (`dir/` and Hadoop's `dir_$folder$`, both without bytes) are not shown.

mod counting;
mod failure;
mod open;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};

use super::{Entry, Guard, LogStore, RequestCounter, Requests, StoreError, StoreHealth, threads};
use failure::Place;
pub(super) use open::open;

/// Hadoop's older sign of a directory.
const FOLDER_SIGN: &str = "_$folder$";
/// Larger ends are not asked for: servers read a range into a signed number.
const LARGEST_OFFSET: u64 = i64::MAX as u64;

/// One bucket of one object store.
#[derive(Debug)]
struct Bucket {
    client: Arc<Client>,
    read_ahead: u64,
}

/// What requests need; they run on threads of their own.
struct Client {
    objects: Arc<dyn ObjectStore>,
    pages: Arc<dyn PaginatedListStore>,
    place: Place,
    /// What the paths of all objects begin with: `s3://bucket`.
    root: String,
    guard: Guard,
    requests: Arc<RequestCounter>,
    /// Directories that something was in: without it they are empty, and not missing.
    seen: Mutex<BTreeSet<String>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.root).finish()
    }
}

/// What a prefix holds.
#[derive(Debug, Default)]
struct Listing {
    objects: Vec<ObjectMeta>,
    /// Without their slashes.
    directories: BTreeSet<String>,
    /// There is something, if only an object that stands for the directory.
    is_there: bool,
}

impl Client {
    /// The key of a path, without a slash in front.
    fn key<'p>(&self, path: &'p str) -> &'p str {
        path.strip_prefix(&self.root).unwrap_or(path).trim_matches('/')
    }

    /// What the keys of a directory's entries begin with.
    fn prefix(&self, dir: &str) -> String {
        match self.key(dir) {
            "" => String::new(),
            key => format!("{key}/"),
        }
    }

    /// A key as the client of the store wants it.
    fn location(&self, path: &str) -> Result<Path, StoreError> {
        Path::parse(self.key(path)).map_err(|error| StoreError::Refused {
            path: path.to_owned(),
            message: format!("this name cannot be asked for: {error}"),
        })
    }

    /// Everything whose key begins with `prefix`, page by page; with `by_directory` only what lies in no deeper directory, and these.
    async fn list(
        &self,
        dir: &str,
        prefix: &str,
        by_directory: bool,
        most: Option<usize>,
    ) -> Result<Listing, StoreError> {
        let mut listing = Listing::default();
        let mut token: Option<String> = None;
        loop {
            // A page that fails is asked for again, and not those before it.
            let page = self.guard.run(dir, || async {
                let options = PaginatedListOptions {
                    delimiter: by_directory.then(|| "/".into()),
                    max_keys: most,
                    page_token: token.clone(),
                    ..PaginatedListOptions::default()
                };
                let prefix = Some(prefix).filter(|prefix| !prefix.is_empty());
                let page = self.pages.list_paginated(prefix, options).await;
                page.map_err(|error| self.place.store_error(dir, &error))
            });
            let page = page.await?;
            listing.is_there |= !page.result.objects.is_empty() || !page.result.common_prefixes.is_empty();
            listing.objects.extend(page.result.objects);
            let names = page.result.common_prefixes.iter().filter_map(|found| {
                let name = found.as_ref().strip_prefix(prefix)?;
                Some(name.to_owned())
            });
            listing.directories.extend(names);
            token = page.page_token;
            if token.is_none() || most.is_some() {
                return Ok(listing);
            }
        }
    }

    async fn entries(&self, dir: &str) -> Result<Vec<Entry>, StoreError> {
        let prefix = self.prefix(dir);
        let dir = dir.trim_end_matches('/');
        let listing = self.list(dir, &prefix, true, None).await?;
        if !listing.is_there && !prefix.is_empty() && !self.was_seen(dir) {
            let not_found = || StoreError::NotFound { path: dir.to_owned() };
            return Err(match self.object(dir).await? {
                Some(_) => StoreError::NotADirectory { path: dir.to_owned() },
                None => not_found(),
            });
        }
        self.note_seen(dir);
        let files = listing.objects.iter().filter_map(|object| {
            let name = object.location.as_ref().strip_prefix(&prefix)?;
            (!is_sign(name, object.size)).then(|| file(dir, name, object))
        });
        let mut entries: Vec<Entry> = files.collect();
        entries.extend(listing.directories.iter().map(|name| directory(dir, name)));
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    async fn entries_of_all(&self, dir: &str, begin: &str) -> Result<BTreeMap<String, Vec<Entry>>, StoreError> {
        let prefix = self.prefix(dir);
        let dir = dir.trim_end_matches('/');
        let listing = self.list(dir, &format!("{prefix}{begin}"), false, None).await?;
        let mut all: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for object in &listing.objects {
            // What has no slash is a file beside the directories.
            let below = object.location.as_ref().strip_prefix(&prefix);
            let Some((name, rest)) = below.and_then(|below| below.split_once('/')) else {
                continue;
            };
            let entries = all.entry(name.to_owned()).or_default();
            let of_dir = format!("{dir}/{name}");
            match rest.split_once('/') {
                Some((deeper, _)) if entries.iter().any(|entry| entry.is_dir && entry.name == deeper) => {}
                Some((deeper, _)) => entries.push(directory(&of_dir, deeper)),
                None if is_sign(rest, object.size) => {}
                None => entries.push(file(&of_dir, rest, object)),
            }
        }
        for entries in all.values_mut() {
            entries.sort_by(|a, b| a.name.cmp(&b.name));
        }
        Ok(all)
    }

    /// The object of a path, if there is one.
    async fn object(&self, path: &str) -> Result<Option<ObjectMeta>, StoreError> {
        let location = self.location(path)?;
        let head = || async {
            let found = self.objects.head(&location).await;
            found.map_err(|error| self.place.store_error(path, &error))
        };
        match self.guard.run(path, head).await {
            Ok(object) => Ok(Some(object)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn head(&self, path: &str) -> Result<Entry, StoreError> {
        let path = path.trim_end_matches('/');
        let (dir, name) = path.rsplit_once('/').unwrap_or_default();
        // A listing is asked for first, because its errors say more.
        let prefix = self.prefix(path);
        let listing = self.list(path, &prefix, true, Some(1)).await?;
        if listing.is_there || prefix.is_empty() {
            self.note_seen(path);
            return Ok(Entry {
                path: path.to_owned(),
                ..directory(dir, name)
            });
        }
        match self.object(path).await? {
            Some(object) => Ok(file(dir, name, &object)),
            None => Err(StoreError::NotFound { path: path.to_owned() }),
        }
    }

    async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let location = self.location(path)?;
        let get = || async {
            let options = GetOptions {
                range: Some(match range.end {
                    0..=LARGEST_OFFSET => GetRange::Bounded(range.clone()),
                    _ => GetRange::Offset(range.start),
                }),
                ..GetOptions::default()
            };
            let failed = |error: &object_store::Error| self.place.store_error(path, error);
            let found = match self.objects.get_opts(&location, options).await {
                // The object is not that long.
                Err(error) if failure::is_past_the_end(&error) => return Ok(Bytes::new()),
                found => found.map_err(|error| failed(&error))?,
            };
            found.bytes().await.map_err(|error| failed(&error))
        };
        let bytes = self.guard.run(path, get).await?;
        self.requests.read(bytes.len() as u64);
        Ok(bytes)
    }

    fn was_seen(&self, dir: &str) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.contains(dir)
    }

    fn note_seen(&self, dir: &str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.contains(dir) {
            seen.insert(dir.to_owned());
        }
    }
}

/// An object that stands for a directory.
fn is_sign(name: &str, size: u64) -> bool {
    size == 0 && (name.is_empty() || name.ends_with(FOLDER_SIGN))
}

fn file(dir: &str, name: &str, object: &ObjectMeta) -> Entry {
    Entry {
        path: format!("{dir}/{name}"),
        name: name.to_owned(),
        is_dir: false,
        is_special: false,
        size_bytes: object.size,
        modified_ms: object.last_modified.timestamp_millis(),
    }
}

fn directory(dir: &str, name: &str) -> Entry {
    Entry {
        path: format!("{dir}/{name}"),
        name: name.to_owned(),
        is_dir: true,
        is_special: false,
        size_bytes: 0,
        // Object stores do not say.
        modified_ms: 0,
    }
}

impl Bucket {
    /// Runs a request on the threads of storage, where the connections are.
    async fn send<T, F>(&self, path: &str, request: impl FnOnce(Arc<Client>, String) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let work = request(Arc::clone(&self.client), path.to_owned());
        let failed = |source| StoreError::Io {
            path: path.to_owned(),
            source,
        };
        threads::spawn(work).map_err(failed)?.await.map_err(failed)?
    }
}

#[async_trait]
impl LogStore for Bucket {
    async fn list(&self, dir: &str) -> Result<Vec<Entry>, StoreError> {
        self.send(dir, |client, dir| async move { client.entries(&dir).await })
            .await
    }

    async fn head(&self, path: &str) -> Result<Entry, StoreError> {
        self.send(path, |client, path| async move { client.head(&path).await })
            .await
    }

    async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.send(path, |client, path| async move { client.read(&path, range).await })
            .await
    }

    fn read_ahead(&self) -> u64 {
        self.read_ahead
    }

    async fn list_all(&self, dir: &str, begin: &str) -> Result<Option<BTreeMap<String, Vec<Entry>>>, StoreError> {
        let begin = begin.to_owned();
        self.send(dir, |client, dir| async move {
            client.entries_of_all(&dir, &begin).await.map(Some)
        })
        .await
    }

    fn requests(&self) -> Requests {
        self.client.requests.so_far()
    }

    fn health(&self) -> Option<StoreHealth> {
        Some(self.client.guard.health())
    }
}
