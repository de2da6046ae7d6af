//! What servers are made with and found by: addresses, keys, firewalls, networks, volumes, records.

use serde_json::{Value as Json, json};

use super::{KEY, Lab};

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
