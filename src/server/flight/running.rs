//! Results that are being fetched, so that they can be cancelled by what was asked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::session::Stop;

/// Results that were cancelled and whose tickets would otherwise still be good; of more, those that expire first may be fetched again.
const MOST_CANCELLED: usize = 10_000;

#[derive(Debug)]
struct Entry {
    cancelled: watch::Sender<bool>,
    readers: usize,
    /// Once it was cancelled: until when its ticket would have been good.
    until: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Running {
    results: Mutex<HashMap<Vec<u8>, Entry>>,
}

/// Somebody who fetches a result.
#[derive(Debug)]
pub(super) struct Reader {
    running: Arc<Running>,
    id: Vec<u8>,
    cancelled: watch::Receiver<bool>,
    stop: Stop,
}

impl Reader {
    /// Ends when the result is cancelled, or what the reader's session runs.
    pub(super) async fn cancelled(&mut self) {
        tokio::select! {
            () = self.stop.asked() => return,
            gone = self.cancelled.wait_for(|cancelled| *cancelled) => if gone.is_ok() { return },
        }
        // The sender is in the map as long as a reader is.
        self.stop.asked().await
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut results = self.running.results();
        if let Some(entry) = results.get_mut(&self.id) {
            entry.readers -= 1;
            if entry.readers == 0 && entry.until.is_none() {
                results.remove(&self.id);
            }
        }
    }
}

impl Running {
    fn results(&self) -> std::sync::MutexGuard<'_, HashMap<Vec<u8>, Entry>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: it was cancelled.
    pub(super) fn read(self: &Arc<Self>, id: &[u8], stop: Stop) -> Option<Reader> {
        let mut results = self.results();
        let entry = results.entry(id.to_vec()).or_insert_with(|| Entry {
            cancelled: watch::Sender::new(false),
            readers: 0,
            until: None,
        });
        if entry.until.is_some() {
            return None;
        }
        entry.readers += 1;
        Some(Reader {
            running: Arc::clone(self),
            id: id.to_vec(),
            cancelled: entry.cancelled.subscribe(),
            stop,
        })
    }

    /// Ends all fetches of a result, and the ones to come.
    pub(super) fn cancel(&self, id: &[u8], expires_in: Duration) {
        let now = Instant::now();
        let mut results = self.results();
        if results.len() >= MOST_CANCELLED {
            results.retain(|_, entry| entry.readers > 0 || entry.until.is_none_or(|until| until > now));
            let first = results
                .iter()
                .filter(|(_, entry)| entry.readers == 0)
                .min_by_key(|(_, entry)| entry.until)
                .map(|(id, _)| id.clone());
            if let Some(first) = first.filter(|_| results.len() >= MOST_CANCELLED) {
                results.remove(&first);
            }
        }
        let entry = results.entry(id.to_vec()).or_insert_with(|| Entry {
            cancelled: watch::Sender::new(false),
            readers: 0,
            until: None,
        });
        entry.until = Some(now + expires_in);
        entry.cancelled.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never() -> Stop {
        Stop::new(watch::channel(Default::default()).1)
    }

    #[tokio::test]
    async fn a_cancel_reaches_every_reader_and_those_to_come() {
        let running = Arc::new(Running::default());
        let (mut one, mut two) = (
            running.read(b"a", never()).unwrap(),
            running.read(b"a", never()).unwrap(),
        );
        let other = running.read(b"b", never()).unwrap();
        running.cancel(b"a", Duration::from_secs(60));
        one.cancelled().await;
        two.cancelled().await;
        assert!(running.read(b"a", never()).is_none() && running.read(b"b", never()).is_some());
        assert!(!*other.cancelled.borrow());
        drop((one, two, other));
        assert_eq!(running.results().len(), 1, "only what was cancelled is remembered");
    }

    #[test]
    fn what_was_cancelled_does_not_fill_memory() {
        let running = Arc::new(Running::default());
        for id in 0..MOST_CANCELLED + 100 {
            running.cancel(&id.to_be_bytes(), Duration::from_secs(60));
        }
        assert!(running.results().len() <= MOST_CANCELLED);
    }
}
