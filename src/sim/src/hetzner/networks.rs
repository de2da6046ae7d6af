//! Private networks: ranges, subnets, routes, and the addresses of servers in them.

use std::net::Ipv4Addr;

use serde_json::{Value as Json, json};

use super::actions::Work;
use super::answer::Reply;
use super::body::{Fields, Reference, Request, need};
use super::catalog::{LOCATIONS, Location};
use super::list::{Listed, Value};
use super::ranges::Range;
use super::refusal::Refusal;
use super::selector::Labels;
use super::servers::by_path;
use super::state::{Kind, Network, NetworkRoute, Subnet};
use super::{Cloud, timestamp};

impl Cloud {
    pub(super) fn networks_route(&mut self, request: &Request, rest: &[&str]) -> Result<Reply, Refusal> {
        let find = |cloud: &Self, id: &str| by_path(&cloud.networks, "network", id).map(|network| network.id);
        match (request.method.as_str(), rest) {
            ("GET", []) => self.list(request, "networks", self.networks.values()),
            ("POST", []) => self.create_network(request),
            ("GET", ["actions"]) => self.actions_of(request, Kind::Network, None),
            ("GET", ["actions", action] | [_, "actions", action]) => self.action(action),
            ("GET", [id, "actions"]) => self.actions_of(request, Kind::Network, Some(find(self, id)?)),
            ("GET", [id, "members"]) => {
                let members = self.members(find(self, id)?);
                self.list(request, "members", members.iter())
            }
            ("GET", [id]) => Ok(self.show_network(200, find(self, id)?)),
            ("PUT", [id]) => self.update_network(find(self, id)?, request),
            ("DELETE", [id]) => self.delete_network(find(self, id)?),
            ("POST", [id, "actions", command]) => self.network_command(find(self, id)?, command, request),
            _ => Err(Refusal::unsupported("this")),
        }
    }

    /// Finds a network that a body points at.
    pub(super) fn network_of(&self, reference: &Reference) -> Result<&Network, Refusal> {
        let found = reference.id().and_then(|id| self.networks.get(&id));
        found.ok_or_else(|| Refusal::not_found("network", &reference.0))
    }

    fn show_network(&self, status: u16, id: u64) -> Reply {
        Reply::new(status, json!({ "network": self.networks.get(&id).map(|network| network.render(self)) }))
    }

    fn create_network(&mut self, request: &Request) -> Result<Reply, Refusal> {
        let fields = request.fields()?;
        let name = need(fields.text("name")?, "name")?.to_owned();
        self.check_network_name(&name, None)?;
        let range = range(&fields, "ip_range")?.ok_or_else(|| Refusal::invalid("ip_range", "missing"))?;
        if !range.is_private() {
            return Err(Refusal::invalid("ip_range", "must be within a private range"));
        }
        let labels = fields.labels()?.unwrap_or_default();
        let expose_routes = fields.flag("expose_routes_to_vswitch")?.unwrap_or(false);
        let (id, created_ms) = (self.next_id(), self.now_ms);
        let (subnets, routes) = (Vec::new(), Vec::new());
        let mut network =
            Network { id, name, labels, created_ms, range, subnets, routes, expose_routes, protected: false };
        for entry in fields.list("subnets")?.unwrap_or_default() {
            network.add_subnet(&Fields::within(entry, "subnets")?)?;
        }
        for entry in fields.list("routes")?.unwrap_or_default() {
            network.routes.push(route(&Fields::within(entry, "routes")?)?);
        }
        self.networks.insert(id, network);
        Ok(self.show_network(201, id))
    }

    fn update_network(&mut self, id: u64, request: &Request) -> Result<Reply, Refusal> {
        let fields = request.fields()?;
        let (name, labels) = (fields.text("name")?.map(str::to_owned), fields.labels()?);
        let expose = fields.flag("expose_routes_to_vswitch")?;
        if let Some(name) = &name {
            self.check_network_name(name, Some(id))?;
        }
        if let Some(network) = self.networks.get_mut(&id) {
            network.name = name.unwrap_or_else(|| network.name.clone());
            network.labels = labels.unwrap_or_else(|| network.labels.clone());
            network.expose_routes = expose.unwrap_or(network.expose_routes);
        }
        Ok(self.show_network(200, id))
    }

    fn delete_network(&mut self, id: u64) -> Result<Reply, Refusal> {
        if self.networks.get(&id).is_some_and(|network| network.protected) {
            return Err(Refusal::protected("network is delete protected"));
        }
        for server in self.servers.values_mut() {
            server.private.retain(|net| net.network != id);
        }
        self.networks.remove(&id);
        Ok(Reply::nothing())
    }

