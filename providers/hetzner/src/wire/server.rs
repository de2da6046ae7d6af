//! Servers.

use serde::Deserialize;

use super::{Labels, open};

open! {
    /// How a server stands. Being locked is apart from it.
    ServerStatus {
        Running = "running",
        Initializing = "initializing",
        Starting = "starting",
        Stopping = "stopping",
        Off = "off",
        Deleting = "deleting",
        Migrating = "migrating",
        Rebuilding = "rebuilding",
        Unknown = "unknown",
    }
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Server {
    /// Its number.
    pub id: u64,
    /// Its name, unique in the project.
    pub name: String,
    /// How it stands.
    pub status: ServerStatus,
    /// Its labels, the mark among them.
    pub labels: Labels,
    /// Its size.
    pub server_type: Option<NamedRef>,
    /// What it was made from; `None` also when that image is gone.
    pub image: Option<ImageRef>,
    /// Where it stands.
    pub location: Option<NamedRef>,
    /// Its addresses and firewalls.
    pub public_net: Option<PublicNetwork>,
    /// What is refused.
    pub protection: Option<ServerProtection>,
    /// Something works on it: other changes are refused with `locked` until then.
    #[serde(default, deserialize_with = "super::or_default")]
    pub locked: bool,
    /// GB of its disk.
    pub primary_disk_size: Option<u64>,
    /// Numbers of the volumes attached to it.
    #[serde(default, deserialize_with = "super::or_default")]
    pub volumes: Vec<u64>,
    /// When it was made, RFC 3339.
    pub created: Option<String>,
}

/// Another resource by number and name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct NamedRef {
    /// Its number.
    pub id: Option<u64>,
    /// Its name.
    pub name: String,
}

/// An image by number and name; snapshots have no name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ImageRef {
    /// Its number.
    pub id: Option<u64>,
    /// Its name.
    pub name: Option<String>,
}

/// How a server is on the internet.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PublicNetwork {
    /// Its IPv4 address, if it has one.
    pub ipv4: Option<Ip>,
    /// Its IPv6 network (a /64), if it has one.
    pub ipv6: Option<Ip>,
    /// Firewalls on it; `None` where the API did not say.
    pub firewalls: Option<Vec<FirewallOnServer>>,
}

/// An address of a server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Ip {
    /// The number of the primary IP.
    pub id: Option<u64>,
    /// The address, or for IPv6 the network.
    pub ip: String,
}

/// A firewall on a server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct FirewallOnServer {
    /// The firewall's number.
    pub id: u64,
    /// `applied`, or `pending` while that goes on.
    pub status: Option<String>,
}

/// What is refused for a server. The API wants both to be the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ServerProtection {
    /// Deleting is refused.
    pub delete: bool,
    /// Rebuilding is refused.
    #[serde(default)]
    pub rebuild: bool,
}
