//! Reads one log, or what it has grown by, folds its lines into rows, and hands the rows of what has ended to the column cache.

use std::sync::Arc;

use crate::cache::{
    AttemptInfo, AttemptOrd, AttemptState, AttemptWriter, Cache, CacheError, LogReading, LogReport, LogStamp, Written,
    schema_hash,
};
use crate::event_log::{Codec, EventLog, LogReader, LogStore, ReadError};
use crate::replay::{LiveApplication, REPLAY_VERSION, ReplayReport};
use crate::table::APPLICATION_ATTEMPTS;
use crate::telemetry::error_chain;

use super::AttemptRows;

/// A log that has not ended and was not written to for this long is put away: its rows go into the cache, and should it grow after all, it
/// is read again from its start.
pub(super) const IDLE_MS: i64 = 3_600_000;
/// Of an uncompressed log this much is looked at for its end: the last event is the application's.
const TAIL_BYTES: u64 = 16 * 1024;

/// Where a log that still grows was left: the reader stands behind the last whole line, the fold has seen all before it.
#[derive(Debug)]
pub(super) struct Live {
    reader: LogReader,
    fold: LiveApplication,
    /// Rows that have left the fold lie here.
    stored: Option<AttemptOrd>,
}

/// What reading a log gave.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The listing that was read.
    pub(super) log: Arc<EventLog>,
    /// Those rows that are not in `written`.
    pub(super) rows: Option<AttemptRows>,
    /// Rows on their way into the cache: they are to be seen when they are committed, and `rows` not before.
    pub(super) written: Option<Written>,
    pub(super) report: LogReport,
    pub(super) failure: Option<Failure>,
    /// There if the log may go on where it was left.
    pub(super) live: Option<Live>,
}

/// Why a log was not read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) message: String,
    /// The bytes themselves are damaged: reading them again soon gives the same.
    pub(super) corrupt: bool,
}

impl Failure {
    /// The task that read the log panicked: a defect of ours, which must not stop the other logs.
    pub(super) fn panicked(path: &str) -> Self {
        Failure {
            message: format!("reading {path} stopped because of a defect in sparkgate; please report it"),
            corrupt: true,
        }
    }

    /// The rows could not be written: storage of the cache may recover.
    pub(super) fn of_cache(error: &CacheError) -> Self {
        Failure {
            message: error_chain(error),
            corrupt: false,
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let corrupt = matches!(error, ReadError::Corrupt { .. });
        Failure {
            message: error_chain(&error),
            corrupt,
        }
    }
}

/// A log to read, and how.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) store: Arc<dyn LogStore>,
    pub(super) log: Arc<EventLog>,
    pub(super) live: Option<Box<Live>>,
    /// Where rows go that cannot change any more; without it all of them stay in memory.
    pub(super) cache: Option<Arc<Cache>>,
    pub(super) now_ms: i64,
}

/// Reads a log to the end of what there is: on from `live` where the log continues it, else from the start.
pub(super) async fn read_log(task: Task) -> Outcome {
    let Task {
        store,
        log,
        live,
        cache,
        now_ms,
    } = task;
    let fresh = || Live {
        reader: LogReader::new(Arc::clone(&store), Arc::clone(&log)),
        fold: LiveApplication::new(),
        stored: None,
    };
    let continued = live.and_then(|mut live| live.reader.grow(Arc::clone(&log)).then_some(*live));
    let mut live = continued.unwrap_or_else(fresh);

    let failure = match read_lines(&mut live).await {
        Ok(()) => None,
        Err(error) => Some(Failure::from(error)),
    };
    let torn = failure.is_none() && end_of_log(&mut live, &log);

    let mut rows = live.fold.rows(&log);
    let report = report(live.fold.report());
    // What ended and got its final name is done. A log that ends inside a line is read again from the start should it
    // grow after all, because the fold has recorded the torn line.
    let may_go_on = failure.is_none() && !torn && (log.in_progress || !report.application_end_seen);
    let is_idle = now_ms.saturating_sub(log.modified_ms) > IDLE_MS;
    let mut outcome = Outcome {
        log,
        rows: None,
        written: None,
        report,
        failure,
        live: None,
    };
    if may_go_on && !(is_idle && cache.is_some()) {
        outcome.rows = rows;
        outcome.live = Some(live);
        return outcome;
    }
    if let (Some(rows), Some(cache)) = (&mut rows, cache) {
        match put_away(&cache, rows, &live.fold, &outcome, now_ms).await {
            Ok(written) => outcome.written = Some(written),
            Err(error) => {
                // Without its rows nothing was read.
                outcome.report = LogReport::default();
                outcome.failure = Some(Failure::of_cache(&error));
                return outcome;
            }
        }
    }
    outcome.rows = rows;
    outcome
}

