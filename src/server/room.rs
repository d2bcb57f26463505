//! Room for connections: how many there may be, and what they may hold, altogether and of one user.
//!
//! The bound on all of them is kept before accept(2): who comes beyond it waits in the kernel's backlog. One that
//! was accepted and closed would make Dovecot's login processes tell their clients "Auth process broken"
//! (`auth_connect_notify`, src/login-common/main.c, Dovecot 2.4).
//!
//! The bound on those of one user can only be kept after it, when the kernel tells whose a connection is
//! (SO_PEERCRED). What is beyond it is closed at once. To keep it unread until there is room would cost a
//! descriptor for each, and so take from others what they need; to accept nothing more on that socket meanwhile
//! would shut out whoever else uses it. A user who has so many is broken or hostile, and no busy site. Stock
//! Dovecot closes what is beyond its `client_limit` as well.
//!
//! Each bound of one connection, times ten thousand connections, would be more memory than there is. So what a
//! connection holds beyond a little is counted too, and the one that asks for more than there is left is closed.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// Most connections to all listeners together. The unit allows the process 16,384 descriptors.
const MAX_CONNECTIONS: usize = 12_000;

/// Most connections of one user. The rest is for everybody else, so that Dovecot's users are served while
/// Postfix's user floods, and the other way round. Where the limit on descriptors allows no more than this
/// altogether, one user may have them all: there, too many of them is no sign of a flood, and waiting in the
/// backlog is better than being closed. Each listener has a place still ([`NextPlace::wait`]).
const MAX_OF_USER: usize = 10_500;

/// As many there are even where too few descriptors seem to be left: they may be, or accept(2) fails now and then.
const MIN_CONNECTIONS: usize = 16;

/// What a connection may hold without being counted, in bytes: the buffers of an ordinary one, and a few
/// requests.
const UNCOUNTED: usize = 8 * 1024;

/// Most bytes beyond that, of all connections together.
const MAX_HELD: usize = 64 * 1024 * 1024;

/// Most of them for one user: an eighth is for the others.
const MAX_HELD_OF_USER: usize = MAX_HELD / 8 * 7;

/// Bytes that are counted at a time, so that an ordinary request counts nothing anew.
const STEP: usize = 4 * 1024;

/// Descriptors that are neither connections nor of a listener nor the database's: standard streams, the
/// runtime's (3), signals (3), systemd's, one to look into /proc or into a directory, and some to spare.
const OTHERS: usize = 16;

/// A listener's descriptors: its socket, its lock, and a connection that is being refused.
const OF_LISTENER: usize = 3;

/// A database connection's descriptors: the database, `-wal` and `-shm`.
const OF_READER: usize = 3;

/// How much there is of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) connections: usize,
    of_user: usize,
    held: usize,
    held_of_user: usize,
}

impl Bounds {
    /// As many connections as descriptors are left for: `descriptors` is what the system allows the process
    /// (`None`: as many as it likes), with so many `listeners` and connections to the database. The
    /// database keeps its share, whatever connects.
    pub(super) fn within(descriptors: Option<u64>, listeners: usize, readers: usize) -> Self {
        let others = OTHERS + OF_LISTENER * listeners + OF_READER * readers;
        let allowed = descriptors.map_or(usize::MAX, |allowed| {
            usize::try_from(allowed).unwrap_or(usize::MAX)
        });
        let left = allowed.saturating_sub(others);
        Self {
            connections: left.clamp(MIN_CONNECTIONS, MAX_CONNECTIONS),
            of_user: MAX_OF_USER,
            held: MAX_HELD,
            held_of_user: MAX_HELD_OF_USER,
        }
    }

    /// Whether there are fewer than the program is made for.
    pub(super) fn are_lowered(self) -> bool {
        self.connections < MAX_CONNECTIONS
    }
}

/// All the room of a daemon.
#[derive(Debug)]
pub(super) struct Room {
    places: Arc<Semaphore>,
    ledger: Mutex<Ledger>,
}

/// A place that no connection has yet.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// A listener's turn among those who wait for a place, and then the place.
pub(super) struct NextPlace {
    places: Arc<Semaphore>,
    /// While it waits. Kept, since whoever begins anew goes to the end of the queue.
    turn: Option<Turn>,
    place: Option<Place>,
}

type Turn = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// A connection's place, which is free again when this is dropped, and what it holds.
#[derive(Debug)]
pub(super) struct Stay {
    room: Arc<Room>,
    user: u32,
    /// What was counted.
    held: usize,
    _place: Place,
}

