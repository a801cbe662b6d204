//! Event logs on HDFS: real NameNodes and DataNodes, a real KDC (`tests/rigs/hdfs.sh`, which says what a machine needs).
//!
//! Two clusters are shared, one without log-in and one with Kerberos; tests that stop a NameNode have one of their own. Each test has a
//! directory of its own.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use sparkgate::config::{HdfsConfig, StorageConfig, WebHdfsConfig};
use sparkgate::event_log::store::{self, Opened};
use sparkgate::event_log::{LogReader, StoreError, discover};

use crate::rest::compare_fixtures;
use crate::support::hdfs::Hdfs;
use crate::support::http::Client;
use crate::support::pg::Session;
use crate::support::{Server, fixtures};

/// What `Hdfs::serve` scans at.
const SCAN_INTERVAL: Duration = Duration::from_millis(200);
/// The promise beyond the scan interval.
const PROMISED: Duration = Duration::from_secs(1);
/// On a loaded machine any one look may be late; half of them must not be.
const SEEN_WITHIN: Duration = Duration::from_secs(20);
/// A log-in, a fail-over, a NameNode that starts.
const RECOVERED_WITHIN: Duration = Duration::from_secs(60);
const APPS: &str = "select app_id from applications order by 1";

/// A short, whole application with another id.
fn log_of(app_id: &str) -> String {
    let text = fs::read_to_string(fixtures().join("damaged/local-good")).expect("the good log is there");
    text.replace("\"App ID\":\"local-good\"", &format!("\"App ID\":\"{app_id}\""))
}

/// A file that somebody writes to HDFS, piece by piece, from one on local disk.
struct Writer<'h> {
    cluster: &'h Hdfs,
    path: String,
    local: PathBuf,
    written: usize,
}

impl<'h> Writer<'h> {
    fn new(cluster: &'h Hdfs, path: &str, text: &str) -> Self {
        let local = cluster.file(&format!("local{}", path.replace(['/', ' '], "_")));
        fs::write(&local, text).expect("room for a log");
        Writer {
            cluster,
            path: path.to_owned(),
            local,
            written: 0,
        }
    }

    /// Writes the next bytes and flushes them, as Spark does after each event; the file stays open.
    fn write(&mut self, bytes: usize) {
        let local = self.local.to_str().expect("UTF-8");
        self.cluster.command(&[
            "append",
            &self.path,
            local,
            &self.written.to_string(),
            &bytes.to_string(),
        ]);
        self.written += bytes;
    }

    fn close(&self) {
        self.cluster.command(&["close", &self.path]);
    }
}

fn authority(cluster: &Hdfs) -> String {
    cluster
        .property("fs.defaultFS")
        .trim_start_matches("hdfs://")
        .to_owned()
}

/// The store of a path of the cluster, in this process.
fn open(cluster: &Hdfs, path: &str, webhdfs: WebHdfsConfig) -> Opened {
    let hdfs = HdfsConfig {
        hadoop_conf_dir: cluster.conf().to_str().expect("UTF-8").to_owned(),
        webhdfs,
        ..HdfsConfig::default()
    };
    let storage = StorageConfig {
        hdfs,
        ..StorageConfig::default()
    };
    store::open("hdfs", path, &storage).expect("a good URI")
}

fn put_text(cluster: &Hdfs, path: &str, text: &str) {
    let local = cluster.file(&format!("put{}", path.replace(['/', ' '], "_")));
    fs::write(&local, text).expect("room for a log");
    cluster.put(&local, path);
}

#[test]
fn answers_from_hdfs_equal_the_history_servers_about_the_fixtures() {
    let cluster = Hdfs::simple();
    compare_fixtures("tests/fixtures/logs on HDFS", |logs| {
        cluster.put(logs, "/fixtures");
        cluster.serve("/fixtures", &cluster.section(""))
    });
}

