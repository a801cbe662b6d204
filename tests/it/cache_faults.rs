//! A cache that cannot be written, is damaged, or belongs to someone else: a sentence or a silent rebuild, and never other rows.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::columns::{Columns, Dice, everything_in_memory, idle_copy, log_of, written_ago};
use crate::support::pg::Session;
use crate::support::{Server, fixtures, program, say};

const COUNTS: &str = "select (select count(*) from applications), (select count(*) from tasks), (select count(*) from jobs), \
                      (select sum(executor_run_time_ms) from tasks)";
const SEEN_WITHIN: Duration = Duration::from_secs(20);

fn logs() -> tempfile::TempDir {
    idle_copy(&fixtures().join("logs"))
}

/// A cache with some commits over these logs, so that each table has several segments.
fn filled(logs: &Path) -> Columns {
    let cache = Columns::new();
    cache.ingest(logs);
    for number in 0..3 {
        let path = logs.join(format!("more-{number}"));
        fs::write(&path, log_of(&format!("more-{number}"))).expect("room");
        written_ago(&path, Duration::from_secs(7200));
        cache.ingest(logs);
    }
    cache
}

/// The same cache once more.
fn copy(cache: &Columns) -> Columns {
    let other = Columns::new();
    for file in cache.files("") {
        let to = other
            .path()
            .join(file.strip_prefix(cache.path()).expect("a file of the cache"));
        fs::create_dir_all(to.parent().expect("a folder")).expect("room");
        fs::copy(&file, to).expect("room");
    }
    other
}

#[test]
fn a_cache_that_cannot_be_made_ends_with_1_and_says_what_to_do() {
    let logs = logs();
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("file"), "").expect("room");
    let below_a_file = dir.path().join("file/columns");
    for command in ["ingest", "sql", "serve"] {
        for place in [below_a_file.as_path(), Path::new("/proc/columns")] {
            let output = program(dir.path())
                .args([
                    command.as_ref(),
                    logs.path().as_os_str(),
                    "--cache".as_ref(),
                    place.as_os_str(),
                ])
                .args(if command == "sql" { &["-c", "select 1"][..] } else { &[] })
                .args(if command == "serve" {
                    &["--pg", "127.0.0.1:0", "--flight", "off", "--http", "off"][..]
                } else {
                    &[]
                })
                .stdin(Stdio::null())
                .output()
                .expect("the program starts");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{command}: {said}");
            let expected = format!("sparkgate: the column cache cannot use {}: ", place.display());
            assert!(
                said.starts_with(&expected) && said.contains("--cache off"),
                "{command}: {said}"
            );
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
}

#[test]
fn a_reader_of_no_cache_ends_with_1() {
    let (cache, logs) = (Columns::new(), logs());
    for command in [
        &["sql", "-c", "select 1", "--read-only"][..],
        &["cache", "status"],
        &["cache", "compact"],
        &["cache", "clear"],
    ] {
        let said = match command {
            ["sql", rest @ ..] => cache.run(&["sql"], logs.path(), rest),
            _ => cache.run(command, logs.path(), &[]),
        };
        assert_eq!(said.status.code(), Some(1), "{command:?}: {}", said.stderr);
        let expected = format!("sparkgate: {} holds no column cache", cache.path().display());
        assert!(said.stderr.starts_with(&expected), "{command:?}: {}", said.stderr);
    }
    assert!(!cache.path().exists(), "a reader made a cache");
}

/// The disk is full at some time of the first ingest, from the first file to almost none.
#[test]
fn a_full_disk_is_said_and_no_statement_answers_with_fewer_rows() {
    let logs = logs();
    let in_memory = everything_in_memory(logs.path());
    let dir = tempfile::tempdir().expect("a temporary directory");
    let on_small_disk = |kilobytes: u32, command: &str| {
        let script = format!(
            "mount -t tmpfs -o size={kilobytes}k small '{0}' && {command}",
            dir.path().display()
        );
        let mut shell = Command::new("unshare");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SPARK") {
                shell.env_remove(name);
            }
        }
        shell.args(["-rm", "sh", "-c", &script]).stdin(Stdio::null()).output()
    };
    if !on_small_disk(64, "true").is_ok_and(|output| output.status.success()) {
        return say("cache: no small disk can be mounted here; a full disk is not tried");
    }
    let program = program(dir.path()).get_program().to_owned();
    let (program, logs) = (program.to_string_lossy(), logs.path().display());
    let cache = dir.path().join("columns");
    let cache = cache.display();
    let mut failed = 0;
    for kilobytes in [16, 60, 150, 400, 900, 40_000] {
        let ingest = format!("{program} ingest {logs} --cache {cache}");
        let ran = on_small_disk(kilobytes, &ingest).expect("the shell starts");
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        if !ran.status.success() {
            failed += 1;
            assert_eq!(ran.status.code(), Some(1), "{said}");
            assert!(said.contains("No space left on device"), "{kilobytes} kB: {said}");
        }
        let sql = format!("{program} sql {logs} --cache {cache} --format ndjson -c 'select * from tasks'");
        let ran = on_small_disk(kilobytes, &sql).expect("the shell starts");
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        let mut rows: Vec<String> = String::from_utf8_lossy(&ran.stdout)
            .lines()
            .map(str::to_owned)
            .collect();
        rows.sort();
        match ran.status.code() {
            Some(0) => assert!(
                rows == in_memory.rows("tasks"),
                "{kilobytes} kB: {} rows and no error: {said}",
                rows.len()
            ),
            code => {
                assert_eq!(code, Some(1), "{said}");
                assert!(said.contains("No space left on device"), "{kilobytes} kB: {said}");
            }
        }
    }
    assert!((1..6).contains(&failed), "{failed} of 6 disks were too small");
}

