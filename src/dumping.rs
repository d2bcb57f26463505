//! No core file, and no look into this process by others of its user.
//!
//! Whatever is wiped when it is no longer needed is in memory while it is. A core file would put it on the
//! disk, and a debugger of the same user could read it: the mail server's other programs may run as that
//! user. A process that is not dumpable has neither; root may look still.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Forbids both, for this process and, as far as core files are concerned, what it starts.
///
/// The limit alone would not do: where core files go to a program (`|` in core_pattern, core(5)) it means
/// nothing. To be called again after a change of user, which makes a process dumpable as
/// `fs.suid_dumpable` says.
///
/// # Errors
///
/// If the system refuses one of the two, a seccomp filter perhaps. The other is done all the same.
pub(crate) fn forbid() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let limited = setrlimit(Resource::Core, none);
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(limited?)
}
