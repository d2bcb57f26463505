//! Log-ins over a socket: who gets in, and when the answer leaves.

use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::peer::{Peer, plain};
use crate::site::{DELAY, Site, shown};
use crate::trial;

/// Twenty letters that open nothing, but for one guess in 25^20.
pub(crate) const WRONG: &str = "aaaa-aaaa-aaaa-aaaa-aaaa";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_good_log_in_is_answered_at_once_and_costs_one_hash", good),
        trial(
            "a_wrong_password_is_refused_after_the_delay_and_not_before",
            wrong,
        ),
        trial(
            "a_revoked_password_is_refused_on_a_connection_opened_before",
            revoked,
        ),
        trial("no_verdict_follows_a_cancel_during_the_delay", cancelled),
        trial("a_good_log_in_overtakes_another_users_refusal", overtaking),
        trial("a_half_closed_peer_gets_its_answers", half_closed),
        trial("bad_base64_fails_its_own_request_only", bad_base64),
        trial("a_broken_protocol_closes_its_own_connection_only", broken),
        trial("a_line_that_is_too_long_closes_the_connection", too_long),
        trial(
            "a_peer_that_never_reads_holds_up_nobody_else",
            never_reading,
        ),
        trial("a_stop_answers_what_is_in_flight", stop),
        trial("an_idle_connection_ends_with_the_daemon_at_once", stop_idle),
        trial(
            "a_missing_database_is_try_later_until_it_is_there",
            database_missing,
        ),
        trial(
            "a_replaced_database_is_try_later_until_a_reload",
            database_replaced,
        ),
    ]
}

#[expect(clippy::disallowed_methods, reason = "a bound is measured")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

fn good() {
    let site = Site::new();
    let phone = site.issue("phone");
    let running = site.start();
    let mut peer = Peer::login_process(&site.socket());
    let begun = now();
    let answer = peer.sign_in(1, "Ana@Example.ORG", &shown(&phone));
    assert!(
        answer.starts_with("OK\t1\tuser=ana@example.org"),
        "{answer}"
    );
    assert_eq!(running.hashes(), 1);
    assert!(begun.elapsed() < Duration::from_secs(4));
    assert!(
        peer.sign_in(2, "ana@example.org", WRONG)
            .starts_with("FAIL\t2\tuser=ana@example.org")
    );
    running.stop();
}

fn wrong() {
    let site = Site::new();
    let running = site.start();
    let mut peer = Peer::postfix(&site.socket());
    for (id, user) in [(1, "ana@example.org"), (2, "nobody@example.org")] {
        let begun = now();
        let answer = peer.sign_in(id, user, WRONG);
        assert!(begun.elapsed() >= DELAY);
        assert_eq!(answer, format!("FAIL\t{id}\tuser={user}"));
    }
    assert_eq!(running.hashes(), 0);
    running.stop();
}

fn revoked() {
    let site = Site::new();
    let phone = site.issue("phone");
    let running = site.start();
    let mut peer = Peer::login_process(&site.socket());
    assert!(
        peer.sign_in(1, "ana@example.org", &shown(&phone))
            .starts_with("OK\t1\t")
    );
    let mut admin = site.admin();
    let by = admin.actor.clone();
    admin
        .store
        .revoke(
            std::slice::from_ref(&phone.device.id),
            &by,
            dovelatch::clock::now(),
        )
        .unwrap();
    assert!(
        peer.sign_in(2, "ana@example.org", &shown(&phone))
            .starts_with("FAIL\t2\t")
    );
    running.stop();
}

fn cancelled() {
    let site = Site::new();
    let running = site.start();
    let mut peer = Peer::login_process(&site.socket());
    peer.plain(1, "ana@example.org", WRONG);
    peer.say("CANCEL\t1");
    // The id is free again, and the first refusal must not be taken for this one's.
    let begun = now();
    let answer = peer.sign_in(1, "ben@example.org", WRONG);
    assert_eq!(answer, "FAIL\t1\tuser=ben@example.org");
    assert!(begun.elapsed() >= DELAY);
    peer.end();
    assert!(peer.is_closed(), "one request, one answer");
    running.stop();
}

fn overtaking() {
    let site = Site::new();
    let phone = site.issue("phone");
    let running = site.start();
    let mut peer = Peer::login_process(&site.socket());
    peer.plain(1, "ben@example.org", WRONG);
    peer.plain(2, "ana@example.org", &shown(&phone));
    assert!(peer.line().starts_with("OK\t2\tuser=ana@example.org"));
    assert_eq!(peer.line(), "FAIL\t1\tuser=ben@example.org");
    running.stop();
}

fn half_closed() {
    let site = Site::new();
    let phone = site.issue("phone");
    let running = site.start();
    let mut peer = Peer::login_process(&site.socket());
    peer.plain(1, "ben@example.org", WRONG);
    peer.plain(2, "ana@example.org", &shown(&phone));
    peer.end();
    assert!(peer.line().starts_with("OK\t2\t"));
    assert!(peer.line().starts_with("FAIL\t1\t"));
    assert!(peer.is_closed());
    running.stop();
}

fn bad_base64() {
    let site = Site::new();
    let phone = site.issue("phone");
    let running = site.start();
    let mut peer = Peer::login_process(&site.socket());
    peer.say("AUTH\t1\tPLAIN\tservice=imap\tresp=AAA");
    assert!(peer.line().starts_with("FAIL\t1"));
    assert!(
        peer.sign_in(2, "ana@example.org", &shown(&phone))
            .starts_with("OK\t2\t")
    );
    running.stop();
}

