//! Logs on S3: a real server (versitygw, `tests/rigs/s3.sh`), whose objects are files of a directory, and a proxy before it that spoils
//! answers (`tests/rigs/faultproxy.py`).

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, UNIX_EPOCH};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::rest;
use crate::support::columns::{everything_in_memory, everything_of, log_of};
use crate::support::http::Client;
use crate::support::pg::Session;
use crate::support::{Finished, Server, program, sparkgate};

const KEY: &str = "rigkey";
const SECRET: &str = "rigsecret123";
const SCAN_INTERVAL: Duration = Duration::from_millis(500);
/// The interval and the promised second; the rest is for loaded machines.
const VISIBLE_WITHIN: Duration = Duration::from_secs(10);
/// Until a store that was left alone is asked again.
const BACK_WITHIN: Duration = Duration::from_secs(20);

fn rig(arguments: &[&str]) -> std::process::Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rigs/s3.sh");
    Command::new(script)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("bash is installed")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it has an address").port()
}

/// A server with the bucket `logs`.
struct S3 {
    dir: tempfile::TempDir,
    port: u16,
    runs: bool,
}

impl S3 {
    fn start() -> S3 {
        let mut s3 = S3::new();
        s3.go();
        s3
    }

    fn new() -> S3 {
        S3 {
            dir: tempfile::tempdir().expect("a temporary directory"),
            port: free_port(),
            runs: false,
        }
    }

    fn go(&mut self) {
        self.go_with(&[]);
    }

