//! The rows of the schema `rollup` that are stored are those of the SQL that defines them, over the base tables, value for value.

use std::path::{Path, PathBuf};

use sparkgate::table::{self, TableDef};

use crate::support::pg::Session;
use crate::support::{Server, fixtures, say, shared};

fn stored() -> Vec<&'static TableDef> {
    let rollups = table::all().iter().filter(|table| table.schema == "rollup");
    rollups.copied().collect()
}

/// The statement of `sql/rollups` that says what a table's rows are.
fn definition(table: &TableDef) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("sql/rollups/{}.sql", table.name));
    std::fs::read_to_string(path).expect("every stored rollup has a definition")
}

fn all_logs() -> Vec<PathBuf> {
    let mut all = vec![fixtures().join("logs"), fixtures().join("damaged")];
    match shared() {
        Some(shared) => all.extend([shared.join("spark-logs"), shared.join("spark-conformance/events")]),
        None => say("rollups: nothing shared beside the checkout"),
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_rows_are_those_of_the_sql_that_defines_them() {
    for logs in all_logs() {
        let server = Server::start(&logs);
        let session = Session::open(&server).await;
        for table in stored() {
            let order = table.sort_order.join(", ");
            let stored = format!("select * from {} order by {order}", table.sql_name());
            let defined = format!("select * from ({}) as defined order by {order}", definition(table));
            let (stored, defined) = (session.objects(&stored).await, session.objects(&defined).await);
            assert!(stored.len() > 1, "{} rows of {}", stored.len(), logs.display());
            for (stored, defined) in stored.iter().zip(&defined) {
                assert_eq!(stored, defined, "{} of {}", table.name, logs.display());
            }
            assert_eq!(stored.len(), defined.len(), "{} of {}", table.name, logs.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_has_the_columns_of_its_table() {
    let server = Server::start(&fixtures().join("logs"));
    let session = Session::open(&server).await;
    for table in stored() {
        let mut columns = Vec::new();
        for sql in [format!("select * from {}", table.sql_name()), definition(table)] {
            let statement = session.client.prepare(&sql).await.expect("it can be planned");
            let described = statement.columns().iter();
            columns.push(
                described
                    .map(|c| (c.name().to_owned(), c.type_().clone()))
                    .collect::<Vec<_>>(),
            );
        }
        assert_eq!(columns[0], columns[1], "{}", table.name);
        let names: Vec<&str> = columns[0].iter().map(|(name, _)| name.as_str()).collect();
        let documented: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        assert_eq!(names, documented, "{}", table.name);
    }
}
