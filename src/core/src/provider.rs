//! The two seams to the world: `Rules`, what a provider knows without looking, and `Provider`, what it does.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::desired::{Desired, Resource};
use crate::fleet::{AgentTable, Fleet, HostTable};
use crate::money::Money;
use crate::name::{Address, ResourceId};
use crate::observed::{Observation, Report};
use crate::operate::Operate;
use crate::plan::{Effect, Step};
use crate::problem::Problem;
use crate::secret::{Destinations, Secrets};
use crate::ssh::ControlKey;
use crate::value::{Change, Fields};

/// What the plan itself looks at in an `access` resource, to shut nobody out.
pub mod access {
    /// The field with claw's own keys: fingerprint → key.
    pub const CONTROL: &str = "control";
    /// The field with the address ranges that may log in; anybody where it is missing.
    pub const FROM: &str = "from";
    /// The fact of a place that says from which address the host sees us.
    pub const SEEN_FROM: &str = "seen_from";
    /// The fact of a place that lists keys somebody else put there, one a line.
    pub const UNMANAGED: &str = "unmanaged";
}

/// What the plan and its reader look at in what a cloud is asked for.
pub mod cloud {
    /// The field of a server that names its firewall, and so who reaches it.
    pub const FIREWALL: &str = "firewall";
    /// The field of a server that says for how many agents it is: [`SEVERAL`], or one.
    pub const AGENTS: &str = "agents";
    /// What that says of a machine whose agents are not known by its name.
    pub const SEVERAL: &str = "several";
    /// The fact of a record set that says for which agent it was made.
    pub const AGENT: &str = "agent";
    /// The fact of an `address` resource: IPv4, dotted.
    pub const IPV4: &str = "ipv4";
    /// The fact of an `address` resource: IPv6, the machine's own out of its network.
    pub const IPV6: &str = "ipv6";
}

/// A future that can cross the seam.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An agent as the fleet declares it, ready to be turned into resources.
#[derive(Clone, Copy)]
pub struct AgentSpec<'a> {
    /// The fleet it belongs to.
    pub fleet: &'a Fleet,
    /// The key of its table.
    pub key: &'a str,
    /// What it is known by on machines.
    pub id: &'a str,
    /// The place it runs on.
    pub place: &'a str,
    /// Its table, defaults merged in.
    pub table: &'a AgentTable,
    /// The keys of each profile on disk.
    pub profiles: &'a BTreeMap<String, Vec<String>>,
    /// Where the values of profiles may be sent.
    pub destinations: &'a Destinations,
    /// The files to seed into its workspace.
    pub seeds: &'a BTreeMap<String, Arc<[u8]>>,
}

/// A host as the fleet declares it, ready to be turned into resources.
#[derive(Clone, Copy)]
pub struct HostSpec<'a> {
    /// The fleet it belongs to.
    pub fleet: &'a Fleet,
    /// The key of its table: the place agents on it have.
    pub key: &'a str,
    /// What it is known by.
    pub id: &'a str,
    /// Its table, defaults merged in.
    pub table: &'a HostTable,
    /// claw's own login keys.
    pub control: &'a [ControlKey],
}

/// What a provider knows without looking. Pure: asked by `compile` and `plan`.
pub trait Rules: Send + Sync {
    /// Returns the agent's resources, or what the provider would refuse about it.
    fn declare(&self, agent: AgentSpec<'_>) -> Result<Vec<(ResourceId, Resource)>, Vec<Problem>>;

    /// Returns the resources of a host, or what the provider would refuse about it. Only places that are hosts are asked.
    fn declare_host(&self, _host: HostSpec<'_>) -> Result<Vec<(ResourceId, Resource)>, Vec<Problem>> {
        Ok(Vec::new())
    }

    /// Returns what stands at the provider for a host it makes: keys, rules, addresses, the machine. Only clouds are asked.
    fn declare_machine(&self, _host: HostSpec<'_>) -> Result<Vec<(ResourceId, Resource)>, Vec<Problem>> {
        Ok(Vec::new())
    }

    /// Returns what is odd about a host that shall be made, whose agents may use that much memory each, in MiB. Only
    /// clouds are asked.
    fn check_machine(&self, _host: HostSpec<'_>, _agents_mib: &[u64]) -> Vec<Problem> {
        Vec::new()
    }

    /// Returns what a resource with these fields costs a month, net; `None` where that is not known. `thing` are the facts
    /// told of it as it stands, `place` those told of its place.
    fn price(
        &self,
        _id: &ResourceId,
        _fields: &Fields,
        _thing: &BTreeMap<String, String>,
        _place: &BTreeMap<String, String>,
    ) -> Option<Money> {
        None
    }

    /// Returns what a change of these fields does to the running agent.
    fn weigh(&self, id: &ResourceId, changes: &[Change]) -> Effect;
}

/// Every provider of the fleet by the name of its place. Pure half.
pub type Rulebook = BTreeMap<String, Arc<dyn Rules>>;

/// What a provider does. Asked by the engine.
pub trait Provider: Send + Sync {
    /// Returns everything with our mark, and what stands in our places without it, in the form `Rules::declare` uses:
    /// what differs only in spelling would be noise in a plan. Never fails: what could not be seen is said in the report.
    fn observe<'a>(&'a self, desired: &'a Desired, secrets: &'a dyn Secrets) -> BoxFuture<'a, Report>;

    /// Does one step. It may have been begun before: steps are idempotent. Returns what it now sees.
    fn apply<'a>(&'a self, step: &'a Step, ctx: StepContext<'a>)
    -> BoxFuture<'a, Result<Vec<Observation>, ApplyError>>;

    /// Returns how many steps it can do side by side: a machine has few hands, a cloud many.
    fn steps_at_once(&self) -> usize {
        8
    }

    /// Returns what people do with what runs here; `None` where nothing can be done.
    fn operate(&self) -> Option<&dyn Operate> {
        None
    }
}

/// How a line of progress begins that somebody has to hear of though the step goes on.
pub const WARNING: &str = "warning: ";

/// What a step may use.
#[derive(Clone, Copy)]
pub struct StepContext<'a> {
    /// The fleet as it shall be.
    pub desired: &'a Desired,
    /// Secret values.
    pub secrets: &'a dyn Secrets,
    /// Told what goes on while it takes long. What begins with [`WARNING`] stays to be read.
    pub progress: &'a (dyn Fn(&str) + Send + Sync),
}

impl<'a> StepContext<'a> {
    /// Returns the resource a step is about; `None` for an orphan.
    pub fn resource(&self, address: &Address) -> Option<&'a Resource> {
        self.desired.resources.get(address)
    }
}

/// How an error is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Passing: try again after a while.
    Retry,
    /// The thing is locked by something that ends: wait.
    Busy,
    /// Somebody changed it under us: look again, then try again.
    Conflict,
    /// Trying again changes nothing.
    Fatal,
}

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ApplyError {
    /// How it is met.
    pub class: Class,
    /// What went wrong; reads after "failed to".
    pub reason: String,
    /// What to do.
    pub help: Option<String>,
    /// Set when the step took back what it had changed.
    pub rolled_back: bool,
    /// Set when the step changed something before it failed.
    pub changed: bool,
}

impl ApplyError {
    /// Returns an error of a class.
    pub fn new(class: Class, reason: impl Into<String>) -> Self {
        Self { class, reason: reason.into(), help: None, rolled_back: false, changed: false }
    }

    /// Returns an error that trying again does not mend.
    pub fn fatal(reason: impl Into<String>) -> Self {
        Self::new(Class::Fatal, reason)
    }

    /// Says what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
