//! Row by row: what a restore leaves of what the backup and the current database have.

mod history;

use std::fs;
use std::path::PathBuf;

use rusqlite::Connection;

use super::super::wal;
use super::*;
use crate::model::{AccessId, DeviceId, Label, Limits, Services};
use crate::password::tag::Tag;
use crate::store::contract::{at, issue, label, later, look_up, mailbox, now, phc, root};
use crate::store::{EventFilter, Identity, IfThere, NewDevice, NewSecret, Reader, Recorder, Uses};

const ANA: &str = "ana@example.org";
const OFFICE: &str = "office@example.org";

/// When everything here is restored; later than whatever else is done.
const THEN: i64 = 10_000;

/// Ana with a phone (tag 1); an office that Bob may open, with his laptop (tag 2).
struct Site {
    directory: tempfile::TempDir,
    path: PathBuf,
    phone: DeviceId,
    laptop: DeviceId,
    access: AccessId,
}

impl Site {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test.db");
        let (mut store, _) = Store::open_or_create(&path, at(0)).unwrap();
        for name in [ANA, OFFICE] {
            store.add_mailbox(&mailbox(name), &root(), at(1)).unwrap();
        }
        store
            .add_persons(&[bob()], IfThere::Refuse, &root(), at(1))
            .unwrap();
        let access = store
            .give_access(&mailbox(OFFICE), &bob(), &root(), at(2))
            .unwrap();
        let phone = issue(&mut store, ANA, "phone", 1);
        let laptop = issue_for_bob(&mut store, "laptop", 2);
        Self {
            directory,
            path,
            phone,
            laptop,
            access,
        }
    }

    fn store(&self) -> Store {
        Store::open(&self.path).unwrap()
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn backup(&self) -> PathBuf {
        let file = self.beside("backup.db");
        self.store().backup(&file).unwrap();
        file
    }

    fn restore(&self) -> Result<Restored, RestoreError> {
        self.restore_with(Wishes::default())
    }

    fn restore_with(&self, wishes: Wishes) -> Result<Restored, RestoreError> {
        let restore = Restore::prepare(&self.beside("backup.db"), &self.path)?;
        let planned = restore.plan(wishes, &root(), at(THEN))?;
        let done = restore.run(wishes, &root(), at(THEN))?;
        let aside = done.aside.clone();
        assert_eq!(
            done,
            Restored { aside, ..planned },
            "done as it was planned"
        );
        assert_eq!(self.store().check().unwrap(), Vec::<String>::new());
        Ok(done)
    }

    /// Whether that password opens that mailbox, for somebody who opens the file now.
    fn works(&self, name: &str, tag: u16) -> bool {
        works(&self.reader(), name, tag)
    }

    fn reader(&self) -> std::cell::RefCell<Reader> {
        Reader::new(self.path.clone(), Identity::default()).into()
    }

    fn sql(&self, sql: &str) {
        let connection = Connection::open(&self.path).unwrap();
        connection.execute_batch(sql).unwrap();
    }

    fn actions(&self) -> Vec<String> {
        let events = self.store().events(EventFilter::latest(1_000)).unwrap();
        events.into_iter().map(|event| event.action).collect()
    }
}

fn works(reader: &std::cell::RefCell<Reader>, name: &str, tag: u16) -> bool {
    let Some(found) = look_up(&mut reader.borrow_mut(), name, tag) else {
        return false;
    };
    found.enabled
        && found.candidate.is_some_and(|candidate| {
            candidate.ended.is_none()
                && candidate.revoked.is_none()
                && candidate.access.is_none_or(|access| access.ended.is_none())
        })
}

fn bob() -> Person {
    "bob@example.org".parse().unwrap()
}

fn accept() -> Wishes {
    Wishes {
        accept_revived: true,
        ..Wishes::default()
    }
}

fn issue_for_bob(store: &mut Store, device: &str, tag: u16) -> DeviceId {
    let id = DeviceId::random().unwrap();
    let bob = bob();
    let new = NewDevice {
        id: &id,
        mailbox: &mailbox(OFFICE),
        person: Some(&bob),
        label: &label(device),
        limits: &Limits::default(),
        secret: NewSecret {
            tag: Tag::from_bits(tag),
            phc: &phc(tag),
        },
    };
    store.issue(&new, &root(), at(10)).unwrap().id
}

