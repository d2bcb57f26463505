//! Bytes to lines: what comes in pieces is what would come at once.
//!
//! An input is a line of numbers, the sizes of the pieces, again and again, and then the stream. In the
//! stream `{n}` repeats the byte before it `n` times in all, so that lines of 16 KiB are short inputs.

use dovelatch::wire::line::{LineBuffer, MAX_LINE, TooLong};

use crate::random::Random;
use crate::signature::Signature;
use crate::target::Target;

pub const TARGET: Target = Target {
    name: "line",
    run,
    piece,
    words: &[
        b"\r\n",
        b"\n\n",
        b"\r\r\n",
        b"\r",
        b"\0",
        b"{16383}",
        b"{16384}",
        b"{16385}",
        b"{16384}\r\n",
        b"{2048}\n",
        b"{2049}\n",
        b"VERSION\t1\t2\n",
        b"CPID\t77\n",
        b" 1",
        b" 16384",
        b" 4096",
        b" 16385",
    ],
    longest: 512,
    is_script: false,
    short: 8_000,
};

/// Longest stream: two lines of the longest kind, and some.
const LONGEST_STREAM: usize = 2 * MAX_LINE + 4_096;

/// After so many the rest comes at once: a stream of the longest kind in single bytes takes too long.
const MOST_PIECES: usize = 500;

fn run(input: &[u8], seen: &mut Signature) {
    let mut parts = input.splitn(2, |&byte| byte == b'\n');
    let sizes = parts.next().unwrap_or_default().split(|&byte| byte == b' ');
    let sizes = sizes.filter_map(|size| std::str::from_utf8(size).ok()?.parse().ok());
    let sizes: Vec<usize> = sizes.filter(|&size| size > 0).collect();
    let stream = expanded(parts.next().unwrap_or_default());

    let mut buffer = LineBuffer::default();
    let (mut found, mut pushed, mut lines) = (Vec::new(), 0, Lines::default());
    let mut sizes = sizes.iter().copied().cycle().take(MOST_PIECES);
    while pushed < stream.len() {
        let size = sizes.next().unwrap_or(stream.len());
        let piece = &stream[pushed..pushed.saturating_add(size).min(stream.len())];
        pushed += piece.len();
        buffer.push(piece);
        lines.push(piece);
        let ended = loop {
            match buffer.next_line() {
                Ok(Some(line)) => found.push(line.expose().to_vec()),
                Ok(None) => break false,
                Err(TooLong) => break true,
            }
        };
        assert_eq!(ended, lines.too_long, "too long after {pushed} bytes");
        assert_eq!(
            found.len(),
            lines.complete.len(),
            "lines after {pushed} bytes"
        );
        if ended {
            seen.note("too long");
            assert_eq!(
                buffer.next_line().err(),
                Some(TooLong),
                "there is no way on"
            );
            break;
        }
    }
    assert!(found == lines.complete, "other lines than without a buffer");
    seen.weigh(stream.len() / 100);
    seen.count("lines", found.len());
    seen.count(
        "longest",
        found.iter().map(Vec::len).max().unwrap_or_default(),
    );
    seen.count("pending", lines.pending.len());
    seen.note((
        found.iter().any(Vec::is_empty),
        found.iter().any(|line| line.ends_with(b"\r")),
    ));
}

/// A stream cut into lines as it grows.
#[derive(Default)]
struct Lines {
    complete: Vec<Vec<u8>>,
    pending: Vec<u8>,
    too_long: bool,
}

impl Lines {
    fn push(&mut self, piece: &[u8]) {
        for part in piece.split_inclusive(|&byte| byte == b'\n') {
            self.pending.extend_from_slice(part);
            let (line, is_complete) = match self.pending.strip_suffix(b"\n") {
                Some(line) => (line, true),
                None => (self.pending.as_slice(), false),
            };
            self.too_long = line.len() > MAX_LINE;
            if self.too_long {
                return;
            }
            if is_complete {
                let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
                self.complete.push(line);
                self.pending.clear();
            }
        }
    }
}

fn expanded(text: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut rest = text;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        let number = |text: &[u8]| -> Option<(usize, usize)> {
            let end = text.iter().take(8).position(|&byte| byte == b'}')?;
            let digits = std::str::from_utf8(text.get(..end)?).ok()?;
            Some((digits.parse().ok()?, end + 1))
        };
        let repeat = (byte == b'{').then(|| number(behind)).flatten();
        match (repeat, stream.last().copied()) {
            (Some((times, length)), Some(last)) => {
                // What is long is a line. A thousand empty ones are none more than a few.
                let most = if last == b'\n' { 64 } else { LONGEST_STREAM };
                stream.resize(stream.len() + times.clamp(1, most) - 1, last);
                rest = &behind[length..];
            }
            _ => stream.push(byte),
        }
        stream.truncate(LONGEST_STREAM);
    }
    stream
}

fn piece(random: &mut Random) -> Vec<u8> {
    let mut piece = format!("{} {}\n", 1 + random.below(5_000), 1 + random.below(40));
    for _ in 0..random.below(6) {
        let length = match random.below(32) {
            0 => MAX_LINE - 2 + random.below(4),
            1 => 2_040 + random.below(16),
            _ => 1 + random.below(80),
        };
        piece += &format!("a{{{length}}}");
        piece += random.pick(&["\n", "\r\n", "\n\n", "\r", ""]);
    }
    piece.into_bytes()
}
