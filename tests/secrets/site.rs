//! A mail site, made with the real command line, and its daemon.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::child::KilledOnDrop;
use crate::{tested, wait};

/// Whoever the daemon becomes where root starts it (`nobody` on Debian).
const OWNER: u32 = 65_534;

pub(crate) struct Site {
    directory: TempDir,
}

impl Site {
    /// With the mailboxes ana and ben of example.org.
    pub(crate) fn new() -> Self {
        let site = Self {
            directory: TempDir::new().unwrap(),
        };
        let path = |name: &str| site.path().join(name);
        let text = format!(
            "database = {:?}\n[[listen]]\ntype = \"auth\"\npath = {:?}\nfailure_delay = \"0s\"\n\
             [dovecot]\nkick = \"doveadm\"\nbase_dir = {:?}\ndoveadm = {:?}\n",
            path("data/dovelatch.db"),
            path("auth"),
            path("dovecot"),
            path("doveadm"),
        );
        fs::write(path("dovelatch.toml"), text).unwrap();
        fs::create_dir(path("data")).unwrap();
        site.done(&["mailbox", "add", "ana@example.org", "ben@example.org"]);
        if nix::unistd::geteuid().is_root() {
            let files = fs::read_dir(path("data")).unwrap();
            let files = files.map(|file| file.unwrap().path());
            for file in files.chain([path("data"), site.path().to_owned()]) {
                chown(file, Some(OWNER), Some(OWNER)).unwrap();
            }
        }
        site
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = tested::command();
        command
            .args(arguments)
            .env("DOVELATCH_CONFIG", self.path().join("dovelatch.toml"))
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    /// What it says, once it has succeeded.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// A new device password of this mailbox.
    pub(crate) fn issue(&self, mailbox: &str, label: &str) -> String {
        self.done(&["add", mailbox, label])
    }

    /// Starts a command with this as its input.
    pub(crate) fn given(&self, arguments: &[&str], input: &str) -> KilledOnDrop {
        let mut command = self.command(arguments);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "{input}").unwrap();
        KilledOnDrop(child)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path().join("auth")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap()
    }

    pub(crate) fn serve(&self) -> KilledOnDrop {
        self.serve_by(self.command(&["serve"]))
    }

    /// Its log goes to a file.
    pub(crate) fn serve_by(&self, mut command: Command) -> KilledOnDrop {
        let log = fs::File::create(self.path().join("log")).unwrap();
        let child = command.stderr(log).spawn().unwrap();
        let process = KilledOnDrop(child);
        wait::until("the daemon", wait::LONG, || {
            self.log().contains("serving sockets=1").then_some(())
        });
        process
    }

    pub(crate) fn wait_for_log(&self, text: &str) {
        wait::until(text, wait::LONG, || self.log().contains(text).then_some(()));
    }
}
