//! The auth-master connection of mail processes, LMTP, doveadm and chasquid.

use std::sync::Arc;

use crate::model::{Domain, Userdb};
use crate::query::{Answer, Query};
use crate::secret::Secret;
use crate::wire::auth_master::{MasterId, PickUp, Reply};

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
    /// `Some(uid)`: may see mailboxes of this uid only, and neither PASS nor LIST. For a userdb socket of mode 0666
    /// and a peer that is neither its owner nor in its group, as in stock Dovecot.
    pub only_uid: Option<u32>,
}

/// Names a question of this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    pub id: MasterId,
    pub serial: u64,
}

/// What the connection must do next.
#[derive(Debug)]
pub enum Action {
    Send(Reply),
    /// Ask, then call [`Session::on_answer`].
    Ask(Ticket, Query),
    /// Take this finished request from the table ([`crate::session::finished`]), and ask [`Query::PickUp`]; where there is
    /// none, call [`Session::on_answer`] with [`Answer::No`].
    PickUp(Ticket, Box<PickUp>),
    /// Log why and hang up, once everything before this action was written.
    Close(&'static str),
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    _settings: Arc<Settings>,
    _peer: Peer,
}

impl Session {
    pub fn new(settings: Arc<Settings>, peer: Peer) -> Self {
        Self {
            _settings: settings,
            _peer: peer,
        }
    }

    /// One complete line of the peer. To be called while [`Self::wants_input`].
    pub fn on_line(&mut self, _line: &Secret, _actions: &mut Vec<Action>) {}

    /// The answer to [`Action::Ask`] or [`Action::PickUp`].
    pub fn on_answer(&mut self, _ticket: Ticket, _answer: Answer, _actions: &mut Vec<Action>) {}

    /// Whether the peer's next line may be read.
    pub fn wants_input(&self) -> bool {
        false
    }

    /// Whether an answer is awaited.
    pub fn is_asking(&self) -> bool {
        false
    }
}
