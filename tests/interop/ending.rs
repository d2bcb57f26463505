//! Sessions that are open when what let them in is taken away: they end, and no others. The command
//! line runs on the host, and finds the machine's Dovecot by `[dovecot]` (site.rs).
//!
//! Dovecot 2.4 knows sessions by device. 2.3 knows them by mailbox and address, so there the devices
//! have an address each.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::conversation::Imap;
use crate::daemon::Daemon;
use crate::machine::Machine;
use crate::site::Site;
use crate::tree::Tree;
use crate::{case, dovecot, dovecot_accepts};

const ANA: &str = "ana@example.org";
const LAPTOP: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// What a mail program is told.
const GOODBYE: &str = "* BYE Server shutting down.";

/// Longest time from the start of a command to the end of the session, on a busy machine.
const LIMIT: Duration = Duration::from_secs(10);

const ROUNDS: usize = 7;

pub fn tests(tree: Tree) -> Vec<Trial> {
    let peer = tree.dovecot();
    let revoking = "revoking_one_device_ends_its_session_and_no_other";
    vec![case(tree, peer, revoking, revoked)]
}

struct Host {
    machine: Machine,
    _daemon: Daemon,
    site: Site,
}

impl Host {
    fn start(site: Site, kick: &str) -> Self {
        site.dovecot(kick);
        let daemon = Daemon::start(&site);
        let machine = Machine::start(&site, &[dovecot::COMMAND], &dovecot::PORTS);
        machine.lend_doveadm(&site);
        Self {
            machine,
            _daemon: daemon,
            site,
        }
    }

    fn log_in(&self, from: Ipv4Addr, password: &str) -> Imap {
        let mut imap = Imap::connect(&self.machine, from);
        dovecot_accepts(&imap.login(ANA, password));
        imap
    }
}

fn lua(tree: Tree, kick: &str) -> Host {
    let site = Site::new(tree, &[ANA]);
    dovecot::install(&site);
    Host::start(site, kick)
}

fn revoked(tree: Tree) {
    one_of_two(&lua(tree, "auto"), "Lua");
}

/// Revokes one of two devices, again and again, and says how long their sessions went on.
fn one_of_two(host: &Host, mode: &str) {
    let laptop = host.site.add(ANA, "laptop");
    let mut stays = host.log_in(LAPTOP, &laptop);
    let mut commands = Vec::new();
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let device = format!("phone {round}");
        let password = host.site.add(ANA, &device);
        // The command before is still kicking, on 2.3 all that come from its address.
        let from = Ipv4Addr::new(127, 0, 1, u8::try_from(round).expect("few"));
        let mut ends = host.log_in(from, &password);
        let started = Instant::now();
        commands.push(host.site.begin_dovelatch(&["revoke", ANA, &device]));
        assert_eq!(ends.goodbye(), GOODBYE);
        times.push(started.elapsed());
        dovecot_accepts(&stays.noop());
    }
    for command in commands {
        let output = command.wait_with_output().expect("our own child");
        assert!(output.status.success(), "{output:?}");
    }
    // The last kicks are over.
    dovecot_accepts(&stays.noop());

    times.sort();
    let (median, worst) = (times[ROUNDS / 2], times[ROUNDS - 1]);
    let peer = host.site.tree.dovecot();
    eprintln!("{peer}, {mode}: a session ended after {median:.0?} (median), {worst:.0?} (worst)");
    assert!(worst <= LIMIT, "{times:?}");
}
