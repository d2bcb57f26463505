//! What keeps uses from being written, and how the log learns of it.

use std::time::{Duration, Instant};

use crate::store;

/// Entries that are lost because they meet a damaged row of the database. Whoever knows an ended password
/// can make one each second, so the log has one line a minute.
#[derive(Debug, Default)]
pub(super) struct Damage {
    lost: u64,
    last: Option<store::Error>,
    pub(super) told: Option<Instant>,
}

impl Damage {
    pub(super) fn met(&mut self, lost: u64, error: store::Error) {
        self.lost += lost;
        self.last = Some(error);
    }

    pub(super) fn tell(&mut self, now: Instant) {
        if let Some(error) = self.last.take() {
            let lost = std::mem::take(&mut self.lost);
            tell_lost(lost, &error, "uses are lost: they meet a damaged row");
            self.told = Some(now);
        }
    }
}

/// Tells the log when one kind could not be written for a while, and when that is over.
///
/// Somebody else's lock for a second or two is no trouble: what could not be written is kept.
#[derive(Debug)]
pub(super) struct Trouble {
    since: Option<Instant>,
    told: bool,
    /// What the log is told.
    begins: &'static str,
    ends: &'static str,
}

impl Trouble {
    /// How long it may last before it is told.
    const PATIENCE: Duration = Duration::from_secs(10);

    pub(super) fn new(begins: &'static str, ends: &'static str) -> Self {
        Self {
            since: None,
            told: false,
            begins,
            ends,
        }
    }

    pub(super) fn met(&mut self, result: Result<(), store::Error>, now: Instant) {
        let Err(error) = result else {
            if self.told {
                tracing::info!("{}", self.ends);
            }
            *self = Self::new(self.begins, self.ends);
            return;
        };
        let since = *self.since.get_or_insert(now);
        // That it was tried a moment ago is no cause of anything.
        let tells = !matches!(error, store::Error::Unavailable { .. });
        if tells && !self.told && now.saturating_duration_since(since) >= Self::PATIENCE {
            let hint = error.hint();
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, hint, "{}", self.begins);
            self.told = true;
        }
    }
}

/// Entries that nobody will write any more.
pub(super) fn tell_lost(lost: u64, error: &store::Error, what: &'static str) {
    let hint = error.hint();
    let error: &dyn std::error::Error = error;
    tracing::warn!(lost, error, hint, "{what}");
}
