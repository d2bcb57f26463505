//! What the verifier's threads hand to each other, and the promise that everybody gets an answer.
//!
//! Each attempt carries its [`Reply`] along. Whatever becomes of the attempt, a panic too, the reply
//! answers and tells exactly once: at the latest when it is dropped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use super::decide::{Admissible, Tombstone};
use super::inquiry::Inquiry;
use crate::attempt::{Attempt, Outcome, Reason, Verdict};
use crate::password::generate::Password;

/// What waits for a look-up thread.
#[derive(Debug)]
pub(super) enum Work {
    LogIn(Job),
    Inquiry(Inquiry),
}

impl Work {
    /// There is too much to do.
    pub(super) fn put_off(self) {
        match self {
            Self::LogIn(job) => job.reply.send(Outcome::overload()),
            Self::Inquiry(inquiry) => inquiry.put_off(),
        }
    }
}

/// An attempt on its way.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) attempt: Attempt,
    pub(super) arrived: Instant,
    pub(super) reply: Reply,
}

/// An attempt that is worth a hash.
#[derive(Debug)]
pub(super) struct Hashing {
    pub(super) job: Job,
    pub(super) password: Password,
    pub(super) admissible: Admissible,
}

/// What waits for its turn on a hashing thread.
#[derive(Debug)]
pub(super) enum Turn {
    /// Boxed: a probe is small, and there is one of them among thousands.
    LogIn(Box<Hashing>),
    Probe(Probe),
}

impl Turn {
    /// There is too much to do.
    pub(super) fn put_off(self) {
        match self {
            Self::LogIn(hashing) => hashing.job.reply.send(Outcome::overload()),
            Self::Probe(probe) => probe.end(),
        }
    }
}

/// Whoever wants to know whether the hashing threads live: a hash for nobody, and then a call.
pub(super) struct Probe(Box<dyn FnOnce() + Send>);

impl Probe {
    pub(super) fn new(ended: impl FnOnce() + Send + 'static) -> Self {
        Self(Box::new(ended))
    }

    pub(super) fn end(self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Probe(…)")
    }
}

/// A refused attempt whose tag is that of an ended secret.
#[derive(Debug)]
pub(super) struct Suspect {
    pub(super) attempt: Attempt,
    /// Answered, not told.
    pub(super) reply: Reply,
    pub(super) password: Password,
    pub(super) tombstone: Tombstone,
}

impl Suspect {
    pub(super) fn told_unknown(self) {
        self.reply.send(Outcome::refused(Reason::UnknownPassword));
    }
}

/// For the peer, and for the log.
type Answer = dyn FnOnce(Verdict) + Send;
type Tell = dyn FnOnce(&Outcome) + Send;

/// Whom to answer and what to tell. Dropped without an answer, it answers *try later*.
pub(super) struct Reply {
    answer: Option<Box<Answer>>,
    tell: Option<Box<Tell>>,
}

impl Reply {
    pub(super) fn new(
        answer: impl FnOnce(Verdict) + Send + 'static,
        tell: impl FnOnce(&Outcome) + Send + 'static,
    ) -> Self {
        Self {
            answer: Some(Box::new(answer)),
            tell: Some(Box::new(tell)),
        }
    }

    /// Answers, where that was not done before, and tells.
    pub(super) fn send(mut self, outcome: Outcome) {
        self.give(outcome);
    }

    /// Answers only.
    pub(super) fn refuse(&mut self) {
        if let Some(answer) = self.answer.take() {
            answer(Verdict::Deny);
        }
    }

    fn give(&mut self, outcome: Outcome) {
        if let Some(answer) = self.answer.take() {
            answer(outcome.verdict());
        }
        if let Some(tell) = self.tell.take() {
            tell(&outcome);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let outcome = match self {
            Self {
                tell: None,
                answer: None,
            } => return,
            Self { answer: None, .. } => Outcome::refused(Reason::UnknownPassword),
            Self { .. } => Outcome::internal_error(),
        };
        // Dropped by a panic, most likely: a second one would end the process.
        let _ = catch_unwind(AssertUnwindSafe(|| self.give(outcome)));
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reply(…)")
    }
}
