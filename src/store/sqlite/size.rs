//! How large the database gets: what a device password costs on the disk.

use std::path::Path;

use super::Store;
use crate::model::{DeviceId, Limits, Mailbox, Service};
use crate::password::packed;
use crate::password::tag::Tag;
use crate::store::contract::{at, label, mailbox, now, root};
use crate::store::{Identity, IfThere, NewDevice, NewSecret, Recorder, Uses};

const MAILBOXES: u16 = 200;
const LABELS: [&str; 5] = ["phone", "laptop", "tablet", "Thunderbird", "scanner"];

/// The goals, in bytes for each device password: without events and uses, and with one of each. This
/// test printed 234 and 343 when it was written, and 212 and 319 with ten times as many mailboxes; the
/// random ids make a page or two of difference.
const ALONE: u64 = 250;
const WITH_EVENT_AND_USE: u64 = 400;

#[test]
fn a_device_password_costs_as_much_room_as_promised() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    let (mut store, _) = Store::open_or_create(&path, at(0)).unwrap();
    let mailboxes: Vec<Mailbox> = (0..MAILBOXES)
        .map(|number| mailbox(&format!("mailbox{number:04}@example.org")))
        .collect();
    store
        .add_mailboxes(&mailboxes, IfThere::Refuse, &root(), at(1))
        .unwrap();
    let mut uses = Vec::new();
    for mailbox in &mailboxes {
        for text in LABELS {
            let number = u16::try_from(uses.len()).unwrap();
            let device = issue(&mut store, mailbox, text, number);
            uses.push(Uses {
                device,
                service: Service::Imap,
                address: Some(format!("203.0.113.{}", number % 256).parse().unwrap()),
                first: at(2),
                last: at(3),
                count: 2,
            });
        }
    }
    let devices = u64::try_from(uses.len()).unwrap();
    let alone = (file(&store, &path) - events(&store)) / devices;
    let mut recorder = Recorder::new(path.clone(), Identity::default(), 100);
    recorder.record_uses(&uses, now()).unwrap();
    let with = file(&store, &path) / devices;
    println!("{alone} bytes for each device password, {with} with an event and a use");
    assert!(alone <= ALONE, "{alone}");
    assert!(with <= WITH_EVENT_AND_USE, "{with}");
}

/// Bytes of the database when all of it is in its one file.
fn file(store: &Store, path: &Path) -> u64 {
    store
        .connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    std::fs::metadata(path).unwrap().len()
}

/// Bytes of the pages of the audit log.
fn events(store: &Store) -> u64 {
    let sql = "SELECT sum(pgsize) FROM dbstat WHERE name = 'event'";
    let bytes: i64 = store
        .connection
        .query_row(sql, [], |row| row.get(0))
        .unwrap();
    bytes.try_into().unwrap()
}

fn issue(store: &mut Store, mailbox: &Mailbox, text: &str, number: u16) -> DeviceId {
    let id = DeviceId::random().unwrap();
    let new = NewDevice {
        id: &id,
        mailbox,
        person: None,
        label: &label(text),
        limits: &Limits::default(),
        secret: NewSecret {
            // Another one for each of the mailbox, from all over the range.
            tag: Tag::from_bits(number.wrapping_mul(40_503)),
            phc: &phc(number),
        },
    };
    store.issue(&new, &root(), at(1)).unwrap();
    id
}

/// As long as a real one: sixteen bytes of salt, sixteen of hash.
fn phc(number: u16) -> String {
    let phc = format!(
        "$argon2id$v=19$m=1024,t=1,p=1$paWlpaWlpaWlpaWlpaWlpQ$paWlpaWlpaWlpaWl{number:05}Q"
    );
    assert_eq!(packed::pack(&phc).map(|packed| packed.len()), Some(44));
    phc
}
