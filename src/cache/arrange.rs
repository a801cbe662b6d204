//! The order of rows in a segment, and the internal columns.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Date32Array, DynComparator, Int32Array, Int64Array, RecordBatch, UInt32Array, make_comparator,
};
use arrow::compute::{SortOptions, concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};

use super::manifest::AttemptOrd;
use crate::table::TableDef;

/// Column that every segment has behind those of its table, never seen in SQL: the attempt that a row belongs to ([`AttemptOrd`]).
pub const APP_ORD: &str = "app_ord";
/// And two more: who may see the row, and the day of the attempt's start.
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

/// Some columns of a table.
pub(super) fn projected(table: &TableDef, names: &[&str]) -> SchemaRef {
    let schema = table.arrow_schema();
    let fields = schema
        .fields()
        .iter()
        .filter(|field| names.contains(&field.name().as_str()));
    Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()))
}

/// Rows of one attempt, in any order.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttemptPart<'a> {
    pub(super) internal: Internal,
    pub(super) batches: &'a [RecordBatch],
}

/// The rows of some attempts, which follow each other as given, each in its order; with the internal columns.
pub(super) fn arrange(
    table: &TableDef,
    schema: &SchemaRef,
    parts: &[AttemptPart<'_>],
) -> Result<RecordBatch, ArrowError> {
    let batches = parts.iter().flat_map(|part| part.batches);
    let joined = match parts {
        [AttemptPart { batches: [one], .. }] => one.clone(),
        _ => concat_batches(&table.arrow_schema(), batches)?,
    };
    let counts: Vec<usize> = parts
        .iter()
        .map(|part| part.batches.iter().map(RecordBatch::num_rows).sum())
        .collect();
    let of_each = || {
        let internals = parts.iter().map(|part| part.internal);
        internals
            .zip(&counts)
            .flat_map(|(internal, count)| std::iter::repeat_n(internal, *count))
    };
    let mut columns = joined.columns().to_vec();
    columns.extend([
        Arc::new(Int64Array::from_iter_values(of_each().map(|internal| internal.ord.0))) as ArrayRef,
        Arc::new(Int32Array::from_iter_values(of_each().map(|internal| internal.acl_id))),
        Arc::new(Date32Array::from_iter_values(of_each().map(|internal| internal.day))),
    ]);
    let rows = RecordBatch::try_new(Arc::clone(schema), columns)?;
    sorted(table, rows, &counts)
}

/// Sorts each run of `counts` rows by the natural key. Rows usually come in their order, so that is looked at first.
fn sorted(table: &TableDef, batch: RecordBatch, counts: &[usize]) -> Result<RecordBatch, ArrowError> {
    let order_of = |name: &str| {
        let column = batch.column(batch.schema_ref().index_of(name)?);
        make_comparator(column, column, SortOptions::default())
    };
    let keys: Vec<DynComparator> = natural_key(table).map(order_of).collect::<Result<_, _>>()?;
    let compare = |a: u32, b: u32| {
        let mut orders = keys.iter().map(|key| key(a as usize, b as usize));
        orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    };
    let rows = u32::try_from(batch.num_rows())
        .map_err(|_| ArrowError::InvalidArgumentError("a part has more rows than 32 bits count".to_owned()))?;
    let mut order: Vec<u32> = Vec::new();
    let mut start = 0;
    for count in counts {
        let run = start..start + u32::try_from(*count).unwrap_or(rows);
        start = run.end;
        if run.clone().skip(1).all(|at| compare(at - 1, at).is_le()) {
            if !order.is_empty() {
                order.extend(run);
            }
            continue;
        }
        // All runs before were in order.
        if order.is_empty() {
            order.extend(0..run.start);
        }
        let mut of_run: Vec<u32> = run.collect();
        // Stable: the same log gives the same file.
        of_run.sort_by(|a, b| compare(*a, *b));
        order.extend(of_run);
    }
    if order.is_empty() {
        return Ok(batch);
    }
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
