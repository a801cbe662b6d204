//! The local file system.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Entry, LogStore, StoreError};

/// The local file system. Every call runs on tokio's threads for blocking work.
///
/// A file name that is not UTF-8 shows each odd byte as one character of a private-use range, and is found again by it.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalStore;

#[async_trait]
impl LogStore for LocalStore {
    async fn list(&self, dir: &str) -> Result<Vec<Entry>, StoreError> {
        blocking(dir, |dir, path| list(dir, &path)).await
    }

    async fn head(&self, path: &str) -> Result<Entry, StoreError> {
        blocking(path, |text, path| {
            let name = path.file_name().map(text_of).unwrap_or_default();
            Ok(entry(text.to_owned(), name, &fs::metadata(path)?))
        })
        .await
    }

    async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        blocking(path, move |_, path| read(&path, range)).await
    }

    fn read_bytes(&self) -> u64 {
        // The memory of small reads is used again before the allocator gives it back to the system.
        1 << 20
    }
}

async fn blocking<T: Send + 'static>(
    path: &str,
    work: impl FnOnce(&str, PathBuf) -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let text = path.to_owned();
    let done = tokio::task::spawn_blocking(move || work(&text, path_of(&text))).await;
    done.map_err(io::Error::other)
        .flatten()
        .map_err(|error| StoreError::new(path, error))
}

fn list(dir: &str, path: &Path) -> io::Result<Vec<Entry>> {
    let prefix = dir.trim_end_matches('/');
    let mut entries = Vec::new();
    for found in fs::read_dir(path)? {
        let found = found?;
        let metadata = match found.metadata() {
            // Behind a link that leads nowhere, or where we may not go, there is nothing to read: it stays an empty file.
            Ok(metadata) if metadata.is_symlink() => fs::metadata(found.path()).unwrap_or(metadata),
            Ok(metadata) => metadata,
            // It vanished between the listing and the look at it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let name = text_of(&found.file_name());
        entries.push(entry(format!("{prefix}/{name}"), name, &metadata));
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn entry(path: String, name: String, metadata: &Metadata) -> Entry {
    Entry {
        path,
        name,
        is_dir: metadata.is_dir(),
        is_special: !metadata.is_file() && !metadata.is_dir(),
        // A link's own size, a pipe's or a device's is no number of bytes that could be read.
        size_bytes: if metadata.is_file() || metadata.is_dir() {
            metadata.len()
        } else {
            0
        },
        modified_ms: metadata
            .mtime()
            .saturating_mul(1000)
            .saturating_add(metadata.mtime_nsec() / 1_000_000),
    }
}

fn read(path: &Path, range: Range<u64>) -> io::Result<Bytes> {
    // Opening a pipe would wait for its writer.
    let kind = fs::metadata(path)?.file_type();
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !kind.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let end = range.end.min(metadata.len());
    let wanted = usize::try_from(end.saturating_sub(range.start)).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(wanted)?;
    while bytes.len() < wanted {
        let at = range.start + bytes.len() as u64;
        match rustix::io::pread(&file, rustix::buffer::spare_capacity(&mut bytes), at) {
            Ok(0) => break,
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(wanted);
    Ok(Bytes::from(bytes))
}

/// The path a user means by `source`: a plain path, or a `file:` URI (`file:///logs`, `file:/logs`, `file://localhost/logs`).
/// `None` for the URI of any other store.
///
/// The path is made absolute (by the working directory, not by looking at links), because the identity of a log hangs on it.
/// `%20` and the like are decoded only in what is a well-formed URI: Hadoop takes `file:///my logs/100%` literally, so do we.
pub fn local_path(source: &str) -> Option<PathBuf> {
    let path = match source.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) && rest.starts_with('/') => {
            if !scheme.eq_ignore_ascii_case("file") {
                return None;
            }
            let path = match rest.strip_prefix("//") {
                None => rest,
                Some(rest) => rest.strip_prefix("localhost").unwrap_or(rest),
            };
            if !path.starts_with('/') {
                return None;
            }
            decode_uri_path(path).unwrap_or_else(|| path_of(path))
        }
        _ => path_of(source),
    };
    let absolute = std::path::absolute(&path).unwrap_or(path);
    Some(
        absolute
            .components()
            .filter(|part| !matches!(part, Component::CurDir))
            .collect(),
    )
}

/// A local path as the text that [`LocalStore`] and `EventLog.path` use; every path has one, and each its own.
pub fn path_text(path: &Path) -> String {
    text_of(path.as_os_str())
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// The path in a well-formed URI; `None` if the text is none.
fn decode_uri_path(path: &str) -> Option<PathBuf> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'%' => {
                let digits = rest
                    .get(..2)
                    .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
                let value = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
                // No file name has a zero byte or a slash.
                if value == 0 || value == b'/' {
                    return None;
                }
                bytes.push(value);
                rest = &rest[2..];
            }
            b'/' | b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';'
            | b'=' | b':' | b'@' => bytes.push(first),
            _ if first.is_ascii_alphanumeric() => bytes.push(first),
            _ => return None,
        }
    }
    Some(PathBuf::from(OsString::from_vec(bytes)))
}

/// The characters that stand for the bytes 0x00 to 0xFF of a name that is not UTF-8: in a private-use plane.
const BYTE_BASE: u32 = 0x10_FE00;

fn byte_char(byte: u8) -> char {
    char::from_u32(BYTE_BASE + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn char_byte(c: char) -> Option<u8> {
    u32::from(c)
        .checked_sub(BYTE_BASE)
        .and_then(|byte| u8::try_from(byte).ok())
}

fn text_of(name: &OsStr) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.as_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            // A real character of our range is written as its bytes, so that each text means one name.
            match char_byte(c) {
                None => text.push(c),
                Some(_) => text.extend(c.encode_utf8(&mut [0; 4]).bytes().map(byte_char)),
            }
        }
        text.extend(chunk.invalid().iter().copied().map(byte_char));
    }
    text
}

