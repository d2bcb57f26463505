//! One connection as a pure state machine: commands in, actions out.
//!
//! It knows the protocol and nothing else: whether a password is right is asked through an
//! [`Attempt`](crate::attempt::Attempt), and the answer may come at any time, or too late.

pub mod auth_client;
pub mod auth_master;
mod credentials;
pub mod finished;
