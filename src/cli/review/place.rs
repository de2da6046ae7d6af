//! Where something stands in a profile file: for people who review it. Reads no value.

use std::ops::Range;

use claw_core::fleet::SourceFile;
use claw_core::problem::Location;
use toml_edit::{Document, Item};

/// Returns where a field of an entry stands; its section where it has no such field, else the file.
pub fn of(source: &SourceFile, path: &[&str]) -> Location {
    let span = find(&source.text, path).unwrap_or(0..0);
    Location { file: source.path.clone(), start: span.start, end: span.end }
}

fn find(text: &str, path: &[&str]) -> Option<Range<usize>> {
    let document = Document::parse(text).ok()?;
    let mut table = document.as_table();
    let mut best = None;
    for key in path {
        let (name, item) = table.get_key_value(key)?;
        best = item.span().or_else(|| name.span()).or(best);
        match item {
            Item::Table(inner) => table = inner,
            _ => break,
        }
    }
    best
}
