//! A fleet on a simulated Hetzner Cloud, in process: the real provider over a real socket, engines that live and die with
//! their machines, and a clock that whoever waits turns forward.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use claw_core::machine::Birth;
use claw_core::name::Kind;
use claw_core::observed::Observed;
use claw_core::plan::Plan;
use claw_core::provider::{BoxFuture, Provider};
use claw_engine::observe::Providers;
use claw_hetzner::{Client, HetznerProvider, Timing};
use claw_net::http::{self, Call, Limits};
use claw_sim::hetzner::{Cloud, CloudFaults, Handle, LogLine, Options, Poke, Request, ServerView, Status, serve};
use claw_sim::{Faults, Machine, SimEngine, World};
use secrecy::SecretString;
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::lab::{Ear, FLEET, Lab, Outcome, runtime};

/// A fleet of four agents on three machines, with names in a zone.
pub const FOUR: &str = r#"
[providers.hetzner]
[defaults.agent]
model = "anthropic/sonnet"
version = "2026.9.6"
secrets = ["default"]
[defaults.host]
location = "fsn1"
size = ["cx23", "cpx22"]
[ssh]
allow_from = ["203.0.113.0/24"]
[dns."fleet.example"]
provider = "hetzner"
[[dns."fleet.example".records]]
name = "@"
type = "TXT"
values = ["v=spf1 -all"]
[agents.pete]
on = "hetzner"
domain = "pete.fleet.example"
[agents.judy]
on = "hetzner"
host = { size = "cx33", allow_from = ["203.0.113.9"] }
[hosts.shared]
on = "hetzner"
size = "cpx32"
[agents.joe]
on = "shared"
domain = "joe.fleet.example"
[agents.mia]
on = "shared"
"#;

/// One agent on a machine of its own, with a name.
pub const ONE: &str = r#"
[providers.hetzner]
[ssh]
allow_from = ["203.0.113.0/24"]
[dns."fleet.example"]
provider = "hetzner"
[agents.pete]
on = "hetzner"
model = "anthropic/sonnet"
version = "2026.9.6"
secrets = ["default"]
domain = "pete.fleet.example"
host = { location = "fsn1", size = ["cx23", "cpx22"] }
"#;

/// A fleet that wants nothing any more.
pub const NONE: &str = "[providers.hetzner]\n[dns.\"fleet.example\"]\nprovider = \"hetzner\"\n";

/// From where the machines see us.
const SEEN_FROM: &str = "203.0.113.9";
/// When the clock begins, in milliseconds since 1970.
const BEGIN_MS: u64 = 1_780_000_000_000;
/// How often the others get a turn before a wait is over.
const TURNS: u32 = 4;

/// A fleet, a project of the cloud, and what is on the machines in it.
pub struct CloudLab {
    pub lab: Lab,
    pub cloud: Handle,
    pub token: String,
    text: String,
    clock: Arc<AtomicU64>,
    runtime: Runtime,
}

/// What becomes of a run. Its requests and its events are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing ends it but itself.
    Natural,
    /// It is killed before the cloud hears of a request.
    Before(usize),
    /// It is killed when the cloud has done a request, before it hears of that.
    After(usize),
    /// It is killed when it has written an event down.
    Event(usize),
    /// Somebody does something when the cloud has done a request.
    Poke(usize, Poke),
}

/// What one apply came to.
pub struct Applied {
    pub plan: Plan,
    pub outcome: Outcome,
    /// The requests by which was looked.
    pub looks: Vec<LogLine>,
    /// The requests of the steps.
    pub deeds: Vec<LogLine>,
}

/// Something in the project.
struct Thing {
    name: String,
    json: Json,
    is_ours: bool,
}

impl CloudLab {
    /// Returns a fleet over a project in which others live, too, and nothing is ours.
    #[track_caller]
    pub fn new(text: &str) -> Self {
        let mut cloud = Cloud::new();
        cloud.settings.rate_per_hour = 0;
        let lab = Self::over(text, cloud, World::empty(), BEGIN_MS);
        for (path, body) in others() {
            lab.call("POST", path, &body);
        }
        lab.pass(60_000);
        lab
    }

    fn over(text: &str, cloud: Cloud, world: World, now_ms: u64) -> Self {
        let clock = Arc::new(AtomicU64::new(now_ms));
        let time = Arc::clone(&clock);
        let cloud = Handle::new(cloud, move || time.load(Ordering::SeqCst), |_| ());
        let mut lab = Lab::new(text);
        lab.world = world;
        lab.policy.guard_deletes = false;
        let token = "sandbox".to_owned();
        Self { lab, cloud, token, text: text.to_owned(), clock, runtime: runtime() }
    }

