//! Remembers which passwords were found to match which PHC strings, so that a phone that signs in all
//! day costs one hash and not a thousand.
//!
//! That a password matches a PHC string is a fact of arithmetic: it never becomes untrue, whoever is
//! revoked or disabled meanwhile. So nothing here is ever invalidated, and nothing here is a verdict:
//! what is remembered gives the same [`Match`] that the hash gave, and the rules are asked as before.
//! Two secrets never share an entry, for the PHC string holds a salt of its own. What did *not* match
//! is not remembered, or wrong guesses would fill the memo.
//!
//! No password is kept: an entry is a [`Pair`].

use std::collections::HashSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use hmac::{HmacReset, KeyInit, Mac};
use sha2::Sha256;

use super::{Arena, Error, Match, verify};
use crate::password::generate::Password;
use crate::random;
use crate::secret::Secret;

/// Entries of a generation, of which there are two. A table of 2^20 places of 17 bytes takes that many
/// before it would grow: 18 MB, so a full memo has 36 MB, and a site with a tenth of the devices a
/// tenth of that (measured; while a table grows, half as much again). To grow the last time takes 16
/// ms, once.
pub const GENERATION: usize = 900_000;

/// A PHC string and a password, as one number.
///
/// The first 128 bits of HMAC-SHA-256(key, length of the PHC string in eight bytes ‖ PHC string ‖
/// password). No more are needed: a wrong password meets one of two million entries by chance once in
/// 2^107, and nobody can search for one that does, since the key dies with the process. Without the
/// key it says nothing about the password; for the same reason it may be compared in the ordinary way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pair([u8; 16]);

/// The key of the pairs. Wiped when it is dropped.
#[derive(Debug)]
pub struct Key(Secret);

/// What was found to match. Any number of threads may ask at the same time.
pub struct Memo {
    /// HMAC's state after the key, which is prepared once.
    keyed: HmacReset<Sha256>,
    known: Mutex<Generations>,
}

/// A bounded set that forgets what was not asked for: when the young generation is full, it becomes
/// the old one, and the old one is forgotten. What is met in the old one moves to the young one.
///
/// So whatever is among the last `bound` that were asked for is known, up to twice as many are, and
/// nothing is ever searched for something to throw out.
#[derive(Debug)]
struct Generations {
    young: HashSet<Pair>,
    old: HashSet<Pair>,
    bound: usize,
}

impl Key {
    /// One for this process.
    ///
    /// # Errors
    ///
    /// As [`random::bytes`].
    pub fn generate() -> Result<Self, random::Error> {
        Ok(Self(Secret::new(random::bytes::<32>()?.to_vec())))
    }
}

impl Memo {
    /// Knows nothing yet, and takes no room before it does.
    pub fn new(key: &Key) -> Self {
        Self::with_bound(key, GENERATION)
    }

    fn with_bound(key: &Key, bound: usize) -> Self {
        let keyed = HmacReset::new_from_slice(key.0.expose());
        Self {
            keyed: keyed.expect("HMAC takes a key of any length (RFC 2104)"),
            known: Mutex::new(Generations {
                young: HashSet::new(),
                old: HashSet::new(),
                bound,
            }),
        }
    }

    /// By what this PHC string and this password are known here, and equal ones recognised.
    pub fn pair(&self, password: &Password, phc: &str) -> Pair {
        let mut hmac = self.keyed.clone();
        // The length first, so that no end of a PHC string could be taken for the beginning of a
        // password, whatever length those have. A usize has 64 bits at most.
        let length = u64::try_from(phc.len()).unwrap_or(u64::MAX);
        hmac.update(&length.to_be_bytes());
        hmac.update(phc.as_bytes());
        hmac.update(password.canonical());
        let mut pair = [0; 16];
        for (byte, first) in pair.iter_mut().zip(hmac.finalize_reset().into_bytes()) {
            *byte = first;
        }
        Pair(pair)
    }

    /// The proof, where that was proven before. No hash is computed.
    pub fn recall(&self, password: &Password, phc: &str) -> Option<Match> {
        let pair = self.pair(password, phc);
        self.known(|known| known.contains(pair)).then(|| Match {
            phc: phc.to_owned(),
        })
    }

    /// As [`verify`], and remembers what matched. There is no other way into the memo: what was not
    /// hashed here cannot get in.
    ///
    /// # Errors
    ///
    /// As [`verify`].
    pub fn verify(
        &self,
        password: &Password,
        phc: &str,
        arena: &mut Arena,
    ) -> Result<Option<Match>, Error> {
        let proof = verify(password, phc, arena)?;
        if proof.is_some() {
            let pair = self.pair(password, phc);
            self.known(|known| known.insert(pair));
        }
        Ok(proof)
    }

