//! A database file out of the way, with the files of its log, under a name of its own.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::super::super::Error;
use super::super::new_file::sync_directory;
use super::{File, RestoreError};
use crate::model::ALPHABET;
use crate::random;

/// What belongs together. The database goes first: without it nobody opens the others.
const ENDS: [&str; 3] = ["", "-wal", "-shm"];

/// The file of that name, if there is one.
pub(super) fn file(path: &Path) -> Result<Option<File>, Error> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some((found.dev(), found.ino()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::from_metadata(path, error)),
    }
}

/// `dovelatch.db.old-kqtmwhzr`, which nobody has.
pub(super) fn name(database: &Path) -> Result<PathBuf, Error> {
    let letters: [u8; 8] = random::letters(ALPHABET)?;
    let letters: String = letters.map(char::from).iter().collect();
    Ok(with_end(database, &format!(".old-{letters}")))
}

/// Renames the database and its log, whichever of them there is; the new name of the database, if there
/// was anything. A log that was left behind would be taken for that of the next database.
///
/// # Errors
///
/// [`RestoreError::Aside`]; [`Error::Replaced`] if another file than `expected` lies there by now.
pub(super) fn move_away(
    database: &Path,
    expected: Option<File>,
) -> Result<Option<PathBuf>, RestoreError> {
    if file(database)? != expected {
        let path = database.to_owned();
        return Err(Error::Replaced { path }.into());
    }
    let aside = name(database)?;
    let mut moved = false;
    for end in ENDS {
        let from = with_end(database, end);
        match fs::rename(&from, with_end(&aside, end)) {
            Ok(()) => moved = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(RestoreError::Aside { path: from, source }),
        }
    }
    sync_directory(database)?;
    Ok(moved.then_some(aside))
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    PathBuf::from(name)
}
