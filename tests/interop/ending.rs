//! Sessions that are open when what let them in is taken away: they end, and no others. The command
//! line runs on the host, and finds the machine's Dovecot by `[dovecot]`.
//!
//! Dovecot 2.4 knows sessions by device. 2.3 knows them by mailbox and address, so there each device has
//! an address of its own.

use std::fs::{self, Permissions};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::conversation::{Imap, Lmtp};
use crate::daemon::Daemon;
use crate::direct;
use crate::dovecot::{self, Chroot};
use crate::machine::Machine;
use crate::site::Site;
use crate::tree::Tree;
use crate::wait::{LONG, until};
use crate::{case, dovecot_accepts, dovecot_refuses};

const ANA: &str = "ana@example.org";
const BOB: &str = "bob@example.org";
const OFFICE: &str = "office@example.org";
const MAILBOXES: [&str; 3] = [ANA, BOB, OFFICE];
const OFFICE_BY_BOB: &str = "office@example.org*bob@example.org";

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const PHONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const LAPTOP: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// What a mail program is told.
pub const GOODBYE: &str = "* BYE Server shutting down.";

/// Longest time from the start of a command to the end of the session, on a busy machine.
const LIMIT: Duration = Duration::from_secs(10);

/// How often one device of two is revoked.
const ROUNDS: u8 = 7;

/// How many sessions start while their device is being revoked, half of them before that command.
const STARTING: u8 = 20;

/// How far apart they are.
const STEP: Duration = Duration::from_millis(8);

pub fn tests(tree: Tree) -> Vec<Trial> {
    let peer = tree.dovecot();
    let revoking = "revoking_one_device_ends_its_session_and_no_other";
    let rotating = "rotating_ends_the_session_of_the_old_password_unless_that_is_kept";
    let access = "taking_access_away_ends_the_delegated_session_and_no_other";
    let disabling = "disabling_a_mailbox_ends_its_sessions_and_no_other";
    let starting = "no_session_outlives_its_device_that_was_starting_at_the_revocation";
    let cache = "revoking_empties_the_cache_of_dovecots_auth";
    let delivering = "direct_mode_disabling_a_mailbox_ends_its_sessions_and_its_mail_is_delivered";
    let held = "direct_mode_no_session_starts_whose_mail_process_asks_after_the_revocation";
    let ways = "anvil_and_doveadm_each_end_the_session_of_one_device";
    let mut tests = vec![
        case(tree, peer, revoking, |tree| {
            one_of_two(&Host::lua(tree), "behind its auth");
        }),
        case(tree, peer, &format!("direct_mode_{revoking}"), |tree| {
            one_of_two(&Host::direct(tree), "direct mode");
        }),
        case(tree, peer, rotating, |tree| rotated(&Host::lua(tree))),
        case(tree, peer, &format!("direct_mode_{rotating}"), |tree| {
            rotated(&Host::direct(tree));
        }),
        case(tree, peer, access, |tree| {
            access_taken(&Host::lua_with(tree, dovecot::install_with_delegation))
        }),
        case(tree, peer, &format!("direct_mode_{access}"), |tree| {
            access_taken(&Host::direct(tree))
        }),
        case(tree, peer, disabling, |tree| disabled(&Host::lua(tree))),
        case(tree, peer, delivering, disabled_and_delivered),
        case(tree, peer, starting, |tree| {
            started(&Host::lua(tree), "behind its auth")
        }),
        case(tree, peer, &format!("direct_mode_{starting}"), |tree| {
            started(&Host::direct(tree), "direct mode")
        }),
        case(tree, peer, held, held_back),
    ];
    tests.push(match tree {
        // 2.4's does not keep what a Lua script accepted.
        Tree::Bookworm => case(tree, peer, cache, cached),
        // 2.3's anvil ends nothing, and its doveadm is what all the tests above have used.
        Tree::Trixie => case(tree, peer, ways, both_ways),
    });
    tests
}

/// A mail host, and its Dovecot within reach of the command line.
pub struct Host {
    pub machine: Machine,
    _daemon: Daemon,
    pub site: Site,
}

impl Host {
    /// Behind Dovecot's auth.
    pub fn lua(tree: Tree) -> Self {
        Self::lua_with(tree, dovecot::install)
    }

    /// The same with something else in the machine.
    pub fn lua_with(tree: Tree, install: fn(&Site)) -> Self {
        let site = Site::new(tree, &MAILBOXES);
        install(&site);
        let boot = |site: &Site| Machine::start(site, &[dovecot::COMMAND], &dovecot::PORTS);
        Self::start(site, boot)
    }

    /// In direct mode, delegations by name included.
    fn direct(tree: Tree) -> Self {
        Self::direct_with(tree, |_| {})
    }

    fn direct_with(tree: Tree, more: fn(&Site)) -> Self {
        let site = Site::direct(tree, &MAILBOXES);
        site.separate();
        dovecot::install_direct(&site, Chroot::GivenUp);
        more(&site);
        Self::start(site, direct::boot)
    }

