//! What every connection has, whatever is spoken on it: the socket, lines on their way in, bytes on
//! their way out, and how far it has come to its end.

use std::io;
use std::time::Instant;

use tokio::io::Interest;
use tokio::net::UnixStream;
use zeroize::Zeroize;

use super::os;
use super::output::Output;
use crate::secret::Secret;
use crate::wire::line::{LineBuffer, MAX_LINE, TooLong};

/// Bytes taken with one read.
const CHUNK: usize = 4 * 1024;

/// Most bytes taken once the daemon stops: four of the longest lines.
pub(super) const MAX_LAST: usize = 4 * MAX_LINE;

/// One socket.
#[derive(Debug)]
pub(super) struct Channel {
    stream: UnixStream,
    begun: Instant,
    lines: LineBuffer,
    output: Output,
    /// The peer sends nothing more: it gets what it asked for, then we close.
    pub(super) ended: bool,
    /// The daemon stops: the same, and what was not read stays unread.
    pub(super) draining: bool,
    /// Nothing counts any more but what is written already.
    pub(super) closing: bool,
    /// Bytes taken since others had their turn.
    taken: usize,
}

impl Channel {
    /// With the first bytes that leave.
    pub(super) fn new(stream: UnixStream, greeting: &[u8], begun: Instant) -> Self {
        let mut output = Output::default();
        output.buffer().extend_from_slice(greeting);
        Self {
            stream,
            begun,
            lines: LineBuffer::default(),
            output,
            ended: false,
            draining: false,
            closing: false,
            taken: 0,
        }
    }

    /// When the peer was accepted.
    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    /// Whether lines may be taken, as far as the socket is concerned.
    pub(super) fn takes_lines(&self) -> bool {
        !self.closing && !self.draining && !self.output.is_full()
    }

    /// The next complete line, if there is one.
    pub(super) fn next_line(&mut self) -> Result<Option<Secret>, TooLong> {
        self.lines.next_line()
    }

    /// Where replies are appended.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        self.output.buffer()
    }

    /// Whether the peer should read before it may ask more.
    pub(super) fn is_full(&self) -> bool {
        self.output.is_full()
    }

    /// Sends what the peer takes now.
    ///
    /// # Errors
    ///
    /// As [`Output::send`].
    pub(super) fn send(&mut self, now: Instant) -> io::Result<()> {
        self.output.send(&self.stream, now)
    }

    pub(super) fn is_sent(&self) -> bool {
        self.output.is_empty()
    }

    /// When the peer will be given up if it takes nothing until then.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.output.deadline()
    }

    /// What of the socket we wait for, where lines are wanted or not.
    pub(super) fn interest(&self, wants_lines: bool) -> Option<Interest> {
        let reads = (!self.ended && wants_lines).then_some(Interest::READABLE);
        let writes = (!self.output.is_empty()).then_some(Interest::WRITABLE);
        reads.into_iter().chain(writes).reduce(Interest::add)
    }

    /// Waits until the socket is ready for some of that, and then takes one chunk of what there is to read.
    /// Never done without an interest. Nothing is lost if it is dropped before it is done.
    pub(super) async fn ready(&mut self, interest: Option<Interest>) {
        let Some(interest) = interest else {
            return std::future::pending().await;
        };
        let ready = self.stream.ready(interest).await;
        if ready.is_ok_and(|ready| ready.is_readable()) {
            self.read(UnixStream::try_read);
        }
    }

    /// Lets the others go on, once a chunk was taken since they did. Without it a peer that sends as fast as we
    /// read would keep its thread to itself: there is always something more, and so nothing to wait for.
    pub(super) async fn give_way(&mut self) {
        if self.taken >= CHUNK {
            self.taken = 0;
            tokio::task::yield_now().await;
        }
    }

    /// Bytes that are kept for this connection, both ways.
    pub(super) fn held(&self) -> usize {
        self.lines.capacity() + self.output.capacity()
    }

    /// Takes a chunk of what the peer has sent already, and returns how long it was.
    pub(super) fn read_now(&mut self) -> usize {
        self.read(|stream, chunk| os::read_now(stream, chunk))
    }

    /// To be called only when every complete line before it was taken.
    fn read(&mut self, read: impl Fn(&UnixStream, &mut [u8]) -> io::Result<usize>) -> usize {
        let mut chunk = [0; CHUNK];
        match read(&self.stream, &mut chunk) {
            Ok(0) => self.ended = true,
            Ok(length) => {
                let bytes = chunk.get_mut(..length).unwrap_or_default();
                self.taken += length;
                self.lines.push(bytes);
                bytes.zeroize(); // There may be a password in it.
                return length;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.ended = true,
        }
        0
    }
}
