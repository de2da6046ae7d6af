//! SSH for claw: pinned host keys, ed25519 keys only, one multiplexed connection per server, limits on everything.
//!
//! It deliberately knows nothing of fleets, plans or providers, reads neither `~/.ssh` nor the environment, never
//! trusts a host key on first use, and prints nothing: what happens is told to an [`Observer`].
//!
//! Reading order: [`Target`] says where and with which [`Pin`]s and [`Key`]s, a [`Network`] holds what connections
//! share, a [`Connection`] does the work ([`Connection::exec`], [`Connection::process`], [`Connection::dial_tcp`],
//! [`Connection::dial_unix`], [`Connection::sftp`]), an [`SshError`] says what went wrong and what to do next.

mod access;
mod attempts;
mod connection;
mod error;
mod event;
mod exec;
mod files;
mod key;
mod login;
mod network;
mod pin;
mod policy;
mod process;
mod session;
mod stream;
mod target;

pub use connection::Connection;
pub use error::SshError;
pub use event::{Event, Happened, Observer, Report, State};
pub use exec::{Exec, Output, Status};
pub use files::{Entry, EntryKind, RemoteFile, Sftp};
pub use key::{Key, Passphrase};
pub use network::Network;
pub use pin::Pin;
pub use policy::{Patience, Policy};
pub use process::{Process, ProcessEvent, ProcessInput, Pty, Signal};
pub use stream::Stream;
pub use target::Target;

#[cfg(test)]
mod tests;
