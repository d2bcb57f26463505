//! A real log-in through the daemon's socket: what Dovecot and Postfix do, done once.
//!
//! The client's half of the auth-client protocol, PLAIN in one line. It announces minor 2, as
//! Dovecot 2.3 does: such a client is told *try later* in words, where Postfix would see the
//! connection close.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use super::error::Error;
use crate::config::Config;
use crate::model::{Mailbox, Mechanism};
use crate::sasl::{base64, plain};
use crate::secret::Secret;
use crate::wire::auth_client::{
    Auth, Command, GreetingLine, NoGreeting, Reply, RequestId, VERSION,
};
use crate::wire::line::LineBuffer;

/// Longest wait for a line. A refusal leaves 4 s after the request at the latest
/// ([`crate::config::MAX_FAILURE_DELAY`]).
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the daemon is read from: a greeting and one reply are a few pieces at most.
const MAX_READS: u32 = 64;

/// What the daemon said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// With the device id, where it said one.
    Accepted {
        device: Option<String>,
    },
    Refused,
    TryLater {
        cause: String,
    },
}

/// A daemon that can be reached, not asked anything yet.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) path: PathBuf,
    stream: UnixStream,
}

impl Daemon {
    /// Connects to the first listener of `config` where one can log in and that can be reached. The connection may wait for as
    /// long as a person takes to type: it has no idle time-out.
    ///
    /// # Errors
    ///
    /// [`Error::NoListener`]; [`Error::Unreachable`] with all that were tried.
    pub(crate) fn reach(config: &Config) -> Result<Self, Error> {
        let mut tried = Vec::new();
        let listeners = config.listeners.iter();
        for listener in listeners.filter(|listener| listener.kind.has_log_ins()) {
            let path = listener.path.clone();
            match UnixStream::connect(&path) {
                Ok(stream) => return Ok(Self { path, stream }),
                Err(error) => tried.push((path, error)),
            }
        }
        if tried.is_empty() {
            return Err(Error::NoListener);
        }
        Err(Error::Unreachable { tried })
    }

