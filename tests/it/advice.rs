//! The views of the schemas `advice` and `rollup`.
//!
//! Advice: logs made up here, so that every number is known. Each view has applications just above each threshold and just below the
//! lowest; an application's id begins with what it is for. Rollups: the same sums, made from the rows of base tables in Rust.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};
use sparkgate::catalog::views;
use sparkgate::table::Type;
use tokio_postgres::types::Type as PgType;

use crate::support::pg::Session;
use crate::support::{Server, fixtures, say, shared, text};

/// Midnight of 2026-11-21, UTC, in milliseconds: when made-up applications start.
const START: i64 = 1_795_219_200_000;
const KIB: i64 = 1024;
const MIB: i64 = 1024 * KIB;
const GIB: i64 = 1024 * MIB;
const HOUR: i64 = 3_600_000;
/// Long after any made-up application began.
const LATE: i64 = 24 * HOUR;

/// A made-up task attempt. Times are milliseconds after the start of the application.
#[derive(Debug, Clone, Copy)]
struct Task {
    launch: i64,
    duration: i64,
    /// The whole duration if `None`.
    run: Option<i64>,
    gc: i64,
    input: i64,
    shuffle: i64,
    spilled: i64,
    heap: i64,
    attempt: i32,
    executor: &'static str,
    /// The class of the exception it failed with, or `killed`.
    failure: Option<&'static str>,
}

const TASK: Task = Task {
    launch: 2000,
    duration: 1000,
    run: None,
    gc: 0,
    input: 0,
    shuffle: 0,
    spilled: 0,
    heap: 0,
    attempt: 0,
    executor: "1",
    failure: None,
};

/// A made-up log, line by line as Spark writes them.
struct Log {
    app_id: String,
    lines: Vec<Value>,
    next_task: i64,
    next_job: i64,
    /// As of Spark 1: no metrics of reading, no resource profiles, nothing spilled.
    is_old: bool,
}

impl Log {
    fn start(app_id: &str) -> Log {
        Log::start_as(app_id, app_id, START, 4096)
    }

    /// `memory`: of an executor, MiB.
    fn start_as(app_id: &str, name: &str, start: i64, memory: i64) -> Log {
        let resource = |name: &str, amount: i64| json!({"Resource Name": name, "Amount": amount, "Discovery Script": "", "Vendor": ""});
        let lines = vec![
            json!({"Event": "SparkListenerLogStart", "Spark Version": "4.1.0"}),
            json!({"Event": "SparkListenerResourceProfileAdded", "Resource Profile Id": 0,
                "Executor Resource Requests": {"memory": resource("memory", memory)},
                "Task Resource Requests": {"cpus": {"Resource Name": "cpus", "Amount": 1.0}}}),
            json!({"Event": "SparkListenerApplicationStart", "App Name": name, "App ID": app_id, "Timestamp": start, "User": "spark"}),
        ];
        Log {
            app_id: app_id.into(),
            lines,
            next_task: 0,
            next_job: 0,
            is_old: false,
        }
    }

    fn old(app_id: &str) -> Log {
        let mut log = Log::start(app_id);
        log.lines.remove(1);
        log.is_old = true;
        log
    }

    fn executor(mut self, id: &str, cores: i64, added: i64) -> Self {
        self.lines.push(json!({"Event": "SparkListenerExecutorAdded", "Timestamp": START + added, "Executor ID": id,
            "Executor Info": {"Host": "localhost", "Total Cores": cores, "Log Urls": {}, "Attributes": {}, "Resources": {}, "Resource Profile Id": 0}}));
        self
    }

    fn removed(mut self, id: &str, at: i64) -> Self {
        self.lines.push(
            json!({"Event": "SparkListenerExecutorRemoved", "Timestamp": START + at, "Executor ID": id, "Removed Reason": "idle"}),
        );
        self
    }

    /// A job with one stage, submitted a second after the application started.
    fn stage(self, tasks: &[Task]) -> Self {
        self.job(1000, &[(0, None, tasks)])
    }

    /// A job with attempts of one stage: (attempt, why it failed, tasks).
    fn job(mut self, submitted: i64, attempts: &[(i64, Option<&str>, &[Task])]) -> Self {
        let (job_id, stage_id) = (self.next_job, self.next_job);
        self.next_job += 1;
        let info = |attempt: i64, tasks: &[Task]| {
            json!({"Stage ID": stage_id, "Stage Attempt ID": attempt, "Stage Name": "collect at made-up:1", "Number of Tasks": tasks.len(),
                "RDD Info": [], "Parent IDs": [], "Details": "", "Submission Time": START + submitted, "Accumulables": [], "Resource Profile Id": 0})
        };
        let first = attempts.first().map(|(attempt, _, tasks)| info(*attempt, tasks));
        self.lines.push(
            json!({"Event": "SparkListenerJobStart", "Job ID": job_id, "Submission Time": START + submitted,
            "Stage Infos": [first], "Stage IDs": [stage_id], "Properties": {}}),
        );
        let mut end = submitted;
        for (attempt, failure, tasks) in attempts {
            let mut info = info(*attempt, tasks);
            self.lines
                .push(json!({"Event": "SparkListenerStageSubmitted", "Stage Info": info, "Properties": {}}));
            for (index, task) in tasks.iter().enumerate() {
                end = end.max(task.launch + task.duration);
                self.task(stage_id, *attempt, index, task);
            }
            info["Completion Time"] = json!(START + end);
            if let Some(failure) = failure {
                info["Failure Reason"] = json!(failure);
            }
            self.lines
                .push(json!({"Event": "SparkListenerStageCompleted", "Stage Info": info}));
        }
        self.lines.push(
            json!({"Event": "SparkListenerJobEnd", "Job ID": job_id, "Completion Time": START + end,
            "Job Result": {"Result": "JobSucceeded"}}),
        );
        self
    }

