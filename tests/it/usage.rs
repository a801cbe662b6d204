//! The command line as scripts and operators see it: exit codes, what standard error says, what standard output holds.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int32Type, TimeUnit, TimestampMicrosecondType};
use serde_json::Value;

use crate::support::pg::csv;
use crate::support::{Finished, fixtures, program, sparkgate};

/// Runs the program in an empty directory with variables.
fn run(args: &[&str], variables: &[(&str, &str)]) -> Finished {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let output = program(dir.path())
        .args(args)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    Finished {
        status: output.status,
        stdout: String::from_utf8(output.stdout).expect("standard output is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("standard error is UTF-8"),
    }
}

/// Fails unless the program ended with `code`, wrote nothing but one line, and that line has all of `words`.
fn says(args: &[&str], variables: &[(&str, &str)], code: i32, words: &[&str]) {
    let ended = run(args, variables);
    assert_eq!(ended.status.code(), Some(code), "{args:?}: {}", ended.stderr);
    assert_eq!(ended.stdout, "", "{args:?}");
    assert_eq!(
        ended.stderr.lines().count(),
        1,
        "{args:?}: not one line: {}",
        ended.stderr
    );
    assert!(ended.stderr.starts_with("sparkgate: "), "{args:?}: {}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "{args:?}: no {word:?} in {}", ended.stderr);
    }
}

/// A directory without logs, as text.
fn empty() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().to_str().expect("UTF-8").to_owned();
    (dir, path)
}

/// A path of the fixtures, as text.
fn logs() -> String {
    fixtures().join("logs").to_str().expect("UTF-8").to_owned()
}

#[test]
fn unknown_options_and_commands_are_named() {
    says(&["serve", "--colour", "x"], &[], 2, &["--colour", "unexpected"]);
    says(
        &["serve", ".", "--scan-intervall", "1s"],
        &[],
        2,
        &["--scan-intervall", "'--scan-interval'"],
    );
    says(&["serv"], &[], 2, &["'serv'", "'serve'"]);
    says(
        &["sql", ".", "--format", "xml", "-c", "SELECT 1"],
        &[],
        2,
        &["'xml'", "csv", "parquet"],
    );
    says(
        &["sql", ".", "-c", "SELECT 1", "-f", "x.sql"],
        &[],
        2,
        &["--command", "--file"],
    );
    says(&["sql", ".", "-c"], &[], 2, &["--command", "value"]);
}

#[test]
fn configuration_that_means_nothing_is_refused_by_name_with_the_nearest_key() {
    let (dir, logs) = empty();
    let path = dir.path().join("gate.toml");
    let file = path.to_str().expect("UTF-8");
    for (toml, words) in [
        (
            "[sources]\nscan_intervall = \"1s\"\n",
            &["gate.toml", "scan_intervall", "scan_interval"][..],
        ),
        ("[sorces]\npaths = [\"x\"]\n", &["gate.toml", "sorces", "[sources]"]),
        ("[pg]\nadr = \"127.0.0.1:0\"\n", &["[pg] adr", "[pg] addr"]),
        (
            "[ingest]\nthreads = \"many\"\n",
            &["gate.toml", "[ingest] threads", "many"],
        ),
        (
            "[sources]\nfollow_log_deletion = \"perhaps\"\n",
            &["[sources] follow_log_deletion", "perhaps"],
        ),
        (
            "[sources]\nscan_interval = \"soon\"\n",
            &["[sources] scan_interval", "soon"],
        ),
        ("[query]\nmemory_limit = -1\n", &["[query] memory_limit"]),
        ("[pg\n", &["gate.toml", "TOML"]),
    ] {
        fs::write(&path, toml).expect("a file in a temporary directory");
        says(&["check", &logs, "--config", file], &[], 2, words);
    }
    says(&["check", &logs, "--config", "nowhere.toml"], &[], 2, &["nowhere.toml"]);
}

#[test]
fn variables_that_mean_nothing_are_refused_by_name() {
    let (_dir, logs) = empty();
    let check = ["check", &logs];
    says(
        &check,
        &[("SPARKGATE_PG__ADR", "x")],
        2,
        &["SPARKGATE_PG__ADR", "SPARKGATE_PG__ADDR"],
    );
    says(&check, &[("SPARKGATE_COLOUR", "red")], 2, &["SPARKGATE_COLOUR"]);
    says(
        &check,
        &[("SPARKGATE_INGEST__THREADS", "many")],
        2,
        &["SPARKGATE_INGEST__THREADS", "many"],
    );
    let other = run(&check, &[("SPARK_HOME", "x"), ("PG_ADDR", "y")]);
    assert_eq!(other.status.code(), Some(0), "{}", other.stderr);
}

