//! Actions: what takes time, how it ends, and how clients look at it.

use serde_json::{Value as Json, json};

use super::answer::Reply;
use super::body::Request;
use super::list::{Listed, Value};
use super::refusal::Refusal;
use super::selector::Labels;
use super::state::{Action, Effect, Event, Kind, Status, Timer};
use super::{Cloud, timestamp};

/// Finished actions that are remembered; clients ask about recent ones only.
const ACTIONS_MAX: usize = 20_000;

/// Something that is about to begin.
#[derive(Default)]
pub(super) struct Work {
    pub command: &'static str,
    pub resources: Vec<(Kind, u64)>,
    /// Begins when this other action ends.
    pub after: Option<u64>,
    pub effects: Vec<Effect>,
    pub undo: Vec<Effect>,
    /// Whether its servers take no other action while it runs.
    pub locks: bool,
}

impl Work {
    pub fn new(command: &'static str, kind: Kind, id: u64) -> Self {
        Self { command, resources: vec![(kind, id)], ..Self::default() }
    }

    pub fn on_server(command: &'static str, server: u64) -> Self {
        Self { locks: true, ..Self::new(command, Kind::Server, server) }
    }

    pub fn with(mut self, kind: Kind, id: u64) -> Self {
        self.resources.push((kind, id));
        self
    }

    pub fn ends(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }

    pub fn undone(mut self, effect: Effect) -> Self {
        self.undo.push(effect);
        self
    }

    pub fn after(mut self, action: u64) -> Self {
        self.after = Some(action);
        self
    }
}

impl Cloud {
    /// Begins something and returns the action's id.
    pub(super) fn begin(&mut self, work: Work) -> u64 {
        let id = self.next_id();
        let begins_ms =
            work.after.and_then(|other| self.actions.get(&other)).map_or(self.now_ms, |other| other.ends_ms);
        let ends_ms = begins_ms + self.settings.duration_ms(work.command);
        let fails = self.takes_failure(work.command);
        if work.locks {
            for (_, server) in work.resources.iter().filter(|(kind, _)| *kind == Kind::Server) {
                if let Some(server) = self.servers.get_mut(server) {
                    server.locks.push(id);
                }
            }
        }
        let action = Action {
            id,
            command: work.command.to_owned(),
            started_ms: self.now_ms,
            ends_ms,
            finished_ms: None,
            fails,
            resources: work.resources,
            effects: work.effects,
            undo: work.undo,
        };
        self.actions.insert(id, action);
        self.at(ends_ms, Event::Finish(id));
        id
    }

    fn takes_failure(&mut self, command: &str) -> bool {
        match self.settings.failing.get_mut(command) {
            Some(times) if *times > 0 => {
                *times -= 1;
                true
            }
            _ => false,
        }
    }

    /// Has something happen at a moment, after whatever else is due then.
    pub(super) fn at(&mut self, due_ms: u64, event: Event) {
        let place = self.timers.partition_point(|timer| timer.due_ms <= due_ms);
        self.timers.insert(place, Timer { due_ms, event });
    }

    pub(super) fn finish_due(&mut self) {
        while self.timers.first().is_some_and(|timer| timer.due_ms <= self.now_ms) {
            let timer = self.timers.remove(0);
            match timer.event {
                Event::Finish(action) => self.finish(action),
                Event::Effect(effect) => self.bring_about(&effect),
            }
        }
        while self.actions.len() > ACTIONS_MAX {
            let Some(oldest) = self.actions.values().find(|action| action.finished_ms.is_some()) else { break };
            let oldest = oldest.id;
            self.actions.remove(&oldest);
        }
    }

    fn finish(&mut self, id: u64) {
        let Some(action) = self.actions.get_mut(&id) else { return };
        action.finished_ms = Some(action.ends_ms);
        let effects = if action.fails { action.undo.clone() } else { action.effects.clone() };
        for (_, server) in action.resources.clone() {
            if let Some(server) = self.servers.get_mut(&server) {
                server.locks.retain(|lock| *lock != id);
            }
        }
        for effect in effects {
            self.bring_about(&effect);
        }
    }

