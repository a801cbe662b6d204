//! A column cache of its own, the program over it, and all rows that statements see.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::{Finished, Server, fixtures, program, say, shared, text};

/// What a statement says of the only scan of its process.
const SCAN: &str =
    "select new_logs, grown_logs, restored_logs, removed_logs, failed_logs, read_bytes, commits from system.scans";
/// Commits that are merged before a server starts: more than make a merge due.
const PARTS: usize = 9;
/// Letters of a row that are shown where it should not be, or should.
const SHOWN: usize = 300;
/// State of every log, without the time that it was read.
const LOGS: &str = "select path, status, lines, events, unknown_events, malformed_lines, size_bytes, app_id, attempt_id, error \
                    from system.event_logs";

/// Rows of every table, as text and in order, and of `system.event_logs`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Everything(BTreeMap<String, Vec<String>>);

impl Everything {
    pub(crate) fn count(&self, table: &str) -> usize {
        self.0.get(table).map_or(0, Vec::len)
    }

    pub(crate) fn rows(&self, table: &str) -> &[String] {
        self.0.get(table).map_or(&[], Vec::as_slice)
    }

    /// With another text in place of one, such as where the logs lie.
    pub(crate) fn replaced(self, from: &str, to: &str) -> Everything {
        let rows = |rows: Vec<String>| {
            let mut rows: Vec<String> = rows.into_iter().map(|row| row.replace(from, to)).collect();
            rows.sort();
            rows
        };
        Everything(self.0.into_iter().map(|(table, all)| (table, rows(all))).collect())
    }

    /// Fails with the first rows of each table that only one side has.
    pub(crate) fn assert_same(&self, expected: &Everything, what: &str) {
        let mut differences = Vec::new();
        for (table, expected) in &expected.0 {
            let got = self.rows(table);
            if got == expected {
                continue;
            }
            let only = |a: &[String], b: &[String]| {
                let row = a.iter().find(|row| !b.contains(row))?;
                Some(row.chars().take(SHOWN).collect::<String>())
            };
            differences.push(format!(
                "{table}: {} rows instead of {}\n  only here: {:?}\n  missing:   {:?}",
                got.len(),
                expected.len(),
                only(got, expected),
                only(expected, got)
            ));
        }
        assert!(differences.is_empty(), "{what}:\n{}", differences.join("\n"));
    }
}

/// What the first scan of a process read.
#[derive(Debug)]
pub(crate) struct Scan(Map<String, Value>);

impl Scan {
    pub(crate) fn number(&self, column: &str) -> i64 {
        self.0[column]
            .as_i64()
            .unwrap_or_else(|| panic!("{column} of {self:?}"))
    }

    /// Nothing was read, nothing written.
    pub(crate) fn assert_idle(&self, what: &str) {
        for column in ["new_logs", "grown_logs", "failed_logs", "read_bytes", "commits"] {
            assert_eq!(self.number(column), 0, "{what}: {column} of {self:?}");
        }
    }
}

/// A cache in a directory of its own.
#[derive(Debug)]
pub(crate) struct Columns {
    dir: tempfile::TempDir,
}

impl Columns {
    pub(crate) fn new() -> Columns {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Columns { dir }
    }

