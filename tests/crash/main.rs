//! Nothing is lost: SIGKILL at random instants, and the power cut.
//!
//! The short form is part of `cargo test`. The long form, and single runs:
//!
//! ```text
//! tests/crash/run                     1,000 kills, and all power cuts of a longer recording
//! tests/crash/run --kills 5000        so many kills
//! tests/crash/run --seed 7            what is drawn at random is drawn from this seed
//! ```
//!
//! which set `DOVELATCH_CRASH` (`long`), `DOVELATCH_CRASH_KILLS` and `DOVELATCH_CRASH_SEED` and start this
//! program. Without a seed each run draws another and prints it. A seed repeats what is asked for and where
//! it is cut; how far the machine had come at the instant of a kill, nothing can repeat.
//!
//! `ledger` is what must be true, kept outside of the database; `site` the real program and its socket;
//! `judge` the real verifier in this process. `kills` is the first campaign, `recorder.c`, `tape`,
//! `recording` and `power` are the second. `README.md` has the figures of the last long run.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed"
)]

mod big_log;
#[path = "../support/child.rs"]
mod child;
mod dice;
mod judge;
mod kills;
mod ledger;
mod power;
mod recording;
mod site;
mod tape;
#[path = "../support/tested.rs"]
mod tested;
#[path = "../support/trial.rs"]
mod trial;
#[path = "../support/wait.rs"]
#[expect(
    clippy::disallowed_methods,
    reason = "shared with harnesses that are crates of more than one level; it measures its own deadline"
)]
mod wait;

use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Instant;

use libtest_mimic::Arguments;

use trial::trial;

fn main() -> ExitCode {
    if let Some(database) = setting(big_log::SWITCH) {
        return big_log::read_for_ever(database.as_ref());
    }
    if let Some(database) = setting(recording::SWITCH) {
        return recording::cut_log(database.into());
    }
    let arguments = Arguments::from_args();
    let trials = vec![
        trial(
            "whatever_is_killed_nothing_acknowledged_is_lost_and_nobody_refused_gets_in",
            || kills::campaign(kills(), seed()),
        ),
        trial(
            "what_the_tape_says_is_what_lies_on_the_disk",
            power::nothing_is_missed,
        ),
        trial(
            "the_recording_has_everything_in_it_that_a_power_cut_could_spoil",
            power::all_is_in_it,
        ),
        trial(
            "a_success_line_comes_when_nothing_of_the_change_is_pending",
            power::synced_before_success,
        ),
        trial(
            "a_new_database_has_its_name_for_good_before_success",
            power::name_lasts_before_success,
        ),
        trial(
            "no_power_cut_loses_what_was_acknowledged_or_lets_a_refused_one_in",
            power::nothing_is_lost,
        ),
        trial(
            "the_campaign_notices_a_commit_that_was_not_synced",
            power::a_missing_sync_is_noticed,
        ),
        trial(
            "after_a_kill_with_a_long_log_a_good_log_in_comes_soon",
            big_log::back_soon,
        ),
        trial(
            "the_log_stays_short_however_much_is_changed_and_read",
            big_log::bounded,
        ),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// How much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Short,
    Long,
}

impl Extent {
    fn of_this_run() -> Self {
        match setting("DOVELATCH_CRASH").as_deref() {
            None => Self::Short,
            Some("long") => Self::Long,
            Some(other) => panic!("DOVELATCH_CRASH is {other:?}, not \"long\""),
        }
    }
}

/// Kills of the first campaign.
fn kills() -> usize {
    let set = setting("DOVELATCH_CRASH_KILLS");
    set.map_or(
        match Extent::of_this_run() {
            Extent::Short => 40,
            Extent::Long => 1_000,
        },
        |text| text.parse().expect("a number of kills"),
    )
}

/// The seed of this run, the same for all of it.
fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| {
        let drawn = || dovelatch::clock::now().as_unix().unsigned_abs();
        let set = setting("DOVELATCH_CRASH_SEED");
        let seed = set.map_or_else(drawn, |text| text.parse().expect("a number as a seed"));
        tell(&format!("seed {seed}"));
        seed
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the switches of this test program"
)]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[expect(clippy::disallowed_methods, reason = "a bound is measured")]
fn now() -> Instant {
    Instant::now()
}

#[expect(
    clippy::print_stderr,
    reason = "the figures of a run are what it is for"
)]
fn tell(text: &str) {
    eprintln!("crash: {text}");
}
