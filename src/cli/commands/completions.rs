//! `claw completions`: for the shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Outcome;
use crate::args::Cli;
use crate::exit;
use crate::render;

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
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "claw", &mut script);
        render::out(String::from_utf8_lossy(&script).trim_end());
        Ok(exit::DONE)
    }
}