fn rotate(store: &mut Store, id: &DeviceId, tag: u16, old_until: Option<Timestamp>) {
    let secret = NewSecret {
        tag: Tag::from_bits(tag),
        phc: &phc(tag),
    };
    let added = store.add_secret(id, &secret, &root(), at(20)).unwrap();
    store
        .finish_rotation(id, added, old_until, &root(), at(21))
        .unwrap();
}

fn labels(devices: &[DeviceRow]) -> Vec<&str> {
    devices.iter().map(|device| device.label.as_str()).collect()
}

#[test]
fn a_revoked_device_password_stays_revoked() {
    let site = Site::new();
    site.backup();
    let revoked = site
        .store()
        .revoke(std::slice::from_ref(&site.phone), &root(), at(20));
    let done = site.restore().unwrap();
    assert_eq!(labels(&done.ended.devices), ["phone"]);
    assert!(!site.works(ANA, 1) && site.works(OFFICE, 2));
    let phone = site.store().device(&site.phone).unwrap();
    assert_eq!(phone, revoked.unwrap().remove(0));
}

#[test]
fn a_replaced_password_stays_replaced_and_the_new_one_works() {
    let site = Site::new();
    site.backup();
    rotate(&mut site.store(), &site.phone, 7, None);
    let done = site.restore().unwrap();
    assert_eq!(labels(&done.newer), ["phone"]);
    assert_eq!((done.lost, done.ended), Default::default());
    assert!(!site.works(ANA, 1) && site.works(ANA, 7));
}

#[test]
fn an_old_password_that_is_kept_for_a_while_ends_when_it_was_to() {
    let site = Site::new();
    site.backup();
    rotate(&mut site.store(), &site.phone, 7, Some(at(500)));
    site.restore().unwrap();
    assert!(site.works(ANA, 1) && site.works(ANA, 7));
    let found = look_up(&mut site.reader().borrow_mut(), ANA, 1).unwrap();
    assert_eq!(found.candidate.unwrap().valid_until, Some(at(500)));
}

#[test]
fn a_password_that_was_taken_back_unseen_stays_so() {
    let site = Site::new();
    let secret = NewSecret {
        tag: Tag::from_bits(7),
        phc: &phc(7),
    };
    let mut store = site.store();
    let added = store.add_secret(&site.phone, &secret, &root(), at(20));
    site.backup();
    store
        .withdraw_secret(&site.phone, added.unwrap(), &root(), at(21))
        .unwrap();
    site.restore().unwrap();
    assert!(site.works(ANA, 1) && !site.works(ANA, 7));
}

#[test]
fn a_tombstone_past_its_time_ends_the_password_too() {
    let site = Site::new();
    site.backup();
    rotate(&mut site.store(), &site.phone, 7, None);
    let keep = crate::store::Keep {
        tombstones: std::time::Duration::from_secs(10),
        events: std::time::Duration::from_secs(1 << 40),
    };
    Recorder::new(site.path.clone(), Identity::default(), 3)
        .prune(keep, at(9_000), now())
        .unwrap();
    site.restore().unwrap();
    assert!(!site.works(ANA, 1) && site.works(ANA, 7));
    let sql = "SELECT count(*) FROM secret WHERE tag = 1 OR phc IS NULL";
    let forgotten: i64 = site
        .store()
        .connection
        .query_row(sql, [], |row| row.get(0))
        .unwrap();
    assert_eq!(forgotten, 1, "what was forgotten is not known again");
}

#[test]
fn a_removed_mailbox_stays_removed_with_all_that_hung_on_it() {
    let site = Site::new();
    site.backup();
    site.store()
        .remove_mailbox(&mailbox(OFFICE), &root(), at(20))
        .unwrap();
    let done = site.restore().unwrap();
    assert_eq!(done.ended.mailboxes, [mailbox(OFFICE)]);
    assert_eq!(done.ended.accesses[0].id, site.access);
    assert_eq!(labels(&done.ended.devices), ["laptop"]);
    assert!(!site.works(OFFICE, 2));
    assert_eq!(site.actions().last().unwrap(), "restored");
}

