//! Making a server: everything that is checked first, in the API's order, and what is made along with it.

use std::net::IpAddr;

use serde_json::json;

use super::Cloud;
use super::actions::Work;
use super::answer::Reply;
use super::body::{Fields, Reference, Request, need};
use super::catalog::{Image, LOCATIONS, Location, ServerType};
use super::list::Listed;
use super::refusal::Refusal;
use super::selector::Labels;
use super::state::{Effect, Kind, PrivateNet, Server, Status};

/// The most bytes of user data.
const USER_DATA_MAX: usize = 32 * 1024;
/// The most servers in a group: they have to be on different hosts.
const GROUP_MAX: usize = 10;

/// A wish for a server that has been found to be possible.
struct Wish {
    name: String,
    labels: Labels,
    size: &'static ServerType,
    place: &'static Location,
    image: &'static Image,
    keys: Vec<String>,
    firewalls: Vec<u64>,
    networks: Vec<(u64, std::net::Ipv4Addr)>,
    volumes: Vec<u64>,
    group: Option<u64>,
    user_data: Option<String>,
    starts: bool,
    ipv4: Address,
    ipv6: Address,
}

/// What is wished of a public address.
#[derive(Clone, Copy)]
enum Address {
    None,
    New,
    Own(u64),
}

impl Cloud {
    pub(super) fn create_server(&mut self, request: &Request) -> Result<Reply, Refusal> {
        let wish = self.check_wish(&request.fields()?)?;
        let id = self.next_id();
        let addresses =
            [self.take_address(id, wish.ipv4, true, wish.place), self.take_address(id, wish.ipv6, false, wish.place)];
        let password = wish.keys.is_empty().then(|| self.password());
        let private =
            wish.networks.iter().map(|(network, ip)| PrivateNet { network: *network, ip: *ip, alias_ips: Vec::new() });
        let server = Server {
            id,
            name: wish.name,
            labels: wish.labels,
            created_ms: self.now_ms,
            status: Status::Initializing,
            server_type: wish.size.id,
            location: wish.place.name.to_owned(),
            image: wish.image.id,
            disk_gb: wish.size.disk_gb,
            ipv4: addresses[0],
            ipv6: addresses[1],
            private: private.collect(),
            group: wish.group,
            protected_delete: false,
            protected_rebuild: false,
            rescue_enabled: false,
            user_data: wish.user_data,
            keys: wish.keys,
            rebuilt: 0,
            locks: Vec::new(),
        };
        self.servers.insert(id, server);
        for volume in &wish.volumes {
            if let Some(volume) = self.volumes.get_mut(volume) {
                volume.server = Some(id);
            }
        }
        let (action, next) = self.begin_server(id, wish.starts, &wish.firewalls);
        let next: Vec<_> = next.into_iter().map(|id| self.show_action(id)).collect();
        let shown = self.servers.get(&id).map(|server| server.render(self));
        let answer = json!({
            "server": shown, "action": self.show_action(action), "next_actions": next, "root_password": password,
        });
        Ok(Reply::new(201, answer))
    }

    fn begin_server(&mut self, id: u64, starts: bool, firewalls: &[u64]) -> (u64, Vec<u64>) {
        let then = if starts { Status::Starting } else { Status::Off };
        let create = Work::on_server("create_server", id).ends(Effect::Status(id, then));
        let create = self.begin(create.undone(Effect::Status(id, Status::Off)));
        let mut next = Vec::new();
        if starts {
            let start = Work::on_server("start_server", id).after(create);
            let start = start.ends(Effect::StatusFrom(id, Status::Starting, Status::Running));
            next.push(self.begin(start.undone(Effect::Status(id, Status::Off))));
        }
        for firewall in firewalls {
            if let Some(firewall) = self.firewalls.get_mut(firewall) {
                firewall.servers.push(id);
            }
            next.push(self.begin(Work::new("apply_firewall", Kind::Server, id).with(Kind::Firewall, *firewall)));
        }
        (create, next)
    }

    fn take_address(&mut self, server: u64, wish: Address, v4: bool, place: &Location) -> Option<u64> {
        let ip = match wish {
            Address::None => return None,
            Address::New => self.new_primary_ip(None, v4, place, true),
            Address::Own(ip) => ip,
        };
        if let Some(own) = self.primary_ips.get_mut(&ip) {
            own.assignee = Some(server);
        }
        Some(ip)
    }

