//! What a device password may do and what was done with it: limits, uses, and a revoked password that is
//! tried again, with the services and addresses that the real peers report.

use std::net::Ipv4Addr;

use libtest_mimic::Trial;

use crate::conversation::{Imap, Pop3, Smtp};
use crate::daemon::Daemon;
use crate::machine::Machine;
use crate::site::Site;
use crate::tree::Tree;
use crate::wait::{LONG, until};
use crate::{
    case, dovecot, dovecot_accepts, dovecot_refuses, postfix, postfix_accepts, postfix_refuses,
};

const ANA: &str = "ana@example.org";
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

pub fn tests(tree: Tree) -> Vec<Trial> {
    let peer = format!("{}_{}", tree.dovecot(), tree.postfix());
    vec![
        case(
            tree,
            &peer,
            "device_password_opens_only_its_services",
            services,
        ),
        case(
            tree,
            &peer,
            "device_password_works_only_from_its_networks",
            networks,
        ),
        case(tree, &peer, "list_shows_service_and_address_of_a_use", uses),
        case(
            tree,
            &peer,
            "revoked_password_that_is_tried_again_is_recognised",
            tried_again,
        ),
    ]
}

fn start(tree: Tree) -> (Site, Daemon, Machine) {
    let site = Site::new(tree, &[ANA]);
    dovecot::install(&site);
    postfix::install(&site);
    let daemon = Daemon::start(&site);
    let [imap, pop3] = dovecot::PORTS;
    let machine = Machine::start(
        &site,
        &[dovecot::COMMAND, postfix::COMMAND],
        &[imap, pop3, postfix::SUBMISSION],
    );
    (site, daemon, machine)
}

fn imap(machine: &Machine, from: Ipv4Addr, password: &str) -> String {
    Imap::connect(machine, from).login(ANA, password)
}

fn smtp(machine: &Machine, from: Ipv4Addr, password: &str) -> String {
    Smtp::connect(machine, from, postfix::SUBMISSION).plain(ANA, password)
}

fn services(tree: Tree) {
    let (site, _daemon, machine) = start(tree);
    let sends = site.add_with(ANA, "printer", &["--services", "smtp"]);
    let reads = site.add_with(ANA, "reader", &["--services", "imap"]);

    postfix_accepts(&smtp(&machine, HERE, &sends));
    dovecot_refuses(&imap(&machine, HERE, &sends));
    dovecot_accepts(&imap(&machine, HERE, &reads));
    postfix_refuses(&smtp(&machine, HERE, &reads));
    let answer = Pop3::connect(&machine, HERE).login(ANA, &reads);
    assert_eq!(answer, "-ERR [AUTH] Authentication failed.");

    // The daemon need not be told.
    site.dovelatch(&["set", ANA, "printer", "--services", "all"]);
    dovecot_accepts(&imap(&machine, HERE, &sends));
}

fn networks(tree: Tree) {
    let (site, _daemon, machine) = start(tree);
    let password = site.add_with(ANA, "desktop", &["--networks", "127.0.0.2/32"]);

    dovecot_accepts(&imap(&machine, ELSEWHERE, &password));
    dovecot_refuses(&imap(&machine, HERE, &password));
    postfix_accepts(&smtp(&machine, ELSEWHERE, &password));
    postfix_refuses(&smtp(&machine, HERE, &password));
}

fn uses(tree: Tree) {
    let (site, _daemon, machine) = start(tree);
    let phone = site.add(ANA, "phone");
    let printer = site.add(ANA, "printer");
    site.add(ANA, "spare");

    dovecot_accepts(&imap(&machine, ELSEWHERE, &phone));
    postfix_accepts(&smtp(&machine, HERE, &printer));
    for (device, over, from) in [("phone", "imap", ELSEWHERE), ("printer", "smtp", HERE)] {
        let end = format!("{over} {from}");
        until(&format!("{device} with {end:?}"), LONG, || {
            list_ends_with(&site, device, &end).then_some(())
        });
    }
    assert!(list_ends_with(&site, "spare", "never - -"));
}

/// Whether the device's line in `list` ends so, the columns one space apart.
fn list_ends_with(site: &Site, device: &str, end: &str) -> bool {
    let list = site.dovelatch(&["list", ANA]);
    let line = list
        .lines()
        .find(|line| line.split(' ').next() == Some(device));
    let line: Vec<_> = line.expect("it is listed").split_whitespace().collect();
    line.join(" ").ends_with(end)
}

fn tried_again(tree: Tree) {
    let (site, _daemon, machine) = start(tree);
    let password = site.add(ANA, "phone");
    site.revoke(ANA, "phone");
    let show = || site.dovelatch(&["show", ANA, "phone"]);
    assert!(!show().contains("tried again"), "not yet");

    dovecot_refuses(&imap(&machine, ELSEWHERE, &password));
    until("the attempt by IMAP", LONG, || {
        show()
            .contains("tried again once, last from 127.0.0.2")
            .then_some(())
    });
    postfix_refuses(&smtp(&machine, HERE, &password));
    until("the attempt by SMTP", LONG, || {
        show()
            .contains("tried again 2 times, last from 127.0.0.1")
            .then_some(())
    });
}
