//! Plans: what to do, in which order, and what not to do and why. Pure: equal inputs give equal plans, and every input
//! gives one.

mod between;
mod cost;
mod decide;
mod guard;
mod saved;
mod sequence;
mod waves;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::desired::Desired;
use crate::money::Money;
use crate::name::Address;
use crate::observed::Observed;
use crate::provider::Rulebook;
use crate::secret::SecretError;
use crate::value::{self, After, Change, Fields, Value};

pub use between::between;
pub use saved::{ABSENT, Approved, FORMAT, Saved, Stale, constrain, key_of};
pub use waves::{Rollout, Share};

/// What one apply shall do: plain data, no choices left open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// The fleet's id.
    pub fleet: String,
    /// What to do, each step after those it needs.
    pub steps: Vec<Step>,
    /// What is not done now, and why.
    pub held: Vec<Held>,
    /// What is as it shall be.
    pub unchanged: Vec<Address>,
    /// Agents and hosts left alone, whether or not they would change.
    pub suspended: Vec<Suspended>,
    /// Places that could not be read whole, and why.
    pub unseen: BTreeMap<String, String>,
    /// What the fleet costs; `None` where no price is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

/// What the fleet costs a month in euros, net, as far as prices are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// As it stands.
    pub before: Money,
    /// When everything in the plan is done.
    pub after: Money,
}

impl Plan {
    /// Whether there is nothing to do and nothing held.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.held.is_empty() && self.unseen.is_empty()
    }
}

/// What a provider does to one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// To what.
    #[serde(flatten)]
    pub address: Address,
    /// What.
    #[serde(flatten)]
    pub action: Action,
    /// What that does to the running agent.
    pub effect: Effect,
    /// The steps of this plan that come first.
    pub needs: Vec<Address>,
    /// In which wave of a rollout: no step begins before every earlier wave is done, all of it. `None` for what disturbs
    /// no running agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<u32>,
    /// What the thing costs a month, before and after; `None` where it costs nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

impl Step {
    /// Returns the step with what `know` can say of other resources put in, or the first thing that is still unknown.
    pub fn known(&self, know: &dyn Fn(&After) -> Option<String>) -> Result<Self, After> {
        let mut step = self.clone();
        if let Action::Create { after } | Action::Update { after, .. } | Action::Replace { after, .. } =
            &mut step.action
        {
            *after = value::known(after, know);
            if let Some(unknown) = after.values().find_map(Value::first_unknown) {
                return Err(unknown.clone());
            }
        }
        Ok(step)
    }
}

/// What is done, with what was seen and what shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "action", rename_all = "lowercase")]
pub enum Action {
    /// Make it.
    Create {
        /// As it shall be.
        after: Fields,
    },
    /// Change it where it stands.
    Update {
        /// As it was seen.
        before: Fields,
        /// As it shall be.
        after: Fields,
        /// What differs.
        changes: Vec<Change>,
    },
    /// Make a new one in its place.
    Replace {
        /// As it was seen.
        before: Fields,
        /// As it shall be.
        after: Fields,
        /// What differs.
        changes: Vec<Change>,
    },
    /// Remove it.
    Delete {
        /// As it was seen.
        before: Fields,
    },
}

impl Action {
    /// Returns the fields it shall have; `None` for a delete.
    pub fn after(&self) -> Option<&Fields> {
        match self {
            Self::Create { after } | Self::Update { after, .. } | Self::Replace { after, .. } => Some(after),
            Self::Delete { .. } => None,
        }
    }

    /// Returns what differs; nothing for a create or delete.
    pub fn changes(&self) -> &[Change] {
        match self {
            Self::Update { changes, .. } | Self::Replace { changes, .. } => changes,
            Self::Create { .. } | Self::Delete { .. } => &[],
        }
    }

    /// Returns the word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Update { .. } => "update",
            Self::Replace { .. } => "replace",
            Self::Delete { .. } => "delete",
        }
    }

    /// Whether it removes.
    pub fn is_delete(&self) -> bool {
        matches!(self, Self::Delete { .. })
    }
}

/// What a step does to the running agent. Ordered by how much it disturbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Nothing running notices.
    None,
    /// Taken over while it runs.
    Hot,
    /// The gateway restarts in its container: some seconds without answers.
    Restart,
    /// The machine goes off and on again: minutes without answers.
    Reboot,
    /// A new container takes its place: some seconds to a minute without answers.
    Replace,
}

