//! `claw restart`, `start` and `stop`: a gateway, by hand.

use clap::Args;
use claw_core::operate::Power;

use super::Outcome;
use super::operate::{find_agents, open, recorded};
use crate::args::Global;
use crate::exit;
use crate::render::{self, style};
use crate::setup::Setup;

/// The agents a command is about.
#[derive(Debug, Args)]
pub struct Named {
    /// The agents.
    #[arg(required = true)]
    agents: Vec<String>,
}

impl Named {
    /// Does it to each, and says so.
    pub fn run(self, power: Power, global: &Global, setup: &Setup) -> Outcome {
        let session = open(global, setup)?;
        let subjects = find_agents(&session, &self.agents)?;
        let (action, done) = match power {
            Power::Start => ("start", "started and healthy"),
            Power::Stop => ("stop", "stopped; the next apply starts it again, `suspend` in the fleet file keeps it so"),
            Power::Restart => ("restart", "restarted and healthy"),
        };
        let mut failed = None;
        for subject in &subjects {
            let outcome = super::wait(subject.operate()?.power(subject.agent()?, power))?;
            match recorded(&session, action, subject, "", outcome) {
                Ok(()) if global.json => render::json(&serde_json::json!({ "agent": subject.name, "done": action })),
                Ok(()) => render::out(format_args!("{} {} {done}", style::paint(style::GREEN, "✓"), subject.name)),
                Err(error) => {
                    if subjects.len() > 1 {
                        render::err(format_args!("{}: {}", subject.name, error.message));
                    }
                    failed.get_or_insert(error);
                }
            }
        }
        failed.map_or(Ok(exit::DONE), Err)
    }
}
