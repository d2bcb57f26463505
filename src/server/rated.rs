//! A warning that a peer can provoke as often as it likes, logged now and then.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Least time between two lines of one kind.
const INTERVAL: Duration = Duration::from_secs(10);

/// Lets one line through each 10 s, and counts those that it holds back.
#[derive(Debug, Default)]
pub(super) struct Rated(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    held_back: u64,
}

impl Rated {
    /// `Some` if a line may be logged now, with the number of those held back since the last one.
    pub(super) fn pass(&self, now: Instant) -> Option<u64> {
        let mut state = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if state
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < INTERVAL)
        {
            state.held_back += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::now;

    #[test]
    fn one_line_passes_each_interval_and_tells_of_the_others() {
        let (rated, start) = (Rated::default(), now());
        assert_eq!(rated.pass(start), Some(0));
        assert_eq!(rated.pass(start), None);
        assert_eq!(
            rated.pass(start + INTERVAL - Duration::from_millis(1)),
            None
        );
        assert_eq!(rated.pass(start + INTERVAL), Some(2));
        assert_eq!(rated.pass(start + INTERVAL), None);
    }
}
