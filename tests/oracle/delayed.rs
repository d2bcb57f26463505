//! With a delay, as Postfix's socket has it: every refusal leaves at its fixed time.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use dovelatch::model::Mechanism;
use libtest_mimic::Trial;

use crate::cases::groups;
use crate::dice::Dice;
use crate::peer::nanos;
use crate::site::Site;
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("a_delayed_refusal_leaves_at_its_fixed_time", fixed)]
}

const DELAY: Duration = Duration::from_secs(2);

/// Times of each class: few, for they take two seconds, though all of them wait together.
const ROUNDS: usize = 21;

/// As far as the least time of a class may be from that of another.
const APART: Duration = Duration::from_millis(2);

/// Between two requests, so that none queues behind another.
const GAP: Duration = Duration::from_millis(3);

fn fixed() {
    let mut site = Site::new();
    let groups = groups(&mut site);
    let daemon = site.serve("2s");
    let plain = groups
        .iter()
        .filter(|group| group.mechanism == Mechanism::Plain);
    let cases: Vec<_> = plain
        .flat_map(|group| {
            let cases = group.cases.iter().chain(&group.hashes);
            cases.map(|case| (format!("{}: {}", group.what, case.what), case))
        })
        .collect();
    let mut order: Vec<usize> = (0..cases.len()).flat_map(|at| [at; ROUNDS]).collect();
    Dice::thrown().shuffle(&mut order);

    let mut peer = daemon.peer();
    let mut answers = peer.answers();
    let (mut sent, mut seen) = (Vec::new(), HashMap::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in &order {
                let (id, said) = answers.next();
                seen.insert(id, (Instant::now(), said));
            }
        });
        let started = Instant::now();
        for (&at, count) in order.iter().zip(0_u32..) {
            let shown = cases[at].1.show(&site);
            thread::sleep((GAP * count).saturating_sub(started.elapsed()));
            let asked = Instant::now();
            sent.push((peer.ask(&shown), at, asked));
        }
    });
    let mut times = vec![Vec::new(); cases.len()];
    for (id, at, asked) in sent {
        let (when, said) = &seen[&id];
        let (took, what) = (when.duration_since(asked), &cases[at].0);
        assert!(said.starts_with("FAIL\t"), "{what}: {said}");
        assert!(took >= DELAY, "{what}: {took:?}");
        times[at].push(nanos(took));
    }
    let mut least: Vec<_> = times
        .iter()
        .zip(&cases)
        .map(|(times, (what, _))| (times.iter().min(), what))
        .collect();
    least.sort();
    let apart = least[least.len() - 1].0.unwrap() - least[0].0.unwrap();
    assert!(
        Duration::from_nanos(apart) <= APART,
        "{apart} ns apart: {least:#?}"
    );
}
