//! The commands: builds every part, wires them, starts and stops them in order.
//!
//! Exit codes: 0 all well, 1 the work failed, 2 wrong usage or configuration. An error is one sentence on standard error,
//! never a backtrace.

use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use clap::error::ErrorKind;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cache::{self, Cache, CacheError, CacheOptions, CacheReader};
use crate::catalog::{Catalog, SessionVars, Setting, SnapshotSource};
use crate::config::args::{
    CacheAction, CacheArgs, CheckArgs, Command, CommandLine, OutputFormat, SqlArgs, UserAction, UserArgs, UserRole,
};
use crate::config::{self, CacheLocation, Config, ConfigError, DoorAddr, Loaded, Span};
use crate::history::{CacheHandle, History, HistoryOptions, LogState, ScanSummary, Snapshot, Source, SourceError};
use crate::output::{self, OutputError};
use crate::server::auth::{self, Role, UsersError};
use crate::server::flight::{self, FlightOptions};
use crate::server::http::{self, HttpOptions};
use crate::server::pg::{self, PgOptions};
use crate::server::query::{QueryEngine, QueryError, QueryLimits};
use crate::server::security::{Security, SecurityError};
use crate::telemetry::{self, error_chain};

/// How long clients have after a signal to hear that their statements end.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);
/// How long files stay that left a cache with a limit: longer than statements run by default, and much shorter than where there is room.
const GRACE_OF_LIMITED_CACHE: Duration = Duration::from_secs(600);
/// Threads for the network. Statements and logs have threads of their own, so these only move bytes.
const NETWORK_THREADS: usize = 2;

/// Runs a command line, the program's name first.
pub fn main_with(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    // A panic is a defect of ours. It is one line, and the thread it happened on is all it may end.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(|place| format!(" at {}:{}", place.file(), place.line()))
            .unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message").replace('\n', " ");
        writeln!(
            io::stderr(),
            "sparkgate: a defect in sparkgate{place}, please report it: {message}"
        )
        .ok();
    }));
    let environment: Vec<_> = std::env::vars_os().collect();
    let args: Vec<OsString> = args.into_iter().collect();
    let run = || run(args, &environment, &mut BufWriter::new(io::stdout()), &mut io::stderr());
    let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or(1);
    ExitCode::from(code)
}

/// How a command can end without success.
#[derive(Debug)]
enum AppError {
    /// Exit code 2.
    Usage(String),
    /// Exit code 1.
    Failed(String),
    /// The reader of standard output has gone away, and with it the reason to go on: exit code 0.
    ReaderGone,
}

impl From<ConfigError> for AppError {
    fn from(error: ConfigError) -> Self {
        AppError::Usage(error_chain(&error))
    }
}

impl From<SecurityError> for AppError {
    fn from(error: SecurityError) -> Self {
        AppError::Usage(error_chain(&error))
    }
}

impl From<SourceError> for AppError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Unreadable { .. } => AppError::Failed(error_chain(&error)),
            _ => AppError::Usage(error_chain(&error)),
        }
    }
}

impl<E: std::error::Error + 'static> From<OutputError<E>> for AppError {
    fn from(error: OutputError<E>) -> Self {
        match error {
            OutputError::ReaderGone => AppError::ReaderGone,
            other => AppError::Failed(error_chain(&other)),
        }
    }
}

impl From<io::Error> for AppError {
    fn from(error: io::Error) -> Self {
        OutputError::<std::convert::Infallible>::from(error).into()
    }
}

/// [`main_with`] with its surroundings handed in; gives the exit code.
fn run(
    args: Vec<OsString>,
    environment: &[(OsString, OsString)],
    out: &mut (dyn Write + Send),
    err: &mut dyn Write,
) -> u8 {
    let line = match CommandLine::try_parse_from(args) {
        Ok(line) => line,
        Err(error) => {
            let text = error.render().to_string();
            // Nobody to tell if these cannot be written.
            if !error.use_stderr() {
                out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
                return 0;
            }
            // Who types the name alone asks what there is.
            if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
                err.write_all(text.as_bytes()).ok();
            } else {
                writeln!(err, "sparkgate: {}", usage_sentence(&text)).ok();
            }
            return 2;
        }
    };
    let (code, message) = match command(&line, environment, out, err) {
        Ok(()) | Err(AppError::ReaderGone) => return 0,
        Err(AppError::Failed(message)) => (1, message),
        Err(AppError::Usage(message)) => (2, message),
    };
    let sentence = message.split_whitespace().collect::<Vec<_>>().join(" ");
    writeln!(err, "sparkgate: {sentence}").ok();
    code
}

