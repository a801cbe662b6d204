//! Files that an operator replaces while the server runs.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Tells one state of a file from another: a file that is replaced has another inode, one that is written another time or size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    /// Others than owner and group may read it.
    pub(crate) is_public: bool,
}

impl Stamp {
    /// `None` where there is no file, or none that can be looked at.
    pub(crate) fn of(path: &Path) -> Option<Stamp> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Stamp {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            is_public: metadata.mode() & 0o004 != 0,
        })
    }
}
