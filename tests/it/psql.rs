//! The PostgreSQL door with the clients people have: the real psql, which must be installed, and tokio-postgres.

use std::process::Stdio;
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::{Map, Value};
use sparkgate::catalog::views;
use sparkgate::table::TableDef;
use tokio_postgres::NoTls;
use tokio_postgres::types::Type;

use crate::support::pg::{Session, assert_same_rows, code, csv, instant, psql, psql_command};
use crate::support::{Server, fixtures, sparkgate, text};

/// Would run for many minutes and shows nothing before its end.
const ENDLESS_SUM: &str = "select sum(a.task_id * b.task_id % 7) from tasks a, tasks b, tasks c, tasks d";
/// Rows without end, from the first moment on.
const ENDLESS_ROWS: &str = "select a.task_id, b.launch_time, c.status from tasks a, tasks b, tasks c, tasks d";
/// Separates cells and rows where text may have anything else.
const CELL: &str = "\u{1f}";

fn serve() -> Server {
    Server::start(&fixtures().join("logs"))
}

/// Every table but those of the schema `system`.
fn tables() -> Vec<&'static TableDef> {
    let mut tables = sparkgate::table::all().to_vec();
    if !tables.iter().any(|table| table.name == "events") {
        tables.push(&sparkgate::catalog::EVENTS);
    }
    tables
}

/// Cells of psql's output without headers and footers.
fn cells(server: &Server, command: &str) -> Vec<Vec<String>> {
    let shown = psql(server, &["-A", "-t", "-F", CELL, "-c", command]);
    assert!(shown.status.success(), "{command}: {}", shown.stderr);
    assert_eq!(shown.stderr, "", "{command}");
    let row = |line: &str| line.split(CELL).map(str::to_owned).collect();
    shown.stdout.lines().filter(|line| !line.is_empty()).map(row).collect()
}

#[test]
fn psql_lists_the_tables_and_schemas() {
    let server = serve();
    let of_public = tables().into_iter().filter(|table| table.schema == "public");
    let mut expected: Vec<&str> = of_public.map(|table| table.name).collect();
    expected.sort_unstable();
    for command in ["\\d", "\\dt"] {
        let rows = cells(&server, command);
        let names: Vec<&str> = rows.iter().map(|row| row[1].as_str()).collect();
        assert_eq!(names, expected, "{command}");
        assert!(
            rows.iter().all(|row| row[0] == "public" && row[2] == "table"),
            "{command}: {rows:?}"
        );
    }
    let schemas: Vec<String> = cells(&server, "\\dn")
        .into_iter()
        .map(|mut row| row.remove(0))
        .collect();
    assert_eq!(schemas, ["advice", "public", "rollup", "system"]);
    let system: Vec<String> = cells(&server, "\\dt system.*")
        .into_iter()
        .map(|mut row| row.remove(1))
        .collect();
    assert_eq!(
        system,
        [
            "event_logs",
            "queries",
            "scans",
            "segments",
            "sessions",
            "settings",
            "sources"
        ]
    );
    let rollups = cells(&server, "\\dt rollup.*").into_iter().map(|mut row| row.remove(1));
    assert_eq!(rollups.collect::<Vec<_>>(), ["executor_hourly", "stage_summary"]);
    let one = cells(&server, "\\dt+ tasks");
    assert!(
        one[0]
            .last()
            .is_some_and(|comment| comment.contains("one row per task attempt")),
        "{one:?}"
    );
    let databases = cells(&server, "\\l");
    assert!(databases.iter().any(|row| row[0] == "spark"), "{databases:?}");
}

