//! Made-up attempts with tasks as no sane log has them: the rows are those of the SQL that defines them.

mod measure;

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch};
use datafusion::config::Dialect;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::AggregateUDF;
use futures::executor::block_on;

use super::*;
use crate::catalog::{Catalog, SessionVars, SnapshotSource, rewrite};
use crate::event_log::{EventLog, LogReader};
use crate::history::{AttemptRows, Snapshot};
use crate::table::{APPLICATION_ATTEMPTS, EXECUTORS, Rows, TASKS, TableDef, Type, Value};

const APP: (&str, &str) = ("app", "1");
/// 2026-11-21, 00:00 UTC, in milliseconds.
const DAY: i64 = 1_795_219_200_000;
const HOUR: i64 = 3_600_000;
const YEAR: i64 = 365 * 24 * HOUR;

/// Rows of a table: the given cells, and of other columns null or, where that may not be, nothing much.
fn batch(def: &'static TableDef, rows: &[Vec<(&str, Value<'static>)>]) -> RecordBatch {
    let mut built = Rows::new(def, rows.len());
    for row in rows {
        for column in def.columns {
            let given = row.iter().find(|(name, _)| *name == column.name);
            let other = match (column.name, column.nullable, column.ty) {
                ("app_id", ..) => Value::Text(APP.0),
                ("attempt_id", ..) => Value::Text(APP.1),
                (_, true, _) => Value::Null,
                (_, _, Type::Bool) => Value::Bool(false),
                (_, _, Type::Text) => Value::Text(""),
                (_, _, Type::Timestamp) => Value::Millis(DAY),
                (_, _, Type::List(_)) => Value::List(Vec::new()),
                (_, _, Type::Map(_)) => Value::Map(Vec::new()),
                (_, _, Type::Float64) => Value::Float(0.0),
                _ => Value::Int(0),
            };
            built.push(given.map_or(other, |(_, value)| value.clone()));
        }
        built.end_row();
    }
    built.finish()
}

/// A sequence of numbers that look random (Knuth's), the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: i64) -> i64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// A task of one of three stages: of stage 1 all succeed with all numbers, of stage 2 anything, of stage 3 none succeeds.
fn task(numbers: &mut Numbers) -> Vec<(&'static str, Value<'static>)> {
    let stage = numbers.below(3) + 1;
    let odd = stage != 1;
    let status = match (stage, numbers.below(5)) {
        (1, _) => "SUCCESS",
        (3, at) => ["RUNNING", "FAILED", "KILLED", "GET RESULT", "UNKNOWN"][usize::try_from(at).unwrap()],
        (_, at) => ["SUCCESS", "SUCCESS", "SUCCESS", "FAILED", "RUNNING"][usize::try_from(at).unwrap()],
    };
    let launch = match numbers.below(20) {
        // Before 1970, where divisions of times round up.
        0 if odd => -numbers.below(10 * HOUR),
        1 if odd => 0,
        _ => DAY + numbers.below(5 * HOUR),
    };
    let duration = match numbers.below(20) {
        0 if odd => -numbers.below(2 * HOUR),
        1 => 0,
        2 if odd => 12 * YEAR + numbers.below(YEAR),
        3 => numbers.below(30) * HOUR,
        _ => numbers.below(3 * HOUR),
    };
    let mut row = vec![
        ("stage_id", Value::Int(stage)),
        ("stage_attempt_id", Value::Int(numbers.below(2))),
        ("status", Value::Text(status)),
        ("launch_time", Value::Millis(launch)),
    ];
    if !odd || numbers.below(10) > 0 {
        row.push(("finish_time", Value::Millis(launch + duration)));
        row.push(("duration_ms", Value::Int(duration)));
    }
    let has_metrics = !odd || numbers.below(10) > 0;
    for measure in crate::table::MEASURES {
        let value = match numbers.below(12) {
            0 if odd => continue,
            1 if odd => -1 - numbers.below(5),
            // So that sums leave the range of the type.
            2 if odd && measure == "executor_cpu_time_ns" => i64::MAX - numbers.below(5),
            3..6 => 0,
            _ => numbers.below(100_000),
        };
        if has_metrics && TASKS.column(measure).is_some() && measure != "duration_ms" {
            row.push((measure, Value::Int(value)));
        }
    }
    row
}

