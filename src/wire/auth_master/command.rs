//! From the client to the server.

use super::MasterId;
use crate::secret::Secret;

/// The cookie of a login connection: 16 bytes, 32 hex digits on the wire. Compared in constant time.
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
    /// `LIST`. The mask is a hint, and left aside unless it is a plain name.
    List {
        id: MasterId,
        mask: Vec<u8>,
    },
    /// `CACHE-FLUSH`. There is nothing to flush here; `kick` sends it to stock auth.
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
    /// The process that will serve the session.
    pub session_pid: Option<u32>,
    /// `request_auth_token`: wants `auth_token=` (URLAUTH).
    pub wants_token: bool,
}

/// A question about one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Of {
    pub id: MasterId,
    pub name: Vec<u8>,
    pub service: Vec<u8>,
}

/// Why a line is no command: the connection is closed for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    Command,
}

impl Malformed {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Command => "unknown command",
        }
    }
}

impl Command {
    /// Reads one line of a client.
    ///
    /// # Errors
    ///
    /// [`Malformed`].
    pub fn parse(_line: &[u8]) -> Result<Self, Malformed> {
        Err(Malformed::Command)
    }

    /// The line, LF included.
    pub fn encode(&self) -> Secret {
        Secret::default()
    }
}
