//! May this device password do this now? The only place that says yes.
//!
//! It is asked twice with the same rules: before the hash, so that what could not be let in anyway is
//! refused without one, and after it, on the row read again, because somebody may have revoked the
//! device password meanwhile. Only the second answer lets anybody in, and it takes the proof of the
//! hash. Pure: rows, attempt and time come in, an answer comes out.

use std::time::Duration;

use crate::attempt::{Admitted, Allowed, Attempt, Outcome, Reason};
use crate::model::{AccessId, DeviceId, Limits, Mailbox, Networks, Person, Timestamp};
use crate::password::phc::Match;
use crate::store::{Candidate, Delegated, Found, SecretId};

/// What the look-up of an attempt met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// The mailbox that is wanted, with its candidate. `None`: there is no such mailbox.
    Own(Option<Found>),
    /// A person wants a mailbox with a device password of their own one.
    Delegated(Delegated),
}

/// A secret that would be let in if its hash matched. Only [`first`] makes one.
#[derive(Debug, PartialEq, Eq)]
pub struct Admissible {
    mailbox: Mailbox,
    secret: SecretId,
    phc: String,
    device: DeviceId,
}

/// Why the answer is no, without a hash.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    For(Reason),
    /// The tag is that of a secret that has ended: it was tried again, or met by chance. To be
    /// answered as an unknown password, and looked into afterwards.
    Ended(Tombstone),
}

/// A secret that has ended, and is still recognised.
#[derive(Debug, PartialEq, Eq)]
pub struct Tombstone {
    mailbox: Mailbox,
    secret: SecretId,
    phc: String,
    device: DeviceId,
}

/// Before the hash: whether it is worth one.
///
/// # Errors
///
/// The reason of the refusal. Never [`Reason::Revoked`]: sixteen bits of a tag also match by chance,
/// so that a revoked password was tried is known only when its hash matched. For the same reason no
/// refusal from here names a device.
pub fn first(attempt: &Attempt, rows: &Rows, now: Timestamp) -> Result<Admissible, Refused> {
    let decision = allowed(attempt, rows, now).map(drop);
    let candidate = (rows.found()).and_then(|found| Some((found, found.candidate.as_ref()?)));
    match (decision, candidate) {
        (Ok(()), Some((found, candidate))) => Ok(Admissible {
            mailbox: found.mailbox.clone(),
            secret: candidate.secret,
            phc: candidate.phc.clone(),
            device: candidate.device.clone(),
        }),
        (Err(Reason::Revoked), Some((found, candidate))) => Err(Refused::Ended(Tombstone {
            mailbox: found.mailbox.clone(),
            secret: candidate.secret,
            phc: candidate.phc.clone(),
            device: candidate.device.clone(),
        })),
        (Ok(()) | Err(Reason::Revoked), None) => Err(Refused::For(Reason::UnknownPassword)),
        (Err(reason), _) => Err(Refused::For(reason)),
    }
}

/// When the password is known to match: the answer, from the rows as they are now. After a hash they
/// are read again; where the match was remembered, they are those that [`first`] was asked about.
pub fn second(
    attempt: &Attempt,
    admissible: &Admissible,
    proof: &Match,
    again: &Rows,
    now: Timestamp,
) -> Outcome {
    let device = Some(admissible.device.clone());
    match allowed(attempt, again, now) {
        Ok(permit) if permit.candidate.phc == proof.phc() => Outcome::Allow(permit.granted()),
        // The database was replaced while we hashed, and the id now names another secret, of which
        // nothing is proven. The next attempt starts from the row that is there then.
        Ok(_) => Outcome::internal_error(),
        Err(reason) => denied(reason, device, again),
    }
}

/// When a mail process takes over: whether what was let in holds still, on the rows as they are now.
///
/// It can only refuse: what it says yes to, [`second`] has said yes to before.
pub fn at_pick_up(admitted: &Admitted, again: &Rows, now: Timestamp) -> Outcome {
    let device = Some(admitted.allowed.device.clone());
    match allowed(&admitted.attempt, again, now).map(Permit::granted) {
        Ok(granted) if granted == admitted.allowed => Outcome::Allow(granted),
        // The same device password by another access: the one that let them in was taken away.
        Ok(granted) if granted.device == admitted.allowed.device => Outcome::Deny {
            reason: Reason::NoAccess,
            device,
        },
        // The database was replaced meanwhile, and the id now names another secret.
        Ok(_) => Outcome::internal_error(),
        Err(reason) => denied(reason, device, again),
    }
}

