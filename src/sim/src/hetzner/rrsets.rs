//! Resource record sets: all records of one name and one type.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::{Value as Json, json};

use super::Cloud;
use super::actions::Work;
use super::answer::Reply;
use super::body::{Fields, Request, need};
use super::list::{Listed, Value};
use super::refusal::Refusal;
use super::selector::Labels;
use super::state::{Kind, Record, Rrset};
use super::zones::ttl;

pub(super) const TYPES: [&str; 16] =
    ["A", "AAAA", "CAA", "CNAME", "DS", "HINFO", "HTTPS", "MX", "NS", "PTR", "RP", "SOA", "SRV", "SVCB", "TLSA", "TXT"];
/// The most records of one set.
const RECORDS_MAX: usize = 50;

impl Cloud {
    pub(super) fn rrsets_route(&mut self, request: &Request, zone: &str, rest: &[&str]) -> Result<Reply, Refusal> {
        let zone = self.primary_zone(zone)?.id;
        match (request.method.as_str(), rest) {
            ("GET", []) => {
                let shown: Vec<Shown> = self.zones[&zone].rrsets.values().map(|rrset| Shown { zone, rrset }).collect();
                self.list(request, "rrsets", shown.iter())
            }
            ("POST", []) => self.create_rrset(zone, request),
            ("GET", [name, kind]) => {
                let id = self.rrset(zone, name, kind)?.id();
                Ok(Reply::new(200, json!({ "rrset": self.show_rrset(zone, &id) })))
            }
            ("PUT", [name, kind]) => {
                let (mut rrset, labels) = (self.rrset(zone, name, kind)?.clone(), request.fields()?.labels()?);
                let id = rrset.id();
                rrset.labels = labels.unwrap_or(rrset.labels);
                self.edit_zone(zone, |zone| drop(zone.rrsets.insert(id.clone(), rrset)));
                Ok(Reply::new(200, json!({ "rrset": self.show_rrset(zone, &id) })))
            }
            ("DELETE", [name, kind]) => self.delete_rrset(zone, name, kind),
            ("POST", [name, kind, "actions", command]) => self.rrset_command(zone, [name, kind, command], request),
            _ => Err(Refusal::unsupported("this")),
        }
    }

    fn rrset(&self, zone: u64, name: &str, kind: &str) -> Result<&Rrset, Refusal> {
        let id = format!("{name}/{kind}");
        let found = self.zones.get(&zone).and_then(|zone| zone.rrsets.get(&id));
        found.ok_or_else(|| Refusal::not_found("RRSet", id))
    }

    fn show_rrset(&self, zone: u64, id: &str) -> Json {
        let rrset = self.zones.get(&zone).and_then(|zone| zone.rrsets.get(id));
        rrset.map_or(Json::Null, |rrset| Shown { zone, rrset }.render(self))
    }

    fn create_rrset(&mut self, zone: u64, request: &Request) -> Result<Reply, Refusal> {
        let rrset = parse(&request.fields()?, self.now_ms)?;
        let id = rrset.id();
        let all = &self.zones[&zone];
        if all.rrsets.contains_key(&id) {
            return Err(Refusal::taken("name", "RRSet with the same name and type already exists"));
        }
        all.check_neighbours(&rrset)?;
        let action = self.put_rrset(zone, "create_rrset", Some(rrset), &id);
        Ok(Reply::new(201, json!({ "rrset": self.show_rrset(zone, &id), "action": self.show_action(action) })))
    }

    fn delete_rrset(&mut self, zone: u64, name: &str, kind: &str) -> Result<Reply, Refusal> {
        let rrset = self.rrset(zone, name, kind)?;
        let id = rrset.id();
        check_unprotected(rrset)?;
        if kind == "SOA" {
            return Err(Refusal::invalid("type", "the SOA record cannot be deleted"));
        }
        let action = self.put_rrset(zone, "delete_rrset", None, &id);
        Ok(self.started(action))
    }

    /// Puts a set in its place, or removes it, and counts the zone's serial number up.
    fn put_rrset(&mut self, zone: u64, command: &'static str, rrset: Option<Rrset>, id: &str) -> u64 {
        let now_ms = self.now_ms;
        self.edit_zone(zone, |zone| {
            match rrset {
                Some(rrset) => zone.rrsets.insert(id.to_owned(), rrset),
                None => zone.rrsets.remove(id),
            };
            zone.count_up(now_ms);
        });
        self.begin(Work::new(command, Kind::Zone, zone))
    }

