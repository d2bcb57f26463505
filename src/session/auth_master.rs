//! The auth-master connection of mail processes, LMTP, doveadm and chasquid.
//!
//! A mail process takes over a log-in (REQUEST); LMTP and doveadm ask where a mailbox's mail lives
//! (USER), whether it is there (PASS) and which there are (LIST). Several questions may be open at
//! once, and answers go in any order. Trouble of our own is FAIL and never NOTFOUND: LMTP bounces
//! mail for what is not found. The connection is closed for what only a broken client program sends.

mod mask;

use std::collections::HashMap;
use std::sync::Arc;

use self::mask::Mask;
use super::credentials::Names;
use crate::model::{Domain, Entry, Mailbox, Userdb};
use crate::query::{Answer, Begin, Query};
use crate::secret::Secret;
use crate::wire::auth_master::{Command, Fields, MAX_REPLY, MasterId, PickUp, Reply, VERSION};

/// Open questions on one connection; at the bound nothing more is read ([`Session::wants_input`]). LMTP
/// and doveadm have one at a time, a mail process as many as it has new sessions.
pub const MAX_ASKING: usize = 1_024;

/// Room that a connection keeps for its next questions.
const KEPT: usize = 16;

/// Which commands there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// All.
    Master,
    /// No REQUEST, no CACHE-FLUSH.
    Userdb,
}

/// What a listener's sessions have in common.
#[derive(Debug, Clone)]
pub struct Settings {
    pub kind: Kind,
    pub userdb: Userdb,
    pub default_domain: Option<Domain>,
}

/// Who is at the other end, as the kernel says (SO_PEERCRED).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// As our own process sees it; `None` where it is in no namespace of ours.
    pub pid: Option<u32>,
    /// As the peer sees itself, where it lives in a PID namespace of its own.
    pub inner_pid: Option<u32>,
    /// `Some(uid)`: may see mailboxes of this uid only, and neither PASS nor LIST. For a userdb socket of
    /// mode 0666 and a peer that is neither its owner nor in its group, as in stock Dovecot.
    pub only_uid: Option<u32>,
}

/// Names a question of this connection.
///
/// The peer may use the id of an open question again: each is answered, and the peer has to know which is
/// which. Stock Dovecot allows it as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    pub id: MasterId,
    pub serial: u64,
}

