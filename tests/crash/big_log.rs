//! The write-ahead log when it is long: how soon the daemon is back, and that it does not grow for ever.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use dovelatch::admin::Admin;
use dovelatch::clock;
use dovelatch::model::{Actor, Limits, Mailbox, Via};
use dovelatch::store::{IfThere, Revoked, Store};
use rusqlite::Connection;

use crate::child::KilledOnDrop;
use crate::judge::Answer;
use crate::site::{Site, timed};
use crate::{Extent, tell, wait};

/// Names the database to a program that does nothing but read it, and never ends its transaction.
pub(crate) const SWITCH: &str = "DOVELATCH_TEST_READ";

const MIB: u64 = 1 << 20;

/// From the start to a good log-in: a log of some hundred KiB, and one of 10 MiB.
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(3);

/// Longest log under load.
const LONGEST: u64 = 8 * MIB;

const ANA: &str = "ana@example.org";

/// Reads until somebody kills it: what it sees must stay in the log.
#[expect(clippy::print_stdout, reason = "how its parent learns that it reads")]
pub(crate) fn read_for_ever(database: &Path) -> ExitCode {
    let connection = Connection::open(database).unwrap();
    connection.execute_batch("BEGIN").unwrap();
    let count = "SELECT count(*) FROM mailbox";
    let _: i64 = connection.query_row(count, [], |row| row.get(0)).unwrap();
    println!("reading");
    loop {
        thread::park();
    }
}

/// That program. It is killed: nobody writes the log back then.
fn stranger(site: &Site) -> KilledOnDrop {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env(SWITCH, site.database())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    assert_eq!(line, "reading\n");
    KilledOnDrop(child)
}

fn admin(site: &Site) -> Admin {
    Admin {
        store: Store::open(&site.database()).unwrap(),
        actor: Actor {
            name: "test".to_owned(),
            via: Via::CommandLine,
        },
        cost: "m=8,t=1,p=1".parse().unwrap(),
    }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// A site with one device password.
fn site() -> (Site, String) {
    let site = Site::new();
    site.run(&["mailbox", "add", ANA]);
    let password = site.run(&["add", ANA, "phone"]).trim().to_owned();
    (site, password)
}

pub(crate) fn back_soon() {
    for (wanted, limit) in [(MIB / 4, SOON), (10 * MIB, LATER)] {
        let (site, password) = site();
        let daemon = site.start();
        assert_eq!(site.ask_until_told(ANA, &password, wait::LONG), Answer::In);
        let reading = stranger(&site);
        let mut revoked = Vec::new();
        {
            let mut admin = admin(&site);
            let (by, mut number) = (admin.actor.clone(), 0);
            while length(&site.log()) < wanted {
                let names = (0..500).map(|one| format!("m{number}-{one}@example.org"));
                let names: Vec<Mailbox> = names.map(|name| name.parse().unwrap()).collect();
                let added = admin
                    .store
                    .add_mailboxes(&names, IfThere::Refuse, &by, clock::now());
                added.unwrap();
                number += 1;
            }
            let (mailbox, label) = (ANA.parse().unwrap(), "lost".parse().unwrap());
            let lost = admin.issue(&mailbox, None, &label, &Limits::default(), clock::now());
            let lost = lost.unwrap();
            let ids = [lost.device.id.clone()];
            admin.store.revoke(&ids, &by, clock::now()).unwrap();
            revoked.push(String::from_utf8(lost.password.expose().to_vec()).unwrap());
        }
        daemon.kill();
        drop(reading);
        let log = length(&site.log());
        assert!(log >= wanted, "the log has {log} bytes");
        let (daemon, took) = timed(|| {
            let daemon = site.start();
            let answer = site.ask_until_told(ANA, &password, wait::LONG);
            assert_eq!(answer, Answer::In, "{}", site.daemon_log());
            daemon
        });
        for password in &revoked {
            let answer = site.ask_until_told(ANA, password, wait::LONG);
            assert_eq!(answer, Answer::Refused);
        }
        tell(&format!(
            "a good log-in {} ms after the start with a log of {} KiB",
            took.as_millis(),
            log / 1_024
        ));
        assert!(took <= limit, "{took:?} with a log of {log} bytes");
        site.check();
        daemon.stop();
    }
}

pub(crate) fn bounded() {
    let changes: u64 = match Extent::of_this_run() {
        Extent::Short => 4_000,
        Extent::Long => 100_000,
    };
    let (site, password) = site();
    let daemon = site.start();
    assert_eq!(site.ask_until_told(ANA, &password, wait::LONG), Answer::In);
    let (over, log_ins, longest) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let path: PathBuf = site.log();
    let (_, took) = timed(|| {
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut door = site.connect().unwrap();
                    while !over.load(Ordering::SeqCst) {
                        assert_eq!(door.ask(ANA, &password).unwrap(), Answer::In);
                        log_ins.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    longest.fetch_max(length(&path), Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(5));
                }
            });
            let mut admin = admin(&site);
            let by = admin.actor.clone();
            // A mailbox has 65,536 tags, and those of what was revoked are taken still.
            let names = (0..20).map(|one| format!("mailbox{one}@example.org"));
            let names: Vec<Mailbox> = names.map(|name| name.parse().unwrap()).collect();
            let added = (admin.store).add_mailboxes(&names, IfThere::Refuse, &by, clock::now());
            added.unwrap();
            let rounds = usize::try_from(changes / 2).unwrap();
            for mailbox in names.iter().cycle().take(rounds) {
                let label = "tablet".parse().unwrap();
                let issued = admin.issue(mailbox, None, &label, &Limits::default(), clock::now());
                let ids = [issued.unwrap().device.id];
                admin.store.revoke(&ids, &by, clock::now()).unwrap();
            }
            over.store(true, Ordering::SeqCst);
        });
    });
    let longest = longest.into_inner();
    tell(&format!(
        "{changes} changes in {} s beside {} log-ins: the log had {} KiB at most",
        took.as_secs(),
        log_ins.into_inner(),
        longest / 1_024
    ));
    assert!(longest <= LONGEST, "the log grew to {longest} bytes");
    daemon.stop();
    let store = Store::open(&site.database()).unwrap();
    assert_eq!(store.devices(None, Revoked::Hidden).unwrap().len(), 1);
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
}
