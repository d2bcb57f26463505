//! The daemon from outside, over real Unix sockets and with a real database.
//!
//! Tests that need a process of their own (signals, a change of user, sockets handed over, a lock that
//! ends with its holder) start this program again with `DOVELATCH_TEST_SERVE` naming a configuration:
//! it then is `dovelatch serve` and nothing else. With `DOVELATCH_TEST_STRANGER` it is a mail process of
//! another user, with `DOVELATCH_TEST_CROWD` a crowd of connections of one.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod accidents;
#[path = "../support/child.rs"]
mod child;
mod crowd;
mod crowds;
mod daemon;
mod descriptors;
mod direct;
mod floods;
mod hostile;
mod load;
mod log_ins;
mod peer;
mod persons;
mod process;
mod removed;
mod restore;
mod secrets;
mod site;
#[path = "../support/skipped.rs"]
mod skipped;
mod sockets;
mod strangers;
#[path = "../support/tested.rs"]
mod tested;
#[path = "../support/trial.rs"]
mod trial;
#[path = "../support/wait.rs"]
#[expect(clippy::disallowed_methods, reason = "how long a test has waited")]
mod wait;
mod watchdog;

use std::process::ExitCode;

use libtest_mimic::Arguments;

use trial::trial;

fn main() -> ExitCode {
    if let Some(config) = daemon::configuration() {
        return daemon::serve(&config);
    }
    if let Some(stranger) = strangers::stranger() {
        return stranger.ask();
    }
    if let Some((user, socket)) = crowd::crowd() {
        return crowd::be(user, &socket);
    }
    let arguments = Arguments::from_args();
    let trials = [
        log_ins::trials(),
        floods::trials(),
        load::trials(),
        persons::trials(),
        restore::trials(),
        secrets::trials(),
        sockets::trials(),
        daemon::trials(),
        direct::trials(),
        strangers::trials(),
        watchdog::trials(),
        accidents::trials(),
        hostile::trials(),
        crowds::trials(),
        descriptors::trials(),
        removed::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit_code()
}
