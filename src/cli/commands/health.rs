//! `claw health`: how agents and hosts are, layer by layer, and what failed.

use clap::Args;
use claw_core::operate::{Layer, OperateError, Target};
use claw_core::text::clean;
use serde_json::json;

use super::Outcome;
use super::operate::{Subject, find, open, recorded};
use crate::args::Global;
use crate::exit;
use crate::render::{self, style};
use crate::setup::Setup;

/// Say how agents and hosts are: connection, command, gateway
///
/// Each layer is asked only when the one below it works. Exits 1 when something is not well.
#[derive(Debug, Args)]
pub struct Health {
    /// Agents and hosts; all when none is named.
    names: Vec<String>,
}

impl Health {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        let session = open(global, setup)?;
        let all: Vec<String> = session.fleet.hosts.keys().chain(session.fleet.agents.keys()).cloned().collect();
        let names = if self.names.is_empty() { all } else { self.names };
        let subjects: Vec<Subject> = names.iter().map(|name| find(&session, name)).collect::<Result<_, _>>()?;
        let mut looks = Vec::new();
        for subject in &subjects {
            looks.push(subject.operate()?.health(&subject.target));
        }
        let found = super::wait(futures_util::future::join_all(looks))?;
        for (subject, layers) in subjects.iter().zip(&found) {
            let failure = layers.iter().find_map(|layer| layer.outcome.as_ref().err());
            let failure = failure.map_or(Ok(()), |why| Err(OperateError::new(why.clone())));
            recorded(&session, "health", subject, "", failure).ok(); // what failed is shown below
        }
        let well = found.iter().flatten().all(|layer| layer.outcome.is_ok());
        if global.json {
            let rows: Vec<_> = subjects.iter().zip(&found).map(|(subject, layers)| facts(subject, layers)).collect();
            render::json(&rows);
        } else {
            for (subject, layers) in subjects.iter().zip(&found) {
                draw(subject, layers);
            }
        }
        Ok(if well { exit::DONE } else { exit::FAILED })
    }
}

fn facts(subject: &Subject, layers: &[Layer]) -> serde_json::Value {
    let layers: Vec<_> = layers
        .iter()
        .map(|layer| {
            let (ok, text) = match &layer.outcome {
                Ok(text) => (true, text),
                Err(text) => (false, text),
            };
            json!({ "layer": layer.name, "ok": ok, "text": clean(text, 400), "took_ms": layer.took_ms })
        })
        .collect();
    let kind = if subject.target == Target::Host { "host" } else { "agent" };
    json!({ "name": subject.name, "kind": kind, "layers": layers })
}

fn draw(subject: &Subject, layers: &[Layer]) {
    render::out(style::paint(style::BOLD, &subject.name));
    for layer in layers {
        let (sign, text) = match &layer.outcome {
            Ok(text) => (style::paint(style::GREEN, "✓"), clean(text, 400)),
            Err(text) => (style::paint(style::RED, "✗"), clean(text, 400)),
        };
        let took = style::paint(style::DIM, format!("{} ms", layer.took_ms));
        render::out(format_args!("  {sign} {:10} {text}  {took}", layer.name));
    }
}
