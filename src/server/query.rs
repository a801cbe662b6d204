//! The one path of a statement: parse, refuse what is not read-only, plan on a pinned snapshot, run on a runtime of its own,
//! stream. Every door uses it; none touches data otherwise.
//!
//! - The deadline covers planning *and* rows, and can be moved while rows flow ([`BatchStream::set_deadline`]), because a portal that a
//!   client leaves suspended is not running.
//! - Dropping a [`RowStream`] aborts its work; nothing else is needed for a cancel or for a client that went away.
//! - Rows wait in a channel of `BATCHES_IN_FLIGHT`, so a slow client slows its statement down instead of filling memory.
//! - What reads more than the catalog takes one of [`QueryLimits::max_concurrent`] places (see `places.rs`), has a share of memory (see
//!   `memory.rs`) and spills to disk beyond it. Each statement is an entry of `system.queries`.
//! - A prepared statement keeps its syntax tree, not a plan: each execution plans again, on the snapshot of that moment.
//!
//! There is no protocol here, and no session state: what a statement needs of its session comes as [`SessionVars`].

use std::num::NonZeroUsize;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::config::SpillCompression;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionState;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::logical_expr::{LogicalPlan, Statement as PlanStatement};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;
use futures::Stream;
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep};
use tracing::{Instrument, Span, field};

use super::execution::Execution;
use super::memory::{SharedMemory, StatementPool, share_of_machine};
use super::parameters::infer_parameter_types;
use super::places::{Place, Places};
use super::program::{Program, Programs, parameter_types};
use super::series::SeriesInOrder;
use super::spill::SpillDirectory;
use super::sql_text::split_statements;
use super::statement::{Parsed, allow_only_reads, plan, planned};
use super::yielding::YieldAboveJoins;
use crate::catalog::activity::{Activity, Query, QueryState, Running};
use crate::catalog::{Catalog, SessionVars, reads_only_fixed};

pub use super::error::QueryError;

/// Finished batches that may wait for a client. Enough that the next batch is computed while one is sent; a batch is 8192 rows.
const BATCHES_IN_FLIGHT: usize = 4;

/// Kilobytes of batches that may wait for a client; one that is larger waits alone.
const KILOBYTES_IN_FLIGHT: u32 = 4096;

/// Of a thread of statements. What walks a syntax tree of the depth that is allowed needs a fifth of it, in a debug build.
const STACK_BYTES: usize = 64 << 20;

/// A client that takes no rows for so long gives its place to others until it does.
const PATIENCE: Duration = Duration::from_millis(500);

/// What a sort sets aside for merging what it spilled: DataFusion's default, and less where a statement has little.
const SORT_RESERVATION: usize = 10 << 20;

/// Memory for each of the sorted runs on disk that a sort merges at once. DataFusion would merge as many as there is memory for, and leave none
/// to the sort beside it.
const MERGED_RUN_BYTES: usize = 32 << 20;

/// What a sort may read ahead. DataFusion's default is as large as a whole share of memory.
const SORT_PUSHDOWN_BUFFER: usize = 64 << 20;

/// Consumers a memory error names.
const NAMED_MEMORY_CONSUMERS: NonZeroUsize = NonZeroUsize::new(5).expect("5 is not zero");

/// What statements may use.
#[derive(Debug, Clone)]
pub struct QueryLimits {
    /// Over planning and rows together; `None` is without limit.
    pub timeout: Option<Duration>,
    /// Memory one statement may hold before it spills or fails; `None` is its share of the machine's.
    pub memory_bytes: Option<usize>,
    /// How long a statement waits for logs of applications that it names, if they are not read yet.
    pub wait_for_logs: Duration,
    /// Statements of clients that work at once, and as many of the program's own.
    pub max_concurrent: usize,
    /// How long one more waits for its turn.
    pub queue_timeout: Duration,
    /// Disk that statements may use together; 0 is none.
    pub spill_bytes: u64,
    /// Rows, and bytes in memory, of one result; `None` is without limit.
    pub max_result_rows: Option<u64>,
    pub max_result_bytes: Option<u64>,
}

