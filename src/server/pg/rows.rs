//! Rows on their way to a client, with everything that may end them: the client going away, a cancel, the deadline, a shutdown.
//!
//! [`Interrupts::guard`] is the one place where these are watched; every wait for rows, for a plan or for the socket goes through it.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::{BufMut, BytesMut};
use futures::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;

use super::command::CopyFormat;
use super::encode::{Column, RowEncoder, Style, column_count};
use super::error::{PgError, Stop};
use super::wire::{FLUSH_AT, Wire, bare, message};
use crate::catalog::activity::Signals;
use crate::server::query::{BatchStream, QueryError, RowStream};

/// A moment and the limit it comes from.
pub(super) type Deadline = Option<(Instant, Duration)>;

/// What may stop a statement from outside.
#[derive(Debug)]
pub(super) struct Interrupts {
    /// What is asked of this session from outside.
    signals: watch::Receiver<Signals>,
    /// Cancel requests that were heard of.
    cancels: u64,
    shutdown: watch::Receiver<bool>,
}

impl Interrupts {
    pub(super) fn new(signals: watch::Receiver<Signals>, shutdown: watch::Receiver<bool>) -> Self {
        Interrupts {
            signals,
            cancels: 0,
            shutdown,
        }
    }

    /// A cancel that came while nothing ran is for nobody.
    pub(super) fn forget_cancels(&mut self) {
        self.cancels = self.signals.borrow().cancels;
    }

    /// Ends when the session has to: the server stops, or somebody terminated it.
    pub(super) async fn ended(&mut self) -> QueryError {
        tokio::select! {
            Ok(_) = self.signals.wait_for(|signals| signals.is_terminated) => {}
            Ok(_) = self.shutdown.wait_for(|stop| *stop) => {}
        }
        QueryError::ShuttingDown
    }

    async fn interrupted(&mut self, deadline: Deadline) -> QueryError {
        let timed_out = async {
            match deadline {
                Some((at, limit)) => {
                    tokio::time::sleep_until(at).await;
                    QueryError::TimedOut { limit }
                }
                None => std::future::pending().await,
            }
        };
        let seen = self.cancels;
        let signalled = async {
            let wanted = |signals: &Signals| signals.is_terminated || signals.cancels != seen;
            // The sender lives as long as the session's entry, and that as long as the session.
            self.signals.wait_for(wanted).await.map(|signals| *signals)
        };
        tokio::select! {
            Ok(signals) = signalled => {
                self.cancels = signals.cancels;
                if signals.is_terminated { QueryError::ShuttingDown } else { QueryError::Cancelled }
            }
            Ok(_) = self.shutdown.wait_for(|stop| *stop) => QueryError::ShuttingDown,
            error = timed_out => error,
        }
    }

    /// Waits for `work`, while the client is there and nobody objects.
    pub(super) async fn guard<S, F>(
        &mut self,
        wire: &mut Wire<S>,
        deadline: Deadline,
        work: F,
    ) -> Result<F::Output, Stop>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        F: Future,
    {
        tokio::select! {
            biased;
            error = self.interrupted(deadline) => Err(error.into()),
            output = work => Ok(output),
            gone = wire.closed() => Err(Stop::Gone(gone)),
        }
    }

    /// Sends what is buffered; a client that does not read can still be cancelled or time out.
    pub(super) async fn flush<S>(&mut self, wire: &mut Wire<S>, deadline: Deadline) -> Result<(), Stop>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        tokio::select! {
            biased;
            error = self.interrupted(deadline) => Err(error.into()),
            sent = wire.flush() => Ok(sent?),
        }
    }
}

#[derive(Debug)]
enum Source {
    Running(BatchStream),
    /// Answers of the door itself.
    Ready(Option<RecordBatch>),
}

/// An open result: where it stands, and what is left.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) schema: SchemaRef,
    source: Source,
    batch: Option<(RowEncoder, usize)>,
    style: Style,
    finished: bool,
    /// Rows that were asked for and given, from the beginning.
    pub(super) given: usize,
}

/// What one run over a cursor did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    pub(super) rows: usize,
    /// The row limit was reached before the end was seen.
    pub(super) suspended: bool,
}

