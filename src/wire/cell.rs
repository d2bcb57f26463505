//! What the lines of both protocols are made of: a word, then cells, each behind a TAB.

use nom::bytes::complete::tag;
use nom::character::complete::digit1;
use nom::combinator::{all_consuming, map_opt};
use nom::sequence::preceded;
use nom::{IResult, Parser};

/// An unsigned decimal of 32 bits, without sign.
pub(super) fn number(line: &[u8]) -> IResult<&[u8], u32> {
    map_opt(digit1, |digits| {
        std::str::from_utf8(digits).ok()?.parse().ok()
    })
    .parse(line)
}

/// What stands behind a TAB.
pub(super) fn cell<'a, O, P>(
    parser: P,
) -> impl Parser<&'a [u8], Output = O, Error = nom::error::Error<&'a [u8]>>
where
    P: Parser<&'a [u8], Output = O, Error = nom::error::Error<&'a [u8]>>,
{
    preceded(tag("\t"), parser)
}

/// The value of a parser that has to read all of `line`.
pub(super) fn whole<'a, O, P>(parser: P, line: &'a [u8]) -> Option<O>
where
    P: Parser<&'a [u8], Output = O, Error = nom::error::Error<&'a [u8]>>,
{
    all_consuming(parser)
        .parse(line)
        .ok()
        .map(|(_, value)| value)
}

/// The first word of a line, and the rest from the TAB on.
pub(super) fn word(line: &[u8]) -> (&[u8], &[u8]) {
    line.split_at(line.iter().take_while(|&&byte| byte != b'\t').count())
}
