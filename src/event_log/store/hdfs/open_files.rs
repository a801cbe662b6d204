//! What is known of files that are being written: how long they are, and their last bytes until a reader takes them.
//!
//! The length of such a file shows only where its bytes are read. So whoever asks for it brings the new bytes along, and the reader who
//! comes next gets them from here: they cross the network once.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::Entry;

/// Of bytes that a reader has taken, so many stay: the last line may not have been whole, and is then read again.
const KEPT_AFTER_READING: usize = 64 << 10;
/// Bytes of all files together that wait for their readers. Files of which they had to go are read over the network.
const MOST_KEPT: usize = 64 << 20;
/// A file that nobody has asked about for this long has its final name, or is gone.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(900);
/// How often it is asked whether a file that nothing is added to is still open: one request to a NameNode.
const ASKED_EVERY: Duration = Duration::from_secs(60);

/// The end of a file.
#[derive(Debug, Clone)]
pub(super) struct Tail {
    /// Where `bytes` begin.
    pub(super) start: u64,
    /// The length of the file.
    pub(super) end: u64,
    /// New bytes. They may be fewer than there are: then those further on are missing.
    pub(super) bytes: Bytes,
}

#[derive(Debug, Default)]
pub(super) struct OpenFiles(Mutex<HashMap<String, Known>>);

#[derive(Debug)]
struct Known {
    end: u64,
    /// Where `bytes` begin.
    start: u64,
    bytes: Bytes,
    /// Up to here a reader has taken them.
    taken: u64,
    /// Where its bytes are read, as the NameNode said.
    redirect: Option<String>,
    /// Size and modification time of the listing whose file is closed.
    closed: Option<(u64, i64)>,
    /// Of the listing all of whose bytes can be read, open or not.
    whole: Option<(u64, i64)>,
    asked: Option<Instant>,
    used: Instant,
}

impl Known {
    fn new() -> Self {
        Known {
            end: 0,
            start: 0,
            bytes: Bytes::new(),
            taken: 0,
            redirect: None,
            closed: None,
            whole: None,
            asked: None,
            used: Instant::now(),
        }
    }
}

fn listed(entry: &Entry) -> (u64, i64) {
    (entry.size_bytes, entry.modified_ms)
}

