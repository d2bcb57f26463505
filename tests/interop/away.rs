//! The daemon or its database is away for a while: nobody may be told "wrong password", and
//! everybody is served again without help.

use std::fs;
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::conversation::{Imap, Smtp};
use crate::daemon::{Daemon, Held};
use crate::machine::{Machine, greets};
use crate::site::{CONFIG, Site, shipped};
use crate::tree::Tree;
use crate::wait::until;
use crate::{case, dovecot, postfix, postfix_accepts, units};

const ANA: &str = "ana@example.org";
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

pub fn tests(tree: Tree) -> Vec<Trial> {
    let (dovecot, postfix) = (tree.dovecot(), tree.postfix());
    let absent_daemon = "absent_daemon_is_a_temporary_failure_and_then_forgotten";
    let absent_database = "absent_database_is_a_temporary_failure_and_then_forgotten";
    let restart = "restart_with_sockets_held_loses_no_log_in";
    let by_name = "systemd_hands_over_sockets_by_name";
    let mut tests = vec![
        case(tree, dovecot, absent_daemon, imap_without_daemon),
        case(tree, dovecot, absent_database, imap_without_database),
        case(tree, postfix, absent_database, smtp_without_database),
        case(tree, dovecot, restart, imap_over_a_restart),
        case(tree, postfix, restart, smtp_over_a_restart),
    ];
    // One is enough for the names of descriptors, and this one has the newer C library: the program
    // was linked on the host, and runs inside the tree here.
    if tree == Tree::Trixie {
        tests.push(case(tree, postfix, by_name, smtp_through_systemd));
    }
    tests
}

fn imap_is_unavailable(machine: &Machine, password: &str) {
    let answer = Imap::connect(machine, HERE).login(ANA, password);
    assert!(answer.starts_with("NO [UNAVAILABLE] "), "{answer}");
}

fn imap_recovers(machine: &Machine, password: &str) {
    until("an IMAP log-in", Duration::from_secs(10), || {
        Imap::connect(machine, HERE)
            .login(ANA, password)
            .starts_with("OK ")
            .then_some(())
    });
}

fn imap_without_daemon(tree: Tree) {
    let site = Site::new(tree, &[ANA]);
    dovecot::install(&site);
    let password = site.add(ANA, "phone");
    let daemon = Daemon::start(&site);
    let machine = Machine::start(&site, &[dovecot::COMMAND], &dovecot::PORTS);
    // Dovecot's auth worker has a connection now, and will see it end.
    imap_recovers(&machine, &password);

    daemon.stop();
    imap_is_unavailable(&machine, &password);
    imap_is_unavailable(&machine, &password);

    let _daemon = Daemon::start(&site);
    imap_recovers(&machine, &password);
}

fn imap_without_database(tree: Tree) {
    let site = Site::new(tree, &[ANA]);
    dovecot::install(&site);
    let password = site.add(ANA, "phone");
    let _daemon = Daemon::start(&site);
    let machine = Machine::start(&site, &[dovecot::COMMAND], &dovecot::PORTS);
    imap_recovers(&machine, &password);

    fs::rename(site.path("state"), site.path("moved")).expect("own directory");
    imap_is_unavailable(&machine, &password);
    fs::rename(site.path("moved"), site.path("state")).expect("own directory");
    imap_recovers(&machine, &password);
}

fn smtp_without_database(tree: Tree) {
    let site = Site::new(tree, &[ANA]);
    postfix::install(&site);
    let password = site.add(ANA, "phone");
    let _daemon = Daemon::start(&site);
    let machine = Machine::start(&site, &[postfix::COMMAND], &[postfix::SUBMISSION]);
    let mut smtp = Smtp::connect(&machine, HERE, postfix::SUBMISSION);

    fs::rename(site.path("state"), site.path("moved")).expect("own directory");
    // A wrong password too: nobody can know that it is wrong.
    for password in [&password, "aaaa-bbbb-cccc-dddd-eeee"] {
        let answer = smtp.plain(ANA, password);
        assert!(answer.starts_with("454 4.7.0 "), "{answer}");
    }
    fs::rename(site.path("moved"), site.path("state")).expect("own directory");
    until("an SMTP log-in", Duration::from_secs(10), || {
        smtp.plain(ANA, &password).starts_with("235 ").then_some(())
    });
}

/// Long for a restart, and below the 10 s that Postfix (`AUTH_TIMEOUT`) and the Lua script wait.
const OUTAGE: Duration = Duration::from_secs(7);

/// Stops the daemon and starts another when the outage is over. `log_ins` goes on meanwhile, in a
/// thread of its own.
fn restart<T: Send>(
    site: &Site,
    held: &Held,
    daemon: Daemon,
    log_ins: impl FnOnce() -> T + Send,
) -> T {
    daemon.stop();
    thread::scope(|scope| {
        let log_ins = scope.spawn(log_ins);
        // The length of the outage is what is tested; nothing is awaited here.
        thread::sleep(OUTAGE);
        let daemon = held.start(site);
        let result = log_ins.join().expect("no panic in there");
        daemon.stop();
        result
    })
}

fn imap_over_a_restart(tree: Tree) {
    let site = Site::new(tree, &[ANA]);
    dovecot::install(&site);
    let password = site.add(ANA, "phone");
    let held = Held::bind(&site);
    let daemon = held.start(&site);
    let machine = Machine::start(&site, &[dovecot::COMMAND], &dovecot::PORTS);
    imap_recovers(&machine, &password);

    let answer = restart(&site, &held, daemon, || {
        Imap::connect(&machine, HERE).login(ANA, &password)
    });
    assert!(answer.starts_with("OK "), "{answer}");
}

/// One waits on a connection that Postfix had before, and one comes only while the daemon is away.
fn smtp_over_a_restart(tree: Tree) {
    let site = Site::new(tree, &[ANA]);
    postfix::install(&site);
    let password = site.add(ANA, "phone");
    let held = Held::bind(&site);
    let daemon = held.start(&site);
    let machine = Machine::start(&site, &[postfix::COMMAND], &[postfix::SUBMISSION]);
    let connect = || Smtp::connect(&machine, HERE, postfix::SUBMISSION);
    let mut early = connect();

    let answers = restart(&site, &held, daemon, || {
        early.send_plain(ANA, &password);
        let late = connect().plain(ANA, &password);
        [early.answer(), late]
    });
    for answer in answers {
        postfix_accepts(&answer);
    }
}

/// The daemon runs inside the machine here: configuration and socket units are the shipped ones.
fn smtp_through_systemd(tree: Tree) {
    let site = Site::new(tree, &[ANA]);
    postfix::install(&site);
    let password = site.add(ANA, "phone");
    site.file("/etc/dovelatch/dovelatch.toml", shipped(CONFIG));

    // Not in the order of the configuration: the names decide.
    let activate = units::activate(&["postfix", "lua"]);
    let postfix = format!(
        "sh -c '{} exec {}'",
        units::own(&["postfix"]),
        postfix::COMMAND
    );
    let machine = Machine::start(&site, &[&activate, &postfix], &[postfix::SUBMISSION]);
    postfix_accepts(&Smtp::connect(&machine, HERE, postfix::SUBMISSION).plain(ANA, &password));
    assert!(greets(&site.socket("lua")));
}
