//! One test's mail host, as far as it lies outside the peers: a directory, the configuration of
//! dovelatch and its database, and the peers' files. The command line is the real one.
//!
//! ```text
//! /tmp/dlXXXXXX/   short: a Unix socket's path ends at 107 bytes
//!   dovelatch.toml   as on an installed system, but for its paths
//!   state/           /var/lib/dovelatch in the machine
//!   run/             /run/dovelatch
//!   spool/           /var/spool/postfix
//!   vmail/           /var/vmail
//!   log/             /var/log
//!   files/           laid over the tree: the peers' configuration
//!   mnt/             where the machine mounts its root
//! ```

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};

use tempfile::TempDir;

use crate::tested;
use crate::tree::Tree;

/// Its configuration, for [`shipped`].
pub const CONFIG: &str = "contrib/dovelatch.toml";

/// The same for direct mode.
pub const DIRECT_CONFIG: &str = "contrib/dovelatch-direct.toml";

#[derive(Debug)]
pub struct Site {
    pub tree: Tree,
    dir: TempDir,
    /// The daemon's, in the order of the configuration: name, and path in the machine.
    listeners: &'static [(&'static str, &'static str)],
}

const LISTENERS: [(&str, &str); 2] = [
    ("lua", "/run/dovelatch/lua"),
    ("postfix", "/var/spool/postfix/private/dovelatch"),
];

const DIRECT_LISTENERS: [(&str, &str); 4] = [
    ("login", "/run/dovelatch/login"),
    ("master", "/run/dovelatch/master"),
    ("userdb", "/run/dovelatch/userdb"),
    ("postfix", "/var/spool/postfix/private/dovelatch"),
];

impl Site {
    /// Behind Dovecot's auth, with an empty database that knows the given mailboxes.
    pub fn new(tree: Tree, mailboxes: &[&str]) -> Self {
        Self::with(tree, mailboxes, CONFIG, &LISTENERS)
    }

    /// The same in direct mode.
    pub fn direct(tree: Tree, mailboxes: &[&str]) -> Self {
        Self::with(tree, mailboxes, DIRECT_CONFIG, &DIRECT_LISTENERS)
    }

    fn with(
        tree: Tree,
        mailboxes: &[&str],
        config: &str,
        listeners: &'static [(&'static str, &'static str)],
    ) -> Self {
        let dir = tempfile::Builder::new().prefix("dl").tempdir();
        let dir = dir.expect("a temporary directory");
        let site = Self {
            tree,
            dir,
            listeners,
        };
        for name in "state run spool/private vmail log files mnt".split(' ') {
            fs::create_dir_all(site.path(name)).expect("own directory");
        }
        // An administrator would make it so.
        let (vmail, vmail_group) = tree.user("vmail");
        chown(site.path("vmail"), Some(vmail), Some(vmail_group)).expect("we are root");
        // Postfix would make it so at its start, but dovelatch wants to bind there before.
        let (postfix, group) = tree.user("postfix");
        chown(site.path("spool/private"), Some(postfix), None).expect("we are root");
        // Postfix and Dovecot come to the first as users of their own.
        for (name, mode) in [("", 0o755), ("state", 0o700), ("spool/private", 0o700)] {
            fs::set_permissions(site.path(name), Permissions::from_mode(mode)).expect("ours");
        }

        // As shipped, but that the daemon runs on the host, where paths and users are others.
        let mut text = shipped(config);
        for (_, inside) in listeners {
            assert!(
                text.contains(&format!("{inside:?}")),
                "{config} has no {inside:?}"
            );
        }
        let path = |name: &str| site.path(name).display().to_string();
        let (_, login_group) = tree.user("dovenull");
        for (inside, outside) in [
            ("/var/lib/dovelatch", path("state")),
            ("/run/dovelatch", path("run")),
            ("/var/spool/postfix", path("spool")),
            ("owner = \"postfix\"", format!("owner = \"{postfix}\"")),
            ("group = \"postfix\"", format!("group = \"{group}\"")),
            ("group = \"dovenull\"", format!("group = \"{login_group}\"")),
            ("uid = \"vmail\"", format!("uid = \"{vmail}\"")),
            ("gid = \"vmail\"", format!("gid = \"{vmail_group}\"")),
            (
                "/var/vmail/%{domain}/%{local}",
                "/var/vmail/%{user}".to_owned(),
            ),
            // No test is to end the sessions of the host's own Dovecot.
            ("#[dovecot]\n", "[dovecot]\n".to_owned()),
            ("#kick = ", "kick = ".to_owned()),
            (
                "#base_dir = \"/run/dovecot\"",
                format!("base_dir = {:?}", path("dovecot")),
            ),
            (
                "#doveadm = \"doveadm\"",
                format!("doveadm = {:?}", path("doveadm")),
            ),
        ] {
            text = text.replace(inside, &outside);
        }
        assert!(text.contains("\nbase_dir = "), "{config} names no Dovecot");
        fs::write(site.config(), text).expect("own directory");
        for mailbox in mailboxes {
            site.dovelatch(&["mailbox", "add", mailbox]);
        }
        site
    }

