//! A database on a file system that takes no writes.
//!
//! A reader of a write-ahead log writes its index, and before the first reader there is none to be read. So
//! where the daemon starts on a read-only file system, and no log lies about, the file is opened as one that
//! nobody can change, without locks. Somebody may see the same file system writable, through another mount:
//! so such a connection answers one question only, and its answer counts if the file has not changed and no
//! log has come meanwhile. Whoever writes has a log beside the file for as long as that takes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use super::node::Node;
use super::sqlite::wal;

/// What the file was when it was opened.
#[derive(Debug)]
pub(super) struct Frozen {
    path: PathBuf,
    seen: Seen,
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    file: Node,
    length: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

impl Frozen {
    /// `None` if it could be written, as far as the file system is concerned, or if there is a log, which this
    /// would pass over.
    pub(super) fn at(path: &Path) -> Option<Self> {
        if access(path, AccessFlags::W_OK) != Err(Errno::EROFS) {
            return None;
        }
        let path = path.to_owned();
        let seen = seen(&path)?;
        Some(Self { path, seen })
    }

    /// Whether nothing has happened since.
    pub(super) fn is_still(&self) -> bool {
        seen(&self.path).is_some_and(|seen| seen == self.seen)
    }
}

fn seen(path: &Path) -> Option<Seen> {
    let found = fs::metadata(path).ok()?;
    if fs::symlink_metadata(wal::beside(path, "-wal")).is_ok() {
        return None;
    }
    Some(Seen {
        file: Node::from(&found),
        length: found.len(),
        modified: (found.mtime(), found.mtime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_or_a_log_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test.db");
        fs::write(&path, "one").unwrap();
        assert!(Frozen::at(&path).is_none(), "it can be written");
        let frozen = || Frozen {
            path: path.clone(),
            seen: seen(&path).unwrap(),
        };
        let before = frozen();
        assert!(before.is_still());
        fs::write(&path, "other").unwrap();
        assert!(!before.is_still());
        let before = frozen();
        fs::write(directory.path().join("test.db-wal"), "").unwrap();
        assert!(!before.is_still());
    }
}
