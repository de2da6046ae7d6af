//! Rolls changes out in waves: a few agents get them first, and never too many are disturbed at once. What makes new agents
//! or disturbs none has no wave.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Effect, Inputs, Step, decide};
use crate::compile::percent;
use crate::name::{Address, Kind};
use crate::observed::Seen;
use crate::value::Value;

/// How changes reach running agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// How many agents get a change before any other does.
    pub canary: usize,
    /// How many agents may be disturbed at once; one always may.
    pub max_unavailable: Share,
}

impl Default for Rollout {
    fn default() -> Self {
        Self { canary: 1, max_unavailable: Share::Percent(20) }
    }
}

/// A part of the agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// That many of a hundred, rounded down.
    Percent(u32),
    /// That many.
    Count(usize),
}

impl Share {
    /// Reads `20%` or `2`.
    pub fn parse(text: &str) -> Option<Self> {
        percent(text).map(Self::Percent).or_else(|| text.trim().parse().ok().map(Self::Count))
    }

    /// Returns how many of so many; one at least.
    pub fn of(self, total: usize) -> usize {
        match self {
            Self::Percent(percent) => total * percent as usize / 100,
            Self::Count(count) => count,
        }
        .max(1)
    }
}

/// The fields of a container that say how it is, not how it shall be made.
const CONDITION: [&str; 2] = ["status", "unfinished"];

/// Agents that are disturbed together: one, or all on a machine that is.
#[derive(Debug, Default)]
struct Unit<'a> {
    agents: BTreeSet<&'a str>,
    /// How many of them are well now.
    well: usize,
}

/// Gives each step that has to do with a disturbed agent its wave. Steps come after those they need.
pub(super) fn assign(inputs: Inputs<'_>, steps: &mut [Step]) {
    let units = units(inputs, steps);
    if units.len() < 2 {
        return;
    }
    let waves = waves(inputs, units);
    if waves.values().collect::<BTreeSet<_>>().len() < 2 {
        return;
    }
    // a step is never in an earlier wave than what it needs
    let mut reached: BTreeMap<Address, u32> = BTreeMap::new();
    for step in steps {
        let own = wave_of(inputs, step, &waves);
        let needed = step.needs.iter().filter_map(|need| reached.get(need)).max().copied();
        step.wave = own.map(|own| own.max(needed.unwrap_or(own)));
        if let Some(wave) = step.wave.or(needed) {
            reached.insert(step.address.clone(), wave);
        }
    }
}

/// Returns the wave of a step's agent, or of its machine.
fn wave_of(inputs: Inputs<'_>, step: &Step, waves: &BTreeMap<String, u32>) -> Option<u32> {
    if step.action.is_delete() {
        return None;
    }
    let weighs = weighs_on(inputs, step);
    if step.address.id.kind.is_of_host() && !disturbs(step) {
        return None;
    }
    weighs.into_iter().filter_map(|agent| waves.get(agent)).max().copied()
}

/// Whether a running agent may notice the step. Mending one that is ill disturbs nobody.
fn disturbs(step: &Step) -> bool {
    let changes = match &step.action {
        Action::Update { changes, .. } | Action::Replace { changes, .. } => changes,
        Action::Create { .. } | Action::Delete { .. } => return false,
    };
    let mends = step.address.id.kind == Kind::Container
        && changes.iter().all(|change| CONDITION.contains(&change.path.as_str()));
    step.effect >= Effect::Hot && !mends
}

/// Returns the agents a step weighs on: its own, or all on its machine.
fn weighs_on<'a>(inputs: Inputs<'a>, step: &Step) -> Vec<&'a str> {
    let id = &step.address.id;
    if id.kind.is_of_host() {
        let Some(card) = inputs.desired.hosts.get(&id.name) else { return Vec::new() };
        let on_it = inputs.desired.agents.iter().filter(|(_, agent)| agent.place == card.name);
        return on_it.map(|(id, _)| id.as_str()).collect();
    }
    let own = inputs.desired.agents.get_key_value(&id.name).filter(|(_, agent)| agent.place == step.address.place);
    own.map(|(id, _)| id.as_str()).into_iter().collect()
}

