//! A plan as one comment on a pull request: what is risky in the open, the rest folded, always short enough for GitHub. Names and
//! values are somebody else's text: they only ever stand in code, where nothing is a link, a mention or the end of something.

use std::collections::BTreeMap;
use std::fmt::Write;

use claw_core::desired::Desired;
use claw_core::mask::Known;
use claw_core::name::Address;
use claw_core::plan::{Action, Effect, Held, Plan, Reason, Step};
use claw_core::text::clean;
use claw_core::value::{Change, Value};

use super::plan::{Detail, Group, cost, explain, group_of, note, show, sum, waves};

/// The longest comment, in bytes: GitHub takes 65,536 characters, and a bot may want to add its own.
pub const BYTES_MAX: usize = 60_000;
/// How much of it what is risky may take.
const RISKY_BYTES_MAX: usize = 30_000;
/// The longest name or value, in letters.
const LETTERS_MAX: usize = 160;
/// How many fields of a risky change are shown.
const REASONS_MAX: usize = 8;
/// Left for what is said at the end.
const TAIL_BYTES: usize = 400;

/// Returns the comment. Its first line is a mark by which a bot finds it again, and changes it in place.
pub fn draw(plan: &Plan, desired: &Desired, known: &Known) -> String {
    let writer = Writer { desired, known };
    let mut text = format!("{}\n### claw plan\n\n**{}**", marker(&plan.fleet), sum(plan));
    for line in cost(plan).into_iter().chain((!waves(plan).is_empty()).then(|| writer.rollout(plan))) {
        let _ = write!(text, "  \n{line}");
    }
    text.push_str("\n\n");
    let risky = writer.risky(plan);
    let shown = append(&mut text, &risky, RISKY_BYTES_MAX);
    if shown < risky.len() {
        let _ = writeln!(text, "- … and {} more like these that do not fit here", risky.len() - shown);
    }
    if !risky.is_empty() {
        text.push('\n');
    }
    let mut groups: BTreeMap<Group<'_>, Vec<&Step>> = BTreeMap::new();
    for step in plan.steps.iter().filter(|step| risk(step).is_none()) {
        groups.entry(group_of(desired, step)).or_default().push(step);
    }
    let mut left_out = 0;
    for (group, steps) in groups {
        let room = BYTES_MAX.saturating_sub(text.len() + TAIL_BYTES);
        let whole = writer.folded(&group, &steps, true);
        let brief = if whole.len() > room { writer.folded(&group, &steps, false) } else { whole };
        if brief.len() > room {
            left_out += steps.len();
        } else {
            text.push_str(&brief);
        }
    }
    if left_out > 0 {
        let _ = writeln!(
            text,
            "**{left_out} of {} changes do not fit into a comment and are left out.** `claw plan` shows all of them.",
            plan.steps.len()
        );
    }
    text.trim_end().to_owned()
}

/// Returns the mark of a fleet's comment. Whatever the id, it stays one HTML comment.
pub fn marker(fleet: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { '-' };
    let id: String = fleet.chars().map(plain).take(100).collect();
    let id = id.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    format!("<!-- claw:plan:{id} -->")
}

/// Adds lines as long as they fit; returns how many did.
fn append(text: &mut String, lines: &[String], bytes_max: usize) -> usize {
    let until = text.len() + bytes_max;
    let fitting = lines.iter().take_while(|line| {
        let fits = text.len() + line.len() < until;
        if fits {
            text.push_str(line);
        }
        fits
    });
    fitting.count()
}

/// Returns why a step wants to be looked at, worst first; `None` for what can wait in a fold.
fn risk(step: &Step) -> Option<(u8, &'static str)> {
    let holds_data = step.address.id.kind.holds_data();
    match (&step.action, step.effect) {
        (Action::Delete { .. }, _) => Some((if holds_data { 0 } else { 2 }, "delete")),
        (Action::Replace { .. }, _) => Some((if holds_data { 0 } else { 2 }, "replace")),
        (Action::Update { .. }, _) if holds_data => Some((1, "update")),
        (_, Effect::Reboot) => Some((1, "reboot")),
        _ => None,
    }
}

struct Writer<'a> {
    desired: &'a Desired,
    known: &'a Known,
}

