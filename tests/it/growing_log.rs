//! Logs that grow while they are served: each event becomes visible soon after it was written, half a line is not there, the
//! final name changes nothing, and in the end the rows are those of the finished log.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::pg::{Session, assert_same_rows};
use crate::support::{Server, fixtures, query};

/// The promise is the scan interval, 1 s, and 1 s more; the rest is for loaded machines.
const VISIBLE_WITHIN: Duration = Duration::from_secs(5);
const APP: &str = "local-good";

fn serve(logs: &Path) -> Server {
    Server::start_with(logs, &["--scan-interval", "1s"])
}

/// A short, whole application, by lines with their newlines.
fn lines() -> Vec<String> {
    let text = fs::read_to_string(fixtures().join("damaged").join(APP)).expect("the good log is there");
    text.split_inclusive('\n').map(str::to_owned).collect()
}

fn append(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .expect("a file in a temporary directory");
    file.write_all(bytes).expect("room for some lines");
}

/// How many lines were taken from the logs, by the state of the logs and by the raw lines (which know only applications).
async fn has_lines(session: &Session, lines: usize) {
    let lines = lines.to_string();
    let read = "select coalesce(sum(lines), 0) from system.event_logs";
    session.answers_within(VISIBLE_WITHIN, read, &[&lines]).await;
    let started = "select count(*) from applications";
    if session.rows(started).await == ["1"] {
        assert_eq!(session.rows("select count(*) from events").await, [lines]);
    }
}

