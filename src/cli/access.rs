//! `dovelatch access …`: which person may open which mailbox.

use std::fmt;

use clap::Subcommand;
use serde_json::{Value, json};

use super::bulk::{self, Question};
use super::context::{Context, Database};
use super::error::Error;
use super::live;
use super::output::{Answer, shown};
use super::revoke::RevokedDevices;
use super::table::Table;
use crate::model::{AccessId, Mailbox, Person};
use crate::store::{self, AccessListRow};

/// Give and take away the access of persons to mailboxes
#[derive(Debug, clap::Args)]
pub(crate) struct Command {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Let a person have device passwords on a mailbox
    Add {
        /// For example office@example.org
        mailbox: Mailbox,
        /// Added before with `person add`
        person: Person,
    },
    /// Take a person's access to a mailbox away, and revoke their device passwords on it
    ///
    /// Asks first, and says what will be revoked. Nobody else's are touched, nor this person's on other
    /// mailboxes.
    #[command(visible_aliases = ["rm", "delete"])]
    Remove {
        mailbox: Mailbox,
        person: Person,
        #[command(flatten)]
        question: Question,
    },
    /// List who has access to what
    #[command(visible_alias = "ls")]
    List {
        /// Only to this mailbox
        mailbox: Option<Mailbox>,
        /// Only of this person
        #[arg(long, value_name = "PERSON")]
        person: Option<Person>,
    },
}

impl Command {
    pub(crate) fn run(&self, context: &mut Context<'_>) -> Result<(), Error> {
        match &self.act {
            Act::Add { mailbox, person } => add(mailbox, person, context),
            Act::Remove {
                mailbox,
                person,
                question,
            } => remove(mailbox, person, *question, context),
            Act::List { mailbox, person } => {
                let database = context.database()?;
                let mailbox = database.any_mailbox(mailbox.as_ref())?;
                let person = database.any_person(person.as_ref())?;
                let store = &database.admin.store;
                let accesses = store.accesses(mailbox.as_ref(), person.as_ref())?;
                context.output.answer(&Accesses(accesses))
            }
        }
    }
}

fn add(typed: &Mailbox, person: &Person, context: &mut Context<'_>) -> Result<(), Error> {
    let mut database = context.database()?;
    let mailbox = database.mailbox(typed)?;
    let person = database.person(person)?;
    let Database { admin, .. } = &mut database;
    let now = context.now();
    let id = (admin.store).give_access(&mailbox, &person, &admin.actor, now)?;
    context.output.answer(&Given {
        id,
        mailbox: &mailbox,
        person: &person,
    })?;
    context.output.note(format_args!(
        "to issue a device password:\n  dovelatch add {} DEVICE --person {}",
        shown(mailbox.as_str()),
        shown(person.as_str())
    ));
    Ok(())
}

fn remove(
    typed: &Mailbox,
    person: &Person,
    question: Question,
    context: &mut Context<'_>,
) -> Result<(), Error> {
    let mut database = context.database_to_take_away()?;
    let mailbox = database.mailbox(typed)?;
    let person = database.person(person)?;
    let store = &database.admin.store;
    store.person(&person)?;
    let accesses = store.accesses(Some(&mailbox), Some(&person))?;
    if accesses.is_empty() {
        return Err(Error::Store(store::Error::NoAccess { mailbox, person }));
    }
    let devices = bulk::of_accesses(&database, &accesses)?;
    if question.dry_run {
        return context.output.answer(&RevokedDevices::planned(devices));
    }
    let question_text = format!(
        "Take the access of {} to {} away?",
        shown(person.as_str()),
        shown(mailbox.as_str())
    );
    question.ask(context, "access remove", &devices, &question_text)?;
    // An answer takes its time: what ends is what is there by then. Read just before it is taken away.
    let accesses = (database.admin.store).accesses(Some(&mailbox), Some(&person))?;
    let Database { admin, .. } = &mut database;
    let now = context.now();
    let revoked = (admin.store).take_access(&mailbox, &person, &admin.actor, now)?;
    let answered = context.output.answer(&Taken {
        mailbox: &mailbox,
        person: &person,
        revoked: RevokedDevices::done(revoked),
    });
    live::end_accesses(context, &database, &accesses);
    answered
}

struct Given<'a> {
    id: AccessId,
    mailbox: &'a Mailbox,
    person: &'a Person,
}

impl Answer for Given<'_> {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mailbox, person) = (shown(self.mailbox.as_str()), shown(self.person.as_str()));
        writeln!(f, "gave {person} access to {mailbox} ({})", self.id)
    }

    fn json(&self) -> Value {
        json!({
            "access": self.id.as_str(),
            "mailbox": self.mailbox.as_str(),
            "person": self.person.as_str(),
        })
    }

    fn quiet(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.id)
    }
}

struct Taken<'a> {
    mailbox: &'a Mailbox,
    person: &'a Person,
    revoked: RevokedDevices,
}

impl Answer for Taken<'_> {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.revoked.devices.is_empty() {
            self.revoked.words(f)?;
        }
        let (mailbox, person) = (shown(self.mailbox.as_str()), shown(self.person.as_str()));
        writeln!(f, "took the access of {person} to {mailbox} away")
    }

    fn json(&self) -> Value {
        json!({
            "mailbox": self.mailbox.as_str(),
            "person": self.person.as_str(),
            "revoked": self.revoked.json(),
        })
    }
}

struct Accesses(Vec<AccessListRow>);

impl Answer for Accesses {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return writeln!(f, "no access");
        }
        write!(f, "{}", accesses_table(&self.0))
    }

    fn json(&self) -> Value {
        self.0.iter().map(access_json).collect()
    }

    fn quiet(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|access| writeln!(f, "{}", access.id))
    }
}

pub(crate) fn accesses_table(accesses: &[AccessListRow]) -> Table<5> {
    let mut table = Table::new(["MAILBOX", "PERSON", "ID", "DEVICES", "GIVEN (UTC)"]);
    for access in accesses {
        table.push([
            access.mailbox.as_str(),
            access.person.as_str(),
            access.id.as_str(),
            &access.active.to_string(),
            &access.given.to_string(),
        ]);
    }
    table
}

pub(crate) fn access_json(access: &AccessListRow) -> Value {
    json!({
        "id": access.id.as_str(),
        "mailbox": access.mailbox.as_str(),
        "person": access.person.as_str(),
        "devices": access.active,
        "given": format!("{:#}", access.given),
        "given_by": access.given_by,
    })
}