/// The word for an action. Named, so that reading one from JSON does not borrow from the text.
type Word = &'static str;

/// A change claw will not make now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Held {
    /// Of what.
    #[serde(flatten)]
    pub address: Address,
    /// What would be done.
    #[serde(deserialize_with = "saved::word")]
    pub would: Word,
    /// Why not.
    #[serde(flatten)]
    pub reason: Reason,
}

/// Why a change is held.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Reason {
    /// It could not be seen.
    Unknown {
        /// Why.
        why: String,
    },
    /// Something without our mark stands in its place.
    Foreign,
    /// Data would be lost; the agent must be named by `--allow-destroy`.
    Data {
        /// The name to give.
        name: String,
    },
    /// The agent's data is at another place.
    Moved {
        /// The name to give to start without it.
        name: String,
        /// Where the data is.
        from: String,
    },
    /// More deletes of this kind than the policy allows.
    DeleteMax {
        /// How many there would be.
        wanted: usize,
        /// How many are allowed.
        allowed: usize,
    },
    /// The fleet says to leave it alone.
    Suspended {
        /// Until which day.
        until: String,
    },
    /// A secret cannot be had.
    Secret {
        /// Why.
        why: String,
        /// What to do.
        help: String,
    },
    /// The address we come from would not be let in any more.
    LockOut {
        /// That address, as the host sees it.
        from: String,
    },
    /// A login key that is in no commit yet.
    Uncommitted,
    /// Something it needs is held.
    Waits {
        /// What.
        on: Address,
    },
}

/// An agent or host left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Suspended {
    /// Its id.
    pub name: String,
    /// The first day claw looks after it again.
    pub until: String,
    /// Why.
    pub reason: Option<String>,
}

/// The limits a plan keeps to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How much of a kind may go, in per cent; one always may.
    pub delete_max_percent: u32,
    /// Whether the limit counts: not when a person named what to destroy.
    pub guard_deletes: bool,
    /// How changes reach running agents.
    pub rollout: Rollout,
    /// Agents whose data may be lost.
    pub allow_destroy: BTreeSet<String>,
    /// Today, `YYYY-MM-DD`, UTC.
    pub today: String,
    /// Whether the login keys in the fleet's files are in no commit yet, and so are not put on hosts.
    pub uncommitted_keys: bool,
    /// Agents or resources to keep to, with what they need; everything when empty.
    pub targets: BTreeSet<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            delete_max_percent: 30,
            guard_deletes: true,
            rollout: Rollout::default(),
            allow_destroy: BTreeSet::new(),
            today: String::new(),
            uncommitted_keys: false,
            targets: BTreeSet::new(),
        }
    }
}

/// Everything a plan is made from.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// What shall be, secrets resolved.
    pub desired: &'a Desired,
    /// The secrets that could not be had.
    pub unresolved: &'a BTreeMap<Address, SecretError>,
    /// What is.
    pub observed: &'a Observed,
    /// What providers know.
    pub rules: &'a Rulebook,
    /// The limits.
    pub policy: &'a Policy,
}

/// Returns what one resource costs as it stands and as the fleet wants it; `None` where no price is known.
pub fn cost_of(inputs: Inputs<'_>, address: &Address) -> Option<Cost> {
    cost::of(inputs, address, inputs.desired.resources.get(address).map(|resource| &resource.fields))
}

