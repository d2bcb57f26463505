//! The only threads of the verifier: a few that look up, one for each core that hashes, one that looks
//! into what was refused, one that sweeps and one that writes the database's log back.
//!
//! An attempt goes to the look-up threads first, where callers take turns; most wrong ones end there.
//! What is worth a hash waits in a fair [`queue`](super::queue) for a hashing thread. Both queues are
//! bounded in length and in time, and at each bound the answer is *try later*. Every attempt is answered
//! exactly once, even if the code that works on it panics (see [`super::job`]). What
//! waits while all other threads hang on a dead disk is answered by the sweeper, which therefore touches
//! no file.

mod desk;
mod work;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use desk::Desks;

use super::flight::Flights;
use super::inquiry::{Asker, Inquiry};
use super::job::{Job, Probe, Reply, Suspect, Turn, Work};
use super::queue::{Bounds, Next, Queue};
use super::station::{Station, lock};
use super::trouble::{Alarm, PassedOver};
use super::{Checker, Now, Settings};
use crate::attempt::{Attempt, Outcome, Verdict};
use crate::clock;
use crate::model::Mailbox;
use crate::password::phc::memo::{self, Memo, Pair};
use crate::query::{Answer, Query};
use crate::store::{Identity, LONGEST_LOG};
use crate::uses::{self, Book};

/// Threads that look up. A look-up takes some 5 µs, so one would do; the second goes on while the
/// first waits for the disk.
pub(super) const LOOK_UP_THREADS: usize = 2;

/// Most attempts that one caller may have asked and not been answered. Enough to keep every thread at
/// work, and a small part of all that may wait.
pub const LANE: usize = 256;

/// Attempts that wait for their look-up: a third of a second of work, of less than 1 KB each. Lanes take
/// turns, so whoever has asked for little waits for one look-up of each other caller at most.
const LOOK_UPS: Bounds = Bounds {
    all: 256 * LANE,
    lane: LANE,
};

/// Hashes that wait, for each hashing thread: 2 s of them at 0.4 ms each (`m=1024,t=1,p=1`). Where
/// they cost more, [`super::queue::MAX_AGE`] is the bound that counts.
const HASHES_PER_THREAD: usize = 5_000;

/// Refused attempts that wait to be looked into, a quarter of them for one mailbox. Where there is no room
/// they are told as an unknown password, and counted in the log.
pub(super) const ENDED: Bounds = Bounds {
    all: 1_024,
    lane: 256,
};

/// Most of the hashing queue that one mailbox may fill: a quarter.
const LANES_AT_LEAST: usize = 4;

/// How far hashing yields to everything else: at equal priority it makes one in a hundred requests of
/// the sockets' threads wait 4 ms, at 10 a few tenths of one, and it hashes no less (measured).
const NICE: i32 = 10;

/// Looking into what was refused comes last of all.
const NICEST: i32 = 19;

/// How often the sweeper looks for what nobody came for.
const SWEEP: Duration = Duration::from_secs(1);

/// How often the database's log is written back. Nobody else does it while the daemon runs (see
/// [`Reader::checkpoint`](crate::store::Reader::checkpoint)).
const CHECKPOINT: Duration = Duration::from_secs(5);

/// Verifies attempts on threads of its own. They end some time after the last handle was dropped;
/// whoever wants to wait for that calls [`Self::stop`].
#[derive(Debug, Clone)]
pub struct Verifier(Arc<Pool>);

