//! DNS zones: made with the records every zone has, found by id or by name.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::actions::Work;
use super::answer::Reply;
use super::body::{Fields, Request, need};
use super::list::{Listed, Value};
use super::refusal::Refusal;
use super::selector::Labels;
use super::servers::is_host_name;
use super::state::{Kind, Record, Rrset, Zone};
use super::{Cloud, rrsets, timestamp, zonefile};

/// The name servers every zone is served by.
pub(super) const NAMESERVERS: [&str; 3] =
    ["hydrogen.ns.hetzner.com.", "oxygen.ns.hetzner.com.", "helium.ns.hetzner.de."];
const TTL_USUAL: u32 = 3600;
const TTLS: std::ops::RangeInclusive<u64> = 60..=2_147_483_647;

impl Cloud {
    pub(super) fn zones_route(&mut self, request: &Request, rest: &[&str]) -> Result<Reply, Refusal> {
        match (request.method.as_str(), rest) {
            ("GET", []) => self.list(request, "zones", self.zones.values()),
            ("POST", []) => self.create_zone(request),
            ("GET", ["actions"]) => self.actions_of(request, Kind::Zone, None),
            ("GET", ["actions", action] | [_, "actions", action]) => self.action(action),
            ("GET", [zone, "actions"]) => self.actions_of(request, Kind::Zone, Some(self.zone(zone)?.id)),
            ("GET", [zone]) => Ok(Reply::new(200, json!({ "zone": self.zone(zone)?.render(self) }))),
            ("PUT", [zone]) => {
                let (id, labels) = (self.zone(zone)?.id, request.fields()?.labels()?);
                self.edit_zone(id, |zone| zone.labels = labels.unwrap_or_else(|| zone.labels.clone()));
                Ok(Reply::new(200, json!({ "zone": self.zones.get(&id).map(|zone| zone.render(self)) })))
            }
            ("DELETE", [zone]) => self.delete_zone(zone),
            ("GET", [zone, "zonefile"]) => {
                let zone = self.primary_zone(zone)?;
                Ok(Reply::new(200, json!({ "zonefile": zonefile::write(zone) })))
            }
            ("POST", [zone, "actions", command]) => self.zone_command(zone, command, request),
            (_, [zone, "rrsets", rest @ ..]) => self.rrsets_route(request, zone, rest),
            _ => Err(Refusal::unsupported("this")),
        }
    }

    /// Finds a zone by id or by name.
    pub(super) fn zone(&self, id_or_name: &str) -> Result<&Zone, Refusal> {
        let by_id = id_or_name.parse().ok().and_then(|id: u64| self.zones.get(&id));
        let found = by_id.or_else(|| self.zones.values().find(|zone| zone.name == id_or_name));
        found.ok_or_else(|| Refusal::not_found("zone", id_or_name))
    }

    /// Finds a zone whose records are kept here.
    pub(super) fn primary_zone(&self, id_or_name: &str) -> Result<&Zone, Refusal> {
        let zone = self.zone(id_or_name)?;
        if zone.secondary {
            let message = "operation is not supported for this zone's mode";
            return Err(Refusal::unprocessable("incorrect_zone_mode", message));
        }
        Ok(zone)
    }

    pub(super) fn edit_zone(&mut self, id: u64, edit: impl FnOnce(&mut Zone)) {
        if let Some(zone) = self.zones.get_mut(&id) {
            edit(zone);
        }
    }

