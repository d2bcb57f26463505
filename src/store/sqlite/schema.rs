//! Numbered migrations: files, each applied in one transaction, counted in `PRAGMA user_version`.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::super::Error;
use super::super::frozen::Frozen;
use super::{BUSY_TIMEOUT, open};

/// `MIGRATIONS[n]` leads from schema n to schema n + 1. A released one is never changed.
const MIGRATIONS: &[&str] = &[include_str!("../schema/0001_model.sql")];

/// Part of each step, whatever else it does: SQLite notices changes of tables, and readers that run notice
/// a newer schema by that (see [`super::super::link`]).
const CHANGED: &str = "CREATE TABLE schema_has_changed (id INTEGER PRIMARY KEY) STRICT;
    DROP TABLE schema_has_changed;";

/// The schema that this program works with.
pub(super) fn newest() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// The schema that the database has. A negative number, which we never write, counts as far too new.
pub(super) fn version(connection: &Connection) -> Result<u32, Error> {
    let version: i32 = connection
        .prepare_cached("PRAGMA user_version")?
        .query_row([], |row| row.get(0))?;
    Ok(u32::try_from(version).unwrap_or(u32::MAX))
}

/// Brings an existing database up to date and closes it again. For the daemon, whose readers use
/// the newest schema only and change nothing.
///
/// # Errors
///
/// As [`super::Store::open`].
pub fn migrate(path: &Path) -> Result<(), Error> {
    match open::connect(path, BUSY_TIMEOUT) {
        Ok(mut connection) => bring_up_to_date(&mut connection, path),
        // It is served as it is, if it can be.
        Err(error @ Error::ReadOnly { .. }) => {
            let frozen = Frozen::at(path).ok_or(error)?;
            let up_to_date = open::require_newest_schema(&open::connect_frozen(path)?, path);
            match frozen.is_still() {
                true => up_to_date,
                false => Err(Error::Replaced {
                    path: path.to_owned(),
                }),
            }
        }
        Err(error) => Err(error),
    }
}

/// Applies what is missing, one transaction a step, so that a kill between two steps leaves a whole
/// schema. Two programs may do it at the same time: each step looks again once it has the lock.
pub(super) fn bring_up_to_date(connection: &mut Connection, path: &Path) -> Result<(), Error> {
    loop {
        let found = version(connection)?;
        if found == newest() {
            return Ok(());
        }
        if found > newest() {
            return Err(Error::SchemaTooNew {
                path: path.to_owned(),
                found,
                newest: newest(),
            });
        }
        step(connection)?;
    }
}

/// Applies one migration, if there still is one to apply.
fn step(connection: &mut Connection) -> Result<(), Error> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = version(&tx)?;
    let migration = usize::try_from(found)
        .ok()
        .and_then(|index| MIGRATIONS.get(index));
    if let Some(migration) = migration {
        tx.execute_batch(migration)?;
        tx.execute_batch(CHANGED)?;
        tx.pragma_update(None, "user_version", found.saturating_add(1))?;
        tx.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_database_becomes_one_of_the_newest_schema() {
        let mut connection = Connection::open_in_memory().unwrap();
        bring_up_to_date(&mut connection, Path::new("memory")).unwrap();
        assert_eq!(version(&connection).unwrap(), newest());
        let loose: i64 = connection
            .query_row(
                "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND NOT strict
                    AND name NOT LIKE 'sqlite_%'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(loose, 0, "every table is STRICT");
    }

    #[test]
    fn a_second_run_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        bring_up_to_date(&mut connection, Path::new("memory")).unwrap();
        let before = connection.total_changes();
        bring_up_to_date(&mut connection, Path::new("memory")).unwrap();
        step(&mut connection).unwrap();
        assert_eq!(connection.total_changes(), before);
    }

    #[test]
    fn a_step_is_noticed_by_whoever_has_a_statement_prepared() {
        let mut connection = Connection::open_in_memory().unwrap();
        let schema = |connection: &Connection| -> i64 {
            let pragma = "PRAGMA schema_version";
            connection.query_row(pragma, [], |row| row.get(0)).unwrap()
        };
        let before = schema(&connection);
        connection.execute_batch(CHANGED).unwrap();
        assert!(schema(&connection) > before);
        bring_up_to_date(&mut connection, Path::new("memory")).unwrap();
        let tables: i64 = connection
            .query_row(
                "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%changed%'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(tables, 0, "nothing of it stays");
    }

    #[test]
    fn a_failing_step_leaves_the_schema_as_it_was() {
        let mut connection = Connection::open_in_memory().unwrap();
        // In the way of the last table of the first migration.
        connection
            .execute_batch("CREATE TABLE event (id INTEGER PRIMARY KEY) STRICT")
            .unwrap();
        bring_up_to_date(&mut connection, Path::new("memory")).unwrap_err();
        assert_eq!(version(&connection).unwrap(), 0);
        let tables: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .unwrap();
        assert_eq!(tables, 1);
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        let next = i64::from(newest()) + 1;
        for newer in [next, i64::from(i32::MAX), -1] {
            connection
                .pragma_update(None, "user_version", newer)
                .unwrap();
            let error = bring_up_to_date(&mut connection, Path::new("memory")).unwrap_err();
            assert!(matches!(error, Error::SchemaTooNew { .. }), "{error:?}");
        }
    }
}