    fn rrset_command(&mut self, zone: u64, path: [&str; 3], request: &Request) -> Result<Reply, Refusal> {
        let ([name, kind, command], fields) = (path, request.fields()?);
        if command == "add_records" && self.rrset(zone, name, kind).is_err() {
            return self.create_by_adding(zone, name, kind, &fields);
        }
        let mut rrset = self.rrset(zone, name, kind)?.clone();
        let id = rrset.id();
        if command == "change_protection" {
            rrset.protected = need(fields.flag("change")?, "change")?;
            let action = self.put_rrset(zone, "change_rrset_protection", Some(rrset), &id);
            return Ok(self.started(action));
        }
        check_unprotected(&rrset)?;
        let mut keep = true;
        let word = match command {
            "set_records" => {
                rrset.records = records(&fields, kind)?;
                "set_rrset_records"
            }
            "add_records" => {
                let asked = ttl(&fields)?;
                if asked.is_some() && asked != rrset.ttl {
                    return Err(Refusal::invalid("ttl", "must be that of the RRSet"));
                }
                rrset.records.extend(records(&fields, kind)?);
                check_many(&rrset.records, kind)?;
                "add_rrset_records"
            }
            "remove_records" => {
                for gone in records(&fields, kind)? {
                    let before = rrset.records.len();
                    rrset.records.retain(|record| record.value != gone.value);
                    if rrset.records.len() == before {
                        return Err(Refusal::new(404, "not_found", format!("record '{}' not found", gone.value)));
                    }
                }
                keep = !rrset.records.is_empty();
                "remove_rrset_records"
            }
            "update_records" => {
                for changed in records(&fields, kind)? {
                    let found = rrset.records.iter_mut().find(|record| record.value == changed.value);
                    let message = format!("record '{}' not found", changed.value);
                    found.ok_or_else(|| Refusal::new(404, "not_found", message))?.comment = changed.comment;
                }
                "update_rrset_records"
            }
            _ => {
                if !fields.has("ttl") {
                    return Err(Refusal::invalid("ttl", "missing data for required field"));
                }
                rrset.ttl = ttl(&fields)?;
                "change_rrset_ttl"
            }
        };
        let action = self.put_rrset(zone, word, keep.then_some(rrset), &id);
        let mut reply = self.started(action);
        if command == "update_records" {
            reply.status = 200;
        }
        Ok(reply)
    }

    fn create_by_adding(&mut self, zone: u64, name: &str, kind: &str, fields: &Fields) -> Result<Reply, Refusal> {
        let (labels, created_ms) = (Labels::new(), self.now_ms);
        let (name, kind) = (checked_name(name)?, checked_type(kind)?);
        let records = records(fields, &kind)?;
        let rrset = Rrset { name, kind, ttl: ttl(fields)?, labels, protected: false, records, created_ms };
        self.zones[&zone].check_neighbours(&rrset)?;
        let id = rrset.id();
        let action = self.put_rrset(zone, "add_rrset_records", Some(rrset), &id);
        Ok(self.started(action))
    }
}

fn check_unprotected(rrset: &Rrset) -> Result<(), Refusal> {
    if rrset.protected { Err(Refusal::protected("RRSet(s) is/are change protected")) } else { Ok(()) }
}

/// Returns the set that a body describes, checked.
pub(super) fn parse(fields: &Fields, created_ms: u64) -> Result<Rrset, Refusal> {
    let name = checked_name(need(fields.text("name")?, "name")?)?;
    let kind = checked_type(need(fields.text("type")?, "type")?)?;
    if kind == "CNAME" && name == "@" {
        return Err(Refusal::invalid("type", "a CNAME cannot be at the apex"));
    }
    let records = records(fields, &kind)?;
    let labels = fields.labels()?.unwrap_or_default();
    Ok(Rrset { name, kind, ttl: ttl(fields)?, labels, protected: false, records, created_ms })
}

fn records(fields: &Fields, kind: &str) -> Result<Vec<Record>, Refusal> {
    let one = |entry: &Json| {
        let entry = Fields::within(entry, "records")?;
        let value = need(entry.text("value")?, "records.value")?.to_owned();
        check_value(kind, &value)?;
        let comment = entry.text("comment")?.filter(|text| !text.is_empty()).map(str::to_owned);
        Ok(Record { value, comment })
    };
    let list = need(fields.list("records")?, "records")?.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    check_many(&list, kind)?;
    Ok(list)
}