    /// Where the files of the cache are.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("columns")
    }

    pub(crate) fn option(&self) -> [String; 2] {
        ["--cache".to_owned(), self.path().to_str().expect("UTF-8").to_owned()]
    }

    /// `sparkgate COMMAND LOGS --cache … REST`, to its end.
    pub(crate) fn run(&self, command: &[&str], logs: &Path, rest: &[&str]) -> Finished {
        run(self.dir.path(), command, logs, &self.option(), rest)
    }

    /// As [`Self::run`], which must end well; its standard output.
    pub(crate) fn well(&self, command: &[&str], logs: &Path, rest: &[&str]) -> String {
        let ended = self.run(command, logs, rest);
        assert!(ended.status.success(), "{command:?}: {}", ended.stderr);
        ended.stdout
    }

    pub(crate) fn ingest(&self, logs: &Path) -> String {
        self.well(&["ingest"], logs, &[])
    }

    pub(crate) fn compact(&self, logs: &Path) {
        self.well(&["cache", "compact"], logs, &[]);
    }

    /// `name -> first word` of `cache status`.
    pub(crate) fn status(&self, logs: &Path) -> BTreeMap<String, u64> {
        let printed = self.well(&["cache", "status"], logs, &[]);
        let number = |line: &str| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
        };
        printed.lines().filter_map(number).collect()
    }

    /// All rows that a process of its own sees, and what it read for that.
    pub(crate) fn everything(&self, logs: &Path, rest: &[&str]) -> (Everything, Scan) {
        let seen = self.everything_or_error(logs, rest);
        seen.unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`Self::everything`], or what the process said.
    pub(crate) fn everything_or_error(&self, logs: &Path, rest: &[&str]) -> Result<(Everything, Scan), String> {
        everything(self.dir.path(), logs, &self.option(), rest)
    }

    pub(crate) fn serve(&self, logs: &Path, rest: &[&str]) -> Server {
        let option = self.option();
        let options: Vec<&str> = option.iter().map(String::as_str).chain(rest.iter().copied()).collect();
        Server::start_with(logs, &options)
    }

    /// A server that reads no log: another process did, one part of the logs after the other, and merged what that wrote.
    pub(crate) fn restarted_on_compacted(&self, logs: &Path) -> Server {
        let away = tempfile::tempdir_in(logs.parent().expect("a directory has one")).expect("a temporary directory");
        let entries = fs::read_dir(logs)
            .expect("the logs")
            .map(|entry| entry.expect("an entry"));
        let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        names.sort();
        for name in &names {
            fs::rename(logs.join(name), away.path().join(name)).expect("the same file system");
        }
        for part in names.chunks(names.len().div_ceil(PARTS)) {
            for name in part {
                fs::rename(away.path().join(name), logs.join(name)).expect("the same file system");
            }
            // Logs that cannot be read are its failure.
            self.run(&["ingest"], logs, &[]);
        }
        self.compact(logs);
        let merged = self.run(
            &["sql"],
            logs,
            &[
                "--format",
                "ndjson",
                "-c",
                "select max(level) as level from system.segments",
            ],
        );
        assert!(merged.rows()[0]["level"].as_i64() > Some(0), "nothing was merged");
        self.serve(logs, &[])
    }

    /// Files below a folder of the cache, in order of name.
    pub(crate) fn files(&self, folder: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        files_below(&self.path().join(folder), &mut found);
        found.sort();
        found
    }
}

/// All rows of a process that keeps them in memory.
pub(crate) fn everything_in_memory(logs: &Path) -> Everything {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let off = ["--cache".to_owned(), "off".to_owned()];
    let seen = everything(dir.path(), logs, &off, &[]);
    seen.unwrap_or_else(|error| panic!("{error}")).0
}

/// As [`everything_in_memory`], of any source, with more options.
pub(crate) fn everything_of(source: &Path, options: &[&str]) -> Everything {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let off = ["--cache".to_owned(), "off".to_owned()];
    let seen = everything(dir.path(), source, &off, options);
    seen.unwrap_or_else(|error| panic!("{error}")).0
}

fn run(home: &Path, command: &[&str], logs: &Path, cache: &[String; 2], rest: &[&str]) -> Finished {
    let output = program(home)
        .args(command)
        .arg(logs)
        .args(cache)
        .args(rest)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    Finished::of(output)
}

fn everything(home: &Path, logs: &Path, cache: &[String; 2], rest: &[&str]) -> Result<(Everything, Scan), String> {
    let tables = sparkgate::table::all();
    let statements = tables.iter().map(|table| {
        let name = table.sql_name();
        format!("select '{name}' as rows_of_table; select * from {name};\n")
    });
    let mut sql: String = statements.collect();
    sql += &format!("select 'system.event_logs' as rows_of_table; {LOGS};\n");
    sql += &format!("select 'scan' as rows_of_table; {SCAN};");
    let arguments = [&["--format", "ndjson", "-c", &sql], rest].concat();
    let ended = run(home, &["sql"], logs, cache, &arguments);
    match ended.status.code() {
        Some(0) => {}
        Some(1) => return Err(ended.stderr),
        _ => panic!("{}: {}", ended.status, ended.stderr),
    }
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut rows = &mut Vec::new();
    for line in ended.stdout.lines() {
        match line
            .strip_prefix("{\"rows_of_table\":\"")
            .and_then(|rest| rest.strip_suffix("\"}"))
        {
            Some(table) => rows = all.entry(table.to_owned()).or_default(),
            None => rows.push(line.to_owned()),
        }
    }
    all.values_mut().for_each(|rows| rows.sort());
    let scan = all.remove("scan").expect("the statement was run");
    let scan = serde_json::from_str(&scan[0]).expect("a row");
    Ok((Everything(all), Scan(scan)))
}

