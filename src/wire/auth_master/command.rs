//! From the client to the server.

use nom::multi::many0;

use super::{MasterId, VERSION, master_id};
use crate::secret::{Buffer, Secret};
use crate::wire::cell::{cell, number, whole, word};
use crate::wire::escape::{escaped, field};

/// Digits in a [`Cookie`]: 16 bytes.
const COOKIE_DIGITS: usize = 32;

/// The cookie of a login connection: 32 lower-case hex digits, as our greeting has them. Compared in
/// constant time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie(pub Secret);

/// One line of the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Version {
        major: u32,
        minor: u32,
    },
    /// `REQUEST`: a mail process takes over a log-in.
    PickUp(PickUp),
    /// `USER`: where does this mailbox live?
    User(Of),
    /// `PASS`: is there such a mailbox?
    Pass(Of),
    /// `LIST`: which mailboxes are there?
    List {
        id: MasterId,
        /// `user=`: which of them are wanted, with `*` and `?`; `*` where it is missing.
        mask: Vec<u8>,
    },
    /// `CACHE-FLUSH`, of these users or of all. There is nothing to flush here; `kick` sends it to stock
    /// auth.
    CacheFlush {
        id: MasterId,
        users: Vec<Vec<u8>>,
    },
}

/// Which log-in is taken over, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PickUp {
    pub id: MasterId,
    /// CPID of the login connection.
    pub client_pid: u32,
    /// Id of its AUTH.
    pub auth_id: u32,
    pub cookie: Cookie,
    /// The process that will serve the session. `None` too where it is no number.
    pub session_pid: Option<u32>,
    /// `request_auth_token`: wants `auth_token=` (URLAUTH).
    pub wants_token: bool,
}

/// A question about one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Of {
    pub id: MasterId,
    /// As it came.
    pub name: Vec<u8>,
    /// `service=`, or `protocol=` from Dovecot 2.4: who asks.
    pub service: Vec<u8>,
}

/// Why a line is no command. Only a broken client program can send such a line: the connection is
/// closed for it, as stock Dovecot does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    Command,
    Version,
    PickUp,
    Cookie,
    Of,
    Service,
    List,
    CacheFlush,
}

impl Malformed {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Command => "unknown command",
            Self::Version => "VERSION without two numbers",
            Self::PickUp => "REQUEST without a valid id, a process id, an id and a cookie",
            Self::Cookie => "REQUEST with a cookie that is not 32 hex digits",
            Self::Of => "USER or PASS without a valid id and a name",
            Self::Service => "USER or PASS without a service",
            Self::List => "LIST without a valid id",
            Self::CacheFlush => "CACHE-FLUSH without a valid id",
        }
    }
}

impl Cookie {
    /// From the wire, in either case. `None` where it is not 32 hex digits.
    pub fn from_wire(digits: &[u8]) -> Option<Self> {
        let valid = digits.len() == COOKIE_DIGITS && digits.iter().all(u8::is_ascii_hexdigit);
        valid.then(|| Self(Secret::new(digits.to_ascii_lowercase())))
    }
}

impl Command {
    /// Reads one line of a client.
    ///
    /// # Errors
    ///
    /// [`Malformed`], without anything of the line in it: that may hold a cookie.
    pub fn parse(line: &[u8]) -> Result<Self, Malformed> {
        let (word, line) = word(line);
        match word {
            b"REQUEST" => PickUp::parse(line).map(Self::PickUp),
            b"USER" => Of::parse(line).map(Self::User),
            b"PASS" => Of::parse(line).map(Self::Pass),
            b"LIST" => list(line).ok_or(Malformed::List),
            b"CACHE-FLUSH" => whole((cell(master_id), many0(cell(field))), line)
                .map(|(id, users)| Self::CacheFlush {
                    id,
                    users: users.iter().map(|user| user.expose().to_vec()).collect(),
                })
                .ok_or(Malformed::CacheFlush),
            b"VERSION" => whole((cell(number), cell(number)), line)
                .map(|(major, minor)| Self::Version { major, minor })
                .ok_or(Malformed::Version),
            _ => Err(Malformed::Command),
        }
    }

    /// The line, LF included.
    pub fn encode(&self) -> Secret {
        let mut out = Buffer::default();
        match self {
            Self::Version { major, minor } => {
                out.extend(format!("VERSION\t{major}\t{minor}").as_bytes());
            }
            Self::PickUp(by) => by.encode(&mut out),
            Self::User(of) => of.encode("USER", &mut out),
            Self::Pass(of) => of.encode("PASS", &mut out),
            Self::List { id, mask } => {
                out.extend(format!("LIST\t{}\tuser=", id.0).as_bytes());
                push(mask, &mut out);
            }
            Self::CacheFlush { id, users } => {
                out.extend(format!("CACHE-FLUSH\t{}", id.0).as_bytes());
                for user in users {
                    out.extend(b"\t");
                    push(user, &mut out);
                }
            }
        }
        out.extend(b"\n");
        out.into_secret()
    }

