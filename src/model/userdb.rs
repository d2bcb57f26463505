//! Where a mailbox's mail lives, as Dovecot's mail processes are told: the userdb.
//!
//! The configuration has one template for all mailboxes ([`Userdb`]); a mailbox may have fields of its
//! own, which come after it and win. Together they are an [`Entry`].
//!
//! A mailbox cannot leave its place by its name: neither part of a [`Mailbox`] has a `/` in it, or is `.`
//! or `..`, so `/var/vmail/%{domain}/%{local}` always lies where it says.
//!
//! Everything is bounded as it will be on the wire, with the longest name filled in, so that no entry can
//! become a line that Dovecot refuses.

use std::fmt;
use std::str::FromStr;

use super::Mailbox;
use super::name::MAX_NAME;

/// Longest name of a field in bytes; the longest of Dovecot's own have about 40.
const MAX_FIELD_NAME: usize = 64;

/// Longest value in bytes, also when the longest name is filled in.
const MAX_VALUE: usize = 1_024;

/// Most fields of the template, and most of one mailbox.
const MAX_FIELDS: usize = 64;

/// Most bytes of all fields together, on the wire, with the longest names filled in. Both lists and a home
/// come to 6,150 bytes; the rest of the 8,192 of a line (`AUTH_MASTER_MAX_LINE_LENGTH`, Dovecot 2.3 and
/// 2.4) is left for who it is and how they came in.
const MAX_ALL: usize = 2_560;

/// Field names that are dovelatch's to say, or that decide who somebody is, what they may do, or to where
/// they are passed on: fields of Dovecot's passdb and of its auth protocol.
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
    #[error("this field is not for others to set: it says who somebody is, or how they log in")]
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
    fn number(&self) -> Option<u32> {
        let digits = self.0.bytes().all(|byte| byte.is_ascii_digit());
        (self.0.parse().ok()).filter(|&number| digits && number != u32::MAX)
    }

    /// Most bytes that it can become.
    fn largest(&self) -> usize {
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
        Ok(Self {
            name: name.parse()?,
            value: value.parse()?,
        })
    }
}

/// Fields in their order, each name once: so many that they fit into a line, with numbers for `uid` and
/// `gid`, and with an absolute `home`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<(FieldName, Template)>);

impl Fields {
    /// Sets a field: in its place if it is there, else at the end.
    ///
    /// # Errors
    ///
    /// [`FieldError::Number`], [`FieldError::Home`]; [`FieldError::TooMany`] if there is no room for it.
    /// Nothing is changed then.
    pub fn set(&mut self, name: FieldName, value: Template) -> Result<(), FieldError> {
        match name.as_str() {
            "uid" if value.number().is_none_or(|uid| uid == 0) => return Err(FieldError::Number),
            "gid" if value.number().is_none() => return Err(FieldError::Number),
            "home" if !value.is_absolute() => return Err(FieldError::Home),
            _ => {}
        }
        let mut changed = self.0.clone();
        match changed.iter_mut().find(|(other, _)| *other == name) {
            Some((_, old)) => *old = value,
            None => changed.push((name, value)),
        }
        // Each with its "=" and the TAB in front of it.
        let all: usize = (changed.iter())
            .map(|(name, value)| name.0.len() + value.largest() + 2)
            .sum();
        if changed.len() > MAX_FIELDS || all > MAX_ALL {
            return Err(FieldError::TooMany);
        }
        self.0 = changed;
        Ok(())
    }

    /// Whether it was there.
    pub fn remove(&mut self, name: &FieldName) -> bool {
        let before = self.0.len();
        self.0.retain(|(other, _)| other != name);
        self.0.len() < before
    }

    pub fn get(&self, name: &FieldName) -> Option<&Template> {
        (self.0.iter())
            .find(|(other, _)| other == name)
            .map(|(_, value)| value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&FieldName, &Template)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// As the database keeps it: `name=value`, with a line feed in between; no value has one.
impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter()
            .enumerate()
            .try_for_each(|(index, (name, value))| {
                let between = if index == 0 { "" } else { "\n" };
                write!(f, "{between}{name}={}", value.as_str())
            })
    }
}

