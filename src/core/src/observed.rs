//! What providers saw. One fold decides what was not seen: never "absent" unless the whole list was read.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::desired::Desired;
use crate::name::Address;
use crate::value::Fields;

/// What is known of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Looked for and not there.
    Absent,
    /// There.
    Present(Actual),
    /// Could not be seen. Never read as absent.
    Unknown {
        /// Why, a fragment.
        why: String,
    },
}

/// A resource as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actual {
    /// Its fields, settled.
    pub fields: Fields,
    /// Whose it is.
    pub owner: Owner,
    /// When it was made, RFC 3339; `None` where nobody says.
    pub created: Option<String>,
    /// What is worth showing and no plan compares: `version`, `port`.
    pub facts: BTreeMap<String, String>,
}

/// Whose a resource is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// It carries this fleet's mark.
    #[default]
    Ours,
    /// It stands in our place without our mark.
    Foreign,
}

/// One provider's report on one resource.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Which.
    pub address: Address,
    /// What was seen.
    pub state: State,
}

/// One provider's report.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The place reported on.
    pub place: String,
    /// What was seen, in any order.
    pub observations: Vec<Observation>,
    /// What is worth knowing of the place itself and no plan compares: `system`, `memory`.
    pub facts: BTreeMap<String, String>,
    /// Why what is not listed must not be taken for absent; `None` when everything with our mark was listed.
    pub incomplete: Option<String>,
}

/// The world as far as it was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Everything seen, by address.
    pub states: BTreeMap<Address, State>,
    /// What is worth knowing of a place.
    pub facts: BTreeMap<String, BTreeMap<String, String>>,
    /// Places whose list could not be read whole, and why.
    pub incomplete: BTreeMap<String, String>,
}

/// What is known of an address.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// Looked for and not there.
    Absent,
    /// There.
    Present(&'a Actual),
    /// Could not be seen, and why.
    Unknown(&'a str),
}

impl Observed {
    /// Puts the reports together.
    pub fn fold(reports: Vec<Report>) -> Self {
        let mut observed = Self::default();
        for report in reports {
            if !report.facts.is_empty() {
                observed.facts.insert(report.place.clone(), report.facts);
            }
            if let Some(why) = report.incomplete {
                observed.incomplete.insert(report.place, why);
            }
            for observation in report.observations {
                observed.states.insert(observation.address, observation.state);
            }
        }
        observed
    }

    /// Returns what is known of an address: absent only where its place was read whole.
    pub fn seen(&self, address: &Address) -> Seen<'_> {
        match (self.states.get(address), self.incomplete.get(&address.place)) {
            (Some(State::Present(actual)), _) => Seen::Present(actual),
            (Some(State::Unknown { why }), _) | (None, Some(why)) => Seen::Unknown(why),
            (Some(State::Absent), _) | (None, None) => Seen::Absent,
        }
    }

    /// Returns everything of ours that the desired state does not name.
    pub fn orphans<'a>(&'a self, desired: &'a Desired) -> impl Iterator<Item = (&'a Address, &'a Actual)> {
        self.states.iter().filter_map(|(address, state)| match state {
            State::Present(actual) if actual.owner == Owner::Ours && !desired.resources.contains_key(address) => {
                Some((address, actual))
            }
            _ => None,
        })
    }
}
