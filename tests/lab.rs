//! A fleet over the simulated world, without the binary: what the tests of plans and of runs share.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use claw_core::compile::{Surroundings, compile, percent};
use claw_core::desired::Desired;
use claw_core::fleet::{Fleet, SourceFile, load};
use claw_core::name::Address;
use claw_core::observed::{Observation, Observed, Report};
use claw_core::plan::{Action, Inputs, Plan, Policy, Reason, Step, plan};
use claw_core::provider::{ApplyError, BoxFuture, Provider, Rulebook, Rules, StepContext};
use claw_core::secret::{Fingerprint, SecretError, SecretSource, Secrets};
use claw_core::ssh::{ControlKey, Standing};
use claw_core::value::Value;
use claw_docker::DockerRules;
use claw_engine::apply::{Run, Summary, Surroundings as Around, apply};
use claw_engine::event::{Event, EventKind, Listener};
use claw_engine::journal::Journal;
use claw_engine::observe::{Providers, observe};
use claw_hetzner::HetznerRules;
use claw_host::{HostRules, host_key_pair};
use claw_sim::{Faults, Poke, SimEngine, World};
use secrecy::SecretString;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

/// The day it is in the lab.
pub const TODAY: &str = "2026-06-15";
/// The fleet's id in the lab.
pub const FLEET: &str = "k7f3q2";
/// What every secret value of the lab contains: no output may.
pub const CANARY: &str = "canary-7f1c";

/// A fleet, a world, and the limits plans keep to.
pub struct Lab {
    pub fleet: Fleet,
    pub desired: Desired,
    pub rules: Rulebook,
    pub unresolved: BTreeMap<Address, SecretError>,
    pub safe: Safe,
    pub world: World,
    pub policy: Policy,
}

/// Secret values in memory. A digest here needs to be no more than stable.
#[derive(Clone, Default)]
pub struct Safe {
    pub values: BTreeMap<String, String>,
    pub locked: BTreeSet<String>,
}

impl Safe {
    /// Returns a safe with a profile `default` of two keys.
    pub fn usual() -> Self {
        let value = |key: &str| (format!("default/{key}"), format!("{CANARY}-{key}"));
        Self { values: [value("ANTHROPIC_API_KEY"), value("BOT")].into(), locked: BTreeSet::new() }
    }

    fn profiles(&self) -> BTreeMap<String, Vec<String>> {
        let mut profiles: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (profile, key) in self.values.keys().filter_map(|name| name.split_once('/')) {
            profiles.entry(profile.to_owned()).or_default().push(key.to_owned());
        }
        profiles
    }
}

impl Secrets for Safe {
    fn reveal(&self, source: &SecretSource) -> Result<SecretString, SecretError> {
        let name = source.to_string();
        if self.locked.contains(&name) {
            let reason = format!("no identity opens {name}");
            return Err(SecretError { reason, help: "bring one".to_owned() });
        }
        match source {
            SecretSource::Profile(_) => Ok(self.values[&name].clone().into()),
            SecretSource::GatewayToken(agent) => Ok(format!("{CANARY}-token-{agent}").into()),
        }
    }

    fn fingerprint(&self, value: &[u8]) -> Result<Fingerprint, SecretError> {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&hasher.finish().to_le_bytes());
        Ok(Fingerprint(digest))
    }
}

impl Lab {
    /// Returns the fleet over an empty world. The `[fleet]` and `[providers.docker]` tables are added.
    pub fn new(fleet: &str) -> Self {
        let mut lab = Self {
            fleet: load(&[source("")]).0.unwrap(),
            desired: Desired::default(),
            rules: Rulebook::new(),
            unresolved: BTreeMap::new(),
            safe: Safe::usual(),
            world: World::empty(),
            policy: Policy { today: TODAY.to_owned(), ..Policy::default() },
        };
        lab.becomes(fleet);
        lab
    }

    /// Has the file say something else. The world stays.
    #[track_caller]
    pub fn becomes(&mut self, text: &str) -> &mut Self {
        let (fleet, problems) = load(&[source(text)]);
        assert!(problems.is_empty(), "{problems:#?}\n{text}");
        self.fleet = fleet.unwrap();
        self.rules = rules(&self.fleet);
        let seeds = BTreeMap::from([("SOUL.md".to_owned(), Arc::from(b"be kind".as_slice()))]);
        let around = Surroundings {
            profiles: self.safe.profiles(),
            workspaces: [("workspaces/w".to_owned(), seeds)].into(),
            destinations: Default::default(),
            control_keys: vec![control_key()],
        };
        let compiled = compile(&self.fleet, &around, &self.rules);
        self.desired = compiled.unwrap_or_else(|problems| panic!("{problems:#?}\n{text}")).0;
        self.unresolved = self.desired.resolve(&self.safe);
        let limit = self.fleet.policy.delete_max.as_deref().and_then(percent);
        self.policy.delete_max_percent = limit.unwrap_or(Policy::default().delete_max_percent);
        self
    }

    /// Does something to the world behind claw's back.
    #[track_caller]
    pub fn poke(&self, poke: Poke) -> &Self {
        poke.apply(&self.world).unwrap();
        self
    }

