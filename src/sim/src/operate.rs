//! Daily work in the simulated world: agents answer, say what they did, start and stop. Nothing is run and no port is
//! opened; what cannot be tried here says so.

use claw_core::name::{Kind, ResourceId};
use claw_core::operate::{
    Channel, Command, Ended, Layer, LogQuery, Operate, OperateError, Operated, Pipe, Power, Target,
};
use claw_core::provider::BoxFuture;
use claw_core::provider::access::CONTROL;
use claw_core::ssh::PublicKey;
use serde_json::Value as Json;

use crate::engine::SimEngine;

fn not_here<T: Send + 'static>(what: &'static str) -> Operated<'static, T> {
    let error = OperateError::new(format!("{what}: the sandbox runs no programs"));
    Box::pin(async move { Err(error.help("without --sandbox this works on real agents and hosts")) })
}

impl SimEngine {
    /// Returns a field of a resource here.
    fn field(&self, kind: Kind, name: &str, field: &str) -> Option<Json> {
        let id = ResourceId::new(kind, name);
        self.world.look(&self.place, |place| place.things.get(&id).and_then(|thing| thing.fields.get(field).cloned()))
    }

    /// Returns the gateway's status, or why nothing can be done with the agent.
    fn status(&self, agent: &str) -> Result<String, OperateError> {
        if let Some(why) = self.world.look(&self.place, |place| place.down.clone()) {
            return Err(OperateError::new(format!("reach {}: {why}", self.place)));
        }
        let status = self.field(Kind::Container, agent, "status").and_then(|text| text.as_str().map(str::to_owned));
        status.ok_or_else(|| {
            OperateError::new(format!("find the gateway of {agent}: it is not there"))
                .help("`claw apply --sandbox` makes it")
        })
    }

    fn running(&self, agent: &str) -> Result<(), OperateError> {
        match self.status(agent)? {
            status if status == "healthy" => Ok(()),
            status => Err(OperateError::new(format!("use {agent}: it is {status}"))
                .help(format!("`claw start {agent} --sandbox` starts it"))),
        }
    }
}

impl Operate for SimEngine {
    fn exec<'a>(&'a self, _: &'a Target, _: &'a Command, _: &'a dyn Pipe) -> Operated<'a, Ended> {
        not_here("run a command")
    }

    fn logs<'a>(&'a self, agent: &'a str, _: &'a LogQuery, pipe: &'a dyn Pipe) -> Operated<'a, ()> {
        Box::pin(async move {
            let status = self.status(agent)?;
            let image = self.field(Kind::Container, agent, "image").unwrap_or_default();
            let text = format!("[gateway] simulated {}\n[gateway] {status}\n", image.as_str().unwrap_or_default());
            pipe.write(Channel::Out, text.as_bytes())
                .await
                .map_err(|error| OperateError::new(format!("show the log: {error}")))
        })
    }

    fn connect<'a>(&'a self, _: &'a str, _: u16, _: &'a dyn Pipe) -> Operated<'a, ()> {
        not_here("open a port")
    }

    fn pull<'a>(&'a self, _: &'a Target, _: &'a str, _: &'a dyn Pipe) -> Operated<'a, ()> {
        not_here("copy files")
    }

    fn push<'a>(&'a self, _: &'a Target, _: &'a str, _: &'a dyn Pipe) -> Operated<'a, ()> {
        not_here("copy files")
    }

    fn chat<'a>(&'a self, agent: &'a str, _: &'a str, message: &'a str, pipe: &'a dyn Pipe) -> Operated<'a, ()> {
        Box::pin(async move {
            self.running(agent)?;
            let model = self.field(Kind::Config, agent, "agents");
            let model =
                model.as_ref().and_then(|agents| agents["defaults"]["model"]["primary"].as_str()).unwrap_or("no model");
            let text = format!("I am {agent}, simulated, thinking with {model}. You said: {message}\n");
            pipe.write(Channel::Out, text.as_bytes())
                .await
                .map_err(|error| OperateError::new(format!("show the answer: {error}")))
        })
    }

    fn power<'a>(&'a self, agent: &'a str, power: Power) -> Operated<'a, ()> {
        Box::pin(async move {
            self.status(agent)?;
            let id = ResourceId::new(Kind::Container, agent);
            let status = if power == Power::Stop { "stopped, exit 0" } else { "healthy" };
            let changed = self.world.change(&self.place, |place| {
                if let Some(thing) = place.things.get_mut(&id) {
                    thing.fields.insert("status".to_owned(), status.into());
                }
            });
            changed.map_err(|error| OperateError::new(error.to_string()))
        })
    }

    fn health<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Vec<Layer>> {
        Box::pin(async move {
            let layer = |name, outcome| Layer { name, outcome, took_ms: 0 };
            if let Some(why) = self.world.look(&self.place, |place| place.down.clone()) {
                return vec![layer("connection", Err(why))];
            }
            let mut layers =
                vec![layer("connection", Ok("simulated".to_owned())), layer("command", Ok("simulated".to_owned()))];
            if let Target::Agent(agent) = target {
                let gateway = match self.status(agent) {
                    Ok(status) if status == "healthy" => Ok(status),
                    Ok(status) => Err(status),
                    Err(error) => Err(error.reason),
                };
                layers.push(layer("gateway", gateway));
            }
            layers
        })
    }

    fn owner(&self, _: &Target) -> u64 {
        0
    }

    fn prove<'a>(&'a self, key: &'a PublicKey) -> Operated<'a, ()> {
        Box::pin(async move {
            let fingerprint = key.fingerprint();
            let lets_in = self.world.look(&self.place, |place| {
                let mut access = place.things.iter().filter(|(id, _)| id.kind == Kind::Access);
                access.any(|(_, thing)| !thing.fields.get(CONTROL).unwrap_or(&Json::Null)[&fingerprint].is_null())
            });
            if lets_in {
                return Ok(());
            }
            Err(OperateError::new(format!("prove {fingerprint} at {}: it does not let that key in", self.place)))
        })
    }

    fn label(&self) -> String {
        format!("{}, simulated", self.place)
    }
}
