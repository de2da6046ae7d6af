//! Which provider serves which place. The only file that names every provider.

pub mod catalogue;
mod cloud;
mod sandbox;
pub mod serve;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use claw_core::fleet::{Fleet, HostTable, JumpTable, ProviderKind, ProviderTable};
use claw_core::problem::Problem;
use claw_core::provider::{Provider, Rulebook, Rules};
use claw_core::secret::{Destinations, SecretName, Secrets, is_among};
use claw_core::ssh::PublicKey;
use claw_docker::{DockerProvider, DockerRules, LocalSocket, SshSocket};
use claw_engine::audit::{Audit, Deed};
use claw_engine::observe::Providers;
use claw_hetzner::HetznerRules;
use claw_host::{CloudHost, Dial, HostProvider, HostRules, Login};
use claw_net::ssh::{Connection, Event, Key, Network, Observer, Patience, Policy, SshError, Target};
use secrecy::SecretString;

pub use claw_hetzner::Stranger;
pub use claw_host::pin_label;
pub use cloud::{prices, project, recognise_tokens};
pub use sandbox::{CloudPoke, cloud as simulated_cloud, poke as poke_cloud, providers as simulated};

use self::cloud::Project;
use crate::error::CommandError;
use crate::exit;
use crate::setup::Setup;

/// Returns what the fleet's providers know without looking.
pub fn rulebook(fleet: &Fleet) -> Rulebook {
    let rules = |table: &ProviderTable| -> Option<Arc<dyn Rules>> {
        match table.kind? {
            ProviderKind::Docker => Some(Arc::new(DockerRules)),
            ProviderKind::Hetzner => Some(Arc::new(HetznerRules)),
        }
    };
    let hosts: Arc<dyn Rules> = Arc::new(HostRules::new(Arc::new(DockerRules)));
    let providers = fleet.providers.iter().filter_map(|(name, table)| Some((name.clone(), rules(table)?)));
    providers.chain(fleet.hosts.keys().map(|name| (name.clone(), Arc::clone(&hosts)))).collect()
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

/// Returns a problem for each provider that would get a secret which may not be sent to it: a key of something else.
pub fn check_tokens(fleet: &Fleet, destinations: &Destinations) -> Vec<Problem> {
    let odd = fleet.providers.iter().filter_map(|(name, table)| {
        let host = match table.kind? {
            ProviderKind::Hetzner => claw_hetzner::API_HOST,
            ProviderKind::Docker => return None,
        };
        let text = table.token.as_deref()?.strip_prefix("secret:")?;
        let (profile, key) = text.split_once('/')?;
        let secret = SecretName { profile: profile.to_owned(), key: key.to_owned() };
        let usual = claw_openclaw::catalog::hosts_of(key);
        let allowed = destinations.get(&secret).map(Vec::as_slice).or(usual)?;
        (!is_among(allowed, host)).then(|| {
            Problem::error("destination", format!("{secret} may not be sent to {host}"))
                .at(fleet.tree.exact(&["providers", name, "token"]))
                .help(format!("whoever can read it may say otherwise: `claw secret allow {secret} {host}`"))
        })
    });
    odd.collect()
}

/// claw's own login keys, as they are at hand.
pub struct ControlKeys<'a> {
    /// Those that new machines let in.
    pub public: Vec<PublicKey>,
    /// Public half and private half.
    pub opened: &'a [(PublicKey, SecretString)],
}

