//! Generated corpora say in a manifest what is in them; the tables say the same. Real logs are small: this is where counts and
//! sums of thousands of tasks are checked.

use std::path::Path;

use generator::{Codec, Kind, Options, Spark};
use serde_json::Value;

use crate::support;

/// The example `gen_corpus` without its command line: a part of this program, because `cargo test --test it` builds no example and
/// one that an earlier build left may be of another commit.
#[path = "../../benches/corpus/generator/mod.rs"]
#[allow(dead_code, reason = "the presets are for the command line")]
mod generator;

/// The manifest's names beside the columns of `applications`.
const TOTALS: [(&str, &str); 14] = [
    ("status", "status"),
    ("jobs", "num_jobs"),
    ("failed_jobs", "num_failed_jobs"),
    ("stages", "num_stages"),
    ("failed_stages", "num_failed_stages"),
    ("tasks", "num_tasks"),
    ("failed_tasks", "num_failed_tasks"),
    ("run_ms", "executor_run_time_ms"),
    ("gc_ms", "jvm_gc_time_ms"),
    ("shuffle_read", "shuffle_read_bytes"),
    ("shuffle_write", "shuffle_write_bytes"),
    ("input_bytes", "input_bytes"),
    ("output_bytes", "output_bytes"),
    ("events", "log_events"),
];

#[test]
fn tables_have_the_counts_and_sums_of_generated_corpora() {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, kind, spark, codec) in [
        ("4.1", Kind::Same, Spark::V4_1, Codec::None),
        ("3.5", Kind::Same, Spark::V3_5, Codec::Zstd),
        ("mix", Kind::Mix, Spark::V4_1, Codec::Zstd),
    ] {
        let corpus = dir.path().join(name);
        let mut options = Options::new(corpus.clone());
        (options.kind, options.spark, options.codec) = (kind, spark, codec);
        (
            options.apps,
            options.jobs,
            options.stages,
            options.tasks,
            options.executors,
        ) = (4, 3, 9, 3000, 5);
        options.fail_rate = 0.02;
        if kind == Kind::Mix {
            (options.apps, options.in_progress) = (60, 3);
        }
        generator::generate(&options).expect("room for a corpus");
        let manifest = read_manifest(&corpus);
        let rows = support::query(&corpus, "select * from applications");
        let applications = manifest["app"].as_array().expect("applications");
        assert_eq!(rows.len(), applications.len());
        if kind == Kind::Mix {
            let statuses = ["succeeded", "failed", "running"].map(|status| manifest[status].as_u64());
            assert!(
                statuses.iter().all(|count| *count > Some(0)),
                "of every kind: {statuses:?}"
            );
        }
        for expected in applications {
            let row = rows
                .iter()
                .find(|row| row["app_id"] == expected["id"])
                .expect("a row for each application");
            for (fact, column) in TOTALS {
                assert_eq!(
                    row[column], expected[fact],
                    "{name}: {column} of {}, Spark {}",
                    expected["id"], expected["spark"]
                );
            }
            // Until when the executors of one that has not ended live is a matter of taste.
            if row["completed"] == true {
                assert_eq!(
                    row["executor_core_ms"], expected["core_ms"],
                    "{name}: of {}",
                    expected["id"]
                );
            }
            // The driver is one more.
            assert_eq!(
                row["num_executors"].as_i64(),
                expected["executors"].as_i64().map(|count| count + 1)
            );
        }
        let counts = "select app_id, (select count(*) from jobs j where j.app_id = a.app_id) as num_jobs,
            (select count(*) from stages s where s.app_id = a.app_id) as num_stages,
            (select count(*) from tasks t where t.app_id = a.app_id) as num_tasks,
            (select count(*) from tasks t where t.app_id = a.app_id and status = 'FAILED') as num_failed_tasks,
            (select sum(executor_run_time_ms) from tasks t where t.app_id = a.app_id) as executor_run_time_ms,
            (select sum(shuffle_read_bytes) from stages s where s.app_id = a.app_id) as shuffle_read_bytes
            from applications a";
        for counted in support::query(&corpus, counts) {
            let row = rows
                .iter()
                .find(|row| row["app_id"] == counted["app_id"])
                .expect("the same applications");
            for (column, value) in &counted {
                assert_eq!(&row[column], value, "{name}: {column} counted from the tables");
            }
        }
    }
}

#[test]
fn a_corpus_is_the_same_whatever_the_number_of_threads() {
    let dir = tempfile::tempdir().expect("a directory");
    let [one, many] = [("one", 1), ("many", 5)].map(|(name, threads)| {
        let corpus = dir.path().join(name);
        let mut options = Options::new(corpus.clone());
        (options.kind, options.codec) = (Kind::Mix, Codec::Zstd);
        (options.apps, options.env_kb, options.threads) = (40, 4, threads);
        generator::generate(&options).expect("room for a corpus");
        (bytes_below(&corpus), read_manifest(&corpus))
    });
    assert!(one.0.len() >= 40);
    // The bytes of logs are no message that anybody could read.
    assert!(one == many, "one thread and five made different corpora");
}

fn read_manifest(corpus: &Path) -> Value {
    let manifest = std::fs::read(generator::manifest_path(corpus)).expect("the manifest");
    serde_json::from_slice(&manifest).expect("JSON")
}

/// Every file of a corpus by its path inside.
fn bytes_below(dir: &Path) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut files = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("a readable entry").path();
        let name = path.file_name().expect("entries have names").to_owned();
        if path.is_dir() {
            let below = bytes_below(&path).into_iter();
            files.extend(below.map(|(file, bytes)| (Path::new(&name).join(file), bytes)));
        } else {
            files.insert(name.into(), std::fs::read(&path).expect("a readable file"));
        }
    }
    files
}
