//! What is written down after log-ins: uses, attempts with ended secrets, and how long it is kept.

use std::net::IpAddr;

use super::super::{Attempts, AttemptsRow, Keep, UseRow, Uses};
use super::*;
use crate::model::Service;

pub(super) fn uses_are_counted_by_service_and_address(mut empty: Empty) {
    with_ana(&mut empty);
    let phone = issue(&mut empty.store, "ana@example.org", "phone", 1);
    let laptop = issue(&mut empty.store, "ana@example.org", "laptop", 2);
    assert_eq!(empty.store.device(&phone).unwrap().last_use, None);
    let record =
        |empty: &mut Empty, uses: &[Uses]| empty.recorder.record_uses(uses, now()).unwrap();
    let home = used(&phone, "imap", Some("203.0.113.9"), 100, 3);
    record(
        &mut empty,
        &[home.clone(), used(&phone, "smtp", None, 110, 1)],
    );
    // The same address in other clothes, later; and one that arrives late.
    record(
        &mut empty,
        &[used(&phone, "imap", Some("::ffff:203.0.113.9"), 120, 2)],
    );
    record(
        &mut empty,
        &[used(&phone, "imap", Some("203.0.113.9"), 90, 1)],
    );

    let newest = UseRow {
        at: at(120),
        service: Service::Imap,
        address: ip(Some("203.0.113.9")),
        count: 6,
        first: at(90),
    };
    let history = empty.store.uses(&phone).unwrap();
    assert_eq!(history[0], newest);
    assert_eq!(
        (history[1].at, history[1].address, history[1].count),
        (at(110), None, 1)
    );
    assert_eq!(history.len(), 2);
    assert_eq!(empty.store.device(&phone).unwrap().last_use, Some(newest));
    assert_eq!(empty.store.uses(&laptop).unwrap(), []);
    assert_eq!(empty.store.device(&laptop).unwrap().last_use, None);
    assert_eq!(candidate(&mut empty.reader, 1).last_sign_of_life, at(120));
    assert_eq!(candidate(&mut empty.reader, 2).last_sign_of_life, at(10));
    let stranger = DeviceId::random().unwrap();
    assert!(matches!(
        empty.store.uses(&stranger),
        Err(Error::NoSuchDevice { .. })
    ));
}

pub(super) fn a_history_keeps_its_newest_lines(mut empty: Empty) {
    with_ana(&mut empty);
    let phone = issue(&mut empty.store, "ana@example.org", "phone", 1);
    let laptop = issue(&mut empty.store, "ana@example.org", "laptop", 2);
    let mut uses = vec![used(&laptop, "imap", Some("192.0.2.1"), 50, 1)];
    for number in 0..20 {
        uses.push(used(
            &phone,
            "imap",
            Some(&format!("192.0.2.{number}")),
            100 + number,
            1,
        ));
    }
    for batch in uses.chunks(4) {
        empty.recorder.record_uses(batch, now()).unwrap();
    }
    let kept: Vec<_> = empty
        .store
        .uses(&phone)
        .unwrap()
        .iter()
        .map(|row| row.at)
        .collect();
    assert_eq!(kept, [at(119), at(118), at(117)]);
    assert_eq!(empty.store.uses(&laptop).unwrap().len(), 1);
}

pub(super) fn what_is_not_there_is_not_recorded_and_hinders_nothing(mut empty: Empty) {
    with_ana(&mut empty);
    let phone = issue(&mut empty.store, "ana@example.org", "phone", 1);
    let laptop = issue(&mut empty.store, "ana@example.org", "laptop", 2);
    empty
        .store
        .revoke(&[phone.clone(), laptop.clone()], &root(), at(20))
        .unwrap();
    let stranger = DeviceId::random().unwrap();
    let uses = [
        used(&stranger, "imap", None, 100, 1),
        used(&phone, "imap", None, 19, 1),
    ];
    empty.recorder.record_uses(&uses, now()).unwrap();
    // It was in time: the log-in came before it was revoked.
    assert_eq!(empty.store.uses(&phone).unwrap().len(), 1);

    let secret = candidate(&mut empty.reader, 1).secret;
    let of = |device: &DeviceId, secret| tried(device, secret, Some("192.0.2.1"), 100, 1);
    let attempts = [of(&laptop, secret), of(&phone, SecretId(999))];
    empty.recorder.record_attempts(&attempts, now()).unwrap();
    for device in [&phone, &laptop] {
        assert_eq!(empty.store.attempts(device).unwrap(), []);
        assert_eq!(empty.store.device(device).unwrap().attempts, None);
    }
    empty.recorder.record_uses(&[], now()).unwrap();
}

