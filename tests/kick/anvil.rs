//! An anvil of Dovecot 2.4, well-behaved or not, and a stock auth process with a cache.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Well,
    /// A second session of the first device registers after the first kick.
    Late,
    /// Kicks end nothing.
    Deaf,
    /// Accepts and says nothing, as 2.3's.
    Silent,
    /// Greets, and says nothing more.
    Hangs,
    /// Greets, and hangs up at the first command.
    HangsUp,
}

#[derive(Debug, Default)]
struct State {
    connections: usize,
    heard: Vec<String>,
    /// Guids and devices, all of bob@example.org.
    sessions: Vec<(usize, String)>,
    kicks: usize,
}

pub(crate) struct Anvil(Arc<Mutex<State>>);

impl Anvil {
    /// Serves until the process ends.
    pub(crate) fn start(directory: &Path, manner: Manner, devices: &[&str]) -> Self {
        let sessions = devices.iter().map(|&device| device.to_owned());
        let state = Arc::new(Mutex::new(State {
            sessions: sessions.enumerate().collect(),
            ..State::default()
        }));
        let listener = UnixListener::bind(directory.join("anvil")).unwrap();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                shared.lock().unwrap().connections += 1;
                // Whoever hangs up has had enough.
                let _ = serve(stream, manner, &shared);
            }
        });
        Self(state)
    }

    pub(crate) fn heard(&self) -> Vec<String> {
        self.0.lock().unwrap().heard.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.0.lock().unwrap().connections
    }

    /// The devices whose sessions live.
    pub(crate) fn sessions(&self) -> Vec<String> {
        let state = self.0.lock().unwrap();
        let devices = state.sessions.iter().map(|(_, device)| device.clone());
        devices.collect()
    }
}

fn serve(mut stream: UnixStream, manner: Manner, state: &Mutex<State>) -> io::Result<()> {
    if manner != Manner::Silent {
        stream.write_all(b"VERSION\tanvil-server\t2\t0\n")?;
    }
    if manner == Manner::Hangs {
        // Until the client goes.
        stream.read_to_end(&mut Vec::new())?;
    }
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?;
        let mut state = state.lock().unwrap();
        state.heard.push(line.clone());
        let answer = match line.split('\t').collect::<Vec<_>>()[..] {
            ["" | "VERSION", ..] => continue,
            _ if manner == Manner::HangsUp => return Ok(()),
            ["CONNECT-DUMP"] => dump(&state),
            ["KICK-ALT-USER", "user_device", device] => state.kick(manner, Some(device)),
            ["KICK-USER", "bob@example.org"] => state.kick(manner, None),
            _ => return Ok(()),
        };
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}

fn dump(state: &State) -> String {
    let line = |(guid, device): &(usize, String)| {
        format!("17\tbob@example.org\timap\t127.0.0.1\t{guid}\t\t{device}\n")
    };
    let lines: String = state.sessions.iter().map(line).collect();
    format!("user_device\n{lines}\n")
}

impl State {
    /// Always 0, as of one process that serves several sessions.
    fn kick(&mut self, manner: Manner, device: Option<&str>) -> String {
        let first = self.sessions.first().cloned();
        if manner != Manner::Deaf {
            let stays = |of: &str| device.is_some_and(|device| device != of);
            self.sessions.retain(|(_, of)| stays(of));
        }
        if let (Manner::Late, 0, Some((_, device))) = (manner, self.kicks, first) {
            self.sessions.push((99, device));
        }
        self.kicks += 1;
        "0\n".to_owned()
    }
}

/// The master socket of a stock auth process.
pub(crate) struct StockAuth(Arc<Mutex<Vec<String>>>);

impl StockAuth {
    pub(crate) fn start(directory: &Path) -> Self {
        let listener = UnixListener::bind(directory.join("auth-master")).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = flush(stream, &shared);
            }
        });
        Self(heard)
    }

    pub(crate) fn heard(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

fn flush(mut stream: UnixStream, heard: &Mutex<Vec<String>>) -> io::Result<()> {
    stream.write_all(b"VERSION\t1\t1\nSPID\t4711\n")?;
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?;
        heard.lock().unwrap().push(line.clone());
        if let ["CACHE-FLUSH", id, _] = line.split('\t').collect::<Vec<_>>()[..] {
            stream.write_all(format!("OK\t{id}\t1\n").as_bytes())?;
        }
    }
    Ok(())
}
