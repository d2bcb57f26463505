//! Bob opens the mailbox of the office: with a device password of his own mailbox, or with one that was
//! issued to him on the office's. Dovecot's acl plugin is on, as the strictest host has it.

use std::net::Ipv4Addr;

use libtest_mimic::Trial;

use crate::conversation::{Imap, Smtp};
use crate::daemon::Daemon;
use crate::machine::Machine;
use crate::site::Site;
use crate::tree::Tree;
use crate::{
    case, dovecot, dovecot_accepts, dovecot_refuses, postfix, postfix_accepts, postfix_refuses,
};

const OFFICE: &str = "office@example.org";
const BOB: &str = "bob@example.org";
const ANA: &str = "ana@example.org";
const OFFICE_BY_BOB: &str = "office@example.org*bob@example.org";
const ANA_BY_BOB: &str = "ana@example.org*bob@example.org";
const MESSAGE: &str = "For the office.";

pub fn tests(tree: Tree) -> Vec<Trial> {
    let (dovecot, postfix) = (tree.dovecot(), tree.postfix());
    let issued = "device_password_of_a_person_opens_that_mailbox_and_nothing_else";
    vec![
        case(
            tree,
            dovecot,
            "ones_own_device_password_reads_a_shared_mailbox",
            reading,
        ),
        case(
            tree,
            dovecot,
            "acl_plugin_shuts_out_a_person_without_the_line_for_owners_rights",
            by_acls,
        ),
        case(tree, dovecot, issued, imap_issued),
        case(
            tree,
            postfix,
            "authorization_identity_sends_for_a_shared_mailbox",
            sending,
        ),
        case(
            tree,
            postfix,
            "separator_takes_mailbox_and_person_apart_where_it_is_set",
            separated,
        ),
        case(tree, postfix, issued, smtp_issued),
    ]
}

/// Three mailboxes; Bob may open that of the office.
fn site(tree: Tree) -> Site {
    let site = Site::new(tree, &[OFFICE, BOB, ANA]);
    site.dovelatch(&["person", "add", BOB]);
    site.dovelatch(&["access", "add", OFFICE, BOB]);
    site
}

fn start_dovecot(site: &Site) -> (Daemon, Machine) {
    let daemon = Daemon::start(site);
    let machine = Machine::start(site, &[dovecot::COMMAND], &dovecot::PORTS);
    (daemon, machine)
}

fn start_postfix(site: &Site) -> (Daemon, Machine) {
    postfix::install(site);
    let daemon = Daemon::start(site);
    let machine = Machine::start(site, &[postfix::COMMAND], &[postfix::SUBMISSION]);
    (daemon, machine)
}

fn imap(machine: &Machine) -> Imap {
    Imap::connect(machine, Ipv4Addr::LOCALHOST)
}

fn smtp(machine: &Machine) -> Smtp {
    Smtp::connect(machine, Ipv4Addr::LOCALHOST, postfix::SUBMISSION)
}

fn take_access_away(site: &Site) {
    site.dovelatch(&["access", "remove", OFFICE, BOB, "--yes"]);
}

fn reading(tree: Tree) {
    let site = site(tree);
    dovecot::install_with_delegation(&site);
    site.deliver(OFFICE, MESSAGE);
    let (_daemon, machine) = start_dovecot(&site);
    let bobs = site.add(BOB, "phone");
    let anas = site.add(ANA, "phone");

    let mut by_name = imap(&machine);
    dovecot_accepts(&by_name.login(OFFICE_BY_BOB, &bobs));
    assert!(by_name.read_message().contains(MESSAGE));
    let mut by_identity = imap(&machine);
    dovecot_accepts(&by_identity.authenticate_for(OFFICE, BOB, &bobs));
    assert!(by_identity.read_message().contains(MESSAGE));
    // The drop-in leaves the ordinary log-in as it was.
    dovecot_accepts(&imap(&machine).login(BOB, &bobs));

    // A mailbox that Bob may not open, a person who may open none, and the office's own log-in.
    dovecot_refuses(&imap(&machine).login(ANA_BY_BOB, &bobs));
    dovecot_refuses(&imap(&machine).authenticate_for(ANA, BOB, &bobs));
    dovecot_refuses(&imap(&machine).authenticate_for(OFFICE, ANA, &anas));
    dovecot_refuses(&imap(&machine).login(OFFICE, &bobs));

    take_access_away(&site);
    dovecot_refuses(&imap(&machine).login(OFFICE_BY_BOB, &bobs));
    dovecot_refuses(&imap(&machine).authenticate_for(OFFICE, BOB, &bobs));
    dovecot_accepts(&imap(&machine).login(BOB, &bobs));
}

