//! Whoever waits for the same hash waits together, and it is computed once.
//!
//! Mail programs open several connections at once, all with the same password. The first to arrive
//! takes a turn in the fair [`queue`](super::queue), the others wait with it, also while the hash is
//! being computed: [`Flights::pop`] gives out one of them to be hashed, [`Flights::land`] the rest, for
//! whom the same answer of the hash is as good as one of their own. Nothing but that answer is shared:
//! each has an attempt of its own to be decided.
//!
//! Each keeps its own time of arrival and comes out as too old by that alone. All that waits counts
//! against the bounds, whether it has a turn or not, so that nobody gets more room by asking the same
//! thing many times. Pure: the time is an argument.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

use super::queue::{Bounds, Next, Queue, Waiting, Waitlist};

/// Items that wait for hashes, in lanes `L` that take turns; those of one key `K` wait for the same.
#[derive(Debug)]
pub struct Flights<L, K, T> {
    /// Each key of `groups` once that does not fly.
    turns: Queue<L, K>,
    groups: HashMap<K, Group<L, T>>,
    /// How many items of each lane wait; no lane with none.
    lanes: HashMap<L, usize>,
    waiting: usize,
    bounds: Bounds,
}

/// All that wait for one hash.
#[derive(Debug)]
struct Group<L, T> {
    /// Of the first who came. A key belongs to one lane; if it did not, fairness alone would suffer.
    lane: L,
    /// In the order in which they came. None only while it flies.
    waiting: Vec<Waiting<T>>,
    /// Whether it has had its turn, and the hash is being computed.
    flies: bool,
}

/// A group whose turn has come.
#[derive(Debug, PartialEq, Eq)]
pub struct Flight<K, T> {
    /// To be given to [`Flights::land`] whatever becomes of the hash, if there is a leader.
    pub key: K,
    /// The one to hash for. `None` where all had waited too long, and nothing flies.
    pub leader: Option<T>,
    /// Those that were found to have waited too long.
    pub too_old: Vec<T>,
}

impl<L: Eq + Hash + Clone, K: Eq + Hash + Clone, T> Flights<L, K, T> {
    pub fn new(bounds: Bounds) -> Self {
        Self {
            turns: Queue::new(bounds),
            groups: HashMap::new(),
            lanes: HashMap::new(),
            waiting: 0,
            bounds,
        }
    }

    /// All that have waited for this hash, now that it has been computed, or has failed.
    pub fn land(&mut self, key: &K, now: Instant) -> Vec<Next<T>> {
        let Some(group) = self.groups.remove(key) else {
            return Vec::new();
        };
        self.leave(&group.lane, group.waiting.len());
        let next = |waiting: Waiting<T>| waiting.into_next(now);
        group.waiting.into_iter().map(next).collect()
    }

    /// How many items wait, for a turn or for a hash that is being computed.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    fn leave(&mut self, lane: &L, items: usize) {
        self.waiting = self.waiting.saturating_sub(items);
        if let Some(waiting) = self.lanes.get_mut(lane) {
            *waiting = waiting.saturating_sub(items);
            if *waiting == 0 {
                self.lanes.remove(lane);
            }
        }
    }
}

impl<L: Eq + Hash + Clone, K: Eq + Hash + Clone, T> Waitlist for Flights<L, K, T> {
    type Key = (L, K);
    type Item = T;
    type Next = Flight<K, T>;

    fn push(&mut self, (lane, key): (L, K), item: T, arrived: Instant) -> Result<(), T> {
        let group = self.groups.get_mut(&key);
        let lane = group.as_ref().map_or(&lane, |group| &group.lane).clone();
        let in_lane = self.lanes.get(&lane).copied().unwrap_or_default();
        if self.waiting >= self.bounds.all || in_lane >= self.bounds.lane {
            return Err(item);
        }
        let waits = Waiting { item, arrived };
        match group {
            Some(group) => group.waiting.push(waits),
            None => {
                // There is room: no lane has more turns than items.
                if self.turns.push(lane.clone(), key.clone(), arrived).is_err() {
                    return Err(waits.item);
                }
                let group = Group {
                    lane: lane.clone(),
                    waiting: vec![waits],
                    flies: false,
                };
                self.groups.insert(key, group);
            }
        }
        self.waiting += 1;
        self.lanes.insert(lane, in_lane + 1);
        Ok(())
    }

