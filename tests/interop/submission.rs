//! A mail program, and Postfix's chrooted submission service that asks dovelatch directly.

use std::net::Ipv4Addr;

use libtest_mimic::Trial;

use crate::conversation::Smtp;
use crate::daemon::Daemon;
use crate::machine::Machine;
use crate::site::Site;
use crate::tree::Tree;
use crate::{case, postfix, postfix_accepts, postfix_refuses};

const ANA: &str = "ana@example.org";
const WRONG: &str = "aaaa-bbbb-cccc-dddd-eeee";

pub fn tests(tree: Tree) -> Vec<Trial> {
    let peer = tree.postfix();
    vec![
        case(
            tree,
            peer,
            "device_password_is_accepted_by_every_mechanism",
            accepted,
        ),
        case(
            tree,
            peer,
            "wrong_password_is_refused_by_every_mechanism",
            refused,
        ),
        case(
            tree,
            peer,
            "revoked_password_is_refused_at_the_next_attempt",
            revoked,
        ),
    ]
}

fn start(tree: Tree) -> (Site, Daemon, Machine) {
    let site = Site::new(tree, &[ANA]);
    postfix::install(&site);
    let daemon = Daemon::start(&site);
    let machine = Machine::start(&site, &[postfix::COMMAND], &[postfix::SUBMISSION]);
    (site, daemon, machine)
}

fn connect(machine: &Machine) -> Smtp {
    Smtp::connect(machine, Ipv4Addr::LOCALHOST, postfix::SUBMISSION)
}

fn accepted(tree: Tree) {
    let (site, _daemon, machine) = start(tree);
    let password = site.add(ANA, "phone");
    postfix_accepts(&connect(&machine).plain(ANA, &password));
    postfix_accepts(&connect(&machine).plain_without_initial_response(ANA, &password));
    postfix_accepts(&connect(&machine).login(ANA, &password));
}

fn refused(tree: Tree) {
    let (site, _daemon, machine) = start(tree);
    let password = site.add(ANA, "phone");
    // One SMTP session, one smtpd, one connection to dovelatch: a refusal leaves it usable.
    let mut smtp = connect(&machine);
    postfix_refuses(&smtp.plain(ANA, WRONG));
    postfix_refuses(&smtp.plain_without_initial_response(ANA, WRONG));
    postfix_refuses(&smtp.login(ANA, WRONG));
    postfix_refuses(&smtp.plain("bob@example.org", &password));
    postfix_accepts(&smtp.plain(ANA, &password));
}

fn revoked(tree: Tree) {
    let (site, _daemon, machine) = start(tree);
    let password = site.add(ANA, "phone");
    postfix_accepts(&connect(&machine).plain(ANA, &password));

    site.revoke(ANA, "phone");
    postfix_refuses(&connect(&machine).plain(ANA, &password));
    postfix_refuses(&connect(&machine).login(ANA, &password));
}
