//! Where statements put what does not fit into their memory: a directory of this process, which goes with it.
//!
//! A process that is killed leaves its directory behind; the next one that starts deletes those that nobody holds any more.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// What our directories are called.
const PREFIX: &str = "sparkgate-spill-";
/// Locked by the process that owns the directory; its content means nothing.
const LOCK: &str = "lock";

#[derive(Debug)]
pub(super) struct SpillDirectory {
    path: PathBuf,
    _lock: File,
}

impl SpillDirectory {
    /// A new one below `base`.
    pub(super) fn create(base: &Path) -> io::Result<Self> {
        fs::create_dir_all(base)?;
        delete_abandoned(base);
        let path = tempfile::Builder::new().prefix(PREFIX).tempdir_in(base)?.keep();
        let lock = File::create(path.join(LOCK))?;
        lock.lock()?;
        Ok(SpillDirectory { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SpillDirectory {
    fn drop(&mut self) {
        // The next process tries again.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn delete_abandoned(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        // One without a lock is being made at this moment, or was left in that moment, empty.
        if is_ours
            && let Ok(lock) = File::open(entry.path().join(LOCK))
            && lock.try_lock().is_ok()
        {
            match fs::remove_dir_all(entry.path()) {
                Ok(()) => tracing::info!(path = %entry.path().display(), "deleted what a killed process had spilled"),
                Err(error) => tracing::warn!(path = %entry.path().display(), %error, "cannot delete old spilled rows"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_the_living_stay() {
        let base = tempfile::tempdir().unwrap();
        let alive = SpillDirectory::create(base.path()).unwrap();
        let dead = base.path().join(format!("{PREFIX}dead"));
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        fs::write(dead.join("rows"), "x").unwrap();
        let next = SpillDirectory::create(base.path()).unwrap();
        assert!(alive.path().exists() && next.path().exists() && !dead.exists());
        let path = alive.path().to_owned();
        drop(alive);
        assert!(!path.exists() && next.path().exists());
    }
}
