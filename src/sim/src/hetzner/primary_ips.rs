//! Primary addresses: made with a server or on their own, given to one server at a time, and only while it is off.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value as Json, json};

use super::actions::Work;
use super::answer::Reply;
use super::body::{Fields, Request, need};
use super::catalog::Location;
use super::list::{Listed, Value};
use super::refusal::Refusal;
use super::selector::Labels;
use super::servers::by_path;
use super::state::{Effect, Kind, PrimaryIp, Server, Status};
use super::{Cloud, ranges, timestamp};

impl Cloud {
    pub(super) fn primary_ips_route(&mut self, request: &Request, rest: &[&str]) -> Result<Reply, Refusal> {
        let find = |cloud: &Self, id: &str| by_path(&cloud.primary_ips, "primary IP", id).map(|ip| ip.id);
        match (request.method.as_str(), rest) {
            ("GET", []) => self.list(request, "primary_ips", self.primary_ips.values()),
            ("POST", []) => self.create_primary_ip(request),
            ("GET", ["actions"]) => self.actions_of(request, Kind::PrimaryIp, None),
            ("GET", ["actions", action] | [_, "actions", action]) => self.action(action),
            ("GET", [id, "actions"]) => self.actions_of(request, Kind::PrimaryIp, Some(find(self, id)?)),
            ("GET", [id]) => Ok(self.show_primary_ip(find(self, id)?)),
            ("PUT", [id]) => self.update_primary_ip(find(self, id)?, request),
            ("DELETE", [id]) => self.delete_primary_ip(find(self, id)?),
            ("POST", [id, "actions", "assign"]) => self.assign_primary_ip(find(self, id)?, request),
            ("POST", [id, "actions", "unassign"]) => self.unassign_primary_ip(find(self, id)?),
            ("POST", [id, "actions", "change_protection"]) => {
                let id = find(self, id)?;
                let wanted = need(request.fields()?.flag("delete")?, "delete")?;
                self.edit_ip(id, |ip| ip.protected = wanted);
                let action = self.begin(Work::new("change_protection", Kind::PrimaryIp, id));
                Ok(self.started(action))
            }
            ("POST", [id, "actions", "change_dns_ptr"]) => {
                let (id, fields) = (find(self, id)?, request.fields()?);
                let address = need(fields.text("ip")?, "ip")?.parse();
                self.point(id, address.map_err(|_| Refusal::invalid("ip", "not an address"))?, &fields)?;
                let action = self.begin(Work::new("change_dns_ptr", Kind::PrimaryIp, id));
                Ok(self.started(action))
            }
            _ => Err(Refusal::unsupported("this")),
        }
    }

    fn edit_ip(&mut self, id: u64, edit: impl FnOnce(&mut PrimaryIp)) {
        if let Some(ip) = self.primary_ips.get_mut(&id) {
            edit(ip);
        }
    }

    fn show_primary_ip(&self, id: u64) -> Reply {
        Reply::new(200, json!({ "primary_ip": self.primary_ips.get(&id).map(|ip| ip.render(self)) }))
    }

    /// Makes an address. One that is made for a server goes with it and has a name of its own making.
    pub(super) fn new_primary_ip(
        &mut self,
        name: Option<String>,
        v4: bool,
        place: &Location,
        auto_delete: bool,
    ) -> u64 {
        let id = self.next_id();
        let ip = if v4 {
            self.addresses_v4 += 1;
            IpAddr::V4(ranges::ipv4_from(self.settings.addresses_v4.as_deref(), self.addresses_v4 - 1))
        } else {
            self.addresses_v6 += 1;
            IpAddr::V6(ranges::ipv6(self.addresses_v6))
        };
        let pointers = match ip {
            IpAddr::V4(v4) => BTreeMap::from([(v4.to_string(), usual_pointer(v4))]),
            IpAddr::V6(_) => BTreeMap::new(),
        };
        let made = PrimaryIp {
            id,
            name: name.unwrap_or_else(|| format!("primary_ip-{id}")),
            labels: Labels::new(),
            created_ms: self.now_ms,
            ip,
            location: place.name.to_owned(),
            assignee: None,
            auto_delete,
            protected: false,
            pointers,
        };
        self.primary_ips.insert(id, made);
        id
    }

