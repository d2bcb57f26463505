//! New device passwords: alphabet, canonical form, entropy.
//!
//! A device password is twenty letters of [`ALPHABET`], each drawn evenly from 25: 25^20, or 92.9
//! bits. Nobody chooses one, so nothing here measures strength. People see it in five groups of four
//! (24 characters, because some devices stop there) and type it on phones, so it is read forgivingly.

use crate::model::ALPHABET;
use crate::random;
use crate::secret::Secret;

/// Letters of a device password. With 25 of them to choose from: 92.9 bits.
pub const LETTERS: usize = 20;

/// Letters of a group, as shown.
const GROUP: usize = 4;

/// Longest text looked at, in bytes: the shown form is 24, the rest is room for blanks. Whatever is
/// longer is refused unread, so that a long password costs nothing.
const MAX_TYPED: usize = 64;

/// A device password in canonical form: twenty letters of the alphabet, whatever case, dashes and
/// blanks it was typed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Password(Secret);

impl Password {
    /// A new one, from the operating system's generator.
    ///
    /// # Errors
    ///
    /// As [`random::bytes`].
    pub fn generate() -> Result<Self, random::Error> {
        let letters: [u8; LETTERS] = random::letters(ALPHABET)?;
        Ok(Self(Secret::new(letters.to_vec())))
    }

    /// What was typed, in canonical form; `None` if it cannot be a device password.
    ///
    /// Case, dashes and blanks do not matter. `1`, `l` and `|` are read as `i`, `0` as `o`: the
    /// alphabet has no `l`, so none of them can mean anything else.
    pub fn from_typed(typed: &Secret) -> Option<Self> {
        if typed.expose().len() > MAX_TYPED {
            return None;
        }
        // Its final size from the start: a growing buffer would leave copies of the password behind.
        let mut letters = Vec::with_capacity(LETTERS);
        let complete = typed
            .expose()
            .iter()
            .filter(|byte| !matches!(byte, b'-' | b' '))
            .try_for_each(|byte| {
                let letter = canonical_letter(*byte).filter(|_| letters.len() < LETTERS)?;
                letters.push(letter);
                Some(())
            });
        let letters = Secret::new(letters);
        complete?;
        (letters.expose().len() == LETTERS).then_some(Self(letters))
    }

    /// The twenty letters.
    pub fn canonical(&self) -> &[u8] {
        self.0.expose()
    }

    /// Five groups of four, as shown to people: `kqtm-whzr-nbfa-yxcd-peug`.
    pub fn shown(&self) -> Secret {
        let mut shown = Vec::with_capacity(LETTERS + LETTERS / GROUP);
        for group in self.canonical().chunks(GROUP) {
            if !shown.is_empty() {
                shown.push(b'-');
            }
            shown.extend_from_slice(group);
        }
        Secret::new(shown)
    }
}

/// The letter that a typed byte stands for.
fn canonical_letter(typed: u8) -> Option<u8> {
    let letter = match typed.to_ascii_lowercase() {
        b'1' | b'l' | b'|' => b'i',
        b'0' => b'o',
        other => other,
    };
    ALPHABET.contains(&letter).then_some(letter)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn typed(text: &str) -> Option<Vec<u8>> {
        Password::from_typed(&Secret::new(text.as_bytes().to_vec()))
            .map(|password| password.canonical().to_vec())
    }

    #[test]
    fn a_password_has_more_than_92_bits() {
        let bits = 25_f64.log2() * 20.0;
        assert_eq!((ALPHABET.len(), LETTERS), (25, 20));
        assert!((92.8..93.0).contains(&bits), "{bits}");
    }

    #[test]
    fn a_hundred_thousand_are_issued_without_a_repeat() {
        let issued: HashSet<Vec<u8>> = (0..100_000)
            .map(|_| Password::generate().unwrap().canonical().to_vec())
            .collect();
        assert_eq!(issued.len(), 100_000);
    }

    #[test]
    fn what_is_shown_is_accepted_and_has_24_characters() {
        for _ in 0..1_000 {
            let password = Password::generate().unwrap();
            let shown = password.shown();
            assert_eq!(shown.expose().len(), 24);
            assert_eq!(Password::from_typed(&shown), Some(password));
        }
    }

    #[test]
    fn case_dashes_blanks_and_look_alikes_do_not_matter() {
        let letters = Some(b"iiiiookqtmwhzrnbfayx".to_vec());
        for text in [
            "iiiiookqtmwhzrnbfayx",
            "iiii-ookq-tmwh-zrnb-fayx",
            "1lL|-0okq-TMWH-zrnb-fayx",
            "  I i 1 l  O0kqtmwh--zrnbfayx ",
        ] {
            assert_eq!(typed(text), letters, "{text:?}");
        }
    }

    #[test]
    fn anything_else_is_no_device_password() {
        for text in [
            "",
            "iiiiookqtmwhzrnbfay",
            "iiiiookqtmwhzrnbfayxx",
            "iiii_ookq_tmwh_zrnb_fayx",
            "iiiiookqtmwhzrnbfay2",
            "iiiiookqtmwhzrnbfay\0",
            "iiiiookqtmwhzrnbfayx\n",
            "iiiiookqtmwhzrnbfay\u{fd}",
        ] {
            assert_eq!(typed(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_long_text_is_refused_even_if_it_is_all_blanks_but_twenty() {
        let letters = "iiiiookqtmwhzrnbfayx";
        let fits = " ".repeat(MAX_TYPED - letters.len()) + letters;
        assert!(typed(&fits).is_some());
        assert!(typed(&format!(" {fits}")).is_none());
    }

    proptest! {
        #[test]
        fn a_canonical_form_is_twenty_letters_of_the_alphabet(text: Vec<u8>) {
            if let Some(password) = Password::from_typed(&Secret::new(text)) {
                prop_assert_eq!(password.canonical().len(), LETTERS);
                prop_assert!(password.canonical().iter().all(|b| ALPHABET.contains(b)));
            }
        }
    }
}