    /// Switches `mailbox*person` on, for whoever asks dovelatch directly: the lines that stand in the
    /// shipped configuration as comments.
    pub fn separate(&self) {
        const OFF: &str = "#[delegation]\n#separator";
        let config = fs::read_to_string(self.config()).expect("own directory");
        assert!(config.contains(OFF), "{CONFIG} has no {OFF:?}");
        let config = config.replace(OFF, "[delegation]\nseparator");
        fs::write(self.config(), config).expect("own directory");
    }

    /// Says where Dovecot is, and whom of it to ask for the end of sessions.
    pub fn dovecot(&self, base_dir: &Path, kick: &str) {
        const SECTION: &str = "\n[dovecot]\n";
        let config = fs::read_to_string(self.config()).expect("own directory");
        let (before, section) = config.split_once(SECTION).expect("see with()");
        let (_, after) = section.split_once("\n\n").expect("not the last one");
        let doveadm = self.path("doveadm");
        let section =
            format!("kick = {kick:?}\nbase_dir = {base_dir:?}\ndoveadm = {doveadm:?}\n\n");
        let config = format!("{before}{SECTION}{section}{after}");
        fs::write(self.config(), config).expect("own directory");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path("dovelatch.toml")
    }

    /// Names and paths of the daemon's sockets, as the host sees them.
    pub fn sockets(&self) -> Vec<(&'static str, PathBuf)> {
        let outside = |inside: &str| {
            let name = inside.replace("/run/dovelatch", "run");
            self.path(&name.replace("/var/spool/postfix", "spool"))
        };
        (self.listeners.iter())
            .map(|(name, inside)| (*name, outside(inside)))
            .collect()
    }

    /// One of them.
    pub fn socket(&self, name: &str) -> PathBuf {
        let found = self.sockets().into_iter().find(|(other, _)| *other == name);
        found.expect("one of that name").1
    }

    /// Adds a file to the machine that will be started; `path` as in there.
    pub fn file(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path("files").join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("not the root")).expect("own directory");
        fs::write(path, content).expect("own directory");
    }

    /// Puts a message where Dovecot will find it, as a delivery would.
    pub fn deliver(&self, mailbox: &str, body: &str) {
        let home = self.path("vmail").join(mailbox);
        let message =
            format!("From: sender@example.net\r\nTo: {mailbox}\r\nSubject: test\r\n\r\n{body}\r\n");
        fs::create_dir_all(home.join("Maildir/new")).expect("own directory");
        fs::write(home.join("Maildir/new/1.message"), message).expect("own directory");
        let (uid, gid) = self.tree.user("vmail");
        for name in ["", "Maildir", "Maildir/new", "Maildir/new/1.message"] {
            chown(home.join(name), Some(uid), Some(gid)).expect("we are root");
        }
    }

    /// Runs the command line, which must succeed.
    pub fn dovelatch(&self, arguments: &[&str]) -> String {
        let output = self.try_dovelatch(arguments);
        assert!(
            output.status.success(),
            "dovelatch {arguments:?}: {output:?}"
        );
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs the command line.
    pub fn try_dovelatch(&self, arguments: &[&str]) -> Output {
        self.begin_dovelatch(arguments)
            .wait_with_output()
            .expect("our own child")
    }

    /// Starts the command line and does not wait for its end.
    pub fn begin_dovelatch(&self, arguments: &[&str]) -> Child {
        tested::command()
            .arg("--config")
            .arg(self.config())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program was built for this test")
    }

    /// Issues a device password.
    pub fn add(&self, mailbox: &str, device: &str) -> String {
        self.add_with(mailbox, device, &[])
    }

    /// Issues a device password with options of `dovelatch add`.
    pub fn add_with(&self, mailbox: &str, device: &str, options: &[&str]) -> String {
        let arguments = [&["--quiet", "add", mailbox, device], options].concat();
        self.dovelatch(&arguments).trim_end().to_owned()
    }

    pub fn revoke(&self, mailbox: &str, device: &str) {
        self.dovelatch(&["revoke", mailbox, device]);
    }

    /// Everything that was logged, for the report of a failed test.
    pub fn logs(&self) -> String {
        let mut logs = String::new();
        let entries = fs::read_dir(self.path("log"))
            .into_iter()
            .flatten()
            .flatten();
        for path in entries
            .map(|entry| entry.path())
            .filter(|path| path.is_file())
        {
            logs += &format!("---- {}\n{}\n", path.display(), tail(&path));
        }
        logs
    }
}

/// The text of a file that goes to users with the program.
pub fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs before the directory is removed, after the daemon and the machine are gone.
impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}

fn tail(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
