//! Base64, PLAIN and LOGIN: what a remote user talks to.

use dovelatch::model::Mechanism;
use dovelatch::sasl::{Credentials, Exchange, Step, base64, plain};
use dovelatch::secret::Secret;

use crate::random::Random;
use crate::script;
use crate::signature::Signature;
use crate::target::Target;

pub const BASE64: Target = Target {
    name: "base64",
    run: base64,
    piece: encoded,
    words: &[
        b"=", b"==", b"AA==", b"AAA=", b"AAAA", b"AB==", b"/+==", b"-_==", b"\n", b"\r\n", b" ",
    ],
    longest: 256,
    is_script: false,
    short: 100_000,
};

pub const PLAIN: Target = Target {
    name: "plain",
    run: plain_message,
    piece: |random| {
        let parts = [
            "",
            "bob",
            "bob@example.org",
            "pässwörd",
            "\u{0}",
            "kqtm-whzr-nbfa-yxcd-peug",
        ];
        let parts: Vec<&str> = (0..random.below(5)).map(|_| random.pick(&parts)).collect();
        parts.join("\0").into_bytes()
    },
    words: &[b"\0", b"\0\0", b"bob", b"\xff", b"\n"],
    longest: 256,
    is_script: false,
    short: 100_000,
};

pub const LOGIN: Target = Target {
    name: "login",
    run: login,
    piece: |random| {
        let texts = [
            "",
            "bob",
            "b\tob",
            "bob@example.org",
            "pw",
            "\u{85}",
            "\u{ff}",
            "bob\0pw",
        ];
        format!("{} {}", random.pick(&["i", ">", "-"]), random.pick(&texts)).into_bytes()
    },
    words: &[b"> ", b"i ", b"-", b"\0", b"\n", b"\t", b"\x7f", b"\x80"],
    longest: 128,
    is_script: true,
    short: 100_000,
};

/// Strict: whatever decodes is the one text that encodes to it, save for one LF at its end.
fn base64(input: &[u8], seen: &mut Signature) {
    let back = base64::decode(&base64::encode(&Secret::new(input.to_vec())));
    assert_eq!(
        back.expect("it was encoded").expose(),
        input,
        "any bytes survive it"
    );
    let decoded = base64::decode(&Secret::new(input.to_vec()));
    let text = input.strip_suffix(b"\n").unwrap_or(input);
    assert_eq!(
        decoded.as_ref().map(Secret::expose),
        reference(text).as_deref(),
        "not as by hand"
    );
    if let Some(decoded) = &decoded {
        assert_eq!(
            base64::encode(decoded).expose(),
            text,
            "two texts for the same bytes"
        );
    }
    seen.note((decoded.is_some(), input.len() % 4, text.len() < input.len()));
    seen.count("signs", input.iter().filter(|&&byte| byte == b'=').count());
    seen.count("length", input.len());
}

/// RFC 4648, section 4, by hand: groups of four, padding in the last one only, no bits behind the end.
fn reference(text: &[u8]) -> Option<Vec<u8>> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let body = text
        .strip_suffix(b"==")
        .or_else(|| text.strip_suffix(b"="))
        .unwrap_or(text);
    if text.len() % 4 != 0 {
        return None;
    }
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for letter in body {
        let value = LETTERS.iter().position(|known| known == letter)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held).to_le_bytes()[0]);
            bits &= (1 << held) - 1;
        }
    }
    (bits == 0 && held < 6).then_some(bytes)
}

fn plain_message(input: &[u8], seen: &mut Signature) {
    let message = Secret::new(input.to_vec());
    let nuls: Vec<usize> = (0..input.len()).filter(|&at| input[at] == 0).collect();
    let expected = match nuls[..] {
        [first, second] => Step::Credentials(Credentials {
            authorization: input[..first].to_vec(),
            authentication: input[first + 1..second].to_vec(),
            password: Secret::new(input[second + 1..].to_vec()),
        }),
        _ => Step::Malformed,
    };
    let (_, at_once) = Exchange::start(Mechanism::Plain, Some(&message));
    assert_eq!(at_once, expected, "as an initial response");
    let (mut exchange, step) = Exchange::start(Mechanism::Plain, None);
    assert_eq!(step, Step::Challenge(""), "an absent message is asked for");
    assert_eq!(exchange.respond(&message), expected, "as a response");
    assert_eq!(exchange.authentication(), None);
    if let (Ok(name), [at, ..]) = (std::str::from_utf8(input), &nuls[..]) {
        let (name, password) = (&name[..*at], &input[at + 1..]);
        let password = Secret::new(password.iter().copied().filter(|&byte| byte != 0).collect());
        let (_, step) = Exchange::start(
            Mechanism::Plain,
            Some(&plain::client_message(name, &password)),
        );
        let Step::Credentials(said) = step else {
            panic!("our own message is none");
        };
        assert!(said.authorization.is_empty() && said.authentication == name.as_bytes());
        assert_eq!(said.password, password);
    }
    seen.count("nuls", nuls.len());
    let empty = |part: &[u8]| part.is_empty();
    seen.note(
        input
            .split(|&byte| byte == 0)
            .map(empty)
            .take(4)
            .collect::<Vec<_>>(),
    );
}

/// Events: `i TEXT` the initial response (only as the first event), `-` none, `> TEXT` a response.
fn login(input: &[u8], seen: &mut Signature) {
    let mut events = script::events(input).peekable();
    let initial = events
        .next_if(|(sign, _)| *sign == b'i')
        .map(|(_, text)| Secret::new(text.to_vec()));
    let (mut exchange, step) = Exchange::start(Mechanism::Login, initial.as_ref());
    let mut stage = Stage::Name;
    let expected = match initial.filter(|name| !name.is_empty()) {
        None => Step::Challenge("Username:"),
        Some(name) => stage.respond(name.expose()),
    };
    assert_eq!(step, expected, "the first step");
    for (_, text) in events.filter(|(sign, _)| *sign == b'>') {
        let expected = stage.respond(text);
        seen.step((text.is_empty(), std::mem::discriminant(&expected)));
        assert_eq!(
            exchange.respond(&Secret::new(text.to_vec())),
            expected,
            "a step"
        );
        let name = match &stage {
            Stage::Password(name) => Some(name.as_slice()),
            Stage::Name | Stage::Over => None,
        };
        assert_eq!(exchange.authentication(), name, "whose it is");
    }
}

enum Stage {
    Name,
    Password(Vec<u8>),
    Over,
}

impl Stage {
    fn respond(&mut self, text: &[u8]) -> Step {
        match std::mem::replace(self, Self::Over) {
            Self::Name
                if text.is_empty() || text.iter().any(|byte| *byte < 0x20 || *byte == 0x7f) =>
            {
                Step::Malformed
            }
            Self::Name => {
                *self = Self::Password(text.to_vec());
                Step::Challenge("Password:")
            }
            Self::Password(name) => Step::Credentials(Credentials {
                authorization: Vec::new(),
                authentication: name,
                password: Secret::new(text.to_vec()),
            }),
            Self::Over => Step::Malformed,
        }
    }
}

fn encoded(random: &mut Random) -> Vec<u8> {
    let bytes = (0..random.below(24)).map(|_| random.byte()).collect();
    base64::encode(&Secret::new(bytes)).expose().to_vec()
}
