//! The admin RPC over HTTP: the read methods claw asks. Everything else is refused as an unknown method.

use serde_json::{Value, json};

use crate::gateway::{Active, Gateway};
use crate::http::{Request, Response};

/// Returns the answer to one call of an authorised peer.
pub(crate) fn answer(gateway: &Gateway, request: &Request) -> Response {
    let call: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let id = match &call["id"] {
        Value::Null => Value::from(format!("rpc-{}", gateway.surroundings.uptime_ms())),
        given => given.clone(),
    };
    let active = gateway.active();
    let payload = match call["method"].as_str() {
        Some("health") => json!({"ok": true, "configReload": {"hotReloadStatus": "active"}}),
        Some("status") => status(gateway, &active),
        Some("models.authStatus") => auth_status(&active),
        Some("config.get") => config(gateway, &active),
        Some("channels.status") => json!({"channels": {}}),
        _ => {
            let error = json!({"code": "INVALID_REQUEST", "message": "method is not available over admin HTTP RPC"});
            return Response::json(400, &json!({"id": id, "ok": false, "error": error}));
        }
    };
    Response::json(200, &json!({"id": id, "ok": true, "payload": payload}))
}

fn status(gateway: &Gateway, active: &Active) -> Value {
    let degraded = active.secrets.degraded().map(|key| {
        json!({
            "ownerKind": "provider",
            "ownerId": key.provider,
            "state": "unavailable",
            "paths": [format!("models.providers.{}.apiKey", key.provider)],
        })
    });
    json!({
        "runtimeVersion": gateway.surroundings.image.version(),
        "pid": std::process::id(),
        "degradedPlugins": [],
        "degradedSecretOwners": degraded.collect::<Vec<_>>(),
    })
}

fn auth_status(active: &Active) -> Value {
    let providers =
        active.secrets.provider_keys.iter().map(
            |key| json!({"provider": key.provider, "status": if key.problem.is_none() { "ok" } else { "missing" }}),
        );
    json!({"providers": providers.collect::<Vec<_>>()})
}

fn config(gateway: &Gateway, active: &Active) -> Value {
    let issues = active.revision.issues.iter();
    json!({
        "path": gateway.config_path,
        "exists": active.revision.exists,
        "valid": active.revision.issues.is_empty(),
        "issues": issues.map(|issue| json!({"path": issue.path, "message": issue.message})).collect::<Vec<_>>(),
        "parsed": active.config.shown(),
        "hash": active.revision.hash,
        "configRevisionHash": active.revision.hash,
        "appliedConfigHash": active.config.hash(),
    })
}
