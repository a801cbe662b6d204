//! The order of rows in a segment, and the internal columns.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Date32Array, Int32Array, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};

use super::manifest::AttemptOrd;
use crate::table::TableDef;

/// Columns that every segment has behind those of its table, never seen in SQL.
pub(super) const APP_ORD: &str = "app_ord";
pub(super) const ACL_ID: &str = "acl_id";
pub(super) const DAY: &str = "day";

/// What the internal columns of an attempt's rows say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Internal {
    pub(super) ord: AttemptOrd,
    pub(super) acl_id: i32,
    /// Day of the start, UTC, since the epoch.
    pub(super) day: i32,
}

const APP_KEY: [&str; 2] = ["app_id", "attempt_id"];

/// What rows of a table are sorted by on disk. The application comes first, also where SQL sees another order: its rows lie together.
pub(super) fn sort_order(table: &TableDef) -> Vec<&'static str> {
    let mut order: Vec<&'static str> = APP_KEY.into_iter().filter(|key| table.column(key).is_some()).collect();
    order.extend(natural_key(table));
    order
}

/// The order of the rows of one attempt.
fn natural_key(table: &TableDef) -> impl Iterator<Item = &'static str> {
    let key = table.sort_order.iter().copied();
    key.filter(|column| !APP_KEY.contains(column))
}

/// The columns of a segment.
pub(super) fn segment_schema(table: &TableDef) -> SchemaRef {
    let mut fields = table.arrow_schema().fields().to_vec();
    fields.extend([
        Arc::new(Field::new(APP_ORD, DataType::Int64, false)),
        Arc::new(Field::new(ACL_ID, DataType::Int32, false)),
        Arc::new(Field::new(DAY, DataType::Date32, false)),
    ]);
    Arc::new(Schema::new(fields))
}

/// The rows of one attempt in their order, with the internal columns.
pub(super) fn arrange(
    table: &TableDef,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    internal: Internal,
) -> Result<RecordBatch, ArrowError> {
    let joined = match batches {
        [one] => one.clone(),
        many => concat_batches(&table.arrow_schema(), many)?,
    };
    let rows = sorted(table, joined)?;
    let count = rows.num_rows();
    let mut columns = rows.columns().to_vec();
    columns.extend([
        Arc::new(Int64Array::from_value(internal.ord.0, count)) as ArrayRef,
        Arc::new(Int32Array::from_value(internal.acl_id, count)),
        Arc::new(Date32Array::from_value(internal.day, count)),
    ]);
    RecordBatch::try_new(Arc::clone(schema), columns)
}

fn sorted(table: &TableDef, batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let key: Vec<&str> = natural_key(table).collect();
    if key.is_empty() || batch.num_rows() < 2 {
        return Ok(batch);
    }
    let rows = Keys::new(&batch.schema(), &key)?.of(&batch)?;
    let count = u32::try_from(rows.num_rows()).map_err(|_| {
        ArrowError::InvalidArgumentError("an attempt has more rows in one part than 32 bits count".to_owned())
    })?;
    let row = |at: &u32| rows.row(*at as usize);
    let mut order: Vec<u32> = (0..count).collect();
    if order.is_sorted_by(|a, b| row(a) <= row(b)) {
        return Ok(batch);
    }
    // Stable: the same log gives the same file.
    order.sort_by(|a, b| row(a).cmp(&row(b)));
    take_record_batch(&batch, &UInt32Array::from(order))
}

/// Makes key columns comparable row by row. Rows of one `Keys` can be compared with each other.
pub(super) struct Keys {
    converter: RowConverter,
    columns: Vec<usize>,
}

impl Keys {
    pub(super) fn new(schema: &Schema, key: &[&str]) -> Result<Self, ArrowError> {
        let columns: Vec<usize> = key.iter().map(|name| schema.index_of(name)).collect::<Result<_, _>>()?;
        let fields = columns
            .iter()
            .map(|at| SortField::new(schema.field(*at).data_type().clone()))
            .collect();
        let converter = RowConverter::new(fields)?;
        Ok(Keys { converter, columns })
    }

    pub(super) fn of(&self, batch: &RecordBatch) -> Result<Rows, ArrowError> {
        let columns: Vec<ArrayRef> = self.columns.iter().map(|at| Arc::clone(batch.column(*at))).collect();
        self.converter.convert_columns(&columns)
    }
}

/// The ords of a segment's rows.
pub(super) fn ords(batch: &RecordBatch) -> Option<&Int64Array> {
    let column = batch.column_by_name(APP_ORD)?;
    column.as_any().downcast_ref()
}
