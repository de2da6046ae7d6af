//! Looks at a project: a handful of lists, all at once, and from them what stands of each resource. A list that is not whole
//! makes what is missing in it unknown, and takes nothing for left over.

mod zones;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use claw_core::desired::Desired;
use claw_core::name::{Address, Kind};
use claw_core::observed::{Actual, Observation, Owner, Report, State};
use claw_core::provider::cloud::{AGENTS, FIREWALL, IPV4, IPV6, SEVERAL};
use claw_core::text::clean;
use claw_core::value::{Fields, Value};
use futures_util::{StreamExt, join, stream};

use crate::names::{self, BORN, NAME, PIN};
use crate::pages::Filter;
use crate::project::{Fleet, Project, whole};
use crate::rules::{PING, SYSTEM_IMAGE_UNKNOWN, is_anywhere, price_fact, rule_fields, settle_ranges};
use crate::wire::{
    AppliedToType, Direction, Firewall, IpType, Labels, Pricing, PrimaryIp, Protocol, Rule, Server, ServerStatus,
    ServerType, SshKey,
};

/// How many names of machines that shall be made are looked up, in case somebody else has them.
const NAMES_LOOKED_UP_MAX: usize = 25;
/// How many of them at once.
const LOOKS_AT_ONCE: usize = 8;

/// What was seen of one kind: everything of ours by name, or why the list is not whole.
type Kinds<T> = Result<BTreeMap<String, T>, String>;

/// Returns what stands of a fleet in a project.
pub async fn observe(project: &Project, desired: &Desired) -> Report {
    let client = &project.client;
    let ours = project.ours();
    let (keys, firewalls, ips, servers, types, pricing, dns) = join!(
        client.ssh_keys(&ours),
        client.firewalls(&ours),
        client.primary_ips(&ours),
        project.servers(true),
        client.server_types(),
        client.pricing(),
        zones::observe(project, desired),
    );
    let keys = whole(keys);
    if let (Err(_), Err(_), Err(why)) = (&keys, &firewalls, &servers) {
        // one cause, told once
        return Report { place: project.place.clone(), incomplete: Some(why.clone()), ..Report::default() };
    }
    let keys = keys.map(|keys| by_name(keys, |key: &SshKey| &key.labels));
    let firewalls = whole(firewalls).map(|all| by_name(all, |one: &Firewall| &one.labels));
    let ips = whole(ips).map(|all| grouped(all, |one: &PrimaryIp| &one.labels));
    let mut look = Look {
        project,
        desired,
        observations: dns.observations,
        incomplete: dns.incomplete,
        by_label: BTreeSet::new(),
    };
    look.kind(Kind::Sshkey, keys.map(|keys| keys.into_iter().map(|(name, key)| (name, of_key(&key))).collect()));
    let sets = firewalls.as_ref().map(|all| all.iter().map(|(name, one)| (name.clone(), of_firewall(one))).collect());
    look.kind(Kind::Firewall, sets.map_err(String::clone));
    let addresses = ips.as_ref().map(|all| {
        all.iter().map(|(name, ips)| (name.clone(), of_ips(ips, look.location(Kind::Address, name)))).collect()
    });
    look.kind(Kind::Address, addresses.map_err(String::clone));
    let taken = look.names_taken(&servers).await;
    look.by_label = by_label(project, &servers, &firewalls).await;
    look.servers(servers, firewalls.ok(), ips.ok());
    look.foreign_servers(taken);
    let Look { observations, incomplete, .. } = look;
    let mut report = Report { place: project.place.clone(), observations, incomplete, ..Report::default() };
    report.facts = prices(project, desired, &report, types.map(|types| types.items).ok(), pricing.ok());
    report
}

fn by_name<T>(all: Vec<T>, labels: impl Fn(&T) -> &Labels) -> BTreeMap<String, T> {
    all.into_iter().filter_map(|one| Some((labels(&one).get(NAME)?.clone(), one))).collect()
}

fn grouped<T>(all: Vec<T>, labels: impl Fn(&T) -> &Labels) -> BTreeMap<String, Vec<T>> {
    let mut groups: BTreeMap<String, Vec<T>> = BTreeMap::new();
    for one in all {
        if let Some(name) = labels(&one).get(NAME) {
            groups.entry(name.clone()).or_default().push(one);
        }
    }
    groups
}

