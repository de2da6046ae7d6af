//! Decides resource by resource, looking at nothing but that resource. Guards and order come after.

use std::collections::BTreeMap;

use super::{Action, Effect, Inputs, Reason};
use crate::name::{Address, Kind};
use crate::observed::{Owner, Seen, State};
use crate::value::diff;

/// What would be done to a resource, and what speaks against it.
pub(super) struct Decision {
    pub action: Action,
    pub effect: Effect,
    pub held: Option<Reason>,
}

pub(super) type Decisions = BTreeMap<Address, Decision>;

/// Returns what would be done, and the addresses that need nothing.
pub(super) fn decide(inputs: Inputs<'_>) -> (Decisions, Vec<Address>) {
    let mut decisions = BTreeMap::new();
    let mut unchanged = Vec::new();
    for address in inputs.desired.resources.keys() {
        match wanted(inputs, address) {
            Some(decision) => {
                decisions.insert(address.clone(), decision);
            }
            None => unchanged.push(address.clone()),
        }
    }
    for (address, actual) in inputs.observed.orphans(inputs.desired) {
        let unseen = inputs.observed.incomplete.get(&address.place).or_else(|| unseen_sibling(inputs, address));
        let held = unseen.map(|why| Reason::Unknown { why: why.clone() });
        let action = Action::Delete { before: actual.fields.clone() };
        decisions.insert(address.clone(), Decision { action, effect: Effect::None, held });
    }
    (decisions, unchanged)
}

/// Returns why a part of the same agent could not be seen: what may rest on an orphan keeps it.
fn unseen_sibling<'a>(inputs: Inputs<'a>, address: &Address) -> Option<&'a String> {
    Kind::ALL.into_iter().find_map(|kind| match inputs.observed.states.get(&address.sibling(kind)) {
        Some(State::Unknown { why }) => Some(why),
        _ => None,
    })
}

/// Decides about a resource that shall be; `None` when it is.
fn wanted(inputs: Inputs<'_>, address: &Address) -> Option<Decision> {
    let after = &inputs.desired.resources.get(address)?.fields;
    let seen = inputs.observed.seen(address);
    let mut held = match seen {
        Seen::Unknown(why) => Some(Reason::Unknown { why: why.to_owned() }),
        Seen::Present(actual) if actual.owner == Owner::Foreign => Some(Reason::Foreign),
        _ => None,
    };
    if let (None, Some(error)) = (&held, inputs.unresolved.get(address)) {
        held = Some(Reason::Secret { why: error.reason.clone(), help: error.help.clone() });
    }
    let Seen::Present(actual) = seen else {
        return Some(Decision { action: Action::Create { after: after.clone() }, effect: Effect::None, held });
    };
    let changes = diff(&actual.fields, after);
    if changes.is_empty() && held.is_none() {
        return None;
    }
    let rules = inputs.rules.get(&address.place);
    let effect = rules.map_or(Effect::Replace, |rules| rules.weigh(&address.id, &changes));
    let (before, after) = (actual.fields.clone(), after.clone());
    let action = if effect == Effect::Replace {
        Action::Replace { before, after, changes }
    } else {
        Action::Update { before, after, changes }
    };
    Some(Decision { action, effect, held })
}
