//! Who is connected and what runs: written by the doors and by the path of statements, shown as `system.sessions`, `system.queries` and
//! `pg_stat_activity`, and asked by `pg_cancel_backend` and `pg_terminate_backend`.
//!
//! A door holds a [`Connected`] for each session, the path of statements a [`Running`] for each statement; dropping one takes it out. What
//! ran lately stays for a while, as many statements as [`KEPT`].

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::SessionVars;

/// Statements that ended and are still shown: so many of clients, and as many of the program's own.
pub const KEPT: usize = 1000;

/// Bytes of a statement that are kept to be shown.
const SHOWN_SQL_BYTES: usize = 4096;

/// The way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Pg,
    Flight,
    Http,
    /// `sparkgate sql`.
    CommandLine,
}

impl Door {
    pub fn as_str(self) -> &'static str {
        match self {
            Door::Pg => "pg",
            Door::Flight => "flight",
            Door::Http => "http",
            Door::CommandLine => "command line",
        }
    }
}

/// A client as its door knows it.
#[derive(Debug, Clone)]
pub struct Client {
    pub door: Door,
    pub user: String,
    pub is_admin: bool,
    pub address: Option<IpAddr>,
    pub is_encrypted: bool,
}

/// What a session does, in the words of `pg_stat_activity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    Idle,
    Active,
    InTransaction,
    FailedTransaction,
}

impl SessionState {
    pub fn as_str(self) -> &'static str {
        match self {
            SessionState::Idle => "idle",
            SessionState::Active => "active",
            SessionState::InTransaction => "idle in transaction",
            SessionState::FailedTransaction => "idle in transaction (aborted)",
        }
    }
}

/// How far a statement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryState {
    Planning,
    /// Logs of applications that it names are being read.
    WaitingForLogs,
    /// There is no place to run in.
    Queued,
    Running,
    /// Its rows wait for a client that does not take them; it holds no place.
    Sending,
    Finished,
    Failed,
    Cancelled,
}

impl QueryState {
    pub fn as_str(self) -> &'static str {
        match self {
            QueryState::Planning => "planning",
            QueryState::WaitingForLogs => "waiting for logs",
            QueryState::Queued => "queued",
            QueryState::Running => "running",
            QueryState::Sending => "sending",
            QueryState::Finished => "finished",
            QueryState::Failed => "failed",
            QueryState::Cancelled => "cancelled",
        }
    }

    fn is_over(self) -> bool {
        matches!(self, QueryState::Finished | QueryState::Failed | QueryState::Cancelled)
    }
}

/// Microseconds since the epoch.
fn now() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

/// Everything is whole after each operation, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All sessions and statements of the process.
#[derive(Debug, Default)]
pub struct Activity {
    next_pid: AtomicI32,
    next_query: AtomicU64,
    sessions: Mutex<BTreeMap<i32, Entry>>,
    queries: Mutex<Queries>,
}

#[derive(Debug, Default)]
struct Queries {
    running: BTreeMap<u64, Arc<Query>>,
    clients: VecDeque<Arc<Query>>,
    own: VecDeque<Arc<Query>>,
}

/// What is asked of a session from outside.
#[derive(Debug, Clone, Copy, Default)]
pub struct Signals {
    /// Counts requests to cancel what runs.
    pub cancels: u64,
    /// The session is to end.
    pub is_terminated: bool,
}

#[derive(Debug)]
struct Entry {
    client: Client,
    application_name: String,
    connected: i64,
    state: SessionState,
    state_since: i64,
    statements: i64,
    signals: watch::Sender<Signals>,
}

/// A session as it is shown.
#[derive(Debug, Clone)]
pub struct SessionRow {
    pub pid: i32,
    pub client: Client,
    pub application_name: String,
    /// Microseconds since the epoch, as all moments here.
    pub connected: i64,
    pub state: SessionState,
    pub state_since: i64,
    /// Statements it has begun.
    pub statements: i64,
    /// The one that runs, else the last that is still shown.
    pub query: Option<Arc<Query>>,
}

/// A session's place; dropping it ends the session for everybody else.
#[derive(Debug)]
pub struct Connected {
    activity: Arc<Activity>,
    pub pid: i32,
    pub signals: watch::Receiver<Signals>,
}

impl Connected {
    pub fn enter(&self, state: SessionState, application_name: &str) {
        if let Some(entry) = lock(&self.activity.sessions).get_mut(&self.pid) {
            if entry.state != state {
                (entry.state, entry.state_since) = (state, now());
            }
            if entry.application_name != application_name {
                entry.application_name = application_name.to_owned();
            }
        }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        lock(&self.activity.sessions).remove(&self.pid);
    }
}

