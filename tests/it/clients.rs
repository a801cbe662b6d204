//! PostgreSQL clients that others wrote, each against a server of its own: `tests/clients/README.md`.
//!
//! A client's checks are written in its own language, so that what is tried is what its users do. Here is what they share: a server, the
//! tables that `docs/schema.md` promises, and the rows that there are, which come from `sparkgate sql` and not over the wire.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};

use crate::advice;
use crate::support::pg::Session;
use crate::support::{Server, fixtures, program, say, shared};

/// Who logs in with a password, over TLS only. Everybody else on this machine is let in as the server's default rules say.
const USER: &str = "alice";
const PASSWORD: &str = "wonder'land \\ ünd";
/// Rows of a table that clients read. More say nothing new, and a client that reads one row a second time reads them many times.
const ROWS: usize = 1000;
/// Longest time of all checks of one client: a debug build, on a machine that runs other tests too.
const CHECKED_WITHIN: &str = "1200";

/// A table as `docs/schema.md` has it.
struct Documented {
    schema: String,
    name: String,
    is_view: bool,
    columns: Vec<DocumentedColumn>,
}

struct DocumentedColumn {
    name: String,
    ty: String,
    /// Views do not say.
    nullable: Option<bool>,
    doc: String,
}

/// Reads the page that people read.
fn documented() -> Vec<Documented> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema.md");
    let page = fs::read_to_string(page).expect("docs/schema.md");
    let mut tables: Vec<Documented> = Vec::new();
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## `") {
            let full = title.trim_end_matches('`');
            let (schema, name) = full.split_once('.').unwrap_or(("public", full));
            tables.push(Documented {
                schema: schema.into(),
                name: name.into(),
                is_view: false,
                columns: Vec::new(),
            });
        }
        let (Some(table), Some(cells)) = (tables.last_mut(), line.strip_prefix("| `")) else {
            continue;
        };
        let cells: Vec<String> = cells
            .trim_end_matches(" |")
            .replace("\\|", "\u{0}")
            .split(" | ")
            .map(|cell| cell.replace('\u{0}', "|"))
            .collect();
        table.is_view = cells.len() == 3;
        table.columns.push(DocumentedColumn {
            name: cells[0].trim_end_matches('`').to_owned(),
            ty: cells[1].clone(),
            nullable: (!table.is_view).then(|| cells[3] == "yes"),
            doc: cells.last().expect("some cells").clone(),
        });
    }
    assert!(tables.len() > 30, "{} tables in docs/schema.md", tables.len());
    tables
}

impl Documented {
    fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Its rows change with every statement, so that no two reads are the same: only its columns are compared.
    fn is_live(&self) -> bool {
        self.schema == "system" && ["queries", "sessions"].contains(&self.name.as_str())
    }

    /// Its rows in an order that has no ties but between equal rows; none of a table that lives.
    fn sql(&self) -> String {
        let names: Vec<String> = self
            .columns
            .iter()
            .map(|column| format!("\"{}\"", column.name))
            .collect();
        let order = self
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| column.ty != "jsonb");
        let order: Vec<String> = order.map(|(at, _)| (at + 1).to_string()).collect();
        format!(
            "select {} from {}{} order by {} limit {ROWS}",
            names.join(", "),
            self.full_name(),
            if self.is_live() { " where false" } else { "" },
            order.join(", ")
        )
    }
}

/// What all servers here serve: logs of real applications, and made-up ones so that no table and no view is empty. Kept until the end of the tests.
fn sources() -> &'static [PathBuf; 2] {
    static SOURCES: OnceLock<[PathBuf; 2]> = OnceLock::new();
    SOURCES.get_or_init(|| {
        let made_up = target("logs");
        advice::write_logs_with_findings(&made_up);
        [fixtures().join("logs"), made_up]
    })
}

/// A new folder where cargo builds, of this process alone; those of processes that ended are removed.
fn target(name: &str) -> PathBuf {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
    fs::create_dir_all(&all).expect("a folder where cargo builds");
    for old in fs::read_dir(&all).expect("just made").flatten() {
        if !Path::new("/proc").join(old.file_name()).exists() {
            // Another process may remove it too.
            let _ = fs::remove_dir_all(old.path());
        }
    }
    let path = all.join(std::process::id().to_string()).join(name);
    fs::create_dir_all(&path).expect("a folder where cargo builds");
    path
}

