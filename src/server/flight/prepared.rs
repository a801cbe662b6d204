//! Prepared statements: kept for the user who made them until they are closed, or were not used for `[flight] token_lifetime`.
//!
//! A handle is good on any connection of its user, because clients of gRPC change connections without notice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::options::Options;
use crate::server::query::Prepared;

/// Statements of one user; each is some kilobytes. Of more, the one that was not used for longest goes.
const MOST_OF_A_USER: usize = 1000;
/// Statements of all users; one more is refused.
const MOST: usize = 20_000;

/// A statement, and what was bound to it last.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) user: String,
    pub(super) sql: String,
    /// Of the session when it was prepared.
    pub(super) options: Options,
    pub(super) prepared: Arc<Prepared>,
    bound: Mutex<Option<Bound>>,
}

/// Values for the parameters, and the statement planned for their types.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    pub(super) prepared: Arc<Prepared>,
    /// As tickets carry them.
    pub(super) values: Vec<u8>,
}

impl Statement {
    pub(super) fn new(user: &str, sql: String, options: Options, prepared: Prepared) -> Statement {
        Statement {
            user: user.to_owned(),
            sql,
            options,
            prepared: Arc::new(prepared),
            bound: Mutex::default(),
        }
    }

    pub(super) fn bind(&self, bound: Bound) {
        *self.bound.lock().unwrap_or_else(PoisonError::into_inner) = Some(bound);
    }

    pub(super) fn bound(&self) -> Option<Bound> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[derive(Debug)]
struct Entry {
    statement: Arc<Statement>,
    used: Instant,
}

#[derive(Debug)]
pub(super) struct Statements {
    lifetime: Duration,
    entries: Mutex<HashMap<Bytes, Entry>>,
}

impl Statements {
    pub(super) fn new(lifetime: Duration) -> Statements {
        Statements {
            lifetime,
            entries: Mutex::default(),
        }
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<Bytes, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a statement; `None` if there are too many.
    pub(super) fn insert(&self, handle: Bytes, statement: Statement) -> Option<Arc<Statement>> {
        let mut entries = self.entries();
        let is_mine = |entry: &Entry| entry.statement.user == statement.user;
        if entries.len() >= MOST || entries.values().filter(|entry| is_mine(entry)).count() >= MOST_OF_A_USER {
            entries.retain(|_, entry| entry.used.elapsed() <= self.lifetime);
            let oldest = entries
                .iter()
                .filter(|(_, entry)| is_mine(entry))
                .min_by_key(|(_, entry)| entry.used)
                .map(|(handle, _)| handle.clone());
            if let Some(oldest) = oldest {
                entries.remove(&oldest);
            }
            if entries.len() >= MOST {
                return None;
            }
        }
        let statement = Arc::new(statement);
        let entry = Entry {
            statement: Arc::clone(&statement),
            used: Instant::now(),
        };
        entries.insert(handle, entry);
        Some(statement)
    }

    pub(super) fn find(&self, handle: &[u8], user: &str) -> Option<Arc<Statement>> {
        let mut entries = self.entries();
        let entry = entries.get_mut(handle).filter(|entry| entry.statement.user == user)?;
        if entry.used.elapsed() > self.lifetime {
            entries.remove(handle);
            return None;
        }
        entry.used = Instant::now();
        Some(Arc::clone(&entry.statement))
    }

    /// Whether there was one.
    pub(super) fn close(&self, handle: &[u8], user: &str) -> bool {
        let mut entries = self.entries();
        let is_theirs = entries.get(handle).is_some_and(|entry| entry.statement.user == user);
        is_theirs && entries.remove(handle).is_some()
    }
}
