//! Writes one Parquet file of one table.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{max, min};
use arrow::datatypes::{DataType, Date32Type, Int32Type, Int64Type, SchemaRef, TimestampMicrosecondType};
use object_store::buffered::BufWriter;
use object_store::path::Path;
use parquet::arrow::AsyncArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::arrange::{self, DAY};
use super::checked::{SummedFile, Sums};
use super::manifest::{AttemptOrd, KeyRange, KeyValue, RowRange, Segment};
use super::store::Storage;
use super::{CacheError, CacheOptions, name};
use crate::table::{TableDef, Type};

/// Rows of a row group. Tasks are many and read by the stage. Of other tables mostly the few rows of one application are read, and the
/// dictionary of each column is decompressed as a whole for them: with eight times as many rows that was most of the time of such a question.
const ROW_GROUP_OF_TASKS: usize = 262_144;
const ROW_GROUP: usize = 8192;
/// Of a table with shared texts fewer: the texts of a row group are its dictionary, which is decoded as a whole for one of its rows. So few
/// still share what is common to hundreds of applications.
const ROW_GROUP_OF_SHARED_TEXTS: usize = 2048;
/// Where such texts are not shared, a row group ends, and no longer looks for the same text, at this size: a section may have megabytes.
const SHARED_TEXT_BYTES: usize = 64 * 1024 * 1024;
/// Rows of a page: what is decoded for the few rows of one application. Tasks are read by the stage, and by all.
const PAGE_ROWS: usize = 2048;
/// Smaller files are one request; of larger ones this much is in memory.
const UPLOAD_PART_BYTES: usize = 10 * 1024 * 1024;
/// A longer text is no bound worth keeping in the manifest: its column then has none.
const LONGEST_BOUND: usize = 256;

pub(super) struct SegmentWriter {
    table: &'static TableDef,
    path: String,
    /// The path as messages name it.
    file: String,
    level: u8,
    writer: AsyncArrowWriter<SummedFile>,
    sums: Arc<Mutex<Sums>>,
    rows: u64,
    attempts: Vec<RowRange>,
    keys: Vec<Key>,
}

/// A key column and what was seen of it.
struct Key {
    column: usize,
    name: &'static str,
    bounds: Option<(KeyValue, KeyValue)>,
}

