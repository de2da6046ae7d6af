//! What GitHub Actions shows beside a change: annotations on lines of the fleet file, and outputs for later steps.

use std::collections::BTreeMap;

use claw_core::desired::Desired;
use claw_core::fleet::{Fleet, SourceFile};
use claw_core::mask::Known;
use claw_core::name::Address;
use claw_core::plan::{Plan, Reason};
use claw_core::problem::{Location, Problem, Severity, line_column};
use claw_core::text::clean;

use super::plan::{explain, sum};

/// How many annotations of a sort GitHub shows for a step.
const SHOWN_MAX: usize = 10;
/// The longest message, in letters.
const LETTERS_MAX: usize = 1_000;

/// Returns a line for each problem in the files, errors first, and how many more there are.
pub fn problems(problems: &[Problem], sources: &[SourceFile], known: &Known) -> String {
    let mut lines = Vec::new();
    for (severity, level) in [(Severity::Error, "error"), (Severity::Warning, "warning")] {
        let those = problems.iter().filter(|problem| problem.severity == severity);
        let those = those.map(|problem| {
            let help = problem.help.as_ref().map(|help| format!(" – {help}")).unwrap_or_default();
            let message = format!("{}{help}", problem.message);
            Note { level, at: problem.at.as_ref(), title: format!("claw: {}", problem.code), message }
        });
        lines.extend(limited(those.collect(), level, sources, known));
    }
    lines.join("\n")
}

/// Returns a warning for each agent, host or name of which something is held or goes, at its table where it has one.
pub fn plan(plan: &Plan, desired: &Desired, fleet: &Fleet, sources: &[SourceFile], known: &Known) -> String {
    let mut held: BTreeMap<(&str, &Reason, &str), Vec<&Address>> = BTreeMap::new();
    for one in plan.held.iter().filter(|one| !matches!(one.reason, Reason::Waits { .. })) {
        held.entry((&one.address.id.name, &one.reason, one.would)).or_default().push(&one.address);
    }
    let held = held.into_iter().map(|((name, reason, would), those)| {
        let (why, help) = explain(reason, would, those[0]);
        let message = format!("{would} {}: {why} – {help}", names(&those));
        (name, "claw: held", message)
    });
    let mut gone: BTreeMap<&str, Vec<&Address>> = BTreeMap::new();
    for step in plan.steps.iter().filter(|step| step.action.is_delete()) {
        gone.entry(&step.address.id.name).or_default().push(&step.address);
    }
    let gone = gone.into_iter().map(|(name, those)| (name, "claw: delete", format!("apply deletes {}", names(&those))));
    let unseen =
        plan.unseen.iter().map(|(place, why)| ("", "claw: not seen", format!("{place} could not be seen: {why}")));
    let all: Vec<_> = unseen.chain(held).chain(gone).collect();
    let places: Vec<Option<Location>> = all.iter().map(|(name, ..)| table(name, desired, fleet)).collect();
    let notes = all.into_iter().zip(&places);
    let notes = notes.map(|((_, title, message), at)| Note {
        level: "warning",
        at: at.as_ref(),
        title: title.to_owned(),
        message,
    });
    limited(notes.collect(), "warning", sources, known).join("\n")
}

/// Returns what later steps of a job can read: `name<<END`, lines, `END`. Nobody can guess `end`, so no value can end early and
/// set outputs of its own.
pub fn outputs(plan: &Plan, exit: u8, digest: &str, end: &str, known: &Known) -> String {
    let values = [
        ("exitcode", exit.to_string()),
        ("changes", plan.steps.len().to_string()),
        ("held", plan.held.len().to_string()),
        ("digest", digest.to_owned()),
        ("summary", known.mask(&sum(plan)).into_owned()),
    ];
    values.map(|(name, value)| format!("{name}<<{end}\n{value}\n{end}\n")).concat()
}

/// One annotation.
struct Note<'a> {
    level: &'static str,
    at: Option<&'a Location>,
    title: String,
    message: String,
}

fn limited(notes: Vec<Note<'_>>, level: &str, sources: &[SourceFile], known: &Known) -> Vec<String> {
    // the last one says how many there are in all
    let shown = if notes.len() > SHOWN_MAX { SHOWN_MAX - 1 } else { notes.len() };
    let mut lines: Vec<String> = notes.iter().take(shown).map(|note| draw(note, sources, known)).collect();
    if notes.len() > shown {
        lines.push(format!("::{level} title=claw::and {} more: claw prints them all", notes.len() - shown));
    }
    lines
}