    /// How a client of ours begins.
    pub fn hello() -> Self {
        let (major, minor) = VERSION;
        Self::Version { major, minor }
    }
}

impl PickUp {
    fn parse(line: &[u8]) -> Result<Self, Malformed> {
        let names = (cell(master_id), cell(number), cell(number));
        let all = (names, cell(field), many0(cell(field)));
        let ((id, client_pid, auth_id), cookie, fields) =
            whole(all, line).ok_or(Malformed::PickUp)?;
        let mut by = Self {
            id,
            client_pid,
            auth_id,
            cookie: Cookie::from_wire(cookie.expose()).ok_or(Malformed::Cookie)?,
            session_pid: None,
            wants_token: false,
        };
        for field in &fields {
            match key_and_value(field.expose()) {
                (b"session_pid", pid) => by.session_pid = pid.and_then(|pid| whole(number, pid)),
                (b"request_auth_token", _) => by.wants_token = true,
                _ => {}
            }
        }
        Ok(by)
    }

    fn encode(&self, out: &mut Buffer) {
        let Self {
            id,
            client_pid,
            auth_id,
            ..
        } = self;
        out.extend(format!("REQUEST\t{}\t{client_pid}\t{auth_id}\t", id.0).as_bytes());
        push(self.cookie.0.expose(), out);
        if let Some(pid) = self.session_pid {
            out.extend(format!("\tsession_pid={pid}").as_bytes());
        }
        if self.wants_token {
            out.extend(b"\trequest_auth_token");
        }
    }
}

impl Of {
    fn parse(line: &[u8]) -> Result<Self, Malformed> {
        let all = (cell(master_id), cell(field), many0(cell(field)));
        let (id, name, fields) = whole(all, line).ok_or(Malformed::Of)?;
        let mut service = None;
        for field in &fields {
            if let (b"service" | b"protocol", Some(value)) = key_and_value(field.expose()) {
                service = Some(value.to_vec());
            }
        }
        Ok(Self {
            id,
            name: name.expose().to_vec(),
            service: service.ok_or(Malformed::Service)?,
        })
    }

    fn encode(&self, word: &str, out: &mut Buffer) {
        out.extend(format!("{word}\t{}\t", self.id.0).as_bytes());
        push(&self.name, out);
        out.extend(b"\tservice=");
        push(&self.service, out);
    }
}

fn list(line: &[u8]) -> Option<Command> {
    let (id, fields) = whole((cell(master_id), many0(cell(field))), line)?;
    let mut mask = b"*".to_vec();
    for field in &fields {
        if let (b"user", Some(value)) = key_and_value(field.expose()) {
            mask = value.to_vec();
        }
    }
    Some(Command::List { id, mask })
}

/// The two sides of the first `=`; no value where there is none.
fn key_and_value(field: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut parts = field.splitn(2, |&byte| byte == b'=');
    (parts.next().unwrap_or_default(), parts.next())
}

