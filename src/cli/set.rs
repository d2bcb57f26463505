//! `dovelatch set`: other limits for the same device password.

use std::fmt;

use serde_json::Value;

use super::bulk::named;
use super::context::Context;
use super::error::Error;
use super::limits::{Wanted, opens};
use super::output::Answer;
use super::show::{device_json, is_expired};
use super::which::Which;
use crate::model::Timestamp;
use crate::store::DeviceRow;

/// Change the limits of a device password; its secret stays
///
/// Limits that are not named stay as they are. They hold from the next log-in on; the days of
/// --expires-unused count from now.
#[derive(Debug, clap::Args)]
pub(crate) struct Set {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    limits: Wanted,
}

impl Set {
    pub(crate) fn run(&self, context: &mut Context<'_>) -> Result<(), Error> {
        if self.limits.is_empty() {
            return Err(Error::Usage {
                shown: "error: set takes at least one of --services, --networks, --expires, \
                        --expires-unused\n\nFor more information, try '--help'.\n"
                    .to_owned(),
            });
        }
        let mut database = context.database()?;
        let device = self.which.active(&database)?;
        let now = context.now();
        let change = |limits| self.limits.applied(limits, now);
        let device = database.admin.set_limits(&device.id, change, now)?;
        context.output.answer(&Changed { device, now })
    }
}

struct Changed {
    device: DeviceRow,
    now: Timestamp,
}

impl Answer for Changed {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = &self.device;
        writeln!(f, "set the limits of {}", named(device))?;
        if is_expired(device, self.now) {
            return writeln!(
                f,
                "it has expired: it opens nothing until a later --expires"
            );
        }
        writeln!(f, "opens {}", opens(&device.limits))
    }

    fn json(&self) -> Value {
        device_json(&self.device)
    }

    fn quiet(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.device.id)
    }
}
