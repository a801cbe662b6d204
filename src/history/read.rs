//! Reads one log, or what it has grown by, and folds its lines into rows.

use std::sync::Arc;

use crate::event_log::{EventLog, LogReader, LogStore, ReadError};
use crate::replay::{LiveApplication, ReplayReport};

use super::AttemptRows;
use super::parallel::LogFold;

/// Where a log that still grows was left: the reader stands behind the last whole line, the fold has seen all before it.
#[derive(Debug)]
pub(super) struct Live {
    reader: LogReader,
    fold: LiveApplication,
}

/// What reading a log gave.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The listing that was read.
    pub(super) log: Arc<EventLog>,
    pub(super) rows: Option<AttemptRows>,
    pub(super) report: ReplayReport,
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
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let corrupt = matches!(error, ReadError::Corrupt { .. });
        Failure {
            message: crate::telemetry::error_chain(&error),
            corrupt,
        }
    }
}

/// Reads a log to the end of what there is: on from `live` where the log continues it, else from the start.
pub(super) async fn read_log(store: Arc<dyn LogStore>, log: Arc<EventLog>, live: Option<Live>) -> Outcome {
    let continued = live.and_then(|mut live| live.reader.grow(Arc::clone(&log)).then_some(live));
    let Live { reader, mut fold } = continued.unwrap_or_else(|| Live {
        reader: LogReader::new(store, Arc::clone(&log)),
        fold: LiveApplication::new(),
    });

    let mut folding = LogFold::new(reader);
    let failure = loop {
        match folding.step(&mut fold).await {
            Ok(true) => {}
            Ok(false) => break None,
            Err(error) => break Some(Failure::from(error)),
        }
    };
    let reader = folding.finish(&mut fold).await;
    let mut live = Live { reader, fold };
    let torn = failure.is_none() && end_of_log(&mut live, &log);

    let rows = live.fold.rows(&log);
    let report = live.fold.report().clone();
    // What ended and got its final name is done. A log that ends inside a line is read again from the start should it
    // grow after all, because the fold has recorded the torn line.
    let may_go_on = failure.is_none() && !torn && (log.in_progress || !report.application_end_seen);
    Outcome {
        log,
        rows,
        report,
        failure,
        live: may_go_on.then_some(live),
    }
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
