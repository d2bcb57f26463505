//! Wakes connections when a refusal of theirs is due, to some microseconds.
//!
//! The runtime's own timers would not do. They count in milliseconds, and epoll_wait(2) beneath them counts
//! these from when it is called: after the work on the request, whose time could then be seen in that of
//! its refusal, a whole number of milliseconds later. A timer of the kernel's (timerfd_create(2)) is set to a
//! point in time instead.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use super::now;

/// Those of all connections: one for the daemon.
#[derive(Debug)]
pub(super) struct Bells {
    /// By time and number of the connection: at most one of each, its next.
    bells: Mutex<BTreeMap<(Instant, u64), Arc<Notify>>>,
    timer: AsyncFd<OwnedFd>,
}

impl Bells {
    /// To be called inside the runtime.
    ///
    /// # Errors
    ///
    /// If the system has no timer to give.
    #[expect(
        deprecated,
        reason = "its successor is unsafe, for types that may change their descriptor; an OwnedFd does not"
    )]
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self {
            bells: Mutex::default(),
            timer: AsyncFd::new(timer)?,
        })
    }

    /// Rings at that time, once.
    pub(super) fn set(&self, due: Instant, connection: u64, bell: &Arc<Notify>) {
        let mut bells = self.lock();
        bells.insert((due, connection), Arc::clone(bell));
        if bells.first_key_value().map(|(key, _)| *key) == Some((due, connection)) {
            self.wind(due);
        }
    }

    /// Does not ring then: the connection has ended.
    pub(super) fn forget(&self, due: Instant, connection: u64) {
        self.lock().remove(&(due, connection));
    }

    /// Rings for as long as the daemon lives.
    pub(super) async fn ring(&self) {
        while let Ok(mut ready) = self.timer.readable().await {
            ready.clear_ready();
            // Only resets it; where it was wound again meanwhile, that is an error and means nothing.
            let _ = rustix::io::read(self.timer.get_ref(), &mut [0; 8]);
            self.ring_due(now());
        }
    }

    fn ring_due(&self, now: Instant) {
        let mut bells = self.lock();
        while let Some(first) = bells.first_entry() {
            let (due, _) = *first.key();
            if due > now {
                return self.wind(due);
            }
            first.remove().notify_one();
        }
    }

    /// With the bells locked: the timer is always that of the first.
    fn wind(&self, due: Instant) {
        // No time at all would stop it.
        let left = due
            .saturating_duration_since(now())
            .max(Duration::from_nanos(1));
        let once = |it_value: Timespec| Itimerspec {
            it_interval: Timespec::default(),
            it_value,
        };
        // Four seconds at the most. Were it refused, the runtime's timer would come instead.
        let _ = Timespec::try_from(left)
            .map(once)
            .map(|left| timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &left));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Instant, u64), Arc<Notify>>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server;

    #[test]
    fn it_rings_in_time_whatever_the_order_and_not_what_was_forgotten() {
        let runtime = server::runtime::start().unwrap();
        let _entered = runtime.enter();
        let all = Arc::new(Bells::new().unwrap());
        let ringing = Arc::clone(&all);
        runtime.spawn(async move { ringing.ring().await });
        let begun = now();
        let due = |millis| begun + Duration::from_millis(millis);
        let bells = [30, 10, 20, 0].map(|millis| (due(millis), Arc::new(Notify::new())));
        let forgotten = Arc::new(Notify::new());
        all.set(due(5), 9, &forgotten);
        for ((due, bell), connection) in bells.iter().zip(1..) {
            all.set(*due, connection, bell);
        }
        all.forget(due(5), 9);
        for (due, bell) in &bells {
            runtime.block_on(bell.notified());
            assert!(now() >= *due);
        }
        assert!(all.lock().is_empty());
        // It would have its permit by now.
        assert_eq!(Arc::strong_count(&forgotten), 1);
    }
}
