//! From an attempt to an outcome: what happens in which order.
//!
//! 1. **Look-up** ([`Checker::look_up`]): the canonical password gives a tag, and mailbox and tag one
//!    row, by the same query whether they exist or not.
//! 2. **First decision** ([`decide::first`]): what could not be let in anyway ends here, without a
//!    hash. So a refusal costs the same for an unknown mailbox, an unknown password and a revoked one. It is
//!    given if the indexes are whole where something was looked for ([`Reader::confirm_no_mailbox`], [`Reader::confirm_no_secret`]).
//! 3. **Memo** ([`Checker::look_up`] too): where this password was found to match this PHC string
//!    before, that is proof enough. Step 5 follows at once, on the row that was just read.
//! 4. **Hash** ([`Checker::hash_and_remember`]), at most one, when its turn in the [`queue`] has come.
//!    Whoever waits for an equal pair of password and PHC string waits with the first of them
//!    ([`flight`]).
//! 5. **Second decision** ([`decide::second`]), after a hash on the row read again: what was revoked
//!    meanwhile is refused. Each attempt has its own.
//! 6. **Afterwards**, when the answer has left: a good log-in is entered in the book ([`crate::uses`]).
//!    What was refused because the secret with its tag had ended is looked into now, at the lowest
//!    priority, so that a revoked password is told from one that nobody ever issued.
//!
//! Trouble of our own at any point is *try later*, never *wrong password*. This file is the order,
//! [`decide`] the rules, [`pool`] the threads that walk through it.

pub mod decide;
mod explain;
pub mod flight;
mod inquiry;
mod job;
pub mod pool;
pub mod queue;
mod station;
mod trouble;

use std::path::PathBuf;
use std::time::Instant;

pub use explain::{Explained, Question, Shown, explain};
pub use pool::Verifier;
pub use trouble::Trouble;

use crate::attempt::{Attempt, Outcome};
use crate::model::{DeviceId, Timestamp};
use crate::password::generate::Password;
use crate::password::phc::memo::Memo;
use crate::password::phc::{self, Arena, Match};
use crate::query::{Answer, Begin, PAGE, Query};
use crate::random;
use crate::secret::{self, Secret};
use crate::store::{Identity, Keep, Reader, SecretId};
use decide::{Admissible, Refused, Rows, Tombstone};

/// What the verifier needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    pub database: PathBuf,
    /// Hashing threads; 0: one for each core.
    pub threads: usize,
    /// How many may be answered at once, on their own threads; the rest goes to threads of ours.
    pub desks: usize,
    /// Lines of the history of each device password.
    pub uses: u32,
    pub keep: Keep,
}

/// What one thread works with.
#[derive(Debug)]
struct Checker {
    reader: Reader,
    arena: Arena,
}

/// What the look-up and the first decision came to.
#[derive(Debug)]
enum Looked {
    /// Without a hash: refused by the first decision, or decided by the second after a [`Memo`]'s proof.
    Decided(Outcome),
    /// To be refused as an unknown password, and looked into afterwards.
    Ended(Password, Tombstone),
    /// Let in if this password matches the hash of this row.
    Admissible(Password, Admissible),
}

/// The two clocks: expiry goes by the wall's, waiting by the one that never jumps.
#[derive(Debug, Clone, Copy)]
struct Now {
    wall: Timestamp,
    monotonic: Instant,
}

impl Checker {
    /// Opens nothing yet.
    fn over(database: PathBuf, identity: &Identity) -> Self {
        Self::with(Reader::new(database, identity.clone()))
    }

    fn with(reader: Reader) -> Self {
        let arena = Arena::default();
        Self { reader, arena }
    }

    /// Overwrites what the last hashes left in memory: for a thread that has nothing else to do.
    fn wipe(&mut self) {
        self.arena.wipe();
        secret::wipe_stack();
    }

