//! `sum` of integers that says so when the sum does not fit: DataFusion's wraps around.
//!
//! PostgreSQL's `sum(bigint)` is `numeric` and has no such end; here it is `bigint` (see `docs/sql.md`), and 22003 beyond it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::sum_checked;
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, SetMonotonicity, Signature,
    StatisticsArgs,
};
use datafusion::scalar::ScalarValue;
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

use super::sql_error::sql_error;

/// Takes the place of DataFusion's function of the same name.
pub(super) fn checked_sum() -> AggregateUDF {
    AggregateUDF::new_from_impl(CheckedSum::default())
}

fn out_of_range() -> DataFusionError {
    sql_error(
        "22003",
        "bigint out of range: sum of numeric has no such limit, as in sum(x::numeric)",
    )
}

#[derive(Debug, Default, PartialEq, Eq, Hash)]
struct CheckedSum {
    unchecked: Sum,
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        self.unchecked.name()
    }

    fn signature(&self) -> &Signature {
        self.unchecked.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.unchecked.return_type(arguments)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match args.return_field.data_type() {
            DataType::Int64 if !args.is_distinct => Ok(Box::<OneSum>::default()),
            _ => self.unchecked.accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match args.return_field.data_type() {
            DataType::Int64 if !args.is_distinct => Ok(Box::<OneSum>::default()),
            _ => self.unchecked.create_sliding_accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.unchecked.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.unchecked.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        match args.return_field.data_type() {
            DataType::Int64 => {
                let overflows = Arc::new(AtomicBool::new(false));
                let seen = Arc::clone(&overflows);
                let add = move |sum: &mut i64, value: i64| match sum.checked_add(value) {
                    Some(added) => *sum = added,
                    None => seen.store(true, Ordering::Relaxed),
                };
                Ok(Box::new(GroupSums {
                    sums: PrimitiveGroupsAccumulator::<Int64Type, _>::new(&DataType::Int64, add),
                    overflows,
                }))
            }
            _ => self.unchecked.create_groups_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.unchecked.reverse_expr()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.unchecked.order_sensitivity()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.unchecked.set_monotonicity(data_type)
    }

    fn value_from_stats(&self, statistics: &StatisticsArgs<'_>) -> Option<ScalarValue> {
        self.unchecked.value_from_stats(statistics)
    }
}

/// The sum of all rows, or of those in a window's frame.
#[derive(Debug, Default)]
struct OneSum {
    sum: i64,
    /// Rows that are no null.
    rows: u64,
}

impl OneSum {
    fn take(&mut self, values: &ArrayRef, change: fn(i64, i64) -> Option<i64>) -> Result<u64> {
        let values = values.as_primitive::<Int64Type>();
        let of_these = sum_checked(values).map_err(|_| out_of_range())?;
        self.sum = change(self.sum, of_these.unwrap_or(0)).ok_or_else(out_of_range)?;
        Ok((values.len() - values.null_count()) as u64)
    }
}

impl Accumulator for OneSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.rows += self.take(&values[0], i64::checked_add)?;
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = self.take(&values[0], i64::checked_sub)?;
        self.rows = self.rows.saturating_sub(rows);
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64((self.rows > 0).then_some(self.sum)))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// A sum for each group.
#[derive(Debug)]
struct GroupSums<F: Fn(&mut i64, i64) + Send + Sync + 'static> {
    sums: PrimitiveGroupsAccumulator<Int64Type, F>,
    /// Set by `sums` when one of them would not fit.
    overflows: Arc<AtomicBool>,
}

impl<F: Fn(&mut i64, i64) + Send + Sync + 'static> GroupSums<F> {
    fn checked(&self) -> Result<()> {
        if self.overflows.load(Ordering::Relaxed) {
            return Err(out_of_range());
        }
        Ok(())
    }
}

impl<F: Fn(&mut i64, i64) + Send + Sync + 'static> GroupsAccumulator for GroupSums<F> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        groups: usize,
    ) -> Result<()> {
        self.sums.update_batch(values, group_indices, filter, groups)?;
        self.checked()
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], groups: usize) -> Result<()> {
        self.sums.merge_batch(values, group_indices, groups)?;
        self.checked()
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.sums.evaluate(emit_to)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.sums.state(emit_to)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.sums.convert_to_state(values, filter)
    }

    fn size(&self) -> usize {
        self.sums.size()
    }
}
