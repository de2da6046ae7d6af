//! How the simulated project behaves: tokens, limits, stock, and how long things take.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// How a project behaves. All of it may be changed while it is served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Where its random numbers begin.
    pub seed: u64,
    /// The tokens that are let in; empty lets in any. A token that begins with `readonly` may only read.
    pub tokens: BTreeSet<String>,
    /// Tokens that are not let in any more.
    pub revoked: BTreeSet<String>,
    /// Whether every token may only read.
    pub read_only: bool,
    /// Requests per hour; one comes back each 3600/n seconds. 0 does not count them.
    pub rate_per_hour: u64,
    /// How many servers there may be.
    pub servers_max: usize,
    /// How many primary addresses there may be.
    pub primary_ips_max: usize,
    /// What is out of stock, as `cx23@fsn1`; `cx23@*` and `*@fsn1` name a size or a place.
    pub sold_out: BTreeSet<String>,
    /// How long commands take, in milliseconds, where it is not the usual time.
    pub durations_ms: BTreeMap<String, u64>,
    /// What times are multiplied with; at 0 everything is done when it is next looked at.
    pub speed: f64,
    /// Commands whose next actions end in an error, and how many.
    pub failing: BTreeMap<String, u32>,
    /// Zones whose registrar names other name servers.
    pub delegated_elsewhere: BTreeSet<String>,
    /// The range that the first IPv4 addresses come from, such as `203.0.113.0/28`, without its first one, its gateway's and
    /// its last: so that real machines in a network of that range can have them. Those for documentation come after.
    pub addresses_v4: Option<String>,
    /// Whether there still are data centres, which went away on 2026-07-01: on servers and primary addresses, in requests,
    /// and as a list. For clients from before.
    pub datacenters: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 0,
            tokens: BTreeSet::new(),
            revoked: BTreeSet::new(),
            read_only: false,
            rate_per_hour: 3600,
            servers_max: 2000,
            primary_ips_max: 4000,
            sold_out: BTreeSet::new(),
            durations_ms: BTreeMap::new(),
            speed: 1.0,
            failing: BTreeMap::new(),
            delegated_elsewhere: BTreeSet::new(),
            addresses_v4: None,
            datacenters: false,
        }
    }
}

impl Settings {
    /// Returns how long a command takes, in milliseconds.
    pub fn duration_ms(&self, command: &str) -> u64 {
        let usual = match command {
            "create_server" => 6000,
            "start_server" => 5000,
            "stop_server" => 3000,
            "shutdown_server" => 1000,
            "reboot_server" | "reset_server" => 4000,
            "delete_server" => 2000,
            "change_server_type" => 20_000,
            "rebuild_server" => 15_000,
            "reset_password" => 3000,
            "assign_primary_ip" | "unassign_primary_ip" => 2000,
            "create_volume" | "attach_volume" | "detach_volume" => 3000,
            "create_zone" | "delete_zone" => 1000,
            _ => 500,
        };
        let time = self.durations_ms.get(command).copied().unwrap_or(usual);
        // a product of two small positive numbers
        (time as f64 * self.speed).max(0.0) as u64
    }

    pub(super) fn is_sold_out(&self, size: &str, place: &str) -> bool {
        [format!("{size}@{place}"), format!("{size}@*"), format!("*@{place}")]
            .iter()
            .any(|name| self.sold_out.contains(name))
    }
}
