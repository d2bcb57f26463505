//! Keeps the sockets served while the disk keeps some of the runtime's threads.
//!
//! A thread of the runtime that looks into the database may be kept there, by a disk that does not answer. Was it
//! the one that waited for the sockets, then nobody does: the others sleep until there is work, and that nobody
//! tells them. So a thread of its own gives the runtime a task that does nothing, a few times a second; whoever
//! wakes for it waits for the sockets then.

use std::convert::Infallible;
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;

/// How long nobody may look after the sockets. It costs nothing to notice.
const BEAT: Duration = Duration::from_millis(250);

/// Beats until it is dropped.
#[derive(Debug)]
pub(super) struct Heartbeat {
    _alive: Sender<Infallible>,
}

impl Heartbeat {
    /// # Errors
    ///
    /// If the system refuses a thread.
    pub(super) fn start(runtime: Handle) -> io::Result<Self> {
        let (alive, end) = mpsc::channel();
        thread::Builder::new()
            .name("heartbeat".to_owned())
            .spawn(move || {
                while end.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                    runtime.spawn(async {});
                }
            })?;
        Ok(Self { _alive: alive })
    }
}
