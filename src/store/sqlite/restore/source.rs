//! The file that is to be restored: read once, into memory, and never written.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::super::super::Error;
use super::super::{BUSY_TIMEOUT, Store, backup, create, open, schema, wal};
use super::RestoreError;

/// What a schema consists of, without what `ANALYZE` and SQLite itself keep beside it.
const SCHEMA: &str = "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema
    WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type, name";

/// The backup in memory: a database of ours, whole, of the newest schema, which it was brought to there.
///
/// # Errors
///
/// [`RestoreError::Backup`] and [`RestoreError::BackupDamaged`].
pub(super) fn read(path: &Path) -> Result<Store, RestoreError> {
    let of_backup = |source| RestoreError::Backup {
        path: path.to_owned(),
        source,
    };
    let store = copy(path).map_err(of_backup)?;
    let problem = match has_our_schema(&store.connection).map_err(of_backup)? {
        true => store.check().map_err(of_backup)?.into_iter().next(),
        false => Some("its tables are not those of this program".to_owned()),
    };
    match problem {
        None => Ok(store),
        Some(finding) => Err(RestoreError::BackupDamaged {
            path: path.to_owned(),
            finding,
        }),
    }
}

fn copy(path: &Path) -> Result<Store, Error> {
    let metadata = std::fs::metadata(path).map_err(|error| Error::from_metadata(path, error))?;
    if !metadata.is_file() {
        return Err(Error::NotADatabase {
            path: path.to_owned(),
        });
    }
    let file = open_file(path).map_err(|error| Error::while_opening(path, error))?;
    let application_id: i32 = file
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(|error| Error::while_opening(path, error))?;
    if application_id != open::APPLICATION_ID {
        return Err(Error::NotADatabase {
            path: path.to_owned(),
        });
    }
    let mut memory = backup::in_memory(&file)?;
    schema::bring_up_to_date(&mut memory, path)?;
    Store::of_memory(memory)
}

/// A backup has no log beside it, so SQLite need not look for one: nothing is made next to the file, and
/// it may lie where nothing can be written. A database that was moved aside has one, and needs it; there
/// SQLite makes the index of the log, if it is missing.
fn open_file(path: &Path) -> rusqlite::Result<Connection> {
    let has_log = std::fs::metadata(wal::beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
    let mode = if has_log { "mode=ro" } else { "immutable=1" };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(open::uri(path, mode), flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    open::set(&connection, "trusted_schema", "OFF")?;
    open::set(&connection, "cell_size_check", "ON")?;
    Ok(connection)
}

/// Tables, indexes and triggers, word by word: a trigger of somebody else's would go on working in the
/// live database.
fn has_our_schema(connection: &Connection) -> Result<bool, Error> {
    let ours = create::without_rows(Path::new(":memory:"))?;
    Ok(schema_of(connection)? == schema_of(&ours)?)
}

fn schema_of(connection: &Connection) -> Result<Vec<[String; 4]>, Error> {
    connection
        .prepare(SCHEMA)?
        .query_map([], |row| {
            Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?])
        })?
        .map(|row| Ok(row?))
        .collect()
}
