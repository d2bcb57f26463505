//! The session as a list of events: lines, verdicts and the passing of time.

mod login;

use proptest::prelude::*;

use super::*;
use crate::attempt::Allowed;
use crate::model::SecretId;

const NAMES: Names<'_> = Names {
    domain: None,
    separator: None,
};

/// What a login socket has to keep.
struct Kept {
    id: RequestId,
    client_pid: u32,
    begun: Instant,
    admitted: Admitted,
}

/// A connection, and what it said and did so far.
struct Peer {
    session: Session,
    now: Instant,
    /// Verifications in the order in which they were asked for.
    asked: Vec<(Ticket, Attempt)>,
    refusals: Vec<Refusal>,
    /// What was let in on a login socket.
    finished: Vec<Kept>,
}

impl Peer {
    fn connected() -> Self {
        Self::with(Mechanism::ALL.to_vec(), None)
    }

    fn with(mechanisms: Vec<Mechanism>, domain: Option<&str>) -> Self {
        Self::on(Settings {
            kind: Kind::Client,
            mechanisms,
            default_domain: domain.map(|domain| domain.parse().unwrap()),
            separator: Some("*".parse().unwrap()),
        })
    }

    fn on(settings: Settings) -> Self {
        Self {
            session: Session::new(Arc::new(settings)),
            now: now(),
            asked: Vec::new(),
            refusals: Vec::new(),
            finished: Vec::new(),
        }
    }

    /// Behind the handshake, as a client of protocol 1.`minor`.
    fn of_minor(minor: u32) -> Self {
        let mut peer = Self::connected();
        assert_eq!(peer.sends(&format!("VERSION\t1\t{minor}")), "");
        assert_eq!(peer.sends("CPID\t1"), "");
        peer
    }

    fn sends(&mut self, line: &str) -> String {
        let mut actions = Vec::new();
        let line = Secret::new(line.into());
        self.session.on_line(&line, self.now, &mut actions);
        self.shown(actions)
    }

    /// The verdict on the verification that was asked for as the `which`th.
    fn hears(&mut self, which: usize, verdict: &Verdict) -> String {
        let mut actions = Vec::new();
        let ticket = self.asked[which].0;
        self.session.on_verdict(ticket, verdict, &mut actions);
        self.shown(actions)
    }

    fn expires(&mut self) -> String {
        let mut actions = Vec::new();
        self.session.expire(self.now, &mut actions);
        self.shown(actions)
    }

    /// Actions as text: lines as sent, `?` and the mailbox for a question, `+` and `-` for what the
    /// table of finished requests has to keep and to forget, `closed` for the end.
    fn shown(&mut self, actions: Vec<Action>) -> String {
        let mut shown = Vec::new();
        for action in actions {
            match action {
                Action::Send(reply) => shown.push(text(&reply)),
                Action::Verify(ticket, attempt) => {
                    let mailbox = attempt.mailbox.as_ref().map(ToString::to_string);
                    shown.push(format!("? {}", mailbox.unwrap_or_default()));
                    self.asked.push((ticket, *attempt));
                }
                Action::Refuse { reply, refusal } => {
                    shown.extend(reply.as_ref().map(text));
                    self.refusals.push(refusal);
                }
                Action::Finish {
                    id,
                    client_pid,
                    begun,
                    admitted,
                } => {
                    shown.push(format!("+ {}", id.get()));
                    self.finished.push(Kept {
                        id,
                        client_pid,
                        begun,
                        admitted: *admitted,
                    });
                }
                Action::Forget(id) => shown.push(format!("- {}", id.get())),
                Action::Close(_) => shown.push("closed".to_owned()),
            }
        }
        shown.join("|")
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "any point in time will do to begin with"
)]
fn now() -> Instant {
    Instant::now()
}

fn text(reply: &Reply) -> String {
    let mut line = Vec::new();
    reply.encode(&mut line);
    String::from_utf8_lossy(&line)
        .trim_end_matches('\n')
        .to_owned()
}

fn b64(text: &str) -> String {
    base64::encode_str(text)
}

/// AUTH PLAIN as Dovecot sends it.
fn plain(id: u32, message: &str) -> String {
    format!("AUTH\t{id}\tPLAIN\tservice=imap\tresp={}", b64(message))
}

const BOB: &str = "\0bob@example.org\0phone-pw";