impl Activity {
    /// A new session, if `admit` says that there is room beside the number of sessions its door has.
    pub fn connect<E>(
        self: &Arc<Self>,
        client: Client,
        application_name: &str,
        admit: impl FnOnce(usize) -> Result<(), E>,
    ) -> Result<Connected, E> {
        let mut sessions = lock(&self.sessions);
        admit(
            sessions
                .values()
                .filter(|entry| entry.client.door == client.door)
                .count(),
        )?;
        let pid = loop {
            let pid = self.next_pid.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            if pid > 0 && !sessions.contains_key(&pid) {
                break pid;
            }
        };
        let (sender, signals) = watch::channel(Signals::default());
        let connected = now();
        sessions.insert(
            pid,
            Entry {
                client,
                application_name: application_name.to_owned(),
                connected,
                state: SessionState::Idle,
                state_since: connected,
                statements: 0,
                signals: sender,
            },
        );
        Ok(Connected {
            activity: Arc::clone(self),
            pid,
            signals,
        })
    }

    /// Asks a session to stop what it runs; `false` if there is no such session.
    pub fn cancel(&self, pid: i32) -> bool {
        self.signal(pid, |signals| signals.cancels += 1)
    }

    /// Asks a session to end.
    pub fn terminate(&self, pid: i32) -> bool {
        self.signal(pid, |signals| signals.is_terminated = true)
    }

    fn signal(&self, pid: i32, change: impl FnOnce(&mut Signals)) -> bool {
        let sessions = lock(&self.sessions);
        let entry = sessions.get(&pid);
        entry.inspect(|entry| entry.signals.send_modify(change)).is_some()
    }

    /// The user of a session.
    pub fn user_of(&self, pid: i32) -> Option<String> {
        lock(&self.sessions).get(&pid).map(|entry| entry.client.user.clone())
    }

    /// A statement that begins. `is_own` are those of the program.
    pub fn begin(self: &Arc<Self>, vars: &SessionVars, sql: &str, is_own: bool) -> Running {
        if let Some(entry) = lock(&self.sessions).get_mut(&vars.backend_pid) {
            entry.statements += 1;
        }
        let mut end = sql.len().min(SHOWN_SQL_BYTES);
        while !sql.is_char_boundary(end) {
            end -= 1;
        }
        let query = Arc::new(Query {
            id: self.next_query.fetch_add(1, Ordering::Relaxed) + 1,
            pid: vars.backend_pid,
            door: vars.door,
            user: vars.user.clone(),
            application_name: vars.application_name.clone(),
            sql: sql.get(..end).unwrap_or_default().to_owned(),
            is_own,
            started: now(),
            progress: Mutex::new(Progress {
                state: QueryState::Planning,
                admitted: None,
                ended: None,
                rows: 0,
                bytes: 0,
                spilled_bytes: 0,
                failure: None,
            }),
            memory: Arc::default(),
        });
        lock(&self.queries).running.insert(query.id, Arc::clone(&query));
        Running {
            activity: Arc::clone(self),
            query,
        }
    }

    /// Statements that run.
    pub fn running(&self) -> usize {
        lock(&self.queries).running.len()
    }

    /// All statements that are shown, the oldest first.
    pub fn queries(&self) -> Vec<Arc<Query>> {
        let queries = lock(&self.queries);
        let over = queries.clients.iter().chain(&queries.own);
        let mut all: Vec<_> = over.chain(queries.running.values()).cloned().collect();
        all.sort_unstable_by_key(|query| query.id);
        all
    }

    /// All sessions, by pid.
    pub fn sessions(&self) -> Vec<SessionRow> {
        let mut latest: BTreeMap<i32, Arc<Query>> = BTreeMap::new();
        for query in self.queries() {
            latest.insert(query.pid, query);
        }
        let sessions = lock(&self.sessions);
        let row = |(pid, entry): (&i32, &Entry)| {
            let query = latest
                .get(pid)
                .filter(|query| query.started >= entry.connected)
                .cloned();
            let mut state = (entry.state, entry.state_since);
            // A session of Flight SQL may run many at once, and none of them says what it does.
            if let (Door::Flight, Some(query)) = (entry.client.door, &query) {
                let progress = query.progress();
                state = match progress.ended {
                    None => (SessionState::Active, query.started),
                    Some(ended) => (SessionState::Idle, ended),
                };
            }
            SessionRow {
                pid: *pid,
                client: entry.client.clone(),
                application_name: entry.application_name.clone(),
                connected: entry.connected,
                state: state.0,
                state_since: state.1,
                statements: entry.statements,
                query,
            }
        };
        sessions.iter().map(row).collect()
    }
}

/// A statement, running or not.
#[derive(Debug)]
pub struct Query {
    pub id: u64,
    /// 0 where there is no session.
    pub pid: i32,
    pub door: Door,
    pub user: String,
    pub application_name: String,
    /// Its text, cut where it is very long.
    pub sql: String,
    is_own: bool,
    pub started: i64,
    progress: Mutex<Progress>,
    pub memory: Arc<MemoryUse>,
}

/// Bytes that the operators of a statement have reserved.
#[derive(Debug, Default)]
pub struct MemoryUse {
    now: AtomicUsize,
    peak: AtomicUsize,
}

impl MemoryUse {
    pub fn grow(&self, bytes: usize) {
        let now = self.now.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(now, Ordering::Relaxed);
    }

