//! `task_quantiles(value, counted, quantiles)`: the quantiles of a task metric by Spark's rule (`AppStatusStore.taskSummary`).
//!
//! A quantile `q` is the value at place `min(floor(q * n), n - 1)` of the sorted values, where `n` is the number of *counted* rows:
//! Spark counts successful tasks, but sorts the durations and delays of failed ones among theirs. A null of a counted row is 0, as Spark
//! takes a metric that the log lacks; a null of another row is left out, and so is a negative value, though its row may count. `NaN` where
//! there are fewer values than the place asks for.

use std::mem::size_of;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

use crate::rollup::quantile::{place, select};

pub(crate) fn task_quantiles() -> AggregateUDF {
    AggregateUDF::new_from_impl(TaskQuantiles {
        signature: Signature::exact(
            vec![DataType::Int64, DataType::Boolean, list_of(DataType::Float64)],
            Volatility::Immutable,
        ),
    })
}

fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TaskQuantiles {
    signature: Signature,
}

impl AggregateUDFImpl for TaskQuantiles {
    fn name(&self) -> &'static str {
        "task_quantiles"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(list_of(DataType::Float64))
    }

    fn accumulator(&self, _arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Quantiles::default()))
    }

    fn state_fields(&self, _arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![
            Arc::new(Field::new("values", list_of(DataType::Int64), true)),
            Arc::new(Field::new("counted", DataType::Int64, false)),
            Arc::new(Field::new("quantiles", list_of(DataType::Float64), true)),
        ])
    }
}

#[derive(Debug, Default)]
struct Quantiles {
    values: Vec<i64>,
    counted: i64,
    /// The same in each row; `None` until a row was seen.
    quantiles: Option<Vec<f64>>,
}

impl Quantiles {
    fn learn_quantiles(&mut self, lists: &ListArray) {
        if self.quantiles.is_none() && !lists.is_empty() && lists.is_valid(0) {
            self.quantiles = Some(lists.value(0).as_primitive::<Float64Type>().values().to_vec());
        }
    }
}

