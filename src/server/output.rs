//! Replies on their way to a peer that may be slow, or never read at all.

use std::io;
use std::time::{Duration, Instant};

use tokio::net::UnixStream;

/// Most bytes that a peer may leave unread before we stop reading from it; stock Dovecot stops at
/// 50 KiB. What is being verified then may still add its answers: some 300 bytes for each.
const MAX_UNSENT: usize = 64 * 1024;

/// How long a peer may take nothing at all before it is given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Room that is kept for the next replies, in bytes.
const KEPT: usize = 4 * 1024;

/// Bytes that the peer has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    /// Since when the peer has taken nothing, while there is something.
    stalled: Option<Instant>,
}

impl Output {
    /// Where replies are appended.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that are kept for it.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Whether the peer should read before it may ask more.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() > MAX_UNSENT
    }

    /// When the peer will be given up if it takes nothing until then.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.stalled.map(|since| since + PATIENCE)
    }

    /// Sends what the peer takes now: as a rule everything, with one write.
    ///
    /// # Errors
    ///
    /// If the peer is gone, or has taken nothing for 30 s.
    pub(super) fn send(&mut self, stream: &UnixStream, now: Instant) -> io::Result<()> {
        let mut sent = 0;
        while let Some(rest) = self.bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            match stream.try_write(rest) {
                Ok(taken) => {
                    sent += taken;
                    self.stalled = Some(now);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // What was taken goes: a slow peer never catches up, perhaps.
                    self.bytes.drain(..sent);
                    let since = *self.stalled.get_or_insert(now);
                    if now.saturating_duration_since(since) >= PATIENCE {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        self.stalled = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server;

    /// Fills all that is between us and a peer that reads nothing.
    fn stuck(now: Instant) -> (Output, UnixStream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut output = Output::default();
        output.buffer().extend_from_slice(&vec![b'x'; 1 << 20]);
        let give_up = server::now() + Duration::from_secs(20);
        // The first readiness is the event loop's to tell.
        while output.bytes.len() == 1 << 20 {
            output.send(&ours, now).unwrap();
            assert!(server::now() < give_up, "nothing was taken");
        }
        while output.stalled.is_none() {
            output.send(&ours, now).unwrap();
        }
        (output, ours, theirs)
    }

    #[test]
    fn a_peer_that_takes_nothing_is_read_no_more_and_given_up_after_30_seconds() {
        let runtime = server::runtime::start().unwrap();
        let _entered = runtime.enter();
        let now = server::now();
        let (mut output, ours, _theirs) = stuck(now);
        assert!(output.is_full());
        assert_eq!(output.deadline(), Some(now + PATIENCE));
        let just_before = now + PATIENCE - Duration::from_nanos(1);
        output.send(&ours, just_before).unwrap();
        let error = output.send(&ours, now + PATIENCE).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_peer_that_takes_a_little_now_and_then_is_not_given_up() {
        let runtime = server::runtime::start().unwrap();
        let _entered = runtime.enter();
        let mut now = server::now();
        let (mut output, ours, theirs) = stuck(now);
        let mut chunk = [0; 64 * 1024];
        for _ in 0..3 {
            now += PATIENCE - Duration::from_nanos(1);
            let begun = output.bytes.len();
            let give_up = server::now() + Duration::from_secs(20);
            while output.bytes.len() == begun {
                let _ = theirs.try_read(&mut chunk);
                output.send(&ours, now).unwrap();
                assert!(server::now() < give_up, "nothing more was taken");
            }
        }
    }

    #[test]
    fn what_a_slow_peer_has_taken_is_kept_no_longer() {
        let runtime = server::runtime::start().unwrap();
        let _entered = runtime.enter();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let message: Vec<u8> = (0..=250).cycle().take(1 << 20).collect();
        let mut output = Output::default();
        output.buffer().extend_from_slice(&message);
        let now = server::now();
        let mut read = Vec::new();
        let mut chunk = [0; 10_000];
        // Driven by hand: the first readiness is the event loop's to tell.
        let give_up = now + Duration::from_secs(20);
        while read.len() < message.len() {
            output.send(&ours, now).unwrap();
            let length = theirs.try_read(&mut chunk).unwrap_or(0);
            read.extend_from_slice(&chunk[..length]);
            assert!(server::now() < give_up, "{} bytes came", read.len());
            let left = message.len() - read.len();
            assert!(output.bytes.len() <= left, "what was read is still kept");
        }
        assert_eq!(read, message);
        assert!(output.is_empty());
        assert_eq!(output.deadline(), None);
    }
}
