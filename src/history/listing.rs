//! The rows of `applications` and `application_attempts` of all applications together, in memory and in few batches.
//!
//! Each application gives these tables a row or two. Asked about all of them, a statement would handle as many batches as there are
//! applications, and that, not their rows, would be its work. So they lie joined, in shards; an application that changes joins one
//! shard anew. `applications` is made from `application_attempts` here: the newest attempt with totals over all.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{interleave_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;

use super::AttemptRows;
use crate::table::{APPLICATION_ATTEMPTS, APPLICATIONS, MAXIMA, SUMMED};

/// Applications in a shard, about: enough that a batch is worth its handling, few enough to be joined at every scan of a growing log.
const SHARD: usize = 2048;

/// Application and attempt id.
pub(super) type AttemptKey = (Arc<str>, Arc<str>);

/// A row of `application_attempts`: a batch and its place there. Of many rows that come together one batch is enough.
#[derive(Debug, Clone)]
pub(super) struct ListedRow {
    pub(super) batch: Arc<RecordBatch>,
    pub(super) row: usize,
}

impl ListedRow {
    /// The attempt's own row, if it is in memory.
    pub(super) fn of(rows: &AttemptRows) -> Option<Self> {
        let batch = rows.tables.get(APPLICATION_ATTEMPTS.name)?.first()?;
        Some(ListedRow {
            batch: Arc::new(batch.clone()),
            row: 0,
        })
    }
}

/// Collects changes, and joins them when a snapshot is made.
#[derive(Debug, Default)]
pub(super) struct Lister {
    /// `None` for an attempt that goes.
    changes: BTreeMap<AttemptKey, Option<ListedRow>>,
    listing: Listing,
}

/// The rows as of one moment, by a hash of the application: which shard it is in stays while the number of shards does.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    shards: Vec<Shard>,
}

/// The attempts of some applications, by application and attempt id, and these applications, by id.
#[derive(Debug, Clone)]
struct Shard {
    attempts: RecordBatch,
    applications: RecordBatch,
}

impl Lister {
    pub(super) fn put(&mut self, attempt: AttemptKey, row: ListedRow) {
        self.changes.insert(attempt, Some(row));
    }

    pub(super) fn remove(&mut self, attempt: AttemptKey) {
        self.changes.insert(attempt, None);
    }

    /// The rows with all changes so far.
    pub(super) fn listing(&mut self) -> Listing {
        let changes = std::mem::take(&mut self.changes);
        if !changes.is_empty() {
            match self.listing.with(&changes) {
                Ok(listing) => self.listing = listing,
                Err(error) => {
                    tracing::error!(%error, "rows of applications cannot be joined, which is a defect in sparkgate");
                }
            }
        }
        self.listing.clone()
    }
}

impl Listing {
    /// The rows of one of the two tables; `None` for other tables.
    pub fn table(&self, name: &str) -> Option<Vec<&RecordBatch>> {
        let batch: fn(&Shard) -> &RecordBatch = if name == APPLICATIONS.name {
            |shard| &shard.applications
        } else if name == APPLICATION_ATTEMPTS.name {
            |shard| &shard.attempts
        } else {
            return None;
        };
        let with_rows = self.shards.iter().map(batch).filter(|batch| batch.num_rows() > 0);
        Some(with_rows.collect())
    }

    /// The rows that one of the two tables has of an application; empty if it is not there.
    pub fn of_application(&self, name: &str, app_id: &str) -> Option<RecordBatch> {
        let shard = self.shards.get(shard_of(app_id, self.shards.len()))?;
        let batch = if name == APPLICATIONS.name {
            &shard.applications
        } else {
            &shard.attempts
        };
        let ids = ids(batch, 0)?;
        let first = partition_point(ids, |id| id < app_id);
        let end = partition_point(ids, |id| id <= app_id);
        (first < end).then(|| batch.slice(first, end - first))
    }

