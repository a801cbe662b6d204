//! The fold itself, on every fixture log: cut anywhere it gives what it gives whole, parsed ahead or line by line, and what is
//! left out before parsing is what no table shows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{concat_batches, sort_to_indices, take_record_batch};
use serde_json::Value;
use sparkgate::event::{event_name, task};
use sparkgate::event_log::{EventLog, LocalStore, LogReader, LogStore, discover};
use sparkgate::history::AttemptRows;
use sparkgate::replay::{Acl, LiveApplication, ParsedBlock, ReplayReport, Retold};

use crate::support::{fixtures, shared};

/// Logs of a directory with their text, as far as it can be read.
async fn texts(dir: &Path) -> Vec<(Arc<EventLog>, Vec<u8>)> {
    let store: Arc<dyn LogStore> = Arc::new(LocalStore);
    let found = discover(&*store, dir.to_str().expect("UTF-8"))
        .await
        .expect("the fixtures");
    let mut logs = Vec::new();
    for log in found.logs {
        let log = Arc::new(log);
        let mut reader = LogReader::new(Arc::clone(&store), Arc::clone(&log));
        let mut text = Vec::new();
        while let Ok(Some(block)) = reader.next_block().await {
            text.extend_from_slice(&block.bytes);
        }
        text.extend_from_slice(reader.tail());
        logs.push((log, text));
    }
    logs
}

/// Logs of a directory with their lines.
async fn logs(dir: &str) -> Vec<(Arc<EventLog>, Vec<Vec<u8>>)> {
    let texts = texts(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)).await;
    let lines = |text: Vec<u8>| {
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(<[u8]>::to_vec).collect()
    };
    texts.into_iter().map(|(log, text)| (log, lines(text))).collect()
}

/// The tables, each in one batch: where batches end says nothing.
fn tables(rows: Option<AttemptRows>) -> Vec<(&'static str, RecordBatch)> {
    let tables = rows.into_iter().flat_map(|rows| rows.tables);
    tables
        .map(|(name, batches)| {
            (
                name,
                concat_batches(&batches[0].schema(), &batches).expect("one schema"),
            )
        })
        .collect()
}

#[tokio::test]
async fn a_log_cut_at_any_event_gives_the_rows_of_the_whole_log() {
    let mut cuts = 0;
    for (log, lines) in logs("tests/fixtures/logs").await {
        let mut whole = LiveApplication::new();
        lines.iter().for_each(|line| whole.apply_line(line));
        let expected = tables(whole.rows(&log));
        assert!(!expected.is_empty(), "{} has rows", log.path);
        // Every event of the small logs; a longer one at 60 places.
        for cut in (0..lines.len()).step_by(lines.len().div_ceil(60)) {
            let mut live = LiveApplication::new();
            lines[..cut].iter().for_each(|line| live.apply_line(line));
            let _ = live.rows(&log);
            lines[cut..].iter().for_each(|line| live.apply_line(line));
            assert_eq!(live.report(), whole.report(), "{} cut at {cut}", log.path);
            assert!(
                tables(live.rows(&log)) == expected,
                "{} cut at {cut} gives other rows",
                log.path
            );
            cuts += 1;
        }
    }
    assert!(cuts > 500, "only {cuts} cuts");
}

