//! Limits, rotations that keep the old secret for a while, and the audit log.

use super::*;

pub(super) fn limits_are_replaced_and_count_as_a_sign_of_life(mut empty: Empty) {
    with_ana(&mut empty);
    let phone = issue(&mut empty.store, "ana@example.org", "phone", 1);
    let laptop = issue(&mut empty.store, "ana@example.org", "laptop", 2);
    let limits = Limits {
        services: Services::from_bits(0b0101),
        networks: Some("192.0.2.0/24".parse().unwrap()),
        expires: Some(at(1_000)),
        expires_unused_days: Some(60),
    };
    let store = &mut empty.store;
    let row = store
        .set_limits(&phone, |_| limits.clone(), &root(), at(20))
        .unwrap();
    assert_eq!(row, store.device(&phone).unwrap());
    assert_eq!(row.limits, limits);
    let event = store.events(EventFilter::latest(1)).unwrap().remove(0);
    assert_eq!(
        (event.action.as_str(), event.device),
        ("limits-set", Some(phone.clone()))
    );
    assert_eq!(
        event.detail.as_deref(),
        Some(
            "services imap,smtp; networks 192.0.2.0/24; expires 2026-11-25T10:03:20Z; expires-unused 60d"
        )
    );
    let found = candidate(&mut empty.reader, 1);
    assert_eq!((found.limits, found.last_sign_of_life), (limits, at(20)));
    assert_eq!(candidate(&mut empty.reader, 2).limits, Limits::default());

    // Whoever changes one limit leaves the others as they are by then.
    let store = &mut empty.store;
    let fewer_days = |limits| Limits {
        expires_unused_days: Some(30),
        ..limits
    };
    let row = store.set_limits(&phone, fewer_days, &root(), at(21));
    let row = row.unwrap();
    assert_eq!(row.limits.expires_unused_days, Some(30));
    assert_eq!(row.limits.expires, Some(at(1_000)));
    store
        .set_limits(&phone, |_| Limits::default(), &root(), at(21))
        .unwrap();
    let event = store.events(EventFilter::latest(1)).unwrap().remove(0);
    assert_eq!(event.detail.as_deref(), Some("none"));
    store.revoke(from_ref(&phone), &root(), at(22)).unwrap();
    let refused = store.set_limits(&phone, |_| Limits::default(), &root(), at(23));
    assert!(matches!(refused, Err(Error::AlreadyRevoked { .. })));
    assert_eq!(store.device(&laptop).unwrap().limits, Limits::default());
}

pub(super) fn an_old_secret_that_is_kept_lives_until_its_time(mut empty: Empty) {
    with_ana(&mut empty);
    let phone = issue(&mut empty.store, "ana@example.org", "phone", 1);
    let new = add_secret(&mut empty.store, &phone, 2).unwrap();
    let store = &mut empty.store;
    store
        .finish_rotation(&phone, new, Some(at(1_000)), &root(), at(20))
        .unwrap();
    assert_eq!(store.device(&phone).unwrap().old_until, Some(at(1_000)));
    let event = store.events(EventFilter::latest(1)).unwrap().remove(0);
    assert_eq!(
        (event.action.as_str(), event.detail.as_deref()),
        ("rotated", Some("2026-11-25T10:03:20Z"))
    );
    let old = candidate(&mut empty.reader, 1);
    assert_eq!((old.ended, old.valid_until), (None, Some(at(1_000))));
    assert_eq!(candidate(&mut empty.reader, 2).valid_until, None);

    // Another rotation prolongs nothing.
    let third = add_secret(&mut empty.store, &phone, 3).unwrap();
    let store = &mut empty.store;
    store
        .finish_rotation(&phone, third, Some(at(2_000)), &root(), at(30))
        .unwrap();
    assert_eq!(candidate(&mut empty.reader, 1).valid_until, Some(at(1_000)));
    assert_eq!(candidate(&mut empty.reader, 2).valid_until, Some(at(2_000)));

    let keep = super::super::Keep {
        tombstones: Duration::from_secs(1_000_000),
        events: Duration::from_secs(1_000_000),
    };
    empty.recorder.prune(keep, at(999), now()).unwrap();
    assert_eq!(candidate(&mut empty.reader, 1).ended, None);
    empty.recorder.prune(keep, at(1_000), now()).unwrap();
    assert_eq!(candidate(&mut empty.reader, 1).ended, Some(at(1_000)));
    assert_eq!(candidate(&mut empty.reader, 2).ended, None);
    // Whatever ran out before anybody looked ended at its time.
    empty
        .store
        .revoke(from_ref(&phone), &root(), at(3_000))
        .unwrap();
    assert_eq!(candidate(&mut empty.reader, 2).ended, Some(at(2_000)));
    assert_eq!(candidate(&mut empty.reader, 3).ended, Some(at(3_000)));
    assert_eq!(empty.store.device(&phone).unwrap().old_until, None);
}