/// The rows of every table but those of `system`, as `sparkgate sql` reads them, without a server: a file a table.
fn rows_without_a_server() -> &'static Path {
    static ROWS: OnceLock<PathBuf> = OnceLock::new();
    ROWS.get_or_init(|| {
        let tables: Vec<Documented> = documented()
            .into_iter()
            .filter(|table| table.schema != "system")
            .collect();
        let mut script = String::new();
        for table in &tables {
            let _ = writeln!(script, "select '{}' as rows_of;\n{};", table.full_name(), table.sql());
        }
        let folder = target("rows");
        let file = folder.join("all.sql");
        fs::write(&file, script).expect("room for a script");
        let cache = tempfile::tempdir().expect("a temporary directory");
        let output = program(cache.path())
            .arg("sql")
            .args(sources())
            .args(["--format", "ndjson", "-f"])
            .arg(&file)
            .output()
            .expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut rows: Option<(String, String)> = None;
        let write = |rows: Option<(String, String)>| {
            if let Some((table, rows)) = rows {
                assert!(!rows.is_empty(), "{table} has no rows: a client could read anything");
                fs::write(folder.join(format!("{table}.ndjson")), rows).expect("room for rows");
            }
        };
        for line in String::from_utf8(output.stdout).expect("JSON is UTF-8").lines() {
            match line.strip_prefix("{\"rows_of\":\"") {
                Some(table) => write(rows.replace((table.trim_end_matches("\"}").to_owned(), String::new()))),
                None => rows.as_mut().expect("a name comes first").1 += &format!("{line}\n"),
            }
        }
        write(rows);
        folder
    })
}

/// A server with users and a certificate, and what its clients are told.
struct Gateway {
    server: Server,
    folder: tempfile::TempDir,
    environment: Vec<(&'static str, String)>,
}

impl Gateway {
    fn start() -> Gateway {
        Gateway::serving(&[])
    }

    /// Also serves other logs than [`sources`].
    fn serving(more: &[PathBuf]) -> Gateway {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| folder.path().join(name);
        let text = |path: PathBuf| path.to_str().expect("UTF-8").to_owned();
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("names");
        params.distinguished_name.push(DnType::CommonName, "the gateway");
        let certificate = params.self_signed(&key).expect("a certificate");
        fs::write(path("server.pem"), certificate.pem()).expect("room for a certificate");
        fs::write(path("server.key"), key.serialize_pem()).expect("room for a key");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(path("server.key"), private).expect("the file is ours");
        add_user(folder.path(), &path("users"));
        let config = format!(
            "[sources]\nscan_interval = \"1h\"\n\
             [auth]\nusers_file = '{users}'\nrules = [\"host all postgres 127.0.0.0/8 trust\", \"hostssl all all all scram-sha-256\"]\n\
             [tls]\ncertificate = '{certificate}'\nkey = '{key}'\n",
            users = text(path("users")),
            certificate = text(path("server.pem")),
            key = text(path("server.key")),
        );
        fs::write(path("sparkgate.toml"), config).expect("room for a configuration");
        let [real, made_up] = sources();
        let config = text(path("sparkgate.toml"));
        let more = more.iter().map(|path| text(path.clone()));
        let options: Vec<String> = more
            .chain([text(made_up.clone()), "--config".to_owned(), config])
            .collect();
        let server = Server::start_with(real, &options.iter().map(String::as_str).collect::<Vec<_>>());
        let environment = vec![
            ("CHECK_HOST", "127.0.0.1".to_owned()),
            ("CHECK_PORT", server.pg.port().to_string()),
            ("CHECK_USER", USER.to_owned()),
            ("CHECK_PASSWORD", PASSWORD.to_owned()),
            ("CHECK_CA", text(path("server.pem"))),
            ("CHECK_TABLES", text(path("tables.json"))),
        ];
        let gateway = Gateway {
            server,
            folder,
            environment,
        };
        gateway.write_tables();
        gateway
    }

