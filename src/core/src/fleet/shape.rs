//! Holds a document against the fleet file's schema and reports every key and type that does not fit, at once.
//! Knows the few words of JSON Schema that schemars uses for our structs, not the whole language.

use serde_json::Value as Json;

use super::tree::{Node, NodeValue};
use crate::problem::{Location, Problem, did_you_mean};

/// Adds a problem for each place where the node does not have the schema's shape, and takes what does not out of it.
pub fn check(node: &mut Node, schema: &Json, problems: &mut Vec<Problem>) {
    Checker { root: schema, problems }.check(node, schema, "the file");
}

/// The schema of what may be anything that JSON can say.
static ANYTHING: Json = Json::Bool(true);

struct Checker<'a> {
    root: &'a Json,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Checker<'a> {
    /// Returns whether the node may stay.
    fn check(&mut self, node: &mut Node, schema: &'a Json, name: &str) -> bool {
        let schema = self.resolve(schema);
        if let NodeValue::Integer(digits) = &node.value
            && digits.parse::<i64>().is_err()
        {
            self.problems.push(
                Problem::error("number-range", format!("{digits} is too large for an integer")).at(node.at.clone()),
            );
            return false;
        }
        if let NodeValue::Float(number) = node.value
            && !number.is_finite()
        {
            self.problems
                .push(Problem::error("number-range", format!("`{name}` cannot be {number}")).at(node.at.clone()));
            return false;
        }
        if !fits(node, schema) {
            self.problems.push(
                Problem::error("wrong-type", format!("`{name}` wants {}, not {}", wanted(schema), node.type_word()))
                    .at(node.at.clone()),
            );
            return false;
        }
        match &mut node.value {
            NodeValue::Table(_) => self.table(node, schema, name),
            NodeValue::Array(items) => {
                let of = schema.get("items").unwrap_or(&ANYTHING);
                items.retain_mut(|item| self.check(item, of, name));
            }
            NodeValue::String(text) => return self.word(&node.at, schema, name, text),
            NodeValue::Integer(digits) => return self.range(&node.at, schema, name, digits),
            _ => {}
        }
        true
    }

    fn table(&mut self, node: &mut Node, schema: &'a Json, name: &str) {
        let at = node.at.clone();
        let NodeValue::Table(entries) = &mut node.value else { return };
        let properties = schema.get("properties").and_then(Json::as_object);
        let additional = schema.get("additionalProperties").unwrap_or(&ANYTHING);
        for key in schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str) {
            if !entries.contains_key(key) {
                self.problems.push(
                    Problem::error("missing-key", format!("`{name}` has no `{key}`"))
                        .at(at.clone())
                        .help(describe(properties.and_then(|known| known.get(key)), key)),
                );
            }
        }
        entries.retain(|key, entry| {
            if let Some(property) = properties.and_then(|known| known.get(key)) {
                self.check(&mut entry.node, property, key)
            } else if *additional == Json::Bool(false) {
                let known = properties.into_iter().flat_map(|map| map.keys().map(String::as_str));
                self.unknown_key(key, entry.key.clone(), known.collect(), name);
                false
            } else {
                self.check(&mut entry.node, additional, key)
            }
        });
    }

    fn unknown_key(&mut self, key: &str, at: Location, known: Vec<&str>, name: &str) {
        let problem = Problem::error("unknown-key", format!("unknown key `{key}` in {}", place(name))).at(at);
        self.problems.push(match did_you_mean(key, known.iter().copied()) {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None => problem.help(format!("known keys: {}", known.join(", "))),
        });
    }

    fn word(&mut self, at: &Location, schema: &'a Json, name: &str, text: &str) -> bool {
        let words = enum_words(schema);
        let known = words.is_empty() || words.contains(&text);
        if !known {
            let problem = Problem::error("unknown-value", format!("`{name}` cannot be \"{text}\"")).at(at.clone());
            self.problems.push(match did_you_mean(text, words.iter().copied()) {
                Some(near) => problem.help(format!("did you mean \"{near}\"?")),
                None => problem.help(format!("it can be: {}", words.join(", "))),
            });
        }
        known
    }

    fn range(&mut self, at: &Location, schema: &'a Json, name: &str, digits: &str) -> bool {
        let number = digits.parse::<f64>().unwrap_or(f64::NAN);
        let bound = |word: &str| schema.get(word).and_then(Json::as_f64);
        let outside =
            bound("minimum").is_some_and(|min| number < min) || bound("maximum").is_some_and(|max| number > max);
        if outside {
            self.problems.push(
                Problem::error("number-range", format!("`{name}` cannot be {digits}")).at(at.clone()).help(format!(
                    "it lies between {} and {}",
                    bound("minimum").unwrap_or(f64::MIN),
                    bound("maximum").unwrap_or(f64::MAX)
                )),
            );
        }
        !outside
    }

    /// Follows references, and steps into the one alternative that is not null.
    fn resolve(&self, mut schema: &'a Json) -> &'a Json {
        for _ in 0..16 {
            if let Some(path) = schema.get("$ref").and_then(Json::as_str) {
                let Some(target) = self.root.pointer(path.trim_start_matches('#')) else { return schema };
                schema = target;
            } else if let Some([only]) = schema.get("allOf").and_then(Json::as_array).map(Vec::as_slice) {
                schema = only;
            } else if let Some(real) = schema
                .get("anyOf")
                .and_then(Json::as_array)
                .and_then(|all| all.iter().find(|one| one.get("type") != Some(&Json::from("null"))))
            {
                schema = real;
            } else {
                return schema;
            }
        }
        schema
    }
}

