//! From a fleet to what it asks for. Checks every reference, offline, and reports all that is wrong at once.

mod dns;
mod hosts;

pub use dns::settled as settle_record;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::desired::{AgentCard, Desired};
use crate::fleet::{AgentTable, Fleet, ProviderKind};
use crate::name::{Address, Kind, ResourceId};
use crate::plan::Share;
use crate::problem::{Problem, Severity, did_you_mean};
use crate::provider::{AgentSpec, Rulebook};
use crate::secret::Destinations;
use crate::ssh::ControlKey;
use crate::text::days;

/// What lies beside the fleet file and takes part.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The keys of each profile on disk.
    pub profiles: BTreeMap<String, Vec<String>>,
    /// Where the values of profiles may be sent, as their files say.
    pub destinations: Destinations,
    /// Files to seed: workspace folder as the fleet spells it → path → content.
    pub workspaces: BTreeMap<String, BTreeMap<String, Arc<[u8]>>>,
    /// claw's own login keys.
    pub control_keys: Vec<ControlKey>,
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
        places: fleet.providers.keys().chain(fleet.hosts.keys()).cloned().collect(),
        ..Desired::default()
    };
    hosts::add(fleet, surroundings, rules, &mut desired, &mut problems);
    let mut keys_by_id: BTreeMap<&str, &str> = BTreeMap::new();
    let mut ports: BTreeMap<(&str, u16), &str> = BTreeMap::new();
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
        if id != key
            && let Some((other, _)) = fleet.agents.iter().find(|(_, one)| one.id.as_deref() == Some(key))
        {
            let message = format!("agent `{key}` is called like the id of `{other}`");
            let help = "a name on the command line must mean one agent; call one of them something else";
            problems.push(Problem::error("duplicate-id", message).at(fleet.tree.key(&["agents", key])).help(help));
        }
        if let (Some(port), Some(on)) = (table.port, fleet.place_of(key))
            && let Some(other) = ports.insert((on, port), key)
        {
            let message = format!("agents `{other}` and `{key}` have the same port {port} on {on}");
            let help = "give one of them another, or leave it out and the engine picks one";
            problems.push(Problem::error("duplicate-port", message).at(fleet.agent_field(key, "port")).help(help));
        }
        add_agent(fleet, surroundings, rules, (key, id, table), &mut desired, &mut problems);
    }
    hosts::check_machines(fleet, surroundings, rules, &desired, &mut problems);
    dns::add(fleet, &mut desired, &mut problems);
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
    let Some((place, rules)) = fleet.place_of(key).and_then(|on| Some((on, rules.get(on)?))) else { return };
    let empty = BTreeMap::new();
    let seeds = table.workspace.as_ref().and_then(|folder| surroundings.workspaces.get(folder)).unwrap_or(&empty);
    let spec = AgentSpec {
        fleet,
        key,
        id,
        place,
        table,
        profiles: &surroundings.profiles,
        destinations: &surroundings.destinations,
        seeds,
    };
    match rules.declare(spec) {
        Err(found) => problems.extend(found),
        Ok(resources) => {
            let host = fleet
                .host_id(place)
                .map(|host| Address { id: ResourceId::new(Kind::Host, host), place: place.to_owned() });
            for (id, mut resource) in resources {
                if resource.needs.is_empty() {
                    resource.needs.extend(host.clone());
                }
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
    if let Some(share) = &fleet.rollout.max_unavailable
        && Share::parse(share).is_none()
    {
        problems.push(
            Problem::error(
                "max-unavailable",
                format!("rollout.max_unavailable \"{share}\" is neither a share nor a number"),
            )
            .at(fleet.tree.exact(&["rollout", "max_unavailable"]))
            .help("write a percentage from 0 to 100 or a number of agents: \"20%\", \"2\""),
        );
    }
    if let Some(age) = fleet.meta.history.as_ref().filter(|age| days(age).is_none()) {
        problems.push(hosts::bad_age("fleet.history", age).at(fleet.tree.exact(&["fleet", "history"])));
    }
    for (name, provider) in &fleet.providers {
        if provider.kind.is_none() {
            problems.push(
                Problem::error("provider-kind", format!("provider `{name}` does not say what it is"))
                    .at(fleet.tree.key(&["providers", name]))
                    .help("add kind = \"docker\" or kind = \"hetzner\""),
            );
        }
    }
    if fleet.agents.is_empty() && fleet.hosts.is_empty() {
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
    if !table.host.is_empty() && table.on.as_deref().is_some_and(|on| fleet.cloud(on).is_none()) {
        problems.push(
            Problem::error("no-own-machine", format!("agent `{key}` has no machine of its own to say anything of"))
                .at(at("host"))
                .help("put the agent on a cloud provider, or write this into the host's table"),
        );
    }
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
    let digits = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
    parts.iter().all(digits)
        && matches!(parts.as_slice(), [year, month, day] if year.len() == 4 && month.len() == 2 && day.len() == 2
        && (1..=12).contains(&number(month)) && (1..=31).contains(&number(day)))
}

fn check_place(fleet: &Fleet, key: &str, table: &AgentTable, problems: &mut Vec<Problem>) {
    let known: Vec<&str> = fleet.providers.keys().chain(fleet.hosts.keys()).map(String::as_str).collect();
    let Some(on) = &table.on else {
        let problem = Problem::error("missing-key", format!("agent `{key}` does not say where it runs"));
        let first = known.first().copied().unwrap_or("docker");
        problems.push(problem.at(fleet.agent_field(key, "on")).help(format!("add on = \"{first}\"")));
        return;
    };
    if known.contains(&on.as_str()) {
        return;
    }
    let problem = Problem::error("unknown-provider", format!("there is no provider and no host `{on}`"));
    let help = match did_you_mean(on, known.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None if ProviderKind::ALL.iter().any(|kind| kind.word() == on) => format!("declare it: [providers.{on}]"),
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

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::desired::Resource;
    use crate::fleet::{SourceFile, load};
    use crate::plan::Effect;
    use crate::provider::Rules;
    use crate::value::Change;

    /// Rules by which an agent is a container, and one on the image `bad` is refused.
    struct Plain;

    impl Rules for Plain {
        fn declare(&self, agent: AgentSpec<'_>) -> Result<Vec<(ResourceId, Resource)>, Vec<Problem>> {
            if agent.table.image.as_deref() == Some("bad") {
                let at = agent.fleet.agent_field(agent.key, "image");
                return Err(vec![Problem::error("image", "a bad image").at(at)]);
            }
            Ok(vec![(ResourceId::new(Kind::Container, agent.id), Resource::default())])
        }

        fn weigh(&self, _: &ResourceId, _: &[Change]) -> Effect {
            Effect::None
        }
    }

    const PETE: &str = "[agents.pete]\non = \"docker\"\nmodel = \"a/b\"\n";

    type Outcome = Result<(Desired, Vec<Problem>), Vec<Problem>>;

    fn try_compile(text: &str) -> (String, Outcome) {
        let head = if text.contains("[fleet]") { "" } else { "[fleet]\nname = \"a\"\nid = \"abcd\"\n" };
        let text = format!("{head}[providers.docker]\n{text}");
        let (fleet, problems) = load(&[SourceFile { path: "fleet.toml".to_owned(), text: text.clone() }]);
        assert_eq!(problems, []);
        let fleet = fleet.expect("a fleet");
        let profiles = ["claw", "default"].map(|name| (name.to_owned(), vec!["KEY".to_owned()]));
        let around = Surroundings { profiles: profiles.into(), ..Surroundings::default() };
        let rules: Rulebook = [("docker".to_owned(), Arc::new(Plain) as Arc<dyn Rules>)].into();
        (text, compile(&fleet, &around, &rules))
    }

    /// Returns everything wrong with a fleet, with the text it points to.
    fn problems(text: &str) -> String {
        let (text, outcome) = try_compile(text);
        let told = outcome.map_or_else(|problems| problems, |(_, warnings)| warnings).into_iter().map(|problem| {
            let at = problem
                .at
                .map_or("nowhere".to_owned(), |at| format!("{}..{} {:?}", at.start, at.end, &text[at.start..at.end]));
            format!("{}: {}\n  {at}\n  {}", problem.code, problem.message, problem.help.unwrap_or_default())
        });
        told.collect::<Vec<_>>().join("\n")
    }

    fn desired(text: &str) -> Desired {
        try_compile(text).1.expect("a sound fleet").0
    }

    #[test]
    fn everything_wrong_is_told_at_once_in_the_order_of_the_file() {
        let text = "[fleet]\nname = \" \"\nid = \"A\"\n[policy]\ndelete_max = \"many\"\n[providers.attic]\n\
                    [agents.joe]\non = \"dokcer\"\nsecrets = [\"default\", \"defalt\", \"claw\"]\nworkspace = \"nowhere\"\n\
                    [agents.Pete]\nmodel = \"a/b\"\nimage = \"bad\"\non = \"docker\"\nsuspend = { until = \"soon\" }\n";
        assert_snapshot!(problems(text), @r#"
        fleet-name: fleet.name is empty
          34..37 "\" \""
          
        fleet-id: fleet.id `A` is not 4 to 12 lower-case letters and digits
          43..46 "\"A\""
          it marks everything claw owns; `claw init` writes a random one
        delete-max: policy.delete_max "many" is not a share
          69..75 "\"many\""
          write it as a percentage from 0 to 100: "30%"
        provider-kind: provider `attic` does not say what it is
          87..92 "attic"
          add kind = "docker" or kind = "hetzner"
        missing-key: agent `joe` has no `model`
          102..105 "joe"
          say which model it thinks with: model = "anthropic/claude-sonnet-5"
        unknown-provider: there is no provider and no host `dokcer`
          112..120 "\"dokcer\""
          did you mean "docker"?
        unknown-profile: there is no secret profile `defalt`
          143..151 "\"defalt\""
          did you mean "default"?
        reserved-profile: the profile `claw` is claw's own
          153..159 "\"claw\""
          no agent gets anything from it; take another profile
        workspace: there is no folder `nowhere`
          173..182 "\"nowhere\""
          `workspace` is a folder beside the fleet file, inside the repository
        agent-id: `Pete` cannot be an agent's id
          191..195 "Pete"
          use up to 32 lower-case letters, digits and dashes, a letter first
        image: a bad image
          219..224 "\"bad\""
          
        date: suspend.until `soon` is not a day
          259..265 "\"soon\""
          write a day: until = 2026-12-01
        "#);
    }

    #[test]
    fn a_profile_nobody_has_points_to_its_place_in_the_defaults() {
        assert_snapshot!(problems(&format!("[defaults.agent]\nsecrets = [\"default\", \"work\"]\n{PETE}")), @r#"
        unknown-profile: there is no secret profile `work`
          89..95 "\"work\""
          `claw secret set work/KEY` makes secrets/work.toml
        "#);
    }

    #[test]
    fn an_agent_needs_a_place() {
        assert_snapshot!(problems("[agents.pete]\nmodel = \"a/b\"\n"), @r#"
        missing-key: agent `pete` does not say where it runs
          58..62 "pete"
          add on = "docker"
        "#);
        assert_snapshot!(problems("[agents.pete]\nmodel = \"a/b\"\non = \"hetzner\"\n"), @r#"
        unknown-provider: there is no provider and no host `hetzner`
          83..92 "\"hetzner\""
          declare it: [providers.hetzner]
        "#);
    }

    #[test]
    fn two_agents_never_share_an_id() {
        assert_snapshot!(problems(&format!("{PETE}{}id = \"pete\"\n", PETE.replace("pete", "joe"))), @r#"
        duplicate-id: agents `joe` and `pete` have the same id `pete`
          58..62 "pete"
          an id names one agent's data; give one of them another
        "#);
        assert_snapshot!(problems(&format!("[defaults.agent]\nid = \"x\"\n{PETE}{}", PETE.replace("pete", "joe"))), @r#"
        duplicate-id: agents `joe` and `pete` have the same id `x`
          72..75 "\"x\""
          an id names one agent's data; give one of them another
        "#);
    }

    #[test]
    fn a_fleet_without_agents_is_odd_and_no_error() {
        let (_, outcome) = try_compile("");
        let (desired, warnings) = outcome.expect("no error");
        assert_eq!((warnings[0].code, warnings[0].severity), ("no-agents", Severity::Warning));
        assert_eq!(desired.places, ["docker"], "orphans are looked for all the same");
    }

    #[test]
    fn resources_go_by_the_id_and_people_by_the_table() {
        let desired = desired(&format!("{PETE}id = \"joe\"\nimage = \"i:1\"\n"));
        let addresses: Vec<_> =
            desired.resources.keys().map(|address| format!("{address} on {}", address.place)).collect();
        assert_eq!(addresses, ["container/joe on docker"]);
        let card = &desired.agents["joe"];
        assert_eq!((card.name.as_str(), card.image.as_str(), card.place.as_str()), ("pete", "i:1", "docker"));
    }

    #[test]
    fn ids_fit_into_every_name_they_become_part_of() {
        for id in ["a", "pete", "a-1", "a2", &"a".repeat(32)] {
            assert!(is_id(id), "{id}");
        }
        for id in ["", "1a", "-a", "a-", "A", "a.b", "a_b", "é", "a b", &"a".repeat(33)] {
            assert!(!is_id(id), "{id}");
        }
    }

    #[test]
    fn a_suspension_ends_on_a_day_that_can_be_compared() {
        for day in ["2026-12-01", "2026-01-31"] {
            assert!(is_date(day), "{day}");
        }
        for text in [
            "",
            "soon",
            "2026-1-01",
            "2026-13-01",
            "2026-00-01",
            "2026-12-32",
            "2026-12-00",
            "abcd-01-01",
            "2026-+1-01",
            "2026-12-01-",
            "-026-12-01",
            "2026-12-01T00:00:00Z",
            "２０26-12-01",
        ] {
            assert!(!is_date(text), "{text}");
        }
    }

    #[test]
    fn a_share_is_a_whole_number_of_per_cent() {
        assert_eq!(["0%", "30%", "100%", "30 %"].map(percent), [Some(0), Some(30), Some(100), Some(30)]);
        assert_eq!(["", "%", "30", "101%", "-1%", "1.5%", "a%"].map(percent), [None; 7]);
    }
}
