//! One target, many executions: choose, change, execute, keep what is new, report what fails.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use crate::mutate;
use crate::random::Random;
use crate::signature::{Seen, Signature};
use crate::target::Target;

/// Longest time for one input. Nothing here should take a tenth of it; without optimisation all is slower.
pub const TOO_LONG: Duration = if cfg!(debug_assertions) {
    Duration::from_secs(1)
} else {
    Duration::from_millis(100)
};

/// Most inputs that are kept; beyond them each new one takes the place of another.
const POOL: usize = 2_048;

/// Executions that may be spent on making a failing input smaller.
const TRIES: usize = 5_000;

/// What a campaign came to.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub executions: u64,
    pub facts: usize,
    pub pool: usize,
    pub took: Duration,
    pub slowest: Duration,
}

/// An input that fails, and how.
#[derive(Debug)]
pub struct Failure {
    pub input: Vec<u8>,
    pub why: String,
}

/// What is being executed, for whoever watches over a campaign.
pub type Current = Arc<Mutex<(u64, Vec<u8>)>>;

/// An input worth keeping.
struct Kept {
    input: Vec<u8>,
    /// How much it leads to, in facts. Not in time: that is another one each time, and the same seed has to
    /// give the same campaign.
    weight: usize,
}

thread_local! {
    /// Where a panic happened and what it said: the hook writes it, [`execute`] reads it.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Panics are failures to be reported, not to be printed as they come. To be called once.
pub fn hush_panics() {
    std::panic::set_hook(Box::new(|panic| {
        PANIC.with_borrow_mut(|text| *text = panic.to_string());
    }));
}

/// Executes the corpus, then `executions` inputs made from it.
///
/// # Errors
///
/// The first [`Failure`], made smaller.
pub fn run(
    target: &Target,
    corpus: &[Vec<u8>],
    executions: u64,
    seed: u64,
    current: &Current,
    mut progress: impl FnMut(&Report),
) -> Result<Report, Failure> {
    let (mut random, mut seen) = (Random::new(seed), Seen::default());
    let (mut signature, mut report) = (Signature::default(), Report::default());
    let mut pool: Vec<Kept> = Vec::new();
    let start = now();
    let mut told = start;
    while report.executions < executions {
        let next = usize::try_from(report.executions).ok();
        let input = match next.and_then(|next| corpus.get(next)) {
            Some(input) => input.clone(),
            None => {
                // The lightest of three: a few inputs do a thousand times as much as the others.
                let mut draw = || {
                    let places: [usize; 3] = std::array::from_fn(|_| random.below(pool.len()));
                    let kept = places.into_iter().filter_map(|place| pool.get(place));
                    Some(kept.min_by_key(|kept| kept.weight)?.input.as_slice())
                };
                let some: Vec<&[u8]> = [draw(), draw()].into_iter().flatten().collect();
                mutate::input(target, &some, &mut random)
            }
        };
        {
            let mut current = current.lock().unwrap_or_else(PoisonError::into_inner);
            current.0 += 1;
            current.1.clone_from(&input);
        }
        let took = match execute(target, &input, &mut signature) {
            Ok(took) => took,
            Err(why) => return Err(smaller(target, Failure { input, why })),
        };
        report.executions += 1;
        report.slowest = report.slowest.max(took);
        if seen.add(&signature) {
            let weight = signature.weight();
            let kept = Kept { input, weight };
            if pool.len() < POOL {
                pool.push(kept);
            } else {
                let at = random.below(POOL);
                pool[at] = kept;
            }
        }
        if report.executions % 1_024 == 0 && told.elapsed() > Duration::from_secs(10) {
            told = now();
            (report.facts, report.pool, report.took) = (seen.count(), pool.len(), start.elapsed());
            progress(&report);
        }
    }
    (report.facts, report.pool, report.took) = (seen.count(), pool.len(), start.elapsed());
    Ok(report)
}

/// One execution, and how long it took.
///
/// # Errors
///
/// What did not hold, or that it took too long: by the time of the processor, for there may be others who
/// want it.
pub fn execute(
    target: &Target,
    input: &[u8],
    signature: &mut Signature,
) -> Result<Duration, String> {
    let mut once = |clock: fn() -> Duration| -> Result<Duration, String> {
        signature.clear();
        let begun = clock();
        catch_unwind(AssertUnwindSafe(|| (target.run)(input, signature)))
            .map_err(|_| PANIC.with_borrow(Clone::clone))?;
        Ok(clock().saturating_sub(begun))
    };
    // To ask the kernel each time would take longer than most targets do.
    let took = once(time)?;
    if took <= TOO_LONG {
        return Ok(took);
    }
    match once(processor_time)? {
        took if took <= TOO_LONG => Ok(took),
        took => Err(format!("it takes {took:?}; the most is {TOO_LONG:?}")),
    }
}

/// Since some time in the past.
fn time() -> Duration {
    clock(ClockId::CLOCK_MONOTONIC)
}

/// Of this thread.
fn processor_time() -> Duration {
    clock(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// Of all threads.
pub fn process_time() -> Duration {
    clock(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

fn clock(id: ClockId) -> Duration {
    clock_gettime(id).map_or(Duration::ZERO, Duration::from)
}

/// Leaves out what the failure does not need: halves first, single bytes last.
fn smaller(target: &Target, failure: Failure) -> Failure {
    let Failure { mut input, mut why } = failure;
    let (mut tries, mut signature) = (0, Signature::default());
    let mut length = input.len().div_ceil(2);
    while length > 0 && tries < TRIES {
        let mut at = 0;
        while at < input.len() && tries < TRIES {
            let mut less = input.clone();
            less.drain(at..(at + length).min(input.len()));
            tries += 1;
            match execute(target, &less, &mut signature) {
                Ok(_) => at += length,
                Err(reason) => (input, why) = (less, reason),
            }
        }
        length /= 2;
    }
    Failure { input, why }
}

/// The clock decides nothing here but what is too slow.
pub fn now() -> Instant {
    Instant::now()
}
