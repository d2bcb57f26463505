//! `dovelatch test`: would this password be let in? Asks the daemon itself, through its socket.

use std::fmt;

use serde_json::{Value, json};

use super::context::{Context, in_default_domain};
use super::error::Error;
use super::output::{Answer, shown};
use super::sign_in::{Daemon, Said};
use crate::model::Mailbox;

/// Sign in through the daemon's socket, as a mail program would
///
/// The password is asked for, or read from standard input.
#[derive(Debug, clap::Args)]
pub(crate) struct Test {
    /// Mailbox to sign in to
    mailbox: Mailbox,
}

impl Test {
    pub(crate) fn run(&self, context: &mut Context<'_>) -> Result<(), Error> {
        let config = context.config()?;
        let mailbox = in_default_domain(&self.mailbox, &config)?;
        // First of all: nobody shall type a password that nobody can check.
        let daemon = Daemon::reach(&config)?;
        let password = context
            .input
            .password(&format!("Password for {mailbox}: "))?;
        let said = daemon.sign_in(&mailbox, password)?;
        let path = daemon.path;
        match said {
            Said::Accepted { device } => context.output.answer(&Accepted { mailbox, device }),
            Said::Refused => Err(Error::LoginRefused { path, mailbox }),
            Said::TryLater { cause } => Err(Error::TryLater { path, cause }),
        }
    }
}

struct Accepted {
    mailbox: Mailbox,
    device: Option<String>,
}

impl Answer for Accepted {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mailbox = shown(self.mailbox.as_str());
        match &self.device {
            Some(device) => {
                writeln!(
                    f,
                    "accepted: {mailbox} signs in with device password {}",
                    shown(device)
                )
            }
            None => writeln!(f, "accepted: {mailbox} signs in"),
        }
    }

    fn json(&self) -> Value {
        json!({ "mailbox": self.mailbox.as_str(), "accepted": true, "id": self.device })
    }
}
