//! Ten thousand log-ins a second for ten seconds: every use of them is in the database after a stop.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::thread;
use std::time::Duration;

use dovelatch::admin::Issued;
use libtest_mimic::Trial;

use crate::log_ins::now;
use crate::peer::{Peer, plain};
use crate::site::{Site, shown};
use crate::trial;

/// Log-ins a second on each connection: 10,000 on all of them.
const PACE: u32 = 1_250;
const CONNECTIONS: usize = 8;
const LASTS: Duration = Duration::from_secs(10);

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial(
        "ten_thousand_log_ins_a_second_are_all_answered_and_counted_and_cost_a_hash_for_each_device",
        paced,
    )]
}

/// The load keeps its pace by the clock, and where it is behind catches up. A slow machine needs longer
/// for it, which is no failure: what was asked must be answered, and what was let in be counted.
#[expect(clippy::print_stderr, reason = "the pace is told, not demanded")]
fn paced() {
    let site = Site::new();
    let devices: Vec<Issued> = (0..2 * CONNECTIONS)
        .map(|number| site.issue(&format!("device {number}")))
        .collect();
    let running = site.start();
    let began = now();
    let let_in: HashMap<&str, u32> = thread::scope(|scope| {
        let pairs = devices.chunks_exact(2);
        let clients: Vec<_> = pairs
            .map(|pair| scope.spawn(|| client(&site, pair)))
            .collect();
        let counts = clients
            .into_iter()
            .flat_map(|client| client.join().unwrap());
        let ids = devices.iter().map(|device| device.device.id.as_str());
        ids.zip(counts).collect()
    });
    let took = began.elapsed();
    assert_eq!(running.hashes(), u64::try_from(devices.len()).unwrap());
    running.stop();

    let admin = site.admin();
    for device in &devices {
        let uses = admin.store.uses(&device.device.id).unwrap();
        let used: u32 = uses.iter().map(|row| row.count).sum();
        assert_eq!(used, let_in[device.device.id.as_str()]);
    }
    let all: u32 = let_in.values().sum();
    let asked = PACE * u32::try_from(LASTS.as_secs()).unwrap();
    // And the first one with each device.
    let all_asked = (asked + 2) * u32::try_from(CONNECTIONS).unwrap();
    assert_eq!(all, all_asked);
    let pace = f64::from(all) / took.as_secs_f64();
    eprintln!("{all} log-ins, {pace:.0} a second");
}

/// Signs in with two device passwords by turns; how often each was let in.
fn client(site: &Site, devices: &[Issued]) -> [u32; 2] {
    let mut peer = Peer::login_process(&site.socket());
    let mut stream = peer.stream().try_clone().unwrap();
    let passwords: Vec<String> = devices.iter().map(shown).collect();
    let asked = PACE * u32::try_from(LASTS.as_secs()).unwrap();
    // Their hashes first: on a slow machine more than one mailbox may have waiting would come meanwhile.
    for (id, password) in (asked + 1..).zip(&passwords) {
        let answer = peer.sign_in(id, "ana@example.org", password);
        assert!(answer.starts_with("OK\t"), "{answer}");
    }
    let begun = now();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut sent = 0;
            while sent < asked {
                let due = (begun.elapsed().as_secs_f64() * f64::from(PACE)).ceil();
                let mut lines = String::new();
                while sent < asked && f64::from(sent) < due {
                    sent += 1;
                    let password = &passwords[usize::from(sent % 2 == 0)];
                    writeln!(lines, "{}", plain(sent, "ana@example.org", password)).unwrap();
                }
                stream.write_all(lines.as_bytes()).unwrap();
                // A pace of its own: nothing is waited for here.
                thread::sleep(Duration::from_millis(1));
            }
        });
        let mut let_in = [1; 2];
        for _ in 0..asked {
            let answer = peer.line();
            let (_, rest) = answer.split_once('\t').unwrap();
            let id = rest.split('\t').next().unwrap();
            assert!(answer.starts_with("OK\t"), "{answer}");
            let_in[usize::from(id.parse::<u32>().unwrap() % 2 == 0)] += 1;
        }
        let_in
    })
}
