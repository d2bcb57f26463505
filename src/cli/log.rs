//! `dovelatch log`: who did what to which mailbox, and when each device was used last.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::context::{Context, Database};
use super::error::Error;
use super::list::times;
use super::output::{Answer, shown};
use super::show::{stamp, what};
use super::span::Span;
use crate::model::{AccessId, Action, DeviceId, Label, Mailbox, Person, Timestamp, Via};
use crate::store::{self, DeviceRow, EventFilter, EventId, EventRow, Revoked, UseRow};

/// Events that are read at once.
const PAGE: u32 = 1_000;

/// Before all events.
const BEGINNING: EventId = EventId(0);

/// How often --follow looks for new ones.
const LOOK: Duration = Duration::from_millis(500);

/// Show what was done to the mailboxes, by whom, and when each device was used last
///
/// The audit log: what was issued, changed and revoked, and which password that had ended was tried
/// again. Of the log-ins it has the last of each device, as "signed-in"; `show` has more of them, and
/// every single one is in the daemon's log. With --json, one object a line.
#[derive(Debug, clap::Args)]
pub(crate) struct Log {
    /// Only of this mailbox, even if it was removed
    mailbox: Option<Mailbox>,
    /// Only what is newer than this: 1d, 12h
    #[arg(long, value_name = "SPAN")]
    since: Option<Span>,
    /// Wait for events to come, until interrupted; without --since, show only these
    #[arg(long)]
    follow: bool,
}

impl Log {
    pub(crate) fn run(&self, context: &mut Context<'_>) -> Result<(), Error> {
        let database = context.database()?;
        let mailbox = database.any_mailbox(self.mailbox.as_ref())?;
        let now = context.now();
        let since = (self.since.map(|span| now.minus(span.duration())))
            .or_else(|| self.follow.then_some(now));
        let store = &database.admin.store;
        let mut signed_in = signed_in(&database, mailbox.as_ref(), since)?
            .into_iter()
            .peekable();
        let mut after = BEGINNING;
        loop {
            // All up to this one will have been looked at below, whether they are meant or not.
            let newest = store.events(EventFilter::latest(1))?.pop();
            let events = store.events(EventFilter {
                mailbox: mailbox.as_ref(),
                since,
                after: Some(after),
                most: PAGE,
            })?;
            for event in &events {
                while let Some(used) = signed_in.next_if(|used| used.at() < event.at) {
                    context.output.entry(&used)?;
                }
                context.output.entry(event)?;
                after = event.id;
            }
            if u32::try_from(events.len()).is_ok_and(|number| number == PAGE) {
                continue;
            }
            for used in signed_in.by_ref() {
                context.output.entry(&used)?;
            }
            if !self.follow {
                return Ok(());
            }
            after = newest.map_or(after, |newest| newest.id.max(after));
            std::thread::sleep(LOOK);
        }
    }
}

/// The last log-in of a device.
struct SignedIn {
    device: DeviceRow,
    last: UseRow,
}

impl SignedIn {
    fn at(&self) -> Timestamp {
        self.last.at
    }
}

/// The last log-in of each device since then, by time.
fn signed_in(
    database: &Database,
    mailbox: Option<&Mailbox>,
    since: Option<Timestamp>,
) -> Result<Vec<SignedIn>, Error> {
    let devices = match database.admin.store.devices(mailbox, Revoked::Shown) {
        // Whether there ever was one, the events know.
        Err(store::Error::NoSuchMailbox { .. }) => Vec::new(),
        devices => devices?,
    };
    let mut signed_in: Vec<SignedIn> = (devices.into_iter())
        .filter_map(|device| {
            let last = device.last_use.clone()?;
            Some(SignedIn { device, last })
        })
        .filter(|used| since.is_none_or(|since| used.at() >= since))
        .collect();
    signed_in.sort_by_key(SignedIn::at);
    Ok(signed_in)
}

impl Answer for SignedIn {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (device, last) = (&self.device, &self.last);
        let entry = Entry {
            at: last.at,
            action: SIGNED_IN,
            mailbox: Some(&device.mailbox),
            label: Some(&device.label),
            device: Some(&device.id),
            person: device.person.as_ref(),
            more: Some(format!("{}, {}", what(last), times(last.count))),
            by: None,
        };
        writeln!(f, "{entry}")
    }

    fn json(&self) -> Value {
        let (device, last) = (&self.device, &self.last);
        json!({
            "at": stamp(last.at),
            "action": SIGNED_IN,
            "mailbox": device.mailbox.as_str(),
            "person": device.person.as_ref().map(Person::as_str),
            "access": device.access.as_ref().map(AccessId::as_str),
            "id": device.id.as_str(),
            "label": device.label.as_str(),
            "service": last.service.to_string(),
            "address": last.address.map(|address| address.to_string()),
            "count": last.count,
            "first": stamp(last.first),
        })
    }

    fn quiet(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.device.id)
    }
}

/// Beside the words of [`Action`].
const SIGNED_IN: &str = "signed-in";

impl Answer for EventRow {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = self.detail.as_deref().map(|detail| {
            if self.action == Action::Renamed.as_str() {
                format!("was {detail:?}")
            } else if self.action == Action::TriedAgain.as_str() {
                format!("from {detail}")
            } else if self.action == Action::Rotated.as_str() {
                format!("old password until {detail}")
            } else {
                detail.to_owned()
            }
        });
        let entry = Entry {
            at: self.at,
            action: &self.action,
            mailbox: self.mailbox.as_ref(),
            label: self.label.as_ref(),
            device: self.device.as_ref(),
            person: self.person.as_ref(),
            more,
            by: (self.via != Via::Daemon.as_str()).then_some(&self.actor),
        };
        writeln!(f, "{entry}")
    }

    fn json(&self) -> Value {
        json!({
            "at": stamp(self.at),
            "action": self.action,
            "actor": self.actor,
            "via": self.via,
            "mailbox": self.mailbox.as_ref().map(Mailbox::as_str),
            "person": self.person.as_ref().map(Person::as_str),
            "access": self.access.as_ref().map(AccessId::as_str),
            "id": self.device.as_ref().map(DeviceId::as_str),
            "label": self.label.as_ref().map(Label::as_str),
            "detail": self.detail,
        })
    }

    fn quiet(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.device {
            Some(device) => writeln!(f, "{device}"),
            None => Ok(()),
        }
    }
}

/// One line for people.
struct Entry<'a> {
    at: Timestamp,
    action: &'a str,
    mailbox: Option<&'a Mailbox>,
    label: Option<&'a Label>,
    device: Option<&'a DeviceId>,
    person: Option<&'a Person>,
    more: Option<String>,
    /// `None`: nobody did it, the daemon saw it.
    by: Option<&'a str>,
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {:14} ", self.at, shown(self.action))?;
        if let Some(mailbox) = self.mailbox {
            write!(f, " {}", shown(mailbox.as_str()))?;
        }
        if let Some(label) = self.label {
            write!(f, " {:?}", label.as_str())?;
        }
        if let Some(device) = self.device {
            write!(f, " {device}")?;
        }
        if let Some(person) = self.person {
            write!(f, " {}", shown(person.as_str()))?;
        }
        if let Some(more) = &self.more {
            write!(f, " ({})", shown(more))?;
        }
        match self.by {
            Some(by) => write!(f, " by {}", shown(by)),
            None => Ok(()),
        }
    }
}
