//! The auth-client protocol: between login processes, Postfix, the Lua script and the like on one
//! side and a Dovecot auth server on the other, which is us.
//!
//! The server greets ([`Greeting`]), the client sends [`Command`]s, the server answers each `AUTH`
//! with [`Reply`]s that carry its [`RequestId`]. Base64 stays text here; `sasl` decodes it.

mod command;
mod field;
mod greeting;
mod reply;

pub use command::{Auth, Command, Malformed};
pub use field::{Field, Fields};
pub use greeting::{Greeting, GreetingLine, NoGreeting};
pub use reply::{NoReply, Reply};

use nom::bytes::complete::tag;
use nom::character::complete::digit1;
use nom::combinator::{all_consuming, map_opt};
use nom::sequence::preceded;
use nom::{IResult, Parser};

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

/// An unsigned decimal of 32 bits, without sign.
fn number(line: &[u8]) -> IResult<&[u8], u32> {
    map_opt(digit1, |digits| {
        std::str::from_utf8(digits).ok()?.parse().ok()
    })
    .parse(line)
}

fn request_id(line: &[u8]) -> IResult<&[u8], RequestId> {
    map_opt(number, RequestId::new).parse(line)
}

/// What stands behind a TAB.
fn cell<'a, O, P>(
    parser: P,
) -> impl Parser<&'a [u8], Output = O, Error = nom::error::Error<&'a [u8]>>
where
    P: Parser<&'a [u8], Output = O, Error = nom::error::Error<&'a [u8]>>,
{
    preceded(tag("\t"), parser)
}

/// The value of a parser that has to read all of `line`.
fn whole<'a, O, P>(parser: P, line: &'a [u8]) -> Option<O>
where
    P: Parser<&'a [u8], Output = O, Error = nom::error::Error<&'a [u8]>>,
{
    all_consuming(parser)
        .parse(line)
        .ok()
        .map(|(_, value)| value)
}

/// The first word of a line, and the rest from the TAB on.
fn word(line: &[u8]) -> (&[u8], &[u8]) {
    line.split_at(line.iter().take_while(|&&byte| byte != b'\t').count())
}