impl Verifier {
    /// Starts the threads. Opens no database: trouble with it is *try later* until it is gone.
    ///
    /// # Errors
    ///
    /// If the operating system refuses a thread, or random bytes.
    pub fn start(settings: Settings, identity: Identity) -> std::io::Result<Self> {
        let threads = match settings.threads {
            0 => thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let book = uses::Settings {
            database: settings.database.clone(),
            uses: settings.uses,
            keep: settings.keep,
        };
        let memo_key = memo::Key::generate().map_err(std::io::Error::other)?;
        let book = Book::start(book, identity.clone())?;
        let pool = Pool {
            shared: Arc::new(Shared::new(settings, identity, threads, book, &memo_key)),
            looking: Mutex::default(),
            hashing: Mutex::default(),
            afterwards: Mutex::default(),
            housekeeping: Mutex::default(),
        };
        pool.spawn("sweep", &pool.housekeeping, Shared::sweep_until_ended)?;
        pool.spawn(
            "checkpoint",
            &pool.housekeeping,
            Shared::checkpoint_until_ended,
        )?;
        for _ in 0..LOOK_UP_THREADS {
            pool.spawn("look-up", &pool.looking, Shared::look_up_until_closed)?;
        }
        for _ in 0..threads {
            pool.spawn("hash", &pool.hashing, Shared::hash_until_closed)?;
        }
        let afterwards = Shared::look_into_ended_until_closed;
        pool.spawn("tombstones", &pool.afterwards, afterwards)?;
        Ok(Self(Arc::new(pool)))
    }

    /// Verifies one attempt. Calls `answer` and `tell` exactly once each, from threads of the verifier
    /// (or at once, when there is no room), and neither may block.
    ///
    /// `answer` is for the peer, and comes first. `tell` is for the log: mostly right afterwards; where it
    /// must be found out whether a revoked password was tried, within 4 s. So the time of a refusal says
    /// nothing about that.
    ///
    /// `arrived` is when the request came in: the answer is *try later* where its turn comes more than
    /// 4 s after that.
    ///
    /// `lane` is whoever asks, a connection: callers take turns, and one that waits for answers at [`LANE`]
    /// never finds its lane full.
    pub fn submit(
        &self,
        lane: u64,
        attempt: Attempt,
        arrived: Instant,
        answer: impl FnOnce(Verdict) + Send + 'static,
        tell: impl FnOnce(&Outcome) + Send + 'static,
    ) {
        let job = Job {
            attempt,
            arrived,
            reply: Reply::new(answer, tell),
        };
        self.0.shared.take(lane, Work::LogIn(job), arrived);
    }

    /// Answers one question of the auth-master side, where log-ins are looked up and in turn with them. Calls
    /// `answer` exactly once; and after it `tell` once at most: where a log-in is not taken over, because it
    /// does not hold any more or for trouble of ours, and where a panic lost the question, whichever it was.
    /// Neither may block. `lane` and `arrived` as for [`Self::submit`].
    pub fn inquire(
        &self,
        lane: u64,
        query: Query,
        arrived: Instant,
        answer: impl FnOnce(Answer) + Send + 'static,
        tell: impl FnOnce(&Outcome) + Send + 'static,
    ) {
        let inquiry = Inquiry {
            query,
            asker: Asker::new(answer, tell),
        };
        self.0.shared.take(lane, Work::Inquiry(inquiry), arrived);
    }

    /// Has one hash computed for nobody, in turn with log-ins, and calls `ended` then: to see whether the
    /// hashing threads live. That is said by [`Self::turns`], for `ended` is also called where there was no
    /// room, or where its turn did not come within 4 s. It may not block.
    pub fn probe(&self, arrived: Instant, ended: impl FnOnce() + Send + 'static) {
        let probe = Turn::Probe(Probe::new(ended));
        if let Err(turn) = self.0.shared.hashes.put((None, None), probe, arrived) {
            turn.put_off();
        }
    }

    /// How many turns the hashing threads have taken since the start, those of probes as well.
    pub fn turns(&self) -> u64 {
        self.0.shared.turns.load(Ordering::Relaxed)
    }

    /// How many hashes have been computed on the way to an answer since the start: for tests that count
    /// instead of timing.
    pub fn hashes(&self) -> u64 {
        self.0.shared.hashed.load(Ordering::Relaxed)
    }

    /// How many attempts wait for a hash, for its turn or while it is computed: for tests.
    pub fn waiting_for_hashes(&self) -> usize {
        self.0.shared.hashes.with(|flights| flights.waiting())
    }

    /// How many refused attempts nobody looked into, for want of room or time: for tests, as the
    /// log has it late.
    pub fn passed_over(&self) -> u64 {
        self.0.shared.passed_over.total()
    }

    /// Answers what waits, which takes no more than 4 s and one hash, tells what is to be told, writes the
    /// uses down, and ends the threads. Later attempts get *try later*.
    ///
    /// Blocks until the threads have ended: for as long as a dead disk keeps one of them. Not to be
    /// called by an answer, which would wait for its own thread.
    pub fn stop(&self) {
        self.0.stop();
    }
}

#[derive(Debug)]
struct Pool {
    shared: Arc<Shared>,
    looking: Mutex<Vec<JoinHandle<()>>>,
    hashing: Mutex<Vec<JoinHandle<()>>>,
    afterwards: Mutex<Vec<JoinHandle<()>>>,
    housekeeping: Mutex<Vec<JoinHandle<()>>>,
}

impl Pool {
    fn spawn(
        &self,
        name: &str,
        threads: &Mutex<Vec<JoinHandle<()>>>,
        work: fn(&Shared),
    ) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work(&shared))?;
        lock(threads).push(thread);
        Ok(())
    }

    /// Look-ups first: what they find admissible is still hashed. The book last: all others write in it.
    fn stop(&self) {
        self.shared.desks.end();
        self.shared.look_ups.close();
        join(&self.looking);
        self.shared.hashes.close();
        join(&self.hashing);
        self.shared.ended_secrets.close();
        join(&self.afterwards);
        self.shared.book.stop();
        self.shared.end();
        join(&self.housekeeping);
    }
}