/// What the connection must do next.
#[derive(Debug)]
pub enum Action {
    Send(Reply),
    /// Ask, then call [`Session::on_answer`]. Those of a LIST should wait until most of what was sent
    /// before is written: each page is asked for when the last one has come.
    Ask(Ticket, Query),
    /// Take this finished request from the table ([`crate::session::finished`]), and ask
    /// [`Query::PickUp`]; where there is none, call [`Session::on_answer`] with [`Answer::No`].
    PickUp(Ticket, Box<PickUp>),
    /// For the log: what somebody who looks for the cause of a failed log-in wants to know.
    Warn(&'static str),
    /// Log why and hang up, once everything before this action was written.
    Close(&'static str),
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    peer: Peer,
    phase: Phase,
    asking: HashMap<Ticket, Question>,
    /// Whether one of them is a LIST.
    listing: bool,
    /// Counts questions.
    serial: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    AwaitsVersion,
    Open,
    Closed,
}

/// What the peer wants to know.
#[derive(Debug)]
enum Question {
    PickUp { wants_token: bool },
    User,
    Pass,
    List(Mask),
}

impl Session {
    pub fn new(settings: Arc<Settings>, peer: Peer) -> Self {
        Self {
            settings,
            peer,
            phase: Phase::AwaitsVersion,
            asking: HashMap::new(),
            listing: false,
            serial: 0,
        }
    }

    /// One complete line of the peer. To be called while [`Self::wants_input`].
    pub fn on_line(&mut self, line: &Secret, actions: &mut Vec<Action>) {
        let command = match (self.phase, Command::parse(line.expose())) {
            (Phase::Closed, _) => return,
            (Phase::AwaitsVersion | Phase::Open, Ok(command)) => command,
            (Phase::AwaitsVersion | Phase::Open, Err(malformed)) => {
                return self.close(malformed.as_str(), actions);
            }
        };
        match (self.phase, command) {
            (Phase::Closed, _) => {}
            (Phase::AwaitsVersion, Command::Version { major, .. }) if major == VERSION.0 => {
                self.phase = Phase::Open;
            }
            (Phase::AwaitsVersion, _) => self.close("no VERSION 1 at the beginning", actions),
            (Phase::Open, Command::Version { .. }) => self.close("VERSION again", actions),
            (Phase::Open, Command::PickUp(by)) => match self.settings.kind {
                Kind::Master => self.on_pick_up(by, actions),
                Kind::Userdb => self.close("unknown command", actions),
            },
            (Phase::Open, Command::CacheFlush { id, users: _ }) => match self.settings.kind {
                // Nothing is kept here that could be flushed: every log-in reads its row.
                Kind::Master => actions.push(Action::Send(Reply::Flushed { id, count: 0 })),
                Kind::Userdb => self.close("unknown command", actions),
            },
            (Phase::Open, Command::User(of)) => {
                self.on_name(of.id, &of.name, Question::User, actions);
            }
            (Phase::Open, Command::Pass(of)) => match self.peer.only_uid {
                Some(_) => actions.push(Action::Send(Reply::Fail { id: of.id })),
                None => self.on_name(of.id, &of.name, Question::Pass, actions),
            },
            (Phase::Open, Command::List { id, mask }) => match self.peer.only_uid {
                Some(_) => actions.push(Action::Send(Reply::Done { id, failed: true })),
                None => self.ask_names(id, Mask::new(&mask), None, actions),
            },
        }
    }

    /// The answer to [`Action::Ask`] or [`Action::PickUp`]. Without effect where nobody waits for it: the
    /// connection is being closed, or it came twice.
    pub fn on_answer(&mut self, ticket: Ticket, answer: Answer, actions: &mut Vec<Action>) {
        let id = ticket.id;
        let question = self.asking.remove(&ticket);
        if self.asking.is_empty() {
            self.asking.shrink_to(KEPT);
        }
        let reply = match question {
            None => return,
            Some(Question::PickUp { wants_token }) => match answer {
                Answer::Begins(begin) => self.begins(id, &begin, wants_token),
                Answer::Home(..) | Answer::Names(_) | Answer::No | Answer::TryLater => {
                    Reply::Fail { id }
                }
            },
            Some(Question::User) => match answer {
                Answer::Home(mailbox, own) => {
                    let entry = self.settings.userdb.entry(&mailbox, &own);
                    if self.may_see(&entry) {
                        user(id, &mailbox, home(entry))
                    } else {
                        // As stock Dovecot: that the peer may not know is no reason to bounce.
                        Reply::Fail { id }
                    }
                }
                Answer::No => Reply::NotFound { id },
                Answer::Begins(_) | Answer::Names(_) | Answer::TryLater => Reply::Fail { id },
            },
            Some(Question::Pass) => match answer {
                Answer::Home(mailbox, _) => Reply::Pass {
                    id,
                    fields: Fields::default().with("user", mailbox.as_str()),
                },
                Answer::No => Reply::NotFound { id },
                Answer::Begins(_) | Answer::Names(_) | Answer::TryLater => Reply::Fail { id },
            },
            Some(Question::List(mask)) => {
                self.listing = false;
                match answer {
                    Answer::Names(names) => return self.on_names(id, mask, names, actions),
                    Answer::Begins(_) | Answer::Home(..) | Answer::No | Answer::TryLater => {
                        Reply::Done { id, failed: true }
                    }
                }
            }
        };
        actions.push(Action::Send(reply));
    }

    /// Whether the peer's next line may be read: not at [`MAX_ASKING`], not while a LIST runs, as in
    /// stock Dovecot, so that no more than its one page is on the way, and not while closing.
    pub fn wants_input(&self) -> bool {
        match self.phase {
            Phase::AwaitsVersion | Phase::Open => self.asking.len() < MAX_ASKING && !self.listing,
            Phase::Closed => false,
        }
    }

    /// How many questions are open.
    pub fn open_questions(&self) -> usize {
        self.asking.len()
    }

    /// Whether the peer has not begun yet.
    pub fn awaits_handshake(&self) -> bool {
        match self.phase {
            Phase::AwaitsVersion => true,
            Phase::Open | Phase::Closed => false,
        }
    }

    /// Whether an answer is awaited: after EOF the connection lives on until it has been written.
    pub fn is_asking(&self) -> bool {
        !self.asking.is_empty()
    }

    fn on_pick_up(&mut self, by: PickUp, actions: &mut Vec<Action>) {
        let id = by.id;
        if !self.peer.serves(by.session_pid) {
            actions.push(Action::Warn(
                "the mail process names another process than the kernel: is Dovecot in a container, and /proc \
                 hidden from us?",
            ));
            return actions.push(Action::Send(Reply::Fail { id }));
        }
        let wants_token = by.wants_token;
        let ticket = self.ticket(id, Question::PickUp { wants_token });
        actions.push(Action::PickUp(ticket, Box::new(by)));
    }

    /// A name that can be no mailbox's is not found, as in stock Dovecot. It is read as that of a
    /// log-in is, but for a person in it: only a log-in has one.
    fn on_name(
        &mut self,
        id: MasterId,
        name: &[u8],
        question: Question,
        actions: &mut Vec<Action>,
    ) {
        let names = Names {
            domain: self.settings.default_domain.as_ref(),
            separator: None,
        };
        let Some(mailbox) = names.mailbox(name) else {
            return actions.push(Action::Send(Reply::NotFound { id }));
        };
        let ticket = self.ticket(id, question);
        actions.push(Action::Ask(ticket, Query::Home(mailbox)));
    }

    fn ask_names(
        &mut self,
        id: MasterId,
        mask: Mask,
        after: Option<Mailbox>,
        actions: &mut Vec<Action>,
    ) {
        self.listing = true;
        let ticket = self.ticket(id, Question::List(mask));
        actions.push(Action::Ask(ticket, Query::Names { after }));
    }

    /// One page of a list, and the question for the next; there is none behind an empty one.
    fn on_names(
        &mut self,
        id: MasterId,
        mask: Mask,
        names: Vec<Mailbox>,
        actions: &mut Vec<Action>,
    ) {
        let Some(last) = names.last().cloned() else {
            return actions.push(Action::Send(Reply::Done { id, failed: false }));
        };
        let wanted = names.iter().filter(|name| mask.matches(name.as_str()));
        actions.extend(wanted.map(|name| {
            let mailbox = name.to_string();
            Action::Send(Reply::Name { id, mailbox })
        }));
        self.ask_names(id, mask, Some(last), actions);
    }

    fn begins(&self, id: MasterId, begin: &Begin, wants_token: bool) -> Reply {
        let allowed = &begin.allowed;
        let device = allowed.device.as_str();
        let entry = self.settings.userdb.entry(&allowed.mailbox, &begin.fields);
        // `user_…` is how Dovecot 2.4 ends the sessions of one device, or of one access.
        let mut fields = home(entry)
            .with("user_device", device)
            .with("event_device", device);
        if let Some((person, access)) = &allowed.person {
            fields = fields
                .with("user_access", access.as_str())
                .with("auth_user", person.as_str());
        }
        let token = wants_token.then(|| hex(&begin.token));
        let fields = fields
            .with("auth_mech", begin.mechanism.as_str())
            .with_some("auth_token", token);
        user(id, &allowed.mailbox, fields)
    }

    fn may_see(&self, entry: &Entry) -> bool {
        self.peer.only_uid.is_none_or(|uid| uid == entry.uid)
    }

    fn ticket(&mut self, id: MasterId, question: Question) -> Ticket {
        self.serial += 1;
        let serial = self.serial;
        let ticket = Ticket { id, serial };
        self.asking.insert(ticket, question);
        ticket
    }

    fn close(&mut self, why: &'static str, actions: &mut Vec<Action>) {
        self.phase = Phase::Closed;
        self.asking.clear();
        self.listing = false;
        actions.push(Action::Close(why));
    }
}

impl Peer {
    /// Whether it is the process that will serve the session.
    ///
    /// Stock Dovecot lets a peer pass that names no process; Dovecot's own always name theirs, so here
    /// one that does not is refused. Where the kernel knows no process nothing can be checked.
    fn serves(&self, session_pid: Option<u32>) -> bool {
        self.pid.is_none()
            || (session_pid.is_some() && [self.pid, self.inner_pid].contains(&session_pid))
    }
}

/// FAIL where the line would be longer than any client reads, and so end its connection.
fn user(id: MasterId, mailbox: &Mailbox, fields: Fields) -> Reply {
    let mailbox = mailbox.to_string();
    let reply = Reply::User {
        id,
        mailbox,
        fields,
    };
    let mut line = Vec::new();
    reply.encode(&mut line);
    if line.len() > MAX_REPLY {
        return Reply::Fail { id };
    }
    reply
}

fn home(entry: Entry) -> Fields {
    let ids = Fields::default()
        .with("uid", entry.uid.to_string())
        .with("gid", entry.gid.to_string());
    let fields = entry.fields.iter();
    fields.fold(ids, |fields, (name, value)| fields.with(name, value))
}

fn hex(bytes: &Secret) -> String {
    let digits = bytes.expose().iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

#[cfg(test)]
mod tests;
