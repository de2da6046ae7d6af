//! The clouds of a fleet: which project a provider's token opens, and how hosts on it are found and logged in to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use claw_core::desired::Desired;
use claw_core::fleet::{Fleet, ProviderTable};
use claw_core::machine::{Bear, Birth, Locate, Whereabouts};
use claw_core::mask::Known;
use claw_core::money::Money;
use claw_core::observed::{Observation, Report};
use claw_core::plan::Step;
use claw_core::provider::{ApplyError, BoxFuture, Provider, StepContext};
use claw_core::secret::{SecretName, SecretSource, Secrets};
use claw_core::ssh::PublicKey;
use claw_engine::audit::{Audit, Deed};
use claw_hetzner::{API, Client, HetznerProvider, RealTiming, Tell, Timing};
use claw_host::{Bootstrap, host_key_pair, pin_label};
use claw_net::dns::{Ask, BadServer, NameServers};
use claw_net::http::{self, Call, Limits};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::sandbox;
use crate::commands;
use crate::error::CommandError;
use crate::exit;
use crate::render;
use crate::setup::Setup;

/// A project of a cloud, or why it cannot be used: that is said where somebody looks at it, and stops nobody else.
pub enum Project {
    /// It can be asked.
    Open(Arc<HetznerProvider>),
    /// It cannot: its name, and why.
    Shut(String, String),
}

impl Project {
    /// Returns the provider.
    pub fn provider(&self) -> Arc<dyn Provider> {
        match self {
            Self::Open(provider) => Arc::clone(provider) as Arc<dyn Provider>,
            Self::Shut(place, why) => Arc::new(Closed { place: place.clone(), why: why.clone() }),
        }
    }

    /// Returns the way to find the machine of a host.
    pub fn machine(&self, host: &str) -> Arc<dyn Locate> {
        match self {
            Self::Open(provider) => provider.machine(host),
            Self::Shut(place, why) => Arc::new(Closed { place: place.clone(), why: why.clone() }),
        }
    }
}

/// Returns the projects of the fleet, by the name of the provider.
pub fn projects(
    fleet: &Fleet,
    setup: &Setup,
    secrets: &dyn Secrets,
    control: &[PublicKey],
    audit: &Arc<Audit>,
) -> Result<BTreeMap<String, Project>, CommandError> {
    let mut projects = BTreeMap::new();
    let mut tokens: Vec<(SecretString, String)> = Vec::new();
    for name in fleet.clouds() {
        let token = token(&fleet.providers[name], secrets);
        if let Ok((token, _)) = &token {
            let same = tokens.iter().find(|(other, _)| other.expose_secret() == token.expose_secret());
            if let Some((_, other)) = same {
                let message = format!("providers `{other}` and `{name}` are the same project");
                let help = "keep one of them: each would take the other's machines for orphans";
                return Err(CommandError::new(exit::INVALID, message).help(help));
            }
            tokens.push((token.clone(), name.to_owned()));
        }
        let hears = Arc::new(Calls { audit: Arc::clone(audit), place: name.to_owned() });
        projects.insert(name.to_owned(), open(fleet, name, setup, token, control, hears)?);
    }
    Ok(projects)
}

fn open(
    fleet: &Fleet,
    name: &str,
    setup: &Setup,
    token: Result<(SecretString, String), String>,
    control: &[PublicKey],
    hears: Arc<dyn http::Observer>,
) -> Result<Project, CommandError> {
    let (token, from) = match token {
        Ok(token) => token,
        Err(why) => return Ok(Project::Shut(name.to_owned(), why)),
    };
    let base = setup.env("HCLOUD_ENDPOINT").unwrap_or(API);
    let client = client(base, token, &from, hears, Arc::new(RealTiming::default()))?;
    let bear = bear(&fleet.meta.id, control.to_vec());
    let provider = HetznerProvider::new(name, &fleet.meta.id, client, bear).with_names(name_servers(setup)?);
    Ok(Project::Open(Arc::new(provider)))
}

