//! The difference of two desired states, as a plan: what the file asks for now against what it asked for before. Says
//! nothing of the world, so nothing is guarded and nothing held.

use std::collections::BTreeMap;

use super::{Inputs, Plan, Policy, decide, sequence};
use crate::desired::Desired;
use crate::observed::{Actual, Observed, State};
use crate::provider::Rulebook;

/// Returns what would be planned in a world that is exactly as `before` says.
pub fn between(before: &Desired, after: &Desired, rules: &Rulebook) -> Plan {
    let present = |fields: &_| State::Present(Actual { fields: Clone::clone(fields), ..Actual::default() });
    let states = before.resources.iter().map(|(address, resource)| (address.clone(), present(&resource.fields)));
    let observed = Observed { states: states.collect(), ..Observed::default() };
    // who leaves an agent alone may change its table all the same
    let mut after = after.clone();
    after.agents.values_mut().for_each(|card| card.suspend = None);
    after.hosts.values_mut().for_each(|card| card.suspend = None);
    let (unresolved, policy) = (BTreeMap::new(), Policy { guard_deletes: false, ..Policy::default() });
    let inputs = Inputs { desired: &after, unresolved: &unresolved, observed: &observed, rules, policy: &policy };
    let (decided, unchanged) = decide::decide(inputs);
    sequence::sequence(inputs, decided, unchanged)
}
