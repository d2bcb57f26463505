//! The daemon in a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::child::KilledOnDrop;
use crate::host::Host;
use crate::wait::{LONG, until};

/// Tells what it has logged where its test fails.
pub(crate) struct Daemon {
    pub(crate) child: KilledOnDrop,
    log: Arc<Mutex<String>>,
}

impl Daemon {
    /// Returns once it serves.
    pub(crate) fn start(host: &Host) -> Self {
        let mut command = host.command();
        Self::start_as(command.arg("serve"))
    }

    pub(crate) fn start_as(command: &mut Command) -> Self {
        let daemon = Self::spawn(command);
        daemon.wait_for("serving sockets=1");
        daemon
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = written.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self {
            child: KilledOnDrop(child),
            log,
        }
    }

    /// A daemon whose log goes elsewhere.
    pub(crate) fn silent(child: Child) -> Self {
        Self {
            child: KilledOnDrop(child),
            log: Arc::default(),
        }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn wait_for(&self, text: &str) {
        until(&format!("{text:?} in the log"), LONG, || {
            self.log().contains(text).then_some(())
        });
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// It must have lived until now, and end well.
    pub(crate) fn stop(mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "{}", self.log());
        self.signal(Signal::SIGTERM);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.log());
        }
    }
}
