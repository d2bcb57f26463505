//! The times of refusals.
//!
//! In every round each class of each group is asked once, all in an order drawn anew, so whatever drifts
//! drifts for all of them. The first class of a group, an unknown mailbox, is the base; three further ones
//! say whether the run can be believed:
//!
//! * the base once more: it must look like the base. Where it does not, something else than the daemon
//!   made the difference.
//! * the base, 0.3 ms later by the client's doing: all of these together must be told from all bases, which
//!   leave at the same fixed time in every group.
//! * a wrong password that meets the tag of a device password with a dear hash: the same from the daemon's
//!   side, longer than refusals are put off.
//!
//! A run in which one of these is not so is void and repeated.
//!
//! The least of a few tries has less in it of what else the machine does, so both are judged: all times, and
//! the least of each round.

use std::fmt::Write as _;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use dovelatch::model::Mechanism;
use libtest_mimic::Trial;

use crate::cases::{Case, DEAR, Group, groups};
use crate::dice::Dice;
use crate::peer::{Peer, nanos};
use crate::site::Site;
use crate::statistics::{area, interval, least_noticed, median, telling};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("no_refusal_can_be_told_by_its_time", told_by_time),
        trial(
            "what_is_found_out_afterwards_does_not_show_in_other_answers",
            told_by_load,
        ),
    ]
}

/// A class whose area is farther from 0.5 can be told: with 300 rounds that is four standard deviations of
/// what chance does to two samples that are alike.
const TELLING: f64 = 0.60;

/// As far as the control may be from 0.5: three of them.
const CONTROL: f64 = 0.57;

/// What has to be noticed at the least.
const LATE: Duration = Duration::from_micros(300);

/// How often a void run is repeated before the machine is found unfit.
const RUNS: usize = 5;

/// Rounds that do not count: they warm up.
const WARM: usize = 20;

/// Requests that wait at the same time, each on its own connection: a run would take too long otherwise.
const LANES: usize = 6;

/// How often each class is asked in a round.
const TRIES: usize = 2;

/// Delays for the question which of them would have been noticed, in ns.
const LADDER: [u64; 10] = [
    1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 300_000, 1_000_000,
];

fn rounds() -> usize {
    let rounds = env::var("DOVELATCH_ORACLE_ROUNDS");
    let rounds = rounds.map_or(300, |rounds| rounds.parse().unwrap());
    assert!(rounds >= 250, "fewer than 250 rounds show nothing");
    rounds
}

/// What a class is measured for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// It must look like the base, which is the first.
    Class,
    /// The base again.
    Control,
    /// The base again, and later.
    Late,
    /// It must be seen.
    Seen,
    /// Of interest, and no more.
    Shown,
}

/// The times of one class, in ns.
struct Times<'a> {
    group: &'a Group,
    case: &'a Case,
    role: Role,
    /// [`TRIES`] for each round.
    times: Vec<u64>,
}

impl<'a> Times<'a> {
    fn all_of(groups: &'a [Group]) -> Vec<Self> {
        let mut all = Vec::new();
        for group in groups {
            let base = &group.cases[0];
            let classes = group.cases.iter().map(|case| (case, Role::Class));
            let hashes = group.hashes.iter().map(|case| match case.what {
                DEAR => (case, Role::Seen),
                _ => (case, Role::Shown),
            });
            let roles = classes
                .chain([(base, Role::Control), (base, Role::Late)])
                .chain(hashes);
            all.extend(roles.map(|(case, role)| Self {
                group,
                case,
                role,
                times: Vec::new(),
            }));
        }
        all
    }

    /// One for each round.
    fn least(&self) -> Vec<u64> {
        let least = |tries: &[u64]| tries.iter().copied().min().unwrap();
        self.times.chunks(TRIES).map(least).collect()
    }

    fn name(&self) -> String {
        let what = self.case.what;
        match self.role {
            Role::Class => what.to_owned(),
            Role::Control => "control".to_owned(),
            Role::Late => "control, 0.3 ms late".to_owned(),
            Role::Seen => format!("{what}: must be noticed"),
            Role::Shown => format!("({what})"),
        }
    }
}

