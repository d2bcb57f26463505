//! What would become of a log-in, and why: the same rules, asked by an operator.
//!
//! It goes to the database directly, so that it answers while the daemon is down; it lets nobody in and
//! counts nothing.

use std::path::Path;

use super::decide::{self, Rows};
use super::{Checker, Looked, Now, Trouble};
use crate::attempt::{Allowed, Attempt, Outcome, Reason};
use crate::model::{ClientText, DeviceId, Mailbox, Mechanism, Person, Service, Timestamp};
use crate::secret::Secret;
use crate::store::Identity;

use std::net::IpAddr;
use std::time::Instant;

/// A log-in that is only talked about.
#[derive(Debug, Clone)]
pub struct Question {
    pub mailbox: Mailbox,
    /// Who wants to open it with a device password of their own mailbox (delegation).
    pub person: Option<Person>,
    pub shown: Shown,
    pub service: Service,
    pub origin: Option<IpAddr>,
}

/// What is shown to be let in.
#[derive(Debug, Clone)]
pub enum Shown {
    /// The right password of this device password, whatever it is: nothing is hashed.
    Device(DeviceId),
    /// A password as typed.
    Password(Secret),
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Explained {
    LetIn(Allowed),
    Refused {
        reason: Reason,
        /// Whose password it is; `None` where that is not proven.
        device: Option<DeviceId>,
    },
}

/// What the rules say of this log-in at this time.
///
/// # Errors
///
/// [`Trouble`]: the daemon would say *try later*.
pub fn explain(
    database: &Path,
    question: &Question,
    wall: Timestamp,
    monotonic: Instant,
) -> Result<Explained, Trouble> {
    let mut checker = Checker::over(database.to_owned(), &Identity::default());
    let now = Now { wall, monotonic };
    match &question.shown {
        Shown::Device(device) => of_device(&mut checker, question, device, now),
        Shown::Password(password) => of_password(&mut checker, question, password, now),
    }
}

fn of_device(
    checker: &mut Checker,
    question: &Question,
    device: &DeviceId,
    now: Now,
) -> Result<Explained, Trouble> {
    let attempt = question.attempt(Secret::default());
    // With no tag: the mailboxes, and no candidate.
    let mut rows = checker.rows(&attempt, None, now)?;
    let shown = checker.reader.newest_secret(device, now.monotonic)?;
    let known = shown.is_some();
    // Only on its own mailbox is it a candidate, as its tag would be.
    let found = match &mut rows {
        Rows::Own(found) => found.as_mut(),
        Rows::Delegated(delegated) => delegated.found.as_mut(),
    };
    if let (Some(found), Some(shown)) = (found, shown) {
        if found.mailbox == shown.mailbox {
            found.candidate = shown.candidate;
        }
    }
    Ok(match decide::supposing_a_match(&attempt, &rows, now.wall) {
        Ok(allowed) => Explained::LetIn(allowed),
        // Its hashes are gone: it was revoked longer ago than tombstones are kept.
        Err(Reason::UnknownPassword) if !known => Explained::Refused {
            reason: Reason::Revoked,
            device: Some(device.clone()),
        },
        Err(reason) => Explained::Refused {
            reason,
            device: Some(device.clone()),
        },
    })
}

fn of_password(
    checker: &mut Checker,
    question: &Question,
    password: &Secret,
    now: Now,
) -> Result<Explained, Trouble> {
    let attempt = question.attempt(password.clone());
    let outcome = match checker.look_up(None, &attempt, now)? {
        Looked::Decided(outcome) => outcome,
        Looked::Ended(password, tombstone) => {
            let proof = checker.hash(&password, tombstone.phc(), tombstone.device())?;
            tombstone.outcome(proof.as_ref())
        }
        Looked::Admissible(password, admissible) => {
            match checker.hash(&password, admissible.phc(), admissible.device())? {
                Some(proof) => checker.decide_again(&attempt, &admissible, &proof, now)?,
                None => Outcome::refused(Reason::UnknownPassword),
            }
        }
    };
    Ok(match outcome {
        Outcome::Allow(allowed) => Explained::LetIn(allowed),
        Outcome::Deny { reason, device } => Explained::Refused { reason, device },
        Outcome::TryLater { reason } => Explained::Refused {
            reason,
            device: None,
        },
    })
}

impl Question {
    fn attempt(&self, secret: Secret) -> Attempt {
        Attempt {
            mailbox: Some(self.mailbox.clone()),
            person: self.person.clone(),
            claimed: ClientText::default(),
            secret,
            mechanism: Mechanism::Plain,
            service: self.service.clone(),
            origin: self.origin,
            local: None,
        }
    }
}
