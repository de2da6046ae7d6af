//! Servers: how they are shown, listed, renamed and deleted. Making them and acting on them have files of their own.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value as Json, json};

use super::actions::Work;
use super::answer::Reply;
use super::body::{Reference, Request};
use super::catalog::{Image, Location, ServerType};
use super::list::{Listed, Value};
use super::refusal::Refusal;
use super::selector::Labels;
use super::state::{Effect, Kind, Server, Status};
use super::{Cloud, timestamp};

/// Finds a resource by the id in a path, which is a number there.
pub(super) fn by_path<'a, T>(map: &'a BTreeMap<u64, T>, what: &str, id: &str) -> Result<&'a T, Refusal> {
    id.parse().ok().and_then(|id| map.get(&id)).ok_or_else(|| Refusal::not_found(what, id))
}

impl Cloud {
    pub(super) fn servers_route(&mut self, request: &Request, rest: &[&str]) -> Result<Reply, Refusal> {
        match (request.method.as_str(), rest) {
            ("GET", []) => self.list(request, "servers", self.servers.values()),
            ("POST", []) => self.create_server(request),
            ("GET", ["actions"]) => self.actions_of(request, Kind::Server, None),
            ("GET", ["actions", action]) => self.action(action),
            ("GET", [id, "actions"]) => {
                let id = self.server(id)?.id;
                self.actions_of(request, Kind::Server, Some(id))
            }
            ("GET", [id, "actions", action]) => {
                self.server(id)?;
                self.action(action)
            }
            ("GET", [id, "metrics"]) => self.server_metrics(id, request),
            ("GET", [id]) => self.show_server(id),
            ("PUT", [id]) => self.update_server(id, request),
            ("DELETE", [id]) => self.delete_server(id),
            ("POST", [id, "actions", command]) => self.server_command(id, command, request),
            _ => Err(Refusal::unsupported("this")),
        }
    }

    pub(super) fn server(&self, id: &str) -> Result<&Server, Refusal> {
        by_path(&self.servers, "server", id)
    }

    /// Finds a server that a body points at.
    pub(super) fn server_of(&self, reference: &Reference) -> Result<&Server, Refusal> {
        let by_id = reference.id().and_then(|id| self.servers.get(&id));
        let found = by_id.or_else(|| self.servers.values().find(|server| server.name == reference.0));
        found.ok_or_else(|| Refusal::not_found("server", &reference.0))
    }

    fn show_server(&self, id: &str) -> Result<Reply, Refusal> {
        Ok(Reply::new(200, json!({ "server": self.server(id)?.render(self) })))
    }

    fn update_server(&mut self, id: &str, request: &Request) -> Result<Reply, Refusal> {
        let id = self.server(id)?.id;
        let fields = request.fields()?;
        let labels = fields.labels()?;
        let name = fields.text("name")?.map(str::to_owned);
        if let Some(name) = &name {
            self.check_server_name(name, Some(id))?;
        }
        if let Some(server) = self.servers.get_mut(&id) {
            server.name = name.unwrap_or_else(|| server.name.clone());
            server.labels = labels.unwrap_or_else(|| server.labels.clone());
        }
        self.show_server(&id.to_string())
    }

    fn delete_server(&mut self, id: &str) -> Result<Reply, Refusal> {
        let server = self.server(id)?;
        if server.protected_delete {
            return Err(Refusal::protected("server deletion is protected"));
        }
        if !server.locks.is_empty() {
            return Err(Refusal::locked("server"));
        }
        let (id, before) = (server.id, server.status);
        let work = Work::on_server("delete_server", id).ends(Effect::Gone(id));
        let action = self.begin(work.undone(Effect::Status(id, before)));
        if let Some(server) = self.servers.get_mut(&id) {
            server.status = Status::Deleting;
        }
        Ok(Reply::new(200, json!({ "action": self.show_action(action) })))
    }

    /// Takes a server out of everything it was in. Addresses that were made for it go with it.
    pub(super) fn remove_server(&mut self, id: u64) {
        self.servers.remove(&id);
        self.primary_ips.retain(|_, ip| ip.assignee != Some(id) || !ip.auto_delete);
        for ip in self.primary_ips.values_mut().filter(|ip| ip.assignee == Some(id)) {
            ip.assignee = None;
        }
        for firewall in self.firewalls.values_mut() {
            firewall.servers.retain(|server| *server != id);
        }
        for volume in self.volumes.values_mut().filter(|volume| volume.server == Some(id)) {
            volume.server = None;
        }
    }

