//! Standard output: results of statements in every format of `sparkgate sql`, the lines of `sparkgate check`, and the
//! line that says `serve` is ready. Nothing else writes there.
//!
//! csv, json, ndjson, arrow and parquet write batch by batch and hold no more than one; a table holds the rows that decide
//! its widths.

mod check;
mod json;
mod progress;
mod table;

use std::io::{self, Write};

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use futures::{Stream, StreamExt};
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;

use crate::config::args::OutputFormat;

pub use check::write_check;
pub use progress::{ingested, with_progress, write_cache_status};
use table::TableWriter;

/// Why a result was not written to its end.
#[derive(Debug, thiserror::Error)]
pub enum OutputError<E> {
    /// The reader of a pipe has gone away, as `head` does: nothing is wrong.
    #[error("the reader of standard output has gone away")]
    ReaderGone,
    #[error("cannot write to standard output")]
    Write(#[source] io::Error),
    /// The format cannot hold the result.
    #[error("cannot write the result as {format}: {message}")]
    Format { format: &'static str, message: String },
    /// The statement failed while its rows were read.
    #[error(transparent)]
    Statement(E),
}

impl<E> From<io::Error> for OutputError<E> {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            OutputError::ReaderGone
        } else {
            OutputError::Write(error)
        }
    }
}

/// Writes one result. A result without columns (`SET`) writes nothing.
pub async fn write_result<E>(
    out: &mut (dyn Write + Send),
    format: OutputFormat,
    schema: SchemaRef,
    mut batches: impl Stream<Item = Result<RecordBatch, E>> + Unpin,
) -> Result<(), OutputError<E>> {
    let mut writer = ResultWriter::start(out, format, &schema)?;
    while let Some(batch) = batches.next().await {
        writer.batch(&batch.map_err(OutputError::Statement)?)?;
    }
    writer.finish()
}

