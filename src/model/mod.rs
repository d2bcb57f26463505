//! The vocabulary of the program: values that cannot be wrong once they exist.
//!
//! A [`Mailbox`] or a [`Label`] is checked when it is made, so nothing behind the edge has to ask
//! again. Everything here is plain data: no I/O, no clock.

mod client_text;
mod event;
mod id;
mod label;
mod limits;
mod name;
mod service;
mod time;
mod userdb;

pub use client_text::ClientText;
pub use event::{Action, Actor, Via};
pub use id::{ALPHABET, AccessId, DeviceId, IdError, SecretId};
pub use label::{Label, LabelError};
pub use limits::{Limits, Networks, NetworksError};
pub(crate) use name::is_invisible;
pub use name::{Domain, Mailbox, NameError, Person, Separator, SeparatorError};
pub use service::{Mechanism, Service, Services, ServicesError};
pub use time::Timestamp;
pub use userdb::{Entry, Field, FieldError, FieldName, Fields, Template, Userdb};
