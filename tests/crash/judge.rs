//! The real verifier over a database, in this process: what would the daemon say?

use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;

use dovelatch::attempt::{Attempt, Verdict};
use dovelatch::config::Config;
use dovelatch::model::{ClientText, Mechanism, Service};
use dovelatch::secret::Secret;
use dovelatch::store::{Identity, Keep};
use dovelatch::verify::{Settings, Verifier};

use crate::now;

/// Longer than any verdict takes, and an attempt is put off after 4 s.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was said about a log-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    In,
    Refused,
    Later,
}

pub(crate) struct Judge(Verifier);

impl Judge {
    pub(crate) fn over(database: &Path) -> Self {
        let config = Config::without_file();
        let settings = Settings {
            database: database.to_owned(),
            threads: 1,
            desks: 1,
            uses: config.keep.uses,
            keep: Keep {
                tombstones: config.keep.tombstones,
                events: config.keep.events,
            },
        };
        Self(Verifier::start(settings, Identity::default()).unwrap())
    }

    pub(crate) fn ask(&self, mailbox: &str, password: &str) -> Answer {
        let attempt = Attempt {
            mailbox: mailbox.parse().ok(),
            person: None,
            claimed: ClientText::new(mailbox.as_bytes()),
            secret: Secret::new(password.as_bytes().to_vec()),
            mechanism: Mechanism::Plain,
            service: Service::Imap,
            origin: None,
            local: None,
        };
        let (sender, verdict) = channel();
        let answer = move |verdict| {
            let _ = sender.send(verdict);
        };
        self.0.submit(1, attempt, now(), answer, |_| ());
        match verdict.recv_timeout(PATIENCE).expect("a verdict") {
            Verdict::Allow(_) => Answer::In,
            Verdict::Deny => Answer::Refused,
            Verdict::TryLater => Answer::Later,
        }
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        self.0.stop();
    }
}
