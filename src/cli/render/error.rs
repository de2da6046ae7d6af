//! Prints a command's failure: what happened, where, what to do.

use serde_json::json;

use super::style::{BOLD, RED, paint};
use super::{err, problems};
use crate::error::CommandError;

/// Prints it to standard error, or as JSON to standard output.
pub fn print(error: &CommandError, as_json: bool) {
    if as_json {
        let found = problems::to_json(&error.problems, &error.sources);
        let message = if error.message.is_empty() { "the fleet is invalid" } else { &error.message };
        super::json(&json!({ "error": message, "help": error.help, "problems": found }));
        return;
    }
    if !error.problems.is_empty() {
        err(problems::draw(&error.problems, &error.sources));
    }
    if !error.message.is_empty() {
        err(format_args!("{} {}", paint(RED.bold(), "error:"), paint(BOLD, &error.message)));
    }
    if let Some(help) = &error.help {
        err(format_args!("  {} {help}", paint(BOLD, "help:")));
    }
}
