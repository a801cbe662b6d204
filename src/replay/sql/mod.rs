//! SQL executions: their jobs, plans, and the metrics of the plans' operators (Spark's `SQLAppStatusListener`).
//!
//! Spark follows an execution until it and all its jobs have ended, and then writes it to its store; what still runs is written
//! when the log ends. A job that starts later takes the execution up again, without its error. While an execution is followed,
//! the last number of each task and metric is kept for its stages (only the newest attempt of each); when it ends, they become
//! values, and the numbers of stages that no other execution uses are freed.

mod metric;
mod order;
mod plan;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use metric::{Kind, MaxTask, MetricValue, Numbers};
use order::in_scala_order;
use plan::Graph;

use super::index_set::IndexSet;
use super::job::property;
use super::stage::StageKey;
use crate::event::job::{JobEnd, JobResult, JobStart};
use crate::event::sql::{
    AdaptiveExecutionUpdate, AdaptiveMetricUpdates, DriverAccumUpdates, ExecutionEnd, ExecutionStart,
};
use crate::table::{Rows, Value};

/// Largest number of tasks whose numbers are kept for a stage: a damaged log may name any.
const MAX_TASKS: usize = 1 << 22;

/// The SQL executions of an application attempt.
#[derive(Debug, Default)]
pub(super) struct SqlExecutions {
    live: BTreeMap<i64, Execution>,
    /// As Spark's store has them; a live one with the same id stands before it.
    ended: BTreeMap<i64, Execution>,
    graphs: BTreeMap<i64, Graph>,
    /// Stages of live executions, by id: a retried stage begins anew.
    stages: HashMap<i32, StageMetrics>,
    /// Names of operators and metrics, which every plan repeats.
    names: HashSet<Arc<str>>,
}

/// Spark's `LiveExecutionData`.
#[derive(Debug, Default)]
struct Execution {
    root_execution_id: Option<i64>,
    description: Option<String>,
    details: Option<String>,
    plan_description: Option<String>,
    modified_configs: Option<BTreeMap<String, Option<String>>>,
    job_tags: Option<BTreeSet<String>>,
    submission_time: Option<i64>,
    completion_time: Option<i64>,
    /// Empty for success; absent while it runs, in old logs, and after a late job.
    error_message: Option<String>,
    jobs: BTreeMap<i32, Job>,
    /// Stages of its jobs, with their place in the order of addition.
    stages: BTreeMap<i32, usize>,
    /// Metrics of all its plans so far, by accumulator.
    kinds: HashMap<i64, Kind>,
    driver_updates: Vec<(i64, i64)>,
    /// Values of its metrics, once it has ended.
    values: Option<BTreeMap<i64, MetricValue>>,
    /// Ends seen, of its jobs and of itself: they may come in any order.
    end_events: usize,
}

#[derive(Debug, Clone, Copy)]
struct Job {
    /// Place in the order of addition.
    place: usize,
    status: JobStatus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JobStatus {
    Running,
    Succeeded,
    Failed,
}

/// Spark's `LiveStageMetrics`: the numbers of one stage attempt.
#[derive(Debug)]
struct StageMetrics {
    /// Execution whose metrics it collects.
    execution_id: i64,
    stage_attempt_id: i32,
    num_tasks: usize,
    /// Index of each task attempt.
    indices: HashMap<i64, i32>,
    /// Tasks that succeeded: a later attempt does not count.
    completed: IndexSet,
    /// By accumulator.
    metrics: HashMap<i64, StageMetric>,
}

#[derive(Debug)]
struct StageMetric {
    /// By task index, 0 where nothing came.
    values: Vec<i64>,
    /// Highest number ever seen and its task attempt, for kinds that show it.
    max: Option<(i64, i64)>,
}

impl SqlExecutions {
    /// Whether any stage waits for the accumulators of its tasks.
    #[cfg(test)]
    pub(super) fn follows_stages(&self) -> bool {
        !self.stages.is_empty()
    }