#[test]
fn a_mailbox_that_was_removed_and_added_again_revives_nothing() {
    let site = Site::new();
    site.backup();
    let mut store = site.store();
    store
        .remove_mailbox(&mailbox(ANA), &root(), at(20))
        .unwrap();
    store.add_mailbox(&mailbox(ANA), &root(), at(21)).unwrap();
    issue(&mut store, ANA, "phone", 1);
    drop(store);
    let done = site.restore().unwrap();
    assert_eq!(done.lost.mailboxes, [mailbox(ANA)]);
    assert_eq!(labels(&done.lost.devices), ["phone"]);
    assert!(!site.works(ANA, 1));
}

#[test]
fn a_disabled_mailbox_stays_disabled_and_an_enabled_one_enabled() {
    let site = Site::new();
    let mut store = site.store();
    let mut enable = |name, enabled| {
        store
            .set_mailbox_enabled(&mailbox(name), enabled, &root(), at(20))
            .unwrap();
    };
    enable(OFFICE, false);
    site.backup();
    enable(OFFICE, true);
    enable(ANA, false);
    let done = site.restore().unwrap();
    assert_eq!(done.disabled, [mailbox(ANA)]);
    assert!(!site.works(ANA, 1) && site.works(OFFICE, 2));
}

#[test]
fn an_access_that_was_taken_away_stays_so() {
    let site = Site::new();
    site.backup();
    let mut store = site.store();
    store
        .take_access(&mailbox(OFFICE), &bob(), &root(), at(20))
        .unwrap();
    // Given again, it is another one, and not in the backup.
    store
        .give_access(&mailbox(OFFICE), &bob(), &root(), at(21))
        .unwrap();
    issue_for_bob(&mut store, "laptop", 7);
    let done = site.restore().unwrap();
    assert_eq!(done.ended.accesses[0].id, site.access);
    assert_eq!((done.lost.accesses.len(), done.lost.devices.len()), (1, 1));
    assert!(!site.works(OFFICE, 2) && !site.works(OFFICE, 7));
    assert_eq!(site.store().accesses(None, None).unwrap(), []);
}

#[test]
fn a_removed_person_stays_removed() {
    let site = Site::new();
    site.backup();
    site.store().remove_person(&bob(), &root(), at(20)).unwrap();
    let done = site.restore().unwrap();
    assert_eq!(done.ended.persons, [bob()]);
    assert!(!site.works(OFFICE, 2));
    assert_eq!(site.store().persons().unwrap(), []);
}

#[test]
fn limits_are_those_of_now_and_labels_and_fields_those_of_the_backup() {
    let site = Site::new();
    site.backup();
    let mut store = site.store();
    let tight = Limits {
        services: Some("smtp".parse::<Services>().unwrap()),
        networks: Some("192.0.2.0/24".parse().unwrap()),
        expires: Some(at(700)),
        expires_unused_days: Some(3),
    };
    store
        .set_limits(&site.phone, |_| tight.clone(), &root(), at(20))
        .unwrap();
    store
        .rename(&site.phone, &label("old phone"), &root(), at(21))
        .unwrap();
    // Free by now, and in the way of the label that comes back.
    issue(&mut store, ANA, "phone", 7);
    let done = site.restore().unwrap();
    let phone = site.store().device(&site.phone).unwrap();
    assert_eq!((phone.limits, phone.label), (tight, label("phone")));
    assert_eq!(phone.last_sign_of_life, at(20));
    assert_eq!(labels(&done.lost.devices), ["phone"]);
    assert!(!site.works(ANA, 7));
}

