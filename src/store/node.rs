//! Which file a path names.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::Error;

/// What tells a file from another one of the same name: no two have the same at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    device: u64,
    inode: u64,
}

impl Node {
    /// Of the file at the path; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Permission`] and the like if the file system does not say.
    pub(super) fn at(path: &Path) -> Result<Option<Self>, Error> {
        match fs::metadata(path) {
            Ok(found) => Ok(Some(Self::from(&found))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::from_metadata(path, error)),
        }
    }
}

impl From<&Metadata> for Node {
    fn from(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
        }
    }
}
