//! A plan as one comment on a pull request: what is risky in the open, the rest folded, always short enough for GitHub. Names and
//! values are somebody else's text: they only ever stand in code, where nothing is a link, a mention or the end of something.

use std::collections::BTreeMap;
use std::fmt::Write;

use claw_core::desired::Desired;
use claw_core::mask::Known;
use claw_core::name::Address;
use claw_core::plan::{Action, Effect, Held, Plan, Reason, Step};
use claw_core::text::clean;
use claw_core::value::Value;

use super::plan::{Detail, cost, explain, note, show, sum, waves};

/// The longest comment, in bytes: GitHub takes 65,536 characters, and a bot may want to add its own.
pub const BYTES_MAX: usize = 60_000;
/// How much of it what is risky may take.
const RISKY_BYTES_MAX: usize = 30_000;
/// The longest name or value, in letters.
const LETTERS_MAX: usize = 160;
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
    let quiet: Vec<&Step> = plan.steps.iter().filter(|step| risk(step).is_none()).collect();
    let mut groups: BTreeMap<(&str, &str), Vec<&Step>> = BTreeMap::new();
    for step in &quiet {
        groups.entry((&step.address.id.name, &step.address.place)).or_default().push(step);
    }
    let mut left_out = 0;
    for ((name, place), steps) in groups {
        let room = BYTES_MAX.saturating_sub(text.len() + TAIL_BYTES);
        let whole = writer.folded(name, place, &steps, true);
        let brief = if whole.len() > room { writer.folded(name, place, &steps, false) } else { whole };
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
            lines.push(format!("- 🔴 **{word}** {}{note}\n", self.name(&step.address)));
            let changes = step.action.changes();
            if !changes.is_empty() {
                let paths: Vec<String> = changes.iter().map(|change| self.code(&change.path)).take(8).collect();
                let more = if changes.len() > 8 { ", …" } else { "" };
                lines.push(format!("  - because of {}{more}\n", paths.join(", ")));
            }
        }
        lines.extend(self.held(plan));
        lines
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
    fn folded(&self, name: &str, place: &str, steps: &[&Step], with_fields: bool) -> String {
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
        let title = self.desired.agents.get(name).map_or(name, |card| &card.name);
        let head = format!("{} on {}: {} {noun}", self.html(title), self.html(place), steps.len());
        let fence = "`".repeat(longest_run(&lines).max(2) + 1);
        format!("<details><summary>{head}</summary>\n\n{fence}diff\n{lines}{fence}\n\n</details>\n\n")
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
        let mut out = String::from("<code>");
        for letter in self.text(text).chars() {
            match letter {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                letter => out.push(letter),
            }
        }
        out + "</code>"
    }
}

fn show_value(value: &Value) -> String {
    clean(&show(value), LETTERS_MAX)
}

/// Returns how many backticks stand together at most.
fn longest_run(text: &str) -> usize {
    text.split(|letter| letter != '`').map(str::len).max().unwrap_or_default()
}
