//! A throw-away machine like that of machine.rs, but with the tree's own systemd as its first process
//! (systemd.sh) and the daemon installed as a package would: program, units, user, configuration.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;

use tempfile::TempDir;

use crate::site::{CONFIG, shipped};
use crate::tested::{self, PROGRAM};
use crate::tree::Tree;
use crate::wait::{LONG, until};

const BOOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/systemd.sh");

const UNITS: [&str; 3] = [
    "dovelatch.service",
    "dovelatch-lua.socket",
    "dovelatch-postfix.socket",
];

/// Why no systemd can be booted here, where that is not for want of a tree.
pub fn unbootable() -> Option<String> {
    // A container may give out namespaces, and no control groups.
    static CONTROL_GROUPS: LazyLock<bool> = LazyLock::new(|| {
        let mut unshare = Command::new("unshare");
        unshare
            .args(["--mount", "--cgroup", "sh", "-c"])
            .arg("mount -t cgroup2 cgroup2 /mnt && mkdir /mnt/dovelatch-probe-$$ && rmdir /mnt/dovelatch-probe-$$")
            .stderr(Stdio::null());
        unshare.status().is_ok_and(|status| status.success())
    });
    (!*CONTROL_GROUPS).then(|| "this root may not make control groups".to_owned())
}

#[derive(Debug)]
pub struct Booted {
    process: Child,
    /// The one by whose namespaces the machine can be entered.
    entrance: String,
    _directory: TempDir,
}

impl Booted {
    /// Boots it with the sockets enabled and one mailbox, `ana@example.org`. `changes` is a drop-in for the
    /// service.
    pub fn start(tree: Tree, changes: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let files = directory.path().join("files");
        let write = |path: &str, text: &str| {
            let path = files.join(path);
            fs::create_dir_all(path.parent().expect("below it")).expect("own directory");
            fs::write(path, text).expect("own directory");
        };
        for unit in UNITS {
            let text = shipped(&format!("packaging/systemd/{unit}"));
            write(&format!("usr/lib/systemd/system/{unit}"), &text);
        }
        write("etc/systemd/system/dovelatch.service.d/test.conf", changes);
        let user = "sysusers.d/dovelatch.conf";
        write(
            &format!("usr/lib/{user}"),
            &shipped(&format!("packaging/{user}")),
        );
        write("etc/dovelatch/dovelatch.toml", &shipped(CONFIG));
        // Sockets begin with the machine. `enable` would start the daemon with it as well.
        let wanted = files.join("etc/systemd/system/sockets.target.wants");
        fs::create_dir_all(&wanted).expect("own directory");
        for socket in UNITS.into_iter().filter(|unit| unit.ends_with(".socket")) {
            let unit = Path::new("/usr/lib/systemd/system").join(socket);
            symlink(unit, wanted.join(socket)).expect("own directory");
        }

        let mut process = tested::started_by("unshare")
            .args(["--mount", BOOT])
            .arg(tree.path())
            .arg(directory.path())
            .arg(PROGRAM)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is a part of util-linux");
        let stdout = process.stdout.take().expect("a pipe");
        let mut entrance = String::new();
        (BufReader::new(stdout).read_line(&mut entrance)).expect("the id of a process");
        let machine = Self {
            process,
            entrance: entrance.trim().to_owned(),
            _directory: directory,
        };
        until("the machine to boot", LONG, || {
            // Of what a whole system has some is missing here.
            let state = machine.says(&["systemctl", "is-system-running"]);
            ["running\n", "degraded\n"]
                .contains(&state.as_str())
                .then_some(())
        });
        // A package would make it, and so does the first start of the service.
        let state = "install -d -m 0700 -o dovelatch -g dovelatch /var/lib/dovelatch";
        machine.succeeds(&["sh", "-c", state]);
        machine.succeeds(&["dovelatch", "mailbox", "add", "ana@example.org"]);
        machine
    }

    /// What runs a command in this machine, the command's words still to come.
    pub fn enter(&self) -> Command {
        let mut command = tested::started_by("nsenter");
        command
            .args(["--target", &self.entrance])
            .args(["--mount", "--net", "--ipc", "--uts", "--cgroup"])
            // `unshare` itself is in the old one; its children are in the new.
            .arg(format!("--pid=/proc/{}/ns/pid_for_children", self.entrance))
            .stdin(Stdio::null());
        command
    }

    pub fn output(&self, words: &[&str]) -> Output {
        (self.enter().args(words).output()).expect("a part of util-linux")
    }

    /// Standard output, whatever the exit code.
    pub fn says(&self, words: &[&str]) -> String {
        String::from_utf8_lossy(&self.output(words).stdout).into_owned()
    }

    pub fn succeeds(&self, words: &[&str]) -> String {
        let output = self.output(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A property of the service.
    pub fn service(&self, property: &str) -> String {
        let show = ["systemctl", "show", "--value", "--property"];
        let text = self.succeeds(&[&show[..], &[property, "dovelatch.service"]].concat());
        text.trim().to_owned()
    }

    /// The main process of the service, as soon as there is one.
    pub fn pid(&self) -> String {
        until("the daemon to run", LONG, || {
            let pid = self.service("MainPID");
            (pid != "0").then_some(pid)
        })
    }

    /// The log of the service, systemd's own lines among it.
    pub fn log(&self) -> String {
        self.succeeds(&["journalctl", "--unit=dovelatch", "--output=cat"])
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _status = self.process.wait();
    }
}
