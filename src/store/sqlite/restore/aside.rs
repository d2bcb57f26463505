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

/// `dovelatch.db.old-kqtmwhzr`, which nobody has.
pub(super) fn name(database: &Path) -> Result<PathBuf, Error> {
    let letters: [u8; 8] = random::letters(ALPHABET)?;
    let letters: String = letters.map(char::from).iter().collect();
    Ok(wal::beside(database, &format!(".old-{letters}")))
}

/// Renames the database and its log, whichever of them there is; the new name of the first of them, if there
/// was anything. A log that was left behind would be taken for that of the next database.
///
/// # Errors
///
/// [`RestoreError::Aside`], and where something was moved already, [`RestoreError::HalfAside`] or
/// [`RestoreError::NotPlaced`].
pub(super) fn move_away(database: &Path) -> Result<Option<PathBuf>, RestoreError> {
    let to = name(database)?;
    let mut moved = None;
    // The database goes first: without it nobody opens the others.
    for end in [""].iter().chain(&wal::ENDS) {
        let (from, to) = (wal::beside(database, end), wal::beside(&to, end));
        match (fs::rename(&from, &to), &moved) {
            (Ok(()), None) => moved = Some(to),
            (Ok(()), Some(_)) => {}
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => {}
            (Err(source), None) => return Err(RestoreError::Aside { path: from, source }),
            (Err(source), Some(aside)) => {
                return Err(RestoreError::HalfAside {
                    path: from,
                    aside: aside.clone(),
                    source,
                });
            }
        }
    }
    match (sync_directory(database), moved) {
        (Ok(()), moved) => Ok(moved),
        (Err(source), Some(aside)) => Err(RestoreError::NotPlaced { aside, source }),
        (Err(source), None) => Err(source.into()),
    }
}
