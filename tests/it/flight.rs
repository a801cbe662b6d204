//! The Flight SQL door with the clients people have: ADBC's driver, pyarrow, pandas and polars (`tests/clients/flight/check.py`), and Arrow's JDBC
//! driver (`tests/clients/flight/Check.java`). `tests/rigs/flight.sh` installs them. What a check expects stands in it; here is what the server
//! must be like for it.
//!
//! The same statements through every door (`tests/slt`) belong beside these once they are there.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::security::{ALL_LOG_IN, Setup, TLS};
use crate::support::{Server, fixtures};

/// Where the clients are, and our compiled checks for JDBC.
struct Clients {
    home: PathBuf,
    classes: tempfile::TempDir,
}

fn clients() -> &'static Clients {
    static CLIENTS: OnceLock<Clients> = OnceLock::new();
    CLIENTS.get_or_init(|| {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
        let rig = checkout.join("tests/rigs/flight.sh");
        let installed = Command::new("bash").arg(&rig).output().expect("bash is installed");
        let error = String::from_utf8_lossy(&installed.stderr);
        assert!(installed.status.success(), "{}: {error}", rig.display());
        let home = String::from_utf8(installed.stdout).expect("a path in UTF-8");
        let classes = tempfile::tempdir().expect("a temporary directory");
        let compiled = Command::new("javac")
            .arg("-d")
            .arg(classes.path())
            .arg(checkout.join("tests/clients/flight/Check.java"))
            .output()
            .expect("javac is installed (package default-jdk-headless)");
        let error = String::from_utf8_lossy(&compiled.stderr);
        assert!(compiled.status.success(), "{error}");
        Clients {
            home: home.trim().into(),
            classes,
        }
    })
}

/// A client without settings of this machine, a proxy's above all.
fn without_proxies(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().to_ascii_lowercase().ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command
}

fn python(name: &str, server: &Server, pairs: &[(&str, &str)]) -> Command {
    let mut command = without_proxies(Command::new(clients().home.join("venv/bin/python")));
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/flight/check.py"))
        .arg(name)
        // The name that certificates of tests have.
        .arg(format!("localhost:{}", server.flight.port()))
        .args(pairs.iter().map(|(key, value)| format!("{key}={value}")));
    command
}

fn java(names: &str, server: &Server, pairs: &[(&str, &str)]) -> Command {
    let Clients { home, classes } = clients();
    let mut command = without_proxies(Command::new("java"));
    let path = format!(
        "{}:{}",
        home.join("flight-sql-jdbc-driver.jar").display(),
        classes.path().display()
    );
    command
        // Without it the driver hangs.
        .arg("--add-opens=java.base/java.nio=ALL-UNNAMED")
        .args(["-Duser.timezone=UTC", "-cp", &path, "Check", names])
        .arg(format!("jdbc:arrow-flight-sql://localhost:{}", server.flight.port()))
        .args(pairs.iter().map(|(key, value)| format!("{key}={value}")));
    command
}

