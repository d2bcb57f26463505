//! A host that fails around the daemon: what is answered meanwhile, and that all is normal again when the
//! cause is gone, without a restart.
//!
//! Each case is the real daemon and the real command line. Three passwords are tried, each on a connection
//! that was open before and on a new one: a good one, a wrong one and a revoked one. While the cause lasts
//! an answer is the right verdict or *try later*, and within a second of its end all are right.
//!
//! | cause | proven by |
//! | --- | --- |
//! | disk full; full at the start | [`full`] |
//! | file system read-only; at the start | [`read_only`] |
//! | locked for 30 s by a stranger | [`locked`] |
//! | bytes of the database flipped, 500 times | [`flipped`] |
//! | truncated, of zero length, missing, replaced | [`replaced`] |
//! | `-wal` or `-shm` deleted, or root's | [`replaced`]; `log_deleted` in `tests/server/daemon.rs` |
//! | the disk does not answer | [`hung`] |
//! | clock set forward and back by ten years | [`clock`] |
//! | descriptors 0 to 2 closed, odd environment, signals, memory or threads short | [`process`] |
//! | SIGHUP, SIGTERM twice | `tests/server/daemon.rs` |
//! | few descriptors, or none left | `tests/server/descriptors.rs` |
//! | a socket removed, ours or systemd's | `tests/server/removed.rs` |
//! | the reader of the log stalled or gone | [`log`] |
//!
//! Mounts need root: then this program runs in a mount namespace of its own, and nothing of it stays,
//! however it ends. Anybody else skips those cases.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that panics has failed, and says why"
)]

#[path = "../support/child.rs"]
mod child;
mod client;
mod clock;
mod daemon;
#[path = "../support/dice.rs"]
mod dice;
mod flipped;
mod full;
mod host;
mod hung;
mod locked;
mod log;
mod mount;
#[path = "../server/peer.rs"]
#[expect(dead_code, reason = "another harness needs more of it")]
mod peer;
mod process;
mod read_only;
mod replaced;
#[path = "../support/skipped.rs"]
mod skipped;
#[path = "../support/tested.rs"]
mod tested;
#[path = "../support/trial.rs"]
mod trial;
#[path = "../support/wait.rs"]
#[expect(
    clippy::disallowed_methods,
    reason = "shared with other harnesses, and waits"
)]
mod wait;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use skipped::skipped_if;
use trial::trial;

fn main() -> ExitCode {
    if let Some(ended) = mount::in_a_namespace_of_its_own() {
        return ended;
    }
    let arguments = Arguments::from_args();
    let trials = [
        full::trials(),
        read_only::trials(),
        locked::trials(),
        flipped::trials(),
        replaced::trials(),
        clock::trials(),
        hung::trials(),
        process::trials(),
        log::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit_code()
}

/// A test that mounts, or becomes another user.
fn only_for_root(name: &str, test: fn()) -> Trial {
    skipped_if(mount::refused(), trial(name, test))
}
