//! A store that counts and fails as a test asks, and rows to store.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

use crate::cache::{
    AttemptInfo, AttemptState, Cache, CacheOptions, LogReading, LogReport, LogStamp, Written, schema_hash,
};
use crate::table::{Column, Rows, TableDef, Type, Value};

/// How a write fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The process ends before the write, or after it: nothing works any more.
    CrashBefore,
    CrashAfter,
    /// The write fails, or is done and its answer lost; then all is well again.
    FailOnce,
    LoseAnswer,
    /// The answer is lost, and the next read fails as well.
    LoseAnswerAndRead,
}

#[derive(Debug, Default)]
struct State {
    /// Writes until one fails, and how.
    armed: Option<(usize, Fault)>,
    crashed: bool,
    fail_read: bool,
    writes: Vec<String>,
    reads: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct TestStore {
    inner: Arc<dyn ObjectStore>,
    state: Arc<Mutex<State>>,
}

impl std::fmt::Display for TestStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TestStore")
    }
}

fn fault() -> Error {
    Error::Generic {
        store: "test",
        source: "a fault of the test".into(),
    }
}

impl TestStore {
    pub(super) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        TestStore {
            inner,
            state: Arc::default(),
        }
    }

    /// Write number `after` from now on (0 is the next) fails.
    pub(super) fn arm(&self, after: usize, fault: Fault) {
        self.state.lock().unwrap().armed = Some((after, fault));
    }

    /// Takes back what has not happened; `true` if it has.
    pub(super) fn disarm(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        state.fail_read = false;
        state.armed.take().is_none()
    }

    pub(super) fn is_crashed(&self) -> bool {
        self.state.lock().unwrap().crashed
    }

    /// Reads since the last call, each with its path.
    pub(super) fn take_reads(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().reads)
    }

    pub(super) fn take_writes(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().writes)
    }

    fn read(&self, path: &Path) -> Result<()> {
        let mut state = self.state.lock().unwrap();
        state.reads.push(path.to_string());
        let fails = std::mem::take(&mut state.fail_read) || state.crashed;
        if fails { Err(fault()) } else { Ok(()) }
    }

    /// Before a write: whether it is to be answered with an error after all.
    fn write(&self, path: &Path) -> Result<bool> {
        let mut state = self.state.lock().unwrap();
        state.writes.push(path.to_string());
        if state.crashed {
            return Err(fault());
        }
        match state.armed {
            Some((0, kind)) => {
                state.armed = None;
                state.crashed = matches!(kind, Fault::CrashBefore | Fault::CrashAfter);
                state.fail_read = kind == Fault::LoseAnswerAndRead;
                match kind {
                    Fault::CrashBefore | Fault::FailOnce => Err(fault()),
                    Fault::CrashAfter | Fault::LoseAnswer | Fault::LoseAnswerAndRead => Ok(true),
                }
            }
            Some((left, kind)) => {
                state.armed = Some((left - 1, kind));
                Ok(false)
            }
            None => Ok(false),
        }
    }
}

#[async_trait]
impl ObjectStore for TestStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let fails = self.write(location)?;
        let result = self.inner.put_opts(location, payload, opts).await;
        if fails { Err(fault()) } else { result }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.write(location)?;
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.read(location)?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.read(location)?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let deleted = locations.then(move |path| {
            let store = store.clone();
            async move {
                let path = path?;
                let fails = store.write(&path)?;
                let one = futures::stream::iter([Ok(path.clone())]).boxed();
                let result = store.inner.delete_stream(one).next().await;
                if fails {
                    Err(fault())
                } else {
                    result.unwrap_or(Ok(path))
                }
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        if self.is_crashed() {
            return futures::stream::iter([Err(fault())]).boxed();
        }
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        if self.is_crashed() {
            return futures::stream::iter([Err(fault())]).boxed();
        }
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

/// Numbers that look random and are the same in every run.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Below `sides`.
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % sides as u64).unwrap()
    }
}