#[test]
fn psql_describes_every_column_of_every_table_with_its_comment() {
    let server = serve();
    for table in tables()
        .into_iter()
        .chain(sparkgate::catalog::SYSTEM_TABLES.iter().copied())
    {
        let name = format!("{}.{}", table.schema, table.name);
        let rows = cells(&server, &format!("\\d+ {name}"));
        let described: Vec<&Vec<String>> = rows.iter().filter(|row| row.len() > 5).collect();
        let names: Vec<&str> = described.iter().map(|row| row[0].as_str()).collect();
        let expected: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        assert_eq!(names, expected, "{name}");
        for (column, row) in table.columns.iter().zip(described) {
            let comment = row.last().expect("some cells");
            assert!(
                comment.contains(column.doc) && comment.contains(column.source),
                "{name}.{}: {comment:?}",
                column.name
            );
            assert_eq!(row[1], sql_type(column.ty), "{name}.{}", column.name);
            assert_eq!(row[3] == "not null", !column.nullable, "{name}.{}", column.name);
        }
    }
    let missing = psql(&server, &["-c", "\\d nowhere"]);
    assert!(
        missing.stderr.contains("Did not find any relation named \"nowhere\""),
        "{}",
        missing.stderr
    );
}

#[test]
fn psql_lists_and_describes_the_views() {
    let server = serve();
    for schema in ["advice", "rollup"] {
        let mut expected: Vec<&str> = views()
            .iter()
            .filter(|view| view.schema == schema)
            .map(|view| view.name)
            .collect();
        expected.sort_unstable();
        let rows = cells(&server, &format!("\\dv+ {schema}.*"));
        let names: Vec<&str> = rows.iter().map(|row| row[1].as_str()).collect();
        assert_eq!(names, expected);
        for row in &rows {
            assert_eq!((row[0].as_str(), row[2].as_str()), (schema, "view"), "{row:?}");
            let comment = row.last().expect("some cells");
            assert!(comment.starts_with("one row per "), "{row:?}");
        }
    }
    for view in views() {
        let name = format!("{}.{}", view.schema, view.name);
        let shown = psql(&server, &["-A", "-F", CELL, "-c", &format!("\\d+ {name}")]);
        assert!(
            shown.status.success() && shown.stderr.is_empty(),
            "{name}: {}",
            shown.stderr
        );
        assert!(
            shown.stdout.contains("View definition:") && shown.stdout.contains(view.sql),
            "{name}: {}",
            shown.stdout
        );
        let rows = shown.stdout.lines().map(|line| line.split(CELL).collect::<Vec<_>>());
        let described: Vec<_> = rows.filter(|row| row.len() > 5).skip(1).collect();
        assert_eq!(described.len(), view.columns.len(), "{name}");
        for (column, row) in view.columns.iter().zip(described) {
            assert_eq!((row[0], row[1]), (column.name, column.ty.sql_name().as_str()), "{name}");
            assert_eq!(row.last(), Some(&column.doc), "{name}.{}", column.name);
        }
    }
    let definition = "select definition = view_definition and definition = pg_get_viewdef('advice.skewed_stages'::regclass), \
                      length(definition) > 100 from pg_views join information_schema.views on table_schema = schemaname \
                      and table_name = viewname where schemaname = 'advice' and viewname = 'skewed_stages'";
    assert_eq!(cells(&server, definition), [["t", "t"]]);
    let comments = "select obj_description('rollup.stage_summary'::regclass), \
                    col_description('rollup.stage_summary'::regclass, 3), obj_description('advice'::regnamespace, 'pg_namespace')";
    assert_eq!(
        cells(&server, comments),
        [[
            "one row per stage attempt with tasks",
            "stage (source: tasks)",
            "what to look at in applications, with reasons and settings"
        ]]
    );
    assert_eq!(
        cells(
            &server,
            "set search_path = advice, public; select count(*) from gc_pressure"
        ),
        [vec!["SET"], vec!["0"]]
    );
}

fn sql_type(ty: sparkgate::table::Type) -> &'static str {
    use sparkgate::table::Type;
    match ty {
        Type::Bool => "boolean",
        Type::Int32 => "integer",
        Type::Int64 => "bigint",
        Type::Float64 => "double precision",
        Type::Text | Type::SharedText => "text",
        Type::Timestamp => "timestamp with time zone",
        Type::List(Type::Int32) => "integer[]",
        Type::List(Type::Int64) => "bigint[]",
        Type::List(Type::Float64) => "double precision[]",
        Type::List(Type::Text) => "text[]",
        Type::List(_) | Type::Map(_) | Type::Struct(_) => "jsonb",
    }
}

