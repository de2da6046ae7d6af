//! What can be done to a server that exists.

use std::net::IpAddr;

use serde_json::json;

use super::Cloud;
use super::actions::Work;
use super::answer::Reply;
use super::body::{Fields, Request, need};
use super::catalog::{Location, ServerType};
use super::refusal::Refusal;
use super::server_create::check_user_data;
use super::state::{Effect, Event, Kind, PrivateNet, Server, Status};

/// How long a rescue system stays enabled, in milliseconds.
const RESCUE_MS: u64 = 60 * 60 * 1000;

impl Cloud {
    pub(super) fn server_command(&mut self, id: &str, command: &str, request: &Request) -> Result<Reply, Refusal> {
        let server = self.server(id)?;
        let id = server.id;
        if !server.locks.is_empty() {
            return Err(Refusal::locked("server"));
        }
        let fields = request.fields()?;
        match command {
            "poweron" => Ok(self.power(id, "start_server", Status::Starting, Status::Running)),
            "poweroff" => Ok(self.power(id, "stop_server", Status::Stopping, Status::Off)),
            "reboot" => Ok(self.boot_again(id, "reboot_server")),
            "reset" => Ok(self.boot_again(id, "reset_server")),
            "shutdown" => Ok(self.shut_down(id)),
            "change_type" => self.change_type(id, &fields),
            "rebuild" => self.rebuild(id, &fields),
            "change_protection" => self.protect_server(id, &fields),
            "enable_rescue" => self.enable_rescue(id, &fields),
            "disable_rescue" => {
                let work = Work::on_server("disable_rescue", id).ends(Effect::Rescue(id, false));
                let action = self.begin(work);
                Ok(self.started(action))
            }
            "reset_password" => {
                let password = self.password();
                let action = self.begin(Work::on_server("reset_password", id));
                let answer = json!({ "action": self.show_action(action), "root_password": password });
                Ok(Reply::new(201, answer))
            }
            "change_dns_ptr" => self.point_server(id, &fields),
            "attach_to_network" => self.attach_to_network(id, &fields),
            "detach_from_network" => self.detach_from_network(id, &fields),
            "change_alias_ips" => self.change_alias_ips(id, &fields),
            "add_to_placement_group" => self.join_group(id, &fields),
            "remove_from_placement_group" => {
                self.edit_server(id, |server| server.group = None);
                let action = self.begin(Work::on_server("remove_from_placement_group", id));
                Ok(self.started(action))
            }
            other => Err(Refusal::unsupported(&format!("the action {other}"))),
        }
    }

    fn edit_server(&mut self, id: u64, edit: impl FnOnce(&mut Server)) {
        if let Some(server) = self.servers.get_mut(&id) {
            edit(server);
        }
    }

    fn status_of(&self, id: u64) -> Status {
        self.servers.get(&id).map_or(Status::Off, |server| server.status)
    }

    /// Switches power. Where it is as wished already, the action ends well all the same.
    fn power(&mut self, id: u64, command: &'static str, meanwhile: Status, then: Status) -> Reply {
        let before = self.status_of(id);
        let mut work = Work::on_server(command, id);
        if before != then {
            work = work.ends(Effect::StatusFrom(id, meanwhile, then)).undone(Effect::Status(id, before));
            self.edit_server(id, |server| server.status = meanwhile);
        }
        if then == Status::Running {
            work = work.ends(Effect::Rescue(id, false));
        }
        let action = self.begin(work);
        self.started(action)
    }

    /// A server that is off stays off.
    fn boot_again(&mut self, id: u64, command: &'static str) -> Reply {
        let mut work = Work::on_server(command, id);
        if self.status_of(id) == Status::Running {
            self.edit_server(id, |server| server.status = Status::Starting);
            work = work.ends(Effect::StatusFrom(id, Status::Starting, Status::Running)).ends(Effect::Rescue(id, false));
            work = work.undone(Effect::Status(id, Status::Running));
        }
        let action = self.begin(work);
        self.started(action)
    }

