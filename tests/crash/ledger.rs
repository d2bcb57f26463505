//! What must be true of a database, kept outside of it: the changes that were asked for, and to which
//! states they lead.
//!
//! A change that was acknowledged has happened. One that was cut off has happened or not, and which of the
//! two must be seen in the lists and in the log-ins alike: so a moment has a few states that are possible,
//! and what is found must be one of them, whole.

use std::collections::{BTreeMap, BTreeSet};

use dovelatch::model::{Mailbox, Person};
use dovelatch::store::{DeviceRow, Error, Revoked, Store};

use crate::dice::Dice;

/// Device passwords at which some are revoked again: each is asked for after each kill.
const MANY: usize = 12;

/// What there is, as whoever typed the commands knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// And whether it is enabled.
    mailboxes: BTreeMap<String, bool>,
    persons: BTreeSet<String>,
    /// Mailbox and person.
    accesses: BTreeSet<(String, String)>,
    /// By label: no label is used twice.
    devices: BTreeMap<String, Device>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Device {
    mailbox: String,
    person: Option<String>,
    /// Those that work, as far as anybody has seen them.
    passwords: Vec<String>,
}

/// A change, asked for by a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    AddMailbox(String),
    RemoveMailbox(String),
    Enable(String),
    Disable(String),
    AddPerson(String),
    RemovePerson(String),
    GiveAccess(String, String),
    TakeAccess(String, String),
    Issue {
        mailbox: String,
        person: Option<String>,
        label: String,
    },
    Rotate {
        label: String,
        old: Old,
    },
    Revoke(String),
}

/// What becomes of the old password in a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Old {
    Ends,
    /// For longer than any test runs.
    LivesOn,
}

/// What a command said before it ended or was ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    pub(crate) output: String,
    pub(crate) notes: String,
    /// It ended with exit code 0.
    pub(crate) success: bool,
}

impl Said {
    /// The password, if its line is complete. Where there is none, the line is another.
    fn line(&self) -> Option<&str> {
        Some(self.output.split_once('\n')?.0)
    }
}

impl Change {
    pub(crate) fn arguments(&self, state: &State) -> Vec<String> {
        let mut person = None;
        let words: Vec<&str> = match self {
            Self::AddMailbox(mailbox) => vec!["mailbox", "add", mailbox],
            Self::RemoveMailbox(mailbox) => vec!["mailbox", "remove", "--yes", mailbox],
            Self::Enable(mailbox) => vec!["mailbox", "enable", mailbox],
            Self::Disable(mailbox) => vec!["mailbox", "disable", mailbox],
            Self::AddPerson(person) => vec!["person", "add", person],
            Self::RemovePerson(person) => vec!["person", "remove", "--yes", person],
            Self::GiveAccess(mailbox, person) => vec!["access", "add", mailbox, person],
            Self::TakeAccess(mailbox, person) => vec!["access", "remove", "--yes", mailbox, person],
            Self::Issue {
                mailbox,
                person: whose,
                label,
            } => {
                person = whose.as_deref();
                vec!["add", mailbox, label]
            }
            Self::Rotate { label, old } => {
                let device = &state.devices[label];
                person = device.person.as_deref();
                let mut words = vec!["rotate", &device.mailbox, label];
                match old {
                    Old::Ends => {}
                    Old::LivesOn => words.extend(["--keep-old", "24h"]),
                }
                words
            }
            Self::Revoke(label) => {
                let device = &state.devices[label];
                person = device.person.as_deref();
                vec!["revoke", &device.mailbox, label]
            }
        };
        let person = person.map(|person| ["--person", person]);
        let words = words.into_iter().chain(person.into_iter().flatten());
        words.map(str::to_owned).collect()
    }

    /// The mailbox and the password that the command has shown, if it is one that shows any.
    pub(crate) fn shown(&self, state: &State, said: &Said) -> Option<(String, String)> {
        let mailbox = match self {
            Self::Issue { mailbox, .. } => mailbox,
            Self::Rotate { label, .. } => &state.devices[label].mailbox,
            Self::AddMailbox(_)
            | Self::RemoveMailbox(_)
            | Self::Enable(_)
            | Self::Disable(_)
            | Self::AddPerson(_)
            | Self::RemovePerson(_)
            | Self::GiveAccess(..)
            | Self::TakeAccess(..)
            | Self::Revoke(_) => return None,
        };
        Some((mailbox.clone(), said.line()?.to_owned()))
    }

