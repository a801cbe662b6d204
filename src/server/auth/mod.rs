//! Who may come in: rules, users, passwords, tokens, certificates; the same for every door.
//!
//! A door says who is there ([`Peer`]), asks which [`Method`] holds for them, and brings what the client says. Nothing here knows a protocol:
//! the PostgreSQL door carries the messages of an [`Exchange`], doors with passwords or tokens in clear use [`Auth::log_in`].
//!
//! Every refusal is logged here with address and user, and counted; failed passwords slow the next attempt (`throttle`).

mod rules;
mod scram;
mod seal;
mod throttle;
mod users;

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use tokio::sync::Semaphore;

use crate::config::AuthConfig;
pub use rules::Method;
use rules::Rules;
pub use scram::{Exchange, NoRandomness, SCRAM, SCRAM_PLUS, ScramError, Verifier};
use scram::{fill_random, sign};
pub use seal::{Seal, random};
use throttle::Throttle;
pub use users::{Listed, Role, UsersError, add_token, check_new_name, list, remove_token, remove_user, set_user};
use users::{User, Users, UsersFile};

/// Passwords that are checked at one time where the server does the work of SCRAM; each takes a thread for some milliseconds.
const PASSWORD_CHECKS: usize = 2;
/// Passwords that were right lately, as keyed hashes; one costs 32 bytes.
const MOST_VERIFIED: usize = 1000;
/// Clients written in Go leave the padding out.
const LENIENT_BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// What a user is called who did not say who they are, and did not have to.
const ANONYMOUS: &str = "anonymous";

/// The other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: IpAddr,
    /// `None` is plain text.
    pub tls: Option<TlsPeer>,
}

/// What TLS says of a connection.
#[derive(Debug, Clone, Default)]
pub struct TlsPeer {
    /// The common name of a client's certificate that was verified.
    pub client_name: Option<String>,
    /// The hash of the server's certificate, for channel binding.
    pub end_point: Option<Vec<u8>>,
}

/// Who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub user: String,
    pub role: Role,
}

/// What a client brought that sends all at once.
#[derive(Clone, Copy)]
pub enum Credentials<'a> {
    None,
    Password { user: &'a str, password: &'a str },
    Token(&'a str),
}

impl<'a> Credentials<'a> {
    /// What an `Authorization` header brings; a form that is not known brings nothing.
    pub fn of_header(header: &'a str, decoded: &'a mut String) -> Credentials<'a> {
        let (scheme, value) = header.split_once(' ').unwrap_or_default();
        let value = value.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Credentials::Token(value);
        }
        if scheme.eq_ignore_ascii_case("basic") {
            *decoded = LENIENT_BASE64
                .decode(value)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .unwrap_or_default();
            if let Some((user, password)) = decoded.split_once(':') {
                return Credentials::Password { user, password };
            }
        }
        Credentials::None
    }
}

impl fmt::Debug for Credentials<'_> {
    /// Without what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credentials::None => f.write_str("None"),
            Credentials::Password { user, .. } => write!(f, "Password of {user:?}"),
            Credentials::Token(_) => f.write_str("Token"),
        }
    }
}

/// Why somebody is not let in. Texts are PostgreSQL's where it has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no pg_hba.conf entry for {0}")]
    NoRule(String),
    #[error("pg_hba.conf rejects connection for {0}")]
    Rejected(String),
    #[error("password authentication failed for user \"{0}\"")]
    WrongPassword(String),
    #[error("the token is not known, or it has expired")]
    WrongToken,
    #[error("log in with a user and a password, or with a token")]
    PasswordNeeded,
    #[error("connection requires a valid client certificate")]
    CertificateNeeded,
    #[error("certificate authentication failed for user \"{0}\"")]
    WrongCertificate(String),
    #[error("{0}")]
    Scram(ScramError),
    #[error("this server is spoken to over TLS only ([tls] require_tls); use sslmode=require or https")]
    NotEncrypted,
    #[error("canceling authentication due to timeout")]
    TimedOut,
    #[error("{0}")]
    Internal(String),
}

