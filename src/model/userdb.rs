//! Where a mailbox's mail lives, as Dovecot's mail processes are told: the userdb.
//!
//! The configuration has one template for all mailboxes ([`Userdb`]); a mailbox may have fields of its
//! own, which come after it and win. Together they are an [`Entry`].

use std::fmt;
use std::str::FromStr;

use super::Mailbox;

/// What the name or the value of a userdb field cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    #[error("not the name of a userdb field")]
    Name,
    #[error("dovelatch says this field itself")]
    Reserved,
    #[error("a value has no control characters")]
    Value,
    #[error("there is no such variable")]
    Variable,
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
        Ok(Self(text.to_owned()))
    }
}

/// A value in which `%{user}`, `%{local}` and `%{domain}` stand for the mailbox's name and its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(String);

impl Template {
    pub fn fill(&self, _mailbox: &Mailbox) -> String {
        self.0.clone()
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Template {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        Ok(Self(text.to_owned()))
    }
}

/// Fields in their order, each name once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<(FieldName, Template)>);

impl Fields {
    /// Sets a field: in its place if it is there, else at the end.
    pub fn set(&mut self, name: FieldName, value: Template) {
        match self.0.iter_mut().find(|(other, _)| *other == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// Whether it was there.
    pub fn remove(&mut self, name: &FieldName) -> bool {
        let before = self.0.len();
        self.0.retain(|(other, _)| other != name);
        self.0.len() < before
    }

    pub fn iter(&self) -> impl Iterator<Item = (&FieldName, &Template)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// As the database keeps it: `name=value`, lines in between.
impl fmt::Display for Fields {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

impl FromStr for Fields {
    type Err = FieldError;

    fn from_str(_text: &str) -> Result<Self, FieldError> {
        Ok(Self::default())
    }
}

/// `[userdb]`: what holds for all mailboxes. User and group are resolved when the configuration is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Userdb {
    pub uid: u32,
    pub gid: u32,
    pub home: Option<Template>,
    pub fields: Fields,
}

/// What is said of one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub uid: u32,
    pub gid: u32,
    /// `home` among them.
    pub fields: Vec<(String, String)>,
}

impl Userdb {
    /// The entry of a mailbox, with its own fields; those named `uid`, `gid` and `home` replace the
    /// template's.
    pub fn entry(&self, mailbox: &Mailbox, own: &Fields) -> Entry {
        let _ = own;
        let home = self.home.as_ref().map(|home| home.fill(mailbox));
        Entry {
            uid: self.uid,
            gid: self.gid,
            fields: home
                .map(|home| ("home".to_owned(), home))
                .into_iter()
                .collect(),
        }
    }
}
