//! The other questions: what the auth-master side asks of the store, and what it may learn.
//!
//! As [`crate::attempt`] is the waist of a log-in, this is that of everything behind it: which mail
//! process may begin, where a mailbox's mail lives, which mailboxes there are.

use crate::attempt::{Admitted, Allowed};
use crate::model::{Fields, Mailbox, Mechanism};
use crate::secret::Secret;

/// A question.
#[derive(Debug)]
pub enum Query {
    /// A mail process takes over what was let in: does it hold still?
    PickUp(Box<Admitted>),
    /// Where the mail of a mailbox lives. A disabled one has a home too.
    Home(Mailbox),
    /// The next names of mailboxes behind this one, in their order; at most [`PAGE`].
    Names { after: Option<Mailbox> },
}

/// Names in one answer. An empty one is the end.
pub const PAGE: usize = 256;

/// What is learned. Never why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Query::PickUp`]: it holds.
    Begins(Box<Begin>),
    /// To [`Query::Home`].
    Home(Mailbox, Fields),
    /// To [`Query::Names`].
    Names(Vec<Mailbox>),
    /// There is no such mailbox, or the log-in does not hold any more.
    No,
    /// Trouble of our own, or too much to do.
    TryLater,
}

/// A session that may begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begin {
    pub allowed: Allowed,
    /// By which the log-in came.
    pub mechanism: Mechanism,
    /// The mailbox's own fields.
    pub fields: Fields,
    /// 20 random bytes, drawn for this session: `auth_token=`, where the mail process wants one.
    pub token: Secret,
}
