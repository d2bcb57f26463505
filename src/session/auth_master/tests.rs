//! The session as a list of events: lines and answers.

use std::collections::{HashMap as Map, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::attempt::Allowed;
use crate::model::{Fields as Own, Mechanism, SecretId};

const ROOT: Peer = Peer {
    pid: Some(4_711),
    inner_pid: Some(7),
    only_uid: None,
};

/// A connection, and what it asked so far.
struct Client {
    session: Session,
    /// Questions in the order in which they were asked.
    asked: Vec<Ticket>,
    picked_up: Vec<PickUp>,
}

impl Client {
    fn connected(kind: Kind, peer: Peer, domain: Option<&str>) -> Self {
        let settings = Settings {
            kind,
            userdb: Userdb {
                uid: 5_000,
                gid: 5_001,
                home: Some("/var/vmail".parse().unwrap()),
                fields: Own::default(),
            },
            default_domain: domain.map(|domain| domain.parse().unwrap()),
        };
        Self {
            session: Session::new(Arc::new(settings), peer),
            asked: Vec::new(),
            picked_up: Vec::new(),
        }
    }

    /// Behind VERSION.
    fn of(kind: Kind, peer: Peer) -> Self {
        let mut client = Self::connected(kind, peer, None);
        assert_eq!(client.sends("VERSION\t1\t0"), "");
        client
    }

    fn master() -> Self {
        Self::of(Kind::Master, ROOT)
    }

    fn sends(&mut self, line: &str) -> String {
        let mut actions = Vec::new();
        self.session
            .on_line(&Secret::new(line.into()), &mut actions);
        self.shown(actions)
    }

    /// The answer to the `which`th question.
    fn hears(&mut self, which: usize, answer: Answer) -> String {
        let mut actions = Vec::new();
        let ticket = self.asked[which];
        self.session.on_answer(ticket, answer, &mut actions);
        self.shown(actions)
    }

    /// Actions as text: lines as sent, `?` and what is asked, `closed` for the end.
    fn shown(&mut self, actions: Vec<Action>) -> String {
        let mut shown = Vec::new();
        for action in actions {
            match action {
                Action::Send(reply) => shown.push(text(&reply)),
                Action::Ask(ticket, query) => {
                    shown.push(match &query {
                        Query::PickUp(_) => panic!("the server asks this"),
                        Query::Home(mailbox) => format!("? home {mailbox}"),
                        Query::Names { after: None } => "? names".to_owned(),
                        Query::Names { after: Some(after) } => format!("? names {after}"),
                    });
                    self.asked.push(ticket);
                }
                Action::PickUp(ticket, by) => {
                    shown.push(format!("? {} {}", by.client_pid, by.auth_id));
                    self.asked.push(ticket);
                    self.picked_up.push(*by);
                }
                Action::Warn(_) => {}
                Action::Close(why) => {
                    assert!(!why.is_empty());
                    shown.push("closed".to_owned());
                }
            }
        }
        shown.join("|")
    }
}

fn text(reply: &Reply) -> String {
    let mut line = Vec::new();
    reply.encode(&mut line);
    let line = String::from_utf8(line).unwrap();
    line.trim_end_matches('\n').to_owned()
}

fn request(id: u32, fields: &str) -> String {
    format!("REQUEST\t{id}\t25594\t2\t2C8b5b4e6d00c9a2491626af7be9e621{fields}")
}

fn mailbox(name: &str) -> Mailbox {
    name.parse().unwrap()
}

fn bob_at_home() -> Answer {
    Answer::Home(mailbox("bob@example.org"), Own::default())
}

fn begin(delegated: bool) -> Begin {
    let person = || {
        (
            "bob@example.org".parse().unwrap(),
            "ac-kqtmwhzrnb".parse().unwrap(),
        )
    };
    Begin {
        allowed: Allowed {
            mailbox: mailbox("office@example.org"),
            device: "dp-kqtmwhzrnb".parse().unwrap(),
            secret: SecretId(1),
            person: delegated.then(person),
        },
        mechanism: Mechanism::Login,
        fields: Own::default(),
        token: Secret::new((0..20).collect()),
    }
}

fn begins(delegated: bool) -> Answer {
    Answer::Begins(Box::new(begin(delegated)))
}

fn names(names: &[&str]) -> Answer {
    Answer::Names(names.iter().copied().map(mailbox).collect())
}

// The beginning and the end.

#[test]
fn what_only_a_broken_program_sends_closes() {
    for lines in [
        &["VERSION\t2\t0"][..],
        &["VERSION\t1"],
        &["USER\t1\tbob@example.org\tservice=lmtp"],
        &["CPID\t1"],
        &[""],
        &["VERSION\t1\t0", "VERSION\t1\t0"],
        &["VERSION\t1\t0", "CPID\t1"],
        &["VERSION\t1\t0", "FOO\t1"],
        &["VERSION\t1\t0", "REQUEST\t5\t424242\t1\tzz"],
        &["VERSION\t1\t0", "USER\t1\tbob@example.org"],
        &["VERSION\t1\t0", "PASS\t1\tbob@example.org"],
        &["VERSION\t1\t0", "USER\tx\tbob\tservice=lmtp"],
    ] {
        let mut client = Client::connected(Kind::Master, ROOT, None);
        let (last, before) = lines.split_last().unwrap();
        for line in before {
            assert_eq!(client.sends(line), "", "{lines:?}");
        }
        assert_eq!(client.sends(last), "closed", "{lines:?}");
        assert!(!client.session.wants_input());
        let after = client.sends("VERSION\t1\t0");
        assert_eq!(after, "", "nothing comes after the end");
    }
}

#[test]
fn any_minor_is_welcome() {
    for minor in ["0", "1", "3", "4294967295"] {
        let mut client = Client::connected(Kind::Userdb, ROOT, None);
        assert_eq!(client.sends(&format!("VERSION\t1\t{minor}")), "");
        let asked = client.sends("USER\t1\tbob@example.org\tservice=lmtp");
        assert_eq!(asked, "? home bob@example.org");
    }
}

#[test]
fn a_userdb_socket_does_not_know_what_a_master_socket_knows() {
    for line in [&request(1, "\tsession_pid=4711"), "CACHE-FLUSH\t1"] {
        let mut client = Client::of(Kind::Userdb, ROOT);
        assert_eq!(client.sends(line), "closed");
        let mut client = Client::of(Kind::Master, ROOT);
        assert_ne!(client.sends(line), "closed");
    }
}

#[test]
fn an_answer_after_the_end_says_nothing() {
    let mut client = Client::master();
    client.sends("USER\t1\tbob@example.org\tservice=lmtp");
    assert!(client.session.is_asking());
    assert_eq!(client.sends("FOO"), "closed");
    assert!(!client.session.is_asking());
    assert_eq!(client.hears(0, bob_at_home()), "");
}

// REQUEST.

#[test]
fn a_session_begins_with_all_that_its_mail_process_needs() {
    let mut client = Client::master();
    let asked = client.sends(&request(924_319_745, "\tsession_pid=4711"));
    assert_eq!(asked, "? 25594 2");
    assert!(client.session.is_asking());
    let cookie = Secret::new(b"2c8b5b4e6d00c9a2491626af7be9e621".to_vec());
    assert_eq!(client.picked_up[0].cookie.0, cookie);
    assert_eq!(
        client.hears(0, begins(false)),
        "USER\t924319745\toffice@example.org\tuid=5000\tgid=5001\thome=/var/vmail\t\
         user_device=dp-kqtmwhzrnb\tevent_device=dp-kqtmwhzrnb\tauth_mech=LOGIN"
    );
    assert!(!client.session.is_asking());
    assert_eq!(client.hears(0, begins(false)), "", "one answer, once");
}

#[test]
fn a_delegated_session_names_its_access_and_its_person() {
    let mut client = Client::master();
    client.sends(&request(1, "\tsession_pid=4711\trequest_auth_token"));
    assert_eq!(
        client.hears(0, begins(true)),
        "USER\t1\toffice@example.org\tuid=5000\tgid=5001\thome=/var/vmail\t\
         user_device=dp-kqtmwhzrnb\tevent_device=dp-kqtmwhzrnb\t\
         user_access=ac-kqtmwhzrnb\tauth_user=bob@example.org\tauth_mech=LOGIN\t\
         auth_token=000102030405060708090a0b0c0d0e0f10111213"
    );
}

#[test]
fn a_session_that_may_not_begin_hears_no_reason() {
    for answer in [Answer::No, Answer::TryLater, bob_at_home(), names(&[])] {
        let mut client = Client::master();
        client.sends(&request(5, "\tsession_pid=4711"));
        assert_eq!(client.hears(0, answer), "FAIL\t5");
    }
}

#[test]
fn only_the_process_that_will_serve_the_session_may_take_it() {
    let outside = Peer {
        inner_pid: None,
        ..ROOT
    };
    let unknown = Peer {
        pid: None,
        ..outside
    };
    for (peer, field, passes) in [
        (ROOT, "\tsession_pid=4711", true),
        (ROOT, "\tsession_pid=7", true),
        (ROOT, "\tsession_pid=1", false),
        (ROOT, "\tsession_pid=", false),
        (ROOT, "", false),
        (outside, "\tsession_pid=4711", true),
        (outside, "\tsession_pid=7", false),
        (outside, "", false),
        (unknown, "\tsession_pid=1", true),
        (unknown, "", true),
    ] {
        let mut client = Client::of(Kind::Master, peer);
        let expected = if passes { "? 25594 2" } else { "FAIL\t5" };
        let answer = client.sends(&request(5, field));
        assert_eq!(answer, expected, "{peer:?} {field:?}");
    }
}

// USER, PASS, CACHE-FLUSH.

#[test]
fn where_mail_lives_is_told_under_the_name_on_record() {
    for kind in [Kind::Master, Kind::Userdb] {
        let mut client = Client::of(kind, ROOT);
        let asked = client.sends("USER\t0\tBob@Example.ORG\tprotocol=lmtp\trip=192.0.2.1");
        assert_eq!(asked, "? home bob@example.org");
        assert_eq!(
            client.hears(0, bob_at_home()),
            "USER\t0\tbob@example.org\tuid=5000\tgid=5001\thome=/var/vmail"
        );
        client.sends("PASS\t2\tbob@example.org\tservice=doveadm");
        let pass = client.hears(1, bob_at_home());
        assert_eq!(pass, "PASS\t2\tuser=bob@example.org");
    }
}

#[test]
fn a_name_is_read_as_that_of_a_log_in_but_for_a_person_in_it() {
    let mut client = Client::connected(Kind::Userdb, ROOT, Some("example.org"));
    client.sends("VERSION\t1\t0");
    assert_eq!(
        client.sends("USER\t1\tBob\tservice=lmtp"),
        "? home bob@example.org"
    );
    for name in ["", "a\x01tb", "../..@x", "office*bob", "a@b@c", " "] {
        for word in ["USER", "PASS"] {
            let answer = client.sends(&format!("{word}\t1\t{name}\tservice=lmtp"));
            assert_eq!(answer, "NOTFOUND\t1", "{name:?}");
        }
    }
}

#[test]
fn trouble_of_our_own_is_never_not_found() {
    for word in ["USER", "PASS"] {
        for (answer, line) in [
            (Answer::No, "NOTFOUND\t3"),
            (Answer::TryLater, "FAIL\t3"),
            (begins(false), "FAIL\t3"),
            (names(&["bob"]), "FAIL\t3"),
        ] {
            let mut client = Client::of(Kind::Userdb, ROOT);
            client.sends(&format!("{word}\t3\tbob@example.org\tservice=lmtp"));
            assert_eq!(client.hears(0, answer), line, "{word}");
        }
    }
}

#[test]
fn an_answer_that_no_client_can_read_is_a_failure() {
    let answer = |length| {
        let fields = Fields::default().with("x", "v".repeat(length));
        text(&user(MasterId(1), &mailbox("bob"), fields))
    };
    let longest = MAX_REPLY - "USER\t1\tbob\tx=\n".len();
    assert_eq!(answer(longest).len() + 1, MAX_REPLY, "the LF counts");
    assert_eq!(answer(longest + 1), "FAIL\t1");
}

#[test]
fn there_is_nothing_to_flush() {
    let mut client = Client::master();
    assert_eq!(client.sends("CACHE-FLUSH\t1"), "OK\t1\t0");
    assert_eq!(client.sends("CACHE-FLUSH\t2\tbob\tana"), "OK\t2\t0");
}

// LIST.

#[test]
fn a_list_goes_page_by_page_until_an_empty_one() {
    let mut client = Client::of(Kind::Userdb, ROOT);
    assert_eq!(client.sends("LIST\t1\tuser=*\tservice=doveadm"), "? names");
    assert_eq!(
        client.hears(0, names(&["ana", "bob"])),
        "LIST\t1\tana|LIST\t1\tbob|? names bob"
    );
    assert_eq!(client.hears(1, names(&["eve"])), "LIST\t1\teve|? names eve");
    assert_eq!(client.hears(2, names(&[])), "DONE\t1\t");
    assert!(!client.session.is_asking());
}

#[test]
fn a_list_has_the_names_that_its_mask_matches_and_goes_on_behind_the_others() {
    let mut client = Client::of(Kind::Userdb, ROOT);
    client.sends("LIST\t1\tuser=?O*\tservice=doveadm");
    assert_eq!(
        client.hears(0, names(&["ana", "bob"])),
        "LIST\t1\tbob|? names bob"
    );
    assert_eq!(client.hears(1, names(&["eve"])), "? names eve");
    assert_eq!(client.hears(2, names(&[])), "DONE\t1\t");
}

#[test]
fn a_list_that_cannot_go_on_says_so() {
    for answer in [Answer::TryLater, Answer::No, bob_at_home(), begins(true)] {
        let mut client = Client::of(Kind::Userdb, ROOT);
        client.sends("LIST\t1\tuser=*\tservice=doveadm");
        client.hears(0, names(&["ana"]));
        assert_eq!(client.hears(1, answer), "DONE\t1\tfail");
        assert!(client.session.wants_input());
    }
}

#[test]
fn nothing_is_read_while_a_list_runs() {
    let mut client = Client::of(Kind::Userdb, ROOT);
    client.sends("LIST\t1\tuser=*\tservice=doveadm");
    assert!(!client.session.wants_input());
    client.hears(0, names(&["ana"]));
    assert!(!client.session.wants_input());
    client.hears(1, names(&[]));
    assert!(client.session.wants_input());
}

// Restricted peers.

#[test]
fn a_restricted_peer_sees_mailboxes_of_its_own_uid_only() {
    for (uid, line) in [
        (
            5_000,
            "USER\t1\tbob@example.org\tuid=5000\tgid=5001\thome=/var/vmail",
        ),
        (1_000, "FAIL\t1"),
    ] {
        let peer = Peer {
            only_uid: Some(uid),
            ..ROOT
        };
        let mut client = Client::of(Kind::Userdb, peer);
        client.sends("USER\t1\tbob@example.org\tservice=lda");
        assert_eq!(client.hears(0, bob_at_home()), line);
        client.sends("USER\t2\tnobody@example.org\tservice=lda");
        assert_eq!(client.hears(1, Answer::No), "NOTFOUND\t2");
        let pass = client.sends("PASS\t3\tbob@example.org\tservice=lda");
        assert_eq!(pass, "FAIL\t3");
        assert_eq!(client.sends("LIST\t4\tuser=*"), "DONE\t4\tfail");
    }
}

// Many at once.

#[test]
fn the_same_id_twice_is_answered_twice() {
    let mut client = Client::master();
    client.sends("USER\t1\tbob@example.org\tservice=lmtp");
    client.sends("USER\t1\tana@example.org\tservice=lmtp");
    let ana = Answer::Home(mailbox("ana@example.org"), Own::default());
    assert!(
        client
            .hears(1, ana)
            .starts_with("USER\t1\tana@example.org\t")
    );
    assert_eq!(client.hears(0, Answer::No), "NOTFOUND\t1");
}

#[test]
fn nothing_is_read_at_the_bound_of_open_questions() {
    let mut client = Client::master();
    for _ in 0..MAX_ASKING {
        assert!(client.session.wants_input());
        client.sends("USER\t1\tbob@example.org\tservice=lmtp");
    }
    assert!(!client.session.wants_input());
    client.hears(0, Answer::No);
    assert!(client.session.wants_input());
}

#[derive(Debug, Clone)]
enum Event {
    Line(&'static str, u32),
    /// An answer of that kind to one of the open questions.
    Answer(usize, u8),
}

fn any_event() -> impl Strategy<Value = Event> {
    let word = prop::sample::select(vec!["REQUEST", "USER", "PASS", "LIST", "CACHE-FLUSH"]);
    prop_oneof![
        (word, 0_u32..3).prop_map(|(word, id)| Event::Line(word, id)),
        (0_usize..8, 0_u8..5).prop_map(|(which, kind)| Event::Answer(which, kind)),
    ]
}

proptest! {
    /// Whatever comes in whatever order, also answers that fit no question.
    #[test]
    fn every_command_gets_one_final_answer(events in prop::collection::vec(any_event(), 0..60)) {
        let mut client = Client::master();
        let mut commands: Map<u32, usize> = Map::new();
        let mut finals: Map<u32, usize> = Map::new();
        let mut open = VecDeque::new();
        let answer = |kind: u8| match kind {
            0 => Answer::No,
            1 => Answer::TryLater,
            2 => bob_at_home(),
            3 => begins(true),
            _ => names(&["bob"]),
        };
        let closing = (0..200).map(|_| Event::Answer(0, 0));
        for event in events.into_iter().chain(closing) {
            let before = client.asked.len();
            let said = match event {
                Event::Line(word, id) => {
                    if !client.session.wants_input() {
                        continue;
                    }
                    *commands.entry(id).or_default() += 1;
                    client.sends(&match word {
                        "REQUEST" => request(id, "\tsession_pid=4711"),
                        word => format!("{word}\t{id}\tbob@example.org\tservice=lmtp"),
                    })
                }
                Event::Answer(which, kind) => {
                    let Some(question) = open.remove(which.min(open.len().saturating_sub(1))) else {
                        continue;
                    };
                    client.hears(question, answer(kind))
                }
            };
            open.extend(before..client.asked.len());
            for line in said.split('|').filter(|line| !line.is_empty() && !line.starts_with('?')) {
                let mut words = line.split('\t');
                let (word, id) = (words.next().unwrap(), words.next().unwrap());
                if word != "LIST" {
                    *finals.entry(id.parse().unwrap()).or_default() += 1;
                }
            }
            prop_assert_eq!(client.session.is_asking(), !open.is_empty());
        }
        prop_assert_eq!(commands, finals);
    }

    #[test]
    fn no_lines_panic(lines: Vec<Vec<u8>>) {
        let mut client = Client::master();
        for line in lines {
            client.session.on_line(&Secret::new(line), &mut Vec::new());
        }
    }
}
