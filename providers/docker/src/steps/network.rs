//! An agent's own bridge: agents cannot reach each other.
//!
//! To an engine a network's name is only a label: when two creations meet, one of them left behind by a killed claw, it
//! makes two networks of one name, and nothing that asks for the name starts any more. So claw counts them and keeps one.

use std::collections::HashMap;

use bollard::models::{Network, NetworkCreateRequest};
use bollard::query_parameters::ListNetworksOptionsBuilder;
use claw_core::provider::ApplyError;

use super::Job;
use crate::agent::Agent;
use crate::error::{failed, is_in_use, is_missing};
use crate::names::{FLEET_LABEL, Role};

/// Makes or removes it.
pub async fn apply(job: &Job<'_>) -> Result<(), ApplyError> {
    let found = find(&job.agent).await?;
    if job.step.action.is_delete() {
        for id in &found {
            if !remove(&job.agent, id).await? {
                let name = job.agent.names.of(Role::Network);
                return Err(ApplyError::fatal(format!(
                    "remove network {name}: a container that is not claw's uses it"
                ))
                .help(format!("`docker network inspect {name}` shows which; disconnect it, then apply again")));
            }
        }
        return Ok(());
    }
    if found.is_empty() {
        create(&job.agent).await?;
    }
    settle(&job.agent).await.map(|_| ())
}

/// Removes all networks of the agent but one, and returns that one's id; `None` if there is none.
pub async fn settle(agent: &Agent<'_>) -> Result<Option<String>, ApplyError> {
    let mut found = find(agent).await?;
    for id in found.clone().into_iter().rev() {
        // the engine refuses to remove the one in use
        if found.len() > 1 && remove(agent, &id).await? {
            found.retain(|other| *other != id);
        }
    }
    Ok(found.into_iter().next())
}

/// Returns the ids of the agent's networks, oldest first. One without our mark is an error.
async fn find(agent: &Agent<'_>) -> Result<Vec<String>, ApplyError> {
    let name = agent.names.of(Role::Network);
    let filters = HashMap::from([("name", vec![name.as_str()])]); // matches parts of names too
    let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
    let listed = agent.docker.list_networks(Some(options)).await;
    let mut found = listed.map_err(|error| failed(&format!("look at network {name}"), error))?;
    found.retain(|network| network.name.as_ref() == Some(&name));
    let is_ours = |network: &Network| {
        network.labels.as_ref().and_then(|labels| labels.get(FLEET_LABEL)).is_some_and(|fleet| fleet == agent.fleet)
    };
    if !found.iter().all(is_ours) {
        return Err(ApplyError::fatal(format!("use the name {name}: a network without this fleet's mark has it"))
            .help("remove that network, or give the agent another `id`"));
    }
    found.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
    Ok(found.into_iter().filter_map(|network| network.id).collect())
}

async fn create(agent: &Agent<'_>) -> Result<(), ApplyError> {
    let name = agent.names.of(Role::Network);
    let request = NetworkCreateRequest {
        name: name.clone(),
        driver: Some("bridge".to_owned()),
        labels: Some(agent.names.labels(Role::Network)),
        ..NetworkCreateRequest::default()
    };
    let created = agent.docker.create_network(request).await;
    created.map(|_| ()).map_err(|error| failed(&format!("create network {name}"), error))
}

/// Removes a network; `false` if it is in use.
async fn remove(agent: &Agent<'_>, id: &str) -> Result<bool, ApplyError> {
    match agent.docker.remove_network(id).await {
        Ok(()) => Ok(true),
        Err(error) if is_missing(&error) => Ok(true),
        Err(error) if is_in_use(&error) => Ok(false),
        Err(error) => Err(failed(&format!("remove network {}", agent.names.of(Role::Network)), error)),
    }
}
