//! What a line looks like.

use std::fmt::{self, Write as _};
use std::sync::LazyLock;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock;
use crate::model::Timestamp;

/// Asked once: on Linux each question is a system call, and each line has it.
static PID: LazyLock<u32> = LazyLock::new(std::process::id);

/// Who reads the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// systemd's journal adds time and name; the level is a prefix like `<6>` (sd-daemon(3)).
    Journal,
    /// A person or a file: `2026-11-25T14:03:00Z dovelatch[812]: message field=value`.
    Plain,
}

impl Format {
    /// What stands in front of the message.
    pub(super) fn head(
        self,
        level: Level,
        now: Timestamp,
        out: &mut dyn fmt::Write,
    ) -> fmt::Result {
        let (number, word) = match level {
            Level::ERROR => (3, "error: "),
            Level::WARN => (4, "warning: "),
            Level::INFO => (6, ""),
            _ => (7, "debug: "),
        };
        match self {
            Self::Journal => write!(out, "<{number}>"),
            Self::Plain => write!(out, "{now:#} dovelatch[{}]: {word}", *PID),
        }
    }
}

impl<S, N> FormatEvent<S, N> for Format
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        self.head(*event.metadata().level(), clock::now(), &mut out)?;
        let mut line = Line {
            out: OneLine(&mut out),
            result: Ok(()),
        };
        event.record(&mut line);
        line.result?;
        out.write_char('\n')
    }
}

/// Writes the message, then ` name=value` for each field, in the order of the call.
struct Line<'a> {
    out: OneLine<'a>,
    result: fmt::Result,
}

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.result = self.result.and_then(|()| match field.name() {
            // tracing passes it first, whatever the order of the call.
            "message" => write!(self.out, "{value:?}"),
            name => write!(self.out, " {name}={value:?}"),
        });
    }

    /// The error and what caused it, on the same line.
    fn record_error(&mut self, field: &Field, error: &(dyn std::error::Error + 'static)) {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        self.record_debug(field, &text);
    }
}

/// A line stays a line, and shows what is in it, whoever put that there: control characters are written as
/// `\xNN`, and characters that are not seen, or turn the text around, as `\u{NNNN}`. Other letters than those
/// of ASCII stay: a path may have them. (Where a peer chose the text, [`ClientText`] was stricter before.)
///
/// [`ClientText`]: crate::model::ClientText
struct OneLine<'a>(&'a mut dyn fmt::Write);

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(is_unseen) {
            match part.chars().next_back().filter(|c| is_unseen(*c)) {
                Some(unseen) => {
                    self.0
                        .write_str(part.strip_suffix(unseen).unwrap_or(part))?;
                    match u32::from(unseen) {
                        control @ ..=0xff => write!(self.0, "\\x{control:02x}")?,
                        mark => write!(self.0, "\\u{{{mark:04x}}}")?,
                    }
                }
                None => self.0.write_str(part)?,
            }
        }
        Ok(())
    }
}

/// Controls (C0, DEL, C1); the separators of lines and paragraphs; all that steers the direction of a text (Unicode
/// Standard Annex #9) or has no width.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_character_cannot_begin_a_new_line() {
        let mut out = String::new();
        write!(OneLine(&mut out), "a\nauth ok: \u{1b}[31m\u{85}é").unwrap();
        assert_eq!(out, r"a\x0aauth ok: \x1b[31m\x85é");
    }

    #[test]
    fn nothing_turns_a_line_around_or_hides_in_it() {
        let mut out = String::new();
        write!(
            OneLine(&mut out),
            "a\u{202e}b\u{2066}\u{2028}c\u{feff}\u{ad}ü"
        )
        .unwrap();
        assert_eq!(out, r"a\u{202e}b\u{2066}\u{2028}c\u{feff}\xadü");
    }

    #[test]
    fn the_head_suits_its_reader() {
        let now = Timestamp::from_unix(1_795_615_380);
        let head = |format: Format, level| {
            let mut out = String::new();
            format.head(level, now, &mut out).unwrap();
            out
        };
        let pid = std::process::id();
        assert_eq!(head(Format::Journal, Level::INFO), "<6>");
        assert_eq!(head(Format::Journal, Level::WARN), "<4>");
        assert_eq!(
            head(Format::Plain, Level::INFO),
            format!("2026-11-25T14:03:00Z dovelatch[{pid}]: ")
        );
        assert!(head(Format::Plain, Level::ERROR).ends_with("]: error: "));
    }
}