    fn create_zone(&mut self, request: &Request) -> Result<Reply, Refusal> {
        let fields = request.fields()?;
        let name = need(fields.text("name")?, "name")?.to_owned();
        if !is_host_name(&name) || !name.contains('.') || name.chars().any(|c| c.is_ascii_uppercase()) {
            return Err(Refusal::invalid("name", "must be a domain name in lower case, without a dot at its end"));
        }
        if self.zones.values().any(|zone| zone.name == name) {
            return Err(Refusal::taken("name", "zone name is already used"));
        }
        let secondary = match need(fields.text("mode")?, "mode")? {
            "primary" => false,
            "secondary" => true,
            _ => return Err(Refusal::invalid("mode", "must be primary or secondary")),
        };
        let primaries = fields.list("primary_nameservers")?.unwrap_or_default().to_vec();
        if secondary == primaries.is_empty() {
            let message = "are required for a secondary zone and for no other";
            return Err(Refusal::invalid("primary_nameservers", message));
        }
        let (id, created_ms) = (self.next_id(), self.now_ms);
        let ttl = ttl(&fields)?.unwrap_or(TTL_USUAL);
        let labels = fields.labels()?.unwrap_or_default();
        let sets = BTreeMap::new();
        let mut zone = Zone { id, name, labels, created_ms, secondary, ttl, protected: false, primaries, rrsets: sets };
        if !secondary {
            zone.fill(&fields, created_ms)?;
        }
        self.zones.insert(id, zone);
        let action = self.begin(Work::new("create_zone", Kind::Zone, id));
        let shown = self.zones.get(&id).map(|zone| zone.render(self));
        Ok(Reply::new(201, json!({ "zone": shown, "action": self.show_action(action) })))
    }

    fn delete_zone(&mut self, zone: &str) -> Result<Reply, Refusal> {
        let zone = self.zone(zone)?;
        if zone.protected {
            return Err(Refusal::protected("zone deletion is protected"));
        }
        let id = zone.id;
        self.zones.remove(&id);
        let action = self.begin(Work::new("delete_zone", Kind::Zone, id));
        Ok(self.started(action))
    }

    fn zone_command(&mut self, zone: &str, command: &str, request: &Request) -> Result<Reply, Refusal> {
        let fields = request.fields()?;
        let mut changed = self.zone(zone)?.clone();
        let name = match command {
            "change_protection" => {
                changed.protected = fields.flag("delete")?.unwrap_or(changed.protected);
                "change_protection"
            }
            "change_primary_nameservers" => {
                if !changed.secondary {
                    let message = "operation is not supported for this zone's mode";
                    return Err(Refusal::unprocessable("incorrect_zone_mode", message));
                }
                changed.primaries = need(fields.list("primary_nameservers")?, "primary_nameservers")?.to_vec();
                "change_primary_nameservers"
            }
            "change_ttl" => {
                self.primary_zone(zone)?;
                changed.ttl = need(ttl(&fields)?, "ttl")?;
                "change_ttl"
            }
            _ => {
                if self.primary_zone(zone)?.rrsets.values().any(|rrset| rrset.protected) {
                    return Err(Refusal::protected("RRSet(s) is/are change protected"));
                }
                zonefile::read(&mut changed, need(fields.text("zonefile")?, "zonefile")?, self.now_ms)?;
                "import_zonefile"
            }
        };
        if !changed.secondary && command != "change_protection" {
            changed.count_up(self.now_ms);
        }
        let id = changed.id;
        self.zones.insert(id, changed);
        let action = self.begin(Work::new(name, Kind::Zone, id));
        Ok(self.started(action))
    }
}

/// Returns the `ttl` of a body, checked.
pub(super) fn ttl(fields: &Fields) -> Result<Option<u32>, Refusal> {
    match fields.number("ttl")? {
        Some(ttl) if !TTLS.contains(&ttl) => Err(Refusal::invalid("ttl", "must be 60 to 2147483647")),
        ttl => Ok(ttl.and_then(|ttl| u32::try_from(ttl).ok())),
    }
}

