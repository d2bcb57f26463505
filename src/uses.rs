//! The book of good log-ins, and of attempts with passwords that had ended.
//!
//! The verifier says what happened and goes on: entries are put together in memory ([`Ledger`]), and one
//! thread writes them, at most once a second ([`Scribe`]). So a database that is locked, full or gone
//! costs entries at worst, and never a log-in its time. Once a minute the same thread lets go of what has
//! been kept for long enough.

mod steady;
mod trouble;

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use steady::Steady;
use trouble::{Damage, Trouble, tell_lost};

use crate::clock;
use crate::model::{DeviceId, Service, Timestamp};
use crate::store::{self, Attempts, Identity, Keep, Recorder, SecretId, Uses};

/// Least time between two commits of uses.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// Most lines of each kind that wait to be written, some 20 MiB: those of a minute of a site with 100,000
/// devices. At it new ones are lost and counted; more of the same line cost nothing.
pub const MAX_WAITING: usize = 100_000;

/// Most lines of one commit, a few tenths of a second of work: somebody may wait to revoke.
const MAX_BATCH: usize = 20_000;

/// How often what is past its time is looked for.
const PRUNING: Duration = Duration::from_secs(60);

/// What the book needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    pub database: PathBuf,
    /// Lines of the history of each device password.
    pub uses: u32,
    pub keep: Keep,
}

