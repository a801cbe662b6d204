//! How the sources are: what their last listings gave, and whether their stores answer. Rows of `system.sources`.

use std::sync::{Arc, PoisonError, RwLock};

use super::Source;
use crate::event_log::LogStore;
use crate::event_log::store::{Requests, StoreState};

/// All sources, as of now. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct SourceLog(Arc<[Watched]>);

#[derive(Debug)]
struct Watched {
    given: Arc<str>,
    path: String,
    store: Arc<dyn LogStore>,
    listing: RwLock<Listing>,
}

/// What is known from listings.
#[derive(Debug, Clone, Default)]
struct Listing {
    listed_ms: Option<i64>,
    logs: usize,
    /// Why the last listing failed, and when the first did since one succeeded.
    failure: Option<(String, i64)>,
    failed_ms: Option<i64>,
}

/// One source: a row of `system.sources`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceState {
    /// As it was given on the command line or in the configuration.
    pub given: Arc<str>,
    pub path: String,
    pub state: Reach,
    /// Since when, milliseconds since the epoch; `None` while nothing is known.
    pub since_ms: Option<i64>,
    /// Event logs in it, as of its last listing.
    pub logs: usize,
    pub listed_ms: Option<i64>,
    /// What is shown of it may be out of date: it cannot be listed now.
    pub is_stale: bool,
    /// The last thing that went wrong, also if all is well by now.
    pub error: Option<String>,
    pub error_ms: Option<i64>,
    /// Requests that failed and were sent again.
    pub retries: u64,
    /// What its store was asked for since the start; `None` for a store that has no network.
    pub requests: Option<Requests>,
}

/// Whether a source can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// It has not been listed yet.
    Unknown,
    Ok,
    /// A request failed and is sent again.
    Retrying,
    /// It cannot be listed; that is tried again with every scan.
    Unreachable,
}

impl Reach {
    pub fn as_str(self) -> &'static str {
        match self {
            Reach::Unknown => "not listed yet",
            Reach::Ok => "ok",
            Reach::Retrying => "retrying",
            Reach::Unreachable => "unreachable",
        }
    }
}

impl SourceLog {
    pub(super) fn new(sources: &[Source]) -> Self {
        let watched = sources.iter().map(|source| Watched {
            given: source.given().into(),
            path: source.path().to_owned(),
            store: Arc::clone(source.store()),
            listing: RwLock::default(),
        });
        SourceLog(watched.collect())
    }

    pub(super) fn listed(&self, source: usize, logs: usize, now_ms: i64) {
        self.change(source, |listing| {
            listing.listed_ms = Some(now_ms);
            listing.logs = logs;
            listing.failure = None;
        });
    }

    pub(super) fn failed(&self, source: usize, error: &str, now_ms: i64) {
        self.change(source, |listing| {
            let since = listing.failure.as_ref().map_or(now_ms, |(_, since)| *since);
            listing.failure = Some((error.to_owned(), since));
            listing.failed_ms = Some(now_ms);
        });
    }

    fn change(&self, source: usize, change: impl FnOnce(&mut Listing)) {
        if let Some(watched) = self.0.get(source) {
            change(&mut watched.listing.write().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Requests of each source since the start.
    pub(super) fn requests(&self) -> Vec<Requests> {
        self.0.iter().map(|watched| watched.store.requests()).collect()
    }

    pub(super) fn given(&self, source: usize) -> Option<Arc<str>> {
        self.0.get(source).map(|watched| Arc::clone(&watched.given))
    }

    /// Whether every source was listed, or could not be.
    pub(super) fn are_known(&self) -> bool {
        self.0.iter().all(|watched| {
            let listing = watched.listing.read().unwrap_or_else(PoisonError::into_inner);
            listing.listed_ms.is_some() || listing.failure.is_some()
        })
    }

    /// Whether a source's store has a network.
    pub(super) fn is_remote(&self, source: usize) -> bool {
        self.0
            .get(source)
            .is_some_and(|watched| watched.store.health().is_some())
    }

    pub fn states(&self) -> Vec<SourceState> {
        self.0.iter().map(Watched::state).collect()
    }
}

impl Watched {
    fn state(&self) -> SourceState {
        let listing = self.listing.read().unwrap_or_else(PoisonError::into_inner).clone();
        let health = self.store.health();
        let of_store = health.as_ref().map(|health| (health.state, health.since_ms));
        let (state, since_ms) = match (&listing.failure, listing.listed_ms, of_store) {
            (Some((_, since_ms)), _, _) => (Reach::Unreachable, Some(*since_ms)),
            (None, _, Some((StoreState::Unreachable, since_ms))) => (Reach::Unreachable, Some(since_ms)),
            (None, _, Some((StoreState::Retrying, since_ms))) => (Reach::Retrying, Some(since_ms)),
            (None, None, _) => (Reach::Unknown, None),
            (None, Some(_), Some((StoreState::Answers, since_ms))) => (Reach::Ok, Some(since_ms)),
            (None, Some(listed_ms), None) => (Reach::Ok, Some(listed_ms)),
        };
        let of_listing = listing.failure.map(|(error, _)| error);
        let (of_store, of_store_ms) = health
            .as_ref()
            .map_or((None, None), |health| (health.last_error.clone(), health.last_error_ms));
        let (error, error_ms) = match of_listing {
            Some(error) => (Some(error), listing.failed_ms),
            None => (of_store, of_store_ms),
        };
        SourceState {
            given: Arc::clone(&self.given),
            path: self.path.clone(),
            state,
            since_ms,
            logs: listing.logs,
            listed_ms: listing.listed_ms,
            is_stale: state == Reach::Unreachable,
            error,
            error_ms,
            retries: health.as_ref().map_or(0, |health| health.retries),
            requests: health.map(|_| self.store.requests()),
        }
    }
}
