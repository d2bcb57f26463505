//! What we ask of storage, in domain types. SQL stays below this module.
//!
//! Three handles on one database file: [`Reader`] answers the daemon's one question on every log-in, and
//! those about homes, and writes nothing; [`Recorder`] writes down for the daemon what was used; [`Store`] is what the command
//! line changes the database with. They share the file alone: what a `Store` has committed, the next
//! question to any `Reader` sees, in every process.

#[cfg(test)]
mod contract;
mod error;
mod files;
#[cfg(test)]
mod flips;
mod frozen;
mod link;
mod node;
mod reader;
mod recorder;
mod reserve;
mod row;
mod sqlite;
#[cfg(test)]
mod trouble;

pub use crate::model::SecretId;
pub use error::Error;
pub use link::Identity;
pub use reader::Reader;
pub use recorder::{Keep, Recorder};
pub use reserve::make_room;
pub use row::{
    AccessListRow, AccessRow, Attempts, AttemptsRow, Candidate, Delegated, DeviceRow, EventId,
    EventRow, Found, Home, MailboxRow, PersonRow, UseRow, Uses, Wanted,
};
pub use sqlite::{
    Created, EventFilter, Exposed, IfThere, LONGEST_LOG, Living, NewDevice, NewSecret, Restore,
    RestoreError, Restored, Revoked, Selection, Store, Unknown, Wishes, exposed, migrate,
};
