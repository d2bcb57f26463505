//! No room is left where the database lies.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;

use crate::client::{Answer, Client};
use crate::daemon::Daemon;
use crate::host::{ANA, Host};
use crate::mount::Mount;
use crate::only_for_root;
use crate::wait::{LONG, until};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        only_for_root(
            "on_a_full_disk_log_ins_go_on_and_what_is_taken_away_is_gone",
            in_memory,
        ),
        only_for_root("the_same_on_an_ext4", ext4),
        only_for_root("on_a_full_disk_the_daemon_starts_and_serves", at_start),
    ]
}

/// What takes all the room there is, to the last byte.
struct Filler(PathBuf);

impl Filler {
    fn fill(place: &Path) -> Self {
        let path = place.join("filler");
        let mut file = File::create(&path).unwrap();
        for piece in [64 << 10, 1 << 10, 1] {
            let piece = vec![0xa5; piece];
            while file
                .write_all(&piece)
                .and_then(|()| file.sync_data())
                .is_ok()
            {}
        }
        Self(path)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn in_memory() {
    let host = Host::bare();
    let _mount = Mount::in_memory(&host.place(), 4_096);
    full(host);
}

fn ext4() {
    let host = Host::bare();
    let _mount = Mount::ext4(&host.place(), &host.path().join("image"));
    full(host);
}

fn full(mut host: Host) {
    host.fill();
    let lost: Vec<String> = (0..20)
        .map(|number| host.issue(&format!("lost {number}")))
        .collect();
    let daemon = Daemon::start(&host);
    Client::new(&host).assert_right();
    let filler = Filler::fill(&host.place());
    let mut client = Client::new(&host);
    client.assert_right();
    // Until nothing more goes into what the log has already.
    let full = (0..1_000).find(|number| {
        let issued = host.run(&["add", ANA, &format!("more {number}"), "--quiet"]);
        !issued.status.success()
    });
    assert!(full.is_some(), "there is room");
    let before = host.active();
    let full = "there is no room left for the database";
    host.refused(74, full, &["add", ANA, "tablet"]);
    host.refused(74, full, &["rotate", ANA, "phone"]);
    assert_eq!(host.active(), before);
    client.assert_right();
    for (number, password) in lost.iter().enumerate() {
        assert_eq!(client.sign_in(password), Answer::Allow);
        host.done(&["revoke", ANA, &format!("lost {number}")]);
        assert_eq!(client.sign_in(password), Answer::Deny, "{number}");
    }
    client.assert_right();
    drop(filler);
    client.assert_right_again();
    until("a new reserve", LONG, || {
        let found = fs::metadata(host.beside("-reserve")).ok()?;
        (found.len() == 1 << 20).then_some(())
    });
    host.issue("tablet");
    host.done(&["rotate", ANA, "tablet"]);
    daemon.stop();
    assert_eq!(host.done(&["db", "check", "--quiet"]), "");
}

fn at_start() {
    let mut host = Host::bare();
    let _mount = Mount::in_memory(&host.place(), 4_096);
    host.fill();
    // What a daemon has made in its time.
    let daemon = Daemon::start(&host);
    Client::new(&host).assert_right();
    daemon.stop();
    let lost = host.issue("lost");
    let filler = Filler::fill(&host.place());
    let daemon = Daemon::start(&host);
    let mut client = Client::new(&host);
    client.assert_right_again();
    assert_eq!(client.sign_in(&lost), Answer::Allow);
    host.done(&["revoke", ANA, "lost"]);
    assert_eq!(client.sign_in(&lost), Answer::Deny);
    drop(filler);
    client.assert_right_again();
    host.issue("tablet");
    daemon.stop();
}
