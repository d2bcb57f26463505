//! `dovelatch demo`: the whole way once, on this machine, with nothing left behind.
//!
//! Each step is a command line that a reader can repeat. Our own are run by the code that runs them
//! when they are typed; only their output is kept in memory first, to be shown below the command. The
//! daemon is the real one, in a thread of this process. Where Dovecot is installed, its doveadm is run,
//! and a private Dovecot is asked for a message with the new password, by an IMAP client of ours in
//! the place of the curl that is shown.

mod dovecot;
mod imap;
mod interrupt;
mod place;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::context::Context;
use super::error::{Error, Exit};
use super::output::{Answer, Output, shown};
use super::prompt::Input;
use crate::config::{Config, Environment};
use crate::password::generate::Password;
use crate::secret::Secret;
use crate::server::Running;
use dovecot::{Dovecot, Programs, Skipped};
use interrupt::Interrupt;
use place::Place;

/// The mailbox that is opened; `.test` belongs to nobody (RFC 2606).
const MAILBOX: &str = "demo@example.test";

/// The device that gets the password.
const DEVICE: &str = "phone";

/// Show the whole way once: issue, sign in, revoke, be refused
///
/// Needs neither root nor a network, and leaves nothing behind. Where Dovecot is installed, a
/// private one on a loopback port reads a message with the new password.
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// Keep everything up until Ctrl-C, for playing
    #[arg(long)]
    stay: bool,
}

impl Demo {
    pub(crate) fn run(&self, context: &mut Context<'_>) -> Result<(), Error> {
        let interrupt = Interrupt::watch().map_err(|error| failed("watch for Ctrl-C", &error))?;
        let place = Place::new()?;
        let mut tour = Tour::new(&place, context, interrupt);
        let daemon = tour.issue_and_sign_in()?;
        // Dropped before the daemon stops, and the directory after both.
        let asked = tour.ask_through_dovecot()?;
        tour.revoke(&asked)?;
        if self.stay {
            tour.stay(&asked)?;
        }
        drop(asked);
        daemon.stop();
        let Tour { steps, skipped, .. } = tour;
        context.output.answer(&Done { steps, skipped })
    }
}

/// One run through the steps.
struct Tour<'a, 'b> {
    context: &'a mut Context<'b>,
    interrupt: Interrupt,
    config: PathBuf,
    socket: PathBuf,
    directory: PathBuf,
    password: Secret,
    steps: Vec<Step>,
    skipped: Vec<String>,
}

/// What there is of Dovecot.
#[derive(Default)]
struct Asked {
    programs: Option<Programs>,
    private: Option<Dovecot>,
}

/// A command that was run, and how it ended.
struct Step {
    command: String,
    exit: u8,
}

impl<'a, 'b> Tour<'a, 'b> {
    fn new(place: &Place, context: &'a mut Context<'b>, interrupt: Interrupt) -> Self {
        Self {
            context,
            interrupt,
            config: place.path().join("dovelatch.toml"),
            socket: place.path().join("lua"),
            directory: place.path().to_owned(),
            password: Secret::default(),
            steps: Vec::new(),
            skipped: Vec::new(),
        }
    }

    /// The configuration, the database, the daemon, and the first log-ins.
    fn issue_and_sign_in(&mut self) -> Result<Running, Error> {
        self.write_config()?;
        if let Ok(program) = std::env::current_exe() {
            self.say(format_args!("dovelatch is {}\n", program.display()))?;
        }
        let directory = self.directory.display().to_string();
        self.say(format_args!("Everything is in {directory}\n\n"))?;

        self.say(format_args!("A mailbox, and the database with it:\n"))?;
        self.command(&["mailbox", "add", MAILBOX], Exit::Done)?;

        self.say(format_args!(
            "The daemon; here it runs inside the demonstration:\n"
        ))?;
        let config = Config::load(&self.config)?;
        let daemon = Running::start(&config)?;
        let serve = self.line(&["serve"]);
        self.say(format_args!("  $ {serve}\n\n"))?;

        self.say(format_args!("A password for one device, shown once:\n"))?;
        let printed = self.command(&["add", MAILBOX, DEVICE], Exit::Done)?;
        self.password = Secret::new(printed.expose().trim_ascii().to_vec());

        self.say(format_args!(
            "A log-in with it, through the daemon's socket:\n"
        ))?;
        let password = self.password.clone();
        self.test(&password, Exit::Done)?;

        self.say(format_args!(
            "A wrong password of the right shape is refused:\n"
        ))?;
        let wrong = Password::generate()
            .map_err(|error| failed("make a wrong password", &error))?
            .shown();
        self.test(&wrong, Exit::Refused)?;
        Ok(daemon)
    }

