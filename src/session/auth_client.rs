//! The auth-client connection of Dovecot's login processes, its Lua script, Postfix, Exim and others.
//!
//! Such a connection carries the log-ins of many users at once. So a mistake inside a request, which
//! a remote user can make, fails that request only; the connection is closed for what nobody but a
//! broken client program can send. Each id gets one final answer at most.

mod replies;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::replies::Which;
use super::credentials::{self, Claim, Names, Origin};
use crate::attempt::{Admitted, Attempt, Reason, Verdict};
use crate::model::{ClientText, Domain, Mechanism, Separator, Service};
use crate::sasl::{Exchange, Step, base64};
use crate::secret::{self, Secret};
use crate::wire::auth_client::{Auth, Command, Reply, RequestId, VERSION};

/// Open requests on one connection.
///
/// Where a new one finds no room, the oldest exchange that waits for its client is forgotten, as if
/// it had expired: Postfix never cancels what its own client abandoned. Where all of them are being
/// verified, nothing more is read ([`Session::wants_input`]). Stock Dovecot has no bound; a login
/// process serves about 1,000 clients.
pub const MAX_OPEN: usize = 1_024;

/// Room that a connection keeps for its next requests.
const KEPT: usize = 16;

/// How long a request lives, from its AUTH on: as in stock Dovecot, which says nothing at its end.
pub const LIFETIME: Duration = Duration::from_secs(150);

/// Names a verification, so that a late verdict never reaches a reused id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    pub id: RequestId,
    pub serial: u64,
}

/// What the connection must do next.
#[derive(Debug)]
pub enum Action {
    Send(Reply),
    /// Ask the verifier, then call [`Session::on_verdict`] with the same ticket. A refusal leaves
    /// at its fixed time, so the connection calls it later then.
    Verify(Ticket, Box<Attempt>),
    /// Refused at once, without asking the verifier; `refusal` is for the log.
    Refuse {
        /// `None` for who would take any answer for "wrong password": [`Action::Close`] follows once
        /// the others on the connection have theirs.
        reply: Option<Reply>,
        refusal: Refusal,
    },
    /// Keep this in the table of finished requests ([`crate::session::finished`]), before what follows is
    /// sent: a mail process will ask for it.
    Finish {
        id: RequestId,
        /// As the login process announced it (CPID): the mail process names it.
        client_pid: u32,
        /// When its AUTH came in.
        begun: Instant,
        admitted: Box<Admitted>,
    },
    /// The finished request of this id, if there is one, must not be given out any more.
    Forget(RequestId),
    /// Log why and hang up, once everything before this action was written.
    Close(&'static str),
}

/// A request that was refused before it became an attempt.
#[derive(Debug)]
pub struct Refusal {
    pub reason: Reason,
    pub claimed: ClientText,
    /// As asked for; `None` where it is none of ours.
    pub mechanism: Option<Mechanism>,
    pub service: Service,
    pub origin: Option<IpAddr>,
    pub local: Option<IpAddr>,
}

/// What an OK means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is the end: Postfix, the Lua script.
    Client,
    /// A mail process asks for the rest of it on a master socket: login processes.
    Login,
}

/// What a listener's sessions have in common.
#[derive(Debug, Clone)]
pub struct Settings {
    pub kind: Kind,
    pub mechanisms: Vec<Mechanism>,
    pub default_domain: Option<Domain>,
    /// Between mailbox and person in a log-in name; `None`: no name has both.
    pub separator: Option<Separator>,
}

impl Settings {
    fn names(&self) -> Names<'_> {
        Names {
            domain: self.default_domain.as_ref(),
            separator: self.separator,
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    phase: Phase,
    /// The protocol minor that the client announced.
    minor: u32,
    /// Its process id, as announced; 0 before that.
    client_pid: u32,
    requests: HashMap<RequestId, Request>,
    /// How many of them are being verified.
    verifying: usize,
    /// Counts requests; larger is younger.
    serial: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    AwaitsVersion,
    AwaitsPid,
    Open,
    /// To be closed once nothing is being verified any more, and why.
    Draining(&'static str),
    Closed,
}

#[derive(Debug)]
struct Request {
    id: RequestId,
    serial: u64,
    begun: Instant,
    mechanism: Mechanism,
    from: Origin,
    nologin: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Waits for the client's response.
    Exchanging(Exchange),
    /// Waits for the verdict.
    Verifying {
        claim: Claim,
        /// The attempt without the password, where a mail process will ask for it.
        kept: Option<Box<Attempt>>,
    },
}

impl Session {
    pub fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            phase: Phase::AwaitsVersion,
            minor: 0,
            client_pid: 0,
            requests: HashMap::new(),
            verifying: 0,
            serial: 0,
        }
    }

