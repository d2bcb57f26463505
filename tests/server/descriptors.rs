//! Few descriptors: who is connected is served, who is not waits, and the database has its own.

use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::crowds::rests;
use crate::daemon::{Daemon, SWITCH, until_verified};
use crate::log_ins::{WRONG, now};
use crate::peer::Peer;
use crate::process::most_descriptors;
use crate::site::{Site, shown};
use crate::trial;
use crate::wait::{LONG, until};

/// Far more than 64 descriptors are enough for.
const CLIENTS: usize = 200;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "with_64_descriptors_200_clients_wait_their_turn_and_the_database_is_not_short_of_any",
            few,
        ),
        trial(
            "where_a_soft_limit_alone_is_low_it_is_raised_and_all_are_served",
            soft_limit,
        ),
        trial(
            "without_a_free_descriptor_it_waits_without_spinning_and_goes_on_within_a_second",
            none_left,
        ),
    ]
}

/// The daemon behind a shell's `ulimit`.
pub(crate) fn limited(site: &Site, limit: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{limit}; exec \"$0\"")])
        .arg(std::env::current_exe().unwrap())
        .env(SWITCH, site.file());
    command
}

fn crowd(site: &Site) -> Vec<UnixStream> {
    let connect = |_| UnixStream::connect(site.socket()).unwrap();
    (0..CLIENTS).map(connect).collect()
}

fn few() {
    let site = Site::new();
    let phone = site.issue("phone");
    let mut daemon = Daemon::spawn(&mut limited(&site, "ulimit -n 64"));
    daemon.wait_for("few connections");
    daemon.wait_for("serving sockets=1");
    let mut peer = Peer::login_process(&site.socket());
    let crowd = crowd(&site);
    rests(daemon.process());
    // Nobody has signed in yet: the threads open the database now.
    let answer = peer.sign_in(1, "ana@example.org", &shown(&phone));
    assert!(answer.starts_with("OK\t"), "{answer}");
    let answer = peer.sign_in(2, "ana@example.org", WRONG);
    assert!(
        answer.starts_with("FAIL\t2\tuser=ana@example.org"),
        "{answer}"
    );
    assert!(!answer.contains("code="), "{answer}");
    goes_on(&site, || drop(crowd));
    assert!(!daemon.log().contains("cannot accept"), "{}", daemon.log());
}

/// Whoever waits is greeted within a second after the cause has ended.
fn goes_on(site: &Site, ends: impl FnOnce()) {
    let mut waits = Peer::bare(&site.socket());
    ends();
    let begun = now();
    assert!(waits.line().starts_with("VERSION\t"));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
}

fn soft_limit() {
    let site = Site::new();
    let mut daemon = Daemon::spawn(&mut limited(&site, "ulimit -Sn 64"));
    daemon.wait_for("serving sockets=1");
    let crowd = crowd(&site);
    let process = daemon.process();
    until("all of them to be served", LONG, || {
        (process.descriptors() > CLIENTS).then_some(())
    });
    drop(crowd);
    let told = daemon.log().contains("few connections");
    assert_eq!(told, most_descriptors() < 12_100, "{}", daemon.log());
}

/// Somebody takes them away while the daemon runs: nothing was reckoned with that.
fn none_left() {
    let site = Site::new();
    let phone = site.issue("phone");
    let mut daemon = Daemon::start(&site);
    let process = daemon.process();
    let mut peer = Peer::login_process(&site.socket());
    let first = until_verified(|id| peer.sign_in(id, "ana@example.org", &shown(&phone)));
    assert!(first.starts_with("OK\t"), "{first}");
    let open = u64::try_from(process.descriptors()).unwrap();
    process.limit_descriptors(open + 5);
    let _crowd = crowd(&site);
    daemon.wait_for("cannot accept connections");
    rests(process);
    let answer = peer.sign_in(1_000, "ana@example.org", &shown(&phone));
    assert!(answer.starts_with("OK\t"), "{answer}");
    goes_on(&site, || process.limit_descriptors(most_descriptors()));
}