/// Asks over and over until told to stop; gives what it saw that should not be: the application absent once it was there,
/// twice, with a task twice, or with fewer tasks than before.
fn watch_application(server: &Server, stop: watch::Receiver<bool>) -> JoinHandle<Vec<String>> {
    let address = server.pg;
    tokio::spawn(async move {
        let config = format!("host={} port={} user=test dbname=spark", address.ip(), address.port());
        let (client, connection) = tokio_postgres::connect(&config, tokio_postgres::NoTls)
            .await
            .expect("the server answers");
        tokio::spawn(connection);
        let sql = "select (select count(*) from applications), (select count(*) from application_attempts), \
                   (select count(*) from tasks), (select count(distinct task_id) from tasks)";
        let (mut wrong, mut seen, mut tasks_before, mut looks) = (Vec::new(), false, 0, 0);
        while !*stop.borrow() {
            let row = client.query_one(sql, &[]).await.expect("an answer");
            let [applications, attempts, tasks, distinct] = [0, 1, 2, 3].map(|at| row.get::<_, i64>(at));
            let expected = i64::from(seen || applications > 0);
            if (applications, attempts) != (expected, expected) || tasks != distinct || tasks < tasks_before {
                wrong.push(format!(
                    "{applications} applications, {attempts} attempts, {tasks} tasks with {distinct} ids"
                ));
            }
            seen |= applications > 0;
            tasks_before = tasks;
            looks += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(seen && looks > 20, "{looks} looks, application seen: {seen}");
        wrong
    })
}

/// Every row of every table with rows of its own, as the command line gives it, holds over the wire too.
async fn rows_equal_those_of_the_finished_log(session: &Session, logs: &Path) {
    let mut compared = 0;
    for table in sparkgate::table::all() {
        let sql = format!(
            "select * from {} order by {}",
            table.sql_name(),
            table.sort_order.join(", ")
        );
        let expected = query(logs, &sql);
        assert_same_rows(table.name, &session.objects(&sql).await, &expected);
        compared += expected.len();
    }
    assert!(compared > 10, "{compared} rows");
}

/// Waits for the end to be seen, and looks a little longer.
async fn finished(session: &Session, file: &str) {
    let state = "select path like '%/' || '{file}', status, error from system.event_logs";
    let state = state.replace("{file}", file);
    session.answers_within(VISIBLE_WITHIN, &state, &["t|complete|"]).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(session.rows(&state).await, ["t|complete|"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_log_shows_each_line_once_it_is_whole_and_keeps_its_rows_when_it_gets_its_final_name() {
    let logs = tempfile::tempdir().expect("a temporary directory");
    let (growing, finished_log) = (logs.path().join("local-good.inprogress"), logs.path().join(APP));
    let server = serve(logs.path());
    let session = Session::open(&server).await;
    let (stop, stopped) = watch::channel(false);
    let watcher = watch_application(&server, stopped);

    for (index, line) in lines().iter().enumerate() {
        // Half a line first, over more than one scan for some: nobody may see it.
        let (half, rest) = line.as_bytes().split_at(line.len() / 2);
        append(&growing, half);
        if index % 7 == 6 {
            tokio::time::sleep(Duration::from_millis(2200)).await;
            has_lines(&session, index).await;
        }
        append(&growing, rest);
        has_lines(&session, index + 1).await;
    }
    assert_eq!(
        session.rows("select completed, num_tasks from applications").await,
        ["t|4"],
        "the end was seen before the rename"
    );
    fs::rename(&growing, &finished_log).expect("the same directory");
    finished(&session, "local-good").await;
    stop.send(true).expect("the watcher listens");
    assert_eq!(watcher.await.expect("no panic"), [""; 0]);
    rows_equal_those_of_the_finished_log(&session, logs.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_log_goes_on_in_its_second_file() {
    let logs = tempfile::tempdir().expect("a temporary directory");
    let folder = logs.path().join("eventlog_v2_local-good");
    let status = folder.join("appstatus_local-good.inprogress");
    fs::create_dir(&folder).expect("a folder in a temporary directory");
    fs::write(&status, "").expect("an empty file");
    let server = serve(logs.path());
    let session = Session::open(&server).await;
    let (stop, stopped) = watch::channel(false);
    let watcher = watch_application(&server, stopped);

    let lines = lines();
    let (first, second) = lines.split_at(lines.len() / 2);
    let first_file = folder.join("events_1_local-good");
    append(&first_file, first[..first.len() - 1].concat().as_bytes());
    has_lines(&session, first.len() - 1).await;
    append(&first_file, first[first.len() - 1].as_bytes());
    has_lines(&session, first.len()).await;

    // Spark opens each file with the version's event, here the first line of all.
    let second_file = folder.join("events_2_local-good");
    append(&second_file, b"");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    has_lines(&session, first.len()).await;
    append(&second_file, lines[0].as_bytes());
    has_lines(&session, first.len() + 1).await;
    for (index, line) in second.iter().enumerate() {
        append(&second_file, &line.as_bytes()[..10]);
        append(&second_file, &line.as_bytes()[10..]);
        if index % 3 == 0 || index + 1 == second.len() {
            has_lines(&session, first.len() + 2 + index).await;
        }
    }
    fs::rename(&status, folder.join("appstatus_local-good")).expect("the same directory");
    finished(&session, "eventlog_v2_local-good").await;
    stop.send(true).expect("the watcher listens");
    assert_eq!(watcher.await.expect("no panic"), [""; 0]);
    rows_equal_those_of_the_finished_log(&session, logs.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zstd_log_shows_what_its_whole_frames_hold() {
    let logs = tempfile::tempdir().expect("a temporary directory");
    let growing = logs.path().join("local-good.zstd.inprogress");
    let server = serve(logs.path());
    let session = Session::open(&server).await;
    let (stop, stopped) = watch::channel(false);
    let watcher = watch_application(&server, stopped);

    let text = lines().concat();
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
    // A line is whole with its last brace; its newline may come later.
    let whole = |bytes: usize| ends.iter().filter(|end| **end - 1 <= bytes).count();
    let mut begin = 0;
    // Frames end anywhere: Spark cuts them by size, not by line.
    let cuts = [
        ends[0],
        ends[5] + 20,
        ends[6],
        ends[9] - 2,
        ends[10] - 1,
        ends[15] + 300,
        text.len(),
    ];
    for cut in cuts {
        let frame = zstd::encode_all(&text.as_bytes()[begin..cut], 1).expect("some text");
        let (half, rest) = frame.split_at(frame.len() / 2);
        append(&growing, half);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        has_lines(&session, whole(begin)).await;
        append(&growing, rest);
        has_lines(&session, whole(cut)).await;
        begin = cut;
    }
    fs::rename(&growing, logs.path().join("local-good.zstd")).expect("the same directory");
    finished(&session, "local-good.zstd").await;
    stop.send(true).expect("the watcher listens");
    assert_eq!(watcher.await.expect("no panic"), [""; 0]);
    rows_equal_those_of_the_finished_log(&session, logs.path()).await;
}
