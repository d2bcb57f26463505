//! A disk that does not answer, as one behind a network that is gone: reads of the database do not end.
//!
//! No disk of this machine can be made to hang, so a library that is loaded first has reads wait (`hung.c`).

use std::fs;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::client::{Answer, Client, answer, now};
use crate::clock::library;
use crate::daemon::Daemon;
use crate::host::{ANA, Host};
use crate::peer::Peer;
use crate::trial;

/// Whoever asks waits 4 s for a turn, and the sweeper looks once a second; the rest is for a busy machine.
const AT_THE_LATEST: Duration = Duration::from_secs(10);

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial(
        "a_disk_that_hangs_keeps_few_waiting_and_the_daemon_alive",
        hung,
    )]
}

fn hung() {
    let host = Host::new();
    let hangs = host.path().join("hangs");
    let mut command = host.command();
    command
        .arg("serve")
        .env("LD_PRELOAD", library(&host, "hung"))
        .env("DISK_HANGS", &hangs);
    let daemon = Daemon::start_as(&mut command);
    let mut client = Client::new(&host);
    client.assert_right();
    // One on each thread that reads for log-ins hangs with it: those of the sockets but one, and two more.
    let cores = thread::available_parallelism().unwrap().get();
    let hanging = cores + 2;
    let all = hanging + 6;
    let peers: Vec<Peer> = (0..all)
        .map(|_| Peer::login_process(&host.socket()))
        .collect();

    fs::write(&hangs, "").unwrap();
    // After a change nothing that was read before counts.
    host.done(&["mailbox", "add", "zoe@example.org"]);
    let (tell, told) = mpsc::channel();
    let good = host.good.clone();
    for mut peer in peers {
        let (tell, good) = (tell.clone(), good.clone());
        thread::spawn(move || tell.send(answer(&peer.sign_in(1, ANA, &good))));
    }
    let begun = now();
    for _ in hanging..all {
        let left = AT_THE_LATEST.saturating_sub(begun.elapsed());
        assert_eq!(told.recv_timeout(left), Ok(Answer::Later));
    }
    // It is greeted.
    let _another = Peer::login_process(&host.socket());

    fs::remove_file(&hangs).unwrap();
    for _ in 0..hanging {
        let answer = told.recv_timeout(AT_THE_LATEST).unwrap();
        assert!(
            [Answer::Allow, Answer::Later].contains(&answer),
            "{answer:?}"
        );
    }
    client.assert_right_again();
    daemon.stop();
}
