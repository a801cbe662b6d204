//! The one path of a statement: parse, refuse what is not read-only, plan on a pinned snapshot, run on a runtime of its own,
//! stream. Every door uses it; none touches data otherwise.
//!
//! - The deadline covers planning *and* rows, and can be moved while rows flow ([`BatchStream::set_deadline`]), because a portal that a
//!   client leaves suspended is not running.
//! - Dropping a [`RowStream`] aborts its work; nothing else is needed for a cancel or for a client that went away.
//! - Rows wait in a channel of `BATCHES_IN_FLIGHT`, so a slow client slows its statement down instead of filling memory.
//! - A prepared statement keeps its syntax tree, not a plan: each execution plans again, on the snapshot of that moment.
//!
//! There is no protocol here, and no session state: what a statement needs of its session comes as [`SessionVars`].

use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ParamValues;
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::dataframe::DataFrame;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::{SQLOptions, SessionState};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::logical_expr::{LogicalPlan, Statement as PlanStatement};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::{DFParserBuilder, Statement as DfStatement};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use futures::{Stream, StreamExt};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep};
use tracing::{Instrument, Span, field};

use super::parameters::{Placeholders, infer_parameter_types, sql_type};
use super::program::{Program, Programs, parameter_types};
use super::rewrite::{cast_integer_literals, table_statement};
use super::sql_text::{lexemes, split_statements};
use super::yielding::YieldAboveJoins;
use crate::catalog::rewrite::{column_name, rewrite_statement};
use crate::catalog::{Catalog, SessionVars};

pub use super::error::QueryError;

/// Finished batches that may wait for a client. Enough that the next batch is computed while one is sent; a batch is 8192 rows.
const BATCHES_IN_FLIGHT: usize = 4;

/// Nesting the parser accepts. DataFusion's default of 50 is below what BI tools generate.
const PARSER_RECURSION_LIMIT: usize = 200;

/// Consumers a memory error names.
const NAMED_MEMORY_CONSUMERS: NonZeroUsize = NonZeroUsize::new(5).expect("5 is not zero");

/// What a statement may use.
#[derive(Debug, Clone)]
pub struct QueryLimits {
    /// Over planning and rows together; `None` is without limit.
    pub timeout: Option<Duration>,
    /// Memory one statement may hold before it spills or fails.
    pub memory_bytes: usize,
    /// How long a statement waits for logs of applications that it names, if they are not read yet.
    pub wait_for_logs: Duration,
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
    limits: QueryLimits,
    /// `None` only while dropping.
    runtime: Option<Runtime>,
    running: Arc<AtomicUsize>,
    programs: Arc<Programs>,
}

