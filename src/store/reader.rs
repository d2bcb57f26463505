//! The daemon's side: one question on every log-in, and those about homes, on a connection that survives trouble.

use std::path::PathBuf;
use std::time::Instant;

use rusqlite::params;

use super::link::{For, Identity, Link, Open};
use super::sqlite::{decode, neighbours};
use super::{Delegated, Error, Found, Home, SecretId, reserve};
use crate::model::{DeviceId, Mailbox, Person};
use crate::password::generate::Password;
use crate::password::tag::{Tag, TagKey};

/// One connection for the log-in path. It opens and reopens by itself.
#[derive(Debug)]
pub struct Reader {
    link: Link,
}

impl Reader {
    /// Opens nothing yet.
    pub fn new(path: PathBuf, identity: Identity) -> Self {
        Self {
            link: Link::new(path, identity, For::Reading),
        }
    }

    /// The same for a thread that must not wait: where a lock is in the way, that is an error at once.
    pub fn at_once(path: PathBuf, identity: Identity) -> Self {
        Self {
            link: Link::new(path, identity, For::ReadingAtOnce),
        }
    }

    /// The mailbox of that name and its one secret with the tag of that password; the same query for
    /// a name that is none and for a password that has no tag.
    ///
    /// Tag and row come from the same database, even if it is replaced at this moment: a tag by the
    /// old one's key would make "wrong password" of every good one.
    ///
    /// # Errors
    ///
    /// Whatever keeps the database from answering, an undecodable row too. All of them mean *try later*.
    pub fn look_up(
        &mut self,
        mailbox: Option<&Mailbox>,
        password: Option<&Password>,
        now: Instant,
    ) -> Result<Option<Found>, Error> {
        let tag = |key: &TagKey| password.map(|password| key.tag(password));
        self.look_up_by(mailbox, tag, now)
    }

    /// For tests that choose their tags.
    #[cfg(test)]
    pub(super) fn look_up_tag(
        &mut self,
        mailbox: Option<&Mailbox>,
        tag: Option<Tag>,
        now: Instant,
    ) -> Result<Option<Found>, Error> {
        self.look_up_by(mailbox, |_| tag, now)
    }

    fn look_up_by(
        &mut self,
        mailbox: Option<&Mailbox>,
        tag: impl FnOnce(&TagKey) -> Option<Tag>,
        now: Instant,
    ) -> Result<Option<Found>, Error> {
        let found = self.link.ask(now, |open| {
            // No name is empty and no tag is negative: both are searched for, and not found.
            let name = mailbox.map_or("", Mailbox::as_str);
            let tag = tag(&open.tag_key).map_or(-1, |tag| i64::from(tag.bits()));
            answer(open, decode::LOOK_UP, params![name, tag])
        })?;
        // A damaged index can lead to a row of another name.
        if found
            .as_ref()
            .is_some_and(|found| Some(&found.mailbox) != mailbox)
        {
            return Err(Error::undecodable("mailbox.name"));
        }
        Ok(found)
    }

    /// Whether it can be believed that [`Self::look_up`], just before, found no such mailbox: asked before
    /// somebody is refused for that.
    ///
    /// # Errors
    ///
    /// As [`Self::look_up`]; [`Error::Undecodable`] if an index is damaged where it was looked for.
    pub fn confirm_no_mailbox(
        &mut self,
        mailbox: Option<&Mailbox>,
        now: Instant,
    ) -> Result<(), Error> {
        let name = mailbox.map_or("", Mailbox::as_str);
        self.confirm(now, |open| {
            let found = open.rows(neighbours::OF_NAME, [name], neighbours::of_name)?;
            Ok(neighbours::are_whole(&found))
        })
    }

    /// The same where it found the mailbox, and no secret that lets in.
    ///
    /// # Errors
    ///
    /// As [`Self::confirm_no_mailbox`].
    pub fn confirm_no_secret(
        &mut self,
        mailbox: &Mailbox,
        password: Option<&Password>,
        now: Instant,
    ) -> Result<(), Error> {
        let tag = |key: &TagKey| password.map(|password| key.tag(password));
        self.confirm_no_secret_by(mailbox, tag, now)
    }

