//! A plan and a run as one JSON object a line, in the envelope of Terraform's machine-readable output: programs that follow one can
//! follow the other. Says nothing that the plan and the engine's events do not say.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use claw_core::name::Address;
use claw_core::plan::Plan;
use claw_core::problem::{Problem, Severity};
use claw_core::provider::WARNING;
use claw_core::text::clean;
use claw_engine::event::{Event, EventKind, Listener};
use schemars::JsonSchema;
use serde::Serialize;

use super::file::Lines;
use super::machine::FORMAT;
use super::plan::{explain, sum};
use super::tf_json;
use crate::error::CommandError;

/// The version of Terraform's envelope.
const UI: &str = "1.2";
/// The longest message, in letters.
const LETTERS_MAX: usize = 2_000;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Line {
    /// How bad it is.
    #[serde(rename = "@level")]
    level: Level,
    /// What a person would be told.
    #[serde(rename = "@message")]
    message: String,
    /// Who says it: always `claw.ui`.
    #[serde(rename = "@module")]
    module: &'static str,
    /// When, RFC 3339, UTC.
    #[serde(rename = "@timestamp")]
    timestamp: String,
    /// What happened.
    #[serde(flatten)]
    what: What,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Info,
    /// Worth a look.
    Warn,
    /// Something failed.
    Error,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum What {
    /// The first line.
    Version {
        /// The version of claw.
        claw: &'static str,
        /// The version of the envelope.
        ui: &'static str,
        /// The version of claw's own formats.
        format: u32,
    },
    /// A step of the plan.
    PlannedChange {
        /// What it is.
        change: Hook,
    },
    /// The plan or the run in numbers.
    ChangeSummary {
        /// The numbers.
        changes: Changes,
    },
    /// A step is about to begin.
    ApplyStart {
        /// Which.
        hook: Hook,
    },
    /// A step goes on.
    ApplyProgress {
        /// Which.
        hook: Hook,
    },
    /// A step is done.
    ApplyComplete {
        /// Which.
        hook: Hook,
    },
    /// A step failed.
    ApplyErrored {
        /// Which.
        hook: Hook,
    },
    /// Something to know: a problem in a file, what is held, why something failed or was skipped.
    Diagnostic {
        /// What.
        diagnostic: Diagnostic,
    },
}

/// What is done to a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Hook {
    /// To what.
    resource: Resource,
    /// `create`, `update`, `replace` or `delete`.
    action: String,
    /// Since it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    elapsed_seconds: Option<u64>,
}

/// A resource, named as Terraform would and as claw does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Resource {
    /// `claw_container.pete["docker"]`.
    addr: String,
    /// Always empty: there are no modules.
    module: &'static str,
    /// The same as `addr`.
    resource: String,
    /// Always `claw`.
    implied_provider: &'static str,
    /// `claw_container`.
    resource_type: String,
    /// The name, as far as it is an identifier.
    resource_name: String,
    /// The place; with the whole name where that is no identifier.
    resource_key: String,
    /// claw's own name: `container/pete`.
    claw_resource: String,
    /// Where it is.
    claw_place: String,
}

/// A plan or run in numbers. A replaced resource counts as added and removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Changes {
    add: usize,
    change: usize,
    import: usize,
    remove: usize,
    /// What is held, failed or was skipped.
    not_done: usize,
    /// `plan` or `apply`.
    operation: &'static str,
}

/// Something to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Diagnostic {
    /// `error` or `warning`.
    severity: &'static str,
    /// What, in a line.
    summary: String,
    /// Why, and what to do.
    detail: String,
    /// About which resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
}

/// Writes the lines of one command.
pub struct Events {
    now: fn() -> String,
    state: Mutex<State>,
}

