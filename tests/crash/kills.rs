//! SIGKILL at random instants: of the daemon, of a command, or of both, under load.
//!
//! Two operators work at the same time, each on a domain of their own and with a ledger of their own. In
//! each round one of them, or the daemon, or both at once are killed; then the daemon is up (again), and
//! everything is compared: the check of the whole file, the lists, and log-ins with passwords that must
//! work and with passwords that must not. Meanwhile somebody signs in all the time: once in, and once with
//! a password that was revoked long ago.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use dovelatch::model::Mailbox;
use dovelatch::store::{Revoked, Store};
use rusqlite::Connection;

use crate::dice::Dice;
use crate::judge::{Answer, Judge};
use crate::ledger::{Change, Listing, Said, State};
use crate::site::{Daemon, Site, timed};
use crate::{now, wait};

/// Commands of each operator in a round.
const COMMANDS: usize = 4;

/// Kills after which there is a new site: the check of the whole file takes longer the more has ended.
const SITE_LASTS: usize = 200;

/// Ended passwords that are tried after each kill, beside those of the last rounds; all of them in the end.
const SAMPLE: usize = 16;

/// From the start of the daemon to a good log-in, at most.
const BACK_AFTER: Duration = Duration::from_secs(1);

/// Whose mailbox is signed in to all the time.
const STEADY: &str = "steady@example.org";

/// What a campaign came to.
#[derive(Debug, Default)]
struct Counts {
    daemon: usize,
    command: usize,
    both: usize,
    acknowledged: usize,
    cut_off: usize,
    cut_off_but_done: usize,
    asked: usize,
    log_ins: u64,
    starts: Vec<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Daemon,
    Command,
    Both,
}

/// Kills so often, and panics with the seed at the first thing that is not as it must be.
pub(crate) fn campaign(kills: usize, seed: u64) {
    let begun = now();
    let (mut dice, mut counts, mut done) = (Dice::new(seed), Counts::default(), 0);
    while done < kills {
        let mut campaign = Campaign::new(seed, dice.split(), counts);
        let end = kills.min(done + SITE_LASTS);
        for number in done..end {
            campaign.round(number);
        }
        (counts, done) = (campaign.finish(), end);
        crate::tell(&format!("{done} kills in {} s", begun.elapsed().as_secs()));
    }
    let Counts {
        daemon,
        command,
        both,
        acknowledged,
        cut_off,
        cut_off_but_done,
        asked,
        log_ins,
        mut starts,
    } = counts;
    starts.sort();
    let usual = starts.get(starts.len() / 2).copied().unwrap_or_default();
    let slowest = starts.last().copied().unwrap_or_default();
    crate::tell(&format!(
        "{kills} kills with seed {seed} in {} s: daemon {daemon}, command {command}, both {both}; \
         {acknowledged} changes acknowledged, {cut_off} commands cut off, {cut_off_but_done} of which \
         had done their work; {asked} log-ins checked, {log_ins} under load; good log-in {} ms after \
         the start as a rule, {} ms at the latest",
        begun.elapsed().as_secs(),
        usual.as_millis(),
        slowest.as_millis(),
    ));
    // Not the slowest: other tests may have had the machine to themselves then.
    assert!(
        usual <= BACK_AFTER,
        "a good log-in {usual:?} after the start"
    );
}

struct Campaign {
    seed: u64,
    site: Site,
    dice: Dice,
    daemon: Option<Daemon>,
    operators: Vec<Operator>,
    /// Passwords of [`STEADY`]: one that works, one that was revoked.
    good: String,
    revoked: String,
    counts: Counts,
}

