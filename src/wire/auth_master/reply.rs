//! From the server to the client.

use super::MasterId;
use crate::wire::auth_client::Fields;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `USER`, to USER and REQUEST.
    User {
        id: MasterId,
        mailbox: String,
        fields: Fields,
    },
    /// `PASS`.
    Pass { id: MasterId, fields: Fields },
    /// `NOTFOUND`.
    NotFound { id: MasterId },
    /// `FAIL`. Never with a reason: it would be shown to the remote user.
    Fail { id: MasterId },
    /// `LIST`: one name.
    Name { id: MasterId, mailbox: String },
    /// `DONE`: the end of a list.
    Done { id: MasterId, failed: bool },
    /// `OK`, to CACHE-FLUSH.
    Flushed { id: MasterId, count: u32 },
}

impl Reply {
    /// Appends the line, LF included.
    pub fn encode(&self, _out: &mut Vec<u8>) {}
}
