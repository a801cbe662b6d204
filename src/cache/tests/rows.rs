//! Rows as they were written: types, nulls, order; what is read of them; compaction.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use object_store::ObjectStore;
use object_store::memory::InMemory;

use super::support::{Dice, TableKeys, TestStore, info, keys_of, small, table_rows, write};
use crate::cache::arrange::{self, Keys};
use crate::cache::{Cache, CacheOptions, CacheReader, Changes, KeyValue};
use crate::catalog::SnapshotSource;
use crate::history::{AttemptRows, History, HistoryOptions, Source};
use crate::table::{self, JOBS, STAGES, TASKS, TableDef};

/// The rows of the fixture logs.
async fn fixtures() -> Vec<Arc<AttemptRows>> {
    let logs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/logs");
    let source = Source::parse(logs.to_str().unwrap(), &crate::config::StorageConfig::default()).unwrap();
    let history = History::new(vec![source], HistoryOptions::default()).unwrap();
    history.scan_once().await;
    let attempts = history.snapshot().attempts.iter().cloned().collect();
    // A runtime of its own must not be dropped on this one.
    tokio::task::spawn_blocking(move || drop(history)).await.unwrap();
    attempts
}

async fn put_all(cache: &Cache, attempts: &[Arc<AttemptRows>]) {
    let mut changes = Changes::default();
    for rows in attempts {
        let mut writer = cache.attempt(&rows.app_id, &rows.attempt_id, rows.start_time_ms, 3);
        writer.push_tables(&rows.tables).await.unwrap();
        changes.put.push(writer.finish(info(rows.log.size_bytes)));
    }
    cache.commit(changes).await.unwrap();
}

/// Rows in the order of a table.
fn sorted(table: &'static TableDef, batches: &[RecordBatch]) -> RecordBatch {
    let joined = concat_batches(&table.arrow_schema(), batches).unwrap();
    let rows = Keys::new(&joined.schema(), &arrange::sort_order(table))
        .unwrap()
        .of(&joined)
        .unwrap();
    let mut order: Vec<u32> = (0..u32::try_from(joined.num_rows()).unwrap()).collect();
    order.sort_by(|a, b| rows.row(*a as usize).cmp(&rows.row(*b as usize)));
    arrow::compute::take_record_batch(&joined, &UInt32Array::from(order)).unwrap()
}