/// Refused now, what was not before.
fn denied(reason: Reason, device: Option<DeviceId>, again: &Rows) -> Outcome {
    let reason = match again.found() {
        Some(_) => reason,
        // Its mailbox was removed meanwhile.
        None => Reason::Revoked,
    };
    Outcome::Deny { reason, device }
}

/// What the rules say of these rows if the password is right. For `explain`: it lets nobody in.
///
/// # Errors
///
/// Why it would be refused all the same.
pub fn supposing_a_match(
    attempt: &Attempt,
    rows: &Rows,
    now: Timestamp,
) -> Result<Allowed, Reason> {
    allowed(attempt, rows, now).map(Permit::granted)
}

impl Rows {
    /// The mailbox whose device password was shown.
    pub fn found(&self) -> Option<&Found> {
        match self {
            Self::Own(found) => found.as_ref(),
            Self::Delegated(delegated) => delegated.found.as_ref(),
        }
    }
}

impl Admissible {
    /// Whose device password it is: they take turns.
    pub fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// The row to read again after the hash.
    pub fn secret(&self) -> SecretId {
        self.secret
    }

    /// What the password must match.
    pub fn phc(&self) -> &str {
        &self.phc
    }

    /// For the log of trouble with this row; nothing is proven yet.
    pub fn device(&self) -> &DeviceId {
        &self.device
    }
}

impl Tombstone {
    pub fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    pub fn secret(&self) -> SecretId {
        self.secret
    }

    pub fn phc(&self) -> &str {
        &self.phc
    }

    pub fn device(&self) -> &DeviceId {
        &self.device
    }

    /// What the log is told, when the hash has been computed or could not be.
    pub fn outcome(&self, proof: Option<&Match>) -> Outcome {
        if proof.is_some_and(|proof| proof.phc() == self.phc) {
            let (reason, device) = (Reason::Revoked, Some(self.device.clone()));
            return Outcome::Deny { reason, device };
        }
        Outcome::refused(Reason::UnknownPassword)
    }
}

/// What would be granted: borrowed from the rows, so that nothing typed gets into it.
struct Permit<'a> {
    mailbox: &'a Mailbox,
    candidate: &'a Candidate,
    person: Option<(&'a Person, &'a AccessId)>,
}

impl Permit<'_> {
    fn granted(self) -> Allowed {
        Allowed {
            mailbox: self.mailbox.clone(),
            device: self.candidate.device.clone(),
            secret: self.candidate.secret,
            person: (self.person).map(|(person, access)| (person.clone(), access.clone())),
        }
    }
}

/// The rules, in the order of the reasons that they give: all but the hash.
fn allowed<'a>(attempt: &Attempt, rows: &'a Rows, now: Timestamp) -> Result<Permit<'a>, Reason> {
    let permit = match (rows, &attempt.person) {
        (Rows::Own(found), None) => own(attempt, found.as_ref(), now),
        (Rows::Delegated(delegated), Some(person)) => by_person(attempt, person, delegated, now),
        // Another question was asked than was answered.
        (Rows::Own(_), Some(_)) | (Rows::Delegated(_), None) => Err(Reason::NoAccess),
    }?;
    within(&permit.candidate.limits, attempt)?;
    Ok(permit)
}

/// With a device password of the mailbox that is wanted: its owner's, or that of a person with access.
fn own<'a>(
    attempt: &Attempt,
    found: Option<&'a Found>,
    now: Timestamp,
) -> Result<Permit<'a>, Reason> {
    // The store looked for just this name; a look-up gone wrong must not open another's mailbox.
    let found = found
        .filter(|found| attempt.mailbox.as_ref() == Some(&found.mailbox))
        .ok_or(Reason::UnknownMailbox)?;
    let candidate = live(found, now)?;
    let access = candidate.access.as_ref();
    if access.is_some_and(|access| access.ended.is_some()) {
        return Err(Reason::NoAccess);
    }
    Ok(Permit {
        mailbox: &found.mailbox,
        candidate,
        person: access.map(|access| (&access.person, &access.id)),
    })
}