fn place(name: &str) -> String {
    if name == "the file" { name.to_owned() } else { format!("`{name}`") }
}

fn describe(property: Option<&Json>, key: &str) -> String {
    let text = property.and_then(|schema| schema.get("description")).and_then(Json::as_str);
    text.map_or_else(|| format!("add `{key}`"), |text| format!("add `{key}`: {}", text.replace('\n', " ")))
}

fn types(schema: &Json) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(one)) => vec![one.as_str()],
        Some(Json::Array(several)) => several.iter().filter_map(Json::as_str).filter(|word| *word != "null").collect(),
        _ if !enum_words(schema).is_empty() => vec!["string"],
        _ => Vec::new(),
    }
}

/// Returns the words of an enum, whether written as one list or, with a description each, as alternatives.
fn enum_words(schema: &Json) -> Vec<&str> {
    let listed = schema.get("enum").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
    let alternatives = schema.get("oneOf").and_then(Json::as_array).into_iter().flatten().flat_map(|one| {
        let several = one.get("enum").and_then(Json::as_array).into_iter().flatten();
        several.chain(one.get("const")).filter_map(Json::as_str)
    });
    listed.chain(alternatives).collect()
}

fn fits(node: &Node, schema: &Json) -> bool {
    let types = types(schema);
    types.is_empty()
        || types.iter().any(|word| match (&node.value, *word) {
            (NodeValue::Table(_), "object")
            | (NodeValue::Array(_), "array")
            | (NodeValue::String(_), "string")
            | (NodeValue::Integer(_), "integer" | "number")
            | (NodeValue::Float(_), "number")
            | (NodeValue::Boolean(_), "boolean") => true,
            (NodeValue::Datetime(_), "string") => schema.get("format") == Some(&Json::from("date")),
            _ => false,
        })
}

fn wanted(schema: &Json) -> String {
    if schema.get("format") == Some(&Json::from("date")) {
        return "a date".to_owned();
    }
    let words: Vec<_> = types(schema)
        .into_iter()
        .map(|word| match word {
            "object" => "a table",
            "array" => "an array",
            "string" => "a string",
            "integer" => "an integer",
            "number" => "a number",
            "boolean" => "true or false",
            other => other,
        })
        .collect();
    words.join(" or ")
}
