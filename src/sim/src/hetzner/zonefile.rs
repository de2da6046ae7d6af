//! Zone files in the usual form, one record per line. Records over several lines, and `$INCLUDE`, are not read.

use std::collections::BTreeMap;

use super::refusal::Refusal;
use super::rrsets::{TYPES, check_value, checked_name};
use super::state::{Record, Rrset, Zone};
use super::zones::NAMESERVERS;

/// Writes a zone.
pub(super) fn write(zone: &Zone) -> String {
    let mut text = format!("$ORIGIN\t{}.\n$TTL\t{}\n\n", zone.name, zone.ttl);
    let mut sets: Vec<&Rrset> = zone.rrsets.values().collect();
    sets.sort_by_key(|rrset| (rrset.kind != "SOA", rrset.name != "@", rrset.id()));
    for rrset in sets {
        for record in &rrset.records {
            let ttl = rrset.ttl.map(|ttl| format!("{ttl}\t")).unwrap_or_default();
            let comment = record.comment.as_ref().map(|comment| format!(" ; {comment}")).unwrap_or_default();
            text.push_str(&format!("{}\tIN\t{ttl}{}\t{}{comment}\n", rrset.name, rrset.kind, record.value));
        }
    }
    text
}

/// Replaces a zone's records with those of a zone file.
pub(super) fn read(zone: &mut Zone, text: &str, now_ms: u64) -> Result<(), Refusal> {
    let mut sets: BTreeMap<(String, String), (Option<u32>, Vec<Record>)> = BTreeMap::new();
    let mut last = "@".to_owned();
    let wrong = |line: &str| Refusal::invalid("zonefile", format!("cannot read the line `{line}`"));
    for line in text.lines() {
        let (code, comment) = split_comment(line);
        let mut words = code.split_whitespace();
        let Some(first) = words.next() else { continue };
        match (first, words.next()) {
            ("$ORIGIN", Some(origin)) if origin.trim_end_matches('.') == zone.name => continue,
            ("$TTL", Some(ttl)) => {
                zone.ttl = ttl.parse().map_err(|_| wrong(line))?;
                continue;
            }
            _ if first.starts_with('$') => return Err(wrong(line)),
            _ => {}
        }
        let parsed = parse_line(code, &zone.name, &last).ok_or_else(|| wrong(line))?;
        let (name, kind, ttl, value) = parsed;
        checked_name(&name)?;
        check_value(&kind, &value)?;
        last.clone_from(&name);
        let set = sets.entry((name, kind)).or_insert((ttl, Vec::new()));
        set.1.push(Record { value, comment });
    }
    let has = |kind: &str| sets.get(&("@".to_owned(), kind.to_owned())).map(|set| set.1.as_slice());
    if has("SOA").is_none() {
        return Err(Refusal::invalid("zonefile", "has no SOA record"));
    }
    let servers = has("NS").unwrap_or_default();
    if !NAMESERVERS.iter().all(|name| servers.iter().any(|record| record.value == *name)) {
        return Err(Refusal::invalid("zonefile", "lacks an assigned name server"));
    }
    zone.rrsets.clear();
    for ((name, kind), (ttl, records)) in sets {
        zone.put(&name, &kind, records, ttl, now_ms);
    }
    Ok(())
}

/// Splits a comment off, if its semicolon is not within quotes.
fn split_comment(line: &str) -> (&str, Option<String>) {
    let mut quoted = false;
    for (at, letter) in line.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            ';' if !quoted => {
                let comment = line[at + 1..].trim();
                return (&line[..at], (!comment.is_empty()).then(|| comment.to_owned()));
            }
            _ => {}
        }
    }
    (line, None)
}

/// Returns name, type, TTL and value of a line; a line that begins with a space is about the name before it.
fn parse_line(code: &str, zone: &str, last: &str) -> Option<(String, String, Option<u32>, String)> {
    let (name, mut rest) = if code.starts_with(char::is_whitespace) {
        (last.to_owned(), code.trim())
    } else {
        let (name, rest) = code.split_once(char::is_whitespace)?;
        (relative(name, zone)?, rest.trim())
    };
    let mut ttl = None;
    loop {
        let (word, after) = rest.split_once(char::is_whitespace)?;
        rest = after.trim();
        if word.eq_ignore_ascii_case("IN") {
            continue;
        }
        if let Ok(seconds) = word.parse::<u32>() {
            ttl = Some(seconds);
            continue;
        }
        let kind = word.to_ascii_uppercase();
        return TYPES.contains(&kind.as_str()).then(|| (name, kind, ttl, rest.to_owned()));
    }
}

fn relative(name: &str, zone: &str) -> Option<String> {
    let Some(whole) = name.strip_suffix('.') else { return Some(name.to_ascii_lowercase()) };
    if whole == zone {
        return Some("@".to_owned());
    }
    Some(whole.strip_suffix(zone)?.strip_suffix('.')?.to_ascii_lowercase())
}