fn files_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Every set of logs that is there, each with a name.
pub(crate) fn all_logs() -> Vec<(&'static str, PathBuf)> {
    let mut all = vec![
        ("fixtures/logs", fixtures().join("logs")),
        ("fixtures/damaged", fixtures().join("damaged")),
    ];
    match shared() {
        Some(shared) => all.extend([
            ("shared/spark-logs", shared.join("spark-logs")),
            ("shared/spark-conformance", shared.join("spark-conformance/events")),
        ]),
        None => say("cache: nothing shared beside the checkout; only the fixtures were compared"),
    }
    all
}

/// A copy of some logs that were last written two hours ago: nothing there grows.
pub(crate) fn idle_copy(logs: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a temporary directory");
    super::copy_logs(logs, copy.path(), &[]);
    let mut files = Vec::new();
    files_below(copy.path(), &mut files);
    for file in files {
        written_ago(&file, Duration::from_secs(7200));
    }
    copy
}

/// Sets when a file was last written.
pub(crate) fn written_ago(file: &Path, ago: Duration) {
    let times = fs::FileTimes::new().set_modified(SystemTime::now() - ago);
    let file = fs::File::options().append(true).open(file).expect("a file of ours");
    file.set_times(times).expect("our file");
}

/// A short, whole application with another id.
pub(crate) fn log_of(app_id: &str) -> String {
    let text = fs::read_to_string(fixtures().join("damaged/local-good")).expect("the good log is there");
    text.replace("\"App ID\":\"local-good\"", &format!("\"App ID\":\"{app_id}\""))
}

/// The damaged fixtures, idle, and more: one whose bytes cannot be decoded any further, two logs of one attempt, one that never ended.
pub(crate) fn damaged_logs() -> tempfile::TempDir {
    let logs = idle_copy(&fixtures().join("damaged"));
    let part = |app_id: &str, lines: usize| log_of(app_id).split_inclusive('\n').take(lines).collect::<String>();
    let frame = |text: &str| zstd::encode_all(text.as_bytes(), 1).expect("some text");
    let more = [
        ("twin", log_of("local-good").into_bytes()),
        ("running.inprogress", part("running", 12).into_bytes()),
        ("nothing", Vec::new()),
        (
            "undecodable.zstd",
            [frame(&part("undecodable", 18)), vec![0x55; 300]].concat(),
        ),
        (
            "undecodable-growing.zstd.inprogress",
            [frame(&part("undecodable-growing", 15)), vec![0x55; 300]].concat(),
        ),
        ("never-decodable.zstd", vec![0x55; 300]),
    ];
    for (name, bytes) in more {
        let path = logs.path().join(name);
        fs::write(&path, bytes).expect("room");
        written_ago(&path, Duration::from_secs(7200));
    }
    logs
}

/// Numbers that look random and are the same in every run.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Below `sides`.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % sides as u64).expect("it is below a usize")
    }
}

/// The states of logs, by the last part of their paths.
pub(crate) fn states(everything: &Everything) -> BTreeMap<String, String> {
    let rows = everything.rows("system.event_logs").iter();
    let parsed = rows.map(|row| serde_json::from_str::<Map<String, Value>>(row).expect("a row"));
    parsed
        .map(|row| {
            let path: &OsStr = Path::new(text(&row, "path")).file_name().unwrap_or_default();
            (path.to_string_lossy().into_owned(), text(&row, "status").to_owned())
        })
        .collect()
}
