//! One userdb field: its name, and a value with the name of the mailbox in it.

use std::fmt;
use std::str::FromStr;

use super::super::Mailbox;
use super::super::name::MAX_NAME;

/// Longest name of a field in bytes; the longest of Dovecot's own have about 40.
const MAX_FIELD_NAME: usize = 64;

/// Longest value in bytes, also when the longest name is filled in.
pub(super) const MAX_VALUE: usize = 1_024;

/// Field names that are dovelatch's to say, or that decide who somebody is, what they may do, or to where
/// they are passed on: fields of Dovecot's passdb and of its auth protocol. A database may have every other
/// one in it, so a longer list needs a migration.
const RESERVED: &[&str] = &[
    "admin",
    "allow_nets",
    "allow_real_nets",
    "anonymous",
    "auth_mech",
    "auth_token",
    "auth_user",
    "code",
    "delay_until",
    "destuser",
    "event_access",
    "event_device",
    "fail",
    "host",
    "hostip",
    "local_name",
    "login_user",
    "master",
    "master_user",
    "noauthenticate",
    "nodelay",
    "nologin",
    "nopassword",
    "original_user",
    "pass",
    "password",
    "port",
    "reason",
    "starttls",
    "temp",
    "user",
];

/// As [`RESERVED`], whatever follows.
const RESERVED_PREFIXES: &[&str] = &["forward_", "passdb_", "proxy", "user_", "userdb_"];

/// What the name or the value of a userdb field cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    #[error("a field's name has 1 to 64 of a-z 0-9 _ - . / and begins with a letter")]
    Name,
    #[error("this field cannot be set: it says who somebody is, or how they log in")]
    Reserved,
    #[error("a field is written name=value")]
    NoValue,
    #[error("a value has no control characters")]
    Value,
    #[error("only %{{user}}, %{{local}} and %{{domain}} can stand in a value")]
    Variable,
    #[error("a value has at most 1024 bytes, with the longest name filled in")]
    TooLong,
    #[error("uid and gid are numbers, and uid is not 0")]
    Number,
    #[error("a home is an absolute path")]
    Home,
    #[error("a field is named twice")]
    Twice,
    #[error("at most 64 fields, and 2560 bytes of them, with the longest name filled in")]
    TooMany,
}

/// The name of a userdb field: that of a Dovecot setting, or `home` and the like. None that decides who
/// somebody is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldName(String);

impl FieldName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FieldName {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-./".contains(&byte)
        };
        if text.len() > MAX_FIELD_NAME
            || !text.starts_with(|first: char| first.is_ascii_lowercase())
            || !text.bytes().all(allowed)
        {
            return Err(FieldError::Name);
        }
        if RESERVED.contains(&text)
            || (RESERVED_PREFIXES.iter()).any(|prefix| text.starts_with(prefix))
        {
            return Err(FieldError::Reserved);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A value in which `%{user}`, `%{local}` and `%{domain}` stand for the mailbox's name and its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(String);

/// A part of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    User,
    Local,
    Domain,
}

impl Template {
    /// With the parts of a name in their places. The domain of a bare name is empty; its local part is
    /// the whole.
    pub fn fill(&self, mailbox: &Mailbox) -> String {
        let user = mailbox.as_str();
        let (local, domain) = user.split_once('@').unwrap_or((user, ""));
        (pieces(&self.0).flatten())
            .map(|piece| match piece {
                Piece::Text(text) => text,
                Piece::User => user,
                Piece::Local => local,
                Piece::Domain => domain,
            })
            .collect()
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is an absolute path, whatever is filled in.
    pub fn is_absolute(&self) -> bool {
        self.0.starts_with('/')
    }

    /// As a user or group of the system. 4294967295 means "unchanged" to chown(2), so it is nobody's.
    pub(super) fn number(&self) -> Option<u32> {
        let digits = self.0.bytes().all(|byte| byte.is_ascii_digit());
        (self.0.parse().ok()).filter(|&number| digits && number != u32::MAX)
    }

    /// Most bytes that it can become.
    pub(super) fn largest(&self) -> usize {
        largest(pieces(&self.0).flatten())
    }
}

fn largest<'a>(pieces: impl Iterator<Item = Piece<'a>>) -> usize {
    pieces
        .map(|piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::User | Piece::Local | Piece::Domain => MAX_NAME,
        })
        .sum()
}

/// A template from left to right; an unknown variable is an error, and the end. A `%` without a brace is
/// text.
fn pieces(text: &str) -> impl Iterator<Item = Result<Piece<'_>, FieldError>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, behind) = match rest.find("%{") {
            _ if rest.is_empty() => return None,
            Some(0) => {
                let known = [
                    ("%{user}", Piece::User),
                    ("%{local}", Piece::Local),
                    ("%{domain}", Piece::Domain),
                ];
                let found = known
                    .into_iter()
                    .find_map(|(word, piece)| Some((piece, rest.strip_prefix(word)?)));
                match found {
                    Some(found) => found,
                    None => {
                        rest = "";
                        return Some(Err(FieldError::Variable));
                    }
                }
            }
            Some(at) => {
                let (text, behind) = rest.split_at(at);
                (Piece::Text(text), behind)
            }
            None => (Piece::Text(rest), ""),
        };
        rest = behind;
        Some(Ok(piece))
    })
}