/// Waits so long, to the microsecond.
fn spin(wait: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < wait {}
}

/// What a run came to.
#[derive(Default)]
struct Report {
    text: String,
    /// Why it is void.
    void: Vec<String>,
    told: Vec<String>,
}

/// What a class must not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MustNot {
    /// Be told from the base, by being slower or faster.
    BeTold,
    /// Make others wait for longer than the base does.
    BeFelt,
}

impl Report {
    fn of(all: &[Times<'_>], must_not: MustNot, dice: &mut Dice) -> Self {
        let mut report = Self::default();
        let (mut bases, mut late) = (Vec::new(), Vec::new());
        for group in all.chunk_by(|left, right| std::ptr::eq(left.group, right.group)) {
            report.add(group, must_not, dice);
            bases.extend(group[0].least());
            let of_role = group.iter().filter(|one| one.role == Role::Late);
            late.extend(of_role.flat_map(Times::least));
        }
        let area = area(&bases, &late);
        let line = format!("all that is 0.3 ms late: {area:.3}, and must be above {TELLING}");
        let _ = writeln!(report.text, "\n{line}");
        if area <= TELLING {
            report.void.push(line);
        }
        report
    }

    /// The first of them is the base.
    fn add(&mut self, group: &[Times<'_>], must_not: MustNot, dice: &mut Dice) {
        let (base, least) = (&group[0].times, group[0].least());
        let what = format!(
            "{} by {}",
            group[0].group.what,
            group[0].group.mechanism.as_str()
        );
        let rounds = least.len();
        let _ = writeln!(
            self.text,
            "\n{what}: {rounds} rounds, {TRIES} tries in each\n\
             \x20 all: µs   area   least: µs   area   95 % of it"
        );
        for one in group {
            let (all, others) = (area(base, &one.times), one.least());
            let area = area(&least, &others);
            let (low, high) = interval(&least, &others, dice);
            let line = format!(
                "{:>9} {all:>6.3} {:>11} {area:>6.3}   {low:.3} to {high:.3}   {}",
                micros(median(&one.times)),
                micros(median(&others)),
                one.name()
            );
            let _ = writeln!(self.text, "  {line}");
            let (line, told) = (format!("{what}: {line}"), telling(all).max(telling(area)));
            let too_much = match must_not {
                MustNot::BeTold => told,
                MustNot::BeFelt => all.max(area),
            };
            match one.role {
                Role::Class if too_much > TELLING => self.told.push(line),
                Role::Control if told > CONTROL => self.void.push(line),
                Role::Seen if area <= TELLING => self.void.push(line),
                Role::Class | Role::Control | Role::Late | Role::Seen | Role::Shown => {}
            }
            if one.role == Role::Control {
                let noticed = least_noticed(&least, &others, &LADDER, TELLING);
                let noticed = noticed.map_or("nothing".to_owned(), micros);
                let _ = writeln!(self.text, "  at the least {noticed} µs would be noticed");
            }
        }
    }
}

/// With a tenth.
fn micros(nanos: u64) -> String {
    format!("{}.{}", nanos / 1_000, nanos % 1_000 / 100)
}

/// Repeats a run until one is not void, and demands that it tells nothing.
fn believed(name: &str, mut run: impl FnMut() -> Report) {
    let mut void = String::new();
    let file = format!("{}/{name}", env!("CARGO_TARGET_TMPDIR"));
    for number in 1..=RUNS {
        let report = run();
        fs::write(&file, format!("run {number}\n{}", report.text)).unwrap();
        if report.void.is_empty() {
            let told = report.told.join("\n");
            assert!(told.is_empty(), "can be told, see {file}:\n{told}");
            return;
        }
        void = report.void.join("\n");
    }
    panic!("{RUNS} runs were void; this machine is too noisy to say anything:\n{void}");
}

fn told_by_time() {
    let mut site = Site::new();
    let groups = groups(&mut site);
    let daemon = site.serve("0s");
    let mut peers: Vec<Peer> = (0..LANES).map(|_| daemon.peer()).collect();
    let mut dice = Dice::thrown();
    believed("oracle.txt", || {
        let mut all = Times::all_of(&groups);
        let mut order = all_tries(all.len());
        for round in 0..WARM + rounds() {
            dice.shuffle(&mut order);
            for handful in order.chunks(LANES) {
                for (at, time) in together(&site, &mut peers, &all, handful) {
                    if round >= WARM {
                        all[at].times.push(time);
                    }
                }
            }
        }
        Report::of(&all, MustNot::BeTold, &mut dice)
    });
}

/// Shows the passwords one right after the other, and then waits for the answers. What is to be late is late
/// before it is sent: the others have their time already, or not yet.
fn together(
    site: &Site,
    peers: &mut [Peer],
    all: &[Times<'_>],
    handful: &[usize],
) -> Vec<(usize, u64)> {
    let begun: Vec<_> = handful
        .iter()
        .zip(peers.iter_mut())
        .map(|(&at, peer)| {
            let shown = all[at].case.show(site);
            (at, peer.begin(all[at].group.mechanism, &shown))
        })
        .collect();
    let sent: Vec<Instant> = begun
        .iter()
        .zip(peers.iter())
        .map(|((at, begun), peer)| {
            let sent = Instant::now();
            if all[*at].role == Role::Late {
                spin(LATE);
            }
            peer.send(begun);
            sent
        })
        .collect();
    let received = begun.iter().zip(peers).zip(sent);
    received
        .map(|(((at, begun), peer), sent)| {
            let (read, said) = peer.receive(begun);
            assert!(said.starts_with("FAIL\t"), "{}: {said}", all[*at].name());
            (*at, nanos(read.duration_since(sent)))
        })
        .collect()
}

/// Each class as often as it is asked in a round.
fn all_tries(classes: usize) -> Vec<usize> {
    (0..classes).flat_map(|at| [at; TRIES]).collect()
}

/// A revoked password is looked into once its refusal is decided. Whoever asks something right then that is
/// answered at once, on a connection of his own, must not feel it. The base are passwords that have expired:
/// they are found as those are, and nobody looks into them. Their line is written to the log at once and that of
/// a revoked one later, on another thread; so others wait a little longer for *them* (SECURITY.md says so).
fn told_by_load() {
    let mut site = Site::new();
    let group = groups(&mut site)
        .into_iter()
        .find(|group| group.mechanism == Mechanism::Plain && !group.hashes.is_empty());
    let mut group = group.unwrap();
    let looked_into = ["expired", "revoked", "replaced", "access taken away"];
    group.cases.retain(|case| looked_into.contains(&case.what));
    group.cases.sort_by_key(|case| case.what != looked_into[0]);
    group.hashes.clear();
    let groups = [group];
    let daemon = site.serve("0s");
    let many = all_tries(Times::all_of(&groups).len()).len();
    let mut peers: Vec<Peer> = (0..many).map(|_| daemon.peer()).collect();
    let (mut other, mut dice) = (daemon.peer(), Dice::thrown());
    believed("oracle-load.txt", || {
        let mut all = Times::all_of(&groups);
        let mut order = all_tries(all.len());
        for round in 0..WARM + rounds() {
            dice.shuffle(&mut order);
            // A hash is over when the next one is asked, its refusal is on its way still.
            let begun: Vec<_> = order
                .iter()
                .zip(&mut peers)
                .map(|(&at, peer)| {
                    let one = &mut all[at];
                    let begun = peer.begin(one.group.mechanism, &one.case.show(&site));
                    thread::sleep(Duration::from_millis(1));
                    peer.send(&begun);
                    let mut time = other.challenge();
                    if one.role == Role::Late {
                        time += LATE;
                    }
                    if round >= WARM {
                        one.times.push(nanos(time));
                    }
                    begun
                })
                .collect();
            for (begun, peer) in begun.iter().zip(&mut peers) {
                let (_, said) = peer.receive(begun);
                assert!(said.starts_with("FAIL\t"), "{said}");
            }
        }
        Report::of(&all, MustNot::BeFelt, &mut dice)
    });
}
