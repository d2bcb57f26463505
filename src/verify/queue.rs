//! Who is next: fair between keys, bounded in length and in time.
//!
//! Each key (a mailbox, or a connection) has a lane of its own, first in, first out; the lanes take
//! turns. So a mailbox with a thousand waiting delays another by one hash and not by a thousand. Nothing
//! waits without bound: at [`Bounds::all`] and [`Bounds::lane`] an item is handed back at once, and what
//! is older than [`MAX_AGE`] comes out marked as such. Pure: the time is an argument.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// How old a request may be when its turn comes: 4 s since it arrived. Chasquid and Radicale give up
/// after 5 s, Postfix after 10 s; an answer that nobody waits for is not worth a hash.
pub const MAX_AGE: Duration = Duration::from_secs(4);

/// How many items may wait; at either bound [`Queue::push`] hands the item back.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub all: usize,
    /// Of one key. Smaller than `all`, so that no single key can fill the queue for the others.
    pub lane: usize,
}

/// Items waiting under their keys.
#[derive(Debug)]
pub struct Queue<K, T> {
    /// No lane in it is empty.
    lanes: HashMap<K, VecDeque<Waiting<T>>>,
    /// Each key of `lanes` once; the first is next.
    turns: VecDeque<K>,
    waiting: usize,
    bounds: Bounds,
}

/// An item whose turn has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<T> {
    Due(T),
    /// It waited longer than [`MAX_AGE`].
    TooOld(T),
}

/// An item and when its request came in.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    pub(super) item: T,
    pub(super) arrived: Instant,
}

/// What threads can wait at. Bounded, and fair between lanes.
pub trait Waitlist {
    type Key;
    type Item;
    type Next;

    /// Puts an item at the end of its lane. `arrived` is when its request came in, which may be a while
    /// ago.
    ///
    /// # Errors
    ///
    /// The item itself, where there is no room for it.
    fn push(
        &mut self,
        key: Self::Key,
        item: Self::Item,
        arrived: Instant,
    ) -> Result<(), Self::Item>;

    /// What is to be done next; after that it is the turn of another lane.
    fn pop(&mut self, now: Instant) -> Option<Self::Next>;

    /// All that have waited longer than [`MAX_AGE`]: for when nobody comes to [`Self::pop`].
    fn take_too_old(&mut self, now: Instant) -> Vec<Self::Item>;

    /// Whether [`Self::pop`] would give nothing.
    fn is_empty(&self) -> bool;
}

impl<K: Eq + Hash + Clone, T> Queue<K, T> {
    pub fn new(bounds: Bounds) -> Self {
        Self {
            lanes: HashMap::new(),
            turns: VecDeque::new(),
            waiting: 0,
            bounds,
        }
    }

    /// Forgets the items that are not wanted any more.
    pub fn retain(&mut self, wanted: impl Fn(&T) -> bool) {
        for lane in self.lanes.values_mut() {
            lane.retain(|waiting| wanted(&waiting.item));
        }
        self.waiting = self.lanes.values().map(VecDeque::len).sum();
        self.drop_empty_lanes();
    }

    /// How many items wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    fn drop_empty_lanes(&mut self) {
        self.lanes.retain(|_, lane| !lane.is_empty());
        self.turns.retain(|key| self.lanes.contains_key(key));
    }
}

impl<K: Eq + Hash + Clone, T> Waitlist for Queue<K, T> {
    type Key = K;
    type Item = T;
    type Next = Next<T>;

    fn push(&mut self, key: K, item: T, arrived: Instant) -> Result<(), T> {
        let in_lane = self.lanes.get(&key).map_or(0, VecDeque::len);
        if self.waiting >= self.bounds.all || in_lane >= self.bounds.lane {
            return Err(item);
        }
        if in_lane == 0 {
            self.turns.push_back(key.clone());
        }
        let lane = self.lanes.entry(key).or_default();
        lane.push_back(Waiting { item, arrived });
        self.waiting += 1;
        Ok(())
    }

    /// The oldest item of the key whose turn it is; then it is the next key's.
    fn pop(&mut self, now: Instant) -> Option<Next<T>> {
        let key = self.turns.pop_front()?;
        let lane = self.lanes.get_mut(&key)?;
        let waited = lane.pop_front()?;
        if lane.is_empty() {
            self.lanes.remove(&key);
        } else {
            self.turns.push_back(key);
        }
        self.waiting -= 1;
        Some(waited.into_next(now))
    }

    fn take_too_old(&mut self, now: Instant) -> Vec<T> {
        let mut old = Vec::new();
        for lane in self.lanes.values_mut() {
            // The first of a lane is its oldest.
            while lane.front().is_some_and(|first| first.is_too_old(now)) {
                old.extend(lane.pop_front().map(|first| first.item));
            }
        }
        self.waiting -= old.len();
        self.drop_empty_lanes();
        old
    }

    fn is_empty(&self) -> bool {
        self.waiting == 0
    }
}

