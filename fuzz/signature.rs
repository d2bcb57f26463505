//! What an execution did, in short: in place of coverage, which the stable toolchain does not give.
//!
//! A target notes small facts (which command it was, which answer came behind which event, how many there
//! were, by powers of two). An input that leads to a fact never seen before is kept, and later ones are
//! made from it. So a campaign climbs from one state to the next instead of starting from the corpus each
//! time.

use std::hash::{Hash, Hasher};

/// Facts told apart. Two that fall together cost an input that would have been kept, and nothing else.
const FACTS: usize = 1 << 16;

/// The facts of one execution.
#[derive(Debug, Default)]
pub struct Signature {
    facts: Vec<usize>,
    /// The last step of a sequence.
    last: usize,
    /// Work that shows in no fact.
    more: usize,
}

impl Signature {
    pub fn note(&mut self, fact: impl Hash) {
        self.facts.push(number(fact));
    }

    /// A step of a sequence: a fact, and another one together with the step before.
    pub fn step(&mut self, fact: impl Hash) {
        let step = number(fact);
        self.note((self.last, step));
        self.facts.push(step);
        self.last = step;
    }

    /// A number by its size alone: 0, 1, 2–3, 4–7, …
    pub fn count(&mut self, what: &str, number: usize) {
        self.note((what, number.checked_ilog2()));
    }

    /// A line of the protocols by its cells: where which one is long, escaped, or a `key=value`.
    pub fn cells(&mut self, line: &[u8]) {
        for (place, cell) in line.split(|&byte| byte == b'\t').enumerate() {
            let has = |wanted| cell.contains(&wanted);
            let shape = (has(1), has(b'='), cell.len().checked_ilog2());
            self.note((place.min(8), shape));
        }
    }

    /// How many there are, one that comes again counted again.
    pub fn weight(&self) -> usize {
        self.facts.len() + self.more
    }

    /// There is as much work in it as in so many facts.
    pub fn weigh(&mut self, more: usize) {
        self.more += more;
    }

    pub fn clear(&mut self) {
        self.facts.clear();
        (self.last, self.more) = (0, 0);
    }
}

fn number(fact: impl Hash) -> usize {
    let mut hasher = Fnv::default();
    fact.hash(&mut hasher);
    usize::try_from(hasher.finish()).unwrap_or_default() % FACTS
}

/// The facts of all executions so far.
#[derive(Debug)]
pub struct Seen {
    facts: Vec<bool>,
    count: usize,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            facts: vec![false; FACTS],
            count: 0,
        }
    }
}

impl Seen {
    /// Whether there was a new one.
    pub fn add(&mut self, signature: &Signature) -> bool {
        let before = self.count;
        for &fact in &signature.facts {
            if !std::mem::replace(&mut self.facts[fact], true) {
                self.count += 1;
            }
        }
        self.count > before
    }

    pub fn count(&self) -> usize {
        self.count
    }
}

/// FNV-1a with a last stir, for a few bytes at a time. The standard library's hasher is made for keys that an
/// attacker chooses, and three times as slow.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32) ^ (self.0 >> 48)
    }
}