    /// Returns a lab of its own in which everything is as it is here now.
    pub fn fork(&self) -> Self {
        let cloud = self.cloud.with(|cloud, _| cloud.clone());
        let mut fork = Self::over(&self.text, cloud, self.lab.world.copy(), self.clock.load(Ordering::SeqCst));
        fork.lab.policy = self.lab.policy.clone();
        fork.token.clone_from(&self.token);
        fork
    }

    /// Has the file say something else.
    #[track_caller]
    pub fn becomes(&mut self, text: &str) -> &mut Self {
        self.lab.becomes(text);
        text.clone_into(&mut self.text);
        self
    }

    /// Replaces texts of the file.
    #[track_caller]
    pub fn edit(&mut self, edits: &[(&str, &str)]) -> &mut Self {
        let mut text = self.text.clone();
        for (from, to) in edits {
            assert!(text.contains(from), "`{from}` is not in the file");
            text = text.replace(from, to);
        }
        self.becomes(&text)
    }

    /// Allows that the data of these agents and hosts is lost.
    pub fn allow(&mut self, names: &[&str]) -> &mut Self {
        self.lab.policy.allow_destroy = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// Lets time pass.
    pub fn pass(&self, millis: u64) {
        self.clock.fetch_add(millis, Ordering::SeqCst);
        self.cloud.with(|_, _| ());
    }

    /// Does something to the project behind claw's back.
    #[track_caller]
    pub fn poke(&self, poke: &Poke) -> &Self {
        self.cloud.with(|cloud, now_ms| cloud.poke(poke, now_ms)).unwrap();
        self
    }

    /// Asks the API past claw, whatever limits and tokens there are.
    #[track_caller]
    pub fn call(&self, method: &str, path: &str, body: &Json) -> Json {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request::new(method, path, "somebody", &body);
        let answer = self.cloud.with(|cloud, now_ms| {
            let mut settings = cloud.settings.clone();
            std::mem::swap(&mut settings, &mut cloud.settings);
            cloud.settings = claw_sim::hetzner::Settings { rate_per_hour: 0, ..Default::default() };
            let answer = cloud.handle(&request, now_ms);
            cloud.settings = settings;
            answer
        });
        assert!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.json());
        answer.json()
    }

    /// Returns the machine of a host.
    #[track_caller]
    pub fn server(&self, id: &str) -> ServerView {
        let name = format!("claw-{FLEET}-{id}");
        self.cloud.with(|cloud, _| cloud.view_server(&name)).unwrap_or_else(|| panic!("there is no {name}"))
    }

    /// Looks and plans, as a new process.
    pub fn plan(&self) -> Plan {
        self.plan_through(Options::default())
    }

    /// The same, with the project served in another way.
    pub fn plan_through(&self, options: Options) -> Plan {
        self.within(options, |base| self.lab.plan_against(&self.look(&self.providers(base))))
    }

    /// Returns the plan as text, one line per thing.
    pub fn text(&self) -> String {
        crate::lab::text(&self.plan())
    }

    /// Looks, plans and applies, as a new process.
    pub fn apply(&self) -> Applied {
        self.apply_with(None, Ending::Natural)
    }

