//! What had ended and is tried again; what is written down afterwards; and what `explain` says of it all.

use super::*;
use crate::store::{EventFilter, UseRow};

/// What was written down at last: it takes a second at most, and the machine may be busy.
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = instant() + Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(instant() < end, "{what} did not come");
        std::thread::yield_now();
    }
}

fn revoked(issued: &Issued) -> Outcome {
    let (reason, device) = (Reason::Revoked, Some(issued.device.id.clone()));
    Outcome::Deny { reason, device }
}

fn from(address: &str, password: &Secret) -> Attempt {
    Attempt {
        origin: Some(address.parse().unwrap()),
        ..attempt("ana@example.org", password)
    }
}

#[test]
fn a_revoked_password_that_is_tried_again_is_told_from_an_unknown_one_and_written_down() {
    let mut site = Site::new();
    let (phone, laptop) = (site.issue("phone"), site.issue("laptop"));
    site.revoke(&phone);
    let verifier = site.verifier();
    for _ in 0..3 {
        let refused = ask(&verifier, from("203.0.113.9", &phone.password));
        assert_eq!(refused, revoked(&phone));
    }
    assert_eq!(verifier.hashes(), 0, "no answer waited for a hash");
    let attempts = eventually("the attempt", || {
        let attempts = site.admin.store.attempts(&phone.device.id).unwrap();
        (attempts.iter().map(|row| row.count).sum::<u32>() == 3).then_some(attempts)
    });
    let [
        UseRow {
            service: Service::Imap,
            address: Some(address),
            ..
        },
    ] = attempts.as_slice()
    else {
        panic!("{attempts:?}");
    };
    assert_eq!(address.to_string(), "203.0.113.9");
    let events = site.admin.store.events(EventFilter::latest(9)).unwrap();
    let told: Vec<_> = events
        .iter()
        .filter(|event| event.action == "tried-again")
        .collect();
    assert_eq!(told.len(), 1, "{events:?}");
    assert_eq!(told[0].device.as_ref(), Some(&phone.device.id));
    assert_eq!(site.admin.store.attempts(&laptop.device.id).unwrap(), []);
}

#[test]
fn a_replaced_password_is_recognised_whether_it_ended_at_once_or_ran_out() {
    let mut site = Site::new();
    let verifier = site.verifier();
    let past = clock::now().minus(Duration::from_secs(100));
    for (label, keep_old) in [("phone", None), ("tablet", Some(Duration::from_secs(99)))] {
        let old = site.issue(label);
        let new = site.admin.begin_rotation(&old.device.id, past).unwrap();
        let until = keep_old.map(|span| past.plus(span));
        site.admin.finish_rotation(&new, until, past).unwrap();
        assert_eq!(ask_ana(&verifier, &old.password), revoked(&old), "{label}");
        assert!(is_allowed(&ask_ana(&verifier, &new.password)), "{label}");
        eventually("the attempt", || {
            let attempts = site.admin.store.attempts(&old.device.id).unwrap();
            (!attempts.is_empty()).then_some(())
        });
    }
}

#[test]
fn the_tag_of_an_ended_secret_met_by_chance_is_an_unknown_password() {
    let mut site = Site::new();
    let phone = site.issue("phone");
    site.revoke(&phone);
    let key = site.admin.store.tag_key();
    let tag = |password: &Password| key.tag(password);
    let wanted = tag(&Password::from_typed(&phone.password).unwrap());
    let met = std::iter::repeat_with(|| Password::generate().unwrap())
        .find(|password| tag(password) == wanted)
        .unwrap();
    let verifier = site.verifier();
    let refused = ask_ana(&verifier, &met.shown());
    assert_eq!(refused, Outcome::refused(Reason::UnknownPassword));
    // Whatever was to be written is written when it has stopped.
    verifier.stop();
    assert_eq!(site.admin.store.attempts(&phone.device.id).unwrap(), []);
}

#[test]
fn no_answer_waits_for_what_is_found_out_afterwards_and_what_waits_for_that_is_bounded() {
    let mut site = Site::new();
    let phone = site.issue("phone");
    site.revoke(&phone);
    let verifier = site.verifier();
    // The thread that finds it out hangs in the first telling.
    let (release, released) = mpsc::channel::<()>();
    let (hanging, hangs) = mpsc::channel();
    let attempt = attempt("ana@example.org", &phone.password);
    let tell = move |_: &Outcome| {
        hanging.send(()).unwrap();
        let _ = released.recv();
    };
    verifier.submit(CALLER, attempt.clone(), instant(), |_| {}, tell);
    hangs.recv().unwrap();
    let (answer, answers) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    const MANY: usize = 1_000;
    for caller in (0..).take(MANY) {
        let (answer, tell) = (answer.clone(), tell.clone());
        verifier.submit(
            caller,
            attempt.clone(),
            instant(),
            move |verdict| answer.send(verdict).unwrap(),
            move |outcome| tell.send(outcome.clone()).unwrap(),
        );
    }
    drop((answer, tell));
    let answers: Vec<Verdict> = answers.iter().collect();
    assert_eq!(answers, vec![Verdict::Deny; MANY]);
    // Those for which there is no room are told while it hangs still.
    let beyond = MANY - pool::ENDED.lane;
    let unknown = Outcome::refused(Reason::UnknownPassword);
    assert!(told.iter().take(beyond).all(|outcome| outcome == unknown));
    assert_eq!(verifier.passed_over(), u64::try_from(beyond).unwrap());
    release.send(()).unwrap();
    let rest: Vec<Outcome> = told.iter().collect();
    assert_eq!(rest.len(), pool::ENDED.lane);
    assert!(
        rest.iter()
            .all(|outcome| outcome.verdict() == Verdict::Deny)
    );
}