pub(super) fn attempts_are_summed_over_the_ended_secrets_of_a_device(mut empty: Empty) {
    with_ana(&mut empty);
    let phone = issue(&mut empty.store, "ana@example.org", "phone", 1);
    let new = add_secret(&mut empty.store, &phone, 2).unwrap();
    empty
        .store
        .finish_rotation(&phone, new, None, &root(), at(20))
        .unwrap();
    empty
        .store
        .revoke(from_ref(&phone), &root(), at(21))
        .unwrap();
    let old = candidate(&mut empty.reader, 1).secret;
    let attempts = [
        tried(&phone, old, Some("203.0.113.9"), 100, 10),
        tried(&phone, new, Some("203.0.113.9"), 120, 3),
        tried(&phone, new, Some("2001:db8::1"), 130, 1),
    ];
    empty.recorder.record_attempts(&attempts, now()).unwrap();
    assert_eq!(
        empty.store.device(&phone).unwrap().attempts,
        Some(AttemptsRow {
            count: 14,
            first: at(100),
            last: at(130),
            address: ip(Some("2001:db8::1")),
            service: Service::Imap,
        })
    );
    let history = empty.store.attempts(&phone).unwrap();
    assert_eq!(
        history
            .iter()
            .map(|row| (row.first, row.at, row.count))
            .collect::<Vec<_>>(),
        [(at(130), at(130), 1), (at(100), at(120), 13)]
    );
    assert_eq!(candidate(&mut empty.reader, 2).last_sign_of_life, at(10));
}

pub(super) fn a_tried_tombstone_leaves_one_event_an_hour_and_address(mut empty: Empty) {
    with_ana(&mut empty);
    let phone = issue(&mut empty.store, "ana@example.org", "phone", 1);
    empty
        .store
        .revoke(from_ref(&phone), &root(), at(20))
        .unwrap();
    let secret = candidate(&mut empty.reader, 1).secret;
    let events = |store: &Store| -> Vec<(i64, Option<String>)> {
        let events = store.events(EventFilter::latest(1_000)).unwrap();
        let tried = events
            .into_iter()
            .filter(|event| event.action == "tried-again");
        tried
            .map(|event| (event.at.as_unix() - at(0).as_unix(), event.detail))
            .collect()
    };
    let home = Some("203.0.113.9".to_owned());
    for (seconds, count) in [(100, 1), (100, 5), (3_699, 1)] {
        let attempt = tried(&phone, secret, Some("203.0.113.9"), seconds, count);
        empty.recorder.record_attempts(&[attempt], now()).unwrap();
        assert_eq!(events(&empty.store), [(100, home.clone())]);
    }
    let attempts = [
        tried(&phone, secret, Some("203.0.113.9"), 3_700, 1),
        tried(&phone, secret, None, 3_701, 1),
    ];
    empty.recorder.record_attempts(&attempts, now()).unwrap();
    assert_eq!(
        events(&empty.store),
        [(100, home.clone()), (3_700, home), (3_701, None)]
    );
    let event = empty
        .store
        .events(EventFilter::latest(1))
        .unwrap()
        .remove(0);
    assert_eq!(
        (event.actor.as_str(), event.via.as_str()),
        ("dovelatch", "daemon")
    );
    assert_eq!(
        (event.device, event.label),
        (Some(phone), Some(label("phone")))
    );
    assert_eq!(event.mailbox, Some(mailbox("ana@example.org")));
}

pub(super) fn whoever_tries_from_everywhere_fills_neither_log_nor_history(mut empty: Empty) {
    with_ana(&mut empty);
    let phone = issue(&mut empty.store, "ana@example.org", "phone", 1);
    empty
        .store
        .revoke(from_ref(&phone), &root(), at(20))
        .unwrap();
    let secret = candidate(&mut empty.reader, 1).secret;
    let before = empty
        .store
        .events(EventFilter::latest(1_000))
        .unwrap()
        .len();
    let attempts: Vec<Attempts> = (0..400)
        .map(|number| {
            let address = format!("2001:db8::{number:x}");
            tried(&phone, secret, Some(&address), 100 + number, 1)
        })
        .collect();
    for batch in attempts.chunks(50) {
        empty.recorder.record_attempts(batch, now()).unwrap();
    }
    let events = empty.store.events(EventFilter::latest(1_000)).unwrap();
    assert_eq!(events.len() - before, 10);
    let history = empty.store.attempts(&phone).unwrap();
    assert_eq!((history.len(), history[0].at), (100, at(499)));
    // An hour later there is news again.
    let attempt = tried(&phone, secret, Some("2001:db8::1"), 5_000, 1);
    empty.recorder.record_attempts(&[attempt], now()).unwrap();
    let events = empty.store.events(EventFilter::latest(1_000)).unwrap();
    assert_eq!(events.len() - before, 11);
}

