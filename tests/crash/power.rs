//! The power cut: what was recorded is cut off at every point, with every kind of loss that a disk may
//! have, and the real store and the real verifier are asked what they make of the rest.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use dovelatch::store::Store;
use tempfile::TempDir;

use crate::dice::Dice;
use crate::judge::{Answer, Judge};
use crate::ledger::{Change, Listing, Said, State};
use crate::recording::{Ran, Recording, record};
use crate::tape::{Act, Fate, Record, Tape};
use crate::{Extent, now};

/// Cuts of the short form that are not drawn at random.
const SHORT: usize = 700;

/// Cuts with a random part of what was pending.
const RANDOM: usize = 200;

/// Where a write may break apart, at most: more seams are left out, but for the last.
const SEAMS: usize = 4;

/// A power cut in front of record `cut`.
#[derive(Debug, Clone, Default)]
struct Cut {
    cut: usize,
    /// What of the pending changes does not arrive whole.
    fates: HashMap<usize, Fate>,
}

/// All kinds of cuts, by name.
#[derive(Default)]
struct Cuts {
    kinds: Vec<(&'static str, Vec<Cut>)>,
}

fn recording() -> &'static Recording {
    static RECORDING: OnceLock<Recording> = OnceLock::new();
    RECORDING.get_or_init(|| match Extent::of_this_run() {
        Extent::Short => record(crate::seed(), 1, 16),
        Extent::Long => record(crate::seed(), 2, 28),
    })
}

/// What the recorder has missed would not be played.
pub(crate) fn nothing_is_missed() {
    let recording = recording();
    let files = recording.tape.files(recording.tape.len(), &HashMap::new());
    let left: Vec<_> = (recording.left.iter())
        .map(|(name, content)| (name.as_str(), content.len()))
        .collect();
    let played: Vec<_> = files
        .iter()
        .map(|(name, content)| (*name, content.len()))
        .collect();
    assert_eq!(played, left);
    for (name, content) in &recording.left {
        assert!(
            files[name.as_str()] == *content,
            "{name} is another on the tape"
        );
    }
}

/// The recording is worth playing: everything is in it that could go wrong.
pub(crate) fn all_is_in_it() {
    let Recording {
        tape,
        commands,
        daemon,
        ..
    } = recording();
    let database = tape.file_named("dovelatch.db").unwrap();
    let by_daemon = |wanted: &dyn Fn(&Act) -> bool| {
        (tape.records.iter()).any(|record| record.process == *daemon && wanted(&record.act))
    };
    assert!(
        by_daemon(&|act| matches!(act, Act::Write { file, .. } if *file == database)),
        "the daemon writes the log back"
    );
    assert!(
        by_daemon(&|act| matches!(act, Act::Write { file, .. } if *file != database)),
        "the daemon writes uses into the log"
    );
    let deletes_log = |record: &Record| {
        let Act::Unlink { name } = &record.act else {
            return false;
        };
        name.ends_with("-wal")
    };
    assert!(
        tape.records.iter().any(deletes_log),
        "without a daemon, whoever closes last writes the log back and deletes it"
    );
    // The beginning of one log, written more than once.
    let mut begun = HashMap::new();
    for record in &tape.records {
        if let Act::Write {
            file, offset: 0, ..
        } = record.act
        {
            *begun.entry(file).or_insert(0) += 1;
        }
    }
    begun.remove(&database);
    assert!(
        begun.values().any(|times| *times > 1),
        "a log is begun anew"
    );
    assert!(
        (tape.records.iter()).any(|record| matches!(record.act, Act::Truncate { length: 0, .. })),
        "a log is cut"
    );
    let kinds = |wanted: fn(&Change) -> bool| commands.iter().any(|ran| wanted(&ran.change));
    assert!(kinds(|change| matches!(change, Change::Rotate { .. })));
    assert!(kinds(|change| matches!(change, Change::Revoke(_))));
}

