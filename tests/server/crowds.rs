//! As many connections as there may be, and more: who is served, who waits, who is turned away, and what it costs.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::crowd::{Came, Crowd};
use crate::daemon::{Daemon, only_for_root};
use crate::log_ins::now;
use crate::peer::Peer;
use crate::process::{Process, most_descriptors};
use crate::site::{Site, shown};
use crate::skipped::skipped_if;
use crate::wait::{LONG, until};

const FLOODER: u32 = 47_150;
const OTHER: u32 = 47_160;

/// Connections altogether, and of one user.
const ALL: usize = 12_000;
const OF_ONE: usize = 10_500;

/// Descriptors that the daemon and the larger crowd need for it.
const NEEDED: u64 = 12_600;

pub(crate) fn trials() -> Vec<Trial> {
    let many = only_for_root(
        "twelve_thousand_connections_are_served_and_one_user_has_ten_thousand_five_hundred_of_them_at_most",
        full_house,
    );
    let few = (most_descriptors() < NEEDED).then_some("too few descriptors");
    vec![
        skipped_if(few, many),
        only_for_root(
            "with_few_descriptors_a_flood_on_one_socket_leaves_a_place_to_each_other",
            small_house,
        ),
    ]
}

/// With a socket that everybody may open.
fn site() -> Site {
    let mut site = Site::new();
    site.config.listeners[0].mode = 0o666;
    fs::set_permissions(site.path(), Permissions::from_mode(0o711)).unwrap();
    site
}

fn served(greeted: usize) -> Came {
    Came {
        greeted,
        closed: 0,
        waiting: 0,
    }
}

#[expect(
    clippy::print_stderr,
    reason = "what it costs is told as well as demanded"
)]
fn full_house() {
    let site = site();
    let phone = site.issue("phone");
    let mut daemon = Daemon::start(&site);
    let process = daemon.process();
    let mut peer = Peer::login_process(&site.socket());
    let mut ids = 1..;
    let mut good = |peer: &mut Peer| {
        let begun = now();
        let answer = peer.sign_in(ids.next().unwrap(), "ana@example.org", &shown(&phone));
        assert!(answer.starts_with("OK\t"), "{answer}");
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "{:?}",
            begun.elapsed()
        );
    };
    good(&mut peer);
    let (memory, sockets) = (process.memory(), process.sockets());
    let more = || process.memory().saturating_sub(memory);

    let mut flood = Crowd::of(FLOODER, &site.socket());
    assert_eq!(flood.come(4_000), served(4_000));
    let with_4_000 = more();
    assert!(with_4_000 <= 4_000 * 32, "{with_4_000} KiB for 4,000");
    good(&mut peer);
    good(&mut Peer::login_process(&site.socket()));
    assert_eq!(flood.come(6_000), served(6_000));
    let with_10_000 = more();
    assert!(with_10_000 <= 60 * 1024, "{with_10_000} KiB for 10,000");
    good(&mut peer);
    good(&mut Peer::login_process(&site.socket()));

    // As many as one user may have; what comes beyond is turned away, and takes nobody's place.
    assert_eq!(flood.come(OF_ONE - 10_000), served(OF_ONE - 10_000));
    let turned_away = Came {
        greeted: 0,
        closed: 100,
        waiting: 0,
    };
    assert_eq!(flood.come(100), turned_away);
    daemon.wait_for("connection closed by us: its user has too many");
    good(&mut peer);
    good(&mut Peer::login_process(&site.socket()));

    // As many as there may be altogether; who comes then waits, and nothing spins.
    let left = ALL - OF_ONE - 1;
    let mut others = Crowd::of(OTHER, &site.socket());
    until("the last guest's place", LONG, || {
        (process.sockets() <= sockets + OF_ONE).then_some(())
    });
    assert_eq!(others.come(left), served(left));
    assert_eq!(others.come(3).waiting, 3);
    rests(process);
    good(&mut peer);
    flood.go(5);
    let begun = now();
    assert_eq!(others.greeted_now(), 3);
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(flood.come(2), served(2));

    drop((flood, others));
    until("the end of all connections", LONG, || {
        (process.sockets() == sockets).then_some(())
    });
    let after = more();
    good(&mut peer);
    let mut again = Crowd::of(FLOODER, &site.socket());
    assert_eq!(again.come(10_000), served(10_000));
    let second = more();
    assert!(
        second <= with_10_000 + 16 * 1024,
        "{second} KiB for 10,000 more, after {with_10_000}"
    );
    eprintln!(
        "KiB more: {with_4_000} with 4,000, {with_10_000} with 10,000, {after} when all were gone, \
         {second} with 10,000 again"
    );
}

/// A process that waits does not spin: less than 5 % of a processor, for two seconds.
pub(crate) fn rests(process: Process) {
    let (begun, used) = (now(), process.time());
    // Not to wait for something: this is how long is measured.
    std::thread::sleep(Duration::from_secs(2));
    let (took, used) = (begun.elapsed(), process.time() - used);
    assert!(used < took / 20, "{used:?} of {took:?}");
}

fn small_house() {
    let mut site = site();
    let mut other = site.config.listeners[0].clone();
    other.name = "other".to_owned();
    other.path = site.path().join("other");
    site.config.listeners.push(other.clone());
    let phone = site.issue("phone");
    let mut daemon = Daemon::spawn(&mut crate::descriptors::limited(&site, "ulimit -n 64"));
    daemon.wait_for("serving sockets=2");
    let mut flood = Crowd::of(FLOODER, &site.socket());
    let came = flood.come(20);
    assert!(came.waiting > 0 && came.closed == 0, "{came:?}");
    let mut peer = Peer::login_process(&other.path);
    let answer = peer.sign_in(1, "ana@example.org", &shown(&phone));
    assert!(answer.starts_with("OK\t"), "{answer}");
    rests(daemon.process());
}
