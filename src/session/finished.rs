//! Log-ins that were let in on a login socket, until the mail process asks for them on a master socket.
//!
//! One table for all connections of both kinds. Each request is given out once, to whoever names the
//! process, the id and the cookie of its login connection. Pure: time is an argument.
//!
//! The process id of a login connection is no identity: containers have the same small ones. So several
//! requests may answer to one process id and request id, and the cookie tells which is meant.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Instant;

use super::auth_client::LIFETIME;
use crate::attempt::Admitted;
use crate::wire::auth_master::{Cookie, PickUp};

/// Finished requests in the whole table, a few hundred bytes each.
///
/// Where one more comes, the oldest is forgotten: its mail process gets FAIL, and the mail program's log-in
/// fails as if the server had trouble. A mail process asks within milliseconds, so this is reached
/// only if 65,536 log-ins with a good password come within 150 s and no mail process wants them.
pub const MAX_FINISHED: usize = 65_536;

/// A finished request.
#[derive(Debug)]
pub struct Finished {
    /// CPID of the login connection. No identity.
    pub client_pid: u32,
    /// Id of its AUTH.
    pub auth_id: u32,
    /// Our own number of the login connection.
    pub connection: u32,
    /// When its AUTH came in: it lives 150 s from then, as in stock Dovecot.
    pub begun: Instant,
    pub admitted: Admitted,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Table {
    requests: BTreeMap<Key, Kept>,
    /// Who may be meant by a process id and a request id.
    by_name: BTreeSet<(u32, u32, Key)>,
    by_age: BTreeSet<(Instant, Key)>,
}

/// One connection's AUTH; there is one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    connection: u32,
    auth_id: u32,
}

#[derive(Debug)]
struct Kept {
    cookie: Cookie,
    finished: Finished,
}

impl Table {
    /// Keeps one, under the cookie of its login connection, in the place of an earlier one of the same
    /// connection and id. At [`MAX_FINISHED`] the oldest of all is forgotten.
    pub fn keep(&mut self, cookie: &Cookie, finished: Finished, now: Instant) {
        self.forget_expired(now);
        let key = Key::of(&finished);
        self.remove(key);
        self.by_name
            .insert((finished.client_pid, finished.auth_id, key));
        self.by_age.insert((finished.begun, key));
        let cookie = cookie.clone();
        self.requests.insert(key, Kept { cookie, finished });
        while self.requests.len() > MAX_FINISHED {
            let Some(&(_, oldest)) = self.by_age.first() else {
                return;
            };
            self.remove(oldest);
        }
    }

    /// Gives one out, for good. Whoever names none changes nothing.
    pub fn take(&mut self, by: &PickUp, now: Instant) -> Option<Admitted> {
        self.forget_expired(now);
        let named = |end: Key| (by.client_pid, by.auth_id, end);
        let candidates = self.by_name.range(named(Key::FIRST)..=named(Key::LAST));
        // Cookies are random: there is one at most.
        let mut found = None;
        for &(_, _, key) in candidates {
            if self.requests.get(&key)?.cookie == by.cookie {
                found = Some(key);
            }
        }
        self.remove(found?).map(|finished| finished.admitted)
    }

    /// Forgets one: it was cancelled, or its id is used again.
    pub fn forget(&mut self, connection: u32, auth_id: u32) {
        self.remove(Key {
            connection,
            auth_id,
        });
    }

    /// Forgets all of a connection: it has ended. The login process stays until the mail process has
    /// taken over, so nobody will ask for them.
    pub fn forget_all(&mut self, connection: u32) {
        let keys = self.requests.range(Key::all(connection));
        for key in keys.map(|(&key, _)| key).collect::<Vec<_>>() {
            self.remove(key);
        }
    }

    /// Forgets what is [`LIFETIME`] old. Every call does so first; without one nothing grows.
    fn forget_expired(&mut self, now: Instant) {
        while let Some(&(begun, key)) = self.by_age.first() {
            if now.saturating_duration_since(begun) < LIFETIME {
                return;
            }
            self.remove(key);
        }
    }

    fn remove(&mut self, key: Key) -> Option<Finished> {
        let Kept { finished, .. } = self.requests.remove(&key)?;
        self.by_name
            .remove(&(finished.client_pid, finished.auth_id, key));
        self.by_age.remove(&(finished.begun, key));
        Some(finished)
    }
}

impl Key {
    const FIRST: Self = Self {
        connection: 0,
        auth_id: 0,
    };
    const LAST: Self = Self {
        connection: u32::MAX,
        auth_id: u32::MAX,
    };

    fn of(finished: &Finished) -> Self {
        Self {
            connection: finished.connection,
            auth_id: finished.auth_id,
        }
    }

    fn all(connection: u32) -> RangeInclusive<Self> {
        let first = Self {
            connection,
            ..Self::FIRST
        };
        let last = Self {
            connection,
            ..Self::LAST
        };
        first..=last
    }
}