/// The report and the tables of lines that are folded one by one.
fn folded_by_line(log: &Arc<EventLog>, text: &[u8]) -> (ReplayReport, Vec<(&'static str, RecordBatch)>) {
    let mut live = LiveApplication::new();
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.split(|byte| *byte == b'\n').for_each(|line| live.apply_line(line));
    (live.report().clone(), tables(live.rows(log)))
}

/// The same of blocks of about `size` bytes; they are parsed on two threads, the later ones first.
fn folded_by_block(log: &Arc<EventLog>, text: &[u8], size: usize) -> (ReplayReport, Vec<(&'static str, RecordBatch)>) {
    let mut blocks = vec![Vec::new()];
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if blocks.last().is_none_or(|block| block.len() >= size) {
            blocks.push(Vec::new());
        }
        blocks.last_mut().expect("there is one").extend_from_slice(line);
    }
    let (early, late) = blocks.split_at(blocks.len() / 2);
    let parse = |blocks: &[Vec<u8>]| {
        let parsed = blocks
            .iter()
            .rev()
            .map(|block| ParsedBlock::parse(block.clone().into(), None));
        parsed.collect::<Vec<_>>()
    };
    let (early, late) = std::thread::scope(|scope| {
        let late = scope.spawn(|| parse(late));
        (parse(early), late.join().expect("parsing does not panic"))
    });
    let mut live = LiveApplication::new();
    for mut block in early.into_iter().rev().chain(late.into_iter().rev()) {
        live.apply_block(&mut block);
    }
    (live.report().clone(), tables(live.rows(log)))
}

/// Every directory with logs: ours, whole and damaged, and those beside the checkout.
fn all_logs() -> Vec<PathBuf> {
    let mut all = vec![fixtures().join("logs"), fixtures().join("damaged")];
    if let Some(shared) = shared() {
        all.push(shared.join("spark-logs"));
        all.push(shared.join("spark-conformance/events"));
        let broken = std::fs::read_dir(shared.join("spark-conformance/broken")).expect("broken logs");
        all.extend(
            broken
                .map(|entry| entry.expect("an entry").path())
                .filter(|path| path.is_dir()),
        );
    }
    all
}

#[tokio::test]
async fn blocks_that_were_parsed_ahead_give_the_rows_and_the_report_of_their_lines() {
    let (mut compared, mut chance) = (0, Chance(2));
    for dir in all_logs() {
        for (log, text) in texts(&dir).await {
            let expected = folded_by_line(&log, &text);
            for size in [1, 1000, 50_000, usize::MAX] {
                // A block for each line takes long where there are many lines, and says no more.
                let size = size.max(text.len() / 2000);
                assert!(
                    folded_by_block(&log, &text, size) == expected,
                    "{} in blocks of {size} bytes gives something else",
                    log.path
                );
                compared += 1;
            }
            if text.len() > 2_000_000 {
                continue;
            }
            let mut lines: Vec<Vec<u8>> = text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            for line in &mut lines {
                if !line.is_empty() && chance.below(3) == 0 {
                    damage(line, &mut chance);
                }
            }
            for odd in ODD_LINES {
                lines.insert(chance.below(lines.len()), odd.to_vec());
            }
            let text = lines.join(&b'\n');
            let expected = folded_by_line(&log, &text);
            assert!(expected.0.malformed_lines > 0);
            assert!(
                folded_by_block(&log, &text, 1000) == expected,
                "{} with damage gives something else in blocks",
                log.path
            );
            compared += 1;
        }
    }
    assert!(compared > 200, "only {compared} compared");
}

/// What is wrong with lines, beside what [`damage`] does: blank, no text, half a surrogate pair, a number of another kind, a
/// doubled key, something behind the event, another order, an event that nobody knows.
const ODD_LINES: [&[u8]; 12] = [
    b"",
    b"\r",
    b" \t ",
    b"\xff\xfe",
    b"null",
    br#"{"Event":"SparkListenerTaskEnd"}"#,
    b"{\"Event\":\"SparkListenerUnpersistRDD\",\"RDD ID\":1,\"x\":\"\xff\"}",
    br#"{"Event":"SparkListenerExecutorRemoved","Timestamp":1.5e3,"Executor ID":"\ud800","Removed Reason":"r"}"#,
    br#"{"Event":"SparkListenerUnpersistRDD","RDD ID":1,"RDD ID":2}"#,
    br#"{"Event":"SparkListenerUnpersistRDD","RDD ID":1} {"more":1}"#,
    br#"{"Timestamp":7,"Event":"SparkListenerApplicationEnd"}"#,
    br#"{"Event":"com.example.Unknown","x":1}"#,
];

#[tokio::test]
async fn only_accumulators_that_no_table_shows_are_left_out_before_parsing() {
    let mut ends = 0;
    for (log, lines) in logs("tests/fixtures/logs").await {
        for line in lines
            .iter()
            .filter(|line| event_name(line).is_ok_and(|name| name == "SparkListenerTaskEnd"))
        {
            let (mut compacted, mut updates) = (Vec::new(), Vec::new());
            let shortened = task::compact(line, &mut compacted, &mut updates);
            if !shortened {
                compacted.extend_from_slice(line);
            }
            // The last line of a killed application may be cut.
            let Ok(mut expected) = serde_json::from_slice::<Value>(line) else {
                continue;
            };
            if let Some(Value::Array(all)) = expected.pointer_mut("/Task Info/Accumulables") {
                let of_sql: Vec<(i64, i64)> = all
                    .iter()
                    .filter(|one| one["Metadata"] == "sql")
                    .map(|one| {
                        (
                            one["ID"].as_i64().unwrap(),
                            one["Update"].as_str().unwrap().parse().unwrap(),
                        )
                    })
                    .collect();
                assert_eq!(updates, of_sql, "{}", log.path);
                all.retain(|one| one["Internal"] != Value::Bool(true) && one["Metadata"] != "sql");
            }
            let got: Value = serde_json::from_slice(&compacted).unwrap();
            assert_eq!(got, expected, "{}", log.path);
            ends += 1;
        }
    }
    assert!(ends > 100, "only {ends} task ends");
}

#[tokio::test]
async fn a_task_that_a_log_tells_of_twice_is_one_row_and_the_later_one_holds() {
    let (log, lines) = logs("tests/fixtures/logs")
        .await
        .into_iter()
        .find(|(_, lines)| lines.len() > 30)
        .unwrap();
    let about_tasks = |line: &&Vec<u8>| event_name(line).is_ok_and(|name| name.starts_with("SparkListenerTask"));
    let mut live = LiveApplication::new();
    lines.iter().for_each(|line| live.apply_line(line));
    let once = tables(live.rows(&log))
        .into_iter()
        .find(|(name, _)| *name == "tasks")
        .unwrap()
        .1
        .num_rows();
    lines.iter().filter(about_tasks).for_each(|line| live.apply_line(line));
    let twice = tables(live.rows(&log))
        .into_iter()
        .find(|(name, _)| *name == "tasks")
        .unwrap()
        .1
        .num_rows();
    assert_eq!(twice, once);
}

/// Numbers that are the same in every run (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(bound.max(1)).expect("small")).expect("below a usize")
    }
}

