//! Saved plans: what somebody approved, as a limit on what is done later. Looks at plans as data; reads no file and checks
//! no signature.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Plan, Step};
use crate::name::Address;

/// The version of the form. What reads it refuses a higher one.
pub const FORMAT: u32 = 1;

/// What stands among what was seen for a thing that was not there.
pub const ABSENT: &str = "absent";

/// A plan to be approved, and all that it rests on. Its digest is what is approved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// [`FORMAT`].
    pub format: u32,
    /// The fleet's id.
    pub fleet: String,
    /// The agents and resources it was kept to; all when empty.
    pub targets: BTreeSet<String>,
    /// The agents whose data may be lost.
    pub allow_destroy: BTreeSet<String>,
    /// The files it was made from: path → digest.
    pub inputs: BTreeMap<String, String>,
    /// What was seen of each thing it changes: `kind/name@place` → digest; `absent` for what was not there.
    pub seen: BTreeMap<String, String>,
    /// The plan, without prices: those change by themselves.
    pub plan: Plan,
}

/// A step of a saved plan that is not what would be done now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Stale {
    /// Of what.
    #[serde(flatten)]
    pub address: Address,
    /// What was planned, in a few words.
    pub planned: String,
    /// What is found now.
    pub found: String,
}

/// What is left of a saved plan when the world is looked at again.
#[derive(Clone, Debug, Default)]
pub struct Approved {
    /// What was approved and is still to do.
    pub plan: Plan,
    /// What was approved and is as wanted already.
    pub done: Vec<Address>,
    /// What is not done because the world moved.
    pub stale: Vec<Stale>,
    /// What would be done now and nobody approved.
    pub beyond: Vec<Address>,
}

/// Keeps a plan made now to what was approved: the same changes from the same state. A step that rests on one that is
/// left out is left out, too.
pub fn constrain(saved: &Saved, now: Plan, seen_now: &BTreeMap<String, String>) -> Approved {
    let mut approved = Approved::default();
    let fresh: BTreeMap<&Address, &Step> = now.steps.iter().map(|step| (&step.address, step)).collect();
    let mut left_out: BTreeSet<Address> = BTreeSet::new();
    for step in &saved.plan.steps {
        let key = key_of(&step.address);
        let (then, seen) = (saved.seen.get(&key), seen_now.get(&key));
        let found = match fresh.get(&step.address) {
            None if now.unchanged.contains(&step.address) || (step.action.is_delete() && is_absent(seen)) => {
                approved.done.push(step.address.clone());
                continue;
            }
            None => match now.held.iter().find(|held| held.address == step.address) {
                Some(held) => format!("{} is held", held.would),
                None => "nothing to do with it".to_owned(),
            },
            Some(fresh) if !is_same(step, fresh) => words(fresh),
            Some(_) if then != seen => "something else stands there".to_owned(),
            Some(_) => continue,
        };
        left_out.insert(step.address.clone());
        approved.stale.push(Stale { address: step.address.clone(), planned: words(step), found });
    }
    let planned: BTreeSet<&Address> = saved.plan.steps.iter().map(|step| &step.address).collect();
    let mut plan = Plan { steps: Vec::new(), ..now };
    for step in now.steps {
        if !planned.contains(&step.address) {
            left_out.insert(step.address.clone());
            approved.beyond.push(step.address);
        } else if left_out.contains(&step.address) {
        } else if let Some(on) = step.needs.iter().find(|need| left_out.contains(need)) {
            let found = format!("it needs {on}, which is not done");
            approved.stale.push(Stale { address: step.address.clone(), planned: words(&step), found });
            left_out.insert(step.address);
        } else {
            plan.steps.push(step);
        }
    }
    keep_canary(&mut plan.steps);
    Approved { plan, ..approved }
}

/// Where none of the first wave is left, one agent of the next goes first: nothing else has proven the change.
fn keep_canary(steps: &mut [Step]) {
    let Some(first) = steps.iter().filter_map(|step| step.wave).min().filter(|wave| *wave > 1) else { return };
    let canary = steps.iter().find(|step| step.wave == Some(first));
    let Some(canary) = canary.map(|step| step.address.clone()) else { return };
    for step in steps.iter_mut().filter(|step| step.wave == Some(first)) {
        if step.address.place == canary.place && step.address.id.name == canary.id.name {
            step.wave = Some(first - 1);
        }
    }
}

fn is_absent(seen: Option<&String>) -> bool {
    seen.is_none_or(|seen| seen == ABSENT)
}

/// Returns the name a thing has among what was seen.
pub fn key_of(address: &Address) -> String {
    format!("{}@{}", address.id, address.place)
}

/// Whether two steps do the same. Secrets are compared by what was seen and by the files they come from, not here.
fn is_same(planned: &Step, fresh: &Step) -> bool {
    let text = |step: &Step| serde_json::to_string(&step.action).unwrap_or_default();
    planned.effect == fresh.effect && text(planned) == text(fresh)
}

/// Says what a step does, in a few words.
fn words(step: &Step) -> String {
    let paths: Vec<&str> = step.action.changes().iter().map(|change| change.path.as_str()).take(3).collect();
    let more = step.action.changes().len().saturating_sub(paths.len());
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    if paths.is_empty() {
        step.action.word().to_owned()
    } else {
        format!("{} {}{tail}", step.action.word(), paths.join(", "))
    }
}

/// Reads the word for an action.
pub(super) fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static str, D::Error> {
    let text = String::deserialize(deserializer)?;
    let known = ["create", "update", "replace", "delete"].into_iter().find(|word| *word == text);
    known.ok_or_else(|| serde::de::Error::custom("not the word for an action"))
}

