//! Holds what must not happen now: data lost, too much deleted, suspended agents touched, and all that rests on
//! something held.

mod machines;

use std::collections::{BTreeMap, BTreeSet};

use super::decide::Decisions;
use super::{Action, Inputs, Policy, Reason};
use crate::name::{Address, Kind, ResourceId};
use crate::observed::{Owner, Seen, State};
use crate::provider::access::{CONTROL, FROM, SEEN_FROM};
use crate::ssh::excludes;
use crate::value::{Fields, Value};

/// Adds reasons to the decisions that must wait.
pub(super) fn hold(inputs: Inputs<'_>, decisions: &mut Decisions) {
    hold_suspended(inputs, decisions);
    hold_lockouts(inputs, decisions);
    hold_uncommitted(inputs, decisions);
    hold_data(inputs, decisions);
    hold_moves(inputs, decisions);
    hold_mass_deletes(inputs, decisions);
    loop {
        let names = machines::hold_names(inputs, decisions);
        hold_what_waits(inputs, decisions);
        if !machines::hold_emptied(inputs, decisions) && !names {
            return;
        }
    }
}

/// Whether a suspension still counts: it ends on its day.
pub(super) fn is_suspended(until: &str, policy: &Policy) -> bool {
    until > policy.today.as_str()
}

fn hold_suspended(inputs: Inputs<'_>, decisions: &mut Decisions) {
    for (address, decision) in decisions {
        if let Some(suspend) = inputs.desired.suspension(address)
            && is_suspended(&suspend.until, inputs.policy)
        {
            decision.held = Some(Reason::Suspended { until: suspend.until.clone() });
        }
    }
}

/// Nobody who makes a change is shut out by it: the address a host sees us from stays among those that may log in.
fn hold_lockouts(inputs: Inputs<'_>, decisions: &mut Decisions) {
    for (address, decision) in decisions.iter_mut().filter(|(address, _)| address.id.kind == Kind::Access) {
        let Some(from) = inputs.observed.facts.get(&address.place).and_then(|facts| facts.get(SEEN_FROM)) else {
            continue;
        };
        if decision.held.is_none() && excludes(ranges(decision.action.after()), from) {
            decision.held = Some(Reason::LockOut { from: from.clone() });
        }
    }
    machines::hold_lockouts(inputs, decisions);
}

fn ranges(fields: Option<&Fields>) -> Vec<&str> {
    match fields.and_then(|fields| fields.get(FROM)) {
        Some(Value::List(ranges)) => ranges.iter().filter_map(Value::as_text).collect(),
        _ => Vec::new(),
    }
}

/// Keys that only this machine knows are not put on hosts: if it is lost, so is the way in.
fn hold_uncommitted(inputs: Inputs<'_>, decisions: &mut Decisions) {
    if !inputs.policy.uncommitted_keys {
        return;
    }
    let control = |fields: Option<&Fields>| fields.and_then(|fields| fields.get(CONTROL)).cloned();
    for (_, decision) in decisions.iter_mut().filter(|(address, _)| address.id.kind == Kind::Access) {
        let before = match &decision.action {
            Action::Update { before, .. } | Action::Replace { before, .. } => control(Some(before)),
            Action::Create { .. } | Action::Delete { .. } => None,
        };
        let after = control(decision.action.after());
        if decision.held.is_none() && after.is_some() && before != after {
            decision.held = Some(Reason::Uncommitted);
        }
    }
}

/// An agent goes as a whole or not at all: while its data may not be lost, nothing of it is deleted. A new one in the
/// place of what holds data loses it as well.
fn hold_data(inputs: Inputs<'_>, decisions: &mut Decisions) {
    let keep: BTreeSet<(String, String)> = decisions
        .iter()
        .filter(|(address, decision)| decision.action.is_delete() && address.id.kind.holds_data())
        .filter(|(address, _)| !inputs.policy.allow_destroy.contains(&address.id.name))
        .map(|(address, _)| (address.place.clone(), address.id.name.clone()))
        .collect();
    for (address, decision) in decisions {
        let replaced = matches!(decision.action, Action::Replace { .. })
            // with a machine go its addresses: names lead to them
            && (address.id.kind.holds_data() || address.id.kind == Kind::Address)
            && !inputs.policy.allow_destroy.contains(&address.id.name);
        let deleted = decision.action.is_delete() && keep.contains(&(address.place.clone(), address.id.name.clone()));
        if decision.held.is_none() && (deleted || replaced) {
            decision.held = Some(Reason::Data { name: address.id.name.clone() });
        }
    }
}

