//! What a server says unasked on accept.

use nom::multi::many0;

use super::VERSION;
use crate::model::Mechanism;
use crate::secret::Secret;
use crate::wire::cell::{cell, number, whole, word};
use crate::wire::escape::{escaped, field};

/// The whole greeting of ours, for one write.
///
/// All at once and below 1,024 bytes: Exim 4.96 sends nothing before it has seen `DONE`, Radicale 3.5
/// reads it with one `recv(1024)`. `MECH` comes before `SPID`, else Postfix takes the socket for an
/// auth-master one.
#[derive(Debug)]
pub struct Greeting<'a> {
    pub mechanisms: &'a [Mechanism],
    /// Server pid.
    pub spid: u32,
    /// Connection number.
    pub cuid: u32,
    /// 32 lower-case hex digits, random for each connection.
    pub cookie: &'a Secret,
}

/// One line of a server's greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GreetingLine {
    Version {
        major: u32,
        minor: u32,
    },
    /// The mechanism's name and its flags.
    Mechanism {
        name: Vec<u8>,
        flags: Vec<Vec<u8>>,
    },
    Spid(u32),
    Cuid(u32),
    Cookie(Secret),
    Done,
}

/// A line that no greeting has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its first lines are no greeting")]
pub struct NoGreeting;

impl Greeting<'_> {
    pub fn encode(&self) -> Vec<u8> {
        let (major, minor) = VERSION;
        // PLAIN and LOGIN show the password to whoever reads along; `plaintext` is what makes
        // Postfix's `noplaintext` and Dovecot's rule against cleartext work.
        let mechanisms = self
            .mechanisms
            .iter()
            .map(|mechanism| GreetingLine::Mechanism {
                name: mechanism.as_str().as_bytes().to_vec(),
                flags: vec![b"plaintext".to_vec()],
            });
        let end = [
            GreetingLine::Spid(self.spid),
            GreetingLine::Cuid(self.cuid),
            GreetingLine::Cookie(self.cookie.clone()),
            GreetingLine::Done,
        ];
        let mut out = Vec::new();
        GreetingLine::Version { major, minor }.encode(&mut out);
        mechanisms.chain(end).for_each(|line| line.encode(&mut out));
        out
    }
}

impl GreetingLine {
    /// Appends the line, LF included.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Version { major, minor } => {
                out.extend_from_slice(format!("VERSION\t{major}\t{minor}").as_bytes());
            }
            Self::Mechanism { name, flags } => {
                out.extend_from_slice(b"MECH\t");
                out.extend(escaped(name).flatten());
                for flag in flags {
                    out.push(b'\t');
                    out.extend(escaped(flag).flatten());
                }
            }
            Self::Spid(pid) => out.extend_from_slice(format!("SPID\t{pid}").as_bytes()),
            Self::Cuid(number) => out.extend_from_slice(format!("CUID\t{number}").as_bytes()),
            Self::Cookie(cookie) => {
                out.extend_from_slice(b"COOKIE\t");
                out.extend(escaped(cookie.expose()).flatten());
            }
            Self::Done => out.extend_from_slice(b"DONE"),
        }
        out.push(b'\n');
    }

    /// Reads one line of a server that greets.
    ///
    /// # Errors
    ///
    /// [`NoGreeting`] for a line that is none of these. Postfix ignores such, Dovecot's clients hang up.
    pub fn parse(line: &[u8]) -> Result<Self, NoGreeting> {
        let (word, line) = word(line);
        let bytes = |text: &Secret| text.expose().to_vec();
        let greeting = match word {
            b"VERSION" => whole((cell(number), cell(number)), line)
                .map(|(major, minor)| Self::Version { major, minor }),
            b"MECH" => whole((cell(field), many0(cell(field))), line).map(|(name, flags)| {
                let (name, flags) = (bytes(&name), flags.iter().map(bytes).collect());
                Self::Mechanism { name, flags }
            }),
            b"SPID" => whole(cell(number), line).map(Self::Spid),
            b"CUID" => whole(cell(number), line).map(Self::Cuid),
            b"COOKIE" => whole(cell(field), line).map(Self::Cookie),
            b"DONE" => line.is_empty().then_some(Self::Done),
            _ => None,
        };
        greeting.ok_or(NoGreeting)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_line() -> impl Strategy<Value = GreetingLine> {
        prop_oneof![
            any::<(u32, u32)>().prop_map(|(major, minor)| GreetingLine::Version { major, minor }),
            any::<(Vec<u8>, Vec<Vec<u8>>)>()
                .prop_map(|(name, flags)| GreetingLine::Mechanism { name, flags }),
            any::<u32>().prop_map(GreetingLine::Spid),
            any::<u32>().prop_map(GreetingLine::Cuid),
            any::<Vec<u8>>().prop_map(|cookie| GreetingLine::Cookie(Secret::new(cookie))),
            Just(GreetingLine::Done),
        ]
    }

    #[test]
    fn the_greeting_is_what_every_client_accepts() {
        let cookie = Secret::new(b"5689a2e0a1a2cf724e1eb1ae53c1e11a".to_vec());
        let greeting = Greeting {
            mechanisms: &Mechanism::ALL,
            spid: 6003,
            cuid: 1,
            cookie: &cookie,
        };
        let text = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nSPID\t6003\n\
                    CUID\t1\nCOOKIE\t5689a2e0a1a2cf724e1eb1ae53c1e11a\nDONE\n";
        assert_eq!(greeting.encode(), text.as_bytes());
    }

    #[test]
    fn no_greeting_reaches_the_1024_bytes_that_radicale_reads() {
        let cookie = Secret::new(vec![b'f'; 32]);
        let greeting = Greeting {
            mechanisms: &Mechanism::ALL,
            spid: u32::MAX,
            cuid: u32::MAX,
            cookie: &cookie,
        };
        assert!(greeting.encode().len() < 1_024);
    }

    proptest! {
        #[test]
        fn every_greeting_line_survives_the_wire(line in any_line()) {
            let mut out = Vec::new();
            line.encode(&mut out);
            let (end, text) = out.split_last().unwrap();
            prop_assert_eq!(*end, b'\n');
            prop_assert_eq!(GreetingLine::parse(text), Ok(line));
        }

        #[test]
        fn no_bytes_from_a_greeting_server_panic(line: Vec<u8>) {
            let _result = GreetingLine::parse(&line);
        }
    }
}
