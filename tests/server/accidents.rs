//! What happened to others, tried on ours: over the socket, and with the real command line. tests/advisories.md
//! says to whom.

use std::time::Duration;

use data_encoding::BASE64;
use dovelatch::clock;
use dovelatch::model::{Limits, Mailbox};
use dovelatch::store::Revoked;
use libtest_mimic::Trial;

use crate::log_ins::WRONG;
use crate::peer::Peer;
use crate::site::{Site, shown};
use crate::{tested, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "sql_in_any_field_of_a_log_in_opens_nothing_and_changes_nothing",
            sql_on_the_socket,
        ),
        trial(
            "sql_in_any_word_of_the_command_line_is_a_name_or_refused",
            sql_on_the_command_line,
        ),
        trial(
            "what_looks_like_a_variable_is_the_name_of_nobody",
            variables,
        ),
        trial(
            "what_a_peer_claims_of_a_connection_opens_nothing",
            claims_of_the_peer,
        ),
        trial("a_thousand_wrong_passwords_lock_nobody_out", no_lock_out),
        trial(
            "of_all_mailboxes_with_all_passwords_only_the_diagonal_passes_though_all_are_remembered",
            diagonal,
        ),
    ]
}

/// Each would open a mailbox, or change a table, as a part of a query. Some of them are good names.
const SQL: [&str; 14] = [
    "' OR '1'='1",
    "ana'or'1'='1@example.org",
    "ana@example.org' --",
    "ana@example.org'--",
    "ana@example.org'/**/or/**/1=1;--",
    "ana@example.org\" OR \"\"=\"",
    "x'); DELETE FROM device_password; --",
    "x@example.org');drop(table)mailbox;--",
    "x' UNION SELECT name, phc FROM mailbox, secret --",
    "_na@example.org",
    "%@example.org",
    "an*@example.org",
    "?1",
    "$1@:name",
];

/// Without a delay of refusals: there are many.
fn site() -> Site {
    let mut site = Site::new();
    site.config.listeners[0].failure_delay = Duration::ZERO;
    site
}

/// Signs in with PLAIN, with whatever else the line is to have in it.
fn ask(peer: &mut Peer, id: u32, fields: &str, [wanted, user, password]: [&str; 3]) -> String {
    let response = BASE64.encode(format!("{wanted}\0{user}\0{password}").as_bytes());
    peer.say(&format!("AUTH\t{id}\tPLAIN\t{fields}\tresp={response}"));
    peer.line()
}

fn sql_on_the_socket() {
    let site = site();
    let phone = shown(&site.issue("phone"));
    let running = site.start();
    let mut peer = Peer::login_process(&site.socket());
    let mut ids = 1..;
    let mut ask = |fields: &str, words| ask(&mut peer, ids.next().unwrap(), fields, words);
    let ana = "ana@example.org";
    for sql in SQL {
        for words in [
            ["", sql, &phone],
            ["", ana, sql],
            ["", sql, sql],
            [sql, ana, &phone],
            [ana, sql, &phone],
        ] {
            let answer = ask("service=imap", words);
            assert!(answer.starts_with("FAIL\t"), "{words:?}: {answer}");
            assert!(!answer.contains("temp"), "no query broke: {answer}");
        }
        // The name of a service is written down. What is no address is none.
        for fields in [format!("service={sql}"), format!("service=imap\trip={sql}")] {
            let answer = ask(&fields, ["", ana, &phone]);
            assert!(answer.starts_with("OK\t"), "{fields:?}: {answer}");
            let answer = ask(&fields, ["", ana, WRONG]);
            assert!(answer.starts_with("FAIL\t"), "{fields:?}: {answer}");
        }
    }
    running.stop(); // It writes the uses down.
    let store = site.admin().store;
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
    assert_eq!(store.mailboxes().unwrap().len(), 2);
    let devices = store.devices(None, Revoked::Shown).unwrap();
    assert_eq!(devices.len(), 1);
    let uses = store.uses(&devices[0].id).unwrap();
    assert!(uses.len() > 1, "{uses:?}");
}

fn sql_on_the_command_line() {
    let site = site();
    let phone = shown(&site.issue("phone"));
    let config = site.file();
    // No Dovecot of this host is asked to end anything.
    let text = std::fs::read_to_string(&config).unwrap() + "[dovecot]\nkick = \"off\"\n";
    std::fs::write(&config, text).unwrap();
    let dovelatch = |words: &[&str]| {
        let output = tested::command()
            .args(words)
            .env("DOVELATCH_CONFIG", &config)
            .output()
            .unwrap();
        let code = output.status.code().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        // Done, would be refused, not accepted, not there, there already: never a fault, nor a wrong use.
        assert!(
            [0, 65, 67, 73, 77].contains(&code) && !said.contains("query"),
            "{words:?} {code}: {said}"
        );
        code == 0
    };
    let ana = "ana@example.org";
    let mut added = 0;
    for sql in SQL {
        added += usize::from(dovelatch(&["mailbox", "add", "--", sql]));
        dovelatch(&["add", "--quiet", "--", ana, sql]);
        for words in [
            &["person", "add", "--", sql][..],
            &["access", "add", "--", ana, sql],
            &["set", "--services", "imap", "--", ana, sql],
            &["rename", "--", ana, sql, "another"],
            &["rename", "--", ana, "another", sql],
            &["list", "--", sql],
            &["show", "--", ana, sql],
            &["explain", "--service", sql, "--", ana, sql],
            &["log", "--", sql],
            &["revoke", "--yes", "--", sql, "phone"],
            &["mailbox", "disable", "--", sql],
            &["mailbox", "remove", "--yes", "--", sql],
            &["revoke", "--yes", "--", ana, sql],
        ] {
            dovelatch(words);
        }
    }
    assert!(added > 0, "some are names like any other");
    let store = site.admin().store;
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
    let names: Vec<String> = (store.mailboxes().unwrap().into_iter())
        .map(|row| row.mailbox.to_string())
        .collect();
    assert!(names.contains(&ana.to_owned()) && names.contains(&"ben@example.org".to_owned()));
    let running = site.start();
    let mut peer = Peer::login_process(&site.socket());
    assert!(peer.sign_in(1, ana, &phone).starts_with("OK\t1\t"));
    running.stop();
}

