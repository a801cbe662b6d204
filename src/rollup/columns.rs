//! Columns of a batch by name, of the types that they have to be.

use arrow::array::{Array, AsArray, PrimitiveArray, RecordBatch, StringArray};
use arrow::datatypes::{ArrowPrimitiveType, Int32Type, Int64Type, TimestampMicrosecondType};

use super::RollupError;

/// Some rows of a table.
#[derive(Debug)]
pub(super) struct Columns<'a> {
    pub(super) table: &'static str,
    pub(super) batch: &'a RecordBatch,
}

impl<'a> Columns<'a> {
    pub(super) fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    pub(super) fn int32(&self, column: &'static str) -> Result<&'a PrimitiveArray<Int32Type>, RollupError> {
        self.primitive(column, "integer")
    }

    pub(super) fn int64(&self, column: &'static str) -> Result<&'a PrimitiveArray<Int64Type>, RollupError> {
        self.primitive(column, "bigint")
    }

    pub(super) fn instant(
        &self,
        column: &'static str,
    ) -> Result<&'a PrimitiveArray<TimestampMicrosecondType>, RollupError> {
        self.primitive(column, "timestamp with time zone")
    }

    pub(super) fn text(&self, column: &'static str) -> Result<&'a StringArray, RollupError> {
        let array = self.batch.column_by_name(column);
        array
            .and_then(|array| array.as_string_opt())
            .ok_or_else(|| self.missing(column, "text"))
    }

    fn primitive<T: ArrowPrimitiveType>(
        &self,
        column: &'static str,
        ty: &'static str,
    ) -> Result<&'a PrimitiveArray<T>, RollupError> {
        let array = self.batch.column_by_name(column);
        array
            .and_then(|array| array.as_primitive_opt())
            .ok_or_else(|| self.missing(column, ty))
    }

    fn missing(&self, column: &'static str, ty: &'static str) -> RollupError {
        RollupError::Column {
            table: self.table,
            column,
            ty,
        }
    }
}

/// The value of a row; `None` is null.
pub(super) fn value<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    array.is_valid(row).then(|| array.value(row))
}