impl FromStr for Fields {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let mut fields = Self::default();
        if text.is_empty() {
            return Ok(fields);
        }
        for line in text.split('\n') {
            let field: Field = line.parse()?;
            if fields.get(&field.name).is_some() {
                return Err(FieldError::Twice);
            }
            fields.set(field.name, field.value)?;
        }
        Ok(fields)
    }
}

/// `[userdb]`: what holds for all mailboxes. User and group are resolved when the configuration is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Userdb {
    /// Never 0.
    pub uid: u32,
    pub gid: u32,
    /// Absolute.
    pub home: Option<Template>,
    /// Without `uid`, `gid` and `home`: those stand above.
    pub fields: Fields,
}

/// What is said of one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub uid: u32,
    pub gid: u32,
    /// `home` among them; neither `uid` nor `gid`. Each name once.
    pub fields: Vec<(String, String)>,
}

impl Userdb {
    /// The entry of a mailbox, with its own fields; those named `uid`, `gid` and `home` replace the
    /// template's, and so does every other of the same name.
    pub fn entry(&self, mailbox: &Mailbox, own: &Fields) -> Entry {
        let mut entry = Entry {
            uid: self.uid,
            gid: self.gid,
            fields: Vec::new(),
        };
        if let Some(home) = &self.home {
            entry.set("home", home, mailbox);
        }
        for (name, value) in self.fields.iter().chain(own.iter()) {
            entry.set(name.as_str(), value, mailbox);
        }
        entry
    }
}

