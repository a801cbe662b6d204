//! Whatever happens to logs and to the cache, in whatever order: stored rollups are what their SQL gives over the tables, and the tables
//! are those of a process that reads everything anew.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::rollups::assert_stored_is_defined;
use crate::support::columns::{Columns, Dice, everything_in_memory, written_ago};
use crate::support::pg::Session;
use crate::support::{Server, fixtures, say};

const STEPS: usize = 36;
const MOST_LOGS: usize = 12;
const OPTIONS: [&str; 2] = ["--scan-interval", "100ms"];

/// A log under way.
struct Log {
    path: PathBuf,
    lines: Vec<String>,
    written: usize,
}

impl Log {
    fn is_whole(&self) -> bool {
        self.written == self.lines.len()
    }

    fn grow(&mut self, by: usize) {
        let end = self.lines.len().min(self.written + by.max(1));
        let text = self.lines[self.written..end].concat();
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
            .expect("room");
        file.write_all(text.as_bytes()).expect("room");
        self.written = end;
        if self.is_whole() {
            let name = self.path.with_extension("");
            fs::rename(&self.path, &name).expect("the same directory");
            self.path = name;
        }
    }
}

/// The fixtures that can be had as text, by lines.
fn texts() -> Vec<Vec<String>> {
    let entries = fs::read_dir(fixtures().join("logs")).expect("the fixtures");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let text = |path: &PathBuf| {
        let bytes = fs::read(path).ok()?;
        let is_zstd = path.to_string_lossy().contains(".zstd");
        let bytes = if is_zstd {
            zstd::decode_all(bytes.as_slice()).ok()?
        } else {
            bytes
        };
        let text = String::from_utf8(bytes).ok()?;
        Some(text.split_inclusive('\n').map(str::to_owned).collect::<Vec<_>>())
    };
    paths.iter().filter_map(text).collect()
}

/// Two scans that began after this.
async fn scanned(session: &Session) {
    let count = async || {
        session.rows("select count(*) from system.scans").await[0]
            .parse::<u64>()
            .expect("a number")
    };
    let before = count().await;
    while count().await < before + 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn serve(cache: &Columns, logs: &Path) -> (Server, Session) {
    let server = cache.serve(logs, &OPTIONS);
    let session = Session::open(&server).await;
    (server, session)
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_rollups_and_tables_follow_a_random_history_of_logs_and_cache() {
    let (texts, dir, cache) = (
        texts(),
        tempfile::tempdir().expect("a temporary directory"),
        Columns::new(),
    );
    assert!(texts.len() > 10, "{} fixtures", texts.len());
    let mut dice = Dice::new(7);
    let mut logs: Vec<Log> = Vec::new();
    let mut server = serve(&cache, dir.path()).await;
    let mut done: Vec<&str> = Vec::new();
    for step in 0..STEPS {
        let at = (!logs.is_empty()).then(|| dice.roll(logs.len()));
        let what = match (dice.roll(12), at) {
            (0..=2, _) | (_, None) if logs.len() < MOST_LOGS => {
                let lines = texts[dice.roll(texts.len())].clone();
                let path = dir.path().join(format!("log-{step}.inprogress"));
                let mut log = Log {
                    path,
                    lines,
                    written: 0,
                };
                let by = if dice.roll(3) == 0 {
                    log.lines.len()
                } else {
                    dice.roll(log.lines.len())
                };
                log.grow(by);
                logs.push(log);
                "a new log"
            }
            (3..=6, Some(at)) => {
                let growing = (0..logs.len())
                    .map(|next| (at + next) % logs.len())
                    .find(|at| !logs[*at].is_whole());
                match growing {
                    Some(at) => {
                        let left = logs[at].lines.len() - logs[at].written;
                        logs[at].grow(if dice.roll(3) == 0 { left } else { dice.roll(left) });
                        "growth"
                    }
                    None => "nothing to grow",
                }
            }
            (7, Some(at)) => {
                written_ago(&logs[at].path, Duration::from_secs(7200 + step as u64));
                "a log that is idle"
            }
            (8, Some(at)) => {
                fs::remove_file(&logs.swap_remove(at).path).expect("it is there");
                "a log less"
            }
            (9, Some(at)) => {
                let lines = texts[dice.roll(texts.len())].clone();
                let log = &mut logs[at];
                fs::write(&log.path, lines.concat()).expect("room");
                (log.written, log.lines) = (lines.len(), lines);
                "another log under the same name"
            }
            (10, _) => {
                drop(server);
                server = serve(&cache, dir.path()).await;
                "a restart"
            }
            _ => {
                server.0.stop();
                cache.compact(dir.path());
                server = serve(&cache, dir.path()).await;
                "a compaction"
            }
        };
        done.push(what);
        let session = &server.1;
        scanned(session).await;
        let what = format!("step {step}, {what}");
        assert_stored_is_defined(session, &what).await;
        if step % 9 == 8 {
            let (rows, _) = cache.everything(dir.path(), &["--read-only"]);
            rows.assert_same(&everything_in_memory(dir.path()), &what);
        }
    }
    done.sort_unstable();
    let mut kinds = done.clone();
    kinds.dedup();
    let counts = kinds
        .iter()
        .map(|kind| format!("{} of {kind}", done.iter().filter(|d| d == &kind).count()));
    let counts = counts.collect::<Vec<_>>().join(", ");
    say(&format!("cache: a random history: {counts}"));
    assert!(kinds.len() >= 7, "{counts}");
}
