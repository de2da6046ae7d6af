//! `openclaw.json`: what makes it valid, and the settings the stand-in acts on. Only the top level is strict, and
//! JSON5 is not read: claw writes plain JSON.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use serde_json::Value;

const TOP_LEVEL_KEYS: [&str; 21] = [
    "gateway",
    "secrets",
    "agents",
    "models",
    "plugins",
    "skills",
    "discovery",
    "browser",
    "update",
    "logging",
    "channels",
    "hooks",
    "tools",
    "session",
    "messages",
    "cron",
    "env",
    "bindings",
    "meta",
    "memory",
    "ui",
];

/// One thing that makes a configuration invalid.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Issue {
    /// Dotted path of the value; empty for the whole file, as OpenClaw reports unknown top-level keys.
    pub(crate) path: String,
    pub(crate) message: String,
}

impl Issue {
    fn new(path: &str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), message: message.into() }
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(formatter, "<root>: {}", self.message),
            path => write!(formatter, "{path}: {}", self.message),
        }
    }
}

/// What a gateway does with a changed configuration (`gateway.reload.mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReloadMode {
    /// Applies what it can and restarts for the rest.
    Hybrid,
    /// Applies what it can and never restarts.
    Hot,
    /// Restarts for every change.
    Restart,
    /// Does nothing.
    Off,
}

/// A valid configuration.
#[derive(Clone)]
pub(crate) struct Config {
    root: Value,
    hash: String,
}

impl Config {
    /// Reads the configuration in the file at `path`.
    pub(crate) fn read(path: &Path) -> Result<Self, Vec<Issue>> {
        match std::fs::read(path) {
            Ok(bytes) => Self::parse(&bytes),
            Err(error) => Err(vec![Issue::new("", format!("cannot read the config file: {error}"))]),
        }
    }

    /// Returns the configuration in `bytes`, or everything that is wrong with it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Vec<Issue>> {
        // serde_json's message holds positions only, none of the file's values.
        let root: Value =
            serde_json::from_slice(bytes).map_err(|error| vec![Issue::new("", format!("not valid JSON: {error}"))])?;
        let issues = issues_of(&root);
        if issues.is_empty() { Ok(Self { root, hash: hash_of(bytes) }) } else { Err(issues) }
    }

    /// Returns the digest of the bytes it was read from.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }

    /// Returns the configuration as it was read.
    pub(crate) fn shown(&self) -> &Value {
        &self.root
    }

    /// Returns where the gateway listens; options of the command line win over the file.
    pub(crate) fn listen_address(&self, port: Option<u16>, bind: Option<&str>) -> SocketAddr {
        let bind = bind.or_else(|| self.at("/gateway/bind").as_str());
        let ip = if bind == Some("lan") { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
        SocketAddr::new(IpAddr::V4(ip), port.unwrap_or_else(|| self.port()))
    }

    /// Returns `gateway.port`, by default 18789.
    pub(crate) fn port(&self) -> u16 {
        self.at("/gateway/port").as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(18_789)
    }

    /// Returns `gateway.reload.mode`.
    pub(crate) fn reload_mode(&self) -> ReloadMode {
        match self.at("/gateway/reload/mode").as_str() {
            Some("hot") => ReloadMode::Hot,
            Some("restart") => ReloadMode::Restart,
            Some("off") => ReloadMode::Off,
            _ => ReloadMode::Hybrid,
        }
    }

    /// Returns whether `gateway.auth.mode` is `none`.
    pub(crate) fn is_open(&self) -> bool {
        self.at("/gateway/auth/mode").as_str() == Some("none")
    }

    /// Returns `gateway.auth.token`: a text, a secret reference or null.
    pub(crate) fn gateway_token(&self) -> &Value {
        self.at("/gateway/auth/token")
    }

    /// Returns the model providers that have a key, with the key: a text or a secret reference.
    pub(crate) fn provider_keys(&self) -> impl Iterator<Item = (&str, &Value)> {
        let providers = self.at("/models/providers").as_object().into_iter().flatten();
        providers.filter_map(|(name, provider)| Some((name.as_str(), provider.get("apiKey")?)))
    }

    /// Returns the path of a secrets provider whose source is a file.
    pub(crate) fn secret_file(&self, provider: &str) -> Option<&Path> {
        let provider = self.at("/secrets/providers").get(provider)?;
        let path = provider.get("path")?.as_str()?;
        (provider.get("source")?.as_str()? == "file").then(|| Path::new(path))
    }

    /// Returns the name in the main agent's identity, by default OpenClaw's own.
    pub(crate) fn agent_name(&self) -> &str {
        self.at("/agents/entries/main/identity/name").as_str().unwrap_or("OpenClaw")
    }

    /// Returns whether an agent has an entry; `main` always exists.
    pub(crate) fn has_agent(&self, id: &str) -> bool {
        id == "main" || self.at("/agents/entries").get(id).is_some()
    }

    /// Returns the default model, `provider/model`, whether it is written as a text or as `primary`.
    pub(crate) fn model(&self) -> &str {
        let model = self.at("/agents/defaults/model");
        model.as_str().or_else(|| model["primary"].as_str()).unwrap_or("none")
    }

    /// Returns whether the chat completions endpoint is on; it is off by default.
    pub(crate) fn serves_chat(&self) -> bool {
        self.at("/gateway/http/endpoints/chatCompletions/enabled") == true
    }

    /// Returns whether the plugin of the admin RPC loads: enabled, and in `plugins.allow` where that is given.
    pub(crate) fn serves_admin_rpc(&self) -> bool {
        let id = "admin-http-rpc";
        let is_allowed = self.at("/plugins/allow").as_array().is_none_or(|allowed| allowed.iter().any(|one| one == id));
        is_allowed && self.at("/plugins/entries/admin-http-rpc/enabled") == true
    }

    fn at(&self, pointer: &str) -> &Value {
        self.root.pointer(pointer).unwrap_or(&Value::Null)
    }
}