/// When the success line is printed, nothing that the same program has changed is pending.
pub(crate) fn synced_before_success() {
    let Recording { tape, commands, .. } = recording();
    for ran in commands {
        for (step, line) in acknowledgements(tape, ran).into_iter().enumerate() {
            let own = |index: &usize| tape.records[*index].process == ran.process;
            let pending = tape.pending(line).filter(own).map(|index| {
                let record = &tape.records[index];
                format!("{index}: {:?}", summary(record))
            });
            let pending: Vec<_> = pending.collect();
            assert!(
                pending.is_empty(),
                "{:?}, step {step}: pending at the success line, record {line}: {pending:#?}",
                ran.change
            );
            let written = (0..line).filter(own).any(|index| tape.is_change(index));
            assert!(written, "{:?} has changed nothing", ran.change);
        }
    }
}

/// The first command has made the database: its name lasts.
pub(crate) fn name_lasts_before_success() {
    let Recording { tape, commands, .. } = recording();
    let first = &commands[0];
    let line = acknowledgements(tape, first)[0];
    let at = |wanted: &dyn Fn(&Act) -> bool| {
        (tape.records[..line].iter()).position(|record| wanted(&record.act))
    };
    let named = at(&|act| matches!(act, Act::Link { name, .. } if name == "dovelatch.db"));
    let named = named.expect("the database gets its name");
    let synced = (tape.records[named..line].iter()).any(|record| record.act == Act::SyncDirectory);
    assert!(
        synced,
        "no sync of the directory between {named} and {line}"
    );
}

/// The campaign itself.
pub(crate) fn nothing_is_lost() {
    let begun = now();
    let recording = recording();
    let Recording {
        tape,
        commands,
        seen,
        ..
    } = recording;
    let mut dice = Dice::new(crate::seed() ^ 0x5eed);
    let mut cuts = Cuts::of(tape, &mut dice);
    if Extent::of_this_run() == Extent::Short {
        cuts.thin_out(&mut dice);
    }
    let all: Vec<&Cut> = cuts.kinds.iter().flat_map(|(_, cuts)| cuts).collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let bench = Bench::new();
                let draw = || next.fetch_add(1, Ordering::Relaxed);
                while let Some((number, cut)) = Some(draw()).and_then(|at| Some((at, all.get(at)?)))
                {
                    if number > 0 && number % 2_000 == 0 {
                        crate::tell(&format!("{number} of {} power cuts", all.len()));
                    }
                    if let Err(wrong) = bench.play(recording, tape, cut) {
                        panic!("seed {}, {cut:?}: {wrong}", crate::seed());
                    }
                }
            });
        }
    });
    let counts: Vec<_> = (cuts.kinds.iter())
        .map(|(kind, cuts)| format!("{} {kind}", cuts.len()))
        .collect();
    crate::tell(&format!(
        "{} power cuts of {} records ({} commands, {} passwords) with seed {} in {} s: {}",
        all.len(),
        tape.len(),
        commands.len(),
        seen.len(),
        crate::seed(),
        begun.elapsed().as_secs(),
        counts.join(", "),
    ));
}

/// The campaign can fail: without the syncs of one command, a cut behind its success line shows a loss.
pub(crate) fn a_missing_sync_is_noticed() {
    let recording = recording();
    let bench = Bench::new();
    type Kind = fn(&Change) -> bool;
    let kinds: [(Kind, &str); 3] = [
        (is_issue, "issue"),
        (is_rotation, "rotate"),
        (is_revocation, "revoke"),
    ];
    for (wanted, name) in kinds {
        let ran = recording.commands.iter().find(|ran| wanted(&ran.change));
        let ran = ran.unwrap_or_else(|| panic!("no {name} in the recording"));
        let line = *acknowledgements(&recording.tape, ran).last().unwrap();
        let behind = Cut {
            cut: line + 1,
            ..Cut::default()
        };
        bench.play(recording, &recording.tape, &behind).unwrap();
        let mut records = recording.tape.records.clone();
        for record in records
            .iter_mut()
            .filter(|record| record.process == ran.process)
        {
            if matches!(record.act, Act::Sync { .. }) {
                record.act = Act::Say {
                    descriptor: 0,
                    text: String::new(),
                };
            }
        }
        let unsynced = Tape::new(records);
        let fates = unsynced.pending(line + 1).map(|index| (index, Fate::Lost));
        let lost = Cut {
            cut: line + 1,
            fates: fates.collect(),
        };
        let wrong = bench.play(recording, &unsynced, &lost);
        assert!(wrong.is_err(), "nobody notices that {name} was not synced");
    }
}