/// Gathers observations.
struct Look<'a> {
    project: &'a Project,
    desired: &'a Desired,
    observations: Vec<Observation>,
    /// Why what is left over may not be seen.
    incomplete: Option<String>,
    /// Somebody's rule sets that hold for all machines with some label.
    by_label: BTreeSet<u64>,
}

impl Look<'_> {
    fn push(&mut self, kind: Kind, name: &str, state: State) {
        self.observations.push(Observation { address: self.project.address(kind, name), state });
    }

    /// Takes a kind in: each thing that was seen, or that none of those the fleet wants could be.
    fn kind(&mut self, kind: Kind, seen: Kinds<Actual>) {
        match seen {
            Ok(seen) => {
                self.absent(kind, |name| seen.contains_key(name));
                seen.into_iter().for_each(|(name, actual)| self.push(kind, &name, State::Present(actual)));
            }
            Err(why) => self.unknown(kind, &why),
        }
    }

    /// A kind that was listed whole says what is not there, also where another kind was not.
    fn absent(&mut self, kind: Kind, is_there: impl Fn(&str) -> bool) {
        for name in self.wanted(kind).into_iter().filter(|name| !is_there(name)) {
            self.push(kind, &name, State::Absent);
        }
    }

    fn unknown(&mut self, kind: Kind, why: &str) {
        for name in self.wanted(kind) {
            self.push(kind, &name, State::Unknown { why: why.to_owned() });
        }
        self.incomplete.get_or_insert_with(|| why.to_owned());
    }

    fn wanted(&self, kind: Kind) -> Vec<String> {
        let here = |address: &&Address| address.place == self.project.place && address.id.kind == kind;
        self.desired.resources.keys().filter(here).map(|address| address.id.name.clone()).collect()
    }

    fn field(&self, kind: Kind, name: &str, field: &str) -> Option<&Value> {
        self.desired.resources.get(&self.project.address(kind, name))?.fields.get(field)
    }

    fn location(&self, kind: Kind, name: &str) -> Option<&str> {
        self.field(kind, name, "location")?.as_text()
    }

    fn servers(
        &mut self,
        servers: Result<Fleet, String>,
        firewalls: Option<BTreeMap<String, Firewall>>,
        ips: Option<BTreeMap<String, Vec<PrimaryIp>>>,
    ) {
        let servers = match servers {
            Ok(servers) => servers,
            Err(why) => return self.unknown(Kind::Server, &why),
        };
        self.absent(Kind::Server, |name| servers.contains_key(name));
        for (name, same) in servers {
            let [server] = same.as_slice() else {
                let names: Vec<String> = same.iter().map(|one| clean(&one.name, 80)).collect();
                let why = format!(
                    "{} carry the mark of one machine; take the label {} off the one that is not the fleet's",
                    names.join(" and "),
                    names::FLEET
                );
                self.push(Kind::Server, &name, State::Unknown { why });
                continue;
            };
            let (Some(firewalls), Some(ips)) = (&firewalls, &ips) else {
                let why = "what is around it could not be listed".to_owned();
                self.push(Kind::Server, &name, State::Unknown { why });
                continue;
            };
            if server.server_type.is_none() || server.public_net.is_none() || server.location.is_none() {
                let why = "the answer about it leaves out its size, its network or its location; look for a newer claw";
                self.push(Kind::Server, &name, State::Unknown { why: why.to_owned() });
                continue;
            }
            let own = ips.get(&name).map_or(&[][..], Vec::as_slice);
            let fields = self.server_fields(&name, server, firewalls, own);
            let actual =
                Actual { fields, owner: Owner::Ours, created: server.created.clone(), facts: server_facts(server) };
            self.push(Kind::Server, &name, State::Present(actual));
        }
    }

    fn server_fields(
        &self,
        name: &str,
        server: &Server,
        firewalls: &BTreeMap<String, Firewall>,
        ips: &[PrimaryIp],
    ) -> Fields {
        let size = server.server_type.as_ref().map_or("", |one| one.name.as_str());
        // one of the sizes that are fine is fine
        let sizes = match self.field(Kind::Server, name, "size") {
            Some(Value::List(sizes)) if sizes.iter().any(|one| one.as_text() == Some(size)) => sizes.clone(),
            _ => vec![size.into()],
        };
        let image = server.image.as_ref().and_then(|image| image.name.clone());
        // an image without a name may be any: nothing is made anew for that
        let wanted = self.field(Kind::Server, name, "image").and_then(Value::as_text);
        let image = image.as_deref().or(wanted).unwrap_or(SYSTEM_IMAGE_UNKNOWN);
        // an answer that does not tell the firewalls does not say that there are none
        let told = server.public_net.as_ref().is_none_or(|net| net.firewalls.is_some());
        let wanted = self.field(Kind::Server, name, FIREWALL).and_then(Value::as_text);
        let rules = wanted.filter(|_| !told).map_or_else(|| firewall(server, firewalls, &self.by_label), str::to_owned);
        let protection = server.protection.unwrap_or_default();
        Fields::from([
            ("name".to_owned(), server.name.as_str().into()),
            ("size".to_owned(), Value::List(sizes)),
            ("location".to_owned(), server.location.as_ref().map_or("", |one| one.name.as_str()).into()),
            ("image".to_owned(), image.into()),
            ("status".to_owned(), status(&server.status).into()),
            ("protected".to_owned(), (protection.delete && protection.rebuild).into()),
            ("addresses".to_owned(), addresses(server, ips).into()),
            (FIREWALL.to_owned(), rules.into()),
            (AGENTS.to_owned(), server.labels.get(names::AGENTS).map_or(SEVERAL, String::as_str).into()),
        ])
    }

    /// Looks up whether somebody else has the names of machines that shall be made.
    async fn names_taken(&self, servers: &Result<Fleet, String>) -> Vec<(String, Server)> {
        let Ok(servers) = servers else { return Vec::new() };
        let missing = self.wanted(Kind::Server).into_iter().filter(|name| !servers.contains_key(name));
        let looks: Vec<_> = missing.take(NAMES_LOOKED_UP_MAX).map(|name| look_up(self.project, name)).collect();
        let found: Vec<_> = stream::iter(looks).buffered(LOOKS_AT_ONCE).collect().await;
        found.into_iter().flatten().collect()
    }

    fn foreign_servers(&mut self, taken: Vec<(String, Server)>) {
        for (name, server) in taken {
            let actual = Actual { owner: Owner::Foreign, facts: server_facts(&server), ..Actual::default() };
            self.push(Kind::Server, &name, State::Present(actual));
        }
    }
}

