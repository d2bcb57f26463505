//! A login process, as far as these tests need it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use data_encoding::BASE64;

use crate::wait;

pub(crate) struct Peer(BufReader<UnixStream>);

impl Peer {
    pub(crate) fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(wait::LONG)).unwrap();
        let mut peer = Self(BufReader::new(stream));
        peer.say("VERSION\t1\t2\nCPID\t42\n");
        while peer.line() != "DONE" {}
        peer
    }

    pub(crate) fn say(&self, text: &str) {
        self.0.get_ref().write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end_matches('\n').to_owned()
    }

    pub(crate) fn plain(&mut self, id: u32, mailbox: &str, password: &str) -> String {
        self.say(&plain(id, mailbox, password));
        self.say("\n");
        self.line()
    }

    pub(crate) fn login(&mut self, id: u32, mailbox: &str, password: &str) -> String {
        let name = BASE64.encode(mailbox.as_bytes());
        self.say(&format!(
            "AUTH\t{id}\tLOGIN\tservice=imap\tnologin\tresp={name}\n"
        ));
        assert!(self.line().starts_with("CONT\t"));
        self.say(&format!(
            "CONT\t{id}\t{}\n",
            BASE64.encode(password.as_bytes())
        ));
        self.line()
    }
}

/// A line without its end.
pub(crate) fn plain(id: u32, mailbox: &str, password: &str) -> String {
    let message = BASE64.encode(format!("\0{mailbox}\0{password}").as_bytes());
    format!("AUTH\t{id}\tPLAIN\tservice=imap\trip=203.0.113.7\tnologin\tresp={message}")
}
