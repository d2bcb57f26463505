//! The daemon as a process: signals, the change of user, sockets handed over.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use dovelatch::config::{Config, Environment};
use dovelatch::server::{self, Kind};
use dovelatch::telemetry;
use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, setgid, setgroups, setuid};

use crate::child::KilledOnDrop;
use crate::log_ins::{WRONG, now};
use crate::peer::{Peer, plain};
use crate::process::Process;
use crate::site::{DELAY, Site, shown};
use crate::skipped::{not_root, skipped_if};
use crate::trial;

pub(crate) const SWITCH: &str = "DOVELATCH_TEST_SERVE";

/// As whom it is to be started, where that is not root.
const USER: &str = "DOVELATCH_TEST_USER";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "sigterm_ends_it_with_success_and_removes_the_socket",
            terminated,
        ),
        trial(
            "what_was_used_and_tried_again_is_written_down_before_the_end",
            written_down,
        ),
        trial("after_kill_minus_9_the_next_one_starts", killed),
        trial("of_two_that_start_at_once_one_serves", two_at_once),
        trial("sighup_keeps_connections", hang_up),
        trial(
            "however_many_sighups_trouble_with_the_database_is_told_once",
            hang_up_in_trouble,
        ),
        trial(
            "a_revocation_outlives_the_deletion_of_the_log_before_it",
            log_deleted,
        ),
        trial(
            "a_stop_leaves_a_log_alone_that_is_not_its_own",
            log_deleted_at_the_end,
        ),
        trial(
            "a_stop_answers_what_is_in_flight_and_takes_five_seconds_at_most",
            terminated_in_time,
        ),
        trial("a_second_sigterm_ends_it_at_once", terminated_twice),
        trial(
            "a_socket_handed_over_serves_and_outlives_a_restart",
            handed_over,
        ),
        trial(
            "a_socket_handed_over_under_an_unknown_name_is_refused",
            unknown_name,
        ),
        only_for_root(
            "started_as_root_it_becomes_the_owner_of_the_database_and_keeps_no_capability",
            becomes_owner,
        ),
        only_for_root(
            "an_ordinary_user_serves_without_root_and_without_systemd",
            ordinary_user,
        ),
        only_for_root("who_stays_in_the_group_of_root_says_so", group_of_root),
        only_for_root("what_root_served_once_its_owner_can_serve", root_then_owner),
        only_for_root(
            "root_waits_for_the_database_to_see_whom_to_become",
            waits_as_root,
        ),
    ]
}

/// A test of what only root can do.
pub(crate) fn only_for_root(name: &str, test: fn()) -> Trial {
    skipped_if(not_root(), trial(name, test))
}

/// Whether this process was started to be a daemon.
#[expect(clippy::disallowed_methods, reason = "the switch of this test program")]
pub(crate) fn configuration() -> Option<PathBuf> {
    std::env::var_os(SWITCH).map(PathBuf::from)
}

#[expect(clippy::disallowed_methods, reason = "the switch of this test program")]
pub(crate) fn serve(config: &Path) -> ExitCode {
    if let Ok(user) = std::env::var(USER) {
        let user = user.parse().unwrap();
        setgroups(&[]).unwrap();
        setgid(Gid::from_raw(user)).unwrap();
        setuid(Uid::from_raw(user)).unwrap();
    }
    let environment = Environment::read();
    let _guard = telemetry::start(&environment).unwrap();
    match server::serve(&Config::load(config).unwrap(), &environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(match error.kind() {
            Kind::Configuration => 78,
            Kind::Socket => 73,
            Kind::System => 75,
        }),
    }
}

/// A daemon in a process of its own.
pub(crate) struct Daemon {
    child: KilledOnDrop,
    lines: Receiver<String>,
    /// What it has logged so far.
    log: String,
}

/// Longer than anything may take: a test that waits for more has failed.
const PATIENCE: Duration = Duration::from_secs(20);

impl Daemon {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            log.lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Self {
            child: KilledOnDrop(child),
            lines,
            log: String::new(),
        }
    }

    pub(crate) fn start(site: &Site) -> Self {
        let mut daemon = Self::spawn(&mut command(site));
        daemon.wait_for("serving sockets=1");
        daemon
    }

    /// Waits until this was logged, if it was not yet.
    pub(crate) fn wait_for(&mut self, text: &str) {
        self.wait_for_times(text, 1);
    }

    fn wait_for_times(&mut self, text: &str, times: usize) {
        while self.times(text) < times {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no {text:?} in:\n{}", self.log));
            self.log = format!("{}{line}\n", self.log);
        }
    }

    /// What has come of its log by now, and had been waited for or not.
    pub(crate) fn log(&mut self) -> &str {
        while let Ok(line) = self.lines.try_recv() {
            self.log = format!("{}{line}\n", self.log);
        }
        &self.log
    }

    pub(crate) fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// How often this was logged so far.
    pub(crate) fn times(&self, text: &str) -> usize {
        self.log.matches(text).count()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The user of the process, as the kernel sees it.
    fn user(&self) -> u32 {
        fs::metadata(format!("/proc/{}", self.child.id()))
            .unwrap()
            .uid()
    }
}

