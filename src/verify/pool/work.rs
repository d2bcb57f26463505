//! What a thread does with one job: from the look-up to the answer, and what comes after it.

use std::sync::atomic::Ordering;

use super::super::flight::Flight;
use super::super::inquiry::Inquiry;
use super::super::job::{Hashing, Job, Suspect, Turn};
use super::super::queue::Next;
use super::super::trouble::Trouble;
use super::super::{Checker, Looked};
use super::{Shared, monotonic, now};
use crate::attempt::{Attempt, Outcome, Reason};
use crate::password::generate::Password;
use crate::password::phc::memo::Pair;
use crate::password::phc::{self, Cost, Match};
use crate::query::{Answer, Query};
use crate::uses::Ended;

impl Shared {
    /// For want of room or time; the peer has its answer.
    pub(super) fn pass_over(&self, suspect: Suspect) {
        self.passed_over.add();
        suspect.told_unknown();
    }

    pub(super) fn look_up(&self, checker: &mut Checker, job: Job) {
        match self.told(checker.look_up(Some(&self.memo), &job.attempt, now())) {
            Ok(looked) => self.go_on(job, looked),
            Err(outcome) => self.answer(job, outcome),
        }
    }

    /// After a look-up.
    pub(super) fn go_on(&self, job: Job, looked: Looked) {
        match looked {
            Looked::Decided(outcome) => self.answer(job, outcome),
            Looked::Ended(password, tombstone) => {
                let Job {
                    attempt, mut reply, ..
                } = job;
                reply.refuse();
                let mailbox = tombstone.mailbox().clone();
                let suspect = Suspect {
                    attempt,
                    reply,
                    password,
                    tombstone,
                };
                let full = self.ended_secrets.put(mailbox, suspect, monotonic());
                if let Err(suspect) = full {
                    self.pass_over(suspect);
                }
            }
            Looked::Admissible(password, admissible) => {
                let pair = self.memo.pair(&password, admissible.phc());
                let (mailbox, arrived) = (admissible.mailbox().clone(), job.arrived);
                let hashing = Hashing {
                    job,
                    password,
                    admissible,
                };
                let turn = Turn::LogIn(Box::new(hashing));
                let key = (Some(mailbox), Some(pair));
                if let Err(turn) = self.hashes.put(key, turn, arrived) {
                    turn.put_off();
                }
            }
        }
    }

    pub(super) fn inquire(&self, checker: &mut Checker, inquiry: Inquiry) {
        let Inquiry { query, asker } = inquiry;
        match self.told(checker.inquire(&query, now())) {
            Ok((answer, outcome)) => asker.send(answer, outcome.as_ref()),
            Err(outcome) => match query {
                Query::PickUp(_) => asker.send(Answer::TryLater, Some(&outcome)),
                Query::Home(_) | Query::Names { .. } => asker.try_later(),
            },
        }
    }

    /// One hash, and a decision for each who waited for it: some 5 µs each, so a mailbox whose lane is full
    /// of one password keeps this thread for a dozen milliseconds. A panic in the hash is *try later* for
    /// all of them, and any other for the one alone with whom it came.
    pub(super) fn fly(&self, checker: &mut Checker, flight: Flight<Option<Pair>, Turn>) {
        let mut proof = Err(Outcome::internal_error());
        let mut landed = Vec::new();
        if let Some(leader) = &flight.leader {
            self.guarded(checker, |checker| proof = self.proof(checker, leader));
            self.turns.fetch_add(1, Ordering::Relaxed);
            landed = self
                .hashes
                .with(|flights| flights.land(&flight.key, monotonic()));
        }
        let due = flight.leader.into_iter().map(Next::Due);
        let too_old = flight.too_old.into_iter().map(Next::TooOld);
        for next in due.chain(too_old).chain(landed) {
            self.guarded(checker, |checker| match next {
                Next::Due(Turn::LogIn(hashing)) => self.conclude(checker, *hashing, &proof),
                Next::Due(Turn::Probe(probe)) => probe.end(),
                Next::TooOld(turn) => turn.put_off(),
            });
        }
    }

