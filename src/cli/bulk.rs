//! What ends many device passwords at once: it says first which, and asks.

use super::context::{Context, Database};
use super::error::Error;
use super::output::shown;
use crate::store::{AccessListRow, DeviceRow, Revoked};

/// Most device passwords that a question names one by one.
const MAX_NAMED: usize = 20;

/// How a bulk command is asked for.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Question {
    /// Answer the question with yes
    #[arg(long)]
    pub(crate) yes: bool,
    /// Only say which would be revoked, and change nothing
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
}

impl Question {
    /// Names what will be revoked and asks, unless the answer was given with the command.
    ///
    /// # Errors
    ///
    /// [`Error::NeedsYes`] without a terminal, [`Error::NotConfirmed`], [`Error::Input`].
    pub(crate) fn ask(
        self,
        context: &mut Context<'_>,
        act: &'static str,
        devices: &[DeviceRow],
        question: &str,
    ) -> Result<(), Error> {
        if self.yes {
            return Ok(());
        }
        let mut text: String = devices
            .iter()
            .take(MAX_NAMED)
            .map(|device| format!("will be revoked: {}\n", named(device)))
            .collect();
        if let Some(more) = devices
            .len()
            .checked_sub(MAX_NAMED)
            .filter(|more| *more > 0)
        {
            text += &format!("and {more} more; --dry-run shows them all\n");
        }
        let question = format!("{text}{question}");
        context.input.confirm(context.output, act, &question)
    }
}

/// `"tablet" of office@example.org for bob@example.org (dp-kqtmwhzrnb)`
pub(crate) fn named(device: &DeviceRow) -> String {
    let person = device.person.as_ref().map_or(String::new(), |person| {
        format!(" for {}", shown(person.as_str()))
    });
    let mailbox = shown(device.mailbox.as_str());
    format!(
        "{:?} of {mailbox}{person} ({})",
        device.label.as_str(),
        device.id
    )
}

/// The active device passwords that hang on these accesses.
///
/// # Errors
///
/// The store's.
pub(crate) fn of_accesses(
    database: &Database,
    accesses: &[AccessListRow],
) -> Result<Vec<DeviceRow>, Error> {
    let mut devices = Vec::new();
    for access in accesses {
        let store = &database.admin.store;
        let mut on_mailbox = store.devices(Some(&access.mailbox), Revoked::Hidden)?;
        on_mailbox.retain(|device| device.access.as_ref() == Some(&access.id));
        devices.append(&mut on_mailbox);
    }
    Ok(devices)
}