fn is_issue(change: &Change) -> bool {
    matches!(change, Change::Issue { .. })
}

fn is_rotation(change: &Change) -> bool {
    matches!(change, Change::Rotate { .. })
}

fn is_revocation(change: &Change) -> bool {
    matches!(change, Change::Revoke(_))
}

impl Cuts {
    /// Every cut that is to be played in full.
    fn of(tape: &Tape, dice: &mut Dice) -> Self {
        let single = |cut: usize, index: usize, fate: Fate| Cut {
            cut,
            fates: HashMap::from([(index, fate)]),
        };
        let (mut whole, mut nothing) = (Vec::new(), Vec::new());
        for cut in 0..=tape.len() {
            whole.push(Cut {
                cut,
                ..Cut::default()
            });
            let fates: HashMap<_, _> = tape.pending(cut).map(|index| (index, Fate::Lost)).collect();
            if !fates.is_empty() {
                nothing.push(Cut { cut, fates });
            }
        }
        let (mut dropped, mut torn) = (Vec::new(), Vec::new());
        for index in (0..tape.len()).filter(|index| tape.is_change(*index)) {
            // Everything else of the interval is there; and once, no more than that of the first sync
            // of any file, in case another one lies between.
            let last = tape.pending_until(index);
            let is_sync =
                |at: &usize| matches!(tape.records[*at].act, Act::Sync { .. } | Act::SyncDirectory);
            let first = (index + 1..last).find(is_sync);
            for cut in first.into_iter().chain([last]) {
                dropped.push(single(cut, index, Fate::Lost));
                if matches!(tape.records[index].act, Act::Write { .. }) {
                    dropped.push(single(cut, index, Fate::Hole));
                }
                let seams = tape.seams(index);
                let last = seams.iter().skip(SEAMS).next_back();
                for seam in seams.iter().take(SEAMS).chain(last) {
                    torn.push(single(cut, index, Fate::First(*seam)));
                    torn.push(single(cut, index, Fate::From(*seam)));
                }
            }
        }
        let random = (0..RANDOM).map(|_| {
            let cut = dice.below(tape.len() + 1);
            let mut fates = HashMap::new();
            for index in tape.pending(cut) {
                let seams = tape.seams(index);
                let fate = match (dice.below(5), dice.pick(&seams)) {
                    (0 | 1, _) => Fate::Lost,
                    (2, Some(seam)) => Fate::First(*seam),
                    (3, Some(seam)) => Fate::From(*seam),
                    _ => continue,
                };
                fates.insert(index, fate);
            }
            Cut { cut, fates }
        });
        let random = random.collect();
        Self {
            kinds: vec![
                ("with all that was written", whole),
                ("with all that was pending lost", nothing),
                ("with one change lost", dropped),
                ("with one write torn", torn),
                ("with a random part of it", random),
            ],
        }
    }

    /// Keeps every so-manieth of each kind, beginning at a random one: [`SHORT`] in all, or a few more.
    fn thin_out(&mut self, dice: &mut Dice) {
        let all: usize = self.kinds.iter().map(|(_, cuts)| cuts.len()).sum();
        let every = all.div_ceil(SHORT);
        for (_, cuts) in &mut self.kinds {
            let first = dice.below(every);
            let mut number = 0;
            cuts.retain(|_| {
                number += 1;
                (number - 1) % every == first
            });
        }
    }
}

/// Where each step of a command was acknowledged: the record of the line.
fn acknowledgements(tape: &Tape, ran: &Ran) -> Vec<usize> {
    let mut found = Vec::new();
    for (index, record) in tape.records.iter().enumerate() {
        let speaks = matches!(record.act, Act::Say { .. }) && record.process == ran.process;
        if speaks && acknowledged(tape, ran, index + 1) > found.len() {
            found.resize(acknowledged(tape, ran, index + 1), index);
        }
    }
    assert_eq!(found.len(), ran.states.len() - 1, "{:?}", ran.change);
    found
}

