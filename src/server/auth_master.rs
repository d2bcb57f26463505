//! One auth-master connection: a task between socket, session and verifier, without decisions of its own.
//!
//! As [`super::auth_client`] it reads lines while the [`Session`] wants them, has its questions answered by
//! the verifier's threads, and writes all that one wake-up brings at once. A log-in that a mail process takes
//! over comes out of the table that all login connections fill.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::net::UnixStream;
use tokio::net::unix::UCred;
use tokio::sync::Notify;
use tracing::warn;

use super::channel::Channel;
use super::conversation::{self, Conversation};
use super::listener::Owner;
use super::mailroom::Mailroom;
use super::room::Stay;
use super::runtime::Wake;
use super::{Drain, Shared, now, os};
use crate::attempt::Outcome;
use crate::query::{Answer, Query};
use crate::session::auth_master::{Action, Peer, Session, Settings, Ticket};
use crate::telemetry::Asked;
use crate::verify::pool::LANE;
use crate::wire::auth_master::{PickUp, greeting};
use crate::wire::line::TooLong;

/// Bytes for which an open question counts, with what the verifier keeps of it.
const OF_QUESTION: usize = 1024;

/// What the connections of one listener have in common.
#[derive(Debug)]
pub(super) struct Context {
    /// The listener's, for the log.
    pub(super) name: Arc<str>,
    /// Strangers are told less: whose the socket is then.
    pub(super) open_to_all: Option<Owner>,
    pub(super) settings: Arc<Settings>,
    pub(super) shared: Arc<Shared>,
}

/// Serves one connection until the peer is done, or the daemon is.
pub(super) async fn run(
    stream: UnixStream,
    mut stay: Stay,
    context: Arc<Context>,
    mut drain: Drain,
) {
    let peer = match stream.peer_cred() {
        Ok(credentials) => peer(credentials, context.open_to_all),
        Err(error) => return warn!(error = %error, "no word of the kernel on who has connected"),
    };
    let mut connection = Connection::new(stream, peer, context, now());
    conversation::run(&mut connection, &mut stay, &mut drain).await;
}

struct Connection {
    channel: Channel,
    /// Its lane in the verifier.
    number: u64,
    context: Arc<Context>,
    session: Session,
    actions: Vec<Action>,
    mailroom: Arc<Mailroom<(Ticket, Answer)>>,
    /// Asked of the verifier, answer not collected yet.
    asked: usize,
    /// The next page of a list, while the peer has too much to read.
    put_off: Option<(Ticket, Query)>,
}

impl Connection {
    fn new(stream: UnixStream, peer: Peer, context: Arc<Context>, begun: Instant) -> Self {
        Self {
            session: Session::new(Arc::clone(&context.settings), peer),
            channel: Channel::new(stream, &greeting(std::process::id()), begun),
            number: context.shared.next_connection(),
            context,
            actions: Vec::new(),
            mailroom: Arc::new(Mailroom::new()),
            asked: 0,
            put_off: None,
        }
    }

    fn collect_answers(&mut self, now: Instant) {
        let answered = self.mailroom.collect();
        for (ticket, answer) in answered {
            self.asked = self.asked.saturating_sub(1);
            self.session.on_answer(ticket, answer, &mut self.actions);
            self.perform(now);
        }
    }

    /// Does what the session asked for.
    fn perform(&mut self, now: Instant) {
        for action in std::mem::take(&mut self.actions) {
            if self.channel.closing {
                return;
            }
            match action {
                Action::Send(reply) => reply.encode(self.channel.buffer()),
                Action::Ask(ticket, query @ Query::Names { .. }) if self.channel.is_full() => {
                    self.put_off = Some((ticket, query));
                }
                Action::Ask(ticket, query) => self.ask(ticket, query, now),
                Action::PickUp(ticket, by) => self.pick_up(ticket, &by, now),
                Action::Warn(why) => self.warn(why, now),
                Action::Close(why) => self.close(why, now),
            }
        }
    }

