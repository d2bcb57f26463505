//! What every back end must do, whatever stands behind [`Store`] and [`Reader`].
//!
//! A case is a function that gets an empty store. [`for_every_case`] names them all; a back end makes
//! each a test of its own by giving a way to make an empty store, as the module `sqlite` below does.

mod changes;
mod delegated;
mod homes;
mod persons;
mod uses;

use std::slice::from_ref;
use std::time::{Duration, Instant};

use changes::*;
use delegated::*;
use homes::*;
use persons::*;
use uses::*;

use super::{
    DeviceRow, Error, EventFilter, Found, IfThere, NewDevice, NewSecret, Reader, Recorder, Revoked,
    SecretId, Selection, Store,
};
use crate::model::{
    AccessId, Actor, DeviceId, Label, Limits, Mailbox, Person, Services, Timestamp, Via,
};
use crate::password::tag::Tag;

/// An empty store, and the log-in path's view of it.
pub(super) struct Empty {
    pub(super) store: Store,
    pub(super) reader: Reader,
    /// Keeps three lines of each history.
    pub(super) recorder: Recorder,
    /// What must live as long: a directory, a server.
    pub(super) _keep: Box<dyn std::any::Any>,
}

macro_rules! for_every_case {
    ($make:path) => {
        for_every_case! { $make:
            a_new_store_has_nothing_in_it,
            a_mailbox_is_added_once,
            of_several_mailboxes_all_are_added_or_none,
            a_mailbox_that_does_not_exist_is_named_in_the_error,
            disabling_keeps_device_passwords_and_is_reported_once,
            an_issued_secret_is_found_by_its_tag_and_by_no_other,
            limits_come_back_as_they_were_stored,
            names_that_are_none_and_passwords_without_tag_find_nothing,
            of_several_all_are_issued_or_none,
    a_label_is_unique_among_the_active_ones,
            renaming_keeps_to_the_same_rule,
            a_tag_is_unique_in_its_mailbox_even_among_tombstones,
            an_id_is_unique,
            revoked_is_for_good_and_found_as_such,
            revoking_several_is_all_or_none,
            revoking_everything_means_what_is_there_then,
            revoking_one_touches_no_other_with_the_same_label,
            removing_a_mailbox_revokes_everything_and_revives_nothing,
            both_secrets_live_until_a_rotation_is_finished,
            a_withdrawn_secret_leaves_the_old_one_alone,
            of_two_crossing_rotations_one_is_told_that_it_lost,
            every_change_leaves_its_event,
            a_refused_change_leaves_no_event,
            a_check_of_a_healthy_store_finds_nothing,
            a_person_is_added_once,
            names_that_are_there_are_skipped_where_that_is_asked_for,
            thousands_of_names_are_one_transaction,
            a_person_that_does_not_exist_is_named_in_the_error,
            access_is_given_once_and_listed,
            a_persons_device_password_hangs_on_a_living_access,
            equal_labels_of_two_persons_stay_two,
            taking_access_away_revokes_that_persons_device_passwords_there_and_no_other,
            access_given_again_revives_nothing,
            removing_a_person_takes_their_access_everywhere,
            removing_a_mailbox_ends_the_accesses_to_it_alone,
            a_delegated_look_up_finds_mailbox_access_and_secret,
            what_is_missing_from_a_delegation_is_missing_alone,
            what_ends_is_gone_from_the_next_delegated_look_up,
            uses_are_counted_by_service_and_address,
            a_history_keeps_its_newest_lines,
            what_is_not_there_is_not_recorded_and_hinders_nothing,
            attempts_are_summed_over_the_ended_secrets_of_a_device,
            a_tried_tombstone_leaves_one_event_an_hour_and_address,
            whoever_tries_from_everywhere_fills_neither_log_nor_history,
            tombstones_lose_their_hash_in_time_and_keep_their_line,
            old_events_are_dropped_in_batches,
            what_nobody_uses_is_found,
            who_writes_waits_for_no_lock,
            limits_are_replaced_and_count_as_a_sign_of_life,
            an_old_secret_that_is_kept_lives_until_its_time,
            a_rotation_may_end_at_once_what_an_earlier_one_kept,
            of_two_crossing_rotations_the_finished_one_lasts_whoever_keeps_old_secrets,
            events_are_told_by_mailbox_and_time_and_from_where_one_left_off,
            a_refused_change_of_persons_leaves_no_event,
            fields_are_set_and_removed_one_by_one,
            a_change_of_fields_leaves_their_names_and_no_value,
            fields_that_are_so_already_leave_no_event,
            refused_fields_change_nothing,
            a_disabled_mailbox_has_a_home_and_a_removed_one_has_none,
            names_come_page_by_page_in_the_order_of_their_bytes,
        }
    };
    ($make:path: $($case:ident,)*) => {
        $(#[test] fn $case() { super::$case($make()); })*
    };
}

mod sqlite {
    use super::Empty;
    use crate::store::{Created, Identity, Reader, Recorder, Store};

    pub(super) fn empty() -> Empty {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test.db");
        let (store, created) = Store::open_or_create(&path, super::at(0)).unwrap();
        assert_eq!(created, Created::Yes);
        Empty {
            store,
            reader: Reader::new(path.clone(), Identity::default()),
            recorder: Recorder::new(path, Identity::default(), 3),
            _keep: Box::new(directory),
        }
    }

    for_every_case!(empty);
}

fn a_new_store_has_nothing_in_it(mut empty: Empty) {
    assert_eq!(empty.store.mailboxes().unwrap(), []);
    assert_eq!(empty.store.devices(None, Revoked::Shown).unwrap(), []);
    assert_eq!(empty.store.events(EventFilter::latest(10)).unwrap(), []);
    assert_eq!(look_up(&mut empty.reader, "ana@example.org", 1), None);
}

fn a_mailbox_is_added_once(mut empty: Empty) {
    let ana = mailbox("ana@example.org");
    empty.store.add_mailbox(&ana, &root(), at(1)).unwrap();
    let again = empty.store.add_mailbox(&ana, &root(), at(2));
    assert!(matches!(again, Err(Error::MailboxExists { mailbox }) if mailbox == ana));
    let row = empty.store.mailbox(&ana).unwrap();
    assert_eq!((row.enabled, row.added, row.active), (true, at(1), 0));
    assert_eq!(empty.store.mailboxes().unwrap(), [row]);
}

fn of_several_mailboxes_all_are_added_or_none(mut empty: Empty) {
    let (ana, bob) = (mailbox("ana@example.org"), mailbox("bob@example.org"));
    let twice = [ana.clone(), bob.clone(), ana.clone()];
    let refused = empty
        .store
        .add_mailboxes(&twice, IfThere::Refuse, &root(), at(1));
    assert!(matches!(refused, Err(Error::MailboxExists { mailbox }) if mailbox == ana));
    assert_eq!(empty.store.mailboxes().unwrap(), []);
    empty
        .store
        .add_mailboxes(&[ana, bob], IfThere::Refuse, &root(), at(1))
        .unwrap();
    assert_eq!(empty.store.mailboxes().unwrap().len(), 2);
}

fn a_mailbox_that_does_not_exist_is_named_in_the_error(mut empty: Empty) {
    let nobody = mailbox("nobody@example.org");
    let store = &mut empty.store;
    let errors = [
        store.mailbox(&nobody).unwrap_err(),
        store.devices(Some(&nobody), Revoked::Shown).unwrap_err(),
        store
            .devices_labelled(&nobody, &label("phone"), Revoked::Hidden)
            .unwrap_err(),
        store
            .set_mailbox_enabled(&nobody, false, &root(), at(1))
            .unwrap_err(),
        store.remove_mailbox(&nobody, &root(), at(1)).unwrap_err(),
        store
            .revoke_selected(&all_of(&nobody), &root(), at(1))
            .unwrap_err(),
        try_issue(store, "nobody@example.org", "phone", 1).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(
            error.to_string(),
            "there is no mailbox \"nobody@example.org\""
        );
    }
}

fn disabling_keeps_device_passwords_and_is_reported_once(mut empty: Empty) {
    let ana = with_ana(&mut empty);
    issue(&mut empty.store, "ana@example.org", "phone", 1);
    for _ in 0..2 {
        empty
            .store
            .set_mailbox_enabled(&ana, false, &root(), at(5))
            .unwrap();
    }
    let found = look_up(&mut empty.reader, "ana@example.org", 1).unwrap();
    assert!(!found.enabled);
    assert_eq!(found.candidate.unwrap().revoked, None);
    // An operator may prepare a mailbox that nobody can use yet.
    issue(&mut empty.store, "ana@example.org", "laptop", 2);
    empty
        .store
        .set_mailbox_enabled(&ana, true, &root(), at(6))
        .unwrap();
    assert!(
        look_up(&mut empty.reader, "ana@example.org", 1)
            .unwrap()
            .enabled
    );
    assert_eq!(
        actions(&empty.store),
        [
            "mailbox-added",
            "issued",
            "mailbox-disabled",
            "issued",
            "mailbox-enabled"
        ]
    );
}

fn an_issued_secret_is_found_by_its_tag_and_by_no_other(mut empty: Empty) {
    let ana = with_ana(&mut empty);
    empty
        .store
        .add_mailbox(&mailbox("bob@example.org"), &root(), at(1))
        .unwrap();
    let phone = issue(&mut empty.store, "ana@example.org", "phone", 7);
    let bobs = issue(&mut empty.store, "bob@example.org", "phone", 7);

    let found = look_up(&mut empty.reader, "ana@example.org", 7).unwrap();
    assert_eq!((&found.mailbox, found.enabled), (&ana, true));
    let candidate = found.candidate.clone().unwrap();
    assert_eq!(candidate.device, phone);
    assert_eq!(candidate.phc, phc(7));
    assert_eq!(candidate.limits, Limits::default());
    assert_eq!(candidate.last_sign_of_life, at(10));
    assert_eq!(
        (candidate.ended, candidate.valid_until, candidate.revoked),
        (None, None, None)
    );
    assert_eq!(candidate.access, None);
    assert_eq!(look_again(&mut empty.reader, candidate.secret), Some(found));

    let other = look_up(&mut empty.reader, "bob@example.org", 7).unwrap();
    assert_eq!(other.candidate.unwrap().device, bobs);
    let missed = look_up(&mut empty.reader, "ana@example.org", 8).unwrap();
    assert_eq!(missed.candidate, None);
}

fn limits_come_back_as_they_were_stored(mut empty: Empty) {
    with_ana(&mut empty);
    let limits = Limits {
        services: Services::from_bits(0b0101),
        networks: Some("192.0.2.0/24,2001:db8::/32".parse().unwrap()),
        expires: Some(at(1_000)),
        expires_unused_days: Some(u32::MAX),
    };
    let id = DeviceId::random().unwrap();
    let (ana, phone) = (mailbox("ana@example.org"), label("phone"));
    let new = NewDevice {
        id: &id,
        mailbox: &ana,
        person: None,
        label: &phone,
        limits: &limits,
        secret: NewSecret {
            tag: Tag::from_bits(u16::MAX),
            phc: "$argon2id$",
        },
    };
    let issued = empty.store.issue(&new, &root(), at(10)).unwrap();
    let found = look_up(&mut empty.reader, "ana@example.org", u16::MAX).unwrap();
    assert_eq!(found.candidate.unwrap().limits, limits);
    assert_eq!(empty.store.device(&id).unwrap(), issued);
    assert_eq!(
        issued,
        DeviceRow {
            id,
            mailbox: ana,
            person: None,
            access: None,
            label: phone,
            limits,
            issued: at(10),
            issued_by: "root".to_owned(),
            revoked: None,
            revoked_by: None,
            old_until: None,
            last_use: None,
            attempts: None,
            last_sign_of_life: at(10),
        }
    );
}

fn names_that_are_none_and_passwords_without_tag_find_nothing(mut empty: Empty) {
    let ana = with_ana(&mut empty);
    issue(&mut empty.store, "ana@example.org", "phone", 0);
    let reader = &mut empty.reader;
    assert_eq!(reader.look_up_tag(None, None, now()).unwrap(), None);
    let zero = Some(Tag::from_bits(0));
    assert_eq!(reader.look_up_tag(None, zero, now()).unwrap(), None);
    let found = reader
        .look_up_tag(Some(&ana), None, now())
        .unwrap()
        .unwrap();
    assert_eq!((found.mailbox, found.candidate), (ana, None));
    assert_eq!(look_again(reader, SecretId(999)), None);
}

fn of_several_all_are_issued_or_none(mut empty: Empty) {
    let (ana, limits) = (with_ana(&mut empty), Limits::default());
    let mut issue_all = |labels: &[&str]| {
        let drawn: Vec<_> = (1..)
            .zip(labels)
            .map(|(tag, text)| (DeviceId::random().unwrap(), label(text), tag, phc(tag)))
            .collect();
        let new = drawn.iter().map(|(id, label, tag, phc)| NewDevice {
            id,
            mailbox: &ana,
            person: None,
            label,
            limits: &limits,
            secret: NewSecret {
                tag: Tag::from_bits(*tag),
                phc,
            },
        });
        let new: Vec<_> = new.collect();
        let issued = empty.store.issue_all(&new, &root(), at(10));
        (issued.map(|rows| rows.len()), actions(&empty.store).len())
    };
    let (refused, events) = issue_all(&["phone", "laptop", "phone"]);
    assert!(
        matches!(refused, Err(Error::LabelTaken { .. })),
        "{refused:?}"
    );
    assert_eq!(
        events, 1,
        "the mailbox was added, and nothing else happened"
    );
    let (issued, events) = issue_all(&["phone", "laptop"]);
    assert_eq!((issued.unwrap(), events), (2, 3));
}

fn a_label_is_unique_among_the_active_ones(mut empty: Empty) {
    let ana = with_ana(&mut empty);
    let first = issue(&mut empty.store, "ana@example.org", "phone", 1);
    let taken = try_issue(&mut empty.store, "ana@example.org", "phone", 2);
    assert!(matches!(taken, Err(Error::LabelTaken { .. })), "{taken:?}");
    issue(&mut empty.store, "ana@example.org", "Phone", 3);

    empty
        .store
        .revoke(from_ref(&first), &root(), at(20))
        .unwrap();
    let second = issue(&mut empty.store, "ana@example.org", "phone", 4);
    // In the same second, so that nothing but the row tells the tombstones apart.
    empty
        .store
        .revoke(from_ref(&second), &root(), at(20))
        .unwrap();
    let third = issue(&mut empty.store, "ana@example.org", "phone", 5);

    let with_label = |revoked| -> Vec<DeviceId> {
        let found = empty.store.devices_labelled(&ana, &label("phone"), revoked);
        found.unwrap().into_iter().map(|row| row.id).collect()
    };
    let tombstones = [first, second];
    assert_eq!(with_label(Revoked::Only), tombstones);
    let [first, second] = tombstones;
    assert_eq!(with_label(Revoked::Shown), [first, second, third.clone()]);
    assert_eq!(with_label(Revoked::Hidden), [third]);
}

fn renaming_keeps_to_the_same_rule(mut empty: Empty) {
    with_ana(&mut empty);
    let phone = issue(&mut empty.store, "ana@example.org", "phone", 1);
    issue(&mut empty.store, "ana@example.org", "laptop", 2);
    let store = &mut empty.store;
    let taken = store.rename(&phone, &label("laptop"), &root(), at(20));
    assert!(matches!(taken, Err(Error::LabelTaken { .. })), "{taken:?}");
    store
        .rename(&phone, &label("phone"), &root(), at(21))
        .unwrap();
    store
        .rename(&phone, &label("Ana's phone"), &root(), at(22))
        .unwrap();
    assert_eq!(store.device(&phone).unwrap().label, label("Ana's phone"));
    let event = store.events(EventFilter::latest(1)).unwrap().remove(0);
    assert_eq!(event.label, Some(label("Ana's phone")));
    assert_eq!(event.detail.as_deref(), Some("phone"));

    store.revoke(from_ref(&phone), &root(), at(23)).unwrap();
    let revoked = store.rename(&phone, &label("tablet"), &root(), at(24));
    assert!(matches!(revoked, Err(Error::AlreadyRevoked { .. })));
    let missing = store.rename(&DeviceId::random().unwrap(), &label("x"), &root(), at(25));
    assert!(matches!(missing, Err(Error::NoSuchDevice { .. })));
}

fn a_tag_is_unique_in_its_mailbox_even_among_tombstones(mut empty: Empty) {
    with_ana(&mut empty);
    let phone = issue(&mut empty.store, "ana@example.org", "phone", 1);
    let taken = try_issue(&mut empty.store, "ana@example.org", "laptop", 1);
    assert!(matches!(taken, Err(Error::TagTaken)), "{taken:?}");
    empty.store.revoke(&[phone], &root(), at(20)).unwrap();
    let taken = try_issue(&mut empty.store, "ana@example.org", "laptop", 1);
    assert!(matches!(taken, Err(Error::TagTaken)), "{taken:?}");
    let laptop = issue(&mut empty.store, "ana@example.org", "laptop", 2);
    let taken = add_secret(&mut empty.store, &laptop, 1);
    assert!(matches!(taken, Err(Error::TagTaken)), "{taken:?}");
}

fn an_id_is_unique(mut empty: Empty) {
    let ana = with_ana(&mut empty);
    let id = issue(&mut empty.store, "ana@example.org", "phone", 1);
    let new = NewDevice {
        id: &id,
        mailbox: &ana,
        person: None,
        label: &label("laptop"),
        limits: &Limits::default(),
        secret: NewSecret {
            tag: Tag::from_bits(2),
            phc: "$argon2id$",
        },
    };
    let taken = empty.store.issue(&new, &root(), at(10));
    assert!(matches!(taken, Err(Error::IdTaken { .. })), "{taken:?}");
}

fn revoked_is_for_good_and_found_as_such(mut empty: Empty) {
    with_ana(&mut empty);
    let phone = issue(&mut empty.store, "ana@example.org", "phone", 1);
    let before = candidate(&mut empty.reader, 1);
    let ids = from_ref(&phone);
    empty.store.revoke(ids, &root(), at(20)).unwrap();

    let after = candidate(&mut empty.reader, 1);
    assert_eq!((after.revoked, after.ended), (Some(at(20)), Some(at(20))));
    let again = look_again(&mut empty.reader, before.secret).unwrap();
    assert_eq!(again.candidate, Some(after));
    let row = empty.store.device(&phone).unwrap();
    assert_eq!(
        (row.revoked, row.revoked_by.as_deref()),
        (Some(at(20)), Some("root"))
    );

    let again = empty.store.revoke(ids, &root(), at(30));
    assert!(matches!(again, Err(Error::AlreadyRevoked { .. })));
    let rotated = add_secret(&mut empty.store, &phone, 2);
    assert!(matches!(rotated, Err(Error::AlreadyRevoked { .. })));
    assert_eq!(empty.store.device(&phone).unwrap(), row);
}

fn revoking_several_is_all_or_none(mut empty: Empty) {
    let ana = with_ana(&mut empty);
    let phone = issue(&mut empty.store, "ana@example.org", "phone", 1);
    let laptop = issue(&mut empty.store, "ana@example.org", "laptop", 2);
    let stranger = DeviceId::random().unwrap();
    let store = &mut empty.store;
    let refused = store.revoke(
        &[phone.clone(), stranger.clone(), laptop.clone()],
        &root(),
        at(20),
    );
    assert!(matches!(refused, Err(Error::NoSuchDevice { id }) if id == stranger));
    assert_eq!(store.mailbox(&ana).unwrap().active, 2);

    store
        .revoke(&[phone.clone(), laptop, phone], &root(), at(21))
        .unwrap();
    assert_eq!(store.mailbox(&ana).unwrap().active, 0);
    assert_eq!(store.devices(Some(&ana), Revoked::Only).unwrap().len(), 2);
    assert_eq!(actions(store)[3..], ["revoked", "revoked"]);
}

fn revoking_everything_means_what_is_there_then(mut empty: Empty) {
    let ana = with_ana(&mut empty);
    empty
        .store
        .add_mailbox(&mailbox("bob@example.org"), &root(), at(1))
        .unwrap();
    let bobs = issue(&mut empty.store, "bob@example.org", "phone", 1);
    let phone = issue(&mut empty.store, "ana@example.org", "phone", 1);
    let tablet = issue(&mut empty.store, "ana@example.org", "tablet", 2);
    let store = &mut empty.store;
    // Somebody asked, and before the answer came, one was revoked and another one added.
    let asked = store.devices(Some(&ana), Revoked::Hidden).unwrap();
    assert_eq!(asked.len(), 2);
    store.revoke(&[phone], &root(), at(20)).unwrap();
    let laptop = issue(store, "ana@example.org", "laptop", 3);

    let revoked = store
        .revoke_selected(&all_of(&ana), &root(), at(21))
        .unwrap();
    let ids: Vec<_> = revoked.iter().map(|row| row.id.clone()).collect();
    assert_eq!(ids, [tablet, laptop]);
    for row in &revoked {
        assert_eq!(store.device(&row.id).unwrap(), *row, "as it is listed now");
        assert_eq!(row.revoked, Some(at(21)));
    }
    assert_eq!(store.mailbox(&ana).unwrap().active, 0);
    assert_eq!(store.device(&bobs).unwrap().revoked, None);
    assert_eq!(actions(store)[7..], ["revoked", "revoked"]);

    let again = store.revoke_selected(&all_of(&ana), &root(), at(22));
    assert_eq!(again.unwrap(), []);
    assert_eq!(actions(store).len(), 9);
}

fn all_of(mailbox: &Mailbox) -> Selection<'_> {
    Selection {
        mailbox: Some(mailbox),
        ..Selection::default()
    }
}

