//! Sessions, and the tokens that log-ins get for them.
//!
//! A token is random and signed, and good until it was not used for `[flight] token_lifetime`; each use checks that the rules still let its
//! user in. Its session goes with it from connection to connection. Who comes with a password, a token of the file of users or a certificate
//! at each call has a session for each connection.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use tokio::sync::watch;

use super::connection::{Busy, Connection};
use super::options::Options;
use crate::catalog::SessionVars;
use crate::catalog::activity::{Activity, Client, Connected, Door, SessionState, Signals};
use crate::server::auth::{Identity, NoRandomness, Peer, Seal, random};

/// What our tokens begin with, so that none is taken for one of the file of users.
const PREFIX: &str = "flight_";
/// Tokens at one time; each costs some hundred bytes. When there are more, who used theirs longest ago has to log in again.
const MOST_TOKENS: usize = 10_000;

type TokenId = [u8; 16];

/// What lasts from one call of a client to the next, and what `system.sessions` shows of it.
#[derive(Debug)]
pub(super) struct Session {
    options: Mutex<Options>,
    connected: Connected,
}

impl Session {
    /// `agent` is what the client calls itself.
    pub(super) fn begin(activity: &Arc<Activity>, identity: &Identity, peer: &Peer, agent: &str) -> Session {
        let client = Client {
            door: Door::Flight,
            user: identity.user.clone(),
            is_admin: identity.role.is_admin(),
            address: Some(peer.address),
            is_encrypted: peer.tls.is_some(),
        };
        // Connections are counted where they come in.
        let Ok(connected) = activity.connect(client, agent, |_| Ok::<(), Infallible>(()));
        tracing::debug!(user = ?identity.user, pid = connected.pid, "a session of Flight SQL began");
        Session {
            options: Mutex::default(),
            connected,
        }
    }

    /// Somebody ended it with `pg_terminate_backend`.
    pub(super) fn is_terminated(&self) -> bool {
        self.connected.signals.borrow().is_terminated
    }

    /// What ends a statement that begins now.
    pub(super) fn stop(&self) -> Stop {
        Stop::new(self.connected.signals.clone())
    }

    fn name(&self, application_name: &str) {
        self.connected.enter(SessionState::Idle, application_name);
    }

    pub(super) fn options(&self) -> Options {
        self.options.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Options) -> T) -> T {
        change(&mut self.options.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Who asks something, and with which options.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) identity: Identity,
    pub(super) session: Arc<Session>,
    /// The session's, and over them the request's own.
    pub(super) options: Options,
    /// What the client calls itself.
    pub(super) agent: String,
    pub(super) connection: Arc<Connection>,
    /// Of a token of ours.
    pub(super) token: Option<TokenId>,
    /// Held as long as the request or its result is under way.
    pub(super) busy: Arc<Busy>,
}

impl Caller {
    pub(super) fn vars(&self, options: &Options) -> SessionVars {
        let vars = SessionVars {
            backend_pid: self.session.connected.pid,
            client_address: Some(self.connection.peer.address),
            ..options.vars(&self.identity, &self.agent)
        };
        self.session.name(&vars.application_name);
        vars
    }
}

/// Asked to end what a session runs: `pg_cancel_backend`, `pg_terminate_backend`.
#[derive(Debug)]
pub(super) struct Stop {
    signals: watch::Receiver<Signals>,
    /// Of statements before.
    cancels: u64,
}

impl Stop {
    pub(super) fn new(signals: watch::Receiver<Signals>) -> Stop {
        let cancels = signals.borrow().cancels;
        Stop { signals, cancels }
    }

    /// Ends when somebody asks.
    pub(super) async fn asked(&mut self) {
        let before = self.cancels;
        let asked = |signals: &Signals| signals.is_terminated || signals.cancels > before;
        if self.signals.wait_for(asked).await.is_err() {
            // The session is closed; what it began goes on.
            std::future::pending().await
        }
    }
}

#[derive(Debug)]
struct Entry {
    user: String,
    stamp: [u8; 32],
    session: Arc<Session>,
    used: Instant,
}

/// What a bearer token turned out to be.
#[derive(Debug)]
pub(super) enum Found {
    Session {
        id: TokenId,
        user: String,
        /// For [`Auth::admit_again`](crate::server::auth::Auth::admit_again).
        stamp: [u8; 32],
        session: Arc<Session>,
    },
    /// It looks like one of ours, and is not, or is no longer.
    Over,
    NotOurs,
}

