//! `claw drift`: is the world still as the fleet says?

use clap::{Args, ValueEnum};
use claw_core::observed::Observed;
use claw_core::plan::Plan;
use serde_json::json;

use super::Outcome;
use super::formats::{announce, settled};
use super::plan::Scope;
use crate::args::Global;
use crate::render::findings::{Category, Finding, findings, unmanaged};
use crate::render::{self, junit, prometheus, style};
use crate::session::Session;
use crate::setup::{self, Setup};

/// Say where the world is not as the fleet says
///
/// Read-only, takes no lock. Exits 2 when something drifted, 3 when something could not be seen or is in the way, else 0.
#[derive(Debug, Args)]
pub struct Drift {
    #[command(flatten)]
    scope: Scope,
    /// How it is written: for a person, for programs, for what shows tests, or for node-exporter's textfile collector.
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
}

/// How drift can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
    Junit,
    Prometheus,
}

impl Drift {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        let format = settled(global, self.format, Format::Json)?.unwrap_or(Format::Human);
        let mut session = Session::open(global, setup)?;
        announce(global, format == Format::Human);
        super::print_warnings(global, &session);
        let (observed, plan) = self.scope.plan(setup, &mut session)?;
        let found = findings(&plan);
        match format {
            Format::Human => print(&plan, &observed, &found),
            Format::Json => render::json(&facts(&session, &plan, &observed, &found)),
            Format::Junit => {
                render::out(junit::draw(&plan, &found, &unmanaged(&observed), &setup::now(), &setup.known));
            }
            Format::Prometheus => {
                let report = prometheus::Report {
                    plan: &plan,
                    desired: &session.desired,
                    observed: &observed,
                    findings: &found,
                    unmanaged: unmanaged(&observed).len(),
                    now_s: setup::seconds(),
                };
                render::out(prometheus::draw(&report, &setup.known));
            }
        }
        Ok(super::plan_exit(&plan))
    }
}

fn facts(session: &Session, plan: &Plan, observed: &Observed, found: &[Finding]) -> serde_json::Value {
    let one = |one: &Finding| json!({ "category": one.category.word(), "resource": one.resource, "place": one.place, "detail": one.detail });
    let list: Vec<_> = found.iter().map(one).collect();
    json!({
        "drift": list, "unmanaged": unmanaged(observed), "unseen": plan.unseen, "suspended": plan.suspended,
        "unchanged": plan.unchanged.len(), "warnings": render::problems::to_json(&session.warnings, &session.sources),
    })
}

fn print(plan: &Plan, observed: &Observed, found: &[Finding]) {
    for (place, why) in &plan.unseen {
        render::out(format_args!("{} {place} could not be seen: {why}", style::paint(style::YELLOW, "unknown")));
    }
    for one in found.iter().filter(|one| !(one.category == Category::Unknown && plan.unseen.contains_key(&one.place))) {
        let style = if one.category == Category::Unknown { style::YELLOW } else { style::RED };
        let place = if one.resource.ends_with(&format!("/{}", one.place)) {
            String::new()
        } else {
            format!(" on {}", one.place)
        };
        let detail =
            if one.detail.is_empty() { String::new() } else { format!("  {}", style::paint(style::DIM, &one.detail)) };
        let category = style::paint(style, one.category.word());
        render::out(format_args!("{category:9} {}{place}{detail}", one.resource));
    }
    for (place, key) in unmanaged(observed) {
        // somebody's own business, and no reason for an alarm every night
        render::out(format_args!("unmanaged login key on {place}  {}", style::paint(style::DIM, key)));
    }
    if found.is_empty() && plan.unseen.is_empty() {
        render::out(format_args!(
            "{} no drift: {} resources are as the fleet says",
            style::paint(style::GREEN, "✓"),
            plan.unchanged.len()
        ));
    }
}