    /// Returns engines over the world, without bad luck.
    pub fn engines(&self) -> Providers {
        self.engines_with(|_| Faults::default())
    }

    /// Returns engines over the world, each with its bad luck.
    pub fn engines_with(&self, faults: impl Fn(usize) -> Faults) -> Providers {
        let names = self.fleet.providers.keys().enumerate();
        names
            .map(|(at, name)| {
                let engine = SimEngine::new(name, self.world.clone(), faults(at), || "2026-01-01T00:00:00Z".to_owned());
                (name.clone(), Arc::new(engine) as Arc<dyn Provider>)
            })
            .collect()
    }

    pub fn look(&self) -> Observed {
        self.look_with(&self.engines())
    }

    pub fn look_with(&self, engines: &Providers) -> Observed {
        self.look_in(&runtime(), engines)
    }

    /// Looks, with whatever else goes on in a runtime.
    pub fn look_in(&self, runtime: &Runtime, engines: &Providers) -> Observed {
        runtime.block_on(observe(engines, &self.desired, &self.safe))
    }

    pub fn plan(&self) -> Plan {
        self.plan_against(&self.look())
    }

    pub fn plan_against(&self, observed: &Observed) -> Plan {
        let Self { desired, unresolved, rules, policy, .. } = self;
        plan(Inputs { desired, unresolved, observed, rules, policy })
    }

    /// Plans and does it; everything has to go well.
    #[track_caller]
    pub fn apply(&self) -> &Self {
        let plan = self.plan();
        let outcome = self.run(&plan, &self.engines(), 8);
        let summary = outcome.summary.clone().unwrap();
        assert_eq!((summary.done, summary.failed), (plan.steps.len(), 0), "{:#?}", outcome.events);
        self
    }

    /// Does a plan, waiting for nothing between tries.
    pub fn run(&self, plan: &Plan, engines: &Providers, at_once: usize) -> Outcome {
        self.run_until(plan, engines, at_once, &Notify::new())
    }

    /// Does a plan until it is through or the world ends: then everything that runs is dropped on the spot.
    pub fn run_until(&self, plan: &Plan, engines: &Providers, at_once: usize, end: &Notify) -> Outcome {
        self.run_in(&runtime(), (plan, &Observed::default()), engines, at_once, end, Ear::default())
    }

    /// The same after a look, with whatever else goes on in a runtime.
    pub fn run_in(
        &self,
        runtime: &Runtime,
        (plan, observed): (&Plan, &Observed),
        engines: &Providers,
        at_once: usize,
        end: &Notify,
        ear: Ear,
    ) -> Outcome {
        let folder = folder();
        let mut journal = Journal::open(folder.path(), "run", &claw_core::mask::Known::default()).unwrap();
        let stop = AtomicBool::new(false);
        let run =
            Run { id: "run", plan, desired: &self.desired, observed, secrets: &self.safe, providers: engines, at_once };
        let around = Around { now: &|| "now".to_owned(), chance: &|| 0.0, stop: &stop, listener: &ear };
        let summary = runtime.block_on(async {
            tokio::select! {
                biased;
                () = end.notified() => None,
                summary = apply(run, around, &mut journal) => Some(summary.unwrap()),
            }
        });
        let journal = std::fs::read_to_string(journal.path()).unwrap();
        Outcome { summary, events: ear.heard.into_inner().unwrap(), journal }
    }

    /// Returns the plan as text, one line per thing.
    pub fn text(&self) -> String {
        text(&self.plan())
    }
}

/// What a run came to.
pub struct Outcome {
    /// How it ended; `None` if the world ended first.
    pub summary: Option<Summary>,
    pub events: Vec<EventKind>,
    pub journal: String,
}

/// Remembers every event.
#[derive(Default)]
pub struct Ear {
    pub heard: Mutex<Vec<EventKind>>,
    /// At which event the world ends.
    pub doom: Option<(usize, Arc<Notify>)>,
}

impl Listener for Ear {
    fn hear(&self, event: &Event) {
        let mut heard = self.heard.lock().unwrap();
        heard.push(event.kind.clone());
        if let Some((_, end)) = self.doom.as_ref().filter(|(last, _)| heard.len() == *last) {
            end.notify_one();
        }
    }
}

/// An engine that takes its time, so that steps overlap, and at whose n-th change the world ends.
pub struct Doomed {
    pub inner: Arc<dyn Provider>,
    /// Changes begun, counted over all engines.
    pub begun: Arc<AtomicUsize>,
    /// At which change the world ends, and whether that change still takes effect.
    pub doom: Option<(usize, bool)>,
    pub end: Arc<Notify>,
    /// Chooses who waits how long.
    pub seed: AtomicU64,
}

impl Doomed {
    /// Returns the engines, doomed together.
    pub fn wrap(engines: Providers, seed: u64, doom: Option<(usize, bool)>) -> (Providers, Arc<Notify>) {
        let (begun, end) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let wrap = |inner| Self { inner, begun: begun.clone(), doom, end: end.clone(), seed: AtomicU64::new(seed) };
        let engines = engines.into_iter().map(|(name, inner)| (name, Arc::new(wrap(inner)) as Arc<dyn Provider>));
        (engines.collect(), end.clone())
    }

