//! Direct mode whole: login connections, the table of what they let in, and the connections of mail processes.
//!
//! Held against the plainest table there is, a list: each log-in is given out once at most, to whoever names its
//! process, its id and the cookie of its connection, while it is younger than 150 s and its connection lives.
//!
//! Three login connections, two of them with the same process id, and two master connections. Events: `C EVENT`
//! one of session_client.rs on login connection C (0 to 2), behind a handshake; `H C` that one hangs up, and
//! another takes its place; `R M C P ID` master connection M asks for log-in ID by the cookie of connection C and
//! the process id of connection P; `y M N`, `n M N`, `t M N` its N-th youngest question is answered: it holds,
//! no, try later.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use dovelatch::attempt::{Admitted, Allowed};
use dovelatch::model::{Fields as Own, Mechanism};
use dovelatch::query::{Answer, Begin};
use dovelatch::secret::Secret;
use dovelatch::session::auth_client;
use dovelatch::session::auth_master::{Kind, Peer};
use dovelatch::session::finished::{Finished, Table};
use dovelatch::wire::auth_master::{Cookie, PickUp, Reply};

use super::session_client::{self, Change};
use super::session_master::{self, Event};
use crate::campaign::now;
use crate::random::Random;
use crate::script;
use crate::signature::Signature;
use crate::target::Target;

pub const TARGET: Target = Target {
    name: "session-direct",
    run,
    piece,
    words: &[
        b"0 > AUTH\t1\tPLAIN\tservice=imap\tresp=AGJvYgBwdw==",
        b"0 + 0",
        b"1 + 0",
        b"R 0 0 0 1",
        b"R 1 0 0 1",
        b"y 0 0",
        b"y 1 0",
        b"H 0",
        b"0 . 150000",
        b"0 . 149999",
        b"0 x",
        b"0 > CANCEL\t1",
        b"n 0 0",
        b"t 0 0",
    ],
    longest: 2_048,
    is_script: true,
    short: 8_000,
};

/// As the kernel says it of both master connections' peers, in turn.
const MAIL_PROCESSES: [u32; 2] = [1_601, 1_602];

/// CPID of each login connection: no identity.
const LOGIN_PROCESSES: [u32; 3] = [77, 77, 78];

/// A log-in that waits for its mail process.
struct Waiting {
    connection: u32,
    client_pid: u32,
    auth_id: u32,
    begun: Instant,
    allowed: Allowed,
}

struct World {
    now: Instant,
    logins: Vec<(u32, session_client::Connection)>,
    masters: Vec<(session_master::Connection, Vec<Option<Admitted>>)>,
    table: Table,
    waiting: Vec<Waiting>,
    /// Devices that a mail process was told of.
    begun: HashSet<Vec<u8>>,
    /// Numbers of connections so far.
    connections: u32,
}

fn run(input: &[u8], seen: &mut Signature) {
    let mut world = World::new(seen);
    for (sign, rest) in script::events(input) {
        world.event(sign, rest, seen);
    }
    seen.count("waiting", world.waiting.len());
    seen.count("begun", world.begun.len());
}

impl World {
    fn new(seen: &mut Signature) -> Self {
        let peer = |pid| Peer {
            pid: Some(pid),
            inner_pid: None,
            only_uid: None,
        };
        let mut world = Self {
            now: now(),
            logins: Vec::new(),
            masters: Vec::new(),
            table: Table::default(),
            waiting: Vec::new(),
            begun: HashSet::new(),
            connections: 0,
        };
        for place in 0..LOGIN_PROCESSES.len() {
            let connection = world.connect(place, seen);
            world.logins.push(connection);
        }
        for pid in MAIL_PROCESSES {
            let settings = session_master::settings(Kind::Master, false, false);
            let mut master = session_master::Connection::new(settings, peer(pid));
            master.line(b"VERSION\t1\t1", seen);
            world.masters.push((master, Vec::new()));
        }
        world
    }

