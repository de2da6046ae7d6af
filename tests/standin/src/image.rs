//! Which image this is: its version and the way it misbehaves, read from a file baked into the image, so that
//! nothing a container's environment says can change it.

use std::path::Path;

use serde_json::Value;

/// Where `.ci/standin-image` puts the description.
pub(crate) const DESCRIPTION_PATH: &str = "/standin.json";

/// The way an image misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Behaves.
    None,
    /// Migrates the state, then exits 1 about 300 ms after its start, never ready.
    Broken,
    /// Lives and starts, but is never ready.
    Deaf,
    /// Refuses every configuration at start with exit code 78; `config validate` passes.
    Exit78,
    /// Takes new secrets, and the token it started with for ever.
    Lenient,
}

/// What is baked into the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// The version of the state's schema, which is also the last part of the image's version.
    pub(crate) schema: u64,
    pub(crate) fault: Fault,
}

impl Image {
    /// Returns the image described at `path`; without a file, version 1 that behaves.
    pub(crate) fn described_at(path: &Path) -> Self {
        let description: Value =
            std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self {
            schema: description["schema"].as_u64().unwrap_or(1),
            fault: match description["fault"].as_str() {
                Some("broken") => Fault::Broken,
                Some("deaf") => Fault::Deaf,
                Some("exit78") => Fault::Exit78,
                Some("lenient") => Fault::Lenient,
                _ => Fault::None,
            },
        }
    }

    /// Returns the version in OpenClaw's form.
    pub(crate) fn version(self) -> String {
        format!("2026.9.{}", self.schema)
    }
}
