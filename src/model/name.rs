//! Names of mailboxes and persons, and the one rule that both obey.

use std::fmt;
use std::str::FromStr;

/// Longest name in bytes: the longest mailbox that SMTP can carry (RFC 5321, 4.5.3.1.3, less the
/// angle brackets).
pub(super) const MAX_NAME: usize = 254;

/// Not allowed in a name. `/ \` would build paths, `%` templates, `* <` and the rest are separators
/// of the peers or of our log line; blanks and control characters are refused besides.
const FORBIDDEN: &[char] = &['/', '\\', '%', '*', ':', '<', '>', '"'];

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("the name is empty, or one of its parts is")]
    Empty,
    #[error("the name is longer than {MAX_NAME} bytes")]
    TooLong,
    #[error("{0:?} is not allowed in a name")]
    Character(char),
    #[error("there is more than one \"@\"")]
    ManyAts,
    #[error("\".\" and \"..\" are no names")]
    Dots,
}

/// The one rule: one or two parts around an "@", neither empty nor a path's dots, and nothing in them
/// that builds paths, templates or log lines. ASCII letters are folded to lower case, as Dovecot's
/// `auth_username_format` does by default; UTF-8 is kept.
fn checked(text: &str) -> Result<String, NameError> {
    if text.len() > MAX_NAME {
        return Err(NameError::TooLong);
    }
    let forbidden =
        |c: char| c.is_control() || c.is_whitespace() || is_invisible(c) || FORBIDDEN.contains(&c);
    if let Some(character) = text.chars().find(|&c| forbidden(c)) {
        return Err(NameError::Character(character));
    }
    let mut parts = 0;
    for part in text.split('@') {
        parts += 1;
        match part {
            "" => return Err(NameError::Empty),
            "." | ".." => return Err(NameError::Dots),
            _ => {}
        }
    }
    if parts > 2 {
        return Err(NameError::ManyAts);
    }
    Ok(text.to_ascii_lowercase())
}

/// Characters that change how the text around them is shown without being seen: marks of direction,
/// zero-width spaces and joiners, the byte-order mark. In a list they could make one name look like
/// another.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The account that mail belongs to, as Dovecot names it: `user@domain`, or a bare `user`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mailbox(String);

/// A human with access to mailboxes. Named by the same rule; a person whose name equals a mailbox's
/// owns that mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Person(String);

/// What is added to a log-in name without a domain (`default_domain`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain(String);

impl Mailbox {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same mailbox with `domain` added, if it has none of its own and there is one to add.
    ///
    /// # Errors
    ///
    /// [`NameError::TooLong`] if both together exceed 254 bytes.
    pub fn in_domain(self, domain: Option<&Domain>) -> Result<Self, NameError> {
        match domain {
            Some(Domain(domain)) if !self.0.contains('@') => format!("{}@{domain}", self.0).parse(),
            Some(_) | None => Ok(self),
        }
    }
}

/// What stands between mailbox and person in a log-in name: `office@example.org*bob@example.org`.
///
/// One that no name may hold, so that there is one way only to take the two apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Separator(char);

/// The separators: what no name may hold, less what has a meaning in the peers' lines or our log's.
const SEPARATORS: &[char] = &['*', '%', '/', ':', '\\'];

/// A text that is no separator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a separator is one of the characters * % / : \\, which no name may hold")]
pub struct SeparatorError;

impl Separator {
    pub fn as_char(self) -> char {
        self.0
    }

    /// Mailbox and person, as typed. `None` where it does not stand in the text exactly once.
    pub fn split(self, text: &str) -> Option<(&str, &str)> {
        let (mailbox, person) = text.split_once(self.0)?;
        (!person.contains(self.0)).then_some((mailbox, person))
    }
}

impl FromStr for Separator {
    type Err = SeparatorError;

    fn from_str(text: &str) -> Result<Self, SeparatorError> {
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(character), None) if SEPARATORS.contains(&character) => Ok(Self(character)),
            _ => Err(SeparatorError),
        }
    }
}

impl Domain {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Person {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As [`Mailbox::in_domain`]: who owns a mailbox is named as the mailbox.
    ///
    /// # Errors
    ///
    /// As [`Mailbox::in_domain`].
    pub fn in_domain(self, domain: Option<&Domain>) -> Result<Self, NameError> {
        Ok(Self(Mailbox(self.0).in_domain(domain)?.0))
    }
}

impl FromStr for Mailbox {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        checked(text).map(Self)
    }
}

impl FromStr for Person {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        checked(text).map(Self)
    }
}

impl FromStr for Domain {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.contains('@') {
            return Err(NameError::ManyAts);
        }
        checked(text).map(Self)
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascii_is_folded_and_utf8_kept() {
        assert_eq!(
            "Ana@Example.ORG".parse::<Mailbox>().unwrap().as_str(),
            "ana@example.org"
        );
        assert_eq!(
            "Ärger@example.org".parse::<Mailbox>().unwrap().as_str(),
            "Ärger@example.org"
        );
    }

    #[test]
    fn names_against_the_rule_are_refused_for_the_right_reason() {
        let long = "a".repeat(MAX_NAME + 1);
        for (text, error) in [
            ("", NameError::Empty),
            ("@example.org", NameError::Empty),
            ("ana@", NameError::Empty),
            ("a@b@c", NameError::ManyAts),
            ("..", NameError::Dots),
            ("../..@x", NameError::Character('/')),
            ("..@x", NameError::Dots),
            ("a\tb", NameError::Character('\t')),
            ("a b", NameError::Character(' ')),
            ("a\u{85}b", NameError::Character('\u{85}')),
            ("a\u{202e}b", NameError::Character('\u{202e}')),
            ("a%b", NameError::Character('%')),
            ("a*b", NameError::Character('*')),
            ("a<b", NameError::Character('<')),
            ("a\"b", NameError::Character('"')),
            (long.as_str(), NameError::TooLong),
        ] {
            assert_eq!(text.parse::<Mailbox>(), Err(error), "{text:?}");
        }
        assert!("a".repeat(MAX_NAME).parse::<Person>().is_ok());
    }

    #[test]
    fn the_default_domain_is_added_to_a_bare_name_only() {
        let domain: Domain = "example.org".parse().unwrap();
        let bare: Mailbox = "ana".parse().unwrap();
        let full: Mailbox = "ana@example.net".parse().unwrap();
        assert_eq!(
            bare.clone().in_domain(Some(&domain)).unwrap().as_str(),
            "ana@example.org"
        );
        assert_eq!(full.clone().in_domain(Some(&domain)).unwrap(), full);
        assert_eq!(bare.clone().in_domain(None).unwrap(), bare);
    }

    #[test]
    fn a_separator_is_one_that_no_name_may_hold_and_takes_a_text_apart_in_one_way() {
        for character in SEPARATORS {
            assert!(FORBIDDEN.contains(character), "{character:?}");
        }
        for text in ["", "+", "-", "@", "**", "ä", " ", "<"] {
            assert_eq!(text.parse::<Separator>(), Err(SeparatorError), "{text:?}");
        }
        let star: Separator = "*".parse().unwrap();
        assert_eq!(star.split("office*bob"), Some(("office", "bob")));
        assert_eq!(star.split("*"), Some(("", "")));
        for text in ["office", "", "office*bob*ana"] {
            assert_eq!(star.split(text), None, "{text:?}");
        }
    }
}