    pub(super) fn execution_start(&mut self, event: &ExecutionStart<'_>) {
        let Some(graph) = Graph::of(&event.plan, &mut self.names) else {
            return;
        };
        let execution = self.live.entry(event.execution_id).or_default();
        let text = |text: &Option<crate::event::Text<'_>>| text.as_deref().map(str::to_owned);
        execution.root_execution_id = Some(event.root_execution_id.unwrap_or(event.execution_id));
        execution.description = text(&event.description);
        execution.details = text(&event.details);
        execution.plan_description = text(&event.plan_description);
        execution.modified_configs = event.modified_configs.as_ref().map(|configs| {
            let owned = configs
                .iter()
                .map(|(key, value)| (key.clone().into_owned(), text(value)));
            owned.collect()
        });
        execution.job_tags = event
            .job_tags
            .as_ref()
            .map(|tags| tags.iter().map(|tag| tag.clone().into_owned()).collect());
        execution.submission_time = Some(event.time);
        execution.kinds.extend(graph.kinds());
        self.graphs.insert(event.execution_id, graph);
    }

    pub(super) fn adaptive_execution_update(&mut self, event: &AdaptiveExecutionUpdate<'_>) {
        let Some(graph) = Graph::of(&event.plan, &mut self.names) else {
            return;
        };
        let execution = self.live.entry(event.execution_id).or_default();
        execution.plan_description = event.plan_description.as_deref().map(str::to_owned);
        execution.kinds.extend(graph.kinds());
        self.graphs.insert(event.execution_id, graph);
    }

    pub(super) fn adaptive_metric_updates(&mut self, event: &AdaptiveMetricUpdates<'_>) {
        let metrics = event.metrics.iter();
        let kinds = metrics.map(|metric| (metric.accumulator_id, Kind::of(&metric.metric_type)));
        self.live.entry(event.execution_id).or_default().kinds.extend(kinds);
    }

    pub(super) fn driver_accum_updates(&mut self, event: &DriverAccumUpdates) {
        if let Some(execution) = self.live.get_mut(&event.execution_id) {
            execution.driver_updates.extend(&event.updates);
        }
    }

    pub(super) fn execution_end(&mut self, event: &ExecutionEnd<'_>) {
        let id = event.execution_id;
        let Some(execution) = self.live.get(&id) else {
            return;
        };
        let values = self.values(execution);
        if let Some(execution) = self.live.get_mut(&id) {
            execution.completion_time = Some(event.time);
            execution.error_message = event.error_message.as_deref().map(str::to_owned);
            execution.values.get_or_insert(values);
            execution.end_events += 1;
        }
        self.free_stages_but_those_of_others(id);
        self.end_if_over(id);
    }

    pub(super) fn job_start(&mut self, event: &JobStart<'_>) {
        let id = property(event.properties.as_ref(), "spark.sql.execution.id").and_then(|id| id.parse().ok());
        let Some(id) = id else { return };
        if !self.live.contains_key(&id) {
            let execution = self.ended.remove(&id).map(|ended| Execution {
                error_message: None,
                driver_updates: Vec::new(),
                end_events: ended.jobs.len() + 1,
                ..ended
            });
            self.live.insert(id, execution.unwrap_or_default());
        }
        let execution = self.live.get_mut(&id).expect("it is there, or was just added");
        let stages: Vec<(i32, i32)> = match &event.stage_infos {
            Some(stages) => stages.iter().map(|stage| (stage.stage_id, stage.num_tasks)).collect(),
            None => event.stage_ids.iter().map(|stage_id| (*stage_id, 0)).collect(),
        };
        if !execution.kinds.is_empty() {
            for (stage_id, num_tasks) in &stages {
                self.stages
                    .insert(*stage_id, StageMetrics::new(id, 0, usize_of(*num_tasks)));
            }
        }
        let mut stage_ids = Vec::new();
        for (stage_id, _) in stages {
            if !stage_ids.contains(&stage_id) {
                stage_ids.push(stage_id);
            }
        }
        in_scala_order(&mut stage_ids);
        for stage_id in stage_ids {
            let place = execution.stages.len();
            execution.stages.entry(stage_id).or_insert(place);
        }
        let place = execution.jobs.len();
        let job = execution.jobs.entry(event.job_id).or_insert(Job {
            place,
            status: JobStatus::Running,
        });
        job.status = JobStatus::Running;
        self.end_if_over(id);
    }

