//! No secrets about: not in memory once they are of no use, not in core files, arguments, environment, logs or
//! files, not in what `Debug` shows.
//!
//! The daemon and the command line are the real program, and what is searched is what the kernel says about
//! their processes. (What the log says at its most verbose is tested in `tests/server/secrets.rs`.)
//!
//! Not covered, because we cannot reach it or do not own it: the kernel's socket and pipe buffers, a terminal's
//! and its scrollback, swap (use an encrypted one), registers and stack frames that a library left behind
//! after the moment of the test, what Dovecot and Postfix do with the password in their own memory, and a
//! command in the moments before it ends.

#![allow(
    unreachable_pub,
    reason = "nothing is reachable from outside a test program"
)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that panics has failed; it waits by the clock"
)]

#[path = "../support/child.rs"]
mod child;
mod cores;
mod files;
mod forms;
mod memory;
mod peer;
#[path = "../support/program.rs"]
mod program;
mod shown;
mod site;
#[path = "../support/skipped.rs"]
mod skipped;
mod source;
#[path = "../support/tested.rs"]
mod tested;
#[path = "../support/trial.rs"]
mod trial;
#[path = "../support/wait.rs"]
mod wait;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use skipped::{not_root, skipped_if};
use trial::trial;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One after another: they look at processes that live for seconds.
    arguments.test_threads = Some(1);
    let trials = [
        memory::trials(),
        cores::trials(),
        files::trials(),
        shown::trials(),
        source::trials(),
        forms::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit_code()
}

/// A test that looks into other processes.
fn only_for_root(name: &str, test: fn()) -> Trial {
    skipped_if(not_root(), trial(name, test))
}
