//! `dovelatch completions`: what the shell should know.

use clap::ValueEnum;

use super::args;
use super::context::Context;
use super::error::Error;

/// Print the completions of a shell
///
/// For example: dovelatch completions bash > /usr/share/bash-completion/completions/dovelatch
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub(crate) fn run(&self, context: &mut Context<'_>) -> Result<(), Error> {
        let shell = match self.shell {
            Shell::Bash => clap_complete::Shell::Bash,
            Shell::Zsh => clap_complete::Shell::Zsh,
            Shell::Fish => clap_complete::Shell::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut args::grammar(), "dovelatch", &mut script);
        context.output.text(&String::from_utf8_lossy(&script))
    }
}