    pub fn applications(&self) -> usize {
        self.shards.iter().map(|shard| shard.applications.num_rows()).sum()
    }

    fn with(&self, changes: &BTreeMap<AttemptKey, Option<ListedRow>>) -> Result<Listing, ArrowError> {
        // About right is enough, and what a change adds or removes is seen with the next one.
        let applications = self.applications().max(changes.len());
        let count = (applications / SHARD + 1).next_power_of_two();
        let mut shards = self.shards.clone();
        if count != shards.len() {
            let all: Vec<&RecordBatch> = self.shards.iter().map(|shard| &shard.attempts).collect();
            shards = rows_by_shard(&all, count)
                .into_iter()
                .map(|rows| Shard::of(&all, &rows))
                .collect::<Result<_, _>>()?;
        }
        let mut by_shard: BTreeMap<usize, Vec<(&AttemptKey, &Option<ListedRow>)>> = BTreeMap::new();
        for (key, row) in changes {
            by_shard.entry(shard_of(&key.0, count)).or_default().push((key, row));
        }
        for (at, changes) in by_shard {
            shards[at] = shards[at].with(&changes)?;
        }
        Ok(Listing { shards })
    }
}

/// A batch and a row of it.
type Place = (usize, usize);

/// Places of the rows of each shard, in the order of the keys.
fn rows_by_shard(batches: &[&RecordBatch], count: usize) -> Vec<Vec<Place>> {
    let mut rows: Vec<Vec<(&str, &str, Place)>> = vec![Vec::new(); count];
    for (number, batch) in batches.iter().enumerate() {
        let (Some(apps), Some(attempts)) = (ids(batch, 0), ids(batch, 1)) else {
            continue;
        };
        for row in 0..batch.num_rows() {
            let app_id = apps.value(row);
            rows[shard_of(app_id, count)].push((app_id, attempts.value(row), (number, row)));
        }
    }
    let sorted = |mut rows: Vec<(&str, &str, Place)>| {
        rows.sort_unstable();
        rows.into_iter().map(|(_, _, place)| place).collect()
    };
    rows.into_iter().map(sorted).collect()
}

impl Shard {
    fn of(batches: &[&RecordBatch], rows: &[Place]) -> Result<Self, ArrowError> {
        let attempts = if rows.is_empty() {
            RecordBatch::new_empty(APPLICATION_ATTEMPTS.arrow_schema())
        } else {
            interleave_record_batch(batches, rows)?
        };
        let applications = merge_attempts(&attempts)?;
        Ok(Shard { attempts, applications })
    }

    /// With some attempts put, replaced or removed; `changes` are by key.
    fn with(&self, changes: &[(&AttemptKey, &Option<ListedRow>)]) -> Result<Self, ArrowError> {
        let (apps, attempts) = (ids(&self.attempts, 0), ids(&self.attempts, 1));
        let key_at = |row: usize| Some((apps?.value(row), attempts?.value(row)));
        // Batch 0 is what there was; rows that came together share one.
        let mut batches = vec![&self.attempts];
        let mut rows = Vec::with_capacity(self.attempts.num_rows() + changes.len());
        let mut old = 0..self.attempts.num_rows();
        for ((app_id, attempt_id), row) in changes {
            let key = (&**app_id, &**attempt_id);
            while old.start < old.end && key_at(old.start) < Some(key) {
                rows.push((0, old.start));
                old.start += 1;
            }
            if old.start < old.end && key_at(old.start) == Some(key) {
                old.start += 1;
            }
            if let Some(ListedRow { batch, row }) = row {
                if !batches.last().is_some_and(|last| std::ptr::eq(*last, &**batch)) {
                    batches.push(batch);
                }
                rows.push((batches.len() - 1, *row));
            }
        }
        rows.extend(old.map(|row| (0, row)));
        Shard::of(&batches, &rows)
    }
}

