//! Log-ins that were let in on a login socket, until the mail process asks for them on a master socket.
//!
//! One table for all connections of both kinds. Each request is given out once, to whoever names the
//! process, the id and the cookie of its login connection. Pure: time is an argument.

use std::time::Instant;

use crate::attempt::Admitted;
use crate::wire::auth_master::{Cookie, PickUp};

/// A finished request.
#[derive(Debug)]
pub struct Finished {
    /// CPID of the login connection. No identity.
    pub client_pid: u32,
    /// Id of its AUTH.
    pub auth_id: u32,
    /// Our own number of the login connection.
    pub connection: u32,
    /// When its AUTH came in: it lives 150 s from then.
    pub begun: Instant,
    pub admitted: Admitted,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Table {}

impl Table {
    /// Keeps one, under the cookie of its login connection.
    pub fn keep(&mut self, _cookie: &Cookie, _finished: Finished, _now: Instant) {}

    /// Gives one out, for good.
    pub fn take(&mut self, _by: &PickUp, _now: Instant) -> Option<Admitted> {
        None
    }

    /// Forgets one: it was cancelled, or its id is used again.
    pub fn forget(&mut self, _connection: u32, _auth_id: u32) {}

    /// Forgets all of a connection: it has ended.
    pub fn forget_all(&mut self, _connection: u32) {}
}
