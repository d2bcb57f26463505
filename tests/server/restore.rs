//! `dovelatch db restore` while the daemon serves, and killed in the middle.
//!
//! `DOVELATCH_RESTORE_KILLS` says how many kills there are; 30 if it is not set.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use dovelatch::clock;
use dovelatch::model::DeviceId;
use dovelatch::store::{EventFilter, Revoked, Store};
use libtest_mimic::Trial;
use rusqlite::Connection;

use crate::log_ins::now;
use crate::peer::Peer;
use crate::site::{Site, shown};
use crate::{tested, trial};

const ANA: &str = "ana@example.org";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "a_restore_is_in_force_at_the_next_log_in_and_revives_nothing",
            while_it_serves,
        ),
        trial(
            "a_restore_of_another_database_is_trouble_until_a_reload",
            another_database,
        ),
        trial(
            "a_restore_that_is_killed_leaves_the_old_database_or_the_new_one",
            killed,
        ),
        trial(
            "a_restore_over_a_damaged_file_that_is_killed_is_done_again",
            killed_while_placing,
        ),
    ]
}

/// Without delays of refusals.
fn site() -> Site {
    let mut site = Site::bare();
    site.config.listeners[0].failure_delay = Duration::ZERO;
    site.make_database();
    site
}

fn restore(site: &Site, options: &[&str]) -> Child {
    tested::command()
        .env_clear()
        .env("DOVELATCH_CONFIG", site.file())
        .args(["db", "restore", "--yes"])
        .arg(site.path().join("backup.db"))
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn restored(site: &Site, options: &[&str]) {
    let ended = restore(site, options).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.success(), "{said}");
}

fn back_up(site: &Site) {
    let backup = site.path().join("backup.db");
    site.admin().store.backup(&backup).unwrap();
}

fn revoke(site: &Site, id: &DeviceId) {
    let mut admin = site.admin();
    let actor = admin.actor.clone();
    admin
        .store
        .revoke(std::slice::from_ref(id), &actor, clock::now())
        .unwrap();
}

/// Whoever asks on one connection, again and again.
struct Asking {
    peer: Peer,
    asked: u32,
}

impl Asking {
    fn new(site: &Site) -> Self {
        Self {
            peer: Peer::login_process(&site.socket()),
            asked: 0,
        }
    }

    /// `Some` of whether it was let in; `None`: try later.
    fn ask(&mut self, password: &str) -> Option<bool> {
        self.asked += 1;
        let answer = self.peer.sign_in(self.asked, ANA, password);
        if answer.contains("code=temp_fail") {
            return None;
        }
        assert!(
            answer.starts_with("OK\t") || answer.starts_with("FAIL\t"),
            "{answer}"
        );
        Some(answer.starts_with("OK\t"))
    }

    /// Asks until there is a verdict.
    fn until_told(&mut self, password: &str) -> bool {
        let begun = now();
        loop {
            assert!(begun.elapsed() < Duration::from_secs(10), "10 s are enough");
            if let Some(lets_in) = self.ask(password) {
                return lets_in;
            }
            std::thread::sleep(Duration::from_millis(20)); // Not to wait for: to ask less often.
        }
    }
}

fn while_it_serves() {
    let site = site();
    // The watch first: a database that lacks the last change in the backup is an older one.
    let [watch, phone, laptop] = ["watch", "phone", "laptop"].map(|label| site.issue(label));
    back_up(&site);
    let running = site.start();
    let mut asking = Asking::new(&site);
    for password in [&phone, &laptop, &watch] {
        assert_eq!(asking.ask(&shown(password)), Some(true));
    }
    revoke(&site, &phone.device.id);
    let mut admin = site.admin();
    let new_laptop = admin
        .begin_rotation(&laptop.device.id, clock::now())
        .unwrap();
    admin
        .finish_rotation(&new_laptop, None, clock::now())
        .unwrap();
    drop(admin);
    let tablet = site.issue("tablet");
    // Somebody's hand slipped.
    let connection = Connection::open(&site.config.database).unwrap();
    connection
        .execute_batch(
            "PRAGMA foreign_keys = OFF;
             DELETE FROM secret WHERE device_id = (SELECT id FROM device_password WHERE label = 'watch');
             DELETE FROM used WHERE device_id = (SELECT id FROM device_password WHERE label = 'watch');
             DELETE FROM event WHERE device_id = (SELECT id FROM device_password WHERE label = 'watch');
             DELETE FROM device_password WHERE label = 'watch'",
        )
        .unwrap();
    for (password, lets_in) in [(&phone, false), (&tablet, true), (&watch, false)] {
        assert_eq!(asking.ask(&shown(password)), Some(lets_in));
    }

    restored(&site, &[]);

    let expected = [
        ("revoked", &phone, false),
        ("replaced", &laptop, false),
        ("that replaced it", &new_laptop, true),
        ("younger than the backup", &tablet, false),
        ("come back", &watch, true),
    ];
    for (what, password, lets_in) in expected {
        assert_eq!(asking.ask(&shown(password)), Some(lets_in), "{what}");
    }
    // What the daemon writes goes into what was restored.
    running.stop();
    let admin = site.admin();
    assert!(
        admin
            .store
            .device(&watch.device.id)
            .unwrap()
            .last_use
            .is_some()
    );
    assert_eq!(admin.store.check().unwrap(), Vec::<String>::new());
}

