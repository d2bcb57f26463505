//! Lengths of time as they are typed: `90d`, `24h`.

use std::str::FromStr;
use std::time::Duration;

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;

/// Longest in days: a century. More is a slip of the finger, or means `never`.
const MAX_DAYS: u64 = 36_500;

/// At least an hour, at most [`MAX_DAYS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(Duration);

/// Days alone, where nothing shorter is kept: `60d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Days(u32);

/// Why a text is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SpanError {
    #[error("a length of time is written like 90d or 24h")]
    Form,
    #[error("a number of days is written like 60d")]
    DaysForm,
    #[error("it must be more than nothing, and {MAX_DAYS}d at most")]
    Range,
}

impl Span {
    pub(crate) fn duration(self) -> Duration {
        self.0
    }
}

impl Days {
    pub(crate) fn number(self) -> u32 {
        self.0
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let (number, unit) = if let Some(number) = text.strip_suffix('d') {
            (number, DAY)
        } else {
            (text.strip_suffix('h').ok_or(SpanError::Form)?, HOUR)
        };
        let number = digits(number).ok_or(SpanError::Form)?;
        let seconds = number.checked_mul(unit).ok_or(SpanError::Range)?;
        if !(1..=MAX_DAYS * DAY).contains(&seconds) {
            return Err(SpanError::Range);
        }
        Ok(Self(Duration::from_secs(seconds)))
    }
}

impl FromStr for Days {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let number = text.strip_suffix('d').and_then(digits);
        let number = number.ok_or(SpanError::DaysForm)?;
        match u32::try_from(number) {
            Ok(days) if (1..=MAX_DAYS).contains(&number) => Ok(Self(days)),
            Ok(_) | Err(_) => Err(SpanError::Range),
        }
    }
}

/// Digits and nothing else: `parse` alone would take a sign.
fn digits(text: &str) -> Option<u64> {
    let all_digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| all_digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_hours_are_read() {
        let seconds = |text: &str| text.parse().map(|span: Span| span.duration().as_secs());
        assert_eq!(seconds("90d"), Ok(90 * 86_400));
        assert_eq!(seconds("24h"), Ok(86_400));
        assert_eq!("60d".parse(), Ok(Days(60)));
    }

    #[test]
    fn anything_else_is_refused_for_the_right_reason() {
        for text in ["", "d", "90", "1w", "+1d", "1.5d", "-1h", "1 d", "never"] {
            assert_eq!(text.parse::<Span>(), Err(SpanError::Form), "{text:?}");
        }
        for text in ["0h", "0d", "36501d", "18446744073709551615d"] {
            assert_eq!(text.parse::<Span>(), Err(SpanError::Range), "{text:?}");
        }
        assert_eq!("24h".parse::<Days>(), Err(SpanError::DaysForm));
        assert_eq!("4294967296d".parse::<Days>(), Err(SpanError::Range));
    }
}
