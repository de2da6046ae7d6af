//! From the text of the fleet's files to a fleet, or to every problem in them. Opens no file: the texts are given.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};
use toml::de::DeTable;

use super::file::{FleetFile, ProviderKind, ProviderTable};
use super::merge::{include, over};
use super::tree::{Node, Tree, location};
use super::{AgentTable, Fleet, fleet_schema, shape};
use crate::problem::Problem;

/// The largest fleet file claw reads, in bytes: far above any fleet, far below what exhausts a machine.
pub const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// One file of the fleet: its name as the person knows it, and its text.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// The path as the person knows it.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// Returns the `include` patterns of the main file; none when it cannot be read.
pub fn include_patterns(main: &SourceFile) -> Vec<String> {
    let (document, _) = DeTable::parse_recoverable(&main.text);
    let patterns = document.get_ref().get("fleet").and_then(|fleet| fleet.get_ref().get("include"));
    let items = patterns.and_then(|list| list.get_ref().as_array());
    items
        .into_iter()
        .flat_map(|list| list.iter())
        .filter_map(|item| item.get_ref().as_str())
        .map(str::to_owned)
        .collect()
}

/// Returns the fleet as far as the files make sense, and every problem in them. What has the wrong shape is left out of
/// the fleet, so that what else is wrong can be told at once; a fleet is whole only where there are no errors.
pub fn load(files: &[SourceFile]) -> (Option<Fleet>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut nodes = files.iter().filter_map(|file| parse(file, &mut problems));
    let Some(mut root) = nodes.next() else { return (None, problems) };
    let others: Vec<_> = nodes.collect();
    if !problems.is_empty() {
        return (None, problems);
    }
    if root.table().is_some_and(|entries| entries.is_empty()) {
        let problem = Problem::error("empty-fleet", "the fleet file is empty").at(root.at.clone());
        let help = "an empty file never means \"nothing is wanted\"; `claw init` writes a skeleton";
        return (None, vec![problem.help(help)]);
    }
    for other in others {
        include(&mut root, other, &mut problems);
    }
    shape::check(&mut root, &fleet_schema(), &mut problems);
    if root.table().is_some_and(|entries| !entries.contains_key("fleet")) {
        problems.push(
            Problem::error("missing-key", "there is no `[fleet]` table")
                .at(location(&root.at.file, 0..0))
                .help("add [fleet] with `name` and `id`; `claw init` writes one with a random id"),
        );
    }
    if problems.iter().any(|problem| problem.code == "missing-key") {
        return (None, problems);
    }
    let fleet = assemble(Tree { root }, &mut problems);
    (fleet, problems)
}

fn parse(file: &SourceFile, problems: &mut Vec<Problem>) -> Option<Node> {
    let (document, errors) = DeTable::parse_recoverable(&file.text);
    let clean = errors.is_empty();
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        problems.push(Problem::error("syntax", error.message().to_owned()).at(location(&file.path, span)));
    }
    clean.then(|| Node::from_document(&file.path, document.span(), document.get_ref()))
}

/// Types the tree. Shapes were checked, so what fails here is a value serde reads more strictly than the schema says.
fn assemble(tree: Tree, problems: &mut Vec<Problem>) -> Option<Fleet> {
    let file = typed::<FleetFile>(tree.root.to_json(), &tree, &[], problems)?;
    let mut agents = std::collections::BTreeMap::new();
    for (key, own) in &file.agents {
        let empty = Map::new();
        let merged = over(&file.defaults.agent, own.as_object().unwrap_or(&empty));
        if let Some(agent) = typed::<AgentTable>(Json::Object(merged), &tree, &["agents", key], problems) {
            agents.insert(key.clone(), agent);
        }
    }
    Some(Fleet {
        meta: file.fleet.unwrap_or_default(),
        providers: file.providers.into_iter().map(|(name, table)| (name.clone(), settle_kind(&name, table))).collect(),
        profiles: file.secrets,
        policy: file.policy,
        agents,
        tree,
    })
}

fn typed<T: DeserializeOwned>(json: Json, tree: &Tree, path: &[&str], problems: &mut Vec<Problem>) -> Option<T> {
    serde_json::from_value(json)
        .map_err(|error| problems.push(Problem::error("wrong-value", error.to_string()).at(tree.key(path))))
        .ok()
}

/// A provider named like a kind is of that kind.
fn settle_kind(name: &str, mut table: ProviderTable) -> ProviderTable {
    if table.kind.is_none() && name == "docker" {
        table.kind = Some(ProviderKind::Docker);
    }
    table
}
