//! Checks what the fleet says of hosts and of logging in to them, and asks the rules for their resources.

use std::collections::BTreeMap;

use super::{Surroundings, is_date, is_id};
use crate::desired::{Desired, HostCard, Resource};
use crate::fleet::{Fleet, HostState, HostTable, JumpTable, ProviderKind};
use crate::name::{Address, Kind, ResourceId};
use crate::problem::{Location, Problem, did_you_mean};
use crate::provider::{HostSpec, Rulebook};
use crate::ssh::{PublicKey, Standing, is_within, range};
use crate::text::{days, memory_mib};
use crate::value::Value;

/// Adds the hosts and what they consist of to the desired state.
pub(super) fn add(
    fleet: &Fleet,
    surroundings: &Surroundings,
    rules: &Rulebook,
    desired: &mut Desired,
    problems: &mut Vec<Problem>,
) {
    check_ssh(fleet, problems);
    let has_key = surroundings.control_keys.iter().any(|key| key.standing == Standing::Current);
    if let Some(first) = fleet.hosts.keys().next().filter(|_| !has_key) {
        problems.push(
            Problem::error("no-login-key", "the fleet has hosts, and claw has no key of its own to log in with")
                .at(fleet.tree.key(&["hosts", first]))
                .help("`claw rotate ssh` makes one"),
        );
    }
    let mut ids: BTreeMap<&str, &str> = BTreeMap::new();
    let mut addresses: BTreeMap<(&str, u16), &str> = BTreeMap::new();
    for (key, table) in &fleet.hosts {
        let id = table.id.as_deref().unwrap_or(key);
        check_names(fleet, key, id, &mut ids, problems);
        check_host(fleet, key, table, problems);
        if let Some(address) = &table.address
            && let Some(other) = addresses.insert((address, table.port.unwrap_or(22)), key)
        {
            let message = format!("hosts `{other}` and `{key}` are the same machine");
            let help = "keep one of them: each would take the other's agents for orphans";
            problems.push(Problem::error("duplicate-host", message).at(fleet.host_field(key, "address")).help(help));
        }
        let absent = table.state == Some(HostState::Absent);
        let cloud = fleet.cloud_of(table).map(str::to_owned);
        let card = HostCard {
            name: key.clone(),
            address: table.address.clone().unwrap_or_default(),
            cloud,
            suspend: table.suspend.clone(),
            absent,
        };
        if !absent {
            let spec = HostSpec { fleet, key, id, table, control: &surroundings.control_keys };
            declare(spec, &card, rules, desired, problems);
        }
        desired.hosts.insert(id.to_owned(), card);
    }
}

/// Adds what a host consists of, and what stands for it at its cloud.
fn declare(spec: HostSpec<'_>, card: &HostCard, rules: &Rulebook, desired: &mut Desired, problems: &mut Vec<Problem>) {
    let mut add = |place: &str, found: Result<Vec<(ResourceId, Resource)>, Vec<Problem>>| match found {
        Err(found) => problems.extend(found),
        Ok(resources) => {
            for (id, mut resource) in resources {
                if id.kind == Kind::Access {
                    resource.needs.extend(card.server(spec.id));
                }
                // hosts share keys and rule sets
                desired.resources.entry(Address { id, place: place.to_owned() }).or_insert(resource);
            }
        }
    };
    if let Some(rules) = rules.get(spec.key) {
        add(spec.key, rules.declare_host(spec));
    }
    let Some((cloud, rules)) = card.cloud.as_ref().and_then(|cloud| Some((cloud, rules.get(cloud)?))) else { return };
    add(cloud, rules.declare_machine(spec));
}

/// Asks the clouds what is odd about the machines they shall make.
pub(super) fn check_machines(
    fleet: &Fleet,
    surroundings: &Surroundings,
    rules: &Rulebook,
    desired: &Desired,
    problems: &mut Vec<Problem>,
) {
    let mut used: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (address, resource) in desired.resources.iter().filter(|(address, _)| address.id.kind == Kind::Container) {
        let memory = resource.fields.get("memory").and_then(Value::as_text).and_then(memory_mib);
        used.entry(&address.place).or_default().extend(memory);
    }
    for (key, table) in &fleet.hosts {
        if let Some(rules) = fleet.cloud_of(table).and_then(|cloud| rules.get(cloud)) {
            let memory = used.get(key.as_str()).map_or(&[][..], Vec::as_slice);
            let id = table.id.as_deref().unwrap_or(key);
            let spec = HostSpec { fleet, key, id, table, control: &surroundings.control_keys };
            problems.extend(rules.check_machine(spec, memory));
        }
    }
}

