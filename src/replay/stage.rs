//! A stage attempt: its tasks' outcomes, the sums of their metrics, its executors.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::index_set::IndexSet;
use super::job::{Counts, killed_summary, property};
use super::metrics::{Metrics, Peaks};
use super::scala::{Slots, hash_of_long};
use super::stage_executor::{ExecutorSummary, OnExecutor};
use crate::event::stage::{StageInfo, StageSubmitted, accumulator_text};
use crate::table::metrics::METRIC_COUNT;
use crate::table::{Rows, Value};

/// One attempt of one stage. A retried stage keeps its `stage_id`, so the id alone identifies nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageKey {
    pub stage_id: i32,
    pub stage_attempt_id: i32,
}

impl StageKey {
    /// Events before Spark 1.1 have no attempt: then it is the first.
    pub(super) fn of(stage_id: i32, attempt: Option<i32>) -> Self {
        StageKey {
            stage_id,
            stage_attempt_id: attempt.unwrap_or(0),
        }
    }
}

/// What Spark's `StageInfo` says of a stage attempt; the last event that has one wins.
#[derive(Debug)]
struct Info {
    name: Option<String>,
    num_tasks: i32,
    parent_ids: Vec<i32>,
    rdd_ids: Vec<i32>,
    details: String,
    submission_time: Option<i64>,
    completion_time: Option<i64>,
    failure_reason: Option<String>,
    accumulables: Vec<Accumulator>,
    resource_profile_id: i32,
    shuffle_push_enabled: bool,
    shuffle_mergers_count: i32,
}

/// An accumulator that tables show.
#[derive(Debug)]
pub(super) struct Accumulator {
    id: i64,
    name: Option<String>,
    update: Option<String>,
    value: Option<String>,
}

impl Accumulator {
    pub(super) fn of(event: &crate::event::stage::Accumulable<'_>) -> Self {
        Accumulator {
            id: event.id,
            name: event.name.as_deref().map(str::to_owned),
            update: event.update.map(accumulator_text),
            value: event.value.map(accumulator_text),
        }
    }

    pub(super) fn as_value(&self) -> Value<'_> {
        Value::Struct(vec![
            self.id.into(),
            self.name.as_ref().into(),
            self.update.as_ref().into(),
            self.value.as_ref().into(),
        ])
    }
}

/// The accumulators of a stage in the order in which Spark keeps them.
fn in_scala_order(event: &StageInfo<'_>) -> Vec<Accumulator> {
    let all = event.accumulables.as_deref().unwrap_or_default();
    let mut by_id = BTreeMap::new();
    for accumulable in all {
        by_id.insert(accumulable.id, accumulable);
    }
    let mut slots = Slots::default();
    slots.inserted(by_id.len());
    let mut order: Vec<_> = by_id
        .into_values()
        .filter(|accumulable| accumulable.is_shown())
        .map(|accumulable| (slots.place(hash_of_long(accumulable.id)), accumulable))
        .collect();
    order.sort_by_key(|(place, _)| *place);
    order
        .into_iter()
        .map(|(_, accumulable)| Accumulator::of(accumulable))
        .collect()
}

impl Info {
    fn of(event: &StageInfo<'_>) -> Self {
        Info {
            name: event.name.as_deref().map(str::to_owned),
            num_tasks: event.num_tasks,
            parent_ids: event.parent_ids.clone().unwrap_or_default(),
            rdd_ids: event.rdds.iter().map(|rdd| rdd.id).collect(),
            details: event.details.as_deref().unwrap_or_default().to_owned(),
            submission_time: event.submission_time,
            completion_time: event.completion_time,
            failure_reason: event.failure_reason.as_deref().map(str::to_owned),
            accumulables: in_scala_order(event),
            resource_profile_id: event.resource_profile_id.unwrap_or(0),
            shuffle_push_enabled: event.shuffle_push_enabled.unwrap_or(false),
            shuffle_mergers_count: event.shuffle_mergers_count.unwrap_or(0),
        }
    }

