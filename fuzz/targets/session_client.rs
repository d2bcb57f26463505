//! One auth-client connection as a sequence of events, held against [`Model`].
//!
//! The first line is `k` and settings: `login` for a login socket, `domain`, `separator`, `noplain`, `nologin`.
//! Events: `> LINE` from the peer; `r ID TEXT`, `c ID TEXT`, `q ID TEXT` what a remote user typed, as initial
//! response, as response, as mechanism; `+ N`, `- N`, `? N` the verdict allow, deny, try later for the N-th
//! youngest verification, answered or not; `. MS` time passes; `x` what is over is forgotten; `* N` so many
//! log-ins at once; `o N` so many that wait for their client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dovelatch::attempt::{Admitted, Allowed, Attempt, Verdict};
use dovelatch::model::{ALPHABET, Mechanism, SecretId};
use dovelatch::sasl::base64;
use dovelatch::secret::Secret;
use dovelatch::session::auth_client::{Action, Kind, MAX_OPEN, Session, Settings, Ticket};
use dovelatch::wire::auth_client::{Command, Reply};

use crate::campaign::now;
use crate::models::auth_client::{Model, Said, Words, steers};
use crate::random::Random;
use crate::script;
use crate::signature::Signature;
use crate::target::Target;

pub const TARGET: Target = Target {
    name: "session-client",
    run,
    piece,
    words: &[
        b"> VERSION\t1\t2\n> CPID\t77",
        b"> AUTH\t",
        b"> CONT\t",
        b"> CANCEL\t",
        b"\tservice=imap",
        b"\tnologin",
        b"\tresp=",
        b"+ 0",
        b"- 0",
        b"? 0",
        b". 150000",
        b". 149999",
        b"x",
        b"k login",
        b"k login separator domain",
        b"PLAIN",
        b"LOGIN",
        b"r 1 ",
        b"c 1 ",
        b"q 1 ",
    ],
    longest: 2_048,
    is_script: true,
    short: 15_000,
};

/// Ids of `* N` and `o N`: twice as many as may be open, and some. At the bound each costs a look at all of them.
const FIRST_ID: u32 = 1_000;
const LAST_ID: u32 = 3_200;

/// Longest that Radicale reads at once.
const LONGEST_REPLY: usize = 1_024;

/// What an OK or a FAIL may hold. Others have teeth: `nologin`, `proxy`, `host`, `pass`, …
const FIELDS: [&str; 9] = [
    "user",
    "user_device",
    "event_device",
    "auth_user",
    "user_access",
    "original_user",
    "code",
    "temp",
    "reason",
];

fn run(input: &[u8], seen: &mut Signature) {
    let settings = settings(input);
    let mut connection = Connection::new(settings, 0);
    let mut now = now();
    for (sign, rest) in script::events(input) {
        connection.event(sign, rest, &mut now, seen);
    }
}

pub fn settings(input: &[u8]) -> Settings {
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
    let mut mechanisms = Mechanism::ALL.to_vec();
    mechanisms.retain(|mechanism| match mechanism {
        Mechanism::Plain => !has("noplain"),
        Mechanism::Login => !has("nologin"),
    });
    Settings {
        kind: if has("login") {
            Kind::Login
        } else {
            Kind::Client
        },
        mechanisms,
        default_domain: has("domain").then(|| "example.org".parse().expect("a domain")),
        separator: has("separator").then(|| "*".parse().expect("a separator")),
    }
}

/// A connection and its model, side by side.
pub struct Connection {
    session: Session,
    pub model: Model,
    /// Of each verification.
    tickets: Vec<Ticket>,
    attempts: Vec<Attempt>,
    /// Which connection it is, where there are several: every device is let in on one only.
    number: usize,
    /// The id that `* N` and `o N` begin with.
    next_id: u32,
}

/// What a login connection has for the table of finished requests.
pub enum Change {
    Keep {
        id: u32,
        begun: Instant,
        admitted: Box<Admitted>,
    },
    Forget(u32),
}

impl Connection {
    pub fn new(settings: Settings, number: usize) -> Self {
        Self {
            session: Session::new(Arc::new(settings.clone())),
            model: Model::new(settings),
            tickets: Vec::new(),
            attempts: Vec::new(),
            number,
            next_id: FIRST_ID,
        }
    }

