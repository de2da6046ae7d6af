//! Reads sops files into a tree that keeps their order. Opens nothing.
//!
//! Scalars are kept as the text that sops counts into its MAC, which is not always the one in the file: a YAML `010` is 8.

use std::fmt;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};
use serde::Deserialize;
use serde::de::{self, MapAccess, SeqAccess, Visitor};

use super::SopsError;
use crate::names::{RECIPIENTS_MAX, is_date, printable};

/// How deep a file may nest: secrets lie a few levels deep.
const DEPTH_MAX: usize = 32;

/// A part of a file.
#[derive(Debug, PartialEq)]
pub(super) enum Node {
    Map(Vec<(String, Node)>),
    List(Vec<Node>),
    Text(String),
    Null,
}

/// What sops notes about a file.
pub(super) struct Metadata {
    /// Each recipient, and the key encrypted to it.
    pub(super) age: Vec<(String, String)>,
    pub(super) last_modified: String,
    pub(super) mac: String,
    pub(super) mac_only_encrypted: bool,
}

/// Reads a file, in whichever of its formats sops wrote it, and parts what sops notes from the rest.
pub(super) fn file(text: &str) -> Result<(Node, Metadata), SopsError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let has_line = |begin: &str| text.lines().any(|line| line.starts_with(begin));
    let tree = if text.trim_start().starts_with('{') {
        json(text)?
    } else if has_line("sops_mac=") || has_line("sops_version=") {
        dotenv(text)?
    } else if has_line("[sops]") {
        return Err(SopsError::Unsupported("the format INI"));
    } else {
        yaml(text)?
    };
    let Node::Map(mut entries) = tree else { return Err(SopsError::NotSops) };
    let at = entries.iter().position(|(key, _)| key == "sops").ok_or(SopsError::NotSops)?;
    let (_, noted) = entries.remove(at);
    Ok((Node::Map(entries), metadata(&noted)?))
}

fn metadata(noted: &Node) -> Result<Metadata, SopsError> {
    let text = |node: &Node, name| match node.get(name) {
        Some(Node::Text(text)) if !text.is_empty() => Some(text.clone()),
        _ => None,
    };
    let must = |name| text(noted, name).ok_or(SopsError::Metadata(name));
    if matches!(noted.get("key_groups"), Some(Node::List(groups)) if !groups.is_empty())
        || text(noted, "shamir_threshold").is_some_and(|threshold| !matches!(threshold.as_str(), "0" | "1"))
    {
        return Err(SopsError::Unsupported("several key groups"));
    }
    let Some(Node::List(entries)) = noted.get("age") else { return Err(SopsError::Metadata("age")) };
    let entry = |entry| Some((text(entry, "recipient")?, text(entry, "enc")?));
    let age: Vec<_> = entries.iter().take(RECIPIENTS_MAX).filter_map(entry).collect();
    if age.is_empty() {
        return Err(SopsError::Metadata("age"));
    }
    let mac_only_encrypted = matches!(
        text(noted, "mac_only_encrypted").as_deref(),
        // as Go reads a boolean, which sops writes as a text too
        Some("1" | "t" | "T" | "true" | "TRUE" | "True")
    );
    Ok(Metadata { age, last_modified: must("lastmodified")?, mac: must("mac")?, mac_only_encrypted })
}

