//! Log-ins that cost no hash of their own: remembered ones, and those that wait for another's.

use super::*;

/// A verifier whose one hashing thread is held up, so that whatever is worth a hash waits.
struct HeldUp {
    verifier: Verifier,
    release: mpsc::Sender<()>,
}

impl HeldUp {
    /// One hash is spent on `blocker`.
    fn by(site: &Site, blocker: &Issued) -> Self {
        let settings = Settings {
            threads: 1,
            ..site.settings()
        };
        let verifier = Verifier::start(settings, Identity::default()).unwrap();
        let (hanging, hangs) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let good = attempt("ana@example.org", &blocker.password);
        submit(&verifier, good, instant(), move |_| {
            hanging.send(()).unwrap();
            let _ = released.recv();
        });
        hangs.recv().unwrap();
        assert_eq!(verifier.hashes(), 1);
        Self { verifier, release }
    }

    /// Returns when that many attempts wait for a hash.
    fn wait_for(&self, attempts: usize) {
        let by = instant() + Duration::from_secs(20);
        while self.verifier.waiting_for_hashes() != attempts {
            assert!(instant() < by, "they do not wait for a hash");
            std::thread::yield_now();
        }
    }
}

#[test]
fn fifty_equal_first_log_ins_at_once_cost_one_hash() {
    let mut site = Site::new();
    let [phone, laptop] = ["phone", "laptop"].map(|label| site.issue(label));
    let held_up = HeldUp::by(&site, &laptop);
    let (answer, answers) = mpsc::channel();
    for _ in 0..50 {
        let answer = answer.clone();
        let good = attempt("ana@example.org", &phone.password);
        submit(&held_up.verifier, good, instant(), move |outcome| {
            answer.send(outcome).unwrap();
        });
    }
    drop(answer);
    held_up.wait_for(50);
    held_up.release.send(()).unwrap();
    let outcomes: Vec<Outcome> = answers.iter().collect();
    assert_eq!(outcomes.len(), 50);
    assert!(outcomes.iter().all(is_allowed), "{outcomes:?}");
    assert_eq!(held_up.verifier.hashes(), 2);
    assert_eq!(held_up.verifier.waiting_for_hashes(), 0);
    assert!(is_allowed(&ask_ana(&held_up.verifier, &phone.password)));
    assert_eq!(held_up.verifier.hashes(), 2, "it was not remembered");
}

#[test]
fn equal_first_log_ins_cost_one_hash_however_many_threads_meet_them() {
    let mut site = Site::new();
    for round in 0..20 {
        let issued = site.issue(&format!("phone {round}"));
        let verifier = site.verifier();
        let (answer, answers) = mpsc::channel();
        for caller in 0..50 {
            let answer = answer.clone();
            let good = attempt("ana@example.org", &issued.password);
            submit_as(caller, &verifier, good, instant(), move |outcome| {
                answer.send(is_allowed(&outcome)).unwrap();
            });
        }
        drop(answer);
        assert_eq!(answers.iter().filter(|allowed| *allowed).count(), 50);
        assert_eq!(verifier.hashes(), 1);
    }
}

#[test]
fn whoever_waited_for_the_same_hash_gets_a_decision_of_its_own() {
    let mut site = Site::new();
    site.add_mailboxes(&["office", "bob"]);
    site.add_persons(&["bob"]);
    site.give("office", "bob");
    let blocker = site.issue("blocker");
    let (bob, now) = (mailbox("bob"), clock::now());
    let issued = site.issue_on(&bob, None, "tablet", &Limits::default(), now);
    let held_up = HeldUp::by(&site, &blocker);
    let own = attempt("bob", &issued.password);
    let delegated = Attempt {
        person: Some(person("bob")),
        ..attempt("office", &issued.password)
    };
    let (answer, answers) = mpsc::channel();
    for attempt in [own.clone(), delegated.clone(), own, delegated] {
        let (answer, wanted) = (answer.clone(), attempt.mailbox.clone());
        submit(&held_up.verifier, attempt, instant(), move |outcome| {
            answer.send((wanted.unwrap(), outcome)).unwrap();
        });
    }
    drop(answer);
    held_up.wait_for(4);
    // From now on bob may not open the office any more; his own mailbox he may.
    (site.admin.store)
        .take_access(
            &mailbox("office"),
            &person("bob"),
            &site.admin.actor,
            clock::now(),
        )
        .unwrap();
    held_up.release.send(()).unwrap();
    let mut answered = 0;
    for (wanted, outcome) in answers {
        answered += 1;
        match outcome {
            Outcome::Allow(allowed) => assert_eq!((&allowed.mailbox, &wanted), (&bob, &bob)),
            Outcome::Deny { reason, .. } => {
                assert_eq!((wanted, reason), (mailbox("office"), Reason::NoAccess));
            }
            Outcome::TryLater { reason } => panic!("{reason:?}"),
        }
    }
    assert_eq!((answered, held_up.verifier.hashes()), (4, 2));
}