    /// Does one event with both and compares.
    pub fn event(
        &mut self,
        sign: u8,
        rest: &[u8],
        now: &mut Instant,
        seen: &mut Signature,
    ) -> Vec<Change> {
        match sign {
            b'>' => self.line(rest, *now, seen),
            b'r' | b'c' | b'q' => self.remote(sign, rest, *now, seen),
            b'+' | b'-' | b'?' => self.verdict(sign, script::number(rest).0, seen),
            b'.' => {
                *now += Duration::from_millis(script::number::<u64>(rest).0.min(1_000_000));
                Vec::new()
            }
            b'x' => {
                let mut actions = Vec::new();
                self.session.expire(*now, &mut actions);
                let expected = self.model.expire(*now);
                self.compare(actions, &expected, sign, seen)
            }
            b'*' | b'o' => {
                let response = if sign == b'*' {
                    "\tresp=AGJvYgBwdw=="
                } else {
                    ""
                };
                let mut changes = Vec::new();
                for _ in 0..script::number::<usize>(rest).0 {
                    if self.next_id == LAST_ID {
                        break;
                    }
                    self.next_id += 1;
                    let line = format!("AUTH\t{}\tPLAIN\tservice=imap{response}", self.next_id);
                    changes.extend(self.line(line.as_bytes(), *now, seen));
                }
                changes
            }
            _ => Vec::new(),
        }
    }

    fn line(&mut self, line: &[u8], now: Instant, seen: &mut Signature) -> Vec<Change> {
        // The connection reads nothing meanwhile.
        if !self.session.wants_input() {
            return Vec::new();
        }
        let mut actions = Vec::new();
        self.session
            .on_line(&Secret::new(line.to_vec()), now, &mut actions);
        let expected = self.model.line(line, now);
        self.compare(actions, &expected, b'>', seen)
    }

    /// Text that a remote user chose, in a line that a sound client made around it: never the end of a connection.
    fn remote(&mut self, sign: u8, rest: &[u8], now: Instant, seen: &mut Signature) -> Vec<Change> {
        let (id, text) = script::number::<u32>(rest);
        let mut text = text.to_vec();
        text.retain(|byte| !b"\0\t\r\n".contains(byte));
        let line = match sign {
            b'r' => [
                format!("AUTH\t{id}\tPLAIN\tservice=imap\tresp=").as_bytes(),
                &text,
            ]
            .concat(),
            b'c' => [format!("CONT\t{id}\t").as_bytes(), &text].concat(),
            _ => [
                format!("AUTH\t{id}\t").as_bytes(),
                &text,
                b"\tservice=smtp\tnologin",
            ]
            .concat(),
        };
        let ours = id != 0 && self.model.is_open();
        assert!(
            !ours || Command::parse(&line).is_ok(),
            "a remote user made a line that is none"
        );
        self.line(&line, now, seen)
    }

    fn verdict(&mut self, sign: u8, from_the_end: usize, seen: &mut Signature) -> Vec<Change> {
        let Some(number) = self
            .tickets
            .len()
            .checked_sub(from_the_end.saturating_add(1))
        else {
            return Vec::new();
        };
        let verdict = match sign {
            b'+' => Verdict::Allow(self.allowed(number)),
            b'-' => Verdict::Deny,
            _ => Verdict::TryLater,
        };
        let mut actions = Vec::new();
        self.session
            .on_verdict(self.tickets[number], &verdict, &mut actions);
        let expected = self.model.verdict(number, &verdict);
        self.compare(actions, &expected, sign, seen)
    }

    /// Whom this verification lets in: told apart from all others.
    pub fn allowed(&self, number: usize) -> Allowed {
        let attempt = &self.attempts[number];
        let number = self.number * 1_000_000 + number;
        let person = attempt.person.clone().map(|person| {
            (
                person,
                format!("ac-{}", letters(number)).parse().expect("an id"),
            )
        });
        Allowed {
            mailbox: format!("m{number}@example.org").parse().expect("a mailbox"),
            device: format!("dp-{}", letters(number)).parse().expect("an id"),
            secret: SecretId(1),
            person,
        }
    }

    fn compare(
        &mut self,
        actions: Vec<Action>,
        expected: &[Said],
        sign: u8,
        seen: &mut Signature,
    ) -> Vec<Change> {
        seen.step((
            sign,
            actions.len(),
            expected.first().map(std::mem::discriminant),
        ));
        assert_eq!(
            actions.len(),
            expected.len(),
            "{actions:?}, not {expected:?}"
        );
        let mut changes = Vec::new();
        for (action, expected) in actions.into_iter().zip(expected) {
            seen.step((
                sign,
                std::mem::discriminant(expected),
                self.model.verifying().checked_ilog2(),
            ));
            changes.extend(self.same(action, expected));
        }
        assert_eq!(
            self.session.wants_input(),
            self.model.wants_input(),
            "whether it reads on"
        );
        let verifying = self.model.verifying();
        assert_eq!(
            self.session.is_verifying(),
            verifying > 0,
            "whether a verdict is awaited"
        );
        assert!(verifying <= MAX_OPEN, "more in flight than allowed");
        changes
    }