/// Damages a line as disks, editors and bugs do: bytes change, go, are doubled; numbers become extreme.
fn damage(line: &mut Vec<u8>, chance: &mut Chance) {
    let at = chance.below(line.len());
    match chance.below(5) {
        0 => line[at] = u8::try_from(chance.below(256)).expect("below 256"),
        1 => line.truncate(at),
        2 => {
            line.remove(at);
        }
        3 => line.insert(at, b"0\"{}[],:\\9-"[chance.below(11)]),
        _ => {
            let Some(start) = (at..line.len()).find(|i| line[*i].is_ascii_digit()) else {
                return;
            };
            let end = (start..line.len())
                .find(|i| !line[*i].is_ascii_digit())
                .unwrap_or(line.len());
            let extreme = [
                "0",
                "-1",
                "9223372036854775807",
                "-9223372036854775808",
                "2147483647",
                "1e3",
                "null",
            ];
            line.splice(start..end, extreme[chance.below(extreme.len())].bytes());
        }
    }
}

/// Swaps, doubles, drops and damages a quarter of the lines.
fn scramble(lines: &mut Vec<Vec<u8>>, chance: &mut Chance) {
    for _ in 0..lines.len() / 4 {
        let at = chance.below(lines.len());
        match chance.below(4) {
            0 => {
                let other = chance.below(lines.len());
                lines.swap(at, other);
            }
            1 => lines.insert(at, lines[chance.below(lines.len())].clone()),
            2 => {
                lines.remove(at);
            }
            _ => {
                if !lines[at].is_empty() {
                    damage(&mut lines[at], chance);
                }
            }
        }
    }
}

