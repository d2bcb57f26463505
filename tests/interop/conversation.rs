//! The mail program's side: lines over TCP, and as much of IMAP, POP3 and SMTP as a log-in needs.
//! Answers are returned whole and compared by the tests: what a person sees is what counts.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};

use data_encoding::BASE64;

use crate::dovecot::{LMTP, SIEVE};
use crate::machine::Machine;

#[derive(Debug)]
struct Conversation(BufReader<TcpStream>);

impl Conversation {
    fn open(machine: &Machine, from: Ipv4Addr, port: u16) -> Self {
        Self(BufReader::new(
            machine.connect(from, port).expect("the server listens"),
        ))
    }

    fn send(&mut self, line: &str) {
        self.0
            .get_mut()
            .write_all(format!("{line}\r\n").as_bytes())
            .expect("the server reads");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("the server answers");
        assert!(line.ends_with('\n'), "the server hung up after {line:?}");
        line.trim_end_matches(['\r', '\n']).to_owned()
    }

    /// The next line, or `None` where the server has hung up.
    fn line_or_end(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line);
        // Hung up with something of ours unread.
        let gone = |error: &std::io::Error| error.kind() == ErrorKind::ConnectionReset;
        if read.as_ref().is_err_and(gone) {
            return None;
        }
        read.expect("the server answers or hangs up");
        (!line.is_empty()).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// The answer to a line, or `None` where the server has hung up.
    fn ask(&mut self, line: &str) -> Option<String> {
        let sent = self.0.get_mut().write_all(format!("{line}\r\n").as_bytes());
        sent.ok().and_then(|()| self.line_or_end())
    }

    /// Lines until one of which this is true; that one included.
    fn lines_until(&mut self, last: impl Fn(&str) -> bool) -> Vec<String> {
        let mut lines = vec![self.line()];
        while !last(&lines[lines.len() - 1]) {
            lines.push(self.line());
        }
        lines
    }
}

#[derive(Debug)]
pub struct Imap(Conversation);

impl Imap {
    pub fn connect(machine: &Machine, from: Ipv4Addr) -> Self {
        let mut imap = Self(Conversation::open(machine, from, 143));
        let greeting = imap.0.line();
        assert!(greeting.starts_with("* OK [CAPABILITY "), "{greeting}");
        imap
    }

    /// The answer to `LOGIN`, without its tag.
    pub fn login(&mut self, mailbox: &str, password: &str) -> String {
        self.send_login(mailbox, password);
        self.answer().pop().expect("not empty")
    }

    /// The question of [`Self::login`] without waiting for its answer.
    pub fn send_login(&mut self, mailbox: &str, password: &str) {
        self.0
            .send(&format!("a LOGIN \"{mailbox}\" \"{password}\""));
    }

    /// The last line of an answer, without its tag, or else the last before the server hung up.
    pub fn answer_or_farewell(&mut self) -> String {
        let mut last = String::new();
        while let Some(line) = self.0.line_or_end() {
            if let Some(answer) = line.strip_prefix("a ") {
                return answer.to_owned();
            }
            last = line;
        }
        last
    }

    /// Hangs up, and returns what the server had said unasked, or says to that.
    pub fn hang_up(&mut self) -> String {
        // An error: the server did so before.
        let _ = self.0.0.get_ref().shutdown(Shutdown::Write);
        self.farewell()
    }

    /// The answer to `AUTHENTICATE PLAIN` for another's mailbox, without its tag.
    pub fn authenticate_for(&mut self, wanted: &str, mailbox: &str, password: &str) -> String {
        let response = plain(wanted, mailbox, password);
        self.command(&format!("AUTHENTICATE PLAIN {response}"))
            .pop()
            .expect("not empty")
    }

    /// The answer to `SELECT INBOX`, without its tag.
    pub fn select(&mut self) -> String {
        self.command("SELECT INBOX").pop().expect("not empty")
    }

    /// The only message in the inbox.
    pub fn read_message(&mut self) -> String {
        let selected = self.command("SELECT INBOX");
        assert!(
            selected.iter().any(|line| line == "* 1 EXISTS"),
            "{selected:?}"
        );
        self.command("FETCH 1 BODY[TEXT]").join("\n")
    }

    /// Whether the session goes on.
    pub fn is_alive(&mut self) -> bool {
        let answer = self.0.ask("a NOOP");
        answer.is_some_and(|line| line.starts_with("a OK "))
    }

    /// What the server says unasked, up to the end of the session.
    pub fn farewell(&mut self) -> String {
        let mut said = Vec::new();
        while let Some(line) = self.0.line_or_end() {
            said.push(line);
        }
        said.join("\n")
    }

    fn command(&mut self, command: &str) -> Vec<String> {
        self.0.send(&format!("a {command}"));
        self.answer()
    }

    /// All lines of an answer, the last one without its tag.
    fn answer(&mut self) -> Vec<String> {
        let mut answer = self.0.lines_until(|line| line.starts_with("a "));
        if let Some(last) = answer.last_mut() {
            last.drain(..2);
        }
        answer
    }
}

#[derive(Debug)]
pub struct Pop3(Conversation);

impl Pop3 {
    pub fn connect(machine: &Machine, from: Ipv4Addr) -> Self {
        let mut pop3 = Self(Conversation::open(machine, from, 110));
        let greeting = pop3.0.line();
        assert!(greeting.starts_with("+OK"), "{greeting}");
        pop3
    }

