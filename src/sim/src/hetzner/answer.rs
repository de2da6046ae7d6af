//! One request, from its path to its answer: whether the path exists, who asks, how often, and which resource answers.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::body::{Request, Response, decode};
use super::catalog;
use super::refusal::Refusal;
use super::routes::{Route, route};
use super::{Cloud, mix};

/// What a resource answers, before headers.
#[derive(Debug)]
pub(super) struct Reply {
    pub status: u16,
    pub json: Json,
    pub link: Option<String>,
}

impl Reply {
    pub fn new(status: u16, json: Json) -> Self {
        Self { status, json, link: None }
    }

    pub fn nothing() -> Self {
        Self::new(204, Json::Null)
    }
}

/// How many requests are left, in thousandths, as of a moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Bucket {
    spent_milli: u64,
    at_ms: u64,
}

impl Bucket {
    /// Takes one request out, if one is left.
    fn take(&mut self, per_hour: u64, now_ms: u64) -> bool {
        let refilled = now_ms.saturating_sub(self.at_ms).saturating_mul(per_hour) / 3600;
        self.spent_milli = self.spent_milli.saturating_sub(refilled);
        self.at_ms = now_ms;
        let left = self.spent_milli + 1000 <= per_hour * 1000;
        if left {
            self.spent_milli += 1000;
        }
        left
    }

    fn remaining(&self, per_hour: u64) -> u64 {
        per_hour.saturating_sub(self.spent_milli.div_ceil(1000))
    }

    /// Returns when it is full again, in seconds since 1970.
    fn full_at(&self, per_hour: u64) -> u64 {
        (self.at_ms + self.spent_milli * 3600 / per_hour.max(1)).div_ceil(1000)
    }
}

impl Cloud {
    pub(super) fn answer(&mut self, request: &Request) -> Response {
        let segments: Vec<String> = request.path.split('/').skip(1).map(|segment| decode(segment, false)).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let known = match segments.as_slice() {
            ["v1", rest @ ..] => route(rest),
            _ => None,
        };
        let Some(known) = known else { return self.no_such_route() };
        let outcome = self.admit(request, &known).and_then(|()| self.dispatch(request, &segments[1..]));
        self.respond(outcome)
    }

    /// Refuses who may not ask, or asks too often.
    fn admit(&mut self, request: &Request, route: &Route) -> Result<(), Refusal> {
        let per_hour = self.settings.rate_per_hour;
        let in_time = per_hour == 0 || self.bucket.take(per_hour, self.now_ms);
        let unauthorized = |message: &str| Refusal::new(401, "unauthorized", message);
        let token = request.bearer.as_deref().ok_or_else(|| unauthorized("token is required"))?;
        let settings = &self.settings;
        let known = settings.tokens.is_empty() || settings.tokens.contains(token);
        if token.is_empty() || !known || settings.revoked.contains(token) {
            return Err(unauthorized("the token you have provided is invalid"));
        }
        if !in_time {
            let message = format!("limit of {per_hour} requests per hour reached");
            return Err(Refusal::new(429, "rate_limit_exceeded", message));
        }
        if !route.methods.split(' ').any(|method| method == request.method) {
            return Err(Refusal::new(405, "method_not_allowed", "method not allowed"));
        }
        if request.method != "GET" && (settings.read_only || token.starts_with("readonly")) {
            return Err(Refusal::new(401, "token_readonly", "the token is only allowed to perform GET requests"));
        }
        Ok(())
    }

    fn dispatch(&mut self, request: &Request, segments: &[&str]) -> Result<Reply, Refusal> {
        let (first, rest) = segments.split_first().map_or(("", [].as_slice()), |(first, rest)| (*first, rest));
        match first {
            "actions" => match rest {
                [id] => self.action(id),
                _ => self.actions_by_id(request),
            },
            "servers" => self.servers_route(request, rest),
            "ssh_keys" => self.ssh_keys_route(request, rest),
            "firewalls" => self.firewalls_route(request, rest),
            "primary_ips" => self.primary_ips_route(request, rest),
            "networks" => self.networks_route(request, rest),
            "volumes" => self.volumes_route(request, rest),
            "placement_groups" => self.placement_groups_route(request, rest),
            "images" => self.images_route(request, rest),
            "zones" => self.zones_route(request, rest),
            "server_types" => self.server_types_route(request, rest),
            "locations" => self.locations_route(request, rest),
            "pricing" => Ok(Reply::new(200, catalog::pricing())),
            "datacenters" if self.settings.datacenters => self.datacenters_route(request, rest),
            "datacenters" => Err(retired_datacenters()),
            other => self.absent_route(request, other, rest),
        }
    }

    /// Returns a refusal as an answer.
    pub(super) fn refuse(&mut self, refusal: Refusal) -> Response {
        self.respond(Err(refusal))
    }

    fn respond(&mut self, outcome: Result<Reply, Refusal>) -> Response {
        let reply = outcome.unwrap_or_else(|refusal| Reply::new(refusal.status, refusal.body()));
        let body = if reply.json.is_null() { Vec::new() } else { reply.json.to_string().into_bytes() };
        let mut response = Response { status: reply.status, headers: Vec::new(), body };
        if !response.body.is_empty() {
            response.headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        }
        response.headers.extend(reply.link.map(|link| ("Link".to_owned(), link)));
        self.stamp(&mut response);
        response
    }

    /// The gateway in front of the API answers this one, before anybody asks who is asking.
    fn no_such_route(&mut self) -> Response {
        let body = b"{\n  \"error\": {\n    \"message\": \"api route not found\",\n    \"code\": \"not_found\",\n    \"details\": null\n  }\n}\n";
        let kind = ("Content-Type".to_owned(), "application/json; charset=UTF-8".to_owned());
        let mut response = Response { status: 404, headers: vec![kind], body: body.to_vec() };
        self.stamp(&mut response);
        response
    }

    /// Adds the headers of every answer.
    fn stamp(&mut self, response: &mut Response) {
        let per_hour = if self.settings.rate_per_hour == 0 { 3600 } else { self.settings.rate_per_hour };
        let correlation = format!("{:016x}{:016x}", self.draw(), mix(self.draws));
        let headers = [
            ("RateLimit-Limit", per_hour.to_string()),
            ("RateLimit-Remaining", self.bucket.remaining(per_hour).to_string()),
            ("RateLimit-Reset", self.bucket.full_at(per_hour).to_string()),
            ("X-Correlation-Id", correlation),
        ];
        response.headers.extend(headers.map(|(name, value)| (name.to_owned(), value)));
    }

    /// What this simulator has none of: lists are empty, and nothing can be made.
    fn absent_route(&self, request: &Request, collection: &str, rest: &[&str]) -> Result<Reply, Refusal> {
        let one = collection.trim_end_matches('s').replace('_', " ");
        match (request.method.as_str(), rest) {
            ("GET", []) => self.list(request, collection, std::iter::empty::<&super::state::Action>()),
            ("GET", ["actions"] | [_, "actions"]) => {
                self.list(request, "actions", std::iter::empty::<&super::state::Action>())
            }
            ("POST", []) => Err(Refusal::unsupported(&one)),
            (_, [id, ..]) => Err(Refusal::not_found(&one, id)),
            _ => Err(Refusal::unsupported(&one)),
        }
    }
}

fn retired_datacenters() -> Refusal {
    let announcement = "https://docs.hetzner.cloud/changelog#2026-06-02-datacenters-deprecated";
    let details = serde_json::json!({ "announcement": announcement });
    Refusal { details, ..Refusal::new(410, "deprecated_api_endpoint", "this API endpoint is deprecated") }
}