    pub(super) fn job_end(&mut self, event: &JobEnd<'_>) {
        let status = match event.result {
            JobResult::JobSucceeded => JobStatus::Succeeded,
            JobResult::JobFailed { .. } => JobStatus::Failed,
        };
        let mut ended = Vec::new();
        for (id, execution) in &mut self.live {
            if let Some(job) = execution.jobs.get_mut(&event.job_id) {
                job.status = status;
                execution.end_events += 1;
                ended.push(*id);
            }
        }
        for id in ended {
            self.end_if_over(id);
        }
    }

    pub(super) fn stage_submitted(&mut self, stage: StageKey) {
        if let Some(metrics) = self.stages.get_mut(&stage.stage_id)
            && metrics.stage_attempt_id != stage.stage_attempt_id
        {
            *metrics = StageMetrics::new(metrics.execution_id, stage.stage_attempt_id, metrics.num_tasks);
        }
    }

    pub(super) fn task_start(&mut self, stage: StageKey, task_id: i64, index: i32) {
        if let Some(metrics) = self.stage(stage) {
            metrics.indices.insert(task_id, index);
        }
    }

    /// Updates of a running task, from a heartbeat.
    pub(super) fn task_update(
        &mut self,
        stage: StageKey,
        task_id: i64,
        updates: impl Iterator<Item = (i64, Option<i64>)>,
    ) {
        let index = self
            .stage(stage)
            .and_then(|metrics| metrics.indices.get(&task_id).copied());
        if let Some(index) = index {
            self.update(stage, task_id, index, updates);
        }
    }

    pub(super) fn task_end(
        &mut self,
        stage: StageKey,
        (task_id, index): (i64, i32),
        successful: bool,
        updates: impl Iterator<Item = (i64, Option<i64>)>,
    ) {
        let Some(metrics) = self.stage(stage) else { return };
        metrics.indices.insert(task_id, index);
        let whole = self.update(stage, task_id, index, updates);
        if let Some(metrics) = self.stage(stage).filter(|_| whole && successful) {
            metrics.completed.insert(u64::from(index.cast_unsigned()));
        }
    }

    fn stage(&mut self, stage: StageKey) -> Option<&mut StageMetrics> {
        let metrics = self.stages.get_mut(&stage.stage_id)?;
        (metrics.stage_attempt_id == stage.stage_attempt_id).then_some(metrics)
    }

    /// `false` if Spark stops in the middle: at a number that is none, or a task that the stage cannot have.
    fn update(
        &mut self,
        stage: StageKey,
        task_id: i64,
        index: i32,
        updates: impl Iterator<Item = (i64, Option<i64>)>,
    ) -> bool {
        let Some(metrics) = self.stages.get_mut(&stage.stage_id) else {
            return false;
        };
        let owner = self.live.get(&metrics.execution_id);
        let Some(owner) = owner.or_else(|| self.ended.get(&metrics.execution_id)) else {
            return false;
        };
        if metrics.completed.contains(u64::from(index.cast_unsigned())) {
            return false;
        }
        for (id, value) in updates {
            let Some(kind) = owner.kinds.get(&id) else { continue };
            let Some(value) = value else { return false };
            // Zeroed memory costs nothing until it is written.
            let metric = metrics.metrics.entry(id).or_insert_with(|| StageMetric {
                values: vec![0; metrics.num_tasks],
                max: None,
            });
            let Some(last) = usize::try_from(index)
                .ok()
                .and_then(|index| metric.values.get_mut(index))
            else {
                return false;
            };
            *last = value;
            if kind.needs_max() && metric.max.is_none_or(|(max, _)| value > max) {
                metric.max = Some((value, task_id));
            }
        }
        true
    }

