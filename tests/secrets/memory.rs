//! The memory of live processes.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::child::KilledOnDrop;
use crate::forms::Forms;
use crate::peer::{Peer, plain};
use crate::site::Site;
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

/// What is found in all that a process can write to; nothing where it has ended.
fn copies(process: u32, forms: &Forms) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap_or_default();
    let Ok(memory) = File::open(format!("/proc/{process}/mem")) else {
        return Vec::new();
    };
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
                start + u64::try_from(*at).unwrap(),
                bytes.len() >> 10
            )
        }));
    }
    found
}

/// Waits until there are none, for some things are wiped after the answer: an arena, what was refused and then
/// looked into.
fn none_is_left(process: u32, forms: &Forms) {
    let mut found = Vec::new();
    for _ in 0..20 {
        found = copies(process, forms);
        if found.is_empty() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
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

/// `rotate` prints the new password, and then ends sessions, which takes seconds; `test` waits for its answer.
fn of_command() {
    let site = Site::new();
    let old = site.issue(ANA, "phone");
    let (asked, doveadm) = (site.path().join("asked"), site.path().join("doveadm"));
    // It ends with the test, whose directory goes.
    let script = format!(
        "#!/bin/sh\n: > {}\nwhile [ -e \"$0\" ]; do sleep 0.1; done\n",
        asked.display()
    );
    program::write(&doveadm, &script).unwrap();
    let mut forms = Forms::default();
    forms.add(ANA, &old);

    let mut command = site.command(&["rotate", ANA, "phone"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut rotate = KilledOnDrop(command.spawn().unwrap());
    let mut new = String::new();
    let mut out = BufReader::new(rotate.stdout.take().unwrap());
    out.read_line(&mut new).unwrap();
    forms.add(ANA, new.trim_end());
    wait::until("doveadm", wait::LONG, || asked.exists().then_some(()));
    none_is_in(&mut rotate, &forms);

    // In the place of the daemon.
    let socket = UnixListener::bind(site.socket()).unwrap();
    let mut test = site.given(&["test", ANA], &old);
    let (mut stream, _) = socket.accept().unwrap();
    stream
        .write_all(b"VERSION\t1\t2\nSPID\t1\nCUID\t1\nCOOKIE\tff\nDONE\n")
        .unwrap();
    let mut said = BufReader::new(stream).lines();
    let asked = said.find(|line| line.as_ref().unwrap().starts_with("AUTH\t"));
    assert!(asked.is_some(), "it asks");
    none_is_in(&mut test, &forms);
}

/// Of a process that goes on for some seconds. It is stopped while it is searched, which may take longer.
fn none_is_in(process: &mut KilledOnDrop, forms: &Forms) {
    let pid = Pid::from_raw(i32::try_from(process.id()).unwrap());
    let mut found = Vec::new();
    // It may be on its way from the moment we know of to where it wipes.
    for _ in 0..5 {
        kill(pid, Signal::SIGSTOP).unwrap();
        let ended = process.try_wait().unwrap();
        assert!(ended.is_none(), "it has ended: {ended:?}");
        found = copies(process.id(), forms);
        if found.is_empty() {
            return;
        }
        kill(pid, Signal::SIGCONT).unwrap();
        thread::sleep(Duration::from_millis(50));
    }
    panic!("{} copies:\n{}", found.len(), found.join("\n"));
}