impl Default for QueryLimits {
    fn default() -> Self {
        QueryLimits {
            timeout: Some(Duration::from_secs(300)),
            memory_bytes: None,
            wait_for_logs: Duration::from_secs(10),
            max_concurrent: 8,
            queue_timeout: Duration::from_secs(30),
            spill_bytes: 0,
            max_result_rows: None,
            max_result_bytes: None,
        }
    }
}

impl QueryLimits {
    fn share(&self) -> usize {
        self.memory_bytes
            .unwrap_or_else(|| share_of_machine(self.max_concurrent))
    }
}

/// A running statement: its columns, then its rows.
#[derive(Debug)]
pub struct RowStream {
    pub schema: SchemaRef,
    pub batches: BatchStream,
}

/// A statement that can be run many times, with parameters.
#[derive(Debug, Clone)]
pub struct Prepared {
    parsed: Parsed,
    /// As declared, else from where the parameter stands, else text.
    pub parameter_types: Vec<DataType>,
    /// What the statement answered at the time it was prepared.
    pub schema: SchemaRef,
}

impl Prepared {
    /// The PostgreSQL type that the statement's own text gives a parameter, counted from zero: `oid` of `$1::oid`.
    pub fn stated_type(&self, index: usize) -> Option<u32> {
        self.parsed.placeholders.type_oid(index)
    }
}

/// Makes the session of one statement. Production has [`Catalog::session`]; tests have sessions without a history.
pub type SessionFactory = dyn Fn(&SessionVars) -> SessionContext + Send + Sync;

/// Makes the session of one of the program's own statements: [`Catalog::own_session`].
type OwnSessionFactory = dyn Fn() -> SessionState + Send + Sync;

/// Runs statements on a runtime of its own, so that no query can keep the network from answering.
pub struct QueryEngine {
    /// `None` in tests without a history.
    catalog: Option<Arc<Catalog>>,
    sessions: Arc<SessionFactory>,
    own_sessions: Arc<OwnSessionFactory>,
    /// What the program's own statements share.
    own_memory: Arc<RuntimeEnv>,
    resources: Arc<Resources>,
    /// `None` only while dropping.
    runtime: Option<Runtime>,
    activity: Arc<Activity>,
    programs: Arc<Programs>,
}

/// What clients' statements have to share.
#[derive(Debug)]
struct Resources {
    limits: QueryLimits,
    /// Memory of one statement.
    share: usize,
    memory: Arc<SharedMemory>,
    places: Places,
    /// The program's own statements do not wait for those of clients.
    own_places: Places,
    /// Stores, footers of files, and the disk.
    env: Arc<RuntimeEnv>,
    _spill: Option<SpillDirectory>,
}

impl std::fmt::Debug for QueryEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryEngine")
            .field("limits", &self.resources.limits)
            .field("running", &self.running())
            .finish_non_exhaustive()
    }
}