#[test]
fn what_was_issued_since_is_lost_and_leaves_its_rows() {
    let site = Site::new();
    site.backup();
    let tablet = issue(&mut site.store(), ANA, "tablet", 7);
    let before = site.actions();
    let done = site.restore().unwrap();
    assert_eq!(labels(&done.lost.devices), ["tablet"]);
    assert!(!site.works(ANA, 7) && site.works(ANA, 1));
    let revoked = site.store().device(&tablet).unwrap();
    assert_eq!(revoked.revoked, Some(at(THEN)));
    // Whoever tries it is recognised.
    let found = look_up(&mut site.reader().borrow_mut(), ANA, 7).unwrap();
    assert_eq!(found.candidate.unwrap().device, tablet);
    let ends = ["revoked".to_owned(), "restored".to_owned()];
    assert_eq!(site.actions(), [&before[..], &ends].concat());
}

#[test]
fn what_is_missing_from_the_current_database_comes_back() {
    let site = Site::new();
    site.backup();
    site.sql(
        "PRAGMA foreign_keys = OFF; DELETE FROM event; DELETE FROM secret; DELETE FROM device_password;
         DELETE FROM access; DELETE FROM person; DELETE FROM mailbox WHERE name LIKE 'office%'",
    );
    let done = site.restore().unwrap();
    assert_eq!(labels(&done.back.devices), ["phone", "laptop"]);
    assert_eq!(done.back.mailboxes, [mailbox(OFFICE)]);
    assert_eq!(done.back.persons, [bob()]);
    assert_eq!(done.back.accesses[0].id, site.access);
    assert!(site.works(ANA, 1) && site.works(OFFICE, 2));
}

#[test]
fn what_comes_back_meets_a_mailbox_that_was_made_again_disabled() {
    let site = Site::new();
    site.backup();
    site.sql(
        "PRAGMA foreign_keys = OFF;
         CREATE TEMP TABLE last AS SELECT id, at, actor, via, action, label FROM event ORDER BY id DESC LIMIT 1;
         DELETE FROM event; INSERT INTO event (id, at, actor, via, action, label) SELECT * FROM last;
         DELETE FROM secret; DELETE FROM device_password;
         DELETE FROM mailbox WHERE name LIKE 'ana%'",
    );
    let mut store = site.store();
    store.add_mailbox(&mailbox(ANA), &root(), at(30)).unwrap();
    store
        .set_mailbox_enabled(&mailbox(ANA), false, &root(), at(31))
        .unwrap();
    // With the tag of the phone that comes back.
    issue(&mut store, ANA, "tablet", 1);
    let done = site.restore().unwrap();
    assert!(!site.works(ANA, 1));
    assert_eq!(labels(&done.lost.devices), ["tablet"]);
    assert_eq!(done.disabled, [mailbox(ANA)]);
    let found = look_up(&mut site.reader().borrow_mut(), ANA, 1).unwrap();
    assert_eq!(found.candidate.unwrap().device, site.phone);
}

#[test]
fn uses_and_attempts_are_those_that_know_more() {
    let site = Site::new();
    let used = |seconds| {
        let uses = [Uses {
            device: site.phone.clone(),
            service: crate::model::Service::Imap,
            address: None,
            first: at(seconds),
            last: at(seconds),
            count: 1,
        }];
        Recorder::new(site.path.clone(), Identity::default(), 3)
            .record_uses(&uses, now())
            .unwrap();
    };
    used(50);
    site.backup();
    used(60);
    site.restore().unwrap();
    let store = site.store();
    let uses = store.uses(&site.phone).unwrap();
    assert_eq!((uses[0].count, uses[0].at), (2, at(60)));
    assert_eq!(store.device(&site.phone).unwrap().last_sign_of_life, at(60));
}

#[test]
fn nothing_of_either_log_is_lost_and_whoever_follows_it_goes_on() {
    let site = Site::new();
    site.backup();
    let all = |store: &Store| store.events(EventFilter::latest(1_000)).unwrap();
    issue(&mut site.store(), ANA, "tablet", 7);
    // As pruning does.
    site.sql("DELETE FROM event WHERE id <= 2");
    let before = all(&site.store());
    site.restore().unwrap();
    let after = all(&site.store());
    assert_eq!(after[2..2 + before.len()], before);
    assert_eq!(after[0].action, "mailbox-added");
    let restored = after.last().unwrap();
    let detail = restored.detail.as_deref().unwrap();
    assert_eq!(
        detail,
        "0 came back, 1 lost, 0 stayed ended, 0 revoked for their age"
    );
}

