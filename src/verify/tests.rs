//! The verifier with a real store: what it answers, and how many hashes that costs.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

mod history;
mod inquiries;
mod persons;
mod probe;
mod remembered;
mod tombstones;

use super::*;
use crate::admin::{Admin, Issued};
use crate::attempt::{Allowed, Reason, Verdict};
use crate::clock;
use crate::model::{Actor, ClientText, Limits, Mailbox, Mechanism, Person, Service, Services, Via};
use crate::secret::Secret;
use crate::store::{IfThere, Store};

const KEEP: Keep = Keep {
    tombstones: Duration::from_secs(365 * 24 * 60 * 60),
    events: Duration::from_secs(730 * 24 * 60 * 60),
};

/// Whoever asks, where it does not matter.
const CALLER: u64 = 1;

/// A database with the mailbox `ana@example.org`, and somebody who may change it.
struct Site {
    admin: Admin,
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        // In memory where that can be had: thousands of commits wait for the disk otherwise.
        let directory = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let path = directory.path().join("test.db");
        let mut admin = admin(&path);
        (admin.store)
            .add_mailbox(&ana(), &admin.actor, clock::now())
            .unwrap();
        Self {
            admin,
            path,
            _directory: directory,
        }
    }

    fn issue(&mut self, label: &str) -> Issued {
        self.issue_on(&ana(), None, label, &Limits::default(), clock::now())
    }

    fn issue_on(
        &mut self,
        mailbox: &Mailbox,
        person: Option<&Person>,
        label: &str,
        limits: &Limits,
        now: Timestamp,
    ) -> Issued {
        let label = label.parse().unwrap();
        (self.admin)
            .issue(mailbox, person, &label, limits, now)
            .unwrap()
    }

    fn add_mailboxes(&mut self, names: &[&str]) {
        for name in names {
            (self.admin.store)
                .add_mailbox(&mailbox(name), &self.admin.actor, clock::now())
                .unwrap();
        }
    }

    fn add_persons(&mut self, names: &[&str]) {
        let persons: Vec<Person> = names.iter().map(|name| person(name)).collect();
        (self.admin.store)
            .add_persons(&persons, IfThere::Refuse, &self.admin.actor, clock::now())
            .unwrap();
    }

    fn give(&mut self, to: &str, whom: &str) {
        (self.admin.store)
            .give_access(&mailbox(to), &person(whom), &self.admin.actor, clock::now())
            .unwrap();
    }

    fn revoke(&mut self, issued: &Issued) {
        let ids = [issued.device.id.clone()];
        (self.admin.store)
            .revoke(&ids, &self.admin.actor, clock::now())
            .unwrap();
    }

    fn settings(&self) -> Settings {
        Settings {
            database: self.path.clone(),
            desks: 0, // So that what is tested goes the long way.
            threads: 2,
            uses: 100,
            keep: KEEP,
        }
    }

    fn verifier(&self) -> Verifier {
        Verifier::start(self.settings(), Identity::default()).unwrap()
    }

    fn checker(&self) -> Checker {
        Checker::over(self.path.clone(), &Identity::default())
    }

    /// A password that no device has and whose tag none has either.
    fn strange_password(&self, issued: &[Issued]) -> Secret {
        let key = self.admin.store.tag_key();
        let tag = |password: &Secret| key.tag(&Password::from_typed(password).unwrap());
        let taken: Vec<_> = issued.iter().map(|issued| tag(&issued.password)).collect();
        loop {
            let strange = Password::generate().unwrap().shown();
            if !taken.contains(&tag(&strange)) {
                return strange;
            }
        }
    }

    /// A wrong password that finds the row of this device password all the same.
    fn password_with_the_tag_of(&self, issued: &Issued) -> Password {
        let key = self.admin.store.tag_key();
        let wanted = key.tag(&Password::from_typed(&issued.password).unwrap());
        std::iter::repeat_with(|| Password::generate().unwrap())
            .find(|password| key.tag(password) == wanted)
            .unwrap()
    }
}

