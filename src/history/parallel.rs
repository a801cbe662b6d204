//! Folds the lines of one log; of a large one, other threads read and parse ahead of the fold.
//!
//! Reading, with decompression, is one thread's work, because each byte of a stream needs those before it. Parsing is the
//! largest part, needs one block alone, and is spread over threads: pieces of the log are dealt to them in turn. Folding
//! needs all before it and stays with the caller, who takes the pieces in the same turn. So the rows and the report are the
//! same with any number of threads.
//!
//! Bounds: of each parser, a piece that waits, one in work and one that is parsed; nothing is read beyond that.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use crate::event_log::{LogReader, ReadError};
use crate::replay::{LiveApplication, ParsedBlock};

/// Lines parsed at a time: a few milliseconds' work, so that a hop between threads costs little beside it.
const PIECE_BYTES: usize = 1 << 20;
/// Decoded bytes that are folded before other threads are asked for help. Most logs, and what a running application adds
/// between two scans, are smaller.
const SERIAL_BYTES: usize = 16 << 20;
/// Threads that parse for one log. Parsing takes three times as long as folding: one more has its thread wait for the fold.
const MAX_PARSERS: usize = 4;

/// A log on its way into a fold, from where its reader stands on.
///
/// Each [`step`](Self::step) folds some lines; between two steps the fold is the caller's. [`finish`](Self::finish) gives the
/// reader back. A step that is dropped in its middle takes the reader with it: the log is to be read anew, with another fold.
#[derive(Debug)]
pub struct LogFold {
    /// Here while nothing is read ahead.
    reader: Option<LogReader>,
    ahead: Option<Ahead>,
    /// The right to the threads of `ahead`.
    helpers: Option<Helpers>,
    /// Decoded bytes that were folded without help.
    folded: usize,
    spent: Option<ParsedBlock>,
}

impl LogFold {
    /// Nothing is read yet.
    pub fn new(reader: LogReader) -> Self {
        LogFold {
            reader: Some(reader),
            ahead: None,
            helpers: None,
            folded: 0,
            spent: None,
        }
    }

    /// Folds the next lines; `false` at the end of what there is now. With an error all lines before it are folded.
    pub async fn step(&mut self, fold: &mut LiveApplication) -> Result<bool, ReadError> {
        // Where other logs have all helpers, this one goes on alone until some are free.
        if self.ahead.is_none()
            && self.folded >= SERIAL_BYTES
            && let Some(helpers) = Helpers::free()
        {
            let reader = self.reader.take().expect(READER);
            self.ahead = Some(Ahead::start(reader, helpers.0, PIECE_BYTES));
            self.helpers = Some(helpers);
        }
        if let Some(ahead) = &mut self.ahead {
            if ahead.fold_next(fold).await {
                return Ok(true);
            }
            return self.end_ahead().await.map(|()| false);
        }
        let reader = self.reader.as_mut().expect(READER);
        let Some(block) = reader.next_block().await? else {
            return Ok(false);
        };
        self.folded += block.bytes.len();
        for piece in pieces(block.bytes.into(), PIECE_BYTES) {
            let mut parsed = ParsedBlock::parse(piece, self.spent.take());
            fold.apply_block(&mut parsed);
            self.spent = Some(parsed);
        }
        Ok(true)
    }

    /// The reader, behind the last line that was folded. What was read ahead before is folded first: the reader cannot go
    /// back to it. So this may come before the end of the log, and after an error.
    pub async fn finish(mut self, fold: &mut LiveApplication) -> LogReader {
        if let Some(ahead) = &mut self.ahead {
            ahead.stop.store(true, Ordering::Relaxed);
            while ahead.fold_next(fold).await {}
            // An error of the reader comes again when it is asked again.
            let _ = self.end_ahead().await;
        }
        self.reader.expect(READER)
    }

    async fn end_ahead(&mut self) -> Result<(), ReadError> {
        let Some(ahead) = self.ahead.take() else {
            return Ok(());
        };
        let (reader, read) = ahead.end().await;
        self.reader = Some(reader);
        self.helpers = None;
        read
    }
}

/// Why there is a reader.
const READER: &str = "the reader is away only during a step, or while it reads ahead";

/// Threads that parse for one log. All logs together have at most as many as the runtime has, each of which reads a log.
#[derive(Debug)]
struct Helpers(usize);

static HELPERS_TAKEN: AtomicUsize = AtomicUsize::new(0);

