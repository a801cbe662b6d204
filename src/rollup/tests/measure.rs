//! What rollups cost, in CPU time of one thread. `cargo test --release --lib measure_rollups -- --ignored --nocapture`

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::RecordBatch;
use futures::executor::block_on;
use rustix::time::{ClockId, clock_gettime};

use crate::rollup::rollups;
use crate::table::{APPLICATION_ATTEMPTS, EXECUTORS, MEASURES, Rows, TASKS, TableDef, Type, Value};

const HOUR: i64 = 3_600_000;

fn rows(def: &'static TableDef, count: i64, given: impl Fn(&str, i64) -> Option<Value<'static>>) -> Vec<RecordBatch> {
    let mut built = Rows::new(def, 0);
    let mut batches = Vec::new();
    for row in 0..count {
        for column in def.columns {
            let other = match (column.nullable, column.ty) {
                (true, _) => Value::Null,
                (_, Type::Bool) => Value::Bool(false),
                (_, Type::Text) => Value::Text("app-20261121000000-0000"),
                (_, Type::Timestamp) => Value::Millis(HOUR),
                (_, Type::List(_)) => Value::List(Vec::new()),
                (_, Type::Map(_)) => Value::Map(Vec::new()),
                (_, Type::Float64) => Value::Float(0.0),
                _ => Value::Int(0),
            };
            built.push(given(column.name, row).unwrap_or(other));
        }
        built.end_row();
        if built.len() == 8192 {
            batches.push(built.finish());
        }
    }
    batches.extend((!built.is_empty()).then(|| built.finish()));
    batches
}

/// Tasks of which a third of the measures is zero; four stages run at a time.
fn attempt(tasks: i64, stages: i64) -> BTreeMap<&'static str, Vec<RecordBatch>> {
    let task = |column: &str, row: i64| {
        let random = row.wrapping_mul(2_654_435_761).rem_euclid(1_000_003);
        Some(match column {
            "stage_id" => Value::Int((row * stages / tasks / 4 * 4 + random % 4).min(stages - 1)),
            "status" => Value::Text(if random % 100 == 0 { "FAILED" } else { "SUCCESS" }),
            "launch_time" => Value::Millis(HOUR + row * 10),
            "finish_time" => Value::Millis(HOUR + row * 10 + random),
            "executor_run_time_ms" => Value::Int(random),
            column => {
                let at = i64::try_from(MEASURES.iter().position(|measure| *measure == column)?).ok()?;
                Value::Int(if at % 3 == 0 { 0 } else { random * at })
            }
        })
    };
    let executor = |column: &str, _: i64| (column == "total_cores").then_some(Value::Int(4));
    BTreeMap::from([
        (TASKS.name, rows(&TASKS, tasks, task)),
        (EXECUTORS.name, rows(&EXECUTORS, 3, executor)),
        (APPLICATION_ATTEMPTS.name, rows(&APPLICATION_ATTEMPTS, 1, |_, _| None)),
    ])
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        now.tv_sec.unsigned_abs(),
        u32::try_from(now.tv_nsec).unwrap_or_default(),
    )
}

#[test]
#[ignore = "a measurement"]
fn measure_rollups() {
    for (tasks, stages, times) in [(40, 2, 2000), (200_000, 60, 5), (2_000_000, 1, 1)] {
        let tables = attempt(tasks, stages);
        let began = cpu();
        for _ in 0..times {
            let made = block_on(rollups("app", "1", &tables, &tables[TASKS.name])).unwrap();
            assert_eq!(made.len(), 2);
        }
        let each = (cpu() - began) / times;
        println!("{tasks} tasks in {stages} stages: {each:?}");
    }
}