    fn connect(&mut self, place: usize, seen: &mut Signature) -> (u32, session_client::Connection) {
        self.connections += 1;
        let settings = auth_client::Settings {
            kind: auth_client::Kind::Login,
            mechanisms: Mechanism::ALL.to_vec(),
            default_domain: None,
            separator: None,
        };
        let number = usize::try_from(self.connections).unwrap_or_default();
        let mut connection = session_client::Connection::new(settings, number);
        let pid = LOGIN_PROCESSES[place];
        for line in [
            b"VERSION\t1\t2".to_vec(),
            format!("CPID\t{pid}").into_bytes(),
        ] {
            connection.event(b'>', &line, &mut self.now, seen);
        }
        (self.connections, connection)
    }

    fn event(&mut self, sign: u8, rest: &[u8], seen: &mut Signature) {
        match sign {
            b'0' | b'1' | b'2' if rest.first().is_some_and(|sign| b">rcq+-?.x".contains(sign)) => {
                self.log_in(usize::from(sign - b'0'), rest, seen);
            }
            b'H' => {
                let place = script::number::<usize>(rest).0 % self.logins.len();
                let gone = self.logins[place].0;
                self.table.forget_all(gone.into());
                self.waiting.retain(|waiting| waiting.connection != gone);
                self.logins[place] = self.connect(place, seen);
                seen.step("hung up");
            }
            b'R' => {
                let (master, rest) = script::number::<usize>(rest);
                let (cookie_of, rest) = script::number::<usize>(rest);
                let (pid_of, rest) = script::number::<usize>(rest);
                let id = script::number::<u32>(rest).0;
                self.request(master % 2, cookie_of % 3, pid_of % 3, id, seen);
            }
            b'y' | b'n' | b't' => {
                let (master, rest) = script::number::<usize>(rest);
                self.answer(sign, master % 2, script::number::<usize>(rest).0, seen);
            }
            _ => {}
        }
    }

    fn log_in(&mut self, place: usize, rest: &[u8], seen: &mut Signature) {
        for (sign, rest) in script::events(rest).take(1) {
            let (number, connection) = &mut self.logins[place];
            let number = *number;
            let changes = connection.event(sign, rest, &mut self.now, seen);
            let closed = connection.model.is_closed();
            for change in changes {
                self.change(number, change);
            }
            // Whoever is hung up on is gone.
            if closed {
                self.event(b'H', format!("{place}").as_bytes(), seen);
            }
        }
    }

    fn change(&mut self, connection: u32, change: Change) {
        match change {
            Change::Keep {
                id,
                begun,
                admitted,
            } => {
                self.waiting
                    .retain(|other| (other.connection, other.auth_id) != (connection, id));
                let client_pid = self.pid_of(connection);
                self.waiting.push(Waiting {
                    connection,
                    client_pid,
                    auth_id: id,
                    begun,
                    allowed: admitted.allowed.clone(),
                });
                let finished = Finished {
                    client_pid,
                    auth_id: id,
                    connection: connection.into(),
                    begun,
                    admitted: *admitted,
                };
                self.table.keep(&cookie(connection), finished, self.now);
            }
            Change::Forget(id) => {
                self.waiting
                    .retain(|other| (other.connection, other.auth_id) != (connection, id));
                self.table.forget(connection.into(), id);
            }
        }
    }

    fn pid_of(&self, connection: u32) -> u32 {
        let mut logins = self.logins.iter().zip(LOGIN_PROCESSES);
        logins
            .find(|((number, _), _)| *number == connection)
            .map_or(0, |(_, pid)| pid)
    }

    fn request(
        &mut self,
        place: usize,
        cookie_of: usize,
        pid_of: usize,
        id: u32,
        seen: &mut Signature,
    ) {
        let cookie =
            String::from_utf8_lossy(cookie(self.logins[cookie_of].0).0.expose()).into_owned();
        let (pid, mail) = (LOGIN_PROCESSES[pid_of], MAIL_PROCESSES[place]);
        let line = format!("REQUEST\t{id}\t{pid}\t{id}\t{cookie}\tsession_pid={mail}");
        let events = self.masters[place].0.line(line.as_bytes(), seen);
        for event in events {
            match event {
                Event::PickUp(number, by) => self.pick_up(place, number, &by, seen),
                Event::Sent(reply) => assert!(matches!(reply, Reply::Fail { .. }), "{reply:?}"),
            }
        }
    }