    /// Asks the system to shut down: the action is done when it has been asked, the server is off a little later.
    fn shut_down(&mut self, id: u64) -> Reply {
        let action = self.begin(Work::on_server("shutdown_server", id));
        if self.status_of(id) == Status::Running {
            self.edit_server(id, |server| server.status = Status::Stopping);
            let asked_ms = self.settings.duration_ms("shutdown_server");
            let off_ms = self.now_ms + asked_ms + 2 * self.settings.duration_ms("stop_server");
            self.at(off_ms, Event::Effect(Effect::StatusFrom(id, Status::Stopping, Status::Off)));
        }
        self.started(action)
    }

    fn change_type(&mut self, id: u64, fields: &Fields) -> Result<Reply, Refusal> {
        let wanted = need(fields.reference("server_type")?, "server_type")?;
        let disk = need(fields.flag("upgrade_disk")?, "upgrade_disk")?;
        let refused = |message: &str| Refusal::unprocessable("invalid_server_type", message);
        let server = self.servers.get(&id).ok_or_else(|| Refusal::not_found("server", id))?;
        let size = ServerType::find(&wanted).ok_or_else(|| refused("server type not found"))?;
        let before = ServerType::by_id(server.server_type);
        if server.status != Status::Off {
            return Err(Refusal::running());
        }
        match () {
            () if size.retired => return Err(refused(&format!("server type {} is deprecated", size.id))),
            () if size.id == before.id => return Err(refused("server already has this server type")),
            () if size.arm != before.arm => return Err(refused("server type has another architecture")),
            () if size.disk_gb < server.disk_gb => return Err(refused("server disk is bigger than server type disk")),
            () if !size.sold_at(Location::named(&server.location)) => {
                return Err(refused("unsupported location for server type"));
            }
            () => {}
        }
        if self.settings.is_sold_out(size.name, &server.location) {
            return Err(Refusal::new(412, "resource_unavailable", "error during placement"));
        }
        self.edit_server(id, |server| server.status = Status::Migrating);
        let work = Work::on_server("change_server_type", id).ends(Effect::Resized { server: id, to: size.id, disk });
        let action = self.begin(work.undone(Effect::Status(id, Status::Off)));
        Ok(self.started(action))
    }

    fn rebuild(&mut self, id: u64, fields: &Fields) -> Result<Reply, Refusal> {
        let server = self.servers.get(&id).ok_or_else(|| Refusal::not_found("server", id))?;
        if server.protected_rebuild {
            return Err(Refusal::protected("server rebuild is protected"));
        }
        let image = self.check_image(fields, ServerType::by_id(server.server_type).arm)?;
        if image.disk_gb > server.disk_gb {
            return Err(Refusal::invalid("image", "does not fit on the disk of this server"));
        }
        let user_data = fields.text("user_data")?.map(str::to_owned);
        check_user_data(user_data.as_deref())?;
        let (before, has_keys) = (server.status, !server.keys.is_empty());
        self.edit_server(id, |server| {
            server.status = Status::Rebuilding;
            server.user_data = user_data.or_else(|| server.user_data.clone());
        });
        let work = Work::on_server("rebuild_server", id).ends(Effect::Rebuilt { server: id, image: image.id });
        let action = self.begin(work.undone(Effect::Status(id, before)));
        let password = (!has_keys).then(|| self.password());
        Ok(Reply::new(201, json!({ "action": self.show_action(action), "root_password": password })))
    }

    /// Both kinds of protection can only be set together.
    fn protect_server(&mut self, id: u64, fields: &Fields) -> Result<Reply, Refusal> {
        let server = self.servers.get(&id).ok_or_else(|| Refusal::not_found("server", id))?;
        let delete = fields.flag("delete")?.unwrap_or(server.protected_delete);
        let rebuild = fields.flag("rebuild")?.unwrap_or(server.protected_rebuild);
        if delete != rebuild {
            return Err(Refusal::invalid("rebuild", "delete and rebuild protection must have the same value"));
        }
        self.edit_server(id, |server| {
            server.protected_delete = delete;
            server.protected_rebuild = rebuild;
        });
        let action = self.begin(Work::on_server("change_protection", id));
        Ok(self.started(action))
    }

    fn enable_rescue(&mut self, id: u64, fields: &Fields) -> Result<Reply, Refusal> {
        if fields.text("type")?.is_some_and(|kind| kind != "linux64") {
            return Err(Refusal::invalid("type", "must be linux64"));
        }
        self.public_keys(&fields.references("ssh_keys")?)?;
        let action = self.begin(Work::on_server("enable_rescue", id).ends(Effect::Rescue(id, true)));
        self.at(self.now_ms + RESCUE_MS, Event::Effect(Effect::Rescue(id, false)));
        let password = self.password();
        Ok(Reply::new(201, json!({ "action": self.show_action(action), "root_password": password })))
    }

