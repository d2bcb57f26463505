//! What happens to a database file in bad hands: missing, truncated, replaced, locked, damaged. The
//! log-in path says that it cannot answer, never something wrong, and goes back to normal by itself.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use rusqlite::Connection;

use super::contract::{at, issue, label, later, look_up, mailbox, now, phc, root, try_issue};
use super::{
    Created, Error, EventFilter, Identity, Reader, Recorder, Revoked, Store, Uses, exposed, migrate,
};
use crate::model::Service;
use crate::password::tag::Tag;

/// A database with Ana's phone (tag 1) and her revoked laptop (tag 2), written back into its file.
pub(super) struct Site {
    directory: tempfile::TempDir,
    pub(super) path: PathBuf,
}

impl Site {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test.db");
        fill(&path);
        Self { directory, path }
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn store(&self) -> Store {
        Store::open(&self.path).unwrap()
    }

    pub(super) fn reader(&self) -> Reader {
        Reader::new(self.path.clone(), Identity::default())
    }
}

fn fill(path: &Path) {
    let (mut store, _) = Store::open_or_create(path, at(0)).unwrap();
    store
        .add_mailbox(&mailbox("ana@example.org"), &root(), at(1))
        .unwrap();
    issue(&mut store, "ana@example.org", "phone", 1);
    let laptop = issue(&mut store, "ana@example.org", "laptop", 2);
    store.revoke(&[laptop], &root(), at(20)).unwrap();
}

/// Asks for Ana's phone, at an instant that is `seconds` from now.
pub(super) fn ask(reader: &mut Reader, seconds: u64) -> Result<bool, Error> {
    let (ana, tag) = (mailbox("ana@example.org"), Tag::from_bits(1));
    let found = reader.look_up_tag(Some(&ana), Some(tag), later(Duration::from_secs(seconds)))?;
    Ok(found.is_some_and(|found| found.candidate.is_some_and(|phone| phone.revoked.is_none())))
}

#[test]
fn a_new_database_is_for_its_owner_alone_and_nothing_else_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new.db");
    fill(&path);
    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert_eq!(names(directory.path()), ["new.db"]);
    let (_, created) = Store::open_or_create(&path, at(0)).unwrap();
    assert_eq!(created, Created::No);
}

#[test]
fn a_directory_is_never_made() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("missing/new.db");
    let refused = Store::open_or_create(&path, at(0));
    assert!(matches!(refused, Err(Error::Create { .. })), "{refused:?}");
    assert!(names(directory.path()).is_empty());
}

#[test]
fn the_log_of_a_database_that_is_gone_never_becomes_that_of_a_new_one() {
    let site = Site::new();
    let copy = site.beside("copy.db");
    // As an operator may do it: the daemon is up, and only the database is removed.
    let store = site.store();
    fs::remove_file(&site.path).unwrap();
    for name in ["test.db-wal", "test.db-shm"] {
        let refused = Store::open_or_create(&site.path, at(50));
        assert!(
            matches!(&refused, Err(Error::LeftBehind { path }) if *path == site.beside(name)),
            "{refused:?}"
        );
        assert!(!site.path.exists(), "{name}");
        fs::remove_file(site.beside(name)).unwrap();
    }
    fs::write(site.beside("test.db-journal"), "").unwrap();
    Store::open_or_create(&site.path, at(50)).unwrap_err();
    fs::remove_file(site.beside("test.db-journal")).unwrap();
    let (new, created) = Store::open_or_create(&site.path, at(50)).unwrap();
    assert_eq!(created, Created::Yes);
    assert_eq!(new.mailboxes().unwrap(), []);
    // Nor that of a backup, which is a database one day.
    fs::write(site.beside("copy.db-wal"), "").unwrap();
    let refused = store.backup(&copy);
    assert!(
        matches!(refused, Err(Error::LeftBehind { .. })),
        "{refused:?}"
    );
    assert!(!copy.exists());
}

