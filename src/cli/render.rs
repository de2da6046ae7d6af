//! Turns what commands found into text. Decides nothing.

use std::io::Write;

pub mod error;
pub mod plan;
pub mod problems;
pub mod progress;
pub mod style;
pub mod table;

/// Prints a line on standard output. A reader that went away (`claw plan | head`) is no error.
pub fn out(text: impl std::fmt::Display) {
    let _ = writeln!(anstream::stdout(), "{text}");
}

/// Prints a line on standard error.
pub fn err(text: impl std::fmt::Display) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Prints facts as JSON on standard output.
pub fn json(value: &impl serde::Serialize) {
    let text = serde_json::to_string_pretty(value).expect("facts are plain data");
    out(text);
}