#[test]
fn what_does_not_match_is_hashed_once_for_all_who_wait_and_again_for_the_next() {
    let mut site = Site::new();
    let [phone, laptop] = ["phone", "laptop"].map(|label| site.issue(label));
    let chance = site.password_with_the_tag_of(&phone).shown();
    let held_up = HeldUp::by(&site, &laptop);
    let (answer, answers) = mpsc::channel();
    for _ in 0..10 {
        let answer = answer.clone();
        let wrong = attempt("ana@example.org", &chance);
        submit(&held_up.verifier, wrong, instant(), move |outcome| {
            answer.send(outcome).unwrap();
        });
    }
    drop(answer);
    held_up.wait_for(10);
    held_up.release.send(()).unwrap();
    let outcomes: Vec<Outcome> = answers.iter().collect();
    assert_eq!(
        outcomes,
        vec![Outcome::refused(Reason::UnknownPassword); 10]
    );
    assert_eq!(held_up.verifier.hashes(), 2);
    assert!(!is_allowed(&ask_ana(&held_up.verifier, &chance)));
    assert_eq!(held_up.verifier.hashes(), 3, "no refusal is remembered");
}

#[test]
fn a_hash_that_cannot_be_computed_is_try_later_for_all_who_wait_for_it() {
    let mut site = Site::new();
    let [phone, laptop] = ["phone", "laptop"].map(|label| site.issue(label));
    rusqlite::Connection::open(&site.path)
        .unwrap()
        .execute(
            "UPDATE secret SET phc = '$argon2id$v=19$' WHERE id = (SELECT min(id) FROM secret)",
            [],
        )
        .unwrap();
    let held_up = HeldUp::by(&site, &laptop);
    let (answer, answers) = mpsc::channel();
    for _ in 0..10 {
        let answer = answer.clone();
        let good = attempt("ana@example.org", &phone.password);
        submit(&held_up.verifier, good, instant(), move |outcome| {
            answer.send(outcome).unwrap();
        });
    }
    drop(answer);
    held_up.wait_for(10);
    held_up.release.send(()).unwrap();
    let outcomes: Vec<Outcome> = answers.iter().collect();
    assert_eq!(outcomes, vec![Outcome::internal_error(); 10]);
}

#[test]
fn a_panic_of_the_leader_leaves_those_who_wait_with_it_answered() {
    let mut site = Site::new();
    let [phone, laptop] = ["phone", "laptop"].map(|label| site.issue(label));
    let held_up = HeldUp::by(&site, &laptop);
    let (answer, answers) = mpsc::channel();
    for number in 0..10 {
        let answer = answer.clone();
        let good = attempt("ana@example.org", &phone.password);
        submit(&held_up.verifier, good, instant(), move |outcome| {
            assert_ne!(number % 3, 0, "a bug in the caller, on purpose");
            answer.send(outcome).unwrap();
        });
        held_up.wait_for(number + 1);
    }
    drop(answer);
    held_up.release.send(()).unwrap();
    let outcomes: Vec<Outcome> = answers.iter().collect();
    assert_eq!(outcomes.len(), 6);
    assert!(outcomes.iter().all(is_allowed), "{outcomes:?}");
    assert_eq!(held_up.verifier.hashes(), 2);
}

#[test]
fn who_waited_too_long_for_anothers_hash_gets_try_later_and_the_others_do_not() {
    let mut site = Site::new();
    let [phone, laptop] = ["phone", "laptop"].map(|label| site.issue(label));
    let held_up = HeldUp::by(&site, &laptop);
    // It can wait for a hash for some three seconds more, if somebody looks it up in time.
    let early = instant().checked_sub(Duration::from_secs(1)).unwrap();
    let (answer, answers) = mpsc::channel();
    for arrived in [early, instant() + Duration::from_secs(600)] {
        let answer = answer.clone();
        let good = attempt("ana@example.org", &phone.password);
        submit(&held_up.verifier, good, arrived, move |outcome| {
            answer.send((arrived, outcome)).unwrap();
        });
    }
    drop(answer);
    // While the thread hangs, the sweeper answers the first.
    assert_eq!(answers.recv(), Ok((early, Outcome::overload())));
    held_up.wait_for(1);
    held_up.release.send(()).unwrap();
    let (_, outcome) = answers.recv().unwrap();
    assert!(is_allowed(&outcome), "{outcome:?}");
}

#[test]
fn a_rotated_password_costs_a_hash_again_and_the_old_one_is_refused_although_remembered() {
    let mut site = Site::new();
    let old = site.issue("phone");
    let verifier = site.verifier();
    for _ in 0..2 {
        assert!(is_allowed(&ask_ana(&verifier, &old.password)));
    }
    assert_eq!(verifier.hashes(), 1);
    let now = clock::now();
    let new = site.admin.begin_rotation(&old.device.id, now).unwrap();
    site.admin.finish_rotation(&new, None, now).unwrap();
    for _ in 0..2 {
        assert!(is_allowed(&ask_ana(&verifier, &new.password)));
        let refused = ask_ana(&verifier, &old.password);
        assert_eq!(refused.verdict(), Verdict::Deny, "{refused:?}");
    }
    assert_eq!(verifier.hashes(), 2);
}
