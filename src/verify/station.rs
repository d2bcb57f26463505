//! Where the verifier's threads wait for their next job: a [`Queue`] with a lock, a bell and an end.

use std::hash::Hash;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::queue::{Bounds, Next, Queue};

/// A [`Queue`] where threads wait for their next job.
#[derive(Debug)]
pub(super) struct Station<K, T> {
    state: Mutex<State<K, T>>,
    filled: Condvar,
}

#[derive(Debug)]
struct State<K, T> {
    queue: Queue<K, T>,
    closed: bool,
}

impl<K: Eq + Hash + Clone, T> Station<K, T> {
    pub(super) fn new(bounds: Bounds) -> Self {
        let queue = Queue::new(bounds);
        Self {
            state: Mutex::new(State {
                queue,
                closed: false,
            }),
            filled: Condvar::new(),
        }
    }

    /// Hands the item back where there is no room, or nobody to take it.
    pub(super) fn put(&self, key: K, item: T, arrived: Instant) -> Result<(), T> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(item);
        }
        state.queue.push(key, item, arrived)?;
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    pub(super) fn try_next(&self, now: Instant) -> Option<Next<T>> {
        lock(&self.state).queue.pop(now)
    }

    /// Waits for an item; `now` is asked when one has come. `None` once the station is closed and empty.
    pub(super) fn next(&self, now: impl FnOnce() -> Instant) -> Option<Next<T>> {
        let mut state = self
            .filled
            .wait_while(lock(&self.state), |state| {
                state.queue.is_empty() && !state.closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        state.queue.pop(now())
    }

    pub(super) fn take_too_old(&self, now: Instant) -> Vec<T> {
        lock(&self.state).queue.take_too_old(now)
    }

    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.filled.notify_all();
    }
}

/// Nothing behind our locks is left half changed by a panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
