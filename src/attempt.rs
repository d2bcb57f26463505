//! The question and the answer: the narrow waist between the protocol and the rules.
//!
//! Everything a peer says about a log-in becomes an [`Attempt`]; everything it may learn is a
//! [`Verdict`]. Why it was refused is a [`Reason`], for our log alone.

use std::net::IpAddr;

use crate::model::{AccessId, ClientText, DeviceId, Mailbox, Mechanism, Person, SecretId, Service};
use crate::secret::Secret;

/// Somebody wants in.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The mailbox that is wanted. `None` where what was typed can be no mailbox's name: it is
    /// refused after the same look-up as any other.
    pub mailbox: Option<Mailbox>,
    /// Who signs in for it, where that is not the mailbox itself (delegation).
    pub person: Option<Person>,
    /// The authentication identity as typed, for the log.
    pub claimed: ClientText,
    pub secret: Secret,
    pub mechanism: Mechanism,
    pub service: Service,
    /// The remote address that the peer reports (`rip`): claimed, not proven, often missing.
    pub origin: Option<IpAddr>,
    /// The local address that the peer reports (`lip`).
    pub local: Option<IpAddr>,
}

impl Attempt {
    /// The same without the password, which is not even copied: for [`Admitted`].
    pub fn without_secret(&self) -> Self {
        Self {
            mailbox: self.mailbox.clone(),
            person: self.person.clone(),
            claimed: self.claimed.clone(),
            secret: Secret::default(),
            mechanism: self.mechanism,
            service: self.service.clone(),
            origin: self.origin,
            local: self.local,
        }
    }
}

/// What the protocol side learns. Never why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Allow(Allowed),
    Deny,
    /// Trouble of our own, or too much to do: nothing is said about the password.
    TryLater,
}

/// Whom a log-in let in. All of it comes from the rows of the store, nothing from what was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    pub mailbox: Mailbox,
    pub device: DeviceId,
    /// Which of its secrets was shown: its row is read once more when a mail process takes over.
    pub secret: SecretId,
    /// Whose device password it was, where not the mailbox owner's, and by which access.
    pub person: Option<(Person, AccessId)>,
}

/// A log-in that was let in, and waits for the mail process that will serve it.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// What was asked, without the password.
    pub attempt: Attempt,
    pub allowed: Allowed,
}

/// A verdict with what only the log may know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Allow(Allowed),
    Deny {
        reason: Reason,
        device: Option<DeviceId>,
    },
    TryLater {
        reason: Reason,
    },
}

impl Outcome {
    /// Refused, with no device proven.
    pub fn refused(reason: Reason) -> Self {
        let device = None;
        Self::Deny { reason, device }
    }

    /// Too much to do.
    pub fn overload() -> Self {
        let reason = Reason::Overload;
        Self::TryLater { reason }
    }

    /// Trouble of our own.
    pub fn internal_error() -> Self {
        let reason = Reason::InternalError;
        Self::TryLater { reason }
    }

    /// The part that the peer may learn.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Allow(allowed) => Verdict::Allow(allowed.clone()),
            Self::Deny { .. } => Verdict::Deny,
            Self::TryLater { .. } => Verdict::TryLater,
        }
    }
}

/// Why an attempt was not let in. The words are an interface: fail2ban reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    UnknownMailbox,
    UnknownPassword,
    Revoked,
    Expired,
    Disabled,
    NoAccess,
    WrongService,
    WrongNetwork,
    Malformed,
    Mechanism,
    Overload,
    InternalError,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownMailbox => "unknown-mailbox",
            Self::UnknownPassword => "unknown-password",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Disabled => "disabled",
            Self::NoAccess => "no-access",
            Self::WrongService => "wrong-service",
            Self::WrongNetwork => "wrong-network",
            Self::Malformed => "malformed",
            Self::Mechanism => "mechanism",
            Self::Overload => "overload",
            Self::InternalError => "internal-error",
        }
    }
}