fn path_of(text: &str) -> PathBuf {
    if !text.chars().any(|c| char_byte(c).is_some()) {
        return PathBuf::from(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match char_byte(c) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> String {
        path_text(&std::env::current_dir().unwrap())
    }

    #[test]
    fn sources_of_users_become_absolute_paths() {
        let local = |source| local_path(source).map(|path| path_text(&path));
        assert_eq!(local("/logs/").as_deref(), Some("/logs"));
        assert_eq!(local("/").as_deref(), Some("/"));
        assert_eq!(local("/a b%20c+d").as_deref(), Some("/a b%20c+d"));
        assert_eq!(local("./logs"), Some(here() + "/logs"));
        assert_eq!(local("file:///logs").as_deref(), Some("/logs"));
        assert_eq!(local("file:/logs/x").as_deref(), Some("/logs/x"));
        assert_eq!(local("FILE://localhost/logs").as_deref(), Some("/logs"));
        assert_eq!(local("file:///a%20b+c").as_deref(), Some("/a b+c"));
        assert_eq!(local("file:///a b%20c").as_deref(), Some("/a b%20c"));
        assert_eq!(local("file:///100%").as_deref(), Some("/100%"));
        assert_eq!(local("file://host/logs"), None);
        assert_eq!(local("s3://bucket/logs"), None);
        assert_eq!(local("hdfs:/logs"), None);
        assert_eq!(local("odd:name"), Some(here() + "/odd:name"));
    }

    #[test]
    fn every_name_has_its_own_text_and_comes_back_from_it() {
        for name in [
            &b"plain"[..],
            b"a b%20c+d",
            "名前 🚀".as_bytes(),
            b"\xFF\x80x",
            "\u{10FEFF}".as_bytes(),
            b"\xC3",
        ] {
            let text = text_of(OsStr::from_bytes(name));
            assert_eq!(path_of(&text).as_os_str().as_bytes(), name);
        }
        assert_ne!(
            text_of(OsStr::from_bytes(b"\xFF")),
            text_of(OsStr::from_bytes("\u{10FEFF}".as_bytes()))
        );
    }

    #[tokio::test]
    async fn a_directory_lists_sorted_with_any_names_and_files_read_by_range() {
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join(OsStr::from_bytes(b"odd\xFF"));
        fs::write(&odd, "0123456789").unwrap();
        fs::write(dir.path().join("a b%20c+d"), "abc").unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("dangling")).unwrap();
        std::os::unix::fs::symlink("sub", dir.path().join("link")).unwrap();
        let entries = LocalStore.list(&(path_text(dir.path()) + "/")).await.unwrap();
        let seen: Vec<_> = entries.iter().map(|e| (e.name.as_str(), e.is_dir)).collect();
        let odd_name = text_of(OsStr::from_bytes(b"odd\xFF"));
        assert_eq!(
            seen,
            [
                ("a b%20c+d", false),
                ("dangling", false),
                ("link", true),
                (odd_name.as_str(), false),
                ("sub", true)
            ]
        );
        assert_eq!((entries[0].size_bytes, entries[1].size_bytes), (3, 0));
        assert!(entries[0].modified_ms > 1_600_000_000_000);

        let path = entries[3].path.as_str();
        for (range, text) in [
            (0..3, "012"),
            (8..100, "89"),
            (10..20, ""),
            (50..60, ""),
            (0..u64::MAX, "0123456789"),
        ] {
            assert_eq!(LocalStore.read(path, range).await.unwrap(), text);
        }
        assert_eq!(LocalStore.head(path).await.unwrap(), entries[3]);
    }

    #[tokio::test]
    async fn errors_say_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let base = path_text(dir.path());
        fs::write(dir.path().join("file"), "x").unwrap();
        let file = format!("{base}/file");
        let missing = format!("{base}/missing");
        assert!(matches!(LocalStore.list(&missing).await, Err(StoreError::NotFound { path }) if path == missing));
        assert!(matches!(
            LocalStore.read(&missing, 0..1).await,
            Err(StoreError::NotFound { .. })
        ));
        assert!(matches!(
            LocalStore.head(&missing).await,
            Err(StoreError::NotFound { .. })
        ));
        assert!(matches!(
            LocalStore.list(&file).await,
            Err(StoreError::NotADirectory { .. })
        ));
        assert!(matches!(LocalStore.read(&base, 0..1).await, Err(StoreError::Io { .. })));
        assert!(matches!(
            LocalStore.read("a\0b", 0..1).await,
            Err(StoreError::Io { .. })
        ));
    }
}
