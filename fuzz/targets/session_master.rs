//! One auth-master connection as a sequence of events, held against [`Model`].
//!
//! The first line is `k` and settings: `userdb` for a userdb socket, `domain`, `stranger` for a peer that may see
//! its own uid only, `unknown` for one of which the kernel knows no process, `inner` for one in a PID namespace,
//! `long` for a template as long as there may be. Events: `> LINE` from the peer; `h N`, `b N`, `e N`, `0 N`,
//! `t N` an answer to the N-th youngest question (a home, a session that begins, no more names, no, trouble);
//! `n N TEXT` names, the words of the text; `* N` so many questions at once.

use std::sync::Arc;

use dovelatch::attempt::Allowed;
use dovelatch::model::{Fields as Own, Mailbox, Mechanism, SecretId, Userdb};
use dovelatch::query::{Answer, Begin, Query};
use dovelatch::secret::Secret;
use dovelatch::session::auth_master::{Action, Kind, MAX_ASKING, Peer, Session, Settings, Ticket};
use dovelatch::wire::auth_master::{MAX_REPLY, PickUp, Reply};

use crate::models::auth_master::{Model, Said};
use crate::random::Random;
use crate::script;
use crate::signature::Signature;
use crate::target::Target;

pub const TARGET: Target = Target {
    name: "session-master",
    run,
    piece,
    words: &[
        b"> VERSION\t1\t1",
        b"> USER\t",
        b"> PASS\t",
        b"> LIST\t",
        b"> REQUEST\t",
        b"\tservice=lmtp",
        b"\tuser=",
        b"\tsession_pid=1601",
        b"\trequest_auth_token",
        b"*",
        b"?",
        b"h 0",
        b"b 0",
        b"0 0",
        b"t 0",
        b"e 0",
        b"n 0 bob",
        b"k userdb",
        b"k stranger",
        b"k unknown domain",
        b"k long inner",
    ],
    longest: 2_048,
    is_script: true,
    short: 15_000,
};

