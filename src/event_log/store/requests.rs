//! Counts what a store was asked for.

use std::ops::Sub;
use std::sync::atomic::{AtomicU64, Ordering};

/// Requests that were sent to a store, those that failed and were sent again included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requests {
    /// Pages of listings.
    pub list: u64,
    /// Questions about one file.
    pub head: u64,
    /// Reads.
    pub get: u64,
    /// Bytes that reads gave.
    pub read_bytes: u64,
}

impl Sub for Requests {
    type Output = Requests;

    /// What was sent since `before`.
    fn sub(self, before: Requests) -> Requests {
        Requests {
            list: self.list.saturating_sub(before.list),
            head: self.head.saturating_sub(before.head),
            get: self.get.saturating_sub(before.get),
            read_bytes: self.read_bytes.saturating_sub(before.read_bytes),
        }
    }
}

/// Adds them up as they are sent.
#[derive(Debug, Default)]
pub struct RequestCounter {
    list: AtomicU64,
    head: AtomicU64,
    get: AtomicU64,
    read_bytes: AtomicU64,
}

impl RequestCounter {
    pub fn list(&self) {
        self.list.fetch_add(1, Ordering::Relaxed);
    }

    pub fn head(&self) {
        self.head.fetch_add(1, Ordering::Relaxed);
    }

    pub fn get(&self) {
        self.get.fetch_add(1, Ordering::Relaxed);
    }

    pub fn read(&self, bytes: u64) {
        self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn so_far(&self) -> Requests {
        Requests {
            list: self.list.load(Ordering::Relaxed),
            head: self.head.load(Ordering::Relaxed),
            get: self.get.load(Ordering::Relaxed),
            read_bytes: self.read_bytes.load(Ordering::Relaxed),
        }
    }
}
