//! Volumes: disks of their own, in one place, at one server at a time.

use serde_json::{Value as Json, json};

use super::actions::Work;
use super::answer::Reply;
use super::body::{Reference, Request, need};
use super::catalog::Location;
use super::list::{Listed, Value};
use super::refusal::Refusal;
use super::selector::Labels;
use super::servers::by_path;
use super::state::{Kind, Volume};
use super::{Cloud, timestamp};

const SIZES_GB: std::ops::RangeInclusive<u64> = 10..=10_240;

impl Cloud {
    pub(super) fn volumes_route(&mut self, request: &Request, rest: &[&str]) -> Result<Reply, Refusal> {
        let find = |cloud: &Self, id: &str| by_path(&cloud.volumes, "volume", id).map(|volume| volume.id);
        match (request.method.as_str(), rest) {
            ("GET", []) => self.list(request, "volumes", self.volumes.values()),
            ("POST", []) => self.create_volume(request),
            ("GET", ["actions"]) => self.actions_of(request, Kind::Volume, None),
            ("GET", ["actions", action] | [_, "actions", action]) => self.action(action),
            ("GET", [id, "actions"]) => self.actions_of(request, Kind::Volume, Some(find(self, id)?)),
            ("GET", [id]) => Ok(self.show_volume(find(self, id)?)),
            ("PUT", [id]) => self.update_volume(find(self, id)?, request),
            ("DELETE", [id]) => self.delete_volume(find(self, id)?),
            ("POST", [id, "actions", command]) => self.volume_command(find(self, id)?, command, request),
            _ => Err(Refusal::unsupported("this")),
        }
    }

    /// Finds a volume that a body points at.
    pub(super) fn volume_of(&self, reference: &Reference) -> Result<&Volume, Refusal> {
        let found = reference.id().and_then(|id| self.volumes.get(&id));
        found.ok_or_else(|| Refusal::not_found("volume", &reference.0))
    }

    fn show_volume(&self, id: u64) -> Reply {
        Reply::new(200, json!({ "volume": self.volumes.get(&id).map(|volume| volume.render(self)) }))
    }

    fn create_volume(&mut self, request: &Request) -> Result<Reply, Refusal> {
        let fields = request.fields()?;
        let name = need(fields.text("name")?, "name")?.to_owned();
        self.check_volume_name(&name, None)?;
        let size_gb = need(fields.number("size")?, "size")?;
        if !SIZES_GB.contains(&size_gb) {
            return Err(Refusal::invalid("size", "must be 10 to 10240 GB"));
        }
        let format = fields.text("format")?.map(str::to_owned);
        if format.as_ref().is_some_and(|format| !["ext4", "xfs"].contains(&format.as_str())) {
            return Err(Refusal::invalid("format", "must be ext4 or xfs"));
        }
        let server = match fields.reference("server")? {
            Some(wanted) => Some(self.server_of(&wanted)?),
            None => None,
        };
        let location = match (fields.reference("location")?, server) {
            (Some(wanted), _) => Location::find(&wanted).ok_or_else(|| Refusal::invalid("location", "not found"))?.name,
            (None, Some(server)) => &server.location,
            (None, None) => return Err(Refusal::invalid("location", "missing data for required field")),
        };
        if server.is_some_and(|server| server.location != location) {
            return Err(Refusal::invalid("server", "is in another location"));
        }
        let (location, server) = (location.to_owned(), server.map(|server| server.id));
        let labels = fields.labels()?.unwrap_or_default();
        let (id, created_ms) = (self.next_id(), self.now_ms);
        let volume = Volume { id, name, labels, created_ms, size_gb, location, format, server, protected: false };
        self.volumes.insert(id, volume);
        let work = Work::new("create_volume", Kind::Volume, id);
        let action = self.begin(match server {
            Some(server) => work.with(Kind::Server, server),
            None => work,
        });
        let next = server.map(|server| {
            self.begin(Work::new("attach_volume", Kind::Volume, id).with(Kind::Server, server).after(action))
        });
        let next: Vec<Json> = next.into_iter().map(|action| self.show_action(action)).collect();
        let shown = self.volumes.get(&id).map(|volume| volume.render(self));
        Ok(Reply::new(201, json!({ "volume": shown, "action": self.show_action(action), "next_actions": next })))
    }