/// Returns the providers of the real world.
pub fn providers(
    fleet: &Fleet,
    setup: &Setup,
    secrets: &dyn Secrets,
    control: &ControlKeys<'_>,
    audit: &Arc<Audit>,
) -> Result<Providers, CommandError> {
    let projects = cloud::projects(fleet, setup, secrets, &control.public, audit)?;
    let mut providers = hosts(fleet, setup, &projects, control.opened, audit)?;
    providers.extend(projects.iter().map(|(name, project)| (name.clone(), project.provider())));
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

/// Returns the hosts: each one's engine is reached over the connection claw logs in with.
fn hosts(
    fleet: &Fleet,
    setup: &Setup,
    projects: &BTreeMap<String, Project>,
    control: &[(PublicKey, SecretString)],
    audit: &Arc<Audit>,
) -> Result<Providers, CommandError> {
    let bad = |error: SshError| CommandError::from_error(exit::INVALID, &error);
    let mut own = BTreeMap::new();
    for (public, private) in control {
        own.insert(public.clone(), Key::held(private).map_err(bad)?);
    }
    let mut keys: Vec<Key> = control.iter().filter_map(|(public, _)| own.get(public).cloned()).collect();
    keys.extend(personal_keys(setup));
    let network = Network::new(Policy::default(), Arc::new(Recorder(Arc::clone(audit))));
    let mut providers = Providers::new();
    for (place, table) in &fleet.hosts {
        let target = target(fleet, place, table, &keys)?;
        let id = table.id.as_deref().unwrap_or(place);
        let (name, fleet_id) = (place.clone(), fleet.meta.id.clone());
        let engine = move |connection: Connection| -> Arc<dyn Provider> {
            Arc::new(DockerProvider::new(&name, &fleet_id, Arc::new(SshSocket::new(connection))))
        };
        if let Some(project) = table.on.as_ref().and_then(|on| projects.get(on)) {
            let dial = Dial { network: network.clone(), target, control: own.clone(), engine: Box::new(engine) };
            let host = CloudHost::new(place, &fleet.meta.id, id, project.machine(id), dial);
            providers.insert(place.clone(), Arc::new(host));
            continue;
        }
        // a host that restarts while claw works on it is waited for; looking at it is not
        let connection = network.connection(&target).with_patience(Patience::STEADY);
        let engine = engine(connection.clone());
        let shown = table.host_key_next.as_ref().or(table.host_key.as_ref());
        let login = Login { user: target.user.clone(), control: own.clone(), host_key: public_key(shown)?, connection };
        providers.insert(place.clone(), Arc::new(HostProvider::new(place, &fleet.meta.id, id, login, engine)));
    }
    Ok(providers)
}

fn public_key(text: Option<&String>) -> Result<PublicKey, CommandError> {
    let parsed = text.map(String::as_str).unwrap_or_default().parse();
    parsed.map_err(|error| CommandError::new(exit::INVALID, format!("a host key cannot be used: {error}")))
}

fn target(fleet: &Fleet, place: &str, table: &HostTable, keys: &[Key]) -> Result<Target, CommandError> {
    let pins = [table.host_key.as_ref(), table.host_key_next.as_ref()].into_iter().flatten();
    let jump = table.jump.as_ref().or(fleet.ssh.jump.as_ref());
    let jump = jump.map(|jump| jump_target(jump, keys)).transpose()?;
    Ok(Target {
        label: place.to_owned(),
        address: table.address.clone().unwrap_or_default(),
        port: table.port.unwrap_or(22),
        user: table.user.clone().unwrap_or_else(|| "root".to_owned()),
        pins: pins.map(|text| pin(text)).collect::<Result<_, _>>()?,
        keys: keys.to_vec(),
        jump: jump.map(Box::new),
    })
}

fn jump_target(jump: &JumpTable, keys: &[Key]) -> Result<Target, CommandError> {
    Ok(Target {
        label: format!("jump host {}", jump.address),
        address: jump.address.clone(),
        port: jump.port.unwrap_or(22),
        user: jump.user.clone().unwrap_or_else(|| "root".to_owned()),
        pins: vec![pin(&jump.host_key)?],
        keys: keys.to_vec(),
        jump: None,
    })
}

fn pin(text: &str) -> Result<claw_net::ssh::Pin, CommandError> {
    text.parse().map_err(|error: SshError| CommandError::from_error(exit::INVALID, &error))
}

/// The keys of whoever runs claw: how it gets in before its own key is there.
fn personal_keys(setup: &Setup) -> Vec<Key> {
    let agent = setup.env("SSH_AUTH_SOCK").map(Key::agent);
    let file = setup.home().map(|home| home.join(".ssh/id_ed25519")).filter(|path| path.exists());
    let asks = setup.stdin_terminal;
    let passphrase = move |path: &Path| {
        let question = format!("Passphrase of {}: ", path.display());
        asks.then(|| rpassword::prompt_password(question).ok()).flatten().map(SecretString::from)
    };
    agent.into_iter().chain(file.map(|path| Key::file(path, Arc::new(passphrase)))).collect()
}

/// Records every connection and everything that is run on a host.
struct Recorder(Arc<Audit>);

impl Observer for Recorder {
    fn heard(&self, label: &str, event: &Event) {
        let deed = |action, detail: &str, key: Option<&str>, failure: Option<&str>| {
            self.0.record(&Deed { action, target: label, detail, key, failure });
        };
        match event {
            Event::Connected { key_fingerprint, millis, .. } => {
                deed("connect", &format!("logged in after {millis} ms"), Some(key_fingerprint), None);
            }
            Event::Refused { why } => deed("connect", "", None, Some(why)),
            Event::Lost { why } => deed("connect", "the connection broke", None, Some(why)),
            Event::Blocked { seconds } => deed("connect", &format!("blocked for {seconds} s"), None, Some("blocked")),
            Event::Executed { label: Some(what), status, .. } => {
                let failure = (!status.is_success()).then(|| format!("{status:?}"));
                deed("run", what, None, failure.as_deref());
            }
            _ => {}
        }
    }
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