fn revoking_one_touches_no_other_with_the_same_label(mut empty: Empty) {
    with_ana(&mut empty);
    empty
        .store
        .add_mailbox(&mailbox("bob@example.org"), &root(), at(1))
        .unwrap();
    let anas = issue(&mut empty.store, "ana@example.org", "phone", 1);
    let bobs = issue(&mut empty.store, "bob@example.org", "phone", 1);
    empty.store.revoke(&[anas], &root(), at(20)).unwrap();
    assert_eq!(empty.store.device(&bobs).unwrap().revoked, None);
    let found = look_up(&mut empty.reader, "bob@example.org", 1).unwrap();
    assert_eq!(found.candidate.unwrap().ended, None);
}

fn removing_a_mailbox_revokes_everything_and_revives_nothing(mut empty: Empty) {
    let ana = with_ana(&mut empty);
    let phone = issue(&mut empty.store, "ana@example.org", "phone", 1);
    let laptop = issue(&mut empty.store, "ana@example.org", "laptop", 2);
    empty
        .store
        .revoke(from_ref(&laptop), &root(), at(20))
        .unwrap();
    let secret = candidate(&mut empty.reader, 1).secret;

    let revoked = empty.store.remove_mailbox(&ana, &root(), at(30)).unwrap();
    assert_eq!(revoked, [empty.store.device(&phone).unwrap()]);
    assert_eq!(look_up(&mut empty.reader, "ana@example.org", 1), None);
    assert_eq!(look_again(&mut empty.reader, secret), None);
    assert!(matches!(
        empty.store.mailbox(&ana),
        Err(Error::NoSuchMailbox { .. })
    ));
    assert_eq!(empty.store.device(&phone).unwrap().revoked, Some(at(30)));

    empty.store.add_mailbox(&ana, &root(), at(40)).unwrap();
    let found = look_up(&mut empty.reader, "ana@example.org", 1).unwrap();
    assert_eq!(found.candidate, None);
    assert_eq!(empty.store.devices(Some(&ana), Revoked::Shown).unwrap(), []);
    assert_eq!(empty.store.devices(None, Revoked::Only).unwrap().len(), 2);
    // Neither label nor tag of the former mailbox is in the way.
    issue(&mut empty.store, "ana@example.org", "phone", 1);
}

