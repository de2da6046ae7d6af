//! Merging: included files into the main one, defaults into agents. Tables merge, arrays and values replace.

use serde_json::{Map, Value as Json};

use super::tree::{Entry, Node, NodeValue};
use crate::problem::Problem;

/// Returns the defaults with an agent's own values over them.
pub fn over(defaults: &Map<String, Json>, own: &Map<String, Json>) -> Map<String, Json> {
    let mut merged = defaults.clone();
    for (key, value) in own {
        match (merged.get_mut(key), value) {
            (Some(Json::Object(below)), Json::Object(above)) => *below = over(below, above),
            _ => {
                merged.insert(key.clone(), value.clone());
            }
        }
    }
    merged
}

/// Adds an included file's tables to the main tree. A name that both define is a problem that points to the second.
pub fn include(main: &mut Node, other: Node, problems: &mut Vec<Problem>) {
    if let Some(entry) = other.table().and_then(|entries| entries.get("fleet")) {
        problems.push(
            Problem::error("include-fleet", "an included file cannot have a `[fleet]` table")
                .at(entry.key.clone())
                .help("keep `[fleet]` in the main file only; included files hold agents, providers, secrets"),
        );
    }
    let (NodeValue::Table(into), NodeValue::Table(from)) = (&mut main.value, other.value) else { return };
    for (key, entry) in from {
        match into.get_mut(&key) {
            None => {
                into.insert(key, entry);
            }
            Some(_) if key == "fleet" => {}
            Some(there) => adopt_names(&key, &mut there.node, entry, problems),
        }
    }
}

fn adopt_names(section: &str, into: &mut Node, entry: Entry, problems: &mut Vec<Problem>) {
    if entry.node.table().is_none() {
        let message = format!("`{section}` wants a table, not {}", entry.node.type_word());
        problems.push(Problem::error("wrong-type", message).at(entry.node.at.clone()));
    }
    let (NodeValue::Table(names), NodeValue::Table(more)) = (&mut into.value, entry.node.value) else { return };
    for (name, item) in more {
        if let Some(first) = names.get(&name) {
            let message = format!("`{section}.{name}` is defined twice");
            problems.push(
                Problem::error("duplicate", message)
                    .at(item.key)
                    .help(format!("the other one is in {}", first.key.file)),
            );
        } else {
            names.insert(name, item);
        }
    }
}