#[test]
fn a_reader_that_is_open_sees_it_at_the_next_question() {
    let site = Site::new();
    site.backup();
    let reader = site.reader();
    issue(&mut site.store(), ANA, "tablet", 7);
    assert!(works(&reader, ANA, 7));
    let mut store = site.store();
    store
        .revoke(std::slice::from_ref(&site.phone), &root(), at(20))
        .unwrap();
    site.restore().unwrap();
    assert!(!works(&reader, ANA, 7) && !works(&reader, ANA, 1));
    assert!(works(&reader, "office@example.org", 2));
    // One that was open meanwhile, for writing too.
    assert!(store.device(&site.phone).unwrap().revoked.is_some());
}

#[test]
fn a_database_that_goes_or_is_replaced_while_somebody_is_asked_is_told_and_nothing_is_made() {
    let site = Site::new();
    site.backup();
    let other = site.beside("other.db");
    for replaced in [false, true] {
        let restore = Restore::prepare(&site.beside("backup.db"), &site.path).unwrap();
        drop(Store::open_or_create(&other, at(0)).unwrap());
        fs::remove_file(&site.path).unwrap();
        if replaced {
            fs::rename(&other, &site.path).unwrap();
        }
        let there = fs::read(&site.path).ok();
        let refused = restore.run(Wishes::default(), &root(), at(THEN));
        let is_told = match &refused {
            Err(RestoreError::Database(Error::Replaced { .. })) => replaced,
            Err(RestoreError::Database(Error::Missing { .. })) => !replaced,
            _ => false,
        };
        assert!(is_told, "{refused:?}");
        assert_eq!(fs::read(&site.path).ok(), there);
        // As it was, for the second round.
        fs::copy(site.beside("backup.db"), &site.path).unwrap();
        for end in ["test.db-wal", "test.db-shm"] {
            let _ = fs::remove_file(site.beside(end));
        }
    }
}

#[test]
fn a_backup_may_have_any_path() {
    let site = Site::new();
    let name = "a b?c=d&e#f%41\u{e4}\n.db";
    let backup = site.beside(name);
    fs::rename(site.backup(), &backup).unwrap();
    let doubled = PathBuf::from(format!("/{}", backup.display()));
    assert!(doubled.to_str().unwrap().starts_with("//"));
    for path in [backup, doubled] {
        let restore = Restore::prepare(&path, &site.path).unwrap();
        restore.run(Wishes::default(), &root(), at(THEN)).unwrap();
        let frozen = open::connect_frozen(&path).unwrap();
        let devices: i64 = frozen
            .query_row("SELECT count(*) FROM device_password", [], |row| row.get(0))
            .unwrap();
        assert_eq!(devices, 2);
    }
    // And so may the database, whose path is attached.
    let database = site.beside("x y?z#%20.db");
    fs::rename(&site.path, &database).unwrap();
    let restore = Restore::prepare(&site.beside(name), &database).unwrap();
    assert_eq!(restore.unknown(), None);
    restore.run(Wishes::default(), &root(), at(THEN)).unwrap();
}

#[test]
fn another_database_is_replaced_only_if_somebody_says_what_becomes_of_revocations() {
    let (site, other) = (Site::new(), Site::new());
    fs::rename(other.backup(), site.beside("backup.db")).unwrap();
    let reader = site.reader();
    assert!(works(&reader, ANA, 1));
    let refused = site.restore();
    assert!(
        matches!(
            refused,
            Err(RestoreError::Undecided {
                source: Unknown::Other { .. }
            })
        ),
        "{refused:?}"
    );
    let done = site.restore_with(accept()).unwrap();
    assert_eq!((done.back.devices.len(), done.lost.devices.len()), (2, 2));
    let kept = Store::open(&done.aside.unwrap()).unwrap();
    assert!(kept.device(&site.phone).is_ok());
    // The daemon's tags are those of the old one: no verdict until a reload.
    let tag = Some(Tag::from_bits(1));
    for seconds in [0, 5] {
        let asked = reader.borrow_mut().look_up_tag(
            Some(&mailbox(ANA)),
            tag,
            later(std::time::Duration::from_secs(seconds)),
        );
        assert!(
            matches!(asked, Err(Error::OtherIdentity { .. })),
            "{asked:?}"
        );
    }
}