fn allow(mailbox: &str) -> Verdict {
    Verdict::Allow(Allowed {
        mailbox: mailbox.parse().unwrap(),
        device: "dp-kqtmwhzrnb".parse().unwrap(),
        secret: SecretId(1),
        person: None,
    })
}

// The handshake.

#[test]
fn what_is_no_handshake_closes() {
    for lines in [
        &["VERSION\t2\t0"][..],
        &["VERSION\t1"],
        &["CPID\t1"],
        &["AUTH\t1\tPLAIN\tservice=imap"],
        &[""],
        &["VERSION\t1\t2", "CPID\t0"],
        &["VERSION\t1\t2", "AUTH\t1\tPLAIN\tservice=imap"],
        &["VERSION\t1\t2", "VERSION\t1\t2"],
        &["VERSION\t1\t2", "CPID\t1", "CPID\t1"],
        &["VERSION\t1\t2", "CPID\t1", "VERSION\t1\t2"],
    ] {
        let mut peer = Peer::connected();
        let (last, before) = lines.split_last().unwrap();
        for line in before {
            assert_eq!(peer.sends(line), "", "{lines:?}");
        }
        assert_eq!(peer.sends(last), "closed", "{lines:?}");
        assert!(!peer.session.wants_input());
        assert_eq!(
            peer.sends("VERSION\t1\t2"),
            "",
            "nothing comes after the end"
        );
    }
}

#[test]
fn any_minor_is_welcome() {
    Peer::of_minor(0);
    Peer::of_minor(99);
}

// Good log-ins.

#[test]
fn a_good_login_is_answered_with_mailbox_and_device() {
    let mut peer = Peer::of_minor(2);
    assert_eq!(peer.sends(&plain(1, BOB)), "? bob@example.org");
    assert!(peer.session.is_verifying());
    let ok = "OK\t1\tuser=bob@example.org\tuser_device=dp-kqtmwhzrnb\tevent_device=dp-kqtmwhzrnb";
    assert_eq!(peer.hears(0, &allow("bob@example.org")), ok);
    assert!(!peer.session.is_verifying());
}

#[test]
fn what_was_typed_is_told_where_it_was_normalised() {
    let mut peer = Peer::of_minor(2);
    peer.sends(&plain(1, "\0Bob@Example.ORG\0phone-pw"));
    let ok = peer.hears(0, &allow("bob@example.org"));
    assert!(ok.starts_with("OK\t1\tuser=bob@example.org\t"), "{ok}");
    assert!(ok.ends_with("\toriginal_user=Bob@Example.ORG"), "{ok}");

    let mut peer = Peer::with(Mechanism::ALL.to_vec(), Some("example.org"));
    peer.sends("VERSION\t1\t2");
    peer.sends("CPID\t1");
    assert_eq!(
        peer.sends(&plain(1, "\0bob\0phone-pw")),
        "? bob@example.org"
    );
    assert!(
        peer.hears(0, &allow("bob@example.org"))
            .ends_with("\toriginal_user=bob")
    );
}

#[test]
fn delegation_is_answered_with_the_person() {
    let mut peer = Peer::of_minor(2);
    peer.sends(&plain(1, "office@example.org\0bob@example.org\0phone-pw"));
    assert_eq!(
        peer.asked[0].1.person,
        Some("bob@example.org".parse().unwrap())
    );
    let Verdict::Allow(allowed) = allow("office@example.org") else {
        unreachable!()
    };
    let person = Some((
        "bob@example.org".parse().unwrap(),
        "ac-kqtmwhzrnb".parse().unwrap(),
    ));
    assert_eq!(
        peer.hears(0, &Verdict::Allow(Allowed { person, ..allowed })),
        "OK\t1\tuser=office@example.org\tuser_device=dp-kqtmwhzrnb\tevent_device=dp-kqtmwhzrnb\
         \tauth_user=bob@example.org\tuser_access=ac-kqtmwhzrnb"
    );
    peer.sends(&plain(2, "office@example.org\0bob@example.org\0phone-pw"));
    assert_eq!(
        peer.hears(1, &Verdict::Deny),
        "FAIL\t2\tuser=bob@example.org"
    );
}

