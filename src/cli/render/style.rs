//! The few colours claw uses. Whether they show is decided where they are printed.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};

/// What is added.
pub const GREEN: Style = AnsiColor::Green.on_default();
/// What changes.
pub const YELLOW: Style = AnsiColor::Yellow.on_default();
/// What goes or failed.
pub const RED: Style = AnsiColor::Red.on_default();
/// What matters less.
pub const DIM: Style = Style::new().dimmed();
/// What matters more.
pub const BOLD: Style = Style::new().bold();

/// Returns the text in a style.
pub fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}
