//! Device passwords: how they are made, found and checked. Pure but for the random bytes drawn.
//!
//! [`generate`] makes one and reads what was typed, [`tag`] finds its row among a mailbox's others,
//! [`phc`] hashes it and proves that it matches what is stored, [`packed`] makes that short.

pub mod generate;
pub mod packed;
pub mod phc;
pub mod tag;
