//! A name server of the project's zones, on a loopback port: UDP only, authoritative, and as far behind as it is told to be.
//! Messages are written here by the rules of RFC 1035, so that no client's library answers itself.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;

use super::serve::Handle;
use super::state::Zone;

/// The most bytes of a query, and of an answer to a client that says nothing (RFC 1035, section 2.3.4).
const PLAIN_BYTES_MAX: usize = 512;
/// How often the zones are looked at, so that a server behind knows what was so when.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const HEAD_BYTES: usize = 12;
const AUTHORITATIVE: u16 = 0x0400;
const TRUNCATED: u16 = 0x0200;
const NAME_ERROR: u16 = 3;
const NOT_IMPLEMENTED: u16 = 4;
const REFUSED: u16 = 5;
const INTERNET: u16 = 1;
/// The types that are answered, and their numbers.
const KINDS: [(&str, u16); 9] =
    [("A", 1), ("NS", 2), ("CNAME", 5), ("SOA", 6), ("MX", 15), ("TXT", 16), ("AAAA", 28), ("SRV", 33), ("CAA", 257)];
const OPTIONS_KIND: u16 = 41;

/// How a name server behaves. May be changed while it is served.
#[derive(Debug, Default)]
pub struct NameServer {
    /// How far behind the project its zones are, in milliseconds.
    pub behind_ms: AtomicU64,
    /// Whether it says nothing at all.
    pub silent: AtomicBool,
}

/// The zones as they were at a moment.
type Zones = Vec<Zone>;

/// Serves the zones of a project until it is dropped.
///
/// # Errors
///
/// Returns one at once if the socket can be reached from elsewhere: this is no service for a network.
pub async fn serve_dns(handle: Handle, socket: UdpSocket, server: Arc<NameServer>) -> io::Result<()> {
    if !socket.local_addr()?.ip().is_loopback() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a simulated name server listens on loopback only"));
    }
    let mut seen: VecDeque<(u64, Zones)> = VecDeque::new();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    let mut query = [0; PLAIN_BYTES_MAX];
    loop {
        let heard = tokio::select! {
            _ = ticks.tick() => None,
            heard = socket.recv_from(&mut query) => Some(heard?),
        };
        let now_ms = handle.look(|cloud, now_ms| {
            remember(&mut seen, now_ms, cloud.zones.values());
            now_ms
        });
        let shown_ms = now_ms.saturating_sub(server.behind_ms.load(Ordering::Relaxed));
        let zones = seen.iter().rev().find(|(at_ms, _)| *at_ms <= shown_ms).or_else(|| seen.front());
        let (Some((length, client)), Some((_, zones))) = (heard, zones) else { continue };
        if !server.silent.load(Ordering::Relaxed)
            && let Some(answer) = answer(&query[..length], zones)
        {
            // a client that went away is none of our business
            socket.send_to(&answer, client).await.ok();
        }
    }
}

/// Keeps the zones where they differ from before, by their serial numbers.
fn remember<'a>(seen: &mut VecDeque<(u64, Zones)>, now_ms: u64, zones: impl Iterator<Item = &'a Zone> + Clone) {
    const STATES_MAX: usize = 500;
    let serial = |zone: &Zone| (zone.id, soa(zone));
    if seen.back().is_none_or(|(_, last)| !last.iter().map(serial).eq(zones.clone().map(serial))) {
        seen.push_back((now_ms, zones.cloned().collect()));
    }
    if seen.len() > STATES_MAX {
        seen.pop_front();
    }
}

fn soa(zone: &Zone) -> Option<String> {
    Some(zone.rrsets.get("@/SOA")?.records.first()?.value.clone())
}

/// One question.
struct Question {
    name: String,
    kind: u16,
    /// Its bytes.
    raw: Vec<u8>,
    /// How long an answer the client takes.
    bytes_max: usize,
}

/// Returns the answer to a query; `None` to what is none.
fn answer(query: &[u8], zones: &[Zone]) -> Option<Vec<u8>> {
    let head = query.get(..HEAD_BYTES)?;
    let flags = u16::from_be_bytes([head[2], head[3]]);
    let is_response = flags & 0x8000 != 0;
    if is_response {
        return None;
    }
    let question = question(query)?;
    let is_query = flags & 0x7800 == 0;
    let mut said = if is_query { look_up(&question, zones) } else { Said::code(NOT_IMPLEMENTED) };
    let mut message = write(head, flags, &question, &said);
    if message.len() > question.bytes_max {
        said = Said { flags: said.flags | TRUNCATED, ..Said::default() };
        message = write(head, flags, &question, &said);
    }
    Some(message)
}

