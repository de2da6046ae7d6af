//! What the simulated API holds to, asked as a client asks.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod parts;
mod servers;

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