#[test]
fn wider_permissions_are_reported_and_not_refused() {
    let site = Site::new();
    fs::set_permissions(site.directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(exposed(&site.path).unwrap(), []);
    fs::set_permissions(&site.path, fs::Permissions::from_mode(0o666)).unwrap();
    let found = exposed(&site.path).unwrap();
    assert_eq!((found[0].mode, found[0].wanted), (0o666, 0o600));
    assert!(ask(&mut site.reader(), 0).unwrap());
}

#[test]
fn what_is_no_database_of_ours_is_told_apart() {
    let site = Site::new();
    let whole = fs::read(&site.path).unwrap();
    let missing = site.beside("missing.db");
    assert!(matches!(Store::open(&missing), Err(Error::Missing { .. })));
    assert!(!missing.exists());

    for (name, content) in [
        ("empty", &b""[..]),
        ("garbage", &[0xa5; 20_000]),
        ("text", b"Dear diary"),
    ] {
        let path = site.beside(name);
        fs::write(&path, content).unwrap();
        for error in [Store::open(&path).map(drop), migrate(&path)] {
            assert!(
                matches!(error, Err(Error::NotADatabase { .. })),
                "{name}: {error:?}"
            );
        }
        // Nor is it taken for an invitation to make one.
        Store::open_or_create(&path, at(0)).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), content);
    }

    let foreign = site.beside("foreign.db");
    Connection::open(&foreign)
        .unwrap()
        .execute_batch("CREATE TABLE mailbox (name TEXT)")
        .unwrap();
    let refused = Store::open(&foreign);
    assert!(
        matches!(refused, Err(Error::NotADatabase { .. })),
        "{refused:?}"
    );

    let half = site.beside("half.db");
    fs::write(&half, &whole[..whole.len() / 2]).unwrap();
    let refused = Store::open(&half).and_then(|store| store.devices(None, Revoked::Shown));
    assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?}");
    let directory = Store::open(site.directory.path()).unwrap_err();
    assert!(
        matches!(directory, Error::Open { .. } | Error::Io { .. }),
        "{directory:?}"
    );
}

#[test]
fn a_missing_database_is_trouble_until_it_is_there() {
    let site = Site::new();
    let aside = site.beside("aside.db");
    let mut reader = site.reader();
    assert!(ask(&mut reader, 0).unwrap());
    fs::rename(&site.path, &aside).unwrap();
    assert!(matches!(ask(&mut reader, 10), Err(Error::Missing { .. })));
    fs::rename(&aside, &site.path).unwrap();
    assert!(matches!(
        ask(&mut reader, 10),
        Err(Error::Unavailable { .. })
    ));
    assert!(ask(&mut reader, 12).unwrap());
}

#[test]
fn a_file_damaged_and_put_right_in_place_recovers_by_itself() {
    let site = Site::new();
    let whole = fs::read(&site.path).unwrap();
    for damage in [&[][..], &whole[..5_000], &[0xa5; 20_000]] {
        let mut reader = site.reader();
        assert!(ask(&mut reader, 0).unwrap());
        fs::write(&site.path, damage).unwrap();
        for seconds in [0, 2, 4] {
            // From memory or not at all.
            assert!(ask(&mut reader, seconds).unwrap_or(true));
        }
        assert!(ask(&mut site.reader(), 0).is_err());
        fs::write(&site.path, &whole).unwrap();
        let _ = ask(&mut reader, 6);
        assert!(ask(&mut reader, 8).unwrap());
    }
}

#[test]
fn a_failure_to_open_is_repeated_twice_a_second() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("late.db");
    let mut reader = Reader::new(path.clone(), Identity::default());
    let start = now();
    let mut ask = |milliseconds| {
        let now = start + Duration::from_millis(milliseconds);
        reader.look_up(None, None, now)
    };
    assert!(matches!(ask(0), Err(Error::Missing { .. })));
    fill(&path);
    assert!(matches!(ask(499), Err(Error::Unavailable { .. })));
    ask(500).unwrap();
}

#[test]
fn a_restored_file_is_in_force_at_the_next_question() {
    let site = Site::new();
    let backup = site.beside("backup.db");
    site.store().backup(&backup).unwrap();
    let mut reader = site.reader();
    let mut store = site.store();
    let id = store.devices(None, Revoked::Hidden).unwrap().remove(0).id;
    store.revoke(&[id], &root(), at(30)).unwrap();
    drop(store);
    assert!(!ask(&mut reader, 0).unwrap());
    // As an operator does it: the daemon is up, the log lies about.
    fs::rename(&backup, &site.path).unwrap();
    for leftover in ["test.db-wal", "test.db-shm"] {
        let _ = fs::remove_file(site.beside(leftover));
    }
    assert!(ask(&mut reader, 0).unwrap());
}

