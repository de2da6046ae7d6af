//! Looks at an engine: three lists, then each agent's containers and files side by side. What could not be seen is
//! unknown, never absent.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{ListContainersOptionsBuilder, ListNetworksOptions, ListVolumesOptions};
use claw_core::desired::Desired;
use claw_core::name::{Address, Kind, ResourceId};
use claw_core::observed::{Actual, Observation, Owner, Report, State};
use claw_core::provider::ApplyError;
use claw_core::secret::Secrets;
use claw_core::value::{Fields, SecretValue, Value};
use claw_openclaw::health::Health;
use claw_openclaw::{config, layout};
use futures_util::StreamExt;
use secrecy::SecretString;

use crate::agent::Agent;
use crate::convert::{gateway_fields, published_port};
use crate::error::explain;
use crate::files::{Contents, download};
use crate::manifest;
use crate::names::{AGENT_LABEL, FLEET_LABEL, Names, ROLE_LABEL, Role};
use crate::provider::DockerProvider;
use crate::rules::digest;
use crate::watch;

/// How many agents are looked at side by side: more only makes the engine queue.
const AGENTS_AT_ONCE: usize = 8;
/// The oldest API claw speaks: Docker 20.10.
const API_MIN: (u32, u32) = (1, 41);
/// The field that says a file is in place and the gateway was not told.
pub const PENDING: &str = "pending";

/// Everything on an engine by name, with its labels.
#[derive(Default)]
struct Inventory {
    containers: BTreeMap<String, HashMap<String, String>>,
    volumes: BTreeMap<String, HashMap<String, String>>,
    /// Several may have one name.
    networks: BTreeMap<String, Vec<HashMap<String, String>>>,
}

/// Returns what the engine has.
pub async fn observe(provider: &DockerProvider, desired: &Desired, secrets: &dyn Secrets) -> Report {
    let mut report = Report { place: provider.place().to_owned(), ..Report::default() };
    let docker = match provider.docker() {
        Ok(docker) => docker,
        Err(error) => {
            report.incomplete = Some(seen_as(provider, &error));
            return report;
        }
    };
    let inventory = match take_inventory(&docker).await {
        Ok(inventory) => inventory,
        Err(why) => {
            report.incomplete = Some(match why {
                Refusal::Engine(error) => seen_as(provider, &error),
                Refusal::TooOld(why) => why,
            });
            return report;
        }
    };
    let fleet = provider.fleet();
    let wanted: BTreeSet<&str> = desired
        .resources
        .keys()
        .filter(|address| address.place == provider.place())
        .map(|address| address.id.name.as_str())
        .collect();
    let agents: BTreeSet<String> =
        inventory.agents(fleet).into_iter().chain(wanted.iter().map(|id| (*id).to_owned())).collect();
    let looks = agents.into_iter().map(|id| {
        let agent = Agent { docker: &docker, endpoint: provider.endpoint(), fleet, names: Names::new(fleet, &id) };
        let look = Look { agent, inventory: &inventory, place: provider.place(), secrets };
        async move { look.all().await }
    });
    let seen: Vec<Vec<Observation>> =
        futures_util::stream::iter(looks).buffer_unordered(AGENTS_AT_ONCE).collect().await;
    report.observations = seen.into_iter().flatten().collect();
    report
}

fn seen_as(provider: &DockerProvider, error: &bollard::errors::Error) -> String {
    let (_, text, help) = explain(error);
    let help = help.map(|help| format!("; {help}")).unwrap_or_default();
    format!("the engine at {} does not answer: {text}{help}", provider.endpoint().label())
}

enum Refusal {
    Engine(bollard::errors::Error),
    TooOld(String),
}

impl From<bollard::errors::Error> for Refusal {
    fn from(error: bollard::errors::Error) -> Self {
        Self::Engine(error)
    }
}

async fn take_inventory(docker: &bollard::Docker) -> Result<Inventory, Refusal> {
    let version = docker.version().await?;
    let api = version.api_version.unwrap_or_default();
    let parts: Vec<u32> = api.split('.').filter_map(|part| part.parse().ok()).collect();
    if let [major, minor] = parts[..]
        && (major, minor) < API_MIN
    {
        let engine = version.version.unwrap_or_default();
        return Err(Refusal::TooOld(format!(
            "the engine is too old: Docker {engine} (API {api}); claw needs 20.10 (API {}.{}) or newer",
            API_MIN.0, API_MIN.1
        )));
    }
    let mut inventory = Inventory::default();
    let all = ListContainersOptionsBuilder::default().all(true).build();
    for container in docker.list_containers(Some(all)).await? {
        let labels = container.labels.unwrap_or_default();
        for name in container.names.unwrap_or_default() {
            inventory.containers.insert(name.trim_start_matches('/').to_owned(), labels.clone());
        }
    }
    for volume in docker.list_volumes(None::<ListVolumesOptions>).await?.volumes.unwrap_or_default() {
        inventory.volumes.insert(volume.name, volume.labels);
    }
    for network in docker.list_networks(None::<ListNetworksOptions>).await? {
        let same = inventory.networks.entry(network.name.unwrap_or_default()).or_default();
        same.push(network.labels.unwrap_or_default());
    }
    Ok(inventory)
}

