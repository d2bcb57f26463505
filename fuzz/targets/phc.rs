//! PHC strings, as they stand in the database: what a damaged or hostile row may ask for is capped.

use dovelatch::password::generate::Password;
use dovelatch::password::phc::{self, Arena, Cost};
use dovelatch::secret::Secret;

use crate::random::Random;
use crate::signature::Signature;
use crate::target::Target;

pub const TARGET: Target = Target {
    name: "phc",
    run,
    piece,
    words: &[
        b"$argon2id$",
        b"$argon2i$",
        b"$argon2d$",
        b"$v=19$",
        b"$v=16$",
        b"m=8,t=1,p=1",
        b"m=262144",
        b"t=10",
        b"p=32768",
        b",",
        b"=",
        b"$",
        b"m=",
        b"t=",
        b"p=",
        b"keyid=",
        b"data=",
        b"c2FsdHNhbHQ",
        KNOWN.as_bytes(),
    ],
    longest: 300,
    is_script: false,
    short: 60_000,
};

/// Of [`TYPED`], made with `phc::hash`.
const KNOWN: &str = "$argon2id$v=19$m=8,t=1,p=1$y6NfiJw9dcb4Ki18LLdpKw$B0CeNcZlpMXrIE+Si2e5lA";
const TYPED: &str = "kqtm-whzr-nbfa-yxcd-peug";

/// Blocks of 1 KiB, times passes, up to which a hash is computed: some microseconds.
const CHEAP: u32 = 16;

fn run(input: &[u8], seen: &mut Signature) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let password = Password::from_typed(&Secret::new(TYPED.into())).expect("a password");
    let mut arena = Arena::default();
    match phc::check(text) {
        Ok(()) => {
            let cost = reference(text).expect("accepted, and not what may be stored");
            seen.count("memory", usize::try_from(cost.memory_kib).unwrap());
            seen.note(("passes", cost.passes, cost.lanes.checked_ilog2()));
            if cost.memory_kib * cost.passes <= CHEAP {
                let found = phc::verify(&password, text, &mut arena).expect("it was checked");
                assert_eq!(
                    found.is_some(),
                    text == KNOWN,
                    "another password than was hashed"
                );
                assert!(
                    found.is_none_or(|found| found.phc() == text),
                    "a proof is of its own string"
                );
                assert!(
                    kib(&arena) <= cost.memory_kib,
                    "more memory than it asks for: {arena:?}"
                );
            }
        }
        Err(error) => {
            seen.note(error.to_string());
            let refused = phc::verify(&password, text, &mut arena).expect_err("it was refused");
            assert_eq!(refused.to_string(), error.to_string());
            assert_eq!(kib(&arena), 0, "memory for what is refused");
        }
    }
    let cost: Result<Cost, _> = text.parse();
    match cost {
        Ok(cost) => {
            assert_eq!(
                cost.to_string().parse().as_ref(),
                Ok(&cost),
                "a cost survives being written"
            );
            assert!((8..=262_144).contains(&cost.memory_kib), "{cost:?}");
            assert!(
                (1..=10).contains(&cost.passes) && cost.lanes == 1,
                "{cost:?}"
            );
            seen.count(
                "cost",
                usize::try_from(cost.memory_kib * cost.passes).unwrap(),
            );
            if cost.memory_kib * cost.passes <= CHEAP {
                let made = phc::hash(&password, cost, &mut arena).expect("it is a cost");
                let again = reference(&made).expect("made by us, and no string of ours");
                assert_eq!(again, cost, "with another cost");
                let found = phc::verify(&password, &made, &mut arena).expect("made by us");
                assert!(found.is_some(), "its own password does not match {made}");
            }
        }
        Err(error) => seen.note(std::mem::discriminant(&error)),
    }
}

/// `$argon2id$v=19$m=…,t=…,p=…$salt$hash` by hand, with all that is capped. `None`: it must be refused.
fn reference(text: &str) -> Option<Cost> {
    let parts: Vec<&str> = text.split('$').collect();
    let ["", "argon2id", "v=19", params, salt, hash] = parts[..] else {
        return None;
    };
    let parameter = |key: &str| -> Option<u32> {
        let mut values = params
            .split(',')
            .filter_map(|one| one.strip_prefix(key)?.strip_prefix('='));
        let value = values.next()?.parse().ok();
        value.filter(|_| values.next().is_none())
    };
    let cost = Cost {
        memory_kib: parameter("m")?,
        passes: parameter("t")?,
        lanes: parameter("p")?,
    };
    let bytes = |letters: &str| letters.len() * 3 / 4;
    let bearable = cost.lanes >= 1
        && u64::from(cost.memory_kib) >= 8 * u64::from(cost.lanes)
        && cost.memory_kib <= 262_144
        && (1..=10).contains(&cost.passes)
        && params.split(',').count() == 3
        && (8..=48).contains(&bytes(salt))
        && (16..=64).contains(&bytes(hash));
    bearable.then_some(cost)
}

/// How much it holds, as it says itself.
fn kib(arena: &Arena) -> u32 {
    let said = format!("{arena:?}");
    let number = said.trim_start_matches("Arena(").trim_end_matches(" KiB)");
    number.parse().expect("a number of KiB")
}

fn piece(random: &mut Random) -> Vec<u8> {
    let pick = |random: &mut Random, from: &[&str]| (random.pick(from)).to_owned();
    let m = pick(
        random,
        &["7", "8", "9", "16", "1024", "262144", "262145", "08"],
    );
    let t = pick(random, &["0", "1", "2", "10", "11"]);
    let p = pick(random, &["0", "1", "1", "1", "2", "32768", "16777216"]);
    let cost = format!("m={m},t={t},p={p}");
    if random.one_in(4) {
        return cost.into_bytes();
    }
    let base64 = |random: &mut Random, lengths: &[usize]| -> String {
        let length = random.pick(lengths);
        (0..length)
            .map(|_| char::from(random.pick(b"ABCDwxyz0189+/")))
            .chain(['A'])
            .collect()
    };
    let salt = base64(random, &[1, 10, 21, 62, 63, 64]);
    let hash = base64(random, &[1, 14, 20, 21, 42, 84, 85, 86]);
    format!("$argon2id$v=19${cost}${salt}${hash}").into_bytes()
}