struct State {
    lines: Lines,
    /// What runs: what is done, and since when.
    running: BTreeMap<Address, (&'static str, i64)>,
    done: Changes,
    lost: bool,
}

impl Events {
    /// Begins with the version. `now` returns the time, RFC 3339.
    pub fn new(lines: Lines, now: fn() -> String) -> Self {
        let done = Changes { operation: "apply", ..Changes::default() };
        let events = Self { now, state: Mutex::new(State { lines, running: BTreeMap::new(), done, lost: false }) };
        let claw = env!("CARGO_PKG_VERSION");
        let what = What::Version { claw, ui: UI, format: FORMAT };
        events.say(Level::Info, format!("claw {claw}"), what);
        events
    }

    /// Writes what is wrong in the files.
    pub fn problems(&self, problems: &[Problem]) {
        for problem in problems {
            let (level, severity) = match problem.severity {
                Severity::Error => (Level::Error, "error"),
                Severity::Warning => (Level::Warn, "warning"),
            };
            let at = problem.at.as_ref().map(|at| format!(" ({})", at.file)).unwrap_or_default();
            let help = problem.help.clone().unwrap_or_default();
            self.diagnostic(level, severity, format!("{}{at}", problem.message), help, None);
        }
    }

    /// Writes why a command cannot go on.
    pub fn refused(&self, error: &CommandError) {
        self.problems(&error.problems);
        if !error.message.is_empty() {
            let help = error.help.clone().unwrap_or_default();
            self.diagnostic(Level::Error, "error", error.message.clone(), help, None);
        }
    }

    /// Writes a plan.
    pub fn plan(&self, plan: &Plan) {
        let mut changes = Changes { not_done: plan.held.len(), operation: "plan", ..Changes::default() };
        for step in &plan.steps {
            let word = step.action.word();
            changes.count(word);
            let hook = Hook { resource: resource(&step.address), action: word.to_owned(), elapsed_seconds: None };
            let message = format!("{}: plan to {word}", hook.resource.addr);
            self.say(Level::Info, message, What::PlannedChange { change: hook });
        }
        for (place, why) in &plan.unseen {
            self.diagnostic(Level::Warn, "warning", format!("{place} could not be seen"), why.clone(), None);
        }
        for held in &plan.held {
            let (why, help) = explain(&held.reason, held.would, &held.address);
            let summary = format!("{} {}: {why}", held.would, held.address);
            self.diagnostic(Level::Warn, "warning", summary, help, Some(&held.address));
        }
        self.say(Level::Info, sum(plan), What::ChangeSummary { changes });
    }

    /// Whether some line could not be written: what follows the file got less than it should.
    pub fn lost(&self) -> bool {
        self.state().lost
    }

    fn diagnostic(
        &self,
        level: Level,
        severity: &'static str,
        summary: String,
        detail: String,
        about: Option<&Address>,
    ) {
        let address = about.map(|address| resource(address).addr);
        let (message, detail) = (self.text(&summary), self.text(&detail));
        let diagnostic = Diagnostic { severity, summary: message.clone(), detail, address };
        self.say(level, message, What::Diagnostic { diagnostic });
    }

    /// Returns text in one line, masked before it is cut.
    fn text(&self, text: &str) -> String {
        let masked = self.state().lines.masked(text);
        clean(&masked, LETTERS_MAX)
    }

