//! Tab-escaping, both ways: how a field of the Dovecot protocols may hold any byte.

use nom::branch::alt;
use nom::bytes::complete::{is_not, tag, take_while_m_n};
use nom::combinator::value;
use nom::multi::fold_many0;
use nom::sequence::preceded;
use nom::{IResult, Parser};

use crate::secret::{Buffer, Secret};

/// Reads one field, up to the next TAB or the end of `line`, undoing the escapes.
///
/// Never fails: any byte after `^A` but the five letters stands for itself, and a lone `^A` at the
/// end of a field is dropped, both as Dovecot does (`lib/strescape.c`). To refuse the line instead
/// would be worse: login processes pass an initial response of the remote user on as it came, so a
/// remote `^A` could close the connection that carries everybody's log-ins.
///
/// # Errors
///
/// None: it is a [`Result`] because parsers are.
pub fn field(line: &[u8]) -> IResult<&[u8], Secret> {
    let escape = preceded(
        tag("\x01"),
        alt((
            value(&b"\0"[..], tag("0")),
            value(&b"\x01"[..], tag("1")),
            value(&b"\t"[..], tag("t")),
            value(&b"\r"[..], tag("r")),
            value(&b"\n"[..], tag("n")),
            // A TAB ends the field first, even here. (nom 8's `none_of` would panic on bytes from 0x80
            // on: it takes their length for that of a character.)
            take_while_m_n(1, 1, |byte| byte != b'\t'),
        )),
    );
    let lone = value(&b""[..], tag("\x01"));
    let length = line.iter().take_while(|&&byte| byte != b'\t').count();
    fold_many0(
        alt((is_not("\x01\t"), escape, lone)),
        || Buffer::with_capacity(length),
        |mut field, part: &[u8]| {
            field.extend(part);
            field
        },
    )
    .map(Buffer::into_secret)
    .parse(line)
}

/// The pieces of which one field consists on the wire. The inverse of [`field`].
pub fn escaped(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    field.iter().map(|byte| match byte {
        b'\0' => &b"\x010"[..],
        b'\x01' => b"\x011",
        b'\t' => b"\x01t",
        b'\r' => b"\x01r",
        b'\n' => b"\x01n",
        _ => std::slice::from_ref(byte),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(line: &[u8]) -> (&[u8], Vec<u8>) {
        let (rest, field) = field(line).unwrap();
        (rest, field.expose().to_vec())
    }

    #[test]
    fn escapes_are_undone_as_dovecot_does_it() {
        for (wire, rest, plain) in [
            (
                &b"a\x010b\x011c\x01td\x01re\x01n"[..],
                &b""[..],
                &b"a\0b\x01c\td\re\n"[..],
            ),
            (b"a\x01zb", b"", b"azb"),
            (b"a\x01\x80b", b"", b"a\x80b"),
            (b"a\x01", b"", b"a"),
            (b"a\x01\tb", b"\tb", b"a"),
            (b"\tb", b"\tb", b""),
            (b"", b"", b""),
            (b"\xff\x00", b"", b"\xff\x00"),
        ] {
            assert_eq!(decoded(wire), (rest, plain.to_vec()), "{wire:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_survive_the_wire(original: Vec<u8>) {
            let wire: Vec<u8> = escaped(&original).flatten().copied().collect();
            prop_assert!(
                !wire.iter().any(|byte| b"\0\t\r\n".contains(byte)),
                "a field must stay in its cell"
            );
            prop_assert_eq!(decoded(&wire), (&b""[..], original));
        }

        #[test]
        fn any_bytes_are_a_field_up_to_the_next_tab(line: Vec<u8>) {
            let rest = decoded(&line).0;
            prop_assert!(rest.is_empty() || rest.starts_with(b"\t"));
        }
    }
}