/// Tells the threads to end and waits for none: it may happen on a thread that serves, or on one of
/// theirs. What waits is answered still, *try later* where it was not hashed yet.
impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.desks.end();
        self.shared.look_ups.close();
        self.shared.hashes.close();
        self.shared.ended_secrets.close();
        self.shared.book.close();
        self.shared.end();
    }
}

fn join(threads: &Mutex<Vec<JoinHandle<()>>>) {
    let threads = std::mem::take(&mut *lock(threads));
    for thread in threads {
        // It ends by itself, and its panics were caught.
        let _ = thread.join();
    }
}

/// What the threads have in common.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    identity: Identity,
    desks: Desks,
    look_ups: Station<Queue<u64, Work>>,
    /// Without a mailbox and a pair: the probe.
    hashes: Station<Flights<Option<Mailbox>, Option<Pair>, Turn>>,
    ended_secrets: Station<Queue<Mailbox, Suspect>>,
    book: Book,
    memo: Memo,
    hashed: AtomicU64,
    turns: AtomicU64,
    alarm: Alarm,
    passed_over: PassedOver,
    /// For those who sweep and write back; they end last.
    ended: Mutex<bool>,
    ending: Condvar,
}

impl Shared {
    fn new(
        settings: Settings,
        identity: Identity,
        threads: usize,
        book: Book,
        memo_key: &memo::Key,
    ) -> Self {
        let all = threads.saturating_mul(HASHES_PER_THREAD);
        let lane = all / LANES_AT_LEAST;
        let desk = |_| desk::checker(&settings, &identity);
        Self {
            desks: Desks::new((0..settings.desks).map(desk)),
            settings,
            identity,
            look_ups: Station::new(Queue::new(LOOK_UPS)),
            hashes: Station::new(Flights::new(Bounds { all, lane })),
            ended_secrets: Station::new(Queue::new(ENDED)),
            book,
            memo: Memo::new(memo_key),
            hashed: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            alarm: Alarm::default(),
            passed_over: PassedOver::default(),
            ended: Mutex::new(false),
            ending: Condvar::new(),
        }
    }

    fn take(&self, lane: u64, work: Work, arrived: Instant) {
        let Some(work) = self.at_once(work) else {
            return;
        };
        if let Err(work) = self.look_ups.put(lane, work, arrived) {
            work.put_off();
        }
    }