    fn pop(&mut self, now: Instant) -> Option<Flight<K, T>> {
        // How old the turn is does not matter, but how old they are who wait for it.
        let (Next::Due(key) | Next::TooOld(key)) = self.turns.pop(now)?;
        let mut flight = Flight {
            key,
            leader: None,
            too_old: Vec::new(),
        };
        let Some(group) = self.groups.get_mut(&flight.key) else {
            return Some(flight);
        };
        let lane = group.lane.clone();
        flight.too_old = take_too_old(&mut group.waiting, now);
        group.flies = !group.waiting.is_empty();
        if group.flies {
            flight.leader = Some(group.waiting.remove(0).item);
        } else {
            self.groups.remove(&flight.key);
        }
        self.leave(
            &lane,
            flight.too_old.len() + usize::from(flight.leader.is_some()),
        );
        Some(flight)
    }

    fn take_too_old(&mut self, now: Instant) -> Vec<T> {
        let mut old = Vec::new();
        let mut left = Vec::new();
        for group in self.groups.values_mut() {
            let too_old = take_too_old(&mut group.waiting, now);
            if !too_old.is_empty() {
                left.push((group.lane.clone(), too_old.len()));
                old.extend(too_old);
            }
        }
        for (lane, items) in left {
            self.leave(&lane, items);
        }
        self.groups
            .retain(|_, group| group.flies || !group.waiting.is_empty());
        self.turns.retain(|key| self.groups.contains_key(key));
        old
    }

    /// Whether nobody waits for a turn. Others may wait for a hash that is being computed.
    fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}

