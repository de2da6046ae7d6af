//! Draws a plan like a diff: agent by agent, what is done, what is held, and the sum.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use claw_core::desired::Desired;
use claw_core::name::{Address, Kind};
use claw_core::plan::{Action, Cost, Effect, Held, Plan, Reason, Step};
use claw_core::provider::access::FROM;
use claw_core::text::clean;
use claw_core::value::{Fields, Value};

use super::style::{BOLD, DIM, GREEN, RED, YELLOW, paint};

/// How much of a plan is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// New things on one line.
    Short,
    /// Every field.
    Full,
}

/// The longest value drawn, in letters.
const VALUE_LETTERS_MAX: usize = 120;

/// Returns the plan as text.
pub fn draw(plan: &Plan, desired: &Desired, detail: Detail) -> String {
    let mut text = String::new();
    let mut unseen: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (place, why) in &plan.unseen {
        unseen.entry(why).or_default().push(place);
    }
    let mut unseen: Vec<_> = unseen.into_iter().collect();
    unseen.sort_by(|a, b| a.1.cmp(&b.1));
    for (why, places) in unseen {
        let names = places.join(", ");
        let _ = writeln!(text, "{} {names} could not be seen: {}", paint(YELLOW.bold(), "!"), clean(why, 900));
        let hidden: BTreeSet<&str> = places.iter().flat_map(|place| held_unseen(plan, place)).collect();
        // a host that has nothing on it is held itself, which goes without saying
        if !hidden.is_empty() && hidden.iter().any(|name| !places.contains(name)) {
            let hidden = hidden.into_iter().collect::<Vec<_>>().join(", ");
            let _ = writeln!(text, "  not seen is not absent, so all of it is held: {hidden}");
        }
    }
    for suspended in &plan.suspended {
        let reason = suspended.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let _ =
            writeln!(text, "{} {} is left alone until {}{reason}", paint(YELLOW, "‖"), suspended.name, suspended.until);
    }
    if !text.is_empty() {
        text.push('\n');
    }
    draw_agents(&mut text, plan, desired, detail);
    let _ = write!(text, "{}{}", waves(plan), sum(plan));
    if let Some(cost) = cost(plan) {
        let _ = write!(text, "\n{cost}");
    }
    text
}

/// Returns what the fleet costs before and after, if the plan does anything and prices are known.
pub fn cost(plan: &Plan) -> Option<String> {
    let cost = plan.cost.filter(|_| !plan.steps.is_empty())?;
    Some(if cost.before == cost.after {
        format!("Cost: €{} a month, net.", cost.after)
    } else {
        format!("Cost: €{} → €{} a month, net.", cost.before, cost.after)
    })
}

/// Says in which order running agents get their changes; nothing where all get them at once.
pub fn waves(plan: &Plan) -> String {
    let mut waves: BTreeMap<u32, BTreeSet<&str>> = BTreeMap::new();
    for step in plan.steps.iter().filter(|step| !step.address.id.kind.is_of_host()) {
        if let Some(wave) = step.wave {
            waves.entry(wave).or_default().insert(&step.address.id.name);
        }
    }
    let Some((_, first)) = waves.pop_first() else { return String::new() };
    let first = first.into_iter().collect::<Vec<_>>().join(", ");
    let most = waves.values().map(BTreeSet::len).max().unwrap_or_default();
    let (count, noun) = (waves.len(), if most == 1 { "agent" } else { "agents" });
    let rest = if count == 1 {
        format!("then {most} more {noun}")
    } else {
        format!("then {count} waves of up to {most} {noun}")
    };
    format!("Rollout: {} first, {rest}; a failure stops it.\n", clean(&first, VALUE_LETTERS_MAX))
}

