//! A throw-away sshd with its own keys, and small helpers.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::ssh::{Connection, Event, Exec, Key, Network, Patience, Pin, Policy, Target};
use tempfile::TempDir;

const SSHD: &str = "/usr/sbin/sshd";

/// One sshd on a port of its own, stopped when dropped.
pub struct Server {
    pub folder: TempDir,
    pub port: u16,
    child: Child,
}

impl Server {
    /// Starts one with more lines for its configuration; `None` where that cannot be done here.
    pub async fn start(more: &[&str]) -> Option<Self> {
        if !Path::new(SSHD).exists() || !is_root() {
            let required = std::env::var("CLAW_TEST_REQUIRE").unwrap_or_default();
            assert!(!required.split_whitespace().any(|word| word == "sshd"), "sshd is required: {SSHD} and root");
            eprintln!("skipped: needs {SSHD} and root");
            return None;
        }
        std::fs::create_dir_all("/run/sshd").unwrap();
        let folder = TempDir::new().unwrap();
        let port = free_port();
        new_key(&folder.path().join("host"), "");
        new_key(&folder.path().join("user"), "");
        std::fs::copy(folder.path().join("user.pub"), folder.path().join("authorized_keys")).unwrap();
        let at = folder.path().display();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {at}/host\nPidFile none\nAuthorizedKeysFile {at}/authorized_keys\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
             Subsystem sftp internal-sftp\nMaxStartups 200\nLogLevel ERROR\nSetEnv SHLVL=3\n{}\n",
            more.join("\n")
        );
        std::fs::write(folder.path().join("config"), config).unwrap();
        let child = spawn(folder.path());
        let server = Self { folder, port, child };
        server.wait_until_up().await;
        Some(server)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn pin(&self) -> Pin {
        self.text("host.pub").parse().unwrap()
    }

    pub fn key(&self) -> Key {
        Key::held(&self.text("user").into()).unwrap()
    }

    pub fn target(&self) -> Target {
        Target {
            label: "web".into(),
            address: "127.0.0.1".into(),
            port: self.port,
            user: "root".into(),
            pins: vec![self.pin()],
            keys: vec![self.key()],
            jump: None,
        }
    }

    pub fn connection(&self) -> Connection {
        network(quick()).connection(&self.target())
    }

    /// Sends a signal to the processes that serve connections, and with `all` to the one that listens, too.
    pub fn signal(&self, name: &str, all: bool) {
        let mut pids = descendants(self.child.id());
        pids.extend(all.then(|| self.child.id()));
        let pids = pids.iter().map(u32::to_string);
        Command::new("kill").arg(format!("-{name}")).args(pids).stderr(Stdio::null()).status().unwrap();
    }

    /// How many processes serve connections.
    pub fn serves(&self) -> usize {
        descendants(self.child.id()).len()
    }

    pub fn kill(&mut self) {
        self.signal("KILL", true);
        self.child.wait().unwrap();
    }

    pub async fn restart(&mut self) {
        self.child = spawn(self.folder.path());
        self.wait_until_up().await;
    }

    async fn wait_until_up(&self) {
        let started = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(started.elapsed() < Duration::from_secs(10), "sshd does not come up");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("sshd said:\n{}", self.text("log"));
        }
        if self.child.try_wait().unwrap().is_none() {
            self.kill();
        }
    }
}

fn spawn(folder: &Path) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
    Command::new(SSHD).args(["-D", "-e", "-f"]).arg(folder.join("config")).stderr(log).spawn().unwrap()
}

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").unwrap().lines().any(|line| line.starts_with("Uid:\t0\t"))
}

/// The processes below one, from /proc/*/stat.
fn descendants(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let children = parents.iter().filter(|(_, parent)| *parent == found[next]).map(|(pid, _)| *pid);
        let children: Vec<u32> = children.collect();
        found.extend(children);
        next += 1;
    }
    found.split_off(1)
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn new_key(path: &Path, passphrase: &str) {
    let words = ["-q", "-t", "ed25519", "-N", passphrase, "-C", "test", "-f"];
    assert!(Command::new("ssh-keygen").args(words).arg(path).status().unwrap().success());
}

/// Limits for tests: short waits, no attempt limit in the way.
pub fn quick() -> Policy {
    Policy {
        retry_first: Duration::from_millis(50),
        retry_longest: Duration::from_millis(200),
        ending_time: Duration::from_millis(300),
        attempts_per_minute: 1000,
        patience: Patience::QUICK,
        ..Policy::default()
    }
}

pub fn network(policy: Policy) -> Network {
    Network::new(policy, Arc::new(|_: &str, _: &Event| {}))
}

/// A network and what its observer hears.
pub fn heard(policy: Policy) -> (Network, Arc<Mutex<Vec<Event>>>) {
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = events.clone();
    (Network::new(policy, Arc::new(move |_: &str, event: &Event| sink.lock().unwrap().push(event.clone()))), events)
}

pub fn seconds(seconds_max: u64) -> Exec {
    Exec::within(seconds_max)
}

/// Runs a command that must succeed and returns what it printed.
pub async fn printed(connection: &Connection, command: &str) -> String {
    let output = connection.exec(command, b"", seconds(20)).await.unwrap();
    assert!(output.status.is_success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
