//! How far `sparkgate ingest` is: a bar on a terminal, a line now and then otherwise.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cache::CacheStatus;
use crate::history::{Progress, ScanSummary};

const BAR: Duration = Duration::from_millis(200);
const LINES: Duration = Duration::from_secs(5);
const STYLE: &str = "{bar:30} {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left; {msg}";

/// Shows how far `work` is while it is done.
pub async fn with_progress<T>(
    work: impl Future<Output = T>,
    progress: impl Fn() -> Progress,
    err: &mut dyn Write,
) -> T {
    let is_terminal = io::stderr().is_terminal();
    let start = Instant::now();
    let bar = is_terminal.then(|| {
        let style = ProgressStyle::with_template(STYLE).unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::no_length().with_style(style)
    });
    let mut ticks = tokio::time::interval(if is_terminal { BAR } else { LINES });
    ticks.tick().await;
    let mut work = std::pin::pin!(work);
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            _ = ticks.tick() => {
                let now = progress();
                match &bar {
                    Some(bar) => {
                        bar.set_length(now.bytes_seen);
                        bar.set_position(now.bytes_read);
                        bar.set_message(format!("{} of {} applications", now.logs_read, now.logs_seen));
                    }
                    // Nobody to tell if this cannot be written.
                    None => drop(writeln!(err, "{}", line(&now, start.elapsed()))),
                }
            }
        }
    };
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    done
}

fn line(now: &Progress, elapsed: Duration) -> String {
    let rate = per_second(now.bytes_read, elapsed);
    let left = match rate {
        0 => "unknown".to_owned(),
        rate => format!("{} s", now.bytes_seen.saturating_sub(now.bytes_read) / rate),
    };
    format!(
        "{} of {} applications, {} of {} MB, {} MB/s, {left} left",
        now.logs_read,
        now.logs_seen,
        now.bytes_read / MB,
        now.bytes_seen / MB,
        rate / MB
    )
}

/// What an ingest did, in one line.
pub fn ingested(summary: &ScanSummary, status: &CacheStatus, elapsed: Duration) -> String {
    let logs = summary.new + summary.grown;
    format!(
        "{logs} logs read ({} MB in {:.1} s, {} MB/s), {} unchanged, {} failed; {}: {} attempts in {} files, {} MB",
        summary.bytes / MB,
        elapsed.as_secs_f64(),
        per_second(summary.bytes, elapsed) / MB,
        summary.restored,
        summary.failed,
        status.location,
        status.attempts,
        status.segments,
        status.bytes / MB
    )
}

const MB: u64 = 1_000_000;

fn per_second(bytes: u64, elapsed: Duration) -> u64 {
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    bytes.saturating_mul(1000) / millis
}

/// `sparkgate cache status`: the cache, then a line for each table with rows.
pub fn write_cache_status(out: &mut (dyn Write + Send), status: &CacheStatus) -> io::Result<()> {
    writeln!(out, "location  {}", status.location)?;
    writeln!(out, "commit    {}", status.commit)?;
    writeln!(out, "attempts  {}", status.attempts)?;
    writeln!(out, "files     {} ({} bytes)", status.segments, status.bytes)?;
    writeln!(
        out,
        "removed   {} ({} bytes), deleted when nobody reads them any more",
        status.removed_segments, status.removed_bytes
    )?;
    writeln!(
        out,
        "{:<26} {:>6} {:>6} {:>6} {:>14} {:>12} {:>14}",
        "table", "L0", "L1", "L2", "rows", "dead", "bytes"
    )?;
    for table in status.tables.iter().filter(|table| table.rows > 0) {
        let [l0, l1, l2] = table.segments;
        writeln!(
            out,
            "{:<26} {l0:>6} {l1:>6} {l2:>6} {:>14} {:>12} {:>14}",
            table.table, table.rows, table.dead_rows, table.bytes
        )?;
    }
    out.flush()
}