    fn create_primary_ip(&mut self, request: &Request) -> Result<Reply, Refusal> {
        let fields = request.fields()?;
        let name = need(fields.text("name")?, "name")?.to_owned();
        self.check_ip_name(&name, None)?;
        let v4 = match need(fields.text("type")?, "type")? {
            "ipv4" => true,
            "ipv6" => false,
            _ => return Err(Refusal::invalid("type", "must be ipv4 or ipv6")),
        };
        check_assignee_type(&fields)?;
        let labels = fields.labels()?.unwrap_or_default();
        let server = match fields.reference("assignee_id")?.filter(|wanted| wanted.0 != "0") {
            Some(wanted) => Some(self.server_of(&wanted)?),
            None => None,
        };
        let place = match (self.wished_place(&fields)?, server) {
            (Some(wanted), _) => Location::find(&wanted)
                .ok_or_else(|| Refusal::unprocessable("invalid_input", format!("location '{}' not found", wanted.0)))?,
            (None, Some(server)) => Location::named(&server.location),
            (None, None) => return Err(Refusal::invalid("location", "missing data for required field")),
        };
        if let Some(server) = server {
            check_assignable(server, v4, place.name)?;
        }
        if self.primary_ips.len() >= self.settings.primary_ips_max {
            return Err(Refusal::limit("primary_ip_limit", "primary IP limit exceeded"));
        }
        let server = server.map(|server| server.id);
        let id = self.new_primary_ip(Some(name), v4, place, fields.flag("auto_delete")?.unwrap_or(false));
        self.edit_ip(id, |ip| ip.labels = labels);
        let action = server.map(|server| self.begin_assign(id, server));
        let mut answer = json!({ "primary_ip": self.primary_ips.get(&id).map(|ip| ip.render(self)) });
        if let Some(action) = action {
            answer["action"] = self.show_action(action);
        }
        Ok(Reply::new(201, answer))
    }

    fn update_primary_ip(&mut self, id: u64, request: &Request) -> Result<Reply, Refusal> {
        let fields = request.fields()?;
        let labels = fields.labels()?;
        let auto_delete = fields.flag("auto_delete")?;
        let name = fields.text("name")?.map(str::to_owned);
        if let Some(name) = &name {
            self.check_ip_name(name, Some(id))?;
        }
        self.edit_ip(id, |ip| {
            ip.name = name.unwrap_or_else(|| ip.name.clone());
            ip.labels = labels.unwrap_or_else(|| ip.labels.clone());
            ip.auto_delete = auto_delete.unwrap_or(ip.auto_delete);
        });
        Ok(self.show_primary_ip(id))
    }

    fn delete_primary_ip(&mut self, id: u64) -> Result<Reply, Refusal> {
        let ip = self.primary_ips.get(&id).ok_or_else(|| Refusal::not_found("primary IP", id))?;
        if ip.protected {
            return Err(Refusal::protected("Primary IP deletion is protected"));
        }
        if ip.assignee.is_some() {
            return Err(Refusal::unprocessable("must_be_unassigned", "Primary IP must be unassigned"));
        }
        self.primary_ips.remove(&id);
        Ok(Reply::nothing())
    }

    fn assign_primary_ip(&mut self, id: u64, request: &Request) -> Result<Reply, Refusal> {
        let fields = request.fields()?;
        check_assignee_type(&fields)?;
        let server = self.server_of(&need(fields.reference("assignee_id")?, "assignee_id")?)?;
        let ip = self.primary_ips.get(&id).ok_or_else(|| Refusal::not_found("primary IP", id))?;
        if ip.assignee.is_some_and(|other| other != server.id) {
            let message = "primary IP is already assigned to a different server";
            return Err(Refusal::unprocessable("primary_ip_already_assigned", message));
        }
        check_assignable(server, ip.ip.is_ipv4(), &ip.location)?;
        let server = server.id;
        let action = self.begin_assign(id, server);
        Ok(self.started(action))
    }

    fn begin_assign(&mut self, ip: u64, server: u64) -> u64 {
        let work = Work::on_server("assign_primary_ip", server).with(Kind::PrimaryIp, ip);
        self.begin(work.ends(Effect::Assigned { ip, server }))
    }

    fn unassign_primary_ip(&mut self, id: u64) -> Result<Reply, Refusal> {
        let ip = self.primary_ips.get(&id).ok_or_else(|| Refusal::not_found("primary IP", id))?;
        let server = ip.assignee.and_then(|server| self.servers.get(&server));
        let server = server.ok_or_else(|| Refusal::invalid("id", "primary IP is not assigned"))?;
        if !server.locks.is_empty() {
            return Err(Refusal::locked("server"));
        }
        if server.status != Status::Off {
            return Err(Refusal::running());
        }
        let work = Work::on_server("unassign_primary_ip", server.id).with(Kind::PrimaryIp, id);
        let action = self.begin(work.ends(Effect::Unassigned(id)));
        Ok(self.started(action))
    }

    /// Gives an address to a server, now.
    pub(super) fn assign(&mut self, id: u64, server: u64) {
        let Some(ip) = self.primary_ips.get_mut(&id) else { return };
        let Some(server) = self.servers.get_mut(&server) else { return };
        ip.assignee = Some(server.id);
        *(if ip.ip.is_ipv4() { &mut server.ipv4 } else { &mut server.ipv6 }) = Some(id);
    }