    /// What Dovecot makes of it, where there is one.
    fn ask_through_dovecot(&mut self) -> Result<Asked, Error> {
        let programs = match Programs::find(self.context.environment().path.as_deref()) {
            Ok(programs) => programs,
            Err(skipped) => {
                self.skip("doveadm auth test", &skipped)?;
                self.skip("a message over IMAP", &skipped)?;
                return Ok(Asked::default());
            }
        };
        self.say(format_args!(
            "Dovecot {} asks the same socket:\n",
            programs.version()
        ))?;
        self.auth_test(&programs, Exit::Done)?;
        self.say(format_args!(
            "A private Dovecot in front of the daemon, and a mail program:\n"
        ))?;
        let started = programs.start(&self.directory, &self.socket, MAILBOX, &self.interrupt);
        let private = match started {
            Ok(dovecot) => Some(dovecot),
            Err(dovecot::Error::Skipped(skipped)) => {
                self.skip("a message over IMAP", &skipped)?;
                None
            }
            Err(dovecot::Error::Failed { step, cause }) => return Err(Error::Demo { step, cause }),
        };
        if let Some(dovecot) = &private {
            let read = dovecot.read_message(MAILBOX, &self.password);
            self.dovecot_step("reading a message over IMAP", read)?;
        }
        Ok(Asked {
            programs: Some(programs),
            private,
        })
    }

    /// The end of the password, at the daemon and at Dovecot.
    fn revoke(&mut self, asked: &Asked) -> Result<(), Error> {
        self.say(format_args!("The phone is lost:\n"))?;
        self.command(&["revoke", MAILBOX, DEVICE], Exit::Done)?;
        self.say(format_args!("From now on the same password is refused:\n"))?;
        let password = self.password.clone();
        self.test(&password, Exit::Refused)?;
        if let Some(programs) = &asked.programs {
            self.say(format_args!("To Dovecot, too:\n"))?;
            self.auth_test(programs, Exit::Refused)?;
        }
        if let Some(dovecot) = &asked.private {
            self.say(format_args!(
                "And to a mail program; these are the server's words, curl has its own:\n"
            ))?;
            let refused = dovecot.is_refused(MAILBOX, &password);
            self.dovecot_step("a revoked password at IMAP", refused)?;
        }
        Ok(())
    }

    /// Everything is kept up until somebody has seen enough.
    fn stay(&mut self, asked: &Asked) -> Result<(), Error> {
        let config = quoted(&self.config.to_string_lossy());
        self.say(format_args!(
            "Everything stays up until Ctrl-C. In another terminal:\n\n  \
             export DOVELATCH_CONFIG={config}\n  \
             dovelatch add {MAILBOX} tablet\n  \
             dovelatch test {MAILBOX}\n  \
             dovelatch list\n"
        ))?;
        if let Some(dovecot) = &asked.private {
            self.say(format_args!(
                "  curl --user {MAILBOX} imap://127.0.0.1:{}/\n",
                dovecot.port()
            ))?;
        }
        self.say(format_args!("\n"))?;
        self.interrupt.wait();
        Ok(())
    }

    /// Runs one of our own commands and shows it with what it said.
    fn command(&mut self, words: &[&str], expected: Exit) -> Result<Secret, Error> {
        let line = self.line(words);
        self.run(words, line, Input::Given(Secret::default()), expected)
    }

    /// `dovelatch test`, with a password on its standard input.
    fn test(&mut self, password: &Secret, expected: Exit) -> Result<(), Error> {
        let words = ["test", MAILBOX];
        let typed = String::from_utf8_lossy(password.expose()).into_owned();
        let line = format!("echo {typed} | {}", self.line(&words));
        self.run(&words, line, Input::Given(password.clone()), expected)?;
        Ok(())
    }

