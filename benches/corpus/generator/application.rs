//! One application from `SparkListenerLogStart` to `SparkListenerApplicationEnd`: a small simulation of a cluster with so many
//! slots. Jobs run one after the other, the stages of a job are a chain, failed tasks are tried again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::environment::{self, ClusterEnvironment};
use super::plan::Plan;
use super::random::Random;
use super::sink::{Sink, Stored};
use super::task::{self, Line, Slot, TaskNumbers, TaskRun, TaskWriter};
use super::{Counts, Shape, Spark};

const SQL: &str = "org.apache.spark.sql.execution.ui.";
const CALL_SITE: &str = "parquet at NativeMethodAccessorImpl.java:0";
/// Attempts after which Spark gives up (`spark.task.maxFailures` is 4): the last one succeeds, so that jobs do.
const RETRIES: u64 = 3;

/// What applications do, by their names.
pub(crate) const KINDS: [&str; 5] = [
    "nightly-etl",
    "sessionize",
    "ad-hoc sql",
    "feature-build",
    "compact-lake",
];

/// The n-th application's name where none is drawn.
pub(crate) fn app_name(application: u64) -> String {
    format!("{}-{}", KINDS[application as usize % KINDS.len()], application % 17)
}

pub(crate) struct Application<'a> {
    shape: &'a Shape,
    app_id: String,
    sink: Sink<'a>,
    line: Vec<u8>,
    random: Random,
    counts: Counts,
    now_ms: u64,
    /// When executors came.
    added_ms: Vec<u64>,
    /// An object, as text.
    properties: String,
    hosts: Vec<String>,
    next_accumulator: u64,
    next_stage: u64,
    next_rdd: u64,
    next_task: u64,
}

/// A stage of a job, before and while it runs.
struct Stage {
    id: u64,
    tasks: u64,
    first_rdd: u64,
    parent: Option<u64>,
    reads_shuffle: bool,
    writes_shuffle: bool,
}

impl<'a> Application<'a> {
    pub(crate) fn new(shape: &'a Shape, app_id: &str, sink: Sink<'a>) -> Self {
        Application {
            shape,
            app_id: app_id.to_owned(),
            sink,
            line: Vec::with_capacity(1 << 16),
            random: Random::for_application(shape.seed, shape.application),
            counts: Counts::default(),
            now_ms: shape.start_ms,
            added_ms: Vec::new(),
            properties: environment::spark_properties(app_id, &shape.name, shape.cores, shape.start_ms),
            hosts: (0..shape.executors).map(|executor| shape.host(executor)).collect(),
            next_accumulator: 1,
            next_stage: 0,
            next_rdd: 0,
            next_task: 0,
        }
    }

    /// Writes the whole log; says what is in it, and the name of its file or directory.
    pub(crate) fn write(mut self, cluster: &ClusterEnvironment) -> io::Result<(Counts, String)> {
        self.begin(cluster)?;
        let mut tasks_of_stages = spread(self.shape.tasks, self.shape.stages);
        for (job, stages) in (0..).zip(spread(self.shape.stages, self.shape.jobs)) {
            let tasks: Vec<u64> = tasks_of_stages.by_ref().take(stages as usize).collect();
            self.job(job, &tasks)?;
        }
        self.end()?;
        self.counts.start_ms = self.shape.start_ms;
        self.counts.end_ms = self.now_ms;
        if !self.shape.in_progress {
            let lifetimes = self.added_ms.iter().map(|added| self.now_ms - added);
            self.counts.core_ms = lifetimes.map(|lifetime| lifetime * self.shape.cores).sum();
        }
        let Stored { name, bytes } = self.sink.finish()?;
        self.counts.stored_bytes = bytes;
        Ok((self.counts, name))
    }