    fn start(site: Site, boot: impl Fn(&Site) -> Machine) -> Self {
        let daemon = Daemon::start(&site);
        let machine = boot(&site);
        machine.lend_doveadm(&site);
        let host = Self {
            machine,
            _daemon: daemon,
            site,
        };
        host.kick("auto");
        host
    }

    /// Whom the command line asks for the end of sessions.
    pub fn kick(&self, kick: &str) {
        self.site
            .dovecot(&self.machine.outside("/run/dovecot"), kick);
    }

    pub fn connect(&self, from: Ipv4Addr) -> Imap {
        Imap::connect(&self.machine, from)
    }

    /// Opens a session.
    pub fn log_in(&self, from: Ipv4Addr, name: &str, password: &str) -> Imap {
        let mut imap = self.connect(from);
        dovecot_accepts(&imap.login(name, password));
        imap
    }
}

fn both_ways(tree: Tree) {
    let host = Host::lua(tree);
    for kick in ["anvil", "doveadm"] {
        host.kick(kick);
        one_of_two(&host, kick);
        host.site.revoke(ANA, "laptop");
    }
}

/// Revokes one of two devices, again and again, and says how long their sessions went on.
fn one_of_two(host: &Host, how: &str) {
    let laptop = host.site.add(ANA, "laptop");
    let mut stays = host.log_in(LAPTOP, ANA, &laptop);
    let mut commands = Vec::new();
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let device = format!("phone {round}");
        let password = host.site.add(ANA, &device);
        // The command before is still kicking, on 2.3 all that come from its address.
        let mut ends = host.log_in(Ipv4Addr::new(127, 0, 1, round), ANA, &password);
        let started = Instant::now();
        commands.push(host.site.begin_dovelatch(&["revoke", ANA, &device]));
        assert_eq!(ends.farewell(), GOODBYE);
        times.push(started.elapsed());
        assert!(stays.is_alive());
    }
    for command in commands {
        let output = command.wait_with_output().expect("our own child");
        assert!(output.status.success(), "{output:?}");
    }
    // The last kicks are over.
    assert!(stays.is_alive());

    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    let peer = host.site.tree.dovecot();
    eprintln!("{peer}, {how}: a session ended after {median:.0?} (median), {worst:.0?} (worst)");
    assert!(worst <= LIMIT, "{times:?}");
}

fn rotated(host: &Host) {
    let phone = host.site.add(ANA, "phone");
    let laptop = host.site.add(ANA, "laptop");
    let mut ends = host.log_in(PHONE, ANA, &phone);
    let mut stays = host.log_in(LAPTOP, ANA, &laptop);

    (host.site).dovelatch(&["rotate", ANA, "laptop", "--keep-old", "1h"]);
    assert!(stays.is_alive());
    let new = host.site.dovelatch(&["--quiet", "rotate", ANA, "phone"]);
    assert_eq!(ends.farewell(), GOODBYE);
    assert!(stays.is_alive());
    host.log_in(PHONE, ANA, new.trim_end());
}

fn access_taken(host: &Host) {
    host.site.dovelatch(&["person", "add", BOB]);
    host.site.dovelatch(&["access", "add", OFFICE, BOB]);
    let bobs = host.site.add(BOB, "phone");
    let offices = host.site.add(OFFICE, "desktop");
    let issued = host.site.add_with(OFFICE, "tablet", &["--person", BOB]);
    let mut delegated = host.log_in(PHONE, OFFICE_BY_BOB, &bobs);
    let mut by_issued = host.log_in(PHONE, OFFICE, &issued);
    let mut own = host.log_in(PHONE, BOB, &bobs);
    let mut others = host.log_in(LAPTOP, OFFICE, &offices);

    (host.site).dovelatch(&["access", "remove", OFFICE, BOB, "--yes"]);
    assert_eq!(delegated.farewell(), GOODBYE);
    assert_eq!(by_issued.farewell(), GOODBYE);
    assert!(own.is_alive());
    assert!(others.is_alive());
    dovecot_refuses(&host.connect(PHONE).login(OFFICE_BY_BOB, &bobs));
}

fn disabled(host: &Host) {
    let bobs = host.site.add(BOB, "phone");
    let mut others = host.log_in(PHONE, BOB, &bobs);
    let mut sessions = [("phone", PHONE), ("laptop", LAPTOP)].map(|(device, from)| {
        let password = host.site.add(ANA, device);
        host.log_in(from, ANA, &password)
    });

    host.site.dovelatch(&["mailbox", "disable", ANA]);
    for session in &mut sessions {
        assert_eq!(session.farewell(), GOODBYE);
    }
    assert!(others.is_alive());
}