impl Writer<'_> {
    /// Returns a line for everything that wants to be looked at.
    fn risky(&self, plan: &Plan) -> Vec<String> {
        let mut lines = Vec::new();
        for (place, why) in &plan.unseen {
            lines.push(format!("- ⚠️ **not seen** {}: {}\n", self.code(place), self.code(why)));
        }
        let mut steps: Vec<(u8, &str, &Step)> =
            plan.steps.iter().filter_map(|step| risk(step).map(|(rank, word)| (rank, word, step))).collect();
        steps.sort_by_key(|(rank, ..)| *rank);
        for (_, word, step) in steps {
            let note = note(step, Detail::Short);
            let note = if note.is_empty() { String::new() } else { format!(": {}", self.code(&note)) };
            let sign =
                if matches!(step.action, Action::Delete { .. } | Action::Replace { .. }) { "🔴" } else { "🟠" };
            let changes = self.reasons(step);
            lines.push(format!("- {sign} **{word}** {}{note}\n{changes}", self.name(&step.address)));
        }
        lines.extend(self.held(plan));
        lines
    }

    /// Returns a line for each field that changes, as far as there are few.
    fn reasons(&self, step: &Step) -> String {
        let changes = step.action.changes();
        let line = |change: &Change| {
            let side = |value: &Option<Value>| value.as_ref().map_or_else(|| "(not set)".to_owned(), show_value);
            let path = self.code(&change.path);
            match (&change.before, &change.after) {
                (Some(Value::Secret(_)), Some(Value::Secret(_))) => format!("  - {path}: changed\n"),
                (before, after) => {
                    format!("  - {path}: {} → {}\n", self.code(&side(before)), self.code(&side(after)))
                }
            }
        };
        let mut text: String = changes.iter().take(REASONS_MAX).map(line).collect();
        if changes.len() > REASONS_MAX {
            let _ = writeln!(text, "  - … and {} more fields", changes.len() - REASONS_MAX);
        }
        text
    }

    /// Returns a line for each reason of an agent, host or name; what only waits is counted.
    fn held(&self, plan: &Plan) -> Vec<String> {
        let mut groups: BTreeMap<(&str, &str, &Reason, &str), Vec<&Held>> = BTreeMap::new();
        let waits = |held: &&Held| matches!(held.reason, Reason::Waits { .. });
        let unseen = |held: &&Held| {
            matches!(held.reason, Reason::Unknown { .. }) && plan.unseen.contains_key(&held.address.place)
        };
        for held in plan.held.iter().filter(|held| !waits(held) && !unseen(held)) {
            let key = (held.address.id.name.as_str(), held.address.place.as_str(), &held.reason, held.would);
            groups.entry(key).or_default().push(held);
        }
        let mut lines: Vec<String> = groups
            .into_iter()
            .map(|((_, place, reason, would), those)| {
                let names: Vec<String> = those.iter().map(|held| self.code(&held.address.to_string())).collect();
                let (why, help) = explain(reason, would, &those[0].address);
                let help = if help.is_empty() { String::new() } else { format!(" – {}", self.code(&help)) };
                let names = names.join(", ");
                format!("- 🟡 **held**: {would} {names} on {}: {}{help}\n", self.code(place), self.code(&why))
            })
            .collect();
        let rest = plan.held.iter().filter(|held| waits(held)).count();
        if rest > 0 {
            lines.push(format!("- 🟡 **held**: {rest} more, waiting for those above\n"));
        }
        let hidden = plan.held.iter().filter(unseen).count();
        if hidden > 0 {
            lines.push(format!("- 🟡 **held**: {hidden} more at places that could not be seen\n"));
        }
        lines
    }

    /// Returns one agent's, host's or name's changes, folded.
    fn folded(&self, group: &Group<'_>, steps: &[&Step], with_fields: bool) -> String {
        let mut lines = String::new();
        for step in steps {
            let sign = if let Action::Create { .. } = step.action { '+' } else { '!' };
            let note = note(step, Detail::Short);
            let note = if note.is_empty() { note } else { format!("  ({note})") };
            let _ = writeln!(lines, "{sign} {}", self.text(&format!("{}{note}", step.address)));
            for change in step.action.changes().iter().filter(|_| with_fields) {
                let path = self.text(&change.path);
                if let (Some(Value::Secret(_)), Some(Value::Secret(_))) = (&change.before, &change.after) {
                    let _ = writeln!(lines, "!     {path}: changed");
                    continue;
                }
                for (sign, side) in [('-', &change.before), ('+', &change.after)] {
                    if let Some(value) = side {
                        let _ = writeln!(lines, "{sign}     {path}: {}", self.text(&show_value(value)));
                    }
                }
            }
        }
        let noun = if steps.len() == 1 { "change" } else { "changes" };
        let head = format!("{}: {} {noun}", self.title(group), steps.len());
        let fence = "`".repeat(longest_run(&lines).max(2) + 1);
        format!("<details><summary>{head}</summary>\n\n{fence}diff\n{lines}{fence}\n\n</details>\n\n")
    }

    fn title(&self, group: &Group<'_>) -> String {
        match group {
            Group::Account(place) => format!("{}, for all its machines", self.html(place)),
            Group::Zone(zone) => format!("names in {}", self.html(zone)),
            Group::Named { id, place } => {
                let agent = self.desired.agents.get(*id).map(|card| &card.name);
                let name = agent.or_else(|| self.desired.hosts.get(*id).map(|card| &card.name));
                let name = name.map_or(*id, String::as_str);
                let on = if name == *place { String::new() } else { format!(" on {}", self.html(place)) };
                format!("{}{on}", self.html(name))
            }
        }
    }

    fn name(&self, address: &Address) -> String {
        format!("{} on {}", self.code(&address.to_string()), self.code(&address.place))
    }

    fn rollout(&self, plan: &Plan) -> String {
        format!("Rollout: {}", self.code(waves(plan).trim().trim_start_matches("Rollout: ")))
    }

    /// Returns text in one line, without secrets: masked before it is cut or wrapped, as a value cut in two is not recognised.
    fn text(&self, text: &str) -> String {
        clean(&self.known.mask(text), LETTERS_MAX * 2)
    }

    /// Returns text as inline code: with one more backtick around than there are in it, nothing in it means anything.
    fn code(&self, text: &str) -> String {
        let text = self.text(text);
        let fence = "`".repeat(longest_run(&text) + 1);
        let pad = if text.is_empty() || text.starts_with('`') || text.ends_with('`') { " " } else { "" };
        format!("{fence}{pad}{text}{pad}{fence}")
    }

    /// Returns text as code within HTML, where markdown has no say.
    fn html(&self, text: &str) -> String {
        let escaped = self.text(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        format!("<code>{escaped}</code>")
    }
}

