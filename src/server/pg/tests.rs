//! The door with real clients: tokio-postgres over a socket, against an engine without a history.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::{PgOptions, serve};
use crate::config::{AuthConfig, TlsConfig};
use crate::server::long_running::{ENDLESS, SLOW_COUNT, session};
use crate::server::query::{QueryEngine, QueryLimits};
use crate::server::security::Security;

/// A nested loop join that matches almost nothing: DataFusion 55 compares one right batch with *all* left rows before it yields.
const SELECTIVE_JOIN: &str = "SELECT count(*) FROM generate_series(1, 1000000) a(value), generate_series(1, 1000000) b(value) WHERE a.value + b.value = 3";
const SLOW_SORT: &str = "SELECT a.value + b.value AS s FROM generate_series(1, 100000) a(value), generate_series(1, 100000) b(value) ORDER BY s";

struct TestDoor {
    address: SocketAddr,
    engine: Arc<QueryEngine>,
    _shutdown: watch::Sender<bool>,
}

impl TestDoor {
    async fn open() -> Self {
        let limits = QueryLimits {
            timeout: None,
            memory_bytes: Some(256 << 20),
            ..QueryLimits::default()
        };
        let engine = QueryEngine::start_with(Arc::new(session), limits).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, stopped) = watch::channel(false);
        tokio::spawn(serve(
            listener,
            Arc::clone(&engine),
            Arc::new(Security::open(&AuthConfig::default(), &TlsConfig::default()).unwrap()),
            PgOptions {
                max_connections: 3,
                ..PgOptions::default()
            },
            stopped,
        ));
        TestDoor {
            address,
            engine,
            _shutdown: shutdown,
        }
    }

    async fn client(&self) -> Client {
        self.try_client("spark").await.unwrap()
    }

    async fn try_client(&self, database: &str) -> Result<Client, tokio_postgres::Error> {
        let config = format!(
            "host=127.0.0.1 port={} user=tester dbname={database}",
            self.address.port()
        );
        let (client, connection) = tokio_postgres::connect(&config, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn is_idle_within(&self, limit: Duration) -> bool {
        let started = Instant::now();
        while self.engine.running() > 0 {
            if started.elapsed() > limit {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }
}

fn code(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("none", |code| code.code())
}

/// The first column of all rows, as text.
async fn texts(client: &Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await.unwrap();
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_string()),
        _ => None,
    };
    messages.iter().filter_map(row).collect()
}

async fn fails_with(client: &Client, sql: &str) -> String {
    match client.simple_query(sql).await {
        Ok(_) => "success".into(),
        Err(error) => code(&error).to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_look_as_postgres_prints_them() {
    let door = TestDoor::open().await;
    let client = door.client().await;
    for (sql, expected) in [
        ("SELECT 1", "1"),
        ("SELECT -9223372036854775807", "-9223372036854775807"),
        ("SELECT true", "t"),
        ("SELECT 1.5::double precision", "1.5"),
        ("SELECT 1e15::double precision", "1e+15"),
        ("SELECT 0.00001::double precision", "1e-05"),
        ("SELECT 100::double precision", "100"),
        ("SELECT 'NaN'::double precision", "NaN"),
        ("SELECT 0.1::real", "0.1"),
        ("SELECT 12.50::numeric(10,2)", "12.50"),
        ("SELECT 'äb'", "äb"),
        ("SELECT NULL", "NULL"),
        ("SELECT DATE '2026-11-21'", "2026-11-21"),
        ("SELECT TIMESTAMP '2026-11-21 06:00:00.120'", "2026-11-21 06:00:00.12"),
        (
            "SELECT INTERVAL '1 year 2 months 3 days 4 hours'",
            "1 year 2 mons 3 days 04:00:00",
        ),
        ("SELECT [1, 2, NULL]", "{1,2,NULL}"),
        (
            "SELECT ['a b', 'c', 'null', '', 'q\"q']",
            "{\"a b\",c,\"null\",\"\",\"q\\\"q\"}",
        ),
        ("SELECT arrow_cast('x', 'Dictionary(Int32, Utf8)')", "x"),
        ("SELECT '\\x00ff'::bytea", "\\x5c7830306666"),
        ("SELECT named_struct('a', 1, 'b', ['x'])", "{\"a\": 1, \"b\": [\"x\"]}"),
        (
            "SELECT named_struct('t', arrow_cast(TIMESTAMP '2026-11-21 06:00:00', 'Timestamp(Millisecond, Some(\"UTC\"))'))",
            "{\"t\": \"2026-11-21T06:00:00.000Z\"}",
        ),
    ] {
        assert_eq!(texts(&client, sql).await, [expected], "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instants_are_shown_in_the_time_zone_of_the_session() {
    let door = TestDoor::open().await;
    let client = door.client().await;
    let sql = "SELECT arrow_cast(TIMESTAMP '2026-11-21 06:00:00.123', 'Timestamp(Millisecond, Some(\"UTC\"))')";
    assert_eq!(texts(&client, sql).await, ["2026-11-21 06:00:00.123+00"]);
    client.simple_query("SET timezone = 'Europe/Berlin'").await.unwrap();
    assert_eq!(texts(&client, sql).await, ["2026-11-21 07:00:00.123+01"]);
    client.simple_query("SET TIME ZONE 'Asia/Kolkata'").await.unwrap();
    assert_eq!(texts(&client, sql).await, ["2026-11-21 11:30:00.123+05:30"]);
    assert_eq!(fails_with(&client, "SET TIME ZONE 'Mars/Olympus'").await, "22023");
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_results_and_parameters_make_the_round_trip() {
    let door = TestDoor::open().await;
    let client = door.client().await;
    let one = client
        .query_one(
            "SELECT 1 AS a, 3000000000 AS b, count(*), count(*) FROM (VALUES (1), (2)) t",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(one.columns()[0].type_(), &Type::INT4);
    assert_eq!(
        (one.get::<_, i32>(0), one.get::<_, i64>(1), one.get::<_, i64>(3)),
        (1, 3_000_000_000, 2)
    );
    assert_eq!((one.columns()[2].name(), one.columns()[3].name()), ("count", "count"));

    let when = chrono::DateTime::from_timestamp_micros(1_795_240_800_123_456).unwrap();
    let types = [
        Type::INT4,
        Type::INT8,
        Type::FLOAT8,
        Type::TEXT,
        Type::BOOL,
        Type::TIMESTAMPTZ,
        Type::BYTEA,
        Type::DATE,
        Type::INT8_ARRAY,
    ];
    let statement = client
        .prepare_typed("SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9", &types)
        .await
        .unwrap();
    let day = when.date_naive();
    let bytes: &[u8] = &[0, 255];
    let list = vec![Some(1i64), None, Some(3)];
    let row = client
        .query_one(
            &statement,
            &[&1i32, &2i64, &0.5f64, &"text", &true, &when, &bytes, &day, &list],
        )
        .await
        .unwrap();
    assert_eq!(
        (row.get::<_, i32>(0), row.get::<_, i64>(1), row.get::<_, f64>(2)),
        (1, 2, 0.5)
    );
    assert_eq!((row.get::<_, &str>(3), row.get::<_, bool>(4)), ("text", true));
    assert_eq!(row.get::<_, chrono::DateTime<chrono::Utc>>(5), when);
    assert_eq!(
        (row.get::<_, &[u8]>(6), row.get::<_, chrono::NaiveDate>(7)),
        (bytes, day)
    );
    assert_eq!(row.get::<_, Vec<Option<i64>>>(8), list);

    // Inferred from where it stands: a bigint; and text where nothing says more.
    let statement = client
        .prepare(
            "SELECT value FROM (SELECT value::bigint AS value FROM generate_series(1, 10) t(value)) t WHERE value > $1",
        )
        .await
        .unwrap();
    assert_eq!(statement.params(), [Type::INT8]);
    assert_eq!(client.query(&statement, &[&8i64]).await.unwrap().len(), 2);
    assert_eq!(client.prepare("SELECT $1").await.unwrap().params(), [Type::TEXT]);
    let json = client.query_one("SELECT named_struct('a', 1)", &[]).await.unwrap();
    assert_eq!(json.get::<_, serde_json::Value>(0), serde_json::json!({"a": 1}));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_error_has_the_code_clients_branch_on() {
    let door = TestDoor::open().await;
    let client = door.client().await;
    for (sql, expected) in [
        ("SELEC 1", "42601"),
        ("SELECT * FROM nowhere", "42P01"),
        ("SELECT nothing FROM generate_series(1, 2) t(value)", "42703"),
        ("SELECT no_such_function(1)", "42883"),
        (
            "SELECT value FROM generate_series(1, 2) a(value), generate_series(1, 2) b(value)",
            "42702",
        ),
        ("SELECT 1/0", "22012"),
        ("SELECT 'x'::int", "22P02"),
        ("SELECT 3000000000::int", "22003"),
        ("SELECT 'yesterdayish'::timestamp", "22007"),
        ("CREATE TABLE t (a int)", "25006"),
        ("INSERT INTO t VALUES (1)", "25006"),
        ("DROP TABLE t", "25006"),
        ("COPY (SELECT 1) TO '/tmp/never'", "25006"),
        ("COPY t FROM STDIN", "25006"),
        ("SELECT 1 INTO t", "25006"),
        ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'", "25006"),
        ("EXPLAIN ANALYZE INSERT INTO t VALUES (1)", "25006"),
        ("SHOW no_such_setting", "42704"),
        ("SET no_such_setting = 1", "42704"),
        ("SET server_version = '1'", "55P02"),
        ("EXECUTE nothing", "26000"),
        ("FETCH 1 FROM nothing", "34000"),
        ("SAVEPOINT a", "25P01"),
    ] {
        assert_eq!(fails_with(&client, sql).await, expected, "{sql}");
    }
    // The connection is as good as before.
    assert_eq!(texts(&client, "SELECT 1").await, ["1"]);
    let unknown = door
        .try_client("postgres")
        .await
        .expect_err("there is no such database");
    assert_eq!(code(&unknown), "3D000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_request_ends_any_statement_within_a_second() {
    let door = TestDoor::open().await;
    for sql in [SLOW_COUNT, SLOW_SORT, ENDLESS] {
        let client = door.client().await;
        let token = client.cancel_token();
        let statement = tokio::spawn(async move { client.batch_execute(sql).await });
        tokio::time::sleep(Duration::from_millis(500)).await;
        let asked = Instant::now();
        token.cancel_query(NoTls).await.unwrap();
        let error = statement.await.unwrap().unwrap_err();
        assert_eq!(code(&error), "57014", "{sql}");
        assert!(asked.elapsed() < Duration::from_secs(1), "{sql}: {:?}", asked.elapsed());
        let freed = door.is_idle_within(Duration::from_secs(20)).await;
        assert!(freed, "{sql} still runs {:?} after it was cancelled", asked.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_of_a_join_that_does_not_yield_is_answered_within_a_second() {
    let door = TestDoor::open().await;
    let client = door.client().await;
    let token = client.cancel_token();
    let statement = tokio::spawn(async move { client.batch_execute(SELECTIVE_JOIN).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let asked = Instant::now();
    token.cancel_query(NoTls).await.unwrap();
    assert_eq!(code(&statement.await.unwrap().unwrap_err()), "57014");
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
}

/// Fails with DataFusion 55.2: the join's own loop has to check, or its filter has to.
#[ignore = "NestedLoopJoinExec does not yield between left rows"]
#[tokio::test(flavor = "multi_thread")]
async fn the_work_of_a_join_that_does_not_yield_ends_within_a_second() {
    let door = TestDoor::open().await;
    let client = door.client().await;
    let token = client.cancel_token();
    let statement = tokio::spawn(async move { client.batch_execute(SELECTIVE_JOIN).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    token.cancel_query(NoTls).await.unwrap();
    assert_eq!(code(&statement.await.unwrap().unwrap_err()), "57014");
    assert!(door.is_idle_within(Duration::from_secs(1)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn statement_timeout_covers_planning_and_rows() {
    let door = TestDoor::open().await;
    let client = door.client().await;
    client.simple_query("SET statement_timeout = '300ms'").await.unwrap();
    assert_eq!(texts(&client, "SHOW statement_timeout").await, ["300ms"]);
    for sql in [SLOW_COUNT, SLOW_SORT, ENDLESS] {
        let started = Instant::now();
        assert_eq!(
            client
                .batch_execute(sql)
                .await
                .map_err(|error| code(&error).to_string()),
            Err("57014".into())
        );
        assert!(
            started.elapsed() < Duration::from_millis(1500),
            "{sql}: {:?}",
            started.elapsed()
        );
    }
    client.simple_query("SET statement_timeout = 0").await.unwrap();
    assert_eq!(texts(&client, "SELECT 1").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_frees_its_work() {
    let door = TestDoor::open().await;
    for sql in [SLOW_COUNT, ENDLESS] {
        let config = format!("host=127.0.0.1 port={} user=tester dbname=spark", door.address.port());
        let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        let statement = tokio::spawn(async move { client.batch_execute(sql).await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(door.engine.running(), 1, "{sql}");
        connection.abort();
        statement.abort();
        assert!(door.is_idle_within(Duration::from_secs(1)).await, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_with_a_row_limit_goes_on_where_it_stopped() {
    let door = TestDoor::open().await;
    let mut client = door.client().await;
    let transaction = client.transaction().await.unwrap();
    let portal = transaction
        .bind(
            "SELECT value FROM (SELECT value::bigint AS value FROM generate_series(1, 20000) t(value)) t",
            &[],
        )
        .await
        .unwrap();
    let first = transaction.query_portal(&portal, 3).await.unwrap();
    assert_eq!(
        first.iter().map(|row| row.get::<_, i64>(0)).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    let next = transaction.query_portal(&portal, 2).await.unwrap();
    assert_eq!(next.iter().map(|row| row.get::<_, i64>(0)).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(transaction.query_portal(&portal, 0).await.unwrap().len(), 19_995);
    transaction.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_of_several_statements_is_answered_up_to_its_first_error() {
    let door = TestDoor::open().await;
    let client = door.client().await;
    assert_eq!(
        texts(&client, "SELECT 1; -- one; more\nSELECT 'a;b'; ;").await,
        ["1", "a;b"]
    );
    assert!(texts(&client, "").await.is_empty());
    assert!(texts(&client, "-- nothing").await.is_empty());
    assert_eq!(fails_with(&client, "SELECT 1; SELECT 1/0; SELECT 2").await, "22012");
    assert!(client.query("", &[]).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_transaction_accepts_only_its_end() {
    let door = TestDoor::open().await;
    let client = door.client().await;
    client.batch_execute("BEGIN READ ONLY").await.unwrap();
    assert_eq!(fails_with(&client, "SELECT 1/0").await, "22012");
    assert_eq!(fails_with(&client, "SELECT 1").await, "25P02");
    assert_eq!(
        client
            .query("SELECT 1", &[])
            .await
            .map_err(|error| code(&error).to_string())
            .err(),
        Some("25P02".into())
    );
    client.batch_execute("ROLLBACK").await.unwrap();
    client
        .batch_execute("BEGIN; SAVEPOINT a; SAVEPOINT b; RELEASE SAVEPOINT b")
        .await
        .unwrap();
    assert_eq!(fails_with(&client, "RELEASE b").await, "3B001");
    assert_eq!(fails_with(&client, "SELEC").await, "25P02");
    assert_eq!(fails_with(&client, "ROLLBACK TO b").await, "3B001");
    client
        .batch_execute("ROLLBACK TO SAVEPOINT a; SELECT 1; COMMIT")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_belong_to_one_session_and_roll_back() {
    let door = TestDoor::open().await;
    let (client, other) = (door.client().await, door.client().await);
    client
        .batch_execute("BEGIN; SET application_name = 'x'; ROLLBACK")
        .await
        .unwrap();
    assert_eq!(texts(&client, "SHOW application_name").await, [""]);
    client.batch_execute("SET application_name TO mine").await.unwrap();
    assert_eq!(texts(&client, "SHOW application_name").await, ["mine"]);
    assert_eq!(texts(&other, "SHOW application_name").await, [""]);
    client
        .batch_execute("BEGIN; SET LOCAL application_name = 'inner'; COMMIT; SET my.own = 'a'")
        .await
        .unwrap();
    assert_eq!(texts(&client, "SHOW application_name").await, ["mine"]);
    assert_eq!(texts(&client, "SHOW my.own").await, ["a"]);
    assert_eq!(
        texts(&client, "SHOW TRANSACTION ISOLATION LEVEL").await,
        ["read committed"]
    );
    client
        .batch_execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY; RESET ALL; DISCARD ALL")
        .await
        .unwrap();
    assert_eq!(texts(&client, "SHOW application_name").await, [""]);
    assert!(texts(&client, "SHOW ALL").await.contains(&"TimeZone".to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn savepoints_hold_settings_and_cursors() {
    let door = TestDoor::open().await;
    let client = door.client().await;
    let declare = |name: &str| format!("DECLARE {name} CURSOR FOR SELECT 1");
    client
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        .await
        .unwrap();
    assert_eq!(texts(&client, "SHOW transaction_isolation").await, ["repeatable read"]);
    client.batch_execute(&declare("before")).await.unwrap();
    client
        .batch_execute("SET application_name = 'one'; SAVEPOINT a")
        .await
        .unwrap();
    client.batch_execute(&declare("after")).await.unwrap();
    client
        .batch_execute("SET application_name = 'two'; ROLLBACK TO a")
        .await
        .unwrap();
    assert_eq!(texts(&client, "SHOW application_name").await, ["one"]);
    assert_eq!(texts(&client, "FETCH before").await, ["1"]);
    client.batch_execute("SAVEPOINT c").await.unwrap();
    assert_eq!(fails_with(&client, "FETCH after").await, "34000");
    client
        .batch_execute("ROLLBACK TO c; DECLARE held CURSOR WITH HOLD FOR SELECT 2")
        .await
        .unwrap();
    client.batch_execute("COMMIT AND CHAIN").await.unwrap();
    assert_eq!(texts(&client, "SHOW transaction_isolation").await, ["repeatable read"]);
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(texts(&client, "SHOW transaction_isolation").await, ["read committed"]);
    assert_eq!(texts(&client, "FETCH held").await, ["2"]);
    assert_eq!(fails_with(&client, "FETCH before").await, "34000");
    // What is held by a transaction that fails is not held.
    client
        .batch_execute("BEGIN; DECLARE lost CURSOR WITH HOLD FOR SELECT 3; ROLLBACK")
        .await
        .unwrap();
    assert_eq!(fails_with(&client, "FETCH lost").await, "34000");
    assert_eq!(fails_with(&client, "COMMIT AND CHAIN").await, "25P01");
    client
        .batch_execute("SET default_transaction_isolation = 'serializable'")
        .await
        .unwrap();
    assert_eq!(texts(&client, "SHOW transaction_isolation").await, ["serializable"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_scroll_where_they_are_told_to() {
    let door = TestDoor::open().await;
    let client = door.client().await;
    let rows = "SELECT value FROM generate_series(1, 20000) t(value)";
    client
        .batch_execute(&format!("BEGIN; DECLARE s SCROLL CURSOR FOR {rows}; DECLARE n NO SCROLL CURSOR FOR {rows}; DECLARE d CURSOR FOR {rows}; SAVEPOINT all"))
        .await
        .unwrap();
    for (fetch, expected) in [
        ("FETCH ABSOLUTE 12000 FROM s", vec!["12000"]),
        ("FETCH BACKWARD 2 FROM s", vec!["11999", "11998"]),
        ("FETCH RELATIVE -7998 FROM s", vec!["4000"]),
        ("FETCH LAST FROM s", vec!["20000"]),
        ("FETCH NEXT FROM s", vec![]),
        ("FETCH PRIOR FROM s", vec!["20000"]),
        ("FETCH FIRST FROM s", vec!["1"]),
        ("FETCH 0 FROM s", vec!["1"]),
        ("FETCH -1 FROM s", vec![]),
        ("FETCH 1 FROM s", vec!["1"]),
        ("FETCH 3 FROM d", vec!["1", "2", "3"]),
        ("FETCH RELATIVE 2 FROM d", vec!["5"]),
        ("FETCH ABSOLUTE 7 FROM d", vec!["7"]),
        ("FETCH FIRST FROM d", vec!["1"]),
        ("FETCH 1 FROM n", vec!["1"]),
    ] {
        assert_eq!(texts(&client, fetch).await, expected, "{fetch}");
    }
    // What postgres_fdw sends to begin a cursor anew.
    client.batch_execute("MOVE BACKWARD ALL IN d").await.unwrap();
    assert_eq!(texts(&client, "FETCH 2 FROM d").await, ["1", "2"]);
    for fetch in [
        "FETCH PRIOR FROM d",
        "FETCH FIRST FROM n",
        "FETCH ABSOLUTE 1 FROM n",
        "FETCH BACKWARD 1 FROM n",
    ] {
        assert_eq!(fails_with(&client, fetch).await, "55000", "{fetch}");
        client.batch_execute("ROLLBACK TO all").await.unwrap();
    }
    assert_eq!(
        texts(&client, "FETCH 1 FROM n").await,
        ["2"],
        "an error of use does not end a cursor"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_where_in_the_statement_they_are() {
    let door = TestDoor::open().await;
    let client = door.client().await;
    for (sql, place) in [
        ("selec 1", Some(1)),
        ("select 1;\n -- é\n selec 1", Some(18)),
        ("select 1 as a,\n  2 frm x y", Some(24)),
        ("fetch 1 fron c", Some(14)),
        ("select 1 +", Some(11)),
        ("select 'é', a.nope from (select 1 as one) a", Some(13)),
        ("select * from  \"nowhere\"", Some(16)),
        ("select 1, nofun(1)", Some(11)),
        // The place would be one in the query.
        ("copy (selec 1) to stdout", None),
    ] {
        let position = |error: tokio_postgres::Error| match error.as_db_error().unwrap().position() {
            Some(tokio_postgres::error::ErrorPosition::Original(place)) => Some(*place),
            _ => None,
        };
        assert_eq!(position(client.simple_query(sql).await.unwrap_err()), place, "{sql}");
        if !sql.contains(';') && !sql.contains("fetch") && !sql.contains("copy") {
            assert_eq!(position(client.prepare(sql).await.unwrap_err()), place, "{sql}");
        }
    }
    let error = client.simple_query("select 1 as a, 2 frm x y").await.unwrap_err();
    let message = error.as_db_error().unwrap().message();
    assert!(message.starts_with("syntax error at or near \"x\""), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_change_how_values_are_written() {
    let door = TestDoor::open().await;
    let client = door.client().await;
    let moment = "SELECT TIMESTAMPTZ '2026-11-21 06:07:08.5Z' AS m, DATE '2026-11-21' AS d, 0.1::double precision + 0.2::double precision AS f, 1e300::double precision AS g, decode('5c00ff41', 'hex') AS b";
    let row = async |settings: &str| -> Vec<String> {
        let messages = client.simple_query(&format!("{settings}; {moment}")).await.unwrap();
        let row = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((0..5).map(|at| row.get(at).unwrap().to_owned()).collect()),
            _ => None,
        });
        row.unwrap()
    };
    // What a PostgreSQL 15 answers to the same.
    assert_eq!(
        row("SET TimeZone = 'UTC'").await,
        [
            "2026-11-21 06:07:08.5+00",
            "2026-11-21",
            "0.30000000000000004",
            "1e+300",
            "\\x5c00ff41"
        ]
    );
    assert_eq!(
        row("SET DateStyle = 'SQL, DMY'; SET extra_float_digits = 0; SET bytea_output = 'escape'").await,
        [
            "21/11/2026 06:07:08.5 UTC",
            "21/11/2026",
            "0.3",
            "1e+300",
            "\\\\\\000\\377A"
        ]
    );
    assert_eq!(
        row("SET DateStyle = 'Postgres'; SET extra_float_digits = -12").await[..3],
        ["Sat 21 Nov 06:07:08.5 2026 UTC", "21-11-2026", "0.3"]
    );
    assert_eq!(
        row("SET DateStyle = 'MDY'").await[..2],
        ["Sat Nov 21 06:07:08.5 2026 UTC", "11-21-2026"]
    );
    assert_eq!(
        row("SET DateStyle = 'German'").await[..2],
        ["21.11.2026 06:07:08.5 UTC", "21.11.2026"]
    );
    assert_eq!(texts(&client, "SHOW DateStyle").await, ["German, DMY"]);
    assert_eq!(fails_with(&client, "SET DateStyle = 'Martian'").await, "22023");
    assert_eq!(fails_with(&client, "SET IntervalStyle = 'iso_8601'").await, "0A000");
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_copy_and_prepare_work_in_sql() {
    let door = TestDoor::open().await;
    let client = door.client().await;
    client
        .batch_execute("BEGIN; DECLARE c CURSOR FOR SELECT value FROM (SELECT value::bigint AS value FROM generate_series(1, 10) t(value)) t")
        .await
        .unwrap();
    assert_eq!(texts(&client, "FETCH 2 FROM c").await, ["1", "2"]);
    assert_eq!(texts(&client, "FETCH FORWARD 0 FROM c").await, Vec::<String>::new());
    client.batch_execute("MOVE 3 IN c").await.unwrap();
    let rows = client.query("FETCH NEXT FROM c", &[]).await.unwrap();
    assert_eq!(rows[0].get::<_, i64>(0), 6);
    assert_eq!(texts(&client, "FETCH ALL FROM c").await.len(), 4);
    client.batch_execute("CLOSE c; COMMIT").await.unwrap();

    let copied = client
        .copy_out("COPY (SELECT 1 AS a, 'x,\"y' AS b, NULL AS c) TO STDOUT WITH (FORMAT csv, HEADER)")
        .await
        .unwrap();
    let bytes: Vec<_> = copied.map(|chunk| chunk.unwrap()).collect().await;
    assert_eq!(String::from_utf8(bytes.concat()).unwrap(), "a,b,c\n1,\"x,\"\"y\",\n");

    client.batch_execute("PREPARE p (int) AS SELECT $1 + 1").await.unwrap();
    assert_eq!(texts(&client, "EXECUTE p(41)").await, ["42"]);
    client.batch_execute("DEALLOCATE p").await.unwrap();
    assert!(!texts(&client, "EXPLAIN SELECT 1").await.is_empty());
    assert!(
        !texts(&client, "EXPLAIN (ANALYZE, FORMAT TEXT) SELECT 1")
            .await
            .is_empty()
    );
    assert!(texts(&client, "EXPLAIN (FORMAT JSON) SELECT 1").await[0].starts_with('['));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_told_so() {
    let door = TestDoor::open().await;
    let _three = (door.client().await, door.client().await, door.client().await);
    let error = door.try_client("spark").await.expect_err("the limit is three");
    assert_eq!(code(&error), "53300");
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_messages_are_errors_and_not_panics() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let door = TestDoor::open().await;
    let mut socket = tokio::net::TcpStream::connect(door.address).await.unwrap();
    let startup = b"\0\x03\0\0user\0t\0database\0spark\0\0";
    socket
        .write_all(&[&u32::try_from(startup.len() + 4).unwrap().to_be_bytes()[..], startup].concat())
        .await
        .unwrap();
    // A Bind whose counts promise more than there is, a Parse without its end, then Sync and a query.
    socket.write_all(b"B\0\0\0\x08\0\0\xff\xff").await.unwrap();
    socket.write_all(b"P\0\0\0\x06ab").await.unwrap();
    socket.write_all(b"S\0\0\0\x04").await.unwrap();
    socket.write_all(b"Q\0\0\0\x0dselect 1\0").await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(8).any(|window| window == b"SELECT 1") {
        assert!(
            socket.read_buf(&mut answer).await.unwrap() > 0,
            "closed early: {:?}",
            String::from_utf8_lossy(&answer)
        );
    }
    assert!(answer.windows(5).any(|window| window == b"08P01"));
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_have_the_type_of_their_place() {
    let door = TestDoor::open().await;
    let client = door.client().await;
    let numbers = "SELECT value FROM (SELECT value::bigint AS value FROM generate_series(1, 10) t(value)) t";
    for (sql, expected) in [
        ("SELECT $1::int + 1".to_string(), vec![Type::INT4]),
        ("SELECT $1::text, $2::date".into(), vec![Type::TEXT, Type::DATE]),
        (format!("{numbers} LIMIT $1 OFFSET $2"), vec![Type::INT8, Type::INT8]),
        (format!("{numbers} WHERE value = ANY($1)"), vec![Type::INT8_ARRAY]),
        (
            format!("{numbers} WHERE value <> ALL($2) AND value > $1"),
            vec![Type::INT8, Type::INT8_ARRAY],
        ),
        (
            format!("{numbers} WHERE value::text = ANY($1::text[])"),
            vec![Type::TEXT_ARRAY],
        ),
        ("SELECT $1 = ANY(ARRAY['a', 'b'])".into(), vec![Type::TEXT]),
        ("SELECT $2::date".into(), vec![Type::TEXT, Type::DATE]),
    ] {
        let statement = client
            .prepare(&sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert_eq!(statement.params(), expected, "{sql}");
    }
    let some = client
        .query(
            &format!("{numbers} WHERE value = ANY($1) LIMIT $2"),
            &[&vec![2i64, 4, 6], &2i64],
        )
        .await
        .unwrap();
    assert_eq!(some.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_take_parameters_and_are_described() {
    let door = TestDoor::open().await;
    let mut client = door.client().await;
    let transaction = client.transaction().await.unwrap();
    let declare = "DECLARE c CURSOR FOR SELECT value, 'x' AS name FROM (SELECT value::bigint AS value FROM generate_series(1, 10) t(value)) t WHERE value > $1";
    transaction.execute(declare, &[&7i64]).await.unwrap();
    let fetch = transaction.prepare("FETCH 2 FROM c").await.unwrap();
    let columns: Vec<_> = fetch.columns().iter().map(|column| column.name()).collect();
    assert_eq!(columns, ["value", "name"]);
    let rows = transaction.query(&fetch, &[]).await.unwrap();
    assert_eq!(rows[1].get::<_, i64>(0), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_goes_out_before_the_sync() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let door = TestDoor::open().await;
    let mut socket = tokio::net::TcpStream::connect(door.address).await.unwrap();
    let length = |body: &[u8]| u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    let startup = b"\0\x03\0\0user\0t\0database\0spark\0\0";
    let parse = b"\0select * from nowhere\0\0\0";
    let messages = [
        &length(startup)[..],
        startup,
        b"P",
        &length(parse),
        parse,
        b"D\0\0\0\x06S\0",
        b"H\0\0\0\x04",
    ];
    socket.write_all(&messages.concat()).await.unwrap();
    let heard = async {
        let mut answer = Vec::new();
        while !answer.windows(5).any(|window| window == b"42P01") {
            assert!(socket.read_buf(&mut answer).await.unwrap() > 0);
        }
    };
    tokio::time::timeout(Duration::from_secs(10), heard).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_is_binary_and_takes_every_spelling_of_options() {
    let door = TestDoor::open().await;
    let client = door.client().await;
    let copy = async |options: &str| -> Vec<bytes::Bytes> {
        let sql = format!("COPY (SELECT 7::int AS n, 'a' AS t, NULL AS z) TO STDOUT {options}");
        let chunks = client.copy_out(&sql).await.unwrap();
        chunks.map(|chunk| chunk.unwrap()).collect().await
    };
    let chunks = copy("(FORMAT binary)").await;
    let header = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    let row = b"\0\x03\0\0\0\x04\0\0\0\x07\0\0\0\x01a\xff\xff\xff\xff";
    assert_eq!(chunks[0], [&header[..], row].concat());
    assert_eq!(chunks[1][..], b"\xff\xff"[..]);
    for (options, expected) in [
        ("(FORMAT 'csv')", "7,a,\n"),
        (
            "WITH (FORMAT 'csv', HEADER True, DELIMITER ';', ENCODING 'utf-8')",
            "n;t;z\n7;a;\n",
        ),
        (
            "WITH (FORMAT csv, FORCE_QUOTE (t), NULL '-', HEADER 'off')",
            "7,\"a\",-\n",
        ),
        ("CSV HEADER QUOTE AS '~' FORCE QUOTE n, t", "n,t,z\n~7~,~a~,\n"),
        ("WITH NULL AS 'nil' DELIMITER '|'", "7|a|nil\n"),
    ] {
        let text = copy(options).await.concat();
        assert_eq!(String::from_utf8(text).unwrap(), expected, "{options}");
    }
}
