//! `claw drift`: is the world still as the fleet says?

use clap::Args;
use claw_core::observed::Observed;
use claw_core::plan::{Action, Plan, Reason};
use claw_core::provider::access::UNMANAGED;
use serde_json::json;

use super::Outcome;
use super::plan::Scope;
use crate::args::Global;
use crate::render::{self, style};
use crate::session::Session;
use crate::setup::Setup;

/// Say where the world is not as the fleet says
///
/// Read-only, takes no lock. Exits 2 when something drifted, 3 when something could not be seen or is in the way, else 0.
#[derive(Debug, Args)]
pub struct Drift {
    #[command(flatten)]
    scope: Scope,
}

/// One thing that is not as it shall be.
struct Finding {
    category: &'static str,
    resource: String,
    place: String,
    detail: String,
}

impl Drift {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        let mut session = Session::open(global, setup)?;
        super::announce_sandbox(global);
        super::print_warnings(global, &session);
        let (observed, plan) = self.scope.plan(setup, &mut session)?;
        let findings = findings(&plan);
        if global.json {
            let list: Vec<_> = findings
                .iter()
                .map(|one| json!({ "category": one.category, "resource": one.resource, "place": one.place, "detail": one.detail }))
                .collect();
            render::json(&json!({
                "drift": list, "unmanaged": unmanaged(&observed), "unseen": plan.unseen, "suspended": plan.suspended,
                "unchanged": plan.unchanged.len(), "warnings": render::problems::to_json(&session.warnings, &session.sources),
            }));
            return Ok(super::plan_exit(&plan));
        }
        for (place, why) in &plan.unseen {
            render::out(format_args!("{} {place} could not be seen: {why}", style::paint(style::YELLOW, "unknown")));
        }
        for one in findings.iter().filter(|one| !(one.category == "unknown" && plan.unseen.contains_key(&one.place))) {
            let style = if one.category == "unknown" { style::YELLOW } else { style::RED };
            let place = if one.resource.ends_with(&format!("/{}", one.place)) {
                String::new()
            } else {
                format!(" on {}", one.place)
            };
            let detail = if one.detail.is_empty() {
                String::new()
            } else {
                format!("  {}", style::paint(style::DIM, &one.detail))
            };
            render::out(format_args!("{:9} {}{place}{detail}", style::paint(style, one.category), one.resource));
        }
        for (place, key) in unmanaged(&observed) {
            // somebody's own business, and no reason for an alarm every night
            render::out(format_args!("unmanaged login key on {place}  {}", style::paint(style::DIM, key)));
        }
        if findings.is_empty() && plan.unseen.is_empty() {
            render::out(format_args!(
                "{} no drift: {} resources are as the fleet says",
                style::paint(style::GREEN, "✓"),
                plan.unchanged.len()
            ));
        }
        Ok(super::plan_exit(&plan))
    }
}

/// Returns the login keys that claw did not put on a host, each with its place.
fn unmanaged(observed: &Observed) -> Vec<(&str, &str)> {
    let lists = observed.facts.iter().filter_map(|(place, facts)| Some((place, facts.get(UNMANAGED)?)));
    lists.flat_map(|(place, list)| list.lines().map(move |key| (place.as_str(), key))).collect()
}

fn findings(plan: &Plan) -> Vec<Finding> {
    let done = plan.steps.iter().map(|step| {
        let (category, detail) = match &step.action {
            Action::Create { .. } => ("missing", String::new()),
            Action::Delete { .. } => ("orphan", "not in the fleet".to_owned()),
            Action::Update { changes, .. } | Action::Replace { changes, .. } => {
                let fields: Vec<_> = changes.iter().map(describe).collect();
                ("changed", fields.join("; "))
            }
        };
        (&step.address, category, detail)
    });
    let held = plan.held.iter().map(|held| {
        let category = match (&held.reason, held.would) {
            (Reason::Unknown { .. }, _) => "unknown",
            (Reason::Foreign, _) => "foreign",
            (_, "create") => "missing",
            (_, "delete") => "orphan",
            _ => "changed",
        };
        (&held.address, category, render::plan::explain(&held.reason, held.would, &held.address).0)
    });
    let all = done.chain(held).map(|(address, category, detail)| Finding {
        category,
        resource: address.to_string(),
        place: address.place.clone(),
        detail,
    });
    all.collect()
}

fn describe(change: &claw_core::value::Change) -> String {
    let side = |value: &Option<claw_core::value::Value>| {
        value.as_ref().map_or_else(|| "(not set)".to_owned(), render::plan::show)
    };
    format!("{}: is {}, shall be {}", change.path, side(&change.before), side(&change.after))
}
