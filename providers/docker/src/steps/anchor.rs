//! The anchor: a container that is never started. Through it files are read and written, gateway or not.

use claw_core::provider::ApplyError;
use claw_openclaw::layout;

use super::Job;
use crate::convert::anchor_body;
use crate::files::{Entry, upload};
use crate::manifest::{self, Manifest};
use crate::names::Role;

/// Makes it and gives the state volume to the gateway's user, or removes it.
pub async fn apply(job: &Job<'_>) -> Result<(), ApplyError> {
    let name = job.agent.names.of(Role::Anchor);
    if job.step.action.is_delete() {
        return job.agent.remove(&name).await;
    }
    let image = job.image().await?;
    match job.agent.inspect(&name).await? {
        Some(found) => job.agent.refuse_foreign(&name, &found)?,
        None => job.agent.create(&name, anchor_body(&job.agent.names, &image)).await?,
    }
    // from the root down: the owner of a volume's own folder can only be set from its parent
    let state = format!("{}/", layout::STATE.trim_start_matches('/'));
    let folders = [
        Entry { path: &state, content: b"", mode: 0o700, uid: layout::UID },
        Entry { path: "claw/config/", content: b"", mode: 0o755, uid: 0 },
        Entry { path: "claw/secrets/", content: b"", mode: 0o755, uid: 0 },
    ];
    upload(&job.agent, "/", &folders).await?;
    manifest::write(&job.agent, "anchor", &Manifest::default()).await
}
