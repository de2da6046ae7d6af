//! New cloud machines: what they are given at birth lets claw in and nobody else, and at first contact they make a host key
//! of their own. Real cloud-init, real sshd, in machines of the tests' own.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use claw_core::ssh::PublicKey;
use claw_docker::{DockerProvider, SshSocket};
use claw_host::{Bootstrap, HostProvider, Login, host_key_pair, matches_label, pin_label};
use claw_net::ssh::{Connection, Event, Exec, Key, Network, Patience, Pin, Policy, SshError, Target};
use secrecy::{ExposeSecret, SecretString};

use crate::machine::{Machine, cloud_machines, lose_person};
use crate::support::{Fleet, docker};

/// What a cloud says of a machine: its name, and a key that somebody put into the project.
const META_DATA: &str = "instance-id: i-1\nlocal-hostname: born\n\
    public-keys: ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICXvU3dt1jlxSwQeBLnr4ufPoLw6sfaWiOOk8ejxuMWQ project']\n";

/// A new machine, and all that claw has to know of it.
struct Newborn {
    machine: Machine,
    user_data: SecretString,
    /// The host key that user-data brought.
    first: PublicKey,
    control: (SecretString, PublicKey),
}

impl Newborn {
    fn new(name: &str) -> Self {
        let control = host_key_pair(&[12; 32]);
        let (user_data, first) = given(name, &control.1);
        Self { machine: Machine::cloud(name, user_data.expose_secret(), META_DATA), user_data, first, control }
    }

    /// Returns a connection of a claw that has just been started and knows pins.
    fn connection(&self, pins: &[&PublicKey]) -> Connection {
        // what was killed is tried again at once, which a person does not do
        let policy = Policy { attempts_per_minute: 1000, failures_before_block: 1000, ..Policy::default() };
        let target = Target {
            label: self.machine.name.clone(),
            address: "127.0.0.1".to_owned(),
            port: self.machine.port,
            user: "root".to_owned(),
            pins: pins.iter().map(|key| Pin::from_label(&pin_label(key)).unwrap()).collect(),
            keys: vec![Key::held(&self.control.0).unwrap()],
            jump: None,
        };
        Network::new(policy, Arc::new(|_: &str, _: &Event| {})).connection(&target).with_patience(Patience::STEADY)
    }

    /// Logs in with the pins that stand in labels, and returns the host as the provider has it.
    async fn host(&self, pins: &[&PublicKey]) -> HostProvider {
        let connection = self.connection(pins);
        connection.open().await.unwrap();
        let control = BTreeMap::from([(self.control.1.clone(), Key::held(&self.control.0).unwrap())]);
        let host_key = Login::shown(&connection).unwrap();
        let engine = Arc::new(DockerProvider::new("born", "k7f3", Arc::new(SshSocket::new(connection.clone()))));
        let login = Login { user: "root".to_owned(), control, host_key, connection };
        HostProvider::new("born", "k7f3", "born", login, engine)
    }

