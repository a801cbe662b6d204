//! Reads one log, or what it has grown by, folds its lines into rows, and hands the rows of what has ended to the column cache.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use crate::cache::{
    AttemptInfo, AttemptOrd, AttemptState, AttemptWriter, Cache, CacheError, CacheView, LogReading, LogReport,
    LogStamp, Written, schema_hash,
};
use crate::event_log::{Codec, EventLog, LogReader, LogStore, ReadError, StoreError};
use crate::replay::{Attempt, LiveApplication, REPLAY_VERSION, ReplayReport, Retold};
use crate::rollup::{self, ReadFailure, RollupError, TaskColumns};
use crate::table::{APPLICATION_ATTEMPTS, TASKS};
use crate::telemetry::error_chain;

use super::AttemptRows;
use super::parallel::LogFold;

/// A log that has not ended and was not written to for this long is put away: its rows go into the cache, and should it grow after all, it
/// is read again from its start.
pub(super) const IDLE_MS: i64 = 3_600_000;
/// Rows of ended tasks that a fold holds before they go into the cache.
const TAKEN_ROWS: usize = 65_536;
/// A log that takes back what it told is read once more; one that does so again is being rewritten.
const MOST_READINGS: usize = 3;
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

impl Outcome {
    /// Nothing of the log can be shown, not even what was read of it.
    pub(super) fn nothing(log: Arc<EventLog>, failure: Failure) -> Self {
        Outcome {
            log,
            rows: None,
            written: None,
            report: LogReport::default(),
            failure: Some(failure),
            live: None,
        }
    }
}

/// Why a log was not read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) message: String,
    pub(super) cause: Cause,
}

/// What has to change before reading a log again can end better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The bytes of the log: reading them again gives the same.
    Bytes,
    /// The storage that the log lies in, which may recover at any time.
    Storage,
    /// The storage refuses, which ends only when someone changes something.
    Refused,
    /// The storage of the column cache, which may recover as well.
    Cache,
}

impl Failure {
    /// The task that read the log panicked: a defect of ours, which must not stop the other logs.
    pub(super) fn panicked(path: &str) -> Self {
        Failure {
            message: format!("reading {path} stopped because of a defect in sparkgate; please report it"),
            cause: Cause::Bytes,
        }
    }