fn push(text: &[u8], out: &mut Buffer) {
    escaped(text).for_each(|piece| out.extend(piece));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COOKIE: &str = "2c8b5b4e6d00c9a2491626af7be9e621";

    fn any_command() -> impl Strategy<Value = Command> {
        let id = || any::<u32>().prop_map(MasterId);
        let of = || {
            (id(), any::<Vec<u8>>(), any::<Vec<u8>>()).prop_map(|(id, name, service)| Of {
                id,
                name,
                service,
            })
        };
        let pick_up = (
            id(),
            any::<(u32, u32)>(),
            "[0-9a-f]{32}",
            any::<(Option<u32>, bool)>(),
        );
        prop_oneof![
            any::<(u32, u32)>().prop_map(|(major, minor)| Command::Version { major, minor }),
            pick_up.prop_map(
                |(id, (client_pid, auth_id), cookie, (session_pid, wants_token))| {
                    Command::PickUp(PickUp {
                        id,
                        client_pid,
                        auth_id,
                        cookie: Cookie(Secret::new(cookie.into_bytes())),
                        session_pid,
                        wants_token,
                    })
                }
            ),
            of().prop_map(Command::User),
            of().prop_map(Command::Pass),
            (id(), any::<Vec<u8>>()).prop_map(|(id, mask)| Command::List { id, mask }),
            (id(), any::<Vec<Vec<u8>>>()).prop_map(|(id, users)| Command::CacheFlush { id, users }),
        ]
    }

    fn user(id: u32, name: &str, service: &str) -> Of {
        Of {
            id: MasterId(id),
            name: name.into(),
            service: service.into(),
        }
    }

    #[test]
    fn lines_of_real_clients_are_understood() {
        let pick_up = |id, wants_token| {
            Command::PickUp(PickUp {
                id: MasterId(id),
                client_pid: 25_594,
                auth_id: 2,
                cookie: Cookie(Secret::new(COOKIE.into())),
                session_pid: Some(25_601),
                wants_token,
            })
        };
        let request = format!("25594\t2\t{COOKIE}\tsession_pid=25601");
        let shouted = COOKIE.to_ascii_uppercase();
        for (line, command) in [
            (
                format!("REQUEST\t924319745\t{request}\trequest_auth_token"),
                pick_up(924_319_745, true),
            ),
            (
                format!("REQUEST\t4294967295\t{request}\tfoo=bar\tbaz\t"),
                pick_up(4_294_967_295, false),
            ),
            (
                format!("REQUEST\t0\t25594\t2\t{shouted}\tsession_pid=25601"),
                pick_up(0, false),
            ),
            (
                "USER\t1\tbob@example.org\tprotocol=lmtp\tlip=127.0.0.1\tlport=11024".to_owned(),
                Command::User(user(1, "bob@example.org", "lmtp")),
            ),
            (
                "USER\t0\tb\x01tob\tdebug\tservice=".to_owned(),
                Command::User(user(0, "b\tob", "")),
            ),
            (
                "PASS\t1\tjoe@example.org\tservice=doveadm\tdebug".to_owned(),
                Command::Pass(user(1, "joe@example.org", "doveadm")),
            ),
            (
                "LIST\t1\tuser=b*\tservice=doveadm".to_owned(),
                Command::List {
                    id: MasterId(1),
                    mask: b"b*".to_vec(),
                },
            ),
            (
                "LIST\t1".to_owned(),
                Command::List {
                    id: MasterId(1),
                    mask: b"*".to_vec(),
                },
            ),
            (
                "CACHE-FLUSH\t1\tbob@example.org\tana".to_owned(),
                Command::CacheFlush {
                    id: MasterId(1),
                    users: vec![b"bob@example.org".to_vec(), b"ana".to_vec()],
                },
            ),
            ("VERSION\t1\t1".to_owned(), Command::hello()),
        ] {
            assert_eq!(Command::parse(line.as_bytes()), Ok(command), "{line:?}");
        }
    }

    #[test]
    fn what_only_a_broken_program_sends_is_named() {
        let short = COOKIE.get(1..).unwrap();
        for (line, error) in [
            (String::new(), Malformed::Command),
            ("FOO\t1".to_owned(), Malformed::Command),
            ("CPID\t1".to_owned(), Malformed::Command),
            ("user\t1\tbob\tservice=lmtp".to_owned(), Malformed::Command),
            ("VERSION\t1".to_owned(), Malformed::Version),
            (format!("REQUEST\tx\t1\t1\t{COOKIE}"), Malformed::PickUp),
            (format!("REQUEST\t1\t1\t-1\t{COOKIE}"), Malformed::PickUp),
            ("REQUEST\t1\t1\t1".to_owned(), Malformed::PickUp),
            ("REQUEST\t5\t424242\t1\tzz".to_owned(), Malformed::Cookie),
            (format!("REQUEST\t1\t1\t1\t{short}"), Malformed::Cookie),
            (format!("REQUEST\t1\t1\t1\t{short}g"), Malformed::Cookie),
            (format!("REQUEST\t1\t1\t1\t{COOKIE}0"), Malformed::Cookie),
            ("USER\t1".to_owned(), Malformed::Of),
            (
                "USER\t4294967296\tbob\tservice=lmtp".to_owned(),
                Malformed::Of,
            ),
            ("USER\t1\tbob@example.org".to_owned(), Malformed::Service),
            ("USER\t1\tbob\tservice".to_owned(), Malformed::Service),
            ("PASS\t1\tbob".to_owned(), Malformed::Service),
            ("LIST".to_owned(), Malformed::List),
            ("LIST\t\tuser=*".to_owned(), Malformed::List),
            ("CACHE-FLUSH".to_owned(), Malformed::CacheFlush),
        ] {
            assert_eq!(Command::parse(line.as_bytes()), Err(error), "{line:?}");
        }
    }

    #[test]
    fn a_session_pid_that_is_no_number_is_none() {
        for field in ["", "\tsession_pid", "\tsession_pid=", "\tsession_pid=1x"] {
            let line = format!("REQUEST\t1\t1\t1\t{COOKIE}{field}");
            let Ok(Command::PickUp(by)) = Command::parse(line.as_bytes()) else {
                panic!("{line:?}");
            };
            assert_eq!(by.session_pid, None, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn every_command_survives_the_wire(command in any_command()) {
            let line = command.encode();
            let (end, line) = line.expose().split_last().unwrap();
            prop_assert_eq!(*end, b'\n');
            prop_assert!(!line.contains(&b'\n'), "a command is one line");
            prop_assert_eq!(Command::parse(line), Ok(command));
        }

        #[test]
        fn no_bytes_from_a_client_panic(
            line: Vec<u8>,
            start in "(REQUEST|USER|PASS|LIST|CACHE-FLUSH|VERSION)\t1?\t?",
        ) {
            let _result = Command::parse(&line);
            let _result = Command::parse(&[start.as_bytes(), &line].concat());
        }
    }
}