impl Campaign {
    fn new(seed: u64, mut dice: Dice, counts: Counts) -> Self {
        let site = Site::new();
        site.run(&["mailbox", "add", STEADY]);
        let [good, revoked] =
            ["good", "revoked"].map(|label| site.run(&["add", STEADY, label]).trim().to_owned());
        site.run(&["revoke", STEADY, "revoked"]);
        let operators = ["one.example", "two.example"].map(|domain| Operator {
            domain,
            dice: dice.split(),
            state: State::default(),
            seen: Vec::new(),
            labels: 0,
            usual: Duration::from_millis(20),
        });
        let daemon = Some(site.start());
        site.ask_until_told(STEADY, &good, wait::LONG);
        Self {
            seed,
            site,
            dice,
            daemon,
            operators: operators.into(),
            good,
            revoked,
            counts,
        }
    }

    fn round(&mut self, number: usize) {
        let target = match self.dice.below(10) {
            0..=3 => Target::Daemon,
            4..=8 => Target::Command,
            _ => Target::Both,
        };
        match target {
            Target::Daemon => self.counts.daemon += 1,
            Target::Command => self.counts.command += 1,
            Target::Both => self.counts.both += 1,
        }
        let context = format!(
            "kill {number} of seed {} ({target:?}); the daemon says:\n",
            self.seed
        );
        let whose = self.dice.below(self.operators.len());
        let which = self.dice.below(COMMANDS);
        // Some 100 ms are what a round takes.
        let instant = Duration::from_micros(u64::try_from(self.dice.below(150_000)).unwrap());
        let (site, good, revoked) = (&self.site, &self.good, &self.revoked);
        let (over, log_ins) = (AtomicBool::new(false), AtomicU64::new(0));
        let (daemon, starts) = (&mut self.daemon, &mut self.counts.starts);
        let seen: Vec<_> = self.operators.iter().map(|one| one.seen.len()).collect();

        let outcomes: Vec<Outcome> = thread::scope(|scope| {
            let load = scope.spawn(|| sign_in_until(site, good, revoked, &over, &log_ins));
            let operators = self.operators.iter_mut().enumerate();
            let operators: Vec<_> = operators
                .map(|(index, operator)| {
                    let kill = (index == whose && target != Target::Daemon).then_some(which);
                    scope.spawn(move || operator.work(site, kill))
                })
                .collect();
            if target != Target::Command {
                // Not to wait for anything: this is the instant.
                thread::sleep(instant);
                daemon.take().unwrap().kill();
                let (started, took) = timed(|| {
                    let started = site.start();
                    let answer = site.ask_until_told(STEADY, good, wait::LONG);
                    assert_eq!(answer, Answer::In, "{context}{}", site.daemon_log());
                    started
                });
                *daemon = Some(started);
                starts.push(took);
            }
            let outcomes = operators.into_iter().map(|operator| operator.join());
            let outcomes: Vec<_> = outcomes.collect();
            over.store(true, Ordering::SeqCst);
            load.join().unwrap();
            let outcomes = outcomes.into_iter();
            outcomes
                .map(|outcome| outcome.unwrap_or_else(|_| panic!("{context}{}", site.daemon_log())))
                .collect()
        });
        self.counts.log_ins += log_ins.into_inner();
        for outcome in outcomes {
            self.counts.acknowledged += outcome.acknowledged;
            self.counts.cut_off += usize::from(outcome.cut_off);
            self.counts.cut_off_but_done += usize::from(outcome.cut_off_but_done);
        }
        self.compare(&context, &seen);
    }