fn admin(path: &Path) -> Admin {
    let (store, _) = Store::open_or_create(path, clock::now()).unwrap();
    let (name, via) = ("root".to_owned(), Via::CommandLine);
    Admin {
        store,
        actor: Actor { name, via },
        cost: "m=8,t=1,p=1".parse().unwrap(),
    }
}

fn ana() -> Mailbox {
    "ana@example.org".parse().unwrap()
}

fn mailbox(name: &str) -> Mailbox {
    name.parse().unwrap()
}

fn person(name: &str) -> Person {
    name.parse().unwrap()
}

/// The whole way of a log-in, in this thread and at any time; nothing is remembered.
fn outcome(checker: &mut Checker, attempt: &Attempt, now: Now) -> Outcome {
    outcome_with(&memo(), checker, attempt, now)
}

fn outcome_with(memo: &Memo, checker: &mut Checker, attempt: &Attempt, now: Now) -> Outcome {
    let (password, admissible) = match checker.look_up(Some(memo), attempt, now).unwrap() {
        Looked::Admissible(password, admissible) => (password, admissible),
        Looked::Decided(outcome) => return outcome,
        Looked::Ended(_, tombstone) => return tombstone.outcome(None),
    };
    match (checker.hash_and_remember(memo, &password, &admissible)).unwrap() {
        Some(proof) => (checker.decide_again(attempt, &admissible, &proof, now)).unwrap(),
        None => Outcome::refused(Reason::UnknownPassword),
    }
}

fn memo() -> Memo {
    Memo::new(&phc::memo::Key::generate().unwrap())
}

fn attempt(mailbox: &str, password: &Secret) -> Attempt {
    Attempt {
        mailbox: mailbox.parse().ok(),
        person: None,
        claimed: ClientText::new(mailbox.as_bytes()),
        secret: password.clone(),
        mechanism: Mechanism::Plain,
        service: Service::Imap,
        origin: None,
        local: None,
    }
}

#[expect(clippy::disallowed_methods, reason = "the tests are the caller")]
fn instant() -> Instant {
    Instant::now()
}

fn now() -> Now {
    Now {
        wall: clock::now(),
        monotonic: instant(),
    }
}

/// Submits and waits for the one answer.
fn ask(verifier: &Verifier, attempt: Attempt) -> Outcome {
    ask_later(verifier, attempt, instant())
}

fn ask_later(verifier: &Verifier, attempt: Attempt, arrived: Instant) -> Outcome {
    let (answer, answers) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    verifier.submit(
        CALLER,
        attempt,
        arrived,
        move |verdict| answer.send(verdict).unwrap(),
        move |outcome| tell.send(outcome.clone()).unwrap(),
    );
    let patience = Duration::from_secs(20);
    let verdict = answers.recv_timeout(patience).unwrap();
    let outcome = told.recv_timeout(patience).unwrap();
    assert!(answers.recv().is_err(), "answered twice");
    assert!(told.recv().is_err(), "told twice");
    assert_eq!(outcome.verdict(), verdict, "the log tells another story");
    outcome
}

/// For those who look at what the log is told only.
fn submit(
    verifier: &Verifier,
    attempt: Attempt,
    arrived: Instant,
    done: impl FnOnce(Outcome) + Send + 'static,
) {
    submit_as(CALLER, verifier, attempt, arrived, done);
}

fn submit_as(
    caller: u64,
    verifier: &Verifier,
    attempt: Attempt,
    arrived: Instant,
    done: impl FnOnce(Outcome) + Send + 'static,
) {
    verifier.submit(
        caller,
        attempt,
        arrived,
        |_| {},
        |outcome| done(outcome.clone()),
    );
}

fn ask_ana(verifier: &Verifier, password: &Secret) -> Outcome {
    ask(verifier, attempt("ana@example.org", password))
}

fn is_allowed(outcome: &Outcome) -> bool {
    matches!(outcome.verdict(), Verdict::Allow(_))
}

