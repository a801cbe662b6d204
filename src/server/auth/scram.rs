//! SCRAM-SHA-256 (RFC 5802 and 7677), the server's side, as PostgreSQL speaks it: verifiers in its format, and one exchange.
//!
//! There is no I/O here and no user: messages come in and go out as text, whichever protocol carries them. A client whose user is not known
//! goes through the same exchange with a made-up verifier, so that its messages say nothing about who exists.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::SecureRandom;
use ring::{digest, hmac, pbkdf2};
use subtle::ConstantTimeEq;

/// The two mechanisms; the second binds the exchange to the TLS channel it runs in.
pub const SCRAM: &str = "SCRAM-SHA-256";
pub const SCRAM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// PostgreSQL's own. The client does this work at every log-in, so more of it is slower connections.
const ITERATIONS: u32 = 4096;
const SALT_BYTES: usize = 16;
/// Random bytes of the server's nonce, as in PostgreSQL.
const NONCE_BYTES: usize = 18;
/// One password check over HTTP does this many rounds here, so a verifier of others may not ask for more.
const MOST_ITERATIONS: u32 = 1_000_000;

type Key = [u8; 32];

/// What is kept instead of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: NonZeroU32,
    salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
}

impl fmt::Debug for Verifier {
    /// Not the keys: who has them can pretend to be this server.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({SCRAM}, {} iterations)", self.iterations)
    }
}

impl fmt::Display for Verifier {
    /// `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`, as in `pg_authid.rolpassword`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored, server] =
            [&self.salt[..], &self.stored_key, &self.server_key].map(|bytes| BASE64.encode(bytes));
        write!(f, "{SCRAM}${}:{salt}${stored}:{server}", self.iterations)
    }
}

impl FromStr for Verifier {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "is no verifier of the form SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey";
        let parts = || {
            let (cost, keys) = text.strip_prefix(SCRAM)?.strip_prefix('$')?.split_once('$')?;
            let ((iterations, salt), (stored, server)) = (cost.split_once(':')?, keys.split_once(':')?);
            let key = |text: &str| -> Option<Key> { BASE64.decode(text).ok()?.try_into().ok() };
            Some(Verifier {
                iterations: iterations.parse().ok()?,
                salt: BASE64.decode(salt).ok().filter(|salt| !salt.is_empty())?,
                stored_key: key(stored)?,
                server_key: key(server)?,
            })
        };
        let verifier = parts().ok_or(FORM)?;
        if verifier.iterations.get() > MOST_ITERATIONS {
            return Err("asks for more than a million iterations");
        }
        Ok(verifier)
    }
}

impl Verifier {
    /// A new one, with a salt of its own.
    pub fn of_password(password: &str) -> Result<Self, NoRandomness> {
        let mut salt = vec![0; SALT_BYTES];
        fill_random(&mut salt)?;
        Ok(Self::with_salt(password, salt, ITERATIONS))
    }

    fn with_salt(password: &str, salt: Vec<u8>, iterations: u32) -> Self {
        let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        let salted = salted_password(password, &salt, iterations);
        let client_key = sign(&salted, b"Client Key");
        Verifier {
            stored_key: sha256(&client_key),
            server_key: sign(&salted, b"Server Key"),
            iterations,
            salt,
        }
    }

    /// A verifier that no password fits, the same for the same name as long as `secret` is.
    pub(super) fn made_up(name: &str, secret: &Key) -> Self {
        let part = |what: &str| sign(secret, format!("{what} {name}").as_bytes());
        let mut salt = part("salt").to_vec();
        salt.truncate(SALT_BYTES);
        Verifier {
            iterations: NonZeroU32::new(ITERATIONS).unwrap_or(NonZeroU32::MIN),
            salt,
            stored_key: part("stored key"),
            server_key: part("server key"),
        }
    }

    /// Whether a password that came in clear is the right one. Takes a millisecond or more: not for the threads of the network.
    pub(super) fn fits(&self, password: &str) -> bool {
        let salted = salted_password(password, &self.salt, self.iterations);
        let stored_key = sha256(&sign(&salted, b"Client Key"));
        stored_key.ct_eq(&self.stored_key).into()
    }
}

