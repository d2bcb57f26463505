//! The owner's name for a device password.

use std::fmt;
use std::str::FromStr;

use super::name::is_invisible;

/// Longest label in characters.
pub(super) const MAX_LABEL: usize = 64;

/// Why a text is no label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    #[error("the label is empty")]
    Empty,
    #[error("the label is longer than {MAX_LABEL} characters")]
    TooLong,
    #[error("the label begins or ends with a blank")]
    Blanks,
    #[error("{0:?} is not allowed in a label")]
    Character(char),
}

/// By what the owner recognises a device: `phone`, `Bob's tablet`. Case-sensitive, 1 to
/// [`MAX_LABEL`] characters, without control characters and without blanks at the ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label(String);

impl Label {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        if text.is_empty() {
            return Err(LabelError::Empty);
        }
        if text.chars().count() > MAX_LABEL {
            return Err(LabelError::TooLong);
        }
        if let Some(character) = text.chars().find(|&c| c.is_control() || is_invisible(c)) {
            return Err(LabelError::Character(character));
        }
        if text.trim() != text {
            return Err(LabelError::Blanks);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_against_the_rule_are_refused_for_the_right_reason() {
        for (text, error) in [
            ("", LabelError::Empty),
            (" phone", LabelError::Blanks),
            ("phone\u{a0}", LabelError::Blanks),
            ("a\u{1b}[31m", LabelError::Character('\u{1b}')),
            ("a\nb", LabelError::Character('\n')),
            ("a\u{202e}b", LabelError::Character('\u{202e}')),
        ] {
            assert_eq!(text.parse::<Label>(), Err(error), "{text:?}");
        }
        assert_eq!(
            "é".repeat(MAX_LABEL + 1).parse::<Label>(),
            Err(LabelError::TooLong)
        );
        assert!("é".repeat(MAX_LABEL).parse::<Label>().is_ok());
        assert_eq!(
            "Bob's tablet".parse::<Label>().unwrap().as_str(),
            "Bob's tablet"
        );
    }
}
