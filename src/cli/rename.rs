//! `dovelatch rename`: another label for the same device password.

use std::fmt;

use serde_json::Value;

use super::bulk::named;
use super::context::{Context, Database};
use super::error::Error;
use super::output::Answer;
use super::show::device_json;
use super::which::{Named, active_by_id};
use crate::model::{DeviceId, Label, Mailbox, Person};
use crate::store::DeviceRow;

/// Give a device another name; its password stays
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "dovelatch rename MAILBOX DEVICE NEW [--person PERSON]\n       \
                      dovelatch rename --id ID NEW"
)]
pub(crate) struct Rename {
    /// MAILBOX DEVICE NEW; or NEW alone after --id
    #[arg(value_name = "NAME", required = true, num_args = 1..=3)]
    names: Vec<String>,
    /// Whose it is, where several persons have a device of that name
    #[arg(long, value_name = "PERSON", conflicts_with = "id")]
    person: Option<Person>,
    /// Public id instead of mailbox and device, for example dp-kqtmwhzrnb
    #[arg(long, value_name = "ID")]
    id: Option<DeviceId>,
}

impl Rename {
    pub(crate) fn run(&self, context: &mut Context<'_>) -> Result<(), Error> {
        // How many names there must be depends on `--id`; clap cannot say that, so they are told
        // apart here.
        let (place, new) = match (&self.id, self.names.as_slice()) {
            (Some(id), [new]) => (Place::Id(id.clone()), new),
            (None, [mailbox, device, new]) => (
                Place::Label(value(mailbox, "MAILBOX")?, value(device, "DEVICE")?),
                new,
            ),
            (Some(_) | None, _) => {
                return Err(Error::Usage {
                    shown: "error: rename takes MAILBOX DEVICE NEW, or --id ID NEW\n\n\
                            For more information, try '--help'.\n"
                        .to_owned(),
                });
            }
        };
        let new: Label = value(new, "NEW")?;
        let mut database = context.database()?;
        let device = match place {
            Place::Id(id) => active_by_id(&database, &id)?,
            Place::Label(mailbox, label) => {
                let mailbox = database.mailbox(&mailbox)?;
                let person = database.any_person(self.person.as_ref())?;
                Named::new(&mailbox, &label, person.as_ref()).active(&database)?
            }
        };
        let Database { admin, .. } = &mut database;
        admin
            .store
            .rename(&device.id, &new, &admin.actor, context.now())?;
        context.output.answer(&Renamed { device, new })
    }
}

enum Place {
    Id(DeviceId),
    Label(Mailbox, Label),
}

/// One of the names as its domain type.
fn value<T>(text: &str, argument: &str) -> Result<T, Error>
where
    T: std::str::FromStr<Err: fmt::Display>,
{
    text.parse().map_err(|cause: T::Err| Error::Value {
        value: text.to_owned(),
        argument: argument.to_owned(),
        cause: cause.to_string(),
    })
}

struct Renamed {
    device: DeviceRow,
    new: Label,
}

impl Answer for Renamed {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "renamed {} to {:?}",
            named(&self.device),
            self.new.as_str()
        )
    }

    fn json(&self) -> Value {
        device_json(&DeviceRow {
            label: self.new.clone(),
            ..self.device.clone()
        })
    }

    fn quiet(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.device.id)
    }
}
