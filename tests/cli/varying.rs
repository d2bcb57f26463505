//! What differs from run to run, replaced by what it is.

/// Values that were seen, so that the same one always reads the same.
#[derive(Debug, Default)]
pub(crate) struct Varying {
    passwords: Vec<String>,
    ids: Vec<String>,
    accesses: Vec<String>,
}

impl Varying {
    /// The text with placeholders in place of the values.
    pub(crate) fn hide(&mut self, text: &str) -> String {
        let mut hidden = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let word_begins = !hidden.ends_with(|c: char| c.is_ascii_alphanumeric());
            let found = word_begins.then(|| self.value(rest)).flatten();
            let (placeholder, length) = found.unwrap_or((first.to_string(), first.len_utf8()));
            hidden += &placeholder;
            rest = &rest[length..];
        }
        hidden
    }

    /// The text with values in place of the placeholders.
    pub(crate) fn reveal(&self, text: &str) -> String {
        let mut revealed = text.to_owned();
        for (name, values) in [
            ("PASSWORD", &self.passwords),
            ("ID", &self.ids),
            ("ACCESS", &self.accesses),
        ] {
            for (number, value) in (1..).zip(values) {
                revealed = revealed.replace(&format!("[{name}:{number}]"), value);
            }
        }
        revealed
    }

    /// What `text` begins with, and how long it is there.
    fn value(&mut self, text: &str) -> Option<(String, usize)> {
        const PASSWORD: &str = "aaaa-aaaa-aaaa-aaaa-aaaa";
        const ID: &str = "dp-aaaaaaaaaa";
        const ACCESS: &str = "ac-aaaaaaaaaa";
        const OLD: &str = "old-aaaaaaaa";
        const STAMP: &str = "0000-00-00T00:00:00Z";
        const TIME: &str = "0000-00-00 00:00";
        if is_like(text, PASSWORD) {
            Some((numbered("PASSWORD", &mut self.passwords, &text[..24]), 24))
        } else if is_like(text, ID) {
            Some((numbered("ID", &mut self.ids, &text[..13]), 13))
        } else if is_like(text, ACCESS) {
            Some((numbered("ACCESS", &mut self.accesses, &text[..13]), 13))
        } else if is_like(text, OLD) {
            Some(("old-[RANDOM]".to_owned(), OLD.len()))
        } else if is_like(text, STAMP) {
            Some(("[TIME]".to_owned(), STAMP.len()))
        } else if is_like(text, TIME) {
            Some(("[TIME]".to_owned(), TIME.len()))
        } else {
            let digits = text.bytes().take_while(u8::is_ascii_digit).count();
            let size = digits > 0 && text[digits..].starts_with(" KiB");
            size.then(|| ("[SIZE]".to_owned(), digits))
        }
    }
}

/// Whether `text` begins like `shape`: `a` is a small letter, `0` a digit, the rest itself.
fn is_like(text: &str, shape: &str) -> bool {
    let fits = |(c, shape): (char, char)| match shape {
        'a' => c.is_ascii_lowercase(),
        '0' => c.is_ascii_digit(),
        other => c == other,
    };
    text.len() >= shape.len() && text.chars().zip(shape.chars()).all(fits)
}

fn numbered(name: &str, values: &mut Vec<String>, value: &str) -> String {
    let known = values.iter().position(|known| known == value);
    let index = known.unwrap_or_else(|| {
        values.push(value.to_owned());
        values.len() - 1
    });
    format!("[{name}:{}]", index + 1)
}
