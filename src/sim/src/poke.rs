//! Changes something behind claw's back, so that drift can be seen.

use claw_core::name::{Kind, ResourceId};
use serde_json::Value as Json;

use crate::world::{Place, Thing, World, WorldError};

/// What to do to the simulated world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Poke {
    /// Kill an agent's gateway.
    Kill(String),
    /// Remove a resource.
    Remove(ResourceId),
    /// Set a field of a resource: its path and its new value.
    Set(ResourceId, String, Json),
    /// Put something without our mark in a resource's place.
    Foreign(ResourceId),
    /// Have the next changes of a resource fail, this often.
    Fail(ResourceId, u32),
    /// Have the engine of a place not answer.
    Down(String),
    /// Have it answer again.
    Up(String),
}

/// The poke hit nothing.
#[derive(Debug, thiserror::Error)]
pub enum PokeError {
    /// There is no such thing in the sandbox.
    #[error("find {0} in the sandbox")]
    Nothing(String),
    /// The sandbox's file cannot be used.
    #[error(transparent)]
    World(#[from] WorldError),
}

impl Poke {
    /// Does it. Returns what happened, in words.
    pub fn apply(&self, world: &World) -> Result<String, PokeError> {
        match self {
            Self::Down(place) => {
                world.change(place, |place| place.down = Some("connection refused".to_owned()))?;
                Ok(format!("the engine {place} does not answer any more"))
            }
            Self::Up(place) => {
                world.change(place, |place| place.down = None)?;
                Ok(format!("the engine {place} answers again"))
            }
            Self::Kill(agent) => {
                let id = ResourceId::new(Kind::Container, agent.clone());
                on_thing(world, &id, |place| set(place, &id, "status", &Json::from("stopped, exit 137")))?;
                Ok(format!("killed the gateway of {agent}"))
            }
            Self::Remove(id) => {
                on_thing(world, id, |place| place.things.remove(id).is_some())?;
                Ok(format!("removed {id}"))
            }
            Self::Set(id, path, value) => {
                on_thing(world, id, |place| set(place, id, path, value))?;
                Ok(format!("set {path} of {id}"))
            }
            Self::Foreign(id) => {
                let place =
                    world.places().into_iter().next().ok_or_else(|| PokeError::Nothing("an engine".to_owned()))?;
                let thing = Thing { fields: Default::default(), created: String::new(), foreign: true };
                world.change(&place, |place| place.things.insert(id.clone(), thing))?;
                Ok(format!("put something foreign in the place of {id}"))
            }
            Self::Fail(id, times) => {
                on_thing(world, id, |place| {
                    place.failing.insert(id.clone(), *times);
                    true
                })?;
                Ok(format!("the next {times} changes of {id} fail"))
            }
        }
    }
}

fn on_thing(world: &World, id: &ResourceId, edit: impl Fn(&mut Place) -> bool) -> Result<(), PokeError> {
    for name in world.places() {
        if world.look(&name, |place| place.things.contains_key(id)) && world.change(&name, &edit)? {
            return Ok(());
        }
    }
    Err(PokeError::Nothing(id.to_string()))
}

fn set(place: &mut Place, id: &ResourceId, path: &str, value: &Json) -> bool {
    let Some(thing) = place.things.get_mut(id) else { return false };
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let mut slot = thing.fields.entry(first.to_owned()).or_insert(Json::Null);
    for step in rest.split('.').filter(|step| !step.is_empty()) {
        if !slot.is_object() {
            *slot = Json::Object(serde_json::Map::new());
        }
        slot = &mut slot[step];
    }
    *slot = value.clone();
    true
}
