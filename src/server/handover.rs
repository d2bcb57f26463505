//! What passes between us and systemd: listening sockets in, readiness and signs of life out.
//!
//! A socket that systemd made outlives a restart of the daemon: peers wait in its backlog instead of
//! finding nobody (a Postfix that finds nobody is throttled for 60 s). It is also the only way to have
//! a socket in Postfix's private directory without being root. Sockets are matched by name
//! (`FileDescriptorName=`); one that no listener is named after is a mistake in the configuration.

use std::io;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;

use super::Error;

/// Sockets handed over, each with its name.
pub(super) type Handed = Vec<(String, UnixListener)>;

/// Takes the sockets that this process was started with, at most once. To be called while it has no
/// other threads that read the environment: the variables are removed.
///
/// `names` is what `LISTEN_FDNAMES` says, in the order of the descriptors.
pub(super) fn take(names: &[String]) -> Result<Handed, Error> {
    let mut descriptors = ListenFd::from_env();
    let mut handed = Handed::new();
    for index in 0..descriptors.len() {
        // systemd's own word for a descriptor without a name (sd_listen_fds_with_names(3)).
        let name = names
            .get(index)
            .map_or("unknown", String::as_str)
            .to_owned();
        match descriptors.take_unix_listener(index) {
            Ok(Some(listener)) => handed.push((name, listener)),
            Ok(None) => {}
            Err(source) => return Err(Error::Descriptor { name, source }),
        }
    }
    Ok(handed)
}

/// Says that the sockets answer. Without systemd nothing happens.
pub(super) fn ready(sockets: usize) -> io::Result<()> {
    let status = format!("serving {sockets} sockets");
    sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&status)])
}

/// How often the service manager wants to hear [`alive`] at the least (`WatchdogSec=` of the unit), if it
/// asked this process.
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero())
}

/// Says that log-ins are being answered.
pub(super) fn alive() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Watchdog])
}

/// Says that no new connection is accepted any more.
pub(super) fn stopping() -> io::Result<()> {
    let status = "answering what is in flight";
    sd_notify::notify(&[NotifyState::Stopping, NotifyState::Status(status)])
}
