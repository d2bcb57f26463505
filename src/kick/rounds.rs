//! When to kick, and until when: the arithmetic, with the time as an argument.

use std::time::{Duration, Instant};

/// Longest time that ending sessions may take in all, whatever hangs: somebody waits for the prompt.
pub const WITHIN: Duration = Duration::from_secs(4);

/// How long after the first kick the last one is. A session that has its userdb reply, and is not yet
/// registered with anvil, is seen by no kick before that; measured, that takes less than this.
pub(super) const REPEAT_FOR: Duration = Duration::from_secs(2);

/// From one kick to the next.
pub(super) const REPEAT_EVERY: Duration = Duration::from_millis(250);

/// The rounds of one command.
#[derive(Debug, Clone)]
pub(super) struct Rounds {
    deadline: Instant,
    first: Option<Instant>,
    last: Option<Instant>,
}

/// What to do with the next round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Kick after this pause.
    After(Duration),
    /// The last one was late enough, or there is no time for another.
    Enough,
}

impl Rounds {
    /// All within [`WITHIN`] from `start`.
    pub(super) fn new(start: Instant) -> Self {
        Self {
            deadline: start + WITHIN,
            first: None,
            last: None,
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether no round has begun yet.
    pub(super) fn is_first(&self) -> bool {
        self.first.is_none()
    }

    /// A round begins.
    pub(super) fn begin(&mut self, now: Instant) {
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    /// Whether, and when, another round follows. A slow round is followed by the next at once.
    pub(super) fn next(&self, now: Instant) -> Next {
        let (Some(first), Some(last)) = (self.first, self.last) else {
            return Next::After(Duration::ZERO);
        };
        let pause = (last + REPEAT_EVERY).saturating_duration_since(now);
        let enough = last.saturating_duration_since(first) >= REPEAT_FOR;
        if enough || now + pause >= self.deadline {
            Next::Enough
        } else {
            Next::After(pause)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn start() -> Instant {
        super::super::now()
    }

    #[test]
    fn the_first_kick_is_at_once_and_the_last_two_seconds_later() {
        let start = start();
        let mut rounds = Rounds::new(start);
        let (mut now, mut kicks) = (start + 100 * MS, Vec::new());
        while let Next::After(pause) = rounds.next(now) {
            now += pause;
            rounds.begin(now);
            kicks.push((now - start).as_millis());
            now += 10 * MS;
        }
        assert_eq!(kicks, [100, 350, 600, 850, 1100, 1350, 1600, 1850, 2100]);
    }

    #[test]
    fn slow_rounds_follow_each_other_at_once_and_end_in_time() {
        let start = start();
        let mut rounds = Rounds::new(start);
        rounds.begin(start);
        assert_eq!(rounds.next(start + 700 * MS), Next::After(Duration::ZERO));
        rounds.begin(start + 1999 * MS);
        assert_eq!(rounds.next(start + 3999 * MS), Next::After(Duration::ZERO));
        assert_eq!(rounds.next(start + 4000 * MS), Next::Enough);
        rounds.begin(start + 2000 * MS);
        assert_eq!(rounds.next(start + 2001 * MS), Next::Enough);
    }
}
