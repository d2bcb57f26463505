//! The command line from outside: each `*.session` file is a list of commands with the exact standard
//! output, standard error and exit code that they must have, in a directory of their own.
//!
//! ```text
//! # A comment. Every session starts with an empty directory, which reads [DIR].
//! $ dovelatch add ana@example.org phone
//! 1> [PASSWORD:1]
//! 2> error: only lines on standard error begin so
//! ? 0
//! ```
//!
//! A command may end with `<<< standard input` (`\n` between its lines), and with `| closed`, `| full` or `| gone`:
//! standard output is then closed, a device without room, or a pipe that nobody reads. After `| some`
//! only whether there was any output is written, and with `| terminal` a terminal stands behind all three,
//! which is written as standard output. Words may stand in single quotes; `[FF]` in one is a
//! byte that no UTF-8 has. Lines that begin with `%` prepare something; `sandbox.rs` lists them.
//!
//! What differs from run to run is written as `[PASSWORD:n]`, `[ID:n]`, `[ACCESS:n]` (numbered as they
//! appear, and commands may use them), `[TIME]`, `[SIZE]`, `[DIR]` and `old-[RANDOM]`. `UPDATE_EXPECTED=1` writes what was said
//! into the files; read the difference before you commit it.

#[path = "../support/child.rs"]
mod child;
mod follow;
#[path = "../support/program.rs"]
mod program;
mod sandbox;
#[path = "../support/updating.rs"]
mod updating;
mod varying;

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};

use sandbox::Sandbox;
use updating::updating;

fn main() {
    let arguments = Arguments::from_args();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .expect("the sessions are beside this file")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "session")
        })
        .collect();
    files.sort();
    let trials = files.into_iter().map(|path| {
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Trial::test(name, move || check(&path))
    });
    libtest_mimic::run(&arguments, trials.chain(follow::trials()).collect()).exit();
}

/// Runs a session and compares it with itself as it went.
fn check(path: &Path) -> Result<(), Failed> {
    let expected = fs::read_to_string(path)?;
    let found = replay(&expected)?;
    if updating() && found != expected {
        fs::write(path, &found)?;
    } else if found != expected {
        return Err(difference(&expected, &found).into());
    }
    Ok(())
}

/// The session as it goes now: commands and preparations as written, answers as they came.
fn replay(session: &str) -> Result<String, Failed> {
    let mut sandbox = Sandbox::new()?;
    let mut replayed = String::new();
    let mut lines = session.lines().peekable();
    while let Some(line) = lines.next() {
        if is_answer(line) {
            continue;
        }
        replayed += &format!("{line}\n");
        if let Some(command) = line.strip_prefix("$ ") {
            replayed += &sandbox.run(command)?;
        } else if let Some(preparation) = line.strip_prefix("% ") {
            let mut text = String::new();
            while let Some(more) = lines.next_if(|line| line.starts_with("| ")) {
                replayed += &format!("{more}\n");
                text += &format!("{}\n", &more[2..]);
            }
            sandbox.prepare(preparation, &text)?;
        } else if !line.is_empty() && !line.starts_with('#') {
            return Err(format!("not understood: {line:?}").into());
        }
    }
    Ok(replayed)
}

fn is_answer(line: &str) -> bool {
    ["1>", "2>", "? "].iter().any(|mark| line.starts_with(mark))
}

/// The first command whose answer is another.
fn difference(expected: &str, found: &str) -> String {
    let line = expected
        .lines()
        .zip(found.lines())
        .take_while(|(old, new)| old == new)
        .count();
    let rest = |text: &str| {
        let lines: Vec<&str> = text.lines().skip(line.saturating_sub(3)).take(15).collect();
        lines.join("\n")
    };
    format!(
        "line {}\nexpected:\n{}\n\nfound:\n{}",
        line + 1,
        rest(expected),
        rest(found)
    )
}