    fn task(&mut self, stage_id: i64, stage_attempt: i64, index: usize, task: &Task) {
        let mut info = json!({"Task ID": self.next_task, "Index": index, "Attempt": task.attempt, "Partition ID": index,
            "Launch Time": START + task.launch, "Executor ID": task.executor, "Host": "localhost", "Locality": "ANY", "Speculative": false,
            "Getting Result Time": 0, "Finish Time": 0, "Failed": false, "Killed": false, "Accumulables": []});
        self.next_task += 1;
        self.lines.push(json!({"Event": "SparkListenerTaskStart", "Stage ID": stage_id, "Stage Attempt ID": stage_attempt, "Task Info": info}));
        info["Finish Time"] = json!(START + task.launch + task.duration);
        info["Failed"] = json!(task.failure.is_some_and(|failure| failure != "killed"));
        info["Killed"] = json!(task.failure == Some("killed"));
        let reason = match task.failure {
            None => json!({"Reason": "Success"}),
            Some("killed") => {
                json!({"Reason": "TaskKilled", "Kill Reason": "another attempt succeeded", "Accumulator Updates": []})
            }
            Some(class) => {
                json!({"Reason": "ExceptionFailure", "Class Name": class, "Description": "made up", "Stack Trace": [],
                "Full Stack Trace": format!("{class}: made up\n\tat made.up"), "Accumulator Updates": []})
            }
        };
        let spilled = if self.is_old { 0 } else { task.spilled };
        let mut metrics = json!({"Executor Deserialize Time": 0, "Executor Run Time": task.run.unwrap_or(task.duration), "Result Size": 0,
            "JVM GC Time": task.gc, "Result Serialization Time": 0, "Memory Bytes Spilled": spilled, "Disk Bytes Spilled": spilled});
        if !self.is_old {
            metrics["Input Metrics"] = json!({"Bytes Read": task.input, "Records Read": 0});
            metrics["Shuffle Read Metrics"] = json!({"Remote Blocks Fetched": 0, "Local Blocks Fetched": 1, "Fetch Wait Time": 0,
                "Remote Bytes Read": 0, "Local Bytes Read": task.shuffle, "Total Records Read": 0});
        }
        let mut end = json!({"Event": "SparkListenerTaskEnd", "Stage ID": stage_id, "Stage Attempt ID": stage_attempt,
            "Task Type": "ResultTask", "Task End Reason": reason, "Task Info": info, "Task Metrics": metrics});
        if task.heap > 0 {
            end["Task Executor Metrics"] = json!({"JVMHeapMemory": task.heap});
        }
        self.lines.push(end);
    }

    fn end(mut self, at: i64) -> Self {
        self.lines
            .push(json!({"Event": "SparkListenerApplicationEnd", "Timestamp": START + at, "ExitCode": 0}));
        self
    }

    fn write(&self, directory: &Path) {
        let lines: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(directory.join(&self.app_id), lines).expect("room for a log");
    }
}

/// Logs in a directory of their own, served.
async fn serve(logs: Vec<Log>) -> (tempfile::TempDir, Server, Session) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for log in logs {
        log.write(directory.path());
    }
    let server = Server::start_with(directory.path(), &["--scan-interval", "200ms"]);
    let session = Session::open(&server).await;
    let damaged = session
        .rows("select path, status, error from system.event_logs where error is not null")
        .await;
    assert!(damaged.is_empty(), "{damaged:?}");
    (directory, server, session)
}

/// Writes logs that every view of `advice` has a row of, and that have what the recorded logs lack, for tests that want no table empty.
pub(crate) fn write_logs_with_findings(directory: &Path) {
    let one = |name: &str| Log::start(&format!("finding-{name}")).executor("1", 4, 0);
    let read = |duration: i64, input: i64| Task {
        duration,
        input,
        ..TASK
    };
    let with = |task: Task| [task; 2];
    let mut process = one("miscellaneous-process").end(LATE);
    process.lines.insert(
        3,
        json!({"Event": "org.apache.spark.scheduler.SparkListenerMiscellaneousProcessAdded", "time": START, "processId": "yarn-am",
            "info": {"hostPort": "localhost:1234", "cores": 1, "logUrlInfo": {"stdout": "http://localhost/stdout"}}}),
    );
    let mut logs = vec![
        one("skew")
            .stage(&three_and(read(10_000, 64 * MIB), read(80_000, 512 * MIB)))
            .end(LATE),
        one("spill")
            .stage(&with(Task {
                spilled: 512 * MIB,
                ..read(1000, GIB)
            }))
            .end(LATE),
        one("gc")
            .stage(&with(Task {
                gc: 20_000,
                heap: GIB,
                ..read(100_000, 1)
            }))
            .end(LATE),
        one("idle").removed("1", 2 * HOUR).end(LATE),
        one("memory").stage(&with(Task { heap: GIB, ..TASK })).end(HOUR),
        one("small").stage(&[read(100, KIB); 200]).end(LATE),
        one("large").stage(&with(read(1000, 512 * MIB))).end(LATE),
        one("slow")
            .job(5000, &[(0, None, &[Task { launch: 60_000, ..TASK }])])
            .end(LATE),
        process,
    ];
    for run in 0..3 {
        let app_id = format!("finding-recurring-{run}");
        let log = Log::start_as(&app_id, "nightly", START, 1024).executor("1", 400, 0);
        logs.push(log.stage(&[read(HOUR, 1); 3]).end(HOUR));
    }
    for log in &logs {
        log.write(directory);
    }
}

/// Four tasks, the last of which differs.
fn three_and(task: Task, last: Task) -> [Task; 4] {
    [task, task, task, last]
}

