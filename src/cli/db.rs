//! `dovelatch db …`: is the database sound, a copy of it, and back from a copy.

use std::fmt;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::context::Context;
use super::error::{Error, Exit};
use super::output::{Answer, shown};
use super::restore;
use crate::store;

/// Check the database, copy it while it is in use, or restore a copy
#[derive(Debug, clap::Args)]
pub(crate) struct Command {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Read every page and every row; 74 if anything is wrong
    Check,
    /// Copy the database into a new file, while it is in use
    Backup {
        /// Must not exist yet
        file: PathBuf,
    },
    Restore(restore::Command),
}

impl Command {
    pub(crate) fn run(&self, context: &mut Context<'_>) -> Result<Exit, Error> {
        match &self.act {
            Act::Check => {
                let (path, findings) = check(context)?;
                let path = &path;
                let number = findings.len();
                context.output.answer(&Findings { path, findings })?;
                for exposed in store::exposed(path)? {
                    context.output.note(format_args!(
                        "warning: others may open {:?}: its mode is {:04o}, {:04o} is enough",
                        exposed.path, exposed.mode, exposed.wanted
                    ));
                }
                if number > 0 {
                    return Err(Error::Damaged {
                        path: path.clone(),
                        findings: number,
                    });
                }
            }
            Act::Backup { file } => {
                let database = context.database()?;
                // A dangling link counts: the copy must not land where somebody else pointed it.
                if file.symlink_metadata().is_ok() {
                    return Err(Error::Exists { path: file.clone() });
                }
                database.admin.store.backup(file)?;
                let bytes = file.metadata().map_or(0, |metadata| metadata.len());
                context.output.answer(&Copied { file, bytes })?;
            }
            Act::Restore(restore) => restore.run(context)?,
        }
        Ok(Exit::Done)
    }
}

/// Where the database is, and what is wrong with it.
fn check(context: &mut Context<'_>) -> Result<(PathBuf, Vec<String>), Error> {
    use store::Error as E;
    match context.database() {
        Ok(database) => Ok((database.config.database, database.admin.store.check()?)),
        // Said as an error, its hint would send whoever asks here again.
        Err(error @ Error::Store(E::Corrupt { .. } | E::Undecodable { .. } | E::Query(_))) => {
            let cause = error
                .cause()
                .map_or(String::new(), |cause| format!(": {cause}"));
            let finding = error.message() + &cause;
            Ok((context.database_path()?, vec![finding]))
        }
        Err(error) => Err(error),
    }
}

struct Findings<'a> {
    path: &'a std::path::Path,
    findings: Vec<String>,
}

impl Answer for Findings<'_> {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.findings.is_empty() {
            return writeln!(f, "database {:?}: ok", self.path);
        }
        self.quiet(f)
    }

    fn json(&self) -> Value {
        json!({ "database": self.path.to_string_lossy(), "findings": self.findings })
    }

    fn quiet(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings
            .iter()
            .try_for_each(|finding| writeln!(f, "{}", shown(finding)))
    }
}

struct Copied<'a> {
    file: &'a std::path::Path,
    bytes: u64,
}

impl Answer for Copied<'_> {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = self.bytes.div_ceil(1_024);
        writeln!(f, "copied the database to {:?}, {kib} KiB", self.file)
    }

    fn json(&self) -> Value {
        json!({ "backup": self.file.to_string_lossy(), "bytes": self.bytes })
    }
}
