//! The file system of the database takes no writes.

use libtest_mimic::Trial;

use crate::client::Client;
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