    /// Signs in, once.
    ///
    /// # Errors
    ///
    /// [`Error::OtherProtocol`] if something else listens there.
    pub(crate) fn sign_in(&self, mailbox: &Mailbox, password: Secret) -> Result<Said, Error> {
        match ask(&self.stream, mailbox, password) {
            Ok(said) => Ok(said),
            Err(Trouble::Silent(error)) => Ok(Said::TryLater {
                cause: error.to_string(),
            }),
            Err(Trouble::Foreign(source)) => Err(Error::OtherProtocol {
                path: self.path.clone(),
                source,
            }),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// It hung up or kept silent: nothing was said about the password.
    #[error(transparent)]
    Silent(#[from] io::Error),
    /// It does not greet as an auth server does.
    #[error(transparent)]
    Foreign(#[from] NoGreeting),
}

fn ask(mut stream: &UnixStream, mailbox: &Mailbox, password: Secret) -> Result<Said, Trouble> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    for command in Command::hello(std::process::id()) {
        stream.write_all(command.encode().expose())?;
    }
    let mut lines = Lines {
        stream,
        buffer: LineBuffer::default(),
        reads: 0,
    };
    // Nobody else gets to see the password.
    lines.greeting()?;
    let request = Command::Auth(request(mailbox, &password));
    stream.write_all(request.encode().expose())?;
    // Wiped now: the answer may take seconds.
    drop((request, password));
    loop {
        // Whatever is no reply to us does not concern us.
        if let Ok(reply) = Reply::parse(lines.next()?.expose()) {
            return Ok(said(&reply));
        }
    }
}

/// What the daemon says, line by line.
struct Lines<'a> {
    stream: &'a UnixStream,
    buffer: LineBuffer,
    reads: u32,
}

impl Lines<'_> {
    /// The next line, after [`MAX_READS`] reads at most.
    fn next(&mut self) -> io::Result<Secret> {
        let mut bytes = [0; 1_024];
        loop {
            if let Some(line) = self.buffer.next_line().map_err(io::Error::other)? {
                return Ok(line);
            }
            let length = if self.reads < MAX_READS {
                self.stream.read(&mut bytes)?
            } else {
                0
            };
            if length == 0 {
                return Err(io::Error::other(
                    "it closed the connection without an answer",
                ));
            }
            self.reads += 1;
            self.buffer.push(bytes.get(..length).unwrap_or_default());
        }
    }

    /// Reads the greeting to its end; only the major number of the protocol matters.
    fn greeting(&mut self) -> Result<(), Trouble> {
        let mut ours = false;
        loop {
            match GreetingLine::parse(self.next()?.expose())? {
                GreetingLine::Version { major, .. } => ours = major == VERSION.0,
                GreetingLine::Done if ours => return Ok(()),
                GreetingLine::Done => return Err(NoGreeting.into()),
                GreetingLine::Mechanism { .. }
                | GreetingLine::Spid(_)
                | GreetingLine::Cuid(_)
                | GreetingLine::Cookie(_) => {}
            }
        }
    }
}

/// The one log-in.
fn request(mailbox: &Mailbox, password: &Secret) -> Auth {
    let message = plain::client_message(mailbox.as_str(), password);
    Auth {
        id: RequestId::FIRST,
        mechanism: Mechanism::Plain.as_str().as_bytes().to_vec(),
        service: b"imap".to_vec(),
        origin: None,
        local: None,
        nologin: true,
        response: Some(base64::encode(&message)),
    }
}

fn said(reply: &Reply) -> Said {
    match reply {
        Reply::Ok { fields, .. } => Said::Accepted {
            device: fields
                .get("user_device")
                .map(|id| String::from_utf8_lossy(id).into_owned()),
        },
        Reply::Fail { fields, .. } if fields.get("code") == Some(b"temp_fail") => Said::TryLater {
            cause: "it has trouble of its own; its log says which".to_owned(),
        },
        Reply::Fail { .. } => Said::Refused,
        Reply::Continue { .. } | Reply::Cancelled { .. } => Said::TryLater {
            cause: "it answers something else than it was asked".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a server that says this.
    fn asked(says: &str) -> Result<Said, Error> {
        let (stream, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(says.as_bytes()).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let (mailbox, password) = ("ana@example.org".parse().unwrap(), Secret::default());
        let path = PathBuf::from("auth");
        Daemon { path, stream }.sign_in(&mailbox, password)
    }

    #[test]
    fn only_an_auth_server_of_our_protocol_is_asked() {
        let reply = "FAIL\t1\tuser=ana@example.org\n";
        let greeting =
            "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\tff\nDONE\n";
        let said = asked(&format!("{greeting}{reply}"));
        assert!(matches!(said, Ok(Said::Refused)), "{said:?}");
        for other in [
            "VERSION\t2\t0\nDONE\n",
            "DONE\n",
            "220 mail.example.org ESMTP\n",
        ] {
            let said = asked(&format!("{other}{reply}"));
            assert!(
                matches!(said, Err(Error::OtherProtocol { .. })),
                "{other:?}: {said:?}"
            );
        }
        assert!(matches!(asked(greeting), Ok(Said::TryLater { .. })));
    }

    #[test]
    fn the_request_is_one_that_the_daemon_reads() {
        let auth = request(
            &"ana@example.org".parse().unwrap(),
            &Secret::new(b"pw".to_vec()),
        );
        let line = Command::Auth(auth.clone()).encode();
        assert_eq!(
            Command::parse(line.expose().trim_ascii_end()),
            Ok(Command::Auth(auth.clone()))
        );
        assert_eq!(
            auth.response,
            Some(Secret::new(b"AGFuYUBleGFtcGxlLm9yZwBwdw==".to_vec()))
        );
    }

    #[test]
    fn replies_are_told_apart() {
        let said = |line: &str| said(&Reply::parse(line.as_bytes()).unwrap());
        let device = Some("dp-kqtmwhzrnb".to_owned());
        assert_eq!(
            said("OK\t1\tuser=ana\tuser_device=dp-kqtmwhzrnb"),
            Said::Accepted { device }
        );
        assert_eq!(said("OK\t1\tuser=ana"), Said::Accepted { device: None });
        assert_eq!(said("FAIL\t1\tuser=ana"), Said::Refused);
        let trouble = said("FAIL\t1\tuser=ana\tcode=temp_fail\ttemp");
        assert!(matches!(trouble, Said::TryLater { .. }));
    }
}