impl SegmentWriter {
    pub(super) fn start(
        storage: &Storage,
        table: &'static TableDef,
        level: u8,
        options: &CacheOptions,
    ) -> Result<Self, CacheError> {
        let schema = arrange::segment_schema(table);
        let path = format!("t/{}/L{level}-{}.parquet", table.name, name::unique());
        let file = BufWriter::with_capacity(Arc::clone(&storage.store), Path::from(path.as_str()), UPLOAD_PART_BYTES);
        let (file, sums) = SummedFile::new(file);
        let encode = |source| encode_error(table, source);
        let properties = properties(table, &schema, options).map_err(encode)?;
        let writer_options = ArrowWriterOptions::new()
            .with_properties(properties)
            // The types are all Parquet's own; an Arrow schema beside them would only be a second truth.
            .with_skip_arrow_metadata(true);
        let writer =
            AsyncArrowWriter::try_new_with_options(file, Arc::clone(&schema), writer_options).map_err(encode)?;
        let key = |name: &'static str| {
            let column = schema.index_of(name).ok()?;
            let bounds = None;
            Some(Key { column, name, bounds })
        };
        Ok(SegmentWriter {
            table,
            file: storage.file(&path),
            path,
            level,
            writer,
            sums,
            rows: 0,
            attempts: Vec::new(),
            keys: key_columns(table).into_iter().filter_map(key).collect(),
        })
    }

    /// Bytes of the row groups that are done: what the last one will be is only known when it is compressed.
    pub(super) fn bytes(&self) -> usize {
        self.writer.bytes_written()
    }

    /// Rows in the order of the segment, with the internal columns.
    pub(super) async fn write(&mut self, batch: &RecordBatch) -> Result<(), CacheError> {
        let written = self.writer.write(batch).await;
        written.map_err(|source| write_error(self.table, &self.file, source))?;
        if let Some(ords) = arrange::ords(batch) {
            for ord in ords.values() {
                self.count(AttemptOrd(*ord));
            }
        }
        for key in &mut self.keys {
            key.see(batch.column(key.column));
        }
        Ok(())
    }

    fn count(&mut self, ord: AttemptOrd) {
        match self.attempts.last_mut() {
            Some(last) if last.ord == ord => last.rows.end += 1,
            _ => self.attempts.push(RowRange {
                ord,
                rows: self.rows..self.rows + 1,
            }),
        }
        self.rows += 1;
    }

    /// The file is whole and durable when this returns.
    pub(super) async fn finish(mut self) -> Result<Segment, CacheError> {
        let metadata = self.writer.finish().await;
        let metadata = metadata.map_err(|source| write_error(self.table, &self.file, source))?;
        let bytes = self.writer.bytes_written() as u64;
        self.attempts.sort_by_key(|range| range.ord);
        if self.attempts.windows(2).any(|pair| pair[0].ord == pair[1].ord) {
            return Err(CacheError::damaged(
                &self.path,
                "rows of one attempt do not lie together",
            ));
        }
        let keys = self.keys.into_iter().filter_map(|key| {
            let (min, max) = key.bounds?;
            let column = key.name.to_owned();
            Some(KeyRange { column, min, max })
        });
        let blocks = self.sums.lock().unwrap_or_else(PoisonError::into_inner).finish();
        Ok(Segment {
            blocks,
            table: self.table.name.to_owned(),
            path: self.path,
            level: self.level,
            bytes,
            footer_bytes: bytes.saturating_sub(end_of_pages(&metadata)),
            rows: self.rows,
            attempts: self.attempts,
            keys: keys
                .filter(|key| ![&key.min, &key.max].iter().any(|bound| is_long(bound)))
                .collect(),
        })
    }
}

fn is_long(bound: &KeyValue) -> bool {
    matches!(bound, KeyValue::Text(text) if text.len() > LONGEST_BOUND)
}

impl Key {
    fn see(&mut self, array: &dyn Array) {
        let Some((low, high)) = bounds(array) else { return };
        self.bounds = Some(match self.bounds.take() {
            Some((min, max)) => (min.min(low), max.max(high)),
            None => (low, high),
        });
    }
}

/// The least and the greatest value, if there are any.
fn bounds(array: &dyn Array) -> Option<(KeyValue, KeyValue)> {
    let numbers = |low: i64, high: i64| (KeyValue::Number(low), KeyValue::Number(high));
    match array.data_type() {
        DataType::Int64 => {
            let array = array.as_primitive::<Int64Type>();
            Some(numbers(min(array)?, max(array)?))
        }
        DataType::Int32 => {
            let array = array.as_primitive::<Int32Type>();
            Some(numbers(min(array)?.into(), max(array)?.into()))
        }
        DataType::Date32 => {
            let array = array.as_primitive::<Date32Type>();
            Some(numbers(min(array)?.into(), max(array)?.into()))
        }
        DataType::Timestamp(..) => {
            let array = array.as_primitive_opt::<TimestampMicrosecondType>()?;
            Some(numbers(min(array)?, max(array)?))
        }
        // The only text with bounds is the first key, which rows are sorted by.
        DataType::Utf8 => {
            let array = array.as_string::<i32>();
            let text = |row: usize| KeyValue::Text(array.value(row).to_owned());
            let last = array.len().checked_sub(1)?;
            Some((text(0), text(last)))
        }
        _ => None,
    }
}

