//! `dovelatch explain`: what would become of a log-in, and why. Needs no daemon, and counts nothing.

use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

use serde_json::{Value, json};

use super::context::{Context, Database};
use super::error::{Error, Exit};
use super::output::{Answer, shown};
use super::which::Named;
use crate::attempt::{Allowed, Reason};
use crate::model::{DeviceId, Label, Mailbox, Person, Service};
use crate::verify::{Explained, Question, Shown, explain};

/// Say what would become of a log-in, and why; 77 if it would be refused
///
/// With DEVICE or --id, no password is needed: it is taken to be right. Without, it is asked for, or
/// read from standard input. The rules are asked with the database as it is: the daemon need not run,
/// and nothing is counted as a use.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "dovelatch explain MAILBOX DEVICE [--person PERSON] [OPTIONS]\n       \
                      dovelatch explain [MAILBOX] --id ID [OPTIONS]\n       \
                      dovelatch explain MAILBOX [--person PERSON] [OPTIONS]"
)]
pub(crate) struct Explain {
    /// Mailbox that is to be opened; with --id, if it is not the password's own
    #[arg(required_unless_present = "id")]
    mailbox: Option<Mailbox>,
    /// Name of the device, as `list` shows it
    #[arg(value_name = "DEVICE", id = "device")]
    label: Option<Label>,
    /// Whose device; without DEVICE, who opens the mailbox with a password of their own mailbox
    #[arg(long, value_name = "PERSON", conflicts_with = "id")]
    person: Option<Person>,
    /// Public id instead of DEVICE, for example dp-kqtmwhzrnb
    #[arg(long, value_name = "ID", conflicts_with = "device")]
    id: Option<DeviceId>,
    /// Service to sign in to: imap, pop3, smtp, sieve, or another's name
    #[arg(long, value_name = "SERVICE", default_value = "imap", value_parser = service)]
    service: Service,
    /// Address to sign in from; without one, as where the mail server reports none
    #[arg(long, value_name = "IP")]
    from: Option<IpAddr>,
}

impl Explain {
    pub(crate) fn run(&self, context: &mut Context<'_>) -> Result<Exit, Error> {
        let database = context.database()?;
        let question = self.question(&database, context)?;
        let path = &database.config.database;
        let explained = explain(path, &question, context.now(), started())?;
        let exit = match explained {
            Explained::LetIn(_) => Exit::Done,
            Explained::Refused { .. } => Exit::Refused,
        };
        context.output.answer(&Answered {
            question: &question,
            explained,
        })?;
        Ok(exit)
    }

    fn question(&self, database: &Database, context: &Context<'_>) -> Result<Question, Error> {
        let typed = database.any_mailbox(self.mailbox.as_ref())?;
        let whose = database.any_person(self.person.as_ref())?;
        let (mailbox, person, shown) = match (typed, &self.label, &self.id) {
            (typed, _, Some(id)) => {
                let device = database.admin.store.device(id)?;
                let mailbox = typed.unwrap_or_else(|| device.mailbox.clone());
                let person = delegate(&mailbox, device.mailbox.as_str());
                (mailbox, person, Shown::Device(id.clone()))
            }
            (Some(mailbox), Some(label), None) => {
                let named = Named::new(&mailbox, label, whose.as_ref());
                let device = named.any(database)?;
                (mailbox, None, Shown::Device(device.id))
            }
            (Some(mailbox), None, None) => {
                let person = whose.and_then(|person| delegate(&mailbox, person.as_str()));
                let prompt = match &person {
                    Some(person) => format!("Password of {person} for {mailbox}: "),
                    None => format!("Password for {mailbox}: "),
                };
                let password = context.input.password(&prompt)?;
                (mailbox, person, Shown::Password(password))
            }
            (None, _, None) => {
                return Err(Error::Usage {
                    shown: "error: MAILBOX or --id ID is missing\n".to_owned(),
                });
            }
        };
        Ok(Question {
            mailbox,
            person,
            shown,
            service: self.service.clone(),
            origin: self.from,
        })
    }
}

