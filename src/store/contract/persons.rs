//! Persons and their access: given, taken away, and what goes with it.

use super::*;

pub(super) fn a_person_is_added_once(mut empty: Empty) {
    let (bob, cid) = (person("bob@example.org"), person("cid"));
    let store = &mut empty.store;
    let both = [bob.clone(), cid.clone()];
    let added = store.add_persons(&both, IfThere::Refuse, &root(), at(1));
    assert_eq!(added.unwrap(), both);
    let again = store.add_persons(from_ref(&bob), IfThere::Refuse, &root(), at(2));
    assert!(matches!(again, Err(Error::PersonExists { person }) if person == bob));
    let row = store.person(&bob).unwrap();
    assert_eq!((row.added, row.accesses, row.active), (at(1), 0, 0));
    assert_eq!(store.persons().unwrap(), [row, store.person(&cid).unwrap()]);
    assert_eq!(actions(store), ["person-added", "person-added"]);
    let event = &store.events(EventFilter::latest(1)).unwrap()[0];
    assert_eq!((&event.person, &event.mailbox), (&Some(cid), &None));
}

pub(super) fn names_that_are_there_are_skipped_where_that_is_asked_for(mut empty: Empty) {
    let store = &mut empty.store;
    let (ana, bob) = (mailbox("ana@example.org"), mailbox("bob@example.org"));
    store.add_mailbox(&ana, &root(), at(1)).unwrap();
    let twice = [ana.clone(), bob.clone(), bob.clone()];
    let added = store.add_mailboxes(&twice, IfThere::Skip, &root(), at(2));
    assert_eq!(added.unwrap(), [bob]);
    assert_eq!(store.mailbox(&ana).unwrap().added, at(1));
    assert_eq!(actions(store), ["mailbox-added", "mailbox-added"]);

    let twice = [person("bob"), person("cid"), person("bob")];
    let refused = store.add_persons(&twice, IfThere::Refuse, &root(), at(3));
    assert!(matches!(refused, Err(Error::PersonExists { .. })));
    assert_eq!(store.persons().unwrap(), []);
    let added = store.add_persons(&twice, IfThere::Skip, &root(), at(3));
    assert_eq!(added.unwrap(), twice[..2]);
}

pub(super) fn thousands_of_names_are_one_transaction(mut empty: Empty) {
    let store = &mut empty.store;
    let mut names: Vec<Mailbox> = (0..5_000).map(|n| mailbox(&format!("m{n}"))).collect();
    names.push(mailbox("m17"));
    let refused = store.add_mailboxes(&names, IfThere::Refuse, &root(), at(1));
    assert!(matches!(refused, Err(Error::MailboxExists { .. })));
    assert_eq!(store.mailboxes().unwrap(), []);
    let added = store.add_mailboxes(&names, IfThere::Skip, &root(), at(1));
    assert_eq!(added.unwrap().len(), 5_000);
    assert_eq!(store.mailboxes().unwrap().len(), 5_000);
}

pub(super) fn a_person_that_does_not_exist_is_named_in_the_error(mut empty: Empty) {
    let ana = with_ana(&mut empty);
    let (nobody, store) = (person("nobody"), &mut empty.store);
    let errors = [
        store.person(&nobody).unwrap_err(),
        store.remove_person(&nobody, &root(), at(2)).unwrap_err(),
        store
            .give_access(&ana, &nobody, &root(), at(2))
            .unwrap_err(),
        store
            .take_access(&ana, &nobody, &root(), at(2))
            .unwrap_err(),
        store.accesses(None, Some(&nobody)).unwrap_err(),
        try_issue_for(store, &ana, Some(&nobody), "phone", 1).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.to_string(), "there is no person \"nobody\"");
    }
    let no_mailbox = [
        store
            .give_access(&mailbox("x"), &nobody, &root(), at(2))
            .map(drop),
        store
            .take_access(&mailbox("x"), &nobody, &root(), at(2))
            .map(drop),
        store.accesses(Some(&mailbox("x")), None).map(drop),
    ];
    for error in no_mailbox {
        assert!(
            matches!(error, Err(Error::NoSuchMailbox { .. })),
            "{error:?}"
        );
    }
}

