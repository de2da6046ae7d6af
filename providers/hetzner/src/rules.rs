//! What a host on the Hetzner Cloud consists of there, what it costs, and what a change to it does. Looks at nothing.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use claw_core::desired::Resource;
use claw_core::money::Money;
use claw_core::name::{Address, Kind, ResourceId};
use claw_core::plan::Effect;
use claw_core::problem::{Problem, did_you_mean};
use claw_core::provider::access::FROM;
use claw_core::provider::cloud::{AGENTS, FIREWALL, SEVERAL};
use claw_core::provider::{AgentSpec, HostSpec, Rules};
use claw_core::ssh::{Standing, range};
use claw_core::value::{Change, Fields, Value};

use crate::catalog::CATALOG;
use crate::names;

/// The system a machine begins with unless the fleet says.
const IMAGE: &str = "debian-12";
/// What else a rule set lets in besides SSH: without it no path MTU is found, and nothing can be pinged.
pub const PING: &str = "icmp from anywhere";
/// What a machine is shown to run where nobody knows.
pub const SYSTEM_IMAGE_UNKNOWN: &str = "(unknown)";
/// What the system itself takes of a machine's memory, in MiB.
const SYSTEM_MIB: u64 = 512;

/// The rules of Hetzner Cloud projects.
#[derive(Clone, Copy, Debug, Default)]
pub struct HetznerRules;

impl Rules for HetznerRules {
    fn declare(&self, _: AgentSpec<'_>) -> Result<Vec<(ResourceId, Resource)>, Vec<Problem>> {
        // an agent runs on its machine, which is another place
        Ok(Vec::new())
    }

    fn declare_machine(&self, host: HostSpec<'_>) -> Result<Vec<(ResourceId, Resource)>, Vec<Problem>> {
        let Some(place) = host.table.on.as_deref() else { return Ok(Vec::new()) };
        let at = |id: &ResourceId| Address { id: id.clone(), place: place.to_owned() };
        let plain = |fields| Resource { fields, ..Resource::default() };
        let keys = host.control.iter().filter(|key| key.standing != Standing::Retired).map(|key| {
            let public = Fields::from([("public_key".to_owned(), key.public.to_string().into())]);
            (ResourceId::new(Kind::Sshkey, names::of_key(&key.public)), plain(public))
        });
        let mut found: Vec<_> = keys.collect();
        let rules = rule_set(host);
        found.push((ResourceId::new(Kind::Firewall, rules.0.clone()), plain(rules.1)));
        let address = Fields::from([
            ("location".to_owned(), location(host).into()),
            ("ipv4".to_owned(), "kept".into()),
            ("ipv6".to_owned(), "kept".into()),
        ]);
        found.push((ResourceId::new(Kind::Address, host.id), plain(address)));
        let needs = found.iter().map(|(id, _)| at(id)).collect();
        let fields = server(host, &rules.0);
        found.push((ResourceId::new(Kind::Server, host.id), Resource { fields, needs, ..Resource::default() }));
        Ok(found)
    }

    fn check_machine(&self, host: HostSpec<'_>, agents_mib: &[u64]) -> Vec<Problem> {
        let mut problems = Vec::new();
        check_location(host, &mut problems);
        let sizes = host.table.size.as_ref().map_or(&[][..], |sizes| sizes.texts());
        for size in sizes {
            check_size(host, size, agents_mib, &mut problems);
        }
        check_image(host, &mut problems);
        problems
    }

    fn price(
        &self,
        id: &ResourceId,
        fields: &Fields,
        thing: &BTreeMap<String, String>,
        place: &BTreeMap<String, String>,
    ) -> Option<Money> {
        let location = fields.get("location").and_then(Value::as_text)?;
        let of = |what: &str| Money::parse(place.get(&price_fact(what, location))?);
        match id.kind {
            Kind::Address => of("ipv4"),
            Kind::Server => {
                let Some(Value::List(sizes)) = fields.get("size") else { return None };
                let sizes: Vec<&str> = sizes.iter().filter_map(Value::as_text).collect();
                let stays = thing.get("size").map(String::as_str).filter(|size| sizes.contains(size));
                of(stays.or_else(|| sizes.first().copied())?)
            }
            _ => None,
        }
    }

    fn weigh(&self, id: &ResourceId, changes: &[Change]) -> Effect {
        let one = |change: &Change| match (id.kind, change.path.as_str()) {
            (Kind::Server, "image" | "location") | (Kind::Address, "location") => Effect::Replace,
            // both are done with the machine off
            (Kind::Server, "size" | "addresses") => Effect::Reboot,
            _ => Effect::None,
        };
        changes.iter().map(one).max().unwrap_or(Effect::None)
    }
}

/// Returns the name of the fact with a month's price, of a size or of `ipv4`, at a location.
pub fn price_fact(what: &str, location: &str) -> String {
    format!("price {what} {location}")
}

fn location(host: HostSpec<'_>) -> &str {
    host.table.location.as_deref().unwrap_or_default()
}

