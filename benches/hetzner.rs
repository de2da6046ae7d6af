//! What looking at a fleet on the Hetzner Cloud costs, and how close an apply comes to the time the cloud itself takes:
//! `cargo bench --bench hetzner`. The cloud is the simulated one of `claw sandbox serve`, on a real socket, with 50 ms added
//! to every answer; what is on a machine is a model that takes no time. Prints tables; asserts nothing about time.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use claw_core::compile::{Surroundings, compile};
use claw_core::desired::Desired;
use claw_core::fleet::{Fleet, SourceFile, load};
use claw_core::machine::Birth;
use claw_core::observed::Observed;
use claw_core::plan::{Inputs, Plan, Policy, plan};
use claw_core::provider::{Provider, Rulebook, Rules};
use claw_core::secret::{Fingerprint, SecretError, SecretSource, Secrets};
use claw_core::ssh::{ControlKey, Standing};
use claw_docker::DockerRules;
use claw_engine::apply::{Run, STEPS_AT_ONCE, Surroundings as Around, apply};
use claw_engine::event::{Event, Listener};
use claw_engine::journal::Journal;
use claw_engine::observe::{Providers, observe};
use claw_hetzner::{Client, HetznerProvider, HetznerRules, RealTiming};
use claw_host::HostRules;
use claw_net::http;
use claw_sim::hetzner::{Cloud, Handle, Options, Request, Status, serve};
use claw_sim::{Faults, Machine, SimEngine, World};
use secrecy::SecretString;

const SIZES: [usize; 3] = [10, 100, 1_000];
/// How often each size is timed; the middle time counts.
const ROUNDS: usize = 5;
/// Added to every answer.
const LATENCY: Duration = Duration::from_millis(50);
/// How many agents the apply makes.
const NEW: usize = 50;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    println!("agents  machines  requests  kinds*ceil(N/50)+5  wall ms  round trips  transfer ms");
    for agents in SIZES {
        runtime.block_on(look(agents));
    }
    println!();
    let path = runtime.block_on(make(1));
    let all = runtime.block_on(make(NEW));
    println!("apply of 1 new agent, the critical path: {:.1} s", path.as_secs_f64());
    println!("apply of {NEW} new agents: {:.1} s, {:.2} x", all.as_secs_f64(), all.as_secs_f64() / path.as_secs_f64());
}

/// A no-change plan of a fleet that stands.
async fn look(agents: usize) {
    let bench = Bench::new(agents);
    // it comes to stand without waiting
    bench.handle.with(|cloud, _| cloud.settings.speed = 0.0);
    let quick = bench.providers(Duration::ZERO).await;
    bench.apply(&quick).await;
    let transfer = median(ROUNDS, async || bench.time(&quick).await).await;
    let slow = bench.providers(LATENCY).await;
    let before = bench.handle.log().len();
    bench.time(&slow).await;
    let log = bench.handle.log();
    // the log keeps the last 10,000
    let requests = if log.len() > before { log.len() - before } else { recent(&bench).await };
    let wall = median(ROUNDS, async || bench.time(&slow).await).await;
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    println!(
        "{agents:>6}  {agents:>8}  {requests:>8}  {:>18}  {:>7.0}  {:>11.1}  {:>11.0}",
        5 * agents.div_ceil(50) + 5,
        ms(wall),
        (ms(wall) - ms(transfer)).max(0.0) / ms(LATENCY),
        ms(transfer),
    );
}

/// Counts the requests of one look by the client's own counter, where the log is full.
async fn recent(bench: &Bench) -> usize {
    let (client, providers) = bench.counted(LATENCY).await;
    let before = client.calls();
    bench.time(&providers).await;
    usize::try_from(client.calls() - before).unwrap_or(usize::MAX)
}

/// An apply on an empty project, in the cloud's own time.
async fn make(agents: usize) -> Duration {
    let bench = Bench::new(agents);
    let providers = bench.providers(LATENCY).await;
    let begun = Instant::now();
    bench.apply(&providers).await;
    begun.elapsed()
}

async fn median(rounds: usize, mut once: impl AsyncFnMut() -> Duration) -> Duration {
    let mut times = Vec::new();
    for _ in 0..rounds {
        times.push(once().await);
    }
    times.sort();
    times[times.len() / 2]
}

struct Bench {
    fleet: Fleet,
    desired: Desired,
    rules: Rulebook,
    handle: Handle,
    world: World,
}

impl Bench {
    fn new(agents: usize) -> Self {
        let text = fleet_text(agents);
        let fleet = load(&[SourceFile { path: "fleet.toml".into(), text }]).0.expect("the fleet is valid");
        let hosts: Arc<dyn Rules> = Arc::new(HostRules::new(Arc::new(DockerRules)));
        let mut rules: Rulebook = fleet.hosts.keys().map(|name| (name.clone(), Arc::clone(&hosts))).collect();
        rules.insert("hetzner".to_owned(), Arc::new(HetznerRules));
        let around = Surroundings {
            profiles: [("default".to_owned(), vec!["ANTHROPIC_API_KEY".to_owned()])].into(),
            control_keys: vec![ControlKey {
                standing: Standing::Current,
                public: KEY.parse().expect("a key"),
                since: "2026-01-01".to_owned(),
            }],
            ..Surroundings::default()
        };
        let (mut desired, _) = compile(&fleet, &around, &rules).expect("the fleet is valid");
        desired.resolve(&Plain);
        let mut cloud = Cloud::new();
        cloud.settings.rate_per_hour = 0;
        let body = serde_json::json!({ "name": "bench.example", "mode": "primary" }).to_string();
        cloud.handle(&Request::new("POST", "/v1/zones", "token", &body), now_ms());
        let handle = Handle::new(cloud, now_ms, |_| ());
        Self { fleet, desired, rules, handle, world: World::empty() }
    }

