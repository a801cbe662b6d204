//! Admission: how many statements run at once, and how long others wait for their turn.
//!
//! A statement holds a [`Place`] while it works, not while its client takes its time: what waits for a client gives its place to others
//! and comes back when it goes on. Whoever waits is served in the order of arrival.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::QueryError;

#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    all: usize,
    queue: Duration,
}

impl Places {
    /// `all` at once; who waits longer than `queue` is refused.
    pub(super) fn new(all: usize, queue: Duration) -> Self {
        let all = all.clamp(1, Semaphore::MAX_PERMITS);
        Places {
            free: Arc::new(Semaphore::new(all)),
            all,
            queue,
        }
    }

    /// A place, or [`QueryError::Overloaded`].
    pub(super) async fn take(&self) -> Result<Place, QueryError> {
        match tokio::time::timeout(self.queue, Arc::clone(&self.free).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Place {
                free: Arc::clone(&self.free),
                permit: Some(permit),
            }),
            // It is never closed.
            Ok(Err(closed)) => Err(QueryError::Internal {
                message: closed.to_string(),
            }),
            Err(_) => Err(QueryError::Overloaded {
                message: format!(
                    "too many statements: {} run, and none of them ended within {}; try again later, or raise query.max_concurrent",
                    self.all,
                    humantime::format_duration(self.queue)
                ),
            }),
        }
    }

    #[cfg(test)]
    fn free(&self) -> usize {
        self.free.available_permits()
    }
}

/// A place to run in, which can be given up for a while.
#[derive(Debug)]
pub(super) struct Place {
    free: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Place {
    pub(super) fn leave(&mut self) {
        self.permit = None;
    }

    /// Waits as long as it takes: who was let in once is not refused later.
    pub(super) async fn come_back(&mut self) {
        if self.permit.is_none() {
            self.permit = Arc::clone(&self.free).acquire_owned().await.ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_too_long_is_refused_and_who_left_comes_back() {
        let places = Places::new(1, Duration::from_millis(20));
        let mut first = places.take().await.unwrap();
        let refused = places.take().await.unwrap_err();
        assert_eq!(refused.status().sqlstate, "53300");
        first.leave();
        let second = places.take().await.unwrap();
        assert_eq!(places.free(), 0);
        let back = tokio::time::timeout(Duration::from_millis(50), first.come_back()).await;
        assert!(back.is_err(), "the place is taken");
        drop(second);
        first.come_back().await;
        assert_eq!(places.free(), 0);
        drop(first);
        assert_eq!(places.free(), 1);
    }
}
