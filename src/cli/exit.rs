//! Exit codes. Documented in the README; each is reached in a test.

use std::process::ExitCode;

/// An exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(u8);

/// Done, or nothing to do.
pub const DONE: Exit = Exit(0);
/// Failed; nothing was changed.
pub const FAILED: Exit = Exit(1);
/// Changes are pending (`plan --detailed-exitcode`, `drift`).
pub const PENDING: Exit = Exit(2);
/// Something is held: blocked or unknown.
pub const HELD: Exit = Exit(3);
/// Something was changed, and something failed, was held, rolled back or cancelled.
pub const PARTIAL: Exit = Exit(4);
/// Another run holds the lock.
pub const LOCKED: Exit = Exit(5);
/// The world, or the fleet's files, moved since the plan was made.
pub const STALE: Exit = Exit(6);
/// The command line makes no sense.
pub const USAGE: Exit = Exit(64);
/// The fleet or a secret file is invalid.
pub const INVALID: Exit = Exit(65);

impl Exit {
    /// Returns the code a command on another machine ended with: what it means is that command's business.
    pub fn of_command(code: u32) -> Self {
        Self(u8::try_from(code).unwrap_or(255))
    }

    /// Returns the number.
    pub fn code(self) -> u8 {
        self.0
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.0.into()
    }
}
