//! A command or shell to talk to while it runs, with or without a terminal.
//!
//! It draws nothing and knows nothing of the local terminal: the caller carries bytes and sizes to and fro.

use std::sync::Arc;
use std::time::Duration;

use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelWriteHalf, Sig};
use tokio::sync::mpsc;

use crate::ssh::exec::{Running, agreed, status_in};
use crate::ssh::session::{Lease, Session};
use crate::ssh::stream::taken_within;
use crate::ssh::{Connection, SshError, Status};

/// Events waiting for the reader: with packets of 32 KiB at most 2 MiB.
const WAITING_MAX: usize = 64;

/// The terminal a process is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pty {
    /// What `TERM` is set to.
    pub term: String,
    /// Its width in characters.
    pub columns: u32,
    /// Its height in characters.
    pub rows: u32,
}

/// What comes out of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessEvent {
    /// Standard output; with a terminal, everything.
    Stdout(Vec<u8>),
    /// Standard error.
    Stderr(Vec<u8>),
    /// The last event.
    Exit(Status),
}

/// A signal for a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of POSIX")]
pub enum Signal {
    Hangup,
    Interrupt,
    Kill,
    Quit,
    Terminate,
}

/// A running process. Dropping it ends it as far as the server allows: it is killed, or for root its input and output
/// are closed.
pub struct Process {
    input: ProcessInput,
    events: mpsc::Receiver<ProcessEvent>,
    is_over: bool,
}

/// The way into a process; clones lead to the same one.
#[derive(Clone)]
pub struct ProcessInput {
    write: Arc<ChannelWriteHalf<Msg>>,
    session: Arc<Session>,
    on: Connection,
}

pub(crate) async fn start(
    channel: Channel<Msg>,
    lease: Lease,
    on: &Connection,
    command: Option<&str>,
    pty: Option<Pty>,
    env: &[(String, String)],
) -> Result<Process, SshError> {
    let mut running = Running::new(channel, lease, on.policy().ending_time);
    let parts = running.parts();
    let session = parts.lease.session.clone();
    let lost = |_| on.lost(&session);
    for (name, value) in env {
        parts.write.set_env(false, name, value).await.map_err(lost)?;
    }
    if let Some(Pty { term, columns, rows }) = &pty {
        parts.write.request_pty(true, term, *columns, *rows, 0, 0, &[]).await.map_err(lost)?;
        agreed(parts, on, "a terminal").await?;
    }
    match command {
        Some(command) => parts.write.exec(true, command).await.map_err(lost)?,
        None => parts.write.request_shell(true).await.map_err(lost)?,
    }
    agreed(parts, on, if command.is_some() { "a command" } else { "a shell" }).await?;

    let (sender, events) = mpsc::channel(WAITING_MAX);
    let write = parts.write.clone();
    tokio::spawn(carry(running, sender, on.policy().stall_time));
    let input = ProcessInput { write, session, on: on.clone() };
    Ok(Process { input, events, is_over: false })
}

/// Carries events to the reader until the channel is closed, or nobody reads.
async fn carry(mut running: Running, events: mpsc::Sender<ProcessEvent>, stall_time: Duration) {
    let mut status = Status::Lost;
    loop {
        let message = tokio::select! {
            message = running.parts().read.wait() => message,
            () = events.closed() => return,
        };
        let event = match message {
            Some(ChannelMsg::Data { data }) => ProcessEvent::Stdout(data.to_vec()),
            Some(ChannelMsg::ExtendedData { data, .. }) => ProcessEvent::Stderr(data.to_vec()),
            Some(ChannelMsg::Close) => {
                running.over();
                // The reader may be slow now, it holds up nobody; an error means it is gone.
                let _ = events.send(ProcessEvent::Exit(status)).await;
                return;
            }
            Some(other) => {
                status = status_in(&other).unwrap_or(status);
                continue;
            }
            None => {
                let _ = events.send(ProcessEvent::Exit(Status::Lost)).await;
                return;
            }
        };
        match taken_within(stall_time, events.send(event)).await {
            Some(Ok(())) => {}
            Some(Err(_)) | None => return,
        }
    }
}

impl Process {
    /// Returns the way in, for writing while something else reads.
    #[must_use]
    pub fn input(&self) -> ProcessInput {
        self.input.clone()
    }

    /// Waits for the next event; `None` after [`ProcessEvent::Exit`]. Safe to drop and call again.
    ///
    /// It must be called on: a process whose output stands for [`Policy::stall_time`](crate::ssh::Policy::stall_time) is
    /// ended, because it holds up everything else on the connection.
    pub async fn next(&mut self) -> Option<ProcessEvent> {
        if self.is_over {
            return None;
        }
        let event = self.events.recv().await.unwrap_or(ProcessEvent::Exit(Status::Lost));
        self.is_over = matches!(event, ProcessEvent::Exit(_));
        Some(event)
    }
}

impl ProcessInput {
    /// Writes to the standard input, waiting while the process does not read.
    ///
    /// # Errors
    /// [`SshError::Lost`] when the connection is gone.
    pub async fn write(&self, bytes: &[u8]) -> Result<(), SshError> {
        tokio::select! {
            written = self.write.data_bytes(bytes.to_vec()) => written.map_err(|_| self.lost()),
            _ = self.session.wait_gone() => Err(self.lost()),
        }
    }

    /// Ends the standard input.
    ///
    /// # Errors
    /// [`SshError::Lost`] when the connection is gone.
    pub async fn end(&self) -> Result<(), SshError> {
        self.write.eof().await.map_err(|_| self.lost())
    }

    /// Changes the size of the terminal.
    ///
    /// # Errors
    /// [`SshError::Lost`] when the connection is gone.
    pub async fn resize(&self, columns: u32, rows: u32) -> Result<(), SshError> {
        self.write.window_change(columns, rows, 0, 0).await.map_err(|_| self.lost())
    }

    /// Sends a signal. sshd ignores it for root; with a terminal, write the control character instead (`\x03`).
    ///
    /// # Errors
    /// [`SshError::Lost`] when the connection is gone.
    pub async fn signal(&self, signal: Signal) -> Result<(), SshError> {
        let signal = match signal {
            Signal::Hangup => Sig::HUP,
            Signal::Interrupt => Sig::INT,
            Signal::Kill => Sig::KILL,
            Signal::Quit => Sig::QUIT,
            Signal::Terminate => Sig::TERM,
        };
        self.write.signal(signal).await.map_err(|_| self.lost())
    }

    fn lost(&self) -> SshError {
        self.on.lost(&self.session)
    }
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Process")
    }
}

impl std::fmt::Debug for ProcessInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProcessInput")
    }
}
