//! Texts that many rows share: they are written once for many rows, shared again when they are read, and may be long.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int32Array, RecordBatch, StringArray, StringViewArray};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};

use super::support::{info, small, table_rows};
use crate::cache::{AttemptOrd, Cache, CacheOptions, Changes};
use crate::table::{ENVIRONMENT, ENVIRONMENT_SECTIONS, repeated};

const TABLE: &crate::table::TableDef = &ENVIRONMENT_SECTIONS;

/// Sections of an application, of which the texts are given.
fn sections(app_id: &str, texts: &[&StringViewArray]) -> RecordBatch {
    let texts: Vec<&dyn Array> = texts.iter().map(|text| *text as _).collect();
    let names = (0..texts.len()).map(|at| Some(format!("section {at}")));
    let columns = vec![
        repeated(app_id, texts.len()),
        repeated("", texts.len()),
        Arc::new(names.collect::<StringArray>()),
        Arc::new(Int32Array::from(vec![1; texts.len()])),
        arrow::compute::concat(&texts).unwrap(),
    ];
    RecordBatch::try_new(TABLE.arrow_schema(), columns).unwrap()
}

fn text(text: &str) -> StringViewArray {
    StringViewArray::from_iter_values([text])
}

fn texts(rows: &[RecordBatch]) -> Vec<&str> {
    let columns = rows
        .iter()
        .map(|rows| rows.column_by_name("properties").unwrap().as_string_view());
    columns.flat_map(|column| column.iter().flatten()).collect()
}

async fn put(cache: &Cache, apps: &[(String, RecordBatch)]) {
    let mut changes = Changes::default();
    for (app_id, rows) in apps {
        let mut writer = cache.attempt(app_id, "", 0, 0);
        writer.push(TABLE, rows.clone()).await.unwrap();
        changes.put.push(writer.finish(info(1)));
    }
    cache.commit(changes).await.unwrap();
}

#[tokio::test]
async fn a_text_of_many_attempts_is_written_once_for_many_rows_and_read_as_one() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let cache = Cache::open_store(Arc::clone(&store), "test", small()).await.unwrap();
    // Not to be made smaller by looking at a part of it.
    let mut dice = super::support::Dice::new(1);
    let common: String = (0..50_000)
        .map(|_| char::from(b'a' + u8::try_from(dice.roll(26)).unwrap()))
        .collect();
    let shared = text(&common);
    let (apps, commits) = (1000, 8);
    for commit in 0..commits {
        let of_commit = (0..apps).filter(|app| app % commits == commit).map(|app| {
            let app_id = format!("app-{app:04}");
            let rows = sections(
                &app_id,
                &[&shared, &text(&format!("of application {app}")), &text("short")],
            );
            (app_id, rows)
        });
        put(&cache, &of_commit.collect::<Vec<_>>()).await;
    }
    let before = cache.status().bytes;
    assert!(
        before < 8 * 60_000,
        "{before} bytes for eight times {} of text",
        common.len()
    );
    for compacted in [false, true] {
        if compacted {
            let done = cache.compact().await.unwrap();
            assert_eq!((done.inputs, done.outputs), (8, 1));
            assert!(done.bytes_written < 3 * 60_000, "{done:?}");
        }
        let snapshot = cache.snapshot();
        let ord = |app: usize| snapshot.attempt(&format!("app-{app:04}"), "").unwrap().ord;
        for app in [0, 17, 999] {
            let read = cache.read(&snapshot, TABLE, ord(app)).await.unwrap();
            assert_eq!(
                texts(&read),
                [common.as_str(), &format!("of application {app}"), "short"]
            );
            // What is kept decoded of one application holds no other's texts.
            let kept = cache.view().rows(TABLE, ord(app)).await.unwrap();
            assert_eq!(texts(&kept), texts(&read));
            let bytes: usize = kept.iter().map(RecordBatch::get_array_memory_size).sum();
            assert!(bytes < common.len() + 10_000, "{bytes}");
        }
        for segment in snapshot.segments(TABLE.name) {
            let file = store
                .get(&segment.path.as_str().into())
                .await
                .unwrap()
                .bytes()
                .await
                .unwrap();
            let file = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
            let groups = file.metadata().row_groups();
            assert!(groups.iter().all(|group| group.num_rows() <= 2048), "row groups");
        }
    }
    let read = cache.view().table(TABLE).await.unwrap();
    let read: Vec<RecordBatch> = read.into_iter().map(|(rows, _)| rows).collect();
    let all = texts(&read);
    let places: HashSet<*const u8> = all
        .iter()
        .filter(|text| **text == common)
        .map(|text| text.as_ptr())
        .collect();
    assert_eq!((all.len(), places.len()), (3 * apps, 2), "once for each row group");
}

