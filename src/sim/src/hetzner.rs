//! The Hetzner Cloud API as a simulator: one project's state, and what the API answers about it. Written from the
//! published API description and observed answers; it knows no client. The state is plain data and the answer is a
//! function of state, request and time; `serve` puts it on a loopback port.

mod actions;
mod answer;
mod body;
mod catalog;
mod dns;
mod faults;
mod firewall_rules;
mod firewalls;
mod images;
mod list;
mod look;
mod metrics;
mod networks;
mod placement_groups;
mod poke;
mod primary_ips;
mod ranges;
mod refusal;
mod routes;
mod rrsets;
mod selector;
mod serve;
mod server_actions;
mod server_create;
mod servers;
mod settings;
mod ssh_keys;
mod state;
mod volumes;
mod zonefile;
mod zones;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use body::{Request, Response};
pub use dns::{NameServer, serve_dns};
pub use faults::CloudFaults;
pub use look::ServerView;
pub use poke::{Poke, PokeError};
pub use serve::{Bend, Door, Handle, LogLine, LogSink, Options, serve};
pub use settings::Settings;
pub use state::Status;

/// One simulated project with all that is in it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Cloud {
    /// How it behaves.
    pub settings: Settings,
    now_ms: u64,
    ids: u64,
    draws: u64,
    addresses_v4: u64,
    addresses_v6: u64,
    bucket: answer::Bucket,
    timers: Vec<state::Timer>,
    actions: BTreeMap<u64, state::Action>,
    servers: BTreeMap<u64, state::Server>,
    ssh_keys: BTreeMap<u64, state::SshKey>,
    firewalls: BTreeMap<u64, state::Firewall>,
    primary_ips: BTreeMap<u64, state::PrimaryIp>,
    networks: BTreeMap<u64, state::Network>,
    volumes: BTreeMap<u64, state::Volume>,
    placement_groups: BTreeMap<u64, state::PlacementGroup>,
    zones: BTreeMap<u64, state::Zone>,
}

impl Cloud {
    /// Returns an empty project.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers a request at a moment, in milliseconds since 1970. Time never runs backwards: an earlier moment counts as
    /// the last one.
    pub fn handle(&mut self, request: &Request, now_ms: u64) -> Response {
        self.settle(now_ms);
        self.answer(request)
    }

    /// Lets everything happen that is due by a moment.
    pub fn settle(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        self.finish_due();
    }

    /// Returns a new id. All kinds of resources share one sequence.
    fn next_id(&mut self) -> u64 {
        self.ids += 1;
        1_000_000 + self.ids
    }

    /// Returns the next number of the project's own sequence of random numbers.
    fn draw(&mut self) -> u64 {
        self.draws += 1;
        mix(self.settings.seed.wrapping_add(self.draws.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    /// Returns a password, in letters and digits that nobody confuses.
    fn password(&mut self) -> String {
        const LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyzACDEFGHJKLMNPQRTUVWXYZ34679";
        let one = |number: u64| char::from(LETTERS[usize::try_from(number % LETTERS.len() as u64).unwrap_or(0)]);
        (0..20).map(|_| one(self.draw())).collect()
    }
}

/// Scatters a number: neighbours become strangers.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// Returns a moment as the API writes it.
fn timestamp(at_ms: u64) -> String {
    let millis = i64::try_from(at_ms).unwrap_or(i64::MAX);
    let moment = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
