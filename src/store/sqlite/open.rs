//! A connection that can be trusted: every setting is set, read back, and refused if it differs.
//!
//! The database file is never opened by anything but SQLite while this process may have it open:
//! POSIX locks belong to the process, and closing any descriptor of the file drops all of them.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::super::Error;
use super::schema;
use crate::password::tag::TagKey;
use crate::secret::Secret;

/// Written into the header of the file (`PRAGMA application_id`): "dltc".
pub(super) const APPLICATION_ID: i32 = 0x646c_7463;

/// The first SQLite in which two connections cannot corrupt a WAL database (the WAL-reset bug,
/// fixed on 2026-03-13).
const OLDEST_SQLITE: i32 = 3_051_003;

/// What the settings must be, by name, wish and read-back value.
const SETTINGS: &[(&str, &str, &str)] = &[
    // A commit is on the disk when it returns. NORMAL does not sync in WAL mode: a revocation that was
    // printed could be undone by a power cut. It belongs to the connection, not to the file.
    ("synchronous", "FULL", "2"),
    ("foreign_keys", "ON", "1"),
    // A damaged file must give an error, not SIGBUS.
    ("mmap_size", "0", "0"),
    // Nothing in the file may call a function with side effects.
    ("trusted_schema", "OFF", "0"),
    ("cell_size_check", "ON", "1"),
];

/// What tells this database from others.
pub(in crate::store) struct Meta {
    pub(in crate::store) identity: [u8; 16],
    pub(in crate::store) tag_key: TagKey,
}

/// Opens an existing database of ours, whatever its schema.
pub(in crate::store) fn connect(path: &Path, busy_timeout: Duration) -> Result<Connection, Error> {
    require_sound_sqlite(rusqlite::version_number(), rusqlite::version())?;
    // SQLite would call a missing file, a directory and a forbidden one by the same name.
    std::fs::metadata(path).map_err(|error| Error::from_metadata(path, error))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|error| Error::while_opening(path, error))?;
    configure(&connection, path, busy_timeout)?;
    require_ours(&connection, path)?;
    // A database is made in WAL mode, and the mode stays with the file. It is changed back here only
    // if somebody changed it by hand.
    let journal_mode: String = connection
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .map_err(|error| Error::while_opening(path, error))?;
    if journal_mode != "wal" {
        set_wal(&connection)?;
    }
    Ok(connection)
}

/// Opens an existing database of ours that nobody can write, without locks and without its log.
pub(in crate::store) fn connect_frozen(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(uri(path, "immutable=1"), flags)
        .map_err(|error| Error::while_opening(path, error))?;
    configure(&connection, path, Duration::ZERO)?;
    require_ours(&connection, path)?;
    Ok(connection)
}

/// What SQLite calls a file together with parameters of its own, such as `immutable=1`.
pub(super) fn uri(path: &Path, parameters: &str) -> String {
    // With an authority, an empty one: else a path that begins with two slashes would name one.
    let scheme = if path.is_absolute() {
        "file://"
    } else {
        "file:"
    };
    let mut uri = String::from(scheme);
    for byte in path.as_os_str().as_bytes() {
        // A byte that means nothing in a name of this kind, or its number. Writing to a string cannot fail.
        let _ = match byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
            true => write!(uri, "{}", char::from(*byte)),
            false => write!(uri, "%{byte:02x}"),
        };
    }
    uri + "?" + parameters
}

/// Refuses what another program made.
fn require_ours(connection: &Connection, path: &Path) -> Result<(), Error> {
    let found: i32 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(|error| Error::while_opening(path, error))?;
    if found == APPLICATION_ID {
        return Ok(());
    }
    Err(Error::NotADatabase {
        path: path.to_owned(),
    })
}

/// Refuses a SQLite that may corrupt the file, by its number and by its name: one that was linked by a
/// distribution, say. Better none of our log-ins than all of them after the wrong one.
fn require_sound_sqlite(number: i32, found: &'static str) -> Result<(), Error> {
    match number < OLDEST_SQLITE {
        true => Err(Error::SqliteTooOld { found }),
        false => Ok(()),
    }
}

/// What a connection needs before the file is read for the first time.
pub(super) fn configure(
    connection: &Connection,
    path: &Path,
    busy_timeout: Duration,
) -> Result<(), Error> {
    connection
        .busy_timeout(busy_timeout)
        .map_err(|error| Error::while_opening(path, error))?;
    for (name, wanted, expected) in SETTINGS {
        let found = set(connection, name, wanted)
            .and_then(|()| setting(connection, name))
            .map_err(|error| Error::while_opening(path, error))?;
        if found.as_deref() != Some(expected) {
            return Err(Error::Setting { name, wanted });
        }
    }
    Ok(())
}

