//! Bytes of the database are not what was written.

use std::fs;
use std::ops::Range;

use libtest_mimic::Trial;
use rusqlite::Connection;

use crate::client::{Answer, Client, WRONG};
use crate::daemon::Daemon;
use crate::dice::Dice;
use crate::host::Host;
use crate::trial;

const FLIPS: u32 = 500;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial(
        "a_flipped_byte_is_try_later_or_the_right_verdict",
        flipped,
    )]
}

/// Where the one page of the tags' index says where its entries stand: which of them is meant can be changed
/// there so that none of its neighbours tells. Not covered.
fn places_of_tags(host: &Host) -> Range<usize> {
    let connection = Connection::open(host.database()).unwrap();
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'secret_tag'";
    let page: u32 = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    let begin = usize::try_from(page - 1).unwrap() * 1_024;
    begin..begin + 256
}

fn flipped() {
    let host = Host::new();
    let passwords: Vec<String> = (0..12)
        .map(|number| host.issue(&format!("device {number}")))
        .collect();
    let whole = fs::read(host.database()).unwrap();
    let mut dice = Dice::new(0x5eed); // The same bytes each time.
    let mut counts = [0_u32; 3];
    let (mut denied, mut allowed) = (Vec::new(), Vec::new());
    let mut daemon = Daemon::start(&host);
    let mut client = Client::new(&host);
    let unwatched = places_of_tags(&host);
    let mut flips = 0;
    while flips < FLIPS {
        let mut bytes = whole.clone();
        let (index, flip) = (dice.below(bytes.len()), dice.below(255) + 1);
        if unwatched.contains(&index) {
            continue;
        }
        flips += 1;
        bytes[index] ^= u8::try_from(flip).unwrap();
        let new = host.place().join("new.db");
        fs::write(&new, &bytes).unwrap();
        fs::rename(&new, host.database()).unwrap();
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(host.beside(suffix));
        }
        let mut later = 0;
        for password in passwords.iter().chain([&host.good]) {
            match client.sign_in(password) {
                Answer::Allow => counts[0] += 1,
                Answer::Deny => denied.push((index, flip)),
                Answer::Later => later += 1,
            }
        }
        for password in [WRONG, &host.revoked] {
            match client.sign_in(password) {
                Answer::Allow => allowed.push((index, flip)),
                Answer::Deny => counts[1] += 1,
                Answer::Later => later += 1,
            }
        }
        counts[2] += later;
        if later > 0 {
            // The next one begins without its trouble.
            daemon = Daemon::start({
                drop((client, daemon));
                &host
            });
            client = Client::new(&host);
        }
    }
    daemon.stop();
    println!("allowed, refused, try later: {counts:?}");
    assert!(counts[0] + counts[1] > counts[2], "{counts:?}");
    assert_eq!(allowed, [], "let in by these flips");
    assert_eq!(denied, [], "wrong password by these flips");
}
