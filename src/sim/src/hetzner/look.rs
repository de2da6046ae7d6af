//! What others of the sandbox see of the project: its servers, as a host would know itself.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::json;

use super::body::Request;
use super::catalog::Image;
use super::state::{Server, Status};
use super::{Cloud, timestamp};

/// A server, for whoever models what runs on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerView {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub status: Status,
    /// Its public IPv4 address.
    pub ipv4: Option<IpAddr>,
    /// The first address of its public IPv6 network.
    pub ipv6: Option<IpAddr>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What it was told to do at its first boot.
    pub user_data: Option<String>,
    /// The name of its image.
    pub image: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// How often its disk was written anew.
    pub rebuilt: u32,
    /// The public SSH keys it was made with.
    pub ssh_keys: Vec<String>,
}

impl Cloud {
    /// Returns all servers, oldest first.
    pub fn view_servers(&self) -> Vec<ServerView> {
        self.servers.values().map(|server| self.view(server)).collect()
    }

    /// Returns one server by name.
    pub fn view_server(&self, name: &str) -> Option<ServerView> {
        self.servers.values().find(|server| server.name == name).map(|server| self.view(server))
    }

    fn view(&self, server: &Server) -> ServerView {
        let (ipv4, ipv6) = self.addresses(server);
        ServerView {
            id: server.id,
            name: server.name.clone(),
            status: server.status,
            ipv4,
            ipv6: ipv6.map(first_of),
            labels: server.labels.clone(),
            user_data: server.user_data.clone(),
            image: Image::by_id(server.image).map(|image| image.name.to_owned()).unwrap_or_default(),
            created_ms: server.created_ms,
            rebuilt: server.rebuilt,
            ssh_keys: server.keys.clone(),
        }
    }

    /// Returns how many servers there are.
    pub fn count_servers(&self) -> usize {
        self.servers.len()
    }

    /// Returns a moment as the API writes it; for whoever shows `created_ms`.
    pub fn written(at_ms: u64) -> String {
        timestamp(at_ms)
    }

    /// Makes `count` servers that exist already, with a firewall, addresses, and an A record each in a zone of their own.
    /// `name` gives the name and the labels of the n-th. Returns the first refusal, if there was one.
    pub fn populate(
        &mut self,
        count: usize,
        now_ms: u64,
        name: impl Fn(usize) -> (String, BTreeMap<String, String>),
    ) -> Result<(), String> {
        let kept = self.settings.clone();
        self.settings.speed = 0.0;
        self.settings.rate_per_hour = 0;
        self.settings.read_only = false;
        self.settings.tokens.clear();
        self.settings.sold_out.clear();
        self.settings.failing.clear();
        self.settings.servers_max = usize::MAX;
        self.settings.primary_ips_max = usize::MAX;
        let outcome = self.populate_freely(count, now_ms, &name);
        self.settings = kept;
        outcome
    }

    fn populate_freely(
        &mut self,
        count: usize,
        now_ms: u64,
        name: &dyn Fn(usize) -> (String, BTreeMap<String, String>),
    ) -> Result<(), String> {
        let mut post = |path: &str, body: serde_json::Value| {
            let answer = self.handle(&Request::new("POST", path, "populate", &body.to_string()), now_ms);
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            if answer.status == 201 {
                Ok(answer.json())
            } else {
                Err(format!("{path} answers {}: {text}", answer.status))
            }
        };
        let rule = json!({ "direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["0.0.0.0/0", "::/0"] });
        let firewall = post("/v1/firewalls", json!({ "name": "populated", "rules": [rule] }))?;
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f populated";
        let key = post("/v1/ssh_keys", json!({ "name": "populated", "public_key": key }))?;
        post("/v1/zones", json!({ "name": "populated.example", "mode": "primary" }))?;
        for nth in 0..count {
            let (name, labels) = name(nth);
            let made = post(
                "/v1/servers",
                json!({
                    "name": name, "labels": labels, "server_type": "cpx22", "image": "debian-12", "location": "fsn1",
                    "ssh_keys": [key["ssh_key"]["id"]], "firewalls": [{ "firewall": firewall["firewall"]["id"] }],
                }),
            )?;
            let address = &made["server"]["public_net"]["ipv4"]["ip"];
            let record = json!({ "name": name, "type": "A", "records": [{ "value": address }] });
            post("/v1/zones/populated.example/rrsets", record)?;
        }
        self.settle(now_ms);
        Ok(())
    }
}

fn first_of(network: IpAddr) -> IpAddr {
    match network {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) | 1).into()),
        v4 => v4,
    }
}
