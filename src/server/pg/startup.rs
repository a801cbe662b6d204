//! From the first byte to `ReadyForQuery`: encryption, authentication, the session's first settings.
//!
//! Who may come in is [`crate::server::auth`]'s to say; here are PostgreSQL's messages for it.

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::DATABASE;
use super::error::{PgError, Stop};
use super::settings::Settings;
use super::wire::{Opening, Wire, WireError, message, parameter_status, parse_sasl_initial, put_text};
use crate::server::auth::{Auth, Identity, Method, Peer, Refusal, ScramError, TlsPeer};
use crate::server::security::Security;
use crate::server::tls::{Inside, MaybeTls};

/// `AuthenticationOk` and its like: what `R` says.
const AUTHENTICATED: i32 = 0;
const SASL: i32 = 10;
const SASL_CONTINUE: i32 = 11;
const SASL_FINAL: i32 = 12;

/// What a connection wants to be.
#[derive(Debug)]
pub(super) enum Greeting {
    Session(Introduction),
    Cancel { pid: i32, secret: i32 },
}

/// What a client says of itself. Nothing of it is believed yet.
#[derive(Debug)]
pub(super) struct Introduction {
    pub(super) user: String,
    pub(super) database: String,
    parameters: Vec<(String, String)>,
}

/// Reads up to the startup message, with TLS before it if the client asks for that. `tls` becomes what TLS says of the client.
pub(super) async fn greet(
    wire: &mut Wire<MaybeTls>,
    tls: &mut Option<TlsPeer>,
    security: &Security,
) -> Result<Greeting, Stop> {
    loop {
        match wire.opening().await {
            Ok(Opening::Ssl) if tls.is_some() => return Err(violation("TLS inside of TLS")),
            Ok(Opening::Ssl) if security.tls.is_some() => *tls = Some(encrypt(wire, security).await?),
            Ok(Opening::Ssl | Opening::Gss) => {
                wire.out.put_u8(b'N');
                wire.flush().await?;
            }
            // Clients send these in plain text, whatever the session they are about has.
            Ok(Opening::Cancel { pid, secret }) => return Ok(Greeting::Cancel { pid, secret }),
            Ok(Opening::Startup { minor, parameters }) => {
                negotiate(&mut wire.out, minor, &parameters);
                return introduced(parameters).map(Greeting::Session);
            }
            Err(WireError::Violation(what)) => return Err(violation(what)),
            Err(other) => return Err(other.into()),
        }
    }
}

fn violation(what: impl Into<String>) -> Stop {
    PgError::fatal("08P01", what).into()
}

async fn encrypt(wire: &mut Wire<MaybeTls>, security: &Security) -> Result<TlsPeer, Stop> {
    // Whoever sends more before our answer is not the client, but somebody before it (CVE-2021-23214).
    if wire.has_unread() {
        return Err(violation("received unencrypted data after SSL request"));
    }
    wire.out.put_u8(b'S');
    wire.flush().await?;
    match (wire.replace(MaybeTls::Closed), &security.tls) {
        (MaybeTls::Plain(socket), Some(tls)) => {
            let (stream, peer) = tls
                .accept(socket, Inside::Postgres, false)
                .await
                .map_err(WireError::Io)?;
            wire.replace(stream);
            Ok(peer)
        }
        _ => Err(violation("TLS inside of TLS")),
    }
}

/// Lets the user in, or says why not. `AuthenticationOk` is [`welcome`]'s.
pub(super) async fn authenticate<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    peer: &Peer,
    introduction: &Introduction,
    security: &Security,
) -> Result<Identity, Stop> {
    let (auth, user) = (&security.auth, introduction.user.as_str());
    if security.require_tls && peer.tls.is_none() {
        return Err(Refusal::NotEncrypted.into());
    }
    match auth.method(peer, &introduction.database, user)? {
        Method::Trust => Ok(auth.trusted(user)),
        Method::Certificate => Ok(auth.by_certificate(peer, user)?),
        Method::Scram => scram(wire, peer, user, auth).await,
        Method::Reject => Err(Refusal::Internal("a rule that rejects let somebody through".into()).into()),
    }
}