fn both_secrets_live_until_a_rotation_is_finished(mut empty: Empty) {
    with_ana(&mut empty);
    let phone = issue(&mut empty.store, "ana@example.org", "phone", 1);
    let new = add_secret(&mut empty.store, &phone, 2).unwrap();
    for tag in [1, 2] {
        let live = candidate(&mut empty.reader, tag);
        assert_eq!((live.device, live.ended), (phone.clone(), None));
    }
    empty
        .store
        .finish_rotation(&phone, new, None, &root(), at(30))
        .unwrap();
    assert_eq!(candidate(&mut empty.reader, 1).ended, Some(at(30)));
    let live = candidate(&mut empty.reader, 2);
    assert_eq!((live.secret, live.ended, live.revoked), (new, None, None));
    assert_eq!(empty.store.device(&phone).unwrap().label, label("phone"));
}

fn a_withdrawn_secret_leaves_the_old_one_alone(mut empty: Empty) {
    with_ana(&mut empty);
    let phone = issue(&mut empty.store, "ana@example.org", "phone", 1);
    let new = add_secret(&mut empty.store, &phone, 2).unwrap();
    empty
        .store
        .withdraw_secret(&phone, new, &root(), at(30))
        .unwrap();
    assert_eq!(candidate(&mut empty.reader, 1).ended, None);
    assert_eq!(candidate(&mut empty.reader, 2).ended, Some(at(30)));
    let again = empty.store.withdraw_secret(&phone, new, &root(), at(31));
    assert!(matches!(again, Err(Error::AlreadyEnded { .. })));
    empty.store.withdraw(&phone, &root(), at(32)).unwrap();
    assert_eq!(candidate(&mut empty.reader, 1).revoked, Some(at(32)));
}

