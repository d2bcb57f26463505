//! `dovelatch revoke`: end device passwords, for good. The emergency button: it asks nothing for
//! devices that are named.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Value, json};

use super::bulk::{Question, named};
use super::context::{Context, Database};
use super::error::Error;
use super::list::require;
use super::live;
use super::output::{Answer, shown};
use super::show::device_json;
use super::span::Span;
use super::which::{Named, active_by_id};
use crate::model::{DeviceId, Label, Mailbox, Person};
use crate::store::{DeviceRow, Selection};

/// Revoke device passwords, for good: all that are meant, or none
///
/// Every attempt that begins afterwards is refused. Sessions that are open are ended, where Dovecot can
/// be asked.
/// Devices that are named are revoked at once; --all and --unused-for ask first.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "dovelatch revoke MAILBOX DEVICE... [--person PERSON]\n       \
                      dovelatch revoke [MAILBOX] [--person PERSON] --all [--yes]\n       \
                      dovelatch revoke [MAILBOX] [--person PERSON] --unused-for 180d [--yes]\n       \
                      dovelatch revoke --id ID..."
)]
pub(crate) struct Revoke {
    /// Mailbox that the passwords open
    #[arg(required_unless_present_any = ["id", "person", "unused_for"])]
    mailbox: Option<Mailbox>,
    /// Names of the devices, as `list` shows them
    #[arg(value_name = "DEVICE", id = "device", required_unless_present_any = ["id", "all", "unused_for"])]
    labels: Vec<Label>,
    /// Only those of this person
    #[arg(long, value_name = "PERSON")]
    person: Option<Person>,
    /// Every device password of the mailbox, or of the person
    #[arg(long, conflicts_with_all = ["device", "unused_for"])]
    all: bool,
    /// Those that nobody has used for so long: 180d
    #[arg(long, value_name = "SPAN", conflicts_with = "device")]
    unused_for: Option<Span>,
    /// Public ids instead of mailbox and devices, for example dp-kqtmwhzrnb
    #[arg(
        long,
        value_name = "ID",
        num_args = 1..,
        conflicts_with_all = ["mailbox", "device", "person", "all", "unused_for"]
    )]
    id: Vec<DeviceId>,
    #[command(flatten)]
    question: Question,
}

impl Revoke {
    pub(crate) fn run(&self, context: &mut Context<'_>) -> Result<(), Error> {
        let mut database = context.database_to_take_away()?;
        let mailbox = database.any_mailbox(self.mailbox.as_ref())?;
        let person = database.any_person(self.person.as_ref())?;
        let revoked = if self.all || self.unused_for.is_some() {
            if let Some(person) = &person {
                require(&database, person)?;
            }
            let now = context.now();
            let selection = Selection {
                mailbox: mailbox.as_ref(),
                person: person.as_ref(),
                unused_since: self.unused_for.map(|span| now.minus(span.duration())),
            };
            let meant = database.admin.store.selected(&selection)?;
            if self.question.dry_run {
                return context.output.answer(&RevokedDevices::planned(meant));
            }
            if !meant.is_empty() {
                self.ask(context, &meant)?;
            }
            // An answer takes its time: what goes is what is meant by then, and not what was there
            // before the question.
            let admin = &mut database.admin;
            (admin.store).revoke_selected(&selection, &admin.actor, context.now())?
        } else {
            let named = self.named(&database, mailbox.as_ref(), person.as_ref())?;
            if self.question.dry_run {
                return context.output.answer(&RevokedDevices::planned(named));
            }
            let ids: Vec<DeviceId> = named.into_iter().map(|device| device.id).collect();
            let admin = &mut database.admin;
            admin.store.revoke(&ids, &admin.actor, context.now())?
        };
        let revoked = RevokedDevices::done(revoked);
        let answered = context.output.answer(&revoked);
        live::end_devices(context, &database, &revoked.devices);
        answered
    }

    fn ask(&self, context: &mut Context<'_>, meant: &[DeviceRow]) -> Result<(), Error> {
        let number = meant.len();
        let (act, question) = if self.unused_for.is_some() {
            let question = format!("Revoke all that were not used ({number})?");
            ("revoke --unused-for", question)
        } else {
            ("revoke --all", format!("Revoke all of these ({number})?"))
        };
        self.question.ask(context, act, meant, &question)
    }

    /// The active device passwords that are named, each once.
    fn named(
        &self,
        database: &Database,
        mailbox: Option<&Mailbox>,
        person: Option<&Person>,
    ) -> Result<Vec<DeviceRow>, Error> {
        let mut devices = Vec::new();
        for id in &self.id {
            devices.push(active_by_id(database, id)?);
        }
        if let Some(mailbox) = mailbox {
            for label in &self.labels {
                devices.push(Named::new(mailbox, label, person).active(database)?);
            }
        }
        let mut seen = BTreeSet::new();
        devices.retain(|device| seen.insert(device.id.clone()));
        Ok(devices)
    }
}

/// What was revoked, here or together with its mailbox, access or person; or would be.
pub(crate) struct RevokedDevices {
    word: &'static str,
    pub(crate) devices: Vec<DeviceRow>,
}

impl RevokedDevices {
    pub(crate) fn done(devices: Vec<DeviceRow>) -> Self {
        Self {
            word: "revoked",
            devices,
        }
    }

    pub(crate) fn planned(devices: Vec<DeviceRow>) -> Self {
        Self {
            word: "would revoke",
            devices,
        }
    }
}

impl Answer for RevokedDevices {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.devices.is_empty() {
            return writeln!(f, "no active device passwords; nothing was changed");
        }
        let word = self.word;
        self.devices
            .iter()
            .try_for_each(|device| writeln!(f, "{word} {}", named(device)))
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

/// A mailbox or a person that was removed, with what was revoked on the way.
pub(crate) struct Removed<'a> {
    /// `mailbox` or `person`.
    pub(crate) kind: &'static str,
    pub(crate) name: &'a str,
    pub(crate) revoked: &'a RevokedDevices,
}

impl Answer for Removed<'_> {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.revoked.devices.is_empty() {
            self.revoked.words(f)?;
        }
        writeln!(f, "removed {} {}", self.kind, shown(self.name))
    }

    fn json(&self) -> Value {
        json!({ "removed": [self.name], "revoked": self.revoked.json() })
    }
}
