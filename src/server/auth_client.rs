//! One auth-client connection: a task between socket, session and verifier, without decisions of its own.
//!
//! It reads lines while the [`Session`] wants them and the peer takes its answers; hands attempts to
//! the verifier, whose threads put verdicts into the [`Mailroom`] and ring; and holds a refusal back
//! until the listener's `failure_delay` after its request came in. Everything that one wake-up brings
//! leaves in one write. There is no idle time-out: login processes keep their connections for long.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UnixStream;
use tokio::sync::Notify;
use tracing::warn;

use super::channel::Channel;
use super::conversation::{self, Conversation};
use super::mailroom::Mailroom;
use super::room::Stay;
use super::runtime::Wake;
use super::{Drain, Shared, now};
use crate::attempt::{Attempt, Outcome, Verdict};
use crate::model::Mechanism;
use crate::random;
use crate::secret::Buffer;
use crate::session::auth_client::{Action, Session, Settings, Ticket};
use crate::session::finished::Finished;
use crate::telemetry::Asked;
use crate::verify::pool::LANE;
use crate::wire::auth_client::Greeting;
use crate::wire::auth_master::Cookie;
use crate::wire::line::TooLong;

/// Most attempts of one connection that are being verified or wait for their refusal to leave; at it,
/// and at [`LANE`] being verified, no further line is taken. Twice what the session holds open: those
/// that the peer has cancelled count here until they are done.
const MAX_PENDING: usize = 2 * crate::session::auth_client::MAX_OPEN;

/// A refusal leaves no earlier than so long after its request came in, whatever its listener says, also "0s".
///
/// The look-up of a known mailbox takes 2 µs longer than that of an unknown one, and what was revoked is put
/// by for later, which takes 10 µs more. On the socket itself a stopwatch tells these apart after some
/// hundred refusals (areas under the ROC curve of 0.65 and 0.87, `tests/oracle/`). Work cannot be made equal to
/// the microsecond, but it can be waited for; 1 ms also covers a hash of the usual cost, where a wrong
/// password meets a tag by chance. It takes no thread, and keeps one of Dovecot's auth workers hardly
/// longer than its own way to us and back.
pub(super) const LEAST_DELAY: Duration = Duration::from_millis(1);

/// How often requests are looked through for those that are over.
const EXPIRY: Duration = Duration::from_secs(5);

/// Bytes for which a request counts until it is done, with what the verifier keeps of it: a few hundred as a rule,
/// and some 2 KiB with the longest names.
const OF_REQUEST: usize = 1024;

/// What the connections of one listener have in common.
#[derive(Debug)]
pub(super) struct Context {
    /// The listener's, for the log.
    pub(super) name: Arc<str>,
    pub(super) mechanisms: Vec<Mechanism>,
    /// At least [`LEAST_DELAY`].
    pub(super) failure_delay: Duration,
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
    let mut connection = match Connection::new(stream, context, now()) {
        Ok(connection) => connection,
        Err(error) => return warn!(error = %error, "no cookie for a greeting"),
    };
    conversation::run(&mut connection, &mut stay, &mut drain).await;
}

#[derive(Debug)]
struct Decided {
    ticket: Ticket,
    arrived: Instant,
    verdict: Verdict,
}

struct Connection {
    channel: Channel,
    /// Its own, and its lane in the verifier.
    number: u64,
    context: Arc<Context>,
    /// As the greeting says it.
    cookie: Cookie,
    session: Session,
    actions: Vec<Action>,
    mailroom: Arc<Mailroom<Decided>>,
    /// Asked of the verifier, verdict not collected yet.
    asked: usize,
    /// Refusals by the time at which they leave; the serial keeps equal times apart.
    refusals: BTreeMap<(Instant, u64), Ticket>,
    /// For which of them the bell is set.
    rings: Option<Instant>,
    /// When the session next forgets what is over.
    expiry: Instant,
}

/// Nobody will ask for what was let in and not taken over: the login process has gone. Nor for a refusal.
impl Drop for Connection {
    fn drop(&mut self) {
        self.context.shared.finished().forget_all(self.number);
        self.set_bell(None);
    }
}

