//! One agent on one engine: what every step about it uses.

use bollard::Docker;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{InspectContainerOptions, RemoveContainerOptionsBuilder, StopContainerOptionsBuilder};
use claw_core::provider::ApplyError;

use crate::convert::STOP_SECONDS;
use crate::endpoint::Endpoint;
use crate::error::{failed, is_conflict, is_missing};
use crate::names::{FLEET_LABEL, Names, Role};

/// An agent on an engine.
pub struct Agent<'a> {
    /// The engine.
    pub docker: &'a Docker,
    /// The way to its machine.
    pub endpoint: &'a dyn Endpoint,
    /// The fleet's id.
    pub fleet: &'a str,
    /// What its objects are called.
    pub names: Names,
}

impl Agent<'_> {
    /// Returns a container as it stands; `None` if it is not there.
    pub async fn inspect(&self, name: &str) -> Result<Option<ContainerInspectResponse>, ApplyError> {
        match self.docker.inspect_container(name, None::<InspectContainerOptions>).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(failed(&format!("look at container {name}"), error)),
        }
    }

    /// Removes a container of ours and waits until it is gone; one that is not there is removed already.
    pub async fn remove(&self, name: &str) -> Result<(), ApplyError> {
        let Some(found) = self.inspect(name).await? else { return Ok(()) };
        self.refuse_foreign(name, &found)?;
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        match self.docker.remove_container(name, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => Err(failed(&format!("remove container {name}"), error)),
        }
    }

    /// Stops a container and waits until it stands; one that is not there stands.
    pub async fn stop(&self, name: &str) -> Result<(), ApplyError> {
        let Some(found) = self.inspect(name).await? else { return Ok(()) };
        self.refuse_foreign(name, &found)?;
        let options = StopContainerOptionsBuilder::default().t(STOP_SECONDS as i32).build();
        match self.docker.stop_container(name, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => Err(failed(&format!("stop container {name}"), error)),
        }
    }

    /// Starts a container.
    pub async fn start(&self, name: &str) -> Result<(), ApplyError> {
        if let Some(found) = self.inspect(name).await? {
            self.refuse_foreign(name, &found)?;
        }
        let started = self.docker.start_container(name, None).await;
        started.map_err(|error| failed(&format!("start container {name}"), error))
    }

    /// Creates a container. One of ours with the name is there already when a lost answer is tried again.
    pub async fn create(&self, name: &str, body: bollard::models::ContainerCreateBody) -> Result<(), ApplyError> {
        let options = bollard::query_parameters::CreateContainerOptionsBuilder::default().name(name).build();
        match self.docker.create_container(Some(options), body).await {
            Ok(_) => Ok(()),
            Err(error) if is_conflict(&error) => match self.inspect(name).await? {
                Some(found) => self.refuse_foreign(name, &found),
                None => Err(failed(&format!("create container {name}"), error)),
            },
            Err(error) => Err(failed(&format!("create container {name}"), error)),
        }
    }

    /// Nothing without our mark is ever changed, even if it appeared after the plan.
    pub fn refuse_foreign(&self, name: &str, found: &ContainerInspectResponse) -> Result<(), ApplyError> {
        let labels = found.config.as_ref().and_then(|config| config.labels.as_ref());
        if labels.and_then(|labels| labels.get(FLEET_LABEL)).is_some_and(|fleet| fleet == self.fleet) {
            return Ok(());
        }
        Err(ApplyError::fatal(format!("use the name {name}: a container without this fleet's mark has it"))
            .help("rename or remove that container, or give the agent another `id`"))
    }

    /// Returns the gateway's container if it is ours; `None` if there is none, or somebody else's: it is not told anything.
    pub async fn own_gateway(&self) -> Result<Option<ContainerInspectResponse>, ApplyError> {
        let name = self.gateway();
        Ok(self.inspect(&name).await?.filter(|found| self.refuse_foreign(&name, found).is_ok()))
    }

    /// Returns the gateway's container name.
    pub fn gateway(&self) -> String {
        self.names.of(Role::Gateway)
    }
}
