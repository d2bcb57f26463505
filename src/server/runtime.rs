//! The threads that tasks run on, and how a task sleeps until a point in time.

use std::io;
use std::thread;
use std::time::Instant;

use tokio::runtime::Runtime;

use super::Error;

/// When a connection has to go on by itself.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wake {
    At(Instant),
    Never,
}

pub(super) async fn until(wake: Wake) {
    match wake {
        Wake::At(time) => tokio::time::sleep_until(time.into()).await,
        Wake::Never => std::future::pending().await,
    }
}

/// A runtime with a thread for each core, and one that goes on while the disk keeps those from it (see
/// `Server::start`).
///
/// # Errors
///
/// [`Error::Start`] where the system has not as many.
pub(super) fn start() -> Result<Runtime, Error> {
    let threads = thread::available_parallelism().map_or(1, usize::from) + 1;
    // Twice as many: the kernel still counts those of this look for a moment after they have ended.
    can_start(2 * threads)
        .and_then(|()| {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(threads)
                .enable_all()
                .thread_name("dovelatch-io")
                .build()
        })
        .map_err(|source| Error::Start { source })
}

/// Whether so many threads can be had at once. The runtime panics without any, and hangs with a few.
///
/// # Errors
///
/// What the system says where they cannot.
pub(super) fn can_start(threads: usize) -> io::Result<()> {
    let started = (0..threads).map(|_| thread::Builder::new().spawn(thread::park));
    // One that is refused ends the process, and with it those that are parked.
    for thread in started.collect::<io::Result<Vec<_>>>()? {
        thread.thread().unpark();
        // It cannot panic.
        let _ = thread.join();
    }
    Ok(())
}
