//! The one source of randomness: the operating system's generator.
//!
//! Passwords, salts, device ids, cookies and the database's identity all come from here, so that one
//! look shows that none of them comes from anything weaker. Others drew theirs from JavaScript's
//! `Math.random` (mailcow's web interface, PostfixAdmin), which a few outputs make predictable.

/// The operating system gave no random bytes. Nothing may go on with weaker ones.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct Error(#[source] getrandom::Error);

/// `N` random bytes.
///
/// # Errors
///
/// [`Error`] if the operating system's generator fails; there is no second one.
pub fn bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(Error)?;
    Ok(bytes)
}

/// `N` letters of `alphabet`, each as likely as any other.
///
/// Bytes beyond the largest multiple of the alphabet's length are drawn again, so there is no modulo
/// bias. An alphabet has 1 to 256 letters; one of another length does not compile.
///
/// # Errors
///
/// As [`bytes`].
pub fn letters<const N: usize, const L: usize>(alphabet: &[u8; L]) -> Result<[u8; N], Error> {
    const { assert!(L >= 1 && L <= 256) };
    let fair = 256 - 256 % L;
    let mut letters = [0; N];
    let mut missing = letters.iter_mut();
    loop {
        for byte in bytes::<64>()?.map(usize::from) {
            if byte >= fair {
                continue;
            }
            let Some(letter) = missing.next() else {
                return Ok(letters);
            };
            if let Some(drawn) = alphabet.get(byte % L) {
                *letter = *drawn;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_of_the_alphabet_is_equally_likely() {
        // 250,000 draws of 25 letters: 10,000 each expected. χ² with 24 degrees of freedom stays
        // below 73 but for one run in 10^6.
        let alphabet = b"abcdefghijkmnopqrstuvwxyz";
        let mut counts = [0_f64; 256];
        for _ in 0..2_500 {
            for letter in letters::<100, 25>(alphabet).unwrap() {
                counts[usize::from(letter)] += 1.0;
            }
        }
        let square = |letter: &u8| (counts[usize::from(*letter)] - 10_000.0).powi(2) / 10_000.0;
        let chi_squared: f64 = alphabet.iter().map(square).sum();
        assert!(chi_squared < 73.0, "χ² = {chi_squared}");
        assert_eq!(
            counts.iter().sum::<f64>(),
            250_000.0,
            "a letter outside the alphabet"
        );
    }

    #[test]
    fn two_draws_differ() {
        assert_ne!(bytes::<16>().unwrap(), bytes::<16>().unwrap());
    }
}