fn variables() {
    let mut site = site();
    site.config.separator = Some("%".parse().unwrap());
    let phone = shown(&site.issue("phone"));
    let running = site.start();
    let mut peer = Peer::login_process(&site.socket());
    let endless = "%{user}".repeat(600);
    let nested = format!("{}user{}", "%{".repeat(50), "}".repeat(50));
    for (id, name) in (1..).zip([
        "%{user}",
        "%u",
        "%{local}@example.org",
        "ana@%{domain}",
        "ana@example.org%{user}",
        "${user}@example.org",
        "{{user}}",
        &endless,
        &nested,
    ]) {
        let answer = peer.sign_in(id, name, &phone);
        assert!(
            answer.starts_with(&format!("FAIL\t{id}")),
            "{name}: {answer}"
        );
    }
    let answer = peer.sign_in(99, "ana@example.org", &phone);
    assert!(
        answer.starts_with("OK\t99\tuser=ana@example.org\t"),
        "{answer}"
    );
    running.stop();
}

fn claims_of_the_peer() {
    let site = site();
    let phone = shown(&site.issue("phone"));
    let running = site.start();
    let mut peer = Peer::login_process(&site.socket());
    for (id, claim) in (1..).step_by(3).zip([
        "secured",
        "secured=tls",
        "valid-client-cert",
        "valid-client-cert\tcert_username=ana@example.org",
        "cert_username=ana@example.org",
        "user=ana@example.org",
        "skip_password_check",
        "nopassword",
        "noauthenticate",
        "master_user=ana@example.org",
        "no-penalty",
        "local_name=example.org",
        "forward_user=ana@example.org",
    ]) {
        let fields = format!("service=imap\t{claim}");
        for (id, user, password) in [
            (id, "ana@example.org", WRONG),
            (id + 1, "ben@example.org", phone.as_str()),
        ] {
            let answer = ask(&mut peer, id, &fields, ["", user, password]);
            assert!(answer.starts_with("FAIL\t"), "{claim:?}: {answer}");
        }
        let answer = ask(&mut peer, id + 2, &fields, ["", "ana@example.org", &phone]);
        assert!(
            answer.contains("\tuser=ana@example.org\t"),
            "{claim:?}: {answer}"
        );
    }
    running.stop();
}

fn no_lock_out() {
    let site = site();
    let phone = shown(&site.issue("phone"));
    let running = site.start();
    let mut peer = Peer::login_process(&site.socket());
    for id in 1..=1_000 {
        // Of the right shape and of none, in turn; all from the address that the phone has.
        let wrong = if id % 2 == 0 { WRONG } else { "hunter2" };
        let answer = peer.sign_in(id, "ana@example.org", wrong);
        assert!(answer.starts_with("FAIL\t"), "{answer}");
    }
    let answer = peer.sign_in(1_001, "ana@example.org", &phone);
    assert!(answer.starts_with("OK\t1001\t"), "{answer}");
    assert_eq!(running.hashes(), 1, "nor did they cost anything");
    running.stop();
}

fn diagonal() {
    const MAILBOXES: usize = 12;
    let site = site();
    let name = |number: usize| format!("m{number}@example.org");
    let mut passwords = Vec::new();
    let mut admin = site.admin();
    for number in 0..MAILBOXES {
        let mailbox: Mailbox = name(number).parse().unwrap();
        let (by, now) = (admin.actor.clone(), clock::now());
        admin.store.add_mailbox(&mailbox, &by, now).unwrap();
        let label = "phone".parse().unwrap();
        let issued = admin.issue(&mailbox, None, &label, &Limits::default(), now);
        passwords.push(shown(&issued.unwrap()));
    }
    drop(admin);
    let running = site.start();
    let mut peer = Peer::login_process(&site.socket());
    let mut ids = 1..;
    // The first round warms the memo as it goes, the second has nothing left to hash.
    for _ in 0..2 {
        for whose in 0..MAILBOXES {
            for (owner, password) in passwords.iter().enumerate() {
                let id = ids.next().unwrap();
                let answer = peer.sign_in(id, &name(whose), password);
                let expected = match whose == owner {
                    true => format!("OK\t{id}\tuser={}\t", name(whose)),
                    false => format!("FAIL\t{id}\tuser={}", name(whose)),
                };
                assert!(answer.starts_with(&expected), "{whose} {owner}: {answer}");
            }
        }
    }
    // A tag met by chance costs one more, once in five hundred such runs.
    let hashes = running.hashes();
    assert!((12..=14).contains(&hashes), "{hashes}");
    running.stop();
}
