//! The mail site that everything is measured on: a database with a million device passwords, made
//! through the library, and the configuration beside it.
//!
//! A hash takes its time, so only those that will log in have one of their own. All others share one:
//! their rows are as long, and nobody knows their passwords.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Instant;
use std::{fs, thread};

use dovelatch::clock;
use dovelatch::model::{Actor, DeviceId, Label, Limits, Mailbox, Service, Via};
use dovelatch::password::generate::Password;
use dovelatch::password::phc::{self, Arena, Cost};
use dovelatch::password::tag::{Tag, TagKey};
use dovelatch::store::{Identity, IfThere, NewDevice, NewSecret, Recorder, Store, Uses};
use tempfile::TempDir;

use crate::Scale;
use crate::cpu;
use crate::dialogue::LogIn;

/// Device passwords of an ordinary mailbox.
const LABELS: [&str; 5] = ["phone", "laptop", "tablet", "Thunderbird", "scanner"];

/// Device passwords of the mailboxes that are compared with each other.
const CROWDS: [usize; 3] = [1, 20, 1_000];

/// So many mailboxes of each of these kinds.
const CROWDED: usize = 20;

/// Wrong passwords, and unknown mailboxes.
const WRONG: usize = 5_000;

/// Device passwords of one transaction.
const BATCH: usize = 50_000;

pub struct Site {
    directory: TempDir,
    /// Everyone who can log in, once.
    pub log_ins: Vec<LogIn>,
    /// Passwords that are none, for mailboxes with five device passwords.
    pub wrong: Vec<LogIn>,
    /// Mailboxes that are none.
    pub unknown: Vec<LogIn>,
    pub crowds: Vec<Crowd>,
    /// Those that will be revoked.
    pub doomed: Vec<Doomed>,
    /// Device passwords in the database.
    pub devices: u32,
    /// Bytes of the database, with an event and a use of each device password.
    pub bytes: u32,
}

/// Mailboxes with equally many device passwords.
pub struct Crowd {
    pub devices: usize,
    /// With the device password that was issued last.
    pub good: Vec<LogIn>,
    /// No tag is met: one in 65,536 for each device password would be, by chance, and cost a hash.
    pub bad: Vec<LogIn>,
}

pub struct Doomed {
    pub id: DeviceId,
    pub log_in: LogIn,
}

impl Site {
    /// Takes about a minute for a million device passwords.
    pub fn make(scale: &Scale) -> Self {
        let directory = tempfile::Builder::new().prefix("dl").tempdir();
        let mut site = Self {
            directory: directory.expect("a temporary directory"),
            log_ins: Vec::new(),
            wrong: Vec::new(),
            unknown: Vec::new(),
            crowds: Vec::new(),
            doomed: Vec::new(),
            devices: 0,
            bytes: 0,
        };
        fs::write(site.config(), site.configuration()).expect("own directory");
        let mut builder = Builder::new(&site);
        for number in 0..scale.devices / LABELS.len() {
            let name = format!("mailbox{number:06}@example.org");
            let can_log_in = number * LABELS.len() < scale.can_log_in;
            let real = if can_log_in { LABELS.len() } else { 0 };
            let made = builder.mailbox(&name, LABELS.len(), real);
            let log_ins = made.passwords.iter();
            site.log_ins
                .extend(log_ins.map(|(_, password)| LogIn::good(&name, &shown(password))));
            if number < WRONG {
                let wrong = builder.wrong(&made.tags);
                site.wrong.push(LogIn::bad(&name, &shown(&wrong)));
                let nobody = format!("nobody{number:06}@example.org");
                site.unknown.push(LogIn::bad(&nobody, &shown(&wrong)));
            }
        }
        site.crowds = CROWDS.map(|devices| builder.crowd(devices)).into();
        for number in 0..scale.races.div_ceil(LABELS.len()) {
            let name = format!("doomed{number:06}@example.org");
            let made = builder.mailbox(&name, LABELS.len(), LABELS.len());
            let doomed = made.passwords.into_iter().map(|(id, password)| Doomed {
                id,
                log_in: LogIn::good(&name, &shown(&password)),
            });
            site.doomed.extend(doomed);
        }
        site.devices = builder.finish().try_into().expect("a million");
        let bytes = fs::metadata(site.database()).expect("it is there").len();
        site.bytes = bytes.try_into().expect("below 4 GiB");
        // Like people, in no order: neighbours in the file must not follow each other.
        shuffle(&mut site.log_ins);
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn database(&self) -> PathBuf {
        self.path("dovelatch.db")
    }

    pub fn config(&self) -> PathBuf {
        self.path("dovelatch.toml")
    }

    pub fn socket(&self) -> PathBuf {
        self.path("auth")
    }

    /// Sessions are left alone: there are none, and a Dovecot of this host is none of our business.
    fn configuration(&self) -> String {
        let (database, socket) = (self.database(), self.socket());
        format!(
            "database = {database:?}\n\n\
             [[listen]]\ntype = \"auth\"\npath = {socket:?}\nfailure_delay = \"0s\"\n\n\
             [dovecot]\nkick = \"off\"\n"
        )
    }
}

/// A device password that will be stored.
struct Draft {
    id: DeviceId,
    mailbox: Mailbox,
    label: Label,
    tag: Tag,
    /// `None`: nobody will log in with it.
    password: Option<Password>,
}

/// What was made for one mailbox.
struct Made {
    tags: HashSet<u16>,
    passwords: Vec<(DeviceId, Password)>,
}

struct Builder {
    database: PathBuf,
    key: TagKey,
    actor: Actor,
    /// Shared by all that will not log in.
    filler: String,
    drafts: Vec<Draft>,
    stored: usize,
}

impl Builder {
    fn new(site: &Site) -> Self {
        let (store, _) =
            Store::open_or_create(&site.database(), clock::now()).expect("own directory");
        let password = Password::generate().expect("random bytes");
        let filler = phc::hash(&password, Cost::default(), &mut Arena::default());
        Self {
            database: site.database(),
            key: store.tag_key().clone(),
            actor: Actor {
                name: "root".to_owned(),
                via: Via::CommandLine,
            },
            filler: filler.expect("a hash"),
            drafts: Vec::new(),
            stored: 0,
        }
    }