fn draw(note: &Note<'_>, sources: &[SourceFile], known: &Known) -> String {
    let mut properties = Vec::new();
    if let Some(at) = note.at {
        properties.push(format!("file={}", property(&at.file, known)));
        if let Some(source) = sources.iter().find(|source| source.path == at.file && at.end > 0) {
            let (line, column) = line_column(&source.text, at.start);
            properties.push(format!("line={line},col={column}"));
        }
    }
    properties.push(format!("title={}", property(&note.title, known)));
    format!("::{} {}::{}", note.level, properties.join(","), data(&note.message, known))
}

/// Returns where the table of an agent, host or record is.
fn table(id: &str, desired: &Desired, fleet: &Fleet) -> Option<Location> {
    let agent = desired.agents.get(id).and_then(|card| fleet.tree.key(&["agents", &card.name]));
    let host = || desired.hosts.get(id).and_then(|card| fleet.tree.key(&["hosts", &card.name]));
    agent.or_else(host)
}

fn names(addresses: &[&Address]) -> String {
    let shown: Vec<String> = addresses.iter().take(8).map(ToString::to_string).collect();
    let more = if addresses.len() > 8 { format!(" and {} more", addresses.len() - 8) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// Escapes a message: masked first, because what is escaped is not recognised any more.
fn data(text: &str, known: &Known) -> String {
    clean(&known.mask(text), LETTERS_MAX).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str, known: &Known) -> String {
    data(text, known).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use claw_core::plan::{Action, Effect, Held, Step};
    use claw_core::value::Fields;

    use super::*;

    #[test]
    fn problems_stand_at_their_lines_and_stay_one_command_each() {
        let source = SourceFile { path: "a,b:c%.toml".to_owned(), text: "one\ntwo\n".to_owned() };
        let at = Location { file: source.path.clone(), start: 5, end: 7 };
        let known = Known::default();
        known.add("default/KEY", "100%secret");
        let problem = Problem::error("odd", "50% 100%secret\n::error::no").at(at).help("mend it");
        let text = problems(&[problem], &[source], &known);
        insta::assert_snapshot!(text, @"::error file=a%2Cb%3Ac%25.toml,line=2,col=2,title=claw%3A odd::50%25 (default/KEY) ::error::no – mend it");
    }

    #[test]
    fn ten_annotations_of_a_sort_and_the_last_counts_the_rest() {
        let all: Vec<Problem> = (0..30).map(|number| Problem::warning("w", format!("number {number}"))).collect();
        let text = problems(&all, &[], &Known::default());
        assert_eq!(text.lines().count(), 10);
        assert!(text.ends_with("and 21 more: claw prints them all"), "{text}");
    }

    #[test]
    fn what_is_held_or_goes_is_said_once_for_each_agent() {
        let text = "[fleet]\nname = \"n\"\nid = \"f\"\n[providers.docker]\n[agents.pete]\non = \"docker\"\n";
        let source = SourceFile { path: "fleet.toml".to_owned(), text: text.to_owned() };
        let (fleet, _) = claw_core::fleet::load(std::slice::from_ref(&source));
        let mut desired = Desired::default();
        let card = claw_core::desired::AgentCard { name: "pete".to_owned(), ..Default::default() };
        desired.agents.insert("pete".to_owned(), card);
        let address = |id: &str| Address { id: id.parse().expect("a resource"), place: "docker".to_owned() };
        let held = |id: &str| {
            let reason = Reason::Data { name: "pete".to_owned() };
            Held { address: address(id), would: "delete", reason }
        };
        let gone = Step {
            address: address("volume/old"),
            action: Action::Delete { before: Fields::new() },
            effect: Effect::None,
            needs: Vec::new(),
            wave: None,
            cost: None,
        };
        let found = Plan { steps: vec![gone], held: vec![held("volume/pete"), held("anchor/pete")], ..Plan::default() };
        let fleet = fleet.expect("a fleet");
        insta::assert_snapshot!(super::plan(&found, &desired, &fleet, &[source], &Known::default()), @r#"
        ::warning file=fleet.toml,line=5,col=9,title=claw%3A held::delete volume/pete, anchor/pete: held, its data would be lost – to keep it, keep [agents.pete]; if it was renamed, set id = "pete" in its new table; to lose it, add --allow-destroy pete
        ::warning title=claw%3A delete::apply deletes volume/old
        "#);
    }

    #[test]
    fn outputs_end_where_nobody_can_guess() {
        let text = outputs(&Plan::default(), 0, "sha256:00", "end_of_it", &Known::default());
        insta::assert_snapshot!(text, @r#"
        exitcode<<end_of_it
        0
        end_of_it
        changes<<end_of_it
        0
        end_of_it
        held<<end_of_it
        0
        end_of_it
        digest<<end_of_it
        sha256:00
        end_of_it
        summary<<end_of_it
        Nothing to do: 0 resources are as the fleet says.
        end_of_it
        "#);
    }
}
