//! The goals of an ordinary day: speed against the echo and the hash, size, the first answer.

use std::thread;
use std::time::Duration;

use dovelatch::password::phc::Cost;

use crate::dialogue::{LogIn, connect};
use crate::echo::Echo;
use crate::load::{Done, Load, Until};
use crate::ours::Daemon;
use crate::site::{Crowd, Site};
use crate::table::{Met, Table, count, median, micros};
use crate::{Scale, cpu, hash};

/// As many connections as a busy host has login processes.
const BUSY: usize = 64;

/// Phones that sign in again and again.
const PHONES: usize = 1_000;

pub fn measure(site: &Site, scale: &Scale, table: &mut Table) {
    start(site, scale, table);
    first_log_ins(site, scale, table);
    everybody(site, table);
    let daemon = Daemon::start(site, &site.log_ins[0]);
    memory(&daemon, scale, table);
    repeated(&daemon, site, scale, table);
    crowds(&daemon, site, scale, table);
    refusals(&daemon, site, scale, table);
    table.row(
        "database, with one event and one use each",
        "≤ 400 bytes for each device password",
        format_args!("{} bytes, of {}", site.bytes / site.devices, site.devices),
        Met::when(site.bytes / site.devices <= 400),
    );
}

fn start(site: &Site, scale: &Scale, table: &mut Table) {
    let starts = (0..scale.starts).map(|_| Daemon::start(site, &site.log_ins[0]).until_first);
    let first = median(starts.map(|time| time.as_secs_f64()).collect());
    table.row(
        &format!(
            "start with {} device passwords",
            count(f64::from(site.devices))
        ),
        "first answer ≤ 50 ms",
        format_args!("{:.1} ms", first * 1e3),
        Met::when(first <= 0.050),
    );
}

/// Each needs its hash: nobody has logged in since the start.
fn first_log_ins(site: &Site, scale: &Scale, table: &mut Table) {
    let mut shares = Vec::new();
    let mut rates = Vec::new();
    let mut costs = Vec::new();
    let each = (site.log_ins.len() / 3).min(10_000);
    for round in 0..scale.rounds.min(3) {
        let log_ins = &site.log_ins[round * each..(round + 1) * each];
        let raw = hash::cpu_time(Cost::default(), scale.round / 2);
        let daemon = Daemon::start(site, &site.unknown[0]);
        let (all, ours) = (cpu::all(), cpu::of(daemon.process()));
        let done = run(&daemon, BUSY, Until::AllDecided, log_ins);
        let (all, ours) = (cpu::all() - all, cpu::of(daemon.process()) - ours);
        let others = all.saturating_sub(done.own_cpu + ours);
        let left = (done.took * cpu::cores()).saturating_sub(done.own_cpu + others);
        shares.push((raw * done.decided).as_secs_f64() / left.as_secs_f64());
        rates.push(done.rate());
        costs.push(ours.as_secs_f64() / raw.as_secs_f64() / f64::from(done.decided));
    }
    let share = median(shares);
    table.row(
        "first log-ins (hash needed), 64 connections",
        "≥ 90 % of the raw hash rate in the CPU time that the load generator leaves",
        format_args!(
            "{:.0} % ({}/s; CPU of {:.2} raw hashes each)",
            share * 100.0,
            count(median(rates)),
            median(costs)
        ),
        Met::when(share >= 0.9),
    );
}

/// All at once after a restart, from as many connections as there are login processes on a big host.
fn everybody(site: &Site, table: &mut Table) {
    let daemon = Daemon::start(site, &site.unknown[0]);
    let load = Load {
        socket: &daemon.socket,
        connections: 500,
        depth: 100,
        until: Until::AllDecided,
    };
    let done = load.run(&site.log_ins);
    let expected = u32::try_from(site.log_ins.len()).expect("100,000");
    assert_eq!(done.decided, expected, "a log-in was forgotten");
    table.row(
        &format!(
            "{} devices all log in after a restart, up to 50,000 at once",
            count(f64::from(expected))
        ),
        "done in ≤ 60 s, no permanent refusal",
        format_args!(
            "{:.1} s, none; {} times \"try later\"",
            done.took.as_secs_f64(),
            count(f64::from(done.later))
        ),
        Met::when(done.took <= Duration::from_secs(60)),
    );
}

fn memory(daemon: &Daemon, scale: &Scale, table: &mut Table) {
    let mib = |kib: u32| format!("{:.1} MiB", f64::from(kib) / 1024.0);
    let rest = cpu::memory(daemon.process());
    table.row(
        "memory at rest",
        "≤ 20 MiB",
        mib(rest),
        Met::when(rest <= 20 * 1024),
    );
    let idle: Vec<_> = (0..scale.idle_connections)
        .map(|_| connect(&daemon.socket).expect("room"))
        .collect();
    let more = cpu::memory(daemon.process()).saturating_sub(rest);
    table.row(
        &format!("memory of {} idle connections", idle.len()),
        "10,000: ≤ 60 MiB more",
        format_args!("{} more", mib(more)),
        Met::when(more <= 60 * 1024),
    );
    drop(idle);
    // It has to hear of that before anybody is timed.
    let settled = || {
        let before = cpu::of(daemon.process());
        thread::sleep(Duration::from_millis(100));
        cpu::of(daemon.process()) - before < Duration::from_millis(2)
    };
    while !settled() {}
}