/// With a device password of the person's own mailbox (delegation).
fn by_person<'a>(
    attempt: &Attempt,
    person: &Person,
    delegated: &'a Delegated,
    now: Timestamp,
) -> Result<Permit<'a>, Reason> {
    let found = (delegated.found.as_ref())
        .filter(|found| found.mailbox.as_str() == person.as_str())
        .ok_or(Reason::UnknownMailbox)?;
    let candidate = live(found, now)?;
    // It is the password of somebody who was given access to the person's mailbox. They would inherit
    // all that the person may open.
    if candidate.access.is_some() {
        return Err(Reason::NoAccess);
    }
    let wanted = (delegated.wanted.as_ref())
        .filter(|wanted| attempt.mailbox.as_ref() == Some(&wanted.mailbox))
        .ok_or(Reason::UnknownMailbox)?;
    if !wanted.enabled {
        return Err(Reason::Disabled);
    }
    let access = (delegated.access.as_ref())
        .filter(|access| access.ended.is_none() && access.person == *person)
        .ok_or(Reason::NoAccess)?;
    Ok(Permit {
        mailbox: &wanted.mailbox,
        candidate,
        person: Some((&access.person, &access.id)),
    })
}

/// The candidate, if it may be used at all, on a mailbox that is enabled.
fn live(found: &Found, now: Timestamp) -> Result<&Candidate, Reason> {
    let candidate = found.candidate.as_ref().ok_or(Reason::UnknownPassword)?;
    // Whenever it was: a clock that went back revives nothing.
    if candidate.ended.is_some() || candidate.revoked.is_some() {
        return Err(Reason::Revoked);
    }
    // Its time beside the newer secret is over, and nobody has written that down yet.
    if candidate.valid_until.is_some_and(|end| now >= end) {
        return Err(Reason::Revoked);
    }
    if is_expired(candidate, now) {
        return Err(Reason::Expired);
    }
    if !found.enabled {
        return Err(Reason::Disabled);
    }
    Ok(candidate)
}

fn within(limits: &Limits, attempt: &Attempt) -> Result<(), Reason> {
    if (limits.services).is_some_and(|services| !services.contains(&attempt.service)) {
        return Err(Reason::WrongService);
    }
    // An address that the peer does not report is inside no network.
    let is_inside =
        |networks: &Networks| (attempt.origin).is_some_and(|origin| networks.contains(origin));
    match &limits.networks {
        Some(networks) if !is_inside(networks) => Err(Reason::WrongNetwork),
        Some(_) | None => Ok(()),
    }
}