#[test]
fn the_longest_answer_fits_where_radicale_reads_it() {
    let long = format!("{}@example.org", "x".repeat(242));
    let allowed = Allowed {
        mailbox: long.parse().unwrap(),
        device: "dp-kqtmwhzrnb".parse().unwrap(),
        secret: SecretId(1),
        person: Some((long.parse().unwrap(), "ac-kqtmwhzrnb".parse().unwrap())),
    };
    let claim = Claim::of(long.to_uppercase().as_bytes(), NAMES);
    let id = RequestId::new(u32::MAX).unwrap();
    let ok = text(&replies::ok(id, &allowed, &claim));
    assert!(
        ok.len() < 1_023 && ok.split('\t').count() < 16,
        "{}",
        ok.len()
    );
    let claim = Claim::of("x".repeat(12_000).as_bytes(), NAMES);
    assert!(text(&replies::not_base64(id, Which::Continued, &claim)).len() < 1_023);
}

#[test]
fn everything_that_the_peer_reports_reaches_the_attempt() {
    let mut peer = Peer::of_minor(3);
    peer.sends(&format!(
        "AUTH\t1\tlogin\tprotocol=submission\tnologin\trip=192.0.2.7\tlip=::1\tunknown=x\tresp={}",
        b64("bob@example.org")
    ));
    peer.sends(&format!("CONT\t1\t{}", b64("phone-pw")));
    let attempt = &peer.asked[0].1;
    assert_eq!(
        (attempt.mechanism, &attempt.service),
        (Mechanism::Login, &Service::Smtp)
    );
    assert_eq!(attempt.origin, "192.0.2.7".parse().ok());
    assert_eq!(attempt.local, "::1".parse().ok());
    assert_eq!(attempt.secret, Secret::new(b"phone-pw".to_vec()));

    peer.sends(&format!(
        "AUTH\t2\tPLAIN\tservice=smtp\trip=\tresp={}",
        b64(BOB)
    ));
    assert_eq!(peer.asked[1].1.origin, None);
}

// Initial responses. Stock Dovecot takes `resp=` for none where the client's minor is below 2, and for
// an empty one from there on; `resp==` is an empty one always.

#[test]
fn absent_empty_and_equals_sign_are_three_initial_responses() {
    let none = "CONT\t1\t";
    let prompt = "CONT\t1\tVXNlcm5hbWU6";
    for (minor, mechanism, response, answer) in [
        (0, "PLAIN", "", none),
        (0, "PLAIN", "\tresp=", none),
        (1, "PLAIN", "\tresp=", none),
        (2, "PLAIN", "\tresp=", "FAIL\t1"),
        (3, "PLAIN", "\tresp=", "FAIL\t1"),
        (2, "PLAIN", "", none),
        (0, "PLAIN", "\tresp==", "FAIL\t1"),
        (2, "PLAIN", "\tresp==", "FAIL\t1"),
        (0, "LOGIN", "\tresp=", prompt),
        (2, "LOGIN", "\tresp=", prompt),
        (2, "LOGIN", "\tresp==", prompt),
        (2, "LOGIN", "", prompt),
        (2, "LOGIN", "\tresp=Ym9i", "CONT\t1\tUGFzc3dvcmQ6"),
    ] {
        let mut peer = Peer::of_minor(minor);
        let answered = peer.sends(&format!("AUTH\t1\t{mechanism}\tservice=smtp{response}"));
        assert_eq!(answered, answer, "minor {minor}, {mechanism}{response:?}");
    }
}

#[test]
fn login_asks_twice() {
    let mut peer = Peer::of_minor(0);
    assert_eq!(
        peer.sends("AUTH\t9\tLOGIN\tservice=smtp\tnologin"),
        "CONT\t9\tVXNlcm5hbWU6"
    );
    assert_eq!(
        peer.sends(&format!("CONT\t9\t{}", b64("bob"))),
        "CONT\t9\tUGFzc3dvcmQ6"
    );
    assert_eq!(
        peer.sends(&format!("CONT\t9\t{}", b64("phone-pw"))),
        "? bob"
    );
    assert_eq!(peer.hears(0, &Verdict::Deny), "FAIL\t9\tuser=bob");
}

// What a remote user can do wrong fails that request only.