    fn pick_up(&mut self, ticket: Ticket, by: &PickUp, now: Instant) {
        let admitted = self.context.shared.finished().take(by, now);
        match admitted {
            Some(admitted) => self.ask(ticket, Query::PickUp(Box::new(admitted)), now),
            None => {
                self.warn(
                    "a mail process asks for a log-in that does not wait: it was cancelled, is taken over \
                     already, is older than 150 s, or was let in before a restart",
                    now,
                );
                self.asked += 1;
                self.mailroom.leave((ticket, Answer::No));
            }
        }
    }

    fn ask(&mut self, ticket: Ticket, query: Query, arrived: Instant) {
        self.asked += 1;
        let mailroom = Arc::clone(&self.mailroom);
        let answer = move |answer: Answer| mailroom.leave((ticket, answer));
        // A log-in that does not hold any more has a line as a log-in has that is refused.
        let asked = match &query {
            Query::PickUp(admitted) => Some(Asked::from(&admitted.attempt)),
            Query::Home(_) | Query::Names { .. } => None,
        };
        let listener = Arc::clone(&self.context.name);
        let tell = move |outcome: &Outcome| {
            if let Some(asked) = asked {
                asked.log(&listener, outcome);
            }
        };
        match self.context.shared.verifier.get() {
            Some(verifier) => verifier.inquire(self.number, query, arrived, answer, tell),
            None => {
                answer(Answer::TryLater);
                tell(&Outcome::internal_error());
            }
        }
    }

    fn warn(&self, why: &'static str, now: Instant) {
        if let Some(more) = self.context.shared.odd_pick_ups.pass(now) {
            warn!(listener = %self.context.name, more, "{why}");
        }
    }
}

impl Conversation for Connection {
    fn channel(&mut self) -> &mut Channel {
        &mut self.channel
    }

    fn bell(&self) -> &Arc<Notify> {
        self.mailroom.bell()
    }

    fn turn(&mut self, now: Instant) -> io::Result<Option<Wake>> {
        self.collect_answers(now);
        self.take_lines(now);
        // Most answers come at once: they leave with this write.
        self.collect_answers(now);
        let handshake = self.handshake(now);
        self.channel.send(now)?;
        if !self.channel.is_full() {
            if let Some((ticket, query)) = self.put_off.take() {
                self.ask(ticket, query, now);
            }
        }
        let answered = self.channel.closing || self.channel.ended && !self.session.is_asking();
        if answered && self.channel.is_sent() {
            return Ok(None);
        }
        let wake = self.channel.deadline().into_iter().chain(handshake).min();
        Ok(Some(wake.map_or(Wake::Never, Wake::At)))
    }

    fn held(&self) -> usize {
        self.channel.held() + self.session.open_questions() * OF_QUESTION
    }

    fn takes_lines(&self) -> bool {
        self.channel.takes_lines() && self.asked < LANE && self.session.wants_input()
    }

    fn take_lines(&mut self, now: Instant) {
        while self.takes_lines() {
            match self.channel.next_line() {
                Ok(Some(line)) => self.session.on_line(&line, &mut self.actions),
                Ok(None) => return,
                Err(TooLong) => self.actions.push(Action::Close("a line is too long")),
            }
            self.perform(now);
        }
    }

    fn awaits_handshake(&self) -> bool {
        self.session.awaits_handshake()
    }

    fn close(&mut self, why: &'static str, now: Instant) {
        self.channel.closing = true;
        self.context
            .shared
            .tell_closed(&self.context.name, why, now);
    }
}

/// Who is at the other end.
fn peer(credentials: UCred, open_to_all: Option<Owner>) -> Peer {
    let (uid, gid) = (credentials.uid(), credentials.gid());
    // 0 where the peer is in no PID namespace of ours.
    let pid = (credentials.pid())
        .and_then(|pid| u32::try_from(pid).ok())
        .filter(|&pid| pid != 0);
    Peer {
        pid,
        inner_pid: pid.and_then(os::inner_pid),
        only_uid: open_to_all.and_then(|owner| restriction(owner, uid, gid)),
    }
}

