//! Names of things: kinds, resources and where they live. Derives vendor names from nothing; providers do that.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a resource is. The set is closed: a new provider adds none. The order is the rank by which things that have
/// no declaration are taken down: highest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// claw's public login key at a cloud account.
    Sshkey,
    /// A set of rules about who reaches machines, at a cloud.
    Firewall,
    /// The public addresses of a machine, which outlive it.
    Address,
    /// The machine itself, at a cloud.
    Server,
    /// Who may log in at a host: claw's control keys and the operators.
    Access,
    /// A machine with SSH and an engine: hardened sshd, engine, folders, what containers may not reach.
    Host,
    /// A bridge of the agent's own.
    Network,
    /// The agent's state, and the volumes its config and secrets lie on.
    Volume,
    /// A container that is never started: files are read and written through it.
    Anchor,
    /// The agent's secret file.
    Secrets,
    /// Files seeded into the agent's workspace.
    Workspace,
    /// The agent's `openclaw.json`.
    Config,
    /// The gateway.
    Container,
    /// A set of DNS records with one name and type: `dns/pete.example.org:A`.
    Dns,
}

impl Kind {
    /// Every kind, in rank order.
    pub const ALL: [Self; 14] = [
        Self::Sshkey,
        Self::Firewall,
        Self::Address,
        Self::Server,
        Self::Access,
        Self::Host,
        Self::Network,
        Self::Volume,
        Self::Anchor,
        Self::Secrets,
        Self::Workspace,
        Self::Config,
        Self::Container,
        Self::Dns,
    ];

    /// Returns the word used for it everywhere.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sshkey => "sshkey",
            Self::Firewall => "firewall",
            Self::Address => "address",
            Self::Server => "server",
            Self::Access => "access",
            Self::Host => "host",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Anchor => "anchor",
            Self::Secrets => "secrets",
            Self::Workspace => "workspace",
            Self::Config => "config",
            Self::Container => "container",
            Self::Dns => "dns",
        }
    }

    /// Returns the kinds a resource of this kind needs, for the same agent or host.
    pub fn needs(self) -> &'static [Self] {
        match self {
            // what an agent on a host begins with needs the host, which has another name: `compile` says which; so with
            // the keys and rules a server needs, and the address a name points to
            Self::Sshkey | Self::Firewall | Self::Address | Self::Access | Self::Network | Self::Volume | Self::Dns => {
                &[]
            }
            Self::Server => &[Self::Address],
            // passwords are turned off only once claw's key is proven
            Self::Host => &[Self::Access],
            Self::Anchor => &[Self::Volume],
            Self::Secrets | Self::Workspace => &[Self::Anchor],
            // validation resolves the secret references, so the secret file comes first
            Self::Config => &[Self::Anchor, Self::Secrets],
            Self::Container => &[Self::Network, Self::Secrets, Self::Workspace, Self::Config],
        }
    }

    /// Whether it is part of a machine and not of an agent.
    pub fn is_of_host(self) -> bool {
        matches!(self, Self::Address | Self::Server | Self::Access | Self::Host)
    }

    /// Whether it holds what cannot be made again.
    pub fn holds_data(self) -> bool {
        // what agents keep lies on the machine
        matches!(self, Self::Volume | Self::Server)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Something claw can create, change and delete: `container/pete`. The name is the agent's or host's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId {
    /// The agent's or host's id.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}

impl ResourceId {
    /// Returns the id of a kind for an agent.
    pub fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// A text is not a resource id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a resource: write KIND/NAME, as in container/pete")]
pub struct NotAResource(String);

impl FromStr for ResourceId {
    type Err = NotAResource;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || NotAResource(text.to_owned());
        let (word, name) = text.split_once('/').ok_or_else(refuse)?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.word() == word).ok_or_else(refuse)?;
        if name.is_empty() { Err(refuse()) } else { Ok(Self::new(kind, name)) }
    }
}

impl Serialize for ResourceId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ResourceId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A resource at a place: an agent that moves exists at two places for a while.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Address {
    /// Which resource.
    #[serde(rename = "resource")]
    #[schemars(with = "String")]
    pub id: ResourceId,
    /// The provider or host it lives on.
    pub place: String,
}

impl Address {
    /// Returns the address of another kind of the same agent at the same place.
    pub fn sibling(&self, kind: Kind) -> Self {
        Self { id: ResourceId::new(kind, self.id.name.clone()), place: self.place.clone() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_a_round_trip_through_text() {
        for kind in Kind::ALL {
            let id = ResourceId::new(kind, "pete");
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!("dns/_a.b.example.org:SRV".parse(), Ok(ResourceId::new(Kind::Dns, "_a.b.example.org:SRV")));
        assert!("server".parse::<ResourceId>().is_err());
        assert!("cat/pete".parse::<ResourceId>().is_err());
    }

    #[test]
    fn needs_point_to_lower_ranks_only() {
        for kind in Kind::ALL {
            assert!(kind.needs().iter().all(|need| *need < kind), "{kind}");
        }
    }
}
