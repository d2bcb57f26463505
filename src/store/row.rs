//! Rows as domain types.

use std::net::IpAddr;
use std::time::Duration;

use crate::model::{
    AccessId, DeviceId, Fields, Label, Limits, Mailbox, Person, SecretId, Service, Timestamp,
};

/// What the look-up of a log-in found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub mailbox: Mailbox,
    pub enabled: bool,
    /// The one secret of this mailbox with the tag asked for.
    pub candidate: Option<Candidate>,
}

/// A secret with its entry, as needed for a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub secret: SecretId,
    pub phc: String,
    /// Replaced or revoked: a tombstone.
    pub ended: Option<Timestamp>,
    /// Valid until then only (`rotate --keep-old`).
    pub valid_until: Option<Timestamp>,
    pub device: DeviceId,
    pub revoked: Option<Timestamp>,
    pub limits: Limits,
    /// The latest of issue, last use and change of limits: from here `expires_unused_days` counts.
    pub last_sign_of_life: Timestamp,
    pub access: Option<AccessRow>,
}

/// Through which access a person has a device password on a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRow {
    pub id: AccessId,
    pub person: Person,
    pub ended: Option<Timestamp>,
}

/// What the look-up of a delegated log-in found: somebody wants a mailbox with a device password of
/// their own one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegated {
    /// The mailbox that is to be opened, if there is one of that name.
    pub wanted: Option<Wanted>,
    /// The person's living access to it. Never an ended one.
    pub access: Option<AccessRow>,
    /// The mailbox of the person's own name, with its one secret of the tag asked for.
    pub found: Option<Found>,
}

/// The mailbox that a delegated log-in is to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub mailbox: Mailbox,
    pub enabled: bool,
}

/// A mailbox as mail processes and the delivery of mail need it. A disabled one too: it refuses log-ins,
/// and its mail is delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    pub mailbox: Mailbox,
    /// Its own userdb fields, beside those of the configuration.
    pub fields: Fields,
}

/// A mailbox, for lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxRow {
    pub mailbox: Mailbox,
    pub enabled: bool,
    pub added: Timestamp,
    /// Active device passwords on it.
    pub active: u32,
    /// Its own userdb fields.
    pub fields: Fields,
}

/// A person, for lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonRow {
    pub person: Person,
    pub added: Timestamp,
    /// Mailboxes that this person has been given access to.
    pub accesses: u32,
    /// Active device passwords on those. What the person has on their own mailbox is not counted.
    pub active: u32,
}

/// That a person may open a mailbox, for lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessListRow {
    pub id: AccessId,
    pub mailbox: Mailbox,
    pub person: Person,
    pub given: Timestamp,
    pub given_by: String,
    /// Active device passwords of this person on this mailbox.
    pub active: u32,
}

/// Log-ins for one service from one address: good ones, or with a secret that had ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UseRow {
    /// The last time.
    pub at: Timestamp,
    pub service: Service,
    /// `None`: the peer named none.
    pub address: Option<IpAddr>,
    pub count: u32,
    pub first: Timestamp,
}

/// All attempts with the ended secrets of a device password, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptsRow {
    pub count: u32,
    pub first: Timestamp,
    pub last: Timestamp,
    /// Of the last one.
    pub address: Option<IpAddr>,
    /// Of the last one.
    pub service: Service,
}

/// Good log-ins with one device password for one service from one address, to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uses {
    pub device: DeviceId,
    pub service: Service,
    pub address: Option<IpAddr>,
    pub first: Timestamp,
    pub last: Timestamp,
    pub count: u32,
}

/// Attempts with a secret that had ended, whose hash matched, to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempts {
    /// The secret's, so that nothing is written beside it in a database that was replaced meanwhile.
    pub device: DeviceId,
    pub secret: SecretId,
    pub service: Service,
    pub address: Option<IpAddr>,
    pub first: Timestamp,
    pub last: Timestamp,
    pub count: u32,
}

/// A device password, for lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRow {
    pub id: DeviceId,
    pub mailbox: Mailbox,
    /// Whose it is, by `access`. `None`: the mailbox owner's own.
    pub person: Option<Person>,
    pub access: Option<AccessId>,
    pub label: Label,
    pub limits: Limits,
    pub issued: Timestamp,
    pub issued_by: String,
    pub revoked: Option<Timestamp>,
    pub revoked_by: Option<String>,
    /// A replaced secret is valid until then (`rotate --keep-old`).
    pub old_until: Option<Timestamp>,
    /// The newest of its uses.
    pub last_use: Option<UseRow>,
    pub attempts: Option<AttemptsRow>,
    /// As [`Candidate::last_sign_of_life`].
    pub last_sign_of_life: Timestamp,
}

impl DeviceRow {
    /// Whether it is this person's: by their access, or as the owner of the mailbox.
    pub fn is_of(&self, person: &Person) -> bool {
        match &self.person {
            Some(of) => of == person,
            None => self.mailbox.as_str() == person.as_str(),
        }
    }
}

impl DeviceRow {
    /// From when on its limits refuse it, as things are now.
    pub fn expiry(&self) -> Option<Timestamp> {
        let day = Duration::from_secs(24 * 60 * 60);
        let unused = (self.limits.expires_unused_days)
            .map(|days| self.last_sign_of_life.plus(day.saturating_mul(days)));
        self.limits.expires.into_iter().chain(unused).min()
    }
}

/// Names a line of the audit log: later ones have greater ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventId(pub(crate) i64);

/// A line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    pub id: EventId,
    pub at: Timestamp,
    /// Who did it.
    pub actor: String,
    /// Through what, in the words of [`crate::model::Via`].
    pub via: String,
    /// What was done, in the words of [`crate::model::Action`]. A text: a newer program may have
    /// written words of its own.
    pub action: String,
    pub mailbox: Option<Mailbox>,
    pub person: Option<Person>,
    pub access: Option<AccessId>,
    pub device: Option<DeviceId>,
    /// As it was then.
    pub label: Option<Label>,
    /// The label before, for `renamed`; the limits, for `limits-set`; until when the old password
    /// is valid, for `rotated`; the address, for `tried-again`; the names of what was set, with a `-`
    /// of what was removed, for `fields-set`; how many device passwords came back, were lost and had ended, for
    /// `restored`.
    pub detail: Option<String>,
}