/// Columns with bounds in the manifest and statistics of each page. Of texts only the application, which comes first: others begin anew with
/// each application, so that their bounds say nothing, and comparing them costs more than writing.
fn key_columns(table: &TableDef) -> Vec<&'static str> {
    let is_text = |name: &str| table.column(name).is_some_and(|column| column.ty == Type::Text);
    let order = arrange::sort_order(table).into_iter();
    let mut keys: Vec<&'static str> = order.filter(|name| *name == "app_id" || !is_text(name)).collect();
    let times = table.columns.iter().map(|column| column.name);
    keys.extend(times.filter(|name| *name == "launch_time"));
    keys.push(DAY);
    keys
}

fn properties(table: &TableDef, schema: &SchemaRef, options: &CacheOptions) -> Result<WriterProperties, ParquetError> {
    let shared_texts = table.columns.iter().filter(|column| column.ty == Type::SharedText);
    let shared_texts: Vec<ColumnPath> = shared_texts.map(|column| ColumnPath::from(column.name)).collect();
    let row_group = match table.name {
        "tasks" => ROW_GROUP_OF_TASKS,
        _ if shared_texts.is_empty() => ROW_GROUP,
        _ => ROW_GROUP_OF_SHARED_TEXTS,
    };
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(options.zstd_level)?))
        .set_max_row_group_row_count(Some(row_group))
        .set_statistics_enabled(EnabledStatistics::None);
    if table.name != "tasks" {
        builder = builder
            .set_data_page_row_count_limit(PAGE_ROWS)
            .set_write_batch_size(PAGE_ROWS / 2);
    }
    if !shared_texts.is_empty() {
        builder = builder.set_max_row_group_bytes(Some(SHARED_TEXT_BYTES));
    }
    for column in shared_texts {
        builder = builder.set_column_dictionary_page_size_limit(column, SHARED_TEXT_BYTES);
    }
    let is_number = |ty| {
        matches!(
            ty,
            Type::Int32 | Type::Int64 | Type::Float64 | Type::Timestamp | Type::Bool
        )
    };
    for column in table.columns.iter().filter(|column| is_number(column.ty)) {
        builder = builder.set_column_statistics_enabled(ColumnPath::from(column.name), EnabledStatistics::Chunk);
    }
    for key in key_columns(table) {
        builder = builder.set_column_statistics_enabled(ColumnPath::from(key), EnabledStatistics::Page);
    }
    Ok(builder.set_sorting_columns(sorting_columns(table, schema)).build())
}

/// The sort order by numbers of leaves, of which a nested column has several.
fn sorting_columns(table: &TableDef, schema: &SchemaRef) -> Option<Vec<SortingColumn>> {
    let leaf = |name: &str| {
        let before = schema.fields().iter().take_while(|field| field.name() != name);
        i32::try_from(before.map(|field| leaves(field.data_type())).sum::<usize>()).ok()
    };
    let order = arrange::sort_order(table);
    let columns = order.into_iter().map(|name| {
        Some(SortingColumn {
            column_idx: leaf(name)?,
            descending: false,
            nulls_first: true,
        })
    });
    columns.collect()
}

fn leaves(data_type: &DataType) -> usize {
    match data_type {
        DataType::List(item) | DataType::Map(item, _) => leaves(item.data_type()),
        DataType::Struct(fields) => fields.iter().map(|field| leaves(field.data_type())).sum(),
        _ => 1,
    }
}

fn end_of_pages(metadata: &ParquetMetaData) -> u64 {
    let chunks = metadata.row_groups().iter().flat_map(|group| group.columns());
    let ends = chunks.map(|chunk| {
        let (start, length) = chunk.byte_range();
        start + length
    });
    ends.max().unwrap_or(0)
}

fn encode_error(table: &TableDef, source: ParquetError) -> CacheError {
    CacheError::Encode {
        table: table.name.to_owned(),
        source,
    }
}

/// A failure of the storage comes wrapped.
fn write_error(table: &TableDef, file: &str, source: ParquetError) -> CacheError {
    match super::read::storage_error(source) {
        Ok(source) => CacheError::Store {
            action: "write",
            file: file.to_owned(),
            source,
        },
        Err(source) => encode_error(table, source),
    }
}
