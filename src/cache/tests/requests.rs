//! What statements read of a cache, in requests to its store.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use object_store::ObjectStore;
use object_store::memory::InMemory;

use super::support::{TestStore, write};
use crate::cache::{Cache, CacheOptions, CacheReader, CacheView, Changes};
use crate::catalog::{Catalog, SessionVars, SnapshotSource};
use crate::event_log::{EventLog, LogReader};
use crate::history::{AttemptRows, Snapshot};

/// Task attempts of the applications: few enough to be kept decoded, and more.
const APPLICATIONS: [(&str, i64); 4] = [("few-1", 300), ("few-2", 2_000), ("many-1", 60_000), ("many-2", 40_000)];

#[derive(Debug)]
struct Fixed(Arc<Snapshot>);

impl SnapshotSource for Fixed {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0)
    }
    fn open_log(&self, _log: &Arc<EventLog>) -> LogReader {
        unreachable!("no statement here reads logs")
    }
    fn cache(&self) -> Option<CacheView> {
        self.0.cache.clone()
    }
}

/// A process that has just opened the cache.
async fn cold(store: &TestStore) -> Catalog {
    let reader = CacheReader::open_store(Arc::new(store.clone()), "memory")
        .await
        .unwrap();
    let view = reader.view();
    let log = Arc::new(EventLog {
        path: "/logs/app".into(),
        identity: "/logs/app".into(),
        rolling: false,
        files: Vec::new(),
        in_progress: false,
        open: None,
        size_bytes: 1,
        modified_ms: 1,
    });
    let attempts = view.snapshot().attempts().map(|attempt| {
        let rows = AttemptRows {
            app_id: attempt.app_id.clone(),
            attempt_id: attempt.attempt_id.clone(),
            start_time_ms: attempt.start_ms,
            log: Arc::clone(&log),
            tables: BTreeMap::new(),
            stored: Some(attempt.ord),
            is_read: true,
        };
        Arc::new(rows)
    });
    let snapshot = Snapshot {
        attempts: attempts.collect(),
        cache: Some(view),
        ..Snapshot::default()
    };
    store.take_reads();
    Catalog::new(Arc::new(Fixed(Arc::new(snapshot))), Vec::new())
}

async fn ask(catalog: &Catalog, sql: &str) -> Vec<RecordBatch> {
    let session = catalog.session(&SessionVars::default());
    let rows = session.sql(sql).await.unwrap().collect().await;
    rows.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

async fn filled() -> TestStore {
    let store = TestStore::new(Arc::new(InMemory::new()) as Arc<dyn ObjectStore>);
    let cache = Cache::open_store(Arc::new(store.clone()), "memory", CacheOptions::default());
    let cache = cache.await.unwrap();
    let mut changes = Changes::default();
    for (app_id, tasks) in APPLICATIONS {
        let keys = (0..tasks).collect();
        let tables = BTreeMap::from([("tasks", keys), ("jobs", vec![1, 2, 3])]);
        changes.put.push(write(&cache, (app_id, ""), &tables).await.unwrap());
    }
    cache.commit(changes).await.unwrap();
    store
}

#[tokio::test]
async fn the_tasks_of_one_application_are_a_footer_and_at_most_three_reads() {
    let store = filled().await;
    for (app_id, tasks) in APPLICATIONS {
        let catalog = cold(&store).await;
        let sql = format!("select * from tasks where app_id = '{app_id}'");
        let rows: usize = ask(&catalog, &sql).await.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(i64::try_from(rows).unwrap(), tasks, "{app_id}");
        let reads = store.take_reads();
        assert!(
            (1..=4).contains(&reads.len()),
            "{app_id}: {} reads: {reads:?}",
            reads.len()
        );
        assert!(reads.iter().all(|path| path.starts_with("t/tasks/")), "{reads:?}");

        // What was read once is known: the rows of few tasks, the footer of many.
        ask(&catalog, &sql).await;
        let again = store.take_reads();
        assert!(
            again.len() < reads.len(),
            "{app_id}: {} reads again: {again:?}",
            again.len()
        );
        if tasks < 10_000 {
            assert_eq!(again, [""; 0], "{app_id}");
        }
    }
}

#[tokio::test]
async fn counting_the_rows_of_a_table_reads_nothing() {
    let store = filled().await;
    let catalog = cold(&store).await;
    for (table, expected) in [("tasks", 102_300), ("jobs", 12), ("stages", 0)] {
        let rows = ask(&catalog, &format!("select count(*) from {table}")).await;
        let count = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(rows[0].column(0)).value(0);
        assert_eq!(count, expected, "{table}");
    }
    assert_eq!(store.take_reads(), [""; 0]);
}

#[tokio::test]
async fn another_application_costs_no_read_of_segments_that_do_not_hold_it() {
    let store = filled().await;
    let catalog = cold(&store).await;
    for sql in [
        "select * from tasks where app_id = 'nobody'",
        "select * from stages",
        "select * from jobs where app_id = 'few-3'",
    ] {
        assert!(
            ask(&catalog, sql).await.iter().all(|batch| batch.num_rows() == 0),
            "{sql}"
        );
    }
    assert_eq!(store.take_reads(), [""; 0]);
}