/// A handle on the book. Cloned for each who has something to say.
#[derive(Debug, Clone)]
pub struct Book(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    filled: Condvar,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct State {
    fresh: Ledger,
    stopped: bool,
}

impl Book {
    /// Starts the thread. Opens no database.
    ///
    /// # Errors
    ///
    /// If the operating system refuses a thread.
    pub fn start(settings: Settings, identity: Identity) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            filled: Condvar::new(),
            writer: Mutex::default(),
        });
        let scribe = Scribe::new(settings, identity);
        let writing = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("uses".to_owned())
            .spawn(move || writing.write_until_stopped(scribe))?;
        *lock(&shared.writer) = Some(thread);
        Ok(Self(shared))
    }

    /// Somebody was let in with this device password. Never waits for the database.
    pub fn used(&self, device: DeviceId, service: Service, address: Option<IpAddr>, at: Timestamp) {
        self.0
            .enter(|ledger| ledger.used(device, service, address, at));
    }

    /// Somebody knows this secret, which has ended. Never waits for the database.
    pub fn tried_again(
        &self,
        ended: Ended,
        service: Service,
        address: Option<IpAddr>,
        at: Timestamp,
    ) {
        self.0
            .enter(|ledger| ledger.tried_again(ended, service, address, at));
    }

    /// As [`Self::stop`], without waiting for it.
    pub fn close(&self) {
        lock(&self.0.state).stopped = true;
        self.0.filled.notify_all();
    }

    /// Writes all there is, until something cannot be written, and ends the thread. What is lost is
    /// counted in the log; what is said later is lost without a word.
    pub fn stop(&self) {
        self.close();
        if let Some(thread) = lock(&self.0.writer).take() {
            // It ends by itself; a panic of it was reported.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn enter(&self, entry: impl FnOnce(&mut Ledger)) {
        let mut state = lock(&self.state);
        let is_first = state.fresh.is_empty();
        entry(&mut state.fresh);
        drop(state);
        // For the others it is awake already, or wakes when its rest is over.
        if is_first {
            self.filled.notify_one();
        }
    }

    fn write_until_stopped(&self, mut scribe: Scribe) {
        loop {
            let idle = scribe.unwritten.is_empty();
            drop(self.wait(scribe.idle(now()), |state| idle && state.fresh.is_empty()));
            let mut state = self.wait(scribe.rest(now()), |_| true);
            let (fresh, stopped) = (std::mem::take(&mut state.fresh), state.stopped);
            drop(state);
            scribe.take(fresh);
            let work = AssertUnwindSafe(|| match stopped {
                true => scribe.finish(now()),
                false => scribe.work(clock::now(), now()),
            });
            if catch_unwind(work).is_err() {
                tracing::error!("writing uses panicked: this is a bug of dovelatch");
                // It would meet the same again.
                scribe.unwritten = Ledger::default();
            }
            if stopped {
                return;
            }
        }
    }

    /// Waits for so long while there is nothing to do, or less if the end has come.
    fn wait(&self, at_most: Duration, idle: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waits = |state: &mut State| !state.stopped && idle(state);
        let state = lock(&self.state);
        let waited = self.filled.wait_timeout_while(state, at_most, waits);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// A secret that has ended, with its device password.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ended {
    pub device: DeviceId,
    pub secret: SecretId,
}

/// Entries of the same kind put together, in memory.
#[derive(Debug, Default)]
struct Ledger {
    uses: HashMap<Line<DeviceId>, Times>,
    attempts: HashMap<Line<Ended>, Times>,
    /// Entries for which there was no room.
    lost: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Line<T> {
    of: T,
    service: Service,
    address: Option<IpAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    first: Timestamp,
    last: Timestamp,
    count: u32,
}

impl Ledger {
    fn used(&mut self, of: DeviceId, service: Service, address: Option<IpAddr>, at: Timestamp) {
        let line = Line {
            of,
            service,
            address,
        };
        self.lost += add(&mut self.uses, line, Times::once(at));
    }

    fn tried_again(&mut self, of: Ended, service: Service, address: Option<IpAddr>, at: Timestamp) {
        let line = Line {
            of,
            service,
            address,
        };
        self.lost += add(&mut self.attempts, line, Times::once(at));
    }

    fn absorb(&mut self, other: Self) {
        self.lost += other.lost;
        for (line, times) in other.uses {
            self.lost += add(&mut self.uses, line, times);
        }
        for (line, times) in other.attempts {
            self.lost += add(&mut self.attempts, line, times);
        }
    }

    fn is_empty(&self) -> bool {
        self.uses.is_empty() && self.attempts.is_empty()
    }
}

/// Adds to a line, or a line. Returns how many entries found no room.
fn add<T: Eq + Hash>(lines: &mut HashMap<Line<T>, Times>, line: Line<T>, times: Times) -> u64 {
    if let Some(known) = lines.get_mut(&line) {
        known.merge(times);
        return 0;
    }
    if lines.len() >= MAX_WAITING {
        return u64::from(times.count);
    }
    lines.insert(line, times);
    0
}

impl Times {
    fn once(at: Timestamp) -> Self {
        Self {
            first: at,
            last: at,
            count: 1,
        }
    }

    fn merge(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.count = self.count.saturating_add(other.count);
    }
}

/// Writes the ledger down, batch by batch, and keeps what could not be written.
#[derive(Debug)]
struct Scribe {
    recorder: Recorder,
    keep: Keep,
    unwritten: Ledger,
    written: Option<Instant>,
    pruned: Option<Instant>,
    steady: Steady,
    /// One for each kind of write: that one of them goes well is no end of another's trouble.
    attempts: Trouble,
    uses: Trouble,
    pruning: Trouble,
    damage: Damage,
}

impl Scribe {
    fn new(settings: Settings, identity: Identity) -> Self {
        Self {
            recorder: Recorder::new(settings.database, identity, settings.uses),
            keep: settings.keep,
            unwritten: Ledger::default(),
            written: None,
            pruned: None,
            steady: Steady::default(),
            attempts: Trouble::new(
                "attempts with ended passwords cannot be written",
                "attempts with ended passwords are written again",
            ),
            uses: Trouble::new("uses cannot be written", "uses are written again"),
            pruning: Trouble::new(
                "what has been kept for long enough cannot be dropped",
                "what has been kept for long enough is dropped again",
            ),
            damage: Damage::default(),
        }
    }

    fn take(&mut self, fresh: Ledger) {
        self.unwritten.absorb(fresh);
    }

    /// How long it writes nothing yet.
    fn rest(&self, now: Instant) -> Duration {
        rest(self.written, INTERVAL, now)
    }

    /// How long it has nothing to do, if nothing comes.
    fn idle(&self, now: Instant) -> Duration {
        rest(self.pruned, PRUNING, now)
    }

    /// Does what is due.
    fn work(&mut self, clock: Timestamp, now: Instant) {
        if self.rest(now).is_zero() && !self.unwritten.is_empty() {
            self.write(now);
        }
        if self.idle(now).is_zero() {
            self.prune(clock, now);
        }
    }

    /// One commit of uses and one of attempts at most, each only if there is something.
    fn write(&mut self, now: Instant) {
        self.written = Some(now);
        self.tell_no_room();
        let attempts = self.write_attempts(now);
        self.attempts.met(attempts.map(drop), now);
        let uses = self.write_uses(now);
        self.uses.met(uses.map(drop), now);
        if rest(self.damage.told, PRUNING, now).is_zero() {
            self.damage.tell(now);
        }
    }

    /// The last chance: batch after batch, until nothing is left or something cannot be written.
    fn finish(&mut self, now: Instant) {
        self.tell_no_room();
        if let Err(error) = while_more(|| self.write_attempts(now)) {
            let lost = entries(&self.unwritten.attempts);
            tell_lost(lost, &error, "attempts with ended passwords are lost");
        }
        if let Err(error) = while_more(|| self.write_uses(now)) {
            tell_lost(entries(&self.unwritten.uses), &error, "uses are lost");
        }
        self.damage.tell(now);
    }

    fn tell_no_room(&mut self) {
        let lost = std::mem::take(&mut self.unwritten.lost);
        if lost > 0 {
            tracing::warn!(lost, "uses are lost: too many wait for the database");
        }
    }

    /// One batch. Whether there is more.
    fn write_attempts(&mut self, now: Instant) -> Result<bool, store::Error> {
        let waiting = &mut self.unwritten.attempts;
        let batch = batch(waiting, |line, times| Attempts {
            device: line.of.device.clone(),
            secret: line.of.secret,
            service: line.service.clone(),
            address: line.address,
            first: times.first,
            last: times.last,
            count: times.count,
        });
        if !batch.rows.is_empty() {
            let record = |rows: &[_]| self.recorder.record_attempts(rows, now);
            batch.write(waiting, record, &mut self.damage)?;
        }
        Ok(!waiting.is_empty())
    }

    /// One batch. Whether there is more.
    fn write_uses(&mut self, now: Instant) -> Result<bool, store::Error> {
        let waiting = &mut self.unwritten.uses;
        let batch = batch(waiting, |line, times| Uses {
            device: line.of.clone(),
            service: line.service.clone(),
            address: line.address,
            first: times.first,
            last: times.last,
            count: times.count,
        });
        if !batch.rows.is_empty() {
            let record = |rows: &[_]| self.recorder.record_uses(rows, now);
            batch.write(waiting, record, &mut self.damage)?;
        }
        Ok(!waiting.is_empty())
    }

    /// Lets go of what has been kept for long enough, up to a bound; the rest next time.
    fn prune(&mut self, clock: Timestamp, now: Instant) {
        self.pruned = Some(now);
        if !self.steady.holds(clock, now) {
            return;
        }
        match self.recorder.prune(self.keep, clock, now) {
            Ok(more) => {
                self.pruning.met(Ok(()), now);
                if more {
                    // Not at once: somebody may wait to revoke.
                    self.pruned = now.checked_sub(PRUNING.saturating_sub(INTERVAL));
                }
            }
            Err(error) => {
                self.pruning.met(Err(error), now);
            }
        }
    }
}

fn while_more(mut write: impl FnMut() -> Result<bool, store::Error>) -> Result<(), store::Error> {
    while write()? {}
    Ok(())
}

fn entries<T>(lines: &HashMap<Line<T>, Times>) -> u64 {
    lines.values().map(|times| u64::from(times.count)).sum()
}

/// What is left of a time that began then.
fn rest(begun: Option<Instant>, span: Duration, now: Instant) -> Duration {
    begun.map_or(Duration::ZERO, |begun| {
        span.saturating_sub(now.saturating_duration_since(begun))
    })
}

/// Some of the lines, and the rows that are made of them.
struct Batch<T, R> {
    lines: Vec<Line<T>>,
    rows: Vec<R>,
}

fn batch<T: Clone, R>(
    all: &HashMap<Line<T>, Times>,
    row: impl Fn(&Line<T>, Times) -> R,
) -> Batch<T, R> {
    let some = all.iter().take(MAX_BATCH);
    let (lines, rows) = some
        .map(|(line, times)| (line.clone(), row(line, *times)))
        .unzip();
    Batch { lines, rows }
}

impl<T: Eq + Hash, R> Batch<T, R> {
    /// Writes the rows, and strikes what was written: nobody else has added to it meanwhile.
    ///
    /// In one commit, unless one of them meets a damaged row of the database. That one would fail the
    /// same way for ever and the others with it: it is found by halves, and lost.
    fn write(
        &self,
        all: &mut HashMap<Line<T>, Times>,
        mut record: impl FnMut(&[R]) -> Result<(), store::Error>,
        damage: &mut Damage,
    ) -> Result<(), store::Error> {
        let mut parts = vec![(self.lines.as_slice(), self.rows.as_slice())];
        while let Some((lines, rows)) = parts.pop() {
            let met = match record(rows) {
                Ok(()) => None,
                Err(error @ store::Error::Undecodable { .. }) => Some(error),
                Err(error) => return Err(error),
            };
            if met.is_some() && rows.len() > 1 {
                let (lines, others) = lines.split_at(rows.len() / 2);
                let (rows, other_rows) = rows.split_at(rows.len() / 2);
                parts.extend([(lines, rows), (others, other_rows)]);
                continue;
            }
            let struck = lines.iter().filter_map(|line| all.remove(line));
            let count = struck.map(|times| u64::from(times.count)).sum();
            if let Some(error) = met {
                damage.met(count, error);
            }
        }
        Ok(())
    }
}

/// Nothing behind our locks is left half changed by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the thread brings the time to the ledger"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::path::Path;

    use super::*;
    use crate::admin::Admin;
    use crate::model::{Actor, Limits, Mailbox, Via};
    use crate::store::Store;

    struct Site {
        admin: Admin,
        settings: Settings,
        _directory: tempfile::TempDir,
    }

    impl Site {
        fn new() -> Self {
            let directory = tempfile::tempdir_in("/dev/shm")
                .or_else(|_| tempfile::tempdir())
                .unwrap();
            let database = directory.path().join("test.db");
            let (mut store, _) = Store::open_or_create(&database, at(0)).unwrap();
            let actor = Actor {
                name: "root".to_owned(),
                via: Via::CommandLine,
            };
            store.add_mailbox(&ana(), &actor, at(0)).unwrap();
            let cost = "m=8,t=1,p=1".parse().unwrap();
            Self {
                admin: Admin { store, actor, cost },
                settings: Settings {
                    database,
                    uses: 100,
                    keep: Keep {
                        tombstones: Duration::MAX,
                        events: Duration::MAX,
                    },
                },
                _directory: directory,
            }
        }

        fn devices(&mut self, number: usize) -> Vec<DeviceId> {
            let mut issue = |label: String| {
                let (label, everything) = (label.parse().unwrap(), Limits::default());
                (self.admin)
                    .issue(&ana(), None, &label, &everything, at(0))
                    .unwrap()
            };
            (0..number)
                .map(|number| issue(number.to_string()).device.id)
                .collect()
        }

        fn scribe(&self) -> Scribe {
            Scribe::new(self.settings.clone(), Identity::default())
        }

        fn count(&self, device: &DeviceId) -> u32 {
            let uses = self.admin.store.uses(device).unwrap();
            uses.iter().map(|row| row.count).sum()
        }
    }

    fn ana() -> Mailbox {
        "ana@example.org".parse().unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(1_795_600_000 + seconds)
    }

    fn used(ledger: &mut Ledger, device: &DeviceId, at: Timestamp) {
        ledger.used(device.clone(), Service::Imap, None, at);
    }

    fn ended(device: &DeviceId) -> Ended {
        Ended {
            device: device.clone(),
            secret: SecretId(1),
        }
    }

    fn from(number: u32) -> Option<IpAddr> {
        Some(IpAddr::from(number.to_be_bytes()))
    }

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What this thread tells the log meanwhile.
    fn logged(act: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, act);
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    fn connection(path: &Path) -> rusqlite::Connection {
        rusqlite::Connection::open(path).unwrap()
    }

    #[test]
    fn six_hundred_thousand_log_ins_in_a_minute_are_few_commits_and_right_counts() {
        let mut site = Site::new();
        let devices = site.devices(97);
        let mut scribe = site.scribe();
        let observer = connection(&site.settings.database);
        let version = || -> i64 {
            let version = observer.pragma_query_value(None, "data_version", |row| row.get(0));
            version.unwrap()
        };
        let (begun, mut seen, mut commits, mut said) = (now(), version(), 0, 0_usize);
        for step in 0..6_000_u32 {
            let time = begun + Duration::from_millis(10) * step;
            let mut fresh = Ledger::default();
            for device in devices.iter().cycle().skip(said % devices.len()).take(100) {
                used(&mut fresh, device, at(i64::from(step / 100)));
            }
            said += 100;
            scribe.take(fresh);
            scribe.work(at(60), time);
            let now_seen = version();
            commits += usize::from(now_seen != seen);
            seen = now_seen;
        }
        scribe.write(begun + Duration::from_secs(60));
        assert_ne!(version(), seen, "there is something left for the end");
        commits += 1;
        assert_eq!(said, 600_000);
        assert!((2..=61).contains(&commits), "{commits} commits");
        for (number, device) in devices.iter().enumerate() {
            let expected = said / devices.len() + usize::from(number < said % devices.len());
            assert_eq!(usize::try_from(site.count(device)), Ok(expected));
            let row = &site.admin.store.uses(device).unwrap()[0];
            assert_eq!((row.first, row.at), (at(0), at(59)));
        }
    }

    #[test]
    fn what_a_locked_or_full_database_does_not_take_is_written_when_it_does_again() {
        let full = "CREATE TRIGGER full BEFORE INSERT ON used
            BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END";
        for (refuse, relent) in [("BEGIN IMMEDIATE", "ROLLBACK"), (full, "DROP TRIGGER full")] {
            let mut site = Site::new();
            let device = site.devices(1).remove(0);
            let mut scribe = site.scribe();
            let other = connection(&site.settings.database);
            other.execute_batch(refuse).unwrap();
            let begun = now();
            for second in 0..3 {
                let mut fresh = Ledger::default();
                used(&mut fresh, &device, at(second.into()));
                scribe.take(fresh);
                scribe.work(at(0), begun + INTERVAL * second);
                assert_eq!(site.count(&device), 0);
            }
            other.execute_batch(relent).unwrap();
            scribe.work(at(0), begun + INTERVAL * 3);
            assert_eq!(site.count(&device), 3, "{refuse}");
            assert!(scribe.unwritten.is_empty());
        }
    }

    #[test]
    fn who_says_something_never_waits_for_the_database() {
        let mut site = Site::new();
        let device = site.devices(1).remove(0);
        let other = connection(&site.settings.database);
        let book = Book::start(site.settings.clone(), Identity::default()).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        for _ in 0..1_000 {
            // It would wait for ever: the lock is given back by this thread.
            book.used(device.clone(), Service::Imap, None, at(0));
        }
        other.execute_batch("ROLLBACK").unwrap();
        book.stop();
        book.stop();
        assert_eq!(site.count(&device), 1_000);
    }

    #[test]
    fn what_waits_is_bounded_and_what_is_lost_is_counted() {
        let mut ledger = Ledger::default();
        let device: DeviceId = "dp-kqtmwhzrnb".parse().unwrap();
        let bound = u32::try_from(MAX_WAITING).unwrap();
        for number in 0..bound + 7 {
            ledger.used(device.clone(), Service::Imap, from(number), at(0));
        }
        assert_eq!((ledger.uses.len(), ledger.lost), (MAX_WAITING, 7));
        ledger.used(device, Service::Imap, from(0), at(1));
        assert_eq!(ledger.lost, 7, "more of the same takes no room");
        let mut other = Ledger::default();
        other.absorb(ledger);
        assert_eq!((other.uses.len(), other.lost), (MAX_WAITING, 7));
    }

    #[test]
    fn a_clock_that_goes_back_moves_the_first_time_and_not_the_last() {
        let mut ledger = Ledger::default();
        let device: DeviceId = "dp-kqtmwhzrnb".parse().unwrap();
        for second in [5, 3, 4] {
            used(&mut ledger, &device, at(second));
        }
        let times: Vec<Times> = ledger.uses.into_values().collect();
        let (first, last) = (at(3), at(5));
        let count = 3;
        assert_eq!(times, [Times { first, last, count }]);
    }

    #[test]
    fn a_stop_writes_more_than_one_batch() {
        let mut site = Site::new();
        site.settings.uses = u32::MAX;
        let device = site.devices(1).remove(0);
        let book = Book::start(site.settings.clone(), Identity::default()).unwrap();
        let lines = u32::try_from(MAX_BATCH * 2 + 5_000).unwrap();
        for number in 0..lines {
            book.used(device.clone(), Service::Imap, from(number), at(0));
        }
        book.stop();
        assert_eq!(site.count(&device), lines);
    }

    #[test]
    fn what_is_lost_at_a_stop_is_counted_in_the_log() {
        let mut site = Site::new();
        let device = site.devices(1).remove(0);
        let mut scribe = site.scribe();
        let mut fresh = Ledger::default();
        for second in 0..7 {
            used(&mut fresh, &device, at(second));
        }
        fresh.used(device.clone(), Service::Imap, from(1), at(0));
        scribe.take(fresh);
        let other = connection(&site.settings.database);
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let log = logged(|| scribe.finish(now()));
        assert!(log.contains("WARN"), "{log}");
        assert!(log.contains("lost=8"), "{log}");
        assert!(log.contains("locked by another program"), "{log}");
        other.execute_batch("ROLLBACK").unwrap();
        assert_eq!(site.count(&device), 0);
        assert_eq!(logged(|| site.scribe().finish(now())), "");
    }

    #[test]
    fn attempts_that_cannot_be_written_are_told_though_uses_can() {
        let mut site = Site::new();
        let device = site.devices(1).remove(0);
        let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON tombstone_attempt
            BEGIN SELECT RAISE(ABORT, 'no'); END";
        let database = connection(&site.settings.database);
        database.execute_batch(refuse).unwrap();
        let mut scribe = site.scribe();
        let begun = now();
        let mut later = |seconds: u32| {
            let mut fresh = Ledger::default();
            used(&mut fresh, &device, at(0));
            fresh.tried_again(ended(&device), Service::Imap, None, at(0));
            scribe.take(fresh);
            logged(|| scribe.work(at(0), begun + INTERVAL * seconds))
        };
        for seconds in 0..10 {
            assert_eq!(later(seconds), "");
        }
        let told = later(10);
        assert!(told.contains("WARN"), "{told}");
        assert!(
            told.contains("attempts with ended passwords cannot be written"),
            "{told}"
        );
        assert_eq!(later(11), "", "once is enough");
        database.execute_batch("DROP TRIGGER refuse").unwrap();
        let told = later(12);
        assert!(
            told.contains("attempts with ended passwords are written again"),
            "{told}"
        );
        assert_eq!(site.count(&device), 13);
        let attempts = site.admin.store.attempts(&device).unwrap();
        assert_eq!(attempts[0].count, 13);
    }

    #[test]
    fn an_attempt_that_meets_a_damaged_row_is_lost_and_told_and_the_others_are_written() {
        let mut site = Site::new();
        let devices = site.devices(5);
        let damage = "UPDATE device_password SET label = char(10) WHERE id = 3";
        let database = connection(&site.settings.database);
        database.execute_batch(damage).unwrap();
        let mut scribe = site.scribe();
        let mut fresh = Ledger::default();
        for (device, secret) in devices.iter().zip(1..) {
            let ended = Ended {
                device: device.clone(),
                secret: SecretId(secret),
            };
            fresh.tried_again(ended, Service::Imap, None, at(0));
        }
        scribe.take(fresh);
        let log = logged(|| scribe.write(now()));
        assert!(scribe.unwritten.is_empty());
        let written = devices.iter().filter(|device| {
            let attempts = site.admin.store.attempts(device).unwrap();
            attempts.iter().map(|row| row.count).sum::<u32>() == 1
        });
        assert_eq!(written.count(), 4);
        assert!(log.contains("lost=1"), "{log}");
        assert!(log.contains("device_password.label"), "{log}");
    }
}
