//! `environment`, whose rows are made of sections.

use arrow::array::StringViewArray;

use super::*;
use crate::table::{ENVIRONMENT_SECTIONS, repeated};

fn sections(app_id: &str, sections: &[(&str, i32, &str)]) -> AttemptRows {
    let columns: Vec<ArrayRef> = vec![
        repeated(app_id, sections.len()),
        repeated("", sections.len()),
        Arc::new(sections.iter().map(|(name, ..)| Some(*name)).collect::<StringArray>()),
        Arc::new(
            sections
                .iter()
                .map(|(_, count, _)| Some(*count))
                .collect::<Int32Array>(),
        ),
        Arc::new(
            sections
                .iter()
                .map(|(_, _, text)| Some(*text))
                .collect::<StringViewArray>(),
        ),
    ];
    let rows = RecordBatch::try_new(ENVIRONMENT_SECTIONS.arrow_schema(), columns).unwrap();
    AttemptRows {
        app_id: app_id.into(),
        attempt_id: "".into(),
        start_time_ms: 0,
        log: Arc::new(EventLog {
            path: format!("/logs/{app_id}").into(),
            identity: format!("/logs/{app_id}").into(),
            rolling: false,
            files: Vec::new(),
            in_progress: false,
            open: None,
            size_bytes: 1,
            modified_ms: 0,
        }),
        tables: BTreeMap::from([(ENVIRONMENT_SECTIONS.name, vec![rows])]),
        stored: None,
        is_read: true,
    }
}

fn session_of(attempts: Vec<AttemptRows>) -> SessionContext {
    let snapshot = Arc::new(Snapshot::in_memory(attempts));
    Catalog::new(Arc::new(Fixed(snapshot)), Vec::new()).session(&SessionVars::default())
}

const SPARK: &str = r#"[["a.null",null],["ä","\"quoted\"\n\u0001"],["spark.app.name","one"],["spark.memory","7"]]"#;

/// Two applications, and a section of more rows than a batch has.
fn session() -> SessionContext {
    let many: Vec<String> = (0..20_000)
        .map(|at| format!(r#"["hadoop.{at:05}","{}"]"#, at % 10))
        .collect();
    let hadoop = format!("[{}]", many.join(","));
    session_of(vec![
        sections("app-1", &[("hadoop", 20_000, &hadoop), ("spark", 4, SPARK)]),
        sections(
            "app-2",
            &[("hadoop", 20_000, &hadoop), ("runtime", 1, r#"[["a","b"]]"#)],
        ),
    ])
}

#[tokio::test]
async fn every_property_is_a_row_with_the_application_and_section_it_is_of() {
    let session = session();
    let sql =
        "select app_id, attempt_id, section, name, value from environment where section <> 'hadoop' order by 1, 3, 4";
    assert_eq!(
        rows_of(&session, sql).await,
        "app-1||spark|a.null|\napp-1||spark|spark.app.name|one\napp-1||spark|spark.memory|7\napp-1||spark|ä|\"quoted\"\n\u{1}\n\
         app-2||runtime|a|b"
    );
    let sql = "select count(*), count(value), count(distinct name), min(name), max(value) from environment where section = 'hadoop'";
    assert_eq!(rows_of(&session, sql).await, "40000|40000|20000|hadoop.00000|9");
}

#[tokio::test]
async fn what_is_asked_for_decides_what_is_unpacked_and_not_what_is_answered() {
    let session = session();
    for (sql, answer) in [
        ("select count(*) from environment", "40005"),
        ("select count(*) from environment where app_id = 'app-2'", "20001"),
        (
            "select count(*) from environment where app_id like '%-1' and section in ('spark', 'runtime')",
            "4",
        ),
        (
            "select app_id, count(*) from environment group by 1 order by 1",
            "app-1|20004\napp-2|20001",
        ),
        ("select section from environment where section = 'runtime'", "runtime"),
        ("select value from environment where name = 'spark.memory'", "7"),
        ("select name from environment where value is null", "a.null"),
        (
            "select app_id from environment where name like 'spark.%' and value = 'one'",
            "app-1",
        ),
        (
            "select count(*) from environment where name = 'hadoop.00007' or section = 'spark'",
            "6",
        ),
        (
            "select value from environment where section = 'spark' and name = 'spark.memory' and value::int > 5",
            "7",
        ),
        ("select count(*) from environment where app_id = 'none'", "0"),
        ("select count(*) from environment where name = 'none'", "0"),
        (
            "select count(*) from (select * from environment limit 12345) t",
            "12345",
        ),
        (
            "select count(*) from (select 1 from environment limit 20002) t",
            "20002",
        ),
        (
            "select count(*) from (select name from environment where value = '3' limit 50) t",
            "50",
        ),
        ("select name from environment order by name limit 1 offset 1", "a.null"),
        (
            "select e.name from environment e join environment o using (name, value) where e.app_id < o.app_id and e.name like '%.00042'",
            "hadoop.00042",
        ),
        (
            "select count(*) from environment where name in (select name from environment where section = 'spark')",
            "4",
        ),
    ] {
        assert_eq!(rows_of(&session, sql).await, answer, "{sql}");
    }
}

#[tokio::test]
async fn batches_are_no_longer_than_others_and_a_limit_ends_the_scan() {
    let session = session();
    let batches = run(&session, "select name from environment").await.unwrap();
    let sizes: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
    assert!(sizes.iter().all(|rows| *rows <= 8192), "{sizes:?}");
    assert_eq!(sizes.iter().sum::<usize>(), 40_005);
    let physical = |sql: &'static str| {
        let session = session.clone();
        async move {
            let physical = plan(&session, sql).await.unwrap().create_physical_plan().await.unwrap();
            displayable(physical.as_ref()).indent(false).to_string()
        }
    };
    let text = physical("select count(*) from environment").await;
    assert!(text.contains("UnpackExec: columns=[]"), "{text}");
    let text = physical("select value from environment where app_id = 'app-1' and name = 'x' limit 3").await;
    assert!(
        text.contains(
            "UnpackExec: columns=[app_id, name, value], sections=[app_id@0 = app-1], properties=[name@0 = x]"
        ),
        "{text}"
    );
    let text = physical("select name from environment limit 3").await;
    assert!(text.contains("UnpackExec: columns=[name], limit=3"), "{text}");
}

#[tokio::test]
async fn a_text_that_is_no_section_is_an_error_that_names_the_application() {
    let session = session_of(vec![sections("app-7", &[("spark", 1, r#"[["a""#)])]);
    let error = run(&session, "select name from environment")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(r#"the stored environment of application "app-7", attempt """#),
        "{error}"
    );
    // Who only counts does not look.
    assert_eq!(rows_of(&session, "select count(*) from environment").await, "1");
}

#[tokio::test]
async fn sections_are_not_a_table_of_sql() {
    let session = session();
    assert!(run(&session, "select * from environment_sections").await.is_err());
    let sql = "select count(*) from pg_class where relname like 'environment%'";
    assert_eq!(rows_of(&session, sql).await, "1");
}