fn by_acls(tree: Tree) {
    let site = site(tree);
    dovecot::install_with_delegation_by_acls(&site);
    site.deliver(OFFICE, MESSAGE);
    let (_daemon, machine) = start_dovecot(&site);
    let bobs = site.add(BOB, "phone");
    let offices = site.add(OFFICE, "desktop");

    let mut imap_of_bob = imap(&machine);
    dovecot_accepts(&imap_of_bob.login(OFFICE_BY_BOB, &bobs));
    let answer = imap_of_bob.select();
    assert!(answer.starts_with("NO "), "{answer}");

    let mut owner = imap(&machine);
    dovecot_accepts(&owner.login(OFFICE, &offices));
    assert!(owner.read_message().contains(MESSAGE));
}

fn imap_issued(tree: Tree) {
    let site = site(tree);
    dovecot::install_with_delegation(&site);
    site.deliver(OFFICE, MESSAGE);
    let (_daemon, machine) = start_dovecot(&site);
    let tablet = site.add_with(OFFICE, "tablet", &["--person", BOB]);

    let mut office = imap(&machine);
    dovecot_accepts(&office.login(OFFICE, &tablet));
    assert!(office.read_message().contains(MESSAGE));
    dovecot_refuses(&imap(&machine).login(BOB, &tablet));
    dovecot_refuses(&imap(&machine).login(OFFICE_BY_BOB, &tablet));
    dovecot_refuses(&imap(&machine).authenticate_for(BOB, OFFICE, &tablet));

    take_access_away(&site);
    dovecot_refuses(&imap(&machine).login(OFFICE, &tablet));
}

fn sending(tree: Tree) {
    let site = site(tree);
    let (_daemon, machine) = start_postfix(&site);
    let bobs = site.add(BOB, "phone");

    postfix_accepts(&smtp(&machine).plain_for(OFFICE, BOB, &bobs));
    postfix_refuses(&smtp(&machine).plain_for(ANA, BOB, &bobs));
    // Off unless somebody sets it.
    postfix_refuses(&smtp(&machine).plain(OFFICE_BY_BOB, &bobs));

    take_access_away(&site);
    postfix_refuses(&smtp(&machine).plain_for(OFFICE, BOB, &bobs));
    postfix_accepts(&smtp(&machine).plain(BOB, &bobs));
}

fn separated(tree: Tree) {
    let site = site(tree);
    site.separate();
    let (_daemon, machine) = start_postfix(&site);
    let bobs = site.add(BOB, "phone");

    postfix_accepts(&smtp(&machine).plain(OFFICE_BY_BOB, &bobs));
    postfix_accepts(&smtp(&machine).login(OFFICE_BY_BOB, &bobs));
    postfix_refuses(&smtp(&machine).plain(ANA_BY_BOB, &bobs));

    take_access_away(&site);
    postfix_refuses(&smtp(&machine).plain(OFFICE_BY_BOB, &bobs));
}

fn smtp_issued(tree: Tree) {
    let site = site(tree);
    site.separate();
    let (_daemon, machine) = start_postfix(&site);
    let tablet = site.add_with(OFFICE, "tablet", &["--person", BOB]);

    postfix_accepts(&smtp(&machine).plain(OFFICE, &tablet));
    postfix_refuses(&smtp(&machine).plain(BOB, &tablet));
    postfix_refuses(&smtp(&machine).plain(OFFICE_BY_BOB, &tablet));
    postfix_refuses(&smtp(&machine).plain_for(BOB, OFFICE, &tablet));
}