    pub(super) fn confirm_no_secret_by(
        &mut self,
        mailbox: &Mailbox,
        tag: impl FnOnce(&TagKey) -> Option<Tag>,
        now: Instant,
    ) -> Result<(), Error> {
        self.confirm(now, |open| {
            let tag = tag(&open.tag_key).map_or(-1, |tag| i64::from(tag.bits()));
            let values = params![mailbox.as_str(), tag];
            let found = open.rows(neighbours::OF_TAG, values, neighbours::of_tag)?;
            Ok(neighbours::are_whole(&found))
        })
    }

    fn confirm(
        &mut self,
        now: Instant,
        is_whole: impl FnOnce(&mut Open) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        match self.link.ask_again(now, is_whole)? {
            true => Ok(()),
            false => Err(Error::undecodable("an index of mailbox or secret")),
        }
    }

    /// The same row once more, after the hash. `None` if it is gone, or its mailbox was removed.
    ///
    /// If the file was replaced meanwhile, the id may belong to another secret: the caller compares
    /// the PHC string with the one that it verified.
    ///
    /// # Errors
    ///
    /// As [`Self::look_up`].
    pub fn look_again(&mut self, secret: SecretId, now: Instant) -> Result<Option<Found>, Error> {
        self.link
            .ask(now, |open| answer(open, decode::LOOK_AGAIN, [secret.0]))
    }

    /// The row that a log-in with the newest password of this device password would meet. `None` if none
    /// of its hashes is kept any more, or its mailbox was removed.
    ///
    /// # Errors
    ///
    /// As [`Self::look_up`].
    pub fn newest_secret(
        &mut self,
        device: &DeviceId,
        now: Instant,
    ) -> Result<Option<Found>, Error> {
        self.link.ask(now, |open| {
            answer(open, decode::LOOK_AT_DEVICE, [device.as_str()])
        })
    }

    /// For a log-in to the mailbox `wanted` with a device password of the mailbox of `person`'s own name:
    /// both mailboxes, the person's living access to the wanted one, and the one secret with the tag of
    /// that password. The same query whatever of it exists.
    ///
    /// # Errors
    ///
    /// As [`Self::look_up`].
    pub fn look_up_delegated(
        &mut self,
        wanted: Option<&Mailbox>,
        person: Option<&Person>,
        password: Option<&Password>,
        now: Instant,
    ) -> Result<Delegated, Error> {
        let tag = |key: &TagKey| password.map(|password| key.tag(password));
        self.look_up_delegated_by(wanted, person, tag, now)
    }

    /// For tests that choose their tags.
    #[cfg(test)]
    pub(super) fn look_up_delegated_tag(
        &mut self,
        wanted: Option<&Mailbox>,
        person: Option<&Person>,
        tag: Option<Tag>,
        now: Instant,
    ) -> Result<Delegated, Error> {
        self.look_up_delegated_by(wanted, person, |_| tag, now)
    }

    fn look_up_delegated_by(
        &mut self,
        wanted: Option<&Mailbox>,
        person: Option<&Person>,
        tag: impl FnOnce(&TagKey) -> Option<Tag>,
        now: Instant,
    ) -> Result<Delegated, Error> {
        let tag = |open: &Open| tag(&open.tag_key).map_or(-1, |tag| i64::from(tag.bits()));
        self.ask_delegated(decode::LOOK_UP_DELEGATED, wanted, person, tag, now)
    }

    /// The same rows once more, after the hash, as [`Self::look_again`].
    ///
    /// # Errors
    ///
    /// As [`Self::look_up`].
    pub fn look_again_delegated(
        &mut self,
        wanted: Option<&Mailbox>,
        person: Option<&Person>,
        secret: SecretId,
        now: Instant,
    ) -> Result<Delegated, Error> {
        let secret = |_: &Open| secret.0;
        self.ask_delegated(decode::LOOK_AGAIN_DELEGATED, wanted, person, secret, now)
    }

