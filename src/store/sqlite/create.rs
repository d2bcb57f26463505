//! Making a new database: whole or not at all, for its owner alone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use super::super::Error;
use super::super::node::Node;
use super::new_file::{NewFile, directory_of, failed_to_create, sync_directory};
use super::{Store, open, schema, wal};
use crate::model::Timestamp;
use crate::password::tag::TagKey;
use crate::random;
use crate::secret::Secret;

/// Whether a database had to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    Yes,
    No,
}

impl Store {
    /// Opens the database, or makes it, in an existing directory only and with its owner.
    ///
    /// A new one is finished under another name first: whoever looks at `path` meanwhile finds
    /// nothing or a whole database, and a kill leaves at most a file beside it.
    ///
    /// # Errors
    ///
    /// As [`Store::open`]; [`Error::Create`] if the directory is missing or cannot be written;
    /// [`Error::LeftBehind`] if there is the log of another one, and not the other one.
    pub fn open_or_create(path: &Path, now: Timestamp) -> Result<(Self, Created), Error> {
        match Self::open(path) {
            Err(Error::Missing { .. }) => {}
            opened => return Ok((opened?, Created::No)),
        }
        let created = match create(path, now) {
            Ok(()) => Created::Yes,
            // Somebody else was faster: theirs is the database.
            Err(Error::TargetExists { .. }) => Created::No,
            // And the log that lies there is the log of theirs.
            Err(Error::LeftBehind { .. }) if Node::at(path)?.is_some() => Created::No,
            Err(error) => return Err(error),
        };
        Ok((Self::open(path)?, created))
    }
}

fn create(path: &Path, now: Timestamp) -> Result<(), Error> {
    let new = finished(path, &in_memory(path, now)?)?;
    wal::require_none(path)?;
    name(new, path)
}

/// The database for `path`, whole, its owner's already, and under another name yet.
pub(super) fn finished(path: &Path, memory: &Connection) -> Result<NewFile, Error> {
    // An error names what was asked for, not the temporary name.
    let named = |error| {
        if let Error::Create { source, .. } = error {
            failed_to_create(path, source)
        } else {
            error
        }
    };
    let mut temporary = NewFile::create(&temporary_name(path)?).map_err(named)?;
    temporary.fill(memory).map_err(named)?;
    temporary
        .give_to_owner_of(directory_of(path))
        .map_err(|source| failed_to_create(path, source))?;
    Ok(temporary)
}

/// Gives it its name, for good.
///
/// # Errors
///
/// [`Error::TargetExists`], [`Error::Create`]; then it is gone.
pub(super) fn name(finished: NewFile, path: &Path) -> Result<(), Error> {
    finished
        .link(path)
        .map_err(|source| failed_to_create(path, source))?;
    drop(finished);
    sync_directory(path)
}

fn temporary_name(path: &Path) -> Result<PathBuf, Error> {
    let letters: [u8; 8] = random::letters(crate::model::ALPHABET)?;
    let suffix: String = letters.map(char::from).iter().collect();
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{suffix}"));
    Ok(path.with_file_name(name))
}

/// A database with header, tables, identity and tag key.
fn in_memory(path: &Path, now: Timestamp) -> Result<Connection, Error> {
    let mut connection = without_rows(path)?;
    let tag_key = random::bytes::<32>()?;
    let identity = open::identity_of(
        random::bytes()?,
        &TagKey::new(Secret::new(tag_key.to_vec())),
    );
    let tx = connection.transaction()?;
    tx.pragma_update(None, "application_id", open::APPLICATION_ID)?;
    tx.execute(
        "INSERT INTO meta (id, identity, tag_key, created) VALUES (1, ?1, ?2, ?3)",
        params![identity, tag_key, now.as_unix()],
    )?;
    tx.commit()?;
    Ok(connection)
}

/// The tables of the newest schema, in memory.
pub(super) fn without_rows(path: &Path) -> Result<Connection, Error> {
    let mut connection = Connection::open_in_memory()?;
    // Before the first page is written. A quarter of the usual size: rows are small, and what is half
    // empty costs a quarter. With a million rows a look-up goes through one level more.
    open::set(&connection, "page_size", "1024")?;
    schema::bring_up_to_date(&mut connection, path)?;
    Ok(connection)
}

/// A file or directory that others than its owner can open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposed {
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// What they should be at most.
    pub wanted: u32,
}

/// Whether others may read the database or look into its directory. A reason to warn, never to refuse:
/// some hosts have their reasons.
///
/// # Errors
///
/// [`Error::Missing`] and the like if the file system does not say.
pub fn exposed(path: &Path) -> Result<Vec<Exposed>, Error> {
    let mut found = Vec::new();
    for (path, wanted) in [(path, 0o600), (directory_of(path), 0o700)] {
        let metadata = fs::metadata(path).map_err(|error| Error::from_metadata(path, error))?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & !wanted != 0 {
            found.push(Exposed {
                path: path.to_owned(),
                mode,
                wanted,
            });
        }
    }
    Ok(found)
}