    /// One complete line of the peer. To be called while [`Self::wants_input`].
    pub fn on_line(&mut self, line: &Secret, now: Instant, actions: &mut Vec<Action>) {
        let command = match (self.phase, Command::parse(line.expose())) {
            (Phase::Draining(_) | Phase::Closed, _) => return,
            (_, Ok(command)) => command,
            (_, Err(malformed)) => return self.close(malformed.as_str(), actions),
        };
        match (self.phase, command) {
            (Phase::Draining(_) | Phase::Closed, _) => {}
            (Phase::AwaitsVersion, Command::Version { major, minor }) if major == VERSION.0 => {
                self.minor = minor;
                self.phase = Phase::AwaitsPid;
            }
            (Phase::AwaitsVersion, _) => self.close("no VERSION 1 at the beginning", actions),
            (Phase::AwaitsPid, Command::Cpid(pid)) => {
                self.client_pid = pid;
                self.phase = Phase::Open;
            }
            (Phase::AwaitsPid, _) => self.close("no CPID after VERSION", actions),
            (Phase::Open, Command::Auth(auth)) => self.on_auth(auth, now, actions),
            (Phase::Open, Command::Continue { id, data, extra }) => {
                // Only channel binding has a further field, and only from minor 3 on.
                let valid = !extra || self.minor >= 3;
                self.on_response(id, valid.then_some(&data), now, actions);
            }
            (Phase::Open, Command::Cancel(id)) => self.on_cancel(id, actions),
            (Phase::Open, Command::Version { .. } | Command::Cpid(_)) => {
                self.close("VERSION or CPID again", actions);
            }
        }
    }

    /// The answer to [`Action::Verify`]. Without effect where the request has ended meanwhile: it was
    /// cancelled, or has expired, and its id may have been used again.
    pub fn on_verdict(&mut self, ticket: Ticket, verdict: &Verdict, actions: &mut Vec<Action>) {
        let id = ticket.id;
        if self.requests.get(&id).map(|request| request.serial) != Some(ticket.serial) {
            return;
        }
        let Some(request) = self.remove(id) else {
            return;
        };
        let State::Verifying { claim, kept } = request.state else {
            return; // It had no verdict coming: the ticket is none of ours.
        };
        match verdict {
            Verdict::Allow(allowed) => {
                actions.extend(kept.map(|attempt| Action::Finish {
                    id,
                    client_pid: self.client_pid,
                    begun: request.begun,
                    admitted: Box::new(Admitted {
                        attempt: *attempt,
                        allowed: allowed.clone(),
                    }),
                }));
                actions.push(Action::Send(replies::ok(id, allowed, &claim)));
            }
            Verdict::Deny => actions.push(Action::Send(replies::fail(id, &claim))),
            Verdict::TryLater => {
                let reply = self.try_later(id, &claim, request.nologin);
                actions.extend(reply.map(Action::Send));
            }
        }
        self.close_when_drained(actions);
    }

    /// Whether the peer's next line may be read: not at the bound of open requests, and not while
    /// closing.
    pub fn wants_input(&self) -> bool {
        match self.phase {
            Phase::AwaitsVersion | Phase::AwaitsPid | Phase::Open => self.verifying < MAX_OPEN,
            Phase::Draining(_) | Phase::Closed => false,
        }
    }

    /// Whether a verdict is awaited: after EOF the connection lives on until it has been written.
    pub fn is_verifying(&self) -> bool {
        self.verifying > 0
    }

    /// How many requests are open.
    pub fn open_requests(&self) -> usize {
        self.requests.len()
    }

    /// Whether the peer has not begun yet.
    pub fn awaits_handshake(&self) -> bool {
        match self.phase {
            Phase::AwaitsVersion | Phase::AwaitsPid => true,
            Phase::Open | Phase::Draining(_) | Phase::Closed => false,
        }
    }

