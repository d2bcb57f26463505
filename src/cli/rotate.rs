//! `dovelatch rotate`: a new secret for a device that is known already.

use super::context::Context;
use super::error::Error;
use super::live;
use super::password;
use super::span::Span;
use super::which::Which;
use crate::{admin, store};

/// Replace a device's password by a new one and show it, once
///
/// The device keeps its id, its label and its limits. The old password ends when the new one was
/// written, or so much later as --keep-old says; if writing fails, the new one is taken back and the old
/// one lives on.
#[derive(Debug, clap::Args)]
pub(crate) struct Rotate {
    #[command(flatten)]
    which: Which,
    /// Let the old password work on for so long: 24h, 7d
    #[arg(long, value_name = "SPAN")]
    keep_old: Option<Span>,
}

impl Rotate {
    pub(crate) fn run(&self, context: &mut Context<'_>) -> Result<(), Error> {
        let mut database = context.database()?;
        let device = self.which.active(&database)?;
        let enabled = database.admin.store.mailbox(&device.mailbox)?.enabled;
        let issued = database.admin.begin_rotation(&device.id, context.now())?;
        password::show_or_withdraw(&issued, &mut database.admin, context)?;
        let now = context.now();
        let old_until = self.keep_old.map(|span| now.plus(span.duration()));
        (database.admin)
            .finish_rotation(&issued, old_until, now)
            .map_err(not_ended)?;
        // Wiped now: what follows takes seconds.
        drop(issued);
        let old = old_until.map_or("has ended".to_owned(), |until| {
            format!("works until {until} UTC")
        });
        context.output.note(format_args!(
            "The old password {old}.\nThe new one is not stored and cannot be shown again."
        ));
        if !enabled {
            context.note_disabled(&device.mailbox);
        }
        if old_until.is_none() {
            live::end_devices(context, &database, std::slice::from_ref(&device));
        }
        Ok(())
    }
}

/// Somebody else revoked or rotated it meanwhile: then the new password does not work either, and the
/// store says so. Otherwise both do.
fn not_ended(error: admin::Error) -> Error {
    match error {
        admin::Error::Store(
            store::Error::AlreadyRevoked { .. } | store::Error::AlreadyEnded { .. },
        ) => Error::Admin(error),
        admin::Error::Store(_) | admin::Error::Password(_) | admin::Error::Random(_) => {
            Error::NotEnded { source: error }
        }
    }
}