    fn go_with(&mut self, more: &[&str]) {
        let port = self.port.to_string();
        let output = rig(&[&["start", self.path(), &port], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.runs = true;
    }

    fn stop(&mut self) {
        if std::mem::take(&mut self.runs) {
            rig(&["stop", self.path()]);
        }
    }

    fn path(&self) -> &str {
        self.dir.path().to_str().expect("UTF-8")
    }

    /// The directory of a prefix of the bucket.
    fn bucket(&self, prefix: &str) -> PathBuf {
        let path = self.dir.path().join("data/logs").join(prefix);
        fs::create_dir_all(&path).expect("a directory of ours");
        path
    }

    /// As a PUT does it: an object is there as a whole, or not.
    fn put(&self, key: &str, bytes: &[u8]) {
        let path = self.dir.path().join("data/logs").join(key);
        fs::create_dir_all(path.parent().expect("a bucket")).expect("a directory of ours");
        let upload = self.dir.path().join("upload");
        fs::write(&upload, bytes).expect("room");
        fs::rename(upload, path).expect("the same file system");
    }

    /// A configuration file for a server or a proxy on a port; `more` comes last in `[s3]`.
    fn config(&self, port: u16, more: &str) -> String {
        let path = self.dir.path().join(format!("sparkgate-{port}-{}.toml", more.len()));
        let text = format!(
            "[storage]\nlongest_pause = \"1s\"\nretry_timeout = \"10s\"\n[s3]\nendpoint = \"http://127.0.0.1:{port}\"\nallow_http = true\n{more}"
        );
        fs::write(&path, text).expect("room");
        path.to_str().expect("UTF-8").to_owned()
    }

    fn keys() -> String {
        format!("access_key_id = \"{KEY}\"\nsecret_access_key = \"{SECRET}\"\n")
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Stands before a server and does to its answers what its rules say.
struct Proxy {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Proxy {
    fn before(s3: &S3, rules: &str) -> Proxy {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::write(dir.path().join("rules"), rules).expect("room");
        let port = free_port();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rigs/faultproxy.py");
        let mut child = Command::new("python3")
            .arg(script)
            .args([port.to_string(), s3.port.to_string()])
            .args([dir.path().join("rules"), dir.path().join("requests")])
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        assert_eq!(line.trim(), "ready");
        Proxy { child, port, dir }
    }

    /// From the next request on.
    fn rules(&self, rules: &str) {
        let new = self.dir.path().join("new");
        fs::write(&new, rules).expect("room");
        fs::rename(new, self.dir.path().join("rules")).expect("the same directory");
    }

    /// `METHOD /path what was done to it`, a line a request.
    fn requests(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("requests")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn spoiled(&self) -> usize {
        self.requests().iter().filter(|line| !line.ends_with(" -")).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Nothing to do about one that has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(sources: &[&str], config: &str) -> Server {
    let interval = format!("{}ms", SCAN_INTERVAL.as_millis());
    let mut options = vec!["--config", config, "--scan-interval", &interval];
    options.extend(&sources[1..]);
    Server::start_with(Path::new(sources[0]), &options)
}

fn ask(source: &str, config: &str) -> Finished {
    sparkgate([
        "sql",
        source,
        "--config",
        config,
        "--cache",
        "off",
        "-c",
        "select count(*) from applications",
    ])
}

/// Objects are as old as their files, but for fractions of a second.
fn whole_seconds(dir: &Path) {
    for entry in fs::read_dir(dir).expect("a directory of ours") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            whole_seconds(&path);
        }
        let file = fs::File::open(&path).expect("a file of ours");
        let modified = file.metadata().and_then(|about| about.modified()).expect("a time");
        let since = modified.duration_since(UNIX_EPOCH).expect("after 1970");
        let times = fs::FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(since.as_secs()));
        file.set_times(times).expect("a file of ours");
    }
}

#[test]
fn every_answer_and_every_row_is_the_same_from_s3() {
    let s3 = S3::start();
    // Names are taken as they are: nothing in a URI is decoded.
    let prefix = "a b+%20é/logs";
    let files = s3.bucket(prefix);
    let mut recording = rest::copy_fixtures(&files);
    recording.in_seconds = true;
    let config = s3.config(s3.port, &S3::keys());
    let source = format!("s3a://logs/{prefix}");

    let server = serve(&[&source], &config);
    rest::replay("tests/fixtures/logs from S3", &server, &recording, &[]);
    drop(server);

    whole_seconds(&files);
    let local = everything_in_memory(&files);
    let remote = everything_of(Path::new(&source), &["--config", &config]);
    let remote = remote.replaced(&format!("s3://logs/{prefix}"), files.to_str().expect("UTF-8"));
    remote.assert_same(&local, "S3 and local disk");
    assert!(local.count("tasks") > 400, "{}", local.count("tasks"));
}

#[test]
fn requests_that_fail_change_no_row() {
    let s3 = S3::start();
    let files = s3.bucket("logs");
    rest::copy_fixtures(&files);
    let rules = "1 list-type=2 body 300\n2 list-type=2 status 503\n2 ^GET status 500\n2 ^GET body 2000\n2 ^GET cut 0\n5% . reset\n5% . status 503\n\
                 5% ^GET body 4000\n";
    let proxy = Proxy::before(&s3, rules);
    let sound = everything_of(
        Path::new("s3://logs/logs"),
        &["--config", &s3.config(s3.port, &S3::keys())],
    );
    let spoiled = everything_of(
        Path::new("s3://logs/logs"),
        &["--config", &s3.config(proxy.port, &S3::keys())],
    );
    spoiled.assert_same(&sound, "with and without faults");
    assert!(proxy.spoiled() >= 9, "{:?}", proxy.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_appended_is_seen_soon_and_only_that_is_read() {
    let s3 = S3::start();
    let text = log_of("growing");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    s3.put("logs/growing.inprogress", lines[0].as_bytes());
    let status = "logs/eventlog_v2_rolling/appstatus_rolling.inprogress";
    s3.put(status, b"");
    let rolling = log_of("rolling");
    let (first, second) = rolling.split_at(rolling.match_indices('\n').nth(9).expect("more lines").0 + 1);
    let server = serve(&["s3://logs/logs"], &s3.config(s3.port, &S3::keys()));
    let session = Session::open(&server).await;
    let mut waited = Vec::new();
    let (mut single, mut written) = (lines[0].to_owned(), lines[0].len());
    for (number, some) in lines[1..].chunks(4).enumerate() {
        single.push_str(&some.concat());
        s3.put("logs/growing.inprogress", single.as_bytes());
        // The other log grows in the same time, in its second file from the middle on.
        let all: Vec<&str> = rolling.split_inclusive('\n').collect();
        let so_far: String = all[..(1 + number * 4).min(all.len())].concat();
        written = single.len() + so_far.len();
        if so_far.len() <= first.len() {
            s3.put("logs/eventlog_v2_rolling/events_1_rolling", so_far.as_bytes());
        } else {
            s3.put("logs/eventlog_v2_rolling/events_1_rolling", first.as_bytes());
            s3.put(
                "logs/eventlog_v2_rolling/events_2_rolling",
                &so_far.as_bytes()[first.len()..],
            );
        }
        let lines_there = (single.lines().count() + so_far.lines().count()).to_string();
        let started = Instant::now();
        let seen = "select sum(lines) from system.event_logs where format is not null";
        session.answers_within(VISIBLE_WITHIN, seen, &[&lines_there]).await;
        waited.push(started.elapsed());
    }
    assert!(second.len() > 1000, "the second file was used");
    waited.sort();
    let usual = waited[waited.len() / 2];
    assert!(usual <= SCAN_INTERVAL + Duration::from_secs(1), "seen after {usual:?}");
    let fetched = session.rows("select fetched_bytes from system.sources").await;
    let fetched: usize = fetched[0].parse().expect("a number");
    assert!(
        fetched >= written && fetched * 10 <= written * 11,
        "{fetched} bytes read of {written} written"
    );

    // The final name changes nothing, and nothing is read again.
    let data = s3.bucket("logs");
    fs::rename(data.join("growing.inprogress"), data.join("growing")).expect("the same directory");
    let ended = "select path like '%/growing', status from system.event_logs where path like '%growing%'";
    session.answers_within(VISIBLE_WITHIN, ended, &["t|complete"]).await;
    let after = session.rows("select fetched_bytes from system.sources").await;
    assert_eq!(after, [fetched.to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_growing_log_that_cannot_be_read_for_a_while_goes_on_where_it_was_left() {
    let s3 = S3::start();
    let text = log_of("growing");
    let half = text.match_indices('\n').nth(11).expect("more lines").0 + 1;
    s3.put("logs/growing.inprogress", &text.as_bytes()[..half]);
    let proxy = Proxy::before(&s3, "");
    let server = serve(&["s3://logs/logs"], &s3.config(proxy.port, &S3::keys()));
    let session = Session::open(&server).await;
    let lines = "select lines from system.event_logs";
    session.answers_within(VISIBLE_WITHIN, lines, &["12"]).await;

    // The listing is answered, the log is not.
    proxy.rules("* ^GET./logs/logs/growing status 503\n");
    s3.put("logs/growing.inprogress", text.as_bytes());
    let fails = "select lines, error like '%503%' from system.event_logs";
    session.answers_within(Duration::from_secs(60), fails, &["12|t"]).await;
    assert_eq!(session.rows("select count(*) from applications").await, ["1"]);
    proxy.rules("");
    let all = text.lines().count().to_string();
    session.answers_within(BACK_WITHIN, lines, &[&all]).await;
    let fetched = session.rows("select fetched_bytes from system.sources").await;
    let fetched: usize = fetched[0].parse().expect("a number");
    assert!(
        fetched * 10 <= text.len() * 11,
        "{fetched} bytes read of {}",
        text.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_goes_away_is_said_to_be_away_and_hides_nothing() {
    let mut s3 = S3::start();
    s3.put("logs/remote", log_of("remote").as_bytes());
    let local = tempfile::tempdir().expect("a temporary directory");
    fs::write(local.path().join("local-1"), log_of("local-1")).expect("room");
    let local_source = local.path().to_str().expect("UTF-8");
    let config = s3.config(s3.port, &S3::keys());
    let server = serve(&["s3://logs/logs", local_source], &config);
    let session = Session::open(&server).await;
    let states = "select state, stale, logs from system.sources order by source like 's3%'";
    session
        .answers_within(VISIBLE_WITHIN, states, &["ok|f|1", "ok|f|1"])
        .await;
    let tasks = "select app_id, count(*) from tasks group by app_id order by app_id";
    assert_eq!(session.rows(tasks).await, ["local-1|4", "remote|4"]);

    s3.stop();
    session
        .answers_within(BACK_WITHIN, states, &["ok|f|1", "unreachable|t|1"])
        .await;
    // What was read is served, new logs elsewhere are seen, and health names the source.
    fs::write(local.path().join("local-2"), log_of("local-2")).expect("room");
    session
        .answers_within(VISIBLE_WITHIN, tasks, &["local-1|4", "local-2|4", "remote|4"])
        .await;
    let mut client = Client::open(server.http);
    let ready = client.get("/health/ready");
    assert_eq!(ready.status(), 200);
    assert_eq!(ready.json()["stale_sources"], serde_json::json!(["s3://logs/logs"]));
    let why = session.rows("select error from system.sources where stale").await;
    assert!(why[0].contains("refuses connections"), "{why:?}");

    // Nor does it keep a gateway from starting.
    let started = Instant::now();
    let second = serve(&["s3://logs/logs", local_source], &config);
    let other = Session::open(&second).await;
    assert_eq!(other.rows(tasks).await, ["local-1|4", "local-2|4"]);
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());

    s3.go();
    s3.put("logs/new", log_of("new").as_bytes());
    let all = ["local-1|4", "local-2|4", "new|4", "remote|4"];
    for session in [&session, &other] {
        session.answers_within(BACK_WITHIN, tasks, &all).await;
        session
            .answers_within(VISIBLE_WITHIN, states, &["ok|f|2", "ok|f|2"])
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_hangs_keeps_nobody_waiting() {
    let s3 = S3::start();
    s3.put("logs/remote", log_of("remote").as_bytes());
    let local = tempfile::tempdir().expect("a temporary directory");
    let config = s3.config(s3.port, &S3::keys());
    let impatient = fs::read_to_string(&config)
        .expect("it was written")
        .replace("[storage]\n", "[storage]\nrequest_timeout = \"3s\"\n");
    fs::write(&config, impatient).expect("room");
    let server = serve(&["s3://logs/logs", local.path().to_str().expect("UTF-8")], &config);
    let session = Session::open(&server).await;
    let tasks = "select app_id, count(*) from tasks group by app_id order by app_id";
    session.answers_within(VISIBLE_WITHIN, tasks, &["remote|4"]).await;

    let pid = fs::read_to_string(s3.dir.path().join("pid")).expect("the rig writes it");
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().expect("a number")).expect("no zero");
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("it is ours");
    for number in 1..4 {
        let app_id = format!("local-{number}");
        fs::write(local.path().join(&app_id), log_of(&app_id)).expect("room");
        let there = format!("select count(*) from tasks where app_id = '{app_id}'");
        let started = Instant::now();
        session.answers_within(VISIBLE_WITHIN, &there, &["4"]).await;
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{app_id} after {:?}",
            started.elapsed()
        );
    }
    let state = "select state, stale from system.sources where source like 's3%'";
    session
        .answers_within(Duration::from_secs(40), state, &["unreachable|t"])
        .await;
    assert_eq!(
        session.rows("select count(*) from tasks where app_id = 'remote'").await,
        ["4"]
    );
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).expect("it is ours");
    session.answers_within(BACK_WITHIN, state, &["ok|f"]).await;
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let s3 = S3::start();
    s3.put("logs/one", log_of("one").as_bytes());
    let with = |keys: &str| s3.config(s3.port, keys);
    let wrong_key = "access_key_id = \"nobody\"\nsecret_access_key = \"whatever\"\n";
    let wrong_secret = format!("access_key_id = \"{KEY}\"\nsecret_access_key = \"hush-hush\"\n");
    let good = with(&S3::keys());
    let nobody = s3.config(free_port(), &S3::keys());
    for (source, config, code, expected) in [
        ("s3://logs/logs", &with(wrong_key), 2, "[s3] access_key_id"),
        ("s3://logs/logs", &with(&wrong_secret), 2, "[s3] secret_access_key"),
        ("s3://no-such-bucket/logs", &good, 2, "no bucket no-such-bucket"),
        ("s3://logs/no/such/prefix", &good, 2, "does not exist"),
        ("s3://logs/logs", &nobody, 1, "refuses connections"),
    ] {
        let ended = ask(source, config);
        assert_eq!(ended.status.code(), Some(code), "{source}: {}", ended.stderr);
        assert!(ended.stderr.contains(expected), "{source}: {}", ended.stderr);
        assert!(ended.stderr.lines().count() == 1, "{}", ended.stderr);
        for secret in [SECRET, "hush-hush", "whatever"] {
            assert!(!ended.stderr.contains(secret), "{}", ended.stderr);
        }
    }
    let one = ask("s3://logs/logs/one", &good);
    assert!(one.status.success() && one.stdout.contains('1'), "{}", one.stderr);
}

#[test]
fn a_private_authority_has_to_be_named() {
    let mut s3 = S3::new();
    let write = |name: &str, text: &str| {
        let path = s3.dir.path().join(name);
        fs::write(&path, text).expect("room");
        path.to_str().expect("UTF-8").to_owned()
    };
    let authority_key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = write(
        "ca.pem",
        &params.self_signed(&authority_key).expect("a certificate").pem(),
    );
    let authority = Issuer::new(params, authority_key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &authority).expect("a certificate");
    let (certificate, key) = (
        write("server.pem", &certificate.pem()),
        write("server.key", &key.serialize_pem()),
    );
    s3.go_with(&[&certificate, &key]);
    s3.put("logs/one", log_of("one").as_bytes());
    let ask_with = |name: &str, endpoint: &str, ca: &str| {
        let config = format!(
            "[storage]\nca_file = \"{ca}\"\n[s3]\nendpoint = \"{endpoint}:{}\"\n{}",
            s3.port,
            S3::keys()
        );
        let path = s3.dir.path().join(name);
        fs::write(&path, config).expect("room");
        ask("s3://logs/logs", path.to_str().expect("UTF-8"))
    };
    let unknown = ask_with("unknown.toml", "https://127.0.0.1", "");
    assert_eq!(unknown.status.code(), Some(2), "{}", unknown.stderr);
    assert!(unknown.stderr.contains("[storage] ca_file"), "{}", unknown.stderr);
    let known = ask_with("known.toml", "https://127.0.0.1", &ca);
    assert!(known.status.success(), "{}", known.stderr);
    let plain = ask_with("plain.toml", "http://127.0.0.1", &ca);
    assert_eq!(plain.status.code(), Some(2), "{}", plain.stderr);
    assert!(plain.stderr.contains("[s3] allow_http"), "{}", plain.stderr);
}

/// Ten pages of a thousand entries, and one page with all files of the rolling logs.
const PAGES: usize = 11;
const SINGLE: usize = 9_900;
const ROLLING: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn logs_that_do_not_change_cost_the_listing_alone() {
    let s3 = S3::start();
    let logs = s3.bucket("logs");
    let text = log_of("local-good");
    let short = |app_id: &str| -> String {
        let lines = text.lines().filter(|line| {
            ["LogStart", "ApplicationStart", "ApplicationEnd"]
                .iter()
                .any(|event| line.starts_with(&format!("{{\"Event\":\"SparkListener{event}\"")))
        });
        let mut short = String::new();
        for line in lines {
            writeln!(short, "{}", line.replace("local-good", app_id)).expect("a text");
        }
        short
    };
    for number in 0..SINGLE {
        let app_id = format!("app-{number}");
        fs::write(logs.join(&app_id), short(&app_id)).expect("room");
    }
    for number in 0..ROLLING {
        let app_id = format!("rolling-{number}");
        let dir = logs.join(format!("eventlog_v2_{app_id}"));
        fs::create_dir(&dir).expect("a new directory");
        fs::write(dir.join(format!("appstatus_{app_id}")), "").expect("room");
        fs::write(dir.join(format!("events_1_{app_id}")), short(&app_id)).expect("room");
    }
    let proxy = Proxy::before(&s3, "");
    let server = serve(&["s3://logs/logs"], &s3.config(proxy.port, &S3::keys()));
    let session = Session::open(&server).await;
    let count = (SINGLE + ROLLING).to_string();
    let listed = "select count(*) from applications";
    session
        .answers_within(Duration::from_secs(120), listed, &[&count])
        .await;

    // Between two scans that read nothing; the one that read everything is behind us.
    let idle = "select list_requests, head_requests, get_requests, fetched_bytes, source_requests from system.scans \
                where new_logs = 0 order by start_time";
    let started = Instant::now();
    while session.rows(idle).await.len() < 3 {
        assert!(
            started.elapsed() < Duration::from_secs(120),
            "{:?}",
            session.rows(idle).await
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let before = proxy.requests().len();
    let scans = session.rows(idle).await;
    let expected = format!("{PAGES}|0|0|0|");
    assert!(scans[1..].iter().all(|scan| scan.starts_with(&expected)), "{scans:?}");
    assert!(scans[1].contains("s3://logs/logs"), "{scans:?}");
    // What the server saw says the same: nothing but pages of listings.
    let requests = proxy.requests();
    let idle_requests = &requests[before - PAGES..];
    let others: Vec<&String> = idle_requests
        .iter()
        .filter(|line| !line.contains("list-type=2"))
        .collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn the_properties_of_a_history_server_on_s3_are_enough() {
    let s3 = S3::start();
    s3.put("history/one", log_of("one").as_bytes());
    let port = free_port();
    let home = tempfile::tempdir().expect("a temporary directory");
    let file = home.path().join("spark-defaults.conf");
    let text = format!(
        "# a history server\nspark.history.fs.logDirectory        s3a://logs/history\nspark.history.ui.port {port}\n\
         spark.history.fs.update.interval=1s\nspark.history.retainedApplications 10\n\
         spark.hadoop.fs.s3a.endpoint 127.0.0.1:{}\nspark.hadoop.fs.s3a.connection.ssl.enabled: false\n\
         spark.hadoop.fs.s3a.path.style.access true\nspark.hadoop.fs.s3a.access.key {KEY}\n\
         spark.hadoop.fs.s3a.aws.credentials.provider org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider\n",
        s3.port
    );
    fs::write(&file, text).expect("room");
    let mut gateway = program(home.path())
        .args(["serve", "--pg", "off", "--flight", "off", "--properties-file"])
        .arg(&file)
        .env(
            "SPARK_HISTORY_OPTS",
            format!("-Xmx1g \"-Dspark.hadoop.fs.s3a.secret.key={SECRET}\""),
        )
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    let stdout = gateway.stdout.take().expect("it is piped");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    assert_eq!(line.trim(), format!("ready http=127.0.0.1:{port}"));
    let mut client = Client::open(([127, 0, 0, 1], port).into());
    client.rest_within(VISIBLE_WITHIN, "applications/one/jobs", |answer| {
        answer.status() == 200 && answer.json()[0]["numTasks"] == 4
    });
    gateway.kill().expect("it is ours");
    let output = gateway.wait_with_output().expect("it is ours");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("spark.history.retainedApplications"), "{said}");
    assert!(!said.contains(SECRET) && !said.contains("access.key"), "{said}");
}
