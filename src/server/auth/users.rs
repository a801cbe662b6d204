//! The file of users: who there is, their roles, what their passwords are checked with, and tokens. No password and no token is in it.
//!
//! One entry a line; empty lines and lines that begin with `#` are for people:
//!
//! ```text
//! seed   NUMBERS                                     what log-ins of unknown users are made up from
//! user   NAME  admin|reader  VERIFIER|-              `-`: no password, only certificates and tokens
//! token  LABEL NAME  SHA-256-OF-THE-TOKEN  TIME|never
//! ```
//!
//! [`UsersFile::current`] looks at every log-in whether the file has changed. A new state with a mistake is not taken: the one before holds.

use std::collections::HashMap;
use std::fmt;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD};
use chrono::{DateTime, SecondsFormat, Utc};

use super::scram::{NoRandomness, Verifier, fill_random, sha256};
use crate::server::watched::Stamp;

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Query everything.
    Reader,
    /// Also look after the server: end the statements of others, and come in when all other places are taken.
    Admin,
}

impl Role {
    pub fn is_admin(self) -> bool {
        self == Role::Admin
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "reader" => Ok(Role::Reader),
            "admin" => Ok(Role::Admin),
            other => Err(format!("{other:?} is no role; there are admin and reader")),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Reader => "reader",
            Role::Admin => "admin",
        })
    }
}

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    #[error("cannot read the file of users {}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write the file of users {}", path.display())]
    Unwritable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{}: line {line}: {message}", path.display())]
    Malformed {
        path: PathBuf,
        line: usize,
        message: String,
    },
    #[error("{}: there is no {what} {name:?}", path.display())]
    Missing {
        path: PathBuf,
        what: &'static str,
        name: String,
    },
    #[error("{name:?} is no name: {message}")]
    BadName { name: String, message: &'static str },
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) role: Role,
    pub(super) password: Option<Verifier>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    label: String,
    pub(super) user: String,
    expires: Option<DateTime<Utc>>,
}

impl Token {
    pub(super) fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }
}

/// One state of the file.
#[derive(Debug, Default)]
pub(super) struct Users {
    seed: Option<[u8; 32]>,
    users: HashMap<String, User>,
    /// By the hash: who can choose a token whose hash is near another's can break SHA-256.
    tokens: HashMap<[u8; 32], Token>,
}

impl Users {
    pub(super) fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    pub(super) fn token(&self, token: &str) -> Option<&Token> {
        self.tokens.get(&sha256(token.as_bytes()))
    }

    pub(super) fn seed(&self) -> Option<&[u8; 32]> {
        self.seed.as_ref()
    }

    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    fn parse(path: &Path, text: &str) -> Result<Users, UsersError> {
        let mut users = Users::default();
        for (index, line) in text.lines().enumerate() {
            users.line(line).map_err(|message| UsersError::Malformed {
                path: path.to_owned(),
                line: index + 1,
                message,
            })?;
        }
        for (index, line) in text.lines().enumerate() {
            if let ["token", label, user, ..] = words(line)[..]
                && !users.users.contains_key(user)
            {
                return Err(UsersError::Malformed {
                    path: path.to_owned(),
                    line: index + 1,
                    message: format!("token {label:?} is of {user:?}, and there is no such user"),
                });
            }
        }
        Ok(users)
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        match words(line)[..] {
            [] => Ok(()),
            ["seed", seed] => {
                let bytes = BASE64.decode(seed).ok().and_then(|bytes| bytes.try_into().ok());
                self.seed = Some(bytes.ok_or("the seed is not 32 bytes in base64")?);
                Ok(())
            }
            ["user", name, role, password] => {
                check_name(name).map_err(|message| format!("{name:?} is no name: {message}"))?;
                let password = match password {
                    "-" => None,
                    // The text itself is not shown: somebody may have written the password there.
                    verifier => Some(
                        verifier
                            .parse()
                            .map_err(|message| format!("the password of {name:?} {message}"))?,
                    ),
                };
                let role = role.parse()?;
                match self.users.insert(name.to_owned(), User { role, password }) {
                    None => Ok(()),
                    Some(_) => Err(format!("there is a user {name:?} already")),
                }
            }
            ["token", label, user, hash, expires] => {
                let hash = from_hex(hash).ok_or("the hash of the token is not 64 hexadecimal digits")?;
                let token = Token {
                    label: label.to_owned(),
                    user: user.to_owned(),
                    expires: match expires {
                        "never" => None,
                        time => Some(
                            DateTime::parse_from_rfc3339(time)
                                .map_err(|_| {
                                    format!("{time:?} is no time such as 2027-01-31T00:00:00Z, and not never")
                                })?
                                .to_utc(),
                        ),
                    },
                };
                if self.tokens.values().any(|other| other.label == label) {
                    return Err(format!("there is a token {label:?} already"));
                }
                self.tokens.insert(hash, token);
                Ok(())
            }
            _ => Err("a line is `user NAME ROLE VERIFIER`, `token LABEL USER HASH TIME` or `seed NUMBERS`".into()),
        }
    }
}

