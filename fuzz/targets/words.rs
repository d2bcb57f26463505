//! Command lines: any words are a command, or are answered with an exit code that says why not. Nothing runs.
//!
//! An input has one word a line.

use std::cell::RefCell;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use dovelatch::cli::{Answered, Reader};

use crate::random::Random;
use crate::signature::Signature;
use crate::target::Target;

pub const TARGET: Target = Target {
    name: "command-line",
    run,
    piece,
    words: &[
        b"--",
        b"-",
        b"--json",
        b"-q",
        b"--help",
        b"--version",
        b"--config=",
        b"=",
        b"\n",
        b"\n--",
        b"@",
        b"\xff",
        b"\x1b[31m",
        b"\xe2\x80\xae",
        b"--id",
        b"--yes",
        b"\0",
        b"bob@example.org",
    ],
    longest: 600,
    is_script: true,
    short: 10_000,
};

thread_local! {
    static READER: RefCell<Reader> = RefCell::default();
}

fn run(input: &[u8], seen: &mut Signature) {
    let words = input
        .split(|&byte| byte == b'\n')
        .map(|word| OsString::from_vec(word.to_vec()));
    // No system hands over a word with a NUL in it.
    let words = words.filter(|word| !word.as_encoded_bytes().contains(&0));
    let words: Vec<OsString> = [OsString::from("dovelatch")]
        .into_iter()
        .chain(words)
        .take(24)
        .collect();
    let Some(Answered {
        exit_code,
        out,
        err,
    }) = READER.with_borrow_mut(|reader| reader.read(&words))
    else {
        let shapes = words.iter().map(|word| shape(word.as_encoded_bytes()));
        return shapes.for_each(|shape| seen.step(shape));
    };
    let json = words.iter().any(|word| word == "--json");
    match exit_code {
        0 => {
            assert!(
                !out.is_empty() && err.is_empty(),
                "help or version: {err:?}"
            );
            seen.count("help", out.len());
        }
        64 | 65 => {
            assert!(
                out.is_empty() && !err.is_empty(),
                "a mistake goes to standard error alone"
            );
            if json {
                let document: serde_json::Value = serde_json::from_str(&err).expect("one document");
                let code = document["error"]["code"].as_str().expect("a code");
                assert_eq!(
                    code,
                    if exit_code == 64 {
                        "usage"
                    } else {
                        "invalid_value"
                    }
                );
                assert!(
                    document["error"]["message"]
                        .as_str()
                        .is_some_and(|text| !text.is_empty())
                );
            } else {
                assert!(err.ends_with('\n'), "a mistake ends its line: {err:?}");
                let steers = |c: char| c.is_control() && c != '\n';
                assert!(
                    !err.contains(steers),
                    "a word reaches the terminal as it came: {err:?}"
                );
            }
            // Up to the first word that it repeats.
            let kind = err.chars().take_while(|&c| !"'\"".contains(c));
            let kind: String = kind.collect();
            seen.note((exit_code, json, kind));
        }
        other => panic!("exit code {other} for {words:?}: {err}"),
    }
}

/// A word of the grammar as it is; of what somebody chose, that it is none.
fn shape(word: &[u8]) -> Option<&[u8]> {
    let is_ours = COMMANDS
        .iter()
        .chain(&OPTIONS)
        .any(|ours| ours.as_bytes() == word);
    is_ours.then_some(word)
}

fn piece(random: &mut Random) -> Vec<u8> {
    let nouns = [
        "add", "list", "set", "remove", "enable", "disable", "check", "show", "backup", "give",
        "take", "create",
    ];
    let values = [
        "bob@example.org",
        "phone",
        "office",
        "",
        "a@b@c",
        "dp-kqtmwhzrnb",
        "ac-kqtmwhzrnb",
        "30d",
        "2030-01-01",
        "imap",
        "/tmp/x",
        "bash",
        "..",
        "\u{202e}x",
        "-1",
        "100",
        "x=y",
    ];
    let words: &[&str] = match random.below(8) {
        0..=2 => &COMMANDS,
        3 => &nouns,
        4 | 5 => &OPTIONS,
        _ => &values,
    };
    random.pick(words).as_bytes().to_vec()
}

const COMMANDS: [&str; 23] = [
    "add",
    "create",
    "list",
    "ls",
    "show",
    "rename",
    "rotate",
    "revoke",
    "rm",
    "delete",
    "set",
    "mailbox",
    "person",
    "access",
    "log",
    "test",
    "explain",
    "config",
    "db",
    "serve",
    "demo",
    "completions",
    "help",
];

const OPTIONS: [&str; 27] = [
    "--json",
    "--quiet",
    "-q",
    "--config",
    "--database",
    "--id",
    "--yes",
    "--services",
    "--networks",
    "--expires",
    "--person",
    "--all",
    "--follow",
    "--since",
    "--help",
    "-h",
    "--version",
    "--",
    "--uid",
    "--home",
    "--field",
    "--expires=30d",
    "--expires-unused",
    "--nonsense",
    "--services=imap,smtp",
    "--from=192.0.2.0/24",
    "--for",
];
