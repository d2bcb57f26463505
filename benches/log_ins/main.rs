//! Measures what the daemon promises, and prints a table of it: goal, figure, met or not.
//!
//! `benches/run` runs it. Ours, an echo server on the same kind of socket and the hash alone are asked
//! in turns, for the goals are ratios between them; stock Dovecot answers beside them where there is a
//! tree with one (`tests/trees`). `dialogue` and `load` ask, `site` is the database, `ours`, `echo`,
//! `hash` and `stock` are what is asked, `goals`, `attack` and `revoking` are the rows.
//!
//! A wrong answer is a panic, and so the end. A missed goal is a row of the table and no more: how fast
//! a machine is decides nothing.

#![allow(
    unreachable_pub,
    missing_debug_implementations,
    reason = "nothing is reachable from outside a program"
)]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a benchmark that panics has failed; it prints, and looks at clock and environment"
)]

mod attack;
mod cpu;
mod dialogue;
mod echo;
mod goals;
mod hash;
mod load;
mod ours;
mod over;
mod revoking;
mod site;
mod stock;
mod table;
#[path = "../../tests/support/tested.rs"]
mod tested;
#[path = "../../tests/support/tree.rs"]
#[allow(dead_code, reason = "shared with the tests, which need more of it")]
mod tree;
#[path = "../../tests/support/wait.rs"]
mod wait;

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::site::Site;
use crate::table::Table;

/// How much of everything.
#[derive(Debug)]
pub struct Scale {
    /// Device passwords in the database.
    devices: usize,
    /// So many of them will log in.
    can_log_in: usize,
    /// Rounds of everything that is asked in turns; the figure is the median.
    rounds: usize,
    /// One round.
    round: Duration,
    flood: Duration,
    idle_connections: usize,
    /// Device passwords that are revoked while they log in.
    races: usize,
    starts: usize,
}

/// Five minutes on two cores.
const FULL: Scale = Scale {
    devices: 1_000_000,
    can_log_in: 100_000,
    rounds: 5,
    round: Duration::from_secs(2),
    flood: Duration::from_secs(30),
    idle_connections: 10_000,
    races: 10_000,
    starts: 5,
};

/// Everything once, in half a minute: enough to find a wrong answer.
const QUICK: Scale = Scale {
    devices: 10_000,
    can_log_in: 2_000,
    rounds: 1,
    round: Duration::from_millis(300),
    flood: Duration::from_secs(2),
    idle_connections: 500,
    races: 50,
    starts: 1,
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Cargo adds --bench.
    let arguments: Vec<&str> = (arguments.iter().map(String::as_str))
        .filter(|argument| *argument != "--bench")
        .collect();
    let scale = match arguments[..] {
        [] => FULL,
        ["--quick"] => QUICK,
        [echo::ARGUMENT, socket, threads, fields] => return echo::serve(socket, threads, fields),
        _ => {
            eprintln!("usage: benches/run [--quick]");
            return ExitCode::from(64);
        }
    };
    let started = Instant::now();
    print_machine();
    eprintln!(
        "making a database with {} device passwords …",
        scale.devices
    );
    let site = Site::make(&scale);
    eprintln!("… after {:.0} s", started.elapsed().as_secs_f64());
    let mut table = Table::new();
    goals::measure(&site, &scale, &mut table);
    attack::measure(&site, &scale, &mut table);
    revoking::measure(&site, &mut table);
    table.print();
    stock::compare(&site, &scale);
    println!("\nIt took {:.0} s.", started.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

fn print_machine() {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let value = line.map(|line| line.trim_start_matches([' ', '\t', ':']));
        value.unwrap_or("unknown").to_owned()
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "{} cores of {}, {} of memory, Linux {}; load average before: {}.\n",
        cpu::cores(),
        field("/proc/cpuinfo", "model name"),
        field("/proc/meminfo", "MemTotal"),
        kernel.trim_end(),
        load.split(' ').next().unwrap_or("unknown"),
    );
}