#[test]
fn a_first_log_in_costs_one_hash_and_all_else_none_however_many_devices_there_are() {
    let mut site = Site::new();
    let mut issued: Vec<Issued> = Vec::new();
    let verifier = site.verifier();
    for devices in [1, 20, 1_000] {
        while issued.len() < devices {
            issued.push(site.issue(&format!("device {}", issued.len())));
        }
        let device = &issued[devices - 1];
        for cost in [1, 0, 0] {
            let before = verifier.hashes();
            let outcome = ask_ana(&verifier, &device.password);
            let Outcome::Allow(allowed) = outcome else {
                panic!("{devices} devices: {outcome:?}");
            };
            assert_eq!(allowed.mailbox, ana());
            assert_eq!(allowed.device, device.device.id);
            assert_eq!(verifier.hashes() - before, cost, "{devices} devices");
        }
        let before = verifier.hashes();
        let strange = site.strange_password(&issued);
        for password in [strange, Secret::new(b"hunter2".to_vec()), Secret::default()] {
            let refused = ask_ana(&verifier, &password);
            assert_eq!(refused, Outcome::refused(Reason::UnknownPassword));
        }
        for mailbox in ["bea@example.org", "../..@x", ""] {
            let refused = ask(&verifier, attempt(mailbox, &issued[0].password));
            assert_eq!(refused, Outcome::refused(Reason::UnknownMailbox));
        }
        assert_eq!(verifier.hashes(), before, "{devices} devices");
    }
}

#[test]
fn a_tag_met_by_chance_costs_a_hash_and_is_refused_without_a_device() {
    let mut site = Site::new();
    let issued = site.issue("phone");
    let chance = site.password_with_the_tag_of(&issued);
    let verifier = site.verifier();
    let refused = ask_ana(&verifier, &chance.shown());
    assert_eq!(refused, Outcome::refused(Reason::UnknownPassword));
    assert_eq!(verifier.hashes(), 1);
}

#[test]
fn revoked_and_disabled_are_refused_without_a_hash_at_the_next_attempt() {
    let mut site = Site::new();
    let (phone, laptop) = (site.issue("phone"), site.issue("laptop"));
    let verifier = site.verifier();
    assert!(is_allowed(&ask_ana(&verifier, &phone.password)));

    site.revoke(&phone);
    let refused = ask_ana(&verifier, &phone.password);
    let (reason, device) = (Reason::Revoked, Some(phone.device.id.clone()));
    assert_eq!(refused, Outcome::Deny { reason, device });
    assert_eq!(verifier.hashes(), 1, "the answer waited for a hash");
    assert!(is_allowed(&ask_ana(&verifier, &laptop.password)));

    (site.admin.store)
        .set_mailbox_enabled(&ana(), false, &site.admin.actor, clock::now())
        .unwrap();
    let refused = ask_ana(&verifier, &laptop.password);
    assert_eq!(refused, Outcome::refused(Reason::Disabled));
    assert_eq!(verifier.hashes(), 2);
}

/// What changed between the hash that matched and the second decision decides.
fn changed_while_hashing(change: impl FnOnce(&mut Site, &Issued)) -> Result<Outcome, Trouble> {
    let mut site = Site::new();
    let issued = site.issue("phone");
    let mut checker = site.checker();
    let attempt = attempt("ana@example.org", &issued.password);
    let Ok(Looked::Admissible(password, admissible)) = checker.look_up(None, &attempt, now())
    else {
        panic!("a good password was refused before its hash");
    };
    let (phc, id) = (admissible.phc(), admissible.device());
    let proof = checker.hash(&password, phc, id).unwrap().unwrap();
    change(&mut site, &issued);
    checker.decide_again(&attempt, &admissible, &proof, now())
}

#[test]
fn revoked_while_hashing_is_refused() {
    assert!(is_allowed(&changed_while_hashing(|_, _| {}).unwrap()));

    let revoked = changed_while_hashing(|site, issued| site.revoke(issued)).unwrap();
    assert!(matches!(
        revoked,
        Outcome::Deny {
            reason: Reason::Revoked,
            device: Some(_),
        }
    ));
    let disabled = changed_while_hashing(|site, _| {
        (site.admin.store)
            .set_mailbox_enabled(&ana(), false, &site.admin.actor, clock::now())
            .unwrap();
    });
    assert_eq!(disabled.unwrap().verdict(), Verdict::Deny);
    let removed = changed_while_hashing(|site, _| {
        (site.admin.store)
            .remove_mailbox(&ana(), &site.admin.actor, clock::now())
            .unwrap();
    });
    assert_eq!(removed.unwrap().verdict(), Verdict::Deny);
}

