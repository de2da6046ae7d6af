//! `claw history`: who did what, when, on what, and how it ended.

use clap::Args;
use claw_core::text::days;
use claw_engine::audit::Record;

use super::Outcome;
use crate::args::Global;
use crate::error::CommandError;
use crate::exit;
use crate::render::{self, table};
use crate::session::Session;
use crate::setup::{self, Setup};

/// Show who did what
///
/// Connections, commands, files, keys and runs of this folder's fleet, oldest first. Kept for `[fleet] history`, 90 days
/// unless given.
#[derive(Debug, Args)]
pub struct History {
    /// Only what is about this agent, host or resource.
    name: Option<String>,
    /// Only what is newer: 7d, 12w, or a day as 2026-11-24.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only this kind: connect, run, ssh, exec, copy, chat, logs, tunnel, restart, keys, apply.
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Only this many of the last ones.
    #[arg(short = 'n', long, value_name = "NUMBER")]
    last: Option<usize>,
}

impl History {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        let session = Session::open(global, setup)?;
        let since = self.since.as_deref().map(since).transpose()?.unwrap_or_default();
        let records = session.audit.read(&since);
        let mut records =
            records.map_err(|error| CommandError::failed(format!("failed to read the history: {error}")))?;
        let name = self.name.as_ref().map(|name| session.agent_id(name));
        records.retain(|record| {
            let about = |name: &String| {
                record.target == *name
                    || record.target.split('/').any(|part| part == name)
                    || Some(&record.target) == self.name.as_ref()
            };
            name.as_ref().is_none_or(about) && self.action.as_ref().is_none_or(|action| record.action == *action)
        });
        if let Some(last) = self.last {
            records.drain(..records.len().saturating_sub(last));
        }
        if global.json {
            render::json(&records);
        } else if records.is_empty() {
            render::out("nothing was done here that claw knows of");
        } else {
            let rows: Vec<Vec<String>> = records.iter().map(row).collect();
            render::out(table::draw(&["WHEN", "WHO", "WHAT", "ON", "HOW IT ENDED", ""], &rows));
        }
        Ok(exit::DONE)
    }
}

fn since(text: &str) -> Result<String, CommandError> {
    if let Some(days) = days(text) {
        return Ok(setup::days_ago(days));
    }
    text.parse::<jiff::civil::Date>().map(|day| day.to_string()).map_err(|_| {
        CommandError::usage(format!("`{text}` is no time")).help("write an age, 7d or 12w, or a day as 2026-11-24")
    })
}

fn row(record: &Record) -> Vec<String> {
    let who = record
        .who
        .ci_actor
        .as_ref()
        .map_or_else(|| format!("{}@{}", record.who.user, record.who.machine), |actor| format!("{actor} (CI)"));
    let outcome = if record.outcome == "ok" { "ok".to_owned() } else { claw_core::text::clean(&record.outcome, 100) };
    let key = record.key.as_ref().map(|key| format!("with {key}"));
    let detail = [Some(record.detail.clone()).filter(|text| !text.is_empty()), key].into_iter().flatten();
    vec![
        record.at.clone(),
        who,
        record.action.clone(),
        record.target.clone(),
        outcome,
        detail.collect::<Vec<_>>().join(", "),
    ]
}
