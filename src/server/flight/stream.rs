//! Batches of a running statement become messages.
//!
//! A task of its own takes batches, encodes them and waits for the client, so that encoding and sending overlap and a client that stops is
//! noticed. Between statement and client there are the batches that the engine has ready, one that is encoded, and [`MESSAGES_IN_FLIGHT`]
//! messages: a slow client slows its statement down. Dropping the [`Answer`] (a client that cancels or is gone) ends the statement.
//!
//! Dictionaries, views and large lists go out as what they stand for, in the schema too, so that a `FlightInfo` and its stream agree
//! and every client can read them. Nothing else is changed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::{FlightData, IpcMessage, SchemaAsIpc};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tonic::Status;

use super::connection::Busy;
use super::error;
use super::running::Reader;
use crate::server::query::{QueryError, RowStream};

/// Encoded messages that wait for the client.
const MESSAGES_IN_FLIGHT: usize = 2;
/// Batches are cut so that messages stay below this: some clients of gRPC take no more than 4 MB unless they are told to.
const MESSAGE_BYTES: usize = 2 << 20;

/// The schema as clients get it.
pub(super) fn client_schema(schema: &Schema) -> SchemaRef {
    let fields: Fields = schema.fields().iter().map(plain_field).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn plain_field(field: &FieldRef) -> FieldRef {
    let plain = plain_type(field.data_type());
    match plain == *field.data_type() {
        true => Arc::clone(field),
        false => Arc::new(Field::clone(field).with_data_type(plain)),
    }
}

/// A type that every client knows.
fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain_type(values),
        DataType::RunEndEncoded(_, values) => plain_type(values.data_type()),
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) | DataType::LargeList(item) | DataType::ListView(item) | DataType::LargeListView(item) => {
            DataType::List(plain_field(item))
        }
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(plain_field(item), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        DataType::Map(entries, sorted) => DataType::Map(plain_field(entries), *sorted),
        other => other.clone(),
    }
}

/// A batch of the plan as one of the client's schema.
fn client_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, QueryError> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        match column.data_type() == field.data_type() {
            true => Ok(Arc::clone(column)),
            false => cast(column, field.data_type()),
        }
    });
    let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>().map_err(defect)?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(defect)
}

fn defect(error: arrow::error::ArrowError) -> QueryError {
    QueryError::Internal {
        message: format!("a batch does not have the schema that was planned: {error}"),
    }
}

/// A batch in pieces that make messages of about [`MESSAGE_BYTES`], by what its rows hold: a slice of a large batch is small.
fn pieces(batch: RecordBatch) -> Vec<RecordBatch> {
    let bytes: usize = batch
        .columns()
        .iter()
        // What a type does not say is what its buffers hold.
        .map(|column| {
            column
                .to_data()
                .get_slice_memory_size()
                .unwrap_or_else(|_| column.get_buffer_memory_size())
        })
        .sum();
    let rows = batch.num_rows();
    let count = bytes.div_ceil(MESSAGE_BYTES).max(1);
    let rows_in_piece = rows.div_ceil(count).max(1);
    if rows <= rows_in_piece {
        return vec![batch];
    }
    (0..rows)
        .step_by(rows_in_piece)
        .map(|from| batch.slice(from, rows_in_piece.min(rows - from)))
        .collect()
}

/// A schema as `FlightInfo` and prepared statements carry it.
pub(super) fn schema_bytes(schema: &Schema) -> Result<Bytes, Status> {
    let options = IpcWriteOptions::default();
    let message: Result<IpcMessage, _> = SchemaAsIpc::new(schema, &options).try_into();
    message.map(|IpcMessage(bytes)| bytes).map_err(error::internal)
}

/// What ends a result from outside.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) reader: Reader,
    pub(super) shutdown: watch::Receiver<bool>,
    /// How long the client may take nothing.
    pub(super) stall_timeout: Duration,
}