    fn run(
        &mut self,
        words: &[&str],
        line: String,
        input: Input,
        expected: Exit,
    ) -> Result<Secret, Error> {
        self.check_interrupt()?;
        let mut output = Output::memory();
        let arguments = self.arguments(words);
        let exit = super::run(&arguments, &Environment::default(), &mut output, input);
        let (out, err) = output.into_parts();
        let said = [String::from_utf8_lossy(out.expose()).into_owned(), err].concat();
        self.say(format_args!("  $ {line}\n{}\n", indented(&said)))?;
        if exit != expected {
            return Err(Error::Demo {
                step: format!("`{line}` ended with {}", exit.code()),
                cause: format!("{} was expected: {}", expected.code(), said.trim_end()),
            });
        }
        self.steps.push(Step {
            command: line,
            exit: exit.code(),
        });
        Ok(out)
    }

    /// `doveadm auth test` with the password that was issued.
    fn auth_test(&mut self, programs: &Programs, expected: Exit) -> Result<(), Error> {
        let step = "doveadm auth test";
        let answer =
            match programs.auth_test(&self.directory, &self.socket, MAILBOX, &self.password) {
                Ok(answer) if answer.exit == expected.code() => Ok(answer),
                Ok(answer) => Err(answer.said),
                Err(dovecot::Error::Skipped(skipped)) => return self.skip(step, &skipped),
                Err(dovecot::Error::Failed { cause, .. }) => Err(cause),
            };
        self.dovecot_step(step, answer)
    }

    /// Shows what Dovecot answered, or that it did not answer so.
    fn dovecot_step(
        &mut self,
        step: &str,
        answer: Result<dovecot::Answer, String>,
    ) -> Result<(), Error> {
        let answer = answer.map_err(|cause| Error::Demo {
            step: step.to_owned(),
            cause,
        })?;
        self.say(format_args!(
            "  $ {}\n{}\n",
            answer.command,
            indented(&answer.said)
        ))?;
        self.steps.push(Step {
            command: answer.command,
            exit: answer.exit,
        });
        Ok(())
    }

    fn skip(&mut self, what: &str, skipped: &Skipped) -> Result<(), Error> {
        self.say(format_args!("skipped: {what}: {skipped}\n\n"))?;
        self.skipped.push(format!("{what}: {skipped}"));
        Ok(())
    }

    fn check_interrupt(&self) -> Result<(), Error> {
        if self.interrupt.came() {
            return Err(Error::Interrupted);
        }
        Ok(())
    }

    fn say(&mut self, text: fmt::Arguments<'_>) -> Result<(), Error> {
        self.context.output.narrate(text)
    }

    fn arguments(&self, words: &[&str]) -> Vec<OsString> {
        let global = [
            "dovelatch".into(),
            "--config".into(),
            self.config.clone().into_os_string(),
        ];
        global
            .into_iter()
            .chain(words.iter().map(OsString::from))
            .collect()
    }

    /// The same command line for a shell.
    fn line(&self, words: &[&str]) -> String {
        format!(
            "dovelatch --config {} {}",
            quoted(&self.config.to_string_lossy()),
            words.join(" ")
        )
    }

    /// The Dovecot of the host, if there is one, is not asked to end anything.
    fn write_config(&self) -> Result<(), Error> {
        let toml = |path: &Path| Value::String(path.to_string_lossy().into_owned());
        let text = format!(
            "database = {}\n\n[[listen]]\ntype = \"auth\"\nname = \"lua\"\npath = {}\nfailure_delay = \"0s\"\n\n[dovecot]\nkick = \"off\"\n",
            toml(&self.directory.join("dovelatch.db")),
            toml(&self.socket),
        );
        std::fs::write(&self.config, text).map_err(|source| Error::DemoPlace {
            path: self.directory.clone(),
            source,
        })
    }
}

/// For programs: which commands were run and how they ended.
struct Done {
    steps: Vec<Step>,
    skipped: Vec<String>,
}

impl Answer for Done {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Every step behaved; nothing is left behind.")
    }

    fn json(&self) -> Value {
        let step = |step: &Step| json!({ "command": step.command, "exit": step.exit });
        json!({
            "steps": self.steps.iter().map(step).collect::<Vec<_>>(),
            "skipped": self.skipped,
        })
    }
}

fn failed(step: &str, error: &impl fmt::Display) -> Error {
    Error::Demo {
        step: format!("cannot {step}"),
        cause: error.to_string(),
    }
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|line| format!("  {}\n", shown(line)))
        .collect()
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
