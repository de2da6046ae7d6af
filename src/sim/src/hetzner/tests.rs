//! What the simulated API holds to, asked as a client asks.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use serde_json::{Value as Json, json};

use super::{Cloud, Poke, Request, Response, Status};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me";

/// A project with a clock of its own.
struct Lab {
    cloud: Cloud,
    now_ms: u64,
}

impl Lab {
    /// Returns an empty project in which everything is done when it is next looked at.
    fn new() -> Self {
        let mut cloud = Cloud::new();
        cloud.settings.speed = 0.0;
        Self { cloud, now_ms: 1_795_000_000_000 }
    }

    /// Returns one in which things take their time.
    fn paced() -> Self {
        let mut lab = Self::new();
        lab.cloud.settings.speed = 1.0;
        lab
    }

    fn ask(&mut self, method: &str, path: &str, body: Json) -> Response {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.cloud.handle(&Request::new(method, &format!("/v1{path}"), "token", &body), self.now_ms)
    }

    #[track_caller]
    fn get(&mut self, path: &str) -> Json {
        let response = self.ask("GET", path, Json::Null);
        assert_eq!(response.status, 200, "{path}: {}", response.json());
        response.json()
    }

    #[track_caller]
    fn post(&mut self, path: &str, body: Json) -> Json {
        let response = self.ask("POST", path, body);
        assert!([200, 201].contains(&response.status), "{path}: {}", response.json());
        response.json()
    }

    /// Asserts that a request is refused, with a status and a code.
    #[track_caller]
    fn refused(&mut self, method: &str, path: &str, body: Json, expect: &str) -> Json {
        let response = self.ask(method, path, body);
        let error = response.json()["error"].clone();
        let code = error["code"].as_str().unwrap_or_default();
        assert_eq!(format!("{} {code}", response.status), expect, "{method} {path}: {error}");
        error
    }

    /// Returns the id of a new server that is done, running or off.
    #[track_caller]
    fn server(&mut self, name: &str, more: Json) -> u64 {
        let mut body = json!({ "name": name, "server_type": "cx23", "image": "debian-12", "location": "nbg1" });
        for (key, value) in more.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        let made = self.post("/servers", body);
        self.later(60_000);
        made["server"]["id"].as_u64().unwrap()
    }

    fn later(&mut self, ms: u64) {
        self.now_ms += ms;
        self.cloud.settle(self.now_ms);
    }

    fn status(&mut self, id: u64) -> String {
        self.get(&format!("/servers/{id}"))["server"]["status"].as_str().unwrap().to_owned()
    }
}

