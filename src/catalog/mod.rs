//! DataFusion's view of a snapshot: catalog `spark`, schemas `public` (base tables), `rollup` (tables and a view), `advice`
//! (views), `system`, `pg_catalog`, `information_schema`. A session is made for one statement and is bound to one snapshot.
//!
//! [`Catalog::session`] is cheap: functions and rules are registered once, in a state that every session copies; providers and rows are
//! made when a statement names a table. Statements have to go through [`rewrite::rewrite_statement`] before they are planned.
//!
//! Names are looked up along the search path, then in `pg_catalog`. What a schema lists is only its own.

pub mod activity;
mod casts;
mod environment;
mod events;
mod fixed;
mod functions;
mod per_row;
mod pg_catalog;
pub mod pg_types;
mod planner;
mod quantiles;
pub mod rewrite;
mod segments;
mod sql_error;
mod subqueries;
mod sums;
mod system;
mod table;
#[cfg(test)]
mod tests;
mod values;
mod views;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::config::Dialect;
use datafusion::error::Result;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::registry::FunctionRegistry;
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::analyzer::Analyzer;
use datafusion::physical_optimizer::combine_partial_final_agg::CombinePartialFinalAggregate;
use datafusion::physical_optimizer::limit_pushdown::LimitPushdown;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::future::BoxFuture;

pub use events::EVENTS;
pub(crate) use fixed::reads_only_fixed;
pub use functions::{documented_functions, version};
pub use pg_catalog::{Parameter, SERVER_VERSION, SERVER_VERSION_NUM, parameters};
pub use sql_error::SqlError;
pub use system::SYSTEM_TABLES;
pub use table::HistoryTable;
pub use values::read_text;
pub use views::{View, ViewColumn, render as render_views, views};

use crate::cache::CacheView;
use crate::event_log::{EventLog, LogReader};
use crate::history::{NotReadYet, Snapshot};
use crate::table::TableDef;
use activity::{Activity, Door};
use environment::EnvironmentTable;
use functions::FunctionContext;
use pg_catalog::Directory;
use system::SystemTable;
use views::ViewPlans;

/// The one catalog; also what a database is called.
pub const CATALOG: &str = "spark";

/// Where the catalog gets its data: implemented by `history::History`, and by tests.
pub trait SnapshotSource: Debug + Send + Sync {
    /// The newest complete view.
    fn snapshot(&self) -> Arc<Snapshot>;
    /// A reader from the first line of a log, for the table `events`.
    fn open_log(&self, log: &Arc<EventLog>) -> LogReader;
    /// Waits until the logs of some applications that were seen are read. Without it, what was seen is read.
    fn ensure_read<'a>(&'a self, _app_ids: &'a [String], _within: Duration) -> BoxFuture<'a, Result<(), NotReadYet>> {
        Box::pin(std::future::ready(Ok(())))
    }
    /// The column cache, if there is one: where the files of snapshots lie.
    fn cache(&self) -> Option<CacheView> {
        None
    }
}

/// One row of `system.settings`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub name: String,
    /// Secrets are redacted before they come here.
    pub value: String,
    /// `default`, `file`, `spark property`, `environment`, `flag`.
    pub source: String,
    pub description: String,
}

/// What a statement needs to know about the session it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionVars {
    pub user: String,
    /// Whether the user has the role `admin`: what touches sessions of others asks this.
    pub is_admin: bool,
    pub database: String,
    pub application_name: String,
    /// An IANA name or a fixed offset; `UTC` by default.
    pub time_zone: String,
    pub search_path: Vec<String>,
    pub backend_pid: i32,
    /// What `SET` has changed, under PostgreSQL's names, as `SHOW` prints it.
    pub settings: BTreeMap<String, String>,
    /// Where the session came in.
    pub door: Door,
    pub client_address: Option<IpAddr>,
    /// What `set_config` asks for; the door has it take effect after the statement.
    pub set_config: SetConfig,
}

/// Settings that a statement changes by calling `set_config`. Copies share what they collect.
#[derive(Debug, Clone, Default)]
pub struct SetConfig(Arc<Mutex<Vec<NewSetting>>>);

/// One call of `set_config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSetting {
    pub name: String,
    /// `None` is the default.
    pub value: Option<String>,
    /// For the transaction only.
    pub is_local: bool,
}

impl SetConfig {
    pub(crate) fn push(&self, setting: NewSetting) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(setting);
    }

    /// What was asked for since the last call.
    pub fn take(&self) -> Vec<NewSetting> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// All are alike: what is collected is no property of a session.
