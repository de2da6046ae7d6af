//! `claw graph`: what needs what.

use std::fmt::Write;

use clap::{Args, ValueEnum};
use claw_core::name::Address;
use serde_json::json;

use super::Outcome;
use crate::args::Global;
use crate::exit;
use crate::render;
use crate::session::Session;
use crate::setup::Setup;

/// Draw what needs what, for Graphviz or Mermaid
///
/// Offline: the graph of what the fleet asks for. `claw graph | dot -Tsvg > fleet.svg`
#[derive(Debug, Args)]
pub struct Graph {
    /// The language to draw in.
    #[arg(long, value_enum, default_value_t = Format::Dot)]
    format: Format,
}

/// A language for graphs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Graphviz.
    Dot,
    /// Mermaid, which GitHub and GitLab show in Markdown.
    Mermaid,
}

impl Graph {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        let session = Session::open(global, setup)?;
        let resources = &session.desired.resources;
        let nodes: Vec<&Address> = resources.keys().collect();
        let edges: Vec<(&Address, &Address)> = resources
            .iter()
            .flat_map(|(address, resource)| resource.needs.iter().map(move |need| (address, need)))
            .collect();
        if global.json {
            let pairs: Vec<_> = edges.iter().map(|(from, to)| json!({ "from": from.id, "needs": to.id })).collect();
            render::json(&json!({ "nodes": nodes, "edges": pairs }));
        } else {
            render::out(match self.format {
                Format::Dot => dot(&nodes, &edges),
                Format::Mermaid => mermaid(&nodes, &edges),
            });
        }
        Ok(exit::DONE)
    }
}

fn dot(nodes: &[&Address], edges: &[(&Address, &Address)]) -> String {
    let mut text = "digraph fleet {\n  rankdir = LR;\n  node [shape = box];\n".to_owned();
    for node in nodes {
        let _ = writeln!(text, "  \"{node}\";");
    }
    for (from, to) in edges {
        let _ = writeln!(text, "  \"{to}\" -> \"{from}\";");
    }
    text.push('}');
    text
}

fn mermaid(nodes: &[&Address], edges: &[(&Address, &Address)]) -> String {
    let name = |address: &Address| address.to_string().replace(['/', '-'], "_");
    let mut text = "graph LR".to_owned();
    for node in nodes {
        let _ = write!(text, "\n  {}[\"{node}\"]", name(node));
    }
    for (from, to) in edges {
        let _ = write!(text, "\n  {} --> {}", name(to), name(from));
    }
    text
}
