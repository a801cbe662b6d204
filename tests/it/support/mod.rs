//! Starts the program as a user would, and finds what tests read. Nothing here knows tables or REST.

/// A column cache, and all rows over it.
pub(crate) mod columns;
/// A server in this process with storage that waits.
pub(crate) mod gated;
/// HDFS: real clusters, shared by the tests of one kind.
pub(crate) mod hdfs;
/// The HTTP door: a small client.
pub(crate) mod http;
/// The PostgreSQL door as clients see it: tokio-postgres and psql.
pub(crate) mod pg;
/// The HTTP door byte by byte: any method, any target, raw requests.
pub(crate) mod wire;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

/// How long a server may take to print its `ready` line: debug build, loaded machine.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// `tests/fixtures`.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Development material that lies beside the checkout (or beside the folder of its work trees) and is not part of it.
pub(crate) fn shared() -> Option<PathBuf> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    ["../shared", "../../shared"]
        .iter()
        .map(|path| checkout.join(path))
        .find(|path| path.join("spark-logs").is_dir())
}

/// A line that is seen although the test harness captures output of tests that pass.
pub(crate) fn say(text: &str) {
    // Nothing to do about a closed standard error.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// What the program printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    pub(crate) fn of(output: Output) -> Finished {
        Finished {
            status: output.status,
            stdout: String::from_utf8(output.stdout).expect("standard output is UTF-8"),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Standard output as rows, one JSON object a line; fails unless the program ended with 0.
    pub(crate) fn rows(&self) -> Vec<Map<String, Value>> {
        assert!(
            self.status.success(),
            "sparkgate ended with {}: {}",
            self.status,
            self.stderr
        );
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("not a row: {e}: {line}"));
        self.stdout.lines().map(parse).collect()
    }
}

/// Runs `sparkgate ARGS` to its end, with a cache of its own.
pub(crate) fn sparkgate<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Finished {
    let cache = tempfile::tempdir().expect("a temporary directory");
    let output = program(cache.path())
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    Finished::of(output)
}

/// Rows of one query over a directory of logs.
pub(crate) fn query(logs: &Path, sql: &str) -> Vec<Map<String, Value>> {
    sparkgate([
        OsStr::new("sql"),
        logs.as_os_str(),
        "--format".as_ref(),
        "ndjson".as_ref(),
        "-c".as_ref(),
        sql.as_ref(),
    ])
    .rows()
}

/// What `check DIR --format ndjson` says, by file name.
pub(crate) fn check(logs: &Path) -> std::collections::BTreeMap<String, Map<String, Value>> {
    let rows = sparkgate([
        OsStr::new("check"),
        logs.as_os_str(),
        "--format".as_ref(),
        "ndjson".as_ref(),
    ])
    .rows();
    let name = |row: &Map<String, Value>| {
        let path = text(row, "path");
        path.trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    rows.into_iter().map(|row| (name(&row), row)).collect()
}

/// A field as text; `""` where it is null or missing.
pub(crate) fn text<'a>(row: &'a Map<String, Value>, field: &str) -> &'a str {
    row.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Copies a directory of logs (two levels), leaving out what `leave_out` names.
pub(crate) fn copy_logs(from: &Path, to: &Path, leave_out: &[&str]) {
    std::fs::create_dir_all(to).expect("the target can be made");
    for entry in std::fs::read_dir(from)
        .expect("the logs are there")
        .map(|entry| entry.expect("a readable entry"))
    {
        if leave_out.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_logs(&entry.path(), &target, &[]);
        } else {
            let bytes = std::fs::read(entry.path()).expect("a readable log");
            std::fs::write(target, bytes).expect("room for a copy");
        }
    }
}

/// A running `sparkgate serve`, stopped when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) pg: SocketAddr,
    pub(crate) flight: SocketAddr,
    pub(crate) http: SocketAddr,
    cache: tempfile::TempDir,
}

/// Where a server's standard error goes, in its own cache.
const STDERR: &str = "stderr.txt";

impl Server {
    /// Serves a directory on free ports; returns once all logs are read. (`ready` is printed earlier where reading takes long.)
    pub(crate) fn start(logs: &Path) -> Server {
        Server::start_with(logs, &[])
    }

