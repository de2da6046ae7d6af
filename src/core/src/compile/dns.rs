//! Checks what the fleet says of names, and turns it into record sets. Asks no name server and knows no provider's limits.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::BTreeMap;

use crate::desired::{Desired, Resource, ZoneCard};
use crate::fleet::{AgentTable, Fleet, ProviderKind, RecordKind, RecordTable, ZoneTable};
use crate::name::{Address, Kind, ResourceId};
use crate::problem::{Location, Problem, did_you_mean};
use crate::provider::cloud::{IPV4, IPV6};
use crate::value::{After, Fields, Value};

/// How long answers are kept unless the fleet says, in seconds.
const TTL_SECONDS: u32 = 300;
/// What a zone may say, in seconds: the least that registries and clouds take, and the most that RFC 2181 §8 allows.
const TTL_SECONDS_RANGE: std::ops::RangeInclusive<u32> = 60..=2_147_483_647;
/// The most records one set holds: what the Hetzner Cloud takes, and far above need.
const VALUES_MAX: usize = 50;
/// The longest text of a TXT record: eight of the pieces of 255 that RFC 1035 §3.3 allows.
const TXT_BYTES_MAX: usize = 2040;

/// A set of records on its way to a resource.
struct Set<'a> {
    zone: &'a str,
    name: String,
    kind: RecordKind,
    ttl: u32,
    values: Vec<Value>,
    needs: Vec<Address>,
    of: Option<&'a str>,
    at: Option<Location>,
}

/// Adds the record sets of the fleet to the desired state.
pub(super) fn add(fleet: &Fleet, desired: &mut Desired, problems: &mut Vec<Problem>) {
    let mut sets = Vec::new();
    for (zone, table) in &fleet.dns {
        check_zone(fleet, zone, table, problems);
        if let Some(place) = &table.provider {
            desired.zones.push(ZoneCard { name: zone.clone(), place: place.clone() });
        }
        for (index, record) in table.records.iter().enumerate() {
            sets.extend(extra(fleet, (zone, table), (index, record), problems));
        }
    }
    for (key, agent) in &fleet.agents {
        sets.extend(domain(fleet, desired, key, agent, problems));
    }
    let mut taken: BTreeMap<(String, RecordKind), ()> = BTreeMap::new();
    for set in sets {
        let alone = |kind| taken.contains_key(&(set.name.clone(), kind));
        let clash = match set.kind {
            RecordKind::Cname => {
                taken.range((set.name.clone(), RecordKind::A)..).next().is_some_and(|((name, _), ())| *name == set.name)
            }
            kind => alone(kind) || alone(RecordKind::Cname),
        };
        if clash {
            problems.push(
                Problem::error(
                    "duplicate-record",
                    format!("`{}` already has records that {} cannot stand beside", set.name, set.kind.word()),
                )
                .at(set.at.clone())
                .help("one set for each name and type, and nothing beside a CNAME: put all values into one `values`"),
            );
            continue;
        }
        taken.insert((set.name.clone(), set.kind), ());
        let Some(place) = fleet.dns.get(set.zone).and_then(|table| table.provider.clone()) else { continue };
        let id = ResourceId::new(Kind::Dns, format!("{}:{}", set.name, set.kind.word()));
        let fields = Fields::from([
            ("zone".to_owned(), set.zone.into()),
            ("ttl".to_owned(), u64::from(set.ttl).into()),
            ("values".to_owned(), Value::List(set.values)),
        ]);
        let of = set.of.map(str::to_owned);
        let resource = Resource { fields, needs: set.needs, of, ..Resource::default() };
        desired.resources.insert(Address { id, place }, resource);
    }
}

