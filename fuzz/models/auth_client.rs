//! The auth-client side: for each event the exact list of what must be said.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dovelatch::attempt::{Attempt, Reason, Verdict};
use dovelatch::model::{ClientText, Mailbox, Mechanism, Service};
use dovelatch::password::generate::Password;
use dovelatch::sasl::base64;
use dovelatch::secret::Secret;
use dovelatch::session::auth_client::{Kind, MAX_OPEN, Settings};
use dovelatch::wire::auth_client::{Auth, Command};

/// Bytes of the longest password that is looked up as it was sent.
const MAX_PASSWORD: usize = 1024;

/// Of a request, from its AUTH on: Dovecot's `AUTH_REQUEST_TIMEOUT_SECS`.
pub const LIFETIME: Duration = Duration::from_secs(150);

/// What must be said. Verifications are numbered in the order in which they are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Base64 of this text.
    Challenge(u32, &'static str),
    Ok(u32, usize),
    Fail(u32, Words),
    Cancelled(u32),
    Verify(u32, usize),
    Refuse(Option<(u32, Words)>, Reason),
    Finish(u32, usize),
    Forget(u32),
    Close,
}

/// What stands in a refusal besides a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// The same for every reason.
    Nothing,
    TryLater,
    NoBase64(&'static str),
    Why(&'static str),
}

const INITIAL: Words = Words::NoBase64("Invalid base64 data in initial response");
const CONTINUED: Words = Words::NoBase64("Invalid base64 data in continued response");
const TIMED_OUT: Words = Words::Why("Authentication request timed out");
const UNEXPECTED: Words = Words::Why("Unexpected continuation");

/// One verification.
#[derive(Debug, Clone)]
pub struct Asked {
    pub id: u32,
    pub begun: Instant,
    pub authorization: Vec<u8>,
    pub authentication: Vec<u8>,
    password: Vec<u8>,
    mechanism: Mechanism,
    auth: Auth,
}

#[derive(Debug)]
pub struct Model {
    settings: Settings,
    stage: Stage,
    minor: u32,
    pub client_pid: u32,
    open: BTreeMap<u32, Request>,
    /// How many of them wait for a verdict.
    verifying: usize,
    /// Counts requests; larger is younger.
    count: u64,
    pub asked: Vec<Asked>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Version,
    Pid,
    Open,
    Draining,
    Closed,
}

#[derive(Debug)]
struct Request {
    number: u64,
    begun: Instant,
    mechanism: Mechanism,
    auth: Auth,
    waits_for: WaitsFor,
}

#[derive(Debug)]
enum WaitsFor {
    /// PLAIN's only one.
    Message,
    Name,
    Password(Vec<u8>),
    Verdict(usize),
}

impl Model {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            stage: Stage::Version,
            minor: 0,
            client_pid: 0,
            open: BTreeMap::new(),
            verifying: 0,
            count: 0,
            asked: Vec::new(),
        }
    }

    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    pub fn is_closed(&self) -> bool {
        self.stage == Stage::Closed
    }

    pub fn verifying(&self) -> usize {
        self.verifying
    }

    pub fn wants_input(&self) -> bool {
        !matches!(self.stage, Stage::Draining | Stage::Closed) && self.verifying < MAX_OPEN
    }

    pub fn line(&mut self, line: &[u8], now: Instant) -> Vec<Said> {
        let command = match (self.stage, Command::parse(line)) {
            (Stage::Draining | Stage::Closed, _) => return Vec::new(),
            (_, Ok(command)) => command,
            (_, Err(_)) => return self.close(),
        };
        match (self.stage, command) {
            (Stage::Version, Command::Version { major: 1, minor }) => {
                (self.minor, self.stage) = (minor, Stage::Pid);
                Vec::new()
            }
            (Stage::Pid, Command::Cpid(pid)) => {
                (self.client_pid, self.stage) = (pid, Stage::Open);
                Vec::new()
            }
            (Stage::Open, Command::Auth(auth)) => self.auth(auth, now),
            (Stage::Open, Command::Continue { id, data, extra }) => {
                let data = (!extra || self.minor >= 3).then_some(data);
                self.response(id.get(), data, now)
            }
            (Stage::Open, Command::Cancel(id)) => {
                self.remove(id.get());
                let mut said = self.forget(id.get());
                said.extend((self.minor >= 4).then_some(Said::Cancelled(id.get())));
                said
            }
            _ => self.close(),
        }
    }

    pub fn verdict(&mut self, number: usize, verdict: &Verdict) -> Vec<Said> {
        let id = self.asked[number].id;
        let waits = |request: &Request| matches!(request.waits_for, WaitsFor::Verdict(for_it) if for_it == number);
        let Some(request) = self.open.get(&id).filter(|request| waits(request)) else {
            return Vec::new();
        };
        let nologin = request.auth.nologin;
        self.remove(id);
        let mut said = match verdict {
            Verdict::Allow(_) => {
                let finish = self.settings.kind == Kind::Login && !nologin;
                let mut said = Vec::from_iter(finish.then_some(Said::Finish(id, number)));
                said.push(Said::Ok(id, number));
                said
            }
            Verdict::Deny => vec![Said::Fail(id, Words::Nothing)],
            Verdict::TryLater if self.minor >= 2 || !nologin => {
                vec![Said::Fail(id, Words::TryLater)]
            }
            // Such a client would take any answer for "wrong password".
            Verdict::TryLater => {
                if self.stage == Stage::Open {
                    self.stage = Stage::Draining;
                }
                Vec::new()
            }
        };
        said.extend(self.drained());
        said
    }

    pub fn expire(&mut self, now: Instant) -> Vec<Said> {
        let is_over =
            |(&id, request): (&u32, &Request)| (now - request.begun >= LIFETIME).then_some(id);
        let over: Vec<u32> = self.open.iter().filter_map(is_over).collect();
        for id in over {
            self.remove(id);
        }
        self.drained()
    }

    fn auth(&mut self, auth: Auth, now: Instant) -> Vec<Said> {
        let id = auth.id.get();
        if self.alive(id, now) {
            return self.close();
        }
        self.remove(id);
        let mut said = self.forget(id);
        let known = Mechanism::from_wire(&auth.mechanism);
        let Some(mechanism) = known.filter(|known| self.settings.mechanisms.contains(known)) else {
            said.push(Said::Refuse(Some((id, Words::Nothing)), Reason::Mechanism));
            return said;
        };
        let initial = match auth.response.as_ref().map(Secret::expose) {
            None => None,
            Some(b"") if self.minor < 2 => None,
            Some(b"" | b"=") => Some(Vec::new()),
            Some(text) => {
                let Some(bytes) = base64::decode(&Secret::new(text.to_vec())) else {
                    said.push(Said::Refuse(Some((id, INITIAL)), Reason::Malformed));
                    return said;
                };
                Some(bytes.expose().to_vec())
            }
        };
        if self.open.len() >= MAX_OPEN {
            let waiting = |request: &Request| !matches!(request.waits_for, WaitsFor::Verdict(_));
            let oldest = self.open.iter().filter(|(_, request)| waiting(request));
            let oldest = oldest
                .min_by_key(|(_, request)| request.number)
                .map(|(&id, _)| id);
            // Else nothing would have been read.
            self.open
                .remove(&oldest.expect("somebody waits for a client"));
        }
        self.count += 1;
        let (number, begun) = (self.count, now);
        let (waits_for, ask) = match mechanism {
            Mechanism::Plain => (WaitsFor::Message, ""),
            Mechanism::Login => (WaitsFor::Name, "Username:"),
        };
        let request = Request {
            number,
            begun,
            mechanism,
            auth,
            waits_for,
        };
        match initial {
            // An empty name of LOGIN is none.
            Some(bytes) if mechanism == Mechanism::Plain || !bytes.is_empty() => {
                said.extend(self.message(id, request, bytes));
            }
            Some(_) | None => {
                self.open.insert(id, request);
                said.push(Said::Challenge(id, ask));
            }
        }
        said
    }

    fn response(&mut self, id: u32, data: Option<Secret>, now: Instant) -> Vec<Said> {
        let alive = self.alive(id, now);
        match self.remove(id).filter(|_| alive) {
            None => vec![Said::Fail(id, TIMED_OUT)],
            Some(Request {
                waits_for: WaitsFor::Verdict(_),
                ..
            }) => vec![Said::Fail(id, UNEXPECTED)],
            Some(request) => match data.as_ref().and_then(base64::decode) {
                None => vec![Said::Refuse(Some((id, CONTINUED)), Reason::Malformed)],
                Some(bytes) => self.message(id, request, bytes.expose().to_vec()),
            },
        }
    }

    /// What the mechanism makes of it.
    fn message(&mut self, id: u32, mut request: Request, bytes: Vec<u8>) -> Vec<Said> {
        let refused = vec![Said::Refuse(Some((id, Words::Nothing)), Reason::Malformed)];
        let (authorization, authentication, password) =
            match std::mem::replace(&mut request.waits_for, WaitsFor::Message) {
                WaitsFor::Message => {
                    let parts: Vec<&[u8]> = bytes.split(|&byte| byte == 0).collect();
                    let [authorization, authentication, password] = parts[..] else {
                        return refused;
                    };
                    (
                        authorization.to_vec(),
                        authentication.to_vec(),
                        password.to_vec(),
                    )
                }
                WaitsFor::Name => {
                    if bytes.is_empty() || bytes.iter().any(u8::is_ascii_control) {
                        return refused;
                    }
                    request.waits_for = WaitsFor::Password(bytes);
                    self.open.insert(id, request);
                    return vec![Said::Challenge(id, "Password:")];
                }
                WaitsFor::Password(name) => (Vec::new(), name, bytes),
                WaitsFor::Verdict(_) => panic!("it has no message coming"),
            };
        // Nobody has to look up what nobody's name or password can be.
        if authentication.is_empty()
            || password.is_empty()
            || steers(&authorization)
            || steers(&authentication)
            || password.iter().any(u8::is_ascii_control)
        {
            return refused;
        }
        let number = self.asked.len();
        self.asked.push(Asked {
            id,
            begun: request.begun,
            authorization,
            authentication,
            password,
            mechanism: request.mechanism,
            auth: request.auth.clone(),
        });
        request.waits_for = WaitsFor::Verdict(number);
        self.open.insert(id, request);
        self.verifying += 1;
        vec![Said::Verify(id, number)]
    }

    fn remove(&mut self, id: u32) -> Option<Request> {
        let request = self.open.remove(&id)?;
        self.verifying -= usize::from(matches!(request.waits_for, WaitsFor::Verdict(_)));
        Some(request)
    }

    fn alive(&self, id: u32, now: Instant) -> bool {
        self.open
            .get(&id)
            .is_some_and(|request| now - request.begun < LIFETIME)
    }

    fn forget(&self, id: u32) -> Vec<Said> {
        Vec::from_iter((self.settings.kind == Kind::Login).then_some(Said::Forget(id)))
    }

    fn drained(&mut self) -> Vec<Said> {
        if self.stage == Stage::Draining && self.verifying == 0 {
            return self.close();
        }
        Vec::new()
    }

    fn close(&mut self) -> Vec<Said> {
        self.stage = Stage::Closed;
        self.open.clear();
        self.verifying = 0;
        vec![Said::Close]
    }

    /// Who signs in by a name as typed, and what may be said of the other part: the mailbox that stands before
    /// the separator.
    pub fn signer(&self, typed: &[u8]) -> (Option<Mailbox>, Option<Mailbox>) {
        let mailbox = |text: &str| -> Option<Mailbox> {
            let mailbox: Mailbox = text.parse().ok()?;
            mailbox
                .in_domain(self.settings.default_domain.as_ref())
                .ok()
        };
        let Ok(text) = std::str::from_utf8(typed) else {
            return (None, None);
        };
        match self
            .settings
            .separator
            .map(|separator| text.split(separator.as_char()).collect::<Vec<_>>())
        {
            Some(parts) if parts.len() == 2 => (mailbox(parts[1]), mailbox(parts[0])),
            _ => (mailbox(text), None),
        }
    }

    /// That the attempt is what was sent for this request, and opens nobody's mailbox in another's name.
    pub fn check(&self, number: usize, attempt: &Attempt) {
        let asked = &self.asked[number];
        let secret = attempt.secret.expose();
        match asked.password.len() <= MAX_PASSWORD {
            true => assert_eq!(secret, asked.password, "the password of another request"),
            // Nobody's password is so long, so it need not be kept: what is looked up is nobody's too.
            false => assert_eq!(Password::from_typed(&attempt.secret), None),
        }
        assert_eq!(
            attempt.claimed,
            ClientText::new(&asked.authentication),
            "another name"
        );
        assert_eq!(attempt.mechanism, asked.mechanism);
        assert_eq!(attempt.service, Service::from_wire(&asked.auth.service));
        assert_eq!(
            (attempt.origin, attempt.local),
            (asked.auth.origin, asked.auth.local)
        );
        let (signer, before) = self.signer(&asked.authentication);
        let wanted = self.signer(&asked.authorization).0;
        match (&attempt.mailbox, &attempt.person) {
            (None, None) => {}
            (None, Some(person)) => {
                assert_eq!(
                    signer.as_ref().map(Mailbox::as_str),
                    Some(person.as_str()),
                    "another person"
                );
            }
            (Some(mailbox), None) => assert_eq!(signer.as_ref(), Some(mailbox), "as its owner"),
            (Some(mailbox), Some(person)) => {
                assert_eq!(
                    signer.as_ref().map(Mailbox::as_str),
                    Some(person.as_str()),
                    "another person"
                );
                assert!(
                    Some(mailbox) != signer.as_ref(),
                    "one's own mailbox is no other's"
                );
                assert!(
                    [&before, &wanted].contains(&&Some(mailbox.clone())),
                    "a mailbox that nobody named"
                );
            }
        }
    }
}

/// Control characters, those of Unicode as well.
pub fn steers(text: &[u8]) -> bool {
    text.iter().any(u8::is_ascii_control)
        || text
            .windows(2)
            .any(|pair| pair[0] == 0xc2 && (0x80..0xa0).contains(&pair[1]))
}
