//! What every connection does alike, whatever is spoken on it: it has a turn whenever something has come, until
//! one side is done.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::select;
use tokio::sync::Notify;

use super::channel::{Channel, MAX_LAST};
use super::room::Stay;
use super::runtime::{Wake, until};
use super::{Drain, now};
use crate::session::auth_client::LIFETIME;

/// How long a peer may take to say its VERSION and CPID. All known ones say them at once, and stock Dovecot waits
/// for ever; here whoever never begins gives its place back, as late as a request ends that nobody goes on with.
/// After the handshake there is no such limit: login processes keep their connections for days.
pub(super) const HANDSHAKE: Duration = LIFETIME;

/// One connection, and the language that is spoken on it.
pub(super) trait Conversation {
    fn channel(&mut self) -> &mut Channel;

    /// Rung when there is something in its mailroom.
    fn bell(&self) -> &Arc<Notify>;

    /// Does whatever can be done now. `None`: the connection is done.
    ///
    /// # Errors
    ///
    /// If the peer is gone.
    fn turn(&mut self, now: Instant) -> io::Result<Option<Wake>>;

    /// Bytes that are kept for it, and not for all of them.
    fn held(&self) -> usize;

    /// Whether a further line may be taken.
    fn takes_lines(&self) -> bool;

    /// Takes the lines that have come, as long as they may be taken.
    fn take_lines(&mut self, now: Instant);

    /// Whether the peer has not begun to speak.
    fn awaits_handshake(&self) -> bool;

    /// Closes it over what the peer did.
    fn close(&mut self, why: &'static str, now: Instant);

    /// Until when the peer must have begun, if it has not.
    fn handshake(&mut self, now: Instant) -> Option<Instant> {
        if self.channel().closing || !self.awaits_handshake() {
            return None;
        }
        let due = self.channel().begun() + HANDSHAKE;
        if now >= due {
            self.close("no handshake within 150 s", now);
        }
        Some(due)
    }

    /// Takes what the peer has sent already, and nothing after it.
    fn drain(&mut self) {
        let mut left = MAX_LAST;
        while left > 0 && !self.channel().ended && self.takes_lines() {
            match self.channel().read_now() {
                0 => break,
                length => left = left.saturating_sub(length),
            }
            self.take_lines(now());
        }
        self.channel().ended = true;
        self.channel().draining = true;
    }
}

/// Serves one connection until the peer is done, or the daemon is.
pub(super) async fn run(conversation: &mut impl Conversation, stay: &mut Stay, drain: &mut Drain) {
    let bell = Arc::clone(conversation.bell());
    while let Ok(Some(wake)) = conversation.turn(now()) {
        if !stay.holds(conversation.held()) {
            return conversation.close("its user's connections hold too much", now());
        }
        conversation.channel().give_way().await;
        let takes_lines = conversation.takes_lines();
        let channel = conversation.channel();
        let interest = channel.interest(takes_lines);
        let draining = channel.draining;
        select! {
            () = bell.notified() => {}
            () = channel.ready(interest) => {}
            () = until(wake) => {}
            () = drain.begun(), if !draining => conversation.drain(),
        }
    }
}
