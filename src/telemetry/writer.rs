//! One bounded queue of lines, and the thread that writes them.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

use super::Format;
use crate::clock;

/// Most lines waiting to be written: about 1 MiB, and several seconds of log-ins at the rate that the
/// program aims for. When it is full, lines are dropped and counted.
const MAX_QUEUED: usize = 4_096;

/// How long lines are gathered: a person who watches the log does not notice.
const GATHER: Duration = Duration::from_millis(1);

/// Most lines written together, after the first.
const MAX_BATCH: usize = 512;

/// Room kept for the next batch, in bytes.
const KEPT: usize = 64 * 1024;

/// How long the end of the program waits for the last lines. A reader that has stopped reading must
/// not keep the daemon from stopping.
const FLUSH: Duration = Duration::from_secs(2);

enum Message {
    Line(Vec<u8>),
    /// Write nothing more; say so by dropping the sender.
    Stop {
        _done: SyncSender<()>,
    },
}

/// Where lines are put: never waits.
#[derive(Clone)]
pub(super) struct Queue {
    lines: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl Write for Queue {
    /// tracing writes each event with one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.lines.try_send(Message::Line(line.to_vec())) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
            // After the end nobody reads any more.
            Err(TrySendError::Disconnected(_)) => {}
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Writes what is queued when it is dropped, within 2 s.
pub struct Guard {
    lines: SyncSender<Message>,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guard")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (sender, done) = sync_channel(0);
        let mut stop = Message::Stop { _done: sender };
        let pause = Duration::from_millis(10);
        // `send` alone would wait for ever for a sink that takes nothing.
        for _ in 0..FLUSH.as_millis() / pause.as_millis() {
            match self.lines.try_send(stop) {
                Ok(()) => {
                    let _ = done.recv_timeout(FLUSH);
                    return;
                }
                Err(TrySendError::Full(message)) => stop = message,
                Err(TrySendError::Disconnected(_)) => return,
            }
            thread::sleep(pause);
        }
    }
}

/// Starts the thread.
pub(super) fn start(
    format: Format,
    sink: impl Write + Send + 'static,
) -> io::Result<(Queue, Guard)> {
    let (sender, lines) = sync_channel(MAX_QUEUED);
    let queue = Queue {
        lines: sender,
        dropped: Arc::default(),
    };
    let guard = Guard {
        lines: queue.lines.clone(),
    };
    let dropped = Arc::clone(&queue.dropped);
    thread::Builder::new()
        .name("dovelatch-log".to_owned())
        .spawn(move || write_lines(format, sink, &lines, &dropped))?;
    Ok((queue, guard))
}

/// A sink that fails (a closed pipe, a full disk) costs its lines and nothing else.
///
/// Lines that come close to each other are written together: at thousands of log-ins a second a
/// write for each line, and waking this thread for it, would cost more than the log-in.
fn write_lines(
    format: Format,
    mut sink: impl Write,
    lines: &Receiver<Message>,
    dropped: &AtomicU64,
) {
    let mut batch = Vec::new();
    while let Ok(first) = lines.recv() {
        thread::sleep(GATHER);
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let mut line = String::new();
            let _ = format.head(Level::WARN, clock::now(), &mut line);
            let _ = writeln!(line, "log lines dropped: count={lost}");
            batch.extend_from_slice(line.as_bytes());
        }
        let rest = std::iter::from_fn(|| lines.try_recv().ok()).take(MAX_BATCH);
        let mut done = None;
        for message in std::iter::once(first).chain(rest) {
            match message {
                Message::Line(line) => batch.extend_from_slice(&line),
                Message::Stop { _done } => {
                    done = Some(_done);
                    break;
                }
            }
        }
        let _ = sink.write_all(&batch);
        batch.clear();
        batch.shrink_to(KEPT);
        if done.is_some() {
            let _ = sink.flush();
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// Hands on each write, and waits for leave before the first one ends.
    struct Slow {
        leave: Receiver<()>,
        written: std::sync::mpsc::Sender<String>,
    }

    impl Write for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.written
                .send(String::from_utf8_lossy(line).into_owned())
                .unwrap();
            let _ = self.leave.recv();
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_queue_drops_lines_and_their_count_is_logged() {
        let (give_leave, leave) = channel();
        let (sender, written) = channel();
        let (mut queue, guard) = start(
            Format::Journal,
            Slow {
                leave,
                written: sender,
            },
        )
        .unwrap();
        queue.write_all(b"first\n").unwrap();
        assert_eq!(
            written.recv().unwrap(),
            "first\n",
            "the thread is stuck in the first write"
        );
        for _ in 0..MAX_QUEUED + 3 {
            queue.write_all(b"next\n").unwrap();
        }
        drop(give_leave);
        drop(guard);
        let rest: String = written.iter().collect();
        let (first, lines) = rest.split_once('\n').unwrap();
        assert_eq!(first, "<4>log lines dropped: count=3");
        assert_eq!(lines.matches("next\n").count(), MAX_QUEUED);
        assert_eq!(lines.len(), MAX_QUEUED * "next\n".len());
    }
}
