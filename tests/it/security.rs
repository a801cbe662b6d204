//! Who comes in and who does not, as psql, curl and raw sockets see it: passwords, tokens, certificates, TLS, limits and time-outs.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::pg::code;
use crate::support::{Finished, Server, program};

/// Everybody has to log in, on this machine too.
pub(crate) const ALL_LOG_IN: &str = "[auth]\nrules = [\"host all all all scram-sha-256\"]\nusers_file = \"users\"\n";
pub(crate) const TLS: &str = "[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n";

/// A directory with what a server is configured by, and without logs.
pub(crate) struct Setup {
    pub(crate) dir: tempfile::TempDir,
}

impl Setup {
    fn new() -> Setup {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(dir.path().join("logs")).expect("a new directory");
        Setup { dir }
    }

    /// alice is an admin, bob a reader, carol has no password.
    pub(crate) fn with_users() -> Setup {
        let setup = Setup::new();
        setup.add(&["alice", "--role", "admin"], "wonderland");
        setup.add(&["bob"], "builder's password");
        setup.add(&["carol", "--no-password"], "");
        setup
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        let path = PathBuf::from(self.path(name));
        fs::write(&path, text).expect("room in a temporary directory");
        // psql refuses keys that others can read.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(path, mode).expect("the file is ours");
    }

