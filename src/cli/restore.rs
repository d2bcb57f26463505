//! `dovelatch db restore`: a backup becomes the database again. It says first what comes back and what
//! goes, and asks.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Value, json};

use super::bulk::named;
use super::context::Context;
use super::error::Error;
use super::live;
use super::output::{Answer, shown};
use super::show::device_json;
use crate::model::{Mailbox, Person, Timestamp};
use crate::store::{AccessListRow, DeviceRow, Living, Restore, Restored, Unknown, Wishes};

/// Most lines of each kind in the question.
const MAX_NAMED: usize = 20;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Make a backup the database again
///
/// What was revoked, replaced, removed, disabled or limited in the current database stays so; what is
/// not in the backup is revoked. A daemon that runs goes on with the result at once.
/// Where the current database is missing, cannot be read, is another one than was backed up or is
/// older than the backup, nothing tells what was revoked since the backup: then one of the two options
/// below is needed, the old file is kept beside the new one, and the daemon may need a reload.
#[derive(Debug, clap::Args)]
pub(crate) struct Command {
    /// What `db backup` wrote; it is only read
    file: PathBuf,
    /// Revoke whatever was issued before this day, UTC: 2027-01-31
    #[arg(long, value_name = "DATE")]
    revoke_issued_before: Option<Day>,
    /// Let work again what may have been revoked since the backup
    #[arg(long, conflicts_with = "revoke_issued_before")]
    accept_revived: bool,
    /// Answer the question with yes
    #[arg(long)]
    yes: bool,
    /// Only say what would become of what, and change nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
}

/// The beginning of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Day(Timestamp);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum DayError {
    #[error("a day is written like 2027-01-31")]
    Form,
    #[error("the last day is 9999-12-29")]
    TooLate,
}

impl FromStr for Day {
    type Err = DayError;

    fn from_str(text: &str) -> Result<Self, DayError> {
        match (Timestamp::after_day(text), text) {
            (Some(end), _) => Ok(Self(end.minus(DAY))),
            // Days all the same; some place has another year when they end, and no time that can be written.
            (None, "9999-12-30" | "9999-12-31") => Err(DayError::TooLate),
            (None, _) => Err(DayError::Form),
        }
    }
}

impl Command {
    pub(crate) fn run(&self, context: &mut Context<'_>) -> Result<(), Error> {
        let database = context.database_path()?;
        let actor = context.actor();
        let wishes = Wishes {
            revoke_before: self.revoke_issued_before.map(|day| day.0),
            accept_revived: self.accept_revived,
        };
        let restore = Restore::prepare(&self.file, &database)?;
        let unknown = restore.unknown();
        let planned = restore.plan(wishes, &actor, context.now())?;
        if unknown.is_none() && self.accept_revived {
            context.output.note(format_args!(
                "the current database can be read: what was revoked in it stays revoked"
            ));
        }
        let report = |outcome, tense| Report {
            file: &self.file,
            database: &database,
            unknown: unknown.as_ref(),
            outcome,
            tense,
        };
        let planned = report(planned, Tense::Planned);
        if self.dry_run {
            return context.output.answer(&planned);
        }
        if !self.yes {
            let question = planned.question();
            (context.input).confirm(context.output, "db restore", &question)?;
        }
        let done = restore.run(wishes, &actor, context.now())?;
        let done = report(done, Tense::Done);
        let answered = context.output.answer(&done);
        if let Some(Unknown::Missing { path }) = &unknown {
            context
                .output
                .note(format_args!("created database {path:?}"));
        }
        end_sessions(context, &done.outcome);
        if needs_reload(unknown.as_ref()) {
            context.output.note(format_args!(
                "a daemon that runs needs a reload now: systemctl reload dovelatch"
            ));
        }
        answered
    }
}

/// As after a revocation. What was read for it is part of what was restored, so trouble with it is told by
/// whoever looks next.
fn end_sessions(context: &mut Context<'_>, outcome: &Restored) {
    let Ok(database) = context.database() else {
        return;
    };
    let Restored { lost, aged, .. } = outcome;
    let devices = [&lost.devices[..], aged].concat();
    if !devices.is_empty() {
        live::end_devices(context, &database, &devices);
    }
    if !lost.accesses.is_empty() {
        live::end_accesses(context, &database, &lost.accesses);
    }
}

