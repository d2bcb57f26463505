//! CPU time and memory of processes. On a machine that others use too, CPU time is what stays the same.

use std::fs;
use std::time::Duration;

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

/// CPU time of this process.
pub fn own() -> Duration {
    read(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

/// CPU time of a process, of all its threads, those that ended too.
pub fn of(process: u32) -> Duration {
    let process = Pid::from_raw(process.try_into().expect("a process id"));
    read(clock_getcpuclockid(process).expect("a process that lives"))
}

fn read(clock: ClockId) -> Duration {
    clock.now().expect("a process that lives").into()
}

/// CPU time of a process and of all below it that live.
pub fn of_tree(root: u32) -> Duration {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|process| Some((process, parent(process)?)))
        .collect();
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(above) = tree.get(next).copied() {
        let children = parents.iter().filter(|(_, parent)| *parent == above);
        tree.extend(children.map(|(child, _)| *child));
        next += 1;
    }
    let clock = |process: u32| {
        let process = Pid::from_raw(process.try_into().ok()?);
        clock_getcpuclockid(process).ok()?.now().ok()
    };
    tree.into_iter().filter_map(clock).map(Duration::from).sum()
}

fn parent(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let (_, after) = stat.rsplit_once(") ")?;
    after.split(' ').nth(1)?.parse().ok()
}

/// Resident memory of a process, in KiB.
pub fn memory(process: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number
        .and_then(|number| number.parse().ok())
        .expect("proc(5)")
}

/// Threads of a process with this name.
pub fn threads(process: u32, name: &str) -> usize {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("it lives");
    let names = tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|found| found.trim_end() == name).count()
}

/// Cores of this machine.
pub fn cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.try_into().expect("not so many")
}

/// CPU time that all processes together have taken since the machine was started, and what its host
/// took away from it. In steps of 10 ms.
pub fn all() -> Duration {
    let stat = fs::read_to_string("/proc/stat").expect("/proc");
    let line = stat
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("cpu "));
    let ticks: Vec<u64> = (line.expect("proc(5)").split_whitespace())
        .filter_map(|number| number.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal …; guests are in user already.
    let busy: u64 = [0, 1, 2, 5, 6, 7].iter().map(|column| ticks[*column]).sum();
    Duration::from_millis(busy * 10)
}
