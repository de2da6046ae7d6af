//! Names and marks of an agent's objects on an engine. An agent's id has no dot, so no two names meet.

use std::collections::HashMap;

/// The label that says whose an object is: the fleet's id.
pub const FLEET_LABEL: &str = "claw.fleet";
/// The label that says which agent an object belongs to.
pub const AGENT_LABEL: &str = "claw.agent";
/// The label that says what an object is to its agent.
pub const ROLE_LABEL: &str = "claw.role";
/// The label of a gateway that names the variables the fleet asked for; the others are the image's and claw's.
pub const ENV_LABEL: &str = "claw.env";
/// The label of a gateway that says which hardening it was made with.
pub const HARDENING_LABEL: &str = "claw.hardening";

/// What an object is to its agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The agent's bridge.
    Network,
    /// The volume with its state.
    State,
    /// The volume with its configuration and claw's manifests.
    Config,
    /// The volume with its secret file.
    Secrets,
    /// The container that files travel through.
    Anchor,
    /// The gateway's container.
    Gateway,
    /// The gateway before the one that is being tried.
    Previous,
    /// The copy of the state from before a new image.
    Aside,
    /// A one-shot container.
    Helper,
}

impl Role {
    /// The volumes every agent has.
    pub const VOLUMES: [Self; 3] = [Self::State, Self::Config, Self::Secrets];

    /// Returns the word in labels.
    pub fn word(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::State => "state",
            Self::Config => "config",
            Self::Secrets => "secrets",
            Self::Anchor => "anchor",
            Self::Gateway => "gateway",
            Self::Previous => "previous",
            Self::Aside => "aside",
            Self::Helper => "helper",
        }
    }
}

/// One agent's names on an engine.
#[derive(Clone, Debug)]
pub struct Names {
    fleet: String,
    agent: String,
}

impl Names {
    /// Returns the names of an agent of a fleet.
    pub fn new(fleet: &str, agent: &str) -> Self {
        Self { fleet: fleet.to_owned(), agent: agent.to_owned() }
    }

    /// Returns the agent's id.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// Returns the name of the object with a role: `claw.k7f3q2.pete` for the gateway and its network.
    pub fn of(&self, role: Role) -> String {
        let base = format!("claw.{}.{}", self.fleet, self.agent);
        match role {
            Role::Gateway | Role::Network => base,
            role => format!("{base}.{}", role.word()),
        }
    }

    /// Returns the name of a one-shot container: one per step, for steps run side by side.
    pub fn helper(&self, step: &str) -> String {
        format!("{}-{step}", self.of(Role::Helper))
    }

    /// Returns the labels of an object.
    pub fn labels(&self, role: Role) -> HashMap<String, String> {
        let pairs = [(FLEET_LABEL, self.fleet.as_str()), (AGENT_LABEL, &self.agent), (ROLE_LABEL, role.word())];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }
}