fn is_ok(mut command: Command) {
    let output = command.stdin(Stdio::null()).output().expect("the client starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    let is_ok = output.status.success() && printed.lines().last() == Some("ok");
    assert!(is_ok, "{command:?}:\n{printed}{error}");
}

fn serve() -> Server {
    Server::start(&fixtures().join("logs"))
}

#[test]
fn adbc_and_pyarrow_get_what_there_is() {
    let server = serve();
    for check in [
        "statements",
        "parameters",
        "objects",
        "errors",
        "cancel",
        "session",
        "frames",
        "keys",
        "traffic",
    ] {
        is_ok(python(check, &server, &[]));
    }
    is_ok(python("many", &server, &[("clients", "50")]));
}

#[test]
fn jdbc_gets_what_there_is() {
    let server = serve();
    is_ok(java(
        "metadata,statements,parameters,times",
        &server,
        &[("useEncryption", "false")],
    ));
}

#[test]
fn log_ins_by_password_token_and_certificate_are_those_of_the_other_doors() {
    let setup = Setup::with_users();
    let authority = setup.certificate();
    setup.signed(&authority, "alice", "alice");
    let token = setup.token(&["alice", "--label", "flight"]);
    let ca = setup.path("ca.pem");
    let server = setup.start(&format!("{ALL_LOG_IN}{TLS}"));
    let alice = [("user", "alice"), ("password", "wonderland")];
    let with_token = [&alice[..], &[("token", token.as_str())]].concat();
    is_ok(python("log_in", &server, &with_token));
    is_ok(python(
        "log_in",
        &server,
        &[&with_token[..], &[("tls", ca.as_str())]].concat(),
    ));
    let plain = [("useEncryption", "false")];
    is_ok(java("user", &server, &[&alice[..], &plain].concat()));
    let encrypted = [
        ("useEncryption", "true"),
        ("useSystemTrustStore", "false"),
        ("tlsRootCerts", &ca),
    ];
    is_ok(java("user", &server, &[&alice[..], &encrypted].concat()));
    let wrong = [("user", "alice"), ("password", "wrong"), ("useEncryption", "false")];
    is_ok(java("refused", &server, &wrong));

    let rules = "[auth]\nrules = [\"hostssl all all all cert\"]\nusers_file = \"users\"\n";
    let certificates = format!("{rules}{TLS}client_ca = \"ca.pem\"\nrequire_tls = true\n");
    let server = setup.start(&certificates);
    let (cert, key) = (setup.path("alice.pem"), setup.path("alice.key"));
    let pairs = [("tls", ca.as_str()), ("cert", &cert), ("key", &key), ("user", "alice")];
    is_ok(python("certificate", &server, &pairs));
    is_ok(python("refused_in_clear", &server, &[]));
}

#[test]
fn tickets_tokens_and_cancels_by_hand() {
    let setup = Setup::with_users();
    let logs = fixtures().join("logs");
    let config = setup.path("sparkgate.toml");
    let users = setup.path("users");
    let start = |more: &str| {
        let text = format!("{ALL_LOG_IN}[flight]\n{more}\n").replace("\"users\"", &format!("{users:?}"));
        std::fs::write(&config, text).expect("room in a temporary directory");
        Server::start_with(&logs, &["--config", &config])
    };
    let server = start("");
    is_ok(python(
        "by_hand",
        &server,
        &[("user", "alice"), ("password", "wonderland")],
    ));
    // A token ends with the password it was given for.
    let mut client = python(
        "token_only",
        &server,
        &[("user", "bob"), ("password", "builder's password")],
    )
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .spawn()
    .expect("the client starts");
    let mut lines = BufReader::new(client.stdout.take().expect("it is piped")).lines();
    let line = |line: Option<std::io::Result<String>>| line.map(|line| line.expect("UTF-8"));
    assert_eq!(line(lines.next()).as_deref(), Some("logged in"));
    setup.add(&["bob"], "another password");
    writeln!(client.stdin.take().expect("it is piped"), "go on").expect("the client reads");
    assert_eq!(line(lines.next()).as_deref(), Some("ok"));
    assert!(client.wait().expect("the client ends").success());
    drop(server);
    let server = start("token_lifetime = \"2s\"\nticket_lifetime = \"2s\"");
    is_ok(python("expired", &server, &[("wait", "2.5")]));
}

#[test]
fn a_client_that_vanishes_leaves_nothing_behind() {
    let server = serve();
    is_ok(python("errors", &server, &[]));
    let before = server.memory();
    for end in ["vanish", "leave"] {
        let mut client = python("slow", &server, &[])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the client starts");
        let mut line = String::new();
        let mut printed = BufReader::new(client.stdout.take().expect("it is piped"));
        printed.read_line(&mut line).expect("UTF-8");
        assert_eq!(line.trim(), "reading");
        // It reads no more: the statement waits for it, and memory does not grow.
        std::thread::sleep(Duration::from_secs(2));
        let grown = server.memory().saturating_sub(before);
        assert!(
            grown < 300 << 20,
            "{} MB more for a client that does not read",
            grown >> 20
        );
        writeln!(client.stdin.take().expect("it is piped"), "{end}").expect("the client reads");
        client.wait().expect("the client ends");
    }
    let since = Instant::now();
    is_ok(python("errors", &server, &[]));
    assert!(since.elapsed() < Duration::from_secs(30));
}
