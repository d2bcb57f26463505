//! Whatever was done before and after backups were taken, and however often one was restored: nothing that
//! was refused works again, and nothing that worked is gone without a word.
//!
//! `DOVELATCH_RESTORE_CASES` says how many histories there are; 16 if it is not set.

use proptest::prelude::*;

use super::*;
use crate::store::EventRow;

/// Something that somebody does; numbers choose among what there is.
#[derive(Debug, Clone, Copy)]
enum Act {
    Issue {
        mailbox: usize,
        person: bool,
    },
    Rotate {
        device: usize,
        keep: bool,
    },
    Revoke {
        device: usize,
    },
    Limit {
        device: usize,
    },
    Rename {
        device: usize,
    },
    Enable {
        mailbox: usize,
        enabled: bool,
    },
    RemoveMailbox {
        mailbox: usize,
    },
    AddMailbox {
        mailbox: usize,
    },
    GiveAccess {
        mailbox: usize,
    },
    TakeAccess {
        mailbox: usize,
    },
    RemovePerson,
    AddPerson,
    Backup,
    /// By hand, as no manual tells anybody to.
    PutInPlace {
        backup: usize,
    },
    Restore {
        backup: usize,
    },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..2_usize, any::<bool>()).prop_map(|(mailbox, person)| Act::Issue { mailbox, person }),
        4 => (0..9_usize, any::<bool>()).prop_map(|(device, keep)| Act::Rotate { device, keep }),
        3 => (0..9_usize).prop_map(|device| Act::Revoke { device }),
        1 => (0..9_usize).prop_map(|device| Act::Limit { device }),
        1 => (0..9_usize).prop_map(|device| Act::Rename { device }),
        2 => (0..2_usize, any::<bool>()).prop_map(|(mailbox, enabled)| Act::Enable { mailbox, enabled }),
        1 => (0..2_usize).prop_map(|mailbox| Act::RemoveMailbox { mailbox }),
        2 => (0..2_usize).prop_map(|mailbox| Act::AddMailbox { mailbox }),
        2 => (0..2_usize).prop_map(|mailbox| Act::GiveAccess { mailbox }),
        1 => (0..2_usize).prop_map(|mailbox| Act::TakeAccess { mailbox }),
        1 => Just(Act::RemovePerson),
        1 => Just(Act::AddPerson),
        3 => Just(Act::Backup),
        1 => (0..9_usize).prop_map(|backup| Act::PutInPlace { backup }),
        3 => (0..9_usize).prop_map(|backup| Act::Restore { backup }),
    ]
}

/// A history: what was made, and the backups that were taken on the way.
struct History {
    site: Site,
    /// As in a daemon: it is open all the time, so that no other is the last to close.
    open: Option<Store>,
    clock: i64,
    /// Every tag that was ever given out, with its mailbox and device.
    secrets: Vec<(&'static str, u16, DeviceId)>,
    backups: Vec<PathBuf>,
}

impl History {
    fn new() -> Self {
        let site = Site::new();
        let secrets = vec![
            (ANA, 1, site.phone.clone()),
            (OFFICE, 2, site.laptop.clone()),
        ];
        Self {
            open: Some(site.store()),
            site,
            clock: 100,
            secrets,
            backups: Vec::new(),
        }
    }

    fn next_tag(&self) -> u16 {
        u16::try_from(self.secrets.len()).unwrap() + 1
    }

    /// What the rules refuse is nothing that happens.
    fn go_on(&mut self, act: Act) {
        self.clock += 1;
        let (now, by) = (at(self.clock), root());
        let name = |mailbox: usize| [ANA, OFFICE][mailbox];
        let mut store = self.site.store();
        let device = |device: usize| self.secrets[device % self.secrets.len()].clone();
        let tag = self.next_tag();
        let phc = phc(tag);
        let secret = NewSecret {
            tag: Tag::from_bits(tag),
            phc: &phc,
        };
        let names = |index| mailbox(name(index));
        match act {
            Act::Issue { mailbox, person } => {
                let id = DeviceId::random().unwrap();
                let text: Label = label(&format!("device {tag}"));
                let of = person.then(bob);
                let new = NewDevice {
                    id: &id,
                    mailbox: &names(mailbox),
                    person: of.as_ref(),
                    label: &text,
                    limits: &Limits::default(),
                    secret,
                };
                if store.issue(&new, &by, now).is_ok() {
                    self.secrets.push((name(mailbox), tag, id));
                }
            }
            Act::Rotate {
                device: index,
                keep,
            } => {
                let (mailbox, _, id) = device(index);
                if let Ok(added) = store.add_secret(&id, &secret, &by, now) {
                    let until = keep.then_some(at(1_000_000));
                    store.finish_rotation(&id, added, until, &by, now).unwrap();
                    self.secrets.push((mailbox, tag, id));
                }
            }
            Act::Revoke { device: index } => {
                let _ = store.revoke(&[device(index).2], &by, now);
            }
            Act::Limit { device: index } => {
                let limits = Limits {
                    expires_unused_days: Some(tag.into()),
                    ..Limits::default()
                };
                let _ = store.set_limits(&device(index).2, |_| limits, &by, now);
            }
            Act::Rename { device: index } => {
                let text = label(&format!("renamed {}", self.clock));
                let _ = store.rename(&device(index).2, &text, &by, now);
            }
            Act::Enable { mailbox, enabled } => {
                let _ = store.set_mailbox_enabled(&names(mailbox), enabled, &by, now);
            }
            Act::RemoveMailbox { mailbox } => {
                let _ = store.remove_mailbox(&names(mailbox), &by, now);
            }
            Act::AddMailbox { mailbox } => {
                let _ = store.add_mailbox(&names(mailbox), &by, now);
            }
            Act::GiveAccess { mailbox } => {
                let _ = store.give_access(&names(mailbox), &bob(), &by, now);
            }
            Act::TakeAccess { mailbox } => {
                let _ = store.take_access(&names(mailbox), &bob(), &by, now);
            }
            Act::RemovePerson => {
                let _ = store.remove_person(&bob(), &by, now);
            }
            Act::AddPerson => {
                let _ = store.add_persons(&[bob()], IfThere::Skip, &by, now);
            }
            Act::Backup => {
                let file = self.site.beside(&format!("backup-{}.db", self.clock));
                store.backup(&file).unwrap();
                self.backups.push(file);
            }
            Act::PutInPlace { backup } => {
                drop(store);
                self.put_in_place(backup);
            }
            Act::Restore { backup } => {
                drop(store);
                self.restore(backup);
            }
        }
    }

