//! Edits the text of a profile file that was read before: one section changes, every other byte stays. Touches no file.

use toml_edit::{Array, DocumentMut, Item, Table, Value, value};

use crate::profile::{Entry, FORMAT};

/// Returns the text of a profile file without values.
pub(crate) fn blank(fleet: &str, profile: &str) -> String {
    let mut document = DocumentMut::new();
    document["format"] = value(FORMAT);
    document["fleet"] = value(fleet);
    document["profile"] = value(profile);
    format!(
        "# Written by `claw secret`. Values are encrypted with age; names and dates are in clear for review.\n{document}"
    )
}

/// Returns the text with an entry written: into its section where it has one, else into a new one before the first
/// section whose name is greater.
pub(crate) fn put(text: &str, entry: &Entry) -> String {
    edit(text, |root| {
        let values = section(root, "values");
        if !values.contains_key(&entry.key) {
            let position = place(values, &entry.key);
            let mut table = Table::new();
            table.decor_mut().set_prefix("\n");
            values.insert(&entry.key, Item::Table(table));
            shift(root, position);
            set_position(root, &entry.key, position);
        }
        if let Some(table) = section(root, "values")[&entry.key].as_table_mut() {
            write(table, entry);
        }
    })
}

/// Returns the text without the section of a key.
pub(crate) fn remove(text: &str, key: &str) -> String {
    edit(text, |root| {
        section(root, "values").remove(key);
    })
}

/// Returns the text with the generation of an agent's gateway token set.
pub(crate) fn set_generation(text: &str, agent: &str, generation: u32) -> String {
    edit(text, |root| {
        let first = !root.contains_key("generations");
        let generations = section(root, "generations");
        if first {
            generations.set_implicit(true);
        }
        let tokens = section(generations, "gateway_token");
        if first {
            tokens.decor_mut().set_prefix("\n");
        }
        replace(tokens, agent, Value::from(i64::from(generation)));
    })
}

fn edit(text: &str, change: impl FnOnce(&mut Table)) -> String {
    // The editor writes `\n` only; a file that git checked out with `\r\n` keeps them.
    let crlf = text.contains("\r\n");
    let mut document: DocumentMut =
        text.replace("\r\n", "\n").parse().expect("only text that parse_profile accepted is edited");
    change(document.as_table_mut());
    let text = document.to_string();
    if crlf { text.replace('\n', "\r\n") } else { text }
}

fn section<'t>(table: &'t mut Table, key: &str) -> &'t mut Table {
    let item = table.entry(key).or_insert_with(|| {
        let mut section = Table::new();
        section.set_implicit(true);
        Item::Table(section)
    });
    item.as_table_mut().expect("parse_profile accepts nothing but sections here")
}

/// Returns the place in the document, counted in sections, for a new key.
fn place(values: &Table, key: &str) -> isize {
    let places = || {
        let tables = values.iter().filter_map(|(key, item)| Some((key, item.as_table()?)));
        tables.filter_map(|(key, table)| Some((table.position()?, key)))
    };
    let greater = places().filter(|(_, other)| *other > key).min();
    let last = places().max().or(values.position().map(|place| (place, "")));
    match (greater, last) {
        (Some((place, _)), _) => place,
        (None, Some((place, _))) => place + 1,
        (None, None) => isize::MAX,
    }
}

/// Makes room: every section from `from` on moves back by one.
fn shift(table: &mut Table, from: isize) {
    for (_, item) in table.iter_mut() {
        if let Some(table) = item.as_table_mut() {
            if let Some(place) = table.position().filter(|place| (from..isize::MAX).contains(place)) {
                table.set_position(Some(place + 1));
            }
            shift(table, from);
        }
    }
}

fn set_position(root: &mut Table, key: &str, position: isize) {
    if let Some(table) = section(root, "values")[key].as_table_mut() {
        table.set_position(Some(position));
    }
}

fn write(table: &mut Table, entry: &Entry) {
    if let Some(owner) = &entry.owner {
        replace(table, "owner", Value::from(owner));
    }
    replace(table, "updated", Value::from(&entry.updated));
    if let Some(max_age) = &entry.max_age {
        replace(table, "max_age", Value::from(max_age));
    }
    if entry.hosts.is_empty() {
        table.remove("hosts");
    } else {
        replace(table, "hosts", Value::from(Array::from_iter(&entry.hosts)));
    }
    if let Some(public) = &entry.public {
        replace(table, "public", Value::from(public));
    }
    let seq = i64::try_from(entry.seq).unwrap_or(i64::MAX);
    replace(table, "seq", Value::from(seq));
    replace(table, "to", Value::from(Array::from_iter(&entry.to)));
    if entry.read_by.is_empty() {
        table.remove("read_by");
    } else {
        replace(table, "read_by", Value::from(Array::from_iter(&entry.read_by)));
    }
    replace(table, "age", block(&entry.age));
    replace(table, "mac", Value::from(&entry.mac));
}

/// Sets a value and keeps the comment behind the old one.
fn replace(table: &mut Table, key: &str, mut new: Value) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        None => {
            table.insert(key, Item::Value(new));
        }
    }
}

/// Returns armour as a multi-line string that starts on a line of its own, so that a diff shows whole lines.
fn block(armour: &str) -> Value {
    format!("\"\"\"\n{armour}\"\"\"").parse().unwrap_or_else(|_| Value::from(armour))
}

#[cfg(test)]
mod tests;
