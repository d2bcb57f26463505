//! Login sockets, where an OK is not the end.

use super::*;
use crate::session::finished::{Finished, Table};
use crate::wire::auth_master::{Cookie, MasterId, PickUp};

/// A login process of Dovecot 1.`minor`, behind the handshake.
fn login_process(minor: u32) -> Peer {
    let mut peer = Peer::on(Settings {
        kind: Kind::Login,
        mechanisms: Mechanism::ALL.to_vec(),
        default_domain: None,
        separator: None,
    });
    assert_eq!(peer.sends(&format!("VERSION\t1\t{minor}")), "");
    assert_eq!(peer.sends("CPID\t25594"), "");
    peer
}

/// Lets in, with a number to tell it by.
fn allow_as(number: usize) -> Verdict {
    let Verdict::Allow(mut allowed) = allow("bob@example.org") else {
        panic!("it allows");
    };
    allowed.secret = SecretId(i64::try_from(number).unwrap());
    Verdict::Allow(allowed)
}

#[test]
fn what_is_let_in_is_kept_before_its_ok_leaves_and_without_its_password() {
    let mut peer = login_process(2);
    let line = format!(
        "AUTH\t7\tPLAIN\tservice=imap\trip=192.0.2.7\tlip=192.0.2.1\tresp={}",
        b64(BOB)
    );
    assert_eq!(peer.sends(&line), "- 7|? bob@example.org");
    let asked = peer.asked[0].1.clone();
    assert_eq!(asked.secret, Secret::new(b"phone-pw".to_vec()));
    let begun = peer.now;
    peer.now += Duration::from_secs(2);
    let said = peer.hears(0, &allow("bob@example.org"));
    assert!(
        said.starts_with("+ 7|OK\t7\tuser=bob@example.org\t"),
        "{said}"
    );

    let kept = &peer.finished[0];
    assert_eq!((kept.id.get(), kept.client_pid), (7, 25_594));
    assert_eq!(kept.begun, begun);
    let Admitted { attempt, allowed } = &kept.admitted;
    assert_eq!(
        Verdict::Allow(allowed.clone()),
        allow("bob@example.org"),
        "whom it let in"
    );
    assert!(attempt.secret.is_empty());
    let with_it = Attempt {
        secret: asked.secret.clone(),
        ..attempt.clone()
    };
    assert_eq!(format!("{with_it:?}"), format!("{asked:?}"), "all but that");
}

#[test]
fn what_is_refused_or_has_no_mail_process_is_not_kept() {
    let mut peer = login_process(2);
    peer.sends(&plain(1, BOB));
    peer.sends(&plain(2, BOB));
    let nologin = format!("AUTH\t3\tPLAIN\tservice=smtp\tnologin\tresp={}", b64(BOB));
    peer.sends(&nologin);
    assert_eq!(
        peer.hears(0, &Verdict::Deny),
        "FAIL\t1\tuser=bob@example.org"
    );
    assert!(peer.hears(1, &Verdict::TryLater).starts_with("FAIL\t2\t"));
    let ok = peer.hears(2, &allow("bob@example.org"));
    assert!(ok.starts_with("OK\t3\t"), "{ok}");
    assert!(peer.finished.is_empty());
}

#[test]
fn a_client_socket_keeps_and_forgets_nothing() {
    let mut peer = Peer::of_minor(2);
    assert_eq!(peer.sends(&plain(1, BOB)), "? bob@example.org");
    let ok = peer.hears(0, &allow("bob@example.org"));
    assert!(ok.starts_with("OK\t1\t"), "{ok}");
    assert_eq!(peer.sends("CANCEL\t1"), "");
}

#[test]
fn cancel_takes_back_what_has_its_ok_already() {
    let mut peer = login_process(2);
    peer.sends(&plain(1, BOB));
    peer.hears(0, &allow("bob@example.org"));
    assert_eq!(peer.sends("CANCEL\t1"), "- 1");
    assert_eq!(login_process(4).sends("CANCEL\t9"), "- 9|CANCELLED\t9");
}

#[test]
fn what_was_cancelled_or_has_expired_is_not_kept() {
    let mut peer = login_process(2);
    peer.sends(&plain(1, BOB));
    peer.sends("CANCEL\t1");
    assert_eq!(peer.hears(0, &allow("bob@example.org")), "");
    peer.sends(&plain(1, BOB));
    peer.now += LIFETIME;
    assert_eq!(peer.expires(), "");
    assert_eq!(peer.hears(1, &allow("bob@example.org")), "");
    assert!(peer.finished.is_empty());
}