/// Returns the agents that are disturbed, those of one disturbed machine together. Agents on a machine that is made anew
/// are made anew with it.
fn units<'a>(inputs: Inputs<'a>, steps: &[Step]) -> Vec<Unit<'a>> {
    let emptied = decide::emptied(inputs);
    let disturbing = steps.iter().filter(|step| disturbs(step));
    let mut sets: Vec<BTreeSet<&str>> = disturbing
        .filter(|step| !emptied.contains(&step.address.place))
        .map(|step| weighs_on(inputs, step).into_iter().collect())
        .filter(|set: &BTreeSet<&str>| !set.is_empty())
        .collect();
    // whole machines first, so that their agents are found in them
    sets.sort_by_key(|set| std::cmp::Reverse(set.len()));
    let mut units: Vec<Unit<'a>> = Vec::new();
    let mut placed: BTreeSet<&str> = BTreeSet::new();
    for set in sets {
        let agents: BTreeSet<&str> = set.difference(&placed).copied().collect();
        if !agents.is_empty() {
            placed.extend(&agents);
            let well = agents.iter().filter(|agent| is_well(inputs, agent)).count();
            units.push(Unit { agents, well });
        }
    }
    // one that is ill proves nothing: the canary is well
    units.sort_by(|a, b| (a.well == 0, &a.agents).cmp(&(b.well == 0, &b.agents)));
    units
}

fn is_well(inputs: Inputs<'_>, agent: &str) -> bool {
    let Some(card) = inputs.desired.agents.get(agent) else { return false };
    let container = Address { id: crate::name::ResourceId::new(Kind::Container, agent), place: card.place.clone() };
    let wanted = inputs.desired.resources.get(&container).and_then(|resource| resource.fields.get("status"));
    match inputs.observed.seen(&container) {
        Seen::Present(actual) => wanted.is_none_or(|wanted: &Value| actual.fields.get("status") == Some(wanted)),
        _ => false,
    }
}