#[test]
fn bad_input_fails_its_own_request_only() {
    let initial = "FAIL\t1\tcode=invalid_base64\treason=Invalid base64 data in initial response";
    let long = "x".repeat(9_000);
    let cases = [
        (
            "AUTH\t1\tPLAIN\tservice=imap\tresp=!!!!".to_owned(),
            initial.to_owned(),
        ),
        (
            "AUTH\t1\tPLAIN\tservice=imap\tresp=AGIAcA".to_owned(),
            initial.to_owned(),
        ),
        (
            "AUTH\t1\tLOGIN\tservice=imap\tresp=A".to_owned(),
            initial.to_owned(),
        ),
        (plain(1, ""), "FAIL\t1".to_owned()),
        (plain(1, "bob"), "FAIL\t1".to_owned()),
        (plain(1, "\0bob"), "FAIL\t1".to_owned()),
        (plain(1, "\0bob\0phone-pw\0junk"), "FAIL\t1".to_owned()),
        (plain(1, "\0\0pw"), "FAIL\t1".to_owned()),
        (plain(1, "\0bob\0"), "FAIL\t1\tuser=bob".to_owned()),
        (plain(1, "\0bob\0p\tw"), "FAIL\t1\tuser=bob".to_owned()),
        (plain(1, "\0b\tob\0pw"), "FAIL\t1".to_owned()),
        (plain(1, "\0b\nob\0pw"), "FAIL\t1".to_owned()),
        (
            "AUTH\t1\tFOO\tservice=imap".to_owned(),
            "FAIL\t1".to_owned(),
        ),
        ("AUTH\t1\t\tservice=imap".to_owned(), "FAIL\t1".to_owned()),
        (
            "CONT\t1\tAAAA".to_owned(),
            "FAIL\t1\treason=Authentication request timed out".to_owned(),
        ),
        (plain(1, &format!("\0bob\0{long}")), "? bob".to_owned()),
        (plain(1, &format!("\0{long}\0pw")), "? ".to_owned()),
        (plain(1, "\0../..@x\0pw"), "? ".to_owned()),
        (
            "AUTH\t1\tPLAIN\tservice=imap\tresp=AP/+AHB3".to_owned(),
            "? ".to_owned(),
        ),
        ("CANCEL\t1".to_owned(), String::new()),
    ];
    for (line, answer) in cases {
        let mut peer = Peer::of_minor(2);
        peer.sends(&plain(7, BOB));
        assert_eq!(peer.sends(&line), answer, "{line}");
        assert_eq!(peer.sends(&plain(8, BOB)), "? bob@example.org", "{line}");
        assert!(
            peer.hears(0, &allow("bob@example.org"))
                .starts_with("OK\t7\t"),
            "{line}"
        );
    }
}

/// Dovecot before 2.4.3 closed the connection (CVE-2025-59028).
#[test]
fn bad_base64_in_either_login_step_fails_its_own_request_only() {
    let mut peer = Peer::of_minor(2);
    let words = "code=invalid_base64\treason=Invalid base64 data in continued response";
    peer.sends("AUTH\t1\tLOGIN\tservice=imap");
    assert_eq!(peer.sends("CONT\t1\t!!!!"), format!("FAIL\t1\t{words}"));
    peer.sends("AUTH\t2\tLOGIN\tservice=imap\tresp=Ym9i");
    assert_eq!(
        peer.sends("CONT\t2\t!!!!"),
        format!("FAIL\t2\tuser=bob\t{words}")
    );
    assert_eq!(peer.sends(&plain(3, BOB)), "? bob@example.org");
    assert_eq!(peer.refusals.len(), 2);
    assert!(
        peer.refusals
            .iter()
            .all(|refusal| refusal.reason == Reason::Malformed)
    );
}

#[test]
fn a_mechanism_is_known_in_any_case_and_refused_where_it_is_not_offered() {
    let mut peer = Peer::with(vec![Mechanism::Plain], None);
    peer.sends("VERSION\t1\t0");
    peer.sends("CPID\t1");
    assert_eq!(peer.sends("AUTH\t1\tpLaIn\tservice=smtp"), "CONT\t1\t");
    assert_eq!(peer.sends("AUTH\t2\tLOGIN\tservice=smtp"), "FAIL\t2");
    assert_eq!(peer.sends("AUTH\t3\tSCRAM-SHA-1\tservice=smtp"), "FAIL\t3");
    let refused: Vec<_> = peer
        .refusals
        .iter()
        .map(|r| (r.reason, r.mechanism))
        .collect();
    assert_eq!(
        refused,
        [
            (Reason::Mechanism, Some(Mechanism::Login)),
            (Reason::Mechanism, None)
        ]
    );
}