fn executor(numbers: &mut Numbers) -> Vec<(&'static str, Value<'static>)> {
    let added = DAY + numbers.below(5 * HOUR);
    let mut row = vec![
        ("total_cores", Value::Int(numbers.below(4))),
        ("add_time", Value::Millis(added)),
    ];
    match numbers.below(5) {
        0 => {}
        1 => row.push(("remove_time", Value::Millis(added - numbers.below(HOUR)))),
        2 => row.push(("remove_time", Value::Millis(added + 11 * YEAR))),
        _ => row.push(("remove_time", Value::Millis(added + numbers.below(4 * HOUR)))),
    }
    row
}

#[derive(Debug)]
struct Fixed(Arc<Snapshot>);

impl SnapshotSource for Fixed {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0)
    }

    fn open_log(&self, _: &Arc<EventLog>) -> LogReader {
        unreachable!("nobody reads the table events")
    }
}

fn sorted(table: &TableDef, batches: &[RecordBatch]) -> RecordBatch {
    let schema = table.arrow_schema();
    let typed = batches
        .iter()
        .map(|batch| RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec()).unwrap());
    let all = concat_batches(&schema, &typed.collect::<Vec<_>>()).unwrap();
    let keys = table.sort_order.iter().map(|key| SortColumn {
        values: Arc::clone(all.column_by_name(key).unwrap()),
        options: None,
    });
    let order: UInt32Array = lexsort_to_indices(&keys.collect::<Vec<_>>(), None).unwrap();
    take_record_batch(&all, &order).unwrap()
}

/// What the SQL of `sql/rollups` gives over these rows.
async fn defined(table: &TableDef, tables: &BTreeMap<&'static str, Vec<RecordBatch>>) -> RecordBatch {
    let log = Arc::new(EventLog {
        path: "log".into(),
        identity: "log".into(),
        rolling: false,
        files: Vec::new(),
        in_progress: false,
        open: None,
        size_bytes: 1,
        modified_ms: 0,
    });
    let rows = AttemptRows {
        app_id: APP.0.into(),
        attempt_id: APP.1.into(),
        start_time_ms: DAY,
        log,
        tables: tables.clone(),
        stored: None,
        is_read: true,
    };
    let snapshot = Snapshot::in_memory(vec![rows]);
    let catalog = Catalog::new(Arc::new(Fixed(Arc::new(snapshot))), Vec::new());
    let session = catalog.session(&SessionVars::default());
    // A sum that does not fit is an error to clients. In rollups and views it wraps around: one damaged log spoils its own rows alone.
    session.register_udaf(AggregateUDF::clone(&sum_udaf()));
    let path = format!("{}/sql/rollups/{}.sql", env!("CARGO_MANIFEST_DIR"), table.name);
    let sql = std::fs::read_to_string(path).unwrap();
    let state = session.state();
    let mut statement = state.sql_to_statement(&sql, &Dialect::PostgreSQL).unwrap();
    rewrite::rewrite_df_statement(&mut statement);
    let plan = state.statement_to_plan(statement).await.unwrap();
    let rows = session
        .execute_logical_plan(plan)
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    sorted(table, &rows)
}

