//! What the API may send and how we take it.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use serde_json::json;

use super::*;

#[test]
fn an_unknown_enumeration_value_is_kept() {
    let status: ServerStatus = serde_json::from_value(json!("on_holiday")).unwrap();
    assert_eq!(status, ServerStatus::Other("on_holiday".into()));
    assert_eq!(serde_json::to_value(&status).unwrap(), json!("on_holiday"));
    assert_eq!(serde_json::from_value::<ServerStatus>(json!("off")).unwrap(), ServerStatus::Off);
    assert_eq!(ServerStatus::from("\u{1b}[31mred").to_string(), "red", "shown without its escape sequence");
}

#[test]
fn a_server_with_little_told_is_still_one() {
    let server: Server =
        serde_json::from_value(json!({ "id": 1, "name": "pete", "status": "off", "labels": {} })).unwrap();
    assert_eq!((server.server_type, server.public_net, server.locked), (None, None, false));
    let nulls = json!({ "id": 1, "name": "pete", "status": "off", "labels": {}, "volumes": null, "locked": null,
        "image": null, "public_net": { "ipv4": null, "ipv6": null } });
    let server: Server = serde_json::from_value(nulls).unwrap();
    assert_eq!(server.public_net.unwrap().firewalls, None, "not told is not none");
}

#[test]
fn what_would_be_misunderstood_is_not_read() {
    for incomplete in [json!({ "id": 1, "name": "pete", "status": "off" }), json!({ "id": 1, "labels": {} })] {
        serde_json::from_value::<Server>(incomplete).unwrap_err();
    }
    let without_rules = json!({ "id": 1, "name": "f", "labels": {}, "applied_to": [] });
    serde_json::from_value::<Firewall>(without_rules).unwrap_err();
}

#[test]
fn a_free_address_is_one() {
    let ip = json!({ "id": 5, "name": "a", "ip": "192.0.2.1", "type": "ipv4", "labels": {}, "assignee_id": null,
        "assignee_type": "unassigned", "auto_delete": false, "blocked": false, "protection": { "delete": true } });
    let ip: PrimaryIp = serde_json::from_value(ip).unwrap();
    assert_eq!((ip.kind, ip.assignee_id), (IpType::V4, None));
}

#[test]
fn a_size_tells_where_it_can_be_ordered() {
    let size = json!({ "id": 114, "name": "cx23", "description": "CX23", "cores": 2, "memory": 4.0, "disk": 40,
        "architecture": "x86", "cpu_type": "shared", "storage_type": "local", "deprecated": false,
        "locations": [{ "id": 1, "name": "fsn1", "available": false, "recommended": false, "deprecation": null }],
        "prices": [{ "location": "fsn1", "included_traffic": 1, "price_hourly": { "net": "0.0088", "gross": "0.0105" },
            "price_monthly": { "net": "5.4900000000", "gross": "6.5331000000" } }] });
    let size: ServerType = serde_json::from_value(size).unwrap();
    assert_eq!(size.locations[0].available, Some(false));
    assert_eq!(size.prices[0].price_monthly.as_ref().unwrap().net, "5.4900000000");
}
