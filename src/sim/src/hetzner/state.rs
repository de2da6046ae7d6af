//! What one project consists of. Plain data: it is written to a file and read again as it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::selector::Labels;

/// What a server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its disk is being made.
    Initializing,
    /// It boots.
    Starting,
    /// It runs.
    Running,
    /// It shuts down.
    Stopping,
    /// It is off.
    Off,
    /// It is being deleted.
    Deleting,
    /// It moves to another size.
    Migrating,
    /// Its disk is being written anew.
    Rebuilding,
}

impl Status {
    /// Returns the word of the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Off => "off",
            Self::Deleting => "deleting",
            Self::Migrating => "migrating",
            Self::Rebuilding => "rebuilding",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Server {
    pub id: u64,
    pub name: String,
    pub labels: Labels,
    pub created_ms: u64,
    pub status: Status,
    pub server_type: u64,
    pub location: String,
    pub image: u64,
    pub disk_gb: u64,
    pub ipv4: Option<u64>,
    pub ipv6: Option<u64>,
    pub private: Vec<PrivateNet>,
    pub group: Option<u64>,
    pub protected_delete: bool,
    pub protected_rebuild: bool,
    pub rescue_enabled: bool,
    pub user_data: Option<String>,
    /// The public keys it was made with.
    pub keys: Vec<String>,
    pub rebuilt: u32,
    /// Running actions that let no other begin.
    pub locks: Vec<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PrivateNet {
    pub network: u64,
    pub ip: std::net::Ipv4Addr,
    pub alias_ips: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SshKey {
    pub id: u64,
    pub name: String,
    pub labels: Labels,
    pub created_ms: u64,
    pub public_key: String,
    pub fingerprint: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Firewall {
    pub id: u64,
    pub name: String,
    pub labels: Labels,
    pub created_ms: u64,
    pub rules: Vec<Rule>,
    /// The servers it is applied to by hand.
    pub servers: Vec<u64>,
    /// The label selectors it is applied to.
    pub selectors: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rule {
    pub direction: String,
    pub protocol: String,
    pub port: Option<String>,
    pub source_ips: Vec<String>,
    pub destination_ips: Vec<String>,
    pub description: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PrimaryIp {
    pub id: u64,
    pub name: String,
    pub labels: Labels,
    pub created_ms: u64,
    pub ip: std::net::IpAddr,
    pub location: String,
    pub assignee: Option<u64>,
    pub auto_delete: bool,
    pub protected: bool,
    /// Names by address, as text.
    pub pointers: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Network {
    pub id: u64,
    pub name: String,
    pub labels: Labels,
    pub created_ms: u64,
    pub range: super::ranges::Range,
    pub subnets: Vec<Subnet>,
    pub routes: Vec<NetworkRoute>,
    pub expose_routes: bool,
    pub protected: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Subnet {
    pub kind: String,
    pub range: super::ranges::Range,
    pub zone: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NetworkRoute {
    pub destination: String,
    pub gateway: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Volume {
    pub id: u64,
    pub name: String,
    pub labels: Labels,
    pub created_ms: u64,
    pub size_gb: u64,
    pub location: String,
    pub format: Option<String>,
    pub server: Option<u64>,
    pub protected: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PlacementGroup {
    pub id: u64,
    pub name: String,
    pub labels: Labels,
    pub created_ms: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Zone {
    pub id: u64,
    pub name: String,
    pub labels: Labels,
    pub created_ms: u64,
    pub secondary: bool,
    pub ttl: u32,
    pub protected: bool,
    pub primaries: Vec<serde_json::Value>,
    /// Keyed by `name/TYPE`.
    pub rrsets: BTreeMap<String, Rrset>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Rrset {
    pub name: String,
    pub kind: String,
    pub ttl: Option<u32>,
    pub labels: Labels,
    pub protected: bool,
    pub records: Vec<Record>,
    pub created_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub value: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// Something that takes time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Action {
    pub id: u64,
    pub command: String,
    pub started_ms: u64,
    pub ends_ms: u64,
    pub finished_ms: Option<u64>,
    /// Whether it will end, or ended, in an error.
    pub fails: bool,
    pub resources: Vec<(Kind, u64)>,
    /// What happens when it ends well.
    pub effects: Vec<Effect>,
    /// What happens when it fails.
    pub undo: Vec<Effect>,
}

/// The kinds of resources that actions name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Server,
    Firewall,
    PrimaryIp,
    Network,
    Volume,
    Zone,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Firewall => "firewall",
            Self::PrimaryIp => "primary_ip",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Zone => "zone",
        }
    }
}

/// What becomes true at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Effect {
    /// A server has a status.
    Status(u64, Status),
    /// A server that is in the first status has the second.
    StatusFrom(u64, Status, Status),
    /// A server is gone.
    Gone(u64),
    /// A server has another size, and a larger disk if so wished.
    Resized { server: u64, to: u64, disk: bool },
    /// A server's disk is new.
    Rebuilt { server: u64, image: u64 },
    /// A server boots a rescue system next, or no longer.
    Rescue(u64, bool),
    /// An address belongs to a server.
    Assigned { ip: u64, server: u64 },
    /// An address belongs to nothing.
    Unassigned(u64),
}

/// Something that is due.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Timer {
    pub due_ms: u64,
    pub event: Event,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Event {
    Finish(u64),
    Effect(Effect),
}