fn of_two_crossing_rotations_one_is_told_that_it_lost(mut empty: Empty) {
    with_ana(&mut empty);
    let phone = issue(&mut empty.store, "ana@example.org", "phone", 1);
    let one = add_secret(&mut empty.store, &phone, 2).unwrap();
    let two = add_secret(&mut empty.store, &phone, 3).unwrap();
    let store = &mut empty.store;
    store
        .finish_rotation(&phone, two, None, &root(), at(30))
        .unwrap();
    let lost = store.finish_rotation(&phone, one, None, &root(), at(31));
    assert!(matches!(lost, Err(Error::AlreadyEnded { .. })), "{lost:?}");
    assert_eq!(candidate(&mut empty.reader, 3).ended, None);
}

fn every_change_leaves_its_event(mut empty: Empty) {
    let ana = with_ana(&mut empty);
    let phone = issue(&mut empty.store, "ana@example.org", "phone", 1);
    let store = &mut empty.store;
    let new = add_secret(store, &phone, 2).unwrap();
    store
        .finish_rotation(&phone, new, None, &root(), at(20))
        .unwrap();
    store
        .rename(&phone, &label("tablet"), &root(), at(21))
        .unwrap();
    store.remove_mailbox(&ana, &root(), at(22)).unwrap();
    assert_eq!(
        actions(store),
        [
            "mailbox-added",
            "issued",
            "rotation-begun",
            "rotated",
            "renamed",
            "revoked",
            "mailbox-removed"
        ]
    );
    let revoked = &store.events(EventFilter::latest(2)).unwrap()[0];
    assert_eq!(revoked.at, at(22));
    assert_eq!(
        (revoked.actor.as_str(), revoked.via.as_str()),
        ("root", "cli")
    );
    assert_eq!(revoked.mailbox, Some(ana));
    assert_eq!(revoked.device, Some(phone));
    assert_eq!(revoked.label, Some(label("tablet")));
    assert_eq!(store.events(EventFilter::latest(3)).unwrap().len(), 3);
}