    /// The answer to `PASS`.
    pub fn login(&mut self, mailbox: &str, password: &str) -> String {
        self.0.send(&format!("USER {mailbox}"));
        let answer = self.0.line();
        assert!(answer.starts_with("+OK"), "{answer}");
        self.0.send(&format!("PASS {password}"));
        self.0.line()
    }

    /// The first message.
    pub fn read_message(&mut self) -> String {
        self.0.send("RETR 1");
        let message = self
            .0
            .lines_until(|line| line == "." || line.starts_with("-ERR"));
        message.join("\n")
    }
}

#[derive(Debug)]
pub struct Smtp(Conversation);

impl Smtp {
    /// Up to the answer to `EHLO`, which must offer both mechanisms.
    pub fn connect(machine: &Machine, from: Ipv4Addr, port: u16) -> Self {
        let mut smtp = Self(Conversation::open(machine, from, port));
        let greeting = smtp.answer();
        assert!(greeting.starts_with("220 "), "{greeting}");
        smtp.0.send("EHLO client.example.org");
        let offers = smtp.0.lines_until(|line| line.starts_with("250 "));
        assert!(
            offers.iter().any(|line| line == "250-AUTH PLAIN LOGIN"),
            "{offers:?}"
        );
        smtp
    }

    pub fn plain(&mut self, mailbox: &str, password: &str) -> String {
        self.send_plain(mailbox, password);
        self.answer()
    }

    /// The question of [`Self::plain`] without waiting for its [`Self::answer`].
    pub fn send_plain(&mut self, mailbox: &str, password: &str) {
        self.0
            .send(&format!("AUTH PLAIN {}", plain("", mailbox, password)));
    }

    /// `AUTH PLAIN` with another's mailbox as the authorization identity.
    pub fn plain_for(&mut self, wanted: &str, mailbox: &str, password: &str) -> String {
        self.0
            .send(&format!("AUTH PLAIN {}", plain(wanted, mailbox, password)));
        self.answer()
    }

    pub fn plain_without_initial_response(&mut self, mailbox: &str, password: &str) -> String {
        self.0.send("AUTH PLAIN");
        assert_eq!(self.answer(), "334 ", "an empty challenge");
        self.0.send(&plain("", mailbox, password));
        self.answer()
    }

    pub fn login(&mut self, mailbox: &str, password: &str) -> String {
        self.0.send("AUTH LOGIN");
        for (prompt, response) in [("Username:", mailbox), ("Password:", password)] {
            assert_eq!(
                self.answer(),
                format!("334 {}", BASE64.encode(prompt.as_bytes()))
            );
            self.0.send(&BASE64.encode(response.as_bytes()));
        }
        self.answer()
    }

    pub fn answer(&mut self) -> String {
        self.0.line()
    }
}

#[derive(Debug)]
pub struct Lmtp(Conversation);

impl Lmtp {
    pub fn connect(machine: &Machine, from: Ipv4Addr) -> Self {
        let mut lmtp = Self(Conversation::open(machine, from, LMTP));
        let greeting = lmtp.0.line();
        assert!(greeting.starts_with("220 "), "{greeting}");
        lmtp.0.send("LHLO client.example.org");
        lmtp.0.lines_until(|line| line.starts_with("250 "));
        lmtp
    }

    /// The answer to `RCPT TO` of a new message.
    pub fn recipient(&mut self, mailbox: &str) -> String {
        let answer = self.command("RSET");
        assert!(answer.starts_with("250 "), "{answer}");
        let answer = self.command("MAIL FROM:<sender@example.net>");
        assert!(answer.starts_with("250 "), "{answer}");
        self.command(&format!("RCPT TO:<{mailbox}>"))
    }

    /// The answer to a message for the recipient that was accepted.
    pub fn message(&mut self, body: &str) -> String {
        let answer = self.command("DATA");
        assert!(answer.starts_with("354 "), "{answer}");
        self.command(&format!("Subject: test\r\n\r\n{body}\r\n."))
    }

    fn command(&mut self, line: &str) -> String {
        self.0.send(line);
        self.0.line()
    }
}

#[derive(Debug)]
pub struct Sieve(Conversation);

impl Sieve {
    pub fn connect(machine: &Machine, from: Ipv4Addr) -> Self {
        let mut sieve = Self(Conversation::open(machine, from, SIEVE));
        sieve.0.lines_until(|line| line.starts_with("OK"));
        sieve
    }

    pub fn login(&mut self, mailbox: &str, password: &str) -> String {
        let response = plain("", mailbox, password);
        self.command(&format!("AUTHENTICATE \"PLAIN\" \"{response}\""))
    }

    /// The answer to `LISTSCRIPTS`: only a session has one.
    pub fn list(&mut self) -> String {
        self.command("LISTSCRIPTS")
    }

    fn command(&mut self, line: &str) -> String {
        self.0.send(line);
        let last = |line: &str| {
            ["OK", "NO", "BYE"]
                .iter()
                .any(|word| line.starts_with(word))
        };
        self.0.lines_until(last).pop().expect("not empty")
    }
}

/// The message of PLAIN: authorization identity, which may be empty, authentication identity, password.
fn plain(wanted: &str, mailbox: &str, password: &str) -> String {
    BASE64.encode(format!("{wanted}\0{mailbox}\0{password}").as_bytes())
}
