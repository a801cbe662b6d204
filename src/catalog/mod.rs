//! DataFusion's view of a snapshot: catalog `spark`, schemas `public` (base tables), `system`, `pg_catalog`,
//! `information_schema`. A session is made for one statement and is bound to one snapshot. (skeleton: the interface)

use std::fmt::Debug;
use std::sync::Arc;

use datafusion::prelude::SessionContext;

use crate::event_log::{EventLog, LogReader};
use crate::history::Snapshot;

/// Where the catalog gets its data: implemented by `history::History`, and by tests.
pub trait SnapshotSource: Debug + Send + Sync {
    /// The newest complete view.
    fn snapshot(&self) -> Arc<Snapshot>;
    /// A reader from the first line of a log, for the table `events`.
    fn open_log(&self, log: &Arc<EventLog>) -> LogReader;
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
    pub database: String,
    pub application_name: String,
    /// An IANA name or a fixed offset; `UTC` by default.
    pub time_zone: String,
    pub search_path: Vec<String>,
    pub backend_pid: i32,
}

impl Default for SessionVars {
    fn default() -> Self {
        SessionVars {
            user: "sparkgate".into(),
            database: "spark".into(),
            application_name: String::new(),
            time_zone: "UTC".into(),
            search_path: vec!["public".into()],
            backend_pid: 0,
        }
    }
}

#[derive(Debug)]
pub struct Catalog {
    _source: Arc<dyn SnapshotSource>,
    _settings: Vec<Setting>,
}

impl Catalog {
    pub fn new(source: Arc<dyn SnapshotSource>, settings: Vec<Setting>) -> Self {
        Catalog {
            _source: source,
            _settings: settings,
        }
    }

    /// A session for one statement, pinned on the snapshot of this moment.
    pub fn session(&self, _vars: &SessionVars) -> SessionContext {
        SessionContext::new()
    }
}