#[test]
fn who_asks_is_checked_after_the_path_and_before_the_method() {
    let mut lab = Lab::new();
    let mut ask = |method: &str, path: &str, token: &str| {
        let response = lab.cloud.handle(&Request::new(method, path, token, ""), 0);
        (response.status, response.json()["error"]["message"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(ask("GET", "/v1/nothing", ""), (404, "api route not found".to_owned()));
    assert_eq!(ask("GET", "/servers", "token"), (404, "api route not found".to_owned()));
    assert_eq!(ask("GET", "/v1/servers", ""), (401, "token is required".to_owned()));
    assert_eq!(ask("PATCH", "/v1/servers", ""), (401, "token is required".to_owned()));
    assert_eq!(ask("PATCH", "/v1/servers", "token").0, 405);
    assert_eq!(ask("GET", "/v1/servers", "token").0, 200);
    assert_eq!(ask("GET", "/v1/servers", "readonly-1").0, 200);
    assert_eq!(ask("POST", "/v1/servers", "readonly-1").0, 401);
    lab.cloud.settings.tokens.insert("right".to_owned());
    let wrong = lab.cloud.handle(&Request::new("GET", "/v1/servers", "token", ""), 0);
    assert_eq!(
        String::from_utf8(wrong.body).unwrap(),
        r#"{"error":{"code":"unauthorized","details":null,"message":"the token you have provided is invalid"}}"#
    );
    lab.cloud.poke(&Poke::Revoke("right".to_owned()), 0).unwrap();
    assert_eq!(lab.cloud.handle(&Request::new("GET", "/v1/servers", "right", ""), 0).status, 401);
}

#[test]
fn requests_are_counted_and_come_back() {
    let mut lab = Lab::new();
    lab.cloud.settings.rate_per_hour = 3;
    for remaining in ["2", "1", "0"] {
        let response = lab.ask("GET", "/locations", Json::Null);
        assert_eq!((response.status, response.header("RateLimit-Remaining")), (200, Some(remaining)));
        assert_eq!(response.header("RateLimit-Limit"), Some("3"));
        assert!(response.header("X-Correlation-Id").unwrap().bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
    lab.refused("GET", "/locations", Json::Null, "429 rate_limit_exceeded");
    lab.later(1_200_000);
    lab.get("/locations");
    lab.refused("GET", "/locations", Json::Null, "429 rate_limit_exceeded");
}

#[test]
fn lists_have_pages() {
    let mut lab = Lab::new();
    for nth in 0..60 {
        lab.post("/placement_groups", json!({ "name": format!("g{nth:02}"), "type": "spread" }));
    }
    let table = [
        (
            "",
            25,
            json!({ "page": 1, "per_page": 25, "previous_page": null, "next_page": 2, "last_page": 3, "total_entries": 60 }),
        ),
        (
            "?per_page=999",
            50,
            json!({ "page": 1, "per_page": 50, "previous_page": null, "next_page": 2, "last_page": 2, "total_entries": 60 }),
        ),
        (
            "?page=3",
            10,
            json!({ "page": 3, "per_page": 25, "previous_page": 2, "next_page": null, "last_page": 3, "total_entries": 60 }),
        ),
        (
            "?page=99",
            0,
            json!({ "page": 99, "per_page": 25, "previous_page": 98, "next_page": null, "last_page": 3, "total_entries": 60 }),
        ),
        (
            "?name=g07",
            1,
            json!({ "page": 1, "per_page": 25, "previous_page": null, "next_page": null, "last_page": 1, "total_entries": 1 }),
        ),
    ];
    for (query, count, meta) in table {
        let found = lab.get(&format!("/placement_groups{query}"));
        assert_eq!(found["placement_groups"].as_array().unwrap().len(), count, "{query}");
        assert_eq!(found["meta"]["pagination"], meta, "{query}");
    }
    let sorted = lab.get("/placement_groups?sort=name:desc&per_page=1");
    assert_eq!(sorted["placement_groups"][0]["name"], "g59");
    let link = lab.ask("GET", "/placement_groups?page=2&per_page=10&sort=id", Json::Null);
    assert_eq!(
        link.header("Link").unwrap(),
        "</v1/placement_groups?page=1&per_page=10&sort=id>; rel=\"prev\", \
         </v1/placement_groups?page=3&per_page=10&sort=id>; rel=\"next\", \
         </v1/placement_groups?page=6&per_page=10&sort=id>; rel=\"last\""
    );
    lab.refused("GET", "/placement_groups?sort=color", Json::Null, "422 invalid_input");
    lab.refused("GET", "/placement_groups?page=0", Json::Null, "422 invalid_input");
    lab.refused("GET", "/placement_groups?label_selector=a(", Json::Null, "422 invalid_input");
}

#[test]
fn a_server_goes_through_its_states_in_time() {
    let mut lab = Lab::paced();
    let made =
        lab.post("/servers", json!({ "name": "web", "server_type": 114, "image": "debian-12", "location": "2" }));
    let id = made["server"]["id"].as_u64().unwrap();
    assert_eq!(made["server"]["status"], "initializing");
    assert_eq!(made["action"]["command"], "create_server");
    assert_eq!(made["next_actions"][0]["command"], "start_server");
    assert_eq!(made["root_password"].as_str().unwrap().len(), 20);
    assert_eq!(made["server"]["location"]["name"], "nbg1");
    assert!(made["server"].get("datacenter").is_none());
    lab.refused("DELETE", &format!("/servers/{id}"), Json::Null, "423 locked");
    lab.refused("POST", &format!("/servers/{id}/actions/reboot"), Json::Null, "423 locked");
    lab.later(3000);
    let action = lab.get(&format!("/actions/{}", made["action"]["id"]))["action"].clone();
    assert_eq!((action["status"].as_str(), action["progress"].as_u64()), (Some("running"), Some(50)));
    lab.later(3000);
    assert_eq!(lab.status(id), "starting");
    lab.later(5000);
    assert_eq!(lab.status(id), "running");
    let ids = format!("/actions?id={}&id={}", made["action"]["id"], made["next_actions"][0]["id"]);
    let done = lab.get(&ids);
    assert!(done["actions"].as_array().unwrap().iter().all(|action| action["status"] == "success"), "{done}");
    lab.post(&format!("/servers/{id}/actions/shutdown"), Json::Null);
    lab.later(1000);
    assert_eq!(lab.status(id), "stopping", "the action is done, the server is not off yet");
    lab.later(6000);
    assert_eq!(lab.status(id), "off");
    lab.ask("DELETE", &format!("/servers/{id}"), Json::Null);
    assert_eq!(lab.status(id), "deleting");
    lab.later(2000);
    lab.refused("GET", &format!("/servers/{id}"), Json::Null, "404 not_found");
    lab.refused("GET", "/actions", Json::Null, "410 deprecated_api_endpoint");
}

#[test]
fn an_action_may_end_in_an_error() {
    let mut lab = Lab::new();
    let id = lab.server("web", json!({}));
    lab.cloud.poke(&Poke::FailNext("stop_server".to_owned(), 1), 0).unwrap();
    let stop = lab.post(&format!("/servers/{id}/actions/poweroff"), Json::Null);
    let action = lab.get(&format!("/actions/{}", stop["action"]["id"]))["action"].clone();
    assert_eq!((action["status"].as_str(), action["error"]["code"].as_str()), (Some("error"), Some("action_failed")));
    assert_eq!(lab.status(id), "running");
    lab.post(&format!("/servers/{id}/actions/poweroff"), Json::Null);
    assert_eq!(lab.status(id), "off");
}

#[test]
fn what_is_wrong_with_a_server_is_said() {
    let mut lab = Lab::new();
    lab.server("web", json!({}));
    let table = [
        (json!({ "name": "web" }), "409 uniqueness_error", "server name is already used"),
        (json!({ "name": "no_host" }), "422 invalid_input", "invalid input in field 'name'"),
        (json!({ "server_type": "cx22" }), "422 invalid_input", "server type 104 is deprecated"),
        (json!({ "server_type": "huge" }), "422 invalid_input", "server type 'huge' not found"),
        (json!({ "location": "ash" }), "422 invalid_input", "unsupported location for server type"),
        (json!({ "location": "moon" }), "422 invalid_input", "location 'moon' not found"),
        (json!({ "image": "dos" }), "422 invalid_input", "image 'dos' not found"),
        (json!({ "image": 114690389 }), "422 invalid_input", "image architecture does not match the server type"),
        (json!({ "labels": { "-": "" } }), "422 invalid_input", "invalid input in field 'labels'"),
        (json!({ "user_data": "x".repeat(32769) }), "422 invalid_input", "invalid input in field 'user_data'"),
        (json!({ "ssh_keys": ["nobody"] }), "404 not_found", "SSH key with ID 'nobody' not found"),
        (json!({ "firewalls": [{ "firewall": 7 }] }), "404 not_found", "firewall with ID '7' not found"),
        (json!({ "datacenter": "nbg1-dc3" }), "422 invalid_input", "invalid input in field 'datacenter'"),
        (
            json!({ "public_net": { "enable_ipv4": false, "enable_ipv6": false } }),
            "422 invalid_input",
            "invalid input in field 'public_net'",
        ),
    ];
    for (more, expect, message) in table {
        let mut body = json!({ "name": "other", "server_type": "cx23", "image": "debian-12", "location": "nbg1" });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        assert_eq!(lab.refused("POST", "/servers", body, expect)["message"], message);
    }
    let missing = lab.refused("POST", "/servers", json!({}), "422 invalid_input");
    assert_eq!(missing["details"]["fields"][0]["name"], "name");
    let response = lab.cloud.handle(&Request::new("POST", "/v1/servers", "t", "{"), 0);
    assert_eq!((response.status, response.json()["error"]["code"].as_str()), (400, Some("json_error")));
    lab.cloud.settings.servers_max = 1;
    let body = json!({ "name": "other", "server_type": "cx23", "image": "debian-12" });
    let limit = lab.refused("POST", "/servers", body, "403 resource_limit_exceeded");
    assert_eq!(limit["details"]["limits"][0]["name"], "project_limit");
}

#[test]
fn stock_runs_out() {
    let mut lab = Lab::new();
    lab.cloud.poke(&Poke::SellOut("cx23@fsn1".to_owned()), 0).unwrap();
    let places = lab.get("/server_types?name=cx23")["server_types"][0]["locations"].clone();
    assert_eq!((&places[0]["name"], &places[0]["available"]), (&json!("fsn1"), &json!(false)));
    assert_eq!(places[1]["available"], true);
    let body = json!({ "name": "a", "server_type": "cx23", "image": "debian-12", "location": "fsn1" });
    lab.refused("POST", "/servers", body.clone(), "412 resource_unavailable");
    let anywhere = lab.post("/servers", json!({ "name": "b", "server_type": "cx23", "image": "debian-12" }));
    assert_eq!(anywhere["server"]["location"]["name"], "nbg1", "the first place that has it");
    lab.cloud.poke(&Poke::Restock("cx23@fsn1".to_owned()), 0).unwrap();
    lab.post("/servers", body);
}

#[test]
fn protection_protects() {
    let mut lab = Lab::new();
    let id = lab.server("web", json!({}));
    let path = format!("/servers/{id}");
    let protect = format!("{path}/actions/change_protection");
    lab.refused("POST", &protect, json!({ "delete": true }), "422 invalid_input");
    lab.post(&protect, json!({ "delete": true, "rebuild": true }));
    lab.refused("DELETE", &path, Json::Null, "423 protected");
    lab.refused("POST", &format!("{path}/actions/rebuild"), json!({ "image": "debian-13" }), "423 protected");
    lab.post(&protect, json!({ "delete": false, "rebuild": false }));
    lab.post(&format!("{path}/actions/rebuild"), json!({ "image": "debian-13", "user_data": "again" }));
    let view = lab.cloud.view_server("web").unwrap();
    assert_eq!((view.rebuilt, view.user_data.as_deref()), (0, Some("again")));
    lab.later(1);
    let view = lab.cloud.view_server("web").unwrap();
    assert_eq!((view.rebuilt, view.image.as_str(), view.status), (1, "debian-13", Status::Running));
    assert_eq!(lab.ask("DELETE", &path, Json::Null).status, 200);
}

#[test]
fn a_server_changes_its_size_while_it_is_off() {
    let mut lab = Lab::new();
    let id = lab.server("web", json!({}));
    let resize = format!("/servers/{id}/actions/change_type");
    let to = |size: &str, disk: bool| json!({ "server_type": size, "upgrade_disk": disk });
    lab.refused("POST", &resize, to("cx33", false), "422 server_not_stopped");
    lab.post(&format!("/servers/{id}/actions/poweroff"), Json::Null);
    lab.later(1);
    for size in ["cx22", "cx23", "cax21", "none"] {
        lab.refused("POST", &resize, to(size, false), "422 invalid_server_type");
    }
    lab.post(&resize, to("cx33", false));
    let server = lab.get(&format!("/servers/{id}"))["server"].clone();
    assert_eq!(server["server_type"]["name"], "cx33");
    assert_eq!((server["primary_disk_size"].as_u64(), server["status"].as_str()), (Some(40), Some("running")));
    lab.post(&format!("/servers/{id}/actions/poweroff"), Json::Null);
    lab.later(1);
    lab.post(&resize, to("cx43", true));
    lab.post(&format!("/servers/{id}/actions/poweroff"), Json::Null);
    lab.later(1);
    let refused = lab.refused("POST", &resize, to("cx23", false), "422 invalid_server_type");
    assert_eq!(refused["message"], "server disk is bigger than server type disk");
}

#[test]
fn addresses_outlive_servers_if_they_shall() {
    let mut lab = Lab::new();
    let own =
        lab.post("/primary_ips", json!({ "name": "own", "type": "ipv4", "location": "nbg1" }))["primary_ip"].clone();
    assert_eq!((&own["assignee_id"], &own["assignee_type"]), (&Json::Null, &json!("unassigned")));
    let ip = format!("/primary_ips/{}", own["id"]);
    let other = json!({ "name": "x", "server_type": "cx23", "image": "debian-12", "location": "fsn1",
        "public_net": { "ipv4": own["id"] } });
    lab.refused("POST", "/servers", other, "422 primary_ip_datacenter_mismatch");
    let wrong =
        json!({ "name": "x", "server_type": "cx23", "image": "debian-12", "public_net": { "ipv6": own["id"] } });
    lab.refused("POST", "/servers", wrong, "412 primary_ip_version_mismatch");
    let id = lab.server("web", json!({ "public_net": { "ipv4": own["id"], "enable_ipv6": true } }));
    assert_eq!(lab.get(&ip)["primary_ip"]["assignee_id"].as_u64(), Some(id));
    let taken = json!({ "name": "x", "server_type": "cx23", "image": "debian-12", "location": "nbg1",
        "public_net": { "ipv4": own["id"] } });
    lab.refused("POST", "/servers", taken, "422 primary_ip_assigned");
    lab.refused("DELETE", &ip, Json::Null, "422 must_be_unassigned");
    lab.refused("POST", &format!("{ip}/actions/unassign"), Json::Null, "422 server_not_stopped");
    lab.post(&format!("/servers/{id}/actions/poweroff"), Json::Null);
    lab.later(1);
    lab.post(&format!("{ip}/actions/unassign"), Json::Null);
    assert_eq!(lab.get(&format!("/servers/{id}"))["server"]["public_net"]["ipv4"], Json::Null);
    let assign = json!({ "assignee_id": id, "assignee_type": "server" });
    lab.post(&format!("{ip}/actions/assign"), assign.clone());
    lab.later(1);
    lab.refused("POST", &format!("{ip}/actions/assign"), assign, "422 server_has_ipv4");
    lab.post(&format!("{ip}/actions/change_dns_ptr"), json!({ "ip": own["ip"], "dns_ptr": "web.example.com" }));
    assert_eq!(lab.get(&format!("/servers/{id}"))["server"]["public_net"]["ipv4"]["dns_ptr"], "web.example.com");
    assert_eq!(lab.get("/primary_ips")["primary_ips"].as_array().unwrap().len(), 2);
    lab.ask("DELETE", &format!("/servers/{id}"), Json::Null);
    let left = lab.get("/primary_ips")["primary_ips"].clone();
    assert_eq!(left.as_array().unwrap().len(), 1, "the address made along with the server went with it");
    lab.post(&format!("{ip}/actions/change_protection"), json!({ "delete": true }));
    lab.refused("DELETE", &ip, Json::Null, "423 protected");
    lab.post(&format!("{ip}/actions/change_protection"), json!({ "delete": false }));
    assert_eq!(lab.ask("DELETE", &ip, Json::Null).status, 204);
}

#[test]
fn keys_are_unique_by_name_and_by_fingerprint() {
    let mut lab = Lab::new();
    let made = lab.post("/ssh_keys", json!({ "name": "me", "public_key": KEY }))["ssh_key"].clone();
    assert_eq!(made["fingerprint"].as_str().unwrap().split(':').count(), 16);
    lab.refused("POST", "/ssh_keys", json!({ "name": "me", "public_key": KEY }), "409 uniqueness_error");
    let twice = lab.refused("POST", "/ssh_keys", json!({ "name": "b", "public_key": KEY }), "409 uniqueness_error");
    assert_eq!(twice["message"], "SSH key with the same fingerprint already exists");
    for wrong in ["", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAABAgME", "none AAAA"] {
        lab.refused("POST", "/ssh_keys", json!({ "name": "b", "public_key": wrong }), "422 invalid_input");
    }
    let by_name =
        lab.post("/servers", json!({ "name": "a", "server_type": "cx23", "image": "debian-12", "ssh_keys": ["me"] }));
    assert_eq!(by_name["root_password"], Json::Null);
    let path = format!("/ssh_keys/{}", made["id"]);
    assert_eq!(lab.ask("DELETE", &path, Json::Null).status, 204);
    lab.refused("DELETE", &path, Json::Null, "404 not_found");
    assert_eq!(lab.cloud.view_servers()[0].ssh_keys, [KEY]);
}

#[test]
fn a_firewall_guards_by_id_and_by_label() {
    let mut lab = Lab::new();
    let rule = json!({ "direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["0.0.0.0/0"] });
    let made = lab.post("/firewalls", json!({ "name": "fw", "rules": [rule] }));
    let fw = made["firewall"]["id"].as_u64().unwrap();
    let path = format!("/firewalls/{fw}");
    let id = lab.server("web", json!({ "firewalls": [{ "firewall": fw }], "labels": { "role": "web" } }));
    let shown = lab.get(&format!("/servers/{id}"))["server"]["public_net"]["firewalls"].clone();
    assert_eq!(shown, json!([{ "id": fw, "status": "applied" }]));
    let by_id = json!([{ "type": "server", "server": { "id": id } }]);
    let by_label = json!([{ "type": "label_selector", "label_selector": { "selector": "role=web" } }]);
    let (apply, remove) =
        (format!("{path}/actions/apply_to_resources"), format!("{path}/actions/remove_from_resources"));
    lab.refused("POST", &apply, json!({ "apply_to": by_id }), "422 firewall_already_applied");
    lab.refused("DELETE", &path, Json::Null, "422 resource_in_use");
    lab.post(&apply, json!({ "apply_to": by_label }));
    lab.post(&remove, json!({ "remove_from": by_id }));
    lab.refused("POST", &remove, json!({ "remove_from": by_id }), "422 firewall_managed_by_label_selector");
    let applied = lab.get(&path)["firewall"]["applied_to"].clone();
    assert_eq!(applied[0]["applied_to_resources"][0]["server"]["id"].as_u64(), Some(id));
    lab.post(&remove, json!({ "remove_from": by_label }));
    lab.post(&remove, json!({ "remove_from": by_id }));
    let missing = json!({ "apply_to": [{ "type": "server", "server": { "id": 1 } }] });
    lab.refused("POST", &apply, missing, "404 firewall_resource_not_found");
    assert_eq!(lab.ask("DELETE", &path, Json::Null).status, 204);
}

#[test]
fn networks_and_volumes_hold_on_to_servers() {
    let mut lab = Lab::new();
    let subnet = json!({ "type": "cloud", "network_zone": "eu-central", "ip_range": "10.0.1.0/24" });
    let network = lab.post("/networks", json!({ "name": "n", "ip_range": "10.0.0.0/16", "subnets": [subnet] }));
    let network = network["network"]["id"].clone();
    let id = lab.server("web", json!({ "networks": [network] }));
    let attach = format!("/servers/{id}/actions/attach_to_network");
    lab.refused("POST", &attach, json!({ "network": network }), "422 server_already_attached");
    let other = lab.server("other", json!({}));
    let attach = format!("/servers/{other}/actions/attach_to_network");
    let wanted = |ip: &str| json!({ "network": network, "ip": ip });
    lab.refused("POST", &attach, wanted("10.0.1.2"), "422 ip_not_available");
    lab.post(&attach, wanted("10.0.1.9"));
    assert_eq!(lab.get(&format!("/networks/{network}/members"))["members"][1]["ip"], "10.0.1.9");
    let empty = lab.post("/networks", json!({ "name": "m", "ip_range": "10.1.0.0/16" }))["network"]["id"].clone();
    lab.refused("POST", &attach, json!({ "network": empty }), "422 no_subnet_available");
    let volume =
        lab.post("/volumes", json!({ "name": "v", "size": 10, "server": id, "format": "ext4" }))["volume"].clone();
    let path = format!("/volumes/{}", volume["id"]);
    lab.refused("POST", &format!("{path}/actions/resize"), json!({ "size": 10 }), "422 invalid_input");
    lab.post(&format!("{path}/actions/resize"), json!({ "size": 11 }));
    assert_eq!(lab.get(&format!("/servers/{id}"))["server"]["volumes"], json!([volume["id"]]));
    lab.refused("DELETE", &path, Json::Null, "423 locked");
    lab.ask("DELETE", &format!("/servers/{id}"), Json::Null);
    assert_eq!(lab.get(&path)["volume"]["server"], Json::Null);
    assert_eq!(lab.ask("DELETE", &path, Json::Null).status, 204);
}

#[test]
fn zones_have_records() {
    let mut lab = Lab::new();
    let made = lab.post("/zones", json!({ "name": "example.com", "mode": "primary" }));
    assert_eq!((&made["zone"]["record_count"], &made["zone"]["ttl"]), (&json!(4), &json!(3600)));
    assert_eq!(made["zone"]["primary_nameservers"], json!([]));
    assert_eq!(made["action"]["command"], "create_zone");
    lab.refused("POST", "/zones", json!({ "name": "example.com", "mode": "primary" }), "409 uniqueness_error");
    let sets = "/zones/example.com/rrsets";
    let serial = |lab: &mut Lab| {
        let soa = lab.get(&format!("{sets}/@/SOA"))["rrset"]["records"][0]["value"].as_str().unwrap().to_owned();
        soa.split(' ').nth(2).unwrap().parse::<u64>().unwrap()
    };
    let before = serial(&mut lab);
    let made =
        lab.post(sets, json!({ "name": "www", "type": "A", "records": [{ "value": "203.0.113.1", "comment": "c" }] }));
    assert_eq!((&made["rrset"]["id"], &made["rrset"]["ttl"]), (&json!("www/A"), &Json::Null));
    assert_eq!(serial(&mut lab), before + 1, "a change counts the serial number up");
    let record = |value: &str| json!({ "records": [{ "value": value }] });
    let table = [
        (json!({ "name": "WWW", "type": "A" }), record("203.0.113.1")),
        (json!({ "name": "www.example.com.", "type": "A" }), record("203.0.113.1")),
        (json!({ "name": "a", "type": "A" }), record("2001:db8::1")),
        (json!({ "name": "a", "type": "X" }), record("1")),
        (json!({ "name": "a", "type": "TXT" }), record("bare")),
        (json!({ "name": "a", "type": "TXT" }), record(&format!("\"{}\"", "x".repeat(256)))),
        (json!({ "name": "a", "type": "A" }), json!({ "records": [] })),
        (json!({ "name": "a", "type": "A" }), json!({ "records": [{ "value": "1.1.1.1" }, { "value": "1.1.1.1" }] })),
        (json!({ "name": "www", "type": "CNAME" }), record("example.net.")),
        (json!({ "name": "@", "type": "CNAME" }), record("example.net.")),
        (json!({ "name": "a", "type": "A", "ttl": 59 }), record("1.1.1.1")),
    ];
    for (mut body, records) in table {
        body["records"] = records["records"].clone();
        lab.refused("POST", sets, body, "422 invalid_input");
    }
    let www = format!("{sets}/www/A");
    let act = |command: &str| format!("{www}/actions/{command}");
    lab.post(&act("set_records"), record("203.0.113.2"));
    lab.post(&act("add_records"), record("203.0.113.3"));
    lab.refused(
        "POST",
        &act("add_records"),
        json!({ "records": [{ "value": "203.0.113.4" }], "ttl": 60 }),
        "422 invalid_input",
    );
    lab.post(&act("change_ttl"), json!({ "ttl": 60 }));
    let update = json!({ "records": [{ "value": "203.0.113.3", "comment": "two" }] });
    assert_eq!(lab.ask("POST", &act("update_records"), update).status, 200);
    let set = lab.get(&www)["rrset"].clone();
    assert_eq!((&set["ttl"], &set["records"][1]["comment"]), (&json!(60), &json!("two")));
    lab.post(&act("change_protection"), json!({ "change": true }));
    lab.refused("DELETE", &www, Json::Null, "423 protected");
    lab.refused("POST", &act("set_records"), record("203.0.113.9"), "423 protected");
    lab.post(&act("change_protection"), json!({ "change": false }));
    lab.post(&act("remove_records"), json!({ "records": [{ "value": "203.0.113.2" }, { "value": "203.0.113.3" }] }));
    lab.refused("GET", &www, Json::Null, "404 not_found");
    lab.post(&format!("{sets}/new/TXT/actions/add_records"), record("\"a b\" \"c\\\"d\""));
    assert_eq!(lab.get(&format!("{sets}?type=TXT&type=A"))["rrsets"].as_array().unwrap().len(), 1);
    let file = lab.get("/zones/example.com/zonefile")["zonefile"].as_str().unwrap().to_owned();
    assert!(file.starts_with("$ORIGIN\texample.com.\n$TTL\t3600\n\n@\tIN\tSOA\t"), "{file}");
    let copy = lab.post("/zones", json!({ "name": "example.com.de", "mode": "primary" }))["zone"]["id"].clone();
    let import = format!("/zones/{copy}/actions/import_zonefile");
    lab.refused("POST", &import, json!({ "zonefile": file }), "422 invalid_input");
    lab.post(&import, json!({ "zonefile": file.replace("example.com.", "example.com.de.") }));
    assert_eq!(lab.get(&format!("/zones/{copy}/rrsets/new/TXT"))["rrset"]["records"][0]["value"], "\"a b\" \"c\\\"d\"");
    let secondary =
        json!({ "name": "example.org", "mode": "secondary", "primary_nameservers": [{ "address": "192.0.2.1" }] });
    lab.post("/zones", secondary);
    lab.refused("GET", "/zones/example.org/rrsets", Json::Null, "422 incorrect_zone_mode");
    lab.post("/zones/example.com/actions/change_protection", json!({ "delete": true }));
    lab.refused("DELETE", "/zones/example.com", Json::Null, "423 protected");
    assert_eq!(lab.ask("DELETE", "/zones/example.org", Json::Null).status, 201);
}

#[test]
fn a_project_survives_being_written_and_read() {
    let mut lab = Lab::paced();
    lab.cloud
        .populate(3, lab.now_ms, |nth| (format!("old-{nth}"), [("n".to_owned(), nth.to_string())].into()))
        .unwrap();
    let body = json!({ "name": "web", "server_type": "cx23", "image": "debian-12" });
    let made = lab.post("/servers", body);
    let written = serde_json::to_string(&lab.cloud).unwrap();
    lab.cloud = serde_json::from_str(&written).unwrap();
    assert_eq!(serde_json::to_string(&lab.cloud).unwrap(), written);
    lab.later(11_000);
    let id = made["server"]["id"].as_u64().unwrap();
    assert_eq!(lab.status(id), "running", "what was under way goes on");
    let views = lab.cloud.view_servers();
    assert_eq!(views.len(), 4);
    assert!(views[..3].iter().all(|view| view.status == Status::Running && view.ssh_keys.len() == 1), "{views:?}");
    assert_eq!(lab.get("/zones/populated.example/rrsets?type=A")["rrsets"].as_array().unwrap().len(), 3);
}

#[test]
fn the_same_requests_have_the_same_answers() {
    let run = || {
        let mut lab = Lab::new();
        let body = json!({ "name": "web", "server_type": "cx23", "image": "debian-12" });
        (lab.ask("POST", "/servers", body), lab.ask("GET", "/servers", Json::Null))
    };
    assert_eq!(run(), run());
}

#[test]
fn pokes_change_things_behind_everybodys_back() {
    let mut lab = Lab::new();
    let id = lab.server("web", json!({}));
    lab.post("/zones", json!({ "name": "example.com", "mode": "primary" }));
    let text = |text: &str| text.to_owned();
    let pokes = [
        Poke::PowerOff(text("web")),
        Poke::Relabel(text("web"), text("a"), Some(text("1"))),
        Poke::Records(text("example.com"), text("www"), text("A"), vec![text("192.0.2.9")]),
        Poke::Rename(text("web"), text("bew")),
        Poke::ReadOnly(true),
    ];
    for poke in &pokes {
        lab.cloud.poke(poke, lab.now_ms).unwrap();
    }
    let server = lab.get(&format!("/servers/{id}"))["server"].clone();
    assert_eq!(
        (&server["status"], &server["name"], &server["labels"]["a"]),
        (&json!("off"), &json!("bew"), &json!("1"))
    );
    assert_eq!(lab.get("/zones/example.com/rrsets/www/A")["rrset"]["records"][0]["value"], "192.0.2.9");
    lab.refused("PUT", &format!("/servers/{id}"), json!({}), "401 token_readonly");
    assert!(lab.cloud.poke(&Poke::Delete(text("web")), 0).is_err(), "it has another name");
    lab.cloud.poke(&Poke::Delete(text("bew")), 0).unwrap();
    assert_eq!(lab.get("/primary_ips")["primary_ips"], json!([]));
}

#[test]
fn old_clients_see_datacenters_if_they_shall() {
    let mut lab = Lab::new();
    lab.refused("GET", "/datacenters", Json::Null, "410 deprecated_api_endpoint");
    lab.cloud.settings.datacenters = true;
    let id = lab.server("web", json!({}));
    assert_eq!(lab.get(&format!("/servers/{id}"))["server"]["datacenter"]["name"], "nbg1-dc1");
    assert_eq!(lab.get("/datacenters?name=hel1-dc1")["datacenters"][0]["location"]["name"], "hel1");
    let made = lab.post("/primary_ips", json!({ "name": "ip", "type": "ipv4", "datacenter": "hel1-dc1" }));
    assert_eq!(made["primary_ip"]["location"]["name"], "hel1");
}

#[test]
fn what_is_not_simulated_is_empty_and_says_so() {
    let mut lab = Lab::new();
    for kind in ["floating_ips", "load_balancers", "certificates", "isos", "load_balancer_types"] {
        assert_eq!(lab.get(&format!("/{kind}"))[kind], json!([]), "{kind}");
    }
    lab.refused("POST", "/load_balancers", json!({}), "422 unsupported_error");
    lab.refused("GET", "/load_balancers/7", Json::Null, "404 not_found");
    assert_eq!(lab.get("/pricing")["pricing"]["currency"], "EUR");
    assert_eq!(
        lab.get("/images?name=debian-12&architecture=x86&include_deprecated=true")["images"].as_array().unwrap().len(),
        1
    );
}
