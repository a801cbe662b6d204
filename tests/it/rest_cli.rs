//! `spark-history-cli`, a client of Spark's history server that others wrote, must be unable to tell Sparkgate from it: each of its commands is
//! held against what Spark's own server answered about the same logs. `tests/rigs/spark-history-cli.sh` installs it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use serde_json::{Map, Value, json};

use crate::support::{Server, copy_logs, fixtures};

/// Writes skills for coding assistants and asks no server.
const ASKS_NOTHING: &str = "install-skill";

/// What Spark's server answered, by path below `/api/v1/`.
struct Spark {
    lines: Vec<String>,
    by_path: HashMap<String, usize>,
}

impl Spark {
    fn recorded() -> Spark {
        let file = std::fs::File::open(fixtures().join("answers/answers.jsonl.gz")).expect("the recorded answers");
        let lines = BufReader::new(flate2::read::GzDecoder::new(file)).lines();
        let lines: Vec<String> = lines.map(|line| line.expect("the recording is whole")).collect();
        let path = |line: &String| {
            let (_, rest) = line.split_once("\"method\": \"GET\", \"path\": \"")?;
            rest.split_once('"').map(|(path, _)| path.to_owned())
        };
        let by_path = lines
            .iter()
            .enumerate()
            .filter_map(|(at, line)| Some((path(line)?, at)));
        Spark {
            by_path: by_path.collect(),
            lines,
        }
    }

    fn answer(&self, path: &str) -> Value {
        let at = self
            .by_path
            .get(path)
            .unwrap_or_else(|| panic!("{path} was not recorded"));
        let read = |at: usize| -> Value { serde_json::from_str(&self.lines[at]).expect("JSON") };
        let recorded = read(*at);
        // The recorder writes a long text once, and then only says in which line it stands.
        let same = recorded["a"]["same"].as_u64();
        let text_of = same.map_or(recorded, |at| read(usize::try_from(at).expect("a line")));
        let text = text_of["a"]["text"]
            .as_str()
            .unwrap_or_else(|| panic!("{path}: no text"));
        comparable(serde_json::from_str(text).expect("JSON"))
    }

    fn list(&self, path: &str) -> Vec<Value> {
        let Value::Array(items) = self.answer(path) else {
            panic!("{path} is no list");
        };
        items
    }

    /// Resources of an attempt that were recorded, such as `sql/3`.
    fn has(&self, path: &str) -> bool {
        self.by_path.contains_key(path)
    }
}

