//! What an operator does that needs more than the store: issuing and rotating device passwords.
//!
//! A password is stored first, shown then, and taken back if it could not be shown: so one that works
//! unseen exists for that moment only, and one that was seen always works. A rotation ends the old
//! secret last, when the new one was shown.

use crate::model::{Actor, DeviceId, Label, Limits, Mailbox, Person, Timestamp};
use crate::password::generate::Password;
use crate::password::phc::{self, Arena, Cost};
use crate::random;
use crate::secret::Secret;
use crate::store::{self, DeviceRow, NewDevice, NewSecret, SecretId, Store};

/// How often a password is drawn again because its tag or its id is taken. With 1,000 secrets on a
/// mailbox one draw in 66 meets a tag; 64 in a row never happen by chance below tens of thousands.
const MAX_DRAWS: u32 = 64;

/// Acts for one operator on one database.
#[derive(Debug)]
pub struct Admin {
    pub store: Store,
    pub actor: Actor,
    /// Of the hashes of new passwords.
    pub cost: Cost,
}

/// A password to be shown, once.
#[derive(Debug)]
pub struct Issued {
    pub device: DeviceRow,
    /// As shown to people.
    pub password: Secret,
    /// The second secret of a rotation; `None` if the whole device password is new.
    pub(crate) secret: Option<SecretId>,
}

/// Why no password was made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("cannot make a password")]
    Password(#[from] phc::Error),
    #[error("cannot draw random bytes")]
    Random(#[from] random::Error),
}

impl Error {
    /// A stable word for `--json`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::Password(_) => "cannot_hash",
            Self::Random(_) => "no_random_bytes",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Password(error) => error.hint(),
            Self::Random(_) => Some("the kernel has no random bytes: look into the system's log"),
        }
    }
}