    fn same(&mut self, action: Action, expected: &Said) -> Option<Change> {
        match (action, expected) {
            (Action::Send(reply), expected) => self.reply(&reply, expected),
            (Action::Verify(ticket, attempt), Said::Verify(id, number)) => {
                assert_eq!((ticket.id.get(), *number), (*id, self.tickets.len()));
                assert!(
                    self.tickets.len() > 64 || !self.tickets.contains(&ticket),
                    "a ticket twice"
                );
                self.model.check(*number, &attempt);
                self.tickets.push(ticket);
                self.attempts.push(*attempt);
            }
            (Action::Refuse { reply, refusal }, Said::Refuse(expected, reason)) => {
                assert_eq!(refusal.reason, *reason, "for the log");
                assert_eq!(
                    reply.is_some(),
                    expected.is_some(),
                    "whether it is answered"
                );
                if let (Some(reply), Some((id, words))) = (reply, expected) {
                    self.reply(&reply, &Said::Fail(*id, *words));
                }
            }
            (
                Action::Finish {
                    id,
                    client_pid,
                    begun,
                    admitted,
                },
                Said::Finish(expected, number),
            ) => {
                let asked = &self.model.asked[*number];
                assert_eq!(
                    (id.get(), client_pid, begun),
                    (*expected, self.model.client_pid, asked.begun)
                );
                assert_eq!(
                    admitted.allowed,
                    self.allowed(*number),
                    "whom the verdict let in"
                );
                assert!(admitted.attempt.secret.is_empty(), "a password is kept");
                assert_eq!(admitted.attempt.claimed, self.attempts[*number].claimed);
                let id = id.get();
                return Some(Change::Keep {
                    id,
                    begun,
                    admitted,
                });
            }
            (Action::Forget(id), Said::Forget(expected)) => {
                assert_eq!(id.get(), *expected);
                return Some(Change::Forget(id.get()));
            }
            (Action::Close(_), Said::Close) => {}
            (action, expected) => panic!("{action:?}, not {expected:?}"),
        }
        None
    }

    fn reply(&self, reply: &Reply, expected: &Said) {
        let mut line = Vec::new();
        reply.encode(&mut line);
        assert!(
            line.len() < LONGEST_REPLY,
            "{} bytes of a reply",
            line.len()
        );
        let (end, line) = line.split_last().expect("a line");
        assert!(
            *end == b'\n' && !line.iter().any(|byte| b"\0\r\n".contains(byte)),
            "{reply:?}"
        );
        assert_eq!(
            Reply::parse(line).as_ref(),
            Ok(reply),
            "it survives the wire"
        );
        let mut keys = line.split(|&byte| byte == b'\t').skip(2).map(|cell| {
            let key = cell.split(|&byte| byte == b'=').next().unwrap_or_default();
            String::from_utf8_lossy(key).into_owned()
        });
        let is_known = |key: String| FIELDS.contains(&key.as_str());
        match (reply, expected) {
            (Reply::Continue { id, challenge }, Said::Challenge(expected, text)) => {
                assert_eq!(
                    (id.get(), challenge.as_str()),
                    (*expected, base64::encode_str(text).as_str())
                );
            }
            (Reply::Cancelled { id }, Said::Cancelled(expected)) => assert_eq!(id.get(), *expected),
            (Reply::Ok { id, fields }, Said::Ok(expected, number)) => {
                let allowed = self.allowed(*number);
                assert_eq!(id.get(), *expected);
                assert_eq!(
                    fields.get("user"),
                    Some(allowed.mailbox.as_str().as_bytes()),
                    "another's"
                );
                assert_eq!(
                    fields.get("user_device"),
                    Some(allowed.device.as_str().as_bytes()),
                    "another's"
                );
                let person = allowed
                    .person
                    .as_ref()
                    .map(|(person, _)| person.as_str().as_bytes());
                assert_eq!(fields.get("auth_user"), person);
                let typed = &self.model.asked[*number].authentication;
                let original = fields.get("original_user");
                assert!(
                    original.is_none_or(|original| typed.starts_with(original)),
                    "another's name"
                );
                assert!(keys.all(is_known), "{reply:?}");
            }
            (Reply::Fail { id, fields }, Said::Fail(expected, words)) => {
                assert_eq!(id.get(), *expected);
                let said = (fields.get("code"), fields.get("temp"), fields.get("reason"));
                let expected = match words {
                    Words::Nothing => (None, None, None),
                    Words::TryLater => (Some(&b"temp_fail"[..]), Some(&b""[..]), None),
                    Words::NoBase64(why) => {
                        (Some(&b"invalid_base64"[..]), None, Some(why.as_bytes()))
                    }
                    Words::Why(why) => (None, None, Some(why.as_bytes())),
                };
                assert_eq!(said, expected, "the words of {reply:?}");
                let user = fields.get("user").unwrap_or_default();
                assert!(!steers(user) && user.len() <= 254, "{reply:?}");
                assert!(keys.all(is_known), "{reply:?}");
            }
            (reply, expected) => panic!("{reply:?}, not {expected:?}"),
        }
    }
}