pub(crate) fn command(site: &Site) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(SWITCH, site.file());
    command
}

/// The same with a socket handed over on standard input, as systemd does from descriptor 3 on: another
/// number needs no unsafe code here.
pub(crate) fn handing_over(site: &Site, socket: &UnixListener, name: &str) -> Command {
    let mut command = command(site);
    command
        .stdin(OwnedFd::from(socket.try_clone().unwrap()))
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDS_FIRST_FD", "0")
        .env("LISTEN_FDNAMES", name);
    command
}

/// Asks again, with ids from 2 on, until the answer is not *try later*.
pub(crate) fn until_verified(mut sign_in: impl FnMut(u32) -> String) -> String {
    let begun = now();
    let mut ids = 2..;
    loop {
        let answer = sign_in(ids.next().unwrap());
        if !answer.contains("code=temp_fail") {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "{answer}");
        std::thread::sleep(Duration::from_millis(20)); // Not to wait for: to ask less often.
    }
}

fn terminated() {
    let site = Site::new();
    let mut daemon = Daemon::start(&site);
    Peer::postfix(&site.socket());
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), Some(0));
    assert!(!site.socket().exists());
}

fn written_down() {
    let site = Site::new();
    let (phone, lost) = (site.issue("phone"), site.issue("lost"));
    let mut admin = site.admin();
    let by = admin.actor.clone();
    let id = std::slice::from_ref(&lost.device.id);
    admin
        .store
        .revoke(id, &by, dovelatch::clock::now())
        .unwrap();
    let mut daemon = Daemon::start(&site);
    let mut peer = Peer::login_process(&site.socket());
    let begun = now();
    let refused = peer.sign_in(1, "ana@example.org", &shown(&lost));
    assert_eq!(refused, "FAIL\t1\tuser=ana@example.org", "as any other");
    assert!(begun.elapsed() >= DELAY);
    daemon.wait_for(&format!(
        "auth failed: user=<ana@example.org> method=PLAIN service=imap rip=203.0.113.7 \
         lip=192.0.2.1 listener=auth reason=revoked device={}\n",
        lost.device.id
    ));
    assert!(
        peer.sign_in(2, "ana@example.org", &shown(&phone))
            .starts_with("OK\t2\t")
    );
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), Some(0));
    for rows in [
        admin.store.uses(&phone.device.id),
        admin.store.attempts(&lost.device.id),
    ] {
        let rows = rows.unwrap();
        assert_eq!((rows.len(), rows[0].count), (1, 1));
        assert_eq!(rows[0].address.unwrap().to_string(), "203.0.113.7");
    }
}

fn killed() {
    let site = Site::new();
    let mut daemon = Daemon::start(&site);
    daemon.signal(Signal::SIGKILL);
    assert_eq!(daemon.exit_code(), None);
    assert!(site.socket().exists());
    let _next = Daemon::start(&site);
    Peer::postfix(&site.socket());
}

fn two_at_once() {
    let site = Site::new();
    let mut daemons = [(); 2].map(|()| Daemon::spawn(&mut command(&site)));
    // One ends by itself, whichever it is; the other has to be told to.
    let begun = now();
    let loser = (0..).map(|index| index % 2).find(|&index| {
        std::thread::yield_now();
        assert!(begun.elapsed() < PATIENCE, "neither ends");
        daemons[index].child.try_wait().unwrap().is_some()
    });
    let loser = loser.unwrap();
    assert_eq!(daemons[loser].exit_code(), Some(73));
    let winner = &mut daemons[1 - loser];
    winner.wait_for("serving sockets=1");
    Peer::postfix(&site.socket());
    winner.signal(Signal::SIGTERM);
    assert_eq!(winner.exit_code(), Some(0));
}

fn hang_up() {
    let site = Site::new();
    let phone = site.issue("phone");
    let mut daemon = Daemon::start(&site);
    let mut peer = Peer::login_process(&site.socket());
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for("reloaded");
    assert!(
        peer.sign_in(1, "ana@example.org", &shown(&phone))
            .starts_with("OK\t1\t")
    );
}

