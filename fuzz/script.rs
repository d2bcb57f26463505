//! Scripts: inputs of one event a line, so that people can read and write them.
//!
//! An event is a letter or sign, and what belongs to it behind a blank. Any bytes are a script: what is no
//! event is passed over.

use std::str::FromStr;

/// The sign and the rest of each line.
pub fn events(input: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let lines = input.split(|&byte| byte == b'\n');
    lines.filter_map(|line| {
        let (&sign, rest) = line.split_first()?;
        Some((sign, rest.strip_prefix(b" ").unwrap_or(rest)))
    })
}

/// The number at the beginning of a text, and what is behind it and its blank; 0 where there is none.
pub fn number<N: FromStr + Default>(text: &[u8]) -> (N, &[u8]) {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(length);
    let number = std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok());
    (
        number.unwrap_or_default(),
        rest.strip_prefix(b" ").unwrap_or(rest),
    )
}
