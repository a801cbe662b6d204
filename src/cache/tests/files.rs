//! Files that are missing, damaged, or of another release; two writers; answers that get lost.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path as StorePath;
use object_store::{ObjectStore, ObjectStoreExt};

use super::support::{Fault, TableKeys, TestStore, small, write};
use crate::cache::{Cache, CacheError, CacheOptions, CacheReader, Changes};
use crate::table::{JOBS, TASKS};

fn some_rows() -> TableKeys {
    TableKeys::from([(TASKS.name, (0..100).rev().collect()), (JOBS.name, vec![1, 2])])
}

async fn put(cache: &Cache, app_id: &str) -> Result<(), CacheError> {
    let put = vec![write(cache, (app_id, ""), &some_rows()).await?];
    cache
        .commit(Changes {
            put,
            ..Changes::default()
        })
        .await
        .map(|_| ())
}

fn options() -> CacheOptions {
    CacheOptions {
        removed_grace: std::time::Duration::from_secs(3600),
        ..small()
    }
}

/// A cache in a directory after so many commits.
async fn cache_of(dir: &Path, commits: usize) -> String {
    let location = dir.join("cache").to_str().unwrap().to_owned();
    let cache = Cache::open(&location, options()).await.unwrap();
    for number in 0..commits {
        put(&cache, &format!("app-{number}")).await.unwrap();
    }
    location
}

