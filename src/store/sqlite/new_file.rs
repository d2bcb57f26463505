//! A new database file in a directory that may be somebody else's.
//!
//! Root makes databases and backups in the daemon's directory, and whoever owns a directory may put
//! another file, or a link to one of root's, in the place of any name at any moment. So a name is used
//! once, to make a file that was not there (`O_EXCL` follows no link); then it is written and given
//! away through its descriptor alone. SQLite, which opens by name, never sees it before it is whole:
//! the content comes from a database in memory. What the owner of the directory can still do is to
//! show another file under the final name; that is theirs to decide, today and on any other day.
//!
//! Under the final name SQLite opens no link in the place of `-wal` and `-shm` (`O_NOFOLLOW` in
//! `unixOpen` and `unixOpenSharedMemory`, `os_unix.c` of 3.53), and gives those to the owner of the
//! database through their descriptors. A hard link to a file of root's would have to be made first,
//! which `fs.protected_hardlinks` (on, in Debian) forbids.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::super::Error;

/// Where the header says how the file is written and read (fileformat2.html, section 1.3).
const VERSIONS: u64 = 18;

/// Both by write-ahead log, which a database in memory cannot have.
const WAL: [u8; 2] = [2, 2];

/// A file of ours; removed when dropped, if it was not kept.
#[derive(Debug)]
pub(super) struct NewFile {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl NewFile {
    /// Makes an empty file that only its owner may read, and no other process had a chance to open.
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| failed_to_create(path, source))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            kept: false,
        })
    }

    /// Makes it the database that `memory` holds, on the disk when this returns. Costs as much memory
    /// again.
    pub(super) fn fill(&mut self, memory: &Connection) -> Result<(), Error> {
        // Every page of a database in memory is there: of one in a file, pages that cannot be read
        // would silently become empty here.
        let content = memory.serialize("main")?;
        self.file
            .write_all(&content)
            .and_then(|()| self.file.write_all_at(&WAL, VERSIONS))
            .and_then(|()| self.file.sync_all())
            .map_err(|source| failed_to_create(&self.path, source))
    }

    /// Gives a file of root's to the owner of the directory, for good when this returns: the daemon becomes
    /// the owner of the database, and must not become root because root typed the first command.
    pub(super) fn give_to_owner_of(&self, directory: &Path) -> io::Result<()> {
        let wanted = fs::metadata(directory)?;
        let found = self.file.metadata()?;
        if found.uid() == 0 && (wanted.uid(), wanted.gid()) != (found.uid(), found.gid()) {
            fchown(&self.file, Some(wanted.uid()), Some(wanted.gid()))?;
            // A sync of the directory alone need not take the owner of a file along.
            self.file.sync_all()?;
        }
        Ok(())
    }

    /// Gives it its second and final name. A link, unlike a rename, never replaces what is there.
    pub(super) fn link(&self, path: &Path) -> io::Result<()> {
        fs::hard_link(&self.path, path)
    }

    /// Lets it have the name that it has.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            // Best effort: a leftover harms nobody, and there is nobody left to tell.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes the name of a new file last through a power cut.
pub(super) fn sync_directory(path: &Path) -> Result<(), Error> {
    File::open(directory_of(path))
        .and_then(|directory| directory.sync_all())
        .map_err(|source| Error::Create {
            path: path.to_owned(),
            source,
        })
}

pub(super) fn failed_to_create(path: &Path, source: io::Error) -> Error {
    let path = path.to_owned();
    if source.kind() == io::ErrorKind::AlreadyExists {
        Error::TargetExists { path }
    } else {
        Error::Create { path, source }
    }
}

pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        Some(_) | None => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::super::Store;
    use super::*;

    /// A directory of somebody else's, where root may make one, and a file of our own.
    fn scene() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let scene = tempfile::tempdir().unwrap();
        let directory = scene.path().join("theirs");
        fs::create_dir(&directory).unwrap();
        if fs::metadata(&directory).unwrap().uid() == 0 {
            chown(&directory, Some(47_110), Some(47_110)).unwrap();
        }
        let victim = scene.path().join("victim");
        fs::write(&victim, "").unwrap();
        (scene, directory, victim)
    }

    fn memory() -> Connection {
        let memory = Connection::open_in_memory().unwrap();
        memory.execute_batch("CREATE TABLE t (c)").unwrap();
        memory
    }

    fn assert_untouched(victim: &Path) {
        let metadata = fs::metadata(victim).unwrap();
        let own = fs::metadata(victim.parent().unwrap()).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (own.uid(), own.gid()));
        assert_eq!(metadata.len(), 0);
    }

    #[test]
    fn a_link_in_the_place_of_a_new_file_is_refused() {
        let (_scene, directory, victim) = scene();
        let path = directory.join("new");
        for target in [victim.clone(), directory.join("nowhere")] {
            symlink(&target, &path).unwrap();
            let refused = NewFile::create(&path);
            assert!(
                matches!(refused, Err(Error::TargetExists { .. })),
                "{refused:?}"
            );
            fs::remove_file(&path).unwrap();
        }
        assert_untouched(&victim);
        assert!(!directory.join("nowhere").exists());
    }

    #[test]
    fn a_link_that_takes_the_place_of_a_new_file_changes_nothing_of_its_target() {
        let (_scene, directory, victim) = scene();
        let path = directory.join("new");
        let mut new = NewFile::create(&path).unwrap();
        fs::remove_file(&path).unwrap();
        symlink(&victim, &path).unwrap();
        new.fill(&memory()).unwrap();
        new.give_to_owner_of(&directory).unwrap();
        let _ = new.link(&directory.join("final"));
        drop(new);
        assert_untouched(&victim);
    }

    #[test]
    fn links_in_the_place_of_the_log_are_not_followed() {
        let (_scene, directory, victim) = scene();
        let path = directory.join("test.db");
        let now = crate::model::Timestamp::from_unix(0);
        drop(Store::open_or_create(&path, now).unwrap());
        for end in ["wal", "shm"] {
            let link = directory.join(format!("test.db-{end}"));
            symlink(&victim, &link).unwrap();
            let refused = Store::open(&path);
            assert!(refused.is_err(), "{end}");
            fs::remove_file(&link).unwrap();
        }
        assert_untouched(&victim);
        Store::open(&path).unwrap();
    }

    #[test]
    fn a_new_file_is_its_directorys_owners() {
        let (_scene, directory, _) = scene();
        let new = NewFile::create(&directory.join("new")).unwrap();
        new.give_to_owner_of(&directory).unwrap();
        let (found, wanted) = (new.file.metadata(), fs::metadata(&directory).unwrap());
        let found = found.unwrap();
        assert_eq!((found.uid(), found.gid()), (wanted.uid(), wanted.gid()));
    }

    #[test]
    fn what_was_filled_from_memory_has_a_write_ahead_log_from_the_start() {
        let (_scene, directory, _) = scene();
        let path = directory.join("new");
        let mut new = NewFile::create(&path).unwrap();
        new.fill(&memory()).unwrap();
        new.keep();
        let file = Connection::open(&path).unwrap();
        for (name, wanted) in [("journal_mode", "wal"), ("integrity_check", "ok")] {
            let found: String = file
                .pragma_query_value(None, name, |row| row.get(0))
                .unwrap();
            assert_eq!(found, wanted);
        }
    }
}
