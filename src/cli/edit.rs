//! Adds a table to the text of a fleet file, in the way the file is written, or takes entries out: text in, text out, and
//! every other byte stays. Knows no agent, checks nothing but syntax, opens no file.

mod file;
mod layout;

pub use file::{Replaced, replace};

use std::ops::Range;

use toml_edit::{Document, InlineTable, Item, Key, Table, Value};

use self::layout::Layout;

/// The keys and values of a table, in the order they are written.
pub type Fields = Vec<(&'static str, Value)>;

/// A text to which a table was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// The whole text.
    pub text: String,
    /// What was added, without line ends.
    pub lines: Vec<String>,
    /// The line it begins in, from 1.
    pub line: usize,
}

/// How the last table of a section is written: the next one is written the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `[agents.pete]` and lines below.
    Header,
    /// `pete = { … }` below `[agents]`, or `agents.pete = { … }` at the top.
    Inline,
    /// `pete.on = …` below `[agents]`, or `agents.pete.on = …` at the top.
    Dotted,
}

/// Returns the text with a table added after the last one of its section, or what keeps the text from being read.
pub fn add_table(text: &str, section: &str, name: &str, fields: &Fields) -> Result<Added, String> {
    let document = Document::parse(text).map_err(|error| error.message().to_owned())?;
    let added = match document.as_table().get(section) {
        Some(Item::Value(Value::InlineTable(names))) => add_inside(text, names, name, fields),
        Some(Item::Table(names)) => add_to(text, section, names, name, fields),
        Some(_) => return Err(format!("`{section}` is not a table")),
        None => {
            let block = header(section, name, fields, &Layout::default());
            splice(text, text.len(), "", &block, 1)
        }
    };
    match Document::parse(added.text.as_str()) {
        Ok(_) => Ok(added),
        Err(error) => Err(error.message().to_owned()),
    }
}

/// Returns the text without some entries: items of arrays, or keys with their values, by where they stand. One that has a
/// line to itself goes with its line and the comment behind it; every other byte stays.
pub fn without(text: &str, spans: &[Range<usize>]) -> Result<String, String> {
    let mut spans = spans.to_vec();
    spans.sort_by_key(|span| std::cmp::Reverse(span.start));
    spans.dedup();
    let mut text = text.to_owned();
    for span in spans {
        let cut = around(&text, span).ok_or("an entry is not where it was")?;
        text.replace_range(cut, "");
    }
    match Document::parse(text.as_str()) {
        Ok(_) => Ok(text),
        Err(error) => Err(error.message().to_owned()),
    }
}

/// Returns what goes with an entry: its line, or the comma that parts it from the others.
fn around(text: &str, Range { start, end }: Range<usize>) -> Option<Range<usize>> {
    let (before, after) = (text.get(..start)?, text.get(end..)?);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line_end = after.find('\n').map_or(text.len(), |at| end + at + 1);
    let behind = text[end..line_end].trim_start().trim_start_matches(',').trim_start();
    let own_line =
        !before[line_start..].contains(['[', '{', ',', '=']) && (behind.is_empty() || behind.starts_with('#'));
    if own_line {
        return Some(line_start..line_end);
    }
    let blank = |text: &str| text.len() - text.trim_start_matches([' ', '\t']).len();
    if let Some(rest) = after[blank(after)..].strip_prefix(',') {
        return Some(start..text.len() - rest.len() + blank(rest));
    }
    let head = before.trim_end();
    Some(head.strip_suffix(',').map_or(start, str::len)..end)
}

/// Adds to a section that is a table of tables.
fn add_to(text: &str, section: &str, names: &Table, name: &str, fields: &Fields) -> Added {
    let last =
        names.iter().filter_map(|(key, item)| Some((end_of_entry(item)?, key, item))).max_by_key(|(end, ..)| end.0);
    let Some(((end, form), last, item)) = last else {
        let end = names.span().map_or(text.len(), |span| span.end);
        let block = header(section, name, fields, &Layout::default());
        return splice(text, after_block(text, end), "", &block, 1);
    };
    let at = after_block(text, end);
    if form == Form::Header {
        let layout = Layout::of_section(text, names);
        let gap = first_header(item).map_or(1, |start| layout::gap_above(text, start));
        return splice(text, at, &layout.header_indent, &header(section, name, fields, &layout), gap);
    }
    let key = names.key(last).and_then(Key::span).unwrap_or(end..end);
    let indent = layout::indent(text, key.start);
    let prefix = if names.is_dotted() { format!("{}.", Key::new(section)) } else { String::new() };
    let own = format!("{prefix}{}", Key::new(name));
    let lines = if form == Form::Inline {
        vec![format!("{own} = {}", inline(fields))]
    } else {
        fields.iter().map(|(key, value)| format!("{own}.{} = {value}", Key::new(*key))).collect()
    };
    splice(text, at, &indent, &lines, 0)
}

