//! The whole database: copied, and checked.

use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, Row};

use super::super::{Candidate, Error};
use super::new_file::{NewFile, sync_directory};
use super::{Store, decode, list, open, wal};
use crate::model::{AccessId, Person};
use crate::password::phc;

/// For [`step`]. All pages at once: a copy in several steps starts again whenever somebody writes.
pub(super) const ALL: i32 = -1;

/// Most problems that a check lists: of a badly damaged file nobody reads more.
const MAX_PROBLEMS: usize = 100;

impl Store {
    /// Copies the live database into a new file, readable by its owner alone. Other programs go on
    /// meanwhile; the copy is the database of one moment. Takes memory of twice its size.
    ///
    /// # Errors
    ///
    /// [`Error::TargetExists`], [`Error::LeftBehind`], [`Error::Create`]; whatever else happens, no half copy is left behind.
    pub fn backup(&self, to: &Path) -> Result<(), Error> {
        let mut file = NewFile::create(to)?;
        wal::require_none(to)?;
        file.fill(&self.copy()?)?;
        sync_directory(to)?;
        file.keep();
        Ok(())
    }

    /// The database of this moment, in memory: `NewFile` says why not in the file.
    pub(super) fn copy(&self) -> Result<Connection, Error> {
        in_memory(&self.connection)
    }

    /// Examines the whole file and decodes every row. Empty: all is well. At most [`MAX_PROBLEMS`]
    /// lines, none with anything secret in it.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another program keeps it from being examined.
    pub fn check(&self) -> Result<Vec<String>, Error> {
        let mut problems = Vec::new();
        let integrity = format!("PRAGMA integrity_check({MAX_PROBLEMS})");
        self.examine(&mut problems, &integrity, |row| {
            match row.get::<_, String>(0)?.as_str() {
                "ok" => Ok(None),
                problem => Ok(Some(problem.to_owned())),
            }
        })?;
        self.examine(&mut problems, "PRAGMA foreign_key_check", |row| {
            let (child, parent): (String, String) = (row.get(0)?, row.get(2)?);
            Ok(Some(format!("a row of {child} names no row of {parent}")))
        })?;
        if let Err(error) = open::meta(&self.connection) {
            problems.push(error.to_string());
        }
        self.decode_all(
            &mut problems,
            "SELECT name, fields FROM mailbox",
            decode::home,
        )?;
        self.decode_all(&mut problems, "SELECT name FROM person", |row| {
            decode::parsed::<Person>(row, 0, "person.name")
        })?;
        self.decode_all(&mut problems, "SELECT public_id FROM access", |row| {
            decode::parsed::<AccessId>(row, 0, "access.public_id")
        })?;
        self.decode_all(&mut problems, list::DEVICES, list::device)?;
        for table in ["used", "tombstone_attempt"] {
            let sql = format!("SELECT {} FROM {table}", list::USE);
            self.decode_all(&mut problems, &sql, |row| list::use_of(row, 0))?;
        }
        self.examine(&mut problems, decode::ALL_FOUND, |row| {
            let undecodable = |candidate: Candidate| {
                let problem = phc::check(&candidate.phc).err()?;
                Some(format!("a secret of {}: {problem}", candidate.device))
            };
            Ok(decode::found(row)?.candidate.and_then(undecodable))
        })?;
        self.decode_all(&mut problems, list::EVENTS, list::event)?;
        Ok(problems)
    }

    fn decode_all<T>(
        &self,
        problems: &mut Vec<String>,
        sql: &str,
        decode: impl Fn(&Row<'_>) -> Result<T, Error>,
    ) -> Result<(), Error> {
        self.examine(problems, sql, |row| decode(row).map(|_| None))
    }

    /// Adds what `problem` finds in each row of `sql`, and whatever keeps the rows from being read.
    fn examine(
        &self,
        problems: &mut Vec<String>,
        sql: &str,
        problem: impl Fn(&Row<'_>) -> Result<Option<String>, Error>,
    ) -> Result<(), Error> {
        let mut examine = || -> Result<(), Error> {
            let mut statement = self.connection.prepare(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if problems.len() >= MAX_PROBLEMS {
                    return Ok(());
                }
                problems.extend(problem(row).unwrap_or_else(|error| Some(error.to_string())));
            }
            Ok(())
        };
        match examine() {
            Err(locked @ Error::Locked { .. }) => Err(locked),
            Err(error) => {
                problems.push(error.to_string());
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

/// A copy of a whole database, in memory.
pub(super) fn in_memory(from: &Connection) -> Result<Connection, Error> {
    let mut copy = Connection::open_in_memory()?;
    step(&Backup::new(from, &mut copy)?, ALL)?;
    Ok(copy)
}

/// Copies so many pages, and with the last of them commits. The first step locks the target for writing
/// until the end, also one that copies nothing.
///
/// # Errors
///
/// [`Error::Locked`] if another program has that lock.
pub(super) fn step(copy: &Backup<'_, '_>, pages: i32) -> Result<(), Error> {
    let result = copy.step(pages)?;
    if result == StepResult::Done || (result == StepResult::More && pages != ALL) {
        return Ok(());
    }
    let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    Err(rusqlite::Error::SqliteFailure(busy, None).into())
}