/// Returns the rule sets of others that hold for all machines with some label. Asked for only where one of ours has a rule
/// set that is not ours.
async fn by_label(
    project: &Project,
    servers: &Result<Fleet, String>,
    firewalls: &Result<BTreeMap<String, Firewall>, String>,
) -> BTreeSet<u64> {
    let (Ok(servers), Ok(ours)) = (servers, firewalls) else { return BTreeSet::new() };
    if only_ours(servers, ours) {
        return BTreeSet::new();
    }
    let all = project.client.firewalls(&Filter::all()).await.map(|list| list.items).unwrap_or_default();
    let labelled = |one: &&Firewall| one.applied_to.iter().any(|to| to.kind == AppliedToType::LabelSelector);
    all.iter().filter(labelled).map(|one| one.id).collect()
}

fn only_ours(servers: &Fleet, ours: &BTreeMap<String, Firewall>) -> bool {
    let nets = servers.values().flatten().filter_map(|server| server.public_net.as_ref());
    let mut on = nets.filter_map(|net| net.firewalls.as_ref()).flatten();
    on.all(|one| ours.values().any(|own| own.id == one.id))
}

/// Returns the machine that has the name of a host's and is not the fleet's.
async fn look_up(project: &Project, name: String) -> Option<(String, Server)> {
    let called = names::name(&project.fleet, &name);
    let found = project.client.servers(&Filter::named(&called)).await.ok()?;
    Some((name, found.items.into_iter().find(|one| !project.is_ours(&one.labels))?))
}

