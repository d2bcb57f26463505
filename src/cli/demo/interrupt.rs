//! Ctrl-C, so that the demonstration can clean up behind itself.

use std::io;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

/// Whether this process was asked to end. From [`Self::watch`] on, the signals do
/// nothing else, so a second Ctrl-C does not cut the cleaning short.
#[derive(Debug)]
pub(super) struct Interrupt {
    signals: Mutex<Receiver<()>>,
}

impl Interrupt {
    /// # Errors
    ///
    /// If the handlers cannot be installed.
    pub(super) fn watch() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        // One is enough: the first ends the demonstration.
        let (sender, signals) = sync_channel(1);
        let entered = runtime.enter();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        drop(entered);
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                        _ = hang_up.recv() => {}
                    }
                });
                // Nobody listens any more when the demonstration is over.
                let _ = sender.send(());
            })?;
        Ok(Self {
            signals: Mutex::new(signals),
        })
    }

    /// Whether a signal came.
    pub(super) fn came(&self) -> bool {
        self.within(Duration::ZERO)
    }

    /// Waits for a signal, at most so long; whether it came.
    pub(super) fn within(&self, patience: Duration) -> bool {
        self.signals
            .lock()
            .is_ok_and(|signals| signals.recv_timeout(patience).is_ok())
    }

    /// Waits for a signal.
    pub(super) fn wait(&self) {
        if let Ok(signals) = self.signals.lock() {
            let _ = signals.recv();
        }
    }
}
