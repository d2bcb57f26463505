//! Where the verifier's threads leave their answers for a connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// One for each connection.
#[derive(Debug)]
pub(super) struct Mailroom<T> {
    /// At most [`crate::verify::pool::LANE`]: no more are asked for. Costs nothing while it is empty.
    letters: Mutex<Vec<T>>,
    bell: Arc<Notify>,
}

impl<T> Mailroom<T> {
    pub(super) fn new() -> Self {
        Self {
            letters: Mutex::default(),
            bell: Arc::default(),
        }
    }

    /// Leaves one, and rings.
    pub(super) fn leave(&self, letter: T) {
        self.lock().push(letter);
        self.bell.notify_one();
    }

    /// All that are there, in the order in which they came.
    pub(super) fn collect(&self) -> Vec<T> {
        std::mem::take(&mut *self.lock())
    }

    /// Rung for each letter.
    pub(super) fn bell(&self) -> &Arc<Notify> {
        &self.bell
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
