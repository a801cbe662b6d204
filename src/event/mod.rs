//! One line of an event log to one typed event. Knows Spark's JSON (`JsonProtocol.scala`), neither files nor state.
//!
//! The name of the event stands first in every line (`{"Event":"…`) and decides before anything else is parsed; lines that
//! no table needs are never parsed. Payloads borrow from the line. Field docs are Spark's own names; absent fields follow
//! `JsonProtocol`: what it calls an option is an `Option` here, everything else is required.
//!
//! Invariant: what a line gives depends on the line alone, so that lines can be parsed in any order and on any thread.

pub mod application;
pub mod block;
mod envelope;
pub mod environment;
pub mod executor;
pub mod job;
pub mod sql;
pub mod stage;
pub mod streaming;
pub mod task;

pub use envelope::event_name;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;

/// A string that borrows from the line where it has no escapes.
pub type Text<'a> = Cow<'a, str>;
/// Spark's maps of strings; a value may be null.
pub type Properties<'a> = BTreeMap<Text<'a>, Option<Text<'a>>>;

/// What a line says.
#[derive(Debug)]
pub enum Event<'a> {
    LogStart(application::LogStart<'a>),
    ApplicationStart(application::ApplicationStart<'a>),
    ApplicationEnd(application::ApplicationEnd),
    EnvironmentUpdate(environment::EnvironmentUpdate<'a>),
    ResourceProfileAdded(environment::ResourceProfileAdded<'a>),
    ExecutorAdded(executor::ExecutorAdded<'a>),
    ExecutorRemoved(executor::ExecutorRemoved<'a>),
    BlockManagerAdded(executor::BlockManagerAdded<'a>),
    ExecutorExcluded {
        executor_id: Text<'a>,
        excluded: bool,
    },
    ExecutorExcludedForStage(executor::ExcludedForStage<'a>),
    NodeExcluded {
        host: Text<'a>,
        excluded: bool,
    },
    NodeExcludedForStage(executor::ExcludedForStage<'a>),
    ExecutorMetricsUpdate(executor::ExecutorMetricsUpdate<'a>),
    StageExecutorMetrics(executor::StageExecutorMetrics<'a>),
    MiscellaneousProcessAdded(executor::MiscellaneousProcessAdded<'a>),
    JobStart(job::JobStart<'a>),
    JobEnd(job::JobEnd<'a>),
    StageSubmitted(stage::StageSubmitted<'a>),
    StageCompleted(stage::StageCompleted<'a>),
    TaskStart(task::TaskStart<'a>),
    TaskEnd(Box<task::TaskEnd<'a>>),
    BlockUpdated(block::BlockUpdated<'a>),
    UnpersistRdd(block::UnpersistRdd),
    SqlExecutionStart(Box<sql::ExecutionStart<'a>>),
    SqlExecutionEnd(sql::ExecutionEnd<'a>),
    SqlAdaptiveExecutionUpdate(sql::AdaptiveExecutionUpdate<'a>),
    SqlAdaptiveMetricUpdates(sql::AdaptiveMetricUpdates<'a>),
    SqlDriverAccumUpdates(sql::DriverAccumUpdates),
    Streaming(streaming::StreamingEvent),
    /// A known event that no table needs.
    Skipped,
    /// An event this version does not know, by name.
    Unknown(Text<'a>),
}

impl Event<'_> {
    /// A field that every Spark writes and Spark's own reader cannot do without, if this event lacks one: the event's name and the field's.
    /// Its row has a null there; that the log is damaged should be said all the same.
    pub fn missing_field(&self) -> Option<(&'static str, &'static str)> {
        let of_task = |info: &task::TaskInfo<'_>| match info {
            task::TaskInfo { executor_id: None, .. } => Some("Executor ID"),
            task::TaskInfo { host: None, .. } => Some("Host"),
            _ => None,
        };
        let of_stage = |info: &stage::StageInfo<'_>| info.name.is_none().then_some("Stage Name");
        match self {
            Event::TaskStart(event) => Some(("SparkListenerTaskStart", of_task(&event.info)?)),
            Event::TaskEnd(event) => Some(("SparkListenerTaskEnd", of_task(&event.info)?)),
            Event::StageSubmitted(event) => Some(("SparkListenerStageSubmitted", of_stage(&event.info)?)),
            Event::StageCompleted(event) => Some(("SparkListenerStageCompleted", of_stage(&event.info)?)),
            Event::JobStart(event) => {
                let missing = event.stage_infos.iter().flatten().find_map(of_stage);
                Some(("SparkListenerJobStart", missing?))
            }
            _ => None,
        }
    }
}

/// Why a line could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    #[error("not a JSON object with an \"Event\"")]
    NoEvent {
        #[source]
        source: Option<serde_json::Error>,
    },
    #[error("cannot read {event}: {source}")]
    Malformed { event: String, source: serde_json::Error },
}

impl ParseError {
    /// Name of the event, where that much could be read.
    pub fn event(&self) -> Option<&str> {
        match self {
            ParseError::NoEvent { .. } => None,
            ParseError::Malformed { event, .. } => Some(event),
        }
    }
}

/// Memory beside the lines that [`shorten`] fills; the events of shortened lines borrow from it.
#[derive(Debug, Default)]
pub struct Scratch {
    text: Vec<u8>,
    sql_updates: Vec<task::SqlUpdate>,
}

impl Scratch {
    /// Forgets the lines so far, and keeps the memory for the next ones.
    pub fn clear(&mut self) {
        self.text.clear();
        self.sql_updates.clear();
    }
}

/// Where a [`Scratch`] has what is left of a line.
#[derive(Debug, Clone)]
pub struct Shortened {
    text: Range<usize>,
    sql_updates: Range<usize>,
}

/// What comes before [`parse`]: leaves out of a line what no table shows, where that is worth a copy. `None` for a line that
/// is to be parsed as it is.
///
/// Many lines can be shortened into one scratch before the first of them is parsed.
pub fn shorten(line: &[u8], scratch: &mut Scratch) -> Option<Shortened> {
    // Spark writes the name first. A line in another order is long to read, and as right.
    if !line.starts_with(b"{\"Event\":\"SparkListenerTaskEnd\"") {
        return None;
    }
    let (text, sql_updates) = (scratch.text.len(), scratch.sql_updates.len());
    task::compact(line, &mut scratch.text, &mut scratch.sql_updates).then_some(Shortened {
        text: text..scratch.text.len(),
        sql_updates: sql_updates..scratch.sql_updates.len(),
    })
}

/// Events that JsonProtocol has a rule for: they stand without a package.
const BARE: [&str; 19] = [
    "SparkListenerTaskEnd",
    "SparkListenerTaskStart",
    "SparkListenerTaskGettingResult",
    "SparkListenerLogStart",
    "SparkListenerApplicationStart",
    "SparkListenerApplicationEnd",
    "SparkListenerEnvironmentUpdate",
    "SparkListenerResourceProfileAdded",
    "SparkListenerExecutorAdded",
    "SparkListenerExecutorRemoved",
    "SparkListenerBlockManagerAdded",
    "SparkListenerExecutorMetricsUpdate",
    "SparkListenerStageExecutorMetrics",
    "SparkListenerJobStart",
    "SparkListenerJobEnd",
    "SparkListenerStageSubmitted",
    "SparkListenerStageCompleted",
    "SparkListenerBlockUpdated",
    "SparkListenerUnpersistRDD",
];

/// Parses one line; `shortened` is what [`shorten`] gave for it, with this scratch.
pub fn parse<'a>(line: &'a [u8], shortened: Option<&Shortened>, scratch: &'a Scratch) -> Result<Event<'a>, ParseError> {
    let name = event_name(line)?;
    // Events without a rule of their own in JsonProtocol carry the name of their class, with its package; the others never do.
    let of_scheduler = name.strip_prefix("org.apache.spark.scheduler.");
    let of_sql = name.strip_prefix("org.apache.spark.sql.execution.ui.");
    let class = of_scheduler.or(of_sql).unwrap_or_default();
    let short = if class.is_empty() { &*name } else { class };
    let is_class = !class.is_empty();
    Ok(match short {
        _ if is_class && BARE.contains(&short) => Event::Unknown(name),
        "SparkListenerTaskEnd" => {
            let text = shortened.map_or(line, |at| &scratch.text[at.text.clone()]);
            let mut event: Box<task::TaskEnd<'a>> = Box::new(payload(text, &name)?);
            event.sql_updates = shortened.map_or(&[], |at| &scratch.sql_updates[at.sql_updates.clone()]);
            Event::TaskEnd(event)
        }
        "SparkListenerTaskStart" => Event::TaskStart(payload(line, &name)?),
        "SparkListenerLogStart" => Event::LogStart(payload(line, &name)?),
        "SparkListenerApplicationStart" => Event::ApplicationStart(payload(line, &name)?),
        "SparkListenerApplicationEnd" => Event::ApplicationEnd(payload(line, &name)?),
        "SparkListenerEnvironmentUpdate" => {
            Event::EnvironmentUpdate(environment::EnvironmentUpdate::parse(line, &name)?)
        }
        "SparkListenerResourceProfileAdded" => Event::ResourceProfileAdded(payload(line, &name)?),
        "SparkListenerExecutorAdded" => Event::ExecutorAdded(payload(line, &name)?),
        "SparkListenerExecutorRemoved" => Event::ExecutorRemoved(payload(line, &name)?),
        "SparkListenerBlockManagerAdded" => Event::BlockManagerAdded(payload(line, &name)?),
        "SparkListenerExecutorExcluded" | "SparkListenerExecutorBlacklisted" if is_class => {
            excluded_executor(line, &name, true)?
        }
        "SparkListenerExecutorUnexcluded" | "SparkListenerExecutorUnblacklisted" if is_class => {
            excluded_executor(line, &name, false)?
        }
        "SparkListenerExecutorExcludedForStage" | "SparkListenerExecutorBlacklistedForStage" if is_class => {
            Event::ExecutorExcludedForStage(payload(line, &name)?)
        }
        "SparkListenerNodeExcluded" | "SparkListenerNodeBlacklisted" if is_class => excluded_node(line, &name, true)?,
        "SparkListenerNodeUnexcluded" | "SparkListenerNodeUnblacklisted" if is_class => {
            excluded_node(line, &name, false)?
        }
        "SparkListenerNodeExcludedForStage" | "SparkListenerNodeBlacklistedForStage" if is_class => {
            Event::NodeExcludedForStage(payload(line, &name)?)
        }
        "SparkListenerExecutorMetricsUpdate" => Event::ExecutorMetricsUpdate(payload(line, &name)?),
        "SparkListenerStageExecutorMetrics" => Event::StageExecutorMetrics(payload(line, &name)?),
        "SparkListenerMiscellaneousProcessAdded" if is_class => Event::MiscellaneousProcessAdded(payload(line, &name)?),
        "SparkListenerJobStart" => Event::JobStart(payload(line, &name)?),
        "SparkListenerJobEnd" => Event::JobEnd(payload(line, &name)?),
        "SparkListenerStageSubmitted" => Event::StageSubmitted(payload(line, &name)?),
        "SparkListenerStageCompleted" => Event::StageCompleted(payload(line, &name)?),
        "SparkListenerBlockUpdated" => Event::BlockUpdated(payload(line, &name)?),
        "SparkListenerUnpersistRDD" => Event::UnpersistRdd(payload(line, &name)?),
        "SparkListenerSQLExecutionStart" if is_class => Event::SqlExecutionStart(Box::new(payload(line, &name)?)),
        "SparkListenerSQLExecutionEnd" if is_class => Event::SqlExecutionEnd(payload(line, &name)?),
        "SparkListenerSQLAdaptiveExecutionUpdate" if is_class => {
            Event::SqlAdaptiveExecutionUpdate(payload(line, &name)?)
        }
        "SparkListenerSQLAdaptiveSQLMetricUpdates" if is_class => {
            Event::SqlAdaptiveMetricUpdates(payload(line, &name)?)
        }
        "SparkListenerDriverAccumUpdates" if is_class => Event::SqlDriverAccumUpdates(payload(line, &name)?),
        _ => match streaming::StreamingEvent::parse(&name, line) {
            Some(event) => Event::Streaming(event?),
            None if is_known(&name, short) => Event::Skipped,
            None => Event::Unknown(name),
        },
    })
}

/// Events of Spark and its SQL, streaming, Thrift server and Connect modules that no table needs.
fn is_known(name: &str, short: &str) -> bool {
    const SKIPPED: [&str; 6] = [
        "SparkListenerTaskGettingResult",
        "SparkListenerBlockManagerRemoved",
        "SparkListenerSpeculativeTaskSubmitted",
        "SparkListenerUnschedulableTaskSetAdded",
        "SparkListenerUnschedulableTaskSetRemoved",
        "SparkListenerResourceProfileRemoved",
    ];
    const PACKAGES: [&str; 4] = [
        "org.apache.spark.sql.",
        "org.apache.spark.streaming.",
        "org.apache.spark.shuffle.",
        "org.apache.spark.status.",
    ];
    SKIPPED.contains(&short) || PACKAGES.iter().any(|package| name.starts_with(package))
}

fn payload<'a, T: Deserialize<'a>>(line: &'a [u8], name: &str) -> Result<T, ParseError> {
    serde_json::from_slice(line).map_err(|source| ParseError::Malformed {
        event: name.to_owned(),
        source,
    })
}

#[derive(Deserialize)]
struct WithExecutor<'a> {
    #[serde(borrow, rename = "executorId")]
    executor_id: Text<'a>,
}

#[derive(Deserialize)]
struct WithHost<'a> {
    #[serde(borrow, rename = "hostId")]
    host: Text<'a>,
}

fn excluded_executor<'a>(line: &'a [u8], name: &str, excluded: bool) -> Result<Event<'a>, ParseError> {
    let WithExecutor { executor_id } = payload(line, name)?;
    Ok(Event::ExecutorExcluded { executor_id, excluded })
}

fn excluded_node<'a>(line: &'a [u8], name: &str, excluded: bool) -> Result<Event<'a>, ParseError> {
    let WithHost { host } = payload(line, name)?;
    Ok(Event::NodeExcluded { host, excluded })
}

/// Numbers as Spark reads them: any JSON number, cut to a whole one.
pub(crate) mod lenient {
    use serde::{Deserialize, Deserializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Whole(i64),
        Wide(u64),
        Fraction(f64),
    }

    impl Number {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "Java's narrowing, as Jackson's longValue does"
        )]
        fn long(self) -> i64 {
            match self {
                Number::Whole(n) => n,
                Number::Wide(n) => n as i64,
                Number::Fraction(n) => n as i64,
            }
        }
    }

    pub(crate) fn long<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        Number::deserialize(deserializer).map(Number::long)
    }
}
