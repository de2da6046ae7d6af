//! What the daily commands share: who is meant, the near ends of pipes, and the record of what was done.

use std::io::{self, Read};
use std::sync::Arc;

use claw_core::operate::{Channel, Input, Operate, OperateError, Pipe, Target};
use claw_core::problem::did_you_mean;
use claw_core::provider::{BoxFuture, Provider};
use claw_engine::audit::Deed;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{Receiver, Sender};

use crate::args::Global;
use crate::error::CommandError;
use crate::exit;
use crate::render::{self, Stream};
use crate::session::Session;
use crate::setup::Setup;

/// How many bytes travel at once.
const PIECE_BYTES: usize = 32 * 1024;

/// An agent or a host, and who can do something with it.
#[derive(Clone)]
pub struct Subject {
    /// What people call it.
    pub name: String,
    /// What it is.
    pub target: Target,
    provider: Arc<dyn Provider>,
}

impl Subject {
    /// Returns who does it.
    pub fn operate(&self) -> Result<&dyn Operate, CommandError> {
        self.provider.operate().ok_or_else(|| CommandError::failed(format!("nothing can be done with {}", self.name)))
    }

    /// Returns the agent's id.
    pub fn agent(&self) -> Result<&str, CommandError> {
        match &self.target {
            Target::Agent(id) => Ok(id),
            Target::Host => Err(CommandError::usage(format!("{} is a host, and this is done with agents", self.name))
                .help("`claw status` lists the agents")),
        }
    }
}

/// Opens the fleet for a daily command.
pub fn open(global: &Global, setup: &Setup) -> Result<Session, CommandError> {
    let session = Session::open(global, setup)?;
    if global.sandbox && !global.json {
        // never on standard output, which is the far side's
        render::err(render::style::paint(render::style::DIM, "sandbox: a simulated world; nothing real is touched"));
    }
    // what the far side says may hold any of the fleet's values
    session.vault.recognise(session.desired.agents.keys().map(String::as_str));
    Ok(session)
}

/// Returns who a name means: an agent, or a host.
pub fn find(session: &Session, name: &str) -> Result<Subject, CommandError> {
    // an agent and its own machine have one name; `host/` says that the machine is meant
    let bare = name.strip_prefix("host/");
    let id = session.agent_id(bare.unwrap_or(name));
    let agent = session.desired.agents.get(&id).map(|card| (card.place.clone(), Target::Agent(id.clone())));
    let host = || session.desired.hosts.get(&id).map(|card| (card.name.clone(), Target::Host));
    let found = agent
        .filter(|_| bare.is_none())
        .or_else(host)
        .and_then(|(place, target)| Some((session.providers.get(&place)?, target)));
    if let Some((provider, target)) = found {
        return Ok(Subject { name: name.to_owned(), target, provider: Arc::clone(provider) });
    }
    let agents = session.fleet.agents.keys().chain(session.fleet.hosts.keys());
    let help = match did_you_mean(name, agents.map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`claw status` lists the agents and hosts".to_owned(),
    };
    Err(CommandError::usage(format!("there is no agent and no host `{name}`")).help(help))
}

/// Returns every agent of the fleet, or the named ones.
pub fn find_agents(session: &Session, names: &[String]) -> Result<Vec<Subject>, CommandError> {
    let all: Vec<String> = session.fleet.agents.keys().cloned().collect();
    let names = if names.is_empty() { &all } else { names };
    let subjects: Vec<Subject> = names.iter().map(|name| find(session, name)).collect::<Result<_, _>>()?;
    for subject in &subjects {
        subject.agent()?;
    }
    Ok(subjects)
}

/// Records what was done, and turns its failure into a command's.
pub fn recorded<T>(
    session: &Session,
    action: &str,
    subject: &Subject,
    detail: &str,
    outcome: Result<T, OperateError>,
) -> Result<T, CommandError> {
    let failure = outcome.as_ref().err().map(|error| error.reason.as_str());
    session.audit.record(&Deed { action, target: &subject.name, detail, failure, ..Deed::default() });
    if let Some(why) = session.audit.lost() {
        render::err(format_args!("warning: `claw history` will not know of this: {why}"));
    }
    outcome.map_err(told)
}

/// Returns a failure of the far side as a command's.
pub fn told(error: OperateError) -> CommandError {
    let failed = CommandError::new(exit::FAILED, format!("failed to {}", error.reason));
    match error.help {
        Some(help) => failed.help(help),
        None => failed,
    }
}

/// Passes on what can be read, piece by piece, as fast as it is taken.
pub fn feed(sender: Sender<Input>, mut from: impl Read + Send + 'static) {
    std::thread::spawn(move || {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let input = match from.read(&mut piece) {
                Ok(0) | Err(_) => Input::End,
                Ok(length) => Input::Bytes(piece[..length].to_vec()),
            };
            let last = input == Input::End;
            if sender.blocking_send(input).is_err() || last {
                return;
            }
        }
    });
}

/// The near end of a command: what is typed goes there, what it says comes here, without known secret values.
pub struct Streams {
    input: Mutex<Receiver<Input>>,
    out: Stream,
    err: Stream,
}

impl Streams {
    /// Returns the near end with an input of one's own.
    pub fn with(input: Receiver<Input>) -> Self {
        Self { input: Mutex::new(input), out: Stream::out(), err: Stream::err() }
    }

    /// Writes what was held back: nothing more comes.
    pub fn finish(&self) {
        let _ = self.out.finish().and_then(|()| self.err.finish()); // a reader that went away misses nothing
    }
}

impl Pipe for Streams {
    fn read(&self) -> BoxFuture<'_, Input> {
        Box::pin(async { self.input.lock().await.recv().await.unwrap_or(Input::End) })
    }

    fn write<'a>(&'a self, channel: Channel, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        // a reader that is slow slows the far side down: nothing is kept here
        let written = match channel {
            Channel::Out => self.out.write(bytes),
            Channel::Err => self.err.write(bytes),
        };
        Box::pin(async { written })
    }
}
