//! Hash and verify PHC strings, `$argon2id$v=19$m=1024,t=1,p=1$salt$hash`.
//!
//! A generated password has 93 bits, so the hash is the second wall and not the first: it is cheap
//! enough (0.4 ms of one core) that a whole site may log in again after a restart. The cost stands in
//! each string; what a damaged or hostile row may ask for is capped before any work is done.

pub mod memo;

use std::fmt;
use std::str::FromStr;

use argon2::password_hash::phc::{ParamsString, PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::{Zeroize, Zeroizing};

use super::generate::Password;
use crate::random;
use crate::secret;

/// Argon2id cost of new hashes (`[hash] generated`), e.g. `m=1024,t=1,p=1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// 8 to [`MAX_MEMORY_KIB`].
    pub memory_kib: u32,
    /// 1 to [`MAX_PASSES`].
    pub passes: u32,
    /// Always 1: a log-in has one thread.
    pub lanes: u32,
}

/// Why a text is no cost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CostError {
    #[error("{0:?} is no cost of a hash; write it like m=1024,t=1,p=1")]
    Form(String),
    #[error("m={0} is outside 8 to {MAX_MEMORY_KIB} KiB")]
    Memory(u32),
    #[error("t={0} is outside 1 to {MAX_PASSES} passes")]
    Passes(u32),
    #[error("p={0} is not 1: a log-in is hashed by one thread")]
    Lanes(u32),
}

/// Memory that one hashing thread uses again and again: taking and touching fresh pages for each
/// hash costs more than half of it again (measured, 26.6 against 16.8 ms at 19 MiB).
///
/// It holds what can be computed from a password, so it is wiped when it is given back, and whenever
/// its thread calls [`Self::wipe`], having nothing else to do. The few KiB that the
/// `argon2` crate leaves on the stack are wiped by [`secret::wipe_stack`], when that thread waits.
#[derive(Default)]
pub struct Arena(Vec<argon2::Block>);

/// Proof that a password matched a PHC string. Only [`verify`] makes one, and the [`memo`] that
/// remembers what it said.
#[derive(Debug, PartialEq, Eq)]
pub struct Match {
    phc: String,
}

/// Why there is no hash, or no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the PHC string cannot be decoded: {0}")]
    Undecodable(&'static str),
    #[error("no memory for a hash")]
    Memory,
    #[error("no random salt")]
    Random(#[from] random::Error),
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Undecodable(_) => {
                Some("`dovelatch db check` lists such rows; `rotate` mends one")
            }
            Self::Memory => Some("allow the service more memory, or lower `[hash] generated`"),
            Self::Random(_) => Some("the kernel has no random bytes: look into the system's log"),
        }
    }
}

/// A PHC string for `password`, with a salt of its own.
///
/// # Errors
///
/// [`Error::Random`] without a salt, [`Error::Memory`] without memory, [`Error::Undecodable`] for a
/// cost that [`Cost`]'s `FromStr` would have refused.
pub fn hash(password: &Password, cost: Cost, arena: &mut Arena) -> Result<String, Error> {
    let recipe = Recipe {
        cost,
        salt: random::bytes::<SALT>()?.to_vec(),
    };
    let mut output = Zeroizing::new([0; OUTPUT]);
    recipe.run(password.canonical(), output.as_mut_slice(), arena)?;
    recipe.phc(output.as_slice())
}

/// Whether `password` matches: `Ok(None)` if it does not. One hash, unless there is an error.
///
/// # Errors
///
/// [`Error::Undecodable`] for anything but Argon2id, version 19, within the caps of this module;
/// [`Error::Memory`] if there is none for the hash.
pub fn verify(password: &Password, phc: &str, arena: &mut Arena) -> Result<Option<Match>, Error> {
    verify_bytes(password.canonical(), phc, arena)
}

/// Whether [`verify`] could work with this string: no hash is computed.
///
/// # Errors
///
/// [`Error::Undecodable`], as [`verify`].
pub fn check(phc: &str) -> Result<(), Error> {
    Recipe::parse(phc).map(drop)
}

fn verify_bytes(password: &[u8], phc: &str, arena: &mut Arena) -> Result<Option<Match>, Error> {
    let (recipe, stored) = Recipe::parse(phc)?;
    let mut output = Zeroizing::new([0; MAX_OUTPUT]);
    let output = output
        .get_mut(..stored.len())
        .ok_or(Error::Undecodable("the length of the hash"))?;
    recipe.run(password, output, arena)?;
    Ok(secret::equal(output, &stored).then(|| Match {
        phc: phc.to_owned(),
    }))
}

impl Match {
    /// The string that was matched: proof of nothing about any other.
    pub fn phc(&self) -> &str {
        &self.phc
    }
}

