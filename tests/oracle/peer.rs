//! A login process with a stopwatch.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use dovelatch::model::Mechanism;

use crate::cases::Shown;

/// Longer than any answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Peer {
    reader: BufReader<UnixStream>,
    id: u32,
}

impl Peer {
    pub(crate) fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let reader = BufReader::new(stream);
        let mut peer = Self { reader, id: 0 };
        peer.say("VERSION\t1\t2\nCPID\t42\n");
        while peer.line() != "DONE" {}
        peer
    }

    fn say(&self, text: &str) {
        self.reader.get_ref().write_all(text.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the daemon hung up");
        line.trim_end_matches('\n').to_owned()
    }

    /// Shows a password and waits for the answer.
    pub(crate) fn refused(&mut self, mechanism: Mechanism, shown: &Shown) -> String {
        let begun = self.begin(mechanism, shown);
        self.send(&begun);
        self.receive(&begun).1
    }

    /// The message that shows the password.
    pub(crate) fn send(&self, begun: &Begun) {
        self.say(&begun.last);
    }

    /// Its answer, without its id, and when it was read.
    pub(crate) fn receive(&mut self, begun: &Begun) -> (Instant, String) {
        let mut line = String::with_capacity(512);
        self.reader.read_line(&mut line).unwrap();
        let read = Instant::now();
        (read, without_id(&line, begun.id))
    }

    /// How long a question takes that is answered at once, and whose answer is always the same: LOGIN's
    /// for a name.
    pub(crate) fn challenge(&mut self) -> Duration {
        self.id += 1;
        let line = format!("AUTH\t{}\tLOGIN\tservice=imap\tnologin\n", self.id);
        let sent = Instant::now();
        self.say(&line);
        let said = self.line();
        let took = sent.elapsed();
        assert!(said.starts_with("CONT\t"), "{said}");
        self.say(&format!("CANCEL\t{}\n", self.id));
        took
    }

    /// Everything but the last message, which shows the password.
    pub(crate) fn begin(&mut self, mechanism: Mechanism, shown: &Shown) -> Begun {
        self.id += 1;
        let id = self.id;
        let head = format!(
            "AUTH\t{id}\t{}\tservice=imap\trip=203.0.113.7\tlip=192.0.2.1\tnologin\tresp=",
            mechanism.as_str()
        );
        match mechanism {
            Mechanism::Plain => {
                let last = format!("{head}{}\n", shown.message());
                Begun { id, last }
            }
            Mechanism::Login => {
                self.say(&format!("{head}{}\n", BASE64.encode(shown.name.as_bytes())));
                assert!(self.line().starts_with("CONT\t"), "LOGIN asks on");
                let password = BASE64.encode(shown.password.as_bytes());
                let last = format!("CONT\t{id}\t{password}\n");
                Begun { id, last }
            }
        }
    }

    /// Asks without waiting; the id.
    pub(crate) fn ask(&mut self, shown: &Shown) -> u32 {
        let begun = self.begin(Mechanism::Plain, shown);
        self.send(&begun);
        begun.id
    }

    /// What comes from now on, for another thread.
    pub(crate) fn answers(&self) -> Answers {
        assert!(self.reader.buffer().is_empty(), "all was read so far");
        Answers(BufReader::new(self.reader.get_ref().try_clone().unwrap()))
    }
}

/// A log-in of which all is said but the password.
pub(crate) struct Begun {
    id: u32,
    last: String,
}

pub(crate) struct Answers(BufReader<UnixStream>);

impl Answers {
    /// The next one: its id, and the rest.
    pub(crate) fn next(&mut self) -> (u32, String) {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let id: u32 = line.split('\t').nth(1).unwrap().parse().unwrap();
        (id, without_id(&line, id))
    }
}

/// So that two of them can be compared.
fn without_id(line: &str, id: u32) -> String {
    line.replacen(&format!("\t{id}"), "\tID", 1)
}

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap()
}
