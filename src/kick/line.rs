//! A Unix socket of Dovecot, spoken to line by line, and never longer than until a deadline.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::now;
use crate::secret::Secret;
use crate::wire::line::LineBuffer;

/// An open connection.
pub(super) struct Lines {
    stream: UnixStream,
    buffer: LineBuffer,
}

impl Lines {
    /// Connects.
    ///
    /// A peer that accepts nothing and whose backlog is full makes connect(2) wait without end, and the
    /// standard library has no time-out for Unix sockets. So a thread waits, which ends with the process.
    ///
    /// # Errors
    ///
    /// connect's, or [`io::ErrorKind::TimedOut`].
    pub(super) fn connect(path: &Path, until: Instant) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel();
        let path = path.to_owned();
        std::thread::Builder::new().spawn(move || {
            // Nobody takes it where it came too late.
            let _ = sender.send(UnixStream::connect(path));
        })?;
        let stream = receiver
            .recv_timeout(left(until)?)
            .map_err(|_| timed_out())??;
        Ok(Self {
            stream,
            buffer: LineBuffer::default(),
        })
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    ///
    /// The socket's, or [`io::ErrorKind::TimedOut`].
    pub(super) fn send(&mut self, mut bytes: &[u8], until: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(Some(left(until)?))?;
            let written = self.stream.write(bytes).map_err(plain)?;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// The next line.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] where the peer hung up, [`io::ErrorKind::TimedOut`], and
    /// [`io::ErrorKind::InvalidData`] of a line that is too long.
    pub(super) fn next(&mut self, until: Instant) -> io::Result<Secret> {
        let mut bytes = [0; 4_096];
        loop {
            let line = self.buffer.next_line();
            if let Some(line) =
                line.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?
            {
                return Ok(line);
            }
            self.stream.set_read_timeout(Some(left(until)?))?;
            let length = self.stream.read(&mut bytes).map_err(plain)?;
            if length == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "it closed the connection",
                ));
            }
            self.buffer.push(bytes.get(..length).unwrap_or_default());
        }
    }
}

/// The time until then; none left is an error, as the socket would wait without end.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(now());
    if left.is_zero() {
        return Err(timed_out());
    }
    Ok(left)
}

/// `EAGAIN` is how the kernel reports a time-out.
fn plain(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock {
        return timed_out();
    }
    error
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it did not answer in time")
}
