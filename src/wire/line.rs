//! Bytes to complete lines, length-limited.
//!
//! Peers send several lines in one read, one line in several reads, or one byte at a time. What they
//! send contains passwords, so everything here is wiped when it is no longer needed.

use crate::secret::{Buffer, Secret};

/// Longest line in bytes, without its LF.
///
/// What stock Dovecot takes (`AUTH_CLIENT_MAX_LINE_LENGTH`); Postfix sends up to 12,288 bytes of
/// base64, Exim about 16,000.
pub const MAX_LINE: usize = 16 * 1024;

/// Room that an idle connection may keep, in bytes. Ordinary log-ins fit; after a longer line it is
/// given back, so that ten thousand idle connections stay small.
const KEPT: usize = 2 * 1024;

/// The line is longer than [`MAX_LINE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line is longer than {MAX_LINE} bytes")]
pub struct TooLong;

/// Collects bytes and gives back complete lines, without LF (and CR before it). Wiped on drop.
///
/// To be used in turns: push what one read brought, then take lines until there is none. So it
/// never holds more than [`MAX_LINE`] bytes and one read.
#[derive(Default)]
pub struct LineBuffer {
    bytes: Buffer,
    /// Where the first line that was not given back begins.
    start: usize,
    /// Before this there is no LF from `start` on: a line sent byte by byte is searched once.
    searched: usize,
}

impl LineBuffer {
    /// Adds what one read brought.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.forget_given_lines();
        }
        self.bytes.extend(bytes);
    }

    /// The next complete line, `None` if there is none yet.
    ///
    /// # Errors
    ///
    /// [`TooLong`] once more than [`MAX_LINE`] bytes came without LF. There is no way on from there:
    /// where the next line begins is unknown.
    pub fn next_line(&mut self) -> Result<Option<Secret>, TooLong> {
        let unsearched = self.bytes.expose().get(self.searched..).unwrap_or_default();
        let end = unsearched.iter().position(|&byte| byte == b'\n');
        let end = end.map(|position| self.searched + position);
        let seen = end.unwrap_or(self.bytes.expose().len());
        let line = self.bytes.expose().get(self.start..seen);
        let line = line.unwrap_or_default();
        if line.len() > MAX_LINE {
            return Err(TooLong);
        }
        if end.is_none() {
            self.searched = seen;
            return Ok(None);
        }
        let line = Secret::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec());
        self.start = seen + 1;
        self.searched = self.start;
        if self.start == self.bytes.expose().len() {
            self.forget_given_lines();
        }
        Ok(Some(line))
    }

    /// How many bytes are kept for it.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Wipes the lines that were given back, and gives back room that is rarely needed.
    fn forget_given_lines(&mut self) {
        let rest = self.bytes.expose().get(self.start..).unwrap_or_default();
        if rest.is_empty() && self.bytes.capacity() <= KEPT {
            self.bytes.clear();
        } else {
            let mut fresh = Buffer::default();
            fresh.extend(rest);
            self.bytes = fresh;
        }
        self.searched -= self.start;
        self.start = 0;
    }
}

impl std::fmt::Debug for LineBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LineBuffer(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(buffer: &mut LineBuffer) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| buffer.next_line().unwrap())
            .map(|line| line.expose().to_vec())
            .collect()
    }

    #[test]
    fn a_line_may_come_in_any_pieces() {
        let mut buffer = LineBuffer::default();
        for byte in b"VERSION\t1\t2" {
            buffer.push(&[*byte]);
            assert_eq!(buffer.next_line(), Ok(None));
        }
        buffer.push(b"\nCPID\t1\r\n\nAUTH");
        assert_eq!(lines(&mut buffer), [&b"VERSION\t1\t2"[..], b"CPID\t1", b""]);
        buffer.push(b"\t1\n");
        assert_eq!(lines(&mut buffer), [b"AUTH\t1"]);
    }

    #[test]
    fn the_longest_line_passes_and_one_byte_more_does_not() {
        let mut buffer = LineBuffer::default();
        buffer.push(&[b'x'; MAX_LINE]);
        assert_eq!(buffer.next_line(), Ok(None));
        buffer.push(b"\n");
        assert_eq!(lines(&mut buffer), [[b'x'; MAX_LINE]]);
        buffer.push(&[b'x'; MAX_LINE + 1]);
        assert_eq!(buffer.next_line(), Err(TooLong));

        let mut complete = LineBuffer::default();
        complete.push(&[b'x'; MAX_LINE + 1]);
        complete.push(b"\n");
        assert_eq!(complete.next_line(), Err(TooLong));
    }

    #[test]
    fn an_idle_buffer_is_small_whatever_came_before() {
        let mut buffer = LineBuffer::default();
        buffer.push(&[b'x'; MAX_LINE]);
        buffer.push(b"\n");
        lines(&mut buffer);
        assert!(buffer.bytes.capacity() <= KEPT);
    }

    #[test]
    fn a_line_that_was_given_back_is_wiped_although_the_next_has_begun() {
        let mut buffer = LineBuffer::default();
        buffer.push(b"secret\nnext");
        lines(&mut buffer);
        buffer.push(b" one");
        assert_eq!(buffer.bytes.expose(), b"next one");
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            text in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            pieces in prop::collection::vec(1_usize..20, 1..20),
        ) {
            let mut whole = LineBuffer::default();
            whole.push(&text);
            let whole = lines(&mut whole);

            let mut buffer = LineBuffer::default();
            let mut found = Vec::new();
            let (mut rest, mut pieces) = (&text[..], pieces.iter().cycle());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.len().min(*pieces.next().unwrap()));
                buffer.push(piece);
                found.extend(lines(&mut buffer));
                rest = after;
            }
            prop_assert_eq!(found, whole);
        }
    }
}
