//! What revoking does not do by itself: end the sessions that are open. Dovecot is asked to, after the
//! change is committed and its answer printed, also where it could not be printed; what becomes of that
//! changes no exit code.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::context::{Context, Database};
use super::output::{Answer, shown};
use crate::kick::{self, Ended, Failure, Target};
use crate::model::{Mailbox, Person};
use crate::store::{AccessListRow, DeviceRow, Error, Revoked, Store};

/// Most commands that are written out one by one.
const MAX_COMMANDS: usize = 5;

/// After device passwords were revoked or replaced.
pub(crate) fn end_devices(context: &mut Context<'_>, database: &Database, devices: &[DeviceRow]) {
    let store = &database.admin.store;
    let targets: Vec<Target> = (devices.iter())
        .map(|device| Target::Device {
            id: device.id.clone(),
            mailboxes: elsewhere(store, device)
                .chain([device.mailbox.clone()])
                .collect(),
        })
        .collect();
    let ended = end(database, &targets);
    say(context, &ended, || {
        let ids = devices.iter().map(|device| device.id.as_str());
        let mailboxes = devices.iter().map(|device| &device.mailbox);
        by_hand("user_device", ids.collect(), mailboxes.collect())
    });
}

/// After access was taken away: delegated sessions too, and those of the device passwords that went
/// with it. All of them carry the access.
pub(crate) fn end_accesses(
    context: &mut Context<'_>,
    database: &Database,
    accesses: &[AccessListRow],
) {
    let targets: Vec<Target> = (accesses.iter())
        .map(|access| Target::Access {
            id: access.id.clone(),
            mailbox: access.mailbox.clone(),
            own: access.person.as_str().parse().ok(),
        })
        .collect();
    let ended = end(database, &targets);
    say(context, &ended, || {
        let ids = accesses.iter().map(|access| access.id.as_str());
        let mailboxes = accesses.iter().map(|access| &access.mailbox);
        by_hand("user_access", ids.collect(), mailboxes.collect())
    });
}

/// After a mailbox was disabled or removed: its own sessions, and those that its owner opened elsewhere
/// with one of `devices`, which are its device passwords.
pub(crate) fn end_mailbox(
    context: &mut Context<'_>,
    database: &Database,
    mailbox: &Mailbox,
    devices: &[DeviceRow],
) {
    let store = &database.admin.store;
    let mut targets = vec![Target::Mailbox(mailbox.clone())];
    for device in devices {
        let mailboxes: BTreeSet<Mailbox> = elsewhere(store, device).collect();
        if !mailboxes.is_empty() {
            let id = device.id.clone();
            targets.push(Target::Device { id, mailboxes });
        }
    }
    let ended = end(database, &targets);
    say(context, &ended, || {
        format!("\n  doveadm kick {}", shown(mailbox.as_str()))
    });
}

/// The mailboxes of others that a device password opens: its owner's, where it is nobody else's. What
/// cannot be read is left out, as with all that follows: the revocation is done.
fn elsewhere(store: &Store, device: &DeviceRow) -> impl Iterator<Item = Mailbox> {
    let owner = device.mailbox.as_str().parse::<Person>().ok();
    let owner = owner.filter(|_| device.person.is_none());
    let accesses = owner.and_then(|owner| store.accesses(None, Some(&owner)).ok());
    let accesses = accesses.unwrap_or_default().into_iter();
    accesses.map(|access| access.mailbox)
}

fn end(database: &Database, targets: &[Target]) -> Ended {
    let store = &database.admin.store;
    let mut addresses = |target: &Target| addresses(store, target).unwrap_or_default();
    kick::end(&database.config.dovecot, targets, &mut addresses)
}

/// From where the target's sessions may have been opened, by what was written down so far.
fn addresses(store: &Store, target: &Target) -> Result<BTreeSet<IpAddr>, Error> {
    let mut addresses = BTreeSet::new();
    match target {
        Target::Device { id, .. } => {
            addresses.extend(store.uses(id)?.into_iter().filter_map(|row| row.address));
        }
        // Opened by the person's device passwords there, or, delegated, by those of their own mailbox.
        Target::Access { id, mailbox, own } => {
            let mut devices = store.devices(Some(mailbox), Revoked::Shown)?;
            devices.retain(|device| device.access.as_ref() == Some(id));
            if let Some(own) = own {
                // There may be no such mailbox.
                let own = store.devices(Some(own), Revoked::Hidden);
                devices.extend(own.unwrap_or_default());
            }
            for device in devices {
                let uses = store.uses(&device.id)?;
                addresses.extend(uses.into_iter().filter_map(|row| row.address));
            }
        }
        Target::Mailbox(_) => {}
    }
    Ok(addresses)
}