impl Entry {
    fn set(&mut self, name: &str, value: &Template, mailbox: &Mailbox) {
        match (name, value.number()) {
            ("uid", Some(uid)) => self.uid = uid,
            ("gid", Some(gid)) => self.gid = gid,
            _ => {
                let value = value.fill(mailbox);
                match self.fields.iter_mut().find(|(other, _)| other == name) {
                    Some((_, old)) => *old = value,
                    None => self.fields.push((name.to_owned(), value)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Longest line of a reply that Dovecot's master clients read, in bytes.
    const MAX_LINE: usize = 8_192;

    fn mailbox(name: &str) -> Mailbox {
        name.parse().unwrap()
    }

    fn fields(lines: &[&str]) -> Fields {
        lines.join("\n").parse().unwrap()
    }

    fn refused(line: &str) -> FieldError {
        line.parse::<Fields>().unwrap_err()
    }

    fn userdb(home: Option<&str>, lines: &[&str]) -> Userdb {
        Userdb {
            uid: 5000,
            gid: 5001,
            home: home.map(|home| home.parse().unwrap()),
            fields: fields(lines),
        }
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

    #[test]
    fn user_group_and_home_cannot_be_what_dovecot_refuses() {
        for line in [
            "uid=0",
            "uid=000",
            "uid=vmail",
            "uid=",
            "uid=-1",
            "uid=+5",
            "uid=4294967295",
            "uid=4294967296",
            "uid=%{user}",
            "gid=mail",
            "gid=4294967295",
        ] {
            assert_eq!(refused(line), FieldError::Number, "{line:?}");
        }
        for line in ["home=", "home=vmail", "home=~/mail", "home=%{user}"] {
            assert_eq!(refused(line), FieldError::Home, "{line:?}");
        }
        let mine = fields(&["uid=4294967294", "gid=0", "home=/%{user}"]);
        let entry = userdb(Some("/var/vmail/%{user}"), &[]).entry(&mailbox("ana"), &mine);
        assert_eq!((entry.uid, entry.gid), (4_294_967_294, 0));
        assert_eq!(entry.fields, [("home".to_owned(), "/ana".to_owned())]);
    }

    #[test]
    fn what_a_mailbox_says_itself_replaces_the_template_and_the_rest_comes_behind() {
        let template = userdb(
            Some("/v/%{user}"),
            &["quota_rule=*:storage=1G", "mail_path=~/m"],
        );
        let own = fields(&["acl=x=y", "quota_rule=*:storage=9G"]);
        let entry = template.entry(&mailbox("ana@x"), &own);
        let said: Vec<String> = (entry.fields.iter())
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!((entry.uid, entry.gid), (5000, 5001));
        let expected = [
            "home=/v/ana@x",
            "quota_rule=*:storage=9G",
            "mail_path=~/m",
            "acl=x=y",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn a_text_that_is_not_a_list_of_fields_is_refused() {
        assert_eq!(refused("home"), FieldError::NoValue);
        assert_eq!(refused("a=1\na=2"), FieldError::Twice);
        assert_eq!(refused("a=1\n"), FieldError::NoValue);
        assert_eq!(refused("a=1\r\nb=2"), FieldError::Value);
        assert_eq!(refused("user=ana"), FieldError::Reserved);
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let lines: Vec<String> = (0..64).map(|index| format!("f{index}={index}")).collect();
        let full: Fields = lines.join("\n").parse().unwrap();
        let mut more = full.clone();
        let one_more = more.set("g".parse().unwrap(), "1".parse().unwrap());
        assert_eq!(one_more, Err(FieldError::TooMany));
        let too_large = more.set("f1".parse().unwrap(), "x".repeat(1_024).parse().unwrap());
        assert_eq!(too_large, Ok(()));
        let too_large = more.set("f2".parse().unwrap(), "%{user}".repeat(4).parse().unwrap());
        assert_eq!(too_large, Ok(()));
        let before = more.clone();
        let too_large = more.set("f3".parse().unwrap(), "x".repeat(400).parse().unwrap());
        assert_eq!((too_large, &more), (Err(FieldError::TooMany), &before));
        assert!(more.remove(&"f3".parse().unwrap()));
        assert!(!more.remove(&"f3".parse().unwrap()));
    }

    /// As many fields as fit, of two letters and the most bytes.
    fn as_much_as_fits(first: char) -> Fields {
        let mut fields = Fields::default();
        for letter in 'a'..='z' {
            for most in (0..=MAX_VALUE).rev() {
                let name: FieldName = format!("{first}{letter}").parse().unwrap();
                if fields.set(name, "x".repeat(most).parse().unwrap()).is_ok() {
                    break;
                }
            }
        }
        fields
    }

    #[test]
    fn the_largest_entry_fits_into_a_line_with_who_it_is_and_how_they_came_in() {
        let template = Userdb {
            uid: u32::MAX - 1,
            gid: u32::MAX - 1,
            home: Some(format!("/{}", "x".repeat(MAX_VALUE - 1)).parse().unwrap()),
            fields: as_much_as_fits('t'),
        };
        let name = "a".repeat(MAX_NAME);
        let entry = template.entry(&mailbox(&name), &as_much_as_fits('o'));
        let fields: String = (entry.fields.iter())
            .map(|(name, value)| format!("\t{name}={value}"))
            .collect();
        let line = format!(
            "USER\t4294967295\t{name}\tuid={}\tgid={}{fields}\tuser_device=dp-kqtmwhzrnb\
             \tuser_access=ac-kqtmwhzrnb\tevent_device=dp-kqtmwhzrnb\tauth_user={name}\
             \tmaster_user={name}\tauth_mech=PLAIN\tauth_token={}\n",
            entry.uid,
            entry.gid,
            "0".repeat(40)
        );
        assert!(fields.len() > 6_100, "{}", fields.len());
        assert!(line.len() <= MAX_LINE, "{}", line.len());
    }

    proptest! {
        #[test]
        fn fields_are_the_same_behind_the_database(
            lines in proptest::collection::btree_map(
                "[a-z][a-z0-9_./-]{0,20}",
                "([^\\pC%]|%[^{\\pC]|%\\{user\\}|%\\{local\\}|%\\{domain\\}){0,6}",
                0..10,
            )
        ) {
            let mut fields = Fields::default();
            for (name, value) in lines {
                // Some are reserved, or need a number.
                if let (Ok(name), Ok(value)) = (name.parse(), value.parse()) {
                    let _ = fields.set(name, value);
                }
            }
            let text = fields.to_string();
            prop_assert_eq!(text.parse::<Fields>(), Ok(fields));
        }

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
