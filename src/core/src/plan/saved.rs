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
    Approved { plan, ..approved }
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
