//! An agent's volumes. Creating one that is there changes nothing, so the step needs no look first but at the mark.

use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::RemoveVolumeOptions;
use claw_core::provider::ApplyError;

use super::Job;
use crate::agent::Agent;
use crate::error::{failed, is_missing};
use crate::names::{FLEET_LABEL, Role};

/// Makes or removes them.
pub async fn apply(job: &Job<'_>) -> Result<(), ApplyError> {
    for role in Role::VOLUMES {
        if job.step.action.is_delete() {
            remove(&job.agent, role).await?;
        } else {
            ensure(&job.agent, role).await?;
        }
    }
    Ok(())
}

/// Makes a volume unless it is there.
pub async fn ensure(agent: &Agent<'_>, role: Role) -> Result<(), ApplyError> {
    let name = agent.names.of(role);
    if exists(agent, role).await? {
        return Ok(());
    }
    let request = VolumeCreateRequest {
        name: Some(name.clone()),
        labels: Some(agent.names.labels(role)),
        ..VolumeCreateRequest::default()
    };
    let created = agent.docker.create_volume(request).await;
    created.map(|_| ()).map_err(|error| failed(&format!("create volume {name}"), error))
}

/// Whether a volume of ours is there; a foreign one with the name is an error.
pub async fn exists(agent: &Agent<'_>, role: Role) -> Result<bool, ApplyError> {
    let name = agent.names.of(role);
    match agent.docker.inspect_volume(&name).await {
        Ok(found) if found.labels.get(FLEET_LABEL).is_some_and(|fleet| fleet == agent.fleet) => Ok(true),
        Ok(_) => Err(ApplyError::fatal(format!("use the name {name}: a volume without this fleet's mark has it"))
            .help("rename or remove that volume, or give the agent another `id`")),
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(failed(&format!("look at volume {name}"), error)),
    }
}

/// Removes a volume of ours; one that is not there is removed already.
pub async fn remove(agent: &Agent<'_>, role: Role) -> Result<(), ApplyError> {
    let name = agent.names.of(role);
    if !exists(agent, role).await? {
        return Ok(());
    }
    match agent.docker.remove_volume(&name, None::<RemoveVolumeOptions>).await {
        Ok(()) => Ok(()),
        Err(error) if is_missing(&error) => Ok(()),
        Err(error) => Err(failed(&format!("remove volume {name}"), error)),
    }
}