fn of_key(key: &SshKey) -> Actual {
    let bare: Vec<&str> = key.public_key.split_whitespace().take(2).collect();
    Actual { fields: Fields::from([("public_key".to_owned(), bare.join(" ").into())]), ..Actual::default() }
}

fn of_firewall(firewall: &Firewall) -> Actual {
    let is_ssh = |rule: &&Rule| {
        rule.direction == Direction::In && rule.protocol == Protocol::Tcp && rule.port.as_deref() == Some("22")
    };
    let ssh: Vec<&Rule> = firewall.rules.iter().filter(is_ssh).collect();
    let ranges = match ssh.as_slice() {
        [one] => settle_ranges(&one.source_ips),
        _ => vec!["(not one rule)".to_owned()],
    };
    let mut fields = rule_fields(&ranges);
    let others = firewall.rules.iter().filter(|rule| !is_ssh(rule)).map(|rule| Value::Text(rule_text(rule)));
    fields.insert("others".to_owned(), Value::List(others.collect()));
    Actual { fields, ..Actual::default() }
}

/// Returns a rule as people read it.
fn rule_text(rule: &Rule) -> String {
    if rule.direction == Direction::In && rule.protocol == Protocol::Icmp && is_anywhere(&rule.source_ips) {
        return PING.to_owned();
    }
    let (word, ends) = match rule.direction {
        Direction::In => ("from", &rule.source_ips),
        _ => ("to", &rule.destination_ips),
    };
    let port = rule.port.as_deref().map(|port| format!(" {}", clean(port, 20))).unwrap_or_default();
    let ends: Vec<String> = ends.iter().map(|end| clean(end, 50)).collect();
    format!("{} {}{port} {word} {}", rule.direction, rule.protocol, ends.join(", "))
}

/// Returns what stands of a host's addresses. `wanted` is where they shall be: others are from before.
fn of_ips(ips: &[PrimaryIp], wanted: Option<&str>) -> Actual {
    let place = |ip: &PrimaryIp| ip.location.as_ref().map(|one| one.name.clone()).unwrap_or_default();
    let here = |ip: &&PrimaryIp| wanted.is_none_or(|wanted| place(ip) == wanted);
    let current: Vec<&PrimaryIp> =
        if ips.iter().any(|ip| here(&ip)) { ips.iter().filter(here).collect() } else { ips.iter().collect() };
    let mut actual = Actual::default();
    if let Some(first) = current.first() {
        actual.fields.insert("location".to_owned(), place(first).into());
    }
    for ip in &current {
        let (field, fact) = match ip.kind {
            IpType::V4 => (IPV4, ip.ip.clone()),
            IpType::V6 => (IPV6, own_ipv6(&ip.ip)),
            IpType::Other(_) => continue,
        };
        let standing = if ip.auto_delete == Some(true) { "goes with the machine" } else { "kept" };
        actual.fields.insert(field.to_owned(), standing.into());
        actual.facts.insert(field.to_owned(), fact);
    }
    let former: Vec<&str> =
        ips.iter().filter(|ip| !current.iter().any(|one| one.id == ip.id)).map(|ip| ip.ip.as_str()).collect();
    if !former.is_empty() {
        actual.fields.insert("from_before".to_owned(), former.join(", ").into());
    }
    actual
}

/// Returns the address of a machine in the network that the cloud gives it: its first.
pub fn own_ipv6(network: &str) -> String {
    let bare = network.split('/').next().unwrap_or_default();
    match bare.parse::<Ipv6Addr>() {
        Ok(address) if address.octets()[8..].iter().all(|byte| *byte == 0) => {
            Ipv6Addr::from_bits(address.to_bits() | 1).to_string()
        }
        _ => bare.to_owned(),
    }
}

/// Returns the status as it is compared: what is on its way up is up.
fn status(status: &ServerStatus) -> &str {
    match status {
        ServerStatus::Initializing | ServerStatus::Starting => ServerStatus::Running.as_str(),
        other => other.as_str(),
    }
}