/// Whether the daemon sees another database than before.
fn needs_reload(unknown: Option<&Unknown>) -> bool {
    match unknown {
        None | Some(Unknown::Older { .. }) => false,
        Some(Unknown::Missing { .. } | Unknown::Unreadable { .. } | Unknown::Other { .. }) => true,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tense {
    Planned,
    Done,
}

/// What a restore does, or did.
struct Report<'a> {
    file: &'a Path,
    database: &'a Path,
    unknown: Option<&'a Unknown>,
    outcome: Restored,
    tense: Tense,
}

impl Report<'_> {
    /// Each kind of line with the word before it: what comes back, what goes, what stays.
    fn kinds(&self) -> [Vec<String>; 6] {
        let Restored {
            back,
            lost,
            ended,
            aged,
            newer,
            disabled,
            ..
        } = &self.outcome;
        let [comes, goes, stays, old, keeps, disabled_word] = match self.tense {
            Tense::Planned => [
                "comes back",
                "will be lost",
                "stays ended",
                "will be revoked for its age",
                "keeps its newer password",
                "stays disabled",
            ],
            Tense::Done => [
                "came back",
                "lost",
                "stayed ended",
                "revoked for its age",
                "kept its newer password",
                "stayed disabled",
            ],
        };
        [
            lines(comes, back),
            lines(goes, lost),
            lines(stays, ended),
            device_lines(old, aged).collect(),
            device_lines(keeps, newer).collect(),
            mailbox_lines(disabled_word, disabled).collect(),
        ]
    }

    /// What the backup is, and why nothing is known of what was revoked, if so.
    fn head(&self) -> String {
        let Living {
            mailboxes,
            persons,
            accesses,
            devices,
            ..
        } = &self.outcome.backup;
        let mut head = format!(
            "backup {:?}: {}, {}, {}, {}",
            self.file,
            counted(mailboxes.len(), "mailbox", "mailboxes"),
            counted(persons.len(), "person", "persons"),
            counted(accesses.len(), "access", "accesses"),
            counted(devices.len(), "device password", "device passwords"),
        );
        if let Some(at) = self.outcome.backup.last_change {
            head += &format!("; last change {at} UTC");
        }
        head += "\n";
        if let Some(unknown) = self.unknown {
            head += &format!(
                "{}; nothing tells what was revoked after the backup was made\n",
                shown(&unknown.to_string())
            );
        }
        head
    }

    fn question(&self) -> String {
        let mut text = self.head();
        for lines in self.kinds() {
            text.extend(lines.iter().take(MAX_NAMED).map(|line| format!("{line}\n")));
            if let Some(more @ 1..) = lines.len().checked_sub(MAX_NAMED) {
                text += &format!("and {more} more; --dry-run shows them all\n");
            }
        }
        text + "Restore this backup?"
    }
}

impl Answer for Report<'_> {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.head())?;
        for line in self.kinds().iter().flatten() {
            writeln!(f, "{line}")?;
        }
        match self.tense {
            Tense::Planned => writeln!(f, "nothing was changed"),
            Tense::Done => {
                if let Some(aside) = &self.outcome.aside {
                    writeln!(f, "what was there is {aside:?} now")?;
                }
                writeln!(f, "restored {:?} to {:?}", self.file, self.database)
            }
        }
    }

    fn json(&self) -> Value {
        let outcome = &self.outcome;
        json!({
            "database": self.database.to_string_lossy(),
            "backup": self.file.to_string_lossy(),
            "restored": self.tense == Tense::Done,
            "in_backup": {
                "mailboxes": outcome.backup.mailboxes.len(),
                "persons": outcome.backup.persons.len(),
                "accesses": outcome.backup.accesses.len(),
                "device_passwords": outcome.backup.devices.len(),
            },
            "last_change": outcome.backup.last_change.map(|at| format!("{at:#}")),
            "came_back": living_json(&outcome.back),
            "lost": living_json(&outcome.lost),
            "stayed_ended": living_json(&outcome.ended),
            "revoked_for_age": devices_json(&outcome.aged),
            "newer_password_kept": devices_json(&outcome.newer),
            "stayed_disabled": outcome.disabled.iter().map(Mailbox::as_str).collect::<Vec<_>>(),
            "moved_aside": outcome.aside.as_ref().map(|path| path.to_string_lossy()),
            "reload_needed": needs_reload(self.unknown),
        })
    }

    /// The ids of what came back.
    fn quiet(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut devices = self.outcome.back.devices.iter();
        devices.try_for_each(|device| writeln!(f, "{}", device.id))
    }
}

fn lines(word: &str, living: &Living) -> Vec<String> {
    let persons =
        (living.persons.iter()).map(|person| format!("{word}: person {}", shown(person.as_str())));
    let accesses = (living.accesses.iter()).map(|access| {
        format!(
            "{word}: access of {} to {} ({})",
            shown(access.person.as_str()),
            shown(access.mailbox.as_str()),
            access.id
        )
    });
    mailbox_lines(word, &living.mailboxes)
        .chain(persons)
        .chain(accesses)
        .chain(device_lines(word, &living.devices))
        .collect()
}

fn mailbox_lines(word: &str, mailboxes: &[Mailbox]) -> impl Iterator<Item = String> {
    (mailboxes.iter()).map(move |mailbox| format!("{word}: mailbox {}", shown(mailbox.as_str())))
}

fn device_lines(word: &str, devices: &[DeviceRow]) -> impl Iterator<Item = String> {
    (devices.iter())
        .map(move |device| format!("{word}: {}, issued {} UTC", named(device), device.issued))
}

fn counted(number: usize, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

fn living_json(living: &Living) -> Value {
    let access = |access: &AccessListRow| {
        json!({
            "id": access.id.as_str(),
            "mailbox": access.mailbox.as_str(),
            "person": access.person.as_str(),
        })
    };
    json!({
        "mailboxes": living.mailboxes.iter().map(Mailbox::as_str).collect::<Vec<_>>(),
        "persons": living.persons.iter().map(Person::as_str).collect::<Vec<_>>(),
        "accesses": living.accesses.iter().map(access).collect::<Vec<_>>(),
        "device_passwords": devices_json(&living.devices),
    })
}

fn devices_json(devices: &[DeviceRow]) -> Vec<Value> {
    devices.iter().map(device_json).collect()
}