#[test]
fn where_an_older_file_was_put_in_place_it_lifts_no_limit_and_revives_nothing_unasked() {
    let site = Site::new();
    let old = site.beside("old.db");
    site.store().backup(&old).unwrap();
    let mut store = site.store();
    let tight = Limits {
        expires_unused_days: Some(3),
        ..Limits::default()
    };
    (store.set_limits(&site.phone, |_| tight.clone(), &root(), at(20))).unwrap();
    rotate(&mut store, &site.laptop, 8, Some(at(THEN + 1)));
    (store.set_mailbox_enabled(&mailbox(ANA), false, &root(), at(22))).unwrap();
    drop(store);
    site.backup();
    let put_in_place = || fs::copy(&old, &site.path).unwrap();
    let is_refused = || {
        matches!(
            site.restore(),
            Err(RestoreError::Undecided {
                source: Unknown::Older { .. }
            })
        )
    };
    put_in_place();
    assert!(is_refused());
    // Also if it has as many lines by now.
    for index in 0..9 {
        issue(
            &mut site.store(),
            OFFICE,
            &format!("device {index}"),
            20 + index,
        );
    }
    assert!(is_refused());
    assert!(site.works(ANA, 1), "nothing was changed");
    let done = site.restore_with(accept()).unwrap();
    assert_eq!((done.lost.devices.len(), done.disabled.len()), (9, 0));
    assert_eq!(site.store().device(&site.phone).unwrap().limits, tight);
    assert!(!site.works(ANA, 1) && site.works(OFFICE, 2) && site.works(OFFICE, 8));
    let kept = Store::open(&done.aside.unwrap()).unwrap();
    assert_eq!(kept.devices(None, Revoked::Hidden).unwrap().len(), 11);
}

#[test]
fn a_database_that_has_pruned_what_the_backup_knows_is_no_older_one() {
    for and_then in [0, 1, 20] {
        let site = Site::new();
        site.backup();
        // All of it: numbers begin anew.
        site.sql("DELETE FROM event");
        for index in 0..and_then {
            let name = mailbox(&format!("user-{index}@example.org"));
            site.store().add_mailbox(&name, &root(), at(30)).unwrap();
        }
        site.restore().unwrap();
    }
}

#[test]
fn where_none_can_be_read_a_decision_is_demanded_and_the_old_file_is_kept() {
    for damage in ["missing", "garbage", "empty", "truncated", "rows"] {
        let site = Site::new();
        site.backup();
        site.store()
            .revoke(std::slice::from_ref(&site.phone), &root(), at(20))
            .unwrap();
        let whole = fs::read(&site.path).unwrap();
        match damage {
            "missing" => fs::remove_file(&site.path).unwrap(),
            "garbage" => fs::write(&site.path, [0xa5; 20_000]).unwrap(),
            "empty" => fs::write(&site.path, "").unwrap(),
            "truncated" => fs::write(&site.path, &whole[..whole.len() / 2]).unwrap(),
            _ => site.sql("PRAGMA ignore_check_constraints = ON; UPDATE mailbox SET enabled = 2"),
        }
        // A log of the old one, which must not be taken for the new one's.
        fs::write(site.beside("test.db-wal"), "leftover").unwrap();
        let there = fs::read(&site.path).ok();
        let refused = site.restore();
        assert!(
            matches!(refused, Err(RestoreError::Undecided { .. })),
            "{damage}: {refused:?}"
        );
        assert_eq!(fs::read(&site.path).ok(), there, "{damage}");
        let done = site.restore_with(accept()).unwrap();
        assert_eq!(labels(&done.back.devices), ["phone", "laptop"]);
        assert!(site.works(ANA, 1), "{damage}");
        let aside = fs::read(done.aside.unwrap()).unwrap();
        assert_eq!(aside, there.unwrap_or(b"leftover".into()), "{damage}");
    }
}