    /// The rows could not be written.
    pub(super) fn of_cache(error: &CacheError) -> Self {
        Failure {
            message: error_chain(error),
            cause: Cause::Cache,
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let cause = match error {
            ReadError::Corrupt { .. } => Cause::Bytes,
            ReadError::Store(StoreError::Refused { .. } | StoreError::Denied { .. }) => Cause::Refused,
            ReadError::Store(_) => Cause::Storage,
        };
        Failure {
            message: error_chain(&error),
            cause,
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
    /// The log is read on when it has grown, so that what may still change stays in memory.
    pub(super) follow_growth: bool,
    pub(super) now_ms: i64,
}

/// Reads a log to the end of what there is: on from `live` where the log continues it, else from the start.
pub(super) async fn read_log(mut task: Task) -> Outcome {
    let continued = task.live.take().and_then(|mut live| {
        let same = live.stored.is_none_or(|ord| is_live(task.cache.as_deref(), ord));
        (same && live.reader.grow(Arc::clone(&task.log))).then_some(*live)
    });
    let fresh = |fold| Live {
        reader: LogReader::new(Arc::clone(&task.store), Arc::clone(&task.log)),
        fold,
        stored: None,
    };
    let mut live = continued.unwrap_or_else(|| fresh(LiveApplication::new()));
    for _ in 0..MOST_READINGS {
        match Box::pin(read_on(&task, live)).await {
            Ok(outcome) => return outcome,
            // The log takes back what it had told, and rows of that have left the fold.
            Err(retold) => live = fresh(LiveApplication::knowing(retold)),
        }
    }
    let failure = Failure {
        message: format!("{} changes while it is read, and not only by growing", task.log.path),
        cause: Cause::Storage,
    };
    Outcome::nothing(task.log, failure)
}

fn is_live(cache: Option<&Cache>, ord: AttemptOrd) -> bool {
    cache.is_some_and(|cache| cache.snapshot().by_ord(ord).is_some())
}

/// `Err` is what the log has to be read again with.
async fn read_on(task: &Task, live: Live) -> Result<Outcome, Retold> {
    let Task { log, cache, now_ms, .. } = task;
    let mut away = Away {
        cache: cache.as_deref(),
        stored: live.stored,
        writer: None,
    };
    let mut fold = live.fold;
    let mut folding = LogFold::new(live.reader);
    let mut lost = None;
    let failure = loop {
        match folding.step(&mut fold).await {
            Ok(true) => {}
            Ok(false) => break None,
            Err(error) => break Some(Failure::from(error)),
        }
        if cache.is_some()
            && fold.held_task_rows() >= TAKEN_ROWS
            && let Err(error) = away.take_tasks(&mut fold).await
        {
            lost = Some(error);
            break None;
        }
    };
    let reader = folding.finish(&mut fold).await;
    let mut live = Live {
        reader,
        fold,
        stored: live.stored,
    };
    // Without rows that had to be written nothing was read.
    if let Some(error) = lost {
        return Ok(Outcome::nothing(Arc::clone(log), Failure::of_cache(&error)));
    }
    let torn = failure.is_none() && end_of_log(&mut live, log);
    if let Some(retold) = live.fold.retold() {
        return Err(retold);
    }
    let mut rows = live.fold.rows(log);
    if let Some(rows) = &mut rows
        && let Err(error) = add_rollups(rows, &away).await
    {
        return Ok(Outcome::nothing(Arc::clone(log), error));
    }
    let mut outcome = Outcome {
        log: Arc::clone(log),
        rows: None,
        written: None,
        report: report(live.fold.report()),
        failure,
        live: None,
    };
    // What ended and got its final name is done. A log that ends inside a line is read again from the start should it
    // grow after all, because the fold has recorded the torn line.
    // Where the storage failed the reader stands behind what it read, and goes on from there when the storage is back.
    let is_sound = outcome
        .failure
        .as_ref()
        .is_none_or(|failure| failure.cause == Cause::Storage);
    let may_go_on = is_sound && !torn && (log.in_progress || !outcome.report.application_end_seen);
    // HDFS keeps the time at which a file was begun until it is closed, and knows who has it open.
    let is_idle = log.open.is_none() && now_ms.saturating_sub(log.modified_ms) > IDLE_MS;
    let stays = may_go_on && !((is_idle || !task.follow_growth) && cache.is_some());
    if let (Some(rows), Some(cache)) = (&mut rows, cache) {
        outcome.written = if stays {
            away.finish(&outcome, *now_ms)
        } else {
            match away.put_away(cache, rows, &live.fold, &outcome, *now_ms).await {
                Ok(written) => written,
                Err(error) => return Ok(Outcome::nothing(Arc::clone(log), Failure::of_cache(&error))),
            }
        };
    }
    if stays {
        live.stored = outcome.written.as_ref().map(Written::ord).or(live.stored);
        if let Some(rows) = &mut rows {
            rows.stored = live.stored;
        }
        outcome.live = Some(live);
    }
    outcome.rows = rows;
    Ok(outcome)
}

/// Rows of one attempt that have left its fold.
struct Away<'c> {
    cache: Option<&'c Cache>,
    /// Those of earlier readings are committed under this number.
    stored: Option<AttemptOrd>,
    /// Those of this one.
    writer: Option<AttemptWriter>,
}

impl Away<'_> {
    /// Moves rows of ended tasks from the fold to the cache.
    async fn take_tasks(&mut self, fold: &mut LiveApplication) -> Result<(), CacheError> {
        let batches = fold.take_tasks();
        let (Some(cache), Some(attempt), false) = (self.cache, fold.attempt(), batches.is_empty()) else {
            return Ok(());
        };
        let writer = self.writer(cache, &attempt)?;
        for batch in batches {
            writer.push(&TASKS, batch).await?;
        }
        Ok(())
    }

    fn writer(&mut self, cache: &Cache, attempt: &Attempt) -> Result<&mut AttemptWriter, CacheError> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => match self.stored {
                None => {
                    let acl_id = cache.acl_id(&attempt.acl.to_text());
                    cache.attempt(&attempt.app_id, &attempt.attempt_id, attempt.start_time_ms, acl_id)
                }
                Some(ord) => cache.extend(&attempt.app_id, &attempt.attempt_id, ord)?,
            },
        };
        Ok(self.writer.insert(writer))
    }

    /// What this reading has given to the cache, of a log that goes on.
    fn finish(self, outcome: &Outcome, now_ms: i64) -> Option<Written> {
        let info = AttemptInfo {
            reading: reading(&outcome.log, outcome.report.clone(), None, now_ms),
            state: AttemptState::Partial,
        };
        Some(self.writer?.finish(info))
    }

    /// Moves all rows but the attempt's own into the cache.
    async fn put_away(
        mut self,
        cache: &Cache,
        rows: &mut AttemptRows,
        fold: &LiveApplication,
        outcome: &Outcome,
        now_ms: i64,
    ) -> Result<Option<Written>, CacheError> {
        let Some(attempt) = fold.attempt() else { return Ok(None) };
        let writer = self.writer(cache, &attempt)?;
        writer.push_tables(&rows.tables).await?;
        writer.write_large_parts().await?;
        rows.tables.retain(|table, _| *table == APPLICATION_ATTEMPTS.name);
        let is_damaged = outcome.failure.is_some() || outcome.report.malformed_lines > 0;
        let state = if is_damaged {
            AttemptState::Damaged
        } else if outcome.report.application_end_seen {
            AttemptState::Complete
        } else {
            AttemptState::InProgress
        };
        let info = AttemptInfo {
            reading: reading(&outcome.log, outcome.report.clone(), outcome.failure.as_ref(), now_ms),
            state,
        };
        Ok(self.writer.map(|writer| writer.finish(info)))
    }
}