/// What clap says in paragraphs, as one sentence: what is wrong and its tips, without its usage lines.
fn usage_sentence(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(str::trim);
    let said: Vec<String> = paragraphs
        .take_while(|paragraph| !paragraph.starts_with("Usage:") && !paragraph.starts_with("For more information"))
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let said = said.join("; ");
    let what = said.strip_prefix("error: ").unwrap_or(&said);
    format!("{what}; `sparkgate --help` lists commands, `sparkgate COMMAND --help` their options")
}

fn command(
    line: &CommandLine,
    environment: &[(OsString, OsString)],
    out: &mut (dyn Write + Send),
    err: &mut dyn Write,
) -> Result<(), AppError> {
    let loaded = config::load(line, environment)?;
    telemetry::init(match line.command {
        Command::Serve(_) => "info",
        Command::Sql(_) | Command::Ingest(_) | Command::Cache(_) | Command::User(_) => "warn",
        // The lines of `check` say what is wrong with a log; saying it twice helps nobody.
        Command::Check(_) => "error",
    })
    .map_err(AppError::Usage)?;
    if !loaded.ignored_properties.is_empty() {
        tracing::info!(
            properties = loaded.ignored_properties.join(", "),
            "Spark properties that mean nothing here are left alone"
        );
    }
    match &line.command {
        Command::Serve(_) => serve(&loaded, environment, out),
        Command::Sql(args) => sql(args, &loaded, environment, out),
        Command::Ingest(_) => ingest(&loaded, environment, out, err),
        Command::Cache(args) => look_after_cache(args, &loaded, environment, out),
        Command::Check(args) => check(args, &loaded, out, err),
        Command::User(args) => change_users(args, &loaded, out),
    }
}