    /// Whether it lets claw in by these pins; else the host key is another one.
    async fn shows(&self, pins: &[&PublicKey]) -> bool {
        match self.connection(pins).open().await {
            Ok(()) => true,
            Err(SshError::HostKey { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Returns what a machine of a fleet is given, and the host key in it.
fn given(fleet: &str, control: &PublicKey) -> (SecretString, PublicKey) {
    let (private, first) = host_key_pair(&[11; 32]);
    let from = ["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"].map(str::to_owned);
    let bootstrap = Bootstrap {
        fleet,
        host_key_private: &private,
        host_key_public: &first,
        control: std::slice::from_ref(control),
        from: &from,
    };
    (bootstrap.user_data().unwrap(), first)
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn a_new_machine_lets_claw_in_by_the_pin_of_its_label_and_nobody_else() {
    if !cloud_machines() {
        return;
    }
    let newborn = Newborn::new("bootnew");
    let machine = &newborn.machine;
    // cloud-init takes all of it for what it is, and did all of it
    let schema = "cloud-init schema --config-file /var/lib/cloud/seed/nocloud/user-data 2>&1";
    assert!(machine.run(schema).starts_with("Valid cloud-config"), "{}", machine.run(schema));
    assert_eq!(machine.run("cloud-init status"), "status: done");
    let result: serde_json::Value = serde_json::from_str(&machine.run("cat /run/cloud-init/result.json")).unwrap();
    assert_eq!(result["v1"]["errors"], serde_json::json!([]));
    assert_eq!(machine.run("grep -c WARNING /var/log/cloud-init.log; true"), "0");

    // one host key, of one kind: those of the image are gone
    assert_eq!(
        machine.run("ls /etc/ssh/ssh_host_*"),
        "/etc/ssh/ssh_host_ed25519_key\n/etc/ssh/ssh_host_ed25519_key.pub"
    );
    assert_eq!(machine.run("stat -c '%a %U' /etc/ssh/ssh_host_ed25519_key"), "600 root");
    let port = machine.port.to_string();
    let scan = Command::new("ssh-keyscan").args(["-p", &port, "127.0.0.1"]).output().unwrap();
    let scanned = String::from_utf8(scan.stdout).unwrap();
    let shown: Vec<&str> = scanned.lines().filter_map(|line| line.split_once(' ')).map(|(_, key)| key).collect();
    assert_eq!(shown, [newborn.first.to_string()]);
    assert!(matches_label(&shown[0].parse().unwrap(), &pin_label(&newborn.first)));

    // claw's key gets in, and nothing else is even asked for
    let said = run(async {
        let connection = newborn.connection(&[&newborn.first]);
        let output = connection.exec("id -un", b"", Exec::within(20)).await.unwrap();
        assert_eq!(Login::shown(&connection), Some(newborn.first.clone()));
        String::from_utf8(output.stdout).unwrap()
    });
    assert_eq!(said, "root\n");
    let asked = Command::new("ssh")
        .args(["-F", "none", "-o", "PreferredAuthentications=none", "-o", "StrictHostKeyChecking=no"])
        .args(["-o", "UserKnownHostsFile=/dev/null", "-p", &port, "root@127.0.0.1", "true"])
        .output()
        .unwrap();
    let refused = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(refused.contains("Permission denied (publickey)."), "{refused}");
    assert!(machine.run("grep ^root: /etc/shadow").starts_with("root:!"), "the image's password is locked");
    let keys = machine.keys();
    assert!(keys.contains(" claw\n") && !keys.contains("project") && keys.lines().count() == 3, "{keys}");
    assert_eq!(machine.run("stat -c '%a %U' /root/.ssh/authorized_keys"), "600 root");
}

#[test]
fn what_a_new_machine_has_is_what_the_plan_wants_of_its_access() {
    if !cloud_machines() {
        return;
    }
    let fleet = Fleet::new("bootplan", "");
    let text = fleet.read("secrets/claw.toml");
    let line = text.lines().find_map(|line| line.strip_prefix("public = \"")).unwrap();
    let control: PublicKey = line.trim_end_matches('"').parse().unwrap();
    let (user_data, first) = given("bootplan", &control);
    let machine = Machine::cloud("bootplan", user_data.expose_secret(), META_DATA);
    assert_eq!(machine.host_key, first.to_string());
    let from = "allow_from = [\"127.0.0.0/8\", \"10.0.0.0/8\", \"172.16.0.0/12\", \"192.168.0.0/16\"]\n";
    fleet.write("fleet.toml", &format!("{}{}{from}", fleet.read("fleet.toml"), machine.table("attic")));
    lose_person(&fleet);
    let planned = fleet.claw(&["plan", "--detailed-exitcode"]).exits(2).says("+ host/attic").all();
    assert!(!planned.contains("access/attic"), "{planned}");
    let drift = fleet.claw(&["drift"]).all();
    assert!(!drift.contains("unmanaged"), "{drift}");
}

#[test]
fn at_first_contact_a_machine_makes_its_own_host_key_and_the_one_of_user_data_is_void() {
    if !cloud_machines() {
        return;
    }
    let newborn = Newborn::new("bootown");
    let (machine, first) = (&newborn.machine, &newborn.first);
    // a line of the private half; the cloud keeps it, in what cloud-init copied and at its metadata address
    let private = newborn.user_data.expose_secret().split("\\n").nth(3).unwrap();
    let finds = || machine.try_run(&format!("grep -rqF {private} /etc /root /var/lib/claw")).is_some();
    assert!(finds(), "it is there at first: the test can fail");
    let own = run(async {
        let host = newborn.host(&[first]).await;
        let own = host.next_host_key().await.unwrap();
        assert_eq!(host.next_host_key().await.unwrap(), own, "asked again, it is the same");
        assert_ne!(own, *first);
        assert!(newborn.shows(&[first]).await, "nothing shows it yet");

        // a key that is not on the machine cannot be proven: all is as before
        let elsewhere = host_key_pair(&[13; 32]).1;
        let error = host.show_host_key(&elsewhere).await.unwrap_err();
        assert!(error.rolled_back && error.reason.contains("fresh login"), "{}", error.reason);
        assert!(newborn.shows(&[first]).await);

        host.show_host_key(&own).await.unwrap();
        assert!(newborn.shows(&[&own]).await && !newborn.shows(&[first]).await);
        // once more, as after a kill that nobody heard of
        newborn.host(&[first, &own]).await.show_host_key(&own).await.unwrap();
        assert!(newborn.shows(&[&own]).await);

        // the old one is nowhere sshd looks, and an sshd that lost its drop-in shows the new one
        assert_eq!(machine.run("cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub"), own.to_string());
        assert_eq!(machine.run("ssh-keygen -y -f /etc/ssh/ssh_host_ed25519_key | cut -d' ' -f1,2"), own.to_string());
        assert_eq!(machine.run("ls /var/lib/claw/keys | grep -v pub | wc -l"), "1");
        assert_eq!(machine.run("stat -c %a /var/lib/claw/keys/host_*[0-9] /etc/ssh/ssh_host_ed25519_key"), "600\n600");
        assert!(!finds());
        // and the next one is another
        assert_ne!(newborn.host(&[&own]).await.next_host_key().await.unwrap(), own);
        own
    });
    // a machine that boots again makes nothing anew
    docker(&["restart", "-t", "2", &machine.name]).unwrap();
    assert!(run(newborn.shows(&[&own])));
}

#[test]
fn a_kill_anywhere_in_the_first_contact_locks_nobody_out() {
    if !cloud_machines() {
        return;
    }
    let newborn = Newborn::new("bootkill");
    let first = &newborn.first;
    run(async {
        let own = newborn.host(&[first]).await.next_host_key().await.unwrap();
        // both pins stand in labels from here on, until the switch is proven
        let mut cut_off = 0;
        for millis in [30, 80, 150, 250, 350, 500, 700, 1000] {
            let host = newborn.host(&[first, &own]).await;
            cut_off +=
                u32::from(tokio::time::timeout(Duration::from_millis(millis), host.show_host_key(&own)).await.is_err());
            assert!(newborn.shows(&[first, &own]).await, "cut off after {millis} ms");
        }
        assert!(cut_off > 2, "it was cut off {cut_off} times");
        newborn.host(&[first, &own]).await.show_host_key(&own).await.unwrap();
        assert!(newborn.shows(&[&own]).await && !newborn.shows(&[first]).await);
    });
}
