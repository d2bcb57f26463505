//! A question of the auth-master side on its way through the look-up threads, and the promise that it
//! gets an answer: at the latest when it is dropped.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::attempt::Outcome;
use crate::query::{Answer, Query};

/// A question, and who asks.
#[derive(Debug)]
pub(super) struct Inquiry {
    pub(super) query: Query,
    pub(super) asker: Asker,
}

impl Inquiry {
    /// There is too much to do: nobody is answered, and the log learns of a log-in that is not taken over
    /// for it.
    pub(super) fn put_off(self) {
        match self.query {
            Query::PickUp(_) => {
                let outcome = Outcome::overload();
                self.asker.send(Answer::TryLater, Some(&outcome));
            }
            Query::Home(_) | Query::Names { .. } => self.asker.try_later(),
        }
    }
}

/// For the peer, and for the log.
type Hear = dyn FnOnce(Answer) + Send;
type Tell = dyn FnOnce(&Outcome) + Send;

/// Whom to answer. Dropped without an answer, it answers *try later*, and tells of trouble.
pub(super) struct Asker {
    answer: Option<Box<Hear>>,
    tell: Option<Box<Tell>>,
}

impl Asker {
    pub(super) fn new(
        answer: impl FnOnce(Answer) + Send + 'static,
        tell: impl FnOnce(&Outcome) + Send + 'static,
    ) -> Self {
        Self {
            answer: Some(Box::new(answer)),
            tell: Some(Box::new(tell)),
        }
    }

    /// Answers, and tells what became of a log-in that was not taken over after all.
    pub(super) fn send(mut self, answer: Answer, outcome: Option<&Outcome>) {
        if let Some(hear) = self.answer.take() {
            hear(answer);
        }
        match outcome {
            Some(outcome @ (Outcome::Deny { .. } | Outcome::TryLater { .. })) => {
                if let Some(tell) = self.tell.take() {
                    tell(outcome);
                }
            }
            Some(Outcome::Allow(_)) | None => {}
        }
    }

    pub(super) fn try_later(self) {
        self.send(Answer::TryLater, None);
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        if let Some(hear) = self.answer.take() {
            // Dropped by a panic, most likely: a second one would end the process.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                hear(Answer::TryLater);
                if let Some(tell) = self.tell.take() {
                    tell(&Outcome::internal_error());
                }
            }));
        }
    }
}

impl std::fmt::Debug for Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asker(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::attempt::Reason;

    #[test]
    fn whoever_asks_is_answered_once_whatever_becomes_of_the_question() {
        let (send, heard) = channel();
        let asker = || {
            let send = send.clone();
            Asker::new(move |answer| send.send(answer).unwrap(), |_| {})
        };
        asker().send(Answer::No, None);
        asker().try_later();
        drop(asker());
        let heard: Vec<Answer> = heard.try_iter().collect();
        assert_eq!(heard, [Answer::No, Answer::TryLater, Answer::TryLater]);
    }

    #[test]
    fn the_log_learns_of_what_did_not_hold_or_was_lost_and_of_nothing_else() {
        let (send, told) = channel();
        let asker = || {
            let send = send.clone();
            Asker::new(|_| {}, move |outcome| send.send(outcome.clone()).unwrap())
        };
        for reason in [Some(Reason::Revoked), None] {
            let outcome = reason.map(Outcome::refused);
            asker().send(Answer::No, outcome.as_ref());
        }
        drop(asker());
        let told: Vec<Outcome> = told.try_iter().collect();
        let revoked = Outcome::refused(Reason::Revoked);
        assert_eq!(told, [revoked, Outcome::internal_error()]);
    }
}
