//! What statements may use: places, memory, disk, results; who may end what; and what `system.queries` and `system.sessions` say of it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio_postgres::NoTls;

use crate::support::pg::Session;
use crate::support::{Server, fixtures};

/// Works for minutes and gives nothing before its end.
const HOG: &str = "select sum(a.v * b.v % 7) from generate_series(1, 1000000) a(v), generate_series(1, 1000000) b(v)";
/// Gives rows for as long as anybody takes them.
const ENDLESS: &str = "select v, repeat('x', 1000) from generate_series(1, 100000000) t(v)";

fn start(dir: &Path, config: &str) -> Server {
    let file = dir.join("sparkgate.toml");
    let spill = format!("[query]\nspill_directory = \"{}\"\n", dir.join("spill").display());
    fs::write(&file, spill + config).expect("room");
    let file = file.to_str().expect("UTF-8");
    Server::start_with(&fixtures().join("logs"), &["--config", file])
}

/// A session under a name that `system.queries` shows, and what stops it.
async fn named(server: &Server, name: &str) -> (Session, i32) {
    let session = Session::open(server).await;
    session.rows(&format!("set application_name = '{name}'")).await;
    let pid = session.rows("select pg_backend_pid()").await;
    (session, pid[0].parse().expect("a number"))
}

fn in_background(session: Session, sql: &'static str) -> tokio::task::JoinHandle<String> {
    tokio::spawn(async move { session.code(sql).await })
}

