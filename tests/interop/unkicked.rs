//! Where sessions cannot be ended: the revocation holds all the same, the command ends in time and with
//! success, and says what to do.

use std::net::Ipv4Addr;
use std::process::Output;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::ending::{GOODBYE, Host};
use crate::site::{CONFIG, shipped};
use crate::tree::Tree;
use crate::wait::{LONG, until};
use crate::{case, dovecot, dovecot_refuses};

const ANA: &str = "ana@example.org";
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// The 4 s that a command takes at most for this, and some for a busy machine.
const LIMIT: Duration = Duration::from_secs(6);

const WARNING: &str = "warning: sessions that are open go on";

pub fn tests(tree: Tree) -> Vec<Trial> {
    let peer = tree.dovecot();
    let hangs = "revocation_holds_while_anvil_hangs";
    let denied = "revocation_holds_where_the_administrator_may_not_end_sessions";
    let mut tests = vec![
        case(tree, peer, "revocation_holds_without_dovecot", stopped),
        case(tree, peer, hangs, hanging),
    ];
    // The command line runs in the machine there.
    if tree.unusable().is_some() || tree.runs_what_the_host_built() {
        tests.push(case(tree, peer, denied, denied_by_dovecot));
    }
    tests
}

/// Runs a line of shell in the machine.
fn shell(host: &Host, line: &str) -> Output {
    host.machine.command(&["sh", "-c", line])
}

/// What it said on standard error, having succeeded.
#[track_caller]
fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Revokes within the time, and returns what was said about the sessions.
#[track_caller]
fn revoke(host: &Host, device: &str) -> String {
    let started = Instant::now();
    // Quiet: a warning is one all the same.
    let output = (host.site).try_dovelatch(&["--quiet", "revoke", ANA, device]);
    let time = started.elapsed();
    assert!(time < LIMIT, "{time:?}: {output:?}");
    succeeded(&output)
}

/// The commands that were named, one a line.
fn commands(said: &str) -> Vec<&str> {
    (said.lines())
        .filter_map(|line| line.strip_prefix("  doveadm "))
        .collect()
}

fn stopped(tree: Tree) {
    let host = Host::lua(tree);
    let devices = ["phone", "laptop"].map(|device| (device, host.site.add(ANA, device)));
    for (_, password) in &devices {
        host.log_in(HERE, ANA, password);
    }
    host.machine.command(&["doveadm", "stop"]);
    until("Dovecot's end", LONG, || {
        host.machine.connect(HERE, 143).err()
    });

    for ((device, _), kick) in devices.iter().zip(["auto", "doveadm"]) {
        host.kick(kick);
        let said = revoke(&host, device);
        assert!(said.contains(WARNING), "{kick}: {said}");
        assert!(!commands(&said).is_empty(), "{kick}: {said}");
    }
    shell(&host, "dovecot >/dev/null 2>&1");
    for (_, password) in &devices {
        dovecot_refuses(&host.connect(HERE).login(ANA, password));
    }
}

/// anvil is stopped by a signal, so the kernel takes connections for it and nobody answers.
fn hanging(tree: Tree) {
    let host = Host::lua(tree);
    let password = host.site.add(ANA, "phone");
    let mut session = host.log_in(HERE, ANA, &password);
    signal_anvil(&host, "STOP");

    let said = revoke(&host, "phone");
    assert!(said.contains(WARNING), "{said}");
    assert!(session.is_alive());
    signal_anvil(&host, "CONT");
    dovecot_refuses(&host.connect(HERE).login(ANA, &password));
    end_by_hand(&host, &said);
    assert_eq!(session.farewell(), GOODBYE);
}

/// Runs what the program told people to.
fn end_by_hand(host: &Host, said: &str) {
    let commands = commands(said);
    assert!(!commands.is_empty(), "{said}");
    for command in commands {
        shell(host, &format!("doveadm {command}"));
    }
}

fn signal_anvil(host: &Host, signal: &str) {
    let line = format!(
        "for process in /proc/[0-9]*; do
           [ \"$(cat $process/comm)\" = anvil ] && kill -{signal} ${{process#/proc/}} && echo signalled
         done"
    );
    let output = shell(host, &line);
    assert_eq!(output.stdout, b"signalled\n", "{output:?}");
}

/// The database is an ordinary user's, and the command runs as that one, inside the machine.
fn denied_by_dovecot(tree: Tree) {
    let host = Host::lua_with(tree, |site| {
        dovecot::install(site);
        site.file("/etc/dovelatch/dovelatch.toml", shipped(CONFIG));
    });
    let password = host.site.add(ANA, "phone");
    let mut session = host.log_in(HERE, ANA, &password);

    let started = Instant::now();
    let output = shell(&host, &format!(
            "chown -R vmail: /var/lib/dovelatch &&
             exec setpriv --reuid vmail --regid vmail --clear-groups dovelatch --quiet revoke {ANA} phone"
        ),
    );
    let time = started.elapsed();
    assert!(time < LIMIT, "{time:?}: {output:?}");
    let said = succeeded(&output);
    assert!(said.contains(WARNING), "{said}");
    assert!(said.contains("Permission denied"), "{said}");
    assert!(said.contains("run as root:"), "{said}");
    assert!(session.is_alive());
    dovecot_refuses(&host.connect(HERE).login(ANA, &password));
    end_by_hand(&host, &said);
    assert_eq!(session.farewell(), GOODBYE);
}
