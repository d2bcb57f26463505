//! What a remote peer typed: kept raw, shown escaped.

use std::fmt;

/// Longest text kept, in bytes; the rest is cut off. People type passwords into the name field, and
/// a log line must stay a line.
pub(super) const MAX_SHOWN: usize = 128;

/// Hostile text. It has no `Display` on purpose: it reaches a log only through [`Self::escaped`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ClientText(Vec<u8>);

impl ClientText {
    /// Keeps the first [`MAX_SHOWN`] bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.get(..MAX_SHOWN).unwrap_or(bytes).to_vec())
    }

    /// For a log line: every byte outside 0x21–0x7e, and `<`, `>` and `\`, as `\xNN`.
    ///
    /// So the text can neither end its `<…>`, nor add a field, nor steer a terminal
    /// (filters like those of fail2ban read it).
    pub fn escaped(&self) -> impl fmt::Display + '_ {
        Escaped(&self.0)
    }
}

struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.0 {
            match byte {
                b'<' | b'>' | b'\\' => write!(f, "\\x{byte:02x}")?,
                0x21..=0x7e => write!(f, "{}", char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_inside_its_brackets() {
        let text = ClientText::new(b"a> rip=1.2.3.4 <b\n\x1b\\\xff");
        assert_eq!(
            text.escaped().to_string(),
            r"a\x3e\x20rip=1.2.3.4\x20\x3cb\x0a\x1b\x5c\xff"
        );
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(
            ClientText::new(&[b'a'; 5_000]).escaped().to_string().len(),
            MAX_SHOWN
        );
    }
}