/// Returns the wave of each disturbed agent, from 1: the canary, then as many at once as may be unavailable. Those that
/// are ill take up room of their own, and weigh nothing when they are changed.
fn waves(inputs: Inputs<'_>, units: Vec<Unit<'_>>) -> BTreeMap<String, u32> {
    let rollout = inputs.policy.rollout;
    let ill = inputs.desired.agents.keys().filter(|agent| !is_well(inputs, agent)).count();
    let room = rollout.max_unavailable.of(inputs.desired.agents.len()).saturating_sub(ill).max(1);
    let (mut found, mut wave, mut taken) = (BTreeMap::new(), 1, 0);
    for unit in units {
        let limit = if wave == 1 && rollout.canary > 0 { rollout.canary.min(room) } else { room };
        let weight = if wave == 1 && rollout.canary > 0 { unit.agents.len() } else { unit.well };
        let first = !found.values().any(|one| *one == wave);
        if !first && taken + weight > limit {
            wave += 1;
            taken = unit.well;
        } else {
            taken += weight;
        }
        found.extend(unit.agents.into_iter().map(|agent| (agent.to_owned(), wave)));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::desired::{AgentCard, Desired, HostCard, Resource};
    use crate::name::ResourceId;
    use crate::observed::{Actual, Observation, Observed, Report, State};
    use crate::plan::{Policy, plan};
    use crate::provider::{AgentSpec, Rules};
    use crate::value::{Change, Fields};

    /// Rules by which images restart agents, and everything on a host reboots.
    struct Plain;

    impl Rules for Plain {
        fn declare(&self, _: AgentSpec<'_>) -> Result<Vec<(ResourceId, Resource)>, Vec<crate::problem::Problem>> {
            Ok(Vec::new())
        }

        fn weigh(&self, id: &ResourceId, _: &[Change]) -> Effect {
            match id.kind {
                Kind::Network => Effect::None,
                Kind::Host => Effect::Restart,
                _ => Effect::Hot,
            }
        }
    }

    fn at(kind: Kind, name: &str, place: &str) -> Address {
        Address { id: ResourceId::new(kind, name), place: place.to_owned() }
    }

    fn fields(image: &str, status: &str) -> Fields {
        [("image".to_owned(), image.into()), ("status".to_owned(), status.into())].into()
    }

    /// Returns the waves of agents `NAME` or `NAME:STATUS` or `NAME@PLACE` when their images change, as `wave: names`.
    fn waves_of(agents: &[&str], hosts: &[&str], rollout: Rollout) -> String {
        let mut desired = Desired::default();
        let mut reports: BTreeMap<String, Report> = BTreeMap::new();
        for text in agents {
            let (text, status) = text.split_once(':').unwrap_or((text, "healthy"));
            let (name, place) = text.split_once('@').unwrap_or((text, "p"));
            // one that is written in capitals stays as it is
            let image = if name.chars().all(char::is_uppercase) { "1" } else { "2" };
            desired.agents.insert(name.to_owned(), AgentCard { place: place.to_owned(), ..AgentCard::default() });
            let network = at(Kind::Network, name, place);
            let resource = Resource { fields: fields("2", ""), ..Resource::default() };
            desired.resources.insert(network.clone(), resource);
            let container = at(Kind::Container, name, place);
            let needs = vec![network.clone()];
            desired
                .resources
                .insert(container.clone(), Resource { fields: fields(image, "healthy"), needs, ..Resource::default() });
            let report = reports
                .entry(place.to_owned())
                .or_insert_with(|| Report { place: place.to_owned(), ..Report::default() });
            let seen = |image: &str, status: &str| {
                State::Present(Actual { fields: fields(image, status), ..Actual::default() })
            };
            report.observations.push(Observation { address: network, state: seen("2", "") });
            report.observations.push(Observation { address: container, state: seen("1", status) });
        }
        for place in hosts {
            desired.hosts.insert((*place).to_owned(), HostCard { name: (*place).to_owned(), ..HostCard::default() });
            let host = at(Kind::Host, place, place);
            desired.resources.insert(host.clone(), Resource { fields: fields("2", ""), ..Resource::default() });
            let state = State::Present(Actual { fields: fields("1", ""), ..Actual::default() });
            reports.get_mut(*place).expect("an agent on it").observations.push(Observation { address: host, state });
        }
        let rules = reports
            .keys()
            .map(|place| (place.clone(), std::sync::Arc::new(Plain) as std::sync::Arc<dyn Rules>))
            .collect();
        let observed = Observed::fold(reports.into_values().collect());
        let policy = Policy { rollout, ..Policy::default() };
        let plan = plan(Inputs {
            desired: &desired,
            unresolved: &BTreeMap::new(),
            observed: &observed,
            rules: &rules,
            policy: &policy,
        });
        let mut found: BTreeMap<Option<u32>, Vec<String>> = BTreeMap::new();
        for step in plan.steps {
            found.entry(step.wave).or_default().push(step.address.id.to_string().replace("container/", ""));
        }
        let line = |(wave, names): (Option<u32>, Vec<String>)| {
            format!("{}: {}", wave.map_or("-".to_owned(), |wave| wave.to_string()), names.join(" "))
        };
        found.into_iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn rollout(canary: usize, at_once: usize) -> Rollout {
        Rollout { canary, max_unavailable: Share::Count(at_once) }
    }

    #[test]
    fn a_canary_goes_first_and_the_others_follow_so_many_at_once() {
        let agents = ["a", "b", "c", "d", "e", "f"];
        assert_eq!(waves_of(&agents, &[], rollout(1, 2)), "1: a\n2: b c\n3: d e\n4: f");
        assert_eq!(waves_of(&agents, &[], rollout(2, 9)), "1: a b\n2: c d e f");
        assert_eq!(waves_of(&agents, &[], rollout(0, 3)), "1: a b c\n2: d e f");
        assert_eq!(waves_of(&agents, &[], Rollout::default()), "1: a\n2: b\n3: c\n4: d\n5: e\n6: f");
    }

    #[test]
    fn what_disturbs_one_agent_or_fits_at_once_has_no_waves() {
        assert_eq!(waves_of(&["a", "B", "C"], &[], Rollout::default()), "-: a");
        assert_eq!(waves_of(&["a", "b"], &[], rollout(0, 2)), "-: a b");
    }

    #[test]
    fn one_that_is_ill_is_no_canary_and_one_that_stays_ill_takes_room() {
        assert_eq!(waves_of(&["a:ill", "b", "c", "d"], &[], rollout(1, 2)), "1: b\n2: c\n3: a d");
        assert_eq!(waves_of(&["A:ill", "b", "c", "d"], &[], rollout(1, 2)), "-: A\n1: b\n2: c\n3: d");
        assert_eq!(waves_of(&["A", "b", "c", "d"], &[], rollout(1, 2)), "1: b\n2: c d");
    }

    #[test]
    fn mending_one_that_is_ill_waits_for_nobody() {
        assert_eq!(waves_of(&["A:ill", "B:ill", "C"], &[], Rollout::default()), "-: A B");
    }

    #[test]
    fn agents_on_a_machine_that_is_disturbed_are_so_together() {
        let agents = ["a@p", "b@p", "c@q"];
        assert_eq!(waves_of(&agents, &["p"], rollout(1, 1)), "1: a b host/p\n2: c");
    }

    #[test]
    fn a_share_is_of_all_and_one_always_may() {
        assert_eq!(Share::parse("20%"), Some(Share::Percent(20)));
        assert_eq!(Share::parse("2"), Some(Share::Count(2)));
        assert_eq!((Share::parse("101%"), Share::parse("-1"), Share::parse("x")), (None, None, None));
        assert_eq!((Share::Percent(20).of(14), Share::Percent(20).of(3), Share::Count(0).of(9)), (2, 1, 1));
    }
}
