//! SASL mechanisms as pure state machines: messages in, [`Step`]s out.
//!
//! They are what a remote user talks to, so they are total functions on bytes; Dovecot's own crashed
//! on invalid messages more than once (0.99.9, 1.0.rc25, `tests/advisories.md`). Base64 is undone
//! before ([`base64`]), the names that come out are judged behind (`session::credentials`).

pub mod base64;
pub mod login;
pub mod plain;

use crate::model::Mechanism;
use crate::secret::Secret;

/// What somebody showed to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Whose mailbox is wanted; empty means that of the authentication identity.
    pub authorization: Vec<u8>,
    /// Whose credentials these are.
    pub authentication: Vec<u8>,
    pub password: Secret,
}

/// What a message led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send it and wait for the response.
    Challenge(&'static str),
    Credentials(Credentials),
    /// No message of this mechanism: the exchange has failed.
    Malformed,
}

/// One run of a mechanism.
#[derive(Debug)]
pub enum Exchange {
    Plain,
    Login(login::Login),
}

impl Exchange {
    /// Begins one. An empty initial response is not an absent one (RFC 4422).
    pub fn start(mechanism: Mechanism, initial: Option<&Secret>) -> (Self, Step) {
        match mechanism {
            Mechanism::Plain => {
                let step = initial.map_or(Step::Challenge(""), plain::message);
                (Self::Plain, step)
            }
            Mechanism::Login => {
                let (login, step) = login::Login::start(initial);
                (Self::Login(login), step)
            }
        }
    }

    /// The response to a challenge.
    pub fn respond(&mut self, response: &Secret) -> Step {
        match self {
            Self::Plain => plain::message(response),
            Self::Login(login) => login.respond(response),
        }
    }

    /// The authentication identity, where the exchange has come that far.
    pub fn authentication(&self) -> Option<&[u8]> {
        match self {
            Self::Plain => None,
            Self::Login(login) => login.name(),
        }
    }
}
