//! New inputs from old ones.

use crate::random::Random;
use crate::target::Target;

/// Numbers at which something may tip over.
const BORDERS: &[&str] = &[
    "0",
    "1",
    "2",
    "7",
    "8",
    "10",
    "16",
    "64",
    "65",
    "100",
    "127",
    "128",
    "254",
    "255",
    "256",
    "1023",
    "1024",
    "1025",
    "4095",
    "8191",
    "8192",
    "16383",
    "16384",
    "16385",
    "65535",
    "65536",
    "99999",
    "150",
    "149",
    "2147483647",
    "2147483648",
    "4294967294",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-1",
    "00",
    "+1",
    "1e9",
    "0x10",
];

/// Bytes at which something may tip over: ends of cells and lines, escapes, quotes, ends of ranges.
const BYTES: &[u8] = b"\0\x01\x02\t\n\r\x1b !\"$%'*+,-./:;<=>?@[\\]_{|}~\x7f\x80\x9f\xc2\xe2\xff";

/// Most changes of one input.
const MOST: usize = 6;

/// One input of a campaign: something of the pool that was changed, or something made from nothing.
pub fn input(target: &Target, pool: &[&[u8]], random: &mut Random) -> Vec<u8> {
    let mut input = if pool.is_empty() || random.one_in(12) {
        fresh(target, random)
    } else {
        random.pick(pool).to_vec()
    };
    for _ in 0..=random.below(MOST) {
        change(&mut input, target, pool, random);
    }
    input.truncate(target.longest);
    input
}

/// Some pieces as the target makes them.
fn fresh(target: &Target, random: &mut Random) -> Vec<u8> {
    let pieces = if target.is_script {
        2 + random.below(24)
    } else {
        1
    };
    let mut input = Vec::new();
    for _ in 0..pieces {
        append(&mut input, &(target.piece)(random), target);
    }
    input
}

fn append(input: &mut Vec<u8>, piece: &[u8], target: &Target) {
    if target.is_script && !input.is_empty() {
        input.push(b'\n');
    }
    input.extend_from_slice(piece);
}

fn change(input: &mut Vec<u8>, target: &Target, pool: &[&[u8]], random: &mut Random) {
    // What counts in a script is the order of whole events.
    if target.is_script && !random.one_in(3) {
        return change_lines(input, target, pool, random);
    }
    let at = random.below(input.len() + 1);
    match random.below(12) {
        0 => flip(input, random),
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = random.pick(BYTES);
            }
        }
        2 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = random.byte();
            }
        }
        3 => insert(input, at, &[random.pick(BYTES)]),
        4 => {
            let span = span(input, random);
            input.drain(span);
        }
        5 => {
            let copy = input[span(input, random)].to_vec();
            insert(input, at, &copy);
        }
        6 => {
            let copy = input[span(input, random)].to_vec();
            let times = 1 << random.below(9);
            if copy.len() * times <= target.longest {
                insert(input, at, &copy.repeat(times));
            }
        }
        7 | 8 if !target.words.is_empty() => insert(input, at, random.pick(target.words)),
        9 => number(input, random),
        10 => {
            let piece = (target.piece)(random);
            insert(input, at, &piece);
        }
        _ => splice(input, pool, random),
    }
}

fn change_lines(input: &mut Vec<u8>, target: &Target, pool: &[&[u8]], random: &mut Random) {
    let mut lines: Vec<&[u8]> = input.split(|&byte| byte == b'\n').collect();
    let at = random.below(lines.len() + 1);
    let piece;
    match random.below(6) {
        0 | 1 => {
            piece = (target.piece)(random);
            lines.insert(at, &piece);
        }
        2 if lines.len() > 1 => {
            let some = 1 + random.below(3);
            let end = (at + some).min(lines.len());
            lines.drain(at.min(end)..end);
        }
        3 => {
            let copy = random.pick(&lines);
            lines.insert(at, copy);
        }
        4 => {
            let (one, other) = (random.below(lines.len()), random.below(lines.len()));
            lines.swap(one, other);
        }
        _ => {
            if !pool.is_empty() {
                let other = random.pick(pool).split(|&byte| byte == b'\n');
                let other: Vec<&[u8]> = other.collect();
                lines.truncate(at);
                lines.extend_from_slice(&other[random.below(other.len())..]);
            }
        }
    }
    *input = lines.join(&b'\n');
}

fn flip(input: &mut [u8], random: &mut Random) {
    let (at, bit) = (random.below(input.len()), random.below(8));
    if let Some(byte) = input.get_mut(at) {
        *byte ^= 1 << bit;
    }
}

/// A short one as a rule.
fn span(input: &[u8], random: &mut Random) -> std::ops::Range<usize> {
    let start = random.below(input.len() + 1);
    let most = if random.one_in(4) { input.len() } else { 16 };
    let end = (start + random.below(most + 1)).min(input.len());
    start..end
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    let behind = input.split_off(at.min(input.len()));
    input.extend_from_slice(piece);
    input.extend_from_slice(&behind);
}

/// Another number in the place of one.
fn number(input: &mut Vec<u8>, random: &mut Random) {
    let digits: Vec<usize> = (0..input.len())
        .filter(|&at| input[at].is_ascii_digit())
        .filter(|&at| at == 0 || !input[at - 1].is_ascii_digit())
        .collect();
    if digits.is_empty() {
        return;
    }
    let start = random.pick(&digits);
    let length = input[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let behind = input.split_off(start + length);
    input.truncate(start);
    input.extend_from_slice(random.pick(BORDERS).as_bytes());
    input.extend_from_slice(&behind);
}

/// The beginning of this and the end of another.
fn splice(input: &mut Vec<u8>, pool: &[&[u8]], random: &mut Random) {
    if pool.is_empty() {
        return;
    }
    let other = random.pick(pool);
    input.truncate(random.below(input.len() + 1));
    input.extend_from_slice(&other[random.below(other.len() + 1)..]);
}