fn serve(loaded: &Loaded, environment: &[(OsString, OsString)], out: &mut (dyn Write + Send)) -> Result<(), AppError> {
    let config = &loaded.config;
    if [config.pg.addr, config.flight.addr, config.http.addr] == [DoorAddr::Off; 3] {
        return Err(AppError::Usage(
            "no door is open: give --pg, --flight or --http an address, such as 127.0.0.1:5433".into(),
        ));
    }
    let security = Arc::new(security(config)?);
    let history = Arc::new(history(loaded, true, || {
        open_cache(loaded, environment, WhenLocked::Fail, Check::Local)
    })?);
    // The parts outlive the runtime of the network, so that whatever still runs there finds them.
    let engine = engine(&history, loaded, loaded.config.query.timeout.0)?;
    let network = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(NETWORK_THREADS)
        .thread_name("network")
        .enable_all()
        .build()
        .map_err(|error| failed("cannot start the threads of the network", &error))?;

    let result = network.block_on(async {
        let shutdown = on_signal()?;
        // A store that is away for a while does not keep the others from being served.
        history.check_local_sources().await?;
        let mut doors: JoinSet<io::Result<()>> = JoinSet::new();
        let mut open = Vec::new();
        if let DoorAddr::At(addr) = config.pg.addr {
            let (listener, addr) = listen("pg", addr).await?;
            let options = PgOptions {
                max_connections: config.pg.max_connections as usize,
                reserved_connections: config.pg.reserved_connections as usize,
                idle_timeout: config.pg.idle_timeout.0,
            };
            let (engine, security) = (Arc::clone(&engine), Arc::clone(&security));
            doors.spawn(pg::serve(listener, engine, security, options, shutdown.clone()));
            open.push(format!("pg={addr}"));
        }
        if let DoorAddr::At(addr) = config.flight.addr {
            let (listener, addr) = listen("flight", addr).await?;
            let options = FlightOptions {
                max_connections: config.flight.max_connections as usize,
                idle_timeout: config.flight.idle_timeout.0,
                stall_timeout: config.flight.stall_timeout.0,
                token_lifetime: config.flight.token_lifetime.0,
                ticket_lifetime: config.flight.ticket_lifetime.0,
                max_message_bytes: usize::try_from(config.flight.max_message_bytes.0).unwrap_or(usize::MAX),
            };
            let (engine, security) = (Arc::clone(&engine), Arc::clone(&security));
            doors.spawn(flight::serve(listener, engine, security, options, shutdown.clone()));
            open.push(format!("flight={addr}"));
        }
        if let DoorAddr::At(addr) = config.http.addr {
            let (listener, addr) = listen("http", addr).await?;
            let options = HttpOptions {
                rest: config.rest.clone(),
                max_connections: config.http.max_connections as usize,
                idle_timeout: config.http.idle_timeout.0,
            };
            let (engine, history, security) = (Arc::clone(&engine), Arc::clone(&history), Arc::clone(&security));
            doors.spawn(http::serve(
                listener,
                engine,
                history,
                security,
                options,
                shutdown.clone(),
            ));
            open.push(format!("http={addr}"));
        }
        let open = open.join(" ");

        let announce = async {
            history.until_listed().await;
            // A reader of standard output that is gone does not stop a server.
            output::write_line(out, &format!("ready {open}")).ok();
            tracing::info!(doors = open, "ready");
        };
        let scans = async {
            let mut stop = shutdown.clone();
            tokio::select! {
                _ = async { tokio::join!(history.scan_once(), announce) } => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            history.run(config.sources.scan_interval.0, shutdown.clone()).await;
        };
        tokio::select! {
            () = scans => {}
            // No door ends before the signal unless it cannot go on.
            Some(ended) = doors.join_next() => {
                if !*shutdown.borrow() {
                    return Err(AppError::Failed(door_error(ended)));
                }
            }
        }
        tracing::info!("stopping");
        let all_closed = async { while doors.join_next().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN_GRACE, all_closed).await.is_err() {
            tracing::warn!(
                grace_s = SHUTDOWN_GRACE.as_secs(),
                "some connections did not close in time"
            );
        }
        Ok(())
    });
    network.shutdown_timeout(Duration::from_secs(1));
    drop(engine);
    result
}

/// Reads users, rules and certificates, and refuses doors that anybody could come in by.
fn security(config: &Config) -> Result<Security, AppError> {
    let security = Security::open(&config.auth, &config.tls)?;
    for door in [config.pg.addr, config.flight.addr, config.http.addr] {
        if let DoorAddr::At(addr) = door {
            security.auth.check_address(addr).map_err(SecurityError::from)?;
        }
    }
    for (name, door) in [("Flight SQL", config.flight.addr), ("HTTP", config.http.addr)] {
        if let DoorAddr::At(addr) = door
            && !addr.ip().is_loopback()
            && !config.tls.require_tls
        {
            tracing::warn!(%addr, "{name} carries passwords and tokens in clear unless clients use TLS; set [tls] require_tls");
        }
    }
    Ok(security)
}

fn door_error(ended: Result<io::Result<()>, tokio::task::JoinError>) -> String {
    match ended {
        Ok(Ok(())) => "a door closed by itself, which is a defect in sparkgate; please report it".into(),
        Ok(Err(error)) => format!("a door cannot go on: {error}"),
        Err(panicked) => format!("a door stopped because of a defect in sparkgate; please report it: {panicked}"),
    }
}

/// Takes an address for a door; gives the address with the port that port 0 became.
async fn listen(door: &str, addr: SocketAddr) -> Result<(TcpListener, SocketAddr), AppError> {
    let listener = TcpListener::bind(addr).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => AppError::Failed(format!(
            "cannot listen on {addr}: the port is in use; stop what listens there, or choose another with --{door} \
             (port 0 takes a free one)"
        )),
        io::ErrorKind::PermissionDenied => AppError::Failed(format!(
            "cannot listen on {addr}: permission denied; choose a port above 1023 with --{door}"
        )),
        io::ErrorKind::AddrNotAvailable => AppError::Failed(format!(
            "cannot listen on {addr}: this machine does not have the address; choose another with --{door}"
        )),
        _ => failed(&format!("cannot listen on {addr}"), &error),
    })?;
    let addr = listener
        .local_addr()
        .map_err(|error| failed(&format!("cannot listen on {addr}"), &error))?;
    Ok((listener, addr))
}

/// Becomes `true` with the first SIGINT or SIGTERM. A second one ends the process at once.
fn on_signal() -> Result<watch::Receiver<bool>, AppError> {
    let handler = |kind| signal(kind).map_err(|error| failed("cannot listen for signals", &error));
    let (mut interrupt, mut terminate) = (handler(SignalKind::interrupt())?, handler(SignalKind::terminate())?);
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        for is_first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if !is_first {
                std::process::exit(1);
            }
            stop.send(true).ok();
        }
    });
    Ok(stopped)
}

