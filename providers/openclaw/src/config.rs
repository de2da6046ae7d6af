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
const RESERVED: [&str; 7] = [
    "gateway.auth",
    "gateway.bind",
    "gateway.mode",
    "gateway.port",
    "plugins.enabled",
    "plugins.entries.admin-http-rpc",
    "secrets.providers.claw",
];

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
    keep_admin_plugin(&mut config);
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
        },
        "secrets": { "providers": { "claw": { "source": "file", "path": SECRETS_FILE, "mode": "json" } } },
        "agents": { "defaults": defaults, "entries": { "main": { "identity": identity } } },
        "plugins": { "entries": {
            "admin-http-rpc": { "enabled": true },
            "memory-core": { "config": { "dreaming": { "enabled": false } } },
        } },
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

/// A list of allowed plugins shuts out all others, and with them the one claw talks to.
fn keep_admin_plugin(config: &mut Map<String, Json>) {
    let allow = config.get_mut("plugins").and_then(|plugins| plugins.get_mut("allow")).and_then(Json::as_array_mut);
    if let Some(allow) = allow
        && !allow.iter().any(|name| name == "admin-http-rpc")
    {
        allow.push("admin-http-rpc".into());
    }
}

/// Hides what looks like a secret that somebody wrote into a configuration by hand: plans show what they found.
pub fn hide_plain_secrets(name: &str, value: &mut Json) {
    let lower = name.to_lowercase();
    let secretive = ["key", "token", "secret", "password", "credential"].iter().any(|word| lower.ends_with(word));
    match value {
        Json::String(text) if secretive && !text.is_empty() => *text = "(hidden: not written by claw)".to_owned(),
        Json::Array(items) => items.iter_mut().for_each(|item| hide_plain_secrets(name, item)),
        Json::Object(map) => {
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

/// Whether settings set a path, or put what is no table where it leads through.
fn sets(settings: &Map<String, Json>, path: &str) -> bool {
    let mut table = settings;
    for step in path.split('.') {
        match table.get(step) {
            None => return false,
            Some(Json::Object(inner)) => table = inner,
            Some(_) => return true,
        }
    }
    true
}

struct Renderer<'a> {
    spec: AgentSpec<'a>,
    secrets: BTreeMap<String, SecretSource>,
    problems: Vec<Problem>,
}

impl<'a> Renderer<'a> {
    fn refuse_reserved(&mut self, settings: &Map<String, Json>) {
        for path in RESERVED {
            if sets(settings, path) {
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
                } else if text.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("secret:")) {
                    let steps: Vec<&str> = path.iter().map(String::as_str).collect();
                    let at = locate(self.spec.fleet, self.spec.key, &steps);
                    let problem = Problem::error("unknown-secret", format!("`{text}` would be taken as it stands"));
                    self.problems.push(problem.at(at).help("write `secret:` in lower case to refer to a secret"));
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

#[cfg(test)]
mod tests {
    use claw_core::fleet::{SourceFile, load};
    use insta::assert_snapshot;

    use super::*;

    const PETE: &str = "[agents.pete]\nmodel = \"anthropic/claude-sonnet-5\"\nsecrets = [\"default\", \"work\"]\n";

    fn profiles() -> BTreeMap<String, Vec<String>> {
        let profile = |name: &str, keys: &[&str]| (name.to_owned(), keys.iter().map(|key| (*key).to_owned()).collect());
        [
            profile("default", &["ANTHROPIC_API_KEY", "BOT"]),
            profile("work", &["BOT"]),
            profile("other", &["ANTHROPIC_API_KEY"]),
        ]
        .into()
    }

    fn try_render(profiles: &BTreeMap<String, Vec<String>>, fleet: &str) -> (String, Result<Rendered, Vec<Problem>>) {
        let text = format!("[fleet]\nname = \"a\"\nid = \"abcd\"\n{fleet}");
        let (loaded, problems) = load(&[SourceFile { path: "fleet.toml".to_owned(), text: text.clone() }]);
        assert_eq!(problems, []);
        let fleet = loaded.expect("a fleet");
        let (table, seeds) = (&fleet.agents["pete"], BTreeMap::new());
        let spec = AgentSpec { fleet: &fleet, key: "pete", id: "p1", place: "docker", table, profiles, seeds: &seeds };
        (text, render(spec))
    }

    fn rendered(fleet: &str) -> Rendered {
        try_render(&profiles(), fleet).1.expect("a sound agent")
    }

    /// Returns everything wrong with pete, with the text it points to.
    fn problems(profiles: &BTreeMap<String, Vec<String>>, fleet: &str) -> String {
        let (text, outcome) = try_render(profiles, fleet);
        let told = outcome.expect_err("a problem").into_iter().map(|problem| {
            let at = problem.at.expect("a place");
            let help = problem.help.unwrap_or_default();
            format!("{}: {}\n  {:?}\n  {help}", problem.code, problem.message, &text[at.start..at.end])
        });
        told.collect::<Vec<_>>().join("\n")
    }

    fn sources(rendered: &Rendered) -> Vec<String> {
        rendered.secrets.iter().map(|(key, source)| format!("{key} = {source}")).collect()
    }

    #[test]
    fn an_agent_gets_the_whole_file_and_only_references_to_secrets() {
        let rendered = rendered(&format!(
            "{PETE}emoji = \"🤖\"\nworkspace = \"w\"\n[agents.pete.settings]\nagents.defaults.heartbeat.every = \"30m\"\n\
             channels.chat = {{ botToken = \"secret:work/BOT\", rooms = [\"a\", \"secret:default/BOT\"] }}\n"
        ));
        assert_snapshot!(serde_json::to_string_pretty(&rendered.config).expect("JSON"), @r#"
        {
          "agents": {
            "defaults": {
              "heartbeat": {
                "every": "30m"
              },
              "model": {
                "primary": "anthropic/claude-sonnet-5"
              },
              "skipBootstrap": true
            },
            "entries": {
              "main": {
                "identity": {
                  "emoji": "🤖",
                  "name": "pete"
                }
              }
            }
          },
          "browser": {
            "enabled": false
          },
          "channels": {
            "chat": {
              "botToken": {
                "id": "/work.BOT",
                "provider": "claw",
                "source": "file"
              },
              "rooms": [
                "a",
                {
                  "id": "/default.BOT",
                  "provider": "claw",
                  "source": "file"
                }
              ]
            }
          },
          "discovery": {
            "mdns": {
              "mode": "off"
            }
          },
          "gateway": {
            "auth": {
              "mode": "token",
              "token": {
                "id": "/gateway_token",
                "provider": "claw",
                "source": "file"
              }
            },
            "bind": "lan",
            "controlUi": {
              "enabled": false
            },
            "http": {
              "endpoints": {
                "chatCompletions": {
                  "enabled": true
                }
              }
            },
            "mode": "local",
            "port": 18789
          },
          "models": {
            "providers": {
              "anthropic": {
                "apiKey": {
                  "id": "/default.ANTHROPIC_API_KEY",
                  "provider": "claw",
                  "source": "file"
                }
              }
            }
          },
          "plugins": {
            "entries": {
              "admin-http-rpc": {
                "enabled": true
              },
              "memory-core": {
                "config": {
                  "dreaming": {
                    "enabled": false
                  }
                }
              }
            }
          },
          "secrets": {
            "providers": {
              "claw": {
                "mode": "json",
                "path": "/claw/secrets/secrets.json",
                "source": "file"
              }
            }
          },
          "skills": {
            "workshop": {
              "autonomous": {
                "mode": "off"
              }
            }
          },
          "update": {
            "checkOnStart": false
          }
        }
        "#);
        assert_snapshot!(sources(&rendered).join("\n"), @r#"
        default.ANTHROPIC_API_KEY = default/ANTHROPIC_API_KEY
        default.BOT = default/BOT
        gateway_token = gateway token of p1
        work.BOT = work/BOT
        "#);
    }

    #[test]
    fn an_agent_gets_no_secret_it_does_not_refer_to() {
        let own_key = format!("{PETE}settings.models.providers.anthropic.apiKey = \"secret:work/BOT\"\n");
        assert_eq!(sources(&rendered(&own_key)), ["gateway_token = gateway token of p1", "work.BOT = work/BOT"]);
    }

    #[test]
    fn the_models_key_is_looked_for_in_later_profiles_first() {
        let key = |secrets: &str| {
            let rendered = rendered(&PETE.replace("[\"default\", \"work\"]", secrets));
            let id =
                rendered.config["models"]["providers"]["anthropic"]["apiKey"]["id"].as_str().expect("set").to_owned();
            assert_eq!(rendered.secrets.len(), 2, "{:?}", rendered.secrets);
            id
        };
        assert_eq!(key("[\"default\", \"other\"]"), "/other.ANTHROPIC_API_KEY");
        assert_eq!(key("[\"other\", \"default\"]"), "/default.ANTHROPIC_API_KEY");
        assert_eq!(key("[\"default\", \"work\"]"), "/default.ANTHROPIC_API_KEY", "work has none");
    }

    #[test]
    fn a_setting_beside_the_models_key_is_kept() {
        let rendered = rendered(&format!("{PETE}settings.models.providers.anthropic.baseUrl = \"https://proxy\"\n"));
        let provider = &rendered.config["models"]["providers"]["anthropic"];
        assert_eq!(provider["baseUrl"], "https://proxy");
        assert_eq!(provider["apiKey"]["id"], "/default.ANTHROPIC_API_KEY");
    }

    #[test]
    fn secrets_nobody_has_are_all_told_with_what_to_do() {
        let fleet = format!(
            "[defaults.agent.settings]\nd = \"secret:work/NOPE\"\n{PETE}[agents.pete.settings]\n\
             a = \"secret:default/BTO\"\nb.c = [\"secret:other/ANTHROPIC_API_KEY\"]\ne = \"secret:BOT\"\n"
        );
        assert_snapshot!(problems(&profiles(), &fleet), @r#"
        unknown-secret: profile `default` has no `BTO`
          "\"secret:default/BTO\""
          did you mean `default/BOT`?
        unknown-secret: agent `pete` does not draw from profile `other`
          "[\"secret:other/ANTHROPIC_API_KEY\"]"
          add "other" to its `secrets`
        unknown-secret: profile `work` has no `NOPE`
          "\"secret:work/NOPE\""
          `claw secret set work/NOPE` stores it
        unknown-secret: `secret:BOT` does not name a secret
          "\"secret:BOT\""
          write secret:PROFILE/KEY
        "#);
    }

    #[test]
    fn a_model_whose_key_is_nowhere_says_how_to_store_it() {
        assert_snapshot!(problems(&BTreeMap::new(), PETE), @r#"
        missing-key: `anthropic/claude-sonnet-5` needs ANTHROPIC_API_KEY, and no profile of `pete` has it
          "\"anthropic/claude-sonnet-5\""
          `claw secret set work/ANTHROPIC_API_KEY` stores it
        "#);
        assert_snapshot!(problems(&profiles(), "[agents.pete]\nmodel = \"openai/x\"\n"), @r#"
        missing-key: `openai/x` needs OPENAI_API_KEY, and no profile of `pete` has it
          "\"openai/x\""
          `claw secret set default/OPENAI_API_KEY` stores it; secrets = ["default"] gives it to the agent
        "#);
    }

    #[test]
    fn a_model_names_a_provider_claw_knows_or_the_settings_describe() {
        assert_snapshot!(problems(&profiles(), "[agents.pete]\nmodel = \"sonnet\"\n"), @r#"
        model: `sonnet` does not name a model
          "\"sonnet\""
          write PROVIDER/MODEL: "anthropic/claude-sonnet-5"
        "#);
        assert_snapshot!(problems(&profiles(), "[agents.pete]\nmodel = \"/sonnet\"\n"), @r#"
        model: `/sonnet` does not name a model
          "\"/sonnet\""
          write PROVIDER/MODEL: "anthropic/claude-sonnet-5"
        "#);
        assert_snapshot!(problems(&profiles(), "[agents.pete]\nmodel = \"mine/m\"\n"), @r#"
        model-provider: claw does not know the model provider `mine`
          "\"mine/m\""
          describe it: [agents.pete.settings.models.providers.mine] with baseUrl, api, models, and apiKey = "secret:PROFILE/KEY" if it wants one
        "#);
        let described = "[agents.pete]\nmodel = \"mine/m\"\nsettings.models.providers.mine.baseUrl = \"http://m\"\n";
        assert_eq!(sources(&rendered(described)), ["gateway_token = gateway token of p1"]);
    }

    #[test]
    fn what_is_claws_cannot_be_set_nor_replaced_from_above() {
        for path in RESERVED {
            let told = problems(&profiles(), &format!("{PETE}settings.{path} = \"x\"\n"));
            assert!(told.starts_with(&format!("reserved-setting: `{path}` is set by claw\n  \"\\\"x\\\"\"")), "{told}");
            let inside = problems(&profiles(), &format!("{PETE}settings.{path}.more = 1\n"));
            assert!(inside.starts_with(&format!("reserved-setting: `{path}` ")), "{inside}");
            let (above, _) = path.rsplit_once('.').expect("a path");
            for value in ["\"x\"", "[]", "false", "3"] {
                let told = problems(&profiles(), &format!("{PETE}settings.{above} = {value}\n"));
                assert!(told.contains(&format!("`{path}` is set by claw")), "{above} = {value}: {told}");
            }
        }
    }

    #[test]
    fn settings_beside_what_is_claws_are_free() {
        let rendered = rendered(&format!(
            "{PETE}settings.gateway.controlUi.enabled = true\nsettings.secrets.providers.mine.source = \"env\"\n"
        ));
        assert_eq!(rendered.config["gateway"]["controlUi"]["enabled"], true);
        assert_eq!(rendered.config["gateway"]["mode"], "local");
        assert_eq!(rendered.config["secrets"]["providers"]["claw"]["source"], "file");
    }

    #[test]
    fn plain_secrets_somebody_wrote_into_a_file_are_hidden_wherever_they_lie() {
        let mut found = json!({
            "apiKey": "s3cret", "deep": [{ "botToken": "s3cret" }], "tokens": { "source": "x", "accessToken": "s3cret" },
            "password": ["s3cret", { "secret": "s3cret" }], "AWS_ACCESS_KEY": "s3cret",
        });
        hide_plain_secrets("root", &mut found);
        assert!(!found.to_string().contains("s3cret"), "{found}");
    }

    #[test]
    fn references_and_what_is_no_secret_are_shown_as_they_are() {
        let plain = json!({
            "apiKey": reference("default.KEY"), "keyboard": "us", "maxTokens": 5, "token": "", "name": "pete",
            "password": null, "secret": true,
        });
        let mut found = plain.clone();
        hide_plain_secrets("root", &mut found);
        assert_eq!(found, plain);
    }

    #[test]
    fn what_claw_renders_has_nothing_to_hide() {
        let config = Json::Object(rendered(PETE).config);
        let mut found = config.clone();
        hide_plain_secrets("root", &mut found);
        assert_eq!(found, config);
    }
}