    fn network_command(&mut self, id: u64, command: &str, request: &Request) -> Result<Reply, Refusal> {
        let fields = request.fields()?;
        let mut network = self.networks.get(&id).ok_or_else(|| Refusal::not_found("network", id))?.clone();
        let name = match command {
            "add_subnet" => {
                network.add_subnet(&fields)?;
                "add_subnet"
            }
            "delete_subnet" => {
                let wanted = range(&fields, "ip_range")?;
                if self.servers_within(id, wanted) {
                    return Err(Refusal::unprocessable("resource_in_use", "subnet is still in use"));
                }
                let before = network.subnets.len();
                network.subnets.retain(|subnet| Some(subnet.range) != wanted);
                if network.subnets.len() == before {
                    return Err(Refusal::new(404, "not_found", "subnet not found"));
                }
                "delete_subnet"
            }
            "add_route" => {
                network.routes.push(route(&fields)?);
                "add_route"
            }
            "delete_route" => {
                let wanted = route(&fields)?;
                network.routes.retain(|other| *other != wanted);
                "delete_route"
            }
            "change_ip_range" => {
                let wanted = range(&fields, "ip_range")?.ok_or_else(|| Refusal::invalid("ip_range", "missing"))?;
                if !wanted.holds(network.range) || !wanted.is_private() {
                    return Err(Refusal::invalid("ip_range", "must hold the range before, and be private"));
                }
                network.range = wanted;
                "change_ip_range"
            }
            _ => {
                network.protected = fields.flag("delete")?.unwrap_or(network.protected);
                "change_protection"
            }
        };
        self.networks.insert(id, network);
        let action = self.begin(Work::new(name, Kind::Network, id));
        Ok(self.started(action))
    }

    fn servers_within(&self, network: u64, range: Option<Range>) -> bool {
        let nets = self.servers.values().flat_map(|server| &server.private).filter(|net| net.network == network);
        nets.into_iter().any(|net| range.is_some_and(|range| range.contains(net.ip)))
    }

    fn is_taken(&self, network: u64, ip: Ipv4Addr) -> bool {
        self.servers.values().flat_map(|server| &server.private).any(|net| net.network == network && net.ip == ip)
    }

    /// Returns an address of a network that no server has, in a subnet that reaches the place.
    pub(super) fn free_private_ip(&self, network: &Network, place: &Location) -> Result<Ipv4Addr, Refusal> {
        let subnets = network.subnets.iter().filter(|subnet| subnet.zone == place.zone);
        let free = subnets.flat_map(|subnet| subnet.range.hosts()).find(|ip| !self.is_taken(network.id, *ip));
        free.ok_or_else(|| Refusal::unprocessable("no_subnet_available", "no subnet or IP is available"))
    }

    /// Returns a wished address if a subnet has it and no server does.
    pub(super) fn checked_private_ip(&self, network: &Network, text: &str) -> Result<Ipv4Addr, Refusal> {
        let ip: Ipv4Addr = text.parse().map_err(|_| Refusal::invalid("ip", "not an IPv4 address"))?;
        let inside = network.subnets.iter().any(|subnet| subnet.range.contains(ip) && subnet.range.gateway() != ip);
        if !inside || self.is_taken(network.id, ip) {
            return Err(Refusal::unprocessable("ip_not_available", "IP is not available"));
        }
        Ok(ip)
    }

    fn check_network_name(&self, name: &str, own: Option<u64>) -> Result<(), Refusal> {
        if name.is_empty() {
            return Err(Refusal::invalid("name", "must not be empty"));
        }
        let taken = self.networks.values().any(|network| network.name == name && Some(network.id) != own);
        if taken { Err(Refusal::taken("name", "name is already used")) } else { Ok(()) }
    }

    fn members(&self, network: u64) -> Vec<Member> {
        let subnet = |ip: Ipv4Addr| {
            let subnets = self.networks.get(&network).map(|network| network.subnets.as_slice()).unwrap_or_default();
            subnets.iter().find(|subnet| subnet.range.contains(ip)).map(|subnet| subnet.range.to_string())
        };
        let mut members = Vec::new();
        for server in self.servers.values() {
            for net in server.private.iter().filter(|net| net.network == network) {
                let (ip, alias_ips) = (net.ip, net.alias_ips.clone());
                members.push(Member { id: server.id, ip, alias_ips, subnet: subnet(ip).unwrap_or_default() });
            }
        }
        members
    }
}

