//! A cloud with real machines in it: the simulated Hetzner API on loopback, and a container with sshd, cloud-init and an
//! engine for each server that its project has. Whoever turns a server off, on, away or into another does so to the
//! container, too. Its network is the test's own.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use claw_net::dns::{Ask, NameServers};
use claw_sim::hetzner::{Cloud, Handle, NameServer, Options, Request, ServerView, Status, serve, serve_dns};
use tokio::sync::oneshot;

use crate::machine::OPTIONS;
use crate::support::{Fleet, docker, have_image};

/// The zone of every project.
pub const ZONE: &str = "brabec.example";
const IMAGE: &str = "claw-test/host:cloud-engine";
/// How often the machines are compared with the project.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What takes how long in the project, in milliseconds: what a machine does itself takes its own time on top.
const DURATIONS_MS: [(&str, u64); 7] = [
    ("create_server", 300),
    ("start_server", 200),
    ("stop_server", 1000),
    ("shutdown_server", 50),
    ("delete_server", 200),
    ("change_server_type", 500),
    ("rebuild_server", 500),
];

/// Whether such clouds can be had here.
pub fn regions() -> bool {
    have_image("machine", IMAGE, ".ci/host-image")
}

/// One project, and the machines in it.
pub struct Region {
    pub handle: Handle,
    endpoint: String,
    /// The name servers of its zone, and where they listen.
    pub names: Vec<Arc<NameServer>>,
    name_servers: String,
    /// What the machines are called begins with this; so is their network.
    name: String,
    /// What a new machine does not look at.
    ignores_user_data: Arc<AtomicBool>,
    ending: Arc<AtomicBool>,
    keeper: Option<JoinHandle<()>>,
    _stop: oneshot::Sender<()>,
    #[expect(dead_code, reason = "held until it is dropped: another process with the same tests waits for its turn")]
    turn: File,
}

impl Region {
    /// Returns a project whose machines have addresses of a range, which no other test uses.
    pub fn new(name: &str, range: &str) -> Self {
        Self::build(name, range, true)
    }

    /// Returns a project without machines, for what is about the cloud alone.
    pub fn bare(name: &str) -> Self {
        Self::build(name, "203.0.113.0/24", false)
    }

    fn build(name: &str, range: &str, has_machines: bool) -> Self {
        let name = format!("claw-region-{name}");
        let turn = File::create(std::env::temp_dir().join(format!("{name}.lock"))).unwrap();
        turn.lock().unwrap();
        if has_machines {
            sweep(&name);
            docker(&["network", "create", "--subnet", range, &name]).expect("a network of the test's own");
        }
        let mut cloud = Cloud::new();
        cloud.settings.addresses_v4 = Some(range.to_owned());
        cloud.settings.durations_ms = DURATIONS_MS.map(|(name, time)| (name.to_owned(), time)).into();
        let zone = serde_json::json!({ "name": ZONE, "mode": "primary" }).to_string();
        cloud.handle(&Request::new("POST", "/v1/zones", "test", &zone), now_ms());
        let handle = Handle::new(cloud, now_ms, |_| ());
        let names = vec![Arc::new(NameServer::default()), Arc::new(NameServer::default())];
        let Served { endpoint, name_servers, stop } = Served::new(&handle, &names);
        let (ignores_user_data, ending) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let keeper = Keeper { handle: handle.clone(), name: name.clone(), ignores: Arc::clone(&ignores_user_data) };
        let end = Arc::clone(&ending);
        let keeper = has_machines.then(|| std::thread::spawn(move || keeper.keep(&end)));
        Self { handle, endpoint, names, name_servers, name, ignores_user_data, ending, keeper, _stop: stop, turn }
    }

    /// Has a fleet's commands talk to this project.
    pub fn open_to(&self, fleet: &mut Fleet) {
        fleet.set("HCLOUD_ENDPOINT", &self.endpoint);
        fleet.set("HCLOUD_TOKEN", "test");
        fleet.set("CLAW_NAMESERVERS", &self.name_servers);
    }

