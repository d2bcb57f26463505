//! The only place that prints.
//!
//! An [`Answer`] can be said in three ways: in words for people, as one JSON document, or as the bare
//! ids and names for scripts. Answers go to standard output, everything else to standard error. An
//! output can also be kept in memory, which is how the demonstration shows commands with what they
//! said.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};

use serde_json::{Value, json};

use super::error::Error;
use super::password;
use crate::admin::Issued;
use crate::model::is_invisible;
use crate::secret::Secret;

/// How answers are said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Words,
    Json,
    Quiet,
}

/// What a command has to say.
pub(crate) trait Answer {
    fn words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
    fn json(&self) -> Value;
    /// What `--quiet` leaves: ids or names, one a line. Nothing unless said otherwise.
    fn quiet(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct Output {
    style: Style,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    Process,
    Memory { out: Vec<u8>, err: Vec<u8> },
}

impl Output {
    /// Standard output and standard error of this process.
    pub(crate) fn process() -> Self {
        Self {
            style: Style::Words,
            sink: Sink::Process,
        }
    }

    /// Kept in memory, as if standard output were a pipe.
    pub(crate) fn memory() -> Self {
        Self {
            style: Style::Words,
            sink: Sink::Memory {
                out: Vec::new(),
                err: Vec::new(),
            },
        }
    }

    /// What was said so far to standard output and to standard error; nothing for a process's own.
    pub(crate) fn into_parts(self) -> (Secret, String) {
        match self.sink {
            Sink::Process => (Secret::default(), String::new()),
            Sink::Memory { out, err } => {
                (Secret::new(out), String::from_utf8_lossy(&err).into_owned())
            }
        }
    }

    pub(crate) fn set_style(&mut self, style: Style) {
        self.style = style;
    }

    /// Says `answer` in the style asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Print`] where standard output cannot be written.
    pub(crate) fn answer(&mut self, answer: &impl Answer) -> Result<(), Error> {
        let text = match self.style {
            Style::Words => Said(|f: &mut fmt::Formatter<'_>| answer.words(f)).to_string(),
            Style::Quiet => Said(|f: &mut fmt::Formatter<'_>| answer.quiet(f)).to_string(),
            Style::Json => document(&answer.json()),
        };
        self.text(&text)
    }

    /// One of many answers, as it comes: with `--json` one object a line.
    ///
    /// # Errors
    ///
    /// As [`Self::answer`].
    pub(crate) fn entry(&mut self, entry: &impl Answer) -> Result<(), Error> {
        match self.style {
            Style::Words | Style::Quiet => self.answer(entry),
            Style::Json => self.text(&format!("{}\n", entry.json())),
        }
    }

    /// Text as it is, to standard output.
    ///
    /// # Errors
    ///
    /// As [`Self::answer`].
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Error> {
        Ok(self.write(text.as_bytes())?)
    }

    /// Text on the way to an answer, to standard output; not with `--quiet` or `--json`.
    ///
    /// # Errors
    ///
    /// As [`Self::answer`].
    pub(crate) fn narrate(&mut self, text: fmt::Arguments<'_>) -> Result<(), Error> {
        match self.style {
            Style::Words => self.text(&text.to_string()),
            Style::Json | Style::Quiet => Ok(()),
        }
    }

    /// Shows a new password, once: on a terminal with all that its owner must type, as a document
    /// with `--json`, and otherwise alone, for `dovelatch add … | qrencode`.
    ///
    /// # Errors
    ///
    /// If it cannot have been seen: the password must then be taken back. The null device counts,
    /// which is also what the runtime opens in place of a closed standard output.
    pub(crate) fn password(&mut self, issued: &Issued) -> io::Result<()> {
        if self.is_null_device() {
            return Err(io::Error::other(
                "standard output is closed, or is the null device",
            ));
        }
        match self.style {
            Style::Json => {
                let document = document(&password::document(issued)).into_bytes();
                self.write(Secret::new(document).expose())
            }
            Style::Words if self.is_terminal() => self.write(password::card(issued).expose()),
            Style::Words | Style::Quiet => {
                let line = Secret::new([issued.password.expose(), b"\n"].concat());
                self.write(line.expose())?;
                self.warn_if_readable_by_others();
                self.note(format_args!("{}", password::note(&issued.device)));
                Ok(())
            }
        }
    }

    /// For human eyes, to standard error; not with `--quiet` or `--json`.
    pub(crate) fn note(&mut self, text: fmt::Arguments<'_>) {
        match self.style {
            Style::Words => self.tell(&format!("{text}\n")),
            Style::Json | Style::Quiet => {}
        }
    }

    /// What happened beside the answer, to standard error, in every style.
    pub(crate) fn aside(&mut self, aside: &impl Answer) {
        let text = match self.style {
            Style::Words | Style::Quiet => {
                Said(|f: &mut fmt::Formatter<'_>| aside.words(f)).to_string()
            }
            Style::Json => document(&aside.json()),
        };
        self.tell(&text);
    }

    /// A question without its answer, to standard error.
    pub(crate) fn question(&mut self, text: &str) {
        self.tell(text);
    }

    /// What went wrong, to standard error.
    pub(crate) fn failed(&mut self, error: &Error) {
        let text = match self.style {
            Style::Json => document(&error.json()),
            Style::Words | Style::Quiet => error.to_text(),
        };
        self.tell(&text);
    }

    /// Whether standard output is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        match self.sink {
            Sink::Process => io::stdout().is_terminal(),
            Sink::Memory { .. } => false,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.sink {
            Sink::Process => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            Sink::Memory { out, .. } => out.write_all(bytes),
        }
    }

    /// Nothing can be done about a standard error that cannot be written.
    fn tell(&mut self, text: &str) {
        let _ = match &mut self.sink {
            Sink::Process => io::stderr().lock().write_all(text.as_bytes()),
            Sink::Memory { err, .. } => err.write_all(text.as_bytes()),
        };
    }

    fn is_null_device(&self) -> bool {
        let (Some(out), Ok(null)) = (self.metadata(), std::fs::metadata("/dev/null")) else {
            return false;
        };
        out.file_type().is_char_device() && out.rdev() == null.rdev()
    }

    fn warn_if_readable_by_others(&mut self) {
        let Some(out) = self.metadata() else { return };
        if out.is_file() && out.permissions().mode() & 0o044 != 0 {
            self.note(format_args!(
                "warning: others may read the file that the password was written to"
            ));
        }
    }

    fn metadata(&self) -> Option<std::fs::Metadata> {
        match self.sink {
            Sink::Process => {
                let copy = io::stdout().as_fd().try_clone_to_owned().ok()?;
                std::fs::File::from(copy).metadata().ok()
            }
            Sink::Memory { .. } => None,
        }
    }
}

/// Text for a terminal: what could steer it or be mistaken is written as `\u{…}`.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_invisible(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// As [`shown`], of several lines.
pub(crate) fn shown_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(shown).collect();
    lines.join("\n")
}

/// `"message"` with its cause and remedy, for [`Output::failed`].
impl Error {
    fn to_text(&self) -> String {
        if let Self::Usage { shown } = self {
            return shown.clone();
        }
        let mut text = format!("error: {self}\n");
        if let Some(cause) = self.cause() {
            text += &format!("cause: {}\n", shown(&cause));
        }
        if let Some(hint) = self.hint() {
            text += &format!("hint: {hint}\n");
        }
        text
    }

    fn json(&self) -> Value {
        json!({"error": {
            "code": self.code(),
            "message": self.message(),
            "cause": self.cause(),
            "hint": self.hint(),
        }})
    }
}

fn document(value: &Value) -> String {
    format!("{value:#}\n")
}

/// A closure that formats, as a value that can be formatted.
struct Said<F>(F);

impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> fmt::Display for Said<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0)(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_for_the_terminal_cannot_steer_it() {
        assert_eq!(shown("Bob's \"tablet\" é"), "Bob's \"tablet\" é");
        assert_eq!(
            shown("a\u{1b}[31m\n\u{202e}b"),
            r"a\u{1b}[31m\u{a}\u{202e}b"
        );
    }
}