/// Returns the agents of which nothing is done because their place could not be seen.
fn held_unseen<'a>(plan: &'a Plan, place: &str) -> Vec<&'a str> {
    let held = plan.held.iter().filter(|held| held.address.place == place && is_unseen(plan, held));
    held.map(|held| held.address.id.name.as_str()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Whether a change is held for the one reason its whole place is.
fn is_unseen(plan: &Plan, held: &Held) -> bool {
    matches!(held.reason, Reason::Unknown { .. }) && plan.unseen.contains_key(&held.address.place)
}

/// What a plan says of one agent, host, account or zone.
#[derive(Default)]
struct Share<'a> {
    steps: Vec<&'a Step>,
    held: Vec<&'a Held>,
}

/// What belongs together in a drawing, in the order of the drawing: what many share comes first, names come last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group<'a> {
    /// What all machines of a cloud account share.
    Account(&'a str),
    /// An agent or a host.
    Named {
        /// Its id.
        id: &'a str,
        /// Where it is.
        place: &'a str,
    },
    /// Names that are no agent's.
    Zone(&'a str),
}

fn group<'a>(desired: &'a Desired, address: &'a Address, fields: Option<&'a Fields>) -> Group<'a> {
    let id = address.id.name.as_str();
    match address.id.kind {
        Kind::Sshkey | Kind::Firewall => return Group::Account(&address.place),
        Kind::Dns => {
            let agent = desired.resources.get(address).and_then(|resource| resource.of.as_ref());
            if let Some((id, card)) = agent.and_then(|of| desired.agents.get_key_value(of)) {
                return Group::Named { id, place: &card.place };
            }
            let zone = fields.and_then(|fields| fields.get("zone")?.as_text());
            return Group::Zone(zone.unwrap_or(id));
        }
        _ => {}
    }
    // a machine stands at its cloud, and what is on it at the machine
    let host = desired.hosts.get(id).filter(|_| address.id.kind.is_of_host());
    Group::Named { id, place: host.map_or(address.place.as_str(), |host| host.name.as_str()) }
}

/// Returns what a step is drawn with.
pub fn group_of<'a>(desired: &'a Desired, step: &'a Step) -> Group<'a> {
    let fields = match &step.action {
        Action::Delete { before } => Some(before),
        other => other.after(),
    };
    group(desired, &step.address, fields)
}

fn title(desired: &Desired, group: &Group<'_>) -> String {
    let (id, place) = match group {
        Group::Account(place) => return format!("{}, for all its machines", paint(BOLD, place)),
        Group::Zone(zone) => return format!("names in {}", paint(BOLD, clean(zone, VALUE_LETTERS_MAX))),
        Group::Named { id, place } => (*id, *place),
    };
    let host = desired.hosts.get(id);
    if let Some(card) = desired.agents.get(id) {
        let emoji = card.emoji.as_deref().map(|emoji| format!("{emoji} ")).unwrap_or_default();
        let on = host.filter(|host| host.name == place).and_then(|host| host.cloud.as_deref()).unwrap_or(place);
        return format!("{emoji}{} on {on}", paint(BOLD, &card.name));
    }
    match host {
        Some(host) => {
            let at = host.cloud.as_ref().map_or_else(|| format!("at {}", host.address), |cloud| format!("on {cloud}"));
            format!("{} {at}", paint(BOLD, &host.name))
        }
        None => format!("{} on {place}, not in the fleet any more", paint(BOLD, clean(id, VALUE_LETTERS_MAX))),
    }
}

fn draw_agents(text: &mut String, plan: &Plan, desired: &Desired, detail: Detail) {
    let mut groups: BTreeMap<Group<'_>, Share<'_>> = BTreeMap::new();
    for step in &plan.steps {
        groups.entry(group_of(desired, step)).or_default().steps.push(step);
    }
    for held in plan.held.iter().filter(|held| !is_unseen(plan, held)) {
        let fields = desired.resources.get(&held.address).map(|resource| &resource.fields);
        groups.entry(group(desired, &held.address, fields)).or_default().held.push(held);
    }
    for (group, Share { steps, held }) in groups {
        let _ = writeln!(text, "{}", title(desired, &group));
        for step in steps {
            draw_step(text, step, detail);
        }
        draw_held(text, &held);
        text.push('\n');
    }
}

