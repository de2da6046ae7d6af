//! `claw show`: one agent or resource, as it shall be and as it is.

use std::path::Path;

use clap::Args;
use claw_core::name::Address;
use claw_core::observed::{Owner, Seen};
use claw_core::value::{Fields, Value};
use serde_json::{Value as Json, json};

use super::Outcome;
use super::formats::PlanOutput;
use crate::args::Global;
use crate::error::CommandError;
use crate::exit;
use crate::render::{self, plan::Detail, plan::leaves, style};
use crate::saved;
use crate::session::Session;
use crate::setup::Setup;

/// Show an agent or a resource, as it shall be and as it is, or a saved plan
#[derive(Debug, Args)]
pub struct Show {
    /// An agent (pete), a resource (container/pete), or the file of a saved plan (plan.json).
    name: String,
    #[command(flatten)]
    output: PlanOutput,
}

impl Show {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        if self.name.ends_with(".json") && self.output.is_named() {
            let session = self.output.open(global, setup)?;
            let opened = saved::read(&session, Path::new(&self.name))?;
            self.output.write((global, setup), &session, (&opened.saved.plan, Some(opened.digest)), Detail::Full)?;
            return Ok(exit::DONE);
        }
        let mut session = Session::open(global, setup)?;
        super::announce_sandbox(global);
        if self.name.ends_with(".json") {
            return saved(global, &session, Path::new(&self.name));
        }
        if self.output.is_named() {
            return Err(CommandError::usage("only a saved plan has a --format").help("name its file, plan.json"));
        }
        let observed = super::wait(session.observe())?;
        let id = session.agent_id(&self.name);
        let mut found: Vec<Address> = session.desired.resources.keys().chain(observed.states.keys()).cloned().collect();
        found.retain(|address| address.id.name == id || address.id.to_string() == id);
        found.sort();
        found.dedup();
        if found.is_empty() {
            return Err(CommandError::usage(format!("there is no agent and no resource `{}`", self.name))
                .help("`claw status` lists the agents; a resource is written container/pete"));
        }
        let wanted = |address: &Address| session.desired.resources.get(address).map(|resource| &resource.fields);
        if global.json {
            let all: Vec<Json> = found
                .iter()
                .map(|address| {
                    let (state, fields) = state(observed.seen(address));
                    json!({
                        "resource": address.id, "place": address.place, "state": state, "observed": fields,
                        "desired": wanted(address), "needs": session.desired.resources.get(address).map(|one| &one.needs),
                    })
                })
                .collect();
            render::json(&all);
            return Ok(exit::DONE);
        }
        for address in &found {
            let (state, is) = state(observed.seen(address));
            render::out(format_args!("{} on {}: {state}", style::paint(style::BOLD, address), address.place));
            draw(wanted(address), is);
        }
        Ok(exit::DONE)
    }
}

/// Shows a saved plan, once its signature was checked.
fn saved(global: &Global, session: &Session, path: &Path) -> Outcome {
    let opened = saved::read(session, path)?;
    if global.json {
        render::json(&json!({ "digest": opened.digest, "envelope": opened.envelope, "body": opened.saved }));
        return Ok(exit::DONE);
    }
    let envelope = &opened.envelope;
    let commit = envelope.commit.as_ref().map(|commit| format!(", commit {commit}")).unwrap_or_default();
    render::out(format_args!("Made {}{commit}, by claw {}\nDigest: {}\n", envelope.made, envelope.claw, opened.digest));
    render::out(render::plan::draw(&opened.saved.plan, &session.desired, Detail::Full));
    Ok(exit::DONE)
}

fn state(seen: Seen<'_>) -> (String, Option<&Fields>) {
    match seen {
        Seen::Absent => ("not there".to_owned(), None),
        Seen::Unknown(why) => (format!("unknown, {why}"), None),
        Seen::Present(actual) if actual.owner == Owner::Foreign => ("foreign".to_owned(), None),
        Seen::Present(actual) => ("there".to_owned(), Some(&actual.fields)),
    }
}

/// Draws each field once where both agree, else both sides.
fn draw(wanted: Option<&Fields>, is: Option<&Fields>) {
    let list = |fields: Option<&Fields>| -> Vec<(String, Value)> { fields.map(leaves).unwrap_or_default() };
    let (wanted, is) = (list(wanted), list(is));
    for (path, value) in &wanted {
        let there = is.iter().find(|(other, _)| other == path).map(|(_, value)| value);
        let note = match there {
            Some(there) if there != value => {
                format!("  {}", style::paint(style::YELLOW, format!("is {}", render::plan::show(there))))
            }
            _ => String::new(),
        };
        render::out(format_args!("  {path}: {}{note}", render::plan::show(value)));
    }
    for (path, value) in is.iter().filter(|(path, _)| !wanted.iter().any(|(other, _)| other == path)) {
        render::out(format_args!(
            "  {path}: (not set)  {}",
            style::paint(style::YELLOW, format!("is {}", render::plan::show(value)))
        ));
    }
}