fn another_database() {
    let (site, other) = (site(), site());
    let (phone, theirs) = (site.issue("phone"), other.issue("phone"));
    let backup = site.path().join("backup.db");
    other.admin().store.backup(&backup).unwrap();
    let running = site.start();
    let mut asking = Asking::new(&site);
    assert_eq!(asking.ask(&shown(&phone)), Some(true));
    restored(&site, &["--accept-revived"]);
    for password in [&phone, &theirs] {
        assert_eq!(asking.ask(&shown(password)), None);
    }
    running.reload();
    // Each of the daemon's connections looks again within a second.
    assert!(asking.until_told(&shown(&theirs)));
    assert!(!asking.until_told(&shown(&phone)));
    running.stop();
}

#[expect(clippy::disallowed_methods, reason = "the length of this test")]
fn kills() -> u32 {
    let kills = std::env::var("DOVELATCH_RESTORE_KILLS").ok();
    kills.and_then(|kills| kills.parse().ok()).unwrap_or(30)
}

/// Kills it after `delay`, unless it has ended by then.
fn kill_after(mut child: Child, delay: Duration) -> ExitStatus {
    // An instant, and nothing that is waited for.
    std::thread::sleep(delay);
    let _ = child.kill();
    child.wait_with_output().unwrap().status
}

/// How long one takes that nobody kills, from its start to its end.
fn duration(run: impl Fn()) -> Duration {
    let begun = now();
    run();
    begun.elapsed()
}

/// Hundreds of device passwords of Ben's, so that reading, merging and writing all take their time.
fn fill(site: &Site) {
    let connection = Connection::open(&site.config.database).unwrap();
    connection
        .execute_batch(
            "BEGIN;
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
             INSERT INTO device_password (id, public_id, mailbox_id, label, issued, issued_by)
             SELECT 1000 + i, printf('dp-%s', substr('aaaaaaaaaa', 1, 6) || char(97 + i / 1000)
                || char(97 + i / 100 % 10) || char(97 + i / 10 % 10) || char(97 + i % 10)),
                (SELECT id FROM mailbox WHERE name LIKE 'ben%'), 'device ' || i, 1, 'root' FROM n;
             INSERT INTO secret (device_id, mailbox_id, kind, format, tag, phc)
             SELECT d.id, d.mailbox_id, 1, 1, d.id, (SELECT phc FROM secret LIMIT 1)
             FROM device_password d WHERE d.id > 1000;
             COMMIT",
        )
        .unwrap();
}

fn killed() {
    let site = site();
    let (phone, laptop) = (site.issue("phone"), site.issue("laptop"));
    fill(&site);
    back_up(&site);
    revoke(&site, &phone.device.id);
    let running = site.start();
    let mut asking = Asking::new(&site);
    let whole = duration(|| restored(&site, &[]));
    let (mut old, mut new) = (0, 0);
    for round in 0..kills() {
        let tablet = site.issue("tablet");
        assert_eq!(asking.ask(&shown(&tablet)), Some(true));
        // Past its usual end at the last, so that both states are seen.
        let delay = whole.mul_f64(1.5) * round / kills();
        let status = kill_after(restore(&site, &[]), delay);
        assert_eq!(asking.ask(&shown(&phone)), Some(false), "it was revoked");
        assert_eq!(asking.ask(&shown(&laptop)), Some(true));
        let store = site.admin().store;
        assert_eq!(store.check().unwrap(), Vec::<String>::new());
        let mut events = store.events(EventFilter::latest(100)).unwrap();
        events.retain(|event| event.via == "cli" || event.via == "test");
        let last = events.pop().unwrap();
        if asking.ask(&shown(&tablet)) == Some(true) {
            assert!(status.signal().is_some(), "it said that it was done");
            assert_eq!(last.action, "issued");
            revoke(&site, &tablet.device.id);
            old += 1;
        } else {
            assert_eq!(last.action, "restored");
            new += 1;
        }
    }
    // For whoever runs the long form.
    let _ = writeln!(
        io::stdout(),
        "{old} kills left the old database, {new} the new one; {whole:?} undisturbed"
    );
    restored(&site, &[]);
    running.stop();
}

fn killed_while_placing() {
    let site = site();
    let phone = site.issue("phone");
    back_up(&site);
    let damage = || {
        for end in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{end}", site.config.database.display()));
        }
        fs::write(&site.config.database, "no database").unwrap();
    };
    damage();
    let whole = duration(|| restored(&site, &["--accept-revived"]));
    for round in 0..kills() {
        damage();
        let delay = whole.mul_f64(1.5) * round / kills();
        kill_after(restore(&site, &["--accept-revived"]), delay);
        assert_is_damaged_missing_or_whole(&site.config.database);
        // Again, as whoever saw it killed does.
        if Store::open(&site.config.database).is_err() {
            restored(&site, &["--accept-revived"]);
        }
        let store = Store::open(&site.config.database).unwrap();
        let devices = store.devices(None, Revoked::Hidden).unwrap();
        assert_eq!(devices.len(), 1);
        assert_eq!(devices[0].id, phone.device.id);
    }
}

fn assert_is_damaged_missing_or_whole(database: &Path) {
    let Ok(content) = fs::read(database) else {
        return;
    };
    if content == b"no database" {
        return;
    }
    let store = Store::open(database).unwrap();
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
}
