//! What a session cannot show: a command that goes on, and one with thousands of names.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};

use crate::child::KilledOnDrop;
use crate::sandbox::Sandbox;

/// How often the output is looked at, 10 ms apart: 10 s in all.
const LOOKS: u32 = 1_000;

pub(crate) fn trials() -> [Trial; 2] {
    [
        Trial::test("log_follows_what_happens", log_follows_what_happens),
        Trial::test(
            "thousands_of_names_are_added_at_once",
            thousands_of_names_are_added_at_once,
        ),
    ]
}

fn log_follows_what_happens() -> Result<(), Failed> {
    let mut sandbox = Sandbox::new()?;
    sandbox.run("dovelatch mailbox add ana@example.org")?;
    let followed = sandbox.path().join("followed");
    let follower = sandbox
        .command()
        .args(["log", "--follow", "--since", "1h", "--json"])
        .stdout(fs::File::create(&followed)?)
        .stdin(Stdio::null())
        .spawn()?;
    let _follower = KilledOnDrop(follower);
    let lines = |number: usize| -> Result<Vec<String>, Failed> {
        for _ in 0..LOOKS {
            let text = fs::read_to_string(&followed)?;
            if text.ends_with('\n') && text.lines().count() >= number {
                return Ok(text.lines().map(str::to_owned).collect());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!("there never were {number} lines").into())
    };
    let first = lines(1)?;
    sandbox.run("dovelatch mailbox add bob@example.org")?;
    sandbox.run("dovelatch add bob@example.org phone")?;
    let all = lines(3)?;
    assert!(matches!(first.as_slice(), [only] if only.contains("ana@example.org")));
    assert_eq!(all.len(), 3, "{all:?}");
    for (line, word) in all.iter().zip(["ana@", "mailbox-added", "issued"]) {
        assert!(line.starts_with('{') && line.ends_with('}') && line.contains(word));
    }
    Ok(())
}

fn thousands_of_names_are_added_at_once() -> Result<(), Failed> {
    let mut sandbox = Sandbox::new()?;
    let names: Vec<String> = (0..5_000).map(|n| format!("m{n}@example.org")).collect();
    let input = names.join("\\n");
    let answer = sandbox.run(&format!("dovelatch mailbox add - <<< {input}"))?;
    assert!(answer.ends_with("? 0\n"), "{answer}");
    let listed = sandbox.run("dovelatch mailbox list --quiet")?;
    assert_eq!(listed.lines().count(), names.len() + 1);
    let again = sandbox.run(&format!("dovelatch mailbox add - --if-missing <<< {input}"))?;
    assert_eq!(again, "1> nothing was added\n? 0\n");
    Ok(())
}
