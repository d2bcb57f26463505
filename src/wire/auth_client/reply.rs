//! From the server to the client, after the greeting.

use nom::Parser;
use nom::combinator::rest;
use nom::multi::many0;

use super::{Fields, RequestId, request_id};
use crate::wire::cell::{cell, whole, word};
use crate::wire::escape::field;

/// What became of a request. Every [`RequestId`] gets one [`Self::Ok`] or [`Self::Fail`] at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `CONT`: the mechanism asks for more. The challenge is base64, perhaps empty.
    Continue {
        id: RequestId,
        challenge: String,
    },
    /// The first field is `user=`.
    Ok {
        id: RequestId,
        fields: Fields,
    },
    Fail {
        id: RequestId,
        fields: Fields,
    },
    /// Only for a client that announced minor 4: earlier ones break on the word.
    Cancelled {
        id: RequestId,
    },
}

/// A line that is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server's line is no reply")]
pub struct NoReply;

impl Reply {
    /// Appends the line, LF included.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (word, id) = match self {
            Self::Continue { id, .. } => ("CONT", id),
            Self::Ok { id, .. } => ("OK", id),
            Self::Fail { id, .. } => ("FAIL", id),
            Self::Cancelled { id } => ("CANCELLED", id),
        };
        out.extend_from_slice(format!("{word}\t{}", id.get()).as_bytes());
        match self {
            Self::Continue { challenge, .. } => {
                // With its TAB even where it is empty: Postfix, Exim and login processes insist.
                out.push(b'\t');
                out.extend_from_slice(challenge.as_bytes());
            }
            Self::Ok { fields, .. } | Self::Fail { fields, .. } => fields.encode(out),
            Self::Cancelled { .. } => {}
        }
        out.push(b'\n');
    }

    /// Reads one line of the server.
    ///
    /// # Errors
    ///
    /// [`NoReply`] for any other line.
    pub fn parse(line: &[u8]) -> Result<Self, NoReply> {
        let (word, line) = word(line);
        let reply = match word {
            b"CONT" => whole(
                (cell(request_id), cell(challenge), many0(cell(field))),
                line,
            )
            .map(|(id, challenge, _channel_binding)| Self::Continue { id, challenge }),
            b"OK" => whole((cell(request_id), Fields::parser()), line)
                .map(|(id, fields)| Self::Ok { id, fields }),
            b"FAIL" => whole((cell(request_id), Fields::parser()), line)
                .map(|(id, fields)| Self::Fail { id, fields }),
            b"CANCELLED" => {
                whole((cell(request_id), rest), line).map(|(id, _)| Self::Cancelled { id })
            }
            _ => None,
        };
        reply.ok_or(NoReply)
    }
}

/// Base64, which is ASCII and has nothing to escape.
fn challenge(line: &[u8]) -> nom::IResult<&[u8], String> {
    nom::combinator::map_opt(field, |text| {
        String::from_utf8(text.expose().to_vec())
            .ok()
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()))
    })
    .parse(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(reply: &Reply) -> Vec<u8> {
        let mut out = Vec::new();
        reply.encode(&mut out);
        out
    }

    fn any_reply() -> impl Strategy<Value = Reply> {
        let id = || any::<std::num::NonZeroU32>().prop_map(RequestId);
        prop_oneof![
            (id(), "[A-Za-z0-9+/=]{0,12}")
                .prop_map(|(id, challenge)| Reply::Continue { id, challenge }),
            (id(), Fields::any()).prop_map(|(id, fields)| Reply::Ok { id, fields }),
            (id(), Fields::any()).prop_map(|(id, fields)| Reply::Fail { id, fields }),
            id().prop_map(|id| Reply::Cancelled { id }),
        ]
    }

    #[test]
    fn replies_look_as_stock_dovecot_writes_them() {
        let id = RequestId::new(7).unwrap();
        let reason = "Authentication request timed out";
        for (reply, line) in [
            (
                Reply::Continue {
                    id,
                    challenge: String::new(),
                },
                "CONT\t7\t\n",
            ),
            (
                Reply::Continue {
                    id,
                    challenge: "VXNlcm5hbWU6".into(),
                },
                "CONT\t7\tVXNlcm5hbWU6\n",
            ),
            (
                Reply::Fail {
                    id,
                    fields: Fields::default(),
                },
                "FAIL\t7\n",
            ),
            (
                Reply::Fail {
                    id,
                    fields: Fields::default().with("reason", reason),
                },
                "FAIL\t7\treason=Authentication request timed out\n",
            ),
            (
                Reply::Fail {
                    id,
                    fields: Fields::default()
                        .with("code", "temp_fail")
                        .with_word("temp"),
                },
                "FAIL\t7\tcode=temp_fail\ttemp\n",
            ),
            (
                Reply::Ok {
                    id,
                    fields: Fields::default().with("user", "a=b\tc@example.org"),
                },
                "OK\t7\tuser=a=b\x01tc@example.org\n",
            ),
            (Reply::Cancelled { id }, "CANCELLED\t7\n"),
        ] {
            assert_eq!(encoded(&reply), line.as_bytes());
            assert_eq!(
                Reply::parse(line.trim_end_matches('\n').as_bytes()),
                Ok(reply)
            );
        }
    }

    #[test]
    fn a_challenge_without_its_tab_is_no_reply() {
        assert_eq!(Reply::parse(b"CONT\t1"), Err(NoReply));
        assert_eq!(Reply::parse(b"OK"), Err(NoReply));
        assert_eq!(Reply::parse(b"OK\t0"), Err(NoReply));
        assert_eq!(Reply::parse(b"NOTFOUND\t1"), Err(NoReply));
    }

    proptest! {
        #[test]
        fn every_reply_survives_the_wire(reply in any_reply()) {
            let line = encoded(&reply);
            let (end, line) = line.split_last().unwrap();
            prop_assert_eq!(*end, b'\n');
            prop_assert!(!line.contains(&b'\n'), "a reply is one line");
            prop_assert_eq!(Reply::parse(line), Ok(reply));
        }

        #[test]
        fn no_bytes_from_a_server_panic(line: Vec<u8>, word in "(CONT|OK|FAIL|CANCELLED)\t1?\t?") {
            let _result = Reply::parse(&line);
            let _result = Reply::parse(&[word.as_bytes(), &line].concat());
        }
    }
}