fn a_refused_change_leaves_no_event(mut empty: Empty) {
    with_ana(&mut empty);
    let phone = issue(&mut empty.store, "ana@example.org", "phone", 1);
    let before = empty.store.events(EventFilter::latest(100)).unwrap();
    let store = &mut empty.store;
    let ana = mailbox("ana@example.org");
    store.add_mailbox(&ana, &root(), at(20)).unwrap_err();
    try_issue(store, "ana@example.org", "phone", 2).unwrap_err();
    add_secret(store, &phone, 1).unwrap_err();
    let stranger = DeviceId::random().unwrap();
    store
        .revoke(&[phone, stranger], &root(), at(20))
        .unwrap_err();
    assert_eq!(store.events(EventFilter::latest(100)).unwrap(), before);
}

fn a_check_of_a_healthy_store_finds_nothing(mut empty: Empty) {
    with_ana(&mut empty);
    assert_eq!(empty.store.check().unwrap(), Vec::<String>::new());
    let phone = issue(&mut empty.store, "ana@example.org", "phone", 1);
    issue(&mut empty.store, "ana@example.org", "laptop", 2);
    empty.store.revoke(&[phone], &root(), at(20)).unwrap();
    assert_eq!(empty.store.check().unwrap(), Vec::<String>::new());
}