impl<T> Waiting<T> {
    pub(super) fn into_next(self, now: Instant) -> Next<T> {
        if self.is_too_old(now) {
            Next::TooOld(self.item)
        } else {
            Next::Due(self.item)
        }
    }

    pub(super) fn is_too_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.arrived) > MAX_AGE
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "there is no other way to an Instant; only differences to it matter"
)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROOMY: Bounds = Bounds {
        all: 10_000,
        lane: 10_000,
    };

    fn due<T>(next: Option<Next<T>>) -> Option<T> {
        next.map(|next| match next {
            Next::Due(item) => item,
            Next::TooOld(_) => panic!("too old"),
        })
    }

    #[test]
    fn a_busy_mailbox_delays_another_by_one_round_only() {
        let start = Instant::now();
        let mut queue = Queue::new(ROOMY);
        for number in 0..1_000 {
            queue.push("busy", number, start).unwrap();
        }
        queue.push("other", -1, start).unwrap();
        queue.push("third", -2, start).unwrap();
        let order: Vec<i32> = (0..5).map(|_| due(queue.pop(start)).unwrap()).collect();
        assert_eq!(order, [0, -1, -2, 1, 2]);
    }

    #[test]
    fn at_either_bound_the_item_comes_back() {
        let start = Instant::now();
        let mut queue = Queue::new(Bounds { all: 3, lane: 2 });
        assert_eq!(queue.push("a", 1, start), Ok(()));
        assert_eq!(queue.push("a", 2, start), Ok(()));
        assert_eq!(queue.push("a", 3, start), Err(3), "the lane is full");
        assert_eq!(queue.push("b", 4, start), Ok(()));
        assert_eq!(queue.push("c", 5, start), Err(5), "the queue is full");
        assert_eq!(due(queue.pop(start)), Some(1));
        assert_eq!(queue.push("c", 6, start), Ok(()), "there is room again");
    }

    #[test]
    fn what_is_older_than_four_seconds_comes_out_as_too_old() {
        let start = Instant::now();
        let mut queue = Queue::new(ROOMY);
        queue.push("a", 1, start).unwrap();
        queue.push("a", 2, start).unwrap();
        assert_eq!(queue.pop(start + MAX_AGE), Some(Next::Due(1)));
        let late = start + MAX_AGE + Duration::from_millis(1);
        assert_eq!(queue.pop(late), Some(Next::TooOld(2)));
        assert_eq!(queue.pop(late), None);
    }

    #[test]
    fn what_nobody_comes_for_is_taken_out_when_it_is_too_old() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let mut queue = Queue::new(ROOMY);
        for (key, item, arrived) in [("a", 1, start), ("b", 2, start), ("a", 3, later)] {
            queue.push(key, item, arrived).unwrap();
        }
        assert!(queue.take_too_old(start + MAX_AGE).is_empty());
        let mut old = queue.take_too_old(later + MAX_AGE);
        old.sort_unstable();
        assert_eq!(old, [1, 2]);
        assert_eq!(queue.waiting(), 1);
        queue.push("b", 4, later).unwrap();
        assert_eq!(due(queue.pop(later)), Some(3));
        assert_eq!(due(queue.pop(later)), Some(4));
        assert!(queue.is_empty());
    }

    proptest! {
        #[test]
        fn everything_comes_out_once_in_the_order_of_its_lane_and_in_fair_turns(
            steps in prop::collection::vec((0_u8..5, any::<bool>()), 0..300),
        ) {
            let start = Instant::now();
            let bounds = Bounds { all: 40, lane: 15 };
            let mut queue = Queue::new(bounds);
            let mut lanes: HashMap<u8, VecDeque<usize>> = HashMap::new();
            // For each key that waits: how many others came before it since its last turn.
            let mut passed: HashMap<u8, usize> = HashMap::new();
            for (number, (key, pushes)) in steps.into_iter().enumerate() {
                let waiting: usize = lanes.values().map(VecDeque::len).sum();
                prop_assert_eq!(queue.waiting(), waiting);
                if pushes {
                    let lane = lanes.entry(key).or_default();
                    let room = waiting < bounds.all && lane.len() < bounds.lane;
                    let pushed = queue.push(key, (key, number), start);
                    prop_assert_eq!(pushed.is_ok(), room);
                    if room {
                        lane.push_back(number);
                        passed.entry(key).or_insert(0);
                    }
                } else if let Some((key, number)) = due(queue.pop(start)) {
                    prop_assert_eq!(lanes.get_mut(&key).unwrap().pop_front(), Some(number));
                    passed.remove(&key);
                    passed.values_mut().for_each(|others| *others += 1);
                    prop_assert!(passed.values().all(|others| *others < 5));
                    if !lanes[&key].is_empty() {
                        passed.insert(key, 0);
                    }
                } else {
                    prop_assert_eq!(waiting, 0);
                }
            }
        }
    }
}