impl Accumulator for Quantiles {
    fn update_batch(&mut self, arguments: &[ArrayRef]) -> Result<()> {
        let (values, counted) = (arguments[0].as_primitive::<Int64Type>(), arguments[1].as_boolean());
        self.learn_quantiles(arguments[2].as_list::<i32>());
        self.values.reserve(values.len());
        for row in 0..values.len() {
            let is_counted = counted.is_valid(row) && counted.value(row);
            self.counted += i64::from(is_counted);
            if values.is_valid(row) {
                self.values.extend(Some(values.value(row)).filter(|value| *value >= 0));
            } else if is_counted {
                self.values.push(0);
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists = states[0].as_list::<i32>();
        for row in (0..lists.len()).filter(|row| lists.is_valid(*row)) {
            self.values
                .extend_from_slice(lists.value(row).as_primitive::<Int64Type>().values());
        }
        self.counted += states[1].as_primitive::<Int64Type>().values().iter().sum::<i64>();
        let quantiles = states[2].as_list::<i32>();
        if let Some(row) = (0..quantiles.len()).find(|row| quantiles.is_valid(*row)) {
            self.learn_quantiles(&quantiles.slice(row, 1));
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: ArrayRef = Arc::new(Int64Array::from(std::mem::take(&mut self.values)));
        Ok(vec![
            one_list(DataType::Int64, values),
            ScalarValue::from(self.counted),
            list_of_doubles(self.quantiles.as_deref()),
        ])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let count = self.counted;
        let Some(quantiles) = self.quantiles.as_ref().filter(|_| count > 0) else {
            return Ok(list_of_doubles(None));
        };
        let places: Vec<usize> = quantiles
            .iter()
            .map(|quantile| usize::try_from(place(*quantile, count)).unwrap_or(usize::MAX))
            .collect();
        let mut wanted: Vec<usize> = places
            .iter()
            .copied()
            .filter(|place| *place < self.values.len())
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut found = vec![0; wanted.len()];
        select(&mut self.values, &wanted, &mut found);
        let value = |place| wanted.binary_search(place).map_or(f64::NAN, |at| double(found[at]));
        let at: Vec<f64> = places.iter().map(value).collect();
        Ok(list_of_doubles(Some(&at)))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.values.capacity() * size_of::<i64>()
    }
}

#[expect(clippy::cast_precision_loss, reason = "REST shows doubles")]
fn double(value: i64) -> f64 {
    value as f64
}

fn list_of_doubles(values: Option<&[f64]>) -> ScalarValue {
    match values {
        Some(values) => one_list(DataType::Float64, Arc::new(Float64Array::from(values.to_vec()))),
        None => ScalarValue::new_null_list(DataType::Float64, true, 1),
    }
}

/// A list of all the items.
fn one_list(item: DataType, items: ArrayRef) -> ScalarValue {
    let offsets = OffsetBuffer::from_lengths([items.len()]);
    let field = Arc::new(Field::new("item", item, true));
    ScalarValue::List(Arc::new(ListArray::new(field, offsets, items, None)))
}

#[cfg(test)]
mod tests {
    use arrow::array::BooleanArray;

    use super::*;

    fn quantiles_of(rows: &[(Option<i64>, bool)], quantiles: &[f64]) -> Option<Vec<f64>> {
        let half = rows.len() / 2;
        let mut merged = Quantiles::default();
        for part in [&rows[..half], &rows[half..]] {
            let mut partial = Quantiles::default();
            let lists = list_of_doubles(Some(quantiles)).to_array_of_size(part.len()).unwrap();
            let values: Int64Array = part.iter().map(|(value, _)| *value).collect();
            let counted: BooleanArray = part.iter().map(|(_, counted)| Some(*counted)).collect();
            partial
                .update_batch(&[Arc::new(values), Arc::new(counted), lists])
                .unwrap();
            let state: Vec<ArrayRef> = partial
                .state()
                .unwrap()
                .iter()
                .map(|state| state.to_array().unwrap())
                .collect();
            merged.merge_batch(&state).unwrap();
        }
        match merged.evaluate().unwrap() {
            ScalarValue::List(list) if list.is_valid(0) => {
                Some(list.value(0).as_primitive::<Float64Type>().values().to_vec())
            }
            _ => None,
        }
    }

    #[test]
    fn a_quantile_is_the_value_at_its_place() {
        let rows: Vec<_> = [40, 10, 30, 20].map(|value| (Some(value), true)).to_vec();
        assert_eq!(
            quantiles_of(&rows, &[0.0, 0.24, 0.25, 0.5, 0.75, 0.99, 1.0, 7.0]),
            Some(vec![10.0, 10.0, 20.0, 30.0, 40.0, 40.0, 40.0, 40.0])
        );
    }

    #[test]
    fn many_quantiles_are_those_that_few_would_be() {
        let rows: Vec<_> = (0..100).map(|value| (Some((value * 37) % 100), true)).collect();
        let many: Vec<f64> = (0..=100).map(|percent| f64::from(percent) / 100.0).collect();
        let at_once = quantiles_of(&rows, &many).unwrap();
        for (quantile, value) in many.iter().zip(at_once) {
            assert_eq!(quantiles_of(&rows, &[*quantile]), Some(vec![value]));
        }
    }

    #[test]
    fn rows_that_do_not_count_are_sorted_among_those_that_do() {
        let rows = [(Some(5), true), (Some(1), false), (None, false), (Some(9), true)];
        assert_eq!(quantiles_of(&rows, &[0.0, 0.5, 1.0]), Some(vec![1.0, 5.0, 5.0]));
        assert_eq!(quantiles_of(&[(Some(1), false)], &[0.5]), None);
        assert_eq!(quantiles_of(&[], &[0.5]), None);
        let negative = quantiles_of(&[(Some(-1), true), (Some(2), true)], &[0.0, 1.0]).unwrap();
        assert!(negative[0] == 2.0 && negative[1].is_nan(), "{negative:?}");
    }

    #[test]
    fn a_metric_that_the_log_lacks_is_zero() {
        assert_eq!(
            quantiles_of(&[(None, true), (Some(3), true)], &[0.0, 1.0]),
            Some(vec![0.0, 3.0])
        );
    }
}
