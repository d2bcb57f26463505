//! A mail program, Dovecot, its own auth service, the Lua script, and dovelatch behind it.

use std::net::Ipv4Addr;

use libtest_mimic::Trial;

use crate::conversation::{Imap, Pop3};
use crate::daemon::Daemon;
use crate::dovecot;
use crate::machine::Machine;
use crate::site::Site;
use crate::tree::Tree;
use crate::{case, dovecot_refuses};

const ANA: &str = "ana@example.org";
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

pub fn tests(tree: Tree) -> Vec<Trial> {
    let peer = tree.dovecot();
    vec![
        case(
            tree,
            peer,
            "device_password_reads_a_delivered_message_over_imap",
            imap,
        ),
        case(
            tree,
            peer,
            "device_password_reads_a_delivered_message_over_pop3",
            pop3,
        ),
        case(tree, peer, "wrong_password_is_refused", wrong),
        case(
            tree,
            peer,
            "revoked_password_is_refused_at_the_next_attempt",
            revoked,
        ),
        case(
            tree,
            peer,
            "revoking_one_device_leaves_the_other",
            other_device,
        ),
    ]
}

fn start(tree: Tree) -> (Site, Daemon, Machine) {
    let site = Site::new(tree, &[ANA]);
    dovecot::install(&site);
    let daemon = Daemon::start(&site);
    let machine = Machine::start(&site, &[dovecot::COMMAND], &dovecot::PORTS);
    (site, daemon, machine)
}

fn imap(tree: Tree) {
    let (site, _daemon, machine) = start(tree);
    let password = site.add(ANA, "phone");
    site.deliver(ANA, "Read me over IMAP.");

    let mut imap = Imap::connect(&machine, HERE);
    let answer = imap.login(ANA, &password);
    assert!(answer.starts_with("OK "), "{answer}");
    let message = imap.read_message();
    assert!(message.contains("Read me over IMAP."), "{message}");
}

fn pop3(tree: Tree) {
    let (site, _daemon, machine) = start(tree);
    let password = site.add(ANA, "phone");
    site.deliver(ANA, "Read me over POP3.");

    let mut pop3 = Pop3::connect(&machine, HERE);
    let answer = pop3.login(ANA, &password);
    assert!(answer.starts_with("+OK"), "{answer}");
    let message = pop3.read_message();
    assert!(message.contains("Read me over POP3."), "{message}");
}

fn wrong(tree: Tree) {
    let (site, _daemon, machine) = start(tree);
    site.add(ANA, "phone");
    // One of the right shape, one of a wrong shape, and a mailbox that is not there.
    dovecot_refuses(&Imap::connect(&machine, HERE).login(ANA, "aaaa-bbbb-cccc-dddd-eeee"));
    dovecot_refuses(&Imap::connect(&machine, HERE).login(ANA, "secret"));
    dovecot_refuses(
        &Imap::connect(&machine, HERE).login("bob@example.org", "aaaa-bbbb-cccc-dddd-eeee"),
    );
    let answer = Pop3::connect(&machine, HERE).login(ANA, "aaaa-bbbb-cccc-dddd-eeee");
    assert_eq!(answer, "-ERR [AUTH] Authentication failed.");
}

fn revoked(tree: Tree) {
    let (site, _daemon, machine) = start(tree);
    let password = site.add(ANA, "phone");
    let answer = Imap::connect(&machine, HERE).login(ANA, &password);
    assert!(answer.starts_with("OK "), "{answer}");

    site.revoke(ANA, "phone");
    dovecot_refuses(&Imap::connect(&machine, HERE).login(ANA, &password));
}

fn other_device(tree: Tree) {
    let (site, _daemon, machine) = start(tree);
    let phone = site.add(ANA, "phone");
    let laptop = site.add(ANA, "laptop");
    assert_ne!(phone, laptop);
    for password in [&phone, &laptop] {
        let answer = Imap::connect(&machine, HERE).login(ANA, password);
        assert!(answer.starts_with("OK "), "{answer}");
    }

    site.revoke(ANA, "phone");
    dovecot_refuses(&Imap::connect(&machine, HERE).login(ANA, &phone));
    let answer = Imap::connect(&machine, HERE).login(ANA, &laptop);
    assert!(answer.starts_with("OK "), "{answer}");
}
