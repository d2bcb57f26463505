//! What is fuzzed.

use crate::random::Random;
use crate::signature::Signature;
use crate::targets;

/// One of them: something that takes bytes, and what must hold whatever they are.
#[derive(Debug)]
pub struct Target {
    /// By which `fuzz/run` and the corpus call it.
    pub name: &'static str,
    /// One execution. Panics where something does not hold.
    pub run: fn(&[u8], &mut Signature),
    /// A piece of an input that makes sense: chance alone seldom finds valid base64 or a PHC string.
    pub piece: fn(&mut Random) -> Vec<u8>,
    /// Words of its language.
    pub words: &'static [&'static [u8]],
    /// Longest input in bytes.
    pub longest: usize,
    /// Whether an input is a script, one event a line, so that lines are what is mixed.
    pub is_script: bool,
    /// Executions of its short form, which `cargo test` runs: about a second, in the profile of tests.
    pub short: u64,
}

/// All of them.
pub fn all() -> &'static [Target] {
    &[
        targets::line::TARGET,
        targets::escape::TARGET,
        targets::auth_client::COMMANDS,
        targets::auth_client::REPLIES,
        targets::auth_master::COMMANDS,
        targets::auth_master::REPLIES,
        targets::sasl::BASE64,
        targets::sasl::PLAIN,
        targets::sasl::LOGIN,
        targets::phc::TARGET,
        targets::typed::TARGET,
        targets::names::TARGET,
        targets::userdb::TARGET,
        targets::words::TARGET,
        targets::config::TARGET,
        targets::session_client::TARGET,
        targets::session_master::TARGET,
        targets::session_direct::TARGET,
    ]
}

pub fn named(name: &str) -> Option<&'static Target> {
    all().iter().find(|target| target.name == name)
}