#[tokio::test]
async fn sections_of_many_megabytes_come_back_also_after_compaction() {
    let options = CacheOptions {
        part_bytes: 32 << 20,
        ..small()
    };
    let cache = Cache::open_store(Arc::new(InMemory::new()), "test", options)
        .await
        .unwrap();
    let long = |app: usize| {
        char::from(b'a' + u8::try_from(app).unwrap())
            .to_string()
            .repeat(50 << 20)
    };
    let name = |app: usize| format!("app-{app}");
    for app in 0..4 {
        put(
            &cache,
            &[(name(app), sections(&name(app), &[&text(&long(app)), &text("short")]))],
        )
        .await;
    }
    for compacted in [false, true] {
        if compacted {
            let four = (0..4).map(|app| (name(app), sections(&name(app), &[&text(&long(app)), &text("short")])));
            put(&cache, &four.collect::<Vec<_>>()).await;
            for app in 0..6 {
                let app_id = format!("other-{app}");
                put(&cache, &[(app_id.clone(), sections(&app_id, &[&text("x")]))]).await;
            }
            assert!(cache.compact().await.unwrap().outputs > 0);
        }
        let snapshot = cache.snapshot();
        for app in 0..4 {
            let ord = snapshot.attempt(&name(app), "").unwrap().ord;
            let read = cache.read(&snapshot, TABLE, ord).await.unwrap();
            assert!(texts(&read) == [long(app).as_str(), "short"], "application {app}");
        }
    }
}

#[tokio::test]
async fn what_waiting_attempts_share_counts_about_once() {
    let cache = Cache::open_store(Arc::new(InMemory::new()), "test", small())
        .await
        .unwrap();
    let (shared, mut writers, mut bytes) = (text(&"x".repeat(90_000)), Vec::new(), 0);
    for app in 0..1000 {
        let mut writer = cache.attempt(&format!("app-{app}"), "", 0, 0);
        writer
            .push(TABLE, sections("app", &[&shared, &text("short")]))
            .await
            .unwrap();
        bytes += writer.buffered_bytes();
        writers.push(writer);
    }
    assert!((90_000..3_000_000).contains(&bytes), "{bytes}");
    let mut writer = cache.attempt("own", "", 0, 0);
    writer
        .push(TABLE, sections("own", &[&text(&"y".repeat(90_000))]))
        .await
        .unwrap();
    assert!(writer.buffered_bytes() >= 90_000);
}

/// A cache of an earlier release has the rows of `environment` as SQL shows them.
#[tokio::test]
async fn segments_of_a_table_that_is_no_longer_stored_go_with_their_attempts() {
    let options = CacheOptions {
        part_bytes: 1,
        ..small()
    };
    let cache = Cache::open_store(Arc::new(InMemory::new()), "test", options)
        .await
        .unwrap();
    let mut writer = cache.attempt("app", "", 0, 0);
    let rows = table_rows(&ENVIRONMENT, "app", "", &[1, 2, 3]);
    writer.push(&ENVIRONMENT, rows).await.unwrap();
    let put_old = Changes {
        put: vec![writer.finish(info(1))],
        ..Changes::default()
    };
    let old = cache.commit(put_old).await.unwrap();
    assert_eq!(old.segments(ENVIRONMENT.name).count(), 1);
    let ord: AttemptOrd = old.attempt("app", "").unwrap().ord;
    assert!(cache.read(&old, TABLE, ord).await.unwrap().is_empty());
    assert_eq!(cache.compact().await.unwrap().dropped, 0);

    put(&cache, &[("app".to_owned(), sections("app", &[&text("[]")]))]).await;
    assert_eq!(cache.compact().await.unwrap().dropped, 1);
    let new = cache.snapshot();
    assert_eq!(
        (new.segments(ENVIRONMENT.name).count(), new.segments(TABLE.name).count()),
        (0, 1)
    );
}
