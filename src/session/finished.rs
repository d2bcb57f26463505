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
    pub connection: u64,
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
    connection: u64,
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
        let found = candidates.map(|&(_, _, key)| key).find(|key| {
            let kept = self.requests.get(key);
            kept.is_some_and(|kept| kept.cookie == by.cookie)
        });
        self.remove(found?).map(|finished| finished.admitted)
    }

    /// Forgets one: it was cancelled, or its id is used again.
    pub fn forget(&mut self, connection: u64, auth_id: u32) {
        self.remove(Key {
            connection,
            auth_id,
        });
    }

    /// Forgets all of a connection: it has ended. The login process stays until the mail process has
    /// taken over, so nobody will ask for them.
    pub fn forget_all(&mut self, connection: u64) {
        let keys = self.requests.range(Key::all(connection));
        for key in keys.map(|(&key, _)| key).collect::<Vec<_>>() {
            self.remove(key);
        }
    }

    /// Forgets what is [`LIFETIME`] old. Done before one is kept or given out; that nobody does it
    /// meanwhile costs room only, and that is bounded.
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
        connection: u64::MAX,
        auth_id: u32::MAX,
    };

    fn of(finished: &Finished) -> Self {
        Self {
            connection: finished.connection,
            auth_id: finished.auth_id,
        }
    }

    fn all(connection: u64) -> RangeInclusive<Self> {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::attempt::{Allowed, Attempt};
    use crate::model::{ClientText, Mechanism, SecretId, Service};
    use crate::secret::Secret;
    use crate::wire::auth_master::MasterId;

    #[expect(
        clippy::disallowed_methods,
        reason = "any point in time will do to begin with"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    /// What was let in, told apart by its `number`.
    fn admitted(number: i64) -> Admitted {
        Admitted {
            attempt: Attempt {
                mailbox: Some("bob@example.org".parse().unwrap()),
                person: None,
                claimed: ClientText::default(),
                secret: Secret::default(),
                mechanism: Mechanism::Plain,
                service: Service::Imap,
                origin: None,
                local: None,
            },
            allowed: Allowed {
                mailbox: "bob@example.org".parse().unwrap(),
                device: "dp-kqtmwhzrnb".parse().unwrap(),
                secret: SecretId(number),
                person: None,
            },
        }
    }

    /// That of a connection.
    fn cookie(connection: u32) -> Cookie {
        Cookie::from_wire(format!("{connection:032x}").as_bytes()).unwrap()
    }

    /// On a connection of the process 100.
    fn finished(connection: u32, auth_id: u32, begun: Instant, number: i64) -> Finished {
        Finished {
            client_pid: 100,
            auth_id,
            connection: connection.into(),
            begun,
            admitted: admitted(number),
        }
    }

    fn by(client_pid: u32, auth_id: u32, cookie: Cookie) -> PickUp {
        PickUp {
            id: MasterId(1),
            client_pid,
            auth_id,
            cookie,
            session_pid: None,
            wants_token: false,
        }
    }

    fn number(admitted: Option<Admitted>) -> Option<i64> {
        admitted.map(|admitted| admitted.allowed.secret.0)
    }

    fn size(table: &Table) -> usize {
        let size = table.requests.len();
        assert_eq!((table.by_name.len(), table.by_age.len()), (size, size));
        size
    }

    #[test]
    fn a_finished_request_is_given_out_once() {
        let (mut table, now) = (Table::default(), start());
        table.keep(&cookie(1), finished(1, 7, now, 42), now);
        let by = by(100, 7, cookie(1));
        assert_eq!(number(table.take(&by, now)), Some(42));
        assert_eq!(number(table.take(&by, now)), None);
        assert_eq!(size(&table), 0);
    }

    #[test]
    fn whoever_names_none_gets_none_and_changes_nothing() {
        let (mut table, now) = (Table::default(), start());
        table.keep(&cookie(1), finished(1, 7, now, 42), now);
        for wrong in [
            by(100, 7, cookie(2)),
            by(101, 7, cookie(1)),
            by(100, 8, cookie(1)),
        ] {
            assert_eq!(number(table.take(&wrong, now)), None);
        }
        let right = by(100, 7, cookie(1));
        assert_eq!(number(table.take(&right, now)), Some(42));
    }

    #[test]
    fn the_cookie_tells_apart_what_has_the_same_process_id_and_id() {
        let (mut table, now) = (Table::default(), start());
        for connection in 1..=3 {
            let number = i64::from(connection);
            table.keep(
                &cookie(connection),
                finished(connection, 7, now, number),
                now,
            );
        }
        for connection in [2, 3, 1] {
            let found = table.take(&by(100, 7, cookie(connection)), now);
            assert_eq!(number(found), Some(i64::from(connection)));
        }
    }

    #[test]
    fn a_finished_request_lives_150_seconds_from_its_auth_on() {
        let (begun, by) = (start(), by(100, 7, cookie(1)));
        let end = begun + LIFETIME;
        for (now, found) in [(end - Duration::from_nanos(1), Some(42)), (end, None)] {
            let mut table = Table::default();
            table.keep(
                &cookie(1),
                finished(1, 7, begun, 42),
                begun + Duration::from_secs(4),
            );
            assert_eq!(number(table.take(&by, now)), found);
            assert_eq!(size(&table), 0);
        }
    }

    #[test]
    fn what_is_forgotten_is_not_given_out_and_nothing_else_is_forgotten() {
        let (mut table, now) = (Table::default(), start());
        for (connection, auth_id) in [(1, 7), (1, 8), (1, 9), (0, 7), (2, 7)] {
            let number = i64::from(connection * 10 + auth_id);
            table.keep(
                &cookie(connection),
                finished(connection, auth_id, now, number),
                now,
            );
        }
        table.forget(1, 7);
        assert_eq!(number(table.take(&by(100, 7, cookie(1)), now)), None);
        assert_eq!(number(table.take(&by(100, 8, cookie(1)), now)), Some(18));
        table.forget_all(1);
        assert_eq!(number(table.take(&by(100, 9, cookie(1)), now)), None);
        assert_eq!(number(table.take(&by(100, 7, cookie(0)), now)), Some(7));
        assert_eq!(number(table.take(&by(100, 7, cookie(2)), now)), Some(27));
    }

    #[test]
    fn at_the_bound_the_oldest_of_all_is_forgotten() {
        let (mut table, first) = (Table::default(), start());
        let last = u32::try_from(MAX_FINISHED).unwrap();
        let begun = |connection| first + Duration::from_micros(u64::from(connection));
        for connection in 0..=last {
            let now = begun(connection);
            let one = finished(connection, 1, now, i64::from(connection));
            table.keep(&cookie(connection), one, now);
        }
        assert_eq!(size(&table), MAX_FINISHED);
        let mut of = |connection| {
            let by = by(100, 1, cookie(connection));
            number(table.take(&by, begun(last)))
        };
        assert_eq!(of(0), None);
        assert_eq!(of(1), Some(1));
        assert_eq!(of(last), Some(i64::from(last)));
    }

    #[derive(Debug, Clone)]
    enum Event {
        Keep(u32, u32),
        /// By connection and id; the third is that whose cookie is shown.
        Take(u32, u32, u32),
        Forget(u32, u32),
        ForgetAll(u32),
        /// Seconds.
        Passes(u64),
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let (connection, id) = (0_u32..4, 1_u32..4);
        prop_oneof![
            4 => (connection.clone(), id.clone()).prop_map(|(c, i)| Event::Keep(c, i)),
            4 => (connection.clone(), id.clone(), 0_u32..4)
                .prop_map(|(c, i, other)| Event::Take(c, i, other)),
            2 => (connection.clone(), id).prop_map(|(c, i)| Event::Forget(c, i)),
            1 => connection.prop_map(Event::ForgetAll),
            1 => (1_u64..100).prop_map(Event::Passes),
        ]
    }

    proptest! {
        /// Against the plainest list there is. Two connections have one process id, as in containers.
        #[test]
        fn what_is_given_out_was_kept_and_neither_given_nor_forgotten_since(
            events in prop::collection::vec(any_event(), 0..60),
        ) {
            let pid = |connection: u32| 100 + connection / 2;
            let (mut table, mut now) = (Table::default(), start());
            let mut kept: Vec<(u32, u32, Instant, i64)> = Vec::new();
            for (number_kept, event) in (0_i64..).zip(events) {
                match event {
                    Event::Keep(connection, id) => {
                        kept.retain(|&(c, i, ..)| (c, i) != (connection, id));
                        kept.push((connection, id, now, number_kept));
                        let mut finished = finished(connection, id, now, number_kept);
                        finished.client_pid = pid(connection);
                        table.keep(&cookie(connection), finished, now);
                    }
                    Event::Take(connection, id, other) => {
                        let found = number(table.take(&by(pid(connection), id, cookie(other)), now));
                        let named = kept.iter().position(|&(c, i, ..)| {
                            (c, i) == (other, id) && pid(c) == pid(connection)
                        });
                        let expected = named.map(|named| kept.remove(named).3);
                        prop_assert_eq!(found, expected);
                    }
                    Event::Forget(connection, id) => {
                        kept.retain(|&(c, i, ..)| (c, i) != (connection, id));
                        table.forget(connection.into(), id);
                    }
                    Event::ForgetAll(connection) => {
                        kept.retain(|&(c, ..)| c != connection);
                        table.forget_all(connection.into());
                    }
                    Event::Passes(seconds) => {
                        now += Duration::from_secs(seconds);
                        kept.retain(|&(.., begun, _)| now - begun < LIFETIME);
                        table.forget_expired(now);
                    }
                }
                prop_assert_eq!(size(&table), kept.len());
            }
        }
    }
}
