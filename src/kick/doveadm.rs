//! The command `doveadm`, with a time-out: where anvil itself cannot be asked, and for Dovecot 2.3.
//!
//! No shell is between us and it. What it says is read up to a bound; when the time is over it is killed,
//! and waited for.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use super::command::{self, Kick, Series};
use super::rounds::{Next, Rounds};
use super::{Target, now, pause};
use crate::config::Dovecot;

/// Most that is kept of what it says, in bytes; its list of commands has 3,000. The rest is read and forgotten.
const MAX_OUTPUT: usize = 16 * 1024;

/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(5);

/// How long the rest of its words may take when it has ended: something it started may hold the pipe, and on
/// a busy machine the threads that read come late.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// `EX_NOHOST` (sysexits(3)): how 2.3 says "no users kicked". 2.4 ends with 0.
const NOBODY: i32 = 68;

/// Why doveadm ended nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("there is no {program:?}")]
    Absent { program: PathBuf },
    #[error("cannot run {program:?}")]
    Run { program: PathBuf, source: io::Error },
    #[error("`{line}` did not end in time")]
    Hangs { line: String },
    #[error("`{line}` failed ({status}): {said}")]
    Failed {
        line: String,
        status: ExitStatus,
        said: String,
    },
    #[error("doveadm knows no kick of Dovecot 2.3 or 2.4")]
    Version,
    #[error("there was no time left for all of them")]
    NoTime,
    #[error("{}", command::MASK)]
    Mask,
}

impl Trouble {
    /// Whether somebody with more rights would have got through. doveadm says so in words alone.
    pub(super) fn is_denied(&self) -> bool {
        match self {
            Self::Run { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
            Self::Failed { said, .. } => said.contains("Permission denied"),
            Self::Absent { .. }
            | Self::Hangs { .. }
            | Self::Version
            | Self::NoTime
            | Self::Mask => false,
        }
    }
}

/// A doveadm whose kick we know.
#[derive(Debug)]
pub(super) struct Doveadm<'a> {
    dovecot: &'a Dovecot,
    series: Series,
}

/// What became of it.
#[derive(Debug)]
pub(super) struct Outcome {
    /// How many kicks were run in the first round.
    pub(super) kicks: usize,
    /// The first thing that went wrong, and the targets whose sessions it left open.
    pub(super) trouble: Option<(Trouble, Vec<Target>)>,
}

/// What it said, once it ended.
struct Said {
    status: ExitStatus,
    out: String,
    err: String,
}

impl Said {
    fn failed(self, line: &str) -> Trouble {
        Trouble::Failed {
            line: line.to_owned(),
            status: self.status,
            said: self.err.lines().next().unwrap_or_default().to_owned(),
        }
    }
}

impl<'a> Doveadm<'a> {
    /// Asks it for its commands, which is what it says without arguments: it has no option that tells
    /// its version, and what counts is how it takes `-f`.
    ///
    /// # Errors
    ///
    /// [`Trouble::Absent`] and the others of one that cannot be asked.
    pub(super) fn find(dovecot: &'a Dovecot, deadline: Instant) -> Result<Self, Trouble> {
        let command = Command::new(&dovecot.doveadm);
        let said = run(command, "doveadm", dovecot, deadline)?;
        // Not as an error, but with the code of one.
        let series = (said.err.lines().chain(said.out.lines())).find_map(series);
        match series {
            Some(series) => Ok(Self { dovecot, series }),
            // It could not read its configuration, perhaps: then it says that, and not what it knows.
            None if said.err.contains("Fatal:") => Err(said.failed("doveadm")),
            None => Err(Trouble::Version),
        }
    }

    pub(super) fn series(&self) -> Series {
        self.series
    }

    /// Kicks in rounds. The first thing that goes wrong ends it: what one command cannot do, the next
    /// hundred cannot either. `addresses` is asked anew in each round.
    pub(super) fn end(
        &self,
        targets: &[Target],
        addresses: &mut dyn FnMut(&Target) -> BTreeSet<IpAddr>,
        mut rounds: Rounds,
    ) -> Outcome {
        let (masks, targets): (Vec<&Target>, Vec<&Target>) =
            (targets.iter()).partition(|target| command::is_mask(self.series, target));
        let mut kicks = 0;
        let mut trouble = None;
        while let Next::After(time) = rounds.next(now()) {
            let is_first = rounds.is_first();
            pause(time);
            rounds.begin(now());
            let (done, result) = self.round(&targets, addresses, rounds.deadline());
            // An address may become known in a later round only.
            kicks = kicks.max(done.kicks);
            match result {
                Ok(()) => {}
                // All were kicked once; a repetition that comes to its end is no failure.
                Err(Trouble::NoTime) if !is_first => break,
                Err(error) => {
                    let rest = targets.iter().skip(done.targets);
                    trouble = Some((error, rest.copied().cloned().collect::<Vec<_>>()));
                    break;
                }
            }
        }
        if !masks.is_empty() {
            let (_, left) = trouble.get_or_insert((Trouble::Mask, Vec::new()));
            left.extend(masks.into_iter().cloned());
        }
        Outcome { kicks, trouble }
    }