    fn update_volume(&mut self, id: u64, request: &Request) -> Result<Reply, Refusal> {
        let fields = request.fields()?;
        let (name, labels) = (fields.text("name")?.map(str::to_owned), fields.labels()?);
        if let Some(name) = &name {
            self.check_volume_name(name, Some(id))?;
        }
        if let Some(volume) = self.volumes.get_mut(&id) {
            volume.name = name.unwrap_or_else(|| volume.name.clone());
            volume.labels = labels.unwrap_or_else(|| volume.labels.clone());
        }
        Ok(self.show_volume(id))
    }

    fn delete_volume(&mut self, id: u64) -> Result<Reply, Refusal> {
        let volume = self.volumes.get(&id).ok_or_else(|| Refusal::not_found("volume", id))?;
        if volume.protected {
            return Err(Refusal::protected("volume deletion is protected"));
        }
        if volume.server.is_some() {
            return Err(Refusal::new(423, "locked", "volume is still attached to a server"));
        }
        self.volumes.remove(&id);
        Ok(Reply::nothing())
    }

    fn volume_command(&mut self, id: u64, command: &str, request: &Request) -> Result<Reply, Refusal> {
        let fields = request.fields()?;
        let volume = self.volumes.get(&id).ok_or_else(|| Refusal::not_found("volume", id))?;
        let mut changed = volume.clone();
        let (name, server) = match command {
            "attach" => {
                let server = self.server_of(&need(fields.reference("server")?, "server")?)?;
                if volume.server.is_some() {
                    return Err(Refusal::unprocessable("volume_already_attached", "volume is already attached"));
                }
                if volume.location != server.location {
                    return Err(Refusal::invalid("server", "is in another location"));
                }
                changed.server = Some(server.id);
                ("attach_volume", changed.server)
            }
            "detach" => {
                changed.server = None;
                ("detach_volume", volume.server)
            }
            "resize" => {
                let size_gb = need(fields.number("size")?, "size")?;
                if size_gb <= volume.size_gb || !SIZES_GB.contains(&size_gb) {
                    return Err(Refusal::invalid("size", "must be bigger than before, and 10240 GB at most"));
                }
                changed.size_gb = size_gb;
                ("resize_volume", None)
            }
            _ => {
                changed.protected = fields.flag("delete")?.unwrap_or(volume.protected);
                ("change_protection", None)
            }
        };
        self.volumes.insert(id, changed);
        let work = Work::new(name, Kind::Volume, id);
        let action = self.begin(match server {
            Some(server) => work.with(Kind::Server, server),
            None => work,
        });
        Ok(self.started(action))
    }

    fn check_volume_name(&self, name: &str, own: Option<u64>) -> Result<(), Refusal> {
        if name.is_empty() || name.len() > 64 {
            return Err(Refusal::invalid("name", "must have 1 to 64 characters"));
        }
        let taken = self.volumes.values().any(|volume| volume.name == name && Some(volume.id) != own);
        if taken { Err(Refusal::taken("name", "name is already used")) } else { Ok(()) }
    }
}

impl Listed for Volume {
    const SORTS: &'static [&'static str] = &["id", "name", "created"];
    const FILTERS: &'static [&'static str] = &["name", "status"];

    fn value(&self, _cloud: &Cloud, field: &str) -> Value {
        match field {
            "name" => Value::Text(self.name.clone()),
            "status" => Value::Text("available".to_owned()),
            "created" => Value::Number(self.created_ms),
            _ => Value::Number(self.id),
        }
    }

    fn labels(&self) -> Option<&Labels> {
        Some(&self.labels)
    }

    fn render(&self, _cloud: &Cloud) -> Json {
        json!({
            "id": self.id, "name": self.name, "labels": self.labels, "created": timestamp(self.created_ms),
            "size": self.size_gb, "location": Location::named(&self.location).render(), "format": self.format,
            "server": self.server, "protection": { "delete": self.protected }, "status": "available",
            "linux_device": format!("/dev/disk/by-id/scsi-0HC_Volume_{}", self.id),
        })
    }
}