impl OpenFiles {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, path: &str, change: impl FnOnce(&mut Known) -> T) -> T {
        let mut files = self.lock();
        if !files.contains_key(path) {
            files.retain(|_, known| known.used.elapsed() < FORGOTTEN_AFTER);
        }
        let known = files.entry(path.to_owned()).or_insert_with(Known::new);
        known.used = Instant::now();
        change(known)
    }

    /// The length that was found last; `None` if none was.
    pub(super) fn end(&self, path: &str) -> Option<u64> {
        self.lock().get(path).map(|known| known.end).filter(|end| *end > 0)
    }

    pub(super) fn redirect(&self, path: &str) -> Option<String> {
        self.lock().get(path).and_then(|known| known.redirect.clone())
    }

    pub(super) fn set_redirect(&self, path: &str, redirect: Option<String>) {
        self.with(path, |known| known.redirect = redirect);
    }

    /// Takes new bytes, which continue those that are here, or begin anew.
    pub(super) fn add(&self, path: &str, tail: Tail) {
        self.with(path, |known| {
            if tail.start == known.start + known.bytes.len() as u64 && !known.bytes.is_empty() {
                if !tail.bytes.is_empty() {
                    known.bytes = [&known.bytes[..], &tail.bytes[..]].concat().into();
                }
            } else if !tail.bytes.is_empty() {
                (known.start, known.taken, known.bytes) = (tail.start, tail.start, tail.bytes);
            }
            known.end = tail.end;
        });
        self.bound();
    }

    /// Makes room: what was used the longest time ago goes.
    fn bound(&self) {
        let mut files = self.lock();
        let mut all: usize = files.values().map(|known| known.bytes.len()).sum();
        while all > MOST_KEPT {
            let with_bytes = files.values_mut().filter(|known| !known.bytes.is_empty());
            let Some(oldest) = with_bytes.min_by_key(|known| known.used) else {
                break;
            };
            all -= oldest.bytes.len();
            oldest.bytes = Bytes::new();
        }
    }

    /// The bytes of a range that are here, if all are that the file has of it.
    pub(super) fn bytes(&self, path: &str, range: &Range<u64>) -> Option<Bytes> {
        let mut files = self.lock();
        let known = files.get_mut(path)?;
        let end = range.end.min(known.start + known.bytes.len() as u64);
        // Beyond what is known there may be more by now, if the file was closed.
        if range.start < known.start || range.start >= end || end < range.end {
            return None;
        }
        let at = |place: u64| usize::try_from(place - known.start).ok();
        let bytes = known
            .bytes
            .get(at(range.start)?..at(end)?)
            .map(|found| known.bytes.slice_ref(found))?;
        if range.start <= known.taken {
            known.taken = known.taken.max(end);
        }
        if known.taken == known.end && known.bytes.len() > KEPT_AFTER_READING {
            let from = known.bytes.len() - KEPT_AFTER_READING;
            known.start += from as u64;
            // A copy: a slice would keep all of it.
            known.bytes = Bytes::copy_from_slice(&known.bytes[from..]);
        }
        Some(bytes)
    }

    pub(super) fn forget(&self, path: &str) {
        self.lock().remove(path);
    }

    pub(super) fn is_closed(&self, entry: &Entry) -> bool {
        let mut files = self.lock();
        let known = files
            .get_mut(&entry.path)
            .filter(|known| known.closed == Some(listed(entry)));
        known.map(|known| known.used = Instant::now()).is_some()
    }

    pub(super) fn set_closed(&self, entry: &Entry) {
        self.with(&entry.path, |known| {
            known.closed = Some(listed(entry));
            known.bytes = Bytes::new();
        });
    }

    pub(super) fn is_whole(&self, entry: &Entry) -> bool {
        let mut files = self.lock();
        let known = files
            .get_mut(&entry.path)
            .filter(|known| known.whole == Some(listed(entry)));
        known.map(|known| known.used = Instant::now()).is_some()
    }

    pub(super) fn set_whole(&self, entry: &Entry) {
        self.with(&entry.path, |known| known.whole = Some(listed(entry)));
    }

    /// Whether the last question was long enough ago; then one is asked now.
    pub(super) fn is_time_to_ask(&self, path: &str) -> bool {
        self.with(path, |known| {
            let is_time = known.asked.is_none_or(|asked| asked.elapsed() >= ASKED_EVERY);
            if is_time {
                known.asked = Some(Instant::now());
            }
            is_time
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(start: u64, end: u64, bytes: &[u8]) -> Tail {
        Tail {
            start,
            end,
            bytes: Bytes::copy_from_slice(bytes),
        }
    }

    #[test]
    fn new_bytes_are_given_from_here_and_nothing_is_promised_beyond_them() {
        let files = OpenFiles::default();
        assert_eq!(files.end("f"), None);
        files.add("f", tail(6, 10, b"6789"));
        assert_eq!(files.end("f"), Some(10));
        assert_eq!(files.bytes("f", &(6..10)).unwrap(), "6789");
        assert_eq!(files.bytes("f", &(7..9)).unwrap(), "78");
        assert_eq!(files.bytes("f", &(5..10)), None);
        assert_eq!(
            files.bytes("f", &(6..11)),
            None,
            "the file may have been closed with more"
        );
        files.add("f", tail(10, 13, b"abc"));
        assert_eq!(files.bytes("f", &(8..13)).unwrap(), "89abc");
        files.add("f", tail(13, 13, b""));
        assert_eq!(files.end("f"), Some(13));
        assert_eq!(files.bytes("f", &(13..20)), None);
    }

    #[test]
    fn of_a_tail_that_was_not_wholly_read_the_first_bytes_are_here() {
        let files = OpenFiles::default();
        files.add("f", tail(0, 4, b"0123"));
        files.add("f", tail(4, 100, b"456"));
        assert_eq!(files.bytes("f", &(0..7)).unwrap(), "0123456");
        assert_eq!(files.bytes("f", &(0..8)), None);
        files.add("f", tail(100, 102, b"xy"));
        assert_eq!(files.bytes("f", &(100..102)).unwrap(), "xy");
        assert_eq!(files.bytes("f", &(4..7)), None, "they do not hang together");
    }

    #[test]
    fn little_stays_of_what_was_read_and_all_together_is_bounded() {
        let files = OpenFiles::default();
        let many = vec![b'x'; 1 << 20];
        files.add("f", tail(0, 1 << 20, &many));
        // Somebody looked at the end first.
        assert!(files.bytes("f", &(1 << 19..1 << 20)).is_some());
        assert_eq!(files.bytes("f", &(0..1 << 20)).unwrap().len(), 1 << 20);
        assert_eq!(files.bytes("f", &(0..1 << 20)), None);
        let last = (1 << 20) - KEPT_AFTER_READING as u64;
        assert_eq!(files.bytes("f", &(last..1 << 20)).unwrap().len(), KEPT_AFTER_READING);
        for n in 0..80 {
            files.add(&n.to_string(), tail(0, 1 << 20, &many));
        }
        let kept = |n: usize| files.bytes(&n.to_string(), &(0..1 << 20)).is_some();
        assert!(kept(79) && !kept(0));
        assert_eq!(files.end("0"), Some(1 << 20), "the length stays known");
    }

    #[test]
    fn a_closed_file_is_closed_until_its_listing_changes() {
        let files = OpenFiles::default();
        let mut entry = Entry {
            path: "f".into(),
            name: "f".into(),
            is_dir: false,
            is_special: false,
            size_bytes: 5,
            modified_ms: 7,
        };
        files.set_closed(&entry);
        assert!(files.is_closed(&entry));
        entry.modified_ms = 8;
        assert!(!files.is_closed(&entry));
        assert!(files.is_time_to_ask("f") && !files.is_time_to_ask("f"));
    }
}