fn broken() {
    let site = Site::new();
    let phone = site.issue("phone");
    let running = site.start();
    let mut other = Peer::login_process(&site.socket());
    for line in [
        "VERSION\t2\t0",
        "AUTH\t0\tPLAIN\tservice=imap\tresp=",
        "AUTH\t1\tPLAIN\tresp=",
    ] {
        let mut peer = Peer::login_process(&site.socket());
        peer.say(line);
        assert!(peer.is_closed(), "{line:?}");
    }
    assert!(
        other
            .sign_in(2, "ana@example.org", &shown(&phone))
            .starts_with("OK\t2\t")
    );
    running.stop();
}

fn too_long() {
    let site = Site::new();
    let running = site.start();
    let peer = Peer::login_process(&site.socket());
    // The daemon may hang up before it was offered all of it.
    let _ = peer.stream().write_all(&[b'x'; 16 * 1024 + 1]);
    let mut rest = String::new();
    let end = std::io::Read::read_to_string(&mut peer.stream(), &mut rest);
    // What was not read is lost with a reset. That nothing comes for a long time is no end.
    let ended = match end {
        Ok(length) => length == 0,
        Err(error) => matches!(
            error.kind(),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
        ),
    };
    assert!(ended);
    running.stop();
}

fn never_reading() {
    let site = Site::new();
    let phone = site.issue("phone");
    let running = site.start();
    let deaf = Peer::login_process(&site.socket());
    // Answers of some 80 bytes at once, until neither side's buffers take any more.
    deaf.stream()
        .set_write_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let flood: String = (1..=10_000)
        .map(|id| format!("AUTH\t{id}\tPLAIN\tservice=imap\tresp=AAA\n"))
        .collect();
    // Some 4 MB of questions, and 8 MB of answers: far more than all buffers on the way hold.
    let stuck = (0..10).find_map(|_| deaf.stream().write_all(flood.as_bytes()).err());
    // Not closed by us: a peer that was given up has made us keep its answers until then.
    assert_eq!(
        stuck.map(|error| error.kind()),
        Some(ErrorKind::WouldBlock),
        "the daemon must wait for its peer"
    );
    let mut peer = Peer::login_process(&site.socket());
    assert!(
        peer.sign_in(1, "ana@example.org", &shown(&phone))
            .starts_with("OK\t1\t")
    );
    drop(deaf); // A stop would wait for it.
    running.stop();
}

fn stop() {
    let site = Site::new();
    let phone = site.issue("phone");
    let running = site.start();
    let mut peer = Peer::login_process(&site.socket());
    let lines = [
        plain(1, "ben@example.org", WRONG),
        plain(2, "ana@example.org", &shown(&phone)),
    ];
    peer.say(&lines.join("\n"));
    running.stop();
    assert!(peer.line().starts_with("OK\t2\t"));
    assert!(peer.line().starts_with("FAIL\t1\t"));
    assert!(peer.is_closed());
    assert!(!site.socket().exists());
}

fn stop_idle() {
    let site = Site::new();
    let running = site.start();
    let mut peers: Vec<Peer> = (0..20).map(|_| Peer::postfix(&site.socket())).collect();
    let begun = now();
    running.stop();
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "an idle connection held up the stop"
    );
    assert!(peers.iter_mut().all(Peer::is_closed));
}

fn database_missing() {
    let site = Site::bare();
    let running = site.start();
    let mut peer = Peer::login_process(&site.socket());
    let answer = peer.sign_in(1, "ana@example.org", WRONG);
    assert!(
        answer.starts_with("FAIL\t1\t") && answer.contains("code=temp_fail"),
        "{answer}"
    );
    let mut postfix = Peer::postfix(&site.socket());
    postfix.plain(1, "ana@example.org", WRONG);
    assert!(
        postfix.is_closed(),
        "to Postfix every FAIL is a wrong password"
    );

    site.make_database();
    let phone = site.issue("phone");
    let answered = (2..).map(|id| {
        std::thread::sleep(Duration::from_millis(20)); // Not to wait for: to ask less often.
        peer.sign_in(id, "ana@example.org", &shown(&phone))
    });
    let begun = now();
    let good = answered
        .take_while(|_| begun.elapsed() < Duration::from_secs(10))
        .find(|answer| !answer.contains("code=temp_fail"));
    assert!(good.expect("10 s are enough").starts_with("OK\t"));
    running.stop();
}

fn database_replaced() {
    let (site, other) = (Site::new(), Site::new());
    let phone = other.issue("phone");
    let running = site.start();
    let mut peer = Peer::login_process(&site.socket());
    assert!(
        peer.sign_in(1, "ben@example.org", WRONG)
            .starts_with("FAIL\t1\tuser=ben@example.org")
    );
    let copy = site.path().join("copy.db");
    other.admin().store.backup(&copy).unwrap();
    std::fs::rename(&copy, &site.config.database).unwrap();
    let answer = peer.sign_in(2, "ana@example.org", &shown(&phone));
    assert!(answer.contains("code=temp_fail"), "{answer}");
    running.reload();
    let begun = now();
    let mut ids = 3..;
    let good = std::iter::from_fn(|| ids.next())
        .map(|id| peer.sign_in(id, "ana@example.org", &shown(&phone)))
        .take_while(|_| begun.elapsed() < Duration::from_secs(10))
        .find(|answer| !answer.contains("code=temp_fail"));
    assert!(good.expect("10 s are enough").starts_with("OK\t"));
    running.stop();
}