fn attempt(seed: u64, tasks: usize, executors: usize) -> BTreeMap<&'static str, Vec<RecordBatch>> {
    let mut numbers = Numbers(seed);
    let tasks: Vec<_> = (0..tasks).map(|_| task(&mut numbers)).collect();
    let executors: Vec<_> = (0..executors).map(|_| executor(&mut numbers)).collect();
    let mut end = vec![("last_event_time", Value::Millis(DAY + 2 * HOUR))];
    if seed.is_multiple_of(2) {
        end.push(("end_time", Value::Millis(DAY + 4 * HOUR)));
    }
    let mut tables = BTreeMap::from([(APPLICATION_ATTEMPTS.name, vec![batch(&APPLICATION_ATTEMPTS, &[end])])]);
    let tasks = tasks.chunks(37).map(|tasks| batch(&TASKS, tasks)).collect();
    tables.insert(TASKS.name, tasks);
    tables.insert(EXECUTORS.name, vec![batch(&EXECUTORS, &executors)]);
    tables
}

#[tokio::test]
async fn odd_tasks_and_executors_give_the_rows_of_the_sql() {
    for (seed, tasks, executors) in [(1, 400, 8), (2, 150, 3), (3, 1, 0), (4, 9, 1), (5, 2000, 0)] {
        let tables = attempt(seed, tasks, executors);
        let made = rollups(APP.0, APP.1, &tables, &tables[TASKS.name]).await.unwrap();
        for table in [&STAGE_SUMMARY, &EXECUTOR_HOURLY] {
            let made = made.get(table.name).map(Vec::as_slice).unwrap_or_default();
            assert_eq!(
                concat_batches(&table.arrow_schema(), made).unwrap(),
                sorted(table, made),
                "{seed}"
            );
            assert_eq!(
                sorted(table, made),
                defined(table, &tables).await,
                "{} of {seed}",
                table.name
            );
        }
    }
}

#[test]
fn few_values_at_a_time_give_the_rows_of_all_at_once() {
    let tables = attempt(7, 500, 4);
    let mut backwards = tables[TASKS.name].clone();
    backwards.reverse();
    let whole = block_on(rollups(APP.0, APP.1, &tables, &tables[TASKS.name])).unwrap();
    for held_bytes in [0, 3_000, 20_000] {
        let parts = block_on(rollups_within(held_bytes, APP, &tables, &backwards)).unwrap();
        assert_eq!(whole, parts, "{held_bytes}");
    }
}

#[test]
fn what_has_no_rows_has_no_rollups() {
    let nothing: &[RecordBatch] = &[];
    assert_eq!(
        block_on(rollups("a", "", &BTreeMap::new(), &nothing)).unwrap(),
        BTreeMap::new()
    );
}

/// Other rows in each pass.
struct Changing(std::sync::Mutex<Vec<Vec<RecordBatch>>>);

impl TaskColumns for Changing {
    fn columns<'a>(&'a self, _: &'a [&'static str]) -> BoxStream<'a, Result<RecordBatch, ReadFailure>> {
        let batches = self.0.lock().unwrap().pop().unwrap();
        futures::stream::iter(batches.into_iter().map(Ok)).boxed()
    }
}

#[test]
fn rows_that_change_meanwhile_are_an_error() {
    let (few, many) = (attempt(1, 20, 0), attempt(1, 400, 0));
    let passes = vec![many[TASKS.name].clone(), few[TASKS.name].clone()];
    let changing = Changing(std::sync::Mutex::new(passes));
    let failure = block_on(rollups(APP.0, APP.1, &few, &changing)).unwrap_err();
    assert!(matches!(failure, RollupError::Changed { .. }), "{failure}");

    let other = vec![tables_without_status()];
    let failure = block_on(rollups(APP.0, APP.1, &few, &other)).unwrap_err();
    assert_eq!(failure.to_string(), "tasks has no column status of type text");
}

fn tables_without_status() -> RecordBatch {
    let batch = attempt(1, 20, 0)[TASKS.name][0].clone();
    let places: Vec<usize> = (0..batch.num_columns())
        .filter(|at| batch.schema().field(*at).name() != "status")
        .collect();
    batch.project(&places).unwrap()
}