fn sql(
    args: &SqlArgs,
    loaded: &Loaded,
    environment: &[(OsString, OsString)],
    out: &mut (dyn Write + Send),
) -> Result<(), AppError> {
    let is_binary = matches!(args.format, OutputFormat::Arrow | OutputFormat::Parquet);
    if is_binary && io::stdout().is_terminal() {
        return Err(AppError::Usage(
            "arrow and parquet are not for a terminal: send standard output to a file".into(),
        ));
    }
    let texts = statement_texts(args)?;
    let history = Arc::new(history(loaded, false, || {
        open_cache(loaded, environment, WhenLocked::Read, Check::All)
    })?);
    // Whoever asks for one statement waits for it, unless told otherwise.
    let timeout = loaded.config.query.timeout.0.filter(|_| loaded.is_set("query.timeout"));
    let engine = engine(&history, loaded, timeout)?;
    let mut statements = Vec::new();
    for text in &texts {
        statements.extend(
            engine
                .split(text)
                .map_err(|error| AppError::Failed(error_chain(&error)))?,
        );
    }
    if statements.is_empty() {
        return Err(AppError::Usage(
            "there is no statement to run: give one with -c, -f or on standard input".into(),
        ));
    }
    if is_binary && statements.len() > 1 {
        return Err(AppError::Usage(format!(
            "arrow and parquet hold one result, and there are {} statements: run them one at a time, or use another format",
            statements.len()
        )));
    }

    let run = async {
        scan_all(&history).await?;
        let vars = SessionVars::default();
        for (index, statement) in statements.iter().enumerate() {
            let place = if statements.len() > 1 {
                format!("statement {}: ", index + 1)
            } else {
                String::new()
            };
            let failure = |error: QueryError| AppError::Failed(format!("{place}{}", error_chain(&error)));
            let rows = engine.run(statement, &vars).await.map_err(failure)?;
            match output::write_result(out, args.format, rows.schema, rows.batches).await {
                Ok(()) => {}
                Err(OutputError::Statement(error)) => {
                    // Rows that were written belong before the message.
                    out.flush().ok();
                    return Err(failure(error));
                }
                Err(other) => return Err(other.into()),
            }
        }
        Ok(())
    };
    runtime()?.block_on(async {
        let result = tokio::select! {
            result = run => result,
            () = history.answer_wanted() => Ok(()),
        };
        // The next process does not know what this one has met.
        if result.is_err() && history.has_damage() {
            history.scan_once().await;
        }
        result
    })
}

/// `-c`, each of them whole; `-f`; or standard input.
fn statement_texts(args: &SqlArgs) -> Result<Vec<String>, AppError> {
    if !args.commands.is_empty() {
        return Ok(args.commands.clone());
    }
    if let Some(path) = args.file.as_ref().filter(|path| path.as_os_str() != "-") {
        return std::fs::read_to_string(path)
            .map(|text| vec![text])
            .map_err(|error| AppError::Usage(format!("cannot read the statements of {}: {error}", path.display())));
    }
    let mut text = String::new();
    io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| failed("cannot read statements from standard input", &error))?;
    Ok(vec![text])
}

fn check(args: &CheckArgs, loaded: &Loaded, out: &mut (dyn Write + Send), err: &mut dyn Write) -> Result<(), AppError> {
    // What a log is, only the log can say.
    let history = Arc::new(history(loaded, false, || Ok(None))?);
    runtime()?.block_on(scan_all(&history))?;
    let snapshot = history.snapshot();
    output::write_check(out, args.format, &snapshot)?;

    let counts = counts(&snapshot);
    let listed: Vec<String> = counts
        .iter()
        .map(|(state, count)| format!("{count} {}", state.as_str()))
        .collect();
    let total = snapshot.event_logs.len();
    let entries = if total == 1 { "entry" } else { "entries" };
    let summary = if listed.is_empty() {
        String::new()
    } else {
        format!(": {}", listed.join(", "))
    };
    writeln!(err, "{total} {entries}{summary}").ok();

    let bad = |state: &LogState| matches!(state, LogState::Damaged | LogState::Failed);
    let damaged: usize = counts
        .iter()
        .filter(|(state, _)| bad(state))
        .map(|(_, count)| count)
        .sum();
    if args.strict && damaged > 0 {
        let logs = if damaged == 1 { "log is" } else { "logs are" };
        return Err(AppError::Failed(format!(
            "{damaged} {logs} damaged or could not be read; the lines say why"
        )));
    }
    Ok(())
}