async fn assert_holds(cache: &Cache, attempts: &[Arc<AttemptRows>]) -> usize {
    let snapshot = cache.snapshot();
    let mut tables_with_rows = 0;
    for table in table::stored() {
        let mut found = 0;
        for rows in attempts {
            let ord = snapshot.attempt(&rows.app_id, &rows.attempt_id).unwrap().ord;
            let read = cache.read(&snapshot, table, ord).await.unwrap();
            for batch in &read {
                assert_eq!(batch.schema(), table.arrow_schema(), "{}", table.name);
            }
            let read = concat_batches(&table.arrow_schema(), &read).unwrap();
            let given = rows.tables.get(table.name).map(Vec::as_slice).unwrap_or_default();
            assert_eq!(read, sorted(table, given), "{} of {}", table.name, rows.app_id);
            found += read.num_rows();
        }
        tables_with_rows += usize::from(found > 0);
    }
    tables_with_rows
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_of_real_logs_comes_back_as_it_was_also_after_compaction() {
    let attempts = fixtures().await;
    let store = Arc::new(InMemory::new());
    let cache = Cache::open_store(store, "test", small()).await.unwrap();
    put_all(&cache, &attempts).await;
    // `applications` is made from the attempts, not stored.
    let filled = assert_holds(&cache, &attempts).await;
    assert!(filled >= table::all().len() - 2, "{filled} tables with rows");
    assert!(cache.snapshot().segments(TASKS.name).all(|segment| segment.level == 0));

    for some in attempts.chunks(4) {
        put_all(&cache, some).await;
    }
    let done = cache.compact().await.unwrap();
    assert!(done.inputs > 50 && done.outputs > 5, "{done:?}");
    assert_eq!(
        cache.compact().await.unwrap(),
        crate::cache::Compacted::default(),
        "it has an end"
    );
    cache.collect().await.unwrap();
    assert_eq!(assert_holds(&cache, &attempts).await, filled);
    assert!(
        cache.status().tables.iter().all(|table| table.dead_rows == 0),
        "{:?}",
        cache.status()
    );
}

#[tokio::test]
async fn a_segment_is_sorted_by_application_attempt_and_key_and_says_so() {
    let store = Arc::new(InMemory::new());
    let cache = Cache::open_store(Arc::clone(&store) as _, "test", small())
        .await
        .unwrap();
    let tables = TableKeys::from([(TASKS.name, vec![5, 1, 4, 2, 3])]);
    let mut changes = Changes::default();
    for key in [("b", ""), ("a", "2"), ("a", "1")] {
        changes.put.push(write(&cache, key, &tables).await.unwrap());
    }
    let snapshot = cache.commit(changes).await.unwrap();
    let segment = snapshot.segments(TASKS.name).next().unwrap();
    let bounds = |column: &str| {
        let key = segment.keys.iter().find(|key| key.column == column).unwrap();
        (key.min.clone(), key.max.clone())
    };
    assert_eq!(
        bounds("app_id"),
        (KeyValue::Text("a".into()), KeyValue::Text("b".into()))
    );
    assert_eq!(bounds("task_id"), (KeyValue::Number(1), KeyValue::Number(5)));
    // 2026-11-18.
    assert_eq!(bounds("day"), (KeyValue::Number(20_775), KeyValue::Number(20_775)));
    let lies = |app_id: &str, attempt_id: &str| {
        segment
            .rows_of(snapshot.attempt(app_id, attempt_id).unwrap().ord)
            .unwrap()
    };
    assert_eq!((lies("a", "1"), lies("a", "2"), lies("b", "")), (0..5, 5..10, 10..15));
    let reader = CacheReader::open_store(Arc::clone(&store) as _, "test").await.unwrap();
    let rows = reader.read_table(&snapshot, &TASKS).await.unwrap();
    assert_eq!(keys_of(&TASKS, &rows), [1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5]);

    use object_store::ObjectStoreExt;
    let bytes = store
        .get(&segment.path.as_str().into())
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let file = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let metadata = file.metadata();
    let sorting: Vec<String> = metadata
        .row_group(0)
        .sorting_columns()
        .unwrap()
        .iter()
        .map(|by| {
            metadata
                .file_metadata()
                .schema_descr()
                .column(by.column_idx as usize)
                .path()
                .string()
        })
        .collect();
    assert_eq!(sorting, TASKS.sort_order);
    assert!(
        metadata
            .file_metadata()
            .key_value_metadata()
            .is_none_or(|pairs| pairs.is_empty())
    );
    let columns: Vec<&str> = file
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(columns[columns.len() - 3..], ["app_ord", "acl_id", "day"]);
}

/// Counts the requests for segments; a `get_ranges` is one.
#[tokio::test]
async fn tasks_of_one_application_are_a_footer_and_at_most_three_reads() {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let cache = Cache::open_store(Arc::clone(&inner), "test", CacheOptions::default())
        .await
        .unwrap();
    let mut changes = Changes::default();
    for app in 0..40 {
        let tables = TableKeys::from([(TASKS.name, (0..2_000).collect()), (JOBS.name, vec![1, 2, 3])]);
        changes
            .put
            .push(write(&cache, (&format!("app-{app:02}"), ""), &tables).await.unwrap());
    }
    cache.commit(changes).await.unwrap();
    drop(cache);

    let store = TestStore::new(inner);
    let reader = CacheReader::open_store(Arc::new(store.clone()), "test").await.unwrap();
    let opening = store.take_reads();
    assert!(opening.len() <= 2, "hint and one commit: {opening:?}");
    let snapshot = reader.snapshot();
    let ord = snapshot.attempt("app-17", "").unwrap().ord;
    let rows = reader.read(&snapshot, &TASKS, ord).await.unwrap();
    assert_eq!(keys_of(&TASKS, &rows), (0..2_000).collect::<Vec<_>>());
    let reads = store.take_reads();
    assert!(reads.len() <= 1 + 3, "{reads:?}");
    assert_eq!(reads.len(), 2, "a footer and the pages");
    assert!(reads.iter().all(|path| path.starts_with("t/tasks/")), "{reads:?}");
    // What has no rows costs nothing.
    assert!(reader.read(&snapshot, &STAGES, ord).await.unwrap().is_empty());
    assert!(store.take_reads().is_empty());
}

#[tokio::test]
async fn compaction_changes_no_row_and_leaves_few_sorted_segments() {
    for seed in 1..=4 {
        let mut dice = Dice::new(seed);
        let cache = Cache::open_store(Arc::new(InMemory::new()), "test", small())
            .await
            .unwrap();
        let mut next = 0;
        for _ in 0..30 {
            let key = format!("app-{}", dice.roll(12));
            let mut keys: Vec<i64> = (0..dice.roll(400) as i64).map(|at| next + at).collect();
            next += 400;
            keys.reverse();
            if dice.roll(6) == 0 {
                let drop = vec![(key, String::new())];
                cache
                    .commit(Changes {
                        drop,
                        ..Changes::default()
                    })
                    .await
                    .unwrap();
                continue;
            }
            let tables = TableKeys::from([(TASKS.name, keys), (JOBS.name, vec![next])]);
            let put = vec![write(&cache, (&key, ""), &tables).await.unwrap()];
            cache
                .commit(Changes {
                    put,
                    ..Changes::default()
                })
                .await
                .unwrap();
        }
        let before = cache.snapshot();
        let mut rows_before = Vec::new();
        for attempt in before.attempts() {
            let mut keys = keys_of(&TASKS, &cache.read(&before, &TASKS, attempt.ord).await.unwrap());
            keys.sort_unstable();
            rows_before.push((attempt.ord, keys));
        }
        cache.compact().await.unwrap();
        let after = cache.snapshot();
        assert!(after.segments(TASKS.name).count() < before.segments(TASKS.name).count());
        for (ord, keys) in rows_before {
            let read = cache.read(&after, &TASKS, ord).await.unwrap();
            let mut found = keys_of(&TASKS, &read);
            if after.rows_of(TASKS.name, ord).len() == 1 {
                assert!(found.is_sorted());
            }
            found.sort_unstable();
            assert_eq!(found, keys);
        }
        assert_eq!(
            cache.compact().await.unwrap(),
            crate::cache::Compacted::default(),
            "nothing more to do"
        );
    }
}

#[tokio::test]
async fn a_segment_of_dead_rows_goes_without_being_read() {
    let store = TestStore::new(Arc::new(InMemory::new()));
    let cache = Cache::open_store(Arc::new(store.clone()), "test", small())
        .await
        .unwrap();
    let tables = TableKeys::from([(TASKS.name, (0..100).collect())]);
    let put = vec![write(&cache, ("app", ""), &tables).await.unwrap()];
    cache
        .commit(Changes {
            put,
            ..Changes::default()
        })
        .await
        .unwrap();
    let drop = vec![("app".to_owned(), String::new())];
    cache
        .commit(Changes {
            drop,
            ..Changes::default()
        })
        .await
        .unwrap();
    let dead = cache.status().tables.iter().map(|table| table.dead_rows).sum::<u64>();
    assert_eq!(dead, 100);
    store.take_reads();
    assert!(cache.compact().await.unwrap().dropped >= 1);
    assert!(store.take_reads().is_empty());
    assert_eq!(cache.status().segments, 0);
}

#[tokio::test]
async fn a_large_attempt_becomes_parts_and_is_seen_only_when_it_is_committed() {
    let cache = Cache::open_store(Arc::new(InMemory::new()), "test", small())
        .await
        .unwrap();
    let mut writer = cache.attempt("app", "", 0, 0);
    for part in 0..50 {
        let keys: Vec<i64> = (part * 40..part * 40 + 40).collect();
        writer.push(&TASKS, table_rows(&TASKS, "app", "", &keys)).await.unwrap();
        assert!(writer.buffered_bytes() < 200_000);
    }
    assert_eq!(cache.snapshot().attempt_count(), 0);
    let put = vec![writer.finish(info(1))];
    let snapshot = cache
        .commit(Changes {
            put,
            ..Changes::default()
        })
        .await
        .unwrap();
    let ord = snapshot.attempt("app", "").unwrap().ord;
    assert!(snapshot.rows_of(TASKS.name, ord).len() > 1);
    let mut keys = keys_of(&TASKS, &cache.read(&snapshot, &TASKS, ord).await.unwrap());
    keys.sort_unstable();
    assert_eq!(keys, (0..2_000).collect::<Vec<_>>());
}

/// Bytes and rows a second of real tasks, repeated with other numbers: `cargo test --release --lib cache -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn measure_tasks() {
    let attempts = fixtures().await;
    let of_tasks = attempts.iter().filter_map(|rows| rows.tables.get(TASKS.name)).flatten();
    let batches: Vec<RecordBatch> = of_tasks.cloned().collect();
    let one = concat_batches(&TASKS.arrow_schema(), &batches).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path().to_str().unwrap(), CacheOptions::default())
        .await
        .unwrap();
    let start = std::time::Instant::now();
    let mut writer = cache.attempt("app", "", 0, 0);
    let (mut rows, mut dice) = (0, Dice::new(1));
    while rows < 500_000 {
        writer.push(&TASKS, varied(&one, rows, &mut dice)).await.unwrap();
        rows += one.num_rows();
    }
    let put = vec![writer.finish(info(1))];
    cache
        .commit(Changes {
            put,
            ..Changes::default()
        })
        .await
        .unwrap();
    let (wrote, bytes) = (start.elapsed(), cache.status().bytes);
    let start = std::time::Instant::now();
    let snapshot = cache.snapshot();
    let ord = snapshot.attempt("app", "").unwrap().ord;
    let read: usize = cache
        .read(&snapshot, &TASKS, ord)
        .await
        .unwrap()
        .iter()
        .map(RecordBatch::num_rows)
        .sum();
    assert_eq!(read, rows);
    let per_second = |seconds: f64| rows as f64 / seconds;
    eprintln!(
        "{rows} tasks: {:.1} bytes a row, {:.0} rows/s written, {:.0} rows/s read",
        bytes as f64 / rows as f64,
        per_second(wrote.as_secs_f64()),
        per_second(start.elapsed().as_secs_f64())
    );
}

/// Tasks as another stage could have run: ids go on, numbers differ by up to a quarter.
fn varied(batch: &RecordBatch, first_id: usize, dice: &mut Dice) -> RecordBatch {
    let schema = batch.schema();
    let mut columns = Vec::new();
    for (column, field) in batch.columns().iter().zip(schema.fields()) {
        let Some(numbers) = column.as_primitive_opt::<Int64Type>() else {
            columns.push(Arc::clone(column));
            continue;
        };
        let mut vary = |(row, value): (usize, Option<i64>)| match value? {
            _ if field.name() == "task_id" => Some((first_id + row) as i64),
            value => Some(value + dice.roll(usize::try_from(value / 4).unwrap_or(0) + 1) as i64),
        };
        let varied: Int64Array = numbers.iter().enumerate().map(&mut vary).collect();
        columns.push(Arc::new(varied));
    }
    RecordBatch::try_new(schema, columns).unwrap()
}