fn hang_up_in_trouble() {
    let site = Site::bare();
    let mut daemon = Daemon::start(&site);
    daemon.wait_for("log-ins get \"try later\"");
    for times in 1..=5 {
        daemon.signal(Signal::SIGHUP);
        daemon.wait_for_times("reloaded", times);
    }
    // Whoever else has something to say has said it before this is answered.
    site.make_database();
    let mut peer = Peer::login_process(&site.socket());
    until_verified(|id| peer.sign_in(id, "ana@example.org", WRONG));
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for("stopped");
    let told = daemon.times("log-ins get \"try later\"");
    assert_eq!(told, 1, "{}", daemon.log);
}

fn log_deleted() {
    let site = Site::new();
    let phone = site.issue("phone");
    let _daemon = Daemon::start(&site);
    let mut peer = Peer::login_process(&site.socket());
    let mut sign_in = |id| peer.sign_in(id, "ana@example.org", &shown(&phone));
    let good = until_verified(&mut sign_in);
    assert!(good.starts_with("OK\t"), "{good}");
    for suffix in ["db-wal", "db-shm"] {
        fs::remove_file(site.config.database.with_extension(suffix)).unwrap();
    }
    // Into a new log, while the daemon still has the old one open.
    let mut admin = site.admin();
    let ids = [phone.device.id.clone()];
    (admin.store)
        .revoke(&ids, &admin.actor, dovelatch::clock::now())
        .unwrap();
    drop(admin);
    let refused = until_verified(&mut sign_in);
    assert!(refused.starts_with("FAIL\t"), "{refused}");
}

fn log_deleted_at_the_end() {
    let site = Site::new();
    let phone = site.issue("phone");
    let mut daemon = Daemon::start(&site);
    let mut peer = Peer::login_process(&site.socket());
    until_verified(|id| peer.sign_in(id, "ana@example.org", &shown(&phone)));
    for suffix in ["db-wal", "db-shm"] {
        fs::remove_file(site.config.database.with_extension(suffix)).unwrap();
    }
    site.issue("tablet");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), Some(0));
    let devices = (site.admin().store)
        .devices(None, dovelatch::store::Revoked::Shown)
        .unwrap();
    assert_eq!(devices.len(), 2, "the tablet is gone");
}

fn terminated_in_time() {
    let mut site = Site::new();
    // The longest delay that the configuration allows.
    site.config.listeners[0].failure_delay = Duration::from_secs(4);
    let phone = site.issue("phone");
    let mut daemon = Daemon::start(&site);
    let mut peer = Peer::login_process(&site.socket());
    // One that waits for its client, and two that do not.
    peer.say("AUTH\t1\tLOGIN\tservice=imap");
    assert!(peer.line().starts_with("CONT\t1\t"));
    peer.plain(2, "ana@example.org", WRONG);
    daemon.wait_for("auth failed:");
    let begun = now();
    daemon.signal(Signal::SIGTERM);
    peer.plain(3, "ana@example.org", &shown(&phone));
    let answers = [peer.line(), peer.line(), peer.line()];
    assert_eq!(daemon.exit_code(), Some(0));
    // The third may have come too late to be read.
    assert!(answers.iter().any(|line| line.starts_with("FAIL\t2\t")));
    assert!(answers.iter().any(String::is_empty), "then it is closed");
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(5_500), "{took:?}");
}

fn terminated_twice() {
    let mut site = Site::new();
    // The refusal is put off: the first SIGTERM waits for it.
    site.config.listeners[0].failure_delay = Duration::from_secs(4);
    let mut daemon = Daemon::start(&site);
    let peer = Peer::login_process(&site.socket());
    peer.say(&plain(1, "ana@example.org", WRONG));
    daemon.wait_for("auth failed:");
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for("stopping");
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for("stopping at once");
    assert_eq!(daemon.exit_code(), Some(0));
}

fn handed_over() {
    let site = Site::new();
    let phone = site.issue("phone");
    let socket = UnixListener::bind(site.socket()).unwrap();
    let mut first = Daemon::spawn(&mut handing_over(&site, &socket, "auth"));
    first.wait_for("serving sockets=1");
    let mut peer = Peer::login_process(&site.socket());
    assert!(
        peer.sign_in(1, "ana@example.org", &shown(&phone))
            .starts_with("OK\t1\t")
    );
    first.signal(Signal::SIGTERM);
    assert_eq!(first.exit_code(), Some(0));
    assert!(peer.is_closed());
    assert!(site.socket().exists(), "it is not ours to remove");

    // Nobody serves: a peer waits in the backlog until somebody does.
    let path = site.socket();
    let waiting = std::thread::spawn(move || {
        let mut peer = Peer::postfix(&path);
        peer.sign_in(1, "ana@example.org", &shown(&phone))
    });
    let _second = Daemon::spawn(&mut handing_over(&site, &socket, "auth"));
    assert!(waiting.join().unwrap().starts_with("OK\t1\t"));
}

