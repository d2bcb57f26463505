//! Public ids: how a device password and an access are named in logs, audit events and to Dovecot.
//! They are not secret.

use std::fmt;
use std::str::FromStr;

use crate::random;

/// The letters of passwords and ids: `a` to `z` without `l`, which is read as `i` or `1` too easily.
pub const ALPHABET: &[u8; 25] = b"abcdefghijkmnopqrstuvwxyz";

/// Letters behind the prefix of an id: 25^10 is 46 bits, for a unique index to catch the rest.
const LETTERS: usize = 10;

/// A text that is no id of the kind expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id is {prefix:?} and ten letters")]
pub struct IdError {
    prefix: &'static str,
}

/// Names a device password: `dp-` and ten letters. Dovecot gets it as `user_device`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(String);

/// Row id of a secret: changes are made by it, never by a label that two rows may share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretId(pub i64);

/// Names an access: `ac-` and ten letters. Dovecot gets it as `user_access`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccessId(String);

impl DeviceId {
    const PREFIX: &'static str = "dp-";

    /// A new one. The store's unique index refuses the rare one that exists already.
    ///
    /// # Errors
    ///
    /// As [`random::bytes`].
    pub fn random() -> Result<Self, random::Error> {
        Ok(Self(drawn(Self::PREFIX)?))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AccessId {
    const PREFIX: &'static str = "ac-";

    /// A new one, as [`DeviceId::random`].
    ///
    /// # Errors
    ///
    /// As [`random::bytes`].
    pub fn random() -> Result<Self, random::Error> {
        Ok(Self(drawn(Self::PREFIX)?))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeviceId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        checked(text, Self::PREFIX).map(Self)
    }
}

impl FromStr for AccessId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        checked(text, Self::PREFIX).map(Self)
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for AccessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn drawn(prefix: &str) -> Result<String, random::Error> {
    let letters: [u8; LETTERS] = random::letters(ALPHABET)?;
    Ok(prefix.chars().chain(letters.map(char::from)).collect())
}

fn checked(text: &str, prefix: &'static str) -> Result<String, IdError> {
    let letters = text.strip_prefix(prefix).ok_or(IdError { prefix })?;
    if letters.len() != LETTERS || !letters.bytes().all(|b| ALPHABET.contains(&b)) {
        return Err(IdError { prefix });
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_id_is_one_that_is_accepted() {
        let id = DeviceId::random().unwrap();
        assert_eq!(id.as_str().parse::<DeviceId>().unwrap(), id);
        let id = AccessId::random().unwrap();
        assert_eq!(id.as_str().parse::<AccessId>().unwrap(), id);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "dp-",
            "dp-kqtmwhzrn",
            "dp-kqtmwhzrnbf",
            "dp-KQTMWHZRNB",
            "ac-kqtmwhzrnb",
            "dp-lqtmwhzrnb",
        ] {
            assert!(text.parse::<DeviceId>().is_err(), "{text:?}");
        }
        assert!("ac-kqtmwhzrnb".parse::<AccessId>().is_ok());
    }
}