    fn check_wish(&self, fields: &Fields) -> Result<Wish, Refusal> {
        let name = need(fields.text("name")?, "name")?.to_owned();
        self.check_server_name(&name, None)?;
        let labels = fields.labels()?.unwrap_or_default();
        let (size, place) = self.check_size(fields)?;
        let image = self.check_image(fields, size.arm)?;
        if image.disk_gb > size.disk_gb {
            return Err(Refusal::invalid("image", "does not fit on the disk of this server type"));
        }
        let user_data = fields.text("user_data")?.map(str::to_owned);
        check_user_data(user_data.as_deref())?;
        let (ipv4, ipv6) = self.check_addresses(fields, place)?;
        let networks = self.check_networks(fields, place)?;
        if matches!((ipv4, ipv6), (Address::None, Address::None)) && networks.is_empty() {
            return Err(Refusal::invalid("public_net", "a server needs a public address or a network"));
        }
        let wish = Wish {
            name,
            labels,
            size,
            place,
            image,
            keys: self.public_keys(&fields.references("ssh_keys")?)?,
            firewalls: self.check_firewalls(fields)?,
            networks,
            volumes: self.check_volumes(fields, place)?,
            group: self.check_group(fields)?,
            user_data,
            starts: fields.flag("start_after_create")?.unwrap_or(true),
            ipv4,
            ipv6,
        };
        if self.servers.len() >= self.settings.servers_max {
            return Err(Refusal::limit("project_limit", "server limit exceeded"));
        }
        if self.settings.is_sold_out(size.name, place.name) {
            return Err(Refusal::new(412, "resource_unavailable", "error during placement"));
        }
        Ok(wish)
    }

    /// Returns the size, and the place: that of the wish, or of its addresses and volumes, or the first that has the size.
    fn check_size(&self, fields: &Fields) -> Result<(&'static ServerType, &'static Location), Refusal> {
        let wanted = need(fields.reference("server_type")?, "server_type")?;
        let invalid = |message: String| Refusal::unprocessable("invalid_input", message);
        let size = ServerType::find(&wanted).ok_or_else(|| invalid(format!("server type '{}' not found", wanted.0)))?;
        if size.retired {
            return Err(invalid(format!("server type {} is deprecated", size.id)));
        }
        let place = match self.wished_place(fields)? {
            Some(wanted) => {
                Location::find(&wanted).ok_or_else(|| invalid(format!("location '{}' not found", wanted.0)))?
            }
            None => self.likely_place(fields, size)?,
        };
        if !size.sold_at(place) {
            return Err(invalid("unsupported location for server type".to_owned()));
        }
        Ok((size, place))
    }

    /// Returns the place that a body names, by `location`, or by `datacenter` as long as that is known.
    pub(super) fn wished_place(&self, fields: &Fields) -> Result<Option<Reference>, Refusal> {
        match fields.reference("datacenter")? {
            Some(_) if !self.settings.datacenters => Err(Refusal::invalid("datacenter", "was removed, use location")),
            Some(Reference(name)) => Ok(Some(Reference(name.split('-').next().unwrap_or_default().to_owned()))),
            None => fields.reference("location"),
        }
    }

