//! What things cost a month: summed from what providers know of their own prices.

use super::{Cost, Inputs, Step};
use crate::money::Money;
use crate::name::Address;
use crate::observed::{Owner, State};
use crate::value::Fields;

/// Returns what one resource costs before and after; `None` where no price is known.
pub(super) fn of(inputs: Inputs<'_>, address: &Address, after: Option<&Fields>) -> Option<Cost> {
    let rules = inputs.rules.get(&address.place)?;
    let empty = std::collections::BTreeMap::new();
    let facts = inputs.observed.facts.get(&address.place).unwrap_or(&empty);
    let standing = match inputs.observed.states.get(address) {
        Some(State::Present(actual)) if actual.owner == Owner::Ours => Some(actual),
        _ => None,
    };
    let before = standing.and_then(|actual| rules.price(&address.id, &actual.fields, &actual.facts, facts));
    let thing = standing.map_or(&empty, |actual| &actual.facts);
    let after = after.and_then(|after| rules.price(&address.id, after, thing, facts));
    (before.is_some() || after.is_some())
        .then(|| Cost { before: before.unwrap_or_default(), after: after.unwrap_or_default() })
}

/// Returns what all that is ours costs, and will when the steps are done.
pub(super) fn total(inputs: Inputs<'_>, steps: &[Step]) -> Option<Cost> {
    let standing = inputs.observed.states.iter().filter_map(|(address, state)| match state {
        State::Present(_) => Some(of(inputs, address, None)?.before),
        _ => None,
    });
    let standing: Vec<Money> = standing.collect();
    let changed: Vec<Cost> = steps.iter().filter_map(|step| step.cost).collect();
    if standing.is_empty() && changed.is_empty() {
        return None;
    }
    let before: Money = standing.into_iter().sum();
    let delta: Money = changed.into_iter().map(|cost| cost.after - cost.before).sum();
    Some(Cost { before, after: before + delta })
}