#[test]
fn psql_prints_nested_columns_as_arrays_and_jsonb() {
    let server = serve();
    let sql = "select stage_ids, killed_tasks_summary from jobs j join applications a using (app_id) \
               where a.name = 'executor-loss-4.1' order by job_id limit 1";
    assert_eq!(cells(&server, sql), [["{0,1}", "{}"]]);
    let sql = "select executor_logs from executors where executor_logs is not null and executor_id <> 'driver' limit 1";
    let logs: Value = serde_json::from_str(&cells(&server, sql)[0][0]).expect("jsonb");
    assert!(
        logs["stderr"]
            .as_str()
            .is_some_and(|url| url.starts_with("http://localhost:")),
        "{logs}"
    );
    let sql = "select task_resources, executor_resources from resource_profiles where resource_profile_id = 0 limit 1";
    for cell in &cells(&server, sql)[0] {
        let value: Value = serde_json::from_str(cell).expect("jsonb");
        assert!(value.is_object() || value.is_array(), "{cell}");
    }
    let sql = "select count(*) from stages where job_ids[1] is not null";
    assert_ne!(cells(&server, sql), [["0"]]);
}

#[test]
fn psql_copies_into_a_file_and_not_into_a_table() {
    let server = serve();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("jobs.csv");
    let to = format!(
        "\\copy (select app_id, job_id, description from jobs order by 1, 2) to '{}' csv header",
        file.display()
    );
    let copied = psql(&server, &["-c", &to]);
    assert!(copied.status.success(), "{}", copied.stderr);
    let jobs = cells(&server, "select count(*) from jobs")[0][0].clone();
    assert_eq!(copied.stdout, format!("COPY {jobs}\n"));
    let rows = csv(&std::fs::read_to_string(&file).expect("psql wrote it"));
    assert_eq!(
        rows.len().to_string(),
        (jobs.parse::<usize>().expect("a number") + 1).to_string()
    );
    assert_eq!(
        rows[0],
        ["app_id", "job_id", "description"].map(|name| Some(name.to_owned()))
    );

    let text = psql(&server, &["-c", "copy (select null, 'a\tb', 1) to stdout"]);
    assert_eq!(text.stdout, "\\N\ta\\tb\t1\n");
    let from = psql(
        &server,
        &[
            "-v",
            "VERBOSITY=verbose",
            "-c",
            &format!("\\copy jobs from '{}' csv", file.display()),
        ],
    );
    assert!(
        !from.status.success() && from.stderr.contains("ERROR:  25006"),
        "{}",
        from.stderr
    );
}

#[test]
fn psql_shows_errors_with_the_codes_of_postgresql() {
    let server = serve();
    for (sql, code) in [
        ("select * from nowhere", "42P01"),
        ("select nothing from tasks", "42703"),
        ("selec 1", "42601"),
        ("select 1 / 0", "22012"),
        ("select task_id / (task_id - task_id) from tasks", "22012"),
        ("insert into tasks values (1)", "25006"),
        ("insert into nowhere values (1)", "25006"),
        ("update tasks set task_id = 1", "25006"),
        ("delete from tasks", "25006"),
        ("truncate tasks", "25006"),
        ("create table x (a int)", "25006"),
        ("create view x as select 1", "25006"),
        ("create table x as select * from tasks", "25006"),
        ("alter table tasks add column x int", "25006"),
        ("drop table tasks", "25006"),
        ("copy tasks from stdin", "25006"),
        ("select * from tasks where task_id = 'x'::int", "22P02"),
    ] {
        let failed = psql(&server, &["-v", "VERBOSITY=verbose", "-c", sql]);
        assert_eq!(failed.status.code(), Some(1), "{sql}: {}", failed.stdout);
        let shown = format!("ERROR:  {code}: ");
        assert!(
            failed.stderr.starts_with(&shown),
            "{sql}: expected {code}, got {}",
            failed.stderr
        );
        assert_eq!(failed.stdout, "", "{sql}");
    }
    // The session goes on after each of them.
    let both = psql(
        &server,
        &["-A", "-t", "-c", "select nothing from tasks", "-c", "select 1"],
    );
    assert_eq!(
        (both.stdout.as_str(), both.status.code()),
        ("1\n", Some(0)),
        "{}",
        both.stderr
    );
}

