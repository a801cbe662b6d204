//! Every scalar that Spark's history server answers is in the tables, with the same value (`docs/parity.md`).
//!
//! Three sets of logs: `tests/fixtures/logs` with the answers recorded by `make/record.sh`; and, on machines that have
//! the development material beside the checkout, more real logs and the suite of Spark itself.

use std::path::Path;

use sparkgate::table;

use crate::answers::{Answer, conformance, recorded};
use crate::comparison::{Comparison, ENTITIES, ENVIRONMENT, Tables};
use crate::support;

#[test]
fn tables_equal_the_history_servers_answers_about_the_fixtures() {
    let fixtures = support::fixtures();
    let answers = recorded(&fixtures.join("answers/answers.jsonl.gz"), &[]);
    hold_against(
        "tests/fixtures/logs",
        &fixtures.join("logs"),
        &answers,
        &["miscellaneous_processes"],
    );
}

#[test]
fn tables_equal_the_history_servers_answers_about_the_shared_logs() {
    let Some(shared) = support::shared() else {
        return support::say("parity: no shared logs beside this checkout; only the fixtures were compared");
    };
    let copy = tempfile::tempdir().expect("a temporary directory");
    support::copy_logs(
        &shared.join("spark-logs"),
        copy.path(),
        &["README.md", ".gitattributes"],
    );
    std::fs::create_dir(copy.path().join("eventlog_v2_local-empty-dev")).expect("a folder in a new directory");
    // Spark answers 500 or 404 about these damaged logs; `damaged.rs` looks at them.
    let damaged = ["local-cut-dev", "local-garbage", "local-blank-lines-dev"];
    for entry in std::fs::read_dir(copy.path())
        .expect("the copy")
        .map(|entry| entry.expect("a readable entry"))
    {
        if damaged
            .iter()
            .any(|name| entry.file_name().to_string_lossy().starts_with(name))
        {
            std::fs::remove_file(entry.path()).expect("a file of the copy");
        }
    }
    let answers = recorded(&shared.join("spark-logs-answers/answers.jsonl.gz"), &damaged);
    hold_against("shared/spark-logs", copy.path(), &answers, &["miscellaneous_processes"]);
}

#[test]
fn tables_equal_the_expectations_of_sparks_own_suite() {
    let Some(shared) = support::shared() else {
        return support::say("parity: no conformance suite beside this checkout; only the fixtures were compared");
    };
    let suite = shared.join("spark-conformance");
    hold_against(
        "shared/spark-conformance",
        &suite.join("events"),
        &conformance(&suite),
        &["rdd_partitions"],
    );
}

/// `empty`: tables that none of the logs fills.
fn hold_against(what: &str, logs: &Path, answers: &[Answer], empty: &[&str]) {
    assert!(!answers.is_empty(), "no answers for {what}");
    let tables = read_tables(logs);
    let columns = |name: &str| table::all().iter().find(|def| def.name == name).map(|def| def.columns);
    let comparison = Comparison::run(answers, &tables, empty, columns);
    support::say(&format!(
        "parity, {what}: {} answers, {}",
        answers.len(),
        comparison.summary()
    ));
    assert!(
        comparison.is_clean(),
        "{what} differs from Spark:\n{}",
        comparison.report()
    );
}

/// All rows of the compared tables, by one run of the program: a row that only names a table stands before its rows.
fn read_tables(logs: &Path) -> Tables {
    let names = ENTITIES.iter().map(|entity| entity.table).chain([ENVIRONMENT]);
    let defined = names.filter(|name| table::all().iter().any(|def| def.name == *name));
    let sql: String = defined
        .map(|name| format!("select '{name}' as rows_of_table; select * from {name};\n"))
        .collect();
    assert!(!sql.is_empty(), "none of the compared tables is defined");
    let mut tables = Tables::new();
    let mut current = String::new();
    for row in support::query(logs, &sql) {
        match row.get("rows_of_table").and_then(|name| name.as_str()) {
            Some(name) => name.clone_into(&mut current),
            None => tables.entry(current.clone()).or_default().push(row),
        }
    }
    tables
}