    /// What Spark makes up for a job whose event has stage ids only (before Spark 1.2).
    fn unknown() -> Self {
        Info {
            name: Some("unknown".to_owned()),
            num_tasks: 0,
            parent_ids: Vec::new(),
            rdd_ids: Vec::new(),
            details: "unknown".to_owned(),
            submission_time: None,
            completion_time: None,
            failure_reason: None,
            accumulables: Vec::new(),
            resource_profile_id: 0,
            shuffle_push_enabled: false,
            shuffle_mergers_count: 0,
        }
    }
}

/// Speculative task attempts of a stage.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Speculation {
    pub(super) tasks: i32,
    pub(super) active: i32,
    pub(super) completed: i32,
    pub(super) failed: i32,
    pub(super) killed: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Active,
    Complete,
    Failed,
    Pending,
    Skipped,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Status::Active => "ACTIVE",
            Status::Complete => "COMPLETE",
            Status::Failed => "FAILED",
            Status::Pending => "PENDING",
            Status::Skipped => "SKIPPED",
        }
    }
}

/// Spark's `LiveStage`.
#[derive(Debug)]
pub(super) struct LiveStage {
    key: StageKey,
    info: Info,
    pub(super) status: Status,
    description: Option<String>,
    scheduling_pool: String,
    /// Positions of the jobs that count its tasks.
    pub(super) jobs: Vec<usize>,
    pub(super) job_ids: BTreeSet<i32>,
    pub(super) counts: Counts,
    /// Tasks that succeeded, until the stage ends; then only their number stays.
    completed_indices: IndexSet,
    num_completed_indices: u32,
    first_launch_time: Option<i64>,
    pub(super) metrics: Metrics,
    pub(super) peaks: Peaks,
    pub(super) speculation: Option<Speculation>,
    pub(super) excluded_executors: BTreeSet<Arc<str>>,
    /// By executor id, until the stage ends.
    pub(super) executors: HashMap<Arc<str>, OnExecutor>,
    /// Durations of successful tasks, milliseconds, until the stage ends: for the skew.
    durations: Vec<u32>,
    skew: Option<f64>,
}

impl LiveStage {
    pub(super) fn new(event: &StageInfo<'_>) -> Self {
        let key = StageKey::of(event.stage_id, event.attempt_id);
        LiveStage::with(key, Info::of(event))
    }

    pub(super) fn unknown(stage_id: i32) -> Self {
        LiveStage::with(
            StageKey {
                stage_id,
                stage_attempt_id: 0,
            },
            Info::unknown(),
        )
    }

    fn with(key: StageKey, info: Info) -> Self {
        LiveStage {
            key,
            info,
            status: Status::Pending,
            description: None,
            scheduling_pool: "default".to_owned(),
            jobs: Vec::new(),
            job_ids: BTreeSet::new(),
            counts: Counts::default(),
            completed_indices: IndexSet::default(),
            num_completed_indices: 0,
            first_launch_time: None,
            metrics: Metrics::ABSENT,
            peaks: Peaks::default(),
            speculation: None,
            excluded_executors: BTreeSet::new(),
            executors: HashMap::new(),
            durations: Vec::new(),
            skew: None,
        }
    }

    pub(super) fn update(&mut self, event: &StageInfo<'_>) {
        self.info = Info::of(event);
    }

    pub(super) fn submit(&mut self, event: &StageSubmitted<'_>) {
        let properties = event.properties.as_ref();
        self.status = Status::Active;
        self.scheduling_pool = property(properties, "spark.scheduler.pool")
            .unwrap_or("default")
            .to_owned();
        self.description = property(properties, "spark.job.description").map(str::to_owned);
    }

    /// The status that its completion event gives it.
    pub(super) fn complete(&mut self, event: &StageInfo<'_>) {
        self.info = Info::of(event);
        // Some old logs tell of a submission only here (SPARK-20205).
        self.status = if event.failure_reason.is_some() {
            Status::Failed
        } else if event.submission_time.is_some() {
            Status::Complete
        } else {
            Status::Skipped
        };
    }

    pub(super) fn launch(&mut self, time: i64) {
        self.counts.active += 1;
        self.first_launch_time = Some(self.first_launch_time.map_or(time, |first| first.min(time)));
    }

    pub(super) fn completed_task(&mut self, index: i32, duration_ms: i64) {
        self.completed_indices.insert(u64::from(index.cast_unsigned()));
        self.durations
            .push(u32::try_from(duration_ms.max(0)).unwrap_or(u32::MAX));
    }

