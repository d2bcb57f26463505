//! A database file out of the way, with the files of its log, under a name of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::super::Error;
use super::super::new_file::sync_directory;
use super::super::wal;
use super::RestoreError;
use crate::model::ALPHABET;
use crate::random;

/// What belongs together. The database goes first: without it nobody opens the others.
const ENDS: [&str; 3] = ["", "-wal", "-shm"];

/// `dovelatch.db.old-kqtmwhzr`, which nobody has.
pub(super) fn name(database: &Path) -> Result<PathBuf, Error> {
    let letters: [u8; 8] = random::letters(ALPHABET)?;
    let letters: String = letters.map(char::from).iter().collect();
    Ok(wal::beside(database, &format!(".old-{letters}")))
}

/// Renames the database and its log, whichever of them there is; the new name of the database, if there
/// was anything. A log that was left behind would be taken for that of the next database.
///
/// # Errors
///
/// [`RestoreError::Aside`].
pub(super) fn move_away(database: &Path) -> Result<Option<PathBuf>, RestoreError> {
    let aside = name(database)?;
    let mut moved = false;
    for end in ENDS {
        let from = wal::beside(database, end);
        match fs::rename(&from, wal::beside(&aside, end)) {
            Ok(()) => moved = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(RestoreError::Aside { path: from, source }),
        }
    }
    sync_directory(database)?;
    Ok(moved.then_some(aside))
}
