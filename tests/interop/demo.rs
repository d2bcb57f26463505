//! `dovelatch demo` on a host with Dovecot: as an ordinary user, whose private Dovecot it asks, and as
//! root, for whom no Dovecot opens a mailbox. It runs in the machine, so on Debian 13, whose C library is
//! newer, there are no such tests for the tree of Debian 12.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use libtest_mimic::Trial;

use crate::case;
use crate::machine::Machine;
use crate::site::Site;
use crate::tree::Tree;

/// Debian's user without any rights, as in front of a command; the number is an ordinary user's.
const NOBODY: &str = "setpriv --reuid nobody --regid nogroup --clear-groups";

/// Whether a Dovecot runs. The machine's first process collects no orphans, so those that have ended
/// stay as zombies.
const RUNS: &str = "grep -qs \"(dovecot) [^Z]\" /proc/[0-9]*/stat";

/// Where the demonstration makes its directory.
const TEMPORARY: &str = "run/demo";

pub fn tests(tree: Tree) -> Vec<Trial> {
    if tree.unusable().is_none() && !tree.runs_what_the_host_built() {
        return Vec::new();
    }
    let case = |name, body| case(tree, tree.dovecot(), name, body);
    vec![
        case("an_ordinary_users_demo_reads_over_imap", ordinary_user),
        case("roots_demo_says_why_there_is_no_imap", root),
        case("a_killed_demo_takes_its_dovecot_along", killed),
    ]
}

fn ordinary_user(tree: Tree) {
    let site = site(tree);
    let said = run(&site, &format!("{NOBODY} dovelatch demo"));
    assert!(said.ends_with("exit code 0\n"), "{said}");
    assert!(!said.contains("skipped: "), "{said}");
    assert!(said.contains("\n  Subject: It works\n"), "{said}");
    // The same two commands again, after the password has ended.
    let (before, after) = said.split_once(" revoke ").expect("the password ends");
    for command in ["$ doveadm auth test -a ", "$ curl --user "] {
        assert!(before.contains(command), "{command:?} in {said}");
        assert!(after.contains(command), "{command:?} in {said}");
    }
    assert!(after.contains("auth failed"), "{said}");
    assert!(after.contains("[AUTHENTICATIONFAILED]"), "{said}");
    assert!(left_behind(&site).is_empty(), "{:?}", left_behind(&site));
}

fn root(tree: Tree) {
    let site = site(tree);
    let said = run(&site, "dovelatch demo");
    assert!(said.ends_with("exit code 0\n"), "{said}");
    let why = "skipped: a message over IMAP: Dovecot opens no mailbox for user id 0";
    assert!(said.contains(why), "{said}");
    assert!(said.contains("run the demonstration as an ordinary user"));
    // It needs no mailbox.
    assert_eq!(said.matches("$ doveadm auth test -a ").count(), 2, "{said}");
    assert!(left_behind(&site).is_empty(), "{:?}", left_behind(&site));
}

fn killed(tree: Tree) {
    let site = site(tree);
    let said = run(
        &site,
        &format!(
            "{NOBODY} dovelatch demo --stay >/run/stay & demo=$!
             until grep -q \"stays up\" /run/stay; do kill -0 $demo && sleep 0.1 || exit; done
             {RUNS} && kill -KILL $demo
             for look in $(seq 100); do {RUNS} || exit 0; sleep 0.1; done
             exit 1"
        ),
    );
    assert!(said.ends_with("exit code 0\n"), "{said}");
}

fn site(tree: Tree) -> Site {
    let site = Site::new(tree, &[]);
    fs::create_dir(site.path(TEMPORARY)).expect("own directory");
    fs::set_permissions(site.path(TEMPORARY), Permissions::from_mode(0o1777)).expect("ours");
    site
}

/// Runs a command line to its end; no Dovecot may be left then.
fn run(site: &Site, line: &str) -> String {
    Machine::run(
        site,
        &format!(
            "export TMPDIR=/run/dovelatch/demo
             ({line}) 2>&1; code=$?
             if {RUNS}; then echo a Dovecot is left; code=1; fi; (exit $code)"
        ),
    )
}

fn left_behind(site: &Site) -> Vec<String> {
    fs::read_dir(site.path(TEMPORARY))
        .expect("own directory")
        .flatten()
        .map(|entry| entry.path().display().to_string())
        .collect()
}
