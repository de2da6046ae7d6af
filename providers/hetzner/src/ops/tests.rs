//! What the calls send, and what they make of the answers.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use serde_json::json;

use super::*;
use crate::pages::Filter;
use crate::stub::{Bed, Reply, action, bed, ssh_key};
use crate::wire::{Direction, IpType, Protocol, Record, RecordType, Rule};

fn labels() -> Labels {
    Labels::from([("fleet".to_owned(), "blue".to_owned())])
}

fn server(id: u64) -> Value {
    json!({ "id": id, "name": "pete", "status": "initializing", "labels": { "fleet": "blue" }, "locked": false,
        "server_type": { "id": 114, "name": "cx23" }, "image": null, "location": { "id": 1, "name": "fsn1" },
        "public_net": { "ipv4": { "id": 5, "ip": "192.0.2.1", "blocked": false, "dns_ptr": "x" }, "ipv6": null,
            "firewalls": [{ "id": 3, "status": "pending" }], "floating_ips": [] },
        "protection": { "delete": false, "rebuild": false }, "primary_disk_size": 40, "volumes": [] })
}

fn begun(ids: &[u64]) -> Value {
    json!({ "actions": ids.iter().map(|id| action(*id, "running", 0)).collect::<Vec<_>>() })
}

fn request(bed: &Bed) -> (String, Value) {
    let asked = bed.asked().pop().unwrap();
    (asked.line(), asked.body)
}

#[tokio::test]
async fn a_server_is_made_with_all_that_marks_and_guards_it() {
    let bed = bed(|_, _| {
        let next = [action(11, "running", 0)];
        let first = action(10, "running", 0);
        Reply::json(
            201,
            json!({ "server": server(1), "action": first, "next_actions": next, "root_password": "hunter2" }),
        )
    })
    .await;
    let (labels, keys) = (labels(), ["control".to_owned()]);
    let new = NewServer {
        name: "pete",
        server_type: "cx23",
        image: "debian-13",
        location: "fsn1",
        ssh_keys: &keys,
        firewalls: &[3, 4],
        labels: &labels,
        public_net: PublicNet { enable_ipv4: true, enable_ipv6: false, ipv4: Some(5), ipv6: None },
        user_data: Some("#cloud-config\nsecret"),
        start_after_create: true,
    };
    let created = bed.client.create_server(&new).await.unwrap();
    assert_eq!(created.what.id, 1);
    assert_eq!(created.actions.iter().map(|action| action.id).collect::<Vec<_>>(), [10, 11]);
    assert!(!format!("{created:?}").contains("hunter2") && !format!("{new:?}").contains("secret"));
    let expected = json!({ "name": "pete", "server_type": "cx23", "image": "debian-13", "location": "fsn1",
        "ssh_keys": ["control"], "firewalls": [{ "firewall": 3 }, { "firewall": 4 }], "labels": { "fleet": "blue" },
        "public_net": { "enable_ipv4": true, "enable_ipv6": false, "ipv4": 5 }, "user_data": "#cloud-config\nsecret",
        "start_after_create": true });
    assert_eq!(request(&bed), ("POST /servers".into(), expected));
}

#[tokio::test]
async fn a_create_whose_answer_cannot_be_read_may_have_happened() {
    let bed = bed(|_, _| Reply::json(201, json!({ "server": { "id": 1 } }))).await;
    let labels = labels();
    let new = NewSshKey { name: "control", public_key: "ssh-ed25519 AAAA", labels: &labels };
    let error = bed.client.create_ssh_key(&new).await.unwrap_err();
    assert!(error.may_have_happened(), "{error:?}");
    assert_eq!(bed.lines().len(), 1);
}

