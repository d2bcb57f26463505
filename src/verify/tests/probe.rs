//! Whether the hashing threads live, as the watchdog asks.

use super::*;

fn probed(verifier: &Verifier, arrived: Instant) -> u64 {
    let (end, ended) = mpsc::channel();
    verifier.probe(arrived, move || end.send(()).unwrap());
    ended.recv().unwrap();
    verifier.turns()
}

#[test]
fn a_probe_takes_one_turn_and_leaves_no_trace() {
    let site = Site::new();
    let verifier = site.verifier();
    assert_eq!(verifier.turns(), 0);
    assert_eq!(probed(&verifier, instant()), 1);
    assert_eq!(probed(&verifier, instant()), 2);
    assert_eq!(verifier.hashes(), 0, "it is no log-in");
    assert_eq!(verifier.waiting_for_hashes(), 0);
}

#[test]
fn a_probe_is_put_off_and_counts_no_turn_while_every_hashing_thread_stands_still() {
    let mut site = Site::new();
    let settings = site.settings();
    let verifier = site.verifier();
    let (hanging, hangs) = mpsc::channel();
    let mut releases = Vec::new();
    for number in 0..settings.threads {
        let device = site.issue(&format!("device {number}"));
        let (release, released) = mpsc::channel::<()>();
        let hanging = hanging.clone();
        let good = attempt("ana@example.org", &device.password);
        submit(&verifier, good, instant(), move |_| {
            hanging.send(()).unwrap();
            let _ = released.recv();
        });
        hangs.recv().unwrap();
        releases.push(release);
    }
    let before = verifier.turns();
    let arrived = instant().checked_sub(queue::MAX_AGE * 2).unwrap();
    assert_eq!(probed(&verifier, arrived), before);
    drop(releases);
    assert_eq!(probed(&verifier, instant()), before + 1);
}

#[test]
fn a_verifier_that_has_ended_ends_a_probe() {
    let site = Site::new();
    let verifier = site.verifier();
    verifier.stop();
    assert_eq!(probed(&verifier, instant()), 0);
}
