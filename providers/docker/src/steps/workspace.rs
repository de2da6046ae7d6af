//! Files seeded into an agent's workspace. The agent may change them: what it changed is its own, and claw says so
//! instead of writing over it.

use std::collections::BTreeMap;

use claw_core::provider::ApplyError;
use claw_core::value::Value;
use claw_openclaw::layout;

use super::Job;
use crate::files::{Contents, Entry, download, upload};
use crate::helper::{Script, run};
use crate::manifest::{self, Manifest};
use crate::rules::digest;

const FOLDER: &str = "/home/node/.openclaw/workspace";

/// Writes what is new or changed in the fleet, and removes what the fleet dropped, where the agent left it as it was.
pub async fn apply(job: &Job<'_>) -> Result<(), ApplyError> {
    let empty = BTreeMap::new();
    let resource = job.ctx.resource(&job.step.address);
    let wanted = resource.filter(|_| !job.step.action.is_delete()).map_or(&empty, |resource| &resource.files);
    if job.step.action.is_delete()
        && job.ctx.resource(&job.step.address.sibling(claw_core::name::Kind::Anchor)).is_none()
    {
        return Ok(()); // the whole agent goes, its volume with it
    }
    let contents = download(&job.agent, layout::CONFIG).await?.unwrap_or_default();
    let placed = manifest::find(&contents, "workspace").unwrap_or_default().files;
    let there = there(job, wanted.keys().chain(placed.keys())).await?;
    let edited = edited(wanted, &placed, &there);
    if !edited.is_empty() {
        return Err(ApplyError::fatal(format!("seed {}: the agent changed {}", job.agent.names.agent(), edited.join(", ")))
            .help("its own version is kept: take it over into the fleet's workspace folder, or remove it there, then apply again"));
    }
    let write: Vec<(&String, &[u8])> = wanted
        .iter()
        .filter(|(path, bytes)| placed.get(*path) != Some(&digest(bytes)))
        .map(|(path, bytes)| (path, bytes.as_ref()))
        .collect();
    let drop: Vec<&String> = placed
        .iter()
        .filter(|(path, digest)| !wanted.contains_key(*path) && unchanged(&there, path, digest))
        .map(|(path, _)| path)
        .collect();
    put(job, &write, &drop).await?;
    let files = job.step.action.after().into_iter().flatten();
    let files = files.filter_map(|(path, value)| Some((path.clone(), Value::as_text(value)?.to_owned()))).collect();
    manifest::write(&job.agent, "workspace", &Manifest { files, kept: false }).await
}

/// Returns what lies at the paths claw cares about. The rest of the workspace is the agent's, and may be of any size.
async fn there(job: &Job<'_>, paths: impl Iterator<Item = &String>) -> Result<Contents, ApplyError> {
    let mut found = Contents::new();
    for path in paths {
        if !found.contains_key(path)
            && let Some(file) = download(&job.agent, &format!("{FOLDER}/{path}")).await?
        {
            found.extend(file.into_values().next().map(|content| (path.clone(), content)));
        }
    }
    Ok(found)
}

/// Returns the files that both the fleet and the agent changed.
fn edited(
    wanted: &BTreeMap<String, std::sync::Arc<[u8]>>,
    placed: &BTreeMap<String, String>,
    there: &Contents,
) -> Vec<String> {
    let differs = |path: &String, bytes: &[u8]| {
        let new = digest(bytes);
        let found = there.get(path).map(|content| digest(content));
        found.is_some_and(|found| found != new && placed.get(path) != Some(&found)) && placed.get(path) != Some(&new)
    };
    wanted.iter().filter(|(path, bytes)| differs(path, bytes)).map(|(path, _)| path.clone()).collect()
}

fn unchanged(there: &Contents, path: &str, placed: &str) -> bool {
    there.get(path).is_some_and(|content| digest(content) == placed)
}

async fn put(job: &Job<'_>, write: &[(&String, &[u8])], drop: &[&String]) -> Result<(), ApplyError> {
    let mut folders: Vec<String> = vec!["workspace/".to_owned()];
    for (path, _) in write {
        for (at, _) in path.match_indices('/') {
            folders.push(format!("workspace/{}/", &path[..at]));
        }
    }
    folders.sort();
    folders.dedup();
    let paths: Vec<String> = write.iter().map(|(path, _)| format!("workspace/{path}")).collect();
    let mut entries: Vec<Entry<'_>> =
        folders.iter().map(|path| Entry { path, content: b"", mode: 0o755, uid: layout::UID }).collect();
    entries.extend(paths.iter().zip(write).map(|(path, (_, content))| Entry {
        path,
        content,
        mode: 0o644,
        uid: layout::UID,
    }));
    if !write.is_empty() {
        upload(&job.agent, layout::STATE, &entries).await?;
    }
    if drop.is_empty() {
        return Ok(());
    }
    let image = job.image().await?;
    let quoted: Vec<String> = drop.iter().map(|path| format!("'{}'", path.replace('\'', "'\\''"))).collect();
    let text = format!("set -eu; cd {FOLDER}; rm -f -- {}; sync", quoted.join(" "));
    run(&job.agent, Script { step: "workspace", image: &image, text: &text, aside: false })
        .await?
        .ok("remove dropped files")
        .map(|_| ())
}
