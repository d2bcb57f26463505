//! The times of refusals.
//!
//! In every round each class of each group is asked once, all in an order drawn anew, so whatever drifts
//! drifts for all of them. The first class of a group, an unknown mailbox, is the base; three further ones
//! say whether the run can be believed:
//!
//! * the base once more: it must look like the base. Where it does not, something else than the daemon
//!   made the difference.
//! * the base, 0.3 ms later by the client's doing: it must be told from the base.
//! * with device passwords, a wrong one that meets the tag of a right one, which the daemon hashes: the same
//!   from the daemon's side.
//!
//! A run in which one of these is not so is void and repeated.

use std::fmt::Write as _;
use std::time::{Duration, Instant};
use std::{env, fs};

use libtest_mimic::Trial;

use crate::cases::{Case, Group, groups};
use crate::dice::Dice;
use crate::peer::{Peer, nanos};
use crate::site::Site;
use crate::statistics::{area, interval, least_noticed, median, telling};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("no_refusal_can_be_told_by_its_time", unknown_like_all),
        trial(
            "what_is_found_out_afterwards_does_not_show_in_the_next_answer",
            afterwards,
        ),
    ]
}

/// A class whose area is farther from 0.5 can be told. With 250 rounds that is four standard deviations of
/// what chance does to two samples that are alike.
const TELLING: f64 = 0.60;

/// As far as the control may be from 0.5: with 400 rounds 2.5 standard deviations.
const CONTROL: f64 = 0.55;

/// What has to be noticed at the least.
const LATE: Duration = Duration::from_micros(300);

/// How often a void run is repeated before the machine is found unfit.
const RUNS: usize = 5;

/// Delays for the question which of them would have been noticed, in ns.
const LADDER: [u64; 10] = [
    1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 300_000, 1_000_000,
];

fn rounds() -> usize {
    let rounds = env::var("DOVELATCH_ORACLE_ROUNDS");
    let rounds = rounds.map_or(400, |rounds| rounds.parse().unwrap());
    assert!(rounds >= 250, "less than 250 rounds show nothing");
    rounds
}

