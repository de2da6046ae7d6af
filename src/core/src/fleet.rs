//! The fleet: what the files say, merged and typed, with a way back to the line that says it. Reads no file itself.

pub mod file;
mod load;
mod merge;
mod schema;
mod shape;
mod tree;

use std::collections::BTreeMap;

use crate::problem::Location;

pub use file::{
    AgentTable, FleetTable, HostState, HostTable, JumpTable, PolicyTable, Preferred, ProfileTable, ProviderKind,
    ProviderTable, RecordKind, RecordTable, ResourcesTable, RolloutTable, SshTable, SuspendTable, ZoneTable,
};
pub use load::{FILE_BYTES_MAX, SourceFile, include_patterns, load};
pub use schema::fleet_schema;
pub use tree::Tree;

/// Everything one `fleet.toml` and its includes declare.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// The `[fleet]` table.
    pub meta: FleetTable,
    /// Providers by name, their kind settled.
    pub providers: BTreeMap<String, ProviderTable>,
    /// Profiles that have recipients of their own.
    pub profiles: BTreeMap<String, ProfileTable>,
    /// How machines are logged in to.
    pub ssh: SshTable,
    /// DNS zones by name, lower case.
    pub dns: BTreeMap<String, ZoneTable>,
    /// Machines by the key of their table, defaults merged in; the machine of an agent's own by the agent's key.
    pub hosts: BTreeMap<String, HostTable>,
    /// Limits.
    pub policy: PolicyTable,
    /// How changes reach running agents.
    pub rollout: RolloutTable,
    /// Agents by the key of their table, defaults merged in.
    pub agents: BTreeMap<String, AgentTable>,
    /// The way back to the files.
    pub tree: Tree,
}

impl Fleet {
    /// Returns where a field of an agent is written: in its own table, else in the defaults, else the agent's name.
    pub fn agent_field(&self, key: &str, field: &str) -> Option<Location> {
        self.tree
            .exact(&["agents", key, field])
            .or_else(|| self.tree.exact(&["defaults", "agent", field]))
            .or_else(|| self.tree.key(&["agents", key]))
    }

    /// Returns where a field of a host is written: in its own table, else in the defaults, else the host's name.
    pub fn host_field(&self, key: &str, field: &str) -> Option<Location> {
        let own = if self.is_own(key) {
            self.tree.exact(&["agents", key, "host", field])
        } else {
            self.tree.exact(&["hosts", key, field])
        };
        own.or_else(|| self.tree.exact(&["defaults", "host", field]))
            .or_else(|| self.tree.key(&["hosts", key]))
            .or_else(|| self.tree.key(&["agents", key]))
    }

    /// Whether a host is an agent's own machine.
    pub fn is_own(&self, host: &str) -> bool {
        self.agents.get(host).and_then(|agent| agent.on.as_deref()).is_some_and(|on| self.cloud(on).is_some())
    }

    /// Returns the place an agent runs on: its own machine where `on` names a cloud.
    pub fn place_of<'a>(&'a self, agent: &'a str) -> Option<&'a str> {
        let on = self.agents.get(agent)?.on.as_deref()?;
        Some(if self.cloud(on).is_some() { agent } else { on })
    }

    /// Returns the provider that makes a host's machine; `None` where the machine exists.
    pub fn cloud_of<'a>(&self, host: &'a HostTable) -> Option<&'a str> {
        host.on.as_deref().filter(|on| self.cloud(on).is_some())
    }

    /// Returns the providers that make machines.
    pub fn clouds(&self) -> impl Iterator<Item = &str> {
        self.providers.keys().map(String::as_str).filter(|name| self.cloud(name).is_some())
    }

    /// Returns the kind of a provider, if it makes machines.
    pub fn cloud(&self, provider: &str) -> Option<ProviderKind> {
        self.providers.get(provider)?.kind.filter(|kind| kind.is_cloud())
    }

    /// Returns the id of the host that is a place, if it is one.
    pub fn host_id<'a>(&'a self, place: &'a str) -> Option<&'a str> {
        self.hosts.get(place).map(|table| table.id.as_deref().unwrap_or(place))
    }
}
