//! The daemon, as an administrator or systemd starts it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::child::KilledOnDrop;
use crate::machine::greets;
use crate::site::Site;
use crate::tested::{self, PROGRAM};
use crate::wait::{LONG, until};

#[derive(Debug)]
pub struct Daemon {
    process: KilledOnDrop,
}

impl Daemon {
    /// Binds its sockets itself.
    pub fn start(site: &Site) -> Self {
        let mut command = tested::started_by("setpriv");
        command
            .args(["--pdeathsig", "KILL", PROGRAM])
            .stdin(Stdio::null())
            .stdout(log(site))
            .stderr(log(site));
        Self::spawn(site, command)
    }

    fn spawn(site: &Site, mut command: Command) -> Self {
        let process = command
            .arg("--config")
            .arg(site.config())
            .arg("serve")
            .spawn()
            .expect("setpriv is a part of util-linux");
        let mut daemon = Self {
            process: KilledOnDrop(process),
        };
        for (_, socket) in site.sockets() {
            until(&format!("a greeting on {}", socket.display()), LONG, || {
                let exit = daemon.process.try_wait().expect("our own child");
                assert_eq!(exit, None, "the daemon went down");
                greets(&socket).then_some(())
            });
        }
        daemon
    }

    /// The way systemd stops it: it must end by itself, and say that all was well.
    pub fn stop(mut self) {
        let pid = i32::try_from(self.process.id()).expect("process ids are small");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("our own child");
        let status = until("the daemon's end", LONG, || {
            self.process.try_wait().expect("our child")
        });
        assert!(status.success(), "{status}");
    }
}

/// The listening sockets of a site, held while daemons come and go, as systemd holds those of its
/// socket units: who connects meanwhile waits instead of failing.
#[derive(Debug)]
pub struct Held(Vec<(&'static str, UnixListener)>);

impl Held {
    pub fn bind(site: &Site) -> Self {
        let bind = |(name, path): (&'static str, PathBuf)| {
            let listener = UnixListener::bind(&path).expect("a new socket");
            // SocketUser=, SocketGroup= and SocketMode= of the socket units.
            let owner = match name {
                "postfix" => Some(site.tree.user("postfix")),
                "login" => Some((0, site.tree.user("dovenull").1)),
                _ => None,
            };
            if let Some((user, group)) = owner {
                chown(&path, Some(user), Some(group)).expect("we are root");
                fs::set_permissions(&path, Permissions::from_mode(0o660)).expect("as root");
            }
            (name, listener)
        };
        // Three are all that a process gets without more ado; the daemon binds the rest by itself.
        Self(site.sockets().into_iter().take(3).map(bind).collect())
    }

    /// Descriptors from 3 on, their names in order, and the process that shall use them: without
    /// `unsafe` a parent cannot say that before the fork, so a shell does, which then becomes the
    /// daemon. It gets the sockets as its standard input, output and error.
    pub fn start(&self, site: &Site) -> Daemon {
        const HAND_OVER: &str = r#"exec 3<&0 4<&1 5<&2 </dev/null >>"$0" 2>&1
            export LISTEN_PID=$$ LISTEN_FDS=$1 LISTEN_FDNAMES=$2
            shift 2
            exec "$@""#;
        let names: Vec<_> = self.0.iter().map(|(name, _)| *name).collect();
        let handed = |index: usize| match self.0.get(index) {
            Some((_, listener)) => {
                Stdio::from(OwnedFd::from(listener.try_clone().expect("a descriptor")))
            }
            None => Stdio::null(),
        };
        let mut command = tested::started_by("setpriv");
        command
            .args(["--pdeathsig", "KILL", "sh", "-c", HAND_OVER])
            .arg(site.path("log/dovelatch.log"))
            .args([&names.len().to_string(), &names.join(":")])
            .arg(PROGRAM)
            .stdin(handed(0))
            .stdout(handed(1))
            .stderr(handed(2));
        Daemon::spawn(site, command)
    }
}

fn log(site: &Site) -> File {
    let path = site.path("log/dovelatch.log");
    let log = OpenOptions::new().create(true).append(true).open(path);
    log.expect("own directory")
}