fn check_zone(fleet: &Fleet, zone: &str, table: &ZoneTable, problems: &mut Vec<Problem>) {
    let key = fleet.tree.key(&["dns", zone]);
    if !is_name(zone) || !zone.contains('.') {
        problems.push(
            Problem::error("zone", format!("`{zone}` is not the name of a zone"))
                .at(key.clone())
                .help("write it in quotes and without a dot at the end: [dns.\"example.org\"]"),
        );
    }
    let serves =
        |name: &String| fleet.providers.get(name).and_then(|one| one.kind).is_some_and(ProviderKind::has_zones);
    let known: Vec<&str> = fleet.providers.keys().filter(|name| serves(name)).map(String::as_str).collect();
    match &table.provider {
        Some(name) if serves(name) => {}
        Some(name) => {
            let help = match did_you_mean(name, known.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None if ProviderKind::ALL.iter().any(|kind| kind.word() == name && kind.has_zones()) => {
                    format!("declare it: [providers.{name}]")
                }
                None => "declare a provider that serves zones: [providers.hetzner]".to_owned(),
            };
            let problem = Problem::error("zone-provider", format!("there is no provider `{name}` that serves zones"));
            problems.push(problem.at(fleet.tree.exact(&["dns", zone, "provider"])).help(help));
        }
        None => problems.push(
            Problem::error("missing-key", format!("zone `{zone}` does not say who serves it"))
                .at(key)
                .help(format!("add provider = \"{}\"", known.first().copied().unwrap_or("hetzner"))),
        ),
    }
    if let Some(ttl) = table.ttl.filter(|ttl| !TTL_SECONDS_RANGE.contains(ttl)) {
        problems.push(bad_ttl(ttl).at(fleet.tree.exact(&["dns", zone, "ttl"])));
    }
}

fn bad_ttl(ttl: u32) -> Problem {
    Problem::error("ttl", format!("a ttl of {ttl} s cannot be")).help(format!(
        "it lies between {} and {} seconds",
        TTL_SECONDS_RANGE.start(),
        TTL_SECONDS_RANGE.end()
    ))
}

/// Returns the set of `[[dns."zone".records]]`.
fn extra<'a>(
    fleet: &Fleet,
    (zone, table): (&'a str, &ZoneTable),
    (index, record): (usize, &RecordTable),
    problems: &mut Vec<Problem>,
) -> Option<Set<'a>> {
    let at = fleet.tree.item(&["dns", zone, "records"], index);
    let name = record.name.to_ascii_lowercase();
    let name = if name == "@" { zone.to_owned() } else { format!("{name}.{zone}") };
    let plain = name.strip_prefix("*.").unwrap_or(&name);
    let before = problems.len();
    if !is_name(plain) {
        problems.push(
            Problem::error("record-name", format!("`{}` is not a name within {zone}", record.name))
                .at(at.clone())
                .help("write it without the zone: \"www\", \"@\" for the zone itself, \"*\" for any"),
        );
    }
    let ttl = record.ttl.or(table.ttl).unwrap_or(TTL_SECONDS);
    if let Some(ttl) = record.ttl.filter(|ttl| !TTL_SECONDS_RANGE.contains(ttl)) {
        problems.push(bad_ttl(ttl).at(at.clone()));
    }
    if record.values.is_empty() || record.values.len() > VALUES_MAX {
        problems.push(
            Problem::error(
                "record-values",
                format!("`{name}` {} has {} values", record.kind.word(), record.values.len()),
            )
            .at(at.clone())
            .help(format!("give it 1 to {VALUES_MAX}; to have none, remove the record")),
        );
    }
    let mut values = Vec::new();
    for text in &record.values {
        match settled(record.kind, text) {
            Ok(value) => values.push(value),
            Err(help) => problems.push(
                Problem::error("record-value", format!("`{text}` is not what {} records say", record.kind.word()))
                    .at(at.clone())
                    .help(help),
            ),
        }
    }
    if record.kind == RecordKind::Cname && (values.len() > 1 || name == zone) {
        problems.push(
            Problem::error("record-value", format!("`{name}` cannot be that CNAME"))
                .at(at.clone())
                .help("a CNAME has one value and cannot be the zone itself; use A and AAAA there"),
        );
    }
    // the order of records in a set means nothing
    values.sort();
    values.dedup();
    let values = values.into_iter().map(Value::Text).collect();
    let set = Set { zone, name, kind: record.kind, ttl, values, needs: Vec::new(), of: None, at };
    (problems.len() == before).then_some(set)
}

