//! `dovelatch mailbox …`: which mailboxes there are, and what is special about each.

use std::fmt;

use clap::Subcommand;
use serde_json::{Value, json};

use super::bulk::Question;
use super::config::fields_json;
use super::context::{Context, Database};
use super::error::Error;
use super::live;
use super::names::{self, Name};
use super::output::{Answer, shown};
use super::revoke::{Removed, RevokedDevices};
use super::table::Table;
use crate::model::{Field, FieldName, Fields, Mailbox};
use crate::store::{IfThere, MailboxRow, Revoked};

/// Add, list, disable and remove mailboxes
#[derive(Debug, clap::Args)]
pub(crate) struct Command {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Add mailboxes: all of them, or none. Makes the database if there is none
    #[command(visible_alias = "create")]
    Add {
        /// For example ana@example.org, as Dovecot names it; or - for one a line on standard input
        #[arg(value_name = "NAME", required = true)]
        names: Vec<Name<Mailbox>>,
        /// Pass over those that are there already
        #[arg(long)]
        if_missing: bool,
    },
    /// List all mailboxes
    #[command(visible_alias = "ls")]
    List,
    /// Show one mailbox
    Show {
        #[arg(value_name = "NAME")]
        name: Mailbox,
    },
    /// Let its device passwords work again
    Enable {
        #[arg(value_name = "NAME")]
        name: Mailbox,
    },
    /// Refuse every log-in, but keep the device passwords; mail is still delivered
    Disable {
        #[arg(value_name = "NAME")]
        name: Mailbox,
    },
    /// Set userdb fields of its own: where its mail lives, or any other setting of Dovecot
    ///
    /// They hold in direct mode, from the next log-in and the next mail delivered on, in place of those of
    /// [userdb]. Dovecot passes over a setting that it does not know without a word, and dovelatch does not
    /// know Dovecot's settings: look at what comes out with `doveadm user NAME`.
    Set {
        #[arg(value_name = "NAME")]
        name: Mailbox,
        /// For example quota_rule=*:storage=2G; %{user}, %{local} and %{domain} stand for its name
        #[arg(long, value_name = "FIELD=VALUE")]
        field: Vec<Field>,
        /// Have what [userdb] says again
        #[arg(long, value_name = "FIELD")]
        remove_field: Vec<FieldName>,
    },
    /// Remove a mailbox and revoke every device password on it; asks first. No mail is touched
    #[command(visible_aliases = ["rm", "delete"])]
    Remove {
        #[arg(value_name = "NAME")]
        name: Mailbox,
        #[command(flatten)]
        question: Question,
    },
}

impl Command {
    pub(crate) fn run(&self, context: &mut Context<'_>) -> Result<(), Error> {
        match &self.act {
            Act::Add { names, if_missing } => add(names, *if_missing, context),
            Act::List => {
                let mailboxes = context.database()?.admin.store.mailboxes()?;
                context.output.answer(&Mailboxes(mailboxes))
            }
            Act::Show { name } => {
                let database = context.database()?;
                let mailbox = database.mailbox(name)?;
                let row = database.admin.store.mailbox(&mailbox)?;
                context.output.answer(&Shown(row))
            }
            Act::Enable { name } => set_enabled(name, true, context),
            Act::Disable { name } => set_enabled(name, false, context),
            Act::Set {
                name,
                field,
                remove_field,
            } => set(name, field, remove_field, context),
            Act::Remove { name, question } => remove(name, *question, context),
        }
    }
}

fn add(names: &[Name<Mailbox>], if_missing: bool, context: &mut Context<'_>) -> Result<(), Error> {
    let names = names::all(names, &context.input)?;
    let mut database = context.database_or_new()?;
    let names: Vec<Mailbox> = names
        .iter()
        .map(|name| database.mailbox(name))
        .collect::<Result<_, _>>()?;
    let now = context.now();
    let admin = &mut database.admin;
    let mailboxes = (admin.store).add_mailboxes(&names, if_there(if_missing), &admin.actor, now)?;
    context.output.answer(&Did {
        word: "added",
        mailboxes,
    })
}

/// What `--if-missing` means.
pub(crate) fn if_there(if_missing: bool) -> IfThere {
    if if_missing {
        IfThere::Skip
    } else {
        IfThere::Refuse
    }
}

fn set_enabled(name: &Mailbox, enabled: bool, context: &mut Context<'_>) -> Result<(), Error> {
    let mut database = match enabled {
        true => context.database()?,
        false => context.database_to_take_away()?,
    };
    let mailbox = database.mailbox(name)?;
    let admin = &mut database.admin;
    admin
        .store
        .set_mailbox_enabled(&mailbox, enabled, &admin.actor, context.now())?;
    let word = if enabled { "enabled" } else { "disabled" };
    let answered = context.output.answer(&Did {
        word,
        mailboxes: vec![mailbox.clone()],
    });
    if !enabled {
        let devices = (database.admin.store).devices(Some(&mailbox), Revoked::Hidden);
        live::end_mailbox(context, &database, &mailbox, &devices.unwrap_or_default());
    }
    answered
}

