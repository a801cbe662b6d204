//! Folds one application's events into table rows, as Spark's `AppStatusListener` does.
//!
//! [`LiveApplication::apply_line`] takes lines in log order; [`LiveApplication::rows`] gives the tables as of now, and the fold
//! can go on. There is no I/O, clock or SQL here: the same log gives the same rows on every machine.
//!
//! Spark keeps live entities and writes copies of them to a store; its REST API shows the store. Where the two can differ
//! (a task that ends after its job), we follow the store. Memory grows with jobs, stages and their executors, cached partitions,
//! SQL plans, streaming batches and running tasks; of an ended task a bit stays, its row until it is taken ([`LiveApplication::take_tasks`]), and
//! its SQL metrics until their execution has ended.
//!
//! Invariant: a log replayed in two halves equals the log replayed whole.

mod acl;
mod application;
mod environment;
mod executor;
mod index_set;
mod job;
mod metrics;
mod parsed;
mod process;
mod rdd;
mod scala;
mod sql;
mod stage;
mod stage_executor;
mod streaming;
mod take;
mod task;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

pub use acl::Acl;
pub use parsed::ParsedBlock;
pub use stage::StageKey;
pub use take::{Attempt, Retold};

use application::Application;
use environment::{Environment, ResourceProfile};
use executor::{DRIVER, LiveExecutor};
use index_set::IndexSet;
use job::{LiveJob, Outcome};
use metrics::Metrics;
use parsed::{ParsedLine, without_line_end};
use process::MiscellaneousProcess;
use rdd::LiveRdd;
use sql::SqlExecutions;
use stage::{LiveStage, Speculation, Status};
use stage_executor::ExecutorSummary;
use streaming::StreamingQueries;
use task::{LiveTask, TaskRows};

use crate::event::block::{BlockKind, BlockUpdatedInfo};
use crate::event::executor::{ExecutorMetrics, ExecutorMetricsUpdate};
use crate::event::job::{JobEnd, JobStart};
use crate::event::stage::{Accumulable, StageInfo, StageSubmitted};
use crate::event::task::{TaskEnd, TaskEndReason, TaskStart};
use crate::event::{self, Event, ParseError, Scratch};
use crate::event_log::EventLog;
use crate::history::snapshot::AttemptRows;
use crate::table::metrics::index;
use crate::table::{
    ENVIRONMENT_SECTIONS, EXECUTORS, JOBS, MISCELLANEOUS_PROCESSES, RDD_PARTITIONS, RDDS, RESOURCE_PROFILES, Rows,
    SQL_EXECUTIONS, SQL_PLAN_EDGES, SQL_PLAN_NODES, STAGE_EXECUTORS, STAGES, STREAMING_BATCHES, STREAMING_QUERIES,
    TASKS, TableDef,
};

/// Raised whenever a log gives other rows than it did: rows that were kept are made anew then.
pub const REPLAY_VERSION: u32 = 2;

/// Problems kept with their text; more are only counted.
const MAX_PROBLEMS: usize = 20;
/// Distinct unknown events kept by name.
const MAX_UNKNOWN_EVENTS: usize = 100;

/// What was seen while replaying, for `system.event_logs` and `check`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplayReport {
    pub lines: u64,
    pub events: u64,
    /// Lines by name of an event that this version does not know.
    pub unknown_events: BTreeMap<String, u64>,
    /// Lines that could not be read, or not in full; `problems` has the first of them.
    pub malformed_lines: u64,
    /// The first problems, in the order of the log.
    pub problems: Vec<LineProblem>,
    pub application_start_seen: bool,
    pub application_end_seen: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineProblem {
    /// 1-based, over all files of the log.
    pub line: u64,
    /// Name of the event where it could be read.
    pub event: Option<String>,
    pub message: String,
}

impl std::fmt::Display for LineProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// One application attempt as far as its log has been read.
#[derive(Debug, Default)]
pub struct LiveApplication {
    report: ReplayReport,
    scratch: Scratch,
    /// The tail was taken as a line before its newline came: the newline alone is no blank line.
    tail_applied: bool,
    application: Application,
    environment: Option<Environment>,
    /// What the first environment says of who may see the application.
    acl: Option<Acl>,
    profiles: BTreeMap<i32, ResourceProfile>,
    cpus_per_task: Option<i32>,
    jobs: Vec<LiveJob>,
    /// Positions in `jobs` of those that run.
    live_jobs: BTreeMap<i32, usize>,
    /// Positions in `jobs` of the rows; a job that a log starts twice is the later one.
    job_rows: BTreeMap<i32, usize>,
    live_stages: BTreeMap<StageKey, LiveStage>,
    ended_stages: BTreeMap<StageKey, LiveStage>,
    /// What Spark has written of executors in stages. It outlives the stage, also where a later job names the stage again.
    stage_executors: BTreeMap<(StageKey, Arc<str>), ExecutorSummary>,
    /// The same of speculative tasks.
    speculations: BTreeMap<StageKey, Speculation>,
    executors: Vec<LiveExecutor>,
    live_executors: HashMap<String, usize>,
    /// Removed executors that ran while a stage that still runs did: late metrics count for them.
    dead_executors: HashMap<String, usize>,
    executor_rows: BTreeMap<String, usize>,
    processes: BTreeMap<String, MiscellaneousProcess>,
    rdds: BTreeMap<i32, LiveRdd>,
    live_tasks: HashMap<i64, LiveTask>,
    ended_tasks: IndexSet,
    tasks: TaskRows,
    sql: SqlExecutions,
    streaming: StreamingQueries,
    /// Names that every task repeats: hosts, executors, localities.
    names: HashSet<Arc<str>>,
    /// What an earlier reading of the log found.
    known: Option<Retold>,
}