    /// Values of all metrics of an execution as of now (Spark's `aggregateMetrics`).
    fn values(&self, execution: &Execution) -> BTreeMap<i64, MetricValue> {
        let mut numbers: HashMap<i64, Numbers> = HashMap::new();
        for stage_id in in_order(execution.stages.iter().map(|(stage_id, place)| (*place, *stage_id))) {
            let Some(stage) = self.stages.get(&stage_id) else {
                continue;
            };
            for (id, metric) in &stage.metrics {
                if !execution.kinds.contains_key(id) {
                    continue;
                }
                let numbers = numbers.entry(*id).or_default();
                metric.values.iter().for_each(|value| numbers.push(*value));
                if let Some((value, task_id)) = metric.max
                    && numbers.max_task.is_none_or(|max| value > max.value)
                {
                    numbers.max_task = Some(MaxTask {
                        value,
                        task_id,
                        stage_id,
                        stage_attempt_id: stage.stage_attempt_id,
                    });
                }
            }
        }
        for (id, value) in &execution.driver_updates {
            if execution.kinds.contains_key(id) {
                let numbers = numbers.entry(*id).or_default();
                numbers.push(*value);
                // The highest number is the driver's, not a task's.
                numbers.max_task = numbers.max_task.filter(|max| *value <= max.value);
            }
        }
        numbers
            .into_iter()
            .filter_map(|(id, numbers)| Some((id, numbers.aggregate(execution.kinds.get(&id)?))))
            .collect()
    }

    /// An execution whose end and whose jobs' ends were seen is written, and not followed any more.
    fn end_if_over(&mut self, id: i64) {
        let is_over = |execution: &Execution| execution.end_events > execution.jobs.len();
        if !self.live.get(&id).is_some_and(is_over) {
            return;
        }
        self.free_stages_but_those_of_others(id);
        if let Some(mut execution) = self.live.remove(&id) {
            execution.driver_updates = Vec::new();
            self.ended.insert(id, execution);
        }
    }

    fn free_stages_but_those_of_others(&mut self, id: i64) {
        let live = &self.live;
        self.stages.retain(|stage_id, _| {
            live.iter()
                .any(|(other, execution)| *other != id && execution.stages.contains_key(stage_id))
        });
    }

    /// All executions as Spark would show them if the log ended here.
    fn shown(&self) -> BTreeMap<i64, &Execution> {
        self.ended
            .iter()
            .chain(&self.live)
            .map(|(id, one)| (*id, one))
            .collect()
    }

    pub(super) fn push_executions(&self, app_id: &str, attempt_id: &str, rows: &mut Rows) {
        for (id, execution) in self.shown() {
            rows.push(app_id).push(attempt_id).push(id);
            execution.push_rest(rows);
        }
    }

    pub(super) fn push_nodes(&self, app_id: &str, attempt_id: &str, rows: &mut Rows) {
        for (id, execution) in self.shown() {
            let Some(graph) = self.graphs.get(&id) else { continue };
            match &execution.values {
                Some(values) => graph.push_nodes((app_id, attempt_id, id), values, rows),
                // One that ended without its end (a job that ended twice) has no values in Spark.
                None if !self.live.contains_key(&id) => {
                    graph.push_nodes((app_id, attempt_id, id), &BTreeMap::new(), rows);
                }
                None => graph.push_nodes((app_id, attempt_id, id), &self.values(execution), rows),
            }
        }
    }

    pub(super) fn push_edges(&self, app_id: &str, attempt_id: &str, rows: &mut Rows) {
        for (id, graph) in &self.graphs {
            graph.push_edges((app_id, attempt_id, *id), rows);
        }
    }
}

impl StageMetrics {
    fn new(execution_id: i64, stage_attempt_id: i32, num_tasks: usize) -> Self {
        StageMetrics {
            execution_id,
            stage_attempt_id,
            num_tasks: num_tasks.min(MAX_TASKS),
            indices: HashMap::new(),
            completed: IndexSet::default(),
            metrics: HashMap::new(),
        }
    }
}

impl Execution {
    fn status(&self) -> &'static str {
        match self.error_message.as_deref() {
            Some("") => "COMPLETED",
            Some(_) => "FAILED",
            None if self.completion_time.is_none() => "RUNNING",
            None if self.jobs.values().any(|job| job.status == JobStatus::Failed) => "FAILED",
            None => "COMPLETED",
        }
    }