    /// `tables.json`: the documented tables, the statement that reads each, and where its rows are.
    fn write_tables(&self) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let mut tables = Vec::new();
        for table in documented() {
            // What the server says of itself is in no log. These rows come over the wire, as another client reads them.
            let rows = if table.schema == "system" {
                let rows = runtime.block_on(async {
                    Session::connect_as(self.server.pg, "postgres")
                        .await
                        .objects(&table.sql())
                        .await
                });
                let lines: String = rows
                    .iter()
                    .map(|row| format!("{}\n", Value::Object(row.clone())))
                    .collect();
                assert!(
                    table.is_live() || !lines.is_empty(),
                    "{} has no rows",
                    table.full_name()
                );
                let file = self.folder.path().join(format!("{}.ndjson", table.full_name()));
                fs::write(&file, lines).expect("room for rows");
                file
            } else {
                rows_without_a_server().join(format!("{}.ndjson", table.full_name()))
            };
            let columns: Vec<Value> = table
                .columns
                .iter()
                .map(|column| json!({"name": column.name, "type": column.ty, "nullable": column.nullable, "comment": column.doc}))
                .collect();
            tables.push(
                json!({"schema": table.schema, "name": table.name, "is_view": table.is_view, "is_live": table.is_live(), "columns": columns,
                "sql": table.sql(), "rows": rows}),
            );
        }
        let json = Value::Array(tables).to_string();
        fs::write(self.folder.path().join("tables.json"), json).expect("room for the tables");
    }

    /// Runs checks; they say how many passed in their last line, and after the last cancelled statement the server must be idle.
    fn check(&self, client: &str, program: impl AsRef<Path>, args: &[&str]) {
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=10", CHECKED_WITHIN])
            .arg(program.as_ref())
            .args(args);
        for (name, _) in std::env::vars_os() {
            if ["PG", "CHECK_", "GW_"]
                .iter()
                .any(|prefix| name.to_string_lossy().starts_with(prefix))
            {
                command.env_remove(name);
            }
        }
        let output = command
            .envs(self.environment.iter().map(|(name, value)| (*name, value.as_str())))
            .env("LC_ALL", "C.UTF-8")
            .current_dir(checks())
            .stdin(Stdio::null())
            .output()
            .expect("timeout is part of coreutils");
        report(client, &output);
        self.assert_idle(client);
    }

    /// What a client cancelled or left behind does not go on.
    fn assert_idle(&self, client: &str) {
        let mut used = Duration::MAX;
        for _ in 0..10 {
            let before = self.server.cpu_time();
            thread::sleep(Duration::from_secs(1));
            used = self.server.cpu_time() - before;
            if used < Duration::from_millis(200) {
                return;
            }
        }
        panic!("after the checks of {client} the server is busy: {used:?} of CPU in the last second");
    }
}

/// `sparkgate user add`, as an administrator does.
fn add_user(folder: &Path, users: &Path) {
    let password = folder.join("password");
    fs::write(&password, format!("{PASSWORD}\n")).expect("room for a password");
    let done = program(folder)
        .args(["user", "add", USER, "--role", "admin", "--users-file"])
        .arg(users)
        .stdin(fs::File::open(&password).expect("just written"))
        .output()
        .expect("the program starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    fs::remove_file(password).expect("just written");
}

/// `tests/clients`.
fn checks() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Runs a script of `tests/rigs`, which installs a client once on a machine; what it prints.
fn install(rig: &str, args: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rigs").join(rig);
    let output = Command::new(&script).args(args).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    assert!(
        output.status.success(),
        "{}: {}",
        script.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("a path").trim().to_owned()
}

/// A check that does not pass yet, and why: a line `client | check | reason` of `tests/clients/known-gaps.txt`.
fn known_gaps(client: &str) -> Vec<String> {
    let list = fs::read_to_string(checks().join("known-gaps.txt")).expect("the list of known gaps");
    let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let mut cells = line.splitn(3, " | ");
            let (Some(of), Some(check), Some(_reason)) = (cells.next(), cells.next(), cells.next()) else {
                panic!("not a line of known gaps: {line}");
            };
            (of == client).then(|| check.to_owned())
        })
        .collect()
}

