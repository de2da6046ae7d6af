//! Renders the whole of an agent's `openclaw.json`, so that a key removed from the fleet is simply gone. Secrets are
//! references into the secret file; no value passes through here.

mod credentials;
mod destinations;

use std::collections::BTreeMap;

use claw_core::fleet::Fleet;
use claw_core::problem::{Location, Problem, did_you_mean};
use claw_core::provider::AgentSpec;
use claw_core::secret::{SecretName, SecretSource};
use serde_json::{Map, Value as Json, json};

use crate::catalog;
use crate::layout::{GATEWAY_PORT, SECRETS_FILE};

pub use destinations::sends_elsewhere;

/// The plugin claw talks to.
const ADMIN_PLUGIN: &str = "admin-http-rpc";

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
    renderer.add_endpoints(&mut config);
    let settings = spec.table.settings.clone();
    renderer.refuse_reserved(&settings);
    renderer.refuse_other_sources(&settings);
    let mut settings = Json::Object(settings);
    renderer.replace_references(&mut settings, &mut vec!["agents".into(), spec.key.into(), "settings".into()]);
    if let Json::Object(settings) = settings {
        over(&mut config, settings);
    }
    renderer.add_channels(&mut config);
    renderer.add_model_keys(&mut config);
    keep_plugins(&mut config);
    renderer.check_keys();
    renderer.check_destinations(&config);
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
    if !spec.table.fallbacks.is_empty() {
        defaults["model"]["fallbacks"] = spec.table.fallbacks.clone().into();
    }
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
            ADMIN_PLUGIN: { "enabled": true },
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

/// Returns the key in the secret file that a reference of claw's leads to; `None` for anything else.
pub fn reference_key(value: &Json) -> Option<&str> {
    let ours = value.get("provider").is_some_and(|one| one == "claw");
    value.get("id").filter(|_| ours).and_then(Json::as_str).map(|id| id.trim_start_matches('/'))
}

/// Returns the key a profile's value has in the secret file. Profile names have no dot, so no two meet.
pub fn file_key(name: &SecretName) -> String {
    format!("{}.{}", name.profile, name.key)
}