/// Moves all rows but the attempt's own into the cache.
async fn put_away(
    cache: &Cache,
    rows: &mut AttemptRows,
    fold: &LiveApplication,
    outcome: &Outcome,
    now_ms: i64,
) -> Result<Written, CacheError> {
    let _ = fold;
    let mut writer: AttemptWriter = cache.attempt(&rows.app_id, &rows.attempt_id, rows.start_time_ms, 0);
    writer.push_tables(&rows.tables).await?;
    let own_row = |table: &str| table == APPLICATION_ATTEMPTS.name;
    rows.tables.retain(|table, _| own_row(table));
    writer.write_large_parts().await?;
    let is_damaged = outcome.failure.is_some() || outcome.report.malformed_lines > 0;
    let state = if is_damaged {
        AttemptState::Damaged
    } else if outcome.report.application_end_seen {
        AttemptState::Complete
    } else {
        AttemptState::InProgress
    };
    let failure = outcome.failure.as_ref().map(|failure| failure.message.clone());
    Ok(writer.finish(AttemptInfo {
        reading: reading(&outcome.log, outcome.report.clone(), failure, now_ms),
        state,
    }))
}

/// What is remembered of a reading.
pub(super) fn reading(log: &EventLog, report: LogReport, failure: Option<String>, now_ms: i64) -> LogReading {
    LogReading {
        log: stamp(log),
        report,
        failure,
        read_ms: now_ms,
        schema_hash: schema_hash(),
        replay_version: REPLAY_VERSION,
    }
}

/// By what a log is known again.
pub(super) fn stamp(log: &EventLog) -> LogStamp {
    LogStamp {
        identity: log.identity.clone(),
        path: log.path.clone(),
        size_bytes: log.size_bytes,
        modified_ms: log.modified_ms,
    }
}

fn report(report: &ReplayReport) -> LogReport {
    LogReport {
        lines: report.lines,
        events: report.events,
        unknown_events: report.unknown_events.values().sum(),
        malformed_lines: report.malformed_lines,
        problem: report.problems.first().map(|problem| match &problem.event {
            Some(event) => format!("line {} ({event}): {}", problem.line, problem.message),
            None => format!("line {}: {}", problem.line, problem.message),
        }),
        application_start_seen: report.application_start_seen,
        application_end_seen: report.application_end_seen,
    }
}

/// Looks at the head of a log for its application, and at its tail for the end: the attempt's row as far as these tell. `None` if
/// nothing is to be seen there; what is wrong with the log, reading it will say.
pub(super) async fn look_at(store: Arc<dyn LogStore>, log: Arc<EventLog>) -> Option<AttemptRows> {
    let mut fold = LiveApplication::new();
    let mut reader = LogReader::new(Arc::clone(&store), Arc::clone(&log));
    'head: while let Ok(Some(block)) = reader.next_block().await {
        for line in lines(&block.bytes) {
            fold.apply_line(line);
            if fold.report().application_start_seen {
                break 'head;
            }
        }
    }
    if !fold.report().application_start_seen {
        fold.apply_tail(reader.tail());
    }
    if let Some(last) = log.files.last().filter(|file| file.codec == Codec::None) {
        let start = last.size_bytes.saturating_sub(TAIL_BYTES);
        if let Ok(bytes) = store.read(&last.path, start..last.size_bytes).await {
            let end = lines(&bytes).filter(|line| line.starts_with(APPLICATION_END)).last();
            if let Some(line) = end {
                fold.apply_line(line);
            }
        }
    }
    let mut rows = fold.rows(&log)?;
    rows.tables.retain(|table, _| *table == APPLICATION_ATTEMPTS.name);
    rows.is_read = false;
    Some(rows)
}

const APPLICATION_END: &[u8] = b"{\"Event\":\"SparkListenerApplicationEnd\"";

async fn read_lines(live: &mut Live) -> Result<(), ReadError> {
    while let Some(block) = live.reader.next_block().await? {
        for line in lines(&block.bytes) {
            live.fold.apply_line(line);
        }
    }
    Ok(())
}

/// The lines of a block, without their newlines.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = (!bytes.is_empty()).then_some(bytes.strip_suffix(b"\n").unwrap_or(bytes));
    std::iter::from_fn(move || {
        let current = rest?;
        match memchr::memchr(b'\n', current) {
            Some(end) => {
                rest = Some(&current[end + 1..]);
                Some(&current[..end])
            }
            None => {
                rest = None;
                Some(current)
            }
        }
    })
}

/// Takes the last line if it is whole without its newline. Of a log that should be complete, whatever remains is torn: then
/// `true`.
fn end_of_log(live: &mut Live, log: &EventLog) -> bool {
    let tail_bytes = live.reader.tail().len();
    if tail_bytes > 0 && live.fold.apply_tail(live.reader.tail()) {
        live.reader.consume_tail();
    } else if tail_bytes > 0 && !log.in_progress {
        live.fold.torn_tail(format!(
            "{} is cut off: its last {tail_bytes} bytes are not a whole event",
            log.path
        ));
        return true;
    }
    let undecoded = live.reader.undecoded_bytes();
    if undecoded > 0 && !log.in_progress {
        live.fold.torn_tail(format!(
            "{} is cut off: its last {undecoded} compressed bytes are not a whole block",
            log.path
        ));
        return true;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_cut_at_its_newlines_and_empty_lines_count() {
        let cut = |bytes: &'static [u8]| {
            lines(bytes)
                .map(|l| std::str::from_utf8(l).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(cut(b"a\nbc\n"), ["a", "bc"]);
        assert_eq!(cut(b"a\n\nb\n"), ["a", "", "b"]);
        assert_eq!(cut(b"a"), ["a"]);
        assert_eq!(cut(b"\n"), [""]);
        assert!(cut(b"").is_empty());
    }
}
