//! From the client to the server.

use std::net::IpAddr;

use nom::multi::many0;

use super::{RequestId, VERSION, request_id};
use crate::secret::{Buffer, Secret};
use crate::wire::cell::{cell, number, whole, word};
use crate::wire::escape::{escaped, field};

/// One line of the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Version {
        major: u32,
        minor: u32,
    },
    /// The client's process id. No identity: chasquid opens many connections with one, and
    /// containers have the same small ones.
    Cpid(u32),
    Auth(Auth),
    /// `CONT`: the answer to a challenge.
    Continue {
        id: RequestId,
        /// Base64 as it came.
        data: Secret,
        /// Whether there was a further field, which means something from minor 3 on only.
        extra: bool,
    },
    Cancel(RequestId),
}

/// Somebody wants in: the start of a SASL exchange.
///
/// Of the fields that peers send only those are kept that we act on; unknown ones mean nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    pub id: RequestId,
    /// As sent: Postfix passes on what its SMTP client typed.
    pub mechanism: Vec<u8>,
    /// `service=`, or `protocol=` from Dovecot 2.4.
    pub service: Vec<u8>,
    /// `rip=`, the remote address. `None` too where it is empty (Postfix with XCLIENT) or no address.
    pub origin: Option<IpAddr>,
    /// `lip=`, the local address.
    pub local: Option<IpAddr>,
    /// No REQUEST will follow: Postfix, Exim, chasquid, the Lua script.
    pub nologin: bool,
    /// The initial response, base64 as it came. Absent, empty and `=` are three inputs; what they
    /// mean depends on the client's minor, so the session decides.
    pub response: Option<Secret>,
}

/// Why a line is no command. Only a broken client program can send such a line, never its remote
/// user: the connection is closed for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    Command,
    Version,
    Cpid,
    Auth,
    Service,
    AfterResponse,
    Continue,
    Cancel,
}

impl Malformed {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Command => "unknown command",
            Self::Version => "VERSION without two numbers",
            Self::Cpid => "CPID without a process id",
            Self::Auth => "AUTH without a valid id and a mechanism",
            Self::Service => "AUTH without a service",
            Self::AfterResponse => "AUTH with a field after resp",
            Self::Continue => "CONT without a valid id and data",
            Self::Cancel => "CANCEL without a valid id",
        }
    }
}

impl Command {
    /// Reads one line of a client.
    ///
    /// # Errors
    ///
    /// [`Malformed`], without anything of the line in it: that may hold a password.
    pub fn parse(line: &[u8]) -> Result<Self, Malformed> {
        let (word, line) = word(line);
        match word {
            b"AUTH" => Auth::parse(line).map(Self::Auth),
            b"CONT" => whole((cell(request_id), cell(field), many0(cell(field))), line)
                .map(|(id, data, more)| Self::Continue {
                    id,
                    data,
                    extra: !more.is_empty(),
                })
                .ok_or(Malformed::Continue),
            b"CANCEL" => whole(cell(request_id), line)
                .map(Self::Cancel)
                .ok_or(Malformed::Cancel),
            b"VERSION" => whole((cell(number), cell(number)), line)
                .map(|(major, minor)| Self::Version { major, minor })
                .ok_or(Malformed::Version),
            b"CPID" => whole(cell(number), line)
                .filter(|&pid| pid != 0)
                .map(Self::Cpid)
                .ok_or(Malformed::Cpid),
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
            Self::Cpid(pid) => out.extend(format!("CPID\t{pid}").as_bytes()),
            Self::Auth(auth) => auth.encode(&mut out),
            Self::Continue { id, data, extra } => {
                out.extend(format!("CONT\t{}\t", id.get()).as_bytes());
                escaped(data.expose()).for_each(|piece| out.extend(piece));
                if *extra {
                    out.extend(b"\t");
                }
            }
            Self::Cancel(id) => out.extend(format!("CANCEL\t{}", id.get()).as_bytes()),
        }
        out.extend(b"\n");
        out.into_secret()
    }