/// Fails unless checks ran, and all passed but the known gaps, and none of these passed. Shows the closing line.
fn report(client: &str, output: &Output) {
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let closing = stdout.lines().last().unwrap_or_default();
    let counts = closing
        .strip_suffix(" failed")
        .and_then(|line| line.split_once(" passed, "));
    let counts =
        counts.and_then(|(passed, failed)| Some((passed.parse::<usize>().ok()?, failed.parse::<usize>().ok()?)));
    let Some((passed, failed)) = counts else {
        panic!(
            "{client} ended with {} and no result:\n{stdout}\n{stderr}",
            output.status
        );
    };
    let mut failures: Vec<&str> = stdout.lines().filter(|line| line.starts_with("FAIL ")).collect();
    assert_eq!(failures.len(), failed, "{client} counts wrong:\n{stdout}");
    let gaps = known_gaps(client);
    let mut closed = Vec::new();
    for gap in &gaps {
        let failure = format!("FAIL {gap}: ");
        let before = failures.len();
        failures.retain(|line| !line.starts_with(&failure));
        if failures.len() == before {
            closed.push(gap.as_str());
        }
    }
    assert!(
        failures.is_empty() && closed.is_empty(),
        "{client}: {passed} passed, {} failed\n{}\n{stderr}\nno longer gaps, to be taken out of tests/clients/known-gaps.txt: {closed:?}",
        failures.len(),
        failures.join("\n")
    );
    assert!(passed > gaps.len(), "{client} checks nothing: {closing}");
    match gaps.len() {
        0 => say(&format!("{client}: {passed} passed, 0 failed")),
        gaps => say(&format!("{client}: {passed} passed, 0 failed, {gaps} known gaps")),
    }
}

/// A port that was free a moment ago, for servers that take no port 0.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

#[test]
fn the_documented_tables_are_the_tables_that_the_server_lists() {
    let gateway = Gateway::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let sql = "select table_schema || '.' || table_name, table_type from information_schema.tables \
               where table_schema not in ('pg_catalog', 'information_schema') order by 1";
    let listed = runtime.block_on(async { Session::connect_as(gateway.server.pg, "postgres").await.rows(sql).await });
    let mut documented: Vec<String> = documented()
        .iter()
        .map(|table| {
            format!(
                "{}|{}",
                table.full_name(),
                if table.is_view { "VIEW" } else { "BASE TABLE" }
            )
        })
        .collect();
    documented.sort();
    assert_eq!(listed, documented);
}

#[test]
fn psql_scripts() {
    Gateway::start().check("psql", "psql/checks.sh", &[]);
}

#[test]
fn psycopg2() {
    python("psycopg2", "python/psycopg2_checks.py");
}

#[test]
fn psycopg3() {
    python("psycopg3", "python/psycopg3_checks.py");
}

#[test]
fn asyncpg() {
    python("asyncpg", "python/asyncpg_checks.py");
}

#[test]
fn sqlalchemy_and_pandas() {
    python("sqlalchemy", "python/sqlalchemy_checks.py");
}

#[test]
fn statements_of_duckdb() {
    python("duckdb", "python/duckdb_checks.py");
}

#[test]
fn statements_of_bi_tools() {
    python("tools", "python/tools_checks.py");
}

fn python(client: &str, script: &str) {
    let python = install("python-clients.sh", &[]);
    Gateway::start().check(client, python, &["-B", script]);
}

#[test]
fn pgjdbc() {
    let class_path = install("pgjdbc.sh", &[]);
    let java = [
        "-Xmx256m",
        "-XX:TieredStopAtLevel=1",
        "-cp",
        &class_path,
        "jdbc/JdbcChecks.java",
    ];
    Gateway::start().check("pgjdbc", "java", &java);
}

#[test]
fn pgx_and_statements_of_grafana() {
    let checks = install("pgx.sh", &[]);
    Gateway::start().check("pgx", checks, &[]);
}

