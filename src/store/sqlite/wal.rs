//! The write-ahead log: written back into the database, and kept short.
//!
//! The daemon writes it back every few seconds. That alone does not keep it short where changes follow each
//! other without a pause: the log is begun anew only by a change that finds all of it written back, and
//! by the time that it is, there is another change. So whoever is about to write a further change cuts a log
//! that has become long, which keeps other writers out for a moment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use super::super::Error;

/// Bytes of the log at which it is cut: half of the 8 MiB that it should never exceed, so that a big change
/// has room. SQLite's own default is 1 MiB of our pages; but there is a daemon that writes back before.
pub const LONGEST_LOG: u64 = 4 << 20;

/// How long a cut waits for another writer, and then, while other writers wait, for those who read: our own
/// are done in microseconds.
const PATIENCE: Duration = Duration::from_millis(30);

/// The file beside a database that is called like it, with an end: SQLite's log (`-wal`) and its index
/// (`-shm`), and others.
pub(in crate::store) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(database);
    name.push(suffix);
    PathBuf::from(name)
}

/// What SQLite takes for a part of any database of that name: the log, its index, and what it keeps where a
/// database has no log, in order to undo a change.
pub(super) const ENDS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Refuses a name for a new database beside which something of an old one lies. In its log are rows of the
/// old one, passwords that were revoked later perhaps; and somebody may still want them.
///
/// # Errors
///
/// [`Error::LeftBehind`]. Not moved out of the way here: one who makes the same database at the same moment
/// may have a log there already.
pub(super) fn require_none(database: &Path) -> Result<(), Error> {
    let mut found = ENDS.map(|end| beside(database, end)).into_iter();
    match found.find(|path| std::fs::symlink_metadata(path).is_ok()) {
        Some(path) => Err(Error::LeftBehind { path }),
        None => Ok(()),
    }
}

/// Writes the log back as far as nobody is in the way; one of more than `longest` bytes is also cut to
/// nothing. `patience` is that of the connection, which it has again afterwards.
pub(in crate::store) fn write_back(
    connection: &Connection,
    database: &Path,
    longest: u64,
    patience: Duration,
) -> rusqlite::Result<()> {
    if !is_longer(database, longest) {
        return checkpoint(connection, "PASSIVE");
    }
    connection.busy_timeout(PATIENCE)?;
    let cut = checkpoint(connection, "TRUNCATE");
    connection.busy_timeout(patience)?;
    cut
}

/// Before a change: cuts a log that has become long. Where that cannot be done, the change comes first all
/// the same: it will meet the trouble, or there is none for it (a full disk has room for it in the log).
pub(in crate::store) fn cut_if_long(connection: &Connection, database: &Path, patience: Duration) {
    if is_longer(database, LONGEST_LOG) {
        let _ = write_back(connection, database, LONGEST_LOG, patience);
    }
}

/// A log that cannot be seen is none.
fn is_longer(database: &Path, bytes: u64) -> bool {
    std::fs::metadata(beside(database, "-wal")).is_ok_and(|found| found.len() > bytes)
}

/// That others are in the way is no error: the rest is written back next time.
fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<()> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::*;
    use crate::model::Timestamp;

    /// A database with somebody who has it open all the time, so that nobody closes last.
    fn scene() -> (tempfile::TempDir, PathBuf, Connection) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test.db");
        drop(Store::open_or_create(&path, Timestamp::from_unix(0)).unwrap());
        let connection = Connection::open(&path).unwrap();
        let table = "CREATE TABLE filler (bytes BLOB)";
        connection.execute_batch(table).unwrap();
        (directory, path, connection)
    }

    fn fill(connection: &Connection, bytes: u64) {
        connection
            .pragma_update(None, "wal_autocheckpoint", 0)
            .unwrap();
        let insert = "INSERT INTO filler VALUES (zeroblob(?1))";
        let bytes = i64::try_from(bytes).unwrap();
        connection.execute(insert, [bytes]).unwrap();
    }

    fn length(path: &Path) -> u64 {
        std::fs::metadata(beside(path, "-wal")).unwrap().len()
    }

    #[test]
    fn a_long_log_is_cut_before_the_next_change_and_a_short_one_is_not() {
        let (_directory, path, connection) = scene();
        let mut store = Store::open(&path).unwrap();
        for (bytes, is_cut) in [(LONGEST_LOG / 2, false), (LONGEST_LOG, true)] {
            fill(&connection, bytes);
            let before = length(&path);
            store.begin().unwrap().commit().unwrap();
            assert_eq!(length(&path) < before, is_cut, "{before}");
        }
    }

    #[test]
    fn a_change_goes_on_where_somebody_reads_what_the_log_has() {
        let (_directory, path, connection) = scene();
        fill(&connection, 2 * LONGEST_LOG);
        let reading = Connection::open(&path).unwrap();
        let count = "BEGIN; SELECT count(*) FROM filler";
        reading.execute_batch(count).unwrap();
        let mut store = Store::open(&path).unwrap();
        store.begin().unwrap().commit().unwrap();
        assert!(length(&path) > LONGEST_LOG);
        reading.execute_batch("COMMIT").unwrap();
        store.begin().unwrap().commit().unwrap();
        assert_eq!(length(&path), 0);
    }
}
