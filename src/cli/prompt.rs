//! Asking people: for a password without echo, and whether they mean it.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use super::error::Error;
use super::output::Output;
use crate::secret::{Buffer, Secret};

/// Longest password that is read, in bytes: far beyond any that could be right.
const MAX_PASSWORD: usize = 1_024;

/// Longest text that is read, in bytes: some 250,000 names of the longest kind.
const MAX_TEXT: u64 = 64 * 1_024 * 1_024;

/// Longest answer to a question, in bytes.
const MAX_REPLY: u64 = 64;

/// Where answers come from.
#[derive(Debug)]
pub(crate) enum Input {
    /// Standard input of this process.
    Process,
    /// Given beforehand; nobody can be asked.
    Given(Secret),
}

impl Input {
    /// A password: asked for without echo on a terminal, else the first line of standard input. Never
    /// from an argument or the environment, where others could read it.
    ///
    /// # Errors
    ///
    /// [`Error::Input`] if it cannot be read.
    pub(crate) fn password(&self, prompt: &str) -> Result<Secret, Error> {
        let read = match self {
            Self::Given(password) => return Ok(password.clone()),
            Self::Process if io::stdin().is_terminal() => {
                rpassword::prompt_password(prompt).map(|typed| Secret::new(typed.into_bytes()))
            }
            Self::Process => first_line(),
        };
        read.map_err(|source| Error::Input {
            what: "the password",
            source,
        })
    }

    /// All of standard input. `what` names it in errors.
    ///
    /// # Errors
    ///
    /// [`Error::Input`] if it cannot be read, is longer than 64 MiB, or is no UTF-8.
    pub(crate) fn text(&self, what: &'static str) -> Result<String, Error> {
        let read = match self {
            Self::Given(text) => {
                String::from_utf8(text.expose().to_vec()).map_err(io::Error::other)
            }
            Self::Process => {
                let mut text = String::new();
                let mut input = io::stdin().lock().take(MAX_TEXT + 1);
                input.read_to_string(&mut text).map(|_| text)
            }
        };
        let within = |text: &String| u64::try_from(text.len()).is_ok_and(|size| size <= MAX_TEXT);
        let read = read.and_then(|text| match within(&text) {
            true => Ok(text),
            false => Err(io::Error::other("it is longer than 64 MiB")),
        });
        read.map_err(|source| Error::Input { what, source })
    }

    /// Goes on only if a person says yes. `act` names what needs the confirmation.
    ///
    /// # Errors
    ///
    /// [`Error::NotConfirmed`] for any other answer, [`Error::NeedsYes`] if nobody can be asked.
    pub(crate) fn confirm(
        &self,
        output: &mut Output,
        act: &'static str,
        question: &str,
    ) -> Result<(), Error> {
        match self {
            Self::Process if io::stdin().is_terminal() => {}
            Self::Process | Self::Given(_) => return Err(Error::NeedsYes { act }),
        }
        output.question(&format!("{question} [y/N] "));
        let mut reply = String::new();
        io::stdin()
            .lock()
            .take(MAX_REPLY)
            .read_line(&mut reply)
            .map_err(|source| Error::Input {
                what: "the answer",
                source,
            })?;
        if matches!(reply.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
            return Ok(());
        }
        Err(Error::NotConfirmed)
    }
}

/// The first line of standard input, without its end. Byte by byte: what the standard library reads ahead it
/// keeps in a buffer that nobody wipes.
fn first_line() -> io::Result<Secret> {
    let mut line = Buffer::with_capacity(MAX_PASSWORD);
    let mut byte = [0];
    while line.expose().len() < MAX_PASSWORD {
        let length = rustix::io::retry_on_intr(|| rustix::io::read(io::stdin(), &mut byte))?;
        if length == 0 || byte == *b"\n" {
            break;
        }
        line.extend(&byte);
    }
    let line = line.into_secret();
    Ok(match line.expose().strip_suffix(b"\r") {
        Some(text) => Secret::new(text.to_vec()),
        None => line,
    })
}
