//! The auth-client protocol: between login processes, Postfix, the Lua script and the like on one
//! side and a Dovecot auth server on the other, which is us.
//!
//! The server greets ([`Greeting`]), the client sends [`Command`]s, the server answers each `AUTH`
//! with [`Reply`]s that carry its [`RequestId`]. Base64 stays text here; `sasl` decodes it.

mod command;
mod greeting;
mod reply;

pub use command::{Auth, Command, Malformed};
pub use greeting::{Greeting, GreetingLine, NoGreeting};
pub use reply::{NoReply, Reply};

use nom::combinator::map_opt;
use nom::{IResult, Parser};

use super::cell::number;
pub use super::field::{Field, Fields};

/// 1 to 4294967295, chosen by the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(std::num::NonZeroU32);

impl RequestId {
    /// For a client with one request only.
    pub const FIRST: Self = Self(std::num::NonZeroU32::MIN);

    pub fn new(id: u32) -> Option<Self> {
        std::num::NonZeroU32::new(id).map(Self)
    }

    pub fn get(self) -> u32 {
        self.0.get()
    }
}

/// The protocol that we speak. Only the major number must match; no client looks at the server's
/// minor.
pub const VERSION: (u32, u32) = (1, 2);

fn request_id(line: &[u8]) -> IResult<&[u8], RequestId> {
    map_opt(number, RequestId::new).parse(line)
}