/// What becomes of a row.
#[derive(Debug)]
pub(super) enum Form<'a> {
    DataRow(&'a [Column]),
    Copy(&'a CopyFormat),
    /// `MOVE`.
    Nothing,
}

impl Cursor {
    pub(super) fn running(rows: RowStream, style: Style) -> Cursor {
        Cursor {
            schema: rows.schema,
            source: Source::Running(rows.batches),
            batch: None,
            style,
            finished: false,
            given: 0,
        }
    }

    /// A table of texts.
    pub(super) fn texts(names: &[&str], rows: Vec<Vec<String>>) -> Result<Cursor, QueryError> {
        let schema = text_schema(names);
        let columns = (0..names.len())
            .map(|column| {
                Arc::new(
                    rows.iter()
                        .map(|row| row.get(column).map(String::as_str))
                        .collect::<StringArray>(),
                ) as ArrayRef
            })
            .collect();
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).map_err(|error| QueryError::Internal {
            message: error.to_string(),
        })?;
        Ok(Cursor {
            schema,
            source: Source::Ready(Some(batch)),
            batch: None,
            style: Style::PLAIN,
            finished: false,
            given: 0,
        })
    }

    /// A statement's clock runs while it is asked for rows, not while a client leaves it suspended.
    fn set_deadline(&mut self, deadline: Deadline) {
        if let Source::Running(batches) = &mut self.source {
            batches.set_deadline(deadline);
        }
    }

    async fn next_batch(&mut self) -> Option<Result<RecordBatch, QueryError>> {
        match &mut self.source {
            Source::Running(batches) => batches.next().await,
            Source::Ready(batch) => batch.take().map(Ok),
        }
    }

    /// The next batch, for those who keep it.
    pub(super) async fn next_kept<S>(
        &mut self,
        wire: &mut Wire<S>,
        interrupts: &mut Interrupts,
        deadline: Deadline,
    ) -> Result<Option<RecordBatch>, Stop>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if self.finished {
            return Ok(None);
        }
        self.set_deadline(deadline);
        let next = interrupts.guard(wire, deadline, self.next_batch()).await?;
        self.set_deadline(None);
        self.finished = !matches!(next, Some(Ok(_)));
        Ok(next.transpose()?)
    }

    /// Sends up to `limit` rows.
    pub(super) async fn send<S>(
        &mut self,
        wire: &mut Wire<S>,
        interrupts: &mut Interrupts,
        deadline: Deadline,
        limit: Option<usize>,
        form: Form<'_>,
    ) -> Result<Progress, Stop>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.set_deadline(deadline);
        let mut rows = 0;
        let result = loop {
            if limit == Some(rows) {
                break Ok(Progress {
                    rows,
                    suspended: !self.finished,
                });
            }
            if let Some((encoder, next)) = &mut self.batch {
                if *next < encoder.rows {
                    match form {
                        Form::DataRow(columns) => encoder.data_row(*next, columns, &mut wire.out),
                        Form::Copy(format) => copy_row(encoder, *next, &self.schema, format, rows == 0, &mut wire.out),
                        Form::Nothing => {}
                    }
                    *next += 1;
                    rows += 1;
                    self.given += 1;
                    if wire.out.len() >= FLUSH_AT {
                        interrupts.flush(wire, deadline).await?;
                    }
                    continue;
                }
                self.batch = None;
            }
            if self.finished {
                break Ok(Progress { rows, suspended: false });
            }
            match interrupts.guard(wire, deadline, self.next_batch()).await? {
                Some(Ok(batch)) => self.batch = Some((RowEncoder::open(&batch, &self.schema, self.style)?, 0)),
                Some(Err(error)) => {
                    self.finished = true;
                    break Err(error.into());
                }
                None => self.finished = true,
            }
        };
        self.set_deadline(None);
        result
    }
}

pub(super) fn text_schema(names: &[&str]) -> SchemaRef {
    Arc::new(Schema::new(
        names
            .iter()
            .map(|name| Field::new(*name, DataType::Utf8, true))
            .collect::<Vec<_>>(),
    ))
}

