//! Ending sessions against stand-ins that behave and misbehave as a Dovecot may: an anvil of 2.4 with
//! sessions in it, one that keeps silent, hangs or hangs up; a `doveadm` of either version, and one that
//! hangs. What they say was recorded from Dovecot 2.3.19 and 2.4.1. That nobody waits longer than
//! promised is measured in each.

#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed, and a bound is measured"
)]

mod anvil;
mod doveadm;
#[path = "../support/program.rs"]
mod program;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use dovelatch::config::{Dovecot, Kick};
use dovelatch::kick::{self, Ended, Failure, Target, WITHIN};

use anvil::{Anvil, Manner};
use doveadm::{Doveadm, V23, V24};

/// What starting and reaping processes may add on a busy machine.
const SLACK: Duration = Duration::from_millis(500);

const PHONE: &str = "dp-aaaaaaaaaa";
const LAPTOP: &str = "dp-bbbbbbbbbb";

/// A Dovecot in a directory: nothing is there until a stand-in is put there.
fn dovecot(directory: &Path, kick: Kick) -> Dovecot {
    Dovecot {
        kick,
        base_dir: directory.to_owned(),
        doveadm: directory.join("doveadm"),
        config: None,
    }
}

fn device(id: &str) -> Target {
    Target::Device {
        id: id.parse().unwrap(),
        mailboxes: ["bob@example.org".parse().unwrap()].into(),
    }
}

/// Ends the sessions, within the time that is promised.
fn end(dovecot: &Dovecot, targets: &[Target]) -> Ended {
    end_from(dovecot, targets, &mut |_| BTreeSet::new())
}

fn end_from(
    dovecot: &Dovecot,
    targets: &[Target],
    addresses: &mut dyn FnMut(&Target) -> BTreeSet<IpAddr>,
) -> Ended {
    let start = Instant::now();
    let ended = kick::end(dovecot, targets, addresses);
    let took = start.elapsed();
    assert!(took < WITHIN + SLACK, "{took:?} for {ended:?}");
    ended
}