/// Writes one line and makes it visible at once.
pub fn write_line(out: &mut (dyn Write + Send), line: &str) -> Result<(), OutputError<std::convert::Infallible>> {
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

type Out<'a> = &'a mut (dyn Write + Send);

/// A result that is being written.
enum ResultWriter<'a> {
    /// A result without columns.
    Nothing,
    Table {
        out: Out<'a>,
        table: TableWriter,
    },
    Csv(Out<'a>),
    Json {
        out: Out<'a>,
        rows: usize,
    },
    Ndjson(Out<'a>),
    Arrow(Box<StreamWriter<Out<'a>>>),
    Parquet(Box<ArrowWriter<Out<'a>>>),
}

impl<'a> ResultWriter<'a> {
    fn start<E>(out: Out<'a>, format: OutputFormat, schema: &SchemaRef) -> Result<Self, OutputError<E>> {
        if schema.fields().is_empty() {
            return Ok(ResultWriter::Nothing);
        }
        let names = || schema.fields().iter().map(|field| field.name().clone());
        Ok(match format {
            OutputFormat::Table => {
                let numbers = schema
                    .fields()
                    .iter()
                    .map(|field| json::is_number(field.data_type()))
                    .collect();
                ResultWriter::Table {
                    out,
                    table: TableWriter::new(names().collect(), numbers),
                }
            }
            OutputFormat::Csv => {
                let header: Vec<String> = names().map(|name| csv_cell(&name)).collect();
                writeln!(out, "{}", header.join(","))?;
                ResultWriter::Csv(out)
            }
            OutputFormat::Json => {
                write!(out, "[")?;
                ResultWriter::Json { out, rows: 0 }
            }
            OutputFormat::Ndjson => ResultWriter::Ndjson(out),
            OutputFormat::Arrow => ResultWriter::Arrow(Box::new(StreamWriter::try_new(out, schema).map_err(arrow)?)),
            OutputFormat::Parquet => {
                let schema = SchemaRef::clone(schema);
                ResultWriter::Parquet(Box::new(ArrowWriter::try_new(out, schema, None).map_err(parquet)?))
            }
        })
    }

    fn batch<E>(&mut self, batch: &RecordBatch) -> Result<(), OutputError<E>> {
        match self {
            ResultWriter::Nothing => {}
            ResultWriter::Table { out, table } => {
                for row in 0..batch.num_rows() {
                    let cell = |column| {
                        let mut text = String::new();
                        json::write_text(&mut text, column, row);
                        text
                    };
                    table.row(*out, batch.columns().iter().map(cell).collect())?;
                }
            }
            ResultWriter::Csv(out) => {
                let mut line = String::new();
                for row in 0..batch.num_rows() {
                    line.clear();
                    write_csv_row(&mut line, batch, row);
                    out.write_all(line.as_bytes())?;
                }
            }
            ResultWriter::Json { out, rows } => {
                let mut line = String::new();
                for row in 0..batch.num_rows() {
                    line.clear();
                    line.push_str(if *rows == 0 { "\n" } else { ",\n" });
                    json::write_row(&mut line, batch, row);
                    out.write_all(line.as_bytes())?;
                    *rows += 1;
                }
            }
            ResultWriter::Ndjson(out) => {
                let mut line = String::new();
                for row in 0..batch.num_rows() {
                    line.clear();
                    json::write_row(&mut line, batch, row);
                    line.push('\n');
                    out.write_all(line.as_bytes())?;
                }
            }
            ResultWriter::Arrow(writer) => writer.write(batch).map_err(arrow)?,
            ResultWriter::Parquet(writer) => writer.write(batch).map_err(parquet)?,
        }
        Ok(())
    }

    fn finish<E>(self) -> Result<(), OutputError<E>> {
        match self {
            ResultWriter::Nothing => {}
            ResultWriter::Table { out, table } => {
                table.finish(out, true)?;
                out.flush()?;
            }
            ResultWriter::Csv(out) | ResultWriter::Ndjson(out) => out.flush()?,
            ResultWriter::Json { out, rows } => {
                write!(out, "{}", if rows == 0 { "]\n" } else { "\n]\n" })?;
                out.flush()?;
            }
            ResultWriter::Arrow(mut writer) => {
                writer.finish().map_err(arrow)?;
                writer.get_mut().flush()?;
            }
            // Closing flushes.
            ResultWriter::Parquet(writer) => {
                writer.close().map_err(parquet)?;
            }
        }
        Ok(())
    }
}

/// RFC 4180, except that lines end with LF alone as everywhere on Unix. NULL is empty; an empty text is `""`.
fn write_csv_row(line: &mut String, batch: &RecordBatch, row: usize) {
    let mut cell = String::new();
    for (index, column) in batch.columns().iter().enumerate() {
        if index > 0 {
            line.push(',');
        }
        if column.is_null(row) {
            continue;
        }
        cell.clear();
        json::write_text(&mut cell, column, row);
        line.push_str(&csv_cell(&cell));
    }
    line.push('\n');
}

fn csv_cell(text: &str) -> String {
    if text.is_empty() || text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn arrow<E>(error: ArrowError) -> OutputError<E> {
    match error {
        ArrowError::IoError(_, source) => source.into(),
        other => OutputError::Format {
            format: "arrow",
            message: other.to_string(),
        },
    }
}

fn parquet<E>(error: ParquetError) -> OutputError<E> {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => (*source).into(),
            Err(other) => OutputError::Format {
                format: "parquet",
                message: other.to_string(),
            },
        },
        other => OutputError::Format {
            format: "parquet",
            message: other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use arrow::array::*;
    use arrow::datatypes::{Field, Int32Type};

    use super::*;

    async fn try_written(format: OutputFormat, batches: &[RecordBatch]) -> Result<Vec<u8>, OutputError<Infallible>> {
        let mut out = Vec::new();
        let stream = futures::stream::iter(batches.iter().cloned().map(Ok::<_, Infallible>));
        write_result(&mut out, format, batches[0].schema(), stream).await?;
        Ok(out)
    }

    async fn written(format: OutputFormat, batch: &RecordBatch) -> String {
        String::from_utf8(try_written(format, std::slice::from_ref(batch)).await.unwrap()).unwrap()
    }

    fn awkward() -> RecordBatch {
        let mut maps = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
        maps.keys().append_value("a\"b");
        maps.values().append_value(1);
        maps.append(true).unwrap();
        maps.append(false).unwrap();
        let times = TimestampMicrosecondArray::from(vec![Some(1_795_240_800_000_000), Some(1_795_240_800_000_001)]);
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
        let structs = StructArray::from(vec![(
            Arc::new(Field::new("x", arrow::datatypes::DataType::Float64, true)),
            Arc::new(Float64Array::from(vec![Some(f64::NAN), Some(1.0)])) as ArrayRef,
        )]);
        RecordBatch::try_from_iter_with_nullable([
            (
                "text",
                Arc::new(StringArray::from(vec![Some("say \"hi\", you"), None])) as ArrayRef,
                true,
            ),
            (
                "empty",
                Arc::new(StringArray::from(vec!["", "two\nlines"])) as ArrayRef,
                true,
            ),
            ("n", Arc::new(Int64Array::from(vec![None, Some(-5)])) as ArrayRef, true),
            ("f", Arc::new(Float64Array::from(vec![0.5, 2.0])) as ArrayRef, true),
            ("t", Arc::new(times.with_timezone("UTC")) as ArrayRef, true),
            ("l", Arc::new(lists) as ArrayRef, true),
            ("m", Arc::new(maps.finish()) as ArrayRef, true),
            ("s", Arc::new(structs) as ArrayRef, true),
        ])
        .unwrap()
    }

    #[tokio::test]
    async fn csv_quotes_what_needs_it_and_tells_null_from_empty() {
        insta::assert_snapshot!(written(OutputFormat::Csv, &awkward()).await, @r###"
text,empty,n,f,t,l,m,s
"say ""hi"", you","",,0.5,2026-11-21T06:00:00.000Z,"[1,null]","{""a\""b"":1}","{""x"":""NaN""}"
,"two
lines",-5,2,2026-11-21T06:00:00.000001Z,,,"{""x"":1.0}"
"###);
    }

    #[tokio::test]
    async fn ndjson_has_real_json_for_nested_values() {
        insta::assert_snapshot!(written(OutputFormat::Ndjson, &awkward()).await, @r###"
{"text":"say \"hi\", you","empty":"","n":null,"f":0.5,"t":"2026-11-21T06:00:00.000Z","l":[1,null],"m":{"a\"b":1},"s":{"x":"NaN"}}
{"text":null,"empty":"two\nlines","n":-5,"f":2.0,"t":"2026-11-21T06:00:00.000001Z","l":null,"m":null,"s":{"x":1.0}}
"###);
    }

    #[tokio::test]
    async fn json_is_one_array_even_without_rows() {
        let batch = awkward().project(&[2, 3]).unwrap();
        assert_eq!(
            written(OutputFormat::Json, &batch).await,
            "[\n{\"n\":null,\"f\":0.5},\n{\"n\":-5,\"f\":2.0}\n]\n"
        );
        assert_eq!(written(OutputFormat::Json, &batch.slice(0, 0)).await, "[]\n");
        for line in written(OutputFormat::Ndjson, &awkward()).await.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
    }

    #[tokio::test]
    async fn a_table_is_aligned_and_a_cell_may_have_several_lines() {
        insta::assert_snapshot!(written(OutputFormat::Table, &awkward().project(&[0, 1, 2, 4, 5]).unwrap()).await, @r###"
 text          | empty | n  | t                           | l
---------------+-------+----+-----------------------------+----------
 say "hi", you |       |    | 2026-11-21T06:00:00.000Z    | [1,null]
               | two  +| -5 | 2026-11-21T06:00:00.000001Z |
               | lines |    |                             |
(2 rows)
"###);
        let one = awkward().project(&[3]).unwrap().slice(0, 1);
        assert_eq!(written(OutputFormat::Table, &one).await, " f\n-----\n 0.5\n(1 row)\n\n");
    }

    #[tokio::test]
    async fn a_value_cannot_steer_the_terminal() {
        let batch =
            RecordBatch::try_from_iter([("c", Arc::new(StringArray::from(vec!["\u{1b}[2J"])) as ArrayRef)]).unwrap();
        assert!(written(OutputFormat::Table, &batch).await.contains(r" \u{1b}[2J"));
    }

    #[tokio::test]
    async fn other_types_are_written_as_people_expect() {
        let dictionary: DictionaryArray<Int32Type> = [Some("x"), None, Some("y")].into_iter().collect();
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("d", Arc::new(dictionary) as ArrayRef, true),
            (
                "f32",
                Arc::new(Float32Array::from(vec![0.1, f32::INFINITY, 3.0])) as ArrayRef,
                true,
            ),
            (
                "day",
                Arc::new(Date32Array::from(vec![20_778, 0, -1])) as ArrayRef,
                true,
            ),
            (
                "bytes",
                Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..], b"", b"a"])) as ArrayRef,
                true,
            ),
            (
                "local",
                Arc::new(TimestampNanosecondArray::from(vec![1, 1_000_000, 1_000])) as ArrayRef,
                true,
            ),
            (
                "dec",
                Arc::new(
                    Decimal128Array::from(vec![12345, 0, -5])
                        .with_precision_and_scale(10, 2)
                        .unwrap(),
                ) as ArrayRef,
                true,
            ),
            (
                "view",
                Arc::new(StringViewArray::from(vec!["a", "b", "c"])) as ArrayRef,
                true,
            ),
            (
                "flag",
                Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])) as ArrayRef,
                true,
            ),
        ])
        .unwrap();
        insta::assert_snapshot!(written(OutputFormat::Ndjson, &batch).await, @r###"
{"d":"x","f32":0.1,"day":"2026-11-21","bytes":"\\x00ff","local":"1970-01-01T00:00:00.000000001","dec":123.45,"view":"a","flag":true}
{"d":null,"f32":"Infinity","day":"1970-01-01","bytes":"\\x","local":"1970-01-01T00:00:00.001","dec":0.00,"view":"b","flag":false}
{"d":"y","f32":3.0,"day":"1969-12-31","bytes":"\\x61","local":"1970-01-01T00:00:00.000001","dec":-0.05,"view":"c","flag":null}
"###);
    }

    #[tokio::test]
    async fn arrow_and_parquet_read_back_as_they_were() {
        let batch = awkward();
        let bytes = try_written(OutputFormat::Arrow, &[batch.clone(), batch.clone()])
            .await
            .unwrap();
        let read: Vec<_> = arrow::ipc::reader::StreamReader::try_new(&bytes[..], None)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(read.len(), 2);
        // NaN is not equal to itself, so the column with it is left out.
        let comparable: Vec<usize> = (0..7).collect();
        assert_eq!(
            read[1].project(&comparable).unwrap(),
            batch.project(&comparable).unwrap()
        );

        let bytes = try_written(OutputFormat::Parquet, std::slice::from_ref(&batch))
            .await
            .unwrap();
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes));
        let read = reader.unwrap().build().unwrap().next().unwrap().unwrap();
        assert_eq!(read.num_rows(), 2);
        assert_eq!(read.column(0), batch.column(0));
    }

    struct ClosedPipe;

    impl Write for ClosedPipe {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_reader_that_goes_away_is_told_apart_from_a_failure() {
        for format in [
            OutputFormat::Table,
            OutputFormat::Csv,
            OutputFormat::Json,
            OutputFormat::Arrow,
            OutputFormat::Parquet,
        ] {
            let batch = awkward();
            let stream = futures::stream::iter([Ok::<_, Infallible>(batch.clone())]);
            let error = write_result(&mut ClosedPipe, format, batch.schema(), stream)
                .await
                .unwrap_err();
            assert!(matches!(error, OutputError::ReaderGone), "{format:?}: {error:?}");
        }
    }
}
