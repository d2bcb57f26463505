//! The environment of the process, read once and here alone.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// What the environment says; the only place that reads it.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `DOVELATCH_CONFIG`
    pub config: Option<PathBuf>,
    /// `DOVELATCH_DATABASE`
    pub database: Option<PathBuf>,
    /// `PATH`, for the demo's search for Dovecot.
    pub path: Option<OsString>,
    /// Whether standard error is systemd's journal (`JOURNAL_STREAM`).
    pub journal: bool,
    /// `SUDO_USER`, for the audit log: who stands behind root.
    pub sudo_user: Option<String>,
    /// `LISTEN_FDNAMES`: the names of the sockets that systemd hands over, in their order
    /// (sd_listen_fds(3)). Empty without any.
    pub listen_fd_names: Vec<String>,
}

impl Environment {
    pub fn read() -> Self {
        Self {
            config: variable("DOVELATCH_CONFIG").map(PathBuf::from),
            database: variable("DOVELATCH_DATABASE").map(PathBuf::from),
            path: variable("PATH"),
            journal: variable("JOURNAL_STREAM").is_some_and(|stream| is_standard_error(&stream)),
            sudo_user: variable("SUDO_USER").and_then(|user| user.into_string().ok()),
            listen_fd_names: variable("LISTEN_FDNAMES")
                .and_then(|names| names.into_string().ok())
                .map(|names| names.split(':').map(str::to_owned).collect())
                .unwrap_or_default(),
        }
    }
}

/// An empty variable counts as none, as a shell's `VAR= command` means it.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Whether `device:inode` names what standard error is now. A child whose standard error was
/// redirected inherits the variable all the same (systemd.exec(5), `JOURNAL_STREAM`).
fn is_standard_error(stream: &OsString) -> bool {
    let opened = || -> io::Result<String> {
        let standard_error = io::stderr().as_fd().try_clone_to_owned()?;
        let metadata = std::fs::File::from(standard_error).metadata()?;
        Ok(format!("{}:{}", metadata.dev(), metadata.ino()))
    };
    opened().is_ok_and(|opened| stream.to_str() == Some(opened.as_str()))
}
