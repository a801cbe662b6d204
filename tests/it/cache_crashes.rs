//! `kill -9` at any moment of an ingest loses no row, shows none twice and leaves nothing that is read by mistake.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::columns::{Columns, Dice, everything_in_memory, log_of, written_ago};
use crate::support::{fixtures, program, say};

const KILLS: usize = 50;
/// Applications beside the fixtures.
const APPLICATIONS: usize = 60;
/// Longer than files that no commit names are kept.
const OLD: Duration = Duration::from_secs(48 * 3600);

/// What a process had done when it was killed.
#[derive(Debug, Default)]
struct Phases {
    nothing_written: usize,
    files_written: usize,
    committed: usize,
    ended: usize,
}

#[test]
fn an_ingest_that_is_killed_fifty_times_ends_with_the_rows_of_one_that_was_not() {
    let logs = crate::support::columns::idle_copy(&fixtures().join("logs"));
    let mut dice = Dice::new(2);
    let mut written = 0;
    // A log that is new or another one than before, and older than what is idle.
    let mut write = |dice: &mut Dice, number: usize| {
        let app_id = format!("app-{number:03}");
        let lines = 9 + dice.roll(13);
        let text: String = log_of(&app_id).split_inclusive('\n').take(lines).collect();
        let path = logs.path().join(&app_id);
        fs::write(&path, text).expect("room");
        written += 1;
        written_ago(&path, Duration::from_secs(7200 + 10 * written));
    };
    (0..APPLICATIONS).for_each(|number| write(&mut dice, number));

    let undisturbed = Columns::new();
    let start = Instant::now();
    undisturbed.ingest(logs.path());
    let whole = start.elapsed();

    let cache = Columns::new();
    let mut phases = Phases::default();
    for kill in 0..KILLS {
        if kill > 0 {
            (0..APPLICATIONS / 4).for_each(|_| {
                let number = dice.roll(APPLICATIONS);
                write(&mut dice, number);
            });
            let deleted = logs.path().join(format!("app-{:03}", dice.roll(APPLICATIONS)));
            // It may be gone already.
            let _ = fs::remove_file(deleted);
        }
        killed(&cache, logs.path(), whole, kill, &mut dice, &mut phases);
    }
    say(&format!("cache: {KILLS} kills within {whole:?}: {phases:?}"));
    let Phases {
        nothing_written,
        files_written,
        committed,
        ended,
    } = &phases;
    assert!(
        *files_written > 2 && *committed > 2 && *nothing_written > 2,
        "kills missed the work: {phases:?}"
    );
    assert!(*ended < KILLS / 3, "kills came too late: {phases:?}");

    cache.ingest(logs.path());
    let in_memory = everything_in_memory(logs.path());
    let (rows, scan) = cache.everything(logs.path(), &[]);
    rows.assert_same(&in_memory, "after the last ingest");
    scan.assert_idle("after the last ingest");
    let attempts = u64::try_from(in_memory.count("application_attempts")).expect("a number");
    assert_eq!(cache.status(logs.path())["attempts"], attempts);
    assert_eq!(
        cache.files("_tmp").len(),
        0,
        "files without a name are removed by the next writer"
    );

    // Some files belong to nobody. They go after their grace time, and nothing else does.
    let orphans = |cache: &Columns| -> usize {
        let named = named_files(cache, logs.path());
        cache
            .files("t")
            .iter()
            .filter(|file| !named.contains(&name_of(cache, file)))
            .count()
    };
    assert!(orphans(&cache) > 0, "no kill left a file behind: {phases:?}");
    for file in cache.files("t") {
        written_ago(&file, OLD);
    }
    cache.compact(logs.path());
    let removed = usize::try_from(cache.status(logs.path())["removed"]).expect("a number");
    assert_eq!(orphans(&cache), removed, "only removed segments wait for their readers");
    let (rows, scan) = cache.everything(logs.path(), &[]);
    rows.assert_same(&in_memory, "without the files of nobody");
    scan.assert_idle("without the files of nobody");
}

/// One ingest, killed at a time that the dice say: a third anywhere, a third when files are written, a third after its first commit.
fn killed(cache: &Columns, logs: &Path, whole: Duration, kill: usize, dice: &mut Dice, phases: &mut Phases) {
    // What the kill before left in `_tmp` is removed when the next process begins, and is nothing that this one wrote.
    let files = || -> BTreeSet<PathBuf> { cache.files("t").into_iter().chain(cache.files("_tmp")).collect() };
    let (before, commits_before) = (files(), cache.files("_m/log").len());
    let has_written = || files().iter().any(|file| !before.contains(file));
    let has_committed = || cache.files("_m/log").len() > commits_before;
    let mut child = program(cache.path().parent().expect("its directory"))
        .args(["ingest".as_ref(), logs.as_os_str()])
        .args(cache.option())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let start = Instant::now();
    let micros = |limit: Duration| usize::try_from(limit.as_micros()).expect("no age of the world");
    let mut wait = |limit: Duration| Duration::from_micros(dice.roll(micros(limit).max(1)) as u64);
    let is_new = |at: usize| if at == 1 { has_written() } else { has_committed() };
    match kill % 3 {
        // Half of them early: files are written soon.
        0 => std::thread::sleep(wait(if kill.is_multiple_of(2) { whole } else { whole / 8 })),
        at => {
            while !is_new(at) && start.elapsed() < 2 * whole && child.try_wait().expect("our child").is_none() {
                std::thread::sleep(Duration::from_micros(300));
            }
            std::thread::sleep(wait(Duration::from_millis(40)));
        }
    }
    let has_ended = child.try_wait().expect("our child").is_some();
    let _ = child.kill();
    child.wait().expect("our child");
    *(match () {
        () if has_ended => &mut phases.ended,
        () if has_committed() => &mut phases.committed,
        () if has_written() => &mut phases.files_written,
        () => &mut phases.nothing_written,
    }) += 1;
}

/// The files that the manifest names, from the root of the cache.
fn named_files(cache: &Columns, logs: &Path) -> BTreeSet<String> {
    let arguments = [
        "--format",
        "ndjson",
        "--read-only",
        "-c",
        "select path from system.segments",
    ];
    let rows = cache.run(&["sql"], logs, &arguments).rows();
    let paths: BTreeSet<String> = rows
        .iter()
        .map(|row| crate::support::text(row, "path").to_owned())
        .collect();
    assert_eq!(paths.len() as u64, cache.status(logs)["files"]);
    paths
}

fn name_of(cache: &Columns, file: &Path) -> String {
    let below = file.strip_prefix(cache.path()).expect("a file of the cache");
    below.to_str().expect("UTF-8").to_owned()
}