/// Returns the rule set of a host: its name and its fields.
fn rule_set(host: HostSpec<'_>) -> (String, Fields) {
    let own = host.table.allow_from.as_ref().filter(|own| **own != host.fleet.ssh.allow_from);
    let ranges = settle_ranges(own.unwrap_or(&host.fleet.ssh.allow_from));
    let name = if own.is_some() { names::of_ranges(&ranges) } else { names::RULES.to_owned() };
    (name, rule_fields(&ranges))
}

/// Returns the fields of a rule set that lets these ranges in at port 22.
pub fn rule_fields(ranges: &[String]) -> Fields {
    let mut fields = Fields::from([("others".to_owned(), Value::List(vec![PING.into()]))]);
    if !ranges.is_empty() {
        fields.insert(FROM.to_owned(), Value::List(ranges.iter().map(|text| text.as_str().into()).collect()));
    }
    fields
}

/// Returns ranges in the one form that is compared: as networks, in order.
pub fn settle_ranges(texts: &[String]) -> Vec<String> {
    let mut ranges: Vec<String> = texts.iter().filter_map(|text| Some(range(text)?.trunc().to_string())).collect();
    ranges.sort();
    ranges.dedup();
    // everybody is said by saying nobody
    if is_anywhere(&ranges) { Vec::new() } else { ranges }
}

fn server(host: HostSpec<'_>, rules: &str) -> Fields {
    let sizes = host.table.size.as_ref().map_or(&[][..], |sizes| sizes.texts());
    Fields::from([
        ("name".to_owned(), names::name(&host.fleet.meta.id, host.id).into()),
        ("size".to_owned(), Value::List(sizes.iter().map(|size| size.as_str().into()).collect())),
        ("location".to_owned(), location(host).into()),
        ("image".to_owned(), host.table.image.as_deref().unwrap_or(IMAGE).into()),
        ("status".to_owned(), "running".into()),
        ("protected".to_owned(), true.into()),
        ("addresses".to_owned(), "its own".into()),
        (FIREWALL.to_owned(), rules.into()),
        (AGENTS.to_owned(), if host.fleet.is_own(host.key) { "one" } else { SEVERAL }.into()),
    ])
}

fn check_location(host: HostSpec<'_>, problems: &mut Vec<Problem>) {
    let location = location(host);
    if location.is_empty() || CATALOG.location(location).is_some() {
        return;
    }
    let known = CATALOG.locations.iter().map(|place| place.name.as_str());
    let help = did_you_mean(location, known.clone()).map_or_else(
        || format!("claw knows {}", known.collect::<Vec<_>>().join(", ")),
        |near| format!("did you mean \"{near}\"?"),
    );
    problems.push(
        Problem::warning("location", format!("claw does not know the location `{location}`"))
            .at(host.fleet.host_field(host.key, "location"))
            .help(help),
    );
}

fn check_size(host: HostSpec<'_>, size: &str, agents_mib: &[u64], problems: &mut Vec<Problem>) {
    let at = host.fleet.host_field(host.key, "size");
    if let Some(next) = CATALOG.retired.get(size) {
        problems.push(
            Problem::error("size", format!("`{size}` is not sold any more")).at(at).help(format!("take \"{next}\"")),
        );
        return;
    }
    let Some(known) = CATALOG.size(size) else {
        let near = did_you_mean(size, CATALOG.sizes.iter().map(|known| known.name.as_str()));
        let help = near.map_or_else(
            || "`hcloud server-type list` shows them".to_owned(),
            |near| format!("did you mean \"{near}\"?"),
        );
        problems.push(Problem::warning("size", format!("claw does not know the size `{size}`")).at(at).help(help));
        return;
    };
    if known.eu && CATALOG.location(location(host)).is_some_and(|place| !place.eu) {
        problems.push(
            Problem::error("size", format!("`{size}` is not sold in {}", location(host)))
                .at(at.clone())
                .help("cx and cax sizes are sold in fsn1, nbg1 and hel1; take a cpx or ccx size there"),
        );
    }
    let wanted: u64 = agents_mib.iter().sum();
    if wanted + SYSTEM_MIB > known.memory {
        let agents = if agents_mib.len() == 1 { "its agent" } else { "its agents" };
        problems.push(
            Problem::error(
                "memory",
                format!("{agents} on `{}` may use {wanted} MiB, and a {size} has {} MiB", host.key, known.memory),
            )
            .at(at)
            .help(format!(
                "take a larger size, or lower resources.memory; the system itself needs about {SYSTEM_MIB} MiB"
            )),
        );
    }
}

fn check_image(host: HostSpec<'_>, problems: &mut Vec<Problem>) {
    let Some(image) = host.table.image.as_deref().filter(|image| !CATALOG.images.known.iter().any(|one| one == image))
    else {
        return;
    };
    let known = CATALOG.images.known.join(", ");
    problems.push(
        Problem::warning("image", format!("claw has not been tried on `{image}`"))
            .at(host.fleet.host_field(host.key, "image"))
            .help(format!("it wants Debian or Ubuntu with cloud-init: {known}")),
    );
}

/// Whether a range is everybody: as rules spell it.
pub fn is_anywhere(texts: &[String]) -> bool {
    let all = [format!("{}/0", Ipv4Addr::UNSPECIFIED), format!("{}/0", Ipv6Addr::UNSPECIFIED)];
    all.iter().all(|one| texts.contains(one))
}