fn disabled_and_delivered(tree: Tree) {
    let host = Host::direct(tree);
    disabled(&host);
    let mut lmtp = Lmtp::connect(&host.machine, HERE);
    for answer in [lmtp.recipient(ANA), lmtp.message("For later.")] {
        assert!(answer.starts_with("250 "), "{answer}");
    }
}

/// The mail process waits between Dovecot's order to start and its question to dovelatch. Nobody kicks.
fn held_back(tree: Tree) {
    const HELD: &str = "#!/bin/sh
touch /var/log/held
while [ ! -e /var/log/go ]; do sleep 0.02; done
exec /usr/lib/dovecot/imap -a /run/dovelatch/master
";
    let host = Host::direct_with(tree, |site| {
        site.file("/usr/local/bin/held-imap", HELD);
        let script = site.path("files/usr/local/bin/held-imap");
        fs::set_permissions(script, Permissions::from_mode(0o755)).expect("ours");
        let service = "service imap {\n  executable = /usr/local/bin/held-imap\n}\n";
        dovecot::add_settings(site, service);
    });
    host.kick("off");
    let phone = host.site.add(ANA, "phone");
    let laptop = host.site.add(ANA, "laptop");
    let mut imap = host.connect(PHONE);
    imap.send_login(ANA, &phone);
    until("the mail process", LONG, || {
        host.site.path("log/held").exists().then_some(())
    });

    host.site.revoke(ANA, "phone");
    fs::write(host.site.path("log/go"), "").expect("own directory");
    let answer = imap.answer_or_farewell();
    assert!(is_refusal(&answer), "{answer}");
    host.log_in(LAPTOP, ANA, &laptop);
}

/// "Authentication failed"; where the mail process is the first to be told, "try later", or not a word.
fn is_refusal(answer: &str) -> bool {
    answer.starts_with("NO ") || answer.is_empty()
}

/// Log-ins spread over the time around their revocations: before it is committed, between the decision
/// and anvil's knowledge of the session, and after.
fn started(host: &Host, how: &str) {
    let devices: Vec<_> = (0..STARTING)
        .map(|n| (n, host.site.add(ANA, &format!("phone {n}"))))
        .collect();
    let ends: Vec<(String, Duration)> = thread::scope(|scope| {
        let one = |(n, password): (u8, String)| {
            // Each from an address of its own: Dovecot allows ten sessions from one.
            let mut imap = host.connect(Ipv4Addr::new(127, 0, 1, n));
            let label = format!("phone {n}");
            let began = Instant::now();
            let revoke = || host.site.begin_dovelatch(&["revoke", ANA, &label]);
            // Not to wait for something: these instants are what is tested.
            let pause = |steps: u8| thread::sleep(STEP * u32::from(steps));
            let command = if let Some(before) = (STARTING / 2).checked_sub(n) {
                imap.send_login(ANA, &password);
                pause(before);
                revoke()
            } else {
                let command = revoke();
                pause(n - STARTING / 2);
                imap.send_login(ANA, &password);
                command
            };
            let answer = imap.answer_or_farewell();
            let output = command.wait_with_output().expect("our own child");
            assert!(output.status.success(), "{output:?}");
            // Whatever has begun is over by now.
            let time = began.elapsed();
            if answer.starts_with("OK ") {
                assert_eq!(imap.hang_up(), GOODBYE, "{label}: {output:?}");
            } else {
                // Or it ended before it could say that it had begun.
                let never_began = is_refusal(&answer) || answer == GOODBYE;
                assert!(never_began, "{label}: {answer}");
            }
            (answer, time)
        };
        let threads: Vec<_> = (devices.into_iter())
            .map(|device| scope.spawn(move || one(device)))
            .collect();
        (threads.into_iter())
            .map(|thread| thread.join().expect("no panic in there"))
            .collect()
    });
    let open = ends.iter().filter(|(answer, _)| answer.starts_with("OK "));
    let (open, worst) = (open.count(), ends.iter().map(|(_, time)| *time).max());
    let worst = worst.expect("not empty");
    let peer = host.site.tree.dovecot();
    eprintln!(
        "{peer}, {how}: of {STARTING} sessions {open} had begun, and all were over in {worst:.1?}"
    );
    assert!(worst <= LIMIT, "{ends:?}");
}

fn cached(tree: Tree) {
    let host = Host::lua_with(tree, dovecot::install_with_cache);
    host.kick("off");
    let phone = host.site.add(ANA, "phone");
    host.log_in(PHONE, ANA, &phone);
    host.site.revoke(ANA, "phone");
    // The cache is there, and nobody told it.
    host.log_in(PHONE, ANA, &phone);

    host.kick("auto");
    let laptop = host.site.add(ANA, "laptop");
    let mut session = host.log_in(LAPTOP, ANA, &laptop);
    host.site.revoke(ANA, "laptop");
    assert_eq!(session.farewell(), GOODBYE);
    dovecot_refuses(&host.connect(LAPTOP).login(ANA, &laptop));
}
