//! From the server to the client.

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::tag;
use nom::combinator::{map_opt, opt, value};

use super::{MasterId, master_id};
use crate::wire::cell::{cell, number, whole, word};
use crate::wire::escape::{escaped, field};
use crate::wire::field::Fields;

/// Longest line of a reply in bytes, its LF included: what Dovecot's master clients read
/// (`AUTH_MASTER_MAX_LINE_LENGTH`, `auth-master.c`). A longer one would end their connection.
pub const MAX_REPLY: usize = 8_192;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `USER`, to USER and REQUEST.
    User {
        id: MasterId,
        mailbox: String,
        fields: Fields,
    },
    /// `PASS`. The first field is `user=`.
    Pass { id: MasterId, fields: Fields },
    /// `NOTFOUND`: there is no such mailbox. LMTP bounces the mail for it.
    NotFound { id: MasterId },
    /// `FAIL`. Never with a reason: it would be shown to the remote user.
    Fail { id: MasterId },
    /// `LIST`: one name.
    Name { id: MasterId, mailbox: String },
    /// `DONE`: the end of a list.
    Done { id: MasterId, failed: bool },
    /// `OK`, to CACHE-FLUSH.
    Flushed { id: MasterId, count: u32 },
}

/// A line that is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server's line is no reply")]
pub struct NoReply;

impl Reply {
    /// Appends the line, LF included.
    ///
    /// It may be longer than [`MAX_REPLY`]; the session looks, and answers [`Self::Fail`] instead.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (word, id) = match self {
            Self::User { id, .. } => ("USER", id),
            Self::Pass { id, .. } => ("PASS", id),
            Self::NotFound { id } => ("NOTFOUND", id),
            Self::Fail { id } => ("FAIL", id),
            Self::Name { id, .. } => ("LIST", id),
            Self::Done { id, .. } => ("DONE", id),
            Self::Flushed { id, .. } => ("OK", id),
        };
        out.extend_from_slice(format!("{word}\t{}", id.0).as_bytes());
        let mut cell = |bytes: &[u8]| {
            out.push(b'\t');
            out.extend(escaped(bytes).flatten());
        };
        match self {
            Self::User {
                mailbox, fields, ..
            } => {
                cell(mailbox.as_bytes());
                fields.encode(out);
            }
            Self::Pass { fields, .. } => fields.encode(out),
            Self::Name { mailbox, .. } => cell(mailbox.as_bytes()),
            // With its TAB where nothing failed, too: as stock Dovecot writes it.
            Self::Done { failed, .. } => cell(if *failed { b"fail" } else { b"" }),
            Self::Flushed { count, .. } => cell(count.to_string().as_bytes()),
            Self::NotFound { .. } | Self::Fail { .. } => {}
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
            b"USER" => whole((cell(master_id), cell(text), Fields::parser()), line).map(
                |(id, mailbox, fields)| Self::User {
                    id,
                    mailbox,
                    fields,
                },
            ),
            b"PASS" => whole((cell(master_id), Fields::parser()), line)
                .map(|(id, fields)| Self::Pass { id, fields }),
            b"NOTFOUND" => whole((cell(master_id), Fields::parser()), line)
                .map(|(id, _fields)| Self::NotFound { id }),
            // Stock Dovecot adds `reason=` to some.
            b"FAIL" => whole((cell(master_id), Fields::parser()), line)
                .map(|(id, _reason)| Self::Fail { id }),
            b"LIST" => whole((cell(master_id), cell(text)), line)
                .map(|(id, mailbox)| Self::Name { id, mailbox }),
            b"DONE" => whole((cell(master_id), opt(cell(failed))), line)
                .map(|(id, failed)| (id, failed.unwrap_or_default()))
                .map(|(id, failed)| Self::Done { id, failed }),
            b"OK" => whole((cell(master_id), cell(number)), line)
                .map(|(id, count)| Self::Flushed { id, count }),
            _ => None,
        };
        reply.ok_or(NoReply)
    }
}