fn check_ssh(fleet: &Fleet, problems: &mut Vec<Problem>) {
    check_ranges(fleet, &["ssh", "allow_from"], &fleet.ssh.allow_from, problems);
    if let Some(age) = &fleet.ssh.rotate_every
        && days(age).is_none()
    {
        let at = fleet.tree.exact(&["ssh", "rotate_every"]);
        problems.push(bad_age("ssh.rotate_every", age).at(at));
    }
    for (name, text) in &fleet.ssh.operators {
        let at = fleet.tree.exact(&["ssh", "operators", name]);
        let plain = |c: char| c.is_ascii_alphanumeric() || "._@-".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            problems.push(
                Problem::error("operator", format!("{name:?} cannot be an operator's name"))
                    .at(fleet.tree.key(&["ssh", "operators", name]))
                    .help("it stands beside the key on the hosts: use letters, digits, `.`, `_`, `@` and `-`"),
            );
        }
        check_key(&format!("the key of operator `{name}`"), text, at, problems);
    }
    if let Some(jump) = &fleet.ssh.jump {
        check_jump(jump, |field| fleet.tree.exact(&["ssh", "jump", field]), problems);
    }
}

/// Returns the problem of a text that is no age.
pub(super) fn bad_age(key: &str, text: &str) -> Problem {
    Problem::error("age", format!("{key} \"{text}\" is not a time")).help("write days or weeks: \"90d\", \"12w\"")
}

fn check_ranges(fleet: &Fleet, path: &[&str], ranges: &[String], problems: &mut Vec<Problem>) {
    for (index, text) in ranges.iter().enumerate().filter(|(_, text)| range(text).is_none()) {
        problems.push(
            Problem::error("address", format!("`{text}` is not an address or a range of them"))
                .at(fleet.tree.item(path, index))
                .help("write 192.0.2.7, 203.0.113.0/24 or 2001:db8::/32"),
        );
    }
}

fn check_key(what: &str, text: &str, at: Option<Location>, problems: &mut Vec<Problem>) {
    if let Err(why) = text.parse::<PublicKey>() {
        problems.push(
            Problem::error("key", format!("{what} cannot be used: {why}"))
                .at(at)
                .help("write the line of the .pub file: \"ssh-ed25519 AAAA…\""),
        );
    }
}

fn check_jump(jump: &JumpTable, at: impl Fn(&str) -> Option<Location>, problems: &mut Vec<Problem>) {
    check_key("the host key of the jump host", &jump.host_key, at("host_key"), problems);
    if !is_address(&jump.address) {
        problems.push(bad_address(&jump.address).at(at("address")));
    }
    if let Some(user) = jump.user.as_deref().filter(|user| !is_user(user)) {
        problems.push(bad_user(user).at(at("user")));
    }
}

/// A name or address, and nothing a shell or a URL would read otherwise.
fn is_address(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && !text.starts_with('-')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:%".contains(c))
}

fn bad_address(text: &str) -> Problem {
    Problem::error("address", format!("`{text}` is not a name or address of a machine"))
        .help("write it alone, the port goes into `port` and the user into `user`")
}

/// What `useradd` takes.
fn is_user(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 32
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.".contains(c))
}

fn bad_user(text: &str) -> Problem {
    Problem::error("user", format!("`{text}` is not a user's name"))
        .help("write who logs in there: lower-case letters, digits, `_`, `-` and `.`")
}

fn check_names<'a>(
    fleet: &'a Fleet,
    key: &'a str,
    id: &'a str,
    ids: &mut BTreeMap<&'a str, &'a str>,
    problems: &mut Vec<Problem>,
) {
    let at = fleet.host_field(key, "id");
    if !is_id(id) {
        problems.push(
            Problem::error("host-id", format!("`{id}` cannot be a host's id"))
                .at(at.clone())
                .help("use up to 32 lower-case letters, digits and dashes, a letter first"),
        );
    }
    let mut clash = |what: String| {
        let help = "a name on the command line and in `on` must mean one thing; call one of them something else";
        problems.push(Problem::error("duplicate-name", what).at(fleet.tree.key(&["hosts", key])).help(help));
    };
    if let Some(other) = ids.insert(id, key) {
        clash(format!("hosts `{other}` and `{key}` have the same id `{id}`"));
    }
    if fleet.is_own(key) {
        return;
    }
    if fleet.providers.contains_key(key) || key == "ssh" {
        clash(format!("host `{key}` is called like a provider"));
    }
    for (agent, table) in &fleet.agents {
        let agent_id = table.id.as_deref().unwrap_or(agent);
        if [key, id].contains(&agent.as_str()) || [key, id].contains(&agent_id) {
            clash(format!("host `{key}` is called like agent `{agent}`"));
        }
    }
}