/// Whose mailboxes alone a peer may see on a socket that is open to all: as stock Dovecot, those of its own
/// user, unless the socket is its own or its group's. Root sees everything anyway.
fn restriction(owner: Owner, uid: u32, gid: u32) -> Option<u32> {
    let trusted = uid == 0 || uid == owner.user || gid == owner.group;
    (!trusted).then_some(uid)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{Fields as Own, Userdb};
    use crate::server::bells::Bells;
    use crate::server::conversation::HANDSHAKE;
    use crate::server::output::PATIENCE;
    use crate::server::room::{Bounds, Room};
    use crate::session::auth_master::Kind;

    /// A connection without a verifier, its other end, and when it began.
    fn connected(kind: Kind) -> (Connection, UnixStream, Instant) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let settings = Settings {
            kind,
            userdb: Userdb {
                uid: 5_000,
                gid: 5_001,
                home: None,
                fields: Own::default(),
            },
            default_domain: None,
        };
        let context = Context {
            name: "master".into(),
            open_to_all: None,
            settings: Arc::new(settings),
            shared: Arc::new(Shared::new(
                Arc::new(Room::new(Bounds::within(None, 1, 1))),
                Bells::new().unwrap(),
            )),
        };
        let peer = peer(ours.peer_cred().unwrap(), None);
        let begun = now();
        let connection = Connection::new(ours, peer, Arc::new(context), begun);
        (connection, theirs, begun)
    }

    /// When it wants to go on by itself; `None` if it is done.
    fn wakes(connection: &mut Connection, now: Instant) -> Option<Option<Instant>> {
        match connection.turn(now) {
            Ok(Some(Wake::At(time))) => Some(Some(time)),
            Ok(Some(Wake::Never)) => Some(None),
            Ok(None) | Err(_) => None,
        }
    }

    /// Has turns until it wants to go on at that time and no other.
    fn until_it_wakes(connection: &mut Connection, now: Instant, wake: Option<Instant>) {
        let give_up = super::now() + Duration::from_secs(20);
        while wakes(connection, now) != Some(wake) {
            assert!(super::now() < give_up, "{:?}", wakes(connection, now));
        }
    }

    #[test]
    fn a_handshake_that_does_not_come_within_150_seconds_ends_the_connection() {
        let runtime = crate::server::runtime::start().unwrap();
        let _entered = runtime.enter();
        for kind in [Kind::Master, Kind::Userdb] {
            let (mut connection, _theirs, begun) = connected(kind);
            let just_before = begun + HANDSHAKE - Duration::from_nanos(1);
            // Until the greeting has left.
            until_it_wakes(&mut connection, just_before, Some(begun + HANDSHAKE));
            assert_eq!(wakes(&mut connection, begun + HANDSHAKE), None, "{kind:?}");
        }
    }

    #[test]
    fn a_peer_that_takes_nothing_for_30_seconds_is_given_up() {
        let runtime = crate::server::runtime::start().unwrap();
        let _entered = runtime.enter();
        for kind in [Kind::Master, Kind::Userdb] {
            let (mut connection, theirs, begun) = connected(kind);
            let hello = "VERSION\t1\t1\n";
            let give_up = now() + Duration::from_secs(20);
            while theirs.try_write(hello.as_bytes()).is_err() {
                assert!(now() < give_up, "it takes nothing");
            }
            assert_eq!(connection.channel.read_now(), hello.len());
            // After the handshake nothing ends it while it is idle.
            until_it_wakes(&mut connection, begun + 1_000 * HANDSHAKE, None);
            // More than fits between us and whoever reads nothing.
            connection.channel.buffer().resize(1 << 20, b'x');
            until_it_wakes(&mut connection, begun, Some(begun + PATIENCE));
            let just_before = begun + PATIENCE - Duration::from_nanos(1);
            assert!(wakes(&mut connection, just_before).is_some(), "{kind:?}");
            assert_eq!(wakes(&mut connection, begun + PATIENCE), None, "{kind:?}");
        }
    }

    #[test]
    fn strangers_on_a_socket_open_to_all_see_their_own_only() {
        let owner = Owner {
            user: 100,
            group: 200,
        };
        assert_eq!(restriction(owner, 1000, 1000), Some(1000));
        assert_eq!(restriction(owner, 100, 1000), None);
        assert_eq!(restriction(owner, 1000, 200), None);
        assert_eq!(restriction(owner, 0, 0), None);
    }
}