fn question(query: &[u8]) -> Option<Question> {
    let (name, end) = read_name(query, HEAD_BYTES)?;
    let kind = u16::from_be_bytes(query.get(end..end + 2)?.try_into().ok()?);
    let raw = query.get(HEAD_BYTES..end + 4)?.to_vec();
    // an OPT record behind it says how much the client takes (RFC 6891): the root's name, its type, the size
    let bytes_max = match query.get(end + 4..end + 9) {
        Some([0, a, b, c, d]) if u16::from_be_bytes([*a, *b]) == OPTIONS_KIND => {
            usize::from(u16::from_be_bytes([*c, *d])).max(PLAIN_BYTES_MAX)
        }
        _ => PLAIN_BYTES_MAX,
    };
    Some(Question { name, kind, raw, bytes_max })
}

/// Reads a name that points nowhere, in lower case and without its last dot; and where it ends.
fn read_name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        match length {
            0 => return Some((labels.join("."), at)),
            1..=63 => labels.push(String::from_utf8_lossy(message.get(at..at + length)?).to_ascii_lowercase()),
            _ => return None,
        }
        at += length;
    }
}

/// What is said to a question.
#[derive(Default)]
struct Said {
    flags: u16,
    answers: Vec<Vec<u8>>,
    authority: Vec<Vec<u8>>,
}

impl Said {
    fn code(code: u16) -> Self {
        Self { flags: code, ..Self::default() }
    }
}

