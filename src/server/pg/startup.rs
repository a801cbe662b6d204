//! From the first byte to `ReadyForQuery`: refusal of encryption (not offered yet), authentication, the session's first settings.
//!
//! Authentication is trust: whoever reaches the address is let in, which is why the configuration binds to loopback by default. SCRAM
//! and TLS come in here, between the startup message and [`welcome`].

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::DATABASE;
use super::error::{PgError, Stop};
use super::settings::Settings;
use super::wire::{Opening, Wire, WireError, message, parameter_status, put_text};

/// What a connection wants to be.
#[derive(Debug)]
pub(super) enum Greeting {
    Session { user: String, settings: Box<Settings> },
    Cancel { pid: i32, secret: i32 },
}

pub(super) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>) -> Result<Greeting, Stop> {
    loop {
        match wire.opening().await {
            Ok(Opening::Ssl | Opening::Gss) => {
                wire.out.put_u8(b'N');
                wire.flush().await?;
            }
            Ok(Opening::Cancel { pid, secret }) => return Ok(Greeting::Cancel { pid, secret }),
            Ok(Opening::Startup { minor, parameters }) => {
                negotiate(&mut wire.out, minor, &parameters);
                return start(parameters);
            }
            Err(WireError::Violation(what)) => return Err(PgError::fatal("08P01", what).into()),
            Err(other) => return Err(other.into()),
        }
    }
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

fn start(parameters: Vec<(String, String)>) -> Result<Greeting, Stop> {
    let find = |wanted: &str| {
        parameters
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.clone())
    };
    let Some(user) = find("user").filter(|user| !user.is_empty()) else {
        return Err(PgError::fatal("28000", "no PostgreSQL user name specified in startup packet").into());
    };
    // As in PostgreSQL, the database is the user's name unless it is given.
    let database = find("database")
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| user.clone());
    if database != DATABASE {
        return Err(PgError::fatal("3D000", format!("database \"{database}\" does not exist")).into());
    }
    if find("replication").is_some_and(|value| !matches!(value.as_str(), "" | "0" | "off" | "false" | "no")) {
        return Err(PgError::fatal("0A000", "replication is not supported").into());
    }
    let mut settings = Settings::new(&user);
    let fatal = |error: PgError| PgError { fatal: true, ..error };
    for (name, value) in &parameters {
        match name.as_str() {
            "user" | "database" | "replication" => {}
            "options" => {
                for (name, value) in command_line_options(value) {
                    settings.set_initial(&name, &value).map_err(fatal)?;
                }
            }
            name if name.starts_with("_pq_.") => {}
            name => settings.set_initial(name, value).map_err(fatal)?,
        }
    }
    Ok(Greeting::Session {
        user,
        settings: Box::new(settings),
    })
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
    message(out, b'R', |out| out.put_i32(0));
    for (name, value) in settings.news() {
        parameter_status(out, name, &value);
    }
    message(out, b'K', |out| {
        out.put_i32(pid);
        out.put_i32(secret);
    });
}
