//! The simulated world: what is where. Lies in one file, written whole; of a secret it keeps the keyed digest only.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use claw_core::name::{Address, ResourceId};
use claw_core::observed::{Actual, Owner};
use claw_core::secret::Fingerprint;
use claw_core::value::{Fields, SecretValue, Value};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

const SECRET: &str = "$fingerprint";

/// The simulated world, shared by the engines in it.
#[derive(Clone, Debug)]
pub struct World {
    file: Option<PathBuf>,
    state: Arc<Mutex<WorldState>>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct WorldState {
    places: BTreeMap<String, Place>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Why the engine does not answer; absent while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down: Option<String>,
    /// Resources whose next change fails, and how often.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failing: BTreeMap<ResourceId, u32>,
    /// The machine that all of this is on, where that is one that comes and goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    pub things: BTreeMap<ResourceId, Thing>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Thing {
    pub fields: BTreeMap<String, Json>,
    pub created: String,
    #[serde(default)]
    pub foreign: bool,
}

/// The file of the simulated world cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// It cannot be read or written.
    #[error("use the sandbox's file {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not what claw wrote.
    #[error("read the sandbox's file {path}: {text}; remove the folder to begin anew")]
    Odd {
        /// The file.
        path: PathBuf,
        /// Why.
        text: String,
    },
}

impl World {
    /// Returns an empty world that lives in memory.
    pub fn empty() -> Self {
        Self { file: None, state: Arc::default() }
    }

    /// Returns the world in a folder; an empty one if there is none yet.
    pub fn open(folder: &Path) -> Result<Self, WorldError> {
        let path = folder.join("world.json");
        let state = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| WorldError::Odd { path: path.clone(), text: error.to_string() })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => WorldState::default(),
            Err(source) => return Err(WorldError::Io { path, source }),
        };
        Ok(Self { file: Some(path), state: Arc::new(Mutex::new(state)) })
    }

    /// Changes the world, and keeps the change.
    pub(crate) fn change<T>(&self, place: &str, edit: impl FnOnce(&mut Place) -> T) -> Result<T, WorldError> {
        let mut state = self.lock();
        let result = edit(state.places.entry(place.to_owned()).or_default());
        self.save(&state)?;
        Ok(result)
    }

    /// Looks at a place.
    pub(crate) fn look<T>(&self, place: &str, read: impl Fn(&Place) -> T) -> T {
        let state = self.lock();
        state.places.get(place).map_or_else(|| read(&Place::default()), &read)
    }

    /// Returns the places that have anything.
    pub(crate) fn places(&self) -> Vec<String> {
        self.lock().places.keys().cloned().collect()
    }

    /// Takes what is on a machine away from the place that had it.
    pub(crate) fn take(&self, machine: &str) -> Result<Option<Place>, WorldError> {
        let mut state = self.lock();
        let found = state.places.iter().find(|(_, place)| place.machine.as_deref() == Some(machine));
        let Some(name) = found.map(|(name, _)| name.clone()) else { return Ok(None) };
        let taken = state.places.remove(&name);
        self.save(&state)?;
        Ok(taken)
    }

    /// Returns a world in memory that is like this one now and goes its own way.
    pub fn copy(&self) -> Self {
        Self { file: None, state: Arc::new(Mutex::new(self.lock().clone())) }
    }

    /// Returns how many resources there are in all.
    pub fn count(&self) -> usize {
        self.lock().places.values().map(|place| place.things.len()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, WorldState> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn save(&self, state: &WorldState) -> Result<(), WorldError> {
        let Some(path) = &self.file else { return Ok(()) };
        let failed = |source| WorldError::Io { path: path.clone(), source };
        let bytes = serde_json::to_vec(state).map_err(|error| failed(io::Error::other(error)))?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let draft = path.with_extension("json.new");
        fs::write(&draft, bytes).map_err(failed)?;
        fs::rename(&draft, path).map_err(failed)
    }
}

impl Thing {
    pub fn new(fields: &Fields, created: String) -> Self {
        let fields = fields.iter().map(|(key, value)| (key.clone(), encode(value))).collect();
        Self { fields, created, foreign: false }
    }

    pub fn actual(&self, address: &Address) -> Actual {
        let mut actual = Actual {
            fields: self.fields.iter().map(|(key, value)| (key.clone(), decode(value))).collect(),
            owner: if self.foreign { Owner::Foreign } else { Owner::Ours },
            created: Some(self.created.clone()),
            facts: BTreeMap::new(),
        };
        let image = actual.fields.get("image").and_then(Value::as_text);
        if let Some((_, version)) = image.and_then(|image| image.rsplit_once(':')) {
            actual.facts.insert("version".to_owned(), version.to_owned());
            let port = 40_000 + address.id.name.bytes().map(u32::from).sum::<u32>();
            actual.facts.insert("port".to_owned(), port.to_string());
        }
        actual
    }
}

fn encode(value: &Value) -> Json {
    match value {
        Value::Secret(secret) => {
            let digest = secret.fingerprint.map(|fingerprint| HEXLOWER.encode(&fingerprint.0));
            Json::Object([(SECRET.to_owned(), digest.into())].into_iter().collect())
        }
        Value::Map(map) => Json::Object(map.iter().map(|(key, value)| (key.clone(), encode(value))).collect()),
        Value::List(items) => Json::Array(items.iter().map(encode).collect()),
        plain => plain.to_json(),
    }
}

fn decode(json: &Json) -> Value {
    match json {
        Json::Object(map) if map.contains_key(SECRET) => {
            let digest = map[SECRET].as_str().and_then(|hex| HEXLOWER.decode(hex.as_bytes()).ok());
            let fingerprint = digest.and_then(|bytes| Some(Fingerprint(bytes.try_into().ok()?)));
            Value::Secret(Box::new(SecretValue { source: None, fingerprint }))
        }
        Json::Object(map) => Value::map(map.iter().map(|(key, value)| (key.clone(), decode(value)))),
        Json::Array(items) => Value::List(items.iter().map(decode).collect()),
        plain => plain.clone().into(),
    }
}
