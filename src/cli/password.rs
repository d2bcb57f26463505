//! A new password on its way to its owner: shown once, or taken back.

use serde_json::Value;

use super::bulk::named;
use super::context::Context;
use super::error::Error;
use super::limits::opens;
use super::output::shown;
use super::show::device_json;
use crate::admin::{self, Admin, Issued};
use crate::secret::Secret;
use crate::store::DeviceRow;

/// Shows a new password. One that cannot have been seen is taken back: it must not work.
///
/// # Errors
///
/// [`Error::NotShown`]; [`Error::NotWithdrawn`] if it could not even be taken back.
pub(crate) fn show_or_withdraw(
    issued: &Issued,
    admin: &mut Admin,
    context: &mut Context<'_>,
) -> Result<(), Error> {
    let Err(source) = context.output.password(issued) else {
        return Ok(());
    };
    match admin.withdraw(issued, context.now()) {
        Ok(()) => Err(Error::NotShown {
            label: issued.device.label.to_string(),
            source,
        }),
        Err(source) => Err(not_withdrawn(issued, source)),
    }
}

/// A rotation that is done again ends the password that nobody saw, and keeps the old one until
/// then. To revoke would end that one too.
fn not_withdrawn(issued: &Issued, source: admin::Error) -> Error {
    Error::NotWithdrawn {
        id: issued.device.id.clone(),
        label: issued.device.label.to_string(),
        command: match issued.secret {
            Some(_) => "rotate",
            None => "revoke",
        },
        source: Box::new(source),
    }
}

/// All that its owner must type, for a terminal.
pub(crate) fn card(issued: &Issued) -> Secret {
    let device = &issued.device;
    let head = format!(
        "\n  log-in name  {}\n  password     ",
        shown(device.mailbox.as_str())
    );
    let person = device.person.as_ref().map_or(String::new(), |person| {
        format!("\n  person       {}", shown(person.as_str()))
    });
    let tail = format!(
        "\n  device       {} ({}){person}\n  opens        {}\n\n",
        shown(device.label.as_str()),
        device.id,
        opens(&device.limits)
    );
    let card = [head.as_bytes(), issued.password.expose(), tail.as_bytes()].concat();
    Secret::new(card)
}

/// The device as a document, with its password.
pub(crate) fn document(issued: &Issued) -> Value {
    let mut value = device_json(&issued.device);
    if let Value::Object(members) = &mut value {
        let password = String::from_utf8_lossy(issued.password.expose()).into_owned();
        members.insert("password".to_owned(), Value::String(password));
    }
    value
}

/// What goes to standard error where the password goes alone.
pub(crate) fn note(device: &DeviceRow) -> String {
    format!(
        "device password {}\nopens {}",
        named(device),
        opens(&device.limits)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DeviceId, Limits, Timestamp};
    use crate::store::{self, SecretId};

    #[test]
    fn a_rotation_that_cannot_be_taken_back_spares_the_old_password() {
        let hint = |secret| {
            let id: DeviceId = "dp-kqtmwhzrnb".parse().unwrap();
            let issued = Issued {
                device: DeviceRow {
                    id: id.clone(),
                    mailbox: "ana@example.org".parse().unwrap(),
                    person: None,
                    label: "phone".parse().unwrap(),
                    limits: Limits::default(),
                    issued: Timestamp::from_unix(0),
                    issued_by: "root".to_owned(),
                    revoked: None,
                    revoked_by: None,
                    access: None,
                    old_until: None,
                    last_use: None,
                    attempts: None,
                    last_sign_of_life: Timestamp::from_unix(0),
                },
                password: Secret::default(),
                secret,
            };
            let source = admin::Error::Store(store::Error::NoSuchDevice { id });
            not_withdrawn(&issued, source).hint().unwrap()
        };
        assert_eq!(
            hint(None),
            "it may work: run `dovelatch revoke --id dp-kqtmwhzrnb`"
        );
        assert_eq!(
            hint(Some(SecretId(2))),
            "it may work: run `dovelatch rotate --id dp-kqtmwhzrnb`"
        );
    }
}
