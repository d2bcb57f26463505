//! PHC strings without the letters that all of them share, and without base64: on the disk they are
//! most of what a device password costs, and so it costs 31 bytes less.
//!
//! Form 2, all that there is: a byte 2, lanes, passes, memory in KiB (four bytes, the highest first),
//! the length of the salt, the salt, the hash, and four bytes of SHA-256 over all that. Only what comes back
//! letter by letter is ever packed.
//!
//! The last four are there for disks that give back something else than was written: a hash with one bit
//! flipped would make the right password a wrong one.

use data_encoding::BASE64_NOPAD;
use sha2::{Digest as _, Sha256};

const FORM: u8 = 2;

/// Bytes of the check: one damage in four thousand million goes unnoticed.
const CHECK: usize = 4;

const HEAD: &str = "$argon2id$v=19$m=";

/// The packed form. `None` for a string that has none: it is stored as it is.
pub fn pack(phc: &str) -> Option<Vec<u8>> {
    let (cost, rest) = phc.strip_prefix(HEAD)?.split_once('$')?;
    let (salt, hash) = rest.split_once('$')?;
    let (memory_kib, cost) = cost.split_once(",t=")?;
    let (passes, lanes) = cost.split_once(",p=")?;
    let salt = BASE64_NOPAD.decode(salt.as_bytes()).ok()?;
    let hash = BASE64_NOPAD.decode(hash.as_bytes()).ok()?;
    let mut packed = vec![FORM, lanes.parse().ok()?, passes.parse().ok()?];
    packed.extend(memory_kib.parse::<u32>().ok()?.to_be_bytes());
    packed.push(u8::try_from(salt.len()).ok()?);
    packed.extend(salt);
    packed.extend(hash);
    packed.extend(check(&packed)?);
    (unpack(&packed)? == phc).then_some(packed)
}

/// The string that was packed. `None`: nothing that [`pack`] makes.
pub fn unpack(packed: &[u8]) -> Option<String> {
    let (packed, found) = packed.split_last_chunk()?;
    if check(packed)? != *found {
        return None;
    }
    let (&[FORM, lanes, passes, a, b, c, d, salt_length], rest) = packed.split_first_chunk()?
    else {
        return None;
    };
    let memory_kib = u32::from_be_bytes([a, b, c, d]);
    let (salt, hash) = rest.split_at_checked(usize::from(salt_length))?;
    let (salt, hash) = (BASE64_NOPAD.encode(salt), BASE64_NOPAD.encode(hash));
    Some(format!(
        "{HEAD}{memory_kib},t={passes},p={lanes}${salt}${hash}"
    ))
}

/// Never `None`: SHA-256 has more bytes.
fn check(packed: &[u8]) -> Option<[u8; CHECK]> {
    Sha256::digest(packed).first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::password::generate::Password;
    use crate::password::phc::{self, Arena, Cost};

    #[test]
    fn a_real_one_comes_back_and_is_much_shorter() {
        let cost = Cost {
            memory_kib: 1_024,
            passes: 1,
            lanes: 1,
        };
        let password = Password::generate().unwrap();
        let phc = phc::hash(&password, cost, &mut Arena::default()).unwrap();
        let packed = pack(&phc).unwrap();
        assert_eq!((phc.len(), packed.len()), (75, 44));
        assert_eq!(unpack(&packed), Some(phc));
    }

    #[test]
    fn what_would_not_come_back_is_not_packed() {
        for phc in [
            "",
            "$argon2id$",
            "$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHQ$c29tZXNhbHQ",
            "$argon2id$v=19$m=08,t=1,p=1$c29tZXNhbHQ$c29tZXNhbHQ",
            "$argon2id$v=19$m=8,t=1,p=256$c29tZXNhbHQ$c29tZXNhbHQ",
            "$argon2id$v=19$t=1,m=8,p=1$c29tZXNhbHQ$c29tZXNhbHQ",
            "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHR$c29tZXNhbHQ",
            "$2y$10$abcdefghijklmnopqrstuu",
        ] {
            assert_eq!(pack(phc), None, "{phc:?}");
        }
    }

    #[test]
    fn one_byte_that_is_another_is_noticed() {
        let packed = pack("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$c29tZXNhbHQ").unwrap();
        for index in 0..packed.len() {
            for flip in 1..=u8::MAX {
                let mut damaged = packed.clone();
                damaged[index] ^= flip;
                assert_eq!(unpack(&damaged), None, "{index} {flip}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_unpacked_or_refused(bytes: Vec<u8>) {
            if let Some(phc) = unpack(&bytes) {
                prop_assert_eq!(pack(&phc), Some(bytes));
            }
        }

        #[test]
        fn any_string_that_is_packed_comes_back(
            phc in r"\$argon2id\$v=19\$m=[0-9]{1,10},t=[0-9]{1,3},p=[0-9]{1,3}\$[A-Za-z0-9+/]{0,24}\$[A-Za-z0-9+/]{0,44}"
        ) {
            if let Some(packed) = pack(&phc) {
                prop_assert_eq!(unpack(&packed), Some(phc));
            }
        }
    }
}