impl Drop for QueryEngine {
    fn drop(&mut self) {
        // A runtime must not be dropped in async context, where its drop would block; this way it never waits.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl QueryEngine {
    /// Starts the runtime that statements run on. They spill below `spill_to`.
    pub fn start(catalog: Arc<Catalog>, limits: QueryLimits, spill_to: &Path) -> std::io::Result<Arc<Self>> {
        let (for_sessions, own) = (Arc::clone(&catalog), Arc::clone(&catalog));
        let sessions = Arc::new(move |vars: &SessionVars| for_sessions.session(vars));
        let own = Arc::new(move || own.own_session());
        Self::start_on(Some(catalog), sessions, own, limits, Some(spill_to))
    }

    /// As [`QueryEngine::start`], with sessions from anywhere, and nowhere to spill.
    pub fn start_with(sessions: Arc<SessionFactory>, limits: QueryLimits) -> std::io::Result<Arc<Self>> {
        let own = Arc::clone(&sessions);
        let own = Arc::new(move || own(&SessionVars::default()).state());
        Self::start_on(None, sessions, own, limits, None)
    }

    fn start_on(
        catalog: Option<Arc<Catalog>>,
        sessions: Arc<SessionFactory>,
        own_sessions: Arc<OwnSessionFactory>,
        limits: QueryLimits,
        spill_to: Option<&Path>,
    ) -> std::io::Result<Arc<Self>> {
        let cores = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(cores)
            .thread_name("query")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()?;
        let share = limits.share();
        let spill = spill_to.filter(|_| limits.spill_bytes > 0).and_then(|base| {
            SpillDirectory::create(base)
                .inspect_err(|error| {
                    tracing::warn!(path = %base.display(), %error, "statements cannot spill to disk; query.spill_directory names another place");
                })
                .ok()
        });
        let disk = match &spill {
            Some(directory) => DiskManagerBuilder::default()
                .with_mode(DiskManagerMode::Directories(vec![directory.path().to_owned()]))
                .with_max_temp_directory_size(limits.spill_bytes)
                .with_max_spill_merge_fan_in((share / MERGED_RUN_BYTES).clamp(2, 64)),
            None => DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled),
        };
        // Stores and footers are the same for all.
        let env = RuntimeEnvBuilder::from_runtime_env(own_sessions().runtime_env())
            .with_disk_manager_builder(disk)
            .build_arc()
            .map_err(std::io::Error::other)?;
        let own_memory = RuntimeEnvBuilder::from_runtime_env(&env)
            .with_memory_pool(Arc::new(FairSpillPool::new(share)))
            .build_arc()
            .map_err(std::io::Error::other)?;
        let resources = Resources {
            share,
            memory: SharedMemory::new(share.saturating_mul(limits.max_concurrent.max(1))),
            places: Places::new(limits.max_concurrent, limits.queue_timeout),
            own_places: Places::new(limits.max_concurrent, limits.queue_timeout),
            env,
            _spill: spill,
            limits,
        };
        let activity = catalog
            .as_ref()
            .map_or_else(Arc::default, |catalog| Arc::clone(catalog.activity()));
        Ok(Arc::new(QueryEngine {
            catalog,
            sessions,
            own_sessions,
            own_memory,
            resources: Arc::new(resources),
            runtime: Some(runtime),
            activity,
            programs: Arc::default(),
        }))
    }

    pub fn limits(&self) -> &QueryLimits {
        &self.resources.limits
    }

    /// Who is connected and what runs.
    pub fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// Statements being planned or run at this moment.
    pub fn running(&self) -> usize {
        self.activity.running()
    }

    /// Memory that one statement may hold, in bytes.
    pub fn memory_of_one(&self) -> usize {
        self.resources.share
    }

    /// Splits a text into statements, without those that are empty or only a comment.
    pub fn split(&self, sql: &str) -> Result<Vec<String>, QueryError> {
        Ok(split_statements(sql)?.into_iter().map(str::to_string).collect())
    }

    /// Runs one read-only statement without parameters, within the engine's own timeout.
    pub async fn run(&self, sql: &str, vars: &SessionVars) -> Result<RowStream, QueryError> {
        self.run_within(sql, vars, self.resources.limits.timeout).await
    }

    /// As [`QueryEngine::run`]; `timeout` replaces the engine's own, `None` is without limit.
    pub async fn run_within(
        &self,
        sql: &str,
        vars: &SessionVars,
        timeout: Option<Duration>,
    ) -> Result<RowStream, QueryError> {
        self.stream(Work::Text(sql.into()), vars, timeout).await
    }

    /// Runs a statement of the program's own, planned once for all runs. It may name base tables only; `params` are `$1`, `$2`, …, of the
    /// same types each time (an absent value is a typed null).
    pub async fn run_own(
        &self,
        sql: &str,
        params: Vec<ScalarValue>,
        vars: &SessionVars,
    ) -> Result<RowStream, QueryError> {
        self.stream(Work::Own(sql.into(), params), vars, self.resources.limits.timeout)
            .await
    }

