//! `claw logs`: what agents say, several at once.

use std::io;
use std::sync::Mutex;

use clap::Args;
use claw_core::operate::{Channel, Input, LogQuery, Pipe};
use claw_core::provider::BoxFuture;
use claw_core::text::{Stripper, days};

use super::Outcome;
use super::operate::{find_agents, open, recorded};
use crate::args::Global;
use crate::error::CommandError;
use crate::exit;
use crate::render;
use crate::setup::{self, Setup};

/// The longest line shown whole, in bytes: an agent that writes no line end must not fill the memory.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Show what agents say
///
/// Escape sequences are taken out: what comes from an agent must not drive the terminal. With several agents each line
/// begins with its agent's name.
#[derive(Debug, Args)]
pub struct Logs {
    /// The agents; all when none is named.
    agents: Vec<String>,
    /// Go on with what comes. Behind `logs`, -f is this; --fleet names the fleet file.
    #[arg(short, long)]
    follow: bool,
    /// The fleet file. Takes the place of the argument every command has, which would take -f as well.
    #[arg(id = "fleet", long = "fleet", default_value = "fleet.toml", value_name = "FILE")]
    _fleet: std::path::PathBuf,
    /// Only what is newer: 30s, 10m, 2h, 7d, or a time as 2026-11-24T10:00:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only this many of the last lines of each agent.
    #[arg(long, short = 'n', value_name = "LINES")]
    tail: Option<u64>,
    /// Begin each line with its time.
    #[arg(short, long)]
    timestamps: bool,
}

impl Logs {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        let session = open(global, setup)?;
        let subjects = find_agents(&session, &self.agents)?;
        let since_s = self.since.as_deref().map(since).transpose()?;
        let query = LogQuery { follow: self.follow, since_s, tail: self.tail, timestamps: self.timestamps };
        let width = subjects.iter().map(|subject| subject.name.chars().count()).max().unwrap_or_default();
        let mut work = Vec::new();
        for subject in &subjects {
            let prefix = if subjects.len() > 1 { format!("{:width$} | ", subject.name) } else { String::new() };
            let (operate, agent) = (subject.operate()?, subject.agent()?);
            let query = &query;
            work.push(async move {
                let lines = Lines { prefix, state: Mutex::default() };
                let outcome = operate.logs(agent, query, &lines).await;
                lines.finish();
                outcome
            });
        }
        let outcomes = super::wait(futures_util::future::join_all(work))?;
        let mut failed = None;
        for (subject, outcome) in subjects.iter().zip(outcomes) {
            let gone = outcome.as_ref().is_err_and(|error| error.reason.contains(GONE));
            let outcome = if gone { Ok(()) } else { outcome };
            if let Err(error) = recorded(&session, "logs", subject, "", outcome) {
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(exit::DONE), Err)
    }
}

/// What the error of a reader that went away (`claw logs | head`) says.
const GONE: &str = "Broken pipe";

/// Returns the seconds since 1970 a text means: a time, or an age.
fn since(text: &str) -> Result<i64, CommandError> {
    let unit = |letter: char| match letter {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3600),
        _ => None,
    };
    let seconds = days(text).map(|days| i64::from(days) * 86_400).or_else(|| {
        let seconds = unit(text.chars().last()?)?;
        Some(text[..text.len() - 1].parse::<u32>().ok()? as i64 * seconds)
    });
    match seconds {
        Some(seconds) => Ok(setup::seconds() - seconds),
        None => text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_second).map_err(|_| {
            CommandError::usage(format!("`{text}` is no time"))
                .help("write an age, 30s, 10m, 2h or 7d, or a time as 2026-11-24T10:00:00Z")
        }),
    }
}

/// A near end that prints whole lines, each behind its agent's name.
struct Lines {
    prefix: String,
    state: Mutex<(Stripper, String)>,
}

impl Lines {
    fn take(&self, bytes: &[u8], last: bool) -> io::Result<()> {
        let Ok(mut state) = self.state.lock() else { return Ok(()) };
        let (stripper, rest) = &mut *state;
        rest.push_str(&stripper.push(bytes));
        let print = |line: &str| render::line(format_args!("{}{line}", self.prefix));
        while let Some(end) = rest.find('\n') {
            print(&rest[..end])?;
            rest.drain(..=end);
        }
        if (last && !rest.is_empty()) || rest.len() > LINE_BYTES_MAX {
            print(rest)?;
            rest.clear();
        }
        Ok(())
    }

    fn finish(&self) {
        let _ = self.take(b"", true); // a reader that went away misses nothing
    }
}

impl Pipe for Lines {
    fn read(&self) -> BoxFuture<'_, Input> {
        Box::pin(async { Input::End })
    }

    fn write<'a>(&'a self, _: Channel, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        let taken = self.take(bytes, false);
        Box::pin(async { taken })
    }
}