#[test]
fn a_database_gone_while_hashing_is_trouble_and_no_verdict() {
    let gone = changed_while_hashing(|site, _| {
        std::fs::rename(&site.path, site.path.with_extension("away")).unwrap();
    });
    assert!(matches!(gone, Err(Trouble::Store(_))));
}

/// Somebody hammers on with each password in turn, also while and after it is revoked; how many hashes
/// that took. What is asked after the revocation has returned must be refused. A password is revoked
/// when it was let in so many times, or at once.
fn hammered_on_while_revoked(rounds: usize, let_in_before: usize) -> u64 {
    let mut site = Site::new();
    let verifier = site.verifier();
    // How many rounds are over: the passwords of these are revoked.
    let revoked = Arc::new(AtomicUsize::new(0));
    let (password, passwords) = mpsc::channel::<(usize, Secret)>();
    let (let_in, times_in) = mpsc::channel();
    let hammer = std::thread::spawn({
        let (verifier, revoked) = (verifier.clone(), Arc::clone(&revoked));
        move || {
            let mut met_revoked = 0;
            while let Ok((round, password)) = passwords.recv() {
                for times in 0..100_000 {
                    let is_revoked = revoked.load(Ordering::SeqCst) > round;
                    let outcome = ask_ana(&verifier, &password);
                    if is_revoked {
                        assert_eq!(outcome.verdict(), Verdict::Deny, "{round}: {outcome:?}");
                        met_revoked += 1;
                        break;
                    }
                    if times < let_in_before {
                        assert!(is_allowed(&outcome), "a good password: {outcome:?}");
                        let_in.send(round).unwrap();
                    }
                }
            }
            met_revoked
        }
    });
    for round in 0..rounds {
        let issued = site.issue(&format!("round {round}"));
        password.send((round, issued.password.clone())).unwrap();
        for _ in 0..let_in_before {
            assert_eq!(times_in.recv(), Ok(round));
        }
        site.revoke(&issued);
        revoked.store(round + 1, Ordering::SeqCst);
    }
    drop(password);
    assert_eq!(hammer.join().unwrap(), rounds);
    verifier.hashes()
}

#[test]
fn nothing_remembered_that_started_after_a_revocation_is_let_in() {
    const ROUNDS: usize = 10_000;
    let hashes = hammered_on_while_revoked(ROUNDS, 2);
    let rounds = u64::try_from(ROUNDS).unwrap();
    assert_eq!(hashes, rounds, "all but the first log-ins are remembered");
}

#[test]
fn nothing_hashed_that_started_after_a_revocation_is_let_in() {
    hammered_on_while_revoked(2_000, 0);
}

#[test]
fn an_undecodable_hash_means_try_later_and_harms_no_other_device() {
    let mut site = Site::new();
    let (phone, laptop) = (site.issue("phone"), site.issue("laptop"));
    let verifier = site.verifier();
    for phc in [
        "$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR*uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
    ] {
        rusqlite::Connection::open(&site.path)
            .unwrap()
            .execute(
                "UPDATE secret SET phc = ?1 WHERE id = (SELECT min(id) FROM secret)",
                [phc],
            )
            .unwrap();
        assert_eq!(
            ask_ana(&verifier, &phone.password),
            Outcome::internal_error()
        );
        assert!(is_allowed(&ask_ana(&verifier, &laptop.password)));
        let problems = site.admin.store.check().unwrap();
        let device = phone.device.id.as_str();
        assert!(
            matches!(problems.as_slice(), [one] if one.contains(device)),
            "{problems:?}"
        );
    }
}

