//! Ending live sessions: after the revocation is committed, whatever becomes of it.
//!
//! A revoked password opens nothing any more, but the session that it opened before goes on. [`end`] asks
//! Dovecot's anvil for its end ([`anvil`], Dovecot 2.4), or runs `doveadm` ([`doveadm`]), again and again
//! for 2 s: a session that was just starting is not seen before ([`rounds`]). Where Dovecot's own auth
//! stands in front of us, its cache forgets the mailbox ([`flush`]). Everything here blocks, and nothing
//! longer than [`WITHIN`].

mod anvil;
mod command;
mod doveadm;
mod flush;
mod line;
mod rounds;
#[cfg(test)]
mod stand_in;

use std::collections::BTreeSet;
use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anvil::Anvil;
use command::Series;
use doveadm::Doveadm;
use rounds::Rounds;
pub use rounds::WITHIN;

use crate::config::{Dovecot, Kick};
use crate::model::{AccessId, DeviceId, Mailbox};

/// Whose sessions are to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// All that were opened with a device password. `mailboxes` are those that it opens: its own, and
    /// those that its owner has access to.
    Device {
        id: DeviceId,
        mailboxes: BTreeSet<Mailbox>,
    },
    /// All that were opened through an access.
    Access {
        id: AccessId,
        mailbox: Mailbox,
        /// The person's own, if the name can be one: in Dovecot's cache a delegation goes by it.
        own: Option<Mailbox>,
    },
    /// All of a mailbox.
    Mailbox(Mailbox),
}

/// How Dovecot 2.4 knows a target's sessions.
enum Key<'a> {
    /// By an alternative user name: its field, and its value.
    Alternative(&'static str, &'a str),
    User(&'a Mailbox),
}

impl Target {
    fn key(&self) -> Key<'_> {
        match self {
            Self::Device { id, .. } => Key::Alternative("user_device", id.as_str()),
            Self::Access { id, .. } => Key::Alternative("user_access", id.as_str()),
            Self::Mailbox(mailbox) => Key::User(mailbox),
        }
    }

    /// Under which names Dovecot's auth may have something of it in its cache.
    fn cached_as(&self) -> Vec<&Mailbox> {
        let own = match self {
            Self::Access { own, .. } => own.as_ref(),
            Self::Device { .. } | Self::Mailbox(_) => None,
        };
        self.mailboxes().into_iter().chain(own).collect()
    }

    fn mailboxes(&self) -> Vec<&Mailbox> {
        match self {
            Self::Device { mailboxes, .. } => mailboxes.iter().collect(),
            Self::Access { mailbox, .. } | Self::Mailbox(mailbox) => vec![mailbox],
        }
    }
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// There is no Dovecot here, or it was told not to be asked.
    NotAsked,
    /// anvil counted: so many ended; so many were told to, and have not yet.
    Counted { ended: usize, open: usize },
    /// doveadm was run, so many times in the round with most. How many sessions that ended it does not say.
    Asked { kicks: usize },
    /// It did not work, or not for all.
    Failed(Failure),
}

/// Why sessions were not ended, and how to do it by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub why: String,
    /// Somebody else may.
    pub is_denied: bool,
    /// For a shell, one each. A remark at the end says where only one version of Dovecot takes it.
    pub commands: Vec<String>,
}

/// Ends the sessions. Blocks for [`WITHIN`] at most.
///
/// `addresses` reads from where a target was used. It is asked anew in each round: uses are written down
/// up to a second late. Only Dovecot 2.3 needs them.
pub fn end(
    dovecot: &Dovecot,
    targets: &[Target],
    addresses: &mut dyn FnMut(&Target) -> BTreeSet<IpAddr>,
) -> Ended {
    if dovecot.kick == Kick::Off || targets.is_empty() {
        return Ended::NotAsked;
    }
    let rounds = Rounds::new(now());
    let mailboxes = targets.iter().flat_map(Target::cached_as).collect();
    flush::flush(&dovecot.base_dir, &mailboxes, rounds.deadline());
    let ended = kick(dovecot, targets, addresses, &rounds);
    // A log-in that was decided just before the revocation may have come into the cache meanwhile.
    flush::flush(&dovecot.base_dir, &mailboxes, rounds.deadline());
    ended
}