    /// `sparkgate user …`, with a password on standard input.
    fn user(&self, args: &[&str], password: &str) -> Finished {
        let mut child = program(self.dir.path())
            .arg("user")
            .args(args)
            .args(["--users-file", &self.path("users")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdin = child.stdin.take().expect("standard input is piped");
        // It may have ended without asking.
        let _ = writeln!(stdin, "{password}");
        drop(stdin);
        finished(&child.wait_with_output().expect("the program ends"))
    }

    pub(crate) fn add(&self, args: &[&str], password: &str) {
        let done = self.user(&[&["add"], args].concat(), password);
        assert!(done.status.success(), "{}", done.stderr);
    }

    pub(crate) fn token(&self, args: &[&str]) -> String {
        let done = self.user(&[&["token"], args].concat(), "");
        assert!(done.status.success(), "{}", done.stderr);
        done.stdout.trim().to_owned()
    }

    /// File names in the configuration are of this directory.
    pub(crate) fn start(&self, config: &str) -> Server {
        let here = format!("\"{}/", self.dir.path().display());
        let mut text = config.to_owned();
        for name in ["users", "server.pem", "server.key", "ca.pem"] {
            text = text.replace(&format!("\"{name}\""), &format!("{here}{name}\""));
        }
        self.write("sparkgate.toml", &text);
        Server::start_with(
            &self.dir.path().join("logs"),
            &["--config", &self.path("sparkgate.toml")],
        )
    }

    /// A server's certificate of a new authority, which is `ca.pem`; the authority.
    pub(crate) fn certificate(&self) -> Issuer<'static, KeyPair> {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority");
        self.write("ca.pem", &params.self_signed(&key).expect("a certificate").pem());
        let authority = Issuer::new(params, key);
        self.signed(&authority, "server", "the gateway");
        authority
    }

    /// `NAME.pem` and `NAME.key`, for a common name.
    pub(crate) fn signed(&self, authority: &Issuer<'static, KeyPair>, name: &str, common_name: &str) {
        let key = KeyPair::generate().expect("a key");
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, common_name);
        let certificate = params.signed_by(&key, authority).expect("a certificate");
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    fn curl(&self, args: &[&str]) -> Curled {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--include", "--max-time", "60"])
            .args(args)
            .current_dir(self.dir.path())
            .output()
            .expect("curl is installed (package curl)");
        let done = finished(&output);
        let status = done.stdout.split(' ').nth(1).and_then(|code| code.parse().ok());
        Curled {
            status: status.unwrap_or(0),
            text: format!("{}{}", done.stdout, done.stderr),
        }
    }
}

/// What curl got: status 0 is no answer.
#[derive(Debug)]
struct Curled {
    status: u16,
    text: String,
}

fn finished(output: &std::process::Output) -> Finished {
    Finished {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn psql_command(server: &Server, options: &str, password: &str) -> Command {
    let mut command = Command::new("psql");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    let options = format!("host=127.0.0.1 port={} dbname=spark {options}", server.pg.port());
    command.env("PGPASSWORD", password).env("LC_ALL", "C.UTF-8").args([
        "--no-psqlrc",
        "--no-password",
        "-At",
        "-d",
        &options,
    ]);
    command
}

/// What `SELECT current_user` gives, or what psql says.
fn psql(server: &Server, options: &str, password: &str) -> Result<String, String> {
    let output = psql_command(server, options, password)
        .args(["-c", "select current_user"])
        .stdin(Stdio::null())
        .output()
        .expect("psql is installed (package postgresql-client)");
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// A psql that is asked one thing after another.
struct Conversation {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Conversation {
    fn begin(server: &Server, options: &str, password: &str) -> Conversation {
        let mut child = psql_command(server, options, password)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("psql is installed (package postgresql-client)");
        let stdin = child.stdin.take().expect("standard input is piped");
        let stdout = BufReader::new(child.stdout.take().expect("standard output is piped"));
        Conversation { child, stdin, stdout }
    }

    fn ask(&mut self, sql: &str) -> String {
        writeln!(self.stdin, "{sql};").expect("psql reads");
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("psql answers");
        line.trim().to_owned()
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // Already gone where the server ended it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The SQLSTATE of a connection that is refused, or `success`.
async fn connect_code(server: &Server, options: &str) -> String {
    let config = format!("host=127.0.0.1 port={} {options}", server.pg.port());
    match tokio_postgres::connect(&config, tokio_postgres::NoTls).await {
        Ok(_) => "success".to_owned(),
        Err(error) => code(&error),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_logs_in_with_a_password_and_only_with_the_right_one() {
    let setup = Setup::with_users();
    let server = setup.start(ALL_LOG_IN);
    assert_eq!(psql(&server, "user=alice", "wonderland").as_deref(), Ok("alice"));
    assert_eq!(psql(&server, "user=bob", "builder's password").as_deref(), Ok("bob"));
    for (user, password) in [("alice", "underland"), ("nobody", "wonderland"), ("carol", "")] {
        let password = if password.is_empty() { "x" } else { password };
        let error = psql(&server, &format!("user={user}"), password).unwrap_err();
        let expected = format!("FATAL:  password authentication failed for user \"{user}\"");
        assert!(error.contains(&expected), "{error}");
    }
    assert_eq!(
        connect_code(&server, "user=alice dbname=spark password=x").await,
        "28P01"
    );
    assert_eq!(
        connect_code(&server, "user=nobody dbname=spark password=x").await,
        "28P01"
    );
    // Only who is let in learns which databases there are.
    assert_eq!(connect_code(&server, "user=bob dbname=other password=x").await, "28P01");
    let right = "user=alice password=wonderland";
    assert_eq!(connect_code(&server, &format!("{right} dbname=other")).await, "3D000");
    assert_eq!(connect_code(&server, &format!("{right} dbname=spark")).await, "success");
    assert!(
        psql(&server, "user=alice", "")
            .unwrap_err()
            .contains("no password supplied")
    );

    let log = server.stderr();
    assert!(
        log.contains("log-in failed") && log.contains("user=\"nobody\""),
        "{log}"
    );
    assert!(log.contains("address=127.0.0.1") && !log.contains("underland"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_who_are_added_changed_and_removed_count_at_once() {
    let setup = Setup::with_users();
    let server = setup.start(ALL_LOG_IN);
    setup.add(&["dora"], "explorer");
    assert_eq!(psql(&server, "user=dora", "explorer").as_deref(), Ok("dora"));
    setup.add(&["dora"], "another");
    assert!(psql(&server, "user=dora", "explorer").is_err());
    assert!(setup.user(&["remove", "dora"], "").status.success());
    assert!(psql(&server, "user=dora", "another").is_err());
    // A file with a mistake is not taken, and said to be so.
    let users = fs::read_to_string(setup.path("users")).expect("the file of users");
    setup.write("users", &format!("{users}user eve admin secret-in-clear\n"));
    assert_eq!(psql(&server, "user=alice", "wonderland").as_deref(), Ok("alice"));
    let log = server.stderr();
    let line = users.lines().count() + 1;
    assert!(log.contains(&format!("users: line {line}: ")), "{log}");
    assert!(!log.contains("secret-in-clear"));
}

#[test]
fn users_are_made_listed_and_removed_on_the_command_line() {
    let setup = Setup::with_users();
    let token = setup.token(&["bob", "--label", "ci", "--expires", "30d"]);
    let text = fs::read_to_string(setup.path("users")).expect("the file of users");
    assert!(!text.contains("wonderland") && !text.contains(&token) && text.contains("SCRAM-SHA-256$4096:"));
    let listed = setup.user(&["list"], "").stdout;
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines[..2], ["alice  admin  password", "bob  reader  password"]);
    assert!(lines[2].starts_with("bob  token ci  expires 20"), "{listed}");
    assert_eq!(lines[3..], ["carol  reader  no password"]);
    for (args, code, part) in [
        (&["add", "a:b"][..], 1, "no name"),
        (&["add", "erin"], 2, "the password is empty"),
        (&["add", "erin", "--role", "root"], 2, "possible values"),
        (&["remove", "erin"], 1, "there is no user \"erin\""),
        (&["token", "erin", "--label", "x"], 1, "there is no user \"erin\""),
        (
            &["token", "bob", "--label", "x", "--expires", "soon"],
            2,
            "span of time",
        ),
        (&["remove-token", "x"], 1, "there is no token \"x\""),
    ] {
        let done = setup.user(args, "");
        assert_eq!(done.status.code(), Some(code), "{args:?}: {}", done.stderr);
        assert!(done.stderr.contains(part), "{args:?}: {}", done.stderr);
    }
    let nowhere = crate::support::sparkgate(["user", "list"]);
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(nowhere.stderr.contains("--users-file"), "{}", nowhere.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_there_when_it_is_asked_for_and_can_be_required() {
    let setup = Setup::with_users();
    setup.certificate();
    let server = setup.start(&format!("{ALL_LOG_IN}{TLS}"));
    let (alice, password) = ("user=alice", "wonderland");
    let ca = format!("sslrootcert={}", setup.path("ca.pem"));
    for options in [
        "sslmode=disable".to_owned(),
        "sslmode=require".to_owned(),
        "sslmode=require channel_binding=require".to_owned(),
        format!("sslmode=verify-full channel_binding=require {ca}"),
        format!("sslmode=verify-full channel_binding=disable ssl_min_protocol_version=TLSv1.3 {ca}"),
        format!("sslmode=verify-full ssl_max_protocol_version=TLSv1.2 {ca}"),
    ] {
        let answer = psql(&server, &format!("{alice} {options}"), password);
        assert_eq!(answer.as_deref(), Ok("alice"), "{options}");
    }
    assert!(psql(&server, &format!("{alice} sslmode=require"), "wrong").is_err());
    let url = |scheme: &str| format!("{scheme}://127.0.0.1:{}/api/v1/version", server.http.port());
    let over_tls = ["--cacert", "ca.pem", "--user", "alice:wonderland", &url("https")];
    assert_eq!(setup.curl(&over_tls).status, 200);
    assert_eq!(
        setup.curl(&over_tls[2..]).status,
        0,
        "nobody signed the certificate for curl"
    );
    assert_eq!(setup.curl(&["--user", "alice:wonderland", &url("http")]).status, 200);
    drop(server);

    let server = setup.start(&format!("{ALL_LOG_IN}{TLS}require_tls = true\nmin_version = \"1.3\"\n"));
    let error = psql(&server, &format!("{alice} sslmode=disable"), password).unwrap_err();
    assert!(
        error.contains("FATAL:  this server is spoken to over TLS only"),
        "{error}"
    );
    assert_eq!(
        connect_code(&server, "user=alice dbname=spark password=wonderland").await,
        "28000"
    );
    assert_eq!(
        psql(&server, &format!("{alice} sslmode=require"), password).as_deref(),
        Ok("alice")
    );
    let old = format!("{alice} sslmode=require ssl_max_protocol_version=TLSv1.2");
    assert!(psql(&server, &old, password).is_err());
    let url = |scheme: &str| format!("{scheme}://127.0.0.1:{}/api/v1/version", server.http.port());
    let plain = setup.curl(&["--user", "alice:wonderland", &url("http")]);
    assert_eq!(plain.status, 426, "{}", plain.text);
    assert!(plain.text.contains("over TLS only"), "{}", plain.text);
    let over_tls = ["--cacert", "ca.pem", "--user", "alice:wonderland", &url("https")];
    assert_eq!(setup.curl(&over_tls).status, 200);
}

/// What a raw socket gets for its bytes, until the server closes it.
fn raw(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(server.pg).expect("the door is open");
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a socket takes a time limit");
    socket.write_all(bytes).expect("the door listens");
    let mut answer = Vec::new();
    // A reset is an end too.
    let _ = socket.read_to_end(&mut answer);
    answer
}

#[test]
fn what_comes_in_clear_before_tls_is_not_believed() {
    let setup = Setup::with_users();
    setup.certificate();
    let server = setup.start(&format!("{ALL_LOG_IN}{TLS}"));
    let ssl_request = [0, 0, 0, 8, 4, 210, 22, 47];
    let startup = b"\0\0\0\x0f\0\x03\0\0user\0a\0";
    let answer = String::from_utf8_lossy(&raw(&server, &[&ssl_request[..], startup].concat())).into_owned();
    assert!(
        answer.contains("received unencrypted data after SSL request"),
        "{answer:?}"
    );
    // Noise of all sorts ends connections, not the server.
    for noise in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\0\x02hi",
        b"\x7f\xff\xff\xff\0\x03\0\0",
        b"\0\0\0\x08\0\x09\0\0",
    ] {
        raw(&server, noise);
    }
    assert_eq!(psql(&server, "user=alice", "wonderland").as_deref(), Ok("alice"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_may_begin_at_once_if_the_client_names_the_protocol() {
    let setup = Setup::with_users();
    setup.certificate();
    let server = setup.start(&format!("{ALL_LOG_IN}{TLS}"));
    let ca = CertificateDer::from_pem_file(setup.path("ca.pem")).expect("a certificate");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca).expect("a certificate of an authority");
    let ask = async |alpn: &[&str]| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions that ring knows")
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let socket = tokio::net::TcpStream::connect(server.pg)
            .await
            .expect("the door is open");
        let name = "localhost".try_into().expect("a name");
        let mut answer = Vec::new();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        if let Ok(mut stream) = connector.connect(name, socket).await {
            // The server may hang up first.
            let _ = stream.write_all(b"\0\0\0\x10\0\x03\0\0user\0\0\0\0").await;
            let _ = stream.read_to_end(&mut answer).await;
        }
        String::from_utf8_lossy(&answer).into_owned()
    };
    assert!(ask(&["postgresql"]).await.contains("no PostgreSQL user name specified"));
    assert_eq!(ask(&[]).await, "");
    assert_eq!(ask(&["h2"]).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_stands_for_the_user_it_names() {
    let setup = Setup::with_users();
    let authority = setup.certificate();
    setup.signed(&authority, "bob", "bob");
    setup.signed(&authority, "mallory", "mallory");
    let config = format!(
        "[auth]\nrules = [\"hostssl all all all cert\"]\nusers_file = \"users\"\n{TLS}client_ca = \"ca.pem\"\n"
    );
    let server = setup.start(&config);
    let with = |name: &str| {
        let (certificate, key) = (setup.path(&format!("{name}.pem")), setup.path(&format!("{name}.key")));
        format!("sslmode=require sslcert={certificate} sslkey={key}")
    };
    assert_eq!(
        psql(&server, &format!("user=bob {}", with("bob")), "").as_deref(),
        Ok("bob")
    );
    for (user, certificate, part) in [
        (
            "alice",
            with("bob"),
            "certificate authentication failed for user \"alice\"",
        ),
        // The authority signed it, and the file of users does not know them.
        (
            "mallory",
            with("mallory"),
            "certificate authentication failed for user \"mallory\"",
        ),
        (
            "bob",
            "sslmode=require".to_owned(),
            "connection requires a valid client certificate",
        ),
        (
            "bob",
            "sslmode=disable".to_owned(),
            "no pg_hba.conf entry for host \"127.0.0.1\", user \"bob\", database \"spark\", no encryption",
        ),
    ] {
        let error = psql(&server, &format!("user={user} {certificate}"), "").unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(connect_code(&server, "user=bob dbname=spark").await, "28000");
    let url = format!("https://127.0.0.1:{}/api/v1/version", server.http.port());
    let with_certificate = ["--cacert", "ca.pem", "--cert", "bob.pem", "--key", "bob.key", &url];
    let answer = setup.curl(&with_certificate);
    assert_eq!(answer.status, 200, "{}", answer.text);
    let answer = setup.curl(&["--cacert", "ca.pem", &url]);
    assert_eq!(answer.status, 403, "{}", answer.text);
    // Another authority's certificate of the same name does not get through the handshake.
    let other = Setup::new();
    let stranger = other.certificate();
    setup.signed(&stranger, "false-bob", "bob");
    assert!(psql(&server, &format!("user=bob {}", with("false-bob")), "").is_err());
}

#[test]
fn a_new_certificate_holds_for_new_connections_and_the_open_ones_go_on() {
    let setup = Setup::with_users();
    setup.certificate();
    let server = setup.start(&format!("{ALL_LOG_IN}{TLS}"));
    let verified = |ca: &str| format!("user=alice sslmode=verify-full sslrootcert={}", setup.path(ca));
    let mut open = Conversation::begin(&server, &verified("ca.pem"), "wonderland");
    assert_eq!(open.ask("select 1"), "1");
    fs::copy(setup.path("ca.pem"), setup.path("old-ca.pem")).expect("room for a copy");

    setup.certificate();
    assert_eq!(psql(&server, &verified("ca.pem"), "wonderland").as_deref(), Ok("alice"));
    let error = psql(&server, &verified("old-ca.pem"), "wonderland").unwrap_err();
    assert!(error.contains("SSL error"), "{error}");
    assert_eq!(open.ask("select 2"), "2");

    // One that cannot be used is not taken.
    setup.write("server.pem", "half of a certificate");
    assert_eq!(psql(&server, &verified("ca.pem"), "wonderland").as_deref(), Ok("alice"));
    let log = server.stderr();
    assert!(
        log.contains("the one before still holds") && log.contains("server.pem has no certificate"),
        "{log}"
    );
    assert_eq!(open.ask("select 3"), "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_kept_for_an_admin() {
    let setup = Setup::with_users();
    let server = setup.start(&format!(
        "{ALL_LOG_IN}[pg]\nmax_connections = 3\nreserved_connections = 1\n"
    ));
    let bob = || Conversation::begin(&server, "user=bob", "builder's password");
    let mut readers = [bob(), bob()];
    for reader in &mut readers {
        assert_eq!(reader.ask("select 1"), "1");
    }
    let error = psql(&server, "user=bob", "builder's password").unwrap_err();
    assert!(
        error.contains("remaining connection slots are reserved for users with the role admin"),
        "{error}"
    );
    let mut admin = Conversation::begin(&server, "user=alice", "wonderland");
    assert_eq!(admin.ask("select 1"), "1");
    let error = psql(&server, "user=alice", "wonderland").unwrap_err();
    assert!(error.contains("FATAL:  sorry, too many clients already"), "{error}");
    assert_eq!(
        connect_code(&server, "user=alice dbname=spark password=wonderland").await,
        "53300"
    );
    drop(readers);
    let started = Instant::now();
    while psql(&server, "user=bob", "builder's password").is_err() {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "places of clients that are gone are free"
        );
    }
}

#[test]
fn who_takes_too_long_is_sent_away() {
    let setup = Setup::with_users();
    let server = setup.start(&format!(
        "{ALL_LOG_IN}timeout = \"1s\"\n[pg]\nidle_timeout = \"2s\"\n[http]\nidle_timeout = \"1s\"\n"
    ));
    // Says nothing; says who they are and no more.
    let started = Instant::now();
    assert_eq!(raw(&server, b""), b"");
    let startup = b"\0\0\0\x21\0\x03\0\0user\0alice\0database\0spark\0\0";
    let startup = [&[0, 0, 0, startup.len() as u8], &startup[4..]].concat();
    let answer = String::from_utf8_lossy(&raw(&server, &startup)).into_owned();
    assert!(
        answer.contains("SCRAM-SHA-256") && answer.contains("canceling authentication due to timeout"),
        "{answer:?}"
    );
    assert!(
        (2..20).contains(&started.elapsed().as_secs()),
        "{:?}",
        started.elapsed()
    );

    let mut idle = Conversation::begin(&server, "user=alice", "wonderland");
    assert_eq!(idle.ask("select 1"), "1");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(idle.ask("select 2"), "", "the connection is closed");

    // HTTP: nothing, half a head, and nothing after an answer.
    for sent in [
        &b""[..],
        b"GET /health/live HTTP/1.1\r\nHost:",
        b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let mut socket = TcpStream::connect(server.http).expect("the door is open");
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a socket takes a time limit");
        socket.write_all(sent).expect("the door listens");
        let mut answer = Vec::new();
        let started = Instant::now();
        socket.read_to_end(&mut answer).expect("the server closes it");
        assert!(
            (800..20_000).contains(&started.elapsed().as_millis()),
            "{:?}",
            started.elapsed()
        );
    }
}

#[test]
fn many_who_only_hold_places_are_sent_away_sooner() {
    let setup = Setup::with_users();
    let server = setup.start(ALL_LOG_IN);
    let silent: Vec<TcpStream> = (0..60)
        .map(|_| TcpStream::connect(server.pg).expect("the door is open"))
        .collect();
    let started = Instant::now();
    // Ends when the server closes the connection.
    assert_eq!(raw(&server, b""), b"");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!(psql(&server, "user=alice", "wonderland").as_deref(), Ok("alice"));
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_sets_how_long_it_may_be_idle() {
    let setup = Setup::with_users();
    let server = setup.start("");
    for (sql, expected) in [
        ("SET idle_session_timeout = '300ms'", "57P05"),
        ("BEGIN; SET idle_in_transaction_session_timeout = '300ms'", "25P03"),
    ] {
        let config = format!("host=127.0.0.1 port={} user=test dbname=spark", server.pg.port());
        let connected = tokio_postgres::connect(&config, tokio_postgres::NoTls).await;
        let (client, connection) = connected.expect("this machine is trusted");
        let connection = tokio::spawn(connection);
        client.batch_execute(sql).await.expect("it can be set");
        let ended = tokio::time::timeout(Duration::from_secs(20), connection).await;
        let error = ended
            .expect("the server ends it")
            .expect("no panic")
            .expect_err("with an error");
        assert_eq!(code(&error), expected);
    }
}

#[test]
fn http_takes_passwords_and_tokens_and_health_is_open() {
    let setup = Setup::with_users();
    let server = setup.start(&format!("{ALL_LOG_IN}[http]\nmax_connections = 5\n"));
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", server.http.port());
    let version = url("/api/v1/version");
    let (live, ready) = (url("/health/live"), url("/health/ready"));
    assert_eq!((setup.curl(&[&live]).status, setup.curl(&[&ready]).status), (200, 200));

    for path in ["/api/v1/version", "/api/v1/applications", "/", "/history/x", "/nowhere"] {
        let refused = setup.curl(&[&url(path)]);
        assert_eq!(refused.status, 401, "{path}: {}", refused.text);
        let text = refused.text.to_ascii_lowercase();
        assert!(text.contains("www-authenticate: basic realm=\"sparkgate\""), "{text}");
        assert!(
            text.contains("www-authenticate: bearer") && text.contains("content-type: text/plain"),
            "{text}"
        );
    }
    let answer = setup.curl(&["--user", "bob:builder's password", &version]);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.text.contains("4.1.0"), "{}", answer.text);
    for wrong in ["bob:x", "nobody:builder's password", "carol:", ":"] {
        assert_eq!(setup.curl(&["--user", wrong, &version]).status, 401, "{wrong}");
    }
    for header in [
        "Authorization: Basic !!!",
        "Authorization: Digest x",
        "Authorization: Bearer",
        "Authorization: Basic",
    ] {
        assert_eq!(setup.curl(&["--header", header, &version]).status, 401, "{header}");
    }

    let token = setup.token(&["carol", "--label", "grafana"]);
    let with = |token: &str| {
        setup
            .curl(&["--header", &format!("Authorization: Bearer {token}"), &version])
            .status
    };
    assert_eq!(with(&token), 200);
    assert_eq!(with(&format!("{token}x")), 401);
    let short = setup.token(&["carol", "--label", "short", "--expires", "1s"]);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(with(&short), 401);
    assert!(setup.user(&["remove-token", "grafana"], "").status.success());
    assert_eq!(with(&token), 401);

    // More than anybody needs, from somebody who has not logged in.
    let long = format!("X-Long: {}", "x".repeat(100_000));
    let refused = setup.curl(&["--header", &long, &version]).status;
    assert_eq!(refused, 431);

    // One connection too many.
    let held: Vec<TcpStream> = (0..5)
        .map(|_| {
            let mut socket = TcpStream::connect(server.http).expect("the door is open");
            socket.write_all(b"GET").expect("the door listens");
            socket
        })
        .collect();
    let full = setup.curl(&[&live]);
    assert_eq!(full.status, 503, "{}", full.text);
    drop(held);
}

#[test]
fn each_wrong_password_makes_the_next_attempt_wait() {
    let setup = Setup::with_users();
    let server = setup.start(ALL_LOG_IN);
    let url = format!("http://127.0.0.1:{}/api/v1/version", server.http.port());
    assert!(psql(&server, "user=bob", "guess").is_err());
    assert!(psql(&server, "user=bob", "another guess").is_err());
    // The doors count together.
    assert_eq!(setup.curl(&["--user", "bob:guess", &url]).status, 401);
    let started = Instant::now();
    assert_eq!(psql(&server, "user=bob", "builder's password").as_deref(), Ok("bob"));
    assert!(
        started.elapsed() > Duration::from_millis(1500),
        "{:?}",
        started.elapsed()
    );
    let started = Instant::now();
    assert_eq!(psql(&server, "user=bob", "builder's password").as_deref(), Ok("bob"));
    assert!(
        started.elapsed() < Duration::from_millis(1500),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn nothing_listens_beyond_this_machine_unless_somebody_can_log_in() {
    let setup = Setup::with_users();
    let logs = setup.path("logs");
    let serve = |door: &str, users: &str| {
        let others = ["--pg", "--flight", "--http"]
            .into_iter()
            .filter(|other| *other != door);
        let mut child = program(setup.dir.path())
            .args(["serve", &logs, door, "0.0.0.0:0"])
            .args(others.flat_map(|other| [other, "off"]))
            .env("SPARKGATE_AUTH__USERS_FILE", users)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("standard output is piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line or the end");
        if line.starts_with("ready ") {
            let _ = child.kill();
        }
        let done = finished(&child.wait_with_output().expect("the program ends"));
        (line, done)
    };
    setup.write("nobody", "# nobody yet\n");
    setup.write("mistake", "user alice\n");
    for door in ["--pg", "--flight", "--http"] {
        let (line, _) = serve(door, &setup.path("users"));
        assert!(line.starts_with(&format!("ready {}=0.0.0.0:", &door[2..])), "{line}");
        for (users, part) in [
            (
                String::new(),
                format!("{door}: 0.0.0.0:0 can be reached from other machines"),
            ),
            (
                setup.path("nobody"),
                "nobody has no user; make a user with `sparkgate user add NAME`".to_owned(),
            ),
            (setup.path("mistake"), "mistake: line 1: a line is".to_owned()),
            (setup.path("missing"), "cannot read the file of users".to_owned()),
        ] {
            let (line, done) = serve(door, &users);
            assert_eq!((line.as_str(), done.status.code()), ("", Some(2)), "{}", done.stderr);
            assert!(done.stderr.contains(&part), "{part}: {}", done.stderr);
        }
    }
}

#[test]
fn wrong_settings_are_named_before_anything_is_opened() {
    let setup = Setup::with_users();
    setup.certificate();
    setup.write("empty.pem", "");
    let logs = setup.path("logs");
    for (config, part) in [
        (
            "[auth]\nrules = [\"host all all all trust\"]",
            "[auth] rules: \"host all all all trust\": trust is for",
        ),
        ("[auth]\nrules = [\"host all\"]", "five words"),
        ("[auth]\nrule = []", "did you mean [auth] rules?"),
        ("[auth]\ntimeout = \"1ms\"", "[auth] timeout"),
        (
            "[tls]\nrequire_tls = true",
            "[tls] certificate is not set, and [tls] require_tls is",
        ),
        ("[tls]\ncertificate = \"server.pem\"", "[tls] key is not set"),
        (
            "[tls]\ncertificate = \"server.pem\"\nkey = \"none.key\"",
            "[tls] key: cannot read none.key",
        ),
        (
            "[tls]\ncertificate = \"server.pem\"\nkey = \"empty.pem\"",
            "[tls] key: empty.pem has no private key",
        ),
        (
            "[auth]\nrules = [\"host all all all cert\"]",
            "[tls] client_ca does not say",
        ),
        ("[tls]\nmin_version = \"1.1\"", "\"1.2\" or \"1.3\""),
    ] {
        setup.write("sparkgate.toml", config);
        let output = program(setup.dir.path())
            .args([
                "serve",
                &logs,
                "--config",
                "sparkgate.toml",
                "--pg",
                "127.0.0.1:0",
                "--flight",
                "off",
                "--http",
                "off",
            ])
            .stdin(Stdio::null())
            .output()
            .expect("the program starts");
        let done = finished(&output);
        assert_eq!(done.status.code(), Some(2), "{config}: {}", done.stderr);
        assert!(done.stderr.contains(part), "{config}: {}", done.stderr);
    }
}