impl Connection {
    fn new(
        stream: UnixStream,
        context: Arc<Context>,
        begun: Instant,
    ) -> Result<Self, random::Error> {
        let mut cookie = Buffer::with_capacity(32);
        for byte in random::bytes::<16>()? {
            cookie.extend(format!("{byte:02x}").as_bytes());
        }
        let cookie = Cookie(cookie.into_secret());
        let number = context.shared.next_connection();
        let greeting = Greeting {
            mechanisms: &context.mechanisms,
            spid: std::process::id(),
            cuid: cuid(number),
            cookie: &cookie.0,
        };
        Ok(Self {
            session: Session::new(Arc::clone(&context.settings)),
            channel: Channel::new(stream, &greeting.encode(), begun),
            number,
            cookie,
            context,
            actions: Vec::new(),
            mailroom: Arc::new(Mailroom::new()),
            asked: 0,
            refusals: BTreeMap::new(),
            rings: None,
            expiry: begun + EXPIRY,
        })
    }

    fn set_bell(&mut self, due: Option<Instant>) {
        if due == self.rings {
            return;
        }
        let bells = &self.context.shared.bells;
        if let Some(due) = self.rings {
            bells.forget(due, self.number);
        }
        if let Some(due) = due {
            bells.set(due, self.number, self.mailroom.bell());
        }
        self.rings = due;
    }

    fn collect_verdicts(&mut self, now: Instant) {
        let decided = self.mailroom.collect();
        for Decided {
            ticket,
            arrived,
            verdict,
        } in decided
        {
            self.asked = self.asked.saturating_sub(1);
            let due = match verdict {
                Verdict::Deny => arrived + self.context.failure_delay,
                Verdict::Allow(_) | Verdict::TryLater => now,
            };
            if due > now {
                self.refusals.insert((due, ticket.serial), ticket);
            } else {
                self.session.on_verdict(ticket, &verdict, &mut self.actions);
                self.perform(now);
            }
        }
    }

    fn release_refusals(&mut self, now: Instant) {
        while let Some(first) = self.refusals.first_entry() {
            if first.key().0 > now {
                return;
            }
            let ticket = first.remove();
            self.session
                .on_verdict(ticket, &Verdict::Deny, &mut self.actions);
            self.perform(now);
        }
    }