    fn say(&self, level: Level, message: String, what: What) {
        let line = Line { level, message: self.text(&message), module: "claw.ui", timestamp: (self.now)(), what };
        let text = serde_json::to_string(&line).expect("a line is plain data");
        let mut state = self.state();
        // the work goes on where the disk is full; that lines are lost is said at the end
        state.lost |= state.lines.line(&text).is_err();
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a step that runs, and for how long it has; nothing where it never began.
    fn hook(&self, address: &Address, at: &str, ends: bool) -> Option<Hook> {
        let mut state = self.state();
        let (action, since) = state.running.get(address).copied()?;
        if ends {
            state.running.remove(address);
        }
        let elapsed = u64::try_from(seconds(at) - since).unwrap_or_default();
        Some(Hook { resource: resource(address), action: action.to_owned(), elapsed_seconds: Some(elapsed) })
    }

    fn progress(&self, address: &Address, at: &str, text: &str) {
        if let Some(hook) = self.hook(address, at, false) {
            let message = format!("{}: {text}", hook.resource.addr);
            self.say(Level::Info, message, What::ApplyProgress { hook });
        }
    }

    fn done(&self, address: &Address, at: &str, action: &str) {
        self.state().done.count(action);
        if let Some(hook) = self.hook(address, at, true) {
            let seconds = hook.elapsed_seconds.unwrap_or_default();
            let message = format!("{}: {action} complete after {seconds}s", hook.resource.addr);
            self.say(Level::Info, message, What::ApplyComplete { hook });
        }
    }

    fn failed(&self, address: &Address, at: &str, reason: &str, help: Option<&str>) {
        self.state().done.not_done += 1;
        if let Some(hook) = self.hook(address, at, true) {
            let message = format!("{}: {} failed", hook.resource.addr, hook.action);
            self.say(Level::Error, message, What::ApplyErrored { hook });
        }
        let help = help.unwrap_or_default().to_owned();
        self.diagnostic(Level::Error, "error", format!("{address} failed to {reason}"), help, Some(address));
    }
}

impl Listener for Events {
    fn hear(&self, event: &Event) {
        let at = &event.at;
        match &event.kind {
            EventKind::RunStarted { .. } => {}
            EventKind::StepStarted { address, action } => {
                self.state().running.insert(address.clone(), (action, seconds(at)));
                let hook = Hook { resource: resource(address), action: (*action).to_owned(), elapsed_seconds: None };
                self.say(Level::Info, format!("{}: {action} begins", hook.resource.addr), What::ApplyStart { hook });
            }
            EventKind::StepProgress { address, text } if text.starts_with(WARNING) => {
                let text = text.trim_start_matches(WARNING).to_owned();
                self.diagnostic(Level::Warn, "warning", text, String::new(), Some(address));
            }
            EventKind::StepProgress { address, text } => self.progress(address, at, text),
            EventKind::StepRetried { address, reason, wait_ms } => {
                let text = format!("failed to {reason}; again in {} s", wait_ms.div_ceil(1000));
                self.progress(address, at, &text);
            }
            EventKind::StepDone { address, action, .. } => self.done(address, at, action),
            EventKind::StepFailed { address, reason, help, .. } => self.failed(address, at, reason, help.as_deref()),
            EventKind::StepSkipped { address, reason } => {
                self.state().done.not_done += 1;
                let summary = format!("{address} skipped: {reason}");
                self.diagnostic(Level::Warn, "warning", summary, String::new(), Some(address));
            }
            EventKind::RunFinished { done, failed, skipped, cancelled } => {
                let changes = self.state().done.clone();
                let stopped = if *cancelled { "stopped: " } else { "" };
                let message = format!("{stopped}{done} done, {failed} failed, {skipped} skipped");
                let level = if *failed > 0 { Level::Error } else { Level::Info };
                self.say(level, message, What::ChangeSummary { changes });
            }
        }
    }
}

/// Tells two.
pub struct Both<'a>(pub Box<dyn Listener>, pub Option<&'a Events>);

impl Listener for Both<'_> {
    fn hear(&self, event: &Event) {
        self.0.hear(event);
        if let Some(events) = self.1 {
            events.hear(event);
        }
    }
}

impl Changes {
    fn count(&mut self, action: &str) {
        match action {
            "create" => self.add += 1,
            "update" => self.change += 1,
            "delete" => self.remove += 1,
            "replace" => {
                self.add += 1;
                self.remove += 1;
            }
            _ => {}
        }
    }
}

fn resource(address: &Address) -> Resource {
    let named = tf_json::named(address);
    let text = |key: &str| named.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    Resource {
        addr: text("address"),
        module: "",
        resource: text("address"),
        implied_provider: tf_json::PROVIDER,
        resource_type: text("type"),
        resource_name: text("name"),
        resource_key: text("index"),
        claw_resource: address.to_string(),
        claw_place: address.place.clone(),
    }
}

fn seconds(at: &str) -> i64 {
    at.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_second)
}