// What the cases say it with; `trouble.rs` borrows it.

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(1_795_600_000 + seconds)
}

/// Any instant will do where nothing is waited for.
#[expect(clippy::disallowed_methods, reason = "an instant has no other origin")]
pub(super) fn now() -> Instant {
    Instant::now()
}

pub(super) fn later(by: Duration) -> Instant {
    now() + by
}

pub(super) fn root() -> Actor {
    Actor {
        name: "root".to_owned(),
        via: Via::CommandLine,
    }
}

pub(super) fn mailbox(name: &str) -> Mailbox {
    name.parse().unwrap()
}

fn person(name: &str) -> Person {
    name.parse().unwrap()
}

pub(super) fn label(text: &str) -> Label {
    text.parse().unwrap()
}

fn with_ana(empty: &mut Empty) -> Mailbox {
    let ana = mailbox("ana@example.org");
    empty.store.add_mailbox(&ana, &root(), at(1)).unwrap();
    ana
}

pub(super) fn try_issue(
    store: &mut Store,
    name: &str,
    device: &str,
    tag: u16,
) -> Result<DeviceId, Error> {
    try_issue_for(store, &mailbox(name), None, device, tag).map(|row| row.id)
}

fn try_issue_for(
    store: &mut Store,
    mailbox: &Mailbox,
    person: Option<&Person>,
    device: &str,
    tag: u16,
) -> Result<DeviceRow, Error> {
    let id = DeviceId::random().unwrap();
    let new = NewDevice {
        id: &id,
        mailbox,
        person,
        label: &label(device),
        limits: &Limits::default(),
        secret: NewSecret {
            tag: Tag::from_bits(tag),
            phc: &phc(tag),
        },
    };
    store.issue(&new, &root(), at(10))
}

