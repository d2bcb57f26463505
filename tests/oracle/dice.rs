//! Chance for shuffling and drawing.

#[path = "../support/dice.rs"]
mod shared;

use dovelatch::random;

pub(crate) use shared::Dice;

impl Dice {
    pub(crate) fn thrown() -> Self {
        Self::new(u64::from_ne_bytes(random::bytes().unwrap()))
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end + 1));
        }
    }
}
