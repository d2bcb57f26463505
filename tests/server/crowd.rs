//! Thousands of connections of one user, in a process of their own: this program started again.
//!
//! Each connects, says its handshake, and reads the greeting or what comes instead of it. The test says how
//! many come and go.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

use crate::child::KilledOnDrop;
use crate::process::raise_limit;

const CROWD: &str = "DOVELATCH_TEST_CROWD";

/// How long a connection waits for its greeting before it counts as one that waits.
const PATIENCE: Duration = Duration::from_millis(500);

/// Somebody's connections.
pub(crate) struct Crowd {
    _process: KilledOnDrop,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What has become of the connections that came last.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Came {
    pub(crate) greeted: usize,
    pub(crate) closed: usize,
    /// Neither: in the backlog.
    pub(crate) waiting: usize,
}

impl Crowd {
    /// Nobody yet. Only root has crowds of other users than itself.
    pub(crate) fn of(user: u32, socket: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(CROWD, format!("{user}:{}", socket.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            commands: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            _process: KilledOnDrop(child),
        }
    }

    /// So many more come.
    pub(crate) fn come(&mut self, count: usize) -> Came {
        let numbers = self.ask(&format!("come {count}"));
        let [greeted, closed, waiting] = numbers[..] else {
            panic!("{numbers:?}");
        };
        Came {
            greeted,
            closed,
            waiting,
        }
    }

    /// So many go, those that came first.
    pub(crate) fn go(&mut self, count: usize) {
        self.ask(&format!("go {count}"));
    }

    /// How many of those that were waiting are greeted now.
    pub(crate) fn greeted_now(&mut self) -> usize {
        self.ask("look 0")[0]
    }

    fn ask(&mut self, command: &str) -> Vec<usize> {
        writeln!(self.commands, "{command}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let numbers = line.split_ascii_whitespace();
        numbers.map(|number| number.parse().unwrap()).collect()
    }
}

/// Whether this process was started to be one: whose, and where it goes.
#[expect(clippy::disallowed_methods, reason = "the switch of this test program")]
pub(crate) fn crowd() -> Option<(u32, PathBuf)> {
    let text = std::env::var(CROWD).ok()?;
    let (user, socket) = text.split_once(':')?;
    Some((user.parse().ok()?, socket.into()))
}

/// Does what it is told on standard input, until that ends.
pub(crate) fn be(user: u32, socket: &Path) -> ExitCode {
    raise_limit();
    if user != Uid::effective().as_raw() {
        setgroups(&[]).unwrap();
        setgid(Gid::from_raw(user)).unwrap();
        setuid(Uid::from_raw(user)).unwrap();
    }
    let mut all: Vec<UnixStream> = Vec::new();
    let mut waiting: Vec<UnixStream> = Vec::new();
    let mut out = std::io::stdout();
    for command in std::io::stdin().lines().map_while(Result::ok) {
        let (verb, count) = command.split_once(' ').unwrap();
        let count: usize = count.parse().unwrap();
        match verb {
            "come" => {
                let (mut greeted, mut closed) = (0, 0);
                for _ in 0..count {
                    let stream = UnixStream::connect(socket).unwrap();
                    // What was closed at once takes nothing.
                    let _ = (&stream).write_all(b"VERSION\t1\t2\nCPID\t7\n");
                    match greeting(&stream) {
                        Some(true) => {
                            greeted += 1;
                            all.push(stream);
                        }
                        Some(false) => closed += 1,
                        None => waiting.push(stream),
                    }
                }
                writeln!(out, "{greeted} {closed} {}", waiting.len()).unwrap();
            }
            "go" => {
                all.drain(..count);
                writeln!(out, "{}", all.len()).unwrap();
            }
            _ => {
                let (greeted, rest) = std::mem::take(&mut waiting)
                    .into_iter()
                    .partition::<Vec<_>, _>(|stream| greeting(stream) == Some(true));
                writeln!(out, "{}", greeted.len()).unwrap();
                all.extend(greeted);
                waiting = rest;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Whether there is a greeting or an end; `None` if there is neither.
fn greeting(mut stream: &UnixStream) -> Option<bool> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    match stream.read(&mut [0; 2_048]) {
        Ok(length) => Some(length > 0),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(_) => Some(false),
    }
}
