//! Sockets: whose they are, and what may be in their place.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use dovelatch::server::{Error, Kind, Running};
use libtest_mimic::Trial;
use nix::fcntl::{Flock, FlockArg};

use crate::peer::Peer;
use crate::site::Site;
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_socket_has_its_mode_whatever_the_umask_says", mode),
        trial("a_socket_has_its_owner_and_group", owner),
        trial("a_stale_socket_is_replaced", stale),
        trial("a_live_socket_is_not_stolen", live),
        trial(
            "a_live_socket_of_a_program_without_lock_is_not_stolen",
            live_without_lock,
        ),
        trial(
            "who_holds_the_lock_is_not_disturbed_even_before_it_listens",
            locked,
        ),
        trial("a_file_in_the_way_is_not_removed", file),
        trial("a_symbolic_link_in_the_way_is_not_followed", link),
        trial(
            "a_missing_directory_is_a_socket_that_cannot_be_made",
            no_directory,
        ),
        trial("a_lock_that_is_a_symbolic_link_is_not_followed", lock_link),
        trial(
            "a_socket_that_somebody_replaced_is_not_removed_at_the_end",
            replaced,
        ),
        trial("without_a_listener_there_is_nothing_to_serve", no_listener),
    ]
}

fn refused(site: &Site) -> Error {
    Running::start(&site.config).expect_err("it must not start")
}

fn mode() {
    for mode in [0o600, 0o660, 0o666, 0o777] {
        let mut site = Site::new();
        site.config.listeners[0].mode = mode;
        let running = site.start();
        assert_eq!(
            fs::metadata(site.socket()).unwrap().permissions().mode() & 0o7777,
            mode
        );
        running.stop();
    }
}

fn owner() {
    let mut site = Site::new();
    // Who is not root may give it to their own group at least.
    let own = fs::metadata(site.path()).unwrap();
    let root = own.uid() == 0;
    let (user, group) = if root {
        (4_711, 4_712)
    } else {
        (own.uid(), own.gid())
    };
    site.config.listeners[0].owner = Some(user);
    site.config.listeners[0].group = Some(group);
    let running = site.start();
    let socket = fs::metadata(site.socket()).unwrap();
    assert_eq!((socket.uid(), socket.gid()), (user, group));
    running.stop();
}

fn stale() {
    let site = Site::new();
    drop(UnixListener::bind(site.socket()).unwrap());
    assert!(site.socket().exists());
    let running = site.start();
    Peer::postfix(&site.socket());
    running.stop();
}

fn live() {
    let site = Site::new();
    let running = site.start();
    let error = refused(&site);
    assert!(matches!(error, Error::SocketInUse { .. }), "{error:?}");
    assert_eq!(error.kind(), Kind::Socket);
    Peer::postfix(&site.socket());
    running.stop();
}

fn live_without_lock() {
    let site = Site::new();
    let other = UnixListener::bind(site.socket()).unwrap();
    assert!(matches!(refused(&site), Error::SocketInUse { .. }));
    assert!(site.socket().exists());
    drop(other);
}

fn locked() {
    let site = Site::new();
    let lock = fs::File::create(lock_file(&site)).unwrap();
    // Shared: nobody who takes it for itself alone can have it now.
    let lock = Flock::lock(lock, FlockArg::LockSharedNonblock).unwrap();
    let error = refused(&site);
    assert!(matches!(error, Error::SocketInUse { .. }), "{error:?}");
    assert!(!site.socket().exists());
    drop(lock);
    site.start().stop();
    assert!(!lock_file(&site).exists());
}

fn lock_file(site: &Site) -> PathBuf {
    let mut path = site.socket().into_os_string();
    path.push(".lock");
    path.into()
}

fn file() {
    let site = Site::new();
    fs::write(site.socket(), "precious").unwrap();
    assert!(matches!(refused(&site), Error::NotASocket { .. }));
    assert_eq!(fs::read(site.socket()).unwrap(), b"precious");
}

fn link() {
    let site = Site::new();
    let target = site.path().join("target");
    drop(UnixListener::bind(&target).unwrap());
    std::os::unix::fs::symlink(&target, site.socket()).unwrap();
    assert!(matches!(refused(&site), Error::NotASocket { .. }));
    assert!(target.exists());
}

fn no_directory() {
    let mut site = Site::new();
    site.config.listeners[0].path = site.path().join("missing/auth");
    let error = refused(&site);
    assert_eq!(error.kind(), Kind::Socket, "{error:?}");
    let hint = error.hint().unwrap();
    assert!(hint.starts_with("make the directory"), "{hint}");
}

fn lock_link() {
    let site = Site::new();
    let lock = site.path().join("auth.lock");
    std::os::unix::fs::symlink(site.path().join("target"), &lock).unwrap();
    let error = refused(&site);
    assert!(matches!(error, Error::Lock { .. }), "{error:?}");
    let hint = error.hint().unwrap();
    assert!(hint.starts_with("remove what is in its place"), "{hint}");
    assert!(!site.path().join("target").exists());
}

fn replaced() {
    let site = Site::new();
    let running = site.start();
    fs::remove_file(site.socket()).unwrap();
    let other = UnixListener::bind(site.socket()).unwrap();
    running.stop();
    assert!(site.socket().exists());
    drop(other);
}

fn no_listener() {
    let mut site = Site::new();
    site.config.listeners.clear();
    let error = refused(&site);
    assert!(matches!(error, Error::NoListener), "{error:?}");
    assert_eq!(error.kind(), Kind::Configuration);
}