fn of(name: &str) -> String {
    format!(
        "select state from system.queries where application_name = '{name}' and sql not like '%system.queries%' order by query_id desc limit 1"
    )
}

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn statements_wait_for_a_place_in_their_order_and_are_refused_in_the_end() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = start(dir.path(), "max_concurrent = 2\nqueue_timeout = \"3s\"\n");
    let watcher = Session::open(&server).await;
    let mut hogs = Vec::new();
    let mut pids = Vec::new();
    for name in ["hog1", "hog2"] {
        let (session, pid) = named(&server, name).await;
        hogs.push(in_background(session, HOG));
        pids.push(pid);
        watcher.answers_within(SOON, &of(name), &["running"]).await;
    }
    // One more waits, and is told so. What reads the catalogs alone does not.
    let (third, _) = named(&server, "third").await;
    let started = Instant::now();
    let third = in_background(third, "select count(*) from tasks");
    watcher.answers_within(SOON, &of("third"), &["queued"]).await;
    assert_eq!(
        watcher.rows("select 1 where exists (select 1 from pg_class)").await,
        ["1"]
    );
    assert_eq!(third.await.expect("no panic"), "53300");
    assert!(started.elapsed() >= Duration::from_secs(3), "it waited");
    // A place that becomes free is taken by who waits.
    let (fourth, _) = named(&server, "fourth").await;
    let fourth = in_background(fourth, "select count(*) from tasks");
    watcher.answers_within(SOON, &of("fourth"), &["queued"]).await;
    assert_eq!(
        watcher.rows(&format!("select pg_cancel_backend({})", pids[0])).await,
        ["t"]
    );
    assert_eq!(fourth.await.expect("no panic"), "success");
    assert_eq!(hogs.remove(0).await.expect("no panic"), "57014");
    assert_eq!(
        watcher.rows(&format!("select pg_terminate_backend({})", pids[1])).await,
        ["t"]
    );
    assert_eq!(hogs.remove(0).await.expect("no panic"), "57P01");
    let failed = "select sqlstate, error from system.queries where application_name = 'third' and state = 'failed'";
    let failed = watcher.rows(failed).await;
    assert!(failed[0].starts_with("53300|too many statements: 2 run"), "{failed:?}");
    let states =
        "select distinct state from system.queries where application_name like 'hog%' and sql like '%generate_series%'";
    watcher.answers_within(SOON, states, &["cancelled"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sorts_and_joins_that_do_not_fit_go_to_disk_and_leave_nothing_there() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut server = start(dir.path(), "memory_limit = \"48MiB\"\n");
    let (session, _) = named(&server, "spills").await;
    // 2 000 000 texts of 70 bytes: three times the limit.
    let sort = "select count(*), min(k), max(k) from (select k, row_number() over (order by k desc) n from (select repeat('y', 60) || v::text k from generate_series(1, 2000000) t(v)) q) r where n > 0";
    assert_eq!(session.rows(sort).await[0].split('|').next(), Some("2000000"));
    // Spilled rows are compressed.
    let used = "select spilled_bytes > 1000000, peak_memory_bytes between 1000000 and 60000000 from system.queries where sql like '%row_number%' and sql not like '%system.queries%'";
    session.answers_within(SOON, used, &["t|t"]).await;
    // The build side of a hash join cannot spill: it is done as a merge join.
    let join = "select count(*) from (select v, repeat('z', 60) || v::text p from generate_series(1, 1000000) t(v)) a join (select v, repeat('w', 60) || v::text p from generate_series(1, 1000000) t(v)) b on a.v = b.v where a.p <> b.p";
    assert_eq!(session.rows(join).await, ["1000000"]);
    let left: Vec<_> = walk(&dir.path().join("spill"));
    assert!(left.iter().all(|file| file.ends_with("lock")), "{left:?}");
    drop(session);
    assert!(server.stop().success());
    assert_eq!(walk(&dir.path().join("spill")), Vec::<String>::new());
}

fn walk(dir: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.path().is_dir() {
            true => files.extend(walk(&entry.path())),
            false => files.push(entry.path().display().to_string()),
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_spill_is_an_error_and_harms_nobody_else() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = start(dir.path(), "memory_limit = \"16MiB\"\nmax_spill_bytes = \"0\"\n");
    let session = Session::open(&server).await;
    let sort = "select v from generate_series(1, 5000000) t(v) order by v % 1000, v desc offset 4999999";
    assert_eq!(session.code(sort).await, "53200");
    assert_eq!(session.rows("select count(*) > 0 from applications").await, ["t"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn results_end_where_the_limits_of_results_say() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = start(dir.path(), "max_result_rows = 20000\nmax_result_bytes = \"10MB\"\n");
    let session = Session::open(&server).await;
    let count = "select v from generate_series(1, 20000) t(v)";
    assert_eq!(session.rows(count).await.len(), 20_000);
    assert_eq!(
        session.code("select v from generate_series(1, 20001) t(v)").await,
        "54000"
    );
    assert_eq!(
        session
            .code("select repeat('x', 2000) from generate_series(1, 20000) t(v)")
            .await,
        "54000"
    );
    // What is read for an answer is not the answer.
    assert_eq!(
        session
            .rows("select count(*) from generate_series(1, 1000000) t(v)")
            .await,
        ["1000000"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_stop_reading_or_vanish_hold_no_place_and_no_memory() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = start(dir.path(), "max_concurrent = 2\nqueue_timeout = \"5s\"\n");
    let watcher = Session::open(&server).await;
    watcher.rows(ENDLESS_SMALL).await;
    let before = server.memory();
    // Ten that ask for a gigabyte each and read none of it.
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(SilentClient::ask(&server, ENDLESS));
    }
    let sending = "select count(*) from system.queries where state = 'sending'";
    watcher.answers_within(Duration::from_secs(60), sending, &["10"]).await;
    assert_eq!(
        watcher.rows("select count(*) > 0 from applications").await,
        ["t"],
        "there are places"
    );
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 300 << 20, "{grown} bytes for ten clients that do not read");
    // Two that vanish in the middle of a cross join.
    let mut gone = Vec::new();
    for _ in 0..2 {
        gone.push(SilentClient::ask(&server, HOG));
    }
    let running = "select count(*) from system.queries where state = 'running' and sql like '%sum(a.v%' and pid <> pg_backend_pid()";
    watcher.answers_within(SOON, running, &["2"]).await;
    drop(gone);
    let left = Instant::now();
    watcher.answers_within(SOON, running, &["0"]).await;
    let freed = left.elapsed();
    drop(silent);
    assert!(freed < Duration::from_secs(1), "{freed:?} until their places were free");
    let sessions = "select count(*) from system.sessions";
    watcher.answers_within(SOON, sessions, &["1"]).await;
}

const ENDLESS_SMALL: &str = "select v, repeat('x', 1000) from generate_series(1, 1000) t(v)";

/// A socket that says what a client says, and reads only what it must.
struct SilentClient {
    _socket: std::net::TcpStream,
}

impl SilentClient {
    fn ask(server: &Server, sql: &str) -> Self {
        use std::io::{Read, Write};
        let mut socket = std::net::TcpStream::connect(server.pg).expect("the server listens");
        let mut startup = vec![0, 3, 0, 0];
        startup.extend(b"user\0silent\0database\0spark\0\0");
        let length = u32::try_from(startup.len() + 4).expect("short");
        socket
            .write_all(&[&length.to_be_bytes()[..], &startup].concat())
            .expect("sent");
        // Up to ReadyForQuery.
        let mut seen = Vec::new();
        while !seen.ends_with(b"Z\0\0\0\x05I") {
            let mut byte = [0];
            socket.read_exact(&mut byte).expect("an answer");
            seen.push(byte[0]);
        }
        let length = u32::try_from(sql.len() + 5).expect("short");
        let query = [&b"Q"[..], &length.to_be_bytes(), sql.as_bytes(), b"\0"].concat();
        socket.write_all(&query).expect("sent");
        SilentClient { _socket: socket }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_see_and_end_what_is_theirs_and_admins_everything() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let users = dir.path().join("users");
    for (name, role) in [("alice", "reader"), ("bob", "reader"), ("root", "admin")] {
        let cache = tempfile::tempdir().expect("a temporary directory");
        let mut add = crate::support::program(cache.path());
        add.args(["user", "add", name, "--role", role, "--users-file"])
            .arg(&users);
        let mut child = add.stdin(std::process::Stdio::piped()).spawn().expect("it starts");
        std::io::Write::write_all(&mut child.stdin.take().expect("piped"), b"secret\n").expect("sent");
        assert!(child.wait().expect("it ends").success());
    }
    let config = format!(
        "[auth]\nusers_file = \"{}\"\nrules = [\"host all all all scram-sha-256\"]\n",
        users.display()
    );
    let server = start(dir.path(), &config);
    let log_in = async |user: &str| {
        let (host, port) = (server.pg.ip(), server.pg.port());
        let url = format!("host={host} port={port} user={user} password=secret dbname=spark");
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("let in");
        tokio::spawn(connection);
        Session { client }
    };
    let (alice, bob, root) = (log_in("alice").await, log_in("bob").await, log_in("root").await);
    let pid = alice.rows("select pg_backend_pid()").await[0].clone();
    let hog = in_background(alice, HOG);
    let of_alice = "from system.queries where user_name = 'alice' and state = 'running'";
    root.answers_within(SOON, &format!("select count(*) {of_alice}"), &["1"])
        .await;
    assert_eq!(bob.rows(&format!("select sql is null {of_alice}")).await, ["t"]);
    assert_eq!(root.rows(&format!("select sql {of_alice}")).await, [HOG]);
    let activity = |column: &str| format!("select {column} from pg_stat_activity where pid = {pid}");
    assert_eq!(
        bob.rows(&activity("query, client_addr, state")).await,
        ["<insufficient privilege>||active"]
    );
    assert_eq!(
        root.rows(&activity("usename, client_addr::text, query")).await,
        [format!("alice|127.0.0.1|{HOG}")]
    );
    assert_eq!(bob.code(&format!("select pg_cancel_backend({pid})")).await, "42501");
    assert_eq!(bob.code(&format!("select pg_terminate_backend({pid})")).await, "42501");
    assert_eq!(root.rows("select pg_cancel_backend(2000000000)").await, ["f"]);
    assert_eq!(root.rows(&format!("select pg_cancel_backend({pid})")).await, ["t"]);
    assert_eq!(hog.await.expect("no panic"), "57014");
    let sessions = "select user_name, is_admin, state, door, is_encrypted from system.sessions order by user_name";
    let seen = root.rows(sessions).await;
    assert!(
        seen.contains(&"bob|f|idle|pg|f".to_owned()) && seen.contains(&"root|t|active|pg|f".to_owned()),
        "{seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn set_config_has_effect_from_the_next_statement_on() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = start(dir.path(), "");
    let session = Session::open(&server).await;
    assert_eq!(
        session.rows("select set_config('search_path', 'system', false)").await,
        ["system"]
    );
    assert_eq!(session.rows("select count(*) > 0 from settings").await, ["t"]);
    session.rows("begin").await;
    session
        .rows("select set_config('TimeZone', 'Europe/Berlin', true)")
        .await;
    assert_eq!(session.rows("show timezone").await, ["Europe/Berlin"]);
    session.rows("commit").await;
    assert_eq!(session.rows("show timezone").await, ["UTC"]);
    assert_eq!(
        session.code("select set_config('no_such_setting', '1', false)").await,
        "42704"
    );
    assert_eq!(
        session
            .code("select set_config('statement_timeout', 'soon', false)")
            .await,
        "22023"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_estimates_as_clients_read_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = start(dir.path(), "");
    let session = Session::open(&server).await;
    let lines = session
        .rows("explain select app_id, count(*) from tasks group by 1 order by 2 desc limit 3")
        .await;
    // What postgres_fdw scans: "(cost=%lf..%lf rows=%lf width=%d)".
    let estimate = lines[0]
        .rsplit_once("  (cost=")
        .map(|(_, estimate)| estimate)
        .unwrap_or_default();
    let numbers: Vec<f64> = estimate
        .trim_end_matches(')')
        .replace("..", " ")
        .replace("rows=", "")
        .replace("width=", "")
        .split(' ')
        .map(|number| number.parse().unwrap_or_else(|_| panic!("{lines:?}")))
        .collect();
    assert_eq!(numbers.len(), 4, "{lines:?}");
    assert!(numbers[1] > 0.0 && numbers[2] <= 3.0, "{lines:?}");
    assert!(
        lines
            .iter()
            .skip(1)
            .all(|line| line.trim_start().starts_with("->  ") && line.contains("(cost=")),
        "{lines:?}"
    );
    let text = session.rows("explain (format text) select 1").await;
    assert!(text[0].contains("(cost="), "{text:?}");
    let rows = session.rows("explain select * from applications").await;
    let count = session.rows("select count(*) from applications").await;
    assert!(
        rows[0].contains(&format!("rows={} ", count[0])),
        "{rows:?} has the {count:?} rows there are"
    );
    let analyzed = session.rows("explain analyze select count(*) from tasks").await;
    assert!(analyzed.iter().any(|line| line.contains("output_rows")), "{analyzed:?}");
}
