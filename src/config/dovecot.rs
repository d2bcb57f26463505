//! The tables of the file that are about Dovecot: where mail lives, and how sessions are ended.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::error::Wrong;
use super::raw::{Mistake, NameOrNumber, absolute, check_characters, group, optional, user};
use super::{Dovecot, Kick};
use crate::model::{FieldError, Fields, Template, Userdb};

/// Longest key of `[userdb.fields]` repeated in a message, in characters; the rest is cut off.
const MAX_SHOWN_KEY: usize = 100;

/// Fields of `[userdb]` that are keys of their own.
const OWN_KEYS: [&str; 3] = ["uid", "gid", "home"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUserdb {
    uid: Spanned<NameOrNumber>,
    gid: Spanned<NameOrNumber>,
    home: Option<Spanned<String>>,
    #[serde(default)]
    fields: BTreeMap<Spanned<String>, Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDovecot {
    kick: Option<Spanned<String>>,
    base_dir: Option<Spanned<String>>,
    doveadm: Option<Spanned<String>>,
    config: Option<Spanned<String>>,
}

pub(super) fn userdb(raw: RawUserdb) -> Result<Userdb, Mistake> {
    let uid = mail_user(raw.uid.get_ref());
    let gid = group(raw.gid.get_ref());
    let mut fields = Fields::default();
    for (name, value) in raw.fields {
        let name = name.into_inner();
        field(&name, value.get_ref(), &mut fields)
            .map_err(|wrong| (shown_key(&name).into(), value.span(), wrong))?;
    }
    Ok(Userdb {
        uid: uid.map_err(|wrong| ("uid".into(), raw.uid.span(), wrong))?,
        gid: gid.map_err(|wrong| ("gid".into(), raw.gid.span(), wrong))?,
        home: optional("home", raw.home, None, |text| home(text).map(Some))?,
        fields,
    })
}

fn field(name: &str, value: &str, fields: &mut Fields) -> Result<(), Wrong> {
    if OWN_KEYS.contains(&name) {
        return Err(Wrong::FieldHasKey);
    }
    let name = name.parse().map_err(Wrong::Field)?;
    let value = value.parse().map_err(Wrong::Field)?;
    fields.set(name, value).map_err(Wrong::Field)
}

/// A key that may be anything, on one line.
fn shown_key(key: &str) -> String {
    (key.chars().take(MAX_SHOWN_KEY).flat_map(char::escape_debug)).collect()
}

/// Mail processes do not run as root: Dovecot refuses it too, when somebody logs in.
fn mail_user(wanted: &NameOrNumber) -> Result<u32, Wrong> {
    match user(wanted)? {
        0 => Err(Wrong::Root),
        uid => Ok(uid),
    }
}

fn home(text: &str) -> Result<Template, Wrong> {
    let home: Template = text.parse().map_err(Wrong::Field)?;
    if home.is_absolute() {
        Ok(home)
    } else {
        Err(Wrong::Field(FieldError::Home))
    }
}

pub(super) fn dovecot(raw: RawDovecot, default: Dovecot) -> Result<Dovecot, Mistake> {
    Ok(Dovecot {
        kick: optional("kick", raw.kick, default.kick, |word| {
            (Kick::ALL.into_iter())
                .find(|kick| kick.as_str() == word)
                .ok_or(Wrong::Kick)
        })?,
        base_dir: optional("base_dir", raw.base_dir, default.base_dir, |text| {
            absolute(text)
        })?,
        doveadm: optional("doveadm", raw.doveadm, default.doveadm, |text| {
            program(text)
        })?,
        config: optional("config", raw.config, default.config, |text| {
            match text.as_str() {
                "" => Ok(None),
                text => absolute(text).map(Some),
            }
        })?,
    })
}

/// A path from the root on, or a name that is searched for in `PATH`. A path in between would depend on
/// where we were started.
fn program(text: &str) -> Result<PathBuf, Wrong> {
    check_characters(text)?;
    let path = PathBuf::from(text);
    if path.is_absolute() || (!text.is_empty() && !text.contains('/')) {
        Ok(path)
    } else {
        Err(Wrong::Program)
    }
}
