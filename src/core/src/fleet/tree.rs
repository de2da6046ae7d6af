//! A TOML document that remembers where each key and value stands. Checks nothing.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Map, Value as Json};
use toml::de::{DeTable, DeValue};

use crate::problem::Location;

/// A value, with its place.
#[derive(Clone, Debug)]
pub struct Node {
    pub at: Location,
    pub value: NodeValue,
}

#[derive(Clone, Debug)]
pub enum NodeValue {
    Table(BTreeMap<String, Entry>),
    Array(Vec<Node>),
    String(String),
    Integer(String),
    Float(f64),
    Boolean(bool),
    Datetime(String),
}

/// A key of a table, with its place, and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: Location,
    pub node: Node,
}

/// The fleet's files as one tree.
#[derive(Clone, Debug)]
pub struct Tree {
    pub(super) root: Node,
}

impl Tree {
    /// Returns where the value at a path stands, if it is there.
    pub fn exact(&self, path: &[&str]) -> Option<Location> {
        self.entry(path).map(|entry| entry.node.at.clone())
    }

    /// Returns where the last key of a path stands, if it is there.
    pub fn key(&self, path: &[&str]) -> Option<Location> {
        self.entry(path).map(|entry| entry.key.clone())
    }

    /// Returns where an item of an array stands; the array if there is no such item.
    pub fn item(&self, path: &[&str], index: usize) -> Option<Location> {
        let node = &self.entry(path)?.node;
        match &node.value {
            NodeValue::Array(items) => Some(items.get(index).map_or(&node.at, |item| &item.at).clone()),
            _ => Some(node.at.clone()),
        }
    }

    fn entry(&self, path: &[&str]) -> Option<&Entry> {
        let (last, parents) = path.split_last()?;
        let mut table = self.root.table()?;
        for step in parents {
            table = table.get(*step)?.node.table()?;
        }
        table.get(*last)
    }
}

impl Node {
    /// Returns the tree of a parsed document.
    pub fn from_document(file: &str, span: Range<usize>, table: &DeTable<'_>) -> Self {
        Self { at: location(file, span), value: NodeValue::Table(entries(file, table)) }
    }

    pub fn table(&self) -> Option<&BTreeMap<String, Entry>> {
        if let NodeValue::Table(entries) = &self.value { Some(entries) } else { None }
    }

    /// Returns the word TOML has for its type.
    pub fn type_word(&self) -> &'static str {
        match self.value {
            NodeValue::Table(_) => "a table",
            NodeValue::Array(_) => "an array",
            NodeValue::String(_) => "a string",
            NodeValue::Integer(_) => "an integer",
            NodeValue::Float(_) => "a float",
            NodeValue::Boolean(_) => "a boolean",
            NodeValue::Datetime(_) => "a date",
        }
    }

    /// Returns it as JSON. Dates become texts.
    pub fn to_json(&self) -> Json {
        match &self.value {
            NodeValue::Table(entries) => Json::Object(
                entries.iter().map(|(key, entry)| (key.clone(), entry.node.to_json())).collect::<Map<_, _>>(),
            ),
            NodeValue::Array(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            NodeValue::String(text) | NodeValue::Datetime(text) => Json::String(text.clone()),
            NodeValue::Integer(digits) => digits.parse::<i64>().map_or(Json::Null, Json::from),
            NodeValue::Float(number) => Json::from(*number),
            NodeValue::Boolean(flag) => Json::Bool(*flag),
        }
    }
}

pub fn location(file: &str, span: Range<usize>) -> Location {
    Location { file: file.to_owned(), start: span.start, end: span.end }
}

fn entries(file: &str, table: &DeTable<'_>) -> BTreeMap<String, Entry> {
    table
        .iter()
        .map(|(key, value)| {
            let entry = Entry {
                key: location(file, key.span()),
                node: Node { at: location(file, value.span()), value: node_value(file, value.get_ref()) },
            };
            (key.get_ref().to_string(), entry)
        })
        .collect()
}

fn node_value(file: &str, value: &DeValue<'_>) -> NodeValue {
    match value {
        DeValue::String(text) => NodeValue::String(text.to_string()),
        DeValue::Integer(integer) => NodeValue::Integer(
            i64::from_str_radix(integer.as_str(), integer.radix())
                .map_or_else(|_| integer.as_str().to_owned(), |n| n.to_string()),
        ),
        DeValue::Float(float) => NodeValue::Float(float.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => NodeValue::Boolean(*flag),
        DeValue::Datetime(date) => NodeValue::Datetime(date.to_string()),
        DeValue::Array(items) => NodeValue::Array(
            items
                .iter()
                .map(|item| Node { at: location(file, item.span()), value: node_value(file, item.get_ref()) })
                .collect(),
        ),
        DeValue::Table(table) => NodeValue::Table(entries(file, table)),
    }
}
