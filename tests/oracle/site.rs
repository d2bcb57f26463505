//! A mail site with a mailbox of every kind that refuses, and the daemon in a process of its own.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use dovelatch::admin::{Admin, Issued};
use dovelatch::clock;
use dovelatch::config::Config;
use dovelatch::model::{Actor, Limits, Mailbox, Person, Timestamp, Via};
use dovelatch::password::generate::Password;
use dovelatch::password::tag::Tag;
use dovelatch::secret::Secret;
use dovelatch::store::{IfThere, Store};
use tempfile::TempDir;

use crate::child::KilledOnDrop;
use crate::peer::Peer;
use crate::{tested, wait};

/// Mailboxes beside those of the cases, so that the database is no single page. Their names are the even
/// numbers; an odd one lies between two of them, and there is none.
const OTHERS: u32 = 1_000;

/// A mailbox of that number, if it is even: all names are of one length.
pub(crate) fn name(number: u32) -> String {
    format!("box{number:04}@example.org")
}

/// The database, and what its passwords are.
pub(crate) struct Site {
    directory: TempDir,
    admin: Admin,
    tags: HashSet<Tag>,
}

impl Site {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let config = Config::without_file();
        let database = directory.path().join("dovelatch.db");
        let (mut store, _) = Store::open_or_create(&database, clock::now()).unwrap();
        let actor = Actor {
            name: "test".to_owned(),
            via: Via::CommandLine,
        };
        let all: Vec<Mailbox> = (0..OTHERS)
            .map(|number| name(2 * number).parse().unwrap())
            .collect();
        store
            .add_mailboxes(&all, IfThere::Refuse, &actor, clock::now())
            .unwrap();
        let admin = Admin {
            store,
            actor,
            cost: config.hash.generated,
        };
        let tags = HashSet::new();
        Self {
            directory,
            admin,
            tags,
        }
    }

    /// A device password of this mailbox, issued a year ago.
    pub(crate) fn issue(&mut self, mailbox: &str, label: &str, limits: &Limits) -> Issued {
        self.issue_to(mailbox, None, label, limits)
    }

    /// The same with a hash of some ms.
    pub(crate) fn issue_dearly(&mut self, mailbox: &str, label: &str) -> Issued {
        let usual = std::mem::replace(&mut self.admin.cost, "m=16384,t=1,p=1".parse().unwrap());
        let issued = self.issue(mailbox, label, &Limits::default());
        self.admin.cost = usual;
        issued
    }

    pub(crate) fn issue_to(
        &mut self,
        mailbox: &str,
        person: Option<&Person>,
        label: &str,
        limits: &Limits,
    ) -> Issued {
        let (mailbox, label) = (mailbox.parse().unwrap(), label.parse().unwrap());
        let issued = self
            .admin
            .issue(&mailbox, person, &label, limits, year_ago());
        let issued = issued.unwrap();
        self.tags.insert(self.tag(&issued.password));
        issued
    }

    /// Replaces it by another, at once.
    pub(crate) fn rotate(&mut self, old: &Issued) {
        let new = self.admin.begin_rotation(&old.device.id, clock::now());
        let new = new.unwrap();
        self.tags.insert(self.tag(&new.password));
        self.admin
            .finish_rotation(&new, None, clock::now())
            .unwrap();
    }

    /// The store, and who changes it.
    pub(crate) fn store(&mut self) -> (&mut Store, Actor) {
        (&mut self.admin.store, self.admin.actor.clone())
    }

    fn tag(&self, typed: &Secret) -> Tag {
        let password = Password::from_typed(typed).unwrap();
        self.admin.store.tag_key().tag(&password)
    }

    /// Of the shape of a device password, and its tag is nobody's.
    pub(crate) fn wrong(&self) -> String {
        loop {
            let password = Password::generate().unwrap().shown();
            if !self.tags.contains(&self.tag(&password)) {
                return text(&password);
            }
        }
    }

    /// A wrong one with the tag of this right one: it costs the daemon a hash.
    pub(crate) fn wrong_of_tag(&self, right: &Issued) -> String {
        let wanted = self.tag(&right.password);
        loop {
            let password = Password::generate().unwrap().shown();
            if self.tag(&password) == wanted {
                return text(&password);
            }
        }
    }

    /// The daemon, with refusals put off for so long.
    pub(crate) fn serve(&self, failure_delay: &str) -> Daemon {
        let path = |name: &str| self.directory.path().join(name);
        let (database, socket, file) = (path("dovelatch.db"), path("auth"), path("dovelatch.toml"));
        let text = format!(
            "database = {database:?}\n[[listen]]\ntype = \"auth\"\npath = {socket:?}\n\
             failure_delay = {failure_delay:?}\n"
        );
        fs::write(&file, text).unwrap();
        let child = tested::command()
            .arg("serve")
            .env("DOVELATCH_CONFIG", &file)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Daemon {
            _process: KilledOnDrop(child),
            socket,
        };
        wait::until("the socket", wait::LONG, || {
            daemon.socket.exists().then_some(())
        });
        daemon
    }
}

pub(crate) struct Daemon {
    _process: KilledOnDrop,
    socket: PathBuf,
}

impl Daemon {
    pub(crate) fn peer(&self) -> Peer {
        Peer::connect(&self.socket)
    }
}

pub(crate) fn text(secret: &Secret) -> String {
    String::from_utf8(secret.expose().to_vec()).unwrap()
}

fn year_ago() -> Timestamp {
    clock::now().minus(Duration::from_secs(365 * 86_400))
}
