//! Patience with stores that are reached over a network: what fails for a moment is asked again, and who fails all the time is left alone.
//!
//! A [`Guard`] stands before one store of one source. It sends a request again, with growing pauses of random length, until the time for
//! that is over. After some failures in a row it lets nothing through for a while (a circuit breaker), and then one request, which tells
//! whether the store is back. What it knows is [`StoreHealth`].
//!
//! [`Resilient`] is a store behind a guard. A store whose listings have many pages holds its guard itself, and has each page go through it:
//! a listing that began anew for every page that fails would never end.

use std::collections::BTreeMap;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Entry, LogStore, OpenFile, Requests, StoreError, StoreHealth, StoreState};
use crate::config::RemoteConfig;

/// Failures in a row after which a store is left alone. Requests are sent side by side, so a connection that breaks may be several.
const FAILURES_TO_OPEN: u32 = 5;
/// The first pause of a request, and the longest: together they are about ten tries in the default time.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(4);
/// How long a store is left alone the first time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Requests wait for a store that has been left alone this often; after that they fail at once, so that nobody waits for one that is gone.
const PATIENT_PAUSES: u32 = 2;
/// How often those who wait for a probe look at what it gave.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// A listing may take many requests.
const LIST_TIMEOUTS: u32 = 10;

/// Stands before one store.
#[derive(Debug)]
pub struct Guard {
    retry_timeout: Duration,
    longest_pause: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Since the last answer.
    failures: u32,
    open: Option<Open>,
    health: StoreHealth,
}

/// The store is left alone.
#[derive(Debug)]
struct Open {
    until: Instant,
    /// How often in a row, this time included.
    pauses: u32,
    /// A request is on its way that tells whether the store is back.
    probing: bool,
}

/// Whether a request may be sent now.
enum Admission {
    Go { is_probe: bool },
    Wait { until: Instant, pauses: u32, error: String },
}

impl Guard {
    pub fn new(config: &RemoteConfig) -> Self {
        Guard {
            retry_timeout: config.retry_timeout.0,
            longest_pause: config.longest_pause.0.max(FIRST_PAUSE),
            state: Mutex::new(State {
                failures: 0,
                open: None,
                health: StoreHealth {
                    state: StoreState::Answers,
                    since_ms: now_ms(),
                    last_success_ms: None,
                    last_error: None,
                    last_error_ms: None,
                    retries: 0,
                },
            }),
        }
    }

    pub fn health(&self) -> StoreHealth {
        self.state().health.clone()
    }