#[test]
fn a_missing_database_means_try_later_for_everybody_until_it_is_back() {
    let mut site = Site::new();
    let issued = site.issue("phone");
    let away = site.path.with_extension("away");
    let verifier = site.verifier();
    let everybody = [
        attempt("ana@example.org", &issued.password),
        attempt("ana@example.org", &Secret::new(b"hunter2".to_vec())),
        attempt("nobody", &issued.password),
        attempt("../..@x", &Secret::default()),
    ];
    std::fs::rename(&site.path, &away).unwrap();
    for attempt in everybody {
        assert_eq!(ask(&verifier, attempt), Outcome::internal_error());
    }
    std::fs::rename(&away, &site.path).unwrap();
    // It is tried again once a second; nothing but asking is needed.
    let back_by = instant() + Duration::from_secs(10);
    while !is_allowed(&ask_ana(&verifier, &issued.password)) {
        assert!(instant() < back_by, "it did not recover by itself");
        std::thread::yield_now();
    }
}

#[test]
fn a_deleted_log_means_try_later_for_a_moment_only() {
    let mut site = Site::new();
    let issued = site.issue("phone");
    let verifier = site.verifier();
    let Site {
        admin,
        path,
        _directory,
    } = site;
    // The command line is a process of its own: here its connection would be one more of the daemon.
    drop(admin);
    assert!(is_allowed(&ask_ana(&verifier, &issued.password)));
    for suffix in ["db-wal", "db-shm"] {
        std::fs::remove_file(path.with_extension(suffix)).unwrap();
    }
    // The thread that hashed is never asked again before a look-up was answered.
    let back_by = instant() + Duration::from_secs(10);
    while !is_allowed(&ask_ana(&verifier, &issued.password)) {
        assert!(instant() < back_by, "it did not recover by itself");
        std::thread::yield_now();
    }
}

#[test]
fn an_attempt_that_waited_too_long_gets_try_later_and_no_work() {
    let mut site = Site::new();
    let issued = site.issue("phone");
    let verifier = site.verifier();
    let arrived = instant()
        .checked_sub(queue::MAX_AGE + Duration::from_millis(1))
        .unwrap();
    let good = attempt("ana@example.org", &issued.password);
    assert_eq!(ask_later(&verifier, good, arrived), Outcome::overload());
    assert_eq!(verifier.hashes(), 0);
}

#[test]
fn what_waits_too_long_is_answered_even_if_every_thread_hangs() {
    let site = Site::new();
    let verifier = site.verifier();
    let wrong = attempt("ana@example.org", &Secret::default());
    let (hanging, hangs) = mpsc::channel();
    let mut releases = Vec::new();
    for _ in 0..pool::LOOK_UP_THREADS {
        let (release, released) = mpsc::channel::<()>();
        let hanging = hanging.clone();
        submit(&verifier, wrong.clone(), instant(), move |_| {
            hanging.send(()).unwrap();
            let _ = released.recv();
        });
        hangs.recv().unwrap();
        releases.push(release);
    }
    let arrived = instant().checked_sub(queue::MAX_AGE * 2).unwrap();
    assert_eq!(ask_later(&verifier, wrong, arrived), Outcome::overload());
}

/// With desks, as the daemon has it.
fn with_desks(site: &Site) -> Verifier {
    let settings = Settings {
        desks: 2,
        ..site.settings()
    };
    Verifier::start(settings, Identity::default()).unwrap()
}

#[test]
fn what_needs_no_hash_is_answered_before_the_question_returns() {
    let mut site = Site::new();
    let phone = site.issue("phone");
    let verifier = with_desks(&site);
    let ask = |password: &Secret| {
        let (answer, answers) = mpsc::channel();
        let asked = attempt("ana@example.org", password);
        submit(&verifier, asked, instant(), move |outcome| {
            answer.send(outcome).unwrap();
        });
        answers
    };
    // On a busy machine a look-up may take so long that the desks are closed for a second: then it is
    // another one that is answered at once.
    let at_once = |password: &Secret| {
        let begun = instant();
        loop {
            let answers = ask(password);
            if let Ok(outcome) = answers.try_recv() {
                return outcome;
            }
            answers.recv().unwrap();
            assert!(instant() - begun < Duration::from_secs(20), "never at once");
        }
    };
    let refused = Outcome::refused(Reason::UnknownPassword);
    assert_eq!(at_once(&Secret::default()), refused);
    // The first one is hashed, on another thread.
    assert!(is_allowed(&ask(&phone.password).recv().unwrap()));
    assert!(is_allowed(&at_once(&phone.password)));
    assert_eq!(verifier.hashes(), 1);
    site.revoke(&phone);
    let outcome = ask(&phone.password).recv().unwrap();
    assert!(!is_allowed(&outcome), "{outcome:?}");
}