    /// The same while the cloud misbehaves, or until something happens.
    pub fn apply_with(&self, faults: Option<CloudFaults>, ending: Ending) -> Applied {
        let log: Arc<Mutex<Vec<LogLine>>> = Arc::default();
        let (is_armed, end) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
        let mut options = Options { faults, ..Options::default() };
        let (hears, ends, armed) = (Arc::clone(&log), Arc::clone(&end), Arc::clone(&is_armed));
        let (cloud, last, done) = (self.cloud.clone(), ending.clone(), AtomicUsize::new(0));
        options.log = Some(Box::new(move |line| {
            hears.lock().unwrap().push(line.clone());
            if !armed.load(Ordering::SeqCst) {
                return;
            }
            let number = done.fetch_add(1, Ordering::SeqCst) + 1;
            match &last {
                Ending::After(last) if *last == number => ends.notify_one(),
                Ending::Poke(last, poke) if *last == number => {
                    cloud.with(|cloud, now_ms| cloud.poke(poke, now_ms)).unwrap();
                }
                _ => {}
            }
        }));
        let (ends, armed, asked) = (Arc::clone(&end), Arc::clone(&is_armed), AtomicUsize::new(0));
        let last = if let Ending::Before(last) = ending { last } else { usize::MAX };
        options.door = Some(Box::new(move |_| {
            let number = asked.fetch_add(usize::from(armed.load(Ordering::SeqCst)), Ordering::SeqCst) + 1;
            let is_over = armed.load(Ordering::SeqCst) && number >= last;
            if is_over {
                ends.notify_one();
            }
            !is_over
        }));
        self.within(options, |base| {
            let providers = self.providers(base);
            let observed = self.look(&providers);
            let plan = self.lab.plan_against(&observed);
            let looks = std::mem::take(&mut *log.lock().unwrap());
            is_armed.store(true, Ordering::SeqCst);
            let doom = if let Ending::Event(last) = ending { Some((last, Arc::clone(&end))) } else { None };
            let ear = Ear { doom, ..Ear::default() };
            let outcome = self.lab.run_in(&self.runtime, (&plan, &observed), &providers, 8, &end, ear);
            let deeds = std::mem::take(&mut *log.lock().unwrap());
            Applied { plan, outcome, looks, deeds }
        })
    }

    /// Serves the project for as long as something takes.
    fn within<T>(&self, options: Options, work: impl FnOnce(&str) -> T) -> T {
        let (base, server) = self.serve(options);
        let result = work(&base);
        // what was sent and not read yet is lost with it
        server.abort();
        result
    }

    fn serve(&self, options: Options) -> (String, JoinHandle<std::io::Result<()>>) {
        let listener = self.runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        (base, self.runtime.spawn(serve(self.cloud.clone(), listener, options)))
    }

    fn look(&self, providers: &Providers) -> Observed {
        self.lab.look_in(&self.runtime, providers)
    }

    /// Returns providers as a new process has them.
    fn providers(&self, base: &str) -> Providers {
        let token = Some(SecretString::from(self.token.clone()));
        let setup = http::Setup { base, token, limits: Limits::default(), observer: Arc::new(|_: &Call| ()) };
        let timing = Arc::new(Turning(Arc::clone(&self.clock)));
        let client = Client::new(http::Client::new(setup).unwrap(), "HCLOUD_TOKEN", Arc::new(|_| ()), timing);
        let born = AtomicU64::new(self.clock.load(Ordering::SeqCst));
        let bear = move |host: &str| {
            let pin = format!("{:a>52}", born.fetch_add(1, Ordering::SeqCst));
            Ok(Birth { user_data: SecretString::from(format!("#cloud-config\n# {host}\n")), pin })
        };
        let cloud: Arc<dyn Provider> = Arc::new(HetznerProvider::new("hetzner", FLEET, client, Box::new(bear)));
        let mut providers = Providers::from([("hetzner".to_owned(), cloud)]);
        for (name, table) in &self.lab.fleet.hosts {
            let id = table.id.as_deref().unwrap_or(name);
            let engine = SimEngine::new(name, self.lab.world.clone(), Faults::default(), || "now".to_owned());
            let engine = engine.on(machine(self.cloud.clone(), id)).seen_from(SEEN_FROM);
            providers.insert(name.clone(), Arc::new(engine));
        }
        providers
    }

    /// Applies in calm weather until there is nothing left to do, and returns how often. More than a few is a failure.
    pub fn converge(&self) -> Result<usize, String> {
        const APPLIES_MAX: usize = 3;
        for applies in 0..=APPLIES_MAX {
            let plan = self.plan();
            if plan.is_empty() {
                return Ok(applies);
            }
            if applies == APPLIES_MAX {
                return Err(format!("after {applies} applies there is still to do:\n{}", crate::lab::text(&plan)));
            }
            let applied = self.apply();
            if applied.outcome.summary.as_ref().is_none_or(|summary| summary.failed > 0) && applies + 1 == APPLIES_MAX {
                return Err(format!("the last apply fails: {}", applied.failures()));
            }
        }
        unreachable!("the last round returns")
    }

    /// Asserts that there is nothing left to do, nothing is there twice, and nothing is left over.
    #[track_caller]
    pub fn converged(&self) {
        let plan = self.plan();
        assert!(plan.is_empty(), "{}", crate::lab::text(&plan));
        assert_eq!(self.breaches(), [""; 0]);
    }

