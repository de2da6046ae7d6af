//! Servers: how they are made, what they go through, and what is refused.

use serde_json::{Value as Json, json};

use super::Lab;
use crate::hetzner::{Poke, Request, Status};

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
fn a_server_measures_itself() {
    let mut lab = Lab::new();
    let id = lab.server("web", json!({}));
    let path = format!("/servers/{id}/metrics?start=2026-11-24T00:00:00Z&end=2026-11-24T01:00:00Z");
    let found = lab.get(&format!("{path}&type=cpu,network&step=60"))["metrics"].clone();
    assert_eq!((found["step"].as_u64(), &found["end"]), (Some(60), &json!("2026-11-24T01:00:00Z")));
    let series = found["time_series"].as_object().unwrap();
    assert_eq!(series.len(), 5);
    let values = series["cpu"]["values"].as_array().unwrap();
    assert_eq!((values.len(), &values[0][0]), (60, &json!(1_795_478_400)));
    assert!(values[0][1].is_string());
    assert_eq!(found, lab.get(&format!("{path}&type=cpu,network&step=60"))["metrics"]);
    let usual = lab.get(&format!("{path}&type=disk"))["metrics"]["time_series"]["disk.0.iops.read"].clone();
    assert_eq!(usual["values"].as_array().unwrap().len(), 200);
    for wrong in ["&type=moon", "", "&type=cpu&step=x"] {
        lab.refused("GET", &format!("{path}{wrong}"), Json::Null, "422 invalid_input");
    }
}
