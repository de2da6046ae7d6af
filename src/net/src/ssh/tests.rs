//! SSH against real sshd processes on the loopback interface.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod bed;
mod commands;
mod files;
mod keys;
mod limits;
mod losses;
mod streams;