fn show_value(value: &Value) -> String {
    clean(&show(value), LETTERS_MAX)
}

/// Returns how many backticks stand together at most.
fn longest_run(text: &str) -> usize {
    text.split(|letter| letter != '`').map(str::len).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use claw_core::name::{Kind, ResourceId};
    use claw_core::value::Fields;

    use super::*;

    const HOSTILE: &str =
        "a```\n</details>\n| x | [link](http://e.example) @team `|` ``<script> https://e.example #1\u{202e}";

    fn step(kind: Kind, name: &str, action: Action) -> Step {
        let address = Address { id: ResourceId::new(kind, name), place: "p".to_owned() };
        Step { address, action, effect: Effect::None, needs: Vec::new(), wave: None, cost: None }
    }

    fn update(value: &str) -> Action {
        let changes = vec![Change { path: value.to_owned(), before: None, after: Some(value.into()) }];
        Action::Update { before: Fields::new(), after: Fields::new(), changes }
    }

    fn drawn(steps: Vec<Step>, held: Vec<Held>) -> String {
        let plan = Plan { fleet: "f".to_owned(), steps, held, ..Plan::default() };
        draw(&plan, &Desired::default(), &Known::default())
    }

    /// Returns the text with all code taken out, as a reader of markdown finds it.
    fn outside_code(text: &str) -> String {
        let mut out = String::new();
        let mut fence: Option<usize> = None;
        for line in text.lines() {
            let ticks = line.len() - line.trim_start_matches('`').len();
            match fence {
                Some(open) if ticks >= open && line.trim_matches('`').is_empty() => fence = None,
                Some(_) => {}
                None if ticks >= 3 => fence = Some(ticks),
                // a block of HTML: backticks mean nothing there
                None if line.starts_with("<details>") => out.push_str(line),
                None => {
                    let mut rest = line;
                    while let Some(at) = rest.find('`') {
                        out.push_str(&rest[..at]);
                        let run = rest[at..].len() - rest[at..].trim_start_matches('`').len();
                        let inner = &rest[at + run..];
                        let ends = inner
                            .match_indices(&"`".repeat(run))
                            .map(|(end, _)| end)
                            .find(|end| !inner[end + run..].starts_with('`') && !inner[..*end].ends_with('`'));
                        rest = &inner[ends.expect("code ends in its line") + run..];
                    }
                    out.push_str(rest);
                    out.push('\n');
                }
            }
        }
        assert_eq!(fence, None, "a block of code does not end");
        out
    }

    #[test]
    fn names_and_values_never_leave_their_code() {
        let delete = Action::Delete { before: Fields::new() };
        let reason = Reason::Unknown { why: HOSTILE.to_owned() };
        let address = Address { id: ResourceId::new(Kind::Config, HOSTILE), place: HOSTILE.to_owned() };
        let held = Held { address, would: "update", reason };
        let steps = vec![
            step(Kind::Volume, HOSTILE, delete),
            step(Kind::Volume, HOSTILE, update(HOSTILE)),
            step(Kind::Config, HOSTILE, update(HOSTILE)),
        ];
        let text = drawn(steps, vec![held]);
        let outside = outside_code(&text);
        let parts = outside.split("<code>").map(|part| part.split_once("</code>").map_or(part, |(_, rest)| rest));
        let outside = parts.collect::<Vec<_>>().join("");
        for word in ["http", "@team", "|", "[", "script", "#1", "\u{202e}"] {
            assert!(!outside.contains(word), "`{word}` is outside of code:\n{outside}");
        }
        assert_eq!(outside.matches("</details>").count(), outside.matches("<details>").count());
        assert_eq!(outside.matches("<details>").count(), 1);
    }

    #[test]
    fn ten_thousand_changes_fit_and_what_is_left_out_is_counted() {
        let steps: Vec<Step> = (0..10_000)
            .map(|number| match number % 5 {
                0 if number % 10 == 0 => {
                    let Action::Update { before, after, changes } = update(HOSTILE) else { unreachable!() };
                    step(Kind::Server, &format!("agent-{number:05}"), Action::Replace { before, after, changes })
                }
                0 => step(Kind::Volume, &format!("agent-{number:05}"), Action::Delete { before: Fields::new() }),
                _ => step(Kind::Config, &format!("agent-{number:05}"), update(&"long ".repeat(100))),
            })
            .collect();
        let text = drawn(steps, Vec::new());
        assert!(text.len() <= BYTES_MAX, "{} bytes", text.len());
        let number = |after: &str, before: &str| -> usize {
            let head = text.split(before).next().expect("a head");
            let digits = head.rsplit(after).next().expect("a number");
            digits.parse().unwrap_or_else(|_| panic!("`{digits}` is no number"))
        };
        let risky = number("… and ", " more like these");
        let quiet = number("**", " of 10000 changes do not fit");
        let shown = text.matches("- 🔴 **").count();
        assert_eq!(risky + shown, 2_000, "every delete and replace is shown or counted");
        assert_eq!(quiet + text.matches("<details>").count(), 8_000, "and so is every other change");
    }

    #[test]
    fn the_mark_is_one_comment_whatever_the_id() {
        assert_eq!(marker("wb2gv7"), "<!-- claw:plan:wb2gv7 -->");
        assert_eq!(marker("a--><b>\n"), "<!-- claw:plan:a-b -->");
    }

    #[test]
    fn a_known_value_is_masked_before_it_is_cut() {
        let known = Known::default();
        let secret = "s3cret`value".repeat(20);
        known.add("default/KEY", &secret);
        let plan = Plan { steps: vec![step(Kind::Config, "a", update(&secret))], ..Plan::default() };
        let text = draw(&plan, &Desired::default(), &known);
        assert!(!text.contains("s3cret"), "{text}");
        assert!(text.contains("(default/KEY)"), "{text}");
    }
}