    async fn dawdle(&self) {
        let seed = self.seed.fetch_add(1, Ordering::SeqCst).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        for _ in 0..(seed >> 61) {
            tokio::task::yield_now().await;
        }
    }
}

impl Provider for Doomed {
    fn observe<'a>(&'a self, desired: &'a Desired, secrets: &'a dyn Secrets) -> BoxFuture<'a, Report> {
        self.inner.observe(desired, secrets)
    }

    fn apply<'a>(
        &'a self,
        step: &'a Step,
        ctx: StepContext<'a>,
    ) -> BoxFuture<'a, Result<Vec<Observation>, ApplyError>> {
        Box::pin(async move {
            self.dawdle().await;
            let number = self.begun.fetch_add(1, Ordering::SeqCst);
            if let Some((last, takes_effect)) = self.doom.filter(|(last, _)| number >= *last) {
                if takes_effect && number == last {
                    let _ = self.inner.apply(step, ctx).await;
                }
                self.end.notify_one();
                std::future::pending::<()>().await;
            }
            let seen = self.inner.apply(step, ctx).await;
            self.dawdle().await;
            seen
        })
    }
}

/// Returns bad luck that cuts every list short.
pub fn always_cut(seed: u64) -> Faults {
    let mut faults = Faults::new(seed, 0);
    faults.cut_permille = 1000;
    faults
}

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().enable_io().build().unwrap()
}

/// Returns a folder for a journal, in memory where there is such a place: each event is synced.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn source(fleet: &str) -> SourceFile {
    let docker = if fleet.contains("[providers.hetzner]") { "" } else { "[providers.docker]\n" };
    let text = format!("[fleet]\nname = \"test\"\nid = \"{FLEET}\"\n{docker}{fleet}");
    SourceFile { path: "fleet.toml".to_owned(), text }
}

fn rules(fleet: &Fleet) -> Rulebook {
    let (docker, cloud): (Arc<dyn Rules>, Arc<dyn Rules>) = (Arc::new(DockerRules), Arc::new(HetznerRules));
    let host: Arc<dyn Rules> = Arc::new(HostRules::new(docker.clone()));
    let providers = fleet.providers.keys().map(|name| {
        let rules = if fleet.cloud(name).is_some() { &cloud } else { &docker };
        (name.clone(), rules.clone())
    });
    providers.chain(fleet.hosts.keys().map(|name| (name.clone(), host.clone()))).collect()
}

/// Returns claw's login key in the lab.
fn control_key() -> ControlKey {
    let (_, public) = host_key_pair(&[7; 32]);
    ControlKey { standing: Standing::Current, public, since: TODAY.to_owned() }
}

/// Returns a plan as text, one line per thing.
pub fn text(plan: &Plan) -> String {
    let mut out = String::new();
    for (place, why) in &plan.unseen {
        writeln!(out, "? {place}: {why}").unwrap();
    }
    for one in &plan.suspended {
        let reason = one.reason.as_deref().unwrap_or("-");
        writeln!(out, "‖ {} until {}: {reason}", one.name, one.until).unwrap();
    }
    for step in &plan.steps {
        let sign = match step.action {
            Action::Create { .. } => '+',
            Action::Update { .. } => '~',
            Action::Replace { .. } => '±',
            Action::Delete { .. } => '-',
        };
        let effect = serde_json::to_value(step.effect).unwrap();
        writeln!(out, "{sign} {} ({})", full(&step.address), effect.as_str().unwrap()).unwrap();
        for change in step.action.changes() {
            let side =
                |value: &Option<Value>| value.as_ref().map_or("-".to_owned(), |value| value.to_json().to_string());
            writeln!(out, "    {}: {} → {}", change.path, side(&change.before), side(&change.after)).unwrap();
        }
    }
    for held in &plan.held {
        let why = match &held.reason {
            Reason::Unknown { why } => format!("unknown, {why}"),
            Reason::Foreign => "foreign".to_owned(),
            Reason::Data { name } => format!("data of {name}"),
            Reason::Moved { name, from } => format!("data of {name} is on {from}"),
            Reason::DeleteMax { wanted, allowed } => format!("{wanted} deletes, {allowed} allowed"),
            Reason::LockOut { from } => format!("would shut out {from}"),
            Reason::Uncommitted => "key in no commit".to_owned(),
            Reason::Suspended { until } => format!("suspended until {until}"),
            Reason::Secret { why, .. } => format!("secret, {why}"),
            Reason::Waits { on } => format!("waits for {}", full(on)),
        };
        writeln!(out, "! {} {}: {why}", held.would, full(&held.address)).unwrap();
    }
    writeln!(out, "= {} unchanged", plan.unchanged.len()).unwrap();
    out
}

fn full(address: &Address) -> String {
    if address.place == "docker" { address.to_string() } else { format!("{address} on {}", address.place) }
}
