//! What is handed to a client and has to come back as it was: signed with a key of this process alone.
//!
//! Nothing is hidden by this: who has a sealed text can read it. A restart makes all of them worthless.

use std::fmt;

use subtle::ConstantTimeEq;

use super::scram::{NoRandomness, fill_random, sign};

const SIGNATURE_BYTES: usize = 32;

/// A key that nobody sees.
pub struct Seal([u8; 32]);

impl fmt::Debug for Seal {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    pub fn new() -> Result<Seal, NoRandomness> {
        random().map(Seal)
    }

    /// The signature, then the body.
    pub fn close(&self, body: &[u8]) -> Vec<u8> {
        let mut sealed = sign(&self.0, body).to_vec();
        sealed.extend_from_slice(body);
        sealed
    }

    /// The body, if it was sealed here and nobody has changed it.
    pub fn open<'a>(&self, sealed: &'a [u8]) -> Option<&'a [u8]> {
        let (signature, body) = sealed.split_at_checked(SIGNATURE_BYTES)?;
        let is_ours: bool = sign(&self.0, body)[..].ct_eq(signature).into();
        is_ours.then_some(body)
    }
}

/// Bytes that nobody can guess.
pub fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    fill_random(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sealed_with_this_key_opens() {
        let (ours, other) = (Seal::new().unwrap(), Seal::new().unwrap());
        let sealed = ours.close(b"body");
        assert_eq!(ours.open(&sealed), Some(&b"body"[..]));
        assert_eq!(other.open(&sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(ours.open(&changed), None, "byte {at}");
        }
        assert_eq!(ours.open(&sealed[..sealed.len() - 1]), None);
        assert_eq!(ours.open(b"short"), None);
        assert_eq!(ours.open(&ours.close(b"")), Some(&b""[..]));
    }
}