/// What is measured of a class, beside the classes of the group itself.
#[derive(Debug, Clone, Copy)]
enum Probe<'a> {
    Class(&'a Case),
    Control(&'a Case),
    Late(&'a Case),
    Hashed(&'a Case),
}

/// The times of one class, one for each round.
struct Times<'a> {
    group: &'a Group,
    probe: Probe<'a>,
    times: Vec<u64>,
}

impl<'a> Times<'a> {
    fn all_of(groups: &'a [Group]) -> Vec<Self> {
        let of = |group: &'a Group| {
            let classes = group.cases.iter().map(Probe::Class);
            let hashed = group.hashed.iter().map(Probe::Hashed);
            let base = &group.cases[0];
            classes
                .chain([Probe::Control(base), Probe::Late(base)])
                .chain(hashed)
                .map(move |probe| Self {
                    group,
                    probe,
                    times: Vec::new(),
                })
        };
        groups.iter().flat_map(of).collect()
    }

    fn measure(&mut self, site: &Site, peer: &mut Peer) {
        let (Probe::Class(case) | Probe::Control(case) | Probe::Late(case) | Probe::Hashed(case)) =
            self.probe;
        let shown = case.show(site);
        let (mut time, said) = peer.refused(self.group.mechanism, &shown);
        assert!(said.starts_with("FAIL\t"), "{}: {said}", case.what);
        if let Probe::Late(_) = self.probe {
            let seen = Instant::now();
            while seen.elapsed() < LATE {}
            time += nanos(seen.elapsed());
        }
        self.times.push(time);
    }

    fn name(&self) -> String {
        match self.probe {
            Probe::Class(case) => case.what.to_owned(),
            Probe::Control(_) => "control".to_owned(),
            Probe::Late(_) => "control, 0.3 ms late".to_owned(),
            Probe::Hashed(case) => format!("{}, must be seen", case.what),
        }
    }
}

/// What a run came to.
#[derive(Default)]
struct Report {
    text: String,
    /// Why it is void.
    void: Vec<String>,
    told: Vec<String>,
}

impl Report {
    fn of(all: &[Times<'_>], dice: &mut Dice) -> Self {
        let mut report = Self::default();
        for group in all.chunk_by(|left, right| std::ptr::eq(left.group, right.group)) {
            report.add(group, dice);
        }
        report
    }

    /// The first of them is the base.
    fn add(&mut self, group: &[Times<'_>], dice: &mut Dice) {
        let what = group[0].group;
        let what = format!("{} by {}", what.what, what.mechanism.as_str());
        let _ = writeln!(self.text, "\n{what}\n  median µs   area   95 % of it");
        let base = &group[0].times;
        for one in group {
            let area = area(base, &one.times);
            let (low, high) = interval(base, &one.times, dice);
            let (name, middle) = (one.name(), median(&one.times));
            let tenths = middle / 100;
            let line = format!(
                "{:>8}.{}   {area:.3}   {low:.3} to {high:.3}   {name}",
                tenths / 10,
                tenths % 10
            );
            let _ = writeln!(self.text, "  {line}");
            let told = telling(area);
            match one.probe {
                Probe::Class(_) if told > TELLING => self.told.push(format!("{what}: {line}")),
                Probe::Control(_) if told > CONTROL => self.void.push(format!("{what}: {line}")),
                Probe::Late(_) | Probe::Hashed(_) if area <= TELLING => {
                    self.void.push(format!("{what}: not noticed: {line}"));
                }
                Probe::Class(_) | Probe::Control(_) | Probe::Late(_) | Probe::Hashed(_) => {}
            }
            if let Probe::Control(_) = one.probe {
                let least = least_noticed(base, &one.times, &LADDER, TELLING);
                let least = least.map_or("nothing".to_owned(), |delay| format!("{delay} ns"));
                let _ = writeln!(self.text, "  {least} would have been noticed at the least");
            }
        }
    }
}

/// Repeats a run until one is not void, and demands that it tells nothing.
fn believed(name: &str, mut run: impl FnMut() -> Report) {
    let mut void = String::new();
    for _ in 0..RUNS {
        let report = run();
        let file = format!("{}/{name}", env!("CARGO_TARGET_TMPDIR"));
        fs::write(&file, &report.text).unwrap();
        if report.void.is_empty() {
            let told = report.told.join("\n");
            assert!(told.is_empty(), "can be told, see {file}:\n{told}");
            return;
        }
        void = report.void.join("\n");
    }
    panic!("{RUNS} runs were void; this machine is too noisy to say anything:\n{void}");
}

fn unknown_like_all() {
    let mut site = Site::new();
    let groups = groups(&mut site);
    let daemon = site.serve("0s");
    let mut peer = daemon.peer();
    let mut dice = Dice::thrown();
    believed("oracle.txt", || {
        let mut all = Times::all_of(&groups);
        let mut order: Vec<usize> = (0..all.len()).collect();
        // The first rounds warm up, and do not count.
        for round in 0..rounds() + 20 {
            dice.shuffle(&mut order);
            order
                .iter()
                .for_each(|&at| all[at].measure(&site, &mut peer));
            if round == 19 {
                all.iter_mut().for_each(|one| one.times.clear());
            }
        }
        Report::of(&all, &mut dice)
    });
}

/// A revoked password is looked into when its refusal has left. Whoever asks anything right then, on the same
/// connection, must not feel it.
fn afterwards() {
    let mut site = Site::new();
    let groups = groups(&mut site);
    let group = groups.iter().find(|group| group.hashed.is_some()).unwrap();
    let daemon = site.serve("0s");
    let mut peer = daemon.peer();
    let mut dice = Dice::thrown();
    believed("oracle-afterwards.txt", || {
        let mut all = Times::all_of(std::slice::from_ref(group));
        let mut order: Vec<usize> = (0..all.len()).collect();
        for _ in 0..rounds() {
            dice.shuffle(&mut order);
            for &at in &order {
                let before = &mut all[at];
                before.measure(&site, &mut peer);
                // Its own time is not what counts here, but that of the next one.
                let late = match before.probe {
                    Probe::Late(_) | Probe::Hashed(_) => before.times.pop(),
                    Probe::Class(_) | Probe::Control(_) => None,
                };
                let (time, _) = peer.refused(group.mechanism, &group.cases[0].show(&site));
                if late.is_none() {
                    before.times.pop();
                }
                before.times.push(time);
            }
        }
        Report::of(&all, &mut dice)
    });
}