async fn scram<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    peer: &Peer,
    user: &str,
    auth: &Auth,
) -> Result<Identity, Stop> {
    let mut exchange = auth.exchange(peer, user);
    message(&mut wire.out, b'R', |out| {
        out.put_i32(SASL);
        for mechanism in exchange.mechanisms() {
            put_text(out, mechanism);
        }
        out.put_u8(0);
    });
    wire.flush().await?;
    let malformed = || Stop::from(Refusal::Scram(ScramError::Malformed("not what SASL wants")));
    let (mechanism, first) = parse_sasl_initial(login_message(wire).await?).ok_or_else(malformed)?;
    let answer = exchange.first(&mechanism, &first).map_err(Refusal::Scram)?;
    sasl(&mut wire.out, SASL_CONTINUE, &answer);
    wire.flush().await?;
    let last = login_message(wire).await?;
    let last = std::str::from_utf8(&last).map_err(|_| malformed())?;
    let (answer, identity) = auth.prove(peer, user, &exchange, last).await?;
    sasl(&mut wire.out, SASL_FINAL, &answer);
    Ok(identity)
}

async fn login_message<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>) -> Result<Bytes, Stop> {
    wire.login_message().await.map_err(|error| match error {
        WireError::Violation(what) => violation(what),
        gone => gone.into(),
    })
}

fn sasl(out: &mut BytesMut, kind: i32, text: &str) {
    message(out, b'R', |out| {
        out.put_i32(kind);
        out.put_slice(text.as_bytes());
    });
}

/// Only 3.0 is spoken; who asks for more is told so, and for which options of the protocol.
fn negotiate(out: &mut BytesMut, minor: u16, parameters: &[(String, String)]) {
    let options: Vec<&str> = parameters
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| name.starts_with("_pq_."))
        .collect();
    if minor == 0 && options.is_empty() {
        return;
    }
    message(out, b'v', |out| {
        out.put_i32(3 << 16);
        out.put_u32(u32::try_from(options.len()).unwrap_or(0));
        for option in options {
            put_text(out, option);
        }
    });
}

fn introduced(parameters: Vec<(String, String)>) -> Result<Introduction, Stop> {
    let find = |wanted: &str| {
        let found = parameters.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    };
    let Some(user) = find("user") else {
        return Err(PgError::fatal("28000", "no PostgreSQL user name specified in startup packet").into());
    };
    Ok(Introduction {
        // As in PostgreSQL, the database is the user's name unless it is given.
        database: find("database").unwrap_or_else(|| user.clone()),
        user,
        parameters,
    })
}

/// The session that somebody asked for who may come in: only they learn what there is.
pub(super) fn start(introduction: &Introduction) -> Result<Settings, PgError> {
    let database = introduction.database.as_str();
    if database != DATABASE {
        return Err(PgError::fatal(
            "3D000",
            format!("database \"{database}\" does not exist"),
        ));
    }
    let mut settings = Settings::new(&introduction.user);
    let fatal = |error: PgError| PgError { fatal: true, ..error };
    for (name, value) in &introduction.parameters {
        match name.as_str() {
            "user" | "database" => {}
            "replication" if matches!(value.as_str(), "" | "0" | "off" | "false" | "no") => {}
            "replication" => return Err(PgError::fatal("0A000", "replication is not supported")),
            "options" => {
                for (name, value) in command_line_options(value) {
                    settings.set_initial(&name, &value).map_err(fatal)?;
                }
            }
            name if name.starts_with("_pq_.") => {}
            name => settings.set_initial(name, value).map_err(fatal)?,
        }
    }
    Ok(settings)
}

/// `-c name=value --name=value`, as in `PGOPTIONS`. A backslash keeps the next character.
fn command_line_options(options: &str) -> Vec<(String, String)> {
    let mut words = vec![String::new()];
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        let word = words.last_mut().expect("there is always a word");
        match character {
            '\\' => word.extend(characters.next()),
            ' ' => words.push(String::new()),
            other => word.push(other),
        }
    }
    let assignment = |word: &String| {
        let word = word
            .strip_prefix("--")
            .or_else(|| word.strip_prefix("-c"))
            .unwrap_or(word);
        word.split_once('=')
            .map(|(name, value)| (name.replace('-', "_"), value.to_string()))
    };
    words.iter().filter_map(assignment).collect()
}

/// Authentication is done; settings and the key for cancel requests. `ReadyForQuery` is the session's.
pub(super) fn welcome(out: &mut BytesMut, settings: &mut Settings, pid: i32, secret: i32) {
    message(out, b'R', |out| out.put_i32(AUTHENTICATED));
    for (name, value) in settings.news() {
        parameter_status(out, name, &value);
    }
    message(out, b'K', |out| {
        out.put_i32(pid);
        out.put_i32(secret);
    });
}