impl Cost {
    /// Within the caps for stored strings. More lanes than one are computed one after another.
    fn is_bearable(self) -> bool {
        (1..=MAX_MEMORY_KIB / 8).contains(&self.lanes)
            && (8 * self.lanes..=MAX_MEMORY_KIB).contains(&self.memory_kib)
            && (1..=MAX_PASSES).contains(&self.passes)
    }

    /// From the parameters of a PHC string: `m`, `t` and `p`, each once, and no other.
    fn from_params(params: &ParamsString) -> Option<Self> {
        (params.iter().count() == 3).then_some(Self {
            memory_kib: params.get_decimal("m")?,
            passes: params.get_decimal("t")?,
            lanes: params.get_decimal("p")?,
        })
    }
}

/// 1 MiB, one pass: 0.4 ms of one core. More would buy nothing: of 92.9 random bits a thief of the
/// database, who has the tags and their key, still has to guess 77, which no cost puts further out of
/// reach, while every log-in would pay for it.
impl Default for Cost {
    fn default() -> Self {
        Self {
            memory_kib: 1_024,
            passes: 1,
            lanes: 1,
        }
    }
}

impl FromStr for Cost {
    type Err = CostError;

    fn from_str(text: &str) -> Result<Self, CostError> {
        let cost = text
            .parse()
            .ok()
            .and_then(|params| Self::from_params(&params))
            .ok_or_else(|| CostError::Form(text.to_owned()))?;
        if cost.lanes != 1 {
            return Err(CostError::Lanes(cost.lanes));
        }
        if !(8..=MAX_MEMORY_KIB).contains(&cost.memory_kib) {
            return Err(CostError::Memory(cost.memory_kib));
        }
        if !(1..=MAX_PASSES).contains(&cost.passes) {
            return Err(CostError::Passes(cost.passes));
        }
        Ok(cost)
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "m={},t={},p={}",
            self.memory_kib, self.passes, self.lanes
        )
    }
}

impl Arena {
    /// Overwrites what the last hashes left. About 0.05 ms for each MiB.
    pub fn wipe(&mut self) {
        self.0.iter_mut().for_each(Zeroize::zeroize);
    }

    /// At least `blocks` blocks of 1 KiB.
    fn blocks(&mut self, blocks: usize) -> Result<&mut [argon2::Block], Error> {
        if self.0.len() < blocks {
            // Given back before more is taken: moving would leave an unwiped copy behind.
            self.give_back();
            self.0
                .try_reserve_exact(blocks)
                .map_err(|_| Error::Memory)?;
            self.0.resize(blocks, argon2::Block::new());
        }
        Ok(&mut self.0)
    }

    fn give_back(&mut self) {
        self.wipe();
        self.0 = Vec::new();
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.wipe();
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Arena({} KiB)", self.0.len())
    }
}

/// All that a hash depends on beside the password.
struct Recipe {
    cost: Cost,
    salt: Vec<u8>,
}

impl Recipe {
    /// The recipe and the hash of a stored string.
    fn parse(phc: &str) -> Result<(Self, Vec<u8>), Error> {
        let undecodable = Error::Undecodable;
        let parsed = PasswordHash::new(phc).map_err(|_| undecodable("it is no PHC string"))?;
        if parsed.algorithm.as_str() != Algorithm::Argon2id.as_str() {
            return Err(undecodable("the algorithm is not argon2id"));
        }
        if parsed.version != Some(u32::from(Version::V0x13)) {
            return Err(undecodable("the version is not 19"));
        }
        let cost = Cost::from_params(&parsed.params)
            .filter(|cost| cost.is_bearable())
            .ok_or(undecodable("its cost is out of bounds"))?;
        // The parser has seen to it that a salt has 8 to 48 bytes.
        let salt = parsed.salt.ok_or(undecodable("there is no salt"))?;
        let hash = parsed.hash.ok_or(undecodable("there is no hash"))?;
        if !(MIN_OUTPUT..=MAX_OUTPUT).contains(&hash.len()) {
            return Err(undecodable("the length of the hash"));
        }
        let salt = salt.to_vec();
        Ok((Self { cost, salt }, hash.as_bytes().to_vec()))
    }

    fn run(&self, password: &[u8], output: &mut [u8], arena: &mut Arena) -> Result<(), Error> {
        if !self.cost.is_bearable() {
            return Err(Error::Undecodable("its cost is out of bounds"));
        }
        let Cost {
            memory_kib,
            passes,
            lanes,
        } = self.cost;
        let failed = |_| Error::Undecodable("argon2 refuses its parameters");
        let params = Params::new(memory_kib, passes, lanes, Some(output.len())).map_err(failed)?;
        let blocks = arena.blocks(params.block_count())?;
        let result = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(password, &self.salt, output, blocks);
        if arena.0.len() > KEPT_BLOCKS {
            arena.give_back();
        }
        result.map_err(failed)
    }

