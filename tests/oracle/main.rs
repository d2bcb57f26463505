//! No oracle: what a refusal says, and when, does not depend on why it was refused.
//!
//! The daemon itself, in a process of its own, answers over its real socket with `failure_delay = "0s"`;
//! the client has a stopwatch. For each shape of password and each mechanism the classes of refusals
//! (`cases.rs`) are compared with that of an unknown mailbox: the words byte by byte, and the times by the
//! area under the ROC curve (`statistics.rs`), which must stay at 0.60 or below. `times.rs` says how.
//!
//! `DOVELATCH_ORACLE_ROUNDS` sets how many times of each class are taken: 300 without it, some twenty seconds.
//! For a release, on a quiet machine: `DOVELATCH_ORACLE_ROUNDS=3000 cargo test --release --test oracle`. What was
//! measured is in `oracle.txt` in cargo's directory for such files (`target/tmp/`).
//!
//! Not covered:
//!
//! * What others on the same machine can learn, who share its caches and see its load.
//! * A peer that writes to the socket itself and puts a question that is answered at once (LOGIN's for a
//!   name) behind a password, on the same connection: it waits for the look-up, which shows by microseconds. Nobody
//!   can do that through Dovecot or Postfix.
//! * A wrong password that meets the tag of a live one by chance (one in 65,536 for each device password of the
//!   mailbox) costs a hash. At the usual cost that is over before any refusal leaves, on a machine that is not
//!   busy; so the figures show it and no test demands it.

#![allow(
    unreachable_pub,
    reason = "nothing is reachable from outside a test program"
)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that panics has failed; it has a stopwatch and a switch"
)]

mod cases;
#[path = "../support/child.rs"]
mod child;
mod delayed;
mod dice;
mod peer;
mod site;
mod statistics;
#[path = "../support/tested.rs"]
mod tested;
mod times;
#[path = "../support/trial.rs"]
mod trial;
#[path = "../support/wait.rs"]
mod wait;
mod words;

use std::process::ExitCode;

use libtest_mimic::Arguments;

use trial::trial;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One after another: they measure.
    arguments.test_threads = Some(1);
    let trials = [
        statistics::trials(),
        words::trials(),
        times::trials(),
        delayed::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit_code()
}