fn files(location: &str, folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(Path::new(location).join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

/// What both kinds of opening say.
async fn open_error(location: &str) -> CacheError {
    let reader = CacheReader::open(location).await.map(|_| ()).unwrap_err();
    let writer = Cache::open(location, options()).await.map(|_| ()).unwrap_err();
    assert_eq!(reader.to_string(), writer.to_string());
    writer
}

#[tokio::test]
async fn a_second_writer_is_refused_with_the_directory_and_what_to_do_and_readers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let location = cache_of(dir.path(), 2).await;
    let first = Cache::open(&location, options()).await.unwrap();
    let second = Cache::open(&location, options()).await.unwrap_err();
    assert!(matches!(second, CacheError::Locked { .. }));
    assert_eq!(
        second.to_string(),
        format!(
            "the column cache {location} is in use by another sparkgate; stop that one, or give this one a cache directory of its own"
        )
    );
    let reader = CacheReader::open(&location).await.unwrap();
    assert_eq!(reader.snapshot().attempt_count(), 2);
    put(&first, "app-new").await.unwrap();
    assert_eq!(reader.refresh().await.unwrap().attempt_count(), 3);
    drop(first);
    let third = Cache::open(&location, options()).await.unwrap();
    assert_eq!(third.snapshot().attempt_count(), 3);
}

#[tokio::test]
async fn without_a_lock_the_writer_that_was_overtaken_is_refused_at_its_next_commit_and_ever_after() {
    let store = Arc::new(InMemory::new());
    let one = Cache::open_store(Arc::clone(&store) as _, "test", small())
        .await
        .unwrap();
    let two = Cache::open_store(Arc::clone(&store) as _, "test", small())
        .await
        .unwrap();
    put(&two, "of two").await.unwrap();
    for _ in 0..2 {
        let error = put(&one, "of one").await.unwrap_err();
        assert!(matches!(error, CacheError::OtherWriter { .. }), "{error:?}");
    }
    put(&two, "of two again").await.unwrap();
    let reader = CacheReader::open_store(store, "test").await.unwrap();
    assert_eq!(reader.snapshot().attempt_count(), 2);
    assert!(reader.snapshot().attempt("of one", "").is_none());
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_not_a_conflict_with_itself() {
    let store = TestStore::new(Arc::new(InMemory::new()));
    let cache = Cache::open_store(Arc::new(store.clone()), "test", small())
        .await
        .unwrap();
    for number in 0..7 {
        // Two segments, then the commit.
        store.arm(2, Fault::LoseAnswer);
        put(&cache, &format!("app-{number}")).await.unwrap();
        assert!(store.disarm(), "the fault has happened");
        let writes = store.take_writes();
        assert!(writes[2].starts_with("_m/log/"), "{writes:?}");
    }
    assert_eq!((cache.snapshot().seq(), cache.snapshot().attempt_count()), (7, 7));
}

#[tokio::test]
async fn a_commit_that_is_there_and_cannot_be_seen_to_be_is_an_error_and_part_of_the_next_one() {
    let store = TestStore::new(Arc::new(InMemory::new()));
    let cache = Cache::open_store(Arc::new(store.clone()), "test", small())
        .await
        .unwrap();
    put(&cache, "app-0").await.unwrap();
    store.arm(2, Fault::LoseAnswerAndRead);
    let error = put(&cache, "app-1").await.unwrap_err();
    assert!(matches!(error, CacheError::Store { .. }), "{error:?}");
    assert_eq!(cache.snapshot().attempt_count(), 1);
    // The caller tries again: that replaces what turns up.
    put(&cache, "app-1").await.unwrap();
    assert_eq!(cache.snapshot().attempt("app-1", "").unwrap().generation, 1);
    let reader = CacheReader::open_store(Arc::new(store), "test").await.unwrap();
    assert_eq!((reader.snapshot().seq(), reader.snapshot().attempt_count()), (3, 2));
}

#[tokio::test]
async fn an_attempt_twice_in_one_commit_and_rows_for_one_that_went_are_refused() {
    let store = Arc::new(InMemory::new());
    let cache = Cache::open_store(store, "test", small()).await.unwrap();
    let twice = vec![
        write(&cache, ("app", "1"), &some_rows()).await.unwrap(),
        write(&cache, ("app", "1"), &some_rows()).await.unwrap(),
    ];
    let error = cache
        .commit(Changes {
            put: twice,
            ..Changes::default()
        })
        .await
        .unwrap_err();
    assert!(matches!(error, CacheError::Twice { .. }));
    put(&cache, "app").await.unwrap();
    let ord = cache.snapshot().attempt("app", "").unwrap().ord;
    let more = cache.extend("app", "", ord).unwrap();
    put(&cache, "app").await.unwrap();
    let late = vec![more.finish(super::support::info(1))];
    let error = cache
        .commit(Changes {
            put: late,
            ..Changes::default()
        })
        .await
        .unwrap_err();
    assert!(matches!(error, CacheError::Gone { .. }));
    assert_eq!(cache.snapshot().attempt("app", "").unwrap().generation, 1);
}

#[tokio::test]
async fn a_reader_where_no_cache_is_and_a_place_that_cannot_be_used_are_said() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = dir.path().join("nothing").to_str().unwrap().to_owned();
    let error = CacheReader::open(&nothing).await.unwrap_err();
    assert!(matches!(error, CacheError::NotACache { .. }));
    std::fs::write(&nothing, "a file").unwrap();
    let error = Cache::open(&nothing, options()).await.unwrap_err();
    assert!(matches!(error, CacheError::Location { .. }), "{error:?}");
    let error = Cache::open("s3://bucket/cache", options()).await.unwrap_err();
    assert!(error.to_string().contains("s3 is not supported yet"), "{error}");
}

#[tokio::test]
async fn a_missing_or_damaged_commit_is_an_error_that_asks_for_a_rebuild() {
    let dir = tempfile::tempdir().unwrap();
    let location = cache_of(dir.path(), 4).await;
    let log = files(&location, "_m/log");
    let second = std::fs::read(&log[1]).unwrap();

    std::fs::remove_file(&log[1]).unwrap();
    let error = open_error(&location).await;
    assert!(
        matches!(&error, CacheError::Missing { file } if file.contains("00000002")),
        "{error:?}"
    );
    assert!(error.needs_rebuild());

    for at in [0, second.len() / 2, second.len() - 1] {
        let mut bytes = second.clone();
        bytes[at] ^= 0x40;
        std::fs::write(&log[1], &bytes).unwrap();
        let error = open_error(&location).await;
        assert!(matches!(error, CacheError::Damaged { .. }), "byte {at}: {error:?}");
    }
    // A whole commit in the wrong place.
    std::fs::copy(&log[2], &log[1]).unwrap();
    assert!(matches!(open_error(&location).await, CacheError::Damaged { .. }));

    std::fs::write(&log[1], &second).unwrap();
    assert_eq!(
        CacheReader::open(&location).await.unwrap().snapshot().attempt_count(),
        4
    );
}

fn with_format(path: &Path, format: u32) {
    let bytes = zstd::decode_all(&*std::fs::read(path).unwrap()).unwrap();
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let mut head: serde_json::Value = serde_json::from_slice(&bytes[..end]).unwrap();
    head["format"] = format.into();
    head["something_new"] = true.into();
    let bytes = [&serde_json::to_vec(&head).unwrap(), &bytes[end..]].concat();
    let bytes = zstd::encode_all(&*bytes, 1).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn other_formats_are_told_apart_from_damage() {
    let dir = tempfile::tempdir().unwrap();
    let location = cache_of(dir.path(), 4).await;
    let last = files(&location, "_m/log").pop().unwrap();
    with_format(&last, 99);
    let error = open_error(&location).await;
    assert!(matches!(error, CacheError::NewerFormat { found: 99, .. }), "{error:?}");
    assert!(!error.needs_rebuild());
    with_format(&last, 0);
    let error = open_error(&location).await;
    assert!(error.to_string().contains("will be rebuilt from the logs"), "{error}");
    assert!(error.needs_rebuild());
    // Also where the checkpoint is of another release.
    let location = cache_of(&dir.path().join("more"), 7).await;
    with_format(&files(&location, "_m/ckpt").pop().unwrap(), 99);
    assert!(matches!(open_error(&location).await, CacheError::NewerFormat { .. }));
}

#[tokio::test]
async fn a_damaged_checkpoint_or_hint_costs_nothing_while_the_commits_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let location = cache_of(dir.path(), 12).await;
    let checkpoints = files(&location, "_m/ckpt");
    assert_eq!(checkpoints.len(), 2);
    let count = async || {
        CacheReader::open(&location)
            .await
            .map(|reader| reader.snapshot().attempt_count())
    };
    assert_eq!(count().await.unwrap(), 12);
    for hint in ["", "nonsense", "3", "999", "18446744073709551615"] {
        std::fs::write(Path::new(&location).join("_m/_last"), hint).unwrap();
        assert_eq!(count().await.unwrap(), 12, "hint {hint:?}");
    }
    std::fs::write(&checkpoints[1], "nonsense").unwrap();
    assert_eq!(count().await.unwrap(), 12);
    std::fs::remove_file(&checkpoints[0]).unwrap();
    assert_eq!(count().await.unwrap(), 12);
    // The last good way is gone: an older state must not be taken for the newest.
    std::fs::remove_file(&files(&location, "_m/log")[2]).unwrap();
    assert!(open_error(&location).await.needs_rebuild());
}

#[tokio::test]
async fn a_missing_or_damaged_segment_is_an_error_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let location = cache_of(dir.path(), 1).await;
    let reader = CacheReader::open(&location).await.unwrap();
    let snapshot = reader.snapshot();
    let ord = snapshot.attempt("app-0", "").unwrap().ord;
    let segment = snapshot.segments(TASKS.name).next().unwrap();
    let path = Path::new(&location).join(&segment.path);
    let whole = std::fs::read(&path).unwrap();
    assert_eq!(whole.len() as u64, segment.bytes);
    let mut no_magic = whole.clone();
    *no_magic.last_mut().unwrap() = b'?';
    let mut no_pages = whole.clone();
    no_pages[4..whole.len() / 3].fill(0xff);
    for bytes in [&whole[..whole.len() - 10], &whole[..3], &[], &no_magic, &no_pages] {
        std::fs::write(&path, bytes).unwrap();
        let error = reader.read(&snapshot, &TASKS, ord).await.unwrap_err();
        assert!(
            matches!(error, CacheError::Damaged { .. } | CacheError::Store { .. }),
            "{error:?}"
        );
    }
    std::fs::remove_file(&path).unwrap();
    let error = reader.read(&snapshot, &TASKS, ord).await.unwrap_err();
    assert!(matches!(&error, CacheError::Missing { file } if file.ends_with(&segment.path)));
    assert!(error.needs_rebuild());
    // Another table is still fine.
    assert_eq!(reader.read(&snapshot, &JOBS, ord).await.unwrap()[0].num_rows(), 2);
}

