//! The file as it is written, and the checks that make a [`Config`] of it.

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Group, User};
use serde::Deserialize;
use toml::Spanned;

use super::dovecot::{RawDovecot, RawUserdb, dovecot, userdb};
use super::error::{Error, Wrong};
use super::{
    Config, DAY, DEFAULT_FAILURE_DELAY, DEFAULT_MODE, Hash, Keep, Listener, ListenerType,
    MAX_FAILURE_DELAY,
};
use crate::model::{Domain, Mechanism, Separator};

/// Longest path of a socket in bytes: `sun_path` has 108, one of them for the NUL (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// Longest name of a listener in bytes. It stands in every line of the log.
const MAX_LISTENER_NAME: usize = 64;

/// Most hashing threads. More than cores only take memory.
const MAX_THREADS: usize = 256;

/// Longest time that anything is kept: a hundred years.
const MAX_DAYS: u64 = 36_500;

/// Most lines of a device password's history. Each is a row, for each device password there is.
const MAX_USES: i64 = 10_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    database: Option<Spanned<String>>,
    default_domain: Option<Spanned<String>>,
    #[serde(default)]
    listen: Vec<RawListener>,
    #[serde(default)]
    hash: RawHash,
    #[serde(default)]
    delegation: RawDelegation,
    #[serde(default)]
    keep: RawKeep,
    userdb: Option<RawUserdb>,
    #[serde(default)]
    dovecot: RawDovecot,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawListener {
    name: Option<Spanned<String>>,
    r#type: Spanned<String>,
    path: Spanned<String>,
    owner: Option<Spanned<NameOrNumber>>,
    group: Option<Spanned<NameOrNumber>>,
    mode: Option<Spanned<String>>,
    failure_delay: Option<Spanned<String>>,
    mechanisms: Option<Spanned<Vec<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHash {
    generated: Option<Spanned<String>>,
    threads: Option<Spanned<i64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDelegation {
    separator: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKeep {
    tombstones: Option<Spanned<String>>,
    events: Option<Spanned<String>>,
    uses: Option<Spanned<i64>>,
}

/// `"postfix"`, `"105"` or `105`.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "invalid value, expected a name or a number")]
pub(super) enum NameOrNumber {
    Number(u32),
    Name(String),
}

/// Makes a configuration of the text of the file at `path`.
pub(super) fn checked(path: &Path, text: &str) -> Result<Config, Error> {
    let raw: Raw = toml::from_str(text).map_err(|error| Error::syntax(path, text, &error))?;
    let wrong = |key: &'static str, span: Range<usize>, source| {
        Error::value(path, text, key.into(), &span, source)
    };
    let mistake = |(key, span, e): Mistake| Error::value(path, text, key, &span, e);

    let mut config = Config::without_file();
    if let Some(raw) = raw.database {
        config.database = database(raw.get_ref()).map_err(|e| wrong("database", raw.span(), e))?;
    }
    if let Some(raw) = raw.default_domain {
        config.default_domain =
            domain(raw.get_ref()).map_err(|e| wrong("default_domain", raw.span(), e))?;
    }
    let has_userdb = raw.userdb.is_some();
    for raw in raw.listen {
        let (name, kind, path) = (raw.name_span(), raw.r#type.span(), raw.path.span());
        let listener = raw.checked().map_err(mistake)?;
        if config
            .listeners
            .iter()
            .any(|other| other.name == listener.name)
        {
            return Err(wrong("name", name, Wrong::NameTaken));
        }
        if config
            .listeners
            .iter()
            .any(|other| other.path == listener.path)
        {
            return Err(wrong("path", path, Wrong::PathTaken));
        }
        if listener.kind.needs_userdb() && !has_userdb {
            return Err(wrong("type", kind, Wrong::NoUserdb));
        }
        config.listeners.push(listener);
    }
    config.hash = hash(raw.hash, config.hash).map_err(mistake)?;
    let separator = raw.delegation.separator;
    config.separator =
        optional("separator", separator, None, |text| separation(text)).map_err(mistake)?;
    config.keep = keep(raw.keep, config.keep).map_err(mistake)?;
    if let Some(raw) = raw.userdb {
        config.userdb = Some(userdb(raw).map_err(mistake)?);
    }
    config.dovecot = dovecot(raw.dovecot, config.dovecot).map_err(mistake)?;
    Ok(config)
}

/// Key, place and mistake.
pub(super) type Mistake = (Cow<'static, str>, Range<usize>, Wrong);

/// The checked form of an optional value, or its default.
pub(super) fn optional<R, T>(
    key: &'static str,
    raw: Option<Spanned<R>>,
    default: T,
    check: impl Fn(&R) -> Result<T, Wrong>,
) -> Result<T, Mistake> {
    match raw {
        Some(raw) => check(raw.get_ref()).map_err(|wrong| (key.into(), raw.span(), wrong)),
        None => Ok(default),
    }
}

impl RawListener {
    /// Where its name stands; without one it has its type's.
    fn name_span(&self) -> Range<usize> {
        self.name
            .as_ref()
            .map_or_else(|| self.r#type.span(), Spanned::span)
    }

    fn checked(self) -> Result<Listener, Mistake> {
        let name = self.r#type.get_ref();
        let kind = listener_type(name);
        let kind = kind.map_err(|wrong| ("type".into(), self.r#type.span(), wrong))?;
        if !kind.has_log_ins() {
            let delay = (self.failure_delay.as_ref()).map(|raw| ("failure_delay", raw.span()));
            let mechanisms = (self.mechanisms.as_ref()).map(|raw| ("mechanisms", raw.span()));
            if let Some((key, span)) = delay.or(mechanisms) {
                return Err((key.into(), span, Wrong::NoLogIns(kind.as_str())));
            }
        }
        let (delay, offered) = if kind.has_log_ins() {
            (DEFAULT_FAILURE_DELAY, Mechanism::ALL.to_vec())
        } else {
            (Duration::ZERO, Vec::new())
        };
        let path = socket_path(self.path.get_ref());
        Ok(Listener {
            name: optional("name", self.name, name.clone(), |name| listener_name(name))?,
            kind,
            path: path.map_err(|wrong| ("path".into(), self.path.span(), wrong))?,
            owner: optional("owner", self.owner, None, |owner| user(owner).map(Some))?,
            group: optional("group", self.group, None, |name| group(name).map(Some))?,
            mode: optional("mode", self.mode, DEFAULT_MODE, |octal| mode(octal))?,
            failure_delay: optional("failure_delay", self.failure_delay, delay, |span| {
                failure_delay(span)
            })?,
            mechanisms: optional("mechanisms", self.mechanisms, offered, |names| {
                mechanisms(names)
            })?,
        })
    }
}

fn hash(raw: RawHash, default: Hash) -> Result<Hash, Mistake> {
    Ok(Hash {
        generated: optional("generated", raw.generated, default.generated, |text| {
            text.parse().map_err(Wrong::Cost)
        })?,
        threads: optional("threads", raw.threads, default.threads, |&number| {
            usize::try_from(number)
                .ok()
                .filter(|&threads| threads <= MAX_THREADS)
                .ok_or(Wrong::Threads)
        })?,
    })
}

fn keep(raw: RawKeep, default: Keep) -> Result<Keep, Mistake> {
    Ok(Keep {
        tombstones: optional("tombstones", raw.tombstones, default.tombstones, |span| {
            days(span)
        })?,
        events: optional("events", raw.events, default.events, |span| days(span))?,
        uses: optional("uses", raw.uses, default.uses, |&number| {
            u32::try_from(number)
                .ok()
                .filter(|_| (1..=MAX_USES).contains(&number))
                .ok_or(Wrong::Uses)
        })?,
    })
}

/// Whole days, at least one: what was revoked today is to be recognised today.
fn days(text: &str) -> Result<Duration, Wrong> {
    let number = text.strip_suffix('d').ok_or(Wrong::Days)?;
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let days = number.parse().ok().filter(|_| digits);
    days.filter(|days| (1..=MAX_DAYS).contains(days))
        .map(|days: u64| Duration::from_secs(days * DAY))
        .ok_or(Wrong::Days)
}

fn separation(text: &str) -> Result<Option<Separator>, Wrong> {
    match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(Wrong::Separator),
    }
}

fn database(text: &str) -> Result<PathBuf, Wrong> {
    check_database(Path::new(text))?;
    absolute(text)
}

/// What holds for a database wherever it is named.
pub(super) fn check_database(path: &Path) -> Result<(), Wrong> {
    let text = path.to_string_lossy();
    if text.starts_with("postgresql:") || text.starts_with("postgres:") {
        return Err(Wrong::Postgres);
    }
    check_characters(&text)
}

fn domain(text: &str) -> Result<Option<Domain>, Wrong> {
    match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(Wrong::Domain),
    }
}

fn listener_type(name: &str) -> Result<ListenerType, Wrong> {
    (ListenerType::ALL.into_iter())
        .find(|kind| kind.as_str() == name)
        .ok_or(Wrong::UnknownType)
}

fn listener_name(name: &str) -> Result<String, Wrong> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.len() > MAX_LISTENER_NAME || !name.bytes().all(allowed) {
        return Err(Wrong::Name);
    }
    Ok(name.to_owned())
}

fn socket_path(text: &str) -> Result<PathBuf, Wrong> {
    if text.len() > MAX_SOCKET_PATH {
        return Err(Wrong::SocketPathTooLong(text.len()));
    }
    absolute(text)
}

pub(super) fn check_characters(text: &str) -> Result<(), Wrong> {
    if text.chars().any(char::is_control) {
        Err(Wrong::ControlCharacter)
    } else {
        Ok(())
    }
}

pub(super) fn absolute(text: &str) -> Result<PathBuf, Wrong> {
    check_characters(text)?;
    let path = PathBuf::from(text);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(Wrong::NotAbsolute)
    }
}

pub(super) fn user(user: &NameOrNumber) -> Result<u32, Wrong> {
    id(user, Wrong::NoSuchUser, |name| {
        Ok(User::from_name(name)?.map(|user| user.uid.as_raw()))
    })
}

pub(super) fn group(group: &NameOrNumber) -> Result<u32, Wrong> {
    id(group, Wrong::NoSuchGroup, |name| {
        Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
    })
}

/// A number is taken as it is: it need not belong to anybody. 4294967295 means "unchanged" to
/// chown(2), so it is nobody's.
fn id(
    wanted: &NameOrNumber,
    missing: Wrong,
    look_up: impl Fn(&str) -> nix::Result<Option<u32>>,
) -> Result<u32, Wrong> {
    let found = match wanted {
        NameOrNumber::Number(number) => Some(*number),
        NameOrNumber::Name(name) => match name.parse() {
            Ok(number) => Some(number),
            Err(_) => look_up(name).map_err(|errno| Wrong::LookUp(errno.into()))?,
        },
    };
    found.filter(|&id| id != u32::MAX).ok_or(missing)
}

fn mode(octal: &str) -> Result<u32, Wrong> {
    let digits = (1..=4).contains(&octal.len()) && octal.bytes().all(|b| b.is_ascii_digit());
    u32::from_str_radix(octal, 8)
        .ok()
        .filter(|&mode| digits && mode <= 0o777)
        .ok_or(Wrong::Mode)
}

fn failure_delay(text: &str) -> Result<Duration, Wrong> {
    let (number, unit) = text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    );
    let number: u64 = number.parse().map_err(|_| Wrong::Delay)?;
    let delay = match unit {
        "s" => Duration::from_secs(number),
        "ms" => Duration::from_millis(number),
        _ => return Err(Wrong::Delay),
    };
    if delay > MAX_FAILURE_DELAY {
        Err(Wrong::DelayTooLong)
    } else {
        Ok(delay)
    }
}

fn mechanisms(names: &[String]) -> Result<Vec<Mechanism>, Wrong> {
    let mut mechanisms = Vec::new();
    for name in names {
        let mechanism = Mechanism::ALL
            .into_iter()
            .find(|mechanism| mechanism.as_str() == name);
        let mechanism = mechanism.ok_or(Wrong::UnknownMechanism)?;
        if mechanisms.contains(&mechanism) {
            return Err(Wrong::MechanismTwice);
        }
        mechanisms.push(mechanism);
    }
    if mechanisms.is_empty() {
        Err(Wrong::NoMechanism)
    } else {
        Ok(mechanisms)
    }
}
