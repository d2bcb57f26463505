//! Chance from a seed, and what a campaign draws.

#[path = "../support/dice.rs"]
mod shared;

pub(crate) use shared::Dice;

impl Dice {
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        match from {
            [] => None,
            some => some.get(self.below(some.len())),
        }
    }

    /// Dice of their own for a part of the test, which then does not depend on what other parts draw.
    pub(crate) fn split(&mut self) -> Self {
        Self::new(self.next())
    }
}
