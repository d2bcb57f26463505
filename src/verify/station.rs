//! Where the verifier's threads wait for their next job: a [`Waitlist`] with a lock, a bell and an end.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::queue::Waitlist;

/// A [`Waitlist`] where threads wait for their next job.
#[derive(Debug)]
pub(super) struct Station<W> {
    state: Mutex<State<W>>,
    filled: Condvar,
}

#[derive(Debug)]
struct State<W> {
    list: W,
    closed: bool,
}

impl<W: Waitlist> Station<W> {
    pub(super) fn new(list: W) -> Self {
        Self {
            state: Mutex::new(State {
                list,
                closed: false,
            }),
            filled: Condvar::new(),
        }
    }

    /// Hands the item back where there is no room, or nobody to take it.
    pub(super) fn put(&self, key: W::Key, item: W::Item, arrived: Instant) -> Result<(), W::Item> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(item);
        }
        state.list.push(key, item, arrived)?;
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    pub(super) fn try_next(&self, now: Instant) -> Option<W::Next> {
        lock(&self.state).list.pop(now)
    }

    /// Waits for an item; `now` is asked when one has come. `None` once the station is closed and empty.
    pub(super) fn next(&self, now: impl FnOnce() -> Instant) -> Option<W::Next> {
        let mut state = self
            .filled
            .wait_while(lock(&self.state), |state| {
                state.list.is_empty() && !state.closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        state.list.pop(now())
    }

    pub(super) fn take_too_old(&self, now: Instant) -> Vec<W::Item> {
        lock(&self.state).list.take_too_old(now)
    }

    /// What else the list can do. Not for long: everybody waits meanwhile.
    pub(super) fn with<A>(&self, look: impl FnOnce(&mut W) -> A) -> A {
        look(&mut lock(&self.state).list)
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