    pub fn shrink(&self, bytes: usize) {
        self.now.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub fn now(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }
}

/// What changes of a statement while it runs.
#[derive(Debug, Clone)]
pub struct Progress {
    pub state: QueryState,
    /// When it got a place to run in.
    pub admitted: Option<i64>,
    pub ended: Option<i64>,
    /// Rows it has given.
    pub rows: u64,
    /// Their size in memory.
    pub bytes: u64,
    /// Written to disk because there was no room in memory.
    pub spilled_bytes: u64,
    /// SQLSTATE and message.
    pub failure: Option<(&'static str, String)>,
}

impl Query {
    pub fn progress(&self) -> Progress {
        lock(&self.progress).clone()
    }

    /// Goes on to another state; what is over stays so.
    pub fn enter(&self, state: QueryState) {
        let mut progress = lock(&self.progress);
        if progress.state.is_over() {
            return;
        }
        progress.state = state;
        if state == QueryState::Running && progress.admitted.is_none() {
            progress.admitted = Some(now());
        }
        if state.is_over() {
            progress.ended = Some(now());
        }
    }

    pub fn gave(&self, rows: usize, bytes: usize) {
        let mut progress = lock(&self.progress);
        progress.rows += rows as u64;
        progress.bytes += bytes as u64;
    }

    pub fn spilled(&self, bytes: usize) {
        lock(&self.progress).spilled_bytes += bytes as u64;
    }

    /// Ends it with an error, unless it has ended.
    pub fn fail(&self, sqlstate: &'static str, message: String) {
        let mut progress = lock(&self.progress);
        if !progress.state.is_over() {
            progress.failure = Some((sqlstate, message));
            progress.state = QueryState::Failed;
            progress.ended = Some(now());
        }
    }
}

/// A statement's entry while it runs. Dropped before its end was told, it was cancelled.
#[derive(Debug)]
pub struct Running {
    activity: Arc<Activity>,
    pub query: Arc<Query>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.query.enter(QueryState::Cancelled);
        let mut queries = lock(&self.activity.queries);
        queries.running.remove(&self.query.id);
        let over = match self.query.is_own {
            true => &mut queries.own,
            false => &mut queries.clients,
        };
        if over.len() == KEPT {
            over.pop_front();
        }
        over.push_back(Arc::clone(&self.query));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(user: &str) -> Client {
        Client {
            door: Door::Pg,
            user: user.into(),
            is_admin: false,
            address: None,
            is_encrypted: false,
        }
    }

    fn vars(pid: i32) -> SessionVars {
        SessionVars {
            backend_pid: pid,
            ..SessionVars::default()
        }
    }

    #[test]
    fn sessions_and_statements_come_and_go() {
        let activity = Arc::new(Activity::default());
        let free = |_: usize| Ok::<(), ()>(());
        let alice = activity.connect(client("alice"), "psql", free).unwrap();
        let only_one = |others: usize| if others == 0 { Ok(()) } else { Err("full") };
        assert_eq!(activity.connect(client("bob"), "", only_one).unwrap_err(), "full");
        alice.enter(SessionState::Active, "psql");
        let running = activity.begin(&vars(alice.pid), "select 1", false);
        running.query.enter(QueryState::Running);
        running.query.gave(3, 24);
        let shown = activity.sessions();
        assert_eq!(shown[0].state.as_str(), "active");
        assert_eq!((shown[0].statements, activity.running()), (1, 1));
        assert_eq!(shown[0].query.as_ref().unwrap().progress().rows, 3);
        running.query.enter(QueryState::Finished);
        drop(running);
        assert_eq!(activity.running(), 0);
        assert_eq!(activity.queries()[0].progress().state, QueryState::Finished);
        assert!(activity.cancel(alice.pid) && !activity.cancel(alice.pid + 1));
        assert_eq!(alice.signals.borrow().cancels, 1);
        drop(alice);
        assert!(activity.sessions().is_empty());
    }

    #[test]
    fn what_is_dropped_was_cancelled_and_what_failed_stays_failed() {
        let activity = Arc::new(Activity::default());
        drop(activity.begin(&vars(0), "select 1", false));
        let failing = activity.begin(&vars(0), "select 1/0", false);
        failing.query.fail("22012", "division by zero".into());
        drop(failing);
        let states: Vec<_> = activity.queries().iter().map(|query| query.progress().state).collect();
        assert_eq!(states, [QueryState::Cancelled, QueryState::Failed]);
    }

    #[test]
    fn few_that_ended_are_kept_and_long_texts_are_cut() {
        let activity = Arc::new(Activity::default());
        let long = "é".repeat(SHOWN_SQL_BYTES);
        for _ in 0..KEPT + 5 {
            drop(activity.begin(&vars(0), &long, true));
        }
        drop(activity.begin(&vars(0), "select 1", false));
        let shown = activity.queries();
        assert_eq!(shown.len(), KEPT + 1);
        assert_eq!((shown[0].id, shown[0].sql.len()), (6, SHOWN_SQL_BYTES));
    }
}
