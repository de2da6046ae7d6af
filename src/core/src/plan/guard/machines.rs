//! Holds what must not happen to machines that a cloud makes, and to the names that lead to them: they go and stay with
//! what is on them.

use std::collections::BTreeSet;

use super::super::decide::{Decision, Decisions, emptied};
use super::super::{Action, Inputs, Reason};
use super::ranges;
use crate::desired::HostCard;
use crate::name::{Address, Kind};
use crate::observed::{Actual, Owner, State};
use crate::provider::access::SEEN_FROM;
use crate::provider::cloud::{AGENT, AGENTS, FIREWALL, IPV4, IPV6, SEVERAL};
use crate::ssh::excludes;
use crate::value::{Fields, Value};

/// Nobody who makes a change is shut out by it: neither by a rule set, nor by moving a machine to another.
pub(super) fn hold_lockouts(inputs: Inputs<'_>, decisions: &mut Decisions) {
    let seen_from = |card: &HostCard| inputs.observed.facts.get(&card.name)?.get(SEEN_FROM).cloned();
    for (address, decision) in decisions.iter_mut().filter(|(_, decision)| decision.held.is_none()) {
        let after = decision.action.after();
        let shut_out = match address.id.kind {
            Kind::Firewall => {
                let behind = inputs.desired.hosts.iter().filter(|(id, card)| stands_behind(inputs, id, card, address));
                behind.filter_map(|(_, card)| seen_from(card)).find(|from| excludes(ranges(after), from))
            }
            Kind::Server => {
                let rules = after.and_then(|after| after.get(FIREWALL)?.as_text());
                let rules = rules
                    .map(|name| Address { id: crate::name::ResourceId::new(Kind::Firewall, name), ..address.clone() });
                let rules = rules.and_then(|rules| inputs.desired.resources.get(&rules)).map(|one| &one.fields);
                let from = inputs.desired.hosts.get(&address.id.name).and_then(seen_from);
                from.filter(|from| rules.is_some_and(|rules| excludes(ranges(Some(rules)), from)))
            }
            _ => None,
        };
        if let Some(from) = shut_out {
            decision.held = Some(Reason::LockOut { from });
        }
    }
}

/// Whether a host's machine is reached through a rule set.
fn stands_behind(inputs: Inputs<'_>, id: &str, card: &HostCard, firewall: &Address) -> bool {
    let server = card.server(id).filter(|server| server.place == firewall.place);
    let fields = server.and_then(|server| inputs.desired.resources.get(&server)).map(|server| &server.fields);
    fields.and_then(|fields| fields.get(FIREWALL)?.as_text()) == Some(firewall.id.name.as_str())
}

/// Returns the agents whose data may lie on a machine that the fleet does not declare any more, and why: an agent without a
/// known home does not start empty meanwhile. `None` where there is no such machine.
pub(super) fn lost_home<'a>(inputs: Inputs<'a>, agent: &str) -> Option<&'a Address> {
    let lost = inputs.observed.states.iter().find(|(address, state)| {
        let State::Present(Actual { owner: Owner::Ours, fields, .. }) = state else { return false };
        let several = fields.get(AGENTS).and_then(Value::as_text) == Some(SEVERAL);
        address.id.kind == Kind::Server
            && !inputs.desired.hosts.contains_key(&address.id.name)
            && (several || address.id.name == agent)
    });
    lost.map(|(address, _)| address)
}

/// A name goes after the data of its agent and not before, and stays with a machine that stays. Returns whether something
/// was held.
pub(super) fn hold_names(inputs: Inputs<'_>, decisions: &mut Decisions) -> bool {
    let mut held = false;
    let stays = |(address, decision): (&Address, &Decision)| {
        let held = decision.held.is_some() && decision.action.is_delete() && address.id.kind.holds_data();
        held.then(|| address.clone())
    };
    let stay: BTreeSet<Address> = decisions.iter().filter_map(stays).collect();
    for (address, decision) in decisions.iter_mut().filter(|(address, _)| address.id.kind == Kind::Dns) {
        let Action::Delete { before } = &decision.action else { continue };
        let agent = agent_of(inputs, address);
        let on =
            stay.iter().find(|other| agent == Some(other.id.name.as_str()) || leads_to(before, &ips(inputs, other)));
        if let (None, Some(on)) = (&decision.held, on) {
            decision.held = Some(Reason::Waits { on: on.clone() });
            held = true;
        }
    }
    held
}

/// Returns the agent that a record set was made for, as it says itself.
pub(super) fn agent_of<'a>(inputs: Inputs<'a>, address: &Address) -> Option<&'a str> {
    match inputs.observed.states.get(address) {
        Some(State::Present(actual)) => actual.facts.get(AGENT).map(String::as_str),
        _ => None,
    }
}

/// Returns the addresses that a machine, or what it has of them, was seen with.
pub(super) fn ips<'a>(inputs: Inputs<'a>, address: &Address) -> Vec<&'a str> {
    let seen = [address.sibling(Kind::Address), address.sibling(Kind::Server)];
    let facts = seen.iter().filter_map(|one| match inputs.observed.states.get(one) {
        Some(State::Present(actual)) => Some(&actual.facts),
        _ => None,
    });
    facts.flat_map(|facts| [facts.get(IPV4), facts.get(IPV6)]).flatten().map(String::as_str).collect()
}

/// Whether a record set was seen leading to one of these addresses.
pub(super) fn leads_to(records: &Fields, ips: &[&str]) -> bool {
    match records.get("values") {
        Some(Value::List(values)) => values.iter().filter_map(Value::as_text).any(|value| ips.contains(&value)),
        _ => false,
    }
}

/// A machine is made anew together with all that shall be on it, or not at all. Returns whether something was held.
pub(super) fn hold_emptied(inputs: Inputs<'_>, decisions: &mut Decisions) -> bool {
    let mut held = false;
    for place in emptied(inputs) {
        let card = inputs.desired.hosts.iter().find(|(_, card)| card.name == place);
        let Some(server) = card.and_then(|(id, card)| card.server(id)) else { continue };
        if !matches!(decisions.get(&server).map(|one| &one.action), Some(Action::Replace { .. })) {
            continue;
        }
        let is_on_it = |address: &Address| address.place == place;
        if decisions.get(&server).is_some_and(|one| one.held.is_none()) {
            let blocker = decisions.iter().find(|(address, one)| is_on_it(address) && one.held.is_some());
            let Some(on) = blocker.map(|(address, _)| address.clone()) else { continue };
            decisions.entry(server.clone()).and_modify(|one| one.held = Some(Reason::Waits { on }));
            held = true;
        }
        for (_, decision) in decisions.iter_mut().filter(|(address, one)| is_on_it(address) && one.held.is_none()) {
            decision.held = Some(Reason::Waits { on: server.clone() });
            held = true;
        }
    }
    held
}