pub(super) fn issue(store: &mut Store, name: &str, device: &str, tag: u16) -> DeviceId {
    try_issue(store, name, device, tag).unwrap()
}

/// A PHC string that can be decoded, another one for each tag.
pub(super) fn phc(tag: u16) -> String {
    format!("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ${tag:05}AAAAAAAAAAAAAAAAA")
}

fn add_secret(store: &mut Store, id: &DeviceId, tag: u16) -> Result<SecretId, Error> {
    let secret = NewSecret {
        tag: Tag::from_bits(tag),
        phc: &phc(tag),
    };
    store.add_secret(id, &secret, &root(), at(15))
}

pub(super) fn look_up(reader: &mut Reader, name: &str, tag: u16) -> Option<Found> {
    let tag = Some(Tag::from_bits(tag));
    reader
        .look_up_tag(Some(&mailbox(name)), tag, now())
        .unwrap()
}

fn look_again(reader: &mut Reader, secret: SecretId) -> Option<Found> {
    reader.look_again(secret, now()).unwrap()
}

/// What Ana's mailbox has under that tag.
fn candidate(reader: &mut Reader, tag: u16) -> super::Candidate {
    let found = look_up(reader, "ana@example.org", tag).unwrap();
    found.candidate.unwrap()
}

/// Oldest first.
fn actions(store: &Store) -> Vec<String> {
    let events = store.events(EventFilter::latest(1_000)).unwrap();
    events.into_iter().map(|event| event.action).collect()
}
