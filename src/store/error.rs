//! Why the store could not answer.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use rusqlite::ErrorCode;

use crate::model::{DeviceId, FieldError, Label, Mailbox, Person};
use crate::random;

/// Why the store could not answer, or would not change what it was asked to change.
///
/// On the log-in path every one of them means *try later*, never *wrong password*.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no database {path:?}")]
    Missing { path: PathBuf },
    #[error("{path:?} is not a database of dovelatch")]
    NotADatabase { path: PathBuf },
    #[error("database {path:?} has schema {found}; this program knows up to {newest}")]
    SchemaTooNew {
        path: PathBuf,
        found: u32,
        newest: u32,
    },
    #[error("database {path:?} has schema {found}; this program needs {newest}")]
    SchemaTooOld {
        path: PathBuf,
        found: u32,
        newest: u32,
    },
    /// Another database lies where the one that this process serves was.
    #[error("database {path:?} was replaced by another one")]
    OtherIdentity { path: PathBuf },
    /// It could not be opened a moment ago; the error then said why.
    #[error("database {path:?} is not available")]
    Unavailable { path: PathBuf },
    /// It changed under the hands of whoever opened it.
    #[error("database {path:?} was replaced while it was opened")]
    Replaced { path: PathBuf },
    /// Readers of this process still have the deleted files open.
    #[error("the log of database {path:?} was deleted while it was in use")]
    LogDeleted { path: PathBuf },
    #[error("no permission for database {path:?}")]
    Permission { path: PathBuf, source: io::Error },
    #[error("cannot open database {path:?}")]
    Open {
        path: PathBuf,
        source: rusqlite::Error,
    },
    #[error("cannot examine {path:?}")]
    Examine { path: PathBuf, source: io::Error },
    #[error("cannot create {path:?}")]
    Create { path: PathBuf, source: io::Error },
    #[error("{path:?} exists already")]
    TargetExists { path: PathBuf },
    /// A new database of that name would take it for its own, and what is in it with it.
    #[error("{path:?} is left of a database that is not there any more")]
    LeftBehind { path: PathBuf },
    #[error("SQLite {found} can corrupt a database that two programs write")]
    SqliteTooOld { found: &'static str },
    #[error("the database does not accept the setting {name} = {wanted:?}")]
    Setting {
        name: &'static str,
        wanted: &'static str,
    },

    #[error("the database is locked by another program")]
    Locked { source: rusqlite::Error },
    #[error("there is no room left for the database")]
    Full { source: rusqlite::Error },
    #[error("the database cannot be written")]
    ReadOnly { source: rusqlite::Error },
    #[error("the database is damaged")]
    Corrupt { source: rusqlite::Error },
    #[error("the database cannot be read or written")]
    Io { source: rusqlite::Error },
    /// A row that no version of this program writes. `what` names table and column, no content.
    #[error("a row of the database cannot be understood: {what}")]
    Undecodable { what: String },
    #[error("the database refused a query")]
    Query(#[source] rusqlite::Error),

    #[error("there is no mailbox {mailbox:?}", mailbox = mailbox.as_str())]
    NoSuchMailbox { mailbox: Mailbox },
    #[error("there is a mailbox {mailbox:?} already", mailbox = mailbox.as_str())]
    MailboxExists { mailbox: Mailbox },
    #[error("cannot set the fields of mailbox {mailbox:?}", mailbox = mailbox.as_str())]
    Fields {
        mailbox: Mailbox,
        source: FieldError,
    },
    #[error("there is no person {person:?}", person = person.as_str())]
    NoSuchPerson { person: Person },
    #[error("there is a person {person:?} already", person = person.as_str())]
    PersonExists { person: Person },
    #[error(
        "person {person:?} has no access to mailbox {mailbox:?}",
        person = person.as_str(),
        mailbox = mailbox.as_str()
    )]
    NoAccess { mailbox: Mailbox, person: Person },
    #[error(
        "person {person:?} has access to mailbox {mailbox:?} already",
        person = person.as_str(),
        mailbox = mailbox.as_str()
    )]
    AccessExists { mailbox: Mailbox, person: Person },
    /// The person of the mailbox's own name.
    #[error("mailbox {mailbox:?} is this person's own", mailbox = mailbox.as_str())]
    OwnMailbox { mailbox: Mailbox },
    #[error("there is no device password {id:?}", id = id.as_str())]
    NoSuchDevice { id: DeviceId },
    #[error(
        "mailbox {mailbox:?} has an active device password {label:?} already",
        mailbox = mailbox.as_str(),
        label = label.as_str()
    )]
    LabelTaken { mailbox: Mailbox, label: Label },
    #[error("device password {id:?} is revoked already", id = id.as_str())]
    AlreadyRevoked { id: DeviceId },
    /// Two rotations of one device password crossed.
    #[error("this secret of device password {id:?} has ended already", id = id.as_str())]
    AlreadyEnded { id: DeviceId },
    /// The mailbox has a secret with this tag: another password must be drawn.
    #[error("the tag of the new password is taken")]
    TagTaken,
    /// Another id must be drawn.
    #[error("the id {id:?} is taken", id = id.as_str())]
    IdTaken { id: DeviceId },
    #[error(transparent)]
    Random(#[from] random::Error),
}