/// Wrong settings.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error("[auth] rules: {0}")]
    Rules(String),
    #[error(transparent)]
    Users(#[from] UsersError),
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    #[error(
        "{addr} can be reached from other machines, and {because}; make a user with `sparkgate user add NAME` and name the file in \
         [auth] users_file"
    )]
    NobodyCouldLogIn { addr: SocketAddr, because: String },
    #[error(
        "{addr} can be reached from other machines, and no rule of [auth] rules has the method scram-sha-256 or cert"
    )]
    NoMethod { addr: SocketAddr },
    #[error(
        "a rule of [auth] rules has the method cert, and [tls] client_ca does not say who signs certificates of clients"
    )]
    NoClientCa,
}

/// How often what happened, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Log-ins that succeeded with a password, a token or a certificate.
    pub succeeded: u64,
    /// Wrong passwords, tokens and certificates.
    pub failed: u64,
    /// No rule lets them in, or one keeps them out.
    pub refused: u64,
    /// Attempts that had to wait because of those before.
    pub delayed: u64,
}

#[derive(Debug, Default)]
struct Counters {
    succeeded: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    delayed: AtomicU64,
}

/// One for the whole server, so that attempts at one door slow those at another.
pub struct Auth {
    rules: Rules,
    users: Option<UsersFile>,
    throttle: Throttle,
    counters: Counters,
    /// Of this process alone: what it hides is not kept.
    secret: [u8; 32],
    verified: Mutex<HashSet<[u8; 32]>>,
    password_checks: Arc<Semaphore>,
}

impl fmt::Debug for Auth {
    /// Without what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("rules", &self.rules)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

impl Auth {
    /// Reads rules and users.
    pub fn open(config: &AuthConfig) -> Result<Auth, AuthError> {
        let rules = Rules::parse(&config.rules).map_err(AuthError::Rules)?;
        let users = match config.users_file.as_str() {
            "" => None,
            path => Some(UsersFile::open(Path::new(path))?),
        };
        let mut secret = [0; 32];
        fill_random(&mut secret)?;
        Ok(Auth {
            rules,
            users,
            throttle: Throttle::default(),
            counters: Counters::default(),
            secret,
            verified: Mutex::default(),
            password_checks: Arc::new(Semaphore::new(PASSWORD_CHECKS)),
        })
    }

    /// Refuses an address that others can reach if nobody would have to log in, or nobody could. Rules trust this machine alone.
    pub fn check_address(&self, addr: SocketAddr) -> Result<(), AuthError> {
        if addr.ip().is_loopback() || self.asks_for_certificates() {
            return Ok(());
        }
        if !self.rules.have(Method::Scram) {
            return Err(AuthError::NoMethod { addr });
        }
        let because = match &self.users {
            None => "there are no users".to_owned(),
            Some(users) if users.current().len() == 0 => format!("{} has no user", users.path().display()),
            Some(_) => return Ok(()),
        };
        Err(AuthError::NobodyCouldLogIn { addr, because })
    }

    /// Whether a rule has the method `cert`, for which TLS has to know who signs certificates of clients.
    pub fn asks_for_certificates(&self) -> bool {
        self.rules.have(Method::Certificate)
    }