    /// How a client of ours begins.
    pub fn hello(pid: u32) -> [Self; 2] {
        let (major, minor) = VERSION;
        [Self::Version { major, minor }, Self::Cpid(pid)]
    }
}

impl Auth {
    fn parse(line: &[u8]) -> Result<Self, Malformed> {
        let start = (cell(request_id), cell(field), many0(cell(field)));
        let (id, mechanism, fields) = whole(start, line).ok_or(Malformed::Auth)?;
        let mut auth = Self {
            id,
            mechanism: mechanism.expose().to_vec(),
            service: Vec::new(),
            origin: None,
            local: None,
            nologin: false,
            response: None,
        };
        let mut named = false;
        for field in &fields {
            if auth.response.is_some() {
                return Err(Malformed::AfterResponse);
            }
            let mut parts = field.expose().splitn(2, |&byte| byte == b'=');
            let key = parts.next().unwrap_or_default();
            match (key, parts.next()) {
                (b"service" | b"protocol", Some(value)) => {
                    auth.service = value.to_vec();
                    named = true;
                }
                (b"rip", value) => auth.origin = value.and_then(address),
                (b"lip", value) => auth.local = value.and_then(address),
                (b"nologin", _) => auth.nologin = true,
                (b"resp", Some(value)) => auth.response = Some(Secret::new(value.to_vec())),
                _ => {}
            }
        }
        if named {
            Ok(auth)
        } else {
            Err(Malformed::Service)
        }
    }

    fn encode(&self, out: &mut Buffer) {
        let mut field = |key: &str, value: &[u8]| {
            out.extend(key.as_bytes());
            escaped(value).for_each(|piece| out.extend(piece));
        };
        field(&format!("AUTH\t{}\t", self.id.get()), &self.mechanism);
        field("\tservice=", &self.service);
        for (key, address) in [("\trip=", self.origin), ("\tlip=", self.local)] {
            if let Some(address) = address {
                field(key, address.to_string().as_bytes());
            }
        }
        if self.nologin {
            field("\tnologin", b"");
        }
        // The last one, always.
        if let Some(response) = &self.response {
            field("\tresp=", response.expose());
        }
    }
}

