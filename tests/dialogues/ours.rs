//! The real daemon, on a database that the real command line has made.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use crate::wait::{LONG, until};
use crate::{Account, tested};

/// Ends the daemon when our end of the pipe closes, even if the test was killed. (A death signal
/// would come when the thread ends that started it, which is not the last one.)
const RUN: &str = r#""$@" </dev/null & cat >/dev/null; kill $!; wait"#;

/// As stock's, in whose trees vmail has these numbers.
const USERDB: &str = "\
[userdb]
uid = \"5000\"
gid = \"5000\"
home = \"/var/vmail/%{user}\"
";

/// Started by the first dialogue that needs it, gone with the last.
#[derive(Default)]
pub struct Ours(Mutex<Option<Daemon>>);

struct Daemon {
    process: Child,
    dir: TempDir,
    password: String,
}

impl Ours {
    pub fn account(&self) -> Account {
        let mut daemon = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let daemon = daemon.get_or_insert_with(Daemon::start);
        Account {
            client: daemon.dir.path().join("auth"),
            master: daemon.dir.path().join("master"),
            userdb: daemon.dir.path().join("userdb"),
            password: daemon.password.clone(),
        }
    }
}

impl Daemon {
    fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("dl").tempdir();
        let dir = dir.expect("a temporary directory");
        let path = |name: &str| dir.path().join(name);
        let listener = |kind| format!("[[listen]]\ntype = {kind:?}\npath = {:?}\n", path(kind));
        let config = [
            format!("database = {:?}\n", path("dovelatch.db")),
            listener("auth") + "failure_delay = \"0s\"\n",
            listener("master"),
            listener("userdb"),
            USERDB.to_owned(),
        ];
        let config = config.concat();
        fs::write(path("dovelatch.toml"), config).expect("own directory");
        run(dir.path(), &["mailbox", "add", "bob@example.org"]);
        let password = run(dir.path(), &["--quiet", "add", "bob@example.org", "phone"]);
        let password = password.trim_end().to_owned();

        let log = File::create(path("log")).expect("own directory");
        let process = tested::started_by("sh")
            .args(["-c", RUN, "sh", tested::PROGRAM, "--config"])
            .arg(path("dovelatch.toml"))
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .spawn()
            .expect("there is a shell");
        let socket = path("auth");
        let log = path("log");
        let daemon = Self {
            process,
            dir,
            password,
        };
        until("the daemon's first verdict", LONG, || {
            let log = fs::read_to_string(&log).unwrap_or_default();
            assert!(!log.contains("error:"), "{log}");
            decides(&socket).then_some(())
        });
        daemon
    }
}

/// Whether it answers, and not that it cannot answer yet: it listens before its database is open.
fn decides(socket: &Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket) else {
        return false;
    };
    stream.set_read_timeout(Some(LONG)).expect("not zero");
    let log_in = "VERSION\t1\t2\nCPID\t77\nAUTH\t1\tPLAIN\tservice=imap\tresp=AGJvYgB4\n";
    if stream.write_all(log_in.as_bytes()).is_err() {
        return false;
    }
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    lines
        .find(|line| line.starts_with("FAIL\t1"))
        .is_some_and(|line| !line.contains("temp_fail"))
}

fn run(dir: &Path, arguments: &[&str]) -> String {
    let output = tested::command()
        .arg("--config")
        .arg(dir.join("dovelatch.toml"))
        .args(arguments)
        .output()
        .expect("the program was built for this test");
    assert!(
        output.status.success(),
        "dovelatch {arguments:?}: {output:?}"
    );
    String::from_utf8(output.stdout).expect("text")
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _status = self.process.wait();
    }
}