#[test]
fn uses_of_one_database_are_never_written_into_another() {
    let site = Site::new();
    let other = site.beside("other.db");
    fill(&other);
    let phone = site
        .store()
        .devices(None, Revoked::Hidden)
        .unwrap()
        .remove(0);
    let uses = [Uses {
        device: phone.id,
        service: Service::Imap,
        address: None,
        first: at(30),
        last: at(30),
        count: 1,
    }];
    let mut recorder = Recorder::new(site.path.clone(), Identity::default(), 3);
    recorder.record_uses(&uses, now()).unwrap();
    fs::rename(&other, &site.path).unwrap();
    // Another database does not come with the log of this one.
    for leftover in ["test.db-wal", "test.db-shm"] {
        fs::remove_file(site.beside(leftover)).unwrap();
    }
    let refused = recorder.record_uses(&uses, later(Duration::from_secs(2)));
    assert!(
        matches!(refused, Err(Error::OtherIdentity { .. })),
        "{refused:?}"
    );
    let found = site.store().devices(None, Revoked::Shown).unwrap();
    assert!(found.iter().all(|row| row.last_use.is_none()));
}

#[test]
fn another_database_is_trouble_until_the_identity_is_forgotten() {
    let site = Site::new();
    let (other, aside) = (site.beside("other.db"), site.beside("aside.db"));
    fill(&other);
    let identity = Identity::default();
    let mut reader = Reader::new(site.path.clone(), identity.clone());
    let mut second = Reader::new(site.path.clone(), identity.clone());
    assert!(ask(&mut reader, 0).unwrap());

    fs::rename(&site.path, &aside).unwrap();
    fs::rename(&other, &site.path).unwrap();
    for _ in 0..2 {
        // The one that had not opened anything yet knows as well.
        assert!(matches!(
            ask(&mut reader, 2),
            Err(Error::OtherIdentity { .. })
        ));
        assert!(matches!(
            ask(&mut second, 2),
            Err(Error::OtherIdentity { .. })
        ));
        reader = Reader::new(site.path.clone(), identity.clone());
        second = Reader::new(site.path.clone(), identity.clone());
    }
    identity.forget();
    assert!(ask(&mut reader, 4).unwrap());
    assert!(ask(&mut second, 4).unwrap());
    fs::rename(&aside, &site.path).unwrap();
    assert!(matches!(
        ask(&mut reader, 6),
        Err(Error::OtherIdentity { .. })
    ));
}

#[test]
fn a_newer_schema_is_refused_by_everyone_even_when_it_comes_later() {
    let site = Site::new();
    let mut reader = site.reader();
    assert!(ask(&mut reader, 0).unwrap());
    let by_hand = Connection::open(&site.path).unwrap();
    // As a newer program does: what it changes is tables, and the number.
    by_hand
        .execute_batch(
            "CREATE TABLE newer (id INTEGER PRIMARY KEY) STRICT; PRAGMA user_version = 4711",
        )
        .unwrap();

    let too_new = |error| matches!(error, Error::SchemaTooNew { found: 4_711, .. });
    assert!(too_new(ask(&mut reader, 0).unwrap_err()));
    assert!(
        too_new(ask(&mut reader, 0).unwrap_err()),
        "and not once only"
    );
    assert!(too_new(Store::open(&site.path).unwrap_err()));
    assert!(too_new(migrate(&site.path).unwrap_err()));
    assert!(too_new(ask(&mut site.reader(), 0).unwrap_err()));
    by_hand.pragma_update(None, "user_version", 1).unwrap();
    assert!(ask(&mut reader, 2).unwrap());
}