    /// Sends `request` until it is answered or the time for that is over. `path` is what it is about, for an error that is not its own.
    pub async fn run<T, F>(&self, path: &str, mut request: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let deadline = Instant::now() + self.retry_timeout;
        let mut backoff = FIRST_BACKOFF;
        loop {
            let is_probe = match self.admit() {
                Admission::Go { is_probe } => is_probe,
                Admission::Wait { until, pauses, error } => {
                    let now = Instant::now();
                    if until > deadline || now >= deadline || pauses > PATIENT_PAUSES {
                        return Err(StoreError::Unavailable {
                            path: path.to_owned(),
                            message: format!("{error}; it is left alone for a while"),
                        });
                    }
                    tokio::time::sleep_until(until.max(now + LOOK_INTERVAL).into()).await;
                    continue;
                }
            };
            let flight = Flight { guard: self, is_probe };
            match request().await {
                Ok(value) => {
                    self.answered(None);
                    return Ok(value);
                }
                Err(error) if error.is_transient() => {
                    let pause = spread(backoff);
                    backoff = (backoff * 2).min(LONGEST_BACKOFF);
                    let is_last = Instant::now() + pause > deadline;
                    self.failed(&error, is_last);
                    drop(flight);
                    if is_last {
                        return Err(error);
                    }
                    tracing::debug!(%error, pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX), "a request to a store failed");
                    tokio::time::sleep(pause).await;
                }
                // It is an answer, if not the one that was hoped for.
                Err(error) => {
                    self.answered(matches!(error, StoreError::Refused { .. }).then_some(&error));
                    return Err(error);
                }
            }
        }
    }

    fn admit(&self) -> Admission {
        let mut state = self.state();
        let error = state.health.last_error.clone().unwrap_or_default();
        let now = Instant::now();
        match &mut state.open {
            None => Admission::Go { is_probe: false },
            Some(open) if now >= open.until && !open.probing => {
                open.probing = true;
                Admission::Go { is_probe: true }
            }
            Some(open) => Admission::Wait {
                until: open.until,
                pauses: open.pauses,
                error,
            },
        }
    }

    fn answered(&self, refusal: Option<&StoreError>) {
        let mut state = self.state();
        state.failures = 0;
        state.open = None;
        let now = now_ms();
        match refusal {
            None => state.health.last_success_ms = Some(now),
            Some(error) => {
                state.health.last_error = Some(message(error));
                state.health.last_error_ms = Some(now);
            }
        }
        state.turn(StoreState::Answers, now);
    }

    fn failed(&self, error: &StoreError, is_last: bool) {
        let mut state = self.state();
        let now = now_ms();
        state.failures = state.failures.saturating_add(1);
        state.health.retries += u64::from(!is_last);
        state.health.last_error = Some(message(error));
        state.health.last_error_ms = Some(now);
        let pauses = match &state.open {
            // Requests that were on their way when the pause began change nothing.
            Some(open) if !open.probing => return,
            Some(open) => open.pauses + 1,
            None if state.failures >= FAILURES_TO_OPEN => 1,
            None => {
                state.turn(StoreState::Retrying, now);
                return;
            }
        };
        let pause = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(pauses - 1).unwrap_or(u32::MAX));
        state.open = Some(Open {
            until: Instant::now() + spread(pause.min(self.longest_pause)),
            pauses,
            probing: false,
        });
        state.turn(StoreState::Unreachable, now);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn turn(&mut self, to: StoreState, now_ms: i64) {
        if self.health.state != to {
            self.health.state = to;
            self.health.since_ms = now_ms;
        }
    }
}

/// A request under way. A probe whose sender lost interest has told nothing: the next one probes.
struct Flight<'a> {
    guard: &'a Guard,
    is_probe: bool,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if self.is_probe
            && let Some(open) = &mut self.guard.state().open
        {
            open.probing = false;
        }
    }
}