/// An agent whose data lies at another place does not start empty at the new one unless a person said so.
fn hold_moves(inputs: Inputs<'_>, decisions: &mut Decisions) {
    let mut homes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (address, state) in &inputs.observed.states {
        let ours = matches!(state, State::Present(actual) if actual.owner == Owner::Ours);
        if ours && address.id.kind.holds_data() {
            homes.entry(&address.id.name).or_default().push(home(inputs, address));
        }
    }
    let unseen = |name: &str, place: &str| {
        let kinds = Kind::ALL.into_iter().filter(|kind| kind.holds_data());
        let mut others = inputs.desired.places.iter().filter(|other| *other != place);
        let hidden = |other: &&String| {
            kinds.clone().any(|kind| {
                let there = Address { id: ResourceId::new(kind, name), place: (*other).clone() };
                matches!(inputs.observed.seen(&there), Seen::Unknown(_))
            })
        };
        others.find(|other| hidden(other)).cloned()
    };
    for (address, decision) in decisions {
        let name = &address.id.name;
        let makes_home = address.id.kind.holds_data() && matches!(decision.action, Action::Create { .. });
        if makes_home
            && decision.held.is_none()
            && !homes.contains_key(name.as_str())
            && !inputs.policy.allow_destroy.contains(name)
            && let Some(lost) = machines::lost_home(inputs, name)
        {
            let why = format!(
                "{lost} is not in the fleet any more, and the agent's data may be on it; put its table back, or \
                 --allow-destroy {name} starts the agent empty"
            );
            decision.held = Some(Reason::Unknown { why });
            continue;
        }
        if makes_home
            && decision.held.is_none()
            && !homes.contains_key(name.as_str())
            && !inputs.policy.allow_destroy.contains(name)
            && let Some(place) = unseen(name, &address.place)
        {
            let why = format!(
                "{place} could not be seen, and the agent's data may be there; --allow-destroy {name} starts it empty"
            );
            decision.held = Some(Reason::Unknown { why });
            continue;
        }
        let elsewhere = homes.get(name.as_str()).and_then(|places| {
            let here = places.contains(&home(inputs, address));
            places.first().filter(|_| !here)
        });
        if let Some(from) = elsewhere
            && !decision.action.is_delete()
            && decision.held.is_none()
            && !inputs.policy.allow_destroy.contains(name)
        {
            decision.held = Some(Reason::Moved { name: name.clone(), from: (*from).to_owned() });
        }
    }
}

/// Returns the place where what belongs to an address lies: a machine is at its cloud, and what is on it at its own place.
fn home<'a>(inputs: Inputs<'a>, address: &'a Address) -> &'a str {
    let machine = inputs.desired.hosts.get(&address.id.name).filter(|card| {
        matches!(address.id.kind, Kind::Server | Kind::Address) && card.cloud.as_ref() == Some(&address.place)
    });
    machine.map_or(&address.place, |card| &card.name)
}

fn hold_mass_deletes(inputs: Inputs<'_>, decisions: &mut Decisions) {
    if !inputs.policy.guard_deletes {
        return;
    }
    for kind in Kind::ALL {
        let ours = inputs.observed.states.iter().filter(|(address, state)| {
            address.id.kind == kind && matches!(state, State::Present(actual) if actual.owner == Owner::Ours)
        });
        let total = ours.map(|(address, _)| counted(address)).collect::<BTreeSet<_>>().len();
        let allowed = delete_limit(total, inputs.policy.delete_max_percent);
        let deletes: Vec<Address> = decisions
            .iter()
            .filter(|(address, decision)| {
                address.id.kind == kind && decision.action.is_delete() && decision.held.is_none()
            })
            .filter(|(address, _)| !is_spoken_for(inputs, decisions, address))
            .map(|(address, _)| address.clone())
            .collect();
        let wanted = deletes.iter().map(counted).collect::<BTreeSet<_>>().len();
        if wanted > allowed {
            for address in &deletes {
                let reason = Reason::DeleteMax { wanted, allowed };
                decisions.entry(address.clone()).and_modify(|decision| decision.held = Some(reason));
            }
        }
    }
}