#[test]
fn node_postgres() {
    let mut gateway = Gateway::start();
    gateway.environment.push(("NODE_PATH", install("node-clients.sh", &[])));
    gateway.check("node-postgres", "node", &["node/checks.js"]);
}

/// A PostgreSQL server of its own, stopped when dropped.
struct Postgres {
    /// Not in a directory of this user alone, because PostgreSQL does not run as root.
    folder: tempfile::TempDir,
}

impl Postgres {
    fn start(port: u16) -> Postgres {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(folder.path(), readable).expect("the directory is ours");
        let postgres = Postgres { folder };
        install("postgres.sh", &["start", &postgres.directory(), &port.to_string()]);
        postgres
    }

    fn directory(&self) -> String {
        self.folder.path().join("postgres").display().to_string()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rigs/postgres.sh");
        // A test that fails already says why.
        let _ = Command::new(script).args(["stop", &self.directory()]).status();
    }
}

#[test]
fn postgres_fdw() {
    let mut gateway = Gateway::start();
    let port = free_port();
    let _postgres = Postgres::start(port);
    gateway.environment.push(("CHECK_POSTGRES_PORT", port.to_string()));
    gateway.check("postgres_fdw", "fdw/checks.sh", &[]);
}

/// The scripts that the checks here began as, where they lie beside the checkout, with nothing changed.
#[test]
fn scripts_beside_the_checkout() {
    let Some(shared) = shared().filter(|shared| shared.join("clients/all.sh").is_file()) else {
        return;
    };
    let python = install("python-clients.sh", &[]);
    // They say plainly what a machine lacks.
    for rig in ["pgjdbc.sh", "pgx.sh", "node-clients.sh"] {
        install(rig, &[]);
    }
    let mut gateway = Gateway::serving(&[
        shared.join("spark-logs"),
        shared.join("spark-conformance/events"),
        fixtures().join("damaged"),
    ]);
    let libraries = target("shared").display().to_string();
    let port = gateway.server.pg.port().to_string();
    gateway.environment = vec![
        ("GW_PORT", port),
        ("GW_PY", python),
        ("GW_LIB", libraries),
        ("GW_PID", gateway.server.pid().to_string()),
        // Its pandas checks use a connection in a forked child and then in the parent, which no TLS session survives.
        ("GW_SSLMODE", "disable".into()),
        ("FDW_PORT", free_port().to_string()),
    ];
    gateway.check("shared", shared.join("clients/all.sh"), &[]);
}

/// A server that a script of `tests/rigs` started and stops.
struct Rig {
    script: &'static str,
    folder: tempfile::TempDir,
}

impl Rig {
    /// `SCRIPT start DIRECTORY PORT MORE…`
    fn start(script: &'static str, port: u16, more: &[&str]) -> Rig {
        let rig = Rig {
            script,
            folder: tempfile::tempdir().expect("a temporary directory"),
        };
        let (directory, port) = (rig.folder.path().display().to_string(), port.to_string());
        install(script, &[&["start", &directory, &port], more].concat());
        rig
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/rigs")
            .join(self.script);
        // A test that fails already says why.
        let _ = Command::new(script).arg("stop").arg(self.folder.path()).status();
    }
}

#[test]
#[ignore = "downloads 820 MB; tests/rigs/bi.sh runs it"]
fn trino() {
    let mut gateway = Gateway::start();
    let python = install("python-clients.sh", &[]);
    let port = free_port();
    let _trino = Rig::start("trino.sh", port, &[&gateway.server.pg.port().to_string()]);
    gateway.environment.push(("CHECK_TRINO", port.to_string()));
    gateway.check("Trino", python, &["-B", "trino/checks.py"]);
}

#[test]
#[ignore = "installs 820 MB; tests/rigs/bi.sh runs it"]
fn superset() {
    let mut gateway = Gateway::start();
    let python = install("python-clients.sh", &[]);
    let port = free_port();
    let _superset = Rig::start("superset.sh", port, &[]);
    gateway.environment.push(("CHECK_SUPERSET", port.to_string()));
    gateway.check("Superset", python, &["-B", "superset/checks.py"]);
}
