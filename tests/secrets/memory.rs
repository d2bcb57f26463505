//! The memory of live processes.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::process::Stdio;

use libtest_mimic::Trial;

use crate::forms::Forms;
use crate::peer::{Peer, plain};
use crate::site::{Process, Site};
use crate::{only_for_root, program, wait};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        only_for_root("no_password_stays_in_the_memory_of_the_daemon", of_daemon),
        only_for_root(
            "no_password_stays_in_the_memory_of_a_command_that_goes_on",
            of_command,
        ),
    ]
}

const ANA: &str = "ana@example.org";
const BEN: &str = "ben@example.org";

/// What is found in all that a process can write to.
fn copies(process: u32, forms: &Forms) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let memory = File::open(format!("/proc/{process}/mem")).unwrap();
    let mut found = Vec::new();
    for line in maps.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        if !words[1].starts_with("rw") {
            continue;
        }
        let (start, end) = words[0].split_once('-').unwrap();
        let [start, end] = [start, end].map(|hex| u64::from_str_radix(hex, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        // A mapping may have gone meanwhile, and its bytes with it.
        if memory.read_exact_at(&mut bytes, start).is_err() {
            continue;
        }
        let name = words.get(5).copied().unwrap_or("anonymous");
        let here = forms.search(&bytes);
        found.extend(here.iter().map(|(at, what)| {
            format!(
                "{what} at {:x} in {name} ({} KiB)",
                start + *at as u64,
                bytes.len() >> 10
            )
        }));
    }
    found
}

/// Waits until there are none: arenas are wiped, and what was refused is looked into, after the answer.
fn none_is_left(process: u32, forms: &Forms) {
    let mut found = Vec::new();
    let gone = std::iter::repeat_with(|| copies(process, forms));
    for copies in gone.take(20) {
        if copies.is_empty() {
            return;
        }
        found = copies;
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("{} copies:\n{}", found.len(), found.join("\n"));
}

fn of_daemon() {
    let site = Site::new();
    let [right, revoked] = ["phone", "old phone"].map(|label| site.issue(ANA, label));
    let other = site.issue(BEN, "phone");
    site.done(&["revoke", ANA, "old phone", "--yes"]);
    let wrong = right.replacen(|_| true, "q", 1).replacen(|_| true, "q", 1);
    let chosen = "correct horse battery staple".to_owned();
    let mut forms = Forms::default();
    for password in [&right, &revoked, &other, &wrong, &chosen] {
        forms.add(ANA, password);
        forms.add(BEN, password);
    }
    let daemon = site.serve();
    let mut peer = Peer::connect(&site.socket());

    // The search finds what is there: a line that has not ended yet.
    peer.say(&plain(1, ANA, &right));
    wait::until("the line", wait::LONG, || {
        (!copies(daemon.id(), &forms).is_empty()).then_some(())
    });
    peer.say("\n");
    assert!(peer.line().starts_with("OK\t1\t"));

    let mut others: Vec<Peer> = (0..8).map(|_| Peer::connect(&site.socket())).collect();
    for (peer, id) in others.iter_mut().zip(2..) {
        for password in [&right, &revoked, &other, &wrong, &chosen] {
            for mailbox in [ANA, BEN] {
                peer.plain(id, mailbox, password);
                peer.login(id, mailbox, password);
            }
        }
        // A line that comes in pieces, and makes the buffer grow.
        let line =
            plain(id, ANA, &right).replace("rip=", &format!("x={}\trip=", "y".repeat(5_000)));
        for piece in line.as_bytes().chunks(1_000) {
            peer.say(std::str::from_utf8(piece).unwrap());
        }
        peer.say("\n");
        assert!(peer.line().starts_with("OK\t"));
    }
    // Bytes that are no log-in, with a password in them; the peer is hung up on.
    let mut broken = Peer::connect(&site.socket());
    broken.say(&format!("LOGIN\t{right}\n"));
    assert_eq!(broken.line(), "");
    site.wait_for_log("reason=revoked");
    none_is_left(daemon.id(), &forms);
    // And with everybody gone.
    drop((peer, others));
    none_is_left(daemon.id(), &forms);
}

/// `rotate` prints the new password, and then ends sessions for some seconds; `test` waits for its answer.
fn of_command() {
    let site = Site::new();
    let old = site.issue(ANA, "phone");
    let (asked, doveadm) = (site.path().join("asked"), site.path().join("doveadm"));
    let script = format!("#!/bin/sh\n: > {}\nexec sleep 30\n", asked.display());
    program::write(&doveadm, &script).unwrap();

    let mut command = site.command(&["rotate", ANA, "phone"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut rotate = Process(command.spawn().unwrap());
    let mut new = String::new();
    let mut out = std::io::BufReader::new(rotate.0.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut new).unwrap();
    wait::until("doveadm", wait::LONG, || asked.exists().then_some(()));
    let mut forms = Forms::default();
    forms.add(ANA, new.trim_end());
    forms.add(ANA, &old);
    none_is_left(rotate.id(), &forms);
}
