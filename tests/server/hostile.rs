//! Peers that may connect and do not behave: each harms itself, and costs a bounded amount of everything.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use data_encoding::BASE64;
use libtest_mimic::Trial;

use crate::daemon::Daemon;
use crate::log_ins::now;
use crate::peer::{Peer, plain};
use crate::site::{Site, shown};
use crate::trial;
use crate::wait::{LONG, until};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "a_line_of_100_mib_ends_its_connection_and_takes_no_memory",
            endless_line,
        ),
        trial("100_mib_of_the_longest_lines_take_no_memory", long_lines),
        trial(
            "peers_that_never_read_take_little_memory_and_nobodys_time",
            never_reading,
        ),
        trial(
            "a_thousand_requests_are_open_on_one_connection_and_beyond_1024_the_oldest_is_forgotten",
            in_flight,
        ),
        trial(
            "who_makes_us_hold_more_than_there_is_room_for_is_closed_and_nobody_else",
            holding_much,
        ),
        trial(
            "connections_that_send_without_end_starve_no_other",
            endless_commands,
        ),
        trial(
            "ten_thousand_aborted_exchanges_leave_nothing_behind",
            aborted,
        ),
        trial("a_log_in_may_come_a_byte_at_a_time", byte_by_byte),
        trial(
            "who_hangs_up_anywhere_leaves_nothing_behind",
            hung_up_anywhere,
        ),
        trial("who_changes_their_mind_gets_the_last_word", changed_mind),
        trial("nothing_of_a_broken_line_reaches_the_log", broken_lines),
        trial(
            "what_stopped_being_read_is_read_again_within_a_second_after_the_flood",
            after_the_flood,
        ),
    ]
}

/// Memory may grow by so many KiB without being a leak: pages that the allocator has cut for the next.
const SLACK: u64 = 4 * 1024;

fn good(peer: &mut Peer, id: u32, password: &str) {
    let answer = peer.sign_in(id, "ana@example.org", password);
    assert!(answer.starts_with(&format!("OK\t{id}\t")), "{answer}");
}

/// A site with a device, its daemon, a peer that has signed in, and the password.
fn warmed_up() -> (Site, Daemon, Peer, String) {
    let site = Site::new();
    let password = shown(&site.issue("phone"));
    let daemon = Daemon::start(&site);
    let mut peer = Peer::login_process(&site.socket());
    good(&mut peer, 1, &password);
    (site, daemon, peer, password)
}

fn endless_line() {
    let (site, daemon, mut peer, password) = warmed_up();
    let before = daemon.process().memory();
    let endless = Peer::login_process(&site.socket());
    let piece = vec![b'x'; 1 << 20];
    let sent = (0..100).find_map(|_| endless.stream().write_all(&piece).err());
    let error = sent.expect("100 MiB were taken");
    assert!(
        matches!(
            error.kind(),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
        ),
        "{error:?}"
    );
    let more = daemon.process().memory().saturating_sub(before);
    assert!(more < SLACK, "{more} KiB");
    good(&mut peer, 2, &password);
}

fn long_lines() {
    const LINES: usize = 6_500;
    let (site, daemon, mut peer, password) = warmed_up();
    let before = daemon.process().memory();
    let long = Peer::login_process(&site.socket());
    // As long as a line may be, and no base64.
    let head = "AUTH\t9\tPLAIN\tservice=imap\tresp=";
    let line = format!("{head}{}\n", "A".repeat(16 * 1024 - head.len() - 1) + "!");
    let mut stream = long.stream().try_clone().unwrap();
    let writes = thread::spawn(move || {
        for _ in 0..LINES {
            stream.write_all(line.as_bytes()).unwrap();
        }
    });
    let mut long = long;
    for _ in 0..LINES {
        let answer = long.line();
        assert!(
            answer.starts_with("FAIL\t9\tcode=invalid_base64"),
            "{answer}"
        );
    }
    writes.join().unwrap();
    let more = daemon.process().memory().saturating_sub(before);
    assert!(more < SLACK, "{more} KiB");
    good(&mut peer, 2, &password);
}

