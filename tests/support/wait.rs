//! Waiting for a condition instead of for a time.

use std::thread;
use std::time::{Duration, Instant};

/// Long enough for a busy machine with one core; a test that waits so long has failed.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// Asks until the condition gives a value, and panics with `what` if it has not within `limit`.
pub(crate) fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        let value = condition();
        assert!(
            started.elapsed() < limit,
            "waited {limit:?} in vain for {what}"
        );
        if let Some(value) = value {
            return value;
        }
        thread::sleep(Duration::from_millis(20));
    }
}