#[tokio::test]
async fn clearing_empties_even_what_cannot_be_opened_and_readers_see_it() {
    let dir = tempfile::tempdir().unwrap();
    let location = cache_of(dir.path(), 3).await;
    let reader = CacheReader::open(&location).await.unwrap();
    with_format(&files(&location, "_m/log").pop().unwrap(), 99);
    assert!(Cache::open(&location, options()).await.is_err());
    let cache = Cache::clear(&location, options()).await.unwrap();
    assert_eq!((cache.snapshot().attempt_count(), cache.status().bytes), (0, 0));
    assert_eq!(reader.refresh().await.unwrap().attempt_count(), 0);
    put(&cache, "after").await.unwrap();
    assert_eq!(reader.refresh().await.unwrap().attempt_count(), 1);
    drop(cache);
    let again = Cache::open(&location, options()).await.unwrap();
    assert_eq!(again.snapshot().attempt_count(), 1);
}

#[tokio::test]
async fn collecting_waits_for_grace_and_for_who_still_reads() {
    let dir = tempfile::tempdir().unwrap();
    let location = cache_of(dir.path(), 9).await;
    let tasks = || files(&location, "t/tasks").len();
    let cache = Cache::open(&location, options()).await.unwrap();
    cache.compact().await.unwrap();
    assert_eq!((cache.status().tables[4].segments, tasks()), ([0, 1, 0], 10));
    assert_eq!(cache.collect().await.unwrap().removed, 0, "within grace");
    drop(cache);

    let cache = Cache::open(&location, small()).await.unwrap();
    let held = cache.snapshot();
    let put_app = put(&cache, "app-0").await;
    put_app.unwrap();
    cache.compact().await.unwrap();
    // Removed before `held`: 9 of tasks and 9 of jobs. What it still sees stays.
    assert_eq!(cache.collect().await.unwrap().removed, 18);
    let ord = held.attempt("app-0", "").unwrap().ord;
    assert_eq!(cache.read(&held, &TASKS, ord).await.unwrap()[0].num_rows(), 100);
    drop(held);
    cache.collect().await.unwrap();
    assert_eq!(cache.snapshot().removed().count(), 0);
    assert_eq!(tasks(), cache.snapshot().segments(TASKS.name).count());

    // A file that no commit names.
    let orphan = Path::new(&location).join("t/tasks/L0-orphan.parquet");
    std::fs::write(&orphan, "half").unwrap();
    assert_eq!(cache.collect().await.unwrap().orphans, 1);
    assert!(!orphan.exists());
}

