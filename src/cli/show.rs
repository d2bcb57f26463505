//! `dovelatch show`: everything about one device password.

use std::fmt;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::context::Context;
use super::error::Error;
use super::limits::opens;
use super::list::times;
use super::output::{Answer, shown};
use super::table::Table;
use super::which::Which;
use crate::model::{AccessId, Person, Timestamp};
use crate::store::{AttemptsRow, DeviceRow, UseRow};

/// Show everything about one device password and its uses, but not the password
///
/// A revoked one is shown where no active one has that name.
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    #[command(flatten)]
    which: Which,
}

impl Show {
    pub(crate) fn run(&self, context: &mut Context<'_>) -> Result<(), Error> {
        let database = context.database()?;
        let device = self.which.any(&database)?;
        let store = &database.admin.store;
        context.output.answer(&Shown {
            uses: store.uses(&device.id)?,
            attempts: store.attempts(&device.id)?,
            now: context.now(),
            device,
        })
    }
}

/// Whether its limits refuse it by now. One that is revoked has not expired: it has ended.
pub(crate) fn is_expired(device: &DeviceRow, now: Timestamp) -> bool {
    device.revoked.is_none() && device.expiry().is_some_and(|end| end <= now)
}

/// A device password as `--json` says it everywhere.
pub(crate) fn device_json(device: &DeviceRow) -> Value {
    let limits = &device.limits;
    json!({
        "id": device.id.as_str(),
        "mailbox": device.mailbox.as_str(),
        "person": device.person.as_ref().map(Person::as_str),
        "access": device.access.as_ref().map(AccessId::as_str),
        "label": device.label.as_str(),
        "services": limits.services.map(|services| services.names().collect::<Vec<_>>()),
        "networks": limits.networks.as_ref().map(|networks| {
            networks.to_string().split(',').map(str::to_owned).collect::<Vec<_>>()
        }),
        "expires": limits.expires.map(stamp),
        "expires_unused_days": limits.expires_unused_days,
        "expiry": device.expiry().map(stamp),
        "issued": stamp(device.issued),
        "issued_by": device.issued_by,
        "old_until": device.old_until.map(stamp),
        "last_use": device.last_use.as_ref().map(use_json),
        "tried_again": device.attempts.as_ref().map(attempts_json),
        "revoked": device.revoked.map(stamp),
        "revoked_by": device.revoked_by,
    })
}

fn use_json(used: &UseRow) -> Value {
    json!({
        "first": stamp(used.first),
        "last": stamp(used.at),
        "count": used.count,
        "service": used.service.to_string(),
        "address": used.address.map(|address| address.to_string()),
    })
}

fn attempts_json(attempts: &AttemptsRow) -> Value {
    json!({
        "first": stamp(attempts.first),
        "last": stamp(attempts.last),
        "count": attempts.count,
        "service": attempts.service.to_string(),
        "address": attempts.address.map(|address| address.to_string()),
    })
}

/// As programs read it.
pub(crate) fn stamp(time: Timestamp) -> String {
    format!("{time:#}")
}

struct Shown {
    device: DeviceRow,
    uses: Vec<UseRow>,
    attempts: Vec<UseRow>,
    now: Timestamp,
}

impl Answer for Shown {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = &self.device;
        writeln!(f, "mailbox   {}", shown(device.mailbox.as_str()))?;
        if let (Some(person), Some(access)) = (&device.person, &device.access) {
            writeln!(f, "person    {} ({access})", shown(person.as_str()))?;
        }
        writeln!(f, "device    {}", shown(device.label.as_str()))?;
        writeln!(f, "id        {}", device.id)?;
        match device.revoked {
            Some(_) => writeln!(f, "opened    {}", opens(&device.limits)),
            None => writeln!(f, "opens     {}", opens(&device.limits)),
        }?;
        if let Some(end) = device.expiry().filter(|_| is_expired(device, self.now)) {
            writeln!(f, "expired   {end} UTC")?;
        }
        let by = shown(&device.issued_by);
        writeln!(f, "issued    {} UTC by {by}", device.issued)?;
        if let Some(until) = device.old_until {
            writeln!(f, "rotated   the old password works until {until} UTC")?;
        }
        match &device.last_use {
            Some(used) => writeln!(f, "last use  {} UTC, {}", used.at, what(used)),
            None => writeln!(f, "last use  -"),
        }?;
        let by = device.revoked_by.as_deref().unwrap_or("-");
        match device.revoked {
            Some(time) => writeln!(f, "revoked   {time} UTC by {}", shown(by)),
            None => writeln!(f, "revoked   -"),
        }?;
        if let Some(attempts) = &device.attempts {
            writeln!(
                f,
                "ended     tried again {}{}",
                times(attempts.count),
                from(", last from ", attempts.address)
            )?;
        }
        history(f, "USED (UTC)", &self.uses)?;
        history(f, "TRIED AGAIN (UTC)", &self.attempts)
    }

    fn json(&self) -> Value {
        let mut value = device_json(&self.device);
        if let Value::Object(members) = &mut value {
            let uses = self.uses.iter().map(use_json).collect();
            members.insert("uses".to_owned(), uses);
            let attempts = self.attempts.iter().map(use_json).collect();
            members.insert("attempts".to_owned(), attempts);
        }
        value
    }

    fn quiet(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.device.id)
    }
}

/// `imap from 203.0.113.9`
pub(crate) fn what(used: &UseRow) -> String {
    format!("{}{}", used.service, from(" from ", used.address))
}

/// Nothing where the peer named no address.
fn from(words: &str, address: Option<IpAddr>) -> String {
    address.map_or(String::new(), |address| format!("{words}{address}"))
}

/// A table of its own below, if there is anything to put into it.
fn history(f: &mut fmt::Formatter<'_>, heading: &str, rows: &[UseRow]) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    let mut table = Table::new([heading, "FIRST (UTC)", "TIMES", "OVER", "FROM"]);
    for row in rows {
        table.push([
            &row.at.to_string(),
            &row.first.to_string(),
            &row.count.to_string(),
            &row.service.to_string(),
            &row.address
                .map_or(String::new(), |address| address.to_string()),
        ]);
    }
    write!(f, "\n{table}")
}
