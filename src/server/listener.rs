//! One listening socket, bound ([`Claim`]) or handed over, and an accept loop that survives whatever accept(2) may
//! fail with, and the loss of its socket.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::select;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{error, info, warn};

use super::auth_client;
use super::auth_master;
use super::claim::{Claim, Found, Watched};
use super::room::{NextPlace, Place, Stay};
use super::{Drain, Error, Shared, now, os};
use crate::config::Listener;

/// How long no connection is accepted after accept(2) failed. Without the pause a process without a
/// free descriptor would spin, since the waiting connection stays ready; and what waits is served
/// within 1 s after one is free.
const PAUSE: Duration = Duration::from_millis(100);

/// How often we look whether our socket is where it was: one system call, and whoever connects again finds us
/// within 1 s after it was removed, or the log says within 1 s that nobody does.
const LOOK: Duration = Duration::from_millis(250);

/// How long those who wait at a socket that was removed may go on waiting for room.
const REST: Duration = Duration::from_secs(5);

/// A socket that listens, and what must be undone at the end.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    /// Whose it is if its mode is 0666. Found at the start: who has become another user may not see its
    /// path any more.
    open_to_all: io::Result<Option<Owner>>,
    /// `None` where it was handed over and has no path.
    hold: Option<Hold>,
    /// Whether the log knows that it is not where it was.
    lost: bool,
}

/// What we can do for the path of a socket.
#[derive(Debug)]
enum Hold {
    /// It is ours: made again when it is removed, removed at the end.
    Claimed(Claim),
    /// It was handed over: made, changed and removed by its maker alone. We can say that it is gone.
    Watched(Watched),
}

/// Whose a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) user: u32,
    pub(super) group: u32,
}

impl Owner {
    /// Of a socket that cannot be seen: then all but root are strangers.
    const NOBODY: Self = Self {
        user: u32::MAX,
        group: u32::MAX,
    };
}

/// What is spoken on the connections of a socket.
#[derive(Debug, Clone)]
pub(super) enum Service {
    Client(Arc<auth_client::Context>),
    Master(Arc<auth_master::Context>),
}

impl Service {
    async fn serve(self, stream: UnixStream, stay: Stay, drain: Drain) {
        match self {
            Self::Client(context) => auth_client::run(stream, stay, context, drain).await,
            Self::Master(context) => auth_master::run(stream, stay, context, drain).await,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Client(context) => &context.name,
            Self::Master(context) => &context.name,
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        match self {
            Self::Client(context) => &context.shared,
            Self::Master(context) => &context.shared,
        }
    }
}

impl Socket {
    /// Takes over a socket that is bound and listening already. Needs a runtime.
    pub(super) fn handed_over(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let path = address.as_pathname();
        let open_to_all = path
            .ok_or_else(|| io::ErrorKind::NotFound.into())
            .and_then(open_to_all);
        Ok(Self {
            open_to_all,
            listener: UnixListener::from_std(listener)?,
            hold: path.map(|path| Hold::Watched(Watched::new(path))),
            lost: false,
        })
    }

    /// Binds the socket of a listener. Needs a runtime.
    ///
    /// # Errors
    ///
    /// As [`Claim::stake`].
    pub(super) async fn bind(listener: &Listener) -> Result<Self, Error> {
        let (claim, socket) = Claim::stake(listener).await?;
        Ok(Self {
            listener: socket,
            open_to_all: open_to_all(&listener.path),
            hold: Some(Hold::Claimed(claim)),
            lost: false,
        })
    }

    /// Whose a socket of mode 0666 is: stock Dovecot tells strangers less on such a one. Where it cannot be
    /// seen it may be one, and the log learns that all but root are told less.
    pub(super) fn open_to_all(&self, name: &str) -> Option<Owner> {
        match &self.open_to_all {
            Ok(owner) => *owner,
            Err(error) => {
                warn!(
                    listener = %name, error = %error,
                    "cannot see the socket's mode: only root is told of all mailboxes",
                );
                Some(Owner::NOBODY)
            }
        }
    }

