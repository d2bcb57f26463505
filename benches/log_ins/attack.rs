//! A flood of wrong passwords, and those who log in meanwhile.

use std::thread;
use std::time::{Duration, Instant};

use crate::dialogue::{LogIn, Peer};
use crate::load::{Load, Until};
use crate::ours::Daemon;
use crate::over::Over;
use crate::site::Site;
use crate::table::{Met, Table, count, millis};
use crate::{Scale, cpu};

/// Connections of the attack, each as fast as it is answered.
const ATTACKERS: usize = 200;

/// How often a good user logs in: often enough for a 99th percentile.
const PACE: Duration = Duration::from_millis(10);

pub fn measure(site: &Site, scale: &Scale, table: &mut Table) {
    let daemon = Daemon::start(site, &site.unknown[0]);
    let over = Over::default();
    let (known, new) = site.log_ins.split_at(1);
    let (attack, mut known, mut new, memory) = thread::scope(|scope| {
        let known = scope.spawn(|| log_in_steadily(&daemon, known, &over));
        let new = scope.spawn(|| log_in_steadily(&daemon, new, &over));
        let memory = scope.spawn(|| watch_memory(&daemon, &over));
        let load = Load {
            socket: &daemon.socket,
            connections: ATTACKERS,
            depth: 1,
            until: Until::Time(scale.flood),
        };
        let ends = over.with_this();
        let attack = load.run(&site.wrong);
        drop(ends);
        let done = "a good log-in failed";
        (
            attack,
            known.join().expect(done),
            new.join().expect(done),
            memory.join().expect(done),
        )
    });
    let flood = format!("under a flood from {ATTACKERS} connections: a good log-in");
    for (what, limit, victim) in [
        ("memo hit", Duration::from_millis(5), &mut known),
        ("hash needed", Duration::from_millis(20), &mut new),
    ] {
        victim.waits.sort_unstable();
        let waits = &victim.waits;
        let at = |percent: usize| waits[(waits.len() - 1) * percent / 100];
        table.row(
            &format!("{flood}, {what}"),
            &format!("p99 ≤ {} ms", limit.as_millis()),
            format_args!(
                "{} (p50 {}, worst {}; of {}, {} told \"try later\"; {} wrong passwords/s)",
                millis(at(99)),
                millis(at(50)),
                millis(at(100)),
                waits.len(),
                victim.later,
                count(attack.rate())
            ),
            Met::when(at(99) <= limit && victim.later == 0),
        );
    }
    // Settled after its first tenth; the peak of what follows.
    let (begin, rest) = memory.split_at(memory.len().div_ceil(10));
    let peak = |part: &[u32]| part.iter().copied().max().unwrap_or(0);
    let more = peak(rest).saturating_sub(peak(begin));
    table.row(
        "memory under that flood",
        "flat (≤ 1 MiB more after its first tenth)",
        format_args!(
            "{:.1} MiB, {:.1} MiB more at its peak",
            f64::from(peak(begin)) / 1024.0,
            f64::from(more) / 1024.0
        ),
        Met::when(more <= 1024),
    );
}

/// Who logs in meanwhile.
#[derive(Default)]
struct Victim {
    /// How long each answer took.
    waits: Vec<Duration>,
    later: u32,
}

/// Logs in with each in turn, and over again, at a steady pace; at least once.
fn log_in_steadily(daemon: &Daemon, log_ins: &[LogIn], over: &Over) -> Victim {
    let mut peer = Peer::connect(&daemon.socket).expect("room");
    let mut victim = Victim::default();
    for log_in in log_ins.iter().cycle() {
        let asked = Instant::now();
        let answer = peer.ask(log_in).expect("an answer");
        victim.later += u32::from(!log_in.is_decided(&answer));
        victim.waits.push(asked.elapsed());
        if over.is_over() {
            break;
        }
        thread::sleep(PACE.saturating_sub(asked.elapsed()));
    }
    victim
}

/// In KiB, ten times a second.
fn watch_memory(daemon: &Daemon, over: &Over) -> Vec<u32> {
    let mut memory = Vec::new();
    while !over.is_over() {
        memory.push(cpu::memory(daemon.process()));
        thread::sleep(Duration::from_millis(100));
    }
    memory
}
