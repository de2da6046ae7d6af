//! The fleet file's JSON Schema, from the same structs that read it.

use schemars::generate::SchemaSettings;
use serde_json::Value as Json;

use super::file::FleetFile;

/// Returns the schema, draft 07: what editors understand best.
pub fn fleet_schema() -> Json {
    let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<FleetFile>();
    let mut json = schema.to_value();
    json["title"] = "claw fleet file".into();
    json
}
