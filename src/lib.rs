//! dovelatch: device passwords for Dovecot and Postfix.
//!
//! A log-in goes from byte to verdict through these modules, in this order: `server` (sockets) →
//! [`wire`] (lines and fields) → [`session`] and [`sasl`] (one connection as a pure state machine) →
//! [`attempt`] (the question, the answer) → [`verify`] (what is looked up, hashed and decided when;
//! [`verify::decide`] is the only place that says yes) → [`store`] (SQLite). An operator's commands go
//! `cli` → `admin` → [`store`] instead. `ARCHITECTURE.md` is the map with the reasons.

pub mod admin;
pub mod attempt;
pub mod cli;
pub mod clock;
pub mod config;
mod dumping;
pub mod kick;
pub mod model;
pub mod password;
pub mod query;
pub mod random;
pub mod sasl;
pub mod secret;
pub mod server;
pub mod session;
pub mod store;
pub mod telemetry;
pub mod uses;
pub mod verify;
pub mod wire;