impl LiveApplication {
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses one line (without its newline) and folds it. Lines that cannot be read are recorded in the report.
    pub fn apply_line(&mut self, line: &[u8]) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let line = without_line_end(line);
        let shortened = event::shorten(line, &mut scratch);
        self.apply_parsed(ParsedLine::parse(line, shortened.as_ref(), &scratch));
        self.scratch = scratch;
    }

    /// Folds the lines of a block that was parsed before, as if they came to [`Self::apply_line`] one by one. No line is left
    /// in the block.
    pub fn apply_block(&mut self, block: &mut ParsedBlock) {
        block.drain(|line| self.apply_parsed(line));
    }

    fn apply_parsed(&mut self, line: ParsedLine<'_>) {
        if std::mem::take(&mut self.tail_applied) && line.text.is_empty() {
            return;
        }
        self.report.lines += 1;
        match line.event {
            Ok(Some(event)) => self.apply_event(event),
            Ok(None) => self.problem(None, "blank line".to_owned()),
            Err(error) => self.repair(line.text, &error),
        }
    }

    fn apply_json(&mut self, json: &[u8]) -> Result<(), ParseError> {
        let mut scratch = Scratch::default();
        let shortened = event::shorten(json, &mut scratch);
        self.apply_event(event::parse(json, shortened.as_ref(), &scratch)?);
        Ok(())
    }

    fn apply_event(&mut self, event: Event<'_>) {
        match event {
            Event::Unknown(name) => {
                let unknown = &mut self.report.unknown_events;
                if let Some(count) = unknown.get_mut(&*name) {
                    *count += 1;
                } else if unknown.len() < MAX_UNKNOWN_EVENTS {
                    unknown.insert(name.into_owned(), 1);
                }
            }
            event => {
                self.report.events += 1;
                if let Some((name, field)) = event.missing_field() {
                    self.problem(Some(name), format!("missing field `{field}`; null instead"));
                }
                self.apply(event);
            }
        }
    }

    /// A line whose text is damaged, but whose JSON is not, counts as an event all the same.
    fn repair(&mut self, line: &[u8], error: &ParseError) {
        let invalid = std::str::from_utf8(line).is_err();
        let text = String::from_utf8_lossy(line);
        let text = without_lone_surrogates(&text);
        if (invalid || text.as_bytes() != line) && self.apply_json(text.as_bytes()).is_ok() {
            let what = if invalid {
                "invalid UTF-8"
            } else {
                "half of a surrogate pair"
            };
            self.problem(error.event(), format!("{what}; shown as \u{fffd}"));
            return;
        }
        // Jackson reads the first value of a line, takes the last of doubled keys, and narrows any number to what is asked for.
        let mut values = serde_json::Deserializer::from_str(&text).into_iter::<serde_json::Value>();
        if let Some(Ok(mut value)) = values.next() {
            let more = !text[values.byte_offset()..].trim().is_empty();
            narrow(&mut value);
            if self.apply_json(value.to_string().as_bytes()).is_ok() {
                if more {
                    self.problem(error.event(), "text behind the event; it is left out".to_owned());
                }
                return;
            }
        }
        self.problem(error.event(), error.to_string());
    }

    /// The end of the log as far as it goes: a last line without newline. It counts if it is a whole event (then `true`);
    /// otherwise nothing changes, and the caller waits for the rest, or calls [`Self::torn_tail`].
    pub fn apply_tail(&mut self, line: &[u8]) -> bool {
        if line.is_empty() {
            return false;
        }
        let whole = serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok() && self.apply_json(line).is_ok();
        if whole {
            self.report.lines += 1;
            self.tail_applied = true;
        }
        whole
    }

    /// Records that a log which should be complete ends inside a line or a compressed block.
    pub fn torn_tail(&mut self, message: String) {
        self.report.lines += 1;
        self.problem(None, message);
    }

    fn problem(&mut self, event: Option<&str>, message: String) {
        self.report.malformed_lines += 1;
        if self.report.problems.len() < MAX_PROBLEMS {
            let problem = LineProblem {
                line: self.report.lines,
                event: event.map(str::to_owned),
                message,
            };
            self.report.problems.push(problem);
        }
    }

    pub fn report(&self) -> &ReplayReport {
        &self.report
    }

    fn apply(&mut self, event: Event<'_>) {
        match event {
            Event::LogStart(event) => self.application.log_start(&event),
            Event::ApplicationStart(event) => {
                self.report.application_start_seen = true;
                self.application.start(&event);
                if let Some(logs) = &event.driver_logs
                    && let Some(driver) = self.live_executors.get(DRIVER)
                {
                    self.executors[*driver].driver_logs(logs, event.driver_attributes.as_ref());
                }
            }
            Event::ApplicationEnd(event) => {
                self.report.application_end_seen = true;
                self.application.end(&event);
            }
            Event::EnvironmentUpdate(event) => {
                let environment = Environment::of(&event);
                self.cpus_per_task = environment.cpus_per_task.or(self.cpus_per_task);
                self.acl.get_or_insert_with(|| environment.acl.clone());
                self.environment = Some(environment);
            }
            Event::ResourceProfileAdded(event) => {
                self.profiles.insert(event.id, ResourceProfile::of(&event));
            }
            Event::ExecutorAdded(event) => {
                let profile = self.profiles.get(&event.info.resource_profile_id.unwrap_or(0));
                let cpus = profile
                    .and_then(ResourceProfile::cpus_per_task)
                    .or(self.cpus_per_task)
                    .unwrap_or(1);
                self.application.saw(event.time);
                self.get_or_add_executor(&event.executor_id, event.time)
                    .added(&event, cpus);
            }
            Event::ExecutorRemoved(event) => {
                self.application.saw(event.time);
                self.remove_executor(&event);
            }
            Event::BlockManagerAdded(event) => {
                let time = event.time.unwrap_or(-1);
                self.application.saw(time);
                self.get_or_add_executor(&event.id.executor_id, time)
                    .block_manager_added(&event);
            }
            Event::ExecutorExcluded { executor_id, excluded } => {
                if let Some(at) = self.live_executors.get(&*executor_id) {
                    self.executors[*at].is_excluded = excluded;
                }
            }
            Event::NodeExcluded { host, excluded } => {
                for at in self.executors_on(&host) {
                    self.executors[at].is_excluded = excluded;
                }
            }
            Event::ExecutorExcludedForStage(event) => {
                let key = StageKey {
                    stage_id: event.stage_id,
                    stage_attempt_id: event.stage_attempt_id,
                };
                let executor = self.intern(&event.who);
                if let Some(stage) = self.live_stages.get_mut(&key) {
                    stage.exclude(executor);
                }
                if let Some(at) = self.live_executors.get(&*event.who) {
                    self.executors[*at].excluded_in_stages.insert(event.stage_id);
                }
            }
            Event::NodeExcludedForStage(event) => {
                let key = StageKey {
                    stage_id: event.stage_id,
                    stage_attempt_id: event.stage_attempt_id,
                };
                for at in self.executors_on(&event.who) {
                    let executor = &mut self.executors[at];
                    executor.excluded_in_stages.insert(event.stage_id);
                    // Spark leaves out an executor here of which it knows the block manager's host only.
                    if executor.host.as_deref() == Some(&*event.who)
                        && let Some(stage) = self.live_stages.get_mut(&key)
                    {
                        stage.exclude(intern(&mut self.names, &executor.executor_id));
                    }
                }
            }
            Event::ExecutorMetricsUpdate(event) => self.executor_metrics_update(&event),
            Event::StageExecutorMetrics(event) => {
                let at = self
                    .live_executors
                    .get(&*event.executor_id)
                    .or(self.dead_executors.get(&*event.executor_id));
                if let Some(at) = at.copied() {
                    raise(&mut self.executors[at], event.metrics.as_ref());
                }
                let key = StageKey {
                    stage_id: event.stage_id,
                    stage_attempt_id: event.stage_attempt_id,
                };
                self.raise_in_stage(key, &event.executor_id, event.metrics.as_ref());
            }
            Event::MiscellaneousProcessAdded(event) => {
                self.application.saw(event.time);
                let process = MiscellaneousProcess::of(&event, self.processes.get(&*event.process_id));
                self.processes.insert(event.process_id.into_owned(), process);
            }
            Event::JobStart(event) => self.job_start(&event),
            Event::JobEnd(event) => self.job_end(&event),
            Event::StageSubmitted(event) => self.stage_submitted(&event),
            Event::StageCompleted(event) => self.stage_completed(&event.info),
            Event::TaskStart(event) => self.task_start(&event),
            Event::TaskEnd(event) => self.task_end(&event),
            Event::BlockUpdated(event) => self.block_updated(&event.info),
            Event::UnpersistRdd(event) => self.unpersist(event.rdd_id),
            Event::SqlExecutionStart(event) => {
                self.application.saw(event.time);
                self.sql.execution_start(&event);
            }
            Event::SqlExecutionEnd(event) => {
                self.application.saw(event.time);
                self.sql.execution_end(&event);
            }
            Event::SqlAdaptiveExecutionUpdate(event) => self.sql.adaptive_execution_update(&event),
            Event::SqlAdaptiveMetricUpdates(event) => self.sql.adaptive_metric_updates(&event),
            Event::SqlDriverAccumUpdates(event) => self.sql.driver_accum_updates(&event),
            Event::Streaming(event) => self.streaming.apply(event),
            Event::Skipped | Event::Unknown(_) => {}
        }
    }

    fn intern(&mut self, name: &str) -> Arc<str> {
        intern(&mut self.names, name)
    }

    fn get_or_add_executor(&mut self, executor_id: &str, time: i64) -> &mut LiveExecutor {
        let at = match self.live_executors.get(executor_id) {
            Some(at) => *at,
            None => {
                self.executors.push(LiveExecutor::new(executor_id, time));
                let at = self.executors.len() - 1;
                self.live_executors.insert(executor_id.to_owned(), at);
                self.executor_rows.insert(executor_id.to_owned(), at);
                at
            }
        };
        &mut self.executors[at]
    }

    fn executors_on(&self, host: &str) -> Vec<usize> {
        let on_host = |at: &usize| {
            let executor = &self.executors[*at];
            executor.hostname() == Some(host) && executor.executor_id != DRIVER
        };
        self.live_executors.values().copied().filter(on_host).collect()
    }

    fn remove_executor(&mut self, event: &crate::event::executor::ExecutorRemoved<'_>) {
        let id = &*event.executor_id;
        let Some(at) = self.live_executors.remove(id) else {
            return;
        };
        self.executors[at].removed(event);
        for rdd in self.rdds.values_mut() {
            rdd.remove_executor(id);
        }
        if self.ran_with_a_live_stage(at) {
            self.dead_executors.insert(id.to_owned(), at);
        }
    }

    fn ran_with_a_live_stage(&self, executor: usize) -> bool {
        let removed = self.executors[executor].remove_time.unwrap_or(i64::MAX);
        self.live_stages
            .values()
            .any(|stage| stage.submission_time().unwrap_or(0) < removed)
    }

    fn job_start(&mut self, event: &JobStart<'_>) {
        self.application.saw(event.submission_time.unwrap_or(-1));
        self.sql.job_start(event);
        let at = self.jobs.len();
        self.jobs.push(LiveJob::start(event));
        self.live_jobs.insert(event.job_id, at);
        self.job_rows.insert(event.job_id, at);
        let join = |stage: &mut LiveStage| {
            stage.jobs.push(at);
            stage.job_ids.insert(event.job_id);
        };
        match &event.stage_infos {
            Some(infos) => infos
                .iter()
                .for_each(|info| join(get_or_add_stage(&mut self.live_stages, info))),
            None => {
                for stage_id in &event.stage_ids {
                    let key = StageKey {
                        stage_id: *stage_id,
                        stage_attempt_id: 0,
                    };
                    join(
                        self.live_stages
                            .entry(key)
                            .or_insert_with(|| LiveStage::unknown(*stage_id)),
                    );
                }
            }
        }
    }

    fn job_end(&mut self, event: &JobEnd<'_>) {
        self.sql.job_end(event);
        let Some(at) = self.live_jobs.remove(&event.job_id) else {
            return;
        };
        self.application.saw(event.completion_time.unwrap_or(-1));
        let job = &mut self.jobs[at];
        // Stages that never ran were skipped: their output was there.
        for stage_id in job.stage_ids.clone() {
            let first = StageKey {
                stage_id,
                stage_attempt_id: i32::MIN,
            };
            let last = StageKey {
                stage_id,
                stage_attempt_id: i32::MAX,
            };
            let keys = self.live_stages.range(first..=last);
            let pending: Vec<StageKey> = keys
                .filter(|(_, stage)| stage.status == Status::Pending)
                .map(|(key, _)| *key)
                .collect();
            for key in pending {
                let Some(mut stage) = self.live_stages.remove(&key) else {
                    continue;
                };
                stage.status = Status::Skipped;
                job.skipped_stages.insert(stage_id);
                job.skipped_tasks = job.skipped_tasks.wrapping_add(stage.num_tasks());
                stage.seal();
                self.ended_stages.insert(key, stage);
            }
        }
        job.end(event);
        job.write();
        self.application
            .job_ended(job.status == "FAILED", event.completion_time);
        self.forget_indices_of(at);
    }

    /// An ended job without a live stage cannot change: the bits of its tasks can go.
    fn forget_indices_of(&mut self, job: usize) {
        let ended = !self.live_jobs.values().any(|live| *live == job);
        if ended && !self.live_stages.values().any(|stage| stage.jobs.contains(&job)) {
            self.jobs[job].forget_indices();
        }
    }

    fn stage_submitted(&mut self, event: &StageSubmitted<'_>) {
        let stage_id = event.info.stage_id;
        self.application.saw(event.info.submission_time.unwrap_or(-1));
        self.sql.stage_submitted(StageKey {
            stage_id,
            stage_attempt_id: event.info.attempt_id.unwrap_or(0),
        });
        let stage = get_or_add_stage(&mut self.live_stages, &event.info);
        stage.submit(event);
        stage.jobs.clear();
        stage.job_ids.clear();
        for (job_id, at) in &self.live_jobs {
            let job = &mut self.jobs[*at];
            if job.stage_ids.contains(&stage_id) {
                stage.jobs.push(*at);
                stage.job_ids.insert(*job_id);
                job.completed_stages.remove(&stage_id);
                job.active_stages += 1;
            }
        }
        for rdd in &event.info.rdds {
            if rdd.storage_level.is_valid() {
                self.rdds.entry(rdd.id).or_insert_with(|| LiveRdd::new(rdd));
            }
        }
    }

    fn stage_completed(&mut self, info: &StageInfo<'_>) {
        self.application.saw(info.completion_time.unwrap_or(-1));
        let key = StageKey::of(info.stage_id, info.attempt_id);
        if let Some(stage) = self.live_stages.get_mut(&key) {
            stage.complete(info);
            for (executor, summary) in stage.executor_summaries() {
                self.stage_executors.insert((key, Arc::clone(executor)), *summary);
            }
            for at in &stage.jobs {
                let job = &mut self.jobs[*at];
                match stage.status {
                    Status::Complete => {
                        job.completed_stages.insert(info.stage_id);
                    }
                    Status::Skipped => {
                        job.skipped_stages.insert(info.stage_id);
                        job.skipped_tasks = job.skipped_tasks.wrapping_add(info.num_tasks);
                    }
                    _ => job.failed_stages += 1,
                }
                job.active_stages -= 1;
            }
            for executor in &stage.excluded_executors {
                if let Some(at) = self.live_executors.get(&**executor) {
                    self.executors[*at].excluded_in_stages.remove(&info.stage_id);
                }
            }
            // A stage whose tasks still run stays: they count for it.
            if stage.counts.active == 0 {
                self.end_stage(key);
            }
        }
        let dead: Vec<String> = self
            .dead_executors
            .iter()
            .filter(|(_, at)| !self.ran_with_a_live_stage(**at))
            .map(|(id, _)| id.clone())
            .collect();
        for id in dead {
            self.dead_executors.remove(&id);
        }
    }

    fn end_stage(&mut self, key: StageKey) {
        let Some(mut stage) = self.live_stages.remove(&key) else {
            return;
        };
        stage.seal();
        let jobs = std::mem::take(&mut stage.jobs);
        self.ended_stages.insert(key, stage);
        for job in jobs {
            self.forget_indices_of(job);
        }
    }

    fn task_start(&mut self, event: &TaskStart<'_>) {
        let info = &event.info;
        self.application.saw(info.launch_time);
        let key = StageKey::of(event.stage_id, event.stage_attempt_id);
        self.sql.task_start(key, info.task_id, info.index);
        let names = &mut self.names;
        let task = LiveTask::new(key, info, |name| intern(names, name));
        self.live_tasks.insert(info.task_id, task);
        if self.ended_tasks.contains(info.task_id.cast_unsigned()) {
            self.tasks.supersede(info.task_id);
        }
        if let Some(stage) = self.live_stages.get_mut(&key) {
            if info.speculative == Some(true) {
                let speculation = stage.speculation.get_or_insert(Speculation::default());
                speculation.active += 1;
                speculation.tasks += 1;
                self.speculations.insert(key, *speculation);
            }
            stage.launch(info.launch_time);
            if let Some(id) = info.executor_id.as_deref() {
                let executor = intern(&mut self.names, id);
                stage.executors.entry(executor).or_default().task_started();
            }
            for job in &stage.jobs {
                self.jobs[*job].counts.active += 1;
            }
        }
        if let Some(at) = info.executor_id.as_deref().and_then(|id| self.live_executors.get(id)) {
            let executor = &mut self.executors[*at];
            executor.active_tasks += 1;
            executor.total_tasks += 1;
        }
    }

    fn task_end(&mut self, event: &TaskEnd<'_>) {
        let info = &event.info;
        self.application.saw(info.finish_time);
        let key = StageKey::of(event.stage_id, event.stage_attempt_id);
        let successful = info.finish_time != 0 && !info.failed && info.killed != Some(true);
        self.sql
            .task_end(key, (info.task_id, info.index), successful, event.updates());
        let metrics = event.metrics.as_ref().map_or(Metrics::ABSENT, Metrics::of);
        let duration = info.finish_time.wrapping_sub(info.launch_time);
        let (error, killed_reason) = match event.reason {
            TaskEndReason::Success => (None, None),
            _ => (event.reason.error_message(), event.reason.killed_reason()),
        };

        // Spark counts metrics of tasks that it saw start, and once.
        let delta = self.live_tasks.remove(&info.task_id).map(|task| {
            self.ended_tasks.insert(info.task_id.cast_unsigned());
            let key = match self.known.as_ref().and_then(Retold::attempt) {
                Some(attempt) => attempt.key(),
                None => self.application.key(),
            };
            self.tasks.end(
                key,
                task.stage(),
                event,
                (error.as_deref(), killed_reason.as_deref()),
                &metrics,
            );
            self.application.task_ended(info.failed, &metrics);
            task.metrics.map_or(metrics, |old| metrics.minus(&old))
        });

        let killed = killed_reason.as_deref();
        let outcome = match event.reason {
            TaskEndReason::Success => Outcome {
                completed: 1,
                failed: 0,
                killed: 0,
                active: 1,
                killed_reason: None,
            },
            TaskEndReason::TaskKilled { .. } | TaskEndReason::TaskCommitDenied { .. } => Outcome {
                completed: 0,
                failed: 0,
                killed: 1,
                active: 1,
                killed_reason: killed,
            },
            // A task that had ended runs again, because its output was lost: it has no start of its own (SPARK-41187).
            TaskEndReason::Resubmitted => Outcome {
                completed: 0,
                failed: 1,
                killed: 0,
                active: 0,
                killed_reason: None,
            },
            _ => Outcome {
                completed: 0,
                failed: 1,
                killed: 0,
                active: 1,
                killed_reason: None,
            },
        };

        if let Some(stage) = self.live_stages.get_mut(&key) {
            if let Some(delta) = &delta {
                stage.metrics.add(delta);
            }
            stage.counts.end(&outcome);
            if outcome.completed > 0 {
                stage.completed_task(info.index, duration);
            }
            stage.peaks.raise(event.executor_metrics.as_ref());
            let over = stage.is_over();
            for at in &stage.jobs {
                let job = &mut self.jobs[*at];
                job.counts.end(&outcome);
                if outcome.completed > 0 {
                    job.completed_task(event.stage_id, info.index);
                }
                if over {
                    job.write_if_ended();
                }
            }
            if info.speculative == Some(true) {
                let speculation = stage.speculation.get_or_insert(Speculation::default());
                speculation.active -= 1;
                speculation.completed += outcome.completed;
                speculation.failed += outcome.failed;
                speculation.killed += outcome.killed;
                self.speculations.insert(key, *speculation);
            }
            if let Some(id) = info.executor_id.as_deref() {
                let executor = intern(&mut self.names, id);
                let on_executor = stage.executors.entry(Arc::clone(&executor)).or_default();
                let (summary, is_last) = on_executor.task_ended(&outcome, duration, delta.as_ref());
                summary.peaks.raise(event.executor_metrics.as_ref());
                if is_last {
                    self.stage_executors.insert((key, executor), *summary);
                }
            }
            if over {
                self.end_stage(key);
            }
        }

        if let Some(at) = info.executor_id.as_deref().and_then(|id| self.live_executors.get(id)) {
            let executor = &mut self.executors[*at];
            executor.active_tasks -= outcome.active;
            executor.completed_tasks += outcome.completed;
            executor.failed_tasks += outcome.failed;
            executor.total_duration = executor.total_duration.wrapping_add(duration);
            raise(executor, event.executor_metrics.as_ref());
            // A resubmitted task keeps the metrics of its first attempt.
            if !matches!(event.reason, TaskEndReason::Resubmitted) {
                executor.total_gc_time = executor.total_gc_time.wrapping_add(metrics.value(index::JVM_GC_TIME));
                executor.total_input_bytes = executor
                    .total_input_bytes
                    .wrapping_add(metrics.value(index::INPUT_BYTES));
                executor.total_shuffle_read = executor.total_shuffle_read.wrapping_add(metrics.shuffle_read_bytes());
                executor.total_shuffle_write = executor
                    .total_shuffle_write
                    .wrapping_add(metrics.value(index::SHUFFLE_WRITE_BYTES));
            }
        }
    }

    fn executor_metrics_update(&mut self, event: &ExecutorMetricsUpdate<'_>) {
        for update in &event.task_updates {
            let key = StageKey {
                stage_id: update.stage_id,
                stage_attempt_id: update.stage_attempt_id,
            };
            let sql = update.accumulators.iter().filter_map(Accumulable::whole_update);
            self.sql.task_update(key, update.task_id, sql);
            let Some(task) = self.live_tasks.get_mut(&update.task_id) else {
                continue;
            };
            let metrics = metrics::of_accumulators(&update.accumulators);
            let delta = task.metrics.replace(metrics).map_or(metrics, |old| metrics.minus(&old));
            if let Some(stage) = self.live_stages.get_mut(&key) {
                stage.metrics.add(&delta);
                let executor = intern(&mut self.names, &event.executor_id);
                stage.executor_summary(&executor).add(&delta);
            }
        }
        for update in event.executor_updates.iter().flatten() {
            if let Some(at) = self.live_executors.get(&*event.executor_id) {
                raise(&mut self.executors[*at], update.metrics.as_ref());
            }
            let key = StageKey {
                stage_id: update.stage_id,
                stage_attempt_id: update.stage_attempt_id,
            };
            self.raise_in_stage(key, &event.executor_id, update.metrics.as_ref());
        }
    }

    fn raise_in_stage(&mut self, key: StageKey, executor_id: &str, metrics: Option<&ExecutorMetrics>) {
        let Some(stage) = self.live_stages.get_mut(&key) else {
            return;
        };
        stage.peaks.raise(metrics);
        let executor = intern(&mut self.names, executor_id);
        let summary = stage.executor_summary(&executor);
        if summary.peaks.raise(metrics) {
            self.stage_executors.insert((key, executor), *summary);
        }
    }

    fn block_updated(&mut self, info: &BlockUpdatedInfo<'_>) {
        let level = info.storage_level;
        let memory = if level.use_memory {
            info.memory_size
        } else {
            info.memory_size.wrapping_neg()
        };
        let disk = if level.use_disk {
            info.disk_size
        } else {
            info.disk_size.wrapping_neg()
        };
        let id = &*info.manager.executor_id;
        let executor = self.live_executors.get(id).copied();
        match BlockKind::of(&info.block_id) {
            BlockKind::Other => {}
            BlockKind::Broadcast => {
                if let Some(at) = executor {
                    self.executors[at].store(level, memory, disk);
                }
            }
            BlockKind::Rdd { rdd_id } => {
                if let Some(at) = executor {
                    self.executors[at].store(level, memory, disk);
                }
                let Some(rdd) = self.rdds.get_mut(&rdd_id) else { return };
                let blocks = rdd.update_block(&info.block_id, id, level, (memory, disk));
                if let Some(at) = executor {
                    let executor = &mut self.executors[at];
                    executor.rdd_blocks += blocks;
                    rdd.update_distribution(executor, executor.rdd_blocks, level, (memory, disk));
                    let remaining = executor.remaining();
                    self.rdds.values_mut().for_each(|rdd| rdd.see(id, &remaining));
                }
            }
        }
    }

    fn unpersist(&mut self, rdd_id: i32) {
        let Some(rdd) = self.rdds.remove(&rdd_id) else { return };
        for id in rdd.partitions.values().flat_map(|partition| &partition.executors) {
            if let Some(at) = self.live_executors.get(id) {
                self.executors[*at].rdd_blocks -= 1;
            }
        }
        for (id, distribution) in &rdd.distributions {
            if let Some(at) = self.live_executors.get(id) {
                self.executors[*at].unpersist(rdd.storage_level, distribution);
            }
        }
    }

    /// Rows as of now but for those that [`Self::take_tasks`] gave away; the fold can go on afterwards. `None` until
    /// `SparkListenerApplicationStart` with an id was seen.
    pub fn rows(&mut self, log: &Arc<EventLog>) -> Option<AttemptRows> {
        let (app_id, attempt_id) = self.application.id()?;
        let mut tables: BTreeMap<&'static str, Vec<arrow::array::RecordBatch>> = BTreeMap::new();
        let mut table = |def: &'static TableDef, fill: &mut dyn FnMut(&mut Rows)| {
            let mut rows = Rows::new(def, 0);
            fill(&mut rows);
            if !rows.is_empty() {
                tables.insert(def.name, vec![rows.finish()]);
            }
        };
        let (app, attempt) = (&*app_id, &*attempt_id);
        table(&JOBS, &mut |rows| {
            self.job_rows
                .values()
                .for_each(|at| self.jobs[*at].shown().push_row(app, attempt, rows));
        });
        let mut stages: BTreeMap<StageKey, &LiveStage> = self.ended_stages.iter().map(|(key, s)| (*key, s)).collect();
        stages.extend(self.live_stages.iter().map(|(key, stage)| (*key, stage)));
        table(&STAGES, &mut |rows| {
            for (key, stage) in &stages {
                stage.push_row((app, attempt), self.speculations.get(key), rows);
            }
        });
        let failed_stages = stages.values().filter(|stage| stage.status == Status::Failed).count();
        let duration = self.application.duration();
        let end = self.application.last_time();
        let shown: Vec<&LiveExecutor> = self
            .executor_rows
            .values()
            .map(|at| &self.executors[*at])
            .filter(|executor| executor.executor_id != executor::FALLBACK)
            .collect();
        table(&EXECUTORS, &mut |rows| {
            shown
                .iter()
                .for_each(|executor| executor.push_row(app, attempt, duration, end, rows));
        });
        let mut in_stages: BTreeMap<(StageKey, &str), &ExecutorSummary> = self
            .stage_executors
            .iter()
            .map(|((key, executor), summary)| ((*key, &**executor), summary))
            .collect();
        for (key, stage) in &self.live_stages {
            let summaries = stage.executor_summaries();
            in_stages.extend(summaries.map(|(executor, summary)| ((*key, &**executor), summary)));
        }
        table(&STAGE_EXECUTORS, &mut |rows| {
            for ((key, executor), summary) in &in_stages {
                summary.push_row((app, attempt), *key, executor, rows);
            }
        });
        table(&MISCELLANEOUS_PROCESSES, &mut |rows| {
            self.processes
                .iter()
                .for_each(|(id, process)| process.push_row((app, attempt), id, rows));
        });
        table(&RDDS, &mut |rows| {
            self.rdds
                .iter()
                .for_each(|(id, rdd)| rdd.push_row((app, attempt), *id, rows));
        });
        table(&RDD_PARTITIONS, &mut |rows| {
            self.rdds
                .iter()
                .for_each(|(id, rdd)| rdd.push_partitions((app, attempt), *id, rows));
        });
        table(&RESOURCE_PROFILES, &mut |rows| {
            self.profiles
                .values()
                .for_each(|profile| profile.push_row(app, attempt, rows));
        });
        table(&SQL_EXECUTIONS, &mut |rows| {
            self.sql.push_executions(app, attempt, rows)
        });
        table(&SQL_PLAN_NODES, &mut |rows| self.sql.push_nodes(app, attempt, rows));
        table(&SQL_PLAN_EDGES, &mut |rows| self.sql.push_edges(app, attempt, rows));
        table(&STREAMING_QUERIES, &mut |rows| {
            self.streaming.push_queries(app, attempt, rows)
        });
        table(&STREAMING_BATCHES, &mut |rows| {
            self.streaming.push_batches(app, attempt, rows)
        });
        let failed_jobs = self
            .job_rows
            .values()
            .filter(|at| self.jobs[**at].shown().status == "FAILED")
            .count();
        let mut running: Vec<&LiveTask> = self.live_tasks.values().collect();
        running.sort_by_key(|task| task.task_id());
        let tasks = self.tasks.batches((app, attempt), running.into_iter());
        let task_rows = tasks.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>() + self.tasks.taken_rows();
        let totals = application::Totals {
            jobs: self.job_rows.len(),
            failed_jobs,
            stages: stages.len(),
            failed_stages,
            tasks: task_rows,
            executors: shown.len(),
            cores: most_cores(&shown, end),
            core_ms: shown
                .iter()
                .map(|executor| executor.core_ms(end))
                .fold(0, i64::saturating_add),
            events: self.report.events,
            problems: self.report.malformed_lines,
        };
        let summary = self.application.row(log, &totals);
        tables.insert(crate::table::APPLICATION_ATTEMPTS.name, vec![summary]);
        if !tasks.is_empty() {
            tables.insert(TASKS.name, tasks);
        }
        let sections = |environment: &Environment| environment.sections(app, attempt);
        if let Some(sections) = self.environment.as_ref().and_then(sections) {
            tables.insert(ENVIRONMENT_SECTIONS.name, vec![sections]);
        }
        let start_time_ms = self.application.start_time();
        Some(AttemptRows {
            app_id: app_id.into(),
            attempt_id: attempt_id.into(),
            start_time_ms,
            log: Arc::clone(log),
            tables,
            stored: None,
            is_read: true,
        })
    }
}

