//! The other yardstick: the hash alone, with its memory used again, on every core at once.

use std::thread;
use std::time::{Duration, Instant};

use dovelatch::password::generate::Password;
use dovelatch::password::phc::{self, Arena, Cost};

use crate::cpu;

/// CPU time of one hash, checked as a log-in checks it.
pub fn cpu_time(cost: Cost, limit: Duration) -> Duration {
    let password = Password::generate().expect("random bytes");
    let stored = phc::hash(&password, cost, &mut Arena::default()).expect("a hash");
    let before = cpu::own();
    let hashes: u32 = thread::scope(|scope| {
        let threads: Vec<_> = (0..cpu::cores())
            .map(|_| scope.spawn(|| verify(&password, &stored, limit)))
            .collect();
        let counts = threads.into_iter().map(|thread| thread.join());
        counts.map(|count| count.expect("no panic")).sum()
    });
    (cpu::own() - before) / hashes
}

/// How often within that time.
fn verify(password: &Password, stored: &str, limit: Duration) -> u32 {
    let (started, mut arena, mut count) = (Instant::now(), Arena::default(), 0);
    while started.elapsed() < limit {
        let matched = phc::verify(password, stored, &mut arena).expect("a hash");
        assert!(matched.is_some(), "the password is right");
        count += 1;
    }
    count
}