/// An answer without the modification time of the log, which a copy does not keep.
fn comparable(mut answer: Value) -> Value {
    match &mut answer {
        Value::Object(fields) => {
            fields.remove("lastUpdated");
            fields.remove("lastUpdatedEpoch");
            fields.values_mut().for_each(|value| *value = comparable(value.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = comparable(item.take())),
        _ => {}
    }
    answer
}

/// The command, and a server for it to ask.
struct Cli {
    command: PathBuf,
    server: Server,
    home: tempfile::TempDir,
    /// Commands that were run.
    ran: Mutex<BTreeSet<String>>,
}

impl Cli {
    fn start() -> Cli {
        let rig = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rigs/spark-history-cli.sh");
        let installed = Command::new("bash").arg(&rig).output().expect("bash is installed");
        let error = String::from_utf8_lossy(&installed.stderr);
        assert!(installed.status.success(), "{}: {error}", rig.display());
        let command = String::from_utf8(installed.stdout).expect("a path in UTF-8");
        let home = tempfile::tempdir().expect("a temporary directory");
        let logs = home.path().join("logs");
        copy_logs(&fixtures().join("logs"), &logs, &[]);
        Cli {
            command: command.trim().into(),
            server: Server::start(&logs),
            home,
            ran: Mutex::default(),
        }
    }

    fn logs(&self) -> PathBuf {
        self.home.path().join("logs")
    }

    /// The command without settings of this machine, a proxy's above all.
    fn prepared(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.command);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.home.path())
            .env("LC_ALL", "C.UTF-8")
            .env("NO_COLOR", "1")
            .current_dir(self.home.path())
            .args(["--server", &format!("http://{}", self.server.http)])
            .args(args)
            .stdin(Stdio::null());
        command
    }

    /// Exit code, standard output, standard error.
    fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let output = self.prepared(args).output().expect("the command starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// What the command prints about an application; `""` where it is about none.
    fn text(&self, app_id: &str, args: &[&str]) -> String {
        self.ran.lock().expect("no panic").insert(args[0].to_owned());
        let application = ["--app-id", app_id];
        let args = [if app_id.is_empty() { &[][..] } else { &application }, args].concat();
        let (code, stdout, stderr) = self.run(&args);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{args:?}: {stdout}");
        stdout
    }

    fn json(&self, app_id: &str, args: &[&str]) -> Value {
        self.ran.lock().expect("no panic").insert(args[0].to_owned());
        let application = ["--json", "--app-id", app_id];
        let args = [
            if app_id.is_empty() {
                &application[..1]
            } else {
                &application
            },
            args,
        ]
        .concat();
        let (code, stdout, stderr) = self.run(&args);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{args:?}: {stdout}");
        comparable(serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{args:?}: {e}: {stdout}")))
    }
}

/// The application of a workload (`tests/fixtures/README.md`).
fn app(spark: &Spark, name: &str) -> String {
    let applications = spark.list("applications");
    let found = applications.iter().find(|app| app["name"] == name);
    let found = found.unwrap_or_else(|| panic!("no application {name}"));
    found["id"].as_str().expect("an id").to_owned()
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

fn with(items: &[Value], field: &str, value: &str) -> Vec<Value> {
    items.iter().filter(|item| item[field] == value).cloned().collect()
}

/// One of the lines has all of the words.
fn assert_line(text: &str, words: &[&str]) {
    let has_all = |line: &str| words.iter().all(|word| line.contains(word));
    assert!(text.lines().any(has_all), "no line with {words:?} in\n{text}");
}

/// Lines of the last table below its header.
fn rows(text: &str) -> usize {
    let below = text.lines().rev().take_while(|line| !line.trim().starts_with('─'));
    below.filter(|line| !line.trim().is_empty()).count()
}

/// As the command writes milliseconds.
#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn duration(millis: i64) -> String {
    match millis {
        ..1000 => format!("{millis}ms"),
        1000..60_000 => format!("{:.1}s", millis as f64 / 1000.0),
        _ => format!("{}m {}s", millis / 60_000, millis / 1000 % 60),
    }
}

#[test]
fn every_command_of_spark_history_cli_shows_what_sparks_own_server_answers() {
    let (spark, cli) = (Spark::recorded(), Cli::start());
    // Each run of the command is an interpreter that starts, so some run side by side.
    let subjects: [fn(&Spark, &Cli); 10] = [
        version_and_applications,
        attempts,
        jobs,
        stages_and_tasks,
        executors,
        sql,
        storage,
        environment_and_summary,
        event_logs,
        errors,
    ];
    thread::scope(|scope| {
        for subject in subjects {
            let (spark, cli) = (&spark, &cli);
            scope.spawn(move || subject(spark, cli));
        }
    });

    let (_, help, _) = cli.run(&["--help"]);
    let commands = help.split_once("Commands:").expect("a list of commands").1;
    let commands: BTreeSet<String> = commands
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .filter(|command| *command != ASKS_NOTHING)
        .map(str::to_owned)
        .collect();
    assert!(commands.len() > 20, "{help}");
    assert_eq!(
        *cli.ran.lock().expect("no panic"),
        commands,
        "the commands that ran are those it has"
    );
}

fn version_and_applications(spark: &Spark, cli: &Cli) {
    assert_eq!(cli.json("", &["version"]), spark.answer("version"));
    assert_eq!(cli.text("", &["version"]), "Spark 4.1.0\n");

    let all = spark.list("applications");
    assert_eq!(cli.json("", &["apps"]), json!(all));
    let is_complete = |app: &Value| app["attempts"][0]["completed"] == true;
    let completed: Vec<Value> = all.iter().filter(|app| is_complete(app)).cloned().collect();
    let running: Vec<Value> = all.iter().filter(|app| !is_complete(app)).cloned().collect();
    assert!(completed.len() > 20 && running.len() > 2);
    assert_eq!(cli.json("", &["apps", "--status", "completed"]), json!(completed));
    assert_eq!(cli.json("", &["apps", "--status", "running"]), json!(running));
    assert_eq!(cli.json("", &["apps", "--limit", "3"]), json!(all[..3]));

    // A second of the middle: no application started at its very beginning.
    let mut starts: Vec<&str> = all.iter().map(|app| string(&app["attempts"][0]["startTime"])).collect();
    starts.sort_unstable();
    let middle = format!(
        "{}.000GMT",
        starts[starts.len() / 2].split('.').next().expect("seconds")
    );
    for (option, is_in) in [
        (
            "--min-date",
            (|start, middle| start >= middle) as fn(&str, &str) -> bool,
        ),
        ("--max-date", |start, middle| start <= middle),
    ] {
        // An attempt that was lost has no end, and Spark leaves it out where its application has ended.
        let counts = |app: &Value, attempt: &Value| {
            is_in(string(&attempt["startTime"]), &middle) && (!is_complete(app) || attempt["endTimeEpoch"] != -1)
        };
        let any = |app: &&Value| list(&app["attempts"]).iter().any(|attempt| counts(app, attempt));
        let expected: Vec<Value> = all.iter().filter(any).cloned().collect();
        assert!(!expected.is_empty() && expected.len() < all.len());
        assert_eq!(
            cli.json("", &["apps", option, &middle]),
            json!(expected),
            "{option} {middle}"
        );
    }

    let shown = cli.text("", &["apps"]);
    assert_eq!(rows(&shown), all.len(), "{shown}");
    for app in &all {
        let attempt = &app["attempts"][0];
        let status = if is_complete(app) { "COMPLETED" } else { "RUNNING" };
        let duration = duration(number(&attempt["duration"]));
        assert_line(
            &shown,
            &[string(&app["id"]), string(&app["name"]), status, &duration, "spark"],
        );
    }
    let id = app(spark, "tasks-4.1");
    let one = spark.answer(&format!("applications/{id}"));
    assert_eq!(cli.json("", &["app", &id]), one);
    let shown = cli.text("", &["app", &id]);
    let attempt = &one["attempts"][0];
    assert_line(&shown, &["Duration", &duration(number(&attempt["duration"]))]);
    assert_line(
        &shown,
        &["Started", &string(&attempt["startTime"]).replace('T', " ")[..19]],
    );
    assert_line(&shown, &["Spark Version", "4.1.0"]);
    assert_line(&shown, &["Status", "COMPLETED"]);
}

/// An application of three attempts, the newest of which runs; the command asks about the newest.
fn three_attempts(spark: &Spark) -> Value {
    let all = spark.list("applications");
    let found = all.into_iter().find(|app| list(&app["attempts"]).len() == 3);
    found.expect("an application of three attempts")
}

fn attempts(spark: &Spark, cli: &Cli) {
    let application = three_attempts(spark);
    let id = string(&application["id"]);
    let attempts = list(&application["attempts"]);
    assert_eq!(cli.json(id, &["attempts"]), json!(attempts));
    let shown = cli.text(id, &["attempts"]);
    assert_eq!(rows(&shown), 3, "{shown}");
    for attempt in attempts {
        let attempt_id = string(&attempt["attemptId"]);
        let status = if attempt["completed"] == true {
            "COMPLETED"
        } else {
            "RUNNING"
        };
        assert_line(&shown, &[attempt_id, status, &duration(number(&attempt["duration"]))]);
        assert_eq!(cli.json(id, &["attempt", attempt_id]), *attempt);
        let detail = cli.text(id, &["attempt", attempt_id]);
        assert_line(&detail, &["Attempt ID", attempt_id]);
        assert_line(&detail, &["Status", status]);
    }
    let newest = format!("applications/{id}/{}", string(&attempts[0]["attemptId"]));
    assert_eq!(cli.json(id, &["jobs"]), spark.answer(&format!("{newest}/jobs")));
    assert_eq!(cli.json(id, &["stages"]), spark.answer(&format!("{newest}/stages")));
}

fn jobs(spark: &Spark, cli: &Cli) {
    let id = app(spark, "tasks-4.1");
    let jobs = spark.list(&format!("applications/{id}/jobs"));
    assert_eq!(cli.json(&id, &["jobs"]), json!(jobs));
    for status in ["running", "succeeded", "failed", "unknown"] {
        let expected = with(&jobs, "status", &status.to_uppercase());
        assert_eq!(
            cli.json(&id, &["jobs", "--status", status]),
            json!(expected),
            "{status}"
        );
    }
    assert!(!with(&jobs, "status", "FAILED").is_empty());
    let shown = cli.text(&id, &["jobs"]);
    assert_eq!(rows(&shown), jobs.len(), "{shown}");
    let stages = spark.list(&format!("applications/{id}/stages"));
    for job in &jobs {
        let job_id = job["jobId"].to_string();
        let tasks = format!("{}/{}", job["numCompletedTasks"], job["numTasks"]);
        assert_line(&shown, &[&job_id, string(&job["status"]), &tasks]);
        assert_eq!(cli.json(&id, &["job", &job_id]), *job);
        let of_job = |stage: &&Value| list(&job["stageIds"]).contains(&stage["stageId"]);
        let expected: Vec<&Value> = stages.iter().filter(of_job).collect();
        assert_eq!(cli.json(&id, &["job-stages", &job_id]), json!(expected));
    }
    let failed = with(&jobs, "status", "FAILED").remove(0);
    let job_id = failed["jobId"].to_string();
    let shown = cli.text(&id, &["job", &job_id]);
    assert_line(&shown, &["Status", "FAILED"]);
    let tasks = [
        "numActiveTasks",
        "numCompletedTasks",
        "numFailedTasks",
        "numKilledTasks",
    ];
    let tasks = tasks.map(|field| failed[field].to_string()).join("/");
    assert_line(&shown, &["Tasks (active/done/failed/killed)", &tasks]);
    assert_line(&cli.text(&id, &["job-stages", &job_id]), &["FAILED", "0/"]);
}

/// Every field of Spark's answer is there with its value; details may come on top.
fn assert_holds(got: &Value, expected: &Value, what: &str) {
    for (field, value) in expected.as_object().expect("an object") {
        assert_eq!(&got[field], value, "{what}: {field}");
    }
}

fn stages_and_tasks(spark: &Spark, cli: &Cli) {
    for name in ["tasks-4.1", "fetch-failure-4.1"] {
        let id = app(spark, name);
        let base = format!("applications/{id}");
        let stages = spark.list(&format!("{base}/stages"));
        assert_eq!(cli.json(&id, &["stages"]), json!(stages));
        for status in ["complete", "failed", "pending", "active"] {
            let expected = with(&stages, "status", &status.to_uppercase());
            assert_eq!(
                cli.json(&id, &["stages", "--status", status]),
                json!(expected),
                "{status}"
            );
        }
        let shown = cli.text(&id, &["stages"]);
        assert_eq!(rows(&shown), stages.len(), "{shown}");
        let mut by_id: BTreeMap<i64, Vec<&Value>> = BTreeMap::new();
        for stage in stages.iter().rev() {
            by_id.entry(number(&stage["stageId"])).or_default().push(stage);
        }
        // `stage` shows the attempts of a stage, or the only one.
        assert!(name != "fetch-failure-4.1" || by_id.values().any(|attempts| attempts.len() > 1));
        for (stage_id, attempts) in by_id {
            let stage_id = stage_id.to_string();
            let got = cli.json(&id, &["stage", &stage_id]);
            let one = std::slice::from_ref(&got);
            let got = got.as_array().map_or(one, Vec::as_slice);
            assert_eq!(got.len(), attempts.len(), "{name} {stage_id}");
            for (got, stage) in got.iter().zip(attempts) {
                assert_holds(got, stage, &format!("{name} stage {stage_id}"));
                one_stage(spark, cli, &id, got, stage);
            }
        }
    }
}

fn one_stage(spark: &Spark, cli: &Cli, app_id: &str, details: &Value, stage: &Value) {
    let (stage_id, attempt_id) = (stage["stageId"].to_string(), stage["attemptId"].to_string());
    let path = format!("applications/{app_id}/stages/{stage_id}/{attempt_id}");
    // Skipped stages have no tasks to show.
    if !spark.has(&format!("{path}/taskSummary")) {
        return;
    }
    let tasks = spark.list(&format!("{path}/taskList?length=100000"));
    let by_id: Map<String, Value> = tasks
        .iter()
        .map(|task| (task["taskId"].to_string(), task.clone()))
        .collect();
    assert_eq!(details["tasks"], Value::Object(by_id), "{path}");
    let one = cli.json(app_id, &["stage", &stage_id, "--attempt", &attempt_id]);
    assert_eq!(one, *details, "{path}");

    let of_attempt = ["--attempt", attempt_id.as_str()];
    let all = cli.json(
        app_id,
        &[
            &["stage-tasks", &stage_id, "--sort-by", "ID", "--length", "1000"],
            &of_attempt[..],
        ]
        .concat(),
    );
    assert_eq!(all, json!(tasks), "{path}");
    let page = [
        "stage-tasks",
        &stage_id,
        "--sort-by",
        "ID",
        "--offset",
        "1",
        "--length",
        "2",
    ];
    let page = cli.json(app_id, &[&page, &of_attempt[..]].concat());
    let expected: Vec<&Value> = tasks.iter().skip(1).take(2).collect();
    assert_eq!(page, json!(expected), "{path}");

    let summary = [&["stage-summary", &stage_id], &of_attempt[..]].concat();
    if with(&tasks, "status", "SUCCESS").is_empty() {
        let (code, _, stderr) = cli.run(&[&["--app-id", app_id], &summary[..]].concat());
        assert_eq!(code, Some(1), "{path}");
        assert!(stderr.contains("No tasks reported metrics"), "{path}: {stderr}");
        return;
    }
    let recorded = spark.answer(&format!("{path}/taskSummary"));
    assert_eq!(cli.json(app_id, &summary), recorded, "{path}");
    if stage["status"] != "COMPLETE" {
        return;
    }
    // The default is the longest first, which for successful tasks is by run time and then by id.
    let mut longest: Vec<&Value> = tasks.iter().collect();
    longest.sort_by_key(|task| (number(&task["taskMetrics"]["executorRunTime"]), number(&task["taskId"])));
    if tasks.iter().all(|task| task["status"] == "SUCCESS") {
        let args = [&["stage-tasks", &stage_id, "--sort-by", "runtime"], &of_attempt[..]].concat();
        assert_eq!(cli.json(app_id, &args), json!(longest), "{path}");
        longest.reverse();
        let args = [&["stage-tasks", &stage_id], &of_attempt[..]].concat();
        assert_eq!(cli.json(app_id, &args), json!(longest), "{path}");
        let shown = cli.text(app_id, &args);
        assert_eq!(rows(&shown), tasks.len(), "{shown}");
        let task = longest[0];
        assert_line(
            &shown,
            &[
                &task["taskId"].to_string(),
                "SUCCESS",
                &duration(number(&task["duration"])),
            ],
        );
    }
    let shown = cli.text(app_id, &summary);
    let middle = recorded["executorRunTime"][2].as_f64().expect("a number");
    assert_line(&shown, &["Executor Run Time (ms)", &format!("{middle:.0}")]);
    let shown = cli.text(app_id, &["stage", &stage_id, "--attempt", &attempt_id]);
    assert_line(
        &shown,
        &["Executor Run Time", &duration(number(&stage["executorRunTime"]))],
    );
    assert_line(&shown, &["Status", "COMPLETE"]);
}

fn executors(spark: &Spark, cli: &Cli) {
    for name in ["cluster-4.1", "executor-loss-4.1"] {
        let id = app(spark, name);
        let active = spark.list(&format!("applications/{id}/executors"));
        let all = spark.list(&format!("applications/{id}/allexecutors"));
        assert_eq!(cli.json(&id, &["executors"]), json!(active));
        assert_eq!(cli.json(&id, &["executors", "--all"]), json!(all));
        let shown = cli.text(&id, &["executors", "--all"]);
        assert_eq!(rows(&shown), all.len(), "{shown}");
        for executor in &all {
            let tasks = format!("{}/{}", executor["completedTasks"], executor["totalTasks"]);
            let is_active = if executor["isActive"] == true { "✓" } else { "✗" };
            assert_line(
                &shown,
                &[
                    string(&executor["id"]),
                    string(&executor["hostPort"]),
                    is_active,
                    &tasks,
                ],
            );
        }
        assert!(all.len() > active.len() || name != "executor-loss-4.1");
        // No log has any process: only YARN in client mode writes them.
        assert_eq!(
            cli.json(&id, &["processes"]),
            spark.answer(&format!("applications/{id}/allmiscellaneousprocess"))
        );
        assert_line(&cli.text(&id, &["processes"]), &["No results"]);
    }
}

fn sql(spark: &Spark, cli: &Cli) {
    let id = app(spark, "sql-4.1");
    let base = format!("applications/{id}");
    let ids = (0..).take_while(|at| spark.has(&format!("{base}/sql/{at}")));
    let whole: Vec<Value> = ids.map(|at| spark.answer(&format!("{base}/sql/{at}"))).collect();
    let without = |execution: &Value, fields: &[(&str, Value)]| {
        let mut execution = execution.clone();
        for (field, value) in fields {
            execution[*field] = value.clone();
        }
        execution
    };
    let plain = [
        ("planDescription", json!("")),
        ("nodes", json!([])),
        ("edges", json!([])),
    ];
    let short: Vec<Value> = whole.iter().map(|execution| without(execution, &plain)).collect();
    assert!(short.len() > 10, "{}", short.len());
    assert_eq!(cli.json(&id, &["sql"]), json!(short));
    assert_eq!(
        cli.json(&id, &["sql", "--offset", "3", "--length", "4"]),
        json!(short[3..7])
    );
    let shown = cli.text(&id, &["sql"]);
    assert_eq!(rows(&shown), short.len(), "{shown}");

    let jobs = spark.list(&format!("{base}/jobs"));
    for (at, execution) in whole.iter().enumerate() {
        let execution_id = at.to_string();
        assert_line(
            &shown,
            &[
                &execution_id,
                string(&execution["status"]),
                &duration(number(&execution["duration"])),
            ],
        );
        // The command never asks for descriptions of plans, so that its plans are empty and its graphs are not.
        assert_eq!(cli.json(&id, &["sql", &execution_id]), without(execution, &plain[..1]));
        let ids: Vec<&Value> = ["successJobIds", "failedJobIds", "runningJobIds"]
            .iter()
            .flat_map(|field| list(&execution[*field]))
            .collect();
        let of_execution = |job: &&Value| ids.contains(&&job["jobId"]);
        let expected: Vec<&Value> = jobs.iter().filter(of_execution).collect();
        if expected.is_empty() {
            assert_line(&cli.text(&id, &["sql-jobs", &execution_id]), &["No jobs found"]);
        } else {
            assert_eq!(cli.json(&id, &["sql-jobs", &execution_id]), json!(expected));
        }
        let graph = cli.text(&id, &["sql-plan", &execution_id, "--dot"]);
        for node in list(&execution["nodes"]) {
            let shortened: String = string(&node["nodeName"]).chars().take(70).collect();
            assert_line(&graph, &[&format!("n{} [label=\"{shortened}", node["nodeId"])]);
        }
        let arrows = graph.lines().filter(|line| line.contains(" -> ")).count();
        assert_eq!(arrows, list(&execution["edges"]).len(), "{graph}");
        for edge in list(&execution["edges"]) {
            assert_line(&graph, &[&format!("n{} -> n{};", edge["fromId"], edge["toId"])]);
        }
    }
    let failed = whole
        .iter()
        .find(|execution| execution["status"] == "FAILED")
        .expect("one failed");
    let shown = cli.text(&id, &["sql", &failed["id"].to_string()]);
    assert_line(&shown, &["Status", "FAILED"]);
    assert_line(&shown, &["Failed Jobs", &failed["failedJobIds"][0].to_string()]);
    for view in ["full", "initial", "final"] {
        let plan = cli.json(&id, &["sql-plan", "0", "--view", view]);
        assert_eq!((&plan["executionId"], &plan["plan"]), (&json!(0), &json!("")), "{view}");
    }
    cli.text(&id, &["sql-plan", "1", "--dot", "--output", "plan.dot"]);
    let written = std::fs::read_to_string(cli.home.path().join("plan.dot")).expect("the graph");
    assert!(written.starts_with("digraph \"SQL 1\""), "{written}");
}

fn storage(spark: &Spark, cli: &Cli) {
    let id = app(spark, "storage-4.1");
    let rdds = spark.list(&format!("applications/{id}/storage/rdd"));
    assert!(!rdds.is_empty());
    assert_eq!(cli.json(&id, &["rdds"]), json!(rdds));
    let shown = cli.text(&id, &["rdds"]);
    assert_eq!(rows(&shown), rdds.len(), "{shown}");
    for rdd in &rdds {
        let rdd_id = rdd["id"].to_string();
        let partitions = format!("{}/{}", rdd["numCachedPartitions"], rdd["numPartitions"]);
        assert_line(&shown, &[&rdd_id, &partitions]);
        assert_eq!(cli.json(&id, &["rdd", &rdd_id]), *rdd);
        let detail = cli.text(&id, &["rdd", &rdd_id]);
        assert_line(&detail, &["Storage Level", string(&rdd["storageLevel"])]);
        assert_line(&detail, &["Partitions (cached/total)", &partitions]);
    }
    let none = app(spark, "tasks-4.1");
    assert_eq!(cli.json(&none, &["rdds"]), json!([]));
}

fn environment_and_summary(spark: &Spark, cli: &Cli) {
    for name in ["tasks-4.1", "sql-4.1", "cluster-4.1", "killed-4.1"] {
        let id = app(spark, name);
        let of = |resource: &str| spark.answer(&format!("applications/{id}/{resource}"));
        let environment = of("environment");
        assert_eq!(cli.json(&id, &["env"]), environment, "{name}");
        let shown = cli.text(&id, &["env"]);
        assert_line(
            &shown,
            &["Java Version", string(&environment["runtime"]["javaVersion"])],
        );
        assert_line(&shown, &["spark.app.name", name]);

        let application = spark.answer(&format!("applications/{id}"));
        let attempt = &application["attempts"][0];
        let (jobs, stages, sqls) = (of("jobs"), of("stages"), of("sql"));
        // As the command counts: the total, and then the statuses there are, in an order of its own.
        let counts = |items: &Value| {
            let order = [
                "SUCCEEDED",
                "COMPLETED",
                "COMPLETE",
                "RUNNING",
                "FAILED",
                "SKIPPED",
                "KILLED",
                "PENDING",
                "UNKNOWN",
            ];
            let parts = order
                .iter()
                .map(|status| (status.to_lowercase(), with(list(items), "status", status).len()));
            let parts: Vec<String> = parts
                .filter(|(_, n)| *n > 0)
                .map(|(status, n)| format!("{n} {status}"))
                .collect();
            match parts.as_slice() {
                [] => list(items).len().to_string(),
                parts => format!("{} ({})", list(items).len(), parts.join(", ")),
            }
        };
        let sum = |field: &str| list(&jobs).iter().map(|job| number(&job[field])).sum::<i64>();
        let summary = cli.json(&id, &["summary"]);
        let workload = &summary["Workload"];
        // The only answer that Spark's recording holds to 20 executions is complete.
        assert!(list(&sqls).len() < 20);
        assert_eq!(workload["Jobs"], counts(&jobs), "{name}");
        assert_eq!(workload["Stages"], counts(&stages), "{name}");
        assert_eq!(workload["SQL Executions"], counts(&sqls), "{name}");
        let tasks = format!("{}/{} completed", sum("numCompletedTasks"), sum("numTasks"));
        assert_eq!(workload["Tasks"], tasks, "{name}");
        let about = &summary["Application"];
        assert_eq!(about["App ID"], id);
        if attempt["completed"] == true {
            assert_eq!(about["Duration"], duration(number(&attempt["duration"])), "{name}");
        }
        let property = |key: &str| {
            let properties = list(&environment["sparkProperties"]);
            let found = properties.iter().find(|pair| pair[0] == key);
            found.map_or(json!("N/A"), |pair| pair[1].clone())
        };
        assert_eq!(about["Master"], property("spark.master"), "{name}");
        let executors = of("allexecutors");
        let active = list(&executors)
            .iter()
            .filter(|executor| executor["isActive"] == true)
            .count();
        let total = format!("({} total, {active} active)", list(&executors).len());
        let of_summary = string(&summary["Resources"]["Executors"]);
        assert!(of_summary.ends_with(&total), "{name}: {of_summary}, not {total}");
        let shown = cli.text(&id, &["summary"]);
        assert_line(&shown, &["Jobs", string(&workload["Jobs"])]);
        assert_line(&shown, &["Tasks", &tasks]);
    }
}

fn event_logs(spark: &Spark, cli: &Cli) {
    let several = three_attempts(spark);
    let rolling = app(spark, "rolling-4.1");
    for id in [app(spark, "storage-4.1").as_str(), &rolling, string(&several["id"])] {
        let got = cli.json(id, &["logs", "out/logs.zip"]);
        assert_eq!(got, json!({"output": "out/logs.zip", "app_id": id}));
        let bytes = std::fs::read(cli.home.path().join("out/logs.zip")).expect("the zip");
        let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).expect("a zip");
        let path = format!("applications/{id}/logs");
        let recorded: Value = serde_json::from_str(&spark.lines[spark.by_path[&path]]).expect("JSON");
        let theirs: BTreeSet<&str> = list(&recorded["a"]["zip"])
            .iter()
            .map(|entry| string(&entry[0]))
            .collect();
        let names: BTreeSet<String> = zip.file_names().map(|name| name.expect("UTF-8").into_owned()).collect();
        assert!(names.iter().eq(&theirs), "{names:?}\n{theirs:?}");
        for name in names.iter().filter(|name| !name.ends_with('/')) {
            let mut packed = Vec::new();
            zip.by_name(name)
                .expect("an entry")
                .read_to_end(&mut packed)
                .expect("its bytes");
            assert!(
                packed == std::fs::read(cli.logs().join(name)).expect("the log"),
                "{name}"
            );
        }
    }
    let name = format!("eventLogs-{rolling}.zip");
    assert_eq!(cli.text(&rolling, &["logs"]), format!("Event logs saved to {name}\n"));
    assert!(cli.home.path().join(name).is_file());
}

/// The command prints the text of an error, which is Spark's.
fn errors(spark: &Spark, cli: &Cli) {
    let id = app(spark, "tasks-4.1");
    for (args, text) in [
        (vec!["app", "nobody"], "HTTP 404: unknown app: nobody"),
        (vec!["--app-id", "nobody", "jobs"], "HTTP 404: no such app: nobody"),
        (vec!["--app-id", &id, "job", "4711"], "HTTP 404: unknown job: 4711"),
        (vec!["--app-id", &id, "stage", "4711"], "HTTP 404: unknown stage: 4711"),
        (
            vec!["--app-id", &id, "rdd", "4711"],
            "HTTP 404: no rdd found w/ id 4711",
        ),
        (
            vec!["--app-id", &id, "sql", "4711"],
            "HTTP 404: unknown query execution id: 4711",
        ),
        (
            vec!["apps", "--min-date", "yesterday"],
            "HTTP 400: Couldn't parse date: yesterday",
        ),
    ] {
        let (code, stdout, stderr) = cli.run(&args);
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{args:?}: {stderr}");
        assert!(stderr.contains(text), "{args:?}: {stderr}");
    }
}

#[test]
fn the_prompt_of_spark_history_cli_works_through_a_session() {
    let (spark, cli) = (Spark::recorded(), Cli::start());
    let id = app(&spark, "tasks-4.1");
    let mut command = cli.prepared(&[]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command starts");
    let lines = [
        "version",
        &format!("app {id}"),
        "jobs",
        "job 0",
        "stages",
        "executors",
        "env",
        "summary",
        "status",
        "quit",
    ]
    .join("\n");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin
        .write_all(lines.as_bytes())
        .and_then(|()| stdin.write_all(b"\n"))
        .expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let shown = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !stderr.contains('✗'), "{stderr}\n{shown}");
    assert_line(&shown, &["Connected to", "Spark 4.1.0"]);
    assert_line(&shown, &["Current App", &id]);
    let jobs = spark.list(&format!("applications/{id}/jobs"));
    for job in &jobs {
        let tasks = format!("{}/{}", job["numCompletedTasks"], job["numTasks"]);
        assert_line(&shown, &[&job["jobId"].to_string(), string(&job["status"]), &tasks]);
    }
    assert_line(&shown, &["Jobs", &format!("{} (", jobs.len())]);
}