/// A server in a network.
struct Member {
    id: u64,
    ip: Ipv4Addr,
    alias_ips: Vec<String>,
    subnet: String,
}

impl Listed for Member {
    const SORTS: &'static [&'static str] = &["id"];
    const FILTERS: &'static [&'static str] = &["type", "status", "subnet"];

    fn value(&self, _cloud: &Cloud, field: &str) -> Value {
        match field {
            "type" => Value::Text("server".to_owned()),
            "status" => Value::Text("ok".to_owned()),
            "subnet" => Value::Text(self.subnet.clone()),
            _ => Value::Number(self.id),
        }
    }

    fn labels(&self) -> Option<&Labels> {
        None
    }

    fn render(&self, _cloud: &Cloud) -> Json {
        json!({
            "id": self.id, "type": "server", "ip": self.ip, "alias_ips": self.alias_ips, "subnet": self.subnet,
            "status": "ok",
        })
    }
}

impl Network {
    fn add_subnet(&mut self, fields: &Fields) -> Result<(), Refusal> {
        let kind = need(fields.text("type")?, "type")?.to_owned();
        if !["cloud", "server"].contains(&kind.as_str()) {
            return Err(Refusal::unprocessable("service_error", "vswitch not found"));
        }
        let zone = need(fields.text("network_zone")?, "network_zone")?.to_owned();
        if !LOCATIONS.iter().any(|place| place.zone == zone) {
            return Err(Refusal::invalid("network_zone", format!("`{zone}` is not a network zone")));
        }
        let taken: Vec<Range> = self.subnets.iter().map(|subnet| subnet.range).collect();
        let range = match range(fields, "ip_range")? {
            Some(range) => range,
            None => self.range.free_subnet(&taken).ok_or_else(|| Refusal::invalid("ip_range", "no range is free"))?,
        };
        if !self.range.holds(range) || taken.iter().any(|other| other.overlaps(range)) {
            return Err(Refusal::invalid("ip_range", "must lie in the network and overlap no other subnet"));
        }
        self.subnets.push(Subnet { kind, range, zone });
        Ok(())
    }
}

impl Listed for Network {
    const SORTS: &'static [&'static str] = &["id", "name", "created"];
    const FILTERS: &'static [&'static str] = &["name"];

    fn value(&self, _cloud: &Cloud, field: &str) -> Value {
        match field {
            "name" => Value::Text(self.name.clone()),
            "created" => Value::Number(self.created_ms),
            _ => Value::Number(self.id),
        }
    }

    fn labels(&self) -> Option<&Labels> {
        Some(&self.labels)
    }

    fn render(&self, cloud: &Cloud) -> Json {
        let subnets = self.subnets.iter().map(|subnet| {
            json!({
                "type": subnet.kind, "ip_range": subnet.range.to_string(), "network_zone": subnet.zone,
                "gateway": self.range.gateway(), "vswitch_id": null,
            })
        });
        let routes =
            self.routes.iter().map(|route| json!({ "destination": route.destination, "gateway": route.gateway }));
        let servers: Vec<u64> = cloud.members(self.id).iter().map(|member| member.id).collect();
        json!({
            "id": self.id, "name": self.name, "labels": self.labels, "created": timestamp(self.created_ms),
            "ip_range": self.range.to_string(), "subnets": subnets.collect::<Vec<_>>(),
            "routes": routes.collect::<Vec<_>>(), "servers": servers, "load_balancers": [],
            "protection": { "delete": self.protected }, "expose_routes_to_vswitch": self.expose_routes,
        })
    }
}

fn range(fields: &Fields, name: &str) -> Result<Option<Range>, Refusal> {
    let Some(text) = fields.text(name)?.filter(|text| !text.is_empty()) else { return Ok(None) };
    text.parse().map(Some).map_err(|why: String| Refusal::invalid(name, why))
}

fn route(fields: &Fields) -> Result<NetworkRoute, Refusal> {
    let destination =
        range(fields, "destination")?.ok_or_else(|| Refusal::invalid("destination", "missing"))?.to_string();
    let gateway = need(fields.text("gateway")?, "gateway")?.to_owned();
    gateway.parse::<Ipv4Addr>().map_err(|_| Refusal::invalid("gateway", "not an IPv4 address"))?;
    Ok(NetworkRoute { destination, gateway })
}
