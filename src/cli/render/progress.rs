//! Shows a run while it goes on: a line for each step that ended, and, for a person who watches, what goes on now.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use claw_core::name::Address;
use claw_core::provider::WARNING;
use claw_core::text::clean;
use claw_engine::event::{Event, EventKind, Listener};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::machine::EventDocument;
use super::style::{BOLD, DIM, GREEN, RED, YELLOW, paint};
use super::{masked, out};

/// Shows events to a person.
pub struct Progress {
    bars: MultiProgress,
    running: Mutex<BTreeMap<Address, ProgressBar>>,
    watched: bool,
}

impl Progress {
    /// Returns one that draws what goes on only if somebody watches.
    pub fn new(watched: bool) -> Self {
        let target = if watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bars: MultiProgress::with_draw_target(target), running: Mutex::default(), watched }
    }

    fn line(&self, text: String) {
        self.bars.suspend(|| out(text));
    }

    fn with_running(&self, edit: impl FnOnce(&mut BTreeMap<Address, ProgressBar>)) {
        edit(&mut self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    fn begin(&self, address: &Address) {
        if !self.watched {
            return;
        }
        let style = ProgressStyle::with_template("  {spinner} {msg}  {elapsed}");
        let bar = self.bars.add(ProgressBar::new_spinner());
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_message(address.to_string());
        bar.enable_steady_tick(Duration::from_millis(120));
        self.with_running(|running| {
            running.insert(address.clone(), bar);
        });
    }

    fn end(&self, address: &Address) {
        self.with_running(|running| {
            if let Some(bar) = running.remove(address) {
                bar.finish_and_clear();
                self.bars.remove(&bar);
            }
        });
    }
}

impl Listener for Progress {
    fn hear(&self, event: &Event) {
        match &event.kind {
            EventKind::RunStarted { .. } | EventKind::RunFinished { .. } => {}
            EventKind::StepStarted { address, .. } => self.begin(address),
            EventKind::StepProgress { address, text } if text.starts_with(WARNING) => {
                let text = clean(&masked(text.trim_start_matches(WARNING)), 400);
                self.line(format!("  {} {address} {text}", paint(YELLOW, "!")));
            }
            EventKind::StepProgress { address, text } => self.with_running(|running| {
                if let Some(bar) = running.get(address) {
                    bar.set_message(format!("{address}  {}", clean(&masked(text), 80)));
                }
            }),
            EventKind::StepRetried { address, reason, wait_ms } => {
                let seconds = wait_ms.div_ceil(1000);
                self.line(format!(
                    "  {} {address}  failed to {}; again in {seconds} s",
                    paint(YELLOW, "↻"),
                    clean(&masked(reason), 200)
                ));
            }
            EventKind::StepDone { address, action, took_ms } => {
                self.end(address);
                let took = if *took_ms >= 1000 {
                    format!("  {}", paint(DIM, format!("{:.1} s", *took_ms as f64 / 1000.0)))
                } else {
                    String::new()
                };
                self.line(format!("  {} {address} {action}d{took}", paint(GREEN, "✓")));
            }
            EventKind::StepFailed { address, reason, help, rolled_back } => {
                self.end(address);
                let back = if *rolled_back { "; what it changed was taken back" } else { "" };
                self.line(format!(
                    "  {} {address} failed to {}{back}",
                    paint(RED.bold(), "✗"),
                    clean(&masked(reason), 600)
                ));
                if let Some(help) = help {
                    self.line(format!("      {} {}", paint(BOLD, "help:"), clean(&masked(help), 300)));
                }
            }
            EventKind::StepSkipped { address, reason } => {
                self.line(format!("  {} {address} skipped: {}", paint(DIM, "·"), clean(&masked(reason), 200)));
            }
        }
    }
}

/// Prints every event as a line of JSON.
pub struct JsonLines;

impl Listener for JsonLines {
    fn hear(&self, event: &Event) {
        super::json_line(&EventDocument::event(event));
    }
}
