//! Checks what the fleet says of hosts and of logging in to them, and asks the rules for their resources.

use std::collections::BTreeMap;

use super::{Surroundings, is_date, is_id};
use crate::desired::{Desired, HostCard};
use crate::fleet::{Fleet, HostState, HostTable, JumpTable};
use crate::name::Address;
use crate::problem::{Location, Problem};
use crate::provider::{HostSpec, Rulebook};
use crate::ssh::{PublicKey, Standing, is_within, range};
use crate::text::days;

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
        let card = HostCard {
            name: key.clone(),
            address: table.address.clone().unwrap_or_default(),
            suspend: table.suspend.clone(),
            absent,
        };
        desired.hosts.insert(id.to_owned(), card);
        if absent {
            continue;
        }
        let Some(rules) = rules.get(key) else { continue };
        match rules.declare_host(HostSpec { fleet, key, id, table, control: &surroundings.control_keys }) {
            Err(found) => problems.extend(found),
            Ok(resources) => desired
                .resources
                .extend(resources.into_iter().map(|(id, resource)| (Address { id, place: key.clone() }, resource))),
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
    match table.on.as_deref() {
        Some("ssh") => {}
        Some(other) => problems.push(
            Problem::error("unknown-provider", format!("`{other}` makes no hosts"))
                .at(at("on"))
                .help("a machine that exists is on = \"ssh\""),
        ),
        None => problems.push(
            Problem::error("missing-key", format!("host `{key}` does not say how claw comes by it"))
                .at(at("on"))
                .help("add on = \"ssh\""),
        ),
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
    if let Some(own) = &table.allow_from {
        check_ranges(fleet, &["hosts", key, "allow_from"], own, problems);
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
    let lives_here = |table: &&String| fleet.agents[*table].on.as_deref() == Some(key);
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

fn check_narrower(fleet: &Fleet, key: &str, own: &[String], problems: &mut Vec<Problem>) {
    let outer: Vec<_> = fleet.ssh.allow_from.iter().filter_map(|text| range(text)).collect();
    for (index, text) in own.iter().enumerate() {
        let fits = range(text).is_none_or(|inner| outer.is_empty() || outer.iter().any(|one| is_within(&inner, one)));
        if !fits {
            problems.push(
                Problem::error("allow-from", format!("`{text}` is not within ssh.allow_from"))
                    .at(fleet.tree.item(&["hosts", key, "allow_from"], index))
                    .help("a host may narrow who logs in, not widen it: add the range to [ssh] allow_from"),
            );
        }
    }
}
