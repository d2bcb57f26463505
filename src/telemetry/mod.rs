//! Log lines: a constant message, then the data as fields, one line for each event.
//!
//! A log-in must never wait for a log. Lines leave through one bounded queue and one thread that
//! writes them to standard error; when the queue is full they are dropped and counted, and the count
//! is logged. The line for each verdict ([`verdict`]) is an interface: fail2ban reads it. What peers
//! typed reaches a line only escaped, and nothing secret reaches one at any level.

mod format;
mod verdict;
mod writer;

use std::io::Write;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;

pub use format::Format;
pub use verdict::Asked;
pub use writer::Guard;

use crate::config::Environment;

/// Sends everything at `info` and above to standard error from here on, in the form that suits it:
/// [`Format::Journal`] where systemd's journal reads it, else [`Format::Plain`].
///
/// Hold the guard until the very end: dropping it writes what is queued still.
///
/// # Errors
///
/// If the writer's thread cannot be started.
pub fn start(environment: &Environment) -> std::io::Result<Guard> {
    let format = if environment.journal {
        Format::Journal
    } else {
        Format::Plain
    };
    let (subscriber, guard) = subscriber(format, LevelFilter::INFO, std::io::stderr())?;
    // Fails only where one is set already, as in a test: then lines go there.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(guard)
}

/// The same with any level and any sink.
///
/// # Errors
///
/// If the writer's thread cannot be started.
pub fn subscriber(
    format: Format,
    level: LevelFilter,
    sink: impl Write + Send + 'static,
) -> std::io::Result<(impl Subscriber + Send + Sync + 'static, Guard)> {
    let (queue, guard) = writer::start(format, sink)?;
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .event_format(format)
        .with_writer(queue)
        .finish();
    Ok((subscriber, guard))
}
