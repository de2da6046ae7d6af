//! The simulated world: clouds on the wire of this machine itself, engines as models. What is simulated lies in files
//! beside the fleet.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use claw_core::fleet::{Fleet, ProviderKind};
use claw_core::machine::Bear;
use claw_core::provider::{BoxFuture, Provider};
use claw_core::ssh::PublicKey;
use claw_engine::observe::Providers;
use claw_hetzner::{HetznerProvider, RealTiming, Timing};
use claw_sim::hetzner::{Cloud, Handle, Options, Poke, Request, Status, serve};
use claw_sim::{Faults, Machine, SimEngine, World};
use secrecy::SecretString;

use super::cloud::{Deaf, bear, client};
use crate::commands;
use crate::error::CommandError;
use crate::setup;

/// How much faster the simulated world is than the real one.
const SPEED: u32 = 50;

/// Returns the providers of the simulated world, whose state lies in a folder.
pub fn providers(
    fleet: &Fleet,
    world: &World,
    folder: &Path,
    control: &[PublicKey],
) -> Result<Providers, CommandError> {
    let engine = |name: &String| SimEngine::new(name, world.clone(), Faults::default(), setup::now);
    let mut providers = Providers::new();
    let mut clouds = BTreeMap::new();
    for (name, table) in &fleet.providers {
        let provider: Arc<dyn Provider> = match table.kind {
            Some(ProviderKind::Hetzner) => {
                let handle = cloud(fleet, name, folder)?;
                clouds.insert(name.clone(), handle.clone());
                Arc::new(project(fleet, name, &handle, control)?)
            }
            _ => Arc::new(engine(name)),
        };
        providers.insert(name.clone(), provider);
    }
    for (name, table) in &fleet.hosts {
        let id = table.id.as_deref().unwrap_or(name);
        let made = match table.on.as_ref().and_then(|on| clouds.get(on)) {
            Some(handle) => engine(name).on(machine(handle.clone(), &fleet.meta.id, id)),
            None => engine(name),
        };
        providers.insert(name.clone(), Arc::new(made));
    }
    Ok(providers)
}

/// Returns the provider of a simulated project.
pub fn project(
    fleet: &Fleet,
    name: &str,
    handle: &Handle,
    control: &[PublicKey],
) -> Result<HetznerProvider, CommandError> {
    let base = served(handle)?;
    let token = SecretString::from("sandbox");
    let client = client(&base, token, "the sandbox", Arc::new(Deaf), Arc::new(Fast::default()))?;
    let bear: Box<Bear> = bear(&fleet.meta.id, control.to_vec());
    Ok(HetznerProvider::new(name, &fleet.meta.id, client, bear))
}

/// Returns the simulated project of a provider. It has the zones that the fleet names: those are made at a registrar.
pub fn cloud(fleet: &Fleet, name: &str, folder: &Path) -> Result<Handle, CommandError> {
    let path = path(folder, name);
    let failed = |error: &dyn std::fmt::Display| {
        CommandError::failed(format!("failed to use the sandbox's file {}: {error}", path.display()))
            .help("`claw sandbox reset` begins anew")
    };
    let mut cloud: Cloud = match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(&error))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Cloud::new(),
        Err(error) => return Err(failed(&error)),
    };
    cloud.settings.speed = 1.0 / f64::from(SPEED);
    cloud.settings.rate_per_hour = 0;
    for (zone, _) in fleet.dns.iter().filter(|(_, table)| table.provider.as_deref() == Some(name)) {
        let body = serde_json::json!({ "name": zone, "mode": "primary" }).to_string();
        // one that is there already is refused, and stays
        cloud.handle(&Request::new("POST", "/v1/zones", "sandbox", &body), now_ms());
    }
    Ok(Handle::new(cloud, now_ms, move |cloud| keep(&path, cloud)))
}

fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("cloud-{name}.json"))
}

fn keep(path: &Path, cloud: &Cloud) {
    let draft = path.with_extension(format!("json.{}", std::process::id()));
    let kept = serde_json::to_vec(cloud).map_err(std::io::Error::other).and_then(|bytes| {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(&draft, bytes)?;
        fs::rename(&draft, path)
    });
    if let Err(error) = kept {
        crate::render::err(format_args!("the sandbox could not be kept in {}: {error}", path.display()));
    }
}

/// Serves a project on a port of this machine until the process ends, and returns the address of the API.
fn served(handle: &Handle) -> Result<String, CommandError> {
    let handle = handle.clone();
    let address = commands::wait(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(serve(handle, listener, Options::default()));
        Ok::<_, std::io::Error>(address)
    })?;
    let address = address.map_err(|error| CommandError::failed(format!("failed to serve the sandbox: {error}")))?;
    Ok(format!("http://{address}/v1"))
}

/// Returns what happened when something was done behind claw's back.
pub fn poke(handle: &Handle, poke: &CloudPoke) -> Result<String, CommandError> {
    let (kind, name) = match poke {
        CloudPoke::Stranger(name) => ("made by hand", name.clone()),
        CloudPoke::Known(known) => {
            return handle
                .with(|cloud, now| cloud.poke(known, now))
                .map_err(|error| CommandError::from_error(crate::exit::FAILED, &error));
        }
    };
    let body = serde_json::json!({
        "name": name, "server_type": "cpx22", "image": "debian-12", "location": "fsn1",
    });
    let answer = handle.with(|cloud, now| {
        // it has been there for a while
        let speed = std::mem::replace(&mut cloud.settings.speed, 0.0);
        let answer = cloud.handle(&Request::new("POST", "/v1/servers", "sandbox", &body.to_string()), now);
        cloud.settle(now);
        cloud.settings.speed = speed;
        answer
    });
    match answer.status {
        201 => Ok(format!("the server {name} was {kind}")),
        status => Err(CommandError::failed(format!("failed to make {name}: the simulated cloud answers {status}"))),
    }
}

/// What is done to a simulated cloud behind claw's back.
pub enum CloudPoke {
    /// Somebody makes a machine by hand.
    Stranger(String),
    /// What the simulator knows itself.
    Known(Poke),
}

/// Returns what a simulated engine knows of the machine it is on.
fn machine(cloud: Handle, fleet: &str, id: &str) -> impl Fn() -> Machine + Send + Sync + 'static {
    let marks = [("claw-fleet", fleet), ("claw-name", id)].map(|(key, value)| (key.to_owned(), value.to_owned()));
    move || {
        let servers = cloud.read(Cloud::view_servers);
        let mine = |labels: &BTreeMap<String, String>| marks.iter().all(|(key, value)| labels.get(key) == Some(value));
        match servers.iter().find(|server| mine(&server.labels)) {
            None => Machine::Nowhere,
            Some(server) if server.status != Status::Running => Machine::Away("the machine is not running".to_owned()),
            Some(server) => Machine::Here(format!("{}/{}", server.id, server.rebuilt)),
        }
    }
}

/// Returns the time, in milliseconds since 1970.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Waits as much shorter as the simulated world is faster.
#[derive(Default)]
struct Fast(RealTiming);

impl Timing for Fast {
    fn now(&self) -> Duration {
        self.0.now() * SPEED
    }

    fn unix_seconds(&self) -> u64 {
        self.0.unix_seconds()
    }

    fn sleep(&self, wait: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(wait / SPEED)
    }

    fn chance(&self) -> f64 {
        self.0.chance()
    }
}
