//! Turns what commands found into text. Decides nothing.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

pub mod error;
pub mod plan;
pub mod problems;
pub mod progress;
pub mod style;
pub mod table;

/// Set once a line could not be printed.
static OUTPUT_LOST: AtomicBool = AtomicBool::new(false);

/// Prints a line on standard output. A reader that went away (`claw plan | head`) is no error.
pub fn out(text: impl std::fmt::Display) {
    if let Err(error) = writeln!(anstream::stdout(), "{text}")
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        OUTPUT_LOST.store(true, Ordering::Relaxed);
    }
}

/// Whether something could not be printed: what reads it got less than it should.
pub fn output_lost() -> bool {
    let flushed = std::io::stdout().flush();
    let lost = flushed.is_err_and(|error| error.kind() != std::io::ErrorKind::BrokenPipe);
    lost || OUTPUT_LOST.load(Ordering::Relaxed)
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