#[cfg(test)]
mod tests {
    use super::super::{Action, Effect, Held, Reason};
    use super::*;
    use crate::name::{Kind, ResourceId};
    use crate::value::Fields;

    fn at(name: &str) -> Address {
        Address { id: ResourceId::new(Kind::Container, name), place: "p".to_owned() }
    }

    fn fields(text: &str) -> Fields {
        [("image".to_owned(), text.into())].into()
    }

    /// Returns a step `NAME image:NEED`: makes a container of an image, after another; `-NAME` removes one.
    fn step(text: &str) -> Step {
        let (text, need) = text.split_once(':').unwrap_or((text, ""));
        let (name, image) = text.split_once(' ').unwrap_or((text, ""));
        let action = match name.strip_prefix('-') {
            Some(_) => Action::Delete { before: fields("1") },
            None => Action::Create { after: fields(image) },
        };
        let needs = Some(need).filter(|need| !need.is_empty()).map(at).into_iter().collect();
        let address = at(name.trim_start_matches('-'));
        Step { address, action, effect: Effect::None, needs, wave: None, cost: None }
    }

    fn plan(steps: &[&str]) -> Plan {
        Plan { steps: steps.iter().map(|text| step(text)).collect(), ..Plan::default() }
    }

    fn seen(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, seen)| (key_of(&at(name)), (*seen).to_owned())).collect()
    }

    /// Returns what is still done of a plan, and what is said of the rest.
    fn left(then: &[&str], seen_then: &[(&str, &str)], now: Plan, seen_now: &[(&str, &str)]) -> String {
        let saved = Saved { plan: plan(then), seen: seen(seen_then), ..Saved::default() };
        let approved = constrain(&saved, now, &seen(seen_now));
        let names =
            |addresses: Vec<&Address>| addresses.iter().map(|at| at.id.name.clone()).collect::<Vec<_>>().join(" ");
        let stale: Vec<String> = approved
            .stale
            .iter()
            .map(|one| format!("{}: {} | {}", one.address.id.name, one.planned, one.found))
            .collect();
        format!(
            "do {}; done {}; beyond {}; {}",
            names(approved.plan.steps.iter().map(|step| &step.address).collect()),
            names(approved.done.iter().collect()),
            names(approved.beyond.iter().collect()),
            stale.join("; ")
        )
    }

    #[test]
    fn what_is_still_so_is_done_and_nothing_more() {
        assert_eq!(left(&["a 1", "b 1:a"], &[], plan(&["a 1", "b 1:a", "c 1"]), &[]), "do a b; done ; beyond c; ");
    }

    #[test]
    fn what_is_as_wanted_is_done_already() {
        let mut now = plan(&["b 1"]);
        now.unchanged.push(at("a"));
        let gone = [("a", "x"), ("b", ABSENT), ("d", ABSENT)];
        assert_eq!(left(&["a 1", "b 1:a", "-d"], &[("b", ABSENT)], now, &gone), "do b; done a d; beyond ; ");
    }

    #[test]
    fn another_change_or_another_state_is_left_out_with_what_rests_on_it() {
        let now = plan(&["a 2", "b 1:a", "c 1"]);
        let told = "do c; done ; beyond ; a: create | create; b: create | it needs container/a, which is not done";
        assert_eq!(left(&["a 1", "b 1:a", "c 1"], &[], now, &[]), told);
        let told = "do ; done ; beyond ; a: create | something else stands there";
        assert_eq!(left(&["a 1"], &[("a", "x")], plan(&["a 1"]), &[("a", "y")]), told);
    }

    #[test]
    fn what_is_held_now_is_left_out() {
        let mut now = plan(&[]);
        now.held.push(Held { address: at("a"), would: "create", reason: Reason::Foreign });
        assert_eq!(left(&["a 1"], &[], now, &[]), "do ; done ; beyond ; a: create | create is held");
        // something needed that nobody approved is not done on the way
        let now = plan(&["x 1", "a 1:x"]);
        let told = "do ; done ; beyond x; a: create | it needs container/x, which is not done";
        assert_eq!(left(&["a 1"], &[], now, &[]), told);
    }

    #[test]
    fn where_the_canary_is_left_out_another_one_goes_first() {
        let waved = |text: &str, wave| Step { wave: Some(wave), ..step(text) };
        let then = ["a 1", "b 1", "c 1", "d 1"];
        let now =
            Plan { steps: vec![waved("a 2", 1), waved("b 1", 2), waved("c 1", 2), waved("d 1", 3)], ..Plan::default() };
        let saved = Saved { plan: plan(&then), ..Saved::default() };
        let left = constrain(&saved, now, &BTreeMap::new()).plan.steps;
        let waves: Vec<_> = left.iter().map(|step| (step.address.id.name.as_str(), step.wave)).collect();
        assert_eq!(waves, [("b", Some(1)), ("c", Some(2)), ("d", Some(3))]);
    }

    #[test]
    fn a_plan_survives_its_json_but_for_the_values_of_secrets() {
        let mut plan = plan(&["a 1", "-b"]);
        plan.held.push(Held { address: at("c"), would: "update", reason: Reason::DeleteMax { wanted: 3, allowed: 1 } });
        let text = serde_json::to_string(&plan).expect("JSON");
        let read: Plan = serde_json::from_str(&text).expect("a plan");
        assert_eq!(read, plan);
        assert_eq!(serde_json::to_string(&read).expect("JSON"), text);
    }
}
