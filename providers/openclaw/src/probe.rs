//! Says how a model provider is asked whether it takes a key, at no cost, and what its answer means. Sends nothing itself:
//! the question is asked from inside the agent's container, by [`SCRIPT`].

use std::collections::BTreeSet;

use claw_core::text::clean;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use url::Url;

use crate::catalog;
use crate::config::{reference_key, sends_elsewhere};
use crate::layout::SECRETS_FILE;

/// What is run in the container, with Node. It is told [`input`] and answers one JSON array.
pub const SCRIPT: &str = include_str!("probe.mjs");
/// How long a provider may take to answer, in seconds.
pub const SECONDS_MAX: u64 = 10;

/// What a provider says of a key that is right and may not do this: it is no refusal.
const NARROW: [&str; 2] = ["insufficient permissions", "Missing scopes"];
/// What a provider says of a wrong key where it answers 400. Google and xAI do.
const WRONG: [&str; 2] = ["API_KEY_INVALID", "Incorrect API key"];

/// How a key is shown to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Header {
    /// `Authorization: Bearer KEY`
    Bearer,
    /// `x-api-key: KEY`, with a version.
    Anthropic,
    /// `x-goog-api-key: KEY`
    Google,
}

/// One question to one provider about one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The provider's name in the configuration.
    pub provider: String,
    /// The key's name in the secret file.
    pub key: String,
    /// What is asked for.
    pub url: Url,
    header: Header,
}

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The provider takes the key.
    Good,
    /// The provider refuses the key, with this HTTP status.
    Refused(u64),
    /// The provider could not be asked now, and why.
    Unreached(String),
    /// It cannot be told this way.
    Unclear,
}

/// Returns the questions about changed keys that a configuration gives to model providers. `variables` are those of the
/// agent's environment: some, there or in the configuration, send it elsewhere, and then only OpenClaw knows where to.
pub fn probes<'a>(
    config: &'a Json,
    changed: &BTreeSet<String>,
    variables: impl IntoIterator<Item = &'a str>,
) -> Vec<Probe> {
    let own = ["/env", "/env/vars"].into_iter().filter_map(|path| config.pointer(path)).filter_map(Json::as_object);
    let mut all = variables.into_iter().chain(own.flat_map(|map| map.keys().map(String::as_str)));
    if all.any(sends_elsewhere) {
        return Vec::new();
    }
    let providers = config.pointer("/models/providers").and_then(Json::as_object).into_iter().flatten();
    let asked = providers.filter_map(|(name, provider)| {
        let key = reference_key(&provider["apiKey"]).filter(|key| changed.contains(*key))?;
        let (url, header) = question(name, provider)?;
        Some(Probe { provider: name.clone(), key: key.to_owned(), url, header })
    });
    asked.collect()
}

/// Returns what a provider is asked for; `None` where only OpenClaw knows how it is spoken to.
fn question(name: &str, provider: &Json) -> Option<(Url, Header)> {
    let by_key = provider.get("auth").is_none_or(|auth| auth == "api-key");
    let request = provider["request"].as_object().into_iter().flatten();
    let plain = provider.get("headers").is_none() && request.into_iter().all(|(key, _)| key == "allowPrivateNetwork");
    if !by_key || !plain {
        return None;
    }
    let known = catalog::probe(name);
    let Some(base) = provider.get("baseUrl") else {
        return known.and_then(|known| Some((Url::parse(&known.url).ok()?, known.header)));
    };
    let mut url = Url::parse(base.as_str()?).ok()?;
    if !["http", "https"].contains(&url.scheme()) || !url.username().is_empty() || base.as_str()?.contains("${") {
        return None;
    }
    let header = match provider["api"].as_str() {
        Some("openai-completions" | "openai-responses") => Header::Bearer,
        Some("anthropic-messages") => Header::Anthropic,
        Some("google-generative-ai") => Header::Google,
        Some(_) => return None,
        None => known?.header,
    };
    let path = url.path().trim_end_matches('/').to_owned();
    let models = if header == Header::Anthropic && !path.ends_with("/v1") { "/v1/models" } else { "/models" };
    url.set_path(&format!("{path}{models}"));
    let bearer = provider["authHeader"] == true;
    Some((url, if bearer { Header::Bearer } else { header }))
}

