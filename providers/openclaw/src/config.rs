//! Renders the whole of an agent's `openclaw.json`, so that a key removed from the fleet is simply gone. Secrets are
//! references into the secret file; no value passes through here.

use std::collections::BTreeMap;

use claw_core::fleet::Fleet;
use claw_core::problem::{Location, Problem, did_you_mean};
use claw_core::provider::AgentSpec;
use claw_core::secret::{SecretName, SecretSource};
use serde_json::{Map, Value as Json, json};

use crate::catalog;
use crate::layout::{GATEWAY_PORT, SECRETS_FILE};

/// The key of the gateway's own token in the secret file.
pub const TOKEN_KEY: &str = "gateway_token";

/// Settings that are claw's: another value would cut claw off from the gateway, or the gateway from its secrets.
const RESERVED: [&str; 6] =
    ["gateway.auth", "gateway.bind", "gateway.mode", "gateway.port", "gateway.reload", "secrets.providers.claw"];

/// A rendered configuration and the secrets it refers to.
#[derive(Debug, Default)]
pub struct Rendered {
    /// The content of `openclaw.json`.
    pub config: Map<String, Json>,
    /// The secret file's keys and where their values come from.
    pub secrets: BTreeMap<String, SecretSource>,
}

/// Returns the agent's configuration, or everything that is wrong with it.
pub fn render(spec: AgentSpec<'_>) -> Result<Rendered, Vec<Problem>> {
    let mut renderer = Renderer { spec, secrets: BTreeMap::new(), problems: Vec::new() };
    renderer.secrets.insert(TOKEN_KEY.to_owned(), SecretSource::GatewayToken(spec.id.to_owned()));
    let mut config = base(spec);
    let settings = spec.table.settings.clone();
    renderer.refuse_reserved(&settings);
    let mut settings = Json::Object(settings);
    renderer.replace_references(&mut settings, &mut vec!["agents".into(), spec.key.into(), "settings".into()]);
    if let Json::Object(settings) = settings {
        over(&mut config, settings);
    }
    renderer.add_model_key(&mut config);
    if renderer.problems.is_empty() {
        Ok(Rendered { config, secrets: renderer.secrets })
    } else {
        Err(renderer.problems)
    }
}

/// What every gateway of claw has. What spends tokens by itself is off: heartbeat, dreaming, skill workshop.
fn base(spec: AgentSpec<'_>) -> Map<String, Json> {
    let mut identity = json!({ "name": spec.key });
    if let Some(emoji) = &spec.table.emoji {
        identity["emoji"] = emoji.as_str().into();
    }
    let mut defaults = json!({
        "heartbeat": { "every": "0m" },
        "model": { "primary": spec.table.model.clone().unwrap_or_default() },
    });
    if spec.table.workspace.is_some() {
        defaults["skipBootstrap"] = true.into();
    }
    let config = json!({
        "gateway": {
            "mode": "local",
            "port": GATEWAY_PORT,
            // a loopback bind cannot be reached through a published port; the port itself is on the host's loopback
            "bind": "lan",
            "auth": { "mode": "token", "token": reference(TOKEN_KEY) },
            "http": { "endpoints": { "chatCompletions": { "enabled": true } } },
            "controlUi": { "enabled": false },
            "reload": { "mode": "hot" },
        },
        "secrets": { "providers": { "claw": { "source": "file", "path": SECRETS_FILE, "mode": "json" } } },
        "agents": { "defaults": defaults, "entries": { "main": { "identity": identity } } },
        "plugins": { "entries": { "admin-http-rpc": { "enabled": true } } },
        "skills": { "workshop": { "autonomous": { "mode": "off" } } },
        "discovery": { "mdns": { "mode": "off" } },
        "browser": { "enabled": false },
        "update": { "checkOnStart": false },
    });
    match config {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}

fn reference(key: &str) -> Json {
    json!({ "source": "file", "provider": "claw", "id": format!("/{key}") })
}

/// Returns the key a profile's value has in the secret file. Profile names have no dot, so no two meet.
pub fn file_key(name: &SecretName) -> String {
    format!("{}.{}", name.profile, name.key)
}

/// Hides what looks like a secret that somebody wrote into a configuration by hand: plans show what they found.
pub fn hide_plain_secrets(name: &str, value: &mut Json) {
    let lower = name.to_lowercase();
    let secretive = ["key", "token", "secret", "password", "credential"].iter().any(|word| lower.ends_with(word));
    match value {
        Json::String(text) if secretive && !text.is_empty() => *text = "(hidden: not written by claw)".to_owned(),
        Json::Array(items) => items.iter_mut().for_each(|item| hide_plain_secrets(name, item)),
        Json::Object(map) if !map.contains_key("source") => {
            map.iter_mut().for_each(|(key, inner)| hide_plain_secrets(key, inner));
        }
        _ => {}
    }
}

fn over(below: &mut Map<String, Json>, above: Map<String, Json>) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Json::Object(inner)), Json::Object(more)) => over(inner, more),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

struct Renderer<'a> {
    spec: AgentSpec<'a>,
    secrets: BTreeMap<String, SecretSource>,
    problems: Vec<Problem>,
}

impl<'a> Renderer<'a> {
    fn refuse_reserved(&mut self, settings: &Map<String, Json>) {
        for path in RESERVED {
            let pointer = format!("/{}", path.replace('.', "/"));
            let (first, rest) = path.split_once('.').unwrap_or((path, ""));
            let inner = pointer.get(first.len() + 1..).filter(|_| !rest.is_empty()).unwrap_or_default();
            if settings.get(first).and_then(|value| value.pointer(inner)).is_some() {
                let mut full = vec!["agents", self.spec.key, "settings"];
                full.extend(path.split('.'));
                self.problems.push(
                    Problem::error("reserved-setting", format!("`{path}` is set by claw"))
                        .at(locate(self.spec.fleet, self.spec.key, &full))
                        .help("remove it; the gateway is reached through claw's own connection"),
                );
            }
        }
    }

