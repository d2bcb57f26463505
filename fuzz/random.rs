//! Chance that can be repeated: the same seed gives the same campaign.

#[path = "../tests/support/dice.rs"]
mod dice;

pub(crate) use dice::Dice as Random;

impl Random {
    /// True once in `times`.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}
