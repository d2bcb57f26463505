//! What only the operating system can do: owners, modes, locks, limits, and becoming another user.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, Flock, FlockArg, OFlag};
use nix::sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat};
use nix::unistd::{self, Gid, Uid, setgid, setgroups, setuid};
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use crate::dumping;

/// A lock that ends with the process, however it ends. Dropping it removes its file, which would lock
/// out everybody else if it were root's.
#[derive(Debug)]
pub(super) struct Lock {
    file: Flock<File>,
    path: PathBuf,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is held still: afterwards it may be another's.
        if self.is_named() {
            // Where it cannot be removed it stays, free.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Lock {
    /// Whether its file is the one at its path still. Where that was removed, the next one to come makes
    /// another, and knows nothing of this lock.
    pub(super) fn is_named(&self) -> bool {
        is_named(&self.file, &self.path).unwrap_or(false)
    }
}

/// Which file a path names: two files never have the same at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    device: u64,
    inode: u64,
}

impl From<&Metadata> for Node {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// Takes the lock that is named by `path`, without waiting. `None`: another process has it.
pub(super) fn lock(path: &Path) -> io::Result<Option<Lock>> {
    loop {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(path)?;
        let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => file,
            Err((_, nix::Error::EWOULDBLOCK)) => return Ok(None),
            Err((_, errno)) => return Err(errno.into()),
        };
        // Between open and lock it may have been removed: who comes next makes a new file, and would
        // hold a lock that ours knows nothing of.
        if is_named(&file, path)? {
            let path = path.to_owned();
            return Ok(Some(Lock { file, path }));
        }
    }
}

fn is_named(file: &File, path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Node::from(&found) == Node::from(&file.metadata()?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a socket that is not bound yet appear with mode 0000, whatever the umask is: bind(2) takes
/// the mode from the descriptor (Linux, `unix_bind_bsd`).
pub(super) fn close_to_all(socket: impl AsFd) -> io::Result<()> {
    Ok(fchmod(socket, Mode::empty())?)
}

/// Gives `path` owner, group and mode, in this order. Follows no symbolic link: whoever may write to
/// the directory could otherwise have any file's mode changed by us.
pub(super) fn set_owner_and_mode(
    path: &Path,
    owner: Option<u32>,
    group: Option<u32>,
    mode: u32,
) -> io::Result<()> {
    if owner.is_some() || group.is_some() {
        std::os::unix::fs::lchown(path, owner, group)?;
    }
    let mode = Mode::from_bits_truncate(mode);
    Ok(fchmodat(
        AT_FDCWD,
        path,
        mode,
        FchmodatFlags::NoFollowSymlink,
    )?)
}

/// What the kernel keeps of our answers until the peer reads them, in bytes, with its own 768 or so for each write.
/// At a stop that is what a peer can still read afterwards: the answers to all that one connection may have asked.
const UNREAD: usize = 64 * 1024;

/// Makes the kernel keep less of what a peer does not read than the 208 KiB of its default, for that is counted as
/// our memory, times ten thousand connections. What is beyond it waits in [`Output`], whose bounds are ours.
///
/// [`Output`]: super::output::Output
pub(super) fn keep_little_unread(socket: impl AsFd) -> io::Result<()> {
    // The kernel takes it twice (socket(7)).
    Ok(set_socket_send_buffer_size(socket, UNREAD / 2)?)
}

/// Reads what a non-blocking socket has at this moment. The runtime's own read says "nothing" until
/// its event loop has come round, even if there is something.
pub(super) fn read_now(socket: impl AsFd, into: &mut [u8]) -> io::Result<usize> {
    Ok(unistd::read(socket, into)?)
}

/// A process's own idea of its id, where it lives in a PID namespace below ours: Dovecot in a container.
/// `None` too where /proc is closed to us (`ProtectProc=`).
pub(super) fn inner_pid(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let ids = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    let inner = ids.split_ascii_whitespace().next_back()?.parse().ok()?;
    (inner != pid).then_some(inner)
}

/// Raises the limit on descriptors that this process has to the one that it may have. What is set by default
/// (1,024 as a rule) is for programs that use select(2), which we do not.
pub(super) fn raise_descriptor_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    Ok(setrlimit(Resource::Nofile, raised)?)
}

/// How many descriptors this process may have; `None`: as many as it likes.
pub(super) fn descriptor_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

pub(super) fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Becomes user and group of `file`, with all threads and for good. Root stays root if root owns it; the
/// group of root, which opens many a file, is worth a warning.
///
/// The user is the last of the three steps: who is that user already has done them all.
///
/// # Errors
///
/// If the system refuses a step. This process is root still then, with fewer groups perhaps: the caller
/// must let nobody in, and may try again, which repeats all steps.
pub(super) fn become_owner(file: &Metadata) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(file.uid()), Gid::from_raw(file.gid()));
    if user == Uid::effective() {
        return Ok(());
    }
    setgroups(&[group])?;
    setgid(group)?;
    setuid(user)?;
    forbid_dumps();
    if group.as_raw() == 0 {
        warn!("still in the group of root, whose the database is: give it a group of its own");
    }
    Ok(())
}

/// As [`dumping::forbid`]; where that is refused, the daemon serves all the same.
pub(super) fn forbid_dumps() {
    if let Err(error) = dumping::forbid() {
        warn!(error = %error, "a crash of this process may write passwords to a core file");
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn little_is_kept_for_a_peer_that_does_not_read() {
        let (mut ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        keep_little_unread(&ours).unwrap();
        ours.set_nonblocking(true).unwrap();
        let pieces = std::iter::from_fn(|| ours.write(&[b'x'; 100]).ok());
        let kept: usize = pieces.sum();
        assert!(kept > 0 && kept <= UNREAD, "{kept} bytes");
    }

    #[test]
    fn a_lock_is_held_by_one_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let first = lock(&path).unwrap().unwrap();
        assert!(lock(&path).unwrap().is_none());
        drop(first);
        assert!(!path.exists());
        let second = lock(&path).unwrap().unwrap();
        fs::remove_file(&path).unwrap();
        let _third = lock(&path).unwrap().unwrap();
        drop(second);
        assert!(path.exists(), "it is the third one's");
    }

    #[test]
    fn never_do_two_hold_a_lock_that_is_removed_again_and_again() {
        const THREADS: usize = 4;
        const TURNS: usize = 100;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let holders = AtomicU32::new(0);
        let take_turns = || {
            for _ in 0..TURNS {
                let held = std::iter::repeat_with(|| lock(&path).unwrap()).find_map(|held| held);
                assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                std::thread::yield_now();
                holders.fetch_sub(1, Ordering::SeqCst);
                drop(held);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(take_turns);
            }
        });
    }
}
