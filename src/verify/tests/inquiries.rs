//! What mail processes ask: a log-in that is taken over, and where mail lives.

use super::*;
use crate::attempt::Admitted;

/// What the caller saw, in its order.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Answered(Answer),
    Told(Outcome),
}

/// Asks, and waits for all that comes of it.
fn inquire(verifier: &Verifier, query: Query, arrived: Instant) -> Vec<Seen> {
    let (send, seen) = mpsc::channel();
    let told = send.clone();
    verifier.inquire(
        CALLER,
        query,
        arrived,
        move |answer| send.send(Seen::Answered(answer)).unwrap(),
        move |outcome| told.send(Seen::Told(outcome.clone())).unwrap(),
    );
    seen.into_iter().collect()
}

/// What becomes of a log-in that is to be taken over now.
fn pick_up(verifier: &Verifier, admitted: &Admitted) -> Vec<Seen> {
    inquire(
        verifier,
        Query::PickUp(Box::new(admitted.clone())),
        instant(),
    )
}

fn let_in(verifier: &Verifier, attempt: &Attempt) -> Admitted {
    let outcome = ask(verifier, attempt.clone());
    let Outcome::Allow(allowed) = outcome else {
        panic!("{outcome:?}");
    };
    let attempt = attempt.without_secret();
    Admitted { attempt, allowed }
}

fn refused(reason: Reason, admitted: &Admitted) -> Vec<Seen> {
    let device = Some(admitted.allowed.device.clone());
    vec![
        Seen::Answered(Answer::No),
        Seen::Told(Outcome::Deny { reason, device }),
    ]
}

#[test]
fn what_was_let_in_begins_without_another_hash_and_says_nothing_to_the_log() {
    let mut site = Site::new();
    let phone = site.issue("phone");
    let verifier = site.verifier();
    let admitted = let_in(&verifier, &attempt("ana@example.org", &phone.password));
    let seen = pick_up(&verifier, &admitted);
    let [Seen::Answered(Answer::Begins(begin))] = seen.as_slice() else {
        panic!("{seen:?}");
    };
    assert_eq!(begin.allowed, admitted.allowed);
    assert_eq!(verifier.hashes(), 1);
}

#[test]
fn what_does_not_hold_any_more_is_answered_first_and_told_with_its_device() {
    let mut site = Site::new();
    let phone = site.issue("phone");
    let verifier = site.verifier();
    let admitted = let_in(&verifier, &attempt("ana@example.org", &phone.password));
    site.revoke(&phone);
    let seen = pick_up(&verifier, &admitted);
    assert_eq!(seen, refused(Reason::Revoked, &admitted));
}

#[test]
fn an_access_that_was_given_anew_takes_nothing_over_that_the_old_one_let_in() {
    let mut site = Site::new();
    site.add_mailboxes(&["bob"]);
    site.add_persons(&["bob"]);
    site.give("ana@example.org", "bob");
    let bobs = site.issue_on(
        &mailbox("bob"),
        None,
        "phone",
        &Limits::default(),
        clock::now(),
    );
    let verifier = site.verifier();
    let asked = Attempt {
        person: Some(person("bob")),
        ..attempt("ana@example.org", &bobs.password)
    };
    let admitted = let_in(&verifier, &asked);
    (site.admin.store)
        .take_access(&ana(), &person("bob"), &site.admin.actor, clock::now())
        .unwrap();
    site.give("ana@example.org", "bob");
    let seen = pick_up(&verifier, &admitted);
    assert_eq!(seen, refused(Reason::NoAccess, &admitted));
    let_in(&verifier, &asked);
}

#[test]
fn a_log_in_that_nobody_had_time_to_take_over_has_its_line_and_a_question_has_none() {
    let mut site = Site::new();
    let phone = site.issue("phone");
    let verifier = site.verifier();
    let admitted = let_in(&verifier, &attempt("ana@example.org", &phone.password));
    let arrived = instant().checked_sub(queue::MAX_AGE * 2).unwrap();
    let query = || Query::PickUp(Box::new(admitted.clone()));
    let put_off = [
        Seen::Answered(Answer::TryLater),
        Seen::Told(Outcome::overload()),
    ];
    assert_eq!(inquire(&verifier, query(), arrived), put_off);
    let unanswered = [Seen::Answered(Answer::TryLater)];
    assert_eq!(inquire(&verifier, Query::Home(ana()), arrived), unanswered);
    verifier.stop();
    assert_eq!(inquire(&verifier, query(), instant()), put_off);
    let names = Query::Names { after: None };
    assert_eq!(inquire(&verifier, names, instant()), unanswered);
}

#[test]
fn without_a_database_no_mailbox_is_missing_and_no_log_in_is_refused() {
    let mut site = Site::new();
    let phone = site.issue("phone");
    let verifier = site.verifier();
    let admitted = let_in(&verifier, &attempt("ana@example.org", &phone.password));
    std::fs::remove_file(&site.path).unwrap();
    let unanswered = [Seen::Answered(Answer::TryLater)];
    for query in [
        Query::Home(ana()),
        Query::Home(mailbox("nobody")),
        Query::Names { after: None },
    ] {
        assert_eq!(inquire(&verifier, query, instant()), unanswered);
    }
    let told = Seen::Told(Outcome::internal_error());
    let in_trouble = [Seen::Answered(Answer::TryLater), told];
    assert_eq!(pick_up(&verifier, &admitted), in_trouble);
}
