//! Plans: what to do, in which order, and what not to do and why. Pure: equal inputs give equal plans, and every input
//! gives one.

mod decide;
mod guard;
mod sequence;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::desired::Desired;
use crate::name::Address;
use crate::observed::Observed;
use crate::provider::Rulebook;
use crate::secret::SecretError;
use crate::value::{Change, Fields};

/// What one apply shall do: plain data, no choices left open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The fleet's id.
    pub fleet: String,
    /// What to do, each step after those it needs.
    pub steps: Vec<Step>,
    /// What is not done now, and why.
    pub held: Vec<Held>,
    /// What is as it shall be.
    pub unchanged: Vec<Address>,
    /// Agents left alone, whether or not they would change.
    pub suspended: Vec<Suspended>,
    /// Places that could not be read whole, and why.
    pub unseen: BTreeMap<String, String>,
}

impl Plan {
    /// Whether there is nothing to do and nothing held.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.held.is_empty() && self.unseen.is_empty()
    }
}

/// What a provider does to one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// To what.
    #[serde(flatten)]
    pub address: Address,
    /// What.
    #[serde(flatten)]
    pub action: Action,
    /// What that does to the running agent.
    pub effect: Effect,
    /// The steps of this plan that come first.
    pub needs: Vec<Address>,
}

/// What is done, with what was seen and what shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "lowercase")]
pub enum Action {
    /// Make it.
    Create {
        /// As it shall be.
        after: Fields,
    },
    /// Change it where it stands.
    Update {
        /// As it was seen.
        before: Fields,
        /// As it shall be.
        after: Fields,
        /// What differs.
        changes: Vec<Change>,
    },
    /// Make a new one in its place.
    Replace {
        /// As it was seen.
        before: Fields,
        /// As it shall be.
        after: Fields,
        /// What differs.
        changes: Vec<Change>,
    },
    /// Remove it.
    Delete {
        /// As it was seen.
        before: Fields,
    },
}

impl Action {
    /// Returns the fields it shall have; `None` for a delete.
    pub fn after(&self) -> Option<&Fields> {
        match self {
            Self::Create { after } | Self::Update { after, .. } | Self::Replace { after, .. } => Some(after),
            Self::Delete { .. } => None,
        }
    }

    /// Returns what differs; nothing for a create or delete.
    pub fn changes(&self) -> &[Change] {
        match self {
            Self::Update { changes, .. } | Self::Replace { changes, .. } => changes,
            Self::Create { .. } | Self::Delete { .. } => &[],
        }
    }

    /// Returns the word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Update { .. } => "update",
            Self::Replace { .. } => "replace",
            Self::Delete { .. } => "delete",
        }
    }

    /// Whether it removes.
    pub fn is_delete(&self) -> bool {
        matches!(self, Self::Delete { .. })
    }
}

/// What a step does to the running agent. Ordered by how much it disturbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Nothing running notices.
    None,
    /// Taken over while it runs.
    Hot,
    /// The gateway restarts in its container: some seconds without answers.
    Restart,
    /// A new container takes its place: some seconds to a minute without answers.
    Replace,
}

/// A change claw will not make now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Of what.
    #[serde(flatten)]
    pub address: Address,
    /// What would be done.
    pub would: &'static str,
    /// Why not.
    #[serde(flatten)]
    pub reason: Reason,
}

/// Why a change is held.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Reason {
    /// It could not be seen.
    Unknown {
        /// Why.
        why: String,
    },
    /// Something without our mark stands in its place.
    Foreign,
    /// Data would be lost; the agent must be named by `--allow-destroy`.
    Data {
        /// The name to give.
        name: String,
    },
    /// The agent's data is at another place.
    Moved {
        /// The name to give to start without it.
        name: String,
        /// Where the data is.
        from: String,
    },
    /// More deletes of this kind than the policy allows.
    DeleteMax {
        /// How many there would be.
        wanted: usize,
        /// How many are allowed.
        allowed: usize,
    },
    /// The fleet says to leave it alone.
    Suspended {
        /// Until which day.
        until: String,
    },
    /// A secret cannot be had.
    Secret {
        /// Why.
        why: String,
        /// What to do.
        help: String,
    },
    /// Something it needs is held.
    Waits {
        /// What.
        on: Address,
    },
}

/// An agent left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Suspended {
    /// Its id.
    pub agent: String,
    /// The first day claw looks after it again.
    pub until: String,
    /// Why.
    pub reason: Option<String>,
}

/// The limits a plan keeps to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How much of a kind may go, in per cent; one always may.
    pub delete_max_percent: u32,
    /// Whether the limit counts: not when a person named what to destroy.
    pub guard_deletes: bool,
    /// Agents whose data may be lost.
    pub allow_destroy: BTreeSet<String>,
    /// Today, `YYYY-MM-DD`, UTC.
    pub today: String,
    /// Agents or resources to keep to, with what they need; everything when empty.
    pub targets: BTreeSet<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            delete_max_percent: 30,
            guard_deletes: true,
            allow_destroy: BTreeSet::new(),
            today: String::new(),
            targets: BTreeSet::new(),
        }
    }
}

/// Everything a plan is made from.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// What shall be, secrets resolved.
    pub desired: &'a Desired,
    /// The secrets that could not be had.
    pub unresolved: &'a BTreeMap<Address, SecretError>,
    /// What is.
    pub observed: &'a Observed,
    /// What providers know.
    pub rules: &'a Rulebook,
    /// The limits.
    pub policy: &'a Policy,
}

/// Returns the plan that makes the observed the desired.
pub fn plan(inputs: Inputs<'_>) -> Plan {
    let (mut decided, unchanged) = decide::decide(inputs);
    guard::hold(inputs, &mut decided);
    sequence::sequence(inputs, decided, unchanged)
}