    fn expire(&mut self, now: Instant) {
        if now >= self.expiry {
            self.expiry = now + EXPIRY;
            self.session.expire(now, &mut self.actions);
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
                Action::Verify(ticket, attempt) => self.ask(ticket, *attempt, now),
                Action::Refuse { reply, refusal } => {
                    if let Some(reply) = reply {
                        reply.encode(self.channel.buffer());
                    }
                    Asked::log_refusal(&self.context.name, refusal);
                }
                Action::Finish {
                    id,
                    client_pid,
                    begun,
                    admitted,
                } => {
                    let finished = Finished {
                        client_pid,
                        auth_id: id.get(),
                        connection: self.number,
                        begun,
                        admitted: *admitted,
                    };
                    let mut table = self.context.shared.finished();
                    table.keep(&self.cookie, finished, now);
                }
                Action::Forget(id) => {
                    let mut table = self.context.shared.finished();
                    table.forget(self.number, id.get());
                }
                Action::Close(why) => self.close(why, now),
            }
        }
    }

    /// The verdict's line is written when all is known, whatever has become of the connection: nobody
    /// hides a guess by hanging up.
    fn ask(&mut self, ticket: Ticket, attempt: Attempt, arrived: Instant) {
        self.asked += 1;
        let asked = Asked::from(&attempt);
        let (listener, mailroom) = (Arc::clone(&self.context.name), Arc::clone(&self.mailroom));
        let tell = move |outcome: &Outcome| asked.log(&listener, outcome);
        let answer = move |verdict: Verdict| {
            mailroom.leave(Decided {
                ticket,
                arrived,
                verdict,
            });
        };
        match self.context.shared.verifier.get() {
            Some(verifier) => verifier.submit(self.number, attempt, arrived, answer, tell),
            None => {
                let outcome = Outcome::internal_error();
                answer(outcome.verdict());
                tell(&outcome);
            }
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
        self.collect_verdicts(now);
        self.release_refusals(now);
        self.expire(now);
        self.take_lines(now);
        // Most verdicts come at once: they leave with this write.
        self.collect_verdicts(now);
        let handshake = self.handshake(now);
        self.channel.send(now)?;
        let answered = self.channel.closing || self.channel.ended && !self.session.is_verifying();
        if answered && self.channel.is_sent() {
            return Ok(None);
        }
        let refusal = self.refusals.keys().next().map(|(due, _)| *due);
        self.set_bell(refusal);
        let expiry = (self.session.open_requests() > 0).then_some(self.expiry);
        let wake = refusal
            .into_iter()
            .chain(self.channel.deadline())
            .chain(expiry)
            .chain(handshake)
            .min();
        Ok(Some(wake.map_or(Wake::Never, Wake::At)))
    }

    /// A request that the peer has cancelled is not open any more, and yet kept until its verdict was there and its
    /// refusal would have left.
    fn held(&self) -> usize {
        let pending = self.asked + self.refusals.len();
        self.channel.held() + self.session.open_requests().max(pending) * OF_REQUEST
    }

    fn takes_lines(&self) -> bool {
        self.channel.takes_lines()
            && self.asked < LANE
            && self.asked + self.refusals.len() < MAX_PENDING
            && self.session.wants_input()
    }

    fn take_lines(&mut self, now: Instant) {
        while self.takes_lines() {
            match self.channel.next_line() {
                Ok(Some(line)) => self.session.on_line(&line, now, &mut self.actions),
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

/// What the greeting says of a connection's number: 32 bits, and never 0. We go by the whole number.
fn cuid(number: u64) -> u32 {
    let [a, b, c, d, ..] = number.to_le_bytes();
    u32::from_le_bytes([a, b, c, d]).max(1)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::secret::Secret;
    use crate::server::bells::Bells;
    use crate::server::conversation::HANDSHAKE;
    use crate::server::output::PATIENCE;
    use crate::server::room::{Bounds, Room};
    use crate::session::auth_client::Kind;

    /// A connection without a verifier, its other end, and when it began.
    fn connected() -> (Connection, UnixStream, Instant) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let settings = Settings {
            kind: Kind::Client,
            mechanisms: Mechanism::ALL.to_vec(),
            default_domain: None,
            separator: None,
        };
        let context = Context {
            name: "auth".into(),
            mechanisms: Mechanism::ALL.to_vec(),
            failure_delay: Duration::ZERO,
            settings: Arc::new(settings),
            shared: Arc::new(Shared::new(
                Arc::new(Room::new(Bounds::within(None, 1, 1))),
                Bells::new().unwrap(),
            )),
        };
        let begun = now();
        let connection = Connection::new(ours, Arc::new(context), begun).unwrap();
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

    /// Lets a line come in, as far as the runtime's event loop need not come round.
    fn hears(connection: &mut Connection, theirs: &UnixStream, line: &str) {
        let give_up = now() + Duration::from_secs(20);
        while theirs.try_write(line.as_bytes()).is_err() {
            assert!(now() < give_up, "it takes nothing");
        }
        assert_eq!(connection.channel.read_now(), line.len());
    }

    #[test]
    fn after_four_billion_connections_none_has_the_number_of_another() {
        let (connection, ..) = {
            let runtime = crate::server::runtime::start().unwrap();
            let _entered = runtime.enter();
            connected()
        };
        let shared = &connection.context.shared;
        let last = u64::from(u32::MAX);
        shared.connections.store(last, Ordering::Relaxed);
        let numbers = [(); 3].map(|()| shared.next_connection());
        assert_eq!(numbers, [last, last + 1, last + 2]);
        assert_eq!(numbers.map(cuid), [u32::MAX, 1, 1]);
    }

    #[test]
    fn a_handshake_that_does_not_come_within_150_seconds_ends_the_connection() {
        let runtime = crate::server::runtime::start().unwrap();
        let _entered = runtime.enter();
        for said in ["", "VERSION\t1\t2\n"] {
            let (mut connection, theirs, begun) = connected();
            if !said.is_empty() {
                hears(&mut connection, &theirs, said);
            }
            let just_before = begun + HANDSHAKE - Duration::from_nanos(1);
            let give_up = now() + Duration::from_secs(20);
            // Until the greeting has left.
            while wakes(&mut connection, just_before) != Some(Some(begun + HANDSHAKE)) {
                assert!(now() < give_up, "{said:?}");
            }
            assert_eq!(wakes(&mut connection, begun + HANDSHAKE), None, "{said:?}");
        }
    }

    #[test]
    fn a_peer_that_takes_nothing_for_30_seconds_is_given_up() {
        let runtime = crate::server::runtime::start().unwrap();
        let _entered = runtime.enter();
        let (mut connection, theirs, begun) = connected();
        hears(&mut connection, &theirs, "VERSION\t1\t2\nCPID\t1\n");
        let give_up = now() + Duration::from_secs(20);
        // Until all has left that was to leave.
        while wakes(&mut connection, begun) != Some(None) {
            assert!(now() < give_up, "the greeting was not taken");
        }
        // More than fits between us and whoever reads nothing.
        connection.channel.buffer().resize(1 << 20, b'x');
        while wakes(&mut connection, begun) != Some(Some(begun + PATIENCE)) {
            assert!(now() < give_up, "it would wait for longer");
        }
        let just_before = begun + PATIENCE - Duration::from_nanos(1);
        assert!(wakes(&mut connection, just_before).is_some());
        assert_eq!(wakes(&mut connection, begun + PATIENCE), None);
    }

    #[test]
    fn after_the_handshake_nothing_ends_an_idle_connection() {
        let runtime = crate::server::runtime::start().unwrap();
        let _entered = runtime.enter();
        let (mut connection, theirs, begun) = connected();
        hears(&mut connection, &theirs, "VERSION\t1\t2\nCPID\t1\n");
        let later = begun + 1_000 * HANDSHAKE;
        let give_up = now() + Duration::from_secs(20);
        while wakes(&mut connection, later) != Some(None) {
            assert!(now() < give_up);
        }
    }

    #[test]
    fn an_exchange_that_nobody_goes_on_with_is_forgotten_on_an_idle_connection_too() {
        let runtime = crate::server::runtime::start().unwrap();
        let _entered = runtime.enter();
        let (mut connection, theirs, begun) = connected();
        let lines = "VERSION\t1\t2\nCPID\t1\nAUTH\t1\tLOGIN\tservice=imap\n";
        hears(&mut connection, &theirs, lines);
        let mut time = begun;
        let give_up = now() + Duration::from_secs(20);
        while let Some(Some(wake)) = wakes(&mut connection, time) {
            assert!(now() < give_up);
            if connection.channel.is_sent() {
                assert!(wake > time && wake - time <= EXPIRY);
                time = wake;
            }
        }
        let lived = time - begun;
        let lifetime = crate::session::auth_client::LIFETIME;
        assert!(
            lived >= lifetime && lived < lifetime + 2 * EXPIRY,
            "{lived:?}"
        );
        assert_eq!(connection.session.open_requests(), 0);
        assert!(connection.held() <= 8 * 1024);
    }

    #[test]
    fn what_the_peer_has_cancelled_counts_until_its_refusal_would_have_left() {
        const REQUESTS: usize = 100;
        let runtime = crate::server::runtime::start().unwrap();
        let _entered = runtime.enter();
        let (mut connection, _theirs, begun) = connected();
        let delay = Duration::from_secs(2);
        Arc::get_mut(&mut connection.context).unwrap().failure_delay = delay;
        let mut says = |line: &str| {
            let line = Secret::new(line.as_bytes().to_vec());
            let mut actions = Vec::new();
            connection.session.on_line(&line, begun, &mut actions);
            actions
        };
        says("VERSION\t1\t2");
        says("CPID\t1");
        let mut tickets = Vec::new();
        for id in 1..=REQUESTS {
            // Mailbox "a", password "b".
            let actions = says(&format!("AUTH\t{id}\tPLAIN\tservice=imap\tresp=AGEAYg=="));
            tickets.extend(actions.into_iter().filter_map(|action| match action {
                Action::Verify(ticket, _) => Some(ticket),
                Action::Send(_)
                | Action::Refuse { .. }
                | Action::Finish { .. }
                | Action::Forget(_)
                | Action::Close(_) => None,
            }));
            says(&format!("CANCEL\t{id}"));
        }
        assert_eq!(tickets.len(), REQUESTS);
        assert_eq!(connection.session.open_requests(), 0);
        connection.asked = REQUESTS;
        assert!(connection.held() >= REQUESTS * OF_REQUEST, "being verified");
        for ticket in tickets {
            connection.mailroom.leave(Decided {
                ticket,
                arrived: begun,
                verdict: Verdict::Deny,
            });
        }
        connection.collect_verdicts(begun);
        assert_eq!(connection.asked, 0);
        assert!(connection.held() >= REQUESTS * OF_REQUEST, "put off");
        connection.release_refusals(begun + delay);
        assert!(connection.held() < REQUESTS * OF_REQUEST, "done");
    }
}
