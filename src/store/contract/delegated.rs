//! The look-up of somebody who opens a mailbox with a device password of their own one.

use super::super::{Delegated, Wanted};
use super::*;

pub(super) fn a_delegated_look_up_finds_mailbox_access_and_secret(mut empty: Empty) {
    let access = with_bob_at_office(&mut empty);
    let reader = &mut empty.reader;
    let delegated = ask(reader, "office@example.org", "bob@example.org", 1);
    assert_eq!(
        delegated.wanted,
        Some(Wanted {
            mailbox: mailbox("office@example.org"),
            enabled: true
        })
    );
    let given = delegated.access.clone().unwrap();
    assert_eq!(
        (given.id, given.person, given.ended),
        (access, person("bob@example.org"), None)
    );
    let found = look_up(reader, "bob@example.org", 1);
    assert_eq!(delegated.found, found);
    let secret = found.unwrap().candidate.unwrap().secret;
    assert_eq!(
        ask_again(reader, "office@example.org", "bob@example.org", secret),
        delegated
    );
}

pub(super) fn what_is_missing_from_a_delegation_is_missing_alone(mut empty: Empty) {
    with_bob_at_office(&mut empty);
    let reader = &mut empty.reader;
    let shape = |it: Delegated| {
        let candidate = it
            .found
            .as_ref()
            .is_some_and(|found| found.candidate.is_some());
        (
            it.wanted.is_some(),
            it.access.is_some(),
            it.found.is_some(),
            candidate,
        )
    };
    for (wanted, person, tag, expected) in [
        (
            "office@example.org",
            "bob@example.org",
            1,
            (true, true, true, true),
        ),
        (
            "office@example.org",
            "bob@example.org",
            9,
            (true, true, true, false),
        ),
        (
            "office@example.org",
            "nobody",
            1,
            (true, false, false, false),
        ),
        ("nothing", "bob@example.org", 1, (false, false, true, true)),
        ("nothing", "nobody", 1, (false, false, false, false)),
        // Known, but with neither access nor a mailbox of their own.
        ("office@example.org", "cid", 1, (true, false, false, false)),
        // The other way round: access is no exchange.
        (
            "bob@example.org",
            "office@example.org",
            1,
            (true, false, true, true),
        ),
        (
            "bob@example.org",
            "bob@example.org",
            1,
            (true, false, true, true),
        ),
    ] {
        let delegated = ask(reader, wanted, person, tag);
        assert_eq!(shape(delegated), expected, "{wanted} {person} {tag}");
    }
    let none = reader
        .look_up_delegated_tag(None, None, None, now())
        .unwrap();
    assert_eq!(shape(none), (false, false, false, false));
}

pub(super) fn what_ends_is_gone_from_the_next_delegated_look_up(mut empty: Empty) {
    with_bob_at_office(&mut empty);
    let (office, bob) = (mailbox("office@example.org"), person("bob@example.org"));
    let found = look_up(&mut empty.reader, "bob@example.org", 1);
    let secret = found.unwrap().candidate.unwrap().secret;
    let both = |store: &mut Empty| {
        let asked = ask(
            &mut store.reader,
            "office@example.org",
            "bob@example.org",
            1,
        );
        let again = ask_again(
            &mut store.reader,
            "office@example.org",
            "bob@example.org",
            secret,
        );
        assert_eq!(asked, again);
        again
    };
    empty
        .store
        .set_mailbox_enabled(&office, false, &root(), at(20))
        .unwrap();
    assert!(!both(&mut empty).wanted.unwrap().enabled);
    empty
        .store
        .take_access(&office, &bob, &root(), at(21))
        .unwrap();
    assert_eq!(both(&mut empty).access, None);
    let access = empty
        .store
        .give_access(&office, &bob, &root(), at(22))
        .unwrap();
    assert_eq!(both(&mut empty).access.unwrap().id, access);
    empty.store.remove_person(&bob, &root(), at(23)).unwrap();
    let after = both(&mut empty);
    assert_eq!((after.access, after.found.is_some()), (None, true));
    empty
        .store
        .remove_mailbox(&office, &root(), at(24))
        .unwrap();
    assert_eq!(both(&mut empty).wanted, None);
    let bobs = mailbox("bob@example.org");
    empty.store.remove_mailbox(&bobs, &root(), at(25)).unwrap();
    assert_eq!(both(&mut empty).found, None);
}

/// Bob, with a phone of tag 1 on his own mailbox, and access to the office; and Cid, without.
fn with_bob_at_office(empty: &mut Empty) -> AccessId {
    let store = &mut empty.store;
    for name in ["office@example.org", "bob@example.org"] {
        store.add_mailbox(&mailbox(name), &root(), at(1)).unwrap();
        issue(store, name, "phone", 1);
    }
    let bob = person("bob@example.org");
    let persons = [bob.clone(), person("cid")];
    store
        .add_persons(&persons, IfThere::Refuse, &root(), at(1))
        .unwrap();
    store
        .give_access(&mailbox("office@example.org"), &bob, &root(), at(2))
        .unwrap()
}

fn ask(reader: &mut Reader, wanted: &str, who: &str, tag: u16) -> Delegated {
    let tag = Some(Tag::from_bits(tag));
    let (wanted, who) = (mailbox(wanted), person(who));
    reader
        .look_up_delegated_tag(Some(&wanted), Some(&who), tag, now())
        .unwrap()
}

fn ask_again(reader: &mut Reader, wanted: &str, who: &str, secret: SecretId) -> Delegated {
    let (wanted, who) = (mailbox(wanted), person(who));
    reader
        .look_again_delegated(Some(&wanted), Some(&who), secret, now())
        .unwrap()
}
