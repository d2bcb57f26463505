//! Command lines: any words are a command, or are answered with an exit code that says why not. Nothing runs.
//!
//! An input has one word a line.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use dovelatch::cli::{self, Answered};

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
    short: 500,
};

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
    }) = cli::read_only(&words)
    else {
        let command: Vec<_> = words.iter().skip(1).take(2).collect();
        return seen.note(("a command", command));
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
            let kind: String = err.chars().take(24).collect();
            seen.note((exit_code, json, kind));
        }
        other => panic!("exit code {other} for {words:?}: {err}"),
    }
}

fn piece(random: &mut Random) -> Vec<u8> {
    let commands = [
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
    let nouns = [
        "add", "list", "set", "remove", "enable", "disable", "check", "show", "backup", "give",
        "take", "create",
    ];
    let options = [
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
        0..=2 => &commands,
        3 => &nouns,
        4 | 5 => &options,
        _ => &values,
    };
    random.pick(words).as_bytes().to_vec()
}