/// Returns the sets that lead an agent's `domain` to its machine.
fn domain<'a>(
    fleet: &'a Fleet,
    desired: &Desired,
    key: &'a str,
    agent: &'a AgentTable,
    problems: &mut Vec<Problem>,
) -> Vec<Set<'a>> {
    let Some(text) = &agent.domain else { return Vec::new() };
    let at = fleet.agent_field(key, "domain");
    let name = text.to_ascii_lowercase();
    let mut refuse = |code, message: String, help: String| {
        problems.push(Problem::error(code, message).at(at.clone()).help(help));
        Vec::new()
    };
    if !is_name(&name) {
        return refuse(
            "domain",
            format!("`{text}` is not a name"),
            "write it as in a browser: \"pete.example.org\"; letters beyond ASCII as xn--…".to_owned(),
        );
    }
    let Some((zone, table)) = zone_of(fleet, &name) else {
        let near = did_you_mean(&name, fleet.dns.keys().map(String::as_str));
        let known = fleet.dns.keys().cloned().collect::<Vec<_>>().join(", ");
        let known =
            if known.is_empty() { "there is no [dns] table".to_owned() } else { format!("the fleet has {known}") };
        let zone = name.split_once('.').map_or(name.as_str(), |(_, zone)| zone);
        let declare =
            near.map_or_else(|| format!("declare its zone: [dns.\"{zone}\"]"), |near| format!("did you mean {near}?"));
        return refuse("no-zone", format!("`{text}` lies in no zone of the fleet"), format!("{known}; {declare}"));
    };
    let Some(place) = fleet.place_of(key) else { return Vec::new() };
    let id = agent.id.as_deref().unwrap_or(key);
    let Some(host) = fleet.host_id(place).and_then(|id| Some((id, desired.hosts.get(id)?))) else {
        return refuse(
            "domain",
            format!("`{key}` runs on {place}, which has no address a name could lead to"),
            "put the agent on a host or on a cloud, or remove `domain`".to_owned(),
        );
    };
    let container = Address { id: ResourceId::new(Kind::Container, id), place: place.to_owned() };
    // a name leads to a machine only once its agent answers there
    let mut needs: Vec<Address> = desired.resources.contains_key(&container).then_some(container).into_iter().collect();
    let mut targets = Vec::new();
    match (&host.1.cloud, host.1.address.parse::<IpAddr>()) {
        (Some(cloud), _) => {
            let of = Address { id: ResourceId::new(Kind::Address, host.0), place: cloud.clone() };
            needs.push(of.clone());
            for (kind, fact) in [(RecordKind::A, IPV4), (RecordKind::Aaaa, IPV6)] {
                targets.push((kind, Value::After(Box::new(After { of: of.clone(), fact }))));
            }
        }
        (None, Ok(IpAddr::V4(address))) => targets.push((RecordKind::A, address.to_string().into())),
        (None, Ok(IpAddr::V6(address))) => targets.push((RecordKind::Aaaa, address.to_string().into())),
        (None, Err(_)) => {
            return refuse(
                "domain",
                format!("the address of host `{place}` is a name, and a `domain` leads to an IP address"),
                format!(
                    "give hosts.{place}.address as an IP address, or add a CNAME record to [[dns.\"{zone}\".records]]"
                ),
            );
        }
    }
    let ttl = table.ttl.unwrap_or(TTL_SECONDS);
    let set = |(kind, value)| Set {
        zone,
        name: name.clone(),
        kind,
        ttl,
        values: vec![value],
        needs: needs.clone(),
        of: Some(id),
        at: at.clone(),
    };
    targets.into_iter().map(set).collect()
}

/// Returns the zone that holds a name: the longest that it ends in.
fn zone_of<'a>(fleet: &'a Fleet, name: &str) -> Option<(&'a str, &'a ZoneTable)> {
    let holds = |zone: &str| name == zone || name.strip_suffix(zone).is_some_and(|rest| rest.ends_with('.'));
    fleet
        .dns
        .iter()
        .filter(|(zone, _)| holds(zone))
        .max_by_key(|(zone, _)| zone.len())
        .map(|(zone, table)| (zone.as_str(), table))
}

