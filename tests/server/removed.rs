//! A socket that is removed while the daemon runs: bound again, but in nobody's place.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::daemon::{Daemon, OTHER, SWITCH, handing_over, only_for_root};
use crate::peer::Peer;
use crate::site::{Site, shown};
use crate::trial;
use crate::wait::{LONG, until};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "a_socket_that_was_removed_is_bound_again_within_a_second_as_it_was",
            removed,
        ),
        trial(
            "a_directory_that_was_removed_with_socket_and_lock_may_come_back",
            directory_removed,
        ),
        trial(
            "a_socket_is_not_bound_in_the_place_of_another_daemons_until_that_has_gone",
            another_daemon,
        ),
        trial("a_file_in_the_place_of_the_socket_is_not_removed", file),
        trial("who_had_connected_before_the_removal_is_served", backlog),
        trial(
            "a_socket_that_was_handed_over_is_not_made_again_and_the_log_says_once_who_can",
            handed_over_and_removed,
        ),
        only_for_root(
            "who_may_not_bind_it_again_says_so_once_and_serves_whoever_is_connected",
            not_allowed,
        ),
    ]
}

/// As long as it may take until all is normal again.
const SECOND: Duration = Duration::from_secs(1);

/// Waits until somebody answers there.
fn answers(socket: &Path, limit: Duration) {
    until("an answer", limit, || UnixStream::connect(socket).ok());
    Peer::login_process(socket);
}

fn lock_file(site: &Site) -> PathBuf {
    let mut path = site.socket().into_os_string();
    path.push(".lock");
    path.into()
}

fn removed() {
    let mut site = Site::new();
    site.config.listeners[0].mode = 0o640;
    let phone = site.issue("phone");
    let running = site.start();
    let mut before = Peer::login_process(&site.socket());
    for id in 1..=2 {
        let (lock, was) = (
            fs::metadata(lock_file(&site)).unwrap().ino(),
            fs::metadata(site.socket()).unwrap(),
        );
        fs::remove_file(site.socket()).unwrap();
        answers(&site.socket(), SECOND);
        let is = fs::metadata(site.socket()).unwrap();
        assert_eq!(is.permissions().mode() & 0o7777, 0o640);
        assert_eq!((is.uid(), is.gid()), (was.uid(), was.gid()));
        assert_eq!(fs::metadata(lock_file(&site)).unwrap().ino(), lock);
        let answer = before.sign_in(id, "ana@example.org", &shown(&phone));
        assert!(answer.starts_with("OK\t"), "{answer}");
    }
    running.stop();
    assert!(!site.socket().exists(), "the new one is ours as well");
    assert!(!lock_file(&site).exists());
}

fn directory_removed() {
    let mut site = Site::new();
    let directory = site.path().join("run");
    fs::create_dir(&directory).unwrap();
    site.config.listeners[0].path = directory.join("auth");
    let mut daemon = Daemon::start(&site);
    fs::remove_dir_all(&directory).unwrap();
    daemon.wait_for("the socket was removed, and nobody can connect");
    fs::create_dir(&directory).unwrap();
    answers(&site.socket(), SECOND);
    daemon.wait_for("the socket was removed: bound again");
    assert!(lock_file(&site).exists(), "and it is guarded again");
    let error = dovelatch::server::Running::start(&site.config).unwrap_err();
    assert!(
        matches!(error, dovelatch::server::Error::SocketInUse { .. }),
        "{error:?}"
    );
}

fn another_daemon() {
    let site = Site::new();
    let mut first = Daemon::start(&site);
    // Before the first one looks: one that comes later finds its socket there.
    let second = until("a moment when neither is there", LONG, || {
        let _ = fs::remove_file(site.socket());
        let _ = fs::remove_file(lock_file(&site));
        dovelatch::server::Running::start(&site.config).ok()
    });
    let node = fs::metadata(site.socket()).unwrap().ino();
    // Whichever it meets first, the other's lock or its socket.
    first.wait_for("nobody can connect");
    assert_eq!(fs::metadata(site.socket()).unwrap().ino(), node);
    Peer::login_process(&site.socket());
    second.stop();
    answers(&site.socket(), SECOND);
    first.wait_for("the socket was removed: bound again");
}

