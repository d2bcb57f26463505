//! Revocations by the command line, each of a device password that logs in as fast as it can.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::dialogue::{Heard, PATIENCE, Peer};
use crate::ours::Daemon;
use crate::over::Over;
use crate::site::{Doomed, Site};
use crate::table::{Met, Table, count};
use crate::tested;

/// One device password, on its way out.
struct Race<'a> {
    doomed: &'a Doomed,
    /// The command has returned.
    revoked: AtomicBool,
    let_in: AtomicU32,
    let_in_after: AtomicU32,
}

pub fn measure(site: &Site, table: &mut Table) {
    let daemon = Daemon::start(site, &site.unknown[0]);
    let races: Vec<Arc<Race<'_>>> = (site.doomed.iter())
        .map(|doomed| {
            Arc::new(Race {
                doomed,
                revoked: AtomicBool::new(false),
                let_in: AtomicU32::new(0),
                let_in_after: AtomicU32::new(0),
            })
        })
        .collect();
    let Some(first) = races.first() else { return };
    let (current, over) = (Mutex::new(Arc::clone(first)), Over::default());
    thread::scope(|scope| {
        let _ends = over.with_this();
        let device = scope.spawn(|| log_in_always(&daemon, &current, &over));
        let mut peer = Peer::connect(&daemon.socket).expect("room");
        for race in &races {
            *current.lock().expect("no panic") = Arc::clone(race);
            // The second time nothing has to be hashed.
            let begun = Instant::now();
            while race.let_in.load(Ordering::Acquire) < 2 {
                assert!(!device.is_finished(), "the device has met a wrong answer");
                assert!(begun.elapsed() < PATIENCE, "the device is not let in");
                thread::sleep(Duration::from_micros(100));
            }
            revoke(site, race.doomed);
            race.revoked.store(true, Ordering::Release);
            let log_in = &race.doomed.log_in;
            let answer = peer.ask(log_in).expect("an answer");
            if log_in.heard(&answer) == Heard::Ok {
                race.let_in_after.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let exceptions = sum(&races, |race| &race.let_in_after);
    table.row(
        "revoke → refusal, command line against log-ins",
        "the next request after the command returned; 0 exceptions in 10,000 races",
        format_args!(
            "{exceptions} in {} ({} log-ins before)",
            count(f64::from(u32::try_from(races.len()).expect("10,000"))),
            count(f64::from(sum(&races, |race| &race.let_in)))
        ),
        Met::when(exceptions == 0),
    );
    assert_eq!(exceptions, 0, "WRONG ANSWER: revoked, and let in");
    table.row(
        "kill -9 of daemon and command line",
        "1,000 times, nothing acknowledged lost",
        "not measured here: a test of its own",
        Met::NotHere,
    );
}

fn sum<'a>(races: &'a [Arc<Race<'a>>], pick: fn(&'a Race<'a>) -> &'a AtomicU32) -> u32 {
    let counts = races.iter().map(|race| pick(race).load(Ordering::Relaxed));
    counts.sum()
}

/// The device: logs in with whatever is current.
fn log_in_always(daemon: &Daemon, current: &Mutex<Arc<Race<'_>>>, over: &Over) {
    let mut peer = Peer::connect(&daemon.socket).expect("room");
    while !over.is_over() {
        let race = Arc::clone(&current.lock().expect("no panic"));
        let revoked = race.revoked.load(Ordering::Acquire);
        let answer = peer.ask(&race.doomed.log_in).expect("an answer");
        match race.doomed.log_in.heard(&answer) {
            Heard::Ok if revoked => race.let_in_after.fetch_add(1, Ordering::Relaxed),
            Heard::Ok => race.let_in.fetch_add(1, Ordering::Release),
            Heard::Fail | Heard::Later => continue,
        };
    }
}

fn revoke(site: &Site, doomed: &Doomed) {
    let status = tested::command()
        .arg("--config")
        .arg(site.config())
        .args(["--quiet", "revoke", "--id", doomed.id.as_str()])
        .stdout(Stdio::null())
        .status()
        .expect("our own program");
    assert!(status.success(), "cannot revoke: {status}");
}
