//! Base64 of the standard alphabet, padded, in the one strict way.

use data_encoding::BASE64;

use crate::secret::Secret;

pub fn encode(bytes: &Secret) -> Secret {
    Secret::new(BASE64.encode(bytes.expose()).into_bytes())
}

/// Base64 of what is not secret.
pub fn encode_str(text: &str) -> String {
    BASE64.encode(text.as_bytes())
}

/// `None` if it is not base64: a foreign character, missing or surplus padding, bits behind the end.
///
/// One LF at the end is forgiven, as stock Dovecot does.
pub fn decode(text: &Secret) -> Option<Secret> {
    let text = text.expose();
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    // The crate takes several padded texts in a row; SASL knows one.
    let body = text.get(..text.len().saturating_sub(4)).unwrap_or_default();
    if body.contains(&b'=') {
        return None;
    }
    let mut bytes = vec![0; BASE64.decode_len(text.len()).ok()?];
    let decoded = BASE64.decode_mut(text, &mut bytes);
    if let Ok(length) = decoded {
        bytes.truncate(length);
    }
    // Wrapped before the error is looked at: what was decoded until then is wiped too.
    let bytes = Secret::new(bytes);
    decoded.is_ok().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(text: &str) -> Option<Vec<u8>> {
        decode(&Secret::new(text.into())).map(|bytes| bytes.expose().to_vec())
    }

    #[test]
    fn only_the_one_strict_form_is_base64() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("\n", b""),
            ("eA==", b"x"),
            ("eA==\n", b"x"),
        ] {
            assert_eq!(decoded(text).as_deref(), Some(bytes), "{text:?}");
        }
        for text in [
            "!!!!", "eA", "eA=", "eA===", "eA==\n\n", "eA==\r\n", "eA= =", "=", "====", "A", "AAA",
            "eB==", "eA==eA==", "eA==AAAA", "-_-_", "e A=", "#", "é===",
        ] {
            assert_eq!(decoded(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes: Vec<u8>) {
            let secret = Secret::new(bytes);
            prop_assert_eq!(decode(&encode(&secret)), Some(secret));
        }

        #[test]
        fn no_text_panics(text: Vec<u8>) {
            let _result = decode(&Secret::new(text));
        }
    }
}
