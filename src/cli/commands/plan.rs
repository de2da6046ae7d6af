//! `claw plan`: what would apply do?

use std::path::PathBuf;

use clap::Args;
use claw_core::observed::Observed;
use claw_core::plan::Plan;

use super::Outcome;
use super::formats::PlanOutput;
use crate::args::Global;
use crate::error::CommandError;
use crate::exit;
use crate::render;
use crate::render::machine::PlanDocument;
use crate::render::plan::Detail;
use crate::saved;
use crate::session::{Session, keys};
use crate::setup::Setup;

/// Show what apply would do, field by field
///
/// Compares the fleet file with what the providers report. Changes nothing and takes no lock.
#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    scope: Scope,
    /// Exit 2 when changes are pending and 3 when something is held, instead of 0.
    #[arg(long)]
    detailed_exitcode: bool,
    /// Show every field of new things, not only a line for each.
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    output: PlanOutput,
    /// Save the plan, signed, to be approved and applied as it is: `claw apply FILE`.
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What a plan is about.
#[derive(Clone, Debug, Default, Args)]
pub struct Scope {
    /// Keep to this agent or resource, with what it needs. Can be repeated.
    #[arg(long = "target", value_name = "NAME")]
    pub targets: Vec<String>,
    /// Allow this agent's data to be lost. Can be repeated.
    #[arg(long = "allow-destroy", value_name = "AGENT")]
    pub allow_destroy: Vec<String>,
    /// Put login keys on hosts that are in no commit yet.
    #[arg(long)]
    pub uncommitted_keys: bool,
}

impl Scope {
    /// Looks at the world and plans.
    pub fn plan(&self, setup: &Setup, session: &mut Session) -> Result<(Observed, Plan), CommandError> {
        let mut policy = session.policy(&self.targets, &self.allow_destroy)?;
        policy.uncommitted_keys = !self.uncommitted_keys
            && !session.sandbox
            && !session.control_keys.is_empty()
            && keys::is_uncommitted(setup, &session.control_keys);
        let observed = super::wait(session.observe())?;
        session.refuse_unknown(&observed, self.targets.iter().chain(&self.allow_destroy))?;
        let plan = session.plan(&observed, &policy);
        Ok((observed, plan))
    }
}

impl PlanArgs {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        let mut session = self.output.open(global, setup)?;
        let (observed, plan) = self.scope.plan(setup, &mut session)?;
        let detail = if self.full { Detail::Full } else { Detail::Short };
        // without an identity there is nothing that could be approved
        let saved = saved::of(&session, &self.scope, &observed, &plan);
        let digest = saved.as_ref().ok().map(saved::digest);
        self.output.write((global, setup), &session, (&plan, digest), detail)?;
        if let Some(path) = &self.out {
            let saved = saved?;
            let digest = saved::write(&session, setup, &saved, path)?;
            if self.output.is_for_people(global) {
                render::out(format_args!(
                    "\nSaved to {}; `claw apply {0}` does this and nothing else.",
                    path.display()
                ));
                render::out(format_args!("Digest: {digest}"));
            }
        }
        Ok(if self.detailed_exitcode { super::plan_exit(&plan) } else { exit::DONE })
    }
}

/// Prints a plan.
pub fn print(global: &Global, session: &Session, plan: &Plan, detail: Detail) {
    if global.json {
        render::json(&PlanDocument::new(plan));
    } else {
        render::out(render::plan::draw(plan, &session.desired, detail));
    }
}
