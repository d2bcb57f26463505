//! Who asks, and by which mechanism, as the peers say it.

use std::fmt;
use std::str::FromStr;

use super::ClientText;

/// The service that a log-in is for, as sent by the peer in `service=` or `protocol=`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Service {
    Imap,
    Pop3,
    /// Postfix says `smtp`, Dovecot's submission service `submission`.
    Smtp,
    /// Dovecot says `sieve`; `managesieve` is its service's name.
    Sieve,
    /// `doveadm`, `xmpp`, `radicale`, …: no limit can name it, so it passes only where there is none.
    Other(ClientText),
}

impl Service {
    /// Reads the word of the wire. Never fails: an unknown word is a service of its own.
    pub fn from_wire(word: &[u8]) -> Self {
        match word {
            b"imap" => Self::Imap,
            b"pop3" => Self::Pop3,
            b"smtp" | b"submission" => Self::Smtp,
            b"sieve" | b"managesieve" => Self::Sieve,
            other => Self::Other(ClientText::new(other)),
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Imap => f.write_str("imap"),
            Self::Pop3 => f.write_str("pop3"),
            Self::Smtp => f.write_str("smtp"),
            Self::Sieve => f.write_str("sieve"),
            Self::Other(text) => text.escaped().fmt(f),
        }
    }
}

/// A set of the four services that limits can name. Stored as their bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Services(u8);

impl Services {
    const ALL: [(u8, &'static str); 4] = [(1, "imap"), (2, "pop3"), (4, "smtp"), (8, "sieve")];

    /// From the stored bits. `None` if none or an unknown one is set: an undecodable row.
    pub fn from_bits(bits: u8) -> Option<Self> {
        (1..=15).contains(&bits).then_some(Self(bits))
    }

    pub fn bits(self) -> u8 {
        self.0
    }

    pub fn contains(self, service: &Service) -> bool {
        let bit = match service {
            Service::Imap => 1,
            Service::Pop3 => 2,
            Service::Smtp => 4,
            Service::Sieve => 8,
            Service::Other(_) => 0,
        };
        self.0 & bit != 0
    }

    /// The names in it, in the order in which they are always shown.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::ALL
            .into_iter()
            .filter(move |(bit, _)| self.0 & bit != 0)
            .map(|(_, name)| name)
    }
}

/// Why a text is no set of services.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of imap, pop3, smtp, sieve")]
pub struct ServicesError(String);

/// Names between commas, in any order.
impl FromStr for Services {
    type Err = ServicesError;

    fn from_str(text: &str) -> Result<Self, ServicesError> {
        let bit = |name: &str| {
            let name = match name.trim() {
                // Dovecot's words for them.
                "submission" => "smtp",
                "managesieve" => "sieve",
                name => name,
            };
            let known = Self::ALL.into_iter().find(|(_, known)| *known == name);
            known.map_or_else(|| Err(ServicesError(name.to_owned())), |(bit, _)| Ok(bit))
        };
        let mut bits = text.split(',').map(bit);
        let bits = bits.try_fold(0, |bits, bit| Ok(bits | bit?))?;
        Ok(Self(bits))
    }
}

/// A SASL mechanism that we speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// draft-murchison-sasl-login: two prompts.
    Login,
}

impl Mechanism {
    pub const ALL: [Self; 2] = [Self::Plain, Self::Login];

    /// As MECH lines must spell it: upper case (Dovecot's clients repeat it and compare with case).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
        }
    }

    /// In any case: Postfix sends what its SMTP client typed.
    pub fn from_wire(word: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|m| m.as_str().as_bytes().eq_ignore_ascii_case(word))
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dovecots_own_words_are_the_four_services() {
        assert_eq!(Service::from_wire(b"submission"), Service::Smtp);
        assert_eq!(Service::from_wire(b"managesieve"), Service::Sieve);
        assert_eq!(Service::from_wire(b"doveadm").to_string(), "doveadm");
    }

    #[test]
    fn a_service_that_no_limit_can_name_is_in_no_set() {
        let all = Services::from_bits(15).unwrap();
        assert!(all.contains(&Service::Imap) && all.contains(&Service::Sieve));
        assert!(!all.contains(&Service::from_wire(b"xmpp")));
        assert_eq!(Services::from_bits(0), None);
        assert_eq!(Services::from_bits(16), None);
    }

    #[test]
    fn services_are_read_in_any_order_and_nothing_else_is() {
        let services: Services = "smtp, imap,smtp".parse().unwrap();
        assert_eq!(services.names().collect::<Vec<_>>(), ["imap", "smtp"]);
        let dovecots: Services = "submission,managesieve".parse().unwrap();
        assert_eq!(dovecots.names().collect::<Vec<_>>(), ["smtp", "sieve"]);
        for text in ["", "imap,", "IMAP", "submissions", "imap smtp"] {
            assert!(text.parse::<Services>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn mechanisms_are_known_in_any_case() {
        assert_eq!(Mechanism::from_wire(b"plain"), Some(Mechanism::Plain));
        assert_eq!(Mechanism::from_wire(b"Login"), Some(Mechanism::Login));
        assert_eq!(Mechanism::from_wire(b"PLAIN-PLUS"), None);
    }
}
