//! Random histories against a plain model: whatever fails, every snapshot that anyone sees is the state after some commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::support::{Dice, Fault, TableKeys, TestStore, info, keys_of, small, table_rows, write};
use crate::cache::local::DurableLocal;
use crate::cache::{Attempt, AttemptOrd, Cache, CacheError, CacheOptions, CacheReader, Changes, Snapshot};
use crate::table::{ENVIRONMENT_SECTIONS, JOBS, TASKS, TableDef};

const TABLES: [&TableDef; 3] = [&TASKS, &JOBS, &ENVIRONMENT_SECTIONS];

/// After the last one the writer does not know what readers see; the random histories leave it out.
const FAULTS: [Fault; 5] = [
    Fault::CrashBefore,
    Fault::CrashAfter,
    Fault::FailOnce,
    Fault::LoseAnswer,
    Fault::LoseAnswerAndRead,
];

/// Histories in memory.
const SEEDS: u64 = 6;

/// What is live: keys of rows by attempt and table.
type Model = BTreeMap<(String, String), TableKeys>;

struct World {
    inner: Arc<dyn ObjectStore>,
    store: TestStore,
    cache: Cache,
    dice: Dice,
    model: Model,
    /// The state after each commit.
    states: BTreeMap<u64, Model>,
    readers: Vec<CacheReader>,
    /// Snapshots that someone in this process still reads.
    pinned: Vec<Arc<Snapshot>>,
    next_key: i64,
    crashes: usize,
    faults: usize,
}

impl World {
    async fn new(inner: Arc<dyn ObjectStore>, seed: u64) -> Self {
        let store = TestStore::new(Arc::clone(&inner));
        let cache = open(&store).await;
        let mut readers = Vec::new();
        for _ in 0..3 {
            readers.push(CacheReader::open_store(Arc::clone(&inner), "test").await.unwrap());
        }
        World {
            inner,
            store,
            cache,
            dice: Dice::new(seed),
            model: Model::new(),
            states: BTreeMap::from([(0, Model::new())]),
            readers,
            pinned: Vec::new(),
            next_key: 0,
            crashes: 0,
            faults: 0,
        }
    }

    fn some_attempt(&mut self) -> (String, String) {
        let app = format!("app-{}", self.dice.roll(6));
        let attempt = ["", "1", "2"][self.dice.roll(3)].to_owned();
        (app, attempt)
    }

    fn some_rows(&mut self) -> TableKeys {
        let mut tables = TableKeys::new();
        for table in TABLES {
            let count = self.dice.roll(if table.name == TASKS.name { 100 } else { 12 });
            // Not in their order, as tasks end.
            let mut keys: Vec<i64> = (0..count as i64).map(|key| self.next_key + key).collect();
            self.next_key += count as i64;
            for at in (1..keys.len()).rev() {
                keys.swap(at, self.dice.roll(at + 1));
            }
            if !keys.is_empty() {
                tables.insert(table.name, keys);
            }
        }
        tables
    }

    /// One step of the history, with or without a fault in it.
    async fn step(&mut self) {
        let armed = self.dice.roll(3) == 0;
        if armed {
            let (after, fault) = (self.dice.roll(9), FAULTS[self.dice.roll(4)]);
            self.store.arm(after, fault);
        }
        let before = self.cache.snapshot().seq();
        let mut after = self.model.clone();
        let result = match self.dice.roll(10) {
            0..=4 => self.put(&mut after).await,
            5 => self.extend(&mut after).await,
            6 => {
                let key = self.some_attempt();
                after.remove(&key);
                let drop = vec![key];
                self.cache
                    .commit(Changes {
                        drop,
                        ..Changes::default()
                    })
                    .await
                    .map(|_| ())
            }
            7 | 8 => self.cache.compact().await.map(|_| ()),
            _ => self.cache.collect().await.map(|_| ()),
        };
        let happened = armed && self.store.disarm();
        self.faults += usize::from(happened);
        if let Err(error) = &result {
            assert!(happened, "without a fault: {error:?}");
            assert!(matches!(error, CacheError::Store { .. }), "{error:?}");
        }
        if self.store.is_crashed() {
            self.crashes += 1;
            self.pinned.clear();
            self.store = TestStore::new(Arc::clone(&self.inner));
            self.cache = open(&self.store).await;
        }
        self.observe(before, after, result.is_ok()).await;
    }

    async fn put(&mut self, after: &mut Model) -> Result<(), CacheError> {
        let mut changes = Changes::default();
        for _ in 0..=self.dice.roll(2) {
            let (key, tables) = (self.some_attempt(), self.some_rows());
            if after.insert(key.clone(), tables.clone()).is_some() && changes.put.len() == 1 {
                // Perhaps the same attempt again: that is refused, and has a test of its own.
                *after = self.model.clone();
                return Ok(());
            }
            changes.put.push(write(&self.cache, (&key.0, &key.1), &tables).await?);
        }
        self.cache.commit(changes).await.map(|_| ())
    }