    /// Returns what is wrong with the project, as somebody else sees it who knows what the fleet wants.
    pub fn breaches(&self) -> Vec<String> {
        let things = self.things();
        let mut breaches = Vec::new();
        let ours = || things.iter().filter(|thing| thing.is_ours);
        let (marked, wanted) = (ours().map(|thing| thing.name.clone()).collect::<Vec<_>>(), self.wanted());
        if marked != wanted {
            breaches.push(format!("in the project is {marked:#?}, and shall be {wanted:#?}"));
        }
        let servers = ours().filter(|thing| thing.name.starts_with("server "));
        breaches.extend(servers.filter_map(|server| Self::odd_server(server, &things)));
        breaches
    }

    /// Returns what is odd about a machine of the fleet.
    fn odd_server(server: &Thing, things: &[Thing]) -> Option<String> {
        let net = &server.json["public_net"];
        let id = |kind: &str| {
            let name = server.name.replace("server", "address");
            let own = things.iter().find(|thing| thing.is_ours && thing.name == format!("{name} {kind}"));
            own.map_or(Json::Null, |own| own.json["id"].clone())
        };
        let firewalls = net["firewalls"].as_array().map_or(0, Vec::len);
        let is_whole = server.json["status"] == "running"
            && server.json["protection"] == json!({ "delete": true, "rebuild": true })
            && net["ipv4"]["id"] == id("ipv4")
            && net["ipv6"]["id"] == id("ipv6")
            && firewalls == 1;
        (!is_whole).then(|| format!("{} is not whole: {:#}", server.name, server.json))
    }

    /// Returns everything with our mark, by what it is and its name.
    pub fn marked(&self) -> Vec<String> {
        self.things().into_iter().filter(|thing| thing.is_ours).map(|thing| thing.name).collect()
    }

    /// Returns everything without our mark, as it stands.
    pub fn foreign(&self) -> BTreeSet<String> {
        let others = self.things().into_iter().filter(|thing| !thing.is_ours);
        others.map(|thing| format!("{}{}", thing.name, thing.json)).collect()
    }

    /// Returns what is not as the others had it, if anything.
    pub fn touched(&self, before: &BTreeSet<String>) -> Option<String> {
        let now = self.foreign();
        let (gone, new) = (before.difference(&now), now.difference(before));
        (*before != now).then(|| format!("gone from others: {gone:#?}\nnew and without our mark: {new:#?}"))
    }

    fn wanted(&self) -> Vec<String> {
        let here = self.lab.desired.resources.keys().filter(|address| address.place == "hetzner");
        let mut wanted: Vec<String> = here
            .flat_map(|address| match address.id.kind {
                Kind::Address => ["ipv4", "ipv6"].map(|kind| format!("address {} {kind}", address.id.name)).to_vec(),
                kind => vec![format!("{kind} {}", address.id.name)],
            })
            .collect();
        wanted.sort();
        wanted
    }

    fn things(&self) -> Vec<Thing> {
        let mut things = Vec::new();
        for (path, word) in
            [("servers", "server"), ("primary_ips", "address"), ("firewalls", "firewall"), ("ssh_keys", "sshkey")]
        {
            let kind =
                |json: &Json| if word == "address" { format!(" {}", text(&json["type"])) } else { String::new() };
            let name = |json: &Json| format!("{word} {}{}", text(&json["labels"]["claw-name"]), kind(json));
            things.extend(self.list(path, path).into_iter().map(|json| thing(name(&json), json)));
        }
        for zone in self.list("zones", "zones") {
            let zone = text(&zone["name"]).to_owned();
            let sets = self.list(&format!("zones/{zone}/rrsets"), "rrsets");
            // its serial number counts every change of the zone
            for json in sets.into_iter().filter(|set| set["type"] != "SOA") {
                let name = match text(&json["name"]) {
                    "@" => zone.clone(),
                    name => format!("{name}.{zone}"),
                };
                things.push(thing(format!("dns {name}:{}", text(&json["type"])), json));
            }
        }
        things.sort_by(|a, b| (&a.name, a.json["id"].to_string()).cmp(&(&b.name, b.json["id"].to_string())));
        things
    }

    fn list(&self, path: &str, key: &str) -> Vec<Json> {
        let found = self.call("GET", &format!("/v1/{path}?per_page=50"), &Json::Null);
        let total = &found["meta"]["pagination"]["total_entries"];
        let items = found[key].as_array().cloned().unwrap_or_default();
        assert_eq!(total.as_u64(), Some(items.len() as u64), "all of {path} is on one page");
        items
    }
}

