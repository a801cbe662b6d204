//! Generated corpora say in a manifest what is in them; the tables say the same. Real logs are small: this is where counts and
//! sums of thousands of tasks are checked.

use std::process::Command;

use serde_json::Value;

use crate::support;

/// The manifest's names beside the columns of `applications`.
const TOTALS: [(&str, &str); 10] = [
    ("jobs", "num_jobs"),
    ("stages", "num_stages"),
    ("tasks", "num_tasks"),
    ("failed_tasks", "num_failed_tasks"),
    ("run_ms", "executor_run_time_ms"),
    ("shuffle_read", "shuffle_read_bytes"),
    ("shuffle_write", "shuffle_write_bytes"),
    ("input_bytes", "input_bytes"),
    ("output_bytes", "output_bytes"),
    ("events", "log_events"),
];

#[test]
fn tables_have_the_counts_and_sums_of_generated_corpora() {
    let test = std::env::current_exe().expect("this program has a path");
    let generator = test
        .parent()
        .and_then(|deps| deps.parent())
        .expect("target/…/deps")
        .join("examples/gen_corpus");
    let dir = tempfile::tempdir().expect("a directory");
    for (version, codec) in [("4.1", "none"), ("3.5", "zstd")] {
        let corpus = dir.path().join(version);
        let made = Command::new(&generator)
            .args([
                "--apps",
                "4",
                "--jobs",
                "3",
                "--stages",
                "9",
                "--tasks",
                "3000",
                "--executors",
                "5",
            ])
            .args(["--fail-rate", "0.02", "--spark", version, "--codec", codec, "--out"])
            .arg(&corpus)
            .output()
            .expect("cargo builds the example with the tests");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let manifest = std::fs::read(corpus.with_file_name(format!("{version}.manifest.json"))).expect("the manifest");
        let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
        let rows = support::query(&corpus, "select * from applications");
        let applications = manifest["app"].as_array().expect("applications");
        assert_eq!(rows.len(), applications.len());
        for expected in applications {
            let row = rows
                .iter()
                .find(|row| row["app_id"] == expected["id"])
                .expect("a row for each application");
            for (name, column) in TOTALS {
                assert_eq!(
                    row[column], expected[name],
                    "Spark {version}: {} of {}",
                    column, expected["id"]
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
                assert_eq!(&row[column], value, "Spark {version}: {column} counted from the tables");
            }
        }
    }
}
