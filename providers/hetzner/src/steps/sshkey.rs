//! claw's login keys in a project: made and removed, never changed, because the name follows the key.

use claw_core::observed::Observation;
use claw_core::provider::ApplyError;

use super::Job;
use crate::error::Code;
use crate::names;
use crate::ops::NewSshKey;

/// Does a step about a login key.
pub async fn apply(job: &Job<'_>) -> Result<Vec<Observation>, ApplyError> {
    let (project, client) = (job.project, &job.project.client);
    let standing = client.ssh_keys(&project.ours_of(job.name())).await?.items;
    if job.step.action.is_delete() {
        for key in standing {
            client.delete_ssh_key(key.id).await?;
        }
        return Ok(Vec::new());
    }
    let public_key = job.text("public_key")?;
    let is_it = |text: &str| text.split_whitespace().take(2).eq(public_key.split_whitespace().take(2));
    for other in standing.iter().filter(|key| !is_it(&key.public_key)) {
        client.delete_ssh_key(other.id).await?;
    }
    if standing.iter().any(|key| is_it(&key.public_key)) {
        return Ok(Vec::new());
    }
    let name = names::name(&project.fleet, job.name());
    let new = NewSshKey { name: &name, public_key, labels: &names::marks(&project.fleet, job.name()) };
    match client.create_ssh_key(&new).await {
        Ok(_) => Ok(Vec::new()),
        Err(error) => {
            // an answer that was lost, or a key that somebody put there by hand
            let again = client.ssh_keys(&project.ours_of(job.name())).await?.items;
            match again.iter().any(|key| is_it(&key.public_key)) {
                true => Ok(Vec::new()),
                false if error.is(&Code::UniquenessError) => Err(job.foreign(&name)),
                false => Err(error.into()),
            }
        }
    }
}
