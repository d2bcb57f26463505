//! What keeps us from an answer, and how the log learns of it: once and not for each request.

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::DeviceId;
use crate::password::phc;
use crate::random;
use crate::store;

/// At most one line a minute: on a busy host trouble comes thousands of times a second.
const QUIET: Duration = Duration::from_secs(60);

/// Trouble of our own: to the peer *try later*, whatever it is.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("the password of device {device} cannot be checked")]
    Hash {
        device: DeviceId,
        source: phc::Error,
    },
    #[error("cannot draw random bytes")]
    Random(#[from] random::Error),
}

impl Trouble {
    /// A stable word for `--json`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::Hash { .. } => "cannot_hash",
            Self::Random(_) => "no_random_bytes",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Hash { source, .. } => source.hint(),
            Self::Random(_) => Some("the kernel has no random bytes: look into the system's log"),
        }
    }
}

/// Tells the log of trouble, and when it is over.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    database: Bell,
    /// One row cannot be used; the others can, so that their success is no end of it.
    row: Bell,
}

impl Alarm {
    pub(super) fn raise(&self, trouble: &Trouble, now: Instant) {
        let bell = match trouble {
            // It was tried a moment ago, and that error said why.
            Trouble::Store(store::Error::Unavailable { .. }) => return,
            Trouble::Store(store::Error::Undecodable { .. })
            | Trouble::Hash { .. }
            | Trouble::Random(_) => &self.row,
            Trouble::Store(_) => &self.database,
        };
        if bell.may_ring(now) {
            let (error, hint): (&dyn Error, _) = (trouble, trouble.hint());
            tracing::error!(error, hint, "log-ins get \"try later\"");
        }
    }

    /// The database has answered.
    pub(super) fn database_answered(&self) {
        if self.database.is_over() {
            tracing::info!("the database answers again");
        }
    }
}

/// Counts the refused attempts that nobody looked into, and tells the log once a minute.
#[derive(Debug, Default)]
pub(super) struct PassedOver {
    total: AtomicU64,
    told: AtomicU64,
    bell: Bell,
}

impl PassedOver {
    pub(super) fn add(&self) {
        self.total.fetch_add(1, Ordering::Relaxed);
    }

    /// Since the start.
    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Tells what has come since the last line, if that was a minute ago.
    pub(super) fn tell(&self, now: Instant) {
        tell_passed_over(self.due(now));
    }

    /// Tells the rest at the end, however old the last line is.
    pub(super) fn tell_rest(&self) {
        tell_passed_over(self.rest());
    }

    fn due(&self, now: Instant) -> Option<u64> {
        let news = self.total() != self.told.load(Ordering::Relaxed);
        if !news || !self.bell.may_ring(now) {
            return None;
        }
        self.rest()
    }

    fn rest(&self) -> Option<u64> {
        let total = self.total();
        let told = self.told.swap(total, Ordering::Relaxed);
        Some(total.saturating_sub(told)).filter(|news| *news > 0)
    }
}

fn tell_passed_over(attempts: Option<u64>) {
    if let Some(attempts) = attempts {
        tracing::warn!(
            attempts,
            "ended passwords may be told as unknown: too many refused attempts to look into"
        );
    }
}

/// Rings at most once a minute.
#[derive(Debug, Default)]
struct Bell {
    rung: Mutex<Option<Instant>>,
    /// Since it rang, the end has not been told.
    sounding: AtomicBool,
}

impl Bell {
    fn may_ring(&self, now: Instant) -> bool {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = rung.is_some_and(|rung| now.saturating_duration_since(rung) < QUIET);
        if !quiet {
            *rung = Some(now);
            self.sounding.store(true, Ordering::Relaxed);
        }
        !quiet
    }

    /// Asked on every log-in: a plain read where there is no trouble.
    fn is_over(&self) -> bool {
        self.sounding.load(Ordering::Relaxed) && self.sounding.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "there is no other way to an Instant; only differences to it matter"
    )]
    fn a_bell_rings_once_a_minute_and_its_end_is_told_once() {
        let bell = Bell::default();
        let start = Instant::now();
        assert!(!bell.is_over(), "nothing has begun");
        assert!(bell.may_ring(start));
        assert!(!bell.may_ring(start + QUIET - Duration::from_millis(1)));
        assert!(bell.is_over());
        assert!(!bell.is_over());
        assert!(!bell.may_ring(start + QUIET / 2), "flapping makes no lines");
        assert!(!bell.is_over());
        assert!(bell.may_ring(start + QUIET));
        assert!(bell.is_over());
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "there is no other way to an Instant; only differences to it matter"
    )]
    fn what_is_passed_over_is_told_once_a_minute_and_none_is_forgotten() {
        let passed_over = PassedOver::default();
        let start = Instant::now();
        assert_eq!(passed_over.due(start), None, "there is nothing");
        passed_over.add();
        assert_eq!(passed_over.due(start), Some(1));
        passed_over.add();
        passed_over.add();
        assert_eq!(passed_over.due(start + QUIET / 2), None);
        assert_eq!(passed_over.due(start + QUIET), Some(2));
        passed_over.add();
        assert_eq!(passed_over.rest(), Some(1), "at the end without delay");
        assert_eq!(passed_over.rest(), None);
        assert_eq!(passed_over.due(start + QUIET * 2), None);
        assert_eq!(passed_over.total(), 4);
    }
}
