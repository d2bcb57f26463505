//! Names on the command line, or from standard input in place of `-`: thousands of them, if need be.

use std::str::FromStr;

use super::error::Error;
use super::prompt::Input;
use crate::model::NameError;

/// A name, or `-` for those on standard input.
#[derive(Debug, Clone)]
pub(crate) enum Name<T> {
    Typed(T),
    StandardInput,
}

impl<T: FromStr> FromStr for Name<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text == "-" {
            return Ok(Self::StandardInput);
        }
        text.parse().map(Self::Typed)
    }
}

/// All names that are meant, in their order. Of standard input, each line is one; empty ones do not
/// count.
///
/// # Errors
///
/// [`Error::Value`] for a line that is no name; [`Error::Input`] if standard input cannot be read.
pub(crate) fn all<T>(names: &[Name<T>], input: &Input) -> Result<Vec<T>, Error>
where
    T: FromStr<Err = NameError> + Clone,
{
    let mut all = Vec::new();
    for name in names {
        match name {
            Name::Typed(name) => all.push(name.clone()),
            Name::StandardInput => lines(&input.text("the names")?, &mut all)?,
        }
    }
    Ok(all)
}

fn lines<T: FromStr<Err = NameError>>(text: &str, names: &mut Vec<T>) -> Result<(), Error> {
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if line.is_empty() {
            continue;
        }
        let name = line.parse().map_err(|cause: NameError| Error::Value {
            value: line.to_owned(),
            argument: format!("NAME in line {number} of standard input"),
            cause: cause.to_string(),
        })?;
        names.push(name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Mailbox;
    use crate::secret::Secret;

    fn read(text: &[u8]) -> Result<Vec<Mailbox>, Error> {
        let names = ["ana@example.org".parse().unwrap(), "-".parse().unwrap()];
        all(&names, &Input::Given(Secret::new(text.to_vec())))
    }

    #[test]
    fn a_dash_stands_for_the_lines_of_standard_input() {
        let names = read(b"bob@example.org\r\n\n  Cora@example.org").unwrap();
        let names: Vec<&str> = names.iter().map(Mailbox::as_str).collect();
        assert_eq!(
            names,
            ["ana@example.org", "bob@example.org", "cora@example.org"]
        );
    }

    #[test]
    fn a_line_that_is_no_name_is_told_with_its_number() {
        let Err(Error::Value { argument, .. }) = read(b"bob@example.org\nb*b") else {
            panic!("accepted");
        };
        assert_eq!(argument, "NAME in line 2 of standard input");
        assert!(read(b"b\xff").is_err());
    }
}
