//! The versions and schemas of what programs read of claw: plans and events.

use claw_core::name::Address;
use claw_core::plan::{Plan, Stale};
use claw_engine::event::Event;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::Value as Json;

use super::events::Line;

/// The version of plans and events. New keys do not change it; a key that goes, or means something else, does.
pub const FORMAT: u32 = 1;

/// A plan as `--json` prints it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlanDocument<'a> {
    /// The version of this format.
    format: u32,
    /// The plan.
    #[serde(flatten)]
    plan: &'a Plan,
    /// What it is approved by: `claw apply --approve DIGEST`. Not where nothing can be approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

impl<'a> PlanDocument<'a> {
    /// Returns a plan in the current format.
    pub fn new(plan: &'a Plan) -> Self {
        Self { format: FORMAT, plan, digest: None }
    }

    /// Says what it is approved by.
    pub fn approved_by(self, digest: Option<String>) -> Self {
        Self { digest, ..self }
    }
}

/// One line of `apply --json`: what is left of a saved plan, the plan, then what happens.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum EventDocument<'a> {
    /// What is left of a saved plan.
    Approved {
        /// Always `approved`.
        r#type: ApprovedTag,
        /// What was approved and is as wanted already.
        done: &'a [Address],
        /// What is not done because the world moved.
        stale: &'a [Stale],
        /// What would be done now and nobody approved.
        beyond: &'a [Address],
    },
    /// The plan.
    Plan {
        /// Always `plan`.
        r#type: PlanTag,
        /// The plan.
        plan: PlanDocument<'a>,
    },
    /// What happened.
    Event {
        /// The version of this format.
        format: u32,
        /// What, and when.
        #[serde(flatten)]
        event: &'a Event,
    },
}

/// What tells a saved plan's rest from events.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApprovedTag {
    /// It is that.
    Approved,
}

/// What tells the plan from events.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PlanTag {
    /// It is the plan.
    Plan,
}

impl<'a> EventDocument<'a> {
    /// Returns the line of what is left of a saved plan.
    pub fn approved(done: &'a [Address], stale: &'a [Stale], beyond: &'a [Address]) -> Self {
        Self::Approved { r#type: ApprovedTag::Approved, done, stale, beyond }
    }

    /// Returns a plan's line.
    pub fn plan(plan: &'a Plan) -> Self {
        Self::Plan { r#type: PlanTag::Plan, plan: PlanDocument::new(plan) }
    }

    /// Returns an event's line.
    pub fn event(event: &'a Event) -> Self {
        Self::Event { format: FORMAT, event }
    }
}

/// One line of `--json-into` or of `apply --json`.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "stands for both in the schema")]
enum AnyLine<'a> {
    Into(Box<Line>),
    Stdout(EventDocument<'a>),
}

/// Returns the schema of a plan as `--json` prints it.
pub fn plan_schema() -> Json {
    schema_of::<PlanDocument<'_>>("claw plan")
}

/// Returns the schema of a line of events.
pub fn event_schema() -> Json {
    schema_of::<AnyLine<'_>>("claw event")
}

fn schema_of<T: JsonSchema>(title: &str) -> Json {
    let settings = SchemaSettings::draft07().for_serialize();
    let mut json = settings.into_generator().into_root_schema_for::<T>().to_value();
    json["title"] = title.into();
    json
}
