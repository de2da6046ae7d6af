//! `claw completions`: for the shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Outcome;
use crate::args::Cli;
use crate::exit;

/// Print completions for a shell
///
/// For bash: `claw completions bash > ~/.local/share/bash-completion/completions/claw`
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    /// Runs it.
    pub fn run(self) -> Outcome {
        clap_complete::generate(self.shell, &mut Cli::command(), "claw", &mut std::io::stdout());
        Ok(exit::DONE)
    }
}