impl Zone {
    /// Fills a new zone: with a zone file, or with the usual records and those of the body.
    fn fill(&mut self, fields: &Fields, now_ms: u64) -> Result<(), Refusal> {
        let wished = fields.list("rrsets")?.unwrap_or_default();
        if let Some(text) = fields.text("zonefile")? {
            if !wished.is_empty() {
                return Err(Refusal::invalid("zonefile", "excludes rrsets"));
            }
            return zonefile::read(self, text, now_ms);
        }
        let soa = format!("{} dns.hetzner.com. {}00 86400 10800 3600000 3600", NAMESERVERS[0], day(now_ms));
        self.put("@", "SOA", vec![Record { value: soa, comment: None }], None, now_ms);
        let servers = NAMESERVERS.iter().map(|name| Record { value: (*name).to_owned(), comment: None });
        self.put("@", "NS", servers.collect(), None, now_ms);
        for entry in wished {
            let rrset = rrsets::parse(&Fields::within(entry, "rrsets")?, now_ms)?;
            self.check_neighbours(&rrset)?;
            self.rrsets.insert(rrset.id(), rrset);
        }
        Ok(())
    }

    pub fn put(&mut self, name: &str, kind: &str, records: Vec<Record>, ttl: Option<u32>, created_ms: u64) {
        let (name, kind) = (name.to_owned(), kind.to_owned());
        let rrset = Rrset { name, kind, ttl, labels: Labels::new(), protected: false, records, created_ms };
        self.rrsets.insert(rrset.id(), rrset);
    }

    /// Refuses a CNAME beside other records.
    pub fn check_neighbours(&self, rrset: &Rrset) -> Result<(), Refusal> {
        let others = self.rrsets.values().filter(|other| other.name == rrset.name && other.kind != rrset.kind);
        let clash = others.into_iter().any(|other| other.kind == "CNAME" || rrset.kind == "CNAME");
        if clash { Err(Refusal::invalid("type", "a CNAME cannot be beside other records of its name")) } else { Ok(()) }
    }

    /// Counts the serial number up: the day and a number from 00, or one more than before.
    pub fn count_up(&mut self, now_ms: u64) {
        let Some(soa) = self.rrsets.get_mut("@/SOA").and_then(|soa| soa.records.first_mut()) else { return };
        let mut words: Vec<String> = soa.value.split_whitespace().map(str::to_owned).collect();
        let Some(serial) = words.get_mut(2) else { return };
        let today: u64 = format!("{}00", day(now_ms)).parse().unwrap_or(0);
        *serial = serial.parse::<u64>().map_or(today, |before| today.max(before + 1)).to_string();
        soa.value = words.join(" ");
    }
}

fn day(at_ms: u64) -> String {
    timestamp(at_ms).chars().take(10).filter(char::is_ascii_digit).collect()
}

impl Listed for Zone {
    const SORTS: &'static [&'static str] = &["id", "name", "created"];
    const FILTERS: &'static [&'static str] = &["name", "mode"];

    fn value(&self, _cloud: &Cloud, field: &str) -> Value {
        match field {
            "name" => Value::Text(self.name.clone()),
            "mode" => Value::Text(if self.secondary { "secondary" } else { "primary" }.to_owned()),
            "created" => Value::Number(self.created_ms),
            _ => Value::Number(self.id),
        }
    }

    fn labels(&self) -> Option<&Labels> {
        Some(&self.labels)
    }

    fn render(&self, cloud: &Cloud) -> Json {
        let elsewhere = cloud.settings.delegated_elsewhere.contains(&self.name);
        let delegated: &[&str] = if elsewhere { &["ns1.example.net."] } else { &NAMESERVERS };
        json!({
            "id": self.id, "name": self.name, "labels": self.labels, "created": timestamp(self.created_ms),
            "mode": if self.secondary { "secondary" } else { "primary" }, "ttl": self.ttl, "status": "ok",
            "primary_nameservers": self.primaries, "protection": { "delete": self.protected }, "registrar": "other",
            "authoritative_nameservers": {
                "assigned": NAMESERVERS, "delegated": delegated,
                "delegation_status": if elsewhere { "invalid" } else { "valid" },
                "delegation_last_check": timestamp(self.created_ms),
            },
            "record_count": self.rrsets.values().map(|rrset| rrset.records.len()).sum::<usize>(),
        })
    }
}