    /// Steps 1 to 3, and step 5 where the memo knows that the password matches.
    ///
    /// For that one the row is not read again. After a hash it must be, because somebody may have revoked
    /// the device password while the attempt waited and was hashed, which takes up to seconds. Here
    /// nothing lies between: the row was read for this attempt, after it had come in. So whatever was
    /// revoked before is seen, and what is revoked at this very moment might as well be revoked after it.
    ///
    /// # Errors
    ///
    /// [`Trouble::Store`], and for every name and password alike: the database is asked even where
    /// nothing can be found.
    fn look_up(
        &mut self,
        memo: Option<&Memo>,
        attempt: &Attempt,
        now: Now,
    ) -> Result<Looked, Trouble> {
        let password = Password::from_typed(&attempt.secret);
        let rows = self.rows(attempt, password.as_ref(), now)?;
        let decided = decide::first(attempt, &rows, now.wall);
        if decided.is_err() {
            self.confirm(attempt, &rows, password.as_ref(), now)?;
        }
        Ok(match (decided, password) {
            (Ok(admissible), Some(password)) => {
                match memo.and_then(|memo| memo.recall(&password, admissible.phc())) {
                    Some(proof) => {
                        let now = now.wall;
                        let outcome = decide::second(attempt, &admissible, &proof, &rows, now);
                        Looked::Decided(outcome)
                    }
                    None => Looked::Admissible(password, admissible),
                }
            }
            (Err(Refused::Ended(tombstone)), Some(password)) => Looked::Ended(password, tombstone),
            (Err(Refused::For(reason)), _) => Looked::Decided(Outcome::refused(reason)),
            // A row for a password that has no tag: the store's look-up went wrong.
            (Ok(_) | Err(Refused::Ended(_)), None) => Looked::Decided(Outcome::internal_error()),
        })
    }

    /// The one query of a log-in. Which of the two depends on what was typed, on nothing else.
    fn rows(
        &mut self,
        attempt: &Attempt,
        password: Option<&Password>,
        now: Now,
    ) -> Result<Rows, Trouble> {
        let (mailbox, reader, now) = (attempt.mailbox.as_ref(), &mut self.reader, now.monotonic);
        Ok(match attempt.person.as_ref() {
            None => Rows::Own(reader.look_up(mailbox, password, now)?),
            person @ Some(_) => {
                Rows::Delegated(reader.look_up_delegated(mailbox, person, password, now)?)
            }
        })
    }

    /// Before a refusal, whatever its reason: nothing was overlooked for a damaged entry of an index.
    fn confirm(
        &mut self,
        attempt: &Attempt,
        rows: &Rows,
        password: Option<&Password>,
        now: Now,
    ) -> Result<(), Trouble> {
        let (wanted, reader, now) = (attempt.mailbox.as_ref(), &mut self.reader, now.monotonic);
        let (found, own) = match rows {
            Rows::Own(found) => (found, wanted.cloned()),
            Rows::Delegated(delegated) => {
                if delegated.wanted.is_none() {
                    reader.confirm_no_mailbox(wanted, now)?;
                }
                // The device password was looked for in the person's own mailbox.
                let person = attempt.person.as_ref();
                let own = person.and_then(|person| person.as_str().parse().ok());
                (&delegated.found, own)
            }
        };
        match found {
            Some(found) => reader.confirm_no_secret(&found.mailbox, password, now)?,
            None => reader.confirm_no_mailbox(own.as_ref(), now)?,
        }
        Ok(())
    }

    /// The same where a password did not match the hash that was found for it.
    fn confirm_no_other(
        &mut self,
        hashed: &Admissible,
        password: &Password,
        now: Now,
    ) -> Result<(), Trouble> {
        let (mailbox, now) = (hashed.mailbox(), now.monotonic);
        self.reader
            .confirm_no_secret(mailbox, Some(password), now)?;
        Ok(())
    }

