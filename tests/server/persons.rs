//! A person opens a shared mailbox over a socket, in the spellings that clients have for it.

use data_encoding::BASE64;
use dovelatch::clock;
use dovelatch::model::{Limits, Mailbox, Person};
use dovelatch::store::IfThere;
use libtest_mimic::Trial;

use crate::peer::Peer;
use crate::site::{Site, shown};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "a_person_opens_a_shared_mailbox_until_access_is_taken_away",
            shared,
        ),
        trial(
            "without_a_separator_only_an_authorization_identity_delegates",
            no_separator,
        ),
    ]
}

/// Ana's mailbox, to which ben has access; and a device password of ben's own mailbox.
fn bens_password(site: &Site) -> String {
    let mut admin = site.admin();
    let (by, now) = (admin.actor.clone(), clock::now());
    let store = &mut admin.store;
    store
        .add_persons(&[ben()], IfThere::Refuse, &by, now)
        .unwrap();
    store.give_access(&ana(), &ben(), &by, now).unwrap();
    let own = "ben@example.org".parse().unwrap();
    let label = "phone".parse().unwrap();
    let issued = admin.issue(&own, None, &label, &Limits::default(), now);
    shown(&issued.unwrap())
}

fn ana() -> Mailbox {
    "ana@example.org".parse().unwrap()
}

fn ben() -> Person {
    "ben@example.org".parse().unwrap()
}

fn signs_in(peer: &mut Peer, id: u32, wanted: &str, typed: &str, password: &str) -> String {
    let response = BASE64.encode(format!("{wanted}\0{typed}\0{password}").as_bytes());
    peer.say(&format!(
        "AUTH\t{id}\tPLAIN\tservice=imap\trip=203.0.113.7\tresp={response}"
    ));
    peer.line()
}

fn shared() {
    let mut site = Site::new();
    site.config.separator = Some("*".parse().unwrap());
    let password = bens_password(&site);
    let running = site.start();
    let mut peer = Peer::login_process(&site.socket());
    let spellings = [
        ("ana@example.org", "ben@example.org"),
        ("", "ana@example.org*ben@example.org"),
        ("ana@example.org", "Ana@example.org*ben@example.org"),
    ];
    for (id, (wanted, typed)) in (1..).zip(spellings) {
        let answer = signs_in(&mut peer, id, wanted, typed, &password);
        let fields: Vec<&str> = answer.split('\t').collect();
        assert_eq!(fields[..3], ["OK", &id.to_string(), "user=ana@example.org"]);
        assert!(fields.contains(&"auth_user=ben@example.org"), "{answer}");
        for name in ["user_device=dp-", "user_access=ac-"] {
            assert!(
                fields.iter().any(|field| field.starts_with(name)),
                "{answer}"
            );
        }
        assert!(
            !answer.contains("master_user"),
            "the owner's rights: {answer}"
        );
    }
    assert_eq!(running.hashes(), 1, "it is one password, however spelt");
    let mut admin = site.admin();
    let by = admin.actor.clone();
    let taken = admin.store.take_access(&ana(), &ben(), &by, clock::now());
    assert_eq!(taken.unwrap(), [], "ben's own device passwords stay");
    for (id, (wanted, typed)) in (11..).zip(spellings) {
        let answer = signs_in(&mut peer, id, wanted, typed, &password);
        assert_eq!(answer, format!("FAIL\t{id}\tuser=ben@example.org"));
    }
    let answer = signs_in(&mut peer, 21, "", "ben@example.org", &password);
    assert!(
        answer.starts_with("OK\t21\tuser=ben@example.org\t"),
        "{answer}"
    );
    assert!(!answer.contains("user_access"), "{answer}");
    running.stop();
}

fn no_separator() {
    let site = Site::new();
    let password = bens_password(&site);
    let running = site.start();
    let mut peer = Peer::login_process(&site.socket());
    let typed = "ana@example.org*ben@example.org";
    let answer = signs_in(&mut peer, 1, "", typed, &password);
    assert_eq!(answer, format!("FAIL\t1\tuser={typed}"));
    assert_eq!(running.hashes(), 0);
    let answer = signs_in(
        &mut peer,
        2,
        "ana@example.org",
        "ben@example.org",
        &password,
    );
    assert!(
        answer.starts_with("OK\t2\tuser=ana@example.org\t"),
        "{answer}"
    );
    running.stop();
}