impl Node {
    fn get(&self, name: &str) -> Option<&Node> {
        match self {
            Self::Map(entries) => entries.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }
}

// --- YAML ---

/// Reads one YAML document. Aliases are refused, so that a small file cannot become a large tree.
fn yaml(text: &str) -> Result<Node, SopsError> {
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error: ScanError| syntax(error.marker().line(), error.info()))?;
        let line = span.start.line();
        let done = match event {
            Event::DocumentStart(_) if root.is_some() => return Err(SopsError::Unsupported("several documents")),
            Event::Alias(_) => return Err(SopsError::Unsupported("aliases")),
            Event::MappingStart(anchor, tag) => {
                plain_node(anchor, tag.is_some())?;
                open.push(Open::Map(Vec::new(), None));
                None
            }
            Event::SequenceStart(anchor, tag) => {
                plain_node(anchor, tag.is_some())?;
                open.push(Open::List(Vec::new()));
                None
            }
            Event::Scalar(text, style, anchor, tag) => {
                plain_node(anchor, tag.is_some())?;
                // a key is the text that is written there
                let is_key = matches!(open.last(), Some(Open::Map(_, None)));
                Some(if is_key || style != ScalarStyle::Plain { Node::Text(text.into_owned()) } else { plain(&text) })
            }
            Event::MappingEnd | Event::SequenceEnd => open.pop().map(Open::close),
            _ => None,
        };
        if open.len() > DEPTH_MAX {
            return Err(syntax(line, "it nests too deep"));
        }
        if let Some(node) = done {
            match open.last_mut() {
                Some(parent) => parent.take(node).map_err(|why| syntax(line, &why))?,
                None => root = Some(node),
            }
        }
    }
    root.ok_or(SopsError::NotSops)
}

fn syntax(line: usize, why: &str) -> SopsError {
    SopsError::Syntax { line, why: printable(why) }
}

fn plain_node(anchor: usize, has_tag: bool) -> Result<(), SopsError> {
    match (anchor, has_tag) {
        (0, false) => Ok(()),
        (0, true) => Err(SopsError::Unsupported("tags")),
        _ => Err(SopsError::Unsupported("anchors")),
    }
}

/// A mapping or sequence whose end was not read yet.
enum Open {
    Map(Vec<(String, Node)>, Option<String>),
    List(Vec<Node>),
}

impl Open {
    fn take(&mut self, node: Node) -> Result<(), String> {
        match self {
            Self::List(values) => values.push(node),
            Self::Map(entries, key) => match (key.take(), node) {
                (Some(key), node) => entries.push((key, node)),
                (None, Node::Text(name)) => {
                    refuse_twice(entries, &name)?;
                    *key = Some(name);
                }
                (None, _) => return Err("a key that is no text".to_owned()),
            },
        }
        Ok(())
    }

    fn close(self) -> Node {
        match self {
            Self::Map(entries, _) => Node::Map(entries),
            Self::List(values) => Node::List(values),
        }
    }
}

fn refuse_twice(entries: &[(String, Node)], name: &str) -> Result<(), String> {
    match entries.iter().any(|(key, _)| key == name) {
        true => Err(format!("`{}` is there twice", printable(name))),
        false => Ok(()),
    }
}

/// Returns what a plain scalar stands for, as sops reads it.
fn plain(text: &str) -> Node {
    Node::Text(match text {
        "" | "~" | "null" | "Null" | "NULL" => return Node::Null,
        "true" | "True" | "TRUE" => "True".to_owned(),
        "false" | "False" | "FALSE" => "False".to_owned(),
        date if is_date(date) => format!("{date}T00:00:00Z"),
        _ => integer(text).map(|number| number.to_string()).or_else(|| float(text)).unwrap_or_else(|| text.to_owned()),
    })
}

fn integer(text: &str) -> Option<i64> {
    let bare = text.replace('_', "");
    let (sign, digits) = match bare.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", bare.strip_prefix('+').unwrap_or(&bare)),
    };
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let bases = [("0x", 16), ("0b", 2), ("0o", 8)];
    let based = bases.iter().find_map(|(prefix, base)| Some((digits.strip_prefix(prefix)?, *base)));
    let (digits, base) = match based {
        Some(based) => based,
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    i64::from_str_radix(&format!("{sign}{digits}"), base).ok()
}

fn float(text: &str) -> Option<String> {
    let is_number = text.contains(|letter: char| letter.is_ascii_digit())
        && text.chars().all(|letter| letter.is_ascii_digit() || "+-.eE_".contains(letter));
    let number: f64 = is_number.then(|| text.replace('_', "").parse().ok())??;
    Some(number.to_string())
}

// --- JSON ---