pub(super) fn access_is_given_once_and_listed(mut empty: Empty) {
    let office = Office::open(&mut empty);
    let store = &mut empty.store;
    let (bob, cid) = (person("bob@example.org"), person("cid"));
    let again = store.give_access(&office.office, &bob, &root(), at(5));
    assert!(
        matches!(again, Err(Error::AccessExists { .. })),
        "{again:?}"
    );
    let own = store.give_access(&mailbox("bob@example.org"), &bob, &root(), at(5));
    assert!(matches!(own, Err(Error::OwnMailbox { .. })), "{own:?}");

    let rows = store.accesses(Some(&office.office), None).unwrap();
    let persons: Vec<_> = rows
        .iter()
        .map(|row| (row.person.clone(), row.active))
        .collect();
    assert_eq!(persons, [(bob.clone(), 2), (cid.clone(), 1)]);
    assert_eq!((rows[0].given, rows[0].given_by.as_str()), (at(3), "root"));
    let rows = store.accesses(None, Some(&bob)).unwrap();
    let mailboxes: Vec<_> = rows.iter().map(|row| row.mailbox.as_str()).collect();
    assert_eq!(mailboxes, ["ana@example.org", "office@example.org"]);
    assert_eq!(store.accesses(None, None).unwrap().len(), 3);
    let one = store.accesses(Some(&office.office), Some(&bob)).unwrap();
    assert_eq!(one, [rows[1].clone()]);
    let row = store.person(&bob).unwrap();
    assert_eq!((row.accesses, row.active), (2, 3));
}

pub(super) fn a_persons_device_password_hangs_on_a_living_access(mut empty: Empty) {
    let ana = with_ana(&mut empty);
    let bob = person("bob");
    let store = &mut empty.store;
    store
        .add_persons(from_ref(&bob), IfThere::Refuse, &root(), at(1))
        .unwrap();
    let refused = try_issue_for(store, &ana, Some(&bob), "phone", 1);
    assert!(
        matches!(&refused, Err(Error::NoAccess { mailbox, person }) if (mailbox, person) == (&ana, &bob)),
        "{refused:?}"
    );
    let access = store.give_access(&ana, &bob, &root(), at(2)).unwrap();
    let phone = try_issue_for(store, &ana, Some(&bob), "phone", 1).unwrap();
    assert_eq!(phone.person, Some(bob.clone()));
    assert_eq!(phone.access, Some(access.clone()));
    // The person of the mailbox's name is its owner, whether or not such a person was added.
    let own = try_issue_for(store, &ana, Some(&person("ana@example.org")), "phone", 2).unwrap();
    assert_eq!((own.person, own.access), (None, None));

    let behind = candidate(&mut empty.reader, 1).access.unwrap();
    assert_eq!(
        (behind.id, behind.person, behind.ended),
        (access, bob.clone(), None)
    );
    assert_eq!(candidate(&mut empty.reader, 2).access, None);
    let store = &mut empty.store;
    let issued = &store.events(EventFilter::latest(2)).unwrap()[0];
    assert_eq!(
        (&issued.person, &issued.access),
        (&Some(bob.clone()), &phone.access)
    );
    store.take_access(&ana, &bob, &root(), at(20)).unwrap();
    let refused = try_issue_for(store, &ana, Some(&bob), "tablet", 3);
    assert!(
        matches!(refused, Err(Error::NoAccess { .. })),
        "{refused:?}"
    );
}

pub(super) fn equal_labels_of_two_persons_stay_two(mut empty: Empty) {
    let office = Office::open(&mut empty);
    let store = &mut empty.store;
    let of_office = |store: &Store| {
        store
            .devices_labelled(&office.office, &label("phone"), Revoked::Hidden)
            .unwrap()
    };
    let [own, bobs, cids] = of_office(store).try_into().unwrap();
    assert_eq!(
        (own.person.clone(), bobs.person.clone()),
        (None, Some(person("bob@example.org")))
    );
    let again = try_issue_for(store, &office.office, bobs.person.as_ref(), "phone", 40);
    assert!(matches!(again, Err(Error::LabelTaken { .. })), "{again:?}");

    let new = add_secret(store, &bobs.id, 41).unwrap();
    store
        .finish_rotation(&bobs.id, new, None, &root(), at(30))
        .unwrap();
    let few = Limits {
        services: Services::from_bits(1),
        ..Limits::default()
    };
    store
        .set_limits(&bobs.id, |_| few.clone(), &root(), at(31))
        .unwrap();
    store
        .rename(&bobs.id, &label("handy"), &root(), at(32))
        .unwrap();
    assert_eq!(of_office(store), [own.clone(), cids.clone()]);
    store
        .rename(&bobs.id, &label("phone"), &root(), at(33))
        .unwrap();
    store.revoke(&[bobs.id], &root(), at(34)).unwrap();
    assert_eq!(of_office(store), [own, cids]);
    for tag in [office.own, office.cids] {
        assert_eq!(at_office(&mut empty.reader, tag).ended, None);
    }
}

