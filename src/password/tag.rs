//! The short keyed tag that finds the one candidate among a mailbox's device passwords.
//!
//! Without it a log-in would have to try the hash of every device password of the mailbox. Sixteen
//! bits find the one; who steals the database with the key gains no more than those sixteen of 93.
//! Only generated passwords have a tag: for a password that a human chose, sixteen bits would be a
//! cheap first test of guesses.

use std::fmt;

use hmac::{HmacReset, KeyInit, Mac};
use sha2::Sha256;

use super::generate::Password;
use crate::secret::Secret;

/// The first sixteen bits, big endian, of HMAC-SHA-256(key, canonical password).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag(u16);

impl Tag {
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    pub const fn bits(self) -> u16 {
        self.0
    }
}

/// The key of the tags, made with the database and kept in it.
///
/// Held as HMAC's state after the key, so that it is prepared once and not at each log-in.
#[derive(Clone)]
pub struct TagKey(HmacReset<Sha256>);

impl TagKey {
    pub fn new(key: Secret) -> Self {
        let state = HmacReset::new_from_slice(key.expose());
        Self(state.expect("HMAC takes a key of any length (RFC 2104)"))
    }

    pub fn tag(&self, password: &Password) -> Tag {
        // Finished where it is: moved, it would leave a copy of the password on the stack.
        let mut hmac = self.0.clone();
        hmac.update(password.canonical());
        let [high, low, ..] = <[u8; 32]>::from(hmac.finalize_reset().into_bytes());
        Tag(u16::from_be_bytes([high, low]))
    }

    /// Four bytes that say whether this is still the key that went with `what`: with another one no password
    /// of the database has a tag that is found.
    pub fn check(&self, what: &[u8]) -> [u8; 4] {
        let mut hmac = self.0.clone();
        hmac.update(what);
        let [a, b, c, d, ..] = <[u8; 32]>::from(hmac.finalize_reset().into_bytes());
        [a, b, c, d]
    }
}

impl fmt::Debug for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TagKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(bytes: &[u8]) -> TagKey {
        TagKey::new(Secret::new(bytes.to_vec()))
    }

    fn password(text: &str) -> Password {
        Password::from_typed(&Secret::new(text.as_bytes().to_vec())).unwrap()
    }

    #[test]
    fn a_tag_is_the_first_two_bytes_of_hmac_sha_256() {
        // printf %s kqtmwhzrnbfayxcdpeug | openssl dgst -sha256 -mac HMAC -macopt key:Jefe
        let known = password("kqtm-whzr-nbfa-yxcd-peug");
        assert_eq!(key(b"Jefe").tag(&known), Tag::from_bits(0x5c83));
    }

    #[test]
    fn another_key_or_another_password_gives_another_tag() {
        let known = password("kqtmwhzrnbfayxcdpeug");
        let tag = key(b"Jefe").tag(&known);
        assert_ne!(key(b"jefe").tag(&known), tag);
        assert_ne!(key(b"Jefe").tag(&password("kqtmwhzrnbfayxcdpeuu")), tag);
    }

    #[test]
    fn debug_shows_nothing_of_the_key() {
        assert_eq!(format!("{:?}", key(b"Jefe")), "TagKey(…)");
    }
}