fn shard_of(app_id: &str, shards: usize) -> usize {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(app_id);
    usize::try_from(hash % shards.max(1) as u64).unwrap_or_default()
}

fn ids(batch: &RecordBatch, column: usize) -> Option<&StringArray> {
    batch.columns().get(column)?.as_string_opt()
}

fn partition_point(ids: &StringArray, mut is_before: impl FnMut(&str) -> bool) -> usize {
    let (mut low, mut high) = (0, ids.len());
    while low < high {
        let middle = low + (high - low) / 2;
        if is_before(ids.value(middle)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Rows of `applications` from rows of `application_attempts` by application: the newest attempt by start, with totals over all.
fn merge_attempts(attempts: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let (Some(apps), Some(ids)) = (ids(attempts, 0), ids(attempts, 1)) else {
        return Ok(attempts.clone());
    };
    let mut runs: Vec<Range<usize>> = Vec::with_capacity(apps.len());
    for row in 0..apps.len() {
        match runs.last_mut() {
            Some(run) if apps.value(run.start) == apps.value(row) => run.end = row + 1,
            _ => runs.push(row..row + 1),
        }
    }
    // Most applications have one attempt.
    if runs.len() == attempts.num_rows() {
        return Ok(attempts.clone());
    }
    let starts = attempts.column_by_name("start_time");
    let starts = starts.and_then(|starts| starts.as_primitive_opt::<TimestampMicrosecondType>());
    let start = |row: usize| {
        starts
            .filter(|starts| starts.is_valid(row))
            .map(|starts| starts.value(row))
    };
    let newest = |run: &Range<usize>| {
        let newest = run.clone().max_by_key(|row| (start(*row), ids.value(*row)));
        newest.and_then(|row| u32::try_from(row).ok())
    };
    let newest: UInt32Array = runs.iter().map(newest).collect();
    let shown = take_record_batch(attempts, &newest)?;
    let schema = shown.schema();
    let mut columns = shown.columns().to_vec();
    for (at, field) in schema.fields().iter().enumerate() {
        let name = field.name().as_str();
        if SUMMED.contains(&name) {
            let sum = |values: &mut dyn Iterator<Item = i64>| Some(values.fold(0, i64::wrapping_add));
            columns[at] = of_runs(attempts.column(at), &runs, sum)?;
        } else if MAXIMA.contains(&name) {
            columns[at] = of_runs(attempts.column(at), &runs, |values| values.max())?;
        }
    }
    RecordBatch::try_new(schema, columns)
}

/// One value for each run of rows, from those of its values that are not null.
fn of_runs(
    column: &ArrayRef,
    runs: &[Range<usize>],
    value: impl Fn(&mut dyn Iterator<Item = i64>) -> Option<i64>,
) -> Result<ArrayRef, ArrowError> {
    if let Some(longs) = column.as_primitive_opt::<Int64Type>() {
        let values = |run: &Range<usize>| {
            let valid = run.clone().filter(|row| longs.is_valid(*row));
            value(&mut valid.map(|row| longs.value(row)))
        };
        Ok(Arc::new(runs.iter().map(values).collect::<Int64Array>()))
    } else if let Some(ints) = column.as_primitive_opt::<Int32Type>() {
        let values = |run: &Range<usize>| {
            let valid = run.clone().filter(|row| ints.is_valid(*row));
            let of_run = value(&mut valid.map(|row| i64::from(ints.value(row))));
            of_run.and_then(|value| i32::try_from(value).ok())
        };
        Ok(Arc::new(runs.iter().map(values).collect::<Int32Array>()))
    } else {
        let other: &DataType = column.data_type();
        Err(ArrowError::NotYetImplemented(format!(
            "totals of a column of type {other}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Rows, Type, Value};

    /// A row with a start and, in every summed column, `number`.
    fn row(app_id: &str, attempt_id: &str, start: i64, number: i64) -> ListedRow {
        let mut rows = Rows::new(&APPLICATION_ATTEMPTS, 1);
        for column in APPLICATION_ATTEMPTS.columns {
            match (column.name, column.ty) {
                ("app_id", _) => rows.push(app_id),
                ("attempt_id", _) => rows.push(attempt_id),
                ("start_time", _) => rows.push(Value::Millis(start)),
                (_, Type::Text) => rows.push(format!("{app_id}/{attempt_id}").as_str()),
                (_, Type::Timestamp) => rows.push(Value::Millis(number)),
                (_, Type::Bool) => rows.push(true),
                _ => rows.push(Value::Int(number)),
            };
        }
        rows.end_row();
        ListedRow {
            batch: Arc::new(rows.finish()),
            row: 0,
        }
    }

    fn key(app_id: &str, attempt_id: &str) -> AttemptKey {
        (app_id.into(), attempt_id.into())
    }

    fn number(batch: &RecordBatch, column: &str) -> i64 {
        batch
            .column_by_name(column)
            .unwrap()
            .as_primitive::<Int64Type>()
            .value(0)
    }

    #[test]
    fn an_application_is_its_newest_attempt_with_totals_over_all() {
        let mut lister = Lister::default();
        lister.put(key("a", "1"), row("a", "1", 10, 3));
        lister.put(key("a", "2"), row("a", "2", 20, 4));
        lister.put(key("b", ""), row("b", "", 5, 7));
        let listing = lister.listing();
        assert_eq!(listing.applications(), 2);
        let a = listing.of_application("applications", "a").unwrap();
        assert_eq!(a.num_rows(), 1);
        assert_eq!(
            (number(&a, "num_tasks"), number(&a, "peak_execution_memory_bytes")),
            (7, 4)
        );
        assert_eq!(ids(&a, 1).unwrap().value(0), "2");
        assert_eq!(
            listing.of_application("application_attempts", "a").unwrap().num_rows(),
            2
        );
        assert!(listing.of_application("applications", "c").is_none());

        lister.remove(key("a", "2"));
        lister.put(key("b", ""), row("b", "", 5, 8));
        let after = lister.listing();
        assert_eq!(
            number(&after.of_application("applications", "a").unwrap(), "num_tasks"),
            3
        );
        assert_eq!(
            number(&after.of_application("applications", "b").unwrap(), "num_tasks"),
            8
        );
        let before = listing.of_application("applications", "b").unwrap();
        assert_eq!(number(&before, "num_tasks"), 7, "a listing that was given out stays");
    }

    #[test]
    fn many_applications_come_and_go_and_each_is_found() {
        let mut lister = Lister::default();
        let id = |n: usize| format!("app-{n:05}");
        let (mut all, mut expected) = (Vec::new(), BTreeMap::new());
        for n in 0..3 * SHARD {
            all.push(row(&id(n), "", 0, n as i64).batch.as_ref().clone());
            expected.insert(id(n), n as i64);
        }
        let joined = Arc::new(arrow::compute::concat_batches(&all[0].schema(), &all).unwrap());
        for n in 0..3 * SHARD {
            let row = ListedRow {
                batch: Arc::clone(&joined),
                row: n,
            };
            lister.put(key(&id(n), ""), row);
            if n % 1000 == 0 {
                lister.listing();
            }
        }
        for n in (0..3 * SHARD).step_by(3) {
            lister.remove(key(&id(n), ""));
            expected.remove(&id(n));
        }
        let listing = lister.listing();
        assert_eq!(listing.applications(), expected.len());
        let rows: usize = listing
            .table("application_attempts")
            .unwrap()
            .iter()
            .map(|batch| batch.num_rows())
            .sum();
        assert_eq!(rows, expected.len());
        for n in 0..3 * SHARD {
            let found = listing.of_application("applications", &id(n));
            assert_eq!(
                found.map(|row| number(&row, "num_tasks")),
                expected.get(&id(n)).copied(),
                "{n}"
            );
        }
    }
}
