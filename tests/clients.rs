//! Clients written by others work against the simulated clouds: what they believe, claw may.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use claw_sim::hetzner::{Cloud, Handle, Options, Status, serve};
use hcloud::apis::configuration::Configuration;
use hcloud::apis::{actions_api, servers_api, ssh_keys_api, volumes_api, zones_api};
use hcloud::models;
use serde_json::Value as Json;
use tokio::sync::oneshot;

use crate::support::{Ran, have, repository};

/// A public key; nobody has its other half.
const PUBLIC_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me";

/// A simulated Hetzner project on a port of its own, until it is dropped. Its actions take a hundredth of their time.
struct Hetzner {
    handle: Handle,
    endpoint: String,
    log: Arc<Mutex<Vec<String>>>,
    folder: tempfile::TempDir,
    _stop: oneshot::Sender<()>,
}

impl Hetzner {
    fn new() -> Self {
        let mut cloud = Cloud::new();
        cloud.settings.speed = 0.01;
        let clock = || u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap();
        let handle = Handle::new(cloud, clock, |_| {});
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let endpoint = format!("http://{}/v1", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (served, sink) = (handle.clone(), log.clone());
        std::thread::spawn(move || {
            runtime().block_on(async {
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let log = move |line: &claw_sim::hetzner::LogLine| sink.lock().unwrap().push(line.to_string());
                let options = Options { log: Some(Box::new(log)), ..Options::default() };
                tokio::select! {
                    ended = serve(served, listener, options) => ended.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self { handle, endpoint, log, folder: tempfile::tempdir().unwrap(), _stop: stop }
    }

    /// Returns a file with a public key.
    fn key(&self) -> PathBuf {
        let file = self.folder.path().join("key.pub");
        std::fs::write(&file, PUBLIC_KEY).unwrap();
        file
    }

    /// Runs the vendor's command line.
    fn hcloud(&self, line: &str) -> Ran {
        let mut command = Command::new("hcloud");
        command.args(["--poll-interval", "20ms"]).args(line.split_whitespace()).stdin(Stdio::null());
        command.env("HCLOUD_ENDPOINT", &self.endpoint).env("HCLOUD_TOKEN", "c".repeat(64));
        command.env("HOME", self.folder.path()).current_dir(self.folder.path());
        Ran::from(command.output().unwrap())
    }

    #[track_caller]
    fn json(&self, line: &str) -> Json {
        self.hcloud(&format!("{line} -o json")).ok().json()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn the_hetzner_command_line_believes_the_simulated_cloud() {
    let found = Command::new("hcloud").arg("version").env("HOME", "/nonexistent").output();
    if !have("hcloud-cli", found.is_ok(), "apt-get install hcloud-cli") {
        return;
    }
    let cloud = Hetzner::new();
    let key = cloud.key();
    cloud.hcloud(&format!("ssh-key create --name me --public-key-from-file {}", key.display())).ok();
    cloud.hcloud("firewall create --name guard").ok();
    let rule = "--direction in --protocol tcp --port 22 --source-ips 0.0.0.0/0 --source-ips ::/0";
    cloud.hcloud(&format!("firewall add-rule guard {rule}")).ok();
    cloud.hcloud("network create --name inner --ip-range 10.0.0.0/16").ok();
    cloud.hcloud("network add-subnet inner --type cloud --network-zone eu-central --ip-range 10.0.1.0/24").ok();
    cloud.hcloud("placement-group create --name apart --type spread").ok();
    let create =
        "server create --name web-1 --type cx23 --image debian-12 --location nbg1 --ssh-key me --label role=web";
    let more = "--firewall guard --network inner --placement-group apart";
    cloud.hcloud(&format!("{create} {more}")).ok().says("203.0.113.1");
    cloud.hcloud(create).exits(1).says("server name is already used (uniqueness_error");
    cloud.hcloud(&create.replace("web-1", "no_host")).exits(1).says("invalid_input");
    cloud
        .hcloud(&create.replace("web-1", "old").replace("cx23", "cx22"))
        .exits(1)
        .says("server type 104 is deprecated");
    let server = cloud.json("server describe web-1");
    assert_eq!(server["status"], "running");
    assert_eq!(server["public_net"]["firewalls"][0]["status"], "applied");
    assert_eq!(server["private_net"][0]["ip"], "10.0.1.2");
    assert_eq!(server["placement_group"]["name"], "apart");

    cloud.hcloud("server add-label web-1 tier=1").ok();
    cloud.hcloud("server list -l tier=1 -o noheader -o columns=name").ok().says("web-1");
    assert_eq!(cloud.hcloud("server list -l !tier -o noheader -o columns=name").ok().stdout.trim(), "");

    cloud.hcloud("server change-type web-1 cx33").exits(1).says("server_not_stopped");
    cloud.hcloud("server poweroff web-1").ok();
    cloud.hcloud("server change-type --keep-disk web-1 cx33").ok();
    let server = cloud.json("server describe web-1");
    assert_eq!((&server["server_type"]["name"], &server["primary_disk_size"]), (&"cx33".into(), &40.into()));
    cloud.hcloud("server enable-protection web-1 delete rebuild").ok();
    cloud.hcloud("server delete web-1").exits(1).says("server deletion is protected (protected");
    cloud.hcloud("server disable-protection web-1 delete rebuild").ok();
    cloud.hcloud("server rebuild --image debian-13 web-1").ok();
    cloud.hcloud("server reboot web-1").ok();
    cloud.hcloud("server enable-rescue web-1 --ssh-key me").ok().says("root password");
    cloud.hcloud("server set-rdns web-1 --hostname web.example.com").ok();
    cloud.hcloud("server metrics web-1 --type cpu").ok().says("cpu");
    let view = cloud.handle.with(|cloud, _| cloud.view_server("web-1")).unwrap();
    assert_eq!((view.status, view.rebuilt, view.image.as_str()), (Status::Running, 1, "debian-13"));

    cloud.hcloud("volume create --name disk --size 10 --server web-1 --format ext4").ok();
    cloud.hcloud("volume resize disk --size 20").ok();
    cloud.hcloud("volume detach disk").ok();
    cloud.hcloud("volume delete disk").ok();

    cloud.hcloud("firewall delete guard").exits(1).says("is still in use (resource_in_use");
    cloud.hcloud("firewall remove-from-resource guard --type server --server web-1").ok();
    cloud.hcloud("firewall delete guard").ok();

    cloud.hcloud("server poweroff web-1").ok();
    let address = cloud.json("server describe web-1")["public_net"]["ipv4"]["id"].to_string();
    cloud.hcloud(&format!("primary-ip delete {address}")).exits(1).says("must_be_unassigned");
    cloud.hcloud(&format!("primary-ip unassign {address}")).ok();
    let id = cloud.json("server describe web-1")["id"].to_string();
    cloud.hcloud(&format!("primary-ip assign {address} --server {id}")).ok();
    cloud.hcloud(&format!("primary-ip update {address} --name kept --auto-delete=false")).ok();
    cloud.hcloud("server delete web-1").ok();
    cloud.hcloud("primary-ip describe kept").ok();
    cloud.hcloud("primary-ip delete kept").ok();
    cloud.hcloud("network delete inner").ok();
    cloud.hcloud("placement-group delete apart").ok();
    cloud.hcloud("datacenter list").exits(1).says("deprecated_api_endpoint");
    for list in ["server-type", "location", "image", "primary-ip", "floating-ip", "load-balancer", "certificate"] {
        cloud.hcloud(&format!("{list} list")).ok();
    }
    assert_eq!(cloud.handle.with(|cloud, _| cloud.count_servers()), 0);
}

#[test]
fn the_hetzner_python_client_believes_the_simulated_cloud() {
    let python = std::env::var("CLAW_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found = Command::new(&python).args(["-c", "from hcloud.zones import ZoneRRSet"]).stderr(Stdio::null()).status();
    let found = found.is_ok_and(|status| status.success());
    if !have("hcloud-python", found, "pip install hcloud==2.27.0; CLAW_TEST_PYTHON names another python3") {
        return;
    }
    let cloud = Hetzner::new();
    let script = repository().join("tests/clients/python.py");
    let output = Command::new(python).args(["-W", "ignore"]).arg(script).args([&cloud.endpoint, PUBLIC_KEY]).output();
    let ran = Ran::from(output.unwrap());
    let last: Vec<String> = cloud.log.lock().unwrap().iter().rev().take(5).cloned().collect();
    assert_eq!((ran.code, ran.stdout.trim()), (0, "done"), "{}\nlast requests, latest first: {last:#?}", ran.all());
}

/// Waits for an action as that crate lets its users do.
async fn wait(api: &Configuration, action: i64) {
    loop {
        let found = actions_api::get_action(api, actions_api::GetActionParams { id: action }).await.unwrap().action;
        match found.status {
            models::action::Status::Running => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            models::action::Status::Success => return,
            models::action::Status::Error => panic!("the action failed: {found:?}"),
        }
    }
}

#[test]
fn a_rust_client_believes_the_simulated_cloud() {
    let cloud = Hetzner::new();
    let mut api = Configuration::new();
    api.base_path_mapping.insert("https://api.hetzner.cloud/v1".to_owned(), cloud.endpoint.clone());
    api.bearer_access_token = Some("rust".to_owned());
    runtime().block_on(async {
        rust_servers(&api).await;
        rust_zones(&api).await;
    });
    assert_eq!(cloud.handle.with(|cloud, _| cloud.count_servers()), 0);
}

async fn rust_servers(api: &Configuration) {
    let key = models::CreateSshKeyRequest::new("me".to_owned(), PUBLIC_KEY.to_owned());
    let key = ssh_keys_api::CreateSshKeyParams { create_ssh_key_request: key };
    let key = ssh_keys_api::create_ssh_key(api, key).await.unwrap().ssh_key;
    let mut wish = models::CreateServerRequest::new("debian-12".to_owned(), "web-1".to_owned(), "cx23".to_owned());
    wish.ssh_keys = Some(vec![key.name.clone()]);
    wish.location = Some("hel1".to_owned());
    wish.labels = Some([("role".to_owned(), "web".to_owned())].into());
    let made = servers_api::CreateServerParams { create_server_request: wish };
    let made = servers_api::create_server(api, made.clone()).await.unwrap();
    assert_eq!((made.root_password, made.server.status), (None, models::server::Status::Initializing));
    let id = made.server.id;
    for action in std::iter::once(*made.action).chain(made.next_actions) {
        wait(api, action.id).await;
    }
    let listed = servers_api::ListServersParams { label_selector: Some("role=web".to_owned()), ..Default::default() };
    let listed = servers_api::list_servers(api, listed).await.unwrap();
    assert_eq!((listed.servers.len(), listed.servers[0].status), (1, models::server::Status::Running));
    let change =
        models::ReplaceServerRequest { labels: Some([("role".to_owned(), "db".to_owned())].into()), name: None };
    let change = servers_api::ReplaceServerParams { id, replace_server_request: change };
    let changed = servers_api::replace_server(api, change).await.unwrap().server.unwrap();
    assert_eq!(changed.labels["role"], "db");

    let off = servers_api::power_off_server(api, servers_api::PowerOffServerParams { id }).await.unwrap();
    wait(api, off.action.id).await;
    let size = models::ChangeTypeOfServerRequest::new("cx33".to_owned(), false);
    let size = servers_api::ChangeTypeOfServerParams { id, change_type_of_server_request: size };
    wait(api, servers_api::change_type_of_server(api, size).await.unwrap().action.id).await;
    let protect = |on: bool| servers_api::ChangeServerProtectionParams {
        id,
        change_server_protection_request: models::ChangeServerProtectionRequest { delete: Some(on), rebuild: Some(on) },
    };
    wait(api, servers_api::change_server_protection(api, protect(true)).await.unwrap().action.id).await;
    let refused = servers_api::delete_server(api, servers_api::DeleteServerParams { id }).await.unwrap_err();
    assert!(format!("{refused:?}").contains("protected"), "{refused:?}");
    wait(api, servers_api::change_server_protection(api, protect(false)).await.unwrap().action.id).await;
    let server = servers_api::get_server(api, servers_api::GetServerParams { id }).await.unwrap().server.unwrap();
    assert_eq!((server.server_type.name.as_str(), server.primary_disk_size), ("cx33", 40));

    let mut disk = models::CreateVolumeRequest::new("disk".to_owned(), 10);
    disk.server = Some(id);
    let disk = volumes_api::CreateVolumeParams { create_volume_request: disk };
    let disk = volumes_api::create_volume(api, disk).await.unwrap();
    wait(api, disk.action.id).await;
    let gone = servers_api::delete_server(api, servers_api::DeleteServerParams { id }).await.unwrap();
    wait(api, gone.action.unwrap().id).await;
    volumes_api::delete_volume(api, volumes_api::DeleteVolumeParams { id: disk.volume.id }).await.unwrap();
    ssh_keys_api::delete_ssh_key(api, ssh_keys_api::DeleteSshKeyParams { id: key.id }).await.unwrap();
}

async fn rust_zones(api: &Configuration) {
    let wish = models::CreateZoneRequest::new(models::create_zone_request::Mode::Primary, "example.com".to_owned());
    let made = zones_api::create_zone(api, zones_api::CreateZoneParams { create_zone_request: wish }).await.unwrap();
    wait(api, made.action.id).await;
    assert_eq!(made.zone.record_count, 4);
    let (zone, name, kind) = ("example.com".to_owned(), "www".to_owned(), "A".to_owned());
    let record = |value: &str| vec![models::ResourceRecord::new(value.to_owned())];
    let a = models::ResourceRecordSetType::A;
    let set = models::ResourceRecordSetToCreate::new(name.clone(), record("203.0.113.1"), a);
    let set = zones_api::CreateRrsetParams { id_or_name: zone.clone(), resource_record_set_to_create: set };
    assert_eq!(zones_api::create_rrset(api, set).await.unwrap().rrset.id, "www/A");
    let set = zones_api::SetRecordsOfRrsetParams {
        id_or_name: zone.clone(),
        rr_name: name.clone(),
        rr_type: kind.clone(),
        set_records_of_rrset_request: models::SetRecordsOfRrsetRequest::new(record("203.0.113.2")),
    };
    wait(api, zones_api::set_records_of_rrset(api, set).await.unwrap().action.id).await;
    let get = zones_api::GetRrsetParams { id_or_name: zone.clone(), rr_name: name.clone(), rr_type: kind.clone() };
    assert_eq!(zones_api::get_rrset(api, get).await.unwrap().rrset.records[0].value, "203.0.113.2");
    let gone = zones_api::DeleteRrsetParams { id_or_name: zone.clone(), rr_name: name, rr_type: kind };
    wait(api, zones_api::delete_rrset(api, gone).await.unwrap().action.id).await;
    let gone = zones_api::delete_zone(api, zones_api::DeleteZoneParams { id_or_name: zone }).await.unwrap();
    wait(api, gone.action.id).await;
}