/// Returns the plan that makes the observed the desired.
pub fn plan(inputs: Inputs<'_>) -> Plan {
    let (mut decided, unchanged) = decide::decide(inputs);
    guard::hold(inputs, &mut decided);
    sequence::sequence(inputs, decided, unchanged)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;
    use crate::desired::Resource;
    use crate::name::{Kind, ResourceId};
    use crate::observed::{Actual, Observation, Owner, Report, State};
    use crate::problem::Problem;
    use crate::provider::{AgentSpec, Rules};
    use crate::value::Value;

    /// Rules by which a field says itself what changing it does.
    struct Plain;

    impl Rules for Plain {
        fn declare(&self, _: AgentSpec<'_>) -> Result<Vec<(ResourceId, Resource)>, Vec<Problem>> {
            Ok(Vec::new())
        }

        fn weigh(&self, _: &ResourceId, changes: &[Change]) -> Effect {
            let effect =
                |change: &Change| serde_json::from_value(change.path.clone().into()).unwrap_or(Effect::Replace);
            changes.iter().map(effect).max().unwrap_or(Effect::None)
        }
    }

    /// What shall be, what is, and the limits.
    #[derive(Default)]
    struct Case {
        desired: Desired,
        reports: BTreeMap<String, Report>,
        policy: Policy,
        unresolved: BTreeMap<Address, SecretError>,
    }

    fn at(place: &str, id: &str) -> Address {
        Address { id: id.parse().expect("a resource"), place: place.to_owned() }
    }

    fn fields(fields: serde_json::Value) -> Fields {
        match Value::from(fields) {
            Value::Map(map) => map.as_ref().clone(),
            other => panic!("not a map: {other:?}"),
        }
    }

    impl Case {
        fn wants(mut self, place: &str, id: &str, wanted: serde_json::Value) -> Self {
            let address = at(place, id);
            let needs = address.id.kind.needs().iter().map(|kind| address.sibling(*kind)).collect();
            let resource = Resource { fields: fields(wanted), needs, ..Resource::default() };
            self.desired.resources.insert(address, resource);
            self
        }

        fn state(mut self, place: &str, id: &str, state: State) -> Self {
            let report = self.reports.entry(place.to_owned()).or_default();
            report.place = place.to_owned();
            report.observations.push(Observation { address: at(place, id), state });
            self
        }

        fn has(self, place: &str, id: &str, seen: serde_json::Value) -> Self {
            self.state(place, id, State::Present(Actual { fields: fields(seen), ..Actual::default() }))
        }

        fn unseen(self, place: &str, id: &str) -> Self {
            self.state(place, id, State::Unknown { why: "timed out".to_owned() })
        }

        fn allows(mut self, name: &str) -> Self {
            self.policy.allow_destroy.insert(name.to_owned());
            self
        }

        fn plan(&self) -> Plan {
            let places = ["p", "q"].map(|place| (place.to_owned(), Arc::new(Plain) as Arc<dyn Rules>));
            let observed = Observed::fold(self.reports.values().cloned().collect());
            let Self { desired, unresolved, policy, .. } = self;
            plan(Inputs { desired, unresolved, observed: &observed, rules: &places.into(), policy })
        }

        /// Returns the words of the plan: `delete volume/a`, `held delete volume/a data`.
        fn words(&self) -> String {
            let plan = self.plan();
            let steps = plan.steps.iter().map(|step| format!("{} {}", step.action.word(), step.address));
            let held = plan.held.iter().map(|held| {
                let reason = serde_json::to_value(&held.reason).expect("JSON");
                format!("held {} {} {}", held.would, held.address, reason["reason"].as_str().expect("a word"))
            });
            steps.chain(held).collect::<Vec<_>>().join("\n")
        }
    }

    #[test]
    fn the_json_of_a_plan_is_what_machines_read() {
        let case = Case::default()
            .wants("p", "network/a", json!({"driver": "bridge"}))
            .wants("p", "volume/b", json!({"hot": 2}))
            .has("p", "volume/b", json!({"hot": 1}))
            .wants("p", "network/c", json!({"replace": true, "same": 1}))
            .has("p", "network/c", json!({"same": 1}))
            .has("p", "network/d", json!({"driver": "bridge"}))
            .has("p", "volume/e", json!({}));
        assert_snapshot!(serde_json::to_string_pretty(&case.plan()).expect("JSON"), @r#"
        {
          "fleet": "",
          "steps": [
            {
              "resource": "network/a",
              "place": "p",
              "action": "create",
              "after": {
                "driver": "bridge"
              },
              "effect": "none",
              "needs": []
            },
            {
              "resource": "volume/b",
              "place": "p",
              "action": "update",
              "before": {
                "hot": 1
              },
              "after": {
                "hot": 2
              },
              "changes": [
                {
                  "path": "hot",
                  "before": 1,
                  "after": 2
                }
              ],
              "effect": "hot",
              "needs": []
            },
            {
              "resource": "network/c",
              "place": "p",
              "action": "replace",
              "before": {
                "same": 1
              },
              "after": {
                "replace": true,
                "same": 1
              },
              "changes": [
                {
                  "path": "replace",
                  "after": true
                }
              ],
              "effect": "replace",
              "needs": []
            },
            {
              "resource": "network/d",
              "place": "p",
              "action": "delete",
              "before": {
                "driver": "bridge"
              },
              "effect": "none",
              "needs": []
            }
          ],
          "held": [
            {
              "resource": "volume/e",
              "place": "p",
              "would": "delete",
              "reason": "data",
              "name": "e"
            }
          ],
          "unchanged": [],
          "suspended": [],
          "unseen": {}
        }
        "#);
    }

    #[test]
    fn a_part_that_was_not_seen_is_held_and_so_is_what_rests_on_it() {
        let case = Case::default()
            .wants("p", "volume/a", json!({}))
            .has("p", "volume/a", json!({}))
            .wants("p", "anchor/a", json!({}))
            .unseen("p", "anchor/a")
            .wants("p", "secrets/a", json!({"x": 1}))
            .wants("p", "network/a", json!({}));
        assert_snapshot!(case.words(), @r#"
        create network/a
        held create anchor/a unknown
        held create secrets/a waits
        "#);
    }

    #[test]
    fn an_orphan_stays_while_a_part_of_its_agent_was_not_seen() {
        let case = Case::default()
            .has("p", "volume/a", json!({}))
            .has("p", "network/a", json!({}))
            .unseen("p", "container/a")
            .allows("a");
        assert_snapshot!(case.words(), @r#"
        held delete network/a unknown
        held delete volume/a unknown
        "#);
    }

    #[test]
    fn a_thing_at_a_place_read_in_part_changes_if_it_was_seen_itself_and_its_needs_were() {
        let mut case = Case::default()
            .wants("p", "network/a", json!({"x": 1}))
            .has("p", "network/a", json!({"x": 2}))
            .wants("p", "container/a", json!({"x": 1}))
            .has("p", "container/a", json!({"x": 2}))
            .wants("p", "config/a", json!({}));
        case.reports.get_mut("p").expect("seen").incomplete = Some("cut".to_owned());
        assert_snapshot!(case.words(), @r#"
        replace network/a
        held create config/a unknown
        held replace container/a waits
        "#);
    }

    #[test]
    fn a_volume_is_not_replaced_unless_its_data_may_be_lost() {
        let case = Case::default().wants("p", "volume/a", json!({"replace": 1})).has("p", "volume/a", json!({})).wants(
            "p",
            "anchor/a",
            json!({}),
        );
        assert_eq!(case.words(), "held replace volume/a data\nheld create anchor/a waits");
        assert_eq!(case.allows("a").words(), "replace volume/a\ncreate anchor/a");
    }

    #[test]
    fn no_place_and_nothing_wanted_plans_nothing() {
        assert!(Case::default().plan().is_empty());
    }

    #[test]
    fn an_empty_plan_is_not_empty_while_a_place_is_unseen() {
        let mut case = Case::default();
        case.reports.insert(
            "p".to_owned(),
            Report { place: "p".to_owned(), incomplete: Some("down".to_owned()), ..Report::default() },
        );
        assert!(case.plan().steps.is_empty() && !case.plan().is_empty());
    }

    #[test]
    fn data_seen_foreign_elsewhere_does_not_hold_a_new_agent() {
        let foreign = State::Present(Actual { owner: Owner::Foreign, ..Actual::default() });
        let case = Case::default().wants("q", "volume/a", json!({})).state("p", "volume/a", foreign);
        assert_eq!(case.words(), "create volume/a");
        let ours = Case::default().wants("q", "volume/a", json!({})).has("p", "volume/a", json!({}));
        assert_eq!(ours.words(), "held delete volume/a data\nheld create volume/a moved");
    }

    #[test]
    fn an_agent_at_home_is_not_held_because_a_copy_of_it_lies_elsewhere() {
        let case = Case::default()
            .wants("q", "volume/a", json!({"hot": 1}))
            .has("q", "volume/a", json!({"hot": 2}))
            .has("p", "volume/a", json!({}));
        assert_eq!(case.words(), "update volume/a\nheld delete volume/a data");
    }

    #[test]
    fn a_secret_that_cannot_be_had_never_hides_that_something_is_foreign_or_unseen() {
        let foreign = State::Present(Actual { owner: Owner::Foreign, ..Actual::default() });
        let mut case = Case::default().wants("p", "secrets/a", json!({})).state("p", "secrets/a", foreign);
        let error = SecretError { reason: "locked".to_owned(), help: "unlock".to_owned() };
        case.unresolved.insert(at("p", "secrets/a"), error);
        assert_eq!(case.words(), "held update secrets/a foreign");
        case.reports.clear();
        assert_eq!(case.words(), "held create secrets/a secret");
    }

    #[test]
    fn the_guard_counts_each_kind_over_all_places() {
        let mut case = Case::default();
        for number in 0..10 {
            case = case.has(if number % 2 == 0 { "p" } else { "q" }, &format!("network/n{number}"), json!({}));
        }
        assert!(case.plan().steps.is_empty(), "ten of ten");
        for number in 3..10 {
            let place = if number % 2 == 0 { "p" } else { "q" };
            case = case.wants(place, &format!("network/n{number}"), json!({}));
        }
        let plan = case.plan();
        let gone: BTreeSet<String> = plan.steps.iter().map(|step| step.address.to_string()).collect();
        assert_eq!(gone, ["network/n0", "network/n1", "network/n2"].map(str::to_owned).into());
        case.policy.delete_max_percent = 29;
        assert!(case.plan().held.iter().all(|held| held.reason == Reason::DeleteMax { wanted: 3, allowed: 2 }));
        assert_eq!(case.plan().held.len(), 3);
    }

    #[test]
    fn one_of_a_kind_may_always_go_and_a_share_is_rounded_down() {
        let limits = [(0, 30, 1), (1, 0, 1), (3, 30, 1), (6, 30, 1), (7, 30, 2), (10, 30, 3), (5, 100, 5)];
        for (total, percent, allowed) in limits {
            assert_eq!(guard::delete_limit(total, percent), allowed, "{percent} % of {total}");
        }
    }

    #[test]
    fn a_suspension_counts_until_its_day() {
        let policy = Policy { today: "2026-06-15".to_owned(), ..Policy::default() };
        let counts = ["2026-06-14", "2026-06-15", "2026-06-16"].map(|until| guard::is_suspended(until, &policy));
        assert_eq!(counts, [false, false, true]);
    }

    #[test]
    fn deletes_of_an_agent_run_in_reverse() {
        let mut case = Case::default().allows("a");
        for kind in Kind::ALL {
            case = case.has("p", &format!("{kind}/a"), json!({}));
        }
        let plan = case.plan();
        assert_eq!(plan.steps.len(), Kind::ALL.len());
        let place = |kind: Kind| plan.steps.iter().position(|step| step.address.id.kind == kind);
        for kind in Kind::ALL {
            assert!(kind.needs().iter().all(|need| place(*need) > place(kind)), "{kind}");
            for need in kind.needs() {
                let step = &plan.steps[place(*need).expect("deleted")];
                assert!(step.needs.contains(&at("p", &format!("{kind}/a"))), "{need} does not wait for {kind}");
            }
        }
    }

    #[test]
    fn what_would_shut_us_out_is_held_and_the_host_waits() {
        let mut case = Case::default()
            .wants("h", "access/h", json!({"from": ["203.0.113.0/24"]}))
            .wants("h", "host/h", json!({}))
            .state("h", "access/h", State::Absent);
        let report = case.reports.get_mut("h").expect("a report");
        report.facts.insert("seen_from".to_owned(), "192.0.2.7".to_owned());
        assert_eq!(case.words(), "held create access/h lock-out\nheld create host/h waits");
        case.reports.get_mut("h").expect("a report").facts.insert("seen_from".to_owned(), "203.0.113.9".to_owned());
        assert_eq!(case.words(), "create access/h\ncreate host/h");
    }

    #[test]
    fn keys_that_are_in_no_commit_go_on_no_host_and_others_do() {
        let mut case = Case::default()
            .wants("h", "access/h", json!({"control": {"a": "A", "b": "B"}}))
            .has("h", "access/h", json!({"control": {"a": "A"}}))
            .wants("i", "access/i", json!({"control": {"a": "A"}, "operators": {"p": "P"}}))
            .has("i", "access/i", json!({"control": {"a": "A"}}));
        case.policy.uncommitted_keys = true;
        assert_eq!(case.words(), "replace access/i\nheld replace access/h uncommitted");
    }

    #[test]
    fn a_host_goes_after_all_that_is_on_it_and_who_may_log_in_last() {
        let case = Case::default()
            .has("h", "access/h", json!({}))
            .has("h", "host/h", json!({}))
            .has("h", "volume/a", json!({}))
            .has("h", "container/a", json!({}));
        assert_eq!(
            case.words(),
            "held delete volume/a data\nheld delete container/a data\nheld delete access/h waits\nheld delete host/h waits"
        );
        let words = case.allows("a").words();
        assert_eq!(words, "delete volume/a\ndelete container/a\ndelete host/h\ndelete access/h");
    }

    /// An agent `a` on a machine of its own, made by the cloud `p`, whose place is `q`.
    fn own_machine() -> Case {
        let mut case = Case::default()
            .wants("p", "address/a", json!({}))
            .wants("p", "server/a", json!({}))
            .wants("q", "access/a", json!({}))
            .wants("q", "volume/a", json!({}));
        case.desired.places = ["p", "q", "r"].map(str::to_owned).into();
        let card = crate::desired::HostCard { name: "q".to_owned(), cloud: Some("p".to_owned()), ..Default::default() };
        case.desired.hosts.insert("a".to_owned(), card);
        case
    }

    #[test]
    fn a_machine_that_stands_holds_up_nothing_that_shall_be_on_it() {
        let case = own_machine().has("p", "address/a", json!({})).has("p", "server/a", json!({}));
        assert_eq!(case.words(), "create access/a\ncreate volume/a");
        let case = own_machine().has("p", "server/a", json!({})).has("q", "volume/a", json!({}));
        assert_eq!(case.words(), "create address/a\ncreate access/a");
    }

    #[test]
    fn no_machine_is_made_for_an_agent_whose_data_is_elsewhere() {
        let case = own_machine().has("r", "volume/a", json!({}));
        let held = "held delete volume/a data\nheld create address/a moved\nheld create server/a moved\n\
                    held create access/a moved\nheld create volume/a moved";
        let words = case.words();
        assert_eq!(sorted(&words), sorted(held));
    }

    fn sorted(words: &str) -> Vec<&str> {
        let mut lines: Vec<&str> = words.lines().collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn a_suspended_host_suspends_what_is_on_it() {
        let mut case = Case::default().wants("h", "host/x", json!({})).wants("h", "volume/a", json!({}));
        let suspend = crate::fleet::SuspendTable { until: "2026-12-01".to_owned(), reason: None };
        let card = crate::desired::HostCard { name: "h".to_owned(), suspend: Some(suspend), ..Default::default() };
        case.desired.hosts.insert("x".to_owned(), card);
        case.policy.today = "2026-11-24".to_owned();
        assert_eq!(case.words(), "held create volume/a suspended\nheld create host/x suspended");
        case.policy.today = "2026-12-01".to_owned();
        assert_eq!(case.words(), "create volume/a\ncreate host/x");
    }

    /// A host `x` on a machine at cloud `p`; what is on it is at `h`.
    fn on_cloud(case: Case) -> Case {
        let mut case = case.wants("h", "volume/a", json!({})).has("h", "volume/a", json!({}));
        let card = crate::desired::HostCard { name: "h".to_owned(), cloud: Some("p".to_owned()), ..Default::default() };
        case.desired.hosts.insert("x".to_owned(), card);
        let needs = vec![at("h", "host/x")];
        case.desired.resources.entry(at("h", "volume/a")).and_modify(|one| one.needs = needs);
        case.desired
            .resources
            .insert(at("h", "host/x"), Resource { needs: vec![at("p", "server/x")], ..Resource::default() });
        case.has("h", "host/x", json!({}))
    }

    #[test]
    fn what_is_on_a_machine_that_is_made_anew_is_made_anew_with_it_and_only_where_that_is_allowed() {
        let case = on_cloud(Case::default())
            .wants("p", "server/x", json!({"replace": 1}))
            .has("p", "server/x", json!({}))
            .has("h", "container/old", json!({}));
        assert_eq!(case.words(), "delete container/old\nheld replace server/x data");
        // the container that nobody wants is not deleted one by one
        assert_eq!(case.allows("x").words(), "replace server/x\ncreate host/x\ncreate volume/a");
    }

    #[test]
    fn a_machine_that_could_not_be_seen_empties_nothing() {
        let case =
            on_cloud(Case::default()).wants("p", "server/x", json!({"replace": 1})).unseen("p", "server/x").allows("x");
        assert_eq!(case.words(), "held create server/x unknown");
    }

    #[test]
    fn with_a_machine_that_goes_everything_on_it_goes_in_one_step() {
        let mut case = on_cloud(Case::default()).has("p", "server/x", json!({})).has("p", "address/x", json!({}));
        case.desired.resources.clear();
        assert_eq!(
            case.words(),
            "held delete volume/a data\nheld delete address/x data\nheld delete server/x data",
            "a cloud's machine stays a host for as long as it is there"
        );
        assert_eq!(case.allows("x").words(), "delete server/x\ndelete address/x");
    }

    #[test]
    fn a_firewall_that_would_not_let_us_in_is_held() {
        let mut case = on_cloud(Case::default())
            .wants("p", "server/x", json!({"firewall": "ssh"}))
            .has("p", "server/x", json!({"firewall": "ssh"}))
            .wants("p", "firewall/ssh", json!({"from": ["203.0.113.0/24"]}))
            .has("p", "firewall/ssh", json!({}));
        case.reports.entry("h".to_owned()).or_default().facts =
            [("seen_from".to_owned(), "198.51.100.7".to_owned())].into();
        assert_eq!(case.words(), "held replace firewall/ssh lock-out");
        case.reports.entry("h".to_owned()).or_default().facts =
            [("seen_from".to_owned(), "203.0.113.9".to_owned())].into();
        assert_eq!(case.words(), "replace firewall/ssh");
    }

    #[test]
    fn what_another_resource_says_of_itself_is_put_in_once_that_stands() {
        let mut case = Case::default().wants("p", "address/x", json!({"location": "a"}));
        let after = After { of: at("p", "address/x"), fact: "ipv4" };
        let values = Value::List(vec![Value::After(Box::new(after))]);
        let record = Resource {
            fields: [("values".to_owned(), values)].into(),
            needs: vec![at("p", "address/x")],
            ..Resource::default()
        };
        case.desired.resources.insert(at("p", "dns/a.b:A"), record);
        case = case.has("p", "dns/a.b:A", json!({"values": ["192.0.2.7"]}));
        let shown = |case: &Case| {
            let plan = case.plan();
            let dns = plan.steps.iter().find(|step| step.address.id.kind == Kind::Dns);
            dns.map(|step| step.action.after().expect("it stays")["values"].to_json().to_string())
        };
        assert_eq!(shown(&case).as_deref(), Some(r#"[{"fact":"ipv4","known_after":"address/x"}]"#));
        let stands = |fields: serde_json::Value, ip: &str| {
            let facts = [("ipv4".to_owned(), ip.to_owned())].into();
            State::Present(Actual { fields: self::fields(fields), facts, ..Actual::default() })
        };
        let with = |state: State| {
            Case { desired: case.desired.clone(), reports: case.reports.clone(), ..Case::default() }
                .state("p", "address/x", state)
                .allows("x")
        };
        assert_eq!(shown(&with(stands(json!({"location": "a"}), "192.0.2.7"))), None, "as it shall be");
        let other = with(stands(json!({"location": "a"}), "192.0.2.9"));
        assert_eq!(shown(&other).as_deref(), Some(r#"["192.0.2.9"]"#));
        let anew = with(stands(json!({"location": "a", "replace": 1}), "192.0.2.7"));
        assert_eq!(shown(&anew).as_deref(), Some(r#"[{"fact":"ipv4","known_after":"address/x"}]"#), "it gets another");
    }

    #[test]
    fn a_name_leads_to_the_new_machine_before_the_old_gateway_goes() {
        let mut case = Case::default().wants("q", "container/a", json!({})).has("p", "container/a", json!({})).has(
            "p",
            "dns/a.b:A",
            json!({"values": ["192.0.2.1"]}),
        );
        let record = Resource {
            fields: fields(json!({"values": ["192.0.2.2"]})),
            needs: vec![at("q", "container/a")],
            of: Some("a".to_owned()),
            ..Resource::default()
        };
        case.desired.resources.insert(at("p", "dns/a.b:A"), record);
        assert_eq!(case.words(), "create container/a\nreplace dns/a.b:A\ndelete container/a");
    }

    fn record(mut case: Case, name: &str, agent: &str, ip: &str, wanted: bool) -> Case {
        if wanted {
            let fields = fields(json!({"zone": "b", "values": [ip]}));
            let resource = Resource { fields, of: Some(agent.to_owned()), ..Resource::default() };
            case.desired.resources.insert(at("p", name), resource);
        }
        let facts = [("agent".to_owned(), agent.to_owned())].into();
        let fields = fields(json!({"zone": "b", "values": [ip]}));
        case.state("p", name, State::Present(Actual { fields, facts, ..Actual::default() }))
    }

    fn machine(case: Case, name: &str, agents: &str, ip: &str) -> Case {
        let facts = [("ipv4".to_owned(), ip.to_owned())].into();
        let fields = fields(json!({"agents": agents}));
        case.state("p", &format!("server/{name}"), State::Present(Actual { fields, facts, ..Actual::default() }))
    }

    #[test]
    fn names_stay_with_a_machine_and_with_data_that_stay() {
        let case = machine(Case::default(), "x", "one", "192.0.2.1");
        let case = record(case, "dns/x.b:A", "x", "192.0.2.1", false);
        let case = record(case, "dns/other.b:A", "gone", "192.0.2.1", false);
        let mut case = record(case, "dns/free.b:A", "gone", "192.0.2.9", false);
        case.policy.guard_deletes = false;
        assert_eq!(
            case.words(),
            "delete dns/free.b:A\nheld delete dns/other.b:A waits\nheld delete server/x data\nheld delete dns/x.b:A waits"
        );
        let words = case.allows("x").allows("gone").words();
        let after = |one: &str, other: &str| words.find(one).expect("a step") > words.find(other).expect("a step");
        assert!(after("server/x", "dns/x.b:A") && after("server/x", "dns/other.b:A"), "{words}");
    }

    #[test]
    fn the_records_of_one_name_count_once_and_those_of_an_agent_that_may_go_do_not_count() {
        let mut case = Case::default();
        for name in ["a", "b"] {
            for kind in ["A", "AAAA"] {
                case = record(case, &format!("dns/{name}.b:{kind}"), name, "192.0.2.1", false);
            }
        }
        assert!(case.words().lines().all(|line| line.ends_with("delete-max")), "two names of two: {}", case.words());
        assert!(!case.allows("a").words().contains("delete-max"));
    }

    #[test]
    fn an_agent_does_not_start_empty_while_a_machine_it_may_have_been_on_is_not_in_the_fleet() {
        let case = Case::default().wants("q", "volume/a", json!({}));
        let shared = machine(case, "old", "several", "192.0.2.1");
        assert_eq!(shared.words(), "held create volume/a unknown\nheld delete server/old data");
        assert_eq!(shared.allows("a").words(), "create volume/a\nheld delete server/old data");
        let other = machine(Case::default().wants("q", "volume/a", json!({})), "old", "one", "192.0.2.1");
        assert_eq!(other.words(), "create volume/a\nheld delete server/old data", "that one was old's alone");
    }

    #[test]
    fn who_may_log_in_does_not_wait_for_a_machine_that_stands() {
        let mut case = on_cloud(Case::default())
            .wants("p", "server/x", json!({"replace": 1}))
            .has("p", "server/x", json!({}))
            .wants("h", "access/x", json!({"operators": {}}))
            .has("h", "access/x", json!({"operators": {"p": "P"}}));
        let needs = vec![at("p", "server/x")];
        case.desired.resources.entry(at("h", "access/x")).and_modify(|one| one.needs = needs);
        assert_eq!(case.words(), "replace access/x\nheld replace server/x data");
        case.policy.targets.insert("access/x".to_owned());
        assert_eq!(case.words(), "replace access/x");
    }

    #[test]
    fn a_machine_is_not_made_anew_while_something_on_it_could_not_be_put_back() {
        let mut case = on_cloud(Case::default())
            .wants("p", "server/x", json!({"replace": 1}))
            .has("p", "server/x", json!({}))
            .allows("x");
        let error = SecretError { reason: "no identity".to_owned(), help: String::new() };
        case.unresolved.insert(at("h", "volume/a"), error);
        assert_eq!(case.words(), "held create volume/a secret\nheld replace server/x waits\nheld create host/x waits");
    }

    #[test]
    fn a_machine_does_not_move_to_a_rule_set_that_would_not_let_us_in() {
        let mut case = on_cloud(Case::default())
            .wants("p", "server/x", json!({"firewall": "narrow"}))
            .has("p", "server/x", json!({"firewall": "ssh"}))
            .wants("p", "firewall/narrow", json!({"from": ["203.0.113.0/24"]}))
            .has("p", "firewall/narrow", json!({"from": ["203.0.113.0/24"]}))
            .allows("x");
        case.reports.entry("h".to_owned()).or_default().facts =
            [("seen_from".to_owned(), "198.51.100.7".to_owned())].into();
        assert!(case.words().contains("server/x lock-out"), "{}", case.words());
    }
}