fn intern(names: &mut HashSet<Arc<str>>, name: &str) -> Arc<str> {
    match names.get(name) {
        Some(name) => Arc::clone(name),
        None => {
            let name: Arc<str> = Arc::from(name);
            names.insert(Arc::clone(&name));
            name
        }
    }
}

fn raise(executor: &mut LiveExecutor, metrics: Option<&ExecutorMetrics>) {
    executor.peaks.raise(metrics);
    executor.has_metrics |= metrics.is_none_or(|ExecutorMetrics(metrics)| metrics[0] > -1);
}

fn get_or_add_stage<'s>(stages: &'s mut BTreeMap<StageKey, LiveStage>, info: &StageInfo<'_>) -> &'s mut LiveStage {
    let key = StageKey::of(info.stage_id, info.attempt_id);
    let stage = stages.entry(key).or_insert_with(|| LiveStage::new(info));
    stage.update(info);
    stage
}

/// Most cores that were there at one time.
fn most_cores(executors: &[&LiveExecutor], end: i64) -> i64 {
    let mut changes: Vec<(i64, bool, i64)> = Vec::with_capacity(executors.len() * 2);
    for executor in executors {
        let cores = i64::from(executor.total_cores);
        // At one moment, what goes goes first; an executor that came and went at once was there.
        changes.push((executor.add_time, true, cores));
        changes.push((
            executor
                .remove_time
                .unwrap_or(end.max(executor.add_time))
                .max(executor.add_time.saturating_add(1)),
            false,
            -cores,
        ));
    }
    changes.sort_unstable();
    changes
        .into_iter()
        .scan(0, |cores, (_, _, change)| {
            *cores += change;
            Some(*cores)
        })
        .max()
        .unwrap_or(0)
}