#[tokio::test]
async fn server_actions_go_where_they_belong() {
    let bed = bed(|_, _| Reply::json(201, json!({ "action": action(12, "running", 0) }))).await;
    let client = &bed.client;
    assert_eq!(client.power_on(1).await.unwrap()[0].id, 12);
    assert_eq!(request(&bed), ("POST /servers/1/actions/poweron".into(), Value::Null));
    client.power_off(1).await.unwrap();
    assert_eq!(request(&bed).0, "POST /servers/1/actions/poweroff");
    client.shut_down(1).await.unwrap();
    assert_eq!(request(&bed).0, "POST /servers/1/actions/shutdown");
    client.change_server_type(1, "cx33", false).await.unwrap();
    let expected = json!({ "server_type": "cx33", "upgrade_disk": false });
    assert_eq!(request(&bed), ("POST /servers/1/actions/change_type".into(), expected));
    client.protect_server(1, true).await.unwrap();
    let expected = json!({ "delete": true, "rebuild": true });
    assert_eq!(request(&bed), ("POST /servers/1/actions/change_protection".into(), expected));
    client.delete_server(1).await.unwrap();
    assert_eq!(request(&bed).0, "DELETE /servers/1");
}

#[tokio::test]
async fn firewalls_are_made_ruled_and_applied() {
    let bed = bed(|asked, _| match asked.path.as_str() {
        "/firewalls" => {
            let firewall = json!({ "id": 3, "name": "f", "labels": {}, "rules": [], "applied_to": [] });
            Reply::json(201, json!({ "firewall": firewall, "actions": [] }))
        }
        "/firewalls/4/actions/apply_to_resources" => Reply::error(422, "firewall_already_applied"),
        _ => Reply::json(201, begun(&[1, 2])),
    })
    .await;
    let rule = Rule {
        direction: Direction::In,
        protocol: Protocol::Tcp,
        port: Some("22".into()),
        source_ips: vec!["192.0.2.0/24".into()],
        destination_ips: Vec::new(),
        description: None,
    };
    let wire = json!({ "direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["192.0.2.0/24"] });
    let labels = labels();
    let new = NewFirewall { name: "f", labels: &labels, rules: std::slice::from_ref(&rule) };
    assert_eq!(bed.client.create_firewall(&new).await.unwrap().what.id, 3);
    assert_eq!(request(&bed).1, json!({ "name": "f", "labels": { "fleet": "blue" }, "rules": [wire] }));
    assert_eq!(bed.client.set_firewall_rules(3, &[rule]).await.unwrap().len(), 2);
    assert_eq!(request(&bed), ("POST /firewalls/3/actions/set_rules".into(), json!({ "rules": [wire] })));
    bed.client.apply_firewall(3, 7).await.unwrap();
    assert_eq!(request(&bed).1, json!({ "apply_to": [{ "type": "server", "server": { "id": 7 } }] }));
    assert_eq!(bed.client.apply_firewall(4, 7).await.unwrap(), [], "one that holds already is fine");
    bed.client.remove_firewall(3, 7).await.unwrap();
    assert_eq!(request(&bed).1, json!({ "remove_from": [{ "type": "server", "server": { "id": 7 } }] }));
}

#[tokio::test]
async fn addresses_are_had_without_a_server() {
    let ip = json!({ "id": 5, "name": "a", "ip": "192.0.2.1", "type": "ipv4", "labels": {}, "assignee_id": null,
        "assignee_type": "unassigned", "auto_delete": false, "location": { "id": 1, "name": "fsn1" } });
    let answer = json!({ "primary_ip": ip });
    let bed = bed(move |_, _| Reply::json(201, answer.clone())).await;
    let labels = labels();
    let new = NewPrimaryIp { name: "a", kind: IpType::V4, location: "fsn1", auto_delete: false, labels: &labels };
    let created = bed.client.create_primary_ip(&new).await.unwrap();
    assert_eq!((created.what.assignee_id, created.actions.len()), (None, 0));
    let expected = json!({ "name": "a", "type": "ipv4", "assignee_type": "server", "location": "fsn1",
        "auto_delete": false, "labels": { "fleet": "blue" } });
    assert_eq!(request(&bed).1, expected);
    bed.client.set_auto_delete(5, false).await.unwrap();
    assert_eq!(request(&bed), ("PUT /primary_ips/5".into(), json!({ "auto_delete": false })));
}

#[tokio::test]
async fn record_sets_are_made_changed_and_deleted() {
    let rrset = json!({ "id": "@/TXT", "name": "@", "type": "TXT", "ttl": null, "labels": {}, "zone": 1,
        "records": [{ "value": "\"a\"" }], "protection": { "change": false } });
    let answer = json!({ "rrset": rrset, "action": action(1, "running", 0) });
    let bed = bed(move |_, _| Reply::json(201, answer.clone())).await;
    let (client, labels) = (&bed.client, labels());
    let records = [Record { value: "\"a\"".into(), comment: None }];
    let new = NewRrset { name: "@", kind: RecordType::Txt, ttl: None, records: &records, labels: &labels };
    let created = client.create_rrset("example.com", &new).await.unwrap();
    assert_eq!((created.what.kind, created.actions.len()), (RecordType::Txt, 1));
    let expected = json!({ "name": "@", "type": "TXT", "ttl": null, "records": [{ "value": "\"a\"" }],
        "labels": { "fleet": "blue" } });
    assert_eq!(request(&bed), ("POST /zones/example.com/rrsets".into(), expected));
    client.set_records("example.com", "*.a", &RecordType::A, &records).await.unwrap();
    assert_eq!(request(&bed).0, "POST /zones/example.com/rrsets/*.a/A/actions/set_records");
    client.change_rrset_ttl("example.com", "@", &RecordType::Txt, None).await.unwrap();
    let expected = json!({ "ttl": null });
    assert_eq!(request(&bed), ("POST /zones/example.com/rrsets/@/TXT/actions/change_ttl".into(), expected));
    client.label_rrset("example.com", "@", &RecordType::Txt, &labels).await.unwrap();
    assert_eq!(request(&bed), ("PUT /zones/example.com/rrsets/@/TXT".into(), json!({ "labels": { "fleet": "blue" } })));
    assert_eq!(client.delete_rrset("example.com", "@", &RecordType::Txt).await.unwrap().len(), 1);
}

#[tokio::test]
async fn one_that_is_not_there_is_none() {
    let bed = bed(|asked, _| match asked.path.as_str() {
        "/servers/1" => Reply::json(200, json!({ "server": server(1) })),
        _ => Reply::error(404, "not_found"),
    })
    .await;
    assert_eq!(bed.client.server(1).await.unwrap().unwrap().name, "pete");
    assert_eq!(bed.client.server(2).await.unwrap(), None);
}

#[tokio::test]
async fn names_and_images_are_looked_up_exactly() {
    let bed = bed(|_, _| Reply::json(200, json!({ "ssh_keys": [ssh_key(1)], "images": [] }))).await;
    bed.client.ssh_keys(&Filter::named("control")).await.unwrap();
    assert_eq!(bed.asked()[0].one("name"), Some("control"));
    let wanted =
        ImageFilter { name: Some("debian-13"), architecture: Some(crate::wire::Architecture::Arm), kind: None };
    bed.client.images(&wanted).await.unwrap();
    let asked = bed.asked().pop().unwrap();
    assert_eq!((asked.one("name"), asked.one("architecture")), (Some("debian-13"), Some("arm")));
    assert_eq!(asked.one("include_deprecated"), Some("true"));
}

#[tokio::test]
async fn calls_cross_the_seam() {
    let bed = bed(|_, _| Reply::json(200, json!({ "servers": [] }))).await;
    let everything: claw_core::provider::BoxFuture<'_, Result<(), ApiError>> = Box::pin(async {
        bed.client.servers(&Filter::all()).await?;
        bed.client.wait(&[]).await?;
        bed.client.delete_server(1).await.map(|_| ())
    });
    everything.await.unwrap();
}