    fn known<T>(&self, look: impl FnOnce(&mut Generations) -> T) -> T {
        look(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Generations {
    fn contains(&mut self, pair: Pair) -> bool {
        if self.young.contains(&pair) {
            return true;
        }
        let is_old = self.old.contains(&pair);
        if is_old {
            self.insert(pair);
        }
        is_old
    }

    fn insert(&mut self, pair: Pair) {
        if self.young.len() >= self.bound {
            std::mem::swap(&mut self.young, &mut self.old);
            // Keeps its room: a full memo neither grows nor moves again.
            self.young.clear();
        }
        self.young.insert(pair);
    }
}

/// Neither the key nor what is known.
impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memo(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::super::{Cost, hash};
    use super::*;

    fn key(letter: u8) -> Key {
        Key(Secret::new(vec![letter; 32]))
    }

    fn password(letters: &str) -> Password {
        Password::from_typed(&Secret::new(letters.as_bytes().to_vec())).unwrap()
    }

    fn known(bound: usize) -> Generations {
        Generations {
            young: HashSet::new(),
            old: HashSet::new(),
            bound,
        }
    }

    fn pair(number: u8) -> Pair {
        Pair([number; 16])
    }

    #[test]
    fn what_matched_is_recalled_with_the_proof_that_the_hash_gave() {
        let mut arena = Arena::default();
        let cost: Cost = "m=8,t=1,p=1".parse().unwrap();
        let (one, other) = (Password::generate().unwrap(), Password::generate().unwrap());
        let [first, second] = [(); 2].map(|()| hash(&one, cost, &mut arena).unwrap());
        let memo = Memo::new(&Key::generate().unwrap());

        assert_eq!(memo.recall(&one, &first), None, "nothing is known at first");
        let proof = memo.verify(&one, &first, &mut arena).unwrap().unwrap();
        assert_eq!(memo.recall(&one, &first), Some(proof));
        assert_eq!(memo.recall(&other, &first), None, "another password");
        assert_eq!(memo.recall(&one, &second), None, "another salt");
    }

    #[test]
    fn what_did_not_match_or_could_not_be_hashed_is_not_remembered() {
        let mut arena = Arena::default();
        let cost: Cost = "m=8,t=1,p=1".parse().unwrap();
        let (right, wrong) = (Password::generate().unwrap(), Password::generate().unwrap());
        let phc = hash(&right, cost, &mut arena).unwrap();
        let memo = Memo::new(&key(1));
        assert_eq!(memo.verify(&wrong, &phc, &mut arena).unwrap(), None);
        assert!(memo.verify(&right, "$argon2id$", &mut arena).is_err());
        assert_eq!(memo.recall(&wrong, &phc), None);
        assert_eq!(memo.recall(&right, "$argon2id$"), None);
        assert!(memo.known(|known| known.young.is_empty() && known.old.is_empty()));
    }

    #[test]
    fn a_pair_depends_on_the_key_the_string_and_the_password() {
        let one = Memo::new(&key(1));
        let letters = password("iiiiookqtmwhzrnbfayx");
        let pair = one.pair(&letters, "$argon2id$k");
        assert_eq!(one.pair(&letters, "$argon2id$k"), pair);
        assert_ne!(Memo::new(&key(2)).pair(&letters, "$argon2id$k"), pair);
        assert_ne!(one.pair(&letters, "$argon2id$q"), pair);
        assert_ne!(
            one.pair(&password("iiiiookqtmwhzrnbfaya"), "$argon2id$k"),
            pair
        );
    }

    #[test]
    fn a_full_generation_becomes_the_old_one_and_what_nobody_asks_for_is_forgotten() {
        let mut known = known(2);
        for number in [1, 2, 3] {
            known.insert(pair(number));
        }
        assert!(known.contains(pair(1)), "it is the old generation's");
        // Now 3 and 1 are young. The next one makes them old, and 2 is forgotten.
        known.insert(pair(4));
        assert!(
            [1, 3, 4]
                .map(pair)
                .into_iter()
                .all(|one| known.contains(one))
        );
        assert!(!known.contains(pair(2)));
    }

    #[test]
    fn debug_shows_nothing_of_it() {
        assert_eq!(format!("{:?}", Memo::new(&key(1))), "Memo(…)");
        assert_eq!(format!("{:?}", key(1)), "Key(Secret(…))");
    }

    #[test]
    fn a_full_memo_takes_what_its_bound_says_and_grows_no_more() {
        let mut known = known(GENERATION);
        let pair = |number: u64| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            Pair(bytes)
        };
        for number in 0..2_000_000 {
            known.insert(pair(number));
        }
        for generation in [&known.young, &known.old] {
            assert!(generation.len() <= GENERATION);
            assert_eq!(generation.capacity(), (1 << 20) / 8 * 7);
        }
        assert!(known.contains(pair(1_999_999)));
        assert!(!known.contains(pair(0)));
    }

    proptest! {
        #[test]
        fn the_last_that_were_asked_for_are_known_and_nothing_that_never_was(
            steps in prop::collection::vec((0_u8..20, any::<bool>()), 0..300),
        ) {
            const BOUND: usize = 5;
            let mut generations = known(BOUND);
            let mut ever = HashSet::new();
            // Whatever was put in or met, the last first; each once.
            let mut last: VecDeque<u8> = VecDeque::new();
            for (number, puts_in) in steps {
                if puts_in {
                    generations.insert(pair(number));
                    ever.insert(number);
                }
                let is_known = puts_in || generations.contains(pair(number));
                prop_assert!(is_known || !last.iter().take(BOUND).any(|one| *one == number));
                prop_assert!(!is_known || ever.contains(&number));
                if is_known {
                    last.retain(|one| *one != number);
                    last.push_front(number);
                }
                prop_assert!(generations.young.len() <= BOUND && generations.old.len() <= BOUND);
            }
        }
    }
}
