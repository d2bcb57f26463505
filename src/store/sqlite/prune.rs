//! What is past its time: old secrets that were to live on for a while, hashes of tombstones, events.
//!
//! In batches, so that nobody else waits long for the lock: each is one transaction of at most three
//! times [`BATCH`] rows.

use rusqlite::{Transaction, params};

use super::super::{Error, Keep};
use crate::model::Timestamp;

/// Rows of each kind in one transaction.
const BATCH: usize = 1_000;

/// Ends what has run out. Its last line, as that of [`FORGET`], is the condition of the index on both.
pub(super) const END: &str = "UPDATE secret SET ended = valid_until WHERE id IN
    (SELECT id FROM secret WHERE ended IS NULL AND valid_until <= ?1
    AND phc IS NOT NULL AND (ended IS NOT NULL OR valid_until IS NOT NULL) LIMIT ?2)";

/// Forgets the hash of what ended long ago, and with it the tag.
pub(super) const FORGET: &str = "UPDATE secret SET phc = NULL, tag = NULL WHERE id IN
    (SELECT id FROM secret WHERE ended < ?1
    AND phc IS NOT NULL AND (ended IS NOT NULL OR valid_until IS NOT NULL) LIMIT ?2)";

/// One batch. `true`: there may be more.
pub(in crate::store) fn prune(
    tx: &Transaction<'_>,
    keep: Keep,
    now: Timestamp,
) -> Result<bool, Error> {
    let batch = i64::try_from(BATCH).unwrap_or(i64::MAX);
    let ended = tx
        .prepare_cached(END)?
        .execute(params![now.as_unix(), batch])?;
    let forgotten = tx
        .prepare_cached(FORGET)?
        .execute(params![now.minus(keep.tombstones).as_unix(), batch])?;
    // Looks at the oldest lines only: ids grow with time, as far as the clock does.
    let dropped = tx
        .prepare_cached(
            "DELETE FROM event WHERE id IN (SELECT id FROM
                (SELECT id, at FROM event ORDER BY id LIMIT ?2) WHERE at < ?1)",
        )?
        .execute(params![now.minus(keep.events).as_unix(), batch])?;
    Ok([ended, forgotten, dropped].contains(&BATCH))
}
