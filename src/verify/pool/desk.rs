//! Where whoever asks is answered at once, on its own thread.
//!
//! A look-up takes some microseconds, and handing it to another thread and the answer back takes several
//! times that. So the sockets' threads look up by themselves, with the database connection of a desk
//! that is free, and what needs no hash has its answer then. All else goes the long way, over the
//! look-up threads: where no desk is free, where there is any trouble, which they know how to deal with, and
//! for a while after a look-up that took long, because a slow disk must not stop the sockets.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use super::super::job::Work;
use super::super::{Checker, Settings};
use super::{Shared, caught, monotonic, now};
use crate::store::{Identity, Reader};

/// A look-up that takes longer waited for the disk, or for a lock.
const SLOW: Duration = Duration::from_millis(10);

/// For how long nobody is answered at once after that.
const CLOSED: Duration = Duration::from_secs(1);

/// One for each thread that may ask.
#[derive(Debug)]
pub(super) struct Desks {
    desks: Vec<Mutex<Checker>>,
    since: Instant,
    /// In milliseconds from `since`.
    closed_until: AtomicU64,
    ended: AtomicBool,
}

impl Desks {
    pub(super) fn new(desks: impl IntoIterator<Item = Checker>) -> Self {
        Self {
            desks: desks.into_iter().map(Mutex::new).collect(),
            since: monotonic(),
            closed_until: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        }
    }

    /// From now on nobody is answered here.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    fn free(&self, now: Instant) -> Option<MutexGuard<'_, Checker>> {
        let closed = self.millis(now) < self.closed_until.load(Ordering::Relaxed)
            || self.ended.load(Ordering::Relaxed);
        if closed {
            return None;
        }
        self.desks.iter().find_map(|desk| match desk.try_lock() {
            Ok(checker) => Some(checker),
            // What a panic left behind was thrown away.
            Err(TryLockError::Poisoned(checker)) => Some(checker.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        })
    }

    /// A look-up took from `begun` to `done`.
    fn took(&self, begun: Instant, done: Instant) {
        if done.saturating_duration_since(begun) > SLOW {
            let until = self.millis(done + CLOSED);
            self.closed_until.store(until, Ordering::Relaxed);
        }
    }

    fn millis(&self, time: Instant) -> u64 {
        let since = time.saturating_duration_since(self.since);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// What a desk works with: its database connection waits for nothing.
pub(super) fn checker(settings: &Settings, identity: &Identity) -> Checker {
    let reader = Reader::at_once(settings.database.clone(), identity.clone());
    Checker::with(reader)
}

impl Shared {
    /// Answers if that can be done at once, else hands the work back.
    pub(super) fn at_once(&self, work: Work) -> Option<Work> {
        let begun = now();
        let Some(mut checker) = self.desks.free(begun.monotonic) else {
            return Some(work);
        };
        let mut left = None;
        let panicked = caught(|| match work {
            Work::LogIn(job) => match checker.look_up(Some(&self.memo), &job.attempt, begun) {
                Ok(looked) => self.go_on(job, looked),
                Err(_) => left = Some(Work::LogIn(job)),
            },
            Work::Inquiry(inquiry) => match checker.inquire(&inquiry.query, begun) {
                Ok((answer, outcome)) => inquiry.asker.send(answer, outcome.as_ref()),
                Err(_) => left = Some(Work::Inquiry(inquiry)),
            },
        });
        if panicked {
            *checker = self::checker(&self.settings, &self.identity);
        }
        self.desks.took(begun.monotonic, monotonic());
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desks() -> (Desks, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("none.db");
        let reader = Reader::at_once(path, Identity::default());
        (Desks::new([Checker::with(reader)]), directory)
    }

    #[test]
    fn a_desk_serves_one_at_a_time() {
        let (desks, _directory) = desks();
        let now = monotonic();
        let first = desks.free(now);
        assert!(first.is_some());
        assert!(desks.free(now).is_none());
        drop(first);
        assert!(desks.free(now).is_some());
    }

    #[test]
    fn after_a_slow_look_up_the_desks_are_closed_for_a_second() {
        let (desks, _directory) = desks();
        let begun = monotonic();
        desks.took(begun, begun + SLOW);
        assert!(desks.free(begun).is_some(), "that was not slow");
        let done = begun + SLOW + Duration::from_millis(1);
        desks.took(begun, done);
        assert!(desks.free(done).is_none());
        assert!(desks.free(done + CLOSED / 2).is_none());
        assert!(
            desks
                .free(done + CLOSED + Duration::from_millis(1))
                .is_some()
        );
    }

    #[test]
    fn after_the_end_nobody_is_answered_at_once() {
        let (desks, _directory) = desks();
        desks.end();
        assert!(desks.free(monotonic()).is_none());
    }
}
