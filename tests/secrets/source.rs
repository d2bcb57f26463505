//! What the source may do with a secret, as far as its text shows it.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;

use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("nothing_exposed_is_compared_but_in_constant_time", compared),
        trial("what_is_called_a_secret_is_one", called),
    ]
}

/// Lines of our code, without what is behind `mod tests` at the end of a file, each with its place.
fn lines() -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for file in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        let tested = ["tests.rs", "contract.rs"]
            .iter()
            .any(|end| file.ends_with(end))
            || file
                .iter()
                .any(|part| part == "tests" || part == "contract");
        let text = if tested { "" } else { &text };
        let ours = text.lines().take_while(|line| *line != "mod tests {");
        let ours = ours
            .zip(1..)
            .filter(|(line, _)| !line.trim_start().starts_with("//"));
        lines.extend(ours.map(|(line, number)| {
            (
                line.to_owned(),
                format!("{}:{number}: {line}", file.display()),
            )
        }));
    }
    assert!(lines.len() > 10_000, "the source was found");
    lines
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![path],
        })
        .collect()
}

/// `Secret` and `Password` compare in constant time by themselves; what was taken out of them does not.
fn compared() {
    let bare = [".expose()", ".canonical()"];
    let compared = |line: &str| {
        let left = bare.iter().any(|bare| {
            [" == ", " != ", ".eq(", ".ne(", ".cmp(", ".starts_with("]
                .iter()
                .any(|word| line.contains(&format!("{bare}{word}")))
        });
        let right = [" == ", " != "].iter().any(|word| {
            let behind = line.split(word).skip(1);
            let mut operands = behind.filter_map(|rest| rest.split([' ', ',', ';']).next());
            operands.any(|operand| bare.iter().any(|bare| operand.ends_with(bare)))
        });
        left || right
    };
    assert!(compared("if password.expose() == typed {"));
    assert!(compared("if typed == password.canonical() {"));
    assert!(!compared(
        "let parts = message.expose().split(|&byte| byte == 0);"
    ));
    let found = lines().into_iter().filter(|(line, _)| compared(line));
    let found: Vec<_> = found.map(|(_, place)| place).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// A field or a variable of such a name has a type that is wiped and shows nothing. What is borrowed from one
/// may be bare bytes.
fn called() {
    let names = ["password", "secret", "passphrase", "cookie", "token"];
    let plain = ["String", "Vec<u8>", "Box<str>", "Box<[u8]>", "OsString"];
    let found = lines().into_iter().filter(|(line, _)| {
        names.iter().any(|name| {
            plain.iter().any(|plain| {
                let open = format!("Option<{plain}");
                [format!("{name}: {plain}"), format!("{name}: {open}")]
                    .iter()
                    .any(|words| line.contains(words.as_str()))
            })
        })
    });
    let found: Vec<_> = found.map(|(_, place)| place).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}