#[tokio::test(flavor = "multi_thread")]
async fn skewed_stages_are_those_whose_slowest_task_runs_five_times_the_median() {
    let reading = |duration: i64, input: i64| Task {
        duration,
        input,
        ..TASK
    };
    let one = |name: &str| Log::start(name).executor("1", 4, 0);
    let (_logs, _server, session) = serve(vec![
        one("data")
            .stage(&three_and(reading(10_000, 64 * MIB), reading(80_000, 512 * MIB)))
            .end(LATE),
        one("host")
            .stage(&three_and(reading(10_000, 64 * MIB), reading(50_000, 65 * MIB)))
            .end(LATE),
        Log::old("old")
            .executor("1", 4, 0)
            .stage(&three_and(reading(100_000, 0), reading(1_000_000, 0)))
            .end(LATE),
        one("even")
            .stage(&three_and(reading(10_000, 1), reading(49_999, MIB)))
            .end(LATE),
        one("short")
            .stage(&three_and(reading(1000, 1), reading(10_999, MIB)))
            .end(LATE),
        one("clocks").stage(&[reading(-5000, -1); 4]).end(LATE),
        one("few")
            .stage(&three_and(reading(1000, 1), reading(99_000, MIB))[1..])
            .end(LATE),
    ])
    .await;
    let sql = "select app_id, stage_id, stage_attempt_id, severity, num_tasks, median_duration_ms, max_duration_ms, skew, excess_ms, \
               slowest_task_id, slowest_executor_id, median_read_bytes, slowest_read_bytes from advice.skewed_stages order by 1";
    assert_eq!(
        session.rows(sql).await,
        [
            "data|0|0|warning|4|10000|80000|8|70000|3|1|67108864|536870912",
            "host|0|0|info|4|10000|50000|5|40000|3|1|67108864|68157440",
            "old|0|0|critical|4|100000|1000000|10|900000|3|1|0|0",
        ]
    );
    let sql = "select evidence, recommendation from advice.skewed_stages order by app_id";
    let said = session.rows(sql).await;
    assert!(
        said[0].starts_with("the slowest of 4 tasks ran 80.0 s, the median 10.0 s (8.0 times); it read 512.0 MiB, the median 64.0 MiB|spread the keys")
            && said[0].contains("spark.sql.adaptive.skewJoin.enabled"),
        "{said:?}"
    );
    assert!(
        said[1].contains("look at executor 1") && said[1].contains("spark.speculation"),
        "{said:?}"
    );
    assert!(
        said[2].starts_with(
            "the slowest of 4 tasks ran 1000.0 s, the median 100.0 s (10.0 times)|the data does not explain it"
        ),
        "{said:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn spilling_stages_are_judged_by_what_they_spilled_and_read() {
    let spilling = |spilled: i64, input: i64, shuffle: i64| {
        [Task {
            spilled,
            input,
            shuffle,
            ..TASK
        }; 2]
    };
    let one = |name: &str, tasks: [Task; 2]| Log::start(name).executor("1", 2, 0).stage(&tasks).end(LATE);
    let (_logs, _server, session) = serve(vec![
        one("a", spilling(64 * MIB, GIB, 0)),
        one("b", spilling(64 * MIB, 0, 64 * MIB)),
        one("c", spilling(512 * MIB, 9 * GIB, 0)),
        one("d", spilling(5 * GIB, GIB, GIB)),
        one("e", spilling(64 * MIB - 1, 0, 0)),
        Log::old("f").executor("1", 2, 0).stage(&spilling(GIB, 0, 0)).end(LATE),
    ])
    .await;
    let sql = "select app_id, severity, num_tasks, disk_bytes_spilled, memory_bytes_spilled, read_bytes, spilled_bytes_per_task, \
               recommendation like '%spark.sql.shuffle.partitions%' from advice.spilling_stages order by 1";
    assert_eq!(
        session.rows(sql).await,
        [
            "a|info|2|134217728|134217728|2147483648|67108864|f",
            "b|warning|2|134217728|134217728|134217728|67108864|t",
            "c|warning|2|1073741824|1073741824|19327352832|536870912|f",
            "d|critical|2|10737418240|10737418240|4294967296|5368709120|t",
        ]
    );
    let sql = "select evidence from advice.spilling_stages where app_id = 'a'";
    assert_eq!(
        session.rows(sql).await,
        ["128.0 MiB were spilled to disk (128.0 MiB in memory) by 2 tasks that read 2048.0 MiB"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn gc_pressure_begins_at_a_tenth_of_the_run_time() {
    let collecting = |gc: i64, duration: i64, heap: i64| {
        [Task {
            gc,
            duration,
            heap,
            ..TASK
        }]
    };
    let one = |name: &str, tasks: [Task; 1]| Log::start(name).executor("1", 2, 0).stage(&tasks).end(LATE);
    let (_logs, _server, session) = serve(vec![
        one("a", collecting(10_000, 100_000, GIB)),
        one("b", collecting(20_000, 100_000, 0)),
        Log::old("c")
            .executor("1", 2, 0)
            .stage(&collecting(50_000, 100_000, 0))
            .end(LATE),
        one("d", collecting(10_000, 100_001, 0)),
        one("e", collecting(9999, 10_000, 0)),
    ])
    .await;
    let sql = "select app_id, severity, jvm_gc_time_ms, executor_run_time_ms, gc_share, peak_jvm_heap_memory_bytes, evidence \
               from advice.gc_pressure order by 1";
    assert_eq!(
        session.rows(sql).await,
        [
            "a|info|10000|100000|0.1|1073741824|10.0 % of 100.0 s of task time were garbage collection (10.0 s); the largest heap was 1024.0 MiB",
            "b|warning|20000|100000|0.2||20.0 % of 100.0 s of task time were garbage collection (20.0 s)",
            "c|critical|50000|100000|0.5||50.0 % of 100.0 s of task time were garbage collection (50.0 s)",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_executors_wait_for_half_of_their_core_time() {
    let busy = |duration: i64| Task { duration, ..TASK };
    let lived = |name: &str, life: i64, tasks: &[Task]| {
        Log::start(name)
            .executor("1", 4, 0)
            .stage(tasks)
            .removed("1", life)
            .end(LATE)
    };
    let (_logs, _server, session) = serve(vec![
        lived("a", 300_000, &[busy(300_000); 2]),
        lived("b", 1_000_000, &[busy(400_000)]),
        Log::start("c").executor("1", 4, 0).removed("1", 2 * HOUR).end(LATE),
        lived("d", 300_000, &[busy(300_000), busy(300_000), busy(1)]),
        Log::start("e").executor("1", 4, 0).removed("1", 149_999).end(LATE),
        Log::start("driver").executor("driver", 4, 0).end(LATE),
        // No end at all: it lives until the last event.
        Log::old("open").executor("1", 1, 0).executor("2", 1, HOUR),
    ])
    .await;
    let sql = "select app_id, executor_id, host, severity, total_cores, total_tasks, core_ms, busy_core_ms, idle_core_ms, idle_share \
               from advice.idle_executors order by 1, 2";
    assert_eq!(
        session.rows(sql).await,
        [
            "a|1|localhost|info|4|2|1200000|600000|600000|0.5",
            "b|1|localhost|warning|4|1|4000000|400000|3600000|0.9",
            "c|1|localhost|critical|4|0|28800000|0|28800000|1",
            "open|1|localhost|warning|1|0|3600000|0|3600000|1",
        ]
    );
    let sql =
        "select evidence, recommendation like '%executorIdleTimeout%' from advice.idle_executors where app_id = 'b'";
    assert_eq!(
        session.rows(sql).await,
        ["executor 1 ran 1 tasks and was idle for 60.0 of 66.7 core minutes (90.0 %)|t"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn over_provisioned_memory_is_heap_that_no_executor_came_near() {
    let using = |heap: i64| Task { heap, ..TASK };
    let granted = |name: &str, memory: i64| Log::start_as(name, name, START, memory);
    let mut many = granted("b", 4096);
    for executor in ["1", "2", "3", "4"] {
        many = many.executor(executor, 2, 0);
    }
    let tasks = ["1", "2", "3", "4"].map(|executor| Task { executor, ..using(GIB) });
    let one = |name: &str, memory: i64, heap: i64, life: i64| {
        granted(name, memory)
            .executor("1", 2, 0)
            .stage(&[using(heap)])
            .end(life)
    };
    let (_logs, _server, session) = serve(vec![
        one("a", 4096, GIB, HOUR),
        many.stage(&tasks).end(HOUR),
        one("c", 65_536, GIB, 2 * HOUR),
        one("d", 4096, 2 * GIB + 1, 10 * HOUR),
        one("e", 4096, GIB, HOUR / 4),
        one("unmeasured", 65_536, 0, 2 * HOUR),
        Log::old("old").executor("1", 2, 0).stage(&[using(GIB)]).end(LATE),
    ])
    .await;
    let sql = "select app_id, resource_profile_id, severity, num_executors, executor_memory_bytes, peak_jvm_heap_memory_bytes, unused_share, \
               unused_gib_hours, suggested_memory_bytes from advice.over_provisioned_memory order by 1";
    assert_eq!(
        session.rows(sql).await,
        [
            "a|0|info|1|4294967296|1073741824|0.75|3|1610612736",
            "b|0|warning|4|4294967296|1073741824|0.75|12|1610612736",
            "c|0|critical|1|68719476736|1073741824|0.984375|126|1610612736",
        ]
    );
    let sql = "select evidence, recommendation from advice.over_provisioned_memory where app_id = 'b'";
    assert_eq!(
        session.rows(sql).await,
        [
            "4 executors asked for 4096.0 MiB of heap each; the largest used 1024.0 MiB, which leaves 12.0 GiB hours unused|\
          lower spark.executor.memory to 1536m, or run more tasks in each executor with spark.executor.cores"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_work_counts_failed_killed_and_repeated_tasks() {
    let task = |duration: i64, failure: Option<&'static str>| Task {
        duration,
        failure,
        ..TASK
    };
    let retried = |duration: i64| Task {
        attempt: 1,
        ..task(duration, None)
    };
    let one = |name: &str| Log::start(name).executor("1", 4, 0);
    let lost = "org.apache.spark.shuffle.FetchFailedException: made up";
    let (_logs, _server, session) = serve(vec![
        one("a")
            .stage(&[
                task(5000, Some("java.lang.OutOfMemoryError")),
                retried(1000),
                task(1000, None),
            ])
            .end(LATE),
        one("b")
            .job(
                1000,
                &[
                    (0, Some(lost), &[task(10_000, None), task(3000, Some("killed"))]),
                    (1, None, &[task(20_000, None)]),
                ],
            )
            .end(LATE),
        one("c")
            .stage(&[task(60_000, Some("java.io.IOException")), retried(1)])
            .end(LATE),
        one("d")
            .stage(&[task(HOUR, Some("java.io.IOException")), retried(1)])
            .end(LATE),
        one("speculative")
            .stage(&[task(60_000, Some("killed")), task(1000, None)])
            .end(LATE),
        Log::old("old").executor("1", 4, 0).stage(&[task(1000, None)]).end(LATE),
    ])
    .await;
    let sql = "select app_id, stage_id, stage_attempt_id, severity, status, num_task_attempts, num_failed_tasks, num_killed_tasks, \
               num_retried_tasks, failed_task_ms, killed_task_ms, repeated_task_ms, wasted_task_ms, split_part(first_error, ':', 1) \
               from advice.failed_work order by 1, 3";
    assert_eq!(
        session.rows(sql).await,
        [
            "a|0|0|info|COMPLETE|3|1|0|1|5000|0|0|5000|java.lang.OutOfMemoryError",
            "b|0|0|warning|FAILED|2|0|1|0|0|3000|0|3000|org.apache.spark.shuffle.FetchFailedException",
            "b|0|1|warning|COMPLETE|1|0|0|0|0|0|20000|20000|",
            "c|0|0|warning|COMPLETE|2|1|0|1|60000|0|0|60000|java.io.IOException",
            "d|0|0|critical|COMPLETE|2|1|0|1|3600000|0|0|3600000|java.io.IOException",
        ]
    );
    let said = session
        .rows("select evidence, recommendation from advice.failed_work order by app_id, stage_attempt_id")
        .await;
    assert!(
        said[0].starts_with("attempt 0 of the stage is COMPLETE: of 3 task attempts 1 failed and 0 were killed, 5.0 s of task time wasted; first error: java.lang.OutOfMemoryError")
            && said[0].contains("spark.executor.memoryOverhead"),
        "{said:?}"
    );
    assert!(said[1].contains("spark.shuffle.service.enabled"), "{said:?}");
    assert!(said[2].contains("the attempts before"), "{said:?}");
    assert!(said[3].contains("spark.excludeOnFailure.enabled"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn small_partitions_are_many_short_tasks_that_read_little() {
    let many =
        |name: &str, count: usize, task: Task| Log::start(name).executor("1", 4, 0).stage(&vec![task; count]).end(LATE);
    let small = Task {
        duration: 100,
        shuffle: MIB,
        ..TASK
    };
    let (_logs, _server, session) = serve(vec![
        many("a", 200, small),
        many(
            "b",
            1000,
            Task {
                input: 4 * MIB - 1,
                shuffle: 0,
                ..small
            },
        ),
        many("c", 10_000, Task { shuffle: KIB, ..small }),
        many("few", 199, small),
        many("slow", 200, Task { duration: 200, ..small }),
        many(
            "large",
            200,
            Task {
                shuffle: 4 * MIB,
                ..small
            },
        ),
        many("nothing", 200, Task { shuffle: 0, ..small }),
    ])
    .await;
    let sql = "select app_id, severity, num_tasks, read_bytes, read_bytes_per_task, executor_run_time_ms, run_time_per_task_ms, suggested_tasks, \
               recommendation like '%coalescePartitions%' from advice.small_partitions order by 1";
    assert_eq!(
        session.rows(sql).await,
        [
            "a|info|200|209715200|1048576|20000|100|4|t",
            "b|warning|1000|4194303000|4194303|100000|100|63|f",
            "c|critical|10000|10240000|1024|1000000|100|1|t",
        ]
    );
    let sql = "select evidence from advice.small_partitions where app_id = 'a'";
    assert_eq!(
        session.rows(sql).await,
        ["200 tasks read 1024.0 KiB and ran 100.0 ms on average"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn large_partitions_are_stages_whose_median_task_reads_much() {
    let reading = |input: i64| Task { input, ..TASK };
    let one = |name: &str, tasks: &[Task]| Log::start(name).executor("1", 4, 0).stage(tasks).end(LATE);
    let (_logs, _server, session) = serve(vec![
        one("a", &[reading(256 * MIB); 3]),
        one(
            "b",
            &[
                Task {
                    spilled: 1,
                    ..reading(256 * MIB)
                },
                reading(256 * MIB),
                reading(MIB),
            ],
        ),
        one(
            "c",
            &[Task {
                shuffle: 512 * MIB,
                ..TASK
            }; 2],
        ),
        one("d", &[reading(2 * GIB)]),
        one("e", &[reading(256 * MIB - 1); 3]),
        one("skewed", &[reading(MIB), reading(MIB), reading(9 * GIB)]),
        Log::old("old").executor("1", 4, 0).stage(&[reading(GIB)]).end(LATE),
    ])
    .await;
    let sql = "select app_id, severity, num_tasks, median_read_bytes, max_read_bytes, read_bytes, disk_bytes_spilled, suggested_tasks, \
               recommendation like '%spark.sql.shuffle.partitions%' from advice.large_partitions order by 1";
    assert_eq!(
        session.rows(sql).await,
        [
            "a|info|3|268435456|268435456|805306368|0|6|f",
            "b|warning|3|268435456|268435456|537919488|1|5|f",
            "c|warning|2|536870912|536870912|1073741824|0|8|t",
            "d|critical|1|2147483648|2147483648|2147483648|0|16|f",
        ]
    );
    let sql = "select evidence from advice.large_partitions where app_id = 'd'";
    assert_eq!(
        session.rows(sql).await,
        ["1 tasks read 2048.0 MiB in the median and at most 2048.0 MiB, and spilled 0.0 MiB to disk"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_starts_say_what_the_first_task_waited_for() {
    let at = |launch: i64| [Task { launch, ..TASK }];
    let one = |name: &str, executor: i64, job: i64, task: i64| {
        Log::start(name)
            .executor("1", 4, executor)
            .job(job, &[(0, None, &at(task))])
            .end(LATE)
    };
    let (_logs, _server, session) = serve(vec![
        one("a", 2000, 5000, 60_000),
        one("b", 299_000, 2000, 300_000),
        one("c", 2000, 890_000, 900_000),
        one("d", 2000, 5000, 59_999),
        Log::start("none").executor("1", 4, 0).end(LATE),
        Log::old("local")
            .executor("driver", 4, 0)
            .job(2000, &[(0, None, &at(61_000))])
            .end(LATE),
    ])
    .await;
    let sql = "select app_id, attempt_id, name, spark_user, severity, time_to_first_task_ms, time_to_first_job_ms, wait_for_executors_ms, \
               extract(epoch from first_task_time - start_time), first_executor_time is null from advice.slow_starts order by 1";
    assert_eq!(
        session.rows(sql).await,
        [
            "a||a|spark|info|60000|5000|0|60.000000|f",
            "b||b|spark|warning|300000|2000|297000|300.000000|f",
            "c||c|spark|critical|900000|890000|0|900.000000|f",
            "local||local|spark|info|61000|2000||61.000000|t",
        ]
    );
    let said = session
        .rows("select evidence, recommendation from advice.slow_starts order by app_id")
        .await;
    assert!(said[0].contains("minRegisteredResourcesRatio"), "{said:?}");
    assert!(
        said[1].starts_with("the first task came 300.0 s after the start, the first job 2.0 s after it; the job waited 297.0 s for an executor|")
            && said[1].contains("initialExecutors"),
        "{said:?}"
    );
    assert!(said[2].contains("the driver worked alone"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn expensive_recurring_applications_are_summed_by_name_and_user() {
    let mut logs = Vec::new();
    let mut add = |name: &str, runs: i64, cores: i64, tasks: &[Task]| {
        for run in 0..runs {
            let log = Log::start_as(&format!("{name}-{run}"), name, START, 1024).executor("1", cores, 0);
            logs.push(log.stage(tasks).end(HOUR));
        }
    };
    let busy = Task {
        launch: 0,
        duration: HOUR,
        ..TASK
    };
    add("nightly", 3, 4, &[busy]);
    add("weekly", 4, 25, &[]);
    add("monthly", 3, 400, &[busy; 300]);
    add("cheap", 3, 3, &[]);
    add("twice", 2, 400, &[]);
    let (_logs, _server, session) = serve(logs).await;
    let sql = "select name, spark_user, severity, runs, failed_runs, last_app_id, core_hours, core_hours_per_run, task_hours, used_share, \
               avg_duration_ms, first_start_time = last_start_time from advice.expensive_recurring order by 1";
    assert_eq!(
        session.rows(sql).await,
        [
            "monthly|spark|critical|3|0|monthly-2|1200|400|900|0.75|3600000|t",
            "nightly|spark|info|3|0|nightly-2|12|4|3|0.25|3600000|t",
            "weekly|spark|warning|4|0|weekly-3|100|25|0|0|3600000|t",
        ]
    );
    let said = session
        .rows("select evidence, recommendation from advice.expensive_recurring order by name")
        .await;
    assert!(
        said[1].starts_with(
            "3 runs (0 failed) held 12.0 core hours, 4.0 each; tasks used 25.0 % of them|executors mostly wait"
        ),
        "{said:?}"
    );
    assert!(said[0].contains("see skewed_stages"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_shows_the_snapshot_of_each_statement() {
    let slow = |name: &str| {
        let task = [Task { launch: 60_000, ..TASK }];
        Log::start(name)
            .executor("1", 4, 0)
            .job(2000, &[(0, None, &task)])
            .end(LATE)
    };
    let (logs, _server, session) = serve(vec![slow("first")]).await;
    let sql = "select app_id from advice.slow_starts order by 1";
    assert_eq!(session.rows(sql).await, ["first"]);
    slow("second").write(logs.path());
    session
        .answers_within(Duration::from_secs(20), sql, &["first", "second"])
        .await;
}

/// Directories of logs that every view has to cope with.
fn all_logs() -> Vec<std::path::PathBuf> {
    let mut all = vec![fixtures().join("logs")];
    match shared() {
        Some(shared) => all.push(shared.join("spark-logs")),
        None => say("advice: nothing shared beside the checkout"),
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_has_the_columns_it_documents_and_runs_on_every_log() {
    for logs in all_logs() {
        let server = Server::start(&logs);
        let session = Session::open(&server).await;
        for view in views() {
            let full = format!("{}.{}", view.schema, view.name);
            let statement = session.client.prepare(&format!("select * from {full}")).await;
            let statement = statement.unwrap_or_else(|error| panic!("{full}: {error:?}"));
            let real: Vec<_> = statement
                .columns()
                .iter()
                .map(|c| (c.name(), c.type_().clone()))
                .collect();
            let documented: Vec<_> = view.columns.iter().map(|c| (c.name, wire_type(c.ty))).collect();
            assert_eq!(real, documented, "{full}");
            let rows = session.objects(&format!("select * from {full}")).await;
            for row in &rows {
                assert!(row.len() == view.columns.len(), "{full}: {row:?}");
                if view.schema == "advice" {
                    assert!(
                        ["info", "warning", "critical"].contains(&text(row, "severity")),
                        "{full}: {row:?}"
                    );
                    assert!(
                        !text(row, "evidence").is_empty() && !text(row, "recommendation").is_empty(),
                        "{full}: {row:?}"
                    );
                }
            }
        }
        let shown = session.rows("select count(*) from advice.failed_work").await;
        assert_ne!(shown, ["0"], "{}", logs.display());
    }
}

fn wire_type(ty: Type) -> PgType {
    match ty {
        Type::Bool => PgType::BOOL,
        Type::Int32 => PgType::INT4,
        Type::Int64 => PgType::INT8,
        Type::Float64 => PgType::FLOAT8,
        Type::Text => PgType::TEXT,
        Type::Timestamp => PgType::TIMESTAMPTZ,
        Type::List(Type::Float64) => PgType::FLOAT8_ARRAY,
        other => panic!("no view has the type {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_on_the_application_reaches_every_scan_inside_a_view() {
    let server = Server::start_with(&fixtures().join("logs"), &["--scan-interval", "1h"]);
    let session = Session::open(&server).await;
    let with_app_id = views()
        .iter()
        .filter(|view| view.columns.iter().any(|column| column.name == "app_id"));
    let mut seen = 0;
    for view in with_app_id {
        let of = |app_id: &str| {
            format!(
                "explain select * from {}.{} where app_id = '{app_id}'",
                view.schema, view.name
            )
        };
        let none = session.rows(&of("nobody")).await.join("\n");
        assert!(
            none.contains("EmptyExec") && !none.contains("DataSourceExec"),
            "{}:\n{none}",
            view.name
        );
        seen += 1;
    }
    assert_eq!(seen, 9);
}

/// One row of a rollup: its key, and its numbers by name.
type Sums = BTreeMap<String, BTreeMap<String, i64>>;

fn number(row: &Map<String, Value>, column: &str) -> Option<i64> {
    row.get(column).and_then(Value::as_i64)
}

fn millis(row: &Map<String, Value>, column: &str) -> Option<i64> {
    let time = row.get(column)?.as_str()?;
    let time = chrono::DateTime::parse_from_rfc3339(time).expect("an instant");
    Some(time.timestamp_millis())
}

/// The rows of a rollup, by the columns of its key.
fn rows_by(rows: &[Map<String, Value>], keys: &[&str]) -> Sums {
    let key = |row: &Map<String, Value>| {
        keys.iter()
            .map(|key| row[*key].to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let numbers = |row: &Map<String, Value>| {
        row.keys()
            .filter_map(|name| Some((name.clone(), number(row, name)?)))
            .collect()
    };
    let sums: Sums = rows.iter().map(|row| (key(row), numbers(row))).collect();
    assert_eq!(sums.len(), rows.len(), "a key is there twice");
    sums
}

fn add(sums: &mut Sums, key: &str, column: &str, value: i64) {
    *sums
        .entry(key.to_owned())
        .or_default()
        .entry(column.to_owned())
        .or_default() += value;
}

#[tokio::test(flavor = "multi_thread")]
async fn application_daily_is_the_sum_over_applications() {
    for logs in all_logs() {
        let server = Server::start(&logs);
        let session = Session::open(&server).await;
        session.rows("set timezone = 'Asia/Kolkata'").await;
        let rollup = session.objects("select * from rollup.application_daily").await;
        let applications = session.objects("select * from applications").await;
        let summed: Vec<&str> = rollup[0].keys().map(String::as_str).collect();
        let mut expected = Sums::new();
        for row in &applications {
            let start = millis(row, "start_time").expect("a start");
            let day = chrono::DateTime::from_timestamp_millis(start - start.rem_euclid(24 * HOUR)).expect("a day");
            let day = day.format("%Y-%m-%dT%H:%M:%S%.3fZ");
            let key = format!("\"{day}\" {} {} {}", row["spark_user"], row["name"], row["status"]);
            add(&mut expected, &key, "applications", 1);
            for column in &summed {
                if let Some(value) = number(row, column).filter(|_| *column != "peak_execution_memory_bytes") {
                    add(&mut expected, &key, column, value);
                }
            }
            let numbers = expected.get_mut(&key).expect("just added");
            let mut extreme = |name: &str, value: Option<i64>, pick: fn(i64, i64) -> i64| {
                if let Some(value) = value {
                    let best = numbers.get(name).map_or(value, |best| pick(*best, value));
                    numbers.insert(name.to_owned(), best);
                }
            };
            let duration = number(row, "duration_ms");
            extreme("min_duration_ms", duration, i64::min);
            extreme("max_duration_ms", duration, i64::max);
            extreme("sum_duration_ms", duration, |sum, value| sum + value);
            extreme(
                "peak_execution_memory_bytes",
                number(row, "peak_execution_memory_bytes"),
                i64::max,
            );
        }
        let got = rows_by(&rollup, &["day_start", "spark_user", "name", "status"]);
        assert_eq!(got, expected, "{}", logs.display());
    }
}

/// What `executor_hourly` should have, hour by hour.
async fn hourly(session: &Session) -> Sums {
    let mut sums = Sums::new();
    let key = |row: &Map<String, Value>, hour: i64| {
        let start = chrono::DateTime::from_timestamp_millis(hour * HOUR).expect("an hour");
        format!(
            "\"{}\" {} {}",
            start.format("%Y-%m-%dT%H:%M:%S%.3fZ"),
            row["app_id"],
            row["attempt_id"]
        )
    };
    let sql = "select e.app_id, e.attempt_id, total_cores, add_time, coalesce(remove_time, end_time, last_event_time) as gone_time \
               from executors e join application_attempts a on a.app_id = e.app_id and a.attempt_id = e.attempt_id where total_cores > 0";
    for row in session.objects(sql).await {
        let (added, gone) = (
            millis(&row, "add_time").expect("a time"),
            millis(&row, "gone_time").expect("a time"),
        );
        // Nobody lives less than no time, though clocks of a log may differ.
        let gone = gone.max(added);
        let cores = number(&row, "total_cores").expect("a number");
        for hour in added / HOUR..=added.max(gone - 1) / HOUR {
            let lived = gone.min((hour + 1) * HOUR) - added.max(hour * HOUR);
            for (column, value) in [
                ("executors", 1),
                ("cores", cores),
                ("core_ms", cores * lived),
                ("executor_run_time_ms", 0),
            ] {
                add(&mut sums, &key(&row, hour), column, value);
            }
        }
    }
    let sql = "select app_id, attempt_id, launch_time, finish_time, executor_run_time_ms from tasks \
               where executor_run_time_ms > 0 and finish_time is not null";
    for row in session.objects(sql).await {
        let (from, to) = (
            millis(&row, "launch_time").expect("a time"),
            millis(&row, "finish_time").expect("a time"),
        );
        let run = number(&row, "executor_run_time_ms").expect("a number");
        let ran_until = |time: i64| {
            if to <= from {
                run
            } else {
                run * (time.clamp(from, to) - from) / (to - from)
            }
        };
        let mut before = 0;
        for hour in from / HOUR..=from.max(to - 1) / HOUR {
            let until = ran_until((hour + 1) * HOUR);
            for (column, value) in [
                ("executors", 0),
                ("cores", 0),
                ("core_ms", 0),
                ("executor_run_time_ms", until - before),
            ] {
                add(&mut sums, &key(&row, hour), column, value);
            }
            before = until;
        }
    }
    sums
}

#[tokio::test(flavor = "multi_thread")]
async fn executor_hourly_cuts_lives_and_tasks_at_hours() {
    let task = |launch: i64, duration: i64| Task {
        launch,
        duration,
        ..TASK
    };
    let half_past = HOUR / 2;
    let log = Log::start("hours")
        .executor("1", 4, half_past)
        .executor("2", 2, HOUR + half_past);
    let log = log.job(
        half_past,
        &[(
            0,
            None,
            &[
                task(half_past, 2 * HOUR),
                Task {
                    run: Some(1001),
                    ..task(HOUR - 1000, 2000)
                },
            ],
        )],
    );
    let log = log.removed("2", 2 * HOUR);
    let clocks = Log::start("clocks").executor("1", 4, 1000).removed("1", 0);
    let clocks = clocks.stage(&[Task {
        run: Some(7),
        ..task(1000, -1000)
    }]);
    let (_logs, _server, session) = serve(vec![log, clocks]).await;
    let sql = "select extract(hour from hour_start), app_id, attempt_id, executors, cores, core_ms, executor_run_time_ms \
               from rollup.executor_hourly order by hour_start, app_id";
    // Executor 1 has no end: it lives until the last event, when the first task ends.
    assert_eq!(
        session.rows(sql).await,
        [
            "0|clocks||1|4|0|7",
            "0|hours||1|4|7200000|1800500",
            "1|hours||2|6|18000000|3600501",
            "2|hours||1|4|7200000|1800000",
        ]
    );
    let total = "select sum(core_ms) from rollup.executor_hourly";
    assert_eq!(
        session.rows(total).await,
        session
            .rows("select sum(executor_core_ms) from application_attempts")
            .await
    );

    for logs in all_logs() {
        let server = Server::start(&logs);
        let session = Session::open(&server).await;
        let got = session.objects("select * from rollup.executor_hourly").await;
        assert_eq!(
            rows_by(&got, &["hour_start", "app_id", "attempt_id"]),
            hourly(&session).await,
            "{}",
            logs.display()
        );
        let sums = "select app_id, attempt_id, sum(core_ms), sum(executor_run_time_ms) from rollup.executor_hourly group by 1, 2 order by 1, 2";
        let totals = "select app_id, attempt_id, executor_core_ms, executor_run_time_ms from application_attempts \
                      where app_id || '/' || attempt_id in (select app_id || '/' || attempt_id from rollup.executor_hourly)";
        let totals: BTreeSet<String> = session.rows(totals).await.into_iter().collect();
        let sums: BTreeSet<String> = session.rows(sums).await.into_iter().collect();
        assert_eq!(sums, totals, "{}", logs.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stage_summary_has_the_sums_and_quantiles_of_the_tasks() {
    const QUANTILES: [f64; 7] = [0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0];
    let key = |row: &Map<String, Value>| {
        ["app_id", "attempt_id", "stage_id", "stage_attempt_id"]
            .map(|key| row[key].to_string())
            .join(" ")
    };
    for logs in all_logs() {
        let server = Server::start(&logs);
        let session = Session::open(&server).await;
        let mut tasks: BTreeMap<String, Vec<Map<String, Value>>> = BTreeMap::new();
        for row in session.objects("select * from tasks").await {
            tasks.entry(key(&row)).or_default().push(row);
        }
        let summaries = session.objects("select * from rollup.stage_summary").await;
        assert_eq!(summaries.len(), tasks.len());
        for summary in summaries {
            let tasks = &tasks[&key(&summary)];
            let ended = |status: &str| {
                tasks
                    .iter()
                    .filter(|task| text(task, "status") == status)
                    .collect::<Vec<_>>()
            };
            assert_eq!(number(&summary, "num_tasks"), i64::try_from(tasks.len()).ok());
            for (column, status) in [
                ("num_complete_tasks", "SUCCESS"),
                ("num_failed_tasks", "FAILED"),
                ("num_killed_tasks", "KILLED"),
            ] {
                assert_eq!(
                    number(&summary, column),
                    i64::try_from(ended(status).len()).ok(),
                    "{column}"
                );
            }
            let metrics = summary.keys().filter_map(|column| column.strip_suffix("_quantiles"));
            // The one measure that tasks have no column of; tests of `rollups` see to it.
            let metrics = metrics.filter(|metric| *metric != "shuffle_blocks_fetched");
            let mut compared = 0;
            for metric in metrics {
                let all: Vec<i64> = tasks.iter().filter_map(|task| number(task, metric)).collect();
                let sum = (!all.is_empty()).then(|| all.iter().sum());
                assert_eq!(number(&summary, metric), sum, "{metric}: {summary:?}");
                let mut values: Vec<i64> = ended("SUCCESS")
                    .into_iter()
                    .filter_map(|task| number(task, metric))
                    .filter(|value| *value >= 0)
                    .collect();
                values.sort_unstable();
                let expected = match values.len() {
                    0 => Value::Null,
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_precision_loss,
                        clippy::cast_sign_loss,
                        reason = "few tasks"
                    )]
                    count => QUANTILES
                        .iter()
                        .map(|quantile| json!(values[((quantile * count as f64) as usize).min(count - 1)] as f64))
                        .collect(),
                };
                assert_eq!(
                    summary[&format!("{metric}_quantiles")],
                    expected,
                    "{metric}: {summary:?}"
                );
                compared += 1;
            }
            assert_eq!(compared, 38);
        }
    }
}