#[test]
fn answers_from_encrypted_hdfs_with_kerberos_equal_the_history_servers_about_the_fixtures() {
    let cluster = Hdfs::kerberos();
    compare_fixtures("tests/fixtures/logs on HDFS with Kerberos", |logs| {
        cluster.put(logs, "/logs/fixtures");
        cluster.command(&["chmod", "/logs/fixtures", "755"]);
        let authority = authority(cluster);
        cluster.serve(
            &format!("{authority}/logs/fixtures"),
            &cluster.logged_in("gateway", "gateway.keytab"),
        )
    });
}

/// Each event of a log that somebody writes is visible in time; the end, and the final name, change nothing else.
fn grows(cluster: &Hdfs, directory: &str, config: &str) {
    let text = log_of("growing");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let place = |event: &str| {
        let start = format!("{{\"Event\":\"{event}\"");
        lines
            .iter()
            .position(|line| line.starts_with(&start))
            .expect("the event is there")
    };
    let (first_job, end) = (place("SparkListenerJobStart"), place("SparkListenerApplicationEnd"));
    let mut all: String = lines[..first_job].concat();
    let head = all.len();
    let starts: Vec<String> = (0..7)
        .map(|id| lines[first_job].replace("\"Job ID\":0,", &format!("\"Job ID\":{id},")))
        .collect();
    starts.iter().for_each(|start| all.push_str(start));
    let rest = lines[first_job + 1..].concat();
    all.push_str(&rest);

    let path = format!("{directory}/growing.inprogress");
    let mut log = Writer::new(cluster, &path, &all);
    log.write(head);
    let server = cluster.serve(directory, config);
    let mut client = Client::open(server.http);
    let jobs = "applications/growing/jobs";
    assert_eq!(client.rest(jobs), json!([]));
    let mut waited = Vec::new();
    for (id, start) in starts.iter().enumerate() {
        log.write(start.len());
        waited.push(client.rest_within(SEEN_WITHIN, jobs, |answer| answer.json()[0]["jobId"] == id));
    }
    waited.sort();
    let usual = waited[waited.len() / 2];
    assert!(usual <= SCAN_INTERVAL + PROMISED, "shown after {usual:?}: {waited:?}");

    // Half a line is nothing yet.
    let stage = lines[first_job + 1].len();
    log.write(40);
    std::thread::sleep(4 * SCAN_INTERVAL);
    let active = "applications/growing/stages?status=active";
    assert_eq!(client.rest(active), json!([]));
    log.write(stage - 40);
    client.rest_within(SEEN_WITHIN, active, |answer| answer.json()[0]["stageId"] == 0);
    log.write(lines[first_job + 2..].concat().len());
    let one = "applications/growing";
    client.rest_within(SEEN_WITHIN, one, |answer| {
        answer.json()["attempts"][0]["completed"] == true
    });
    let before = client.rest(jobs);
    log.close();
    cluster.command(&["rename", &path, &format!("{directory}/growing")]);
    std::thread::sleep(4 * SCAN_INTERVAL);
    assert_eq!(client.rest(jobs), before);
    assert!(end > first_job && client.rest("applications").as_array().expect("a list").len() == 1);
}

#[test]
fn each_event_of_a_log_on_hdfs_is_visible_in_time() {
    let cluster = Hdfs::simple();
    grows(cluster, "/growing", &cluster.section(""));
}

#[test]
fn each_event_of_a_log_on_hdfs_with_kerberos_is_visible_in_time() {
    let cluster = Hdfs::kerberos();
    cluster.command(&["mkdir", "/logs/growing"]);
    grows(
        cluster,
        "/logs/growing",
        &cluster.logged_in("gateway", "gateway.keytab"),
    );
}