    /// Whether the password matches. An error is the answer.
    fn proof(&self, checker: &mut Checker, turn: &Turn) -> Result<Option<Match>, Outcome> {
        let hashing = match turn {
            Turn::LogIn(hashing) => hashing,
            Turn::Probe(_) => {
                // Trouble of our own is no standstill: whatever comes of it, this thread has come round.
                if let Ok(password) = Password::generate() {
                    let _ = phc::hash(&password, Cost::default(), &mut checker.arena);
                }
                return Ok(None);
            }
        };
        let (password, admissible) = (&hashing.password, &hashing.admissible);
        // Asked once more: an equal one may have landed since the look-up.
        if let Some(proof) = self.memo.recall(password, admissible.phc()) {
            return Ok(Some(proof));
        }
        let proof = checker.hash_and_remember(&self.memo, password, admissible);
        let proof = self.told_of_trouble(proof)?;
        self.hashed.fetch_add(1, Ordering::Relaxed);
        Ok(proof)
    }

    /// The second decision, for one who waited for a hash.
    fn conclude(
        &self,
        checker: &mut Checker,
        hashing: Hashing,
        proof: &Result<Option<Match>, Outcome>,
    ) {
        let (job, admissible) = (hashing.job, hashing.admissible);
        let outcome = match proof {
            Ok(Some(proof)) => {
                let decided = checker.decide_again(&job.attempt, &admissible, proof, now());
                self.told(decided).unwrap_or_else(|outcome| outcome)
            }
            // The tag was met by chance, or another one's row was found for it.
            Ok(None) => {
                let confirmed = checker.confirm_no_other(&admissible, &hashing.password, now());
                match self.told(confirmed) {
                    Ok(()) => Outcome::refused(Reason::UnknownPassword),
                    Err(outcome) => outcome,
                }
            }
            Err(outcome) => outcome.clone(),
        };
        self.answer(job, outcome);
    }

    /// Answers, tells, and enters a good log-in in the book.
    fn answer(&self, job: Job, outcome: Outcome) {
        let used = match &outcome {
            Outcome::Allow(allowed) => Some(allowed.device.clone()),
            Outcome::Deny { .. } | Outcome::TryLater { .. } => None,
        };
        job.reply.send(outcome);
        if let Some(device) = used {
            let Attempt {
                service, origin, ..
            } = job.attempt;
            self.book.used(device, service, origin, now().wall);
        }
    }

    /// The peer has its answer; this is for the log and for the book.
    pub(super) fn look_into(&self, checker: &mut Checker, suspect: Suspect) {
        let Suspect {
            attempt,
            reply,
            password,
            tombstone,
        } = suspect;
        let proof = checker.hash(&password, tombstone.phc(), tombstone.device());
        let proof = self.told_of_trouble(proof).unwrap_or_default();
        let outcome = tombstone.outcome(proof.as_ref());
        reply.send(outcome);
        if proof.is_some() {
            let ended = Ended {
                device: tombstone.device().clone(),
                secret: tombstone.secret(),
            };
            let Attempt {
                service, origin, ..
            } = attempt;
            self.book.tried_again(ended, service, origin, now().wall);
        }
    }

    /// Tells the log of trouble with a question to the database, or that it is over; the error is the
    /// answer.
    fn told<T>(&self, result: Result<T, Trouble>) -> Result<T, Outcome> {
        if result.is_ok() {
            self.alarm.database_answered();
        }
        self.told_of_trouble(result)
    }

    /// The same where the database was not asked.
    fn told_of_trouble<T>(&self, result: Result<T, Trouble>) -> Result<T, Outcome> {
        result.map_err(|trouble| {
            self.alarm.raise(&trouble, monotonic());
            Outcome::internal_error()
        })
    }
}
