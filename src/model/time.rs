//! Points in time, to the second, as they are stored and as people read them.

use std::fmt;
use std::time::Duration;

/// Seconds of a day; our time knows no leap seconds, as Unix time.
const DAY: i64 = 24 * 60 * 60;

/// Seconds since 1970-01-01 UTC. Wall-clock time for expiry and records; time-outs use
/// `std::time::Instant` instead, which no clock change moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const fn from_unix(seconds: i64) -> Self {
        Self(seconds)
    }

    pub const fn as_unix(self) -> i64 {
        self.0
    }

    /// The first second after the day `text`, written like `2027-01-31`, in UTC. `None` if it is no day.
    pub fn after_day(text: &str) -> Option<Self> {
        // jiff would read more: a time after the day, a shorter form, years of six digits.
        let is_day = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let day: jiff::civil::Date = text.parse().ok().filter(|_| is_day)?;
        let next = day
            .tomorrow()
            .ok()?
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()?;
        Some(Self(next.timestamp().as_second()))
    }

    /// The day that this is the end of, where [`Self::after_day`] made it.
    pub fn as_end_of_day(self) -> Option<String> {
        let last = jiff::Timestamp::from_second(self.0.checked_sub(1)?).ok()?;
        (self.0.rem_euclid(DAY) == 0).then(|| last.strftime("%Y-%m-%d").to_string())
    }

    /// The time `span` later, without overflow.
    pub fn plus(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(span.as_secs()).unwrap_or(i64::MAX)),
        )
    }

    /// The time `span` earlier, without overflow.
    pub fn minus(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(span.as_secs()).unwrap_or(i64::MAX)),
        )
    }
}

/// `2026-11-25 14:03` in UTC, for people; RFC 3339 with `{:#}`, for programs.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(time) = jiff::Timestamp::from_second(self.0) else {
            return write!(f, "@{}", self.0);
        };
        if f.alternate() {
            return write!(f, "{time}");
        }
        f.pad(&time.strftime("%Y-%m-%d %H:%M").to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_for_people_and_for_programs() {
        let time = Timestamp::from_unix(1_795_615_380);
        assert_eq!(time.to_string(), "2026-11-25 14:03");
        assert_eq!(format!("{time:#}"), "2026-11-25T14:03:00Z");
        assert_eq!(
            Timestamp::from_unix(i64::MAX).to_string(),
            "@9223372036854775807"
        );
    }

    #[test]
    fn a_day_lasts_until_its_end() {
        let end = Timestamp::after_day("2027-01-31").unwrap();
        assert_eq!(format!("{end:#}"), "2027-02-01T00:00:00Z");
        assert_eq!(end.as_end_of_day().as_deref(), Some("2027-01-31"));
        assert_eq!(end.plus(Duration::from_secs(1)).as_end_of_day(), None);
        for text in [
            "",
            "2027-02-29",
            "2027-1-31",
            "20270131",
            "2027-01-31 12:00",
            "9999-12-31",
        ] {
            assert_eq!(Timestamp::after_day(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_far_future_does_not_overflow() {
        let end = Timestamp::from_unix(i64::MAX);
        assert_eq!(end.plus(Duration::from_secs(1)), end);
        let start = Timestamp::from_unix(i64::MIN);
        assert_eq!(start.minus(Duration::MAX), start);
        assert_eq!(
            end.minus(Duration::from_secs(1))
                .plus(Duration::from_secs(1)),
            end
        );
    }
}
