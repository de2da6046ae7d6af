//! What happens during a run. One event type feeds the terminal, JSON and the journal.

use claw_core::name::Address;
use schemars::JsonSchema;
use serde::Serialize;

/// Something that happened.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Event {
    /// When, RFC 3339, UTC.
    pub at: String,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EventKind {
    /// A run began.
    RunStarted {
        /// Its id.
        run: String,
        /// The fleet's id.
        fleet: String,
        /// How many steps it has.
        steps: usize,
    },
    /// A step is about to begin: the next thing that happens is a call.
    StepStarted {
        /// On what.
        #[serde(flatten)]
        address: Address,
        /// What.
        action: &'static str,
    },
    /// A step says what it does.
    StepProgress {
        /// On what.
        #[serde(flatten)]
        address: Address,
        /// What it says.
        text: String,
    },
    /// A step failed in a way that may pass, and is tried again.
    StepRetried {
        /// On what.
        #[serde(flatten)]
        address: Address,
        /// Why.
        reason: String,
        /// After how long, in milliseconds.
        wait_ms: u64,
    },
    /// A step is done.
    StepDone {
        /// On what.
        #[serde(flatten)]
        address: Address,
        /// What.
        action: &'static str,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// A step failed.
    StepFailed {
        /// On what.
        #[serde(flatten)]
        address: Address,
        /// Why; reads after "failed to".
        reason: String,
        /// What to do.
        help: Option<String>,
        /// Whether it took back what it had changed.
        rolled_back: bool,
    },
    /// A step was not begun.
    StepSkipped {
        /// On what.
        #[serde(flatten)]
        address: Address,
        /// Why.
        reason: String,
    },
    /// The run ended.
    RunFinished {
        /// How many steps were done.
        done: usize,
        /// How many failed.
        failed: usize,
        /// How many were not begun.
        skipped: usize,
        /// Whether somebody asked it to stop.
        cancelled: bool,
    },
}

/// Told of every event.
pub trait Listener: Send + Sync {
    /// Hears of one.
    fn hear(&self, event: &Event);
}