pub(super) fn tombstones_lose_their_hash_in_time_and_keep_their_line(mut empty: Empty) {
    with_ana(&mut empty);
    let phone = issue(&mut empty.store, "ana@example.org", "phone", 1);
    let laptop = issue(&mut empty.store, "ana@example.org", "laptop", 2);
    issue(&mut empty.store, "ana@example.org", "tablet", 3);
    empty
        .store
        .revoke(from_ref(&phone), &root(), at(20))
        .unwrap();
    empty.store.revoke(&[laptop], &root(), at(21)).unwrap();
    let row = empty.store.device(&phone).unwrap();
    let keep = Keep {
        tombstones: Duration::from_secs(1_000),
        events: Duration::from_secs(1_000_000),
    };
    assert!(!empty.recorder.prune(keep, at(1_020), now()).unwrap());
    assert_eq!(candidate(&mut empty.reader, 1).revoked, Some(at(20)));
    assert!(!empty.recorder.prune(keep, at(1_021), now()).unwrap());
    let found = look_up(&mut empty.reader, "ana@example.org", 1).unwrap();
    assert_eq!(found.candidate, None);
    for tag in [2, 3] {
        candidate(&mut empty.reader, tag);
    }
    assert_eq!(empty.store.device(&phone).unwrap(), row);
    // Its tag may be drawn again.
    issue(&mut empty.store, "ana@example.org", "phone", 1);
    assert_eq!(empty.store.check().unwrap(), Vec::<String>::new());
}

pub(super) fn old_events_are_dropped_in_batches(mut empty: Empty) {
    let names: Vec<Mailbox> = (0..2_500).map(|n| mailbox(&format!("m{n}"))).collect();
    empty
        .store
        .add_mailboxes(&names, IfThere::Refuse, &root(), at(1))
        .unwrap();
    empty
        .store
        .add_mailbox(&mailbox("late"), &root(), at(2))
        .unwrap();
    let keep = Keep {
        tombstones: Duration::from_secs(1_000),
        events: Duration::from_secs(1_000),
    };
    assert!(!empty.recorder.prune(keep, at(1_001), now()).unwrap());
    let more: Vec<bool> = (0..3)
        .map(|_| empty.recorder.prune(keep, at(1_002), now()).unwrap())
        .collect();
    assert_eq!(more, [true, true, false]);
    let left = empty.store.events(EventFilter::latest(10_000)).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].mailbox, Some(mailbox("late")));
}

pub(super) fn what_nobody_uses_is_found(mut empty: Empty) {
    with_ana(&mut empty);
    let phone = issue(&mut empty.store, "ana@example.org", "phone", 1);
    let laptop = issue(&mut empty.store, "ana@example.org", "laptop", 2);
    let lost = issue(&mut empty.store, "ana@example.org", "lost", 3);
    empty.store.revoke(&[lost], &root(), at(20)).unwrap();
    empty
        .recorder
        .record_uses(&[used(&phone, "imap", None, 100, 1)], now())
        .unwrap();
    // A change of limits is no use.
    empty
        .store
        .set_limits(&laptop, |_| Limits::default(), &root(), at(500))
        .unwrap();
    let unused = |seconds| -> Vec<DeviceId> {
        let rows = {
            let unused_since = Some(at(seconds));
            let selection = Selection {
                unused_since,
                ..Selection::default()
            };
            empty.store.selected(&selection).unwrap()
        };
        rows.into_iter().map(|row| row.id).collect()
    };
    assert_eq!(unused(10), []);
    assert_eq!(unused(11), from_ref(&laptop));
    assert_eq!(unused(100), from_ref(&laptop));
    assert_eq!(unused(101), [phone.clone(), laptop.clone()]);
}

pub(super) fn who_writes_waits_for_no_lock(mut empty: Empty) {
    with_ana(&mut empty);
    let phone = issue(&mut empty.store, "ana@example.org", "phone", 1);
    let uses = [used(&phone, "imap", None, 100, 1)];
    let started = now();
    empty.store.while_locked(|| {
        let refused = empty.recorder.record_uses(&uses, now());
        assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    });
    assert!(now() - started < Duration::from_secs(2));
    assert_eq!(empty.store.uses(&phone).unwrap(), []);
    empty
        .recorder
        .record_uses(&uses, later(Duration::from_secs(2)))
        .unwrap();
    assert_eq!(empty.store.uses(&phone).unwrap().len(), 1);
}

fn used(device: &DeviceId, service: &str, address: Option<&str>, last: i64, count: u32) -> Uses {
    Uses {
        device: device.clone(),
        service: Service::from_wire(service.as_bytes()),
        address: ip(address),
        first: at(last),
        last: at(last),
        count,
    }
}

fn tried(
    device: &DeviceId,
    secret: SecretId,
    address: Option<&str>,
    last: i64,
    count: u32,
) -> Attempts {
    Attempts {
        device: device.clone(),
        secret,
        service: Service::Imap,
        address: ip(address),
        first: at(last),
        last: at(last),
        count,
    }
}

fn ip(address: Option<&str>) -> Option<IpAddr> {
    address.map(|address| address.parse().unwrap())
}