    async fn providers(&self, latency: Duration) -> Providers {
        self.counted(latency).await.1
    }

    async fn counted(&self, latency: Duration) -> (Client, Providers) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}/v1", listener.local_addr().expect("an address"));
        tokio::spawn(serve(self.handle.clone(), listener, Options { latency, ..Options::default() }));
        let setup = http::Setup {
            base: &base,
            token: Some(SecretString::from("token")),
            limits: http::Limits::default(),
            observer: Arc::new(Deaf),
        };
        let http = http::Client::new(setup).expect("a client");
        let client = Client::new(http, "the benchmark", Arc::new(|_| ()), Arc::new(RealTiming::default()));
        let bear = |_: &str| {
            let user_data = SecretString::from("#cloud-config\n{}\n");
            Ok(Birth { user_data, pin: "a".repeat(52) })
        };
        let fleet = &self.fleet.meta.id;
        let hetzner = HetznerProvider::new("hetzner", fleet, client.clone(), Box::new(bear));
        let mut providers: Providers = [("hetzner".to_owned(), Arc::new(hetzner) as Arc<dyn Provider>)].into();
        for name in self.fleet.hosts.keys() {
            let engine = SimEngine::new(name, self.world.clone(), Faults::default(), || "now".to_owned());
            let engine = engine.on(machine(self.handle.clone(), format!("claw-{fleet}-{name}")));
            providers.insert(name.clone(), Arc::new(engine));
        }
        (client, providers)
    }

    async fn plan(&self, providers: &Providers) -> (Observed, Plan) {
        let observed = observe(providers, &self.desired, &Plain).await;
        let (unresolved, policy) = (BTreeMap::new(), Policy::default());
        let inputs = Inputs {
            desired: &self.desired,
            unresolved: &unresolved,
            observed: &observed,
            rules: &self.rules,
            policy: &policy,
        };
        let plan = plan(inputs);
        (observed, plan)
    }

    /// Looks once, and returns how long the API part of it took.
    async fn time(&self, providers: &Providers) -> Duration {
        // machines that were looked at a moment ago are not asked for again
        tokio::time::sleep(Duration::from_millis(2_100)).await;
        let begun = Instant::now();
        let report = providers["hetzner"].observe(&self.desired, &Plain).await;
        let took = begun.elapsed();
        assert_eq!(report.incomplete, None);
        took
    }

    async fn apply(&self, providers: &Providers) {
        let (observed, plan) = self.plan(providers).await;
        assert!(plan.held.is_empty(), "nothing is held: {:?}", plan.held.first());
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = Journal::open(folder.path(), "run", &claw_core::mask::Known::default()).expect("a journal");
        let run = Run {
            id: "run",
            plan: &plan,
            desired: &self.desired,
            observed: &observed,
            secrets: &Plain,
            providers,
            at_once: STEPS_AT_ONCE,
        };
        let stop = AtomicBool::new(false);
        let around = Around { now: &|| "now".to_owned(), chance: &|| 0.5, stop: &stop, listener: &Silent };
        let summary = apply(run, around, &mut journal).await.expect("the journal holds");
        assert_eq!((summary.failed, summary.done), (0, plan.steps.len()));
        let (_, again) = self.plan(providers).await;
        assert!(again.is_empty(), "{:?} {:?}", again.steps.first(), again.held.first());
    }
}

/// Each agent has a machine of its own and a name.
fn fleet_text(agents: usize) -> String {
    let mut text = "[fleet]\nname = \"bench\"\nid = \"bench1\"\n[providers.hetzner]\n\
        [defaults.host]\nlocation = \"fsn1\"\nsize = \"cx23\"\n[dns.\"bench.example\"]\nprovider = \"hetzner\"\n\
        [defaults.agent]\non = \"hetzner\"\nversion = \"2026.9.6\"\nmodel = \"anthropic/claude-sonnet-5\"\n\
        secrets = [\"default\"]\n"
        .to_owned();
    for number in 0..agents {
        let _ = writeln!(text, "[agents.a{number}]\ndomain = \"a{number}.bench.example\"");
    }
    text
}

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIoFXjWAMTYQe9aHHV9ccGY9aFkkFGtDN1G5BG0gQvzx";

fn machine(handle: Handle, name: String) -> impl Fn() -> Machine + Send + Sync + 'static {
    move || match handle.with(|cloud, _| cloud.view_server(&name)) {
        None => Machine::Nowhere,
        Some(server) if server.status != Status::Running => Machine::Away("it is not running".to_owned()),
        Some(server) => Machine::Here(server.id.to_string()),
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

struct Deaf;

impl http::Observer for Deaf {
    fn heard(&self, _call: &http::Call) {}
}

struct Silent;

impl Listener for Silent {
    fn hear(&self, _event: &Event) {}
}

struct Plain;

impl Secrets for Plain {
    fn reveal(&self, source: &SecretSource) -> Result<SecretString, SecretError> {
        Ok(SecretString::from(source.to_string()))
    }

    fn fingerprint(&self, value: &[u8]) -> Result<Fingerprint, SecretError> {
        let mut digest = [0; 32];
        for (at, byte) in value.iter().enumerate() {
            digest[at % 32] ^= *byte;
        }
        Ok(Fingerprint(digest))
    }
}
