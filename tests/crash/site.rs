//! A mail site in a temporary directory: its database, the real program, and a peer at its socket.
//!
//! As on a real host, root types the commands and the daemon becomes the owner of the database, another
//! user. Whoever is not root does both.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use data_encoding::BASE64;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::child::KilledOnDrop;
use crate::judge::Answer;
use crate::{now, tested, wait};

/// Whose the database is if root runs the tests: a number that is nobody's.
const OWNER: u32 = 47_110;

/// Longer than an answer may take: a test that waits for more has failed.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Site {
    /// Holds the log and the configuration; the data and the socket are below it.
    directory: TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        let site = Self {
            directory: TempDir::new().unwrap(),
        };
        fs::set_permissions(site.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for own in [site.data(), site.path().join("run")] {
            fs::create_dir(&own).unwrap();
            fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).unwrap();
            if nix::unistd::geteuid().is_root() {
                chown(&own, Some(OWNER), Some(OWNER)).unwrap();
            }
        }
        // The cheapest hash that there is: it is not what is tested. Nobody is to be kicked.
        let config = format!(
            "database = {:?}\n[hash]\ngenerated = \"m=8,t=1,p=1\"\nthreads = 1\n\
             [dovecot]\nkick = \"off\"\n\
             [[listen]]\ntype = \"auth\"\npath = {:?}\nfailure_delay = \"0s\"\n",
            site.database(),
            site.socket(),
        );
        fs::write(site.path().join("dovelatch.toml"), config).unwrap();
        site
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The directory of the database, with nothing else in it.
    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.data().join("dovelatch.db")
    }

    /// The write-ahead log beside the database.
    pub(crate) fn log(&self) -> PathBuf {
        self.data().join("dovelatch.db-wal")
    }

    fn socket(&self) -> PathBuf {
        self.path().join("run/auth")
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = tested::command();
        command
            .arg("--config")
            .arg(self.path().join("dovelatch.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command that must succeed, and gives back what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let ended = self.command().args(arguments).output().unwrap();
        assert!(ended.status.success(), "{arguments:?}: {ended:?}");
        String::from_utf8(ended.stdout).unwrap()
    }

    /// The real check of the whole file.
    pub(crate) fn check(&self) {
        let said = self.run(&["db", "check"]);
        assert!(said.ends_with(": ok\n"), "{said}");
    }

    pub(crate) fn start(&self) -> Daemon {
        self.start_with(|_| ())
    }

    /// Starts the daemon with some more environment, and waits for nothing.
    pub(crate) fn start_with(&self, prepare: impl FnOnce(&mut Command)) -> Daemon {
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.path().join("daemon.log"))
            .unwrap();
        let mut command = self.command();
        command.arg("serve").stderr(log);
        prepare(&mut command);
        Daemon(KilledOnDrop(command.spawn().unwrap()))
    }

    /// Connects. An error while there is no daemon.
    pub(crate) fn connect(&self) -> io::Result<Door> {
        Door::connect(&self.socket())
    }

    /// Asks on new connections until there is a verdict, for `limit` at most.
    pub(crate) fn ask_until_told(&self, mailbox: &str, password: &str, limit: Duration) -> Answer {
        wait::until("a verdict", limit, || {
            let answer = self
                .connect()
                .and_then(|mut door| door.ask(mailbox, password));
            answer.ok().filter(|answer| *answer != Answer::Later)
        })
    }

    /// What the daemon has logged, for whoever looks for the cause of a failure.
    pub(crate) fn daemon_log(&self) -> String {
        fs::read_to_string(self.path().join("daemon.log")).unwrap_or_default()
    }
}

/// `dovelatch serve`.
pub(crate) struct Daemon(KilledOnDrop);

impl Daemon {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(mut self) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

/// A login process at the daemon's socket.
pub(crate) struct Door {
    reader: BufReader<UnixStream>,
    requests: u32,
}

impl Door {
    fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut door = Self {
            reader: BufReader::new(stream),
            requests: 0,
        };
        door.say("VERSION\t1\t2\nCPID\t42\n")?;
        while door.line()? != "DONE" {}
        Ok(door)
    }

    fn say(&self, text: &str) -> io::Result<()> {
        self.reader.get_ref().write_all(text.as_bytes())
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        match line.strip_suffix('\n') {
            Some(line) => Ok(line.to_owned()),
            None => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Signs in. An error where the daemon goes away meanwhile.
    pub(crate) fn ask(&mut self, mailbox: &str, password: &str) -> io::Result<Answer> {
        self.requests += 1;
        let response = BASE64.encode(format!("\0{mailbox}\0{password}").as_bytes());
        self.say(&format!(
            "AUTH\t{}\tPLAIN\tservice=imap\trip=203.0.113.7\tresp={response}\n",
            self.requests
        ))?;
        let line = self.line()?;
        Ok(match line.split('\t').next() {
            Some("OK") => Answer::In,
            Some("FAIL") if line.contains("temp_fail") => Answer::Later,
            Some("FAIL") => Answer::Refused,
            _ => panic!("no answer: {line:?}"),
        })
    }
}

/// Runs `work` and tells how long it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = now();
    let done = work();
    (done, begun.elapsed())
}