    fn begin(&mut self, cluster: &ClusterEnvironment) -> io::Result<()> {
        let spark = self.shape.spark;
        self.event(&json!({"Event": "SparkListenerLogStart", "Spark Version": spark.version()}))?;
        let request = |name: &str, amount: u64| json!({"Resource Name": name, "Amount": amount, "Discovery Script": "", "Vendor": ""});
        self.event(&json!({
            "Event": "SparkListenerResourceProfileAdded",
            "Resource Profile Id": 0,
            "Executor Resource Requests": {
                "cores": request("cores", self.shape.cores), "memory": request("memory", 8192), "offHeap": request("offHeap", 0),
            },
            "Task Resource Requests": {"cpus": {"Resource Name": "cpus", "Amount": 1.0}},
        }))?;
        self.block_manager("driver", "driver-0.example", 33167, 2_400_976_896)?;
        if self.shape.extra_events {
            self.driver_metrics()?;
        }
        let line = cluster.event(spark, &self.properties);
        self.line.text(&line);
        self.line.text("\n");
        self.flush()?;
        self.event(&json!({
            "Event": "SparkListenerApplicationStart",
            "App Name": self.shape.name,
            "App ID": self.app_id,
            "Timestamp": self.shape.start_ms,
            "User": self.shape.user,
        }))?;
        for executor in 0..self.shape.executors {
            self.now_ms += 37;
            let host = self.hosts[executor as usize].clone();
            let id = (executor + 1).to_string();
            let logs = |stream: &str| {
                format!(
                    "http://{host}:8042/node/containerlogs/container_{id}/{}?start=-4096",
                    stream
                )
            };
            self.event(&json!({
                "Event": "SparkListenerExecutorAdded",
                "Timestamp": self.now_ms,
                "Executor ID": id,
                "Executor Info": {
                    "Host": host,
                    "Total Cores": self.shape.cores,
                    "Log Urls": {"stdout": logs("stdout"), "stderr": logs("stderr")},
                    "Attributes": {},
                    "Resources": {},
                    "Resource Profile Id": 0,
                    "Registration Time": self.now_ms,
                },
            }))?;
            self.block_manager(&id, &host, 40_000 + executor, 4_823_449_600)?;
            self.added_ms.push(self.now_ms);
            self.counts.executors += 1;
        }
        Ok(())
    }

