//! The real program at work under the recorder: a new database, changes of every kind with and without a
//! daemon, its uses, its writing back of the log, and the log begun anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use dovelatch::store::{Identity, Reader};

use crate::dice::Dice;
use crate::judge::Answer;
use crate::ledger::{Change, Old, Said, State};
use crate::site::{Daemon, Site};
use crate::tape::{Act, Tape};
use crate::{now, wait};

/// Names the database to a program that cuts its log, as the daemon does with one that has become long.
pub(crate) const SWITCH: &str = "DOVELATCH_TEST_CUT_LOG";

const DOMAIN: &str = "power.example";

/// One command of the recording.
pub(crate) struct Ran {
    pub(crate) change: Change,
    pub(crate) process: u32,
    /// Before it, and after each of its steps.
    pub(crate) states: Vec<State>,
}

pub(crate) struct Recording {
    pub(crate) tape: Tape,
    pub(crate) commands: Vec<Ran>,
    pub(crate) daemon: u32,
    /// Mailbox and password of all that was shown.
    pub(crate) seen: Vec<(String, String)>,
    /// What lies on the disk in the end.
    pub(crate) left: Vec<(String, Vec<u8>)>,
}

/// That program: the recording would be thousands of records longer with a log that is long.
pub(crate) fn cut_log(database: PathBuf) -> ExitCode {
    let mut reader = Reader::new(database, Identity::default());
    reader.checkpoint(0, now()).unwrap();
    ExitCode::SUCCESS
}

/// Records. `rounds` is how often the daemon writes the log back while it runs, which takes 5 s each.
pub(crate) fn record(seed: u64, rounds: usize, commands: usize) -> Recording {
    let scene = Scene::new(seed);
    let mut work = scene.work();
    work.begin();
    work.run(commands / 4);
    let daemon = work.start_daemon();
    let process = daemon.pid();
    for _ in 0..rounds {
        work.run(commands / 2);
        work.sign_in();
        work.wait_until_written_back(process);
    }
    // The first of these begins the log anew.
    work.run(commands / 4);
    work.cut_log();
    work.run(commands / 4);
    work.sign_in();
    daemon.stop();
    work.run(commands / 4);
    let (commands, seen) = (work.commands, work.seen);
    let left = fs::read_dir(scene.site.data()).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    });
    let left = left.filter(|(name, _)| !name.ends_with("-shm"));
    // In the order of the tape's.
    let left: BTreeMap<_, _> = left.collect();
    Recording {
        left: left.into_iter().collect(),
        tape: scene.tape(),
        commands,
        daemon: process,
        seen,
    }
}

struct Scene {
    site: Site,
    recorder: PathBuf,
    seed: u64,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let site = Site::new();
        let recorder = site.path().join("recorder.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash/recorder.c");
        let built = Command::new("cc")
            .args([
                "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o",
            ])
            .arg(&recorder)
            .arg(source)
            .args(["-ldl", "-lpthread"])
            .output()
            .unwrap();
        assert!(built.status.success(), "{built:?}");
        Self {
            site,
            recorder,
            seed,
        }
    }

    fn work(&self) -> Work<'_> {
        Work {
            scene: self,
            dice: Dice::new(self.seed),
            state: State::default(),
            commands: Vec::new(),
            seen: Vec::new(),
        }
    }

    fn watch(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.recorder)
            .env("RECORDER_DIRECTORY", self.site.data())
            .env("RECORDER_TAPE", self.site.path().join("tape"));
    }

    fn tape(&self) -> Tape {
        Tape::parse(&fs::read(self.site.path().join("tape")).unwrap())
    }
}

struct Work<'a> {
    scene: &'a Scene,
    dice: Dice,
    state: State,
    commands: Vec<Ran>,
    seen: Vec<(String, String)>,
}

impl Work<'_> {
    /// What every recording has in it, whatever is drawn later.
    fn begin(&mut self) {
        let mailbox = || format!("mailbox0@{DOMAIN}");
        let person = || format!("person0@{DOMAIN}");
        let issue = |label: &str, person: Option<String>| Change::Issue {
            mailbox: mailbox(),
            person,
            label: label.to_owned(),
        };
        let rotate = |old| Change::Rotate {
            label: "phone".to_owned(),
            old,
        };
        for change in [
            Change::AddMailbox(mailbox()),
            issue("phone", None),
            issue("laptop", None),
            issue("tablet", None),
            rotate(Old::LivesOn),
            rotate(Old::Ends),
            Change::Revoke("tablet".to_owned()),
            Change::AddPerson(person()),
            Change::GiveAccess(mailbox(), person()),
            issue("hers", Some(person())),
            Change::TakeAccess(mailbox(), person()),
        ] {
            self.change(change);
        }
    }

    fn run(&mut self, commands: usize) {
        for _ in 0..commands {
            let number = self.commands.len();
            let change = Change::choose(&mut self.dice, &self.state, DOMAIN, number);
            self.change(change);
        }
    }

    fn change(&mut self, change: Change) {
        let mut command = self.scene.site.command();
        self.scene.watch(&mut command);
        let child = command
            .args(change.arguments(&self.state))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let process = child.id();
        let ended = child.wait_with_output().unwrap();
        let said = Said {
            output: String::from_utf8(ended.stdout).unwrap(),
            notes: String::from_utf8(ended.stderr).unwrap(),
            success: ended.status.success(),
        };
        assert!(said.success, "{change:?}: {said:?}");
        let shown = change.shown(&self.state, &said);
        let password = shown.as_ref().map(|(_, password)| password.as_str());
        let states = change.states(&self.state, password);
        self.state = states.last().unwrap().clone();
        self.seen.extend(shown.clone());
        self.commands.push(Ran {
            change,
            process,
            states,
        });
    }

    fn start_daemon(&self) -> Daemon {
        self.scene
            .site
            .start_with(|command| self.scene.watch(command))
    }

    /// By a program of its own, while the daemon runs.
    fn cut_log(&self) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        self.scene.watch(&mut command);
        command.env(SWITCH, self.scene.site.database());
        let log = self.scene.site.log();
        assert!(command.status().unwrap().success());
        assert_eq!(fs::metadata(log).unwrap().len(), 0);
    }

    /// Uses, and attempts with what has ended: the daemon writes them down.
    fn sign_in(&self) {
        let site = &self.scene.site;
        for (mailbox, password) in self.seen.iter().rev().take(12) {
            let expected = match self.state.opens(mailbox, password) {
                true => Answer::In,
                false => Answer::Refused,
            };
            let answer = site.ask_until_told(mailbox, password, wait::LONG);
            assert_eq!(answer, expected, "{mailbox}: {}", site.daemon_log());
        }
    }

    /// Waits for the daemon's next sync of the database itself: after that the log may be begun anew.
    fn wait_until_written_back(&self, daemon: u32) {
        let count = || {
            let tape = self.scene.tape();
            let database = tape.file_named("dovelatch.db").unwrap();
            let synced = |act: &Act| matches!(act, Act::Sync { file } if *file == database);
            let of_daemon = tape
                .records
                .iter()
                .filter(|record| record.process == daemon);
            of_daemon.filter(|record| synced(&record.act)).count()
        };
        let before = count();
        wait::until("the log to be written back", wait::LONG, || {
            (count() > before).then_some(())
        });
    }
}