#[derive(Debug)]
pub(super) struct Tokens {
    seal: Seal,
    lifetime: Duration,
    entries: Mutex<HashMap<TokenId, Entry>>,
}

impl Tokens {
    pub(super) fn new(lifetime: Duration) -> Result<Tokens, NoRandomness> {
        Ok(Tokens {
            seal: Seal::new()?,
            lifetime,
            entries: Mutex::default(),
        })
    }

    /// A token for somebody who has just logged in, and a session.
    pub(super) fn mint(&self, user: &str, stamp: [u8; 32], session: Session) -> Result<String, NoRandomness> {
        let id: TokenId = random()?;
        let entry = Entry {
            user: user.to_owned(),
            stamp,
            session: Arc::new(session),
            used: Instant::now(),
        };
        let mut entries = self.entries();
        // Nobody sees sessions any more that nobody can use.
        entries.retain(|_, entry| entry.used.elapsed() <= self.lifetime);
        if entries.len() >= MOST_TOKENS {
            make_room(&mut entries);
        }
        entries.insert(id, entry);
        Ok(format!("{PREFIX}{}", BASE64.encode(self.seal.close(&id))))
    }

    pub(super) fn find(&self, token: &str) -> Found {
        let Some(text) = token.strip_prefix(PREFIX) else {
            return Found::NotOurs;
        };
        let sealed = BASE64.decode(text).unwrap_or_default();
        let id = self.seal.open(&sealed).and_then(|id| TokenId::try_from(id).ok());
        let Some(id) = id else { return Found::Over };
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(&id) else {
            return Found::Over;
        };
        if entry.used.elapsed() > self.lifetime {
            entries.remove(&id);
            return Found::Over;
        }
        entry.used = Instant::now();
        Found::Session {
            id,
            user: entry.user.clone(),
            stamp: entry.stamp,
            session: Arc::clone(&entry.session),
        }
    }

    pub(super) fn end(&self, id: &TokenId) {
        self.entries().remove(id);
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<TokenId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_room(entries: &mut HashMap<TokenId, Entry>) {
    // A tenth at once, so that a flood does not look through the whole list at each log-in.
    let mut times: Vec<Instant> = entries.values().map(|entry| entry.used).collect();
    let (_, cut, _) = times.select_nth_unstable(MOST_TOKENS / 10);
    let cut = *cut;
    entries.retain(|_, entry| entry.used > cut);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::auth::Role;

    fn session(user: &str) -> Session {
        let identity = Identity {
            user: user.to_owned(),
            role: Role::Reader,
        };
        let peer = Peer {
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            tls: None,
        };
        Session::begin(&Arc::default(), &identity, &peer, "test")
    }

    #[test]
    fn a_token_is_good_until_it_was_not_used_for_its_lifetime() {
        let tokens = Tokens::new(Duration::from_millis(200)).unwrap();
        let token = tokens.mint("alice", [7; 32], session("alice")).unwrap();
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(80));
            let found = tokens.find(&token);
            assert!(matches!(found, Found::Session { user, stamp, .. } if user == "alice" && stamp == [7; 32]));
        }
        std::thread::sleep(Duration::from_millis(250));
        assert!(matches!(tokens.find(&token), Found::Over));
        assert!(tokens.entries().is_empty());
    }

    #[test]
    fn others_tokens_and_changed_ones_are_none_of_ours() {
        let tokens = Tokens::new(Duration::from_secs(60)).unwrap();
        let token = tokens.mint("alice", [0; 32], session("alice")).unwrap();
        assert!(matches!(tokens.find("sg_something"), Found::NotOurs));
        let other = Tokens::new(Duration::from_secs(60)).unwrap();
        assert!(matches!(other.find(&token), Found::Over));
        assert!(matches!(tokens.find(&token[..token.len() - 4]), Found::Over));
        assert!(matches!(tokens.find("flight_"), Found::Over));
        let Found::Session { id, .. } = tokens.find(&token) else {
            panic!("it is one of ours");
        };
        tokens.end(&id);
        assert!(matches!(tokens.find(&token), Found::Over));
    }

    #[test]
    fn a_flood_of_log_ins_costs_those_who_were_idle_longest() {
        let tokens = Tokens::new(Duration::from_secs(60)).unwrap();
        let first = tokens.mint("alice", [0; 32], session("alice")).unwrap();
        for _ in 0..MOST_TOKENS {
            tokens.mint("bob", [0; 32], session("bob")).unwrap();
        }
        assert!(tokens.entries().len() <= MOST_TOKENS);
        assert!(matches!(tokens.find(&first), Found::Over));
    }
}