fn draw_step(text: &mut String, step: &Step, detail: Detail) {
    let id = &step.address.id;
    let (sign, style) = match step.action {
        Action::Create { .. } => ("+", GREEN),
        Action::Update { .. } => ("~", YELLOW),
        Action::Replace { .. } => ("±", YELLOW),
        Action::Delete { .. } => ("-", RED),
    };
    let note = note(step, detail);
    let note = if note.is_empty() { String::new() } else { format!("  {}", paint(DIM, note)) };
    let _ = writeln!(text, "  {} {id}{note}", paint(style, sign));
    if let (Action::Create { after }, Detail::Full) = (&step.action, detail) {
        for (path, value) in leaves(after) {
            let _ = writeln!(text, "      {path}: {}", paint(GREEN, show(&value)));
        }
    }
    for change in step.action.changes() {
        let before = change.before.as_ref().map_or_else(|| "(not set)".to_owned(), show);
        let after = change.after.as_ref().map_or_else(|| "(not set)".to_owned(), show);
        let line = match (&change.before, &change.after) {
            (Some(Value::Secret(_)), Some(Value::Secret(_))) => paint(YELLOW, "changed"),
            _ => format!("{} → {}", paint(RED, before), paint(GREEN, after)),
        };
        let _ = writeln!(text, "      {}: {line}", clean(&change.path, 200));
    }
}

/// Returns what is to be said of a step behind its name: what is new, what is lost, what it costs, in which wave.
pub fn note(step: &Step, detail: Detail) -> String {
    let kind = step.address.id.kind;
    let note = match &step.action {
        Action::Create { after } if detail == Detail::Short => digest(kind, after),
        Action::Create { .. } => String::new(),
        Action::Delete { .. } if kind == Kind::Server => "the machine and all data on it are lost".to_owned(),
        Action::Replace { .. } if kind == Kind::Server => {
            "a new machine: all data on the old one is lost, its addresses stay".to_owned()
        }
        Action::Delete { .. } if kind.holds_data() => "its data is lost".to_owned(),
        Action::Delete { .. } => String::new(),
        Action::Update { .. } | Action::Replace { .. } => effect(step).to_owned(),
    };
    let euros = step.cost.map(|cost| euros(step, cost)).unwrap_or_default();
    let wave = step.wave.map(|wave| format!("wave {wave}")).unwrap_or_default();
    [note, euros, wave].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

fn euros(step: &Step, cost: Cost) -> String {
    match step.action {
        Action::Create { .. } => format!("€{} a month", cost.after),
        Action::Delete { .. } => format!("saves €{} a month", cost.before),
        _ if cost.before == cost.after => String::new(),
        _ => format!("€{} → €{} a month", cost.before, cost.after),
    }
}

fn effect(step: &Step) -> &'static str {
    match (step.effect, step.address.id.kind) {
        (Effect::None, Kind::Config | Kind::Secrets) => "in place, before the container starts",
        (Effect::None, _) => "in place",
        (Effect::Hot, Kind::Secrets) => "in place: the gateway reads it again, no restart",
        (Effect::Hot, _) => "hot: the gateway takes it over, no restart",
        (Effect::Reboot, _) => "the machine goes off and on again: minutes without answers",
        (Effect::Replace, Kind::Address) => "a new address takes its place",
        (Effect::Restart, _) => "restart: some seconds without answers",
        (Effect::Replace, _) => "replaced: up to a minute without answers, its state is kept",
    }
}

