//! The other end of a connection: a login process, or Postfix, as far as a test needs it.

use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use data_encoding::BASE64;

/// Longer than any answer may take: a test that waits for more has failed.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Peer {
    reader: BufReader<UnixStream>,
}

impl Peer {
    /// Connects as a login process of Dovecot 2.3 does, and reads the greeting.
    pub(crate) fn login_process(socket: &Path) -> Self {
        Self::connect(socket, 2)
    }

    /// Connects as smtpd does.
    pub(crate) fn postfix(socket: &Path) -> Self {
        Self::connect(socket, 0)
    }

    /// Connects as a mail process or LMTP does, and reads the greeting, which ends with the SPID.
    pub(crate) fn mail_process(socket: &Path) -> Self {
        let mut peer = Self::bare(socket);
        peer.say("VERSION\t1\t1");
        assert_eq!(peer.line(), "VERSION\t1\t1");
        assert_eq!(peer.line(), format!("SPID\t{}", std::process::id()));
        peer
    }

    pub(crate) fn bare(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            reader: BufReader::new(stream),
        }
    }

    fn connect(socket: &Path, minor: u32) -> Self {
        let mut peer = Self::bare(socket);
        peer.say(&format!("VERSION\t1\t{minor}\nCPID\t42"));
        while peer.line() != "DONE" {}
        peer
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        self.reader.get_ref()
    }

    pub(crate) fn say(&self, line: &str) {
        self.stream()
            .write_all(format!("{line}\n").as_bytes())
            .unwrap();
    }

    /// Begins to sign in with PLAIN.
    pub(crate) fn plain(&self, id: u32, user: &str, password: &str) {
        self.say(&plain(id, user, password));
    }

    /// The next line, without its end; empty if the connection was closed.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line.trim_end_matches('\n').to_owned()
    }

    /// Signs in and gives back the answer.
    pub(crate) fn sign_in(&mut self, id: u32, user: &str, password: &str) -> String {
        self.plain(id, user, password);
        self.line()
    }

    /// Sends nothing more.
    pub(crate) fn end(&self) {
        self.stream().shutdown(Shutdown::Write).unwrap();
    }

    pub(crate) fn is_closed(&mut self) -> bool {
        self.line().is_empty()
    }
}

/// An AUTH line.
pub(crate) fn plain(id: u32, user: &str, password: &str) -> String {
    let response = BASE64.encode(format!("\0{user}\0{password}").as_bytes());
    format!(
        "AUTH\t{id}\tPLAIN\tservice=imap\trip=203.0.113.7\tlip=192.0.2.1\tnologin\tresp={response}"
    )
}
