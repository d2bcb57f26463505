//! The files of a database, as they lie at its path at this moment.

use std::path::{Path, PathBuf};

use super::Error;
use super::node::Node;
use super::sqlite::wal;

/// The database with its log and the index of the log. After a rename over one of them, SQLite would
/// go on with the old file for ever: a restored database, or whatever the command line writes into a new
/// log, would go unnoticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) database: Node,
    pub(super) log: Option<Node>,
    pub(super) index: Option<Node>,
}

/// Where these files lie.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) database: PathBuf,
    log: PathBuf,
    index: PathBuf,
}

impl Names {
    pub(super) fn of(database: PathBuf) -> Self {
        Self {
            log: wal::beside(&database, "-wal"),
            index: wal::beside(&database, "-shm"),
            database,
        }
    }
}

impl Files {
    /// # Errors
    ///
    /// If there is no database at the path, or it cannot be seen.
    pub(super) fn at(names: &Names) -> Result<Self, Error> {
        let beside = |name: &Path| Some(Node::from(&std::fs::metadata(name).ok()?));
        let database = std::fs::metadata(&names.database)
            .map_err(|error| Error::from_metadata(&names.database, error))?;
        Ok(Self {
            database: Node::from(&database),
            log: beside(&names.log),
            index: beside(&names.index),
        })
    }
}