impl Helpers {
    fn free() -> Option<Self> {
        let threads = Handle::current().metrics().num_workers();
        // With one thread, logs are to take one core.
        let all = if threads == 1 { 0 } else { threads };
        let taken = HELPERS_TAKEN.load(Ordering::Relaxed);
        let wanted = all.saturating_sub(taken).min(MAX_PARSERS);
        let got = wanted > 0
            && HELPERS_TAKEN
                .compare_exchange(taken, taken + wanted, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        got.then_some(Helpers(wanted))
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        HELPERS_TAKEN.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// A thread that parses, as the fold sees it.
#[derive(Debug)]
struct Parser {
    parsed: Receiver<ParsedBlock>,
    /// Blocks go back when they are folded: memory that moves on with every block costs more than parsing.
    spent: std::sync::mpsc::Sender<ParsedBlock>,
    thread: JoinHandle<()>,
}

impl Parser {
    fn start() -> (Sender<Bytes>, Self) {
        let (pieces, mut waiting) = mpsc::channel(1);
        let (done, parsed) = mpsc::channel(1);
        let (spent, folded) = std::sync::mpsc::channel();
        let work = move || {
            while let Some(piece) = waiting.blocking_recv() {
                if done
                    .blocking_send(ParsedBlock::parse(piece, folded.try_recv().ok()))
                    .is_err()
                {
                    return;
                }
            }
        };
        let thread = spawn_blocking(work);
        (pieces, Parser { parsed, spent, thread })
    }
}

/// The threads that read and parse for one log.
#[derive(Debug)]
struct Ahead {
    parsers: Vec<Parser>,
    /// The parser that has the next lines.
    turn: usize,
    reading: JoinHandle<(LogReader, Result<(), ReadError>)>,
    stop: Arc<AtomicBool>,
}

impl Ahead {
    fn start(reader: LogReader, parsers: usize, piece_bytes: usize) -> Self {
        let (pieces, parsers) = (0..parsers).map(|_| Parser::start()).unzip();
        let stop = Arc::new(AtomicBool::new(false));
        // A thread, not a task: tasks that wake each other share a worker, and would wait for each other's work.
        let reading = spawn_blocking({
            let (handle, stop) = (Handle::current(), Arc::clone(&stop));
            move || handle.block_on(read_ahead(reader, piece_bytes, pieces, &stop))
        });
        Ahead {
            parsers,
            turn: 0,
            reading,
            stop,
        }
    }

    /// `false` where no lines are left.
    async fn fold_next(&mut self, fold: &mut LiveApplication) -> bool {
        let parser = &mut self.parsers[self.turn];
        let Some(mut block) = parser.parsed.recv().await else {
            return false;
        };
        fold.apply_block(&mut block);
        // At the end of the log the parser has ended, and needs no memory.
        let _ = parser.spent.send(block);
        self.turn = (self.turn + 1) % self.parsers.len();
        true
    }

    /// Where the reader stands, and why it stopped. No lines are left, or a parser panicked.
    async fn end(self) -> (LogReader, Result<(), ReadError>) {
        // The ends of the queues go first, so that no thread waits for us.
        let threads: Vec<_> = self.parsers.into_iter().map(|parser| parser.thread).collect();
        for thread in threads {
            joined(thread).await;
        }
        joined(self.reading).await
    }
}

/// Reads to the end of what there is, or until it is to stop, and deals the lines to the parsers.
async fn read_ahead(
    mut reader: LogReader,
    piece_bytes: usize,
    parsers: Vec<Sender<Bytes>>,
    stop: &AtomicBool,
) -> (LogReader, Result<(), ReadError>) {
    let mut turn = 0;
    while !stop.load(Ordering::Relaxed) {
        let block = match reader.next_block().await {
            Ok(Some(block)) => Bytes::from(block.bytes),
            Ok(None) => break,
            Err(error) => return (reader, Err(error)),
        };
        for piece in pieces(block, piece_bytes) {
            let parser = &parsers[turn];
            turn = (turn + 1) % parsers.len();
            if parser.send(piece).await.is_err() {
                // The fold was dropped, or a parser panicked: nobody goes on with this reader.
                return (reader, Ok(()));
            }
        }
    }
    (reader, Ok(()))
}

/// Cuts a block of lines behind the first newline at or after each `size` bytes.
fn pieces(mut block: Bytes, size: usize) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let rest = block.get(size..).unwrap_or_default();
        let end = memchr::memchr(b'\n', rest).map_or(block.len(), |newline| size + newline + 1);
        Some(block.split_to(end)).filter(|piece| !piece.is_empty())
    })
}