    /// Spark's `LiveStage.executorSummary`: made when first asked for.
    pub(super) fn executor_summary(&mut self, executor: &Arc<str>) -> &mut ExecutorSummary {
        let on_executor = self.executors.entry(Arc::clone(executor)).or_default();
        on_executor.summary.get_or_insert_default()
    }

    pub(super) fn executor_summaries(&self) -> impl Iterator<Item = (&Arc<str>, &ExecutorSummary)> {
        self.executors
            .iter()
            .filter_map(|(executor, here)| Some((executor, here.summary.as_ref()?)))
    }

    pub(super) fn exclude(&mut self, executor: Arc<str>) {
        self.executor_summary(&executor).is_excluded = true;
        self.excluded_executors.insert(executor);
    }

    pub(super) fn num_tasks(&self) -> i32 {
        self.info.num_tasks
    }

    pub(super) fn submission_time(&self) -> Option<i64> {
        self.info.submission_time
    }

    /// Completed or failed, with no task running: nothing changes it any more.
    pub(super) fn is_over(&self) -> bool {
        self.counts.active == 0 && matches!(self.status, Status::Complete | Status::Failed)
    }

    /// Keeps what the row needs and lets the rest go.
    pub(super) fn seal(&mut self) {
        self.skew = self.task_duration_skew();
        self.durations = Vec::new();
        self.num_completed_indices = self.completed_indices.len();
        self.completed_indices = IndexSet::default();
        self.executors = HashMap::new();
    }

    /// Longest over median duration of the successful tasks; the median as Spark takes quantiles.
    fn task_duration_skew(&self) -> Option<f64> {
        if self.durations.is_empty() {
            return self.skew;
        }
        let mut sorted = self.durations.clone();
        sorted.sort_unstable();
        let (median, longest) = (sorted[sorted.len() / 2], sorted[sorted.len() - 1]);
        (median > 0).then(|| f64::from(longest) / f64::from(median))
    }

    pub(super) fn push_row(
        &self,
        (app_id, attempt_id): (&str, &str),
        speculation: Option<&Speculation>,
        rows: &mut Rows,
    ) {
        let info = &self.info;
        rows.push(app_id)
            .push(attempt_id)
            .push(self.key.stage_id)
            .push(self.key.stage_attempt_id);
        rows.push(self.status.as_str())
            .push(info.name.as_ref())
            .push(self.description.as_ref());
        rows.push(&info.details).push(&self.scheduling_pool);
        rows.push(Value::millis(info.submission_time))
            .push(Value::millis(self.first_launch_time));
        rows.push(Value::millis(info.completion_time));
        rows.push(
            info.completion_time
                .zip(info.submission_time)
                .map(|(end, start)| end.wrapping_sub(start)),
        );
        rows.push(info.failure_reason.as_ref())
            .push(info.num_tasks)
            .push(self.counts.active);
        rows.push(self.counts.completed)
            .push(self.counts.failed)
            .push(self.counts.killed);
        rows.push(i64::from(self.completed_indices.len().max(self.num_completed_indices)));
        rows.push(self.task_duration_skew().map_or(Value::Null, Value::Float));
        rows.push(self.metrics.shuffle_read_bytes());
        for at in 0..METRIC_COUNT {
            rows.push(self.metrics.value(at));
        }
        rows.push(Value::list(self.job_ids.iter().copied()));
        rows.push(Value::list(info.parent_ids.iter().copied()))
            .push(Value::list(info.rdd_ids.iter().copied()));
        rows.push(Value::List(
            info.accumulables.iter().map(Accumulator::as_value).collect(),
        ));
        rows.push(killed_summary(&self.counts)).push(info.resource_profile_id);
        rows.push(info.shuffle_push_enabled).push(info.shuffle_mergers_count);
        rows.push(speculation.map(|s| s.tasks))
            .push(speculation.map(|s| s.active));
        rows.push(speculation.map(|s| s.completed))
            .push(speculation.map(|s| s.failed));
        rows.push(speculation.map(|s| s.killed));
        self.peaks.push(rows);
        rows.end_row();
    }
}
