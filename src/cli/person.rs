//! `dovelatch person …`: the people who have access to mailboxes.

use std::fmt;

use clap::Subcommand;
use serde_json::{Value, json};

use super::access::{access_json, accesses_table};
use super::bulk::{self, Question};
use super::context::{Context, Database};
use super::error::Error;
use super::live;
use super::mailbox::if_there;
use super::names::{self, Name};
use super::output::{Answer, shown};
use super::revoke::{Removed, RevokedDevices};
use super::table::Table;
use crate::model::Person;
use crate::store::{AccessListRow, PersonRow};

/// Add, list and remove the people who have access to mailboxes
#[derive(Debug, clap::Args)]
pub(crate) struct Command {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Add persons: all of them, or none. Makes the database if there is none
    #[command(visible_alias = "create")]
    Add {
        /// For example bob@example.org, or - for one a line on standard input
        #[arg(value_name = "NAME", required = true)]
        names: Vec<Name<Person>>,
        /// Pass over those that are there already
        #[arg(long)]
        if_missing: bool,
    },
    /// List all persons
    #[command(visible_alias = "ls")]
    List,
    /// Show one person, and what they have access to
    Show {
        #[arg(value_name = "NAME")]
        name: Person,
    },
    /// Remove a person, and revoke their device passwords on every mailbox that they have access to
    ///
    /// Asks first, and says what will be revoked. Nobody else's are touched, nor those of a mailbox of
    /// this name.
    #[command(visible_aliases = ["rm", "delete"])]
    Remove {
        #[arg(value_name = "NAME")]
        name: Person,
        #[command(flatten)]
        question: Question,
    },
}

impl Command {
    pub(crate) fn run(&self, context: &mut Context<'_>) -> Result<(), Error> {
        match &self.act {
            Act::Add { names, if_missing } => add(names, *if_missing, context),
            Act::List => {
                let persons = context.database()?.admin.store.persons()?;
                context.output.answer(&Persons(persons))
            }
            Act::Show { name } => {
                let database = context.database()?;
                let person = database.person(name)?;
                let store = &database.admin.store;
                let row = store.person(&person)?;
                let accesses = store.accesses(None, Some(&person))?;
                context.output.answer(&Shown { row, accesses })
            }
            Act::Remove { name, question } => remove(name, *question, context),
        }
    }
}

fn add(names: &[Name<Person>], if_missing: bool, context: &mut Context<'_>) -> Result<(), Error> {
    let names = names::all(names, &context.input)?;
    let mut database = context.database_or_new()?;
    let names: Vec<Person> = names
        .iter()
        .map(|name| database.person(name))
        .collect::<Result<_, _>>()?;
    let now = context.now();
    let admin = &mut database.admin;
    let added = (admin.store).add_persons(&names, if_there(if_missing), &admin.actor, now)?;
    context.output.answer(&Added(added))
}

fn remove(name: &Person, question: Question, context: &mut Context<'_>) -> Result<(), Error> {
    let mut database = context.database_to_take_away()?;
    let person = database.person(name)?;
    let store = &database.admin.store;
    store.person(&person)?;
    let accesses = store.accesses(None, Some(&person))?;
    let devices = bulk::of_accesses(&database, &accesses)?;
    if question.dry_run {
        return context.output.answer(&RevokedDevices::planned(devices));
    }
    let question_text = format!(
        "Remove {} and take away all access ({})?",
        shown(person.as_str()),
        accesses.len()
    );
    question.ask(context, "person remove", &devices, &question_text)?;
    // An answer takes its time: what ends is what is there by then. Read just before it is taken away.
    let accesses = database.admin.store.accesses(None, Some(&person))?;
    let Database { admin, .. } = &mut database;
    let now = context.now();
    let revoked = admin.store.remove_person(&person, &admin.actor, now)?;
    let revoked = RevokedDevices::done(revoked);
    let answered = context.output.answer(&Removed {
        kind: "person",
        name: person.as_str(),
        revoked: &revoked,
    });
    live::end_accesses(context, &database, &accesses);
    answered
}

struct Added(Vec<Person>);

impl Answer for Added {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return writeln!(f, "nothing was added");
        }
        self.0
            .iter()
            .try_for_each(|person| writeln!(f, "added person {}", shown(person.as_str())))
    }

    fn json(&self) -> Value {
        let names: Vec<&str> = self.0.iter().map(Person::as_str).collect();
        json!({ "added": names })
    }
}

struct Persons(Vec<PersonRow>);

impl Answer for Persons {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return writeln!(f, "no persons");
        }
        let mut table = Table::new(["PERSON", "MAILBOXES", "DEVICES", "ADDED (UTC)"]);
        for row in &self.0 {
            table.push([
                row.person.as_str(),
                &row.accesses.to_string(),
                &row.active.to_string(),
                &row.added.to_string(),
            ]);
        }
        write!(f, "{table}")
    }

    fn json(&self) -> Value {
        self.0.iter().map(person_json).collect()
    }

    fn quiet(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|row| writeln!(f, "{}", shown(row.person.as_str())))
    }
}

struct Shown {
    row: PersonRow,
    accesses: Vec<AccessListRow>,
}

impl Answer for Shown {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = &self.row;
        writeln!(f, "person   {}", shown(row.person.as_str()))?;
        writeln!(f, "added    {} UTC", row.added)?;
        writeln!(f, "devices  {} active", row.active)?;
        if self.accesses.is_empty() {
            return writeln!(f, "access   -");
        }
        write!(f, "\n{}", accesses_table(&self.accesses))
    }

    fn json(&self) -> Value {
        let mut value = person_json(&self.row);
        if let Value::Object(members) = &mut value {
            let accesses = self.accesses.iter().map(access_json).collect();
            members.insert("access".to_owned(), accesses);
        }
        value
    }

    fn quiet(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", shown(self.row.person.as_str()))
    }
}

fn person_json(row: &PersonRow) -> Value {
    json!({
        "person": row.person.as_str(),
        "mailboxes": row.accesses,
        "devices": row.active,
        "added": format!("{:#}", row.added),
    })
}