/// Appends event by event and reads on after each, as the gateway does.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_growing_log_only_new_bytes_are_read() {
    let cluster = Hdfs::simple();
    // More than two blocks of 1 MiB, in appends of very different sizes.
    let text = log_of("once").repeat(90);
    let mut log = Writer::new(cluster, "/once/once.inprogress", &text);
    let Opened { store, path } = open(cluster, "/once", WebHdfsConfig::Auto);
    let mut reader: Option<LogReader> = None;
    let mut read = Vec::new();
    let mut sizes = [300, 5_000, 70, 1_200, 90_000].iter().cycle();
    while log.written < text.len() {
        let rest = text.len() - log.written;
        let size = sizes.next().copied().unwrap_or(rest).min(rest);
        log.write(size);
        let found = discover(&*store, &path).await.expect("the directory is there");
        let found = Arc::new(found.logs.into_iter().next().expect("one log"));
        assert_eq!(
            found.size_bytes, log.written as u64,
            "its length is known after each flush"
        );
        let reader = match &mut reader {
            Some(reader) => {
                assert!(reader.grow(Arc::clone(&found)), "it is the same log");
                reader
            }
            none => none.insert(LogReader::new(Arc::clone(&store), found)),
        };
        while let Some(block) = reader.next_block().await.expect("it can be read") {
            read.extend_from_slice(&block.bytes);
        }
    }
    assert_eq!(String::from_utf8(read).expect("JSON is UTF-8"), text);
    let requests = store.requests();
    let factor = requests.read_bytes as f64 / text.len() as f64;
    assert!(
        text.len() > 2 << 20 && factor <= 1.1,
        "{factor} times its {} bytes were read: {requests:?}",
        text.len()
    );

    // Closed, it is asked about once more, and then the listing is enough.
    log.close();
    discover(&*store, &path).await.expect("the directory is there");
    discover(&*store, &path).await.expect("the directory is there");
    let before = store.requests();
    for _ in 0..5 {
        discover(&*store, &path).await.expect("the directory is there");
    }
    let after = store.requests();
    assert_eq!(
        (
            after.list - before.list,
            after.head - before.head,
            after.get - before.get
        ),
        (5, 0, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_webhdfs_a_running_log_is_behind_and_no_error() {
    let cluster = Hdfs::simple();
    let text = log_of("behind").repeat(70);
    assert!(text.len() > 3 << 19, "more than one block");
    let mut log = Writer::new(cluster, "/behind/behind.inprogress", &text);
    log.write(20_000);
    let server = cluster.serve("/behind", &cluster.section("webhdfs = 'off'"));
    let session = Session::open(&server).await;
    let state = "select status, error like '%behind: the block that is being written cannot be read yet%', lines > 0 from system.event_logs";
    session.answers_within(SEEN_WITHIN, state, &["not listed|t|f"]).await;

    // One whole block.
    log.write(text.len() - 20_000);
    session
        .answers_within(
            SEEN_WITHIN,
            &state.replace("status,", "status like 'complete' or status like 'in progress',"),
            &["t|t|t"],
        )
        .await;
    assert_eq!(session.rows(APPS).await, ["behind"]);
    log.close();
    cluster.command(&["rename", "/behind/behind.inprogress", "/behind/behind"]);
    let whole = format!(
        "select error is null, size_bytes, lines from system.event_logs where size_bytes = {}",
        text.len()
    );
    let lines = text.lines().count();
    session
        .answers_within(SEEN_WITHIN, &whole, &[&format!("t|{}|{lines}", text.len())])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_log_is_read_while_it_is_written_and_when_it_is_done() {
    let cluster = Hdfs::simple();
    let text = log_of("rolling");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let directory = "/rolling/eventlog_v2_rolling";
    cluster.command(&["create", &format!("{directory}/appstatus_rolling.inprogress")]);
    let [first, second] = [lines[..10].concat(), lines[10..].concat()];
    let mut log = Writer::new(cluster, &format!("{directory}/events_1_rolling"), &first);
    log.write(first.len());
    let server = cluster.serve("/rolling", &cluster.section(""));
    let session = Session::open(&server).await;
    let seen = "select status, lines from system.event_logs";
    session.answers_within(SEEN_WITHIN, seen, &["in progress|10"]).await;
    log.close();
    let mut log = Writer::new(cluster, &format!("{directory}/events_2_rolling"), &second);
    for (at, line) in lines[10..].iter().enumerate() {
        log.write(line.len());
        if at % 4 == 0 {
            let read = format!("select lines from system.event_logs where lines = {}", 11 + at);
            session
                .answers_within(SEEN_WITHIN, &read, &[&format!("{}", 11 + at)])
                .await;
        }
    }
    log.close();
    let status = format!("{directory}/appstatus_rolling");
    cluster.command(&["rename", &format!("{status}.inprogress"), &status]);
    session
        .answers_within(SEEN_WITHIN, seen, &[&format!("complete|{}", lines.len())])
        .await;
    assert_eq!(session.rows("select num_tasks from applications").await, ["4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_all_kinds_are_found_and_read() {
    let cluster = Hdfs::simple();
    for (name, app_id) in [("one two%20+ü", "one"), ("x%2Fy #?&=;'\"", "two")] {
        put_text(cluster, &format!("/odd/a b%20c+d ünd 名/{name}"), &log_of(app_id));
    }
    let running = "/odd/a b%20c+d ünd 名/läuft %41+.inprogress";
    let text = log_of("running");
    let mut log = Writer::new(cluster, running, &text);
    log.write(text.len());
    let server = cluster.serve("/odd/a b%20c+d ünd 名", &cluster.section(""));
    let session = Session::open(&server).await;
    let states = "select path, error from system.event_logs order by path";
    let base = format!("hdfs://{}/odd/a b%20c+d ünd 名", authority(cluster));
    let expected = [
        format!("{base}/läuft %41+.inprogress|"),
        format!("{base}/one two%20+ü|"),
        format!("{base}/x%2Fy #?&=;'\"|"),
    ];
    session
        .answers_within(SEEN_WITHIN, states, &[&expected[0], &expected[1], &expected[2]])
        .await;
    assert_eq!(session.rows("select count(*) from applications").await, ["3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_deleted_or_replaced_while_it_is_read_is_an_error_and_no_panic() {
    let cluster = Hdfs::simple();
    let text = log_of("gone").repeat(40);
    put_text(cluster, "/gone/gone", &text);
    let Opened { store, path } = open(cluster, "/gone", WebHdfsConfig::Auto);
    let file = format!("{path}/gone");
    let size = text.len() as u64;
    assert_eq!(
        store.read(&file, 0..1000).await.expect("it is there"),
        text.as_bytes()[..1000]
    );
    // Beyond its end there is nothing.
    assert_eq!(store.read(&file, size..size + 10).await.expect("it is there").len(), 0);
    assert_eq!(
        store.read(&file, size + 5..u64::MAX).await.expect("it is there").len(),
        0
    );
    assert_eq!(
        store.read(&file, size - 5..u64::MAX).await.expect("it is there").len(),
        5
    );
    // Shorter than it was listed.
    cluster.command(&["delete", "/gone/gone"]);
    put_text(cluster, "/gone/gone", &text[..500]);
    assert_eq!(store.read(&file, 100..size).await.expect("it is there").len(), 400);
    assert_eq!(store.read(&file, 1000..size).await.expect("it is there").len(), 0);
    cluster.command(&["delete", "/gone/gone"]);
    assert!(matches!(
        store.read(&file, 0..1000).await,
        Err(StoreError::NotFound { .. })
    ));
    assert!(matches!(store.head(&file).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(
        store.list(&format!("{path}/none")).await,
        Err(StoreError::NotFound { .. })
    ));
    // And while it is written.
    let mut log = Writer::new(cluster, "/gone/open.inprogress", &text);
    log.write(10_000);
    let found = discover(&*store, &path).await.expect("the directory is there");
    assert_eq!(found.logs[0].size_bytes, 10_000);
    cluster.command(&["delete", "/gone/open.inprogress"]);
    let mut log = Writer::new(cluster, "/gone/open.inprogress", &text);
    log.write(3_000);
    let found = discover(&*store, &path).await.expect("the directory is there");
    assert_eq!(found.logs[0].size_bytes, 3_000, "it is another file");
    // A file is no directory, and a directory no file.
    put_text(cluster, "/gone/file", "x");
    assert!(matches!(
        store.list(&format!("{path}/file")).await,
        Err(StoreError::NotADirectory { .. })
    ));
    assert!(matches!(store.read(&path, 0..1).await, Err(StoreError::Refused { .. })));
    let entry = store.head(&path).await.expect("it is there");
    assert!(entry.is_dir);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_a_log_is_told_without_a_java_stack() {
    let cluster = Hdfs::simple();
    put_text(cluster, "/denied/mine", &log_of("mine"));
    put_text(cluster, "/denied/other", &log_of("other"));
    cluster.command(&["chmod", "/denied/other", "600"]);
    cluster.command(&["chown", "/denied/other", "somebody"]);
    cluster.command(&["chmod", "/denied", "755"]);
    let server = cluster.serve("/denied", &cluster.section("user = 'nobody'"));
    let session = Session::open(&server).await;
    let denied = "select error from system.event_logs where path like '%/other'";
    let errors = session.rows(denied).await;
    assert!(
        errors[0].contains("permission denied: user=nobody, access=READ"),
        "{errors:?}"
    );
    assert!(
        !errors[0].contains("\tat ") && !errors[0].contains("org.apache"),
        "{errors:?}"
    );
    assert_eq!(session.rows(APPS).await, ["mine"]);
}

/// Stops the active NameNode while logs are read, and makes the other one active.
#[tokio::test(flavor = "multi_thread")]
async fn a_fail_over_in_the_middle_of_an_ingest_loses_nothing() {
    const LOGS: usize = 80;
    let cluster = Hdfs::start(&["ha"]);
    let local = cluster.file("many");
    fs::create_dir(&local).expect("a new folder");
    for n in 0..LOGS {
        fs::write(local.join(format!("app-{n:03}")), log_of(&format!("app-{n:03}"))).expect("room for a log");
    }
    cluster.put(&local, "/many");
    let text = log_of("running");
    let mut log = Writer::new(&cluster, "/many/running.inprogress", &text);
    log.write(text.len() / 2);
    let config = cluster.section("") + "[ingest]\nthreads = 1\n";
    let server = std::thread::scope(|scope| {
        let stopping = scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(500));
            cluster.command(&["kill-nn", "0"]);
            std::thread::sleep(Duration::from_secs(1));
            cluster.command(&["promote", "1"]);
        });
        let server = cluster.serve(&format!("{}/many", authority(&cluster)), &config);
        stopping.join().expect("the other NameNode is active");
        server
    });
    let session = Session::open(&server).await;
    let all = format!("{}", LOGS + 1);
    let read = "select count(*) from applications";
    session.answers_within(RECOVERED_WITHIN, read, &[&all]).await;
    let tasks = format!("{}", 4 * LOGS);
    let of_finished = "select sum(num_tasks) from applications where app_id like 'app-%'";
    session.answers_within(RECOVERED_WITHIN, of_finished, &[&tasks]).await;
    let wrong = "select path, status, error from system.event_logs where path like '%app-%' and status <> 'complete'";
    session.answers_within(RECOVERED_WITHIN, wrong, &[]).await;
    // And the one that is being written goes on.
    log.write(text.len() - text.len() / 2);
    let running = "select num_tasks from applications where app_id = 'running'";
    session.answers_within(RECOVERED_WITHIN, running, &["4"]).await;
}

/// A NameNode that is down when the gateway starts, comes, is in safe mode, and goes.
#[tokio::test(flavor = "multi_thread")]
async fn a_namenode_may_be_down_or_in_safe_mode_and_comes_back() {
    let cluster = Hdfs::start(&[]);
    put_text(&cluster, "/logs/first", &log_of("first"));
    let config = cluster.section("timeout = '3s'\n[storage]\nretry_timeout = '1s'");
    cluster.command(&["kill-nn", "0"]);
    let finished = cluster.run("check", "/logs", &config, &[]);
    let authority = authority(&cluster);
    assert!(
        finished.stderr.contains(&format!(
            "nothing answers at the NameNode {authority} (connection refused)"
        )),
        "{finished:?}"
    );
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");

    cluster.command(&["start-nn", "0", "wait"]);
    let server = cluster.serve("/logs", &config);
    let session = Session::open(&server).await;
    session.answers_within(RECOVERED_WITHIN, APPS, &["first"]).await;
    put_text(&cluster, "/logs/second", &log_of("second"));
    session
        .answers_within(RECOVERED_WITHIN, APPS, &["first", "second"])
        .await;

    // It goes while the gateway runs: rows stay.
    cluster.command(&["kill-nn", "0"]);
    let failed = "select distinct status, error like '%connection refused%' from system.event_logs";
    session.answers_within(RECOVERED_WITHIN, failed, &["failed|t"]).await;
    assert_eq!(session.rows(APPS).await, ["first", "second"]);

    // Without DataNodes it stays in safe mode after its start: directories can be listed, files cannot be read.
    cluster.command(&["kill-dn", "0"]);
    cluster.command(&["start-nn", "0"]);
    let safe = cluster.run("sql", "/logs/first", &config, &[]);
    assert!(!safe.status.success(), "{safe:?}");
    let fresh = cluster.serve("/logs", &config);
    let fresh = Session::open(&fresh).await;
    let safe = "select distinct error like '%is in safe mode%' from system.event_logs";
    fresh.answers_within(RECOVERED_WITHIN, safe, &["t"]).await;
    cluster.command(&["start-dn"]);
    cluster.command(&["wait"]);
    put_text(&cluster, "/logs/third", &log_of("third"));
    session
        .answers_within(RECOVERED_WITHIN, APPS, &["first", "second", "third"])
        .await;
}

#[test]
fn clusters_that_cannot_be_known_are_refused_at_the_start() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let conf = dir.path().join("conf");
    fs::create_dir(&conf).expect("a new directory");
    let check = |uri: &str, hdfs: &str| {
        let config = dir.path().join("gate.toml");
        fs::write(&config, format!("[storage]\nretry_timeout = '1s'\n[hdfs]\n{hdfs}")).expect("room");
        let finished = crate::support::sparkgate(["check", uri, "--config", config.to_str().expect("UTF-8")]);
        assert!(!finished.status.success(), "{uri}: {finished:?}");
        finished.stderr
    };
    let ours = format!("hadoop_conf_dir = '{}'", conf.display());
    let missing = check("hdfs://host/logs", "hadoop_conf_dir = '/no/such/conf'");
    assert!(missing.contains("/no/such/conf does not exist"), "{missing}");
    let no_default = check("hdfs:///logs", &ours);
    assert!(
        no_default.contains("fs.defaultFS of the Hadoop configuration in"),
        "{no_default}"
    );
    // A name that is neither that of a service nor of a host.
    let unknown = check(
        "hdfs://no-such-service.invalid/logs",
        &format!("{ours}\ntimeout = '5s'"),
    );
    assert!(
        unknown.contains("no-such-service.invalid is no name service of the Hadoop configuration in")
            && unknown.contains(conf.to_str().expect("UTF-8")),
        "{unknown}"
    );
    let keytab = check("hdfs://host/logs", &format!("{ours}\nkerberos_keytab = '/k'"));
    assert!(keytab.contains("kerberos_keytab needs kerberos_principal"), "{keytab}");
    fs::write(conf.join("core-site.xml"), "<configuration><property></configuration>").expect("room");
    let broken = check("hdfs://host/logs", &ours);
    assert!(broken.contains("core-site.xml cannot be read"), "{broken}");
}

/// Tickets live for 8 seconds, and the NameNode is started anew twice after that: with a keytab one logs in again, with a cache of tickets not.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_with_a_keytab_outlives_its_tickets() {
    let cluster = &Hdfs::start(&["kerberos"]);
    cluster.command(&["mkdir", "/logs/brief"]);
    cluster.command(&["chmod", "/logs", "755"]);
    put_text(cluster, "/logs/brief/first", &log_of("first"));
    let cache = cluster.file("brief.ccache");
    let kinit = Command::new("kinit")
        .args(["-kt"])
        .arg(cluster.file("brief.keytab"))
        .arg("-c")
        .arg(&cache)
        .arg("brief@RIG.TEST")
        .env("KRB5_CONFIG", cluster.file("krb/krb5.conf"))
        .status()
        .expect("krb5-user is installed");
    assert!(kinit.success());
    let from_cache = cluster.section(&format!(
        "kerberos_principal = 'brief@RIG.TEST'\nkerberos_cache = 'FILE:{}'",
        cache.display()
    ));
    let slow = "[sources]\nscan_interval = '2s'\n";
    let serve = |config: &str| -> Server {
        let file = cluster.file(&format!("brief-{}.toml", config.len()));
        fs::write(&file, format!("{config}{slow}")).expect("room");
        Server::start_in(
            Path::new("hdfs:///logs/brief"),
            &["--config", file.to_str().expect("UTF-8")],
            &[("KRB5_CONFIG", cluster.file("krb/krb5.conf").as_os_str())],
        )
    };
    let with_cache = serve(&from_cache);
    let with_keytab = serve(&cluster.logged_in("brief", "brief.keytab"));
    let started = Instant::now();
    let (cached, renewed) = (Session::open(&with_cache).await, Session::open(&with_keytab).await);
    assert_eq!(cached.rows(APPS).await, ["first"]);
    assert_eq!(renewed.rows(APPS).await, ["first"]);
    let mut apps = vec!["first"];
    for (lifetimes, app_id) in [(1, "second"), (2, "third")] {
        tokio::time::sleep(Duration::from_secs(9 * lifetimes).saturating_sub(started.elapsed())).await;
        cluster.command(&["kill-nn", "0"]);
        cluster.command(&["start-nn", "0", "wait"]);
        cluster.command(&["wait"]);
        put_text(cluster, &format!("/logs/brief/{app_id}"), &log_of(app_id));
        apps.push(app_id);
        renewed.answers_within(RECOVERED_WITHIN, APPS, &apps).await;
    }
    let expired = "select distinct status, error from system.event_logs";
    let shown = cached.rows(expired).await;
    assert!(
        shown.len() == 1
            && shown[0].starts_with("failed|")
            && shown[0].contains("the ticket has expired: give a keytab"),
        "{shown:?}"
    );
    assert_eq!(cached.rows(APPS).await, ["first"]);
}

#[test]
fn failed_log_ins_name_principal_kdc_and_what_to_do() {
    let cluster = Hdfs::kerberos();
    let krb5 = fs::read_to_string(cluster.file("krb/krb5.conf")).expect("the KDC wrote it");
    let kdc = krb5
        .lines()
        .find_map(|line| line.trim().strip_prefix("kdc = "))
        .expect("a KDC")
        .to_owned();
    // What somebody has to put right, and what may be otherwise a moment later, are two codes.
    let check = |what: &str, config: &str, krb5: Option<&Path>, expected: &[&str]| {
        let code = if krb5.is_some() { 1 } else { 2 };
        let environment: Vec<(&str, &OsStr)> = krb5.iter().map(|path| ("KRB5_CONFIG", path.as_os_str())).collect();
        let config = format!("{config}[storage]\nretry_timeout = '1s'\n");
        let finished = cluster.run("check", "/logs", &config, &environment);
        assert_eq!(finished.status.code(), Some(code), "{what}: {finished:?}");
        for part in expected {
            assert!(
                finished.stderr.contains(part),
                "{what}: no {part:?} in {}",
                finished.stderr
            );
        }
        assert!(!finished.stderr.contains("\tat "), "{what}: {}", finished.stderr);
    };
    let kdc_shown = format!("KDC {kdc}");
    check(
        "a keytab of somebody else",
        &cluster.logged_in("gateway", "alice.keytab"),
        None,
        &[
            "as gateway@RIG.TEST with the keytab",
            "alice.keytab",
            &kdc_shown,
            "has no key of this principal",
        ],
    );
    check(
        "no keytab",
        &cluster.logged_in("gateway", "nothing.keytab"),
        None,
        &[
            "as gateway@RIG.TEST with the keytab",
            &kdc_shown,
            "the keytab is not there",
        ],
    );
    check(
        "nobody is logged in",
        &cluster.section(""),
        None,
        &[
            "default ticket cache",
            &kdc_shown,
            "set [hdfs] kerberos_principal and kerberos_keytab",
        ],
    );
    // A key of before the last export.
    let stale = cluster.file("stale.keytab");
    fs::copy(cluster.file("alice.keytab"), &stale).expect("a keytab");
    let added = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rigs/kdc.sh"))
        .arg("add")
        .arg(cluster.file(""))
        .args(["newer.keytab", "alice"])
        .status()
        .expect("the script starts");
    assert!(added.success());
    check(
        "an old keytab",
        &cluster.logged_in("alice", "stale.keytab"),
        None,
        &[
            "as alice@RIG.TEST with the keytab",
            &kdc_shown,
            "the keytab has an old or wrong key",
        ],
    );
    let elsewhere = cluster.file("elsewhere.conf");
    fs::write(&elsewhere, krb5.replace(&kdc, "127.0.0.1:1")).expect("room");
    check(
        "no KDC",
        &cluster.logged_in("gateway", "gateway.keytab"),
        Some(&elsewhere),
        &["as gateway@RIG.TEST", "KDC 127.0.0.1:1", "no KDC of the realm answers"],
    );
    // Hadoop's configuration says nothing of Kerberos.
    let bare = cluster.file("bare");
    fs::create_dir_all(&bare).expect("a new folder");
    let finished = cluster.run(
        "check",
        &format!("{}/logs", authority(cluster)),
        &format!(
            "[storage]\nretry_timeout = '1s'\n[hdfs]\nhadoop_conf_dir = '{}'\n",
            bare.display()
        ),
        &[],
    );
    assert!(
        finished
            .stderr
            .contains("where it wants Kerberos and the client does not (hadoop.security.authentication in"),
        "{finished:?}"
    );
}

/// A mount table over both directories of one cluster.
#[test]
fn a_mount_table_shows_what_is_mounted() {
    let cluster = Hdfs::simple();
    put_text(cluster, "/mounted/deep/app", &log_of("mounted"));
    let conf = cluster.file("viewfs");
    fs::create_dir_all(&conf).expect("a new folder");
    let target = cluster.property("fs.defaultFS");
    let property = |name: &str, value: &str| format!("<property><name>{name}</name><value>{value}</value></property>");
    let site = property("fs.defaultFS", "viewfs://table")
        + &property("fs.viewfs.mounttable.table.link./spark", &format!("{target}/mounted"));
    fs::write(
        conf.join("core-site.xml"),
        format!("<configuration>{site}</configuration>"),
    )
    .expect("room");
    let config = dir_config(&conf);
    let sql = ["-c", "select app_id, log_path from applications", "--format", "csv"];
    let run = |uri: &str| {
        let args: Vec<String> = ["sql", uri].iter().chain(&sql).map(|arg| (*arg).to_owned()).collect();
        crate::support::sparkgate(args.into_iter().chain(["--config".to_owned(), config.clone()]))
    };
    let finished = run("viewfs:///spark/deep");
    assert!(finished.status.success(), "{finished:?}");
    assert_eq!(
        finished.stdout,
        "app_id,log_path\nmounted,viewfs://table/spark/deep/app\n"
    );
    let outside = run("viewfs:///elsewhere");
    assert!(outside.stderr.contains("does not exist"), "{outside:?}");
}

fn dir_config(conf: &Path) -> String {
    let file = conf.join("gate.toml");
    fs::write(&file, format!("[hdfs]\nhadoop_conf_dir = '{}'\n", conf.display())).expect("room");
    file.to_str().expect("UTF-8").to_owned()
}