impl PartialEq for SetConfig {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for SetConfig {}

impl Default for SessionVars {
    fn default() -> Self {
        SessionVars {
            user: "sparkgate".into(),
            is_admin: false,
            database: CATALOG.into(),
            application_name: String::new(),
            time_zone: "UTC".into(),
            search_path: vec!["public".into()],
            backend_pid: 0,
            settings: BTreeMap::new(),
            door: Door::CommandLine,
            client_address: None,
            set_config: SetConfig::default(),
        }
    }
}

#[derive(Debug)]
pub struct Catalog {
    source: Arc<dyn SnapshotSource>,
    tables: &'static [&'static TableDef],
    system: Arc<Vec<Arc<dyn SystemTable>>>,
    directory: Arc<Directory>,
    views: Arc<ViewPlans>,
    base: Arc<SessionState>,
    /// What sessions of clients begin with: `base`, and what makes it PostgreSQL's SQL.
    clients: SessionState,
    own: SessionState,
    activity: Arc<Activity>,
    /// Microseconds since the epoch.
    started: i64,
}

impl Catalog {
    pub fn new(source: Arc<dyn SnapshotSource>, settings: Vec<Setting>) -> Self {
        Self::with_tables(source, settings, crate::table::all())
    }

    /// A catalog of other base tables than [`crate::table::all`].
    fn with_tables(
        source: Arc<dyn SnapshotSource>,
        settings: Vec<Setting>,
        tables: &'static [&'static TableDef],
    ) -> Self {
        let activity = Arc::new(Activity::default());
        let system = system::tables(settings, &activity);
        // `table::all()` may describe `events` too: it is one relation.
        let events = (!tables.iter().any(|table| table.name == EVENTS.name)).then_some(&EVENTS);
        let all: Vec<&'static TableDef> = tables
            .iter()
            .copied()
            .chain(events)
            .chain(system.iter().map(|table| table.def()))
            .collect();
        let base = base_state();
        if let Some(cache) = source.cache() {
            let store = cache.store();
            base.runtime_env()
                .register_object_store(segments::store_url().as_ref(), store);
        }
        Catalog {
            source,
            tables,
            system: Arc::new(system),
            directory: Arc::new(Directory::new(&all, views())),
            views: Arc::new(ViewPlans::new()),
            own: own_state(base.clone()),
            clients: client_state(base.clone()),
            base: Arc::new(base),
            activity,
            started: chrono::Utc::now().timestamp_micros(),
        }
    }

    /// Who is connected and what runs.
    pub fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// A session for one of the program's own statements, pinned on the snapshot of this moment. Such statements are short and name base
    /// tables alone: they need no functions of a client's session, and one partition, so nothing is planned that spreads work.
    pub fn own_session(&self) -> SessionState {
        let mut state = self.own.clone();
        let snapshot = self.source.snapshot();
        let provider = SnapshotCatalog(Arc::new(self.pin(SessionVars::default(), Arc::clone(&snapshot))));
        state.config_mut().set_extension(snapshot);
        state.register_catalog_list(Arc::new(provider));
        state
    }

    /// A session for one statement, pinned on the snapshot of this moment.
    pub fn session(&self, vars: &SessionVars) -> SessionContext {
        let snapshot = self.source.snapshot();
        let mut state = self.clients.clone();
        // Base tables look for it when they are scanned.
        state.config_mut().set_extension(Arc::clone(&snapshot));
        let existing = |schema: &&String| self.directory.schemas.contains_key(schema.as_str());
        let default_schema = vars
            .search_path
            .iter()
            .find(existing)
            .map_or("pg_catalog", String::as_str);
        let options = state.config_mut().options_mut();
        options.catalog.default_schema = default_schema.to_owned();
        let new_zone = options.execution.time_zone.as_deref() != Some(&vars.time_zone);
        if new_zone {
            options.execution.time_zone = Some(vars.time_zone.clone());
        }
        let zone_dependent: Vec<_> = if new_zone {
            let options = state.config().options();
            state
                .scalar_functions()
                .values()
                .filter_map(|function| function.inner().with_updated_config(options))
                .collect()
        } else {
            Vec::new()
        };
        let context = Arc::new(FunctionContext {
            vars: vars.clone(),
            directory: Arc::clone(&self.directory),
            snapshot: Arc::clone(&snapshot),
            activity: Arc::clone(&self.activity),
            started: self.started,
        });
        for function in zone_dependent
            .into_iter()
            .map(Arc::new)
            .chain(functions::functions(&context))
        {
            // It fails only for names that are no functions at all, and those are not here.
            if let Err(error) = state.register_udf(function) {
                tracing::error!(%error, "a function could not be registered");
            }
        }
        let provider = SnapshotCatalog(Arc::new(self.pin(vars.clone(), snapshot)));
        state.register_catalog_list(Arc::new(provider));
        SessionContext::new_with_state(state)
    }

    /// Whether logs were seen that are not read yet, as of a session.
    pub fn has_unread(&self, session: &SessionState) -> bool {
        let snapshot = session.config().get_extension::<Snapshot>();
        snapshot.is_some_and(|snapshot| !snapshot.unread.is_empty())
    }

    /// The applications that an optimised plan names, and whose logs are not all read.
    pub fn unread_applications(&self, session: &SessionState, plan: &LogicalPlan) -> Vec<String> {
        let Some(snapshot) = session.config().get_extension::<Snapshot>() else {
            return Vec::new();
        };
        let mut named = table::named_applications(session, plan);
        named.retain(|app_id| snapshot.unread.contains(app_id.as_str()));
        named.into_iter().collect()
    }

    /// Waits until the logs of some applications are read.
    pub async fn ensure_read(&self, app_ids: &[String], within: Duration) -> Result<(), NotReadYet> {
        self.source.ensure_read(app_ids, within).await
    }

    fn pin(&self, vars: SessionVars, snapshot: Arc<Snapshot>) -> Pinned {
        Pinned {
            vars,
            source: Arc::clone(&self.source),
            snapshot,
            tables: self.tables,
            system: Arc::clone(&self.system),
            directory: Arc::clone(&self.directory),
            views: Arc::clone(&self.views),
            base: Arc::clone(&self.base),
            activity: Arc::clone(&self.activity),
        }
    }
}

