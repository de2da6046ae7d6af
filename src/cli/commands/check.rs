//! `claw check`: is the fleet file right? Needs no network and no identity.

use clap::{Args, ValueEnum};
use claw_core::problem::Severity;
use serde_json::json;

use super::Outcome;
use super::formats::{annotate, settled};
use crate::args::Global;
use crate::error::CommandError;
use crate::exit;
use crate::render::{self, github, problems, style};
use crate::review::base;
use crate::session::Session;
use crate::setup::Setup;

/// Check the fleet file: all problems at once, offline
///
/// Reads the fleet file, what it includes, the names of its secrets and its workspace folders. Looks at nothing else.
#[derive(Debug, Args)]
pub struct Check {
    /// Compare with the fleet in this commit: refuse old values that came back, readers nobody named, and machines that just
    /// vanished; say who could read what from now on.
    #[arg(long, value_name = "REF", allow_hyphen_values = true)]
    base: Option<String>,
    /// How it is written: for a person, for programs, or as annotations that GitHub Actions shows at the lines.
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
}

/// How what is wrong can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
    Github,
}

impl Check {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        let format = settled(global, self.format, Format::Json)?.unwrap_or(Format::Human);
        self.check(format, global, setup).inspect_err(|error| {
            if format == Format::Github {
                annotate(error, setup);
            }
        })
    }

    fn check(&self, format: Format, global: &Global, setup: &Setup) -> Outcome {
        let mut session = Session::open(global, setup)?;
        if let Some(reference) = &self.base {
            let (found, sources) = base::compare(reference, setup, &session.fleet, &session.vault)?;
            session.warnings.extend(found);
            session.sources.extend(sources);
            if session.warnings.iter().any(|problem| problem.severity == Severity::Error) {
                return Err(CommandError::invalid(session.warnings, session.sources));
            }
        }
        if format == Format::Json {
            render::json(&json!({
                "valid": true, "agents": session.desired.agents.len(), "resources": session.desired.resources.len(),
                "problems": problems::to_json(&session.warnings, &session.sources),
            }));
            return Ok(exit::DONE);
        }
        if format == Format::Github && !session.warnings.is_empty() {
            render::out(github::problems(&session.warnings, &session.sources, &setup.known));
        }
        super::print_warnings(global, &session);
        let (agents, resources) = (session.desired.agents.len(), session.desired.resources.len());
        let name = &session.fleet.meta.name;
        render::out(format_args!(
            "{} {name} is valid: {agents} {}, {resources} resources",
            style::paint(style::GREEN, "✓"),
            if agents == 1 { "agent" } else { "agents" }
        ));
        Ok(exit::DONE)
    }
}
