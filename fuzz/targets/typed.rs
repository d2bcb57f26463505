//! A device password as people type it: one canonical form, and nothing else is one.

use dovelatch::password::generate::Password;
use dovelatch::secret::Secret;

use crate::random::Random;
use crate::signature::Signature;
use crate::target::Target;

pub const TARGET: Target = Target {
    name: "typed-password",
    run,
    piece,
    words: &[
        b"kqtm-whzr-nbfa-yxcd-peug",
        b"-",
        b" ",
        b"1",
        b"l",
        b"|",
        b"0",
        b"O",
        b"\xc4\xb1",
        b"\0",
    ],
    longest: 100,
    is_script: false,
    short: 200_000,
};

fn run(input: &[u8], seen: &mut Signature) {
    let found = Password::from_typed(&Secret::new(input.to_vec()));
    let expected = reference(input);
    assert_eq!(
        found.as_ref().map(Password::canonical),
        expected.as_deref(),
        "not as read by hand"
    );
    if let Some(password) = found {
        let shown = password.shown();
        assert_eq!(shown.expose().len(), 24, "five groups of four");
        assert_eq!(
            Password::from_typed(&shown),
            Some(password),
            "what is shown is accepted"
        );
    }
    seen.note((expected.is_some(), input.len().min(66)));
}

/// Without dashes and blanks, in lower case, with what looks alike as the one letter that there is.
fn reference(typed: &[u8]) -> Option<Vec<u8>> {
    if typed.len() > 64 {
        return None;
    }
    let mut letters = Vec::new();
    for byte in typed {
        match byte {
            b'-' | b' ' => {}
            b'1' | b'l' | b'L' | b'|' => letters.push(b'i'),
            b'0' => letters.push(b'o'),
            letter if letter.is_ascii_alphabetic() => letters.push(letter.to_ascii_lowercase()),
            _ => return None,
        }
    }
    (letters.len() == 20).then_some(letters)
}

fn piece(random: &mut Random) -> Vec<u8> {
    let letters = 18 + random.below(4);
    let mut typed = Vec::new();
    for at in 0..letters {
        typed.push(random.pick(b"abcdefghijkmnopqrstuvwxyzABYZ01lL|"));
        if at % 4 == 3 && !random.one_in(4) {
            typed.push(random.pick(b"- "));
        }
    }
    typed
}