/// Returns what [`SCRIPT`] is told. Holds no key.
pub fn input(probes: &[Probe]) -> String {
    let questions: Vec<Json> = probes
        .iter()
        .map(|probe| {
            let header = match probe.header {
                Header::Bearer => "bearer",
                Header::Anthropic => "anthropic",
                Header::Google => "google",
            };
            let words: Vec<&str> = NARROW.into_iter().chain(WRONG).collect();
            json!({ "url": probe.url.as_str(), "header": header, "key": probe.key, "words": words })
        })
        .collect();
    json!({ "file": SECRETS_FILE, "seconds": SECONDS_MAX, "questions": questions }).to_string()
}

/// Returns what the script's output means for each of the questions it was told; nothing where it is not its output. Node
/// may have said something of its own before.
pub fn verdicts(output: &str, count: usize) -> Vec<Verdict> {
    let line = output.lines().rev().find(|line| line.starts_with('[')).unwrap_or_default();
    let answers: Vec<Json> = serde_json::from_str(line).unwrap_or_default();
    if answers.len() == count { answers.iter().map(judge).collect() } else { Vec::new() }
}

fn judge(answer: &Json) -> Verdict {
    if let Some(why) = answer["failed"].as_str() {
        return Verdict::Unreached(clean(why, 60));
    }
    let said = |words: &[&str]| {
        let said = answer["said"].as_array().into_iter().flatten();
        said.filter_map(Json::as_str).any(|one| words.contains(&one))
    };
    match answer["status"].as_u64() {
        Some(200..=299) => Verdict::Good,
        Some(401 | 403) if said(&NARROW) => Verdict::Unclear,
        Some(status @ (401 | 403)) => Verdict::Refused(status),
        Some(400) if said(&WRONG) => Verdict::Refused(400),
        Some(status @ 500..=599) => Verdict::Unreached(format!("HTTP {status}")),
        _ => Verdict::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(key: &str) -> Json {
        json!({ "source": "file", "provider": "claw", "id": format!("/{key}") })
    }

    /// Returns the questions about one provider whose key changed.
    fn asked(name: &str, mut provider: Json) -> Vec<String> {
        provider["apiKey"] = reference("default.KEY");
        let config = json!({ "models": { "providers": { name: provider } } });
        let probes = probes(&config, &["default.KEY".to_owned()].into(), []);
        probes.iter().map(|probe| format!("{} {:?} {}", probe.key, probe.header, probe.url)).collect()
    }

    #[test]
    fn a_bundled_provider_is_asked_where_the_catalog_says() {
        for (name, expected) in [
            ("anthropic", "default.KEY Anthropic https://api.anthropic.com/v1/models"),
            ("google", "default.KEY Google https://generativelanguage.googleapis.com/v1beta/models"),
            ("openai", "default.KEY Bearer https://api.openai.com/v1/models"),
            ("openrouter", "default.KEY Bearer https://openrouter.ai/api/v1/key"),
        ] {
            assert_eq!(asked(name, json!({})), [expected]);
        }
        assert_eq!(asked("huggingface", json!({})), [""; 0], "its list is open to everybody");
        assert_eq!(asked("mine", json!({})), [""; 0], "nobody knows where it is");
    }

    #[test]
    fn an_endpoint_of_ones_own_is_asked_as_its_api_is_spoken() {
        for (api, base, expected) in [
            ("openai-completions", "http://llm:18990/v1", "default.KEY Bearer http://llm:18990/v1/models"),
            ("openai-responses", "https://llm.example/", "default.KEY Bearer https://llm.example/models"),
            ("anthropic-messages", "https://llm.example", "default.KEY Anthropic https://llm.example/v1/models"),
            (
                "anthropic-messages",
                "https://llm.example/a/v1/",
                "default.KEY Anthropic https://llm.example/a/v1/models",
            ),
        ] {
            assert_eq!(asked("mine", json!({ "api": api, "baseUrl": base })), [expected]);
        }
        let bearer = json!({ "api": "anthropic-messages", "baseUrl": "https://llm.example", "authHeader": true });
        assert_eq!(asked("mine", bearer), ["default.KEY Bearer https://llm.example/v1/models"]);
        let moved = json!({ "baseUrl": "https://gate.example" });
        assert_eq!(asked("anthropic", moved), ["default.KEY Anthropic https://gate.example/v1/models"]);
    }

    #[test]
    fn what_only_openclaw_knows_how_to_ask_is_not_asked() {
        for provider in [
            json!({ "api": "bedrock-converse-stream", "baseUrl": "https://llm.example" }),
            json!({ "api": "openai-completions", "baseUrl": "https://${HOST}/v1" }),
            json!({ "api": "openai-completions", "baseUrl": "https://a:b@llm.example/v1" }),
            json!({ "api": "openai-completions", "baseUrl": "ftp://llm.example/v1" }),
            json!({ "auth": "oauth" }),
            json!({ "headers": { "x-tenant": "a" } }),
            json!({ "request": { "proxy": { "mode": "env-proxy" } } }),
        ] {
            assert_eq!(asked("anthropic", provider.clone()), [""; 0], "{provider}");
        }
        let config = json!({ "models": { "providers": { "anthropic": { "apiKey": reference("default.KEY") } } } });
        let changed = BTreeSet::from(["default.KEY".to_owned()]);
        assert_eq!(probes(&config, &changed, ["TZ"]).len(), 1);
        assert_eq!(probes(&config, &changed, ["ANTHROPIC_BASE_URL"]), [], "it is sent elsewhere");
        let mut moved = config.clone();
        moved["env"] = json!({ "vars": { "ANTHROPIC_BASE_URL": "https://gate.example" } });
        assert_eq!(probes(&moved, &changed, []), [], "it is sent elsewhere");
        assert_eq!(probes(&config, &["default.OTHER".to_owned()].into(), []), [], "its key is as it was");
    }

    #[test]
    fn only_a_plain_refusal_counts_as_one() {
        let judged = |answer: Json| verdicts(&json!([answer]).to_string(), 1).remove(0);
        assert_eq!(judged(json!({ "status": 200, "said": [] })), Verdict::Good);
        assert_eq!(judged(json!({ "status": 401, "said": [] })), Verdict::Refused(401));
        assert_eq!(judged(json!({ "status": 403, "said": ["Incorrect API key"] })), Verdict::Refused(403));
        assert_eq!(judged(json!({ "status": 403, "said": ["Missing scopes"] })), Verdict::Unclear);
        assert_eq!(judged(json!({ "status": 400, "said": ["API_KEY_INVALID"] })), Verdict::Refused(400));
        for unclear in [
            json!({ "status": 400, "said": [] }),
            json!({ "status": 404 }),
            json!({ "status": 302 }),
            json!({ "skipped": true }),
            json!(7),
        ] {
            assert_eq!(judged(unclear.clone()), Verdict::Unclear, "{unclear}");
        }
        assert_eq!(judged(json!({ "status": 503 })), Verdict::Unreached("HTTP 503".to_owned()));
        assert_eq!(judged(json!({ "failed": "ENOTFOUND" })), Verdict::Unreached("ENOTFOUND".to_owned()));
        assert_eq!(verdicts("(node:9) Warning: old\n[{\"status\":200}]\n", 1), [Verdict::Good]);
        assert_eq!(verdicts("node: not found", 1), []);
        assert_eq!(verdicts("[]", 1), []);
    }

    #[test]
    fn a_provider_is_asked_only_where_its_key_may_go() {
        for name in catalog::provider_names() {
            if let Some(probe) = catalog::probe(name) {
                let hosts = catalog::provider_hosts(name);
                let url = Url::parse(&probe.url).expect("an address");
                assert_eq!(url.host_str(), hosts.first().map(String::as_str), "{name}");
                assert_eq!(url.scheme(), "https", "{name}");
            }
        }
    }

    #[test]
    fn what_the_script_is_told_names_keys_and_holds_none() {
        let url = Url::parse("http://llm/v1/models").expect("an address");
        let probe = Probe { provider: "mine".into(), key: "default.KEY".into(), url, header: Header::Bearer };
        let told: Json = serde_json::from_str(&input(&[probe])).expect("JSON");
        assert_eq!(told["questions"][0]["key"], "default.KEY");
        assert_eq!(told["questions"][0]["url"], "http://llm/v1/models");
        assert_eq!(told["file"], SECRETS_FILE);
    }
}