#[test]
fn a_further_field_in_a_response_means_nothing_before_minor_3() {
    let fail = "FAIL\t1\tcode=invalid_base64\treason=Invalid base64 data in continued response";
    for (minor, answer) in [(2, fail), (3, "? bob@example.org")] {
        let mut peer = Peer::of_minor(minor);
        peer.sends("AUTH\t1\tPLAIN\tservice=imap");
        assert_eq!(
            peer.sends(&format!("CONT\t1\t{}\tfoo=bar", b64(BOB))),
            answer
        );
    }
}

// What only a broken program does closes.

#[test]
fn what_only_a_broken_program_sends_closes() {
    for line in [
        "PING\t1",
        "",
        "AUTH\t0\tPLAIN\tservice=imap",
        "AUTH\tx\tPLAIN\tservice=imap",
        "AUTH\t4294967296\tPLAIN\tservice=imap",
        "AUTH\t1",
        "AUTH\t1\tPLAIN\tresp=AAAA",
        "AUTH\t1\tPLAIN\tservice=imap\tresp=AAAA\tsecured",
        "AUTH\t7\tPLAIN\tservice=imap",
        "CONT\t7",
        "CANCEL\tx",
    ] {
        let mut peer = Peer::of_minor(2);
        peer.sends("AUTH\t7\tPLAIN\tservice=imap");
        assert_eq!(peer.sends(line), "closed", "{line:?}");
    }
}

#[test]
fn an_id_may_be_used_again_once_it_was_answered() {
    let mut peer = Peer::of_minor(2);
    peer.sends(&plain(1, BOB));
    peer.hears(0, &Verdict::Deny);
    assert_eq!(peer.sends(&plain(1, BOB)), "? bob@example.org");
    assert_eq!(peer.sends(&plain(1, BOB)), "closed", "it is live");
}

// One final answer for each id.

#[test]
fn an_unexpected_continuation_is_the_only_answer() {
    let mut peer = Peer::of_minor(2);
    peer.sends(&plain(1, BOB));
    assert_eq!(
        peer.sends("CONT\t1\teA=="),
        "FAIL\t1\treason=Unexpected continuation"
    );
    assert!(!peer.session.is_verifying());
    assert_eq!(peer.hears(0, &allow("bob@example.org")), "");
}

#[test]
fn late_verdict_never_reaches_a_reused_id() {
    let mut peer = Peer::of_minor(2);
    peer.sends(&plain(1, "\0ana\0pw"));
    peer.sends("CANCEL\t1");
    peer.sends(&plain(1, "\0bob\0pw"));
    assert_eq!(peer.hears(0, &allow("ana")), "");
    assert_eq!(peer.hears(1, &Verdict::Deny), "FAIL\t1\tuser=bob");
    assert_eq!(peer.hears(1, &allow("bob")), "", "a second verdict is none");
}

#[test]
fn answers_go_in_any_order() {
    let mut peer = Peer::of_minor(2);
    for (id, name) in [(1, "ana"), (2, "bob"), (3, "eve")] {
        peer.sends(&plain(id, &format!("\0{name}\0pw")));
    }
    assert_eq!(peer.hears(2, &Verdict::Deny), "FAIL\t3\tuser=eve");
    assert!(
        peer.hears(1, &allow("bob"))
            .starts_with("OK\t2\tuser=bob\t")
    );
    assert_eq!(peer.hears(0, &Verdict::Deny), "FAIL\t1\tuser=ana");
}

#[test]
fn cancelled_is_said_only_to_clients_who_know_the_word() {
    for (minor, answer) in [(2, ""), (3, ""), (4, "CANCELLED\t1")] {
        let mut peer = Peer::of_minor(minor);
        peer.sends(&plain(1, BOB));
        assert_eq!(peer.sends("CANCEL\t1"), answer);
        assert_eq!(peer.sends("CANCEL\t1"), answer, "unknown by now");
        assert_eq!(peer.hears(0, &allow("bob@example.org")), "");
    }
}

// Time.