/// A result on its way to a client.
#[derive(Debug)]
pub(super) struct Answer {
    messages: mpsc::Receiver<FlightData>,
    /// Ends well, or with the last word.
    task: JoinHandle<Result<(), Status>>,
    is_over: bool,
    _busy: Arc<Busy>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Answer {
    /// The rows of a statement, in the schema that was promised for them.
    pub(super) fn of_rows(
        rows: RowStream,
        schema: SchemaRef,
        compression: Option<CompressionType>,
        ends: Ends,
        busy: Arc<Busy>,
    ) -> Result<Answer, Status> {
        let names = |schema: &Schema| {
            schema
                .fields()
                .iter()
                .map(|field| field.name().clone())
                .collect::<Vec<_>>()
        };
        if names(&schema) != names(&rows.schema) {
            return Err(error::internal(format!(
                "the rows have the columns {:?}, and {:?} were promised",
                names(&rows.schema),
                names(&schema)
            )));
        }
        let of_client = Arc::clone(&schema);
        let batches = rows
            .batches
            .map(move |batch| batch.and_then(|batch| client_batch(&batch, &of_client)));
        Self::of_batches(schema, batches, compression, ends, busy)
    }

    /// One batch that is there already.
    pub(super) fn of_batch(batch: RecordBatch, ends: Ends, busy: Arc<Busy>) -> Result<Answer, Status> {
        Self::of_batches(batch.schema(), stream::iter([Ok(batch)]), None, ends, busy)
    }

    fn of_batches(
        schema: SchemaRef,
        batches: impl Stream<Item = Result<RecordBatch, QueryError>> + Send + 'static,
        compression: Option<CompressionType>,
        ends: Ends,
        busy: Arc<Busy>,
    ) -> Result<Answer, Status> {
        let options = IpcWriteOptions::default()
            .try_with_compression(compression)
            .map_err(error::internal)?;
        let pieces = batches.flat_map(|batch| {
            stream::iter(match batch {
                Ok(batch) => pieces(batch).into_iter().map(Ok).collect(),
                Err(error) => vec![Err(FlightError::Tonic(Box::new(error::of_query(&error))))],
            })
        });
        let encoded = FlightDataEncoderBuilder::new()
            .with_schema(schema)
            .with_options(options)
            // They are cut already, by what they hold.
            .with_max_flight_data_size(usize::MAX)
            .build(pieces);
        let (sender, messages) = mpsc::channel(MESSAGES_IN_FLIGHT);
        Ok(Answer {
            messages,
            task: tokio::spawn(send(encoded, sender, ends)),
            is_over: false,
            _busy: busy,
        })
    }
}

/// Sends until the end, an error, or until nobody wants the rest.
async fn send(
    encoded: impl Stream<Item = Result<FlightData, FlightError>>,
    sender: mpsc::Sender<FlightData>,
    mut ends: Ends,
) -> Result<(), Status> {
    let stall_timeout = ends.stall_timeout;
    let work = async {
        let mut encoded = std::pin::pin!(encoded);
        while let Some(message) = encoded.next().await {
            let message = message.map_err(|error| match error {
                FlightError::Tonic(status) => *status,
                other => error::internal(other),
            })?;
            match tokio::time::timeout(stall_timeout, sender.send(message)).await {
                Ok(Ok(())) => {}
                // Nobody is there who could be told anything.
                Ok(Err(_)) => return Ok(()),
                Err(_) => {
                    tracing::info!(
                        ?stall_timeout,
                        "a client of Flight SQL takes nothing of its result, which ends"
                    );
                    return Err(error::with_sqlstate(
                        tonic::Code::DeadlineExceeded,
                        "57014",
                        "the client took nothing of the result for too long ([flight] stall_timeout)",
                    ));
                }
            }
        }
        Ok(())
    };
    tokio::select! {
        biased;
        () = ends.reader.cancelled() => Err(error::of_query(&QueryError::Cancelled)),
        Ok(_) = ends.shutdown.wait_for(|stop| *stop) => Err(error::of_query(&QueryError::ShuttingDown)),
        () = sender.closed() => Ok(()),
        ended = work => ended,
    }
}

impl Stream for Answer {
    type Item = Result<FlightData, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Some(message) = ready!(self.messages.poll_recv(context)) {
            return Poll::Ready(Some(Ok(message)));
        }
        // The sender is gone; whether all was sent, the task says: half a result must not look like a whole one.
        let ended = ready!(Pin::new(&mut self.task).poll(context));
        self.is_over = true;
        match ended {
            Ok(Ok(())) => Poll::Ready(None),
            Ok(Err(status)) => Poll::Ready(Some(Err(status))),
            Err(join) => Poll::Ready(Some(Err(error::internal(join)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, DictionaryArray, Int64Array, StringArray, StringViewArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn schema_and_batches_lose_what_clients_do_not_know() {
        let words: DictionaryArray<Int32Type> = ["a", "b", "a"].into_iter().collect();
        let views = StringViewArray::from(vec![Some("x"), None, Some("a longer text than fits in a view")]);
        let numbers = Int64Array::from(vec![1, 2, 3]);
        let batch = RecordBatch::try_from_iter([
            ("words", Arc::new(words) as ArrayRef),
            ("views", Arc::new(views) as ArrayRef),
            ("numbers", Arc::new(numbers) as ArrayRef),
        ])
        .unwrap();
        let schema = client_schema(&batch.schema());
        let types: Vec<_> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
        assert_eq!(types, [DataType::Utf8, DataType::Utf8, DataType::Int64]);
        let plain = client_batch(&batch, &schema).unwrap();
        assert_eq!(
            plain.column(0).as_string::<i32>(),
            &StringArray::from(vec!["a", "b", "a"])
        );
        assert!(plain.column(1).is_null(1));
        let nested = DataType::LargeList(Arc::new(Field::new("item", DataType::Utf8View, true)));
        assert_eq!(plain_type(&nested), DataType::new_list(DataType::Utf8, true));
    }

    #[test]
    fn batches_are_cut_by_what_their_rows_hold() {
        let text = "x".repeat(1000);
        let texts = StringArray::from(vec![text.as_str(); 10_000]);
        let batch = RecordBatch::try_from_iter([("text", Arc::new(texts) as ArrayRef)]).unwrap();
        let cut = pieces(batch.clone());
        assert_eq!(cut.iter().map(RecordBatch::num_rows).sum::<usize>(), 10_000);
        assert!((5..=6).contains(&cut.len()), "{} pieces", cut.len());
        // Ten rows of a large batch are one small message.
        assert_eq!(pieces(batch.slice(5000, 10)).len(), 1);
        assert_eq!(pieces(batch.slice(0, 0)).len(), 1);
    }
}
