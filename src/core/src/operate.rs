//! What people do with what runs: the seam between daily commands and the places where agents and hosts are. Bytes
//! pass through [`Pipe`], piece by piece: whoever reads slowly slows the other side down, and nothing grows.

use std::io;

use crate::provider::BoxFuture;
use crate::ssh::PublicKey;

/// On what something is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The host itself.
    Host,
    /// An agent's container, by the agent's id.
    Agent(String),
}

/// A command to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments; a login shell when empty.
    pub words: Vec<String>,
    /// Whether a shell reads the words, joined by blanks, as `ssh` has it.
    pub shell: bool,
    /// The terminal it gets; `None` for plain streams.
    pub terminal: Option<Terminal>,
}

/// A terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// What kind: `xterm-256color`.
    pub kind: String,
    /// Its size.
    pub size: Size,
}

/// A terminal's size, in letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// How many columns.
    pub columns: u16,
    /// How many rows.
    pub rows: u16,
}

/// What comes from the near side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Bytes for the far side.
    Bytes(Vec<u8>),
    /// The terminal has another size.
    Resize(Size),
    /// Nothing more will come.
    End,
}

/// Where bytes from the far side belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Standard output, or the only stream there is.
    Out,
    /// Standard error.
    Err,
}

/// The near side of a connection: a terminal, a socket, a file.
pub trait Pipe: Send + Sync {
    /// Returns what comes next. After `End` it is not asked again.
    fn read(&self) -> BoxFuture<'_, Input>;

    /// Hears that the command on the far side is there, and takes what is typed. An error ends the connection.
    fn started(&self) -> io::Result<()> {
        Ok(())
    }

    /// Takes bytes from the far side; an error ends the connection.
    fn write<'a>(&'a self, channel: Channel, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>>;
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with an exit code.
    Code(u32),
    /// By a signal.
    Signal(String),
}

impl Ended {
    /// Returns the exit code a shell would give.
    pub fn code(&self) -> u32 {
        match self {
            Self::Code(code) => *code,
            Self::Signal(_) => 128,
        }
    }
}

/// Which lines of a log are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Go on with what comes.
    pub follow: bool,
    /// Only lines after this time, in seconds since 1970; all when `None`.
    pub since_s: Option<i64>,
    /// Only this many of the last lines; all when `None`.
    pub tail: Option<u64>,
    /// Begin each line with its time.
    pub timestamps: bool,
}

/// What becomes of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// Start it.
    Start,
    /// Stop it; the fleet still wants it, so the next apply starts it again.
    Stop,
    /// Stop and start it.
    Restart,
}

/// One layer of an agent's or host's health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Which: `connection`, `command`, `gateway`.
    pub name: &'static str,
    /// What was found, or why it failed.
    pub outcome: Result<String, String>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// Why something could not be done. Reads after "failed to".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct OperateError {
    /// What went wrong.
    pub reason: String,
    /// What to do.
    pub help: Option<String>,
}

impl OperateError {
    /// Returns an error.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), help: None }
    }

    /// Says what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// What comes of a day's work.
pub type Operated<'a, T> = BoxFuture<'a, Result<T, OperateError>>;

/// Daily work with the agents of a place and, where there is one, their host.
pub trait Operate: Send + Sync {
    /// Runs a command with the pipe as its streams.
    fn exec<'a>(&'a self, target: &'a Target, command: &'a Command, pipe: &'a dyn Pipe) -> Operated<'a, Ended>;

    /// Gives an agent's log to the pipe as it comes: whole pieces, lines may be cut anywhere.
    fn logs<'a>(&'a self, agent: &'a str, query: &'a LogQuery, pipe: &'a dyn Pipe) -> Operated<'a, ()>;

    /// Connects the pipe with a port of an agent; 0 is its gateway.
    fn connect<'a>(&'a self, agent: &'a str, port: u16, pipe: &'a dyn Pipe) -> Operated<'a, ()>;

    /// Gives what lies at a path to the pipe, as a tar archive.
    fn pull<'a>(&'a self, target: &'a Target, path: &'a str, pipe: &'a dyn Pipe) -> Operated<'a, ()>;

    /// Unpacks a tar archive from the pipe into a folder.
    fn push<'a>(&'a self, target: &'a Target, folder: &'a str, pipe: &'a dyn Pipe) -> Operated<'a, ()>;

    /// Says something to an agent in a conversation and gives its answer to the pipe as it comes.
    fn chat<'a>(
        &'a self,
        agent: &'a str,
        conversation: &'a str,
        message: &'a str,
        pipe: &'a dyn Pipe,
    ) -> Operated<'a, ()>;

    /// Starts, stops or restarts a gateway, and waits until that is so.
    fn power<'a>(&'a self, agent: &'a str, power: Power) -> Operated<'a, ()>;

    /// Returns how a target is, layer by layer, until the first that failed.
    fn health<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Vec<Layer>>;

    /// Returns who new files of a target belong to, by number; what `push` unpacks says so.
    fn owner(&self, target: &Target) -> u64;

    /// Logs in anew at the host with one of claw's own keys and no other.
    fn prove<'a>(&'a self, _key: &'a PublicKey) -> Operated<'a, ()> {
        Box::pin(async { Err(OperateError::new("prove a key here: this is no host claw logs in to")) })
    }

    /// Makes a new host key on the host and returns its public half; the same one until it is in use.
    fn new_host_key(&self) -> Operated<'_, PublicKey> {
        Box::pin(async { Err(OperateError::new("make a host key here: this is no host claw logs in to")) })
    }

    /// Returns how a target's files and commands are told where they are: `root@192.0.2.10:22`, a socket.
    fn label(&self) -> String;
}