/// Adds to a section that is `agents = { … }`.
fn add_inside(text: &str, names: &InlineTable, name: &str, fields: &Fields) -> Added {
    let span = names.span().unwrap_or(0..0);
    let entry = format!("{} = {}", Key::new(name), inline(fields));
    let (at, piece) = match end_of_inline(names) {
        Some(end) => (end, format!(", {entry}")),
        None if text[span.start + 1..span.end].starts_with(char::is_whitespace) => {
            (span.start + 1, format!(" {entry}"))
        }
        None => (span.start + 1, format!(" {entry} ")),
    };
    let line = text[..at].matches('\n').count() + 1;
    Added { text: format!("{}{piece}{}", &text[..at], &text[at..]), lines: vec![entry], line }
}

/// Puts lines into a text at the beginning of a line, with that many blank lines before them, and as many after them
/// where something other than a blank line follows.
fn splice(text: &str, at: usize, indent: &str, lines: &[String], gap: usize) -> Added {
    let newline = layout::newline(text);
    let (before, after) = text.split_at(at);
    let mut piece = String::new();
    if !before.trim_start_matches('\u{feff}').is_empty() {
        if !before.ends_with('\n') {
            piece.push_str(newline);
        }
        if !before.ends_with("\n\n") && !before.ends_with("\n\r\n") {
            piece.push_str(&newline.repeat(gap));
        }
    }
    let line = before.matches('\n').count() + piece.matches('\n').count() + 1;
    let indented = |line: &String| if line.is_empty() { line.clone() } else { format!("{indent}{line}") };
    let lines: Vec<String> = lines.iter().map(indented).collect();
    for line in &lines {
        piece.push_str(line);
        piece.push_str(newline);
    }
    if !after.is_empty() && !after.starts_with(['\n', '\r']) {
        piece.push_str(&newline.repeat(gap));
    }
    Added { text: format!("{before}{piece}{after}"), lines, line }
}

/// Returns the lines of `[section.name]`.
fn header(section: &str, name: &str, fields: &Fields, layout: &Layout) -> Vec<String> {
    let keys: Vec<String> = fields.iter().map(|(key, _)| Key::new(*key).to_string()).collect();
    let width = if layout.aligned { keys.iter().map(String::len).max().unwrap_or(0) } else { 0 };
    let title = format!("[{}.{}]", Key::new(section), Key::new(name));
    let line = |(key, (_, value)): (&String, &(&str, Value))| format!("{}{key:width$} = {value}", layout.key_indent);
    std::iter::once(title).chain(keys.iter().zip(fields).map(line)).collect()
}

fn inline(fields: &Fields) -> Value {
    fields.iter().map(|(key, value)| (*key, value.clone())).collect::<InlineTable>().into()
}

/// Returns where a table of a section ends, and in which form its end is written.
fn end_of_entry(item: &Item) -> Option<(usize, Form)> {
    match item {
        Item::Table(table) if table.is_dotted() => end_of_table(table, Form::Dotted),
        Item::Value(value) => Some((end_of_value(value)?, Form::Inline)),
        other => end_of_item(other, Form::Header),
    }
}

fn end_of_item(item: &Item, form: Form) -> Option<(usize, Form)> {
    match item {
        Item::None => None,
        Item::Value(value) => Some((end_of_value(value)?, form)),
        Item::Table(table) => end_of_table(table, form),
        Item::ArrayOfTables(tables) => {
            tables.iter().filter_map(|table| end_of_table(table, Form::Header)).max_by_key(|(end, _)| *end)
        }
    }
}

fn end_of_table(table: &Table, form: Form) -> Option<(usize, Form)> {
    let form = if table.is_dotted() { form } else { Form::Header };
    let own = own_header(table).map(|span| (span.end, Form::Header));
    table.iter().filter_map(|(_, item)| end_of_item(item, form)).chain(own).max_by_key(|(end, _)| *end)
}

fn end_of_value(value: &Value) -> Option<usize> {
    match value {
        Value::InlineTable(table) if table.is_dotted() => end_of_inline(table),
        value => Some(value.span()?.end),
    }
}

fn end_of_inline(table: &InlineTable) -> Option<usize> {
    table.iter().filter_map(|(_, value)| end_of_value(value)).max()
}

/// Returns where the `[header]` of a table stands, if it has one.
fn own_header(table: &Table) -> Option<Range<usize>> {
    table.span().filter(|_| !table.is_dotted() && !table.is_implicit())
}

/// Returns where the first `[header]` of a table or of one below it begins.
fn first_header(item: &Item) -> Option<usize> {
    let of_table = |table: &Table| {
        let below = table.iter().filter_map(|(_, item)| first_header(item));
        below.chain(own_header(table).map(|span| span.start)).min()
    };
    match item {
        Item::Table(table) => of_table(table),
        Item::ArrayOfTables(tables) => tables.iter().filter_map(of_table).min(),
        Item::None | Item::Value(_) => None,
    }
}

/// Returns the beginning of the line after what ends at a byte, and after the comments that belong to it: those right
/// below it, unless they lead over to something else.
fn after_block(text: &str, end: usize) -> usize {
    let next_line = |from: usize| text[from..].find('\n').map_or(text.len(), |at| from + at + 1);
    let begin = next_line(end);
    let mut at = begin;
    while at < text.len() {
        let line = text[at..next_line(at)].trim();
        if line.is_empty() {
            return at;
        }
        if !line.starts_with('#') {
            return begin;
        }
        at = next_line(at);
    }
    at
}

#[cfg(test)]
mod tests;