    fn phc(&self, output: &[u8]) -> Result<String, Error> {
        let failed = Error::Undecodable("it cannot be written");
        let parts = || {
            Some(PasswordHash {
                algorithm: Algorithm::Argon2id.ident(),
                version: Some(u32::from(Version::V0x13)),
                params: self.cost.to_string().parse().ok()?,
                salt: Some(self.salt.as_slice().try_into().ok()?),
                hash: Some(output.try_into().ok()?),
            })
        };
        parts().map(|phc| phc.to_string()).ok_or(failed)
    }
}

/// Most memory that a stored string may ask for: 256 MiB, so that a damaged row cannot stop the host.
const MAX_MEMORY_KIB: u32 = 262_144;

/// Most passes that a stored string may ask for; with the most memory about 2 s of one core.
const MAX_PASSES: u32 = 10;

/// Bytes of a new salt: RFC 9106, section 3.1, recommends 16.
const SALT: usize = 16;

/// Bytes of a new hash: 128 bits, which RFC 9106, section 4, calls sufficient for most applications,
/// and here more than the 77 bits that are left to guess. Twice as many would make each row 21 bytes
/// longer, beyond the 250 bytes that a device password may take. A stored one may have 16 to 64.
const OUTPUT: usize = 16;
const MIN_OUTPUT: usize = 16;
const MAX_OUTPUT: usize = 64;

/// An arena that grew beyond 32 MiB for one unusual row is given back after it.
const KEPT_BLOCKS: usize = 32_768;

#[cfg(test)]
mod tests {
    use argon2::{AssociatedData, ParamsBuilder};
    use proptest::prelude::*;

    use super::*;

    const CHEAP: Cost = Cost {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };

