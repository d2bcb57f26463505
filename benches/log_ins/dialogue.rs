//! One log-in on the wire: the line that asks, and what the line that answers must be.
//!
//! Every answer is looked at. A wrong one ends the benchmark: figures of a server that lets the wrong
//! one in are worth nothing.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use data_encoding::BASE64;

/// Longer than any answer may take: 4 s in a queue, and a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A line with its answer, both without the id.
#[derive(Debug, Clone)]
pub struct LogIn {
    /// From the TAB behind the id to the line feed.
    ask: Vec<u8>,
    answer: &'static [u8],
    /// `user=` and the mailbox.
    user: Vec<u8>,
}

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    Ok,
    Fail,
    /// *Try later*: not a verdict.
    Later,
}

impl LogIn {
    /// One that must be let in.
    pub fn good(mailbox: &str, password: &str) -> Self {
        Self::new(mailbox, password, b"OK")
    }

    /// One that must be refused.
    pub fn bad(mailbox: &str, password: &str) -> Self {
        Self::new(mailbox, password, b"FAIL")
    }

    fn new(mailbox: &str, password: &str, answer: &'static [u8]) -> Self {
        let response = BASE64.encode(format!("\0{mailbox}\0{password}").as_bytes());
        // `nologin`, as Postfix says it: stock Dovecot would else keep each OK for a mail process.
        let ask = format!(
            "\tPLAIN\tservice=imap\trip=203.0.113.7\tlip=192.0.2.1\tnologin\tresp={response}\n"
        );
        Self {
            ask: ask.into_bytes(),
            answer,
            user: format!("user={mailbox}").into_bytes(),
        }
    }

    /// Appends the line that asks.
    pub fn write(&self, id: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(b"AUTH\t");
        out.extend_from_slice(id.to_string().as_bytes());
        out.extend_from_slice(&self.ask);
    }

    /// What an answer says, whoever was expected to be let in.
    ///
    /// Panics if it is about somebody else.
    pub fn heard(&self, answer: &Answer<'_>) -> Heard {
        let told = answer.fields.split(|byte| *byte == b'\t').next();
        assert_eq!(
            told,
            Some(&self.user[..]),
            "the answer is about somebody else: {answer:?}"
        );
        let later = (answer.fields.split(|byte| *byte == b'\t'))
            .any(|field| [&b"temp"[..], b"code=temp_fail"].contains(&field));
        match answer.word {
            b"OK" => Heard::Ok,
            b"FAIL" if later => Heard::Later,
            b"FAIL" => Heard::Fail,
            _ => panic!("not an answer: {answer:?}"),
        }
    }

    /// Whether there is a verdict, and not *try later*.
    ///
    /// Panics if it is the wrong one.
    pub fn is_decided(&self, answer: &Answer<'_>) -> bool {
        let heard = self.heard(answer);
        let right = heard == Heard::Later || answer.word == self.answer;
        assert!(right, "WRONG ANSWER: {answer:?}");
        heard != Heard::Later
    }
}

/// One line of the server, taken apart.
pub struct Answer<'a> {
    pub word: &'a [u8],
    pub id: u32,
    pub fields: &'a [u8],
}

impl<'a> Answer<'a> {
    /// `line` has no line feed.
    pub fn parse(line: &'a [u8]) -> Self {
        let mut parts = line.splitn(3, |byte| *byte == b'\t');
        let word = parts.next().unwrap_or_default();
        let id = parts.next().and_then(|id| std::str::from_utf8(id).ok());
        let id = id.and_then(|id| id.parse().ok());
        Self {
            word,
            id: id.unwrap_or_else(|| panic!("no id in {:?}", String::from_utf8_lossy(line))),
            fields: parts.next().unwrap_or_default(),
        }
    }
}

impl std::fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = String::from_utf8_lossy;
        write!(f, "{} {} {}", text(self.word), self.id, text(self.fields))
    }
}

/// A connection whose greetings are exchanged. Reads wait for [`PATIENCE`] at most.
pub fn connect(socket: &Path) -> io::Result<UnixStream> {
    // Stock Dovecot refuses a process id that another connection has.
    static PROCESS: AtomicU32 = AtomicU32::new(100_000);
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let process = PROCESS.fetch_add(1, Ordering::Relaxed);
    stream.write_all(format!("VERSION\t1\t2\nCPID\t{process}\n").as_bytes())?;
    let mut greeting = Vec::new();
    let mut part = [0; 4096];
    while !greeting.ends_with(b"\nDONE\n") {
        greeting.extend_from_slice(read(&mut stream, &mut part)?);
    }
    Ok(stream)
}

/// What is there, or will be; an error at the end of the connection.
pub fn read<'a>(stream: &mut UnixStream, part: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let read = loop {
        match stream.read(part) {
            // A read with a time limit ends so when the process was stopped and goes on (signal(7)).
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    match part.get(..read) {
        Some(read) if !read.is_empty() => Ok(read),
        Some(_) | None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A client that asks one thing at a time.
#[derive(Debug)]
pub struct Peer {
    stream: UnixStream,
    id: u32,
    line: Vec<u8>,
}

impl Peer {
    pub fn connect(socket: &Path) -> io::Result<Self> {
        Ok(Self {
            stream: connect(socket)?,
            id: 0,
            line: Vec::new(),
        })
    }

    /// Asks, and gives back the answer.
    pub fn ask(&mut self, log_in: &LogIn) -> io::Result<Answer<'_>> {
        self.id += 1;
        self.line.clear();
        log_in.write(self.id, &mut self.line);
        self.stream.write_all(&self.line)?;
        self.line.clear();
        let mut part = [0; 4096];
        while !self.line.ends_with(b"\n") {
            (self.line).extend_from_slice(read(&mut self.stream, &mut part)?);
        }
        let answer = Answer::parse(&self.line[..self.line.len() - 1]);
        assert_eq!(answer.id, self.id, "an answer to something else");
        Ok(answer)
    }
}