    fn job(&mut self, job: u64, tasks: &[u64]) -> io::Result<()> {
        let plan = Plan::new(self.shape.spark, tasks.len() as u64, &mut self.next_accumulator);
        let first_stage = self.next_stage;
        let stages: Vec<Stage> = (first_stage..)
            .zip(tasks)
            .map(|(id, &tasks_of_stage)| Stage {
                id,
                tasks: tasks_of_stage,
                first_rdd: self.next_rdd + (id - first_stage) * 4,
                parent: (id > first_stage).then(|| id - 1),
                reads_shuffle: id > first_stage,
                writes_shuffle: id + 1 < first_stage + tasks.len() as u64,
            })
            .collect();
        self.next_stage += tasks.len() as u64;
        self.next_rdd += tasks.len() as u64 * 4;

        self.now_ms += 20 + self.random.below(50);
        self.sql_start(job, &plan)?;
        self.adaptive_update(job, &plan, 1)?;
        self.now_ms += 5;
        self.line.text(&format!(
            r#"{{"Event":"SparkListenerJobStart","Job ID":{job},"Submission Time":{},"Stage Infos":["#,
            self.now_ms
        ));
        for (number, stage) in stages.iter().enumerate() {
            self.line.text(if number == 0 { "" } else { "," });
            self.line.stage(stage, None, None)?;
        }
        self.line.text(r#"],"Stage IDs":"#);
        let ids: Vec<u64> = stages.iter().map(|stage| stage.id).collect();
        self.line.json(&ids)?;
        self.end_with_properties(job)?;
        let fails = self.shape.fails && job + 1 == self.shape.jobs;
        let mut failure = None;
        for (number, stage) in stages.iter().enumerate() {
            if fails && number + 1 == stages.len() {
                failure = Some(failure_of(stage));
            }
            self.stage(job, stage, &plan.task_metrics(number), failure.as_deref())?;
            if number + 2 <= stages.len() {
                self.adaptive_update(job, &plan, number + 2)?;
            }
        }
        self.now_ms += 4;
        self.event(&json!({
            "Event": "SparkListenerJobEnd", "Job ID": job, "Completion Time": self.now_ms,
            "Job Result": job_result(failure.as_deref()),
        }))?;
        self.now_ms += 4;
        self.event(&json!({
            "Event": format!("{SQL}SparkListenerSQLExecutionEnd"), "executionId": job, "time": self.now_ms,
            "errorMessage": failure.as_deref().unwrap_or_default(),
        }))?;
        self.counts.failed_jobs += u64::from(fails);
        self.counts.jobs += 1;
        self.counts.sql += 1;
        Ok(())
    }

    fn sql_start(&mut self, job: u64, plan: &Plan) -> io::Result<()> {
        let line = &mut self.line;
        line.text(&format!(
            r#"{{"Event":"{SQL}SparkListenerSQLExecutionStart","executionId":{job},"rootExecutionId":{job},"description":"{CALL_SITE}","details":"#
        ));
        line.json(&call_stack(
            "org.apache.spark.sql.DataFrameWriter.parquet(DataFrameWriter.scala:369)",
        ))?;
        line.plan(plan, 0)?;
        line.text(r#","time":"#);
        line.number(self.now_ms);
        line.text(r#","modifiedConfigs":{},"jobTags":"#);
        let tags = self.job_tags(job);
        self.line.json(&tags)?;
        if self.shape.spark.has_new_fields() {
            self.line.text(r#","jobGroupId":null"#);
        }
        self.line.text("}\n");
        self.flush()?;
        let files = self.random.between(1, 400);
        let updates = plan.driver_updates(files, files * 7_340_032);
        self.event(&json!({
            "Event": format!("{SQL}SparkListenerDriverAccumUpdates"), "executionId": job, "accumUpdates": updates,
        }))
    }

    fn adaptive_update(&mut self, job: u64, plan: &Plan, planned: usize) -> io::Result<()> {
        let line = &mut self.line;
        line.text(&format!(
            r#"{{"Event":"{SQL}SparkListenerSQLAdaptiveExecutionUpdate","executionId":{job}"#
        ));
        line.plan(plan, planned)?;
        line.text("}\n");
        self.flush()
    }

    /// `failure`: why it fails in the end, if it does.
    fn stage(
        &mut self,
        job: u64,
        stage: &Stage,
        sql: &[(u64, &'static str, Slot)],
        failure: Option<&str>,
    ) -> io::Result<()> {
        let spark = self.shape.spark;
        let first_internal = self.next_accumulator;
        self.next_accumulator += task::internal_accumulators(spark);
        let mut writer = TaskWriter::new(
            spark,
            stage.id,
            !stage.writes_shuffle,
            stage.reads_shuffle,
            sql,
            first_internal,
        );

        self.now_ms += 10;
        let submitted = self.now_ms;
        self.line
            .text(r#"{"Event":"SparkListenerStageSubmitted","Stage Info":"#);
        self.line.stage(stage, Some(submitted), None)?;
        self.end_with_properties(job)?;
        if self.shape.extra_events {
            self.broadcast_blocks(stage.id)?;
        }
        self.run_tasks(stage, &mut writer, failure.is_some())?;
        if self.shape.extra_events {
            self.stage_metrics(stage)?;
        }
        self.now_ms += 3;
        self.line
            .text(r#"{"Event":"SparkListenerStageCompleted","Stage Info":"#);
        let end = StageEnd {
            completed: self.now_ms,
            failure,
            writer: &writer,
        };
        self.line.stage(stage, Some(submitted), Some(end))?;
        self.line.text("}\n");
        self.flush()?;
        self.counts.stages += 1;
        self.counts.failed_stages += u64::from(failure.is_some());
        Ok(())
    }

    /// Fills the free slots with tasks, lets the earliest one finish, and again until all have succeeded; the first one never does if
    /// the stage fails. Tasks that run when Spark gives it up are let finish here.
    fn run_tasks(&mut self, stage: &Stage, writer: &mut TaskWriter, fails: bool) -> io::Result<()> {
        let mean_duration = self.random.between(20, 420);
        let mut free: Vec<u64> = (0..self.shape.executors * self.shape.cores).rev().collect();
        let mut retries: Vec<(u64, u64)> = Vec::new();
        let mut running = BinaryHeap::new();
        let mut next_index = 0;
        let mut over = 0;
        let locality = if stage.reads_shuffle { "ANY" } else { "NODE_LOCAL" };
        while over < stage.tasks {
            while !free.is_empty() && (!retries.is_empty() || next_index < stage.tasks) {
                let (index, attempt) = retries.pop().unwrap_or_else(|| {
                    next_index += 1;
                    (next_index - 1, 0)
                });
                let slot = free.pop().expect("the loop condition says that a slot is free");
                let executor = slot % self.shape.executors;
                let run = TaskRun {
                    task_id: self.next_task,
                    index,
                    attempt,
                    launch_ms: self.now_ms,
                    executor_id: executor + 1,
                    host: &self.hosts[executor as usize],
                    locality,
                };
                writer.start(&mut self.line, &run);
                let duration = 5 + self.random.skewed(mean_duration);
                running.push(Reverse((
                    self.now_ms + duration,
                    self.next_task,
                    index,
                    attempt,
                    self.now_ms,
                    slot,
                )));
                self.next_task += 1;
                self.flush()?;
            }
            let Reverse((finish, task_id, index, attempt, launch_ms, slot)) =
                running.pop().expect("a task runs while one has not succeeded");
            self.now_ms = finish;
            free.push(slot);
            let hopeless = fails && index == 0;
            let failed = hopeless || attempt < RETRIES && self.random.happens(self.shape.fail_rate);
            let numbers = self.task_numbers(stage, finish - launch_ms, failed);
            let executor = slot % self.shape.executors;
            let host = &self.hosts[executor as usize];
            let run = TaskRun {
                task_id,
                index,
                attempt,
                launch_ms,
                executor_id: executor + 1,
                host,
                locality,
            };
            writer.end(&mut self.line, &run, finish, failed, &numbers);
            self.flush()?;
            self.counts.failed_tasks += u64::from(failed);
            if failed && attempt < RETRIES {
                retries.push((index, attempt + 1));
            } else {
                over += 1;
            }
            self.counts.add_task(&numbers);
        }
        Ok(())
    }

    fn task_numbers(&mut self, stage: &Stage, duration: u64, failed: bool) -> TaskNumbers {
        let mut numbers = executor_numbers(&mut self.random);
        let bits = self.random.bits();
        let deserialize = (2 + (bits & 15)).min(duration - 1);
        let run_time = duration - deserialize;
        numbers.set(Slot::RunTime, run_time);
        if failed {
            return numbers;
        }
        numbers.set(Slot::DeserializeTime, deserialize);
        numbers.set(Slot::DeserializeCpuTime, deserialize * 380_123);
        numbers.set(Slot::CpuTime, run_time * 913_337 + (bits >> 40 & 0xfffff));
        numbers.set(Slot::ResultSize, 2000 + (bits >> 8 & 4095));
        if bits & 3 == 0 {
            numbers.set(Slot::GcTime, bits >> 20 & 63);
        }
        numbers.set(Slot::SerializationTime, bits >> 26 & 3);
        numbers.set(Slot::PeakMemory, 262_144 << (bits >> 28 & 5));
        numbers.set(Slot::HashProbes, 10 + (bits >> 31 & 7));

        let records = 500 + (bits >> 34 & 4095);
        let bytes = records * (24 + (bits >> 46 & 31));
        if stage.reads_shuffle {
            let executors = self.shape.executors;
            let local = bytes / executors;
            numbers.set(Slot::LocalBytes, local);
            numbers.set(Slot::RemoteBytes, bytes - local);
            numbers.set(Slot::LocalBlocks, 1 + (bits >> 51 & 7));
            numbers.set(
                Slot::RemoteBlocks,
                if executors > 1 { 1 + (bits >> 54 & 127) } else { 0 },
            );
            numbers.set(Slot::FetchWaitTime, bits >> 57 & 15);
            numbers.set(Slot::RemoteDuration, bits >> 55 & 31);
            numbers.set(Slot::RecordsRead, records);
        } else {
            numbers.set(Slot::InputBytes, bytes * 3);
            numbers.set(Slot::InputRecords, records * 4);
        }
        if stage.writes_shuffle {
            numbers.set(Slot::BytesWritten, bytes);
            numbers.set(Slot::RecordsWritten, records);
            numbers.set(Slot::WriteTime, run_time * 60_117);
        } else {
            numbers.set(Slot::OutputBytes, bytes);
            numbers.set(Slot::OutputRecords, records);
        }
        numbers
    }

    /// Written only with `spark.eventLog.logBlockUpdates.enabled`: the task binary's broadcast.
    fn broadcast_blocks(&mut self, stage_id: u64) -> io::Result<()> {
        let executors = self.shape.executors.min(4);
        for executor in 0..=executors {
            let manager = if executor == 0 {
                block_manager_id("driver", "driver-0.example", 33167)
            } else {
                block_manager_id(
                    &executor.to_string(),
                    &self.hosts[executor as usize - 1],
                    39_999 + executor,
                )
            };
            self.event(&json!({"Event": "SparkListenerBlockUpdated", "Block Updated Info": {
                "Block Manager ID": manager,
                "Block ID": format!("broadcast_{stage_id}_piece0"),
                "Storage Level": {"Use Disk": false, "Use Memory": true, "Use Off Heap": false, "Deserialized": false, "Replication": 1},
                "Memory Size": 5792 + stage_id,
                "Disk Size": 0,
            }}))?;
        }
        Ok(())
    }

    /// Written only with `spark.eventLog.logStageExecutorMetrics`, as [`Self::driver_metrics`].
    fn stage_metrics(&mut self, stage: &Stage) -> io::Result<()> {
        self.driver_metrics()?;
        for executor in 0..=self.shape.executors.min(stage.tasks) {
            let id = if executor == 0 {
                "driver".to_owned()
            } else {
                executor.to_string()
            };
            let numbers = executor_numbers(&mut self.random);
            self.line
                .text(r#"{"Event":"SparkListenerStageExecutorMetrics","Executor ID":""#);
            self.line.text(&id);
            self.line.text(r#"","Stage ID":"#);
            self.line.number(stage.id);
            self.line.text(r#","Stage Attempt ID":0,"#);
            task::executor_metrics(&mut self.line, "Executor Metrics", self.shape.spark, &numbers);
            self.line.text("}\n");
            self.flush()?;
        }
        Ok(())
    }

    fn driver_metrics(&mut self) -> io::Result<()> {
        let numbers = executor_numbers(&mut self.random);
        self.line.text(
            r#"{"Event":"SparkListenerExecutorMetricsUpdate","Executor ID":"driver","Metrics Updated":[],"Executor Metrics Updated":[{"Stage ID":-1,"Stage Attempt ID":-1,"#,
        );
        task::executor_metrics(&mut self.line, "Executor Metrics", self.shape.spark, &numbers);
        self.line.text("}]}\n");
        self.flush()
    }

    fn block_manager(&mut self, executor: &str, host: &str, port: u64, memory: u64) -> io::Result<()> {
        self.event(&json!({
            "Event": "SparkListenerBlockManagerAdded",
            "Block Manager ID": block_manager_id(executor, host, port),
            "Maximum Memory": memory,
            "Timestamp": self.now_ms,
            "Maximum Onheap Memory": memory,
            "Maximum Offheap Memory": 0,
        }))
    }

    fn end(&mut self) -> io::Result<()> {
        self.now_ms += 50;
        if self.shape.extra_events && self.shape.executors > 1 {
            let last = self.shape.executors;
            self.event(&json!({
                "Event": "SparkListenerBlockManagerRemoved",
                "Block Manager ID": block_manager_id(&last.to_string(), &self.hosts[last as usize - 1], 39_999 + last),
                "Timestamp": self.now_ms,
            }))?;
            self.event(&json!({
                "Event": "SparkListenerExecutorRemoved", "Timestamp": self.now_ms, "Executor ID": last.to_string(),
                "Removed Reason": "Executor killed by driver.",
            }))?;
        }
        if self.shape.in_progress {
            return Ok(());
        }
        let mut event = json!({"Event": "SparkListenerApplicationEnd", "Timestamp": self.now_ms});
        if self.shape.spark.has_new_fields() {
            event["ExitCode"] = u64::from(self.shape.fails).into();
        }
        self.event(&event)
    }

    /// Ends an event with the `Properties` of a job.
    fn end_with_properties(&mut self, job: u64) -> io::Result<()> {
        self.line.text(r#","Properties":"#);
        self.line.text(self.properties.trim_end_matches('}'));
        self.line.text(&format!(
            r#","spark.rdd.scope":"{{\"id\":\"29\",\"name\":\"collect\"}}","spark.rdd.scope.noOverride":"true","callSite.short":"{CALL_SITE}","spark.sql.execution.id":"{job}","spark.sql.execution.root.id":"{job}"}}}}"#
        ));
        self.line.text("\n");
        self.flush()
    }

    fn job_tags(&self, job: u64) -> Value {
        if self.shape.spark == Spark::V3_5 {
            return json!([]);
        }
        let session = format!("spark-session-4338510b-adfb-4c55-9ab9-{:012x}", self.shape.application);
        json!([format!("{session}-execution-root-id-{job}"), session])
    }

    fn event(&mut self, event: &Value) -> io::Result<()> {
        serde_json::to_writer(&mut self.line, event)?;
        self.line.text("\n");
        self.flush()
    }

    /// Hands the finished line on.
    fn flush(&mut self) -> io::Result<()> {
        self.sink.line(&self.line)?;
        self.counts.events += 1;
        self.counts.bytes += self.line.len() as u64;
        self.line.clear();
        Ok(())
    }
}

/// `total` in `parts` numbers that differ by one at most.
fn spread(total: u64, parts: u64) -> impl Iterator<Item = u64> + use<> {
    (0..parts).map(move |part| total / parts + u64::from(part < total % parts))
}

fn executor_numbers(random: &mut Random) -> TaskNumbers {
    let bits = random.bits();
    let mut numbers = TaskNumbers::new();
    numbers.set(Slot::JvmHeap, 100_000_000 + (bits & 0xfff_ffff));
    numbers.set(Slot::JvmOffHeap, 130_000_000 + (bits >> 28 & 0xffff));
    numbers.set(Slot::StorageMemory, bits >> 44 & 0xfffff);
    numbers.set(Slot::DirectPool, 81_920);
    numbers.set(Slot::VirtualMemory, 3_220_709_376);
    numbers.set(Slot::ResidentMemory, 262_131_712 + (bits & 0xff_ffff));
    numbers.set(Slot::MinorGcCount, bits & 127);
    numbers.set(Slot::MinorGcTime, (bits & 127) * 11);
    numbers
}

fn block_manager_id(executor: &str, host: &str, port: u64) -> Value {
    json!({"Executor ID": executor, "Host": host, "Port": port})
}

/// What a stage has when it is over.
struct StageEnd<'a> {
    completed: u64,
    failure: Option<&'a str>,
    writer: &'a TaskWriter,
}

/// The larger parts of lines that are not of tasks.
trait Parts {
    fn json(&mut self, value: &impl serde::Serialize) -> io::Result<()>;
    /// `,"physicalPlanDescription":…,"sparkPlanInfo":…`
    fn plan(&mut self, plan: &Plan, planned: usize) -> io::Result<()>;
    /// `Stage Info`; what has not happened is absent.
    fn stage(&mut self, stage: &Stage, submitted: Option<u64>, end: Option<StageEnd<'_>>) -> io::Result<()>;
}

impl Parts for Vec<u8> {
    fn json(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        Ok(serde_json::to_writer(self, value)?)
    }

    fn plan(&mut self, plan: &Plan, planned: usize) -> io::Result<()> {
        self.text(r#","physicalPlanDescription":"#);
        self.json(&plan.description(planned))?;
        self.text(r#","sparkPlanInfo":"#);
        self.text(&plan.info(planned));
        Ok(())
    }

    fn stage(&mut self, stage: &Stage, submitted: Option<u64>, end: Option<StageEnd<'_>>) -> io::Result<()> {
        static DETAILS: LazyLock<String> = LazyLock::new(|| {
            let top = "org.apache.spark.sql.execution.SQLExecution$.withThreadLocalCaptured(SQLExecution.scala:328)";
            Value::from(call_stack(top)).to_string()
        });
        let read = if stage.reads_shuffle {
            "ShuffledRowRDD"
        } else {
            "FileScanRDD"
        };
        let Stage {
            id, tasks, first_rdd, ..
        } = *stage;
        self.text(&format!(
            r#"{{"Stage ID":{id},"Stage Attempt ID":0,"Stage Name":"{CALL_SITE}","Number of Tasks":{tasks},"RDD Info":["#
        ));
        for (rdd, name, scope) in [
            (3, "MapPartitionsRDD", "Exchange"),
            (2, "MapPartitionsRDD", "WholeStageCodegen (1)"),
            (1, "MapPartitionsRDD", "WholeStageCodegen (1)"),
            (0, read, "Scan parquet lake.events"),
        ] {
            let id = first_rdd + rdd;
            let parent = if rdd > 0 { (id - 1).to_string() } else { String::new() };
            self.text(&format!(
                r#"{{"RDD ID":{id},"Name":"{name}","Scope":"{{\"id\":\"{id}\",\"name\":\"{scope}\"}}","Callsite":"{CALL_SITE}","Parent IDs":[{parent}],"Storage Level":{{"Use Disk":false,"Use Memory":false,"Use Off Heap":false,"Deserialized":false,"Replication":1}},"Barrier":false,"DeterministicLevel":"DETERMINATE","Number of Partitions":{tasks},"Number of Cached Partitions":0,"Memory Size":0,"Disk Size":0}}"#
            ));
            self.text(if rdd > 0 { "," } else { "]" });
        }
        self.text(r#","Parent IDs":["#);
        if let Some(parent) = stage.parent {
            self.number(parent);
        }
        self.text(r#"],"Details":"#);
        self.text(&DETAILS);
        if let Some(submitted) = submitted {
            self.text(r#","Submission Time":"#);
            self.number(submitted);
        }
        if let Some(end) = &end {
            self.text(r#","Completion Time":"#);
            self.number(end.completed);
        }
        if let Some(failure) = end.as_ref().and_then(|end| end.failure) {
            self.text(r#","Failure Reason":"#);
            self.json(&failure)?;
        }
        self.text(r#","Accumulables":["#);
        if let Some(end) = &end {
            end.writer.accumulables(self);
        }
        self.text(r#"],"Resource Profile Id":0,"Shuffle Push Enabled":false,"Shuffle Push Mergers Count":0}"#);
        Ok(())
    }
}

/// Why Spark gives a stage up.
fn failure_of(stage: &Stage) -> String {
    format!(
        "Job aborted due to stage failure: Task 0 in stage {}.0 failed {} times, most recent failure: Lost task 0.{RETRIES}: \
        java.lang.IllegalStateException: synthetic failure\n\tat {}\n\nDriver stacktrace:",
        stage.id,
        RETRIES + 1,
        call_stack("org.apache.spark.executor.Executor$TaskRunner.run(Executor.scala:647)")
    )
}

fn job_result(failure: Option<&str>) -> Value {
    match failure {
        None => json!({"Result": "JobSucceeded"}),
        Some(message) => json!({"Result": "JobFailed", "Exception": {"Message": message, "Stack Trace": [
            {"Declaring Class": "org.apache.spark.scheduler.DAGScheduler", "Method Name": "failJobAndIndependentStages",
                "File Name": "DAGScheduler.scala", "Line Number": 2935},
        ]}}),
    }
}

fn call_stack(top: &str) -> String {
    let mut stack = top.to_owned();
    for line in 77..88 {
        stack.push_str(&format!(
            "\njava.base/jdk.internal.reflect.NativeMethodAccessorImpl.invoke(NativeMethodAccessorImpl.java:{line})"
        ));
    }
    stack
}