    /// How many of the [`Self::states`] after `before` are acknowledged by what was said.
    pub(crate) fn acknowledged(&self, said: &Said) -> usize {
        let first = usize::from(said.line().is_some());
        let rotated = said.success || said.notes.contains("The old password ");
        match self {
            Self::Rotate { .. } => first + usize::from(rotated),
            _ => first,
        }
    }

    /// `before`, and the state after each step of the change: a rotation takes two, all else one.
    pub(crate) fn states(&self, before: &State, password: Option<&str>) -> Vec<State> {
        let mut after = before.clone();
        let passwords = password.map(str::to_owned);
        match self {
            Self::AddMailbox(mailbox) => {
                after.mailboxes.insert(mailbox.clone(), true);
            }
            Self::Enable(mailbox) => {
                after.mailboxes.insert(mailbox.clone(), true);
            }
            Self::Disable(mailbox) => {
                after.mailboxes.insert(mailbox.clone(), false);
            }
            Self::RemoveMailbox(mailbox) => {
                after.mailboxes.remove(mailbox);
                after.accesses.retain(|(of, _)| of != mailbox);
                after.devices.retain(|_, device| device.mailbox != *mailbox);
            }
            Self::AddPerson(person) => {
                after.persons.insert(person.clone());
            }
            Self::RemovePerson(person) => {
                after.persons.remove(person);
                after.accesses.retain(|(_, of)| of != person);
                (after.devices).retain(|_, device| device.person.as_ref() != Some(person));
            }
            Self::GiveAccess(mailbox, person) => {
                after.accesses.insert((mailbox.clone(), person.clone()));
            }
            Self::TakeAccess(mailbox, person) => {
                (after.accesses).retain(|access| *access != (mailbox.clone(), person.clone()));
                after.devices.retain(|_, device| {
                    device.mailbox != *mailbox || device.person.as_ref() != Some(person)
                });
            }
            Self::Issue {
                mailbox,
                person,
                label,
            } => {
                let device = Device {
                    mailbox: mailbox.clone(),
                    person: person.clone(),
                    passwords: passwords.into_iter().collect(),
                };
                after.devices.insert(label.clone(), device);
            }
            Self::Rotate { label, old } => {
                let mut between = before.clone();
                let both = between.devices.get_mut(label).unwrap();
                both.passwords.extend(passwords.clone());
                match old {
                    Old::Ends => {
                        let device = after.devices.get_mut(label).unwrap();
                        device.passwords = passwords.into_iter().collect();
                    }
                    Old::LivesOn => after = between.clone(),
                }
                return vec![before.clone(), between, after];
            }
            Self::Revoke(label) => {
                after.devices.remove(label);
            }
        }
        vec![before.clone(), after]
    }

    /// A change that makes sense now. `number` has not been used for a label yet.
    pub(crate) fn choose(dice: &mut Dice, state: &State, domain: &str, number: usize) -> Self {
        let name = |kind: &str, number: usize| format!("{kind}{number}@{domain}");
        loop {
            let mailboxes: Vec<&String> = state.mailboxes.keys().collect();
            let persons: Vec<&String> = state.persons.iter().collect();
            let accesses: Vec<&(String, String)> = state.accesses.iter().collect();
            let labels: Vec<&String> = state.devices.keys().collect();
            let (mailbox, person) = (dice.pick(&mailboxes), dice.pick(&persons));
            let (access, label) = (dice.pick(&accesses), dice.pick(&labels));
            let issue = |mailbox: &str, person: Option<&String>| Self::Issue {
                mailbox: mailbox.to_owned(),
                person: person.cloned(),
                label: format!("device {number}"),
            };
            let new = name("mailbox", dice.below(3));
            let somebody = name("person", dice.below(3));
            let chosen = match dice.below(20) {
                0 if !state.mailboxes.contains_key(&new) => Some(Self::AddMailbox(new)),
                1 => (mailboxes.iter().find(|name| state.mailboxes[**name]))
                    .map(|mailbox| Self::Disable((*mailbox).clone())),
                2 | 3 => (mailboxes.iter().find(|name| !state.mailboxes[**name]))
                    .map(|mailbox| Self::Enable((*mailbox).clone())),
                4 if labels.len() > 6 => {
                    mailbox.map(|mailbox| Self::RemoveMailbox((*mailbox).clone()))
                }
                5 if !state.persons.contains(&somebody) => Some(Self::AddPerson(somebody)),
                6 if labels.len() > 6 => person.map(|person| Self::RemovePerson((*person).clone())),
                7 => mailbox
                    .zip(person)
                    .map(|(mailbox, person)| ((*mailbox).clone(), (*person).clone()))
                    .filter(|access| !state.accesses.contains(access))
                    .map(|(mailbox, person)| Self::GiveAccess(mailbox, person)),
                8 if labels.len() > 6 => access
                    .map(|(mailbox, person)| Self::TakeAccess(mailbox.clone(), person.clone())),
                9 => access.map(|(mailbox, person)| issue(mailbox, Some(person))),
                10..=12 if labels.len() < MANY => mailbox.map(|mailbox| issue(mailbox, None)),
                13..=15 => label.map(|label| Self::Rotate {
                    label: (*label).clone(),
                    old: [Old::Ends, Old::Ends, Old::LivesOn][dice.below(3)],
                }),
                16.. if labels.len() > 2 => label.map(|label| Self::Revoke((*label).clone())),
                _ if mailboxes.is_empty() => Some(Self::AddMailbox(new)),
                _ => None,
            };
            if let Some(chosen) = chosen {
                return chosen;
            }
        }
    }
}

