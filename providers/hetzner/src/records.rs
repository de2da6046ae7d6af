//! Record sets on the way between the fleet's form and the API's: names within a zone, and texts in quotes.

use claw_core::compile::settle_record;
use claw_core::fleet::RecordKind;
use claw_core::value::{Fields, Value};

use crate::wire::{Record, RecordType, Rrset};

/// The longest piece of a TXT record, in bytes (RFC 1035, section 3.3).
const PIECE_BYTES_MAX: usize = 255;

/// A record set by its name and type, as resources are called: `www.example.org:A`.
pub struct SetName {
    /// The name within the zone; `@` for the zone itself.
    pub name: String,
    /// The type.
    pub kind: RecordType,
}

impl SetName {
    /// Takes the name of a resource apart; `None` where it does not lie in the zone.
    pub fn read(resource: &str, zone: &str) -> Option<Self> {
        let resource = resource.split_once(ELSEWHERE).map_or(resource, |(resource, _)| resource);
        let (whole, kind) = resource.rsplit_once(':')?;
        let name = match whole.strip_suffix(zone)? {
            "" => "@",
            rest => rest.strip_suffix('.')?,
        };
        Some(Self { name: name.to_owned(), kind: RecordType::from(kind) })
    }
}

/// What stands between the name of a left-over set and its zone.
const ELSEWHERE: &str = " in ";

/// Returns what the resource of a record set is called that stands in another zone than the fleet wants it in.
pub fn elsewhere(resource: &str, zone: &str) -> String {
    format!("{resource}{ELSEWHERE}{zone}")
}

/// Returns what the resource of a record set is called.
pub fn resource(set: &Rrset, zone: &str) -> String {
    match set.name.as_str() {
        "@" => format!("{zone}:{}", set.kind.as_str()),
        name => format!("{name}.{zone}:{}", set.kind.as_str()),
    }
}

/// Returns the kind of records, if claw writes such.
pub fn kind(kind: &RecordType) -> Option<RecordKind> {
    Some(match kind {
        RecordType::A => RecordKind::A,
        RecordType::Aaaa => RecordKind::Aaaa,
        RecordType::Cname => RecordKind::Cname,
        RecordType::Txt => RecordKind::Txt,
        RecordType::Mx => RecordKind::Mx,
        RecordType::Srv => RecordKind::Srv,
        RecordType::Caa => RecordKind::Caa,
        _ => return None,
    })
}

/// Returns the fields of a record set, in the fleet's form.
pub fn fields(set: &Rrset, zone: &str, zone_ttl: Option<u32>) -> Fields {
    let kind = kind(&set.kind);
    let mut values: Vec<String> = set.records.iter().map(|record| read(kind, &record.value)).collect();
    values.sort();
    let mut fields = Fields::from([
        ("zone".to_owned(), zone.into()),
        ("values".to_owned(), Value::List(values.into_iter().map(Value::Text).collect())),
    ]);
    if let Some(ttl) = set.ttl.or(zone_ttl) {
        fields.insert("ttl".to_owned(), u64::from(ttl).into());
    }
    fields
}

/// Returns the records that fields ask for.
pub fn records(fields: &Fields, kind: &RecordType) -> Vec<Record> {
    let values = match fields.get("values") {
        Some(Value::List(values)) => values.iter().filter_map(Value::as_text).collect(),
        _ => Vec::new(),
    };
    let write = |text: &str| if *kind == RecordType::Txt { quoted(text) } else { text.to_owned() };
    values.into_iter().map(|text| Record { value: write(text), comment: None }).collect()
}

fn read(kind: Option<RecordKind>, value: &str) -> String {
    let plain = if kind == Some(RecordKind::Txt) { unquoted(value) } else { value.to_owned() };
    // what does not fit the form stays as it is, and differs
    kind.and_then(|kind| settle_record(kind, &plain).ok()).unwrap_or(plain)
}

/// Returns a text as quoted pieces, none longer than a piece may be.
fn quoted(text: &str) -> String {
    let mut pieces = vec![String::new()];
    let mut bytes = 0;
    for letter in text.chars() {
        if bytes + letter.len_utf8() > PIECE_BYTES_MAX {
            pieces.push(String::new());
            bytes = 0;
        }
        bytes += letter.len_utf8();
        if let Some(piece) = pieces.last_mut() {
            if ['"', '\\'].contains(&letter) {
                piece.push('\\');
            }
            piece.push(letter);
        }
    }
    pieces.iter().map(|piece| format!("\"{piece}\"")).collect::<Vec<_>>().join(" ")
}

fn unquoted(value: &str) -> String {
    let (mut text, mut inside, mut escaped) = (String::new(), false, false);
    for letter in value.chars() {
        match letter {
            _ if escaped => {
                text.push(letter);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => inside = !inside,
            // between pieces
            ' ' if !inside => {}
            letter => text.push(letter),
        }
    }
    if value.starts_with('"') { text } else { value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_within_their_zone_both_ways() {
        let set = |name: &str| Rrset {
            id: format!("{name}/A"),
            name: name.to_owned(),
            kind: RecordType::A,
            ttl: None,
            records: Vec::new(),
            labels: Default::default(),
            protection: None,
            zone: None,
        };
        for name in ["@", "www", "a.b", "*"] {
            let called = resource(&set(name), "example.org");
            let read = SetName::read(&called, "example.org").expect("in the zone");
            assert_eq!((read.name.as_str(), read.kind), (name, RecordType::A));
        }
        assert!(SetName::read("www.example.net:A", "example.org").is_none());
        assert!(SetName::read("badexample.org:A", "example.org").is_none());
    }

    #[test]
    fn texts_come_back_as_they_were_written() {
        for text in ["v=spf1 -all", "say \"hi\" \\ there", "é".repeat(300).as_str(), "x".repeat(600).as_str(), " a  b "]
        {
            let wire = quoted(text);
            assert_eq!(unquoted(&wire), text);
            assert!(wire.split("\" \"").all(|piece| piece.len() <= 2 * PIECE_BYTES_MAX + 2), "{wire}");
        }
        assert_eq!(quoted("hello world"), "\"hello world\"");
        assert_eq!(unquoted("bare"), "bare");
    }
}
