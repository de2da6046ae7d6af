//! A project of the Hetzner Cloud as a provider.

use std::collections::BTreeMap;
use std::sync::Arc;

use claw_core::desired::Desired;
use claw_core::machine::{Bear, Locate};
use claw_core::money::Money;
use claw_core::name::Kind;
use claw_core::observed::{Observation, Report};
use claw_core::plan::Step;
use claw_core::provider::{ApplyError, BoxFuture, Provider, StepContext};
use claw_core::secret::Secrets;
use claw_net::dns::{Ask, NameServers};

use crate::adopt::{self, Stranger};
use crate::client::Client;
use crate::machine::Machine;
use crate::observe;
use crate::project::Project;
use crate::steps::{self, Job};

/// One project, and what a fleet has in it.
pub struct HetznerProvider {
    project: Arc<Project>,
    bear: Box<Bear>,
    names: Arc<dyn Ask>,
}

impl HetznerProvider {
    /// Returns the provider of that name. `bear` makes what new machines are born with.
    pub fn new(place: &str, fleet: &str, client: Client, bear: Box<Bear>) -> Self {
        Self { project: Arc::new(Project::new(place, fleet, client)), bear, names: Arc::new(NameServers::Off) }
    }

    /// Has changed names looked up where they are served, until they are so; else nobody is asked.
    pub fn with_names(self, names: Arc<dyn Ask>) -> Self {
        Self { names, ..self }
    }

    /// Returns the way to find the machine of a host.
    pub fn machine(&self, host: &str) -> Arc<dyn Locate> {
        Arc::new(Machine { project: Arc::clone(&self.project), id: host.to_owned() })
    }

    /// Returns every machine of the project that does not carry the fleet's mark.
    pub async fn strangers(&self) -> Result<Vec<Stranger>, ApplyError> {
        adopt::strangers(&self.project).await
    }

    /// Marks a machine as a host's. `pin` is that of the host key it shows, as labels have it.
    pub async fn adopt(&self, name: &str, host: &str, pin: &str) -> Result<Stranger, ApplyError> {
        adopt::adopt(&self.project, name, host, pin).await
    }

    /// Returns what each size costs a month at a location, net.
    pub async fn prices(&self, location: &str) -> Result<BTreeMap<String, Money>, ApplyError> {
        adopt::prices(&self.project, location).await
    }

    async fn step(&self, step: &Step, ctx: StepContext<'_>) -> Result<Vec<Observation>, ApplyError> {
        let job = Job { project: &self.project, step, ctx, bear: &*self.bear, names: &*self.names };
        match step.address.id.kind {
            Kind::Sshkey => steps::sshkey::apply(&job).await,
            Kind::Firewall => steps::firewall::apply(&job).await,
            Kind::Address => steps::address::apply(&job).await,
            Kind::Server => steps::server::apply(&job).await,
            Kind::Dns => steps::dns::apply(&job).await,
            other => Err(ApplyError::fatal(format!("change a {other}: a cloud has none"))),
        }
    }
}

impl Provider for HetznerProvider {
    /// Most of a step is waiting; the client keeps what is in flight at once within bounds of its own.
    fn steps_at_once(&self) -> usize {
        64
    }

    fn observe<'a>(&'a self, desired: &'a Desired, _secrets: &'a dyn Secrets) -> BoxFuture<'a, Report> {
        Box::pin(observe::observe(&self.project, desired))
    }

    fn apply<'a>(
        &'a self,
        step: &'a Step,
        ctx: StepContext<'a>,
    ) -> BoxFuture<'a, Result<Vec<Observation>, ApplyError>> {
        Box::pin(self.step(step, ctx))
    }
}