#[test]
fn whatever_is_there_of_a_database_is_moved_with_it_and_what_came_first_is_named() {
    for there in [
        &["", "-wal", "-shm", "-journal"][..],
        &["-shm", "-journal"],
        &[],
    ] {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("test.db");
        for end in there {
            fs::write(wal::beside(&database, end), end).unwrap();
        }
        let aside = aside::move_away(&database).unwrap();
        let Some(first) = there.first() else {
            assert_eq!(aside, None);
            continue;
        };
        let aside = aside.unwrap().into_os_string().into_string().unwrap();
        let stem = aside.strip_suffix(first).unwrap();
        for end in there {
            assert!(!wal::beside(&database, end).exists());
            assert_eq!(fs::read_to_string(format!("{stem}{end}")).unwrap(), *end);
        }
    }
}

#[test]
fn where_the_log_cannot_follow_the_database_out_of_the_way_the_error_says_where_that_is() {
    let directory = tempfile::tempdir().unwrap();
    // The longest name has 255 bytes: room for `.old-` and eight letters, and not for `-wal` after them.
    let database = directory.path().join("d".repeat(240));
    fs::write(&database, "a database").unwrap();
    let log = wal::beside(&database, "-wal");
    fs::write(&log, "a log").unwrap();
    let refused = aside::move_away(&database);
    let Err(error @ RestoreError::HalfAside { .. }) = refused else {
        panic!("{refused:?}");
    };
    let text = error.to_string();
    let RestoreError::HalfAside { path, aside, .. } = error else {
        return;
    };
    assert_eq!(path, log);
    assert_eq!(fs::read(&aside).unwrap(), b"a database");
    assert!(text.contains(aside.to_str().unwrap()), "{text}");
    assert!(!database.exists() && log.exists());
}

#[test]
fn what_was_issued_before_a_day_is_revoked_where_nothing_is_known() {
    let site = Site::new();
    let mut store = site.store();
    let young = NewDevice {
        id: &DeviceId::random().unwrap(),
        mailbox: &mailbox(ANA),
        person: None,
        label: &label("tablet"),
        limits: &Limits::default(),
        secret: NewSecret {
            tag: Tag::from_bits(7),
            phc: &phc(7),
        },
    };
    store.issue(&young, &root(), at(100)).unwrap();
    // Rotated after that time, and issued before.
    rotate(&mut store, &site.phone, 8, None);
    drop(store);
    site.backup();
    fs::remove_file(&site.path).unwrap();
    let wishes = Wishes {
        revoke_before: Some(at(15)),
        accept_revived: false,
    };
    let done = site.restore_with(wishes).unwrap();
    assert_eq!(labels(&done.back.devices), ["tablet"]);
    assert_eq!(labels(&done.aged), ["phone", "laptop"]);
    assert!(site.works(ANA, 7) && !site.works(ANA, 8) && !site.works(OFFICE, 2));
}

#[test]
fn what_is_old_is_revoked_where_the_current_database_can_tell_too() {
    let site = Site::new();
    site.backup();
    site.store()
        .revoke(std::slice::from_ref(&site.phone), &root(), at(20))
        .unwrap();
    let wishes = Wishes {
        revoke_before: Some(at(15)),
        accept_revived: false,
    };
    let done = site.restore_with(wishes).unwrap();
    assert_eq!(labels(&done.aged), ["laptop"]);
    assert_eq!(labels(&done.ended.devices), ["phone"]);
    assert_eq!(done.lost, Living::default());
    assert!(!site.works(OFFICE, 2));
}

