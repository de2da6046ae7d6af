//! What a plan says has drifted, in six categories: what `claw drift` shows, in whatever form.

use claw_core::observed::Observed;
use claw_core::plan::{Action, Plan, Reason};
use claw_core::provider::access::UNMANAGED;
use claw_core::value::{Change, Value};

use super::plan::{explain, show};

/// How something is not as it shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// It is there and differs.
    Changed,
    /// It shall be there and is not.
    Missing,
    /// It is ours and in the fleet no more.
    Orphan,
    /// Something without our mark stands in its place.
    Foreign,
    /// It is somebody's own, beside what is ours: no alarm.
    Unmanaged,
    /// It could not be seen.
    Unknown,
}

impl Category {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Changed, Self::Missing, Self::Orphan, Self::Foreign, Self::Unmanaged, Self::Unknown];

    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Orphan => "orphan",
            Self::Foreign => "foreign",
            Self::Unmanaged => "unmanaged",
            Self::Unknown => "unknown",
        }
    }
}

/// One thing that is not as it shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How.
    pub category: Category,
    /// What: `container/pete`.
    pub resource: String,
    /// Of which kind: `container`.
    pub kind: &'static str,
    /// Where.
    pub place: String,
    /// More about it.
    pub detail: String,
}

/// Returns what drifted, in the plan's order.
pub fn findings(plan: &Plan) -> Vec<Finding> {
    let done = plan.steps.iter().map(|step| {
        let (category, detail) = match &step.action {
            Action::Create { .. } => (Category::Missing, String::new()),
            Action::Delete { .. } => (Category::Orphan, "not in the fleet".to_owned()),
            Action::Update { changes, .. } | Action::Replace { changes, .. } => {
                let fields: Vec<_> = changes.iter().map(describe).collect();
                (Category::Changed, fields.join("; "))
            }
        };
        (&step.address, category, detail)
    });
    let held = plan.held.iter().map(|held| {
        let category = match (&held.reason, held.would) {
            (Reason::Unknown { .. }, _) => Category::Unknown,
            (Reason::Foreign, _) => Category::Foreign,
            (_, "create") => Category::Missing,
            (_, "delete") => Category::Orphan,
            _ => Category::Changed,
        };
        (&held.address, category, explain(&held.reason, held.would, &held.address).0)
    });
    let all = done.chain(held).map(|(address, category, detail)| Finding {
        category,
        resource: address.to_string(),
        kind: address.id.kind.word(),
        place: address.place.clone(),
        detail,
    });
    all.collect()
}

/// Returns the login keys that claw did not put on a host, each with its place.
pub fn unmanaged(observed: &Observed) -> Vec<(&str, &str)> {
    let lists = observed.facts.iter().filter_map(|(place, facts)| Some((place, facts.get(UNMANAGED)?)));
    lists.flat_map(|(place, list)| list.lines().map(move |key| (place.as_str(), key))).collect()
}

fn describe(change: &Change) -> String {
    let side = |value: &Option<Value>| value.as_ref().map_or_else(|| "(not set)".to_owned(), show);
    format!("{}: is {}, shall be {}", change.path, side(&change.before), side(&change.after))
}