    fn likely_place(&self, fields: &Fields, size: &ServerType) -> Result<&'static Location, Refusal> {
        for own in self.own_addresses(fields)?.into_iter().flatten() {
            if let Some(ip) = self.primary_ips.get(&own) {
                return Ok(Location::named(&ip.location));
            }
        }
        if let Some(volume) = fields.references("volumes")?.first() {
            return Ok(Location::named(&self.volume_of(volume)?.location));
        }
        let has = |place: &&Location| size.sold_at(place) && !self.settings.is_sold_out(size.name, place.name);
        let sells = || LOCATIONS.iter().find(|place| size.sold_at(place));
        Ok(LOCATIONS.iter().find(has).or_else(sells).unwrap_or(&LOCATIONS[0]))
    }

    /// Returns the image that a body names, for an architecture.
    pub(super) fn check_image(&self, fields: &Fields, arm: bool) -> Result<&'static Image, Refusal> {
        let wanted = need(fields.reference("image")?, "image")?;
        let invalid = |message: String| Refusal::unprocessable("invalid_input", message);
        let image = Image::find(&wanted, arm).ok_or_else(|| invalid(format!("image '{}' not found", wanted.0)))?;
        if image.arm != arm {
            return Err(invalid("image architecture does not match the server type".to_owned()));
        }
        Ok(image)
    }

    fn own_addresses(&self, fields: &Fields) -> Result<[Option<u64>; 2], Refusal> {
        let Some(net) = fields.get("public_net") else { return Ok([None, None]) };
        let net = Fields::within(net, "public_net")?;
        Ok([net.number("ipv4")?, net.number("ipv6")?])
    }

    fn check_addresses(&self, fields: &Fields, place: &Location) -> Result<(Address, Address), Refusal> {
        let Some(net) = fields.get("public_net") else { return Ok((Address::New, Address::New)) };
        let net = Fields::within(net, "public_net")?;
        let [own4, own6] = self.own_addresses(fields)?;
        let one = |own: Option<u64>, enable: &str, v4: bool| match own {
            Some(id) => self.check_own_address(id, v4, place).map(Address::Own),
            None if net.flag(enable)?.unwrap_or(true) => Ok(Address::New),
            None => Ok(Address::None),
        };
        let found = (one(own4, "enable_ipv4", true)?, one(own6, "enable_ipv6", false)?);
        let new = [found.0, found.1].iter().filter(|address| matches!(address, Address::New)).count();
        if self.primary_ips.len() + new > self.settings.primary_ips_max {
            return Err(Refusal::limit("primary_ip_limit", "primary IP limit exceeded"));
        }
        Ok(found)
    }

    fn check_own_address(&self, id: u64, v4: bool, place: &Location) -> Result<u64, Refusal> {
        let ip = self.primary_ips.get(&id).ok_or_else(|| Refusal::not_found("primary IP", id))?;
        if matches!(ip.ip, IpAddr::V4(_)) != v4 {
            return Err(Refusal::new(412, "primary_ip_version_mismatch", "the primary IP has the wrong IP version"));
        }
        if ip.assignee.is_some() {
            return Err(Refusal::unprocessable(
                "primary_ip_assigned",
                "the primary IP is already assigned to a server",
            ));
        }
        if ip.location != place.name {
            let message = "the primary IP is in a different location";
            return Err(Refusal::unprocessable("primary_ip_datacenter_mismatch", message));
        }
        Ok(id)
    }

    fn check_firewalls(&self, fields: &Fields) -> Result<Vec<u64>, Refusal> {
        let one = |entry: &serde_json::Value| {
            let wanted = need(Fields::within(entry, "firewalls")?.reference("firewall")?, "firewalls")?;
            let found = wanted.id().filter(|id| self.firewalls.contains_key(id));
            found.ok_or_else(|| Refusal::not_found("firewall", &wanted.0))
        };
        let mut found = fields.list("firewalls")?.unwrap_or_default().iter().map(one).collect::<Result<Vec<_>, _>>()?;
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn check_networks(&self, fields: &Fields, place: &Location) -> Result<Vec<(u64, std::net::Ipv4Addr)>, Refusal> {
        let wanted = fields.references("networks")?;
        wanted
            .iter()
            .map(|wanted| {
                let network = self.network_of(wanted)?;
                Ok((network.id, self.free_private_ip(network, place)?))
            })
            .collect()
    }

    fn check_volumes(&self, fields: &Fields, place: &Location) -> Result<Vec<u64>, Refusal> {
        let one = |wanted: &Reference| {
            let volume = self.volume_of(wanted)?;
            if volume.server.is_some() {
                return Err(Refusal::unprocessable("volume_already_attached", "volume is already attached"));
            }
            if volume.location != place.name {
                return Err(Refusal::invalid("volumes", "volume is in another location"));
            }
            Ok(volume.id)
        };
        fields.references("volumes")?.iter().map(one).collect()
    }

    fn check_group(&self, fields: &Fields) -> Result<Option<u64>, Refusal> {
        let Some(wanted) = fields.reference("placement_group")? else { return Ok(None) };
        self.check_group_room(&wanted).map(Some)
    }

    /// Returns a group that has room for one more.
    pub(super) fn check_group_room(&self, wanted: &Reference) -> Result<u64, Refusal> {
        let found = wanted.id().filter(|id| self.placement_groups.contains_key(id));
        let id = found.ok_or_else(|| Refusal::not_found("placement group", &wanted.0))?;
        if self.servers.values().filter(|server| server.group == Some(id)).count() >= GROUP_MAX {
            return Err(Refusal::unprocessable("placement_error", "no host is left for this placement group"));
        }
        Ok(id)
    }
}

pub(super) fn check_user_data(user_data: Option<&str>) -> Result<(), Refusal> {
    match user_data {
        Some(text) if text.len() > USER_DATA_MAX => Err(Refusal::invalid("user_data", "is longer than 32 KiB")),
        _ => Ok(()),
    }
}
