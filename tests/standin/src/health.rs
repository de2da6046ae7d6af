//! The probes: live, started, ready. A peer that is neither on loopback nor authorised is told less.

use serde_json::json;

use crate::gateway::{Gateway, Stage};
use crate::http::{Request, Response};

/// Returns the answer to a probe; `None` for any other path.
pub(crate) fn answer(gateway: &Gateway, request: &Request) -> Option<Response> {
    match request.path.as_str() {
        "/health" | "/healthz" => Some(Response::json(200, &json!({"ok": true, "status": "live"}))),
        "/startup" | "/startupz" => Some(started(gateway, request)),
        "/ready" | "/readyz" => Some(ready(gateway, request)),
        _ => None,
    }
}

fn started(gateway: &Gateway, request: &Request) -> Response {
    if gateway.stage() == Stage::Starting {
        return Response::json(503, &json!({"status": "starting"}));
    }
    let mut body = json!({"ok": true, "status": "started"});
    if tells_all(gateway, request) {
        body["version"] = gateway.surroundings.image.version().into();
        body["uptimeMs"] = gateway.surroundings.uptime_ms().into();
    }
    Response::json(200, &body)
}

fn ready(gateway: &Gateway, request: &Request) -> Response {
    let (status, failing) = match gateway.stage() {
        Stage::Starting => (503, vec!["gateway-starting"]),
        Stage::Started => (503, vec!["standin-deaf"]),
        Stage::Ready => (200, vec![]),
    };
    let mut body = json!({"ready": failing.is_empty()});
    if tells_all(gateway, request) {
        body["failing"] = failing.into();
        body["uptimeMs"] = gateway.surroundings.uptime_ms().into();
    }
    Response::json(status, &body)
}

fn tells_all(gateway: &Gateway, request: &Request) -> bool {
    request.is_local || gateway.authorises(request)
}