impl std::fmt::Debug for QueryEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryEngine")
            .field("limits", &self.limits)
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
    /// Starts the runtime that statements run on.
    pub fn start(catalog: Arc<Catalog>, limits: QueryLimits) -> std::io::Result<Arc<Self>> {
        let (for_sessions, own) = (Arc::clone(&catalog), Arc::clone(&catalog));
        let sessions = Arc::new(move |vars: &SessionVars| for_sessions.session(vars));
        Self::start_on(Some(catalog), sessions, Arc::new(move || own.own_session()), limits)
    }

    /// As [`QueryEngine::start`], with sessions from anywhere.
    pub fn start_with(sessions: Arc<SessionFactory>, limits: QueryLimits) -> std::io::Result<Arc<Self>> {
        let own = Arc::clone(&sessions);
        Self::start_on(
            None,
            sessions,
            Arc::new(move || own(&SessionVars::default()).state()),
            limits,
        )
    }

    fn start_on(
        catalog: Option<Arc<Catalog>>,
        sessions: Arc<SessionFactory>,
        own_sessions: Arc<OwnSessionFactory>,
        limits: QueryLimits,
    ) -> std::io::Result<Arc<Self>> {
        let cores = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(cores)
            .thread_name("query")
            .enable_all()
            .build()?;
        // Stores and footers are the same for all.
        let own_memory = RuntimeEnvBuilder::from_runtime_env(own_sessions().runtime_env())
            .with_memory_pool(Arc::new(FairSpillPool::new(limits.memory_bytes)))
            .build_arc()
            .map_err(std::io::Error::other)?;
        Ok(Arc::new(QueryEngine {
            catalog,
            sessions,
            own_sessions,
            own_memory,
            limits,
            runtime: Some(runtime),
            running: Arc::default(),
            programs: Arc::default(),
        }))
    }

    pub fn limits(&self) -> &QueryLimits {
        &self.limits
    }

    /// Statements being planned or run at this moment.
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Splits a text into statements, without those that are empty or only a comment.
    pub fn split(&self, sql: &str) -> Result<Vec<String>, QueryError> {
        Ok(split_statements(sql)?.into_iter().map(str::to_string).collect())
    }

    /// Runs one read-only statement without parameters, within the engine's own timeout.
    pub async fn run(&self, sql: &str, vars: &SessionVars) -> Result<RowStream, QueryError> {
        self.run_within(sql, vars, self.limits.timeout).await
    }

    /// As [`QueryEngine::run`]; `timeout` replaces the engine's own, `None` is without limit.
    pub async fn run_within(
        &self,
        sql: &str,
        vars: &SessionVars,
        timeout: Option<Duration>,
    ) -> Result<RowStream, QueryError> {
        let parsed = Parsed::read(sql)?;
        self.stream(Work::Statement(Box::new(parsed), Vec::new(), Vec::new()), vars, timeout)
            .await
    }

    /// Runs a statement of the program's own, planned once for all runs. It may name base tables only; `params` are `$1`, `$2`, …, of the
    /// same types each time (an absent value is a typed null).
    pub async fn run_own(
        &self,
        sql: &str,
        params: Vec<ScalarValue>,
        vars: &SessionVars,
    ) -> Result<RowStream, QueryError> {
        self.stream(Work::Own(sql.into(), params), vars, self.limits.timeout)
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
        let parsed = Parsed::read(sql)?;
        let session = statement_session(&self.sessions, &self.limits, vars)?;
        let declared = declared.to_vec();
        let work = async move {
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
        let session = match statement {
            Work::Statement(..) => statement_session(&self.sessions, &self.limits, vars)?,
            Work::Own(..) => (self.own_sessions)(),
        };
        let own_memory = Arc::clone(&self.own_memory);
        let (schema_sender, schema_receiver) = oneshot::channel();
        let (rows_sender, rows) = mpsc::channel(BATCHES_IN_FLIGHT);
        let span = tracing::info_span!(
            "statement",
            user = %vars.user,
            application = %vars.application_name,
            pid = vars.backend_pid,
            sql = %statement.sql(),
            rows = field::Empty,
            error = field::Empty,
        );
        let programs = Arc::clone(&self.programs);
        let unread = UnreadLogs {
            catalog: self.catalog.clone(),
            wait: self.limits.wait_for_logs,
        };
        let again = {
            let (sessions, limits, vars) = (Arc::clone(&self.sessions), self.limits.clone(), vars.clone());
            move || statement_session(&sessions, &limits, &vars)
        };
        let work = async move {
            let opened = async {
                let session = match unread.read_for(&session, &statement).await? {
                    false => session,
                    true => again()?,
                };
                statement.open(&session, &programs, own_memory).await
            };
            let mut output = match opened.await {
                Ok(output) => output,
                Err(error) => {
                    Span::current().record("error", error.status().sqlstate);
                    // The receiver is gone only if nobody wants the answer.
                    let _ = schema_sender.send(Err(error));
                    return;
                }
            };
            let _ = schema_sender.send(Ok(Arc::clone(&output.schema)));
            let mut row_count = 0;
            while let Some(batch) = output.next().await {
                match &batch {
                    Ok(batch) => row_count += batch.num_rows(),
                    Err(error) => {
                        Span::current().record("error", error.status().sqlstate);
                    }
                }
                let failed = batch.is_err();
                if rows_sender.send(batch).await.is_err() || failed {
                    break;
                }
            }
            Span::current().record("rows", row_count);
        };
        let task = AbortOnDrop(self.spawn(work, span));
        let schema = match within(timeout, schema_receiver).await? {
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
            deadline: None,
            finished: false,
        };
        batches.set_deadline(timeout.map(|limit| (started + limit, limit)));
        Ok(RowStream { schema, batches })
    }

    fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static, span: Span) -> JoinHandle<T> {
        let running = Running::count(&self.running);
        let runtime = self.runtime.as_ref().expect("the runtime is taken only in drop");
        runtime.spawn(
            async move {
                let _running = running;
                work.await
            }
            .instrument(span),
        )
    }
}