fn set(
    name: &Mailbox,
    wanted: &[Field],
    unwanted: &[FieldName],
    context: &mut Context<'_>,
) -> Result<(), Error> {
    let mut names: Vec<&FieldName> = wanted.iter().map(|field| &field.name).collect();
    names.extend(unwanted);
    if names.is_empty() {
        return Err(usage(
            "mailbox set takes at least one of --field, --remove-field",
        ));
    }
    names.sort();
    if let Some((name, _)) = names
        .iter()
        .zip(names.iter().skip(1))
        .find(|(one, other)| one == other)
    {
        return Err(usage(&format!("mailbox set was told twice about {name}")));
    }
    let mut database = context.database()?;
    let mailbox = database.mailbox(name)?;
    let now = context.now();
    let admin = &mut database.admin;
    let change = |fields: &mut Fields| {
        // First make room.
        for name in unwanted {
            fields.remove(name);
        }
        (wanted.iter().cloned()).try_for_each(|field| fields.set(field.name, field.value))
    };
    (admin.store).set_mailbox_fields(&mailbox, change, &admin.actor, now)?;
    let row = admin.store.mailbox(&mailbox)?;
    context.output.answer(&FieldsSet(row))
}

fn usage(mistake: &str) -> Error {
    Error::Usage {
        shown: format!("error: {mistake}\n\nFor more information, try '--help'.\n"),
    }
}

fn remove(name: &Mailbox, question: Question, context: &mut Context<'_>) -> Result<(), Error> {
    let mut database: Database = context.database_to_take_away()?;
    let mailbox = database.mailbox(name)?;
    let store = &database.admin.store;
    let devices = store.devices(Some(&mailbox), Revoked::Hidden)?;
    if question.dry_run {
        return context.output.answer(&RevokedDevices::planned(devices));
    }
    let text = format!(
        "Remove {} and revoke its device passwords ({})?",
        shown(mailbox.as_str()),
        devices.len()
    );
    question.ask(context, "mailbox remove", &devices, &text)?;
    let now = context.now();
    let admin = &mut database.admin;
    let revoked = (admin.store).remove_mailbox(&mailbox, &admin.actor, now)?;
    let revoked = RevokedDevices::done(revoked);
    let answered = context.output.answer(&Removed {
        kind: "mailbox",
        name: mailbox.as_str(),
        revoked: &revoked,
    });
    live::end_mailbox(context, &database, &mailbox, &revoked.devices);
    answered
}

/// What was done to which mailboxes.
struct Did {
    word: &'static str,
    mailboxes: Vec<Mailbox>,
}

impl Answer for Did {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.word;
        if self.mailboxes.is_empty() {
            return writeln!(f, "nothing was {word}");
        }
        self.mailboxes
            .iter()
            .try_for_each(|name| writeln!(f, "{word} mailbox {}", shown(name.as_str())))
    }

    fn json(&self) -> Value {
        let names: Vec<&str> = self.mailboxes.iter().map(Mailbox::as_str).collect();
        json!({ self.word: names })
    }
}

struct Mailboxes(Vec<MailboxRow>);

impl Answer for Mailboxes {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return writeln!(f, "no mailboxes");
        }
        let mut table = Table::new(["MAILBOX", "STATE", "DEVICES", "ADDED (UTC)"]);
        for row in &self.0 {
            table.push([
                row.mailbox.as_str(),
                state(row),
                &row.active.to_string(),
                &row.added.to_string(),
            ]);
        }
        write!(f, "{table}")
    }

    fn json(&self) -> Value {
        self.0.iter().map(mailbox_json).collect()
    }

    fn quiet(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|row| writeln!(f, "{}", shown(row.mailbox.as_str())))
    }
}

struct Shown(MailboxRow);

impl Answer for Shown {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = &self.0;
        writeln!(f, "mailbox  {}", shown(row.mailbox.as_str()))?;
        writeln!(f, "state    {}", state(row))?;
        writeln!(f, "devices  {} active", row.active)?;
        writeln!(f, "added    {} UTC", row.added)?;
        own_fields(f, &row.fields)
    }

    fn json(&self) -> Value {
        mailbox_json(&self.0)
    }

    fn quiet(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", shown(self.0.mailbox.as_str()))
    }
}

struct FieldsSet(MailboxRow);

impl Answer for FieldsSet {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = shown(self.0.mailbox.as_str());
        if self.0.fields.is_empty() {
            return writeln!(f, "mailbox {name} has no fields of its own");
        }
        writeln!(
            f,
            "mailbox {name} has these fields of its own; Dovecot ignores what it does not know:"
        )?;
        own_fields(f, &self.0.fields)
    }

    fn json(&self) -> Value {
        mailbox_json(&self.0)
    }

    fn quiet(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", shown(self.0.mailbox.as_str()))
    }
}

/// One a line, as `--field` takes them.
fn own_fields(f: &mut fmt::Formatter<'_>, fields: &Fields) -> fmt::Result {
    fields
        .iter()
        .try_for_each(|(name, value)| writeln!(f, "field    {name}={}", shown(value.as_str())))
}

fn state(row: &MailboxRow) -> &'static str {
    if row.enabled { "enabled" } else { "disabled" }
}

fn mailbox_json(row: &MailboxRow) -> Value {
    json!({
        "mailbox": row.mailbox.as_str(),
        "enabled": row.enabled,
        "devices": row.active,
        "added": format!("{:#}", row.added),
        "fields": fields_json(&row.fields),
    })
}
