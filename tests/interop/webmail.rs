//! The recipe that leaves the main password to the webmail alone. The webmail is whoever comes from
//! 127.0.0.1; everybody else comes from 127.0.0.2.

use std::fs;
use std::net::Ipv4Addr;

use libtest_mimic::Trial;

use crate::conversation::{Imap, Smtp};
use crate::daemon::Daemon;
use crate::machine::Machine;
use crate::site::Site;
use crate::tree::Tree;
use crate::{case, dovecot, dovecot_refuses, postfix, postfix_accepts, postfix_refuses};

/// A system account of the mail host, and its hash in there (`openssl passwd -6`).
const ANA: &str = "ana";
const MAIN_PASSWORD: &str = "correct horse";
const MAIN_HASH: &str = "$6$dovelatch$DHvUDJ3AvNST6TO60v2RKcp9eh1hxZ7DSTEguKqKtAvSCrDVcgPldNHpjKEoi0/mWsE8eOjNVCd9.oA2OPdFL/";

const WEBMAIL: Ipv4Addr = Ipv4Addr::LOCALHOST;
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

pub fn tests(tree: Tree) -> Vec<Trial> {
    let peer = format!("{}_{}", tree.dovecot(), tree.postfix());
    vec![
        case(
            tree,
            &peer,
            "main_password_reads_mail_from_the_webmail_only",
            reading,
        ),
        case(
            tree,
            &peer,
            "main_password_sends_mail_from_the_webmail_only",
            sending,
        ),
    ]
}

fn start(tree: Tree) -> (Site, Daemon, Machine) {
    let site = Site::new(tree, &[ANA]);
    dovecot::install_with_main_password(&site);
    // Its mail belongs to the same user as all mail of the tests.
    let (uid, gid) = tree.user("vmail");
    add_line(
        &site,
        "/etc/passwd",
        &format!("{ANA}:x:{uid}:{gid}::/var/vmail/{ANA}:/bin/false"),
    );
    add_line(
        &site,
        "/etc/shadow",
        &format!("{ANA}:{MAIN_HASH}:20000:0:99999:7:::"),
    );
    postfix::install_with_webmail(&site);
    let daemon = Daemon::start(&site);
    let commands = [dovecot::COMMAND, postfix::COMMAND];
    let ports = [143, postfix::SUBMISSION, postfix::WEBMAIL];
    let machine = Machine::start(&site, &commands, &ports);
    (site, daemon, machine)
}

fn add_line(site: &Site, path: &str, line: &str) {
    let debian = site.tree.path().join(path.trim_start_matches('/'));
    let debian = fs::read_to_string(debian).expect("every Debian has it");
    site.file(path, format!("{debian}{line}\n"));
}

fn reading(tree: Tree) {
    let (site, _daemon, machine) = start(tree);
    let device = site.add(ANA, "phone");
    site.deliver(ANA, "For all programs of Ana's.");

    for (from, password) in [
        (WEBMAIL, MAIN_PASSWORD),
        (WEBMAIL, &device),
        (ELSEWHERE, &device),
    ] {
        let mut imap = Imap::connect(&machine, from);
        let answer = imap.login(ANA, password);
        assert!(
            answer.starts_with("OK "),
            "{password:?} from {from}: {answer}"
        );
        assert!(imap.read_message().contains("For all programs of Ana's."));
    }
    dovecot_refuses(&Imap::connect(&machine, ELSEWHERE).login(ANA, MAIN_PASSWORD));
    dovecot_refuses(&Imap::connect(&machine, WEBMAIL).login(ANA, "incorrect horse"));

    site.revoke(ANA, "phone");
    dovecot_refuses(&Imap::connect(&machine, ELSEWHERE).login(ANA, &device));
    dovecot_refuses(&Imap::connect(&machine, WEBMAIL).login(ANA, &device));
}

fn sending(tree: Tree) {
    let (site, _daemon, machine) = start(tree);
    let device = site.add(ANA, "phone");

    let connect = |from, port| Smtp::connect(&machine, from, port);
    postfix_accepts(&connect(WEBMAIL, postfix::WEBMAIL).plain(ANA, MAIN_PASSWORD));
    postfix_accepts(&connect(WEBMAIL, postfix::WEBMAIL).plain(ANA, &device));
    // The address decides, should the webmail's port be reachable for others after all.
    postfix_refuses(&connect(ELSEWHERE, postfix::WEBMAIL).plain(ANA, MAIN_PASSWORD));

    for from in [WEBMAIL, ELSEWHERE] {
        postfix_accepts(&connect(from, postfix::SUBMISSION).plain(ANA, &device));
        postfix_refuses(&connect(from, postfix::SUBMISSION).plain(ANA, MAIN_PASSWORD));
    }
}