    /// Asks each name server about a name of the zone; nothing from one that does not answer.
    pub fn look_up(&self, name: &str, kind: &str) -> Vec<Option<Vec<String>>> {
        let servers: NameServers = self.name_servers.parse().unwrap();
        let name = format!("{name}.{ZONE}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let said = runtime.block_on(servers.ask(&[], &name, kind));
        said.into_iter().map(|one| Some(one.values.ok()?.into_iter().collect())).collect()
    }

    /// Has machines that are made from now on look at no user data, as where cloud-init fails.
    pub fn ignore_user_data(&self, so: bool) {
        self.ignores_user_data.store(so, Ordering::Relaxed);
    }

    /// Returns the servers of the project.
    pub fn servers(&self) -> Vec<ServerView> {
        self.handle.with(|cloud, _| cloud.view_servers())
    }

    /// Returns the server of a host of a fleet.
    #[track_caller]
    pub fn server(&self, host: &str) -> ServerView {
        let found = self.servers().into_iter().find(|one| one.labels.get("claw-name").is_some_and(|name| name == host));
        found.unwrap_or_else(|| panic!("{host} has no server"))
    }

    /// Asks the API and returns what it answers.
    pub fn api(&self, method: &str, path: &str, body: &str) -> serde_json::Value {
        let answer = self.handle.call(&Request::new(method, path, "test", body));
        assert!(answer.status < 300, "{method} {path}: {}", String::from_utf8_lossy(&answer.body));
        if answer.body.is_empty() { serde_json::Value::Null } else { answer.json() }
    }

    /// Returns how many there are of something.
    pub fn count(&self, what: &str) -> usize {
        self.api("GET", &format!("/v1/{what}"), "")[what].as_array().map_or(0, Vec::len)
    }

    /// Returns the container of a host.
    pub fn container(&self, host: &str) -> String {
        container(&self.name, self.server(host).id)
    }

    /// Returns the names of all containers.
    pub fn containers(&self) -> Vec<String> {
        let filter = format!("name=^{}-", self.name);
        let names = docker(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"]).unwrap_or_default();
        names.lines().map(str::to_owned).collect()
    }

    /// Runs a script on the machine of a host, past SSH.
    #[track_caller]
    pub fn run(&self, host: &str, script: &str) -> String {
        self.try_run(host, script).unwrap_or_else(|| panic!("`{script}` fails on {host}"))
    }

    /// The same; nothing if it fails.
    pub fn try_run(&self, host: &str, script: &str) -> Option<String> {
        docker(&["exec", &self.container(host), "/bin/bash", "-c", script])
    }

    /// Returns the host key a machine has.
    pub fn host_key(&self, host: &str) -> String {
        self.run(host, "cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub")
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
            sweep(&self.name);
        }
    }
}

/// Removes the machines and the network.
fn sweep(name: &str) {
    let filter = format!("name=^{name}-");
    let names = docker(&["ps", "-aq", "--filter", &filter]).unwrap_or_default();
    let names: Vec<&str> = names.split_whitespace().collect();
    if !names.is_empty() {
        docker(&[&["rm", "-f", "-v"], names.as_slice()].concat());
    }
    docker(&["network", "rm", name]);
}

fn container(region: &str, id: u64) -> String {
    format!("{region}-{id}")
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// What is on loopback, until the sender is dropped.
struct Served {
    endpoint: String,
    /// The addresses of the name servers, with commas in between.
    name_servers: String,
    stop: oneshot::Sender<()>,
}

impl Served {
    /// Serves the API, and each of some name servers.
    fn new(handle: &Handle, names: &[Arc<NameServer>]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let endpoint = format!("http://{}/v1", listener.local_addr().unwrap());
        let sockets: Vec<UdpSocket> =
            names.iter().map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        let addresses = sockets.iter().map(|socket| socket.local_addr().unwrap().to_string());
        let name_servers = addresses.collect::<Vec<_>>().join(",");
        let (stop, stopped) = oneshot::channel();
        let (served, names) = (handle.clone(), names.to_vec());
        std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                for (socket, name) in sockets.into_iter().zip(names) {
                    socket.set_nonblocking(true).unwrap();
                    let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
                    tokio::spawn(serve_dns(served.clone(), socket, name));
                }
                tokio::select! {
                    ended = serve(served, listener, Options::default()) => ended.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self { endpoint, name_servers, stop }
    }
}

/// Makes of the containers what the project says of its servers.
struct Keeper {
    handle: Handle,
    name: String,
    ignores: Arc<AtomicBool>,
}

/// What a container is like now.
#[derive(Clone, PartialEq, Eq)]
enum Body {
    /// With the disk of the so-many-th rebuild.
    On(u32),
    Off(u32),
}

impl Keeper {
    fn keep(&self, ending: &AtomicBool) {
        let bodies: Mutex<BTreeMap<u64, Body>> = Mutex::default();
        while !ending.load(Ordering::Relaxed) {
            let servers = self.handle.with(|cloud, _| cloud.view_servers());
            let known = bodies.lock().unwrap().clone();
            // each in a thread: one that boots keeps nobody else waiting for its turn
            std::thread::scope(|scope| {
                for server in &servers {
                    let (bodies, known) = (&bodies, &known);
                    scope.spawn(move || {
                        if let Some(body) = self.settle(server, known.get(&server.id)) {
                            bodies.lock().unwrap().insert(server.id, body);
                        }
                    });
                }
                for id in known.keys().filter(|id| servers.iter().all(|server| server.id != **id)) {
                    docker(&["rm", "-f", "-v", &container(&self.name, *id)]);
                    bodies.lock().unwrap().remove(id);
                }
            });
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Returns what the container is now.
    fn settle(&self, server: &ServerView, known: Option<&Body>) -> Option<Body> {
        let name = container(&self.name, server.id);
        match (server.status, known) {
            (Status::Running | Status::Starting, None) => {
                self.make(server, &name);
                Some(Body::On(server.rebuilt))
            }
            (Status::Running, Some(Body::Off(disk) | Body::On(disk))) if *disk != server.rebuilt => {
                docker(&["rm", "-f", "-v", &name]);
                self.make(server, &name);
                Some(Body::On(server.rebuilt))
            }
            (Status::Running | Status::Starting, Some(Body::Off(disk))) => {
                docker(&["start", &name]).expect("it starts again");
                Some(Body::On(*disk))
            }
            // off is what has stopped: it goes down while the project says that it does
            (Status::Stopping | Status::Off, Some(Body::On(disk))) => {
                docker(&["stop", "-t", "10", &name]);
                Some(Body::Off(*disk))
            }
            (_, known) => known.cloned(),
        }
    }

    /// Makes a machine and starts it.
    fn make(&self, server: &ServerView, name: &str) {
        let address = server.ipv4.expect("an address").to_string();
        let mut args = vec!["create", "--name", name, "--hostname", &server.name, "--network", &self.name];
        args.extend(["--ip", &address]);
        args.extend(OPTIONS);
        args.push(IMAGE);
        docker(&args).unwrap_or_else(|| panic!("{name} can be made at {address}"));
        let disk = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str, mode: &str| {
            let path = disk.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            assert!(Command::new("chmod").arg(mode).arg(path).status().unwrap().success());
        };
        if !self.ignores.load(Ordering::Relaxed) {
            let seed = "var/lib/cloud/seed/nocloud";
            put(&format!("{seed}/user-data"), server.user_data.as_deref().unwrap_or_default(), "600");
            let keys = serde_json::json!(server.ssh_keys);
            let meta = format!("instance-id: i-{}\nlocal-hostname: {}\npublic-keys: {keys}\n", server.id, server.name);
            put(&format!("{seed}/meta-data"), &meta, "644");
        }
        // what stands for the image registry: the engine has the agents' image before anybody logs in
        let unit = "[Service]\nType=oneshot\nExecStart=/srv/first-boot\n";
        put("etc/systemd/system/multi-user.target.wants/first-boot.service", unit, "644");
        put("srv/first-boot", FIRST_BOOT, "755");
        let images = disk.path().join("srv/images.tar");
        let saved = Command::new("docker").args(["save", "-o"]).arg(&images).arg("claw-test/standin:1").status();
        assert!(saved.unwrap().success());
        docker(&["cp", &format!("{}/.", disk.path().display()), &format!("{name}:/")]).expect("its disk is written");
        docker(&["start", name]).expect("it starts");
    }
}

/// Starts the engine, at the first boot only, and gives it its images.
const FIRST_BOOT: &str = "#!/bin/bash
[ ! -e /var/lib/boot/booted ] || exit 0
boot engine
for _ in {1..300}; do docker version >/dev/null 2>&1 && break; sleep 0.1; done
docker load -q -i /srv/images.tar && rm /srv/images.tar
";