#[test]
fn an_older_schema_is_for_the_migration_not_for_the_reader() {
    let site = Site::new();
    Connection::open(&site.path)
        .unwrap()
        .pragma_update(None, "user_version", 0)
        .unwrap();
    let refused = ask(&mut site.reader(), 0);
    assert!(
        matches!(refused, Err(Error::SchemaTooOld { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_writer_keeps_nobody_from_logging_in() {
    let site = Site::new();
    let mut reader = site.reader();
    let writer = Connection::open(&site.path).unwrap();
    writer
        .execute_batch("BEGIN EXCLUSIVE; UPDATE mailbox SET enabled = 0")
        .unwrap();
    assert!(ask(&mut reader, 0).unwrap());
    assert!(ask(&mut site.reader(), 0).unwrap());
    writer.execute_batch("COMMIT").unwrap();
    assert!(!look_up(&mut reader, "ana@example.org", 1).unwrap().enabled);
}

#[test]
fn a_locked_database_is_locked_and_nothing_else() {
    let site = Site::new();
    let mut store = site.store();
    store.set_patience(Duration::from_millis(20));
    let writer = Connection::open(&site.path).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = try_issue(&mut store, "ana@example.org", "tablet", 3);
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    writer.execute_batch("ROLLBACK").unwrap();
    try_issue(&mut store, "ana@example.org", "tablet", 3).unwrap();
}

#[test]
fn a_backup_is_a_database_of_its_own_and_replaces_nothing() {
    let site = Site::new();
    let copy = site.beside("copy.db");
    let store = site.store();
    store.backup(&copy).unwrap();
    assert_eq!(
        fs::metadata(&copy).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let copied = Store::open(&copy).unwrap();
    assert_eq!(
        copied.devices(None, Revoked::Shown).unwrap(),
        store.devices(None, Revoked::Shown).unwrap()
    );
    assert!(copied.check().unwrap().is_empty());
    assert!(matches!(
        store.backup(&copy),
        Err(Error::TargetExists { .. })
    ));
    let nowhere = store.backup(&site.beside("missing/copy.db"));
    assert!(matches!(nowhere, Err(Error::Create { .. })), "{nowhere:?}");
}

#[test]
fn the_daemon_writes_the_log_back() {
    let site = Site::new();
    let mut reader = site.reader();
    ask(&mut reader, 0).unwrap();
    let log = || fs::metadata(site.beside("test.db-wal")).unwrap().len();
    let mut longest = 0;
    for round in 0..40_u16 {
        let mut store = site.store();
        for number in 0..10 {
            let tag = 100 + round * 10 + number;
            let id = issue(&mut store, "ana@example.org", "tablet", tag);
            store.revoke(&[id], &root(), at(30)).unwrap();
        }
        drop(store);
        reader.checkpoint(u64::MAX, now()).unwrap();
        longest = longest.max(log());
    }
    assert!(longest < 1 << 20, "the log grew to {longest} bytes");
}

#[test]
fn a_log_that_was_deleted_under_the_daemon_is_noticed() {
    let site = Site::new();
    let mut reader = site.reader();
    assert!(ask(&mut reader, 0).unwrap());
    fs::remove_file(site.beside("test.db-wal")).unwrap();
    fs::remove_file(site.beside("test.db-shm")).unwrap();
    let mut command_line = Connection::open(&site.path).unwrap();
    let tx = command_line.transaction().unwrap();
    tx.execute("UPDATE mailbox SET enabled = 0", []).unwrap();
    tx.commit().unwrap();
    drop(command_line);
    assert!(!look_up(&mut reader, "ana@example.org", 1).unwrap().enabled);
}

#[test]
fn after_the_log_was_deleted_a_reader_that_asks_no_more_is_in_nobodys_way() {
    let site = Site::new();
    let identity = Identity::default();
    let mut first = Reader::new(site.path.clone(), identity.clone());
    let mut idle = Reader::new(site.path.clone(), identity);
    assert!(ask(&mut first, 0).unwrap() && ask(&mut idle, 0).unwrap());
    for file in ["test.db-wal", "test.db-shm"] {
        fs::remove_file(site.beside(file)).unwrap();
        assert!(ask(&mut first, 0).unwrap(), "{file}");
        assert!(site.beside(file).exists(), "{file}: the old one is in use");
    }
    assert!(ask(&mut idle, 0).unwrap());
}

#[test]
fn parallel_changes_are_all_kept() {
    const THREADS: u16 = 8;
    const EACH: u16 = 12;
    let site = Site::new();
    let work = |thread: u16| {
        let mut store = site.store();
        let issued = (0..EACH).map(|number| {
            let tag = 1_000 + thread * EACH + number;
            issue(&mut store, "ana@example.org", &format!("device {tag}"), tag)
        });
        let issued: Vec<_> = issued.collect();
        let (revoked, kept) = issued.split_at(usize::from(EACH) / 2);
        store.revoke(revoked, &root(), at(40)).unwrap();
        kept.to_vec()
    };
    let kept: HashSet<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || work(thread)))
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    let store = site.store();
    let active = store.devices(None, Revoked::Hidden).unwrap();
    let active: HashSet<_> = active
        .into_iter()
        .filter(|row| row.label != label("phone"))
        .map(|row| row.id)
        .collect();
    assert_eq!(active, kept);
    assert_eq!(kept.len(), usize::from(THREADS * EACH / 2));
    assert!(store.check().unwrap().is_empty());
}

#[test]
fn parallel_makers_make_one_database() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new.db");
    let made = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| Store::open_or_create(&path, at(0)).unwrap().1))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .filter(|made| *made == Created::Yes)
            .count()
    });
    assert_eq!(made, 1);
    assert_eq!(names(directory.path()), ["new.db"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A kill or a power cut leaves some beginning of the log: whole transactions, each with its event.
    #[test]
    fn any_beginning_of_the_log_is_a_whole_database(cut in any::<prop::sample::Index>()) {
        let (database, log) = LOGGED.with(Clone::clone);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cut.db");
        fs::write(&path, database).unwrap();
        fs::write(directory.path().join("cut.db-wal"), &log[..cut.index(log.len() + 1)]).unwrap();
        let store = Store::open(&path).unwrap();
        prop_assert_eq!(store.check().unwrap(), Vec::<String>::new());
        let devices = store.devices(None, Revoked::Shown).unwrap();
        let revoked = devices.iter().filter(|row| row.revoked.is_some()).count();
        let events = store.events(EventFilter::latest(1_000)).unwrap();
        let reported = |action| events.iter().filter(|event| event.action == action).count();
        prop_assert_eq!((devices.len(), revoked), (reported("issued"), reported("revoked")));
    }

    /// Neither a panic nor a revoked device password that lives again, nor another's mailbox.
    #[test]
    fn flipped_bytes_never_let_the_wrong_one_in(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..4)
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("flipped.db");
        let mut bytes = WHOLE.with(Clone::clone);
        for (index, flip) in flips {
            let length = bytes.len();
            bytes[index.index(length)] ^= flip;
        }
        fs::write(&path, bytes).unwrap();
        let mut reader = Reader::new(path.clone(), Identity::default());
        let mut ask = |name: &str, tag| {
            reader.look_up_tag(Some(&mailbox(name)), Some(Tag::from_bits(tag)), later(Duration::from_secs(2)))
        };
        prop_assert!(!matches!(ask("nobody@example.org", 1), Ok(Some(_))));
        if let Ok(Some(found)) = ask("ana@example.org", 2) {
            prop_assert_eq!(found.mailbox, mailbox("ana@example.org"));
            if let Some(laptop) = found.candidate {
                let live = laptop.ended.is_none() && laptop.revoked.is_none();
                prop_assert!(!live || laptop.phc != phc(2), "{:?}", laptop);
            }
        }
        if let Ok(Some(found)) = ask("ana@example.org", 1) {
            prop_assert_eq!(found.mailbox, mailbox("ana@example.org"));
        }
        let _ = Store::open(&path).and_then(|store| store.check());
    }
}

thread_local! {
    static WHOLE: Vec<u8> = fs::read(&Site::new().path).unwrap();

    /// A database and its log, with ten changes in it.
    static LOGGED: (Vec<u8>, Vec<u8>) = {
        let site = Site::new();
        let mut store = site.store();
        for tag in 10..15 {
            let id = issue(&mut store, "ana@example.org", "tablet", tag);
            store.revoke(&[id], &root(), at(30)).unwrap();
        }
        let log = fs::read(site.beside("test.db-wal")).unwrap();
        (fs::read(&site.path).unwrap(), log)
    };
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
