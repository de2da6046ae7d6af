//! How a command fails: with an exit code, what happened, and what to do.

use claw_core::fleet::SourceFile;
use claw_core::problem::Problem;
use claw_core::provider::ApplyError;
pub use claw_core::text::chain;

use crate::exit::{self, Exit};

/// A command's failure.
#[derive(Debug)]
pub struct CommandError {
    /// The exit code.
    pub exit: Exit,
    /// What happened, a sentence without its full stop. Empty when the problems say it all.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// What is wrong in the files.
    pub problems: Vec<Problem>,
    /// The files the problems are in.
    pub sources: Vec<SourceFile>,
}

impl CommandError {
    /// Returns a failure with a code and a message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), help: None, problems: Vec::new(), sources: Vec::new() }
    }

    /// Returns a failure that changed nothing.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(exit::FAILED, message)
    }

    /// Returns a failure of the command line's words.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(exit::USAGE, message)
    }

    /// Returns a failure because files are invalid.
    pub fn invalid(mut problems: Vec<Problem>, sources: Vec<SourceFile>) -> Self {
        problems.sort_by(|a, b| a.at.cmp(&b.at));
        Self { problems, sources, ..Self::new(exit::INVALID, "") }
    }

    /// Says what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Returns the failure of something a provider was asked to do.
    pub fn from_step(error: ApplyError) -> Self {
        let exit = if error.changed { exit::PARTIAL } else { exit::FAILED };
        Self { help: error.help, ..Self::new(exit, format!("failed to {}", error.reason)) }
    }

    /// Returns a failure from an error and its causes. The error's text reads after "failed to".
    pub fn from_error(exit: Exit, error: &dyn std::error::Error) -> Self {
        Self::new(exit, format!("failed to {}", chain(error)))
    }
}

macro_rules! from_vault {
    ($($error:ty),*) => {$(
        impl From<$error> for CommandError {
            fn from(error: $error) -> Self {
                let help = error.help();
                Self::new(exit::INVALID, chain(&error)).help(help)
            }
        }
    )*};
}

from_vault!(claw_vault::VaultError, claw_vault::IdentityError, claw_vault::KeychainError, claw_vault::RecipientError);
