//! `dovelatch serve` on the site, as a process of its own.

use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::dialogue::{Heard, LogIn, PATIENCE, Peer};
use crate::site::Site;
use crate::tested::{PROGRAM, started_by};

/// Says which process it is, and ends it when our end of the pipe closes, even if we were killed.
const RUN: &str =
    r#""$@" </dev/null >/dev/null 2>&1 & echo $!; exec >&-; cat >/dev/null; kill $!; wait"#;

/// It ends when this is dropped.
pub struct Daemon {
    shell: Child,
    process: u32,
    pub socket: PathBuf,
    /// From the start of the process to its first verdict.
    pub until_first: Duration,
    /// What it said then, without the id.
    pub first: String,
}

impl Daemon {
    /// Its log goes nowhere: at a hundred thousand lines a second it would fill the disk.
    pub fn start(site: &Site, first: &LogIn) -> Self {
        let started = Instant::now();
        let mut shell = started_by("sh")
            .args(["-c", RUN, "sh", PROGRAM, "--config"])
            .arg(site.config())
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        let mut process = String::new();
        BufReader::new(shell.stdout.take().expect("piped"))
            .read_line(&mut process)
            .expect("a line");
        let process = process.trim_end().parse().expect("a process id");
        let socket = site.socket();
        let first = loop {
            match first_verdict(&socket, first) {
                Ok(Some(fields)) => break fields,
                Ok(None) | Err(_) => assert!(started.elapsed() < PATIENCE, "it does not answer"),
            }
            thread::sleep(Duration::from_micros(200));
        };
        Self {
            shell,
            process,
            socket,
            until_first: started.elapsed(),
            first,
        }
    }

    pub fn process(&self) -> u32 {
        self.process
    }
}

/// The fields of an OK. `None`: it cannot tell yet.
fn first_verdict(socket: &Path, log_in: &LogIn) -> io::Result<Option<String>> {
    let mut peer = Peer::connect(socket)?;
    let answer = peer.ask(log_in)?;
    if log_in.heard(&answer) == Heard::Later {
        return Ok(None);
    }
    assert!(log_in.is_decided(&answer));
    Ok(Some(String::from_utf8_lossy(answer.fields).into_owned()))
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _status = self.shell.wait();
    }
}
