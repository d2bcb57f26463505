//! `dovelatch list`: the device passwords of a mailbox, or of all.

use std::fmt;

use serde_json::Value;

use super::context::{Context, Database};
use super::error::Error;
use super::output::{Answer, shown};
use super::show::{device_json, is_expired};
use super::span::Span;
use super::table::Table;
use crate::model::{Mailbox, Person, Timestamp};
use crate::store::{self, DeviceRow, Revoked, Selection};

/// List the device passwords of a mailbox, or of all
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only those of this mailbox
    mailbox: Option<Mailbox>,
    /// Only those of this person
    #[arg(long, value_name = "PERSON")]
    person: Option<Person>,
    /// Those that were revoked, instead of the active ones
    #[arg(long)]
    revoked: bool,
    /// Only those that nobody has used for so long: 90d
    #[arg(long, value_name = "SPAN", conflicts_with = "revoked")]
    unused_for: Option<Span>,
}

impl List {
    pub(crate) fn run(&self, context: &mut Context<'_>) -> Result<(), Error> {
        let database = context.database()?;
        let mailbox = database.any_mailbox(self.mailbox.as_ref())?;
        let person = database.any_person(self.person.as_ref())?;
        let kind = if self.revoked {
            Revoked::Only
        } else {
            Revoked::Hidden
        };
        let now = context.now();
        let unused_since = self.unused_for.map(|span| now.minus(span.duration()));
        context.output.answer(&Devices {
            devices: select(
                &database,
                mailbox.as_ref(),
                person.as_ref(),
                kind,
                unused_since,
            )?,
            kind,
            by_mailbox: mailbox.is_none(),
            now,
        })
    }
}

/// Device passwords by mailbox and age. `unused_since` is for active ones.
///
/// # Errors
///
/// That there is no such mailbox or person, or the store's.
pub(crate) fn select(
    database: &Database,
    mailbox: Option<&Mailbox>,
    person: Option<&Person>,
    kind: Revoked,
    unused_since: Option<Timestamp>,
) -> Result<Vec<DeviceRow>, Error> {
    let store = &database.admin.store;
    if let Some(person) = person {
        require(database, person)?;
    }
    if unused_since.is_some() {
        let selection = Selection {
            mailbox,
            person,
            unused_since,
        };
        return Ok(store.selected(&selection)?);
    }
    let mut devices = store.devices(mailbox, kind)?;
    devices.retain(|device| person.is_none_or(|person| device.is_of(person)));
    Ok(devices)
}

/// A person, or the owner of a mailbox: the name of nobody is a slip, not an empty list.
pub(crate) fn require(database: &Database, person: &Person) -> Result<(), Error> {
    let store = &database.admin.store;
    let Err(missing) = store.person(person) else {
        return Ok(());
    };
    let owned = person
        .as_str()
        .parse()
        .map(|name: Mailbox| store.mailbox(&name));
    match (missing, owned) {
        (store::Error::NoSuchPerson { .. }, Ok(Ok(_))) => Ok(()),
        (missing, _) => Err(missing.into()),
    }
}

struct Devices {
    devices: Vec<DeviceRow>,
    kind: Revoked,
    by_mailbox: bool,
    now: Timestamp,
}

impl Devices {
    fn table(&self) -> String {
        match self.kind {
            Revoked::Only => self.tombstones(),
            Revoked::Hidden | Revoked::Shown => self.active(),
        }
    }

    fn active(&self) -> String {
        let heading = [
            "DEVICE",
            "PERSON",
            "ID",
            "LAST USE (UTC)",
            "OVER",
            "FROM",
            "STATE",
        ];
        let mut table = Table::new(heading);
        for device in &self.devices {
            let used = device.last_use.as_ref();
            table.push([
                device.label.as_str(),
                device.person.as_ref().map_or("", Person::as_str),
                device.id.as_str(),
                &used.map_or("never".to_owned(), |used| used.at.to_string()),
                &used.map_or(String::new(), |used| used.service.to_string()),
                &text(used.and_then(|used| used.address)),
                if is_expired(device, self.now) {
                    "expired"
                } else {
                    ""
                },
            ]);
        }
        table.without_empty(&["PERSON", "STATE"]).to_string()
    }

    fn tombstones(&self) -> String {
        let mut table = Table::new([
            "DEVICE",
            "PERSON",
            "ID",
            "REVOKED (UTC)",
            "BY",
            "TRIED AGAIN",
        ]);
        for device in &self.devices {
            table.push([
                device.label.as_str(),
                device.person.as_ref().map_or("", Person::as_str),
                device.id.as_str(),
                &text(device.revoked),
                device.revoked_by.as_deref().unwrap_or_default(),
                &tried_again(device).unwrap_or_default(),
            ]);
        }
        table.without_empty(&["PERSON", "TRIED AGAIN"]).to_string()
    }
}

/// `tried again 14 times, last from 203.0.113.9`, less the first two words.
fn tried_again(device: &DeviceRow) -> Option<String> {
    let attempts = device.attempts.as_ref()?;
    let from = attempts
        .address
        .map_or(String::new(), |address| format!(", last from {address}"));
    Some(format!("{}{from}", times(attempts.count)))
}

/// `once`, `14 times`
pub(crate) fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        _ => format!("{count} times"),
    }
}

fn text(value: Option<impl fmt::Display>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

impl Answer for Devices {
    /// Of several mailboxes, each stands above its devices: a column for it would be too wide.
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.devices.is_empty() {
            let word = match self.kind {
                Revoked::Only => "revoked",
                Revoked::Hidden | Revoked::Shown => "active",
            };
            return writeln!(f, "no {word} device passwords");
        }
        let table = self.table();
        if !self.by_mailbox {
            return f.write_str(&table);
        }
        let mut lines = table.lines();
        writeln!(f, "  {}", lines.next().unwrap_or_default())?;
        let mut above = None;
        for (line, device) in lines.zip(&self.devices) {
            if above.replace(&device.mailbox) != Some(&device.mailbox) {
                writeln!(f, "{}", shown(device.mailbox.as_str()))?;
            }
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }

    fn json(&self) -> Value {
        self.devices.iter().map(device_json).collect()
    }

    fn quiet(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.devices
            .iter()
            .try_for_each(|device| writeln!(f, "{}", device.id))
    }
}