#[test]
fn what_is_no_backup_is_refused_and_nothing_is_changed() {
    let site = Site::new();
    let backup = site.backup();
    let (whole, live) = (fs::read(&backup).unwrap(), fs::read(&site.path).unwrap());
    let sql = |sql: &str| {
        fs::write(&backup, &whole).unwrap();
        Connection::open(&backup)
            .unwrap()
            .execute_batch(sql)
            .unwrap();
    };
    let cases: [(&str, &dyn Fn()); 8] = [
        ("missing", &|| fs::remove_file(&backup).unwrap()),
        ("text", &|| fs::write(&backup, "Dear diary").unwrap()),
        ("empty", &|| fs::write(&backup, "").unwrap()),
        ("truncated", &|| {
            fs::write(&backup, &whole[..whole.len() / 2]).unwrap()
        }),
        ("newer", &|| sql("PRAGMA user_version = 99")),
        ("foreign", &|| sql("PRAGMA application_id = 1")),
        ("trigger", &|| {
            sql("CREATE TRIGGER t AFTER INSERT ON event BEGIN UPDATE mailbox SET enabled = 1; END")
        }),
        ("row", &|| {
            sql("PRAGMA ignore_check_constraints = ON; UPDATE mailbox SET enabled = 2")
        }),
    ];
    for (case, make) in cases {
        make();
        let refused = site.restore_with(accept());
        assert!(
            matches!(
                refused,
                Err(RestoreError::Backup { .. } | RestoreError::BackupDamaged { .. })
            ),
            "{case}: {refused:?}"
        );
        assert_eq!(fs::read(&site.path).unwrap(), live, "{case}");
    }
    fs::hard_link(&site.path, site.beside("same.db")).unwrap();
    let same = Restore::prepare(&site.beside("same.db"), &site.path);
    assert!(
        matches!(same, Err(RestoreError::SameFile { .. })),
        "{same:?}"
    );
}

#[test]
fn a_backup_is_only_read_and_needs_nothing_beside_it() {
    let site = Site::new();
    let backup = site.backup();
    let (before, names) = (fs::read(&backup).unwrap(), || {
        fs::read_dir(site.directory.path()).unwrap().count()
    });
    let number = names();
    site.restore().unwrap();
    assert_eq!(fs::read(&backup).unwrap(), before);
    assert_eq!(names(), number, "nothing is left beside it");
    // Moved aside with its log by an earlier restore, it is a backup too.
    let (mut store, copy) = (site.store(), site.beside("copy.db"));
    issue(&mut store, ANA, "tablet", 7);
    fs::copy(&site.path, &copy).unwrap();
    fs::copy(site.beside("test.db-wal"), site.beside("copy.db-wal")).unwrap();
    let read = source::read(&copy).unwrap();
    assert_eq!(read.devices(None, Revoked::Hidden).unwrap().len(), 3);
}

#[test]
fn restored_twice_the_second_time_changes_nothing_but_the_log() {
    let site = Site::new();
    site.backup();
    issue(&mut site.store(), ANA, "tablet", 7);
    site.restore().unwrap();
    let once = Living::of(&site.store()).unwrap();
    let again = site.restore().unwrap();
    assert_eq!((again.back, again.lost), Default::default());
    assert_eq!(Living::of(&site.store()).unwrap(), once);
}

#[test]
fn a_locked_database_is_told_and_left_alone() {
    let site = Site::new();
    site.backup();
    let writer = Connection::open(&site.path).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut live = site.store();
    live.set_patience(std::time::Duration::from_millis(20));
    let memory = live.copy().unwrap();
    let copy = Backup::new(&memory, &mut live.connection).unwrap();
    let refused = backup::step(&copy, 0);
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    writer.execute_batch("ROLLBACK").unwrap();
    // And once it has the lock, nobody else gets it.
    backup::step(&copy, 0).unwrap();
    writer.execute_batch("PRAGMA busy_timeout = 20").unwrap();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap_err();
}

#[test]
fn a_new_database_belongs_to_the_owner_of_its_directory() {
    use std::os::unix::fs::{MetadataExt as _, chown};

    let site = Site::new();
    site.backup();
    fs::remove_file(&site.path).unwrap();
    if fs::metadata(site.directory.path()).unwrap().uid() == 0 {
        chown(site.directory.path(), Some(47_110), Some(47_110)).unwrap();
    }
    let restore = Restore::prepare(&site.beside("backup.db"), &site.path).unwrap();
    restore.run(accept(), &root(), at(THEN)).unwrap();
    let (file, directory) = (
        fs::metadata(&site.path).unwrap(),
        fs::metadata(site.directory.path()).unwrap(),
    );
    assert_eq!((file.uid(), file.gid()), (directory.uid(), directory.gid()));
    assert_eq!(file.mode() & 0o777, 0o600);
}