pub(super) fn of_two_crossing_rotations_the_finished_one_lasts_whoever_keeps_old_secrets(
    mut empty: Empty,
) {
    with_ana(&mut empty);
    let ways = [None, Some(at(1_000))];
    let mut tag = 0;
    for (first, second) in ways.into_iter().flat_map(|a| ways.map(|b| (a, b))) {
        let label = format!("device {tag}");
        let id = issue(&mut empty.store, "ana@example.org", &label, tag + 1);
        let lasting = add_secret(&mut empty.store, &id, tag + 2).unwrap();
        let late = add_secret(&mut empty.store, &id, tag + 3).unwrap();
        let store = &mut empty.store;
        let finished = store.finish_rotation(&id, lasting, first, &root(), at(20));
        finished.unwrap();
        let lost = store.finish_rotation(&id, late, second, &root(), at(21));
        assert!(matches!(lost, Err(Error::AlreadyEnded { .. })), "{lost:?}");

        let lasting = candidate(&mut empty.reader, tag + 2);
        assert_eq!((lasting.ended, lasting.valid_until), (None, None));
        assert!(candidate(&mut empty.reader, tag + 3).ended.is_some());
        tag += 3;
    }
}

pub(super) fn a_rotation_may_end_at_once_what_an_earlier_one_kept(mut empty: Empty) {
    with_ana(&mut empty);
    let phone = issue(&mut empty.store, "ana@example.org", "phone", 1);
    let new = add_secret(&mut empty.store, &phone, 2).unwrap();
    let store = &mut empty.store;
    store
        .finish_rotation(&phone, new, Some(at(1_000)), &root(), at(20))
        .unwrap();
    let third = add_secret(store, &phone, 3).unwrap();
    // A time that has passed is no time.
    store
        .finish_rotation(&phone, third, Some(at(30)), &root(), at(30))
        .unwrap();
    for tag in [1, 2] {
        assert_eq!(candidate(&mut empty.reader, tag).ended, Some(at(30)));
    }
    assert_eq!(candidate(&mut empty.reader, 3).ended, None);
}

pub(super) fn events_are_told_by_mailbox_and_time_and_from_where_one_left_off(mut empty: Empty) {
    let store = &mut empty.store;
    let (ana, bob) = (mailbox("ana@example.org"), mailbox("bob@example.org"));
    store.add_mailbox(&ana, &root(), at(1)).unwrap();
    store.add_mailbox(&bob, &root(), at(2)).unwrap();
    store.remove_mailbox(&ana, &root(), at(3)).unwrap();
    store.add_mailbox(&ana, &root(), at(4)).unwrap();
    let told = |filter: EventFilter<'_>| -> Vec<i64> {
        let events = store.events(filter).unwrap();
        events
            .iter()
            .map(|event| event.at.as_unix() - at(0).as_unix())
            .collect()
    };
    let all = EventFilter::latest(100);
    assert_eq!(told(all), [1, 2, 3, 4]);
    assert_eq!(told(EventFilter::latest(2)), [3, 4]);
    // The removed mailbox of that name too.
    let anas = EventFilter {
        mailbox: Some(&ana),
        ..all
    };
    assert_eq!(told(anas), [1, 3, 4]);
    assert_eq!(
        told(EventFilter {
            since: Some(at(3)),
            ..anas
        }),
        [3, 4]
    );
    let second = store.events(all).unwrap()[1].id;
    assert_eq!(
        told(EventFilter {
            after: Some(second),
            ..all
        }),
        [3, 4]
    );
    assert_eq!(
        told(EventFilter {
            after: Some(second),
            most: 1,
            ..all
        }),
        [3]
    );
    let last = store.events(EventFilter::latest(1)).unwrap()[0].id;
    assert_eq!(
        told(EventFilter {
            after: Some(last),
            ..anas
        }),
        Vec::<i64>::new()
    );
    let nobody = mailbox("nobody");
    let refused = store.events(EventFilter {
        mailbox: Some(&nobody),
        ..all
    });
    assert!(matches!(refused, Err(Error::NoSuchMailbox { .. })));
}

pub(super) fn a_refused_change_of_persons_leaves_no_event(mut empty: Empty) {
    let ana = with_ana(&mut empty);
    let (bob, store) = (person("bob"), &mut empty.store);
    store
        .add_persons(from_ref(&bob), IfThere::Refuse, &root(), at(2))
        .unwrap();
    let before = store.events(EventFilter::latest(100)).unwrap();
    store
        .add_persons(
            &[person("cid"), bob.clone()],
            IfThere::Refuse,
            &root(),
            at(3),
        )
        .unwrap_err();
    store
        .add_persons(from_ref(&bob), IfThere::Skip, &root(), at(3))
        .unwrap();
    store.take_access(&ana, &bob, &root(), at(3)).unwrap_err();
    store
        .give_access(&ana, &person("ana@example.org"), &root(), at(3))
        .unwrap_err();
    try_issue_for(store, &ana, Some(&bob), "phone", 1).unwrap_err();
    store
        .remove_person(&person("cid"), &root(), at(3))
        .unwrap_err();
    assert_eq!(store.events(EventFilter::latest(100)).unwrap(), before);
}