impl Room {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            places: Arc::new(Semaphore::new(bounds.connections)),
            ledger: Mutex::new(Ledger::new(bounds)),
        }
    }

    /// The place of whoever accepts next. Nothing is taken before it waits.
    pub(super) fn next_place(&self) -> NextPlace {
        NextPlace {
            places: Arc::clone(&self.places),
            turn: None,
            place: None,
        }
    }

    /// Gives a place to a connection of this user; `None` if the user has as many as one may have.
    pub(super) fn admit(self: &Arc<Self>, place: Place, user: u32) -> Option<Stay> {
        self.ledger().enter(user).then(|| Stay {
            room: Arc::clone(self),
            user,
            held: 0,
            _place: place,
        })
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NextPlace {
    /// Waits for a place, in the order in which they began to. A listener has one before it accepts, and so
    /// keeps one while nobody comes: who floods one socket leaves a place to each other. May be dropped at
    /// any time: the next call goes on with the same turn, and later with the same place.
    pub(super) async fn wait(&mut self) {
        if self.place.is_some() {
            return;
        }
        let places = &self.places;
        let turn = self
            .turn
            .get_or_insert_with(|| Box::pin(Arc::clone(places).acquire_owned()));
        // An error never comes: nobody closes the room.
        let permit = turn.as_mut().await.ok();
        self.place = permit.map(|_permit| Place { _permit });
        self.turn = None;
    }

    /// The place that was waited for, which is this one's no more.
    pub(super) fn take(&mut self) -> Option<Place> {
        self.place.take()
    }
}

impl Stay {
    /// Counts what the connection holds now, in bytes; `false` if there is no room for it, and nothing was
    /// counted.
    pub(super) fn holds(&mut self, bytes: usize) -> bool {
        let steps = bytes.saturating_sub(UNCOUNTED).div_ceil(STEP);
        let wanted = steps.saturating_mul(STEP);
        if wanted == self.held {
            return true;
        }
        let fits = self.room.ledger().hold(self.user, self.held, wanted);
        if fits {
            self.held = wanted;
        }
        fits
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.room.ledger().leave(self.user, self.held);
    }
}

/// Who has what. Has an entry for each user with a connection, so no more than there are connections.
#[derive(Debug)]
struct Ledger {
    bounds: Bounds,
    held: usize,
    users: HashMap<u32, Part>,
}

#[derive(Debug, Default)]
struct Part {
    connections: usize,
    held: usize,
}

impl Ledger {
    fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            held: 0,
            users: HashMap::new(),
        }
    }

    /// One more connection; `false` if that is one too many. That there are not too many of all users is
    /// the semaphore's business.
    fn enter(&mut self, user: u32) -> bool {
        let part = self.users.entry(user).or_default();
        let enters = part.connections < self.bounds.of_user;
        if enters {
            part.connections += 1;
        }
        enters
    }

    /// One of a user's connections holds `now` and no longer `before`. Less is always possible.
    fn hold(&mut self, user: u32, before: usize, now: usize) -> bool {
        let Some(part) = self.users.get_mut(&user) else {
            return false;
        };
        let of_user = part.held.saturating_sub(before) + now;
        let of_all = self.held.saturating_sub(before) + now;
        let fits = of_user <= self.bounds.held_of_user && of_all <= self.bounds.held;
        if fits || now < before {
            part.held = of_user;
            self.held = of_all;
            return true;
        }
        false
    }

    fn leave(&mut self, user: u32, held: usize) {
        self.held = self.held.saturating_sub(held);
        let Some(part) = self.users.get_mut(&user) else {
            return;
        };
        part.held = part.held.saturating_sub(held);
        part.connections = part.connections.saturating_sub(1);
        if part.connections == 0 {
            self.users.remove(&user);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn twelve_thousand_connections_and_ten_thousand_five_hundred_of_one_user() {
        // As the unit has it, with more cores than most hosts; and without a limit.
        for descriptors in [Some(16_384), None] {
            let bounds = Bounds::within(descriptors, 8, 210);
            assert_eq!(bounds.connections, 12_000);
            assert_eq!(bounds.of_user, 10_500);
            assert!(!bounds.are_lowered());
        }
    }

    #[test]
    fn with_few_descriptors_the_database_keeps_its_share() {
        let bounds = Bounds::within(Some(1_024), 5, 10);
        assert_eq!(bounds.connections, 1_024 - 16 - 5 * 3 - 10 * 3);
        assert!(bounds.are_lowered());
        assert_eq!(Bounds::within(Some(3), 5, 10).connections, MIN_CONNECTIONS);
    }

    /// Tasks wait only where no place is left.
    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        let mut future = std::pin::pin!(future);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        }
    }

    fn room(connections: usize, held: usize) -> Arc<Room> {
        let share = |all: usize| all - all / 8;
        Arc::new(Room::new(Bounds {
            connections,
            of_user: share(connections),
            held,
            held_of_user: share(held),
        }))
    }

    fn enter(room: &Arc<Room>, user: u32) -> Option<Stay> {
        let mut next = room.next_place();
        now(next.wait())?;
        room.admit(next.take()?, user)
    }

    #[test]
    fn one_user_leaves_an_eighth_of_the_places_to_the_others() {
        let room = room(16, 0);
        let mut first: Vec<Stay> = std::iter::from_fn(|| enter(&room, 1)).collect();
        assert_eq!(first.len(), 14);
        let others: Vec<Stay> = std::iter::from_fn(|| enter(&room, 2)).collect();
        assert_eq!(others.len(), 2);
        assert!(enter(&room, 3).is_none(), "whoever comes now waits");
        first.pop();
        assert!(enter(&room, 1).is_some(), "a place is free at once");
    }

    #[test]
    fn who_looks_up_from_waiting_keeps_its_turn_and_its_place() {
        let room = room(1, 0);
        let stay = enter(&room, 1);
        let (mut one, mut other) = (room.next_place(), room.next_place());
        assert!(now(one.wait()).is_none());
        let mut patient = std::pin::pin!(other.wait());
        assert!(now(patient.as_mut()).is_none());
        // As a listener does four times a second, which looks whether its socket is where it was.
        assert!(now(one.wait()).is_none());
        drop(stay);
        assert!(now(patient.as_mut()).is_none(), "it came later");
        assert!(now(one.wait()).is_some());
        assert!(now(one.wait()).is_some(), "and it keeps the place");
        assert!(now(patient.as_mut()).is_none());
        drop(one.take());
        assert!(now(patient).is_some());
    }

    #[test]
    fn one_user_leaves_an_eighth_of_the_memory_to_the_others() {
        let room = room(8, 8 * STEP);
        let (mut one, mut again, mut other) = (
            enter(&room, 1).unwrap(),
            enter(&room, 1).unwrap(),
            enter(&room, 2).unwrap(),
        );
        assert!(one.holds(UNCOUNTED) && again.holds(UNCOUNTED));
        assert!(one.holds(UNCOUNTED + 6 * STEP));
        assert!(again.holds(UNCOUNTED + 1));
        assert!(!again.holds(UNCOUNTED + STEP + 1));
        assert!(other.holds(UNCOUNTED + STEP));
        assert!(!other.holds(UNCOUNTED + STEP + 1));
        assert!(one.holds(UNCOUNTED + STEP), "less is always possible");
        assert!(again.holds(UNCOUNTED + 2 * STEP));
        drop((one, again, other));
        let ledger = room.ledger();
        assert!(ledger.users.is_empty() && ledger.held == 0);
    }

    #[derive(Debug, Clone)]
    enum Event {
        Enter(u32),
        Leave(usize),
        Hold(usize, usize),
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (0_u32..4).prop_map(Event::Enter),
            any::<usize>().prop_map(Event::Leave),
            (any::<usize>(), 0_usize..20 * STEP).prop_map(|(which, held)| Event::Hold(which, held)),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_the_books_agree_and_no_bound_is_passed(
            events in prop::collection::vec(any_event(), 0..200),
        ) {
            let room = room(16, 16 * STEP);
            let mut stays: Vec<Stay> = Vec::new();
            for event in events {
                match event {
                    Event::Enter(user) => stays.extend(enter(&room, user)),
                    Event::Leave(which) if !stays.is_empty() => {
                        stays.swap_remove(which % stays.len());
                    }
                    Event::Hold(which, bytes) if !stays.is_empty() => {
                        let which = which % stays.len();
                        stays[which].holds(bytes);
                    }
                    Event::Leave(_) | Event::Hold(..) => {}
                }
                let ledger = room.ledger();
                prop_assert_eq!(ledger.held, stays.iter().map(|stay| stay.held).sum::<usize>());
                prop_assert!(ledger.held <= 16 * STEP);
                for (user, part) in &ledger.users {
                    let of_user = stays.iter().filter(|stay| stay.user == *user);
                    prop_assert_eq!(part.connections, of_user.clone().count());
                    prop_assert_eq!(part.held, of_user.map(|stay| stay.held).sum::<usize>());
                    prop_assert!(part.connections <= 14 && part.held <= 14 * STEP);
                }
                prop_assert!(stays.len() <= 16);
                prop_assert_eq!(room.places.available_permits(), 16 - stays.len());
            }
        }
    }
}