#[tokio::test]
async fn a_bit_that_the_disk_changed_in_a_segment_is_an_error_and_never_another_row() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let cache = Cache::open_store(Arc::clone(&store), "test", small()).await.unwrap();
    put(&cache, "app").await.unwrap();
    let snapshot = cache.snapshot();
    let ord = snapshot.attempt("app", "").unwrap().ord;
    let segment = Arc::clone(snapshot.segments(TASKS.name).next().unwrap());
    let path = StorePath::from(segment.path.as_str());
    let before = cache.read(&snapshot, &TASKS, ord).await.unwrap();
    let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
    assert_eq!(bytes.len() as u64, segment.bytes);
    let (mut failed, step) = (0, bytes.len() / 97 + 1);
    for at in (0..bytes.len()).step_by(step) {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1 << (at % 8);
        store.put(&path, changed.into()).await.unwrap();
        match cache.read(&snapshot, &TASKS, ord).await {
            Ok(rows) => assert_eq!(rows, before, "byte {at} is of no page that was read"),
            Err(error) => {
                assert!(
                    error.to_string().contains("column cache") || error.to_string().contains("damaged"),
                    "{error}"
                );
                failed += 1;
            }
        }
    }
    assert!(failed > 50, "{failed} of the changes were noticed");
    store.put(&path, bytes.into()).await.unwrap();
    assert_eq!(cache.read(&snapshot, &TASKS, ord).await.unwrap(), before);
}
