//! Signs of life for the service manager, which replaces a daemon that gives none (`WatchdogSec=`).
//!
//! A timer that says "alive" proves that the timer lives. So each sign is earned as a log-in is answered: by an
//! attempt that opens no mailbox, and then a hash for nobody. It proves that the runtime's threads run, that an
//! attempt gets its answer, and that the hashing threads take turns. The attempt takes the way that log-ins
//! take just then: to a desk as a rule, and to the look-up threads where no desk is free. So it says nothing
//! of look-up threads that nobody needs.
//!
//! Whatever is answered counts, *try later* too: without a database, or with more to do than can be done, the
//! daemon does what it should. What does not count is silence, and hashing threads that take no turn at
//! all. None of it is a log-in: nothing is written to the log or to the book, nothing is remembered.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;
use tracing::warn;

use super::{Shared, handover, notified, now};
use crate::attempt::Attempt;
use crate::model::{ClientText, Mechanism, Service};
use crate::secret::Secret;
use crate::verify::Verifier;

/// The shape of a device password, so that the look-up does all that it does for a right one.
const NOBODYS_PASSWORD: &[u8] = b"aaaa-aaaa-aaaa-aaaa-aaaa";

/// Whose turn it is among those who ask the verifier: connections count from 1.
const LANE: u64 = 0;

/// How late a sign of life may be where there is too much to do: it waits in two queues, each puts off what has
/// waited for 4 s, and that is seen within another second.
const LATE: Duration = Duration::from_secs(10);

/// The shortest time in which the manager hears a sign from a busy daemon: half of it goes by before the next is
/// due.
const LEAST_LIMIT: Duration = LATE.saturating_mul(2);

/// Feeds the watchdog at half of its time, for as long as the daemon runs. A `limit` below [`LEAST_LIMIT`] is
/// the administrator's to choose, but the log has it: it ends a daemon that has much to do.
pub(super) async fn feed(shared: Arc<Shared>, limit: Duration) {
    if limit < LEAST_LIMIT {
        warn!(
            ?limit, least = ?LEAST_LIMIT,
            "the watchdog's time is short: a busy daemon may be taken for dead, see WatchdogSec=",
        );
    }
    let mut ticks = tokio::time::interval(limit / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut progress = Progress::default();
    loop {
        ticks.tick().await;
        let alive = match shared.verifier.get() {
            // Until the daemon knows whose the database is, its connections say *try later* by themselves.
            None => true,
            Some(verifier) => progress.has_come_to(probe(verifier).await),
        };
        if alive {
            notified(handover::alive());
        }
    }
}

/// Returns when look-up and hash were answered or put off, and not before: how many turns the hashing
/// threads have taken by then.
async fn probe(verifier: &Verifier) -> u64 {
    let attempt = Attempt {
        mailbox: None,
        person: None,
        claimed: ClientText::default(),
        secret: Secret::new(NOBODYS_PASSWORD.to_vec()),
        mechanism: Mechanism::Plain,
        service: Service::Imap,
        origin: None,
        local: None,
    };
    let (answer, answered) = oneshot::channel();
    let answer = move |verdict| {
        let _ = answer.send(verdict);
    };
    verifier.submit(LANE, attempt, now(), answer, |_outcome| {});
    // An answer that a panic has lost is trouble of our own as well.
    let _ = answered.await;
    let (end, ended) = oneshot::channel();
    let end = move || {
        let _ = end.send(());
    };
    verifier.probe(now(), end);
    let _ = ended.await;
    verifier.turns()
}

/// Whether the hashing threads have taken a turn since the last sign of life.
#[derive(Debug, Default)]
struct Progress {
    turns: u64,
}

impl Progress {
    fn has_come_to(&mut self, turns: u64) -> bool {
        let alive = turns != self.turns;
        self.turns = turns;
        alive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashing_threads_that_take_no_turn_are_no_sign_of_life() {
        let mut progress = Progress::default();
        assert!(!progress.has_come_to(0));
        assert!(progress.has_come_to(1));
        assert!(!progress.has_come_to(1));
        assert!(progress.has_come_to(3));
    }
}