fn check_host(fleet: &Fleet, key: &str, table: &HostTable, problems: &mut Vec<Problem>) {
    let at = |field: &str| fleet.host_field(key, field);
    check_common(fleet, key, table, problems);
    match table.on.as_deref() {
        Some("ssh") => check_existing(fleet, key, table, problems),
        Some(on) if fleet.cloud(on).is_some() => check_cloud(fleet, key, table, problems),
        Some(other) => {
            let help = match did_you_mean(other, fleet.clouds().chain(["ssh"])) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None if ProviderKind::ALL.iter().any(|kind| kind.is_cloud() && kind.word() == other) => {
                    format!("declare it: [providers.{other}]")
                }
                None => "a machine that exists is on = \"ssh\"".to_owned(),
            };
            problems
                .push(Problem::error("unknown-provider", format!("`{other}` makes no hosts")).at(at("on")).help(help));
            if table.size.is_none() {
                check_existing(fleet, key, table, problems);
            }
        }
        None => problems.push(
            Problem::error("missing-key", format!("host `{key}` does not say how claw comes by it"))
                .at(at("on"))
                .help("add on = \"ssh\" for a machine that exists, or the name of a cloud provider"),
        ),
    }
}

/// Checks what only a cloud's own machines can say, and what they cannot.
fn check_cloud(fleet: &Fleet, key: &str, table: &HostTable, problems: &mut Vec<Problem>) {
    let at = |field: &str| fleet.host_field(key, field);
    let on = table.on.as_deref().unwrap_or_default();
    let mut missing = |field: &str, example: &str| {
        problems.push(
            Problem::error("missing-key", format!("the machine of `{key}` has no `{field}`"))
                .at(at(field))
                .help(format!("add {example} to [defaults.host], or to the machine itself")),
        );
    };
    if table.size.as_ref().is_none_or(|sizes| sizes.texts().is_empty()) {
        missing("size", "size = [\"cx23\", \"cpx22\"]");
    }
    if table.location.is_none() {
        missing("location", "location = \"fsn1\"");
    }
    let odd = [
        ("address", table.address.is_some()),
        ("port", table.port.is_some()),
        ("user", table.user.is_some()),
        ("host_key", table.host_key.is_some()),
        ("host_key_next", table.host_key_next.is_some()),
        ("state", table.state.is_some()),
    ];
    for (field, _) in odd.into_iter().filter(|(_, is)| *is) {
        let help = match field {
            "state" => "remove the table: claw lists what it made there and removes the machine",
            _ => "claw knows it from the cloud, or makes it",
        };
        problems.push(
            Problem::error("not-on-a-cloud", format!("a machine on {on} has no `{field}` of its own"))
                .at(at(field))
                .help(help),
        );
    }
}