    fn bring_about(&mut self, effect: &Effect) {
        match effect {
            Effect::Status(id, to) => self.on_server(*id, |server| server.status = *to),
            Effect::StatusFrom(id, from, to) => self.on_server(*id, |server| {
                if server.status == *from {
                    server.status = *to;
                }
            }),
            Effect::Gone(id) => self.remove_server(*id),
            Effect::Resized { server, to, disk } => {
                let size = super::catalog::ServerType::by_id(*to);
                self.on_server(*server, |server| {
                    server.server_type = *to;
                    server.status = Status::Running;
                    if *disk {
                        server.disk_gb = size.disk_gb;
                    }
                });
            }
            Effect::Rebuilt { server, image } => self.on_server(*server, |server| {
                server.image = *image;
                server.rebuilt += 1;
                server.status = Status::Running;
            }),
            Effect::Rescue(id, on) => self.on_server(*id, |server| server.rescue_enabled = *on),
            Effect::Assigned { ip, server } => self.assign(*ip, *server),
            Effect::Unassigned(ip) => self.unassign(*ip),
        }
    }

    fn on_server(&mut self, id: u64, edit: impl FnOnce(&mut super::state::Server)) {
        if let Some(server) = self.servers.get_mut(&id) {
            edit(server);
        }
    }

    /// Returns an action as clients see it.
    pub(super) fn show_action(&self, id: u64) -> Json {
        self.actions.get(&id).map_or(Json::Null, |action| action.render(self))
    }

    /// Returns the reply that many commands end in.
    pub(super) fn started(&self, id: u64) -> Reply {
        Reply::new(201, json!({ "action": self.show_action(id) }))
    }

    /// `GET /actions`: only those that are asked for by id.
    pub(super) fn actions_by_id(&self, request: &Request) -> Result<Reply, Refusal> {
        let wanted = request.all("id");
        if wanted.is_empty() {
            return Err(Refusal::new(410, "deprecated_api_endpoint", "listing all actions is not possible any more"));
        }
        let wanted: Vec<u64> = wanted.iter().filter_map(|id| id.parse().ok()).collect();
        self.list(request, "actions", wanted.iter().filter_map(|id| self.actions.get(id)))
    }

    /// `GET /…/actions` of a kind, or of one resource.
    pub(super) fn actions_of(&self, request: &Request, kind: Kind, id: Option<u64>) -> Result<Reply, Refusal> {
        let of = |action: &&Action| action.resources.iter().any(|(k, i)| *k == kind && id.is_none_or(|id| id == *i));
        let wanted: Vec<&str> = request.all("id");
        let named = |action: &&Action| wanted.is_empty() || wanted.iter().any(|id| id.parse() == Ok(action.id));
        self.list(request, "actions", self.actions.values().filter(of).filter(named))
    }

    /// `GET /actions/{id}`, wherever it is asked.
    pub(super) fn action(&self, id: &str) -> Result<Reply, Refusal> {
        let found = id.parse().ok().and_then(|id| self.actions.get(&id));
        let action = found.ok_or_else(|| Refusal::not_found("action", id))?;
        Ok(Reply::new(200, json!({ "action": action.render(self) })))
    }
}

impl Action {
    fn status(&self) -> &'static str {
        match (self.finished_ms, self.fails) {
            (None, _) => "running",
            (Some(_), true) => "error",
            (Some(_), false) => "success",
        }
    }

    fn progress(&self, now_ms: u64) -> u64 {
        let whole = self.ends_ms.saturating_sub(self.started_ms).max(1);
        match self.finished_ms {
            Some(_) => 100,
            None => (now_ms.saturating_sub(self.started_ms) * 100 / whole).min(99),
        }
    }
}

impl Listed for Action {
    const SORTS: &'static [&'static str] = &["id", "command", "status", "started", "finished"];
    const FILTERS: &'static [&'static str] = &["status"];

    fn value(&self, _cloud: &Cloud, field: &str) -> Value {
        match field {
            "command" => Value::Text(self.command.clone()),
            "status" => Value::Text(self.status().to_owned()),
            "started" => Value::Number(self.started_ms),
            "finished" => Value::Number(self.finished_ms.unwrap_or(u64::MAX)),
            _ => Value::Number(self.id),
        }
    }

    fn labels(&self) -> Option<&Labels> {
        None
    }

    fn render(&self, cloud: &Cloud) -> Json {
        let failed = self.finished_ms.is_some() && self.fails;
        let error = failed.then(|| json!({ "code": "action_failed", "message": "Action failed" }));
        let resources = self.resources.iter().map(|(kind, id)| json!({ "id": id, "type": kind.word() }));
        json!({
            "id": self.id, "command": self.command, "status": self.status(), "progress": self.progress(cloud.now_ms),
            "started": timestamp(self.started_ms), "finished": self.finished_ms.map(timestamp),
            "resources": resources.collect::<Vec<_>>(), "error": error,
        })
    }
}
