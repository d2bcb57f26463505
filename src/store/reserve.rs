//! Room on the disk that is kept back for a day on which it is full.
//!
//! What is taken away must be gone even then, and a revocation needs a few pages of the log, or a whole
//! log and its index where no daemon runs. The daemon keeps 1 MiB in a file of its own beside the database,
//! `…-reserve`. A command that takes away removes that file if there is hardly any room, and the
//! daemon gives a piece of it up to open the database at a start. It makes the file anew when there is
//! room for twice as much.
//!
//! The command line may be root in somebody else's directory, so it removes the name and opens nothing.
//! Where somebody else's data grows into the room at this very moment, it is gone; and on a file system that
//! copies what is written (btrfs) a file that is removed may give up its room later.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, posix_fallocate};
use nix::sys::statvfs::statvfs;

use super::sqlite::wal;

/// What is kept back, in bytes: revoking takes some 10 KiB, a new log with its index some 40 KiB.
const SIZE: u64 = 1 << 20;

/// What the daemon gives up at a time: an index has 32 KiB, and the log one page.
const PIECE: u64 = 64 << 10;

/// Beside this database.
fn name(database: &Path) -> PathBuf {
    wal::beside(database, "-reserve")
}

/// Room on the file system for whoever is not root, in bytes. `None` where it does not say.
fn room(database: &Path) -> Option<u64> {
    let found = statvfs(database).ok()?;
    found.blocks_available().checked_mul(found.fragment_size())
}

/// Has it whole again, if there is room for twice as much. For the daemon alone, which owns it.
///
/// Costs one stat(2) where nothing is to be done. What goes wrong is no trouble today.
pub(super) fn keep(database: &Path) {
    let path = name(database);
    let there = fs::symlink_metadata(&path).map_or(0, |found| found.len());
    if there < SIZE && room(database).is_some_and(|room| room >= 2 * SIZE) {
        let _ = fill(&path);
    }
}

fn fill(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)?;
    let size = i64::try_from(SIZE).map_err(io::Error::other)?;
    Ok(posix_fallocate(&file, 0, size)?)
}

/// Gives up a piece of it if there is no room for an index. For the daemon alone.
pub(super) fn give_up_a_piece(database: &Path) {
    if room(database).is_some_and(|room| room < PIECE) {
        let file = OpenOptions::new()
            .write(true)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(name(database));
        let _ = file.and_then(|file| {
            let left = file.metadata()?.len().saturating_sub(PIECE);
            file.set_len(left)
        });
    }
}

/// Gives up all of it if there is hardly any room: something is to be taken away. For the command line.
pub fn make_room(database: &Path) {
    if room(database).is_some_and(|room| room < SIZE) {
        // Where it is missing or cannot be removed, what follows says what is wrong.
        let _ = fs::remove_file(name(database));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_whole_and_left_alone_where_there_is_room() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("test.db");
        fs::write(&database, "").unwrap();
        let reserve = directory.path().join("test.db-reserve");
        keep(&database);
        assert_eq!(fs::metadata(&reserve).unwrap().len(), SIZE);
        OpenOptions::new()
            .write(true)
            .open(&reserve)
            .unwrap()
            .set_len(SIZE - PIECE)
            .unwrap();
        keep(&database);
        assert_eq!(fs::metadata(&reserve).unwrap().len(), SIZE);
        give_up_a_piece(&database);
        make_room(&database);
        assert_eq!(fs::metadata(&reserve).unwrap().len(), SIZE);
    }

    #[test]
    fn no_link_in_its_place_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("test.db");
        fs::write(&database, "").unwrap();
        let victim = directory.path().join("victim");
        fs::write(&victim, "").unwrap();
        std::os::unix::fs::symlink(&victim, directory.path().join("test.db-reserve")).unwrap();
        keep(&database);
        assert_eq!(fs::metadata(&victim).unwrap().len(), 0);
    }
}