fn file() {
    let site = Site::new();
    let mut daemon = Daemon::start(&site);
    let other = site.path().join("other");
    fs::write(&other, "precious").unwrap();
    // In one step, so that the daemon never sees the path empty.
    fs::rename(&other, site.socket()).unwrap();
    daemon.wait_for("something else is in the place of the socket");
    assert_eq!(fs::read(site.socket()).unwrap(), b"precious");
    fs::remove_file(site.socket()).unwrap();
    answers(&site.socket(), SECOND);
}

fn backlog() {
    let site = Site::new();
    let phone = site.issue("phone");
    let mut daemon = Daemon::spawn(&mut crate::descriptors::limited(&site, "ulimit -n 64"));
    daemon.wait_for("serving sockets=1");
    let crowd: Vec<UnixStream> = (0..100)
        .map(|_| UnixStream::connect(site.socket()).unwrap())
        .collect();
    let mut waits = Peer::bare(&site.socket());
    fs::remove_file(site.socket()).unwrap();
    daemon.wait_for("the socket was removed: bound again");
    drop(crowd);
    waits.say("VERSION\t1\t2\nCPID\t42");
    while waits.line() != "DONE" {}
    let answer = waits.sign_in(1, "ana@example.org", &shown(&phone));
    assert!(answer.starts_with("OK\t"), "{answer}");
}

fn handed_over_and_removed() {
    let site = Site::new();
    let socket = UnixListener::bind(site.socket()).unwrap();
    let mut daemon = Daemon::spawn(&mut handing_over(&site, &socket, "auth"));
    daemon.wait_for("serving sockets=1");
    let mut peer = Peer::login_process(&site.socket());
    let (phone, aside) = (site.issue("phone"), site.path().join("aside"));
    fs::rename(site.socket(), &aside).unwrap();
    daemon.wait_for("the socket that systemd handed over was removed");
    for part in [
        "listener=auth ",
        &format!("path={:?}", site.socket()),
        "systemctl restart dovelatch-auth.socket dovelatch.service",
    ] {
        assert!(daemon.log().contains(part), "{part}: {}", daemon.log());
    }
    // Several looks long.
    std::thread::sleep(SECOND);
    assert_eq!(daemon.log().matches("was removed").count(), 1);
    assert!(!site.socket().exists());
    let answer = peer.sign_in(1, "ana@example.org", &shown(&phone));
    assert!(answer.starts_with("OK\t"), "{answer}");

    fs::rename(&aside, site.socket()).unwrap();
    daemon.wait_for("the socket that systemd handed over is back");
    Peer::login_process(&site.socket());
    // Another's in its place is as bad as none.
    fs::rename(site.socket(), &aside).unwrap();
    let _other = UnixListener::bind(site.socket()).unwrap();
    until("a second error", LONG, || {
        (daemon.log().matches("was removed").count() == 2).then_some(())
    });
}

/// It was bound by root, who then became the owner of the database.
fn not_allowed() {
    let site = Site::new();
    let phone = site.issue("phone");
    chown(site.path(), Some(OTHER), Some(OTHER)).unwrap();
    for entry in fs::read_dir(site.path()).unwrap() {
        chown(entry.unwrap().path(), Some(OTHER), Some(OTHER)).unwrap();
    }
    let directory = site.path().join("run");
    fs::create_dir(&directory).unwrap();
    let socket = directory.join("auth");
    let config = site.path().join("dovelatch.toml");
    let text = format!(
        "database = {:?}\n[[listen]]\ntype = \"auth\"\npath = {socket:?}\n",
        site.config.database,
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    let mut daemon = Daemon::spawn(command.env(SWITCH, config));
    daemon.wait_for("serving as the owner of the database");
    daemon.wait_for("serving sockets=1");
    let mut peer = Peer::login_process(&socket);
    fs::remove_file(&socket).unwrap();
    daemon.wait_for("the socket was removed, and nobody can connect");
    // Several looks long.
    std::thread::sleep(SECOND);
    let told = daemon.log().matches("the socket was removed").count();
    assert_eq!(told, 1, "{}", daemon.log());
    let answer = peer.sign_in(1, "ana@example.org", &shown(&phone));
    assert!(answer.starts_with("OK\t"), "{answer}");
    // Once it may.
    chown(&directory, Some(OTHER), Some(OTHER)).unwrap();
    answers(&socket, SECOND);
}