/// Signature, no flags, no header extension. PostgreSQL has it in one message with what comes first, and clients rely on that.
const BINARY_COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// `CopyOutResponse`, and what comes before the first row.
pub(super) fn copy_begin(out: &mut BytesMut, schema: &Schema, format: &CopyFormat) {
    let binary = matches!(format, CopyFormat::Binary);
    message(out, b'H', |out| {
        out.put_u8(u8::from(binary));
        out.put_u16(column_count(schema.fields().len()));
        for _ in schema.fields() {
            out.put_i16(i16::from(binary));
        }
    });
    match format {
        CopyFormat::Text {
            delimiter,
            header: true,
            ..
        } => message(out, b'd', |out| {
            for (index, field) in schema.fields().iter().enumerate() {
                if index > 0 {
                    out.put_u8(*delimiter);
                }
                copy_escaped(out, field.name().as_bytes(), *delimiter);
            }
            out.put_u8(b'\n');
        }),
        CopyFormat::Csv {
            delimiter,
            quote,
            escape,
            null,
            header: true,
            ..
        } => message(out, b'd', |out| {
            for (index, field) in schema.fields().iter().enumerate() {
                if index > 0 {
                    out.put_u8(*delimiter);
                }
                csv_value(out, field.name().as_bytes(), *delimiter, *quote, *escape, null, false);
            }
            out.put_u8(b'\n');
        }),
        _ => {}
    }
}

/// `rows` have been sent.
pub(super) fn copy_end(out: &mut BytesMut, format: &CopyFormat, rows: usize) {
    if matches!(format, CopyFormat::Binary) {
        message(out, b'd', |out| {
            if rows == 0 {
                out.put_slice(BINARY_COPY_HEADER);
            }
            out.put_i16(-1);
        });
    }
    bare(out, b'c');
}

fn copy_row(
    encoder: &RowEncoder,
    row: usize,
    schema: &Schema,
    format: &CopyFormat,
    is_first: bool,
    out: &mut BytesMut,
) {
    let mut value = BytesMut::new();
    message(out, b'd', |out| match format {
        CopyFormat::Binary => {
            if is_first {
                out.put_slice(BINARY_COPY_HEADER);
            }
            encoder.binary_tuple(row, out);
        }
        CopyFormat::Text { delimiter, null, .. } => {
            for column in 0..encoder.width() {
                if column > 0 {
                    out.put_u8(*delimiter);
                }
                value.clear();
                if encoder.text(row, column, &mut value) {
                    copy_escaped(out, &value, *delimiter);
                } else {
                    out.put_slice(null.as_bytes());
                }
            }
            out.put_u8(b'\n');
        }
        CopyFormat::Csv {
            delimiter,
            quote,
            escape,
            null,
            force_quote,
            ..
        } => {
            for column in 0..encoder.width() {
                if column > 0 {
                    out.put_u8(*delimiter);
                }
                value.clear();
                if encoder.text(row, column, &mut value) {
                    let force = force_quote.covers(schema.field(column).name());
                    csv_value(out, &value, *delimiter, *quote, *escape, null, force);
                } else {
                    out.put_slice(null.as_bytes());
                }
            }
            out.put_u8(b'\n');
        }
    });
}

fn copy_escaped(out: &mut BytesMut, value: &[u8], delimiter: u8) {
    for byte in value {
        match byte {
            b'\\' => out.put_slice(b"\\\\"),
            b'\n' => out.put_slice(b"\\n"),
            b'\r' => out.put_slice(b"\\r"),
            b'\t' => out.put_slice(b"\\t"),
            0x08 => out.put_slice(b"\\b"),
            0x0b => out.put_slice(b"\\v"),
            0x0c => out.put_slice(b"\\f"),
            byte if *byte == delimiter => out.put_slice(&[b'\\', *byte]),
            byte => out.put_u8(*byte),
        }
    }
}

fn csv_value(out: &mut BytesMut, value: &[u8], delimiter: u8, quote: u8, escape: u8, null: &str, force: bool) {
    let special = |byte: &u8| *byte == delimiter || *byte == quote || matches!(byte, b'\n' | b'\r');
    // A value that reads as the null text, or as the end of data, is told apart by its quotes.
    if !force && value != null.as_bytes() && value != b"\\." && !value.iter().any(special) {
        return out.put_slice(value);
    }
    out.put_u8(quote);
    for byte in value {
        if *byte == quote || *byte == escape {
            out.put_u8(escape);
        }
        out.put_u8(*byte);
    }
    out.put_u8(quote);
}

/// An error for a cursor, portal or statement that is not there.
pub(super) fn missing(code: &'static str, what: &str, name: &str) -> Stop {
    Stop::Error(PgError::new(code, format!("{what} \"{name}\" does not exist")))
}