fn statement_session(
    sessions: &Arc<SessionFactory>,
    limits: &QueryLimits,
    vars: &SessionVars,
) -> Result<SessionState, QueryError> {
    let state = sessions(vars).state();
    let pool = TrackConsumersPool::new(FairSpillPool::new(limits.memory_bytes), NAMED_MEMORY_CONSUMERS);
    let runtime_env = RuntimeEnvBuilder::from_runtime_env(state.runtime_env())
        .with_memory_pool(Arc::new(pool))
        .build_arc()?;
    Ok(SessionStateBuilder::new_from_existing(state)
        .with_runtime_env(runtime_env)
        .with_physical_optimizer_rule(Arc::new(YieldAboveJoins))
        .build())
}

/// Logs that were seen and are not read yet.
struct UnreadLogs {
    catalog: Option<Arc<Catalog>>,
    wait: Duration,
}

impl UnreadLogs {
    /// Has the logs read of the applications that a client's statement names. `true` if it has to be planned on what there is then. The
    /// program's own statements name applications that were waited for.
    async fn read_for(&self, session: &SessionState, work: &Work) -> Result<bool, QueryError> {
        let (Some(catalog), Work::Statement(parsed, types, params)) = (&self.catalog, work) else {
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
        let read = catalog.ensure_read(&unread, self.wait).await;
        read.map_err(|not_read| QueryError::from(&not_read))?;
        Ok(true)
    }
}

/// What a stream of rows comes from.
enum Work {
    /// A client's, with the types and values of its parameters.
    Statement(Box<Parsed>, Vec<DataType>, Vec<ScalarValue>),
    /// One of the program's own.
    Own(Arc<str>, Vec<ScalarValue>),
}

impl Work {
    fn sql(&self) -> &str {
        match self {
            Work::Statement(parsed, ..) => &parsed.sql,
            Work::Own(sql, _) => sql,
        }
    }

