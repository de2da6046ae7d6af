//! Decides resource by resource, looking at nothing but that resource. Guards and order come after.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Effect, Inputs, Reason};
use crate::desired::HostCard;
use crate::name::{Address, Kind};
use crate::observed::{Owner, Seen, State};
use crate::value::{After, diff, known};

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
    let emptied = emptied(inputs);
    for address in inputs.desired.resources.keys() {
        match wanted(inputs, address, &emptied) {
            Some(decision) => {
                decisions.insert(address.clone(), decision);
            }
            None => unchanged.push(address.clone()),
        }
    }
    for (address, actual) in inputs.observed.orphans(inputs.desired) {
        // what is on a machine that goes, goes with it; and a cloud's machine is a host for as long as it is there
        if emptied.contains(&address.place) || is_of_cloud_host(inputs, address) {
            continue;
        }
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

fn is_of_cloud_host(inputs: Inputs<'_>, address: &Address) -> bool {
    let on_cloud = |card: &HostCard| card.name == address.place && card.cloud.is_some();
    matches!(address.id.kind, Kind::Access | Kind::Host) && inputs.desired.hosts.values().any(on_cloud)
}

/// Returns the places whose machine goes or is made anew in this plan: nothing is on it afterwards.
pub(super) fn emptied(inputs: Inputs<'_>) -> BTreeSet<String> {
    let goes = |(id, card): (&String, &HostCard)| {
        let server = card.server(id).filter(|_| inputs.policy.allow_destroy.contains(id))?;
        let Seen::Present(actual) = inputs.observed.seen(&server) else { return None };
        let replaced = match wanted(inputs, &server, &BTreeSet::new()) {
            Some(decision) => decision.held.is_none() && matches!(decision.action, Action::Replace { .. }),
            None => false,
        };
        let removed = actual.owner == Owner::Ours && !inputs.desired.resources.contains_key(&server);
        (replaced || removed).then(|| card.name.clone())
    };
    inputs.desired.hosts.iter().filter_map(goes).collect()
}

/// Returns what another resource says of itself; nothing while it is made anew.
fn fact(inputs: Inputs<'_>, after: &After) -> Option<String> {
    let Seen::Present(actual) = inputs.observed.seen(&after.of) else { return None };
    let wanted = &inputs.desired.resources.get(&after.of)?.fields;
    let changes = diff(&actual.fields, wanted);
    let rules = inputs.rules.get(&after.of.place);
    let stays = changes.is_empty() || rules.is_some_and(|rules| rules.weigh(&after.of.id, &changes) < Effect::Replace);
    actual.facts.get(after.fact).filter(|_| stays && actual.owner == Owner::Ours).cloned()
}

/// Decides about a resource that shall be; `None` when it is.
fn wanted(inputs: Inputs<'_>, address: &Address, emptied: &BTreeSet<String>) -> Option<Decision> {
    let fields = &inputs.desired.resources.get(address)?.fields;
    let after = &known(fields, &|after| fact(inputs, after));
    let seen = if emptied.contains(&address.place) { Seen::Absent } else { inputs.observed.seen(address) };
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