/// Sends until the daemon takes no more, and returns how many bytes it took.
fn stuff(stream: &UnixStream, lines: &[u8]) -> usize {
    stream
        .set_write_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let mut taken = 0;
    loop {
        match (&*stream).write(lines) {
            Ok(length) => taken += length,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "it was closed instead");
                return taken;
            }
        }
    }
}

fn refused_at_once(id: u32) -> String {
    format!("AUTH\t{id}\tPLAIN\tservice=imap\tresp=AAA\n")
}

fn never_reading() {
    const DEAF: usize = 20;
    let (site, daemon, mut peer, password) = warmed_up();
    let before = daemon.process().memory();
    let flood: String = (1..=1_000).map(refused_at_once).collect();
    let deaf: Vec<Peer> = (0..DEAF)
        .map(|_| Peer::login_process(&site.socket()))
        .collect();
    for (id, deaf) in (2..).zip(&deaf) {
        let taken = stuff(deaf.stream(), flood.as_bytes());
        assert!(
            taken < 2 << 20,
            "{taken} bytes were read although no answer was"
        );
        good(&mut peer, id, &password);
    }
    let more = daemon.process().memory().saturating_sub(before);
    let allowed = u64::try_from(DEAF).unwrap() * 160 + SLACK;
    assert!(more < allowed, "{more} KiB");
}

fn login(id: u32) -> String {
    format!(
        "AUTH\t{id}\tLOGIN\tservice=imap\tresp={}\n",
        BASE64.encode(b"ana@example.org")
    )
}

fn in_flight() {
    let (site, _daemon, mut peer, password) = warmed_up();
    let open = |peer: &mut Peer, ids: std::ops::RangeInclusive<u32>| {
        for id in ids {
            peer.say(login(id).trim_end());
            assert!(peer.line().starts_with(&format!("CONT\t{id}\t")));
        }
    };
    let mut crowded = Peer::login_process(&site.socket());
    open(&mut crowded, 1..=1_024);
    let response = BASE64.encode(password.as_bytes());
    crowded.say(&format!("CONT\t1\t{response}"));
    assert!(
        crowded.line().starts_with("OK\t1\t"),
        "all of them are open"
    );
    open(&mut crowded, 1_025..=1_026);
    crowded.say(&format!("CONT\t2\t{response}"));
    let answer = crowded.line();
    assert!(
        answer.starts_with("FAIL\t2\t"),
        "the oldest made room: {answer}"
    );
    for id in 3..=1_026 {
        crowded.say(&format!("CONT\t{id}\t{response}"));
        let answer = crowded.line();
        assert!(answer.starts_with(&format!("OK\t{id}\t")), "{answer}");
    }
    good(&mut peer, 2, &password);
}

/// Sixty connections with as many exchanges as each may have open hold more than one user may.
fn holding_much() {
    const GREEDY: usize = 64;
    let (site, mut daemon, mut peer, password) = warmed_up();
    let before = daemon.process().memory();
    // Longer than what is kept of a name.
    let name = BASE64.encode(&[b'x'; 1_100]);
    let greedy: Vec<UnixStream> = (0..GREEDY)
        .map(|_| {
            let peer = Peer::login_process(&site.socket());
            let mut stream = peer.stream().try_clone().unwrap();
            for id in 1..=1_024 {
                let line = format!("AUTH\t{id}\tLOGIN\tservice=imap\tresp={name}\n");
                if stream.write_all(line.as_bytes()).is_err() {
                    break;
                }
                let _ = stream.read(&mut [0; 4_096]);
            }
            stream
        })
        .collect();
    daemon.wait_for("its user's connections hold too much");
    let more = daemon.process().memory().saturating_sub(before);
    assert!(more < 160 * 1024, "{more} KiB");
    good(&mut peer, 2, &password);
    good(&mut Peer::login_process(&site.socket()), 1, &password);
    drop(greedy);
    // There is room again at once.
    let mut next = Peer::login_process(&site.socket());
    until("room", Duration::from_secs(1), || {
        (daemon.process().sockets() < GREEDY).then_some(())
    });
    for id in 1..=1_024 {
        next.say(login(id).trim_end());
        assert!(next.line().starts_with("CONT\t"));
    }
}

