//! Whoever reads the log reads no more, or has gone.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use libtest_mimic::Trial;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{mkfifo, pipe2};

use crate::client::{Client, WRONG};
use crate::daemon::Daemon;
use crate::host::{ANA, Host};
use crate::peer::{Peer, plain};
use crate::trial;
use crate::wait::{LONG, until};

/// More than the pipe and the queue hold.
const LINES: u32 = 8_000;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "a_log_that_nobody_reads_costs_lines_and_they_are_counted",
            stalled_pipe,
        ),
        trial("so_does_a_fifo_that_nobody_reads", stalled_fifo),
        trial("a_log_whose_reader_has_gone_costs_its_lines_only", gone),
    ]
}

fn logging_to(host: &Host, writer: impl Into<Stdio>) -> Daemon {
    let mut command = host.command();
    let daemon = Daemon::silent(command.arg("serve").stderr(writer).spawn().unwrap());
    until("the socket", LONG, || host.socket().exists().then_some(()));
    daemon
}

fn pipe() -> (File, OwnedFd) {
    // The daemon must not have the reader too.
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    (File::from(reader), writer)
}

fn stalled_pipe() {
    let (reader, writer) = pipe();
    stalled(&Host::new(), reader, writer);
}

fn stalled_fifo() {
    let host = Host::new();
    let path = host.path().join("fifo");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    // Neither end waits for the other so.
    let both = File::options().read(true).write(true).open(&path).unwrap();
    let writer = File::options().write(true).open(&path).unwrap();
    let reader = File::open(&path).unwrap();
    drop(both);
    stalled(&host, reader, writer.into());
}

fn stalled(host: &Host, reader: File, writer: OwnedFd) {
    let daemon = logging_to(host, writer);
    let mut peer = Peer::login_process(&host.socket());
    for first in (1..LINES).step_by(200) {
        let lines: Vec<String> = (first..first + 200)
            .map(|id| plain(id, ANA, WRONG))
            .collect();
        peer.say(&lines.join("\n"));
        for _ in 0..200 {
            assert!(peer.line().starts_with("FAIL\t"));
        }
    }
    let mut client = Client::new(host);
    client.assert_right();
    // It flows again.
    let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
    let (mut told, mut dropped) = (0, None);
    for line in &mut lines {
        told += u32::from(line.contains("auth failed:"));
        if let Some((_, count)) = line.split_once("log lines dropped: count=") {
            dropped = Some(count.parse::<u32>().unwrap());
            break;
        }
    }
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    let rest = lines.filter(|line| line.contains("auth failed:")).count();
    let dropped = dropped.expect("lines were dropped");
    // Those of the client are among them: four refusals, and two that were let in.
    let all = told + u32::try_from(rest).unwrap() + dropped;
    assert!(
        (LINES..=LINES + 6).contains(&all),
        "{told} + {rest} + {dropped}"
    );
}

fn gone() {
    let host = Host::new();
    let (mut reader, writer) = pipe();
    let daemon = logging_to(&host, writer);
    let mut begun = [0; 64];
    reader.read_exact(&mut begun).unwrap();
    drop(reader);
    let mut client = Client::new(&host);
    for _ in 0..20 {
        client.assert_right();
    }
    daemon.stop();
}