    async fn extend(&mut self, after: &mut Model) -> Result<(), CacheError> {
        let key = self.some_attempt();
        let live = self.cache.snapshot().attempt(&key.0, &key.1).map(|live| live.ord);
        let Some(mut writer) = live.and_then(|ord| self.cache.extend(&key.0, &key.1, ord).ok()) else {
            return Ok(());
        };
        let keys: Vec<i64> = (self.next_key..self.next_key + 20).collect();
        self.next_key += 20;
        writer.push(&TASKS, table_rows(&TASKS, &key.0, &key.1, &keys)).await?;
        after.get_mut(&key).unwrap().entry(TASKS.name).or_default().extend(keys);
        let put = vec![writer.finish(info(1))];
        self.cache
            .commit(Changes {
                put,
                ..Changes::default()
            })
            .await
            .map(|_| ())
    }

    /// Compares what is there now with what was before and what was wanted, then looks at it as readers do.
    async fn observe(&mut self, before: u64, after: Model, succeeded: bool) {
        let snapshot = self.cache.snapshot();
        let seen = contents(&self.cache_rows(&snapshot).await, &snapshot);
        assert!(snapshot.seq() >= before);
        let mut after = after;
        after
            .values_mut()
            .flat_map(BTreeMap::values_mut)
            .for_each(|keys| keys.sort_unstable());
        let is_after = seen == after;
        assert!(
            is_after || seen == self.model,
            "neither the state before nor the one wanted"
        );
        assert!(is_after || !succeeded, "answered, and not there");
        for seq in before + 1..=snapshot.seq() {
            self.states.insert(seq, seen.clone());
        }
        assert_eq!(self.states[&snapshot.seq()], seen, "a commit with another content");
        self.model = seen;

        if self.dice.roll(3) == 0 {
            self.pinned.push(snapshot);
        }
        if self.dice.roll(5) == 0 {
            self.pinned.clear();
        }
        for pinned in &self.pinned {
            let seen = contents(&self.cache_rows(pinned).await, pinned);
            assert_eq!(seen, self.states[&pinned.seq()], "a held snapshot changed");
        }
        for at in 0..self.readers.len() {
            if self.dice.roll(3) != 0 {
                continue;
            }
            let reader = &self.readers[at];
            let snapshot = reader.refresh().await.unwrap();
            assert_eq!(snapshot.seq(), self.cache.snapshot().seq(), "a reader stays behind");
            let rows = table_contents(reader, &snapshot).await.unwrap();
            assert_eq!(contents(&rows, &snapshot), self.states[&snapshot.seq()]);
        }
    }

    /// Rows of every live attempt, attempt by attempt.
    async fn cache_rows(&self, snapshot: &Snapshot) -> Vec<(AttemptOrd, &'static TableDef, Vec<RecordBatch>)> {
        let mut rows = Vec::new();
        for attempt in snapshot.attempts() {
            for table in TABLES {
                let batches = self.cache.read(snapshot, table, attempt.ord).await.unwrap();
                rows.push((attempt.ord, table, batches));
            }
        }
        rows
    }
}

async fn open(store: &TestStore) -> Cache {
    let options = CacheOptions {
        part_bytes: 50_000,
        ..small()
    };
    Cache::open_store(Arc::new(store.clone()), "test", options)
        .await
        .unwrap()
}

/// All rows of the tables, cut where another attempt begins.
async fn table_contents(
    reader: &CacheReader,
    snapshot: &Snapshot,
) -> Result<Vec<(AttemptOrd, &'static TableDef, Vec<RecordBatch>)>, CacheError> {
    let mut rows = Vec::new();
    for table in TABLES {
        for batch in reader.read_table(snapshot, table).await? {
            let ords = batch
                .column_by_name("app_ord")
                .unwrap()
                .as_primitive::<Int64Type>()
                .clone();
            let mut start = 0;
            while start < batch.num_rows() {
                let ord = ords.value(start);
                let length = ords.values()[start..].iter().take_while(|next| **next == ord).count();
                rows.push((AttemptOrd(ord), table, vec![batch.slice(start, length)]));
                start += length;
            }
        }
    }
    Ok(rows)
}

fn key_of(attempt: &Attempt) -> (String, String) {
    (attempt.app_id.to_string(), attempt.attempt_id.to_string())
}