impl Admin {
    /// Issues a new device password for a person, or for the owner of the mailbox. It works from now on; call [`Self::withdraw`] if it cannot be shown.
    ///
    /// # Errors
    ///
    /// [`store::Error::NoSuchMailbox`], [`store::Error::NoSuchPerson`], [`store::Error::NoAccess`],
    /// [`store::Error::LabelTaken`], or whatever keeps the database from being written: nothing was issued
    /// then.
    pub fn issue(
        &mut self,
        mailbox: &Mailbox,
        person: Option<&Person>,
        label: &Label,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<Issued, Error> {
        let (device, password) = self.draw(|admin, secret| {
            let id = DeviceId::random()?;
            let new = NewDevice {
                id: &id,
                mailbox,
                person,
                label,
                limits,
                secret,
            };
            Ok(admin.store.issue(&new, &admin.actor, now)?)
        })?;
        Ok(Issued {
            device,
            password,
            secret: None,
        })
    }

    /// A second secret for the same entry; the old one works on until [`Self::finish_rotation`].
    ///
    /// # Errors
    ///
    /// [`store::Error::NoSuchDevice`], [`store::Error::AlreadyRevoked`], or whatever keeps the database
    /// from being written.
    pub fn begin_rotation(&mut self, device: &DeviceId, now: Timestamp) -> Result<Issued, Error> {
        // Read first: once the secret is stored, nothing may go wrong before it is shown.
        let device = self.store.device(device)?;
        let (secret, password) = self.draw(|admin, secret| {
            let (store, actor) = (&mut admin.store, &admin.actor);
            Ok(store.add_secret(&device.id, &secret, actor, now)?)
        })?;
        Ok(Issued {
            device,
            password,
            secret: Some(secret),
        })
    }

    /// The new password was shown: the old one ends, at `old_until` if that is given and still to come.
    /// Nothing to do for one from [`Self::issue`].
    ///
    /// # Errors
    ///
    /// [`store::Error::AlreadyRevoked`] or [`store::Error::AlreadyEnded`] if somebody else was faster: the
    /// password that was shown does not work.
    pub fn finish_rotation(
        &mut self,
        issued: &Issued,
        old_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), Error> {
        if let Some(secret) = issued.secret {
            let (id, actor) = (&issued.device.id, &self.actor);
            self.store
                .finish_rotation(id, secret, old_until, actor, now)?;
        }
        Ok(())
    }

    /// Changes the limits of a device password, as [`Store::set_limits`] does; returns it as it is now.
    ///
    /// # Errors
    ///
    /// [`store::Error::NoSuchDevice`], [`store::Error::AlreadyRevoked`].
    pub fn set_limits(
        &mut self,
        device: &DeviceId,
        change: impl FnOnce(Limits) -> Limits,
        now: Timestamp,
    ) -> Result<DeviceRow, Error> {
        Ok(self.store.set_limits(device, change, &self.actor, now)?)
    }

    /// The password could not be shown: it must not work. That somebody else ended it is as good.
    ///
    /// # Errors
    ///
    /// Whatever keeps the database from being written: the password still works, and nobody knows it.
    pub fn withdraw(&mut self, issued: &Issued, now: Timestamp) -> Result<(), Error> {
        let id = &issued.device.id;
        let withdrawn = match issued.secret {
            Some(secret) => self.store.withdraw_secret(id, secret, &self.actor, now),
            None => self.store.withdraw(id, &self.actor, now),
        };
        match withdrawn {
            Err(store::Error::AlreadyRevoked { .. } | store::Error::AlreadyEnded { .. }) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Draws a password and has it stored, again where its tag or id is taken. Returns what was stored,
    /// and the password as shown to people.
    fn draw<T>(
        &mut self,
        mut store: impl FnMut(&mut Self, NewSecret<'_>) -> Result<T, Error>,
    ) -> Result<(T, Secret), Error> {
        let mut arena = Arena::default();
        let mut draws = 1;
        loop {
            let password = Password::generate()?;
            let phc = phc::hash(&password, self.cost, &mut arena)?;
            let secret = NewSecret {
                tag: self.store.tag_key().tag(&password),
                phc: &phc,
            };
            match store(self, secret) {
                Ok(stored) => return Ok((stored, password.shown())),
                Err(Error::Store(store::Error::TagTaken | store::Error::IdTaken { .. }))
                    if draws < MAX_DRAWS =>
                {
                    draws += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Via;
    use crate::store::{IfThere, Revoked, Store};

    fn admin() -> (Admin, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test.db");
        let (mut store, _) = Store::open_or_create(&path, at(0)).unwrap();
        let actor = Actor {
            name: "root".to_owned(),
            via: Via::CommandLine,
        };
        store.add_mailbox(&ana(), &actor, at(0)).unwrap();
        let cost = Cost {
            memory_kib: 8,
            passes: 1,
            lanes: 1,
        };
        (Admin { store, actor, cost }, directory)
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(1_795_600_000 + seconds)
    }

    fn ana() -> Mailbox {
        "ana@example.org".parse().unwrap()
    }

    fn issue(admin: &mut Admin, label: &str) -> Issued {
        let label = label.parse().unwrap();
        admin
            .issue(&ana(), None, &label, &Limits::default(), at(1))
            .unwrap()
    }

    /// The candidate that a log-in with this password would meet, if its hash matches.
    fn candidate(directory: &tempfile::TempDir, password: &Secret) -> store::Candidate {
        let path = directory.path().join("test.db");
        let mut reader = store::Reader::new(path, store::Identity::default());
        let password = Password::from_typed(password).unwrap();
        let found = reader
            .look_up(Some(&ana()), Some(&password), now())
            .unwrap();
        let candidate = found.unwrap().candidate.unwrap();
        let matched = phc::verify(&password, &candidate.phc, &mut Arena::default()).unwrap();
        assert!(matched.is_some(), "the tag led to another password");
        candidate
    }

    #[expect(clippy::disallowed_methods, reason = "an instant has no other origin")]
    fn now() -> std::time::Instant {
        std::time::Instant::now()
    }

    #[test]
    fn an_issued_password_is_found_and_matches() {
        let (mut admin, directory) = admin();
        let phone = issue(&mut admin, "phone");
        let laptop = issue(&mut admin, "laptop");
        assert_ne!(phone.password, laptop.password);
        let found = candidate(&directory, &phone.password);
        assert_eq!((found.device, found.ended), (phone.device.id, None));
        assert_eq!(
            candidate(&directory, &laptop.password).device,
            laptop.device.id
        );
    }

    #[test]
    fn a_withdrawn_password_does_not_work() {
        let (mut admin, directory) = admin();
        let phone = issue(&mut admin, "phone");
        admin.withdraw(&phone, at(2)).unwrap();
        assert_eq!(candidate(&directory, &phone.password).revoked, Some(at(2)));
        // Twice is no harm, and the label is free again.
        admin.withdraw(&phone, at(3)).unwrap();
        issue(&mut admin, "phone");
    }

    #[test]
    fn a_rotation_ends_the_old_password_last() {
        let (mut admin, directory) = admin();
        let old = issue(&mut admin, "phone");
        let new = admin.begin_rotation(&old.device.id, at(2)).unwrap();
        assert_eq!(new.device, old.device);
        for password in [&old.password, &new.password] {
            assert_eq!(candidate(&directory, password).ended, None);
        }
        admin.finish_rotation(&new, None, at(3)).unwrap();
        assert_eq!(candidate(&directory, &old.password).ended, Some(at(3)));
        assert_eq!(candidate(&directory, &new.password).ended, None);
    }

    #[test]
    fn a_withdrawn_rotation_leaves_the_old_password_as_it_was() {
        let (mut admin, directory) = admin();
        let old = issue(&mut admin, "phone");
        let new = admin.begin_rotation(&old.device.id, at(2)).unwrap();
        admin.withdraw(&new, at(3)).unwrap();
        assert_eq!(candidate(&directory, &old.password).ended, None);
        assert_eq!(candidate(&directory, &new.password).ended, Some(at(3)));
        assert_eq!(admin.store.device(&old.device.id).unwrap(), old.device);
    }

    #[test]
    fn a_password_for_a_person_opens_the_mailbox_in_their_name() {
        let (mut admin, directory) = admin();
        let bob: Person = "bob".parse().unwrap();
        let phone: Label = "phone".parse().unwrap();
        let limits = Limits::default();
        let refused = admin.issue(&ana(), Some(&bob), &phone, &limits, at(1));
        assert_eq!(refused.unwrap_err().code(), "no_such_person");
        let (store, actor) = (&mut admin.store, &admin.actor);
        store
            .add_persons(std::slice::from_ref(&bob), IfThere::Refuse, actor, at(1))
            .unwrap();
        let access = store.give_access(&ana(), &bob, actor, at(1)).unwrap();
        let issued = admin.issue(&ana(), Some(&bob), &phone, &limits, at(2));
        let issued = issued.unwrap();
        assert_eq!(issued.device.access, Some(access));
        // The same label of another person is another device password.
        let own = issue(&mut admin, "phone");
        let behind = candidate(&directory, &issued.password).access.unwrap();
        assert_eq!(behind.person, bob);
        assert_eq!(candidate(&directory, &own.password).access, None);
    }

    #[test]
    fn limits_that_are_set_are_met_by_the_next_log_in() {
        let (mut admin, directory) = admin();
        let phone = issue(&mut admin, "phone");
        let limits = Limits {
            expires: Some(at(100)),
            ..Limits::default()
        };
        let set = admin.set_limits(&phone.device.id, |_| limits.clone(), at(2));
        let set = set.unwrap();
        assert_eq!(set.limits, limits);
        assert_eq!(candidate(&directory, &phone.password).limits, limits);
    }

    #[test]
    fn a_rotation_that_keeps_the_old_password_gives_it_an_end() {
        let (mut admin, directory) = admin();
        let old = issue(&mut admin, "phone");
        let new = admin.begin_rotation(&old.device.id, at(2)).unwrap();
        admin.finish_rotation(&new, Some(at(100)), at(3)).unwrap();
        let kept = candidate(&directory, &old.password);
        assert_eq!((kept.ended, kept.valid_until), (None, Some(at(100))));
        assert_eq!(candidate(&directory, &new.password).valid_until, None);
    }

    #[test]
    fn a_taken_label_is_refused_and_nothing_is_issued() {
        let (mut admin, _directory) = admin();
        issue(&mut admin, "phone");
        let again = admin.issue(
            &ana(),
            None,
            &"phone".parse().unwrap(),
            &Limits::default(),
            at(2),
        );
        let error = again.unwrap_err();
        assert_eq!(error.code(), "label_taken");
        let all = admin.store.devices(None, Revoked::Shown).unwrap();
        assert_eq!(all.len(), 1);
    }

    #[test]
    fn a_taken_tag_draws_another_password_a_bounded_number_of_times() {
        let (mut admin, _directory) = admin();
        let mut tries = 0;
        let drawn = admin.draw(|_, _| {
            tries += 1;
            if tries < 3 {
                return Err(store::Error::TagTaken.into());
            }
            Ok(tries)
        });
        assert_eq!(drawn.unwrap().0, 3);
        let mut tries = 0;
        let refused = admin.draw::<()>(|_, _| {
            tries += 1;
            Err(store::Error::TagTaken.into())
        });
        assert!(matches!(refused, Err(Error::Store(store::Error::TagTaken))));
        assert_eq!(tries, MAX_DRAWS);
    }
}