    /// Accepts connections until the daemon drains.
    pub(super) async fn accept(mut self, service: Service, mut drain: Drain) {
        let shared = Arc::clone(service.shared());
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut place = shared.room.next_place();
        loop {
            select! {
                () = drain.begun() => break,
                _ = looks.tick(), if self.hold.is_some() => self.look(&service, &drain),
                next = next(&self.listener, &mut place) => match next {
                    Ok(stream) => serve(stream, place.take(), &service, &drain),
                    Err(error) => {
                        if let Some(more) = shared.accept_failures.pass(now()) {
                            warn!(
                                listener = %service.name(), error = %error, more,
                                "cannot accept connections",
                            );
                        }
                        tokio::time::sleep(PAUSE).await;
                    }
                },
            }
        }
        // The path is given back before the server learns that this task has ended, and the process ends.
        drop(self);
        drop(drain);
    }

    /// Sees to it that peers find the socket, or that the log says they do not. Whoever has connected is
    /// served on, removed or not.
    fn look(&mut self, service: &Service, drain: &Drain) {
        match &mut self.hold {
            Some(Hold::Claimed(claim)) => match claim.found() {
                Found::Ours => self.lost = false,
                Found::Another => {
                    if !std::mem::replace(&mut self.lost, true) {
                        error!(
                            listener = %service.name(),
                            "something else is in the place of the socket: nobody can connect until it is removed",
                        );
                    }
                }
                Found::Nothing => match claim.stake_again() {
                    Ok(fresh) => {
                        self.lost = false;
                        let removed = std::mem::replace(&mut self.listener, fresh);
                        warn!(listener = %service.name(), "the socket was removed: bound again");
                        tokio::spawn(accept_rest(removed, service.clone(), drain.clone()));
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut self.lost, true) {
                            let hint = error.hint();
                            let error: &dyn std::error::Error = &error;
                            error!(
                                listener = %service.name(), error, hint,
                                "the socket was removed, and nobody can connect: a restart makes it anew",
                            );
                        }
                    }
                },
            },
            Some(Hold::Watched(watched)) => {
                let lost = watched.found() != Found::Ours;
                if std::mem::replace(&mut self.lost, lost) != lost {
                    tell(service.name(), watched.path(), lost);
                }
            }
            None => {}
        }
    }
}

/// The log learns that a socket that was handed over has gone, or is back. The remedy names both units: systemd
/// makes no socket whose service is running.
fn tell(listener: &str, path: &Path, lost: bool) {
    if lost {
        error!(
            listener = %listener, path = ?path,
            hint = %format!("systemctl restart dovelatch-{listener}.socket dovelatch.service"),
            "the socket that systemd handed over was removed, and nobody can connect: only a restart of its \
             socket unit makes it anew",
        );
    } else {
        info!(listener = %listener, path = ?path, "the socket that systemd handed over is back");
    }
}

/// The next connection, once there is a place for it. May be dropped at any time: the turn and the place are
/// kept, whatever comes in between.
async fn next(listener: &UnixListener, place: &mut NextPlace) -> io::Result<UnixStream> {
    place.wait().await;
    let (stream, _) = listener.accept().await?;
    Ok(stream)
}

/// Serves a connection if its user may have one more.
fn serve(stream: UnixStream, place: Option<Place>, service: &Service, drain: &Drain) {
    let shared = service.shared();
    // The kernel has no word for it: then they are all one user's.
    let user = stream.peer_cred().map_or(u32::MAX, |peer| peer.uid());
    let Some(stay) = place.and_then(|place| shared.room.admit(place, user)) else {
        if let Some(more) = shared.crowds.pass(now()) {
            warn!(
                listener = %service.name(), user, more,
                "connection closed by us: its user has too many",
            );
        }
        return;
    };
    // Where that cannot be, it costs memory and nothing else.
    let _ = os::keep_little_unread(&stream);
    tokio::spawn(service.clone().serve(stream, stay, drain.clone()));
}

/// Serves whoever had connected to a socket before it was removed.
async fn accept_rest(removed: UnixListener, service: Service, mut drain: Drain) {
    let mut place = service.shared().room.next_place();
    loop {
        let next = next(&removed, &mut place);
        select! {
            () = drain.begun() => return,
            waiting = timeout(REST, next) => match waiting {
                Ok(Ok(stream)) => serve(stream, place.take(), &service, &drain),
                Ok(Err(_)) | Err(_) => return,
            },
        }
    }
}

fn open_to_all(path: &Path) -> io::Result<Option<Owner>> {
    let found = fs::metadata(path)?;
    let owner = Owner {
        user: found.uid(),
        group: found.gid(),
    };
    Ok((found.mode() & 0o777 == 0o666).then_some(owner))
}