fn endless_commands() {
    const FLOODING: usize = 8;
    let (site, _daemon, mut peer, password) = warmed_up();
    let flood = "CANCEL\t1\n".repeat(20_000);
    let begun = now();
    let done = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..FLOODING {
            let flooding = Peer::login_process(&site.socket());
            let (flood, done) = (&flood, &done);
            scope.spawn(move || {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    flooding.stream().write_all(flood.as_bytes()).unwrap();
                }
            });
        }
        let mut worst = Duration::ZERO;
        for id in 2.. {
            let asked = now();
            good(&mut peer, id, &password);
            worst = worst.max(asked.elapsed());
            if begun.elapsed() > Duration::from_secs(3) {
                break;
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(worst < Duration::from_secs(1), "{worst:?}");
    });
}

/// Each begins, is challenged, and is given up in one of three ways.
fn abort(site: &Site, kept: &mut Peer, round: u32) {
    match round % 3 {
        0 => {
            kept.say(login(7).trim_end());
            assert!(kept.line().starts_with("CONT\t7\t"));
            kept.say("CANCEL\t7");
        }
        1 => {
            let mut peer = Peer::login_process(&site.socket());
            peer.say(login(1).trim_end());
            assert!(peer.line().starts_with("CONT\t1\t"));
        }
        _ => {
            let peer = Peer::login_process(&site.socket());
            // Nobody waits for the answer.
            peer.plain(1, "ben@example.org", "kqtm-whzr-nbfa-yxcd-peug");
        }
    }
}

fn aborted() {
    let (site, daemon, mut peer, password) = warmed_up();
    let process = daemon.process();
    let sockets = process.sockets();
    let at_rest = || {
        until("an end of all of them", LONG, || {
            (process.sockets() == sockets).then_some(())
        });
        (process.memory(), process.descriptors())
    };
    for round in 0..1_000 {
        abort(&site, &mut peer, round);
    }
    let (memory, descriptors) = at_rest();
    for round in 0..10_000 {
        abort(&site, &mut peer, round);
    }
    let (after, open) = at_rest();
    let more = after.saturating_sub(memory);
    // Less than 300 bytes for each; it stays there after 60,000 (measured).
    assert!(more < 3 * 1024, "{more} KiB after 10,000");
    // Threads that had nothing to do before may have opened the database.
    assert!(
        open < descriptors + 30,
        "{open} descriptors, {descriptors} before"
    );
    good(&mut peer, 2, &password);
}

fn byte_by_byte() {
    let (site, _daemon, _, password) = warmed_up();
    let mut slow = Peer::bare(&site.socket());
    let text = format!(
        "VERSION\t1\t2\nCPID\t42\n{}\n",
        plain(1, "ana@example.org", &password)
    );
    for byte in text.as_bytes() {
        slow.stream().write_all(&[*byte]).unwrap();
    }
    while slow.line() != "DONE" {}
    assert!(slow.line().starts_with("OK\t1\t"));
}

fn hung_up_anywhere() {
    let (site, daemon, mut peer, password) = warmed_up();
    let sockets = daemon.process().sockets();
    let text = format!(
        "VERSION\t1\t2\nCPID\t42\n{}{}\n",
        login(1),
        plain(2, "ana@example.org", &password)
    );
    for length in 0..text.len() {
        let stream = UnixStream::connect(site.socket()).unwrap();
        (&stream).write_all(&text.as_bytes()[..length]).unwrap();
    }
    until("an end of all of them", LONG, || {
        (daemon.process().sockets() == sockets).then_some(())
    });
    good(&mut peer, 2, &password);
}