/// One line about something new.
fn digest(kind: Kind, after: &Fields) -> String {
    let text = |key: &str| after.get(key).and_then(Value::as_text).unwrap_or_default().to_owned();
    match kind {
        Kind::Container => format!("{}, {} memory, cpus {}", text("image"), text("memory"), text("cpus")),
        Kind::Secrets | Kind::Workspace | Kind::Volume => after.keys().cloned().collect::<Vec<_>>().join(", "),
        Kind::Config => format!("openclaw.json, {} settings", leaves(after).len()),
        Kind::Network | Kind::Anchor => String::new(),
        Kind::Sshkey => "claw's login key".to_owned(),
        Kind::Firewall => match after.get(FROM) {
            Some(Value::List(ranges)) => format!("SSH {}", from(ranges)),
            _ => "SSH from anywhere".to_owned(),
        },
        Kind::Address => format!("IPv4 and IPv6 in {}, kept when the machine goes", text("location")),
        Kind::Server => {
            let sizes: Vec<String> = match after.get("size") {
                Some(Value::List(sizes)) => sizes.iter().filter_map(Value::as_text).map(str::to_owned).collect(),
                _ => Vec::new(),
            };
            format!("{} in {}, {}", sizes.join(" or "), text("location"), text("image"))
        }
        Kind::Dns => {
            let values: Vec<String> = match after.get("values") {
                Some(Value::List(values)) => values.iter().map(show).collect(),
                _ => Vec::new(),
            };
            values.join(", ")
        }
        Kind::Host => "hardened sshd, engine, security updates, containers kept from the host".to_owned(),
        Kind::Access => who_may_log_in(after),
    }
}

fn from(ranges: &[Value]) -> String {
    let ranges: Vec<&str> = ranges.iter().filter_map(Value::as_text).collect();
    format!("from {}", ranges.join(", "))
}

fn who_may_log_in(after: &Fields) -> String {
    let count = |key: &str| if let Some(Value::Map(map)) = after.get(key) { map.len() } else { 0 };
    let people = match count("operators") {
        0 => String::new(),
        1 => ", 1 operator".to_owned(),
        number => format!(", {number} operators"),
    };
    let from = match after.get(FROM) {
        Some(Value::List(ranges)) => format!(", {}", from(ranges)),
        _ => String::new(),
    };
    format!("claw's key{people}{from}")
}

/// Returns the innermost fields with their paths.
pub fn leaves(fields: &Fields) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    collect("", fields, &mut found);
    found
}

fn collect(path: &str, fields: &Fields, found: &mut Vec<(String, Value)>) {
    for (key, value) in fields {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match value {
            Value::Map(map) if !map.is_empty() => collect(&path, map, found),
            value => found.push((path, value.clone())),
        }
    }
}

/// Returns a value as plans show it; a secret as its name.
pub fn show(value: &Value) -> String {
    match value {
        Value::Secret(secret) => {
            secret.source.as_ref().map_or_else(|| "(secret)".to_owned(), |source| format!("secret {source}"))
        }
        Value::After(after) => format!("(known after {})", after.of),
        Value::List(items) if items.iter().any(|item| item.first_unknown().is_some()) => {
            items.iter().map(show).collect::<Vec<_>>().join(", ")
        }
        Value::Text(text) => format!("\"{}\"", clean(text, VALUE_LETTERS_MAX)),
        other => clean(&other.to_json().to_string(), VALUE_LETTERS_MAX),
    }
}

fn draw_held(text: &mut String, held: &[&Held]) {
    let mut by_reason: BTreeMap<&Reason, Vec<&Held>> = BTreeMap::new();
    for one in held.iter().filter(|one| !matches!(one.reason, Reason::Waits { .. })) {
        by_reason.entry(&one.reason).or_default().push(one);
    }
    for (reason, those) in by_reason {
        let what: Vec<String> = those.iter().map(|one| one.address.id.kind.to_string()).collect();
        // a machine stands for what goes with it
        let speaks = those.iter().find(|one| one.address.id.kind == Kind::Server).unwrap_or(&those[0]);
        let (why, help) = explain(reason, speaks.would, &speaks.address);
        let _ = writeln!(text, "  {} {} {}: {why}", paint(YELLOW.bold(), "!"), those[0].would, what.join(", "));
        let _ = writeln!(text, "      {}", paint(DIM, help));
    }
    let waiting: Vec<String> = held
        .iter()
        .filter(|one| matches!(one.reason, Reason::Waits { .. }))
        .map(|one| one.address.id.kind.to_string())
        .collect();
    if !waiting.is_empty() {
        let _ = writeln!(text, "  {} waiting for that: {}", paint(YELLOW, "!"), waiting.join(", "));
    }
}

