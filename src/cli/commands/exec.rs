//! `claw ssh` and `claw exec`: a shell, or a command, on a host or in an agent's container.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};

use clap::Args;
use claw_core::operate::{Channel, Command, Ended, Input, Pipe, Size, Terminal};
use claw_core::provider::BoxFuture;
use crossterm::terminal;
use tokio::sync::mpsc::Sender;

use super::Outcome;
use super::operate::{Streams, Subject, feed, find, open, recorded, told};
use crate::args::Global;
use crate::error::CommandError;
use crate::exit::Exit;
use crate::session::Session;
use crate::setup::Setup;

/// Open a shell on a host or in an agent's container
///
/// Over the connection claw uses itself, with the pinned host key. With a command, runs that instead. Ends with the exit
/// code of the shell or command.
#[derive(Debug, Args)]
pub struct Ssh {
    /// The host or agent.
    name: String,
    /// A command to run instead of a shell.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Run a command on a host or in an agent's container
///
/// The words go there as they are; no shell reads them. Standard input is passed on. Ends with the command's exit code.
#[derive(Debug, Args)]
pub struct Exec {
    /// The host or agent.
    name: String,
    /// Give the command a terminal.
    #[arg(short, long)]
    tty: bool,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Ssh {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        let session = open(global, setup)?;
        let subject = find(&session, &self.name)?;
        let tty = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        run(&session, &subject, "ssh", self.command, tty, setup)
    }
}

impl Exec {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        let session = open(global, setup)?;
        let subject = find(&session, &self.name)?;
        if self.tty && !std::io::stdin().is_terminal() {
            return Err(CommandError::usage("--tty needs a terminal on standard input").help("leave --tty out"));
        }
        run(&session, &subject, "exec", self.command, self.tty, setup)
    }
}

fn run(session: &Session, subject: &Subject, action: &str, words: Vec<String>, tty: bool, setup: &Setup) -> Outcome {
    let detail = words.join(" ");
    let operate = subject.operate()?;
    let terminal =
        tty.then(|| Terminal { kind: setup.env("TERM").unwrap_or("xterm-256color").to_owned(), size: size() });
    let command = Command { words, shell: action == "ssh", terminal };
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let near = Near { streams: Streams::with(receiver), tty, raw: Mutex::default() };
    let ended = super::wait(async {
        if tty {
            watch_size(sender.clone());
        }
        feed(sender, std::io::stdin());
        let work = operate.exec(&subject.target, &command, &near);
        if !tty {
            return work.await;
        }
        tokio::select! {
            ended = work => ended,
            code = told_to_end() => Ok(Ended::Code(code)),
        }
    })?;
    near.streams.finish();
    drop(near);
    let failure = ended.as_ref().err().cloned();
    recorded(
        session,
        action,
        subject,
        &detail,
        match &ended {
            Ok(ended) if ended.code() != 0 => {
                Err(claw_core::operate::OperateError::new(format!("exit {}", ended.code())))
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error.clone()),
        },
    )
    .ok();
    match failure {
        Some(error) => Err(told(error)),
        None => Ok(Exit::of_command(ended.map_or(255, |ended| ended.code()))),
    }
}

fn size() -> Size {
    let (columns, rows) = terminal::size().unwrap_or((80, 24));
    Size { columns, rows }
}

/// Passes on that the window has another size.
fn watch_size(sender: Sender<Input>) {
    #[cfg(unix)]
    tokio::spawn(async move {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut changes) = signal(SignalKind::window_change()) else { return };
        while changes.recv().await.is_some() {
            if sender.send(Input::Resize(size())).await.is_err() {
                return;
            }
        }
    });
    #[cfg(not(unix))]
    drop(sender);
}

/// Waits until this process is told to end, and returns the exit code that means: the terminal must be put right first.
async fn told_to_end() -> u32 {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let (Ok(mut end), Ok(mut hangup)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup())) {
            return tokio::select! { _ = end.recv() => 143, _ = hangup.recv() => 129 };
        }
    }
    std::future::pending().await
}

/// The near end. Its terminal passes keys on only while the far side is there: until then ^C ends claw.
struct Near {
    streams: Streams,
    tty: bool,
    raw: Mutex<Option<Raw>>,
}

impl Pipe for Near {
    fn read(&self) -> BoxFuture<'_, Input> {
        self.streams.read()
    }

    fn started(&self) -> io::Result<()> {
        if self.tty {
            let raw = Raw::enter()?;
            *self.raw.lock().unwrap_or_else(PoisonError::into_inner) = Some(raw);
        }
        Ok(())
    }

    fn write<'a>(&'a self, channel: Channel, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        self.streams.write(channel, bytes)
    }
}

/// A terminal that passes every key on, ^C among them, until this is dropped.
struct Raw;

impl Raw {
    fn enter() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        Ok(Self)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = terminal::disable_raw_mode(); // the process ends next, and with it whatever is left to say
    }
}
