//! What name servers say about a name, each asked by itself: no cache in between tells what was so before.
//!
//! It deliberately does not follow names to others, does not wait for an answer to become another one, and never trusts what
//! it hears: the answer is compared, and nothing else.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::tcp::TcpClientStream;
use hickory_net::udp::UdpClientStream;
use hickory_net::xfer::{DnsExchange, DnsHandle};
use hickory_proto::op::{DnsRequestOptions, DnsResponse, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

/// How long one server may take, with what is sent again meanwhile: the longest way around the world takes half a second.
const ANSWER_TIME: Duration = Duration::from_secs(3);
/// How often a datagram is sent again within that.
const AGAIN_MAX: u8 = 2;
/// Where name servers listen.
const PORT: u16 = 53;

/// What one server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The server, as it was named.
    pub server: String,
    /// The values, in the form of a fleet file; none where there are no such records. Or why nothing was heard that counts.
    pub values: Result<BTreeSet<String>, String>,
}

/// Asks name servers. Called by whoever changed a record set, until they say what it wrote.
pub trait Ask: Send + Sync {
    /// Asks all servers of a zone at once about the records of a name and type. `servers` are those the zone names; returns
    /// nothing where nobody is to be asked.
    fn ask<'a>(
        &'a self,
        servers: &'a [String],
        name: &'a str,
        kind: &'a str,
    ) -> Pin<Box<dyn Future<Output = Vec<Said>> + Send + 'a>>;
}

/// Which servers are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NameServers {
    /// Those that the zone names, found through the system's resolver.
    #[default]
    OfZone,
    /// These, whatever the zone says.
    At(Vec<SocketAddr>),
    /// None.
    Off,
}

/// What a list of servers cannot be read as.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read `{0}` as the address of a name server: write 192.0.2.53 or 127.0.0.1:5353, or off")]
pub struct BadServer(String);

impl FromStr for NameServers {
    type Err = BadServer;

    /// Reads addresses with commas in between, each with a port or without; nothing is the zone's own, `off` none.
    fn from_str(text: &str) -> Result<Self, BadServer> {
        let words: Vec<&str> = text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            [] => Ok(Self::OfZone),
            ["off"] => Ok(Self::Off),
            words => words.iter().map(|word| address(word)).collect::<Result<_, _>>().map(Self::At),
        }
    }
}

fn address(word: &str) -> Result<SocketAddr, BadServer> {
    let bare = word.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT));
    word.parse().or(bare).map_err(|_| BadServer(word.to_owned()))
}

impl Ask for NameServers {
    fn ask<'a>(
        &'a self,
        servers: &'a [String],
        name: &'a str,
        kind: &'a str,
    ) -> Pin<Box<dyn Future<Output = Vec<Said>> + Send + 'a>> {
        Box::pin(async move {
            match self {
                Self::Off => Vec::new(),
                Self::At(addresses) => {
                    let asked = addresses.iter().map(|address| async move {
                        Said { server: address.to_string(), values: ask_one(*address, name, kind).await }
                    });
                    join_all(asked).await
                }
                Self::OfZone => {
                    let asked = servers.iter().map(|server| async move {
                        let bare = server.trim_end_matches('.').to_owned();
                        let values = ask_named(&bare, name, kind).await;
                        Said { server: bare, values }
                    });
                    join_all(asked).await
                }
            }
        })
    }
}

/// Asks a server by its name: at the first of its addresses where something answers.
async fn ask_named(server: &str, name: &str, kind: &str) -> Result<BTreeSet<String>, String> {
    let found = tokio::time::timeout(ANSWER_TIME, tokio::net::lookup_host((server, PORT))).await;
    let found = found.map_err(|_| "its address could not be looked up in time".to_owned())?;
    let mut addresses: Vec<SocketAddr> =
        found.map_err(|error| format!("its address could not be looked up: {error}"))?.collect();
    // a machine without IPv6 hears nothing from there
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let mut heard = Err("it has no address".to_owned());
    for address in addresses {
        heard = ask_one(address, name, kind).await;
        if heard.is_ok() {
            break;
        }
    }
    heard
}