/// Returns a digest that changes with the bytes. It is compared within one run only, so std's hasher will do.
pub(crate) fn hash_of(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn issues_of(root: &Value) -> Vec<Issue> {
    let Some(top) = root.as_object() else {
        return vec![Issue::new("", "expected an object")];
    };
    let unknown = top.keys().filter(|key| !TOP_LEVEL_KEYS.contains(&key.as_str()));
    let mut issues: Vec<Issue> = unknown.map(|key| Issue::new("", format!("Unrecognized key: \"{key}\""))).collect();
    let gateway = &root["gateway"];
    if !matches!(gateway["mode"].as_str(), Some("local" | "remote")) {
        issues.push(Issue::new("gateway.mode", "existing config is missing gateway.mode"));
    }
    let port = &gateway["port"];
    if !port.is_null() && !port.as_u64().is_some_and(|port| (1..=65_535).contains(&port)) {
        issues.push(Issue::new("gateway.port", "expected a number from 1 to 65535"));
    }
    let bind = &gateway["bind"];
    if !bind.is_null() && !matches!(bind.as_str(), Some("auto" | "lan" | "loopback" | "custom" | "tailnet")) {
        issues.push(Issue::new("gateway.bind", "expected one of auto, lan, loopback, custom, tailnet"));
    }
    issues
}

#[cfg(test)]
mod tests {
    use super::{Config, Issue, ReloadMode};

    fn check(text: &str, expected: &[(&str, &str)]) {
        let issues = Config::parse(text.as_bytes()).err().unwrap_or_default();
        let expected: Vec<Issue> = expected.iter().map(|(path, message)| Issue::new(path, *message)).collect();
        assert_eq!(issues, expected, "for {text}");
    }

    #[test]
    fn smallest_config_is_a_gateway_mode() {
        check(r#"{"gateway":{"mode":"local"}}"#, &[]);
        check("{}", &[("gateway.mode", "existing config is missing gateway.mode")]);
    }

    #[test]
    fn unknown_top_level_keys_are_refused_all_at_once() {
        check(
            r#"{"gateway":{"mode":"local"},"heartbeat":{},"nonsense":1}"#,
            &[("", "Unrecognized key: \"heartbeat\""), ("", "Unrecognized key: \"nonsense\"")],
        );
    }

    #[test]
    fn text_that_is_not_json_is_refused_without_repeating_it() {
        let issues = Config::parse(br#"{"gateway": hunter2"#).err().expect("the text is not JSON");
        assert!(issues[0].message.starts_with("not valid JSON"), "{issues:?}");
        assert!(!issues[0].message.contains("hunter2"), "{issues:?}");
    }

    #[test]
    fn only_a_lan_bind_listens_beyond_loopback() {
        for (bind, expected) in [("lan", "0.0.0.0:7"), ("loopback", "127.0.0.1:7"), ("auto", "127.0.0.1:7")] {
            let text = format!(r#"{{"gateway":{{"mode":"local","port":7,"bind":"{bind}"}}}}"#);
            let config = Config::parse(text.as_bytes()).expect("the config is valid");
            assert_eq!(config.listen_address(None, None).to_string(), expected);
        }
    }

    #[test]
    fn command_line_wins_over_the_file() {
        let config = Config::parse(br#"{"gateway":{"mode":"local","port":7}}"#).expect("the config is valid");
        assert_eq!(config.listen_address(Some(9), Some("lan")).to_string(), "0.0.0.0:9");
        assert_eq!(config.reload_mode(), ReloadMode::Hybrid);
    }

    #[test]
    fn admin_rpc_needs_the_plugin_enabled_and_not_left_out_of_the_allow_list() {
        for (plugins, expected) in [
            (r#"{"entries":{"admin-http-rpc":{"enabled":true}}}"#, true),
            (r#"{"allow":["admin-http-rpc"],"entries":{"admin-http-rpc":{"enabled":true}}}"#, true),
            (r#"{"allow":[],"entries":{"admin-http-rpc":{"enabled":true}}}"#, false),
            (r#"{"allow":["admin-http-rpc"]}"#, false),
        ] {
            let text = format!(r#"{{"gateway":{{"mode":"local"}},"plugins":{plugins}}}"#);
            let config = Config::parse(text.as_bytes()).expect("the config is valid");
            assert_eq!(config.serves_admin_rpc(), expected, "for {plugins}");
        }
    }
}