#[test]
fn segments_that_are_gone_or_cut_short_between_two_runs_are_read_from_the_logs_again() {
    let logs = logs();
    let whole = filled(logs.path());
    let in_memory = everything_in_memory(logs.path());
    let tables = ["application_attempts", "tasks", "stage_summary"];
    for table in tables {
        for cut in [false, true] {
            for rest in [&[][..], &["--read-only"]] {
                let cache = copy(&whole);
                let segments = cache.files(&format!("t/{table}"));
                assert!(segments.len() > 1, "{table}: {segments:?}");
                damage(&segments[0], cut);
                let what = format!("{table}, cut: {cut}, {rest:?}");
                let (rows, scan) = cache.everything(logs.path(), rest);
                rows.assert_same(&in_memory, &what);
                assert!(
                    scan.number("read_bytes") > 0 || scan.number("grown_logs") > 0,
                    "{what}: {scan:?}"
                );
                if rest.is_empty() {
                    let (rows, scan) = cache.everything(logs.path(), &[]);
                    rows.assert_same(&in_memory, &format!("{what}, afterwards"));
                    scan.assert_idle(&what);
                }
            }
        }
    }
}

/// Deletes a file, or cuts it in its middle.
fn damage(file: &Path, cut: bool) {
    if cut {
        let bytes = fs::read(file).expect("it is there");
        fs::write(file, &bytes[..bytes.len() / 2]).expect("ours");
    } else {
        fs::remove_file(file).expect("it is there");
    }
}