#[test]
fn a_request_lives_150_seconds_and_ends_without_a_word() {
    let mut peer = Peer::of_minor(2);
    peer.sends("AUTH\t1\tPLAIN\tservice=imap");
    peer.sends(&plain(2, BOB));
    peer.now += LIFETIME - Duration::from_millis(1);
    assert_eq!(peer.expires(), "");
    assert_eq!(peer.session.requests.len(), 2);
    peer.now += Duration::from_millis(1);
    assert_eq!(peer.expires(), "");
    assert_eq!(peer.session.requests.len(), 0);
    assert!(!peer.session.is_verifying());
    assert_eq!(peer.hears(0, &allow("bob@example.org")), "");
}

#[test]
fn an_id_whose_time_is_over_is_free_even_before_anyone_tidied_up() {
    let mut peer = Peer::of_minor(2);
    peer.sends("AUTH\t1\tPLAIN\tservice=imap");
    peer.sends(&plain(2, BOB));
    peer.now += LIFETIME;
    let late = "FAIL\t1\treason=Authentication request timed out";
    assert_eq!(peer.sends(&format!("CONT\t1\t{}", b64(BOB))), late);
    assert_eq!(peer.sends(&plain(2, "\0ana\0pw")), "? ana");
    assert_eq!(peer.hears(0, &allow("bob@example.org")), "");
    assert_eq!(peer.hears(1, &Verdict::Deny), "FAIL\t2\tuser=ana");
    assert!(!peer.session.is_verifying());
}

// Bounds.

#[test]
fn at_the_bound_the_oldest_abandoned_exchange_makes_room() {
    let mut peer = Peer::of_minor(0);
    let bound = u32::try_from(MAX_OPEN).unwrap();
    for id in 1..=bound {
        assert_eq!(
            peer.sends(&format!("AUTH\t{id}\tPLAIN\tservice=smtp")),
            format!("CONT\t{id}\t")
        );
    }
    assert!(peer.session.wants_input());
    assert_eq!(peer.sends(&plain(bound + 1, BOB)), "? bob@example.org");
    assert_eq!(peer.session.requests.len(), MAX_OPEN);
    assert_eq!(
        peer.sends("CONT\t1\tAAAA"),
        "FAIL\t1\treason=Authentication request timed out"
    );
    assert_eq!(peer.sends("CONT\t2\t"), "FAIL\t2");
}

#[test]
fn nothing_is_read_while_as_many_as_allowed_are_verified() {
    let mut peer = Peer::of_minor(2);
    let bound = verifies_as_many_as_allowed(&mut peer);
    // Fed all the same, it does not grow.
    let later = format!("FAIL\t{}\tcode=temp_fail\ttemp", bound + 1);
    assert_eq!(peer.sends(&plain(bound + 1, BOB)), later);
    peer.hears(5, &Verdict::Deny);
    assert!(peer.session.wants_input());
}

#[test]
fn room_for_many_requests_is_given_back_when_they_have_ended() {
    let mut peer = Peer::of_minor(2);
    let most = u32::try_from(MAX_OPEN).unwrap();
    for id in 1..=most {
        peer.sends(&format!("AUTH\t{id}\tLOGIN\tservice=imap"));
    }
    assert_eq!(peer.session.open_requests(), MAX_OPEN);
    for id in 1..=most {
        peer.sends(&format!("CANCEL\t{id}"));
    }
    assert_eq!(peer.session.open_requests(), 0);
    assert!(peer.session.requests.capacity() < 4 * KEPT);
}

#[test]
fn what_finds_no_room_is_told_to_the_log_in_any_case() {
    for (minor, says) in [(2, "FAIL\t1025\tcode=temp_fail\ttemp"), (0, "")] {
        let mut peer = Peer::of_minor(minor);
        let bound = verifies_as_many_as_allowed(&mut peer);
        let line = format!("AUTH\t{}\tPLAIN\tservice=smtp\tnologin\tresp=", bound + 1);
        assert_eq!(peer.sends(&line), says);
        let reasons: Vec<_> = peer.refusals.iter().map(|refusal| refusal.reason).collect();
        assert_eq!(reasons, [Reason::Overload]);
    }
}