    async fn open(
        self,
        session: &SessionState,
        programs: &Programs,
        own_memory: Arc<RuntimeEnv>,
    ) -> Result<Output, QueryError> {
        let (sql, params) = match self {
            Work::Statement(parsed, types, params) => return open(session, &parsed, &types, params).await,
            Work::Own(sql, params) => (sql, params),
        };
        let program = match programs.get(&sql) {
            Some(program) => program,
            None => {
                let parsed = Parsed::read(&sql)?;
                let plan = plan(session, &parsed, &parameter_types(&params)).await?;
                let plan = match plan {
                    LogicalPlan::Statement(PlanStatement::Prepare(prepare)) => Arc::unwrap_or_clone(prepare.input),
                    other => other,
                };
                allow_only_reads(&plan)?;
                programs.insert(&sql, Program::new(session, &plan)?)
            }
        };
        Ok(Output {
            batches: program.open(session, own_memory, &params).await?,
            schema: program.schema(),
            explains: false,
        })
    }
}

/// Batches of a running statement. Dropping it stops the statement.
#[derive(Debug)]
pub struct BatchStream {
    rows: mpsc::Receiver<Result<RecordBatch, QueryError>>,
    task: AbortOnDrop<()>,
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
            let limit = *limit;
            self.finished = true;
            self.task.0.abort();
            return Poll::Ready(Some(Err(QueryError::TimedOut { limit })));
        }
        match self.rows.poll_recv(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(batch)) => {
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

struct Running(Arc<AtomicUsize>);

impl Running {
    fn count(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(counter))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
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

/// A statement after parsing, rewriting and the read-only check.
#[derive(Debug, Clone)]
struct Parsed {
    sql: Arc<str>,
    statement: DfStatement,
    placeholders: Placeholders,
    explains: bool,
}

impl Parsed {
    fn read(sql: &str) -> Result<Parsed, QueryError> {
        let words = match table_statement(sql)? {
            Some(select) => Some(select),
            None => with_datafusion_explain_format(sql)?,
        };
        let mut statements = DFParserBuilder::new(words.as_deref().unwrap_or(sql))
            .with_dialect(&PostgreSqlDialect {})
            .with_recursion_limit(PARSER_RECURSION_LIMIT)
            .build()?
            .parse_statements()?;
        let (Some(mut statement), None) = (statements.pop_front(), statements.pop_front()) else {
            return Err(QueryError::Syntax {
                message: "exactly one statement is expected here".into(),
            });
        };
        refuse_writes(&statement)?;
        let explains = matches!(statement, DfStatement::Explain(_));
        let mut placeholders = Placeholders::default();
        if let Some(tree) = sql_tree(&mut statement) {
            placeholders = Placeholders::of(tree)?;
            // Names first: `1` has none, while the cast added after it would be called `int4`.
            rewrite_statement(tree);
            cast_integer_literals(tree);
        }
        Ok(Parsed {
            sql: sql.into(),
            statement,
            placeholders,
            explains,
        })
    }

    /// What the client sees of the schema that was planned.
    fn client_schema(&self, planned: &SchemaRef) -> SchemaRef {
        if self.explains {
            return Arc::new(Schema::new(vec![Field::new("QUERY PLAN", DataType::Utf8, false)]));
        }
        let fields = planned.fields().iter().map(|field| match column_name(field.name()) {
            name if name == field.name() => Arc::clone(field),
            name => Arc::new(Field::clone(field).with_name(name)),
        });
        Arc::new(Schema::new_with_metadata(
            fields.collect::<Vec<_>>(),
            planned.metadata().clone(),
        ))
    }
}

/// PostgreSQL's `FORMAT TEXT` and `FORMAT JSON` of an EXPLAIN under DataFusion's names; `None` if there is nothing to change.
fn with_datafusion_explain_format(sql: &str) -> Result<Option<String>, QueryError> {
    let tokens = lexemes(sql)?;
    let word = |index: usize| {
        tokens
            .get(index)
            .map(|lexeme| sql[lexeme.start..lexeme.end].to_ascii_uppercase())
            .unwrap_or_default()
    };
    if word(0) != "EXPLAIN" {
        return Ok(None);
    }
    // The options end where the statement begins; no statement begins with FORMAT.
    let statement = |index: usize| matches!(word(index).as_str(), "SELECT" | "WITH" | "VALUES" | "TABLE");
    let Some(at) = (1..tokens.len())
        .take_while(|index| !statement(*index))
        .find(|index| word(*index) == "FORMAT")
    else {
        return Ok(None);
    };
    let name = match word(at + 1).as_str() {
        "TEXT" => "indent",
        "JSON" => "pgjson",
        _ => return Ok(None),
    };
    let old = &tokens[at + 1];
    Ok(Some(format!("{}{name}{}", &sql[..old.start], &sql[old.end..])))
}

/// The statement that is planned, below any EXPLAIN.
pub(super) fn sql_tree(statement: &mut DfStatement) -> Option<&mut ast::Statement> {
    match statement {
        DfStatement::Statement(tree) => Some(tree),
        DfStatement::Explain(explain) => sql_tree(&mut explain.statement),
        _ => None,
    }
}

/// The first line of defence; [`allow_only_reads`] on the plan is the second.
fn refuse_writes(statement: &DfStatement) -> Result<(), QueryError> {
    match statement {
        DfStatement::CreateExternalTable(_) => Err(QueryError::ReadOnly {
            statement: "CREATE EXTERNAL TABLE".into(),
        }),
        DfStatement::CopyTo(_) => Err(QueryError::ReadOnly {
            statement: "COPY".into(),
        }),
        DfStatement::Reset(_) => Err(QueryError::NotSupported {
            message: "RESET is not possible here".into(),
        }),
        DfStatement::Explain(explain) => refuse_writes(&explain.statement),
        DfStatement::Statement(tree) => match tree.as_ref() {
            ast::Statement::Query(query) => refuse_writes_in_query(query),
            ast::Statement::ExplainTable { .. } => Ok(()),
            other => Err(refusal(other)),
        },
    }
}

fn refuse_writes_in_query(query: &ast::Query) -> Result<(), QueryError> {
    struct Writes;
    impl ast::Visitor for Writes {
        type Break = &'static str;

        fn pre_visit_query(&mut self, query: &ast::Query) -> std::ops::ControlFlow<&'static str> {
            if !query.locks.is_empty() {
                return std::ops::ControlFlow::Break("SELECT FOR UPDATE");
            }
            body(&query.body)
        }
    }
    fn body(expr: &ast::SetExpr) -> std::ops::ControlFlow<&'static str> {
        use std::ops::ControlFlow::{Break, Continue};
        match expr {
            ast::SetExpr::Insert(_) => Break("INSERT"),
            ast::SetExpr::Update(_) => Break("UPDATE"),
            ast::SetExpr::Delete(_) => Break("DELETE"),
            ast::SetExpr::Merge(_) => Break("MERGE"),
            ast::SetExpr::Select(select) if select.into.is_some() => Break("SELECT INTO"),
            ast::SetExpr::SetOperation { left, right, .. } => {
                body(left)?;
                body(right)
            }
            _ => Continue(()),
        }
    }
    match ast::Visit::visit(query, &mut Writes) {
        std::ops::ControlFlow::Break(statement) => Err(QueryError::ReadOnly {
            statement: statement.into(),
        }),
        std::ops::ControlFlow::Continue(()) => Ok(()),
    }
}

fn refusal(statement: &ast::Statement) -> QueryError {
    let text = statement.to_string();
    let mut words = text.split_whitespace().map(str::to_uppercase);
    let verb = words.next().unwrap_or_default();
    match verb.as_str() {
        "CREATE" | "DROP" | "ALTER" => {
            let object =
                words.find(|word| !matches!(word.as_str(), "OR" | "REPLACE" | "TEMPORARY" | "TEMP" | "IF" | "EXISTS"));
            QueryError::ReadOnly {
                statement: format!("{verb} {}", object.unwrap_or_default()).trim().to_string(),
            }
        }
        "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "TRUNCATE" | "COPY" | "GRANT" | "REVOKE" | "COMMENT" | "VACUUM"
        | "ANALYZE" | "LOCK" | "CALL" | "LOAD" | "UNLOAD" | "NOTIFY" | "LISTEN" | "ATTACH" | "DETACH" | "OPTIMIZE"
        | "REPLACE" => QueryError::ReadOnly { statement: verb },
        _ => QueryError::NotSupported {
            message: format!("{verb} is not supported"),
        },
    }
}

fn allow_only_reads(plan: &LogicalPlan) -> Result<(), QueryError> {
    let reads = SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false);
    reads.verify_plan(plan).map_err(|_| QueryError::ReadOnly {
        statement: plan_word(plan).into(),
    })
}

