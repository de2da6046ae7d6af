//! Which provider serves which place. The only file that names every provider.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use claw_core::fleet::{Fleet, ProviderKind, ProviderTable};
use claw_core::problem::Problem;
use claw_core::provider::{Provider, Rulebook, Rules};
use claw_docker::{DockerProvider, DockerRules, LocalSocket};
use claw_engine::observe::Providers;
use claw_sim::{Faults, SimEngine, World};

use crate::setup::{self, Setup};

/// Returns what the fleet's providers know without looking.
pub fn rulebook(fleet: &Fleet) -> Rulebook {
    let rules = |table: &ProviderTable| -> Option<Arc<dyn Rules>> {
        match table.kind? {
            ProviderKind::Docker => Some(Arc::new(DockerRules)),
        }
    };
    fleet.providers.iter().filter_map(|(name, table)| Some((name.clone(), rules(table)?))).collect()
}

/// Returns a problem for each provider whose endpoint claw cannot use.
pub fn check_endpoints(fleet: &Fleet) -> Vec<Problem> {
    let odd = fleet.providers.iter().filter_map(|(name, table)| {
        let endpoint = table.endpoint.as_deref().filter(|text| LocalSocket::parse(text).is_none())?;
        Some(
            Problem::error("endpoint", format!("`{endpoint}` is not an engine claw can reach"))
                .at(fleet.tree.exact(&["providers", name, "endpoint"]))
                .help("write unix:///path/to/docker.sock, or leave it out for the local engine"),
        )
    });
    odd.collect()
}

/// Returns the providers of the real world.
pub fn providers(fleet: &Fleet, setup: &Setup) -> Providers {
    let make = |(name, table): (&String, &ProviderTable)| -> Option<(String, Arc<dyn Provider>)> {
        match table.kind? {
            ProviderKind::Docker => {
                let endpoint = Arc::new(socket(table, setup));
                Some((name.clone(), Arc::new(DockerProvider::new(name, &fleet.meta.id, endpoint))))
            }
        }
    };
    fleet.providers.iter().filter_map(make).collect()
}

/// Returns the providers of the simulated world.
pub fn simulated(fleet: &Fleet, world: &World) -> Providers {
    let make = |name: &String| -> (String, Arc<dyn Provider>) {
        (name.clone(), Arc::new(SimEngine::new(name, world.clone(), Faults::default(), setup::now)))
    };
    fleet.providers.keys().map(make).collect()
}

/// The socket the fleet names, else the one the environment names, else the first usual one that is there.
fn socket(table: &ProviderTable, setup: &Setup) -> LocalSocket {
    let named = table.endpoint.as_deref().or_else(|| setup.env("DOCKER_HOST")).and_then(LocalSocket::parse);
    named.unwrap_or_else(|| {
        let usual = PathBuf::from("/var/run/docker.sock");
        let rootless = setup.env("XDG_RUNTIME_DIR").map(|folder| Path::new(folder).join("docker.sock"));
        let desktop = setup.home().map(|home| home.join(".docker/run/docker.sock"));
        let found = [Some(usual.clone()), rootless, desktop].into_iter().flatten().find(|path| path.exists());
        LocalSocket::new(&found.unwrap_or(usual))
    })
}