/// The owner of the mailbox `own`, if another one is to be opened.
fn delegate(wanted: &Mailbox, own: &str) -> Option<Person> {
    own.parse().ok().filter(|_| wanted.as_str() != own)
}

/// In the words of the peers, as `imap` or `submission`.
fn service(word: &str) -> Result<Service, &'static str> {
    if word.is_empty() || word.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err("a service is one word");
    }
    Ok(Service::from_wire(word.as_bytes()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the reader counts its waits from an instant, which has no other origin"
)]
fn started() -> Instant {
    Instant::now()
}

struct Answered<'a> {
    question: &'a Question,
    explained: Explained,
}

impl Answer for Answered<'_> {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Question {
            mailbox,
            person,
            service,
            origin,
            ..
        } = self.question;
        let who = person.as_ref().map_or(String::new(), |person| {
            format!(" by {}", shown(person.as_str()))
        });
        let from = origin.map_or("no address reported".to_owned(), |origin| {
            format!("from {origin}")
        });
        let mailbox = shown(mailbox.as_str());
        writeln!(f, "log-in    {mailbox}{who}, {service}, {from}")?;
        match &self.explained {
            Explained::LetIn(allowed) => {
                writeln!(f, "verdict   let in")?;
                writeln!(f, "with      {}{}", allowed.device, whose(allowed))
            }
            Explained::Refused { reason, device } => {
                writeln!(f, "verdict   refused: {}", reason.as_str())?;
                writeln!(f, "because   {}", because(*reason))?;
                match device {
                    Some(device) => writeln!(f, "with      {device}"),
                    None => Ok(()),
                }
            }
        }
    }

    fn json(&self) -> Value {
        let (reason, device, person) = match &self.explained {
            Explained::LetIn(allowed) => (None, Some(&allowed.device), allowed.person.as_ref()),
            Explained::Refused { reason, device } => (Some(*reason), device.as_ref(), None),
        };
        json!({
            "mailbox": self.question.mailbox.as_str(),
            "service": self.question.service.to_string(),
            "from": self.question.origin.map(|origin| origin.to_string()),
            "allowed": reason.is_none(),
            "reason": reason.map(Reason::as_str),
            "id": device.map(DeviceId::as_str),
            "person": person.map(|(person, _)| person.as_str()),
            "access": person.map(|(_, access)| access.as_str()),
        })
    }

    fn quiet(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.explained {
            Explained::LetIn(allowed) => writeln!(f, "{}", allowed.device),
            Explained::Refused { reason, .. } => writeln!(f, "{}", reason.as_str()),
        }
    }
}

/// ` of bob@example.org (ac-kqtmwhzrnb)`
fn whose(allowed: &Allowed) -> String {
    (allowed.person.as_ref()).map_or(String::new(), |(person, access)| {
        format!(" of {} ({access})", shown(person.as_str()))
    })
}

/// The reason in more words, and what changes it.
fn because(reason: Reason) -> &'static str {
    match reason {
        Reason::UnknownMailbox => "there is no mailbox of that name",
        Reason::UnknownPassword => "it is no device password of that mailbox",
        Reason::Revoked => "the device password was revoked, or replaced by `rotate`",
        Reason::Expired => "it has expired; `dovelatch set` moves its end",
        Reason::Disabled => "the mailbox is disabled; `dovelatch mailbox enable` ends that",
        Reason::NoAccess => {
            "access was not given, or taken away, or it is no password of their own"
        }
        Reason::WrongService => "its limits do not name the service",
        Reason::WrongNetwork => "its limits do not name a network with that address",
        Reason::Malformed => "it cannot be read",
        Reason::Mechanism => "the mechanism is not offered",
        Reason::Overload => "there is too much to do",
        Reason::InternalError => "the database is in trouble; `dovelatch db check` says more",
    }
}
