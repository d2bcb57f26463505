//! Why the daemon could not start. Once it serves, nothing stops it but a signal.

use std::io;
use std::path::PathBuf;

/// Why the daemon could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is nothing to serve")]
    NoListener,
    #[error("mail processes would have no userdb")]
    NoUserdb,
    #[error("systemd hands over a socket named {name:?}, and no listener has that name")]
    UnknownDescriptor { name: String },
    #[error("the socket that systemd hands over as {name:?} cannot be used")]
    Descriptor { name: String, source: io::Error },
    #[error("socket {path:?} belongs to a program that is running")]
    SocketInUse { path: PathBuf },
    #[error("cannot bind socket {path:?}: something that is no socket is in its place")]
    NotASocket { path: PathBuf },
    #[error("cannot lock {path:?}")]
    Lock { path: PathBuf, source: io::Error },
    #[error("cannot bind socket {path:?}")]
    Bind { path: PathBuf, source: io::Error },
    #[error("cannot give socket {path:?} its owner, group and mode")]
    Owner { path: PathBuf, source: io::Error },
    #[error("cannot start the threads that serve")]
    Start { source: io::Error },
    #[error("cannot get a timer of the kernel's, for refusals that are put off")]
    Timer { source: io::Error },
    #[error("cannot listen for signals")]
    Signals { source: io::Error },
}

/// What kind of failure it is: the command line has an exit code for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The configuration does not fit what systemd hands over, or is empty (78).
    Configuration,
    /// A socket cannot be made, or a live program holds it (73).
    Socket,
    /// The system has no threads or no descriptors left, or refuses them (75).
    System,
}

impl Error {
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoListener
            | Self::NoUserdb
            | Self::UnknownDescriptor { .. }
            | Self::Descriptor { .. } => Kind::Configuration,
            Self::SocketInUse { .. }
            | Self::NotASocket { .. }
            | Self::Lock { .. }
            | Self::Bind { .. }
            | Self::Owner { .. } => Kind::Socket,
            Self::Start { .. } | Self::Timer { .. } | Self::Signals { .. } => Kind::System,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoListener => "add a [[listen]] section to the configuration",
            Self::NoUserdb => "add a [userdb] section to the configuration",
            Self::UnknownDescriptor { .. } => {
                "make FileDescriptorName= of the socket unit equal to the name of a [[listen]] section"
            }
            Self::Descriptor { .. } => "the socket unit needs ListenStream= with a path",
            Self::SocketInUse { .. } => "stop the other daemon first, or choose another path",
            Self::NotASocket { .. } => "move it away, or choose another path",
            Self::Lock { source, .. } | Self::Bind { source, .. } => without_place(source),
            Self::Owner { .. } => "only root may give a socket to another user or group",
            Self::Start { .. } => "raise the limits on threads and descriptors",
            Self::Timer { .. } | Self::Signals { .. } => {
                "raise the limit on descriptors; a filter of system calls may refuse it as well"
            }
        })
    }
}

/// A directory that is missing is the commonest first mistake.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "not our enum, and not exhaustive"
)]
fn without_place(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "make the directory of the socket, or choose another path",
        io::ErrorKind::PermissionDenied => {
            "let this user write to the directory of the socket, or start as root"
        }
        _ => "remove what is in its place, or choose another path",
    }
}