    pub fn counts(&self) -> Counts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            succeeded: count(&self.counters.succeeded),
            failed: count(&self.counters.failed),
            refused: count(&self.counters.refused),
            delayed: count(&self.counters.delayed),
        }
    }

    /// How a user has to show who they are; [`Method::Reject`] is an error already.
    pub fn method(&self, peer: &Peer, database: &str, user: &str) -> Result<Method, Refusal> {
        match self.rule(peer, database, Some(user)) {
            Some(Method::Reject) => Err(self.refused(Refusal::Rejected(described(peer, user, database)))),
            Some(method) => Ok(method),
            None => Err(self.refused(Refusal::NoRule(described(peer, user, database)))),
        }
    }

    fn rule(&self, peer: &Peer, database: &str, user: Option<&str>) -> Option<Method> {
        self.rules.method(peer.tls.is_some(), database, user, peer.address)
    }

    /// Somebody whom a rule trusts.
    pub fn trusted(&self, user: &str) -> Identity {
        let role = match &self.users {
            // Everybody who gets here is on this machine, and there is nobody to tell them apart from.
            None => Role::Admin,
            Some(users) => users.current().user(user).map_or(Role::Reader, |user| user.role),
        };
        Identity {
            user: user.to_owned(),
            role,
        }
    }

    /// Somebody with a certificate, which TLS has verified: it has to be theirs.
    pub fn by_certificate(&self, peer: &Peer, user: &str) -> Result<Identity, Refusal> {
        let name = peer.tls.as_ref().and_then(|tls| tls.client_name.as_deref());
        let Some(name) = name else {
            return Err(self.failed(peer, user, Refusal::CertificateNeeded));
        };
        let role = match &self.users {
            None => Some(Role::Reader),
            // Whoever is taken out of the file stays out, whatever their certificate says.
            Some(users) => users.current().user(user).map(|user| user.role),
        };
        match role {
            Some(role) if name == user => Ok(self.succeeded(peer, user, role)),
            _ => Err(self.failed(peer, user, Refusal::WrongCertificate(user.to_owned()))),
        }
    }

    /// The beginning of a log-in by SCRAM.
    pub fn exchange(&self, peer: &Peer, user: &str) -> Exchange {
        let (verifier, is_doomed) = self.verifier(user);
        let end_point = peer.tls.as_ref().and_then(|tls| tls.end_point.clone());
        Exchange::new(verifier, is_doomed, end_point)
    }

    /// The end of it: takes the client's last message, gives the server's.
    pub async fn prove(
        &self,
        peer: &Peer,
        user: &str,
        exchange: &Exchange,
        message: &str,
    ) -> Result<(String, Identity), Refusal> {
        self.wait(peer, user).await;
        match exchange.last(message) {
            Ok(answer) => Ok((answer, self.right_password(peer, user))),
            Err(ScramError::WrongProof) => Err(self.failed_guess(peer, user, Refusal::WrongPassword(user.to_owned()))),
            Err(error) => Err(self.failed(peer, user, Refusal::Scram(error))),
        }
    }

    /// A log-in of a protocol that sends all it has at once.
    pub async fn log_in(&self, peer: &Peer, database: &str, credentials: Credentials<'_>) -> Result<Identity, Refusal> {
        match credentials {
            Credentials::Password { user, password } => match self.method(peer, database, user)? {
                Method::Certificate => self.by_certificate(peer, user),
                Method::Scram => self.by_password(peer, user, password).await,
                Method::Trust => Ok(self.trusted(user)),
                Method::Reject => Err(Refusal::Rejected(described(peer, user, database))),
            },
            Credentials::Token(token) => self.by_token(peer, database, token),
            Credentials::None => self.without_credentials(peer, database),
        }
    }

    /// What [`Auth::admit_again`] compares: another value once the user has another password, or is no user any more.
    pub fn stamp(&self, user: &str) -> [u8; 32] {
        let users = self.users.as_ref().map(UsersFile::current).unwrap_or_default();
        let password = users
            .user(user)
            .map(|user| user.password.as_ref().map(Verifier::to_string));
        sign(&self.secret, format!("stamp\0{user}\0{password:?}").as_bytes())
    }

    /// Somebody who logged in before and got a token of the door's own for it. `stamp` is of that log-in: whoever was taken out of the file
    /// or has got another password since has to log in again, and the rules of now hold.
    pub fn admit_again(&self, peer: &Peer, database: &str, user: &str, stamp: &[u8; 32]) -> Result<Identity, Refusal> {
        match self.method(peer, database, user)? {
            Method::Certificate => self.by_certificate(peer, user),
            Method::Trust => Ok(self.trusted(user)),
            Method::Reject => Err(Refusal::Rejected(described(peer, user, database))),
            Method::Scram if self.stamp(user) != *stamp => Err(self.failed(peer, user, Refusal::WrongToken)),
            Method::Scram => {
                let users = self.users.as_ref().map(UsersFile::current).unwrap_or_default();
                Ok(Identity {
                    user: user.to_owned(),
                    role: users.user(user).map_or(Role::Reader, |user| user.role),
                })
            }
        }
    }

    fn without_credentials(&self, peer: &Peer, database: &str) -> Result<Identity, Refusal> {
        let certificate = peer.tls.as_ref().and_then(|tls| tls.client_name.as_deref());
        if let Some(name) = certificate
            && self.rule(peer, database, Some(name)) == Some(Method::Certificate)
        {
            return self.by_certificate(peer, name);
        }
        match self.rule(peer, database, None) {
            Some(Method::Trust) => Ok(self.trusted(ANONYMOUS)),
            // Browsers ask first and log in when they are told to, so this is no failure.
            Some(Method::Scram) => Err(Refusal::PasswordNeeded),
            _ if self.rules.ask_for_password(peer.tls.is_some(), database, peer.address) => {
                Err(Refusal::PasswordNeeded)
            }
            Some(Method::Certificate) => Err(self.failed(peer, "", Refusal::CertificateNeeded)),
            Some(Method::Reject) => Err(self.refused(Refusal::Rejected(described(peer, "", database)))),
            None => Err(self.refused(Refusal::NoRule(described(peer, "", database)))),
        }
    }

    fn by_token(&self, peer: &Peer, database: &str, token: &str) -> Result<Identity, Refusal> {
        let users = self.users.as_ref().map(UsersFile::current).unwrap_or_default();
        let known = users.token(token).filter(|token| !token.is_expired(chrono::Utc::now()));
        let Some(user) = known.map(|token| token.user.as_str()) else {
            return match self.rule(peer, database, None) {
                Some(Method::Trust) => Ok(self.trusted(ANONYMOUS)),
                // There is nothing to slow: nobody guesses 256 bits.
                _ => Err(self.failed(peer, "", Refusal::WrongToken)),
            };
        };
        match self.method(peer, database, user)? {
            Method::Certificate => self.by_certificate(peer, user),
            Method::Trust => Ok(self.trusted(user)),
            Method::Reject => Err(Refusal::Rejected(described(peer, user, database))),
            Method::Scram => {
                let role = users.user(user).map_or(Role::Reader, |user| user.role);
                Ok(self.succeeded(peer, user, role))
            }
        }
    }

    async fn by_password(&self, peer: &Peer, user: &str, password: &str) -> Result<Identity, Refusal> {
        let (verifier, is_doomed) = self.verifier(user);
        // With the verifier in it, a change of the password ends it.
        let key = sign(&self.secret, format!("{user}\0{verifier}\0{password}").as_bytes());
        if self.verified().contains(&key) {
            return Ok(self.right_password(peer, user));
        }
        self.wait(peer, user).await;
        let gone = |_| Refusal::Internal("the server is stopping".into());
        let permit = Arc::clone(&self.password_checks).acquire_owned().await.map_err(gone)?;
        let owned = password.to_owned();
        let check = tokio::task::spawn_blocking(move || {
            let fits = verifier.fits(&owned);
            drop(permit);
            fits
        });
        let fits = check
            .await
            .map_err(|_| Refusal::Internal("the password could not be checked".into()))?;
        if !fits || is_doomed {
            return Err(self.failed_guess(peer, user, Refusal::WrongPassword(user.to_owned())));
        }
        let mut verified = self.verified();
        if verified.len() >= MOST_VERIFIED {
            verified.clear();
        }
        verified.insert(key);
        drop(verified);
        Ok(self.right_password(peer, user))
    }

    fn verified(&self) -> std::sync::MutexGuard<'_, HashSet<[u8; 32]>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a password is checked with, and whether it is made up because there is none.
    fn verifier(&self, name: &str) -> (Verifier, bool) {
        let users = self.users.as_ref().map(UsersFile::current);
        let known = |users: &Arc<Users>| users.user(name).and_then(|user| user.password.clone());
        match users.as_ref().and_then(known) {
            Some(verifier) => (verifier, false),
            None => {
                let seed = users.as_ref().and_then(|users| users.seed()).unwrap_or(&self.secret);
                (Verifier::made_up(name, seed), true)
            }
        }
    }

    async fn wait(&self, peer: &Peer, user: &str) {
        let mut is_first = true;
        while let Some(delay) = self.throttle.wait(peer.address, user, Instant::now()) {
            if is_first {
                self.counters.delayed.fetch_add(1, Ordering::Relaxed);
                is_first = false;
            }
            tokio::time::sleep(delay).await;
        }
    }

    fn right_password(&self, peer: &Peer, user: &str) -> Identity {
        self.throttle.succeeded(peer.address, user);
        let users = self.users.as_ref().map(UsersFile::current);
        let role = users
            .as_ref()
            .and_then(|users| users.user(user))
            .map(|user: &User| user.role);
        self.succeeded(peer, user, role.unwrap_or(Role::Reader))
    }

    fn succeeded(&self, peer: &Peer, user: &str, role: Role) -> Identity {
        self.counters.succeeded.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(address = %peer.address, user = ?user, %role, "logged in");
        Identity {
            user: user.to_owned(),
            role,
        }
    }

    fn failed_guess(&self, peer: &Peer, user: &str, refusal: Refusal) -> Refusal {
        self.throttle.failed(peer.address, user, Instant::now());
        self.failed(peer, user, refusal)
    }

    /// The name is quoted: it may hold anything.
    fn failed(&self, peer: &Peer, user: &str, refusal: Refusal) -> Refusal {
        let total = self.counters.failed.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::warn!(address = %peer.address, user = ?user, reason = ?refusal.to_string(), total, "log-in failed");
        refusal
    }

    fn refused(&self, refusal: Refusal) -> Refusal {
        let total = self.counters.refused.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::warn!(reason = ?refusal.to_string(), total, "log-in refused");
        refusal
    }
}

