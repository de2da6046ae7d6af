//! Firewalls, and what they are applied to: servers by id, or all with certain labels.

use serde_json::{Value as Json, json};

use super::actions::Work;
use super::answer::Reply;
use super::body::{Fields, Request, need};
use super::list::{Listed, Value};
use super::refusal::Refusal;
use super::selector::{Labels, Selector};
use super::servers::by_path;
use super::state::{Event, Firewall, Kind, Server};
use super::{Cloud, firewall_rules, timestamp};

/// What a firewall is applied to or removed from.
enum Target {
    Server(u64),
    Selector(String),
}

impl Cloud {
    pub(super) fn firewalls_route(&mut self, request: &Request, rest: &[&str]) -> Result<Reply, Refusal> {
        let find = |cloud: &Self, id: &str| by_path(&cloud.firewalls, "firewall", id).map(|firewall| firewall.id);
        match (request.method.as_str(), rest) {
            ("GET", []) => self.list(request, "firewalls", self.firewalls.values()),
            ("POST", []) => self.create_firewall(request),
            ("GET", ["actions"]) => self.actions_of(request, Kind::Firewall, None),
            ("GET", ["actions", action] | [_, "actions", action]) => self.action(action),
            ("GET", [id, "actions"]) => self.actions_of(request, Kind::Firewall, Some(find(self, id)?)),
            ("GET", [id]) => Ok(self.show_firewall(find(self, id)?)),
            ("PUT", [id]) => self.update_firewall(find(self, id)?, request),
            ("DELETE", [id]) => self.delete_firewall(find(self, id)?),
            ("POST", [id, "actions", "set_rules"]) => self.set_rules(find(self, id)?, request),
            ("POST", [id, "actions", "apply_to_resources"]) => self.apply_firewall(find(self, id)?, request),
            ("POST", [id, "actions", "remove_from_resources"]) => self.remove_firewall(find(self, id)?, request),
            _ => Err(Refusal::unsupported("this")),
        }
    }

    fn show_firewall(&self, id: u64) -> Reply {
        Reply::new(200, json!({ "firewall": self.firewalls.get(&id).map(|firewall| firewall.render(self)) }))
    }

