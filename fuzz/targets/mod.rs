//! The targets, one file for each thing that is fuzzed. What each proves: README.md.

pub mod auth_client;
pub mod auth_master;
pub mod config;
pub mod escape;
pub mod line;
pub mod names;
pub mod phc;
pub mod sasl;
pub mod session_client;
pub mod session_direct;
pub mod session_master;
pub mod typed;
pub mod userdb;
pub mod words;