/// Returns one project of the fleet, in the real world or the simulated one, for what is not part of a plan.
pub fn project(
    fleet: &Fleet,
    name: &str,
    setup: &Setup,
    secrets: &dyn Secrets,
    sandbox: bool,
) -> Result<Arc<HetznerProvider>, CommandError> {
    if sandbox {
        let handle = sandbox::cloud(fleet, name, &setup.state_folder(true))?;
        return sandbox::project(fleet, name, &handle, &[]).map(Arc::new);
    }
    let table = fleet.providers.get(name).cloned().unwrap_or_default();
    match open(fleet, name, setup, token(&table, secrets), &[], Arc::new(Deaf))? {
        Project::Open(provider) => Ok(provider),
        Project::Shut(_, why) => Err(CommandError::failed(format!("failed to ask {name}: {why}"))),
    }
}

/// Where a project's token is looked for unless the fleet says.
const TOKEN_VARIABLE: &str = "HCLOUD_TOKEN";
/// How often it is said, at most, that requests are tried again.
const LINE_EVERY: Duration = Duration::from_secs(2);
/// How long somebody who is asked for a size waits for prices, in seconds.
const PRICES_SECONDS_MAX: u64 = 5;

/// Returns what sizes cost a month at a location, net; empty where that cannot be had soon.
pub fn prices(
    fleet: &Fleet,
    name: &str,
    location: &str,
    setup: &Setup,
    secrets: &dyn Secrets,
    sandbox: bool,
) -> BTreeMap<String, Money> {
    let Ok(project) = project(fleet, name, setup, secrets, sandbox) else { return BTreeMap::new() };
    let asked = commands::wait(async {
        tokio::time::timeout(Duration::from_secs(PRICES_SECONDS_MAX), project.prices(location)).await
    });
    asked.ok().and_then(Result::ok).and_then(Result::ok).unwrap_or_default()
}

/// Returns who is asked about names that were changed: the zones' own servers, unless CLAW_NAMESERVERS names others or says
/// `off`. What another API than the vendor's keeps is not known to the vendor's servers.
fn name_servers(setup: &Setup) -> Result<Arc<dyn Ask>, CommandError> {
    let usual = if setup.env("HCLOUD_ENDPOINT").is_some() { NameServers::Off } else { NameServers::OfZone };
    let named = setup.env("CLAW_NAMESERVERS").map(|text| text.parse().map(|named| (text, named))).transpose();
    let named = named.map_err(|error: BadServer| {
        CommandError::usage(format!("failed to {error}"))
            .help("it is in CLAW_NAMESERVERS: unset it to ask the zone's own")
    })?;
    Ok(Arc::new(named.filter(|(text, _)| !text.is_empty()).map_or(usual, |(_, named)| named)))
}

/// Returns the client of a project.
pub fn client(
    base: &str,
    token: SecretString,
    from: &str,
    observer: Arc<dyn http::Observer>,
    timing: Arc<dyn Timing>,
) -> Result<Client, CommandError> {
    let setup = http::Setup { base, token: Some(token), limits: Limits::default(), observer };
    let http = http::Client::new(setup).map_err(|error| {
        let help = format!("look at the token from {from}, and at HCLOUD_ENDPOINT if it is set");
        CommandError::from_error(exit::INVALID, &error).help(help)
    })?;
    // many requests fail for one reason at one moment: one line says it
    let said: Mutex<Option<Instant>> = Mutex::new(None);
    let tell: Tell = Arc::new(move |event| {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|at| at.elapsed() >= LINE_EVERY) {
            *said = Some(Instant::now());
            render::err(render::style::paint(render::style::DIM, event));
        }
    });
    Ok(Client::new(http, from, tell, timing))
}

/// Makes the tokens known that the environment has for the fleet's clouds: nothing prints them.
pub fn recognise_tokens(fleet: &Fleet, known: &Known) {
    let named = fleet.providers.values().filter_map(|table| table.token.as_deref()?.strip_prefix("env:"));
    for name in named.chain([TOKEN_VARIABLE]) {
        if let Some(value) = std::env::var(name).ok().map(Zeroizing::new) {
            known.add(&format!("token from {name}"), &value);
        }
    }
}