/// A row for each key, whose last key column is that number. Cells that may be null are.
pub(super) fn table_rows(table: &'static TableDef, app_id: &str, attempt_id: &str, keys: &[i64]) -> RecordBatch {
    let key_column = *table.sort_order.last().unwrap();
    let mut rows = Rows::new(table, keys.len());
    for key in keys {
        let text = format!("key {key:09}");
        for column in table.columns {
            let value = match column.name {
                "app_id" => Value::Text(app_id),
                "attempt_id" => Value::Text(attempt_id),
                name if name == key_column && column.ty == Type::Text => Value::Text(&text),
                name if name == key_column => Value::Int(*key),
                _ if column.nullable => Value::Null,
                _ => zero(column),
            };
            rows.push(value);
        }
        rows.end_row();
    }
    rows.finish()
}

fn zero(column: &Column) -> Value<'static> {
    match column.ty {
        Type::Bool => Value::Bool(false),
        Type::Int32 | Type::Int64 => Value::Int(0),
        Type::Float64 => Value::Float(0.0),
        Type::Text | Type::SharedText => Value::Text(""),
        Type::Timestamp => Value::Millis(0),
        Type::List(_) => Value::List(Vec::new()),
        Type::Map(_) => Value::Map(Vec::new()),
        Type::Struct(_) => Value::Null,
    }
}

/// The numbers that [`table_rows`] was given.
pub(super) fn keys_of(table: &TableDef, batches: &[RecordBatch]) -> Vec<i64> {
    let key_column = table.sort_order.last().unwrap();
    let mut keys = Vec::new();
    for batch in batches {
        let column = batch.column_by_name(key_column).unwrap();
        if let Some(numbers) = column.as_primitive_opt::<Int64Type>() {
            keys.extend(numbers.values());
        } else if let Some(numbers) = column.as_primitive_opt::<Int32Type>() {
            keys.extend(numbers.values().iter().map(|key| i64::from(*key)));
        } else {
            let texts = column.as_string::<i32>().iter().flatten();
            keys.extend(texts.map(|text| text["key ".len()..].parse::<i64>().unwrap()));
        }
    }
    keys
}

pub(super) fn info(size_bytes: u64) -> AttemptInfo {
    AttemptInfo {
        reading: LogReading {
            log: LogStamp {
                identity: "/logs/app".into(),
                path: "/logs/app".into(),
                size_bytes,
                modified_ms: 1,
            },
            report: LogReport::default(),
            failure: None,
            failure_is_final: false,
            read_ms: 2,
            schema_hash: schema_hash(),
            replay_version: 1,
        },
        state: AttemptState::Complete,
    }
}

pub(super) type TableKeys = BTreeMap<&'static str, Vec<i64>>;

/// Writes an attempt with rows of these keys in some tables, in batches of a few rows.
pub(super) async fn write(
    cache: &Cache,
    (app_id, attempt_id): (&str, &str),
    tables: &TableKeys,
) -> std::result::Result<Written, crate::cache::CacheError> {
    let mut writer = cache.attempt(app_id, attempt_id, 1_795_000_000_000, 7);
    for table in crate::table::stored() {
        for keys in tables.get(table.name).into_iter().flat_map(|keys| keys.chunks(40)) {
            writer.push(table, table_rows(table, app_id, attempt_id, keys)).await?;
        }
    }
    Ok(writer.finish(info(tables.values().map(|keys| keys.len() as u64).sum())))
}

/// Small everything: parts, levels and the distance of checkpoints; no grace.
pub(super) fn small() -> CacheOptions {
    CacheOptions {
        zstd_level: 1,
        part_bytes: 100_000,
        checkpoint_every: 5,
        level1_bytes: 60_000,
        level2_bytes: 120_000,
        level2_bytes_of_tasks: 120_000,
        removed_grace: std::time::Duration::ZERO,
        orphan_grace: std::time::Duration::ZERO,
    }
}