fn failure(ended: Ended) -> Failure {
    let Ended::Failed(failure) = ended else {
        panic!("not a failure: {ended:?}");
    };
    failure
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn where_no_dovecot_is_nobody_waits() {
    let directory = scratch();
    let start = Instant::now();
    let ended = end(&dovecot(directory.path(), Kick::Auto), &[device(PHONE)]);
    assert_eq!(ended, Ended::NotAsked);
    assert!(start.elapsed() < SLACK);
}

#[test]
fn dovecot_that_must_not_be_asked_hears_nothing() {
    let directory = scratch();
    let anvil = Anvil::start(directory.path(), Manner::Well, &[PHONE]);
    let doveadm = Doveadm::with_usage(directory.path(), V24);
    let ended = end(&dovecot(directory.path(), Kick::Off), &[device(PHONE)]);
    assert_eq!(ended, Ended::NotAsked);
    assert_eq!(anvil.heard(), Vec::<String>::new());
    assert_eq!(doveadm.ran(), Vec::<String>::new());
}

#[test]
fn anvil_ends_the_sessions_of_that_device_and_counts_them() {
    let directory = scratch();
    let anvil = Anvil::start(directory.path(), Manner::Well, &[PHONE, LAPTOP, PHONE]);
    let ended = end(&dovecot(directory.path(), Kick::Auto), &[device(PHONE)]);
    assert_eq!(ended, Ended::Counted { ended: 2, open: 0 });
    assert_eq!(anvil.sessions(), [LAPTOP]);
}

#[test]
fn session_that_registers_after_the_first_kick_is_ended_by_a_later_one() {
    let directory = scratch();
    let anvil = Anvil::start(directory.path(), Manner::Late, &[PHONE]);
    let ended = end(&dovecot(directory.path(), Kick::Anvil), &[device(PHONE)]);
    assert_eq!(ended, Ended::Counted { ended: 2, open: 0 });
    assert_eq!(anvil.sessions(), Vec::<String>::new());
}

#[test]
fn several_targets_share_one_connection() {
    let directory = scratch();
    let anvil = Anvil::start(directory.path(), Manner::Well, &[PHONE, LAPTOP]);
    let bob = Target::Mailbox("bob@example.org".parse().unwrap());
    let targets = [device(PHONE), device(LAPTOP), bob];
    let ended = end(&dovecot(directory.path(), Kick::Anvil), &targets);
    assert_eq!(ended, Ended::Counted { ended: 2, open: 0 });
    assert_eq!(anvil.connections(), 1);
    assert!(
        anvil
            .heard()
            .contains(&"KICK-USER\tbob@example.org".to_owned())
    );
}

#[test]
fn session_that_does_not_end_is_reported_as_open() {
    let directory = scratch();
    let _anvil = Anvil::start(directory.path(), Manner::Deaf, &[PHONE]);
    let ended = end(&dovecot(directory.path(), Kick::Anvil), &[device(PHONE)]);
    assert_eq!(ended, Ended::Counted { ended: 0, open: 1 });
}

#[test]
fn anvil_that_hangs_after_its_greeting_costs_four_seconds() {
    let directory = scratch();
    let doveadm = Doveadm::with_usage(directory.path(), V24);
    let _anvil = Anvil::start(directory.path(), Manner::Hangs, &[]);
    let failure = failure(end(
        &dovecot(directory.path(), Kick::Auto),
        &[device(PHONE)],
    ));
    assert!(failure.why.contains("gave no answer"), "{}", failure.why);
    assert_eq!(
        failure.commands,
        ["doveadm kick -f user_device dp-aaaaaaaaaa"]
    );
    assert_eq!(
        doveadm.ran(),
        Vec::<String>::new(),
        "there is no time left for it"
    );
}

#[test]
fn anvil_that_hangs_up_leaves_it_to_doveadm() {
    let directory = scratch();
    let _anvil = Anvil::start(directory.path(), Manner::HangsUp, &[]);
    let doveadm = Doveadm::with_usage(directory.path(), V24);
    let ended = end(&dovecot(directory.path(), Kick::Auto), &[device(PHONE)]);
    assert_eq!(ended, Ended::Asked { kicks: 1 });
    assert!(!doveadm.ran().is_empty());
}

#[test]
fn anvil_that_never_greets_is_left_alone() {
    let directory = scratch();
    let anvil = Anvil::start(directory.path(), Manner::Silent, &[]);
    let failure = failure(end(
        &dovecot(directory.path(), Kick::Anvil),
        &[device(PHONE)],
    ));
    assert!(failure.why.contains("does not greet"), "{}", failure.why);
    assert_eq!(
        failure.commands,
        [
            "doveadm kick -f user_device dp-aaaaaaaaaa  # Dovecot 2.4",
            "doveadm kick -f bob@example.org  # Dovecot 2.3",
        ]
    );
    assert_eq!(
        anvil.heard(),
        Vec::<String>::new(),
        "2.3's would log an error for each line of ours"
    );
}

#[test]
fn anvil_that_hangs_up_is_a_failure_that_says_so() {
    let directory = scratch();
    let _anvil = Anvil::start(directory.path(), Manner::HangsUp, &[]);
    let failure = failure(end(
        &dovecot(directory.path(), Kick::Auto),
        &[device(PHONE)],
    ));
    assert!(
        failure.why.contains("closed the connection"),
        "{}",
        failure.why
    );
}

#[test]
fn anvil_that_is_gone_leaves_a_socket_and_a_failure() {
    let directory = scratch();
    drop(std::os::unix::net::UnixListener::bind(directory.path().join("anvil")).unwrap());
    let doveadm = Doveadm::with_usage(directory.path(), V24);
    let failure = failure(end(
        &dovecot(directory.path(), Kick::Auto),
        &[device(PHONE)],
    ));
    assert!(failure.why.contains("cannot connect"), "{}", failure.why);
    assert!(!failure.is_denied);
    assert_eq!(doveadm.ran(), Vec::<String>::new(), "it would hang");
}

#[test]
fn doveadm_of_2_4_is_told_the_device_again_and_again() {
    let directory = scratch();
    let doveadm = Doveadm::with_usage(directory.path(), V24);
    let mut dovecot = dovecot(directory.path(), Kick::Doveadm);
    dovecot.config = Some("/etc/dovecot/other.conf".into());
    let ended = end(&dovecot, &[device(PHONE)]);
    assert_eq!(ended, Ended::Asked { kicks: 1 });
    let ran = doveadm.ran();
    let kick = "-c /etc/dovecot/other.conf kick -f user_device dp-aaaaaaaaaa";
    assert!(
        ran.len() > 2 && ran.iter().all(|ran| ran == kick),
        "{ran:?}"
    );
}

#[test]
fn doveadm_of_2_3_is_told_addresses_and_those_that_come_late_too() {
    let directory = scratch();
    let _silent = Anvil::start(directory.path(), Manner::Silent, &[]);
    let doveadm = Doveadm::with_usage(directory.path(), V23);
    let mut rounds = 0;
    let mut addresses = |_: &Target| {
        rounds += 1;
        let known = ["192.0.2.7", "2001:db8::7"].iter().take(rounds);
        known.map(|address| address.parse().unwrap()).collect()
    };
    let dovecot = dovecot(directory.path(), Kick::Auto);
    let ended = end_from(&dovecot, &[device(PHONE)], &mut addresses);
    // Of the round with most: nobody is told that nothing was ended because an address came late.
    assert_eq!(ended, Ended::Asked { kicks: 2 });
    let ran: BTreeSet<String> = doveadm.ran().into_iter().collect();
    let expected = [
        "kick -f bob@example.org 192.0.2.7",
        "kick -f bob@example.org 2001:db8::7",
    ];
    assert_eq!(ran, expected.map(str::to_owned).into());
}

#[test]
fn doveadm_of_2_3_is_not_run_for_a_name_that_is_a_mask() {
    let directory = scratch();
    let doveadm = Doveadm::with_usage(directory.path(), V23);
    let mask = Target::Mailbox("bob?@example.org".parse().unwrap());
    let dovecot = dovecot(directory.path(), Kick::Doveadm);
    let targets = [mask, Target::Mailbox("ana@example.org".parse().unwrap())];
    let failure = failure(end(&dovecot, &targets));
    assert_eq!(failure.commands, ["doveadm kick -f 'bob?@example.org'"]);
    let ran: BTreeSet<String> = doveadm.ran().into_iter().collect();
    assert_eq!(ran, ["kick -f ana@example.org".to_owned()].into());
}

#[test]
fn doveadm_that_hangs_is_killed_in_time_and_leaves_no_zombie() {
    let directory = scratch();
    let doveadm = Doveadm::that_hangs(directory.path(), V24);
    let failure = failure(end(
        &dovecot(directory.path(), Kick::Doveadm),
        &[device(PHONE)],
    ));
    assert!(failure.why.contains("did not end"), "{}", failure.why);
    assert!(!Path::new("/proc").join(doveadm.process()).exists());
}

#[test]
fn many_devices_are_ended_until_the_time_is_over_and_the_rest_is_said() {
    let directory = scratch();
    let _doveadm = Doveadm::that_takes(directory.path(), V24, "0.5");
    let letters = "abcdefghijkm".chars();
    let devices: Vec<Target> = letters
        .map(|letter| device(&format!("dp-{}", letter.to_string().repeat(10))))
        .collect();
    let failure = failure(end(&dovecot(directory.path(), Kick::Doveadm), &devices));
    let left = failure.commands.len();
    assert!((1..devices.len()).contains(&left), "{left} are left");
    assert_eq!(
        failure.commands.last().unwrap(),
        "doveadm kick -f user_device dp-mmmmmmmmmm"
    );
}

#[test]
fn stock_auth_forgets_the_mailbox_before_the_first_kick_and_after_the_last() {
    let directory = scratch();
    let auth = anvil::StockAuth::start(directory.path());
    let _doveadm = Doveadm::with_usage(directory.path(), V24);
    end(&dovecot(directory.path(), Kick::Auto), &[device(PHONE)]);
    assert_eq!(
        auth.heard(),
        [
            "VERSION\t1\t1",
            "CACHE-FLUSH\t1\tbob@example.org",
            "VERSION\t1\t1",
            "CACHE-FLUSH\t1\tbob@example.org",
        ]
    );
}
