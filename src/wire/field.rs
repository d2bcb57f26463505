//! Fields of a reply, in both protocols: bare words and `key=value`.

use nom::Parser;
use nom::error::Error;
use nom::multi::many0;

use super::cell::cell;
use super::escape::{escaped, field};

/// `key=value`, or a bare word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

/// The fields of a reply, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<Field>);

impl Field {
    fn from_wire(text: &[u8]) -> Self {
        let mut parts = text.splitn(2, |&byte| byte == b'=');
        Self {
            key: parts.next().unwrap_or_default().to_vec(),
            value: parts.next().map(<[u8]>::to_vec),
        }
    }
}

impl Fields {
    /// Adds `key=value`. `key` has no `=`.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.0.push(Field {
            key: key.as_bytes().to_vec(),
            value: Some(value.as_ref().to_vec()),
        });
        self
    }

    /// Adds `key=value` if there is a value.
    #[must_use]
    pub fn with_some(self, key: &str, value: Option<impl AsRef<[u8]>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Adds a bare word without `=`.
    #[must_use]
    pub fn with_word(mut self, word: &str) -> Self {
        self.0.push(Field {
            key: word.as_bytes().to_vec(),
            value: None,
        });
        self
    }

    /// The value of `key`; empty for a bare word.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        let field = self.0.iter().find(|field| field.key == key.as_bytes())?;
        Some(field.value.as_deref().unwrap_or_default())
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for Field { key, value } in &self.0 {
            out.push(b'\t');
            out.extend(escaped(key).flatten());
            if let Some(value) = value {
                out.push(b'=');
                out.extend(escaped(value).flatten());
            }
        }
    }

    pub(super) fn parser<'a>() -> impl Parser<&'a [u8], Output = Self, Error = Error<&'a [u8]>> {
        many0(cell(field)).map(|fields| {
            let fields = fields.iter().map(|text| Field::from_wire(text.expose()));
            Self(fields.collect())
        })
    }

    #[cfg(test)]
    pub(super) fn any() -> impl proptest::strategy::Strategy<Value = Self> {
        use proptest::prelude::*;
        let field =
            ("[a-z_\t\u{1}]{1,8}", any::<Option<Vec<u8>>>()).prop_map(|(key, value)| Field {
                key: key.into_bytes(),
                value,
            });
        prop::collection::vec(field, 0..6).prop_map(Self)
    }
}
