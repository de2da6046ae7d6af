//! A drift report for Prometheus, as node-exporter's textfile collector reads it. Names no resource: the number of series depends on
//! the fleet's places and kinds, never on what a run found.

use std::collections::BTreeMap;
use std::fmt::Write;

use claw_core::desired::Desired;
use claw_core::mask::Known;
use claw_core::name::{Address, Kind, ResourceId};
use claw_core::observed::{Observed, Owner, Seen};
use claw_core::plan::Plan;
use claw_core::value::Value;

use super::findings::{Category, Finding};

/// Everything an agent's status can be here: engines say more, and in their own words.
const STATUSES: [&str; 7] = ["healthy", "starting", "unhealthy", "stopped", "missing", "foreign", "unknown"];

/// What is reported on.
pub struct Report<'a> {
    /// What was planned.
    pub plan: &'a Plan,
    /// What the fleet asks for.
    pub desired: &'a Desired,
    /// What was seen.
    pub observed: &'a Observed,
    /// What drifted.
    pub findings: &'a [Finding],
    /// How many things are somebody's own.
    pub unmanaged: usize,
    /// The seconds since 1970.
    pub now_s: i64,
}

/// Returns the report.
pub fn draw(report: &Report<'_>, known: &Known) -> String {
    let label = |text: &str| escape(text, known);
    let fleet = label(&report.plan.fleet);
    let mut text = String::new();
    head(&mut text, "claw_drift", "Resources that are not as the fleet says; what has not drifted has no series.");
    let mut found: BTreeMap<(&str, Category, &str), usize> = BTreeMap::new();
    for one in report.findings {
        *found.entry((one.kind, one.category, &one.place)).or_default() += 1;
    }
    for ((kind, category, place), count) in found {
        let labels = format!("kind=\"{kind}\",category=\"{}\",place=\"{}\"", category.word(), label(place));
        let _ = writeln!(text, "claw_drift{{fleet=\"{fleet}\",{labels}}} {count}");
    }
    head(&mut text, "claw_resources", "Resources by what drift says of them; always a series for each.");
    let _ =
        writeln!(text, "claw_resources{{fleet=\"{fleet}\",category=\"unchanged\"}} {}", report.plan.unchanged.len());
    for category in Category::ALL {
        let count = report.findings.iter().filter(|one| one.category == category).count();
        let count = if category == Category::Unmanaged { report.unmanaged } else { count };
        let _ = writeln!(text, "claw_resources{{fleet=\"{fleet}\",category=\"{}\"}} {count}", category.word());
    }
    head(&mut text, "claw_places_unseen", "Places that could not be read whole.");
    let _ = writeln!(text, "claw_places_unseen{{fleet=\"{fleet}\"}} {}", report.plan.unseen.len());
    head(&mut text, "claw_agents", "Agents of the fleet by status.");
    let agents = statuses(report.desired, report.observed);
    for status in STATUSES {
        let count = agents.get(status).copied().unwrap_or_default();
        let _ = writeln!(text, "claw_agents{{fleet=\"{fleet}\",status=\"{status}\"}} {count}");
    }
    head(&mut text, "claw_drift_last_run_timestamp_seconds", "When drift last looked: alert when this gets old.");
    let _ = write!(text, "claw_drift_last_run_timestamp_seconds{{fleet=\"{fleet}\"}} {}", report.now_s);
    text
}

fn head(text: &mut String, name: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
}

fn statuses(desired: &Desired, observed: &Observed) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for (id, card) in &desired.agents {
        let address = Address { id: ResourceId::new(Kind::Container, id.clone()), place: card.place.clone() };
        let status = match observed.seen(&address) {
            Seen::Absent => "missing",
            Seen::Unknown(_) => "unknown",
            Seen::Present(actual) if actual.owner == Owner::Foreign => "foreign",
            Seen::Present(actual) => status(actual.fields.get("status").and_then(Value::as_text)),
        };
        *counts.entry(status).or_default() += 1;
    }
    counts
}

/// Returns one of the few words for what an engine says.
fn status(text: Option<&str>) -> &'static str {
    match text.unwrap_or_default() {
        "healthy" => "healthy",
        text if text.starts_with("starting") => "starting",
        text if text.starts_with("stopped") || text.is_empty() => "stopped",
        _ => "unhealthy",
    }
}

/// Returns text that is fit for a label's value, without secrets.
fn escape(text: &str, known: &Known) -> String {
    let masked = claw_core::text::clean(&known.mask(text), 200);
    masked.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_no_resource_and_keeps_hostile_labels_in() {
        let finding = |resource: &str| Finding {
            category: Category::Changed,
            resource: resource.to_owned(),
            kind: "dns",
            place: "a\"} 1\nclaw_evil{x=\"\\".to_owned(),
            detail: "secret detail".to_owned(),
        };
        let report = Report {
            plan: &Plan { fleet: "f".to_owned(), ..Plan::default() },
            desired: &Desired::default(),
            observed: &Observed::default(),
            findings: &[finding("dns/one"), finding("dns/two")],
            unmanaged: 3,
            now_s: 1_700_000_000,
        };
        insta::assert_snapshot!(draw(&report, &Known::default()), @r#"
        # HELP claw_drift Resources that are not as the fleet says; what has not drifted has no series.
        # TYPE claw_drift gauge
        claw_drift{fleet="f",kind="dns",category="changed",place="a\"} 1 claw_evil{x=\"\\"} 2
        # HELP claw_resources Resources by what drift says of them; always a series for each.
        # TYPE claw_resources gauge
        claw_resources{fleet="f",category="unchanged"} 0
        claw_resources{fleet="f",category="changed"} 2
        claw_resources{fleet="f",category="missing"} 0
        claw_resources{fleet="f",category="orphan"} 0
        claw_resources{fleet="f",category="foreign"} 0
        claw_resources{fleet="f",category="unmanaged"} 3
        claw_resources{fleet="f",category="unknown"} 0
        # HELP claw_places_unseen Places that could not be read whole.
        # TYPE claw_places_unseen gauge
        claw_places_unseen{fleet="f"} 0
        # HELP claw_agents Agents of the fleet by status.
        # TYPE claw_agents gauge
        claw_agents{fleet="f",status="healthy"} 0
        claw_agents{fleet="f",status="starting"} 0
        claw_agents{fleet="f",status="unhealthy"} 0
        claw_agents{fleet="f",status="stopped"} 0
        claw_agents{fleet="f",status="missing"} 0
        claw_agents{fleet="f",status="foreign"} 0
        claw_agents{fleet="f",status="unknown"} 0
        # HELP claw_drift_last_run_timestamp_seconds When drift last looked: alert when this gets old.
        # TYPE claw_drift_last_run_timestamp_seconds gauge
        claw_drift_last_run_timestamp_seconds{fleet="f"} 1700000000
        "#);
    }

    #[test]
    fn an_engines_own_words_become_few() {
        let said = [
            (Some("healthy"), "healthy"),
            (Some("starting, 3 s"), "starting"),
            (Some("stopped, exit 137"), "stopped"),
            (None, "stopped"),
            (Some("ready but no key"), "unhealthy"),
        ];
        for (text, word) in said {
            assert_eq!(status(text), word);
            assert!(STATUSES.contains(&word));
        }
    }
}