/// An address as text, without brackets; an empty or strange one is an unknown one.
fn address(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_command() -> impl Strategy<Value = Command> {
        let id = || any::<std::num::NonZeroU32>().prop_map(RequestId);
        let secret = || any::<Vec<u8>>().prop_map(Secret::new);
        let auth = (
            id(),
            any::<Vec<u8>>(),
            any::<Vec<u8>>(),
            any::<(Option<IpAddr>, Option<IpAddr>, bool)>(),
            prop::option::of(secret()),
        );
        prop_oneof![
            any::<(u32, u32)>().prop_map(|(major, minor)| Command::Version { major, minor }),
            (1_u32..).prop_map(Command::Cpid),
            auth.prop_map(
                |(id, mechanism, service, (origin, local, nologin), response)| {
                    Command::Auth(Auth {
                        id,
                        mechanism,
                        service,
                        origin,
                        local,
                        nologin,
                        response,
                    })
                }
            ),
            (id(), secret(), any::<bool>()).prop_map(|(id, data, extra)| Command::Continue {
                id,
                data,
                extra
            }),
            id().prop_map(Command::Cancel),
        ]
    }

    fn auth(line: &str) -> Auth {
        match Command::parse(line.as_bytes()) {
            Ok(Command::Auth(auth)) => auth,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_of_real_clients_are_understood() {
        let dovecot = auth(
            "AUTH\t1\tPLAIN\tprotocol=imap\tfinal-resp-ok\tsecured\tsession=oyh3Ne5gzrV/AAAB\t\
             lip=127.0.0.1\trip=192.0.2.7\tlport=10143\trport=52424\tresp=AGJv",
        );
        assert_eq!(dovecot.service, b"imap");
        assert_eq!(dovecot.origin, "192.0.2.7".parse().ok());
        assert_eq!(dovecot.local, "127.0.0.1".parse().ok());
        assert!(!dovecot.nologin);
        assert_eq!(dovecot.response, Some(Secret::new(b"AGJv".to_vec())));

        let postfix = auth("AUTH\t2\tplain\tservice=smtp\tnologin\tlip=::1\trip=\tresp==");
        assert_eq!(postfix.mechanism, b"plain");
        assert_eq!((postfix.origin, postfix.local), (None, "::1".parse().ok()));
        assert!(postfix.nologin);
        assert_eq!(postfix.response, Some(Secret::new(b"=".to_vec())));

        let exim = auth("AUTH\t1\tLOGIN\tservice=smtp\trip=elsewhere\tnologin=y\tresp=");
        assert_eq!((exim.origin, exim.nologin), (None, true));
        assert_eq!(exim.response, Some(Secret::default()));

        let odd = auth("AUTH\t4294967295\tX\tservice=\tfoo=bar\tbaz\t\tresp\tx\x01ty");
        assert_eq!((odd.id.get(), odd.response), (4_294_967_295, None));
    }

    #[test]
    fn what_only_a_broken_program_sends_is_named() {
        for (line, error) in [
            ("", Malformed::Command),
            ("PING\t1", Malformed::Command),
            ("auth\t1\tPLAIN\tservice=imap", Malformed::Command),
            ("VERSION\t1", Malformed::Version),
            ("VERSION\t1\tx", Malformed::Version),
            ("VERSION\t1\t4294967296", Malformed::Version),
            ("CPID", Malformed::Cpid),
            ("CPID\t0", Malformed::Cpid),
            ("CPID\t-1", Malformed::Cpid),
            ("AUTH\t1", Malformed::Auth),
            ("AUTH\t0\tPLAIN\tservice=imap", Malformed::Auth),
            ("AUTH\tx\tPLAIN\tservice=imap", Malformed::Auth),
            ("AUTH\t+1\tPLAIN\tservice=imap", Malformed::Auth),
            ("AUTH\t4294967296\tPLAIN\tservice=imap", Malformed::Auth),
            ("AUTH\t1\tPLAIN\tresp=AAAA", Malformed::Service),
            ("AUTH\t1\tPLAIN\tservice\tresp=AAAA", Malformed::Service),
            (
                "AUTH\t1\tPLAIN\tservice=imap\tresp=AAAA\tsecured",
                Malformed::AfterResponse,
            ),
            (
                "AUTH\t1\tPLAIN\tservice=imap\tresp=AAAA\t",
                Malformed::AfterResponse,
            ),
            ("CONT\t1", Malformed::Continue),
            ("CONT\t0\tAAAA", Malformed::Continue),
            ("CANCEL", Malformed::Cancel),
            ("CANCEL\tx", Malformed::Cancel),
            ("CANCEL\t1\t2", Malformed::Cancel),
        ] {
            assert_eq!(Command::parse(line.as_bytes()), Err(error), "{line:?}");
        }
    }

    #[test]
    fn an_answer_may_be_empty_but_not_missing() {
        let id = RequestId::new(1).unwrap();
        let answer = |data: &[u8], extra| {
            Ok(Command::Continue {
                id,
                data: Secret::new(data.to_vec()),
                extra,
            })
        };
        assert_eq!(Command::parse(b"CONT\t1\t"), answer(b"", false));
        assert_eq!(
            Command::parse(b"CONT\t1\tAAAA\x01n"),
            answer(b"AAAA\n", false)
        );
        assert_eq!(
            Command::parse(b"CONT\t1\tAAAA\tfoo=bar"),
            answer(b"AAAA", true)
        );
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
            start in "(AUTH|CONT|CANCEL|VERSION|CPID)\t1?\t?",
        ) {
            let _result = Command::parse(&line);
            let _result = Command::parse(&[start.as_bytes(), &line].concat());
        }
    }
}
