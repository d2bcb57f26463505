//! As much of an IMAP client as it takes to read one message (RFC 3501).

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::secret::Secret;

/// Longest wait for an answer: Dovecot's own delay after a wrong password is 2 s.
const PATIENCE: Duration = Duration::from_secs(15);

/// Most bytes that one connection may say.
const MAX_SAID: u64 = 64 * 1_024;

/// A connection that was greeted.
#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    lines: io::Take<BufReader<TcpStream>>,
    commands: u32,
}

/// The lines of an answer; the last one says how it went.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) ok: bool,
    pub(super) lines: Vec<String>,
}

impl Client {
    /// Connects to a loopback port and waits for the greeting.
    ///
    /// # Errors
    ///
    /// If nobody listens, or it is no IMAP server that would let us begin.
    pub(super) fn connect(port: u16) -> io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let lines = BufReader::new(stream.try_clone()?).take(MAX_SAID);
        let mut client = Self {
            stream,
            lines,
            commands: 0,
        };
        let greeting = client.line()?;
        if !greeting.starts_with("* OK") {
            return Err(io::Error::other(greeting));
        }
        Ok(client)
    }

    /// `LOGIN`. Neither name nor password may hold quotes; ours do not.
    ///
    /// # Errors
    ///
    /// If the connection breaks.
    pub(super) fn login(&mut self, mailbox: &str, password: &Secret) -> io::Result<Answer> {
        let head = format!("LOGIN \"{mailbox}\" \"");
        let command = Secret::new([head.as_bytes(), password.expose(), b"\""].concat());
        self.command(command.expose())
    }

    /// Any command without a literal.
    ///
    /// # Errors
    ///
    /// If the connection breaks.
    pub(super) fn command(&mut self, command: &[u8]) -> io::Result<Answer> {
        self.commands += 1;
        let tag = format!("a{} ", self.commands);
        let line = Secret::new([tag.as_bytes(), command, b"\r\n"].concat());
        self.stream.write_all(line.expose())?;
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            let status = line
                .strip_prefix(&tag)
                .map(|status| status.starts_with("OK"));
            lines.push(line);
            if let Some(ok) = status {
                return Ok(Answer { ok, lines });
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.lines.read_line(&mut line)? == 0 {
            return Err(io::Error::other("the server hung up"));
        }
        Ok(line.trim_end().to_owned())
    }
}