#[tokio::test]
async fn no_damage_and_no_order_of_events_makes_the_fold_panic_and_every_line_is_accounted_for() {
    let mut chance = Chance(1);
    for (log, lines) in logs("tests/fixtures/logs").await {
        if lines.len() > 2000 {
            continue;
        }
        for _ in 0..20 {
            let mut lines = lines.clone();
            scramble(&mut lines, &mut chance);
            let mut live = LiveApplication::new();
            lines.iter().for_each(|line| live.apply_line(line));
            let _ = live.rows(&log);
            let report = live.report();
            let unknown: u64 = report.unknown_events.values().sum();
            assert!(report.lines >= report.events + unknown, "{report:?}");
            assert!(
                report.lines <= report.events + unknown + report.malformed_lines,
                "{report:?}"
            );
        }
    }
}

/// The tables, each in one batch, and that of tasks by their ids: taking changes their order.
fn tables_by_task(rows: Option<AttemptRows>) -> Vec<(&'static str, RecordBatch)> {
    let mut tables = tables(rows);
    for (_, tasks) in tables.iter_mut().filter(|(name, _)| *name == "tasks") {
        let ids = tasks.column_by_name("task_id").expect("tasks have ids");
        let order = sort_to_indices(ids, None, None).expect("ids can be sorted");
        *tasks = take_record_batch(tasks, &order).expect("every row once");
    }
    tables
}

/// A log that is read as the history reads it: ended tasks are taken every few lines.
struct Taking {
    live: LiveApplication,
    taken: Vec<RecordBatch>,
    lines: usize,
}

impl Taking {
    /// Reads all lines; again with what the first reading found where that is asked for. Then no third one is.
    fn read(lines: &[Vec<u8>], every: usize) -> (Self, bool) {
        let mut first = Taking::new(None);
        first.go_on(lines, every);
        match first.live.retold() {
            None => (first, false),
            Some(retold) => {
                let mut second = Taking::new(Some(retold));
                second.go_on(lines, every);
                assert_eq!(second.live.retold(), None, "a second reading of the same log holds");
                assert!(!second.live.is_retold());
                (second, true)
            }
        }
    }

    fn new(retold: Option<Retold>) -> Self {
        let live = retold.map_or_else(LiveApplication::new, LiveApplication::knowing);
        Taking {
            live: live.with_task_batches_of(3),
            taken: Vec::new(),
            lines: 0,
        }
    }

    fn go_on(&mut self, lines: &[Vec<u8>], every: usize) {
        for line in lines {
            self.live.apply_line(line);
            self.lines += 1;
            if self.lines.is_multiple_of(every) {
                self.taken.extend(self.live.take_tasks());
            }
        }
    }

    /// What was taken and what is left.
    fn tables(&mut self, log: &Arc<EventLog>) -> Vec<(&'static str, RecordBatch)> {
        let mut rows = self.live.rows(log);
        assert!(rows.is_some() || self.taken.is_empty(), "nothing is taken for nobody");
        if let Some(rows) = rows.as_mut().filter(|_| !self.taken.is_empty()) {
            let tasks = rows.tables.entry("tasks").or_default();
            tasks.splice(..0, self.taken.iter().cloned());
        }
        tables_by_task(rows)
    }
}