/// How many steps of a command were acknowledged before record `cut`.
fn acknowledged(tape: &Tape, ran: &Ran, cut: usize) -> usize {
    ran.change.acknowledged(&Said {
        output: tape.said(ran.process, 1, cut),
        notes: tape.said(ran.process, 2, cut),
        success: false,
    })
}

/// The states in which the database may be after a cut.
fn possible(tape: &Tape, commands: &[Ran], cut: usize) -> Vec<State> {
    let begun = |ran: &&Ran| {
        let records = tape.records[..cut].iter();
        records.rev().any(|record| record.process == ran.process)
    };
    // Commands came one after the other.
    let Some(last) = commands.iter().rev().find(begun) else {
        return vec![State::default()];
    };
    let acknowledged = acknowledged(tape, last, cut);
    last.states
        .iter()
        .skip(acknowledged)
        .take(2)
        .cloned()
        .collect()
}

/// Where files are put that a cut has left.
struct Bench {
    directory: TempDir,
}

impl Bench {
    /// In memory if possible: what is left after a cut is synced by nobody's promise.
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let directory = TempDir::new_in(memory).or_else(|_| TempDir::new());
        Self {
            directory: directory.unwrap(),
        }
    }

    /// Puts the files there and asks. What is wrong with them, if anything.
    fn play(&self, recording: &Recording, tape: &Tape, cut: &Cut) -> Result<(), String> {
        let Cut { cut, fates } = cut;
        let mut possible = possible(tape, &recording.commands, *cut);
        let files = tape.files(*cut, fates);
        let place = self.directory.path().join("after");
        fs::create_dir(&place).unwrap();
        for (name, content) in &files {
            fs::write(place.join(name), content).unwrap();
        }
        let database = place.join("dovelatch.db");
        let played = if database.exists() {
            examine(&database, &mut possible, &recording.seen)
        } else if possible.contains(&State::default()) {
            Ok(())
        } else {
            Err("there is no database".to_owned())
        };
        fs::remove_dir_all(&place).unwrap();
        played
    }
}

/// File, lists and log-ins must be those of one of the possible states.
fn examine(
    database: &Path,
    possible: &mut Vec<State>,
    seen: &[(String, String)],
) -> Result<(), String> {
    let judge = Judge::over(database);
    let mut answers = Vec::new();
    for (mailbox, password) in seen {
        // The daemon comes first, as after a boot.
        let answer = judge.ask(mailbox, password);
        if answer == Answer::Later {
            return Err(format!("{mailbox} is to try later"));
        }
        answers.push(answer == Answer::In);
    }
    let store = Store::open(database).map_err(|error| format!("{error:?}"))?;
    let problems = store.check().map_err(|error| format!("{error:?}"))?;
    if !problems.is_empty() {
        return Err(format!("{problems:?}"));
    }
    let found = Listing::of(&store, "").map_err(|error| format!("{error:?}"))?;
    let wanted: Vec<_> = possible.iter().map(State::listing).collect();
    possible.retain(|state| state.listing() == found);
    if possible.is_empty() {
        return Err(format!("{found:#?} is none of {wanted:#?}"));
    }
    possible.retain(|state| {
        let opens = seen
            .iter()
            .map(|(mailbox, password)| state.opens(mailbox, password));
        opens.eq(answers.iter().copied())
    });
    if possible.is_empty() {
        let let_in = seen.iter().zip(&answers).filter(|(_, answer)| **answer);
        let let_in: Vec<_> = let_in
            .map(|((mailbox, password), _)| (mailbox, password))
            .collect();
        return Err(format!(
            "in with what should not be, or not with what should: {let_in:?}"
        ));
    }
    Ok(())
}

/// A record without the bytes.
fn summary(record: &Record) -> String {
    match &record.act {
        Act::Write {
            file,
            offset,
            bytes,
        } => format!("write to file {file}, {} bytes at {offset}", bytes.len()),
        other => format!("{other:?}"),
    }
}