fn described(peer: &Peer, user: &str, database: &str) -> String {
    let encryption = match peer.tls {
        Some(_) => "SSL encryption",
        None => "no encryption",
    };
    let address = peer.address.to_canonical();
    format!("host \"{address}\", user \"{user}\", database \"{database}\", {encryption}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str, client_name: Option<&str>) -> Peer {
        let tls = client_name.map(|name| TlsPeer {
            client_name: (!name.is_empty()).then(|| name.to_owned()),
            end_point: None,
        });
        Peer {
            address: address.parse().unwrap(),
            tls,
        }
    }

    fn auth(dir: &Path, rules: &[&str]) -> Auth {
        let path = dir.join("users");
        set_user(&path, "alice", Role::Admin, Some("wonder")).unwrap();
        set_user(&path, "bob", Role::Reader, None).unwrap();
        let mut config = AuthConfig {
            users_file: path.to_str().unwrap().to_owned(),
            ..AuthConfig::default()
        };
        if !rules.is_empty() {
            config.rules = rules.iter().map(|&rule| rule.to_owned()).collect();
        }
        Auth::open(&config).unwrap()
    }

    #[tokio::test]
    async fn passwords_tokens_and_certificates_of_the_same_users() {
        let dir = tempfile::tempdir().unwrap();
        let auth = auth(
            dir.path(),
            &["hostssl all bob all cert", "host all all 10.0.0.0/8 scram-sha-256"],
        );
        let token = add_token(&dir.path().join("users"), "alice", "t", None).unwrap();
        let far = peer("10.0.0.1", None);
        let password = |user, password| Credentials::Password { user, password };
        let alice = auth.log_in(&far, "spark", password("alice", "wonder")).await.unwrap();
        assert_eq!((alice.user.as_str(), alice.role), ("alice", Role::Admin));
        assert_eq!(auth.log_in(&far, "spark", Credentials::Token(&token)).await, Ok(alice));
        let refusal = auth
            .log_in(&far, "spark", password("alice", "wander"))
            .await
            .unwrap_err();
        assert_eq!(refusal.to_string(), "password authentication failed for user \"alice\"");
        let refusal = auth
            .log_in(&far, "spark", password("nobody", "wonder"))
            .await
            .unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "password authentication failed for user \"nobody\""
        );
        assert_eq!(
            auth.log_in(&far, "spark", Credentials::None).await,
            Err(Refusal::PasswordNeeded)
        );
        assert_eq!(
            auth.log_in(&far, "spark", Credentials::Token("x")).await,
            Err(Refusal::WrongToken)
        );

        let with = |name| peer("192.168.0.1", Some(name));
        let bob = auth.log_in(&with("bob"), "spark", Credentials::None).await.unwrap();
        assert_eq!((bob.user.as_str(), bob.role), ("bob", Role::Reader));
        assert_eq!(
            auth.by_certificate(&with("alice"), "bob"),
            Err(Refusal::WrongCertificate("bob".into()))
        );
        assert_eq!(auth.by_certificate(&with(""), "bob"), Err(Refusal::CertificateNeeded));
        let nowhere = auth.method(&peer("192.168.0.1", None), "spark", "eve").unwrap_err();
        assert_eq!(
            nowhere.to_string(),
            "no pg_hba.conf entry for host \"192.168.0.1\", user \"eve\", database \"spark\", no encryption"
        );
        let counts = auth.counts();
        assert_eq!((counts.succeeded, counts.failed, counts.refused), (3, 5, 1));
    }

    #[tokio::test]
    async fn a_password_that_was_right_is_known_until_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let auth = auth(dir.path(), &[]);
        let far = peer("10.0.0.1", None);
        let credentials = Credentials::Password {
            user: "alice",
            password: "wonder",
        };
        for _ in 0..3 {
            assert!(auth.log_in(&far, "spark", credentials).await.is_ok());
        }
        assert_eq!(auth.verified().len(), 1);
        set_user(&dir.path().join("users"), "alice", Role::Reader, Some("other")).unwrap();
        assert!(auth.log_in(&far, "spark", credentials).await.is_err());
    }

    #[tokio::test]
    async fn this_machine_is_trusted_by_default_and_no_other() {
        let auth = Auth::open(&AuthConfig::default()).unwrap();
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            let here = peer(address, None);
            assert_eq!(auth.method(&here, "spark", "anyone"), Ok(Method::Trust));
            let identity = auth.log_in(&here, "spark", Credentials::None).await.unwrap();
            assert_eq!(identity.role, Role::Admin);
            // What nobody asked for is not looked at.
            assert!(auth.log_in(&here, "spark", Credentials::Token("x")).await.is_ok());
        }
        let far = peer("10.0.0.1", None);
        assert_eq!(auth.method(&far, "spark", "anyone"), Ok(Method::Scram));
        let anything = Credentials::Password {
            user: "anyone",
            password: "",
        };
        assert!(auth.log_in(&far, "spark", anything).await.is_err());
        assert!(auth.check_address("0.0.0.0:1".parse().unwrap()).is_err());
        assert!(auth.check_address("127.0.0.1:1".parse().unwrap()).is_ok());
    }

    #[test]
    fn with_a_file_of_users_who_is_trusted_and_not_in_it_is_a_reader() {
        let dir = tempfile::tempdir().unwrap();
        let auth = auth(dir.path(), &[]);
        assert_eq!(auth.trusted("alice").role, Role::Admin);
        assert_eq!(auth.trusted("visitor").role, Role::Reader);
        assert!(auth.check_address("0.0.0.0:1".parse().unwrap()).is_ok());
    }

    #[tokio::test]
    async fn the_next_attempt_waits_even_with_the_right_password() {
        let dir = tempfile::tempdir().unwrap();
        let auth = auth(dir.path(), &[]);
        let far = peer("10.0.0.1", None);
        let log_in = |password| {
            let credentials = Credentials::Password {
                user: "alice",
                password,
            };
            auth.log_in(&far, "spark", credentials)
        };
        assert!(log_in("wrong").await.is_err());
        let started = Instant::now();
        assert!(log_in("wonder").await.is_ok());
        assert!(started.elapsed().as_millis() > 300, "{:?}", started.elapsed());
        assert_eq!(auth.counts().delayed, 1);
    }
}