fn unknown_name() {
    let site = Site::new();
    let socket = UnixListener::bind(site.socket()).unwrap();
    for name in ["dovelatch-postfix.socket", ""] {
        let mut daemon = Daemon::spawn(&mut handing_over(&site, &socket, name));
        assert_eq!(daemon.exit_code(), Some(78), "{name:?}");
    }
}

fn becomes_owner() {
    let site = Site::new();
    give_away(&site);
    let phone = site.issue("phone");
    let mut daemon = Daemon::start(&site);
    daemon.wait_for("serving as the owner of the database");
    let mut peer = Peer::login_process(&site.socket());
    let answer = peer.sign_in(1, "ana@example.org", &shown(&phone));
    daemon.wait_for("auth");
    assert!(answer.starts_with("OK\t1\t"), "{answer} {}", daemon.log);
    assert_eq!(daemon.user(), OTHER);
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).unwrap();
    for line in [
        format!("Uid:\t{OTHER}\t{OTHER}\t{OTHER}\t{OTHER}"),
        format!("Groups:\t{OTHER} "),
        "CapPrm:\t0000000000000000\n".to_owned(),
        "CapEff:\t0000000000000000\n".to_owned(),
        "CapAmb:\t0000000000000000\n".to_owned(),
    ] {
        assert!(status.contains(&line), "{line:?} is missing in:\n{status}");
    }
}

fn ordinary_user() {
    let site = Site::new();
    give_away(&site);
    let phone = site.issue("phone");
    let mut command = command(&site);
    command.env(USER, OTHER.to_string());
    for variable in ["NOTIFY_SOCKET", "LISTEN_FDS", "WATCHDOG_USEC"] {
        command.env_remove(variable);
    }
    let mut daemon = Daemon::spawn(&mut command);
    daemon.wait_for("serving sockets=1");
    let mut peer = Peer::login_process(&site.socket());
    let answer = peer.sign_in(1, "ana@example.org", &shown(&phone));
    assert!(answer.starts_with("OK\t1\t"), "{answer}");
    assert_eq!(daemon.user(), OTHER);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), Some(0));
    assert_eq!(site.admin().store.uses(&phone.device.id).unwrap().len(), 1);
    assert!(!site.socket().exists());
}

fn group_of_root() {
    let site = Site::new();
    give_away(&site);
    let database = &site.config.database;
    std::os::unix::fs::chown(database, Some(OTHER), Some(0)).unwrap();
    let mut daemon = Daemon::start(&site);
    daemon.wait_for("still in the group of root");
    assert_eq!(daemon.user(), OTHER);
}

fn root_then_owner() {
    let site = Site::new();
    give_away(&site);
    let mut daemon = Daemon::start(&site);
    daemon.wait_for("serving as the owner of the database");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), Some(0));
    let mut left: Vec<_> = fs::read_dir(site.path()).unwrap().flatten().collect();
    left.retain(|entry| entry.metadata().unwrap().uid() == 0);
    left.retain(|entry| entry.path().extension().is_none_or(|end| end != "toml"));
    assert!(left.is_empty(), "{left:?} would keep the owner out");
}

fn waits_as_root() {
    let site = Site::bare();
    give_away(&site);
    let mut daemon = Daemon::start(&site);
    daemon.wait_for("there is no database to be seen");
    let mut peer = Peer::login_process(&site.socket());
    let answer = peer.sign_in(1, "ana@example.org", WRONG);
    assert!(answer.contains("code=temp_fail"), "{answer}");
    assert_eq!(daemon.user(), 0);

    site.make_database();
    daemon.wait_for("serving as the owner of the database");
    assert_eq!(daemon.user(), OTHER);
    let answer = peer.sign_in(2, "ana@example.org", WRONG);
    assert_eq!(answer, "FAIL\t2\tuser=ana@example.org");
}

/// A user that nobody is.
pub(crate) const OTHER: u32 = 47_110;

/// Gives directory and database of a site to another user.
fn give_away(site: &Site) {
    let chown = |path: &Path| std::os::unix::fs::chown(path, Some(OTHER), Some(OTHER)).unwrap();
    chown(site.path());
    for entry in fs::read_dir(site.path()).unwrap() {
        chown(&entry.unwrap().path());
    }
}