/// A list of allowed plugins shuts out all others, and with them the one claw talks to and those of the agent's channels.
fn keep_plugins(config: &mut Map<String, Json>) {
    let Some(plugins) = config.get_mut("plugins").and_then(Json::as_object_mut) else { return };
    let entries = plugins.get("entries").and_then(Json::as_object).into_iter().flatten();
    let known = |name: &str| name == ADMIN_PLUGIN || catalog::channel(name).is_some();
    let on = entries.filter(|(name, entry)| known(name) && entry["enabled"] == true);
    let wanted: Vec<String> = on.map(|(name, _)| name.clone()).collect();
    if let Some(allow) = plugins.get_mut("allow").and_then(Json::as_array_mut) {
        let missing = wanted.into_iter().filter(|name| !allow.iter().any(|one| one == name.as_str()));
        let missing: Vec<Json> = missing.map(Json::from).collect();
        allow.extend(missing);
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

    /// Refuses other ways to the secret file than claw's own, and commands that fetch secrets: through them a credential
    /// would go where nobody looks.
    fn refuse_other_sources(&mut self, settings: &Map<String, Json>) {
        let providers = settings.get("secrets").and_then(|secrets| secrets.get("providers")).and_then(Json::as_object);
        for (name, provider) in providers.into_iter().flatten() {
            if provider["source"] != "env" {
                let at = self.at(&["settings", "secrets", "providers", name]);
                self.problems.push(
                    Problem::error("secret-source", format!("the secret provider `{name}` is not claw's"))
                        .at(at)
                        .help("refer to secrets as \"secret:PROFILE/KEY\"; from elsewhere only source = \"env\""),
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
                let by_hand = map.contains_key("id") && map.get("source").is_some_and(|source| source != "env");
                if by_hand || map.contains_key("$include") {
                    let steps: Vec<&str> = path.iter().map(String::as_str).collect();
                    let at = locate(self.spec.fleet, self.spec.key, &steps);
                    let what = if by_hand { "a reference to a secret written by hand" } else { "`$include`" };
                    let problem = Problem::error("secret-source", format!("{what} is not looked into"));
                    self.problems
                        .push(problem.at(at).help("write settings here, and secrets as \"secret:PROFILE/KEY\""));
                }
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
            profile("work", &["BOT", "LLM", "TELEGRAM_BOT_TOKEN"]),
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
        let name = SecretName { profile: "work".to_owned(), key: "LLM".to_owned() };
        let destinations = [(name, vec!["llm.example".to_owned()])].into();
        let spec = AgentSpec {
            fleet: &fleet,
            key: "pete",
            id: "p1",
            place: "docker",
            table,
            profiles,
            destinations: &destinations,
            seeds: &seeds,
        };
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
        let rendered = rendered(&format!(
            "{PETE}settings.models.providers.anthropic.baseUrl = \"https://api.anthropic.com/v2\"\n"
        ));
        let provider = &rendered.config["models"]["providers"]["anthropic"];
        assert_eq!(provider["baseUrl"], "https://api.anthropic.com/v2");
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
          describe it: [agents.pete.endpoints.mine] with url, models, and key = "secret:PROFILE/KEY" if it wants one
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

    #[test]
    fn models_endpoints_and_channels_get_their_keys_by_name() {
        let rendered = rendered(
            "[defaults.agent]\nsecrets = [\"default\", \"work\"]\nmodel = \"anthropic/claude-sonnet-5\"\n\
             [agents.pete]\nfallbacks = [\"mine/small\"]\nchannels = [\"telegram\"]\n\
             endpoints.mine = { url = \"https://llm.example/v1\", key = \"secret:work/LLM\", models = [\"small\"] }\n\
             settings.channels.telegram.allowFrom = [\"1\"]\nsettings.plugins.allow = []\n",
        );
        let part = |path: &str| Json::Object(rendered.config.clone()).pointer(path).cloned().unwrap_or_default();
        assert_eq!(
            part("/agents/defaults/model"),
            json!({ "primary": "anthropic/claude-sonnet-5", "fallbacks": ["mine/small"] })
        );
        assert_eq!(
            part("/models/providers/mine"),
            json!({
                "baseUrl": "https://llm.example/v1", "api": "openai-completions", "apiKey": reference("work.LLM"),
                "models": [{ "id": "small", "name": "small" }],
            })
        );
        let telegram = json!({ "enabled": true, "allowFrom": ["1"], "botToken": reference("work.TELEGRAM_BOT_TOKEN") });
        assert_eq!(part("/channels/telegram"), telegram);
        assert_eq!(part("/plugins/allow"), json!(["admin-http-rpc", "telegram"]));
        let keys: Vec<_> = rendered.secrets.keys().cloned().collect();
        assert_eq!(keys, ["default.ANTHROPIC_API_KEY", "gateway_token", "work.LLM", "work.TELEGRAM_BOT_TOKEN"]);
    }

    #[test]
    fn a_channel_of_the_settings_gets_its_token_too_unless_it_has_one_or_is_off() {
        let token = |settings: &str| {
            let rendered = rendered(&format!("{PETE}{settings}"));
            rendered.config["channels"]["telegram"].get("botToken").cloned()
        };
        assert_eq!(
            token("settings.channels.telegram.dmPolicy = \"open\"\n"),
            Some(reference("work.TELEGRAM_BOT_TOKEN"))
        );
        assert_eq!(token("settings.channels.telegram.botToken = \"secret:work/BOT\"\n"), Some(reference("work.BOT")));
        assert_eq!(token("settings.channels.telegram.enabled = false\n"), None);
        assert_eq!(token("settings.channels.telegram.accounts.a.name = \"A\"\n"), None);
        let other = "keys.TELEGRAM_BOT_TOKEN = \"secret:default/BOT\"\nchannels = [\"telegram\"]\n";
        assert_eq!(token(other), Some(reference("default.BOT")));
    }

    #[test]
    fn what_a_name_does_not_lead_to_is_told() {
        assert_snapshot!(problems(&profiles(), &format!("{PETE}channels = [\"telegrm\", \"slack\"]\n")), @r#"
        channel: claw does not know the tokens of `telegrm`
          "\"telegrm\""
          did you mean "telegram"?
        missing-key: channel `slack` needs SLACK_APP_TOKEN, and no profile of `pete` has it
          "[\"telegrm\", \"slack\"]"
          `claw secret set work/SLACK_APP_TOKEN` stores it
        missing-key: channel `slack` needs SLACK_BOT_TOKEN, and no profile of `pete` has it
          "[\"telegrm\", \"slack\"]"
          `claw secret set work/SLACK_BOT_TOKEN` stores it
        "#);
        let keys = "keys = { ANTROPIC_API_KEY = \"secret:work/LLM\", OPENAI_API_KEY = \"sk-in-clear\", GEMINI_API_KEY = \"secret:other/X\" }\n";
        assert_snapshot!(problems(&profiles(), &format!("{PETE}{keys}")), @r#"
        key-name: `ANTROPIC_API_KEY` is not the usual name of a key or token
          "\"secret:work/LLM\""
          did you mean ANTHROPIC_API_KEY?
        unknown-secret: agent `pete` does not draw from profile `other`
          "\"secret:other/X\""
          add "other" to its `secrets`
        unknown-secret: this is not a reference to a secret
          "\"sk-in-clear\""
          write "secret:PROFILE/KEY"; a key in clear here counts as leaked
        "#);
    }

    #[test]
    fn a_secret_goes_only_where_it_may() {
        let told = |more: &str| problems(&profiles(), &format!("{PETE}{more}"));
        // a provider's key to another host, in every spelling
        assert_snapshot!(told("settings.models.providers.anthropic.baseUrl = \"https://evil.example/v1\"\n"), @r#"
        destination: default/ANTHROPIC_API_KEY may not be sent to evil.example
          "\"https://evil.example/v1\""
          it may go to api.anthropic.com; whoever can read it may say otherwise: `claw secret allow default/ANTHROPIC_API_KEY evil.example`
        "#);
        assert_snapshot!(told("settings.models.providers.anthropic.baseUrl = \"https://api.anthropic.com@evil.example\"\n"), @r#"
        destination: default/ANTHROPIC_API_KEY may not be sent to evil.example
          "\"https://api.anthropic.com@evil.example\""
          it may go to api.anthropic.com; whoever can read it may say otherwise: `claw secret allow default/ANTHROPIC_API_KEY evil.example`
        "#);
        assert_snapshot!(told("settings.models.providers.anthropic.request.proxy.url = \"http://evil.example\"\n"), @r#"
        destination: default/ANTHROPIC_API_KEY may not be sent to evil.example
          "\"http://evil.example\""
          it may go to api.anthropic.com; whoever can read it may say otherwise: `claw secret allow default/ANTHROPIC_API_KEY evil.example`
        "#);
        assert_snapshot!(told("settings.models.providers.anthropic.baseUrl = \"${WHERE}\"\nenv.WHERE = \"https://evil.example\"\n"), @r#"
        destination: default/ANTHROPIC_API_KEY would go to an address put together from variables, which may send it anywhere
          "\"${WHERE}\""
          it may go to api.anthropic.com; whoever can read it may say otherwise: `claw secret allow default/ANTHROPIC_API_KEY '*'`
        "#);
        assert_snapshot!(told("env.ANTHROPIC_BASE_URL = \"https://evil.example\"\n"), @r#"
        destination: default/ANTHROPIC_API_KEY may not be sent to evil.example
          "\"https://evil.example\""
          it may go to api.anthropic.com; whoever can read it may say otherwise: `claw secret allow default/ANTHROPIC_API_KEY evil.example`
        "#);
        // one provider's key to another provider
        assert_snapshot!(told("fallbacks = [\"openai/gpt-5\"]\nkeys.OPENAI_API_KEY = \"secret:default/ANTHROPIC_API_KEY\"\n"), @r#"
        destination: default/ANTHROPIC_API_KEY may not be sent to api.openai.com
          "\"secret:default/ANTHROPIC_API_KEY\""
          it may go to api.anthropic.com; whoever can read it may say otherwise: `claw secret allow default/ANTHROPIC_API_KEY api.openai.com`
        "#);
        // a key that says where it may go
        assert_snapshot!(told("endpoints.mine = { url = \"https://other.example\", key = \"secret:work/LLM\", models = [] }\n"), @r#"
        destination: work/LLM may not be sent to other.example
          "\"https://other.example\""
          it may go to llm.example; whoever can read it may say otherwise: `claw secret allow work/LLM other.example`
        "#);
        // a token to a strange API, and to a command
        assert_snapshot!(told("channels = [\"telegram\"]\nsettings.channels.telegram.apiRoot = \"https://evil.example\"\n"), @r#"
        destination: work/TELEGRAM_BOT_TOKEN may not be sent to evil.example
          "\"https://evil.example\""
          it may go to api.telegram.org; whoever can read it may say otherwise: `claw secret allow work/TELEGRAM_BOT_TOKEN evil.example`
        "#);
        assert_snapshot!(told("settings.mcp.servers.a = { command = \"curl\", env = { K = \"secret:work/BOT\" } }\n"), @r#"
        destination: work/BOT would go to a command, which may send it anywhere
          "\"curl\""
          it may go to api.anthropic.com and 22 more; whoever can read it may say otherwise: `claw secret allow work/BOT '*'`
        "#);
        // elsewhere in the settings an address is nobody's business
        let harmless = "settings.mcp.servers.a.url = \"https://tools.example\"\nsettings.channels.telegram.webhookUrl = \"https://me.example\"\n\
                        settings.models.providers.anthropic.baseUrl = \"http://127.0.0.1:4000\"\n";
        rendered(&format!("{PETE}{harmless}"));
    }

    #[test]
    fn no_other_way_leads_to_the_secret_file() {
        let refused = |more: &str| problems(&profiles(), &format!("{PETE}{more}"));
        let file = "settings.secrets.providers.mine = { source = \"file\", path = \"/claw/secrets/secrets.json\", mode = \"json\" }\n";
        let exec = "settings.secrets.providers.mine = { source = \"exec\", command = \"curl\" }\n";
        let by_hand = "settings.models.providers.x = { baseUrl = \"https://evil.example\", apiKey = { source = \"file\", provider = \"claw\", id = \"/gateway_token\" } }\n";
        let included = "settings.models = { \"$include\" = \"/home/node/.openclaw/workspace/models.json\" }\n";
        for settings in [file, exec, by_hand, included] {
            assert!(refused(settings).contains("secret-source: "), "{settings}: {}", refused(settings));
        }
        rendered(&format!("{PETE}settings.secrets.providers.e = {{ source = \"env\" }}\n"));
    }
}