/// Footers of segments that are kept, with their page indexes: those of about a thousand files of the widest table.
const FOOTER_CACHE_BYTES: usize = 256 * 1024 * 1024;

/// What all sessions have in common.
fn base_state() -> SessionState {
    let mut config = SessionConfig::new()
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false);
    let options = config.options_mut();
    options.catalog.default_catalog = CATALOG.into();
    options.catalog.default_schema = "public".into();
    options.execution.time_zone = Some("UTC".into());
    options.sql_parser.dialect = Dialect::PostgreSQL;
    // Tables and clients have `Utf8`; a cast in a query should not bring in another type.
    options.sql_parser.map_string_types_to_utf8view = false;
    let runtime = RuntimeEnvBuilder::new()
        .with_metadata_cache_limit(FOOTER_CACHE_BYTES)
        .build_arc();
    let runtime = runtime.unwrap_or_else(|error| {
        tracing::error!(%error, "the footers of segments are kept in a cache of the usual size");
        Arc::new(RuntimeEnv::default())
    });
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .build();
    if let Err(error) = state.register_udaf(Arc::new(quantiles::task_quantiles())) {
        tracing::error!(%error, "a function could not be registered");
    }
    state
}

/// What sessions of clients have in common: the functions, operators, casts and subqueries of PostgreSQL's SQL. The program's own statements
/// and the views are DataFusion's SQL, as far as functions and literals go; what a client's statement makes of a view is one plan.
fn client_state(base: SessionState) -> SessionState {
    let mut config = base.config().clone();
    // `1.5` is numeric.
    config.options_mut().sql_parser.parse_float_as_decimal = true;
    // `array_agg` and `string_agg` over a sorted subquery take its order.
    config.options_mut().sql_parser.enable_subquery_sort_elimination = false;
    let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> =
        vec![Arc::new(planner::CatalogSubqueries), Arc::new(casts::PostgresCasts)];
    rules.extend(Analyzer::new().rules);
    rules.push(Arc::new(casts::CheckedArithmetic));
    let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(planner::PostgresPlanner)];
    planners.extend(base.expr_planners().iter().map(Arc::clone));
    let mut state = SessionStateBuilder::new_from_existing(base)
        .with_config(config)
        .with_expr_planners(planners)
        .with_analyzer_rules(rules)
        .build();
    if let Err(error) = state.register_udaf(Arc::new(sums::checked_sum())) {
        tracing::error!(%error, "a function could not be replaced");
    }
    // First all that are replaced, with their other names: they would come back when a session is built from this.
    for function in functions::plain_functions() {
        if let Err(error) = state.deregister_udf(function.name()) {
            tracing::error!(%error, "a function could not be replaced");
        }
    }
    for function in functions::plain_functions() {
        if let Err(error) = state.register_udf(function) {
            tracing::error!(%error, "a function could not be registered");
        }
    }
    state
}

/// What sessions of the program's own statements have in common: of the rules that improve a physical plan only those that let a sort
/// stop early and an aggregate have one step. The others are for partitions, which there are none of, and cost more than these statements.
fn own_state(base: SessionState) -> SessionState {
    let mut config = base.config().clone();
    config.options_mut().execution.target_partitions = 1;
    SessionStateBuilder::new_from_existing(base)
        .with_config(config)
        .with_physical_optimizer_rules(vec![
            Arc::new(CombinePartialFinalAggregate::new()),
            Arc::new(LimitPushdown::new()),
        ])
        .build()
}