/// The operating system gives no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random bytes")]
pub struct NoRandomness;

pub(super) fn fill_random(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    ring::rand::SystemRandom::new().fill(bytes).map_err(|_| NoRandomness)
}

fn salted_password(password: &str, salt: &[u8], iterations: NonZeroU32) -> Key {
    // A password that SASLprep refuses is taken as it is, as PostgreSQL and libpq do.
    let prepared = stringprep::saslprep(password).unwrap_or(password.into());
    let mut salted = [0; 32];
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        iterations,
        salt,
        prepared.as_bytes(),
        &mut salted,
    );
    salted
}

pub(super) fn sign(key: &[u8], message: &[u8]) -> Key {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

pub(super) fn sha256(message: &[u8]) -> Key {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, message).as_ref());
    bytes
}

/// Why an exchange ends without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// The client does not speak SCRAM as it should.
    #[error("malformed SCRAM message: {0}")]
    Malformed(&'static str),
    /// Somebody stands between client and server, or the client is wrong about what it was offered.
    #[error("SCRAM channel binding check failed")]
    ChannelBinding,
    #[error("wrong password or unknown user")]
    WrongProof,
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// One log-in, between its messages.
#[derive(Debug)]
pub struct Exchange {
    verifier: Verifier,
    /// The verifier was made up: nothing that the client says is right.
    is_doomed: bool,
    /// `tls-server-end-point`: the hash of our certificate, where the channel has one.
    end_point: Option<Vec<u8>>,
    /// `c=` of the client's last message has to be this.
    expected_binding: Vec<u8>,
    client_first_bare: String,
    server_first: String,
    nonce: String,
}

impl Exchange {
    pub(super) fn new(verifier: Verifier, is_doomed: bool, end_point: Option<Vec<u8>>) -> Self {
        Exchange {
            verifier,
            is_doomed,
            end_point,
            expected_binding: Vec::new(),
            client_first_bare: String::new(),
            server_first: String::new(),
            nonce: String::new(),
        }
    }

    /// What a client may choose from.
    pub fn mechanisms(&self) -> &'static [&'static str] {
        match self.end_point {
            // The stronger one first; on a channel without a certificate it must not be offered, or clients fail.
            Some(_) => &[SCRAM_PLUS, SCRAM],
            None => &[SCRAM],
        }
    }

    /// Takes the client's first message, gives the server's.
    pub fn first(&mut self, mechanism: &str, message: &str) -> Result<String, ScramError> {
        let mut random = [0; NONCE_BYTES];
        fill_random(&mut random)?;
        self.first_with(mechanism, message, &BASE64.encode(random))
    }

    fn first_with(&mut self, mechanism: &str, message: &str, server_nonce: &str) -> Result<String, ScramError> {
        let is_plus = match mechanism {
            SCRAM => false,
            SCRAM_PLUS if self.end_point.is_some() => true,
            _ => return Err(ScramError::Malformed("a mechanism that was not offered")),
        };
        let (flag, rest) = message
            .split_once(',')
            .ok_or(ScramError::Malformed("the first message has no channel binding flag"))?;
        let (authorization, bare) = rest.split_once(',').ok_or(ScramError::Malformed(
            "the first message ends after its channel binding flag",
        ))?;
        if !authorization.is_empty() {
            return Err(ScramError::Malformed("an authorization identity is not supported"));
        }
        self.expected_binding = format!("{flag},,").into_bytes();
        match (flag, is_plus) {
            ("n", false) => {}
            // "I could bind, and you could not": but we could. Somebody took our offer out of the list.
            ("y", false) if self.end_point.is_some() => return Err(ScramError::ChannelBinding),
            ("y", false) => {}
            ("p=tls-server-end-point", true) => {
                self.expected_binding
                    .extend(self.end_point.as_deref().unwrap_or_default());
            }
            (flag, true) if flag.starts_with("p=") => {
                return Err(ScramError::Malformed("an unknown type of channel binding"));
            }
            _ => return Err(ScramError::Malformed("channel binding flag and mechanism do not fit")),
        }
        // The name in here is not looked at: the protocol around it has said who the user is.
        let mut attributes = bare.split(',');
        let _name = attributes
            .next()
            .and_then(|name| name.strip_prefix("n="))
            .ok_or(ScramError::Malformed(
                "the first message has no user, or a mandatory extension",
            ))?;
        let nonce = attributes
            .next()
            .and_then(|nonce| nonce.strip_prefix("r="))
            .filter(|nonce| !nonce.is_empty() && nonce.bytes().all(|byte| byte.is_ascii_graphic()))
            .ok_or(ScramError::Malformed("the first message has no nonce"))?;
        self.nonce = format!("{nonce}{server_nonce}");
        bare.clone_into(&mut self.client_first_bare);
        let (salt, iterations) = (BASE64.encode(&self.verifier.salt), self.verifier.iterations);
        self.server_first = format!("r={},s={salt},i={iterations}", self.nonce);
        Ok(self.server_first.clone())
    }

    /// Takes the client's last message, gives the server's if the password was right.
    pub(super) fn last(&self, message: &str) -> Result<String, ScramError> {
        let (without_proof, proof) = message
            .rsplit_once(",p=")
            .ok_or(ScramError::Malformed("the last message has no proof"))?;
        let mut attributes = without_proof.split(',');
        let binding = attributes
            .next()
            .and_then(|binding| BASE64.decode(binding.strip_prefix("c=")?).ok())
            .ok_or(ScramError::Malformed("the last message has no channel binding"))?;
        let nonce = attributes
            .next()
            .and_then(|nonce| nonce.strip_prefix("r="))
            .ok_or(ScramError::Malformed("the last message has no nonce"))?;
        let proof: Key = BASE64
            .decode(proof)
            .ok()
            .and_then(|proof| proof.try_into().ok())
            .ok_or(ScramError::Malformed("the proof is not one"))?;
        if self.nonce.is_empty() || nonce != self.nonce {
            return Err(ScramError::Malformed("the nonce is another one"));
        }
        if binding != self.expected_binding {
            return Err(ScramError::ChannelBinding);
        }
        let signed = format!("{},{},{without_proof}", self.client_first_bare, self.server_first);
        let signature = sign(&self.verifier.stored_key, signed.as_bytes());
        let mut client_key = proof;
        for (byte, mask) in client_key.iter_mut().zip(signature) {
            *byte ^= mask;
        }
        let is_right: bool = sha256(&client_key).ct_eq(&self.verifier.stored_key).into();
        if !is_right || self.is_doomed {
            return Err(ScramError::WrongProof);
        }
        let signature = sign(&self.verifier.server_key, signed.as_bytes());
        Ok(format!("v={}", BASE64.encode(signature)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const CLIENT_LAST: &str =
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    fn pencil() -> Verifier {
        Verifier::with_salt("pencil", BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(), 4096)
    }

    fn exchange() -> Exchange {
        Exchange::new(pencil(), false, None)
    }

    #[test]
    fn the_example_of_rfc_7677_is_answered_as_it_says() {
        let mut exchange = exchange();
        assert_eq!(
            exchange.first_with(SCRAM, CLIENT_FIRST, NONCE).unwrap(),
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        assert_eq!(
            exchange.last(CLIENT_LAST).unwrap(),
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
    }

    #[test]
    fn a_verifier_is_written_as_postgres_writes_it_and_fits_its_password_only() {
        let text = pencil().to_string();
        assert_eq!(
            text,
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
        let verifier: Verifier = text.parse().unwrap();
        assert_eq!(verifier, pencil());
        assert!(verifier.fits("pencil") && !verifier.fits("Pencil") && !verifier.fits(""));
        assert!(!format!("{verifier:?}").contains("WG5d"));
        // SASLprep: a no-break space is a space, a soft hyphen is nothing.
        assert!(Verifier::of_password("a b").unwrap().fits("a\u{a0}\u{ad}b"));
    }

    #[test]
    fn what_is_no_verifier_is_refused() {
        let good = pencil().to_string();
        for bad in [
            "",
            "pencil",
            "md5d41d8cd98f00b204e9800998ecf8427e",
            &good.replace("4096", "0"),
            &good.replace("4096", "1000001"),
            &good.replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
            &good.replace("WG5d", "!!!!"),
            &good[..good.len() - 4],
        ] {
            assert!(bad.parse::<Verifier>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wrong_proof_and_a_made_up_verifier_end_alike() {
        let wrong = CLIENT_LAST.replace("p=dHzb", "p=dHzc");
        let mut with_wrong = exchange();
        with_wrong.first_with(SCRAM, CLIENT_FIRST, NONCE).unwrap();
        assert_eq!(with_wrong.last(&wrong), Err(ScramError::WrongProof));
        let mut doomed = Exchange::new(pencil(), true, None);
        doomed.first_with(SCRAM, CLIENT_FIRST, NONCE).unwrap();
        assert_eq!(doomed.last(CLIENT_LAST), Err(ScramError::WrongProof));
        // Its salt is the same at every attempt, and another for another name.
        let salt = |name: &str| Verifier::made_up(name, &[7; 32]).salt;
        assert_eq!(salt("nobody"), salt("nobody"));
        assert!(salt("nobody") != salt("somebody") && salt("nobody").len() == pencil().salt.len());
    }

    #[test]
    fn a_channel_is_bound_where_both_sides_can() {
        let end_point = vec![9; 32];
        let run = |mechanism: &str, flag: &str, bound_to: &[u8]| {
            let mut exchange = Exchange::new(pencil(), false, Some(end_point.clone()));
            exchange.first_with(mechanism, &format!("{flag},,n=,r=abc"), "def")?;
            let binding = BASE64.encode([format!("{flag},,").as_bytes(), bound_to].concat());
            exchange.last(&format!("c={binding},r=abcdef,p={}", BASE64.encode([0; 32])))
        };
        // Everything but the proof is right.
        let plus = "p=tls-server-end-point";
        assert_eq!(run(SCRAM_PLUS, plus, &end_point), Err(ScramError::WrongProof));
        assert_eq!(run(SCRAM, "n", &[]), Err(ScramError::WrongProof));
        // Another certificate, and a list of mechanisms that somebody shortened.
        assert_eq!(run(SCRAM_PLUS, plus, &[1; 32]), Err(ScramError::ChannelBinding));
        assert_eq!(run(SCRAM, "y", &[]), Err(ScramError::ChannelBinding));
        for (mechanism, flag) in [(SCRAM_PLUS, "n"), (SCRAM, plus), (SCRAM_PLUS, "p=tls-unique")] {
            assert!(matches!(run(mechanism, flag, &[]), Err(ScramError::Malformed(_))));
        }
        let plain = exchange().first_with(SCRAM_PLUS, "p=tls-server-end-point,,n=,r=abc", "def");
        assert!(matches!(plain, Err(ScramError::Malformed(_))));
        assert!(exchange().first_with(SCRAM, "y,,n=,r=abc", "def").is_ok());
    }

    #[test]
    fn malformed_messages_are_told_apart_from_wrong_passwords() {
        for first in [
            "",
            "n",
            "n,,",
            "n,a=root,n=u,r=x",
            "n,,m=ext,n=u,r=x",
            "n,,n=u",
            "n,,n=u,r=",
            "n,,n=u,r=a b",
            "x,,n=u,r=x",
        ] {
            let answer = exchange().first(SCRAM, first);
            assert!(matches!(answer, Err(ScramError::Malformed(_))), "{first}");
        }
        let mut begun = exchange();
        begun.first_with(SCRAM, CLIENT_FIRST, NONCE).unwrap();
        for last in [
            "",
            "c=biws",
            "c=biws,r=other,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "r=x,c=biws,p=AAAA",
            &CLIENT_LAST.replace("p=dHzb", "p=!"),
        ] {
            assert!(matches!(begun.last(last), Err(ScramError::Malformed(_))), "{last}");
        }
        // The last message without a first one.
        assert!(
            exchange()
                .last("c=biws,r=,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
                .is_err()
        );
    }
}