    fn pick_up(&mut self, place: usize, number: usize, by: &PickUp, seen: &mut Signature) {
        let found = self.table.take(by, self.now);
        let is_meant = |waiting: &Waiting| {
            (waiting.client_pid, waiting.auth_id) == (by.client_pid, by.auth_id)
                && cookie(waiting.connection) == by.cookie
                && self.now - waiting.begun < Duration::from_secs(150)
        };
        let expected = self
            .waiting
            .iter()
            .position(is_meant)
            .map(|at| self.waiting.remove(at).allowed);
        seen.step(("taken", found.is_some()));
        assert_eq!(
            found.as_ref().map(|found| &found.allowed),
            expected.as_ref(),
            "given out"
        );
        assert!(
            found
                .as_ref()
                .is_none_or(|found| found.attempt.secret.is_empty()),
            "with a password"
        );
        let kept = &mut self.masters[place].1;
        kept.resize_with(number + 1, || None);
        kept[number] = found;
        if kept[number].is_none() {
            self.replies(place, number, Answer::No, None, seen);
        }
    }

    fn answer(&mut self, sign: u8, place: usize, from_the_end: usize, seen: &mut Signature) {
        let kept = &mut self.masters[place].1;
        let Some(number) = kept.len().checked_sub(from_the_end.saturating_add(1)) else {
            return;
        };
        // The verifier answers once.
        let Some(admitted) = kept[number].take() else {
            return;
        };
        let allowed = admitted.allowed;
        let answer = match sign {
            b'y' => Answer::Begins(Box::new(Begin {
                allowed: allowed.clone(),
                mechanism: admitted.attempt.mechanism,
                fields: Own::default(),
                token: Secret::new(vec![7; 20]),
            })),
            b'n' => Answer::No,
            _ => Answer::TryLater,
        };
        self.replies(place, number, answer, Some(&allowed), seen);
    }

    fn replies(
        &mut self,
        place: usize,
        number: usize,
        answer: Answer,
        allowed: Option<&Allowed>,
        seen: &mut Signature,
    ) {
        let begins = matches!(answer, Answer::Begins(_));
        for event in self.masters[place].0.answer(number, answer, seen) {
            match event {
                Event::Sent(Reply::User {
                    mailbox, fields, ..
                }) => {
                    let allowed = allowed.expect("nobody was let in");
                    assert!(
                        begins && mailbox == allowed.mailbox.as_str(),
                        "another mailbox"
                    );
                    let device = fields.get("user_device").expect("a device").to_vec();
                    assert_eq!(device, allowed.device.as_str().as_bytes(), "another device");
                    assert!(self.begun.insert(device), "a log-in is given out twice");
                }
                Event::Sent(reply) => {
                    assert!(!begins && matches!(reply, Reply::Fail { .. }), "{reply:?}")
                }
                Event::PickUp(..) => panic!("an answer asks for a log-in"),
            }
        }
    }
}

/// Of a login connection: its number, in hexadecimal digits.
fn cookie(connection: u32) -> Cookie {
    Cookie::from_wire(format!("{connection:032x}").as_bytes()).expect("a cookie")
}

fn piece(random: &mut Random) -> Vec<u8> {
    let place = random.below(3);
    let (id, number) = (1 + random.below(3), random.below(3));
    let piece = match random.below(20) {
        0..=3 => format!("{place} > AUTH\t{id}\tPLAIN\tservice=imap\tresp=AGJvYgBwdw=="),
        4 => format!("{place} > {}", session_client::log_in(random, id)),
        5..=8 => format!("{place} + {number}"),
        9 => format!("{place} {} {number}", random.pick(&["-", "?"])),
        10 => format!("{place} . {}", random.pick(&[1, 75_000, 149_999, 150_000])),
        11 => format!(
            "{place} {}",
            random.pick(&["x", "> CANCEL\t1", "> CANCEL\t2", "> FOO"])
        ),
        12..=15 => {
            let pid_of = if random.one_in(4) {
                random.below(3)
            } else {
                place
            };
            format!("R {} {place} {pid_of} {id}", random.below(2))
        }
        16 if random.one_in(3) => format!("H {place}"),
        17 => format!("{} {} {number}", random.pick(&["n", "t"]), random.below(2)),
        _ => format!("y {} {number}", random.below(2)),
    };
    piece.into_bytes()
}