fn take_too_old<T>(waiting: &mut Vec<Waiting<T>>, now: Instant) -> Vec<T> {
    let (old, young): (Vec<_>, Vec<_>) = std::mem::take(waiting)
        .into_iter()
        .partition(|one| one.is_too_old(now));
    *waiting = young;
    old.into_iter().map(|one| one.item).collect()
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "there is no other way to an Instant; only differences to it matter"
)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::queue::MAX_AGE;
    use super::*;

    const ROOMY: Bounds = Bounds {
        all: 10_000,
        lane: 10_000,
    };
    const MOMENT: Duration = Duration::from_millis(1);

    type Plain = Flights<&'static str, &'static str, i32>;

    /// The key whose turn it is and its leader, where nobody has waited too long.
    fn leader(flights: &mut Plain, now: Instant) -> Option<(&'static str, i32)> {
        flights.pop(now).map(|flight| {
            assert!(flight.too_old.is_empty());
            (flight.key, flight.leader.expect("somebody in time"))
        })
    }

    #[test]
    fn equal_ones_take_one_turn_and_land_together_with_those_who_came_meanwhile() {
        let now = Instant::now();
        let mut flights = Plain::new(ROOMY);
        for item in 1..=3 {
            flights.push(("ana", "phone"), item, now).unwrap();
        }
        assert_eq!(leader(&mut flights, now), Some(("phone", 1)));
        flights.push(("ana", "phone"), 4, now).unwrap();
        assert!(flights.is_empty(), "nobody is to be hashed twice");
        assert_eq!(flights.pop(now), None);
        let landed = flights.land(&"phone", now);
        assert_eq!(landed, [2, 3, 4].map(Next::Due));
        assert_eq!(flights.land(&"phone", now), [], "they landed before");

        // What comes after that is asked anew.
        flights.push(("ana", "phone"), 5, now).unwrap();
        assert_eq!(leader(&mut flights, now), Some(("phone", 5)));
        assert_eq!(flights.land(&"phone", now), []);
        assert_eq!(flights.waiting(), 0);
    }

    #[test]
    fn another_password_of_the_same_mailbox_does_not_wait_for_the_first() {
        let now = Instant::now();
        let mut flights = Plain::new(ROOMY);
        flights.push(("ana", "phone"), 1, now).unwrap();
        flights.push(("ana", "laptop"), 2, now).unwrap();
        assert_eq!(leader(&mut flights, now), Some(("phone", 1)));
        assert_eq!(leader(&mut flights, now), Some(("laptop", 2)));
    }

    #[test]
    fn a_mailbox_with_many_passwords_delays_another_by_one_hash_only() {
        let now = Instant::now();
        let mut flights = Flights::new(ROOMY);
        for item in 0..1_000 {
            flights.push(("busy", item), item, now).unwrap();
        }
        flights.push(("other", -1), -1, now).unwrap();
        let order = [(); 3].map(|()| flights.pop(now).unwrap().key);
        assert_eq!(order, [0, -1, 1]);
    }

    #[test]
    fn who_is_too_old_leads_nobody_and_the_next_in_time_does() {
        let start = Instant::now();
        let later = start + MOMENT;
        let mut flights = Plain::new(ROOMY);
        for (item, arrived) in [(1, start), (2, later), (3, start), (4, later)] {
            flights.push(("ana", "phone"), item, arrived).unwrap();
        }
        let flight = flights.pop(later + MAX_AGE).unwrap();
        assert_eq!((flight.leader, flight.too_old), (Some(2), vec![1, 3]));
        // The verdict is too late for whoever waited for it too long.
        let landed = flights.land(&"phone", later + MAX_AGE + MOMENT);
        assert_eq!(landed, [Next::TooOld(4)]);
    }

    #[test]
    fn where_all_are_too_old_nothing_flies() {
        let start = Instant::now();
        let late = start + MAX_AGE + MOMENT;
        let mut flights = Plain::new(ROOMY);
        flights.push(("ana", "phone"), 1, start).unwrap();
        flights.push(("ana", "phone"), 2, start).unwrap();
        let flight = flights.pop(late).unwrap();
        assert_eq!((flight.leader, flight.too_old), (None, vec![1, 2]));
        flights.push(("ana", "phone"), 3, late).unwrap();
        assert_eq!(leader(&mut flights, late), Some(("phone", 3)));
    }

    #[test]
    fn who_waits_too_long_is_taken_out_even_while_the_hash_is_being_computed() {
        let start = Instant::now();
        let late = start + MAX_AGE + MOMENT;
        let mut flights = Plain::new(ROOMY);
        flights.push(("ana", "phone"), 1, start).unwrap();
        flights.push(("ana", "phone"), 2, start).unwrap();
        flights.push(("ana", "laptop"), 3, start).unwrap();
        flights.push(("bea", "tablet"), 4, late).unwrap();
        assert_eq!(leader(&mut flights, start), Some(("phone", 1)));
        let mut old = flights.take_too_old(late);
        old.sort_unstable();
        assert_eq!(old, [2, 3]);
        assert_eq!(flights.waiting(), 1);

        // The phone flies still, so nobody hashes for it; the laptop's turn is gone and comes anew.
        flights.push(("ana", "phone"), 5, late).unwrap();
        flights.push(("ana", "laptop"), 6, late).unwrap();
        assert_eq!(leader(&mut flights, late), Some(("tablet", 4)));
        assert_eq!(leader(&mut flights, late), Some(("laptop", 6)));
        assert_eq!(flights.pop(late), None);
        assert_eq!(flights.land(&"phone", late), [Next::Due(5)]);
    }

    #[test]
    fn whoever_waits_for_anothers_hash_counts_against_the_bounds() {
        let now = Instant::now();
        let mut flights = Plain::new(Bounds { all: 4, lane: 2 });
        flights.push(("ana", "phone"), 1, now).unwrap();
        assert_eq!(leader(&mut flights, now), Some(("phone", 1)));
        flights.push(("ana", "phone"), 2, now).unwrap();
        flights.push(("ana", "phone"), 3, now).unwrap();
        for key in ["phone", "laptop"] {
            let full = flights.push(("ana", key), 4, now);
            assert_eq!(full, Err(4), "the lane is full");
        }
        flights.push(("bea", "tablet"), 5, now).unwrap();
        flights.push(("cid", "watch"), 6, now).unwrap();
        let full = flights.push(("dan", "radio"), 7, now);
        assert_eq!(full, Err(7), "there is no room at all");
        assert_eq!(flights.land(&"phone", now).len(), 2);
        flights.push(("ana", "laptop"), 4, now).unwrap();
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(u8, u8, u64),
        Pop,
        Land(prop::sample::Index),
        Sweep,
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            5 => (0_u8..3, 0_u8..3, 0_u64..3)
                .prop_map(|(lane, key, ago)| Step::Push(lane, key, ago)),
            2 => Just(Step::Pop),
            2 => any::<prop::sample::Index>().prop_map(Step::Land),
            1 => Just(Step::Sweep),
            1 => (1_u64..4).prop_map(Step::Wait),
        ]
    }

    proptest! {
        #[test]
        fn everybody_comes_out_once_and_in_time_and_no_key_flies_twice(
            steps in prop::collection::vec(step(), 0..200),
            first: prop::sample::Index,
        ) {
            const BOUNDS: Bounds = Bounds { all: 20, lane: 8 };
            let mut now = Instant::now() + MAX_AGE;
            let mut flights = Flights::new(BOUNDS);
            // By its number: whose lane, what key, when it arrived.
            let mut waiting: HashMap<usize, (u8, (u8, u8), Instant)> = HashMap::new();
            let mut flying: Vec<(u8, u8)> = Vec::new();
            // At the end, whatever flies lands, and everybody else has a turn and lands.
            let end = std::iter::repeat_n([Step::Land(first), Step::Pop, Step::Land(first)], BOUNDS.all);
            for (number, step) in steps.into_iter().chain(end.flatten()).enumerate() {
                match step {
                    Step::Push(lane, key, ago) => {
                        let key = (lane, key);
                        let arrived = now - Duration::from_secs(ago);
                        let in_lane = waiting.values().filter(|one| one.0 == lane).count();
                        let room = waiting.len() < BOUNDS.all && in_lane < BOUNDS.lane;
                        let pushed = flights.push((lane, key), number, arrived);
                        prop_assert_eq!(pushed.is_ok(), room);
                        if room {
                            waiting.insert(number, (lane, key, arrived));
                        }
                    }
                    Step::Pop => {
                        let ready: BTreeSet<_> = (waiting.values().map(|one| one.1))
                            .filter(|key| !flying.contains(key))
                            .collect();
                        let Some(flight) = flights.pop(now) else {
                            prop_assert!(ready.is_empty());
                            continue;
                        };
                        prop_assert!(ready.contains(&flight.key));
                        for old in flight.too_old {
                            let (_, key, arrived) = waiting.remove(&old).unwrap();
                            prop_assert!(key == flight.key && now - arrived > MAX_AGE);
                        }
                        if let Some(leader) = flight.leader {
                            let (_, key, arrived) = waiting.remove(&leader).unwrap();
                            prop_assert!(key == flight.key && now - arrived <= MAX_AGE);
                            flying.push(key);
                        }
                    }
                    Step::Land(which) => {
                        if flying.is_empty() {
                            continue;
                        }
                        let key = flying.swap_remove(which.index(flying.len()));
                        for next in flights.land(&key, now) {
                            let is_old = matches!(next, Next::TooOld(_));
                            let (Next::Due(item) | Next::TooOld(item)) = next;
                            let (_, its_key, arrived) = waiting.remove(&item).unwrap();
                            prop_assert_eq!(its_key, key);
                            prop_assert_eq!(is_old, now - arrived > MAX_AGE);
                        }
                        prop_assert!(waiting.values().all(|one| one.1 != key));
                    }
                    Step::Sweep => {
                        for old in flights.take_too_old(now) {
                            let (_, _, arrived) = waiting.remove(&old).unwrap();
                            prop_assert!(now - arrived > MAX_AGE);
                        }
                        prop_assert!(waiting.values().all(|one| now - one.2 <= MAX_AGE));
                    }
                    Step::Wait(seconds) => now += Duration::from_secs(seconds),
                }
                prop_assert_eq!(flights.waiting(), waiting.len());
            }
            prop_assert!(waiting.is_empty() && flights.lanes.is_empty());
            prop_assert!(flights.groups.is_empty() && flights.turns.is_empty());
        }
    }
}