    /// A mailbox, enabled or not, with its own fields. `None` if there is none of that name.
    ///
    /// # Errors
    ///
    /// As [`Self::look_up`]; fields that cannot be understood too: mail that is put somewhere else is lost
    /// to its owner.
    pub fn home(&mut self, mailbox: &Mailbox, now: Instant) -> Result<Option<Home>, Error> {
        let home = self.link.ask(now, |open| {
            let homes = open.rows(decode::HOME, [mailbox.as_str()], decode::home)?;
            Ok(homes.into_iter().next())
        })?;
        // A damaged index can lead to a row of another name.
        if home.as_ref().is_some_and(|home| home.mailbox != *mailbox) {
            return Err(Error::undecodable("mailbox.name"));
        }
        Ok(home)
    }

    /// The next `most` names of mailboxes behind `after`, or the first ones; enabled or not. They come in
    /// the order of their bytes. None is the end.
    ///
    /// # Errors
    ///
    /// As [`Self::look_up`]: a list with a hole in it is no list.
    pub fn names(
        &mut self,
        after: Option<&Mailbox>,
        most: usize,
        now: Instant,
    ) -> Result<Vec<Mailbox>, Error> {
        // No name is empty.
        let behind = after.map_or("", Mailbox::as_str);
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let names: Vec<Mailbox> = self.link.ask(now, |open| {
            open.rows(decode::NAMES, params![behind, most], decode::name)
        })?;
        // With a damaged index somebody who asks for page after page might never come to the end.
        let mut before = after;
        for name in &names {
            if before.is_some_and(|before| before >= name) {
                return Err(Error::undecodable("mailbox.name"));
            }
            before = Some(name);
        }
        Ok(names)
    }

    /// Writes the log back into the database, as far as no other program is in the way, and cuts it if it is
    /// longer than so many bytes ([`super::LONGEST_LOG`], but for tests).
    ///
    /// The command line hardly ever does while the daemon runs, so the daemon has to, every few seconds and
    /// off the log-in path: without it the log grows with every change.
    ///
    /// # Errors
    ///
    /// As [`Self::look_up`]; a read-only database cannot be written back.
    pub fn checkpoint(&mut self, longest_log: u64, now: Instant) -> Result<(), Error> {
        self.link.ask(now, |open| open.write_back(longest_log))
    }

    /// Keeps room for a day on which the disk is full (see [`reserve`]).
    pub fn keep_reserve(&self) {
        reserve::keep(self.link.database());
    }

    fn ask_delegated(
        &mut self,
        sql: &'static str,
        wanted: Option<&Mailbox>,
        person: Option<&Person>,
        tag_or_secret: impl FnOnce(&Open) -> i64,
        now: Instant,
    ) -> Result<Delegated, Error> {
        // No name is empty: it is searched for, and not found.
        let wanted_name = wanted.map_or("", Mailbox::as_str);
        let person_name = person.map_or("", Person::as_str);
        let delegated = self.link.ask(now, |open| {
            let tag_or_secret = tag_or_secret(open);
            let values = params![wanted_name, person_name, tag_or_secret];
            let rows = open.rows(sql, values, decode::delegated)?;
            // The query begins with a row of its own.
            (rows.into_iter().next()).ok_or_else(|| Error::undecodable("mailbox"))
        })?;
        // A damaged index can lead to rows of other names.
        let other_wanted = (delegated.wanted.as_ref())
            .is_some_and(|wanted| wanted.mailbox.as_str() != wanted_name);
        let other_access =
            (delegated.access.as_ref()).is_some_and(|access| access.person.as_str() != person_name);
        let other_found =
            (delegated.found.as_ref()).is_some_and(|found| found.mailbox.as_str() != person_name);
        if other_wanted || other_access || other_found {
            return Err(Error::undecodable("mailbox.name"));
        }
        Ok(delegated)
    }
}

/// Autocommit: a reader inside a transaction would see an old state, and keep the log growing.
fn answer(
    open: &Open,
    question: &'static str,
    values: impl rusqlite::Params,
) -> Result<Option<Found>, Error> {
    let found = open.rows(question, values, decode::found)?;
    Ok(found.into_iter().next())
}
