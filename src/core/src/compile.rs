//! From a fleet to what it asks for. Checks every reference, offline, and reports all that is wrong at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::desired::{AgentCard, Desired};
use crate::fleet::{AgentTable, Fleet};
use crate::name::Address;
use crate::problem::{Problem, Severity, did_you_mean};
use crate::provider::{AgentSpec, Rulebook};

/// What lies beside the fleet file and takes part.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The keys of each profile on disk.
    pub profiles: BTreeMap<String, Vec<String>>,
    /// Files to seed: workspace folder as the fleet spells it → path → content.
    pub workspaces: BTreeMap<String, BTreeMap<String, Arc<[u8]>>>,
}

/// Returns what the fleet asks for and warnings about it, or everything that is wrong.
pub fn compile(
    fleet: &Fleet,
    surroundings: &Surroundings,
    rules: &Rulebook,
) -> Result<(Desired, Vec<Problem>), Vec<Problem>> {
    let mut problems = Vec::new();
    check_meta(fleet, &mut problems);
    let mut desired = Desired {
        fleet: fleet.meta.id.clone(),
        places: fleet.providers.keys().cloned().collect(),
        ..Desired::default()
    };
    let mut keys_by_id: BTreeMap<&str, &str> = BTreeMap::new();
    for (key, table) in &fleet.agents {
        let id = table.id.as_deref().unwrap_or(key);
        check_agent(fleet, surroundings, key, id, table, &mut problems);
        if let Some(other) = keys_by_id.insert(id, key) {
            let message = format!("agents `{other}` and `{key}` have the same id `{id}`");
            problems.push(
                Problem::error("duplicate-id", message)
                    .at(fleet.agent_field(key, "id"))
                    .help("an id names one agent's data; give one of them another"),
            );
        }
        add_agent(fleet, surroundings, rules, (key, id, table), &mut desired, &mut problems);
    }
    let problems = gathered(problems);
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        Err(problems)
    } else {
        Ok((desired, problems))
    }
}

/// Puts problems in the order of the files, and tells once what the defaults make wrong for many agents.
fn gathered(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by(|a, b| (&a.at, a.code, &a.message).cmp(&(&b.at, b.code, &b.message)));
    problems.dedup();
    let mut told: Vec<(Problem, usize)> = Vec::new();
    for problem in problems {
        match told.last_mut() {
            Some((last, more))
                if last.at.is_some()
                    && (&last.at, last.code, &last.help) == (&problem.at, problem.code, &problem.help) =>
            {
                *more += 1;
            }
            _ => told.push((problem, 0)),
        }
    }
    let say = |(mut problem, more): (Problem, usize)| {
        if more > 0 {
            problem.message = format!("{}; the same for {more} more", problem.message);
        }
        problem
    };
    told.into_iter().map(say).collect()
}

fn add_agent(
    fleet: &Fleet,
    surroundings: &Surroundings,
    rules: &Rulebook,
    (key, id, table): (&str, &str, &AgentTable),
    desired: &mut Desired,
    problems: &mut Vec<Problem>,
) {
    let Some((place, rules)) = table.on.as_deref().and_then(|on| Some((on, rules.get(on)?))) else { return };
    let empty = BTreeMap::new();
    let seeds = table.workspace.as_ref().and_then(|folder| surroundings.workspaces.get(folder)).unwrap_or(&empty);
    let spec = AgentSpec { fleet, key, id, place, table, profiles: &surroundings.profiles, seeds };
    match rules.declare(spec) {
        Err(found) => problems.extend(found),
        Ok(resources) => {
            for (id, resource) in resources {
                desired.resources.insert(Address { id, place: place.to_owned() }, resource);
            }
            let card = AgentCard {
                name: key.to_owned(),
                place: place.to_owned(),
                purpose: table.purpose.clone(),
                emoji: table.emoji.clone(),
                image: table.image.clone().or_else(|| table.version.clone()).unwrap_or_default(),
                suspend: table.suspend.clone(),
            };
            desired.agents.insert(id.to_owned(), card);
        }
    }
}

fn check_meta(fleet: &Fleet, problems: &mut Vec<Problem>) {
    let id = &fleet.meta.id;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !(4..=12).contains(&id.len()) || !id.chars().all(plain) {
        problems.push(
            Problem::error("fleet-id", format!("fleet.id `{id}` is not 4 to 12 lower-case letters and digits"))
                .at(fleet.tree.exact(&["fleet", "id"]))
                .help("it marks everything claw owns; `claw init` writes a random one"),
        );
    }
    if fleet.meta.name.trim().is_empty() {
        problems.push(Problem::error("fleet-name", "fleet.name is empty").at(fleet.tree.exact(&["fleet", "name"])));
    }
    if let Some(limit) = &fleet.policy.delete_max
        && percent(limit).is_none()
    {
        problems.push(
            Problem::error("delete-max", format!("policy.delete_max \"{limit}\" is not a share"))
                .at(fleet.tree.exact(&["policy", "delete_max"]))
                .help("write it as a percentage from 0 to 100: \"30%\""),
        );
    }
    for (name, provider) in &fleet.providers {
        if provider.kind.is_none() {
            problems.push(
                Problem::error("provider-kind", format!("provider `{name}` does not say what it is"))
                    .at(fleet.tree.key(&["providers", name]))
                    .help("add kind = \"docker\""),
            );
        }
    }
    if fleet.agents.is_empty() {
        problems.push(
            Problem::warning("no-agents", "the fleet has no agents")
                .help("add one: [agents.pete] with `on`, `version` and `model`"),
        );
    }
}

