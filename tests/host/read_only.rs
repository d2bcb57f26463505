//! The file system of the database takes no writes.

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::client::{Answer, Client};
use crate::daemon::Daemon;
use crate::host::{ANA, Host};
use crate::mount::Mount;
use crate::only_for_root;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        only_for_root(
            "when_the_disk_fails_and_becomes_read_only_log_ins_go_on",
            fails,
        ),
        only_for_root(
            "on_a_read_only_file_system_the_daemon_starts_and_serves",
            at_start,
        ),
        only_for_root(
            "on_a_file_system_that_is_read_only_after_a_crash_the_log_counts",
            after_crash,
        ),
    ]
}

fn refused_all(host: &Host) {
    for command in [
        ["add", ANA, "tablet"],
        ["rotate", ANA, "phone"],
        ["revoke", ANA, "phone"],
    ] {
        host.refused(74, "is its file system read-only?", &command);
    }
}

fn fails() {
    let mut host = Host::bare();
    let image = host.path().join("image");
    let mount = Mount::ext4(&host.place(), &image);
    host.fill();
    let daemon = Daemon::start(&host);
    let mut client = Client::new(&host);
    client.assert_right();
    mount.fail();
    for _ in 0..10 {
        client.assert_right();
    }
    refused_all(&host);
    client.assert_right();
    // The disk is examined and mounted again.
    drop(mount);
    client.assert_later();
    let _mount = Mount::repaired(&host.place(), &image);
    client.assert_right_again();
    host.issue("tablet");
    daemon.stop();
}

fn at_start() {
    let mut host = Host::bare();
    let mount = Mount::ext4(&host.place(), &host.path().join("image"));
    host.fill();
    mount.read_only();
    let daemon = Daemon::start(&host);
    let mut client = Client::new(&host);
    client.assert_right_again();
    refused_all(&host);
    client.assert_right();
    mount.writable();
    host.issue("tablet");
    client.assert_right_again();
    host.done(&["revoke", ANA, "tablet"]);
    daemon.stop();
}

/// The log that was left behind has what was revoked last.
fn after_crash() {
    let mut host = Host::bare();
    let mount = Mount::ext4(&host.place(), &host.path().join("image"));
    host.fill();
    let lost = host.issue("lost");
    let daemon = Daemon::start(&host);
    let mut client = Client::new(&host);
    client.assert_right();
    assert_eq!(client.sign_in(&lost), Answer::Allow);
    host.done(&["revoke", ANA, "lost"]);
    daemon.signal(Signal::SIGKILL);
    drop(daemon);
    assert!(host.beside("-wal").metadata().unwrap().len() > 0);
    mount.read_only();
    let daemon = Daemon::start(&host);
    let mut client = Client::new(&host);
    client.assert_right_again();
    assert_eq!(client.sign_in(&lost), Answer::Deny);
    refused_all(&host);
    mount.writable();
    client.assert_right_again();
    daemon.stop();
}
