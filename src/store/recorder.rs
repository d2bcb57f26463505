//! What the daemon writes: uses, attempts with ended secrets, and what is past its time to be kept.
//!
//! On a connection of its own, which hardly waits: whoever holds a lock for long may cost us some uses,
//! never a log-in.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::{Transaction, TransactionBehavior};

use super::link::{For, Identity, Link};
use super::{Attempts, Error, Uses, sqlite};
use crate::model::Timestamp;

/// How long what is past its use is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Hashes and tags of ended secrets. The line of the device password stays for ever.
    pub tombstones: Duration,
    pub events: Duration,
}

/// One connection for what the daemon writes. It opens and reopens by itself.
#[derive(Debug)]
pub struct Recorder {
    link: Link,
    keep_uses: u32,
}

impl Recorder {
    /// Opens nothing yet. Of each device password the `keep_uses` newest lines of its history are kept,
    /// at least one.
    pub fn new(path: PathBuf, identity: Identity, keep_uses: u32) -> Self {
        Self {
            link: Link::new(path, identity, For::Writing),
            keep_uses: keep_uses.max(1),
        }
    }

    /// Adds good log-ins to the history of their device passwords, in one commit, and moves `last_used`
    /// along. One for a device password that is not there is left out.
    ///
    /// # Errors
    ///
    /// Whatever keeps the database from being written; then none of them was.
    pub fn record_uses(&mut self, uses: &[Uses], now: Instant) -> Result<(), Error> {
        let keep = self.keep_uses;
        self.write(now, |tx| sqlite::record_uses(tx, uses, keep))
    }

    /// Adds attempts with ended secrets, in one commit. The first in an hour with the same secret from the
    /// same address leaves an event, ten for one secret in an hour at most.
    ///
    /// # Errors
    ///
    /// As [`Self::record_uses`].
    pub fn record_attempts(&mut self, attempts: &[Attempts], now: Instant) -> Result<(), Error> {
        self.write(now, |tx| sqlite::record_attempts(tx, attempts))
    }

    /// Ends what `rotate --keep-old` let live and has run out, and drops what has been kept for long
    /// enough: a bounded number of rows, in one commit. `true`: there may be more, so call it again
    /// soon.
    ///
    /// # Errors
    ///
    /// As [`Self::record_uses`].
    pub fn prune(&mut self, keep: Keep, clock: Timestamp, now: Instant) -> Result<bool, Error> {
        self.write(now, |tx| sqlite::prune(tx, keep, clock))
    }

    /// All in one transaction, or nothing. It takes the write lock at its beginning, or fails soon.
    fn write<T>(
        &mut self,
        now: Instant,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.link.ask(now, |open| {
            open.cut_long_log();
            let tx = (open.connection).transaction_with_behavior(TransactionBehavior::Immediate)?;
            let changed = change(&tx)?;
            tx.commit()?;
            Ok(changed)
        })
    }
}
