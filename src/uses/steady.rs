//! Whether the wall clock goes on as it did.
//!
//! What is forgotten by the clock is gone for good: the old password of a rotation, whose grace is over, say.
//! So after a jump of the clock nothing is forgotten for a while; somebody may put it right.

use std::time::{Duration, Instant};

use crate::model::Timestamp;

/// Farther than a clock is ever slewed, or a zone moved by mistake and put right.
const JUMP: Duration = Duration::from_secs(30 * 60);

/// Long enough for somebody to notice; forgetting never hurries.
const WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Compares the wall clock with the one that never jumps.
#[derive(Debug, Default)]
pub(super) struct Steady {
    last: Option<(Timestamp, Instant)>,
    jumped: Option<Instant>,
}

impl Steady {
    /// Whether the clock has not jumped for a day, as far as was seen.
    pub(super) fn holds(&mut self, clock: Timestamp, now: Instant) -> bool {
        let jumps = self.last.is_some_and(|(wall, then)| {
            let expected = wall.plus(now.saturating_duration_since(then));
            clock > expected.plus(JUMP) || clock < expected.minus(JUMP)
        });
        self.last = Some((clock, now));
        if jumps {
            self.jumped = Some(now);
        }
        (self.jumped).is_none_or(|jumped| now.saturating_duration_since(jumped) >= WAIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant has no other origin")]
    fn a_jump_in_either_direction_is_distrusted_for_a_day() {
        const HOUR: u64 = 60 * 60;
        let start = Instant::now();
        let mut steady = Steady::default();
        let mut holds = |hours: u64, wall: i64| {
            let now = start + Duration::from_secs(hours * HOUR);
            steady.holds(Timestamp::from_unix(1_795_600_000 + wall), now)
        };
        let hour = 60 * 60;
        let ten_years = 87_600 * hour;
        assert!(holds(0, 0));
        assert!(holds(1, hour + 60));
        assert!(!holds(2, 2 * hour + ten_years));
        assert!(!holds(25, 25 * hour + ten_years));
        assert!(!holds(26, 26 * hour), "back again is another jump");
        assert!(!holds(49, 49 * hour));
        assert!(holds(50, 50 * hour));
    }
}
