//! What a remote peer typed: kept raw, shown escaped.

use std::fmt;

/// Longest text kept, in bytes; the rest is cut off. People type passwords into the name field, and
/// a log line must stay a line.
pub(super) const MAX_SHOWN: usize = 128;

/// Hostile text. It has no `Display` on purpose: it reaches a log only through [`Self::escaped`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ClientText(Vec<u8>);

impl ClientText {
    /// Keeps the first [`MAX_SHOWN`] bytes. Cut before it is escaped, so that no escape is cut.
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
    use proptest::prelude::*;

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

    #[test]
    fn no_escape_is_cut_in_the_middle() {
        let text = [&[b'a'; MAX_SHOWN - 1][..], "\u{202e}".as_bytes()].concat();
        let shown = ClientText::new(&text).escaped().to_string();
        assert_eq!(shown, "a".repeat(MAX_SHOWN - 1) + r"\xe2");
    }

    proptest! {
        #[test]
        fn any_text_is_shown_in_graphic_ascii_and_can_be_read_back(bytes: Vec<u8>) {
            let shown = ClientText::new(&bytes).escaped().to_string();
            prop_assert!(shown.bytes().all(|byte| byte.is_ascii_graphic()), "{shown}");
            prop_assert!(!shown.contains(['<', '>']), "{shown}");
            let mut pieces = shown.split('\\');
            let mut read: Vec<u8> = pieces.next().unwrap().into();
            for piece in pieces {
                let (escape, rest) = piece.split_at(3);
                read.push(u8::from_str_radix(escape.strip_prefix('x').unwrap(), 16).unwrap());
                read.extend(rest.bytes());
            }
            prop_assert_eq!(&read[..], bytes.get(..MAX_SHOWN).unwrap_or(&bytes));
        }
    }
}