fn changed_mind() {
    let (site, _daemon, mut other, password) = warmed_up();
    let mut peer = Peer::login_process(&site.socket());
    peer.say(login(1).trim_end());
    assert!(peer.line().starts_with("CONT\t1\t"));
    peer.say("CANCEL\t1");
    // For a request that is no more.
    peer.say(&format!("CONT\t1\t{}", BASE64.encode(password.as_bytes())));
    assert!(peer.line().starts_with("FAIL\t1\t"));
    good(&mut peer, 1, &password);
    // The first is cancelled before its verdict, the second has the same id.
    peer.say(&format!(
        "{}\nCANCEL\t1\n{}",
        plain(1, "ben@example.org", &password),
        plain(1, "ana@example.org", &password)
    ));
    let answer = peer.line();
    assert!(
        answer.starts_with("OK\t1\tuser=ana@example.org"),
        "{answer}"
    );
    // An id that is in use is what only a broken program sends.
    peer.say(&format!("{}{}", login(1), login(1).trim_end()));
    assert!(peer.line().starts_with("CONT\t1\t"));
    assert!(peer.is_closed());
    good(&mut other, 2, &password);
}

fn broken_lines() {
    const MARK: &str = "mArKeD";
    let (site, mut daemon, mut peer, password) = warmed_up();
    for line in [
        format!("{MARK}\t1"),
        format!("AUTH\t{MARK}\tPLAIN\tservice=imap"),
        format!("AUTH\t1\tPLAIN\t{MARK}\tresp={MARK}"),
        format!("AUTH\t1\tPLAIN\tservice=imap\tresp=\t{MARK}"),
        format!("CONT\t{MARK}\t{MARK}"),
        format!("CANCEL\t{MARK}"),
        format!("VERSION\t{MARK}"),
        format!("CPID\t{MARK}"),
        format!("{MARK}{}", "x".repeat(17_000)),
        // The rest of a request that was broken by a line end.
        format!("AUTH\t1\tPLAIN\tservice=imap\tresp=\n{MARK}"),
        format!("\u{1b}[2J\u{202e}{MARK}\u{85}"),
    ] {
        let broken = Peer::login_process(&site.socket());
        let _ = broken.stream().write_all(format!("{line}\n").as_bytes());
        let mut rest = Vec::new();
        // What was not read is lost with a reset.
        let _ = broken.stream().read_to_end(&mut rest);
        drop(broken);
    }
    good(&mut peer, 2, &password);
    daemon.wait_for("connection closed by us");
    daemon.wait_for("auth ok");
    let log = daemon.log();
    assert!(!log.contains(MARK), "{log}");
    assert!(
        log.bytes().all(|byte| matches!(byte, b'\n' | b' '..=b'~')),
        "{log}"
    );
}

/// Nothing that holds back a peer stays shut when the cause is gone.
fn after_the_flood() {
    let (site, _daemon, mut peer, password) = warmed_up();
    let mut deaf = Peer::login_process(&site.socket());
    let flood: String = (1..=1_000).map(refused_at_once).collect();
    let taken = stuff(deaf.stream(), flood.as_bytes());
    // It reads at last, ends its line, and asks something else.
    let mut chunk = vec![0; 64 * 1024];
    deaf.stream()
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let drained = loop {
        match deaf.stream().read(&mut chunk) {
            Ok(length) => assert!(length > 0, "it was closed"),
            Err(error) => break error,
        }
    };
    assert_eq!(drained.kind(), ErrorKind::WouldBlock);
    let rest = &flood.as_bytes()[taken % flood.len()..];
    let rest = rest.split_inclusive(|&byte| byte == b'\n').next().unwrap();
    let begun = now();
    deaf.stream().write_all(rest).unwrap();
    deaf.plain(9_999, "ana@example.org", &password);
    deaf.stream().set_read_timeout(Some(LONG)).unwrap();
    until("the answer", Duration::from_secs(1), || {
        deaf.line().starts_with("OK\t9999\t").then_some(())
    });
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    good(&mut peer, 2, &password);
}
