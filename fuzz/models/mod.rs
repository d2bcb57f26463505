//! What a session has to say to each event, worked out a second time: plain, from the protocol's rules, and
//! without a look at how the session does it.

pub mod auth_client;
pub mod auth_master;
