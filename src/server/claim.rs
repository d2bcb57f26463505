//! Our right to the path of a socket: bound so that it is right from the first moment, found again if it was
//! removed, given back at the end. To that of a socket that systemd made we have none, and only look at it.
//!
//! A socket of a live daemon is never stolen: each is guarded by a lock file beside it (`PATH.lock`,
//! held by flock(2) until the process ends, however it ends, and removed at a clean end), and before an old socket is removed we
//! try to connect to it, since its owner may be a program that knows no lock.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixSocket, UnixStream};

use super::Error;
use super::os::{self, Lock, Node};
use crate::config::Listener;

/// Connections that the kernel keeps for us until we accept them. It cuts this to
/// `net.core.somaxconn`, 4,096 by default.
const BACKLOG: u32 = 4_096;

/// Our right to a path. Dropping it removes the socket if it is ours still, and then the lock.
#[derive(Debug)]
pub(super) struct Claim {
    /// Path, owner, group and mode of the socket.
    listener: Listener,
    node: Node,
    /// Given up last.
    lock: Lock,
}

/// The path of a socket that was handed over. Whatever becomes of it, only its maker can make it anew.
#[derive(Debug)]
pub(super) struct Watched {
    path: PathBuf,
    /// What was there at the start. The kernel does not say whether that is the socket we have.
    node: io::Result<Node>,
}

/// What is at the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Our socket; or it cannot be seen: who has become another user may not look there any more.
    Ours,
    /// Nothing: somebody has removed it, and nobody can connect.
    Nothing,
    /// Something that somebody else put there.
    Another,
}

impl Claim {
    /// Binds the socket of a listener. Nobody can connect before owner, group and mode are right:
    /// listen(2) comes last. Needs a runtime.
    ///
    /// # Errors
    ///
    /// [`Error::SocketInUse`] if somebody lives there, and whatever keeps it from being bound.
    pub(super) async fn stake(listener: &Listener) -> Result<(Self, UnixListener), Error> {
        let lock = lock(&listener.path)?;
        remove_stale(&listener.path).await?;
        let (node, socket) = bind(listener)?;
        let claim = Self {
            listener: listener.clone(),
            node,
            lock,
        };
        Ok((claim, socket))
    }

    pub(super) fn found(&self) -> Found {
        found(&self.listener.path, |node| node == self.node)
    }

    /// Binds the socket once more, where [`Found::Nothing`]. Needs a runtime.
    ///
    /// # Errors
    ///
    /// As [`Self::stake`]. The lock may have gone with the socket, and another daemon have taken the path since.
    pub(super) fn stake_again(&mut self) -> Result<UnixListener, Error> {
        if !self.lock.is_named() {
            self.lock = lock(&self.listener.path)?;
        }
        let (node, socket) = bind(&self.listener)?;
        self.node = node;
        Ok(socket)
    }
}

impl Watched {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            node: fs::symlink_metadata(path).map(|found| Node::from(&found)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn found(&self) -> Found {
        found(&self.path, |node| match &self.node {
            Ok(first) => node == *first,
            // What could not be seen is taken for ours; what was not there comes from somebody else.
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        })
    }
}

fn found(path: &Path, is_ours: impl FnOnce(Node) -> bool) -> Found {
    match fs::symlink_metadata(path) {
        Ok(found) if is_ours(Node::from(&found)) => Found::Ours,
        Ok(_) => Found::Another,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Nothing,
        Err(_) => Found::Ours,
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let path = &self.listener.path;
        if fs::symlink_metadata(path).is_ok_and(|found| Node::from(&found) == self.node) {
            // As another user we may not be allowed to; the next start replaces it.
            let _ = fs::remove_file(path);
        }
    }
}

/// Binds, and listens once owner, group and mode are right.
fn bind(listener: &Listener) -> Result<(Node, UnixListener), Error> {
    let socket = bound_to(&listener.path).map_err(|source| cannot_bind(listener, source))?;
    open(socket, listener)
}

/// Lets those connect who may. What cannot be made right does not stay: whoever looks next would take it for
/// somebody else's.
fn open(socket: UnixSocket, listener: &Listener) -> Result<(Node, UnixListener), Error> {
    make_right(socket, listener).inspect_err(|_| {
        let _ = fs::remove_file(&listener.path);
    })
}

fn make_right(socket: UnixSocket, listener: &Listener) -> Result<(Node, UnixListener), Error> {
    let path = &listener.path;
    let failed = |source| cannot_bind(listener, source);
    let node = Node::from(&fs::symlink_metadata(path).map_err(failed)?);
    os::set_owner_and_mode(path, listener.owner, listener.group, listener.mode).map_err(
        |source| Error::Owner {
            path: path.clone(),
            source,
        },
    )?;
    Ok((node, socket.listen(BACKLOG).map_err(failed)?))
}

fn cannot_bind(listener: &Listener, source: io::Error) -> Error {
    Error::Bind {
        path: listener.path.clone(),
        source,
    }
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
    use std::time::Duration;

    use super::*;
    use crate::config::ListenerType;

    #[test]
    fn a_socket_is_closed_to_all_when_it_appears() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("auth");
        let runtime = super::super::runtime::start().unwrap();
        let _runtime = runtime.enter();
        let _socket = bound_to(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0);
    }

    #[test]
    fn a_socket_that_cannot_listen_does_not_stay() {
        let directory = tempfile::tempdir().unwrap();
        let listener = Listener {
            name: "auth".to_owned(),
            kind: ListenerType::Auth,
            path: directory.path().join("auth"),
            owner: None,
            group: None,
            mode: 0o600,
            failure_delay: Duration::ZERO,
            mechanisms: Vec::new(),
        };
        let runtime = super::super::runtime::start().unwrap();
        let _runtime = runtime.enter();
        let _bound = bound_to(&listener.path).unwrap();
        // The kernel refuses listen(2) on a socket that was never bound.
        let deaf = UnixSocket::new_stream().unwrap();
        assert!(matches!(open(deaf, &listener), Err(Error::Bind { .. })));
        let left: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