/// Returns a share like `30%` as its number, 0 to 100.
pub fn percent(text: &str) -> Option<u32> {
    text.strip_suffix('%')?.trim().parse().ok().filter(|number| *number <= 100)
}

/// Whether a text can name an agent on any machine: it becomes part of container, volume and host names.
pub fn is_id(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(|first| first.is_ascii_lowercase())
        && text.len() <= 32
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !text.ends_with('-')
}

fn check_agent(
    fleet: &Fleet,
    surroundings: &Surroundings,
    key: &str,
    id: &str,
    table: &AgentTable,
    problems: &mut Vec<Problem>,
) {
    let at = |field: &str| fleet.agent_field(key, field);
    if !is_id(id) {
        problems.push(
            Problem::error("agent-id", format!("`{id}` cannot be an agent's id"))
                .at(fleet.tree.exact(&["agents", key, "id"]).or_else(|| fleet.tree.key(&["agents", key])))
                .help("use up to 32 lower-case letters, digits and dashes, a letter first"),
        );
    }
    check_place(fleet, key, table, problems);
    if table.model.is_none() {
        problems.push(
            Problem::error("missing-key", format!("agent `{key}` has no `model`"))
                .at(at("model"))
                .help("say which model it thinks with: model = \"anthropic/claude-sonnet-5\""),
        );
    }
    for (index, profile) in table.secrets.iter().enumerate() {
        check_profile(fleet, surroundings, key, (index, profile), problems);
    }
    if let Some(folder) = &table.workspace
        && !surroundings.workspaces.contains_key(folder)
    {
        problems.push(
            Problem::error("workspace", format!("there is no folder `{folder}`"))
                .at(at("workspace"))
                .help("`workspace` is a folder beside the fleet file, inside the repository"),
        );
    }
    if let Some(suspend) = &table.suspend
        && !is_date(&suspend.until)
    {
        problems.push(
            Problem::error("date", format!("suspend.until `{}` is not a day", suspend.until))
                .at(fleet.tree.exact(&["agents", key, "suspend", "until"]).or_else(|| at("suspend")))
                .help("write a day: until = 2026-12-01"),
        );
    }
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let number = |part: &str| part.parse::<u32>().unwrap_or(0);
    matches!(parts.as_slice(), [year, month, day] if year.len() == 4 && month.len() == 2 && day.len() == 2
        && (1..=12).contains(&number(month)) && (1..=31).contains(&number(day)))
}

fn check_place(fleet: &Fleet, key: &str, table: &AgentTable, problems: &mut Vec<Problem>) {
    let known: Vec<&str> = fleet.providers.keys().map(String::as_str).collect();
    let Some(on) = &table.on else {
        let problem = Problem::error("missing-key", format!("agent `{key}` does not say where it runs"));
        let first = known.first().copied().unwrap_or("docker");
        problems.push(problem.at(fleet.agent_field(key, "on")).help(format!("add on = \"{first}\"")));
        return;
    };
    if fleet.providers.contains_key(on) {
        return;
    }
    let problem = Problem::error("unknown-provider", format!("there is no provider `{on}`"));
    let help = match did_you_mean(on, known.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None if on == "docker" => "declare it: [providers.docker]".to_owned(),
        None => format!("declare it: [providers.{on}] with kind = \"docker\""),
    };
    problems.push(problem.at(fleet.agent_field(key, "on")).help(help));
}

fn check_profile(
    fleet: &Fleet,
    surroundings: &Surroundings,
    key: &str,
    (index, profile): (usize, &str),
    problems: &mut Vec<Problem>,
) {
    let known: BTreeSet<&str> = surroundings.profiles.keys().chain(fleet.profiles.keys()).map(String::as_str).collect();
    if known.contains(profile) && profile != "claw" {
        return;
    }
    let own = fleet.tree.exact(&["agents", key, "secrets"]).is_some();
    let path = if own { ["agents", key, "secrets"] } else { ["defaults", "agent", "secrets"] };
    let problem = if profile == "claw" {
        Problem::error("reserved-profile", "the profile `claw` is claw's own")
            .help("no agent gets anything from it; take another profile")
    } else {
        let problem = Problem::error("unknown-profile", format!("there is no secret profile `{profile}`"));
        match did_you_mean(profile, known.iter().copied().filter(|name| *name != "claw")) {
            Some(near) => problem.help(format!("did you mean \"{near}\"?")),
            None => problem.help(format!("`claw secret set {profile}/KEY` makes secrets/{profile}.toml")),
        }
    };
    problems.push(problem.at(fleet.tree.item(&path, index)));
}
