//! Running one command to its end.
//!
//! It does not quote, wrap or interpret the command, and gives it no terminal.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::time::Instant;

use crate::ssh::event::Event;
use crate::ssh::session::Lease;
use crate::ssh::{Connection, SshError};

/// The limits of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    /// How long it may run, counted from when it got its channel.
    pub seconds_max: u64,
    /// How many bytes of output it may give, both kinds together.
    pub bytes_max: u64,
    /// What the [`Event::Executed`] calls it. Never put a secret here.
    pub label: Option<String>,
}

impl Exec {
    /// Limits a command to some seconds and 16 MiB, without a label.
    #[must_use]
    pub fn within(seconds_max: u64) -> Self {
        Self { seconds_max, bytes_max: 16 << 20, label: None }
    }
}

/// What a command left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: Status,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// By itself, with this exit code.
    Code(u32),
    /// By this signal, named without `SIG`.
    Signal(String),
    /// Unknown: the server closed its channel without a word, the connection broke, or we gave it up.
    Lost,
}

impl Status {
    /// Returns whether it ended with exit code 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        *self == Self::Code(0)
    }
}

/// A channel on which something runs. Letting go of it ends what runs as far as the server allows.
pub(crate) struct Running(Option<Parts>);

/// The halves of a channel, with the right to it.
pub(crate) struct Parts {
    pub(crate) read: ChannelReadHalf,
    pub(crate) write: Arc<ChannelWriteHalf<Msg>>,
    pub(crate) lease: Lease,
    pub(crate) ending_time: Duration,
}

impl Running {
    pub(crate) fn new(channel: Channel<Msg>, lease: Lease, ending_time: Duration) -> Self {
        let (read, write) = channel.split();
        Self(Some(Parts { read, write: Arc::new(write), lease, ending_time }))
    }

    pub(crate) fn parts(&mut self) -> &mut Parts {
        self.0.as_mut().expect("only `over` and `drop` take them, and both end this value")
    }

    /// Leaves ending it to the taker.
    pub(crate) fn into_parts(mut self) -> Parts {
        self.0.take().expect("only `over` and `drop` take them, and both end this value")
    }

    /// The channel is closed on both sides: there is nothing left to end.
    pub(crate) fn over(mut self) {
        self.0 = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let (Some(parts), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(parts.abandon());
        }
    }
}

impl Parts {
    /// Kills what runs, gives it a moment to be gone, and closes the channel by force if it is not.
    async fn abandon(mut self) {
        let ending = async {
            // Errors mean the connection is closed; sshd ignores signals for root, but not end of file.
            let _ = self.write.signal(Sig::KILL).await;
            let _ = self.write.eof().await;
            while !matches!(self.read.wait().await, Some(ChannelMsg::Close) | None) {}
        };
        if tokio::time::timeout(self.ending_time, ending).await.is_err() {
            let _ = self.write.close().await;
            self.lease.session.abandon_one();
        }
    }
}

/// Returns an error unless the server says yes to what was just asked for. Output may not come before that.
pub(crate) async fn agreed(parts: &mut Parts, on: &Connection, what: &'static str) -> Result<(), SshError> {
    loop {
        match parts.read.wait().await {
            Some(ChannelMsg::Success) => return Ok(()),
            Some(ChannelMsg::Failure | ChannelMsg::Close) => {
                return Err(SshError::StartRefused { label: on.target().label.clone(), what });
            }
            Some(_) => {}
            None => return Err(on.lost(&parts.lease.session)),
        }
    }
}

pub(crate) async fn run(
    channel: Channel<Msg>,
    lease: Lease,
    on: &Connection,
    command: &str,
    input: &[u8],
    limits: Exec,
) -> Result<Output, SshError> {
    let started = Instant::now();
    let mut running = Running::new(channel, lease, on.policy().ending_time);
    let work = talk(running.parts(), on, command, input, limits.bytes_max);
    let ended = tokio::time::timeout(Duration::from_secs(limits.seconds_max), work).await;
    let output = ended.unwrap_or_else(|_| {
        Err(SshError::CommandTimedOut { label: on.target().label.clone(), seconds: limits.seconds_max })
    });
    let status = output.as_ref().map_or(Status::Lost, |output| output.status.clone());
    let millis = started.elapsed().as_millis() as u64;
    on.log().say(Event::Executed { label: limits.label, status, millis });
    if output.is_ok() {
        running.over();
    }
    output
}

async fn talk(
    parts: &mut Parts,
    on: &Connection,
    command: &str,
    input: &[u8],
    bytes_max: u64,
) -> Result<Output, SshError> {
    parts.write.exec(true, command).await.map_err(|_| on.lost(&parts.lease.session))?;
    agreed(parts, on, "a command").await?;
    let Parts { read, write, lease, .. } = parts;
    let feeding = async {
        // A command that does not read its input to the end is none of our business.
        let _ = write.data_bytes(input.to_vec()).await;
        let _ = write.eof().await;
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        output = drain(read, bytes_max) => output?.ok_or_else(|| on.lost(&lease.session)),
        never = feeding => match never {},
    }
}

/// Reads until the channel is closed: stopping at the exit status would leave its slot taken. `None` when the connection
/// broke before.
async fn drain(read: &mut ChannelReadHalf, bytes_max: u64) -> Result<Option<Output>, SshError> {
    let mut output = Output { status: Status::Lost, stdout: Vec::new(), stderr: Vec::new() };
    loop {
        match read.wait().await {
            Some(ChannelMsg::Data { data }) => output.stdout.extend_from_slice(&data),
            Some(ChannelMsg::ExtendedData { data, .. }) => output.stderr.extend_from_slice(&data),
            Some(ChannelMsg::Close) => return Ok(Some(output)),
            Some(other) => output.status = status_in(&other).unwrap_or(output.status),
            None => return Ok(None),
        }
        if (output.stdout.len() + output.stderr.len()) as u64 > bytes_max {
            return Err(SshError::TooMuchOutput { bytes: bytes_max });
        }
    }
}

pub(crate) fn status_in(message: &ChannelMsg) -> Option<Status> {
    match message {
        ChannelMsg::ExitStatus { exit_status } => Some(Status::Code(*exit_status)),
        ChannelMsg::ExitSignal { signal_name: Sig::Custom(name), .. } => Some(Status::Signal(name.clone())),
        ChannelMsg::ExitSignal { signal_name, .. } => Some(Status::Signal(format!("{signal_name:?}"))),
        _ => None,
    }
}
