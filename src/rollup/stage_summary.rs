//! Rows of `rollup.stage_summary`: `sql/rollups/stage_summary.sql`, number by number.
//!
//! The first pass over the tasks counts them; each further one sums some measures, and puts their values of successful tasks by stage into
//! one vector whose places the counts gave. Zeros, of which most measures have many, are only counted.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use futures::StreamExt;

use super::columns::Columns;
use super::{RollupError, TaskColumns, quantile};
use crate::table::{BLOCKS_FETCHED, MEASURE_COUNT, MEASURES, STAGE_QUANTILES, STAGE_SUMMARY, TASKS};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| STAGE_SUMMARY.arrow_schema());

/// The columns of `tasks` that [`BLOCKS_FETCHED`] is the sum of.
const BLOCKS: [&str; 2] = ["shuffle_local_blocks_fetched", "shuffle_remote_blocks_fetched"];

/// Stage and its attempt.
pub(super) type StageKey = (i32, i32);

#[derive(Debug, Default)]
pub(super) struct StageCounts {
    tasks: usize,
    complete: usize,
    failed: usize,
    killed: usize,
    /// Of the successful tasks those that have a finish time.
    finished: usize,
}

/// Counts the tasks of a batch.
pub(super) fn count(batch: &Columns<'_>, stages: &mut BTreeMap<StageKey, StageCounts>) -> Result<(), RollupError> {
    let (status, finish) = (batch.text("status")?, batch.instant("finish_time")?);
    for run in Runs::of(batch)? {
        let stage = stages.entry(run.key).or_default();
        stage.tasks += run.end - run.start;
        for row in run.start..run.end {
            match status.value(row) {
                "SUCCESS" => {
                    stage.complete += 1;
                    stage.finished += usize::from(finish.is_valid(row));
                }
                "FAILED" => stage.failed += 1,
                "KILLED" => stage.killed += 1,
                _ => {}
            }
        }
    }
    Ok(())
}

/// Rows that follow each other and are of one stage.
struct Run {
    key: StageKey,
    start: usize,
    end: usize,
}

struct Runs<'a> {
    stages: &'a [i32],
    attempts: &'a [i32],
    next: usize,
}

impl<'a> Runs<'a> {
    fn of(batch: &Columns<'a>) -> Result<Self, RollupError> {
        Ok(Runs {
            stages: batch.int32("stage_id")?.values(),
            attempts: batch.int32("stage_attempt_id")?.values(),
            next: 0,
        })
    }
}

impl Iterator for Runs<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let start = self.next;
        let key = (*self.stages.get(start)?, *self.attempts.get(start)?);
        let others = self.stages[start..].iter().zip(&self.attempts[start..]);
        let length = others
            .take_while(|(stage, attempt)| (**stage, **attempt) == key)
            .count();
        self.next = start + length;
        Some(Run {
            key,
            start,
            end: self.next,
        })
    }
}

/// `None` if there are no tasks.
pub(super) async fn rows(
    held_bytes: usize,
    (app_id, attempt_id): (&str, &str),
    stages: &BTreeMap<StageKey, StageCounts>,
    tasks: &dyn TaskColumns,
) -> Result<Option<RecordBatch>, RollupError> {
    if stages.is_empty() {
        return Ok(None);
    }
    let places = Places::of(stages);
    let at_once = (held_bytes / size_of::<i64>() / places.values.max(1)).clamp(1, MEASURE_COUNT);
    let mut measured = Vec::with_capacity(2 * MEASURE_COUNT);
    let mut is_uniform: Vec<bool> = stages.values().map(|stage| stage.finished == stage.complete).collect();
    for measures in MEASURES.chunks(at_once) {
        let pass = Pass::over(measures, &places, tasks).await?;
        pass.finish(&places, &mut measured, &mut is_uniform);
    }

    let numbers = |of: fn(&StageCounts) -> usize| {
        let numbers = stages
            .values()
            .map(|stage| i64::try_from(of(stage)).unwrap_or(i64::MAX));
        Arc::new(Int64Array::from_iter_values(numbers)) as ArrayRef
    };
    let keys = |of: fn(&StageKey) -> i32| Arc::new(Int32Array::from_iter_values(stages.keys().map(of))) as ArrayRef;
    let mut columns = vec![
        Arc::new(StringArray::new_repeated(app_id, stages.len())) as ArrayRef,
        Arc::new(StringArray::new_repeated(attempt_id, stages.len())),
        keys(|key| key.0),
        keys(|key| key.1),
        numbers(|stage| stage.tasks),
        numbers(|stage| stage.complete),
        numbers(|stage| stage.failed),
        numbers(|stage| stage.killed),
    ];
    columns.append(&mut measured);
    columns.push(Arc::new(BooleanArray::from(is_uniform)));
    let batch = RecordBatch::try_new(Arc::clone(&SCHEMA), columns);
    Ok(Some(batch.expect("the columns follow the table's definition")))
}

