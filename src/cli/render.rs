//! Turns what commands found into text, and is the last writer: nothing reaches a standard stream but through here, and no
//! known secret value gets past. Decides nothing.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use claw_core::mask::{self, Known};

pub mod error;
pub mod events;
pub mod file;
pub mod findings;
pub mod github;
pub mod junit;
pub mod machine;
pub mod markdown;
pub mod plan;
pub mod problems;
pub mod progress;
pub mod prometheus;
pub mod style;
pub mod table;
pub mod tf_json;

/// Set once a line could not be printed.
static OUTPUT_LOST: AtomicBool = AtomicBool::new(false);

/// The secret values known to this process. One set for all of it, as there is one standard output: also a panic is written
/// without them. Whoever opens a value is handed it ([`crate::setup::Setup::known`]) and adds to it; only this module looks.
static KNOWN: LazyLock<Known> = LazyLock::new(Known::default);

/// Returns the set that whoever opens secret values adds to.
pub fn known() -> &'static Known {
    &KNOWN
}

/// Returns the text without known secret values: needed only where it is cut short or written to a file.
pub fn masked(text: &str) -> Cow<'_, str> {
    KNOWN.mask(text)
}

/// Prints a line on standard output. A reader that went away (`claw plan | head`) is no error.
pub fn out(text: impl Display) {
    unmasked(masked(&text.to_string()));
}

/// Prints a line on standard output as it is. For `claw secret get` alone, whose purpose is to show a value.
pub fn unmasked(text: impl Display) {
    if let Err(error) = writeln!(anstream::stdout(), "{text}")
        && error.kind() != ErrorKind::BrokenPipe
    {
        OUTPUT_LOST.store(true, Ordering::Relaxed);
    }
}

/// Prints a line of somebody else's on standard output, and says whether it could be printed.
pub fn line(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", masked(&text.to_string()))?;
    out.flush()
}

/// Whether something could not be printed: what reads it got less than it should.
pub fn output_lost() -> bool {
    let flushed = io::stdout().flush();
    let lost = flushed.is_err_and(|error| error.kind() != ErrorKind::BrokenPipe);
    lost || OUTPUT_LOST.load(Ordering::Relaxed)
}

/// Prints a line on standard error.
pub fn err(text: impl Display) {
    let _ = writeln!(anstream::stderr(), "{}", masked(&text.to_string()));
}

/// Prints a question on standard error; the answer stands behind it.
pub fn prompt(text: impl Display) {
    let mut stderr = anstream::stderr();
    // a terminal that is gone answers nothing either
    let _ = write!(stderr, "{}", masked(&text.to_string())).and_then(|()| stderr.flush());
}

/// Prints facts as JSON on standard output.
pub fn json(value: &impl serde::Serialize) {
    let text = serde_json::to_string_pretty(value).expect("facts are plain data");
    out(text);
}

/// Prints facts as JSON on one line of standard output.
pub fn json_line(value: &impl serde::Serialize) {
    out(serde_json::to_string(value).expect("facts are plain data"));
}

/// A standard stream for what comes from far away in pieces, byte by byte as it is but for known secret values.
pub struct Stream {
    masking: Mutex<mask::Stream>,
    is_out: bool,
}

impl Stream {
    /// Returns standard output.
    pub fn out() -> Self {
        Self { masking: Mutex::new(KNOWN.stream()), is_out: true }
    }

    /// Returns standard error.
    pub fn err() -> Self {
        Self { masking: Mutex::new(KNOWN.stream()), is_out: false }
    }

    /// Writes the next piece, but for what may be the beginning of a value.
    pub fn write(&self, piece: &[u8]) -> io::Result<()> {
        self.pass(self.masking.lock().unwrap_or_else(PoisonError::into_inner).push(piece))
    }

    /// Writes what was held back.
    pub fn finish(&self) -> io::Result<()> {
        self.pass(self.masking.lock().unwrap_or_else(PoisonError::into_inner).finish())
    }

    fn pass(&self, bytes: Vec<u8>) -> io::Result<()> {
        let write = |mut to: Box<dyn Write>| to.write_all(&bytes).and_then(|()| to.flush());
        if self.is_out { write(Box::new(io::stdout().lock())) } else { write(Box::new(io::stderr().lock())) }
    }
}
