//! The program among its real peers: Dovecot 2.3 and 2.4, Postfix 3.7 and 3.10, from a log-in to a
//! message read. Each test has a mail host of its own (site.rs), with the peers in a throw-away
//! machine (machine.rs, boot.sh) over a Debian tree (../support/tree.rs, tests/trees) and the daemon beside it
//! (daemon.rs, units.rs). The tests themselves are in lua_mode.rs, doveadm.rs, submission.rs, webmail.rs, away.rs,
//! delegation.rs, direct.rs, ending.rs, unkicked.rs, limits.rs and demo.rs. service.rs has the daemon under a
//! systemd instead (systemd.rs, systemd.sh).
//!
//! Without root or without a tree a test is ignored, and its kind says why: libtest cannot decide
//! that at run time, libtest-mimic can.

#![allow(
    unreachable_pub,
    reason = "nothing is reachable from outside a test program"
)]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test that panics has failed, prints why, and may look at clock and environment"
)]

mod away;
#[path = "../support/child.rs"]
mod child;
mod conversation;
mod daemon;
mod delegation;
mod demo;
mod direct;
mod doveadm;
mod dovecot;
mod ending;
mod limits;
mod lua_mode;
mod machine;
mod postfix;
mod service;
mod site;
mod submission;
mod systemd;
#[path = "../support/tested.rs"]
mod tested;
#[path = "../support/tree.rs"]
mod tree;
mod units;
mod unkicked;
#[path = "../support/wait.rs"]
mod wait;
mod webmail;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use crate::tree::Tree;

fn main() -> ExitCode {
    let groups = [
        lua_mode::tests,
        doveadm::tests,
        submission::tests,
        webmail::tests,
        away::tests,
        demo::tests,
        delegation::tests,
        direct::tests,
        limits::tests,
        ending::tests,
        unkicked::tests,
        service::tests,
    ];
    let tests = Tree::ALL
        .into_iter()
        .flat_map(|tree| groups.map(|group| group(tree)));
    let mut arguments = Arguments::from_args();
    // They wait for the peers' failure delays most of the time, not for a core.
    arguments.test_threads.get_or_insert(6);
    libtest_mimic::run(&arguments, tests.flatten().collect()).exit_code()
}

/// A test with the peer from one tree, or what stands in for it where there is none.
fn case(tree: Tree, peer: &str, name: &str, body: fn(Tree)) -> Trial {
    case_unless(tree.unusable(), tree, peer, name, body)
}

/// The same where more must be there than the tree.
fn case_unless(
    unusable: Option<String>,
    tree: Tree,
    peer: &str,
    name: &str,
    body: fn(Tree),
) -> Trial {
    let name = format!("{peer}::{name}");
    match unusable {
        None => Trial::test(name, move || {
            body(tree);
            Ok(())
        }),
        Some(reason) => {
            let kind = format!("skipped: {reason}");
            // Asked for all the same with --ignored, it must not look like a success.
            Trial::test(name, move || Err(reason.into()))
                .with_kind(kind)
                .with_ignored_flag(true)
        }
    }
}

// What the person at the mail program sees, word by word.

#[track_caller]
fn dovecot_accepts(answer: &str) {
    assert!(answer.starts_with("OK "), "{answer}");
}

#[track_caller]
fn dovecot_refuses(answer: &str) {
    assert_eq!(answer, "NO [AUTHENTICATIONFAILED] Authentication failed.");
}

#[track_caller]
fn postfix_accepts(answer: &str) {
    assert_eq!(answer, "235 2.7.0 Authentication successful");
}

#[track_caller]
fn postfix_refuses(answer: &str) {
    assert!(
        answer.starts_with("535 5.7.8 Error: authentication failed:"),
        "{answer}"
    );
}