impl Inventory {
    /// Returns the agents of which something carries the fleet's mark.
    fn agents(&self, fleet: &str) -> BTreeSet<String> {
        let all = self.containers.values().chain(self.networks.values().flatten()).chain(self.volumes.values());
        all.filter(|labels| labels.get(FLEET_LABEL).is_some_and(|mark| mark == fleet))
            .filter_map(|labels| labels.get(AGENT_LABEL).cloned())
            .collect()
    }
}

/// Looks at one agent.
struct Look<'a> {
    agent: Agent<'a>,
    inventory: &'a Inventory,
    place: &'a str,
    secrets: &'a dyn Secrets,
}

impl Look<'_> {
    async fn all(&self) -> Vec<Observation> {
        let mut seen = Vec::new();
        self.note(&mut seen, Kind::Network, self.network());
        self.note(&mut seen, Kind::Volume, self.volumes());
        let mut token = None;
        match self.files(&mut token).await {
            Ok(files) => files.into_iter().for_each(|(kind, state)| self.note(&mut seen, kind, Some(state))),
            Err(error) => {
                for kind in [Kind::Anchor, Kind::Secrets, Kind::Config, Kind::Workspace] {
                    self.note(&mut seen, kind, Some(State::Unknown { why: error.reason.clone() }));
                }
            }
        }
        let container = self.container(token.as_ref()).await;
        self.note(
            &mut seen,
            Kind::Container,
            container.unwrap_or_else(|error| Some(State::Unknown { why: error.reason })),
        );
        seen
    }

    fn note(&self, seen: &mut Vec<Observation>, kind: Kind, state: Option<State>) {
        let id = ResourceId::new(kind, self.agent.names.agent());
        seen.extend(state.map(|state| Observation { address: Address { id, place: self.place.to_owned() }, state }));
    }

    fn owner(&self, labels: &HashMap<String, String>) -> Owner {
        let ours = labels.get(FLEET_LABEL).is_some_and(|mark| mark == self.agent.fleet);
        if ours { Owner::Ours } else { Owner::Foreign }
    }

    fn network(&self) -> Option<State> {
        let all = self.inventory.networks.get(&self.agent.names.of(Role::Network))?;
        let mut fields = Fields::from([("driver".to_owned(), "bridge".into())]);
        if all.len() > 1 {
            fields.insert("copies".to_owned(), (all.len() as u64).into());
        }
        let foreign = all.iter().any(|labels| self.owner(labels) == Owner::Foreign);
        let owner = if foreign { Owner::Foreign } else { Owner::Ours };
        Some(State::Present(Actual { fields, owner, ..Actual::default() }))
    }

    fn volumes(&self) -> Option<State> {
        let mut actual = Actual::default();
        for role in Role::VOLUMES {
            if let Some(labels) = self.inventory.volumes.get(&self.agent.names.of(role)) {
                actual.fields.insert(role.word().to_owned(), "present".into());
                if self.owner(labels) == Owner::Foreign {
                    actual.owner = Owner::Foreign;
                }
            }
        }
        (!actual.fields.is_empty()).then_some(State::Present(actual))
    }

    /// The anchor, and what is read through it; the gateway's token among that.
    async fn files(&self, token: &mut Option<SecretString>) -> Result<Vec<(Kind, State)>, ApplyError> {
        let Some(labels) = self.inventory.containers.get(&self.agent.names.of(Role::Anchor)) else {
            return Ok(Vec::new());
        };
        if self.owner(labels) == Owner::Foreign {
            let foreign = Actual { owner: Owner::Foreign, ..Actual::default() };
            return Ok(vec![(Kind::Anchor, State::Present(foreign))]);
        }
        let name = self.agent.names.of(Role::Anchor);
        let (contents, secrets, found) = tokio::join!(
            download(&self.agent, layout::CONFIG),
            download(&self.agent, layout::SECRETS),
            self.agent.inspect(&name)
        );
        let found = found?;
        let (contents, secrets) = (contents?.unwrap_or_default(), secrets?.unwrap_or_default());
        *token = secrets.get("secrets.json").map(|file| watch::token_in(file));
        let prepared = manifest::find(&contents, "anchor").is_some();
        let anchor = Actual {
            fields: Fields::from([("prepared".to_owned(), prepared.into())]),
            // the engine gives a volume the time of its last change, so the agent is as old as its anchor
            created: found.and_then(|found| found.created).map(|date| date.to_string()),
            ..Actual::default()
        };
        let mut states = vec![(Kind::Anchor, State::Present(anchor))];
        states.extend(self.secret_file(&contents, &secrets).map(|fields| (Kind::Secrets, present(fields))));
        states.extend(config_file(&contents).map(|fields| (Kind::Config, present(fields))));
        states.extend(manifest::find(&contents, "workspace").filter(|found| !found.files.is_empty()).map(|found| {
            let files = found.files.into_iter().map(|(path, digest)| (path, digest.into()));
            (Kind::Workspace, present(files.collect()))
        }));
        Ok(states)
    }

    fn secret_file(&self, contents: &Contents, secrets: &Contents) -> Option<Fields> {
        let file = secrets.get("secrets.json")?;
        let fingerprint = |bytes: &[u8]| self.secrets.fingerprint(bytes).ok();
        let values: BTreeMap<String, zeroize::Zeroizing<String>> = serde_json::from_slice(file).unwrap_or_default();
        let mut fields: Fields = values
            .into_iter()
            .map(|(key, value)| {
                let secret = SecretValue { source: None, fingerprint: fingerprint(value.as_bytes()) };
                (key, Value::Secret(Box::new(secret)))
            })
            .collect();
        let loaded = manifest::find(contents, "secrets").and_then(|found| found.files.get("secrets.json").cloned());
        if loaded != manifest::secret_digest(self.secrets, file) {
            fields.insert(PENDING.to_owned(), "the gateway was not told of the file".into());
        }
        Some(fields)
    }

    async fn container(&self, token: Option<&SecretString>) -> Result<Option<State>, ApplyError> {
        let name = self.agent.gateway();
        let leftover = self.leftover();
        let Some(labels) = self.inventory.containers.get(&name) else {
            let fields = Fields::from([("unfinished".to_owned(), leftover.clone().unwrap_or_default().into())]);
            return Ok(leftover.map(|_| present(fields)));
        };
        let owner = self.owner(labels);
        let Some(found) = self.agent.inspect(&name).await? else { return Ok(None) };
        if owner == Owner::Foreign {
            return Ok(Some(State::Present(Actual { owner, ..Actual::default() })));
        }
        let mut actual = Actual {
            fields: gateway_fields(&found),
            created: found.created.as_ref().map(ToString::to_string),
            ..Actual::default()
        };
        let status = self.status(&found, token, &mut actual).await;
        actual.fields.insert("status".to_owned(), status.into());
        if let Some(leftover) = leftover {
            actual.fields.insert("unfinished".to_owned(), leftover.into());
        }
        Ok(Some(State::Present(actual)))
    }

    async fn status(
        &self,
        found: &ContainerInspectResponse,
        token: Option<&SecretString>,
        actual: &mut Actual,
    ) -> String {
        if let Some(port) = published_port(found) {
            actual.facts.insert("port".to_owned(), port.to_string());
        }
        if let Some(word) = watch::stopped(found) {
            return word;
        }
        match watch::health(&self.agent, found, token).await {
            Health::Healthy { version } => {
                if let Some(version) = version {
                    actual.facts.insert("version".to_owned(), version);
                }
                "healthy".to_owned()
            }
            Health::Starting(why) => format!("starting: {why}"),
            Health::Unhealthy(why) => format!("unhealthy: {why}"),
        }
    }

    /// Returns what an interrupted replacement left behind.
    fn leftover(&self) -> Option<String> {
        let names = &self.agent.names;
        let mut left = Vec::new();
        if self.inventory.containers.contains_key(&names.of(Role::Previous)) {
            left.push("the container before it");
        }
        if self.inventory.volumes.contains_key(&names.of(Role::Aside)) {
            left.push("a copy of its state");
        }
        let helper = self.inventory.containers.values().any(|labels| {
            labels.get(FLEET_LABEL).is_some_and(|mark| mark == self.agent.fleet)
                && labels.get(AGENT_LABEL).is_some_and(|agent| agent == names.agent())
                && labels.get(ROLE_LABEL).is_some_and(|role| role == Role::Helper.word())
        });
        if helper {
            left.push("a one-shot container");
        }
        (!left.is_empty()).then(|| left.join(", "))
    }
}

fn present(fields: Fields) -> State {
    State::Present(Actual { fields, ..Actual::default() })
}

fn config_file(contents: &Contents) -> Option<Fields> {
    let file = contents.get("openclaw.json")?;
    let loaded = manifest::find(contents, "config").and_then(|found| found.files.get("openclaw.json").cloned());
    let is_ours = loaded == Some(digest(file));
    let mut fields = match serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(file) {
        Ok(mut map) => {
            if !is_ours {
                map.iter_mut().for_each(|(key, value)| config::hide_plain_secrets(key, value));
            }
            map.into_iter().map(|(key, value)| (key, Value::from(value))).collect()
        }
        Err(_) => Fields::from([("unreadable".to_owned(), "it is not JSON".into())]),
    };
    if !is_ours {
        fields.insert(PENDING.to_owned(), "the gateway was not told of the file".into());
    }
    Some(fields)
}