    fn backup(&self, backup: usize) -> Option<&PathBuf> {
        self.backups.get(backup % self.backups.len().max(1))
    }

    fn put_in_place(&mut self, backup: usize) {
        // The last to close takes the log with it.
        drop(self.open.take());
        if let Some(file) = self.backup(backup) {
            fs::copy(file, &self.site.path).unwrap();
        }
        self.open = Some(self.site.store());
    }

    /// Restores one of the backups, and holds what becomes of each secret against what was before.
    fn restore(&self, backup: usize) {
        let Some(file) = self.backup(backup) else {
            return;
        };
        let current = self.site.beside("current.db");
        let _ = fs::remove_file(&current);
        self.site.store().backup(&current).unwrap();
        let (before, then) = (Store::open(&current).unwrap(), source::read(file).unwrap());
        let was = Reader::new(current, Identity::default()).into();
        let restore = Restore::prepare(file, &self.site.path).unwrap();
        let missing = missing_lines(&then, &before);
        if !missing.is_empty() {
            let path = self.site.path.clone();
            assert_eq!(
                restore.unknown(),
                Some(Unknown::Older { path }),
                "{missing:?}"
            );
            return self.accept_what_nothing_tells(file, restore);
        }
        assert_eq!(restore.unknown(), None);
        let outcome = restore
            .run(Wishes::default(), &root(), at(self.clock))
            .unwrap();
        let (store, is) = (self.site.store(), self.site.reader());
        assert_eq!(store.check().unwrap(), Vec::<String>::new());
        for (mailbox, tag, device) in &self.secrets {
            let [worked, works] = [&was, &is].map(|reader| works(reader, mailbox, *tag));
            assert!(worked || !works, "{tag} of {mailbox} is alive again");
            let in_backup = then
                .device(device)
                .is_ok_and(|device| device.revoked.is_none());
            let is_lost = outcome.lost.devices.iter().any(|lost| lost.id == *device);
            if worked && !works {
                assert!(
                    is_lost && !in_backup,
                    "{tag} of {mailbox} is gone, and nobody said so"
                );
            }
            let known = [&before, &then, &store].map(|store| store.device(device));
            let ([Ok(_), _, now] | [_, Ok(_), now]) = &known else {
                continue;
            };
            let now = now.as_ref().unwrap();
            if let (Ok(before), None) = (&known[0], now.revoked) {
                assert_eq!(now.limits, before.limits);
                assert_eq!(now.old_until, before.old_until);
            }
        }
        for old in [&before, &then] {
            assert_eq!(missing_lines(old, &store), Vec::<EventRow>::new());
        }
    }

    /// An older file was put in place: nothing happens unless somebody says so, and then all is as in the
    /// backup.
    fn accept_what_nothing_tells(&self, file: &Path, restore: Restore) {
        let (by, now) = (root(), at(self.clock));
        let refused = restore.plan(Wishes::default(), &by, now);
        assert!(
            matches!(refused, Err(RestoreError::Undecided { .. })),
            "{refused:?}"
        );
        let done = restore.run(accept(), &by, now).unwrap();
        assert!(done.aside.is_some_and(|aside| aside.exists()));
        let then = self.site.beside("then.db");
        fs::copy(file, &then).unwrap();
        let then = Reader::new(then, Identity::default()).into();
        let is = self.site.reader();
        for (mailbox, tag, _) in &self.secrets {
            assert_eq!(works(&is, mailbox, *tag), works(&then, mailbox, *tag));
        }
        assert_eq!(self.site.store().check().unwrap(), Vec::<String>::new());
    }
}

/// What the log of `one` says, and that of `other` does not.
fn missing_lines(one: &Store, other: &Store) -> Vec<EventRow> {
    let [one, other] = [one, other].map(|store| store.events(EventFilter::latest(10_000)).unwrap());
    let same = |one: &EventRow, other: &EventRow| {
        (one.at, &one.action, &one.device, &one.detail)
            == (other.at, &other.action, &other.device, &other.detail)
    };
    let is_missing = |event: &EventRow| !other.iter().any(|other| same(event, other));
    one.into_iter().filter(is_missing).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_was_done_nothing_that_was_refused_works_after_a_restore(
        acts in prop::collection::vec(act(), 1..30)
    ) {
        let mut history = History::new();
        for act in acts {
            history.go_on(act);
        }
        // And the oldest backup at the end, whatever came in between.
        history.restore(0);
    }
}

/// `DOVELATCH_RESTORE_CASES` for the long form.
#[expect(clippy::disallowed_methods, reason = "the length of this test")]
fn cases() -> u32 {
    std::env::var("DOVELATCH_RESTORE_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(16)
}