fn kick(
    dovecot: &Dovecot,
    targets: &[Target],
    addresses: &mut dyn FnMut(&Target) -> BTreeSet<IpAddr>,
    rounds: &Rounds,
) -> Ended {
    let by_anvil = || {
        Anvil::reach(&dovecot.base_dir, rounds.deadline())
            .and_then(|anvil| anvil.end(targets, rounds.clone()))
    };
    match dovecot.kick {
        Kick::Off => Ended::NotAsked,
        Kick::Anvil => by_anvil().map_or_else(
            |trouble| failed_at_anvil(&trouble, targets, addresses),
            counted,
        ),
        Kick::Doveadm => by_doveadm(dovecot, targets, addresses, rounds)
            .unwrap_or_else(|trouble| failed(&trouble, None, targets, addresses)),
        Kick::Auto => match by_anvil() {
            Ok(count) => counted(count),
            // doveadm asks it too. It would hang as well, 2.4's even where Dovecot is away.
            Err(at_anvil) if at_anvil.is_refusal() || now() >= rounds.deadline() => {
                failed_at_anvil(&at_anvil, targets, addresses)
            }
            Err(at_anvil) => match by_doveadm(dovecot, targets, addresses, rounds) {
                Ok(ended) => ended,
                Err(doveadm::Trouble::Absent { .. }) if at_anvil.is_absence() => Ended::NotAsked,
                Err(doveadm::Trouble::Absent { .. }) => {
                    failed_at_anvil(&at_anvil, targets, addresses)
                }
                Err(trouble) => failed(&trouble, None, targets, addresses),
            },
        },
    }
}

fn counted(count: anvil::Count) -> Ended {
    Ended::Counted {
        ended: count.ended,
        open: count.open,
    }
}

fn by_doveadm(
    dovecot: &Dovecot,
    targets: &[Target],
    addresses: &mut dyn FnMut(&Target) -> BTreeSet<IpAddr>,
    rounds: &Rounds,
) -> Result<Ended, doveadm::Trouble> {
    let doveadm = Doveadm::find(dovecot, rounds.deadline())?;
    let outcome = doveadm.end(targets, addresses, rounds.clone());
    Ok(match outcome.trouble {
        None => Ended::Asked {
            kicks: outcome.kicks,
        },
        Some((trouble, left)) => failed(&trouble, Some(doveadm.series()), &left, addresses),
    })
}

fn failed_at_anvil(
    trouble: &anvil::Trouble,
    targets: &[Target],
    addresses: &mut dyn FnMut(&Target) -> BTreeSet<IpAddr>,
) -> Ended {
    let is_denied = trouble.source().kind() == io::ErrorKind::PermissionDenied;
    let failure = Failure {
        is_denied,
        ..failure(trouble, trouble.series(), targets, addresses)
    };
    Ended::Failed(failure)
}

fn failed(
    trouble: &doveadm::Trouble,
    series: Option<Series>,
    targets: &[Target],
    addresses: &mut dyn FnMut(&Target) -> BTreeSet<IpAddr>,
) -> Ended {
    let failure = Failure {
        is_denied: trouble.is_denied(),
        ..failure(trouble, series, targets, addresses)
    };
    Ended::Failed(failure)
}

fn failure(
    trouble: &dyn Error,
    series: Option<Series>,
    targets: &[Target],
    addresses: &mut dyn FnMut(&Target) -> BTreeSet<IpAddr>,
) -> Failure {
    let mut why = trouble.to_string();
    if let Some(source) = trouble.source() {
        why += &format!(": {source}");
    }
    let commands = (targets.iter())
        .flat_map(|target| command::lines(series, target, &addresses(target)))
        .collect();
    Failure {
        why,
        is_denied: false,
        commands,
    }
}

/// Time itself; what is computed with it is in [`rounds`].
#[expect(
    clippy::disallowed_methods,
    reason = "the clock of what waits for Dovecot; the rounds take the time as an argument"
)]
fn now() -> Instant {
    Instant::now()
}

fn pause(time: Duration) {
    std::thread::sleep(time);
}
