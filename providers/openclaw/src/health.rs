//! Decides whether an agent is healthy: started, ready, every secret in use resolved, its model provider's key there.

use claw_core::text::clean;
use serde_json::Value as Json;

use crate::gateway::{Answer, AskError};

/// How an agent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It can answer.
    Healthy {
        /// The version the gateway says it is.
        version: Option<String>,
    },
    /// Not yet: what it waits for.
    Starting(String),
    /// It runs and cannot answer: why.
    Unhealthy(String),
}

/// What the gateway answered to the questions health is decided from.
#[derive(Debug, Default)]
pub struct Vitals {
    /// `/startupz`
    pub startup: Option<Answer>,
    /// `/readyz`
    pub ready: Option<Answer>,
    /// The payload of `status`.
    pub status: Option<Json>,
    /// The payload of `models.authStatus`.
    pub auth: Option<Json>,
    /// The payload of `channels.status`, asked for when the gateway is not ready.
    pub channels: Option<Json>,
}

/// Returns how an agent is, from what its gateway answered.
pub fn decide(vitals: &Vitals, version: Option<String>) -> Health {
    match &vitals.startup {
        Some(answer) if answer.status == 200 && answer.body["status"] == "started" => {}
        Some(_) => return Health::Starting("the gateway is starting".to_owned()),
        None => return Health::Starting("the gateway does not listen yet".to_owned()),
    }
    match &vitals.ready {
        Some(answer) if answer.status == 200 && answer.body["ready"] == true => {}
        Some(answer) if only_channels_fail(answer, vitals.channels.as_ref()) => {}
        Some(answer) => return Health::Starting(format!("not ready: {}", names(&answer.body["failing"]))),
        None => return Health::Starting("the gateway does not say that it is ready".to_owned()),
    }
    let degraded = vitals.status.as_ref().map(|status| owners(&status["degradedSecretOwners"])).unwrap_or_default();
    if !degraded.is_empty() {
        return Health::Unhealthy(format!("secrets do not resolve: {degraded}"));
    }
    let missing = vitals.auth.as_ref().map(missing_auth).unwrap_or_default();
    if !missing.is_empty() {
        return Health::Unhealthy(format!("no key for model provider {missing}"));
    }
    Health::Healthy { version }
}

/// Returns why a question failed, in the words of health; `None` when the gateway is only not up yet.
pub fn refused(error: &AskError) -> Option<Health> {
    matches!(error, AskError::Unauthorized).then(|| Health::Unhealthy("the gateway refuses claw's token".to_owned()))
}

/// Whether nothing but channels keeps a gateway from being ready: they come and go with the networks they are on, and the
/// agent answers without them.
fn only_channels_fail(ready: &Answer, channels: Option<&Json>) -> bool {
    let known = channels.and_then(|channels| channels["channelAccounts"].as_object());
    let failing = ready.body["failing"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_channel = |name: &Json| {
        let name = name.as_str().unwrap_or_default();
        known.is_some_and(|known| known.contains_key(name))
    };
    !failing.is_empty() && failing.iter().all(is_channel)
}

fn names(list: &Json) -> String {
    let names: Vec<String> =
        list.as_array().into_iter().flatten().filter_map(Json::as_str).map(|name| clean(name, 60)).take(5).collect();
    if names.is_empty() { "no reason given".to_owned() } else { names.join(", ") }
}

fn owners(list: &Json) -> String {
    let owners = list.as_array().into_iter().flatten();
    let names: Vec<String> = owners
        .map(|owner| {
            let text = |key: &str| owner[key].as_str().unwrap_or("?").to_owned();
            clean(&format!("{} {}", text("ownerKind"), text("ownerId")), 80)
        })
        .take(5)
        .collect();
    names.join(", ")
}

fn missing_auth(auth: &Json) -> String {
    let providers = auth["providers"].as_array().into_iter().flatten();
    let missing: Vec<String> = providers
        .filter(|provider| provider["status"] == "missing")
        .filter_map(|provider| provider["provider"].as_str())
        .map(|name| clean(name, 60))
        .take(5)
        .collect();
    missing.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn vitals(startup: u16, ready: bool) -> Vitals {
        Vitals {
            startup: Some(Answer {
                status: startup,
                body: json!({"status": if startup == 200 { "started" } else { "starting" }}),
            }),
            ready: Some(Answer { status: 200, body: json!({"ready": ready, "failing": ["gateway-draining"]}) }),
            status: Some(json!({"degradedSecretOwners": []})),
            auth: Some(json!({"providers": [{"provider": "fake", "status": "ok"}]})),
            channels: None,
        }
    }

    #[test]
    fn started_ready_and_provided_for_is_healthy() {
        assert_eq!(decide(&vitals(200, true), None), Health::Healthy { version: None });
    }

    #[test]
    fn ready_is_not_enough_when_a_secret_does_not_resolve() {
        let mut vitals = vitals(200, true);
        vitals.status = Some(json!({"degradedSecretOwners": [{"ownerKind": "provider", "ownerId": "fake"}]}));
        assert_eq!(decide(&vitals, None), Health::Unhealthy("secrets do not resolve: provider fake".into()));
    }

    #[test]
    fn a_missing_provider_key_is_unhealthy() {
        let mut vitals = vitals(200, true);
        vitals.auth = Some(json!({"providers": [{"provider": "fake", "status": "missing"}]}));
        assert!(matches!(decide(&vitals, None), Health::Unhealthy(_)));
    }

    #[test]
    fn a_channel_that_does_not_connect_does_not_make_the_agent_unhealthy() {
        let mut vitals = vitals(200, true);
        vitals.ready = Some(Answer { status: 503, body: json!({"ready": false, "failing": ["telegram"]}) });
        assert_eq!(decide(&vitals, None), Health::Starting("not ready: telegram".into()));
        vitals.channels = Some(json!({"channelAccounts": {"telegram": []}}));
        assert_eq!(decide(&vitals, None), Health::Healthy { version: None });
    }

    #[test]
    fn starting_says_what_it_waits_for() {
        assert!(matches!(decide(&vitals(503, true), None), Health::Starting(_)));
        assert_eq!(decide(&vitals(200, false), None), Health::Starting("not ready: gateway-draining".into()));
    }
}