/// What a resource counts as among deletes: the records of a name are one thing.
fn counted(address: &Address) -> (&str, &str) {
    let name = address.id.name.as_str();
    let name = if address.id.kind == Kind::Dns { name.rsplit_once(':').map_or(name, |(name, _)| name) } else { name };
    (name, &address.place)
}

/// Whether somebody said that a name goes: with its agent, or for another name.
fn is_spoken_for(inputs: Inputs<'_>, decisions: &Decisions, address: &Address) -> bool {
    let agent = (address.id.kind == Kind::Dns).then(|| machines::agent_of(inputs, address)).flatten();
    let renamed = |agent: &str| {
        decisions.iter().any(|(other, decision)| {
            let of = inputs.desired.resources.get(other).and_then(|resource| resource.of.as_deref());
            matches!(decision.action, Action::Create { .. }) && of == Some(agent)
        })
    };
    agent.is_some_and(|agent| inputs.policy.allow_destroy.contains(agent) || renamed(agent))
}

/// Returns how many of `total` may go: the per cent of them, and always one.
pub fn delete_limit(total: usize, percent: u32) -> usize {
    (total * percent as usize / 100).max(1)
}

/// Walks from what is held to what rests on it: what needs it, and deletes that come after it.
fn hold_what_waits(inputs: Inputs<'_>, decisions: &mut Decisions) {
    loop {
        let waiting: Vec<(Address, Address)> = decisions
            .iter()
            .filter(|(_, decision)| decision.held.is_none())
            .filter_map(|(address, decision)| {
                let first = if decision.action.is_delete() {
                    dependents(inputs, decisions, address)
                } else {
                    needs(inputs, decisions, address)
                };
                let blocker =
                    first.into_iter().find(|need| decisions.get(need).is_some_and(|other| other.held.is_some()))?;
                Some((address.clone(), blocker))
            })
            .collect();
        if waiting.is_empty() {
            return;
        }
        for (address, on) in waiting {
            if let Some(decision) = decisions.get_mut(&address) {
                decision.held = Some(Reason::Waits { on });
            }
        }
    }
}

/// Returns what a resource needs in this plan. Who may log in is put right on a machine that stands, whatever else waits
/// there.
pub(super) fn needs(inputs: Inputs<'_>, decisions: &Decisions, address: &Address) -> Vec<Address> {
    let all = inputs.desired.resources.get(address).map(|resource| resource.needs.clone()).unwrap_or_default();
    let stands = |need: &Address| {
        let seen = inputs.observed.states.get(need);
        let ours = matches!(seen, Some(State::Present(actual)) if actual.owner == Owner::Ours);
        let decision = decisions.get(need).filter(|one| one.held.is_none());
        ours && !decision.is_some_and(|one| matches!(one.action, Action::Replace { .. }))
    };
    let counts = |need: &Address| !(address.id.kind == Kind::Access && need.id.kind == Kind::Server && stands(need));
    all.into_iter().filter(counts).collect()
}

/// Returns what goes before this one when both are deleted. Orphans have no declaration, so the kinds say it; all that
/// is on a host goes before the host.
pub(super) fn dependents(inputs: Inputs<'_>, decisions: &Decisions, address: &Address) -> Vec<Address> {
    let kind = address.id.kind;
    let users = Kind::ALL.into_iter().filter(|other| other.needs().contains(&kind));
    let mut found: Vec<Address> = users.map(|other| address.sibling(other)).collect();
    let ips = machines::ips(inputs, address);
    let led_to = |other: &Address| match decisions.get(other).map(|one| &one.action) {
        Some(Action::Update { before, .. } | Action::Replace { before, .. } | Action::Delete { before }) => {
            machines::leads_to(before, &ips)
        }
        _ => false,
    };
    let first = |other: &&Address| match kind {
        Kind::Host => other.place == address.place && !other.id.kind.is_of_host(),
        // machines leave the rules and keys they have first
        Kind::Firewall | Kind::Sshkey => other.place == address.place && other.id.kind == Kind::Server,
        // no name leads to an address that is somebody else's next
        Kind::Address | Kind::Server => other.id.kind == Kind::Dns && led_to(other),
        // a name that leads elsewhere from now on does so before what it led to goes
        Kind::Container => {
            let of = inputs.desired.resources.get(other).and_then(|resource| resource.of.as_ref());
            other.id.kind == Kind::Dns && of == Some(&address.id.name)
        }
        _ => false,
    };
    found.extend(decisions.keys().filter(first).cloned());
    found
}