#[test]
fn control_c_in_psql_ends_the_statement() {
    let server = serve();
    let child = psql_command(&server)
        .args(["-c", ENDLESS_SUM])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("psql is installed (package postgresql-client)");
    std::thread::sleep(Duration::from_secs(2));
    let asked = Instant::now();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("psql is ours");
    let ended = child.wait_with_output().expect("psql is our child");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(stderr.contains("canceling statement due to user request"), "{stderr}");
    assert_eq!(cells(&server, "select 1"), [["1"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_request_ends_one_statement_and_not_its_session() {
    let server = serve();
    for sql in [ENDLESS_SUM, ENDLESS_ROWS] {
        let (session, other) = (Session::open(&server).await, Session::open(&server).await);
        let token = session.client.cancel_token();
        let statement = tokio::spawn(async move {
            let ended = session.client.batch_execute(sql).await;
            (ended, session)
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!statement.is_finished(), "{sql}");
        let asked = Instant::now();
        token.cancel_query(NoTls).await.expect("the server takes it");
        let (ended, session) = statement.await.expect("no panic");
        assert_eq!(code(&ended.expect_err("it has no end")), "57014", "{sql}");
        assert!(asked.elapsed() < Duration::from_secs(5), "{sql}: {:?}", asked.elapsed());
        assert_eq!(session.rows("select 1").await, ["1"]);
        assert_eq!(other.rows("select 2").await, ["2"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_statement_timeout_ends_rows_that_stream() {
    let server = serve();
    let session = Session::open(&server).await;
    session.rows("set statement_timeout = '1s'").await;
    let started = Instant::now();
    let rows = session
        .client
        .query_raw(ENDLESS_ROWS, std::iter::empty::<i32>())
        .await
        .expect("rows begin");
    let mut rows = std::pin::pin!(rows);
    let mut streamed = 0;
    let error = loop {
        match rows.next().await.expect("rows without end") {
            Ok(_) => streamed += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(code(&error), "57014", "{error:?}");
    assert!(streamed > 1000, "{streamed} rows before the end");
    let took = started.elapsed();
    assert!(
        took > Duration::from_millis(900) && took < Duration::from_secs(6),
        "{took:?}"
    );
    // The next statement has a second of its own.
    assert_eq!(session.rows("select 1").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_stay_in_their_session() {
    let server = serve();
    let (one, other) = (Session::open(&server).await, Session::open(&server).await);
    let time = "select max(end_time) from applications where name = 'codec-none-4.1'";
    let utc = other.rows(time).await;
    one.rows("set timezone = 'Asia/Kolkata'").await;
    one.rows("set application_name = 'one'").await;
    one.rows("set statement_timeout = '3s'").await;
    one.rows("set search_path = system").await;
    assert_eq!(one.rows("show timezone").await, ["Asia/Kolkata"]);
    assert_eq!(one.rows("select count(*) > 0 from event_logs").await, ["t"]);
    let kolkata = one.rows(&time.replace("applications", "public.applications")).await;
    assert!(
        kolkata[0].ends_with("+05:30") && utc[0].ends_with("+00"),
        "{kolkata:?} {utc:?}"
    );
    for session in [other, Session::open(&server).await] {
        assert_eq!(session.rows("show timezone").await, ["UTC"]);
        assert_ne!(session.rows("show application_name").await, ["one"]);
        assert_eq!(session.rows("show statement_timeout").await, ["0"]);
        assert_eq!(session.rows("show search_path").await, ["\"$user\", public"]);
        assert_eq!(session.code("select * from event_logs").await, "42P01");
        assert_eq!(session.rows(time).await, utc);
    }
    one.rows("reset all").await;
    assert_eq!(one.rows("show timezone").await, ["UTC"]);
}

/// The rows of every table, from one run of the command line.
fn rows_of_the_command_line() -> Vec<Vec<Map<String, Value>>> {
    let (logs, tables) = (fixtures().join("logs"), tables());
    let mut args = ["sql", logs.to_str().expect("UTF-8"), "--format", "ndjson"]
        .map(str::to_owned)
        .to_vec();
    for table in &tables {
        args.push("-c".into());
        let keys = table.sort_order.join(", ");
        args.push(format!(
            "select '{}' as of_table, * from {} order by {keys}",
            table.name,
            table.sql_name()
        ));
    }
    let mut rows: Vec<Vec<_>> = tables.iter().map(|_| Vec::new()).collect();
    for mut row in sparkgate(args).rows() {
        let of = row.shift_remove("of_table").expect("each row has it");
        let at = tables
            .iter()
            .position(|table| of == table.name)
            .expect("a table of ours");
        rows[at].push(row);
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_every_table_is_the_same_in_text_in_binary_and_on_the_command_line() {
    let server = serve();
    let session = Session::open(&server).await;
    for (table, expected) in tables().into_iter().zip(rows_of_the_command_line()) {
        // Only YARN in client mode has any, and no fixture was made there.
        let may_be_empty = table.name == "miscellaneous_processes";
        assert!(may_be_empty || !expected.is_empty(), "{} has no rows", table.name);
        let sql = format!(
            "select * from {} order by {}",
            table.sql_name(),
            table.sort_order.join(", ")
        );
        assert_same_rows(
            &format!("{} in binary", table.name),
            &session.objects(&sql).await,
            &expected,
        );

        let types: Vec<(String, Type)> = session
            .client
            .prepare(&sql)
            .await
            .expect("it was just answered")
            .columns()
            .iter()
            .map(|column| (column.name().to_owned(), column.type_().clone()))
            .collect();
        let shown = psql(&server, &["--csv", "-P", "null=\\N", "-c", &sql]);
        assert!(shown.status.success(), "{}", shown.stderr);
        let mut lines = csv(&shown.stdout).into_iter();
        let header: Vec<String> = lines.next().expect("a header").into_iter().flatten().collect();
        assert!(
            header.iter().eq(types.iter().map(|(name, _)| name)),
            "{}: {header:?}",
            table.name
        );
        let row = |cells: Vec<Option<String>>| -> Map<String, Value> {
            let named = types.iter().zip(cells);
            named
                .map(|((name, ty), cell)| (name.clone(), parse(&cell.unwrap_or_default(), ty)))
                .collect()
        };
        let got: Vec<_> = lines.map(row).collect();
        assert_same_rows(&format!("{} in text", table.name), &got, &expected);
    }
    let ids = session.objects("select app_id from applications limit 1").await;
    assert!(!text(&ids[0], "app_id").is_empty());
}

/// A cell of psql as a value.
fn parse(cell: &str, ty: &Type) -> Value {
    if cell == "\\N" {
        return Value::Null;
    }
    match *ty {
        Type::BOOL => match cell {
            "t" => true.into(),
            "f" => false.into(),
            other => panic!("{other:?} is no boolean"),
        },
        Type::INT4 | Type::INT8 => cell.parse::<i64>().expect("an integer").into(),
        Type::FLOAT8 => cell.parse::<f64>().expect("a number").into(),
        Type::TEXT => cell.into(),
        Type::TIMESTAMPTZ => {
            let time = chrono::DateTime::parse_from_str(cell, "%F %T%.f%#z").expect("an instant");
            instant(time.to_utc()).into()
        }
        Type::INT4_ARRAY | Type::INT8_ARRAY => items(cell).map(|item| parse(&item, &Type::INT8)).collect(),
        Type::FLOAT8_ARRAY => items(cell).map(|item| parse(&item, &Type::FLOAT8)).collect(),
        Type::TEXT_ARRAY => items(cell).map(Value::from).collect(),
        Type::JSONB => serde_json::from_str(cell).expect("JSON"),
        ref other => panic!("no table has the type {other}"),
    }
}

/// The items of `{1,"a b"}`; none of ours is NULL.
fn items(cell: &str) -> impl Iterator<Item = String> {
    let inside = cell
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .expect("an array");
    let (mut items, mut item, mut is_quoted, mut is_escaped) = (Vec::new(), String::new(), false, false);
    for c in inside.chars() {
        match c {
            c if is_escaped => {
                item.push(c);
                is_escaped = false;
            }
            '\\' => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => items.push(std::mem::take(&mut item)),
            c => item.push(c),
        }
    }
    if !inside.is_empty() {
        items.push(item);
    }
    items.into_iter()
}