    fn create_firewall(&mut self, request: &Request) -> Result<Reply, Refusal> {
        let fields = request.fields()?;
        let name = need(fields.text("name")?, "name")?.to_owned();
        self.check_firewall_name(&name, None)?;
        let labels = fields.labels()?.unwrap_or_default();
        let rules = firewall_rules::parse(fields.list("rules")?.unwrap_or_default())?;
        let missing = || Refusal::unprocessable("firewall_resource_not_found", "firewall resource not found");
        let targets = self.targets(&fields, "apply_to", &missing)?;
        let mut servers: Vec<u64> = targets.iter().filter_map(Target::server).collect();
        servers.sort_unstable();
        if servers.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Refusal::unprocessable("server_already_added", "server was added more than once"));
        }
        let id = self.next_id();
        let created_ms = self.now_ms;
        let firewall = Firewall { id, name, labels, created_ms, rules, servers: Vec::new(), selectors: Vec::new() };
        self.firewalls.insert(id, firewall);
        let mut actions = vec![self.begin(Work::new("set_firewall_rules", Kind::Firewall, id))];
        actions.extend(targets.into_iter().map(|target| self.apply(id, target)));
        let actions: Vec<Json> = actions.into_iter().map(|action| self.show_action(action)).collect();
        let shown = self.firewalls.get(&id).map(|firewall| firewall.render(self));
        Ok(Reply::new(201, json!({ "firewall": shown, "actions": actions })))
    }

    fn update_firewall(&mut self, id: u64, request: &Request) -> Result<Reply, Refusal> {
        let fields = request.fields()?;
        let labels = fields.labels()?;
        let name = fields.text("name")?.map(str::to_owned);
        if let Some(name) = &name {
            self.check_firewall_name(name, Some(id))?;
        }
        if let Some(firewall) = self.firewalls.get_mut(&id) {
            firewall.name = name.unwrap_or_else(|| firewall.name.clone());
            firewall.labels = labels.unwrap_or_else(|| firewall.labels.clone());
        }
        Ok(self.show_firewall(id))
    }

    fn delete_firewall(&mut self, id: u64) -> Result<Reply, Refusal> {
        let in_use = |firewall: &Firewall| !firewall.servers.is_empty() || !firewall.selectors.is_empty();
        if self.firewalls.get(&id).is_some_and(in_use) {
            let message = format!("firewall with ID {id} is still in use");
            return Err(Refusal::unprocessable("resource_in_use", message));
        }
        self.firewalls.remove(&id);
        Ok(Reply::nothing())
    }

    fn set_rules(&mut self, id: u64, request: &Request) -> Result<Reply, Refusal> {
        let fields = request.fields()?;
        let rules = firewall_rules::parse(need(fields.list("rules")?, "rules")?)?;
        let servers = self.firewalls.get(&id).map(|firewall| self.guarded(firewall)).unwrap_or_default();
        if let Some(firewall) = self.firewalls.get_mut(&id) {
            firewall.rules = rules;
        }
        let mut actions = vec![self.begin(Work::new("set_firewall_rules", Kind::Firewall, id))];
        for server in servers {
            actions.push(self.begin(Work::new("apply_firewall", Kind::Firewall, id).with(Kind::Server, server)));
        }
        Ok(self.several_started(&actions))
    }

    fn apply_firewall(&mut self, id: u64, request: &Request) -> Result<Reply, Refusal> {
        let fields = request.fields()?;
        let missing = || Refusal::new(404, "firewall_resource_not_found", "firewall resource not found");
        let targets = self.targets(&fields, "apply_to", &missing)?;
        let firewall = self.firewalls.get(&id).ok_or_else(|| Refusal::not_found("firewall", id))?;
        for target in &targets {
            let applied = match target {
                Target::Server(server) => firewall.servers.contains(server),
                Target::Selector(selector) => firewall.selectors.contains(selector),
            };
            if applied {
                let message = "firewall is already applied to resource";
                return Err(Refusal::unprocessable("firewall_already_applied", message));
            }
            let public = |server: &Server| server.ipv4.is_some() || server.ipv6.is_some();
            if target.server().and_then(|server| self.servers.get(&server)).is_some_and(|server| !public(server)) {
                let message = "server has no public interface";
                return Err(Refusal::unprocessable("private_net_only_server", message));
            }
        }
        let actions: Vec<u64> = targets.into_iter().map(|target| self.apply(id, target)).collect();
        Ok(self.several_started(&actions))
    }

    /// Removing what it is not applied to does nothing, and is done all the same.
    fn remove_firewall(&mut self, id: u64, request: &Request) -> Result<Reply, Refusal> {
        let fields = request.fields()?;
        let missing = || Refusal::new(404, "firewall_resource_not_found", "firewall resource not found");
        let targets = self.targets(&fields, "remove_from", &missing)?;
        let firewall = self.firewalls.get(&id).ok_or_else(|| Refusal::not_found("firewall", id))?;
        let selected = self.selected(firewall);
        let by_label = |server: u64| selected.contains(&server) && !firewall.servers.contains(&server);
        if targets.iter().filter_map(Target::server).any(by_label) {
            let message = "firewall is applied via a label selector";
            return Err(Refusal::unprocessable("firewall_managed_by_label_selector", message));
        }
        let mut actions = Vec::new();
        for target in targets {
            let mut work = Work::new("remove_firewall", Kind::Firewall, id);
            if let Some(firewall) = self.firewalls.get_mut(&id) {
                match target {
                    Target::Server(server) => {
                        firewall.servers.retain(|other| *other != server);
                        work = work.with(Kind::Server, server);
                    }
                    Target::Selector(selector) => firewall.selectors.retain(|other| *other != selector),
                }
            }
            actions.push(self.begin(work));
        }
        Ok(self.several_started(&actions))
    }

    fn apply(&mut self, id: u64, target: Target) -> u64 {
        let mut work = Work::new("apply_firewall", Kind::Firewall, id);
        if let Some(firewall) = self.firewalls.get_mut(&id) {
            match target {
                Target::Server(server) => {
                    firewall.servers.push(server);
                    work = work.with(Kind::Server, server);
                }
                Target::Selector(selector) => firewall.selectors.push(selector),
            }
        }
        self.begin(work)
    }

    fn several_started(&self, actions: &[u64]) -> Reply {
        let actions: Vec<Json> = actions.iter().map(|action| self.show_action(*action)).collect();
        Reply::new(201, json!({ "actions": actions }))
    }

    fn targets(&self, fields: &Fields, name: &str, missing: &dyn Fn() -> Refusal) -> Result<Vec<Target>, Refusal> {
        let within = |fields: &Fields, field: &str| Fields::within(need(fields.get(field), field)?, field);
        let one = |entry: &Json| {
            let entry = Fields::within(entry, name)?;
            match need(entry.text("type")?, "type")? {
                "server" => {
                    let wanted = need(within(&entry, "server")?.reference("id")?, "server.id")?;
                    let found = wanted.id().filter(|id| self.servers.contains_key(id));
                    found.map(Target::Server).ok_or_else(missing)
                }
                "label_selector" => {
                    let selector = within(&entry, "label_selector")?;
                    let selector = need(selector.text("selector")?, "label_selector.selector")?;
                    Selector::parse(selector)?;
                    Ok(Target::Selector(selector.to_owned()))
                }
                _ => Err(Refusal::invalid("type", "must be server or label_selector")),
            }
        };
        fields.list(name)?.unwrap_or_default().iter().map(one).collect()
    }

    fn check_firewall_name(&self, name: &str, own: Option<u64>) -> Result<(), Refusal> {
        if name.is_empty() || name.chars().count() > 128 {
            return Err(Refusal::invalid("name", "must have 1 to 128 characters"));
        }
        let taken = self.firewalls.values().any(|firewall| firewall.name == name && Some(firewall.id) != own);
        if taken { Err(Refusal::taken("name", "name is already used")) } else { Ok(()) }
    }

    /// Returns the servers a firewall's label selectors select.
    fn selected(&self, firewall: &Firewall) -> Vec<u64> {
        let selectors: Vec<Selector> =
            firewall.selectors.iter().filter_map(|text| Selector::parse(text).ok()).collect();
        let matching = |server: &&Server| selectors.iter().any(|selector| selector.selects(&server.labels));
        self.servers.values().filter(matching).map(|server| server.id).collect()
    }

    /// Returns all servers that a firewall guards.
    fn guarded(&self, firewall: &Firewall) -> Vec<u64> {
        let mut all = self.selected(firewall);
        all.extend(&firewall.servers);
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Returns the firewalls of a server as it shows them.
    pub(super) fn firewalls_of(&self, server: &Server) -> Vec<Json> {
        let selects = |text: &String| Selector::parse(text).is_ok_and(|selector| selector.selects(&server.labels));
        let guards =
            |firewall: &&Firewall| firewall.servers.contains(&server.id) || firewall.selectors.iter().any(selects);
        let status = |firewall: u64| if self.is_pending(firewall, server.id) { "pending" } else { "applied" };
        let shown = self.firewalls.values().filter(guards);
        shown.map(|firewall| json!({ "id": firewall.id, "status": status(firewall.id) })).collect()
    }

    fn is_pending(&self, firewall: u64, server: u64) -> bool {
        self.timers.iter().any(|timer| match timer.event {
            Event::Finish(id) => self.actions.get(&id).is_some_and(|action| {
                action.command == "apply_firewall"
                    && action.resources.contains(&(Kind::Firewall, firewall))
                    && action.resources.contains(&(Kind::Server, server))
            }),
            Event::Effect(_) => false,
        })
    }
}

impl Target {
    fn server(&self) -> Option<u64> {
        match self {
            Self::Server(server) => Some(*server),
            Self::Selector(_) => None,
        }
    }
}

impl Listed for Firewall {
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
        let server = |id: &u64| json!({ "type": "server", "server": { "id": id } });
        let selector = |text: &String| {
            let one = Self { selectors: vec![text.clone()], ..self.clone() };
            let resources: Vec<Json> = cloud.selected(&one).iter().map(server).collect();
            json!({ "type": "label_selector", "label_selector": { "selector": text }, "applied_to_resources": resources })
        };
        let applied: Vec<Json> = self.servers.iter().map(server).chain(self.selectors.iter().map(selector)).collect();
        json!({
            "id": self.id, "name": self.name, "labels": self.labels, "created": timestamp(self.created_ms),
            "rules": self.rules.iter().map(super::state::Rule::render).collect::<Vec<_>>(), "applied_to": applied,
        })
    }
}
