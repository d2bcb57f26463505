//! What it means that a backup was not restored.

use super::{Error, Exit, store_exit};
use crate::store::{self, RestoreError};

/// What is wrong with the current database is told as everywhere else.
impl From<RestoreError> for Error {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Database(error) => Self::Store(error),
            error @ (RestoreError::Backup { .. }
            | RestoreError::BackupDamaged { .. }
            | RestoreError::SameFile { .. }
            | RestoreError::Undecided { .. }
            | RestoreError::Merged { .. }
            | RestoreError::Aside { .. }
            | RestoreError::HalfAside { .. }
            | RestoreError::NotPlaced { .. }) => Self::Restore(Box::new(error)),
        }
    }
}

pub(super) fn exit(error: &RestoreError) -> Exit {
    match error {
        RestoreError::Backup { source, .. } if is_missing(source) => Exit::NoInput,
        RestoreError::Backup { source, .. } if is_no_backup(source) => Exit::Data,
        RestoreError::Backup { source, .. } => store_exit(source),
        RestoreError::BackupDamaged { .. } | RestoreError::SameFile { .. } => Exit::Data,
        RestoreError::Undecided { .. } => Exit::Usage,
        RestoreError::Merged { .. } => Exit::Io,
        RestoreError::Aside { .. }
        | RestoreError::HalfAside { .. }
        | RestoreError::NotPlaced { .. } => Exit::CannotCreate,
        RestoreError::Database(error) => store_exit(error),
    }
}

/// An interface, as every such word.
pub(super) fn code(error: &RestoreError) -> &'static str {
    match error {
        RestoreError::Backup { .. } => "backup_unusable",
        RestoreError::BackupDamaged { .. } => "backup_damaged",
        RestoreError::SameFile { .. } => "same_file",
        RestoreError::Undecided { .. } => "revocations_unknown",
        RestoreError::Merged { .. } => "cannot_merge",
        RestoreError::Aside { .. } | RestoreError::HalfAside { .. } => "cannot_move_aside",
        RestoreError::NotPlaced { .. } => "cannot_create",
        RestoreError::Database(error) => error.code(),
    }
}

pub(super) fn hint(error: &RestoreError) -> Option<&'static str> {
    match error {
        RestoreError::Backup { source, .. } if is_missing(source) => {
            Some("check the path; `dovelatch db backup` makes one")
        }
        RestoreError::Backup { source, .. } if is_no_backup(source) => {
            Some("name a file that `dovelatch db backup` made")
        }
        RestoreError::Backup { source, .. } if is_newer(source) => {
            Some("install the newer program")
        }
        RestoreError::Backup { source, .. } => source.hint(),
        RestoreError::BackupDamaged { .. } => Some("take another backup; nothing was changed"),
        RestoreError::SameFile { .. } => Some("name a file that `dovelatch db backup` made"),
        RestoreError::Undecided { .. } => {
            Some("say --revoke-issued-before DATE, or --accept-revived if all of it may work again")
        }
        RestoreError::Merged { .. } => Some("please report it; nothing was changed"),
        RestoreError::Aside { .. } => Some("the directory must be yours to write"),
        RestoreError::HalfAside { .. } => Some("move this one too, and restore once more"),
        RestoreError::NotPlaced { source, .. } => source.hint(),
        RestoreError::Database(error) => error.hint(),
    }
}

fn is_missing(error: &store::Error) -> bool {
    matches!(error, store::Error::Missing { .. })
}

fn is_newer(error: &store::Error) -> bool {
    matches!(error, store::Error::SchemaTooNew { .. })
}

/// Whether a file is something else than a backup, or no longer one.
fn is_no_backup(error: &store::Error) -> bool {
    use store::Error as E;
    matches!(
        error,
        E::NotADatabase { .. } | E::Corrupt { .. } | E::Undecodable { .. } | E::Query(_)
    )
}
