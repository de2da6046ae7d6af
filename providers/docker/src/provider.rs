//! The provider: finds the engine, and sends each step to the module that does it.

use std::sync::Arc;

use claw_core::desired::Desired;
use claw_core::name::Kind;
use claw_core::observed::{Observation, Report};
use claw_core::operate::Operate;
use claw_core::plan::Step;
use claw_core::provider::{ApplyError, BoxFuture, Provider, StepContext};
use claw_core::secret::Secrets;

use crate::agent::Agent;
use crate::endpoint::Endpoint;
use crate::error::failed;
use crate::image::Images;
use crate::names::Names;
use crate::{observe, replace, steps};

/// One engine of a fleet.
pub struct DockerProvider {
    place: String,
    fleet: String,
    endpoint: Arc<dyn Endpoint>,
    images: Images,
}

impl DockerProvider {
    /// Returns the provider for a place of a fleet.
    pub fn new(place: &str, fleet: &str, endpoint: Arc<dyn Endpoint>) -> Self {
        Self { place: place.to_owned(), fleet: fleet.to_owned(), endpoint, images: Images::default() }
    }

    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn fleet(&self) -> &str {
        &self.fleet
    }

    pub(crate) fn endpoint(&self) -> &dyn Endpoint {
        self.endpoint.as_ref()
    }

    pub(crate) fn docker(&self) -> Result<bollard::Docker, bollard::errors::Error> {
        self.endpoint.docker()
    }

    async fn step(&self, step: &Step, ctx: StepContext<'_>) -> Result<Vec<Observation>, ApplyError> {
        let docker = self.docker().map_err(|error| failed("reach the engine", error))?;
        let agent = Agent {
            docker: &docker,
            endpoint: self.endpoint(),
            fleet: &self.fleet,
            names: Names::new(&self.fleet, &step.address.id.name),
        };
        let job = steps::Job { agent, step, ctx, images: &self.images };
        job.end_leftover().await?;
        match step.address.id.kind {
            Kind::Network => steps::network::apply(&job).await?,
            Kind::Volume => steps::volume::apply(&job).await?,
            Kind::Anchor => steps::anchor::apply(&job).await?,
            Kind::Secrets => steps::secrets::apply(&job).await?,
            Kind::Config => steps::config::apply(&job).await?,
            Kind::Workspace => steps::workspace::apply(&job).await?,
            Kind::Container => replace::apply(&job).await?,
            other => return Err(ApplyError::fatal(format!("change a {other}: this is only an engine"))),
        }
        Ok(Vec::new())
    }
}

impl Provider for DockerProvider {
    fn observe<'a>(&'a self, desired: &'a Desired, secrets: &'a dyn Secrets) -> BoxFuture<'a, Report> {
        Box::pin(observe::observe(self, desired, secrets))
    }

    fn apply<'a>(
        &'a self,
        step: &'a Step,
        ctx: StepContext<'a>,
    ) -> BoxFuture<'a, Result<Vec<Observation>, ApplyError>> {
        Box::pin(self.step(step, ctx))
    }

    fn operate(&self) -> Option<&dyn Operate> {
        Some(self)
    }
}