impl Error {
    /// A stable word for `--json`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "database_missing",
            Self::NotADatabase { .. } => "not_a_database",
            Self::SchemaTooNew { .. } => "schema_too_new",
            Self::SchemaTooOld { .. } => "schema_too_old",
            Self::OtherIdentity { .. } => "other_database",
            Self::Unavailable { .. } => "database_unavailable",
            Self::Replaced { .. } => "database_replaced",
            Self::LogDeleted { .. } => "database_log_deleted",
            Self::Permission { .. } => "permission_denied",
            Self::Open { .. } => "database_open",
            Self::Examine { .. } | Self::Io { .. } => "database_io",
            Self::Create { .. } => "cannot_create",
            Self::TargetExists { .. } => "file_exists",
            Self::LeftBehind { .. } => "log_left_behind",
            Self::SqliteTooOld { .. } => "sqlite_too_old",
            Self::Setting { .. } => "database_setting",
            Self::Locked { .. } => "database_locked",
            Self::Full { .. } => "database_full",
            Self::ReadOnly { .. } => "database_read_only",
            Self::Corrupt { .. } => "database_corrupt",
            Self::Undecodable { .. } => "undecodable_row",
            Self::Query(_) => "database_query",
            Self::NoSuchMailbox { .. } => "no_such_mailbox",
            Self::MailboxExists { .. } => "mailbox_exists",
            Self::Fields { .. } => "invalid_fields",
            Self::NoSuchPerson { .. } => "no_such_person",
            Self::PersonExists { .. } => "person_exists",
            Self::NoAccess { .. } => "no_access",
            Self::AccessExists { .. } => "access_exists",
            Self::OwnMailbox { .. } => "own_mailbox",
            Self::NoSuchDevice { .. } => "no_such_device",
            Self::LabelTaken { .. } => "label_taken",
            Self::AlreadyRevoked { .. } => "already_revoked",
            Self::AlreadyEnded { .. } => "already_ended",
            Self::TagTaken => "tag_taken",
            Self::IdTaken { .. } => "id_taken",
            Self::Random(_) => "no_random_bytes",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing { .. } => Some(
                "`dovelatch mailbox add NAME` makes one; is the volume mounted, is the path right?",
            ),
            Self::NotADatabase { .. } => {
                Some("check the path; an interrupted copy is replaced by a backup")
            }
            Self::SchemaTooNew { .. } => {
                Some("install the newer program, or move the file away and restore a backup")
            }
            Self::SchemaTooOld { .. } => Some("`dovelatch db check` brings it up to date"),
            Self::OtherIdentity { .. } => {
                Some("if it was meant, reload the daemon; if not, put the old file back")
            }
            Self::Unavailable { .. } => Some("the log says why it could not be opened"),
            Self::Replaced { .. } => Some("try again"),
            Self::LogDeleted { .. } => {
                Some("never delete -wal or -shm files; it recovers by itself")
            }
            Self::Permission { .. } => Some("run as root or as the owner of the database"),
            Self::Open { .. } => Some("check that the directory exists and is yours to write"),
            Self::Examine { .. } | Self::Create { .. } => {
                Some("the directory must exist, have room, and be yours to write")
            }
            Self::TargetExists { .. } => Some("name a file that does not exist yet"),
            Self::LeftBehind { .. } => Some(
                "put that database back, or move this file away; `db restore` does that by itself",
            ),
            Self::SqliteTooOld { .. } => Some("build with SQLite 3.51.3 or later"),
            Self::Setting { .. } => {
                Some("keep the database on a local file system, and check who may write it")
            }
            Self::Locked { .. } => Some("try again; `fuser` on the file shows who holds it"),
            Self::Full { .. } => Some("make room on its file system; nothing was changed"),
            Self::ReadOnly { .. } => {
                Some("run as root or as the owner of the database; is its file system read-only?")
            }
            Self::Corrupt { .. } | Self::Undecodable { .. } => {
                Some("`dovelatch db check` says more; restore a backup")
            }
            Self::Io { .. } => Some("look for errors of the disk in the system's log"),
            Self::NoSuchMailbox { .. } => Some("`dovelatch mailbox list` shows them"),
            Self::MailboxExists { .. } => Some("`dovelatch mailbox list` shows them"),
            Self::Fields { .. } => Some("`dovelatch mailbox show NAME` shows those that are set"),
            Self::NoSuchPerson { .. } | Self::PersonExists { .. } => {
                Some("`dovelatch person list` shows them")
            }
            Self::NoAccess { .. } => Some("`dovelatch access add MAILBOX PERSON` gives it"),
            Self::AccessExists { .. } => Some("`dovelatch access list MAILBOX` shows it"),
            Self::OwnMailbox { .. } => Some("an owner needs no access"),
            Self::NoSuchDevice { .. } => Some("`dovelatch list MAILBOX` shows them"),
            Self::LabelTaken { .. } => Some("choose another label, or revoke or rename that one"),
            Self::AlreadyRevoked { .. } => {
                Some("revoked is for good; `dovelatch add` issues a new one")
            }
            Self::AlreadyEnded { .. } => Some("it was rotated by somebody else: rotate again"),
            Self::TagTaken | Self::IdTaken { .. } => Some("try again"),
            Self::Query(_) => Some("`dovelatch db check` examines it"),
            Self::Random(_) => Some("the kernel has no random bytes: look into the system's log"),
        }
    }

    /// A failure while opening `path`, told apart as far as the file system lets us see.
    pub(super) fn while_opening(path: &Path, source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NotADatabase {
                path: path.to_owned(),
            },
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                // SQLite keeps the system's error to itself. Never open the file to find out: closing
                // it again would drop the locks of every connection of this process.
                let allowed = |flags| access(path, flags);
                match (allowed(AccessFlags::R_OK), allowed(AccessFlags::W_OK)) {
                    (Err(errno), _) => Self::from_metadata(path, errno.into()),
                    (Ok(()), Err(Errno::EROFS)) => Self::ReadOnly { source },
                    (Ok(()), Ok(()) | Err(_)) => Self::Open {
                        path: path.to_owned(),
                        source,
                    },
                }
            }
            _ => source.into(),
        }
    }

    /// The file system would not say what `path` is.
    pub(super) fn from_metadata(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::NotFound {
            Self::Missing { path }
        } else if source.kind() == io::ErrorKind::PermissionDenied {
            Self::Permission { path, source }
        } else {
            Self::Examine { path, source }
        }
    }

    /// A stored value of `column` that is none of its domain type's.
    pub(super) fn undecodable(column: &'static str) -> Self {
        Self::Undecodable {
            what: column.to_owned(),
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(source: rusqlite::Error) -> Self {
        let index_without_room = rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
        if (source.sqlite_error()).is_some_and(|error| error.extended_code == index_without_room) {
            return Self::Full { source };
        }
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked { source },
            Some(ErrorCode::DiskFull) => Self::Full { source },
            Some(ErrorCode::ReadOnly) => Self::ReadOnly { source },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt { source },
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::FileLockingProtocolFailed,
            ) => Self::Io { source },
            Some(_) => Self::Query(source),
            // Not SQLite's own: a value of another type than its column's, in a damaged file.
            None => Self::Undecodable {
                what: source.to_string(),
            },
        }
    }
}