    /// Parses and plans, without running. `declared` has the types the client gave for `$1`, `$2`, …; `None` is to be inferred.
    pub async fn prepare(
        &self,
        sql: &str,
        vars: &SessionVars,
        declared: &[Option<DataType>],
        timeout: Option<Duration>,
    ) -> Result<Prepared, QueryError> {
        let session = self.resources.session(&self.sessions, vars, None)?;
        let (sql, declared) = (sql.to_owned(), declared.to_vec());
        let work = async move {
            let parsed = Parsed::read(&sql)?;
            let parameter_types =
                infer_parameter_types(&session, &parsed.statement, &parsed.placeholders, &declared).await?;
            let plan = plan(&session, &parsed, &parameter_types).await?;
            let plan = match &plan {
                LogicalPlan::Statement(PlanStatement::Prepare(prepare)) => prepare.input.as_ref(),
                other => other,
            };
            allow_only_reads(plan)?;
            // As it will run: the branches of a UNION have one type only then. Without it where parameters have no values yet.
            let analyzed = session
                .analyzer()
                .execute_and_check(plan.clone(), session.config_options(), |_, _| {});
            let plan = analyzed.as_ref().unwrap_or(plan);
            let planned: SchemaRef = Arc::new(plan.schema().as_arrow().clone());
            let schema = parsed.client_schema(&planned);
            Ok(Prepared {
                parsed,
                parameter_types,
                schema,
            })
        };
        let mut task = AbortOnDrop(self.spawn(work, Span::current()));
        match within(timeout, &mut task.0).await? {
            Ok(result) => result,
            Err(join) => Err(QueryError::Internal {
                message: format!("planning stopped: {join}"),
            }),
        }
    }

    /// Runs a prepared statement, planned anew on the snapshot of now.
    pub async fn execute(
        &self,
        prepared: &Prepared,
        params: Vec<ScalarValue>,
        vars: &SessionVars,
        timeout: Option<Duration>,
    ) -> Result<RowStream, QueryError> {
        if params.len() != prepared.parameter_types.len() {
            return Err(QueryError::InvalidParameter {
                message: format!(
                    "{} parameters given, the statement has {}",
                    params.len(),
                    prepared.parameter_types.len()
                ),
            });
        }
        let parsed = Box::new(prepared.parsed.clone());
        let work = Work::Statement(parsed, prepared.parameter_types.clone(), params);
        self.stream(work, vars, timeout).await
    }

    async fn stream(
        &self,
        statement: Work,
        vars: &SessionVars,
        timeout: Option<Duration>,
    ) -> Result<RowStream, QueryError> {
        let started = Instant::now();
        let running = self
            .activity
            .begin(vars, statement.sql(), matches!(statement, Work::Own(..)));
        let query = Arc::clone(&running.query);
        let (schema_sender, schema_receiver) = oneshot::channel();
        let (rows_sender, rows) = in_flight();
        let span = tracing::info_span!(
            "statement",
            id = query.id,
            user = %vars.user,
            application = %vars.application_name,
            pid = vars.backend_pid,
            sql = %query.sql,
            rows = field::Empty,
            error = field::Empty,
        );
        let job = Job {
            catalog: self.catalog.clone(),
            sessions: Arc::clone(&self.sessions),
            own_sessions: Arc::clone(&self.own_sessions),
            own_memory: Arc::clone(&self.own_memory),
            programs: Arc::clone(&self.programs),
            resources: Arc::clone(&self.resources),
            vars: vars.clone(),
            running,
        };
        let task = AbortOnDrop(self.spawn(job.run(statement, schema_sender, rows_sender), span));
        let answer = within(timeout, schema_receiver).await;
        let schema = match answer.inspect_err(|error| query.fail(error.status().sqlstate, error.to_string()))? {
            Ok(schema) => schema?,
            Err(_) => {
                return Err(QueryError::Internal {
                    message: "the statement's task stopped before it had a plan".into(),
                });
            }
        };
        let mut batches = BatchStream {
            rows,
            task,
            query,
            deadline: None,
            finished: false,
        };
        batches.set_deadline(timeout.map(|limit| (started + limit, limit)));
        Ok(RowStream { schema, batches })
    }

    fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static, span: Span) -> JoinHandle<T> {
        let runtime = self.runtime.as_ref().expect("the runtime is taken only in drop");
        runtime.spawn(work.instrument(span))
    }
}

