//! Processes that end with their test.

use std::ops::{Deref, DerefMut};
use std::process::Child;

/// Killed when dropped, and waited for.
#[derive(Debug)]
pub(crate) struct KilledOnDrop(pub(crate) Child);

impl Deref for KilledOnDrop {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for KilledOnDrop {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
