//! A mailbox's own userdb fields, and what mail processes and the delivery of mail ask.

use super::*;
use crate::model::{Field, FieldError, Fields};
use crate::store::Home;

/// Sets and removes fields, written as on the command line.
fn set(store: &mut Store, set: &[&str], removed: &[&str]) -> Result<Fields, Error> {
    let change = |fields: &mut Fields| {
        for name in removed {
            fields.remove(&name.parse()?);
        }
        set.iter().try_for_each(|field| {
            let Field { name, value } = field.parse()?;
            fields.set(name, value)
        })
    };
    store.set_mailbox_fields(&mailbox("ana@example.org"), change, &root(), at(20))
}

fn home(reader: &mut Reader, name: &str) -> Option<Home> {
    reader.home(&mailbox(name), now()).unwrap()
}

fn names(reader: &mut Reader, after: Option<&str>, most: usize) -> Vec<String> {
    let after = after.map(mailbox);
    let names = reader.names(after.as_ref(), most, now()).unwrap();
    names.iter().map(|name| name.as_str().to_owned()).collect()
}

pub(super) fn fields_are_set_and_removed_one_by_one(mut empty: Empty) {
    with_ana(&mut empty);
    let ana = mailbox("ana@example.org");
    let store = &mut empty.store;
    assert!(store.mailbox(&ana).unwrap().fields.is_empty());
    assert!(
        home(&mut empty.reader, "ana@example.org")
            .unwrap()
            .fields
            .is_empty()
    );

    set(
        store,
        &["quota_rule=*:storage=1G", "home=/srv/%{local}"],
        &[],
    )
    .unwrap();
    let now = set(store, &["quota_rule=*:storage=2G", "acl=x=y"], &["home"]).unwrap();
    assert_eq!(now.to_string(), "quota_rule=*:storage=2G\nacl=x=y");
    assert_eq!(store.mailbox(&ana).unwrap().fields, now);
    assert_eq!(
        home(&mut empty.reader, "ana@example.org").unwrap().fields,
        now
    );
    let none = set(store, &[], &["acl", "quota_rule"]).unwrap();
    assert!(none.is_empty());
    assert_eq!(
        home(&mut empty.reader, "ana@example.org").unwrap().fields,
        none
    );
}

pub(super) fn a_change_of_fields_leaves_their_names_and_no_value(mut empty: Empty) {
    with_ana(&mut empty);
    let store = &mut empty.store;
    set(store, &["crypt_key=secret", "acl=x"], &[]).unwrap();
    set(store, &["quota_rule=*:storage=1G", "acl=x"], &["crypt_key"]).unwrap();
    let events = store.events(EventFilter::latest(2)).unwrap();
    let told: Vec<_> = (events.iter())
        .map(|event| (event.action.as_str(), event.detail.as_deref()))
        .collect();
    let expected = [
        ("fields-set", Some("crypt_key, acl")),
        ("fields-set", Some("quota_rule, -crypt_key")),
    ];
    assert_eq!(told, expected);
    assert_eq!(events[1].mailbox, Some(mailbox("ana@example.org")));
}

pub(super) fn fields_that_are_so_already_leave_no_event(mut empty: Empty) {
    with_ana(&mut empty);
    let store = &mut empty.store;
    set(store, &["acl=x"], &[]).unwrap();
    let before = store.events(EventFilter::latest(10)).unwrap();
    set(store, &["acl=x"], &["home"]).unwrap();
    set(store, &[], &[]).unwrap();
    assert_eq!(store.events(EventFilter::latest(10)).unwrap(), before);
}

pub(super) fn refused_fields_change_nothing(mut empty: Empty) {
    with_ana(&mut empty);
    let store = &mut empty.store;
    set(store, &["acl=x"], &[]).unwrap();
    let before = store.events(EventFilter::latest(10)).unwrap();
    let refused = set(store, &["acl=y", "uid=0"], &[]);
    assert!(
        matches!(
            refused,
            Err(Error::Fields {
                source: FieldError::Number,
                ..
            })
        ),
        "{refused:?}"
    );
    let now = home(&mut empty.reader, "ana@example.org").unwrap().fields;
    assert_eq!(now.to_string(), "acl=x");
    let nobody = mailbox("nobody@example.org");
    let refused = store.set_mailbox_fields(&nobody, |_| Ok(()), &root(), at(21));
    assert!(
        matches!(refused, Err(Error::NoSuchMailbox { .. })),
        "{refused:?}"
    );
    assert_eq!(store.events(EventFilter::latest(10)).unwrap(), before);
}

pub(super) fn a_disabled_mailbox_has_a_home_and_a_removed_one_has_none(mut empty: Empty) {
    with_ana(&mut empty);
    let ana = mailbox("ana@example.org");
    set(&mut empty.store, &["acl=x"], &[]).unwrap();
    let before = home(&mut empty.reader, "ana@example.org");
    assert_eq!(before.as_ref().unwrap().mailbox, ana);
    let store = &mut empty.store;
    store
        .set_mailbox_enabled(&ana, false, &root(), at(21))
        .unwrap();
    assert_eq!(home(&mut empty.reader, "ana@example.org"), before);
    assert_eq!(names(&mut empty.reader, None, 10), ["ana@example.org"]);

    store.remove_mailbox(&ana, &root(), at(22)).unwrap();
    assert_eq!(home(&mut empty.reader, "ana@example.org"), None);
    assert_eq!(home(&mut empty.reader, "nobody@example.org"), None);
    assert!(names(&mut empty.reader, None, 10).is_empty());

    // One of the same name begins anew.
    store.add_mailbox(&ana, &root(), at(23)).unwrap();
    assert!(
        home(&mut empty.reader, "ana@example.org")
            .unwrap()
            .fields
            .is_empty()
    );
    assert_eq!(names(&mut empty.reader, None, 10), ["ana@example.org"]);
}

pub(super) fn names_come_page_by_page_in_the_order_of_their_bytes(mut empty: Empty) {
    assert!(names(&mut empty.reader, None, 10).is_empty());
    for name in ["c@x", "a@y", "a@x", "ä@x", "b"] {
        empty
            .store
            .add_mailbox(&mailbox(name), &root(), at(1))
            .unwrap();
    }
    let reader = &mut empty.reader;
    assert_eq!(names(reader, None, 10), ["a@x", "a@y", "b", "c@x", "ä@x"]);
    assert_eq!(names(reader, None, 2), ["a@x", "a@y"]);
    assert_eq!(names(reader, Some("a@y"), 2), ["b", "c@x"]);
    // Whether there is one of that name or not.
    assert_eq!(names(reader, Some("bb"), 9), ["c@x", "ä@x"]);
    assert!(names(reader, Some("ä@x"), 9).is_empty());
    assert!(names(reader, None, 0).is_empty());
}
