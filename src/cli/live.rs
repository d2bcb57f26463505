//! What revoking does not do by itself: end the sessions that are open. Which command does.

use std::collections::BTreeSet;

use super::context::Context;
use super::output::shown;
use crate::model::Mailbox;
use crate::store::{AccessListRow, DeviceRow};

/// Most commands that are written out one by one.
const MAX_COMMANDS: usize = 5;

/// After device passwords were revoked. Dovecot 2.4 knows sessions by device; 2.3 by mailbox only,
/// and takes the other form for something else.
pub(crate) fn note_devices(context: &mut Context<'_>, devices: &[DeviceRow]) {
    let ids = devices.iter().map(|device| device.id.as_str());
    let mailboxes = devices.iter().map(|device| &device.mailbox);
    note(context, "user_device", ids.collect(), mailboxes.collect());
}

/// After access was taken away: delegated sessions too, which are those of the access.
pub(crate) fn note_accesses(context: &mut Context<'_>, accesses: &[AccessListRow]) {
    let ids = accesses.iter().map(|access| access.id.as_str());
    let mailboxes = accesses.iter().map(|access| &access.mailbox);
    note(context, "user_access", ids.collect(), mailboxes.collect());
}

/// After a mailbox was disabled or removed.
pub(crate) fn note_mailbox(context: &mut Context<'_>, mailbox: &Mailbox) {
    context.output.note(format_args!(
        "sessions that are open go on until they end; on Dovecot this ends them now:\n  \
         doveadm kick {}",
        shown(mailbox.as_str())
    ));
}

fn note(context: &mut Context<'_>, field: &str, mut ids: Vec<&str>, mailboxes: BTreeSet<&Mailbox>) {
    if ids.is_empty() {
        return;
    }
    let mut mailboxes: Vec<String> = (mailboxes.into_iter())
        .map(|mailbox| shown(mailbox.as_str()))
        .collect();
    if ids.len() > MAX_COMMANDS {
        ids = vec!["ID"];
        mailboxes = vec!["MAILBOX".to_owned()];
    }
    let mut text = "sessions that are open go on until they end; to end them now:".to_owned();
    for id in ids {
        text += &format!("\n  Dovecot 2.4: doveadm kick -f {field} {id}");
    }
    for mailbox in mailboxes {
        text += &format!("\n  Dovecot 2.3: doveadm kick {mailbox}  (all of the mailbox's)");
    }
    context.output.note(format_args!("{text}"));
}