/// Asks one server at one address.
async fn ask_one(server: SocketAddr, name: &str, kind: &str) -> Result<BTreeSet<String>, String> {
    let kind = RecordType::from_str(kind).map_err(|error| error.to_string())?;
    let mut asked = Name::from_ascii(name).map_err(|error| error.to_string())?;
    asked.set_fqdn(true);
    let provider = TokioRuntimeProvider::new();
    let datagrams = UdpClientStream::builder(server, provider.clone()).with_timeout(Some(ANSWER_TIME));
    let mut answer = exchange(datagrams.with_max_retries(AGAIN_MAX).exchange(), &asked, kind).await?;
    if answer.metadata.truncation {
        let stream = TcpClientStream::exchange(server, None, ANSWER_TIME, None, provider).await;
        answer = exchange(stream.map_err(|error| error.to_string())?, &asked, kind).await?;
    }
    values(&answer, &asked, kind)
}

async fn exchange(
    exchange: DnsExchange<TokioRuntimeProvider>,
    name: &Name,
    kind: RecordType,
) -> Result<DnsResponse, String> {
    let mut options = DnsRequestOptions::default();
    options.use_edns = true;
    options.recursion_desired = false; // what it does not keep itself is not asked for
    let mut answers = exchange.lookup(Query::query(name.clone(), kind), options);
    let answer = tokio::time::timeout(ANSWER_TIME, answers.next()).await;
    let answer = answer.map_err(|_| format!("no answer within {} s", ANSWER_TIME.as_secs()))?;
    answer.ok_or_else(|| "no answer".to_owned())?.map_err(|error| error.to_string())
}

/// Returns the values of an answer, or why it does not count.
fn values(answer: &DnsResponse, name: &Name, kind: RecordType) -> Result<BTreeSet<String>, String> {
    let code = answer.metadata.response_code;
    if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return Err(format!("it answers {code}"));
    }
    if !answer.metadata.authoritative {
        return Err("it does not serve the zone".to_owned());
    }
    let of_name = answer.answers.iter().filter(|record| record.name == *name && record.record_type() == kind);
    Ok(of_name.filter_map(|record| written(&record.data)).collect())
}

/// Returns a value in the form of a fleet file.
fn written(data: &RData) -> Option<String> {
    let host = |name: &Name| name.to_ascii().to_ascii_lowercase();
    Some(match data {
        RData::A(address) => address.to_string(),
        RData::AAAA(address) => address.to_string(),
        RData::CNAME(target) => host(target),
        RData::NS(target) => host(target),
        RData::MX(mail) => format!("{} {}", mail.preference, host(&mail.exchange)),
        RData::SRV(place) => {
            format!("{} {} {} {}", place.priority, place.weight, place.port, host(&place.target))
        }
        RData::TXT(text) => String::from_utf8_lossy(&text.txt_data.concat()).into_owned(),
        RData::CAA(rule) => {
            let flags = u8::from(rule.issuer_critical) << 7 | rule.reserved_flags;
            let value = String::from_utf8_lossy(&rule.value);
            format!("{flags} {} \"{value}\"", rule.tag.to_ascii_lowercase())
        }
        _ => return None,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    #[test]
    fn servers_are_addresses_with_or_without_a_port_or_off() {
        let at = |list: &[&str]| NameServers::At(list.iter().map(|text| text.parse().unwrap()).collect());
        for (text, read) in [
            ("", NameServers::OfZone),
            ("off", NameServers::Off),
            ("127.0.0.1:5353", at(&["127.0.0.1:5353"])),
            ("192.0.2.1, [2001:db8::1]:54,2001:db8::2", at(&["192.0.2.1:53", "[2001:db8::1]:54", "[2001:db8::2]:53"])),
        ] {
            assert_eq!(text.parse(), Ok(read), "{text}");
        }
        assert!("ns1.example.org".parse::<NameServers>().is_err());
    }

    #[tokio::test]
    async fn who_does_not_answer_is_said_to_and_nobody_is_asked_where_it_is_off() {
        // something listens there and says nothing
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let servers = NameServers::At(vec![silent.local_addr().unwrap()]);
        let said = servers.ask(&[], "www.example.org", "A").await;
        assert_eq!(said.len(), 1);
        assert!(said[0].values.is_err(), "{said:?}");
        assert_eq!(NameServers::Off.ask(&["ns".to_owned()], "www.example.org", "A").await, []);
    }
}
