//! Direct mode: Dovecot's login processes, mail processes, LMTP and doveadm ask dovelatch, and Dovecot's
//! auth process does not run.

use std::net::Ipv4Addr;
use std::process::Output;
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::conversation::{Imap, Lmtp, Pop3, Sieve};
use crate::daemon::{Daemon, Held};
use crate::dovecot::{self, Chroot};
use crate::machine::Machine;
use crate::site::{DIRECT_CONFIG, Site, shipped};
use crate::tree::Tree;
use crate::wait::{LONG, until};
use crate::{case, dovecot_accepts, dovecot_refuses, units};

const ANA: &str = "ana@example.org";
const BEN: &str = "ben@example.org";
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Its name, and what it does.
type Test = (&'static str, fn(Tree));

pub fn tests(tree: Tree) -> Vec<Trial> {
    let tests: [Test; 11] = [
        ("a_delivered_message_is_read_over_imap_and_pop3", message),
        ("managesieve_begins_a_session", sieve),
        ("the_chroot_of_login_processes_may_be_kept", chroot),
        ("mail_for_nobody_is_refused_and_mail_in_trouble_waits", lmtp),
        ("a_disabled_mailbox_gets_mail_and_lets_nobody_in", disabled),
        ("doveadm_asks_who_is_there_and_where", doveadm_user),
        ("doveadm_signs_in_and_flushes_a_cache", doveadm_auth),
        ("mail_processes_serve_one_session_after_the_other", reused),
        ("sessions_outlive_the_daemon", restarted),
        ("with_sockets_held_everybody_who_waited_is_served", held),
        ("a_person_opens_a_shared_mailbox", delegated),
    ];
    let peer = format!("{}_direct", tree.dovecot());
    let case = |(name, body): Test| case(tree, &peer, name, body);
    let mut tests: Vec<_> = tests.into_iter().map(case).collect();
    // The daemon runs in the machine there.
    if tree.unusable().is_some() || tree.runs_what_the_host_built() {
        tests.push(case((
            "units_and_configuration_serve_as_they_are_shipped",
            as_shipped,
        )));
    }
    tests
}

/// A host in direct mode, and who runs on it.
pub struct Direct {
    pub site: Site,
    pub daemon: Daemon,
    pub machine: Machine,
}

impl Direct {
    pub fn start(tree: Tree) -> Self {
        Self::start_with(tree, "")
    }

    /// With more of Dovecot's settings.
    pub fn start_with(tree: Tree, settings: &str) -> Self {
        let site = Site::direct(tree, &[ANA, BEN]);
        dovecot::install_direct(&site, Chroot::GivenUp);
        dovecot::add_settings(&site, settings);
        let daemon = Daemon::start(&site);
        let machine = boot(&site);
        Self {
            site,
            daemon,
            machine,
        }
    }
}

/// With the link that ManageSieve needs.
pub fn boot(site: &Site) -> Machine {
    let [managesieve, _] = dovecot::TMPFILES;
    let boot = format!("sh -c \"systemd-tmpfiles --create {managesieve}.conf && exec dovecot -F\"");
    Machine::start(site, &[&boot], &dovecot::DIRECT_PORTS)
}

fn message(tree: Tree) {
    let Direct { site, machine, .. } = &Direct::start(tree);
    let password = site.add(ANA, "phone");
    let mut lmtp = Lmtp::connect(machine, HERE);
    let answer = lmtp.recipient("Ana@Example.ORG");
    assert!(answer.starts_with("250 2.1.5 "), "{answer}");
    let answer = lmtp.message("Read me.");
    assert!(answer.starts_with("250 2.0.0 "), "{answer}");

    let mut imap = Imap::connect(machine, HERE);
    dovecot_accepts(&imap.login(ANA, &password));
    let message = imap.read_message();
    assert!(message.contains("Read me."), "{message}");
    let mut pop3 = Pop3::connect(machine, HERE);
    let answer = pop3.login(ANA, &password);
    assert!(answer.starts_with("+OK"), "{answer}");
    let message = pop3.read_message();
    assert!(message.contains("Read me."), "{message}");
    dovecot_refuses(&Imap::connect(machine, HERE).login(ANA, "aaaa-bbbb-cccc-dddd-eeee"));

    assert_eq!(roots(machine, "pop3").len(), 1, "whose session is open");
    assert_eq!(
        roots(machine, "auth").len(),
        0,
        "Dovecot's auth process runs"
    );
}

fn sieve(tree: Tree) {
    let Direct { site, machine, .. } = &Direct::start(tree);
    let password = site.add(ANA, "phone");
    let mut sieve = Sieve::connect(machine, HERE);
    assert!(
        sieve
            .login(ANA, "aaaa-bbbb-cccc-dddd-eeee")
            .starts_with("NO")
    );
    let answer = sieve.login(ANA, &password);
    assert!(answer.starts_with("OK"), "{answer}");
    let answer = sieve.list();
    assert!(answer.starts_with("OK"), "{answer}");
}

fn chroot(tree: Tree) {
    let site = Site::direct(tree, &[ANA]);
    dovecot::install_direct(&site, Chroot::Kept);
    let password = site.add(ANA, "phone");
    let _daemon = Daemon::start(&site);
    // The daemon runs outside, so its socket is bound to the name that it would have there.
    let [managesieve, chroot] = dovecot::TMPFILES;
    let boot = format!(
        "sh -c \"systemd-tmpfiles --create {managesieve}.conf {chroot}.conf && \
         touch /run/dovecot/login/dovelatch.d/auth && \
         mount --bind /run/dovelatch/login /run/dovecot/login/dovelatch.d/auth && exec dovecot -F\""
    );
    let machine = Machine::start(&site, &[&boot], &dovecot::DIRECT_PORTS);
    for _ in 0..2 {
        dovecot_accepts(&Imap::connect(&machine, HERE).login(ANA, &password));
        let answer = Pop3::connect(&machine, HERE).login(ANA, &password);
        assert!(answer.starts_with("+OK"), "{answer}");
        let answer = Sieve::connect(&machine, HERE).login(ANA, &password);
        assert!(answer.starts_with("OK"), "{answer}");
        let reloaded = machine.command(&["doveadm", "reload"]);
        assert!(reloaded.status.success(), "{reloaded:?}");
    }
    let _before_log_in = (
        Imap::connect(&machine, HERE),
        Pop3::connect(&machine, HERE),
        Sieve::connect(&machine, HERE),
    );
    for name in ["imap-login", "pop3-login", "managesieve-log"] {
        let roots = roots(&machine, name);
        let kept = |root: &String| root.ends_with("/run/dovecot/login");
        assert!(
            !roots.is_empty() && roots.iter().all(kept),
            "{name} {roots:?}"
        );
    }
}

/// Daemon and mail processes know one another's process ids here, as on an installed system.
fn as_shipped(tree: Tree) {
    const UNITS: [&str; 3] = ["userdb", "master", "login"];
    let site = Site::direct(tree, &[ANA]);
    dovecot::install_direct(&site, Chroot::GivenUp);
    site.file("/etc/dovelatch/dovelatch.toml", shipped(DIRECT_CONFIG));
    let password = site.add(ANA, "phone");
    let start = format!("sh -c '{} exec {}'", units::own(&UNITS), dovecot::COMMAND);
    let daemon = units::activate(&UNITS);
    let machine = Machine::start(&site, &[&daemon, &start], &dovecot::DIRECT_PORTS);
    let mut lmtp = Lmtp::connect(&machine, HERE);
    for answer in [lmtp.recipient(ANA), lmtp.message("Read me.")] {
        assert!(answer.starts_with("250 "), "{answer}");
    }
    let mut imap = Imap::connect(&machine, HERE);
    dovecot_accepts(&imap.login(ANA, &password));
    assert!(imap.read_message().contains("Read me."));
    let home = site.path("vmail/example.org/ana");
    assert!(home.is_dir(), "where the shipped [userdb] says");
}

/// The root directories of all processes of that name, of which the kernel keeps fifteen letters: a tree may
/// lack `pgrep`.
fn roots(machine: &Machine, name: &str) -> Vec<String> {
    let script = "for process in /proc/[0-9]*; do \
                  [ \"$(cat $process/comm)\" = \"$0\" ] && readlink $process/root; done; true";
    let output = machine.command(&["sh", "-c", script, name]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(str::to_owned).collect()
}

fn lmtp(tree: Tree) {
    let direct = Direct::start(tree);
    let recipient = |mailbox| Lmtp::connect(&direct.machine, HERE).recipient(mailbox);
    let answer = recipient("nobody@example.org");
    assert!(answer.starts_with("550 5.1.1 "), "{answer}");
    let Direct {
        site,
        daemon,
        machine,
    } = direct;
    daemon.stop();
    // An LMTP process of 2.3 notices the loss of its connection when it writes, and says 451 once.
    for mailbox in [ANA, "nobody@example.org"] {
        let answer = Lmtp::connect(&machine, HERE).recipient(mailbox);
        assert!(answer.starts_with("451 4.3.0 "), "{answer}");
    }
    let _daemon = Daemon::start(&site);
    until("a delivery", LONG, || {
        let answer = Lmtp::connect(&machine, HERE).recipient(ANA);
        assert!(!answer.starts_with('5'), "{answer}");
        answer.starts_with("250 ").then_some(())
    });
}

fn disabled(tree: Tree) {
    let Direct { site, machine, .. } = &Direct::start(tree);
    let password = site.add(ANA, "phone");
    site.dovelatch(&["mailbox", "disable", ANA]);
    dovecot_refuses(&Imap::connect(machine, HERE).login(ANA, &password));
    let known = machine.command(&["doveadm", "user", "*"]);
    assert_eq!(said(&known), format!("{ANA}\n{BEN}\n"));
    let mut lmtp = Lmtp::connect(machine, HERE);
    let answer = lmtp.recipient(ANA);
    assert!(answer.starts_with("250 "), "{answer}");
    let answer = lmtp.message("It arrives all the same.");
    assert!(answer.starts_with("250 "), "{answer}");
    site.dovelatch(&["mailbox", "enable", ANA]);
    let mut imap = Imap::connect(machine, HERE);
    dovecot_accepts(&imap.login(ANA, &password));
    assert!(imap.read_message().contains("all the same"));
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr]
        .map(String::from_utf8_lossy)
        .concat()
}

fn doveadm_user(tree: Tree) {
    let Direct { site, machine, .. } = &Direct::start(tree);
    let quota = match tree {
        Tree::Bookworm => "quota_rule=*:storage=7M",
        Tree::Trixie => "quota_storage_size=7M",
    };
    site.dovelatch(&["mailbox", "set", ANA, "--field", quota]);
    let one = machine.command(&["doveadm", "user", ANA]);
    assert!(one.status.success(), "{one:?}");
    let text = said(&one);
    let (uid, gid) = tree.user("vmail");
    let (name, value) = quota.split_once('=').expect("a field");
    for (field, value) in [
        ("uid", uid.to_string()),
        ("gid", gid.to_string()),
        ("home", format!("/var/vmail/{ANA}")),
        (name, value.to_owned()),
    ] {
        let line = |line: &str| line.split_whitespace().eq([field, value.as_str()]);
        assert!(text.lines().any(line), "{field}\n{text}");
    }
    let unknown = machine.command(&["doveadm", "user", "nobody@example.org"]);
    assert_eq!(unknown.status.code(), Some(67), "{unknown:?}");
    let all = machine.command(&["doveadm", "user", "*"]);
    assert!(all.status.success(), "{all:?}");
    assert_eq!(said(&all), format!("{ANA}\n{BEN}\n"));
    let masked = machine.command(&["doveadm", "user", "b*"]);
    assert_eq!(said(&masked), format!("{BEN}\n"));
}

fn doveadm_auth(tree: Tree) {
    let Direct { site, machine, .. } = &Direct::start(tree);
    let password = site.add(ANA, "phone");
    let sign_in = |password: &str| {
        let sockets = ["-a", "/run/dovelatch/login", "-m", "/run/dovelatch/master"];
        let words = [
            &["doveadm", "auth", "login"],
            &sockets[..],
            &[ANA, password],
        ];
        machine.command(&words.concat())
    };
    let good = sign_in(&password);
    assert!(good.status.success(), "{good:?}");
    let text = said(&good);
    assert!(text.contains(&format!("home=/var/vmail/{ANA}")), "{text}");
    assert!(text.contains("user_device=dp-"), "{text}");
    let bad = sign_in("aaaa-bbbb-cccc-dddd-eeee");
    assert_eq!(bad.status.code(), Some(77), "{bad:?}");

    let flush = [
        "doveadm",
        "auth",
        "cache",
        "flush",
        "-a",
        "/run/dovelatch/master",
        ANA,
    ];
    let flushed = machine.command(&flush);
    assert!(flushed.status.success(), "{flushed:?}");
    assert!(
        said(&flushed).contains("0 cache entries flushed"),
        "{flushed:?}"
    );
}

/// A mail process that has one master connection for several log-ins aborts them where the SPID of that
/// socket is not the one that the login process saw. Where it loses that connection, it takes no more, and
/// another one must be there for them.
fn reused(tree: Tree) {
    let unlimited = match tree {
        Tree::Bookworm => "service_count = 0",
        Tree::Trixie => "restart_request_count = unlimited",
    };
    let settings =
        format!("service imap {{\n  process_limit = 3\n  client_limit = 100\n  {unlimited}\n}}\n");
    let Direct {
        site,
        daemon,
        machine,
    } = Direct::start_with(tree, &settings);
    let password = site.add(ANA, "phone");
    let log_in = || {
        let mut imap = Imap::connect(&machine, HERE);
        let answer = imap.login(ANA, &password);
        answer.starts_with("OK ").then_some(imap)
    };
    let mut sessions: Vec<Imap> = (0..5).map(|_| log_in().expect("let in")).collect();
    assert_eq!(
        roots(&machine, "imap").len(),
        1,
        "one process serves them all"
    );
    daemon.stop();
    let _daemon = Daemon::start(&site);
    sessions.push(until("a log-in", LONG, log_in));
    sessions.push(log_in().expect("let in"));
    for session in &mut sessions {
        dovecot_accepts(&session.select());
    }
}

fn restarted(tree: Tree) {
    let Direct {
        site,
        daemon,
        machine,
    } = Direct::start(tree);
    let password = site.add(ANA, "phone");
    let mut open = Imap::connect(&machine, HERE);
    dovecot_accepts(&open.login(ANA, &password));
    daemon.stop();
    assert!(open.is_alive());
    let _daemon = Daemon::start(&site);
    until("a log-in", LONG, || {
        let answer = Imap::connect(&machine, HERE).login(ANA, &password);
        assert!(!answer.contains("AUTHENTICATIONFAILED"), "{answer}");
        answer.starts_with("OK ").then_some(())
    });
    dovecot_accepts(&open.select());
}

/// Longer than a restart takes.
const OUTAGE: Duration = Duration::from_secs(8);

fn held(tree: Tree) {
    let site = Site::direct(tree, &[ANA]);
    dovecot::install_direct(&site, Chroot::GivenUp);
    let password = site.add(ANA, "phone");
    let held = Held::bind(&site);
    let daemon = held.start(&site);
    let machine = boot(&site);
    let mut before = Imap::connect(&machine, HERE);
    daemon.stop();
    thread::scope(|scope| {
        let waiting = [
            scope.spawn(|| before.login(ANA, &password)),
            scope.spawn(|| Imap::connect(&machine, HERE).login(ANA, &password)),
            scope.spawn(|| Pop3::connect(&machine, HERE).login(ANA, &password)),
            scope.spawn(|| Sieve::connect(&machine, HERE).login(ANA, &password)),
            scope.spawn(|| Lmtp::connect(&machine, HERE).recipient(ANA)),
            scope.spawn(|| said(&machine.command(&["doveadm", "user", "*"]))),
        ];
        // The length of the outage is what is tested; nothing is awaited here.
        thread::sleep(OUTAGE);
        let _daemon = held.start(&site);
        let expected = ["OK ", "OK ", "+OK", "OK", "250 ", ANA];
        for (client, expected) in waiting.into_iter().zip(expected) {
            let answer = client.join().expect("no panic in there");
            assert!(answer.starts_with(expected), "{answer}");
        }
    });
}

fn delegated(tree: Tree) {
    let Direct { site, machine, .. } = &Direct::start(tree);
    site.deliver(ANA, "For whoever may open this.");
    let password = site.add(BEN, "phone");
    let answer = Imap::connect(machine, HERE).authenticate_for(ANA, BEN, &password);
    dovecot_refuses(&answer);
    site.dovelatch(&["person", "add", BEN]);
    site.dovelatch(&["access", "add", ANA, BEN]);
    let mut imap = Imap::connect(machine, HERE);
    dovecot_accepts(&imap.authenticate_for(ANA, BEN, &password));
    assert!(imap.read_message().contains("For whoever may open this."));
}