/// How many entries there are of each state, without the states that have none.
fn counts(snapshot: &Snapshot) -> Vec<(LogState, usize)> {
    let mut counts = std::collections::BTreeMap::new();
    for entry in &snapshot.event_logs {
        *counts.entry(entry.status).or_default() += 1;
    }
    counts.into_iter().collect()
}

/// Reads everything there is, for a command that ends afterwards: a source that cannot be listed is its failure.
async fn scan_all(history: &History) -> Result<(), AppError> {
    history.check_sources().await?;
    let summary = history.scan_once().await;
    all_read(&summary)
}

/// Whether statements would see all rows, but for those of damaged logs.
fn all_read(summary: &ScanSummary) -> Result<(), AppError> {
    if let Some(source) = summary.unreachable.first() {
        return Err(AppError::Failed(format!("cannot list source {source}")));
    }
    match &summary.unwritten {
        Some(error) => Err(AppError::Failed(format!(
            "{error}; make room there, name another directory with --cache, or keep rows in memory with --cache off"
        ))),
        None => Ok(()),
    }
}

fn sources(loaded: &Loaded) -> Result<Vec<Source>, SourceError> {
    let paths = loaded.config.sources.paths.iter();
    paths.map(|given| Source::parse(given, &loaded.storage)).collect()
}

/// `cache` opens the cache, while the sources are being listed.
fn history(
    loaded: &Loaded,
    follow_growth: bool,
    cache: impl FnOnce() -> Result<Option<CacheHandle>, AppError>,
) -> Result<History, AppError> {
    let config = &loaded.config;
    let options = HistoryOptions {
        threads: config.ingest.threads.into(),
        follow_log_deletion: config.sources.follow_log_deletion,
        follow_growth,
        max_age: config.retention.max_age.0,
        max_logs: usize::try_from(config.retention.max_logs).ok().filter(|most| *most > 0),
        max_cache_bytes: max_cache_bytes(loaded),
    };
    let mut history = History::new(sources(loaded)?, options)
        .map_err(|error| failed("cannot start the threads that read logs", &error))?;
    history.list_ahead();
    history.use_cache(cache()?);
    Ok(history)
}

fn max_cache_bytes(loaded: &Loaded) -> Option<u64> {
    Some(loaded.config.cache.max_bytes.0).filter(|most| *most > 0)
}

fn cache_options(loaded: &Loaded) -> CacheOptions {
    let mut options = CacheOptions::default();
    if max_cache_bytes(loaded).is_some() {
        options.removed_grace = GRACE_OF_LIMITED_CACHE;
    }
    options
}

/// What to do where another process writes the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WhenLocked {
    Fail,
    /// Its rows are as good as ours.
    Read,
}

/// Which sources have to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    All,
    /// Those without a network: others may come later.
    Local,
}

fn open_cache(
    loaded: &Loaded,
    environment: &[(OsString, OsString)],
    when_locked: WhenLocked,
    check: Check,
) -> Result<Option<CacheHandle>, AppError> {
    let sources = sources(loaded)?;
    let runtime = runtime()?;
    // A source that was mistyped gets no cache.
    runtime.block_on(async {
        for source in sources
            .iter()
            .filter(|source| check == Check::All || !source.is_remote())
        {
            source.check().await?;
        }
        Ok::<(), AppError>(())
    })?;
    let Some(location) = cache_location(loaded, environment)? else {
        return Ok(None);
    };
    let failed = |error: CacheError| AppError::Failed(error_chain(&error));
    runtime.block_on(async {
        let reader = || async {
            let reader = Box::pin(CacheReader::open(&location)).await.map_err(failed)?;
            Ok(Some(CacheHandle::Reader(Arc::new(reader))))
        };
        if loaded.config.cache.read_only {
            return reader().await;
        }
        let opened = match Box::pin(Cache::open(&location, cache_options(loaded))).await {
            Err(error) if error.needs_rebuild() => {
                tracing::warn!(
                    error = error_chain(&error),
                    "the column cache is emptied, and the logs are read again"
                );
                Box::pin(Cache::clear(&location, cache_options(loaded))).await
            }
            opened => opened,
        };
        match opened {
            Ok(cache) => Ok(Some(CacheHandle::Writer(Arc::new(cache)))),
            Err(CacheError::Locked { .. }) if when_locked == WhenLocked::Read => reader().await,
            Err(error @ CacheError::Locked { .. }) => Err(AppError::Failed(format!(
                "{}; or read it with --read-only",
                error_chain(&error)
            ))),
            Err(error @ CacheError::Location { .. }) => Err(AppError::Failed(format!(
                "{}; name another directory with --cache, or keep rows in memory with --cache off",
                error_chain(&error)
            ))),
            Err(error) => Err(failed(error)),
        }
    })
}