/// What may be a fraction, or is not ours to read.
const FRACTIONS: [&str; 4] = [
    "Amount",
    "inputRowsPerSecond",
    "processedRowsPerSecond",
    "observedMetrics",
];

/// Makes whole numbers of all numbers but [`FRACTIONS`], as Jackson's `longValue` does.
#[allow(clippy::cast_possible_truncation, reason = "Java's narrowing")]
fn narrow(value: &mut serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::Number(number) if !number.is_i64() => {
            let whole = number
                .as_u64()
                .map(u64::cast_signed)
                .or(number.as_f64().map(|float| float as i64));
            *value = Value::from(whole.unwrap_or_default());
        }
        Value::Array(items) => items.iter_mut().for_each(narrow),
        Value::Object(fields) => fields
            .iter_mut()
            .filter(|(key, _)| !FRACTIONS.contains(&key.as_str()))
            .for_each(|(_, value)| narrow(value)),
        _ => {}
    }
}

/// `\ud83d` without its other half is no text: written as the replacement character.
fn without_lone_surrogates(text: &str) -> String {
    let escape = |at: usize| -> Option<u32> {
        let rest = text.get(at..at + 6)?;
        u32::from_str_radix(rest.strip_prefix("\\u")?, 16).ok()
    };
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        match escape(at) {
            Some(high @ 0xD800..=0xDBFF) if matches!(escape(at + 6), Some(0xDC00..=0xDFFF)) => {
                let _ = high;
                out.push_str(&text[at..at + 12]);
                at += 12;
            }
            Some(0xD800..=0xDFFF) => {
                out.push_str("\\ufffd");
                at += 6;
            }
            _ if rest.starts_with("\\\\") => {
                out.push_str("\\\\");
                at += 2;
            }
            _ => {
                let next = rest.chars().next().map_or(1, char::len_utf8);
                out.push_str(&rest[..next]);
                at += next;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_stand_in_the_order_in_which_executor_metrics_are_parsed() {
        let columns: Vec<&str> = crate::table::metrics::PEAKS.iter().map(|(name, _)| *name).collect();
        assert_eq!(columns, event::executor::METRIC_NAMES);
    }

    #[test]
    fn half_a_surrogate_pair_is_replaced_and_a_whole_one_is_kept() {
        let text = r#"{"a":"\ud83d\ude80 \ud83d \ude80","b":"\\ud83d"}"#;
        assert_eq!(
            without_lone_surrogates(text),
            r#"{"a":"\ud83d\ude80 \ufffd \ufffd","b":"\\ud83d"}"#
        );
    }

    #[test]
    fn executors_that_follow_each_other_do_not_add_up() {
        let executor = |cores, add, remove| {
            let mut executor = LiveExecutor::new("e", add);
            executor.total_cores = cores;
            executor.remove_time = remove;
            executor
        };
        let (a, b, c) = (
            executor(4, 0, Some(10)),
            executor(2, 10, None),
            executor(1, 20, Some(20)),
        );
        assert_eq!(most_cores(&[&a, &b, &c], 30), 4);
        assert_eq!(most_cores(&[&b, &c], 30), 3);
        assert_eq!(most_cores(&[], 30), 0);
    }

    #[test]
    fn numbers_at_the_edge_wrap_as_in_java_and_never_panic() {
        let mut live = LiveApplication::new();
        let (min, max) = (i64::MIN, i64::MAX);
        let lines = [
            format!(
                r#"{{"Event":"SparkListenerApplicationStart","App Name":"a","App ID":"a","Timestamp":{max},"User":"u"}}"#
            ),
            format!(
                r#"{{"Event":"SparkListenerExecutorAdded","Timestamp":{min},"Executor ID":"1","Executor Info":{{"Host":"h","Total Cores":2147483647,"Log Urls":{{}}}}}}"#
            ),
            format!(
                r#"{{"Event":"SparkListenerExecutorAdded","Timestamp":{min},"Executor ID":"2","Executor Info":{{"Host":"h","Total Cores":2147483647,"Log Urls":{{}}}}}}"#
            ),
            format!(
                r#"{{"Event":"SparkListenerStageSubmitted","Stage Info":{{"Stage ID":-1,"Stage Name":"s","Number of Tasks":-5,"RDD Info":[{{"RDD ID":7,"Name":"r","Storage Level":{{"Use Disk":true,"Use Memory":true,"Deserialized":true,"Replication":1}},"Number of Partitions":1}}],"Submission Time":{max},"Completion Time":{min}}}}}"#
            ),
            format!(
                r#"{{"Event":"SparkListenerBlockUpdated","Block Updated Info":{{"Block Manager ID":{{"Executor ID":"1","Host":"h","Port":1}},"Block ID":"rdd_7_0","Storage Level":{{"Use Disk":false,"Use Memory":false,"Deserialized":true,"Replication":1}},"Memory Size":{min},"Disk Size":{min}}}}}"#
            ),
            format!(
                r#"{{"Event":"SparkListenerTaskStart","Stage ID":-1,"Task Info":{{"Task ID":{min},"Index":-1,"Launch Time":{max},"Executor ID":"1","Host":"h","Locality":"ANY","Getting Result Time":0,"Finish Time":0,"Failed":false}}}}"#
            ),
            format!(
                r#"{{"Event":"SparkListenerTaskEnd","Stage ID":-1,"Task Type":"t","Task End Reason":{{"Reason":"Success"}},"Task Info":{{"Task ID":{min},"Index":-1,"Launch Time":{max},"Executor ID":"1","Host":"h","Locality":"ANY","Getting Result Time":{max},"Finish Time":{min},"Failed":false}},"Task Metrics":{{"Executor Deserialize Time":{max},"Executor Run Time":{max},"Result Size":{min},"JVM GC Time":{max},"Result Serialization Time":{max},"Memory Bytes Spilled":{max},"Disk Bytes Spilled":{max},"Input Metrics":{{"Bytes Read":{max}}}}}}}"#
            ),
            format!(r#"{{"Event":"SparkListenerApplicationEnd","Timestamp":{min}}}"#),
        ];
        for line in lines.iter().chain(&lines) {
            live.apply_line(line.as_bytes());
        }
        assert_eq!(live.report().problems, []);
        let log = EventLog {
            path: "a".into(),
            identity: "a".into(),
            rolling: false,
            files: Vec::new(),
            in_progress: false,
            open: None,
            size_bytes: u64::MAX,
            modified_ms: i64::MAX,
        };
        let rows = live.rows(&Arc::new(log)).expect("the application started");
        assert_eq!(
            rows.tables["tasks"].iter().map(|batch| batch.num_rows()).sum::<usize>(),
            1
        );
    }

    const START: &str =
        r#"{"Event":"SparkListenerApplicationStart","App Name":"a","App ID":"a","Timestamp":1,"User":"u"}"#;
    const TASK_START: &str = r#"{"Event":"SparkListenerTaskStart","Stage ID":0,"Stage Attempt ID":0,"Task Info":{"Task ID":7,"Index":0,"Attempt":0,"Launch Time":1,"Executor ID":"1","Host":"h","Locality":"ANY","Speculative":false,"Getting Result Time":0,"Finish Time":0,"Failed":false}}"#;
    const TASK_END: &str = r#"{"Event":"SparkListenerTaskEnd","Stage ID":0,"Stage Attempt ID":0,"Task Type":"t","Task End Reason":{"Reason":"Success"},"Task Info":{"Task ID":7,"Index":0,"Attempt":0,"Launch Time":1,"Executor ID":"1","Host":"h","Locality":"ANY","Speculative":false,"Getting Result Time":0,"Finish Time":5,"Failed":false}}"#;

    fn replayed(lines: &[&str]) -> (AttemptRows, ReplayReport) {
        let mut live = LiveApplication::new();
        lines.iter().for_each(|line| live.apply_line(line.as_bytes()));
        let log = EventLog {
            path: "a".into(),
            identity: "a".into(),
            rolling: false,
            files: Vec::new(),
            in_progress: false,
            open: None,
            size_bytes: 1,
            modified_ms: 1,
        };
        (
            live.rows(&Arc::new(log)).expect("the application started"),
            live.report().clone(),
        )
    }

    fn tasks(rows: &AttemptRows) -> String {
        let columns = |batch: &arrow::array::RecordBatch| batch.project(&[0, 4, 14]).expect("key, id, status");
        let batches: Vec<_> = rows.tables.get("tasks").into_iter().flatten().map(columns).collect();
        let text = arrow::util::pretty::pretty_format_batches(&batches)
            .expect("text")
            .to_string();
        text.lines()
            .filter(|line| line.starts_with("| a") && !line.contains("app_id"))
            .collect()
    }

    #[test]
    fn tasks_that_end_before_the_application_is_named_belong_to_it() {
        let (rows, _) = replayed(&[TASK_START, TASK_END, START]);
        assert_eq!(tasks(&rows), "| a      | 7       | SUCCESS |");
    }

    #[test]
    fn numbers_doubled_keys_and_what_stands_behind_an_event_are_read_as_jackson_reads_them() {
        let float = TASK_END.replace("\"Finish Time\":5", "\"Finish Time\":5.0e0");
        let doubled = TASK_END.replace("\"Stage ID\":0,", "\"Stage ID\":9,\"Stage ID\":0,");
        for end in [float, doubled] {
            let (rows, report) = replayed(&[START, TASK_START, &end]);
            assert_eq!(tasks(&rows), "| a      | 7       | SUCCESS |", "{end}");
            assert_eq!(report.problems, [], "{end}");
        }
        let (rows, report) = replayed(&[START, TASK_START, &format!("{TASK_END} and more")]);
        assert_eq!(tasks(&rows), "| a      | 7       | SUCCESS |");
        assert_eq!((report.malformed_lines, report.events), (1, 3));
    }

    #[test]
    fn a_task_without_its_host_has_a_row_and_the_log_a_problem() {
        let whole = replayed(&[START, TASK_START, TASK_END]).1;
        assert_eq!(whole.problems, [], "the lines of this test are whole");
        let without = |line: &str| line.replace("\"Host\":\"h\",", "");
        assert_ne!(without(TASK_END), TASK_END);
        let (rows, report) = replayed(&[START, &without(TASK_START), &without(TASK_END)]);
        assert_eq!(tasks(&rows), "| a      | 7       | SUCCESS |");
        assert_eq!(report.malformed_lines, 2);
        assert!(report.problems[0].message.contains("Host"), "{:?}", report.problems);
    }

    /// Rows of a table as text, the columns from the fourth (the key of the application, and of an RDD or stage) on.
    fn shown(rows: &AttemptRows, table: &str, columns: std::ops::Range<usize>) -> Vec<String> {
        let columns: Vec<usize> = columns.collect();
        let columns = |batch: &arrow::array::RecordBatch| batch.project(&columns).expect("columns of the table");
        let batches: Vec<_> = rows.tables.get(table).into_iter().flatten().map(columns).collect();
        let text = arrow::util::pretty::pretty_format_batches(&batches)
            .expect("text")
            .to_string();
        let cells = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines = text.lines().filter(|line| line.starts_with('|')).skip(1);
        lines.map(|line| cells(line.trim_matches('|'))).collect()
    }

    fn added(executor: &str) -> String {
        format!(
            r#"{{"Event":"SparkListenerBlockManagerAdded","Block Manager ID":{{"Executor ID":"{executor}","Host":"h{executor}","Port":1}},"Maximum Memory":1000,"Timestamp":2,"Maximum Onheap Memory":900,"Maximum Offheap Memory":100}}"#
        )
    }

    fn stage_info(id: i32, rdds: &str, end: &str) -> String {
        format!(
            r#"{{"Stage ID":{id},"Stage Attempt ID":0,"Stage Name":"s","Number of Tasks":3,"RDD Info":[{rdds}],"Parent IDs":[],"Details":"","Submission Time":3{end},"Accumulables":[]}}"#
        )
    }

    fn submitted(id: i32, rdds: &str) -> String {
        let info = stage_info(id, rdds, "");
        format!(r#"{{"Event":"SparkListenerStageSubmitted","Stage Info":{info},"Properties":{{}}}}"#)
    }

    fn completed(id: i32) -> String {
        let info = stage_info(id, "", r#","Completion Time":9"#);
        format!(r#"{{"Event":"SparkListenerStageCompleted","Stage Info":{info}}}"#)
    }

    fn task_event(event: &str, task: i64, executor: &str, finish: i64) -> String {
        let end = r#""Task Type":"t","Task End Reason":{"Reason":"Success"},"#;
        let end = if event == "TaskEnd" { end } else { "" };
        format!(
            r#"{{"Event":"SparkListener{event}","Stage ID":0,"Stage Attempt ID":0,{end}"Task Info":{{"Task ID":{task},"Index":{task},"Attempt":0,"Launch Time":4,"Executor ID":"{executor}","Host":"h","Locality":"ANY","Speculative":false,"Getting Result Time":0,"Finish Time":{finish},"Failed":false,"Killed":false,"Accumulables":[]}}}}"#
        )
    }

    fn job(id: i32, stages: &[i32]) -> [String; 2] {
        let infos: Vec<String> = stages.iter().map(|stage| stage_info(*stage, "", "")).collect();
        [
            format!(
                r#"{{"Event":"SparkListenerJobStart","Job ID":{id},"Submission Time":3,"Stage Infos":[{}],"Stage IDs":{stages:?},"Properties":{{}}}}"#,
                infos.join(",")
            ),
            format!(
                r#"{{"Event":"SparkListenerJobEnd","Job ID":{id},"Completion Time":20,"Job Result":{{"Result":"JobSucceeded"}}}}"#
            ),
        ]
    }

    fn excluded(executor: &str) -> String {
        format!(
            r#"{{"Event":"org.apache.spark.scheduler.SparkListenerExecutorExcludedForStage","time":5,"executorId":"{executor}","taskFailures":1,"stageId":0,"stageAttemptId":0}}"#
        )
    }

    /// An RDD of two partitions, with a storage level of one letter: memory, disk, both, off-heap.
    fn rdd(id: i32, level: char) -> String {
        format!(
            r#"{{"RDD ID":{id},"Name":"r{id}","Storage Level":{},"Number of Partitions":2,"Number of Cached Partitions":0,"Memory Size":0,"Disk Size":0}}"#,
            storage_level(level)
        )
    }

    fn storage_level(level: char) -> String {
        let (disk, memory, off_heap) = ("db".contains(level), "mbo".contains(level), level == 'o');
        format!(
            r#"{{"Use Disk":{disk},"Use Memory":{memory},"Use Off Heap":{off_heap},"Deserialized":{},"Replication":1}}"#,
            memory && !off_heap
        )
    }

    fn block(id: &str, executor: &str, level: char, memory: i64, disk: i64) -> String {
        format!(
            r#"{{"Event":"SparkListenerBlockUpdated","Block Updated Info":{{"Block Manager ID":{{"Executor ID":"{executor}","Host":"h{executor}","Port":1}},"Block ID":"{id}","Storage Level":{},"Memory Size":{memory},"Disk Size":{disk}}}}}"#,
            storage_level(level)
        )
    }

    fn replay(lines: &[String]) -> AttemptRows {
        let lines: Vec<&str> = std::iter::once(START).chain(lines.iter().map(String::as_str)).collect();
        let (rows, report) = replayed(&lines);
        assert_eq!(report.problems, []);
        rows
    }

    #[test]
    fn an_executor_is_of_a_stage_once_a_task_ended_there_and_counts_ends_after_the_stage() {
        let [start, end] = job(0, &[0]);
        let mut lines = vec![start, submitted(0, ""), added("1"), added("2"), added("3")];
        lines.extend([(0, "1"), (1, "1"), (2, "2"), (3, "3")].map(|(id, on)| task_event("TaskStart", id, on, 0)));
        lines.extend([(0, "1"), (2, "2")].map(|(id, on)| task_event("TaskEnd", id, on, 10)));
        // Executor, task time, tasks that failed, succeeded, were killed.
        let executors = |lines: &[String]| shown(&replay(lines), "stage_executors", 4..9);
        assert_eq!(executors(&lines), ["1 | 6 | 0 | 1 | 0", "2 | 6 | 0 | 1 | 0"]);
        lines.extend([completed(0), end, task_event("TaskEnd", 1, "1", 14)]);
        assert_eq!(executors(&lines), ["1 | 16 | 0 | 2 | 0", "2 | 6 | 0 | 1 | 0"]);
    }

    #[test]
    fn what_changes_on_an_executor_after_its_last_task_is_shown_while_the_stage_lives_and_then_lost_as_in_spark() {
        let [start, _] = job(0, &[0]);
        let mut lines = vec![start, submitted(0, ""), added("1"), added("2")];
        lines.extend([(0, "1"), (1, "2")].map(|(id, on)| task_event("TaskStart", id, on, 0)));
        lines.extend([task_event("TaskEnd", 1, "2", 10), completed(0), excluded("2")]);
        let executors = |lines: &[String]| {
            let rows = replay(lines);
            let (ids, excluded) = (
                shown(&rows, "stage_executors", 4..5),
                shown(&rows, "stage_executors", 19..20),
            );
            ids.iter()
                .zip(&excluded)
                .map(|(id, excluded)| format!("{id} {excluded}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(executors(&lines), ["2 true"]);
        lines.push(task_event("TaskEnd", 0, "1", 12));
        assert_eq!(executors(&lines), ["1 false", "2 false"]);
    }

    #[test]
    fn a_stage_that_a_later_job_names_again_and_skips_keeps_its_executors_and_speculative_tasks() {
        let [start, end] = job(0, &[0]);
        let [task_start, task_end] = [("TaskStart", 0), ("TaskEnd", 10)].map(|(event, finish)| {
            let task = task_event(event, 0, "1", finish);
            task.replace(r#""Speculative":false"#, r#""Speculative":true"#)
        });
        let mut lines = vec![
            start,
            submitted(0, ""),
            added("1"),
            task_start,
            task_end,
            completed(0),
            end,
        ];
        lines.extend(job(1, &[0, 1]));
        let rows = replay(&lines);
        assert_eq!(shown(&rows, "stages", 2..5), ["0 | 0 | SKIPPED", "1 | 0 | SKIPPED"]);
        let speculation = STAGES.columns.iter().position(|c| c.name == "speculation_num_tasks");
        let speculation = speculation.expect("a column of stages");
        assert_eq!(
            shown(&rows, "stages", speculation..speculation + 3),
            ["1 | 0 | 1", "| |"]
        );
        assert_eq!(shown(&rows, "stage_executors", 2..7), ["0 | 0 | 1 | 6 | 0"]);
    }

    #[test]
    fn rdds_are_listed_from_the_stage_that_caches_them_until_they_are_unpersisted() {
        let mut lines = vec![submitted(0, &[rdd(1, 'b'), rdd(2, 'x'), rdd(3, 'o')].join(","))];
        let rdds = |lines: &[String]| shown(&replay(lines), "rdds", 2..10);
        let first = "1 | r1 | 2 | 0 | Disk Memory Deserialized 1x Replicated | 0 | 0 |";
        let second = "3 | r3 | 2 | 0 | Memory (off heap) Serialized 1x Replicated | 0 | 0 |";
        assert_eq!(rdds(&lines), [first, second]);
        lines.push(r#"{"Event":"SparkListenerUnpersistRDD","RDD ID":1}"#.to_owned());
        assert_eq!(rdds(&lines), [second]);
        lines.push(submitted(1, &rdd(1, 'b')));
        assert_eq!(rdds(&lines), [first, second]);
    }

    #[test]
    fn blocks_move_to_disk_and_go_with_their_executor_and_one_that_comes_back_is_last() {
        let mut lines = vec![added("1"), added("2"), submitted(0, &rdd(1, 'b'))];
        lines.extend([
            block("rdd_1_0", "1", 'm', 100, 0),
            block("rdd_1_1", "1", 'm', 50, 0),
            block("rdd_1_1", "2", 'm', 50, 0),
            block("rdd_1_0", "1", 'd', 100, 80),
        ]);
        let rows = |lines: &[String]| {
            let rows = replay(lines);
            let mut all = shown(&rows, "rdds", 5..9);
            all.extend(shown(&rows, "rdd_partitions", 3..9));
            all
        };
        assert_eq!(
            rows(&lines),
            [
                "2 | Disk Memory Deserialized 1x Replicated | 100 | 80",
                "0 | rdd_1_0 | Disk Serialized 1x Replicated | 0 | 80 | [1]",
                "1 | rdd_1_1 | Memory Deserialized 2x Replicated | 100 | 0 | [1, 2]",
            ]
        );
        lines.push(
            r#"{"Event":"SparkListenerExecutorRemoved","Timestamp":9,"Executor ID":"1","Removed Reason":"r"}"#
                .to_owned(),
        );
        let left = "rdd_1_1 | Memory Deserialized 1x Replicated | 50 | 0 | [2]";
        assert_eq!(
            rows(&lines),
            [
                "1 | Disk Memory Deserialized 1x Replicated | 50 | 0".to_owned(),
                format!("0 | {left}")
            ]
        );
        lines.push(block("rdd_1_0", "2", 'm', 100, 0));
        assert_eq!(
            rows(&lines)[1..],
            [
                format!("0 | {left}"),
                "1 | rdd_1_0 | Memory Deserialized 1x Replicated | 100 | 0 | [2]".to_owned()
            ]
        );
    }

    #[test]
    fn what_an_executor_has_left_is_as_of_the_last_event_about_a_cached_block_there() {
        let mut lines = vec![added("1"), submitted(0, &[rdd(1, 'm'), rdd(2, 'm')].join(","))];
        lines.extend([block("rdd_1_0", "1", 'm', 100, 0), block("broadcast_0", "1", 'm', 7, 0)]);
        let left = |lines: &[String]| shown(&replay(lines), "rdds", 9..10);
        let distribution = |used, left, on_heap_left| {
            format!(
                "[{{address: h1:1, memory_used_bytes: {used}, memory_remaining_bytes: {left}, disk_used_bytes: 0, on_heap_memory_used_bytes: {used}, off_heap_memory_used_bytes: 0, on_heap_memory_remaining_bytes: {on_heap_left}, off_heap_memory_remaining_bytes: 100}}]"
            )
        };
        assert_eq!(left(&lines), [distribution(100, 900, 800), String::new()]);
        lines.push(block("rdd_2_0", "1", 'm', 10, 0));
        assert_eq!(left(&lines), [distribution(100, 883, 783), distribution(10, 883, 783)]);
        lines.push(r#"{"Event":"SparkListenerUnpersistRDD","RDD ID":1}"#.to_owned());
        assert_eq!(left(&lines), [distribution(10, 883, 783)]);
    }

    #[test]
    fn a_process_that_is_added_again_keeps_the_time_when_it_was_added_first() {
        let process = |time, port| {
            format!(
                r#"{{"Event":"org.apache.spark.scheduler.SparkListenerMiscellaneousProcessAdded","time":{time},"processId":"yarn-am","info":{{"hostPort":"h:{port}","cores":1,"logUrlInfo":{{"stdout":"u"}}}}}}"#
            )
        };
        let rows = replay(&[process(1000, 1), process(2000, 2)]);
        assert_eq!(
            shown(&rows, "miscellaneous_processes", 2..9),
            ["yarn-am | h:2 | true | 1 | 1970-01-01T00:00:01Z | | {stdout: u}"]
        );
    }

    #[test]
    fn an_event_of_another_package_is_unknown() {
        let evil = TASK_START.replace("SparkListenerTaskStart", "com.evil.SparkListenerTaskStart");
        let (rows, report) = replayed(&[START, &evil]);
        assert_eq!(tasks(&rows), "");
        assert_eq!(report.unknown_events.get("com.evil.SparkListenerTaskStart"), Some(&1));
    }
}