pub(super) fn taking_access_away_revokes_that_persons_device_passwords_there_and_no_other(
    mut empty: Empty,
) {
    let office = Office::open(&mut empty);
    let bob = person("bob@example.org");
    let store = &mut empty.store;
    let before = store.devices(None, Revoked::Shown).unwrap();
    let events = store.events(EventFilter::latest(1_000)).unwrap().len();
    let access = store.accesses(Some(&office.office), Some(&bob)).unwrap()[0]
        .id
        .clone();

    let revoked = store
        .take_access(&office.office, &bob, &root(), at(30))
        .unwrap();
    assert_eq!(
        revoked
            .iter()
            .map(|row| row.label.as_str())
            .collect::<Vec<_>>(),
        ["phone", "laptop"]
    );
    assert!(
        revoked
            .iter()
            .all(|row| row.access == Some(access.clone()) && row.revoked == Some(at(30)))
    );
    for (was, is) in before
        .into_iter()
        .zip(store.devices(None, Revoked::Shown).unwrap())
    {
        if revoked.iter().any(|row| row.id == was.id) {
            assert_eq!(is.revoked, Some(at(30)));
        } else {
            assert_eq!(is, was);
        }
    }
    let events = store
        .events(EventFilter::latest(1_000))
        .unwrap()
        .split_off(events);
    let said: Vec<_> = events.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(said, ["revoked", "revoked", "access-taken"]);
    for event in &events {
        assert_eq!(
            (&event.person, &event.access),
            (&Some(bob.clone()), &Some(access.clone()))
        );
        assert_eq!(
            (event.at, &event.mailbox),
            (at(30), &Some(office.office.clone()))
        );
    }

    let behind = at_office(&mut empty.reader, office.bobs);
    assert_eq!((behind.revoked, behind.ended), (Some(at(30)), Some(at(30))));
    assert_eq!(behind.access.unwrap().ended, Some(at(30)));
    let store = &mut empty.store;
    let again = store.take_access(&office.office, &bob, &root(), at(31));
    assert!(matches!(again, Err(Error::NoAccess { .. })), "{again:?}");
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
}

pub(super) fn access_given_again_revives_nothing(mut empty: Empty) {
    let office = Office::open(&mut empty);
    let bob = person("bob@example.org");
    let store = &mut empty.store;
    let first = store
        .accesses(Some(&office.office), Some(&bob))
        .unwrap()
        .remove(0);
    store
        .take_access(&office.office, &bob, &root(), at(30))
        .unwrap();
    let second = store
        .give_access(&office.office, &bob, &root(), at(31))
        .unwrap();
    assert_ne!(first.id, second);
    let row = store
        .accesses(Some(&office.office), Some(&bob))
        .unwrap()
        .remove(0);
    assert_eq!((row.id, row.given, row.active), (second, at(31), 0));
    // The label is free, for it belongs to another access.
    try_issue_for(store, &office.office, Some(&bob), "phone", 40).unwrap();
    assert_eq!(
        at_office(&mut empty.reader, office.bobs).revoked,
        Some(at(30))
    );
}