async fn joined<T>(task: JoinHandle<T>) -> T {
    match task.await.map_err(JoinError::try_into_panic) {
        Ok(done) => done,
        // A defect of ours: it is this log's, as if it had happened here.
        Err(Ok(panic)) => resume_unwind(panic),
        // The runtime ends, and this task with it.
        Err(Err(_cancelled)) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use arrow::array::RecordBatch;
    use arrow::compute::concat_batches;

    use super::*;
    use crate::event_log::{EventLog, LocalStore, LogStore, discover};
    use crate::history::AttemptRows;
    use crate::replay::ReplayReport;

    async fn logs() -> Vec<Arc<EventLog>> {
        let mut logs = Vec::new();
        for dir in ["logs", "damaged"] {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(dir);
            let found = discover(&LocalStore, dir.to_str().unwrap()).await.unwrap();
            logs.extend(found.logs.into_iter().map(Arc::new));
        }
        logs
    }

    fn reader(log: &Arc<EventLog>) -> LogReader {
        LogReader::new(Arc::new(LocalStore) as Arc<dyn LogStore>, Arc::clone(log))
    }

    /// All that may depend on how a log was folded: report, rows, the torn end, and the error.
    type Seen = (ReplayReport, Vec<(&'static str, RecordBatch)>, Vec<u8>, Option<String>);

    fn seen(
        log: &Arc<EventLog>,
        fold: &mut LiveApplication,
        reader: &LogReader,
        result: Result<(), ReadError>,
    ) -> Seen {
        let tables = |rows: AttemptRows| {
            let whole = |batches: &[RecordBatch]| concat_batches(&batches[0].schema(), batches).unwrap();
            let tables = rows.tables.iter();
            tables.map(|(name, batches)| (*name, whole(batches))).collect()
        };
        let rows = fold.rows(log).map(tables).unwrap_or_default();
        let error = result.err().map(|error| error.to_string());
        (fold.report().clone(), rows, reader.tail().to_vec(), error)
    }

    /// Folds on from where a reader stands; an error ends it.
    async fn fold_on(mut folding: LogFold, fold: &mut LiveApplication) -> (LogReader, Result<(), ReadError>) {
        let result = loop {
            match folding.step(fold).await {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        (folding.finish(fold).await, result)
    }

    async fn folded(log: &Arc<EventLog>) -> Seen {
        let mut fold = LiveApplication::new();
        let (end, result) = fold_on(LogFold::new(reader(log)), &mut fold).await;
        seen(log, &mut fold, &end, result)
    }

    /// A fold that has others parse from the first line on.
    fn ahead(log: &Arc<EventLog>, parsers: usize, piece_bytes: usize) -> LogFold {
        let ahead = Ahead::start(reader(log), parsers, piece_bytes);
        LogFold {
            reader: None,
            ahead: Some(ahead),
            helpers: None,
            folded: 0,
            spent: None,
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn any_number_of_parsers_gives_what_one_thread_gives() {
        for log in logs().await {
            let expected = folded(&log).await;
            for (parsers, piece_bytes) in [(1, 1), (2, 1000), (3, 20_000), (4, usize::MAX)] {
                let (of_task, expected) = (Arc::clone(&log), expected.clone());
                // A task, as in a scan.
                let task = tokio::spawn(async move {
                    let mut fold = LiveApplication::new();
                    let (end, result) = fold_on(ahead(&of_task, parsers, piece_bytes), &mut fold).await;
                    seen(&of_task, &mut fold, &end, result) == expected
                });
                assert!(task.await.unwrap(), "{} with {parsers} parsers", log.path);
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_fold_that_stops_early_gives_back_a_reader_behind_what_was_folded() {
        let mut stopped = 0;
        for log in logs().await {
            let expected = folded(&log).await;
            let mut fold = LiveApplication::new();
            let mut first = ahead(&log, 2, 1000);
            for _ in 0..3 {
                let _ = first.step(&mut fold).await;
            }
            let half = first.finish(&mut fold).await;
            stopped += usize::from(fold.report().lines < expected.0.lines);
            let (end, result) = fold_on(LogFold::new(half), &mut fold).await;
            assert!(seen(&log, &mut fold, &end, result) == expected, "{}", log.path);
        }
        assert!(stopped > 0, "all logs were read at once");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_large_log_gets_helpers_and_gives_them_back() {
        let dir = tempfile::tempdir().unwrap();
        let start = "{\"Event\":\"SparkListenerApplicationStart\",\"App Name\":\"a\",\"App ID\":\"a\",\"Timestamp\":1,\"User\":\"u\"}\n";
        let line = format!(
            "{{\"Event\":\"SparkListenerSomething\",\"text\":\"{}\"}}\n",
            "x".repeat(1 << 16)
        );
        let lines = 3 * SERIAL_BYTES / line.len();
        std::fs::write(dir.path().join("app-1"), start.to_owned() + &line.repeat(lines)).unwrap();
        let found = discover(&LocalStore, dir.path().to_str().unwrap()).await.unwrap();
        let log = Arc::new(found.logs.into_iter().next().unwrap());
        let (mut fold, mut folding, mut helped) = (LiveApplication::new(), LogFold::new(reader(&log)), false);
        while folding.step(&mut fold).await.unwrap() {
            helped |= folding.ahead.is_some();
        }
        assert!(helped);
        assert!(folding.ahead.is_none() && folding.helpers.is_none());
        assert_eq!(fold.report().lines, lines as u64 + 1);
        assert_eq!(fold.report().unknown_events["SparkListenerSomething"], lines as u64);
        assert!(folding.finish(&mut fold).await.tail().is_empty());
    }

    #[test]
    fn pieces_end_at_newlines_and_are_the_block() {
        let block = Bytes::from_static(b"a\n\nbcd\ne\n");
        for size in 0..12 {
            let cut: Vec<Bytes> = pieces(block.clone(), size).collect();
            assert_eq!(cut.concat(), block);
            assert!(cut.iter().all(|piece| piece.ends_with(b"\n")));
        }
        assert_eq!(pieces(block, 1).count(), 3);
        assert_eq!(pieces(Bytes::new(), 1).count(), 0);
    }
}