    fn round(
        &self,
        targets: &[&Target],
        addresses: &mut dyn FnMut(&Target) -> BTreeSet<IpAddr>,
        deadline: Instant,
    ) -> (Done, Result<(), Trouble>) {
        let mut done = Done::default();
        // Several devices may have used one address.
        let mut run = BTreeSet::new();
        for target in targets {
            let known = match self.series {
                Series::V23 => addresses(target),
                Series::V24 => BTreeSet::new(),
            };
            for kick in command::kicks(self.series, target, &known) {
                if run.contains(&kick) {
                    continue;
                }
                if let Err(error) = self.kick(&kick, deadline) {
                    return (done, Err(error));
                }
                run.insert(kick);
                done.kicks += 1;
            }
            done.targets += 1;
        }
        (done, Ok(()))
    }

    fn kick(&self, kick: &Kick, deadline: Instant) -> Result<(), Trouble> {
        if now() >= deadline {
            return Err(Trouble::NoTime);
        }
        let mut command = Command::new(&self.dovecot.doveadm);
        if let Some(config) = &self.dovecot.config {
            command.arg("-c").arg(config);
        }
        command.args(kick.arguments());
        let line = kick.to_string();
        let said = run(command, &line, self.dovecot, deadline)?;
        match said.status.code() {
            Some(0 | NOBODY) => Ok(()),
            Some(_) | None => Err(said.failed(&line)),
        }
    }
}

/// How far a round came.
#[derive(Default)]
struct Done {
    targets: usize,
    kicks: usize,
}

/// Which form of `kick` it takes, by the line of its list of commands. Nothing of another line.
fn series(line: &str) -> Option<Series> {
    let usage = line.trim_start().strip_prefix("kick ")?;
    if !usage.contains("<user mask>") {
        return None;
    }
    // 2.3 does not mention its "-f".
    Some(if usage.contains("[-f <") {
        Series::V24
    } else {
        Series::V23
    })
}

/// Runs one command to its end, or to the deadline's.
fn run(
    mut command: Command,
    line: &str,
    dovecot: &Dovecot,
    deadline: Instant,
) -> Result<Said, Trouble> {
    let program = || dovecot.doveadm.clone();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|source| {
        if source.kind() == io::ErrorKind::NotFound {
            return Trouble::Absent { program: program() };
        }
        Trouble::Run {
            program: program(),
            source,
        }
    })?;
    let said = (|| {
        let out = child.stdout.take().map(reader).transpose()?;
        let err = child.stderr.take().map(reader).transpose()?;
        let status = wait(&mut child, deadline)?;
        let until = deadline.min(now() + LAST_WORDS);
        Ok(status.map(|status| Said {
            status,
            out: words(out, until),
            err: words(err, until),
        }))
    })();
    match said {
        Ok(Some(said)) => Ok(said),
        Ok(None) => {
            end(&mut child);
            Err(Trouble::Hangs {
                line: line.to_owned(),
            })
        }
        Err(source) => {
            end(&mut child);
            Err(Trouble::Run {
                program: program(),
                source,
            })
        }
    }
}

/// Waits for its end; `None` where it did not come in time.
fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if now() >= deadline {
            return Ok(None);
        }
        pause(LOOK);
    }
}

/// Kills it and waits for it, so that no zombie stays. It may have ended by itself meanwhile.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Reads a pipe to its end on a thread of its own, so that a full one stops nothing.
fn reader(mut pipe: impl Read + Send + 'static) -> io::Result<Receiver<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::Builder::new().spawn(move || {
        let mut kept = Vec::new();
        let limit = u64::try_from(MAX_OUTPUT).unwrap_or(u64::MAX);
        // What came before a failure is still worth saying.
        let _ = pipe.by_ref().take(limit).read_to_end(&mut kept);
        let _ = io::copy(&mut pipe, &mut io::sink());
        let _ = sender.send(kept);
    })?;
    Ok(receiver)
}

fn words(reader: Option<Receiver<Vec<u8>>>, until: Instant) -> String {
    let patience = until.saturating_duration_since(now());
    let said = reader.and_then(|reader| reader.recv_timeout(patience).ok());
    String::from_utf8_lossy(&said.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_of_commands_decides_the_form() {
        for (said, expected) in [
            (
                "  kick         [-a <anvil socket path>] [-f <passdb field>] [-h <dest host>] <user mask>[|]<ip/bits>",
                Some(Series::V24),
            ),
            (
                "  kick         [-a <anvil socket path>] <user mask>[|]<ip/bits>",
                Some(Series::V23),
            ),
            (
                "  kick         [-a <anvil socket path>] [-f] <user mask>[|]<ip/bits>",
                Some(Series::V23),
            ),
            ("  kick         <session>", None),
            ("  proxy        kick|list", None),
            (
                "usage: doveadm [-Dv] [-f <formatter>] <command> [<args>]",
                None,
            ),
            ("", None),
        ] {
            assert_eq!(series(said), expected, "{said:?}");
        }
    }
}