/// Returns a project's token and where it comes from, or why it cannot be had and what to do.
fn token(table: &ProviderTable, secrets: &dyn Secrets) -> Result<(SecretString, String), String> {
    let in_environment = |name: &str| {
        let value = Zeroizing::new(std::env::var(name).unwrap_or_default());
        if value.trim().is_empty() {
            return Err(format!("there is no token: set {name} to one of the project, with read and write permission"));
        }
        Ok((SecretString::from(value.trim()), name.to_owned()))
    };
    let Some(source) = table.token.as_deref() else { return in_environment(TOKEN_VARIABLE) };
    if let Some(name) = source.strip_prefix("env:") {
        return in_environment(name);
    }
    let name = source.strip_prefix("secret:").and_then(|name| name.split_once('/'));
    let Some((profile, key)) = name else { return Err(format!("its token `{source}` is neither env: nor secret:")) };
    let name = SecretName { profile: profile.to_owned(), key: key.to_owned() };
    let told = source.to_owned();
    let value =
        secrets.reveal(&SecretSource::Profile(name)).map_err(|error| format!("{}; {}", error.reason, error.help))?;
    Ok((SecretString::from(value.expose_secret().trim()), told))
}

/// Returns what makes the user data of new machines: a host key of its own for each, and claw's login keys.
pub fn bear(fleet: &str, control: Vec<PublicKey>) -> Box<Bear> {
    let fleet = fleet.to_owned();
    Box::new(move |_host| {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::getrandom(seed.as_mut_slice())
            .map_err(|_| ApplyError::fatal("make a host key: the system has no randomness to give"))?;
        let (private, public) = host_key_pair(&seed);
        // in front of it stands a firewall
        let bootstrap = Bootstrap {
            fleet: &fleet,
            host_key_private: &private,
            host_key_public: &public,
            control: &control,
            from: &[],
        };
        let user_data = bootstrap.user_data().map_err(|error| ApplyError::fatal(error.to_string()))?;
        Ok(Birth { user_data, pin: pin_label(&public) })
    })
}

/// Records every change that is asked of a cloud.
struct Calls {
    audit: Arc<Audit>,
    place: String,
}

impl http::Observer for Calls {
    fn heard(&self, call: &Call) {
        if call.method == http::Method::Get {
            return;
        }
        let detail = format!("{} {}", call.method.as_str(), call.path);
        let failure = match call.status {
            Some(status) if (200..300).contains(&status) => None,
            Some(status) => Some(format!("status {status}")),
            None => Some("no answer".to_owned()),
        };
        self.audit.record(&Deed {
            action: "call",
            target: &self.place,
            detail: &detail,
            key: None,
            failure: failure.as_deref(),
        });
    }
}

/// Hears nothing.
pub struct Deaf;

impl http::Observer for Deaf {
    fn heard(&self, _call: &Call) {}
}

/// A project that cannot be asked: everything in it is unknown.
struct Closed {
    place: String,
    why: String,
}

impl Provider for Closed {
    fn observe<'a>(&'a self, _desired: &'a Desired, _secrets: &'a dyn Secrets) -> BoxFuture<'a, Report> {
        let incomplete = Some(self.why.clone());
        Box::pin(async move { Report { place: self.place.clone(), incomplete, ..Report::default() } })
    }

    fn apply<'a>(
        &'a self,
        step: &'a Step,
        _ctx: StepContext<'a>,
    ) -> BoxFuture<'a, Result<Vec<Observation>, ApplyError>> {
        Box::pin(async move { Err(ApplyError::fatal(format!("change {}: {}", step.address, self.why))) })
    }
}

impl Locate for Closed {
    fn find(&self) -> BoxFuture<'_, Result<Whereabouts, String>> {
        Box::pin(async move { Err(format!("{} could not be seen", self.place)) })
    }

    fn pin(&self, _pins: claw_core::machine::Pins) -> BoxFuture<'_, Result<(), ApplyError>> {
        Box::pin(async move { Err(ApplyError::fatal(format!("keep a pin: {}", self.why))) })
    }
}
