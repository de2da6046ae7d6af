//! One project of the cloud, as far as a fleet has to do with it: the lists that looking begins with, and the machines as
//! they were seen last, so that hosts are found without asking for each.

use std::collections::BTreeMap;
use std::time::Duration;

use claw_core::name::{Address, Kind, ResourceId};
use claw_core::text::{chain, clean};
use tokio::sync::Mutex;

use crate::client::Client;
use crate::error::ApiError;
use crate::names::{FLEET, NAME};
use crate::pages::{Filter, List};
use crate::wire::{Labels, Server, Zone};

/// For how long a list of machines counts as new: everybody who looks at the same moment shares one.
const FRESH: Duration = Duration::from_secs(2);

/// A project of the cloud.
pub struct Project {
    /// The name of the provider.
    pub place: String,
    /// The fleet's id.
    pub fleet: String,
    /// The API.
    pub client: Client,
    servers: Mutex<Option<Looked>>,
    zones: Mutex<BTreeMap<String, Zone>>,
}

/// The machines as they were seen last, by the host's id, and when.
struct Looked {
    at: Duration,
    servers: Result<Fleet, String>,
}

/// The fleet's machines by the host's id. Two that carry the same mark are both here.
pub type Fleet = BTreeMap<String, Vec<Server>>;

impl Project {
    /// Returns a project in which nothing was looked at yet.
    pub fn new(place: &str, fleet: &str, client: Client) -> Self {
        Self {
            place: place.to_owned(),
            fleet: fleet.to_owned(),
            client,
            servers: Mutex::default(),
            zones: Mutex::default(),
        }
    }

    /// Returns the filter for everything that is ours.
    pub fn ours(&self) -> Filter {
        Filter::labelled(&format!("{FLEET}={}", self.fleet))
    }

    /// Returns the filter for what is ours of one resource.
    pub fn ours_of(&self, name: &str) -> Filter {
        Filter::labelled(&format!("{FLEET}={},{NAME}={name}", self.fleet))
    }

    /// Whether labels carry the fleet's mark.
    pub fn is_ours(&self, labels: &Labels) -> bool {
        labels.get(FLEET) == Some(&self.fleet)
    }

    /// Returns the address of a resource of this project.
    pub fn address(&self, kind: Kind, name: &str) -> Address {
        Address { id: ResourceId::new(kind, name), place: self.place.clone() }
    }

    /// Returns the fleet's machines; those of a moment ago unless `anew`.
    pub async fn servers(&self, anew: bool) -> Result<Fleet, String> {
        let mut looked = self.servers.lock().await;
        let now = self.client.timing().now();
        match &*looked {
            Some(known) if !anew || now.saturating_sub(known.at) < FRESH => return known.servers.clone(),
            _ => {}
        }
        let servers = self.list_servers().await;
        *looked = Some(Looked { at: self.client.timing().now(), servers: servers.clone() });
        servers
    }

    async fn list_servers(&self) -> Result<Fleet, String> {
        let mut found = Fleet::new();
        for server in whole(self.client.servers(&self.ours()).await)? {
            let name = server.labels.get(NAME).cloned().unwrap_or_default();
            found.entry(name).or_default().push(server);
        }
        Ok(found)
    }

    /// Looks at the machines of one host, and remembers it.
    pub async fn server(&self, id: &str) -> Result<Vec<Server>, ApiError> {
        let found = self.client.servers(&self.ours_of(id)).await?.items;
        self.remember(id, found.clone()).await;
        Ok(found)
    }

    /// Keeps the zones as they were seen.
    pub async fn remember_zones(&self, zones: &[Zone]) {
        self.zones.lock().await.extend(zones.iter().map(|zone| (zone.name.clone(), zone.clone())));
    }

    /// Returns a zone, as it was seen before if it was.
    pub async fn zone(&self, name: &str) -> Result<Option<Zone>, ApiError> {
        if let Some(known) = self.zones.lock().await.get(name) {
            return Ok(Some(known.clone()));
        }
        let found = self.client.zones(&Filter::named(name)).await?.items;
        self.remember_zones(&found).await;
        Ok(found.into_iter().find(|zone| zone.name == name))
    }

    /// Keeps what was seen of one host's machines.
    pub async fn remember(&self, id: &str, found: Vec<Server>) {
        let mut looked = self.servers.lock().await;
        if let Some(Looked { servers: Ok(servers), .. }) = &mut *looked {
            if found.is_empty() {
                servers.remove(id)
            } else {
                servers.insert(id.to_owned(), found)
            };
        }
    }
}

/// Returns a list that is whole and could be read to the last element, or why it must not pass for that.
pub fn whole<T>(list: Result<List<T>, ApiError>) -> Result<Vec<T>, String> {
    let list = list.map_err(told)?;
    match list.odd.first() {
        None => Ok(list.items),
        Some(odd) => {
            let name = odd.name.clone().or_else(|| odd.id.clone()).unwrap_or_else(|| "one element".to_owned());
            Err(format!("{name} could not be read: {}; look for a newer claw", clean(&odd.why, 200)))
        }
    }
}

/// Returns what went wrong and what to do, for one line.
pub fn told(error: ApiError) -> String {
    let what = chain(&error);
    let error = claw_core::provider::ApplyError::from(error);
    error.help.map_or_else(|| what.clone(), |help| format!("{what}; {help}"))
}