#[test]
fn a_good_log_in_is_written_down_and_a_refused_one_is_not() {
    let mut site = Site::new();
    let (phone, laptop) = (site.issue("phone"), site.issue("laptop"));
    let verifier = site.verifier();
    let good = from("2001:db8::7", &phone.password);
    let strange = site.strange_password(&[]);
    for _ in 0..2 {
        assert!(is_allowed(&ask(&verifier, good.clone())));
        ask_ana(&verifier, &strange);
    }
    let uses = eventually("the use", || {
        let uses = site.admin.store.uses(&phone.device.id).unwrap();
        (uses.iter().map(|row| row.count).sum::<u32>() == 2).then_some(uses)
    });
    assert_eq!(uses.len(), 1, "{uses:?}");
    assert_eq!(uses[0].service, Service::Imap);
    assert_eq!(uses[0].address, good.origin);
    assert_eq!(site.admin.store.uses(&laptop.device.id).unwrap(), []);
}

#[test]
fn a_stop_writes_down_what_was_used_last() {
    let mut site = Site::new();
    let phone = site.issue("phone");
    for count in 1..5 {
        let verifier = site.verifier();
        assert!(is_allowed(&ask_ana(&verifier, &phone.password)));
        verifier.stop();
        let uses = site.admin.store.uses(&phone.device.id).unwrap();
        assert_eq!(uses[0].count, count);
    }
}

fn explained(site: &Site, shown: Shown, change: impl FnOnce(&mut Question)) -> Explained {
    let mut question = Question {
        mailbox: ana(),
        person: None,
        shown,
        service: Service::Imap,
        origin: None,
    };
    change(&mut question);
    explain(&site.path, &question, clock::now(), instant()).unwrap()
}

#[test]
fn explain_says_what_a_log_in_would_hear_by_device_and_by_password() {
    let mut site = Site::new();
    let phone = site.issue("phone");
    let expired = Limits {
        expires: Some(clock::now()),
        services: Services::from_bits(1),
        ..Limits::default()
    };
    let old = site.issue_on(&ana(), None, "old", &expired, clock::now());
    let lost = site.issue("lost");
    site.revoke(&lost);
    let pop3 = |question: &mut Question| question.service = Service::Pop3;
    let let_in = |issued: &Issued| {
        Explained::LetIn(Allowed {
            mailbox: ana(),
            device: issued.device.id.clone(),
            secret: crate::model::SecretId(1), // Only ever asked of the first.
            person: None,
        })
    };
    let refused = |reason, device: Option<&Issued>| Explained::Refused {
        reason,
        device: device.map(|issued| issued.device.id.clone()),
    };
    let device = |issued: &Issued| Shown::Device(issued.device.id.clone());
    let password = |issued: &Issued| Shown::Password(issued.password.clone());

    assert_eq!(explained(&site, device(&phone), |_| {}), let_in(&phone));
    assert_eq!(explained(&site, password(&phone), |_| {}), let_in(&phone));
    assert_eq!(
        explained(&site, device(&old), |_| {}),
        refused(Reason::Expired, Some(&old))
    );
    assert_eq!(
        explained(&site, device(&lost), pop3),
        refused(Reason::Revoked, Some(&lost))
    );
    assert_eq!(
        explained(&site, password(&lost), |_| {}),
        refused(Reason::Revoked, Some(&lost))
    );
    let wrong = Shown::Password(Secret::new(b"hunter2".to_vec()));
    assert_eq!(
        explained(&site, wrong, |_| {}),
        refused(Reason::UnknownPassword, None)
    );
    let elsewhere = |question: &mut Question| question.mailbox = mailbox("nowhere");
    assert_eq!(
        explained(&site, device(&phone), elsewhere),
        refused(Reason::UnknownMailbox, Some(&phone))
    );
    // On another mailbox it would not be found.
    site.add_mailboxes(&["shop"]);
    assert_eq!(
        explained(&site, device(&phone), |question| {
            question.mailbox = mailbox("shop");
        }),
        refused(Reason::UnknownPassword, Some(&phone))
    );
    // It counted nothing.
    for issued in [&phone, &old, &lost] {
        assert_eq!(site.admin.store.uses(&issued.device.id).unwrap(), []);
        assert_eq!(site.admin.store.attempts(&issued.device.id).unwrap(), []);
    }
}

#[test]
fn explain_knows_delegation() {
    let mut site = Site::new();
    site.add_mailboxes(&["office", "bob"]);
    site.add_persons(&["bob"]);
    let everything = Limits::default();
    let bobs = site.issue_on(&mailbox("bob"), None, "phone", &everything, clock::now());
    let ask = |site: &Site| {
        explained(site, Shown::Device(bobs.device.id.clone()), |question| {
            question.mailbox = mailbox("office");
            question.person = Some(person("bob"));
        })
    };
    assert_eq!(
        ask(&site),
        Explained::Refused {
            reason: Reason::NoAccess,
            device: Some(bobs.device.id.clone()),
        }
    );
    site.give("office", "bob");
    let Explained::LetIn(allowed) = ask(&site) else {
        panic!("{:?}", ask(&site));
    };
    assert_eq!(allowed.mailbox, mailbox("office"));
    assert_eq!(allowed.person.unwrap().0, person("bob"));
}