    /// [`Server::start`] with more options.
    pub(crate) fn start_with(logs: &Path, options: &[&str]) -> Server {
        Server::start_in(logs, options, &[])
    }

    /// [`Server::start_with`] in an environment of its own.
    pub(crate) fn start_in(logs: &Path, options: &[&str], environment: &[(&str, &OsStr)]) -> Server {
        let cache = tempfile::tempdir().expect("a temporary directory");
        let stderr = std::fs::File::create(cache.path().join(STDERR)).expect("a file in a new directory");
        let mut child = program(cache.path())
            .args([OsStr::new("serve"), logs.as_os_str()])
            .args([
                "--pg",
                "127.0.0.1:0",
                "--flight",
                "127.0.0.1:0",
                "--http",
                "127.0.0.1:0",
            ])
            .args(options)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().expect("standard output is piped");
        let (send, receive) = std::sync::mpsc::channel();
        // Reads on after the line, so that the server never blocks on a full pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let doors = ["pg", "flight", "http"].map(|door| ready_address(&line, door));
                if let [Some(pg), Some(flight), Some(http)] = doors {
                    let _ = send.send([pg, flight, http]);
                }
            }
        });
        match receive.recv_timeout(READY_WITHIN) {
            Ok([pg, flight, http]) => {
                let server = Server {
                    child,
                    pg,
                    flight,
                    http,
                    cache,
                };
                server.until_all_is_read();
                server
            }
            Err(_) => {
                let _ = child.kill();
                let status = child.wait();
                panic!(
                    "serve printed no line `ready pg=… flight=… http=…` within {READY_WITHIN:?} (ended: {status:?})"
                );
            }
        }
    }

    fn until_all_is_read(&self) {
        let is_ready = || -> std::io::Result<bool> {
            let mut stream = TcpStream::connect(self.http)?;
            stream.write_all(b"GET /health/ready HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer.starts_with("HTTP/1.1 200"))
        };
        let deadline = Instant::now() + READY_WITHIN;
        while !is_ready().expect("the door is open") {
            assert!(
                Instant::now() < deadline,
                "not all logs are read within {READY_WITHIN:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it wrote to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(self.cache.path().join(STDERR)).expect("the file of standard error")
    }

    /// Resident memory now, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the server runs, on Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kilobytes.expect("the size in kB") * 1024
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU time that it used so far.
    pub(crate) fn cpu_time(&self) -> Duration {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(path).expect("the server runs, on Linux");
        // Behind the name, which may have spaces, come the state and then numbers; user and system time are the 14th and 15th of all.
        let (_, numbers) = stat.rsplit_once(')').expect("a name in brackets");
        let ticks = numbers.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
        // A tick that programs see is a hundredth of a second on Linux, whatever the kernel counts in.
        Duration::from_millis(ticks * 10)
    }

    /// Asks the server to stop, as a service manager would.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the server is ours");
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("the server is our child") {
                return status;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server did not stop within 20 seconds of SIGTERM");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone after `stop`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address of one door in `ready pg=127.0.0.1:5433 flight=…`.
fn ready_address(line: &str, door: &str) -> Option<SocketAddr> {
    let doors = line.strip_prefix("ready ")?;
    doors
        .split_whitespace()
        .find_map(|pair| pair.strip_prefix(door)?.strip_prefix('=')?.parse().ok())
}

/// The binary under test, without this machine's configuration. `TEST_PROGRAM` names another build of it, such as a fast one.
pub(crate) fn program(cache: &Path) -> Command {
    let built = || env!("CARGO_BIN_EXE_sparkgate").into();
    let mut command = Command::new(std::env::var_os("TEST_PROGRAM").unwrap_or_else(built));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SPARK") {
            command.env_remove(name);
        }
    }
    command.env("XDG_CACHE_HOME", cache).current_dir(cache);
    command
}

#[test]
fn the_ready_line_names_each_open_door() {
    let line = "ready pg=127.0.0.1:5433 http=127.0.0.1:18080";
    assert_eq!(ready_address(line, "pg"), "127.0.0.1:5433".parse().ok());
    assert_eq!(ready_address(line, "http"), "127.0.0.1:18080".parse().ok());
    assert_eq!(ready_address(line, "flight"), None);
    assert_eq!(ready_address("scan 1: 3 logs pg=1.2.3.4:5", "pg"), None);
}