fn addresses(server: &Server, own: &[PrimaryIp]) -> String {
    let Some(net) = &server.public_net else { return "none".to_owned() };
    let attached: Vec<_> = [&net.ipv4, &net.ipv6].into_iter().flatten().collect();
    let is_own = |id: Option<u64>| own.iter().any(|ip| Some(ip.id) == id);
    match attached.as_slice() {
        [_, _] if attached.iter().all(|ip| is_own(ip.id)) => "its own".to_owned(),
        [] => "none".to_owned(),
        some => some.iter().map(|ip| clean(&ip.ip, 50)).collect::<Vec<_>>().join(", "),
    }
}

/// Returns the rule sets on a machine. Those that somebody has on all machines with some label are not the machine's.
fn firewall(server: &Server, firewalls: &BTreeMap<String, Firewall>, by_label: &BTreeSet<u64>) -> String {
    let on = server.public_net.as_ref().and_then(|net| net.firewalls.as_deref()).unwrap_or_default();
    let on = on.iter().filter(|one| !by_label.contains(&one.id));
    let name = |id: u64| {
        let ours = firewalls.iter().find(|(_, one)| one.id == id).map(|(name, _)| name.clone());
        ours.unwrap_or_else(|| format!("somebody's firewall {id}"))
    };
    let names: BTreeSet<String> = on.map(|one| name(one.id)).collect();
    if names.is_empty() { "none".to_owned() } else { names.into_iter().collect::<Vec<_>>().join(", ") }
}

/// Returns what is worth knowing of a machine and no plan compares.
pub fn server_facts(server: &Server) -> BTreeMap<String, String> {
    let net = server.public_net.as_ref();
    let mut facts = BTreeMap::from([("id".to_owned(), server.id.to_string())]);
    let mut note = |key: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            facts.insert(key.to_owned(), value);
        }
    };
    note("called", Some(server.name.clone()));
    note("size", server.server_type.as_ref().map(|one| one.name.clone()));
    note(IPV4, net.and_then(|net| Some(net.ipv4.as_ref()?.ip.clone())));
    note(IPV6, net.and_then(|net| Some(own_ipv6(&net.ipv6.as_ref()?.ip))));
    note("host_key", server.labels.get(PIN).cloned());
    note("first_contact", server.labels.get(BORN).cloned());
    facts
}

/// Returns what a month costs, of the sizes that the fleet has or wants, and of an address.
fn prices(
    project: &Project,
    desired: &Desired,
    report: &Report,
    types: Option<Vec<ServerType>>,
    pricing: Option<Pricing>,
) -> BTreeMap<String, String> {
    let here = |address: &Address| address.place == project.place && address.id.kind == Kind::Server;
    let wanted = desired.resources.iter().filter(|(address, _)| here(address)).map(|(_, resource)| &resource.fields);
    let seen = report.observations.iter().filter_map(|one| match &one.state {
        State::Present(actual) if here(&one.address) => Some(&actual.fields),
        _ => None,
    });
    let sizes = wanted.chain(seen).filter_map(|fields| match fields.get("size") {
        Some(Value::List(sizes)) => Some(sizes.iter().filter_map(Value::as_text)),
        _ => None,
    });
    let sizes: BTreeSet<&str> = sizes.flatten().collect();
    let mut facts = BTreeMap::new();
    for one in types.into_iter().flatten().filter(|one| sizes.contains(one.name.as_str())) {
        for price in &one.prices {
            if let Some(month) = &price.price_monthly {
                facts.insert(price_fact(&one.name, &price.location), month.net.clone());
            }
        }
    }
    let ips = pricing.into_iter().flat_map(|pricing| pricing.primary_ips);
    for price in ips.filter(|one| one.kind == IpType::V4).flat_map(|one| one.prices) {
        if let Some(month) = &price.price_monthly {
            facts.insert(price_fact("ipv4", &price.location), month.net.clone());
        }
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_the_first_address_of_its_network() {
        assert_eq!(own_ipv6("2001:db8:1:2::/64"), "2001:db8:1:2::1");
        assert_eq!(own_ipv6("2001:db8:1:2::7"), "2001:db8:1:2::7");
        assert_eq!(own_ipv6("odd"), "odd");
    }
}