impl Resources {
    /// The session of one statement, with its share of memory; `None` is for planning alone.
    fn session(
        &self,
        sessions: &Arc<SessionFactory>,
        vars: &SessionVars,
        query: Option<&Query>,
    ) -> Result<SessionState, QueryError> {
        let state = sessions(vars).state();
        let shown = query.map_or_else(Arc::default, |query| Arc::clone(&query.memory));
        let pool = StatementPool::new(self.share, Arc::clone(&self.memory), shown);
        let env = RuntimeEnvBuilder::from_runtime_env(&self.env)
            .with_memory_pool(Arc::new(TrackConsumersPool::new(pool, NAMED_MEMORY_CONSUMERS)))
            .build_arc()?;
        let mut config = state.config().clone();
        let execution = &mut config.options_mut().execution;
        execution.spill_compression = SpillCompression::Lz4Frame;
        execution.sort_spill_reservation_bytes = SORT_RESERVATION.min(self.share / 8);
        execution.sort_pushdown_buffer_capacity = SORT_PUSHDOWN_BUFFER.min(self.share);
        Ok(SessionStateBuilder::new_from_existing(state)
            .with_config(config)
            .with_runtime_env(env)
            .with_physical_optimizer_rule(Arc::new(SeriesInOrder))
            .with_physical_optimizer_rule(Arc::new(YieldAboveJoins))
            .build())
    }
}

/// A batch, and its part of what may be in flight.
type InFlight = (Result<RecordBatch, QueryError>, OwnedSemaphorePermit);

/// The end at which batches go in.
struct RowsSender {
    channel: mpsc::Sender<InFlight>,
    kilobytes: Arc<Semaphore>,
}

/// Room for some batches, and for some bytes of them.
fn in_flight() -> (RowsSender, mpsc::Receiver<InFlight>) {
    let (channel, rows) = mpsc::channel(BATCHES_IN_FLIGHT);
    let kilobytes = Arc::new(Semaphore::new(KILOBYTES_IN_FLIGHT as usize));
    (RowsSender { channel, kilobytes }, rows)
}

impl RowsSender {
    /// Waits for room; `None` if nobody takes rows any more.
    async fn room(&self, kilobytes: u32) -> Option<(mpsc::Permit<'_, InFlight>, OwnedSemaphorePermit)> {
        let weight = tokio::select! {
            weight = Arc::clone(&self.kilobytes).acquire_many_owned(kilobytes) => weight.ok()?,
            () = self.channel.closed() => return None,
        };
        Some((self.channel.reserve().await.ok()?, weight))
    }
}

/// One statement's run, on the runtime of statements.
struct Job {
    catalog: Option<Arc<Catalog>>,
    sessions: Arc<SessionFactory>,
    own_sessions: Arc<OwnSessionFactory>,
    own_memory: Arc<RuntimeEnv>,
    programs: Arc<Programs>,
    resources: Arc<Resources>,
    vars: SessionVars,
    running: Running,
}

impl Job {
    async fn run(self, work: Work, schema: oneshot::Sender<Result<SchemaRef, QueryError>>, rows: RowsSender) {
        let (mut execution, mut place) = match self.open(work).await {
            Ok(opened) => opened,
            Err(error) => {
                self.failed(&error);
                // The receiver is gone only if nobody wants the answer.
                let _ = schema.send(Err(error));
                return;
            }
        };
        let _ = schema.send(Ok(Arc::clone(&execution.schema)));
        let query = &self.running.query;
        let mut given = Given::default();
        while let Some(batch) = execution.next().await {
            let bytes = batch.as_ref().map_or(0, RecordBatch::get_array_memory_size);
            let batch = batch.and_then(|batch| given.count(batch, bytes, query, &self.resources.limits));
            let failed = batch.as_ref().err().inspect(|error| self.failed(error)).is_some();
            let bytes = if failed { 0 } else { bytes };
            if self.send(batch, bytes, &rows, &mut place).await.is_none() {
                // Nobody wants the rest.
                return;
            }
            if failed {
                break;
            }
        }
        Span::current().record("rows", given.rows);
        query.spilled(execution.spilled_bytes());
        query.enter(QueryState::Finished);
    }

    fn failed(&self, error: &QueryError) {
        let sqlstate = error.status().sqlstate;
        Span::current().record("error", sqlstate);
        self.running.query.fail(sqlstate, error.to_string());
    }