    /// The cells after the key.
    fn push_rest(&self, rows: &mut Rows) {
        let duration = self
            .completion_time
            .zip(self.submission_time)
            .map(|(end, start)| end.wrapping_sub(start));
        rows.push(self.root_execution_id)
            .push(self.description.as_ref())
            .push(self.details.as_ref());
        rows.push(self.plan_description.as_ref()).push(self.status());
        rows.push(Value::millis(self.submission_time))
            .push(Value::millis(self.completion_time));
        rows.push(duration).push(Value::list(self.jobs.keys().copied()));
        let jobs = in_order(self.jobs.iter().map(|(job_id, job)| (job.place, *job_id)));
        for status in [JobStatus::Running, JobStatus::Succeeded, JobStatus::Failed] {
            let with_status = jobs.iter().filter(|job_id| self.jobs[job_id].status == status);
            rows.push(Value::list(with_status.copied()));
        }
        rows.push(self.error_message.as_ref().filter(|message| !message.is_empty()));
        let configs = self.modified_configs.as_ref();
        rows.push(configs.map_or(Value::Null, |configs| {
            Value::map(configs.iter().map(|(key, value)| (key.as_str(), value.as_ref())))
        }));
        rows.push(self.job_tags.as_ref().map_or(Value::Null, Value::list));
        rows.end_row();
    }
}

/// Numbers with the places at which they were added, in Scala's order.
fn in_order(numbers: impl Iterator<Item = (usize, i32)>) -> Vec<i32> {
    let mut by_place: Vec<(usize, i32)> = numbers.collect();
    by_place.sort_unstable();
    let mut numbers: Vec<i32> = by_place.into_iter().map(|(_, number)| number).collect();
    in_scala_order(&mut numbers);
    numbers
}

