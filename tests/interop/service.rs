//! The shipped service under a real systemd: what its sandbox takes away, and that the daemon misses
//! nothing of it; the watchdog; what becomes of a bad configuration. On Debian 13, whose C library is
//! newer, the program does not run in the tree of Debian 12, and only the rating is looked at there.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::site::shipped;
use crate::systemd::{self, Booted};
use crate::tree::Tree;
use crate::wait::{LONG, until};
use crate::{case, case_unless};

/// In tenths, as `--threshold=` wants it. Below that `systemd-analyze` calls a service safe by a margin.
const WORST_RATING: &str = "15";

pub fn tests(tree: Tree) -> Vec<Trial> {
    let name = match tree {
        Tree::Bookworm => "systemd_252",
        Tree::Trixie => "systemd_257",
    };
    let case = |test, body| case(tree, name, test, body);
    let rated = case("the_service_is_rated_safe", rated);
    if tree.unusable().is_none() && !tree.runs_what_the_host_built() {
        return vec![rated];
    }
    let case = |test, body| {
        let unusable = tree.unusable().or_else(systemd::unbootable);
        case_unless(unusable, tree, name, test, body)
    };
    vec![
        rated,
        case("the_daemon_misses_nothing_in_its_sandbox", sandbox),
        case("a_daemon_that_stands_still_is_replaced", standstill),
        case(
            "a_bad_configuration_is_no_reason_to_start_again_but_a_log_in_is_once_a_second",
            bad_configuration,
        ),
    ]
}

fn rated(tree: Tree) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let unit = directory.path().join("dovelatch.service");
    std::fs::write(&unit, shipped("packaging/systemd/dovelatch.service")).expect("own directory");
    let script = "mount --bind \"$1\" \"$2/mnt\" && chroot \"$2\" systemd-analyze security \
                  --offline=yes --no-pager --threshold=\"$3\" /mnt/dovelatch.service";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .args([directory.path(), &tree.path()])
        .arg(WORST_RATING)
        .output()
        .expect("unshare is a part of util-linux");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("Overall exposure level"), "{output:?}");
    assert!(output.status.success(), "{said}");
}

fn sandbox(tree: Tree) {
    // Harder than shipped: what the filter refuses is not just an error that might pass unseen.
    let machine = Booted::start(tree, "[Service]\nSystemCallErrorNumber=kill\n");
    let issued = machine.succeeds(&["dovelatch", "add", "ana@example.org", "phone"]);
    let password = issued.trim();
    assert_eq!(machine.service("ActiveState"), "inactive");

    // The first who asks starts it. The second time from the memo, the first through a hashing thread.
    for _ in 0..2 {
        assert_eq!(sign_in(&machine, password), 0, "{}", machine.log());
    }
    assert_eq!(sign_in(&machine, "kqtm-whzr-nbfa-yxcd-peug"), 77);
    assert_eq!(machine.service("ActiveState"), "active");

    let pid = machine.pid();
    let status = machine.succeeds(&["cat", &format!("/proc/{pid}/status")]);
    for line in [
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ] {
        assert!(status.contains(line), "{line:?} is missing in:\n{status}");
    }
    let user = machine.succeeds(&["id", "-u", "dovelatch"]);
    let user = user.trim();
    assert!(
        status.contains(&format!("Uid:\t{user}\t{user}\t{user}\t{user}")),
        "{status}"
    );
    let limits = machine.succeeds(&["cat", &format!("/proc/{pid}/limits")]);
    let core = limits.lines().find(|line| line.starts_with("Max core"));
    let mut core = core.expect("the kernel has it").split_ascii_whitespace();
    assert_eq!(core.nth(4), Some("0"), "{limits}");
    // The filter lets the hashing threads yield.
    let nice = "for task in /proc/$1/task/*; do read -r name <$task/comm; \
                [ $name != hash ] || cut -d ' ' -f 19 $task/stat; done";
    let nice = machine.succeeds(&["sh", "-c", nice, "sh", &pid]);
    assert!(nice.starts_with("10\n"), "{nice}");

    // The database is written to, by the daemon: its book, and its log written back.
    until("the use to be written down", LONG, || {
        let list = machine.succeeds(&["dovelatch", "list", "ana@example.org", "--json"]);
        (!list.contains("\"last_used\":null")).then_some(())
    });
    machine.succeeds(&["systemctl", "reload", "dovelatch.service"]);
    until("the reload", LONG, || {
        machine.log().contains("reloaded:").then_some(())
    });
    let revoke = ["dovelatch", "revoke", "--yes", "ana@example.org", "phone"];
    let revoked = machine.output(&revoke);
    assert!(revoked.status.success(), "{revoked:?}");
    assert_eq!(sign_in(&machine, password), 77);
    machine.succeeds(&["touch", "/run/marker"]);
    until("the log of the database to be written back", LONG, || {
        let newer = [
            "find",
            "/var/lib/dovelatch/dovelatch.db",
            "-newer",
            "/run/marker",
        ];
        (!machine.says(&newer).is_empty()).then_some(())
    });
    assert_eq!(machine.pid(), pid, "it was never replaced");

    machine.succeeds(&["systemctl", "stop", "dovelatch.service"]);
    assert_eq!(machine.service("Result"), "success");
    let log = machine.log();
    assert!(log.contains("stopped"), "{log}");
    for trouble in ["ERROR", "WARN", "try later", "denied", "not permitted"] {
        assert!(!log.contains(trouble), "{trouble:?} in:\n{log}");
    }
}

