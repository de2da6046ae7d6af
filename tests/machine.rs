//! Throw-away Debian machines that are reached by SSH: containers with an sshd of their own and, where asked for, an
//! engine inside. Each has its own network and its own files; on this machine it listens on a loopback port only.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::support::{Fleet, docker, have_image, wait_until};

const SCRIPT: &str = ".ci/host-image";
/// What a machine needs to run an engine of its own: everything but what not every test machine has to give.
pub const OPTIONS: [&str; 8] = [
    "--cap-add=ALL",
    "--cap-drop=SYS_RESOURCE",
    "--cgroupns=private",
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "--security-opt=systempaths=unconfined",
    "--label=claw-test.machine=1",
    "--stop-timeout=15",
];

/// Whether machines can be started here.
pub fn machines() -> bool {
    have_image("machine", "claw-test/host:engine", SCRIPT)
}

/// Whether machines can be started here that know nothing but what a cloud gives them.
pub fn cloud_machines() -> bool {
    have_image("machine", "claw-test/host:cloud", SCRIPT)
}

/// A machine, removed when the test ends.
pub struct Machine {
    /// Its container's name.
    pub name: String,
    /// The loopback port its sshd is reached at.
    pub port: u16,
    /// Its host key, as the fleet file pins it.
    pub host_key: String,
    #[expect(dead_code, reason = "held until it is dropped: another process with the same tests waits for its turn")]
    turn: std::fs::File,
}

impl Machine {
    /// Starts one of an image, `bare`, `offline` or `engine`, that lets the fleet's person in, and waits for its sshd.
    pub fn start(name: &str, image: &str, fleet: &Fleet) -> Self {
        let key = format!("AUTHORIZED_KEY={}", person(fleet).trim());
        let engine = format!("ENGINE={}", u8::from(image == "engine"));
        let mut machine = Self::boot(name, image, &["--env", &key, "--env", &engine], |_| ());
        machine.learn_host_key();
        if image == "engine" {
            wait_until("its engine answers", || machine.try_run("docker version").is_some());
        }
        machine
    }

    /// Starts one as a cloud does, with nothing but user-data and what the cloud itself says of it, and waits for the end
    /// of its first boot.
    pub fn cloud(name: &str, user_data: &str, meta_data: &str) -> Self {
        let seed = tempfile::tempdir().unwrap();
        std::fs::write(seed.path().join("user-data"), user_data).unwrap();
        std::fs::write(seed.path().join("meta-data"), meta_data).unwrap();
        let put = |name: &str| {
            let from = format!("{}/.", seed.path().display());
            docker(&["cp", &from, &format!("{name}:/var/lib/cloud/seed/nocloud")]).expect("the seed goes in");
        };
        let mut machine = Self::boot(name, "cloud", &[], put);
        wait_until("its first boot is over", || machine.try_run("test -e /run/cloud-init/result.json").is_some());
        machine.learn_host_key();
        machine
    }

    /// Makes a container, does something to it, and starts it.
    fn boot(name: &str, image: &str, more: &[&str], before: impl Fn(&str)) -> Self {
        let name = format!("claw-machine-{name}");
        let turn = std::fs::File::create(std::env::temp_dir().join(format!("{name}.lock"))).unwrap();
        turn.lock().unwrap();
        docker(&["rm", "-f", "-v", &name]);
        let image = format!("claw-test/host:{image}");
        // a port somebody else takes between the asking and the taking is asked for anew
        let port = (0..10).find_map(|_| {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let publish = format!("--publish=127.0.0.1:{port}:22");
            let mut args = vec!["create", "--name", &name, "--hostname", &name, &publish];
            args.extend(OPTIONS);
            args.extend(more);
            args.push(&image);
            let made = docker(&args).map(|_| before(&name));
            if made.and_then(|()| docker(&["start", &name])).is_none() {
                docker(&["rm", "-f", "-v", &name]);
                return None;
            }
            Some(port)
        });
        Self { name, port: port.expect("a machine starts"), host_key: String::new(), turn }
    }

    fn learn_host_key(&mut self) {
        wait_until("its sshd has a key", || self.try_run("test -s /etc/ssh/ssh_host_ed25519_key.pub").is_some());
        self.host_key = self.run("cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub");
        wait_until("its sshd listens", || self.try_run("pgrep -x sshd").is_some());
    }

    /// Runs a script as root inside, past SSH.
    #[track_caller]
    pub fn run(&self, script: &str) -> String {
        self.try_run(script).unwrap_or_else(|| panic!("`{script}` fails on {}", self.name))
    }

    /// The same; nothing if it fails.
    pub fn try_run(&self, script: &str) -> Option<String> {
        docker(&["exec", &self.name, "/bin/bash", "-c", script])
    }

    /// Puts an image of this machine's engine into its own.
    pub fn load(&self, image: &str) {
        self.load_all(&[image]);
    }

    /// Puts images there, what they share once.
    pub fn load_all(&self, images: &[&str]) {
        let mut save = Command::new("docker").arg("save").args(images).stdout(Stdio::piped()).spawn().unwrap();
        let load = Command::new("docker")
            .args(["exec", "-i", &self.name, "docker", "load"])
            .stdin(save.stdout.take().unwrap())
            .stdout(Stdio::null())
            .status();
        assert!(save.wait().unwrap().success() && load.unwrap().success(), "{images:?} go into {}", self.name);
    }

    /// Returns the table of the machine as a host of a fleet.
    pub fn table(&self, host: &str) -> String {
        format!(
            "[hosts.{host}]\non = \"ssh\"\naddress = \"127.0.0.1\"\nport = {}\nhost_key = \"{}\"\n",
            self.port, self.host_key
        )
    }

    /// Returns root's authorized_keys.
    pub fn keys(&self) -> String {
        self.run("cat /root/.ssh/authorized_keys")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        docker(&["rm", "-f", "-v", &self.name]);
    }
}

/// Makes the personal key of who runs claw, and returns its public half.
pub fn person(fleet: &Fleet) -> String {
    let path = fleet.home().join(".ssh/id_ed25519");
    if !path.exists() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut made = Command::new("ssh-keygen");
        made.args(["-q", "-t", "ed25519", "-N", "", "-C", "tester", "-f"]).arg(&path);
        assert!(made.status().unwrap().success());
    }
    std::fs::read_to_string(path.with_extension("pub")).unwrap()
}

/// Takes the personal key away: only claw's own keys are left to log in with.
pub fn lose_person(fleet: &Fleet) {
    let _ = std::fs::remove_dir_all(fleet.home().join(".ssh"));
}
