//! Prints a command's failure: what happened, where, what to do.

use serde_json::json;

use super::style::{BOLD, RED, paint};
use super::{err, problems};
use crate::error::CommandError;
use crate::exit;

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

/// Prints what clap has to say about a command line, or its help, and returns the exit code of that.
pub fn print_usage(error: &clap::Error) -> std::process::ExitCode {
    hide_typed_value();
    let text = error.render();
    if error.use_stderr() {
        err(text.ansi().to_string().trim_end());
        return exit::USAGE.into();
    }
    super::out(text.ansi().to_string().trim_end());
    exit::DONE.into()
}

/// A value that was typed behind `secret set NAME` is refused; it is not repeated into somebody's build log either.
fn hide_typed_value() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some(at) = words.windows(2).position(|pair| pair == ["secret", "set"]) else { return };
    for word in words[at + 2..].iter().filter(|word| !word.starts_with('-')).skip(1) {
        super::known().add("hidden", word);
    }
}

/// Lets a panic say what it says, without known secret values.
pub fn mask_panics() {
    std::panic::set_hook(Box::new(|panic| err(panic)));
}
