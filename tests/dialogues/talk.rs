//! Holds one dialogue: sends what the client says, compares what the server answers.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use dovelatch::sasl::base64;
use dovelatch::secret::Secret;

use crate::Account;
use crate::dialogue::{Dialogue, Server, Socket};
use crate::wait::LONG;

const USER: &str = "bob@example.org";

/// What stands for the end of the connection.
const CLOSED: &str = "<closed>";

/// An id that no dialogue uses, and what everybody answers.
const PROBE: [&str; 2] = [
    "CONT\t4000000000\tAAAA\n",
    r"FAIL\t4000000000\treason=Authentication request timed out",
];
const MASTER_PROBE: [&str; 2] = [
    "USER\t4000000000\tnobody@example.org\tservice=probe\n",
    r"NOTFOUND\t4000000000",
];

/// `Err` says where the server left the script.
pub fn hold(dialogue: &Dialogue, server: Server, account: &Account) -> Result<(), String> {
    let socket = match dialogue.socket {
        Socket::Client => &account.client,
        Socket::Master => &account.master,
        Socket::Userdb => &account.userdb,
    };
    let mut peer = Peer::connect(socket);
    let ([hello, last], [probe, probed]) = match dialogue.socket {
        Socket::Client => (["CPID\t77\n", "DONE"], PROBE),
        Socket::Master | Socket::Userdb => (["", r"SPID\t{number}"], MASTER_PROBE),
    };
    if let Some(minor) = dialogue.minor {
        peer.send(format!("VERSION\t1\t{minor}\n{hello}").as_bytes());
        while peer.line() != last {}
    }
    for turn in dialogue.with(server) {
        if turn.from_client {
            let lines = turn.lines.iter().map(|line| bytes(line, account));
            peer.send(
                &lines
                    .flat_map(|line| [line, b"\n".to_vec()].concat())
                    .collect::<Vec<u8>>(),
            );
            continue;
        }
        let mut expected: Vec<_> = turn.lines.iter().map(|line| pattern(line)).collect();
        let mut heard: Vec<_> = expected.iter().map(|_| peer.line()).collect();
        expected.sort();
        heard.sort();
        if heard != expected {
            return Err(format!(
                "expected {}\n   heard {}",
                expected.join("\n         "),
                heard.join("\n         ")
            ));
        }
        if expected.iter().any(|line| line == CLOSED) {
            return Ok(());
        }
    }
    if dialogue.minor.is_some() {
        peer.send(probe.as_bytes());
        let heard = peer.line();
        if heard != probed {
            return Err(format!("at the end, unexpectedly: {heard}"));
        }
    }
    Ok(())
}

struct Peer {
    writer: UnixStream,
    reader: BufReader<UnixStream>,
}

impl Peer {
    fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).expect("the server listens");
        stream.set_read_timeout(Some(LONG)).expect("not zero");
        let writer = stream.try_clone().expect("a descriptor");
        Self {
            writer,
            reader: BufReader::new(stream),
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        // A server that hangs up in the middle is for `line` to notice.
        let _gone = self.writer.write_all(bytes);
    }

    /// The next line, in the form in which lines are compared.
    fn line(&mut self) -> String {
        let mut line = Vec::new();
        match self.reader.read_until(b'\n', &mut line) {
            Ok(0) => CLOSED.to_owned(),
            // Hung up with something of ours unread.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => CLOSED.to_owned(),
            Ok(_) => comparable(line.strip_suffix(b"\n").unwrap_or(&line)),
            Err(error) => format!("<{error}>"),
        }
    }
}

/// What differs from one run to the next gives way to placeholders.
fn comparable(line: &[u8]) -> String {
    let text: String = line
        .escape_ascii()
        .to_string()
        .replace("\\'", "'")
        .replace("\\\"", "\"");
    let mut fields: Vec<String> = text.split(r"\t").map(str::to_owned).collect();
    match (fields[0].as_str(), fields.len()) {
        ("SPID" | "CUID", 2) if fields[1].parse::<u32>().is_ok() => fields[1] = "{number}".into(),
        ("COOKIE", 2)
            if fields[1].len() == 32
                && fields[1]
                    .bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) =>
        {
            fields[1] = "{cookie}".into();
        }
        ("USER", 3..) => fields[3..].sort(),
        ("OK", 3..) => {
            for field in &mut fields[3..] {
                if let Some((key, value)) = field.split_once('=') {
                    let letters = value.strip_prefix("dp-").unwrap_or_default();
                    if letters.len() == 10 && letters.bytes().all(|b| b.is_ascii_lowercase()) {
                        *field = format!("{key}={{device}}");
                    }
                }
            }
            fields[3..].sort();
        }
        _ => {}
    }
    fields.join(r"\t")
}

/// A line that is expected, in the same form.
fn pattern(line: &str) -> String {
    let line = filled(&line.replace("{user}", USER));
    let mut fields: Vec<&str> = line.split(r"\t").collect();
    if matches!(fields[0], "OK" | "USER") && fields.len() > 3 {
        fields[3..].sort_unstable();
    }
    fields.join(r"\t")
}

/// A line that is sent.
fn bytes(line: &str, account: &Account) -> Vec<u8> {
    let line = line
        .replace("{plain}", r"{base64:\0{user}\0{password}}")
        .replace("{user}", USER)
        .replace("{password}", &account.password);
    let mut text = filled(&line);
    while let Some((before, rest)) = text.split_once("{base64:") {
        let (inside, after) = rest.split_once('}').expect("a closing brace");
        let encoded = base64::encode(&Secret::new(unescaped(inside)));
        let encoded = String::from_utf8(encoded.expose().to_vec()).expect("base64 is ASCII");
        text = format!("{before}{encoded}{after}");
    }
    unescaped(&text)
}

fn filled(line: &str) -> String {
    let mut text = line.to_owned();
    while let Some((before, rest)) = text.split_once("{fill:") {
        let (count, after) = rest.split_once('}').expect("a closing brace");
        let count = count.parse().expect("a number");
        text = format!("{before}{}{after}", "x".repeat(count));
    }
    text
}

/// Undoes the backslashes of the files.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b'0') => 0,
            Some(b'x') => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                let digits = std::str::from_utf8(&digits).expect("two digits");
                u8::from_str_radix(digits, 16).expect("hexadecimal")
            }
            other => panic!("no such escape: {other:?}"),
        });
    }
    bytes
}
