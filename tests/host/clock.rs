//! The wall clock is set forward and back by ten years.
//!
//! No namespace has a wall clock of its own, so a library that is loaded first moves what the daemon is
//! told (`clock.c`).

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use libtest_mimic::Trial;
use rusqlite::Connection;

use crate::client::{Answer, Client};
use crate::daemon::Daemon;
use crate::host::{ANA, Host};
use crate::trial;
use crate::wait::{LONG, until};

const TEN_YEARS: i64 = 10 * 366 * 24 * 60 * 60;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("a_wrong_clock_does_no_lasting_harm", wrong_clock)]
}

/// One of the C files beside this one, to be loaded before all others.
pub(crate) fn library(host: &Host, name: &str) -> PathBuf {
    let library = host.path().join(format!("{name}.so"));
    let source = format!("{}/tests/host/{name}.c", env!("CARGO_MANIFEST_DIR"));
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]);
    assert!(
        compiler
            .arg(&library)
            .arg(source)
            .status()
            .unwrap()
            .success()
    );
    library
}

fn wrong_clock() {
    let host = Host::new();
    let expiring = host.issue_with("expiring", &["--expires", "365d"]);
    let unused = host.issue_with("unused", &["--expires-unused", "30d"]);
    let old = host.issue("kept");
    let new = host.done(&["rotate", ANA, "kept", "--keep-old", "24h", "--quiet"]);
    let offset = host.path().join("offset");
    let set = |seconds: i64| fs::write(&offset, seconds.to_string()).unwrap();
    set(0);
    let mut command = host.command();
    command
        .arg("serve")
        .env("LD_PRELOAD", library(&host, "clock"))
        .env("CLOCK_OFFSET", &offset);
    let daemon = Daemon::start_as(&mut command);
    let mut client = Client::new(&host);
    let limited = |client: &mut Client<'_>| {
        [&expiring, &unused, &old].map(|password| client.sign_in(password))
    };
    let written = |uses: i64| {
        let database = Connection::open(host.database()).unwrap();
        until("the uses", LONG, || {
            let count = database.query_row("SELECT sum(count) FROM used", [], |row| row.get(0));
            (count == Ok(uses)).then_some(())
        });
    };
    client.assert_right();
    assert_eq!(limited(&mut client), [Answer::Allow; 3]);
    let mut allowed = 5;
    written(allowed);
    for offset in [TEN_YEARS, -TEN_YEARS, TEN_YEARS, 0] {
        set(offset);
        client.assert_right();
        let wanted = match offset {
            TEN_YEARS => Answer::Deny,
            _ => Answer::Allow,
        };
        assert_eq!(limited(&mut client), [wanted; 3], "{offset}");
        assert_eq!(client.sign_in(new.trim_end()), Answer::Allow);
        // A use is entered by the clock of a moment after the answer.
        allowed += if offset == TEN_YEARS { 3 } else { 6 };
        written(allowed);
    }
    assert!(daemon.log().contains(" dovelatch["));
    daemon.stop();
    assert_eq!(
        limited_by_restart(&host, [&expiring, &unused, &old]),
        [Answer::Allow; 3]
    );
}

/// What is in the database says the same to a daemon with the right clock.
fn limited_by_restart(host: &Host, passwords: [&String; 3]) -> [Answer; 3] {
    let daemon = Daemon::start(host);
    let mut client = Client::new(host);
    let answers = passwords.map(|password| client.sign_in(password));
    daemon.stop();
    answers
}