fn standstill(tree: Tree) {
    let machine = Booted::start(tree, "[Service]\nWatchdogSec=4\n");
    sign_in(&machine, "kqtm-whzr-nbfa-yxcd-peug");
    let first = machine.pid();
    // Longer than the watchdog's time: signs of life have kept it.
    until("more than one sign of life", LONG, || {
        let told = machine.service("WatchdogTimestampMonotonic");
        let started = machine.service("ActiveEnterTimestampMonotonic");
        let parse = |time: &str| time.parse::<u64>().expect("microseconds");
        (parse(&told) > parse(&started) + 5_000_000).then_some(())
    });
    assert_eq!(machine.pid(), first, "{}", machine.log());
    // The shell's: Debian 12 has no other here.
    machine.succeeds(&["sh", "-c", &format!("kill -STOP {first}")]);
    until("another daemon", LONG, || {
        let next = machine.service("MainPID");
        (next != "0" && next != first).then_some(())
    });
    assert_eq!(sign_in(&machine, "kqtm-whzr-nbfa-yxcd-peug"), 77);
    let log = machine.log();
    assert!(log.contains("Watchdog timeout"), "{log}");
}

fn bad_configuration(tree: Tree) {
    let machine = Booted::start(tree, "");
    let config = "/etc/dovelatch/dovelatch.toml";
    machine.succeeds(&["sh", "-c", &format!("echo 'keep = 1' >>{config}")]);
    let refused = || machine.log().matches("status=78").count();

    // By hand: once, and no more without a reason.
    let started = machine.output(&["systemctl", "start", "dovelatch.service"]);
    assert!(!started.status.success(), "{started:?}");
    assert_eq!(machine.service("ActiveState"), "failed");
    assert_eq!(machine.service("NRestarts"), "0");
    assert_eq!(refused(), 1, "{}", machine.log());

    // A log-in waits, and starts it again and again, with a pause.
    let begun = Instant::now();
    let mut waiting = (machine.enter())
        .args(sign_in_words("kqtm-whzr-nbfa-yxcd-peug"))
        .stdout(Stdio::null())
        .spawn()
        .expect("a part of util-linux");
    until("four more starts", LONG, || (refused() >= 5).then_some(()));
    // Three pauses, of a second each, lie between four starts.
    assert!(
        begun.elapsed() >= Duration::from_secs(3),
        "{}",
        machine.log()
    );
    machine.succeeds(&["sed", "-i", "$d", config]);
    let answer = waiting.wait().expect("our own child");
    assert_eq!(answer.code(), Some(77), "{}", machine.log());
    assert_eq!(machine.service("ActiveState"), "active");
}

/// The exit code of `doveadm auth test`: 0 let in, 77 refused, 75 *try later*.
fn sign_in(machine: &Booted, password: &str) -> i32 {
    let output = machine.output(&sign_in_words(password));
    output.status.code().expect("not killed")
}

fn sign_in_words(password: &str) -> [&str; 9] {
    let [doveadm, auth, test] = ["doveadm", "auth", "test"];
    let (socket, user) = ("/run/dovelatch/lua", "ana@example.org");
    [
        doveadm,
        auth,
        test,
        "-a",
        socket,
        "-x",
        "service=imap",
        user,
        password,
    ]
}