/// Rows as the model has them: keys ascending, twice if they are there twice.
fn contents(rows: &[(AttemptOrd, &'static TableDef, Vec<RecordBatch>)], snapshot: &Snapshot) -> Model {
    let mut model: Model = snapshot
        .attempts()
        .map(|attempt| (key_of(attempt), TableKeys::new()))
        .collect();
    assert_eq!(model.len(), snapshot.attempt_count());
    for (ord, table, batches) in rows {
        let attempt = snapshot.by_ord(*ord).expect("rows of a live attempt");
        let key = key_of(attempt);
        let keys = keys_of(table, batches);
        if !keys.is_empty() {
            model.get_mut(&key).unwrap().entry(table.name).or_default().extend(keys);
        }
    }
    for keys in model.values_mut().flat_map(BTreeMap::values_mut) {
        keys.sort_unstable();
    }
    model
}

async fn run(inner: Arc<dyn ObjectStore>, seed: u64, steps: usize) -> (usize, usize) {
    let mut world = World::new(inner, seed).await;
    for _ in 0..steps {
        world.step().await;
    }
    // In the end nothing that counts is lost, and nothing else is left.
    world.pinned.clear();
    world.cache.compact().await.unwrap();
    world.cache.collect().await.unwrap();
    let snapshot = world.cache.snapshot();
    let named: Vec<String> = snapshot.all_segments().map(|segment| segment.path.clone()).collect();
    let files = world.cache.storage.list("t", None).await.unwrap();
    let mut files: Vec<String> = files.into_iter().map(|file| file.name).collect();
    files.sort();
    let mut named = named;
    named.sort();
    // The snapshot before the last commit was still held while it was collected.
    assert!(named.iter().all(|name| files.contains(name)));
    (world.crashes, world.faults)
}

#[tokio::test]
async fn every_snapshot_is_a_prefix_of_the_history_whatever_fails_in_memory() {
    let (mut crashes, mut faults) = (0, 0);
    for seed in 1..=SEEDS {
        let (crashed, failed) = Box::pin(run(Arc::new(InMemory::new()), seed, 40)).await;
        crashes += crashed;
        faults += failed;
    }
    assert!(
        crashes >= 10 && faults >= 25,
        "{crashes} crashes and {faults} faults prove little"
    );
}

#[tokio::test]
async fn every_snapshot_is_a_prefix_of_the_history_whatever_fails_on_disk() {
    for seed in 101..=103 {
        let dir = tempfile::tempdir().unwrap();
        let store = DurableLocal::new(dir.path()).unwrap();
        Box::pin(run(Arc::new(store), seed, 30)).await;
    }
}

/// Each write of a drop, a compaction and a collection fails once, before and after: the exhaustive companion of the random test.
#[tokio::test]
async fn a_crash_at_any_write_leaves_the_state_before_or_after() {
    let tables = TableKeys::from([(TASKS.name, (0..50).collect())]);
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let cache = Cache::open_store(Arc::clone(&store), "test", small()).await.unwrap();
    for number in 0..8 {
        let put = vec![write(&cache, (&format!("app-{number}"), ""), &tables).await.unwrap()];
        cache
            .commit(Changes {
                put,
                ..Changes::default()
            })
            .await
            .unwrap();
    }
    let files = all_files(&store).await;
    for fault in FAULTS {
        for at in 0.. {
            let inner = copy_of(&files).await;
            let store = TestStore::new(Arc::clone(&inner));
            let mut cache = open(&store).await;
            store.arm(at, fault);
            let done = async {
                let drop = vec![("app-1".to_owned(), String::new())];
                cache
                    .commit(Changes {
                        drop,
                        ..Changes::default()
                    })
                    .await?;
                cache.compact().await?;
                cache.collect().await
            };
            let result = done.await;
            let happened = store.disarm();
            assert!(result.is_ok() || happened);
            if store.is_crashed() {
                cache = open(&TestStore::new(inner)).await;
            }
            let snapshot = cache.snapshot();
            let is_after = snapshot.seq() > 8;
            assert_eq!(
                snapshot.attempt_count(),
                if is_after { 7 } else { 8 },
                "{fault:?} at {at}"
            );
            for attempt in snapshot.attempts() {
                let rows = cache.read(&snapshot, &TASKS, attempt.ord).await.unwrap();
                assert_eq!(keys_of(&TASKS, &rows), tables[TASKS.name], "{fault:?} at {at}");
            }
            // Whatever happened, the cache goes on.
            let put = vec![write(&cache, ("app-1", ""), &tables).await.unwrap()];
            cache
                .commit(Changes {
                    put,
                    ..Changes::default()
                })
                .await
                .unwrap();
            assert_eq!(cache.snapshot().attempt_count(), 8);
            if !happened {
                assert!(at > 8, "only {at} writes");
                break;
            }
        }
    }
}

async fn all_files(store: &Arc<dyn ObjectStore>) -> Vec<(Path, Bytes)> {
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    let mut files = Vec::new();
    for meta in listed {
        let bytes = store.get(&meta.location).await.unwrap().bytes().await.unwrap();
        files.push((meta.location, bytes));
    }
    files
}

async fn copy_of(files: &[(Path, Bytes)]) -> Arc<dyn ObjectStore> {
    let store = InMemory::new();
    for (path, bytes) in files {
        store.put(path, bytes.clone().into()).await.unwrap();
    }
    Arc::new(store)
}
