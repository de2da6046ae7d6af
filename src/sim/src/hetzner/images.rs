//! The catalogue over HTTP: images, server types and locations. They are looked at only.

use serde_json::{Value as Json, json};

use super::Cloud;
use super::answer::Reply;
use super::body::Request;
use super::catalog::{IMAGES, Image, LOCATIONS, Location, SERVER_TYPES, ServerType};
use super::list::{Listed, Value};
use super::refusal::Refusal;
use super::selector::Labels;

/// Images carry no labels of their own, and a selector selects none of them.
static NO_LABELS: Labels = Labels::new();

impl Cloud {
    pub(super) fn images_route(&self, request: &Request, rest: &[&str]) -> Result<Reply, Refusal> {
        let find = |id: &str| {
            let image = id.parse().ok().and_then(Image::by_id);
            image.ok_or_else(|| Refusal::not_found("image", id))
        };
        match (request.method.as_str(), rest) {
            ("GET", []) => self.list(request, "images", IMAGES.iter()),
            ("GET", ["actions"] | [_, "actions"]) => self.absent_actions(request),
            ("GET", ["actions", action] | [_, "actions", action]) => self.action(action),
            ("GET", [id]) => Ok(Reply::new(200, json!({ "image": find(id)?.render() }))),
            (_, [id, ..]) => {
                find(id)?;
                Err(Refusal::new(403, "forbidden", "system images cannot be changed"))
            }
            _ => Err(Refusal::unsupported("this")),
        }
    }

    fn absent_actions(&self, request: &Request) -> Result<Reply, Refusal> {
        self.list(request, "actions", std::iter::empty::<&super::state::Action>())
    }

    pub(super) fn server_types_route(&self, request: &Request, rest: &[&str]) -> Result<Reply, Refusal> {
        let Some(id) = rest.first() else { return self.list(request, "server_types", SERVER_TYPES.iter()) };
        let found = SERVER_TYPES.iter().find(|size| id.parse() == Ok(size.id));
        let size = found.ok_or_else(|| Refusal::not_found("server type", id))?;
        Ok(Reply::new(200, json!({ "server_type": self.show_size(size) })))
    }

    pub(super) fn locations_route(&self, request: &Request, rest: &[&str]) -> Result<Reply, Refusal> {
        let Some(id) = rest.first() else { return self.list(request, "locations", LOCATIONS.iter()) };
        let found = LOCATIONS.iter().find(|place| id.parse() == Ok(place.id));
        let place = found.ok_or_else(|| Refusal::not_found("location", id))?;
        Ok(Reply::new(200, json!({ "location": place.render() })))
    }

    /// Data centres as they were: one at each location, with its id.
    pub(super) fn datacenters_route(&self, request: &Request, rest: &[&str]) -> Result<Reply, Refusal> {
        let all: Vec<Datacenter> = LOCATIONS.iter().map(Datacenter).collect();
        let Some(id) = rest.first() else { return self.list(request, "datacenters", all.iter()) };
        let found = LOCATIONS.iter().find(|place| id.parse() == Ok(place.id));
        let place = found.ok_or_else(|| Refusal::not_found("datacenter", id))?;
        Ok(Reply::new(200, json!({ "datacenter": place.render_datacenter() })))
    }

    pub(super) fn show_size(&self, size: &ServerType) -> Json {
        let available = |size: &ServerType, place: &Location| {
            size.sold_at(place) && !self.settings.is_sold_out(size.name, place.name)
        };
        size.render(&available)
    }
}

impl Listed for Image {
    const SORTS: &'static [&'static str] = &["id", "name", "created"];
    const FILTERS: &'static [&'static str] = &["name", "type", "status", "architecture"];

    fn value(&self, _cloud: &Cloud, field: &str) -> Value {
        match field {
            "name" => Value::Text(self.name.to_owned()),
            "type" => Value::Text(self.kind().to_owned()),
            "status" => Value::Text("available".to_owned()),
            "architecture" => Value::Text(self.architecture().to_owned()),
            _ => Value::Number(self.id),
        }
    }

    fn labels(&self) -> Option<&Labels> {
        Some(&NO_LABELS)
    }

    fn render(&self, _cloud: &Cloud) -> Json {
        Self::render(self)
    }
}

impl Listed for ServerType {
    const SORTS: &'static [&'static str] = &["id", "name"];
    const FILTERS: &'static [&'static str] = &["name"];

    fn value(&self, _cloud: &Cloud, field: &str) -> Value {
        if field == "name" { Value::Text(self.name.to_owned()) } else { Value::Number(self.id) }
    }

    fn labels(&self) -> Option<&Labels> {
        None
    }

    fn render(&self, cloud: &Cloud) -> Json {
        cloud.show_size(self)
    }
}

impl Listed for Location {
    const SORTS: &'static [&'static str] = &["id", "name"];
    const FILTERS: &'static [&'static str] = &["name"];

    fn value(&self, _cloud: &Cloud, field: &str) -> Value {
        if field == "name" { Value::Text(self.name.to_owned()) } else { Value::Number(self.id) }
    }

    fn labels(&self) -> Option<&Labels> {
        None
    }

    fn render(&self, _cloud: &Cloud) -> Json {
        Self::render(self)
    }
}

/// A data centre of old.
struct Datacenter(&'static Location);

impl Listed for Datacenter {
    const SORTS: &'static [&'static str] = &["id", "name"];
    const FILTERS: &'static [&'static str] = &["name"];

    fn value(&self, _cloud: &Cloud, field: &str) -> Value {
        if field == "name" { Value::Text(format!("{}-dc1", self.0.name)) } else { Value::Number(self.0.id) }
    }

    fn labels(&self) -> Option<&Labels> {
        None
    }

    fn render(&self, _cloud: &Cloud) -> Json {
        self.0.render_datacenter()
    }
}