impl Applied {
    /// Returns why steps failed.
    pub fn failures(&self) -> String {
        use claw_engine::event::EventKind::StepFailed;
        let told = self.outcome.events.iter().filter_map(|event| match event {
            StepFailed { address, reason, help, .. } => {
                Some(format!("{address}: {reason} [{}]", help.as_deref().unwrap_or("-")))
            }
            _ => None,
        });
        told.collect::<Vec<_>>().join("\n")
    }

    /// Asserts that every step was done.
    #[track_caller]
    pub fn ok(self) -> Self {
        let summary = self.outcome.summary.clone().unwrap();
        let done = (summary.done, summary.failed) == (self.plan.steps.len(), 0);
        assert!(done, "{summary:?}\n{}\n{}", crate::lab::text(&self.plan), self.failures());
        self
    }

    /// Asserts that a step failed, and says why.
    #[track_caller]
    pub fn fails_saying(self, text: &str) -> Self {
        assert!(self.failures().contains(text), "it does not say `{text}`: {}", self.failures());
        self
    }
}

fn thing(name: String, json: Json) -> Thing {
    let is_ours = json["labels"]["claw-fleet"] == FLEET;
    Thing { name, json, is_ours }
}

fn text(json: &Json) -> &str {
    json.as_str().unwrap_or_default()
}

/// What others have in the project: nothing of it is ever to change.
fn others() -> Vec<(&'static str, Json)> {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f somebody";
    let rule = json!({ "direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["0.0.0.0/0"] });
    let machine = |name: &str, labels: Json| {
        let place = json!({ "server_type": "cpx22", "image": "debian-12", "location": "fsn1" });
        let mut body = place.as_object().unwrap().clone();
        body.extend([("name".to_owned(), name.into()), ("labels".to_owned(), labels)]);
        ("/v1/servers", Json::Object(body))
    };
    let record = |value: &str| json!([{ "value": value }]);
    vec![
        ("/v1/ssh_keys", json!({ "name": "somebody", "public_key": key })),
        ("/v1/firewalls", json!({ "name": "somebody", "rules": [rule] })),
        ("/v1/primary_ips", json!({ "name": "spare", "type": "ipv4", "location": "fsn1", "assignee_type": "server" })),
        machine("web", json!({})),
        machine("claw-k7f3q2-almost", json!({ "claw-name": "almost" })),
        machine("claw-other-pete", json!({ "claw-fleet": "other", "claw-name": "pete" })),
        ("/v1/zones", json!({ "name": "fleet.example", "mode": "primary" })),
        ("/v1/zones", json!({ "name": "other.example", "mode": "primary" })),
        ("/v1/zones/fleet.example/rrsets", json!({ "name": "www", "type": "A", "records": record("198.51.100.1") })),
        ("/v1/zones/other.example/rrsets", json!({ "name": "pete", "type": "A", "records": record("198.51.100.2") })),
    ]
}

/// Returns what an engine knows of the machine it is on.
fn machine(cloud: Handle, id: &str) -> impl Fn() -> Machine + Send + Sync + 'static {
    let marks = [("claw-fleet", FLEET), ("claw-name", id)].map(|(key, value)| (key.to_owned(), value.to_owned()));
    move || {
        let servers = cloud.with(|cloud, _| cloud.view_servers());
        let mine = |labels: &BTreeMap<String, String>| marks.iter().all(|(key, value)| labels.get(key) == Some(value));
        match servers.iter().find(|server| mine(&server.labels)) {
            None => Machine::Nowhere,
            Some(server) if server.status != Status::Running => Machine::Away("the machine is not running".to_owned()),
            Some(server) => Machine::Here(format!("{}/{}", server.id, server.rebuilt)),
        }
    }
}

/// A clock that who waits turns forward, once the others had their turn.
struct Turning(Arc<AtomicU64>);

impl Timing for Turning {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn unix_seconds(&self) -> u64 {
        self.now().as_secs()
    }

    fn sleep(&self, wait: Duration) -> BoxFuture<'static, ()> {
        let (clock, due) = (Arc::clone(&self.0), self.now() + wait);
        Box::pin(async move {
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
            clock.fetch_max(u64::try_from(due.as_millis()).unwrap(), Ordering::SeqCst);
        })
    }

    fn chance(&self) -> f64 {
        0.5
    }
}
