//! A job: which stages it has, how many of their tasks ended how.

use std::collections::{BTreeMap, BTreeSet};

use super::index_set::IndexSet;
use crate::event::Properties;
use crate::event::job::{JobEnd, JobResult, JobStart};
use crate::table::{Rows, Value};

/// Spark's `LiveJob`. What `jobs` shows is a copy taken when Spark writes it to its store ([`LiveJob::write`]): at its end, when
/// a stage of it ends later, and at the end of the log while it runs.
#[derive(Debug, Clone)]
pub(super) struct LiveJob {
    pub(super) job_id: i32,
    name: String,
    description: Option<String>,
    submission_time: Option<i64>,
    completion_time: Option<i64>,
    pub(super) stage_ids: Vec<i32>,
    job_group: Option<String>,
    job_tags: Vec<String>,
    execution_id: Option<i64>,
    pub(super) status: &'static str,
    failure_reason: Option<String>,
    num_tasks: i32,
    pub(super) counts: Counts,
    pub(super) skipped_tasks: i32,
    pub(super) skipped_stages: BTreeSet<i32>,
    pub(super) completed_stages: BTreeSet<i32>,
    pub(super) active_stages: i32,
    pub(super) failed_stages: i32,
    /// Tasks that succeeded, by stage.
    completed_indices: BTreeMap<i32, IndexSet>,
    num_completed_indices: i32,
    /// What the row shows, once Spark has written it.
    written: Option<Box<LiveJob>>,
}

/// Counts of task attempts, of a job or a stage.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub(super) active: i32,
    pub(super) completed: i32,
    pub(super) failed: i32,
    pub(super) killed: i32,
    pub(super) killed_summary: BTreeMap<String, i32>,
}

/// How one task end changes the counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome<'a> {
    pub(super) completed: i32,
    pub(super) failed: i32,
    pub(super) killed: i32,
    pub(super) active: i32,
    pub(super) killed_reason: Option<&'a str>,
}

impl Counts {
    pub(super) fn end(&mut self, outcome: &Outcome<'_>) {
        self.active -= outcome.active;
        self.completed += outcome.completed;
        self.failed += outcome.failed;
        self.killed += outcome.killed;
        if let Some(reason) = outcome.killed_reason {
            match self.killed_summary.get_mut(reason) {
                Some(count) => *count += 1,
                None => {
                    self.killed_summary.insert(reason.to_owned(), 1);
                }
            }
        }
    }
}

/// The value of a property, where the event has properties and the property a value.
pub(super) fn property<'e>(properties: Option<&'e Properties<'_>>, name: &str) -> Option<&'e str> {
    properties?.get(name)?.as_deref()
}

impl LiveJob {
    pub(super) fn start(event: &JobStart<'_>) -> Self {
        let properties = event.properties.as_ref();
        let stages = event.stage_infos.as_deref().unwrap_or_default();
        let missing = stages.iter().filter(|stage| stage.completion_time.is_none());
        let last = stages
            .iter()
            .reduce(|last, stage| if stage.stage_id >= last.stage_id { stage } else { last });
        // An event without stage infos (before Spark 1.2) gives Spark stages that are called "unknown".
        let name = match (&event.stage_infos, last) {
            (_, Some(last)) => last.name.as_deref().unwrap_or_default(),
            (None, None) if !event.stage_ids.is_empty() => "unknown",
            _ => "",
        };
        let tags: BTreeSet<&str> = property(properties, "spark.job.tags")
            .into_iter()
            .flat_map(|tags| tags.split(','))
            .collect();
        LiveJob {
            job_id: event.job_id,
            name: name.to_owned(),
            description: property(properties, "spark.job.description").map(str::to_owned),
            submission_time: event.submission_time.filter(|time| *time > 0),
            completion_time: None,
            stage_ids: match &event.stage_infos {
                Some(stages) => stages.iter().map(|stage| stage.stage_id).collect(),
                None => event.stage_ids.clone(),
            },
            job_group: property(properties, "spark.jobGroup.id").map(str::to_owned),
            job_tags: tags
                .into_iter()
                .filter(|tag| !tag.is_empty())
                .map(str::to_owned)
                .collect(),
            execution_id: property(properties, "spark.sql.execution.id").and_then(|id| id.parse().ok()),
            status: "RUNNING",
            failure_reason: None,
            num_tasks: missing.map(|stage| stage.num_tasks).fold(0, i32::wrapping_add),
            counts: Counts::default(),
            skipped_tasks: 0,
            skipped_stages: BTreeSet::new(),
            completed_stages: BTreeSet::new(),
            active_stages: 0,
            failed_stages: 0,
            completed_indices: BTreeMap::new(),
            num_completed_indices: 0,
            written: None,
        }
    }

    pub(super) fn end(&mut self, event: &JobEnd<'_>) {
        match &event.result {
            JobResult::JobSucceeded => self.status = "SUCCEEDED",
            JobResult::JobFailed { exception } => {
                self.status = "FAILED";
                self.failure_reason = exception.message.as_deref().map(str::to_owned);
            }
        }
        self.completion_time = event.completion_time.filter(|time| *time > 0);
    }

    pub(super) fn completed_task(&mut self, stage_id: i32, index: i32) {
        let indices = self.completed_indices.entry(stage_id).or_default();
        self.num_completed_indices += i32::from(indices.insert(u64::from(index.cast_unsigned())));
    }

    /// The row from now on shows the job as it is now.
    pub(super) fn write(&mut self) {
        self.written = None;
        let mut copy = self.clone();
        copy.completed_indices = BTreeMap::new();
        self.written = Some(Box::new(copy));
    }

    /// A stage of it is over: Spark writes the job again if it had ended.
    pub(super) fn write_if_ended(&mut self) {
        if self.written.is_some() {
            self.write();
        }
    }

    /// No stage of it can change it any more.
    pub(super) fn forget_indices(&mut self) {
        self.completed_indices = BTreeMap::new();
    }

    /// The job as Spark's store has it.
    pub(super) fn shown(&self) -> &LiveJob {
        self.written.as_deref().unwrap_or(self)
    }

    pub(super) fn push_row(&self, app_id: &str, attempt_id: &str, rows: &mut Rows) {
        rows.push(app_id).push(attempt_id).push(self.job_id);
        rows.push(&self.name).push(self.description.as_ref());
        rows.push(Value::millis(self.submission_time))
            .push(Value::millis(self.completion_time));
        rows.push(
            self.completion_time
                .zip(self.submission_time)
                .map(|(end, start)| end.wrapping_sub(start)),
        );
        rows.push(self.status).push(Value::list(self.stage_ids.iter().copied()));
        rows.push(self.job_group.as_ref()).push(Value::list(&self.job_tags));
        rows.push(self.num_tasks)
            .push(self.counts.active)
            .push(self.counts.completed)
            .push(self.skipped_tasks);
        rows.push(self.counts.failed)
            .push(self.counts.killed)
            .push(self.num_completed_indices);
        rows.push(self.active_stages)
            .push(count(&self.completed_stages))
            .push(count(&self.skipped_stages));
        rows.push(self.failed_stages);
        rows.push(killed_summary(&self.counts));
        rows.push(self.execution_id).push(self.failure_reason.as_ref());
        rows.end_row();
    }
}

pub(super) fn killed_summary(counts: &Counts) -> Value<'_> {
    Value::map(
        counts
            .killed_summary
            .iter()
            .map(|(reason, count)| (reason.as_str(), *count)),
    )
}

fn count(stages: &BTreeSet<i32>) -> i64 {
    i64::try_from(stages.len()).expect("a job has far fewer stages")
}
