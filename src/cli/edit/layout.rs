//! How a fleet file is laid out: what a person would look at before adding lines of their own. Changes nothing.

use toml_edit::{Item, Table};

/// The layout of the tables of a section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// What stands before `[header]`s.
    pub header_indent: String,
    /// What stands before keys, beyond that.
    pub key_indent: String,
    /// Whether the `=` of a table stand below each other.
    pub aligned: bool,
}

impl Layout {
    /// Returns the layout of a section: that of its last table with keys of its own, aligned where most are.
    pub fn of_section(text: &str, names: &Table) -> Self {
        let tables = names.iter().filter_map(|(_, item)| item.as_table()).filter(|table| !table.is_dotted());
        let mut tables: Vec<&Table> = tables.filter(|table| !table.is_implicit()).collect();
        tables.sort_by_key(|table| table.span().map(|span| span.start));
        let votes: Vec<bool> = tables.iter().filter_map(|table| aligned(text, table)).collect();
        let aligned = votes.iter().filter(|vote| **vote).count() * 2 > votes.len();
        let headers = tables.last().and_then(|table| table.span());
        let header_indent = headers.map(|span| indent(text, span.start)).unwrap_or_default();
        let keys = tables.iter().rev().find_map(|table| starts(table).next());
        let key_indent = keys.map(|start| indent(text, start)).unwrap_or_default();
        let key_indent = key_indent.strip_prefix(&header_indent).unwrap_or_default().to_owned();
        Self { header_indent, key_indent, aligned }
    }
}

/// Returns where the keys of a table begin.
fn starts(table: &Table) -> impl Iterator<Item = usize> {
    let keys = table.iter().filter(|(_, item)| item.is_value()).map(|(key, _)| key);
    keys.filter_map(|key| Some(table.key(key)?.span()?.start))
}

/// Whether the `=` of a table stand below each other where they would not by chance; `None` where nobody can tell.
fn aligned(text: &str, table: &Table) -> Option<bool> {
    let mut ends = Vec::new();
    let mut columns = Vec::new();
    for (key, _) in table.iter().filter(|(_, item)| matches!(item, Item::Value(_))) {
        let span = table.key(key)?.span()?;
        let start = line_start(text, span.start);
        ends.push(span.end - start);
        columns.push(span.end + text[span.end..].find('=')? - start);
    }
    let same = |all: &[usize]| all.windows(2).all(|two| two[0] == two[1]);
    (!same(&ends)).then(|| same(&columns))
}

/// Returns the white space a line begins with.
pub fn indent(text: &str, inside: usize) -> String {
    let before = &text[line_start(text, inside)..inside];
    before.chars().take_while(|letter| *letter == ' ' || *letter == '\t').collect()
}

/// Returns how many blank lines, one at most, stand above a header and the comments right above it. At the beginning of a
/// file nobody can tell, and one is usual.
pub fn gap_above(text: &str, header: usize) -> usize {
    let mut lines = text[..line_start(text, header)].lines().rev().skip_while(|line| line.trim().starts_with('#'));
    usize::from(lines.next().is_none_or(|line| line.trim().is_empty()))
}

/// Returns how the lines of a text end.
pub fn newline(text: &str) -> &'static str {
    let first = text.find('\n');
    if first.is_some_and(|at| text[..at].ends_with('\r')) { "\r\n" } else { "\n" }
}

fn line_start(text: &str, inside: usize) -> usize {
    text[..inside].rfind('\n').map_or(0, |at| at + 1)
}
