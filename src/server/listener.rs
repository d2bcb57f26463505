//! One listening socket: bound so that it is right from the first moment, or handed over; then an
//! accept loop that survives whatever accept(2) may fail with.
//!
//! A socket of a live daemon is never stolen: each is guarded by a lock file beside it (`PATH.lock`,
//! held by flock(2) until the process ends, however it ends, and removed at a clean end), and before an old socket is removed we
//! try to connect to it, since its owner may be a program that knows no lock.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::select;
use tracing::warn;

use super::auth_client;
use super::auth_master;
use super::os::{self, Lock, Node};
use super::{Drain, Error, Shared, now};
use crate::config::Listener;

/// Most connections to all listeners together. The unit allows the process 16,384 descriptors
/// (`LimitNOFILE=`); what is left of them is for the database (three for each of its connections, one
/// connection for each core and four more), sockets, locks and the runtime: 384 do for 100 cores.
///
/// Beyond it connections wait in the backlog: one that was accepted and closed would make Dovecot's
/// login processes tell their clients "Auth process broken" (`auth_connect_notify`,
/// src/login-common/main.c, Dovecot 2.4).
pub(super) const MAX_CONNECTIONS: usize = 16_000;

/// Connections that the kernel keeps for us until we accept them. It cuts this to
/// `net.core.somaxconn`, 4,096 by default.
const BACKLOG: u32 = 4_096;

/// How long no connection is accepted after accept(2) failed. Without the pause a process without a
/// free descriptor would spin, since the waiting connection stays ready; and what waits is served
/// within 1 s after one is free.
const PAUSE: Duration = Duration::from_millis(100);

/// A socket that listens, and what must be undone at the end.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    /// Whose it is if its mode is 0666. Found at the start: who has become another user may not see its
    /// path any more.
    open_to_all: io::Result<Option<Owner>>,
    /// `None` where it was handed over: then path, mode and life are its maker's business.
    _claim: Option<Claim>,
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
    async fn serve(self, stream: UnixStream, drain: Drain) {
        match self {
            Self::Client(context) => auth_client::run(stream, context, drain).await,
            Self::Master(context) => auth_master::run(stream, context, drain).await,
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

/// Our right to a path. Dropping it removes the socket if it is ours still, and then the lock.
#[derive(Debug)]
struct Claim {
    path: PathBuf,
    node: Node,
    /// Given up last.
    _lock: Lock,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let ours =
            fs::symlink_metadata(&self.path).is_ok_and(|found| Node::from(&found) == self.node);
        if ours {
            // As another user we may not be allowed to; the next start replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Socket {
    /// Takes over a socket that is bound and listening already. Needs a runtime.
    pub(super) fn handed_over(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let path = (address.as_pathname()).ok_or_else(|| io::ErrorKind::NotFound.into());
        Ok(Self {
            open_to_all: path.and_then(open_to_all),
            listener: UnixListener::from_std(listener)?,
            _claim: None,
        })
    }

    /// Binds the socket of a listener. Nobody can connect before owner, group and mode are right:
    /// listen(2) comes last. Needs a runtime.
    ///
    /// # Errors
    ///
    /// [`Error::SocketInUse`] if somebody lives there, and whatever keeps it from being bound.
    pub(super) async fn bind(listener: &Listener) -> Result<Self, Error> {
        let path = &listener.path;
        let lock = lock(path)?;
        remove_stale(path).await?;
        let bind = |source| Error::Bind {
            path: path.clone(),
            source,
        };
        let socket = bound_to(path).map_err(bind)?;
        let node = Node::from(&fs::symlink_metadata(path).map_err(bind)?);
        let claim = Claim {
            path: path.clone(),
            node,
            _lock: lock,
        };
        os::set_owner_and_mode(path, listener.owner, listener.group, listener.mode).map_err(
            |source| Error::Owner {
                path: path.clone(),
                source,
            },
        )?;
        let open_to_all = open_to_all(path);
        let listener = socket.listen(BACKLOG).map_err(bind)?;
        Ok(Self {
            listener,
            open_to_all,
            _claim: Some(claim),
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
    pub(super) async fn accept(self, service: Service, mut drain: Drain) {
        let shared = Arc::clone(service.shared());
        loop {
            let next = async {
                let place = Arc::clone(&shared.room).acquire_owned().await;
                (self.listener.accept().await, place)
            };
            let (accepted, place) = select! {
                next = next => next,
                () = drain.begun() => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (service, drain) = (service.clone(), drain.clone());
                    tokio::spawn(async move {
                        service.serve(stream, drain).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    if let Some(more) = shared.accept_failures.pass(now()) {
                        warn!(
                            listener = %service.name(), error = %error, more,
                            "cannot accept connections",
                        );
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        // The path is given back before the server learns that this task has ended, and the process ends.
        drop(self);
        drop(drain);
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

/// A socket that nobody may open: its owner and mode come next, whatever the umask is.
fn bound_to(path: &Path) -> io::Result<UnixSocket> {
    let socket = UnixSocket::new_stream()?;
    os::close_to_all(&socket)?;
    socket.bind(path)?;
    Ok(socket)
}

fn lock_file(socket: &Path) -> PathBuf {
    let mut path = OsString::from(socket);
    path.push(".lock");
    path.into()
}

fn lock(socket: &Path) -> Result<Lock, Error> {
    let path = lock_file(socket);
    os::lock(&path)
        .map_err(|source| Error::Lock { path, source })?
        .ok_or_else(|| Error::SocketInUse {
            path: socket.to_owned(),
        })
}

/// Removes what a daemon that was killed left behind; nothing that is no socket, and none that
/// answers. The caller holds the lock.
async fn remove_stale(path: &Path) -> Result<(), Error> {
    let bind = |source| Error::Bind {
        path: path.to_owned(),
        source,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(bind(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(Error::NotASocket {
                path: path.to_owned(),
            });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(bind(error)),
        // Somebody listens; where it would block, with a full backlog.
        Ok(_) | Err(_) => {
            return Err(Error::SocketInUse {
                path: path.to_owned(),
            });
        }
    }
    fs::remove_file(path).map_err(bind)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_socket_is_closed_to_all_when_it_appears() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("auth");
        let runtime = super::super::runtime().unwrap();
        let _runtime = runtime.enter();
        let _socket = bound_to(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0);
    }
}
