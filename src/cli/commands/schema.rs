//! `claw schema`: the fleet file's JSON Schema.

use clap::Args;

use super::Outcome;
use crate::exit;
use crate::render;

/// Print the JSON Schema of the fleet file
///
/// Editors with a TOML language server complete and check with it: `#:schema ./schemas/fleet.schema.json`
#[derive(Debug, Args)]
pub struct Schema {}

impl Schema {
    /// Runs it.
    pub fn run(self) -> Outcome {
        render::json(&claw_core::fleet::fleet_schema());
        Ok(exit::DONE)
    }
}
