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

mod field;

use std::fmt;
use std::str::FromStr;

use super::Mailbox;
use field::check;
pub use field::{Field, FieldError, FieldName, Template};

/// Most fields of the template, and most of one mailbox.
const MAX_FIELDS: usize = 64;

/// Most bytes of all fields together, on the wire, with the longest names filled in. Both lists and a home
/// come to 6,150 bytes; the rest of the 8,192 that Dovecot's clients read as one line (`MAX_INBUF_SIZE`,
/// src/lib-auth/auth-master.c, Dovecot 2.3) is left for who it is and how they came in.
const MAX_ALL: usize = 2_560;

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
        check(&name, &value)?;
        let mut changed = self.0.clone();
        match changed.iter_mut().find(|(other, _)| *other == name) {
            Some((_, old)) => *old = value,
            None => changed.push((name, value)),
        }
        // Each with its "=" and the TAB in front of it.
        let all: usize = (changed.iter())
            .map(|(name, value)| name.as_str().len() + value.largest() + 2)
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

    use super::field::MAX_VALUE;
    use super::*;
    use crate::model::name::MAX_NAME;

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
    }
}
