//! The auth-master protocol: between mail processes, LMTP, doveadm and the like on one side and a
//! Dovecot auth server on the other, which is us.
//!
//! The server greets with two lines ([`greeting`]), the client sends [`Command`]s, the server
//! [`Reply`]s. `kick` speaks the client's side to a stock auth process.

mod command;
mod reply;

pub use command::{Command, Cookie, Malformed, Of, PickUp};
pub use reply::{MAX_REPLY, NoReply, Reply};

use nom::{IResult, Parser};

use super::cell::number;
pub use super::field::Fields;

/// The protocol that we speak. Only the major number must match.
pub const VERSION: (u32, u32) = (1, 1);

/// Chosen by the peer; any number of 32 bits, 0 too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MasterId(pub u32);

/// VERSION and SPID, and nothing more: chasquid reads just these two lines before it sends anything.
pub fn greeting(spid: u32) -> Vec<u8> {
    let (major, minor) = VERSION;
    format!("VERSION\t{major}\t{minor}\nSPID\t{spid}\n").into_bytes()
}

fn master_id(line: &[u8]) -> IResult<&[u8], MasterId> {
    number.map(MasterId).parse(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_is_the_two_lines_that_chasquid_reads() {
        assert_eq!(greeting(6003), b"VERSION\t1\t1\nSPID\t6003\n");
    }
}