    /// File, lists and log-ins, while nobody changes anything. `fresh` are the numbers of passwords that
    /// each operator had seen before the round.
    fn compare(&mut self, context: &str, fresh: &[usize]) {
        self.site.check();
        {
            let store = Store::open(&self.site.database()).unwrap();
            for operator in &self.operators {
                operator.compare_lists(&store, context);
            }
        }
        let mut questions = vec![
            (STEADY.to_owned(), self.good.clone(), Answer::In),
            (STEADY.to_owned(), self.revoked.clone(), Answer::Refused),
        ];
        for (operator, fresh) in self.operators.iter().zip(fresh) {
            let living = operator.state.living();
            let living =
                living.map(|(mailbox, password)| (mailbox.to_owned(), password.to_owned()));
            let mut asked: Vec<_> = living.collect();
            // What was seen in the last rounds, and some of what is older.
            asked.extend_from_slice(&operator.seen[fresh.saturating_sub(COMMANDS)..]);
            for _ in 0..SAMPLE {
                asked.extend(self.dice.pick(&operator.seen).cloned());
            }
            questions.extend(asked.into_iter().map(|(mailbox, password)| {
                let expected = operator.expected(&mailbox, &password);
                (mailbox, password, expected)
            }));
        }
        let mut door = self.site.connect().unwrap();
        for (mailbox, password, expected) in questions {
            self.counts.asked += 1;
            let mut answer = door.ask(&mailbox, &password).unwrap();
            if answer == Answer::Later {
                answer = self.site.ask_until_told(&mailbox, &password, BACK_AFTER);
            }
            assert_eq!(
                answer,
                expected,
                "{mailbox} {password}: {context}{}",
                self.site.daemon_log()
            );
        }
    }

    /// Every password that was ever seen.
    fn finish(mut self) -> Counts {
        self.compare("in the end: ", &vec![0; self.operators.len()]);
        if let Some(daemon) = self.daemon.take() {
            daemon.stop();
        }
        self.site.check();
        self.counts
    }
}