#[test]
fn an_id_that_is_used_again_gives_up_its_old_log_in_before_anything_else() {
    let mut peer = login_process(2);
    peer.sends(&plain(1, BOB));
    peer.hears(0, &allow("bob@example.org"));
    assert_eq!(peer.sends(&plain(1, BOB)), "- 1|? bob@example.org");
    for line in ["AUTH\t2\tX\tservice=imap", "AUTH\t2\tPLAIN\tservice=imap"] {
        let said = peer.sends(line);
        assert!(said.starts_with("- 2|"), "{said}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Auth(u32),
    Verdict(prop::sample::Index, bool),
    Cancel(u32),
    Wait(u64),
    /// A mail process asks for this id.
    Take(u32),
    Disconnect,
}

fn any_step() -> impl Strategy<Value = Step> {
    let id = || 1_u32..4;
    prop_oneof![
        6 => id().prop_map(Step::Auth),
        6 => any::<(prop::sample::Index, bool)>()
            .prop_map(|(which, allows)| Step::Verdict(which, allows)),
        2 => id().prop_map(Step::Cancel),
        1 => (0_u64..100).prop_map(Step::Wait),
        4 => id().prop_map(Step::Take),
        1 => Just(Step::Disconnect),
    ]
}

proptest! {
    /// The session and the table together, as the server joins them: a mail process gets the last AUTH
    /// of the id, if that was let in, once, and within its time.
    #[test]
    fn each_log_in_is_given_out_once_at_most_and_never_an_old_one(
        steps in prop::collection::vec(any_step(), 0..80),
    ) {
        let cookie = Cookie(Secret::new(vec![b'a'; 32]));
        let (mut peer, mut table) = (login_process(2), Table::default());
        // The last AUTH of an id that neither ended nor was given out: its number, and since when.
        let mut current = HashMap::<u32, (usize, Instant)>::new();
        let mut let_in = std::collections::HashSet::new();
        for step in steps {
            let said = match step {
                Step::Auth(id) => {
                    if peer.session.live(RequestId::new(id).unwrap(), peer.now) {
                        continue;
                    }
                    current.insert(id, (peer.asked.len(), peer.now));
                    peer.sends(&plain(id, BOB))
                }
                Step::Verdict(which, allows) => {
                    if peer.asked.is_empty() {
                        continue;
                    }
                    let which = which.index(peer.asked.len());
                    let said = peer.hears(which, &if allows { allow_as(which) } else { Verdict::Deny });
                    if said.contains("OK\t") {
                        let_in.insert(which);
                    }
                    said
                }
                Step::Cancel(id) => {
                    current.remove(&id);
                    peer.sends(&format!("CANCEL\t{id}"))
                }
                Step::Wait(seconds) => {
                    peer.now += Duration::from_secs(seconds);
                    peer.expires()
                }
                Step::Take(id) => {
                    let by = PickUp {
                        id: MasterId(1),
                        client_pid: 25_594,
                        auth_id: id,
                        cookie: cookie.clone(),
                        session_pid: None,
                        wants_token: false,
                    };
                    let taken = table.take(&by, peer.now);
                    let taken = taken.map(|taken| usize::try_from(taken.allowed.secret.0).unwrap());
                    let expected = current
                        .get(&id)
                        .filter(|(number, begun)| {
                            let_in.contains(number) && peer.now - *begun < LIFETIME
                        })
                        .map(|(number, _)| *number);
                    prop_assert_eq!(taken, expected);
                    if taken.is_some() {
                        current.remove(&id);
                    }
                    continue;
                }
                Step::Disconnect => {
                    table.forget_all(5);
                    current.clear();
                    let_in.clear();
                    peer = login_process(2);
                    continue;
                }
            };
            let mut finished = peer.finished.drain(..);
            for word in said.split('|') {
                if let Some(id) = word.strip_prefix("- ") {
                    table.forget(5, id.parse().unwrap());
                }
                if word.starts_with("+ ") {
                    let kept = finished.next().unwrap();
                    let finished = Finished {
                        client_pid: kept.client_pid,
                        auth_id: kept.id.get(),
                        connection: 5,
                        begun: kept.begun,
                        admitted: kept.admitted,
                    };
                    table.keep(&cookie, finished, peer.now);
                }
            }
        }
    }
}