    /// The rows of a known secret, as they are now.
    fn rows_again(
        &mut self,
        attempt: &Attempt,
        secret: SecretId,
        now: Now,
    ) -> Result<Rows, Trouble> {
        let (mailbox, reader, now) = (attempt.mailbox.as_ref(), &mut self.reader, now.monotonic);
        Ok(match attempt.person.as_ref() {
            None => Rows::Own(reader.look_again(secret, now)?),
            person @ Some(_) => {
                Rows::Delegated(reader.look_again_delegated(mailbox, person, secret, now)?)
            }
        })
    }

    /// What the auth-master side wants to know. For a log-in that is taken over also what became of it,
    /// for the log.
    ///
    /// # Errors
    ///
    /// [`Trouble::Store`], and without random bytes.
    fn inquire(&mut self, query: &Query, now: Now) -> Result<(Answer, Option<Outcome>), Trouble> {
        let admitted = match query {
            Query::PickUp(admitted) => admitted,
            Query::Home(mailbox) => {
                let home = self.reader.home(mailbox, now.monotonic)?;
                if home.is_none() {
                    // Mail to it would bounce.
                    self.reader
                        .confirm_no_mailbox(Some(mailbox), now.monotonic)?;
                }
                let answer =
                    home.map_or(Answer::No, |home| Answer::Home(home.mailbox, home.fields));
                return Ok((answer, None));
            }
            Query::Names { after } => {
                let names = self.reader.names(after.as_ref(), PAGE, now.monotonic)?;
                return Ok((Answer::Names(names), None));
            }
        };
        let (attempt, secret) = (&admitted.attempt, admitted.allowed.secret);
        let again = self.rows_again(attempt, secret, now)?;
        let outcome = decide::at_pick_up(admitted, &again, now.wall);
        let answer = match &outcome {
            Outcome::Allow(allowed) => match self.reader.home(&allowed.mailbox, now.monotonic)? {
                Some(home) => Answer::Begins(Box::new(Begin {
                    allowed: allowed.clone(),
                    mechanism: attempt.mechanism,
                    fields: home.fields,
                    token: Secret::new(random::bytes::<20>()?.to_vec()),
                })),
                // Removed between the two questions.
                None => Answer::No,
            },
            Outcome::Deny { .. } => Answer::No,
            Outcome::TryLater { .. } => Answer::TryLater,
        };
        Ok((answer, Some(outcome)))
    }

    /// Step 4: whether the password matches. A match is remembered.
    ///
    /// # Errors
    ///
    /// As [`Self::hash`].
    fn hash_and_remember(
        &mut self,
        memo: &Memo,
        password: &Password,
        admissible: &Admissible,
    ) -> Result<Option<Match>, Trouble> {
        let proof = memo.verify(password, admissible.phc(), &mut self.arena);
        proof.map_err(|source| Trouble::Hash {
            device: admissible.device().clone(),
            source,
        })
    }

    /// Whether the password matches, for those who need not remember it.
    ///
    /// # Errors
    ///
    /// [`Trouble::Hash`] for a PHC string that cannot be decoded, and without memory.
    fn hash(
        &mut self,
        password: &Password,
        phc: &str,
        device: &DeviceId,
    ) -> Result<Option<Match>, Trouble> {
        phc::verify(password, phc, &mut self.arena).map_err(|source| Trouble::Hash {
            device: device.clone(),
            source,
        })
    }

    /// Step 5, for a password that matched when its turn had come.
    ///
    /// # Errors
    ///
    /// [`Trouble::Store`].
    fn decide_again(
        &mut self,
        attempt: &Attempt,
        admissible: &Admissible,
        proof: &Match,
        now: Now,
    ) -> Result<Outcome, Trouble> {
        let again = self.rows_again(attempt, admissible.secret(), now)?;
        Ok(decide::second(attempt, admissible, proof, &again, now.wall))
    }
}

#[cfg(test)]
mod tests;