/// Checks what is said of a machine that exists.
fn check_existing(fleet: &Fleet, key: &str, table: &HostTable, problems: &mut Vec<Problem>) {
    let at = |field: &str| fleet.host_field(key, field);
    let made =
        [("size", table.size.is_some()), ("location", table.location.is_some()), ("image", table.image.is_some())];
    for (field, _) in made.into_iter().filter(|(field, is)| *is && fleet.tree.exact(&["hosts", key, field]).is_some()) {
        problems.push(
            Problem::error("only-on-a-cloud", format!("host `{key}` exists, so its `{field}` cannot be chosen"))
                .at(at(field))
                .help("remove it, or put the machine on a cloud provider"),
        );
    }
    match table.address.as_deref() {
        Some(address) if is_address(address) => {}
        Some(address) => problems.push(bad_address(address).at(at("address"))),
        None => problems.push(
            Problem::error("missing-key", format!("host `{key}` has no `address`"))
                .at(at("address"))
                .help("add its name or address: address = \"192.0.2.10\""),
        ),
    }
    if let Some(user) = table.user.as_deref().filter(|user| !is_user(user)) {
        problems.push(bad_user(user).at(at("user")));
    }
    match &table.host_key {
        Some(text) => check_key(&format!("the host key of `{key}`"), text, at("host_key"), problems),
        None => {
            let address = table.address.as_deref().unwrap_or("ADDRESS");
            problems.push(
                Problem::error("missing-key", format!("host `{key}` has no `host_key`"))
                    .at(at("host_key"))
                    .help(format!(
                        "claw trusts no key on first use: on the machine, print /etc/ssh/ssh_host_ed25519_key.pub and put it here; \
                         `ssh-keyscan -t ed25519 {address}` prints what answers now, for comparing"
                    )),
            );
        }
    }
    if let Some(text) = &table.host_key_next {
        check_key(&format!("the next host key of `{key}`"), text, at("host_key_next"), problems);
    }
}

fn check_common(fleet: &Fleet, key: &str, table: &HostTable, problems: &mut Vec<Problem>) {
    let at = |field: &str| fleet.host_field(key, field);
    if let Some(own) = &table.allow_from {
        check_ranges(fleet, &allow_from_path(fleet, key), own, problems);
        check_narrower(fleet, key, own, problems);
    }
    if let Some(jump) = &table.jump {
        check_jump(jump, |field| fleet.tree.exact(&["hosts", key, "jump", field]).or_else(|| at("jump")), problems);
    }
    if let Some(suspend) = table.suspend.as_ref().filter(|suspend| !is_date(&suspend.until)) {
        problems.push(
            Problem::error("date", format!("suspend.until `{}` is not a day", suspend.until))
                .at(at("suspend"))
                .help("write a day: until = 2026-12-01"),
        );
    }
    let lives_here = |agent: &&String| fleet.place_of(agent) == Some(key);
    if table.state == Some(HostState::Absent)
        && let Some(agent) = fleet.agents.keys().find(lives_here)
    {
        problems.push(
            Problem::error("host-absent", format!("host `{key}` shall be absent and agent `{agent}` runs on it"))
                .at(at("state"))
                .help("move or remove its agents first"),
        );
    }
}

/// Where a host's own `allow_from` stands.
fn allow_from_path<'a>(fleet: &Fleet, key: &'a str) -> Vec<&'a str> {
    if fleet.is_own(key) { vec!["agents", key, "host", "allow_from"] } else { vec!["hosts", key, "allow_from"] }
}