#[test]
fn trouble_at_a_desk_is_told_by_the_threads_that_may_wait() {
    let mut site = Site::new();
    let phone = site.issue("phone");
    let verifier = with_desks(&site);
    let ask = || {
        let (answer, answers) = mpsc::channel();
        let good = attempt("ana@example.org", &phone.password);
        submit(&verifier, good, instant(), move |outcome| {
            answer.send(outcome).unwrap();
        });
        answers.recv().unwrap()
    };
    assert!(is_allowed(&ask()));
    let away = site.path.with_extension("away");
    std::fs::rename(&site.path, &away).unwrap();
    assert_eq!(ask(), Outcome::internal_error());
    std::fs::rename(&away, &site.path).unwrap();
    let begun = instant();
    while !is_allowed(&ask()) {
        assert!(instant() - begun < Duration::from_secs(10));
    }
}

#[test]
fn a_caller_that_fills_its_lane_takes_no_room_from_another() {
    let site = Site::new();
    let verifier = site.verifier();
    let wrong = attempt("ana@example.org", &Secret::default());
    let (hanging, hangs) = mpsc::channel();
    let mut releases = Vec::new();
    for _ in 0..pool::LOOK_UP_THREADS {
        let (release, released) = mpsc::channel::<()>();
        let hanging = hanging.clone();
        submit(&verifier, wrong.clone(), instant(), move |_| {
            hanging.send(()).unwrap();
            let _ = released.recv();
        });
        hangs.recv().unwrap();
        releases.push(release);
    }
    let (answer, answers) = mpsc::channel();
    let ask = |caller| {
        let answer = answer.clone();
        submit_as(
            caller,
            &verifier,
            wrong.clone(),
            instant(),
            move |outcome| {
                answer.send((caller, outcome)).unwrap();
            },
        );
    };
    for _ in 0..pool::LANE {
        ask(CALLER);
    }
    assert!(answers.try_recv().is_err());
    ask(CALLER);
    assert_eq!(answers.try_recv(), Ok((CALLER, Outcome::overload())));
    ask(CALLER + 1);
    drop((releases, answer));
    let others: Vec<Outcome> = answers
        .iter()
        .filter_map(|(caller, outcome)| (caller != CALLER).then_some(outcome))
        .collect();
    assert_eq!(others, [Outcome::refused(Reason::UnknownPassword)]);
}

#[test]
fn a_flood_is_answered_completely_and_good_passwords_are_never_denied() {
    let mut site = Site::new();
    let issued = site.issue("phone");
    let verifier = site.verifier();
    let (answer, answers) = mpsc::channel();
    let arrived = instant();
    for _ in 0..20_000 {
        let answer = answer.clone();
        let good = attempt("ana@example.org", &issued.password);
        submit(&verifier, good, arrived, move |outcome| {
            answer.send(outcome).unwrap()
        });
    }
    drop(answer);
    let outcomes: Vec<Outcome> = answers.iter().collect();
    assert_eq!(outcomes.len(), 20_000);
    let is_right = |outcome: &&Outcome| is_allowed(outcome) || **outcome == Outcome::overload();
    let wrong: Vec<_> = outcomes
        .iter()
        .filter(|outcome| !is_right(outcome))
        .collect();
    assert!(wrong.is_empty(), "{:?}", wrong.first());
    assert!(outcomes.contains(&Outcome::overload()), "no bound was met");
}