/// Where values of successful tasks lie: those of a stage after those of the stage before.
#[derive(Debug)]
struct Places {
    /// Ascending by key.
    stages: Vec<(StageKey, StagePlaces)>,
    /// Successful tasks of all stages.
    values: usize,
}

#[derive(Debug, Clone, Copy)]
struct StagePlaces {
    first: usize,
    complete: usize,
}

impl Places {
    fn of(stages: &BTreeMap<StageKey, StageCounts>) -> Self {
        let mut values = 0;
        let place = |(key, stage): (&StageKey, &StageCounts)| {
            let first = values;
            values += stage.complete;
            let places = StagePlaces {
                first,
                complete: stage.complete,
            };
            (*key, places)
        };
        Places {
            stages: stages.iter().map(place).collect(),
            values,
        }
    }

    fn find(&self, key: StageKey) -> Result<usize, RollupError> {
        let found = self.stages.binary_search_by_key(&key, |(key, _)| *key);
        found.map_err(|_| changed(key))
    }
}

fn changed((stage_id, stage_attempt_id): StageKey) -> RollupError {
    RollupError::Changed {
        stage_id,
        stage_attempt_id,
    }
}

/// One measure of one stage.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    sum: i64,
    is_measured: bool,
    /// Of successful tasks: those with values above 0, which are held, and others.
    held: usize,
    zeros: usize,
    negative: usize,
}

/// One pass over the tasks for some measures.
#[derive(Debug)]
struct Pass {
    measures: usize,
    /// By measure, then by stage.
    sums: Vec<Sums>,
    /// By measure, then as [`Places`] says.
    values: Vec<i64>,
}

impl Pass {
    async fn over(measures: &[&'static str], places: &Places, tasks: &dyn TaskColumns) -> Result<Self, RollupError> {
        let mut names = vec!["stage_id", "stage_attempt_id", "status"];
        for measure in measures {
            match *measure {
                BLOCKS_FETCHED => names.extend(BLOCKS.iter().filter(|column| !measures.contains(column))),
                measure => names.push(measure),
            }
        }
        let mut pass = Pass {
            measures: measures.len(),
            sums: vec![Sums::default(); measures.len() * places.stages.len()],
            values: vec![0; measures.len() * places.values],
        };
        let mut batches = tasks.columns(&names);
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(RollupError::Read)?;
            let batch = Columns {
                table: TASKS.name,
                batch: &batch,
            };
            pass.add(&batch, measures, places)?;
        }
        Ok(pass)
    }

    fn add(&mut self, batch: &Columns<'_>, measures: &[&'static str], places: &Places) -> Result<(), RollupError> {
        let status = batch.text("status")?;
        let succeeded: Vec<bool> = (0..batch.rows()).map(|row| status.value(row) == "SUCCESS").collect();
        let mut runs = Vec::new();
        for run in Runs::of(batch)? {
            runs.push((places.find(run.key)?, run));
        }
        for (at, measure) in measures.iter().enumerate() {
            let blocks;
            let column = match *measure {
                BLOCKS_FETCHED => {
                    let [local, remote] = BLOCKS.map(|column| batch.int64(column));
                    blocks = sum_of(local?, remote?);
                    &blocks
                }
                measure => batch.int64(measure)?,
            };
            let sums = &mut self.sums[at * places.stages.len()..][..places.stages.len()];
            let values = &mut self.values[at * places.values..][..places.values];
            for (stage, run) in &runs {
                let (key, of_stage) = places.stages[*stage];
                let values = &mut values[of_stage.first..][..of_stage.complete];
                let is_room = sums[*stage].add(column, run, &succeeded, values);
                is_room.ok_or_else(|| changed(key))?;
            }
        }
        Ok(())
    }

    /// Appends sum and quantiles of each measure.
    fn finish(mut self, places: &Places, columns: &mut Vec<ArrayRef>, is_uniform: &mut [bool]) {
        let stages = places.stages.len();
        for measure in 0..self.measures {
            let sums = &self.sums[measure * stages..][..stages];
            let values = &mut self.values[measure * places.values..][..places.values];
            let mut quantiles = Vec::with_capacity(stages * STAGE_QUANTILES.len());
            let mut has_quantiles = Vec::with_capacity(stages);
            for (stage, (_, of_stage)) in places.stages.iter().enumerate() {
                let sums = &sums[stage];
                let found = sums.quantiles(&mut values[of_stage.first..][..sums.held]);
                has_quantiles.push(found.is_some());
                quantiles.extend(found.into_iter().flatten());
                let measured = sums.held + sums.zeros + sums.negative;
                is_uniform[stage] &= sums.negative == 0 && (measured == 0 || measured == of_stage.complete);
            }
            let sums = sums.iter().map(|sums| sums.is_measured.then_some(sums.sum));
            columns.push(Arc::new(sums.collect::<Int64Array>()));
            columns.push(lists(quantiles, has_quantiles));
        }
    }
}