fn check_narrower(fleet: &Fleet, key: &str, own: &[String], problems: &mut Vec<Problem>) {
    if own.is_empty() && !fleet.ssh.allow_from.is_empty() {
        problems.push(
            Problem::error("allow-from", format!("the empty `allow_from` of `{key}` would let everybody in"))
                .at(fleet.host_field(key, "allow_from"))
                .help("leave it out to have ssh.allow_from hold, or name the ranges within it"),
        );
    }
    let outer: Vec<_> = fleet.ssh.allow_from.iter().filter_map(|text| range(text)).collect();
    for (index, text) in own.iter().enumerate() {
        let fits = range(text).is_none_or(|inner| outer.is_empty() || outer.iter().any(|one| is_within(&inner, one)));
        if !fits {
            problems.push(
                Problem::error("allow-from", format!("`{text}` is not within ssh.allow_from"))
                    .at(fleet.tree.item(&allow_from_path(fleet, key), index))
                    .help("a host may narrow who logs in, not widen it: add the range to [ssh] allow_from"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use insta::assert_snapshot;

    use super::super::{Surroundings, compile};
    use crate::desired::{Desired, Resource};
    use crate::fleet::{SourceFile, load};
    use crate::name::{Kind, ResourceId};
    use crate::plan::Effect;
    use crate::problem::Problem;
    use crate::provider::{AgentSpec, HostSpec, Rulebook, Rules};
    use crate::ssh::{ControlKey, Standing};
    use crate::value::Change;

    /// Rules by which an agent is a volume and a container on it, and a host is a host.
    struct Plain;

    impl Rules for Plain {
        fn declare(&self, agent: AgentSpec<'_>) -> Result<Vec<(ResourceId, Resource)>, Vec<Problem>> {
            let volume = ResourceId::new(Kind::Volume, agent.id);
            let needs = vec![crate::name::Address { id: volume.clone(), place: agent.place.to_owned() }];
            let container = Resource { needs, ..Resource::default() };
            Ok(vec![(volume, Resource::default()), (ResourceId::new(Kind::Container, agent.id), container)])
        }

        fn declare_host(&self, host: HostSpec<'_>) -> Result<Vec<(ResourceId, Resource)>, Vec<Problem>> {
            Ok(vec![(ResourceId::new(Kind::Host, host.id), Resource::default())])
        }

        fn weigh(&self, _: &ResourceId, _: &[Change]) -> Effect {
            Effect::None
        }
    }

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIoFXjWAMTYQe9aHHV9ccGY9aFkkFGtDN1G5BG0gQvzx";
    const HEAD: &str = "[fleet]\nname = \"a\"\nid = \"abcd\"\n";

    fn try_compile(text: &str, has_key: bool) -> Result<Desired, String> {
        let text = format!("{HEAD}{}", text.replace("KEY", KEY));
        let (fleet, problems) = load(&[SourceFile { path: "fleet.toml".to_owned(), text: text.clone() }]);
        assert_eq!(problems, []);
        let fleet = fleet.expect("a fleet");
        let key =
            ControlKey { standing: Standing::Current, public: KEY.parse().expect("a key"), since: "2026-01-01".into() };
        let around =
            Surroundings { control_keys: has_key.then_some(key).into_iter().collect(), ..Surroundings::default() };
        let rules: Rulebook =
            fleet.hosts.keys().map(|name| (name.clone(), Arc::new(Plain) as Arc<dyn Rules>)).collect();
        let told = |problem: Problem| {
            let at = problem.at.map_or("nowhere", |at| &text[at.start..at.end]);
            format!("{}: {}\n  {at}\n  {}", problem.code, problem.message, problem.help.unwrap_or_default())
        };
        let outcome = compile(&fleet, &around, &rules);
        outcome.map(|(desired, _)| desired).map_err(|all| all.into_iter().map(told).collect::<Vec<_>>().join("\n"))
    }

    const ATTIC: &str = "[hosts.attic]\non = \"ssh\"\naddress = \"192.0.2.1\"\nhost_key = \"KEY\"\n";

    #[test]
    fn an_agent_on_a_host_needs_the_host_first() {
        let text = format!("{ATTIC}id = \"cellar\"\n[agents.pete]\non = \"attic\"\nmodel = \"a/b\"\n");
        let desired = try_compile(&text, true).expect("a sound fleet");
        let needs: Vec<String> = desired
            .resources
            .iter()
            .map(|(address, resource)| {
                let needs: Vec<String> = resource.needs.iter().map(ToString::to_string).collect();
                format!("{address} at {}: {}", address.place, needs.join(", "))
            })
            .collect();
        assert_eq!(
            needs,
            ["host/cellar at attic: ", "volume/pete at attic: host/cellar", "container/pete at attic: volume/pete"]
                .map(str::to_owned)
        );
        assert_eq!(desired.places, ["attic"]);
    }

    #[test]
    fn a_host_that_goes_is_looked_at_and_not_declared() {
        let desired = try_compile(&format!("{ATTIC}state = \"absent\"\n"), true).expect("a sound fleet");
        assert_eq!((desired.resources.len(), desired.places.len(), desired.hosts["attic"].absent), (0, 1, true));
    }

    #[test]
    fn everything_wrong_with_hosts_is_told_with_what_to_do() {
        let text = "[ssh]\nallow_from = [\"203.0.113.0/24\", \"everywhere\"]\nrotate_every = \"soon\"\n\
            [ssh.operators]\npetr = \"ssh-rsa AAAA\"\n\
            [hosts.a]\non = \"shs\"\naddress = \"root@192.0.2.1\"\nuser = \"Root\"\n\
            [hosts.b]\non = \"ssh\"\naddress = \"192.0.2.2\"\nhost_key = \"KEY\"\nallow_from = [\"198.51.100.1\"]\nstate = \"absent\"\n\
            [hosts.c]\non = \"ssh\"\naddress = \"192.0.2.2\"\nhost_key = \"ssh-ed25519 AAAA\"\n\
            [agents.c]\non = \"b\"\nmodel = \"a/b\"\n";
        assert_snapshot!(try_compile(text, false).expect_err("problems"));
    }
}
