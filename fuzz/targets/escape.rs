//! Tab-escaping: total, as Dovecot does it, and undone by its inverse.

use dovelatch::wire::escape::{escaped, field};

use crate::random::Random;
use crate::signature::Signature;
use crate::target::Target;

pub const TARGET: Target = Target {
    name: "escape",
    run,
    piece,
    words: &[
        b"\x010",
        b"\x011",
        b"\x01t",
        b"\x01r",
        b"\x01n",
        b"\x01",
        b"\x01\t",
        b"\t",
        b"\x01\x01",
        b"\x01\x80",
        b"\n",
    ],
    longest: 256,
    is_script: false,
    short: 40_000,
};

fn run(input: &[u8], seen: &mut Signature) {
    let (rest, decoded) = field(input).expect("a field never fails");
    let (plain, length) = reference(input);
    assert_eq!(decoded.expose(), plain, "decoded");
    assert_eq!(rest, &input[length..], "the rest");
    assert!(rest.is_empty() || rest[0] == b'\t', "a field ends at a TAB");
    assert!(plain.len() <= length, "decoding never makes it longer");

    let wire: Vec<u8> = escaped(input).flatten().copied().collect();
    assert!(
        !wire.iter().any(|byte| b"\0\t\r\n".contains(byte)),
        "it stays in its cell"
    );
    let (rest, again) = field(&wire).expect("a field never fails");
    assert!(
        rest.is_empty() && again.expose() == input,
        "any bytes survive the wire"
    );
    // Not for any wire: an escape that is none decodes too. But once decoded it is stable.
    let wire: Vec<u8> = escaped(&plain).flatten().copied().collect();
    assert_eq!(
        field(&wire).expect("a field never fails").1.expose(),
        plain,
        "decoded twice"
    );

    seen.count("length", length);
    seen.note((plain.len() == length, rest.is_empty()));
    for pair in input.windows(2).filter(|pair| pair[0] == 1) {
        seen.note((pair[1], "escaped"));
    }
    seen.note((input.last() == Some(&1), "lone"));
}

/// By hand, from Dovecot's rule: after `^A` come `0`, `1`, `t`, `r`, `n`; any other byte is itself; one that is
/// the last is dropped.
pub fn reference(line: &[u8]) -> (Vec<u8>, usize) {
    let mut plain = Vec::new();
    let mut at = 0;
    while let Some(&byte) = line.get(at) {
        match (byte, line.get(at + 1)) {
            (b'\t', _) => break,
            (1, None | Some(b'\t')) => at += 1,
            (1, Some(&escape)) => {
                plain.push(match escape {
                    b'0' => 0,
                    b'1' => 1,
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'n' => b'\n',
                    other => other,
                });
                at += 2;
            }
            (byte, _) => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    (plain, at)
}

fn piece(random: &mut Random) -> Vec<u8> {
    let mut piece: Vec<u8> = (0..random.below(20)).map(|_| random.byte()).collect();
    piece.extend(random.pick(TARGET.words));
    piece
}
