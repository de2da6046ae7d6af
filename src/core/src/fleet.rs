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
    AgentTable, FleetTable, HostState, HostTable, JumpTable, PolicyTable, ProfileTable, ProviderKind, ProviderTable,
    ResourcesTable, SshTable, SuspendTable,
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
    /// Machines by the key of their table, defaults merged in.
    pub hosts: BTreeMap<String, HostTable>,
    /// Limits.
    pub policy: PolicyTable,
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
        self.tree
            .exact(&["hosts", key, field])
            .or_else(|| self.tree.exact(&["defaults", "host", field]))
            .or_else(|| self.tree.key(&["hosts", key]))
    }

    /// Returns the id of the host that is a place, if it is one.
    pub fn host_id<'a>(&'a self, place: &'a str) -> Option<&'a str> {
        self.hosts.get(place).map(|table| table.id.as_deref().unwrap_or(place))
    }
}