/// Expired from that second on: by its date, or because nobody used it for so many days of 24 hours.
fn is_expired(candidate: &Candidate, now: Timestamp) -> bool {
    let unused = candidate.limits.expires_unused_days.map(|days| {
        let span = Duration::from_secs(u64::from(days) * 24 * 60 * 60);
        candidate.last_sign_of_life.plus(span)
    });
    [candidate.limits.expires, unused]
        .into_iter()
        .flatten()
        .any(|end| now >= end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClientText, Limits, Mechanism, Service, Services};
    use crate::password::generate::Password;
    use crate::password::phc::{self, Arena, Cost};
    use crate::store::{AccessRow, Wanted};

    const DAY: i64 = 24 * 60 * 60;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    /// A good log-in: the attempt, the row, and the proof that the password matched.
    fn good() -> (Attempt, Found, Match) {
        let password = Password::generate().unwrap();
        let mut arena = Arena::default();
        let cost: Cost = "m=8,t=1,p=1".parse().unwrap();
        let phc = phc::hash(&password, cost, &mut arena).unwrap();
        let proof = phc::verify(&password, &phc, &mut arena).unwrap().unwrap();
        let attempt = Attempt {
            mailbox: Some("ana@example.org".parse().unwrap()),
            person: None,
            claimed: ClientText::new(b"ana@example.org"),
            secret: password.shown(),
            mechanism: Mechanism::Plain,
            service: Service::Imap,
            origin: None,
            local: None,
        };
        let candidate = Candidate {
            secret: SecretId(1),
            phc,
            ended: None,
            valid_until: None,
            device: "dp-kqtmwhzrnb".parse().unwrap(),
            revoked: None,
            limits: Limits::default(),
            last_sign_of_life: at(0),
            access: None,
        };
        let found = Found {
            mailbox: "ana@example.org".parse().unwrap(),
            enabled: true,
            candidate: Some(candidate),
        };
        (attempt, found, proof)
    }

    fn access(ended: Option<Timestamp>) -> Option<AccessRow> {
        Some(AccessRow {
            id: "ac-kqtmwhzrnb".parse().unwrap(),
            person: "bob".parse().unwrap(),
            ended,
        })
    }

    /// That log-in, let in and waiting for its mail process.
    fn admitted() -> (Admitted, Found) {
        let (attempt, found, _) = good();
        let rows = Rows::Own(Some(found.clone()));
        let granted = allowed(&attempt, &rows, at(0)).map(Permit::granted);
        let (attempt, allowed) = (attempt.without_secret(), granted.unwrap());
        (Admitted { attempt, allowed }, found)
    }

    /// What both decisions say where the row was `found` all along, or changed to it while hashing.
    fn decided(change: impl FnOnce(&mut Attempt, &mut Found), now: Timestamp) -> [Outcome; 2] {
        let (mut attempt, mut found, proof) = good();
        let candidate = found.candidate.clone().unwrap();
        let admissible = Admissible {
            mailbox: found.mailbox.clone(),
            secret: candidate.secret,
            phc: candidate.phc,
            device: candidate.device,
        };
        change(&mut attempt, &mut found);
        let rows = Rows::Own(Some(found));
        both(&attempt, &admissible, &proof, &rows, now)
    }

    fn both(
        attempt: &Attempt,
        admissible: &Admissible,
        proof: &Match,
        rows: &Rows,
        now: Timestamp,
    ) -> [Outcome; 2] {
        let after = second(attempt, admissible, proof, rows, now);
        if let Outcome::Deny { .. } = after {
            // Whatever refuses after the hash also refuses whoever was let in before.
            let allowed = admitted().0.allowed;
            let attempt = attempt.without_secret();
            let picked_up = at_pick_up(&Admitted { attempt, allowed }, rows, now);
            assert_eq!(picked_up, after);
        }
        let before = match first(attempt, rows, now) {
            Ok(admissible) => second(attempt, &admissible, proof, rows, now),
            Err(Refused::For(reason)) => Outcome::refused(reason),
            Err(Refused::Ended(tombstone)) => tombstone.outcome(None),
        };
        [before, after]
    }

    fn with(change: impl FnOnce(&mut Candidate)) -> impl FnOnce(&mut Attempt, &mut Found) {
        |_, found| change(found.candidate.as_mut().unwrap())
    }

    fn is_allowed(change: impl FnOnce(&mut Attempt, &mut Found), now: Timestamp) -> bool {
        let [before, after] = decided(change, now);
        assert_eq!(
            matches!(before, Outcome::Allow(_)),
            matches!(after, Outcome::Allow(_)),
            "the two decisions differ"
        );
        matches!(before, Outcome::Allow(_))
    }

    /// Refused before a hash without a device, and after one with it.
    fn assert_refused(
        reason: Reason,
        change: impl FnOnce(&mut Attempt, &mut Found),
        now: Timestamp,
    ) {
        let device = Some("dp-kqtmwhzrnb".parse().unwrap());
        let refused = [Outcome::refused(reason), Outcome::Deny { reason, device }];
        assert_eq!(decided(change, now), refused);
    }

    #[test]
    fn a_good_log_in_is_allowed_with_what_the_rows_say() {
        let [before, after] = decided(|_, _| {}, at(0));
        assert_eq!(before, after);
        assert_eq!(
            after,
            Outcome::Allow(Allowed {
                mailbox: "ana@example.org".parse().unwrap(),
                device: "dp-kqtmwhzrnb".parse().unwrap(),
                secret: SecretId(1),
                person: None,
            })
        );
    }

    #[test]
    fn what_was_let_in_is_taken_over_while_nothing_has_changed() {
        let (admitted, found) = admitted();
        let same = Rows::Own(Some(found.clone()));
        let outcome = Outcome::Allow(admitted.allowed.clone());
        assert_eq!(at_pick_up(&admitted, &same, at(0)), outcome);
        let mut removed = found.clone();
        removed.candidate = None;
        for gone in [None, Some(removed)] {
            let outcome = at_pick_up(&admitted, &Rows::Own(gone), at(0));
            assert!(matches!(outcome, Outcome::Deny { .. }), "{outcome:?}");
        }
    }

    #[test]
    fn another_secret_under_the_same_row_id_is_not_taken_over() {
        let (admitted, mut found) = admitted();
        let candidate = found.candidate.as_mut().unwrap();
        candidate.device = "dp-zzzzzzzzzz".parse().unwrap();
        let outcome = at_pick_up(&admitted, &Rows::Own(Some(found)), at(0));
        assert_eq!(outcome, Outcome::internal_error());
    }

    #[test]
    fn a_persons_device_password_is_allowed_in_their_name() {
        let [before, after] = decided(with(|c| c.access = access(None)), at(0));
        assert_eq!(before, after);
        let Outcome::Allow(allowed) = after else {
            panic!("{after:?}");
        };
        let (person, id) = allowed.person.unwrap();
        assert_eq!((person.as_str(), id.as_str()), ("bob", "ac-kqtmwhzrnb"));
    }

    #[test]
    fn an_unknown_mailbox_and_an_unknown_password_are_refused() {
        let (attempt, mut found, _) = good();
        let unknown = first(&attempt, &Rows::Own(None), at(0));
        assert_eq!(unknown, Err(Refused::For(Reason::UnknownMailbox)));
        found.candidate = None;
        let refused = first(&attempt, &Rows::Own(Some(found)), at(0));
        assert_eq!(refused, Err(Refused::For(Reason::UnknownPassword)));
    }

    #[test]
    fn a_row_of_another_mailbox_opens_nothing() {
        let other = |_: &mut Attempt, found: &mut Found| {
            found.mailbox = "bea@example.org".parse().unwrap();
        };
        assert_refused(Reason::UnknownMailbox, other, at(0));
        let no_name = |attempt: &mut Attempt, _: &mut Found| attempt.mailbox = None;
        assert_refused(Reason::UnknownMailbox, no_name, at(0));
    }

    #[test]
    fn revoked_is_said_only_of_a_password_whose_hash_matched() {
        let changes: [fn(&mut Candidate); 3] = [
            |candidate| candidate.revoked = Some(at(100)),
            |candidate| candidate.ended = Some(at(100)),
            // Replaced, and its time beside the newer one is over.
            |candidate| candidate.valid_until = Some(at(0)),
        ];
        for (now, change) in [0, 100, 1_000]
            .into_iter()
            .flat_map(|now| changes.map(|c| (now, c)))
        {
            let [before, after] = decided(with(change), at(now));
            assert_eq!(before, Outcome::refused(Reason::UnknownPassword));
            let (reason, device) = (Reason::Revoked, Some("dp-kqtmwhzrnb".parse().unwrap()));
            assert_eq!(after, Outcome::Deny { reason, device });
        }
    }

    #[test]
    fn a_mailbox_removed_while_hashing_is_refused() {
        let (attempt, found, proof) = good();
        let admissible = first(&attempt, &Rows::Own(Some(found)), at(0)).unwrap();
        let (reason, device) = (Reason::Revoked, Some("dp-kqtmwhzrnb".parse().unwrap()));
        assert_eq!(
            second(&attempt, &admissible, &proof, &Rows::Own(None), at(0)),
            Outcome::Deny { reason, device }
        );
    }

    #[test]
    fn a_proof_is_worth_nothing_for_another_hash() {
        let (attempt, mut found, proof) = good();
        let admissible = first(&attempt, &Rows::Own(Some(found.clone())), at(0)).unwrap();
        let (_, other, _) = good();
        found.candidate.as_mut().unwrap().phc = other.candidate.unwrap().phc;
        assert_eq!(
            second(
                &attempt,
                &admissible,
                &proof,
                &Rows::Own(Some(found)),
                at(0)
            ),
            Outcome::internal_error()
        );
    }

    #[test]
    fn an_expired_device_password_is_refused_from_that_second_on() {
        let expires = |c: &mut Candidate| c.limits.expires = Some(at(500));
        assert!(is_allowed(with(expires), at(499)));
        assert_refused(Reason::Expired, with(expires), at(500));
    }

    #[test]
    fn a_replaced_secret_counts_as_ended_from_that_second_on() {
        let replaced = |c: &mut Candidate| c.valid_until = Some(at(500));
        assert!(is_allowed(with(replaced), at(499)));
        let (attempt, mut found, proof) = good();
        found.candidate.as_mut().unwrap().valid_until = Some(at(500));
        let refused = first(&attempt, &Rows::Own(Some(found)), at(500));
        let Err(Refused::Ended(tombstone)) = refused else {
            panic!("{refused:?}");
        };
        let (reason, device) = (Reason::Revoked, Some("dp-kqtmwhzrnb".parse().unwrap()));
        assert_eq!(
            tombstone.outcome(Some(&proof)),
            Outcome::Deny { reason, device }
        );
        assert_eq!(
            tombstone.outcome(None),
            Outcome::refused(Reason::UnknownPassword)
        );
        let (_, _, other) = good();
        assert_eq!(
            tombstone.outcome(Some(&other)),
            Outcome::refused(Reason::UnknownPassword)
        );
    }

    #[test]
    fn unused_days_count_from_the_last_sign_of_life() {
        let unused = |c: &mut Candidate| {
            c.limits.expires_unused_days = Some(60);
            c.last_sign_of_life = at(1_000);
        };
        assert!(is_allowed(with(unused), at(1_000 + 60 * DAY - 1)));
        assert_refused(Reason::Expired, with(unused), at(1_000 + 60 * DAY));
        let for_ever = |c: &mut Candidate| c.limits.expires_unused_days = Some(u32::MAX);
        assert!(is_allowed(with(for_ever), at(1_000 * DAY)));
    }

    #[test]
    fn a_disabled_mailbox_is_refused() {
        assert_refused(Reason::Disabled, |_, found| found.enabled = false, at(0));
    }

    #[test]
    fn access_that_was_taken_away_is_refused() {
        let taken = |c: &mut Candidate| c.access = access(Some(at(100)));
        assert_refused(Reason::NoAccess, with(taken), at(0));
    }

    #[test]
    fn the_rows_of_another_question_open_nothing() {
        let delegation =
            |attempt: &mut Attempt, _: &mut Found| attempt.person = Some("bob".parse().unwrap());
        assert_refused(Reason::NoAccess, delegation, at(0));
        let (mut attempt, rows, _) = bob_opens_the_office();
        attempt.person = None;
        let refused = first(&attempt, &Rows::Delegated(rows), at(0));
        assert_eq!(refused, Err(Refused::For(Reason::NoAccess)));
    }

    /// A good delegated log-in.
    fn bob_opens_the_office() -> (Attempt, Delegated, Match) {
        let (mut attempt, mut found, proof) = good();
        attempt.mailbox = Some("office".parse().unwrap());
        attempt.person = Some("bob".parse().unwrap());
        found.mailbox = "bob".parse().unwrap();
        let rows = Delegated {
            wanted: Some(Wanted {
                mailbox: "office".parse().unwrap(),
                enabled: true,
            }),
            access: access(None),
            found: Some(found),
        };
        (attempt, rows, proof)
    }

    #[test]
    fn a_delegated_log_in_opens_the_mailbox_in_the_persons_name() {
        let (attempt, rows, proof) = bob_opens_the_office();
        let rows = Rows::Delegated(rows);
        let admissible = first(&attempt, &rows, at(0)).unwrap();
        assert_eq!(admissible.mailbox().as_str(), "bob", "whose turn it is");
        assert_eq!(
            second(&attempt, &admissible, &proof, &rows, at(0)),
            Outcome::Allow(Allowed {
                mailbox: "office".parse().unwrap(),
                device: "dp-kqtmwhzrnb".parse().unwrap(),
                secret: SecretId(1),
                person: Some(("bob".parse().unwrap(), "ac-kqtmwhzrnb".parse().unwrap())),
            })
        );
    }

    #[test]
    fn a_delegated_log_in_without_any_one_of_its_conditions_is_refused() {
        type Change = fn(&mut Attempt, &mut Delegated);
        let changes: &[(&str, Reason, Change)] = &[
            (
                "no such person's mailbox",
                Reason::UnknownMailbox,
                |_, d| {
                    d.found = None;
                },
            ),
            ("another's mailbox", Reason::UnknownMailbox, |_, d| {
                d.found.as_mut().unwrap().mailbox = "ana".parse().unwrap();
            }),
            ("no such password", Reason::UnknownPassword, |_, d| {
                d.found.as_mut().unwrap().candidate = None;
            }),
            ("it carries a person", Reason::NoAccess, |_, d| {
                candidate(d).access = access(None);
            }),
            ("it carries bob himself", Reason::NoAccess, |_, d| {
                candidate(d).access = access(Some(at(0)));
            }),
            ("it has expired", Reason::Expired, |_, d| {
                candidate(d).limits.expires = Some(at(0));
            }),
            ("its services", Reason::WrongService, |_, d| {
                candidate(d).limits.services = Services::from_bits(2);
            }),
            ("its networks", Reason::WrongNetwork, |_, d| {
                candidate(d).limits.networks = Some("192.0.2.0/24".parse().unwrap());
            }),
            ("bob's mailbox is disabled", Reason::Disabled, |_, d| {
                d.found.as_mut().unwrap().enabled = false;
            }),
            ("the office is disabled", Reason::Disabled, |_, d| {
                d.wanted.as_mut().unwrap().enabled = false;
            }),
            ("there is no office", Reason::UnknownMailbox, |_, d| {
                d.wanted = None
            }),
            (
                "another mailbox is wanted",
                Reason::UnknownMailbox,
                |a, _| {
                    a.mailbox = Some("ana".parse().unwrap());
                },
            ),
            ("no mailbox is wanted", Reason::UnknownMailbox, |a, _| {
                a.mailbox = None
            }),
            ("no access", Reason::NoAccess, |_, d| d.access = None),
            ("access taken away", Reason::NoAccess, |_, d| {
                d.access = access(Some(at(0)));
            }),
            ("another's access", Reason::NoAccess, |_, d| {
                d.access.as_mut().unwrap().person = "ana".parse().unwrap();
            }),
            ("somebody else asks", Reason::UnknownMailbox, |a, _| {
                a.person = Some("ana".parse().unwrap());
            }),
        ];
        for (what, reason, change) in changes {
            let (mut attempt, mut rows, proof) = bob_opens_the_office();
            let admissible = first(&attempt, &Rows::Delegated(rows.clone()), at(0)).unwrap();
            change(&mut attempt, &mut rows);
            let gone = rows.found.is_none();
            let rows = Rows::Delegated(rows);
            let [before, after] = both(&attempt, &admissible, &proof, &rows, at(0));
            assert_eq!(before, Outcome::refused(*reason), "{what}");
            // A mailbox that is gone by then was removed while we hashed.
            let reason = if gone { Reason::Revoked } else { *reason };
            let device = Some("dp-kqtmwhzrnb".parse().unwrap());
            assert_eq!(after, Outcome::Deny { reason, device }, "{what}");
        }
    }

    fn candidate(delegated: &mut Delegated) -> &mut Candidate {
        delegated
            .found
            .as_mut()
            .unwrap()
            .candidate
            .as_mut()
            .unwrap()
    }

    #[test]
    fn a_service_outside_the_limits_is_refused() {
        for (service, allowed) in [
            ("imap", true),
            ("smtp", true),
            ("submission", true),
            ("pop3", false),
            ("sieve", false),
            ("xmpp", false),
        ] {
            let change = |attempt: &mut Attempt, found: &mut Found| {
                attempt.service = Service::from_wire(service.as_bytes());
                let limits = &mut found.candidate.as_mut().unwrap().limits;
                limits.services = Services::from_bits(1 | 4);
            };
            if allowed {
                assert!(is_allowed(change, at(0)), "{service}");
            } else {
                assert_refused(Reason::WrongService, change, at(0));
            }
        }
    }

    #[test]
    fn an_origin_outside_the_networks_or_none_at_all_is_refused() {
        for (origin, allowed) in [
            (Some("192.0.2.255"), true),
            (Some("::ffff:192.0.2.0"), true),
            (Some("192.0.3.0"), false),
            (Some("2001:db8::1"), false),
            (None, false),
        ] {
            let change = |attempt: &mut Attempt, found: &mut Found| {
                attempt.origin = origin.map(|origin| origin.parse().unwrap());
                let limits = &mut found.candidate.as_mut().unwrap().limits;
                limits.networks = Some("192.0.2.0/24".parse().unwrap());
            };
            if allowed {
                assert!(is_allowed(change, at(0)), "{origin:?}");
            } else {
                assert_refused(Reason::WrongNetwork, change, at(0));
            }
        }
    }
}
