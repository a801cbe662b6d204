//! The local file system as a store whose writes survive a power cut once they are answered.
//!
//! `object_store`'s own `LocalFileSystem` never syncs. Here every object is written to a file below `_tmp`, synced, linked to its
//! name (create-once) or renamed over it, and the directory is synced. A crash leaves at most a file below `_tmp`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use super::name;

/// Where files are written before they get their name. On the same file system, so that a link is enough.
pub(super) const TEMPORARY: &str = "_tmp";

#[derive(Debug)]
pub(super) struct DurableLocal {
    root: PathBuf,
    inner: LocalFileSystem,
}

impl std::fmt::Display for DurableLocal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DurableLocal({})", self.root.display())
    }
}

impl DurableLocal {
    /// `root` must exist.
    pub(super) fn new(root: &FsPath) -> Result<Self> {
        Ok(DurableLocal {
            root: root.to_owned(),
            inner: LocalFileSystem::new_with_prefix(root)?,
        })
    }

    /// Removes what a crash left half-written. Only for the one writer.
    pub(super) fn remove_temporary(root: &FsPath) -> io::Result<()> {
        match fs::remove_dir_all(root.join(TEMPORARY)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn staged(&self, location: &Path) -> Result<Staged> {
        Ok(Staged {
            root: self.root.clone(),
            from: self.root.join(TEMPORARY).join(name::unique()),
            to: self.inner.path_to_filesystem(location)?,
        })
    }
}

/// A file on its way to its name.
#[derive(Debug, Clone)]
struct Staged {
    root: PathBuf,
    from: PathBuf,
    to: PathBuf,
}

impl Staged {
    fn create(&self) -> io::Result<File> {
        if let Some(dir) = self.from.parent() {
            fs::create_dir_all(dir)?;
        }
        OpenOptions::new().write(true).create_new(true).open(&self.from)
    }

    /// The file is whole: syncs it and gives it its name.
    fn publish(&self, file: &File, mode: &PutMode) -> Result<PutResult> {
        let published = self.publish_io(file, mode);
        if published.is_err() || *mode == PutMode::Create {
            // What cannot be removed now goes when the next writer starts.
            fs::remove_file(&self.from).ok();
        }
        match published {
            Ok(()) => Ok(PutResult {
                e_tag: None,
                version: None,
            }),
            Err(error) => Err(store_error(&self.to, error)),
        }
    }

    fn publish_io(&self, file: &File, mode: &PutMode) -> io::Result<()> {
        file.sync_all()?;
        let dir = self.to.parent().unwrap_or(&self.root);
        create_dirs(dir)?;
        match mode {
            PutMode::Overwrite => fs::rename(&self.from, &self.to)?,
            PutMode::Create => fs::hard_link(&self.from, &self.to)?,
            PutMode::Update(_) => return Err(io::Error::from(io::ErrorKind::Unsupported)),
        }
        sync_dir(dir)
    }
}

/// Creates a directory and those above it, each entry synced.
fn create_dirs(dir: &FsPath) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = dir.parent();
    if let Some(above) = above {
        create_dirs(above)?;
    }
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    above.map_or(Ok(()), sync_dir)
}

fn sync_dir(dir: &FsPath) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn store_error(path: &FsPath, error: io::Error) -> Error {
    let path = path.display().to_string();
    match error.kind() {
        io::ErrorKind::AlreadyExists => Error::AlreadyExists {
            path,
            source: error.into(),
        },
        io::ErrorKind::PermissionDenied => Error::PermissionDenied {
            path,
            source: error.into(),
        },
        _ => Error::Generic {
            store: "local disk",
            source: error.into(),
        },
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

/// An object that is written in parts.
#[derive(Debug)]
struct Upload {
    staged: Staged,
    file: Arc<File>,
    offset: u64,
}

impl Drop for Upload {
    fn drop(&mut self) {
        // It is not there any more if the upload was completed.
        fs::remove_file(&self.staged.from).ok();
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (file, mut offset, path) = (Arc::clone(&self.file), self.offset, self.staged.from.clone());
        self.offset += data.content_length() as u64;
        let write = move || {
            for bytes in &data {
                file.write_all_at(bytes, offset)
                    .map_err(|error| store_error(&path, error))?;
                offset += bytes.len() as u64;
            }
            Ok(())
        };
        blocking(write).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (file, staged) = (Arc::clone(&self.file), self.staged.clone());
        blocking(move || staged.publish(&file, &PutMode::Overwrite)).await
    }

    async fn abort(&mut self) -> Result<()> {
        let staged = self.staged.clone();
        blocking(move || fs::remove_file(&staged.from).map_err(|error| store_error(&staged.from, error))).await
    }
}

#[async_trait]
impl ObjectStore for DurableLocal {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let staged = self.staged(location)?;
        let write = move || {
            let written = staged.create().and_then(|mut file| {
                payload.iter().try_for_each(|bytes| file.write_all(bytes))?;
                Ok(file)
            });
            match written {
                Ok(file) => staged.publish(&file, &opts.mode),
                Err(error) => {
                    fs::remove_file(&staged.from).ok();
                    Err(store_error(&staged.from, error))
                }
            }
        };
        blocking(write).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let staged = self.staged(location)?;
        let open = move || {
            let file = staged.create().map_err(|error| store_error(&staged.from, error))?;
            Ok(Upload {
                staged,
                file: Arc::new(file),
                offset: 0,
            })
        };
        Ok(Box::new(blocking(open).await?))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt;

    #[tokio::test]
    async fn a_name_is_created_once_overwritten_when_asked_and_nothing_stays_behind() {
        let dir = tempfile::tempdir().unwrap();
        let store = DurableLocal::new(dir.path()).unwrap();
        let path = Path::from("a/b/object");
        let create = || PutOptions::from(PutMode::Create);
        store.put_opts(&path, "one".into(), create()).await.unwrap();
        let again = store.put_opts(&path, "two".into(), create()).await;
        assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "one");
        store.put(&path, "three".into()).await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "three");

        let mut upload = store.put_multipart(&Path::from("parts")).await.unwrap();
        let parts = [upload.put_part("ab".into()), upload.put_part("cd".into())];
        futures::future::try_join_all(parts).await.unwrap();
        upload.complete().await.unwrap();
        let parts = store.get(&Path::from("parts")).await.unwrap().bytes().await.unwrap();
        assert_eq!(parts, "abcd");
        assert_eq!(fs::read_dir(dir.path().join(TEMPORARY)).unwrap().count(), 0);
    }
}
