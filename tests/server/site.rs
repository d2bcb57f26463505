//! A mail site in a temporary directory: database, configuration, sockets.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dovelatch::admin::{Admin, Issued};
use dovelatch::clock;
use dovelatch::config::{Config, Listener, ListenerType};
use dovelatch::model::{Actor, Limits, Mechanism, Via};
use dovelatch::server::Running;
use dovelatch::store::Store;
use tempfile::TempDir;

/// Two mailboxes, ana's with a device password.
pub(crate) struct Site {
    directory: TempDir,
    pub(crate) config: Config,
}

/// How long the listener of a site puts refusals off: long enough to be told from none at all.
pub(crate) const DELAY: Duration = Duration::from_millis(300);

impl Site {
    /// Without a database.
    pub(crate) fn bare() -> Self {
        let directory = TempDir::new().unwrap();
        let mut config = Config::without_file();
        config.database = directory.path().join("dovelatch.db");
        config.hash.threads = 1;
        config.listeners = vec![Listener {
            name: "auth".to_owned(),
            kind: ListenerType::Auth,
            path: directory.path().join("auth"),
            owner: None,
            group: None,
            mode: 0o600,
            failure_delay: DELAY,
            mechanisms: Mechanism::ALL.to_vec(),
        }];
        Self { directory, config }
    }

    pub(crate) fn new() -> Self {
        let site = Self::bare();
        site.make_database();
        site
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.config.listeners[0].path.clone()
    }

    pub(crate) fn admin(&self) -> Admin {
        let actor = Actor {
            name: "test".to_owned(),
            via: Via::CommandLine,
        };
        let (store, _) = Store::open_or_create(&self.config.database, clock::now()).unwrap();
        Admin {
            store,
            actor,
            cost: self.config.hash.generated,
        }
    }

    pub(crate) fn make_database(&self) {
        let mut admin = self.admin();
        for mailbox in ["ana@example.org", "ben@example.org"] {
            let actor = admin.actor.clone();
            admin
                .store
                .add_mailbox(&mailbox.parse().unwrap(), &actor, clock::now())
                .unwrap();
        }
    }

    /// A new device password of ana's.
    pub(crate) fn issue(&self, label: &str) -> Issued {
        let mailbox = "ana@example.org".parse().unwrap();
        let label = label.parse().unwrap();
        self.admin()
            .issue(&mailbox, None, &label, &Limits::default(), clock::now())
            .unwrap()
    }

    pub(crate) fn start(&self) -> Running {
        Running::start(&self.config).unwrap()
    }

    /// The configuration as a file.
    pub(crate) fn file(&self) -> PathBuf {
        let path = self.path().join("dovelatch.toml");
        let mut text = format!("database = {:?}\n", self.config.database);
        for listener in &self.config.listeners {
            text += &format!(
                "[[listen]]\nname = {:?}\ntype = \"auth\"\npath = {:?}\nmode = \"{:04o}\"\nfailure_delay = \"{}ms\"\n",
                listener.name,
                listener.path,
                listener.mode,
                listener.failure_delay.as_millis(),
            );
        }
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// As shown to people.
pub(crate) fn shown(issued: &Issued) -> String {
    String::from_utf8(issued.password.expose().to_vec()).unwrap()
}