    fn point_server(&mut self, id: u64, fields: &Fields) -> Result<Reply, Refusal> {
        let address = need(fields.text("ip")?, "ip")?.parse::<IpAddr>();
        let address = address.map_err(|_| Refusal::invalid("ip", "not an address"))?;
        let server = self.servers.get(&id).ok_or_else(|| Refusal::not_found("server", id))?;
        let own = if address.is_ipv4() { server.ipv4 } else { server.ipv6 };
        let own = own.ok_or_else(|| Refusal::invalid("ip", "does not belong to the server"))?;
        self.point(own, address, fields)?;
        let action = self.begin(Work::on_server("change_dns_ptr", id));
        Ok(self.started(action))
    }

    fn attach_to_network(&mut self, id: u64, fields: &Fields) -> Result<Reply, Refusal> {
        let network = self.network_of(&need(fields.reference("network")?, "network")?)?;
        let server = self.servers.get(&id).ok_or_else(|| Refusal::not_found("server", id))?;
        let refused = Refusal::unprocessable;
        if server.private.iter().any(|net| net.network == network.id) {
            return Err(refused("server_already_attached", "server is already attached to network"));
        }
        let others = server.private.iter().filter_map(|net| self.networks.get(&net.network));
        if others.into_iter().any(|other| other.range.overlaps(network.range)) {
            return Err(refused("networks_overlap", "network overlaps with another network of the server"));
        }
        let ip = match fields.text("ip")? {
            Some(text) => self.checked_private_ip(network, text)?,
            None => self.free_private_ip(network, Location::named(&server.location))?,
        };
        let net = PrivateNet { network: network.id, ip, alias_ips: fields.texts("alias_ips")? };
        let work = Work::on_server("attach_to_network", id).with(Kind::Network, network.id);
        self.edit_server(id, |server| server.private.push(net));
        let action = self.begin(work);
        Ok(self.started(action))
    }

    fn detach_from_network(&mut self, id: u64, fields: &Fields) -> Result<Reply, Refusal> {
        let network = self.attached(id, fields)?;
        self.edit_server(id, |server| server.private.retain(|net| net.network != network));
        let action = self.begin(Work::on_server("detach_from_network", id).with(Kind::Network, network));
        Ok(self.started(action))
    }

    fn change_alias_ips(&mut self, id: u64, fields: &Fields) -> Result<Reply, Refusal> {
        let network = self.attached(id, fields)?;
        let aliases = fields.texts("alias_ips")?;
        self.edit_server(id, |server| {
            for net in server.private.iter_mut().filter(|net| net.network == network) {
                net.alias_ips.clone_from(&aliases);
            }
        });
        let action = self.begin(Work::on_server("change_alias_ips", id).with(Kind::Network, network));
        Ok(self.started(action))
    }

    /// Returns a network that the server is in.
    fn attached(&self, id: u64, fields: &Fields) -> Result<u64, Refusal> {
        let network = self.network_of(&need(fields.reference("network")?, "network")?)?.id;
        let server = self.servers.get(&id).ok_or_else(|| Refusal::not_found("server", id))?;
        let is_in = server.private.iter().any(|net| net.network == network);
        if is_in { Ok(network) } else { Err(Refusal::invalid("network", "server is not attached to network")) }
    }

    fn join_group(&mut self, id: u64, fields: &Fields) -> Result<Reply, Refusal> {
        let wanted = need(fields.reference("placement_group")?, "placement_group")?;
        let server = self.servers.get(&id).ok_or_else(|| Refusal::not_found("server", id))?;
        if server.group.is_some() {
            let message = "server is already in a placement group";
            return Err(Refusal::unprocessable("already_in_placement_group", message));
        }
        if server.status != Status::Off {
            return Err(Refusal::running());
        }
        let group = self.check_group_room(&wanted)?;
        self.edit_server(id, |server| server.group = Some(group));
        let action = self.begin(Work::on_server("add_to_placement_group", id));
        Ok(self.started(action))
    }
}