fn check_many(records: &[Record], kind: &str) -> Result<(), Refusal> {
    let distinct: BTreeSet<&str> = records.iter().map(|record| record.value.as_str()).collect();
    match records.len() {
        0 => Err(Refusal::invalid("records", "must not be empty")),
        count if count > RECORDS_MAX => Err(Refusal::invalid("records", "an RRSet has 50 records at most")),
        count if distinct.len() != count => Err(Refusal::invalid("records", "records must be distinct")),
        count if count > 1 && ["CNAME", "SOA"].contains(&kind) => {
            Err(Refusal::invalid("records", format!("{kind} takes a single record")))
        }
        _ => Ok(()),
    }
}

pub(super) fn checked_type(kind: &str) -> Result<String, Refusal> {
    let known = TYPES.contains(&kind);
    if known { Ok(kind.to_owned()) } else { Err(Refusal::invalid("type", format!("`{kind}` is not a type"))) }
}

/// Refuses names that are not relative, in lower case, and plain letters.
pub(super) fn checked_name(name: &str) -> Result<String, Refusal> {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    let part = |part: &str| (1..=63).contains(&part.len()) && part.chars().all(letter);
    let rest = name.strip_prefix("*.").unwrap_or(name);
    let good = name == "@" || name == "*" || name.len() <= 255 && rest.split('.').all(part);
    if good { Ok(name.to_owned()) } else { Err(Refusal::invalid("name", "must be relative and in lower case, or `@`")) }
}

pub(super) fn check_value(kind: &str, value: &str) -> Result<(), Refusal> {
    let words: Vec<&str> = value.split_whitespace().collect();
    let numbers = |count: usize| words.iter().take(count).all(|word| word.parse::<u16>().is_ok());
    let name = |text: &str| !text.is_empty() && text.len() <= 255 && !text.contains(char::is_whitespace);
    let good = match kind {
        "A" => value.parse::<Ipv4Addr>().is_ok(),
        "AAAA" => value.parse::<Ipv6Addr>().is_ok(),
        "CNAME" | "NS" | "PTR" => name(value),
        "MX" => words.len() == 2 && numbers(1),
        "SRV" => words.len() == 4 && numbers(3),
        "CAA" => words.len() >= 3 && words[0].parse::<u8>().is_ok(),
        "SOA" => words.len() == 7,
        "TXT" => is_quoted(value),
        _ => !words.is_empty(),
    };
    if good { Ok(()) } else { Err(Refusal::invalid("records.value", format!("`{value}` is not a value for {kind}"))) }
}

/// Whether a text consists of quoted chunks of 255 bytes at most.
fn is_quoted(text: &str) -> bool {
    let (mut rest, mut chunks) = (text.trim(), 0);
    while let Some(inside) = rest.strip_prefix('"') {
        let (mut end, mut escaped) = (None, false);
        for (at, letter) in inside.char_indices() {
            match letter {
                '"' if !escaped => {
                    end = Some(at);
                    break;
                }
                '\\' => escaped = !escaped,
                _ => escaped = false,
            }
        }
        let Some(end) = end.filter(|end| *end <= 255) else { return false };
        chunks += 1;
        rest = inside[end + 1..].trim_start();
    }
    rest.is_empty() && chunks > 0
}

impl Rrset {
    pub fn id(&self) -> String {
        format!("{}/{}", self.name, self.kind)
    }
}

/// A set with the zone it is in.
struct Shown<'a> {
    zone: u64,
    rrset: &'a Rrset,
}

impl Listed for Shown<'_> {
    const SORTS: &'static [&'static str] = &["id", "name", "created"];
    const FILTERS: &'static [&'static str] = &["name", "type"];
    const PER_PAGE_MAX: usize = 100;

    fn value(&self, _cloud: &Cloud, field: &str) -> Value {
        match field {
            "name" => Value::Text(self.rrset.name.clone()),
            "type" => Value::Text(self.rrset.kind.clone()),
            "created" => Value::Number(self.rrset.created_ms),
            _ => Value::Text(self.rrset.id()),
        }
    }

    fn labels(&self) -> Option<&Labels> {
        Some(&self.rrset.labels)
    }

    fn render(&self, _cloud: &Cloud) -> Json {
        let rrset = self.rrset;
        let records = rrset
            .records
            .iter()
            .map(|record| json!({ "value": record.value, "comment": record.comment.as_deref().unwrap_or("") }));
        json!({
            "id": rrset.id(), "name": rrset.name, "type": rrset.kind, "ttl": rrset.ttl, "labels": rrset.labels,
            "protection": { "change": rrset.protected }, "records": records.collect::<Vec<_>>(), "zone": self.zone,
        })
    }
}