#[test]
fn without_any_segment_everything_is_read_again() {
    let logs = logs();
    let cache = filled(logs.path());
    fs::remove_dir_all(cache.path().join("t")).expect("it is there");
    let (rows, _) = cache.everything(logs.path(), &[]);
    rows.assert_same(&everything_in_memory(logs.path()), "no segments");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_goes_while_it_is_served_costs_an_error_until_the_next_look_at_the_files() {
    let logs = logs();
    let cache = filled(logs.path());
    for cut in [false, true] {
        let server = cache.serve(logs.path(), &["--scan-interval", "200ms"]);
        let session = Session::open(&server).await;
        let expected = session.rows(COUNTS).await.remove(0);
        damage(&cache.files("t/tasks")[0], cut);
        // A statement fails, or has all rows.
        let started = std::time::Instant::now();
        loop {
            match session.client.simple_query(COUNTS).await {
                Err(error) => {
                    let said = error.as_db_error().expect("the server's").message().to_owned();
                    assert!(said.contains("column cache") || said.contains("t/tasks"), "{said}");
                }
                Ok(_) => assert_eq!(session.rows(COUNTS).await, [expected.as_str()], "cut: {cut}"),
            }
            let seen = "select coalesce(sum(grown_logs), 0) > 0 from system.scans";
            if session.rows(seen).await == ["t"] {
                break;
            }
            assert!(started.elapsed() < SEEN_WITHIN, "the loss is not noticed");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        session.answers_within(SEEN_WITHIN, COUNTS, &[&expected]).await;
    }
    let (rows, _) = cache.everything(logs.path(), &[]);
    rows.assert_same(&everything_in_memory(logs.path()), "afterwards");
}

/// Bytes that a disk changed, wherever: what is read is refused or right.
#[test]
fn flipped_bytes_of_manifests_and_segments_are_noticed() {
    let logs = logs();
    let whole = filled(logs.path());
    let in_memory = everything_in_memory(logs.path());
    let mut dice = Dice::new(4);
    for round in 0..12 {
        let cache = copy(&whole);
        let files = if round % 3 == 0 {
            cache.files("_m/log")
        } else {
            cache.files("t")
        };
        let file = &files[dice.roll(files.len())];
        let mut bytes = fs::read(file).expect("it is there");
        let at = dice.roll(bytes.len());
        bytes[at] ^= 1 << dice.roll(8);
        fs::write(file, bytes).expect("ours");
        let what = format!("byte {at} of {}", file.display());
        match cache.everything_or_error(logs.path(), &[]) {
            Ok((rows, _)) => rows.assert_same(&in_memory, &what),
            Err(said) => assert!(said.contains(" t/") || said.contains("/t/"), "{what}: {said}"),
        }
    }
}

/// A statement that meets the damage fails, and the next scan reads the logs of these rows again.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_cures_damage_that_a_statement_has_met() {
    let logs = logs();
    let cache = filled(logs.path());
    let sums = "select count(*), sum(executor_run_time_ms), sum(jvm_gc_time_ms), max(host) from tasks";
    let expected = {
        let whole = cache.serve(logs.path(), &[]);
        Session::open(&whole).await.rows(sums).await.remove(0)
    };
    for file in cache.files("t/tasks") {
        let mut bytes = fs::read(&file).expect("it is there");
        let at = bytes.len() / 3;
        bytes[at] ^= 1;
        fs::write(&file, bytes).expect("ours");
    }
    let server = cache.serve(logs.path(), &["--scan-interval", "200ms"]);
    let session = Session::open(&server).await;
    let started = std::time::Instant::now();
    let mut failures = 0;
    loop {
        match session.client.simple_query(sums).await {
            Ok(_) => break,
            Err(error) => assert_eq!(crate::support::pg::code(&error), "58030", "{error:?}"),
        }
        failures += 1;
        assert!(started.elapsed() < SEEN_WITHIN, "the damage stays");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(failures > 0, "nothing was damaged");
    assert_eq!(session.rows(sums).await, [expected.as_str()]);
}

#[test]
fn a_commit_that_is_gone_or_damaged_empties_the_cache_and_reads_the_logs_again() {
    let logs = logs();
    let whole = filled(logs.path());
    let in_memory = everything_in_memory(logs.path());
    let commits = whole.files("_m/log").len();
    assert!(commits >= 4, "{commits}");
    for at in [0, 1, commits - 1] {
        for cut in [false, true] {
            let cache = copy(&whole);
            damage(&cache.files("_m/log")[at], cut);
            let what = format!("commit {at}, cut: {cut}");
            // The last one is not missed: what it had is read once more.
            let is_noticed = cut || at + 1 < commits;
            let reader = cache.run(&["sql"], logs.path(), &["--read-only", "-c", COUNTS]);
            assert_eq!(
                reader.status.code(),
                Some(i32::from(is_noticed)),
                "{what}: {}",
                reader.stderr
            );
            if is_noticed {
                assert!(
                    reader.stderr.contains("the cache has to be rebuilt from the logs"),
                    "{what}: {}",
                    reader.stderr
                );
                assert!(reader.stderr.contains("_m/log/0000"), "{what}: {}", reader.stderr);
            }
            let (rows, _) = cache.everything(logs.path(), &[]);
            rows.assert_same(&in_memory, &what);
            let (rows, scan) = cache.everything(logs.path(), &[]);
            rows.assert_same(&in_memory, &format!("{what}, afterwards"));
            scan.assert_idle(&what);
        }
    }
}

/// Writes a commit with something replaced in its JSON.
fn rewrite(commit: &Path, change: impl Fn(&mut Value)) {
    let json = zstd::decode_all(fs::read(commit).expect("it is there").as_slice()).expect("a zstd frame");
    let mut json: Value = serde_json::from_slice(&json).expect("JSON");
    change(&mut json);
    let bytes = zstd::encode_all(json.to_string().as_bytes(), 1).expect("some text");
    fs::write(commit, bytes).expect("ours");
}

fn last(files: Vec<PathBuf>) -> PathBuf {
    files.into_iter().next_back().expect("a file")
}

#[test]
fn a_cache_of_a_later_release_is_left_alone_and_one_of_an_earlier_is_made_anew() {
    let logs = logs();
    let whole = filled(logs.path());
    let later = copy(&whole);
    rewrite(&last(later.files("_m/log")), |json| json["format"] = 9.into());
    let files = later.files("");
    for command in [&["sql"][..], &["ingest"], &["cache", "status"], &["cache", "compact"]] {
        let rest = if command == ["sql"] {
            &["-c", "select 1"][..]
        } else {
            &[]
        };
        let said = later.run(command, logs.path(), rest);
        assert_eq!(said.status.code(), Some(1), "{command:?}: {}", said.stderr);
        let told = "was written by a later release of sparkgate (format 9, this release knows 3); run that release, or clear the cache";
        assert!(said.stderr.contains(told), "{command:?}: {}", said.stderr);
    }
    let is_same = later
        .files("")
        .iter()
        .filter(|file| !file.ends_with("lock"))
        .eq(files.iter().filter(|file| !file.ends_with("lock")));
    assert!(is_same, "files of a later release were touched");
    later.well(&["cache", "clear"], logs.path(), &[]);
    let in_memory = everything_in_memory(logs.path());
    later.everything(logs.path(), &[]).0.assert_same(&in_memory, "cleared");

    let earlier = copy(&whole);
    rewrite(&earlier.files("_m/log")[0], |json| json["format"] = 0.into());
    let (rows, scan) = earlier.everything(logs.path(), &[]);
    rows.assert_same(&in_memory, "an earlier format");
    assert!(scan.number("read_bytes") > 0, "{scan:?}");
    let (rows, scan) = earlier.everything(logs.path(), &[]);
    rows.assert_same(&in_memory, "an earlier format, afterwards");
    scan.assert_idle("an earlier format, afterwards");
}

#[test]
fn rows_of_other_tables_or_of_another_fold_are_read_from_the_logs_again() {
    let logs = logs();
    let whole = filled(logs.path());
    let in_memory = everything_in_memory(logs.path());
    for field in ["schema_hash", "replay_version"] {
        let cache = copy(&whole);
        for commit in cache.files("_m/log") {
            rewrite(&commit, |json| {
                for action in json["actions"].as_array_mut().expect("actions") {
                    for (kind, path) in [
                        ("put_app", "/put_app/info/reading"),
                        ("put_other_log", "/put_other_log/reading"),
                    ] {
                        if action.get(kind).is_some() {
                            let reading = action.pointer_mut(path).expect("what was read");
                            let other = reading[field].as_u64().map(|known| known ^ 1);
                            reading[field] = other.map_or_else(|| "0000".into(), Into::into);
                        }
                    }
                }
            });
        }
        let (rows, _) = cache.everything(logs.path(), &["--read-only"]);
        rows.assert_same(&in_memory, &format!("another {field}, read only"));
        let (rows, scan) = cache.everything(logs.path(), &[]);
        rows.assert_same(&in_memory, &format!("another {field}"));
        assert!(scan.number("read_bytes") > 0, "{scan:?}");
        let (rows, scan) = cache.everything(logs.path(), &[]);
        rows.assert_same(&in_memory, &format!("another {field}, afterwards"));
        scan.assert_idle(field);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_writes_and_others_read() {
    let logs = logs();
    let cache = Columns::new();
    let writer = cache.serve(logs.path(), &["--scan-interval", "500ms"]);
    let session = Session::open(&writer).await;
    let expected = session.rows(COUNTS).await.remove(0);

    for command in ["serve", "ingest", "cache compact", "cache clear"] {
        let words: Vec<&str> = command.split(' ').collect();
        let rest = if command == "serve" {
            &["--pg", "127.0.0.1:0", "--flight", "off", "--http", "off"][..]
        } else {
            &[]
        };
        let second = cache.run(&words, logs.path(), rest);
        assert_eq!(second.status.code(), Some(1), "{command}: {}", second.stderr);
        let told = format!(
            "the column cache {} is in use by another sparkgate; stop that one, or",
            cache.path().display()
        );
        assert!(second.stderr.contains(&told), "{command}: {}", second.stderr);
        assert_eq!(second.stderr.lines().count(), 1, "{}", second.stderr);
    }
    let in_memory = everything_in_memory(logs.path());
    let (rows, scan) = cache.everything(logs.path(), &[]);
    rows.assert_same(&in_memory, "sql beside a server");
    scan.assert_idle("sql beside a server");

    let reader = cache.serve(logs.path(), &["--read-only", "--scan-interval", "500ms"]);
    let follower = Session::open(&reader).await;
    assert_eq!(follower.rows(COUNTS).await, [expected.as_str()]);
    let path = logs.path().join("new");
    fs::write(&path, log_of("new")).expect("room");
    written_ago(&path, Duration::from_secs(7200));
    let started = std::time::Instant::now();
    let has_new = "select count(*) from tasks where app_id = 'new'";
    follower.answers_within(SEEN_WITHIN, has_new, &["4"]).await;
    say(&format!(
        "cache: a reader saw a new application after {:?}",
        started.elapsed()
    ));
    session.answers_within(SEEN_WITHIN, has_new, &["4"]).await;
    fs::remove_file(logs.path().join("new")).expect("it is there");
    for one in [&session, &follower] {
        one.answers_within(SEEN_WITHIN, COUNTS, &[&expected]).await;
    }
    drop(writer);

    // Without a writer the reader reads by itself, and writes nothing.
    let files = cache.files("");
    fs::write(logs.path().join("alone"), log_of("alone")).expect("room");
    follower
        .answers_within(SEEN_WITHIN, "select count(*) from tasks where app_id = 'alone'", &["4"])
        .await;
    assert_eq!(cache.files(""), files, "a reader wrote");
}

/// The writer merges segments and deletes those that it merged: who reads beside it goes on with the new ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_follows_a_compaction_whose_inputs_are_deleted() {
    let logs = logs();
    let cache = Columns::new();
    for number in 0..9 {
        let path = logs.path().join(format!("more-{number}"));
        fs::write(&path, log_of(&format!("more-{number}"))).expect("room");
        written_ago(&path, Duration::from_secs(7200));
        if number < 7 {
            cache.ingest(logs.path());
        }
    }
    let reader: Server = cache.serve(logs.path(), &["--read-only", "--scan-interval", "200ms"]);
    let session = Session::open(&reader).await;
    let expected = session.rows(COUNTS).await.remove(0);
    let before = cache.files("t/tasks");
    cache.ingest(logs.path());
    cache.compact(logs.path());
    let status = cache.status(logs.path());
    assert!(status["removed"] > 0, "{status:?}");
    session
        .answers_within(
            SEEN_WITHIN,
            "select min(level) > 0 from system.segments where table_name = 'tasks'",
            &["t"],
        )
        .await;
    for file in before {
        fs::remove_file(file).expect("it is there");
    }
    assert_eq!(session.rows(COUNTS).await, [expected.as_str()]);
}

/// Nothing that a reader shows may go because another process emptied the cache or made it anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_reads_by_itself_what_another_process_clears() {
    let logs = logs();
    let cache = filled(logs.path());
    let reader = cache.serve(logs.path(), &["--read-only", "--scan-interval", "200ms"]);
    let session = Session::open(&reader).await;
    let expected = session.rows(COUNTS).await.remove(0);
    let is_seen = "select (select count(*) from system.segments) = 0, (select max(grown_logs) from system.scans) > 0";
    cache.well(&["cache", "clear"], logs.path(), &[]);
    session.answers_within(SEEN_WITHIN, is_seen, &["t|t"]).await;
    session.answers_within(SEEN_WITHIN, COUNTS, &[&expected]).await;

    // Filled again, lost, and made anew: rows come from there, and are all there.
    cache.ingest(logs.path());
    let has_segments = "select count(*) > 0 from system.segments";
    session.answers_within(SEEN_WITHIN, has_segments, &["t"]).await;
    session.answers_within(SEEN_WITHIN, COUNTS, &[&expected]).await;
    fs::remove_file(&cache.files("_m/ckpt")[0]).expect("it is there");
    cache.ingest(logs.path());
    tokio::time::sleep(Duration::from_secs(1)).await;
    session.answers_within(SEEN_WITHIN, COUNTS, &[&expected]).await;
}
