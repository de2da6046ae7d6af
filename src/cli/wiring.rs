//! Which provider serves which place. The only file that names every provider.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use claw_core::fleet::{Fleet, ProviderKind, ProviderTable};
use claw_core::problem::Problem;
use claw_core::provider::{Provider, Rulebook, Rules};
use claw_docker::{DockerProvider, DockerRules, LocalSocket};
use claw_engine::observe::Providers;
use claw_sim::{Faults, SimEngine, World};

use crate::error::CommandError;
use crate::exit;
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
pub fn providers(fleet: &Fleet, setup: &Setup) -> Result<Providers, CommandError> {
    let mut providers = Providers::new();
    let mut sockets = BTreeMap::new();
    for (name, table) in &fleet.providers {
        if let Some(ProviderKind::Docker) = table.kind {
            let (socket, path) = socket(table, setup)?;
            let path = std::fs::canonicalize(&path).unwrap_or(path);
            if let Some(other) = sockets.insert(path, name) {
                let message = format!("providers `{other}` and `{name}` are the same engine");
                let help = "keep one of them: each would take the other's agents for orphans";
                return Err(CommandError::new(exit::INVALID, message).help(help));
            }
            let endpoint = Arc::new(socket);
            providers.insert(name.clone(), Arc::new(DockerProvider::new(name, &fleet.meta.id, endpoint)));
        }
    }
    Ok(providers)
}

/// Returns the providers of the simulated world.
pub fn simulated(fleet: &Fleet, world: &World) -> Providers {
    let make = |name: &String| -> (String, Arc<dyn Provider>) {
        (name.clone(), Arc::new(SimEngine::new(name, world.clone(), Faults::default(), setup::now)))
    };
    fleet.providers.keys().map(make).collect()
}

/// The socket the fleet names, else the one the environment names, else the first usual one that is there. One that is
/// named and cannot be used is an error: another engine is not what was meant.
fn socket(table: &ProviderTable, setup: &Setup) -> Result<(LocalSocket, PathBuf), CommandError> {
    if let Some(endpoint) = table.endpoint.as_deref().or_else(|| setup.env("DOCKER_HOST")) {
        let path = PathBuf::from(endpoint.trim_start_matches("unix://"));
        return LocalSocket::parse(endpoint).map(|socket| (socket, path)).ok_or_else(|| {
            CommandError::usage(format!("DOCKER_HOST `{endpoint}` is not an engine claw can reach"))
                .help("unset it, or point it to a socket: unix:///path/to/docker.sock")
        });
    }
    let usual = PathBuf::from("/var/run/docker.sock");
    let rootless = setup.env("XDG_RUNTIME_DIR").map(|folder| Path::new(folder).join("docker.sock"));
    let desktop = setup.home().map(|home| home.join(".docker/run/docker.sock"));
    let found = [Some(usual.clone()), rootless, desktop].into_iter().flatten().find(|path| path.exists());
    let path = found.unwrap_or(usual);
    Ok((LocalSocket::new(&path), path))
}
