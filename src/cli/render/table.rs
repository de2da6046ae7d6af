//! Plain tables: columns as wide as their content, two spaces between.

use super::style::{DIM, paint};

/// Returns the rows under their heads, or nothing when there are none.
pub fn draw(heads: &[&str], rows: &[Vec<String>]) -> String {
    let head = heads.iter().map(|head| (*head).to_owned()).collect();
    let lines = aligned(std::iter::once(&head).chain(rows));
    let head = paint(DIM, lines.first().map(String::as_str).unwrap_or_default());
    std::iter::once(head).chain(lines.into_iter().skip(1)).collect::<Vec<_>>().join("\n")
}

/// Returns rows without heads.
pub fn columns(rows: &[Vec<String>]) -> String {
    aligned(rows.iter()).join("\n")
}

fn aligned<'a>(rows: impl Iterator<Item = &'a Vec<String>> + Clone) -> Vec<String> {
    let width = |text: &str| text.chars().map(|letter| if is_wide(letter) { 2 } else { 1 }).sum::<usize>();
    let mut widths: Vec<usize> = Vec::new();
    for row in rows.clone() {
        widths.resize(widths.len().max(row.len()), 0);
        for (slot, cell) in widths.iter_mut().zip(row) {
            *slot = (*slot).max(width(cell));
        }
    }
    let line = |cells: &Vec<String>| {
        let padded = cells.iter().zip(&widths).map(|(cell, wide)| format!("{cell}{}", " ".repeat(wide - width(cell))));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.map(line).collect()
}

/// Emoji and East Asian letters take two columns.
fn is_wide(letter: char) -> bool {
    matches!(u32::from(letter), 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f
        | 0xff00..=0xff60 | 0x1f300..=0x1faff | 0x20000..=0x3fffd)
}