/// All that the providers of one session share.
#[derive(Debug, Clone)]
struct Pinned {
    vars: SessionVars,
    source: Arc<dyn SnapshotSource>,
    snapshot: Arc<Snapshot>,
    tables: &'static [&'static TableDef],
    system: Arc<Vec<Arc<dyn SystemTable>>>,
    directory: Arc<Directory>,
    views: Arc<ViewPlans>,
    base: Arc<SessionState>,
    activity: Arc<Activity>,
}

/// What a name stands for.
enum Found {
    Table(Arc<dyn TableProvider>),
    /// The place of a view, which has yet to be planned.
    View(usize),
}

impl Pinned {
    fn find(&self, schema: &str, name: &str) -> Result<Option<Found>> {
        if let Some(view) = ViewPlans::find(schema, name) {
            return Ok(Some(Found::View(view)));
        }
        Ok(self.table(schema, name)?.map(Found::Table))
    }

    fn table(&self, schema: &str, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match schema {
            "pg_catalog" | "information_schema" => {
                self.directory
                    .table(schema, name, &self.vars, &self.snapshot, &self.activity)
            }
            "system" => match self.system.iter().find(|table| table.def().name == name) {
                Some(table) => system::provider(table.as_ref(), &self.snapshot, &self.vars).map(Some),
                None => Ok(None),
            },
            "public" if name == EVENTS.name => Ok(Some(Arc::new(events::EventsTable::new(
                Arc::clone(&self.snapshot),
                Arc::clone(&self.source),
            )))),
            schema => {
                let table = self
                    .tables
                    .iter()
                    .find(|table| table.schema == schema && table.name == name);
                Ok(table.map(|table| match std::ptr::eq(table.stored_as(), *table) {
                    true => Arc::new(HistoryTable::new(table)) as _,
                    false => Arc::new(EnvironmentTable::new()) as _,
                }))
            }
        }
    }

    /// The session that views are planned in: whoever asks first, it is the same.
    fn view_session(&self) -> SessionState {
        let mut state = SessionState::clone(&self.base);
        let pinned = Pinned {
            vars: SessionVars::default(),
            ..self.clone()
        };
        state.register_catalog_list(Arc::new(SnapshotCatalog(Arc::new(pinned))));
        state
    }
}

/// Answers to `spark` and to the name the client connected to, which is what `current_database()` tells it.
#[derive(Debug)]
struct SnapshotCatalog(Arc<Pinned>);

impl CatalogProviderList for SnapshotCatalog {
    fn register_catalog(&self, _name: String, _catalog: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![CATALOG.into()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == CATALOG || name == self.0.vars.database).then(|| Arc::new(SnapshotCatalog(Arc::clone(&self.0))) as _)
    }
}

impl CatalogProvider for SnapshotCatalog {
    fn schema_names(&self) -> Vec<String> {
        self.0
            .directory
            .schemas
            .keys()
            .map(|schema| (*schema).to_owned())
            .collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let (name, _) = self.0.directory.schemas.get_key_value(name)?;
        Some(Arc::new(SnapshotSchema {
            name,
            pinned: Arc::clone(&self.0),
        }))
    }
}

#[derive(Debug)]
struct SnapshotSchema {
    name: &'static str,
    pinned: Arc<Pinned>,
}

impl SnapshotSchema {
    /// DataFusion knows one default schema, so names that are not in it are looked for here: along the search path, then in
    /// `pg_catalog`. The names of `pg_catalog` begin with `pg_`, as no other's may.
    fn lookup(&self, name: &str) -> Result<Option<Found>> {
        if let Some(found) = self.pinned.find(self.name, name)? {
            return Ok(Some(found));
        }
        let path = &self.pinned.vars.search_path;
        if !path.iter().any(|schema| schema == self.name) {
            return Ok(None);
        }
        for schema in path
            .iter()
            .map(String::as_str)
            .chain(name.starts_with("pg_").then_some("pg_catalog"))
        {
            if let Some(found) = self.pinned.find(schema, name)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

#[async_trait]
impl SchemaProvider for SnapshotSchema {
    fn table_names(&self) -> Vec<String> {
        self.pinned.directory.names(self.name)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(match self.lookup(name)? {
            None => None,
            Some(Found::Table(table)) => Some(table),
            Some(Found::View(view)) => {
                let session = || self.pinned.view_session();
                Some(self.pinned.views.table(view, session).await?)
            }
        })
    }

    fn table_exist(&self, name: &str) -> bool {
        matches!(self.lookup(name), Ok(Some(_)))
    }
}