    /// A mailbox with device passwords; with the last of them, so many, somebody will log in.
    fn mailbox(&mut self, name: &str, devices: usize, real: usize) -> Made {
        let mailbox: Mailbox = name.parse().expect("a name");
        let mut made = Made {
            tags: HashSet::new(),
            passwords: Vec::new(),
        };
        for number in 0..devices {
            let (password, tag) = loop {
                let (password, tag) = self.draw();
                if made.tags.insert(tag.bits()) {
                    break (password, tag);
                }
            };
            let id = DeviceId::random().expect("random bytes");
            let is_real = number + real >= devices;
            if is_real {
                made.passwords.push((id.clone(), password.clone()));
            }
            let label =
                (LABELS.get(number)).map_or_else(|| number.to_string(), ToString::to_string);
            self.drafts.push(Draft {
                id,
                mailbox: mailbox.clone(),
                label: label.parse().expect("a label"),
                tag,
                password: is_real.then_some(password),
            });
        }
        if self.drafts.len() >= BATCH {
            self.store();
        }
        made
    }

    fn crowd(&mut self, devices: usize) -> Crowd {
        let mut crowd = Crowd {
            devices,
            good: Vec::new(),
            bad: Vec::new(),
        };
        for number in 0..CROWDED {
            let name = format!("crowd{number:02}of{devices:04}@example.org");
            let made = self.mailbox(&name, devices, 1);
            let good = made.passwords.iter();
            (crowd.good).extend(good.map(|(_, password)| LogIn::good(&name, &shown(password))));
            // Others each time, as a guesser's are.
            let bad = (0..100).map(|_| LogIn::bad(&name, &shown(&self.wrong(&made.tags))));
            crowd.bad.extend(bad);
        }
        shuffle(&mut crowd.bad);
        crowd
    }

    fn draw(&self) -> (Password, Tag) {
        let password = Password::generate().expect("random bytes");
        let tag = self.key.tag(&password);
        (password, tag)
    }

    /// A password whose tag is none of these.
    fn wrong(&self, tags: &HashSet<u16>) -> Password {
        loop {
            let (password, tag) = self.draw();
            if !tags.contains(&tag.bits()) {
                return password;
            }
        }
    }

    /// Stores the drafts, with a use of each.
    fn store(&mut self) {
        let drafts = std::mem::take(&mut self.drafts);
        let hashes = hashes(&drafts);
        let limits = Limits::default();
        let new: Vec<_> = (drafts.iter().zip(&hashes))
            .map(|(draft, hash)| NewDevice {
                id: &draft.id,
                mailbox: &draft.mailbox,
                person: None,
                label: &draft.label,
                limits: &limits,
                secret: NewSecret {
                    tag: draft.tag,
                    phc: hash.as_ref().unwrap_or(&self.filler),
                },
            })
            .collect();
        let mut mailboxes: Vec<_> = drafts.iter().map(|draft| draft.mailbox.clone()).collect();
        mailboxes.dedup();
        let now = clock::now();
        let mut store = Store::open(&self.database).expect("own database");
        store
            .add_mailboxes(&mailboxes, IfThere::Refuse, &self.actor, now)
            .expect("own database");
        store
            .issue_all(&new, &self.actor, now)
            .expect("own database");
        let uses: Vec<_> = drafts
            .iter()
            .map(|draft| Uses {
                device: draft.id.clone(),
                service: Service::Imap,
                address: Some([203, 0, 113, 7].into()),
                first: now,
                last: now,
                count: 1,
            })
            .collect();
        Recorder::new(self.database.clone(), Identity::default(), 100)
            .record_uses(&uses, Instant::now())
            .expect("own database");
        // The last connection that closes writes the log back.
        drop(store);
        self.stored += drafts.len();
    }

    /// How many device passwords there are.
    fn finish(mut self) -> usize {
        self.store();
        self.stored
    }
}

/// Those of the drafts that have a password, made by all cores.
fn hashes(drafts: &[Draft]) -> Vec<Option<String>> {
    let cores = usize::try_from(cpu::cores()).expect("few");
    let part = drafts.len().div_ceil(cores).max(1);
    let hash_all = |drafts: &[Draft]| -> Vec<Option<String>> {
        let mut arena = Arena::default();
        let mut hash =
            |password| phc::hash(password, Cost::default(), &mut arena).expect("random bytes");
        let passwords = drafts.iter().map(|draft| draft.password.as_ref());
        passwords.map(|password| password.map(&mut hash)).collect()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (drafts.chunks(part))
            .map(|part| scope.spawn(move || hash_all(part)))
            .collect();
        let parts = threads.into_iter().map(|thread| thread.join());
        parts.flat_map(|part| part.expect("no panic")).collect()
    })
}

/// As people type it.
fn shown(password: &Password) -> String {
    String::from_utf8(password.shown().expose().to_vec()).expect("letters")
}

/// The same way each time.
fn shuffle<T>(items: &mut [T]) {
    let mut random: u64 = 1;
    for last in (1..items.len()).rev() {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let below = u64::try_from(last).expect("64 bits") + 1;
        let other = (random >> 33) % below;
        items.swap(last, other.try_into().expect("below"));
    }
}
