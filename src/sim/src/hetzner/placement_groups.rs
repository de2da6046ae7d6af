//! Placement groups: servers of one are on different hosts.

use serde_json::{Value as Json, json};

use super::answer::Reply;
use super::body::{Request, need};
use super::list::{Listed, Value};
use super::refusal::Refusal;
use super::selector::Labels;
use super::servers::by_path;
use super::state::PlacementGroup;
use super::{Cloud, timestamp};

impl Cloud {
    pub(super) fn placement_groups_route(&mut self, request: &Request, rest: &[&str]) -> Result<Reply, Refusal> {
        let find =
            |cloud: &Self, id: &str| by_path(&cloud.placement_groups, "placement group", id).map(|group| group.id);
        match (request.method.as_str(), rest) {
            ("GET", []) => self.list(request, "placement_groups", self.placement_groups.values()),
            ("POST", []) => self.create_group(request),
            ("GET", [id]) => Ok(self.show_group(200, find(self, id)?)),
            ("PUT", [id]) => {
                let (id, fields) = (find(self, id)?, request.fields()?);
                let (name, labels) = (fields.text("name")?.map(str::to_owned), fields.labels()?);
                if let Some(name) = &name {
                    self.check_group_name(name, Some(id))?;
                }
                if let Some(group) = self.placement_groups.get_mut(&id) {
                    group.name = name.unwrap_or_else(|| group.name.clone());
                    group.labels = labels.unwrap_or_else(|| group.labels.clone());
                }
                Ok(self.show_group(200, id))
            }
            ("DELETE", [id]) => {
                let id = find(self, id)?;
                for server in self.servers.values_mut().filter(|server| server.group == Some(id)) {
                    server.group = None;
                }
                self.placement_groups.remove(&id);
                Ok(Reply::nothing())
            }
            _ => Err(Refusal::unsupported("this")),
        }
    }

    fn show_group(&self, status: u16, id: u64) -> Reply {
        let shown = self.placement_groups.get(&id).map(|group| group.render(self));
        Reply::new(status, json!({ "placement_group": shown }))
    }

    fn create_group(&mut self, request: &Request) -> Result<Reply, Refusal> {
        let fields = request.fields()?;
        let name = need(fields.text("name")?, "name")?.to_owned();
        self.check_group_name(&name, None)?;
        if need(fields.text("type")?, "type")? != "spread" {
            return Err(Refusal::invalid("type", "must be spread"));
        }
        let labels = fields.labels()?.unwrap_or_default();
        let id = self.next_id();
        self.placement_groups.insert(id, PlacementGroup { id, name, labels, created_ms: self.now_ms });
        let mut reply = self.show_group(201, id);
        reply.json["action"] = Json::Null;
        Ok(reply)
    }

    fn check_group_name(&self, name: &str, own: Option<u64>) -> Result<(), Refusal> {
        if name.is_empty() {
            return Err(Refusal::invalid("name", "must not be empty"));
        }
        let taken = self.placement_groups.values().any(|group| group.name == name && Some(group.id) != own);
        if taken { Err(Refusal::taken("name", "name is already used")) } else { Ok(()) }
    }
}

impl Listed for PlacementGroup {
    const SORTS: &'static [&'static str] = &["id", "name", "created"];
    const FILTERS: &'static [&'static str] = &["name", "type"];

    fn value(&self, _cloud: &Cloud, field: &str) -> Value {
        match field {
            "name" => Value::Text(self.name.clone()),
            "type" => Value::Text("spread".to_owned()),
            "created" => Value::Number(self.created_ms),
            _ => Value::Number(self.id),
        }
    }

    fn labels(&self) -> Option<&Labels> {
        Some(&self.labels)
    }

    fn render(&self, cloud: &Cloud) -> Json {
        let servers = cloud.servers.values().filter(|server| server.group == Some(self.id)).map(|server| server.id);
        json!({
            "id": self.id, "name": self.name, "labels": self.labels, "type": "spread",
            "created": timestamp(self.created_ms), "servers": servers.collect::<Vec<_>>(),
        })
    }
}