    fn look_up_until_closed(&self) {
        let mut checker = self.checker();
        loop {
            let next = self.look_ups.try_next(monotonic()).or_else(|| {
                checker.wipe();
                self.look_ups.next(monotonic)
            });
            let Some(next) = next else { return };
            self.guarded(&mut checker, |checker| match next {
                Next::Due(Work::LogIn(job)) => self.look_up(checker, job),
                Next::Due(Work::Inquiry(inquiry)) => self.inquire(checker, inquiry),
                Next::TooOld(work) => work.put_off(),
            });
        }
    }

    fn hash_until_closed(&self) {
        // Where it is refused (a seccomp filter, say) hashing goes on as it is. On Linux this is the
        // calling thread's priority, not the process's.
        let _ = rustix::process::setpriority_process(None, NICE);
        let mut checker = self.checker();
        loop {
            let flight = self.hashes.try_next(monotonic()).or_else(|| {
                checker.wipe();
                self.hashes.next(monotonic)
            });
            let Some(flight) = flight else { return };
            self.fly(&mut checker, flight);
        }
    }

    fn look_into_ended_until_closed(&self) {
        let _ = rustix::process::setpriority_process(None, NICEST);
        let mut checker = self.checker();
        loop {
            let next = self.ended_secrets.try_next(monotonic()).or_else(|| {
                checker.wipe();
                self.ended_secrets.next(monotonic)
            });
            let Some(next) = next else { return };
            self.guarded(&mut checker, |checker| match next {
                Next::Due(suspect) => self.look_into(checker, suspect),
                Next::TooOld(suspect) => self.pass_over(suspect),
            });
        }
    }

    fn sweep_until_ended(&self) {
        while self.goes_on_after(SWEEP) {
            caught(|| self.answer_the_forgotten());
            self.passed_over.tell(monotonic());
        }
        self.passed_over.tell_rest();
    }

    fn checkpoint_until_ended(&self) {
        let mut checker = self.checker();
        checker.reader.keep_reserve();
        while self.goes_on_after(CHECKPOINT) {
            self.guarded(&mut checker, |checker| {
                checker.reader.keep_reserve();
                // Where the database is in trouble, log-ins meet it too, and tell.
                let _ = checker.reader.checkpoint(LONGEST_LOG, monotonic());
            });
        }
    }

    /// Waits for that long, or until the end. Whether it is not the end yet.
    fn goes_on_after(&self, wait: Duration) -> bool {
        let (ended, _) = self
            .ending
            .wait_timeout_while(lock(&self.ended), wait, |ended| !*ended)
            .unwrap_or_else(PoisonError::into_inner);
        !*ended
    }

    fn end(&self) {
        *lock(&self.ended) = true;
        self.ending.notify_all();
    }

    fn answer_the_forgotten(&self) {
        for work in self.look_ups.take_too_old(monotonic()) {
            work.put_off();
        }
        for turn in self.hashes.take_too_old(monotonic()) {
            turn.put_off();
        }
        for suspect in self.ended_secrets.take_too_old(monotonic()) {
            self.pass_over(suspect);
        }
    }

    /// Works on one job. A panic ends that job alone; whatever state it left behind is thrown away.
    fn guarded(&self, checker: &mut Checker, work: impl FnOnce(&mut Checker)) {
        if caught(|| work(checker)) {
            *checker = self.checker();
        }
    }

    fn checker(&self) -> Checker {
        Checker::over(self.settings.database.clone(), &self.identity)
    }
}

/// Whether the work panicked, which the log has learned then.
fn caught(work: impl FnOnce()) -> bool {
    let panicked = catch_unwind(AssertUnwindSafe(work)).is_err();
    if panicked {
        tracing::error!("a thread of the verifier panicked: this is a bug of dovelatch");
    }
    panicked
}

fn now() -> Now {
    Now {
        wall: clock::now(),
        monotonic: monotonic(),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the verifier's threads bring the time to the pure parts"
)]
fn monotonic() -> Instant {
    Instant::now()
}
