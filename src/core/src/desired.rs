//! What the fleet asks for, resource by resource. Made by `compile`, completed by `resolve`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::fleet::SuspendTable;
use crate::name::{Address, Kind, ResourceId};
use crate::secret::{Fingerprint, SecretError, SecretSource, Secrets};
use crate::value::{Fields, Value};

/// Everything the fleet asks for.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// The fleet's id.
    pub fleet: String,
    /// The places to look at, agents on them or not.
    pub places: Vec<String>,
    /// The agents, by id.
    pub agents: BTreeMap<String, AgentCard>,
    /// The hosts, by id.
    pub hosts: BTreeMap<String, HostCard>,
    /// The DNS zones, and who serves them.
    pub zones: Vec<ZoneCard>,
    /// The resources, by address.
    pub resources: BTreeMap<Address, Resource>,
}

/// A DNS zone of the fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneCard {
    /// Its name, lower case.
    pub name: String,
    /// The provider that serves it.
    pub place: String,
}

/// What people know an agent by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentCard {
    /// The key of its table.
    pub name: String,
    /// The place it runs on.
    pub place: String,
    /// What it is for.
    pub purpose: Option<String>,
    /// Its emoji.
    pub emoji: Option<String>,
    /// The image it runs.
    pub image: String,
    /// Set while claw leaves it alone.
    pub suspend: Option<SuspendTable>,
}

/// What people know a host by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostCard {
    /// The key of its table, which is the place of what is on it.
    pub name: String,
    /// Its name or address; empty where only a cloud knows.
    pub address: String,
    /// The cloud that makes it; `None` for a machine that exists.
    pub cloud: Option<String>,
    /// Set while claw leaves it and its agents alone.
    pub suspend: Option<SuspendTable>,
    /// Whether claw shall take off it what it put there.
    pub absent: bool,
}

/// One resource as it shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// Its fields. Only these are compared: what a fleet does not say is not claw's.
    pub fields: Fields,
    /// The addresses that must stand first.
    pub needs: Vec<Address>,
    /// The agent it is for, where its name says something else.
    pub of: Option<String>,
    /// Bytes that the fields name by digest: path → content.
    pub files: BTreeMap<String, Arc<[u8]>>,
}

impl HostCard {
    /// Returns the address of the machine at its cloud.
    pub fn server(&self, id: &str) -> Option<Address> {
        Some(Address { id: ResourceId::new(Kind::Server, id), place: self.cloud.clone()? })
    }
}

impl Desired {
    /// Returns the suspension that holds for an address: its agent's, its own, or that of the host it is on.
    pub fn suspension(&self, address: &Address) -> Option<&SuspendTable> {
        let agent = self.agents.get(&address.id.name).and_then(|card| card.suspend.as_ref());
        let of_agent = self.resources.get(address).and_then(|resource| resource.of.as_ref());
        let agent = agent.or_else(|| self.agents.get(of_agent?)?.suspend.as_ref());
        // a server is at its provider's place, what is on it at its own
        let machine = self.hosts.get(&address.id.name).filter(|_| address.id.kind.is_of_host());
        let of_host =
            || machine.or_else(|| self.hosts.values().find(|host| host.name == address.place))?.suspend.as_ref();
        agent.filter(|_| !address.id.kind.is_of_host()).or_else(of_host)
    }

    /// Looks up the fingerprint of every secret, so that plans can compare. Returns what could not be had, by address.
    pub fn resolve(&mut self, secrets: &dyn Secrets) -> BTreeMap<Address, SecretError> {
        let mut failed = BTreeMap::new();
        let mut known = Prints::new();
        for (address, resource) in &mut self.resources {
            for value in resource.fields.values_mut() {
                if let Err(error) = resolve_value(value, secrets, &mut known) {
                    failed.entry(address.clone()).or_insert(error);
                }
            }
        }
        failed
    }
}

/// What was looked up already: many agents share a secret.
type Prints = HashMap<SecretSource, Result<Fingerprint, SecretError>>;

fn resolve_value(value: &mut Value, secrets: &dyn Secrets, known: &mut Prints) -> Result<(), SecretError> {
    use secrecy::ExposeSecret;
    match value {
        Value::Secret(secret) => {
            if let Some(source) = &secret.source {
                let look = || secrets.fingerprint(secrets.reveal(source)?.expose_secret().as_bytes());
                let print = known.entry(source.clone()).or_insert_with(look);
                secret.fingerprint = Some(print.clone()?);
            }
            Ok(())
        }
        Value::Map(map) => Arc::make_mut(map).values_mut().try_for_each(|inner| resolve_value(inner, secrets, known)),
        Value::List(items) => items.iter_mut().try_for_each(|inner| resolve_value(inner, secrets, known)),
        _ => Ok(()),
    }
}