    /// Turns texts `secret:PROFILE/KEY` into references and remembers them. The path is where the value stands.
    fn replace_references(&mut self, value: &mut Json, path: &mut Vec<String>) {
        match value {
            Json::String(text) => {
                if let Some(name) = text.strip_prefix("secret:") {
                    let steps: Vec<&str> = path.iter().map(String::as_str).collect();
                    let at = locate(self.spec.fleet, self.spec.key, &steps);
                    if let Some(name) = self.known_secret(name, at) {
                        *value = self.refer(name);
                    }
                }
            }
            Json::Array(items) => items.iter_mut().for_each(|item| self.replace_references(item, path)),
            Json::Object(map) => {
                for (key, inner) in map {
                    path.push(key.clone());
                    self.replace_references(inner, path);
                    path.pop();
                }
            }
            _ => {}
        }
    }

    fn refer(&mut self, name: SecretName) -> Json {
        let key = file_key(&name);
        let json = reference(&key);
        self.secrets.insert(key, SecretSource::Profile(name));
        json
    }

    /// Returns the name if the agent may draw from the profile and the profile has the key.
    fn known_secret(&mut self, text: &str, at: Option<Location>) -> Option<SecretName> {
        let (found, help) = match text.split_once('/') {
            Some((profile, key)) if self.spec.table.secrets.iter().any(|one| one == profile) => {
                let keys = self.spec.profiles.get(profile).map(Vec::as_slice).unwrap_or_default();
                if keys.iter().any(|one| one == key) {
                    return Some(SecretName { profile: profile.to_owned(), key: key.to_owned() });
                }
                let near = did_you_mean(key, keys.iter().map(String::as_str));
                let set = format!("`claw secret set {profile}/{key}` stores it");
                let help = near.map_or(set, |near| format!("did you mean `{profile}/{near}`?"));
                (format!("profile `{profile}` has no `{key}`"), help)
            }
            Some((profile, _)) => (
                format!("agent `{}` does not draw from profile `{profile}`", self.spec.key),
                format!("add \"{profile}\" to its `secrets`"),
            ),
            None => (format!("`secret:{text}` does not name a secret"), "write secret:PROFILE/KEY".to_owned()),
        };
        self.problems.push(Problem::error("unknown-secret", found).at(at).help(help));
        None
    }

    /// Gives the model's provider its key by name, unless the settings say where the key comes from.
    fn add_model_key(&mut self, config: &mut Map<String, Json>) {
        let Some(model) = &self.spec.table.model else { return };
        let at = self.spec.fleet.agent_field(self.spec.key, "model");
        let Some((provider, _)) =
            model.split_once('/').filter(|(provider, name)| !provider.is_empty() && !name.is_empty())
        else {
            self.problems.push(
                Problem::error("model", format!("`{model}` does not name a model"))
                    .at(at)
                    .help("write PROVIDER/MODEL: \"anthropic/claude-sonnet-5\""),
            );
            return;
        };
        let own = config.get("models").and_then(|models| models.get("providers")).and_then(|all| all.get(provider));
        if own.is_some_and(|own| own.get("apiKey").is_some()) {
            return;
        }
        let Some(key) = catalog::key_name(provider) else {
            if own.is_none() {
                self.problems.push(
                    Problem::error("model-provider", format!("claw does not know the model provider `{provider}`"))
                        .at(at)
                        .help(format!(
                            "describe it: [agents.{}.settings.models.providers.{provider}] with baseUrl, api, models, and \
                             apiKey = \"secret:PROFILE/KEY\" if it wants one",
                            self.spec.key
                        )),
                );
            }
            return;
        };
        let has =
            |profile: &&String| self.spec.profiles.get(*profile).is_some_and(|keys| keys.iter().any(|one| one == key));
        match self.spec.table.secrets.iter().rev().find(has) {
            Some(profile) => {
                let name = SecretName { profile: profile.clone(), key: key.to_owned() };
                let api_key = self.refer(name);
                over(config, provider_key(provider, api_key));
            }
            None => {
                let profile = self.spec.table.secrets.last().map_or("default", String::as_str);
                self.problems.push(
                    Problem::error(
                        "missing-key",
                        format!("`{model}` needs {key}, and no profile of `{}` has it", self.spec.key),
                    )
                    .at(at)
                    .help(if self.spec.table.secrets.is_empty() {
                        format!(
                            "`claw secret set default/{key}` stores it; secrets = [\"default\"] gives it to the agent"
                        )
                    } else {
                        format!("`claw secret set {profile}/{key}` stores it")
                    }),
                );
            }
        }
    }
}

fn provider_key(provider: &str, api_key: Json) -> Map<String, Json> {
    let Json::Object(map) = json!({ "models": { "providers": { provider: { "apiKey": api_key } } } }) else {
        return Map::new();
    };
    map
}

/// Returns where a setting is written, in the agent's table or the defaults; the agent if neither.
fn locate(fleet: &Fleet, key: &str, path: &[&str]) -> Option<Location> {
    let below: Vec<&str> = ["defaults", "agent"].into_iter().chain(path.iter().skip(2).copied()).collect();
    fleet.tree.exact(path).or_else(|| fleet.tree.exact(&below)).or_else(|| fleet.tree.key(&["agents", key]))
}
