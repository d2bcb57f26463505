//! What is said over auth-client and auth-master sockets, word for word: each dialogue (the text files beside this
//! one; dialogue.rs says how they are written) is held with the auth service of stock Dovecot 2.3 and
//! 2.4 first and then with the real `dovelatch serve`, over a real Unix socket. Where the three do
//! not agree the file says so line by line, and why.
//!
//! Stock Dovecot comes out of the trees that `tests/trees` builds (stock.rs). Without root or without
//! a tree its half is ignored, and the kind of the test says why; ours (ours.rs) needs neither.

#![allow(
    unreachable_pub,
    reason = "nothing is reachable from outside a test program"
)]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that panics has failed, and may look at clock and environment"
)]

mod dialogue;
mod ours;
mod stock;
mod talk;
#[path = "../support/tested.rs"]
mod tested;
#[path = "../support/tree.rs"]
#[allow(
    dead_code,
    reason = "shared with tests/interop, which needs more of it"
)]
mod tree;
#[path = "../support/wait.rs"]
mod wait;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use crate::dialogue::{Dialogue, Server};
use crate::ours::Ours;
use crate::stock::Stock;
use crate::tree::Tree;

/// What a dialogue needs to know of a server that answers.
#[derive(Debug)]
pub struct Account {
    /// Auth-client.
    pub client: PathBuf,
    /// Auth-master, all commands.
    pub master: PathBuf,
    /// Auth-master, without REQUEST and CACHE-FLUSH.
    pub userdb: PathBuf,
    /// The good password of bob@example.org.
    pub password: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let dialogues = dialogue::all();
    let bookworm = Arc::new(Stock::new(Tree::Bookworm));
    let trixie = Arc::new(Stock::new(Tree::Trixie));
    let ours = Arc::new(Ours::default());
    let mut trials = Vec::new();
    for dialogue in dialogues.into_iter().map(Arc::new) {
        for (server, stock) in [(Server::Stock23, &bookworm), (Server::Stock24, &trixie)] {
            let (stock, unusable) = (Arc::clone(stock), stock.unusable());
            trials.push(trial(server, &dialogue, unusable, move || stock.account()));
        }
        let ours = Arc::clone(&ours);
        trials.push(trial(Server::Ours, &dialogue, None, move || ours.account()));
    }
    // The servers end when the last trial that holds them is gone.
    drop((bookworm, trixie, ours));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// One dialogue with one server, or what stands in for it where that cannot run.
fn trial(
    server: Server,
    dialogue: &Arc<Dialogue>,
    unusable: Option<String>,
    account: impl Fn() -> Account + Send + 'static,
) -> Trial {
    let name = format!("{}::{}", server.name(), dialogue.title);
    let Some(reason) = unusable else {
        let dialogue = Arc::clone(dialogue);
        return Trial::test(name, move || {
            let held = talk::hold(&dialogue, server, &account());
            drop(account); // Not earlier: the server may go with it.
            held.map_err(Into::into)
        });
    };
    let kind = format!("skipped: {reason}");
    // Asked for all the same with --ignored, it must not look like a success.
    Trial::test(name, move || Err(reason.into()))
        .with_kind(kind)
        .with_ignored_flag(true)
}