fn plan_word(plan: &LogicalPlan) -> &str {
    match plan {
        LogicalPlan::Ddl(ddl) => ddl.name(),
        LogicalPlan::Dml(_) => "INSERT, UPDATE or DELETE",
        LogicalPlan::Copy(_) => "COPY",
        _ => "this statement",
    }
}

/// Plans; with parameters, under a PREPARE that tells DataFusion their types.
async fn plan(
    session: &SessionState,
    parsed: &Parsed,
    parameter_types: &[DataType],
) -> Result<LogicalPlan, QueryError> {
    let mut statement = parsed.statement.clone();
    if !parameter_types.is_empty() {
        // An EXPLAIN cannot stand under a PREPARE; the parameters below it then keep the types DataFusion infers.
        if let DfStatement::Statement(tree) = statement {
            let data_types = parameter_types.iter().map(sql_type).collect();
            statement = DfStatement::Statement(Box::new(ast::Statement::Prepare {
                name: ast::Ident::new("parameters"),
                data_types,
                statement: tree,
            }));
        }
    }
    Ok(session.statement_to_plan(statement).await?)
}

/// A statement whose plan runs.
struct Output {
    schema: SchemaRef,
    batches: datafusion::execution::SendableRecordBatchStream,
    explains: bool,
}

/// Plans with the values of the parameters.
async fn planned(
    session: &SessionState,
    parsed: &Parsed,
    parameter_types: &[DataType],
    params: &[ScalarValue],
) -> Result<LogicalPlan, QueryError> {
    let mut plan = plan(session, parsed, parameter_types).await?;
    if !parameter_types.is_empty() {
        let targets: Vec<DataType> = match &plan {
            LogicalPlan::Statement(PlanStatement::Prepare(prepare)) => {
                prepare.fields.iter().map(|field| field.data_type().clone()).collect()
            }
            _ => parameter_types.to_vec(),
        };
        let values = params
            .iter()
            .zip(&targets)
            .map(|(value, target)| Ok(ScalarAndMetadata::new(value.cast_to(target)?, None)))
            .collect::<Result<Vec<_>, QueryError>>()?;
        plan = plan.with_param_values(ParamValues::List(values))?;
    }
    Ok(plan)
}

