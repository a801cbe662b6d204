//! Rows of a statement on their way into an answer.

use std::cmp::Ordering;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use futures::StreamExt;

use super::answer::Failure;
use super::json::Json;
use super::shape::Shape;
use crate::server::query::BatchStream;

/// Rows with the way to write them.
pub(super) struct Rows {
    pub(super) shape: Shape,
    pub(super) batches: BatchStream,
}

impl Rows {
    /// The next batch that has rows.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>, Failure> {
        while let Some(batch) = self.batches.next().await {
            let batch = batch?;
            if batch.num_rows() > 0 {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// All that is left. Only for statements whose rows are few.
    pub(super) async fn all(&mut self) -> Result<Vec<RecordBatch>, Failure> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await? {
            batches.push(batch);
        }
        Ok(batches)
    }
}

/// Rows that belong to those of another statement, one at a time; both are sorted by the same id.
pub(super) struct Cursor {
    rows: Rows,
    owner: &'static str,
    batch: Option<RecordBatch>,
    row: usize,
}

impl Cursor {
    /// `owner` is the column with the id of the row that a row belongs to.
    pub(super) fn of(rows: Rows, owner: &'static str) -> Self {
        Cursor {
            rows,
            owner,
            batch: None,
            row: 0,
        }
    }

    /// Whether the next row belongs to this id; rows of earlier ids are passed over.
    pub(super) async fn is_of(&mut self, owner: i64) -> Result<bool, Failure> {
        loop {
            let batch = match self.batch.take().filter(|batch| self.row < batch.num_rows()) {
                Some(batch) => batch,
                None => {
                    self.row = 0;
                    match self.rows.next().await? {
                        Some(batch) => batch,
                        None => return Ok(false),
                    }
                }
            };
            let of = id(&batch, self.owner, self.row);
            self.batch = Some(batch);
            match of.cmp(&owner) {
                Ordering::Less => self.row += 1,
                Ordering::Equal => return Ok(true),
                Ordering::Greater => return Ok(false),
            }
        }
    }

    /// Writes the next row as an object, with what `more` adds to it.
    pub(super) fn write(&mut self, json: &mut Json, more: impl FnOnce(&mut Json, &RecordBatch, usize)) {
        if let Some(batch) = &self.batch {
            json.begin_object();
            self.rows.shape.members(json, batch, self.row);
            more(json, batch, self.row);
            json.end_object();
            self.row += 1;
        }
    }
}

/// A text of a row; `None` is null.
pub(super) fn text<'a>(batch: &'a RecordBatch, column: &str, row: usize) -> Option<&'a str> {
    let array = batch.column_by_name(column)?.as_string_opt::<i32>()?;
    array.is_valid(row).then(|| array.value(row))
}

/// A whole number of a row; `None` is null.
pub(super) fn number(batch: &RecordBatch, column: &str, row: usize) -> Option<i64> {
    let array = batch.column_by_name(column)?;
    if array.is_null(row) {
        return None;
    }
    match array.as_primitive_opt::<Int32Type>() {
        Some(array) => Some(array.value(row).into()),
        None => Some(array.as_primitive_opt::<Int64Type>()?.value(row)),
    }
}

/// An id of a row. One that is not there sorts before all others.
pub(super) fn id(batch: &RecordBatch, column: &str, row: usize) -> i64 {
    number(batch, column, row).unwrap_or(i64::MIN)
}