/// The same phones as ever, against the echo.
fn repeated(daemon: &Daemon, site: &Site, scale: &Scale, table: &mut Table) {
    let phones = &site.log_ins[..PHONES.min(site.log_ins.len())];
    run(daemon, BUSY, Until::AllDecided, phones);
    // The echo answers everybody with the line that ours has for the first.
    let echo = Echo::start(
        &site.path(""),
        cpu::threads(daemon.process(), "dovelatch-io").max(1),
        &daemon.first,
    );
    let first = &site.log_ins[..1];
    let by_echo = |connections, until| {
        let load = Load {
            socket: &echo.socket,
            connections,
            depth: 1,
            until,
        };
        load.run(first)
    };

    let (mut ratios, mut rates, mut cost) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        let until = Until::Time(scale.round);
        let before = cpu::of(daemon.process());
        let ours = run(daemon, BUSY, until, phones);
        let cpu = (cpu::of(daemon.process()) - before) / ours.decided;
        let before = cpu::of(echo.process());
        let theirs = by_echo(BUSY, until);
        let echo_cpu = (cpu::of(echo.process()) - before) / theirs.decided;
        ratios.push(ours.rate() / theirs.rate());
        rates.push((ours.rate(), theirs.rate()));
        cost.push((cpu.as_secs_f64() * 1e6, echo_cpu.as_secs_f64() * 1e6));
    }
    let ratio = median(ratios);
    let middle = |pairs: &[(f64, f64)]| {
        let of = |pick: fn(&(f64, f64)) -> f64| median(pairs.iter().map(pick).collect());
        (of(|pair| pair.0), of(|pair| pair.1))
    };
    let ((ours, theirs), (cpu, echo_cpu)) = (middle(&rates), middle(&cost));
    table.row(
        "repeated log-ins (memo hit), 64 connections",
        "≥ 0.4 × an echo server on the same sockets",
        format_args!(
            "{ratio:.2} × ({}/s against {}/s; {cpu:.1} µs of CPU against {echo_cpu:.1} µs)",
            count(ours),
            count(theirs)
        ),
        Met::when(ratio >= 0.4),
    );

    let mut pairs = Vec::new();
    for _ in 0..scale.rounds {
        let until = Until::Time(scale.round / 2);
        let ours = run(daemon, 1, until, phones).wait(50);
        let theirs = by_echo(1, until).wait(50);
        pairs.push((ours.as_secs_f64() * 1e6, theirs.as_secs_f64() * 1e6));
    }
    let ratio = median(pairs.iter().map(|(ours, theirs)| ours / theirs).collect());
    let (ours, theirs) = middle(&pairs);
    table.row(
        "repeated log-in, one at a time, p50",
        "≤ 1.3 × the echo server",
        format_args!("{ratio:.2} × ({ours:.0} µs against {theirs:.0} µs)"),
        Met::when(ratio <= 1.3),
    );
}

/// Mailboxes with many device passwords against mailboxes with one, in CPU time.
fn crowds(daemon: &Daemon, site: &Site, scale: &Scale, table: &mut Table) {
    type Pick = fn(&Crowd) -> &Vec<LogIn>;
    let kinds: [(&str, Pick); 2] = [("good", |crowd| &crowd.good), ("bad", |crowd| &crowd.bad)];
    for (what, pick) in kinds {
        for crowd in &site.crowds {
            run(daemon, BUSY, Until::AllDecided, pick(crowd));
        }
        let mut ratios = vec![Vec::new(); site.crowds.len()];
        for _ in 0..scale.rounds {
            let costs: Vec<f64> = (site.crowds.iter())
                .map(|crowd| {
                    let until = Until::Time(scale.round / 2);
                    cpu_of_one(daemon, pick(crowd), until).as_secs_f64()
                })
                .collect();
            for (ratios, cost) in ratios.iter_mut().zip(&costs) {
                ratios.push(cost / costs[0]);
            }
        }
        let worse: Vec<(usize, f64)> = (site.crowds.iter().zip(ratios))
            .skip(1)
            .map(|(crowd, ratios)| (crowd.devices, median(ratios)))
            .collect();
        let figures: Vec<_> = (worse.iter())
            .map(|(devices, ratio)| format!("{devices}: {ratio:.2} ×"))
            .collect();
        table.row(
            &format!("device passwords of a mailbox, against one: CPU of a {what} log-in"),
            "20 and 1,000: ≤ 1.05 ×",
            figures.join("; "),
            Met::when(worse.iter().all(|(_, ratio)| *ratio <= 1.05)),
        );
    }
}

fn refusals(daemon: &Daemon, site: &Site, scale: &Scale, table: &mut Table) {
    let mut costs = [&site.wrong, &site.unknown].map(|log_ins| (log_ins, Vec::new()));
    for _ in 0..scale.rounds {
        for (log_ins, costs) in &mut costs {
            let cost = cpu_of_one(daemon, log_ins, Until::Time(scale.round / 2));
            costs.push(cost.as_secs_f64());
        }
    }
    let [wrong, unknown] = costs.map(|(_, costs)| Duration::from_secs_f64(median(costs)));
    table.row(
        "CPU of a refusal",
        "≤ 20 µs, no hash",
        format_args!(
            "wrong password {}, unknown mailbox {}",
            micros(wrong),
            micros(unknown)
        ),
        Met::when(wrong.max(unknown) <= Duration::from_micros(20)),
    );
}

/// CPU time of the daemon for one of these, of many.
fn cpu_of_one(daemon: &Daemon, log_ins: &[LogIn], until: Until) -> Duration {
    let before = cpu::of(daemon.process());
    let done = run(daemon, BUSY, until, log_ins);
    (cpu::of(daemon.process()) - before) / done.decided
}

fn run(daemon: &Daemon, connections: usize, until: Until, log_ins: &[LogIn]) -> Done {
    let load = Load {
        socket: &daemon.socket,
        connections,
        depth: 1,
        until,
    };
    load.run(log_ins)
}