impl Sums {
    /// `None` if there are more values than tasks were counted.
    fn add(&mut self, column: &Int64Array, run: &Run, succeeded: &[bool], values: &mut [i64]) -> Option<()> {
        let numbers = column.values();
        let nulls = column.nulls();
        for row in run.start..run.end {
            if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                continue;
            }
            let value = numbers[row];
            self.is_measured = true;
            // As the engine's own `sum` does.
            self.sum = self.sum.wrapping_add(value);
            if !succeeded[row] {
            } else if value > 0 {
                *values.get_mut(self.held)? = value;
                self.held += 1;
            } else if value == 0 {
                self.zeros += 1;
            } else {
                self.negative += 1;
            }
        }
        Some(())
    }

    /// `held` are the values above 0.
    #[expect(clippy::cast_precision_loss, reason = "quantiles are doubles, as REST shows them")]
    fn quantiles(&self, held: &mut [i64]) -> Option<[f64; STAGE_QUANTILES.len()]> {
        let count = i64::try_from(self.zeros + self.held).ok().filter(|count| *count > 0)?;
        let places = STAGE_QUANTILES.map(|quantile| quantile::place(quantile, count).unsigned_abs() as usize);
        // Zeros come first. Of few values several quantiles are the same.
        let mut wanted = [0; STAGE_QUANTILES.len()];
        let mut number = 0;
        for place in places.into_iter().filter_map(|place| place.checked_sub(self.zeros)) {
            if number == 0 || wanted[number - 1] != place {
                wanted[number] = place;
                number += 1;
            }
        }
        let wanted = &wanted[..number];
        let mut found = [0; STAGE_QUANTILES.len()];
        quantile::select(held, wanted, &mut found[..number]);
        let value = |place: usize| {
            let at = place
                .checked_sub(self.zeros)
                .and_then(|place| wanted.binary_search(&place).ok());
            at.map_or(0.0, |at| found[at] as f64)
        };
        Some(places.map(value))
    }
}

/// Null where one of them is.
fn sum_of(left: &Int64Array, right: &Int64Array) -> Int64Array {
    let sums = left.values().iter().zip(right.values());
    let sums: Vec<i64> = sums.map(|(left, right)| left.wrapping_add(*right)).collect();
    Int64Array::new(sums.into(), NullBuffer::union(left.nulls(), right.nulls()))
}

/// The type of an item of a column of quantiles.
static ITEM: LazyLock<FieldRef> = LazyLock::new(|| {
    let types = SCHEMA.fields().iter().map(|field| field.data_type());
    let mut items = types.filter_map(|ty| match ty {
        DataType::List(item) => Some(Arc::clone(item)),
        _ => None,
    });
    items.next().expect("the table has columns of quantiles")
});

/// A list of all quantiles for each stage that has them.
fn lists(quantiles: Vec<f64>, has_quantiles: Vec<bool>) -> ArrayRef {
    let lengths = has_quantiles
        .iter()
        .map(|has| usize::from(*has) * STAGE_QUANTILES.len());
    let offsets = OffsetBuffer::from_lengths(lengths);
    let nulls = Some(NullBuffer::from(has_quantiles)).filter(|nulls| nulls.null_count() > 0);
    let items = Arc::new(Float64Array::from(quantiles));
    Arc::new(ListArray::new(Arc::clone(&ITEM), offsets, items, nulls))
}
