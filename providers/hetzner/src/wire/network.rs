//! What stands around servers: keys, firewalls, addresses.

use serde::{Deserialize, Serialize};

use super::{Labels, NamedRef, Protection, open};

/// A public key that new servers let in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SshKey {
    /// Its number.
    pub id: u64,
    /// Its name, unique in the project.
    pub name: String,
    /// MD5 in hex with colons, unique in the project.
    pub fingerprint: String,
    /// The key as in authorized_keys.
    pub public_key: String,
    /// Its labels.
    pub labels: Labels,
}

open! {
    /// Which way a rule looks.
    Direction {
        In = "in",
        Out = "out",
    }
}

open! {
    /// What a rule is about.
    Protocol {
        Tcp = "tcp",
        Udp = "udp",
        Icmp = "icmp",
        Esp = "esp",
        Gre = "gre",
    }
}

/// What a firewall lets pass. A firewall with no `in` rule lets nothing in; one with no `out` rule lets all out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub struct Rule {
    /// Which way.
    pub direction: Direction,
    /// Of what.
    pub protocol: Protocol,
    /// `80` or `80-85`; for TCP and UDP only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// From where (`in`), CIDR.
    #[serde(default, deserialize_with = "super::or_default", skip_serializing_if = "Vec::is_empty")]
    pub source_ips: Vec<String>,
    /// To where (`out`), CIDR.
    #[serde(default, deserialize_with = "super::or_default", skip_serializing_if = "Vec::is_empty")]
    pub destination_ips: Vec<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A set of rules, and where it holds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Firewall {
    /// Its number.
    pub id: u64,
    /// Its name, unique in the project.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// What may pass.
    pub rules: Vec<Rule>,
    /// Where it holds.
    pub applied_to: Vec<AppliedTo>,
}

open! {
    /// How a firewall finds what it holds for.
    AppliedToType {
        Server = "server",
        LabelSelector = "label_selector",
    }
}

/// Where a firewall holds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AppliedTo {
    /// Which of the two it is.
    #[serde(rename = "type")]
    pub kind: AppliedToType,
    /// One server.
    pub server: Option<ServerRef>,
    /// All servers with such labels.
    pub label_selector: Option<SelectorRef>,
}

/// A server by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct ServerRef {
    /// The number.
    pub id: u64,
}

/// A label selector.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SelectorRef {
    /// Its text.
    pub selector: String,
}

open! {
    /// Which kind of address.
    IpType {
        V4 = "ipv4",
        V6 = "ipv6",
    }
}

/// An address that can outlive its server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PrimaryIp {
    /// Its number.
    pub id: u64,
    /// Its name, unique in the project.
    pub name: String,
    /// The address, or for IPv6 the network.
    pub ip: String,
    /// Which kind.
    #[serde(rename = "type")]
    pub kind: IpType,
    /// Its labels.
    pub labels: Labels,
    /// The server that has it; `None` when it is free.
    pub assignee_id: Option<u64>,
    /// What has it; says `unassigned` when it is free.
    pub assignee_type: Option<String>,
    /// Goes with its server when that is deleted; `None` where the API did not say.
    pub auto_delete: Option<bool>,
    /// Where it can be used.
    pub location: Option<NamedRef>,
    /// What is refused.
    pub protection: Option<Protection>,
}
