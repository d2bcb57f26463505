//! Signs of life, as the service manager hears them. A socket of the test stands in for systemd's here:
//! tests/interop/service.rs has the real one.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use dovelatch::store::Revoked;
use libtest_mimic::Trial;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::daemon::{Daemon, command, only_for_root};
use crate::log_ins::now;
use crate::site::Site;
use crate::trial;

/// What the unit's `WatchdogSec=` is here.
const LIMIT: Duration = Duration::from_millis(400);

/// Longer than the 4 s after which a queue puts its oldest off, the second until somebody looks, and the
/// next sign after that.
const STANDSTILL: Duration = Duration::from_secs(7);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "the_watchdog_is_fed_by_what_leaves_no_trace_in_log_and_history",
            fed,
        ),
        trial("a_watchdog_with_too_short_a_time_is_warned_of", short),
        trial("the_watchdog_is_fed_without_a_database", fed_in_trouble),
        trial("whoever_asks_for_no_sign_of_life_hears_none", not_asked),
        // Not everybody may stop threads, not even their own.
        only_for_root(
            "the_watchdog_is_not_fed_while_the_hashing_threads_stand_still",
            standstill,
        ),
    ]
}

struct Manager(UnixDatagram);

impl Manager {
    /// Starts a daemon that notifies this manager.
    fn start(site: &Site, limit: Option<Duration>) -> (Self, Daemon) {
        let path = site.path().join("notify");
        let manager = Self(UnixDatagram::bind(&path).unwrap());
        let mut command = command(site);
        command.env("NOTIFY_SOCKET", path);
        if let Some(limit) = limit {
            command.env("WATCHDOG_USEC", limit.as_micros().to_string());
        }
        (manager, Daemon::spawn(&mut command))
    }

    /// What it is told next, if within that time.
    fn hears(&self, within: Duration) -> Option<String> {
        self.0.set_read_timeout(Some(within)).unwrap();
        let mut told = [0; 256];
        let length = self.0.recv(&mut told).ok()?;
        Some(String::from_utf8(told[..length].to_vec()).unwrap())
    }

    fn hears_signs_of_life(&self, signs: usize) {
        for _ in 0..signs {
            let told = self.hears(Duration::from_secs(20));
            assert_eq!(told.as_deref(), Some("WATCHDOG=1\n"));
        }
    }

    fn hears_that_it_serves(&self) {
        let told = self.hears(Duration::from_secs(20)).unwrap();
        assert!(told.starts_with("READY=1\n"), "{told}");
    }
}

fn fed() {
    let site = Site::new();
    let phone = site.issue("phone");
    let (manager, mut daemon) = Manager::start(&site, Some(LIMIT));
    manager.hears_that_it_serves();
    manager.hears_signs_of_life(1);
    let begun = now();
    manager.hears_signs_of_life(4);
    assert!(begun.elapsed() > LIMIT, "they come at half of that time");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), Some(0));
    daemon.wait_for("stopped");
    for verdict in ["auth ok", "auth failed"] {
        assert_eq!(daemon.times(verdict), 0, "it was nobody's log-in");
    }
    let store = site.admin().store;
    assert_eq!(store.uses(&phone.device.id).unwrap().len(), 0);
    assert_eq!(store.devices(None, Revoked::Shown).unwrap().len(), 1);
}

fn short() {
    for (limit, warned) in [
        (Duration::from_millis(19_999), 1),
        (Duration::from_secs(20), 0),
    ] {
        let site = Site::new();
        let (manager, mut daemon) = Manager::start(&site, Some(limit));
        manager.hears_that_it_serves();
        manager.hears_signs_of_life(1);
        daemon.signal(Signal::SIGTERM);
        assert_eq!(daemon.exit_code(), Some(0));
        daemon.wait_for("stopped");
        let said = daemon.times("the watchdog's time is short");
        assert_eq!(said, warned, "{limit:?}");
    }
}

fn fed_in_trouble() {
    let site = Site::bare();
    let (manager, mut daemon) = Manager::start(&site, Some(LIMIT));
    manager.hears_that_it_serves();
    daemon.wait_for("log-ins get \"try later\"");
    manager.hears_signs_of_life(4);
}

fn not_asked() {
    let site = Site::new();
    let (manager, _daemon) = Manager::start(&site, None);
    manager.hears_that_it_serves();
    assert_eq!(manager.hears(LIMIT * 3), None);
}

fn standstill() {
    let site = Site::new();
    let (manager, daemon) = Manager::start(&site, Some(LIMIT));
    manager.hears_that_it_serves();
    manager.hears_signs_of_life(2);
    let stopped = Stopped::threads(&daemon, "hash");
    assert!(!stopped.0.is_empty());
    // Those that were on their way.
    while manager.hears(LIMIT * 2).is_some() {}
    assert_eq!(manager.hears(STANDSTILL), None);
    drop(stopped);
    manager.hears_signs_of_life(2);
}

/// Threads that do not run until this is dropped, by the thread that made it.
struct Stopped(Vec<Pid>);

impl Stopped {
    fn threads(daemon: &Daemon, name: &str) -> Self {
        let tasks = format!("/proc/{}/task", daemon.pid());
        let mut stopped = Self(Vec::new());
        for task in fs::read_dir(tasks).unwrap().flatten() {
            let called = fs::read_to_string(task.path().join("comm")).unwrap();
            if called.trim_end() == name {
                let id = task.file_name().to_str().unwrap().parse().unwrap();
                ptrace::attach(Pid::from_raw(id)).unwrap();
                stopped.0.push(Pid::from_raw(id));
                waitpid(Pid::from_raw(id), Some(WaitPidFlag::__WALL)).unwrap();
            }
        }
        stopped
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for &id in &self.0 {
            // It may be gone by now.
            let _ = ptrace::detach(id, None);
        }
    }
}