pub(super) fn removing_a_person_takes_their_access_everywhere(mut empty: Empty) {
    let office = Office::open(&mut empty);
    let bob = person("bob@example.org");
    let store = &mut empty.store;
    let before = store.devices(None, Revoked::Shown).unwrap();
    let revoked = store.remove_person(&bob, &root(), at(30)).unwrap();
    assert_eq!(revoked.len(), 3);
    for (was, is) in before
        .into_iter()
        .zip(store.devices(None, Revoked::Shown).unwrap())
    {
        // What Bob has on his own mailbox is the mailbox's.
        assert_eq!(
            is.revoked.is_some(),
            was.person.as_ref() == Some(&bob),
            "{was:?}"
        );
    }
    assert!(matches!(
        store.person(&bob),
        Err(Error::NoSuchPerson { .. })
    ));
    assert_eq!(store.persons().unwrap().len(), 1);
    assert_eq!(store.accesses(None, None).unwrap().len(), 1);
    assert_eq!(actions(store).last().unwrap(), "person-removed");

    store
        .add_persons(from_ref(&bob), IfThere::Refuse, &root(), at(31))
        .unwrap();
    let row = store.person(&bob).unwrap();
    assert_eq!((row.accesses, row.active), (0, 0));
    let refused = try_issue_for(store, &office.office, Some(&bob), "phone", 40);
    assert!(
        matches!(refused, Err(Error::NoAccess { .. })),
        "{refused:?}"
    );
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
}

pub(super) fn removing_a_mailbox_ends_the_accesses_to_it_alone(mut empty: Empty) {
    let office = Office::open(&mut empty);
    let store = &mut empty.store;
    let revoked = store
        .remove_mailbox(&office.office, &root(), at(30))
        .unwrap();
    assert_eq!(revoked.len(), 4);
    let left = store.accesses(None, None).unwrap();
    assert_eq!(
        left.iter()
            .map(|row| row.mailbox.as_str())
            .collect::<Vec<_>>(),
        ["ana@example.org"]
    );
    // The person is not the mailbox of the same name.
    store
        .remove_mailbox(&mailbox("bob@example.org"), &root(), at(31))
        .unwrap();
    assert_eq!(store.accesses(None, None).unwrap(), left);
    assert_eq!(store.person(&person("bob@example.org")).unwrap().active, 1);
    let events = store.events(EventFilter::latest(1_000)).unwrap();
    let taken = events.iter().filter(|event| event.action == "access-taken");
    assert_eq!(
        taken
            .filter(|event| event.mailbox == Some(office.office.clone()))
            .count(),
        2
    );

    store.add_mailbox(&office.office, &root(), at(32)).unwrap();
    assert_eq!(store.accesses(Some(&office.office), None).unwrap(), []);
}

/// `office@example.org`, which Bob and Cid may open; Bob may open Ana's too, and owns his own. Everybody
/// has a phone, on each mailbox that they may open.
struct Office {
    office: Mailbox,
    /// Tags of the office's phones.
    own: u16,
    bobs: u16,
    cids: u16,
}

impl Office {
    fn open(empty: &mut Empty) -> Self {
        let store = &mut empty.store;
        let [office, ana, bobs] =
            ["office@example.org", "ana@example.org", "bob@example.org"].map(mailbox);
        let (bob, cid) = (person("bob@example.org"), person("cid"));
        let mailboxes = [office.clone(), ana.clone(), bobs.clone()];
        store
            .add_mailboxes(&mailboxes, IfThere::Refuse, &root(), at(1))
            .unwrap();
        let persons = [bob.clone(), cid.clone()];
        store
            .add_persons(&persons, IfThere::Refuse, &root(), at(2))
            .unwrap();
        for (mailbox, person) in [(&office, &bob), (&office, &cid), (&ana, &bob)] {
            store.give_access(mailbox, person, &root(), at(3)).unwrap();
        }
        for (mailbox, person, label, tag) in [
            (&office, None, "phone", 1),
            (&office, Some(&bob), "phone", 2),
            (&office, Some(&cid), "phone", 3),
            (&office, Some(&bob), "laptop", 4),
            (&office, Some(&bob), "lost", 5),
            (&ana, None, "phone", 1),
            (&ana, Some(&bob), "phone", 2),
            (&bobs, None, "phone", 1),
        ] {
            let row = try_issue_for(store, mailbox, person, label, tag).unwrap();
            if label == "lost" {
                store.revoke(&[row.id], &root(), at(12)).unwrap();
            }
        }
        Self {
            office,
            own: 1,
            bobs: 2,
            cids: 3,
        }
    }
}

fn at_office(reader: &mut Reader, tag: u16) -> super::super::Candidate {
    let found = look_up(reader, "office@example.org", tag).unwrap();
    found.candidate.unwrap()
}
