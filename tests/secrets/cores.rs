//! Core files, and who may look into the processes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::child::KilledOnDrop;
use crate::site::Site;
use crate::{only_for_root, tested, wait};

pub(crate) fn trials() -> Vec<Trial> {
    vec![only_for_root(
        "a_crash_of_the_daemon_leaves_no_core_file",
        crash,
    )]
}

/// By a shell that allows cores of any size.
fn allowing_cores(command: &Command) -> Command {
    // What the command takes out of the environment is not among `get_envs`' values: out of the shell's, too.
    let mut shell = tested::started_by("sh");
    shell
        .args(["-c", "ulimit -c unlimited && exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir(command.get_current_dir().unwrap_or(Path::new("/")));
    shell
}

/// Ends it by this signal; whether a core was dumped.
fn crashed(process: &mut KilledOnDrop, signal: Signal) -> bool {
    let pid = Pid::from_raw(i32::try_from(process.id()).unwrap());
    // Rust's handler takes the first SIGSEGV for a stack overflow, finds none, and lets the next one kill.
    let status = wait::until("its end", wait::LONG, || {
        kill(pid, signal).unwrap();
        process.try_wait().unwrap()
    });
    assert!(status.signal().is_some(), "{signal}: {status}");
    status.core_dumped()
}

fn crash() {
    // A process of the same kind that allows it, so that one sees whether this host dumps any.
    let site = Site::new();
    let mut sleep = Command::new("sleep");
    sleep.arg("60").current_dir(site.path());
    let mut sleep = KilledOnDrop(allowing_cores(&sleep).spawn().unwrap());
    let arguments = format!("/proc/{}/cmdline", sleep.id());
    wait::until("sleep", wait::LONG, || {
        fs::read(&arguments)
            .unwrap()
            .starts_with(b"sleep")
            .then_some(())
    });
    let dumps = crashed(&mut sleep, Signal::SIGABRT);
    for signal in [Signal::SIGSEGV, Signal::SIGABRT] {
        let site = Site::new();
        let mut daemon = site.serve_by(allowing_cores(&site.command(&["serve"])));
        let of = |name: &str| format!("/proc/{}/{name}", daemon.id());
        let limits = fs::read_to_string(of("limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core"));
        let words: Vec<_> = core.unwrap().split_ascii_whitespace().collect();
        assert_eq!(words[4..6], ["0", "0"], "soft and hard limit: {core:?}");
        // Root's, although the process is not: that is how it is closed to its own user.
        let status = fs::read_to_string(of("status")).unwrap();
        let user = status.lines().find(|line| line.starts_with("Uid:"));
        assert!(user.unwrap().contains("65534"), "{user:?}");
        for name in ["mem", "maps", "environ", "auxv"] {
            assert_eq!(fs::metadata(of(name)).unwrap().uid(), 0, "{name}");
        }
        assert!(!crashed(&mut daemon, signal), "{signal}: a core was dumped");
    }
    // Where it is a program's business (core_pattern) the host may have none; the rest was checked all the same.
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    assert!(
        dumps || pattern.starts_with('|') || pattern.trim().is_empty(),
        "{pattern}"
    );
}
