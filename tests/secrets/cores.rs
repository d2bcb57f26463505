//! Core files, and who may look into the processes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::only_for_root;
use crate::site::{Process, Site};

pub(crate) fn trials() -> Vec<Trial> {
    vec![only_for_root(
        "a_crash_of_the_daemon_leaves_no_core_file",
        crash,
    )]
}

/// By a shell that allows cores of any size.
fn allowing_cores(command: &Command) -> Command {
    let mut shell = Command::new("sh");
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
fn crashed(process: &mut Process, signal: Signal) -> bool {
    let pid = Pid::from_raw(i32::try_from(process.id()).unwrap());
    kill(pid, signal).unwrap();
    let status = process.0.wait().unwrap();
    assert_eq!(status.signal(), Some(signal as i32));
    status.core_dumped()
}

fn crash() {
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
        let names = fs::read_dir(site.path()).unwrap();
        let mut names = names.map(|file| file.unwrap().file_name().into_string().unwrap());
        assert!(names.all(|name| !name.starts_with("core")));
    }
}