/// A name. Dovecot's own may be any bytes, ours never.
fn text(line: &[u8]) -> nom::IResult<&[u8], String> {
    map_opt(field, |text| String::from_utf8(text.expose().to_vec()).ok()).parse(line)
}

fn failed(line: &[u8]) -> nom::IResult<&[u8], bool> {
    alt((value(true, tag("fail")), value(false, tag("")))).parse(line)
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
        let id = || any::<u32>().prop_map(MasterId);
        prop_oneof![
            (id(), any::<String>(), Fields::any()).prop_map(|(id, mailbox, fields)| {
                Reply::User {
                    id,
                    mailbox,
                    fields,
                }
            }),
            (id(), Fields::any()).prop_map(|(id, fields)| Reply::Pass { id, fields }),
            id().prop_map(|id| Reply::NotFound { id }),
            id().prop_map(|id| Reply::Fail { id }),
            (id(), any::<String>()).prop_map(|(id, mailbox)| Reply::Name { id, mailbox }),
            (id(), any::<bool>()).prop_map(|(id, failed)| Reply::Done { id, failed }),
            (id(), any::<u32>()).prop_map(|(id, count)| Reply::Flushed { id, count }),
        ]
    }

    #[test]
    fn replies_look_as_stock_dovecot_writes_them() {
        let id = MasterId(0);
        let mailbox = || "bob@example.org".to_owned();
        for (reply, line) in [
            (
                Reply::User {
                    id: MasterId(924_319_745),
                    mailbox: mailbox(),
                    fields: Fields::default()
                        .with("uid", "5000")
                        .with("home", "/var/vmail/bob\t"),
                },
                "USER\t924319745\tbob@example.org\tuid=5000\thome=/var/vmail/bob\x01t\n",
            ),
            (
                Reply::Pass {
                    id,
                    fields: Fields::default().with("user", mailbox()),
                },
                "PASS\t0\tuser=bob@example.org\n",
            ),
            (Reply::NotFound { id }, "NOTFOUND\t0\n"),
            (Reply::Fail { id }, "FAIL\t0\n"),
            (
                Reply::Name {
                    id,
                    mailbox: mailbox(),
                },
                "LIST\t0\tbob@example.org\n",
            ),
            (Reply::Done { id, failed: false }, "DONE\t0\t\n"),
            (Reply::Done { id, failed: true }, "DONE\t0\tfail\n"),
            (Reply::Flushed { id, count: 2 }, "OK\t0\t2\n"),
        ] {
            assert_eq!(encoded(&reply), line.as_bytes());
            let line = line.strip_suffix('\n').unwrap();
            assert_eq!(Reply::parse(line.as_bytes()), Ok(reply), "{line:?}");
        }
    }

    #[test]
    fn what_stock_dovecot_says_besides_is_understood() {
        let id = MasterId(1);
        let fail = Ok(Reply::Fail { id });
        assert_eq!(Reply::parse(b"FAIL\t1\treason=Out of order"), fail);
        assert_eq!(
            Reply::parse(b"DONE\t1"),
            Ok(Reply::Done { id, failed: false })
        );
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for line in [
            "",
            "USER\t1",
            "USER\tx\tbob",
            "PASS",
            "LIST\t1",
            "LIST\t1\tbob\tana",
            "DONE\t1\tfailed",
            "OK\t1",
            "OK\t1\tx",
            "OK\t4294967296\t1",
            "VERSION\t1\t1",
        ] {
            assert_eq!(Reply::parse(line.as_bytes()), Err(NoReply), "{line:?}");
        }
        assert_eq!(Reply::parse(b"LIST\t1\t\xff"), Err(NoReply));
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
        fn no_bytes_from_a_server_panic(
            line: Vec<u8>,
            word in "(USER|PASS|NOTFOUND|FAIL|LIST|DONE|OK)\t1?\t?",
        ) {
            let _result = Reply::parse(&line);
            let _result = Reply::parse(&[word.as_bytes(), &line].concat());
        }
    }
}