/// The directory of the cache. That of some sources is named by them, so that those who read other logs do not share it.
fn cache_location(loaded: &Loaded, environment: &[(OsString, OsString)]) -> Result<Option<String>, AppError> {
    match &loaded.config.cache.location {
        CacheLocation::Off => return Ok(None),
        CacheLocation::At(location) => return Ok(Some(location.clone())),
        CacheLocation::Default => {}
    }
    let variable = |name: &str| {
        let found = environment
            .iter()
            .find(|(known, value)| known == name && !value.is_empty());
        found.map(|(_, value)| PathBuf::from(value))
    };
    let directory = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    let Some(directory) = directory else {
        return Err(AppError::Usage(
            "there is no place for the column cache, because neither HOME nor XDG_CACHE_HOME is set: name a directory with \
             --cache, or keep rows in memory with --cache off"
                .into(),
        ));
    };
    let mut paths: Vec<String> = sources(loaded)?.iter().map(|source| source.path().to_owned()).collect();
    paths.sort();
    let name = format!("columns-{:016x}", cache::fingerprint(&paths.join("\n")));
    let directory = directory.join("sparkgate").join(name);
    match directory.into_os_string().into_string() {
        Ok(location) => Ok(Some(location)),
        Err(location) => Err(AppError::Usage(format!(
            "the path of the column cache is no text: {}; name another directory with --cache",
            location.to_string_lossy()
        ))),
    }
}

/// Reads everything into the cache.
fn ingest(
    loaded: &Loaded,
    environment: &[(OsString, OsString)],
    out: &mut (dyn Write + Send),
    err: &mut dyn Write,
) -> Result<(), AppError> {
    let Some(cache) = open_cache(loaded, environment, WhenLocked::Fail, Check::All)? else {
        return Err(AppError::Usage(
            "there is no column cache to fill: name a directory with --cache, or leave `off` out".into(),
        ));
    };
    let CacheHandle::Writer(writer) = &cache else {
        return Err(AppError::Usage(
            "a column cache that is only read cannot be filled".into(),
        ));
    };
    let writer = Arc::clone(writer);
    let history = Arc::new(history(loaded, false, || Ok(Some(cache)))?);
    let start = Instant::now();
    let summary = runtime()?.block_on(async {
        history.check_sources().await?;
        let scan = history.scan_once();
        let summary = output::with_progress(scan, || history.progress(), err).await;
        history.settle().await;
        Ok::<_, AppError>(summary)
    })?;
    all_read(&summary)?;
    let status = writer.status();
    let line = output::ingested(&summary, &status, start.elapsed());
    output::write_line(out, &line)?;
    let unread = history
        .snapshot()
        .event_logs
        .iter()
        .filter(|entry| entry.status == LogState::Failed)
        .count();
    if unread > 0 {
        return Err(AppError::Failed(format!(
            "{unread} of {} logs could not be read; `sparkgate check` says why",
            summary.logs
        )));
    }
    Ok(())
}

fn look_after_cache(
    args: &CacheArgs,
    loaded: &Loaded,
    environment: &[(OsString, OsString)],
    out: &mut (dyn Write + Send),
) -> Result<(), AppError> {
    let Some(location) = cache_location(loaded, environment)? else {
        return Err(AppError::Usage(
            "the column cache is off: name its directory with --cache".into(),
        ));
    };
    let failed = |error: CacheError| AppError::Failed(error_chain(&error));
    let status = runtime()?.block_on(async {
        match &args.action {
            CacheAction::Status(_) => Box::pin(CacheReader::open(&location))
                .await
                .map(|reader| reader.status()),
            CacheAction::Compact(_) => {
                // It is not made by tidying it up.
                drop(Box::pin(CacheReader::open(&location)).await?);
                let cache = Box::pin(Cache::open(&location, cache_options(loaded))).await?;
                Box::pin(cache.compact()).await?;
                Box::pin(cache.collect()).await?;
                Ok(cache.status())
            }
            CacheAction::Clear(_) => match Box::pin(CacheReader::open(&location)).await {
                Err(error @ CacheError::NotACache { .. }) => Err(error),
                _ => Box::pin(Cache::clear(&location, CacheOptions::default()))
                    .await
                    .map(|cache| cache.status()),
            },
        }
    });
    output::write_cache_status(out, &status.map_err(failed)?)?;
    Ok(())
}