impl FromStr for Template {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        if text.chars().any(char::is_control) {
            return Err(FieldError::Value);
        }
        let pieces = pieces(text).collect::<Result<Vec<_>, _>>()?;
        if text.len() > MAX_VALUE || largest(pieces.into_iter()) > MAX_VALUE {
            return Err(FieldError::TooLong);
        }
        Ok(Self(text.to_owned()))
    }
}

/// A field as it is written: `name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub name: FieldName,
    pub value: Template,
}

impl FromStr for Field {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let (name, value) = text.split_once('=').ok_or(FieldError::NoValue)?;
        let (name, value) = (name.parse()?, value.parse()?);
        check(&name, &value)?;
        Ok(Self { name, value })
    }
}

/// What must hold of the values of some names: Dovecot refuses everything else, when somebody logs in.
pub(super) fn check(name: &FieldName, value: &Template) -> Result<(), FieldError> {
    match name.as_str() {
        "uid" if value.number().is_none_or(|uid| uid == 0) => Err(FieldError::Number),
        "gid" if value.number().is_none() => Err(FieldError::Number),
        "home" if !value.is_absolute() => Err(FieldError::Home),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mailbox(name: &str) -> Mailbox {
        name.parse().unwrap()
    }

    #[test]
    fn a_name_is_that_of_a_setting_and_never_one_that_says_who_somebody_is() {
        for name in [
            "home",
            "quota_rule",
            "namespace/inbox/prefix",
            "mail_path",
            "x-1.2",
        ] {
            assert_eq!(name.parse::<FieldName>().unwrap().as_str(), name);
        }
        assert!("a".repeat(64).parse::<FieldName>().is_ok());
        let long = "a".repeat(65);
        for name in [
            "", "Home", "1x", "_x", "a b", "a=b", "ä", "a\tb", "a\n", &long,
        ] {
            assert_eq!(name.parse::<FieldName>(), Err(FieldError::Name), "{name:?}");
        }
        for name in [
            "user",
            "user_device",
            "user_x",
            "auth_user",
            "master_user",
            "auth_token",
            "anonymous",
            "admin",
            "event_device",
            "proxy",
            "proxy_maybe",
            "host",
            "pass",
            "nologin",
            "userdb_user",
            "login_user",
        ] {
            assert_eq!(
                name.parse::<FieldName>(),
                Err(FieldError::Reserved),
                "{name:?}"
            );
        }
        assert!("users".parse::<FieldName>().is_ok());
    }

    #[test]
    fn the_parts_of_the_name_are_filled_in_and_everything_else_stays() {
        let template: Template = "%{local}/%{domain}/%{user}, 100% %u %".parse().unwrap();
        assert_eq!(
            template.fill(&mailbox("ana@example.org")),
            "ana/example.org/ana@example.org, 100% %u %"
        );
        assert_eq!(template.fill(&mailbox("ana")), "ana//ana, 100% %u %");
        assert_eq!("".parse::<Template>().unwrap().fill(&mailbox("ana")), "");
    }

    #[test]
    fn another_variable_or_a_control_character_is_refused() {
        for text in [
            "%{home}",
            "%{user",
            "x%{",
            "%{user}%{User}",
            "%{user|upper}",
            "%%{}",
        ] {
            assert_eq!(
                text.parse::<Template>(),
                Err(FieldError::Variable),
                "{text:?}"
            );
        }
        for text in ["a\tb", "\0", "a\nb", "a\u{1}", "\u{85}"] {
            assert_eq!(text.parse::<Template>(), Err(FieldError::Value), "{text:?}");
        }
    }

    #[test]
    fn a_value_is_bounded_as_written_and_as_filled_in() {
        assert!("x".repeat(1_024).parse::<Template>().is_ok());
        assert_eq!(
            "x".repeat(1_025).parse::<Template>(),
            Err(FieldError::TooLong)
        );
        let four: Template = "%{user}".repeat(4).parse().unwrap();
        assert_eq!(four.fill(&mailbox(&"a".repeat(254))).len(), 1_016);
        assert_eq!(
            "%{user}".repeat(5).parse::<Template>(),
            Err(FieldError::TooLong)
        );
    }

    #[test]
    fn no_name_of_a_mailbox_leads_out_of_its_home() {
        let home: Template = "/var/vmail/%{domain}/%{local}".parse().unwrap();
        for name in [
            "..@x",
            "x@..",
            "..",
            ".@x",
            "a/b@x",
            "x@a/../b",
            "%{user}@x",
            "a\\b",
        ] {
            assert!(name.parse::<Mailbox>().is_err(), "{name:?}");
        }
        for name in ["...@x", "..a@x", "-@-", "~@x", "$HOME@x"] {
            let home = home.fill(&mailbox(name));
            assert_eq!(home.matches('/').count(), 4, "{home:?}");
            assert!(
                home.split('/').all(|part| part != ".." && part != "."),
                "{home:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_is_filled_in_longer_than_the_bound(text: String, local in "[a-z]{1,100}") {
            if let Ok(template) = text.parse::<Template>() {
                let filled = template.fill(&mailbox(&format!("{local}@example.org")));
                prop_assert!(filled.len() <= template.largest());
                prop_assert!(!filled.contains(char::is_control));
            }
        }
    }
}
