//! Limits of a device password, as they are typed and as they are said.

use std::str::FromStr;

use super::error::Error;
use super::span::{Days, Span};
use crate::model::{Limits, Networks, Services, Timestamp};

/// Limits on the command line. What is not named stays as it is; a new device password has none.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct Wanted {
    /// Only these services: imap,pop3,smtp,sieve; or all
    #[arg(long, value_name = "LIST", value_parser = all_or::<Services>)]
    services: Option<Limit<Services>>,
    /// Only from these networks: 192.0.2.0/24,2001:db8::1; or all
    #[arg(long, value_name = "LIST", value_parser = all_or::<Networks>)]
    networks: Option<Limit<Networks>>,
    /// Last day, UTC: 2027-01-31; or for how long: 90d, 24h; or never
    #[arg(long, value_name = "WHEN", value_parser = never_or::<Expires>)]
    expires: Option<Limit<Expires>>,
    /// Ends when nobody used it for so many days: 60d; or never
    #[arg(long, value_name = "DAYS", value_parser = never_or::<Days>)]
    expires_unused: Option<Limit<Days>>,
}

impl Wanted {
    pub(crate) fn is_empty(&self) -> bool {
        self.services.is_none()
            && self.networks.is_none()
            && self.expires.is_none()
            && self.expires_unused.is_none()
    }

    /// The limits of a new device password.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] for a day that is over: nobody wants a password that never works.
    pub(crate) fn of_new(&self, now: Timestamp) -> Result<Limits, Error> {
        let limits = self.applied(Limits::default(), now);
        let Some(end) = limits.expires.filter(|end| *end <= now) else {
            return Ok(limits);
        };
        Err(Error::Value {
            value: end.as_end_of_day().unwrap_or_else(|| end.to_string()),
            argument: "--expires WHEN".to_owned(),
            cause: "that day is over".to_owned(),
        })
    }

    /// `limits` with what was typed in place of what was there.
    pub(crate) fn applied(&self, limits: Limits, now: Timestamp) -> Limits {
        fn or<T: Clone>(wanted: Option<&Limit<T>>, old: Option<T>) -> Option<T> {
            wanted.map_or(old, |limit| limit.0.clone())
        }
        let expires = self.expires.as_ref().map(|limit| limit.at(now));
        let unused = self.expires_unused.as_ref().map(Limit::days);
        Limits {
            services: or(self.services.as_ref(), limits.services),
            networks: or(self.networks.as_ref(), limits.networks),
            expires: expires.unwrap_or(limits.expires),
            expires_unused_days: unused.unwrap_or(limits.expires_unused_days),
        }
    }
}

/// One limit; none inside lifts it.
#[derive(Debug, Clone)]
struct Limit<T>(Option<T>);

#[derive(Debug, Clone, Copy)]
enum Expires {
    /// From this time on.
    At(Timestamp),
    /// So long from now.
    In(Span),
}

impl Limit<Expires> {
    fn at(&self, now: Timestamp) -> Option<Timestamp> {
        self.0.map(|expires| match expires {
            Expires::At(time) => time,
            Expires::In(span) => now.plus(span.duration()),
        })
    }
}

impl Limit<Days> {
    fn days(&self) -> Option<u32> {
        self.0.map(Days::number)
    }
}

/// A limit, or `all` of them.
fn all_or<T: FromStr>(text: &str) -> Result<Limit<T>, T::Err> {
    unless("all", text)
}

/// A limit, or `never`.
fn never_or<T: FromStr>(text: &str) -> Result<Limit<T>, T::Err> {
    unless("never", text)
}

fn unless<T: FromStr>(lifted: &str, text: &str) -> Result<Limit<T>, T::Err> {
    if text == lifted {
        return Ok(Limit(None));
    }
    text.parse().map(|limit| Limit(Some(limit)))
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write a day like 2027-01-31, a length of time like 90d or 24h, or never")]
struct ExpiresError;

impl FromStr for Expires {
    type Err = ExpiresError;

    fn from_str(text: &str) -> Result<Self, ExpiresError> {
        if let Some(end) = Timestamp::after_day(text) {
            return Ok(Self::At(end));
        }
        text.parse().map(Self::In).map_err(|_| ExpiresError)
    }
}

/// `every service, from everywhere, until revoked`: what a device password opens, in words.
pub(crate) fn opens(limits: &Limits) -> String {
    let services = limits.services.map_or("every service".to_owned(), |set| {
        listed(&set.names().collect::<Vec<_>>())
    });
    let networks =
        (limits.networks.as_ref()).map_or("everywhere".to_owned(), |networks| networks.to_string());
    let unused = limits.expires_unused_days.map(|days| {
        let s = if days == 1 { "" } else { "s" };
        format!("{days} day{s} unused")
    });
    let end = match (limits.expires, unused) {
        (None, None) => "until revoked".to_owned(),
        (Some(end), None) => through(end),
        (None, Some(unused)) => format!("until {unused}"),
        (Some(end), Some(unused)) => format!("{} or {unused}", through(end)),
    };
    format!("{services}, from {networks}, {end}")
}

/// `through 2027-01-31`, or `until 2026-11-25 14:03 UTC`.
fn through(end: Timestamp) -> String {
    match end.as_end_of_day() {
        Some(day) => format!("through {day}"),
        None => format!("until {end} UTC"),
    }
}

/// `imap, pop3 and smtp`
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [name] => (*name).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(1_795_615_380 + seconds)
    }

    fn wanted(words: &str) -> Wanted {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            wanted: Wanted,
        }
        let words = std::iter::once("add").chain(words.split_whitespace());
        Line::try_parse_from(words).unwrap().wanted
    }

    #[test]
    fn limits_are_said_in_words() {
        let said = |wanted: Wanted| opens(&wanted.applied(Limits::default(), at(0)));
        assert_eq!(
            said(wanted("")),
            "every service, from everywhere, until revoked"
        );
        assert_eq!(
            said(wanted("--services smtp --networks 192.0.2.7 --expires 24h")),
            "smtp, from 192.0.2.7/32, until 2026-11-26 14:03 UTC"
        );
        assert_eq!(
            said(wanted(
                "--services sieve,imap,pop3 --expires 2027-01-31 --expires-unused 60d"
            )),
            "imap, pop3 and sieve, from everywhere, through 2027-01-31 or 60 days unused"
        );
    }

    #[test]
    fn what_is_not_named_stays_and_what_is_lifted_goes() {
        let all = wanted("--services imap --networks ::1 --expires 1d --expires-unused 1d");
        let limits = all.applied(Limits::default(), at(0));
        let none = wanted("");
        assert!(none.is_empty() && !all.is_empty());
        assert_eq!(none.applied(limits.clone(), at(9)), limits);
        let lifted = wanted("--services all --networks all --expires never --expires-unused never");
        assert_eq!(lifted.applied(limits, at(9)), Limits::default());
    }

    #[test]
    fn a_new_device_password_cannot_have_expired() {
        assert!(wanted("--expires 2026-11-24").of_new(at(0)).is_err());
        let today = wanted("--expires 2026-11-25").of_new(at(0));
        assert_eq!(today.unwrap().expires, Timestamp::after_day("2026-11-25"));
    }
}
