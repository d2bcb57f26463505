//! What a process is given, or told: descriptors, environment, signals, memory, threads.

use std::fs;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::client::{Answer, Client, WRONG, now};
use crate::daemon::Daemon;
use crate::host::{ANA, Host};
use crate::tested::{self, PROGRAM};
use crate::wait::{LONG, until};
use crate::{only_for_root, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "descriptors_that_are_closed_at_the_start_become_nothing_else",
            closed,
        ),
        trial("an_odd_environment_changes_nothing", odd_environment),
        trial("signals_that_mean_nothing_change_nothing", ignored_signals),
        trial(
            "what_was_asked_of_a_stopped_daemon_is_answered_when_it_goes_on",
            stopped,
        ),
        trial(
            "with_no_memory_left_the_daemon_lives_and_says_try_later",
            no_memory,
        ),
        only_for_root("without_threads_it_ends_and_says_why", no_threads),
    ]
}

/// A shell that starts the daemon, with something before.
fn shell(host: &Host, line: &str) -> Command {
    let mut shell = tested::started_by("sh");
    shell
        .args(["-c", line, PROGRAM])
        .env("DOVELATCH_CONFIG", host.config());
    shell
}

fn closed() {
    let host = Host::new();
    let child = shell(&host, "exec \"$0\" serve <&- >&- 2>&-")
        .spawn()
        .unwrap();
    let daemon = Daemon::silent(child);
    until("the socket", LONG, || host.socket().exists().then_some(()));
    let mut client = Client::new(&host);
    client.assert_right();
    for descriptor in 0..3 {
        let link = fs::read_link(format!("/proc/{}/fd/{descriptor}", daemon.pid())).unwrap();
        assert_eq!(link.to_str(), Some("/dev/null"), "{descriptor}");
    }
    daemon.stop();
}

fn odd_environment() {
    let host = Host::new();
    let config = host.config();
    let cases: [&[(&str, &str)]; 4] = [
        &[],
        &[
            ("LC_ALL", "tr_TR.ISO-8859-9"),
            ("LANG", "xx"),
            ("TZ", ":/nowhere"),
        ],
        &[("TZ", "Pacific/Kiritimati"), ("HOME", ""), ("PATH", "")],
        &[("TMPDIR", "/nowhere"), ("TZ", "\u{1}"), ("USER", "\n")],
    ];
    for case in cases {
        let mut command = tested::command();
        command
            .arg("serve")
            .env_clear()
            .env("DOVELATCH_CONFIG", &config);
        command.envs(case.iter().copied());
        let daemon = Daemon::start_as(&mut command);
        Client::new(&host).assert_right();
        // UTC, whatever the zone says.
        let begins = daemon
            .log()
            .lines()
            .all(|line| line.contains("Z dovelatch["));
        assert!(begins, "{case:?}: {}", daemon.log());
        let mut list = tested::command();
        list.args(["list", ANA])
            .env_clear()
            .env("DOVELATCH_CONFIG", &config);
        list.envs(case.iter().copied());
        assert!(list.output().unwrap().status.success(), "{case:?}");
        daemon.stop();
    }
}

fn ignored_signals() {
    let host = Host::new();
    let daemon = Daemon::start(&host);
    let mut client = Client::new(&host);
    for signal in [
        Signal::SIGPIPE,
        Signal::SIGHUP,
        Signal::SIGHUP,
        Signal::SIGCHLD,
        Signal::SIGURG,
    ] {
        daemon.signal(signal);
        client.assert_right();
    }
    daemon.stop();
}

fn stopped() {
    let host = Host::new();
    let daemon = Daemon::start(&host);
    let mut client = Client::new(&host);
    client.assert_right();
    daemon.signal(Signal::SIGSTOP);
    let stat = format!("/proc/{}/stat", daemon.pid());
    until("the stop", LONG, || {
        fs::read_to_string(&stat)
            .unwrap()
            .contains(") T ")
            .then_some(())
    });
    std::thread::scope(|scope| {
        // It waits in the kernel until the daemon goes on.
        let asked = scope.spawn(|| client.assert_right());
        // Longer than an attempt may wait for its turn: that counts from when it was read.
        std::thread::sleep(Duration::from_secs(5));
        assert!(!asked.is_finished());
        let begun = now();
        daemon.signal(Signal::SIGCONT);
        asked.join().unwrap();
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
    });
    client.assert_right_again();
    daemon.stop();
}

/// Limits the address space of the daemon to what it has, and so many KiB.
fn limit_memory(daemon: &Daemon, more: Option<u64>) {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let size = status
        .lines()
        .find_map(|line| line.strip_prefix("VmSize:"))
        .unwrap();
    let kib: u64 = size.trim().trim_end_matches(" kB").parse().unwrap();
    let limit = more.map_or("unlimited".to_owned(), |more| {
        ((kib + more) << 10).to_string()
    });
    let mut prlimit = Command::new("prlimit");
    prlimit
        .arg(format!("--pid={}", daemon.pid()))
        .arg(format!("--as={limit}:unlimited"));
    assert!(prlimit.status().unwrap().success());
}

/// A hash that needs more than there is; everything else has some.
fn no_memory() {
    let host = Host::new();
    let dear = fs::read_to_string(host.config()).unwrap().replace(
        "threads = 2\n",
        "threads = 2\ngenerated = \"m=65536,t=1,p=1\"\n",
    );
    fs::write(host.config(), dear).unwrap();
    let dear = host.issue("dear");
    let daemon = Daemon::start(&host);
    let mut client = Client::new(&host);
    limit_memory(&daemon, Some(8 << 10));
    for _ in 0..10 {
        assert_eq!(client.sign_in(&dear), Answer::Later);
        assert_eq!(client.sign_in(WRONG), Answer::Deny);
        client.assert_not_wrong();
    }
    daemon.wait_for("memory");
    limit_memory(&daemon, None);
    client.assert_right_again();
    assert_eq!(client.sign_in(&dear), Answer::Allow);
    daemon.stop();
}

/// As many processes and threads as this user may have, for every number that is too few.
fn no_threads() {
    let host = Host::new();
    // Of whom there are no other processes.
    let other = 1_000_000 + std::process::id();
    host.give_to(other);
    let user = other.to_string();
    let mut served = false;
    for most in 1..40 {
        // Where the socket is made.
        std::os::unix::fs::chown(host.path(), Some(other), Some(other)).unwrap();
        let mut command = tested::started_by("setpriv");
        command
            .args([
                "--reuid",
                &user,
                "--regid",
                &user,
                "--clear-groups",
                "prlimit",
            ])
            .arg(format!("--nproc={most}"))
            .args([PROGRAM, "serve"])
            .env("DOVELATCH_CONFIG", host.config());
        let mut daemon = Daemon::spawn(&mut command);
        let code = until("an end, or a daemon that serves", LONG, || {
            if daemon.log().contains("serving sockets=1") {
                return Some(None);
            }
            daemon
                .child
                .try_wait()
                .unwrap()
                .map(|ended| Some(ended.code()))
        });
        let Some(code) = code else {
            Client::new(&host).assert_right();
            daemon.stop();
            served = true;
            break;
        };
        until("the cause", LONG, || {
            daemon.log().contains("hint: ").then_some(())
        });
        assert_eq!(code, Some(75), "{most}: {}", daemon.log());
    }
    assert!(served, "40 threads are enough");
}