/// Returns why a change is held, and what to do.
pub fn explain(reason: &Reason, would: &str, address: &Address) -> (String, String) {
    match reason {
        Reason::Unknown { why } => {
            ("held, it could not be seen".to_owned(), format!("not seen is not absent: {}", clean(why, 300)))
        }
        Reason::Foreign => (
            format!("held, something without this fleet's mark stands in the place of {address}"),
            "claw never touches it: rename or remove it, or give the agent another `id`".to_owned(),
        ),
        Reason::Data { name } if address.id.kind == Kind::Server => (
            "held, all data on the machine would be lost".to_owned(),
            match would {
                "replace" => format!(
                    "to keep it, leave its image and location as they are; to lose it, add --allow-destroy {name}"
                ),
                _ => format!(
                    "to keep it, keep its table; if that was renamed, set id = \"{name}\" in the new one; to lose it, add \
                     --allow-destroy {name}"
                ),
            },
        ),
        Reason::Data { name } => (
            "held, its data would be lost".to_owned(),
            format!(
                "to keep it, keep [agents.{name}]; if it was renamed, set id = \"{name}\" in its new table; to lose it, add \
                 --allow-destroy {name}"
            ),
        ),
        Reason::Moved { name, from } => (
            format!("held, its data is on {from}"),
            format!("set `on` back to \"{from}\", or run with --allow-destroy {name} to start without the data"),
        ),
        Reason::DeleteMax { wanted, allowed } => (
            format!("held, {wanted} would go and policy.delete_max allows {allowed}"),
            "remove fewer at once, raise policy.delete_max, or name them: claw destroy AGENT…".to_owned(),
        ),
        Reason::Suspended { until } => {
            (format!("held, left alone until {until}"), format!("remove `suspend` to {would} it now"))
        }
        Reason::LockOut { from } => (
            format!("held, {address} would not let in {}, from where claw logs in now", clean(from, 60)),
            "add that address to `allow_from`, or run claw from an address that stays in it".to_owned(),
        ),
        Reason::Uncommitted => (
            "held, the login key is in no commit yet".to_owned(),
            "commit secrets/claw.toml, so that the key is not lost with this machine; or add --uncommitted-keys"
                .to_owned(),
        ),
        Reason::Secret { why, help } => (format!("held, {}", clean(why, 300)), clean(help, 300)),
        Reason::Waits { on } => (format!("held, waits for {on}"), String::new()),
    }
}

/// Returns the sum of a plan in one line.
pub fn sum(plan: &Plan) -> String {
    let count = |word: &str| plan.steps.iter().filter(|step| step.action.word() == word).count();
    let mut parts = Vec::new();
    for (word, text) in
        [("create", "to create"), ("update", "to change"), ("replace", "to replace"), ("delete", "to delete")]
    {
        let number = count(word);
        if number > 0 {
            parts.push(format!("{number} {text}"));
        }
    }
    if !plan.held.is_empty() {
        parts.push(format!("{} held", plan.held.len()));
    }
    if parts.is_empty() && plan.unseen.is_empty() {
        return format!("Nothing to do: {} resources are as the fleet says.", plan.unchanged.len());
    }
    if parts.is_empty() {
        parts.push("nothing to do where claw can see".to_owned());
    }
    format!("Plan: {}; {} unchanged.", parts.join(", "), plan.unchanged.len())
}
