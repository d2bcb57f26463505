//! The Dovecot auth protocols as bytes: lines, fields, escapes, commands and replies.
//!
//! Every parser here sees one complete line without its line end ([`line`] does the framing), is
//! total (any bytes give a value or an error, never a panic), and has its inverse beside it: the
//! daemon parses commands and encodes replies, `dovelatch test` does it the other way round.

pub mod auth_client;
pub mod auth_master;
mod cell;
pub mod escape;
mod field;
pub mod line;
