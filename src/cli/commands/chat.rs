//! `claw chat`: talk to an agent. The answer comes as the agent says it.

use std::io::{self, BufRead, IsTerminal};

use clap::Args;
use claw_core::operate::{Channel, Input, Pipe};
use claw_core::provider::BoxFuture;

use super::Outcome;
use super::operate::{Subject, find, open, recorded};
use crate::args::Global;
use crate::error::CommandError;
use crate::exit;
use crate::render::{self, Stream, style};
use crate::session::Session;
use crate::setup::Setup;

/// Talk to an agent
///
/// With a message: says it, prints the answer, ends. Without: a conversation, line by line, until end of input. It goes on
/// where it was left: --conversation begins another one.
#[derive(Debug, Args)]
pub struct Chat {
    /// The agent.
    agent: String,
    /// What to say; `-` takes it from standard input.
    message: Vec<String>,
    /// Which conversation; one for each user of this machine unless given.
    #[arg(long, value_name = "NAME")]
    conversation: Option<String>,
}

impl Chat {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        let session = open(global, setup)?;
        let subject = find(&session, &self.agent)?;
        subject.agent()?;
        let user = setup.who().user;
        let conversation = format!("claw:{}", self.conversation.unwrap_or(user));
        if self.message == ["-"] {
            let text = io::read_to_string(io::stdin().lock());
            let text = text.map_err(|error| CommandError::failed(format!("failed to read the message: {error}")))?;
            say(&session, &subject, &conversation, text.trim(), global)?;
        } else if !self.message.is_empty() {
            say(&session, &subject, &conversation, &self.message.join(" "), global)?;
        } else {
            converse(&session, &subject, &conversation, global)?;
        }
        Ok(exit::DONE)
    }
}

fn converse(session: &Session, subject: &Subject, conversation: &str, global: &Global) -> Result<(), CommandError> {
    let watched = io::stdin().is_terminal();
    let mut lines = io::stdin().lock().lines();
    loop {
        if watched {
            render::prompt(format_args!("{} ", style::paint(style::BOLD, "you>")));
        }
        match lines.next() {
            Some(Ok(line)) if line.trim().is_empty() => {}
            Some(Ok(line)) => say(session, subject, conversation, line.trim(), global)?,
            _ => return Ok(()),
        }
    }
}

fn say(
    session: &Session,
    subject: &Subject,
    conversation: &str,
    message: &str,
    global: &Global,
) -> Result<(), CommandError> {
    if message.is_empty() {
        return Err(CommandError::usage("there is nothing to say"));
    }
    let (operate, agent) = (subject.operate()?, subject.agent()?);
    let answer = Answer { shown: !global.json, out: Stream::out(), text: std::sync::Mutex::default() };
    let outcome = super::wait(operate.chat(agent, conversation, message, &answer))?;
    if answer.shown {
        let _ = answer.out.finish(); // a reader that went away misses nothing
    }
    // what was said is between the two
    recorded(session, "chat", subject, &format!("{} letters", message.chars().count()), outcome)?;
    let text = answer.text.into_inner().unwrap_or_default();
    if global.json {
        render::json(&serde_json::json!({ "agent": subject.name, "conversation": conversation, "answer": text }));
    } else if !text.ends_with('\n') {
        render::out("");
    }
    Ok(())
}

/// A near end that prints an answer as it comes.
struct Answer {
    shown: bool,
    out: Stream,
    text: std::sync::Mutex<String>,
}

impl Pipe for Answer {
    fn read(&self) -> BoxFuture<'_, Input> {
        Box::pin(async { Input::End })
    }

    fn write<'a>(&'a self, _: Channel, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        if let Ok(mut text) = self.text.lock() {
            if self.shown {
                text.clear(); // only how it ends is asked for
            }
            text.push_str(&String::from_utf8_lossy(bytes));
        }
        let written = if self.shown { self.out.write(bytes) } else { Ok(()) };
        Box::pin(async { written })
    }
}