async fn open(
    session: &SessionState,
    parsed: &Parsed,
    parameter_types: &[DataType],
    params: Vec<ScalarValue>,
) -> Result<Output, QueryError> {
    let plan = planned(session, parsed, parameter_types, &params).await?;
    allow_only_reads(&plan)?;
    let batches = DataFrame::new(session.clone(), plan).execute_stream().await?;
    Ok(Output {
        schema: parsed.client_schema(&batches.schema()),
        batches,
        explains: parsed.explains,
    })
}

impl Output {
    async fn next(&mut self) -> Option<Result<RecordBatch, QueryError>> {
        let batch = match self.batches.next().await? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(error.into())),
        };
        Some(if self.explains {
            self.plan_lines(&batch)
        } else {
            self.under_client_names(batch)
        })
    }

    fn under_client_names(&self, batch: RecordBatch) -> Result<RecordBatch, QueryError> {
        if batch.schema() == self.schema {
            return Ok(batch);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        // Names only differ; a schema that also relaxes nullability would be refused, so the types are the batch's own.
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), batch.columns().to_vec(), &options).map_err(
            |error| QueryError::Internal {
                message: error.to_string(),
            },
        )
    }

    /// DataFusion explains in rows of (kind, text); PostgreSQL in one column of lines.
    fn plan_lines(&self, batch: &RecordBatch) -> Result<RecordBatch, QueryError> {
        let text = |column: usize| -> Result<ArrayRef, QueryError> {
            cast(batch.column(column), &DataType::Utf8).map_err(|error| QueryError::Internal {
                message: error.to_string(),
            })
        };
        let (kinds, plans) = (text(0)?, text(1)?);
        let as_text = |array: &ArrayRef, row: usize| {
            array
                .as_any()
                .downcast_ref::<StringArray>()
                .map(|array| array.value(row).to_string())
                .unwrap_or_default()
        };
        let mut lines: Vec<String> = Vec::new();
        for row in 0..batch.num_rows() {
            let (kind, plan) = (as_text(&kinds, row), as_text(&plans, row));
            if plan.trim_start().starts_with('[') && plan.trim_end().ends_with(']') {
                // FORMAT JSON is one document, which clients parse as one value.
                lines.push(plan);
                continue;
            }
            lines.push(format!("{}:", kind.replace('_', " ")));
            lines.extend(plan.lines().map(|line| format!("  {line}")));
        }
        let column: ArrayRef = Arc::new(StringArray::from(lines));
        RecordBatch::try_new(Arc::clone(&self.schema), vec![column]).map_err(|error| QueryError::Internal {
            message: error.to_string(),
        })
    }
}