/// Sets `name`, whether or not SQLite answers with the new value.
pub(in crate::store) fn set(
    connection: &Connection,
    name: &str,
    wanted: &str,
) -> rusqlite::Result<()> {
    match connection.pragma_update_and_check(None, name, wanted, |_| Ok(())) {
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok(()),
        set => set,
    }
}

/// The value of a setting as text. `None` where the file system does not know it (`mmap_size`).
pub(in crate::store) fn setting(
    connection: &Connection,
    name: &str,
) -> rusqlite::Result<Option<String>> {
    use rusqlite::types::Value;

    let value: Option<Value> = connection
        .pragma_query_value(None, name, |row| row.get(0))
        .optional()?;
    Ok(match value {
        Some(Value::Integer(number)) => Some(number.to_string()),
        Some(Value::Text(text)) => Some(text),
        Some(Value::Null | Value::Real(_) | Value::Blob(_)) | None => None,
    })
}

/// Turns on the write-ahead log: readers never wait for a writer.
pub(super) fn set_wal(connection: &Connection) -> Result<(), Error> {
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Error::Setting {
            name: "journal_mode",
            wanted: "WAL",
        });
    }
    Ok(())
}

/// Refuses any schema but the newest. For connections that must not migrate.
pub(in crate::store) fn require_newest_schema(
    connection: &Connection,
    path: &Path,
) -> Result<(), Error> {
    let found = schema::version(connection)?;
    let newest = schema::newest();
    match found.cmp(&newest) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => Err(Error::SchemaTooOld {
            path: path.to_owned(),
            found,
            newest,
        }),
        std::cmp::Ordering::Greater => Err(Error::SchemaTooNew {
            path: path.to_owned(),
            found,
            newest,
        }),
    }
}

/// Identity and tag key; a database without them is damaged.
pub(in crate::store) fn meta(connection: &Connection) -> Result<Meta, Error> {
    let sql = "SELECT identity, tag_key FROM meta WHERE id = 1";
    let (identity, tag_key): (Vec<u8>, Vec<u8>) = connection
        .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .ok_or_else(|| Error::undecodable("meta"))?;
    if tag_key.len() != 32 {
        return Err(Error::undecodable("meta.tag_key"));
    }
    let tag_key = TagKey::new(Secret::new(tag_key));
    let found: [u8; 16] = (identity.try_into()).map_err(|_| Error::undecodable("meta.identity"))?;
    let [random @ .., _, _, _, _] = found;
    if identity_of(random, &tag_key) != found {
        return Err(Error::undecodable("meta"));
    }
    Ok(Meta {
        identity: found,
        tag_key,
    })
}

/// The identity of a database: random bytes, and what says whether the key of the tags is whole. With a
/// damaged one every password would be a wrong one.
pub(super) fn identity_of(random: [u8; 12], tag_key: &TagKey) -> [u8; 16] {
    let mut identity = [0; 16];
    let (first, check) = identity.split_at_mut(random.len());
    first.copy_from_slice(&random);
    check.copy_from_slice(&tag_key.check(&random));
    identity
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_of_a_path_is_taken_for_a_part_of_the_uri_around_it() {
        for (path, wanted) in [
            ("/var/lib/d.db", "file:///var/lib/d.db?mode=rw"),
            ("//var/d.db", "file:////var/d.db?mode=rw"),
            ("a/d-1_2.db", "file:a/d-1_2.db?mode=rw"),
            ("file:x", "file:file%3ax?mode=rw"),
            (
                "/a b?c#d%41&e=\u{e4}",
                "file:///a%20b%3fc%23d%2541%26e%3d%c3%a4?mode=rw",
            ),
        ] {
            assert_eq!(uri(Path::new(path), "mode=rw"), wanted);
        }
    }

    #[test]
    fn a_sqlite_before_3_51_3_is_refused_and_the_bundled_one_is_not() {
        for (number, name) in [
            (3_040_001, "3.40.1"),
            (3_046_001, "3.46.1"),
            (3_051_002, "3.51.2"),
        ] {
            let refused = require_sound_sqlite(number, name);
            assert!(
                matches!(refused, Err(Error::SqliteTooOld { found }) if found == name),
                "{refused:?}"
            );
        }
        require_sound_sqlite(3_051_003, "3.51.3").unwrap();
        require_sound_sqlite(rusqlite::version_number(), rusqlite::version()).unwrap();
    }
}