fn change_users(args: &UserArgs, loaded: &Loaded, out: &mut (dyn Write + Send)) -> Result<(), AppError> {
    let path = Path::new(&loaded.config.auth.users_file);
    let failed = |error: UsersError| AppError::Failed(error_chain(&error));
    match &args.action {
        UserAction::Add {
            name,
            role,
            no_password,
        } => {
            // Nobody types a password for nothing.
            auth::check_new_name(name).map_err(failed)?;
            let role = match role {
                UserRole::Reader => Role::Reader,
                UserRole::Admin => Role::Admin,
            };
            let password = match no_password {
                true => None,
                false => Some(new_password(name)?),
            };
            auth::set_user(path, name, role, password.as_deref()).map_err(failed)
        }
        UserAction::Remove { name } => auth::remove_user(path, name).map_err(failed),
        UserAction::RemoveToken { label } => auth::remove_token(path, label).map_err(failed),
        UserAction::Token { name, label, expires } => {
            let expires = expires.as_deref().map(token_end).transpose()?;
            let token = auth::add_token(path, name, label, expires).map_err(failed)?;
            Ok(output::write_line(out, &token)?)
        }
        UserAction::List => {
            for user in auth::list(path).map_err(failed)? {
                let password = if user.has_password { "password" } else { "no password" };
                output::write_line(out, &format!("{}  {}  {password}", user.name, user.role))?;
                for (label, expires) in &user.tokens {
                    let expires = expires.map_or("never".to_owned(), |time| time.to_rfc3339());
                    output::write_line(out, &format!("{}  token {label}  expires {expires}", user.name))?;
                }
            }
            Ok(())
        }
    }
}

fn token_end(span: &str) -> Result<chrono::DateTime<chrono::Utc>, AppError> {
    let wrong = || {
        AppError::Usage(format!(
            "--expires: {span:?} is not a span of time with its unit, such as \"90d\""
        ))
    };
    let span: Span = span.parse().map_err(|_| wrong())?;
    let span = chrono::TimeDelta::from_std(span.0).map_err(|_| wrong())?;
    chrono::Utc::now().checked_add_signed(span).ok_or_else(wrong)
}

/// Asks on a terminal, without showing what is typed, and again to be sure; else the first line of standard input.
fn new_password(name: &str) -> Result<String, AppError> {
    let read = || -> Result<String, AppError> {
        let mut line = String::new();
        io::stdin()
            .read_line(&mut line)
            .map_err(|error| failed("cannot read the password from standard input", &error))?;
        Ok(line.trim_end_matches(['\n', '\r']).to_owned())
    };
    let password = if io::stdin().is_terminal() {
        let ask = |question: &str| -> Result<String, AppError> {
            write!(io::stderr(), "{question}: ").ok();
            let hidden = HiddenTyping::begin().map_err(|error| failed("cannot hide what is typed", &error))?;
            let password = read();
            drop(hidden);
            writeln!(io::stderr()).ok();
            password
        };
        let password = ask(&format!("password of {name}"))?;
        if ask("again")? != password {
            return Err(AppError::Usage("these are two passwords; nothing was changed".into()));
        }
        password
    } else {
        read()?
    };
    match password.is_empty() {
        true => Err(AppError::Usage(
            "the password is empty; with --no-password the user logs in by certificates and tokens only".into(),
        )),
        false => Ok(password),
    }
}

/// While it is there, the terminal of standard input shows nothing.
struct HiddenTyping(rustix::termios::Termios);

impl HiddenTyping {
    fn begin() -> io::Result<HiddenTyping> {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
        Ok(HiddenTyping(before))
    }
}

impl Drop for HiddenTyping {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing anyway.
        let _ = rustix::termios::tcsetattr(io::stdin(), rustix::termios::OptionalActions::Now, &self.0);
    }
}

fn engine(history: &Arc<History>, loaded: &Loaded, timeout: Option<Duration>) -> Result<Arc<QueryEngine>, AppError> {
    let settings = loaded
        .settings
        .iter()
        .map(|setting| Setting {
            name: setting.name.to_string(),
            value: setting.value.clone(),
            source: setting.source.as_str().to_owned(),
            description: setting.description.to_owned(),
        })
        .collect();
    let catalog = Arc::new(Catalog::new(Arc::<History>::clone(history), settings));
    let config = &loaded.config.query;
    let or_none = |number: u64| (number > 0).then_some(number);
    let limits = QueryLimits {
        timeout,
        memory_bytes: or_none(config.memory_limit.0).map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
        wait_for_logs: config.wait_for_logs.0,
        max_concurrent: config.max_concurrent as usize,
        queue_timeout: config.queue_timeout.0,
        spill_bytes: config.max_spill_bytes.0,
        max_result_rows: or_none(config.max_result_rows),
        max_result_bytes: or_none(config.max_result_bytes.0),
    };
    let spill_to = match config.spill_directory.as_str() {
        "" => std::env::temp_dir(),
        directory => PathBuf::from(directory),
    };
    QueryEngine::start(catalog, limits, &spill_to)
        .map_err(|error| failed("cannot start the threads of statements", &error))
}