/// The number of the last request.
fn verifies_as_many_as_allowed(peer: &mut Peer) -> u32 {
    let bound = u32::try_from(MAX_OPEN).unwrap();
    for id in 1..=bound {
        assert!(peer.session.wants_input());
        peer.sends(&plain(id, BOB));
    }
    assert!(!peer.session.wants_input());
    bound
}

// Try later: in words for those who know `code=temp_fail` or `temp`; by the end of the connection for
// Postfix, Exim and chasquid, which take every FAIL for a wrong password.

#[test]
fn dovecot_and_prosody_are_told_of_trouble() {
    for (minor, nologin) in [(2, ""), (3, ""), (2, "\tnologin"), (1, "")] {
        let mut peer = Peer::of_minor(minor);
        let b64 = b64(BOB);
        peer.sends(&format!(
            "AUTH\t1\tPLAIN\tservice=imap{nologin}\tresp={b64}"
        ));
        assert_eq!(
            peer.hears(0, &Verdict::TryLater),
            "FAIL\t1\tuser=bob@example.org\tcode=temp_fail\ttemp"
        );
        assert!(peer.session.wants_input());
    }
}

#[test]
fn postfix_is_hung_up_on_after_everybody_else_got_an_answer() {
    let mut peer = Peer::of_minor(0);
    for id in 1..=4 {
        let b64 = b64(BOB);
        peer.sends(&format!(
            "AUTH\t{id}\tPLAIN\tservice=smtp\tnologin\tresp={b64}"
        ));
    }
    assert_eq!(peer.hears(1, &Verdict::TryLater), "");
    assert!(!peer.session.wants_input(), "nothing new meanwhile");
    assert_eq!(peer.sends("CANCEL\t1"), "", "not even if it is there");
    assert_eq!(
        peer.hears(0, &Verdict::Deny),
        "FAIL\t1\tuser=bob@example.org"
    );
    assert_eq!(peer.hears(2, &Verdict::TryLater), "");
    let end = peer.hears(3, &allow("bob@example.org"));
    assert!(
        end.starts_with("OK\t4\t") && end.ends_with("|closed"),
        "{end}"
    );
    assert!(!peer.session.is_verifying());
}

#[test]
fn postfix_is_hung_up_on_at_once_where_it_asked_for_nothing_else() {
    let mut peer = Peer::of_minor(1);
    peer.sends("AUTH\t1\tPLAIN\tservice=smtp\tnologin");
    peer.sends(&format!(
        "AUTH\t2\tPLAIN\tservice=smtp\tnologin\tresp={}",
        b64(BOB)
    ));
    assert_eq!(
        peer.hears(0, &Verdict::TryLater),
        "closed",
        "an exchange is no verification"
    );
}

#[test]
fn draining_ends_with_the_time_of_what_is_waited_for() {
    let mut peer = Peer::of_minor(0);
    for id in 1..=2 {
        peer.sends(&format!(
            "AUTH\t{id}\tPLAIN\tservice=smtp\tnologin\tresp={}",
            b64(BOB)
        ));
    }
    assert_eq!(peer.hears(0, &Verdict::TryLater), "");
    peer.now += LIFETIME;
    assert_eq!(peer.expires(), "closed");
}

// Anything in any order.

#[derive(Debug, Clone)]
enum Event {
    Line(String),
    Verdict(prop::sample::Index, u8),
    Wait(u64),
}

fn any_event() -> impl Strategy<Value = Event> {
    let id = || 0_u32..4;
    let response = prop_oneof![
        Just(String::new()),
        Just("=".to_owned()),
        Just("!!".to_owned()),
        Just(b64("bob")),
        Just(b64(BOB)),
        Just(b64("a\0b\0c")),
    ];
    let line = prop_oneof![
        8 => (id(), "(PLAIN|LOGIN|X)", prop::option::of(response.clone()), any::<bool>()).prop_map(
            |(id, mechanism, response, nologin)| {
                let response = response.map_or(String::new(), |text| format!("\tresp={text}"));
                let nologin = if nologin { "\tnologin" } else { "" };
                format!("AUTH\t{id}\t{mechanism}\tservice=smtp{nologin}{response}")
            }
        ),
        6 => (id(), response).prop_map(|(id, response)| format!("CONT\t{id}\t{response}")),
        2 => id().prop_map(|id| format!("CANCEL\t{id}")),
        1 => "[A-Z]{0,4}\t?[0-9]?\t?.{0,5}",
    ];
    prop_oneof![
        4 => line.prop_map(Event::Line),
        4 => any::<(prop::sample::Index, u8)>().prop_map(|(which, what)| Event::Verdict(which, what)),
        1 => (0_u64..100).prop_map(Event::Wait),
    ]
}

