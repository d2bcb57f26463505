//! A mail site in a temporary directory: the database in a directory of its own, and the command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::tested;

/// Whose mailbox all passwords are of.
pub(crate) const ANA: &str = "ana@example.org";

/// A site with one mailbox, and device passwords on it.
pub(crate) struct Host {
    directory: TempDir,
    /// As shown.
    pub(crate) good: String,
    pub(crate) revoked: String,
}

impl Host {
    /// Without a database, and the directory for it.
    pub(crate) fn bare() -> Self {
        let directory = TempDir::new().unwrap();
        let host = Self {
            directory,
            good: String::new(),
            revoked: String::new(),
        };
        fs::create_dir(host.place()).unwrap();
        fs::set_permissions(
            host.place(),
            std::os::unix::fs::PermissionsExt::from_mode(0o700),
        )
        .unwrap();
        // Without the last section a revocation would ask the Dovecot of the host.
        let config = format!(
            "database = {:?}\n[[listen]]\ntype = \"auth\"\npath = {:?}\nmode = \"0666\"\n\
             failure_delay = \"0s\"\n[hash]\nthreads = 2\n[dovecot]\nkick = \"off\"\n",
            host.database(),
            host.socket(),
        );
        fs::write(host.config(), config).unwrap();
        host
    }

    /// With Ana's phone, and her laptop, which was revoked.
    pub(crate) fn new() -> Self {
        let mut host = Self::bare();
        host.fill();
        host
    }

    pub(crate) fn fill(&mut self) {
        self.done(&["mailbox", "add", ANA]);
        self.good = self.issue("phone");
        self.revoked = self.issue("laptop");
        self.done(&["revoke", ANA, "laptop"]);
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where the database lies, and nothing else.
    pub(crate) fn place(&self) -> PathBuf {
        self.path().join("place")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.place().join("dovelatch.db")
    }

    /// A file beside the database: its log, say.
    pub(crate) fn beside(&self, suffix: &str) -> PathBuf {
        self.place().join(format!("dovelatch.db{suffix}"))
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path().join("auth")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path().join("dovelatch.toml")
    }

    /// The program, with this site's configuration.
    pub(crate) fn command(&self) -> Command {
        let mut command = tested::command();
        command.env("DOVELATCH_CONFIG", self.config());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    /// What the command line prints, which must end well.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The command line must end with this code, and say this; it changes nothing.
    pub(crate) fn refused(&self, code: i32, says: &str, arguments: &[&str]) {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    }

    /// A new device password of Ana's, as shown.
    pub(crate) fn issue(&self, label: &str) -> String {
        self.issue_with(label, &[])
    }

    pub(crate) fn issue_with(&self, label: &str, limits: &[&str]) -> String {
        let arguments = [&["add", ANA, label, "--quiet"], limits].concat();
        self.done(&arguments).trim_end().to_owned()
    }

    /// Ana's active devices, by label.
    pub(crate) fn active(&self) -> Vec<String> {
        let list: serde_json::Value =
            serde_json::from_str(&self.done(&["list", ANA, "--json"])).unwrap();
        let devices = list.as_array().unwrap().iter();
        devices
            .map(|device| device["label"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Gives the place and all that is in it to a user.
    pub(crate) fn give_to(&self, user: u32) {
        let chown = |path: &Path| std::os::unix::fs::chown(path, Some(user), Some(user)).unwrap();
        chown(&self.place());
        for entry in fs::read_dir(self.place()).unwrap() {
            chown(&entry.unwrap().path());
        }
    }
}
