//! An agent's own bridge: agents cannot reach each other.

use bollard::models::NetworkCreateRequest;
use bollard::query_parameters::InspectNetworkOptions;
use claw_core::provider::ApplyError;

use super::Job;
use crate::error::{failed, is_missing};
use crate::names::{FLEET_LABEL, Role};

/// Makes or removes it.
pub async fn apply(job: &Job<'_>) -> Result<(), ApplyError> {
    let name = job.agent.names.of(Role::Network);
    let found = match job.agent.docker.inspect_network(&name, None::<InspectNetworkOptions>).await {
        Ok(found) => Some(found),
        Err(error) if is_missing(&error) => None,
        Err(error) => return Err(failed(&format!("look at network {name}"), error)),
    };
    let ours = |labels: &Option<std::collections::HashMap<String, String>>| {
        labels.as_ref().and_then(|labels| labels.get(FLEET_LABEL)).is_some_and(|fleet| fleet == job.agent.fleet)
    };
    match found {
        Some(found) if !ours(&found.labels) => {
            Err(ApplyError::fatal(format!("use the name {name}: a network without this fleet's mark has it")))
        }
        Some(_) if job.step.action.is_delete() => match job.agent.docker.remove_network(&name).await {
            Ok(()) => Ok(()),
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => Err(failed(&format!("remove network {name}"), error)),
        },
        Some(_) => Ok(()),
        None if job.step.action.is_delete() => Ok(()),
        None => {
            let labels = job.agent.names.labels(Role::Network);
            let request = NetworkCreateRequest {
                name: name.clone(),
                driver: Some("bridge".to_owned()),
                labels: Some(labels),
                ..NetworkCreateRequest::default()
            };
            let created = job.agent.docker.create_network(request).await;
            created.map(|_| ()).map_err(|error| failed(&format!("create network {name}"), error))
        }
    }
}
