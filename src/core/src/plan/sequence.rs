//! Puts decisions in order, and settles what depends on other steps: effects and targets.

use std::collections::{BTreeMap, BTreeSet};

use super::decide::{Decision, Decisions};
use super::guard::{dependents, is_suspended, needs};
use super::{Action, Effect, Held, Inputs, Plan, Step, Suspended, cost, waves};
use crate::graph::{Needs, edges_by_index};
use crate::name::{Address, Kind};

/// Returns the finished plan.
pub(super) fn sequence(inputs: Inputs<'_>, mut decisions: Decisions, unchanged: Vec<Address>) -> Plan {
    keep_targets(inputs, &mut decisions);
    settle_effects(&mut decisions);
    let going = deletes_in_order(inputs, &decisions);
    let mut held = Vec::new();
    let mut things = Vec::new();
    for (address, Decision { action, effect, held: reason }) in decisions {
        match reason {
            Some(reason) => held.push(Held { address, would: action.word(), reason }),
            None => things.push((address, action, effect)),
        }
    }
    let mut steps = ordered(inputs, things, &going);
    waves::assign(inputs, &mut steps);
    Plan {
        fleet: inputs.desired.fleet.clone(),
        cost: cost::total(inputs, &steps),
        steps,
        held,
        unchanged,
        suspended: suspended(inputs),
        unseen: inputs.observed.incomplete.clone(),
    }
}

/// Returns what goes before each delete.
fn deletes_in_order(inputs: Inputs<'_>, decisions: &Decisions) -> BTreeMap<Address, Vec<Address>> {
    let deletes = decisions.iter().filter(|(_, decision)| decision.action.is_delete());
    deletes.map(|(address, _)| (address.clone(), dependents(inputs, decisions, address))).collect()
}

fn ordered(
    inputs: Inputs<'_>,
    things: Vec<(Address, Action, Effect)>,
    going: &BTreeMap<Address, Vec<Address>>,
) -> Vec<Step> {
    let present: BTreeSet<&Address> = things.iter().map(|(address, ..)| address).collect();
    let keyed: Vec<(Address, Vec<Address>)> = things
        .iter()
        .map(|(address, action, _)| {
            let all = if action.is_delete() {
                going.get(address).cloned().unwrap_or_default()
            } else {
                inputs.desired.resources.get(address).map(|resource| resource.needs.clone()).unwrap_or_default()
            };
            (address.clone(), all.into_iter().filter(|need| present.contains(need)).collect())
        })
        .collect();
    // a circle cannot come from kinds and compile refuses others; name order would still be a valid list
    let order = Needs::new(things.len(), edges_by_index(&keyed)).order();
    let order = order.unwrap_or_else(|_| (0..things.len()).collect());
    let mut slots: Vec<Option<Step>> = things
        .into_iter()
        .zip(keyed)
        .map(|((address, action, effect), (_, needs))| {
            let cost = cost::of(inputs, &address, action.after());
            Some(Step { address, action, effect, needs, wave: None, cost })
        })
        .collect();
    order.into_iter().filter_map(|at| slots.get_mut(at).and_then(Option::take)).collect()
}

/// Files that are put in place before their container starts disturb nothing; beside one that is held they do.
fn settle_effects(decisions: &mut Decisions) {
    let fresh: BTreeSet<Address> = decisions
        .iter()
        .filter(|(address, decision)| {
            address.id.kind == Kind::Container
                && decision.held.is_none()
                && matches!(decision.action, Action::Create { .. } | Action::Replace { .. })
        })
        .map(|(address, _)| address.clone())
        .collect();
    for (address, decision) in decisions {
        if address.id.kind != Kind::Container && fresh.contains(&address.sibling(Kind::Container)) {
            decision.effect = Effect::None;
        }
    }
}

/// Drops what was not asked for: neither named, nor needed by what is named, nor in the way of a delete that is named.
fn keep_targets(inputs: Inputs<'_>, decisions: &mut Decisions) {
    let targets = &inputs.policy.targets;
    if targets.is_empty() {
        return;
    }
    let named = |address: &Address| targets.contains(&address.id.name) || targets.contains(&address.id.to_string());
    let mut keep: BTreeSet<Address> = decisions.keys().filter(|address| named(address)).cloned().collect();
    let mut todo: Vec<Address> = inputs.desired.resources.keys().filter(|address| named(address)).cloned().collect();
    let mut seen = BTreeSet::new();
    while let Some(address) = todo.pop() {
        if inputs.desired.resources.contains_key(&address) && seen.insert(address.clone()) {
            todo.extend(needs(inputs, decisions, &address));
            keep.insert(address);
        }
    }
    // what is on a machine that is made anew is made anew with it
    for (id, card) in &inputs.desired.hosts {
        let anew = |server: &Address| {
            let decision = decisions.get(server);
            decision.is_some_and(|one| one.held.is_none() && matches!(one.action, Action::Replace { .. }))
        };
        if card.server(id).is_some_and(|server| keep.contains(&server) && anew(&server)) {
            keep.extend(decisions.keys().filter(|address| address.place == card.name).cloned());
        }
    }
    let mut going: Vec<Address> = keep.iter().filter(|address| is_delete(decisions, address)).cloned().collect();
    while let Some(address) = going.pop() {
        for user in dependents(inputs, decisions, &address) {
            if is_delete(decisions, &user) && keep.insert(user.clone()) {
                going.push(user);
            }
        }
    }
    decisions.retain(|address, _| keep.contains(address));
}

fn is_delete(decisions: &Decisions, address: &Address) -> bool {
    decisions.get(address).is_some_and(|decision| decision.action.is_delete())
}

fn suspended(inputs: Inputs<'_>) -> Vec<Suspended> {
    let agents = inputs.desired.agents.iter().map(|(id, card)| (id, &card.suspend));
    let hosts = inputs.desired.hosts.iter().map(|(id, card)| (id, &card.suspend));
    agents
        .chain(hosts)
        .filter_map(|(id, suspend)| {
            let suspend = suspend.as_ref().filter(|suspend| is_suspended(&suspend.until, inputs.policy))?;
            Some(Suspended { name: id.clone(), until: suspend.until.clone(), reason: suspend.reason.clone() })
        })
        .collect()
}