/// A number in the letters of an id.
fn letters(mut number: usize) -> String {
    let mut letters = String::new();
    for _ in 0..10 {
        letters.push(char::from(ALPHABET[number % ALPHABET.len()]));
        number /= ALPHABET.len();
    }
    letters
}

fn encoded(text: &str) -> String {
    let text = base64::encode(&Secret::new(text.as_bytes().to_vec()));
    String::from_utf8_lossy(text.expose()).into_owned()
}

/// The line of a log-in, or of a part of one.
pub fn log_in(random: &mut Random, id: usize) -> String {
    let names = [
        "bob",
        "Bob@Example.org",
        "office*bob",
        "ana@example.org",
        "../..@x",
        "b\u{85}ob",
        "a*b*c",
        "",
    ];
    let (name, other) = (
        random.pick(&names),
        random.pick(&["", "", "", "office", "Bob", "x\ty"]),
    );
    let password = random.pick(&["pw", "kqtm-whzr-nbfa-yxcd-peug", "", "p\tw", "p\u{0}w"]);
    let end = random.pick(&[
        "",
        "",
        "",
        "\tnologin",
        "\tno-penalty\trip=192.0.2.7\tlip=::1",
    ]);
    match random.below(8) {
        0 => format!("AUTH\t{id}\tPLAIN\tservice=imap{end}"),
        1 => format!("AUTH\t{id}\tLOGIN\tservice=smtp{end}"),
        2 => format!(
            "AUTH\t{id}\tLOGIN\tservice=smtp{end}\tresp={}",
            encoded(name)
        ),
        3 => format!("CONT\t{id}\t{}", encoded(random.pick(&[name, password]))),
        4 => format!(
            "CONT\t{id}\t{}",
            encoded(&format!("{other}\0{name}\0{password}"))
        ),
        _ => format!(
            "AUTH\t{id}\tPLAIN\tservice=imap{end}\tresp={}",
            encoded(&format!("{other}\0{name}\0{password}"))
        ),
    }
}

fn piece(random: &mut Random) -> Vec<u8> {
    let id = 1 + random.below(4);
    let number = random.below(4);
    let piece = match random.below(32) {
        0 | 1 => format!("> VERSION\t1\t{}\n> CPID\t77", random.below(5)),
        2 => format!(
            "k login separator domain\n> VERSION\t1\t{}\n> CPID\t77",
            random.below(5)
        ),
        3..=12 => format!("> {}", log_in(random, id)),
        13 => format!("> CANCEL\t{id}"),
        14 => format!(
            "r {id} {}",
            random.pick(&["AGJvYgBwdw==", "=", "", "\u{1}", "AGJv", "AA==AA=="])
        ),
        15 => format!(
            "c {id} {}",
            random.pick(&["AGJvYgBwdw==", "Ym9i", "", "=", "\u{1}t"])
        ),
        16 => format!(
            "q {id} {}",
            random.pick(&["PLAIN", "login", "CRAM-MD5", "", "\u{1}", "PLAIN resp="])
        ),
        17..=20 => format!("+ {number}"),
        21..=23 => format!("- {number}"),
        24 | 25 => format!("? {number}"),
        26..=28 => format!(". {}", random.pick(&[1, 1_000, 149_999, 150_000, 75_000])),
        29 => "x".to_owned(),
        30 if random.one_in(24) => format!("* {}", random.pick(&[1_023, 1_024, 1_100])),
        31 if random.one_in(24) => format!("o {}", random.pick(&[1_023, 1_024, 1_100])),
        _ => format!(
            "> {}",
            random.pick(&[
                "CPID\t1",
                "CONT\t9\tAA==\textra",
                "",
                "AUTH\t1\tPLAIN",
                "FOO"
            ])
        ),
    };
    piece.into_bytes()
}
