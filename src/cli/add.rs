//! `dovelatch add`: issue a device password and show it, once.

use super::context::Context;
use super::error::Error;
use super::limits::Wanted;
use super::password;
use crate::model::{Label, Mailbox, Person};

/// Issue a device password and show it, once
///
/// On a terminal it is shown with all that its owner must type; into a pipe the password goes alone.
/// If it cannot be written, it is taken back and never works. Without limits it opens every service,
/// from everywhere, until it is revoked.
#[derive(Debug, clap::Args)]
pub(crate) struct Add {
    /// Mailbox that the password opens, for example ana@example.org
    mailbox: Mailbox,
    /// Name by which the owner will recognise the device, for example phone
    #[arg(value_name = "DEVICE")]
    label: Label,
    /// For a person with access to the mailbox, instead of its owner
    #[arg(long, value_name = "PERSON")]
    person: Option<Person>,
    #[command(flatten)]
    limits: Wanted,
}

impl Add {
    pub(crate) fn run(&self, context: &mut Context<'_>) -> Result<(), Error> {
        let now = context.now();
        let limits = self.limits.of_new(now)?;
        let mut database = context.database()?;
        let mailbox = database.mailbox(&self.mailbox)?;
        let enabled = database.admin.store.mailbox(&mailbox)?.enabled;
        let person = database.any_person(self.person.as_ref())?;
        let issued =
            (database.admin).issue(&mailbox, person.as_ref(), &self.label, &limits, now)?;
        password::show_or_withdraw(&issued, &mut database.admin, context)?;
        context.output.note(format_args!(
            "This password is not stored and cannot be shown again."
        ));
        if !enabled {
            context.note_disabled(&mailbox);
        }
        Ok(())
    }
}