#[test]
fn a_stop_answers_what_was_asked_before_it_returns() {
    let mut site = Site::new();
    let issued = site.issue("phone");
    let verifier = site.verifier();
    let (answer, answers) = mpsc::channel();
    for caller in 0..500 {
        let answer = answer.clone();
        let good = attempt("ana@example.org", &issued.password);
        submit_as(caller, &verifier, good, instant(), move |outcome| {
            answer.send(outcome).unwrap()
        });
    }
    verifier.stop();
    let outcomes: Vec<Outcome> = answers.try_iter().collect();
    assert_eq!(
        outcomes.len(),
        500,
        "an answer came after the end, or never"
    );
    assert!(outcomes.iter().all(is_allowed));
}

#[test]
fn dropping_the_last_handle_waits_for_nobody_and_leaves_nobody_unanswered() {
    let mut site = Site::new();
    let issued = site.issue("phone");
    let verifier = site.verifier();
    let (hanging, hangs) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    submit(
        &verifier,
        attempt("ana@example.org", &Secret::default()),
        instant(),
        move |_| {
            hanging.send(()).unwrap();
            let _ = released.recv();
        },
    );
    hangs.recv().unwrap();
    let (answer, answers) = mpsc::channel();
    for caller in 0..500 {
        let answer = answer.clone();
        let good = attempt("ana@example.org", &issued.password);
        submit_as(caller, &verifier, good, instant(), move |outcome| {
            answer.send(outcome).unwrap();
        });
    }
    drop(answer);
    let (dropped, drops) = mpsc::channel();
    let dropping = std::thread::spawn(move || {
        drop(verifier);
        dropped.send(()).unwrap();
    });
    let in_time = drops.recv_timeout(Duration::from_secs(10));
    release.send(()).unwrap();
    dropping.join().unwrap();
    assert_eq!(in_time, Ok(()), "it waited for a thread that hangs");
    let outcomes: Vec<Outcome> = answers.iter().collect();
    assert_eq!(outcomes.len(), 500);
    let is_right = |outcome: &Outcome| is_allowed(outcome) || *outcome == Outcome::overload();
    assert!(outcomes.iter().all(is_right));
}

#[test]
fn the_log_of_the_database_is_written_back_from_the_daemons_side() {
    let mut site = Site::new();
    site.issue("phone");
    // Closing the file drops SQLite's locks on it in this process, which nobody needs any more here.
    let has_label = |site: &Site| {
        let bytes = std::fs::read(&site.path).unwrap();
        bytes.windows(5).any(|window| window == b"phone")
    };
    assert!(!has_label(&site), "the command line wrote it back already");
    site.checker().reader.checkpoint(0, instant()).unwrap();
    assert!(has_label(&site));
}

#[test]
fn a_stopped_verifier_says_try_later() {
    let mut site = Site::new();
    let issued = site.issue("phone");
    let verifier = site.verifier();
    verifier.stop();
    verifier.stop();
    assert_eq!(ask_ana(&verifier, &issued.password), Outcome::overload());
}

#[test]
fn the_last_handle_may_be_dropped_by_an_answer() {
    let mut site = Site::new();
    let issued = site.issue("phone");
    for password in [issued.password, Secret::default()] {
        let verifier = site.verifier();
        let (answer, answers) = mpsc::channel();
        let handle = verifier.clone();
        let attempt = attempt("ana@example.org", &password);
        submit(&verifier, attempt, instant(), move |outcome| {
            drop(handle);
            answer.send(outcome).unwrap();
        });
        drop(verifier);
        assert!(answers.recv_timeout(Duration::from_secs(20)).is_ok());
    }
}

#[test]
fn a_panic_ends_its_own_attempt_only() {
    let mut site = Site::new();
    let issued = site.issue("phone");
    let verifier = site.verifier();
    for _ in 0..8 {
        let good = attempt("ana@example.org", &issued.password);
        submit(&verifier, good, instant(), |_| {
            panic!("a bug in the caller, on purpose")
        });
    }
    assert!(is_allowed(&ask_ana(&verifier, &issued.password)));
}
