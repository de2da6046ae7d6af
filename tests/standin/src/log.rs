//! Log lines: one JSON object a line on standard output. Callers pass fixed texts, names and reasons, never a secret
//! and never what a user or a file's value says.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

/// Writes a line of the level `info`.
pub(crate) fn info(message: &str) {
    write("info", message);
}

/// Writes a line of the level `warn`.
pub(crate) fn warn(message: &str) {
    write("warn", message);
}

/// Writes a line of the level `error`, on standard error too, where the real gateway says why it does not start.
pub(crate) fn fatal(message: &str) {
    write("error", message);
    let _ = writeln!(std::io::stderr(), "{message}");
}

fn write(level: &str, message: &str) {
    let ts_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let line = json!({"ts": ts_ms as u64, "level": level, "subsystem": "gateway", "message": message});
    // Nobody may be reading; a log that cannot be written must not stop the gateway.
    let _ = writeln!(std::io::stdout(), "{line}");
}