fn json(text: &str) -> Result<Node, SopsError> {
    serde_json::from_str(text).map_err(|error| syntax(error.line(), &error.to_string()))
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Text(if value { "True" } else { "False" }.to_owned()))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    // sops reads every JSON number as a float
    #[expect(clippy::cast_precision_loss, reason = "as sops does")]
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Text((number as f64).to_string()))
    }

    #[expect(clippy::cast_precision_loss, reason = "as sops does")]
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Text((number as f64).to_string()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Node, E> {
        Ok(Node::Text(number.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element()? {
            values.push(value);
        }
        Ok(Node::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key::<String>()? {
            refuse_twice(&entries, &key).map_err(de::Error::custom)?;
            entries.push((key, access.next_value()?));
        }
        Ok(Node::Map(entries))
    }
}

// --- dotenv ---

/// Reads dotenv as sops writes it: no quotes, `\n` for a new line, what sops notes under `sops_`.
fn dotenv(text: &str) -> Result<Node, SopsError> {
    let (mut entries, mut noted, mut age) = (Vec::new(), Vec::new(), Vec::<Vec<(String, Node)>>::new());
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once('=').ok_or_else(|| syntax(number + 1, "no `KEY=VALUE`"))?;
        let value = Node::Text(value.replace("\\n", "\n"));
        let Some(name) = key.strip_prefix("sops_") else {
            refuse_twice(&entries, key).map_err(|why| syntax(number + 1, &why))?;
            entries.push((key.to_owned(), value));
            continue;
        };
        match age_field(name) {
            Some((at, field)) if at < RECIPIENTS_MAX => {
                age.resize_with(age.len().max(at + 1), Vec::new);
                age[at].push((field.to_owned(), value));
            }
            // `key_groups__list_0__…` and its like
            _ if name.starts_with("key_groups__") => return Err(SopsError::Unsupported("several key groups")),
            _ => noted.push((name.to_owned(), value)),
        }
    }
    noted.push(("age".to_owned(), Node::List(age.into_iter().map(Node::Map).collect())));
    entries.push(("sops".to_owned(), Node::Map(noted)));
    Ok(Node::Map(entries))
}

/// Takes `age__list_0__map_enc` apart.
fn age_field(name: &str) -> Option<(usize, &str)> {
    let (at, field) = name.strip_prefix("age__list_")?.split_once("__map_")?;
    Some((at.parse().ok()?, field))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_are_read_as_sops_reads_them() {
        for (text, read) in [
            ("12", "12"),
            ("-012", "-10"),
            ("0x1f", "31"),
            ("1_000", "1000"),
            ("1.50", "1.5"),
            ("1e3", "1000"),
            ("TRUE", "True"),
            ("yes", "yes"),
            ("2026-11-21", "2026-11-21T00:00:00Z"),
            ("1.2.3", "1.2.3"),
            ("a-1", "a-1"),
        ] {
            assert_eq!(plain(text), Node::Text(read.to_owned()), "{text}");
        }
        assert_eq!(plain("~"), Node::Null);
    }

    #[test]
    fn what_could_grow_is_refused() {
        let deep = "[".repeat(5_000);
        let stairs: String = (0..100).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
        for (text, says) in [
            ("a: &x [1]\nb: *x\n", "anchors"),
            ("a: *x\n", "anchor"),
            ("a: !!binary aGk=\n", "tags"),
            ("a: 1\n---\nb: 2\n", "several documents"),
            ("a: 1\na: 2\n", "`a` is there twice"),
            ("{\"a\": 1, \"a\": 2}", "`a` is there twice"),
            ("[a]: 1\n", "no text"),
            (&stairs, "too deep"),
            (&format!("a: {deep}"), "recursion limit"),
            (&format!("{{\"a\": {deep}"), "recursion limit"),
            ("a: 1\n", "no `sops` section"),
            ("- a\n", "no `sops` section"),
            ("[x]\na = 1\n[sops]\n", "INI"),
        ] {
            let error = file(text).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
            assert!(!error.help().is_empty());
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(
            text in "(?s)[a-z:\\-{}\\[\\]\"'|>&*!#%@ \n\t0-9.,]{0,120}", any in "(?s).{0,80}", value in "\\PC{0,20}"
        ) {
            drop(file(&text));
            drop(file(&any));
            drop(file(&format!("sops_mac={value}\n{any}")));
            drop(file(&format!("{{\"{value}\": {text}")));
            plain(&value);
        }
    }
}