    /// Gives a batch of so many bytes to the client, as soon as there is room for it; who waits for that holds up nobody else. `None` if nobody wants it.
    async fn send(
        &self,
        batch: Result<RecordBatch, QueryError>,
        bytes: usize,
        rows: &RowsSender,
        place: &mut Option<Place>,
    ) -> Option<()> {
        let kilobytes = u32::try_from(bytes / 1024).unwrap_or(u32::MAX).min(KILOBYTES_IN_FLIGHT);
        let mut room = std::pin::pin!(rows.room(kilobytes));
        let (free, weight) = match tokio::time::timeout(PATIENCE, &mut room).await {
            Ok(room) => room?,
            Err(_) => {
                let query = &self.running.query;
                query.enter(QueryState::Sending);
                if let Some(place) = place {
                    place.leave();
                }
                let room = room.await?;
                if let Some(place) = place {
                    query.enter(QueryState::Queued);
                    place.come_back().await;
                }
                query.enter(QueryState::Running);
                room
            }
        };
        free.send((batch, weight));
        Some(())
    }

    async fn open(&self, work: Work) -> Result<(Execution, Option<Place>), QueryError> {
        match work {
            // Parsed here: long texts take long, and the network has no time for that.
            Work::Text(sql) => self.open_statement(&Parsed::read(&sql)?, &[], &[]).await,
            Work::Statement(parsed, types, params) => self.open_statement(&parsed, &types, &params).await,
            Work::Own(sql, params) => self.open_own(&sql, &params).await,
        }
    }

    async fn open_statement(
        &self,
        parsed: &Parsed,
        types: &[DataType],
        params: &[ScalarValue],
    ) -> Result<(Execution, Option<Place>), QueryError> {
        if let Some(error) = parsed.placeholders.missing(params.len()) {
            return Err(error);
        }
        let query = &self.running.query;
        let session = || self.resources.session(&self.sessions, &self.vars, Some(query));
        let mut own = session()?;
        let unread = UnreadLogs {
            catalog: self.catalog.as_deref(),
            wait: self.resources.limits.wait_for_logs,
        };
        if unread.read_for(&own, parsed, types, params, query).await? {
            own = session()?;
        }
        let plan = planned(&own, parsed, types, params).await?;
        allow_only_reads(&plan)?;
        let place = match reads_only_fixed(&plan) {
            true => None,
            false => Some(self.take(&self.resources.places).await?),
        };
        query.enter(QueryState::Running);
        Ok((Execution::open(&own, parsed, plan).await?, place))
    }

    async fn open_own(&self, sql: &str, params: &[ScalarValue]) -> Result<(Execution, Option<Place>), QueryError> {
        let place = self.take(&self.resources.own_places).await?;
        // Bound to the snapshot of the moment in which it begins to run.
        let session = (self.own_sessions)();
        self.running.query.enter(QueryState::Running);
        let program = match self.programs.get(sql) {
            Some(program) => program,
            None => {
                let parsed = Parsed::read(sql)?;
                let plan = plan(&session, &parsed, &parameter_types(params)).await?;
                let plan = match plan {
                    LogicalPlan::Statement(PlanStatement::Prepare(prepare)) => Arc::unwrap_or_clone(prepare.input),
                    other => other,
                };
                allow_only_reads(&plan)?;
                self.programs.insert(sql, Program::new(&session, &plan)?)
            }
        };
        let batches = program.open(&session, Arc::clone(&self.own_memory), params).await?;
        Ok((Execution::of_own(program.schema(), batches), Some(place)))
    }

    async fn take(&self, places: &Places) -> Result<Place, QueryError> {
        self.running.query.enter(QueryState::Queued);
        places.take().await
    }
}

/// What a statement has given so far.
#[derive(Default)]
struct Given {
    rows: u64,
    bytes: u64,
}

impl Given {
    /// The batch, of so many bytes, unless the result becomes larger with it than results may be.
    fn count(
        &mut self,
        batch: RecordBatch,
        bytes: usize,
        query: &Query,
        limits: &QueryLimits,
    ) -> Result<RecordBatch, QueryError> {
        self.rows += batch.num_rows() as u64;
        self.bytes += bytes as u64;
        let too_large = |what: &str, limit: u64| QueryError::TooLarge {
            message: format!(
                "the result has more than {limit} {what}, which is the limit of query.max_result_{what}; ask for less, or raise it"
            ),
        };
        if let Some(limit) = limits.max_result_rows.filter(|limit| self.rows > *limit) {
            return Err(too_large("rows", limit));
        }
        if let Some(limit) = limits.max_result_bytes.filter(|limit| self.bytes > *limit) {
            return Err(too_large("bytes", limit));
        }
        query.gave(batch.num_rows(), bytes);
        Ok(batch)
    }
}