fn usize_of(count: i32) -> usize {
    usize::try_from(count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use crate::replay::LiveApplication;

    const START: &str = r#"{"Event":"org.apache.spark.sql.execution.ui.SparkListenerSQLExecutionStart","executionId":1,"description":"d","details":"","physicalPlanDescription":"p","sparkPlanInfo":{"nodeName":"Scan","simpleString":"Scan s","children":[],"metadata":{},"metrics":[{"name":"size","accumulatorId":10,"metricType":"size"}]},"time":1000}"#;

    fn job_start(job_id: i32) -> String {
        let stage = stage(0);
        format!(
            r#"{{"Event":"SparkListenerJobStart","Job ID":{job_id},"Submission Time":1,"Stage Infos":[{stage}],"Stage IDs":[0],"Properties":{{"spark.sql.execution.id":"1"}}}}"#
        )
    }

    fn job_end(job_id: i32, result: &str) -> String {
        format!(r#"{{"Event":"SparkListenerJobEnd","Job ID":{job_id},"Completion Time":2,"Job Result":{result}}}"#)
    }

    fn stage(attempt: i32) -> String {
        format!(
            r#"{{"Stage ID":0,"Stage Attempt ID":{attempt},"Stage Name":"s","Number of Tasks":2,"RDD Info":[],"Parent IDs":[],"Details":""}}"#
        )
    }

    fn stage_submitted(attempt: i32) -> String {
        let stage = stage(attempt);
        format!(r#"{{"Event":"SparkListenerStageSubmitted","Stage Info":{stage}}}"#)
    }

    /// A task starts, or ends with an update of the metric.
    fn task(attempt: i32, (task_id, index): (i64, i32), update: Option<i64>) -> String {
        let (event, finish, update) = match update {
            Some(update) => {
                let metric = format!(
                    r#"{{"ID":10,"Name":"size","Update":"{update}","Value":"1","Internal":true,"Count Failed Values":true,"Metadata":"sql"}}"#
                );
                ("End", 9, metric)
            }
            None => ("Start", 0, String::new()),
        };
        format!(
            r#"{{"Event":"SparkListenerTask{event}","Stage ID":0,"Stage Attempt ID":{attempt},"Task Type":"ResultTask","Task End Reason":{{"Reason":"Success"}},"Task Info":{{"Task ID":{task_id},"Index":{index},"Attempt":0,"Launch Time":1,"Executor ID":"1","Host":"h","Locality":"ANY","Speculative":false,"Getting Result Time":0,"Finish Time":{finish},"Failed":false,"Killed":false,"Accumulables":[{update}]}},"Task Metrics":null}}"#
        )
    }

    fn apply(live: &mut LiveApplication, lines: &[String]) {
        lines.iter().for_each(|line| live.apply_line(line.as_bytes()));
        assert_eq!(live.report().malformed_lines, 0, "{:?}", live.report().problems);
    }

    fn shown(live: &LiveApplication) -> (&'static str, String) {
        let execution = live.sql.shown()[&1];
        let values = execution.values.clone().unwrap_or_else(|| live.sql.values(execution));
        (execution.status(), values[&10].text.clone())
    }

    #[test]
    fn the_newest_attempt_of_a_stage_counts_and_the_first_success_of_a_task() {
        let mut live = LiveApplication::new();
        let heartbeat = r#"{"Event":"SparkListenerExecutorMetricsUpdate","Executor ID":"1","Metrics Updated":[{"Task ID":4,"Stage ID":0,"Stage Attempt ID":1,"Accumulator Updates":[{"ID":10,"Name":"size","Update":"50","Internal":true,"Count Failed Values":true,"Metadata":"sql"}]}]}"#;
        let lines = [
            START.to_owned(),
            job_start(0),
            stage_submitted(0),
            task(0, (0, 0), Some(100)),
            stage_submitted(1),
            task(0, (1, 1), Some(7)),
            task(1, (2, 0), Some(30)),
            task(1, (3, 0), Some(99)),
            task(1, (4, 1), None),
            heartbeat.to_owned(),
        ];
        apply(&mut live, &lines);
        let expected = "total (min, med, max (stageId: taskId))\n80.0 B (30.0 B, 50.0 B, 50.0 B (stage 0.1: task 4))";
        assert_eq!(shown(&live), ("RUNNING", expected.to_owned()));
        let driver = r#"{"Event":"org.apache.spark.sql.execution.ui.SparkListenerDriverAccumUpdates","executionId":1,"accumUpdates":[[10,60],[11,5]]}"#;
        apply(&mut live, &[driver.to_owned()]);
        let expected = "total (min, med, max (stageId: taskId))\n140.0 B (30.0 B, 50.0 B, 60.0 B (driver))";
        assert_eq!(shown(&live), ("RUNNING", expected.to_owned()));
    }

    #[test]
    fn an_execution_is_followed_until_its_jobs_have_ended_and_taken_up_by_a_late_one() {
        let mut live = LiveApplication::new();
        let end = r#"{"Event":"org.apache.spark.sql.execution.ui.SparkListenerSQLExecutionEnd","executionId":1,"time":2000,"errorMessage":"boom"}"#;
        apply(&mut live, &[START.to_owned(), job_start(0), task(0, (0, 0), Some(5))]);
        assert!(live.sql.follows_stages());
        apply(&mut live, &[end.to_owned()]);
        let value = "total (min, med, max (stageId: taskId))\n5.0 B (0.0 B, 5.0 B, 5.0 B (stage 0.0: task 0))";
        assert_eq!(shown(&live), ("FAILED", value.to_owned()));
        assert!(!live.sql.follows_stages(), "the numbers are freed with the end");
        assert_eq!(live.sql.live.len(), 1, "its job still runs");
        apply(&mut live, &[job_end(0, r#"{"Result":"JobSucceeded"}"#)]);
        assert_eq!((live.sql.live.len(), live.sql.ended.len()), (0, 1));
        apply(&mut live, &[job_start(1)]);
        assert_eq!(shown(&live), ("COMPLETED", value.to_owned()), "Spark forgets the error");
        assert_eq!(live.sql.live.len(), 1);
        apply(
            &mut live,
            &[job_end(1, r#"{"Result":"JobFailed","Exception":{"Message":"m"}}"#)],
        );
        assert_eq!(shown(&live), ("FAILED", value.to_owned()));
        assert_eq!((live.sql.live.len(), live.sql.ended.len()), (0, 1));
        assert!(!live.sql.follows_stages());
    }
}