fn look_up(question: &Question, zones: &[Zone]) -> Said {
    let inside = |zone: &&Zone| {
        question.name.strip_suffix(zone.name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    // the deepest zone that holds the name
    let Some(zone) = zones.iter().filter(inside).max_by_key(|zone| zone.name.len()) else {
        return Said::code(REFUSED);
    };
    let within = question.name.strip_suffix(zone.name.as_str()).unwrap_or_default().trim_end_matches('.');
    let within = if within.is_empty() { "@" } else { within };
    let names: BTreeMap<&str, ()> = zone.rrsets.values().map(|set| (set.name.as_str(), ())).collect();
    let exists = |name: &str| {
        name == "@"
            || names.keys().any(|one| *one == name || one.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')))
    };
    let owner = if exists(within) { Some(within.to_owned()) } else { wildcard(within, &names) };
    let mut said = Said { flags: AUTHORITATIVE, ..Said::default() };
    let wanted = |kind: &str| number(kind) == Some(question.kind) || kind == "CNAME";
    let sets = zone.rrsets.values().filter(|set| Some(&set.name) == owner.as_ref() && wanted(&set.kind));
    for set in sets {
        let ttl = set.ttl.unwrap_or(zone.ttl);
        let records = set.records.iter().filter_map(|record| rdata(&set.kind, &record.value, &zone.name));
        let kind = number(&set.kind).unwrap_or_default();
        said.answers.extend(records.map(|data| record(&question.name, kind, ttl, &data)));
    }
    if said.answers.is_empty() {
        if owner.is_none() {
            said.flags |= NAME_ERROR;
        }
        let data = soa(zone).and_then(|value| rdata("SOA", &value, &zone.name));
        said.authority.extend(data.map(|data| record(&zone.name, 6, zone.ttl, &data)));
    }
    said
}

/// Returns the wildcard that stands for a name that is not there (RFC 4592).
fn wildcard(name: &str, names: &BTreeMap<&str, ()>) -> Option<String> {
    let mut rest = name;
    loop {
        let above = rest.split_once('.').map(|(_, above)| above);
        let star = above.map_or_else(|| "*".to_owned(), |above| format!("*.{above}"));
        if names.contains_key(star.as_str()) {
            return Some(star);
        }
        rest = above?;
    }
}

fn number(kind: &str) -> Option<u16> {
    KINDS.iter().find(|(name, _)| *name == kind).map(|(_, number)| *number)
}

/// Returns a value as it stands in a message; `None` for one that cannot.
fn rdata(kind: &str, value: &str, zone: &str) -> Option<Vec<u8>> {
    let words: Vec<&str> = value.split_whitespace().collect();
    let short = |at: usize| -> Option<[u8; 2]> { Some(words.get(at)?.parse::<u16>().ok()?.to_be_bytes()) };
    let long = |at: usize| -> Option<[u8; 4]> { Some(words.get(at)?.parse::<u32>().ok()?.to_be_bytes()) };
    let host = |at: usize| Some(name(&absolute(words.get(at)?, zone)));
    Some(match kind {
        "A" => value.parse::<Ipv4Addr>().ok()?.octets().to_vec(),
        "AAAA" => value.parse::<Ipv6Addr>().ok()?.octets().to_vec(),
        "CNAME" | "NS" => host(0)?,
        "MX" => [short(0)?.to_vec(), host(1)?].concat(),
        "SRV" => [short(0)?.to_vec(), short(1)?.to_vec(), short(2)?.to_vec(), host(3)?].concat(),
        "SOA" => {
            let times = [long(2)?, long(3)?, long(4)?, long(5)?, long(6)?].concat();
            [host(0)?, host(1)?, times].concat()
        }
        "CAA" => {
            let tag = words.get(1)?;
            let rest = words.get(2..)?.join(" ");
            let head = [words.first()?.parse().ok()?, u8::try_from(tag.len()).ok()?];
            [&head[..], tag.as_bytes(), rest.trim_matches('"').as_bytes()].concat()
        }
        "TXT" => texts(value),
        _ => return None,
    })
}

/// Returns the quoted chunks of a TXT value, each behind its length.
fn texts(value: &str) -> Vec<u8> {
    let (mut data, mut chunk, mut inside, mut escaped) = (Vec::new(), Vec::new(), false, false);
    for byte in value.bytes() {
        match byte {
            _ if escaped => {
                chunk.push(byte);
                escaped = false;
            }
            b'\\' => escaped = true,
            b'"' if inside => {
                data.push(u8::try_from(chunk.len()).unwrap_or(u8::MAX));
                data.append(&mut chunk);
                inside = false;
            }
            b'"' => inside = true,
            byte if inside => chunk.push(byte),
            _ => {}
        }
    }
    data
}

/// Returns a name of a zone file whole.
fn absolute(name: &str, zone: &str) -> String {
    match name.strip_suffix('.') {
        Some(whole) => whole.to_owned(),
        None if name == "@" => zone.to_owned(),
        None => format!("{name}.{zone}"),
    }
}

fn name(whole: &str) -> Vec<u8> {
    let labels = whole.split('.').filter(|label| !label.is_empty());
    let mut bytes: Vec<u8> = labels
        .flat_map(|label| {
            let label = &label.as_bytes()[..label.len().min(63)];
            [&[u8::try_from(label.len()).unwrap_or_default()], label].concat()
        })
        .collect();
    bytes.push(0);
    bytes
}

fn record(owner: &str, kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap_or_default().to_be_bytes();
    let (kind, class) = (kind.to_be_bytes(), INTERNET.to_be_bytes());
    [&name(owner), &kind[..], &class, &ttl.to_be_bytes(), &length, data].concat()
}

fn write(head: &[u8], asked: u16, question: &Question, said: &Said) -> Vec<u8> {
    // a response, to the same kind of query, with the wish for recursion as it came
    let flags = 0x8000 | (asked & 0x7900) | said.flags;
    let count = |list: &[Vec<u8>]| u16::try_from(list.len()).unwrap_or_default().to_be_bytes();
    let mut message = [&head[..2], &flags.to_be_bytes(), &1u16.to_be_bytes()].concat();
    for number in [count(&said.answers), count(&said.authority), [0, 0]] {
        message.extend(number);
    }
    message.extend(&question.raw);
    said.answers.iter().chain(&said.authority).for_each(|record| message.extend(record));
    message
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use serde_json::json;

    use super::super::{Cloud, Request};
    use super::*;

    fn zones() -> Vec<Zone> {
        let mut cloud = Cloud::new();
        let records = json!([
            { "name": "www", "type": "A", "ttl": 60, "records": [{ "value": "192.0.2.1" }, { "value": "192.0.2.2" }] },
            { "name": "alias", "type": "CNAME", "records": [{ "value": "www" }] },
            { "name": "@", "type": "TXT", "records": [{ "value": "\"one \\\"two\\\"\" \"three\"" }] },
            { "name": "a.b", "type": "AAAA", "records": [{ "value": "2001:db8::1" }] },
            { "name": "*.wild", "type": "MX", "records": [{ "value": "10 mail.example.net." }] },
        ]);
        let body = json!({ "name": "example.com", "mode": "primary", "rrsets": records }).to_string();
        assert_eq!(cloud.handle(&Request::new("POST", "/v1/zones", "t", &body), 0).status, 201);
        cloud.zones.values().cloned().collect()
    }

    fn query(whole: &str, kind: &str) -> Vec<u8> {
        let head = [0x12, 0x34, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let kind = KINDS.iter().find(|(name, _)| *name == kind).unwrap().1;
        [&head[..], &name(whole), &kind.to_be_bytes(), &INTERNET.to_be_bytes()].concat()
    }

    /// Returns the flags of an answer, how many answers and how many of the zone's own words it has, and its bytes.
    fn ask(whole: &str, kind: &str) -> (u16, u8, u8, Vec<u8>) {
        let said = answer(&query(whole, kind), &zones()).unwrap();
        assert_eq!(said[..2], [0x12, 0x34], "the same number");
        (u16::from_be_bytes([said[2], said[3]]), said[7], said[9], said)
    }

    #[test]
    fn names_are_answered_with_authority_and_what_is_not_there_with_the_zones_own_record() {
        let good = 0x8000 | AUTHORITATIVE | 0x0100;
        for (name, kind, expect) in [
            ("www.example.com", "A", (good, 2, 0)),
            ("WWW.example.COM", "A", (good, 2, 0)),
            ("example.com", "NS", (good, 3, 0)),
            ("example.com", "SOA", (good, 1, 0)),
            ("alias.example.com", "A", (good, 1, 0)),
            ("x.wild.example.com", "MX", (good, 1, 0)),
            ("www.example.com", "AAAA", (good, 0, 1)),
            ("b.example.com", "A", (good, 0, 1)),
            ("nowhere.example.com", "A", (good | NAME_ERROR, 0, 1)),
            ("example.net", "A", (0x8100 | REFUSED, 0, 0)),
            ("badexample.com", "A", (0x8100 | REFUSED, 0, 0)),
        ] {
            let (flags, answers, authority, _) = ask(name, kind);
            assert_eq!((flags, answers, authority), expect, "{name} {kind}");
        }
    }

    #[test]
    fn values_are_written_as_the_standard_has_them() {
        let ends = |name: &str, kind: &str, with: &[u8]| {
            let said = ask(name, kind).3;
            assert!(said.ends_with(with), "{name} {kind}: {said:02x?}");
        };
        ends("www.example.com", "A", &[0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 2]);
        ends("example.com", "TXT", b"\x00\x10\x09one \"two\"\x05three");
        ends("alias.example.com", "CNAME", b"\x03www\x07example\x03com\x00");
        ends("x.wild.example.com", "MX", b"\x00\x14\x00\x0a\x04mail\x07example\x03net\x00");
        assert_eq!(rdata("CAA", "128 issue \"x.org\"", "z").unwrap(), b"\x80\x05issuex.org");
        assert_eq!(rdata("SRV", "1 2 3 a", "z").unwrap(), b"\x00\x01\x00\x02\x00\x03\x01a\x01z\x00");
    }

    #[test]
    fn noise_is_not_answered_and_what_is_too_long_is_cut() {
        let zones = zones();
        for noise in [&b""[..], b"abc", &[0xff; 40], &query("www.example.com", "A")[..15]] {
            assert_eq!(answer(noise, &zones), None, "{noise:02x?}");
        }
        let mut large = zones;
        let set = large[0].rrsets.get_mut("www/A").unwrap();
        set.records =
            (0..40).map(|nth| super::super::state::Record { value: format!("192.0.2.{nth}"), comment: None }).collect();
        let asked = query("www.example.com", "A");
        let said = answer(&asked, &large).unwrap();
        assert!(said[2] & 0x02 != 0 && said[7] == 0, "{said:02x?}");
        let mut roomy = asked;
        roomy[11] = 1;
        roomy.extend([0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(answer(&roomy, &large).unwrap()[7], 40);
    }
}