/// Whether a text is a name in lower case: labels of letters, digits, dashes and underscores (RFC 1035 §2.3.1, RFC 2181 §11).
fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.chars().all(plain) && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// Returns a record's value in the one form claw compares, or what to write instead.
pub fn settled(kind: RecordKind, text: &str) -> Result<String, &'static str> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let absolute = |name: &str| {
        name.strip_suffix('.').map(str::to_ascii_lowercase).filter(|name| is_name(name)).map(|name| name + ".")
    };
    let number = |word: &str| word.parse::<u16>().ok();
    match (kind, words.as_slice()) {
        (RecordKind::A, [one]) => one
            .parse::<Ipv4Addr>()
            .map(|address| address.to_string())
            .map_err(|_| "write an IPv4 address: \"192.0.2.7\""),
        (RecordKind::Aaaa, [one]) => one
            .parse::<Ipv6Addr>()
            .map(|address| address.to_string())
            .map_err(|_| "write an IPv6 address: \"2001:db8::7\""),
        (RecordKind::Cname, [one]) => {
            absolute(one).ok_or("write a whole name with a dot at the end: \"www.example.org.\"")
        }
        (RecordKind::Mx, [priority, host]) => number(priority)
            .and_then(|priority| Some(format!("{priority} {}", absolute(host)?)))
            .ok_or("write priority and host, a dot at the end: \"10 mail.example.org.\""),
        (RecordKind::Srv, [priority, weight, port, host]) => number(priority)
            .zip(number(weight))
            .zip(number(port))
            .and_then(|((priority, weight), port)| Some(format!("{priority} {weight} {port} {}", absolute(host)?)))
            .ok_or("write priority, weight, port and host, a dot at the end: \"0 5 5060 sip.example.org.\""),
        (RecordKind::Caa, [flags, tag, value @ ..]) if !value.is_empty() => {
            let value = value.join(" ");
            let bare = value.trim_matches('"');
            let sound = bare.chars().all(|c| c.is_ascii_graphic() && c != '"' || c == ' ');
            let plain = tag.chars().all(|c| c.is_ascii_alphanumeric());
            let flags = flags.parse::<u8>().ok().filter(|_| sound && plain);
            flags.map(|flags| format!("{flags} {} \"{bare}\"", tag.to_ascii_lowercase())).ok_or(CAA_HELP)
        }
        (RecordKind::Txt, _)
            if text.len() <= TXT_BYTES_MAX && !text.is_empty() && !text.chars().any(char::is_control) =>
        {
            Ok(text.to_owned())
        }
        (RecordKind::Txt, _) => Err("write 1 to 2040 bytes of text, without control characters"),
        (RecordKind::A, _) => Err("write one address in each value"),
        (RecordKind::Aaaa, _) => Err("write one address in each value"),
        (RecordKind::Cname, _) => Err("write one name: \"www.example.org.\""),
        (RecordKind::Mx, _) => Err("write priority and host: \"10 mail.example.org.\""),
        (RecordKind::Srv, _) => Err("write priority, weight, port and host: \"0 5 5060 sip.example.org.\""),
        (RecordKind::Caa, _) => Err(CAA_HELP),
    }
}