    /// Forgets requests that are [`LIFETIME`] old; nothing is sent for them. The one action that may
    /// come is [`Action::Close`].
    pub fn expire(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let over = self
            .requests
            .values()
            .filter(|request| request.is_over(now));
        for id in over.map(|request| request.id).collect::<Vec<_>>() {
            self.remove(id);
        }
        self.close_when_drained(actions);
    }

    fn on_auth(&mut self, auth: Auth, now: Instant, actions: &mut Vec<Action>) {
        let id = auth.id;
        if self.live(id, now) {
            return self.close("AUTH with the id of a live request", actions);
        }
        self.remove(id); // Its time is over, if there is one.
        // Stock Dovecot hangs up where a log-in with this id still waits for its mail process, and so
        // ends everybody's. Here the old one gives way: what that mail process wants is gone.
        self.forget_finished(id, actions);
        let from = Origin {
            service: Service::from_wire(&auth.service),
            origin: auth.origin,
            local: auth.local,
        };
        let known = Mechanism::from_wire(&auth.mechanism);
        let offered = known.filter(|mechanism| self.settings.mechanisms.contains(mechanism));
        let Some(mechanism) = offered else {
            // Clients check the name against the greeting themselves; stock Dovecot would hang up.
            let refusal = from.refusal(Reason::Mechanism, known, ClientText::default());
            let reply = Some(replies::fail(id, &Claim::default()));
            return actions.push(Action::Refuse { reply, refusal });
        };
        let initial = match &auth.response {
            None => None,
            Some(text) if secret::equal(text.expose(), b"=") => Some(Secret::default()),
            // Before minor 2 there was no word for "empty": Exim means "none" by it.
            Some(text) if text.is_empty() => (self.minor >= 2).then(Secret::default),
            Some(text) => match base64::decode(text) {
                Some(initial) => Some(initial),
                None => {
                    let refusal =
                        from.refusal(Reason::Malformed, Some(mechanism), ClientText::default());
                    let reply = replies::not_base64(id, Which::Initial, &Claim::default());
                    let reply = Some(reply);
                    return actions.push(Action::Refuse { reply, refusal });
                }
            },
        };
        if !self.make_room() {
            let refusal = from.refusal(Reason::Overload, Some(mechanism), ClientText::default());
            let reply = self.try_later(id, &Claim::default(), auth.nologin);
            actions.push(Action::Refuse { reply, refusal });
            return self.close_when_drained(actions);
        }
        let (exchange, step) = Exchange::start(mechanism, initial.as_ref());
        self.serial += 1;
        let request = Request {
            id,
            serial: self.serial,
            begun: now,
            mechanism,
            from,
            nologin: auth.nologin,
            state: State::Exchanging(exchange),
        };
        self.go_on(request, step, actions);
    }

    /// `data` is `None` where there was something that no response may have.
    fn on_response(
        &mut self,
        id: RequestId,
        data: Option<&Secret>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let live = self.live(id, now);
        let Some(mut request) = self.remove(id).filter(|_| live) else {
            return actions.push(Action::Send(replies::timed_out(id)));
        };
        let State::Exchanging(exchange) = &mut request.state else {
            // Stock Dovecot sends the verdict after this; here the request has ended.
            return actions.push(Action::Send(replies::unexpected(id)));
        };
        if let Some(response) = data.and_then(base64::decode) {
            let step = exchange.respond(&response);
            return self.go_on(request, step, actions);
        }
        let typed = exchange.authentication().unwrap_or_default();
        let claim = Claim::of(typed, self.settings.names());
        let reply = Some(replies::not_base64(id, Which::Continued, &claim));
        let refusal = request.refusal(claim);
        actions.push(Action::Refuse { reply, refusal });
    }

    fn on_cancel(&mut self, id: RequestId, actions: &mut Vec<Action>) {
        self.remove(id);
        // Dovecot cancels what got its OK already, too: the mail process could not take it.
        self.forget_finished(id, actions);
        // Such a client keeps the request until it hears of its end; earlier ones break on the word.
        if self.minor >= 4 {
            actions.push(Action::Send(Reply::Cancelled { id }));
        }
    }