#[tokio::test]
async fn taking_ended_tasks_at_any_moment_changes_no_row_of_any_log() {
    let mut chance = Chance(3);
    let (mut taken, mut again, mut kept) = (0, 0, 0);
    for (log, lines) in logs("tests/fixtures/logs").await {
        let mut variants = vec![lines.clone(), [lines.clone(), lines.clone()].concat()];
        // Another application, another attempt and none, from a place in the middle on.
        for (name, other) in [
            (r#""App ID":""#, r#""App ID":"other-"#),
            (r#""App ID":""#, r#""Old ID":""#),
            (r#""User":""#, r#""User":"other-"#),
        ] {
            let start = lines
                .iter()
                .find(|line| event_name(line).is_ok_and(|name| name == "SparkListenerApplicationStart"));
            let start = String::from_utf8(start.expect("a start").clone()).expect("UTF-8");
            let changed = start.replace(name, other);
            assert_ne!(changed, start);
            let mut lines = lines.clone();
            lines.insert(lines.len() * 2 / 3, changed.into_bytes());
            variants.push(lines);
        }
        if lines.len() < 2000 {
            for _ in 0..5 {
                let mut lines = lines.clone();
                scramble(&mut lines, &mut chance);
                variants.push(lines);
            }
        }
        for (variant, lines) in variants.iter().enumerate() {
            let mut whole = LiveApplication::new();
            lines.iter().for_each(|line| whole.apply_line(line));
            let expected = tables_by_task(whole.rows(&log));
            for every in [1, 2, 50] {
                let (mut taking, retold) = Taking::read(lines, every);
                taken += taking.taken.len();
                again += usize::from(retold);
                kept += usize::from(!retold);
                assert_eq!(taking.live.report(), whole.report());
                assert!(
                    taking.tables(&log) == expected,
                    "{} variant {variant}, taken every {every} lines",
                    log.path
                );
            }
            assert!(variant != 0 || !Taking::read(lines, 1).1, "{} is read once", log.path);
        }
    }
    assert!(
        taken > 1000 && again > 50 && kept > 50,
        "{taken} batches, {again} second readings, {kept} only ones"
    );
}

#[tokio::test]
async fn a_log_that_grows_is_taken_from_as_it_grows() {
    let mut chance = Chance(5);
    for (log, lines) in logs("tests/fixtures/logs").await {
        if lines.len() > 2000 {
            continue;
        }
        let mut scrambled = lines.clone();
        scramble(&mut scrambled, &mut chance);
        for lines in [lines, scrambled] {
            let cut = lines.len() / 2;
            let mut whole = LiveApplication::new();
            lines[..cut].iter().for_each(|line| whole.apply_line(line));
            let (mut taking, _) = Taking::read(&lines[..cut], 5);
            assert!(
                taking.tables(&log) == tables_by_task(whole.rows(&log)),
                "{} half",
                log.path
            );
            lines[cut..].iter().for_each(|line| whole.apply_line(line));
            taking.go_on(&lines[cut..], 5);
            if taking.live.retold().is_some() {
                taking = Taking::read(&lines, 5).0;
            }
            assert!(
                taking.tables(&log) == tables_by_task(whole.rows(&log)),
                "{} whole",
                log.path
            );
        }
    }
}

#[test]
fn the_access_list_is_that_of_the_first_environment_unredacted() {
    let environment = |properties: &str| {
        format!(
            r#"{{"Event":"SparkListenerEnvironmentUpdate","JVM Information":{{}},"Spark Properties":{properties},"System Properties":{{}},"Classpath Entries":{{}}}}"#
        )
    };
    let mut live = LiveApplication::new();
    assert_eq!(live.acl(), Acl::default());
    for line in [
        environment(
            r#"{"spark.admin.acls":"root,token","spark.ui.view.acls":"*","spark.ui.view.acls.groups":"","spark.admin.acls.groups":null}"#,
        ),
        environment(r#"{"spark.admin.acls":"other"}"#),
        r#"{"Event":"SparkListenerApplicationStart","App Name":"a","App ID":"a","Timestamp":1,"User":"u"}"#.to_owned(),
    ] {
        live.apply_line(line.as_bytes());
    }
    assert_eq!(live.report().problems, []);
    let expected = Acl {
        owner: "u".to_owned(),
        admin_acls: "root,token".to_owned(),
        view_acls: "*".to_owned(),
        ..Acl::default()
    };
    assert_eq!(live.acl(), expected);
    assert_eq!(live.attempt().expect("it is named").acl, expected);
}
