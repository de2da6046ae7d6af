//! What claw put into an agent's volumes, as root-owned files on the config volume, which the agent can read and not
//! write. A file that is in place but not in its manifest was not taken over yet: claw died in between.

use std::collections::BTreeMap;

use claw_core::provider::ApplyError;
use claw_core::secret::Secrets;
use serde::{Deserialize, Serialize};

use crate::agent::Agent;
use crate::files::{Contents, Entry, upload};

/// The manifest of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Digest or fingerprint by path.
    pub files: BTreeMap<String, String>,
    /// Whether the file before this one is kept beside it, to go back to.
    #[serde(default)]
    pub kept: bool,
}

/// Returns the manifest of a resource from the content of the config volume; an unreadable one counts as none.
pub fn find(contents: &Contents, resource: &str) -> Option<Manifest> {
    serde_json::from_slice(contents.get(&path(resource))?).ok()
}

/// Writes the manifest of a resource.
pub async fn write(agent: &Agent<'_>, resource: &str, manifest: &Manifest) -> Result<(), ApplyError> {
    let content =
        serde_json::to_vec_pretty(manifest).map_err(|error| ApplyError::fatal(format!("write a manifest: {error}")))?;
    let name = path(resource);
    let entries = [
        Entry { path: "manifest/", content: b"", mode: 0o755, uid: 0 },
        Entry { path: &name, content: &content, mode: 0o644, uid: 0 },
    ];
    upload(agent, claw_openclaw::layout::CONFIG, &entries).await
}

fn path(resource: &str) -> String {
    format!("manifest/{resource}.json")
}

/// Returns the keyed digest of a secret file for its manifest; `None` without an identity.
pub fn secret_digest(secrets: &dyn Secrets, file: &[u8]) -> Option<String> {
    secrets.fingerprint(file).ok().map(|fingerprint| data_encoding::HEXLOWER.encode(&fingerprint.0))
}