/// The text of an error without the path, which is another one for each request.
fn message(error: &StoreError) -> String {
    match error {
        StoreError::Refused { message, .. } | StoreError::Unavailable { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

/// Between three quarters and five quarters of a pause, so that those who failed together do not come back together.
fn spread(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0) % 1000;
    pause.mul_f64(0.75 + 0.0005 * f64::from(u32::try_from(random).unwrap_or_default()))
}

fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// A store behind a guard, whose requests end in time.
#[derive(Debug)]
pub struct Resilient<S> {
    store: S,
    guard: Guard,
    request_timeout: Duration,
}

impl<S: LogStore> Resilient<S> {
    pub fn new(store: S, config: &RemoteConfig) -> Self {
        Resilient {
            store,
            guard: Guard::new(config),
            request_timeout: config.request_timeout.0,
        }
    }

    async fn in_time<T>(
        &self,
        path: &str,
        timeout: Duration,
        request: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(timeout, request).await {
            Ok(answer) => answer,
            Err(_) => Err(StoreError::Unavailable {
                path: path.to_owned(),
                message: format!(
                    "no answer within {} s ([storage] request_timeout)",
                    timeout.as_secs_f64()
                ),
            }),
        }
    }
}

#[async_trait]
impl<S: LogStore> LogStore for Resilient<S> {
    async fn list(&self, dir: &str) -> Result<Vec<Entry>, StoreError> {
        let timeout = self.request_timeout * LIST_TIMEOUTS;
        let request = || self.in_time(dir, timeout, self.store.list(dir));
        self.guard.run(dir, request).await
    }

    async fn head(&self, path: &str) -> Result<Entry, StoreError> {
        let request = || self.in_time(path, self.request_timeout, self.store.head(path));
        self.guard.run(path, request).await
    }

    async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let request = || self.in_time(path, self.request_timeout, self.store.read(path, range.clone()));
        self.guard.run(path, request).await
    }

    /// Not behind the guard: what a listing does not know, a store may learn from elsewhere, whose failures are not the store's.
    async fn open_file(&self, entry: &Entry) -> Result<Option<OpenFile>, StoreError> {
        self.in_time(&entry.path, self.request_timeout, self.store.open_file(entry))
            .await
    }

    fn read_bytes(&self) -> u64 {
        self.store.read_bytes()
    }

    fn read_ahead(&self) -> u64 {
        self.store.read_ahead()
    }

    async fn list_all(&self, dir: &str, begin: &str) -> Result<Option<BTreeMap<String, Vec<Entry>>>, StoreError> {
        let timeout = self.request_timeout * LIST_TIMEOUTS;
        let request = || self.in_time(dir, timeout, self.store.list_all(dir, begin));
        self.guard.run(dir, request).await
    }

    fn has_directory_times(&self) -> bool {
        self.store.has_directory_times()
    }

    fn requests(&self) -> Requests {
        self.store.requests()
    }

    fn health(&self) -> Option<StoreHealth> {
        Some(self.guard.health())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::config::Span;

    fn guard(retry: Duration, longest_pause: Duration) -> Guard {
        Guard::new(&RemoteConfig {
            retry_timeout: Span(retry),
            longest_pause: Span(longest_pause),
            ..RemoteConfig::default()
        })
    }

    fn down() -> StoreError {
        StoreError::Unavailable {
            path: "x".into(),
            message: "connection refused".into(),
        }
    }

    /// Fails so many times, then answers with how often it was asked.
    async fn asked(guard: &Guard, failures: u32) -> (Result<u32, StoreError>, u32) {
        let asked = AtomicU32::new(0);
        let result = guard
            .run("x", || async {
                let number = asked.fetch_add(1, Ordering::Relaxed) + 1;
                if number > failures { Ok(number) } else { Err(down()) }
            })
            .await;
        (result, asked.into_inner())
    }

    #[tokio::test]
    async fn what_fails_for_a_moment_is_asked_again_and_what_is_refused_is_not() {
        let guard = guard(Duration::from_secs(20), Duration::from_secs(60));
        let (answer, _) = asked(&guard, 3).await;
        assert_eq!(answer.unwrap(), 4);
        let health = guard.health();
        assert_eq!((health.state, health.retries), (StoreState::Answers, 3));
        assert_eq!(health.last_error.as_deref(), Some("connection refused"));

        let asked = AtomicU32::new(0);
        let refused = guard.run("x", || async {
            asked.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(StoreError::NotFound { path: "x".into() })
        });
        assert!(matches!(refused.await, Err(StoreError::NotFound { .. })));
        assert_eq!(asked.into_inner(), 1);
    }

    #[tokio::test]
    async fn a_store_that_stays_down_is_left_alone_and_one_request_finds_out_that_it_is_back() {
        let guard = guard(Duration::ZERO, Duration::from_secs(1));
        for _ in 0..FAILURES_TO_OPEN {
            assert_eq!(asked(&guard, 1).await.1, 1);
        }
        assert_eq!(guard.health().state, StoreState::Unreachable);
        let (answer, times) = asked(&guard, 0).await;
        assert_eq!(times, 0, "it is left alone");
        let message = answer.unwrap_err().to_string();
        assert!(message.contains("connection refused; it is left alone"), "{message}");

        tokio::time::sleep(Duration::from_millis(1300)).await;
        assert_eq!(asked(&guard, 1).await.1, 1, "one request finds out");
        assert_eq!(asked(&guard, 0).await.1, 0, "that it is still down");
        tokio::time::sleep(Duration::from_millis(1300)).await;
        assert!(asked(&guard, 0).await.0.is_ok());
        assert_eq!(guard.health().state, StoreState::Answers);
        assert!(asked(&guard, 0).await.0.is_ok());
    }

    #[tokio::test]
    async fn a_probe_that_is_given_up_leaves_the_way_free_for_the_next() {
        let guard = guard(Duration::ZERO, Duration::from_secs(1));
        for _ in 0..FAILURES_TO_OPEN {
            asked(&guard, 1).await.0.unwrap_err();
        }
        tokio::time::sleep(Duration::from_millis(1300)).await;
        let probe = guard.run("x", std::future::pending::<Result<(), StoreError>>);
        assert!(tokio::time::timeout(Duration::from_millis(10), probe).await.is_err());
        assert!(asked(&guard, 0).await.0.is_ok());
    }
}