/// For commands that end by themselves; their work is done on threads of other parts.
fn runtime() -> Result<tokio::runtime::Runtime, AppError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed("cannot start", &error))
}

fn failed(what: &str, error: &io::Error) -> AppError {
    AppError::Failed(format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ran {
        code: u8,
        out: String,
        err: String,
    }

    fn ran(args: &[&str]) -> Ran {
        let args = std::iter::once(&"sparkgate").chain(args).map(OsString::from).collect();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let cache = tempfile::tempdir().unwrap();
        let environment = [("XDG_CACHE_HOME".into(), cache.path().into())];
        let code = run(args, &environment, &mut out, &mut err);
        Ran {
            code,
            out: String::from_utf8(out).unwrap(),
            err: String::from_utf8(err).unwrap(),
        }
    }

    #[test]
    fn wrong_usage_ends_with_2_and_says_why_on_standard_error() {
        let wrong: &[(&[&str], &str)] = &[
            (&[], "Usage"),
            (&["digest", "x"], "unrecognized subcommand"),
            (&["cache", "status"], "no source is given"),
            (&["serve", "--colour", "x"], "--colour"),
            (&["sql", "x", "-c", "SELECT 1", "-f", "y"], "cannot be used with"),
            (&["serve"], "no source is given"),
            (
                &["check", "/no/such/directory"],
                "source /no/such/directory does not exist",
            ),
            (
                &[
                    "serve",
                    "/no/such/directory",
                    "--pg",
                    "127.0.0.1:0",
                    "--flight",
                    "off",
                    "--http",
                    "off",
                ],
                "source /no/such/directory does not exist",
            ),
            (&["check", "ftp://host/logs"], "nothing is known of ftp://"),
            (&["serve", "x", "--http", "0.0.0.0:18080"], "nobody could log in"),
            (&["serve", "x", "--flight", "0.0.0.0:32010"], "nobody could log in"),
            (&["serve", "x", "--pg", "192.168.0.1:5433"], "nobody could log in"),
            (
                &["serve", "x", "--pg", "off", "--flight", "off", "--http", "off"],
                "no door is open",
            ),
            (
                &["check", "x", "--config", "/no/such/file.toml"],
                "cannot read the configuration file",
            ),
            (
                &["sql", "x", "-f", "/no/such/file.sql"],
                "cannot read the statements of /no/such/file.sql",
            ),
            (&["sql", "x", "--format", "xml", "-c", "SELECT 1"], "possible values"),
        ];
        for (args, message) in wrong {
            let ran = ran(args);
            assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
            assert!(ran.err.contains(message) && ran.out.is_empty(), "{args:?}: {}", ran.err);
        }
    }

    #[test]
    fn help_and_version_go_to_standard_output() {
        for args in [["--help"], ["--version"]] {
            let ran = ran(&args);
            assert_eq!((ran.code, ran.err.as_str()), (0, ""));
            assert!(ran.out.contains("sparkgate"));
        }
    }

    #[test]
    fn a_port_in_use_ends_with_1_and_says_what_to_do() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap().to_string();
        let logs = tempfile::tempdir().unwrap();
        let ran = ran(&[
            "serve",
            logs.path().to_str().unwrap(),
            "--pg",
            &addr,
            "--flight",
            "off",
            "--http",
            "off",
        ]);
        assert_eq!(ran.code, 1);
        let expected = format!("sparkgate: cannot listen on {addr}: the port is in use; stop what listens there");
        assert!(ran.err.starts_with(&expected), "{}", ran.err);
        assert_eq!(ran.err.lines().count(), 1);
    }

    #[test]
    fn checking_an_empty_directory_is_all_well() {
        let logs = tempfile::tempdir().unwrap();
        let ran = ran(&["check", logs.path().to_str().unwrap(), "--format", "ndjson", "--strict"]);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", "0 entries\n"));
    }
}