#[test]
fn a_source_that_is_missing_or_not_given_is_wrong_usage() {
    for command in ["serve", "check"] {
        says(&[command], &[], 2, &["no source is given"]);
        says(&[command, "no/such/dir"], &[], 2, &["no/such/dir", "does not exist"]);
        says(
            &[command, "gopher://host/logs"],
            &[],
            2,
            &["gopher://", "nothing is known"],
        );
    }
    says(&["sql", "-c", "SELECT 1"], &[], 2, &["no source is given"]);
    says(&["sql", "no/such/dir", "-c", "SELECT 1"], &[], 2, &["no/such/dir"]);
}

#[test]
fn doors_that_cannot_open_are_named() {
    let (_dir, logs) = empty();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("an address").to_string();
    let doors = [
        ["--pg", "--flight", "--http"],
        ["--flight", "--http", "--pg"],
        ["--http", "--pg", "--flight"],
    ];
    for [door, other, third] in doors {
        let args = ["serve", &logs, door, &addr, other, "off", third, "off"];
        says(&args, &[], 1, &[&addr, "in use", door]);
    }
    for open in ["0.0.0.0:5433", "[::]:5433", "192.168.0.1:5433"] {
        for [door, other, third] in doors {
            let args = ["serve", &logs, door, open, other, "off", third, "off"];
            says(&args, &[], 2, &[door, open, "nobody could log in"]);
        }
    }
    let from_outside = [("SPARKGATE_PG__ADDR", "0.0.0.0:1")];
    says(
        &["serve", &logs, "--flight", "off", "--http", "off"],
        &from_outside,
        2,
        &["SPARKGATE_PG__ADDR", "0.0.0.0:1"],
    );
    let none = ["serve", &logs, "--pg", "off", "--flight", "off", "--http", "off"];
    says(&none, &[], 2, &["no door is open"]);
    says(&["serve", &logs, "--pg", "5433"], &[], 2, &["--pg", "5433"]);
}

#[test]
fn statements_that_fail_end_with_1_and_say_where() {
    let (_dir, logs) = empty();
    let fails = |sql: &str, words: &[&str]| says(&["sql", &logs, "-c", sql], &[], 1, words);
    fails("SELEC 1", &["syntax", "SELEC"]);
    fails("SELECT * FROM nowhere", &["nowhere"]);
    fails("SELECT nothing FROM tasks", &["nothing"]);
    fails("SELECT 1 / 0", &["division by zero"]);
    fails("DROP TABLE tasks", &["read-only"]);
    let second = run(
        &[
            "sql",
            &logs,
            "--format",
            "csv",
            "-c",
            "SELECT 1 AS a; SELECT 1 / 0 AS b",
        ],
        &[],
    );
    assert_eq!(second.status.code(), Some(1));
    assert_eq!(
        second.stdout.lines().take(2).collect::<Vec<_>>(),
        ["a", "1"],
        "what was answered is there"
    );
    assert!(
        second.stderr.starts_with("sparkgate: statement 2: division by zero"),
        "{}",
        second.stderr
    );
    for format in ["arrow", "parquet"] {
        let two = ["sql", &logs, "--format", format, "-c", "SELECT 1; SELECT 2"];
        says(&two, &[], 2, &["2 statements", "one at a time"]);
    }
    says(&["sql", &logs, "-c", " ; "], &[], 2, &["no statement"]);
}

/// A number, an instant, a text with a comma and quotes, NULL, an empty text, a list and a struct.
const AWKWARD: &str = "select n::int as n, arrow_cast(timestamp '2026-11-21 06:00:00', 'Timestamp(Microsecond, Some(\"UTC\"))') as t, \
    'say \"hi\", you' as s, null::text as nothing, '' as empty, [n, 2] as list, named_struct('a', n) as st \
    from generate_series(1, 3) g(n) order by n";