proptest! {
    #[test]
    fn every_auth_gets_one_final_answer_at_most(
        minor in 0_u32..5,
        events in prop::collection::vec(any_event(), 0..60),
    ) {
        let mut peer = Peer::of_minor(minor);
        // How many AUTHs of an id may still be answered, and which AUTH a ticket belongs to.
        let mut owed = std::collections::HashMap::<String, u32>::new();
        for event in events {
            let was_open = peer.session.wants_input();
            let said = match &event {
                Event::Line(line) => {
                    let mut words = line.split('\t');
                    let (word, id) = (words.next().unwrap(), words.next().unwrap_or_default());
                    match word {
                        "AUTH" => *owed.entry(id.to_owned()).or_default() = 1,
                        // An id that nothing is known of is answered once more, as stock does.
                        "CONT" => *owed.entry(id.to_owned()).or_default() = 1,
                        "CANCEL" => *owed.entry(id.to_owned()).or_default() = 0,
                        _ => {}
                    }
                    peer.sends(line)
                }
                Event::Verdict(which, what) => {
                    if peer.asked.is_empty() {
                        continue;
                    }
                    let which = which.index(peer.asked.len());
                    let verdict = match what % 3 {
                        0 => allow("bob"),
                        1 => Verdict::Deny,
                        _ => Verdict::TryLater,
                    };
                    peer.hears(which, &verdict)
                }
                Event::Wait(seconds) => {
                    peer.now += Duration::from_secs(*seconds);
                    peer.expires()
                }
            };
            for line in said.split('|') {
                let mut words = line.split('\t');
                let (word, id) = (words.next().unwrap(), words.next().unwrap_or_default());
                if word == "OK" || word == "FAIL" {
                    let owed = owed.entry(id.to_owned()).or_default();
                    prop_assert_eq!(*owed, 1, "{} after {:?}", line, event);
                    *owed = 0;
                }
                if word == "closed" {
                    prop_assert!(!peer.session.wants_input());
                }
            }
            let verifying = peer.session.requests.values();
            let verifying = verifying.filter(|request| matches!(request.state, State::Verifying { .. }));
            prop_assert_eq!(verifying.count(), peer.session.verifying);
            prop_assert!(was_open || !matches!(event, Event::Line(_)) || said.is_empty());
        }
    }

    #[test]
    fn a_verdict_reaches_its_own_request_only(
        events in prop::collection::vec(any_event(), 0..60),
    ) {
        // Every attempt has a mailbox of its own, so an answer shows whose verdict it was.
        let mut peer = Peer::of_minor(2);
        let mut count = 0;
        let mut latest = std::collections::HashMap::<u32, usize>::new();
        for event in events {
            match event {
                Event::Line(line) if line.starts_with("AUTH") => {
                    let id = u32::try_from(count % 3 + 1).unwrap();
                    if !peer.session.live(RequestId::new(id).unwrap(), peer.now) {
                        peer.sends(&plain(id, &format!("\0user{count}\0pw")));
                        latest.insert(id, count);
                        count += 1;
                    }
                }
                Event::Line(_) => {
                    peer.sends("CANCEL\t2");
                }
                Event::Verdict(which, _) if !peer.asked.is_empty() => {
                    let which = which.index(peer.asked.len());
                    let said = peer.hears(which, &Verdict::Deny);
                    if !said.is_empty() {
                        let id = peer.asked[which].0.id.get();
                        prop_assert_eq!(latest[&id], which);
                        prop_assert_eq!(said, format!("FAIL\t{id}\tuser=user{which}"));
                    }
                }
                Event::Verdict(..) => {}
                Event::Wait(seconds) => {
                    peer.now += Duration::from_secs(seconds);
                    peer.expires();
                }
            }
        }
    }

    #[test]
    fn no_lines_panic(lines: Vec<Vec<u8>>) {
        let mut peer = Peer::of_minor(2);
        for line in lines {
            let mut actions = Vec::new();
            peer.session.on_line(&Secret::new(line), peer.now, &mut actions);
        }
    }
}