    /// Takes an address away from its server, now.
    pub(super) fn unassign(&mut self, id: u64) {
        let Some(ip) = self.primary_ips.get_mut(&id) else { return };
        let server = ip.assignee.take().and_then(|server| self.servers.get_mut(&server));
        if let Some(server) = server {
            *(if ip.ip.is_ipv4() { &mut server.ipv4 } else { &mut server.ipv6 }) = None;
        }
    }

    /// Sets, or with null resets, the name of an address.
    pub(super) fn point(&mut self, id: u64, address: IpAddr, fields: &Fields) -> Result<(), Refusal> {
        if !fields.has("dns_ptr") {
            return Err(Refusal::invalid("dns_ptr", "missing data for required field"));
        }
        let name = fields.text("dns_ptr")?.map(str::to_owned);
        let ip = self.primary_ips.get_mut(&id).ok_or_else(|| Refusal::not_found("primary IP", id))?;
        let own = match (ip.ip, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => own == other,
            (IpAddr::V6(own), IpAddr::V6(other)) => own.segments()[..4] == other.segments()[..4],
            _ => false,
        };
        if !own {
            return Err(Refusal::invalid("ip", "does not belong to this primary IP"));
        }
        match (name, address) {
            (Some(name), _) => ip.pointers.insert(address.to_string(), name),
            (None, IpAddr::V4(v4)) => ip.pointers.insert(v4.to_string(), usual_pointer(v4)),
            (None, IpAddr::V6(v6)) => ip.pointers.remove(&v6.to_string()),
        };
        Ok(())
    }

    fn check_ip_name(&self, name: &str, own: Option<u64>) -> Result<(), Refusal> {
        if name.is_empty() {
            return Err(Refusal::invalid("name", "must not be empty"));
        }
        let taken = self.primary_ips.values().any(|ip| ip.name == name && Some(ip.id) != own);
        if taken { Err(Refusal::taken("name", "name is already used")) } else { Ok(()) }
    }
}

fn check_assignee_type(fields: &Fields) -> Result<(), Refusal> {
    match fields.text("assignee_type")? {
        None | Some("server" | "unassigned") => Ok(()),
        Some(_) => Err(Refusal::invalid("assignee_type", "must be server")),
    }
}

fn check_assignable(server: &Server, v4: bool, place: &str) -> Result<(), Refusal> {
    if !server.locks.is_empty() {
        return Err(Refusal::locked("server"));
    }
    if server.status != Status::Off {
        return Err(Refusal::running());
    }
    if server.location != place {
        return Err(Refusal::invalid("location", "primary IP and server are in different locations"));
    }
    match v4 {
        true if server.ipv4.is_some() => Err(Refusal::unprocessable("server_has_ipv4", "server already has an IPv4")),
        false if server.ipv6.is_some() => Err(Refusal::unprocessable("server_has_ipv6", "server already has an IPv6")),
        _ => Ok(()),
    }
}

fn usual_pointer(ip: Ipv4Addr) -> String {
    let [a, b, c, d] = ip.octets();
    format!("static.{d}.{c}.{b}.{a}.clients.your-server.de")
}

impl PrimaryIp {
    /// Returns the address as it is shown: an IPv6 network with its length.
    pub fn shown(&self) -> String {
        if self.ip.is_ipv4() { self.ip.to_string() } else { format!("{}/64", self.ip) }
    }

    pub fn shown_pointers(&self) -> Vec<Json> {
        self.pointers.iter().map(|(ip, name)| json!({ "ip": ip, "dns_ptr": name })).collect()
    }
}

impl Listed for PrimaryIp {
    const SORTS: &'static [&'static str] = &["id", "created"];
    const FILTERS: &'static [&'static str] = &["name", "ip"];

    fn value(&self, _cloud: &Cloud, field: &str) -> Value {
        match field {
            "name" => Value::Text(self.name.clone()),
            "ip" => Value::Text(self.ip.to_string()),
            "created" => Value::Number(self.created_ms),
            _ => Value::Number(self.id),
        }
    }

    fn labels(&self) -> Option<&Labels> {
        Some(&self.labels)
    }

    fn render(&self, cloud: &Cloud) -> Json {
        let place = Location::named(&self.location);
        let mut shown = json!({
            "id": self.id, "name": self.name, "ip": self.shown(), "type": if self.ip.is_ipv4() { "ipv4" } else { "ipv6" },
            "assignee_id": self.assignee, "assignee_type": if self.assignee.is_some() { "server" } else { "unassigned" },
            "auto_delete": self.auto_delete, "blocked": false, "created": timestamp(self.created_ms),
            "dns_ptr": self.shown_pointers(), "labels": self.labels, "location": place.render(),
            "protection": { "delete": self.protected },
        });
        if cloud.settings.datacenters {
            shown["datacenter"] = place.render_datacenter();
        }
        shown
    }
}