/// The words of a line; none if it is for people.
fn words(line: &str) -> Vec<&str> {
    let line = line.trim();
    match line.starts_with('#') {
        true => Vec::new(),
        false => line.split_whitespace().collect(),
    }
}

/// Basic authentication cannot carry a colon, and the file no spaces.
fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > 63 {
        return Err("it has to have 1 to 63 bytes");
    }
    if name == "all" || name == "-" || name.starts_with(['#', '+']) {
        return Err("it means something else in rules or in this file");
    }
    match name.contains(|c: char| c.is_whitespace() || c.is_control() || ":,\"".contains(c)) {
        true => Err("it must not have spaces, colons, commas, quotes or control characters"),
        false => Ok(()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// The file as the server sees it.
#[derive(Debug)]
pub(super) struct UsersFile {
    path: PathBuf,
    state: Mutex<(Option<Stamp>, Arc<Users>)>,
}

impl UsersFile {
    pub(super) fn open(path: &Path) -> Result<Self, UsersError> {
        let (stamp, users) = read(path)?;
        Ok(UsersFile {
            path: path.to_owned(),
            state: Mutex::new((stamp, Arc::new(users))),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The users of now.
    pub(super) fn current(&self) -> Arc<Users> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::of(&self.path);
        if stamp != state.0 {
            match read(&self.path) {
                Ok((read, users)) => {
                    tracing::info!(path = %self.path.display(), users = users.len(), "read the file of users again");
                    *state = (read, Arc::new(users));
                }
                Err(error) => {
                    let error = crate::telemetry::error_chain(&error);
                    tracing::error!(error, "the file of users is not taken; the users before still hold");
                    // Said once for each state of the file.
                    state.0 = stamp;
                }
            }
        }
        Arc::clone(&state.1)
    }
}

fn read(path: &Path) -> Result<(Option<Stamp>, Users), UsersError> {
    // The stamp first: a change in between is then seen as one.
    let stamp = Stamp::of(path);
    let users = Users::parse(path, &read_text(path)?)?;
    if stamp.is_some_and(|stamp| stamp.is_public) {
        tracing::warn!(path = %path.display(), "everybody on this machine can read the file of users; chmod 600 it");
    }
    Ok((stamp, users))
}

fn read_text(path: &Path) -> Result<String, UsersError> {
    std::fs::read_to_string(path).map_err(|source| UsersError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

/// What `sparkgate user list` says of a user or of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    pub role: Role,
    pub has_password: bool,
    /// Label, and when it ends.
    pub tokens: Vec<(String, Option<DateTime<Utc>>)>,
}

/// All users, by name.
pub fn list(path: &Path) -> Result<Vec<Listed>, UsersError> {
    let users = Users::parse(path, &read_text(path)?)?;
    let mut listed: Vec<Listed> = users
        .users
        .iter()
        .map(|(name, user)| {
            let own = users.tokens.values().filter(|token| token.user == *name);
            let mut tokens: Vec<_> = own.map(|token| (token.label.clone(), token.expires)).collect();
            tokens.sort();
            Listed {
                name: name.clone(),
                role: user.role,
                has_password: user.password.is_some(),
                tokens,
            }
        })
        .collect();
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(listed)
}

/// Refuses what cannot be the name of a user or the label of a token.
pub fn check_new_name(name: &str) -> Result<(), UsersError> {
    check_name(name).map_err(|message| UsersError::BadName {
        name: name.to_owned(),
        message,
    })
}

/// Makes a user, or gives one another password and role. The file is made where there is none.
pub fn set_user(path: &Path, name: &str, role: Role, password: Option<&str>) -> Result<(), UsersError> {
    check_new_name(name)?;
    let verifier = match password {
        Some(password) => Verifier::of_password(password)?.to_string(),
        None => "-".to_owned(),
    };
    edit(path, true, |lines| {
        let line = format!("user {name} {role} {verifier}");
        match lines.iter_mut().find(|line| is_user(line, name)) {
            Some(old) => *old = line,
            None => lines.push(line),
        }
        Ok(())
    })
}

/// Removes a user and their tokens.
pub fn remove_user(path: &Path, name: &str) -> Result<(), UsersError> {
    edit(path, false, |lines| {
        let before = lines.len();
        lines.retain(|line| !is_user(line, name));
        if lines.len() == before {
            return Err(missing(path, "user", name));
        }
        lines.retain(|line| !matches!(words(line)[..], ["token", _, user, ..] if user == name));
        Ok(())
    })
}

/// Makes a token of a user; what is given is nowhere else.
pub fn add_token(path: &Path, name: &str, label: &str, expires: Option<DateTime<Utc>>) -> Result<String, UsersError> {
    check_new_name(label)?;
    let mut random = [0; 32];
    fill_random(&mut random)?;
    // The prefix lets scanners for leaked secrets find it.
    let token = format!("sparkgate_{}", URL_SAFE_NO_PAD.encode(random));
    let expires = expires.map_or("never".to_owned(), |time| {
        time.to_rfc3339_opts(SecondsFormat::Secs, true)
    });
    edit(path, false, |lines| {
        if !lines.iter().any(|line| is_user(line, name)) {
            return Err(missing(path, "user", name));
        }
        lines.push(format!(
            "token {label} {name} {} {expires}",
            hex(&sha256(token.as_bytes()))
        ));
        Ok(())
    })?;
    Ok(token)
}

pub fn remove_token(path: &Path, label: &str) -> Result<(), UsersError> {
    edit(path, false, |lines| {
        let before = lines.len();
        lines.retain(|line| !matches!(words(line)[..], ["token", known, ..] if known == label));
        match lines.len() == before {
            true => Err(missing(path, "token", label)),
            false => Ok(()),
        }
    })
}

fn missing(path: &Path, what: &'static str, name: &str) -> UsersError {
    UsersError::Missing {
        path: path.to_owned(),
        what,
        name: name.to_owned(),
    }
}

fn is_user(line: &str, name: &str) -> bool {
    matches!(words(line)[..], ["user", known, ..] if known == name)
}

/// Changes lines of the file and keeps the others as they are. A server that reads meanwhile sees the old file or the new one.
fn edit(
    path: &Path,
    may_make: bool,
    change: impl FnOnce(&mut Vec<String>) -> Result<(), UsersError>,
) -> Result<(), UsersError> {
    let text = match read_text(path) {
        Err(UsersError::Unreadable { source, .. }) if may_make && source.kind() == std::io::ErrorKind::NotFound => {
            let mut seed = [0; 32];
            fill_random(&mut seed)?;
            format!(
                "# Users of Sparkgate; `sparkgate user --help` says how to change them.\nseed {}\n",
                BASE64.encode(seed)
            )
        }
        other => other?,
    };
    // A file with a mistake is for its author to put right first.
    Users::parse(path, &text)?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    change(&mut lines)?;
    let text = lines.join("\n") + "\n";
    Users::parse(path, &text)?;
    write(path, &text).map_err(|source| UsersError::Unwritable {
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    // Where it is a link, what it points to is replaced, not the link.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    let replace = || {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(text.as_bytes())?;
        // The server may run as another user, who was given the right to read it.
        if let Ok(before) = std::fs::metadata(&path) {
            use std::os::unix::fs::MetadataExt;
            file.set_permissions(before.permissions())?;
            if std::os::unix::fs::fchown(&file, Some(before.uid()), Some(before.gid())).is_err() {
                // Only root may give files away; the file then belongs to whoever changed it.
                tracing::debug!("the owner of the file of users has changed");
            }
        }
        file.sync_all()?;
        std::fs::rename(&temporary, &path)
    };
    let replaced = replace();
    if replaced.is_err() {
        // It may not be there at all.
        let _ = std::fs::remove_file(&temporary);
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERIFIER: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    fn parse(text: &str) -> Result<Users, String> {
        Users::parse(Path::new("users"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn users_and_tokens_are_read() {
        let hash = hex(&sha256(b"secret"));
        let text = format!(
            "# people\n\nuser alice admin {VERIFIER}\n  user bob\treader -\ntoken ci bob {hash} 2026-12-01T00:00:00Z\n"
        );
        let users = parse(&text).unwrap();
        assert_eq!(users.len(), 2);
        assert!(users.user("alice").unwrap().role.is_admin());
        assert!(users.user("alice").unwrap().password.as_ref().unwrap().fits("pencil"));
        assert_eq!(users.user("bob").unwrap().password, None);
        let token = users.token("secret").unwrap();
        assert_eq!(token.user, "bob");
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        assert!(!token.is_expired(at("2026-11-30T23:59:59Z")) && token.is_expired(at("2026-12-01T00:00:00Z")));
        assert!(users.token("other").is_none() && users.user("carol").is_none());
    }

    #[test]
    fn a_bad_line_is_named_and_no_secret_is_shown() {
        let user = format!("user alice admin {VERIFIER}\n");
        for (line, part) in [
            ("alice admin x", "a line is"),
            ("user alice admin", "a line is"),
            ("user bob root -", "\"root\" is no role"),
            ("user bob reader hunter2", "the password of \"bob\" is no verifier"),
            ("user alice reader -", "a user \"alice\" already"),
            ("user a:b reader -", "no name"),
            ("user all reader -", "no name"),
            ("seed abc", "32 bytes"),
            ("token t alice abc never", "64 hexadecimal"),
            (&format!("token t alice {} soon", "0".repeat(64)), "\"soon\" is no time"),
            (&format!("token t bob {} never", "0".repeat(64)), "no such user"),
        ] {
            let message = parse(&format!("{user}# comment\n{line}\n")).unwrap_err();
            assert!(
                message.starts_with("users: line 3: ") && message.contains(part),
                "{message}"
            );
            assert!(!message.contains("hunter2"));
        }
    }

    #[test]
    fn the_file_is_made_changed_and_seen_by_a_server_that_has_it_open() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        set_user(&path, "alice", Role::Admin, Some("pw")).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let file = UsersFile::open(&path).unwrap();
        assert!(file.current().seed().is_some());
        let seed = *file.current().seed().unwrap();

        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("pw"));
        std::fs::write(&path, format!("{text}# a note\n")).unwrap();
        set_user(&path, "bob", Role::Reader, None).unwrap();
        set_user(&path, "alice", Role::Reader, Some("other")).unwrap();
        let token = add_token(&path, "bob", "ci", None).unwrap();
        let now = file.current();
        assert!(!now.user("alice").unwrap().role.is_admin());
        assert!(now.user("alice").unwrap().password.as_ref().unwrap().fits("other"));
        assert_eq!(
            (now.token(&token).unwrap().user.as_str(), now.seed()),
            ("bob", Some(&seed))
        );
        assert_eq!(list(&path).unwrap()[1].tokens, [("ci".to_owned(), None)]);

        // A mistake is not taken.
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("# a note") && !text.contains(&token));
        std::fs::write(&path, format!("{text}nonsense\n")).unwrap();
        assert_eq!(file.current().len(), 2);
        assert!(set_user(&path, "carol", Role::Reader, None).is_err());
        std::fs::write(&path, text).unwrap();

        remove_token(&path, "ci").unwrap();
        remove_user(&path, "bob").unwrap();
        assert_eq!(file.current().len(), 1);
        assert!(file.current().token(&token).is_none());
        assert!(
            remove_user(&path, "bob")
                .unwrap_err()
                .to_string()
                .contains("no user \"bob\"")
        );
        assert!(add_token(&path, "bob", "x", None).is_err() && remove_token(&path, "ci").is_err());
    }
}
