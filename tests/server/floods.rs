//! Many wrong passwords at once, and what a good one on another connection notices of them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::thread;

use libtest_mimic::Trial;

use crate::log_ins::WRONG;
use crate::peer::{Peer, plain};
use crate::site::{Site, shown};
use crate::trial;

/// Connections that flood, and wrong passwords on each: together they ask for far more at a time than
/// may wait for a look-up on one of them.
const FLOODING: usize = 20;
const WRONGS: u32 = 3_000;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial(
        "a_flood_on_other_connections_is_refused_and_makes_no_good_log_in_try_later",
        good_log_ins_during_a_flood,
    )]
}

fn good_log_ins_during_a_flood() {
    let site = Site::new();
    let phone = site.issue("phone");
    let running = site.start();
    let mut lines = String::new();
    for id in 1..=WRONGS {
        writeln!(lines, "{}", plain(id, "ben@example.org", WRONG)).unwrap();
    }
    let mut flooding: Vec<Peer> = (0..FLOODING)
        .map(|_| Peer::login_process(&site.socket()))
        .collect();
    let mut peer = Peer::login_process(&site.socket());
    let (answers, refused) = thread::scope(|scope| {
        let floods: Vec<_> = flooding
            .iter_mut()
            .map(|peer| scope.spawn(|| flood(peer, &lines)))
            .collect();
        let answers: Vec<String> = (1..)
            .take_while(|id| *id == 1 || floods.iter().any(|flood| !flood.is_finished()))
            .map(|id| peer.sign_in(id, "ana@example.org", &shown(&phone)))
            .collect();
        let refused = floods.into_iter().map(|flood| flood.join().unwrap());
        (answers, refused.sum::<usize>())
    });
    let all = FLOODING * usize::try_from(WRONGS).unwrap();
    assert_eq!(refused, all, "wrong passwords that were refused as such");
    let refused = answers.iter().find(|answer| !answer.starts_with("OK\t"));
    assert_eq!(refused, None, "of {} good ones", answers.len());
    running.stop();
}

/// Sends all the lines without waiting for an answer; how many were refused as wrong.
fn flood(peer: &mut Peer, lines: &str) -> usize {
    let mut stream = peer.stream().try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || stream.write_all(lines.as_bytes()).unwrap());
        (0..WRONGS)
            .map(|_| peer.line())
            .filter(|answer| answer.starts_with("FAIL\t") && !answer.contains("code="))
            .count()
    })
}