    /// Refuses a name that is not a host name, or that another server has.
    pub(super) fn check_server_name(&self, name: &str, own: Option<u64>) -> Result<(), Refusal> {
        if !is_host_name(name) {
            return Err(Refusal::invalid("name", "must be a valid hostname (RFC 1123)"));
        }
        let taken = self.servers.values().any(|server| server.name == name && Some(server.id) != own);
        if taken { Err(Refusal::taken("name", "server name is already used")) } else { Ok(()) }
    }

    fn public_net(&self, server: &Server) -> Json {
        let v4 = server.ipv4.and_then(|id| self.primary_ips.get(&id)).map(|ip| {
            let pointer = ip.pointers.values().next();
            json!({ "id": ip.id, "ip": ip.ip, "blocked": false, "dns_ptr": pointer })
        });
        let v6 = server
            .ipv6
            .and_then(|id| self.primary_ips.get(&id))
            .map(|ip| json!({ "id": ip.id, "ip": ip.shown(), "blocked": false, "dns_ptr": ip.shown_pointers() }));
        json!({ "ipv4": v4, "ipv6": v6, "floating_ips": [], "firewalls": self.firewalls_of(server) })
    }

    /// Returns a server's public addresses.
    pub(super) fn addresses(&self, server: &Server) -> (Option<IpAddr>, Option<IpAddr>) {
        let address = |id: Option<u64>| id.and_then(|id| self.primary_ips.get(&id)).map(|ip| ip.ip);
        (address(server.ipv4), address(server.ipv6))
    }
}

impl Listed for Server {
    const SORTS: &'static [&'static str] = &["id", "name", "created"];
    const FILTERS: &'static [&'static str] = &["name", "status"];

    fn value(&self, _cloud: &Cloud, field: &str) -> Value {
        match field {
            "name" => Value::Text(self.name.clone()),
            "created" => Value::Number(self.created_ms),
            "status" => Value::Text(self.status.word().to_owned()),
            _ => Value::Number(self.id),
        }
    }

    fn labels(&self) -> Option<&Labels> {
        Some(&self.labels)
    }

    fn render(&self, cloud: &Cloud) -> Json {
        let location = Location::named(&self.location);
        let size = ServerType::by_id(self.server_type);
        let private = self.private.iter().map(|net| {
            let [_, b, c, d] = net.ip.octets();
            let mac = format!("86:00:00:{b:02x}:{c:02x}:{d:02x}");
            json!({ "network": net.network, "ip": net.ip, "alias_ips": net.alias_ips, "mac_address": mac })
        });
        let volumes = cloud.volumes.values().filter(|volume| volume.server == Some(self.id)).map(|volume| volume.id);
        let group = self.group.and_then(|id| cloud.placement_groups.get(&id)).map(|group| group.render(cloud));
        let mut shown = json!({
            "id": self.id, "name": self.name, "status": self.status.word(), "created": timestamp(self.created_ms),
            "public_net": cloud.public_net(self), "private_net": private.collect::<Vec<_>>(),
            "server_type": cloud.show_size(size), "location": location.render(),
            "image": Image::by_id(self.image).map(Image::render), "iso": null, "rescue_enabled": self.rescue_enabled,
            "locked": !self.locks.is_empty(), "backup_window": null, "outgoing_traffic": 0, "ingoing_traffic": 0,
            "included_traffic": 21_990_232_555_520_u64, "primary_disk_size": self.disk_gb, "labels": self.labels,
            "protection": { "delete": self.protected_delete, "rebuild": self.protected_rebuild },
            "volumes": volumes.collect::<Vec<_>>(), "load_balancers": [], "placement_group": group,
        });
        if cloud.settings.datacenters {
            shown["datacenter"] = location.render_datacenter();
        }
        shown
    }
}

/// Whether a name is a host name by RFC 1123.
pub(super) fn is_host_name(name: &str) -> bool {
    let good = |part: &str| {
        let edges = part.starts_with('-') || part.ends_with('-');
        (1..=63).contains(&part.len()) && !edges && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    name.len() <= 253 && name.split('.').all(good)
}