const CAA_HELP: &str = "write flags, tag and value: 0 issue \"letsencrypt.org\"";

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::compile::{Surroundings, compile};
    use crate::fleet::{SourceFile, load};
    use crate::provider::Rulebook;

    const HEAD: &str = "[fleet]\nname = \"a\"\nid = \"abcd\"\n[providers.docker]\n[providers.hetzner]\n\
        [defaults.host]\nsize = \"cx23\"\nlocation = \"fsn1\"\n[defaults.agent]\nmodel = \"a/b\"\n";

    /// Returns the record sets of a fleet, or what is wrong with its names.
    fn names(text: &str) -> String {
        let text = format!("{HEAD}{text}");
        let (fleet, problems) = load(&[SourceFile { path: "fleet.toml".to_owned(), text: text.clone() }]);
        assert_eq!(problems, []);
        let fleet = fleet.expect("a fleet");
        let mut desired = Desired::default();
        let mut problems = Vec::new();
        if let Ok((compiled, _)) = compile(&fleet, &Surroundings::default(), &Rulebook::new()) {
            desired = compiled;
        } else {
            // there is no login key here, which is another matter
            for (key, table) in &fleet.hosts {
                let card = crate::desired::HostCard {
                    name: key.clone(),
                    address: table.address.clone().unwrap_or_default(),
                    cloud: table.on.clone().filter(|on| fleet.cloud(on).is_some()),
                    ..Default::default()
                };
                desired.hosts.insert(table.id.clone().unwrap_or_else(|| key.clone()), card);
            }
            add(&fleet, &mut desired, &mut problems);
        }
        let told = problems.iter().map(|problem| {
            let at = problem.at.as_ref().map_or("nowhere", |at| &text[at.start..at.end]);
            let help = problem.help.as_deref().unwrap_or_default();
            format!("{}: {}\n  {}\n  {help}", problem.code, problem.message, at.lines().next().unwrap_or_default())
        });
        let sets = desired.resources.iter().map(|(address, resource)| {
            let values = resource.fields["values"].to_json();
            format!("{address} at {}: {values} ttl {}", address.place, resource.fields["ttl"].to_json())
        });
        told.chain(sets).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_domain_leads_to_the_machine_and_lies_in_the_longest_zone() {
        let text = "[dns.\"example.org\"]\nprovider = \"hetzner\"\n[dns.\"eu.example.org\"]\nprovider = \"hetzner\"\nttl = 60\n\
            [hosts.attic]\non = \"ssh\"\naddress = \"192.0.2.1\"\n\
            [agents.ann]\non = \"hetzner\"\ndomain = \"Ann.eu.example.org\"\n\
            [agents.bob]\non = \"attic\"\ndomain = \"example.org\"\n";
        assert_snapshot!(names(text), @r#"
        dns/ann.eu.example.org:A at hetzner: [{"fact":"ipv4","known_after":"address/ann"}] ttl 60
        dns/ann.eu.example.org:AAAA at hetzner: [{"fact":"ipv6","known_after":"address/ann"}] ttl 60
        dns/example.org:A at hetzner: ["192.0.2.1"] ttl 300
        "#);
    }

    #[test]
    fn records_are_settled_into_one_form() {
        let record = |name: &str, kind: &str, values: &str| {
            format!("[[dns.\"example.org\".records]]\nname = \"{name}\"\ntype = \"{kind}\"\nvalues = [{values}]\n")
        };
        let text = [
            "[dns.\"example.org\"]\nprovider = \"hetzner\"\n".to_owned(),
            record("WWW", "CNAME", "\"Example.ORG.\""),
            record("*", "AAAA", "\"2001:DB8:0:0::7\", \"2001:db8::6\""),
            record("@", "MX", "\"20  b.example.org.\", \"10 a.example.org.\""),
            record("_sip._tcp", "SRV", "\"0 5 5060 sip.example.org.\""),
            record("@", "CAA", "\"0 issue letsencrypt.org\""),
            record("@", "TXT", "\"v=spf1 -all\""),
        ];
        assert_snapshot!(names(&text.concat()), @r#"
        dns/*.example.org:AAAA at hetzner: ["2001:db8::6","2001:db8::7"] ttl 300
        dns/_sip._tcp.example.org:SRV at hetzner: ["0 5 5060 sip.example.org."] ttl 300
        dns/example.org:CAA at hetzner: ["0 issue \"letsencrypt.org\""] ttl 300
        dns/example.org:MX at hetzner: ["10 a.example.org.","20 b.example.org."] ttl 300
        dns/example.org:TXT at hetzner: ["v=spf1 -all"] ttl 300
        dns/www.example.org:CNAME at hetzner: ["example.org."] ttl 300
        "#);
    }

    #[test]
    fn what_cannot_be_a_name_or_a_record_is_told_with_what_to_write() {
        let text = "[dns.\"example.org\"]\nprovider = \"hetznr\"\nttl = 5\n\
            records = [{ name = \"a b\", type = \"A\", values = [\"192.0.2.1\"] }, \
            { name = \"x\", type = \"A\", values = [\"192.0.2\"] }, { name = \"y\", type = \"MX\", values = [\"mail\"] }, \
            { name = \"@\", type = \"CNAME\", values = [\"a.example.net.\"] }, { name = \"z\", type = \"A\", values = [] }, \
            { name = \"c\", type = \"CNAME\", values = [\"a.example.net.\"] }, { name = \"c\", type = \"A\", values = [\"192.0.2.1\"] }]\n\
            [agents.ann]\non = \"hetzner\"\ndomain = \"ann.example.net\"\n\
            [agents.bob]\non = \"docker\"\ndomain = \"bob.example.org\"\n\
            [agents.cid]\non = \"hetzner\"\ndomain = \"-.example.org\"\n";
        assert_snapshot!(names(text));
    }
}