/// All task rows of an attempt, wherever they are.
struct AllTasks<'a> {
    away: &'a Away<'a>,
    /// With the view that has them.
    stored: Option<(CacheView, AttemptOrd)>,
    rest: &'a [RecordBatch],
}

impl TaskColumns for AllTasks<'_> {
    fn columns<'a>(&'a self, names: &'a [&'static str]) -> BoxStream<'a, Result<RecordBatch, ReadFailure>> {
        let boxed = |error: CacheError| -> ReadFailure { Box::new(error) };
        let stored = self
            .stored
            .as_ref()
            .map(|(view, ord)| view.columns(&TASKS, *ord, names));
        let away = self.away.writer.as_ref().map(|writer| writer.columns(&TASKS, names));
        let in_cache = futures::stream::iter(stored.into_iter().chain(away)).flatten();
        let rest = futures::stream::iter(self.rest.iter().cloned().map(Ok));
        in_cache.map_err(boxed).chain(rest).boxed()
    }
}

/// Sums rows up. Rows that cannot be are a defect of ours, and served without their sums; rows that cannot be read are not.
async fn add_rollups(rows: &mut AttemptRows, away: &Away<'_>) -> Result<(), Failure> {
    let tasks = AllTasks {
        away,
        stored: away.stored.and_then(|ord| Some((away.cache?.view(), ord))),
        rest: rows.tables.get(TASKS.name).map(Vec::as_slice).unwrap_or_default(),
    };
    match rollup::rollups(&rows.app_id, &rows.attempt_id, &rows.tables, &tasks).await {
        Ok(rollups) => rows.tables.extend(rollups),
        Err(RollupError::Read(error)) => {
            return Err(Failure {
                message: error_chain(&*error),
                cause: Cause::Cache,
            });
        }
        Err(error) => tracing::error!(
            app_id = &*rows.app_id,
            error = error_chain(&error),
            "an attempt has no rollups"
        ),
    }
    Ok(())
}

/// What is remembered of a reading.
pub(super) fn reading(log: &EventLog, report: LogReport, failure: Option<&Failure>, now_ms: i64) -> LogReading {
    LogReading {
        log: stamp(log),
        report,
        failure: failure.map(|failure| failure.message.clone()),
        failure_is_final: failure.is_some_and(|failure| failure.cause == Cause::Bytes),
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
