//! The end of what runs beside something else, also where that ends in a panic: a thread that went on
//! for ever would keep the benchmark from failing.

use std::sync::atomic::{AtomicBool, Ordering};

/// Not yet over.
#[derive(Debug, Default)]
pub struct Over(AtomicBool);

/// It is over when this is dropped.
pub struct Ends<'a>(&'a Over);

impl Over {
    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub fn with_this(&self) -> Ends<'_> {
        Ends(self)
    }
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}
