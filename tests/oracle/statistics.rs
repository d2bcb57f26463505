//! What tells two samples of times apart, and how sure that is.
//!
//! The measure is the area under the ROC curve: the probability that a time drawn from one sample is
//! longer than one drawn from the other. It is 0.5 where nobody could tell them apart and 1 (or 0) where
//! everybody could, whatever the shape of the distribution; a mean would be moved by one interruption.

use libtest_mimic::Trial;

use crate::dice::Dice;
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("the_area_is_right_for_samples_known_by_hand", known),
        trial("faster_tells_as_much_as_slower", both_sides),
        trial("the_interval_covers_what_is_there", covers),
        trial("what_is_alike_is_found_alike", alike),
    ]
}

/// How often rounds are drawn again for an interval.
const REDRAWN: usize = 200;

/// The probability that a time of `other` is longer than one of `base`; equal ones count half.
pub(crate) fn area(base: &[u64], other: &[u64]) -> f64 {
    let mut all: Vec<(u64, bool)> = base.iter().map(|&time| (time, false)).collect();
    all.extend(other.iter().map(|&time| (time, true)));
    all.sort_unstable();
    // Mann and Whitney: the sum of the ranks of one sample is the area, but for a constant. Equal times
    // share the middle of their ranks.
    let (mut ranks, mut before) = (0.0, 0);
    for equal in all.chunk_by(|left, right| left.0 == right.0) {
        let middle = number(before) + (number(equal.len()) + 1.0) / 2.0;
        ranks += middle * number(equal.iter().filter(|time| time.1).count());
        before += equal.len();
    }
    let (n, m) = (number(base.len()), number(other.len()));
    (ranks - m * (m + 1.0) / 2.0) / (n * m)
}

/// How far from 0.5 an area is, as an area above it: what is faster betrays itself as well.
pub(crate) fn telling(area: f64) -> f64 {
    area.max(1.0 - area)
}

/// The middle 95 % of the areas of rounds drawn anew (bootstrap). A round is drawn as a whole: the two
/// samples are parallel, one time each for every round.
pub(crate) fn interval(base: &[u64], other: &[u64], dice: &mut Dice) -> (f64, f64) {
    assert_eq!(base.len(), other.len(), "one time for each round");
    let mut areas: Vec<f64> = (0..REDRAWN)
        .map(|_| {
            let rounds: Vec<usize> = base.iter().map(|_| dice.below(base.len())).collect();
            let drawn =
                |times: &[u64]| -> Vec<u64> { rounds.iter().map(|&at| times[at]).collect() };
            area(&drawn(base), &drawn(other))
        })
        .collect();
    areas.sort_unstable_by(f64::total_cmp);
    (areas[REDRAWN / 40], areas[REDRAWN - 1 - REDRAWN / 40])
}

pub(crate) fn median(times: &[u64]) -> u64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2]
}

/// The least of these delays that would have been noticed, had one of two like samples had it.
pub(crate) fn least_noticed(base: &[u64], like: &[u64], delays: &[u64], bound: f64) -> Option<u64> {
    let later = |delay: u64| -> Vec<u64> { like.iter().map(|time| time + delay).collect() };
    let noticed = |delay: &&u64| area(base, &later(**delay)) > bound;
    delays.iter().find(noticed).copied()
}

#[expect(clippy::as_conversions, reason = "a count of samples, far below 2^52")]
fn number(count: usize) -> f64 {
    count as f64
}

fn near(value: f64, wanted: f64) {
    assert!((value - wanted).abs() < 1e-9, "{value}, not {wanted}");
}

fn known() {
    near(area(&[1, 2, 3], &[4, 5]), 1.0);
    near(area(&[4, 5], &[1, 2, 3]), 0.0);
    near(area(&[7, 7], &[7, 7, 7]), 0.5);
    // Pairs: 2>1, 2=2 (half), 2<3; 4>1, 4>2, 4>3.
    near(area(&[1, 2, 3], &[2, 4]), 4.5 / 6.0);
    assert_eq!(median(&[9, 1, 5]), 5);
    assert_eq!(
        least_noticed(&[10, 20], &[10, 20], &[1, 10, 11, 20], 0.9),
        Some(11)
    );
    assert_eq!(least_noticed(&[10, 20], &[10, 20], &[1], 0.8), None);
}

fn both_sides() {
    near(telling(0.5), 0.5);
    near(telling(0.3), telling(0.7));
}

/// A normal sample, roughly: twelve dice, of a deviation of 1,000.
fn sample(count: usize, mean: u64, dice: &mut Dice) -> Vec<u64> {
    let throw = |dice: &mut Dice| u64::try_from(dice.below(1_000)).unwrap();
    (0..count)
        .map(|_| mean + (0..12).map(|_| throw(dice)).sum::<u64>())
        .collect()
}

fn covers() {
    let mut dice = Dice::new(7);
    // A shift by one deviation: Φ(1/√2) = 0.760.
    let (base, other) = (sample(500, 0, &mut dice), sample(500, 1_000, &mut dice));
    let (low, high) = interval(&base, &other, &mut dice);
    assert!(low < 0.760 && 0.760 < high, "{low} to {high}");
    assert!(high - low < 0.08, "{low} to {high}");
}

fn alike() {
    let mut dice = Dice::new(8);
    for _ in 0..20 {
        let (base, other) = (sample(500, 0, &mut dice), sample(500, 0, &mut dice));
        assert!(telling(area(&base, &other)) < 0.58);
    }
}
