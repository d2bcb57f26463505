//! Text that must not be seen: passwords, and keys.
//!
//! A [`Secret`] is wiped when dropped, shows nothing in `Debug`, has no `Display`, and is opened only
//! by [`Secret::expose`], so that every place that looks inside can be found by that word. The one
//! comparison in constant time of this program is [`equal`].

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// Bytes that are wiped on drop and never printed.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over; no copy stays behind.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes. Callers must neither print nor keep them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is anything in it. Not secret: an empty password is refused as malformed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Bytes of a stack below its owner's frame that are overwritten: the deepest call that sees a password takes
/// some 10 KiB, in a build without optimisation too.
const STACK: usize = 32 * 1024;

/// Overwrites what calls that have returned left on this thread's stack. What libraries keep there while they hash
/// is theirs to wipe, and is moved about as they return; a thread that is about to wait would keep it for hours.
#[inline(never)]
pub fn wipe_stack() {
    [0_u128; STACK / size_of::<u128>()].zeroize();
}

/// A growing [`Secret`]: what comes in piece by piece, from the network or out of a decoder.
///
/// A `Vec` that grows leaves its old bytes behind in freed memory; this one wipes them first.
#[derive(Clone, Default)]
pub struct Buffer(Zeroizing<Vec<u8>>);

impl Buffer {
    /// Does not move until it holds more than `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(capacity)))
    }

    pub fn extend(&mut self, bytes: &[u8]) {
        let needed = self.0.len().saturating_add(bytes.len());
        if needed > self.0.capacity() {
            // Doubling keeps many small pieces linear. The old bytes are wiped as they are dropped.
            let mut larger = Self::with_capacity(needed.max(self.0.capacity().saturating_mul(2)));
            larger.0.extend_from_slice(&self.0);
            *self = larger;
        }
        self.0.extend_from_slice(bytes);
    }

    /// As [`Secret::expose`].
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes it holds without moving.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Wipes it and keeps the room.
    pub fn clear(&mut self) {
        self.0.zeroize();
    }

    pub fn into_secret(self) -> Secret {
        Secret(self.0)
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Buffer(…)")
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        equal(self.expose(), other.expose())
    }
}

impl Eq for Secret {}

/// Whether two byte strings are equal, in a time that depends on their lengths only.
///
/// Everything that an attacker may guess byte by byte is compared here and nowhere else (Dovecot
/// needed four releases in nine years to get all such places right, `tests/advisories.md`).
pub fn equal(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_it() {
        let secret = Secret::new(b"kqtmwhzr".to_vec());
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    #[test]
    fn a_buffer_keeps_every_byte_while_it_grows() {
        let mut buffer = Buffer::with_capacity(2);
        for piece in [&b"a"[..], b"", b"bcd", b"efghijkl"] {
            buffer.extend(piece);
        }
        assert_eq!(buffer.expose(), b"abcdefghijkl");
        assert_eq!(format!("{buffer:?}"), "Buffer(…)");
        buffer.clear();
        assert_eq!(buffer.into_secret(), Secret::default());
    }

    #[test]
    fn equality_looks_at_every_byte_and_at_the_length() {
        assert!(equal(b"", b""));
        assert!(equal(b"abc", b"abc"));
        assert!(!equal(b"abc", b"abd"));
        assert!(!equal(b"abc", b"ab"));
        assert_eq!(Secret::new(b"x".to_vec()), Secret::new(b"x".to_vec()));
    }
}