    /// What the mechanism's step means for its request, which is in no table at this moment.
    fn go_on(&mut self, mut request: Request, step: Step, actions: &mut Vec<Action>) {
        let id = request.id;
        let claim = match step {
            Step::Challenge(text) => {
                let challenge = base64::encode_str(text);
                actions.push(Action::Send(Reply::Continue { id, challenge }));
                self.requests.insert(id, request);
                return;
            }
            Step::Credentials(credentials) => {
                let (mechanism, from) = (request.mechanism, &request.from);
                match credentials::attempt(credentials, mechanism, from, self.settings.names()) {
                    (claim, Some(attempt)) => {
                        let serial = request.serial;
                        let kept = self.goes_on_elsewhere(&request);
                        let kept = kept.then(|| Box::new(attempt.without_secret()));
                        request.state = State::Verifying { claim, kept };
                        self.requests.insert(id, request);
                        self.verifying += 1;
                        let ticket = Ticket { id, serial };
                        return actions.push(Action::Verify(ticket, Box::new(attempt)));
                    }
                    (claim, None) => claim,
                }
            }
            Step::Malformed => Claim::default(),
        };
        let reply = Some(replies::fail(id, &claim));
        let refusal = request.refusal(claim);
        actions.push(Action::Refuse { reply, refusal });
    }

    /// Whether a mail process will ask for what is let in.
    fn goes_on_elsewhere(&self, request: &Request) -> bool {
        match self.settings.kind {
            Kind::Login => !request.nologin,
            Kind::Client => false,
        }
    }

    fn forget_finished(&self, id: RequestId, actions: &mut Vec<Action>) {
        match self.settings.kind {
            Kind::Login => actions.push(Action::Forget(id)),
            Kind::Client => {}
        }
    }

    /// The words by which the client understands that nothing can be said about the password now; `None`
    /// where it has none. The caller goes on with [`Self::close_when_drained`].
    fn try_later(&mut self, id: RequestId, claim: &Claim, nologin: bool) -> Option<Reply> {
        if self.minor >= 2 || !nologin {
            return Some(replies::try_later(id, claim));
        }
        // Postfix, Exim and chasquid read every FAIL as a wrong password; a lost connection they
        // call a temporary failure. Whoever else is on this connection gets an answer first.
        if self.phase == Phase::Open {
            self.phase = Phase::Draining("no verdict can be given now");
        }
        None
    }

    fn close_when_drained(&mut self, actions: &mut Vec<Action>) {
        if let (Phase::Draining(why), 0) = (self.phase, self.verifying) {
            self.close(why, actions);
        }
    }

    fn close(&mut self, why: &'static str, actions: &mut Vec<Action>) {
        self.phase = Phase::Closed;
        self.requests.clear();
        self.verifying = 0;
        actions.push(Action::Close(why));
    }

    /// Whether the id is taken by a request whose time is not over.
    fn live(&self, id: RequestId, now: Instant) -> bool {
        let request = self.requests.get(&id);
        request.is_some_and(|request| !request.is_over(now))
    }

    fn remove(&mut self, id: RequestId) -> Option<Request> {
        let request = self.requests.remove(&id)?;
        if self.requests.is_empty() {
            self.requests.shrink_to(KEPT);
        }
        if matches!(request.state, State::Verifying { .. }) {
            self.verifying -= 1;
        }
        Some(request)
    }

    /// Whether one more request may be opened, at the cost of the oldest abandoned one if need be.
    fn make_room(&mut self) -> bool {
        if self.requests.len() < MAX_OPEN {
            return true;
        }
        let waiting = self
            .requests
            .values()
            .filter(|request| match request.state {
                State::Exchanging(_) => true,
                State::Verifying { .. } => false,
            });
        let oldest = waiting.min_by_key(|request| request.serial);
        let oldest = oldest.map(|request| request.id);
        oldest.and_then(|id| self.remove(id)).is_some()
    }
}

impl Request {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.begun) >= LIFETIME
    }

    fn refusal(self, claim: Claim) -> Refusal {
        let mechanism = Some(self.mechanism);
        self.from
            .refusal(Reason::Malformed, mechanism, claim.claimed)
    }
}

impl Origin {
    fn refusal(self, reason: Reason, mechanism: Option<Mechanism>, claimed: ClientText) -> Refusal {
        Refusal {
            reason,
            claimed,
            mechanism,
            service: self.service,
            origin: self.origin,
            local: self.local,
        }
    }
}

#[cfg(test)]
mod tests;
