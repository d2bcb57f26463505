//! Lines of the audit log: who did what to which mailbox, through what.

/// Who did it, and through what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The operating system's name of the user, or its number where it has none.
    pub name: String,
    pub via: Via,
}

/// Through what an event came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    CommandLine,
    /// Something the daemon saw, and nobody did.
    Daemon,
}

impl Via {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CommandLine => "cli",
            Self::Daemon => "daemon",
        }
    }
}

/// What was done. Stored as its word; the words are an interface of `dovelatch log`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    MailboxAdded,
    MailboxEnabled,
    MailboxDisabled,
    MailboxRemoved,
    /// A mailbox's own userdb fields.
    FieldsSet,
    PersonAdded,
    PersonRemoved,
    AccessGiven,
    AccessTaken,
    Issued,
    Renamed,
    LimitsSet,
    /// A second secret was added; both work until [`Self::Rotated`] or [`Self::Withdrawn`].
    RotationBegun,
    Rotated,
    Revoked,
    /// Its password could not be shown, so it was taken back at once.
    Withdrawn,
    /// A revoked or replaced password was tried, by somebody who knows it.
    TriedAgain,
    /// A backup was put in the place of the database.
    Restored,
}

impl Action {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MailboxAdded => "mailbox-added",
            Self::MailboxEnabled => "mailbox-enabled",
            Self::MailboxDisabled => "mailbox-disabled",
            Self::MailboxRemoved => "mailbox-removed",
            Self::FieldsSet => "fields-set",
            Self::PersonAdded => "person-added",
            Self::PersonRemoved => "person-removed",
            Self::AccessGiven => "access-given",
            Self::AccessTaken => "access-taken",
            Self::Issued => "issued",
            Self::Renamed => "renamed",
            Self::LimitsSet => "limits-set",
            Self::RotationBegun => "rotation-begun",
            Self::Rotated => "rotated",
            Self::Revoked => "revoked",
            Self::Withdrawn => "withdrawn",
            Self::TriedAgain => "tried-again",
            Self::Restored => "restored",
        }
    }
}