fn run(input: &[u8], seen: &mut Signature) {
    let first = input
        .split(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default();
    let words: Vec<&[u8]> = first
        .strip_prefix(b"k")
        .unwrap_or_default()
        .split(|&byte| byte == b' ')
        .collect();
    let has = |word: &str| words.contains(&word.as_bytes());
    let peer = Peer {
        pid: (!has("unknown")).then_some(1_601),
        inner_pid: has("inner").then_some(16),
        only_uid: has("stranger").then_some(5_001),
    };
    let kind = if has("userdb") {
        Kind::Userdb
    } else {
        Kind::Master
    };
    let mut connection = Connection::new(settings(kind, has("domain"), has("long")), peer);
    for (sign, rest) in script::events(input) {
        connection.event(sign, rest, seen);
    }
}

pub fn settings(kind: Kind, has_domain: bool, is_long: bool) -> Settings {
    let mut fields = Own::default();
    if is_long {
        // Two of 1,024 bytes, and one that fills it up.
        for (name, length) in [("a", 1_024), ("b", 1_024), ("c", 500)] {
            let value = "v".repeat(length).parse().expect("a value");
            fields
                .set(name.parse().expect("a name"), value)
                .expect("room for it");
        }
    }
    Settings {
        kind,
        userdb: Userdb {
            uid: 5_000,
            gid: 5_000,
            home: Some("/var/vmail/%{domain}/%{local}".parse().expect("a template")),
            fields,
        },
        default_domain: has_domain.then(|| "example.org".parse().expect("a domain")),
    }
}

/// A connection and its model, side by side.
pub struct Connection {
    session: Session,
    model: Model,
    /// Of each question.
    tickets: Vec<Ticket>,
    /// About which mailbox it is, where it is about one.
    about: Vec<Option<Mailbox>>,
}

/// What happened that others have to know.
pub enum Event {
    /// The question of this number asks for a log-in.
    PickUp(usize, Box<PickUp>),
    Sent(Reply),
}

impl Connection {
    pub fn new(settings: Settings, peer: Peer) -> Self {
        Self {
            session: Session::new(Arc::new(settings.clone()), peer),
            model: Model::new(settings, peer),
            tickets: Vec::new(),
            about: Vec::new(),
        }
    }

    fn event(&mut self, sign: u8, rest: &[u8], seen: &mut Signature) {
        if sign == b'>' {
            self.line(rest, seen);
        } else if sign == b'*' {
            for _ in 0..script::number::<usize>(rest).0.min(MAX_ASKING + 100) {
                self.line(b"USER\t7\tbob@example.org\tservice=lmtp", seen);
            }
        } else {
            let (from_the_end, text) = script::number::<usize>(rest);
            if let Some(number) = self
                .tickets
                .len()
                .checked_sub(from_the_end.saturating_add(1))
            {
                if let Some(answer) = self.answer_of(sign, number, text) {
                    self.answer(number, answer, seen);
                }
            }
        }
    }

    fn answer_of(&self, sign: u8, number: usize, text: &[u8]) -> Option<Answer> {
        let bob = || "bob@example.org".parse().expect("a mailbox");
        let mailbox = self.about[number].clone().unwrap_or_else(bob);
        let own = |text: &[u8]| -> Own {
            let fields = std::str::from_utf8(text)
                .ok()
                .and_then(|text| text.replace(' ', "\n").parse().ok());
            fields.unwrap_or_default()
        };
        Some(match sign {
            b'h' => Answer::Home(mailbox, own(text)),
            b'b' => Answer::Begins(Box::new(Begin {
                allowed: Allowed {
                    mailbox,
                    device: "dp-kqtmwhzrnb".parse().expect("an id"),
                    secret: SecretId(1),
                    person: text.ends_with(b"!").then(|| {
                        (
                            "ana@example.org".parse().expect("a person"),
                            "ac-kqtmwhzrnb".parse().expect("an id"),
                        )
                    }),
                },
                mechanism: Mechanism::Plain,
                fields: own(text),
                token: Secret::new(vec![0xa5; 20]),
            })),
            b'n' => {
                let words = std::str::from_utf8(text).unwrap_or_default().split(' ');
                Answer::Names(words.filter_map(|word| word.parse().ok()).collect())
            }
            b'e' => Answer::Names(Vec::new()),
            b'0' => Answer::No,
            b't' => Answer::TryLater,
            _ => return None,
        })
    }

    pub fn line(&mut self, line: &[u8], seen: &mut Signature) -> Vec<Event> {
        // The connection reads nothing meanwhile.
        if !self.session.wants_input() {
            return Vec::new();
        }
        let mut actions = Vec::new();
        self.session
            .on_line(&Secret::new(line.to_vec()), &mut actions);
        let expected = self.model.line(line);
        self.compare(actions, expected, "line", seen)
    }

    pub fn answer(&mut self, number: usize, answer: Answer, seen: &mut Signature) -> Vec<Event> {
        let is_open = self.model.is_open(number);
        let mut actions = Vec::new();
        self.session
            .on_answer(self.tickets[number], answer.clone(), &mut actions);
        assert_eq!(
            actions.is_empty(),
            !is_open,
            "an answer for each question, and no other"
        );
        let expected = self.model.answer(number, &answer);
        seen.step(std::mem::discriminant(&answer));
        self.compare(actions, expected, "answer", seen)
    }

    fn compare(
        &mut self,
        actions: Vec<Action>,
        expected: Vec<Said>,
        event: &str,
        seen: &mut Signature,
    ) -> Vec<Event> {
        assert_eq!(
            actions.len(),
            expected.len(),
            "{actions:?}, not {expected:?}"
        );
        seen.step((
            event,
            actions.len().min(8),
            expected.first().map(std::mem::discriminant),
        ));
        let mut events = Vec::new();
        for (action, expected) in actions.into_iter().zip(expected) {
            match (action, expected) {
                (Action::Send(reply), Said::Send(expected)) => {
                    assert_eq!(reply, expected);
                    let mut line = Vec::new();
                    reply.encode(&mut line);
                    assert!(line.len() <= MAX_REPLY, "{} bytes of a reply", line.len());
                    let (end, line) = line.split_last().expect("a line");
                    assert!(
                        *end == b'\n' && !line.iter().any(|byte| b"\0\r\n".contains(byte)),
                        "{reply:?}"
                    );
                    assert_eq!(
                        Reply::parse(line).as_ref(),
                        Ok(&reply),
                        "it survives the wire"
                    );
                    seen.step((
                        event,
                        std::mem::discriminant(&reply),
                        line.len().checked_ilog2(),
                    ));
                    events.push(Event::Sent(reply));
                }
                (Action::Ask(ticket, Query::Home(mailbox)), Said::AskHome(id, expected)) => {
                    assert_eq!((ticket.id.0, &mailbox), (id, &expected));
                    self.asks(ticket, Some(mailbox));
                }
                (Action::Ask(ticket, Query::Names { after }), Said::AskNames(id, expected)) => {
                    assert_eq!((ticket.id.0, after), (id, expected));
                    self.asks(ticket, None);
                }
                (Action::PickUp(ticket, by), Said::PickUp(id)) => {
                    assert_eq!((ticket.id.0, by.id.0), (id, id));
                    events.push(Event::PickUp(self.tickets.len(), by));
                    self.asks(ticket, None);
                }
                (Action::Warn(_), Said::Warn) | (Action::Close(_), Said::Close) => {}
                (action, expected) => panic!("{action:?}, not {expected:?}"),
            }
        }
        assert_eq!(
            self.session.wants_input(),
            self.model.wants_input(),
            "whether it reads on"
        );
        assert_eq!(
            self.session.is_asking(),
            self.model.is_asking(),
            "whether an answer is awaited"
        );
        events
    }

    fn asks(&mut self, ticket: Ticket, about: Option<Mailbox>) {
        assert!(
            self.tickets.len() > 64 || !self.tickets.contains(&ticket),
            "a ticket twice"
        );
        self.tickets.push(ticket);
        self.about.push(about);
    }
}

fn piece(random: &mut Random) -> Vec<u8> {
    let (id, number) = (random.below(4), random.below(4));
    let name = random.pick(&[
        "bob",
        "Bob@Example.org",
        "ana@example.org",
        "../..@x",
        "\u{1}n",
        "",
        "b\u{85}",
    ]);
    let mask = random.pick(&[
        "*",
        "b*",
        "?ob*",
        "*@example.org",
        "",
        "**b**",
        "*a*a*",
        "nobody",
    ]);
    let pid = random.pick(&[
        "\tsession_pid=1601",
        "\tsession_pid=16",
        "",
        "\tsession_pid=1",
        "\tsession_pid=x",
    ]);
    let own = random.pick(&[
        "",
        "uid=5001",
        "uid=5001 home=/srv/x",
        "quota_rule=*:storage=1G",
        "!",
    ]);
    let piece = match random.below(24) {
        0 | 1 => "> VERSION\t1\t1".to_owned(),
        2 => format!(
            "k {}\n> VERSION\t1\t1",
            random.pick(&["userdb", "stranger", "unknown", "inner", "domain", "long"])
        ),
        3..=6 => format!("> USER\t{id}\t{name}\tservice=lmtp"),
        7 => format!("> PASS\t{id}\t{name}\tservice=doveadm"),
        8 | 9 => format!("> LIST\t{id}\tuser={mask}\tservice=doveadm"),
        10 | 11 => {
            let cookie = "00112233445566778899aabbccddeeff";
            format!("> REQUEST\t{id}\t77\t1\t{cookie}{pid}\trequest_auth_token")
        }
        12 => format!("> CACHE-FLUSH\t{id}\tbob"),
        13 | 14 => format!("h {number} {own}"),
        15 | 16 => format!("b {number} {own}"),
        17 | 18 => format!("n {number} ana@example.org bob bob@example.org banana@x"),
        19 => format!("e {number}"),
        20 => format!("0 {number}"),
        21 => format!("t {number}"),
        22 if random.one_in(24) => format!("* {}", random.pick(&[1_023, 1_024, 1_100])),
        _ => format!(
            "> {}",
            random.pick(&[
                "USER\t1\tbob",
                "CPID\t1",
                "",
                "REQUEST\t5\t1\t1\tzz",
                "VERSION\t2\t0"
            ])
        ),
    };
    piece.into_bytes()
}