/// Says what became of it. Where nobody was asked, a note for people says what they could do.
fn say(context: &mut Context<'_>, ended: &Ended, by_hand: impl FnOnce() -> String) {
    match ended {
        Ended::NotAsked => {
            let by_hand = by_hand();
            if !by_hand.is_empty() {
                context.output.note(format_args!(
                    "sessions that are open go on until they end; to end them now:{by_hand}"
                ));
            }
        }
        Ended::Counted { .. } | Ended::Asked { .. } | Ended::Failed(_) => {
            context.output.aside(&Sessions(ended));
        }
    }
}

/// The commands for either Dovecot, which knows sessions by id (2.4), or by mailbox only and takes the
/// other form for something else (2.3).
fn by_hand(field: &str, mut ids: Vec<&str>, mailboxes: BTreeSet<&Mailbox>) -> String {
    if ids.is_empty() {
        return String::new();
    }
    let mut mailboxes: Vec<String> = (mailboxes.into_iter())
        .map(|mailbox| shown(mailbox.as_str()))
        .collect();
    if ids.len() > MAX_COMMANDS {
        ids = vec!["ID"];
        mailboxes = vec!["MAILBOX".to_owned()];
    }
    let mut text = String::new();
    for id in ids {
        text += &format!("\n  Dovecot 2.4: doveadm kick -f {field} {id}");
    }
    for mailbox in mailboxes {
        text += &format!("\n  Dovecot 2.3: doveadm kick {mailbox}  (all of the mailbox's)");
    }
    text
}

/// What became of the sessions, for [`super::output::Output::aside`].
struct Sessions<'a>(&'a Ended);

impl Sessions<'_> {
    fn hint(failure: &Failure) -> &'static str {
        if failure.is_denied {
            "the change stands; to end the sessions, run as root"
        } else {
            "the change stands; to end the sessions, run"
        }
    }
}

impl Answer for Sessions<'_> {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ended::NotAsked => Ok(()),
            Ended::Counted { ended: 0, open: 0 } => writeln!(f, "no session was open"),
            Ended::Counted { ended, open: 0 } => writeln!(f, "sessions ended: {ended}"),
            Ended::Counted { ended, open } => writeln!(
                f,
                "sessions ended: {ended}; told to end, and still open: {open}"
            ),
            Ended::Asked { kicks: 0 } => writeln!(
                f,
                "no session was ended: Dovecot 2.3 knows them by address, and no use from any is known"
            ),
            Ended::Asked { .. } => writeln!(f, "doveadm was told to end the sessions"),
            Ended::Failed(failure) => {
                writeln!(f, "warning: sessions that are open go on")?;
                writeln!(f, "cause: {}", shown(&failure.why))?;
                writeln!(f, "hint: {}:", Self::hint(failure))?;
                for command in failure.commands.iter().take(MAX_COMMANDS) {
                    writeln!(f, "  {}", shown(command))?;
                }
                match failure.commands.len().saturating_sub(MAX_COMMANDS) {
                    0 => Ok(()),
                    more => writeln!(f, "  and {more} more of this kind"),
                }
            }
        }
    }

    fn json(&self) -> Value {
        // How many, as far as somebody counted.
        let count = match self.0 {
            Ended::Counted { ended, open } => Some((ended, open)),
            Ended::NotAsked | Ended::Asked { .. } | Ended::Failed(_) => None,
        };
        let failure = match self.0 {
            Ended::Failed(failure) => Some(failure),
            Ended::NotAsked | Ended::Counted { .. } | Ended::Asked { .. } => None,
        };
        json!({ "sessions": {
            "ended": count.map(|(ended, _)| ended),
            "open": count.map(|(_, open)| open),
            "cause": failure.map(|failure| &failure.why),
            "hint": failure.map(Self::hint),
            "commands": failure.map_or(&[][..], |failure| &failure.commands),
        }})
    }
}
