//! `claw schema`: the JSON Schemas of what people write and programs read.

use clap::{Args, ValueEnum};

use super::Outcome;
use crate::exit;
use crate::render::{self, machine};

/// Print the JSON Schema of the fleet file, of plans or of events
///
/// Editors with a TOML language server complete and check with it: `#:schema ./schemas/fleet.schema.json`
#[derive(Debug, Args)]
pub struct Schema {
    /// Of what.
    #[arg(value_enum, default_value = "fleet")]
    of: Of,
}

/// What has a schema.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Of {
    /// fleet.toml.
    Fleet,
    /// What `plan --json` prints.
    Plan,
    /// A line of `--json-into FILE` or of `apply --json`.
    Event,
}

impl Schema {
    /// Runs it.
    pub fn run(self) -> Outcome {
        render::json(&match self.of {
            Of::Fleet => claw_core::fleet::fleet_schema(),
            Of::Plan => machine::plan_schema(),
            Of::Event => machine::event_schema(),
        });
        Ok(exit::DONE)
    }
}
