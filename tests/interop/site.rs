//! One test's mail host, as far as it lies outside the peers: a directory, the configuration of
//! dovelatch and its database, and the peers' files. The command line is the real one.
//!
//! ```text
//! /tmp/dlXXXXXX/   short: a Unix socket's path ends at 107 bytes
//!   dovelatch.toml   as on an installed system, but for its paths
//!   state/           /var/lib/dovelatch in the machine
//!   run/             /run/dovelatch
//!   base/            /run/dovecot
//!   spool/           /var/spool/postfix
//!   vmail/           /var/vmail
//!   log/             /var/log
//!   files/           laid over the tree: the peers' configuration
//!   mnt/             where the machine mounts its root
//! ```

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use crate::tree::Tree;

/// The program under test.
pub const DOVELATCH: &str = env!("CARGO_BIN_EXE_dovelatch");

/// Its configuration, for [`shipped`].
pub const CONFIG: &str = "contrib/dovelatch.toml";

/// The one without Dovecot's auth.
const DIRECT: &str = "contrib/dovelatch-direct.toml";

#[derive(Debug)]
pub struct Site {
    pub tree: Tree,
    /// Name of the socket at which Dovecot's log-ins are decided.
    log_ins: &'static str,
    dir: TempDir,
}

impl Site {
    /// Behind Dovecot's auth, with an empty database that knows the given mailboxes.
    pub fn new(tree: Tree, mailboxes: &[&str]) -> Self {
        Self::with(tree, "lua", CONFIG, &[], mailboxes)
    }

    /// The same in direct mode.
    pub fn direct(tree: Tree, mailboxes: &[&str]) -> Self {
        let ((_, dovenull), (uid, gid)) = (tree.user("dovenull"), tree.user("vmail"));
        let users = [
            ("group = \"dovenull\"", format!("group = \"{dovenull}\"")),
            ("uid = \"vmail\"", format!("uid = \"{uid}\"")),
            ("gid = \"vmail\"", format!("gid = \"{gid}\"")),
        ];
        let site = Self::with(tree, "login", DIRECT, &users, mailboxes);
        // Deliveries make a mailbox's directories.
        chown(site.path("vmail"), Some(uid), Some(gid)).expect("we are root");
        site
    }

    fn with(
        tree: Tree,
        log_ins: &'static str,
        name: &str,
        users: &[(&str, String)],
        mailboxes: &[&str],
    ) -> Self {
        let dir = tempfile::Builder::new().prefix("dl").tempdir();
        let dir = dir.expect("a temporary directory");
        let site = Self { tree, log_ins, dir };
        for name in "state run base spool/private vmail log files mnt".split(' ') {
            fs::create_dir_all(site.path(name)).expect("own directory");
        }
        // Postfix would make it so at its start, but dovelatch wants to bind there before.
        let (postfix, group) = tree.user("postfix");
        chown(site.path("spool/private"), Some(postfix), None).expect("we are root");
        // Postfix and Dovecot come to the first as users of their own.
        for (name, mode) in [("", 0o755), ("state", 0o700), ("spool/private", 0o700)] {
            fs::set_permissions(site.path(name), Permissions::from_mode(mode)).expect("ours");
        }

        // As shipped, but that the daemon runs on the host, where paths and users are others.
        let mut config = shipped(name);
        let paths_and_postfix = [
            (
                "/var/lib/dovelatch",
                site.path("state").display().to_string(),
            ),
            ("/run/dovelatch", site.path("run").display().to_string()),
            (
                "/var/spool/postfix",
                site.path("spool").display().to_string(),
            ),
            ("owner = \"postfix\"", format!("owner = \"{postfix}\"")),
            ("group = \"postfix\"", format!("group = \"{group}\"")),
        ];
        for (inside, outside) in paths_and_postfix.iter().chain(users) {
            assert!(config.contains(inside), "{name} has no {inside:?}");
            config = config.replace(inside, outside);
        }
        fs::write(site.config(), config).expect("own directory");
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
    pub fn dovecot(&self, kick: &str) {
        const SECTION: &str = "\n[dovecot]\n";
        let config = fs::read_to_string(self.config()).expect("own directory");
        let rest = config.split(SECTION).next().expect("not empty");
        let (base, doveadm) = (self.path("base"), self.path("doveadm"));
        let section =
            format!("{SECTION}kick = {kick:?}\nbase_dir = {base:?}\ndoveadm = {doveadm:?}\n");
        fs::write(self.config(), format!("{rest}{section}")).expect("own directory");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path("dovelatch.toml")
    }

    /// Where the daemon greets when it serves.
    pub fn sockets(&self) -> [PathBuf; 2] {
        let log_ins = self.path("run").join(self.log_ins);
        [log_ins, self.postfix_socket()]
    }

    pub fn lua_socket(&self) -> PathBuf {
        self.path("run/lua")
    }

    /// Where a chrooted smtpd finds it as `private/dovelatch`.
    pub fn postfix_socket(&self) -> PathBuf {
        self.path("spool/private/dovelatch")
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
        Command::new(DOVELATCH)
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