/// Logs that were seen and are not read yet.
struct UnreadLogs<'a> {
    catalog: Option<&'a Catalog>,
    wait: Duration,
}

impl UnreadLogs<'_> {
    /// Has the logs read of the applications that a client's statement names. `true` if it has to be planned on what there is then. The
    /// program's own statements name applications that were waited for.
    async fn read_for(
        &self,
        session: &SessionState,
        parsed: &Parsed,
        types: &[DataType],
        params: &[ScalarValue],
        query: &Query,
    ) -> Result<bool, QueryError> {
        let Some(catalog) = self.catalog else {
            return Ok(false);
        };
        if !catalog.has_unread(session) {
            return Ok(false);
        }
        // What is wrong with the statement, planning it again will say.
        let Ok(plan) = planned(session, parsed, types, params).await else {
            return Ok(false);
        };
        let Ok(plan) = session.optimize(&plan) else {
            return Ok(false);
        };
        let unread = catalog.unread_applications(session, &plan);
        if unread.is_empty() {
            return Ok(false);
        }
        query.enter(QueryState::WaitingForLogs);
        let read = catalog.ensure_read(&unread, self.wait).await;
        read.map_err(|not_read| QueryError::from(&not_read))?;
        Ok(true)
    }
}

/// What a stream of rows comes from.
enum Work {
    /// A client's, without parameters.
    Text(Arc<str>),
    /// A client's, with the types and values of its parameters.
    Statement(Box<Parsed>, Vec<DataType>, Vec<ScalarValue>),
    /// One of the program's own.
    Own(Arc<str>, Vec<ScalarValue>),
}

impl Work {
    fn sql(&self) -> &str {
        match self {
            Work::Statement(parsed, ..) => &parsed.sql,
            Work::Text(sql) | Work::Own(sql, _) => sql,
        }
    }
}

/// Batches of a running statement. Dropping it stops the statement.
#[derive(Debug)]
pub struct BatchStream {
    rows: mpsc::Receiver<InFlight>,
    task: AbortOnDrop<()>,
    query: Arc<Query>,
    deadline: Option<(Pin<Box<Sleep>>, Duration)>,
    finished: bool,
}

impl BatchStream {
    /// The moment after which the stream ends with [`QueryError::TimedOut`], and the limit that error names.
    pub fn set_deadline(&mut self, deadline: Option<(Instant, Duration)>) {
        self.deadline = deadline.map(|(at, limit)| (Box::pin(tokio::time::sleep_until(at)), limit));
    }

    pub fn deadline(&self) -> Option<(Instant, Duration)> {
        self.deadline.as_ref().map(|(sleep, limit)| (sleep.deadline(), *limit))
    }
}

impl Stream for BatchStream {
    type Item = Result<RecordBatch, QueryError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.finished {
            return Poll::Ready(None);
        }
        if let Some((sleep, limit)) = &mut self.deadline
            && sleep.as_mut().poll(context).is_ready()
        {
            let error = QueryError::TimedOut { limit: *limit };
            self.finished = true;
            self.query.fail(error.status().sqlstate, error.to_string());
            self.task.0.abort();
            return Poll::Ready(Some(Err(error)));
        }
        match self.rows.poll_recv(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some((batch, _weight))) => {
                self.finished = batch.is_err();
                Poll::Ready(Some(batch))
            }
            // The sender is gone: the task ended, well or with a panic, which must not look like the end of the rows.
            Poll::Ready(None) => match Pin::new(&mut self.task.0).poll(context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(())) => {
                    self.finished = true;
                    Poll::Ready(None)
                }
                Poll::Ready(Err(join)) => {
                    self.finished = true;
                    Poll::Ready(Some(Err(QueryError::Internal {
                        message: format!("the statement's task failed: {join}"),
                    })))
                }
            },
        }
    }
}

#[derive(Debug)]
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn within<F: Future>(timeout: Option<Duration>, work: F) -> Result<F::Output, QueryError> {
    match timeout {
        None => Ok(work.await),
        Some(limit) => tokio::time::timeout(limit, work)
            .await
            .map_err(|_| QueryError::TimedOut { limit }),
    }
}