    #[test]
    fn argon2id_gives_the_answer_of_rfc_9106() {
        // RFC 9106, section 5.3.
        let params = ParamsBuilder::new()
            .m_cost(32)
            .t_cost(3)
            .p_cost(4)
            .data(AssociatedData::new(&[4; 12]).unwrap())
            .build()
            .unwrap();
        let mut arena = Arena::default();
        let blocks = arena.blocks(params.block_count()).unwrap();
        let mut tag = [0; 32];
        Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params)
            .unwrap()
            .hash_password_into_with_memory(&[1; 32], &[2; 16], &mut tag, blocks)
            .unwrap();
        assert_eq!(
            tag,
            [
                0x0d, 0x64, 0x0d, 0xf5, 0x8d, 0x78, 0x76, 0x6c, 0x08, 0xc0, 0x37, 0xa3, 0x4a, 0x8b,
                0x53, 0xc9, 0xd0, 0x1e, 0xf0, 0x45, 0x2d, 0x75, 0xb6, 0x5e, 0xb5, 0x25, 0x20, 0xe9,
                0x6b, 0x01, 0xe6, 0x59,
            ]
        );
    }

    #[test]
    fn strings_of_the_reference_implementation_are_verified() {
        // phc-winner-argon2, src/test.c.
        let mut arena = Arena::default();
        for phc in [
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
        ] {
            let proof = verify_bytes(b"password", phc, &mut arena).unwrap();
            assert_eq!(proof.unwrap().phc(), phc);
            assert!(check(phc).is_ok());
            assert_eq!(verify_bytes(b"passwore", phc, &mut arena).unwrap(), None);
        }
        assert_eq!(
            arena.0.len(),
            256,
            "64 MiB are not kept for one unusual row"
        );
    }

    #[test]
    fn a_password_matches_its_own_hash_only_and_no_two_hashes_are_equal() {
        let mut arena = Arena::default();
        let (one, other) = (Password::generate().unwrap(), Password::generate().unwrap());
        let phc = hash(&one, Cost::default(), &mut arena).unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=1024,t=1,p=1$"), "{phc}");
        assert_ne!(hash(&one, Cost::default(), &mut arena).unwrap(), phc);
        assert!(verify(&one, &phc, &mut arena).unwrap().is_some());
        assert!(verify(&other, &phc, &mut arena).unwrap().is_none());
    }

    #[test]
    fn a_string_beyond_the_caps_is_undecodable_and_takes_no_memory() {
        let (salt, hash) = ("c29tZXNhbHQ", "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4");
        let long = "A".repeat(87);
        for phc in [
            "",
            "$",
            "x",
            "{SSHA}nf65EOgLrQMR",
            &format!("$argon2i$v=19$m=256,t=2,p=1${salt}${hash}"),
            &format!("$argon2d$v=19$m=256,t=2,p=1${salt}${hash}"),
            &format!("$pbkdf2-sha256$i=1000,l=32${salt}${hash}"),
            &format!("$argon2id$v=16$m=256,t=2,p=1${salt}${hash}"),
            &format!("$argon2id$m=256,t=2,p=1${salt}${hash}"),
            &format!("$argon2id$v=19${salt}${hash}"),
            &format!("$argon2id$v=19$m=4294967296,t=1,p=1${salt}${hash}"),
            &format!("$argon2id$v=19$m=4294967295,t=1,p=1${salt}${hash}"),
            &format!("$argon2id$v=19$m=262145,t=1,p=1${salt}${hash}"),
            &format!("$argon2id$v=19$m=7,t=1,p=1${salt}${hash}"),
            &format!("$argon2id$v=19$m=15,t=1,p=2${salt}${hash}"),
            &format!("$argon2id$v=19$m=262144,t=1,p=4294967295${salt}${hash}"),
            &format!("$argon2id$v=19$m=256,t=1000000,p=1${salt}${hash}"),
            &format!("$argon2id$v=19$m=256,t=11,p=1${salt}${hash}"),
            &format!("$argon2id$v=19$m=256,t=0,p=1${salt}${hash}"),
            &format!("$argon2id$v=19$m=256,t=2,p=0${salt}${hash}"),
            &format!("$argon2id$v=19$t=2,p=1${salt}${hash}"),
            &format!("$argon2id$v=19$m=256,m=256,t=2,p=1${salt}${hash}"),
            &format!("$argon2id$v=19$m=256,t=2,p=1,data=AAAA${salt}${hash}"),
            &format!("$argon2id$v=19$m=256,t=2,p=1$${hash}"),
            &format!("$argon2id$v=19$m=256,t=2,p=1$c29tZQ${hash}"),
            &format!("$argon2id$v=19$m=256,t=2,p=1${salt}$"),
            &format!("$argon2id$v=19$m=256,t=2,p=1${salt}"),
            &format!("$argon2id$v=19$m=256,t=2,p=1${salt}$nf65EOgLrQMRAAAAAAAA"),
            &format!("$argon2id$v=19$m=256,t=2,p=1${salt}${long}"),
            &format!("$argon2id$v=19$m=256,t=2,p=1${salt}${hash}$"),
        ] {
            let mut arena = Arena::default();
            let result = verify_bytes(b"password", phc, &mut arena);
            assert!(
                matches!(result, Err(Error::Undecodable(_))),
                "{phc:?}: {result:?}"
            );
            assert_eq!(arena.0.capacity(), 0, "{phc:?}");
            assert!(check(phc).is_err(), "{phc:?}");
        }
    }

    #[test]
    fn missing_memory_is_an_error() {
        let mut arena = Arena::default();
        let result = arena.blocks(usize::MAX / 2_048);
        assert!(matches!(result, Err(Error::Memory)));
    }

    #[test]
    fn a_wiped_arena_holds_zeros_and_serves_the_next_hash() {
        let mut arena = Arena::default();
        let password = Password::generate().unwrap();
        let phc = hash(&password, CHEAP, &mut arena).unwrap();
        let is_zero = |block: &argon2::Block| block.as_ref().iter().all(|word| *word == 0);
        assert!(!arena.0.iter().all(is_zero));
        arena.wipe();
        assert_eq!(arena.0.len(), 8);
        assert!(arena.0.iter().all(is_zero));
        assert!(verify(&password, &phc, &mut arena).unwrap().is_some());
    }

    #[test]
    fn costs_are_read_as_they_are_written() {
        assert_eq!(Cost::default().to_string(), "m=1024,t=1,p=1");
        assert_eq!("m=1024,t=1,p=1".parse(), Ok(Cost::default()));
        for text in ["m=8,t=1,p=1", "m=262144,t=10,p=1"] {
            assert_eq!(text.parse::<Cost>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_cost_against_the_rule_is_refused_for_the_right_reason() {
        for (text, error) in [
            ("m=7,t=1,p=1", CostError::Memory(7)),
            ("m=262145,t=1,p=1", CostError::Memory(262_145)),
            ("m=1024,t=0,p=1", CostError::Passes(0)),
            ("m=1024,t=11,p=1", CostError::Passes(11)),
            ("m=1024,t=1,p=0", CostError::Lanes(0)),
            ("m=1024,t=1,p=2", CostError::Lanes(2)),
        ] {
            assert_eq!(text.parse::<Cost>(), Err(error), "{text:?}");
        }
        for text in [
            "",
            "1024",
            "m=1024",
            "m=1024,t=1,p=1,x=1",
            "m=1 M,t=1,p=1",
            "m=-1,t=1,p=1",
        ] {
            let error = text.parse::<Cost>().unwrap_err();
            assert_eq!(error, CostError::Form(text.to_owned()), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic_or_match(text in r"\$argon2id\$v=19\$[ -~é]{0,80}") {
            let matched = verify_bytes(b"password", &text, &mut Arena::default());
            prop_assert!(!matches!(matched, Ok(Some(_))));
        }
    }
}
