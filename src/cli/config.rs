//! `dovelatch config …`: is the configuration right, and what holds in effect.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};

use super::context::Context;
use super::error::Error;
use super::output::Answer;
use crate::config::{Config, Dovecot, Listener};
use crate::model::{Domain, Fields, Mechanism, Separator, Template, Userdb};

/// Check the configuration, or show what holds in effect
#[derive(Debug, clap::Args)]
pub(crate) struct Command {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Read the file and touch nothing; 78 if anything is wrong
    Check,
    /// Show every setting in effect, defaults too
    Show,
}

impl Command {
    pub(crate) fn run(&self, context: &mut Context<'_>) -> Result<(), Error> {
        match self.act {
            Act::Check => {
                let path = context.config_path();
                Config::load(&path)?;
                context.output.answer(&Checked(path))
            }
            Act::Show => {
                let config = context.config()?;
                context.output.answer(&config)
            }
        }
    }
}

struct Checked(PathBuf);

impl Answer for Checked {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "configuration {:?}: ok", self.0)
    }

    fn json(&self) -> Value {
        json!({ "configuration": self.0.to_string_lossy(), "ok": true })
    }
}

/// As TOML that can be read back; a JSON string is a TOML string too.
impl Answer for Config {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let domain = self.default_domain.as_ref().map_or("", Domain::as_str);
        writeln!(f, "database = {}", path(&self.database))?;
        writeln!(f, "default_domain = {}", json!(domain))?;
        for listener in &self.listeners {
            writeln!(f, "\n[[listen]]")?;
            entries(f, &listener_json(listener))?;
        }
        writeln!(f, "\n[hash]")?;
        writeln!(f, "generated = {}", json!(self.hash.generated.to_string()))?;
        writeln!(f, "threads = {}", self.hash.threads)?;
        if let Some(separator) = self.separator {
            writeln!(f, "\n[delegation]")?;
            writeln!(f, "separator = {}", json!(separator.as_char()))?;
        }
        writeln!(f, "\n[keep]")?;
        writeln!(f, "tombstones = {}", days(self.keep.tombstones))?;
        writeln!(f, "events = {}", days(self.keep.events))?;
        writeln!(f, "uses = {}", self.keep.uses)?;
        if let Some(userdb) = &self.userdb {
            writeln!(f, "\n[userdb]")?;
            entries(f, &userdb_json(userdb))?;
            if !userdb.fields.is_empty() {
                writeln!(f, "\n[userdb.fields]")?;
            }
            for (name, value) in userdb.fields.iter() {
                let (name, value) = (json!(name.as_str()), json!(value.as_str()));
                writeln!(f, "{name} = {value}")?;
            }
        }
        writeln!(f, "\n[dovecot]")?;
        entries(f, &dovecot_json(&self.dovecot))
    }

    fn json(&self) -> Value {
        json!({
            "database": path(&self.database),
            "default_domain": self.default_domain.as_ref().map_or("", Domain::as_str),
            "listen": self.listeners.iter().map(listener_json).collect::<Vec<_>>(),
            "hash": {
                "generated": self.hash.generated.to_string(),
                "threads": self.hash.threads,
            },
            "delegation": { "separator": self.separator.map(Separator::as_char) },
            "keep": {
                "tombstones": days(self.keep.tombstones),
                "events": days(self.keep.events),
                "uses": self.keep.uses,
            },
            "userdb": self.userdb.as_ref().map(|userdb| {
                let mut value = userdb_json(userdb);
                if let Value::Object(members) = &mut value {
                    members.insert("fields".to_owned(), fields_json(&userdb.fields));
                }
                value
            }),
            "dovecot": dovecot_json(&self.dovecot),
        })
    }

    fn quiet(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.words(f)
    }
}

/// The members of a table, without those that are not there.
fn entries(f: &mut fmt::Formatter<'_>, table: &Value) -> fmt::Result {
    (table.as_object().into_iter().flatten())
        .filter(|(_, value)| !value.is_null())
        .try_for_each(|(key, value)| writeln!(f, "{key} = {value}"))
}

fn listener_json(listener: &Listener) -> Value {
    let log_ins = listener.kind.has_log_ins();
    let delay = listener.failure_delay.as_millis();
    let mechanisms = listener.mechanisms.iter().copied().map(Mechanism::as_str);
    json!({
        "name": listener.name,
        "type": listener.kind.as_str(),
        "path": path(&listener.path),
        "owner": listener.owner.map(|id| id.to_string()),
        "group": listener.group.map(|id| id.to_string()),
        "mode": format!("{:04o}", listener.mode),
        "failure_delay": log_ins.then(|| if delay % 1_000 == 0 {
            format!("{}s", delay / 1_000)
        } else {
            format!("{delay}ms")
        }),
        "mechanisms": log_ins.then(|| mechanisms.collect::<Vec<_>>()),
    })
}

/// Without the fields.
fn userdb_json(userdb: &Userdb) -> Value {
    json!({
        "uid": userdb.uid.to_string(),
        "gid": userdb.gid.to_string(),
        "home": userdb.home.as_ref().map(Template::as_str),
    })
}

/// Fields as `--json` says them everywhere.
pub(crate) fn fields_json(fields: &Fields) -> Value {
    let members = fields.iter().map(|(name, value)| {
        let value = Value::String(value.as_str().to_owned());
        (name.as_str().to_owned(), value)
    });
    Value::Object(members.collect())
}

fn dovecot_json(dovecot: &Dovecot) -> Value {
    json!({
        "kick": dovecot.kick.as_str(),
        "base_dir": path(&dovecot.base_dir),
        "doveadm": path(&dovecot.doveadm),
        "config": dovecot.config.as_deref().map_or_else(|| json!(""), path),
    })
}

/// Whole days, as they are written.
fn days(span: Duration) -> Value {
    Value::String(format!("{}d", span.as_secs() / (24 * 60 * 60)))
}

fn path(path: &Path) -> Value {
    Value::String(path.to_string_lossy().into_owned())
}
