//! Gives an agent its keys and tokens by their usual names: of its models, its own endpoints, its channels. Whatever the
//! settings say of a credential stands.

use claw_core::problem::{Location, Problem, did_you_mean};
use claw_core::secret::SecretName;
use serde_json::{Map, Value as Json, json};

use super::{Renderer, locate, over, sets};
use crate::catalog;

/// The API an endpoint speaks unless it says otherwise: nearly every model server has it.
const API_DEFAULT: &str = "openai-completions";

impl Renderer<'_> {
    /// Describes the model servers the fleet names.
    pub(super) fn add_endpoints(&mut self, config: &mut Map<String, Json>) {
        for (name, endpoint) in &self.spec.table.endpoints {
            let models: Vec<Json> = endpoint.models.iter().map(|id| json!({ "id": id, "name": id })).collect();
            let api = endpoint.api.as_deref().unwrap_or(API_DEFAULT);
            let mut provider = json!({ "baseUrl": endpoint.url, "api": api, "models": models });
            if let Some(text) = &endpoint.key
                && let Some(name) = self.named(text, self.at(&["endpoints", name, "key"]))
            {
                provider["apiKey"] = self.refer(name);
            }
            over(config, nested(&["models", "providers", name], provider));
        }
    }

    /// Turns on the channels the fleet names and gives them their tokens; a channel of the settings gets those it has.
    pub(super) fn add_channels(&mut self, config: &mut Map<String, Json>) {
        let table = self.spec.table;
        for (index, name) in table.channels.iter().enumerate() {
            if catalog::channel(name).is_none() {
                let near = did_you_mean(name, catalog::channel_names());
                let other = format!("describe another in [agents.{}.settings.channels.{name}]", self.spec.key);
                self.problems.push(
                    Problem::error("channel", format!("claw does not know the tokens of `{name}`"))
                        .at(self
                            .spec
                            .fleet
                            .tree
                            .item(&["agents", self.spec.key, "channels"], index)
                            .or(self.at(&["channels"])))
                        .help(near.map_or(other, |near| format!("did you mean \"{near}\"?"))),
                );
            }
        }
        for name in catalog::channel_names() {
            let asked = table.channels.iter().any(|one| one == name);
            let own = config.get("channels").and_then(|channels| channels.get(name));
            if !asked && own.is_none_or(|own| own["enabled"] == false) {
                continue;
            }
            self.add_tokens(config, name, asked);
            if asked {
                for path in [["channels", name].as_slice(), &["plugins", "entries", name]] {
                    let enabled = [path, &["enabled"]].concat();
                    if !sets(config, &enabled.join(".")) {
                        over(config, nested(path, json!({ "enabled": true })));
                    }
                }
            }
        }
    }

    /// Gives a channel the tokens its settings do not speak of. One that was asked for by name must have them.
    fn add_tokens(&mut self, config: &mut Map<String, Json>, channel: &str, asked: bool) {
        let own = config.get("channels").and_then(|channels| channels.get(channel));
        // several accounts have a token each, and only the settings know which
        if own.is_some_and(|own| own.get("accounts").is_some() || own.get("tokenFile").is_some()) {
            return;
        }
        let given = own.and_then(Json::as_object).cloned().unwrap_or_default();
        let tokens = catalog::channel(channel).map(|channel| &channel.tokens).into_iter().flatten();
        for (setting, usual) in tokens.filter(|(setting, _)| !given.contains_key(*setting)) {
            match self.by_name(usual) {
                Some(name) => {
                    let token = self.refer(name);
                    over(config, nested(&["channels", channel, setting], token));
                }
                None if asked => self.missing(&format!("channel `{channel}`"), usual, self.at(&["channels"])),
                None => {}
            }
        }
    }

    /// Gives the providers of the agent's models their keys, unless the settings say where a key comes from.
    pub(super) fn add_model_keys(&mut self, config: &mut Map<String, Json>) {
        let table = self.spec.table;
        if let Some(model) = &table.model {
            self.add_model_key(config, model, self.spec.fleet.agent_field(self.spec.key, "model"));
        }
        for (index, model) in table.fallbacks.iter().enumerate() {
            let item = self.spec.fleet.tree.item(&["agents", self.spec.key, "fallbacks"], index);
            self.add_model_key(config, model, item.or(self.at(&["fallbacks"])));
        }
    }

    fn add_model_key(&mut self, config: &mut Map<String, Json>, model: &str, at: Option<Location>) {
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
        if own.is_some_and(|own| own.get("apiKey").is_some()) || self.spec.table.endpoints.contains_key(provider) {
            return;
        }
        let Some(key) = catalog::key_name(provider) else {
            if own.is_none() {
                self.problems.push(
                    Problem::error("model-provider", format!("claw does not know the model provider `{provider}`"))
                        .at(at)
                        .help(format!(
                            "describe it: [agents.{}.endpoints.{provider}] with url, models, and key = \"secret:PROFILE/KEY\" \
                             if it wants one",
                            self.spec.key
                        )),
                );
            }
            return;
        };
        match self.by_name(key) {
            Some(name) => {
                let api_key = self.refer(name);
                over(config, nested(&["models", "providers", provider, "apiKey"], api_key));
            }
            None => self.missing(&format!("`{model}`"), key, at),
        }
    }

    /// Returns the secret that is a key or token of a usual name: the one `keys` says, else that of the last profile.
    fn by_name(&self, usual: &str) -> Option<SecretName> {
        let table = self.spec.table;
        if let Some(text) = table.keys.get(usual) {
            let (profile, key) = text.strip_prefix("secret:")?.split_once('/')?;
            return Some(SecretName { profile: profile.to_owned(), key: key.to_owned() });
        }
        let has = |profile: &&String| {
            self.spec.profiles.get(*profile).is_some_and(|keys| keys.iter().any(|one| one == usual))
        };
        let profile = table.secrets.iter().rev().find(has)?;
        Some(SecretName { profile: profile.clone(), key: usual.to_owned() })
    }

    /// Checks what `keys` says, used or not.
    pub(super) fn check_keys(&mut self) {
        for (usual, text) in &self.spec.table.keys {
            let at = self.at(&["keys", usual]);
            if catalog::hosts_of(usual).is_none() {
                let near = did_you_mean(usual, catalog::key_names());
                let help = near.map_or_else(
                    || "it takes names such as ANTHROPIC_API_KEY or TELEGRAM_BOT_TOKEN; other secrets are referred to in `settings`".to_owned(),
                    |near| format!("did you mean {near}?"),
                );
                let problem = Problem::error("key-name", format!("`{usual}` is not the usual name of a key or token"));
                self.problems.push(problem.at(at.clone()).help(help));
            }
            self.named(text, at);
        }
    }

    /// Returns the secret a text `secret:PROFILE/KEY` names, if the agent may have it.
    fn named(&mut self, text: &str, at: Option<Location>) -> Option<SecretName> {
        let Some(name) = text.strip_prefix("secret:") else {
            let problem = Problem::error("unknown-secret", "this is not a reference to a secret");
            self.problems
                .push(problem.at(at).help("write \"secret:PROFILE/KEY\"; a key in clear here counts as leaked"));
            return None;
        };
        self.known_secret(name, at)
    }

    fn missing(&mut self, who: &str, key: &str, at: Option<Location>) {
        let secrets = &self.spec.table.secrets;
        let profile = secrets.last().map_or("default", String::as_str);
        let help = match secrets.is_empty() {
            true => {
                format!("`claw secret set default/{key}` stores it; secrets = [\"default\"] gives it to the agent")
            }
            false => format!("`claw secret set {profile}/{key}` stores it"),
        };
        let message = format!("{who} needs {key}, and no profile of `{}` has it", self.spec.key);
        self.problems.push(Problem::error("missing-key", message).at(at).help(help));
    }

    /// Returns where a key of the agent's table is written.
    pub(super) fn at(&self, path: &[&str]) -> Option<Location> {
        locate(self.spec.fleet, self.spec.key, &[&["agents", self.spec.key], path].concat())
    }
}

/// Returns a value at the end of a path of tables.
fn nested(path: &[&str], value: Json) -> Map<String, Json> {
    let wrap = |inner: Json, key: &&str| Json::Object(Map::from_iter([((*key).to_owned(), inner)]));
    match path.iter().rev().fold(value, wrap) {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}