impl State {
    /// Whether this password opens this mailbox.
    pub(crate) fn opens(&self, mailbox: &str, password: &str) -> bool {
        self.mailboxes.get(mailbox) == Some(&true)
            && self.devices.values().any(|device| {
                device.mailbox == mailbox && device.passwords.iter().any(|known| known == password)
            })
    }

    /// Mailbox and password of everything that was seen and has not ended.
    pub(crate) fn living(&self) -> impl Iterator<Item = (&str, &str)> {
        self.devices.values().flat_map(|device| {
            let passwords = device.passwords.iter();
            passwords.map(|password| (device.mailbox.as_str(), password.as_str()))
        })
    }

    /// Whether somebody may know a password of the device with this label.
    pub(crate) fn was_seen(&self, label: &str) -> bool {
        (self.devices.get(label)).is_some_and(|device| !device.passwords.is_empty())
    }

    pub(crate) fn listing(&self) -> Listing {
        Listing {
            mailboxes: self.mailboxes.clone(),
            persons: self.persons.clone(),
            accesses: self.accesses.clone(),
            devices: (self.devices.iter())
                .map(|(label, device)| {
                    (label.clone(), device.mailbox.clone(), device.person.clone())
                })
                .collect(),
        }
    }
}

/// What the lists show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    mailboxes: BTreeMap<String, bool>,
    persons: BTreeSet<String>,
    accesses: BTreeSet<(String, String)>,
    devices: BTreeSet<(String, String, Option<String>)>,
}

impl Listing {
    /// What a database lists of one domain. Several lists, so nobody may be changing it.
    pub(crate) fn of(store: &Store, domain: &str) -> Result<Self, Error> {
        let is_ours = |name: &str| name.ends_with(domain);
        let mailboxes = store.mailboxes()?.into_iter();
        let mailboxes = mailboxes.map(|row| (row.mailbox.as_str().to_owned(), row.enabled));
        let persons = store.persons()?.into_iter();
        let persons = persons.map(|row| row.person.as_str().to_owned());
        let accesses = store.accesses(None, None)?.into_iter();
        let accesses = accesses.map(|row| {
            (
                row.mailbox.as_str().to_owned(),
                row.person.as_str().to_owned(),
            )
        });
        let devices = store.devices(None, Revoked::Hidden)?.into_iter();
        let devices = devices.map(|row: DeviceRow| {
            let (mailbox, person) = (Mailbox::as_str(&row.mailbox), row.person.as_ref());
            (
                row.label.as_str().to_owned(),
                mailbox.to_owned(),
                person.map(|person| Person::as_str(person).to_owned()),
            )
        });
        Ok(Self {
            mailboxes: mailboxes.filter(|(name, _)| is_ours(name)).collect(),
            persons: persons.filter(|name| is_ours(name)).collect(),
            accesses: accesses.filter(|(name, _)| is_ours(name)).collect(),
            devices: devices.filter(|(_, name, _)| is_ours(name)).collect(),
        })
    }
}