/// Signs in with both passwords until told that it is over. The daemon may be away, or say *try later*; it
/// may not say the wrong thing.
fn sign_in_until(site: &Site, good: &str, revoked: &str, over: &AtomicBool, count: &AtomicU64) {
    while !over.load(Ordering::SeqCst) {
        let Ok(mut door) = site.connect() else {
            thread::yield_now();
            continue;
        };
        while !over.load(Ordering::SeqCst) {
            let (Ok(first), Ok(second)) = (door.ask(STEADY, good), door.ask(STEADY, revoked))
            else {
                break;
            };
            assert_ne!(first, Answer::Refused, "{}", site.daemon_log());
            assert_ne!(second, Answer::In, "{}", site.daemon_log());
            count.fetch_add(2, Ordering::Relaxed);
            // The operators share two cores with this one.
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Decides what became of a change that was cut off for good.
///
/// A command that is killed between its commit in the log and the index of the log has changed nothing that
/// anybody sees; but if then all are killed, the log is read anew, and it has. Nobody was told of it, so either
/// is right, and what is seen now might be another thing after the next kill. A further change takes the place of
/// what the index does not know.
fn settle(database: &Path) {
    let connection = Connection::open(database).unwrap();
    connection.busy_timeout(wait::LONG).unwrap();
    let change = "UPDATE meta SET created = created";
    assert_eq!(connection.execute(change, []).unwrap(), 1);
}

/// Types commands, and knows what they must have come to.
struct Operator {
    domain: &'static str,
    dice: Dice,
    state: State,
    /// Mailbox and password of everything that was ever shown.
    seen: Vec<(String, String)>,
    labels: usize,
    /// How long a command takes.
    usual: Duration,
}

#[derive(Debug, Default)]
struct Outcome {
    acknowledged: usize,
    cut_off: bool,
    cut_off_but_done: bool,
}

impl Operator {
    /// Runs [`COMMANDS`], and kills the one with number `kill`.
    fn work(&mut self, site: &Site, kill: Option<usize>) -> Outcome {
        let mut outcome = Outcome::default();
        for number in 0..COMMANDS {
            self.labels += 1;
            let change = Change::choose(&mut self.dice, &self.state, self.domain, self.labels);
            let mut command = site.command();
            command
                .args(change.arguments(&self.state))
                .stderr(Stdio::piped());
            let begun = now();
            let mut child = command.spawn().unwrap();
            if kill == Some(number) {
                self.wait_for_the_instant(&site.log());
                child.kill().unwrap();
            }
            let ended = child.wait_with_output().unwrap();
            let said = Said {
                output: String::from_utf8(ended.stdout).unwrap(),
                notes: String::from_utf8(ended.stderr).unwrap(),
                success: ended.status.success(),
            };
            let shown = change.shown(&self.state, &said);
            let password = shown.as_ref().map(|(_, password)| password.as_str());
            let states = change.states(&self.state, password);
            self.seen.extend(shown.clone());
            let acknowledged = change.acknowledged(&said);
            if ended.status.success() {
                assert_eq!(acknowledged, states.len() - 1, "{change:?}: {said:?}");
                // Near the least: on a busy machine most instants would come too late.
                self.usual = begun.elapsed().min(self.usual * 11 / 10);
                self.state = states.last().unwrap().clone();
                outcome.acknowledged += 1;
            } else if ended.status.code().is_none() {
                let possible = states.iter().skip(acknowledged).take(2);
                let found = self.which(site, possible.cloned().collect(), &change);
                outcome.cut_off = true;
                outcome.cut_off_but_done = Some(&found) == states.last() && found != self.state;
                outcome.acknowledged += usize::from(acknowledged > 0);
                self.state = found;
            } else {
                panic!("{change:?}: {said:?}\n{:?}", self.state);
            }
        }
        outcome
    }

    /// Any instant of a command; or one in its last part; or one soon after somebody has written to the
    /// log, which is when the change is done and not told yet.
    fn wait_for_the_instant(&mut self, log: &Path) {
        let usual = usize::try_from(self.usual.as_micros()).unwrap().max(10);
        let instant = match self.dice.below(3) {
            0 => self.dice.below(usual * 11 / 10),
            1 => usual * 6 / 10 + self.dice.below(usual / 2),
            _ => {
                let written = || fs::metadata(log).and_then(|found| found.modified()).ok();
                let (before, begun) = (written(), now());
                while written() == before && begun.elapsed() < 2 * self.usual {
                    thread::yield_now();
                }
                self.dice.below(usual / 2)
            }
        };
        // Not to wait for anything: this is the instant.
        thread::sleep(Duration::from_micros(u64::try_from(instant).unwrap()));
    }

    /// Which of the possible states the database is in. It must be one of them, in lists and log-ins.
    fn which(&self, site: &Site, mut possible: Vec<State>, change: &Change) -> State {
        if !site.database().exists() {
            return possible.swap_remove(0);
        }
        settle(&site.database());
        let found = Listing::of(&Store::open(&site.database()).unwrap(), self.domain).unwrap();
        let wanted: Vec<_> = possible.iter().map(State::listing).collect();
        possible.retain(|state| state.listing() == found);
        assert!(
            !possible.is_empty(),
            "{change:?} was cut off, and {found:?} is none of {wanted:#?}"
        );
        // What tells those that are left apart: the old password of a rotation.
        let differs = |(mailbox, password): &&(String, String)| {
            let mut opens = possible.iter().map(|state| state.opens(mailbox, password));
            let first = opens.next();
            opens.any(|opens| Some(opens) != first)
        };
        let telling: Vec<_> = self.seen.iter().filter(differs).cloned().collect();
        if !telling.is_empty() {
            let judge = Judge::over(&site.database());
            for (mailbox, password) in &telling {
                let let_in = judge.ask(mailbox, password) == Answer::In;
                possible.retain(|state| state.opens(mailbox, password) == let_in);
            }
        }
        let state = possible.into_iter().next();
        state.unwrap_or_else(|| panic!("{change:?} was cut off, and log-ins say otherwise"))
    }

    fn expected(&self, mailbox: &str, password: &str) -> Answer {
        match self.state.opens(mailbox, password) {
            true => Answer::In,
            false => Answer::Refused,
        }
    }

    /// The lists show what is, and what nobody has seen was never used.
    fn compare_lists(&self, store: &Store, context: &str) {
        let found = Listing::of(store, self.domain).unwrap();
        assert_eq!(found, self.state.listing(), "{context}");
        for row in store.devices(None, Revoked::Hidden).unwrap() {
            let ours = Mailbox::as_str(&row.mailbox).ends_with(self.domain);
            if ours && !self.state.was_seen(row.label.as_str()) {
                assert_eq!(row.last_use, None, "{context}{row:?} was never seen");
            }
        }
    }
}