fn formatted(format: &str) -> Vec<u8> {
    let (_dir, logs) = empty();
    let cache = tempfile::tempdir().expect("a temporary directory");
    let output = program(cache.path())
        .args(["sql", &logs, "--format", format, "-c", AWKWARD])
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn row(n: i64) -> Value {
    serde_json::json!({
        "n": n, "t": "2026-11-21T06:00:00.000Z", "s": "say \"hi\", you", "nothing": null, "empty": "",
        "list": [n, 2], "st": {"a": n},
    })
}

#[test]
fn text_formats_can_be_parsed() {
    let expected: Vec<Value> = (1..=3).map(row).collect();
    let json: Vec<Value> = serde_json::from_slice(&formatted("json")).expect("one array");
    assert_eq!(json, expected);

    let ndjson = String::from_utf8(formatted("ndjson")).expect("UTF-8");
    let lines: Vec<Value> = ndjson
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object a line"))
        .collect();
    assert_eq!(lines, expected);

    let rows = csv(&String::from_utf8(formatted("csv")).expect("UTF-8"));
    let cell = |text: &str| Some(text.to_owned());
    assert_eq!(rows[0], ["n", "t", "s", "nothing", "empty", "list", "st"].map(cell));
    let third = [
        "3",
        "2026-11-21T06:00:00.000Z",
        "say \"hi\", you",
        "NULL",
        "",
        "[3,2]",
        "{\"a\":3}",
    ];
    assert_eq!(
        rows[3],
        third.map(|text| if text == "NULL" { None } else { cell(text) })
    );
    assert_eq!(rows.len(), 4);

    let table = String::from_utf8(formatted("table")).expect("UTF-8");
    assert!(
        table.lines().count() >= 5 && table.contains("say \"hi\", you"),
        "{table}"
    );
}

fn assert_columns(batches: &[RecordBatch]) {
    let batch = arrow::compute::concat_batches(&batches[0].schema(), batches).expect("one schema");
    assert_eq!(batch.num_rows(), 3);
    let numbers = batch["n"].as_primitive::<Int32Type>();
    assert_eq!(numbers.values(), &[1, 2, 3]);
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    assert_eq!(batch["t"].data_type(), &utc);
    assert_eq!(
        batch["t"].as_primitive::<TimestampMicrosecondType>().value(0),
        1_795_240_800_000_000
    );
    assert_eq!(batch["s"].as_string::<i32>().value(2), "say \"hi\", you");
    assert_eq!(batch["nothing"].null_count(), 3);
    assert_eq!(batch["empty"].as_string::<i32>().value(0), "");
    assert_eq!(batch["list"].as_list::<i32>().value(2).len(), 2);
    assert_eq!(batch["st"].as_struct().num_columns(), 1);
}

#[test]
fn arrow_is_a_stream_that_the_arrow_crate_reads() {
    let bytes = formatted("arrow");
    let reader = arrow::ipc::reader::StreamReader::try_new(bytes.as_slice(), None).expect("a stream");
    assert_columns(&reader.collect::<Result<Vec<_>, _>>().expect("whole batches"));
}

#[test]
fn parquet_is_a_file_that_the_parquet_crate_reads() {
    let bytes = bytes::Bytes::from(formatted("parquet"));
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes).expect("a file");
    let batches: Result<Vec<_>, _> = reader.build().expect("a reader").collect();
    assert_columns(&batches.expect("whole batches"));
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let cache = tempfile::tempdir().expect("a temporary directory");
    for format in ["csv", "ndjson", "json", "table", "arrow", "parquet"] {
        let sql = "select * from events cross join generate_series(1, 20)";
        let mut child = program(cache.path())
            .args(["sql", &logs(), "--format", format, "-c", sql])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut first = Vec::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        // The first bytes, as `head` reads them.
        if ["arrow", "parquet"].contains(&format) {
            let mut some = [0; 4];
            stdout.read_exact(&mut some).expect("some bytes");
            first.extend(some);
        } else {
            stdout.read_until(b'\n', &mut first).expect("a line");
        }
        assert!(!first.is_empty(), "{format}");
        drop(stdout);
        let mut stderr = String::new();
        let mut pipe = child.stderr.take().expect("piped");
        pipe.read_to_string(&mut stderr).expect("UTF-8");
        let status = child.wait().expect("our child");
        assert_eq!((status.code(), stderr.as_str()), (Some(0), ""), "{format}");
    }
}

#[test]
fn statements_come_from_a_file_or_from_standard_input() {
    let (dir, logs) = empty();
    let file = dir.path().join("two.sql");
    fs::write(&file, "-- a comment; with a semicolon\nselect 1 as a;\nselect ';' as b").expect("a new file");
    let by_file = sparkgate([
        OsStr::new("sql"),
        logs.as_ref(),
        "--format".as_ref(),
        "ndjson".as_ref(),
        "-f".as_ref(),
        file.as_os_str(),
    ]);
    assert_eq!(by_file.rows().len(), 2, "{by_file:?}");
    assert_eq!(by_file.stdout, "{\"a\":1}\n{\"b\":\";\"}\n");
    let piped = program(dir.path())
        .args(["sql", &logs, "--format", "ndjson"])
        .stdin(fs::File::open(&file).expect("the file"))
        .output()
        .expect("the program starts");
    assert_eq!(String::from_utf8_lossy(&piped.stdout), by_file.stdout);
    assert!(Path::new(&logs).is_dir(), "nothing was written or removed");
}
